/*
 * branch_parts: what the two files of a branch share; inside hbs only. branch.c makes and opens
 * branches, branch_sign.c signs under them.
 *
 * Uses: base, branch. Threads: an open branch is read-only.
 */
#ifndef HBS_BRANCH_PARTS_H
#define HBS_BRANCH_PARTS_H

#include "hbs/branch.h"

/* One tree on the path from the root to the indices, top first. */
struct branch_level {
    struct hbs_tree tree;
    uint32_t q;     /* leaf on the path; of the bottom tree any */
    uint8_t *nodes; /* node r at r · n; NULL for the top tree, which has a file */
    uint8_t root[HBS_N_MAX];
};

struct hbs_branch {
    struct hbs_key key;
    const struct hbs_nodes *file;
    uint64_t number; /* of the bottom tree, from the left */
    struct branch_level levels[HBS_LEVELS_MAX];
    struct window_secret *secrets; /* one for each level, locked memory */
    uint8_t *record;
};

static inline bool branch_is_hss(const struct hbs_key *key)
{
    return key->public.scheme == HBS_SCHEME_HSS;
}

/** The lowest level, whose one-time keys sign messages. */
static inline const struct branch_level *branch_bottom(const struct hbs_branch *b)
{
    return &b->levels[b->key.levels - 1];
}

/** Authentication path of leaf q in the tree of level i, bottom first. */
void branch_path(const struct hbs_branch *b, uint32_t i, uint32_t q, uint8_t *path);

#endif
