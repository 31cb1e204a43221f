/*
 * digest: SHA-256, SHA-384 and SHA-512 of artifacts, plans and ledger entries, through libgcrypt.
 *
 * The many short hashes of the signature schemes do not come this way: see hbs/hash.h.
 * Threads: a struct digest belongs to one thread. base_init() first.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

enum digest_kind { DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512 };

#define DIGEST_LEN_MAX 64

/** Bytes of a digest: 32, 48 or 64. */
size_t digest_len(enum digest_kind kind);

/** Name as in plans and JSON: "sha256", "sha384", "sha512". Static. */
const char *digest_name(enum digest_kind kind);

/** The other way round. @retval false no such name. */
bool digest_by_name(enum digest_kind *kind, const char *name) MUST_CHECK;

struct digest {
    void *handle; /* NULL when closed */
    enum digest_kind kind;
};

/**
 * Start a digest. Close it with digest_close(), also after a failure.
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc digest_open(struct digest *d, enum digest_kind kind, struct err *err) MUST_CHECK;
void digest_update(struct digest *d, const void *data, size_t len);
/** out: digest_len(d->kind) bytes. Afterwards only digest_close() is allowed. */
void digest_final(struct digest *d, uint8_t *out);
void digest_close(struct digest *d);

/** One buffer at once. out: digest_len(kind) bytes. */
void digest_buffer(enum digest_kind kind, uint8_t *out, const void *data, size_t len);

/** SHA-256 over two pieces, e.g. a prefix and a text. */
void sha256_2(uint8_t out[32], const void *a, size_t a_len, const void *b, size_t b_len);

/** HMAC-SHA-256; out: 32 bytes. Derives one authorisation value from another. */
void hmac_sha256(uint8_t out[32], const void *key, size_t key_len, const void *data, size_t len);

#endif
