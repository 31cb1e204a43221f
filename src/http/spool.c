#include "http/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "signer/request.h"

void spool_close(struct spool *spool)
{
    fd_close(&spool->fd);
    free(spool->bytes);
    free(spool->gathered);
    digest_close(&spool->sha256);
    digest_close(&spool->sha512);
    *spool = SPOOL_CLOSED;
}

/* Memory that nobody else sees, memory that can be handed over, or a file. */
static bool open_place(struct spool *spool, int dirfd)
{
    if (spool->in_memory && spool->expected <= REQUEST_BEHIND_MAX) {
        spool->bytes = malloc(spool->expected > 0 ? (size_t)spool->expected : 1);
        return spool->bytes != NULL;
    }
    if (spool->in_memory)
        spool->fd = memfd_create("body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    else
        spool->fd = openat(dirfd, ".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    return spool->fd >= 0;
}

enum rc spool_open(struct spool *spool, uint64_t expected, uint64_t memory_max, int dirfd,
                   bool sha512, struct err *err)
{
    *spool = SPOOL_CLOSED;
    spool->expected = expected;
    spool->in_memory = expected <= memory_max;
    enum rc rc = RC_OK;
    if (!open_place(spool, dirfd))
        rc = FAIL(err, RC_RETRY_SYSTEM, "errno", errno, "cannot open a spool: %s", strerror(errno));
    if (rc == RC_OK)
        rc = digest_open(&spool->sha256, DIGEST_SHA256, err);
    if (rc == RC_OK && sha512)
        rc = digest_open(&spool->sha512, DIGEST_SHA512, err);
    if (rc != RC_OK)
        spool_close(spool);
    return rc;
}

void spool_gather(struct spool *spool)
{
    MUST(!spool->in_memory);
    MUST(spool->len == 0);
    spool->gathered = malloc(SPOOL_GATHER);
}

/* Behind the gathered bytes, and all of them into the file when there are enough, or no more. */
static bool gather(struct spool *spool, const uint8_t *data, size_t len)
{
    uint64_t start = spool->len - spool->waiting; /* of what is not in the file */
    while (len > 0) {
        size_t room = SPOOL_GATHER - spool->waiting;
        size_t part = len < room ? len : room;
        memcpy(spool->gathered + spool->waiting, data, part);
        spool->waiting += part;
        data += part;
        len -= part;
        bool last = start + spool->waiting == spool->expected;
        if (spool->waiting < SPOOL_GATHER && !last)
            return true;
        if (!pwrite_full(spool->fd, spool->gathered, spool->waiting, (off_t)start))
            return false;
        start += spool->waiting;
        spool->waiting = 0;
    }
    return true;
}

/* To the end of what there is. */
static bool store(struct spool *spool, const void *data, size_t len)
{
    if (spool->gathered != NULL)
        return gather(spool, data, len);
    if (spool->bytes == NULL)
        return pwrite_full(spool->fd, data, len, (off_t)spool->len);
    memcpy(spool->bytes + spool->len, data, len);
    return true;
}

enum rc spool_write(struct spool *spool, const void *data, size_t len, struct err *err)
{
    if (len > spool->expected - spool->len)
        return FAIL(err, RC_REFUSED_TOO_LARGE, "", 0, "more bytes than Content-Length says");
    if (!store(spool, data, len))
        return FAIL(err, RC_RETRY_SYSTEM, "errno", errno, "cannot store the body: %s",
                    strerror(errno));
    spool->len += len;
    digest_update(&spool->sha256, data, len);
    if (spool->sha512.handle != NULL)
        digest_update(&spool->sha512, data, len);
    return RC_OK;
}

/* What the signer reads must be what was hashed here; it hashes again, and this saves it an index.
 * Bytes are copied into their message, which is as good. */
static enum rc seal(struct spool *spool, struct err *err)
{
    if (!spool->in_memory || spool->bytes != NULL)
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

bool spool_is_open(const struct spool *spool)
{
    return spool->fd >= 0 || spool->bytes != NULL;
}

bool spool_read(const struct spool *spool, void *out)
{
    if (spool->bytes == NULL)
        return pread_full(spool->fd, out, (size_t)spool->len, 0);
    memcpy(out, spool->bytes, (size_t)spool->len);
    return true;
}

int spool_take(struct spool *spool, uint8_t **bytes)
{
    int fd = spool->fd;
    *bytes = spool->bytes;
    spool->fd = -1;
    spool->bytes = NULL;
    spool_close(spool);
    return fd;
}
