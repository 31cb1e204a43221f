#include "clock/machine.h"

#include <inttypes.h>
#include <stdlib.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define PPM 1000000

/* The TPM's clock may run fast or slow by so much: 1/TPM_DIVISOR of the time, and once this. No
 * hardware was measured; its specification is no tighter. */
#define TPM_DIVISOR 20
#define TPM_SLACK_NS (500 * NS_PER_MS)

/* So far boottime and monotonic may part without sleep: they are read one after the other. */
#define ASLEEP_SLACK_NS (100 * NS_PER_MS)

static const char *const mode_names[] = {"unsynced",  "synced",         "holdover",
                                         "disrupted", "quarantine-fwd", "refused-back"};

const char *clk_mode_name(enum clk_mode mode)
{
    return mode_names[mode];
}

/* Arithmetic that stays at the ends of int64_t: samples may hold any numbers. */
static int64_t clamp(__int128 x)
{
    return x > INT64_MAX ? INT64_MAX : x < INT64_MIN ? INT64_MIN : (int64_t)x;
}

static int64_t plus(int64_t a, int64_t b)
{
    return clamp((__int128)a + b);
}

static int64_t minus(int64_t a, int64_t b)
{
    return clamp((__int128)a - b);
}

/* Disruptions --------------------------------------------------------------------------------- */

static int64_t tpm_ns(const struct clk_tpm *tpm)
{
    return clamp((__int128)tpm->clock_ms * NS_PER_MS);
}

/* The TPM's clock against the raw clock since its last reading, both ways. */
static bool tpm_jumped(const struct clk_tpm *before, const struct clk_tpm *now)
{
    if (!before->read || !now->read)
        return false;
    if (now->resets != before->resets || now->restarts != before->restarts)
        return true;
    int64_t raw = minus(now->raw_ns, before->raw_ns);
    int64_t apart = minus(minus(tpm_ns(now), tpm_ns(before)), raw);
    int64_t off = plus(before->off_ns, now->off_ns);
    int64_t limit = plus(raw / TPM_DIVISOR, plus(TPM_SLACK_NS, off));
    return raw < 0 || apart > limit || apart < -limit;
}

static uint32_t disruption(const struct clk_machine *m, const struct clk_sample *s)
{
    uint32_t reasons = 0;
    int64_t asleep = minus(s->boot_ns, s->mono_ns);
    if (m->seen && minus(asleep, m->asleep_ns) > ASLEEP_SLACK_NS)
        reasons |= CLK_REASON(CLK_SUSPEND);
    if (m->seen && s->evidence.raw_ns < m->raw_ns)
        reasons |= CLK_REASON(CLK_TPM_JUMP); /* memory from before, running now */
    if (tpm_jumped(&m->tpm, &s->tpm))
        reasons |= CLK_REASON(CLK_TPM_JUMP);
    return reasons;
}

static void remember_sample(struct clk_machine *m, const struct clk_sample *s)
{
    m->seen = true;
    m->raw_ns = s->evidence.raw_ns;
    m->asleep_ns = minus(s->boot_ns, s->mono_ns);
    /* For want of a better one even a reading that is off is a measure. */
    if (s->tpm.read && (s->tpm.off_ns == 0 || !m->tpm.read))
        m->tpm = s->tpm;
}

/* Predictions --------------------------------------------------------------------------------- */

/* A fix, moved on by the raw clock and widened by what that may be off. */
static struct clk_fix moved(const struct clk_fix *fix, int64_t raw_ns,
                            const struct clk_tolerance *tolerance)
{
    int64_t passed = minus(raw_ns, fix->raw_ns);
    int64_t width = clamp((__int128)passed * tolerance->raw_ppm / PPM + 1);
    return (struct clk_fix){.raw_ns = raw_ns,
                            .earliest_ns = minus(plus(fix->earliest_ns, passed), width),
                            .latest_ns = plus(plus(fix->latest_ns, passed), width)};
}

static int64_t forward_ns(const struct clk_tolerance *tolerance)
{
    return tolerance->max_forward_ms * NS_PER_MS;
}

