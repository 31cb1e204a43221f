/*
 * allocate: the only code that moves W, L and A, and the only code that makes leases.
 *
 * The order of every commit (DESIGN section 6 rule 3): ledger entry, sync; A := {L + 1, head}; L +
 * 1, value checked; only then anything is computed. The order of a window step (rule 2): W + 1 …, A
 * := {…, L_base = L}, then the ledger's window-opened entry. After any failure here the copies in
 * struct key may be behind the TPM: the caller gives the key up, and a new start decides.
 *
 * Uses: ledger, tpm through world, policy. Threads: signer thread. Keeps I1, I2, I3, I6 (only
 * forward).
 */
#ifndef SIGNER_ALLOCATE_H
#define SIGNER_ALLOCATE_H

#include "base/lease.h"
#include "hbs/nodes.h"
#include "signer/key.h"

/**
 * Somebody who waits for many single steps of W and L, and may not want to any longer. Each step is
 * reported; where the report says stop and steps are left, the call that took it returns
 * RC_RETRY_BUSY. What it has done then is what a crash between two steps leaves, or less.
 */
struct step_watch {
    hbs_progress report;
    void *ctx;
    uint64_t done, total; /* steps; total is set by whoever knows the whole way */
    bool stopped;
};

struct allocator {
    struct key *key;
    const struct world *world;
    struct ledger *ledger;
    int64_t wall_s;           /* latest trusted second, goes into A if it is above A's; 0: none */
    struct step_watch *watch; /* operations only; NULL: every way is gone to its end */
};

/**
 * A := {L + 1, head of this key's chain}, then L + 1. Everything in the ledger up to now is
 * anchored afterwards. The ledger must be committed (the caller's begin/commit lies before). An A
 * that lags behind W gets W and L_base = L in the same write (start only: a TPM that lost it).
 * @retval RC_HALT_ANCHOR, RC_HALT_CANARY, RC_HALT_LEDGER
 */
enum rc allocate_anchor(const struct allocator *alloc, struct err *err) MUST_CHECK;

/** L + 1 alone: A has promised it already (start only). */
enum rc allocate_step_l(const struct allocator *alloc, struct err *err) MUST_CHECK;

/** Lift the bindings of un-anchored intents behind entry `seq` (start only), committed. */
enum rc allocate_void(const struct allocator *alloc, uint64_t seq, struct err *err) MUST_CHECK;

/** A := {W, L_base = L, head} after W was stepped (start only). MUST: A.W < W. */
enum rc allocate_write_opened(const struct allocator *alloc, struct err *err) MUST_CHECK;

/**
 * Open a window: raise W to it one by one, write A with L_base = L, and add (not commit) nothing:
 * the ledger's window-opened entry is committed by this call too.
 * @param[in] window  Above the floor (MUST).
 * @retval RC_RETRY_BUSY  alloc->watch stopped it: W stands between, and neither A nor the ledger
 * knows; the next start or recovery goes on from there.
 */
enum rc allocate_open_window(const struct allocator *alloc, int64_t window,
                             struct err *err) MUST_CHECK;

/**
 * Time plans: A := {early_window, head}: from here on the window may be used before its start. The
 * ledger must hold who approved it, and why, committed; W is stepped behind this (attack 20). A
 * start that finds a window approved and not open opens it.
 * @param[in] window  The open one, or the one behind it (MUST).
 */
enum rc allocate_approve_early(const struct allocator *alloc, int64_t window,
                               struct err *err) MUST_CHECK;

/**
 * Raise W over the windows between the open one and this one, which stay unused, so that this one
 * is the next: its secret can be unsealed from then on. What W stands at afterwards, window - 1,
 * counts as opened like any other, so that a crash behind this call leaves nothing unfinished and
 * nothing can be leased in it with positions of an older window. Does nothing if it is the next
 * already. The one place where W passes windows that nobody asked for.
 * @param[in] window  Above the floor (MUST).
 * @retval RC_RETRY_BUSY  alloc->watch stopped it. Where W stands counts as opened.
 */
enum rc allocate_skip_to(const struct allocator *alloc, int64_t window, struct err *err) MUST_CHECK;

/**
 * The same in turns, so that other keys are served in between: at most so many steps, and half a
 * second. Where W stops counts as opened, too, so nothing is unfinished between two turns, and a
 * crash in one is that of any other step.
 * @param[in] window  Above the floor (MUST). It is the next when key_floor() is window - 1.
 * @param[in] steps   At least 1 (MUST).
 */
enum rc allocate_skip_some(const struct allocator *alloc, int64_t window, int64_t steps,
                           struct err *err) MUST_CHECK;

/** The ledger's window-opened entry for the window that W stands for, committed. */
enum rc allocate_record_window(const struct allocator *alloc, struct err *err) MUST_CHECK;

/**
 * Recovery: raise L until it is at least `least`, without A. A crash in between leaves a key that
 * still needs recovery, which starts over; so does alloc->watch (RC_RETRY_BUSY).
 */
enum rc allocate_raise_l(const struct allocator *alloc, uint64_t least, struct err *err) MUST_CHECK;

/** A := {L, head} if the head moved since: idle close and clean stop. Changes no counter. */
enum rc allocate_settle(const struct allocator *alloc, struct err *err) MUST_CHECK;

/**
 * Time and interval plans: take the next lease of the open window into key->lease. What was left of
 * the one before is given up.
 * @retval RC_RETRY_WINDOW_FULL  The window has no lease left. Nothing changed.
 * @retval RC_HALT_…             As allocate_anchor().
 */
enum rc allocate_lease(const struct allocator *alloc, int64_t at_s, struct err *err) MUST_CHECK;

/**
 * Permission for one index of key->lease, in order. MUST: the lease has one left.
 * @param[out] lease  The only one that will ever exist for its index.
 */
void allocate_next(const struct allocator *alloc, struct ots_lease *lease);

/**
 * Version plans: permission for the index of an intent that is durable and anchored.
 * @param[in] anchored_epoch  key->l right after allocate_anchor() (MUST equal key->l).
 */
void allocate_intent(const struct allocator *alloc, uint64_t index, uint64_t anchored_epoch,
                     struct ots_lease *lease);

/**
 * Hypertrees: permission for the one-time keys above the bottom tree that begins at `first`, once
 * its window is open (MUST: W stands at it or above). After a crash that left no record it is given
 * again, and then signs the same roots, which follow from the window's secret.
 */
void allocate_branch(const struct allocator *alloc, uint64_t first, struct ots_lease *lease);

/** The record of such a branch: ledger, sync, A. Anything signed under it comes later. */
enum rc allocate_record_branch(const struct allocator *alloc, struct ledger_branch *branch,
                               const uint8_t *record, struct err *err) MUST_CHECK;

#endif
