/*
 * hash: the hash functions of all parameter sets behind three calls. Internal to verify.
 *
 * Uses: nothing. Sources: FIPS 180-4 (SHA-256, SHA-384, SHA-512), FIPS 202 (SHAKE128, SHAKE256).
 * Written to be small: rolled loops, a message schedule of 16 words. Pure, any thread.
 */
#ifndef VERIFY_HASH_H
#define VERIFY_HASH_H

#include "verify/verify.h"

#define TMVI_NEED_SHA256 (TMV_WITH_SHA256 || TMV_WITH_PLAN || TMV_WITH_DIGEST)
#define TMVI_NEED_SHA512 (TMV_WITH_RFC8391 || TMV_WITH_DIGEST)
#define TMVI_NEED_KECCAK (TMV_WITH_RFC8391 || TMV_WITH_SHAKE256)

/** Start; kind must be one that this build has. */
void tmvi_hash_begin(struct tmv_hash *hash, enum tmv_hash_kind kind);

void tmvi_hash_add(struct tmv_hash *hash, const void *data, size_t len);

/** A number as len bytes, big-endian; len <= 64. */
void tmvi_hash_add_number(struct tmv_hash *hash, uint64_t value, size_t len);

/** The first n bytes of the result; n is at most that of the function, at most 64 for SHAKE. */
void tmvi_hash_end(struct tmv_hash *hash, uint8_t *out, size_t n);

/* One block of each function, for hash.c alone: 8 words of state and 64 or 128 bytes, or 25 lanes.
 */
void tmvi_sha256_block(uint32_t *h, const uint8_t *block);
void tmvi_sha512_block(uint64_t *h, const uint8_t *block);
void tmvi_keccak_f(uint64_t *a);

#endif
