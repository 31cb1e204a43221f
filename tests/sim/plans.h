/*
 * plans: the plan documents of a run: tiny trees, tiny windows, every kind.
 *
 * Uses: base, policy. Pure.
 */
#ifndef SIM_PLANS_H
#define SIM_PLANS_H

#include "sim/random.h"

#define PLANS_TEXT_MAX 1024

enum sim_plan { SIM_TIME, SIM_STRICT, SIM_PER_LINE, SIM_INTERVAL, SIM_PLANS };

/** "time", "strict", "per-line", "interval"; SIM_PLANS if it is none of them. */
enum sim_plan plans_by_name(const char *name);

/** Draw a plan document of a kind for a key of that name; `remote`: with remote hashing. */
void plans_draw(struct chance *c, enum sim_plan kind, const char *key, bool small_ots, bool remote,
                char text[PLANS_TEXT_MAX]);

#endif
