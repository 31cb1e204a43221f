/*
 * WOTS+, L-trees, XMSS and XMSS^MT (RFC 8391 §3 and §4; SP 800-208 §5 and §6).
 */
#include "verify/bytes.h"
#include "verify/schemes.h"

#if TMV_WITH_XMSS || TMV_WITH_XMSSMT

#define CHAIN_END 15   /* w - 1, and w is 16 in every set */
#define LTREE_LEVELS 9 /* 131 chains at most: 131, 66, 33, 17, 9, 5, 3, 2, 1 nodes */

/* What the keyed functions put in front (RFC 8391 §5.1). */
#define PREFIX_F 0
#define PREFIX_H 1
#define PREFIX_MESSAGE 2
#define PREFIX_PRF 3

/* Words of an address (RFC 8391 §2.5), and their use in each type. */
#define ADDRESS_LEN 32
#define AT_LAYER 0
#define AT_TREE 4 /* 8 bytes */
#define AT_TYPE 12
#define AT_NUMBER 16 /* OTS and L-tree: the leaf */
#define AT_CHAIN 20  /* OTS: chain; trees: height */
#define AT_HEIGHT 20
#define AT_STEP 24 /* OTS: step; trees: index of the node */
#define AT_INDEX 24
#define AT_MASK 28
#define TYPE_OTS 0
#define TYPE_LTREE 1
#define TYPE_TREE 2

/* What all hashes of one verification share. */
struct job {
    const struct tmvi_set *set;
    struct tmv_hash prf; /* behind toByte(3, pad) || SEED, which is one whole block where n = 32 */
    uint8_t address[ADDRESS_LEN];
};

static void put(struct job *job, unsigned at, uint32_t value)
{
    tmvi_put(job->address + at, value, 4);
}

/* Go on to another type of address: what stands behind the type is zero (RFC 8391 §2.5). */
static void put_type(struct job *job, uint32_t type)
{
    tmvi_zero(job->address + AT_TYPE, ADDRESS_LEN - AT_TYPE);
    put(job, AT_TYPE, type);
}

static void begin(struct tmv_hash *hash, const struct tmvi_set *set, uint32_t prefix)
{
    tmvi_hash_begin(hash, set->hash);
    tmvi_hash_add_number(hash, prefix, set->pad);
}

/* PRF(SEED, ADRS) with keyAndMask. */
static void prf(struct job *job, uint32_t mask, uint8_t *out)
{
    struct tmv_hash hash = job->prf;
    put(job, AT_MASK, mask);
    tmvi_hash_add(&hash, job->address, ADDRESS_LEN);
    tmvi_hash_end(&hash, out, job->set->n);
}

/* Add value XOR PRF(SEED, ADRS): both get a bit mask of their own before they are hashed. */
static void add_masked(struct job *job, struct tmv_hash *hash, uint32_t mask, const uint8_t *value)
{
    uint8_t masked[TMV_N_MAX];
    prf(job, mask, masked);
    for (size_t i = 0; i < job->set->n; i++)
        masked[i] ^= value[i];
    tmvi_hash_add(hash, masked, job->set->n);
}

static void begin_keyed(struct job *job, struct tmv_hash *hash, uint32_t prefix)
{
    uint8_t key[TMV_N_MAX];
    prf(job, 0, key);
    begin(hash, job->set, prefix);
    tmvi_hash_add(hash, key, job->set->n);
}

/* RFC 8391 §4.1.4 algorithm 7. out may be left or right. */
static void rand_hash(struct job *job, const uint8_t *left, const uint8_t *right, uint8_t *out)
{
    struct tmv_hash hash;
    begin_keyed(job, &hash, PREFIX_H);
    add_masked(job, &hash, 1, left);
    add_masked(job, &hash, 2, right);
    tmvi_hash_end(&hash, out, job->set->n);
}

/* The rest of a chain (RFC 8391 §3.1.2 algorithm 2). */
static void chain(struct job *job, uint32_t from, uint8_t *value)
{
    struct tmv_hash hash;
    for (uint32_t step = from; step < CHAIN_END; step++) {
        put(job, AT_STEP, step);
        begin_keyed(job, &hash, PREFIX_F);
        add_masked(job, &hash, 1, value);
        tmvi_hash_end(&hash, value, job->set->n);
    }
}

/* RFC 8391 §3.1.5: the digits of the message, then three of the checksum, which is shifted to the
 * left by 4 bits so that it fills two bytes from the front. */
static uint32_t digit(const uint8_t *bytes, uint32_t i)
{
    return i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15;
}

