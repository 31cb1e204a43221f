#include "verify/verify.h"

#include "verify/bytes.h"
#include "verify/schemes.h"

/*
 * tmv_begin() walks to the randomiser of the level that signs the message, and keeps what it fed to
 * the hash; tmv_final() walks all the way, and demands that it comes to the same. So nothing of the
 * signature needs to stay in memory between the two, and no change of it in between goes unnoticed.
 */

#if TMV_WITH_LMS

/* A walk through an HSS signature, from the top down. */
struct walk {
    const uint8_t *data; /* what is left */
    size_t len;
    uint32_t level;
    uint32_t levels;
    struct tmvi_tree tree; /* of this level */
    const uint8_t *root;
    uint64_t index; /* of the levels so far, as one number */
    uint32_t bits;  /* that it has */
};

/* data: a whole LMS public key (RFC 8554 §5.3). */
static void walk_key(struct walk *walk, const uint8_t *data)
{
    walk->tree.id = data + 8;
    walk->root = data + 8 + TMVI_ID_LEN;
}

static enum tmv_result walk_begin(struct walk *walk, const struct tmv_key *key, const uint8_t *sig,
                                  size_t len)
{
    *walk = (struct walk){.data = sig, .len = len, .levels = key->levels};
    if (!tmvi_set_lms(&walk->tree.set, key->type, key->ots_type))
        return TMV_UNSUPPORTED;
    walk_key(walk, key->raw + 4);
    if (key->scheme == TMV_LMS)
        return TMV_OK;
    if (len < 4)
        return TMV_SHORT;
    /* RFC 8554 §6.3: Nspk + 1 must be the L of the public key. */
    if (tmvi_get32(sig) != key->levels - 1U)
        return TMV_MALFORMED_SIGNATURE;
    walk->data += 4;
    walk->len -= 4;
    return TMV_OK;
}

/* Read the leaf at the start of a level's signature, which must be there with the randomiser. */
static enum tmv_result walk_leaf(struct walk *walk, uint32_t ots_type)
{
    struct tmvi_tree *tree = &walk->tree;
    if (walk->len < 8 + (size_t)tree->set.n)
        return TMV_SHORT;
    tree->q = tmvi_get32(walk->data);
    if (tmvi_get32(walk->data + 4) != ots_type || tree->q >> tree->set.height != 0)
        return TMV_MALFORMED_SIGNATURE;
    walk->bits += tree->set.height;
    walk->index = walk->bits > 64 ? TMV_NO_INDEX : walk->index << tree->set.height | tree->q;
    return TMV_OK;
}

/* The whole signature of a level; walk_leaf() has read its beginning. */
static enum tmv_result walk_rest(struct walk *walk, uint32_t lms_type)
{
    size_t len = tmvi_lms_sig_len(&walk->tree.set);
    if (walk->len < len)
        return TMV_SHORT;
    const uint8_t *type = walk->data + len - 4 - (size_t)walk->tree.set.height * walk->tree.set.n;
    if (tmvi_get32(type) != lms_type)
        return TMV_MALFORMED_SIGNATURE;
    walk->data += len;
    walk->len -= len;
    return TMV_OK;
}

#if TMV_WITH_HSS
/* Go down to the tree whose public key stands next; its length is returned in key_len. */
static enum tmv_result walk_down(struct walk *walk, uint32_t *type, uint32_t *ots_type,
                                 size_t *key_len)
{
    if (walk->len < 8)
        return TMV_SHORT;
    *type = tmvi_get32(walk->data);
    *ots_type = tmvi_get32(walk->data + 4);
    if (!tmvi_set_lms(&walk->tree.set, *type, *ots_type))
        return TMV_UNSUPPORTED;
    *key_len = 8 + TMVI_ID_LEN + (size_t)walk->tree.set.n;
    if (walk->len < *key_len)
        return TMV_SHORT;
    walk_key(walk, walk->data);
    walk->data += *key_len;
    walk->len -= *key_len;
    walk->level++;
    return TMV_OK;
}

/* Does the tree of the level above, as it was before walk_down(), sign this public key? */
static enum tmv_result level_check(const struct tmvi_tree *tree, const uint8_t *root,
                                   const uint8_t *sig, const uint8_t *key, size_t key_len)
{
    struct tmv_hash hash;
    uint8_t value[TMV_N_MAX];
    uint8_t found[TMV_N_MAX];
    tmvi_lms_message(&hash, tree, sig + 8);
    tmvi_hash_add(&hash, key, key_len);
    tmvi_hash_end(&hash, value, tree->set.n);
    tmvi_lms_root(tree, value, sig, found);
    return tmvi_equal(found, root, tree->set.n) ? TMV_OK : TMV_WRONG_SIGNATURE;
}

