/*
 * recover: the only way on when a state is behind its anchor, or a device is gone: the next window.
 *
 * Recover is not resume (DESIGN section 10): nothing that the old state could have signed is ever
 * signed again, because its windows are closed. Offline: the caller holds both locks.
 *
 * Uses: everything in signer. One thread.
 */
#ifndef SIGNER_RECOVER_H
#define SIGNER_RECOVER_H

#include "signer/allocate.h"
#include "signer/backup.h"

/** What a recovery would do: shown to people before it runs. */
struct recover_plan {
    int64_t floor;        /* highest window that may have been used */
    int64_t start_window; /* first window that will sign afterwards */
    int64_t opens_s;      /* time plans: when that is; -1 otherwise */
    int64_t mark;         /* replacement: counts as its first export, until one of its own is
                             acknowledged: so it cannot sign in its start window before (attack 30) */
    uint64_t
        windows_given_up; /* windows closed without having been full, the present one included */
    char why[LEDGER_TEXT_MAX + 1]; /* what is wrong with the state */
};

/**
 * Plan a recovery on the device that the key lives on. A time plan whose TPM is behind the ledger
 * starts behind the window of now as well: blocks up to 10 s for a trusted clock.
 * @param[in] key  From key_open(); its anchor must be open, whatever its rc.
 * @param[in] acknowledged_through  Time plans: mark of the last acknowledged export, to start
 * behind it; -1: not given.
 * @retval RC_REFUSED_INPUT        A time plan whose TPM is behind the ledger, and the mark is not
 * given: which windows were opened early nothing else tells.
 * @retval RC_REFUSED_UNSUPPORTED  The anchor is not open: another TPM, or objects are missing. Only
 * a backup helps.
 * @retval RC_REFUSED_EXHAUSTED    No window is left.
 * @retval RC_RETRY_CLOCK          The window of now is needed, and the clock is not safe.
 */
enum rc recover_here_plan(struct key *key, const struct world *world, struct ledger *ledger,
                          int64_t acknowledged_through, struct recover_plan *plan,
                          struct err *err) MUST_CHECK;

/**
 * Run it: incident and new lowest window into the ledger; L and W raised past everything seen; A
 * written with the ledger's head; secrets of closed windows destroyed. Running it again is
 * harmless.
 *
 * Version and interval plans: if key->rc says that the state was not in order, exports may have
 * been forgotten with the rest. Then nothing signs before one is acknowledged (RC_REFUSED_EXPORT),
 * so that no replacement made from a forgotten one can start in a window that was used here.
 * @param[in,out] watch  Sees the steps of L and W and may stop it; total is filled in. May be NULL.
 * @retval RC_RETRY_BUSY      watch has stopped it. Every window below the start window is closed
 * for good; a new plan has the same start window (a later one where time has gone on) and goes on
 * from there.
 * @retval RC_HALT_…          Run it again when the cause is mended.
 * @retval RC_HALT_INVARIANT  L would have to be raised further than any signing can have left it: A
 * was composed or the ledger forged. Nothing changed.
 */
enum rc recover_here(struct key *key, const struct world *world, struct ledger *ledger,
                     const struct recover_plan *plan, struct step_watch *watch,
                     struct err *err) MUST_CHECK;

/** What the operator states about a lost device, for its replacement. */
struct recover_statement {
    int64_t acknowledged_through; /* mark of the last acknowledged export; -1: not given */
    int64_t start_window;         /* raise the start to this; -1: not given */
    int64_t margin;               /* m of DESIGN section 10 */
    int64_t clock_latest_s;       /* trusted (tool_clock_latest_s()); -1: the clock is not safe */
    const char *clock_why;        /* then: why; may be NULL */
};

/**
 * Plan the replacement of a lost device from a backup.
 * The operator must name the last acknowledged export. Time plans start behind it (a window may
 * have been opened early) and behind the window of now; version and interval plans m windows
 * further.
 * @retval RC_RETRY_CLOCK        A time plan needs a trusted clock.
 * @retval RC_REFUSED_INPUT      acknowledged_through is missing, or below the backup's own mark.
 * @retval RC_REFUSED_EXHAUSTED  No window of the backup is left.
 */
enum rc recover_backup_plan(const struct backup *backup, const struct recover_statement *statement,
                            struct recover_plan *plan, struct err *err) MUST_CHECK;

/** Run it with provision_restored(), which records the statement and the mark in the same commit as
 * the key. p->first_window, p->statement and p->mark are set from the plan. */
enum rc recover_from_backup(struct provision *p, struct backup *backup,
                            const struct recover_plan *plan, const char *statement,
                            struct ledger_key *key, struct err *err) MUST_CHECK;

#endif
