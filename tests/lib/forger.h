/*
 * forger: attestations out of thin air: statements of any content, signed by a P-256 key in
 * memory, where a TPM would sign only what is true. For everything that a verifier must refuse
 * though the signature is right.
 *
 * Uses: base, attest, libgcrypt. One thread. Anything that fails stops the test (MUST).
 */
#ifndef TESTS_LIB_FORGER_H
#define TESTS_LIB_FORGER_H

#include "attest/verify.h"

/** What stands in a TPMS_ATTEST. */
struct forged {
    uint32_t magic;
    uint16_t type;
    uint8_t signer[TPM_NAME_LEN];
    uint8_t digest[64];
    uint16_t digest_len;
    uint64_t clock_ms;
    uint32_t reset_count, restart_count;
    uint8_t safe;
    uint64_t firmware;
    uint8_t index_name[TPM_NAME_LEN];
    uint16_t offset;
    uint8_t contents[200];
    uint16_t contents_len;
    uint64_t up_ms;
    uint64_t clock_again_ms; /* of the time's inner clock */
    uint64_t firmware_again;
    size_t cut, more; /* bytes missing at the end, or too many */
};

struct forger {
    void *key; /* gcry_sexp_t */
    uint8_t point[P256_POINT_LEN];
};

void forger_make(struct forger *f);
void forger_end(struct forger *f);

/** Bytes and signature of one statement. */
void forger_sign(const struct forger *f, const struct forged *s, struct attested *out);

/** Everything in which a document can differ; forger_document() starts from one that is right. */
struct forgery {
    struct attest_bound bound;
    struct forged w, l, a, time;
    bool no_time;
};

/** A forgery that a verifier believes: W 50, L 12, base 8, first L 5, nonce 16 times 0x11. */
void forgery_begin(const struct forger *f, struct forgery *g);

/** Put the digest of what is bound now into all four statements. */
void forgery_bind(struct forgery *g);

/** Sign it, and fill in the meaning as far as it has one. */
void forger_document(const struct forger *f, const struct forgery *g, struct attest_document *doc);

#endif
