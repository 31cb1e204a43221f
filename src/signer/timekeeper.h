/*
 * timekeeper: the clock that this process signs by: evidence in, a reading and a state out.
 *
 * It owns the state machine of clock/machine.h, takes the samples (from the world), adds the newest
 * reading of the TPM's clock to each, and keeps what must outlive the process. Nobody else in the
 * signer asks what time it is.
 *
 * Uses: clock, signer/world.h. Threads: signer thread. Keeps I5 (no window index without a trusted
 * clock) together with batch_window.c.
 */
#ifndef SIGNER_TIMEKEEPER_H
#define SIGNER_TIMEKEEPER_H

#include "clock/machine.h"
#include "signer/world.h"

/** How often the TPM's clock is read when no signature is made. */
#define TIMEKEEPER_TPM_S 10

/** A TPM that took longer than this to tell its time has told nothing: when in between was it? */
#define TIMEKEEPER_TPM_MS_MAX 250

struct timekeeper {
    const struct world *world;
    const struct clk_policy *policy;
    const struct clk_tolerance *tolerance;
    struct clk_machine machine;
    struct clk_tpm tpm;         /* newest reading */
    struct clk_reading reading; /* newest */
    struct clk_verdict verdict; /* of the same sample */
    int64_t tpm_asked_ns;       /* raw; when the TPM was asked last, whatever it said; 0: never */
    bool disrupted;             /* noticed, and not yet taken notice of */
};

/**
 * Start with nothing known.
 * @param[in] policy, tolerance, world  Borrowed; must outlive it.
 */
void timekeeper_start(struct timekeeper *tk, const struct clk_policy *policy,
                      const struct clk_tolerance *tolerance, const struct world *world);

/**
 * Take a sample: about once a second, and right before and right after an index is taken. Never
 * fails: an unusable clock is a reading with reasons.
 */
void timekeeper_look(struct timekeeper *tk, struct clk_reading *reading);

/** An index is about to be taken under this (safe) reading: time has been at least its latest. */
void timekeeper_commit(struct timekeeper *tk, const struct clk_reading *reading);

/** Raw time of now, as timekeeper_tpm() wants it. */
int64_t timekeeper_raw_ns(const struct timekeeper *tk);

/**
 * The TPM said what time it is.
 * @param[in] asked_raw_ns  Raw time right before the question.
 */
void timekeeper_tpm(struct timekeeper *tk, const struct tpm_time *time, int64_t asked_raw_ns);

/** Is it time to ask the TPM again? */
bool timekeeper_tpm_due(const struct timekeeper *tk);

/** True once after each disruption: leases in hand end, and on a hardware TPM the process. */
bool timekeeper_disrupted(struct timekeeper *tk);

/**
 * Why the clock may not be signed by, for people: state, reasons, and what to do.
 * @param[out] wait_s  Seconds after which asking again may help.
 * @return RC_RETRY_CLOCK, always.
 */
enum rc timekeeper_refuse(const struct timekeeper *tk, int64_t *wait_s, struct err *err) MUST_CHECK;

#endif
