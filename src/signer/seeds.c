#include "signer/seeds.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"

static off_t offset_of(uint64_t window)
{
    return (off_t)(window * SEEDS_RECORD_LEN);
}

static enum rc open_file(int key_dirfd, const char *name, int flags, uint64_t windows, int *fd,
                         struct err *err)
{
    *fd = openat(key_dirfd, name, flags | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0)
        return FAIL(err, RC_HALT_SEEDS, "errno", errno, "open %s: %s", name, strerror(errno));
    struct stat st;
    if (fstat(*fd, &st) == 0 && st.st_size == offset_of(windows))
        return RC_OK;
    fd_close(fd);
    return FAIL(err, RC_HALT_SEEDS, "", 0, "%s is not a file of %" PRIu64 " sealed secrets", name,
                windows);
}

enum rc seeds_open(int key_dirfd, const char *name, uint64_t windows, int *fd, struct err *err)
{
    return open_file(key_dirfd, name, O_RDWR, windows, fd, err);
}

enum rc seeds_read(int fd, uint64_t window, uint8_t *blob, size_t *blob_len, struct err *err)
{
    uint8_t record[SEEDS_RECORD_LEN];
    memset(blob, 0, TPM_SEALED_MAX);
    *blob_len = 0;
    if (!pread_full(fd, record, sizeof(record), offset_of(window)))
        return FAIL(err, RC_HALT_SEEDS, "errno", errno, "sealed secret %" PRIu64 ": %s", window,
                    strerror(errno));
    uint32_t len = be_get32(record);
    if (len > TPM_SEALED_MAX)
        return FAIL(err, RC_HALT_SEEDS, "", len, "sealed secret %" PRIu64 " is damaged", window);
    memcpy(blob, record + 4, len);
    *blob_len = len;
    return RC_OK;
}

enum rc seeds_count(int key_dirfd, const char *name, uint64_t windows,
                    bool (*go_on)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                    struct seeds_census *census, struct err *err)
{
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    int fd CLEANUP(fd_close) = -1;
    *census = (struct seeds_census){0};
    enum rc rc = open_file(key_dirfd, name, O_RDONLY, windows, &fd, err);
    for (uint64_t w = 0; rc == RC_OK && w < windows; w++) {
        rc = seeds_read(fd, w, blob, &blob_len, err);
        if (rc == RC_OK && go_on != NULL && !go_on(ctx, w + 1, windows))
            rc = FAIL(err, RC_RETRY_BUSY, "", 0, "stopped");
        if (rc != RC_OK || blob_len == 0)
            continue;
        census->first = census->here == 0 ? w : census->first;
        census->last = w;
        census->here++;
    }
    if (rc != RC_OK)
        *census = (struct seeds_census){0};
    return rc;
}

enum rc seeds_write(int fd, uint64_t window, const uint8_t *blob, size_t blob_len, struct err *err)
{
    MUST(blob_len <= TPM_SEALED_MAX);
    uint8_t record[SEEDS_RECORD_LEN] = {0};
    be_put32(record, (uint32_t)blob_len);
    memcpy(record + 4, blob, blob_len);
    if (!pwrite_full(fd, record, sizeof(record), offset_of(window)))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "write sealed secret %" PRIu64 ": %s",
                    window, strerror(errno));
    return RC_OK;
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++)
        any |= bytes[i];
    return any == 0;
}

/* Destroy record w if there is anything of it: a power cut may have left its end without its head.
 */
static enum rc destroy_one(int fd, size_t record_len, uint64_t w, bool *found, struct err *err)
{
    static const uint8_t zeros[SEEDS_RECORD_LEN];
    uint8_t record[SEEDS_RECORD_LEN];
    off_t at = (off_t)(w * record_len);
    if (!pread_full(fd, record, record_len, at))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "read of a sealed secret: %s",
                    strerror(errno));
    *found = !is_zero(record, record_len);
    if (*found && !pwrite_full(fd, zeros, record_len, at))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "destroying a sealed secret: %s",
                    strerror(errno));
    return RC_OK;
}

enum rc records_destroy_below(int fd, size_t record_len, uint64_t window, bool sweep,
                              struct err *err)
{
    MUST(record_len <= SEEDS_RECORD_LEN);
    bool any = false;
    for (uint64_t w = window; w-- > 0;) {
        bool found = false;
        enum rc rc = destroy_one(fd, record_len, w, &found, err);
        if (rc != RC_OK)
            return rc;
        any = any || found;
        if (!found && !sweep)
            break;
    }
    if (any && fdatasync(fd) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "sync of the sealed secrets: %s",
                    strerror(errno));
    return RC_OK;
}

enum rc seeds_destroy_below(int fd, uint64_t window, bool sweep, struct err *err)
{
    return records_destroy_below(fd, SEEDS_RECORD_LEN, window, sweep, err);
}
