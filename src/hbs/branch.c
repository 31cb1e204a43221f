#include "hbs/branch_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "hbs/hss.h"

#define BUILD_LEAVES 64 /* derived at once */

/* Indices under one tree of a level, as a power of two. */
static unsigned bits_below(const struct hbs_key *key, uint32_t level)
{
    unsigned bits = 0;
    for (uint32_t i = level; i < key->levels; i++)
        bits += key->heights[i];
    return bits;
}

uint64_t hbs_branch_size(const struct hbs_key *key)
{
    return UINT64_C(1) << key->heights[key->levels - 1];
}

/* Bytes of the record in which level i signs the tree of level i + 1. */
static size_t part_len(const struct hbs_key *key, uint32_t i)
{
    if (branch_is_hss(key))
        return lms_sig_len(&key->sets[i]) + lms_pub_len(&key->sets[i + 1]);
    const struct xmss_params *params = key->public.xmss.params;
    return wots_sig_len(params) + (size_t)key->heights[i] * params->n;
}

/* Where it lies: as in a signature, HSS from the top down, XMSS^MT from the bottom up. */
static size_t part_at(const struct hbs_key *key, uint32_t i)
{
    size_t at = 0;
    for (uint32_t k = 0; k + 1 < key->levels; k++)
        at += (branch_is_hss(key) ? k < i : k > i) ? part_len(key, k) : 0;
    return at;
}

size_t hbs_branch_record_len(const struct hbs_key *key)
{
    size_t len = 0;
    for (uint32_t i = 0; i + 1 < key->levels; i++)
        len += part_len(key, i);
    return len;
}

void hbs_branch_close(struct hbs_branch **branch)
{
    struct hbs_branch *b = *branch;
    if (b == NULL)
        return;
    for (uint32_t i = 0; i < HBS_LEVELS_MAX; i++)
        free(b->levels[i].nodes);
    secmem_free(b->secrets);
    free(b->record);
    free(b);
    *branch = NULL;
}

const uint8_t *hbs_branch_record(const struct hbs_branch *branch)
{
    return branch->record;
}

bool hbs_branch_holds(const struct hbs_branch *branch, uint64_t index)
{
    return index >> branch->key.heights[branch->key.levels - 1] == branch->number;
}

/* Trees --------------------------------------------------------------------------------------- */

/* The tree of level i on the path, and what its one-time keys are derived from. */
static void level_start(struct hbs_branch *b, uint32_t i, uint64_t index)
{
    struct branch_level *level = &b->levels[i];
    unsigned below = bits_below(&b->key, i);
    if (i == 0) {
        level->tree = hbs_key_top(&b->key);
    } else if (branch_is_hss(&b->key)) {
        const struct branch_level *parent = &b->levels[i - 1];
        struct lms_tree tree = {.set = b->key.sets[i]};
        hss_child(&parent->tree.lms, parent->q, &b->secrets[i - 1], tree.i, &b->secrets[i]);
        level->tree = hbs_tree_of_lms(&tree);
    } else {
        const struct xmss_public *public = &b->key.public.xmss;
        struct xmss_tree tree;
        xmss_tree_init(&tree, public->params, public->seed, b->key.levels - 1 - i, index >> below);
        level->tree = hbs_tree_of_xmss(&tree);
        b->secrets[i] = b->secrets[i - 1];
    }
    uint64_t leaf = index >> (below - level->tree.height);
    level->q = (uint32_t)(leaf & ((UINT64_C(1) << level->tree.height) - 1));
}

/* Derive all nodes of a tree. The first time they are stored; when they are there already,
 * compared. False if they differ. */
static bool tree_derive(const struct branch_level *level, const uint8_t *seed, bool compare)
{
    const struct hbs_tree *tree = &level->tree;
    size_t n = tree->n;
    uint32_t leaves = UINT32_C(1) << tree->height;
    uint8_t derived[BUILD_LEAVES * HBS_N_MAX];
    bool same = true;
    for (uint32_t level_first = leaves; level_first >= 1; level_first /= 2) {
        uint32_t step = level_first < BUILD_LEAVES ? level_first : BUILD_LEAVES;
        for (uint32_t r = level_first; r < 2 * level_first; r += step) {
            uint8_t *stored = level->nodes + r * n;
            uint8_t *out = compare ? derived : stored;
            if (level_first == leaves)
                hbs_tree_leaves(tree, r - leaves, step, seed, out);
            else
                hbs_tree_level(tree, r, step, level->nodes + 2 * (size_t)r * n, out);
            same = same && (!compare || ct_equal(derived, stored, step * n));
        }
    }
    return same;
}

