#include "hbs/lms.h"

#include <gcrypt.h>
#include <string.h>

#include "base/bytes.h"
#include "hbs/kernel_lanes.h" /* LEFT_AS_IS */
#include "hbs/lmots.h"

#define D_RANDOMIZER 0xfffd /* no standard names it; the public vectors derive C with it */

#define NODE_PREFIX (LMS_I_LEN + 4 + 2) /* I, node number, D_LEAF or D_INTR */
#define NODE_TEXT_MAX (NODE_PREFIX + 2 * HBS_N_MAX)
#define NODE_BATCH 64

void window_secret_wipe(struct window_secret *secret)
{
    wipe(secret, sizeof(*secret));
}

/* Texts of up to NODE_BATCH nodes; the results go straight to where they belong. */
struct node_batch {
    uint8_t text[NODE_BATCH][NODE_TEXT_MAX];
    struct hbs_job jobs[NODE_BATCH];
};

/* The k-th text: node r over len bytes of `in`, one value or two. Lengths that the compiler knows
 * become moves, others a slow string instruction. */
static void node_text(struct node_batch *batch, size_t k, const struct lms_tree *tree, uint32_t r,
                      uint16_t domain, const uint8_t *in, size_t len, uint8_t *out)
{
    uint8_t *text = batch->text[k];
    memcpy(text, tree->i, LMS_I_LEN);
    be_put32(text + LMS_I_LEN, r);
    be_put16(text + LMS_I_LEN + 4, domain);
    size_t m = tree->set.lms->m;
    for (size_t at = 0; at < len; at += m) {
        if (m == 32)
            memcpy(text + NODE_PREFIX + at, in + at, 32);
        else
            memcpy(text + NODE_PREFIX + at, in + at, 24);
    }
    batch->jobs[k] = (struct hbs_job){text, NODE_PREFIX + len, out};
}

/* Hash nodes r … r + count - 1, each over `each` bytes of `in`. All texts are copied before the
 * first result is written, so out may lie at the start of in. */
static void batch_run(struct node_batch *batch, const struct lms_tree *tree, uint32_t r,
                      uint32_t count, uint16_t domain, const uint8_t *in, size_t each, uint8_t *out)
{
    for (uint32_t k = 0; k < count; k++)
        node_text(batch, k, tree, r + k, domain, in + k * each, each,
                  out + (size_t)k * tree->set.lms->m);
    hbs_jobs_run(tree->set.lms->hash, tree->set.lms->m, batch->jobs, count);
}

static void nodes_hash(const struct lms_tree *tree, uint32_t r, uint32_t count, uint16_t domain,
                       const uint8_t *in, size_t each, uint8_t *out)
{
    struct node_batch batch LEFT_AS_IS;
    for (uint32_t done = 0; done < count; done += NODE_BATCH) {
        uint32_t now = count - done < NODE_BATCH ? count - done : NODE_BATCH;
        batch_run(&batch, tree, r + done, now, domain, in + done * each, each,
                  out + (size_t)done * tree->set.lms->m);
    }
}

static uint32_t leaf_count(const struct lms_tree *tree)
{
    return UINT32_C(1) << tree->set.lms->h;
}

void lms_leaves(const struct lms_tree *tree, uint32_t first, uint32_t count,
                const struct window_secret *secret, uint8_t *leaves)
{
    MUST(lms_set_valid(&tree->set));
    MUST(count <= leaf_count(tree));
    MUST(first <= leaf_count(tree) - count);
    const struct lmots_params *ots = tree->set.ots;
    lmots_public_keys(ots, tree->i, first, count, secret->seed, leaves);
    nodes_hash(tree, leaf_count(tree) + first, count, D_LEAF, leaves, ots->n, leaves);
}

void lms_level(const struct lms_tree *tree, uint32_t r, uint32_t count, const uint8_t *children,
               uint8_t *out)
{
    nodes_hash(tree, r, count, D_INTR, children, 2 * (size_t)tree->set.lms->m, out);
}

