/*
 * files: the system calls of the code under test, answered by a simulated disk.
 *
 * The program is linked with --wrap for openat, pread, pwrite, fsync, renameat2 and so on. Handles
 * that were given out here are answered here; all others go to the real call. So the signer's own
 * file code runs, down to the OFD lock, and no name or number of the host comes into a run.
 *
 * One disk is mounted at a time: that of the machine whose code runs. Paths are relative to its
 * root, which files_root() opens; absolute paths lie on a shelf of their own, a medium away from
 * all machines on which nothing is lost (backups).
 *
 * Uses: base, disk. One thread.
 */
#ifndef SIM_FILES_H
#define SIM_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/disk.h"

/** Where absolute paths lie; borrowed. */
void files_set_shelf(struct disk *shelf);

/** The disk and the process that system calls belong to from now on; borrowed. */
void files_mount(struct disk *disk, unsigned process);

/** A handle on the root of the mounted disk. */
int files_root(void);

/** A handle on bytes in memory, as the front passes an artifact. Borrowed until it is closed. */
int files_artifact(const uint8_t *data, size_t len);

/** Close what a process left open, locks included. */
void files_process_end(unsigned process);

/** Open handles of a process. */
size_t files_open(unsigned process);

#endif
