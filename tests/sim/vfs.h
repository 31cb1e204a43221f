/*
 * vfs: what SQLite sees of a simulated disk.
 *
 * Behaves as SQLite's own VFS for Unix does where it matters for what survives a power cut: the
 * first sync of a new journal or WAL syncs the folder too, a delete syncs it where SQLite asks for
 * that. No shared memory: WAL works on it with locking_mode=EXCLUSIVE alone.
 *
 * Uses: disk, SQLite. One thread.
 */
#ifndef SIM_VFS_H
#define SIM_VFS_H

#include "sim/disk.h"

struct vfs; /* opaque, registered with SQLite under its name until vfs_close() */

/** @param[in] name  Static string. @param[in] disk  Borrowed. */
struct vfs *vfs_open(const char *name, struct disk *disk, struct chance chance);
void vfs_close(struct vfs **vfs);

#endif
