#include "cli/save.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"

/* Temporary names of base/file.c put a dot, a number and ".tmp" around the name. */
#define SAVE_NAME_MAX (NAME_MAX - 32)

/* Open the folder of a path; *name becomes the part behind the last slash. */
static enum cli_exit open_folder(const char *path, int *dirfd, const char **name,
                                 struct cli_fault *fault)
{
    *dirfd = -1;
    const char *slash = strrchr(path, '/');
    *name = slash == NULL ? path : slash + 1;
    char folder[PATH_MAX] = ".";
    size_t len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
    if (len >= sizeof(folder) || (*name)[0] == '\0' || strlen(*name) > SAVE_NAME_MAX)
        return FAULT(fault, CLI_USAGE, "give another --out", "%.300s is no usable file name", path);
    if (len > 0) {
        memcpy(folder, path, len);
        folder[len] = '\0';
    }
    *dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*dirfd < 0)
        return FAULT(fault, CLI_USAGE, "make the folder, or give another --out",
                     "cannot write %.300s: %s", path, strerror(errno));
    return CLI_OK;
}

enum cli_exit save_look(const char *path, enum save_found *found, struct cli_fault *fault)
{
    *found = SAVE_FREE;
    int dirfd CLEANUP(fd_close) = -1;
    const char *name = NULL;
    enum cli_exit code = open_folder(path, &dirfd, &name, fault);
    if (code != CLI_OK)
        return code;
    if (faccessat(dirfd, ".", W_OK | X_OK, AT_EACCESS) != 0)
        return FAULT(fault, CLI_USAGE, "give --out in a folder that you may write to",
                     "cannot write %.300s: %s", path, strerror(errno));
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return CLI_OK;
    if (S_ISDIR(st.st_mode))
        return FAULT(fault, CLI_USAGE, "give --out FILE", "cannot write %.300s: it is a folder",
                     path);
    *found = SAVE_TAKEN;
    return CLI_OK;
}

static void free_chars(char **p)
{
    free(*p);
}

static bool holds_already(int dirfd, const char *name, const void *data, size_t len)
{
    struct err err = {0};
    char *there CLEANUP(free_chars) = NULL;
    size_t there_len = 0;
    if (file_read(dirfd, name, len, &there, &there_len, &err) != RC_OK || there_len != len)
        return false;
    return ct_equal(there, data, len);
}

/* With --force: a new file takes the place of the old one in one step. */
static enum rc replace(int dirfd, const char *name, const void *data, size_t len, struct err *err)
{
    char temporary[NAME_MAX + 1];
    (void)snprintf(temporary, sizeof(temporary), "%s.%ld~", name, (long)getpid());
    enum rc rc = file_write_new(dirfd, temporary, 0644, data, len, err);
    if (rc != RC_OK)
        return rc;
    if (renameat(dirfd, temporary, dirfd, name) != 0) {
        int saved = errno;
        (void)unlinkat(dirfd, temporary, 0);
        return FAIL(err, RC_HALT_SYSTEM, "errno", saved, "write %s: %s", name, strerror(saved));
    }
    return dir_sync(dirfd, err);
}

enum cli_exit save_write(const char *path, const void *data, size_t len, bool force, bool *written,
                         struct cli_fault *fault)
{
    if (written != NULL)
        *written = false;
    int dirfd CLEANUP(fd_close) = -1;
    const char *name = NULL;
    enum cli_exit code = open_folder(path, &dirfd, &name, fault);
    if (code != CLI_OK)
        return code;
    if (holds_already(dirfd, name, data, len))
        return CLI_OK;
    struct err err = {0};
    enum rc rc = force ? replace(dirfd, name, data, len, &err)
                       : file_write_new(dirfd, name, 0644, data, len, &err);
    if (rc == RC_REFUSED_EXISTS)
        return FAULT(fault, CLI_USAGE, "give --force to replace it, or --out for another name",
                     "%.300s exists and holds something else", path);
    if (rc != RC_OK)
        return cli_fault_rc(fault, &err, NULL,
                            "check the disk and who may write there, and repeat");
    if (written != NULL)
        *written = true;
    return CLI_OK;
}
