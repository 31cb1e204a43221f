/*
 * xmss_verify: XMSS and XMSS^MT signatures of anybody (RFC 8391 §4.1.10, §4.2.5), with the message
 * streamed.
 *
 * Uses: base, xmss. No secrets. Every malformed or truncated key and signature is refused without
 * reading past its end; trailing bytes are refused too. Threads: a struct xmss_verifier belongs to
 * one thread.
 */
#ifndef HBS_XMSS_VERIFY_H
#define HBS_XMSS_VERIFY_H

#include "hbs/xmss.h"

/** A parsed public key: OID, root, SEED (RFC 8391 §4.1.7, §4.2.2). */
struct xmss_public {
    const struct xmss_params *params;
    uint8_t root[XMSS_N_MAX];
    uint8_t seed[XMSS_N_MAX];
};

/**
 * @param[in] multi  XMSS^MT: the two schemes number their sets separately, so the same bytes can be
 *                   a key of either. Whoever has raw bytes must know which.
 * @retval RC_REFUSED_INPUT        Wrong length.
 * @retval RC_REFUSED_UNSUPPORTED  An OID that we do not know; the text names it.
 */
enum rc xmss_public_parse(struct xmss_public *key, bool multi, const uint8_t *data, size_t len,
                          struct err *err) MUST_CHECK;

/** Write the raw RFC 8391 public key; out: XMSS_PUB_LEN_MAX bytes. @return its length. */
size_t xmss_public_print(const struct xmss_public *key, uint8_t *out);

/** A parsed signature, pointing into the caller's bytes. */
struct xmss_signature {
    uint64_t index;
    const uint8_t *r;
    const uint8_t *layers; /* d times wots_sig_len() bytes and a path, the lowest layer first */
};

/**
 * Take a signature apart under a public key. Nothing is verified yet.
 * @param[in] data  len bytes; must outlive *sig.
 * @retval RC_REFUSED_SIGNATURE  Wrong length, or an index past the key.
 */
enum rc xmss_signature_parse(struct xmss_signature *sig, const struct xmss_public *key,
                             const uint8_t *data, size_t len, struct err *err) MUST_CHECK;

/** Number of the tree that an index lies in at a layer, and of its leaf there. */
void xmss_index_split(const struct xmss_params *params, uint64_t index, uint32_t layer,
                      uint64_t *tree, uint32_t *leaf);

/** Does a signature over an already hashed message lead to the root of the key? */
bool xmss_verify_value(const struct xmss_public *key, const struct xmss_signature *sig,
                       const uint8_t *value) MUST_CHECK;

/** Streaming verification: open, update with the message, finish, close. */
struct xmss_verifier {
    const struct xmss_public *key;
    struct xmss_signature sig;
    struct xmss_message message;
};

/**
 * Parse the signature and start hashing the message. key and sig must live until
 * xmss_verify_close().
 * @retval RC_REFUSED_SIGNATURE  As above.
 * @retval RC_RETRY_SYSTEM       No memory.
 */
enum rc xmss_verify_open(struct xmss_verifier *v, const struct xmss_public *key, const uint8_t *sig,
                         size_t sig_len, struct err *err) MUST_CHECK;
void xmss_verify_update(struct xmss_verifier *v, const void *data, size_t len);
/** @retval RC_REFUSED_SIGNATURE  The signature is not of this message by this key. */
enum rc xmss_verify_finish(struct xmss_verifier *v, struct err *err) MUST_CHECK;
void xmss_verify_close(struct xmss_verifier *v);

/** All of it for a message in memory. */
enum rc xmss_verify(const struct xmss_public *key, const void *message, size_t message_len,
                    const uint8_t *sig, size_t sig_len, struct err *err) MUST_CHECK;

#endif
