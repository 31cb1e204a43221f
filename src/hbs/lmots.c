#include "hbs/lmots.h"

#include <string.h>

#include "base/bytes.h"
#include "hbs/kernel_lanes.h" /* LEFT_AS_IS */
#include "hbs/kernel_leaves.h"

#define KEY_PREFIX (LMS_I_LEN + 4 + 2) /* I, q, D_PBLK */
#define BATCH_LEAVES_MAX (LMOTS_BATCH_CHAINS / 26)
#define BATCH_TEXT (BATCH_LEAVES_MAX * KEY_PREFIX + LMOTS_BATCH_CHAINS * HBS_N_MAX)

_Static_assert(LMOTS_BATCH_CHAINS >= 2 * LMOTS_P_MAX, "a batch must hold whole leaves");

/* The chains of as many leaves as are signed with at once. Filled before they are read, so that
 * only the part in use costs anything. */
struct secret_chains {
    size_t used;
    struct hbs_chain chains[LMOTS_BATCH_CHAINS];
};

static void secret_chains_wipe(struct secret_chains *set)
{
    wipe(set->chains, set->used * sizeof(set->chains[0]));
}

size_t lmots_batch_leaves(const struct lmots_params *ots)
{
    return LMOTS_BATCH_CHAINS / ots->p;
}

/* n is 24 or 32; a length that the compiler knows spares a call each time. */
static inline void copy_n(uint8_t *out, const uint8_t *in, uint8_t n)
{
    if (n == 32)
        memcpy(out, in, 32);
    else
        memcpy(out, in, 24);
}

static uint16_t digit(const uint8_t *text, size_t i, uint8_t w)
{
    size_t bit = i * w;
    unsigned shift = 8 - w - (unsigned)(bit % 8);
    return (uint16_t)(((unsigned)text[bit / 8] >> shift) & ((1U << w) - 1));
}

void lmots_digits(const struct lmots_params *ots, const uint8_t *value,
                  uint16_t digits[LMOTS_P_MAX])
{
    uint8_t text[HBS_N_MAX + 2];
    memcpy(text, value, ots->n);
    size_t message_digits = (size_t)ots->n * 8 / ots->w;
    unsigned top = (1U << ots->w) - 1;
    unsigned sum = 0;
    for (size_t i = 0; i < message_digits; i++)
        sum += top - digit(text, i, ots->w);
    be_put16(text + ots->n, (uint16_t)(sum << ots->ls));
    for (size_t i = 0; i < ots->p; i++)
        digits[i] = digit(text, i, ots->w);
}

/* The chains of one leaf, not yet run: one step from SEED to their starts, and on to step ends[i],
 * or to the last one of all if ends is NULL. */
static void chains_from_seed(const struct lmots_params *ots, uint32_t q, const uint8_t *seed,
                             const uint16_t *ends, struct hbs_chain *chains)
{
    for (uint16_t i = 0; i < ots->p; i++) {
        chains[i].q = q;
        chains[i].i = i;
        chains[i].from = HBS_STEP_SEED;
        unsigned end = ends != NULL ? ends[i] : (1U << ots->w) - 1;
        chains[i].to = (uint16_t)(HBS_STEP_SEED + 1 + end);
        copy_n(chains[i].value, seed, ots->n);
    }
}

/* Write I || u32str(q) || u16str(D_PBLK) || ends of the chains, the text whose hash is K. */
static void key_text(const struct lmots_params *ots, const uint8_t *id, uint32_t q,
                     const struct hbs_chain *chains, uint8_t *text)
{
    memcpy(text, id, LMS_I_LEN);
    be_put32(text + LMS_I_LEN, q);
    be_put16(text + LMS_I_LEN + 4, D_PBLK);
    for (size_t i = 0; i < ots->p; i++)
        copy_n(text + KEY_PREFIX + i * ots->n, chains[i].value, ots->n);
}

/* Any number of leaves, by their chains. */
static void few_public_keys(const struct lmots_params *ots, const uint8_t *id, uint32_t first,
                            size_t count, const uint8_t *seed, uint8_t *keys)
{
    /* No path leaves between the seed and the ends of the chains, which are public: they are the
     * public key. So there is nothing to wipe. */
    struct hbs_chain chains[LMOTS_BATCH_CHAINS] LEFT_AS_IS;
    for (size_t k = 0; k < count; k++)
        chains_from_seed(ots, first + (uint32_t)k, seed, NULL, chains + k * ots->p);
    hbs_chains_run(ots->hash, ots->n, id, chains, count * ots->p);

    uint8_t texts[BATCH_TEXT] LEFT_AS_IS;
    struct hbs_job jobs[BATCH_LEAVES_MAX];
    size_t len = KEY_PREFIX + (size_t)ots->p * ots->n;
    for (size_t k = 0; k < count; k++) {
        key_text(ots, id, first + (uint32_t)k, chains + k * ots->p, texts + k * len);
        jobs[k] = (struct hbs_job){texts + k * len, len, keys + k * ots->n};
    }
    hbs_jobs_run(ots->hash, ots->n, jobs, count);
}

