#include <string.h>

#include "base/bytes.h"
#include "hbs/xmss_lanes.h"

/* More than a full row of the widest kernel, of all lengths, so that lanes are moved and refilled.
 */
#define CHAINS 45
#define NODES 37

struct results {
    uint8_t chains[CHAINS][XMSS_N_MAX];
    uint8_t nodes[2 * NODES][XMSS_N_MAX];
};

static void jobs_make(struct results *results, size_t n, struct hbs_wots_chain chains[CHAINS],
                      struct hbs_xmss_node nodes[NODES])
{
    for (uint32_t c = 0; c < CHAINS; c++) {
        uint8_t from = (uint8_t)(c * 7 % WOTS_STEPS);
        chains[c] = (struct hbs_wots_chain){
            .adrs = {c % 3, 0x01234567 + c, ~c, HBS_ADRS_OTS, c * 0x10001, c},
            .from = from,
            .to = (uint8_t)(from + c * 5 % (WOTS_STEPS + 1U - from)),
            .value = results->chains[c],
        };
    }
    for (uint32_t i = 0; i < NODES; i++) {
        nodes[i] = (struct hbs_xmss_node){
            .adrs = {i % 5, ~i, i * 0x00fedcba, 1 + i % 2, i, i % 20, 3 * i},
            .left = results->nodes[2 * i],
            .right = results->nodes[2 * i] + n,
            .out = results->nodes[2 * i + 1],
        };
        for (size_t k = 0; k < 2 * n; k++)
            results->nodes[2 * i][k] = (uint8_t)(i * 31 + k * 17);
    }
}

/* On the lanes of a kernel, or through libgcrypt if there is none. */
static void results_make(const struct hbs_kernel *kernel, const struct xmss_params *params,
                         struct results *results)
{
    struct hbs_xmss x;
    uint8_t secret[XMSS_N_MAX];
    uint8_t seed[XMSS_N_MAX];
    for (size_t i = 0; i < XMSS_N_MAX; i++) {
        secret[i] = (uint8_t)(i * 29 + 1);
        seed[i] = (uint8_t)(i * 53 + 7);
    }
    hbs_xmss_init(&x, params, seed);
    struct hbs_wots_chain chains[CHAINS];
    struct hbs_xmss_node nodes[NODES];
    memset(results, 0, sizeof(*results));
    jobs_make(results, params->n, chains, nodes);
    if (kernel == NULL) {
        hbs_gcrypt_wots_starts(&x, secret, chains, CHAINS);
        hbs_gcrypt_wots_chains(&x, chains, CHAINS);
        hbs_gcrypt_xmss_nodes(&x, nodes, NODES);
    } else if (kernel->lanes != NULL) {
        xmss_sha256_starts(kernel->lanes, &x, secret, chains, CHAINS);
        xmss_sha256_chains(kernel->lanes, &x, chains, CHAINS);
        xmss_sha256_nodes(kernel->lanes, &x, nodes, NODES);
    } else {
        xmss_keccak_starts(kernel->keccak, &x, secret, chains, CHAINS);
        xmss_keccak_chains(kernel->keccak, &x, chains, CHAINS);
        xmss_keccak_nodes(kernel->keccak, &x, nodes, NODES);
    }
}

bool xmss_lanes_sound(const struct hbs_kernel *kernel)
{
    static const char *const sets[2][2] = {{"XMSS-SHA2_10_256", "XMSS-SHA2_10_192"},
                                           {"XMSS-SHAKE256_10_256", "XMSS-SHAKE256_10_192"}};
    if (kernel->lanes == NULL && kernel->keccak == NULL)
        return true;
    bool same = true;
    for (size_t i = 0; i < 2; i++) {
        const struct xmss_params *params =
            xmss_params_by_name(sets[kernel->lanes != NULL ? 0 : 1][i]);
        struct results results;
        struct results expected;
        results_make(kernel, params, &results);
        results_make(NULL, params, &expected);
        same = same && ct_equal(&results, &expected, sizeof(results));
    }
    return same;
}
