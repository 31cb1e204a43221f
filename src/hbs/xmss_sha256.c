#include <string.h>

#include "base/bytes.h"
#include "hbs/kernel_deal.h"
#include "hbs/xmss_lanes.h"

/* Hash inputs (RFC 8391 §5.1, SP 800-208 §5), in words. All begin with toByte(number, pad).
 *
 *            n = 32, pad = 32                        n = 24, pad = 4
 * PRF        [3, SEED: kept] [ADRS, padding]         [3, SEED, ADRS, 0x80…] [padding]
 * F          [0, KEY] [M, padding]                   [0, KEY, M, padding]
 * H          [1, KEY] [M] [padding]                  [1, KEY, M: 9 words] [M: 3 words, padding]
 * PRF_keygen [4, S_XMSS: kept] [SEED, ADRS] [padding]
 *                                                    [4, S_XMSS, SEED, ADRS: 3] [ADRS: 5, padding]
 */
enum { PAD_H = 1, PAD_PRF = 3, PAD_PRF_KEYGEN = 4 };

#define STOP 0x80000000U /* the first byte of padding (FIPS 180-4 §5.1.1) */
#define BITS(bytes) (8U * (bytes))

typedef uint32_t row[LANES_MAX];

/* Rows hold four lanes in each of these. Kernels have a multiple of four lanes. */
typedef uint32_t quad __attribute__((vector_size(16)));

static inline quad quad_get(const uint32_t *p)
{
    quad x;
    memcpy(&x, p, sizeof(x));
    return x;
}

static inline void quad_put(uint32_t *p, quad x)
{
    memcpy(p, &x, sizeof(x));
}

static void row_set(row r, uint32_t value, size_t lanes)
{
    const quad x = {value, value, value, value};
    for (size_t l = 0; l < lanes; l += 4)
        quad_put(r + l, x);
}

static void rows_set(row *r, const uint32_t *values, size_t count, size_t lanes)
{
    for (size_t i = 0; i < count; i++)
        row_set(r[i], values[i], lanes);
}

static void rows_copy(row *to, const row *from, size_t count, size_t lanes)
{
    for (size_t i = 0; i < count; i++)
        for (size_t l = 0; l < lanes; l += 4)
            quad_put(to[i] + l, quad_get(from[i] + l));
}

static void rows_xor(row *out, const row *a, const row *b, size_t count, size_t lanes)
{
    for (size_t i = 0; i < count; i++)
        for (size_t l = 0; l < lanes; l += 4)
            quad_put(out[i] + l, quad_get(a[i] + l) ^ quad_get(b[i] + l));
}

static void lane_get(row *to, size_t lane, const uint8_t *bytes, size_t words)
{
    for (size_t r = 0; r < words; r++)
        to[r][lane] = be_get32(bytes + 4 * r);
}

static void lane_put(uint8_t *bytes, const row *from, size_t lane, size_t words)
{
    for (size_t r = 0; r < words; r++)
        be_put32(bytes + 4 * r, from[r][lane]);
}

/* The last words of a block: STOP at word `stop`, zeros, and the length of the whole message. */
static void padding(row *block, size_t stop, uint32_t message_len, size_t lanes)
{
    row_set(block[stop], STOP, lanes);
    for (size_t i = stop + 1; i < 15; i++)
        row_set(block[i], 0, lanes);
    row_set(block[15], BITS(message_len), lanes);
}

static uint32_t rotr(uint32_t x, unsigned n)
{
    return (x >> n) | (x << (32 - n));
}

void xmss_sha256_keep(uint32_t state[8], const uint8_t block[64])
{
    uint32_t w[64];
    uint32_t s[8];
    for (size_t t = 0; t < 16; t++)
        w[t] = be_get32(block + 4 * t);
    for (size_t t = 16; t < 64; t++)
        w[t] = w[t - 16] + (rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ (w[t - 15] >> 3)) +
               w[t - 7] + (rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ (w[t - 2] >> 10));
    memcpy(s, sha256_iv, sizeof(s));
    for (size_t t = 0; t < 64; t++) {
        uint32_t t1 = s[7] + (rotr(s[4], 6) ^ rotr(s[4], 11) ^ rotr(s[4], 25)) +
                      ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha256_k[t] + w[t];
        uint32_t t2 = (rotr(s[0], 2) ^ rotr(s[0], 13) ^ rotr(s[0], 22)) +
                      ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof(*s));
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (size_t i = 0; i < 8; i++)
        state[i] = sha256_iv[i] + s[i];
    wipe(w, sizeof(w));
    wipe(s, sizeof(s));
}

