/*
 * check: tidemarkd --check-config: everything that would keep the service from starting, at once,
 * and nothing changed by looking.
 *
 * Uses: everything of daemon, http/tls.h. One thread.
 */
#ifndef DAEMON_CHECK_H
#define DAEMON_CHECK_H

#include "daemon/config.h"

/**
 * Look at what a good configuration leads to on this host, and print a line on standard error for
 * each mistake: TLS files, addresses, the socket's folder, the TPM's library, the sandbox, locked
 * memory, state directory, first key. A running service is no mistake.
 * @return the exit code: 0 none, 2 the configuration cannot be meant so, 6 the host is not ready.
 */
int check_start(const struct config *config);

#endif
