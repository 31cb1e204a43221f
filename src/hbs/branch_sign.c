#include <string.h>

#include "base/bytes.h"
#include "hbs/branch_parts.h"
#include "hbs/remote.h"

/* Leaf of the bottom tree. */
static uint32_t leaf_of(const struct hbs_branch *b, uint64_t index)
{
    MUST(hbs_branch_holds(b, index));
    return (uint32_t)(index & ((UINT64_C(1) << branch_bottom(b)->tree.height) - 1));
}

static const struct window_secret *secret_of(const struct hbs_branch *b)
{
    return &b->secrets[b->key.levels - 1];
}

size_t hbs_branch_n(const struct hbs_branch *branch)
{
    return branch_bottom(branch)->tree.n;
}

void hbs_branch_randomizer(const struct hbs_branch *branch, uint64_t index, uint8_t *c)
{
    uint32_t leaf = leaf_of(branch, index);
    if (branch_is_hss(&branch->key))
        lms_randomizer(&branch_bottom(branch)->tree.lms, leaf, secret_of(branch), c);
    else
        xmss_randomizer(branch->key.public.xmss.params, secret_of(branch)->sk_prf, index, c);
}

/* Messages ------------------------------------------------------------------------------------- */

enum rc hbs_message_open(struct hbs_message *m, const struct hbs_branch *branch, uint64_t index,
                         const uint8_t *c, struct err *err)
{
    const struct hbs_tree *tree = &branch_bottom(branch)->tree;
    uint32_t leaf = leaf_of(branch, index);
    *m = (struct hbs_message){.kind = tree->kind};
    if (tree->kind == HBS_TREE_LMS)
        return lms_message_open(&m->lms, &tree->lms, leaf, c, err);
    const struct xmss_public *public = &branch->key.public.xmss;
    return xmss_message_open(&m->xmss, public->params, public->root, index, c, err);
}

void hbs_message_update(struct hbs_message *m, const void *data, size_t len)
{
    if (m->kind == HBS_TREE_LMS)
        lms_message_update(&m->lms, data, len);
    else
        xmss_message_update(&m->xmss, data, len);
}

void hbs_message_final(struct hbs_message *m, uint8_t *value)
{
    if (m->kind == HBS_TREE_LMS)
        lms_message_final(&m->lms, value);
    else
        xmss_message_final(&m->xmss, value);
}

void hbs_message_close(struct hbs_message *m)
{
    if (m->kind == HBS_TREE_LMS)
        lms_message_close(&m->lms);
    else if (m->kind == HBS_TREE_XMSS)
        xmss_message_close(&m->xmss);
    *m = (struct hbs_message){0};
}

size_t hbs_message_prefix(const struct hbs_branch *branch, uint64_t index, const uint8_t *c,
                          uint8_t prefix[HBS_PREFIX_MAX], const char **hash)
{
    const struct hbs_tree *tree = &branch_bottom(branch)->tree;
    uint32_t leaf = leaf_of(branch, index);
    if (tree->kind == HBS_TREE_LMS) {
        *hash = hbs_remote_name(tree->lms.set.ots->hash, tree->n);
        return lms_message_prefix(&tree->lms, leaf, c, prefix);
    }
    const struct xmss_public *public = &branch->key.public.xmss;
    *hash = hbs_remote_name(public->params->hash, tree->n);
    return xmss_message_prefix(public->params, public->root, index, c, prefix);
}

/* Signatures ----------------------------------------------------------------------------------- */

/* What stands around the bottom tree's part: HSS has number of signed keys and record in front,
 * XMSS^MT has index and r in front and the record behind. */
static size_t bottom_at(const struct hbs_key *key)
{
    if (branch_is_hss(key))
        return 4 + hbs_branch_record_len(key);
    return (size_t)key->public.xmss.params->idx_len + key->public.xmss.params->n;
}

static void frame_write(const struct hbs_branch *b, uint64_t index, const uint8_t *c, uint8_t *sig)
{
    size_t record_len = hbs_branch_record_len(&b->key);
    if (branch_is_hss(&b->key)) {
        be_put32(sig, b->key.levels - 1);
        memcpy(sig + 4, b->record, record_len);
        return;
    }
    const struct xmss_params *params = b->key.public.xmss.params;
    for (size_t i = 0; i < params->idx_len; i++)
        sig[i] = (uint8_t)(index >> (8U * (params->idx_len - 1U - i)));
    memcpy(sig + params->idx_len, c, params->n);
    memcpy(sig + hbs_key_sig_len(&b->key) - record_len, b->record, record_len);
}

/* Is everything but the bottom tree's part as it must be? */
static bool frame_good(const struct hbs_branch *b, const struct hbs_branch_checking *job)
{
    size_t record_len = hbs_branch_record_len(&b->key);
    if (job->sig_len != hbs_key_sig_len(&b->key) || !hbs_branch_holds(b, job->index))
        return false;
    if (branch_is_hss(&b->key))
        return be_get32(job->sig) == b->key.levels - 1 &&
               ct_equal(job->sig + 4, b->record, record_len);
    const struct xmss_params *params = b->key.public.xmss.params;
    uint64_t index = 0;
    for (size_t i = 0; i < params->idx_len; i++)
        index = (index << 8) | job->sig[i];
    return index == job->index && ct_equal(job->sig + params->idx_len, job->c, params->n) &&
           ct_equal(job->sig + job->sig_len - record_len, b->record, record_len);
}

size_t hbs_branch_stations_len(const struct hbs_branch *branch)
{
    return branch_is_hss(&branch->key) ? lms_stations_len(&branch_bottom(branch)->tree.lms.set) : 0;
}

