#include "sim/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/rc.h"

#define SECTOR 512
#define ENTRIES_MAX 16
#define PENDING_MAX 64

struct bytes {
    uint8_t *data;
    size_t len, cap;
};

/* A change of bytes that is visible, but not durable. */
struct change {
    bool truncate; /* to len; else a write of len bytes, which lie in the file's log */
    bool given_up; /* a sync failed on it, and no later one will write it */
    size_t at, len;
    size_t logged; /* where in the log */
};

struct entry {
    char name[DISK_NAME_MAX + 1];
    int node;
};

struct listing {
    struct entry entry[ENTRIES_MAX];
    size_t count;
};

/* A change of names that is visible, but not durable. */
struct name_change {
    char gone[DISK_NAME_MAX + 1]; /* "": no name goes */
    char made[DISK_NAME_MAX + 1]; /* "": no name is made */
    int node;
};

enum kind { FREE, FILE_NODE, FOLDER };

struct node {
    enum kind kind;
    unsigned handles;
    /* files */
    struct bytes now, durable, log;
    struct change *changes;
    size_t change_count, change_cap;
    /* folders */
    struct listing names, kept;
    struct name_change *pending;
    size_t pending_count;
};

struct disk {
    struct node nodes[DISK_NODES_MAX];
    struct chance fate;
    uint64_t steps;
    uint64_t cut_in, fail_in;
    int fail_error;
    bool full, off;
    disk_hook hook;
    void *hook_ctx;
};

/* Bytes ---------------------------------------------------------------------------------------- */

static void bytes_resize(struct bytes *b, size_t len)
{
    if (len > b->cap) {
        size_t cap = len < 2 * SECTOR ? 2 * SECTOR : len + len / 2;
        uint8_t *data = realloc(b->data, cap);
        MUST(data != NULL);
        b->data = data;
        b->cap = cap;
    }
    if (len > b->len)
        memset(b->data + b->len, 0, len - b->len);
    b->len = len;
}

static void bytes_put(struct bytes *b, size_t at, const uint8_t *data, size_t len)
{
    if (len == 0)
        return;
    if (at + len > b->len)
        bytes_resize(b, at + len);
    memcpy(b->data + at, data, len);
}

static void bytes_copy(struct bytes *to, const struct bytes *from)
{
    bytes_resize(to, from->len);
    bytes_put(to, 0, from->data, from->len);
}

static void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){0};
}

/* Folders -------------------------------------------------------------------------------------- */

static struct entry *entry_of(struct listing *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->entry[i].name, name) == 0)
            return &l->entry[i];
    return NULL;
}

static const struct entry *find_entry(const struct listing *l, const char *name)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->entry[i].name, name) == 0)
            return &l->entry[i];
    return NULL;
}

static void entry_set(struct listing *l, const char *name, int node)
{
    struct entry *e = entry_of(l, name);
    if (e == NULL) {
        MUST(l->count < ENTRIES_MAX);
        MUST(strlen(name) <= DISK_NAME_MAX);
        e = &l->entry[l->count++];
        strcpy(e->name, name);
    }
    e->node = node;
}

static void entry_drop(struct listing *l, const char *name)
{
    struct entry *e = entry_of(l, name);
    if (e != NULL)
        *e = l->entry[--l->count];
}

static void names_apply(struct listing *l, const struct name_change *c)
{
    if (c->gone[0] != '\0')
        entry_drop(l, c->gone);
    if (c->made[0] != '\0')
        entry_set(l, c->made, c->node);
}

static void names_change(struct node *folder, const struct name_change *c)
{
    if (folder->pending == NULL) {
        folder->pending = calloc(PENDING_MAX, sizeof(*folder->pending));
        MUST(folder->pending != NULL);
    }
    MUST(folder->pending_count < PENDING_MAX);
    folder->pending[folder->pending_count++] = *c;
    names_apply(&folder->names, c);
}

/* Nodes ---------------------------------------------------------------------------------------- */

static void node_free(struct node *n)
{
    bytes_free(&n->now);
    bytes_free(&n->durable);
    bytes_free(&n->log);
    free(n->changes);
    free(n->pending);
    *n = (struct node){0};
}

static struct node *node_at(struct disk *d, int node)
{
    MUST(node >= 0 && node < DISK_NODES_MAX);
    MUST(d->nodes[node].kind != FREE);
    return &d->nodes[node];
}

static const struct node *look_at(const struct disk *d, int node)
{
    MUST(node >= 0 && node < DISK_NODES_MAX);
    MUST(d->nodes[node].kind != FREE);
    return &d->nodes[node];
}

