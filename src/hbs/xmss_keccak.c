#include <string.h>

#include "base/bytes.h"
#include "hbs/kernel_deal.h"
#include "hbs/xmss_lanes.h"

/* Hash inputs as in xmss_sha256.c, all in one block of SHAKE256 (FIPS 202 §6.2). Where a part
 * begins is counted in units of four bytes: with n = 24 and toByte(number, 4) nothing lies on a
 * word of eight. A block is made by xor into zeros. */
enum { PAD_F = 0, PAD_H = 1, PAD_PRF = 3, PAD_PRF_KEYGEN = 4 };

#define STATE_WORDS 25
#define RATE_WORDS (KECCAK_RATE / 8)
#define PAD_FIRST 0x1fU /* SHAKE's suffix 1111 and the first bit of the padding */

typedef uint64_t row[KECCAK_LANES_MAX];

static void row_xor(row to, const row from)
{
    for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
        to[l] ^= from[l];
}

/* Xor count rows into a block from a unit on. */
static void rows_absorb(row *block, size_t unit, const row *rows, size_t count)
{
    row *to = block + unit / 2;
    for (size_t i = 0; i < count; i++, to++) {
        if (unit % 2 == 0) {
            row_xor(*to, rows[i]);
            continue;
        }
        for (size_t l = 0; l < KECCAK_LANES_MAX; l++) {
            to[0][l] ^= rows[i][l] << 32;
            to[1][l] ^= rows[i][l] >> 32;
        }
    }
}

static uint32_t le_get32(const uint8_t *p)
{
    return p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16) | ((uint32_t)p[3] << 24);
}

static void unit_xor(row *block, size_t unit, size_t lane, uint32_t value)
{
    block[unit / 2][lane] ^= (uint64_t)value << (unit % 2 * 32);
}

/* The same bytes in all lanes. */
static void bytes_absorb(row *block, size_t unit, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len / 4; i++)
        for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
            unit_xor(block, unit + i, l, le_get32(bytes + 4 * i));
}

static void lane_get(row *to, size_t lane, const uint8_t *bytes, size_t words)
{
    for (size_t r = 0; r < words; r++)
        to[r][lane] = le_get32(bytes + 8 * r) | ((uint64_t)le_get32(bytes + 8 * r + 4) << 32);
}

static void lane_put(uint8_t *bytes, const row *from, size_t lane, size_t words)
{
    for (size_t r = 0; r < words; r++)
        for (size_t i = 0; i < 8; i++)
            bytes[8 * r + i] = (uint8_t)(from[r][lane] >> (8 * i));
}

/* A block of zeros but for toByte(number, pad) and the padding behind `units` units of text. */
static void block_open(row block[STATE_WORDS], uint8_t pad, uint8_t number, size_t units)
{
    memset(block, 0, STATE_WORDS * sizeof(row));
    for (size_t l = 0; l < KECCAK_LANES_MAX; l++) {
        unit_xor(block, pad / 4U - 1, l, (uint32_t)number << 24);
        unit_xor(block, units, l, PAD_FIRST);
        block[RATE_WORDS - 1][l] ^= UINT64_C(0x80) << 56;
    }
}

/* Addresses in a block: word by word, with the last ones counted up by the runs below. */
struct addressed {
    alignas(64) row block[STATE_WORDS];
    size_t unit; /* where the address begins */
};

static void address_put(struct addressed *a, size_t lane, size_t word, uint32_t value)
{
    size_t unit = a->unit + word;
    unsigned shift = unit % 2 * 32;
    uint64_t *at = &a->block[unit / 2][lane];
    *at = (*at & ~(UINT64_C(0xffffffff) << shift)) | ((uint64_t)__builtin_bswap32(value) << shift);
}

static void address_all(struct addressed *a, size_t word, uint32_t value)
{
    for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
        address_put(a, l, word, value);
}

/* What chains and nodes have in common: PRF, and the sizes. */
struct prf_lanes {
    struct addressed in;
    row work[STATE_WORDS];
    const struct keccak_ops *ops;
    size_t pad;   /* units of toByte() */
    size_t n;     /* units of a value */
    size_t words; /* n / 8 */
};

static void prf_open(struct prf_lanes *p, const struct keccak_ops *ops, const struct hbs_xmss *x)
{
    const struct xmss_params *params = x->params;
    p->ops = ops;
    p->pad = params->pad / 4U;
    p->n = params->n / 4U;
    p->words = params->n / 8U;
    p->in.unit = p->pad + p->n;
    block_open(p->in.block, params->pad, PAD_PRF, p->in.unit + ADRS_WORDS);
    bytes_absorb(p->in.block, p->pad, x->seed, params->n);
}

/* Xor PRF(SEED, ADRS) with this keyAndMask into a block. */
static void prf_absorb(struct prf_lanes *p, uint32_t key_and_mask, row *block, size_t unit)
{
    address_all(&p->in, ADRS_KEY_AND_MASK, key_and_mask);
    memcpy(p->work, p->in.block, sizeof(p->work));
    p->ops->permute(p->work);
    rows_absorb(block, unit, p->work, p->words);
}

/* The functions of a kernel spill secrets to the stack. Called from where they were called, this
 * one lies over the same bytes. */
static __attribute__((noinline)) void scrub(void)
{
    uint8_t below[FRAME_MAX] LEFT_AS_IS;
    wipe(below, sizeof(below));
}

