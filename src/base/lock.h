/*
 * lock: one process at a time on a state directory, by an open-file-description lock.
 *
 * Two files: SERVICE_LOCK is held by a service or an offline tool as a whole, CORE_LOCK by the
 * process that talks to the TPM, so that a restarted core can never work beside an old one that is
 * stuck in the TPM (attack 23). The kernel drops the lock when the process ends, however it ends.
 *
 * Uses: libc. Any thread.
 */
#ifndef BASE_LOCK_H
#define BASE_LOCK_H

#include <stdint.h>

#include "base/rc.h"

#define SERVICE_LOCK "service.lock"
#define CORE_LOCK "core.lock"

/**
 * Take a lock, waiting at most wait_ms.
 * @param[out] fd  Holds the lock until it is closed; O_CLOEXEC. -1 on failure.
 * @retval RC_RETRY_BUSY       Another process holds it.
 * @retval RC_HALT_STATE_DIR   The file cannot be made or locked (permissions, file system).
 */
enum rc lock_take(int dirfd, const char *name, uint32_t wait_ms, int *fd,
                  struct err *err) MUST_CHECK;

#endif
