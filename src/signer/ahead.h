/*
 * ahead: one-time keys that are computed before it is known what they sign.
 *
 * While the signer thread waits for the TPM, the disk or the next requests, hands that have nothing
 * to do (crew.h) compute the chains of the keys that are to sign next, and keep stations of them
 * (hbs/branch.h). With W8 that is fifteen parts of sixteen of a signature and its verification.
 *
 * This signs nothing and decides nothing: which index signs what is the allocator's, a lease and
 * the proof by the TPM are needed as before, and a key that was not prepared in time is computed
 * from the window's secret. What lies here says nothing that this secret does not say, and goes
 * when it goes.
 *
 * Uses: base, hbs, world. Secrets: in locked memory, wiped by ahead_forget() and ahead_close().
 * Threads: ahead_work() any; all others the signer thread.
 */
#ifndef SIGNER_AHEAD_H
#define SIGNER_AHEAD_H

#include "hbs/branch.h"
#include "signer/world.h"

/** Keys that are held at most, of all branches: 2.3 MB of locked memory, had when first wanted. */
#define AHEAD_KEYS 128

/** A key of a branch that has not been wanted for so many calls gives its place to others. */
#define AHEAD_STALE 64

struct ahead; /* opaque: ahead_open() makes it, ahead_close() ends it */

/**
 * @param[in] hands  Who works; their `spare` is told when there is something to do. NULL: whoever
 *                   calls ahead_work().
 * @retval RC_RETRY_SYSTEM  No memory. *ahead is NULL.
 */
enum rc ahead_open(struct ahead **ahead, const struct hands *hands, struct err *err) MUST_CHECK;

/** Wipe, free, set to NULL; fine on NULL. Nobody may be in ahead_work() any more. */
void ahead_close(struct ahead **ahead);

/**
 * From now on these are wanted, in this order; what was wanted before and is not begun is not. Does
 * nothing for NULL, for a set without stations, and where no memory can be locked (which is logged
 * once).
 * @param[in] branch   Must be forgotten before it is closed.
 * @param[in] indices  Of this branch (MUST). Two with one remainder by AHEAD_KEYS share a place,
 *                     which the first one gets.
 */
void ahead_want(struct ahead *ahead, const struct hbs_branch *branch, const uint64_t *indices,
                size_t count);

/**
 * The stations of a key if they are ready, else NULL; NULL for NULL.
 * @return valid until the next ahead_want() or ahead_forget().
 */
const uint8_t *ahead_stations(struct ahead *ahead, const struct hbs_branch *branch, uint64_t index);

/** Wait for whoever works on keys of this branch, and wipe them all. Does nothing for NULL. */
void ahead_forget(struct ahead *ahead, const struct hbs_branch *branch);

/**
 * Up to HBS_PREPARE_MAX keys. For struct hands.
 * @param[in] arg  A struct ahead *.
 * @return false: nothing is left to do.
 */
bool ahead_work(void *arg);

#endif
