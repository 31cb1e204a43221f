#include <string.h>

#include "base/bytes.h"
#include "hbs/xmss_private.h"
#include "vectors/run.h"

static bool private_read(struct xmss_private *key, const struct vector *v)
{
    const json_t *secret = json_object_get(v->json, "private");
    key->params = xmss_params_by_name(text_of(v->json, "oid_name"));
    if (key->params == NULL || key->params->multi != (v->scheme == HBS_SCHEME_XMSSMT) ||
        json_integer_value(json_object_get(v->json, "oid")) != key->params->oid)
        return false;
    uint8_t n = key->params->n;
    return hex_decode(key->sk_seed, n, text_of(secret, "sk_seed")) &&
           hex_decode(key->sk_prf, n, text_of(secret, "sk_prf")) &&
           hex_decode(key->pub_seed, n, text_of(secret, "pub_seed"));
}

/* Are the one-time keys derived as SP 800-208 says? */
static bool derivation_known(const struct vector *v)
{
    const json_t *secret = json_object_get(v->json, "private");
    return strcmp(text_of(secret, "derivation"), "sp800-208-prf-keygen") == 0 &&
           !flagged(v, "legacy-wots-key-derivation");
}

/* Everything about a sign vector. */
struct signing {
    struct xmss_private key;
    struct bytes message;
    struct bytes pub;
    struct bytes sig; /* as published */
    uint64_t index;
    uint8_t r[XMSS_N_MAX];
    const uint8_t *randomizer; /* injected, or NULL */
};

static void signing_free(struct signing *s)
{
    xmss_private_wipe(&s->key);
    bytes_free(&s->message);
    bytes_free(&s->pub);
    bytes_free(&s->sig);
}

static bool signing_read(struct signing *s, const struct vector *v)
{
    if (!private_read(&s->key, v) || !bytes_read(&s->message, v->json, "message", NULL, 0) ||
        !public_read(&s->pub, v))
        return false;
    if (has(v, "signature") && !signature_read(&s->sig, v))
        return false;
    s->index = (uint64_t)json_integer_value(json_object_get(v->json, "index"));
    s->randomizer = randomizer_read(s->r, v, s->key.params->n);
    return true;
}

static enum outcome check_public(struct vector *v, const struct xmss_private *key,
                                 const struct bytes *expected)
{
    struct xmss_public pub;
    struct err err = {0};
    if (xmss_keygen(key, &pub, &err) != RC_OK)
        return failed(v, "keygen", &err);
    uint8_t raw[XMSS_PUB_LEN_MAX];
    if (!bytes_equal(expected, raw, xmss_public_print(&pub, raw)))
        return failed(v, "another public key", NULL);
    return PASSED;
}

enum outcome xmss_check_keygen(struct vector *v)
{
    if (!derivation_known(v))
        return SKIPPED;
    struct xmss_private key CLEANUP(xmss_private_wipe) = {0};
    struct bytes expected CLEANUP(bytes_free) = {0};
    if (!private_read(&key, v) || !public_read(&expected, v))
        return failed(v, "private key not understood", NULL);
    return check_public(v, &key, &expected);
}

/* A key of another derivation: its r is like ours, and its signature must verify. */
static enum outcome check_foreign(struct vector *v, const struct signing *s)
{
    const struct xmss_params *params = s->key.params;
    uint8_t r[XMSS_N_MAX];
    struct err err = {0};
    xmss_randomizer(params, s->key.sk_prf, s->index, r);
    if (s->sig.len != xmss_sig_len(params) ||
        (s->randomizer == NULL && memcmp(r, s->sig.data + params->idx_len, params->n) != 0))
        return failed(v, "another randomizer", NULL);
    if (verify_bytes(v, &s->pub, &s->message, &s->sig, &err) != RC_OK)
        return failed(v, "refused", &err);
    return SKIPPED;
}

