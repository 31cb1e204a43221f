#include "hbs/hss.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "hbs/hash.h"
#include "hbs/tree.h"

#define D_CHILD_SEED 0xfffe
#define D_CHILD_I 0xffff

void hss_private_wipe(struct hss_private *key)
{
    wipe(key, sizeof(*key));
}

/* One level while it is used: its tree, its secret, and what the signature needs of it. */
struct level {
    struct lms_tree tree;
    struct window_secret secret;
    uint32_t q;
    uint8_t root[HBS_N_MAX];
    uint8_t path[LMS_H_MAX * HBS_N_MAX];
};

static void level_wipe(struct level *level)
{
    wipe(level, sizeof(*level));
}

/* Root of the level's tree, and the authentication path of its leaf q. */
static enum rc level_build(struct level *level, struct err *err)
{
    const struct hbs_tree tree = hbs_tree_of_lms(&level->tree);
    return hbs_tree_build(&tree, level->secret.seed, level->q, level->root, level->path, err);
}

/* SEED' or I' of the tree below leaf q: H(I || u32(q) || domain || 0xff || SEED). out: n bytes. */
static void child_derive(const struct lms_tree *parent, uint32_t q,
                         const struct window_secret *secret, uint16_t domain,
                         uint8_t out[HBS_N_MAX])
{
    uint8_t n = parent->set.ots->n;
    uint8_t text[LMS_I_LEN + 4 + 2 + 1 + HBS_N_MAX];
    memcpy(text, parent->i, LMS_I_LEN);
    be_put32(text + LMS_I_LEN, q);
    be_put16(text + LMS_I_LEN + 4, domain);
    text[LMS_I_LEN + 6] = HBS_STEP_SEED;
    memcpy(text + LMS_I_LEN + 7, secret->seed, n);
    struct hbs_job job = {text, LMS_I_LEN + 7 + (size_t)n, out};
    hbs_jobs_run(parent->set.ots->hash, n, &job, 1);
    wipe(text, sizeof(text));
}

void hss_child(const struct lms_tree *parent, uint32_t q, const struct window_secret *secret,
               uint8_t i[LMS_I_LEN], struct window_secret *child)
{
    uint8_t whole[HBS_N_MAX];
    *child = (struct window_secret){0};
    child_derive(parent, q, secret, D_CHILD_SEED, child->seed);
    child_derive(parent, q, secret, D_CHILD_I, whole);
    memcpy(i, whole, LMS_I_LEN);
}

/* Set and secret of level number at; parent is the level above it, NULL for the top. */
static void level_start(struct level *level, const struct hss_private *key, uint32_t at,
                        const struct level *parent, uint32_t q)
{
    *level = (struct level){.tree.set = key->set[at], .q = q};
    if (parent == NULL || key->given_levels) {
        memcpy(level->tree.i, key->secret[at].i, LMS_I_LEN);
        memcpy(level->secret.seed, key->secret[at].seed, HBS_N_MAX);
        return;
    }
    hss_child(&parent->tree, parent->q, &parent->secret, level->tree.i, &level->secret);
}

static void private_check(const struct hss_private *key)
{
    MUST(key->levels >= 1);
    MUST(key->levels <= HSS_LEVELS_MAX);
    for (uint32_t at = 0; at < key->levels; at++) {
        MUST(lms_set_valid(&key->set[at]));
        /* A derived SEED is as long as the hash of its parent; mixed lengths need given seeds. */
        MUST(key->given_levels || key->set[at].lms->m == key->set[0].lms->m);
    }
}

static void public_from(struct hss_public *pub, const struct hss_private *key,
                        const struct level *top)
{
    *pub = (struct hss_public){.levels = key->levels, .top = top->tree};
    memcpy(pub->root, top->root, top->tree.set.lms->m);
}

enum rc hss_keygen(const struct hss_private *key, struct hss_public *pub, struct err *err)
{
    private_check(key);
    *pub = (struct hss_public){0};
    struct level top CLEANUP(level_wipe) = {0};
    level_start(&top, key, 0, NULL, 0);
    enum rc rc = level_build(&top, err);
    if (rc == RC_OK)
        public_from(pub, key, &top);
    return rc;
}

/* Split the index into the q of all levels. False if it is past the last one. */
static bool index_split(const struct hss_private *key, uint64_t index, uint32_t q[HSS_LEVELS_MAX])
{
    for (uint32_t at = key->levels; at-- > 0;) {
        uint8_t h = key->set[at].lms->h;
        q[at] = (uint32_t)(index & ((UINT64_C(1) << h) - 1));
        index >>= h;
    }
    return index == 0;
}