void lms_node(const struct lms_tree *tree, uint32_t r, const uint8_t *left, const uint8_t *right,
              uint8_t *out)
{
    uint8_t m = tree->set.lms->m;
    uint8_t text[NODE_TEXT_MAX];
    memcpy(text, tree->i, LMS_I_LEN);
    be_put32(text + LMS_I_LEN, r);
    be_put16(text + LMS_I_LEN + 4, D_INTR);
    memcpy(text + NODE_PREFIX, left, m);
    memcpy(text + NODE_PREFIX + m, right, m);
    struct hbs_job job = {text, NODE_PREFIX + 2 * (size_t)m, out};
    hbs_jobs_run(tree->set.lms->hash, m, &job, 1);
}

void lms_subtree_root(const struct lms_tree *tree, uint32_t first, uint32_t count, uint8_t *nodes,
                      uint8_t *root)
{
    MUST(count != 0 && (count & (count - 1)) == 0);
    MUST(first % count == 0);
    MUST(first < leaf_count(tree));
    uint32_t r = leaf_count(tree) + first;
    for (; count > 1; count /= 2) {
        r /= 2;
        lms_level(tree, r, count / 2, nodes, nodes);
    }
    memcpy(root, nodes, tree->set.lms->m);
}

size_t lms_stations_len(const struct lms_set *set)
{
    size_t len = lmots_stations_len(set->ots);
    MUST(len <= LMS_STATIONS_MAX);
    return len;
}

void lms_prepare(const struct lms_tree *tree, const struct window_secret *secret,
                 const struct lms_preparing *jobs, size_t count)
{
    _Static_assert(LMS_PREPARE_MAX <= LMOTS_PREPARE_MAX, "one call for all");
    struct lmots_preparing each[LMS_PREPARE_MAX];
    MUST(count <= LMS_PREPARE_MAX);
    for (size_t k = 0; k < count; k++) {
        MUST(jobs[k].q < leaf_count(tree));
        each[k] = (struct lmots_preparing){jobs[k].q, jobs[k].stations};
    }
    lmots_prepare(tree->set.ots, tree->i, secret->seed, each, count);
}

void lms_randomizer(const struct lms_tree *tree, uint32_t q, const struct window_secret *secret,
                    uint8_t c[HBS_N_MAX])
{
    uint8_t n = tree->set.ots->n;
    uint8_t text[LMS_I_LEN + 4 + 2 + 1 + HBS_N_MAX];
    memcpy(text, tree->i, LMS_I_LEN);
    be_put32(text + LMS_I_LEN, q);
    be_put16(text + LMS_I_LEN + 4, D_RANDOMIZER);
    text[LMS_I_LEN + 6] = HBS_STEP_SEED;
    memcpy(text + LMS_I_LEN + 7, secret->seed, n);
    struct hbs_job job = {text, LMS_I_LEN + 7 + (size_t)n, c};
    hbs_jobs_run(tree->set.ots->hash, n, &job, 1);
    wipe(text, sizeof(text));
}

size_t lms_message_prefix(const struct lms_tree *tree, uint32_t q, const uint8_t *c,
                          uint8_t prefix[LMS_MESSAGE_PREFIX_MAX])
{
    memcpy(prefix, tree->i, LMS_I_LEN);
    be_put32(prefix + LMS_I_LEN, q);
    be_put16(prefix + LMS_I_LEN + 4, D_MESG);
    memcpy(prefix + LMS_I_LEN + 6, c, tree->set.ots->n);
    return LMS_I_LEN + 6 + (size_t)tree->set.ots->n;
}

enum rc lms_message_open(struct lms_message *m, const struct lms_tree *tree, uint32_t q,
                         const uint8_t *c, struct err *err)
{
    *m = (struct lms_message){.ots = tree->set.ots};
    enum rc rc = hbs_hash_open(&m->handle, m->ots->hash, err);
    if (rc != RC_OK)
        return rc;
    uint8_t prefix[LMS_MESSAGE_PREFIX_MAX];
    gcry_md_write(m->handle, prefix, lms_message_prefix(tree, q, c, prefix));
    return RC_OK;
}

