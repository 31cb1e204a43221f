/*
 * xmss_private: XMSS and XMSS^MT keys from {S_XMSS, SK_PRF, SEED} in memory: key generation, and
 * signing at a given index.
 *
 * Uses: base, tree, xmss_verify. Pure. This is the engine for vectors and tests: it takes every set
 * of RFC 8391, and builds all trees for each call. The service signs through key.h.
 */
#ifndef HBS_XMSS_PRIVATE_H
#define HBS_XMSS_PRIVATE_H

#include "hbs/xmss_verify.h"

/** A private key: n bytes of each are used. */
struct xmss_private {
    const struct xmss_params *params;
    uint8_t sk_seed[XMSS_N_MAX]; /* S_XMSS: one for all layers of XMSS^MT */
    uint8_t sk_prf[XMSS_N_MAX];
    uint8_t pub_seed[XMSS_N_MAX];
};
void xmss_private_wipe(struct xmss_private *key);

/** The public key: builds the top tree. @retval RC_RETRY_SYSTEM no memory. */
enum rc xmss_keygen(const struct xmss_private *key, struct xmss_public *pub,
                    struct err *err) MUST_CHECK;

/**
 * Sign at a given index, over all layers. Spends the lease like hbs_sign(). Builds one tree a
 * layer.
 * @param[in]  randomizer  Injected r (n bytes), or NULL to derive it.
 * @param[out] sig         XMSS_SIG_LEN_MAX bytes of room; *sig_len receives the length. Verified
 *                         before return. On failure all XMSS_SIG_LEN_MAX bytes are zero.
 * @retval RC_REFUSED_EXHAUSTED  index is past the last one. The lease is spent all the same.
 * @retval RC_BURNED_VERIFY      The result did not verify; sig is zero.
 * @retval RC_RETRY_SYSTEM       No memory; the lease is spent all the same.
 */
enum rc xmss_sign(struct ots_lease *lease, const struct xmss_private *key, const void *message,
                  size_t message_len, const uint8_t *randomizer, uint8_t *sig, size_t *sig_len,
                  struct err *err) MUST_CHECK;

#endif
