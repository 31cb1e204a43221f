/*
 * public: public keys and signatures of any scheme: parse, print, verify with the message streamed.
 *
 * For whoever verifies what others made, and need not care how. Uses: base, verify, xmss_verify. No
 * secrets. Every malformed or truncated key and signature is refused without reading past its end.
 * Threads: a struct hbs_verifier belongs to one thread.
 */
#ifndef HBS_PUBLIC_H
#define HBS_PUBLIC_H

#include "hbs/verify.h"
#include "hbs/xmss_verify.h"

/** What is on the wire; a single LMS tree is HSS with one level (RFC 8554 §6). */
enum hbs_scheme { HBS_SCHEME_HSS = 1, HBS_SCHEME_XMSS = 2, HBS_SCHEME_XMSSMT = 3 };

/** "hss", "xmss", "xmssmt". Static. */
const char *hbs_scheme_name(enum hbs_scheme scheme);
/** @retval false  No scheme has this name; *scheme is unchanged. */
bool hbs_scheme_by_name(enum hbs_scheme *scheme, const char *name) MUST_CHECK;

struct hbs_public {
    enum hbs_scheme scheme;
    union {
        struct xmss_public xmss; /* XMSS and XMSS^MT; first, since zeros must reach all of it */
        struct hss_public hss;
    };
};

#define HBS_PUB_LEN_MAX XMSS_PUB_LEN_MAX
#define HBS_SIG_LEN_MAX (HSS_SIG_LEN_MAX > XMSS_SIG_LEN_MAX ? HSS_SIG_LEN_MAX : XMSS_SIG_LEN_MAX)

/**
 * Read a raw public key of a known scheme (RFC 8554 §6.1, RFC 8391 §4.1.7, §4.2.2).
 * @retval RC_REFUSED_INPUT, RC_REFUSED_UNSUPPORTED  As hss_public_parse(), xmss_public_parse().
 */
enum rc hbs_public_parse(struct hbs_public *key, enum hbs_scheme scheme, const uint8_t *data,
                         size_t len, struct err *err) MUST_CHECK;

/**
 * Read a raw public key of a scheme that nobody has told us. HSS is always told from the others;
 * XMSS and XMSS^MT number their sets separately, so that some keys could be either.
 * @retval RC_REFUSED_INPUT        It could be either: the text names both sets. Or a wrong length.
 * @retval RC_REFUSED_UNSUPPORTED  As above.
 */
enum rc hbs_public_guess(struct hbs_public *key, const uint8_t *data, size_t len,
                         struct err *err) MUST_CHECK;

/** Write the raw public key; out: HBS_PUB_LEN_MAX bytes. @return its length. */
size_t hbs_public_print(const struct hbs_public *key, uint8_t *out);

/** Streaming verification: open, update with the message, finish, close. */
struct hbs_verifier {
    enum hbs_scheme scheme;
    union {
        struct hss_verifier hss;
        struct xmss_verifier xmss;
    };
};

/**
 * Parse the signature, and start hashing the message. key and sig must live until
 * hbs_verify_close().
 * @retval RC_REFUSED_SIGNATURE  Malformed, truncated, too long, of other parameters than the key,
 *                               or an upper level of HSS does not verify.
 * @retval RC_RETRY_SYSTEM       No memory.
 */
enum rc hbs_verify_open(struct hbs_verifier *v, const struct hbs_public *key, const uint8_t *sig,
                        size_t sig_len, struct err *err) MUST_CHECK;
void hbs_verify_update(struct hbs_verifier *v, const void *data, size_t len);
/** @retval RC_REFUSED_SIGNATURE  The signature is not of this message by this key. */
enum rc hbs_verify_finish(struct hbs_verifier *v, struct err *err) MUST_CHECK;
/** Index in the signature, over all levels; UINT64_MAX if it has more than 64 bits. */
uint64_t hbs_verify_index(const struct hbs_verifier *v);
/** Fine on a struct of zeros. For CLEANUP(). */
void hbs_verify_close(struct hbs_verifier *v);

/** All of it for a message in memory. */
enum rc hbs_verify(const struct hbs_public *key, const void *message, size_t message_len,
                   const uint8_t *sig, size_t sig_len, struct err *err) MUST_CHECK;

#endif
