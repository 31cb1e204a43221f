/*
 * box: authenticated encryption under a passphrase: Argon2id (RFC 9106) and ChaCha20-Poly1305
 * (RFC 8439), both from libgcrypt. For backups: a stream of chunks, each with its number.
 *
 * Threads: any. The key lives in locked memory.
 */
#ifndef BASE_BOX_H
#define BASE_BOX_H

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

#define BOX_KEY_LEN 32
#define BOX_SALT_LEN 16
#define BOX_TAG_LEN 16

/** Cost of the passphrase: stored beside the salt, so that it can be raised later. */
struct box_cost {
    uint32_t memory_kib; /* 8192 … 2^22 */
    uint32_t passes;     /* 1 … 64 */
};
#define BOX_COST_DEFAULT ((struct box_cost){.memory_kib = 65536, .passes = 3})

/**
 * Passphrase -> key (Argon2id, one lane).
 * @param[out] key  BOX_KEY_LEN bytes of locked memory (secmem_alloc), owned by the caller.
 * @retval RC_REFUSED_RANGE  Cost outside the bounds above (a hostile file). Nothing was allocated.
 * @retval RC_RETRY_SYSTEM   No memory.
 */
enum rc box_key(uint8_t *key, const char *passphrase, size_t passphrase_len,
                const uint8_t salt[BOX_SALT_LEN], const struct box_cost *cost,
                struct err *err) MUST_CHECK;

/**
 * Encrypt data in place; chunk numbers must never repeat under one key (the nonce is the number).
 * @param[in]  binding  32 bytes that must be the same when it is opened: hash of the file's header.
 * @retval RC_RETRY_SYSTEM  libgcrypt failed.
 */
enum rc box_seal(const uint8_t *key, uint64_t chunk, const uint8_t binding[32], uint8_t *data,
                 size_t len, uint8_t tag[BOX_TAG_LEN], struct err *err) MUST_CHECK;

/**
 * Decrypt data in place.
 * @retval RC_REFUSED_PASSPHRASE  Wrong key, or data, number or binding were changed; data is zero.
 * @retval RC_RETRY_SYSTEM        libgcrypt failed; data is zero.
 */
enum rc box_open(const uint8_t *key, uint64_t chunk, const uint8_t binding[32], uint8_t *data,
                 size_t len, const uint8_t tag[BOX_TAG_LEN], struct err *err) MUST_CHECK;

#endif
