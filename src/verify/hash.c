#include "verify/hash.h"

#include "verify/bytes.h"

#if TMVI_NEED_SHA256
/* FIPS 180-4 §5.3.3 */
static const uint32_t start_256[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
#endif

#if TMVI_NEED_SHA512
/* FIPS 180-4 §5.3.4 and §5.3.5 */
static const uint64_t start_384[8] = {0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17,
                                      0x152fecd8f70e5939, 0x67332667ffc00b31, 0x8eb44a8768581511,
                                      0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4};
static const uint64_t start_512[8] = {0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b,
                                      0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f,
                                      0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};
#endif

#if TMVI_NEED_KECCAK
static bool is_shake(const struct tmv_hash *hash)
{
    return hash->kind == TMV_SHAKE256 || hash->kind == TMV_SHAKE128;
}
#endif

/* Bytes of a block, or the rate of a sponge (FIPS 202 §6.2). */
static size_t block_len(const struct tmv_hash *hash)
{
    switch (hash->kind) {
    case TMV_SHA256:
        return 64;
    case TMV_SHAKE256:
        return 136;
    case TMV_SHAKE128:
        return 168;
    default:
        return 128;
    }
}

void tmvi_hash_begin(struct tmv_hash *hash, enum tmv_hash_kind kind)
{
    tmvi_zero(hash, sizeof(*hash));
    hash->kind = (uint8_t)kind;
#if TMVI_NEED_SHA256
    if (kind == TMV_SHA256)
        tmvi_copy(hash->u.s256.h, start_256, sizeof(start_256));
#endif
#if TMVI_NEED_SHA512
    if (kind == TMV_SHA512)
        tmvi_copy(hash->u.s512.h, start_512, sizeof(start_512));
    if (kind == TMV_SHA384)
        tmvi_copy(hash->u.s512.h, start_384, sizeof(start_384));
#endif
}

/* Put a byte at its place in the block. A sponge takes it into its state at once. */
static void put_byte(struct tmv_hash *hash, size_t at, uint8_t byte)
{
#if TMVI_NEED_KECCAK
    if (is_shake(hash)) {
        hash->u.keccak[at / 8] ^= (uint64_t)byte << (8 * (at % 8));
        return;
    }
#endif
#if TMVI_NEED_SHA512
    if (hash->kind != TMV_SHA256) {
        hash->u.s512.block[at] = byte;
        return;
    }
#endif
    hash->u.s256.block[at] = byte;
}

static void block_full(struct tmv_hash *hash)
{
#if TMVI_NEED_KECCAK
    if (is_shake(hash)) {
        tmvi_keccak_f(hash->u.keccak);
        return;
    }
#endif
#if TMVI_NEED_SHA512
    if (hash->kind != TMV_SHA256) {
        tmvi_sha512_block(hash->u.s512.h, hash->u.s512.block);
        return;
    }
#endif
#if TMVI_NEED_SHA256
    tmvi_sha256_block(hash->u.s256.h, hash->u.s256.block);
#endif
}

void tmvi_hash_add(struct tmv_hash *hash, const void *data, size_t len)
{
    const uint8_t *p = (const uint8_t *)data;
    size_t block = block_len(hash);
    size_t at = (size_t)(hash->len % block);
    hash->len += len;
    for (size_t i = 0; i < len; i++) {
        put_byte(hash, at++, p[i]);
        if (at == block) {
            block_full(hash);
            at = 0;
        }
    }
}

void tmvi_hash_add_number(struct tmv_hash *hash, uint64_t value, size_t len)
{
    uint8_t bytes[64];
    tmvi_put(bytes, value, len);
    tmvi_hash_add(hash, bytes, len);
}

#if TMVI_NEED_KECCAK
/* FIPS 202 §6.2 and Appendix B.2: 1111 for SHAKE and the first 1 of the padding are 0x1f. No output
 * here is longer than the rate. */
static void shake_end(struct tmv_hash *hash, uint8_t *out, size_t n)
{
    size_t rate = block_len(hash);
    put_byte(hash, (size_t)(hash->len % rate), 0x1f);
    put_byte(hash, rate - 1, 0x80);
    tmvi_keccak_f(hash->u.keccak);
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(hash->u.keccak[i / 8] >> (8 * (i % 8)));
}
#endif

void tmvi_hash_end(struct tmv_hash *hash, uint8_t *out, size_t n)
{
#if TMVI_NEED_KECCAK
    if (is_shake(hash)) {
        shake_end(hash, out, n);
        return;
    }
#endif
    /* FIPS 180-4 §5.1: a 1, zeros, and the length in bits in the last eighth of a block. */
    uint64_t bits = hash->len * 8;
    size_t block = block_len(hash);
    tmvi_hash_add_number(hash, 0x80, 1);
    while (hash->len % block != block - block / 8)
        tmvi_hash_add_number(hash, 0, 1);
    tmvi_hash_add_number(hash, bits, block / 8);
    for (size_t i = 0; i < n; i++) {
#if TMVI_NEED_SHA512
        if (hash->kind != TMV_SHA256) {
            out[i] = (uint8_t)(hash->u.s512.h[i / 8] >> (56 - 8 * (i % 8)));
            continue;
        }
#endif
        out[i] = (uint8_t)(hash->u.s256.h[i / 4] >> (24 - 8 * (i % 4)));
    }
}

#if TMV_WITH_DIGEST

void tmv_digest_begin(struct tmv_hash *digest, enum tmv_message kind)
{
    tmvi_hash_begin(digest, kind == TMV_DIGEST_SHA256   ? TMV_SHA256
                            : kind == TMV_DIGEST_SHA384 ? TMV_SHA384
                                                        : TMV_SHA512);
}

void tmv_digest_update(struct tmv_hash *digest, const void *data, size_t len)
{
    tmvi_hash_add(digest, data, len);
}

size_t tmv_digest_final(struct tmv_hash *digest, uint8_t *out)
{
    size_t n = digest->kind == TMV_SHA256 ? 32 : digest->kind == TMV_SHA384 ? 48 : 64;
    tmvi_hash_end(digest, out, n);
    return n;
}

#endif
