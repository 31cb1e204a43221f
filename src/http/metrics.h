/*
 * metrics: what monitors are told, in the text format of Prometheus (0.0.4).
 *
 * The front counts what it answers; the core is asked for the rest. Names begin with tidemark_; the
 * labels come from closed lists (routes, methods, statuses, problems, states) or are names of keys,
 * of which there are SIGNER_KEYS_MAX at most: nothing that a client says becomes one.
 *
 * Uses: base, exchange. Counting: any thread, never blocks.
 */
#ifndef HTTP_METRICS_H
#define HTTP_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/rc.h"
#include "http/problem.h"

#define METRICS_ROUTES_MAX 64
#define METRICS_STATUSES 26

/** Counters of one front. All zero at first. */
struct metrics {
    /* by row of routes.c, the last row being requests that found no route; and by status */
    atomic_uint_fast64_t answers[METRICS_ROUTES_MAX + 1][METRICS_STATUSES];
    atomic_uint_fast64_t problems[PROBLEM_COUNT];
    atomic_uint_fast64_t refusals[PROBLEM_COUNT]; /* of signing requests alone */
    atomic_uint_fast64_t gone;                    /* clients that went away before the answer */
};

struct exchange;
struct reply;

/**
 * What the core says of itself, as text.
 * @param[in]     f        Takes what is written; whether it could is for the caller to ask it.
 * @param[in,out] payload  len bytes, of REQUEST_METERS, aligned for a struct view_meters; their
 *                         texts are ended and truth values settled.
 * @param[in]     reply    That they came with, reply_terminate() behind it.
 * @return false: this is not what a core sends. Nothing was written.
 */
bool metrics_print_core(FILE *f, uint8_t *payload, size_t len,
                        const struct reply *reply) MUST_CHECK;

/** An answer is about to be sent: count it. */
void metrics_count(const struct exchange *x);

/** Route GET /metrics. Without a core there are the front's own numbers, and tidemark_core_up 0. */
void metrics_start(struct exchange *x);

#endif
