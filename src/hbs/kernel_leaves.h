/*
 * kernel_leaves: one-time public keys of LM-OTS with one leaf in each lane of a kernel.
 *
 * When a tree is made, all chains have the same length and start at the same seed, so there is
 * nothing to deal out: lane l does all of leaf first + l. The end of a chain is already where the
 * hash of the public key wants it, and nothing is taken out of the lanes but that hash.
 *
 * Uses: base, kernel_lanes, kernel_keccak. Only for lmots.c. Threads: any. Secrets: the seed; no
 * branch or address depends on it, and what lies in memory of ours is wiped at the end of a call.
 */
#ifndef HBS_KERNEL_LEAVES_H
#define HBS_KERNEL_LEAVES_H

#include "hbs/kernel.h"

/** How many leaves hbs_kernel_leaf_keys() takes; 0 if the kernel has no lanes. */
size_t hbs_kernel_leaves(const struct hbs_kernel *kernel);

/**
 * Public keys K of the leaves first … first + hbs_kernel_leaves() - 1.
 * @param[in]  kernel  One that has lanes (MUST), for the hash of ots.
 * @param[in]  id      I, 16 bytes.
 * @param[in]  seed    SEED, n bytes. Secret.
 * @param[out] keys    n bytes for each leaf.
 * Source: RFC 8554 §4.3, Appendix A.
 */
void hbs_kernel_leaf_keys(const struct hbs_kernel *kernel, const struct lmots_params *ots,
                          const uint8_t id[LMS_I_LEN], uint32_t first, const uint8_t *seed,
                          uint8_t *keys);

#endif
