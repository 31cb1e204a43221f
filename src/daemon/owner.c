#include "daemon/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/secmem.h"
#include "tpm/device.h"

#define ROOM (TPM_OWNER_AUTH_MAX + 2) /* a newline, and one byte that shows what is too long */

/* systemd gives credentials to a service by an access list, whose mask shows as the group's bits;
 * they lie in a directory that nobody else can enter. */
static bool private_enough(const struct stat *s, bool credential)
{
    mode_t others = credential ? 0037 : 0077;
    return (s->st_mode & others) == 0 && (s->st_uid == 0 || s->st_uid == geteuid());
}

static enum rc check_file(int fd, const char *path, bool credential, struct err *err)
{
    struct stat s;
    if (fstat(fd, &s) != 0)
        return FAIL(err, RC_REFUSED_CONFIG, "errno", errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(s.st_mode))
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "%s: the authorisation must be a regular file",
                    path);
    if (!private_enough(&s, credential))
        return FAIL(err, RC_REFUSED_CONFIG, "", s.st_mode,
                    "%s: the authorisation must be ours or root's alone: chmod 400", path);
    return RC_OK;
}

/* @return how many bytes there are, at most ROOM; -1 with errno. */
static ssize_t read_all(int fd, uint8_t *to)
{
    size_t got = 0;
    while (got < ROOM) {
        ssize_t n = read(fd, to + got, ROOM - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

static enum rc take(int fd, const char *path, uint8_t *to, size_t *len, struct err *err)
{
    ssize_t got = read_all(fd, to);
    if (got < 0)
        return FAIL(err, RC_REFUSED_CONFIG, "errno", errno, "%s: %s", path, strerror(errno));
    if (got > 0 && to[got - 1] == '\n')
        got--;
    if (got == 0 || got > TPM_OWNER_AUTH_MAX)
        return FAIL(err, RC_REFUSED_CONFIG, "", got,
                    "%s: the authorisation must have 1 to %d bytes", path, TPM_OWNER_AUTH_MAX);
    *len = (size_t)got;
    return RC_OK;
}

static enum rc read_from(const char *path, bool credential, uint8_t **auth, size_t *len,
                         struct err *err)
{
    int fd CLEANUP(fd_close) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && credential && errno == ENOENT)
        return RC_OK;
    if (fd < 0)
        return FAIL(err, RC_REFUSED_CONFIG, "errno", errno, "%s: %s", path, strerror(errno));
    enum rc rc = check_file(fd, path, credential, err);
    if (rc != RC_OK)
        return rc;
    uint8_t *room = secmem_alloc(ROOM);
    if (room == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory");
    rc = take(fd, path, room, len, err);
    if (rc == RC_OK)
        *auth = room;
    else
        secmem_free(room);
    return rc;
}

static enum rc read_either(const char *file, const char *credential, uint8_t **auth, size_t *len,
                           struct err *err)
{
    *auth = NULL;
    *len = 0;
    if (file[0] != '\0')
        return read_from(file, false, auth, len, err);
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    if (directory == NULL || directory[0] != '/')
        return RC_OK;
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/%s", directory, credential);
    if (n < 0 || (size_t)n >= sizeof(path))
        return FAIL(err, RC_REFUSED_CONFIG, "", n, "CREDENTIALS_DIRECTORY is too long");
    return read_from(path, true, auth, len, err);
}

enum rc owner_auth_read(const char *file, uint8_t **auth, size_t *len, struct err *err)
{
    return read_either(file, OWNER_CREDENTIAL, auth, len, err);
}

enum rc endorsement_auth_read(const char *file, uint8_t **auth, size_t *len, struct err *err)
{
    return read_either(file, ENDORSEMENT_CREDENTIAL, auth, len, err);
}
