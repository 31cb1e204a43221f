#include "daemon/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/sandbox_files.h"

#define TRY_HOLDS 0x40 /* exit status of sandbox_try()'s process; with the ABI in the low bits */
#define TRY_ABI 0x3f

/* Names instead of numbers: which of them a machine has differs, and what it has not is passed
 * over. */
static const char *const both[] = {
    /* memory */
    "brk", "madvise", "mremap", "munmap", "membarrier",
    /* threads */
    "exit", "exit_group", "futex", "futex_time64", "getpid", "getppid", "gettid", "restart_syscall",
    "rseq", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sched_getaffinity", "sched_yield",
    "set_robust_list", "sigaltstack", "set_tid_address",
    /* time, randomness, who am I */
    "clock_getres", "clock_gettime", "clock_gettime64", "clock_nanosleep", "getegid", "geteuid",
    "getgid", "getrandom", "getrusage", "gettimeofday", "getuid", "nanosleep", "sysinfo", "time",
    "timerfd_create", "timerfd_settime", "uname",
    /* handles that there are */
    "close", "dup", "eventfd2", "fcntl", "fcntl64", "fstat", "fstat64", "ftruncate", "lseek",
    "memfd_create", "poll", "ppoll", "pread64", "pwrite64", "read", "readv", "recvfrom", "recvmsg",
    "send", "recv", "sendmsg", "sendto", "write", "writev", "pwritev", "preadv", "fallocate",
    "fstatfs", "fstatfs64",
    /* names: Landlock says which */
    "access", "faccessat", "faccessat2", "newfstatat", "fstatat64", "lstat", "open", "openat",
    "stat", "statx", "readlink", "readlinkat",
#ifdef TIDEMARK_SANITIZED
    "pipe", "pipe2", "getrlimit", "get_mempolicy", "sched_setaffinity",
#endif
    NULL};

static const char *const of_front[] = {
    "accept",     "accept4",     "epoll_create1", "epoll_ctl",       "epoll_pwait",
    "epoll_wait", "getpeername", "getsockname",   "getsockopt",      "sendfile",
    "sendfile64", "setsockopt",  "shutdown",      "sync_file_range", NULL};

static const char *const of_core[] = {
    "adjtimex",    "clock_adjtime",   "chmod",      "connect",
    "fchmod",      "fchmodat",        "fchown",     "fdatasync",
    "flock",       "fsync",           "getcwd",     "getdents64",
    "getpeername", "getsockname",     "getsockopt", "mincore",
    "mlock",       "mlock2",          "msync",      "munlock",
    "rename",      "renameat",        "renameat2",  "setsockopt",
    "shutdown",    "sync_file_range", "fadvise64",  "fadvise64_64",
    "unlink",      "unlinkat",        "utimensat",  NULL};

struct calls {
    scmp_filter_ctx filter;
    int failed; /* the first negative errno of the library */
};

static void rule(struct calls *c, uint32_t action, const char *name, unsigned count,
                 const struct scmp_arg_cmp *args)
{
    int number = seccomp_syscall_resolve_name(name);
    if (number < 0 || c->failed != 0)
        return;
    c->failed = seccomp_rule_add_array(c->filter, action, number, count, args);
}

static void allow(struct calls *c, const char *name)
{
    rule(c, SCMP_ACT_ALLOW, name, 0, NULL);
}

static void allow_list(struct calls *c, const char *const *names)
{
    for (size_t i = 0; names[i] != NULL; i++)
        allow(c, names[i]);
}