/* Later than what this process saw allows? *allowed: the latest that would be believed. */
static uint32_t too_late(const struct clk_machine *m, const struct clk_reading *r,
                         const struct clk_tolerance *tolerance, int64_t raw_ns, int64_t *allowed)
{
    struct clk_fix last = moved(&m->last, raw_ns, tolerance);
    struct clk_fix first = moved(&m->first, raw_ns, tolerance);
    *allowed = last.latest_ns < first.latest_ns ? last.latest_ns : first.latest_ns;
    if (r->earliest_ns > plus(last.latest_ns, forward_ns(tolerance)))
        return CLK_REASON(CLK_FORWARD);
    if (r->earliest_ns > plus(first.latest_ns, forward_ns(tolerance)))
        return CLK_REASON(CLK_DRAG);
    return 0;
}

/* The floor is the end of an interval: a narrower one that is taken right afterwards can be behind
 * it by as much as the two are wide, on a clock that never went back. */
static bool below_floor(const struct clk_machine *m, const struct clk_policy *policy,
                        const struct clk_reading *r)
{
    int64_t apart = clamp((__int128)policy->max_error_ms * 2 * NS_PER_MS);
    return m->memory.floor_ns != 0 && r->latest_ns < minus(m->memory.floor_ns, apart);
}

/* While it is refused, time has to get past what was believed last; a prediction would run away
 * from it for ever. */
static bool too_early(const struct clk_machine *m, const struct clk_policy *policy,
                      const struct clk_reading *r, const struct clk_tolerance *tolerance,
                      int64_t raw_ns)
{
    if (below_floor(m, policy, r))
        return true;
    if (!m->fixed)
        return false;
    if (m->mode == CLK_REFUSED_BACK)
        return r->latest_ns < m->last.latest_ns;
    struct clk_fix last = moved(&m->last, raw_ns, tolerance);
    return r->latest_ns < minus(last.earliest_ns, forward_ns(tolerance));
}

/* The TPM's reading was taken a while ago, and it has counted on since: without that, what is held
 * against it later would say that it counts faster than time goes by. So would one that is off. */
static struct clk_tpm counted_on(const struct clk_tpm *tpm, int64_t raw_ns)
{
    struct clk_tpm now = *tpm;
    int64_t since_ns = plus(minus(raw_ns, tpm->raw_ns), tpm->off_ns);
    if (tpm->read && since_ns > 0)
        now.clock_ms += (uint64_t)(since_ns / NS_PER_MS) + 1;
    return now;
}

/* Is time behind what was due at first? The TPM counts on while it is refused, and 5 % slower than
 * time would not catch up with it for twenty times as long. So time catches up once, whatever else
 * the evidence is doubted for then; from that moment on the TPM is held against it, and no more
 * against a record that was ahead. */
static bool still_due(struct clk_machine *m, const struct clk_sample *s,
                      const struct clk_reading *r)
{
    if (r->latest_ns < m->refused_until_ns)
        return true;
    m->caught_up_ns = m->refused_until_ns; /* no later: this evidence may not be believed either */
    m->caught_up = counted_on(&s->tpm, s->evidence.raw_ns);
    m->refused_until_ns = 0;
    return false;
}

/* The TPM counted on through a restart of the host: at least that much time has passed since the
 * record. A clock that fell back (not safe), or another life of it, says nothing. */
static bool tpm_counted_more(struct clk_machine *m, const struct clk_sample *s,
                             const struct clk_reading *r)
{
    if (m->refused_until_ns != 0)
        return still_due(m, s, r);
    int64_t from_ns = m->caught_up_ns != 0 ? m->caught_up_ns : m->memory.seen_ns;
    const struct clk_tpm *from = m->caught_up_ns != 0 ? &m->caught_up : &m->memory.seen;
    if (from_ns == 0 || !from->read || !s->tpm.read || !s->tpm.safe ||
        s->tpm.clock_ms < from->clock_ms)
        return false;
    int64_t counted = minus(tpm_ns(&s->tpm), tpm_ns(from));
    int64_t least = minus(counted - counted / TPM_DIVISOR, plus(TPM_SLACK_NS, s->tpm.off_ns));
    if (minus(r->latest_ns, from_ns) >= least)
        return false;
    m->refused_until_ns = plus(from_ns, least);
    return true;
}