static void mark(const struct disk *d, int node, bool *seen)
{
    if (seen[node])
        return;
    seen[node] = true;
    const struct node *n = &d->nodes[node];
    for (size_t i = 0; i < n->names.count; i++)
        mark(d, n->names.entry[i].node, seen);
    for (size_t i = 0; i < n->kept.count; i++)
        mark(d, n->kept.entry[i].node, seen);
    for (size_t i = 0; i < n->pending_count; i++)
        if (n->pending[i].made[0] != '\0')
            mark(d, n->pending[i].node, seen);
}

/* Let go of what no name leads to any more. */
static void sweep(struct disk *d)
{
    bool seen[DISK_NODES_MAX] = {false};
    mark(d, DISK_ROOT, seen);
    for (int i = 0; i < DISK_NODES_MAX; i++)
        if (!seen[i] && d->nodes[i].kind != FREE && d->nodes[i].handles == 0)
            node_free(&d->nodes[i]);
}

static int node_make(struct disk *d, enum kind kind)
{
    for (int tries = 0; tries < 2; tries++) {
        for (int i = 0; i < DISK_NODES_MAX; i++) {
            if (d->nodes[i].kind == FREE) {
                d->nodes[i].kind = kind;
                return i;
            }
        }
        sweep(d);
    }
    MUST(false); /* more files than nodes */
}

/* Making and copying --------------------------------------------------------------------------- */

struct disk *disk_make(struct chance fate)
{
    struct disk *d = calloc(1, sizeof(*d));
    MUST(d != NULL);
    d->fate = fate;
    d->nodes[DISK_ROOT].kind = FOLDER;
    return d;
}

void disk_free(struct disk **disk)
{
    if (*disk == NULL)
        return;
    for (int i = 0; i < DISK_NODES_MAX; i++)
        if ((*disk)->nodes[i].kind != FREE)
            node_free(&(*disk)->nodes[i]);
    free(*disk);
    *disk = NULL;
}

/* Copy what lies below a folder; all of it is durable in the copy. */
static void copy_below(struct disk *to, int to_folder, const struct disk *from, int from_folder,
                       bool durable_only)
{
    const struct node *source = &from->nodes[from_folder];
    const struct listing *l = durable_only ? &source->kept : &source->names;
    for (size_t i = 0; i < l->count; i++) {
        const struct node *n = &from->nodes[l->entry[i].node];
        int made = node_make(to, n->kind);
        struct node *copy = &to->nodes[made];
        if (n->kind == FILE_NODE) {
            bytes_copy(&copy->durable, durable_only ? &n->durable : &n->now);
            bytes_copy(&copy->now, &copy->durable);
        }
        entry_set(&to->nodes[to_folder].names, l->entry[i].name, made);
        entry_set(&to->nodes[to_folder].kept, l->entry[i].name, made);
        if (n->kind == FOLDER)
            copy_below(to, made, from, l->entry[i].node, durable_only);
    }
}

struct disk *disk_copy(const struct disk *disk, bool durable_only)
{
    struct disk *copy = disk_make(disk->fate);
    copy_below(copy, DISK_ROOT, disk, DISK_ROOT, durable_only);
    return copy;
}

static void empty(struct disk *d)
{
    for (int i = 0; i < DISK_NODES_MAX; i++) {
        MUST(d->nodes[i].handles == 0);
        if (d->nodes[i].kind != FREE)
            node_free(&d->nodes[i]);
    }
    d->nodes[DISK_ROOT].kind = FOLDER;
}

void disk_restore(struct disk *disk, const struct disk *from)
{
    empty(disk);
    copy_below(disk, DISK_ROOT, from, DISK_ROOT, false);
}

static void restore_entry(struct disk *d, int folder, const struct disk *from, int from_folder,
                          const char *name)
{
    struct node *f = &d->nodes[folder];
    entry_drop(&f->names, name);
    entry_drop(&f->kept, name);
    f->pending_count = 0;
    const struct entry *e = find_entry(&from->nodes[from_folder].names, name);
    if (e == NULL)
        return;
    int made = node_make(d, FILE_NODE);
    MUST(from->nodes[e->node].kind == FILE_NODE);
    bytes_copy(&d->nodes[made].now, &from->nodes[e->node].now);
    bytes_copy(&d->nodes[made].durable, &from->nodes[e->node].now);
    entry_set(&f->names, name, made);
    f->kept = f->names;
}

