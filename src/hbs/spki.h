/*
 * spki: public keys as SubjectPublicKeyInfo, DER and PEM (RFC 9802 §3: parameters absent, the raw
 * RFC 8554 or RFC 8391 key in the BIT STRING).
 *
 * id-alg-hss-lms-hashsig 1.2.840.113549.1.9.16.3.17, id-alg-xmss-hashsig 1.3.6.1.5.5.7.6.34,
 * id-alg-xmssmt-hashsig 1.3.6.1.5.5.7.6.35. Pure; any thread.
 */
#ifndef HBS_SPKI_H
#define HBS_SPKI_H

#include "hbs/public.h"

#define SPKI_DER_MAX (HBS_PUB_LEN_MAX + 32)
#define SPKI_PEM_MAX 320

/** out: SPKI_DER_MAX bytes. @return length written. raw: a public key of raw_len bytes. */
size_t spki_der_print(uint8_t *out, enum hbs_scheme scheme, const uint8_t *raw, size_t raw_len);

/** out: SPKI_PEM_MAX characters with NUL ("-----BEGIN PUBLIC KEY-----", 64 columns). */
void spki_pem_print(char *out, enum hbs_scheme scheme, const uint8_t *raw, size_t raw_len);

/**
 * Read a public key in any form: raw, DER or PEM, told apart by content.
 * @param[in] scheme  What a raw key is, or 0 to guess (hbs_public_guess()). A key in DER or PEM of
 *                    another scheme than the one given is refused.
 * @retval RC_REFUSED_INPUT, RC_REFUSED_UNSUPPORTED  As hbs_public_parse(), hbs_public_guess().
 */
enum rc spki_public_read(struct hbs_public *key, enum hbs_scheme scheme, const uint8_t *data,
                         size_t len, struct err *err) MUST_CHECK;

#endif
