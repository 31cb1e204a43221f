#include "hbs/kernel_leaves.h"

#include <string.h>

#include "base/bytes.h"
#include "hbs/kernel_keccak.h"
#include "hbs/kernel_lanes.h"
#include "hbs/lmots.h"

#define NOINLINE __attribute__((noinline))
#define KEY_PREFIX                                                                                 \
    (LMS_I_LEN + 4 + 2) /* I, q, D_PBLK; two bytes of the first value fill a word                  \
                         */

static size_t key_text_len(const struct lmots_params *ots)
{
    return KEY_PREFIX + (size_t)ots->p * ots->n;
}

/* SHA-256 ---------------------------------------------------------------------------------------
 */

typedef uint32_t row32[LANES_MAX];

#define VALUE_WORDS (HBS_N_MAX / 4)

/* The chains, and the hash over their ends. Values are split between two words of its blocks: the
 * lower half of the last word waits in rest. A value may begin in one block and end in the next. */
struct sha256_run {
    struct chain_lanes chains;
    alignas(64) row32 state[8];
    row32 block[16 + VALUE_WORDS];
    row32 rest;
    uint32_t seed[8];
    size_t words; /* in block */
    const struct lane_ops *ops;
};

static void row32_set(row32 to, uint32_t word)
{
    for (size_t l = 0; l < LANES_MAX; l++)
        to[l] = word;
}

static void sha256_block_end(struct sha256_run *run)
{
    if (run->words < 16)
        return;
    run->ops->words(run->state, (const row32 *)run->state, (const row32 *)run->block, LANES_MAX);
    run->words -= 16;
    memcpy(run->block, run->block + 16, run->words * sizeof(run->block[0]));
}

/* Whole words of values; half of the last one waits. */
static void sha256_append(struct sha256_run *run, const row32 *values, size_t words)
{
    run->ops->splice(run->block + run->words, run->rest, values, words);
    memcpy(run->rest, values[words - 1], sizeof(run->rest));
    run->words += words;
    sha256_block_end(run);
}

static void sha256_fill(struct sha256_run *run, uint32_t word)
{
    row32_set(run->block[run->words++], word);
    sha256_block_end(run);
}

/* The state before anything, and the words of I and q; D_PBLK waits for its other half. */
static void sha256_start(struct sha256_run *run, const uint8_t *id, uint32_t first)
{
    for (size_t r = 0; r < 8; r++)
        row32_set(run->state[r], sha256_iv[r]);
    for (size_t w = 0; w < 4; w++)
        row32_set(run->block[w], be_get32(id + 4 * w));
    for (uint32_t l = 0; l < LANES_MAX; l++)
        run->block[4][l] = run->chains.q[l] = first + l;
    row32_set(run->rest, D_PBLK);
    run->words = 5;
}

/* Padding (FIPS 180-4 §5.1.1). */
static void sha256_end(struct sha256_run *run, size_t len)
{
    alignas(64) row32 pad;
    row32_set(pad, UINT32_C(0x80) << 24);
    sha256_append(run, (const row32 *)&pad, 1);
    while (run->words != 14)
        sha256_fill(run, 0);
    sha256_fill(run, 0);
    sha256_fill(run, (uint32_t)(len * 8));
}

static void sha256_chain(struct sha256_run *run, const struct lmots_params *ots, uint16_t i)
{
    row32_set(run->chains.ij, (uint32_t)i << 16 | HBS_STEP_SEED << 8);
    run->ops->steps(&run->chains, LANES_MAX, UINT32_C(1) << ots->w);
    sha256_append(run, (const row32 *)run->chains.d, ots->n / 4U);
}

/* The work is in a function of its own, so that whatever it spills lies where the scrubbing wipes.
 */
static NOINLINE void sha256_run(struct sha256_run *run, const struct lmots_params *ots,
                                const uint8_t *id, uint32_t first, const uint8_t *seed,
                                uint8_t *keys)
{
    lanes_start(&run->chains, ots->n, id);
    memset(run->seed, 0, sizeof(run->seed));
    for (size_t r = 0; r < ots->n / 4U; r++)
        run->seed[r] = be_get32(seed + 4 * r);
    run->chains.seed = run->seed;
    sha256_start(run, id, first);
    for (uint16_t i = 0; i < ots->p; i++)
        sha256_chain(run, ots, i);
    sha256_end(run, key_text_len(ots));
    for (size_t l = 0; l < LANES_MAX; l++)
        for (size_t r = 0; r < ots->n / 4U; r++)
            be_put32(keys + l * ots->n + 4 * r, run->state[r][l]);
}