/* Calls that are right or wrong by what they are asked. */
static void by_argument(struct calls *c)
{
    const struct scmp_arg_cmp plain = {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
    const struct scmp_arg_cmp code = {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC};
    const struct scmp_arg_cmp thread = {0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD};
    const struct scmp_arg_cmp myself = {0, SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0};
    const struct scmp_arg_cmp name = {0, SCMP_CMP_EQ, PR_SET_NAME, 0};
    const struct scmp_arg_cmp not_name = {0, SCMP_CMP_NE, PR_SET_NAME, 0};
    const struct scmp_arg_cmp reads = {2, SCMP_CMP_EQ, 0, 0};
    const struct scmp_arg_cmp changes = {2, SCMP_CMP_NE, 0, 0};
    static const char *const maps[] = {"mmap", "mmap2", "mprotect"};
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        rule(c, SCMP_ACT_ALLOW, maps[i], 1, &plain);
        /* A library that would like to load another one goes on without it. */
        rule(c, SCMP_ACT_ERRNO(EACCES), maps[i], 1, &code);
    }
    rule(c, SCMP_ACT_ALLOW, "clone", 1, &thread);
    /* Its flags lie in memory, where no filter sees them; the C library falls back to clone. */
    rule(c, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
#ifdef TIDEMARK_SANITIZED
    const struct scmp_arg_cmp process = {0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0};
    rule(c, SCMP_ACT_ERRNO(EPERM), "clone", 1, &process); /* a report without names of functions */
#endif
    rule(c, SCMP_ACT_ERRNO(ENOTTY), "ioctl", 0, NULL); /* is this a terminal? */
    rule(c, SCMP_ACT_ALLOW, "kill", 1, &myself); /* abort(), and what ends a core that hangs */
    rule(c, SCMP_ACT_ALLOW, "tgkill", 1, &myself);
    rule(c, SCMP_ACT_ALLOW, "prctl", 1, &name);
    rule(c, SCMP_ACT_ERRNO(EPERM), "prctl", 1, &not_name);
    rule(c, SCMP_ACT_ALLOW, "prlimit64", 1, &reads);
    rule(c, SCMP_ACT_ERRNO(EPERM), "prlimit64", 1, &changes);
}

static void of_role(struct calls *c, const struct sandbox *s)
{
    const struct scmp_arg_cmp unix_ = {0, SCMP_CMP_EQ, AF_UNIX, 0};
    const struct scmp_arg_cmp v4 = {0, SCMP_CMP_EQ, AF_INET, 0};
    const struct scmp_arg_cmp v6 = {0, SCMP_CMP_EQ, AF_INET6, 0};
    allow_list(c, s->role == SANDBOX_FRONT ? of_front : of_core);
    if (s->role != SANDBOX_CORE)
        return;
    rule(c, SCMP_ACT_ALLOW, "socket", 1, &unix_);
    if (!sandbox_tcti_network(s->tcti))
        return;
    rule(c, SCMP_ACT_ALLOW, "socket", 1, &v4);
    rule(c, SCMP_ACT_ALLOW, "socket", 1, &v6);
}

static enum rc sandbox_calls(const struct sandbox *s, struct err *err)
{
    struct calls c = {.filter = seccomp_init(SCMP_ACT_KILL_PROCESS)};
    if (c.filter == NULL)
        return FAIL(err, RC_HALT_SYSTEM, "seccomp", ENOMEM, "the list of calls cannot be made");
    allow_list(&c, both);
    by_argument(&c);
    of_role(&c, s);
    /* A tree instead of a chain of comparisons: every call of the process passes through it. */
    if (c.failed == 0)
        c.failed = seccomp_attr_set(c.filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (c.failed == 0)
        c.failed = seccomp_load(c.filter);
    seccomp_release(c.filter);
    if (c.failed != 0)
        return FAIL(err, RC_HALT_SYSTEM, "seccomp", -c.failed,
                    "the list of calls is refused: %s (sandbox.mode)", strerror(-c.failed));
    return RC_OK;
}

enum rc sandbox_enter(const struct sandbox *s, int *landlock_abi, struct err *err)
{
    /* Files first: the calls that set them up are not on the list. */
    enum rc rc = sandbox_files(s, landlock_abi, err);
    return rc == RC_OK ? sandbox_calls(s, err) : rc;
}

/* Trying it out ------------------------------------------------------------------------------- */

static _Noreturn void try_here(const struct sandbox *s)
{
    int abi = 0;
    struct err err = {0};
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (sandbox_enter(s, &abi, &err) != RC_OK)
        _exit(1);
    /* A file that everybody may read must not open, nor may there be a call that it does not make;
     * one of the latter would end the process. */
    int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    if (abi > 0 && fd >= 0)
        _exit(2);
    if (prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != -1 || errno != EPERM)
        _exit(3);
    _exit(TRY_HOLDS | (abi > TRY_ABI ? TRY_ABI : abi));
}

bool sandbox_try(const struct sandbox *s, int *landlock_abi)
{
    int status = 0;
    *landlock_abi = 0;
    pid_t pid = fork();
    if (pid == 0)
        try_here(s);
    if (pid < 0)
        return false;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    if (!WIFEXITED(status) || (WEXITSTATUS(status) & TRY_HOLDS) == 0)
        return false;
    *landlock_abi = WEXITSTATUS(status) & TRY_ABI;
    return true;
}
