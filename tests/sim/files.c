#include "sim/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rc.h"

#define FIRST_FD (1 << 20)
#define FDS_MAX 128
#define MAPS_MAX 32

/* An open file description. */
struct handle {
    bool used;
    unsigned process;
    struct disk *disk; /* NULL: an artifact in memory */
    int node;
    bool locked; /* an OFD lock or flock on the whole file */
    const uint8_t *data;
    size_t len;
};

/* What fdopendir() gives. */
struct listing {
    int fd;
    size_t at;
    struct dirent entry;
};

static struct handle handles[FDS_MAX];
static struct {
    uint8_t *data;
    size_t len;
} maps[MAPS_MAX];
static struct disk *mounted, *shelf;
static unsigned running;

void files_set_shelf(struct disk *disk)
{
    shelf = disk;
}

void files_mount(struct disk *disk, unsigned process)
{
    mounted = disk;
    running = process;
}

/* Handles -------------------------------------------------------------------------------------- */

static struct handle *handle_of(int fd)
{
    if (fd < FIRST_FD || fd >= FIRST_FD + FDS_MAX)
        return NULL;
    struct handle *h = &handles[fd - FIRST_FD];
    MUST(h->used);
    return h;
}

static int handle_make(struct disk *disk, int node)
{
    for (int i = 0; i < FDS_MAX; i++) {
        if (handles[i].used)
            continue;
        handles[i] = (struct handle){.used = true, .process = running, .disk = disk, .node = node};
        if (disk != NULL)
            disk_hold(disk, node);
        return FIRST_FD + i;
    }
    MUST(false); /* the code under test leaks handles */
}

static void handle_close(struct handle *h)
{
    if (h->disk != NULL)
        disk_release(h->disk, h->node);
    *h = (struct handle){0};
}

int files_root(void)
{
    return handle_make(mounted, DISK_ROOT);
}

int files_artifact(const uint8_t *data, size_t len)
{
    int fd = handle_make(NULL, DISK_NONE);
    handles[fd - FIRST_FD].data = data;
    handles[fd - FIRST_FD].len = len;
    return fd;
}

void files_process_end(unsigned process)
{
    for (int i = 0; i < FDS_MAX; i++)
        if (handles[i].used && handles[i].process == process)
            handle_close(&handles[i]);
}

size_t files_open(unsigned process)
{
    size_t n = 0;
    for (int i = 0; i < FDS_MAX; i++)
        n += handles[i].used && handles[i].process == process;
    return n;
}

/* @return s, or -1 with errno where s is minus an error number. */
static int result(int s)
{
    if (s >= 0)
        return s;
    errno = -s;
    return -1;
}

/* Paths ---------------------------------------------------------------------------------------- */

struct place {
    struct disk *disk;
    int folder;
    char name[DISK_NAME_MAX + 1];
    bool foreign; /* not ours: the real call decides */
};

/* Walk all but the last name of a path. @return 0 or minus an error number. */
static int walk(struct place *p, int dirfd, const char *path)
{
    *p = (struct place){0};
    if (path[0] == '/') {
        p->disk = shelf;
        p->folder = DISK_ROOT;
        path++;
    } else {
        struct handle *h = handle_of(dirfd);
        if (h == NULL) {
            p->foreign = true;
            return 0;
        }
        p->disk = h->disk;
        p->folder = h->node;
    }
    if (disk_is_off(p->disk))
        return -EIO;
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(path, '/')) {
        size_t len = (size_t)(slash - path);
        if (len > DISK_NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(p->name, path, len);
        p->name[len] = '\0';
        p->folder = disk_find(p->disk, p->folder, p->name);
        if (p->folder < 0)
            return p->folder;
        path = slash + 1;
    }
    if (strlen(path) > DISK_NAME_MAX)
        return -ENAMETOOLONG;
    strcpy(p->name, path);
    return 0;
}

static int open_place(const struct place *p, int flags)
{
    /* No name: the folder itself, of a path that ends in a slash. */
    int node = p->name[0] == '\0' ? p->folder : disk_find(p->disk, p->folder, p->name);
    if (node >= 0 && (flags & O_CREAT) != 0 && (flags & O_EXCL) != 0)
        return -EEXIST;
    if (node == -ENOENT && (flags & O_CREAT) != 0)
        node = disk_create(p->disk, p->folder, p->name, false);
    if (node < 0)
        return node;
    if ((flags & O_DIRECTORY) != 0 && !disk_is_folder(p->disk, node))
        return -ENOTDIR;
    if ((flags & O_TRUNC) != 0 && disk_size(p->disk, node) > 0) {
        int s = disk_truncate(p->disk, node, 0);
        if (s != 0)
            return s;
    }
    return handle_make(p->disk, node);
}

