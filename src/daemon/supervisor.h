/*
 * supervisor: opens what needs privilege, starts front and core, and starts them again when they
 * end.
 *
 * Holds no key and parses nothing from outside but signals and, for a reload, the configuration.
 * Uses: base, http/front.h, signer/core.h. One call, one thread.
 */
#ifndef DAEMON_SUPERVISOR_H
#define DAEMON_SUPERVISOR_H

#include "daemon/config.h"

/**
 * Run the service until SIGTERM or SIGINT; a second one of them leaves the clients alone, not A.
 * SIGHUP reads the configuration again: what may change holds from then on, and a file with a
 * mistake, or with a change that needs a restart, changes nothing at all.
 *
 * @param[in] config  As read from path (NULL: the default); borrowed.
 * @retval RC_OK               Stopped in order.
 * @retval RC_HALT_STATE_DIR   State directory missing, not ours, or not writable.
 * @retval RC_RETRY_BUSY       Another service or tool works on it.
 * @retval RC_HALT_SYSTEM      Sockets or processes cannot be made.
 */
enum rc supervisor_run(const struct config *config, const char *path, struct err *err) MUST_CHECK;

/**
 * Open the state directory for a service or an offline tool and take the service lock.
 * @param[in]  create  Make it (0700) if it is not there.
 * @param[out] dirfd, lock  Owned by the caller.
 * @retval RC_HALT_STATE_DIR, RC_RETRY_BUSY  As above.
 */
enum rc state_dir_open(const char *path, bool create, int *dirfd, int *lock,
                       struct err *err) MUST_CHECK;

#endif
