/*
 * world: the doors through which time comes in.
 *
 * Nothing below daemon calls time(), clock_gettime() or nanosleep() itself; daemon/world.c holds
 * the real functions, the simulator holds its own. All functions are called from one thread at a
 * time.
 */
#ifndef BASE_WORLD_H
#define BASE_WORLD_H

#include <stdint.h>

struct time_source {
    void *ctx;
    int64_t (*real_ns)(void *ctx); /* CLOCK_REALTIME: what the host believes, for records */
    int64_t (*raw_ns)(void *ctx);  /* CLOCK_MONOTONIC_RAW: elapsed time, out of chronyd's reach */
    void (*sleep_ms)(void *ctx, uint32_t ms);
    /* CLOCK_MONOTONIC and CLOCK_BOOTTIME, which part while the host is asleep. NULL: sleep is not
     * seen. */
    int64_t (*mono_ns)(void *ctx);
    int64_t (*boot_ns)(void *ctx);
};

#endif
