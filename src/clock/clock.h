/*
 * clock: what time is it, and how sure are we: an interval [earliest, latest] from chronyd.
 *
 * One pure function, clk_judge(), turns evidence into an answer; clk_read() collects the evidence
 * from the real chronyd (UDP loopback), the kernel and the time source. This is the first form of
 * docs/design.md §7: refusals, bound, edges; quarantine and holdover come with the full machine.
 *
 * "Normal" is not "synchronised": chronyd reports leap status 0, a low stratum and a small bound
 * long after its last source has gone, and a bound of zero when it only follows itself. So the
 * judgement goes by reference, age of the last update and error bound, never by the leap status
 * alone.
 *
 * Uses: base. Keeps I5 (no window index without a trusted clock).
 * Threads: a struct clk belongs to the signer thread. clk_read() blocks at most CLK_TIMEOUT_MS.
 */
#ifndef CLOCK_CLOCK_H
#define CLOCK_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "base/world.h"

/** Longest that clk_read() waits for an answer. chronyd's own time is 13 microseconds. */
#define CLK_TIMEOUT_MS 200

/** When to ask again after a reading that is not safe, milliseconds; see clk_inside(). */
#define CLK_RETRY_MS 1000

/** System clocks before 2024-01-01 or from 2200-01-01 on are refused: a host that booted without a
 *  clock is in 1970, and within these years no sum of nanoseconds overflows. Seconds since 1970. */
#define CLK_REAL_S_MIN INT64_C(1704067200)
#define CLK_REAL_S_MAX INT64_C(7258118400)

/** Upper ends of the limits in struct clk_policy; the lower ends are 1, for warmup and guard 0.
 *  clk_judge() takes a larger max_error_ms for CLK_ERROR_MS_MAX. */
#define CLK_ERROR_MS_MAX 60000
#define CLK_AGE_S_MAX 86400
#define CLK_STRATUM_MAX 15
#define CLK_WARMUP_MAX 100
#define CLK_GUARD_MS_MAX 3600000

/** A reference time may lie this far in the future before it counts as stale, seconds. */
#define CLK_FUTURE_S_MAX 2

/**
 * Why a clock may not be signed by; stable names for logs, metrics and problem documents.
 * kernel-unsync stands for all that the second witness can say: STA_UNSYNC is set, the kernel's
 * maximum error is above the limit, or the kernel could not be asked.
 */
#define CLK_REASONS(X)                                                                             \
    X(CLK_NO_REPLY, "no-reply", "chronyd does not answer")                                         \
    X(CLK_BAD_INPUT, "bad-input", "chronyd's answer is malformed")                                 \
    X(CLK_LEAP3, "leap3", "chronyd is not synchronised")                                           \
    X(CLK_LOCAL_REF, "local-ref", "chronyd follows a clock of this host, not a time server")       \
    X(CLK_STRATUM, "stratum", "the source's stratum is too high")                                  \
    X(CLK_STALE, "stale", "the last update from a source is too old")                              \
    X(CLK_ERR_BIG, "err-big", "the error bound is above the limit")                                \
    X(CLK_KERNEL_UNSYNC, "kernel-unsync", "the kernel does not vouch for its clock")               \
    X(CLK_WARMUP, "warmup", "not enough fresh updates since the start")                            \
    X(CLK_STEP, "step", "the clock was stepped")                                                   \
    X(CLK_RANGE, "range", "time outside the years that make sense")                                \
    X(CLK_SUSPEND, "suspend", "this host was asleep")                                              \
    X(CLK_TPM_JUMP, "tpm-jump",                                                                    \
      "the TPM's clock went on while this host stood still, or fell back")                         \
    X(CLK_FORWARD, "forward", "the time is later than it can be")                                  \
    X(CLK_DRAG, "drag", "the time has been running too fast since the start")                      \
    X(CLK_OFFLINE, "offline", "nothing was recorded for longer than is believed unseen")           \
    X(CLK_BACKWARD, "backward", "the time is earlier than it can be")

