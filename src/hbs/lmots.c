#include "hbs/lmots.h"

#include <string.h>

#include "base/bytes.h"
#include "hbs/kernel_lanes.h" /* LEFT_AS_IS */
#include "hbs/kernel_leaves.h"

#define KEY_PREFIX (LMS_I_LEN + 4 + 2) /* I, q, D_PBLK */

/* Chains that one hbs_chains_run() call gets at most: of 4 leaves at W1, 16 at W4, 32 at W8. */
#define BATCH_CHAINS 1088
_Static_assert(BATCH_CHAINS >= 2 * LMOTS_P_MAX, "a batch must hold whole leaves");

/* Texts whose hashes are public keys, so many that the lanes of that hash fill too: of 16 leaves at
 * W1, 64 at W4. */
#define BATCH_TEXT 138752
#define BATCH_LEAVES_MAX 64

/* The base-2^w digits of whole bytes, most significant first. */
static inline __attribute__((always_inline)) void digits_of(const uint8_t *bytes, size_t len,
                                                            unsigned w, uint16_t *digits)
{
    for (size_t i = 0; i < len; i++)
        for (unsigned bits = 0; bits < 8; bits += w)
            *digits++ = (uint16_t)((bytes[i] >> (8 - w - bits)) & ((1U << w) - 1));
}

/* A width that the compiler knows makes shifts of a loop. */
static void digits_split(const uint8_t *bytes, size_t len, unsigned w, uint16_t *digits)
{
    switch (w) {
    case 1:
        digits_of(bytes, len, 1, digits);
        break;
    case 2:
        digits_of(bytes, len, 2, digits);
        break;
    case 4:
        digits_of(bytes, len, 4, digits);
        break;
    default:
        digits_of(bytes, len, 8, digits);
    }
}

void lmots_digits(const struct lmots_params *ots, const uint8_t *value,
                  uint16_t digits[LMOTS_P_MAX])
{
    size_t of_message = (size_t)ots->n * 8 / ots->w;
    digits_split(value, ots->n, ots->w, digits);
    unsigned sum = (unsigned)of_message * ((1U << ots->w) - 1);
    for (size_t i = 0; i < of_message; i++)
        sum -= digits[i];
    uint8_t checksum[2];
    uint16_t of_checksum[16];
    be_put16(checksum, (uint16_t)(sum << ots->ls));
    digits_split(checksum, 2, ots->w, of_checksum);
    memcpy(digits + of_message, of_checksum, (ots->p - of_message) * sizeof(digits[0]));
}

/* The chains of one leaf: one step from SEED to their starts, and on to step ends[i], or to the
 * last one of all if ends is NULL. n bytes each to out. */
static void chains_from_seed(const struct lmots_params *ots, uint32_t q, const uint8_t *seed,
                             const uint16_t *ends, uint8_t *out, struct hbs_chain *chains)
{
    unsigned last = (1U << ots->w) - 1;
    for (uint16_t i = 0; i < ots->p; i++)
        chains[i] = (struct hbs_chain){
            .q = q,
            .i = i,
            .from = HBS_STEP_SEED,
            .to = (uint16_t)(HBS_STEP_SEED + 1 + (ends != NULL ? ends[i] : last)),
            .in = seed,
            .out = out + (size_t)i * ots->n,
        };
}

/* Stations ------------------------------------------------------------------------------------- */

/* Steps from one station to the next; 0: there are none. Fewer steps would need more memory, and
 * more would leave more work for when the digits are known. */
static unsigned stride_of(const struct lmots_params *ots)
{
    return ots->w == 8 ? 16 : 0;
}

/* The step of the s-th station: 0, 16, … 240, and 255, where chains end. */
static uint16_t station_step(const struct lmots_params *ots, unsigned s)
{
    unsigned last = (1U << ots->w) - 1;
    unsigned step = s * stride_of(ots);
    return (uint16_t)(step < last ? step : last);
}

static unsigned station_count(const struct lmots_params *ots)
{
    return (1U << ots->w) / stride_of(ots) + 1;
}

/* The s-th station of all chains of a key: p values. The last one is what its public key is the
 * hash of. */
static const uint8_t *station_at(const struct lmots_params *ots, const uint8_t *stations,
                                 unsigned s)
{
    return stations + (size_t)s * ots->p * ots->n;
}

size_t lmots_stations_len(const struct lmots_params *ots)
{
    return stride_of(ots) == 0 ? 0 : (size_t)station_count(ots) * ots->p * ots->n;
}