/* PRF: keys and masks -------------------------------------------------------------------------- */

struct prf_lanes {
    alignas(64) row block[16]; /* the block with the address */
    row last[16];              /* n = 24: the block behind it */
    row start[8];
    row iv[8];
    const struct lane_ops *ops;
    size_t lanes; /* that are filled in: a multiple of four */
    size_t words; /* n / 4 */
    row *adrs;    /* inside block */
};

static void prf_open(struct prf_lanes *p, const struct lane_ops *ops, const struct hbs_xmss *x,
                     size_t used)
{
    p->ops = ops;
    size_t rounded = (used + 3) / 4 * 4;
    p->lanes = rounded < ops->lanes ? rounded : ops->lanes;
    p->words = x->params->n / 4U;
    rows_set(p->iv, sha256_iv, 8, p->lanes);
    if (p->words == 8) {
        p->adrs = p->block;
        rows_set(p->start, x->prf, 8, p->lanes);
        padding(p->block, ADRS_WORDS, 32 + 32 + 32, p->lanes);
    } else {
        p->adrs = p->block + 7;
        rows_set(p->start, sha256_iv, 8, p->lanes);
        row_set(p->block[0], PAD_PRF, p->lanes);
        for (size_t r = 0; r < 6; r++)
            row_set(p->block[1 + r], be_get32(x->seed + 4 * r), p->lanes);
        row_set(p->block[15], STOP, p->lanes);
        padding(p->last, 0, 4 + 24 + 32, p->lanes);
        row_set(p->last[0], 0, p->lanes); /* it stands in the block before */
    }
}

static void prf_address(struct prf_lanes *p, size_t lane, const uint32_t *adrs, size_t words)
{
    for (size_t i = 0; i < words; i++)
        p->adrs[i][lane] = adrs[i];
}

/* out := PRF(SEED, ADRS) with this keyAndMask, eight rows; of them p->words count. */
static void prf_run(struct prf_lanes *p, uint32_t key_and_mask, row *out, size_t active)
{
    row_set(p->adrs[ADRS_KEY_AND_MASK], key_and_mask, p->lanes);
    p->ops->words(out, p->start, p->block, active);
    if (p->words < 8)
        p->ops->words(out, out, p->last, active);
}

/* Chains --------------------------------------------------------------------------------------- */

struct chain_run {
    struct prf_lanes prf;
    row f1[16]; /* n = 32: the block with the key */
    row f2[16]; /* the block with the masked value */
    row value[8];
    row mask[8];
    const struct hbs_wots_chain *chains;
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
    run->prf.adrs[ADRS_HASH][lane] = chain->from;
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
    for (size_t i = 0; i <= ADRS_HASH; i++)
        run->prf.adrs[i][to] = run->prf.adrs[i][from];
    for (size_t r = 0; r < run->prf.words; r++)
        run->value[r][to] = run->value[r][from];
}

/* value := F(KEY, value ^ BM) */
static void chain_step_32(struct chain_run *run, size_t active)
{
    prf_run(&run->prf, 0, run->f1 + 8, active);
    prf_run(&run->prf, 1, run->mask, active);
    rows_xor(run->f2, run->mask, run->value, 8, run->prf.lanes);
    run->prf.ops->words(run->value, run->prf.iv, run->f1, active);
    run->prf.ops->words(run->value, run->value, run->f2, active);
}

static void chain_step_24(struct chain_run *run, size_t active)
{
    /* Two rows more than the key: the masked value is written over them. */
    prf_run(&run->prf, 0, run->f2 + 1, active);
    prf_run(&run->prf, 1, run->mask, active);
    rows_xor(run->f2 + 7, run->mask, run->value, 6, run->prf.lanes);
    run->prf.ops->words(run->value, run->prf.iv, run->f2, active);
}