enum clk_reason {
#define X(name, text, people) name##_BIT,
    CLK_REASONS(X)
#undef X
        CLK_REASON_COUNT
};
#define CLK_REASON(name) (UINT32_C(1) << name##_BIT)

/** Size of a buffer in which clk_reasons_print() can name all reasons, NUL included. */
enum {
    CLK_REASONS_SIZE = 0
#define X(name, text, people) +(int)sizeof(text)
    CLK_REASONS(X)
#undef X
};

struct clk_policy {
    char address[64];     /* chronyd's command address: "127.0.0.1" or "::1" */
    uint16_t port;        /* 323 */
    int64_t max_error_ms; /* largest half width of the interval; default 250 */
    int64_t max_age_s;    /* oldest reference time; default 512. At least twice chronyd's longest
                           * polling interval, or every poll finds the warm-up undone */
    uint32_t max_stratum; /* default 4 */
    uint32_t warmup;      /* fresh updates (new reference times) needed after start; default 3 */
    int64_t guard_ms;     /* kept free on both sides of a window; default 2000: also swallows
                           * leap seconds and their smearing */
    bool kernel_witness;  /* ask adjtimex too; off only where chronyd runs with -x (demo, tests) */
    bool allow_local_refid; /* never in production: a reference clock of its own */
};

/** A decoded tracking report (chrony protocol 6, RPY_TRACKING). */
struct clk_tracking {
    uint32_t ref_id;
    uint16_t stratum;
    uint16_t leap;
    bool own_device;     /* the source has no network address: `local`, or a reference clock */
    int64_t ref_time_ns; /* of the last update; chronyd blurs it by 0 … 1 s into the past */
    double correction_s; /* offset of the system clock that chronyd knows of and slews out;
                          * true time = system clock + correction */
    double root_delay_s;
    double root_dispersion_s;
};

/** All evidence of one sample. */
struct clk_evidence {
    int64_t real_ns;  /* system clock, read after the answer */
    int64_t raw_ns;   /* raw clock at the same moment */
    int64_t query_ns; /* how long the query took, raw */
    bool replied;
    bool malformed; /* something came that is no answer; replied is false then */
    struct clk_tracking tracking;
    bool kernel_asked; /* false although the policy wants it: the call failed */
    bool kernel_unsync;
    int64_t kernel_maxerror_us;
};

struct clk_reading {
    bool safe;           /* may be signed by (edges of windows aside) */
    uint32_t reasons;    /* CLK_REASON bits; 0 when safe */
    int64_t earliest_ns; /* true time is in [earliest, latest], UTC as POSIX counts it */
    int64_t latest_ns;   /* both are the raw system clock when not safe: for display only */
    int64_t error_ns;    /* half width, INT64_MAX if unknown */
    int64_t offset_ns;   /* of the system clock against chronyd's time; 0 if unknown */
    uint32_t ref_id;     /* 0 if unknown, as is the stratum */
    uint32_t stratum;
};

/** State between samples: the warm-up count. Zero it at the start. */
struct clk_state {
    uint32_t fresh;       /* consecutive fresh updates, each with a new reference time */
    int64_t last_ref_ns;  /* of the last well-formed report, fresh or not */
    int64_t last_real_ns; /* of the last sample, answered or not: steps show between two samples */
    int64_t last_raw_ns;
    bool seen;
};

