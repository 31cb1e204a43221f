#include "signer/timekeeper.h"

#include <inttypes.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

/* When to ask again if only operators can help. */
#define WAIT_FOR_PEOPLE_S 60
#define WAIT_FOR_EVIDENCE_S 2

void timekeeper_start(struct timekeeper *tk, const struct clk_policy *policy,
                      const struct clk_tolerance *tolerance, const struct world *world)
{
    *tk = (struct timekeeper){.world = world, .policy = policy, .tolerance = tolerance};
    clk_machine_init(&tk->machine, &(struct clk_memory){0});
}

int64_t timekeeper_raw_ns(const struct timekeeper *tk)
{
    return tk->world->time->raw_ns(tk->world->time->ctx);
}

void timekeeper_look(struct timekeeper *tk, struct clk_reading *reading)
{
    struct clk_sample sample;
    tk->world->clock_sample(tk->world->clock_ctx, &sample);
    sample.tpm = tk->tpm;
    clk_step(&tk->machine, tk->policy, tk->tolerance, &sample, &tk->reading, &tk->verdict);
    tk->disrupted = tk->disrupted || tk->verdict.disrupted;
    *reading = tk->reading;
}

void timekeeper_commit(struct timekeeper *tk, const struct clk_reading *reading)
{
    clk_commit(&tk->machine, reading);
}

void timekeeper_tpm(struct timekeeper *tk, const struct tpm_time *time, int64_t asked_raw_ns)
{
    int64_t now_ns = timekeeper_raw_ns(tk);
    int64_t took_ns = now_ns - asked_raw_ns;
    tk->tpm_asked_ns = now_ns;
    if (took_ns < 0 || took_ns > TIMEKEEPER_TPM_MS_MAX * NS_PER_MS)
        return;
    tk->tpm = (struct clk_tpm){.read = true,
                               .clock_ms = time->clock_ms,
                               .resets = time->reset_count,
                               .restarts = time->restart_count,
                               .safe = time->safe,
                               .raw_ns = asked_raw_ns + took_ns / 2};
}

bool timekeeper_tpm_due(const struct timekeeper *tk)
{
    return tk->tpm_asked_ns == 0 ||
           timekeeper_raw_ns(tk) - tk->tpm_asked_ns >= TIMEKEEPER_TPM_S * NS_PER_S;
}

bool timekeeper_disrupted(struct timekeeper *tk)
{
    bool disrupted = tk->disrupted;
    tk->disrupted = false;
    return disrupted;
}

/* Refusals ------------------------------------------------------------------------------------ */

/* How long until time has caught up with what it must not be behind. */
static int64_t behind_s(const struct timekeeper *tk)
{
    int64_t least_ns = tk->machine.memory.floor_ns;
    if (tk->machine.fixed && tk->machine.last.latest_ns > least_ns)
        least_ns = tk->machine.last.latest_ns;
    int64_t behind_ns = least_ns - tk->reading.latest_ns;
    return behind_ns > 0 ? behind_ns / NS_PER_S + 1 : WAIT_FOR_EVIDENCE_S;
}

enum rc timekeeper_refuse(const struct timekeeper *tk, int64_t *wait_s, struct err *err)
{
    char names[CLK_REASONS_SIZE];
    uint32_t reasons = tk->reading.reasons;
    const char *mode = clk_mode_name(tk->verdict.mode);
    clk_reasons_print(reasons, names, sizeof(names));
    *wait_s = WAIT_FOR_EVIDENCE_S;
    if (tk->verdict.mode == CLK_QUARANTINE_FWD) {
        *wait_s = WAIT_FOR_PEOPLE_S;
        return FAIL(err, RC_RETRY_CLOCK, "", reasons,
                    "%s: %s (%s); the evidence must come back or the jump be acknowledged: see "
                    "'tidemark clock status'",
                    mode, clk_reason_text(reasons), names);
    }
    if (tk->verdict.mode == CLK_REFUSED_BACK) {
        *wait_s = behind_s(tk);
        return FAIL(err, RC_RETRY_CLOCK, "", reasons,
                    "%s: %s (%s); time must catch up: %" PRId64 " s", mode,
                    clk_reason_text(reasons), names, *wait_s);
    }
    return FAIL(err, RC_RETRY_CLOCK, "", reasons, "%s: %s (%s)", mode, clk_reason_text(reasons),
                names);
}