void lmots_public_keys(const struct lmots_params *ots, const uint8_t *id, uint32_t first,
                       size_t count, const uint8_t *seed, uint8_t *keys)
{
    const struct hbs_kernel *kernel = hbs_kernel_current(ots->hash);
    size_t row = hbs_kernel_leaves(kernel);
    for (; row > 0 && count >= row; count -= row, first += (uint32_t)row, keys += row * ots->n)
        hbs_kernel_leaf_keys(kernel, ots, id, first, seed, keys);
    size_t batch = lmots_batch_leaves(ots);
    for (size_t done = 0; done < count; done += batch)
        few_public_keys(ots, id, first + (uint32_t)done,
                        count - done < batch ? count - done : batch, seed, keys + done * ots->n);
}

static void sign_with(const struct lmots_params *ots, const uint8_t *id,
                      const struct lmots_signing *jobs, size_t count, struct hbs_chain *chains)
{
    uint16_t digits[LMOTS_P_MAX];
    for (size_t k = 0; k < count; k++) {
        lmots_digits(ots, jobs[k].value, digits);
        chains_from_seed(ots, jobs[k].q, jobs[k].seed, digits, chains + k * ots->p);
    }
    hbs_chains_run(ots->hash, ots->n, id, chains, count * ots->p);
    for (size_t k = 0; k < count; k++) {
        uint8_t *sig = jobs[k].sig;
        be_put32(sig, ots->type);
        memcpy(sig + 4, jobs[k].c, ots->n);
        uint8_t *y = sig + 4 + ots->n;
        for (size_t i = 0; i < ots->p; i++)
            copy_n(y + i * ots->n, chains[k * ots->p + i].value, ots->n);
    }
}

void lmots_sign(const struct lmots_params *ots, const uint8_t *id, const struct lmots_signing *jobs,
                size_t count)
{
    MUST(count >= 1);
    MUST(count <= lmots_batch_leaves(ots));
    struct secret_chains set CLEANUP(secret_chains_wipe) LEFT_AS_IS;
    set.used = count * ots->p;
    sign_with(ots, id, jobs, count, set.chains);
}

static void candidate_chains(const struct lmots_params *ots, const struct lmots_check *job,
                             struct hbs_chain *chains)
{
    uint16_t digits[LMOTS_P_MAX];
    lmots_digits(ots, job->value, digits);
    const uint8_t *y = job->sig + 4 + ots->n;
    for (uint16_t i = 0; i < ots->p; i++) {
        chains[i].q = job->q;
        chains[i].i = i;
        chains[i].from = digits[i];
        chains[i].to = (uint16_t)((1U << ots->w) - 1);
        copy_n(chains[i].value, y + (size_t)i * ots->n, ots->n);
    }
}

/* chains and texts: room for count leaves. */
static void candidates_with(const struct lmots_params *ots, const uint8_t *id,
                            const struct lmots_check *jobs, size_t count, struct hbs_chain *chains,
                            uint8_t *texts)
{
    for (size_t k = 0; k < count; k++)
        candidate_chains(ots, jobs + k, chains + k * ots->p);
    hbs_chains_run(ots->hash, ots->n, id, chains, count * ots->p);
    struct hbs_job hashes[BATCH_LEAVES_MAX] LEFT_AS_IS;
    size_t len = KEY_PREFIX + (size_t)ots->p * ots->n;
    for (size_t k = 0; k < count; k++) {
        key_text(ots, id, jobs[k].q, chains + k * ots->p, texts + k * len);
        hashes[k] = (struct hbs_job){texts + k * len, len, jobs[k].key};
    }
    hbs_jobs_run(ots->hash, ots->n, hashes, count);
}

void lmots_candidates(const struct lmots_params *ots, const uint8_t *id,
                      const struct lmots_check *jobs, size_t count)
{
    MUST(count >= 1);
    MUST(count <= lmots_batch_leaves(ots));
    /* All of it is public: nothing to wipe. */
    struct hbs_chain chains[LMOTS_BATCH_CHAINS] LEFT_AS_IS;
    uint8_t texts[BATCH_TEXT] LEFT_AS_IS;
    candidates_with(ots, id, jobs, count, chains, texts);
}
