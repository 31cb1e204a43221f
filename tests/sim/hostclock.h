/*
 * hostclock: one machine's clock and its chronyd, as the signer's clock module sees them.
 *
 * True time is the simulator's own. A host's clock runs beside it with an offset; chronyd asks its
 * source every poll_s, learns the offset against what the source says (which may be a lie), and
 * slews it out. Adversaries step the clock, silence chronyd, take its source away, or let the
 * source lie, at once or by a slow drag. What comes out is a struct clk_evidence, which the real
 * clk_judge() judges.
 *
 * Uses: clock, random. One thread; plain values.
 */
#ifndef SIM_HOSTCLOCK_H
#define SIM_HOSTCLOCK_H

#include "clock/clock.h"
#include "sim/random.h"

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

struct host_clock {
    int64_t offset_ns;  /* host clock - true time, when `since_ns` was */
    int64_t since_ns;   /* true time */
    int64_t slewing_ns; /* part of the offset that chronyd takes out, from since_ns on */
    int64_t boot_ns;    /* true time of the last boot: raw time begins there */
    bool alive;         /* chronyd answers */
    bool has_source;    /* it has something to follow */
    bool synchronised;  /* since its start it has followed something */
    uint32_t stratum;
    int64_t poll_s;
    int64_t next_poll_ns;   /* true time */
    int64_t last_update_ns; /* by the host's clock, blurred */
    int64_t lie_ns;         /* what the source adds to true time */
    int64_t drag_ppb;       /* how fast the lie grows */
    int64_t drag_since_ns;
    bool leap_announced;
};

/** A host that has booted at `now_ns`, with a chronyd that is about to ask for the first time. */
void host_clock_boot(struct host_clock *c, int64_t now_ns, struct chance *chance);

/** Everything chronyd did up to now. Call it before the clock is read. */
void host_clock_run(struct host_clock *c, int64_t now_ns, struct chance *chance);

/** When chronyd will ask its source next (true time), INT64_MAX: never. */
int64_t host_clock_next(const struct host_clock *c);

int64_t host_clock_real_ns(const struct host_clock *c, int64_t now_ns);
int64_t host_clock_raw_ns(const struct host_clock *c, int64_t now_ns);

/** Somebody sets the clock. */
void host_clock_step(struct host_clock *c, int64_t now_ns, int64_t by_ns);

/** chronyd is stopped, or started again (and must find its source anew). */
void host_clock_set_alive(struct host_clock *c, int64_t now_ns, bool alive);

/** The source begins to lie (again), at once by `lie_ns`, growing by drag_ppb; 0 and 0: no more. */
void host_clock_lie(struct host_clock *c, int64_t now_ns, int64_t lie_ns, int64_t drag_ppb);

/** How far the time that chronyd vouches for lies from the truth by its source's fault. */
int64_t host_clock_lie_now(const struct host_clock *c, int64_t now_ns);

/** What a signer that asks now is told. */
void host_clock_evidence(const struct host_clock *c, int64_t now_ns, struct clk_evidence *e);

/** Honest again: no lie, a source, the right time. */
void host_clock_mend(struct host_clock *c, int64_t now_ns);

#endif
