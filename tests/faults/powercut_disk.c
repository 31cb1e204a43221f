/*
 * powercut_disk MOUNTPOINT MIB: a disk whose power can be cut, as a FUSE file system of two files.
 *
 * "disk" is the disk, to be put under a loop device. A write is volatile until a flush (fsync of
 * the file) arrives; at the cut each volatile write is kept, dropped, or torn at sectors of 512
 * bytes, and from then on every request is answered EIO until the power is on again. "control"
 * takes one command in each write and tells in each read what has happened:
 *
 *   arm N SEED HOLD  cut at the N-th write or flush from now on, this one not answered any more.
 *                    HOLD 1: no request is answered at all until "release" comes, so that whoever
 *                    waits for one can be killed without having seen that the power has gone.
 *   cut SEED         the same at once.
 *   release          answer what is held, with EIO.
 *   on               power on: what a disk holds then is what was kept. Not before every request is
 *                    answered and the loop device is gone.
 *   lie 0|1          1: flushes are answered and nothing is flushed. A disk that lies, to see that
 *                    the tests notice.
 *
 * Runs in the foreground until it is unmounted or killed.
 */
#define FUSE_USE_VERSION 312
#include <fuse.h>

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512
#define DISK "/disk"
#define CONTROL "/control"
#define MIB_MAX 4096
#define THREADS_MAX 8 /* more than the loop device ever asks at once */
#define STATUS_MAX 512

struct volatile_write {
    struct volatile_write *next;
    off_t at;
    size_t len;
    uint8_t data[];
};

enum power { POWER_ON, POWER_HELD, POWER_OFF };
static const char *const power_names[] = {"on", "held", "off"};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t released;
    size_t size;
    uint8_t *seen;   /* as requests see it */
    uint8_t *stable; /* as it would be after a cut, but for the list */
    struct volatile_write *first, **last;
    enum power power;
    uint64_t left; /* requests until the cut; 0: not armed */
    uint64_t random;
    bool hold, lie;
    uint64_t writes, flushes, cuts, waiting, kept, dropped, torn;
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .released = PTHREAD_COND_INITIALIZER};

/* xorshift64*: the same seed, the same fate of each write. */
static uint64_t rnd(void)
{
    disk.random ^= disk.random >> 12;
    disk.random ^= disk.random << 25;
    disk.random ^= disk.random >> 27;
    return disk.random * UINT64_C(2685821657736338717) >> 3;
}

/* Cutting -------------------------------------------------------------------------------------- */

static void settle(const struct volatile_write *w)
{
    memcpy(disk.stable + w->at, w->data, w->len);
}

static void tear(const struct volatile_write *w)
{
    for (size_t i = 0; i < w->len; i += SECTOR) {
        size_t len = w->len - i < SECTOR ? w->len - i : SECTOR;
        if (rnd() % 2 == 0)
            memcpy(disk.stable + w->at + i, w->data + i, len);
    }
}

/* One cut in three keeps all and one drops all, as far as one fate can be for all; the rest mixes,
 * which is what breaks a sequence of writes that rely on their order. */
static void cut(void)
{
    uint64_t mood = rnd() % 6;
    for (struct volatile_write *w = disk.first, *next = NULL; w != NULL; w = next) {
        uint64_t fate = mood < 2 ? mood : rnd() % 3;
        next = w->next;
        disk.kept += fate == 0 ? 1 : 0;
        disk.dropped += fate == 1 ? 1 : 0;
        disk.torn += fate == 2 ? 1 : 0;
        if (fate == 0)
            settle(w);
        else if (fate == 2)
            tear(w);
        free(w);
    }
    disk.first = NULL;
    disk.last = &disk.first;
    disk.left = 0;
    disk.cuts++;
    disk.power = disk.hold ? POWER_HELD : POWER_OFF;
    memcpy(disk.seen, disk.stable, disk.size);
}

/* Is there power for this request? Counts down to the cut. Called with the lock, which is given
 * away while a request is held. */
static bool has_power(void)
{
    if (disk.power == POWER_ON && disk.left > 0 && --disk.left == 0)
        cut();
    disk.waiting++;
    while (disk.power == POWER_HELD)
        (void)pthread_cond_wait(&disk.released, &disk.lock);
    disk.waiting--;
    return disk.power == POWER_ON;
}