/* From the s-th station of a key to the next one; from SEED to the first. */
static void chains_to_station(const struct lmots_params *ots, const uint8_t *seed,
                              const struct lmots_preparing *job, unsigned s,
                              struct hbs_chain *chains)
{
    uint8_t *out = job->stations + (size_t)s * ots->p * ots->n;
    for (uint16_t i = 0; i < ots->p; i++) {
        size_t at = (size_t)i * ots->n;
        chains[i] = (struct hbs_chain){.q = job->q, .i = i, .out = out + at};
        if (s == 0) {
            chains[i].from = HBS_STEP_SEED;
            chains[i].to = HBS_STEP_SEED + 1;
            chains[i].in = seed;
        } else {
            chains[i].from = station_step(ots, s - 1);
            chains[i].to = station_step(ots, s);
            chains[i].in = station_at(ots, job->stations, s - 1) + at;
        }
    }
}

void lmots_prepare(const struct lmots_params *ots, const uint8_t *id, const uint8_t *seed,
                   const struct lmots_preparing *jobs, size_t count)
{
    MUST(stride_of(ots) != 0);
    MUST(count <= LMOTS_PREPARE_MAX);
    struct hbs_chain chains[LMOTS_PREPARE_MAX * LMOTS_P_MAX] LEFT_AS_IS;
    for (unsigned s = 0; s < station_count(ots); s++) {
        for (size_t k = 0; k < count; k++)
            chains_to_station(ots, seed, jobs + k, s, chains + k * ots->p);
        hbs_chains_run(ots->hash, ots->n, id, chains, count * ots->p);
    }
}

/* The chains of one leaf from the station at or below each digit. */
static void chains_from_stations(const struct lmots_params *ots, const struct lmots_signing *job,
                                 const uint16_t *digits, uint8_t *out, struct hbs_chain *chains)
{
    for (uint16_t i = 0; i < ots->p; i++) {
        unsigned s = digits[i] / stride_of(ots);
        chains[i] = (struct hbs_chain){
            .q = job->q,
            .i = i,
            .from = station_step(ots, s),
            .to = digits[i],
            .in = station_at(ots, job->stations, s) + (size_t)i * ots->n,
            .out = out + (size_t)i * ots->n,
        };
    }
}

/* Have all chains of a signature met the station above their digits? Then what they reached becomes
 * the ends of the key. All of this is public. */
static bool met_stations(const struct lmots_params *ots, const struct lmots_check *job,
                         uint8_t *reached)
{
    uint16_t digits[LMOTS_P_MAX] LEFT_AS_IS;
    lmots_digits(ots, job->value, digits);
    bool met = true;
    for (uint16_t i = 0; i < ots->p; i++) {
        size_t at = (size_t)i * ots->n;
        unsigned s = digits[i] / stride_of(ots) + 1;
        met = ct_equal(reached + at, station_at(ots, job->stations, s) + at, ots->n) && met;
    }
    if (met)
        memcpy(reached, station_at(ots, job->stations, station_count(ots) - 1),
               (size_t)ots->p * ots->n);
    return met;
}

/* Public keys ---------------------------------------------------------------------------------- */

/* Texts I || u32str(q) || u16str(D_PBLK) || ends of the chains, one behind the other, whose hashes
 * are public keys. */
struct key_texts {
    uint8_t text[BATCH_TEXT];
    struct hbs_job jobs[BATCH_LEAVES_MAX];
};

static size_t key_text_len(const struct lmots_params *ots)
{
    return KEY_PREFIX + (size_t)ots->p * ots->n;
}

/* Public keys that are made at once. */
static size_t key_texts_max(const struct lmots_params *ots)
{
    size_t max = BATCH_TEXT / key_text_len(ots);
    return max < BATCH_LEAVES_MAX ? max : BATCH_LEAVES_MAX;
}

/* Begin the k-th text. Returns where the ends of its chains belong. */
static uint8_t *key_text(const struct lmots_params *ots, const uint8_t *id, uint32_t q,
                         struct key_texts *texts, size_t k, uint8_t *key)
{
    uint8_t *text = texts->text + k * key_text_len(ots);
    memcpy(text, id, LMS_I_LEN);
    be_put32(text + LMS_I_LEN, q);
    be_put16(text + LMS_I_LEN + 4, D_PBLK);
    texts->jobs[k] = (struct hbs_job){text, key_text_len(ots), key};
    return text + KEY_PREFIX;
}

/* Chains of whole leaves on their way to a kernel. They hold no values, only where these lie. */
struct chain_batch {
    const struct lmots_params *ots;
    const uint8_t *id;
    size_t count;
    struct hbs_chain chains[BATCH_CHAINS];
};

static void chains_flush(struct chain_batch *b)
{
    if (b->count > 0)
        hbs_chains_run(b->ots->hash, b->ots->n, b->id, b->chains, b->count);
    b->count = 0;
}

/* Room for the chains of one more leaf. */
static struct hbs_chain *chains_next(struct chain_batch *b)
{
    if (b->count + b->ots->p > BATCH_CHAINS)
        chains_flush(b);
    struct hbs_chain *chains = b->chains + b->count;
    b->count += b->ots->p;
    return chains;
}

static void chains_start(struct chain_batch *b, const struct lmots_params *ots, const uint8_t *id)
{
    b->ots = ots;
    b->id = id;
    b->count = 0;
}

