#include "hbs/key.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"

static enum rc no_such_set(const char *name, struct err *err)
{
    return FAIL(err, RC_REFUSED_UNSUPPORTED, "", 0, "no parameter set for signing is named '%.48s'",
                name);
}

static enum rc hss_sets(struct hbs_key *key, const char *const *names, size_t count,
                        struct err *err)
{
    if (count < 2 || count % 2 != 0 || count > HBS_KEY_NAMES_MAX)
        return FAIL(err, RC_REFUSED_UNSUPPORTED, "", (int64_t)count,
                    "%zu names: LMS and LM-OTS are needed for each of 1 to 8 levels", count);
    key->levels = (uint32_t)(count / 2);
    for (uint32_t i = 0; i < key->levels; i++) {
        struct lms_set *set = &key->sets[i];
        set->lms = lms_params_by_name(names[2 * i]);
        set->ots = lmots_params_by_name(names[2 * i + 1]);
        if (set->lms == NULL || set->ots == NULL)
            return no_such_set(names[2 * i + (set->lms == NULL ? 0 : 1)], err);
        /* Seeds of lower levels are hashes of those above, and so of one length with them. */
        if (!lms_set_valid(set) || set->lms->hash != key->sets[0].lms->hash ||
            set->lms->m != key->sets[0].lms->m)
            return FAIL(err, RC_REFUSED_UNSUPPORTED, "", 0, "%s with %s: different hash functions",
                        set->lms->name, set->ots->name);
        key->heights[i] = set->lms->h;
    }
    key->public.scheme = HBS_SCHEME_HSS;
    key->public.hss.levels = key->levels;
    key->public.hss.top.set = key->sets[0];
    return RC_OK;
}

static enum rc xmss_set(struct hbs_key *key, bool multi, const char *const *names, size_t count,
                        struct err *err)
{
    const struct xmss_params *params = count == 1 ? xmss_params_by_name(names[0]) : NULL;
    if (params == NULL || params->multi != multi || !params->sp800_208)
        return no_such_set(count > 0 ? names[0] : "", err);
    key->levels = params->d;
    for (uint32_t i = 0; i < key->levels; i++)
        key->heights[i] = xmss_layer_height(params);
    key->public.scheme = multi ? HBS_SCHEME_XMSSMT : HBS_SCHEME_XMSS;
    key->public.xmss.params = params;
    return RC_OK;
}

static enum rc sets_read(struct hbs_key *key, const char *scheme, const char *const *names,
                         size_t count, struct err *err)
{
    *key = (struct hbs_key){0};
    enum rc rc = RC_OK;
    if (strcmp(scheme, "lms") == 0 && count == 2)
        rc = hss_sets(key, names, count, err);
    else if (strcmp(scheme, "hss") == 0)
        rc = hss_sets(key, names, count, err);
    else if (strcmp(scheme, "xmss") == 0 || strcmp(scheme, "xmssmt") == 0)
        rc = xmss_set(key, strcmp(scheme, "xmssmt") == 0, names, count, err);
    else
        rc = FAIL(err, RC_REFUSED_UNSUPPORTED, "", 0, "scheme '%.20s' with %zu parameter sets",
                  scheme, count);
    unsigned height = 0;
    for (uint32_t i = 0; rc == RC_OK && i < key->levels; i++)
        height += key->heights[i];
    if (rc == RC_OK && height >= 64)
        rc = FAIL(err, RC_REFUSED_UNSUPPORTED, "", height,
                  "trees of height %u in all; indices have 63 bits", height);
    key->height = (uint8_t)height;
    if (rc != RC_OK)
        *key = (struct hbs_key){0};
    return rc;
}

static void id_set(struct hbs_key *key, const uint8_t id[HBS_KEY_ID_LEN])
{
    if (key->public.scheme == HBS_SCHEME_HSS)
        memcpy(key->public.hss.top.i, id, LMS_I_LEN);
    else
        memcpy(key->public.xmss.seed, id, key->public.xmss.params->n);
}

