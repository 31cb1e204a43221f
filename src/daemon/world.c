#include "daemon/world.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

static int64_t now(clockid_t clock)
{
    struct timespec t = {0};
    (void)clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t real_ns(void *ctx)
{
    (void)ctx;
    return now(CLOCK_REALTIME);
}

static int64_t raw_ns(void *ctx)
{
    (void)ctx;
    return now(CLOCK_MONOTONIC_RAW);
}

static int64_t mono_ns(void *ctx)
{
    (void)ctx;
    return now(CLOCK_MONOTONIC);
}

static int64_t boot_ns(void *ctx)
{
    (void)ctx;
    return now(CLOCK_BOOTTIME);
}

static void sleep_ms(void *ctx, uint32_t ms)
{
    (void)ctx;
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

const struct time_source *world_time(void)
{
    static const struct time_source source = {
        .ctx = NULL,
        .real_ns = real_ns,
        .raw_ns = raw_ns,
        .sleep_ms = sleep_ms,
        .mono_ns = mono_ns,
        .boot_ns = boot_ns,
    };
    return &source;
}
