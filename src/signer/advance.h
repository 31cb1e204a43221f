/*
 * advance: a window of a time plan is opened before its start, deliberately, and the lead is paid
 * back: the window behind it opens no earlier than planned (RFC 10033 section 5.8, DESIGN sections
 * 6 and 10).
 *
 * Order: who approved it and why into the ledger, sync; A := {early_window, head}; W + 1; A :=
 * {L_base}; the window-opened entry. A crash before A leaves nothing but a note; a crash behind it
 * leaves an approved window, which the next start opens (start.h). From A on nobody takes a W ahead
 * of the clock for a clock that was set back (attack 20).
 *
 * A replacement of this device starts behind the mark of the last acknowledged export. So the
 * window must lie within such a mark before it signs, or a replacement could sign in it, too
 * (attack 29).
 *
 * Uses: everything in signer. Offline: the caller holds both locks. One thread. Keeps I1, I5, I6.
 */
#ifndef SIGNER_ADVANCE_H
#define SIGNER_ADVANCE_H

#include "signer/allocate.h"

#define ADVANCE_REASON_MAX 128
#define ADVANCE_NOTE "advance-window" /* of the operation in the ledger; its number: the window */

/** What the operator states. */
struct advance_statement {
    int64_t window;                     /* that is to be opened */
    uint8_t export_sha256[SHA256_LEN];  /* of an export that was checked off the device */
    const char *reason;                 /* who wants it and why; 1 … ADVANCE_REASON_MAX bytes */
    uint32_t uid;                       /* of whoever runs the command */
    enum virtual_policy virtual_policy; /* of the service */
};

/** What would be done: shown to people before it runs. */
struct advance_plan {
    bool is_open;     /* done already, by this operation: nothing is left to do */
    int64_t window;   /* opens early; every window before it is closed for good */
    int64_t floor;    /* highest window ever opened, when the plan was made */
    int64_t latest_s; /* the trusted time */
    int64_t planned_s, closes_s;
    int64_t lead_s;    /* planned start minus the trusted time; 1 … */
    uint64_t given_up; /* signatures that the window of now could still have made */
    uint32_t uid;      /* of the statement, for the ledger */
    uint8_t export_sha256[SHA256_LEN];
    char reason[ADVANCE_REASON_MAX + 1];
};

/**
 * Plan it. Blocks up to 10 s for a trusted clock. Changes nothing.
 *
 * The window must be the next: behind the highest that was opened and behind that of the clock; or
 * the one that is open already and waits for its start (after a recovery).
 *
 * @param[in] key  From key_open().
 * @retval RC_REFUSED_UNSUPPORTED  Not a time plan; or a virtual TPM under a policy by which nothing
 * could be signed in the window.
 * @retval RC_REFUSED_RANGE        Another window is the next; the text says which.
 * @retval RC_REFUSED_EXHAUSTED    No window is left.
 * @retval RC_REFUSED_EXPORT       No export of that digest was acknowledged here, or its mark lies
 * below the window.
 * @retval RC_REFUSED_INPUT        The reason is missing, too long, or no line of UTF-8.
 * @retval RC_RETRY_CLOCK          From tool_clock_latest_s(): among others, a jump that nobody has
 * acknowledged, and a clock behind the last time that the TPM saw.
 * @retval RC_HALT_…               key->rc, or the ledger failed.
 */
enum rc advance_window_plan(struct key *key, const struct world *world, struct ledger *ledger,
                            const struct advance_statement *statement, struct advance_plan *plan,
                            struct err *err) MUST_CHECK;

/**
 * Run it: the window is open when this returns RC_OK. Does nothing if plan->is_open.
 * @param[in,out] watch  Sees the steps of W and may stop it as long as nothing was approved; total
 * is filled in. May be NULL.
 * @retval RC_RETRY_BUSY     watch has stopped it. Nothing was approved; W has passed some of the
 * windows before it, and the same call after a new plan goes on from there.
 * @retval RC_REFUSED_RANGE  The counter has moved since the plan was made. Nothing changed.
 * @retval RC_HALT_SEEDS     The window's secret cannot be opened. Nothing was approved; W may have
 * passed the windows before it.
 * @retval RC_HALT_…         A command failed: if the window is approved, the next start opens it.
 */
enum rc advance_window(struct key *key, const struct world *world, void *tpm, struct ledger *ledger,
                       const struct advance_plan *plan, struct step_watch *watch,
                       struct err *err) MUST_CHECK;

#endif
