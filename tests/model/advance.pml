/*
 * advance: a window of a time plan is opened before its start (advance.c).
 */

/* check_export(): an acknowledged mark covers the window, or a replacement could sign in it, too. */
#ifdef M_EARLY_UNEXPORTED
#define COVERED true
#else
#define COVERED (acknowledged >= from)
#endif

/* advance_window_plan(): the next window; behind a recovery the one that waits for its start. */
inline plan_advance()
{
    READ_CLOCK(reading);
    scan();
    from = MAX(MAX(kw, reading + 1) + 1, lowest);
    from = (kw > reading + 1 && kw >= lowest && !OPENED_EARLY -> kw : from);
    go = from <= WINDOWS && COVERED;
    forget();
    reading = 0;
    if
    :: !go -> from = 0; goto ready
    :: else -> go = false; up[slot] = false; lease_epoch = 0; lease_first = 0; lease_next = 0
    fi
}

/* advance_window(): W passes the window of now first, so that what is early is one step; then the
 * note, A with the approval, and the window. The next start does what a crash behind A leaves. */
inline advance()
{
    atomic { plan_advance() }
#ifndef M_EARLY_TWO_STEPS
    if
    :: from > kw + 1 -> open_window(from - 1)
    :: else
    fi;
#endif
    put(ADVANCE, from, 0, 0);
#ifndef M_EARLY_NOT_SYNCED
    sync();
#endif
    atomic { approving = from; approved = approved | (1 << from) }
    tpm_write_a(kaw, kal, kab);
    if
    :: from > kw -> open_window(from)
    :: else
    fi;
    from = 0
}
