#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/secmem.h"
#include "bench/bench.h"
#include "hbs/lmots.h"
#include "hbs/lms.h"

#define PREFIX (LMS_I_LEN + 4 + 2)

static struct {
    struct lms_tree tree;
    struct window_secret secret;
    uint8_t values[BENCH_VALUES][HBS_N_MAX];
    uint8_t c[HBS_N_MAX];
    uint8_t root[HBS_N_MAX];
    uint8_t path[LMS_H_MAX * HBS_N_MAX];
    uint8_t sigs[BENCH_VALUES][LMS_SIG_LEN_MAX];
    uint8_t stations[BENCH_VALUES][LMS_STATIONS_MAX];
    bool prepared;
} work;

static const uint8_t *stations_of(unsigned value)
{
    return work.prepared ? work.stations[value] : NULL;
}

/* "lms-sha256-m32-h10-w8" for LMS_SHA256_M32_H10 with LMOTS_SHA256_N32_W8 */
static void set_name(const struct lms_set *set, char *name)
{
    (void)snprintf(name, 48, "%s-w%u", set->lms->name, set->ots->w);
    for (char *p = name; *p != '\0'; p++)
        *p = *p == '_' ? '-' : (char)tolower((unsigned char)*p);
}

static bool set_at(size_t i, struct lms_set *found)
{
    for (size_t l = 0; lms_params_at(l) != NULL; l++)
        for (size_t o = 0; lmots_params_at(o) != NULL; o++) {
            *found = (struct lms_set){lms_params_at(l), lmots_params_at(o)};
            if (lms_set_valid(found) && i-- == 0)
                return true;
        }
    return false;
}

static bool set(size_t i, char *name, bool *standard)
{
    struct lms_set found;
    if (!set_at(i, &found))
        return false;
    set_name(&found, name);
    *standard = found.lms->h == 10;
    return true;
}

static void sign(unsigned first, unsigned count)
{
    struct ots_lease leases[BENCH_BATCH];
    struct hbs_signing jobs[BENCH_BATCH];
    for (unsigned k = 0; k < count; k++) {
        unsigned v = first + k;
        leases[k] = (struct ots_lease){.index = v, .epoch = 1};
        jobs[k] = (struct hbs_signing){.lease = &leases[k],
                                       .secret = &work.secret,
                                       .stations = stations_of(v),
                                       .c = work.c,
                                       .value = work.values[v],
                                       .path = work.path,
                                       .sig = work.sigs[v]};
    }
    hbs_sign_batch(&work.tree, jobs, count);
}

static double prepare_needs(void)
{
    const struct lmots_params *ots = work.tree.set.ots;
    return lms_stations_len(&work.tree.set) > 0 ? ots->p * (double)(1U << ots->w) : 0;
}

static void use_prepared(bool use)
{
    work.prepared = use;
}

static void prepare(unsigned first, unsigned count)
{
    struct lms_preparing jobs[LMS_PREPARE_MAX];
    for (unsigned done = 0; done < count; done += LMS_PREPARE_MAX) {
        for (unsigned k = 0; k < LMS_PREPARE_MAX; k++)
            jobs[k] = (struct lms_preparing){first + done + k, work.stations[first + done + k]};
        lms_prepare(&work.tree, &work.secret, jobs, LMS_PREPARE_MAX);
    }
}

static void make(size_t i)
{
    MUST(set_at(i, &work.tree.set));
    random_bytes(work.tree.i, sizeof(work.tree.i));
    random_bytes(work.secret.seed, sizeof(work.secret.seed));
    random_bytes(work.values, sizeof(work.values));
    for (unsigned v = 0; v < BENCH_VALUES; v += BENCH_BATCH)
        sign(v, BENCH_BATCH);
    for (unsigned v = 0; v < BENCH_VALUES && prepare_needs() > 0; v += BENCH_BATCH)
        prepare(v, BENCH_BATCH);
}

static enum hbs_hash_kind hash(void)
{
    return work.tree.set.lms->hash;
}

static unsigned height(void)
{
    return work.tree.set.lms->h;
}

static void keygen(uint32_t first, uint32_t count)
{
    uint8_t nodes[BENCH_LEAVES_MAX * HBS_N_MAX];
    uint8_t root[HBS_N_MAX];
    lms_leaves(&work.tree, first, count, &work.secret, nodes);
    lms_subtree_root(&work.tree, first, count, nodes, root);
}

/* The path is made up, so no root fits: as much work as if one did. That the answers are right is
 * not for this program to say. */
static void verify(unsigned first, unsigned count)
{
    struct lms_checking jobs[BENCH_BATCH];
    bool good[BENCH_BATCH];
    for (unsigned k = 0; k < count; k++)
        jobs[k] = (struct lms_checking){.q = first + k,
                                        .stations = stations_of(first + k),
                                        .value = work.values[first + k],
                                        .sig = work.sigs[first + k],
                                        .sig_len = lms_sig_len(&work.tree.set)};
    lms_verify_batch(&work.tree, work.root, jobs, count, good);
}

/* Steps from the starts of the chains to a signature, on average over the values. */
static double steps(void)
{
    const struct lmots_params *ots = work.tree.set.ots;
    uint16_t digits[LMOTS_P_MAX];
    double sum = 0;
    for (size_t v = 0; v < BENCH_VALUES; v++) {
        lmots_digits(ots, work.values[v], digits);
        for (size_t i = 0; i < ots->p; i++)
            sum += digits[i];
    }
    return sum / BENCH_VALUES;
}

/* K and the leaf over it. */
static double leaf_needs(void)
{
    const struct lmots_params *ots = work.tree.set.ots;
    return bench_blocks(hash(), PREFIX + (size_t)ots->p * ots->n) +
           bench_blocks(hash(), PREFIX + (size_t)ots->n);
}

static double node_needs(void)
{
    return bench_blocks(hash(), PREFIX + 2 * (size_t)work.tree.set.lms->m);
}

static double keygen_needs(uint32_t count)
{
    const struct lmots_params *ots = work.tree.set.ots;
    return count * (ots->p * (double)(1U << ots->w) + leaf_needs()) + (count - 1) * node_needs();
}

static double sign_needs(void)
{
    return work.tree.set.ots->p + steps();
}

static double verify_needs(void)
{
    const struct lmots_params *ots = work.tree.set.ots;
    double all = ots->p * (double)((1U << ots->w) - 1);
    return all - steps() + leaf_needs() + height() * node_needs();
}

/* The sixteen steps between two stations, whatever the digits; of a chain's end one fewer. */
static double prepared_needs(void)
{
    const struct lmots_params *ots = work.tree.set.ots;
    return ots->p * 16.0 + leaf_needs() + height() * node_needs();
}

const struct bench_scheme bench_lms = {
    .set = set,
    .make = make,
    .hash = hash,
    .height = height,
    .keygen = keygen,
    .sign = sign,
    .verify = verify,
    .batches = true,
    .prepare = prepare,
    .use_prepared = use_prepared,
    .prepare_needs = prepare_needs,
    .prepared_needs = prepared_needs,
    .keygen_needs = keygen_needs,
    .sign_needs = sign_needs,
    .verify_needs = verify_needs,
};
