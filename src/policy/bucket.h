/*
 * bucket: a token bucket, as a pure function of its own state and the caller's clock.
 * Threads: a struct bucket belongs to one thread.
 */
#ifndef POLICY_BUCKET_H
#define POLICY_BUCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

struct bucket {
    uint64_t capacity;  /* tokens that it holds when full; 0 switches the limit off */
    uint64_t per_hour;  /* tokens that come back in an hour, >= 1 when capacity is not 0 */
    uint64_t level_ppm; /* tokens now, in millionths */
    int64_t at_ns;      /* raw clock of the last change */
};

/** A full bucket at time now_ns (raw clock). per_hour >= 1 unless capacity is 0 (MUST). */
void bucket_init(struct bucket *b, uint64_t capacity, uint64_t per_hour, int64_t now_ns);

/**
 * Another capacity and rate from now on. A full bucket stays full; of any other the tokens in it
 * stay, as far as there is room. Switched on, it begins full. Parameters as bucket_init().
 */
void bucket_change(struct bucket *b, uint64_t capacity, uint64_t per_hour, int64_t now_ns);

/** Seconds in which an empty bucket is full again, rounded up, at most a year; 0 for capacity 0. */
int64_t bucket_fill_s(const struct bucket *b) MUST_CHECK;

/**
 * Set the level to what is left after what was taken before: at most that much, and exactly that
 * if the bucket was empty so long ago as it takes to fill it.
 * @param[in] now_s   Clock of taken_s at the time now_ns of the raw clock.
 * @param[in] taken_s  When tokens were taken, newest first, back to bucket_fill_s() ago.
 * @param[in] cut     There were more than these: the bucket counts as empty before the oldest.
 */
void bucket_replay(struct bucket *b, int64_t now_ns, int64_t now_s, const int64_t *taken_s,
                   size_t count, bool cut);

/**
 * Take one token.
 * @param[out] wait_s     Seconds until the next token if refused (>= 1), else 0.
 * @param[out] remaining  Whole tokens left; UINT64_MAX if the limit is off.
 * @return false if there is no token; nothing changed but the refill. A clock that runs backwards
 *         refills nothing.
 */
bool bucket_take(struct bucket *b, int64_t now_ns, uint64_t *wait_s,
                 uint64_t *remaining) MUST_CHECK;

#endif
