#include "lib/crashvfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rc.h"
#include "lib/crashvfs_internal.h"

/* Bytes ------------------------------------------------------------------------------------- */

/* splitmix64: small, seedable, and good enough to toss coins. */
static uint64_t toss(struct crashvfs *v)
{
    uint64_t z = (v->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void crashvfs_bytes_resize(struct bytes *b, size_t len)
{
    if (len > b->cap) {
        size_t cap = len < SECTOR ? SECTOR : len + len / 2;
        uint8_t *data = realloc(b->data, cap);
        MUST(data != NULL);
        b->data = data;
        b->cap = cap;
    }
    if (len > b->len)
        memset(b->data + b->len, 0, len - b->len);
    b->len = len;
}

void crashvfs_bytes_put(struct bytes *b, size_t at, const uint8_t *data, size_t len)
{
    if (len == 0)
        return;
    if (at + len > b->len)
        crashvfs_bytes_resize(b, at + len);
    memcpy(b->data + at, data, len);
}

static void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

static void changes_forget(struct file *f)
{
    for (size_t i = 0; i < f->change_count; i++)
        bytes_free(&f->changes[i].bytes);
    f->change_count = 0;
}

void crashvfs_file_free(struct file *f)
{
    changes_forget(f);
    free(f->changes);
    bytes_free(&f->now);
    bytes_free(&f->durable);
    *f = (struct file){0};
}

static void change_add(struct crashvfs *v, struct file *f, const struct change *c)
{
    if (f->change_count == f->change_cap) {
        size_t cap = f->change_cap == 0 ? 64 : 2 * f->change_cap;
        struct change *grown = realloc(f->changes, cap * sizeof(*grown));
        MUST(grown != NULL);
        f->changes = grown;
        f->change_cap = cap;
    }
    f->changes[f->change_count] = *c;
    f->changes[f->change_count++].made = ++v->made;
}

/* Names ------------------------------------------------------------------------------------- */

static struct file *find(struct crashvfs *v, const char *path)
{
    for (size_t i = 0; i < FILES_MAX; i++)
        if (v->files[i].visible && strcmp(v->files[i].path, path) == 0)
            return &v->files[i];
    return NULL;
}

struct file *crashvfs_file_make(struct crashvfs *v, const char *path)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct file *f = &v->files[i];
        if (f->path[0] == '\0') {
            MUST(strlen(path) <= PATH_LEN_MAX);
            strcpy(f->path, path);
            f->visible = true;
            f->name_made = ++v->made;
            return f;
        }
    }
    MUST(false); /* more files than slots */
}

/* fsync of the directory: what is there stays, what is gone stays away. */
static void sync_directory(struct crashvfs *v)
{
    v->settled++;
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct file *f = &v->files[i];
        if (f->path[0] != '\0' && !f->visible && f->handles == 0)
            crashvfs_file_free(f);
        else
            f->named_durably = f->visible;
    }
}

/* Steps ------------------------------------------------------------------------------------- */

/* Every change of the disk passes here. *half: the power goes now, in the middle of this step. */
static int step(struct crashvfs *v, enum crashvfs_step kind, bool *half)
{
    *half = false;
    if (v->off)
        return SQLITE_IOERR;
    v->steps++;
    if (v->fail_in[kind] != 0 && --v->fail_in[kind] == 0)
        return v->fail_code[kind];
    *half = v->steps == v->cut_at;
    return SQLITE_OK;
}

static void watch(struct crashvfs *v, enum crashvfs_step kind)
{
    if (v->watch != NULL)
        v->watch(v->watch_ctx, kind);
}

static int cut(struct crashvfs *v)
{
    v->off = true;
    return SQLITE_IOERR;
}

/* What a change leaves behind on a disk that lost its power before the next sync. */
enum fate { FATE_KEPT, FATE_DROPPED, FATE_TORN };

static void survive(struct crashvfs *v, struct file *f, const struct change *c, enum fate fate)
{
    if (fate == FATE_DROPPED)
        return;
    if (c->truncate) {
        crashvfs_bytes_resize(&f->durable, c->len); /* whole or not at all */
        return;
    }
    for (size_t done = 0; done < c->bytes.len;) {
        size_t at = c->at + done;
        size_t len = SECTOR - at % SECTOR;
        if (len > c->bytes.len - done)
            len = c->bytes.len - done;
        if (fate == FATE_KEPT || toss(v) % 2 == 0)
            crashvfs_bytes_put(&f->durable, at, c->bytes.data + done, len);
        done += len;
    }
}

/* One cut in four keeps all, one drops all; in the others each change meets its own fate. */
static void settle(struct crashvfs *v, struct file *f, uint64_t mood)
{
    for (size_t i = 0; i < f->change_count; i++) {
        enum fate fate = mood == 0   ? FATE_KEPT
                         : mood == 1 ? FATE_DROPPED
                                     : (enum fate)(toss(v) % 3);
        survive(v, f, &f->changes[i], fate);
    }
    changes_forget(f);
    crashvfs_bytes_resize(&f->now, 0);
    crashvfs_bytes_put(&f->now, 0, f->durable.data, f->durable.len);
}

