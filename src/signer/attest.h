/*
 * attest: what the TPM holds of a key, as a document that can be verified elsewhere.
 *
 * An attestation changes nothing that signing depends on, and a device that gives none signs as
 * well as any: its failure never fails a signature. It costs the TPM four signatures, so those that
 * clients ask for are limited (signer.h), and all of them come behind the signatures that wait.
 *
 * Uses: everything below signer, attest. Threads: signer thread.
 */
#ifndef SIGNER_ATTEST_H
#define SIGNER_ATTEST_H

#include "signer/key.h"

/** What an attestation is made of. Borrowed. */
struct attest_job {
    struct key *key; /* that signs */
    const struct world *world;
    void *tpm;
    struct ledger *ledger;
    int64_t now_s; /* host clock, for records */
    const uint8_t *nonce;
    size_t nonce_len;
};

/**
 * At the start of a key: see that its attestation key is in its place and the recorded one, or have
 * both keys recorded if none is (keys that were made before there were attestations). Without
 * success the key signs all the same, key->attest is zero, and the log says why.
 * @retval RC_OK      Also without attestation.
 * @retval RC_HALT_…  TPM or ledger: as from key_open().
 */
enum rc attest_start(struct key *key, const struct world *world, void *tpm, struct ledger *ledger,
                     int64_t now_s, struct err *err) MUST_CHECK;

/**
 * Have the TPM attest to W, L, A and its clock, over the key's newest ledger entry.
 *
 * What comes back is verified as any reader would verify it, and held against what this process
 * takes W and L for.
 *
 * @param[out] text  Canonical JSON, malloc'ed, NUL-terminated; the caller frees it.
 * @retval RC_REFUSED_ATTEST   The device attests nothing, or what it signed does not verify.
 * @retval RC_RETRY_ANCHOR, RC_RETRY_SYSTEM  Busy; no memory.
 * @retval RC_HALT_CANARY      W or L is not what this process takes it for, or the session is gone.
 * @retval RC_HALT_ANCHOR, RC_HALT_LEDGER  TPM or ledger failed.
 */
enum rc attest_make(const struct attest_job *job, char **text, struct err *err) MUST_CHECK;

/**
 * If the period of now has no attested receipt yet: attest to the newest receipt of this turn
 * (key->unattested) and record that in an entry of its own behind it.
 *
 * The receipt must be the newest entry of the key, so that the head which the TPM signs is the
 * receipt's own hash; in the rare batch that ends otherwise the next receipt is taken. The nonce is
 * the receipt's id.
 * @retval RC_OK      Also if nothing was due or nothing came of it: that is logged, and tried again
 *                    with the first receipt after ATTEST_RETRY_S.
 * @retval RC_HALT_…  TPM or ledger failed: the process must end.
 */
#define ATTEST_RETRY_S 60
enum rc attest_receipt(const struct attest_job *job, int64_t period_s, struct err *err) MUST_CHECK;

#endif
