/*
 * verify: HSS signatures of anybody (RFC 8554 §6.3), with the message streamed.
 *
 * Uses: base, lms. No secrets. Every malformed or truncated key and signature is refused without
 * reading past its end; trailing bytes are refused too (§5.4.2, §6.3 fix the lengths).
 * Threads: a struct hss_verifier belongs to one thread.
 */
#ifndef HBS_VERIFY_H
#define HBS_VERIFY_H

#include "hbs/lms.h"

/** A parsed HSS public key: u32 L, then the top LMS public key (RFC 8554 §6.1). */
struct hss_public {
    uint32_t levels; /* 1 … 8 */
    struct lms_tree top;
    uint8_t root[HBS_N_MAX];
};

/**
 * @retval RC_REFUSED_INPUT        Wrong length, or levels outside 1 … 8.
 * @retval RC_REFUSED_UNSUPPORTED  A type number that we do not know; the text names it.
 */
enum rc hss_public_parse(struct hss_public *key, const uint8_t *data, size_t len,
                         struct err *err) MUST_CHECK;

/** Write the raw RFC 8554 public key; out: HSS_PUB_LEN_MAX bytes. @return its length. */
size_t hss_public_print(const struct hss_public *key, uint8_t *out);

/** A parsed signature, pointing into the caller's bytes. */
struct hss_signature {
    uint32_t levels;
    struct lms_tree tree[HSS_LEVELS_MAX]; /* keys from the top down, [0] from the public key */
    const uint8_t *root[HSS_LEVELS_MAX];  /* m bytes each */
    const uint8_t *sig[HSS_LEVELS_MAX];   /* LMS signatures from the top down */
    size_t sig_len[HSS_LEVELS_MAX];
    uint32_t q[HSS_LEVELS_MAX];
    uint64_t index; /* all q as one number, top first; UINT64_MAX if it has more than 64 bits */
};

/**
 * Take a signature apart under a public key. Nothing is verified yet.
 * @param[in] data  len bytes; must outlive *sig.
 * @retval RC_REFUSED_SIGNATURE  Malformed, truncated, too long, or of other parameters than
 *                               the key.
 */
enum rc hss_signature_parse(struct hss_signature *sig, const struct hss_public *key,
                            const uint8_t *data, size_t len, struct err *err) MUST_CHECK;

/** Streaming verification: open, update with the message, finish, close. */
struct hss_verifier {
    struct hss_signature sig;
    const struct hss_public *key;
    struct lms_message message;
};

/**
 * Parse the signature, check all upper levels, and start hashing the message of the last one.
 * key and sig must live until hss_verify_close().
 * @retval RC_REFUSED_SIGNATURE  As above, or an upper level does not verify.
 * @retval RC_RETRY_SYSTEM       No memory.
 */
enum rc hss_verify_open(struct hss_verifier *v, const struct hss_public *key, const uint8_t *sig,
                        size_t sig_len, struct err *err) MUST_CHECK;
void hss_verify_update(struct hss_verifier *v, const void *data, size_t len);
/** @retval RC_REFUSED_SIGNATURE  The signature is not of this message by this key. */
enum rc hss_verify_finish(struct hss_verifier *v, struct err *err) MUST_CHECK;
void hss_verify_close(struct hss_verifier *v);

/** All of it for a message in memory. */
enum rc hss_verify(const struct hss_public *key, const void *message, size_t message_len,
                   const uint8_t *sig, size_t sig_len, struct err *err) MUST_CHECK;

#endif