enum rc hbs_key_new(struct hbs_key *key, const char *scheme, const char *const *names, size_t count,
                    const uint8_t id[HBS_KEY_ID_LEN], struct err *err)
{
    enum rc rc = sets_read(key, scheme, names, count, err);
    if (rc != RC_OK)
        return rc;
    id_set(key, id);
    return RC_OK;
}

static bool same_sets(const struct hbs_public *a, const struct hbs_public *b)
{
    if (a->scheme == HBS_SCHEME_HSS)
        return a->hss.levels == b->hss.levels && a->hss.top.set.lms == b->hss.top.set.lms &&
               a->hss.top.set.ots == b->hss.top.set.ots;
    return a->xmss.params == b->xmss.params;
}

enum rc hbs_key_read(struct hbs_key *key, const char *scheme, const char *const *names,
                     size_t count, const uint8_t *raw, size_t raw_len, struct err *err)
{
    enum rc rc = sets_read(key, scheme, names, count, err);
    if (rc != RC_OK)
        return rc;
    struct hbs_public public;
    rc = hbs_public_parse(&public, key->public.scheme, raw, raw_len, err);
    if (rc == RC_OK && !same_sets(&public, &key->public))
        rc = FAIL(err, RC_REFUSED_INPUT, "", 0, "the public key is not one of %.48s", names[0]);
    if (rc == RC_OK)
        key->public = public;
    else
        *key = (struct hbs_key){0};
    return rc;
}

size_t hbs_key_public(const struct hbs_key *key, uint8_t *out)
{
    return hbs_public_print(&key->public, out);
}

size_t hbs_key_sig_len(const struct hbs_key *key)
{
    if (key->public.scheme != HBS_SCHEME_HSS)
        return xmss_sig_len(key->public.xmss.params);
    size_t len = 4;
    for (uint32_t i = 0; i < key->levels; i++)
        len += lms_sig_len(&key->sets[i]) + (i > 0 ? lms_pub_len(&key->sets[i]) : 0);
    return len;
}

struct hbs_tree hbs_key_top(const struct hbs_key *key)
{
    if (key->public.scheme == HBS_SCHEME_HSS)
        return hbs_tree_of_lms(&key->public.hss.top);
    const struct xmss_public *xmss = &key->public.xmss;
    struct xmss_tree tree;
    xmss_tree_init(&tree, xmss->params, xmss->seed, key->levels - 1, 0);
    return hbs_tree_of_xmss(&tree);
}

/* Indices under one leaf of the top tree, as a power of two. */
static unsigned below_top(const struct hbs_key *key)
{
    return key->height - key->heights[0];
}

enum rc hbs_key_windows(const struct hbs_key *key, uint64_t window_size, struct err *err)
{
    if (window_size == 0 || (window_size & (window_size - 1)) != 0 ||
        window_size > UINT64_C(1) << key->height)
        return FAIL(err, RC_REFUSED_PLAN, "", 0,
                    "windows of %" PRIu64 " indices: a power of two up to 2^%u is needed",
                    window_size, (unsigned)key->height);
    if (window_size < UINT64_C(1) << below_top(key))
        return FAIL(err, RC_REFUSED_PLAN, "", 0,
                    "windows of %" PRIu64 " indices: in this hypertree a window holds whole trees, "
                    "%" PRIu64 " indices at least",
                    window_size, UINT64_C(1) << below_top(key));
    return RC_OK;
}

static uint8_t *root_of(struct hbs_key *key)
{
    return key->public.scheme == HBS_SCHEME_HSS ? key->public.hss.root : key->public.xmss.root;
}

