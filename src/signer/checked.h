/*
 * checked: sign, and verify as others will, before any byte leaves.
 *
 * What a damaged memory or node file has made wrong would be more than a signature of no use: with
 * a good one of the same index it gives parts of a one-time key away. So nothing in the signer
 * calls hbs_branch_sign() but this, for requests (batch.c) and for the intents that a start
 * completes (complete.c) alike.
 *
 * Uses: hbs. Threads: any; a branch may be shared by several. Keeps I10.
 */
#ifndef SIGNER_CHECKED_H
#define SIGNER_CHECKED_H

#include "hbs/branch.h"

/**
 * Sign, verify each signature against the branch, and wipe those that do not verify.
 * @param[in]     branch   Holds the index of every job (MUST).
 * @param[in,out] jobs     As hbs_branch_sign() wants them: the leases are spent, whatever comes.
 * @param[in]     sig_len  Bytes of each jobs[i].sig.
 * @param[in]     count    Up to HBS_BATCH_MAX (MUST); 0 does nothing.
 * @param[out]    good     count of them. False: sig is all zero, and the index is to be burned.
 */
void sign_checked(const struct hbs_branch *branch, const struct hbs_branch_signing *jobs,
                  size_t sig_len, size_t count, bool *good);

/** What to say of one that is not good. @retval RC_BURNED_VERIFY  Always; no state is changed. */
enum rc not_verified(uint64_t index, struct err *err) MUST_CHECK;

#endif
