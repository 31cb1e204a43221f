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

void truth_sampled(struct machine *m)
{
    const struct host_clock *c = &sim->clocks[m->number];
    m->truth.sampled = true;
    m->truth.at_ns = sim->now_ns;
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

static void check_reading(struct machine *m, const struct clk_reading *r, int64_t floor_ns)
{
    struct truth *t = &m->truth;
    int64_t ahead = r->earliest_ns - t->at_ns;
    if (!t->anchored) {
        t->anchored = true;
        t->anchor_ns = t->at_ns;
        t->ahead_ns = r->latest_ns - t->at_ns;
    }
    if (ahead > allowed_ahead_ns(m, t->at_ns))
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
    if (floor_ns < t->floor_ns)
        oracle_break(&sim->oracle, "Floor", "%s: the floor of the clock fell by %" PRId64 " ms",
                     m->name, (t->floor_ns - floor_ns) / NS_PER_MS);
    t->floor_ns = floor_ns;
    /* It noticed: what it believes next is found anew. */
    if (t->aside && !tk->machine.fixed)
        t->anchored = t->aside = false;
    if (!tk->reading.safe)
        return;
    if (tk->verdict.mode == CLK_SYNCED) {
        t->base_honest = t->honest;
        t->base_undisturbed = t->undisturbed;
    }
    check_reading(m, &tk->reading, floor_ns);
}

void truth_put_aside(struct machine *m, int64_t span_ns)
{
    struct truth *t = &m->truth;
    const struct clk_tpm *tpm = &m->loop.clock.machine.tpm;
    if (!m->running)
        return;
    t->anchored = false;
    t->aside = true;
    t->base_undisturbed = false;
    t->undisturbed = false; /* the next look is behind it, the last may be unseen yet */
    int64_t since = host_clock_raw_ns(&sim->clocks[m->number], sim->now_ns) - tpm->raw_ns;
    if (tpm->read && since >= 0 && span_ns > HIDDEN_NS + (since + span_ns) / HIDDEN_DIVISOR)
        t->aside_ns = sim->now_ns;
}

void truth_acknowledged(struct machine *m)
{
    m->truth.anchored = false;
}
