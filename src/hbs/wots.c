#include "hbs/wots.h"

#include <string.h>

#include "base/bytes.h"
#include "hbs/kernel_lanes.h" /* LEFT_AS_IS */

#define BATCH_VALUES (WOTS_BATCH_CHAINS * 32) /* bytes; with n = 64 they are filled first */
#define NODE_BATCH 256
#define BATCH_LEAVES_MAX (WOTS_BATCH_CHAINS / 51)

_Static_assert(BATCH_VALUES >= 4 * WOTS_LEN_MAX * XMSS_N_MAX, "a batch must hold whole leaves");

uint32_t wots_batch_leaves(const struct xmss_params *params)
{
    uint32_t chains = WOTS_BATCH_CHAINS / params->len;
    uint32_t values = BATCH_VALUES / ((uint32_t)params->len * params->n);
    return chains < values ? chains : values;
}

void wots_digits(const struct xmss_params *params, const uint8_t *value,
                 uint8_t digits[WOTS_LEN_MAX])
{
    unsigned sum = 0;
    for (size_t i = 0; i < params->n; i++) {
        digits[2 * i] = value[i] >> 4;
        digits[2 * i + 1] = value[i] & 15;
        sum += 30U - digits[2 * i] - digits[2 * i + 1];
    }
    /* len_2 is 3 for every n: twelve bits, which the shift of §3.1.5 puts at the top of two bytes.
     */
    uint8_t *checksum = digits + 2 * (size_t)params->n;
    for (unsigned i = 0; i < 3; i++)
        checksum[i] = (uint8_t)((sum >> (8 - 4 * i)) & 15);
}

/* The chains of one leaf over len · n bytes of values, from step from[i] to step to[i]; NULL is the
 * first or the last step of all. */
static void chains_make(struct hbs_wots_chain *chains, const struct xmss_tree *tree, uint32_t leaf,
                        const uint8_t *from, const uint8_t *to, uint8_t *values)
{
    const struct xmss_params *params = tree->x.params;
    for (uint32_t i = 0; i < params->len; i++)
        chains[i] = (struct hbs_wots_chain){
            .adrs = {tree->layer, (uint32_t)(tree->number >> 32), (uint32_t)tree->number,
                     HBS_ADRS_OTS, leaf, i},
            .from = from != NULL ? from[i] : 0,
            .to = to != NULL ? to[i] : WOTS_STEPS,
            .value = values + (size_t)i * params->n,
        };
}

/* Nodes that wait for their turn in the lanes. */
struct node_queue {
    const struct hbs_xmss *x;
    size_t count;
    struct hbs_xmss_node nodes[NODE_BATCH];
};

static void queue_run(struct node_queue *queue)
{
    hbs_xmss_nodes(queue->x, queue->nodes, queue->count);
    queue->count = 0;
}

/* One level of the L-tree of one leaf: `count` values become count / 2, each in the place of one
 * that was read before. */
static void ltree_level(struct node_queue *queue, const struct xmss_tree *tree, uint32_t leaf,
                        uint32_t height, uint32_t count, uint8_t *values)
{
    size_t n = tree->x.params->n;
    for (uint32_t i = 0; i < count / 2; i++) {
        if (queue->count == NODE_BATCH)
            queue_run(queue);
        queue->nodes[queue->count++] = (struct hbs_xmss_node){
            .adrs = {tree->layer, (uint32_t)(tree->number >> 32), (uint32_t)tree->number,
                     HBS_ADRS_LTREE, leaf, height, i},
            .left = values + 2 * i * n,
            .right = values + (2 * i + 1) * n,
            .out = values + i * n,
        };
    }
}

/* The L-trees of count leaves side by side (RFC 8391 §4.1.5 algorithm 8). Each ends up in the first
 * of its values, and the others are destroyed. */
static void ltrees(const struct xmss_tree *tree, const uint32_t *leaves, uint32_t count,
                   uint8_t *values)
{
    size_t n = tree->x.params->n;
    size_t each = wots_sig_len(tree->x.params);
    struct node_queue queue LEFT_AS_IS;
    queue.x = &tree->x;
    queue.count = 0;
    uint32_t left = tree->x.params->len;
    for (uint32_t height = 0; left > 1; height++) {
        for (uint32_t k = 0; k < count; k++)
            ltree_level(&queue, tree, leaves[k], height, left, values + k * each);
        queue_run(&queue);
        /* The last one of an odd number goes up as it is. */
        for (uint32_t k = 0; left % 2 == 1 && k < count; k++)
            memcpy(values + k * each + left / 2 * n, values + k * each + (left - 1) * n, n);
        left = (left + 1) / 2;
    }
}

