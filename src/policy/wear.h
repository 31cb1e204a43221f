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

/* While a key is in use ------------------------------------------------------------------------ */

/** Writes that a device has made to the three indices of a key. */
struct wear_used {
    uint64_t w, l, a;
};

#define WEAR_UNKNOWN INT64_C(-1)
#define WEAR_RATE_MIN_S INT64_C(86400) /* a rate over less than a day says nothing about a year */

/** Where that leads, by the index that is written most. */
struct wear_outlook {
    uint64_t used;    /* writes of that index */
    uint32_t percent; /* of the endurance, rounded down; 1000 and more are shown as 1000 */
    int64_t per_year; /* at the average rate since provisioning, rounded up; or WEAR_UNKNOWN */
    int64_t year;     /* in which the endurance is reached at that rate; WEAR_UNKNOWN: none before
                         the year 9999, or nothing is known yet */
};

/**
 * Project the wear of a key. Pure, never fails.
 * @param[in] endurance  Writes that one NV index stands, >= 1.
 * @param[in] since_s    When the indices were made.
 * @param[in] now_s      Host clock; before since_s nothing is projected.
 */
void wear_project(const struct wear_used *used, uint64_t endurance, int64_t since_s, int64_t now_s,
                  struct wear_outlook *outlook);

/** The highest threshold (90, 75 or 50 percent) that was reached, or 0: what people are warned of.
 */
uint32_t wear_threshold(uint32_t percent);

#endif
