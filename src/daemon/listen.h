/*
 * listen: the sockets that the front accepts from: those that the service manager hands over, and
 * for the rest those that the configuration names.
 *
 * Uses: base, http/front.h, libsystemd (sd_listen_fds). Supervisor, one thread.
 */
#ifndef DAEMON_LISTEN_H
#define DAEMON_LISTEN_H

#include "daemon/config.h"

/* Names of handed-over sockets (FileDescriptorName= of systemd.socket(5)). */
#define LISTEN_NAME_UNIX "unix"
#define LISTEN_NAME_TCP "tcp"
#define LISTEN_NAME_TLS "tls"

/**
 * Open all listeners. A socket that was handed over takes the place of the one that the
 * configuration names for its kind; it belongs to the service manager, whose file stays.
 *
 * @param[in]     config  http_unix, http_tcp_address and http_tcp_port, tls_address and
 *                        tls_port; front.tls, which a socket for TLS needs.
 * @param[in,out] front   Its listeners; owned by the caller whatever is returned.
 * @param[out]    ours    The Unix socket's file was made here: listen_close() removes it.
 * @retval RC_REFUSED_CONFIG  A handed-over socket has another name or is of another kind, or is
 *                            reachable from other machines; the text says which.
 * @retval RC_HALT_SYSTEM     An address cannot be listened on.
 */
enum rc listen_open(const struct config *config, struct front_config *front, bool *ours,
                    struct err *err) MUST_CHECK;

/** Close them, and remove the Unix socket's file if it is ours. */
void listen_close(const struct config *config, struct front_config *front, bool ours);

#endif
