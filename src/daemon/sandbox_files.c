#include "daemon/sandbox_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"

/* The kernel's interface, since the headers of a build may be older than the kernel it meets
 * (linux/landlock.h, landlock(7)). Members that a kernel does not know must be zero. */
struct ruleset {
    uint64_t fs, net, scoped;
};

struct beneath {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));

#define NR_CREATE_RULESET 444 /* the same on all machines */
#define NR_ADD_RULE 445
#define NR_RESTRICT_SELF 446
#define ASK_VERSION 1U
#define RULE_BENEATH 1

#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_REG (UINT64_C(1) << 8)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_IOCTL_DEV (UINT64_C(1) << 15)
#define FS_OF_A_FILE (FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define FS_ABI_1 ((UINT64_C(1) << 13) - 1) /* the first 13, all of which are taken away */
#define NET_ALL UINT64_C(3)                /* bind and connect of TCP */
#define SCOPED_ALL UINT64_C(3)             /* abstract Unix sockets and signals of others */

#define DEVICE_TCTI "device"
#define DEVICE_DEFAULT "/dev/tpmrm0"

static const char *tcti_rest(const char *tcti, const char *name)
{
    size_t len = strlen(name);
    if (strncmp(tcti, name, len) != 0 || (tcti[len] != '\0' && tcti[len] != ':'))
        return NULL;
    return tcti[len] == ':' ? tcti + len + 1 : "";
}

bool sandbox_tcti_network(const char *tcti)
{
    const char *swtpm = tcti_rest(tcti, "swtpm");
    if (swtpm != NULL)
        return strncmp(swtpm, "path=", 5) != 0;
    return tcti_rest(tcti, DEVICE_TCTI) == NULL;
}

/* What this kernel knows of it, and so can take away. */
static struct ruleset everything(int abi, bool network)
{
    struct ruleset r = {.fs = FS_ABI_1};
    for (int bit = 13; bit <= 15; bit++) { /* ABI 2, 3 and 5 */
        static const int since[] = {2, 3, 5};
        if (abi >= since[bit - 13])
            r.fs |= UINT64_C(1) << bit;
    }
    if (abi >= 4 && !network)
        r.net = NET_ALL;
    if (abi >= 6)
        r.scoped = SCOPED_ALL;
    return r;
}

/* Of a file, only the rights that files have may be given. */
static enum rc allow_fd(int rules, const struct ruleset *all, int fd, uint64_t allowed,
                        struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "landlock: %s", strerror(errno));
    struct beneath rule = {.allowed = allowed & all->fs, .fd = fd};
    if (!S_ISDIR(st.st_mode))
        rule.allowed &= FS_OF_A_FILE;
    if (syscall(NR_ADD_RULE, rules, RULE_BENEATH, &rule, 0) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "landlock: a rule is refused: %s",
                    strerror(errno));
    return RC_OK;
}

/* What is not there needs no rule. */
static enum rc allow_path(int rules, const struct ruleset *all, const char *path, uint64_t allowed,
                          struct err *err)
{
    int fd CLEANUP(fd_close) = open(path, O_PATH | O_CLOEXEC);
    return fd < 0 ? RC_OK : allow_fd(rules, all, fd, allowed, err);
}

/* A device that is not there yet may come, and it will be another file than any of now: then all of
 * /dev, of which the user may open little and the unit (DevicePolicy=closed) nothing else. */
static enum rc allow_tpm(int rules, const struct ruleset *all, const char *tcti, struct err *err)
{
    const char *path = tcti_rest(tcti, DEVICE_TCTI);
    if (path == NULL)
        return RC_OK;
    if (path[0] == '\0')
        path = DEVICE_DEFAULT;
    const uint64_t needs = FS_READ_FILE | FS_WRITE_FILE | FS_IOCTL_DEV;
    return allow_path(rules, all, access(path, F_OK) == 0 ? path : "/dev", needs, err);
}

static enum rc allow_folder(int rules, const struct ruleset *all, const char *file, struct err *err)
{
    char path[PATH_MAX];
    const char *slash = strrchr(file, '/');
    size_t len = slash != NULL ? (size_t)(slash - file) + 1 : 0;
    if (len == 0 || len >= sizeof(path))
        return RC_OK;
    memcpy(path, file, len);
    path[len] = '\0';
    return allow_path(rules, all, path, FS_READ_FILE, err);
}

static enum rc allow_files(const struct sandbox *s, int rules, const struct ruleset *all,
                           struct err *err)
{
    enum rc rc = RC_OK;
    for (size_t i = 0; rc == RC_OK && i < SANDBOX_FILES_MAX; i++) {
        char target[PATH_MAX];
        if (s->files[i] == NULL || s->files[i][0] == '\0')
            continue;
        rc = allow_folder(rules, all, s->files[i], err);
        if (rc == RC_OK && realpath(s->files[i], target) != NULL)
            rc = allow_folder(rules, all, target, err);
    }
    return rc;
}

static enum rc allow_all(const struct sandbox *s, int rules, const struct ruleset *all,
                         struct err *err)
{
    /* Read by libraries behind our back: random bytes, the local time zone (even where the time is
     * printed in UTC), the settings of the TPM library's own crypto. */
    static const char *const readable[] = {"/dev/urandom",
                                           "/etc/localtime",
                                           "/etc/ssl/openssl.cnf",
#ifdef TIDEMARK_SANITIZED
                                           "/proc",
                                           "/usr",
                                           "/lib",
#endif
                                           NULL};
    const uint64_t reads = FS_READ_FILE | FS_READ_DIR;
    const uint64_t in_dir = s->role == SANDBOX_CORE
                                ? reads | FS_WRITE_FILE | FS_TRUNCATE | FS_MAKE_REG | FS_REMOVE_FILE
                                : FS_READ_FILE | FS_WRITE_FILE;
    enum rc rc = s->dirfd < 0 ? RC_OK : allow_fd(rules, all, s->dirfd, in_dir, err);
    for (size_t i = 0; rc == RC_OK && readable[i] != NULL; i++)
        rc = allow_path(rules, all, readable[i], reads, err);
    if (rc == RC_OK)
        rc = allow_files(s, rules, all, err);
    if (rc == RC_OK && s->also_read[0] != '\0')
        rc = allow_path(rules, all, s->also_read, reads, err);
    if (rc == RC_OK && s->role == SANDBOX_CORE)
        rc = allow_tpm(rules, all, s->tcti, err);
    return rc;
}

enum rc sandbox_files(const struct sandbox *s, int *abi, struct err *err)
{
    long version = syscall(NR_CREATE_RULESET, NULL, 0, ASK_VERSION);
    *abi = version > 0 ? (int)version : 0;
    if (*abi == 0)
        return RC_OK;
    struct ruleset all = everything(*abi, s->role == SANDBOX_CORE && sandbox_tcti_network(s->tcti));
    int rules CLEANUP(fd_close) = (int)syscall(NR_CREATE_RULESET, &all, sizeof(all), 0);
    if (rules < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "landlock: %s", strerror(errno));
    enum rc rc = allow_all(s, rules, &all, err);
    if (rc != RC_OK)
        return rc;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(NR_RESTRICT_SELF, rules, 0) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "landlock: %s", strerror(errno));
    return RC_OK;
}
