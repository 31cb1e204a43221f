#include "hbs/tree.h"

#include <stdlib.h>
#include <string.h>

/* Trees are built in blocks of this many leaves, and then over the roots of the blocks: a tree of
 * height 25 takes 1 MiB instead of 2 GiB. */
#define BLOCK_LEAVES 1024

struct hbs_tree hbs_tree_of_lms(const struct lms_tree *lms)
{
    MUST(lms_set_valid(&lms->set));
    return (struct hbs_tree){
        .kind = HBS_TREE_LMS, .n = lms->set.lms->m, .height = lms->set.lms->h, .lms = *lms};
}

struct hbs_tree hbs_tree_of_xmss(const struct xmss_tree *xmss)
{
    return (struct hbs_tree){.kind = HBS_TREE_XMSS,
                             .n = xmss->x.params->n,
                             .height = xmss_layer_height(xmss->x.params),
                             .xmss = *xmss};
}

const char *hbs_tree_name(const struct hbs_tree *tree)
{
    return tree->kind == HBS_TREE_LMS ? tree->lms.set.lms->name : tree->xmss.x.params->name;
}

void hbs_tree_leaves(const struct hbs_tree *tree, uint32_t first, uint32_t count,
                     const uint8_t *seed, uint8_t *leaves)
{
    if (tree->kind == HBS_TREE_XMSS) {
        xmss_leaves(&tree->xmss, first, count, seed, leaves);
        return;
    }
    struct window_secret secret CLEANUP(window_secret_wipe) = {0};
    memcpy(secret.seed, seed, tree->n);
    lms_leaves(&tree->lms, first, count, &secret, leaves);
}

void hbs_tree_level(const struct hbs_tree *tree, uint32_t r, uint32_t count,
                    const uint8_t *children, uint8_t *out)
{
    if (tree->kind == HBS_TREE_LMS)
        lms_level(&tree->lms, r, count, children, out);
    else
        xmss_level(&tree->xmss, r, count, children, out);
}

void hbs_tree_node(const struct hbs_tree *tree, uint32_t r, const uint8_t *left,
                   const uint8_t *right, uint8_t *out)
{
    if (tree->kind == HBS_TREE_LMS)
        lms_node(&tree->lms, r, left, right, out);
    else
        xmss_node(&tree->xmss, r, left, right, out);
}

static void free_nodes(uint8_t **nodes)
{
    free(*nodes);
    *nodes = NULL;
}

/* Reduce the count nodes r … to one, which ends up at nodes[0]. If position < count, its siblings
 * go to path on the way, bottom first. */
static void reduce(const struct hbs_tree *tree, uint32_t r, uint32_t count, uint8_t *nodes,
                   uint32_t position, uint8_t *path)
{
    size_t n = tree->n;
    for (; count > 1; count /= 2, r /= 2, position /= 2) {
        if (position < count) {
            memcpy(path, nodes + (position ^ 1) * n, n);
            path += n;
        }
        hbs_tree_level(tree, r / 2, count / 2, nodes, nodes);
    }
}

enum rc hbs_tree_build(const struct hbs_tree *tree, const uint8_t *seed, uint32_t q, uint8_t *root,
                       uint8_t *path, struct err *err)
{
    size_t n = tree->n;
    uint32_t leaves = UINT32_C(1) << tree->height;
    MUST(q < leaves);
    uint32_t block = leaves < BLOCK_LEAVES ? leaves : BLOCK_LEAVES;
    uint32_t blocks = leaves / block;
    uint8_t *nodes CLEANUP(free_nodes) = calloc((size_t)block + blocks, n);
    if (nodes == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for a tree of height %u",
                    (unsigned)tree->height);
    uint8_t *roots = nodes + block * n;
    for (uint32_t b = 0; b < blocks; b++) {
        hbs_tree_leaves(tree, b * block, block, seed, nodes);
        uint32_t position = q / block == b ? q % block : block;
        reduce(tree, leaves + b * block, block, nodes, position, path);
        memcpy(roots + b * n, nodes, n);
    }
    reduce(tree, blocks, blocks, roots, q / block, path + (size_t)__builtin_ctz(block) * n);
    memcpy(root, roots, n);
    return RC_OK;
}
