/*
 * spki: HSS public keys as SubjectPublicKeyInfo, DER and PEM (RFC 9802 §3, id-alg-hss-lms-hashsig
 * 1.2.840.113549.1.9.16.3.17, parameters absent, the raw RFC 8554 key in the BIT STRING).
 * Pure; any thread.
 */
#ifndef HBS_SPKI_H
#define HBS_SPKI_H

#include "hbs/verify.h"

#define SPKI_DER_MAX (HSS_PUB_LEN_MAX + 32)
#define SPKI_PEM_MAX 256

/** out: SPKI_DER_MAX bytes. @return length written. raw: an HSS public key of raw_len bytes. */
size_t spki_der_print(uint8_t *out, const uint8_t *raw, size_t raw_len);

/** out: SPKI_PEM_MAX characters with NUL ("-----BEGIN PUBLIC KEY-----", 64 columns). */
void spki_pem_print(char *out, const uint8_t *raw, size_t raw_len);

/**
 * Read a public key in any form: raw, DER or PEM, told apart by content.
 * @retval RC_REFUSED_INPUT, RC_REFUSED_UNSUPPORTED  As hss_public_parse().
 */
enum rc spki_public_read(struct hss_public *key, const uint8_t *data, size_t len,
                         struct err *err) MUST_CHECK;

#endif
