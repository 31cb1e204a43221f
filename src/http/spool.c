#include "http/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"

void spool_close(struct spool *spool)
{
    fd_close(&spool->fd);
    digest_close(&spool->sha256);
    digest_close(&spool->sha512);
    *spool = SPOOL_CLOSED;
}

static int open_handle(bool in_memory, int dirfd)
{
    if (in_memory)
        return memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return openat(dirfd, ".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
}

enum rc spool_open(struct spool *spool, uint64_t expected, uint64_t memory_max, int dirfd,
                   bool sha512, struct err *err)
{
    *spool = SPOOL_CLOSED;
    spool->expected = expected;
    spool->in_memory = expected <= memory_max;
    spool->fd = open_handle(spool->in_memory, dirfd);
    enum rc rc = RC_OK;
    if (spool->fd < 0)
        rc = FAIL(err, RC_RETRY_SYSTEM, "errno", errno, "cannot open a spool: %s", strerror(errno));
    if (rc == RC_OK)
        rc = digest_open(&spool->sha256, DIGEST_SHA256, err);
    if (rc == RC_OK && sha512)
        rc = digest_open(&spool->sha512, DIGEST_SHA512, err);
    if (rc != RC_OK)
        spool_close(spool);
    return rc;
}

enum rc spool_write(struct spool *spool, const void *data, size_t len, struct err *err)
{
    if (len > spool->expected - spool->len)
        return FAIL(err, RC_REFUSED_TOO_LARGE, "", 0, "more bytes than Content-Length says");
    if (!pwrite_full(spool->fd, data, len, (off_t)spool->len))
        return FAIL(err, RC_RETRY_SYSTEM, "errno", errno, "cannot store the body: %s",
                    strerror(errno));
    spool->len += len;
    digest_update(&spool->sha256, data, len);
    if (spool->sha512.handle != NULL)
        digest_update(&spool->sha512, data, len);
    return RC_OK;
}

/* What the signer reads must be what was hashed here; it hashes again, and this saves it an index.
 */
static enum rc seal(struct spool *spool, struct err *err)
{
    if (!spool->in_memory)
        return RC_OK;
    if (fcntl(spool->fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) !=
        0)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", errno, "cannot seal the body");
    return RC_OK;
}

static bool keeps_promise(struct spool *spool, const struct content_digest *promised,
                          const uint8_t sha256[SHA256_LEN])
{
    if (promised->has_sha256 && !ct_equal(promised->sha256, sha256, SHA256_LEN))
        return false;
    if (!promised->has_sha512)
        return true;
    uint8_t sha512[64];
    MUST(spool->sha512.handle != NULL);
    digest_final(&spool->sha512, sha512);
    return ct_equal(promised->sha512, sha512, sizeof(sha512));
}

enum rc spool_finish(struct spool *spool, const struct content_digest *promised,
                     uint8_t sha256[SHA256_LEN], struct err *err)
{
    uint8_t computed[SHA256_LEN];
    memset(sha256, 0, SHA256_LEN);
    if (spool->len != spool->expected)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "the body ended early");
    digest_final(&spool->sha256, computed);
    if (!keeps_promise(spool, promised, computed))
        return FAIL(err, RC_REFUSED_DIGEST, "", 0,
                    "the body that arrived is not the one that Content-Digest describes");
    enum rc rc = seal(spool, err);
    if (rc == RC_OK)
        memcpy(sha256, computed, SHA256_LEN);
    return rc;
}

int spool_take(struct spool *spool)
{
    int fd = spool->fd;
    spool->fd = -1;
    spool_close(spool);
    return fd;
}
