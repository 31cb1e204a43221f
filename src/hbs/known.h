/*
 * known: answers that anybody can look up, to see whether this machine computes right today: trees
 * from public seeds, and a signature of RFC 8554. None of it belongs to a key of ours.
 *
 * Uses: base, key, public; base_init() first. Hashes with the kernels of this process. Threads:
 * any.
 */
#ifndef HBS_KNOWN_H
#define HBS_KNOWN_H

#include "hbs/hash.h"

#define HBS_KNOWN_HEIGHT_MAX 10

/** A small tree and what its root is. Texts in hexadecimal. */
struct hbs_known {
    const char *scheme;   /* "lms" or "xmss" */
    const char *names[2]; /* parameter sets; the second one is NULL for XMSS */
    enum hbs_hash_kind hash;
    uint8_t n;
    const char *id;     /* I or SEED */
    const char *secret; /* SEED of RFC 8554 or S_XMSS of SP 800-208 */
    const char *root;
};

/** The i-th one, NULL behind the last: each hash and length for LMS, then the same for XMSS. */
const struct hbs_known *hbs_known_at(size_t i);

/**
 * Build the tree again: a few milliseconds for LMS; a second or two for XMSS without vector
 * instructions.
 * @return true if the root is the known one. false: it is not, or there was no memory, and *err
 * says so then.
 */
bool hbs_known_tree(const struct hbs_known *known, struct err *err) MUST_CHECK;

/** Does test case 1 of RFC 8554 Appendix F verify, and neither with a changed byte nor with a
 * changed message? */
bool hbs_known_signature(void) MUST_CHECK;

#endif