/* Disk ----------------------------------------------------------------------------------------- */

static int disk_read(char *data, size_t len, off_t at)
{
    if (at < 0 || (size_t)at >= disk.size)
        return 0;
    if (len > disk.size - (size_t)at)
        len = disk.size - (size_t)at;
    (void)pthread_mutex_lock(&disk.lock);
    while (disk.power == POWER_HELD)
        (void)pthread_cond_wait(&disk.released, &disk.lock);
    bool on = disk.power == POWER_ON;
    if (on)
        memcpy(data, disk.seen + at, len);
    (void)pthread_mutex_unlock(&disk.lock);
    return on ? (int)len : -EIO;
}

static int disk_write(const char *data, size_t len, off_t at)
{
    if (at < 0 || (size_t)at > disk.size || len > disk.size - (size_t)at)
        return -ENOSPC;
    struct volatile_write *w = malloc(sizeof(*w) + len);
    if (w == NULL)
        return -ENOMEM;
    *w = (struct volatile_write){.at = at, .len = len};
    memcpy(w->data, data, len);
    (void)pthread_mutex_lock(&disk.lock);
    /* A write that the cut meets may have reached the disk, so it is volatile before it is cut. */
    if (disk.power == POWER_ON) {
        *disk.last = w;
        disk.last = &w->next;
        memcpy(disk.seen + at, data, len);
        disk.writes++;
    } else {
        free(w);
    }
    bool on = has_power();
    (void)pthread_mutex_unlock(&disk.lock);
    return on ? (int)len : -EIO;
}

static int disk_flush(void)
{
    (void)pthread_mutex_lock(&disk.lock);
    bool on = has_power();
    disk.flushes += on ? 1 : 0;
    for (struct volatile_write *w = on && !disk.lie ? disk.first : NULL, *next = NULL; w != NULL;
         w = next) {
        next = w->next;
        settle(w);
        free(w);
    }
    if (on && !disk.lie) {
        disk.first = NULL;
        disk.last = &disk.first;
    }
    (void)pthread_mutex_unlock(&disk.lock);
    return on ? 0 : -EIO;
}

/* Control -------------------------------------------------------------------------------------- */

static int status(char *out)
{
    (void)pthread_mutex_lock(&disk.lock);
    int len =
        snprintf(out, STATUS_MAX,
                 "power=%s writes=%" PRIu64 " flushes=%" PRIu64 " cuts=%" PRIu64 " waiting=%" PRIu64
                 " kept=%" PRIu64 " dropped=%" PRIu64 " torn=%" PRIu64 "\n",
                 power_names[disk.power], disk.writes, disk.flushes, disk.cuts, disk.waiting,
                 disk.kept, disk.dropped, disk.torn);
    (void)pthread_mutex_unlock(&disk.lock);
    return len;
}

static int set_seed(uint64_t seed)
{
    disk.random = seed * 2 + 1;
    return 0;
}

static int obey(const char *line)
{
    uint64_t n = 0;
    uint64_t seed = 0;
    unsigned flag = 0;
    if (sscanf(line, "arm %" SCNu64 " %" SCNu64 " %u", &n, &seed, &flag) == 3 &&
        disk.power == POWER_ON && n > 0) {
        disk.left = n;
        disk.hold = flag != 0;
        return set_seed(seed);
    }
    if (sscanf(line, "cut %" SCNu64, &seed) == 1) {
        (void)set_seed(seed);
        disk.hold = false;
        if (disk.power == POWER_ON)
            cut();
        return 0;
    }
    if (strcmp(line, "release") == 0 && disk.power == POWER_HELD) {
        disk.power = POWER_OFF;
        (void)pthread_cond_broadcast(&disk.released);
        return 0;
    }
    if (strcmp(line, "on") == 0 && disk.power == POWER_OFF && disk.waiting == 0) {
        disk.power = POWER_ON;
        return 0;
    }
    if (sscanf(line, "lie %u", &flag) == 1) {
        disk.lie = flag != 0;
        return 0;
    }
    return -EINVAL;
}

static int command(const char *data, size_t len)
{
    char line[128];
    if (len >= sizeof(line))
        return -EINVAL;
    memcpy(line, data, len);
    line[len] = '\0';
    line[strcspn(line, "\n")] = '\0';
    (void)pthread_mutex_lock(&disk.lock);
    int result = obey(line);
    (void)pthread_mutex_unlock(&disk.lock);
    return result == 0 ? (int)len : result;
}

