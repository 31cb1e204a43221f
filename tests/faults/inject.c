/*
 * The library that a test loads into tidemarkd (LD_PRELOAD): see inject.h.
 *
 * It stands in front of the C library's functions and goes to the kernel itself. Its own work needs
 * fstat() and getpeername() only, takes no lock and allocates nothing, so it may run in any thread
 * and right behind a fork.
 */
#include "inject.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define PROGRAM "tidemarkd"

static struct inject_page *page; /* NULL: this process is left alone */
static enum inject_role role;

/* Who we are ----------------------------------------------------------------------------------- */

static struct inject_page *map_page(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    void *p = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    return p != MAP_FAILED && ((struct inject_page *)p)->magic == INJECT_MAGIC ? p : NULL;
}

/* The C library hands the words of the command line to constructors too. */
__attribute__((constructor)) static void begin(int argc, char **argv)
{
    const char *path = getenv(INJECT_ENV);
    const char *name = argc > 0 ? strrchr(argv[0], '/') : NULL;
    if (path == NULL || name == NULL || strcmp(name + 1, PROGRAM) != 0)
        return;
    role = argc > 1 && argv[1][0] != '-' ? ROLE_TOOL : ROLE_SUPERVISOR;
    page = map_page(path);
}

/* A child of the supervisor names itself, before it does anything else. */
int prctl(int option, ...)
{
    unsigned long words[4];
    va_list args;
    va_start(args, option);
    for (size_t i = 0; i < 4; i++)
        words[i] = va_arg(args, unsigned long);
    va_end(args);
    if (option == PR_SET_NAME && strcmp((const char *)words[0], PROGRAM "-core") == 0)
        role = ROLE_CORE;
    if (option == PR_SET_NAME && strcmp((const char *)words[0], PROGRAM "-front") == 0)
        role = ROLE_FRONT;
    return (int)syscall(SYS_prctl, option, words[0], words[1], words[2], words[3]);
}

/* What goes wrong now ---------------------------------------------------------------------------
 */

/* Count the call; what is to happen to it. Does not come back from ACT_KILL. */
static enum inject_action take(enum inject_call call)
{
    if (page == NULL || atomic_load(&page->armed) == 0)
        return ACT_NONE;
    unsigned n = atomic_fetch_add(&page->seen[role][call], 1) + 1;
    if (page->role != role || page->call != call || n < page->nth || n - page->nth >= page->times)
        return ACT_NONE;
    (void)atomic_fetch_add(&page->fired, 1);
    if (page->action == ACT_KILL) {
        (void)kill(getpid(), SIGKILL);
        for (;;)
            (void)pause();
    }
    return (enum inject_action)page->action;
}

static bool stands_still(enum inject_action action)
{
    return action == ACT_FAIL || action == ACT_SKIP;
}

/* The result of a call that was not made (done: what a caller expects), or was. */
static ssize_t tell(enum inject_action action, ssize_t done)
{
    if ((action != ACT_FAIL && action != ACT_LOSE) || done < 0)
        return done;
    errno = page->error;
    return -1;
}

static size_t cut(enum inject_action action, size_t len)
{
    return action == ACT_SHORT && len > 1 ? len / 2 : len;
}

static bool is_tpm_address(const struct sockaddr_un *address)
{
    return page != NULL && address->sun_family == AF_UNIX &&
           strncmp(address->sun_path, page->tpm, strlen(page->tpm)) == 0;
}

static bool is_tpm(int fd)
{
    struct sockaddr_un peer = {0};
    socklen_t len = sizeof(peer);
    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && is_tpm_address(&peer);
}

/* The kind of a transfer by what the handle is; CALL_COUNT: of no interest. */
static enum inject_call kind_of(int fd, bool out)
{
    int saved = errno;
    struct stat st;
    enum inject_call call = CALL_COUNT;
    if (page != NULL && fd > STDERR_FILENO && fstat(fd, &st) == 0) {
        if (S_ISREG(st.st_mode) && out)
            call = CALL_WRITE;
        else if (S_ISSOCK(st.st_mode) && is_tpm(fd))
            call = out ? CALL_TPM_SEND : CALL_TPM_RECEIVE;
        else if (S_ISSOCK(st.st_mode))
            call = out ? CALL_SEND : CALL_RECEIVE;
    }
    errno = saved;
    return call;
}

static enum inject_action take_fd(int fd, bool out)
{
    enum inject_call call = kind_of(fd, out);
    return call == CALL_COUNT ? ACT_NONE : take(call);
}

static size_t length_of(const struct iovec *v, int count)
{
    size_t len = 0;
    for (int i = 0; i < count; i++)
        len += v[i].iov_len;
    return len;
}

/* Writing ---------------------------------------------------------------------------------------
 */

ssize_t write(int fd, const void *data, size_t len)
{
    enum inject_action a = take_fd(fd, true);
    return tell(a, stands_still(a) ? (ssize_t)len : syscall(SYS_write, fd, data, cut(a, len)));
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    enum inject_action a = take_fd(fd, true);
    return tell(a,
                stands_still(a) ? (ssize_t)len : syscall(SYS_pwrite64, fd, data, cut(a, len), at));
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    return pwrite(fd, data, len, at);
}