static void sha256_leaf_keys(const struct lane_ops *ops, const struct lmots_params *ots,
                             const uint8_t *id, uint32_t first, const uint8_t *seed, uint8_t *keys)
{
    struct sha256_run run LEFT_AS_IS;
    run.ops = ops;
    sha256_run(&run, ots, id, first, seed, keys);
    wipe(run.seed, sizeof(run.seed));
    wipe(&run.chains, sizeof(run.chains));
    lanes_scrub(ops);
}

/* SHAKE256 --------------------------------------------------------------------------------------
 */

typedef uint64_t row64[KECCAK_LANES_MAX];

/* As above; here the first two bytes of a value go to the word before, and its last six wait. */
struct shake256_run {
    struct keccak_chains chains;
    alignas(64) row64 state[25];
    row64 rest;
    size_t words; /* absorbed of this block */
    const struct keccak_ops *ops;
};

static void shake256_append(struct shake256_run *run, const row64 word)
{
    uint64_t *to = run->state[run->words++];
    for (size_t l = 0; l < KECCAK_LANES_MAX; l++) {
        to[l] ^= run->rest[l] | word[l] << 48;
        run->rest[l] = word[l] >> 16;
    }
    if (run->words < KECCAK_RATE / 8)
        return;
    run->ops->permute(run->state);
    run->words = 0;
}

/* I, and q and D_PBLK waiting. */
static void shake256_start(struct shake256_run *run, uint32_t first)
{
    memset(run->state, 0, sizeof(run->state));
    for (uint32_t l = 0; l < KECCAK_LANES_MAX; l++) {
        run->state[0][l] = run->chains.id[0];
        run->state[1][l] = run->chains.id[1];
        run->rest[l] = keccak_number(first + l, D_PBLK);
    }
    run->words = 2;
}

/* Padding (FIPS 202 §6.2). The bytes that wait never fill a word, so there is room in this block.
 */
static void shake256_end(struct shake256_run *run)
{
    for (size_t l = 0; l < KECCAK_LANES_MAX; l++) {
        run->state[run->words][l] ^= run->rest[l] | (uint64_t)KECCAK_PAD_FIRST << 48;
        run->state[KECCAK_RATE / 8 - 1][l] ^= (uint64_t)KECCAK_PAD_LAST << 56;
    }
    run->ops->permute(run->state);
}

static void shake256_chain(struct shake256_run *run, const struct lmots_params *ots, uint32_t first,
                           uint16_t i, const uint8_t *seed)
{
    /* Only lanes that run: in the others the seed would stay what it is, and go into the hash. */
    for (uint32_t l = 0; l < run->ops->lanes; l++) {
        run->chains.qij[l] = keccak_number(first + l, i) | (uint64_t)HBS_STEP_SEED << 48;
        for (size_t r = 0; r < ots->n / 8U; r++)
            run->chains.value[r][l] = keccak_get(seed + 8 * r);
    }
    run->ops->steps(&run->chains, UINT32_C(1) << ots->w);
    for (size_t r = 0; r < ots->n / 8U; r++)
        shake256_append(run, run->chains.value[r]);
}

static NOINLINE void shake256_run(struct shake256_run *run, const struct lmots_params *ots,
                                  const uint8_t *id, uint32_t first, const uint8_t *seed,
                                  uint8_t *keys)
{
    keccak_start(&run->chains, ots->n, id);
    shake256_start(run, first);
    for (uint16_t i = 0; i < ots->p; i++)
        shake256_chain(run, ots, first, i, seed);
    shake256_end(run);
    for (size_t l = 0; l < run->ops->lanes; l++)
        for (size_t r = 0; r < ots->n / 8U; r++)
            keccak_put(keys + l * ots->n + 8 * r, run->state[r][l]);
}

static void shake256_leaf_keys(const struct keccak_ops *ops, const struct lmots_params *ots,
                               const uint8_t *id, uint32_t first, const uint8_t *seed,
                               uint8_t *keys)
{
    struct shake256_run run LEFT_AS_IS;
    run.ops = ops;
    shake256_run(&run, ots, id, first, seed, keys);
    wipe(&run.chains, sizeof(run.chains));
    keccak_scrub();
}

/* Either ----------------------------------------------------------------------------------------
 */

size_t hbs_kernel_leaves(const struct hbs_kernel *kernel)
{
    if (kernel->lanes != NULL)
        return LANES_MAX;
    return kernel->keccak != NULL ? kernel->keccak->lanes : 0;
}

void hbs_kernel_leaf_keys(const struct hbs_kernel *kernel, const struct lmots_params *ots,
                          const uint8_t id[LMS_I_LEN], uint32_t first, const uint8_t *seed,
                          uint8_t *keys)
{
    MUST(kernel->hash == ots->hash);
    MUST(hbs_kernel_leaves(kernel) > 0);
    if (kernel->lanes != NULL)
        sha256_leaf_keys(kernel->lanes, ots, id, first, seed, keys);
    else
        shake256_leaf_keys(kernel->keccak, ots, id, first, seed, keys);
}
