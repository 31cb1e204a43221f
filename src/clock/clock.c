#include "clock/clock.h"

#include <math.h>
#include <string.h>

#include "clock/chrony.h"

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

#define REF_ID_LOCAL UINT32_C(0x7f7f0101) /* 127.127.1.1: chronyd's own clock */

/* What slewing alone can do to the system clock between two samples: chronyd's own limit is 8.3 %,
 * the kernel's 10 %; the rest is room for the two clocks being read one after the other. */
#define SLEW_DIVISOR 10
#define SLEW_SLACK_NS (50 * NS_PER_MS)

/* clk_open() checks the limits; clk_judge() takes any policy, so it must not overflow on one. */
static int64_t error_limit_ms(const struct clk_policy *policy)
{
    if (policy->max_error_ms < 0)
        return 0;
    return policy->max_error_ms < CLK_ERROR_MS_MAX ? policy->max_error_ms : CLK_ERROR_MS_MAX;
}

/* Rounded up, because it serves as a bound; too much for 64 bits, and NaN, become INT64_MAX. */
static int64_t bound_ns(double seconds, int64_t more_ns)
{
    int64_t ns = 0;
    if (!(seconds >= 0 && seconds < 9e9) ||
        __builtin_add_overflow((int64_t)ceil(seconds * 1e9), more_ns, &ns))
        return INT64_MAX;
    return ns;
}

static bool within(double value, double min, double max)
{
    return value >= min && value <= max; /* false for NaN */
}

static bool tracking_sane(const struct clk_tracking *t)
{
    return within(t->correction_s, -CHRONY_SECONDS_MAX, CHRONY_SECONDS_MAX) &&
           within(t->root_delay_s, 0, CHRONY_SECONDS_MAX) &&
           within(t->root_dispersion_s, 0, CHRONY_SECONDS_MAX);
}

/* The age is taken against the true time, not the system clock, which may be off by the correction:
 * against that a clock running behind would make old updates look young. */
static bool stale(const struct clk_policy *policy, const struct clk_evidence *e)
{
    int64_t apart = 0;
    if (__builtin_sub_overflow(e->real_ns, e->tracking.ref_time_ns, &apart))
        return true;
    double age_s = (double)apart / 1e9 + e->tracking.correction_s;
    return !within(age_s, -CLK_FUTURE_S_MAX, (double)policy->max_age_s);
}

static uint32_t judge_tracking(const struct clk_policy *policy, const struct clk_evidence *e,
                               int64_t error_ns, int64_t error_ms_max)
{
    const struct clk_tracking *t = &e->tracking;
    /* Without a source the other numbers mean nothing: one reason is clearer than five. */
    if (t->leap > 2 || t->ref_id == 0)
        return CLK_REASON(CLK_LEAP3);
    uint32_t reasons = 0;
    if ((t->own_device || t->ref_id == REF_ID_LOCAL) && !policy->allow_local_refid)
        reasons |= CLK_REASON(CLK_LOCAL_REF);
    if (t->stratum < 1 || t->stratum > policy->max_stratum)
        reasons |= CLK_REASON(CLK_STRATUM);
    if (stale(policy, e))
        reasons |= CLK_REASON(CLK_STALE);
    if (error_ns > error_ms_max * NS_PER_MS)
        reasons |= CLK_REASON(CLK_ERR_BIG);
    return reasons;
}

static uint32_t judge_kernel(const struct clk_policy *policy, const struct clk_evidence *e,
                             int64_t error_ms_max)
{
    if (!policy->kernel_witness)
        return 0;
    /* A witness that could not be heard (a sandbox without adjtimex) has not agreed. */
    if (!e->kernel_asked || e->kernel_unsync || e->kernel_maxerror_us < 0 ||
        e->kernel_maxerror_us > error_ms_max * 1000)
        return CLK_REASON(CLK_KERNEL_UNSYNC);
    return 0;
}

/* Raw time that goes backwards is as good as a step: one of the two clocks cannot be trusted. */
static bool stepped(const struct clk_state *state, const struct clk_evidence *e)
{
    if (e->query_ns < 0)
        return true;
    if (!state->seen)
        return false;
    int64_t real = 0;
    int64_t raw = 0;
    int64_t apart = 0;
    if (__builtin_sub_overflow(e->real_ns, state->last_real_ns, &real) ||
        __builtin_sub_overflow(e->raw_ns, state->last_raw_ns, &raw) || raw < 0 ||
        __builtin_sub_overflow(real, raw, &apart))
        return true;
    int64_t limit = raw / SLEW_DIVISOR + SLEW_SLACK_NS;
    return apart > limit || apart < -limit;
}