void disk_restore_name(struct disk *disk, const struct disk *from, const char *name)
{
    restore_entry(disk, DISK_ROOT, from, DISK_ROOT, name);
}

bool disk_has_key(const struct disk *disk, const char *key)
{
    int keys = disk_find(disk, DISK_ROOT, "keys");
    return keys >= 0 && disk_find(disk, keys, key) >= 0;
}

void disk_restore_key_file(struct disk *disk, const struct disk *from, const char *key,
                           const char *name)
{
    int to = disk_find(disk, DISK_ROOT, "keys");
    int source = disk_find(from, DISK_ROOT, "keys");
    if (to >= 0)
        to = disk_find(disk, to, key);
    if (source >= 0)
        source = disk_find(from, source, key);
    if (to >= 0 && source >= 0)
        restore_entry(disk, to, from, source, name);
}

void disk_spoil_name(struct disk *disk, const char *name, bool torn, struct chance *chance)
{
    struct node *root = &disk->nodes[DISK_ROOT];
    const struct entry *e = find_entry(&root->names, name);
    if (e == NULL)
        return;
    if (!torn) {
        entry_drop(&root->names, name);
        entry_drop(&root->kept, name);
        root->pending_count = 0;
        return;
    }
    struct node *f = &disk->nodes[e->node];
    if (f->now.len == 0)
        return;
    f->now.data[chance_below(chance, f->now.len)] ^= 0x41;
    bytes_copy(&f->durable, &f->now);
}

void disk_set_hook(struct disk *disk, disk_hook hook, void *ctx)
{
    disk->hook = hook;
    disk->hook_ctx = ctx;
}

/* Steps ---------------------------------------------------------------------------------------- */

/* Every change passes here. *half: the power goes now, in the middle of it. @return 0 or -error. */
static int step(struct disk *d, enum disk_step kind, const char *name, uint64_t bytes, bool *half)
{
    *half = false;
    if (d->off)
        return -EIO;
    d->steps++;
    if (d->hook != NULL)
        d->hook(d->hook_ctx, kind, name, bytes);
    if (d->fail_in != 0 && --d->fail_in == 0)
        return -d->fail_error;
    *half = d->cut_in != 0 && --d->cut_in == 0;
    return 0;
}

static int cut(struct disk *d)
{
    d->off = true;
    return -EIO;
}

uint64_t disk_steps(const struct disk *disk)
{
    return disk->steps;
}

void disk_cut_in(struct disk *disk, uint64_t n)
{
    disk->cut_in = n;
}

void disk_fail_in(struct disk *disk, uint64_t n, int error)
{
    disk->fail_in = n;
    disk->fail_error = error;
}

void disk_set_full(struct disk *disk, bool full)
{
    disk->full = full;
}

void disk_off(struct disk *disk)
{
    disk->off = true;
}

bool disk_is_off(const struct disk *disk)
{
    return disk->off;
}

void disk_process_end(struct disk *disk)
{
    disk->off = false;
}

bool disk_armed(const struct disk *disk)
{
    return disk->cut_in != 0 || disk->fail_in != 0;
}

void disk_disarm(struct disk *disk)
{
    disk->cut_in = 0;
    disk->fail_in = 0;
}

bool disk_is_durable(const struct disk *disk, const char *name)
{
    const struct node *root = &disk->nodes[DISK_ROOT];
    const struct entry *seen = find_entry(&root->names, name);
    const struct entry *kept = find_entry(&root->kept, name);
    if (seen == NULL || kept == NULL)
        return seen == kept;
    const struct node *n = &disk->nodes[seen->node];
    return seen->node == kept->node && n->change_count == 0;
}

size_t disk_size_of(const struct disk *disk, const char *name)
{
    int node = disk_find(disk, DISK_ROOT, name);
    return node < 0 ? 0 : disk->nodes[node].now.len;
}

/* Power ---------------------------------------------------------------------------------------- */

enum fate { FATE_KEPT, FATE_DROPPED, FATE_TORN };

/* One cut in four keeps all, one drops all; in the others each change meets its own fate. */
static enum fate draw(struct disk *d, uint64_t mood, bool may_tear)
{
    if (mood < 2)
        return mood == 0 ? FATE_KEPT : FATE_DROPPED;
    return (enum fate)chance_below(&d->fate, may_tear ? 3 : 2);
}

