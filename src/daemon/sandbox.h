/*
 * sandbox: what front and core may still ask of the kernel once they have what they need.
 *
 * Two locks, one behind the other. System calls: a list of those that the process makes; any other
 * ends it at once (SIGSYS), but for a few that libraries try and can do without, which fail. Files
 * and sockets: Landlock, with which only named folders and files can be opened, and no TCP address
 * can be connected or bound to. What was opened before stays open.
 *
 * The front may open its spool folder (files without names) and the folders of its TLS files,
 * accept connections and wait for them; it makes no socket of its own. The core may open the state
 * directory and the TPM's device, sync files, and make sockets of the Unix domain, by which some
 * TPMs are reached.
 *
 * Neither may run a program, make a process, trace another one, or map memory to be executed. A
 * kernel that has no Landlock is said so; without it the list of calls and the unit's own sandbox
 * (systemd/) remain. Builds with sanitizers may make a few calls more, for their reports.
 *
 * Uses: base, libseccomp; Landlock by its system calls. Sources: seccomp(2), landlock(7).
 */
#ifndef DAEMON_SANDBOX_H
#define DAEMON_SANDBOX_H

#include <stdbool.h>

#include "base/rc.h"

#define SANDBOX_FILES_MAX 4

enum sandbox_role { SANDBOX_FRONT, SANDBOX_CORE };

struct sandbox {
    enum sandbox_role role;
    int dirfd;        /* front: the spool folder; core: the state directory. Borrowed; -1: none */
    const char *tcti; /* core: how the TPM is reached; what that needs is left open */
    const char *also_read; /* a file or folder more that may be read; "" for none */
    /* Files that may be read again when they have changed, and so with them all in their folders,
     * since what replaces one is another file; "" or NULL for none. Where one is a link, the folder
     * of what it leads to as well. */
    const char *files[SANDBOX_FILES_MAX];
};

/**
 * Lock the calling process in, for good. To be called while it has one thread: others would stay
 * outside.
 * @param[out] landlock_abi  Version of Landlock that holds it; 0: this kernel has none.
 * @retval RC_HALT_SYSTEM  The kernel refuses; how much of it holds then is unknown: end the
 * process.
 */
enum rc sandbox_enter(const struct sandbox *s, int *landlock_abi, struct err *err) MUST_CHECK;

/**
 * Try it out in a process of its own, which ends.
 * @param[out] landlock_abi  As sandbox_enter().
 * @return false if it cannot be entered, or if it does not hold.
 */
bool sandbox_try(const struct sandbox *s, int *landlock_abi) MUST_CHECK;

#endif
