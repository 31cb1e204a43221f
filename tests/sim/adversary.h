/*
 * adversary: everything that goes wrong, as operations with weights.
 *
 * Each is one row of a table: a name, the temper that it belongs to, a weight, and a function that
 * does it to a machine. A seed's temper decides which rows it has, so that some runs know nothing
 * but crashes (and must lose nothing) and others know everything.
 *
 * Uses: sim, machine, client, operator. One thread.
 */
#ifndef SIM_ADVERSARY_H
#define SIM_ADVERSARY_H

#include "sim/machine.h"

/** Forget all copies that were kept. */
void adversary_begin(void);
void adversary_end(void);

/** One draw from the table, done to a machine. */
void adversary_act(struct machine *m);

/** Draw the temper of a seed. */
void temper_draw(struct temper *t, struct chance *c);

/** Is there such a temper? */
bool temper_known(const char *name);

/** How many rows the table has, and their names: for the page that lists them. */
const char *adversary_name(size_t i);

#endif
