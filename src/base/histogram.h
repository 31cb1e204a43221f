/*
 * histogram: how often values lay in each of a few classes, as monitors want to be told it.
 *
 * Uses: nothing. The caller sees to it that one thread at a time is at a histogram.
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BOUNDS 11 /* upper bounds of the classes; one more class is above all of them */

/** A plain value; zero is an empty one. */
struct histogram {
    uint64_t counts[HISTOGRAM_BOUNDS + 1];
    uint64_t sum; /* of the values; wraps around */
};

/** Classes for durations: 1 ms to 5 s, in microseconds. */
extern const uint64_t histogram_time_bounds_us[HISTOGRAM_BOUNDS];

/**
 * Put a value into its class: the first whose bound is not below it.
 * @param[in] bounds  Ascending, and the same for every call with this histogram.
 * @param[in] value   In the unit of the bounds.
 */
void histogram_add(struct histogram *h, const uint64_t bounds[HISTOGRAM_BOUNDS], uint64_t value);

#endif