enum outcome xmss_check_sign(struct vector *v)
{
    struct signing s CLEANUP(signing_free) = {0};
    if (!signing_read(&s, v))
        return failed(v, "fields missing", NULL);
    if (!derivation_known(v))
        return check_foreign(v, &s);
    struct ots_lease lease = {.index = s.index, .epoch = 1};
    static uint8_t sig[XMSS_SIG_LEN_MAX];
    struct bytes made = {.data = sig};
    struct err err = {0};
    enum rc rc = xmss_sign(&lease, &s.key, s.message.data, s.message.len, s.randomizer, sig,
                           &made.len, &err);
    if (strcmp(text_of(v->json, "result"), "error") == 0)
        return rc == RC_REFUSED_EXHAUSTED ? PASSED : failed(v, "not refused", &err);
    if (rc != RC_OK)
        return failed(v, "sign", &err);
    if (!signature_as_published(v, sig, made.len))
        return failed(v, "another signature", NULL);
    if (verify_bytes(v, &s.pub, &s.message, &made, &err) != RC_OK)
        return failed(v, "refused", &err);
    /* Equal bytes that verify came from the same root: it is in the value that was signed. */
    return PASSED;
}

/* One layer with the path of the vector; value becomes the root that it leads to. */
static bool layer_equal(const struct signing *s, uint32_t layer, uint8_t *value,
                        const uint8_t *published)
{
    const struct xmss_params *params = s->key.params;
    size_t len = wots_sig_len(params) + (size_t)xmss_layer_height(params) * params->n;
    uint8_t made[WOTS_LEN_MAX * XMSS_N_MAX + XMSS_LAYER_MAX * XMSS_N_MAX];
    struct xmss_tree tree;
    uint32_t leaf = 0;
    xmss_tree_init(&tree, params, s->key.pub_seed, layer, 0);
    xmss_index_split(params, s->index, layer, &tree.number, &leaf);
    struct ots_lease lease = {.index = leaf, .epoch = 1};
    xmss_tree_sign(&lease, &tree, s->key.sk_seed, value, published + wots_sig_len(params), made);
    xmss_tree_candidate(&tree, leaf, value, made, value);
    return memcmp(made, published, len) == 0;
}

enum outcome xmss_check_sign_with_path(struct vector *v)
{
    struct signing s CLEANUP(signing_free) = {0};
    struct xmss_public key;
    struct xmss_signature parsed;
    if (!signing_read(&s, v))
        return failed(v, "fields missing", NULL);
    const struct xmss_params *params = s.key.params;
    if (!derivation_known(v) || s.sig.len == 0 ||
        xmss_public_parse(&key, params->multi, s.pub.data, s.pub.len, NULL) != RC_OK ||
        xmss_signature_parse(&parsed, &key, s.sig.data, s.sig.len, NULL) != RC_OK)
        return SKIPPED;
    if (s.randomizer == NULL)
        xmss_randomizer(params, s.key.sk_prf, s.index, s.r);
    if (parsed.index != s.index || memcmp(parsed.r, s.r, params->n) != 0)
        return failed(v, "another index or randomizer", NULL);
    uint8_t value[XMSS_N_MAX];
    struct xmss_message m CLEANUP(xmss_message_close) = {0};
    if (xmss_message_open(&m, params, key.root, s.index, s.r, NULL) != RC_OK)
        return failed(v, "no memory", NULL);
    xmss_message_update(&m, s.message.data, s.message.len);
    xmss_message_final(&m, value);
    const uint8_t *published = parsed.layers;
    for (uint32_t layer = 0; layer < params->d; layer++) {
        if (!layer_equal(&s, layer, value, published))
            return failed(v, "another one-time signature", NULL);
        published += wots_sig_len(params) + (size_t)xmss_layer_height(params) * params->n;
    }
    if (memcmp(value, key.root, params->n) != 0)
        return failed(v, "the path does not lead to the root", NULL);
    return SKIPPED;
}
