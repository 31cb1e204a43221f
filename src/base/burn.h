/*
 * burn: why one-time keys are gone without a signature, as a closed list that monitors count by.
 *
 * The ledger's entry "burn" begins with the word of its reason; views and metrics say the same
 * word. What they call burned is the sum over all reasons, the rests of leases (BURN_LEASE) too.
 * Uses: nothing. Any thread.
 */
#ifndef BASE_BURN_H
#define BASE_BURN_H

#include <stddef.h>

#define BURN_LIST(X)                                                                               \
    X(BURN_CLOCK, "clock")     /* the time to sign was over, or the clock not safe */              \
    X(BURN_VERIFY, "verify")   /* the signature did not verify, or was not computed */             \
    X(BURN_EXPIRED, "expired") /* the hash of a reservation did not come in time */                \
    X(BURN_WINDOW, "window")   /* its window ended while it was reserved */                        \
    X(BURN_RESTART, "restart") /* the process that held it ended */                                \
    X(BURN_LEASE, "lease")     /* the rest of a lease: no entry of its own, the lease says it */   \
    X(BURN_OTHER, "other")     /* an entry that names none of these */

enum burn_reason {
#define X(id, word) id,
    BURN_LIST(X)
#undef X
        BURN_COUNT
};

/** Its word, static; "other" for what is no reason. */
const char *burn_word(unsigned reason);

/** The reason that the text of a burn begins with (a word and a colon); BURN_OTHER if with none. */
enum burn_reason burn_reason_of(const char *text);

/**
 * What an entry says: the word of the reason, ": ", and the sentence, cut where it does not fit.
 * @param[out] text  size bytes, always ended.
 */
void burn_text(char *text, size_t size, enum burn_reason reason, const char *sentence);

#endif
