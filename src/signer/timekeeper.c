#include "signer/timekeeper.h"

#include <inttypes.h>

#include "base/log.h"
#include "signer/clockfile.h"

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

/* When to ask again if only operators can help. */
#define WAIT_FOR_PEOPLE_S 60

/* So often the TPM is asked again soon after it was too slow. */
#define TPM_TRIES 5

/* What may be the reason while a jump is acknowledged: otherwise the evidence itself is bad. */
#define OF_A_JUMP (CLK_REASON(CLK_FORWARD) | CLK_REASON(CLK_DRAG) | CLK_REASON(CLK_OFFLINE))

void timekeeper_start(struct timekeeper *tk, const struct clk_policy *policy,
                      const struct clk_tolerance *tolerance, const struct world *world, int dirfd)
{
    struct err err = {0};
    *tk = (struct timekeeper){
        .world = world, .policy = policy, .tolerance = tolerance, .dirfd = dirfd};
    enum rc rc = dirfd < 0 ? RC_REFUSED_NOT_FOUND : clockfile_read(dirfd, &tk->stored, &err);
    if (rc != RC_OK && rc != RC_REFUSED_NOT_FOUND)
        log_event(LOG_LEVEL_WARNING, &(struct log_fields){.index = -1, .err = &err},
                  "what the clock remembered is lost");
    tk->recalled = rc == RC_OK || dirfd < 0;
    clk_machine_init(&tk->machine, &tk->stored);
    tk->mode = tk->machine.mode;
}

void timekeeper_recall(struct timekeeper *tk, const struct timekeeper_past *past)
{
    const struct clk_quarantine *q = &tk->machine.memory.quarantine;
    clk_recall(&tk->machine, past->wall_s * NS_PER_S);
    if (q->id != 0 && q->id == past->settled_id)
        clk_release(&tk->machine);
    if (q->id == 0 && past->open_id != 0)
        clk_latch(&tk->machine,
                  &(struct clk_quarantine){.id = past->open_id,
                                           .from_ns = tk->machine.memory.seen_ns,
                                           .to_ns = (int64_t)past->open_id * NS_PER_S});
    tk->recalled = tk->recalled || past->complete;
}

/* What outlives the process ------------------------------------------------------------------- */

static void store(struct timekeeper *tk)
{
    struct clk_memory memory;
    struct err err = {0};
    clk_memory(&tk->machine, &memory);
    bool failed = clockfile_write(tk->dirfd, &memory, &err) != RC_OK;
    if (failed && !tk->store_failed)
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err},
                  "what the clock knows cannot be stored");
    tk->store_failed = failed;
    if (failed)
        return;
    tk->stored = memory;
    tk->stored_ns = timekeeper_raw_ns(tk);
}

/* A jump or a disruption is stored before anybody is told of it; so is its end. */
static bool news(const struct timekeeper *tk)
{
    struct clk_memory now;
    clk_memory(&tk->machine, &now);
    return now.quarantine.id != tk->stored.quarantine.id || now.disrupted != tk->stored.disrupted ||
           now.closed_before_ns != tk->stored.closed_before_ns;
}

static void keep(struct timekeeper *tk)
{
    if (tk->dirfd < 0)
        return;
    bool due = tk->stored_ns == 0 ||
               timekeeper_raw_ns(tk) - tk->stored_ns >= TIMEKEEPER_RECORD_S * NS_PER_S;
    /* While it is not known what others remember, a record of now would hide that too much time has
     * passed since theirs. */
    bool record = due && tk->reading.safe && tk->recalled;
    if (record)
        clk_record(&tk->machine, &tk->reading);
    if (record || news(tk))
        store(tk);
}

void timekeeper_stop(struct timekeeper *tk)
{
    if (tk->dirfd < 0 || !tk->reading.safe || !tk->recalled)
        return;
    clk_record(&tk->machine, &tk->reading);
    store(tk);
}

/* Looking ------------------------------------------------------------------------------------- */

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
    if (tk->verdict.disrupted) {
        tk->disrupted = true;
        tk->disrupted_by = tk->reading.reasons;
    }
    if (tk->verdict.mode != tk->mode || tk->since_s == 0)
        tk->since_s = sample.evidence.real_ns / NS_PER_S;
    tk->mode = tk->verdict.mode;
    keep(tk);
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
    tk->tpm_slow++;
    if (took_ns < 0)
        return;
    /* Told at any moment in between: that still shows a host that stood still for longer. */
    bool slow = took_ns > TIMEKEEPER_TPM_MS_MAX * NS_PER_MS;
    if (!slow)
        tk->tpm_slow = 0;
    tk->tpm = (struct clk_tpm){.read = true,
                               .clock_ms = time->clock_ms,
                               .resets = time->reset_count,
                               .restarts = time->restart_count,
                               .safe = time->safe,
                               .raw_ns = asked_raw_ns + took_ns / 2,
                               .off_ns = slow ? took_ns / 2 + 1 : 0};
}

bool timekeeper_tpm_due(const struct timekeeper *tk)
{
    /* A host that is busy makes it slow now and then; a chip that always is is not asked more. */
    bool again = tk->tpm_slow > 0 && tk->tpm_slow <= TPM_TRIES;
    int64_t pause_ns = (again ? 1 : TIMEKEEPER_TPM_S) * NS_PER_S;
    return tk->tpm_asked_ns == 0 || timekeeper_raw_ns(tk) - tk->tpm_asked_ns >= pause_ns;
}

bool timekeeper_disrupted(struct timekeeper *tk)
{
    bool disrupted = tk->disrupted;
    tk->disrupted = false;
    return disrupted;
}

/* Jumps --------------------------------------------------------------------------------------- */

void timekeeper_show(struct timekeeper *tk)
{
    tk->shown_id = tk->machine.memory.quarantine.id;
    tk->shown_ns = timekeeper_raw_ns(tk);
}

enum rc timekeeper_acknowledge(struct timekeeper *tk, const struct clk_acknowledgement *said,
                               uint64_t windows, struct err *err)
{
    struct clk_reading reading;
    struct clk_acknowledgement ack = *said;
    timekeeper_look(tk, &reading);
    /* Nobody was shown it: as if it had been an hour ago. */
    ack.shown_raw_ns = tk->shown_id == said->id ? tk->shown_ns : INT64_MAX;
    if (tk->verdict.mode == CLK_QUARANTINE_FWD && (reading.reasons & ~OF_A_JUMP) != 0)
        return FAIL(err, RC_RETRY_CLOCK, "", reading.reasons,
                    "there is no good time to accept now: %s",
                    clk_reason_text(reading.reasons & ~OF_A_JUMP));
    return clk_acknowledge(&tk->machine, &ack, &reading, windows, err);
}

void timekeeper_release(struct timekeeper *tk)
{
    clk_release(&tk->machine);
    if (tk->dirfd >= 0)
        store(tk);
}

/* Refusals ------------------------------------------------------------------------------------ */

/* How long until time has caught up with what it must not be behind. */
static int64_t behind_s(const struct timekeeper *tk)
{
    int64_t behind_ns = clk_behind_ns(&tk->machine, &tk->reading);
    return behind_ns > 0 ? behind_ns / NS_PER_S + 1 : TIMEKEEPER_WAIT_S;
}

enum rc timekeeper_refuse(const struct timekeeper *tk, int64_t *wait_s, struct err *err)
{
    char names[CLK_REASONS_SIZE];
    uint32_t reasons = tk->reading.reasons;
    const char *mode = clk_mode_name(tk->verdict.mode);
    clk_reasons_print(reasons, names, sizeof(names));
    *wait_s = TIMEKEEPER_WAIT_S;
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