static void chain_steps(void *ctx, size_t active, size_t steps)
{
    struct chain_run *run = ctx;
    const quad one = {1, 1, 1, 1};
    for (; steps > 0; steps--) {
        if (run->prf.words == 8)
            chain_step_32(run, active);
        else
            chain_step_24(run, active);
        uint32_t *hash = run->prf.adrs[ADRS_HASH];
        for (size_t l = 0; l < run->prf.lanes; l += 4)
            quad_put(hash + l, quad_get(hash + l) + one);
    }
}

static void chain_run_open(struct chain_run *run, const struct lane_ops *ops,
                           const struct hbs_xmss *x, const struct hbs_wots_chain *chains,
                           size_t count)
{
    prf_open(&run->prf, ops, x, count);
    run->chains = chains;
    size_t lanes = run->prf.lanes;
    for (size_t i = 0; i < 8; i++)
        row_set(run->f1[i], 0, lanes);
    row_set(run->f2[0], 0, lanes);
    if (run->prf.words == 8)
        padding(run->f2, 8, 32 + 32 + 32, lanes);
    else
        padding(run->f2, 13, 4 + 24 + 24, lanes);
}

void xmss_sha256_chains(const struct lane_ops *ops, const struct hbs_xmss *x,
                        const struct hbs_wots_chain *chains, size_t count)
{
    const struct deal_ops dealt = {.lanes = ops->lanes,
                                   .lengths = chain_lengths,
                                   .load = chain_load,
                                   .store = chain_store,
                                   .move = chain_move,
                                   .steps = chain_steps};
    struct dealing dealing LEFT_AS_IS;
    struct chain_run run LEFT_AS_IS;
    chain_run_open(&run, ops, x, chains, count);
    deal(&dealing, &dealt, &run, count);
    wipe(run.f2, sizeof(run.f2));
    wipe(run.value, sizeof(run.value));
    lanes_scrub(ops);
}

/* Starts of chains ----------------------------------------------------------------------------- */

struct start_run {
    alignas(64) row start[8];
    row first[16];
    row last[16];
    row out[8];
};

/* What all starts share; returns where the address begins, counted in words from the first block.
 */
static size_t start_run_open(struct start_run *run, const struct hbs_xmss *x, const uint8_t *secret,
                             size_t lanes)
{
    uint8_t text[128] = {0};
    uint8_t n = x->params->n;
    uint8_t pad = x->params->pad;
    text[pad - 1] = PAD_PRF_KEYGEN;
    memcpy(text + pad, secret, n);
    memcpy(text + pad + n, x->seed, n);
    const uint8_t *first = text;
    if (n == 32) {
        uint32_t kept[8];
        xmss_sha256_keep(kept, text);
        rows_set(run->start, kept, 8, lanes);
        wipe(kept, sizeof(kept));
        first += 64;
        padding(run->last, 0, 32 + 32 + 32 + 32, lanes);
    } else {
        rows_set(run->start, sha256_iv, 8, lanes);
        padding(run->last, 5, 4 + 24 + 24 + 32, lanes);
    }
    for (size_t i = 0; i < 16; i++)
        row_set(run->first[i], be_get32(first + 4 * i), lanes);
    wipe(text, sizeof(text));
    return n == 32 ? 8 : 13;
}

static void start_address(struct start_run *run, size_t at, size_t lane, const uint32_t *adrs)
{
    for (size_t i = 0; i < ADRS_WORDS; i++, at++) {
        uint32_t word = i < ADRS_HASH ? adrs[i] : 0;
        if (at < 16)
            run->first[at][lane] = word;
        else
            run->last[at - 16][lane] = word;
    }
}