/* System calls --------------------------------------------------------------------------------- */

#define WRAP(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

int __real_openat(int dirfd, const char *path, int flags, ...);
int __wrap_openat(int dirfd, const char *path, int flags, ...);
int __wrap_openat(int dirfd, const char *path, int flags, ...)
{
    struct place p;
    int s = walk(&p, dirfd, path);
    if (s == 0 && p.foreign) {
        va_list args;
        va_start(args, flags);
        mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
        va_end(args);
        return __real_openat(dirfd, path, flags, mode);
    }
    return result(s == 0 ? open_place(&p, flags) : s);
}

/* What the C library's checks make of openat() where the flags are no constant. */
int __wrap___openat_2(int dirfd, const char *path, int flags);
int __wrap___openat_2(int dirfd, const char *path, int flags)
{
    return __wrap_openat(dirfd, path, flags);
}

int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    struct place p;
    int s = walk(&p, -1, path);
    return result(s == 0 ? open_place(&p, flags) : s);
}

WRAP(int, close, int fd)
{
    struct handle *h = handle_of(fd);
    if (h == NULL)
        return __real_close(fd);
    handle_close(h);
    return 0;
}

WRAP(ssize_t, pread, int fd, void *out, size_t len, off_t at)
{
    struct handle *h = handle_of(fd);
    if (h == NULL)
        return __real_pread(fd, out, len, at);
    if (h->disk == NULL) {
        size_t there = (size_t)at >= h->len ? 0 : h->len - (size_t)at;
        size_t n = there < len ? there : len;
        memcpy(out, h->data + at, n);
        return (ssize_t)n;
    }
    int64_t got = disk_read(h->disk, h->node, out, len, (size_t)at);
    return got >= 0 ? (ssize_t)got : result((int)got);
}

WRAP(ssize_t, pwrite, int fd, const void *data, size_t len, off_t at)
{
    struct handle *h = handle_of(fd);
    if (h == NULL)
        return __real_pwrite(fd, data, len, at);
    int s = disk_write(h->disk, h->node, data, len, (size_t)at);
    return s == 0 ? (ssize_t)len : result(s);
}

WRAP(int, fsync, int fd)
{
    struct handle *h = handle_of(fd);
    return h == NULL ? __real_fsync(fd) : result(disk_sync(h->disk, h->node));
}

WRAP(int, fdatasync, int fd)
{
    struct handle *h = handle_of(fd);
    return h == NULL ? __real_fdatasync(fd) : result(disk_sync(h->disk, h->node));
}

WRAP(int, ftruncate, int fd, off_t len)
{
    struct handle *h = handle_of(fd);
    if (h == NULL)
        return __real_ftruncate(fd, len);
    if (disk_size(h->disk, h->node) == (size_t)len)
        return 0;
    return result(disk_truncate(h->disk, h->node, (size_t)len));
}

WRAP(int, posix_fallocate, int fd, off_t at, off_t len)
{
    struct handle *h = handle_of(fd);
    if (h == NULL)
        return __real_posix_fallocate(fd, at, len);
    if (disk_size(h->disk, h->node) >= (size_t)(at + len))
        return 0;
    return -disk_truncate(h->disk, h->node, (size_t)(at + len));
}

static int fill_stat(struct stat *st, const struct disk *disk, int node)
{
    memset(st, 0, sizeof(*st));
    if (disk != NULL && disk_is_off(disk))
        return -EIO;
    bool folder = disk != NULL && disk_is_folder(disk, node);
    st->st_mode = folder ? S_IFDIR | 0700 : S_IFREG | 0600;
    st->st_ino = (ino_t)(node + 1);
    st->st_size = disk != NULL && !folder ? (off_t)disk_size(disk, node) : 0;
    return 0;
}

WRAP(int, fstat, int fd, struct stat *st)
{
    struct handle *h = handle_of(fd);
    if (h == NULL)
        return __real_fstat(fd, st);
    int s = fill_stat(st, h->disk, h->node);
    if (h->disk == NULL)
        st->st_size = (off_t)h->len;
    return result(s);
}

WRAP(int, fstatat, int dirfd, const char *path, struct stat *st, int flags)
{
    struct place p;
    int s = walk(&p, dirfd, path);
    if (s == 0 && p.foreign)
        return __real_fstatat(dirfd, path, st, flags);
    int node = s == 0 ? disk_find(p.disk, p.folder, p.name) : s;
    return result(node >= 0 ? fill_stat(st, p.disk, node) : node);
}