/* One level down: past the signature of this level, to the tree below it. With check, this level
 * must have signed that tree. */
static enum tmv_result walk_step(struct walk *walk, uint32_t *type, uint32_t *ots_type, bool check)
{
    const struct tmvi_tree signer = walk->tree;
    const uint8_t *root = walk->root;
    const uint8_t *sig = walk->data;
    size_t key_len = 0;
    enum tmv_result result = walk_rest(walk, *type);
    const uint8_t *key = walk->data;
    if (result == TMV_OK)
        result = walk_down(walk, type, ots_type, &key_len);
    if (result == TMV_OK && check)
        result = level_check(&signer, root, sig, key, key_len);
    return result;
}
#endif

/* To the level that signs the message; its type goes to last_type. */
static enum tmv_result walk_to_last(struct walk *walk, const struct tmv_key *key,
                                    uint32_t *last_type, bool check)
{
    uint32_t type = key->type;
    uint32_t ots_type = key->ots_type;
    enum tmv_result result = walk_leaf(walk, ots_type);
#if TMV_WITH_HSS
    while (result == TMV_OK && walk->level + 1 < walk->levels) {
        result = walk_step(walk, &type, &ots_type, check);
        if (result == TMV_OK)
            result = walk_leaf(walk, ots_type);
    }
#else
    (void)check;
#endif
    *last_type = type;
    return result;
}

static enum tmv_result lms_begin(struct tmv_verifier *v, const uint8_t *sig, size_t len)
{
    struct walk walk;
    uint32_t type = 0;
    enum tmv_result result = walk_begin(&walk, v->key, sig, len);
    if (result == TMV_OK)
        result = walk_to_last(&walk, v->key, &type, false);
    if (result != TMV_OK)
        return result;
    v->n = walk.tree.set.n;
    v->index = walk.tree.q;
    tmvi_copy(v->id, walk.tree.id, TMVI_ID_LEN);
    tmvi_copy(v->random, walk.data + 8, v->n);
    tmvi_lms_message(&v->hash, &walk.tree, v->random);
    return TMV_OK;
}

/* All of the way: every number of every level, and not a byte too few or too many. last is where
 * the signature of the message's level begins. */
static enum tmv_result walk_whole(struct walk *walk, const struct tmv_key *key, const uint8_t *sig,
                                  size_t len, bool check, const uint8_t **last)
{
    uint32_t type = 0;
    enum tmv_result result = walk_begin(walk, key, sig, len);
    if (result == TMV_OK)
        result = walk_to_last(walk, key, &type, check);
    *last = walk->data;
    if (result == TMV_OK)
        result = walk_rest(walk, type);
    return result == TMV_OK && walk->len != 0 ? TMV_MALFORMED_SIGNATURE : result;
}

/* The hash of the message was begun for this tree, leaf and randomiser, and no other. */
static bool lms_same(const struct tmv_verifier *v, const struct tmvi_tree *tree,
                     const uint8_t *last)
{
    return tree->set.hash == v->hash.kind && tree->set.n == v->n && tree->q == v->index &&
           tmvi_equal(tree->id, v->id, TMVI_ID_LEN) && tmvi_equal(last + 8, v->random, v->n);
}

static enum tmv_result lms_final(struct tmv_verifier *v, const uint8_t *sig, size_t len,
                                 struct tmv_found *found)
{
    struct walk walk;
    const uint8_t *last = NULL;
    uint8_t value[TMV_N_MAX];
    uint8_t root[TMV_N_MAX];
    /* Lengths and numbers first: what is malformed costs no hash. */
    enum tmv_result result = walk_whole(&walk, v->key, sig, len, false, &last);
    if (result != TMV_OK)
        return result;
    if (!lms_same(v, &walk.tree, last))
        return TMV_WRONG_SIGNATURE;
    result = walk_whole(&walk, v->key, sig, len, true, &last);
    if (result != TMV_OK)
        return result;
    tmvi_hash_end(&v->hash, value, v->n);
    tmvi_lms_root(&walk.tree, value, last, root);
    if (!tmvi_equal(root, walk.root, v->n))
        return TMV_WRONG_SIGNATURE;
    *found = (struct tmv_found){walk.index, walk.bits};
    return TMV_OK;
}

#endif /* TMV_WITH_LMS */

#if TMV_WITH_XMSS || TMV_WITH_XMSSMT

/* RFC 8391 §4.1.8: four bytes of index; §4.2.4: as many as the height needs. */
static size_t index_len(const struct tmv_key *key)
{
    return key->scheme == TMV_XMSS ? 4 : (size_t)(key->height + 7) / 8;
}

