#include "sim/hostclock.h"

#include <stdlib.h>

#define SLEW_DIVISOR 12      /* chronyd slews at most 8.3 % */
#define MAKESTEP_NS NS_PER_S /* it steps if the first measurements are off by more */
#define DELAY_S 0.004
#define DISPERSION_S 0.0005
#define DRIFT_PPB 15000   /* how fast its bound grows without updates */
#define KERNEL_PPB 500000 /* and the kernel's */
#define KERNEL_LIMIT_US 16000000

static int64_t scaled(int64_t ns, int64_t ppb)
{
    return (int64_t)((__int128)ns * ppb / NS_PER_S);
}

/* What is left of the offset that is being slewed. */
static int64_t slew_left(const struct host_clock *c, int64_t now_ns)
{
    int64_t done = (now_ns - c->since_ns) / SLEW_DIVISOR;
    if (llabs(c->slewing_ns) <= done)
        return 0;
    return c->slewing_ns > 0 ? c->slewing_ns - done : c->slewing_ns + done;
}

static int64_t offset_now(const struct host_clock *c, int64_t now_ns)
{
    return c->offset_ns - c->slewing_ns + slew_left(c, now_ns);
}

int64_t host_clock_lie_now(const struct host_clock *c, int64_t now_ns)
{
    return c->lie_ns + scaled(now_ns - c->drag_since_ns, c->drag_ppb);
}

int64_t host_clock_real_ns(const struct host_clock *c, int64_t now_ns)
{
    return now_ns + offset_now(c, now_ns);
}

int64_t host_clock_raw_ns(const struct host_clock *c, int64_t now_ns)
{
    return now_ns - c->boot_ns;
}

/* Make now the moment from which offset and slew count. */
static void rebase(struct host_clock *c, int64_t now_ns)
{
    int64_t offset = offset_now(c, now_ns);
    c->slewing_ns = slew_left(c, now_ns);
    c->offset_ns = offset;
    c->since_ns = now_ns;
}

void host_clock_boot(struct host_clock *c, int64_t now_ns, struct chance *chance)
{
    *c = (struct host_clock){.since_ns = now_ns,
                             .boot_ns = now_ns,
                             .alive = true,
                             .has_source = true,
                             .stratum = 2,
                             .poll_s = 16,
                             .drag_since_ns = now_ns};
    c->offset_ns = chance_between(chance, -200, 200) * NS_PER_MS;
    c->next_poll_ns = now_ns + chance_between(chance, 1, 4) * NS_PER_S;
}

int64_t host_clock_next(const struct host_clock *c)
{
    return c->alive && c->has_source ? c->next_poll_ns : INT64_MAX;
}

/* One answer of the source: step at the start, slew later. */
static void poll_source(struct host_clock *c, int64_t at_ns, struct chance *chance)
{
    rebase(c, at_ns);
    int64_t wanted = host_clock_lie_now(c, at_ns);
    if (!c->synchronised && llabs(c->offset_ns - wanted) > MAKESTEP_NS)
        c->offset_ns = wanted;
    c->slewing_ns = c->offset_ns - wanted;
    c->synchronised = true;
    c->last_update_ns = at_ns + c->offset_ns - (int64_t)chance_below(chance, (uint64_t)NS_PER_S);
}

void host_clock_run(struct host_clock *c, int64_t now_ns, struct chance *chance)
{
    /* After a long silence only the last polls can matter: warming up takes three. */
    int64_t behind = now_ns - c->next_poll_ns;
    if (host_clock_next(c) != INT64_MAX && behind > 4 * c->poll_s * NS_PER_S) {
        poll_source(c, c->next_poll_ns, chance);
        c->next_poll_ns =
            now_ns - 4 * c->poll_s * NS_PER_S + chance_between(chance, 0, c->poll_s) * NS_PER_S;
    }
    while (host_clock_next(c) <= now_ns) {
        poll_source(c, c->next_poll_ns, chance);
        c->next_poll_ns += c->poll_s * NS_PER_S;
    }
}

void host_clock_step(struct host_clock *c, int64_t now_ns, int64_t by_ns)
{
    rebase(c, now_ns);
    c->offset_ns += by_ns;
}

void host_clock_set_alive(struct host_clock *c, int64_t now_ns, bool alive)
{
    rebase(c, now_ns);
    if (alive && !c->alive) {
        c->synchronised = false;
        c->slewing_ns = 0;
        c->next_poll_ns = now_ns + 2 * NS_PER_S;
    }
    c->alive = alive;
}

void host_clock_lie(struct host_clock *c, int64_t now_ns, int64_t lie_ns, int64_t drag_ppb)
{
    c->lie_ns = lie_ns;
    c->drag_ppb = drag_ppb;
    c->drag_since_ns = now_ns;
}

void host_clock_evidence(const struct host_clock *c, int64_t now_ns, struct clk_evidence *e)
{
    *e = (struct clk_evidence){.real_ns = host_clock_real_ns(c, now_ns),
                               .raw_ns = host_clock_raw_ns(c, now_ns),
                               .query_ns = 13000,
                               .replied = c->alive,
                               .kernel_asked = true};
    int64_t age = e->real_ns - c->last_update_ns;
    int64_t silent = c->synchronised && age > 0 ? age : 0;
    e->kernel_maxerror_us = 2000 + scaled(silent, KERNEL_PPB) / 1000;
    if (!c->synchronised || e->kernel_maxerror_us > KERNEL_LIMIT_US) {
        e->kernel_unsync = true;
        e->kernel_maxerror_us = KERNEL_LIMIT_US;
    }
    if (!c->alive)
        return;
    e->tracking = (struct clk_tracking){.ref_id = c->synchronised ? UINT32_C(0xc0000201) : 0,
                                        .stratum = (uint16_t)c->stratum,
                                        .leap = !c->synchronised    ? 3
                                                : c->leap_announced ? 1
                                                                    : 0,
                                        .ref_time_ns = c->last_update_ns,
                                        .correction_s = -(double)slew_left(c, now_ns) / 1e9,
                                        .root_delay_s = DELAY_S,
                                        .root_dispersion_s =
                                            DISPERSION_S + (double)scaled(silent, DRIFT_PPB) / 1e9};
}

void host_clock_mend(struct host_clock *c, int64_t now_ns)
{
    c->lie_ns = 0;
    c->drag_ppb = 0;
    c->drag_since_ns = now_ns;
    c->leap_announced = false;
    c->stratum = 2;
    c->has_source = true;
    if (!c->alive)
        host_clock_set_alive(c, now_ns, true);
    rebase(c, now_ns);
    if (llabs(c->offset_ns) > NS_PER_S / 5)
        c->offset_ns = 0; /* somebody sets the clock right */
    c->slewing_ns = c->offset_ns;
    c->next_poll_ns = now_ns + NS_PER_S;
}