static bool too_long_offline(const struct clk_machine *m, const struct clk_reading *r,
                             const struct clk_tolerance *tolerance, int64_t *allowed)
{
    *allowed = plus(m->memory.seen_ns, clamp((__int128)tolerance->max_offline_s * NS_PER_S));
    return m->memory.seen_ns != 0 && r->earliest_ns > *allowed;
}

/* Good evidence, held against everything else ------------------------------------------------- */

/* Time that goes on is the same jump; a further jump is another one. */
static bool same_jump(const struct clk_machine *m, const struct clk_reading *r,
                      const struct clk_tolerance *tolerance, int64_t raw_ns)
{
    const struct clk_quarantine *q = &m->memory.quarantine;
    int64_t claimed = minus(r->earliest_ns, q->to_ns);
    int64_t apart = minus(claimed, minus(raw_ns, m->latched_raw_ns));
    return q->id != 0 && m->latched_raw_ns != 0 && apart < forward_ns(tolerance);
}

static void latch(struct clk_machine *m, const struct clk_reading *r, int64_t allowed,
                  const struct clk_tolerance *tolerance, int64_t raw_ns)
{
    m->mode = CLK_QUARANTINE_FWD;
    if (same_jump(m, r, tolerance, raw_ns))
        return;
    m->latched_raw_ns = raw_ns != 0 ? raw_ns : 1;
    /* The claimed second names the jump: the same on every look, and no other jump's. */
    m->memory.quarantine = (struct clk_quarantine){
        .id = (uint64_t)(r->earliest_ns / NS_PER_S), .from_ns = allowed, .to_ns = r->earliest_ns};
}

/* A quarantine that was remembered from an earlier process has no prediction of its own: it is over
 * when the evidence speaks of a time before the one it claimed then. */
static bool withdrawn(const struct clk_machine *m, const struct clk_reading *r)
{
    return r->latest_ns < m->memory.quarantine.to_ns;
}

static uint32_t compare(struct clk_machine *m, const struct clk_policy *policy,
                        const struct clk_reading *r, const struct clk_tolerance *tolerance,
                        const struct clk_sample *s)
{
    int64_t raw_ns = s->evidence.raw_ns;
    int64_t allowed = 0;
    if (too_early(m, policy, r, tolerance, raw_ns) || (!m->fixed && tpm_counted_more(m, s, r))) {
        m->mode = CLK_REFUSED_BACK;
        return CLK_REASON(CLK_BACKWARD);
    }
    uint32_t reasons = 0;
    if (m->fixed)
        reasons = too_late(m, r, tolerance, raw_ns, &allowed);
    else if (too_long_offline(m, r, tolerance, &allowed))
        reasons = CLK_REASON(CLK_OFFLINE);
    /* A jump that an earlier process has found keeps its name. */
    if (!m->fixed && m->memory.quarantine.id != 0 && !withdrawn(m, r) &&
        (reasons == 0 || m->latched_raw_ns == 0)) {
        m->mode = CLK_QUARANTINE_FWD;
        return reasons != 0 ? reasons : CLK_REASON(CLK_FORWARD);
    }
    if (reasons != 0) {
        latch(m, r, allowed, tolerance, raw_ns);
        return reasons;
    }
    m->memory.quarantine = (struct clk_quarantine){0};
    return 0;
}

static void accept(struct clk_machine *m, const struct clk_reading *r, int64_t raw_ns)
{
    /* The first good time after a disruption: what began before it was open while this host was
     * not looking. */
    if (m->disrupted_raw_ns != 0)
        m->closed_before_ns = r->latest_ns;
    m->disrupted_raw_ns = 0;
    m->last = (struct clk_fix){
        .raw_ns = raw_ns, .earliest_ns = r->earliest_ns, .latest_ns = r->latest_ns};
    /* The baseline of a time that was refused was ahead of the truth. */
    if (!m->fixed || m->mode == CLK_REFUSED_BACK)
        m->first = m->last;
    m->refused_until_ns = m->caught_up_ns = 0;
    m->fixed = true;
    m->mode = CLK_SYNCED;
}

