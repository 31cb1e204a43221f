/*
 * world: the real time. The only file that asks the operating system what time it is for the
 * signer.
 */
#ifndef DAEMON_WORLD_H
#define DAEMON_WORLD_H

#include "base/world.h"

/** CLOCK_REALTIME, CLOCK_MONOTONIC_RAW and a sleep. Static; any thread. */
const struct time_source *world_time(void);

#endif