void lms_message_update(struct lms_message *m, const void *data, size_t len)
{
    gcry_md_write(m->handle, data, len);
}

void lms_message_final(struct lms_message *m, uint8_t *value)
{
    if (m->ots->hash == HBS_SHA256)
        memcpy(value, gcry_md_read(m->handle, GCRY_MD_SHA256), m->ots->n);
    else
        MUST(gcry_md_extract(m->handle, GCRY_MD_SHAKE256, value, m->ots->n) == 0);
}

void lms_message_close(struct lms_message *m)
{
    gcry_md_close(m->handle);
    m->handle = NULL;
}

/* Take the leaf number out of a lease, and the lease out of the world. */
static uint32_t lease_spend(struct ots_lease *lease, const struct lms_tree *tree)
{
    struct ots_lease taken = *lease;
    wipe(lease, sizeof(*lease));
    MUST(taken.epoch != 0);
    MUST(taken.index < leaf_count(tree));
    return (uint32_t)taken.index;
}

void hbs_sign(struct ots_lease *lease, const struct lms_tree *tree,
              const struct window_secret *secret, const uint8_t *c, const uint8_t *value,
              const uint8_t *path, uint8_t *sig)
{
    const struct hbs_signing job = {
        .lease = lease, .secret = secret, .c = c, .value = value, .path = path, .sig = sig};
    hbs_sign_batch(tree, &job, 1);
}

/* What surrounds the one-time signature (§5.4). */
static void frame_write(const struct lms_tree *tree, uint32_t q, const uint8_t *path, uint8_t *sig)
{
    size_t ots_len = lmots_sig_len(tree->set.ots);
    be_put32(sig, q);
    be_put32(sig + 4 + ots_len, tree->set.lms->type);
    memcpy(sig + 4 + ots_len + 4, path, (size_t)tree->set.lms->h * tree->set.lms->m);
}

void hbs_sign_batch(const struct lms_tree *tree, const struct hbs_signing *jobs, size_t count)
{
    MUST(count <= HBS_BATCH_MAX);
    struct lmots_signing each[HBS_BATCH_MAX] LEFT_AS_IS;
    /* I1: first of all. Whatever happens below, a signal or a fault included, these leases are
     * gone. */
    for (size_t k = 0; k < count; k++)
        each[k].q = lease_spend(jobs[k].lease, tree);
    MUST(lms_set_valid(&tree->set));
    for (size_t k = 0; k < count; k++) {
        for (size_t other = 0; other < k; other++)
            MUST(each[other].q != each[k].q);
        each[k].seed = jobs[k].secret->seed;
        each[k].stations = jobs[k].stations;
        each[k].c = jobs[k].c;
        each[k].value = jobs[k].value;
        each[k].sig = jobs[k].sig + 4;
        frame_write(tree, each[k].q, jobs[k].path, jobs[k].sig);
    }
    lmots_sign(tree->set.ots, tree->i, each, count);
}

/* §5.4.2 step 2: lengths and types are those of the public key, or the signature is invalid. */
static bool well_formed(const struct lms_tree *tree, const struct lms_checking *job)
{
    if (job->sig_len != lms_sig_len(&tree->set))
        return false;
    if (job->q >= leaf_count(tree) || be_get32(job->sig) != job->q)
        return false;
    if (be_get32(job->sig + 4) != tree->set.ots->type)
        return false;
    if (be_get32(job->sig + 4 + lmots_sig_len(tree->set.ots)) != tree->set.lms->type)
        return false;
    return job->c == NULL || ct_equal(job->c, job->sig + 4 + 4, tree->set.ots->n);
}

/* Signatures on their way up: where each of them stands, and the texts of its next node. */
struct climb {
    const struct lms_checking *job[NODE_BATCH];
    uint8_t node[NODE_BATCH][HBS_N_MAX];
    struct node_batch batch;
};