WRAP(int, faccessat, int dirfd, const char *path, int mode, int flags)
{
    struct place p;
    int s = walk(&p, dirfd, path);
    if (s == 0 && p.foreign)
        return __real_faccessat(dirfd, path, mode, flags);
    int node = s == 0 ? disk_find(p.disk, p.folder, p.name) : s;
    return result(node >= 0 ? 0 : node);
}

WRAP(int, mkdirat, int dirfd, const char *path, mode_t mode)
{
    struct place p;
    int s = walk(&p, dirfd, path);
    if (s == 0 && p.foreign)
        return __real_mkdirat(dirfd, path, mode);
    if (s == 0)
        s = disk_create(p.disk, p.folder, p.name, true);
    return result(s < 0 ? s : 0);
}

WRAP(int, unlinkat, int dirfd, const char *path, int flags)
{
    struct place p;
    int s = walk(&p, dirfd, path);
    if (s == 0 && p.foreign)
        return __real_unlinkat(dirfd, path, flags);
    return result(s == 0 ? disk_remove(p.disk, p.folder, p.name) : s);
}

int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
    return __wrap_unlinkat(-1, path, 0);
}

WRAP(int, renameat2, int olddir, const char *from, int newdir, const char *to, unsigned flags)
{
    struct place a;
    struct place b;
    int s = walk(&a, olddir, from);
    if (s == 0 && a.foreign)
        return __real_renameat2(olddir, from, newdir, to, flags);
    if (s == 0)
        s = walk(&b, newdir, to);
    if (s == 0)
        s = disk_rename(a.disk, a.folder, a.name, b.folder, b.name,
                        (flags & RENAME_NOREPLACE) == 0);
    return result(s);
}

/* Maps are copies: node files are not written while they are mapped. */
WRAP(void *, mmap, void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    struct handle *h = handle_of(fd);
    if (h == NULL)
        return __real_mmap(at, len, protection, flags, fd, offset);
    for (int i = 0; i < MAPS_MAX; i++) {
        if (maps[i].data != NULL)
            continue;
        maps[i].data = malloc(len);
        maps[i].len = len;
        MUST(maps[i].data != NULL);
        int64_t got = disk_read(h->disk, h->node, maps[i].data, len, (size_t)offset);
        if (got == (int64_t)len)
            return maps[i].data;
        free(maps[i].data);
        maps[i].data = NULL;
        errno = EIO;
        return MAP_FAILED;
    }
    MUST(false); /* the code under test leaks maps */
}

WRAP(int, munmap, void *at, size_t len)
{
    for (int i = 0; i < MAPS_MAX; i++) {
        if (maps[i].data != at)
            continue;
        free(maps[i].data);
        maps[i].data = NULL;
        return 0;
    }
    return __real_munmap(at, len);
}

/* Locks ---------------------------------------------------------------------------------------- */

/* One description holds the lock of a file; closing it lets go. */
static int lock(struct handle *h)
{
    for (int i = 0; i < FDS_MAX; i++)
        if (handles[i].used && handles[i].locked && &handles[i] != h &&
            handles[i].disk == h->disk && handles[i].node == h->node)
            return -EAGAIN;
    h->locked = true;
    return 0;
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    struct handle *h = handle_of(fd);
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    if (h == NULL)
        return __real_fcntl(fd, command, argument);
    MUST(command == F_OFD_SETLK);
    return result(lock(h));
}

WRAP(int, flock, int fd, int operation)
{
    struct handle *h = handle_of(fd);
    return h == NULL ? __real_flock(fd, operation) : result(lock(h));
}

/* Folders -------------------------------------------------------------------------------------- */

WRAP(DIR *, fdopendir, int fd)
{
    if (handle_of(fd) == NULL)
        return __real_fdopendir(fd);
    struct listing *l = calloc(1, sizeof(*l));
    MUST(l != NULL);
    l->fd = fd;
    return (DIR *)l;
}

struct dirent *__wrap_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir)
{
    struct listing *l = (struct listing *)dir;
    const struct handle *h = handle_of(l->fd);
    MUST(h != NULL);
    const char *name = disk_is_off(h->disk) ? NULL : disk_name_at(h->disk, h->node, l->at);
    if (name == NULL)
        return NULL;
    (void)snprintf(l->entry.d_name, sizeof(l->entry.d_name), "%s", name);
    l->at++;
    return &l->entry;
}

int __wrap_closedir(DIR *dir);
int __wrap_closedir(DIR *dir)
{
    struct listing *l = (struct listing *)dir;
    int s = __wrap_close(l->fd);
    free(l);
    return s;
}
