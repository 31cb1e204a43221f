/*
 * timekeeper: the clock that this process signs by: evidence in, a reading and a state out.
 *
 * It owns the state machine of clock/machine.h, takes the samples (from the world), adds the newest
 * reading of the TPM's clock to each, and keeps what must outlive the process (clockfile.h; the
 * ledger's part is clockbook.h). Nobody else in the signer asks what time it is.
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

/** A TPM that took longer than this told a time that is off: when in between was it? */
#define TIMEKEEPER_TPM_MS_MAX 250

/** How often the record of the clock is renewed. */
#define TIMEKEEPER_RECORD_S 60

/** When asking again may find better evidence. */
#define TIMEKEEPER_WAIT_S 2

struct timekeeper {
    const struct world *world;
    const struct clk_policy *policy;
    const struct clk_tolerance *tolerance;
    struct clk_machine machine;
    struct clk_tpm tpm;         /* newest reading */
    struct clk_reading reading; /* newest */
    struct clk_verdict verdict; /* of the same sample */
    int64_t tpm_asked_ns;       /* raw; when the TPM was asked last, whatever it said; 0: never */
    uint32_t tpm_slow;          /* so often in a row it took too long */
    bool disrupted;             /* noticed, and not yet taken notice of */
    uint32_t disrupted_by;      /* then: the reasons */
    enum clk_mode mode;         /* and since when, by the host's clock */
    int64_t since_s;
    /* what outlives the process */
    int dirfd;
    bool recalled;            /* nothing that is remembered elsewhere is missing any more */
    struct clk_memory stored; /* as the file holds it */
    int64_t stored_ns;        /* raw; 0: not by this process */
    bool store_failed;        /* the last time */
    /* the jump that operators were shown, and when, raw */
    uint64_t shown_id;
    int64_t shown_ns;
};

/**
 * Start with what the file `clock` remembers. A file that is missing or torn is no failure: it is
 * as if nobody had looked at the clock yet, until timekeeper_recall().
 * @param[in] policy, tolerance, world  Borrowed; must outlive it.
 * @param[in] dirfd  State directory, borrowed; -1: nothing is remembered.
 */
void timekeeper_start(struct timekeeper *tk, const struct clk_policy *policy,
                      const struct clk_tolerance *tolerance, const struct world *world, int dirfd);

/** What others remember of the clock. */
struct timekeeper_past {
    bool complete;       /* false: the anchors could not be asked yet */
    int64_t wall_s;      /* latest in an anchor; 0: none */
    uint64_t open_id;    /* jump that stands in the ledger without an end; 0: none */
    uint64_t settled_id; /* jump whose end is the newest that the ledger says; 0: none */
};

/** Add it to what the file said. Both can only make the clock more careful. */
void timekeeper_recall(struct timekeeper *tk, const struct timekeeper_past *past);

/** An orderly stop: the record is now. */
void timekeeper_stop(struct timekeeper *tk);

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

/** Somebody is shown the jump that stands, if one does. */
void timekeeper_show(struct timekeeper *tk);

/**
 * May the jump that stands be acknowledged so? Takes a sample; changes nothing else.
 * @param[in] windows  That it costs, over all keys: what `said` has to repeat.
 * @param[in] said     id, utc_s and windows; shown_raw_ns is filled in here.
 * @retval RC_REFUSED_INPUT  As clk_acknowledge().
 * @retval RC_RETRY_CLOCK    The present sample is no good evidence; one in TIMEKEEPER_WAIT_S may
 * be.
 */
enum rc timekeeper_acknowledge(struct timekeeper *tk, const struct clk_acknowledgement *said,
                               uint64_t windows, struct err *err) MUST_CHECK;

/** The acknowledgement stands in the ledger: believe the evidence from the next sample on. */
void timekeeper_release(struct timekeeper *tk);

/**
 * Why the clock may not be signed by, for people: state, reasons, and what to do.
 * @param[out] wait_s  Seconds after which asking again may help.
 * @return RC_RETRY_CLOCK, always.
 */
enum rc timekeeper_refuse(const struct timekeeper *tk, int64_t *wait_s, struct err *err) MUST_CHECK;

#endif
