/*
 * life: the small model's scripts, each a way in which two requests can meet one key of eight
 * indices in two windows; and how a life goes on from any moment to its end, and is judged there.
 *
 * Windows are 6 and 7 of eight; the six before them were never on the device. A life: the signer
 * starts; clients ask, again and again, until each has its final answer; the signer stops. Judged:
 * no index has two values, released bytes come again when asked for again, every answer is the one
 * that a life without a crash gives, every computed index is signed or burned in the ledger's
 * books, a crash has cost at most one lease (and no version its number), no signature in a window
 * that is open neither by time nor early. A life with the disk put back may be refused, and then
 * recovers by skipping; there the oracle alone judges, while clients ask again for everything with
 * other bytes.
 *
 * Uses: moment, signer_rig; cmocka: what is wrong fails the running test. One thread.
 */
#ifndef TESTS_SIM_LIFE_H
#define TESTS_SIM_LIFE_H

#include "sim/moment.h"

#define LIFE_FIRST_WINDOW 6

/** A plan and its TPM. */
struct life_plan {
    const char *name;
    const char *json;
    bool lossy;
    bool remote;    /* its requests may hash for themselves */
    unsigned lease; /* indices of one lease; 0: a version plan */
};

/** One act: requests that arrive together. */
struct life_act {
    unsigned window;     /* time plans: the clock stands in this window; 0: as before */
    bool restart_before; /* an orderly stop and start */
    bool early_before;   /* a stop, window 7 opened before its start, and a start */
    unsigned change_at;  /* at this reading of the clock it goes on into window 7; 0: never */
    /* Which: '1' or '2', or "11" for one of them twice; 'r' is '1' whose client hashes for itself:
     * it reserves before the others are signed, and comes back behind them. */
    char asks[MOMENT_ASKS + 1];
};

struct life {
    const struct life_plan *plan;
    char name[64];
    unsigned prior; /* leases or versions of window 6 that were used before */
    const char *versions[2];
    struct life_act acts[MOMENT_ACTS];
    unsigned act_count;
};

extern const struct life_plan life_plans[];
extern const size_t life_plan_count;

/** The number-th script of a plan. @return false if there are no more. */
bool life_script(struct life *life, const struct life_plan *plan, unsigned number);

/** The progress of the life that is being lived, as clients know it; for moment_outcomes(). */
const struct progress *life_progress(void);

/** Time plans: the window in which the clock stands. Others: behind the last one. */
unsigned life_window_of_clock(void);

/** Make the key and what was there before; *first is the moment in which the life begins. */
void life_begin(const struct life *life, struct rig *rig, bool exact, struct moment *first);

/** What a life without a crash gives: the answers that all others are compared with. */
void life_expect(const struct moment *first);

/** What to be told of on the way; each may be NULL. */
struct life_hooks {
    void (*opening)(void); /* the world is there, the signer not yet started */
    void (*started)(void);
    void (*ended)(void); /* what comes now belongs to the judge */
};

/** Go on from a moment to the end, and judge. */
void life_go_on(const struct moment *from, const struct life_hooks *hooks);

/** Lives with a disk put back: how many were refused, and how many signed on. */
uint64_t life_refused(void);
uint64_t life_harmless(void);

#endif