static void survive(struct disk *d, struct node *n, const struct change *c, enum fate fate)
{
    if (fate == FATE_DROPPED)
        return;
    if (c->truncate) {
        bytes_resize(&n->durable, c->len); /* whole or not at all */
        return;
    }
    for (size_t done = 0; done < c->len;) {
        size_t at = c->at + done;
        size_t len = SECTOR - at % SECTOR;
        if (len > c->len - done)
            len = c->len - done;
        if (fate == FATE_KEPT || chance_percent(&d->fate, 50))
            bytes_put(&n->durable, at, n->log.data + c->logged + done, len);
        done += len;
    }
}

static void settle_file(struct disk *d, struct node *n, uint64_t mood)
{
    for (size_t i = 0; i < n->change_count; i++)
        survive(d, n, &n->changes[i],
                n->changes[i].given_up ? FATE_DROPPED : draw(d, mood, !n->changes[i].truncate));
    n->change_count = 0;
    n->log.len = 0;
    bytes_copy(&n->now, &n->durable);
}

/* A name can only be renamed or removed where the change that made it survived, too. */
static bool possible(const struct node *folder, const struct name_change *c)
{
    if (c->gone[0] == '\0')
        return true;
    const struct entry *e = find_entry(&folder->kept, c->gone);
    return e != NULL && (c->made[0] == '\0' || e->node == c->node);
}

static void settle_folder(struct disk *d, struct node *n, uint64_t mood)
{
    for (size_t i = 0; i < n->pending_count; i++)
        if (draw(d, mood, false) == FATE_KEPT && possible(n, &n->pending[i]))
            names_apply(&n->kept, &n->pending[i]);
    n->pending_count = 0;
    n->names = n->kept;
}

void disk_power_on(struct disk *disk)
{
    uint64_t mood = chance_below(&disk->fate, 4);
    for (int i = 0; i < DISK_NODES_MAX; i++) {
        struct node *n = &disk->nodes[i];
        MUST(n->handles == 0);
        if (n->kind == FOLDER)
            settle_folder(disk, n, mood);
        else if (n->kind == FILE_NODE)
            settle_file(disk, n, mood);
    }
    sweep(disk);
    disk->off = false;
    disk_disarm(disk);
}

/* Names ---------------------------------------------------------------------------------------- */

int disk_find(const struct disk *disk, int folder, const char *name)
{
    const struct node *f = look_at(disk, folder);
    if (f->kind != FOLDER)
        return -ENOTDIR;
    const struct entry *e = find_entry(&f->names, name);
    return e == NULL ? -ENOENT : e->node;
}

bool disk_is_folder(const struct disk *disk, int node)
{
    return look_at(disk, node)->kind == FOLDER;
}

int disk_create(struct disk *disk, int folder, const char *name, bool is_folder)
{
    bool half = false;
    if (find_entry(&node_at(disk, folder)->names, name) != NULL)
        return -EEXIST;
    int s = step(disk, DISK_NAME, name, 0, &half);
    if (s == 0 && disk->full && is_folder)
        s = -ENOSPC;
    if (s != 0)
        return s;
    int made = node_make(disk, is_folder ? FOLDER : FILE_NODE);
    struct name_change c = {.node = made};
    MUST(strlen(name) <= DISK_NAME_MAX);
    strcpy(c.made, name);
    names_change(node_at(disk, folder), &c);
    return half ? cut(disk) : made;
}

int disk_remove(struct disk *disk, int folder, const char *name)
{
    bool half = false;
    struct node *f = node_at(disk, folder);
    const struct entry *e = find_entry(&f->names, name);
    if (e == NULL)
        return -ENOENT;
    if (disk->nodes[e->node].kind == FOLDER && disk->nodes[e->node].names.count > 0)
        return -ENOTEMPTY;
    int s = step(disk, DISK_NAME, name, 0, &half);
    if (s != 0)
        return s;
    struct name_change c = {0};
    strcpy(c.gone, name);
    names_change(f, &c);
    return half ? cut(disk) : 0;
}

int disk_rename(struct disk *disk, int folder, const char *from, int to_folder, const char *to,
                bool replace)
{
    bool half = false;
    MUST(folder == to_folder); /* nobody moves from folder to folder */
    struct node *f = node_at(disk, folder);
    const struct entry *e = find_entry(&f->names, from);
    if (e == NULL)
        return -ENOENT;
    if (!replace && find_entry(&f->names, to) != NULL)
        return -EEXIST;
    int s = step(disk, DISK_NAME, to, 0, &half);
    if (s != 0)
        return s;
    struct name_change c = {.node = e->node};
    strcpy(c.gone, from);
    MUST(strlen(to) <= DISK_NAME_MAX);
    strcpy(c.made, to);
    names_change(f, &c);
    return half ? cut(disk) : 0;
}