/* No good evidence: the last fix may carry on for a while. */
static bool hold_over(struct clk_machine *m, const struct clk_policy *policy,
                      const struct clk_tolerance *tolerance, const struct clk_sample *s,
                      struct clk_reading *r)
{
    if (m->mode != CLK_SYNCED && m->mode != CLK_HOLDOVER)
        return false;
    struct clk_fix now = moved(&m->last, s->evidence.raw_ns, tolerance);
    int64_t half = minus(now.latest_ns, now.earliest_ns) / 2;
    bool inside = now.earliest_ns <= s->evidence.real_ns && s->evidence.real_ns <= now.latest_ns;
    if (!inside || half > policy->max_error_ms * NS_PER_MS)
        return false;
    m->mode = CLK_HOLDOVER;
    r->safe = true;
    r->reasons = 0;
    r->error_ns = half;
    r->earliest_ns = now.earliest_ns;
    r->latest_ns = now.latest_ns;
    return true;
}

/* After these the last fix is worth nothing: the system clock itself was moved, or is absurd. */
#define NO_HOLDOVER                                                                                \
    (CLK_REASON(CLK_STEP) | CLK_REASON(CLK_RANGE) | CLK_REASON(CLK_BAD_INPUT) |                    \
     CLK_REASON(CLK_SUSPEND) | CLK_REASON(CLK_TPM_JUMP))

static void disrupt(struct clk_machine *m, int64_t raw_ns)
{
    m->mode = CLK_DISRUPTED;
    m->disrupted_raw_ns = raw_ns != 0 ? raw_ns : 1;
    m->disruptions++;
    m->judged.fresh = 0;     /* updates from before do not count */
    m->fixed = false;        /* the raw clock stood still: predictions are over */
    m->refused_until_ns = 0; /* the TPM did not: more is due now */
    m->tpm.read = false;     /* and what it said before is no measure any more */
}

static void unsafe(struct clk_reading *r, uint32_t reasons, int64_t real_ns)
{
    r->safe = false;
    r->reasons = (r->reasons & ~CLK_REASON(CLK_WARMUP)) | reasons; /* the better explanation */
    r->earliest_ns = real_ns;
    r->latest_ns = real_ns;
}

static void decide(struct clk_machine *m, const struct clk_policy *policy,
                   const struct clk_tolerance *tolerance, const struct clk_sample *s,
                   struct clk_reading *r)
{
    uint32_t reasons = disruption(m, s);
    if (reasons != 0) {
        disrupt(m, s->evidence.raw_ns);
        unsafe(r, reasons, s->evidence.real_ns);
        return;
    }
    if (r->safe) {
        reasons = compare(m, policy, r, tolerance, s);
        if (reasons == 0)
            accept(m, r, s->evidence.raw_ns);
        else
            unsafe(r, reasons, s->evidence.real_ns);
        return;
    }
    if ((r->reasons & NO_HOLDOVER) == 0 && hold_over(m, policy, tolerance, s, r))
        return;
    /* A quarantine, a refusal, a disruption last until good evidence ends them. */
    if (m->mode == CLK_SYNCED || m->mode == CLK_HOLDOVER)
        m->mode = CLK_UNSYNCED;
}

/* Interface ----------------------------------------------------------------------------------- */

void clk_machine_init(struct clk_machine *m, const struct clk_memory *memory)
{
    *m = (struct clk_machine){.memory = *memory,
                              .disrupted_raw_ns = memory->disrupted ? 1 : 0,
                              .closed_before_ns = memory->closed_before_ns};
    if (memory->quarantine.id != 0)
        m->mode = CLK_QUARANTINE_FWD;
}

void clk_step(struct clk_machine *m, const struct clk_policy *policy,
              const struct clk_tolerance *tolerance, const struct clk_sample *s,
              struct clk_reading *r, struct clk_verdict *verdict)
{
    uint32_t before = m->disruptions;
    if (s->stepped)
        m->judged.fresh = 0;
    clk_judge(&m->judged, policy, &s->evidence, r);
    if (s->stepped) {
        m->judged.fresh = 0;
        unsafe(r, CLK_REASON(CLK_STEP), s->evidence.real_ns);
    }
    decide(m, policy, tolerance, s, r);
    remember_sample(m, s);
    /* Time that was signed under does not come again, not even the little that below_floor() lets
     * pass. */
    if (r->safe && r->earliest_ns < m->memory.floor_ns)
        r->earliest_ns = m->memory.floor_ns;
    if (r->safe && r->latest_ns < m->memory.floor_ns)
        r->latest_ns = m->memory.floor_ns;
    *verdict = (struct clk_verdict){.mode = m->mode,
                                    .disrupted = m->disruptions != before,
                                    .closed_before_ns = m->closed_before_ns,
                                    .quarantine = m->memory.quarantine};
}

