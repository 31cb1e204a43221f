/*
 * limits: how much of a window, and how fast, each caller and all together may sign.
 *
 * Whoever asks is a name that the front sends with each request (http/identity.h); what that name
 * may have stands in the core's own configuration: tokens for the key and for each caller, a share
 * of each window (policy/access.h), and a reserve at the end of each window for one name, so that a
 * greedy or stolen client cannot use up what an emergency needs.
 *
 * What was used is counted in the ledger's receipts and bindings, each time it is asked for; token
 * buckets are filled from the receipts when the process starts. So a restart, or a crash that
 * somebody can provoke, gives nobody anything back.
 *
 * Uses: policy, ledger, batch. Threads: signer thread.
 */
#ifndef SIGNER_LIMITS_H
#define SIGNER_LIMITS_H

#include "signer/batch.h"

#define LIMITS_NOTE_S 60 /* between two entries about refusals of one key */

/**
 * Fill the key's bucket as far as its receipts say; when it is opened.
 * @param[in] now_s  Host clock, as in receipts.
 * @retval RC_HALT_LEDGER  The receipts could not be read.
 */
enum rc limits_start(struct key *key, struct ledger *ledger, const struct world *world,
                     int64_t now_s, struct err *err) MUST_CHECK;

/**
 * Refuse a job early, before a window is opened for it, if it has no token. None is taken yet.
 * @param[out] granted  false: the job was refused with RC_RETRY_RATE, or with RC_REFUSED_ACK since
 *                      a warning of exhaustion is not acknowledged.
 * @retval RC_HALT_LEDGER  The receipts could not be read.
 */
enum rc limits_rate(struct batch *b, struct job *job, bool *granted, struct err *err) MUST_CHECK;

/**
 * Let jobs into a window, one after another: refuse, with RC_RETRY_WINDOW_FULL, those for which the
 * reserve or the share of their caller leaves no room, and with RC_RETRY_RATE those for which there
 * is no token; the others stay, in their order, and each has taken a token of its caller's and one
 * of the key's. Who was refused has taken none, nor has a preview.
 *
 * The reserve does not hold in interval plans: their next window opens when one is full.
 * @param[in]     window  All of them belong there.
 * @param[in,out] jobs, count  Not done. Those that stay are in front.
 * @retval RC_HALT_LEDGER  What was used could not be counted.
 */
enum rc limits_window(struct batch *b, uint64_t window, struct job **jobs, size_t *count,
                      struct err *err) MUST_CHECK;

/** Remember that a limit refused a job, for limits_note(). which: static. Previews do not count. */
void limits_refused(struct batch *b, const struct job *job, const char *which);

/**
 * Write the refusals since the last time as one entry "refusal", at most every LIMITS_NOTE_S.
 * @retval RC_HALT_LEDGER  As ledger_add_note().
 */
enum rc limits_note(struct key *key, struct ledger *ledger, const struct world *world,
                    int64_t now_s, struct err *err) MUST_CHECK;

#endif
