/*
 * xmss_hash: the short hashes of WOTS+ and XMSS, many independent ones at a time.
 *
 * Every hash of XMSS has an address in it, and most have a key and a bitmask that are hashes of
 * public seed and address (RFC 8391 §5.1, SP 800-208 §5). So the jobs are not single hashes: a
 * chain step is three of them, a tree node four. They run in the lanes of the kernel that kernel.h
 * chose; hash functions and CPUs without lanes go through libgcrypt, one hash after another.
 *
 * Uses: libgcrypt, kernel; base_init() first. Secrets: values of chains and S_XMSS; no branch or
 * address depends on them, and no copy of one stays behind in memory of ours. Threads: any. Nothing
 * here fails: if libgcrypt has no memory for a hash handle (a few hundred bytes), the process
 * stops.
 */
#ifndef HBS_XMSS_HASH_H
#define HBS_XMSS_HASH_H

#include "hbs/xmss_params.h"

/** What all hashes of one key share. */
struct hbs_xmss {
    const struct xmss_params *params;
    uint8_t seed[XMSS_N_MAX]; /* public SEED, n bytes */
    uint32_t prf[8];          /* SHA-256 with n = 32: the state after toByte(3, 32) || SEED */
};

/** Keep SEED and what follows from it alone. seed: n bytes. */
void hbs_xmss_init(struct hbs_xmss *x, const struct xmss_params *params, const uint8_t *seed);

/** Words of an address (RFC 8391 §2.5). The last two of a chain's are filled in here, of a node's
 * the last one. */
enum hbs_address {
    ADRS_LAYER,
    ADRS_TREE_HIGH,
    ADRS_TREE_LOW,
    ADRS_TYPE,  /* HBS_ADRS_… */
    ADRS_LEAF,  /* number of the one-time key or L-tree; 0 in the hash tree */
    ADRS_CHAIN, /* chain; in trees: height of the two children */
    ADRS_HASH,  /* step; in trees: number of the node at its level */
    ADRS_KEY_AND_MASK,
    ADRS_WORDS
};
enum { HBS_ADRS_OTS = 0, HBS_ADRS_LTREE = 1, HBS_ADRS_TREE = 2 };

#define WOTS_STEPS 15 /* w - 1 */

/** One WOTS+ chain: value := steps from … to - 1 applied (RFC 8391 §3.1.2). */
struct hbs_wots_chain {
    uint32_t adrs[ADRS_HASH]; /* layer … chain */
    uint8_t from;             /* 0 … to */
    uint8_t to;               /* from … WOTS_STEPS */
    uint8_t *value;           /* n bytes */
};

/**
 * The starts of chains: value := PRF_keygen(S_XMSS, SEED || ADRS) (SP 800-208 §6.2). from and to
 * are not looked at.
 * @param[in] secret  S_XMSS, n bytes.
 */
void hbs_wots_starts(const struct hbs_xmss *x, const uint8_t *secret,
                     const struct hbs_wots_chain *chains, size_t count);

/** Run count independent chains of any lengths. */
void hbs_wots_chains(const struct hbs_xmss *x, const struct hbs_wots_chain *chains, size_t count);

/** One node of an L-tree or a hash tree: RAND_HASH (RFC 8391 §4.1.4). */
struct hbs_xmss_node {
    uint32_t adrs[ADRS_KEY_AND_MASK];
    const uint8_t *left; /* n bytes each */
    const uint8_t *right;
    uint8_t *out; /* may lie over its own children and those of nodes before it, of no other's */
};
void hbs_xmss_nodes(const struct hbs_xmss *x, const struct hbs_xmss_node *nodes, size_t count);

/** out := PRF(key, toByte(number, 32)), the r of a signature (RFC 8391 §4.1.9). key: n bytes. */
void hbs_xmss_prf(const struct xmss_params *params, const uint8_t *key, uint64_t number,
                  uint8_t *out);

/* The first three one hash at a time through libgcrypt, for hash functions and CPUs without lanes,
 * and as the yardstick of those with. */
void hbs_gcrypt_wots_starts(const struct hbs_xmss *x, const uint8_t *secret,
                            const struct hbs_wots_chain *chains, size_t count);
void hbs_gcrypt_wots_chains(const struct hbs_xmss *x, const struct hbs_wots_chain *chains,
                            size_t count);
void hbs_gcrypt_xmss_nodes(const struct hbs_xmss *x, const struct hbs_xmss_node *nodes,
                           size_t count);

#endif
