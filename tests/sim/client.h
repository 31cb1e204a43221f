/*
 * client: those who want signatures, and the network between them and the machines.
 *
 * A wish is asked for again and again under the same idempotency key (or version) until it is
 * answered, and sometimes after that. Messages are lost, late, doubled and out of order; so are
 * replies. Some clients are wrong: another artifact under the same key or version.
 *
 * Uses: sim, machine, checks. One thread.
 */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "sim/machine.h"

/** Take answers from now on. */
void clients_begin(void);

/** A client sends a request to a machine: a new wish, or an old one again. */
void client_send(struct machine *to);

/** Up to `most` of the messages for a machine arrive, in any order, as one batch.
 * @return how many. */
size_t clients_deliver(struct machine *m, size_t most);

/**
 * At the end of a run: ask for one new signature, now.
 * @param[in] tried  Versions that were tried before: a later one this time.
 * @param[in] from_floor  Begin at the window that W stands for, whatever was signed elsewhere.
 * @return what the machine answered (RC_OK: signed); RC_REFUSED_EXHAUSTED without asking if the
 * plan has no version left.
 */
enum rc client_ask_now(struct machine *m, unsigned key, unsigned tried, bool from_floor,
                       struct reply *reply);

#endif
