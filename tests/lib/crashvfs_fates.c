/* crashvfs: every way in which the power can go at one moment, instead of one that is tossed for.
 */
#include <stdlib.h>
#include <string.h>

#include "base/rc.h"
#include "lib/crashvfs_internal.h"

#define NAME SIZE_MAX

/* One thing that is not durable: a change of a file, or its name. */
struct item {
    struct file *file;
    size_t change; /* or NAME */
    uint64_t made;
};

struct items {
    struct item all[CRASHVFS_UNDECIDED_MAX];
    size_t count;
};

static void add(struct items *items, struct file *f, size_t change, uint64_t made)
{
    MUST(items->count < CRASHVFS_UNDECIDED_MAX);
    size_t at = items->count++;
    for (; at > 0 && items->all[at - 1].made > made; at--)
        items->all[at] = items->all[at - 1];
    items->all[at] = (struct item){.file = f, .change = change, .made = made};
}

/* A file that was removed before it was ever durable has nothing to be decided. */
static bool is_gone(const struct file *f)
{
    return f->path[0] == '\0' || (!f->visible && !f->named_durably);
}

static void collect(struct crashvfs *v, struct items *items)
{
    items->count = 0;
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct file *f = &v->files[i];
        if (is_gone(f))
            continue;
        if (f->visible != f->named_durably)
            add(items, f, NAME, f->name_made);
        for (size_t c = 0; c < f->change_count; c++)
            add(items, f, c, f->changes[c].made);
    }
}

static void describe(struct crashvfs_item *out, const struct item *item)
{
    *out = (struct crashvfs_item){.path = item->file->path};
    if (item->change == NAME)
        return;
    const struct change *c = &item->file->changes[item->change];
    out->truncates = c->truncate;
    out->len = c->len;
    if (c->truncate)
        return;
    out->writes = true;
    out->at = c->at;
    out->len = c->bytes.len;
    out->tears = c->at / SECTOR != (c->at + c->bytes.len - 1) / SECTOR;
}

size_t crashvfs_undecided(struct crashvfs *v, struct crashvfs_item *out)
{
    static struct items items;
    collect(v, &items);
    for (size_t i = 0; i < items.count; i++)
        describe(&out[i], &items.all[i]);
    return items.count;
}

uint64_t crashvfs_settled(const struct crashvfs *v)
{
    return v->settled;
}

uint64_t crashvfs_changed(const struct crashvfs *v)
{
    return v->made + v->settled;
}

const uint8_t *crashvfs_durable(struct crashvfs *v, const char *path, size_t *len)
{
    *len = 0;
    for (size_t i = 0; i < FILES_MAX; i++)
        if (v->files[i].visible && strcmp(v->files[i].path, path) == 0) {
            *len = v->files[i].durable.len;
            return v->files[i].durable.data;
        }
    return NULL;
}

/* Where a write is torn: at the sector boundary next to its middle. */
static size_t tear_at(const struct change *c)
{
    size_t middle = (c->at + c->bytes.len / 2) / SECTOR * SECTOR;
    return middle > c->at ? middle - c->at : SECTOR - c->at % SECTOR;
}

static void apply(struct bytes *to, const struct change *c, enum crashvfs_fate fate)
{
    if (fate == CRASHVFS_DROPPED)
        return;
    if (c->truncate) {
        crashvfs_bytes_resize(to, c->len);
        return;
    }
    size_t from = fate == CRASHVFS_TAIL ? tear_at(c) : 0;
    size_t until = fate == CRASHVFS_HEAD ? tear_at(c) : c->bytes.len;
    crashvfs_bytes_put(to, c->at + from, c->bytes.data + from, until - from);
}

static enum crashvfs_fate fate_of_name(const struct items *items, const struct file *f,
                                       const enum crashvfs_fate *fates)
{
    for (size_t i = 0; i < items->count; i++)
        if (items->all[i].file == f && items->all[i].change == NAME)
            return fates[i];
    return CRASHVFS_KEPT;
}

/* As crashvfs_power_on(): where a removal was lost, what was made later under that name never was.
 */
static bool comes_back(struct crashvfs *v, const struct items *items, const struct file *f,
                       const enum crashvfs_fate *fates)
{
    if (is_gone(f))
        return false;
    bool kept = fate_of_name(items, f, fates) != CRASHVFS_DROPPED;
    if (!f->visible)
        return !kept;
    for (size_t i = 0; i < FILES_MAX; i++) {
        const struct file *ghost = &v->files[i];
        if (ghost != f && !is_gone(ghost) && !ghost->visible && strcmp(ghost->path, f->path) == 0 &&
            fate_of_name(items, ghost, fates) == CRASHVFS_DROPPED)
            return false;
    }
    return kept;
}

void crashvfs_outcome(struct crashvfs *v, const enum crashvfs_fate *fates,
                      struct crashvfs_image *image)
{
    static struct items items;
    collect(v, &items);
    crashvfs_image_free(image);
    for (size_t i = 0; i < FILES_MAX; i++) {
        const struct file *f = &v->files[i];
        if (!comes_back(v, &items, f, fates))
            continue;
        struct bytes content = {0};
        crashvfs_bytes_put(&content, 0, f->durable.data, f->durable.len);
        for (size_t k = 0; k < items.count; k++)
            if (items.all[k].file == f && items.all[k].change != NAME)
                apply(&content, &f->changes[items.all[k].change], fates[k]);
        MUST(image->count < CRASHVFS_IMAGE_FILES && strlen(f->path) < CRASHVFS_PATH_MAX);
        strcpy(image->files[image->count].path, f->path);
        image->files[image->count].data = content.data;
        image->files[image->count++].len = content.len;
    }
}

void crashvfs_load(struct crashvfs *v, const struct crashvfs_image *image)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        MUST(v->files[i].handles == 0);
        crashvfs_file_free(&v->files[i]);
    }
    for (size_t i = 0; i < image->count; i++) {
        struct file *f = crashvfs_file_make(v, image->files[i].path);
        crashvfs_bytes_put(&f->now, 0, image->files[i].data, image->files[i].len);
        crashvfs_bytes_put(&f->durable, 0, image->files[i].data, image->files[i].len);
        f->named_durably = true;
    }
    v->off = false;
    v->steps = 0;
    v->cut_at = 0;
    v->settled++;
}

void crashvfs_image_copy(struct crashvfs_image *to, const struct crashvfs_image *from)
{
    crashvfs_image_free(to);
    *to = *from;
    for (size_t i = 0; i < from->count; i++) {
        to->files[i].data = malloc(from->files[i].len + 1);
        MUST(to->files[i].data != NULL);
        if (from->files[i].len > 0)
            memcpy(to->files[i].data, from->files[i].data, from->files[i].len);
    }
}

void crashvfs_image_free(struct crashvfs_image *image)
{
    for (size_t i = 0; i < image->count; i++)
        free(image->files[i].data);
    *image = (struct crashvfs_image){0};
}

void crashvfs_watch(struct crashvfs *v, void (*watch)(void *ctx, enum crashvfs_step kind),
                    void *ctx)
{
    v->watch = watch;
    v->watch_ctx = ctx;
}
