#include "cli/clock.h"

#include <stddef.h>
#include <time.h>

static int64_t read_ns(clockid_t id)
{
    struct timespec t = {0};
    (void)clock_gettime(id, &t);
    return (int64_t)t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static int64_t real_ns(void *ctx)
{
    (void)ctx;
    return read_ns(CLOCK_REALTIME);
}

static int64_t raw_ns(void *ctx)
{
    (void)ctx;
    return read_ns(CLOCK_MONOTONIC_RAW);
}

static void sleep_ms(void *ctx, uint32_t ms)
{
    (void)ctx;
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000L};
    (void)nanosleep(&t, NULL);
}

struct time_source cli_clock(void)
{
    return (struct time_source){.real_ns = real_ns, .raw_ns = raw_ns, .sleep_ms = sleep_ms};
}