void clk_commit(struct clk_machine *m, const struct clk_reading *reading)
{
    MUST(reading->safe);
    if (reading->latest_ns > m->memory.floor_ns)
        m->memory.floor_ns = reading->latest_ns;
    clk_record(m, reading);
}

int64_t clk_behind_ns(const struct clk_machine *m, const struct clk_reading *reading)
{
    int64_t least_ns = m->memory.floor_ns;
    if (m->fixed && m->last.latest_ns > least_ns)
        least_ns = m->last.latest_ns;
    if (m->refused_until_ns > least_ns)
        least_ns = m->refused_until_ns;
    int64_t behind_ns = minus(least_ns, reading->latest_ns);
    return behind_ns > 0 ? behind_ns : 0;
}

void clk_record(struct clk_machine *m, const struct clk_reading *reading)
{
    MUST(reading->safe);
    m->memory.seen_ns = reading->earliest_ns;
    m->memory.seen = counted_on(&m->tpm, m->raw_ns);
}

void clk_recall(struct clk_machine *m, int64_t wall_ns)
{
    if (wall_ns > m->memory.floor_ns)
        m->memory.floor_ns = wall_ns;
    if (m->memory.seen_ns != 0 || wall_ns <= 0)
        return;
    m->memory.seen_ns = wall_ns;
    m->memory.seen = (struct clk_tpm){0};
    m->fixed = false;
}

void clk_latch(struct clk_machine *m, const struct clk_quarantine *quarantine)
{
    m->memory.quarantine = *quarantine;
    m->latched_raw_ns = 0;
    m->fixed = false;
    m->mode = CLK_QUARANTINE_FWD;
}

void clk_memory(const struct clk_machine *m, struct clk_memory *memory)
{
    *memory = m->memory;
    memory->disrupted = m->disrupted_raw_ns != 0;
    memory->closed_before_ns = m->closed_before_ns;
}

enum rc clk_acknowledge(const struct clk_machine *m, const struct clk_acknowledgement *ack,
                        const struct clk_reading *reading, uint64_t windows, struct err *err)
{
    const struct clk_quarantine *q = &m->memory.quarantine;
    if (q->id == 0 || m->mode != CLK_QUARANTINE_FWD)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "there is no jump to acknowledge");
    if (ack->id != q->id)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "the jump that stands is %" PRIu64, q->id);
    int64_t age = minus(m->raw_ns, ack->shown_raw_ns);
    if (age < 0 || age > CLK_ACK_AGE_S_MAX * NS_PER_S)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "shown more than %d s ago: look again",
                    CLK_ACK_AGE_S_MAX);
    /* Not safe, so the reading's bounds are the system clock, which the evidence agrees with. */
    int64_t apart = minus(clamp((__int128)ack->utc_s * NS_PER_S), reading->latest_ns);
    if (apart > CLK_ACK_S_MAX * NS_PER_S || apart < -CLK_ACK_S_MAX * NS_PER_S)
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "your clock and this host's are %" PRId64 " s apart: at most %d are allowed",
                    apart / NS_PER_S, CLK_ACK_S_MAX);
    if (ack->windows != windows)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "%" PRIu64 " windows would be lost", windows);
    return RC_OK;
}

void clk_release(struct clk_machine *m)
{
    /* The jump is explained, as far as it was known; the floor stays. */
    m->memory.seen_ns = m->memory.quarantine.to_ns;
    m->memory.seen = (struct clk_tpm){0};
    m->memory.quarantine = (struct clk_quarantine){0};
    m->latched_raw_ns = 0;
    m->refused_until_ns = m->caught_up_ns = 0;
    m->fixed = false;
    m->mode = CLK_UNSYNCED;
}
