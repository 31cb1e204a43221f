/*
 * notify: what the service manager is told (sd_notify(3)). Without one nothing is said.
 *
 * Uses: base, signer/request.h, libsystemd. Supervisor, one thread.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

struct notify {
    bool ready;        /* READY=1 was said */
    uint32_t state;    /* that STATUS= named last */
    int64_t every_ms;  /* between two WATCHDOG=1; 0: nobody waits for them */
    int64_t alive_ms;  /* when the last was said */
    int64_t extend_ms; /* when more time was asked for */
};

/** Find out whether the service manager wants a sign of life, and how often. */
void notify_open(struct notify *n);

/**
 * Say what is new, and a sign of life where one is due. Called often.
 * @param[in] definite  Front and core have come to a definite state: the start is complete.
 * @param[in] long_work The core opens its keys: a start that takes long is not one that hangs.
 * @param[in] alive     Both children come round; if not, no sign of life is given.
 * @param[in] state     enum service_state; for STATUS= once the state is definite.
 */
void notify_turn(struct notify *n, int64_t now_ms, bool definite, bool long_work, bool alive,
                 uint32_t state);

/** The configuration is being read again; notify_reloaded() ends that. */
void notify_reloading(const struct notify *n);
void notify_reloaded(const struct notify *n, const char *how);

void notify_stopping(void);

#endif
