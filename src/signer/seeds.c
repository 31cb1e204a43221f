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

enum rc seeds_open(int key_dirfd, const char *name, uint64_t windows, int *fd, struct err *err)
{
    *fd = openat(key_dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0)
        return FAIL(err, RC_HALT_SEEDS, "errno", errno, "open %s: %s", name, strerror(errno));
    struct stat st;
    if (fstat(*fd, &st) == 0 && st.st_size == offset_of(windows))
        return RC_OK;
    fd_close(fd);
    return FAIL(err, RC_HALT_SEEDS, "", 0, "%s is not a file of %" PRIu64 " sealed secrets", name,
                windows);
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

enum rc records_destroy_below(int fd, size_t record_len, uint64_t window, struct err *err)
{
    static const uint8_t zeros[SEEDS_RECORD_LEN];
    MUST(record_len <= sizeof(zeros));
    uint64_t low = window;
    for (; low > 0; low--) {
        uint8_t head[4];
        if (!pread_full(fd, head, sizeof(head), (off_t)((low - 1) * record_len)))
            return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "read of a sealed secret: %s",
                        strerror(errno));
        if (be_get32(head) == 0)
            break;
    }
    if (low == window)
        return RC_OK;
    /* Upwards from the lowest: after a power cut in the middle the secrets that are left lie right
     * below `window`, where the next call's walk finds them. */
    for (uint64_t w = low; w < window; w++)
        if (!pwrite_full(fd, zeros, record_len, (off_t)(w * record_len)))
            return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "destroying a sealed secret: %s",
                        strerror(errno));
    if (fdatasync(fd) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "sync of the sealed secrets: %s",
                    strerror(errno));
    return RC_OK;
}

enum rc seeds_destroy_below(int fd, uint64_t window, struct err *err)
{
    return records_destroy_below(fd, SEEDS_RECORD_LEN, window, err);
}