/* times: 1, or 2 to compare. */
static enum rc level_build(struct hbs_branch *b, uint32_t i, unsigned times, struct err *err)
{
    struct branch_level *level = &b->levels[i];
    if (i == 0) {
        memcpy(level->root, hbs_nodes_at(b->file, 1), level->tree.n);
        return RC_OK;
    }
    level->nodes = calloc((size_t)2 << level->tree.height, level->tree.n);
    if (level->nodes == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for a tree of height %u",
                    (unsigned)level->tree.height);
    (void)tree_derive(level, b->secrets[i].seed, false);
    if (times > 1 && !tree_derive(level, b->secrets[i].seed, true))
        return FAIL(err, RC_HALT_INVARIANT, "", i,
                    "two builds of the tree at level %" PRIu32 " differ: check the memory", i);
    memcpy(level->root, level->nodes + level->tree.n, level->tree.n);
    return RC_OK;
}

void branch_path(const struct hbs_branch *b, uint32_t i, uint32_t q, uint8_t *path)
{
    const struct branch_level *level = &b->levels[i];
    if (i == 0) {
        hbs_nodes_path(b->file, q, path);
        return;
    }
    size_t n = level->tree.n;
    for (uint32_t r = (UINT32_C(1) << level->tree.height) + q; r > 1; r /= 2, path += n)
        memcpy(path, level->nodes + (r ^ 1) * n, n);
}

/* Signatures between levels -------------------------------------------------------------------- */

/* The public key of a tree, as the one above it signs it in HSS (RFC 8554 §6.2). */
static size_t child_print(const struct branch_level *level, uint8_t out[LMS_PUB_LEN_MAX])
{
    const struct lms_tree *tree = &level->tree.lms;
    be_put32(out, tree->set.lms->type);
    be_put32(out + 4, tree->set.ots->type);
    memcpy(out + 8, tree->i, LMS_I_LEN);
    memcpy(out + 8 + LMS_I_LEN, level->root, level->tree.n);
    return lms_pub_len(&tree->set);
}

/* C and the value that level i of HSS signs. */
static enum rc child_value(const struct hbs_branch *b, uint32_t i, uint8_t c[HBS_N_MAX],
                           uint8_t value[HBS_N_MAX], struct err *err)
{
    const struct branch_level *parent = &b->levels[i];
    uint8_t child[LMS_PUB_LEN_MAX];
    size_t child_len = child_print(&b->levels[i + 1], child);
    struct lms_message m CLEANUP(lms_message_close) = {0};
    lms_randomizer(&parent->tree.lms, parent->q, &b->secrets[i], c);
    enum rc rc = lms_message_open(&m, &parent->tree.lms, parent->q, c, err);
    if (rc != RC_OK)
        return rc;
    lms_message_update(&m, child, child_len);
    lms_message_final(&m, value);
    return RC_OK;
}

/* Level i signs the tree below it. The lease is made from the spent one of the caller. */
static enum rc part_sign(struct hbs_branch *b, uint32_t i, const struct ots_lease *lease,
                         struct err *err)
{
    const struct branch_level *parent = &b->levels[i];
    const struct branch_level *child = &b->levels[i + 1];
    uint8_t *part = b->record + part_at(&b->key, i);
    uint8_t path[LMS_H_MAX * HBS_N_MAX];
    branch_path(b, i, parent->q, path);
    struct ots_lease own = *lease;
    own.index = parent->q;
    if (!branch_is_hss(&b->key)) {
        xmss_tree_sign(&own, &parent->tree.xmss, b->secrets[i].seed, child->root, path, part);
        return RC_OK;
    }
    uint8_t c[HBS_N_MAX];
    uint8_t value[HBS_N_MAX];
    enum rc rc = child_value(b, i, c, value, err);
    if (rc != RC_OK)
        return rc;
    hbs_sign(&own, &parent->tree.lms, &b->secrets[i], c, value, path, part);
    (void)child_print(child, part + lms_sig_len(&b->key.sets[i]));
    return RC_OK;
}

/* Does the record say that level i has signed the tree below it, as it was built? */
static enum rc part_check(const struct hbs_branch *b, uint32_t i, bool *good, struct err *err)
{
    const struct branch_level *parent = &b->levels[i];
    const uint8_t *part = b->record + part_at(&b->key, i);
    if (!branch_is_hss(&b->key)) {
        uint8_t root[XMSS_N_MAX];
        xmss_tree_candidate(&parent->tree.xmss, parent->q, b->levels[i + 1].root, part, root);
        *good = ct_equal(root, parent->root, parent->tree.n);
        return RC_OK;
    }
    uint8_t c[HBS_N_MAX];
    uint8_t value[HBS_N_MAX];
    uint8_t child[LMS_PUB_LEN_MAX];
    enum rc rc = child_value(b, i, c, value, err);
    if (rc != RC_OK)
        return rc;
    size_t sig_len = lms_sig_len(&b->key.sets[i]);
    *good =
        lms_verify_release(&parent->tree.lms, parent->root, parent->q, c, value, part, sig_len) &&
        ct_equal(part + sig_len, child, child_print(&b->levels[i + 1], child));
    return RC_OK;
}

