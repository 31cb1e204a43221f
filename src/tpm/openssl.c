/*
 * What the TSS library asks OpenSSL for, answered by us: a name that the program has is found
 * before that of a library (ld.so(8), symbol interposition).
 *
 * The library makes an OpenSSL context of its own for every hash and HMAC, four to eight in a
 * command, which is nine tenths of what a command costs us. There is no setting against that before
 * its version 4. So all of them get one context, which stays. Its generator would stay with it, and
 * a memory image that is resumed would draw the nonces of the one before; so nonces come from the
 * kernel, each time, as they did when each had a new generator.
 *
 * A TSS library that computes with something else, or that is built not to be answered by others,
 * calls none of this.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "tpm/internal.h"

#define ENTROPY_MAX 256 /* getentropy(3): at once */

/* openssl/crypto.h and openssl/rand.h, which the build does not need otherwise. */
struct ossl_lib_ctx_st *OSSL_LIB_CTX_new(void);
void OSSL_LIB_CTX_free(struct ossl_lib_ctx_st *context);
int RAND_bytes_ex(struct ossl_lib_ctx_st *context, unsigned char *bytes, size_t len,
                  unsigned strength);

static struct ossl_lib_ctx_st *shared;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct ossl_lib_ctx_st *make_shared(void)
{
    struct ossl_lib_ctx_st *(*make)(void) = NULL;
    void *found = dlsym(RTLD_NEXT, "OSSL_LIB_CTX_new");
    _Static_assert(sizeof(make) == sizeof(found), "POSIX: dlsym() finds functions, too");
    memcpy(&make, &found, sizeof(make));
    return make != NULL ? make() : NULL;
}

/* NULL where there is no memory: whoever asked reports that. */
struct ossl_lib_ctx_st *OSSL_LIB_CTX_new(void)
{
    (void)pthread_mutex_lock(&lock);
    if (shared == NULL)
        shared = make_shared();
    struct ossl_lib_ctx_st *context = shared;
    (void)pthread_mutex_unlock(&lock);
    return context;
}

void OSSL_LIB_CTX_free(struct ossl_lib_ctx_st *context)
{
    (void)context; /* whoever comes next gets it, too */
}

int RAND_bytes_ex(struct ossl_lib_ctx_st *context, unsigned char *bytes, size_t len,
                  unsigned strength)
{
    (void)context;
    (void)strength; /* the kernel has one */
    for (size_t at = 0; at < len; at += ENTROPY_MAX)
        if (getentropy(bytes + at, len - at < ENTROPY_MAX ? len - at : ENTROPY_MAX) != 0)
            return 0;
    return 1;
}

void tpm_openssl_answer(void)
{
    /* Nothing to do: a file that nobody calls would not become part of the program. */
}