static bool heads(struct crashvfs *v, uint64_t mood)
{
    return mood == 0 || (mood != 1 && toss(v) % 2 == 0);
}

void crashvfs_power_on(struct crashvfs *v)
{
    uint64_t mood = toss(v) % 4;
    /* Ghosts first: where a removal was lost, what was made later under that name never was. */
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct file *f = &v->files[i];
        MUST(f->handles == 0);
        if (f->path[0] == '\0' || f->visible)
            continue;
        struct file *later = find(v, f->path);
        if (!f->named_durably || heads(v, mood)) {
            crashvfs_file_free(f); /* the removal survived, or the file had never been durable */
            continue;
        }
        if (later != NULL)
            crashvfs_file_free(later);
        f->visible = true;
    }
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct file *f = &v->files[i];
        if (f->path[0] == '\0')
            continue;
        if (!f->named_durably && !heads(v, mood)) {
            crashvfs_file_free(f);
            continue;
        }
        settle(v, f, mood);
        f->named_durably = true;
        f->dir_sync_due = false;
    }
    v->off = false;
    v->steps = 0;
    v->cut_at = 0;
    memset(v->fail_in, 0, sizeof(v->fail_in));
}

/* Files: what SQLite calls ------------------------------------------------------------------ */

static int file_close(sqlite3_file *file)
{
    struct handle *h = (struct handle *)file;
    h->file->handles--;
    if (h->delete_on_close)
        h->file->visible = false;
    if (!h->file->visible && !h->file->named_durably && h->file->handles == 0)
        crashvfs_file_free(h->file);
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *out, int amount, sqlite3_int64 offset)
{
    struct handle *h = (struct handle *)file;
    if (h->vfs->off)
        return SQLITE_IOERR_READ;
    const struct bytes *b = &h->file->now;
    size_t at = (size_t)offset;
    size_t len = (size_t)amount;
    size_t there = at >= b->len ? 0 : b->len - at;
    if (there > len)
        there = len;
    memset(out, 0, len);
    if (there > 0)
        memcpy(out, b->data + at, there);
    return there == len ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
    struct handle *h = (struct handle *)file;
    bool half = false;
    int s = step(h->vfs, CRASHVFS_WRITE, &half);
    if (s != SQLITE_OK)
        return s;
    struct change c = {.at = (size_t)offset};
    c.bytes.data = malloc((size_t)amount);
    MUST(c.bytes.data != NULL);
    c.bytes.len = (size_t)amount;
    memcpy(c.bytes.data, data, (size_t)amount);
    change_add(h->vfs, h->file, &c);
    crashvfs_bytes_put(&h->file->now, c.at, data, (size_t)amount);
    watch(h->vfs, CRASHVFS_WRITE);
    return half ? cut(h->vfs) : SQLITE_OK;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct handle *h = (struct handle *)file;
    bool half = false;
    int s = step(h->vfs, CRASHVFS_TRUNCATE, &half);
    if (s != SQLITE_OK)
        return s;
    change_add(h->vfs, h->file, &(struct change){.truncate = true, .len = (size_t)size});
    crashvfs_bytes_resize(&h->file->now, (size_t)size);
    watch(h->vfs, CRASHVFS_TRUNCATE);
    return half ? cut(h->vfs) : SQLITE_OK;
}

static int file_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    struct handle *h = (struct handle *)file;
    bool half = false;
    int s = step(h->vfs, CRASHVFS_SYNC, &half);
    if (s != SQLITE_OK)
        return s;
    watch(h->vfs, CRASHVFS_SYNC);
    if (half)
        return cut(h->vfs); /* how far it came is decided like everything else */
    if (h->vfs->lose_syncs)
        return SQLITE_OK;
    struct file *f = h->file;
    h->vfs->settled++;
    for (size_t i = 0; i < f->change_count; i++)
        survive(h->vfs, f, &f->changes[i], FATE_KEPT);
    changes_forget(f);
    if (f->dir_sync_due)
        sync_directory(h->vfs);
    f->dir_sync_due = false;
    return SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    struct handle *h = (struct handle *)file;
    *size = (sqlite3_int64)h->file->now.len;
    return h->vfs->off ? SQLITE_IOERR_FSTAT : SQLITE_OK;
}

