#include "base/digest.h"

#include <gcrypt.h>
#include <pthread.h>
#include <string.h>

static const struct {
    int algo;
    size_t len;
    const char *name;
} kinds[] = {
    [DIGEST_SHA256] = {GCRY_MD_SHA256, 32, "sha256"},
    [DIGEST_SHA384] = {GCRY_MD_SHA384, 48, "sha384"},
    [DIGEST_SHA512] = {GCRY_MD_SHA512, 64, "sha512"},
};

size_t digest_len(enum digest_kind kind)
{
    return kinds[kind].len;
}

const char *digest_name(enum digest_kind kind)
{
    return kinds[kind].name;
}

bool digest_by_name(enum digest_kind *kind, const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            *kind = (enum digest_kind)i;
            return true;
        }
    }
    *kind = DIGEST_SHA256;
    return false;
}

/* A digest of each kind into which nothing was ever put. The library gathers entropy, with three
 * system calls, whenever one is opened, and not when one is copied. */
static gcry_md_hd_t blanks[sizeof(kinds) / sizeof(kinds[0])];

static void open_blanks(void)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (gcry_md_open(&blanks[i], kinds[i].algo, 0) != 0)
            blanks[i] = NULL;
}

enum rc digest_open(struct digest *d, enum digest_kind kind, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *d = (struct digest){.kind = kind};
    (void)pthread_once(&once, open_blanks);
    gcry_md_hd_t handle = NULL;
    gcry_error_t e = blanks[kind] != NULL ? gcry_md_copy(&handle, blanks[kind])
                                          : gcry_md_open(&handle, kinds[kind].algo, 0);
    if (e != 0)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", e, "%s: %s", kinds[kind].name,
                    gcry_strerror(e));
    d->handle = handle;
    return RC_OK;
}

void digest_update(struct digest *d, const void *data, size_t len)
{
    gcry_md_write(d->handle, data, len);
}

void digest_final(struct digest *d, uint8_t *out)
{
    memcpy(out, gcry_md_read(d->handle, kinds[d->kind].algo), kinds[d->kind].len);
}

void digest_close(struct digest *d)
{
    gcry_md_close(d->handle);
    d->handle = NULL;
}

void digest_buffer(enum digest_kind kind, uint8_t *out, const void *data, size_t len)
{
    gcry_md_hash_buffer(kinds[kind].algo, out, data, len);
}

void sha256_2(uint8_t out[32], const void *a, size_t a_len, const void *b, size_t b_len)
{
    gcry_buffer_t pieces[2] = {
        {.data = (void *)(uintptr_t)a, .len = a_len},
        {.data = (void *)(uintptr_t)b, .len = b_len},
    };
    gcry_error_t e = gcry_md_hash_buffers(GCRY_MD_SHA256, 0, out, pieces, 2);
    MUST(e == 0);
}

void hmac_sha256(uint8_t out[32], const void *key, size_t key_len, const void *data, size_t len)
{
    gcry_buffer_t pieces[2] = {
        {.data = (void *)(uintptr_t)key, .len = key_len},
        {.data = (void *)(uintptr_t)data, .len = len},
    };
    gcry_error_t e = gcry_md_hash_buffers(GCRY_MD_SHA256, GCRY_MD_FLAG_HMAC, out, pieces, 2);
    MUST(e == 0);
}
