/*
 * crashvfs_internal: what the disk of crashvfs.h is made of, for the two files that know.
 */
#ifndef TESTS_LIB_CRASHVFS_INTERNAL_H
#define TESTS_LIB_CRASHVFS_INTERNAL_H

#include <sqlite3.h>

#include "lib/crashvfs.h"

#define FILES_MAX 16
#define PATH_LEN_MAX 255
#define SECTOR 512

struct bytes {
    uint8_t *data;
    size_t len;
    size_t cap;
};

/* A change that is visible, but not durable. */
struct change {
    uint64_t made; /* counts changes and names, in the order in which they were made */
    bool truncate; /* to len; else a write */
    size_t at;
    struct bytes bytes; /* of a write */
    size_t len;         /* of a truncation */
};

/* A file that was removed stays in its slot as a ghost until the removal is durable. */
struct file {
    char path[PATH_LEN_MAX + 1]; /* "": the slot is free */
    bool visible;                /* false: a ghost */
    bool named_durably;          /* its directory entry would survive */
    uint64_t name_made;          /* when it was made, or removed */
    bool dir_sync_due;           /* a new journal: its first sync syncs the directory too */
    int handles;
    struct bytes now;
    struct bytes durable;
    struct change *changes;
    size_t change_count;
    size_t change_cap;
};

struct crashvfs {
    sqlite3_vfs base;
    struct file files[FILES_MAX];
    uint64_t random;
    uint64_t steps;
    uint64_t cut_at;
    uint64_t fail_in[CRASHVFS_STEPS]; /* 1: the next one; 0: none */
    int fail_code[CRASHVFS_STEPS];
    const char *answer_name;
    const char *answer_value;
    uint64_t made;
    uint64_t settled; /* how often something became durable */
    void (*watch)(void *ctx, enum crashvfs_step kind);
    void *watch_ctx;
    bool off;
    bool lose_syncs;
};

struct handle {
    sqlite3_file base;
    struct crashvfs *vfs;
    struct file *file;
    bool delete_on_close;
};

/** Set the length; what is new is zero. */
void crashvfs_bytes_resize(struct bytes *b, size_t len);

/** Write at an offset; grows. */
void crashvfs_bytes_put(struct bytes *b, size_t at, const uint8_t *data, size_t len);

/** A file with an empty name is a free slot. */
struct file *crashvfs_file_make(struct crashvfs *v, const char *path);
void crashvfs_file_free(struct file *f);

#endif