static int file_lock(sqlite3_file *file, int level)
{
    (void)level;
    return ((struct handle *)file)->vfs->off ? SQLITE_IOERR_LOCK : SQLITE_OK;
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

/* argument: {place for the answer, name of the pragma, value to set or NULL}. */
static int file_control(sqlite3_file *file, int op, void *argument)
{
    const struct crashvfs *v = ((struct handle *)file)->vfs;
    char **pragma = argument;
    if (op != SQLITE_FCNTL_PRAGMA || v->answer_name == NULL ||
        sqlite3_stricmp(pragma[1], v->answer_name) != 0)
        return SQLITE_NOTFOUND;
    pragma[0] = sqlite3_mprintf("%s", v->answer_value);
    return SQLITE_OK;
}

/* As SQLite's own VFS says of a Linux file: what a write does not name, a power cut does not touch.
 */
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

/* The disk: what SQLite calls --------------------------------------------------------------- */

static int disk_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
                     int *out_flags)
{
    struct crashvfs *v = vfs->pAppData;
    struct handle *h = (struct handle *)file;
    memset(h, 0, sizeof(*h));
    if (v->off)
        return SQLITE_CANTOPEN;
    MUST(path != NULL); /* temporary files have no name; the ledger keeps them in memory */
    struct file *f = find(v, path);
    if (f == NULL) {
        if ((flags & SQLITE_OPEN_CREATE) == 0)
            return SQLITE_CANTOPEN;
        f = crashvfs_file_make(v, path);
        f->dir_sync_due =
            (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL | SQLITE_OPEN_SUPER_JOURNAL)) != 0;
    }
    f->handles++;
    h->vfs = v;
    h->file = f;
    h->delete_on_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    h->base.pMethods = &methods;
    if (out_flags != NULL)
        *out_flags = flags;
    return SQLITE_OK;
}

static int disk_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
    struct crashvfs *v = vfs->pAppData;
    struct file *f = find(v, path);
    if (f == NULL)
        return v->off ? SQLITE_IOERR_DELETE : SQLITE_IOERR_DELETE_NOENT;
    bool half = false;
    int s = step(v, CRASHVFS_DELETE, &half);
    if (s != SQLITE_OK)
        return s;
    f->visible = false;
    f->name_made = ++v->made;
    if (!f->named_durably && f->handles == 0)
        crashvfs_file_free(f);
    watch(v, CRASHVFS_DELETE);
    if (half)
        return cut(v);
    if (sync_dir != 0 && !v->lose_syncs)
        sync_directory(v);
    return SQLITE_OK;
}

static int disk_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
    (void)flags;
    struct crashvfs *v = vfs->pAppData;
    const struct file *f = find(v, path);
    *out = f != NULL && f->now.len > 0; /* as SQLite's own: an empty file does not exist */
    return v->off ? SQLITE_IOERR_ACCESS : SQLITE_OK;
}

static int disk_path(sqlite3_vfs *vfs, const char *path, int cap, char *out)
{
    (void)vfs;
    int printed = snprintf(out, (size_t)cap, "%s", path);
    return printed > 0 && printed < cap ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int disk_random(sqlite3_vfs *vfs, int len, char *out)
{
    for (int i = 0; i < len; i++)
        out[i] = (char)toss(vfs->pAppData);
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

/* The test's side --------------------------------------------------------------------------- */

struct crashvfs *crashvfs_open(const char *name, uint64_t seed)
{
    struct crashvfs *v = calloc(1, sizeof(*v));
    MUST(v != NULL);
    v->random = seed;
    v->base = (sqlite3_vfs){
        .iVersion = 1,
        .szOsFile = sizeof(struct handle),
        .mxPathname = PATH_LEN_MAX,
        .zName = name,
        .pAppData = v,
        .xOpen = disk_open,
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

void crashvfs_close(struct crashvfs **vfs)
{
    struct crashvfs *v = *vfs;
    *vfs = NULL;
    if (v == NULL)
        return;
    (void)sqlite3_vfs_unregister(&v->base);
    for (size_t i = 0; i < FILES_MAX; i++) {
        MUST(v->files[i].handles == 0);
        crashvfs_file_free(&v->files[i]);
    }
    free(v);
}

uint64_t crashvfs_steps(const struct crashvfs *v)
{
    return v->steps;
}

void crashvfs_cut_at(struct crashvfs *v, uint64_t n)
{
    v->cut_at = n;
}

bool crashvfs_is_off(const struct crashvfs *v)
{
    return v->off;
}

void crashvfs_fail(struct crashvfs *v, enum crashvfs_step kind, uint64_t n, int code)
{
    v->fail_in[kind] = n;
    v->fail_code[kind] = code;
}

void crashvfs_lose_syncs(struct crashvfs *v, bool lose)
{
    v->lose_syncs = lose;
}

void crashvfs_answer(struct crashvfs *v, const char *name, const char *value)
{
    v->answer_name = name;
    v->answer_value = value;
}

uint8_t *crashvfs_bytes(struct crashvfs *v, const char *path, size_t *len)
{
    struct file *f = find(v, path);
    *len = f != NULL ? f->now.len : 0;
    return f != NULL ? f->now.data : NULL;
}