/* Chains --------------------------------------------------------------------------------------- */

struct chain_run {
    struct prf_lanes prf;
    alignas(64) row empty[STATE_WORDS]; /* F before key and value */
    row value[STATE_WORDS];             /* the first words of it, after each step */
    const struct hbs_wots_chain *chains;
    uint32_t hash[KECCAK_LANES_MAX];
};

static size_t chain_length(const void *ctx, size_t item)
{
    const struct hbs_wots_chain *chain = ((const struct chain_run *)ctx)->chains + item;
    return (size_t)chain->to - chain->from;
}

static void chain_load(void *ctx, size_t lane, size_t item)
{
    struct chain_run *run = ctx;
    const struct hbs_wots_chain *chain = run->chains + item;
    for (size_t i = 0; i < ADRS_HASH; i++)
        address_put(&run->prf.in, lane, i, chain->adrs[i]);
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
    for (size_t r = 0; r < STATE_WORDS; r++)
        run->prf.in.block[r][to] = run->prf.in.block[r][from];
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
    row next[STATE_WORDS];
    for (; steps > 0; steps--) {
        for (size_t l = 0; l < KECCAK_LANES_MAX; l++)
            address_put(&prf->in, l, ADRS_HASH, run->hash[l]++);
        memcpy(next, run->empty, sizeof(next));
        prf_absorb(prf, 0, next, prf->pad);
        prf_absorb(prf, 1, next, prf->pad + prf->n);
        rows_absorb(next, prf->pad + prf->n, run->value, prf->words);
        memcpy(run->value, next, sizeof(next));
        prf->ops->permute(run->value);
    }
    wipe(next, sizeof(next));
}

void xmss_keccak_chains(const struct keccak_ops *ops, const struct hbs_xmss *x,
                        const struct hbs_wots_chain *chains, size_t count)
{
    const struct deal_ops dealt = {ops->lanes,  chain_length, chain_load,
                                   chain_store, chain_move,   chain_steps};
    struct chain_run run = {.chains = chains};
    prf_open(&run.prf, ops, x);
    block_open(run.empty, x->params->pad, PAD_F, run.prf.pad + 2 * run.prf.n);
    deal(&dealt, &run, count);
    wipe(run.value, sizeof(run.value));
    scrub();
}

/* Starts of chains ----------------------------------------------------------------------------- */

void xmss_keccak_starts(const struct keccak_ops *ops, const struct hbs_xmss *x,
                        const uint8_t *secret, const struct hbs_wots_chain *chains, size_t count)
{
    const struct xmss_params *params = x->params;
    struct addressed in = {.unit = params->pad / 4U + 2 * (params->n / 4U)};
    alignas(64) row work[STATE_WORDS];
    block_open(in.block, params->pad, PAD_PRF_KEYGEN, in.unit + ADRS_WORDS);
    bytes_absorb(in.block, params->pad / 4U, secret, params->n);
    bytes_absorb(in.block, params->pad / 4U + params->n / 4U, x->seed, params->n);
    for (size_t done = 0; done < count; done += ops->lanes) {
        size_t now = count - done < ops->lanes ? count - done : ops->lanes;
        for (size_t l = 0; l < now; l++)
            for (size_t i = 0; i < ADRS_HASH; i++)
                address_put(&in, l, i, chains[done + l].adrs[i]);
        memcpy(work, in.block, sizeof(work));
        ops->permute(work);
        for (size_t l = 0; l < now; l++)
            lane_put(chains[done + l].value, work, l, params->n / 8U);
    }
    wipe(&in, sizeof(in));
    wipe(work, sizeof(work));
    scrub();
}

/* Nodes ---------------------------------------------------------------------------------------- */

void xmss_keccak_nodes(const struct keccak_ops *ops, const struct hbs_xmss *x,
                       const struct hbs_xmss_node *nodes, size_t count)
{
    struct prf_lanes prf = {0};
    prf_open(&prf, ops, x);
    alignas(64) row empty[STATE_WORDS]; /* H before key and children */
    alignas(64) row work[STATE_WORDS];
    row children[2][4];
    size_t at = prf.pad + prf.n;
    block_open(empty, x->params->pad, PAD_H, at + 2 * prf.n);
    memset(children, 0, sizeof(children));
    for (size_t done = 0; done < count; done += ops->lanes) {
        size_t now = count - done < ops->lanes ? count - done : ops->lanes;
        for (size_t l = 0; l < now; l++) {
            for (size_t i = 0; i < ADRS_KEY_AND_MASK; i++)
                address_put(&prf.in, l, i, nodes[done + l].adrs[i]);
            lane_get(children[0], l, nodes[done + l].left, prf.words);
            lane_get(children[1], l, nodes[done + l].right, prf.words);
        }
        memcpy(work, empty, sizeof(work));
        prf_absorb(&prf, 0, work, prf.pad);
        prf_absorb(&prf, 1, work, at);
        prf_absorb(&prf, 2, work, at + prf.n);
        rows_absorb(work, at, children[0], prf.words);
        rows_absorb(work, at + prf.n, children[1], prf.words);
        ops->permute(work);
        for (size_t l = 0; l < now; l++)
            lane_put(nodes[done + l].out, work, l, prf.words);
    }
}