void wots_leaves(const struct xmss_tree *tree, uint32_t first, uint32_t count,
                 const uint8_t *secret, uint8_t *leaves)
{
    const struct xmss_params *params = tree->x.params;
    MUST(count >= 1);
    MUST(count <= wots_batch_leaves(params));
    size_t each = wots_sig_len(params);
    /* No path leaves between the starts of the chains and their ends, which are public: they are
     * the public key. So there is nothing to wipe. */
    uint8_t values[BATCH_VALUES] LEFT_AS_IS;
    struct hbs_wots_chain chains[WOTS_BATCH_CHAINS] LEFT_AS_IS;
    uint32_t numbers[BATCH_LEAVES_MAX] = {0};
    for (uint32_t k = 0; k < count; k++) {
        numbers[k] = first + k;
        chains_make(chains + (size_t)k * params->len, tree, first + k, NULL, NULL,
                    values + k * each);
    }
    hbs_wots_starts(&tree->x, secret, chains, (size_t)count * params->len);
    hbs_wots_chains(&tree->x, chains, (size_t)count * params->len);
    ltrees(tree, numbers, count, values);
    for (uint32_t k = 0; k < count; k++)
        memcpy(leaves + (size_t)k * params->n, values + k * each, params->n);
}

/* Values of signatures, until they are those that may be seen. Filled before they are read, so that
 * only the part in use costs anything. */
struct hidden {
    size_t used;
    uint8_t values[BATCH_VALUES];
};

static void hidden_wipe(struct hidden *hidden)
{
    wipe(hidden->values, hidden->used);
}

void wots_sign(const struct xmss_tree *tree, const uint8_t *secret, const struct wots_signing *jobs,
               size_t count)
{
    const struct xmss_params *params = tree->x.params;
    MUST(count >= 1);
    MUST(count <= wots_batch_leaves(params));
    size_t each = wots_sig_len(params);
    struct hidden hidden CLEANUP(hidden_wipe) LEFT_AS_IS;
    hidden.used = count * each;
    struct hbs_wots_chain chains[WOTS_BATCH_CHAINS] LEFT_AS_IS;
    for (size_t k = 0; k < count; k++) {
        uint8_t digits[WOTS_LEN_MAX];
        wots_digits(params, jobs[k].value, digits);
        chains_make(chains + k * params->len, tree, jobs[k].leaf, NULL, digits,
                    hidden.values + k * each);
    }
    hbs_wots_starts(&tree->x, secret, chains, count * params->len);
    hbs_wots_chains(&tree->x, chains, count * params->len);
    for (size_t k = 0; k < count; k++)
        memcpy(jobs[k].sig, hidden.values + k * each, each);
}

void wots_candidates(const struct xmss_tree *tree, const struct wots_check *jobs, size_t count)
{
    const struct xmss_params *params = tree->x.params;
    MUST(count >= 1);
    MUST(count <= wots_batch_leaves(params));
    size_t each = wots_sig_len(params);
    uint8_t values[BATCH_VALUES] LEFT_AS_IS;
    struct hbs_wots_chain chains[WOTS_BATCH_CHAINS] LEFT_AS_IS;
    uint32_t numbers[BATCH_LEAVES_MAX] = {0};
    for (size_t k = 0; k < count; k++) {
        uint8_t digits[WOTS_LEN_MAX];
        wots_digits(params, jobs[k].value, digits);
        memcpy(values + k * each, jobs[k].sig, each);
        numbers[k] = jobs[k].leaf;
        chains_make(chains + k * params->len, tree, jobs[k].leaf, digits, NULL, values + k * each);
    }
    hbs_wots_chains(&tree->x, chains, count * params->len);
    ltrees(tree, numbers, (uint32_t)count, values);
    for (size_t k = 0; k < count; k++)
        memcpy(jobs[k].out, values + k * each, params->n);
}