/* Sign one message at one level. The lease is made from the spent one of the caller. */
static enum rc level_sign(const struct level *level, const struct ots_lease *lease,
                          const void *message, size_t message_len, const uint8_t *randomizer,
                          uint8_t *sig, struct err *err)
{
    uint8_t c[HBS_N_MAX];
    if (randomizer != NULL)
        memcpy(c, randomizer, level->tree.set.ots->n);
    else
        lms_randomizer(&level->tree, level->q, &level->secret, c);
    struct lms_message m CLEANUP(lms_message_close) = {0};
    enum rc rc = lms_message_open(&m, &level->tree, level->q, c, err);
    if (rc != RC_OK)
        return rc;
    lms_message_update(&m, message, message_len);
    uint8_t value[HBS_N_MAX];
    lms_message_final(&m, value);
    struct ots_lease own = *lease;
    own.index = level->q;
    hbs_sign(&own, &level->tree, &level->secret, c, value, level->path, sig);
    return RC_OK;
}

/* The levels of one signature, from the top down. */
struct levels {
    struct level at[HSS_LEVELS_MAX];
};

static void levels_wipe(struct levels *levels)
{
    wipe(levels, sizeof(*levels));
}

/* Let every level sign the public key of the one below, and the last one the message. */
static enum rc signature_write(const struct hss_private *key, const struct levels *levels,
                               const struct ots_lease *lease, const void *message,
                               size_t message_len, const uint8_t *randomizer, uint8_t *sig,
                               size_t *sig_len, struct err *err)
{
    uint8_t *p = sig;
    be_put32(p, key->levels - 1);
    p += 4;
    for (uint32_t at = 0; at + 1 < key->levels; at++) {
        /* The public key of the child is written first, where it will stand, and signed there. */
        const struct level *child = &levels->at[at + 1];
        uint8_t *child_pub = p + lms_sig_len(&key->set[at]);
        be_put32(child_pub, child->tree.set.lms->type);
        be_put32(child_pub + 4, child->tree.set.ots->type);
        memcpy(child_pub + 8, child->tree.i, LMS_I_LEN);
        memcpy(child_pub + 8 + LMS_I_LEN, child->root, child->tree.set.lms->m);
        size_t child_len = lms_pub_len(&child->tree.set);
        enum rc rc = level_sign(&levels->at[at], lease, child_pub, child_len, NULL, p, err);
        if (rc != RC_OK)
            return rc;
        p = child_pub + child_len;
    }
    uint32_t last = key->levels - 1;
    enum rc rc = level_sign(&levels->at[last], lease, message, message_len, randomizer, p, err);
    *sig_len = (size_t)(p - sig) + lms_sig_len(&key->set[last]);
    return rc;
}

/* Build all levels for this index, sign, and verify what came out. */
static enum rc sign_at(const struct hss_private *key, const struct ots_lease *lease,
                       const void *message, size_t message_len, const uint8_t *randomizer,
                       uint8_t *sig, size_t *sig_len, struct err *err)
{
    uint32_t q[HSS_LEVELS_MAX];
    if (!index_split(key, lease->index, q))
        return FAIL(err, RC_REFUSED_EXHAUSTED, "", (int64_t)lease->index,
                    "index %" PRIu64 " is past the last one", lease->index);
    struct levels levels CLEANUP(levels_wipe) = {0};
    for (uint32_t at = 0; at < key->levels; at++) {
        level_start(&levels.at[at], key, at, at > 0 ? &levels.at[at - 1] : NULL, q[at]);
        enum rc rc = level_build(&levels.at[at], err);
        if (rc != RC_OK)
            return rc;
    }
    enum rc rc =
        signature_write(key, &levels, lease, message, message_len, randomizer, sig, sig_len, err);
    if (rc != RC_OK)
        return rc;
    struct hss_public pub;
    public_from(&pub, key, &levels.at[0]);
    struct err why = {0};
    rc = hss_verify(&pub, message, message_len, sig, *sig_len, &why);
    if (rc == RC_REFUSED_SIGNATURE)
        return FAIL(err, RC_BURNED_VERIFY, "", 0, "own signature: %.200s", why.text);
    if (rc != RC_OK && err != NULL)
        *err = why;
    return rc;
}

enum rc hss_sign(struct ots_lease *lease, const struct hss_private *key, const void *message,
                 size_t message_len, const uint8_t *randomizer, uint8_t *sig, size_t *sig_len,
                 struct err *err)
{
    /* I1: the caller's lease is gone before anything is computed. The copy lives in this call only,
     * and each level's one-time key signs once under it. */
    struct ots_lease taken = *lease;
    wipe(lease, sizeof(*lease));
    MUST(taken.epoch != 0);
    private_check(key);
    *sig_len = 0;
    enum rc rc = sign_at(key, &taken, message, message_len, randomizer, sig, sig_len, err);
    if (rc != RC_OK) {
        memset(sig, 0, HSS_SIG_LEN_MAX);
        *sig_len = 0;
    }
    return rc;
}