/* The leaves from the candidates of their one-time keys. */
static void climb_start(struct climb *climb, const struct lms_tree *tree, size_t count)
{
    struct lmots_check checks[NODE_BATCH] LEFT_AS_IS;
    for (size_t k = 0; k < count; k++) {
        const struct lms_checking *job = climb->job[k];
        checks[k] =
            (struct lmots_check){job->q, job->stations, job->value, job->sig + 4, climb->node[k]};
    }
    lmots_candidates(tree->set.ots, tree->i, checks, count);
    uint8_t m = tree->set.lms->m;
    for (size_t k = 0; k < count; k++)
        node_text(&climb->batch, k, tree, leaf_count(tree) + climb->job[k]->q, D_LEAF,
                  climb->node[k], m, climb->node[k]);
    hbs_jobs_run(tree->set.lms->hash, m, climb->batch.jobs, count);
}

/* RFC 8554 §5.4.2 algorithm 6a, step 4: one level up along the path. */
static void climb_level(struct climb *climb, const struct lms_tree *tree, size_t count,
                        size_t level)
{
    uint8_t m = tree->set.lms->m;
    size_t path = 4 + lmots_sig_len(tree->set.ots) + 4 + level * m;
    for (size_t k = 0; k < count; k++) {
        uint8_t pair[2 * HBS_N_MAX];
        uint32_t r = (leaf_count(tree) + climb->job[k]->q) >> level;
        memcpy(pair + (r % 2 == 1 ? m : 0), climb->node[k], m);
        memcpy(pair + (r % 2 == 1 ? 0 : m), climb->job[k]->sig + path, m);
        node_text(&climb->batch, k, tree, r / 2, D_INTR, pair, 2 * (size_t)m, climb->node[k]);
    }
    hbs_jobs_run(tree->set.lms->hash, m, climb->batch.jobs, count);
}

/* Up to NODE_BATCH well-formed signatures. */
static void climb_run(struct climb *climb, const struct lms_tree *tree, size_t count)
{
    climb_start(climb, tree, count);
    for (size_t level = 0; level < tree->set.lms->h; level++)
        climb_level(climb, tree, count, level);
}

void lms_verify_batch(const struct lms_tree *tree, const uint8_t *root,
                      const struct lms_checking *jobs, size_t count, bool *good)
{
    MUST(count <= HBS_BATCH_MAX);
    struct climb climb LEFT_AS_IS;
    bool valid = lms_set_valid(&tree->set);
    for (size_t next = 0; next < count;) {
        size_t at[NODE_BATCH] LEFT_AS_IS;
        size_t taken = 0;
        for (; next < count && taken < NODE_BATCH; next++) {
            good[next] = false;
            if (!valid || !well_formed(tree, jobs + next))
                continue;
            climb.job[taken] = jobs + next;
            at[taken++] = next;
        }
        if (taken > 0)
            climb_run(&climb, tree, taken);
        for (size_t k = 0; k < taken; k++)
            good[at[k]] = ct_equal(climb.node[k], root, tree->set.lms->m);
    }
}

static bool verify_one(const struct lms_tree *tree, const uint8_t *root,
                       const struct lms_checking *job)
{
    bool good = false;
    lms_verify_batch(tree, root, job, 1, &good);
    return good;
}

bool lms_verify_value(const struct lms_tree *tree, const uint8_t *root, uint32_t q,
                      const uint8_t *value, const uint8_t *sig, size_t sig_len)
{
    const struct lms_checking job = {.q = q, .value = value, .sig = sig, .sig_len = sig_len};
    return verify_one(tree, root, &job);
}

bool lms_verify_release(const struct lms_tree *tree, const uint8_t *root, uint32_t q,
                        const uint8_t *c, const uint8_t *value, const uint8_t *sig, size_t sig_len)
{
    const struct lms_checking job = {
        .q = q, .c = c, .value = value, .sig = sig, .sig_len = sig_len};
    return verify_one(tree, root, &job);
}
