#include "sim/vfs.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rc.h"

struct vfs {
    sqlite3_vfs base;
    struct disk *disk;
    struct chance chance;
};

struct open_file {
    sqlite3_file base;
    struct vfs *vfs;
    int node;
    bool folder_sync_due; /* a journal: its first sync syncs the folder too */
};

/* An error number of the disk as SQLite wants it. */
static int code(int s, int io)
{
    return s == 0 ? SQLITE_OK : s == -ENOSPC ? SQLITE_FULL : io;
}

static const char *base_name(const char *path)
{
    MUST(path != NULL && path[0] == '/');
    return path + 1;
}

/* Files ---------------------------------------------------------------------------------------- */

static int file_close(sqlite3_file *file)
{
    struct open_file *f = (struct open_file *)file;
    disk_release(f->vfs->disk, f->node);
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *out, int amount, sqlite3_int64 at)
{
    struct open_file *f = (struct open_file *)file;
    int64_t got = disk_read(f->vfs->disk, f->node, out, (size_t)amount, (size_t)at);
    if (got < 0)
        return SQLITE_IOERR_READ;
    if (got == amount)
        return SQLITE_OK;
    memset((uint8_t *)out + got, 0, (size_t)(amount - got));
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *file, const void *data, int amount, sqlite3_int64 at)
{
    struct open_file *f = (struct open_file *)file;
    return code(disk_write(f->vfs->disk, f->node, data, (size_t)amount, (size_t)at),
                SQLITE_IOERR_WRITE);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct open_file *f = (struct open_file *)file;
    return code(disk_truncate(f->vfs->disk, f->node, (size_t)size), SQLITE_IOERR_TRUNCATE);
}

static int file_sync(sqlite3_file *file, int flags)
{
    struct open_file *f = (struct open_file *)file;
    (void)flags;
    int s = disk_sync(f->vfs->disk, f->node);
    if (s == 0 && f->folder_sync_due)
        s = disk_sync(f->vfs->disk, DISK_ROOT);
    if (s == 0)
        f->folder_sync_due = false;
    return code(s, SQLITE_IOERR_FSYNC);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct open_file *f = (struct open_file *)file;
    *size = (sqlite3_int64)disk_size(f->vfs->disk, f->node);
    return disk_is_off(f->vfs->disk) ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

static int file_lock(sqlite3_file *file, int level)
{
    (void)level;
    return disk_is_off(((struct open_file *)file)->vfs->disk) ? SQLITE_IOERR_LOCK : SQLITE_OK;
}

static int file_unlock(sqlite3_file *file, int level)
{
    (void)file;
    (void)level;
    return SQLITE_OK;
}

static int file_reserved(sqlite3_file *file, int *reserved)
{
    (void)file;
    *reserved = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int op, void *argument)
{
    (void)file;
    (void)op;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int file_device(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods methods = {
    .iVersion = 1, /* no shared memory, no mapping */
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_device,
};

/* The disk ------------------------------------------------------------------------------------- */

static int disk_open_file(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                          int *out_flags)
{
    struct vfs *v = vfs->pAppData;
    struct open_file *f = (struct open_file *)file;
    memset(f, 0, sizeof(*f));
    if (disk_is_off(v->disk))
        return SQLITE_CANTOPEN;
    int node = disk_find(v->disk, DISK_ROOT, base_name(path));
    if (node < 0 && (flags & SQLITE_OPEN_CREATE) != 0)
        node = disk_create(v->disk, DISK_ROOT, base_name(path), false);
    if (node < 0)
        return SQLITE_CANTOPEN;
    disk_hold(v->disk, node);
    f->vfs = v;
    f->node = node;
    /* As SQLite's own: whether the file was there already is not asked. */
    f->folder_sync_due =
        (flags & SQLITE_OPEN_CREATE) != 0 &&
        (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL | SQLITE_OPEN_SUPER_JOURNAL)) != 0;
    f->base.pMethods = &methods;
    if (out_flags != NULL)
        *out_flags = flags;
    return SQLITE_OK;
}

static int disk_delete(sqlite3_vfs *vfs, const char *path, int sync_folder)
{
    struct vfs *v = vfs->pAppData;
    int s = disk_remove(v->disk, DISK_ROOT, base_name(path));
    if (s == -ENOENT && !disk_is_off(v->disk))
        return SQLITE_IOERR_DELETE_NOENT;
    if (s == 0 && sync_folder != 0)
        s = disk_sync(v->disk, DISK_ROOT);
    return code(s, SQLITE_IOERR_DELETE);
}

static int disk_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
    struct vfs *v = vfs->pAppData;
    (void)flags;
    *out = disk_size_of(v->disk, base_name(path)) > 0; /* an empty file does not exist */
    return disk_is_off(v->disk) ? SQLITE_IOERR_ACCESS : SQLITE_OK;
}

static int disk_path(sqlite3_vfs *vfs, const char *path, int cap, char *out)
{
    (void)vfs;
    int printed = snprintf(out, (size_t)cap, "%s", path);
    return printed > 0 && printed < cap ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int disk_random(sqlite3_vfs *vfs, int len, char *out)
{
    chance_bytes(&((struct vfs *)vfs->pAppData)->chance, out, (size_t)len);
    return len;
}

static int disk_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    return microseconds;
}

static int disk_time(sqlite3_vfs *vfs, double *julian)
{
    (void)vfs;
    *julian = 2461000.5;
    return SQLITE_OK;
}

static int disk_last_error(sqlite3_vfs *vfs, int len, char *out)
{
    (void)vfs;
    (void)len;
    (void)out;
    return 0;
}

struct vfs *vfs_open(const char *name, struct disk *disk, struct chance chance)
{
    struct vfs *v = calloc(1, sizeof(*v));
    MUST(v != NULL);
    v->disk = disk;
    v->chance = chance;
    v->base = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = sizeof(struct open_file),
        .mxPathname = DISK_NAME_MAX,
        .zName = name,
        .pAppData = v,
        .xOpen = disk_open_file,
        .xDelete = disk_delete,
        .xAccess = disk_access,
        .xFullPathname = disk_path,
        .xRandomness = disk_random,
        .xSleep = disk_sleep,
        .xCurrentTime = disk_time,
        .xGetLastError = disk_last_error,
    };
    MUST(sqlite3_vfs_register(&v->base, 0) == SQLITE_OK);
    return v;
}

void vfs_close(struct vfs **vfs)
{
    if (*vfs == NULL)
        return;
    (void)sqlite3_vfs_unregister(&(*vfs)->base);
    free(*vfs);
    *vfs = NULL;
}
