#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/secmem.h"
#include "bench/bench.h"
#include "hbs/xmss.h"

static struct {
    const struct xmss_params *params;
    struct xmss_tree tree[XMSS_D_MAX]; /* one of each layer */
    uint8_t secret[XMSS_N_MAX];
    uint8_t values[BENCH_VALUES][XMSS_N_MAX];
    uint8_t path[XMSS_LAYER_MAX * XMSS_N_MAX];
    uint8_t sigs[BENCH_VALUES][(WOTS_LEN_MAX + XMSS_LAYER_MAX) * XMSS_N_MAX];
} work;

/* The sets of SP 800-208, XMSS and XMSS^MT. */
static const struct xmss_params *set_at(size_t i)
{
    const struct xmss_params *params = NULL;
    for (size_t at = 0; (params = xmss_params_at(at)) != NULL; at++)
        if (params->sp800_208 && i-- == 0)
            return params;
    return NULL;
}

/* "xmss-sha2_10_256", "xmssmt-sha2_20/2_256" */
static bool set(size_t i, char *name, bool *standard)
{
    const struct xmss_params *params = set_at(i);
    if (params == NULL)
        return false;
    (void)snprintf(name, 48, "%s", params->name);
    for (char *p = name; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
    *standard = params->multi ? params->h == 20 && params->d == 2 : params->h == 10;
    return true;
}

/* Only the lowest layer is new with each message: those above are signed when a tree is opened. */
static void sign(unsigned first, unsigned count)
{
    struct ots_lease leases[BENCH_BATCH];
    struct xmss_signing jobs[BENCH_BATCH];
    for (unsigned k = 0; k < count; k++) {
        unsigned v = first + k;
        leases[k] = (struct ots_lease){.index = v, .epoch = 1};
        jobs[k] = (struct xmss_signing){&leases[k], work.values[v], work.path, work.sigs[v]};
    }
    xmss_tree_sign_batch(&work.tree[0], work.secret, jobs, count);
}

static void make(size_t i)
{
    uint8_t seed[XMSS_N_MAX];
    work.params = set_at(i);
    MUST(work.params != NULL);
    random_bytes(seed, sizeof(seed));
    random_bytes(work.secret, sizeof(work.secret));
    random_bytes(work.values, sizeof(work.values));
    for (uint32_t layer = 0; layer < work.params->d; layer++)
        xmss_tree_init(&work.tree[layer], work.params, seed, layer, 0);
    for (unsigned v = 0; v < BENCH_VALUES; v += BENCH_BATCH)
        sign(v, BENCH_BATCH);
}

static enum hbs_hash_kind hash(void)
{
    return work.params->hash;
}

static unsigned height(void)
{
    return xmss_layer_height(work.params);
}

static void keygen(uint32_t first, uint32_t count)
{
    const struct xmss_tree *top = &work.tree[work.params->d - 1];
    uint8_t nodes[BENCH_LEAVES_MAX * HBS_N_MAX];
    xmss_leaves(top, first, count, work.secret, nodes);
    for (uint32_t r = xmss_leaf_count(top) + first; count > 1;) {
        r /= 2;
        count /= 2;
        xmss_level(top, r, count, nodes, nodes);
    }
}

/* Every layer; what is signed there does not matter, since no root fits a made-up path. */
static void verify(unsigned first, unsigned count)
{
    uint8_t roots[BENCH_BATCH][XMSS_N_MAX];
    struct xmss_checking jobs[BENCH_BATCH];
    for (unsigned k = 0; k < count; k++)
        jobs[k] = (struct xmss_checking){first + k, work.values[first + k], work.sigs[first + k],
                                         roots[k]};
    for (uint32_t layer = 0; layer < work.params->d; layer++)
        xmss_tree_candidates(&work.tree[layer], jobs, count);
}

static double steps(void)
{
    uint8_t digits[WOTS_LEN_MAX];
    double sum = 0;
    for (size_t v = 0; v < BENCH_VALUES; v++) {
        wots_digits(work.params, work.values[v], digits);
        for (size_t i = 0; i < work.params->len; i++)
            sum += digits[i];
    }
    return sum / BENCH_VALUES;
}

/* What comes in front of every message is one whole block for SHA-256 with n = 32, and is hashed
 * once for all: toByte(3, 32) || SEED, and toByte(4, 32) || S_XMSS. */
static double kept(void)
{
    return hash() == HBS_SHA256 && work.params->n == 32 ? 1 : 0;
}

static double prf_needs(void)
{
    return bench_blocks(hash(), work.params->pad + (size_t)work.params->n + 32) - kept();
}

/* Key, mask, and F over the two. */
static double step_needs(void)
{
    return 2 * prf_needs() + bench_blocks(hash(), work.params->pad + 2 * (size_t)work.params->n);
}

/* Key, two masks, and H over the three. */
static double node_needs(void)
{
    return 3 * prf_needs() + bench_blocks(hash(), work.params->pad + 3 * (size_t)work.params->n);
}

static double start_needs(void)
{
    return bench_blocks(hash(), work.params->pad + 2 * (size_t)work.params->n + 32) - kept();
}

static double keygen_needs(uint32_t count)
{
    double leaf = work.params->len * (start_needs() + WOTS_STEPS * step_needs()) +
                  (work.params->len - 1) * node_needs();
    return count * leaf + (count - 1) * node_needs();
}

static double sign_needs(void)
{
    return work.params->len * start_needs() + steps() * step_needs();
}

static double verify_needs(void)
{
    double chains = (work.params->len * (double)WOTS_STEPS - steps()) * step_needs();
    double tree = (work.params->len - 1 + height()) * node_needs();
    return work.params->d * (chains + tree);
}

const struct bench_scheme bench_xmss = {
    .set = set,
    .make = make,
    .hash = hash,
    .height = height,
    .keygen = keygen,
    .sign = sign,
    .verify = verify,
    .batches = true,
    .keygen_needs = keygen_needs,
    .sign_needs = sign_needs,
    .verify_needs = verify_needs,
};
