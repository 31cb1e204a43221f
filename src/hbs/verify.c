#include "hbs/verify.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"

/* Read an LMS public key (RFC 8554 §5.3) of at most len bytes; *used receives its length. */
static enum rc lms_public_parse(struct lms_tree *tree, const uint8_t **root, size_t *used,
                                const uint8_t *data, size_t len, struct err *err)
{
    if (len < 8)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "public key ends within its type numbers");
    uint32_t lms = be_get32(data);
    uint32_t ots = be_get32(data + 4);
    const struct lms_set set = {lms_params_by_type(lms), lmots_params_by_type(ots)};
    if (set.lms == NULL)
        return FAIL(err, RC_REFUSED_UNSUPPORTED, "", lms, "unknown LMS type 0x%08" PRIx32, lms);
    if (set.ots == NULL)
        return FAIL(err, RC_REFUSED_UNSUPPORTED, "", ots, "unknown LM-OTS type 0x%08" PRIx32, ots);
    /* SP 800-208 §4: tree and one-time scheme use one hash function of one length. */
    if (!lms_set_valid(&set))
        return FAIL(err, RC_REFUSED_UNSUPPORTED, "", 0, "%s with %s: different hash functions",
                    set.lms->name, set.ots->name);
    if (len < lms_pub_len(&set))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "public key of %zu bytes, %s needs %zu", len,
                    set.lms->name, lms_pub_len(&set));
    tree->set = set;
    memcpy(tree->i, data + 8, LMS_I_LEN);
    *root = data + 8 + LMS_I_LEN;
    *used = lms_pub_len(&set);
    return RC_OK;
}

enum rc hss_public_parse(struct hss_public *key, const uint8_t *data, size_t len, struct err *err)
{
    *key = (struct hss_public){0};
    if (len < 4)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "public key of %zu bytes", len);
    uint32_t levels = be_get32(data);
    if (levels < 1 || levels > HSS_LEVELS_MAX)
        return FAIL(err, RC_REFUSED_INPUT, "", levels, "%" PRIu32 " levels, 1 to 8 are allowed",
                    levels);
    struct lms_tree top;
    const uint8_t *root = NULL;
    size_t used = 0;
    enum rc rc = lms_public_parse(&top, &root, &used, data + 4, len - 4, err);
    if (rc != RC_OK)
        return rc;
    if (used != len - 4)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "%zu bytes behind the public key",
                    len - 4 - used);
    key->levels = levels;
    key->top = top;
    memcpy(key->root, root, top.set.lms->m);
    return RC_OK;
}

size_t hss_public_print(const struct hss_public *key, uint8_t *out)
{
    be_put32(out, key->levels);
    be_put32(out + 4, key->top.set.lms->type);
    be_put32(out + 8, key->top.set.ots->type);
    memcpy(out + 12, key->top.i, LMS_I_LEN);
    memcpy(out + 12 + LMS_I_LEN, key->root, key->top.set.lms->m);
    return 4 + lms_pub_len(&key->top.set);
}

/* What is left of the bytes being parsed. */
struct rest {
    const uint8_t *data;
    size_t len;
};

static const uint8_t *rest_take(struct rest *rest, size_t len)
{
    const uint8_t *taken = rest->data;
    rest->data += len;
    rest->len -= len;
    return taken;
}

/* Take the LMS signature of one level, whose tree is known already. */
static enum rc level_take(struct hss_signature *sig, uint32_t level, struct rest *rest,
                          struct err *err)
{
    const struct lms_set *set = &sig->tree[level].set;
    size_t len = lms_sig_len(set);
    if (rest->len < len)
        return FAIL(err, RC_REFUSED_SIGNATURE, "", 0,
                    "signature ends within level %" PRIu32 ": %zu bytes are left of %zu", level,
                    rest->len, len);
    const uint8_t *data = rest_take(rest, len);
    uint32_t q = be_get32(data);
    if (be_get32(data + 4) != set->ots->type ||
        be_get32(data + 4 + lmots_sig_len(set->ots)) != set->lms->type)
        return FAIL(err, RC_REFUSED_SIGNATURE, "", 0,
                    "parameter sets of level %" PRIu32 " are not those of its key", level);
    if (q >> set->lms->h != 0)
        return FAIL(err, RC_REFUSED_SIGNATURE, "", q, "leaf %" PRIu32 " is past the tree", q);
    sig->sig[level] = data;
    sig->sig_len[level] = len;
    sig->q[level] = q;
    return RC_OK;
}

/* Take the public key of the level below, which the level above has signed. */
static enum rc child_take(struct hss_signature *sig, uint32_t level, struct rest *rest,
                          struct err *err)
{
    struct err why = {0};
    size_t used = 0;
    enum rc rc =
        lms_public_parse(&sig->tree[level], &sig->root[level], &used, rest->data, rest->len, &why);
    if (rc != RC_OK)
        return FAIL(err, RC_REFUSED_SIGNATURE, "", why.native, "level %" PRIu32 ": %.200s", level,
                    why.text);
    (void)rest_take(rest, used);
    return RC_OK;
}