/* Up to key_texts_max() leaves, by their chains. */
static void few_public_keys(const struct lmots_params *ots, const uint8_t *id, uint32_t first,
                            size_t count, const uint8_t *seed, uint8_t *keys)
{
    struct chain_batch batch LEFT_AS_IS;
    /* No path leaves between the seed and the ends of the chains, which are public: they are the
     * public key. So there is nothing to wipe. */
    struct key_texts texts LEFT_AS_IS;
    chains_start(&batch, ots, id);
    for (size_t k = 0; k < count; k++) {
        uint32_t q = first + (uint32_t)k;
        uint8_t *ends = key_text(ots, id, q, &texts, k, keys + k * ots->n);
        chains_from_seed(ots, q, seed, NULL, ends, chains_next(&batch));
    }
    chains_flush(&batch);
    hbs_jobs_run(ots->hash, ots->n, texts.jobs, count);
}

void lmots_public_keys(const struct lmots_params *ots, const uint8_t *id, uint32_t first,
                       size_t count, const uint8_t *seed, uint8_t *keys)
{
    const struct hbs_kernel *kernel = hbs_kernel_current(ots->hash);
    size_t row = hbs_kernel_leaves(kernel);
    for (; row > 0 && count >= row; count -= row, first += (uint32_t)row, keys += row * ots->n)
        hbs_kernel_leaf_keys(kernel, ots, id, first, seed, keys);
    size_t batch = key_texts_max(ots);
    for (size_t done = 0; done < count; done += batch)
        few_public_keys(ots, id, first + (uint32_t)done,
                        count - done < batch ? count - done : batch, seed, keys + done * ots->n);
}

void lmots_sign(const struct lmots_params *ots, const uint8_t *id, const struct lmots_signing *jobs,
                size_t count)
{
    struct chain_batch batch LEFT_AS_IS;
    uint16_t digits[LMOTS_P_MAX] LEFT_AS_IS;
    chains_start(&batch, ots, id);
    for (size_t k = 0; k < count; k++) {
        uint8_t *sig = jobs[k].sig;
        be_put32(sig, ots->type);
        memcpy(sig + 4, jobs[k].c, ots->n);
        lmots_digits(ots, jobs[k].value, digits);
        uint8_t *y = sig + 4 + ots->n;
        if (jobs[k].stations != NULL)
            chains_from_stations(ots, jobs + k, digits, y, chains_next(&batch));
        else
            chains_from_seed(ots, jobs[k].q, jobs[k].seed, digits, y, chains_next(&batch));
    }
    chains_flush(&batch);
}

/* From a signature to the ends of its chains, or to the stations above its digits. */
static void chains_from_signature(const struct lmots_params *ots, const struct lmots_check *job,
                                  bool to_stations, uint8_t *ends, struct hbs_chain *chains)
{
    uint16_t digits[LMOTS_P_MAX] LEFT_AS_IS;
    lmots_digits(ots, job->value, digits);
    const uint8_t *y = job->sig + 4 + ots->n;
    for (uint16_t i = 0; i < ots->p; i++)
        chains[i] = (struct hbs_chain){
            .q = job->q,
            .i = i,
            .from = digits[i],
            .to = to_stations ? station_step(ots, digits[i] / stride_of(ots) + 1)
                              : (uint16_t)((1U << ots->w) - 1),
            .in = y + (size_t)i * ots->n,
            .out = ends + (size_t)i * ots->n,
        };
}

/* Up to key_texts_max(). All of it is public: nothing to wipe. */
static void few_candidates(const struct lmots_params *ots, const uint8_t *id,
                           const struct lmots_check *jobs, size_t count)
{
    struct chain_batch batch LEFT_AS_IS;
    struct key_texts texts LEFT_AS_IS;
    uint8_t *ends[BATCH_LEAVES_MAX] LEFT_AS_IS;
    chains_start(&batch, ots, id);
    for (size_t k = 0; k < count; k++) {
        ends[k] = key_text(ots, id, jobs[k].q, &texts, k, jobs[k].key);
        chains_from_signature(ots, jobs + k, jobs[k].stations != NULL, ends[k],
                              chains_next(&batch));
    }
    chains_flush(&batch);
    for (size_t k = 0; k < count; k++)
        if (jobs[k].stations != NULL && !met_stations(ots, jobs + k, ends[k]))
            chains_from_signature(ots, jobs + k, false, ends[k], chains_next(&batch));
    chains_flush(&batch);
    hbs_jobs_run(ots->hash, ots->n, texts.jobs, count);
}

void lmots_candidates(const struct lmots_params *ots, const uint8_t *id,
                      const struct lmots_check *jobs, size_t count)
{
    size_t batch = key_texts_max(ots);
    for (size_t done = 0; done < count; done += batch)
        few_candidates(ots, id, jobs + done, count - done < batch ? count - done : batch);
}