enum rc hbs_key_nodes_make(struct hbs_key *key, int dirfd, const char *name, uint64_t window_size,
                           hbs_secret_source source, hbs_progress progress, void *ctx,
                           unsigned threads, struct err *err)
{
    MUST(hbs_key_windows(key, window_size, NULL) == RC_OK);
    const struct hbs_tree top = hbs_key_top(key);
    uint8_t root[HBS_N_MAX];
    enum rc rc = hbs_nodes_make(dirfd, name, &top, window_size >> below_top(key), source, progress,
                                ctx, threads, root, err);
    if (rc == RC_OK)
        memcpy(root_of(key), root, top.n);
    return rc;
}

enum rc hbs_key_nodes_continue(struct hbs_key *key, int dirfd, const char *name,
                               const struct hbs_making *how, struct err *err)
{
    MUST(hbs_key_windows(key, how->window_size, NULL) == RC_OK);
    const struct hbs_tree top = hbs_key_top(key);
    struct hbs_making in_leaves = *how;
    in_leaves.window_size = how->window_size >> below_top(key);
    uint8_t root[HBS_N_MAX];
    enum rc rc = hbs_nodes_continue(dirfd, name, &top, &in_leaves, root, err);
    if (rc == RC_OK)
        memcpy(root_of(key), root, top.n);
    return rc;
}

enum rc hbs_key_nodes_found(struct hbs_key *key, int dirfd, const char *name, struct err *err)
{
    const struct hbs_tree top = hbs_key_top(key);
    uint8_t root[HBS_N_MAX];
    enum rc rc = hbs_nodes_root(dirfd, name, &top, root, err);
    if (rc != RC_OK)
        return rc;
    struct hbs_nodes *nodes CLEANUP(hbs_nodes_close) = NULL;
    bool repaired = false;
    rc = hbs_nodes_open(&nodes, dirfd, name, &top, root, &repaired, err);
    if (rc == RC_OK)
        memcpy(root_of(key), root, top.n);
    return rc;
}

enum rc hbs_key_nodes_check(struct hbs_key *key, int dirfd, const char *name, hbs_progress progress,
                            void *ctx, struct err *err)
{
    _Static_assert(HBS_NODES_ID_LEN == HBS_KEY_ID_LEN, "one id");
    struct hbs_key found = *key;
    uint8_t id[HBS_KEY_ID_LEN];
    uint8_t root[HBS_N_MAX];
    struct hbs_tree top = hbs_key_top(key);
    enum rc rc = hbs_nodes_id(dirfd, name, top.kind, id, err);
    if (rc != RC_OK)
        return rc;
    id_set(&found, id);
    top = hbs_key_top(&found);
    rc = hbs_nodes_check(dirfd, name, &top, progress, ctx, root, err);
    if (rc != RC_OK)
        return rc;
    memcpy(root_of(&found), root, top.n);
    *key = found;
    return RC_OK;
}

enum rc hbs_key_nodes_open(struct hbs_nodes **nodes, int dirfd, const char *name,
                           const struct hbs_key *key, bool *repaired, struct err *err)
{
    const struct hbs_tree top = hbs_key_top(key);
    struct hbs_key copy = *key;
    return hbs_nodes_open(nodes, dirfd, name, &top, root_of(&copy), repaired, err);
}

bool hbs_key_secret_fits(const struct hbs_key *key, const struct hbs_nodes *nodes,
                         uint64_t window_size, uint64_t window, const struct window_secret *secret)
{
    MUST(hbs_key_windows(key, window_size, NULL) == RC_OK);
    const struct hbs_tree top = hbs_key_top(key);
    uint64_t count = window_size >> below_top(key);
    MUST(window < (UINT64_C(1) << top.height) / count);
    uint32_t q = (uint32_t)(window * count);
    uint8_t leaf[HBS_N_MAX];
    hbs_tree_leaves(&top, q, 1, secret->seed, leaf);
    return ct_equal(leaf, hbs_nodes_at(nodes, (UINT32_C(1) << top.height) + q), top.n);
}
