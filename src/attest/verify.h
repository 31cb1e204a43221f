/*
 * verify: is an attestation true? Offline: no TPM, no network, no clock.
 *
 * Uses: base, the other files of attest. Pure but for memory; any thread. The service asks the same
 * question of its own attestations before it gives them away.
 */
#ifndef ATTEST_VERIFY_H
#define ATTEST_VERIFY_H

#include "attest/document.h"

/** What the reader knows from elsewhere; a NULL is not asked for. */
struct attest_expected {
    const uint8_t *nonce; /* nonce_len bytes: what was asked with */
    size_t nonce_len;
    const uint8_t *ak;                     /* P256_POINT_LEN bytes of the attestation key */
    const struct attest_document *earlier; /* verified before, of the same key */
};

/**
 * Hold all parts of a document against each other, the signatures, and what is expected.
 *
 * Without an expected AK this says only that some TPM-like signer made the document in one piece:
 * whoever can make a key of that kind in software can make a document of its own. The AK, or a
 * document that was trusted when the key was made, is what ties it to one TPM.
 *
 * @param[in]  doc       As parsed; its meaning is not looked at.
 * @param[in]  expected  Borrowed.
 * @param[out] meaning   What is attested; all zero unless RC_OK.
 * @retval RC_OK                 All of it holds.
 * @retval RC_REFUSED_SIGNATURE  Something does not; the text says what, for each a sentence of its
 *                               own.
 * @retval RC_RETRY_SYSTEM       No memory.
 */
enum rc attest_verify(const struct attest_document *doc, const struct attest_expected *expected,
                      struct attest_meaning *meaning, struct err *err) MUST_CHECK;

/**
 * The same for a receipt that carries an attestation, whose nonce is the receipt's id: does the TPM
 * attest to this very entry of this key?
 * @param[in] expected  nonce must be NULL (MUST).
 * @retval as attest_verify(); RC_REFUSED_SIGNATURE also if the entry is not the attested head, so
 *         if one byte of the receipt was changed.
 */
enum rc attest_receipt_verify(const struct attest_receipt *receipt,
                              const struct attest_expected *expected,
                              struct attest_meaning *meaning, struct err *err) MUST_CHECK;

/**
 * Does a document say of itself what it means?
 * @retval RC_REFUSED_SIGNATURE  "meaning" is another than the one that was computed.
 */
enum rc attest_meaning_check(const struct attest_document *doc,
                             const struct attest_meaning *meaning, struct err *err) MUST_CHECK;

#endif
