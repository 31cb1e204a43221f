/*
 * xmss_lanes: the hashes of xmss_hash.h in the lanes of a kernel; inside hbs only.
 *
 * Everything happens on words side by side (word r of lane l is row[r][l]): a hash becomes the key,
 * mask or value of the next one without a detour over bytes, and addresses are counted up in place.
 *
 * Uses: base, kernel_lanes, kernel_keccak, kernel_deal. Secrets and threads: as xmss_hash.h says.
 */
#ifndef HBS_XMSS_LANES_H
#define HBS_XMSS_LANES_H

#include "hbs/kernel_keccak.h"
#include "hbs/kernel_lanes.h"
#include "hbs/xmss_hash.h"

/** As hbs_wots_starts(), hbs_wots_chains() and hbs_xmss_nodes(), for SHA-256. */
void xmss_sha256_starts(const struct lane_ops *ops, const struct hbs_xmss *x, const uint8_t *secret,
                        const struct hbs_wots_chain *chains, size_t count);
void xmss_sha256_chains(const struct lane_ops *ops, const struct hbs_xmss *x,
                        const struct hbs_wots_chain *chains, size_t count);
void xmss_sha256_nodes(const struct lane_ops *ops, const struct hbs_xmss *x,
                       const struct hbs_xmss_node *nodes, size_t count);

/** The state of SHA-256 after one block, computed once and kept (FIPS 180-4 §6.2.2). */
void xmss_sha256_keep(uint32_t state[8], const uint8_t block[64]);

/** The same, for SHAKE256 with n = 24 and 32. */
void xmss_keccak_starts(const struct keccak_ops *ops, const struct hbs_xmss *x,
                        const uint8_t *secret, const struct hbs_wots_chain *chains, size_t count);
void xmss_keccak_chains(const struct keccak_ops *ops, const struct hbs_xmss *x,
                        const struct hbs_wots_chain *chains, size_t count);
void xmss_keccak_nodes(const struct keccak_ops *ops, const struct hbs_xmss *x,
                       const struct hbs_xmss_node *nodes, size_t count);

/**
 * True if the lanes of a kernel agree with libgcrypt on chains, starts and nodes with n = 24
 * and 32. Part of hbs_kernel_sound(). A kernel without lanes is sound.
 */
bool xmss_lanes_sound(const struct hbs_kernel *kernel) MUST_CHECK;

#endif