void hbs_branch_prepare(const struct hbs_branch *branch, const struct hbs_branch_preparing *jobs,
                        size_t count)
{
    struct lms_preparing each[HBS_PREPARE_MAX];
    MUST(hbs_branch_stations_len(branch) != 0);
    MUST(count <= HBS_PREPARE_MAX);
    for (size_t k = 0; k < count; k++)
        each[k] = (struct lms_preparing){leaf_of(branch, jobs[k].index), jobs[k].stations};
    lms_prepare(&branch_bottom(branch)->tree.lms, secret_of(branch), each, count);
}

struct paths {
    uint8_t path[HBS_BATCH_MAX][LMS_H_MAX * HBS_N_MAX];
};

static void lms_sign_all(const struct hbs_branch *b, const struct hbs_branch_signing *jobs,
                         const struct paths *paths, struct ots_lease *leases, size_t count)
{
    struct hbs_signing each[HBS_BATCH_MAX];
    for (size_t k = 0; k < count; k++)
        each[k] = (struct hbs_signing){.lease = &leases[k],
                                       .secret = secret_of(b),
                                       .stations = jobs[k].stations,
                                       .c = jobs[k].c,
                                       .value = jobs[k].value,
                                       .path = paths->path[k],
                                       .sig = jobs[k].sig + bottom_at(&b->key)};
    hbs_sign_batch(&branch_bottom(b)->tree.lms, each, count);
}

static void xmss_sign_all(const struct hbs_branch *b, const struct hbs_branch_signing *jobs,
                          const struct paths *paths, struct ots_lease *leases, size_t count)
{
    struct xmss_signing each[HBS_BATCH_MAX];
    for (size_t k = 0; k < count; k++)
        each[k] = (struct xmss_signing){.lease = &leases[k],
                                        .value = jobs[k].value,
                                        .path = paths->path[k],
                                        .sig = jobs[k].sig + bottom_at(&b->key)};
    xmss_tree_sign_batch(&branch_bottom(b)->tree.xmss, secret_of(b)->seed, each, count);
}

void hbs_branch_sign(const struct hbs_branch *branch, const struct hbs_branch_signing *jobs,
                     size_t count)
{
    MUST(count <= HBS_BATCH_MAX);
    /* I1: first of all. Whatever happens below, a signal or a fault included, these leases are
     * gone.
     */
    struct ots_lease taken[HBS_BATCH_MAX];
    for (size_t k = 0; k < count; k++) {
        taken[k] = *jobs[k].lease;
        wipe(jobs[k].lease, sizeof(*jobs[k].lease));
    }
    struct paths paths;
    for (size_t k = 0; k < count; k++) {
        MUST(taken[k].epoch != 0);
        uint64_t index = taken[k].index;
        for (size_t other = 0; other < k; other++)
            MUST(taken[other].index != index);
        taken[k].index = leaf_of(branch, index);
        branch_path(branch, branch->key.levels - 1, (uint32_t)taken[k].index, paths.path[k]);
        frame_write(branch, index, jobs[k].c, jobs[k].sig);
    }
    if (branch_is_hss(&branch->key))
        lms_sign_all(branch, jobs, &paths, taken, count);
    else
        xmss_sign_all(branch, jobs, &paths, taken, count);
}

static void lms_verify_all(const struct hbs_branch *b, const struct hbs_branch_checking *jobs,
                           size_t count, bool *good)
{
    struct lms_checking each[HBS_BATCH_MAX] = {0};
    size_t at[HBS_BATCH_MAX];
    bool answers[HBS_BATCH_MAX];
    size_t taken = 0;
    const struct branch_level *bottom = branch_bottom(b);
    for (size_t k = 0; k < count; k++) {
        if (!good[k])
            continue;
        at[taken] = k;
        each[taken++] = (struct lms_checking){.q = leaf_of(b, jobs[k].index),
                                              .stations = jobs[k].stations,
                                              .c = jobs[k].c,
                                              .value = jobs[k].value,
                                              .sig = jobs[k].sig + bottom_at(&b->key),
                                              .sig_len = lms_sig_len(&bottom->tree.lms.set)};
    }
    lms_verify_batch(&bottom->tree.lms, bottom->root, each, taken, answers);
    for (size_t k = 0; k < taken; k++)
        good[at[k]] = answers[k];
}

static void xmss_verify_all(const struct hbs_branch *b, const struct hbs_branch_checking *jobs,
                            size_t count, bool *good)
{
    struct xmss_checking each[HBS_BATCH_MAX] = {0};
    uint8_t roots[HBS_BATCH_MAX][XMSS_N_MAX];
    size_t at[HBS_BATCH_MAX];
    size_t taken = 0;
    const struct branch_level *bottom = branch_bottom(b);
    for (size_t k = 0; k < count; k++) {
        if (!good[k])
            continue;
        at[taken] = k;
        each[taken] = (struct xmss_checking){.leaf = leaf_of(b, jobs[k].index),
                                             .value = jobs[k].value,
                                             .sig = jobs[k].sig + bottom_at(&b->key),
                                             .root = roots[taken]};
        taken++;
    }
    xmss_tree_candidates(&bottom->tree.xmss, each, taken);
    for (size_t k = 0; k < taken; k++)
        good[at[k]] = ct_equal(roots[k], bottom->root, bottom->tree.n);
}

void hbs_branch_verify(const struct hbs_branch *branch, const struct hbs_branch_checking *jobs,
                       size_t count, bool *good)
{
    MUST(count <= HBS_BATCH_MAX);
    for (size_t k = 0; k < count; k++)
        good[k] = frame_good(branch, jobs + k);
    if (branch_is_hss(&branch->key))
        lms_verify_all(branch, jobs, count, good);
    else
        xmss_verify_all(branch, jobs, count, good);
}
