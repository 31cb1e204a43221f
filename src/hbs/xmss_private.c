#include "hbs/xmss_private.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "hbs/tree.h"

void xmss_private_wipe(struct xmss_private *key)
{
    wipe(key, sizeof(*key));
}

/* One layer while it is used. */
struct layer {
    struct xmss_tree tree;
    uint32_t leaf;
    uint8_t root[XMSS_N_MAX];
    uint8_t path[XMSS_LAYER_MAX * XMSS_N_MAX];
};

static enum rc layer_build(struct layer *layer, const struct xmss_private *key, uint32_t number,
                           uint64_t index, struct err *err)
{
    xmss_tree_init(&layer->tree, key->params, key->pub_seed, number, 0);
    xmss_index_split(key->params, index, number, &layer->tree.number, &layer->leaf);
    const struct hbs_tree tree = hbs_tree_of_xmss(&layer->tree);
    return hbs_tree_build(&tree, key->sk_seed, layer->leaf, layer->root, layer->path, err);
}

static void public_from(struct xmss_public *pub, const struct xmss_private *key,
                        const struct layer *top)
{
    *pub = (struct xmss_public){.params = key->params};
    memcpy(pub->root, top->root, key->params->n);
    memcpy(pub->seed, key->pub_seed, key->params->n);
}

enum rc xmss_keygen(const struct xmss_private *key, struct xmss_public *pub, struct err *err)
{
    *pub = (struct xmss_public){0};
    struct layer top;
    enum rc rc = layer_build(&top, key, key->params->d - 1U, 0, err);
    if (rc == RC_OK)
        public_from(pub, key, &top);
    return rc;
}

/* H_msg of the message: what the lowest layer signs. */
static enum rc value_of(const struct xmss_public *pub, uint64_t index, const uint8_t *r,
                        const void *message, size_t message_len, uint8_t *value, struct err *err)
{
    struct xmss_message m CLEANUP(xmss_message_close) = {0};
    enum rc rc = xmss_message_open(&m, pub->params, pub->root, index, r, err);
    if (rc != RC_OK)
        return rc;
    xmss_message_update(&m, message, message_len);
    xmss_message_final(&m, value);
    return RC_OK;
}

/* All layers from the lowest up: each signs the root of the one below, the first one the value. */
static void layers_sign(const struct xmss_private *key, const struct layer *layers,
                        const struct ots_lease *lease, const uint8_t *value, uint8_t *sig)
{
    const struct xmss_params *params = key->params;
    for (uint32_t i = 0; i < params->d; i++) {
        struct ots_lease own = *lease;
        own.index = layers[i].leaf;
        xmss_tree_sign(&own, &layers[i].tree, key->sk_seed, value, layers[i].path, sig);
        value = layers[i].root;
        sig += wots_sig_len(params) + (size_t)xmss_layer_height(params) * params->n;
    }
}

/* Build all layers for this index, sign, and verify what came out. */
static enum rc sign_at(const struct xmss_private *key, const struct ots_lease *lease,
                       const void *message, size_t message_len, const uint8_t *randomizer,
                       uint8_t *sig, size_t *sig_len, struct err *err)
{
    const struct xmss_params *params = key->params;
    if (lease->index >> params->h != 0)
        return FAIL(err, RC_REFUSED_EXHAUSTED, "", (int64_t)lease->index,
                    "index %" PRIu64 " is past the last one", lease->index);
    struct layer layers[XMSS_D_MAX];
    for (uint32_t i = 0; i < params->d; i++) {
        enum rc rc = layer_build(&layers[i], key, i, lease->index, err);
        if (rc != RC_OK)
            return rc;
    }
    struct xmss_public pub;
    public_from(&pub, key, &layers[params->d - 1]);
    for (size_t i = 0; i < params->idx_len; i++)
        sig[i] = (uint8_t)(lease->index >> (8 * (params->idx_len - 1 - i)));
    uint8_t *r = sig + params->idx_len;
    if (randomizer != NULL)
        memcpy(r, randomizer, params->n);
    else
        xmss_randomizer(params, key->sk_prf, lease->index, r);
    uint8_t value[XMSS_N_MAX];
    enum rc rc = value_of(&pub, lease->index, r, message, message_len, value, err);
    if (rc != RC_OK)
        return rc;
    layers_sign(key, layers, lease, value, r + params->n);
    *sig_len = xmss_sig_len(params);
    struct err why = {0};
    rc = xmss_verify(&pub, message, message_len, sig, *sig_len, &why);
    if (rc == RC_REFUSED_SIGNATURE)
        return FAIL(err, RC_BURNED_VERIFY, "", 0, "own signature: %.200s", why.text);
    if (rc != RC_OK && err != NULL)
        *err = why;
    return rc;
}

enum rc xmss_sign(struct ots_lease *lease, const struct xmss_private *key, const void *message,
                  size_t message_len, const uint8_t *randomizer, uint8_t *sig, size_t *sig_len,
                  struct err *err)
{
    /* I1: the caller's lease is gone before anything is computed. The copy lives in this call only,
     * and each layer's one-time key signs once under it. */
    struct ots_lease taken = *lease;
    wipe(lease, sizeof(*lease));
    MUST(taken.epoch != 0);
    *sig_len = 0;
    enum rc rc = sign_at(key, &taken, message, message_len, randomizer, sig, sig_len, err);
    if (rc != RC_OK) {
        memset(sig, 0, XMSS_SIG_LEN_MAX);
        *sig_len = 0;
    }
    return rc;
}