static void append_checksum(size_t n, uint8_t digits[TMV_N_MAX + 2])
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 2 * n; i++)
        sum += CHAIN_END - digit(digits, i);
    tmvi_put(digits + n, sum << 4, 2);
}

/*
 * An L-tree (RFC 8391 §4.1.5 algorithm 8) that takes its leaves one after another: at most one node
 * of each level waits for its neighbour. The RFC keeps all leaves in memory; the hashes are the
 * same.
 */
struct ltree {
    uint32_t leaf;
    uint8_t waiting[LTREE_LEVELS][TMV_N_MAX];
};

/* Put a node at its place; while it has a left neighbour both become the node above. */
static void ltree_put(struct job *job, struct ltree *tree, uint32_t level, uint32_t index,
                      uint8_t *node)
{
    while (index % 2 == 1) {
        put_type(job, TYPE_LTREE);
        put(job, AT_NUMBER, tree->leaf);
        put(job, AT_HEIGHT, level);
        put(job, AT_INDEX, index / 2);
        rand_hash(job, tree->waiting[level], node, node);
        level++;
        index /= 2;
    }
    tmvi_copy(tree->waiting[level], node, job->set->n);
}

/* The last node of a level with an odd number of nodes goes up as it is. */
static void ltree_root(struct job *job, struct ltree *tree, uint32_t count, uint8_t *root)
{
    uint32_t level = 0;
    for (; count > 1; level++, count = (count + 1) / 2) {
        if (count % 2 == 0)
            continue;
        tmvi_copy(root, tree->waiting[level], job->set->n);
        ltree_put(job, tree, level + 1, count / 2, root);
    }
    tmvi_copy(root, tree->waiting[level], job->set->n);
}

/* The leaf that a WOTS+ signature of the value in node leads to. */
static void leaf_of(struct job *job, uint32_t leaf, const uint8_t *sig, uint8_t *node)
{
    size_t n = job->set->n;
    uint8_t digits[TMV_N_MAX + 2];
    struct ltree tree;
    tree.leaf = leaf;
    tmvi_copy(digits, node, n);
    append_checksum(n, digits);
    for (uint32_t i = 0; i < job->set->p; i++) {
        put_type(job, TYPE_OTS);
        put(job, AT_NUMBER, leaf);
        put(job, AT_CHAIN, i);
        tmvi_copy(node, sig + i * n, n);
        chain(job, digit(digits, i), node);
        ltree_put(job, &tree, 0, i, node);
    }
    ltree_root(job, &tree, job->set->p, node);
}

/* One tree: from the value that its leaf signs to its root (RFC 8391 §4.1.10 algorithm 13). */
static void tree_root(struct job *job, uint32_t leaf, uint32_t height, const uint8_t *sig,
                      uint8_t *node)
{
    size_t n = job->set->n;
    const uint8_t *path = sig + job->set->p * n;
    leaf_of(job, leaf, sig, node);
    put_type(job, TYPE_TREE);
    for (uint32_t k = 0; k < height; k++, path += n) {
        bool right = leaf >> k & 1;
        put(job, AT_HEIGHT, k);
        put(job, AT_INDEX, leaf >> k >> 1);
        rand_hash(job, right ? path : node, right ? node : path, node);
    }
}

void tmvi_xmss_message(struct tmv_hash *hash, const struct tmvi_set *set, const uint8_t *r,
                       const uint8_t *root, uint64_t index)
{
    begin(hash, set, PREFIX_MESSAGE);
    tmvi_hash_add(hash, r, set->n);
    tmvi_hash_add(hash, root, set->n);
    tmvi_hash_add_number(hash, index, set->n);
}

void tmvi_xmss_root(const struct tmvi_set *set, const uint8_t *seed, uint64_t index,
                    const uint8_t *sig, uint8_t *node)
{
    struct job job;
    uint32_t height = set->height / set->layers;
    tmvi_zero(&job, sizeof(job));
    job.set = set;
    begin(&job.prf, set, PREFIX_PRF);
    tmvi_hash_add(&job.prf, seed, set->n);
    for (uint32_t layer = 0; layer < set->layers; layer++) {
        uint32_t leaf = (uint32_t)(index & ((UINT64_C(1) << height) - 1));
        index >>= height;
        put(&job, AT_LAYER, layer);
        tmvi_put(job.address + AT_TREE, index, 8);
        tree_root(&job, leaf, height, sig, node);
        sig += (size_t)(set->p + height) * set->n;
    }
}

#endif
