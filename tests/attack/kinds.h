/*
 * kinds: the ways in which the attacker tries to open a window that is not open, and for each the
 * control: the same steps where the protection is missing, which must open.
 *
 * What the attacker has: every copy of every blob that there ever was, all authorisation values of
 * the keys, the owner's and the lock-out's (empty), the TPM itself, another TPM. What he has not: a
 * copy of the TPM's own state.
 */
#ifndef TESTS_ATTACK_KINDS_H
#define TESTS_ATTACK_KINDS_H

#include "attack/means.h"
#include "attack/victim.h"

/** One attempt, or one control. */
struct attack {
    struct victim *v;
    struct victim *other; /* another TPM with a key of the same secrets at the same handles */
    struct means m;
    uint64_t random;        /* state of the generator */
    const struct target *t; /* what is to be opened; its window is not open */
    struct victim_key *k;   /* its key */
    bool control;           /* leave the protection out */
};

struct kind {
    const char *name;
    bool (*attempt)(struct attack *a); /* @return true: bytes came out */
    bool (*control)(struct attack *a); /* the same where nothing protects */
    bool past_only;                    /* only windows that are over make sense */
    bool spoils;                       /* the TPM must be put back afterwards */
    const char *without;               /* what the control leaves out */
};

extern const struct kind kinds[];
extern const size_t kinds_count;

/** Next number of the seeded generator, 0 … below - 1. */
uint64_t attack_draw(struct attack *a, uint64_t below);

/** Any window of any key that W has closed, or (if !past_only) not yet opened. */
const struct target *attack_pick(struct attack *a, bool past_only);

#endif
