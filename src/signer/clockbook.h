/*
 * clockbook: the clock's entries in the ledger, and what operators are shown of it and say about
 * it.
 *
 * Notes of the service's chain, of kind clock: "quarantine" (a jump forward was found; number: its
 * id), "withdrawn" (the evidence came back), "acknowledged" (operators accepted it), "disrupted"
 * (this process or its host was put aside). The newest of the first three says whether a jump
 * stands, also where the file `clock` has been lost or put back.
 *
 * Uses: ledger, timekeeper, key, view. Threads: signer thread.
 */
#ifndef SIGNER_CLOCKBOOK_H
#define SIGNER_CLOCKBOOK_H

#include "signer/key.h"
#include "signer/request.h"
#include "signer/timekeeper.h"

struct clockbook {
    struct ledger *ledger;
    struct timekeeper *clock;
    const struct key *keys;
    size_t key_count;
    bool tpm_there;   /* its anchors could be read */
    uint64_t open_id; /* jump that stands in the ledger; 0: none */
};

/** What ledger and anchors remember, told to the timekeeper. Once, when all keys are open.
 * @param[in,out] book  open_id is set. @retval RC_HALT_LEDGER  From the ledger. */
enum rc clockbook_open(struct clockbook *book, struct err *err) MUST_CHECK;

/** Write down what is new since the last call. @retval RC_HALT_LEDGER  As ledger_add_note(). */
enum rc clockbook_keep(struct clockbook *book, int64_t now_s, struct err *err) MUST_CHECK;

/** Note that this process was put aside. @retval RC_HALT_LEDGER  As ledger_add_note(). */
enum rc clockbook_disrupted(struct clockbook *book, const char *why, int64_t now_s,
                            struct err *err) MUST_CHECK;

/** Everything about the clock, as it is now; takes a sample. A jump counts as shown from now on. */
void clockbook_view(struct clockbook *book, struct view_clock *view);

/**
 * Accept the jump that stands: checked as clk_acknowledge() says, written down, and believed.
 * @param[in] who  Requester, for the ledger.
 * @retval RC_REFUSED_INPUT  Nothing changed; err says what was wrong.
 * @retval RC_RETRY_CLOCK    Nothing changed: the words may be right, the evidence is not good now.
 * @retval RC_HALT_LEDGER    It may or may not stand in the ledger; the next start knows.
 */
enum rc clockbook_acknowledge(struct clockbook *book, const struct clk_acknowledgement *said,
                              const char *who, int64_t now_s, struct err *err) MUST_CHECK;

#endif
