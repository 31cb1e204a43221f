#include <string.h>

#include "base/bytes.h"
#include "hbs/kernel_deal.h"
#include "hbs/xmss_lanes.h"

/* Hash inputs as in xmss_sha256.c, all in one block of SHAKE256 (FIPS 202 §6.2). Where a part
 * begins is counted in units of four bytes: with n = 24 and toByte(number, 4) nothing lies on a
 * word of eight. What is constant in a block is written once, the rest again for each hash. */
enum { PAD_F = 0, PAD_H = 1, PAD_PRF = 3, PAD_PRF_KEYGEN = 4 };

#define BLOCK_WORDS (KECCAK_RATE / 8)
#define PAD_FIRST 0x1fU /* SHAKE's suffix 1111 and the first bit of the padding */
#define LOW UINT64_C(0xffffffff)

typedef uint64_t row[KECCAK_LANES_MAX];

static void row_xor(row to, const row from)
{
    for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
        to[l] ^= from[l];
}

/* Write count rows into a block from a unit on; the units around them stay. */
static void rows_put(row *block, size_t unit, const row *rows, size_t count)
{
    row *to = block + unit / 2;
    if (unit % 2 == 0) {
        memcpy(to, rows, count * sizeof(row));
        return;
    }
    for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
        to[0][l] = (to[0][l] & LOW) | rows[0][l] << 32;
    for (size_t i = 1; i < count; i++)
        for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
            to[i][l] = rows[i - 1][l] >> 32 | rows[i][l] << 32;
    for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
        to[count][l] = (to[count][l] & ~LOW) | rows[count - 1][l] >> 32;
}

static void unit_put(row *block, size_t unit, size_t lane, uint32_t value)
{
    unsigned shift = unit % 2 * 32;
    uint64_t *at = &block[unit / 2][lane];
    *at = (*at & ~(LOW << shift)) | (uint64_t)value << shift;
}

/* One unit in all lanes. */
static void units_put(row *block, size_t unit, const uint32_t values[KECCAK_LANES_MAX])
{
    unsigned shift = unit % 2 * 32;
    uint64_t *to = block[unit / 2];
    for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
        to[l] = (to[l] & ~(LOW << shift)) | (uint64_t)values[l] << shift;
}

static uint32_t le_get32(const uint8_t *p)
{
    return p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

/* The same bytes in all lanes. */
static void bytes_put(row *block, size_t unit, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len / 4; i++)
        for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
            unit_put(block, unit + i, l, le_get32(bytes + 4 * i));
}

static void lane_get(row *to, size_t lane, const uint8_t *bytes, size_t words)
{
    for (size_t r = 0; r < words; r++)
        to[r][lane] = keccak_get(bytes + 8 * r);
}

static void lane_put(uint8_t *bytes, const row *from, size_t lane, size_t words)
{
    for (size_t r = 0; r < words; r++)
        keccak_put(bytes + 8 * r, from[r][lane]);
}

/* A block of zeros but for toByte(number, pad) and the padding behind `units` units of text. */
static void block_open(row block[BLOCK_WORDS], uint8_t pad, uint8_t number, size_t units)
{
    memset(block, 0, BLOCK_WORDS * sizeof(row));
    for (size_t l = 0; l < KECCAK_LANES_MAX; l++) {
        unit_put(block, pad / 4U - 1, l, (uint32_t)number << 24);
        unit_put(block, units, l, PAD_FIRST);
        block[BLOCK_WORDS - 1][l] |= UINT64_C(0x80) << 56;
    }
}

/* What chains and nodes have in common: PRF, and the sizes. */
struct prf_lanes {
    alignas(64) row block[BLOCK_WORDS];
    const struct keccak_ops *ops;
    size_t pad;   /* units of toByte() */
    size_t n;     /* units of a value */
    size_t words; /* n / 8 */
    size_t adrs;  /* where the address begins */
};

static void prf_open(struct prf_lanes *p, const struct keccak_ops *ops, const struct hbs_xmss *x)
{
    const struct xmss_params *params = x->params;
    p->ops = ops;
    p->pad = params->pad / 4U;
    p->n = params->n / 4U;
    p->words = params->n / 8U;
    p->adrs = p->pad + p->n;
    block_open(p->block, params->pad, PAD_PRF, p->adrs + ADRS_WORDS);
    bytes_put(p->block, p->pad, x->seed, params->n);
}

static void prf_address(struct prf_lanes *p, size_t lane, const uint32_t *adrs, size_t words)
{
    for (size_t i = 0; i < words; i++)
        unit_put(p->block, p->adrs + i, lane, __builtin_bswap32(adrs[i]));
}

/* out := PRF(SEED, ADRS) with this keyAndMask, four rows; of them p->words count. */
static void prf_run(struct prf_lanes *p, uint32_t key_and_mask, row *out)
{
    uint32_t values[KECCAK_LANES_MAX];
    for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
        values[l] = __builtin_bswap32(key_and_mask);
    units_put(p->block, p->adrs + ADRS_KEY_AND_MASK, values);
    p->ops->block(out, p->block);
}

/* Chains --------------------------------------------------------------------------------------- */

struct chain_run {
    struct prf_lanes prf;
    alignas(64) row f[BLOCK_WORDS];
    alignas(64) row parts[8]; /* of F: key and masked value, one behind the other */
    alignas(64) row value[4];
    const struct hbs_wots_chain *chains;
    uint32_t hash[KECCAK_LANES_MAX];
};

static uint32_t chain_lengths(const void *ctx, size_t first, size_t count, uint32_t *steps)
{
    const struct hbs_wots_chain *chains = ((const struct chain_run *)ctx)->chains + first;
    uint32_t longest = 0;
    for (size_t c = 0; c < count; c++) {
        steps[c] = (uint32_t)chains[c].to - chains[c].from;
        longest = steps[c] > longest ? steps[c] : longest;
    }
    return longest;
}

