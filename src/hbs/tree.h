/*
 * tree: what an LMS tree and an XMSS tree have in common, so that node files and builders need not
 * ask which one they have: leaves from a seed, nodes from their children.
 *
 * Nodes are numbered as in RFC 8554 §5.3: the root is 1, the children of r are 2r and 2r + 1, leaf
 * q is 2^h + q. Uses: base, lms, xmss. Pure; any thread. Leaves are public, the seed is secret.
 */
#ifndef HBS_TREE_H
#define HBS_TREE_H

#include "hbs/lms.h"
#include "hbs/xmss.h"

enum hbs_tree_kind { HBS_TREE_LMS = 1, HBS_TREE_XMSS = 2 };

/** One tree, of a single-tree key or of a hypertree. A plain value. */
struct hbs_tree {
    enum hbs_tree_kind kind;
    uint8_t n;      /* bytes of a node */
    uint8_t height; /* 5 … 25 */
    union {
        struct lms_tree lms;
        struct xmss_tree xmss;
    };
};

struct hbs_tree hbs_tree_of_lms(const struct lms_tree *lms);
struct hbs_tree hbs_tree_of_xmss(const struct xmss_tree *xmss);

/** "LMS_SHA256_M32_H10", "XMSS-SHA2_10_256". Static. */
const char *hbs_tree_name(const struct hbs_tree *tree);

/** As lms_leaves() and xmss_leaves(). seed: n bytes, SEED of RFC 8554 or S_XMSS of SP 800-208. */
void hbs_tree_leaves(const struct hbs_tree *tree, uint32_t first, uint32_t count,
                     const uint8_t *seed, uint8_t *leaves);

/** As lms_level() and xmss_level(). */
void hbs_tree_level(const struct hbs_tree *tree, uint32_t r, uint32_t count,
                    const uint8_t *children, uint8_t *out);

/** As lms_node() and xmss_node(). */
void hbs_tree_node(const struct hbs_tree *tree, uint32_t r, const uint8_t *left,
                   const uint8_t *right, uint8_t *out);

/**
 * Build a whole tree from one seed: its root, and the authentication path of one leaf.
 * @param[in]  q     Leaf, below 2^h (MUST).
 * @param[out] root  n bytes.
 * @param[out] path  h · n bytes, bottom first.
 * @retval RC_RETRY_SYSTEM  No memory (at most 1 MiB and 64 KiB).
 * Blocks: all leaves, on the calling thread.
 */
enum rc hbs_tree_build(const struct hbs_tree *tree, const uint8_t *seed, uint32_t q, uint8_t *root,
                       uint8_t *path, struct err *err) MUST_CHECK;

#endif