/* All of them, and that the top tree is the key's. */
static enum rc record_check(const struct hbs_branch *b, enum rc if_bad, struct err *err)
{
    for (uint32_t i = 0; i + 1 < b->key.levels; i++) {
        bool good = false;
        enum rc rc = part_check(b, i, &good, err);
        if (rc != RC_OK)
            return rc;
        if (!good)
            return FAIL(err, if_bad, "", i,
                        "the signature of level %" PRIu32 " over the tree below it does not fit",
                        i);
    }
    const uint8_t *root = branch_is_hss(&b->key) ? b->key.public.hss.root : b->key.public.xmss.root;
    if (!ct_equal(root, b->levels[0].root, b->levels[0].tree.n))
        return FAIL(err, RC_HALT_NODES, "", 0, "the node file is not of this key");
    return RC_OK;
}

/* Making and opening --------------------------------------------------------------------------- */

/* All trees of the branch that holds the index; each is built so many times. */
static enum rc branch_build(struct hbs_branch **out, const struct hbs_key *key,
                            const struct hbs_nodes *nodes, const struct window_secret *secret,
                            uint64_t index, unsigned times, struct err *err)
{
    MUST(index >> key->height == 0);
    size_t record_len = hbs_branch_record_len(key);
    struct hbs_branch *b CLEANUP(hbs_branch_close) = calloc(1, sizeof(*b));
    if (b == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for a branch");
    b->key = *key;
    b->file = nodes;
    b->number = index >> key->heights[key->levels - 1];
    b->secrets = secmem_alloc(key->levels * sizeof(*b->secrets));
    b->record = calloc(1, record_len > 0 ? record_len : 1);
    if (b->secrets == NULL || b->record == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory for %" PRIu32 " secrets",
                    key->levels);
    b->secrets[0] = *secret;
    for (uint32_t i = 0; i < key->levels; i++) {
        level_start(b, i, index);
        enum rc rc = level_build(b, i, times, err);
        if (rc != RC_OK)
            return rc;
    }
    *out = b;
    b = NULL; /* the caller's now */
    return RC_OK;
}

/* Is the tree that level i signs the same in both branches? */
static bool part_shared(const struct hbs_key *key, uint32_t i, uint64_t a, uint64_t b)
{
    unsigned below = bits_below(key, i + 1);
    return a >> below == b >> below;
}

static enum rc record_make(struct hbs_branch *b, const struct ots_lease *lease,
                           const struct hbs_branch_prior *prior, struct err *err)
{
    for (uint32_t i = 0; i + 1 < b->key.levels; i++) {
        if (prior->record != NULL && part_shared(&b->key, i, prior->index, lease->index)) {
            size_t at = part_at(&b->key, i);
            bool good = false;
            memcpy(b->record + at, prior->record + at, part_len(&b->key, i));
            enum rc rc = part_check(b, i, &good, err);
            if (rc == RC_OK && !good)
                rc = FAIL(err, RC_HALT_NODES, "", i,
                          "the earlier record does not fit the tree at level %" PRIu32, i + 1);
            if (rc != RC_OK)
                return rc;
            continue;
        }
        enum rc rc = part_sign(b, i, lease, err);
        if (rc != RC_OK)
            return rc;
    }
    return record_check(b, RC_BURNED_VERIFY, err);
}

enum rc hbs_branch_make(struct hbs_branch **branch, struct ots_lease *lease,
                        const struct hbs_key *key, const struct hbs_nodes *nodes,
                        const struct window_secret *secret, const struct hbs_branch_prior *prior,
                        struct err *err)
{
    /* I1: the caller's lease is gone before anything is computed. The copy lives in this call only,
     * and each one-time key above the bottom tree signs once under it. */
    struct ots_lease taken = *lease;
    wipe(lease, sizeof(*lease));
    MUST(taken.epoch != 0);
    MUST(key->levels > 1);
    *branch = NULL;
    struct hbs_branch *b CLEANUP(hbs_branch_close) = NULL;
    enum rc rc = branch_build(&b, key, nodes, secret, taken.index, 2, err);
    if (rc == RC_OK)
        rc = record_make(b, &taken, prior, err);
    if (rc != RC_OK)
        return rc;
    *branch = b;
    b = NULL; /* the caller's now */
    return RC_OK;
}

enum rc hbs_branch_open(struct hbs_branch **branch, const struct hbs_key *key,
                        const struct hbs_nodes *nodes, const struct window_secret *secret,
                        uint64_t index, const uint8_t *record, struct err *err)
{
    *branch = NULL;
    size_t record_len = hbs_branch_record_len(key);
    MUST(record != NULL || record_len == 0);
    struct hbs_branch *b CLEANUP(hbs_branch_close) = NULL;
    enum rc rc = branch_build(&b, key, nodes, secret, index, 1, err);
    if (rc != RC_OK)
        return rc;
    if (record_len > 0)
        memcpy(b->record, record, record_len);
    rc = record_check(b, RC_HALT_NODES, err);
    if (rc != RC_OK)
        return rc;
    *branch = b;
    b = NULL; /* the caller's now */
    return RC_OK;
}
