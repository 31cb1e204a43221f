#include "hbs/xmss.h"

#include <gcrypt.h>
#include <string.h>

#include "base/bytes.h"
#include "hbs/hash.h"
#include "hbs/kernel_lanes.h" /* LEFT_AS_IS */

#define NODE_BATCH 256

void xmss_tree_init(struct xmss_tree *tree, const struct xmss_params *params, const uint8_t *seed,
                    uint32_t layer, uint64_t number)
{
    MUST(layer < params->d);
    hbs_xmss_init(&tree->x, params, seed);
    tree->layer = layer;
    tree->number = number;
}

uint32_t xmss_leaf_count(const struct xmss_tree *tree)
{
    return UINT32_C(1) << xmss_layer_height(tree->x.params);
}

void xmss_leaves(const struct xmss_tree *tree, uint32_t first, uint32_t count,
                 const uint8_t *secret, uint8_t *leaves)
{
    MUST(count <= xmss_leaf_count(tree));
    MUST(first <= xmss_leaf_count(tree) - count);
    uint32_t batch = wots_batch_leaves(tree->x.params);
    for (uint32_t done = 0; done < count; done += batch) {
        uint32_t now = count - done < batch ? count - done : batch;
        wots_leaves(tree, first + done, now, secret, leaves + (size_t)done * tree->x.params->n);
    }
}

/* Depth is what is left of r without its leading bit; the height in the address is that of the
 * children, as RFC 8391 §4.1.6 counts it up only behind each hash. */
static void node_make(struct hbs_xmss_node *node, const struct xmss_tree *tree, uint32_t r,
                      const uint8_t *left, const uint8_t *right, uint8_t *out)
{
    uint32_t depth = 31U - (uint32_t)__builtin_clz(r);
    *node = (struct hbs_xmss_node){
        .adrs = {tree->layer, (uint32_t)(tree->number >> 32), (uint32_t)tree->number, HBS_ADRS_TREE,
                 0, xmss_layer_height(tree->x.params) - depth - 1U, r - (UINT32_C(1) << depth)},
        .left = left,
        .right = right,
        .out = out,
    };
}

void xmss_level(const struct xmss_tree *tree, uint32_t r, uint32_t count, const uint8_t *children,
                uint8_t *out)
{
    MUST(r >= 1);
    MUST(r < xmss_leaf_count(tree));
    size_t n = tree->x.params->n;
    struct hbs_xmss_node nodes[NODE_BATCH];
    for (uint32_t done = 0; done < count; done += NODE_BATCH) {
        uint32_t now = count - done < NODE_BATCH ? count - done : NODE_BATCH;
        for (uint32_t k = 0; k < now; k++) {
            const uint8_t *left = children + 2 * (size_t)(done + k) * n;
            node_make(&nodes[k], tree, r + done + k, left, left + n, out + (done + k) * n);
        }
        hbs_xmss_nodes(&tree->x, nodes, now);
    }
}

void xmss_node(const struct xmss_tree *tree, uint32_t r, const uint8_t *left, const uint8_t *right,
               uint8_t *out)
{
    struct hbs_xmss_node node;
    node_make(&node, tree, r, left, right, out);
    hbs_xmss_nodes(&tree->x, &node, 1);
}

void xmss_randomizer(const struct xmss_params *params, const uint8_t *sk_prf, uint64_t index,
                     uint8_t *r)
{
    hbs_xmss_prf(params, sk_prf, index, r);
}

size_t xmss_message_prefix(const struct xmss_params *params, const uint8_t *root, uint64_t index,
                           const uint8_t *r, uint8_t prefix[XMSS_MESSAGE_PREFIX_MAX])
{
    uint8_t n = params->n;
    memset(prefix, 0, XMSS_MESSAGE_PREFIX_MAX);
    prefix[params->pad - 1] = 2; /* toByte(2, pad), H_msg */
    uint8_t *p = prefix + params->pad;
    memcpy(p, r, n);
    memcpy(p + n, root, n);
    be_put64(p + 3 * (size_t)n - 8, index);
    return params->pad + 3 * (size_t)n;
}

enum rc xmss_message_open(struct xmss_message *m, const struct xmss_params *params,
                          const uint8_t *root, uint64_t index, const uint8_t *r, struct err *err)
{
    *m = (struct xmss_message){.params = params};
    enum rc rc = hbs_hash_open(&m->handle, params->hash, err);
    if (rc != RC_OK)
        return rc;
    uint8_t prefix[XMSS_MESSAGE_PREFIX_MAX];
    gcry_md_write(m->handle, prefix, xmss_message_prefix(params, root, index, r, prefix));
    return RC_OK;
}

