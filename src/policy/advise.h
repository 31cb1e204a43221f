/*
 * advise: help to choose a plan from a rate or from past releases (DESIGN section 4, last
 * paragraph). Pure functions, any thread.
 */
#ifndef POLICY_ADVISE_H
#define POLICY_ADVISE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

/** What the key must serve. */
struct advise_need {
    int64_t window_s;             /* time plans: seconds of a window */
    double signatures_per_window; /* expected mean in one window */
    double years;                 /* life that is wanted */
    double exhaust_max;           /* accepted probability that any one window runs full */
    const char *verifier;         /* profile name, NULL or "any": see advise_verifiers() */
};

/** One way to serve it. */
struct advise_choice {
    uint32_t height;      /* tree height, 5 … 25 */
    uint64_t window_size; /* indices of a window, power of two */
    uint64_t window_count;
    double years;           /* life in years */
    double exhaust;         /* probability that a window runs full (Poisson tail) */
    uint32_t n, w;          /* hash bytes and Winternitz width */
    uint64_t sig_len;       /* bytes of a signature (HSS with L = 1) */
    double keygen_hashes;   /* compressions to make the key */
    char parameters[2][48]; /* names for the plan */
};

/** Names of the verifier profiles, NULL-terminated: "any", "mcuboot" (SHA-256 H10 W8 only), … */
const char *const *advise_verifiers(void);

/** True if the verifier profile takes this set. Unknown profile: false. */
bool advise_verifier_takes(const char *verifier, uint32_t n, uint32_t h, uint32_t w);

/**
 * The smallest choice that serves the need: the smallest window that runs full rarely enough, with
 * its last index kept for the seal, and the lowest tree that holds as many windows as the years
 * need; w = 8, and n = 24 where the verifier takes it, for the shortest signatures. What indices a
 * restart burns is not counted: choose exhaust_max, or the mean, with a margin for it.
 * @retval RC_REFUSED_RANGE  No standard height serves it; the text says what would (fewer years,
 *                           longer windows). choice holds the largest set that was tried.
 * @retval RC_REFUSED_INPUT  A number of the need makes no sense, or the verifier is unknown.
 */
enum rc advise_time_plan(const struct advise_need *need, struct advise_choice *choice,
                         struct err *err) MUST_CHECK;

/**
 * Probability that a Poisson variable of the given mean exceeds the capacity. Small results keep
 * their digits (the smaller tail is summed). 0 for a mean that is not above 0. Use window_size - 1
 * for a sealed window: its last index signs no artifact.
 */
double advise_overflow(double mean, uint64_t capacity);

#endif
