/*
 * clock: what time is it, and how sure are we: an interval [earliest, latest] from chronyd.
 *
 * One pure function, clk_judge(), turns evidence into an answer; clk_read() collects the evidence from
 * the real chronyd (UDP loopback), the kernel and the time source. This is the first form of
 * facts/clock section 4: refusals, bound, edges; quarantine and holdover come with the full machine.
 *
 * Uses: base. Keeps I5 (no window index without a trusted clock).
 * Threads: a struct clk belongs to the signer thread. clk_read() blocks at most CLK_TIMEOUT_MS.
 */
#ifndef CLOCK_CLOCK_H
#define CLOCK_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/world.h"

#define CLK_TIMEOUT_MS 200

/** Why a clock may not be signed by; stable names for logs, metrics and problem documents. */
#define CLK_REASONS(X)                                                                             \
    X(CLK_NO_REPLY, "no-reply", "chronyd does not answer")                                         \
    X(CLK_BAD_INPUT, "bad-input", "chronyd's answer is malformed")                                 \
    X(CLK_LEAP3, "leap3", "chronyd is not synchronised")                                           \
    X(CLK_LOCAL_REF, "local-ref", "chronyd follows its own local clock only")                      \
    X(CLK_STRATUM, "stratum", "the source's stratum is too high")                                  \
    X(CLK_STALE, "stale", "the last update from a source is too old")                              \
    X(CLK_ERR_BIG, "err-big", "the error bound is above the limit")                                \
    X(CLK_KERNEL_UNSYNC, "kernel-unsync", "the kernel says that its clock is not synchronised")    \
    X(CLK_WARMUP, "warmup", "not enough fresh updates since the start")                            \
    X(CLK_STEP, "step", "the clock was stepped")                                                   \
    X(CLK_RANGE, "range", "time outside the years that make sense")

enum clk_reason {
#define X(name, text, people) name##_BIT,
    CLK_REASONS(X)
#undef X
        CLK_REASON_COUNT
};
#define CLK_REASON(name) (UINT32_C(1) << name##_BIT)

struct clk_policy {
    char address[64];      /* chronyd's command address: "127.0.0.1" or "::1" */
    uint16_t port;         /* 323 */
    int64_t max_error_ms;  /* largest half width of the interval; default 250 */
    int64_t max_age_s;     /* oldest reference time; default 512 */
    uint32_t max_stratum;  /* default 4 */
    uint32_t warmup;       /* fresh updates (new reference times) needed after start; default 3 */
    int64_t guard_ms;      /* kept free on both sides of a window; default 2000 */
    bool kernel_witness;   /* ask adjtimex too; off only where chronyd runs with -x (demo, tests) */
    bool allow_local_refid; /* never in production: a reference clock of its own */
};

/** A decoded tracking report (chrony protocol 6, RPY_TRACKING). */
struct clk_tracking {
    uint32_t ref_id;
    uint16_t stratum;
    uint16_t leap;
    int64_t ref_time_ns;
    double correction_s; /* offset of the system clock that chronyd knows of and slews out */
    double root_delay_s;
    double root_dispersion_s;
};

/** All evidence of one sample. */
struct clk_evidence {
    int64_t real_ns;        /* system clock, read after the answer */
    int64_t raw_ns;         /* raw clock at the same moment */
    int64_t query_ns;       /* how long the query took, raw */
    bool replied;
    bool malformed;
    struct clk_tracking tracking;
    bool kernel_asked;
    bool kernel_unsync;
    int64_t kernel_maxerror_us;
};

struct clk_reading {
    bool safe;           /* may be signed by (edges of windows aside) */
    uint32_t reasons;    /* CLK_REASON bits; 0 when safe */
    int64_t earliest_ns; /* true time is in [earliest, latest], UTC as POSIX counts it */
    int64_t latest_ns;   /* both are the raw system clock when not safe: for display only */
    int64_t error_ns;    /* half width, INT64_MAX if unknown */
    uint32_t ref_id;
    uint32_t stratum;
};

/** State between samples: the warm-up count. Zero it at the start. */
struct clk_state {
    uint32_t fresh;          /* consecutive fresh updates, each with a new reference time */
    int64_t last_ref_ns;
    int64_t last_real_ns;
    int64_t last_raw_ns;
    bool seen;
};

/** The pure judgement of one sample. Any thread; no system call. */
void clk_judge(struct clk_state *state, const struct clk_policy *policy,
               const struct clk_evidence *evidence, struct clk_reading *reading);

struct clk; /* opaque: a connected socket and a clk_state */

/**
 * Open the socket to chronyd. Does not talk yet: a chronyd that is down shows in clk_read().
 * @param[in] time  Borrowed; must outlive the clock.
 * @retval RC_REFUSED_CONFIG  The address is not a loopback address.
 * @retval RC_HALT_SYSTEM     No socket.
 */
enum rc clk_open(struct clk **clk, const struct clk_policy *policy, const struct time_source *time,
                 struct err *err) MUST_CHECK;
void clk_close(struct clk **clk);

/** Take one sample and judge it. Never fails: an unusable clock is a reading with reasons. */
void clk_read(struct clk *clk, struct clk_reading *reading);

/** Names of the reasons in a set, comma-separated: "leap3,err-big"; "" for 0. out: cap bytes. */
void clk_reasons_print(uint32_t reasons, char *out, size_t cap);

/** One sentence for people about the first reason of a set. Static. */
const char *clk_reason_text(uint32_t reasons);

/**
 * May a window [start_s, end_s) be used at this reading? The whole interval, less a guard on each
 * side, must lie inside.
 * @param[out] wait_ms  If not: how long to wait until it may, or -1 if it never will again (it is
 *                      over, or its end is nearer than the guard).
 */
bool clk_inside(const struct clk_reading *reading, const struct clk_policy *policy, int64_t start_s,
                int64_t end_s, int64_t *wait_ms) MUST_CHECK;

#endif
