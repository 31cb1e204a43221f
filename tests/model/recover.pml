/*
 * recover: on with the next window, here (recover_here) or on another device (provision_restored);
 * and the exports that a replacement needs.
 */

/* recover_here_plan(): the first window that will sign, as a w number. What may have been used
 * counts as used, by the counter, by A, by the ledger, and in a time plan whose TPM went back, by
 * the clock. */
inline plan_recovery()
{
    d_step {
        scan();
        from = MAX(w, top_w);
        from = (a_ok -> MAX(from, aw) : from);
        from = (a_ok -> MAX(from, ae) : from);
#if KIND == TIME
        from = MAX(from, notebook);
        from = (tpm_behind -> MAX(from, today + 1) : from);
#endif
        from = MAX(from + 1, lowest);
        least = MAX(l, top_lease);
        least = MAX(least, top_receipt);
        least = MAX(least, top_intent);
        least = (a_ok -> MAX(least, al) : least);
        forget()
    }
}

/* record_here() */
inline record_recovery()
{
    atomic {
        may_die();
        scan();
        if
        :: from > lowest -> append(RAISE, from, 0, 0)
        :: else
        fi;
        forget();
#if KIND != TIME && !defined(M_RECOVERY_FORGETS)
        /* distrust_exports(): this ledger may have forgotten exports. Behind a mark of -1 nothing
         * signs before an export is acknowledged off the device. */
        if
        :: step == REFUSE -> append(EXPORT, 0, 0, 0)
        :: else
        fi
#endif
    }
    sync()
}

/* recover_here() */
inline recover_here()
{
    record_recovery();
    do
    :: kl < least -> tpm_step_l()
    :: else -> break
    od;
    open_window(from);
    tpm_write_a(kaw, kal, kab); /* allocate_settle() */
    d_step { cause = false; from = 0; least = 0 }
}

/* Exports, acknowledgements ----------------------------------------------------------------- */

/* note() of op_backup.c: recorded, and anchored at once. */
inline note(kind, x)
{
    put(kind, x, 0, 0);
    sync();
#ifndef M_NOTE_NOT_ANCHORED
    tpm_write_a(kaw, kal, kab)
#endif
}

/* operation_backup_export(): the mark is recorded before the file exists. */
inline export()
{
#if EARLY > 0
    atomic {
        if
        :: from = MAX(kw, 1)
        :: MAX(kw, today + 1) < WINDOWS -> from = MAX(kw, today + 1) + 1 /* --through */
        fi
    }
#else
    from = MAX(kw, 1);
#endif
    note(EXPORT, from);
    atomic {
        may_die();
        files = files | (1 << from);
        from = 0
    }
}

/* operation_backup_check(). The operator counts a check that was begun. */
inline acknowledge()
{
    atomic {
        select(from : 1 .. WINDOWS);
        if
        :: (files & (1 << from)) == 0 -> from = 0; goto ready
        :: else
        fi;
#ifndef M_CHECK_COUNTED_LATE
        notebook = MAX(notebook, from)
#endif
    }
    note(ACK, from);
    atomic {
        notebook = MAX(notebook, from);
        from = 0
    }
}

/* batch_export_check(): view_export_limit() as a w number. */
#ifdef M_EXPORT_COUNTS
#define MARKS MAX(newest, acknowledged)
#else
#define MARKS MAX(exported - 1, acknowledged)
#endif
#define WITHIN_LIMIT(to) (exported == 0 || (to) <= MARKS + MARGIN)

/* Replacement ------------------------------------------------------------------------------- */

/* recover_backup_plan(), as a w number: behind the clock and what the file knows; or behind every
 * window that the lost device can have signed in, by the last mark that was acknowledged. */
#if defined(M_CURRENT_WINDOW)
#define SLACK 0
#else
#define SLACK 1
#endif
#if defined(M_EARLY_MARK_IGNORED)
#define START_OF(file) (MAX(file, today + 1) + SLACK)
#elif KIND == TIME
#define START_OF(file) (MAX(MAX(file, notebook), today + 1) + SLACK)
#else
#define START_OF(file) (MAX(file, notebook) + MARGIN + SLACK)
#endif

/* The statement that the lost device cannot come back: its TPM is gone, or W, L and A in it. */
#ifdef M_NO_STATEMENT
#define STATED true
#else
#define STATED (alive == 0)
#endif

/* provision_restored(): a crash in it leaves no key, so it is one step. */
inline replace()
{
    atomic {
        select(from : 1 .. WINDOWS);
        if
        :: (files & (1 << from)) == 0 || START_OF(from) > WINDOWS -> from = 0; goto nothing
        :: else
        fi;
        d_step {
            made++;
            alive++;
            me = made;
            over[slot] = false;
            first = START_OF(from);
            born = first - 1;
            w = born;
#if KIND != TIME && !defined(M_MARK_MISSING)
            from = MAX(from, notebook);
            append(EXPORT, from, 0, 0);
#endif
            dur = size;
            aw = w; apos = size; abr = HEAD_BRANCH; ae = 0; a_ok = true;
            from = 0
        }
    }
}