/* Cut short, a vector ends behind its first part, or in the middle of its only one. */
static ssize_t write_parts(int fd, const struct iovec *v, int count, off_t at)
{
    enum inject_action a = take_fd(fd, true);
    struct iovec first = {0};
    if (stands_still(a))
        return tell(a, (ssize_t)length_of(v, count));
    if (a == ACT_SHORT && count > 0) {
        first = (struct iovec){.iov_base = v[0].iov_base,
                               .iov_len = count > 1 ? v[0].iov_len : cut(a, v[0].iov_len)};
        v = &first;
        count = 1;
    }
    return tell(a, at < 0 ? syscall(SYS_writev, fd, v, count)
                          : syscall(SYS_pwritev, fd, v, count, at, 0L));
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
    return write_parts(fd, v, count, -1);
}

ssize_t pwritev(int fd, const struct iovec *v, int count, off_t at)
{
    return write_parts(fd, v, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *v, int count, off64_t at)
{
    return write_parts(fd, v, count, at);
}

int fsync(int fd)
{
    enum inject_action a = take(CALL_SYNC);
    return (int)tell(a, stands_still(a) ? 0 : syscall(SYS_fsync, fd));
}

int fdatasync(int fd)
{
    enum inject_action a = take(CALL_SYNC);
    return (int)tell(a, stands_still(a) ? 0 : syscall(SYS_fdatasync, fd));
}

int ftruncate(int fd, off_t len)
{
    enum inject_action a = take(CALL_TRUNCATE);
    return (int)tell(a, stands_still(a) ? 0 : syscall(SYS_ftruncate, fd, len));
}

int ftruncate64(int fd, off64_t len)
{
    return ftruncate(fd, len);
}

/* Returns an error instead of setting errno. */
int posix_fallocate(int fd, off_t at, off_t len)
{
    int saved = errno;
    enum inject_action a = take(CALL_TRUNCATE);
    int result =
        tell(a, stands_still(a) ? 0 : syscall(SYS_fallocate, fd, 0, at, len)) < 0 ? errno : 0;
    errno = saved;
    return result;
}

int posix_fallocate64(int fd, off64_t at, off64_t len)
{
    return posix_fallocate(fd, at, len);
}

/* Names -----------------------------------------------------------------------------------------
 */

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    enum inject_action a = take(CALL_RENAME);
    return (int)tell(
        a, stands_still(a) ? 0 : syscall(SYS_renameat2, from_dir, from, to_dir, to, flags));
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return renameat2(from_dir, from, to_dir, to, 0);
}

int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int dir, const char *name, int flags)
{
    enum inject_action a = take(CALL_UNLINK);
    return (int)tell(a, stands_still(a) ? 0 : syscall(SYS_unlinkat, dir, name, flags));
}

int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

/* Sockets ---------------------------------------------------------------------------------------
 */

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    const struct sockaddr_un *path = (const struct sockaddr_un *)address;
    enum inject_action a = take(is_tpm_address(path) ? CALL_TPM_CONNECT : CALL_CONNECT);
    return (int)tell(a, stands_still(a) ? 0 : syscall(SYS_connect, fd, address, len));
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    enum inject_action a = take(CALL_ACCEPT);
    long got = stands_still(a) ? 0 : syscall(SYS_accept4, fd, address, len, flags);
    if (a == ACT_LOSE && got >= 0)
        (void)syscall(SYS_close, (int)got);
    return (int)tell(a, got);
}

int accept(int fd, struct sockaddr *address, socklen_t *len)
{
    return accept4(fd, address, len, 0);
}

ssize_t sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to,
               socklen_t to_len)
{
    enum inject_action a = take_fd(fd, true);
    return tell(a, stands_still(a) ? (ssize_t)len
                                   : syscall(SYS_sendto, fd, data, cut(a, len), flags, to, to_len));
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    return sendto(fd, data, len, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    enum inject_action a = take_fd(fd, true);
    return tell(a, stands_still(a) ? (ssize_t)length_of(message->msg_iov, (int)message->msg_iovlen)
                                   : syscall(SYS_sendmsg, fd, message, flags));
}

ssize_t recvfrom(int fd, void *data, size_t len, int flags, struct sockaddr *from,
                 socklen_t *from_len)
{
    enum inject_action a = take_fd(fd, false);
    return tell(a, stands_still(a)
                       ? 0
                       : syscall(SYS_recvfrom, fd, data, cut(a, len), flags, from, from_len));
}

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    return recvfrom(fd, data, len, flags, NULL, NULL);
}

ssize_t __recv_chk(int fd, void *data, size_t len, size_t room, int flags);
ssize_t __recv_chk(int fd, void *data, size_t len, size_t room, int flags)
{
    return len > room ? (abort(), -1) : recv(fd, data, len, flags);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    enum inject_action a = take_fd(fd, false);
    return tell(a, stands_still(a) ? 0 : syscall(SYS_recvmsg, fd, message, flags));
}

ssize_t read(int fd, void *data, size_t len)
{
    enum inject_action a = take_fd(fd, false);
    return tell(a, stands_still(a) ? 0 : syscall(SYS_read, fd, data, cut(a, len)));
}

ssize_t __read_chk(int fd, void *data, size_t len, size_t room);
ssize_t __read_chk(int fd, void *data, size_t len, size_t room)
{
    return len > room ? (abort(), -1) : read(fd, data, len);
}
