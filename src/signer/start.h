/*
 * start: how a key's ledger and its TPM stand to each other, and what start-up does about it.
 *
 * One pure function, start_decide(), looks at what TPM and ledger hold and names the next single
 * step (DESIGN section 6, rules 2, 4, 5, 10). The driver in signer/key.c does that step, reads
 * everything again, and asks again until the answer is START_DONE or a refusal. So a crash between
 * two steps needs no code of its own: the next start sees the same facts and takes the same step.
 *
 * Uses: base, base/record.h, ledger/ledger.h (values only). Pure; any thread. Keeps I3.
 */
#ifndef SIGNER_START_H
#define SIGNER_START_H

#include "ledger/ledger.h"
#include "policy/plan.h"
#include "tpm/anchor.h"

struct start_facts {
    enum plan_kind kind;
    bool keeps_writes;             /* the TPM is known not to lose acknowledged writes */
    uint64_t w_first;              /* W right after provisioning */
    int64_t w_base;                /* window = W - w_base */
    struct anchor_state tpm;       /* as read just now */
    struct ledger_standing ledger; /* in relation to tpm.a.head; zero if A is not valid */
};

enum start_step {
    START_DONE,           /* all agree: sign */
    START_FINISH_L,       /* A.L = L + 1: increment L */
    START_VOID,           /* lift the bindings of un-anchored intents */
    START_ANCHOR_INTENTS, /* lossy TPM: they stay; anchor them by A {L + 1, head}, L + 1 */
    START_RAISE_L,        /* an un-anchored lease stands in the ledger: raise L over its number */
    START_WRITE_A,        /* W was stepped and nothing signed: A := {W, L_base = L, head} */
    START_STEP_W_WRITE_A, /* A lost, or of an older W and L: W + 1 first, then A as above */
    START_RECORD_WINDOW,  /* the ledger lacks the entry of the window that W opened */
    START_OPEN_EARLY,     /* A approves a window that W has not opened yet: W + 1, A, entry */
    START_REFUSE          /* *rc says what is wrong */
};

/**
 * The next step of a start.
 * @param[out] rc   RC_OK, or for START_REFUSE: RC_HALT_REGRESSION (ledger behind TPM, or A lost in
 * a version plan), RC_HALT_TPM_BEHIND, RC_HALT_INVARIANT (values that cannot be).
 * @param[out] err  The reason, with the numbers.
 */
enum start_step start_decide(const struct start_facts *facts, enum rc *rc, struct err *err);

/** Name of a step for the log. Static. */
const char *start_step_name(enum start_step step);

#endif
