#include "sim/truth.h"

#include <inttypes.h>

#include "sim/machine.h"

/* Crystal and tolerance of the raw clock together, and more than rounding. */
#define RAW_PPM_BOTH 320
#define SLACK_NS (5 * NS_PER_MS)

/* What the TPM's clock hides at most: its own tolerance and half a second, and room for the raw
 * clock and for the time between reading and looking. */
#define HIDDEN_NS (900 * NS_PER_MS)
#define HIDDEN_DIVISOR 12
#define NEXT_READING_NS (20 * NS_PER_S)

void truth_sampled(struct machine *m)
{
    const struct host_clock *c = &sim->clocks[m->number];
    m->truth.sampled = true;
    m->truth.at_ns = sim->now_ns;
    m->truth.behind_then_ns = m->truth.behind_ns;
    m->truth.honest = c->followed_ns == 0;
    m->truth.undisturbed = !c->disturbed;
}

static int64_t allowed_ahead_ns(const struct machine *m, int64_t now_ns)
{
    const struct truth *t = &m->truth;
    return t->ahead_ns + m->config.settings.tolerance.max_forward_ms * NS_PER_MS + SLACK_NS +
           (now_ns - t->anchor_ns) / 1000000 * RAW_PPM_BOTH;
}

bool truth_allows(const struct machine *m, int64_t time_ns)
{
    return m->truth.anchored && time_ns - sim->now_ns <= allowed_ahead_ns(m, sim->now_ns);
}

/* The floor is the end of an interval that was believed, so no reading after it begins earlier:
 * that is what a process believes, and not what its evidence says. Whoever signs by the clock keeps
 * the guard between, which is longer; truth_allows() has no such allowance. */
static int64_t floor_ahead_ns(const struct machine *m, const struct clk_reading *r,
                              int64_t floor_ns)
{
    return r->earliest_ns <= floor_ns ? 2 * m->config.settings.clock.max_error_ms * NS_PER_MS : 0;
}

static void check_anchor(const struct machine *m, const struct clk_reading *r)
{
    int64_t offline_ns = r->earliest_ns - m->past.record_ns;
    if (m->past.record_ns != 0 &&
        offline_ns > m->config.settings.tolerance.max_offline_s * NS_PER_S)
        oracle_break(&sim->oracle, "Offline",
                     "%s begins %" PRId64 " s behind its last record, and believes it", m->name,
                     offline_ns / NS_PER_S);
}

static void check_latch(const struct machine *m, int64_t ahead_ns, int64_t at_floor_ns)
{
    const struct truth_past *p = &m->past;
    if (p->jump_id == 0 || ahead_ns < p->jump_ahead_ns - NS_PER_S / 2)
        return;
    /* In time, what the raw clock may be off by grows larger than a small jump; also than one that
     * is nothing but a pause that the process has not noticed. */
    const struct truth *t = &m->truth;
    bool measures = t->anchored || (t->aside && t->anchor_ns != 0);
    if (measures && ahead_ns + t->behind_then_ns <= allowed_ahead_ns(m, t->at_ns) + at_floor_ns)
        return;
    oracle_break(&sim->oracle, "Latch",
                 "%s believes the jump forward %" PRIu64 " that nobody has acknowledged", m->name,
                 p->jump_id);
}

/* What is durable now; a record of a jump is news before anybody is told of it. */
static void learn(struct machine *m)
{
    const struct timekeeper *tk = &m->loop.clock;
    const struct clk_quarantine *q = &tk->stored.quarantine;
    if (tk->stored_ns == 0)
        return;
    m->past.record_ns = tk->stored.seen_ns;
    m->past.floor_ns = tk->stored.floor_ns;
    if (q->id != m->past.jump_id)
        m->past = (struct truth_past){.record_ns = tk->stored.seen_ns,
                                      .floor_ns = tk->stored.floor_ns,
                                      .jump_id = q->id,
                                      .jump_ahead_ns = q->to_ns - m->truth.at_ns};
}

void truth_began(struct machine *m)
{
    int64_t found_ns = m->loop.clock.stored.seen_ns;
    if (found_ns > m->past.record_ns && found_ns <= m->past.tried_ns)
        m->past.record_ns = found_ns;
    m->past.tried_ns = 0;
}

