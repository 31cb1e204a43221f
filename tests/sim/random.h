/*
 * random: the one source of chance in a run, so that a seed is a whole run.
 *
 * Several streams follow from one seed: what the world does (plans, adversaries), what a disk keeps
 * of unsynced data, and what the signer draws for its keys. They are apart so that one more coin
 * tossed by a disk does not change which adversary comes next.
 *
 * Uses: libc. Plain values.
 */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** One stream; may be copied, and the copy goes on alike. */
struct chance {
    uint64_t state;
};

/** The stream of a seed with a number: streams of different numbers are unrelated. */
struct chance chance_make(uint64_t seed, uint64_t stream);

uint64_t chance_next(struct chance *c);

/** A number below n; n >= 1. */
uint64_t chance_below(struct chance *c, uint64_t n);

/** A number from low to high, both included. */
int64_t chance_between(struct chance *c, int64_t low, int64_t high);

/** True in `percent` of a hundred cases. */
bool chance_percent(struct chance *c, unsigned percent);

/** True once in n; n 0: never. */
bool chance_one_in(struct chance *c, uint64_t n);

void chance_bytes(struct chance *c, void *out, size_t len);

#endif