/**
 * The pure judgement of one sample. Any thread; no system call.
 *
 * A sample is fresh if no reason but warmup speaks against it:
 *   - a well-formed report came, with leap status 0 … 2 and a reference id other than 0;
 *   - the reference is a time server (not 127.127.1.1, not a device), stratum 1 … max_stratum;
 *   - age = (real + correction) - reference time is in -CLK_FUTURE_S_MAX … max_age_s;
 *   - e = |correction| + delay/2 + dispersion + duration of the query <= max_error_ms;
 *   - the kernel agrees (see kernel-unsync), unless kernel_witness is off;
 *   - the system clock lies in the years that make sense and was not stepped since the last sample:
 *     |Δreal - Δraw| is at most what slewing can do, a tenth of Δraw, and 50 ms.
 * It is safe if it is fresh and the last `warmup` new reference times all came with fresh samples
 * and none but fresh samples between them. A fresh sample whose reference time is that of the
 * sample before neither counts nor breaks the row; every other sample starts it anew. So the clock
 * must be read about once a second also while nobody asks for signatures: warming up takes `warmup`
 * polls of chronyd from the first reading, and two readings an hour apart could hide a step of
 * minutes.
 *
 * @param[in,out] state     Changed by every sample.
 * @param[in]     evidence  May hold any numbers: what is absurd is refused, nothing overflows.
 * @param[out]    reading   safe: earliest and latest are real ∓ e. Not safe: both are real.
 */
void clk_judge(struct clk_state *state, const struct clk_policy *policy,
               const struct clk_evidence *evidence, struct clk_reading *reading);

struct clk; /* opaque: a connected socket and a clk_state */

/**
 * Open the socket to chronyd. Does not talk yet: a chronyd that is down shows in clk_read().
 * base_init() first.
 * @param[out] clk     Owned by the caller, clk_close(). NULL unless RC_OK.
 * @param[in]  policy  Copied.
 * @param[in]  time    Borrowed; must outlive the clock.
 * @retval RC_OK
 * @retval RC_REFUSED_CONFIG  The address is not a loopback address (127.0.0.0/8 or ::1), the port
 * is 0, or a limit is outside the range named in struct clk_policy.
 * @retval RC_RETRY_SYSTEM    No memory.
 * @retval RC_HALT_SYSTEM     No socket.
 */
enum rc clk_open(struct clk **clk, const struct clk_policy *policy, const struct time_source *time,
                 struct err *err) MUST_CHECK;

/** Close and set to NULL; NULL is fine. */
void clk_close(struct clk **clk);

/**
 * Take one sample and judge it. Never fails: an unusable clock is a reading with reasons.
 * Blocks until the answer is there: 13 µs, at once if nobody listens on the port, and at most
 * CLK_TIMEOUT_MS if chronyd hangs.
 */
void clk_read(struct clk *clk, struct clk_reading *reading);

/**
 * Names of the reasons in a set, comma-separated: "leap3,err-big"; "" for 0.
 * @param[out] out  cap >= 1 bytes, NUL-terminated; names that do not fit whole are left out.
 */
void clk_reasons_print(uint32_t reasons, char *out, size_t cap);

/** One sentence for people about the first reason of a set, "" for an empty set. Static. */
const char *clk_reason_text(uint32_t reasons);

/**
 * May a window [start_s, end_s) be used at this reading? The whole interval, less a guard on each
 * side, must lie inside: start + guard <= earliest and latest <= end - guard.
 *
 * Call it on a reading taken just now: before an index is taken, and again after it is committed.
 *
 * @param[in]  reading  A reading that is not safe is inside no window, whatever its numbers.
 * @param[in]  start_s  Seconds since 1970, any; so is end_s. An empty window has no inside.
 * @param[out] wait_ms  0 if it may. If not: how long to wait until it may, rounded up (the bound
 * must not grow meanwhile: read again and ask again), or -1 if it never will again (it is over, its
 * end is nearer than the guard, or it is shorter than interval and guards). CLK_RETRY_MS if the
 * reading is not safe. INT64_MAX stands for that and more.
 * @retval true  It may. Any thread; pure.
 */
bool clk_inside(const struct clk_reading *reading, const struct clk_policy *policy, int64_t start_s,
                int64_t end_s, int64_t *wait_ms) MUST_CHECK;

#endif