/* Read index and randomiser, which begin the signature. */
static enum tmv_result xmss_head(const struct tmv_key *key, const uint8_t *sig, size_t len,
                                 uint64_t *index)
{
    if (len < index_len(key) + key->n)
        return TMV_SHORT;
    *index = tmvi_get(sig, index_len(key));
    return *index >> key->height == 0 ? TMV_OK : TMV_MALFORMED_SIGNATURE;
}

static enum tmv_result xmss_begin(struct tmv_verifier *v, const uint8_t *sig, size_t len)
{
    struct tmvi_set set;
    enum tmv_result result = xmss_head(v->key, sig, len, &v->index);
    if (result != TMV_OK)
        return result;
    if (!tmvi_set_xmss(&set, v->key->type, v->key->scheme == TMV_XMSSMT))
        return TMV_UNSUPPORTED;
    v->n = set.n;
    tmvi_copy(v->random, sig + index_len(v->key), v->n);
    tmvi_xmss_message(&v->hash, &set, v->random, v->key->raw + 4, v->index);
    return TMV_OK;
}

static enum tmv_result xmss_final(struct tmv_verifier *v, const uint8_t *sig, size_t len,
                                  struct tmv_found *found)
{
    const struct tmv_key *key = v->key;
    struct tmvi_set set;
    uint8_t node[TMV_N_MAX];
    uint64_t index = 0;
    enum tmv_result result = xmss_head(key, sig, len, &index);
    if (result != TMV_OK)
        return result;
    if (!tmvi_set_xmss(&set, key->type, key->scheme == TMV_XMSSMT))
        return TMV_UNSUPPORTED;
    size_t head = index_len(key) + set.n;
    if (len != head + (size_t)set.n * ((size_t)set.layers * set.p + set.height))
        return TMV_MALFORMED_SIGNATURE;
    if (index != v->index || !tmvi_equal(sig + index_len(key), v->random, set.n))
        return TMV_WRONG_SIGNATURE;
    tmvi_hash_end(&v->hash, node, set.n);
    tmvi_xmss_root(&set, key->raw + 4 + set.n, index, sig + head, node);
    if (!tmvi_equal(node, key->raw + 4, set.n))
        return TMV_WRONG_SIGNATURE;
    *found = (struct tmv_found){index, set.height};
    return TMV_OK;
}

#endif /* TMV_WITH_XMSS || TMV_WITH_XMSSMT */

enum tmv_result tmv_begin(struct tmv_verifier *v, const struct tmv_key *key, const uint8_t *sig,
                          size_t len)
{
    enum tmv_result result = TMV_UNSUPPORTED;
    tmvi_zero(v, sizeof(*v));
    v->key = key;
#if TMV_WITH_LMS
    if (key->scheme == TMV_LMS || key->scheme == TMV_HSS)
        result = lms_begin(v, sig, len);
#endif
#if TMV_WITH_XMSS || TMV_WITH_XMSSMT
    if (key->scheme == TMV_XMSS || key->scheme == TMV_XMSSMT)
        result = xmss_begin(v, sig, len);
#endif
    if (result != TMV_OK)
        tmvi_zero(v, sizeof(*v));
    return result;
}

void tmv_update(struct tmv_verifier *v, const void *data, size_t len)
{
    tmvi_hash_add(&v->hash, data, len);
}

enum tmv_result tmv_final(struct tmv_verifier *v, const uint8_t *sig, size_t len,
                          struct tmv_found *found)
{
    struct tmv_found local = {0, 0};
    enum tmv_result result = TMV_WRONG_SIGNATURE; /* also of a verifier that was never begun */
#if TMV_WITH_LMS
    if (v->key != NULL && (v->key->scheme == TMV_LMS || v->key->scheme == TMV_HSS))
        result = lms_final(v, sig, len, &local);
#endif
#if TMV_WITH_XMSS || TMV_WITH_XMSSMT
    if (v->key != NULL && (v->key->scheme == TMV_XMSS || v->key->scheme == TMV_XMSSMT))
        result = xmss_final(v, sig, len, &local);
#endif
    tmvi_zero(v, sizeof(*v));
    if (found != NULL)
        *found = local;
    return result == TMV_SHORT ? TMV_MALFORMED_SIGNATURE : result;
}

enum tmv_result tmv_verify(const struct tmv_key *key, const void *message, size_t message_len,
                           const uint8_t *sig, size_t sig_len, struct tmv_found *found)
{
    struct tmv_verifier v;
    if (found != NULL)
        *found = (struct tmv_found){0, 0};
    enum tmv_result result = tmv_begin(&v, key, sig, sig_len);
    if (result == TMV_SHORT)
        return TMV_MALFORMED_SIGNATURE;
    if (result != TMV_OK)
        return result;
    tmv_update(&v, message, message_len);
    return tmv_final(&v, sig, sig_len, found);
}
