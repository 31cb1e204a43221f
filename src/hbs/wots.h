/*
 * wots: the one-time scheme WOTS+ and its L-trees (RFC 8391 §3 and §4.1.5), inside hbs only.
 *
 * Uses: base, xmss_hash. Pure; any thread. Called by xmss.c alone, since a one-time key that signs
 * without a lease would break I1. Leaf numbers, messages and signatures are public; values of
 * chains below a signature's are secret, are never branched on, and are wiped. w is 16 in all sets.
 */
#ifndef HBS_WOTS_H
#define HBS_WOTS_H

#include "hbs/xmss_hash.h"

/** One tree of a key: what its addresses begin with. */
struct xmss_tree {
    struct hbs_xmss x;
    uint32_t layer;  /* 0 is the lowest one */
    uint64_t number; /* of the tree in its layer, from the left */
};

/** Chains that one call gets at most: 32 leaves with n = 32, so that every level of their L-trees
 * but the last ones fills lanes too. Costs 250 kB of stack. */
#define WOTS_BATCH_CHAINS 2144

/** Leaves that wots_leaves() takes at once: as many as fit into WOTS_BATCH_CHAINS. */
uint32_t wots_batch_leaves(const struct xmss_params *params);

/**
 * The base-16 digits of a message and its checksum: chain i of a signature stands at step
 * digits[i].
 * @param[in]  value   n bytes.
 * @param[out] digits  len entries of 0 … 15.
 * Source: RFC 8391 §2.6 (base_w), §3.1.5.
 */
void wots_digits(const struct xmss_params *params, const uint8_t *value,
                 uint8_t digits[WOTS_LEN_MAX]);

/**
 * Leaves first … first + count - 1: one-time public keys, compressed by their L-trees.
 * @param[in]  count   1 … wots_batch_leaves() (MUST).
 * @param[in]  secret  S_XMSS, n bytes. Secret.
 * @param[out] leaves  count · n bytes.
 * Source: RFC 8391 §4.1.5, §4.1.6; SP 800-208 §6.2 for the starts of chains.
 */
void wots_leaves(const struct xmss_tree *tree, uint32_t first, uint32_t count,
                 const uint8_t *secret, uint8_t *leaves);

/** One signature to be made. */
struct wots_signing {
    uint32_t leaf;
    const uint8_t *value; /* n bytes */
    uint8_t *sig;         /* out: wots_sig_len() bytes */
};

/**
 * Sign n bytes each with the one-time keys of count leaves, all their chains in one run.
 * @param[in] count   1 … wots_batch_leaves() (MUST).
 * @param[in] secret  S_XMSS, n bytes.
 * Source: RFC 8391 §3.1.5.
 */
void wots_sign(const struct xmss_tree *tree, const uint8_t *secret, const struct wots_signing *jobs,
               size_t count);

/** One signature to be checked. */
struct wots_check {
    uint32_t leaf;
    const uint8_t *value; /* n bytes */
    const uint8_t *sig;   /* wots_sig_len() bytes */
    uint8_t *out;         /* the leaf that it leads to, n bytes */
};

/**
 * The leaves that signatures lead to (RFC 8391 §3.1.6, §4.1.5).
 * @param[in] count  1 … wots_batch_leaves() (MUST).
 */
void wots_candidates(const struct xmss_tree *tree, const struct wots_check *jobs, size_t count);

#endif