const char *disk_name_at(const struct disk *disk, int folder, size_t i)
{
    const struct node *f = look_at(disk, folder);
    return i < f->names.count ? f->names.entry[i].name : NULL;
}

void disk_hold(struct disk *disk, int node)
{
    node_at(disk, node)->handles++;
}

void disk_release(struct disk *disk, int node)
{
    struct node *n = node_at(disk, node);
    MUST(n->handles > 0);
    n->handles--;
}

/* Files ---------------------------------------------------------------------------------------- */

static const char *name_of(const struct disk *d, int node)
{
    for (int i = 0; i < DISK_NODES_MAX; i++)
        for (size_t k = 0; d->nodes[i].kind == FOLDER && k < d->nodes[i].names.count; k++)
            if (d->nodes[i].names.entry[k].node == node)
                return d->nodes[i].names.entry[k].name;
    return "a removed file";
}

static void change_add(struct node *n, const struct change *c)
{
    if (n->change_count == n->change_cap) {
        size_t cap = n->change_cap == 0 ? 16 : 2 * n->change_cap;
        struct change *grown = realloc(n->changes, cap * sizeof(*grown));
        MUST(grown != NULL);
        n->changes = grown;
        n->change_cap = cap;
    }
    n->changes[n->change_count++] = *c;
}

size_t disk_size(const struct disk *disk, int node)
{
    return look_at(disk, node)->now.len;
}

int64_t disk_read(const struct disk *disk, int node, void *out, size_t len, size_t at)
{
    if (disk->off)
        return -EIO;
    const struct bytes *b = &look_at(disk, node)->now;
    size_t there = at >= b->len ? 0 : b->len - at;
    if (there > len)
        there = len;
    if (there > 0)
        memcpy(out, b->data + at, there);
    return (int64_t)there;
}

int disk_write(struct disk *disk, int node, const void *data, size_t len, size_t at)
{
    bool half = false;
    struct node *n = node_at(disk, node);
    int s = step(disk, DISK_WRITE, disk->hook != NULL ? name_of(disk, node) : "", len, &half);
    if (s == 0 && disk->full && at + len > n->now.len)
        s = -ENOSPC;
    if (s != 0)
        return s;
    struct change c = {.at = at, .len = len, .logged = n->log.len};
    bytes_put(&n->log, n->log.len, data, len);
    change_add(n, &c);
    bytes_put(&n->now, at, data, len);
    return half ? cut(disk) : 0;
}

int disk_truncate(struct disk *disk, int node, size_t len)
{
    bool half = false;
    struct node *n = node_at(disk, node);
    int s = step(disk, DISK_TRUNCATE, disk->hook != NULL ? name_of(disk, node) : "", len, &half);
    if (s == 0 && disk->full && len > n->now.len)
        s = -ENOSPC;
    if (s != 0)
        return s;
    change_add(n, &(struct change){.truncate = true, .len = len});
    bytes_resize(&n->now, len);
    return half ? cut(disk) : 0;
}

/* After a failed sync a kernel may call the pages clean: what is written later is synced later, and
 * what was written before never. It can be read until the power goes. */
static void give_up(struct disk *d, struct node *n)
{
    bool all = chance_percent(&d->fate, 50);
    for (size_t i = 0; i < n->change_count; i++)
        n->changes[i].given_up = n->changes[i].given_up || all;
}

/* What can become durable does; what was given up stays as it is. */
static void sync_file(struct disk *d, struct node *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->change_count; i++) {
        if (n->changes[i].given_up)
            n->changes[kept++] = n->changes[i];
        else
            survive(d, n, &n->changes[i], FATE_KEPT);
    }
    n->change_count = kept;
    if (kept == 0)
        n->log.len = 0;
}

int disk_sync(struct disk *disk, int node)
{
    bool half = false;
    struct node *n = node_at(disk, node);
    int s = step(disk, DISK_SYNC, disk->hook != NULL ? name_of(disk, node) : "", 0, &half);
    if (s != 0) {
        give_up(disk, n);
        return s;
    }
    if (half)
        return cut(disk); /* how far it came is decided like everything else */
    if (n->kind == FOLDER) {
        n->kept = n->names;
        n->pending_count = 0;
        return 0;
    }
    sync_file(disk, n);
    return 0;
}

const uint8_t *disk_bytes(const struct disk *disk, int node)
{
    return look_at(disk, node)->now.data;
}