void xmss_sha256_starts(const struct lane_ops *ops, const struct hbs_xmss *x, const uint8_t *secret,
                        const struct hbs_wots_chain *chains, size_t count)
{
    struct start_run run LEFT_AS_IS;
    size_t at = start_run_open(&run, x, secret, ops->lanes);
    for (size_t done = 0; done < count; done += ops->lanes) {
        size_t now = count - done < ops->lanes ? count - done : ops->lanes;
        for (size_t l = 0; l < now; l++)
            start_address(&run, at, l, chains[done + l].adrs);
        ops->words(run.out, run.start, run.first, now);
        ops->words(run.out, run.out, run.last, now);
        for (size_t l = 0; l < now; l++)
            lane_put(chains[done + l].value, run.out, l, x->params->n / 4U);
    }
    wipe(&run, sizeof(run));
    lanes_scrub(ops);
}

/* Nodes ---------------------------------------------------------------------------------------- */

struct node_run {
    struct prf_lanes prf;
    row h1[24]; /* the block with the key; n = 24: and the masks, up to the next block */
    row h2[16];
    row h3[16];
    row left[8];
    row right[8];
    row out[8];
};

static void node_run_open(struct node_run *run, const struct lane_ops *ops,
                          const struct hbs_xmss *x, size_t count)
{
    prf_open(&run->prf, ops, x, count);
    size_t lanes = run->prf.lanes;
    for (size_t i = 0; i < 7; i++)
        row_set(run->h1[i], 0, lanes);
    row_set(run->h1[run->prf.words == 8 ? 7 : 0], PAD_H, lanes);
    if (run->prf.words == 8) {
        padding(run->h3, 0, 32 + 32 + 64, lanes);
    } else {
        padding(run->h2, 3, 4 + 24 + 48, lanes);
    }
}

/* out := H(KEY, (left ^ BM0) || (right ^ BM1)) */
static void nodes_32(struct node_run *run, size_t active)
{
    const struct lane_ops *ops = run->prf.ops;
    prf_run(&run->prf, 0, run->h1 + 8, active);
    prf_run(&run->prf, 1, run->h2, active);
    prf_run(&run->prf, 2, run->h2 + 8, active);
    rows_xor(run->h2, run->h2, run->left, 8, run->prf.lanes);
    rows_xor(run->h2 + 8, run->h2 + 8, run->right, 8, run->prf.lanes);
    ops->words(run->out, run->prf.iv, run->h1, active);
    ops->words(run->out, run->out, run->h2, active);
    ops->words(run->out, run->out, run->h3, active);
}

static void nodes_24(struct node_run *run, size_t active)
{
    const struct lane_ops *ops = run->prf.ops;
    /* Eight rows are written each time, and the two too many overwritten by the next. */
    prf_run(&run->prf, 0, run->h1 + 1, active);
    prf_run(&run->prf, 1, run->h1 + 7, active);
    prf_run(&run->prf, 2, run->h1 + 13, active);
    rows_xor(run->h1 + 7, run->h1 + 7, run->left, 6, run->prf.lanes);
    rows_xor(run->h1 + 13, run->h1 + 13, run->right, 6, run->prf.lanes);
    rows_copy(run->h2, run->h1 + 16, 3, run->prf.lanes);
    ops->words(run->out, run->prf.iv, run->h1, active);
    ops->words(run->out, run->out, run->h2, active);
}

void xmss_sha256_nodes(const struct lane_ops *ops, const struct hbs_xmss *x,
                       const struct hbs_xmss_node *nodes, size_t count)
{
    struct node_run run LEFT_AS_IS;
    node_run_open(&run, ops, x, count);
    size_t words = run.prf.words;
    for (size_t done = 0; done < count; done += ops->lanes) {
        size_t now = count - done < ops->lanes ? count - done : ops->lanes;
        for (size_t l = 0; l < now; l++) {
            prf_address(&run.prf, l, nodes[done + l].adrs, ADRS_KEY_AND_MASK);
            lane_get(run.left, l, nodes[done + l].left, words);
            lane_get(run.right, l, nodes[done + l].right, words);
        }
        if (words == 8)
            nodes_32(&run, now);
        else
            nodes_24(&run, now);
        for (size_t l = 0; l < now; l++)
            lane_put(nodes[done + l].out, run.out, l, words);
    }
}