/* FUSE ----------------------------------------------------------------------------------------- */

static void *on_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    (void)connection;
    /* No cache of the kernel's between the loop device and us. */
    config->direct_io = 1;
    config->kernel_cache = 0;
    return NULL;
}

static int on_getattr(const char *path, struct stat *st, struct fuse_file_info *file)
{
    (void)file;
    *st = (struct stat){.st_nlink = 1, .st_mode = S_IFREG | 0600};
    if (strcmp(path, "/") == 0)
        *st = (struct stat){.st_nlink = 2, .st_mode = S_IFDIR | 0700};
    else if (strcmp(path, DISK) == 0)
        st->st_size = (off_t)disk.size;
    else if (strcmp(path, CONTROL) != 0)
        return -ENOENT;
    return 0;
}

static int on_readdir(const char *path, void *list, fuse_fill_dir_t add, off_t at,
                      struct fuse_file_info *file, enum fuse_readdir_flags flags)
{
    (void)path;
    (void)at;
    (void)file;
    (void)flags;
    (void)add(list, &DISK[1], NULL, 0, 0);
    (void)add(list, &CONTROL[1], NULL, 0, 0);
    return 0;
}

static int on_read(const char *path, char *data, size_t len, off_t at, struct fuse_file_info *file)
{
    (void)file;
    char text[STATUS_MAX];
    if (strcmp(path, DISK) == 0)
        return disk_read(data, len, at);
    size_t total = (size_t)status(text);
    if (at < 0 || (size_t)at >= total)
        return 0;
    size_t n = total - (size_t)at < len ? total - (size_t)at : len;
    memcpy(data, text + at, n);
    return (int)n;
}

static int on_write(const char *path, const char *data, size_t len, off_t at,
                    struct fuse_file_info *file)
{
    (void)file;
    return strcmp(path, DISK) == 0 ? disk_write(data, len, at) : command(data, len);
}

static int on_fsync(const char *path, int data_only, struct fuse_file_info *file)
{
    (void)data_only;
    (void)file;
    return strcmp(path, DISK) == 0 ? disk_flush() : 0;
}

/* What a shell's > does with the control file. */
static int on_truncate(const char *path, off_t len, struct fuse_file_info *file)
{
    (void)len;
    (void)file;
    return strcmp(path, CONTROL) == 0 ? 0 : -EPERM;
}

static const struct fuse_operations operations = {
    .init = on_init,
    .getattr = on_getattr,
    .readdir = on_readdir,
    .read = on_read,
    .write = on_write,
    .fsync = on_fsync,
    .truncate = on_truncate,
};

static uint8_t *make_store(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Not fuse_main(), which wants to be a daemon and to be told of signals: whoever kills us means it.
 *
 * In a mount namespace of its own: if it ended as the last one in the test's, the kernel would
 * unmount the disk there, and ask the process that is just ending to sync it, for ever. */
static int serve(const char *mount_point)
{
    char *words[] = {"powercut_disk", "-o", "fsname=powercut", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, words);
    struct fuse *fuse = fuse_new(&args, &operations, sizeof(operations), NULL);
    struct fuse_loop_config *loop = fuse_loop_cfg_create();
    if (fuse == NULL || loop == NULL || fuse_mount(fuse, mount_point) != 0 ||
        unshare(CLONE_NEWNS) != 0)
        return 1;
    fuse_loop_cfg_set_max_threads(loop, THREADS_MAX);
    int result = fuse_loop_mt(fuse, loop);
    fuse_loop_cfg_destroy(loop);
    fuse_unmount(fuse);
    fuse_destroy(fuse);
    return result == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    unsigned mib = 0;
    if (argc != 3 || sscanf(argv[2], "%u", &mib) != 1 || mib < 1 || mib > MIB_MAX) {
        (void)fprintf(stderr, "usage: powercut_disk MOUNTPOINT MIB\n");
        return 2;
    }
    disk.last = &disk.first;
    disk.size = (size_t)mib << 20;
    disk.seen = make_store(disk.size);
    disk.stable = make_store(disk.size);
    if (disk.seen == NULL || disk.stable == NULL) {
        perror("powercut_disk");
        return 1;
    }
    return serve(argv[1]);
}
