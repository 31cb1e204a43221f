#include "signer/toolclock.h"

#include <inttypes.h>

#include "signer/clockbook.h"
#include "signer/timekeeper.h"

#define NS_PER_S INT64_C(1000000000)
#define TRIES 20
#define WAIT_MS 500

/* More evidence does not end these. */
#define FINAL                                                                                      \
    (CLK_REASON(CLK_FORWARD) | CLK_REASON(CLK_DRAG) | CLK_REASON(CLK_OFFLINE) |                    \
     CLK_REASON(CLK_BACKWARD))

enum rc tool_clock_recall(struct tool_clock *clock, const struct clk_policy *policy,
                          const struct clk_tolerance *tolerance, const struct world *world,
                          void *tpm, int dirfd, struct ledger *ledger, struct err *err)
{
    struct timekeeper tk;
    struct clockbook book = {.ledger = ledger, .clock = &tk};
    struct tpm_time time = {0};
    struct err none = {0};
    *clock = (struct tool_clock){.policy = *policy, .tolerance = *tolerance};
    clock->policy.warmup = 1;
    timekeeper_start(&tk, policy, tolerance, world, dirfd);
    enum rc rc = clockbook_open(&book, err);
    if (rc != RC_OK)
        return rc;
    int64_t asked_ns = timekeeper_raw_ns(&tk);
    if (world->tpm->read_time(tpm, &time, &none) == RC_OK)
        timekeeper_tpm(&tk, &time, asked_ns);
    clk_memory(&tk.machine, &clock->memory);
    clock->tpm = tk.tpm;
    return RC_OK;
}

static enum rc refuse(const struct clk_machine *m, const struct clk_reading *r, struct err *err)
{
    const char *mode = clk_mode_name(m->mode);
    const char *why = clk_reason_text(r->reasons);
    if (m->mode == CLK_QUARANTINE_FWD)
        return FAIL(err, RC_RETRY_CLOCK, "", r->reasons,
                    "%s: %s; start the service, see 'tidemark clock status', and acknowledge the "
                    "jump if it is right",
                    mode, why);
    if (m->mode == CLK_REFUSED_BACK)
        return FAIL(err, RC_RETRY_CLOCK, "", r->reasons,
                    "%s: %s; time must catch up: %" PRId64 " s", mode, why,
                    clk_behind_ns(m, r) / NS_PER_S + 1);
    return FAIL(err, RC_RETRY_CLOCK, "", r->reasons, "the clock is not safe: %s", why);
}

enum rc tool_clock_latest_s(const struct world *world, int64_t wall_s, int64_t *latest_s,
                            struct err *err)
{
    const struct tool_clock *clock = world->tool_clock;
    const struct time_source *t = world->time;
    struct clk_machine machine;
    struct clk_reading reading = {0};
    struct clk_verdict verdict;
    MUST(clock != NULL);
    *latest_s = -1;
    clk_machine_init(&machine, &clock->memory);
    clk_recall(&machine, wall_s * NS_PER_S);
    for (int i = 0; i < TRIES && !reading.safe && (reading.reasons & FINAL) == 0; i++) {
        struct clk_sample sample;
        if (i > 0)
            t->sleep_ms(t->ctx, WAIT_MS);
        world->clock_sample(world->clock_ctx, &sample);
        sample.tpm = clock->tpm;
        clk_step(&machine, &clock->policy, &clock->tolerance, &sample, &reading, &verdict);
    }
    if (!reading.safe)
        return refuse(&machine, &reading, err);
    *latest_s = reading.latest_ns / NS_PER_S;
    return RC_OK;
}
