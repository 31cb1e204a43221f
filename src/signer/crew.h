/*
 * crew: threads that compute signatures side by side while the signer thread waits for them, and
 * what may be needed next while it waits for something else.
 *
 * Only pure work is done here: no ledger, no TPM, no key that changes. Whoever asks for signatures
 * takes part, and goes on when all is done, so the order of everything that is written stays that
 * of one thread. Spare work (struct hands) is begun only where no signature is to be computed, and
 * whoever has something else to do goes first at the end of each piece.
 *
 * Uses: base. Threads: one asks at a time.
 */
#ifndef SIGNER_CREW_H
#define SIGNER_CREW_H

#include "base/rc.h"
#include "signer/world.h"

#define CREW_MAX 8

struct crew; /* opaque: crew_open() makes it, crew_close() ends it */

/**
 * One thread for each processor, at most CREW_MAX: with the caller that is one more than there are
 * hands at once, for spare work goes on where the caller sleeps.
 * @retval RC_RETRY_SYSTEM  No memory or no thread. *crew is NULL.
 */
enum rc crew_open(struct crew **crew, struct err *err) MUST_CHECK;
void crew_close(struct crew **crew);

/** For world.hands. Borrowed until crew_close(). */
const struct hands *crew_hands(const struct crew *crew);

/**
 * part(arg, 0) … part(arg, parts - 1), each once, in any order and at the same time; returns when
 * all have. hands NULL: one after the other, here.
 */
void hands_run(const struct hands *hands, size_t parts, void (*part)(void *arg, size_t i),
               void *arg);

#endif