void xmss_message_update(struct xmss_message *m, const void *data, size_t len)
{
    gcry_md_write(m->handle, data, len);
}

void xmss_message_final(struct xmss_message *m, uint8_t *value)
{
    int algorithm = hbs_hash_gcrypt(m->params->hash);
    if (gcry_md_get_algo_dlen(algorithm) != 0)
        memcpy(value, gcry_md_read(m->handle, algorithm), m->params->n);
    else
        MUST(gcry_md_extract(m->handle, algorithm, value, m->params->n) == 0);
}

void xmss_message_close(struct xmss_message *m)
{
    gcry_md_close(m->handle);
    m->handle = NULL;
}

void xmss_tree_sign_batch(const struct xmss_tree *tree, const uint8_t *secret,
                          const struct xmss_signing *jobs, size_t count)
{
    MUST(count <= HBS_BATCH_MAX);
    struct wots_signing each[HBS_BATCH_MAX] LEFT_AS_IS;
    /* I1: first of all. Whatever happens below, a signal or a fault included, these leases are
     * gone. */
    for (size_t k = 0; k < count; k++) {
        struct ots_lease taken = *jobs[k].lease;
        wipe(jobs[k].lease, sizeof(*jobs[k].lease));
        MUST(taken.epoch != 0);
        MUST(taken.index < xmss_leaf_count(tree));
        each[k] = (struct wots_signing){(uint32_t)taken.index, jobs[k].value, jobs[k].sig};
    }
    const struct xmss_params *params = tree->x.params;
    for (size_t k = 0; k < count; k++) {
        for (size_t other = 0; other < k; other++)
            MUST(each[other].leaf != each[k].leaf);
        memcpy(jobs[k].sig + wots_sig_len(params), jobs[k].path,
               (size_t)xmss_layer_height(params) * params->n);
    }
    size_t batch = wots_batch_leaves(params);
    for (size_t done = 0; done < count; done += batch)
        wots_sign(tree, secret, each + done, count - done < batch ? count - done : batch);
}

void xmss_tree_sign(struct ots_lease *lease, const struct xmss_tree *tree, const uint8_t *secret,
                    const uint8_t *value, const uint8_t *path, uint8_t *sig)
{
    const struct xmss_signing job = {lease, value, path, sig};
    xmss_tree_sign_batch(tree, secret, &job, 1);
}

/* Up to NODE_BATCH signatures of one tree, level by level along their paths. */
static void climb(const struct xmss_tree *tree, const struct xmss_checking *jobs, size_t count)
{
    const struct xmss_params *params = tree->x.params;
    struct wots_check checks[NODE_BATCH] LEFT_AS_IS;
    struct hbs_xmss_node nodes[NODE_BATCH] LEFT_AS_IS;
    uint8_t at[NODE_BATCH][XMSS_N_MAX] LEFT_AS_IS;
    for (size_t k = 0; k < count; k++)
        checks[k] = (struct wots_check){jobs[k].leaf, jobs[k].value, jobs[k].sig, at[k]};
    wots_candidates(tree, checks, count);
    for (uint32_t level = 0; level < xmss_layer_height(params); level++) {
        size_t path = wots_sig_len(params) + (size_t)level * params->n;
        for (size_t k = 0; k < count; k++) {
            uint32_t r = (xmss_leaf_count(tree) + jobs[k].leaf) >> level;
            const uint8_t *beside = jobs[k].sig + path;
            node_make(&nodes[k], tree, r / 2, r % 2 == 1 ? beside : at[k],
                      r % 2 == 1 ? at[k] : beside, at[k]);
        }
        hbs_xmss_nodes(&tree->x, nodes, count);
    }
    for (size_t k = 0; k < count; k++)
        memcpy(jobs[k].root, at[k], params->n);
}

void xmss_tree_candidates(const struct xmss_tree *tree, const struct xmss_checking *jobs,
                          size_t count)
{
    MUST(count <= HBS_BATCH_MAX);
    for (size_t k = 0; k < count; k++)
        MUST(jobs[k].leaf < xmss_leaf_count(tree));
    size_t batch = wots_batch_leaves(tree->x.params);
    batch = batch < NODE_BATCH ? batch : NODE_BATCH;
    for (size_t done = 0; done < count; done += batch)
        climb(tree, jobs + done, count - done < batch ? count - done : batch);
}

void xmss_tree_candidate(const struct xmss_tree *tree, uint32_t leaf, const uint8_t *value,
                         const uint8_t *sig, uint8_t *root)
{
    const struct xmss_checking job = {leaf, value, sig, root};
    xmss_tree_candidates(tree, &job, 1);
}
