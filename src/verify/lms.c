/*
 * LM-OTS and LMS (RFC 8554 §4 and §5).
 */
#include "verify/bytes.h"
#include "verify/schemes.h"

#if TMV_WITH_LMS

#define N_MAX 32

/* RFC 8554 §4.2 and §5.1: what a hash is for. */
#define D_PBLC 0x8080
#define D_MESG 0x8181
#define D_LEAF 0x8282
#define D_INTR 0x8383

/* H(I || u32str(number) || u16str(purpose) || … */
static void begin(struct tmv_hash *hash, const struct tmvi_tree *tree, uint32_t number,
                  uint32_t purpose)
{
    tmvi_hash_begin(hash, tree->set.hash);
    tmvi_hash_add(hash, tree->id, TMVI_ID_LEN);
    tmvi_hash_add_number(hash, number, 4);
    tmvi_hash_add_number(hash, purpose, 2);
}

void tmvi_lms_message(struct tmv_hash *hash, const struct tmvi_tree *tree, const uint8_t *c)
{
    begin(hash, tree, tree->q, D_MESG);
    tmvi_hash_add(hash, c, tree->set.n);
}

/* RFC 8554 §3.1.3: the i-th digit of w bits. */
static uint32_t digit(const uint8_t *bytes, uint32_t i, uint32_t w)
{
    uint32_t per_byte = 8 / w;
    return (uint32_t)bytes[i / per_byte] >> (8 - w * (i % per_byte + 1)) & ((1U << w) - 1);
}

/* RFC 8554 §4.4: the checksum goes behind the hash, as two bytes. */
static void append_checksum(const struct tmvi_set *set, uint8_t q_hash[N_MAX + 2])
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 8U * set->n / set->w; i++)
        sum += (1U << set->w) - 1 - digit(q_hash, i, set->w);
    tmvi_put(q_hash + set->n, sum << set->shift, 2);
}

/* The rest of a chain, from the signature's value to its end (RFC 8554 §4.6 algorithm 4b). */
static void chain(const struct tmvi_tree *tree, uint32_t i, uint32_t from, uint8_t *value)
{
    struct tmv_hash hash;
    for (uint32_t j = from; j < (1U << tree->set.w) - 1; j++) {
        begin(&hash, tree, tree->q, i);
        tmvi_hash_add_number(&hash, j, 1);
        tmvi_hash_add(&hash, value, tree->set.n);
        tmvi_hash_end(&hash, value, tree->set.n);
    }
}

/* The one-time public key K that the signature leads to. y: p values of n bytes. */
static void one_time_key(const struct tmvi_tree *tree, const uint8_t *q_hash, const uint8_t *y,
                         uint8_t *key)
{
    size_t n = tree->set.n;
    uint8_t digits[N_MAX + 2];
    uint8_t value[N_MAX];
    struct tmv_hash all;
    tmvi_copy(digits, q_hash, n);
    append_checksum(&tree->set, digits);
    begin(&all, tree, tree->q, D_PBLC);
    for (uint32_t i = 0; i < tree->set.p; i++) {
        tmvi_copy(value, y + i * n, n);
        chain(tree, i, digit(digits, i, tree->set.w), value);
        tmvi_hash_add(&all, value, n);
    }
    tmvi_hash_end(&all, key, n);
}

void tmvi_lms_root(const struct tmvi_tree *tree, const uint8_t *q_hash, const uint8_t *sig,
                   uint8_t *root)
{
    size_t n = tree->set.n;
    const uint8_t *y = sig + 4 + 4 + n;
    const uint8_t *path = y + tree->set.p * n + 4;
    uint32_t node = (1U << tree->set.height) + tree->q;
    struct tmv_hash hash;
    one_time_key(tree, q_hash, y, root);
    begin(&hash, tree, node, D_LEAF);
    tmvi_hash_add(&hash, root, n);
    tmvi_hash_end(&hash, root, n);
    for (; node > 1; node /= 2, path += n) {
        begin(&hash, tree, node / 2, D_INTR);
        tmvi_hash_add(&hash, node % 2 == 0 ? root : path, n);
        tmvi_hash_add(&hash, node % 2 == 0 ? path : root, n);
        tmvi_hash_end(&hash, root, n);
    }
}

#endif
