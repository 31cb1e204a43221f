#include "base/secmem.h"

#include <errno.h>
#include <gcrypt.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/bytes.h"

#define SECMEM_POOL_LEN (256 * 1024)

static void *pool; /* where libgcrypt has put it; NULL: there is none */

/* libgcrypt does not tell, but the first block that it gives lies on the first page of the pool,
 * which is mapped by itself. */
static void find_pool(void)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *first = gcry_malloc_secure(1);
    pool = (void *)((uintptr_t)first / page * page);
    gcry_free(first);
}

enum rc base_forked(struct err *err)
{
    if (pool == NULL || mlock(pool, SECMEM_POOL_LEN) == 0)
        return RC_OK;
    return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "%d bytes of locked memory: %s (LimitMEMLOCK)",
                SECMEM_POOL_LEN, strerror(errno));
}

static enum rc check_version(struct err *err)
{
    if (gcry_check_version(GCRYPT_VERSION) != NULL)
        return RC_OK;
    return FAIL(err, RC_HALT_SYSTEM, "gcrypt", 0, "libgcrypt %s or newer is needed, found %s",
                GCRYPT_VERSION, gcry_check_version(NULL));
}

enum rc base_init(struct err *err)
{
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
        return RC_OK;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "core dumps cannot be switched off: %s",
                    strerror(errno));
    enum rc rc = check_version(err);
    if (rc != RC_OK)
        return rc;
    gcry_control(GCRYCTL_SUSPEND_SECMEM_WARN);
    gcry_error_t e = gcry_control(GCRYCTL_INIT_SECMEM, SECMEM_POOL_LEN, 0);
    if (e != 0)
        return FAIL(err, RC_HALT_SYSTEM, "gcrypt", e,
                    "%d bytes of locked memory: %s (LimitMEMLOCK)", SECMEM_POOL_LEN,
                    gcry_strerror(e));
    gcry_control(GCRYCTL_RESUME_SECMEM_WARN);
    find_pool();
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    return RC_OK;
}

enum rc base_init_public(struct err *err)
{
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
        return RC_OK;
    enum rc rc = check_version(err);
    if (rc != RC_OK)
        return rc;
    gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
    gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    return RC_OK;
}

void *secmem_alloc(size_t len)
{
    return gcry_calloc_secure(1, len);
}

void secmem_free(void *p)
{
    gcry_free(p);
}

enum rc secmem_map(void **p, size_t len, struct err *err)
{
    void *pages = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *p = NULL;
    if (pages != MAP_FAILED && mlock(pages, len) == 0 && madvise(pages, len, MADV_DONTDUMP) == 0) {
        *p = pages;
        return RC_OK;
    }
    int e = errno;
    if (pages != MAP_FAILED)
        (void)munmap(pages, len);
    return FAIL(err, RC_RETRY_SYSTEM, "errno", e, "%zu bytes of locked memory: %s (LimitMEMLOCK)",
                len, strerror(e));
}

void secmem_unmap(void *p, size_t len)
{
    if (p == NULL)
        return;
    wipe(p, len);
    (void)munmap(p, len);
}

void random_bytes(void *out, size_t len)
{
    gcry_randomize(out, len, GCRY_STRONG_RANDOM);
}

void random_id(void *out, size_t len)
{
    gcry_create_nonce(out, len);
}
