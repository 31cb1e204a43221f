/*
 * wear: how often a key will write the TPM's NV memory over its life (DESIGN section 6 rule 7).
 *
 * Counted for the worst case: every index of the plan is used, every batch of a version plan holds
 * one signature. Pure; any thread.
 */
#ifndef POLICY_WEAR_H
#define POLICY_WEAR_H

#include "policy/plan.h"

/** Data sheets name 100,000 (unnamed chips, a guess on the safe side) to 500,000 writes an index.
 */
#define WEAR_ENDURANCE_DEFAULT 100000

/** After an idle period A is written again, but only every so many leases or batches: the signer
 * and this count share the number. */
#define WEAR_LEASES_PER_SETTLE 4

/** Expected starts over a key's life, each of which may write A and L once more. */
#define WEAR_RESTARTS 2000

struct plan_wear {
    uint64_t w; /* increments of W: one a window */
    uint64_t l; /* increments of L: one a lease, or a batch of a version plan */
    uint64_t a; /* writes of A: with each of both, and settling */
    uint64_t
        lease_size; /* time and interval: smallest lease size within the endurance; 0 if none is */
};

/**
 * Count, and check against an endurance.
 * @param[in]  endurance  Writes that one NV index stands, >= 1.
 * @retval RC_OK            Every index stays within the endurance, or the plan is a version plan:
 * its worst case, one signature a batch for every version, is for people to judge.
 * @retval RC_REFUSED_PLAN  A time or interval plan would wear an index out; the text proposes a
 * lease size, or larger windows. wear is filled all the same.
 */
enum rc plan_wear_check(const struct plan *plan, uint64_t endurance, struct plan_wear *wear,
                        struct err *err) MUST_CHECK;

#endif
