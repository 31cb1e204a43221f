/*
 * reseal: seal the secrets of windows to come anew, from a backup: after the firmware was upgraded
 * and the PCRs have other values, or for a key whose secrets an older version sealed without the
 * counter.
 *
 * Uses: backup, key. Offline: the caller holds both locks. One thread.
 */
#ifndef SIGNER_RESEAL_H
#define SIGNER_RESEAL_H

#include "signer/backup.h"
#include "signer/key.h"

struct reseal {
    struct key *key; /* from key_open(); rc RC_OK, or RC_HALT_SEEDS */
    const struct world *world;
    void *tpm;
    struct backup *backup;         /* open; of this key */
    struct tpm_pcrs pcrs;          /* bank and selection; the values are those of now */
    const char *escrow_passphrase; /* keeps the escrow; NULL: the TPM does */
    hbs_progress progress;         /* may be NULL */
    void *progress_ctx;
    uint64_t first, count; /* out: windows that were sealed */
};

/**
 * Seal every window that is above the floor, that this device may sign in, and whose secret it
 * still has a record of: what was destroyed, or given away, is never sealed again, whatever the
 * backup holds. Each is compared with the node file first. A window's old blob is replaced only by
 * its new one, so running it again after a failure or a power cut is harmless.
 *
 * The escrow's records are written anew, too; a key without an escrow gets one.
 *
 * @retval RC_REFUSED_INPUT       The backup is of another key.
 * @retval RC_REFUSED_EXHAUSTED   The backup has no window that this device may still open.
 * @retval RC_REFUSED_CONFIG      The TPM does not have the PCRs; or the escrow needs the owner
 *                                authorisation.
 * @retval RC_REFUSED_PASSPHRASE  The backup is damaged, or the escrow opens with another
 * passphrase.
 * @retval RC_RETRY_BUSY          progress asked to stop.
 * @retval RC_HALT_SEEDS          A secret does not fit the node file: nothing was written for it.
 * @retval RC_HALT_…, RC_RETRY_…  TPM, disk, memory; or the key's own halt.
 * Some windows may have been sealed in all cases but the first two.
 */
enum rc reseal(struct reseal *r, struct err *err) MUST_CHECK;

#endif
