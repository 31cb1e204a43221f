/*
 * complete: what a crash has left between anchor and receipt is signed at the next start.
 *
 * Version plans only: there an intent has recorded its index, its randomizer and the very value
 * that is signed, so the same bytes come out as often as it is done, and no artifact is needed.
 * In other plans, and for reservations, nothing is resumed: those indices are burned.
 *
 * Uses: everything below signer. Threads: signer thread. Keeps I1, I7, I10.
 */
#ifndef SIGNER_COMPLETE_H
#define SIGNER_COMPLETE_H

#include "signer/key.h"

/**
 * Complete every anchored intent that has no receipt, oldest first, each in a transaction of its
 * own. An intent is given up (a burn; its binding stays) where its window was closed, or where the
 * value was to come from a caller. Does nothing for plans of other kinds.
 *
 * Call it at the start of a key, before new work, when start_decide() has nothing left to do and no
 * un-anchored intent is open: what it finds is taken for anchored.
 * @retval RC_OK             None is open any more.
 * @retval RC_BURNED_VERIFY  What was signed does not verify: memory or node file is damaged. This
 * intent stays open and was not released; those before it are completed.
 * @retval RC_HALT_…, RC_RETRY_…  Of ledger, TPM, seeds or memory, as branches_of(), the TPM's
 * prove() and ledger_commit(); the key cannot sign. The intents before it are completed.
 */
enum rc complete_intents(struct key *key, const struct world *world, void *tpm,
                         struct ledger *ledger, struct err *err) MUST_CHECK;

#endif