static void index_join(struct hss_signature *sig)
{
    unsigned bits = 0;
    for (uint32_t i = 0; i < sig->levels; i++) {
        bits += sig->tree[i].set.lms->h;
        if (bits > 64) {
            sig->index = UINT64_MAX;
            return;
        }
        sig->index = (sig->index << sig->tree[i].set.lms->h) | sig->q[i];
    }
}

static enum rc signature_take(struct hss_signature *sig, const struct hss_public *key,
                              struct rest *rest, struct err *err)
{
    if (rest->len < 4)
        return FAIL(err, RC_REFUSED_SIGNATURE, "", 0, "signature of %zu bytes", rest->len);
    uint32_t signed_keys = be_get32(rest_take(rest, 4));
    /* RFC 8554 §6.3: Nspk + 1 must be the L of the public key. */
    if (signed_keys != key->levels - 1)
        return FAIL(err, RC_REFUSED_SIGNATURE, "", signed_keys,
                    "%" PRIu32 " signed keys, but the public key has %" PRIu32 " levels",
                    signed_keys, key->levels);
    sig->levels = key->levels;
    sig->tree[0] = key->top;
    sig->root[0] = key->root;
    for (uint32_t level = 0; level < sig->levels; level++) {
        enum rc rc = level > 0 ? child_take(sig, level, rest, err) : RC_OK;
        if (rc == RC_OK)
            rc = level_take(sig, level, rest, err);
        if (rc != RC_OK)
            return rc;
    }
    if (rest->len != 0)
        return FAIL(err, RC_REFUSED_SIGNATURE, "", 0, "%zu bytes behind the signature", rest->len);
    index_join(sig);
    return RC_OK;
}

enum rc hss_signature_parse(struct hss_signature *sig, const struct hss_public *key,
                            const uint8_t *data, size_t len, struct err *err)
{
    *sig = (struct hss_signature){0};
    struct rest rest = {data, len};
    enum rc rc = signature_take(sig, key, &rest, err);
    if (rc != RC_OK)
        *sig = (struct hss_signature){0};
    return rc;
}

static enum rc level_refused(uint32_t level, struct err *err)
{
    return FAIL(err, RC_REFUSED_SIGNATURE, "", level, "level %" PRIu32 " does not verify", level);
}

/* Level `level` signs the public key of the level below, as it stands in the signature. */
static enum rc upper_level_verify(const struct hss_signature *sig, uint32_t level, struct err *err)
{
    const struct lms_tree *tree = &sig->tree[level];
    struct lms_message message CLEANUP(lms_message_close) = {0};
    enum rc rc = lms_message_open(&message, tree, sig->q[level], sig->sig[level] + 8, err);
    if (rc != RC_OK)
        return rc;
    const uint8_t *child = sig->root[level + 1] - (8 + LMS_I_LEN);
    lms_message_update(&message, child, lms_pub_len(&sig->tree[level + 1].set));
    uint8_t value[HBS_N_MAX];
    lms_message_final(&message, value);
    if (!lms_verify_value(tree, sig->root[level], sig->q[level], value, sig->sig[level],
                          sig->sig_len[level]))
        return level_refused(level, err);
    return RC_OK;
}

enum rc hss_verify_open(struct hss_verifier *v, const struct hss_public *key, const uint8_t *sig,
                        size_t sig_len, struct err *err)
{
    *v = (struct hss_verifier){.key = key};
    enum rc rc = hss_signature_parse(&v->sig, key, sig, sig_len, err);
    for (uint32_t level = 0; rc == RC_OK && level + 1 < v->sig.levels; level++)
        rc = upper_level_verify(&v->sig, level, err);
    if (rc == RC_OK) {
        uint32_t last = v->sig.levels - 1;
        rc = lms_message_open(&v->message, &v->sig.tree[last], v->sig.q[last], v->sig.sig[last] + 8,
                              err);
    }
    if (rc != RC_OK)
        hss_verify_close(v);
    return rc;
}

void hss_verify_update(struct hss_verifier *v, const void *data, size_t len)
{
    lms_message_update(&v->message, data, len);
}

enum rc hss_verify_finish(struct hss_verifier *v, struct err *err)
{
    uint32_t last = v->sig.levels - 1;
    uint8_t value[HBS_N_MAX];
    lms_message_final(&v->message, value);
    if (!lms_verify_value(&v->sig.tree[last], v->sig.root[last], v->sig.q[last], value,
                          v->sig.sig[last], v->sig.sig_len[last]))
        return level_refused(last, err);
    return RC_OK;
}

void hss_verify_close(struct hss_verifier *v)
{
    lms_message_close(&v->message);
    *v = (struct hss_verifier){0};
}

enum rc hss_verify(const struct hss_public *key, const void *message, size_t message_len,
                   const uint8_t *sig, size_t sig_len, struct err *err)
{
    struct hss_verifier v CLEANUP(hss_verify_close) = {0};
    enum rc rc = hss_verify_open(&v, key, sig, sig_len, err);
    if (rc != RC_OK)
        return rc;
    hss_verify_update(&v, message, message_len);
    return hss_verify_finish(&v, err);
}
