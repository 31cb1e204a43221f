/*
 * forecast: when a key or a window will be used up, and when people have to be told.
 *
 * Pure; any thread.
 */
#ifndef POLICY_FORECAST_H
#define POLICY_FORECAST_H

#include <stdint.h>

#include "base/rc.h"

#define FORECAST_UNKNOWN INT64_C(-1)
#define FORECAST_RATE_MIN_S INT64_C(3600) /* a rate over less than that says nothing */

/** What has happened to a key so far. */
struct forecast_past {
    uint64_t total, left;             /* one-time keys of the plan, and those that may still sign */
    int64_t since_s, now_s;           /* the key was made; now */
    uint64_t recent;                  /* signatures … */
    int64_t recent_s;                 /* … in so many seconds up to now */
    uint64_t window_left;             /* of the open window */
    int64_t window_end_s, plan_end_s; /* time plans; else FORECAST_UNKNOWN */
};

struct forecast {
    int64_t per_year;      /* signatures, at the recent rate; or FORECAST_UNKNOWN */
    int64_t exhausted_s;   /* the key; or FORECAST_UNKNOWN: not at this rate, or nothing is known */
    int64_t window_full_s; /* the open window, if before its end; or FORECAST_UNKNOWN */
};

/**
 * Project. Two rates are looked at, and the worse one counts: that of the recent signatures, and
 * that at which one-time keys went since the key was made, skipped and burned ones included.
 */
void forecast_project(const struct forecast_past *past, struct forecast *forecast);

/**
 * The level that a key has reached: ack_percent if so much or less of it is left, a tenth of that
 * (at least 1) if it is as little, 0 if there is nothing to say.
 * @param[in] ack_percent  0 … 100; 0 switches it off.
 */
uint32_t forecast_level(uint64_t total, uint64_t left, uint32_t ack_percent);

/** One-time keys that are left at most when a key has reached a level. */
uint64_t forecast_level_left(uint64_t total, uint32_t level);

#endif
