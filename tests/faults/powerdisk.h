/*
 * powerdisk: an ext4 on a loop device on powercut_disk, whose power a test can cut.
 *
 * Needs root, /dev/fuse and loop devices. Everything is mounted in a mount namespace of its own,
 * and the loop device lets go of itself at the last unmount, so whatever ends the test takes
 * mounts, device and disk along. Functions without a result fail the running cmocka test. One
 * thread, but for powerdisk_power() and powerdisk_release().
 */
#ifndef TESTS_FAULTS_POWERDISK_H
#define TESTS_FAULTS_POWERDISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/service.h"

#define POWERDISK_MIB 48

struct powerdisk {
    char fuse[LAB_PATH], mount[LAB_PATH];
    char control[LAB_PATH + 16], disk[LAB_PATH + 16];
    pid_t pid;
};

enum powerdisk_power { POWERDISK_ON, POWERDISK_HELD, POWERDISK_OFF };

/** Go into a mount namespace of our own; before there are other threads. @return NULL, or why this
 * host cannot have such a disk. */
const char *powerdisk_possible(void);

/** Make it, with an empty file system mounted. powerdisk_end() in any case. */
void powerdisk_make(struct powerdisk *d, const char *name);
void powerdisk_end(struct powerdisk *d);

/** An empty file system again, mounted; of whatever is there nothing is left. */
void powerdisk_format(struct powerdisk *d);

/** One line to the disk: see powercut_disk.c. @return false if it says no */
bool powerdisk_tell(const struct powerdisk *d, const char *format, ...) PRINTF_LIKE(2, 3);
enum powerdisk_power powerdisk_power(const struct powerdisk *d);

/** A number of the status line: "writes", "cuts", "dropped" … */
uint64_t powerdisk_count(const struct powerdisk *d, const char *name);

/**
 * Behind a cut, when nobody has a file open there any more: unmount, power on, mount again.
 * @return false: what the disk kept cannot be mounted
 */
bool powerdisk_again(struct powerdisk *d);

/** Unmount and look with e2fsck whether a disk that was never cut could look like this; mount
 * again.
 * @return false: errors */
bool powerdisk_sound(struct powerdisk *d);

#endif
