#include "hbs/xmss_hash.h"

#include <string.h>

#include "hbs/kernel.h"
#include "hbs/xmss_lanes.h"

void hbs_xmss_init(struct hbs_xmss *x, const struct xmss_params *params, const uint8_t *seed)
{
    *x = (struct hbs_xmss){.params = params};
    memcpy(x->seed, seed, params->n);
    if (params->hash == HBS_SHA256 && params->n == 32) {
        uint8_t block[64] = {0};
        block[31] = 3; /* toByte(3, 32), PRF */
        memcpy(block + 32, seed, 32);
        xmss_sha256_keep(x->prf, block);
    }
}

/* The lanes for SHA-256 and SHAKE256 with n = 24 and 32; NULL where there are none. */
static const struct lane_ops *sha256_lanes(const struct xmss_params *params)
{
    return params->hash == HBS_SHA256 ? hbs_kernel_current(HBS_SHA256)->lanes : NULL;
}

static const struct keccak_ops *keccak_lanes(const struct xmss_params *params)
{
    return params->hash == HBS_SHAKE256 && params->n <= 32
               ? hbs_kernel_current(HBS_SHAKE256)->keccak
               : NULL;
}

void hbs_wots_starts(const struct hbs_xmss *x, const uint8_t *secret,
                     const struct hbs_wots_chain *chains, size_t count)
{
    const struct lane_ops *sha256 = sha256_lanes(x->params);
    const struct keccak_ops *keccak = keccak_lanes(x->params);
    if (sha256 != NULL)
        xmss_sha256_starts(sha256, x, secret, chains, count);
    else if (keccak != NULL)
        xmss_keccak_starts(keccak, x, secret, chains, count);
    else
        hbs_gcrypt_wots_starts(x, secret, chains, count);
}

void hbs_wots_chains(const struct hbs_xmss *x, const struct hbs_wots_chain *chains, size_t count)
{
    for (size_t c = 0; c < count; c++) {
        MUST(chains[c].from <= chains[c].to);
        MUST(chains[c].to <= WOTS_STEPS);
    }
    const struct lane_ops *sha256 = sha256_lanes(x->params);
    const struct keccak_ops *keccak = keccak_lanes(x->params);
    if (sha256 != NULL)
        xmss_sha256_chains(sha256, x, chains, count);
    else if (keccak != NULL)
        xmss_keccak_chains(keccak, x, chains, count);
    else
        hbs_gcrypt_wots_chains(x, chains, count);
}

void hbs_xmss_nodes(const struct hbs_xmss *x, const struct hbs_xmss_node *nodes, size_t count)
{
    const struct lane_ops *sha256 = sha256_lanes(x->params);
    const struct keccak_ops *keccak = keccak_lanes(x->params);
    if (sha256 != NULL)
        xmss_sha256_nodes(sha256, x, nodes, count);
    else if (keccak != NULL)
        xmss_keccak_nodes(keccak, x, nodes, count);
    else
        hbs_gcrypt_xmss_nodes(x, nodes, count);
}