static void chain_load(void *ctx, size_t lane, size_t item)
{
    struct chain_run *run = ctx;
    const struct hbs_wots_chain *chain = run->chains + item;
    prf_address(&run->prf, lane, chain->adrs, ADRS_HASH);
    run->hash[lane] = chain->from;
    lane_get(run->value, lane, chain->value, run->prf.words);
}

static void chain_store(void *ctx, size_t lane, size_t item)
{
    const struct chain_run *run = ctx;
    lane_put(run->chains[item].value, run->value, lane, run->prf.words);
}

static void chain_move(void *ctx, size_t to, size_t from)
{
    struct chain_run *run = ctx;
    for (size_t r = 0; r < BLOCK_WORDS; r++)
        run->prf.block[r][to] = run->prf.block[r][from];
    for (size_t r = 0; r < run->prf.words; r++)
        run->value[r][to] = run->value[r][from];
    run->hash[to] = run->hash[from];
}

/* value := F(KEY, value ^ BM) */
static void chain_steps(void *ctx, size_t active, size_t steps)
{
    (void)active; /* one register, full or not */
    struct chain_run *run = ctx;
    struct prf_lanes *prf = &run->prf;
    row *masked = run->parts + prf->words;
    for (; steps > 0; steps--) {
        uint32_t hash[KECCAK_LANES_MAX];
        for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
            hash[l] = __builtin_bswap32(run->hash[l]++);
        units_put(prf->block, prf->adrs + ADRS_HASH, hash);
        /* Four rows are written each time: with n = 24 the mask overwrites the last of the key. */
        prf_run(prf, 0, run->parts);
        prf_run(prf, 1, masked);
        for (size_t r = 0; r < prf->words; r++)
            row_xor(masked[r], run->value[r]);
        rows_put(run->f, prf->pad, run->parts, 2 * prf->words);
        prf->ops->block(run->value, run->f);
    }
}

void xmss_keccak_chains(const struct keccak_ops *ops, const struct hbs_xmss *x,
                        const struct hbs_wots_chain *chains, size_t count)
{
    const struct deal_ops dealt = {.lanes = ops->lanes,
                                   .lengths = chain_lengths,
                                   .load = chain_load,
                                   .store = chain_store,
                                   .move = chain_move,
                                   .steps = chain_steps};
    struct dealing dealing LEFT_AS_IS;
    struct chain_run run = {.chains = chains};
    prf_open(&run.prf, ops, x);
    block_open(run.f, x->params->pad, PAD_F, run.prf.pad + 2 * run.prf.n);
    deal(&dealing, &dealt, &run, count);
    wipe(&run, sizeof(run));
    keccak_scrub();
}

/* Starts of chains ----------------------------------------------------------------------------- */

void xmss_keccak_starts(const struct keccak_ops *ops, const struct hbs_xmss *x,
                        const uint8_t *secret, const struct hbs_wots_chain *chains, size_t count)
{
    const struct xmss_params *params = x->params;
    alignas(64) row block[BLOCK_WORDS];
    alignas(64) row out[4];
    size_t pad = params->pad / 4U;
    size_t n = params->n / 4U;
    size_t adrs = pad + 2 * n;
    block_open(block, params->pad, PAD_PRF_KEYGEN, adrs + ADRS_WORDS);
    bytes_put(block, pad, secret, params->n);
    bytes_put(block, pad + n, x->seed, params->n);
    for (size_t done = 0; done < count; done += ops->lanes) {
        size_t now = count - done < ops->lanes ? count - done : ops->lanes;
        for (size_t l = 0; l < now; l++)
            for (size_t i = 0; i < ADRS_HASH; i++)
                unit_put(block, adrs + i, l, __builtin_bswap32(chains[done + l].adrs[i]));
        ops->block(out, block);
        for (size_t l = 0; l < now; l++)
            lane_put(chains[done + l].value, out, l, params->n / 8U);
    }
    wipe(block, sizeof(block));
    wipe(out, sizeof(out));
    keccak_scrub();
}

/* Nodes ---------------------------------------------------------------------------------------- */

void xmss_keccak_nodes(const struct keccak_ops *ops, const struct hbs_xmss *x,
                       const struct hbs_xmss_node *nodes, size_t count)
{
    struct prf_lanes prf;
    alignas(64) row h[BLOCK_WORDS];
    alignas(64) row parts[12]; /* key and the two masked children */
    alignas(64) row children[8];
    prf_open(&prf, ops, x);
    size_t words = prf.words;
    block_open(h, x->params->pad, PAD_H, prf.pad + 3 * prf.n);
    memset(children, 0, sizeof(children)); /* lanes that nobody uses are computed too */
    for (size_t done = 0; done < count; done += ops->lanes) {
        size_t now = count - done < ops->lanes ? count - done : ops->lanes;
        for (size_t l = 0; l < now; l++) {
            prf_address(&prf, l, nodes[done + l].adrs, ADRS_KEY_AND_MASK);
            lane_get(children, l, nodes[done + l].left, words);
            lane_get(children + words, l, nodes[done + l].right, words);
        }
        for (uint32_t k = 0; k < 3; k++)
            prf_run(&prf, k, parts + k * words);
        for (size_t r = 0; r < 2 * words; r++)
            row_xor(parts[words + r], children[r]);
        rows_put(h, prf.pad, parts, 3 * words);
        ops->block(parts, h);
        for (size_t l = 0; l < now; l++)
            lane_put(nodes[done + l].out, parts, l, words);
    }
}
