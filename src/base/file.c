#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

bool pread_full(int fd, void *data, size_t len, off_t offset)
{
    uint8_t *p = data;
    while (len > 0) {
        ssize_t got = pread(fd, p, len, offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = ENODATA;
        if (got <= 0)
            return false;
        p += got;
        offset += got;
        len -= (size_t)got;
    }
    return true;
}

bool pwrite_full(int fd, const void *data, size_t len, off_t offset)
{
    const uint8_t *p = data;
    while (len > 0) {
        ssize_t put = pwrite(fd, p, len, offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        p += put;
        offset += put;
        len -= (size_t)put;
    }
    return true;
}

enum rc dir_sync(int dirfd, struct err *err)
{
    if (fsync(dirfd) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "fsync of a directory: %s",
                    strerror(errno));
    return RC_OK;
}

enum rc file_write_new(int dirfd, const char *name, mode_t mode, const void *data, size_t len,
                       struct err *err)
{
    char temporary[300];
    int printed = snprintf(temporary, sizeof(temporary), ".%s.%ld.tmp", name, (long)getpid());
    MUST(printed > 0 && (size_t)printed < sizeof(temporary));
    int fd CLEANUP(fd_close) =
        openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "create %s: %s", name, strerror(errno));
    bool ok = pwrite_full(fd, data, len, 0) && fsync(fd) == 0;
    int saved = errno;
    /* RENAME_NOREPLACE: two writers of one name can never both believe they made it. */
    if (ok && renameat2(dirfd, temporary, dirfd, name, RENAME_NOREPLACE) != 0) {
        saved = errno;
        ok = false;
    }
    if (!ok) {
        (void)unlinkat(dirfd, temporary, 0);
        if (saved == EEXIST)
            return FAIL(err, RC_REFUSED_EXISTS, "errno", saved, "%s exists already", name);
        return FAIL(err, RC_HALT_SYSTEM, "errno", saved, "write %s: %s", name, strerror(saved));
    }
    return dir_sync(dirfd, err);
}

enum rc file_replace(int dirfd, const char *name, mode_t mode, const void *data, size_t len,
                     struct err *err)
{
    char temporary[300];
    int printed = snprintf(temporary, sizeof(temporary), ".%s.tmp", name);
    MUST(printed > 0 && (size_t)printed < sizeof(temporary));
    int fd CLEANUP(fd_close) =
        openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    /* Synced before it gets its name, or a power cut could leave the name on an empty file. */
    if (fd < 0 || !pwrite_full(fd, data, len, 0) || fsync(fd) != 0 ||
        renameat2(dirfd, temporary, dirfd, name, 0) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "write %s: %s", name, strerror(errno));
    return dir_sync(dirfd, err);
}

enum rc file_read(int dirfd, const char *name, size_t max, char **data, size_t *len,
                  struct err *err)
{
    *data = NULL;
    *len = 0;
    int fd CLEANUP(fd_close) = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return FAIL(err, errno == ENOENT ? RC_REFUSED_NOT_FOUND : RC_HALT_SYSTEM, "errno", errno,
                    "open %s: %s", name, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "%s is not a regular file", name);
    if ((uint64_t)st.st_size > max)
        return FAIL(err, RC_REFUSED_TOO_LARGE, "", 0, "%s has %lld bytes, at most %zu are allowed",
                    name, (long long)st.st_size, max);
    size_t size = (size_t)st.st_size;
    char *buffer = malloc(size + 1);
    if (buffer == NULL)
        return FAIL(err, RC_HALT_SYSTEM, "errno", ENOMEM, "no memory for %s", name);
    if (!pread_full(fd, buffer, size, 0)) {
        int saved = errno;
        free(buffer);
        return FAIL(err, RC_HALT_SYSTEM, "errno", saved, "read %s: %s", name, strerror(saved));
    }
    buffer[size] = '\0';
    *data = buffer;
    *len = size;
    return RC_OK;
}
