/*
 * branches: what signs for an index: the window's secret, and the trees below the top one.
 *
 * In a key with one tree this is the node file and nothing more. In a hypertree the roots of a
 * bottom tree's branch are signed once, when its first index is used; these signatures are recorded
 * and anchored before anything is signed under them, and from then on only compared (attack 12).
 *
 * Uses: allocate, key. Threads: signer thread. Keeps I1 for the one-time keys above bottom trees.
 */
#ifndef SIGNER_BRANCHES_H
#define SIGNER_BRANCHES_H

#include "signer/allocate.h"

/**
 * The branch of an index whose window is open (W stands at it or above).
 * @param[out] branch  Borrowed; valid until the next call for this key.
 * @retval RC_HALT_SEEDS      As key_secret(). Nothing was spent.
 * @retval RC_RETRY_SYSTEM    No memory. Nothing was spent.
 * @retval RC_HALT_NODES      Trees and their record do not agree.
 * @retval RC_HALT_INVARIANT  Memory is damaged: two builds of a tree differ, or what was signed
 * does not verify.
 * @retval RC_HALT_…          As allocate_record_branch().
 */
enum rc branches_of(const struct allocator *alloc, void *tpm, uint64_t window, uint64_t index,
                    const struct hbs_branch **branch, struct err *err) MUST_CHECK;

#endif
