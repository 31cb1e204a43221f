/*
 * run: one seed from its first second to its end.
 *
 * A seed draws its world (plans, machines, temper), then operations one after another: traffic,
 * time, adversaries. At the end all faults stop, clocks are set right, and every key must sign
 * again where DESIGN says: in the same window after crashes alone, in a later one after a recovery.
 *
 * Uses: everything of tests/sim. One thread.
 */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "sim/plans.h"
#include "sim/sim.h"

struct run_options {
    uint64_t seed;
    uint64_t ops;       /* 0: as the seed draws */
    const char *world;  /* only such a one: "clocks"; NULL: as the seed draws it */
    enum sim_plan plan; /* SIM_PLANS: as the seed draws */
    bool telling, fully;
};

/** The first hash chooses among the kernels by measuring them: before anything is counted. */
void run_warm_up(void);

/** @return true if nothing was violated; else sim->oracle says what. sim->trace holds the story,
 * sim->ops_wanted how many operations the seed has drawn. */
bool run_seed(const struct run_options *o);

#endif
