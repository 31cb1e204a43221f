/*
 * names: what a TPM calls the two keys of an attestation, and their public keys as others read
 * them.
 *
 * A Name is a hash over everything that a key is: its attributes, its scheme and its point. So a
 * point whose Name is the one that the TPM put into a statement is that of a restricted signing key
 * which cannot leave the TPM, and nobody has to believe that.
 *
 * Uses: base (base_init_public() first). Pure functions, any thread.
 * Source: TPM 2.0 Part 1, 16 (Names) and 26.5 (Qualified Names); Part 2, 12.2.4 (TPMT_PUBLIC).
 */
#ifndef ATTEST_NAMES_H
#define ATTEST_NAMES_H

#include "base/attested.h"
#include "base/rc.h"

/** Name of the attestation key with this point, made by the template of src/tpm/attest.c. */
void attest_ak_name(uint8_t name[TPM_NAME_LEN], const uint8_t point[P256_POINT_LEN]);

/** Name of the endorsement key with this point: the TCG's template L-2 for ECC P-256. */
void attest_ek_name(uint8_t name[TPM_NAME_LEN], const uint8_t point[P256_POINT_LEN]);

/** Qualified Name of a primary key of the endorsement hierarchy: what statements are signed by. */
void attest_qualified_name(uint8_t qualified[TPM_NAME_LEN], const uint8_t name[TPM_NAME_LEN]);

#define P256_DER_LEN 91
#define P256_PEM_SIZE 180 /* NUL included */

/** SubjectPublicKeyInfo (RFC 5480), DER. */
void p256_der_print(uint8_t der[P256_DER_LEN], const uint8_t point[P256_POINT_LEN]);

/** The same as PEM (RFC 7468), with a newline at the end. */
void p256_pem_print(char pem[P256_PEM_SIZE], const uint8_t point[P256_POINT_LEN]);

/**
 * Read exactly what p256_pem_print() writes, with or without the last newline.
 * @param[out] point  Not looked at whether it lies on the curve: the signature check does that.
 * @retval false  Anything else; point is zero.
 */
bool p256_pem_parse(uint8_t point[P256_POINT_LEN], const char *pem) MUST_CHECK;

#define P256_SIG_DER_MAX 72

/** Ecdsa-Sig-Value (RFC 3279 §2.2.3) of r and s. @return how many bytes. */
size_t p256_sig_print(uint8_t der[P256_SIG_DER_MAX], const uint8_t sig[P256_SIG_LEN]);

/** Read it, in the one form that DER allows. @retval false  Anything else; sig is zero. */
bool p256_sig_parse(uint8_t sig[P256_SIG_LEN], const uint8_t *der, size_t len) MUST_CHECK;

/**
 * Is this the signature by that key (ECDSA on P-256 with SHA-256) over these bytes?
 * @retval RC_OK
 * @retval RC_REFUSED_SIGNATURE  No, or the point is not on the curve.
 * @retval RC_RETRY_SYSTEM       No memory.
 */
enum rc p256_verify(const uint8_t point[P256_POINT_LEN], const void *bytes, size_t len,
                    const uint8_t sig[P256_SIG_LEN], struct err *err) MUST_CHECK;

#endif
