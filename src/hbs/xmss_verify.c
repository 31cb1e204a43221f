#include "hbs/xmss_verify.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"

enum rc xmss_public_parse(struct xmss_public *key, bool multi, const uint8_t *data, size_t len,
                          struct err *err)
{
    *key = (struct xmss_public){0};
    if (len < 4)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "public key of %zu bytes", len);
    uint32_t oid = be_get32(data);
    const struct xmss_params *params = xmss_params_by_oid(multi, oid);
    if (params == NULL)
        return FAIL(err, RC_REFUSED_UNSUPPORTED, "", oid, "unknown %s OID 0x%08" PRIx32,
                    multi ? "XMSS^MT" : "XMSS", oid);
    if (len != xmss_pub_len(params))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "public key of %zu bytes, %s has %zu", len,
                    params->name, xmss_pub_len(params));
    key->params = params;
    memcpy(key->root, data + 4, params->n);
    memcpy(key->seed, data + 4 + params->n, params->n);
    return RC_OK;
}

size_t xmss_public_print(const struct xmss_public *key, uint8_t *out)
{
    be_put32(out, key->params->oid);
    memcpy(out + 4, key->root, key->params->n);
    memcpy(out + 4 + key->params->n, key->seed, key->params->n);
    return xmss_pub_len(key->params);
}

enum rc xmss_signature_parse(struct xmss_signature *sig, const struct xmss_public *key,
                             const uint8_t *data, size_t len, struct err *err)
{
    const struct xmss_params *params = key->params;
    *sig = (struct xmss_signature){0};
    if (len != xmss_sig_len(params))
        return FAIL(err, RC_REFUSED_SIGNATURE, "", 0, "signature of %zu bytes, %s has %zu", len,
                    params->name, xmss_sig_len(params));
    uint64_t index = 0;
    for (size_t i = 0; i < params->idx_len; i++)
        index = (index << 8) | data[i];
    if (index >> params->h != 0)
        return FAIL(err, RC_REFUSED_SIGNATURE, "", 0, "index %" PRIu64 " is past the key", index);
    sig->index = index;
    sig->r = data + params->idx_len;
    sig->layers = sig->r + params->n;
    return RC_OK;
}

void xmss_index_split(const struct xmss_params *params, uint64_t index, uint32_t layer,
                      uint64_t *tree, uint32_t *leaf)
{
    uint8_t height = xmss_layer_height(params);
    index >>= layer * height;
    *leaf = (uint32_t)(index & ((UINT64_C(1) << height) - 1));
    *tree = index >> height;
}

bool xmss_verify_value(const struct xmss_public *key, const struct xmss_signature *sig,
                       const uint8_t *value)
{
    const struct xmss_params *params = key->params;
    const uint8_t *layer_sig = sig->layers;
    uint8_t node[XMSS_N_MAX];
    memcpy(node, value, params->n);
    struct xmss_tree tree;
    xmss_tree_init(&tree, params, key->seed, 0, 0);
    for (uint32_t layer = 0; layer < params->d; layer++) {
        uint32_t leaf = 0;
        tree.layer = layer;
        xmss_index_split(params, sig->index, layer, &tree.number, &leaf);
        xmss_tree_candidate(&tree, leaf, node, layer_sig, node);
        layer_sig += wots_sig_len(params) + (size_t)xmss_layer_height(params) * params->n;
    }
    return ct_equal(node, key->root, params->n);
}

enum rc xmss_verify_open(struct xmss_verifier *v, const struct xmss_public *key, const uint8_t *sig,
                         size_t sig_len, struct err *err)
{
    *v = (struct xmss_verifier){.key = key};
    enum rc rc = xmss_signature_parse(&v->sig, key, sig, sig_len, err);
    if (rc == RC_OK)
        rc = xmss_message_open(&v->message, key->params, key->root, v->sig.index, v->sig.r, err);
    if (rc != RC_OK)
        xmss_verify_close(v);
    return rc;
}

void xmss_verify_update(struct xmss_verifier *v, const void *data, size_t len)
{
    xmss_message_update(&v->message, data, len);
}

enum rc xmss_verify_finish(struct xmss_verifier *v, struct err *err)
{
    uint8_t value[XMSS_N_MAX];
    xmss_message_final(&v->message, value);
    if (!xmss_verify_value(v->key, &v->sig, value))
        return FAIL(err, RC_REFUSED_SIGNATURE, "", 0, "the signature does not lead to the key");
    return RC_OK;
}

void xmss_verify_close(struct xmss_verifier *v)
{
    xmss_message_close(&v->message);
    *v = (struct xmss_verifier){0};
}

enum rc xmss_verify(const struct xmss_public *key, const void *message, size_t message_len,
                    const uint8_t *sig, size_t sig_len, struct err *err)
{
    struct xmss_verifier v CLEANUP(xmss_verify_close) = {0};
    enum rc rc = xmss_verify_open(&v, key, sig, sig_len, err);
    if (rc != RC_OK)
        return rc;
    xmss_verify_update(&v, message, message_len);
    return xmss_verify_finish(&v, err);
}
