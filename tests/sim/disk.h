/*
 * disk: one simulated disk: a small tree of folders and files, in which what was written is kept
 * apart from what is durable.
 *
 * A change of a file's bytes is durable once the file was synced; the making, removing or renaming
 * of a name once its folder was. When the power goes, every change that is not durable meets its
 * fate: kept, dropped, or (writes) torn at a sector of 512 bytes. A rename stays whole: both of its
 * names change or none. SQLite's files and all other files of the state directory lie on the same
 * disk, so a copy of the disk is a copy of everything.
 *
 * Every change is a step. The power can be cut in the middle of the n-th step from now, the n-th
 * step can fail with an error number, and the disk can be full. When it is off, everything fails.
 *
 * Uses: base (MUST), random. One thread. Its own misuse stops the program (MUST).
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/random.h"

#define DISK_NAME_MAX 47
#define DISK_ROOT 0 /* number of the root folder */
#define DISK_NONE (-1)
#define DISK_NODES_MAX 96

struct disk; /* opaque: a copy is made with disk_copy() */

enum disk_step { DISK_WRITE, DISK_TRUNCATE, DISK_SYNC, DISK_NAME, DISK_STEPS };

/** Told of every step before it happens (bytes: of a write), for the trace. */
typedef void (*disk_hook)(void *ctx, enum disk_step step, const char *name, uint64_t bytes);

/** An empty disk. @param[in] fate  Decides what a power cut leaves. */
struct disk *disk_make(struct chance fate);
void disk_free(struct disk **disk);

/**
 * A copy of the disk as programs see it, all of it durable, with nothing open.
 * @param[in] durable_only  Instead of that: what a power cut would leave that drops everything
 *                          unsynced.
 */
struct disk *disk_copy(const struct disk *disk, bool durable_only);

/** Take the contents of another disk (a copy; as visible and durable as there); nothing is open. */
void disk_restore(struct disk *disk, const struct disk *from);

/** Take one file or folder of the root from another disk; NULL-like absence there removes it. */
void disk_restore_name(struct disk *disk, const struct disk *from, const char *name);

/** The same for a file below the folder "keys": keys/KEY/NAME. */
void disk_restore_key_file(struct disk *disk, const struct disk *from, const char *key,
                           const char *name);

/** Lose a file of the root, or with `torn` one of its bytes. If it is not there, nothing happens.
 */
void disk_spoil_name(struct disk *disk, const char *name, bool torn, struct chance *chance);

void disk_set_hook(struct disk *disk, disk_hook hook, void *ctx);

/* Faults --------------------------------------------------------------------------------------- */

/** Steps so far. */
uint64_t disk_steps(const struct disk *disk);

/** Cut the power in the middle of the n-th step from now (1: the next); 0: never. */
void disk_cut_in(struct disk *disk, uint64_t n);

/** Fail the n-th step from now with an error number, nothing done; 0: never. */
void disk_fail_in(struct disk *disk, uint64_t n, int error);

/** From now on no file can grow (ENOSPC). */
void disk_set_full(struct disk *disk, bool full);

/** Off: every call fails until disk_power_on() or disk_process_end(). */
void disk_off(struct disk *disk);
bool disk_is_off(const struct disk *disk);

/** The process is gone, the page cache is not: as visible before. */
void disk_process_end(struct disk *disk);

/** The power was gone: decide what survived, and come back. Nothing may be open. */
void disk_power_on(struct disk *disk);

/** True if a fault was armed and has not come yet. */
bool disk_armed(const struct disk *disk);
void disk_disarm(struct disk *disk);

/** Is there anything of that key? */
bool disk_has_key(const struct disk *disk, const char *key);

/** True if nothing of the file NAME in the root would be lost in a power cut. */
bool disk_is_durable(const struct disk *disk, const char *name);

/** Bytes that a file in the root has, or 0. */
size_t disk_size_of(const struct disk *disk, const char *name);

/* Names and files: what system calls become. Results: 0 or a number, or minus an error number. - */

/** Node of a name in a folder, or -ENOENT. */
int disk_find(const struct disk *disk, int folder, const char *name);
bool disk_is_folder(const struct disk *disk, int node);
int disk_create(struct disk *disk, int folder, const char *name, bool is_folder);
int disk_remove(struct disk *disk, int folder, const char *name);
int disk_rename(struct disk *disk, int folder, const char *from, int to_folder, const char *to,
                bool replace);
/** The i-th name of a folder, or NULL past the last. */
const char *disk_name_at(const struct disk *disk, int folder, size_t i);

void disk_hold(struct disk *disk, int node);
void disk_release(struct disk *disk, int node);

size_t disk_size(const struct disk *disk, int node);
/** @return bytes read, or minus an error number. */
int64_t disk_read(const struct disk *disk, int node, void *out, size_t len, size_t at);
int disk_write(struct disk *disk, int node, const void *data, size_t len, size_t at);
int disk_truncate(struct disk *disk, int node, size_t len);
/** Of a file: its bytes. Of a folder: its names. */
int disk_sync(struct disk *disk, int node);
/** The bytes of a file as they are now, for a mapping. */
const uint8_t *disk_bytes(const struct disk *disk, int node);

#endif
