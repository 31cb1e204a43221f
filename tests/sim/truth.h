/*
 * truth: what the oracle knows of the clock that a process signs by: the true time, whether the
 * evidence is honest, and what of a lie could have been proven.
 *
 * It follows each sample that a process takes, and what its timekeeper makes of it:
 *   Interval   under honest evidence the reading holds the true time
 *   Forward    no lie takes the clock further than max_forward from where this process found it, or
 *              from where an operator acknowledged it, and what the raw clock may be off since. The
 *              end of a reading lies as much further as its interval is wide, and that is where the
 *              floor may lie, on which the next reading stands
 *   Floor      the floor never falls, in a process nor from one to the next
 *   Offline    a process begins at most max_offline ahead of the last record that was durable
 *   Latch      a jump that was found is not believed, by this process or a later one, before
 *              operators acknowledged it or the evidence came back
 *
 * Uses: sim, signer/timekeeper.h. One thread.
 */
#ifndef SIM_TRUTH_H
#define SIM_TRUTH_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

/** One process on one machine. All zero at its start. */
struct truth {
    bool sampled;     /* there is a sample that was not looked at yet */
    int64_t at_ns;    /* true time of it */
    bool honest;      /* no lie was in it */
    bool undisturbed; /* and nothing happened behind chronyd's back */
    bool base_honest; /* the same of the last sample that was believed */
    bool base_undisturbed;
    bool anchored;          /* a time has been believed since the start, or a disruption */
    int64_t anchor_ns;      /* true time then */
    int64_t ahead_ns;       /* and the latest that was believed, less that */
    int64_t behind_ns;      /* put aside for so long since then: its raw clock stood */
    int64_t behind_then_ns; /* the same when the sample was taken, which knows no later pause */
    int64_t floor_ns;
    bool aside;       /* it was put aside, and has not noticed (yet) */
    int64_t aside_ns; /* true time at which this process went on after it had been put aside for
                       * so long that its TPM told; 0: never */
    int64_t aside_more_ns; /* for so much longer than the TPM's clock hides: one that was slow to
                            * answer hides more */
};

/** What outlives the processes of one machine, as long as its disk is not put back. */
struct truth_past {
    int64_t record_ns;     /* the last record that was durable; 0: none */
    int64_t tried_ns;      /* the last that a process tried to make: cut off or failed, it may be
                            * durable all the same, and the next process finds it; 0: none */
    int64_t floor_ns;      /* and the floor */
    uint64_t jump_id;      /* that was found, and is durable; 0: none */
    int64_t jump_ahead_ns; /* of the true time, when it was found */
    bool jump_noted;       /* the ledger knows it, too */
};

/** A sample was taken now. */
void truth_sampled(struct machine *m);

/** What became of it: call it before the next one, and before anything is looked at. */
void truth_observe(struct machine *m);

/** Could this process, with all lies that DESIGN cannot exclude, believe that it is `time_ns`? */
bool truth_allows(const struct machine *m, int64_t time_ns);

/** The machine goes on after it was put aside for span_ns. */
void truth_put_aside(struct machine *m, int64_t span_ns);

/** A process has begun, and has read what the last one remembered. */
void truth_began(struct machine *m);

/** It is over, in whatever way: an orderly stop makes a last record, behind its last look. */
void truth_ended(struct machine *m);

/** A turn of the service is over: what it knows of a jump is in its ledger. */
void truth_turned(struct machine *m);

/** What it remembered of the clock is gone, and with `all` its ledger, too. */
void truth_forget(struct machine *m, bool all);

/** An operator acknowledged the jump that stands: what is believed next is believed. */
void truth_acknowledged(struct machine *m);

#endif