static void remember(struct clk_state *state, const struct clk_evidence *e, bool reported,
                     bool fresh)
{
    bool new_update = reported && e->tracking.ref_time_ns != state->last_ref_ns;
    if (!fresh)
        state->fresh = 0;
    else if (new_update && state->fresh < UINT32_MAX)
        state->fresh++;
    /* A report that was not fresh is remembered too: when the reason goes away, the update that it
     * spoke of is no new one. */
    if (reported)
        state->last_ref_ns = e->tracking.ref_time_ns;
    state->last_real_ns = e->real_ns;
    state->last_raw_ns = e->raw_ns;
    state->seen = true;
}

void clk_judge(struct clk_state *state, const struct clk_policy *policy,
               const struct clk_evidence *evidence, struct clk_reading *reading)
{
    *reading = (struct clk_reading){
        .earliest_ns = evidence->real_ns, .latest_ns = evidence->real_ns, .error_ns = INT64_MAX};
    const struct clk_tracking *t = &evidence->tracking;
    int64_t error_ms_max = error_limit_ms(policy);
    bool reported = evidence->replied && !evidence->malformed && tracking_sane(t);

    uint32_t reasons = 0;
    if (reported) {
        reading->ref_id = t->ref_id;
        reading->stratum = t->stratum;
        /* tracking_sane(): less than 68 years. The correction is what is to be added. */
        reading->offset_ns = -(int64_t)(t->correction_s * 1e9);
        reading->error_ns = bound_ns(
            fabs(t->correction_s) + t->root_delay_s / 2 + t->root_dispersion_s, evidence->query_ns);
        reasons = judge_tracking(policy, evidence, reading->error_ns, error_ms_max);
    } else {
        reasons = evidence->replied || evidence->malformed ? CLK_REASON(CLK_BAD_INPUT)
                                                           : CLK_REASON(CLK_NO_REPLY);
    }
    reasons |= judge_kernel(policy, evidence, error_ms_max);
    if (stepped(state, evidence))
        reasons |= CLK_REASON(CLK_STEP);
    if (evidence->real_ns < CLK_REAL_S_MIN * NS_PER_S ||
        evidence->real_ns >= CLK_REAL_S_MAX * NS_PER_S)
        reasons |= CLK_REASON(CLK_RANGE);

    remember(state, evidence, reported, reasons == 0);
    if (reasons == 0 && state->fresh < policy->warmup)
        reasons = CLK_REASON(CLK_WARMUP);
    reading->reasons = reasons;
    reading->safe = reasons == 0;
    if (reading->safe) {
        /* No overflow: the time lies before 2200 and the error below CLK_ERROR_MS_MAX. */
        reading->earliest_ns -= reading->error_ns;
        reading->latest_ns += reading->error_ns;
    }
}

bool clk_inside(const struct clk_reading *reading, const struct clk_policy *policy, int64_t start_s,
                int64_t end_s, int64_t *wait_ms)
{
    MUST(policy->guard_ms >= 0);
    *wait_ms = CLK_RETRY_MS;
    if (!reading->safe)
        return false;

    /* Seconds of a plan may be any 64 bits; as nanoseconds they need 94. */
    __int128 guard = (__int128)policy->guard_ms * NS_PER_MS;
    __int128 first = (__int128)start_s * NS_PER_S + guard;
    __int128 last = (__int128)end_s * NS_PER_S - guard;
    __int128 wait = 0;
    if (reading->earliest_ns < first)
        wait = (first - reading->earliest_ns + NS_PER_MS - 1) / NS_PER_MS;

    /* The interval moves as a whole: by the time its front is in, its back must not be out. */
    bool fits = reading->latest_ns + wait * NS_PER_MS <= last;
    if (!fits)
        *wait_ms = -1;
    else
        *wait_ms = wait < INT64_MAX ? (int64_t)wait : INT64_MAX;
    return fits && wait == 0;
}

static const struct {
    const char *name;
    const char *text;
} reason_names[CLK_REASON_COUNT] = {
#define X(name, text, people) {text, people},
    CLK_REASONS(X)
#undef X
};

void clk_reasons_print(uint32_t reasons, char *out, size_t cap)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < CLK_REASON_COUNT; i++) {
        if ((reasons >> i & 1) == 0)
            continue;
        size_t comma = used > 0 ? 1 : 0;
        size_t len = strlen(reason_names[i].name);
        if (comma + len >= cap - used)
            return;
        if (comma == 1)
            out[used] = ',';
        memcpy(out + used + comma, reason_names[i].name, len + 1);
        used += comma + len;
    }
}

const char *clk_reason_text(uint32_t reasons)
{
    for (size_t i = 0; i < CLK_REASON_COUNT; i++)
        if ((reasons >> i & 1) != 0)
            return reason_names[i].text;
    return "";
}
