/*
 * crashvfs: a disk in memory under SQLite whose power can be cut.
 *
 * What the running program sees is kept apart from what the disk would still hold. A write is
 * durable once its file was synced; the making or removing of a file once the directory was (which
 * SQLite's own Unix VFS does with the first sync of a new journal or WAL, and when a delete asks
 * for it). The power goes in the middle of a chosen step; crashvfs_power_on() then decides, for
 * every step that was not durable, whether it is kept, dropped, or torn at 512 bytes. The same seed
 * decides the same.
 *
 * Beside that it can fail a single step, pretend to sync, or answer a pragma with a lie.
 *
 * Uses: base, SQLite. One thread. A mistake in its use stops the test (MUST), as does want of
 * memory. There is no locking and no shared memory: WAL works on it with locking_mode=EXCLUSIVE
 * alone.
 */
#ifndef TESTS_LIB_CRASHVFS_H
#define TESTS_LIB_CRASHVFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct crashvfs;

/* What changes the disk. Opening, reading and locking are no steps. */
enum crashvfs_step {
    CRASHVFS_WRITE,
    CRASHVFS_SYNC,
    CRASHVFS_TRUNCATE,
    CRASHVFS_DELETE,
    CRASHVFS_STEPS
};

/** An empty disk, registered with SQLite under a name (a static string). */
struct crashvfs *crashvfs_open(const char *name, uint64_t seed);

/** Forget the disk. No database may be open on it. NULL inside is fine. For CLEANUP(). */
void crashvfs_close(struct crashvfs **vfs);

/** Steps since crashvfs_open() or the last crashvfs_power_on(). */
uint64_t crashvfs_steps(const struct crashvfs *vfs);

/** Cut the power in step number n, counted as crashvfs_steps() does, from 1. 0: never. */
void crashvfs_cut_at(struct crashvfs *vfs, uint64_t n);

/** True from the cut on; until crashvfs_power_on() every call fails. */
bool crashvfs_is_off(const struct crashvfs *vfs);

/** Cut now, if it is not off yet, and come back with what survived. No file may be open. */
void crashvfs_power_on(struct crashvfs *vfs);

/** Fail the n-th step of a kind from now on (1: the next one) with an SQLite code, nothing done. */
void crashvfs_fail(struct crashvfs *vfs, enum crashvfs_step kind, uint64_t n, int code);

/** A disk that answers each sync at once and does nothing. */
void crashvfs_lose_syncs(struct crashvfs *vfs, bool lose);

/** Answer "PRAGMA name" with value, and ignore attempts to set it. Static strings; NULL: stop. */
void crashvfs_answer(struct crashvfs *vfs, const char *name, const char *value);

/** Bytes of a file as the program sees it, to look at or to damage; *len 0 and NULL: no such file.
 */
uint8_t *crashvfs_bytes(struct crashvfs *vfs, const char *path, size_t *len);

/* Every fate instead of one (crashvfs_fates.c) ------------------------------------------------- */

#define CRASHVFS_PATH_MAX 64
#define CRASHVFS_IMAGE_FILES 4
#define CRASHVFS_UNDECIDED_MAX 1024

enum crashvfs_fate {
    CRASHVFS_KEPT,
    CRASHVFS_DROPPED,
    CRASHVFS_HEAD, /* torn: of a write that covers several sectors only the first half is kept */
    CRASHVFS_TAIL  /* torn: only the second half */
};

/** A disk that is at rest: what a power cut left. */
struct crashvfs_image {
    struct {
        char path[CRASHVFS_PATH_MAX];
        uint8_t *data;
        size_t len;
    } files[CRASHVFS_IMAGE_FILES];
    size_t count;
};

/**
 * Be called in the middle of every step: a write, a truncation or a removal is visible and not
 * durable, a sync has not begun. NULL: no more.
 */
void crashvfs_watch(struct crashvfs *vfs, void (*watch)(void *ctx, enum crashvfs_step kind),
                    void *ctx);

/** One thing that is not durable. */
struct crashvfs_item {
    bool tears;       /* a write over several sectors */
    bool writes;      /* a write, or */
    bool truncates;   /* a truncation; else a name that was made or removed */
    const char *path; /* of its file */
    size_t at, len;   /* of a write; the new length */
};

/**
 * What a power cut at this moment would decide upon: changes, and names that were made or removed,
 * in the order in which that happened.
 * @param[out] items  Room for CRASHVFS_UNDECIDED_MAX; valid until the next step.
 * @return how many.
 */
size_t crashvfs_undecided(struct crashvfs *vfs, struct crashvfs_item *items);

/** The disk after such a cut, one fate for each. Frees what the image held before (zero it once).
 */
void crashvfs_outcome(struct crashvfs *vfs, const enum crashvfs_fate *fates,
                      struct crashvfs_image *image);

/** Forget everything and come up with this disk, power on. No file may be open. */
void crashvfs_load(struct crashvfs *vfs, const struct crashvfs_image *image);

/** Counts how often something became durable: while it stands, so does the durable disk. */
uint64_t crashvfs_settled(const struct crashvfs *vfs);

/** Counts how often something was changed, seen or durable. */
uint64_t crashvfs_changed(const struct crashvfs *vfs);

/** A file's bytes that are durable. */
const uint8_t *crashvfs_durable(struct crashvfs *vfs, const char *path, size_t *len);

void crashvfs_image_copy(struct crashvfs_image *to, const struct crashvfs_image *from);
void crashvfs_image_free(struct crashvfs_image *image);

#endif