void truth_ended(struct machine *m)
{
    learn(m);
    m->past.tried_ns = m->loop.clock.machine.memory.seen_ns;
}

void truth_turned(struct machine *m)
{
    m->past.jump_noted = m->past.jump_id != 0;
}

void truth_forget(struct machine *m, bool all)
{
    m->past.record_ns = m->past.tried_ns = m->past.floor_ns = 0;
    if (all || !m->past.jump_noted)
        m->past = (struct truth_past){0};
}

static void check_reading(struct machine *m, const struct clk_reading *r, int64_t floor_ns)
{
    struct truth *t = &m->truth;
    int64_t ahead = r->earliest_ns - t->at_ns;
    int64_t at_floor_ns = floor_ahead_ns(m, r, floor_ns);
    check_latch(m, ahead, at_floor_ns);
    if (!t->anchored) {
        if (t->anchor_ns == 0)
            check_anchor(m, r);
        t->anchored = true;
        t->anchor_ns = t->at_ns;
        t->ahead_ns = r->latest_ns - t->at_ns;
        t->behind_ns = t->behind_ns - t->behind_then_ns;
        t->behind_then_ns = 0;
    }
    if (ahead > allowed_ahead_ns(m, t->at_ns) + at_floor_ns)
        oracle_break(&sim->oracle, "Forward",
                     "%s believes a time %" PRId64 " ms ahead of the true one: more than its "
                     "evidence can have proven",
                     m->name, ahead / NS_PER_MS);
    /* The floor is a bound of its own: nothing is signed below it again. */
    bool early_enough = r->earliest_ns <= t->at_ns || r->earliest_ns <= floor_ns;
    if (t->base_honest && t->base_undisturbed && (!early_enough || r->latest_ns < t->at_ns))
        oracle_break(&sim->oracle, "Interval",
                     "%s believes %" PRId64 " … %" PRId64 " ms around the true time, though its "
                     "evidence is honest",
                     m->name, ahead / NS_PER_MS, (r->latest_ns - t->at_ns) / NS_PER_MS);
}

void truth_observe(struct machine *m)
{
    struct truth *t = &m->truth;
    const struct timekeeper *tk = &m->loop.clock;
    if (!t->sampled || !m->running)
        return;
    t->sampled = false;
    int64_t floor_ns = tk->machine.memory.floor_ns;
    int64_t before_ns = t->floor_ns > m->past.floor_ns ? t->floor_ns : m->past.floor_ns;
    if (floor_ns < before_ns)
        oracle_break(&sim->oracle, "Floor", "%s: the floor of the clock fell by %" PRId64 " ms",
                     m->name, (before_ns - floor_ns) / NS_PER_MS);
    t->floor_ns = floor_ns;
    /* It noticed: what it believes next is found anew. */
    if (t->aside && !tk->machine.fixed)
        t->anchored = t->aside = false;
    if (tk->reading.safe && tk->verdict.mode == CLK_SYNCED) {
        t->base_honest = t->honest;
        t->base_undisturbed = t->undisturbed;
    }
    if (tk->reading.safe)
        check_reading(m, &tk->reading, floor_ns);
    learn(m);
}

void truth_put_aside(struct machine *m, int64_t span_ns)
{
    struct truth *t = &m->truth;
    const struct clk_tpm *tpm = &m->loop.clock.machine.tpm;
    if (!m->running)
        return;
    t->anchored = false;
    t->behind_ns += span_ns;
    t->aside = true;
    t->base_undisturbed = false;
    t->undisturbed = false; /* the next look is behind it, the last may be unseen yet */
    int64_t since = host_clock_raw_ns(&sim->clocks[m->number], sim->now_ns) - tpm->raw_ns;
    int64_t more_ns = span_ns - HIDDEN_NS - (since + span_ns + NEXT_READING_NS) / HIDDEN_DIVISOR;
    if (!tpm->read || since < 0 || more_ns <= 0)
        return;
    t->aside_ns = sim->now_ns;
    if (more_ns > t->aside_more_ns)
        t->aside_more_ns = more_ns;
}

void truth_acknowledged(struct machine *m)
{
    m->truth.anchored = false;
    m->past = (struct truth_past){.floor_ns = m->past.floor_ns};
}
