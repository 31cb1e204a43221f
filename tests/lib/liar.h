/*
 * liar: a time server that says what it is told: another time, a clock that runs too fast, a
 * stratum or leap bits of its choice, late answers, or nothing.
 *
 * One thread for each server. The true time, which an honest server says, is that of the system
 * clock when it was first asked for, carried on by CLOCK_MONOTONIC_RAW: so no server follows the
 * clock that it is meant to judge, and all honest servers agree. Uses: libc. A mistake in its use
 * stops the test.
 */
#ifndef TESTS_LIB_LIAR_H
#define TESTS_LIB_LIAR_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/** What a server says; change it under liar_tell(). */
struct lies {
    int64_t offset_ns;      /* added to the true time */
    double rate;            /* seconds that it gains each second since it was told */
    unsigned leap, stratum; /* 0 … 3; 1 … 15 */
    double root_delay_s, root_dispersion_s;
    int64_t lag_ns; /* how long an answer waits, after its time stamps were made */
    bool silent;
    int64_t leap_at_ns; /* true time from which on it is a second behind, and leap 0; 0: never */
};

struct liar {
    int fd;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    struct lies lies;
    int64_t told_raw_ns;
    bool stop;
};

/** The true time, nanoseconds since 1970. Any thread. */
int64_t liar_true_ns(void);

/** From now on the true time counts on from this one. Before any server is started. */
void liar_set_true_ns(int64_t now_ns);

/** An honest server at 127.0.0.host. @param[in] port  0: any free one. */
void liar_start(struct liar *liar, unsigned host, uint16_t port);

/** From now on it says this. */
void liar_tell(struct liar *liar, const struct lies *lies);

/** What an honest server says. */
struct lies liar_honest(void);

/** Fine on a zeroed struct and twice. */
void liar_stop(struct liar *liar);

#endif
