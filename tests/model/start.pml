/*
 * start: what key_open() does: flush, read W, L and A, start_decide(), one step, read again, until
 * there is nothing left to do; then the completion of anchored intents.
 */

/* enum start_step */
#define GO_ON          0
#define DONE           1
#define FINISH_L       2
#define VOID_INTENTS   3
#define ANCHOR_INTENTS 4
#define RAISE_L        5
#define WRITE_A        6
#define STEP_W_WRITE_A 7
#define RECORD_WINDOW  8
#define REFUSE         9
#define OPEN_EARLY     10

#ifdef M_L_BEFORE_A
/* The mistake: L before A. Its start takes an A one behind L for a crash between the two. */
#define NEITHER(al, l) ((al) != (l) && (al) + 1 != (l))
#else
#define NEITHER(al, l) ((al) != (l) && (al) != (l) + 1)
#endif

/* tpm_open() flushes what earlier processes left; anchor_read(). */
inline flush()
{
#ifndef M_NO_FLUSH
    pending = 0; pw = 0; pl = 0; pb = 0; ppos = 0; pbr = 0; pe = 0;
#endif
    skip
}

inline read_tpm()
{
    kw = w; kl = l;
    kaw = (a_ok -> aw : 0); kal = (a_ok -> al : 0); kab = (a_ok -> ab : 0);
    kae = (a_ok -> ae : 0)
}

/* tpm_behind(): design section 6 rule 10. */
#define BEHIND (top_lease > l + 1 || top_intent > l + 1 || RECEIPT_BEHIND || top_w > w)
#ifdef M_VOID_RECEIPTS
#define RECEIPT_BEHIND false
#else
#define RECEIPT_BEHIND (top_receipt > l)
#endif

#ifdef M_NO_ANCESTOR
#define ANCESTOR true
#else
#define ANCESTOR HEAD_KNOWN
#endif

/* tidy() */
inline tidy()
{
    if
    :: behind_head != 0 ->
#if KEEPS || defined(M_LOSSY_VOID)
        step = VOID_INTENTS
#else
        step = ANCHOR_INTENTS
#endif
    :: else ->
        if
        :: aw < w -> step = (al == l -> WRITE_A : STEP_W_WRITE_A)
        :: else ->
            if
#ifndef M_NO_RAISE_L
            :: top_lease == l + 1 -> step = RAISE_L
#endif
            :: else ->
                if
#ifndef M_WINDOW_NOT_RECORDED
                :: w > born && top_w < w -> step = RECORD_WINDOW
#endif
#ifndef M_EARLY_NOT_OPENED
                :: else -> step = (ae > w -> OPEN_EARLY : DONE)
#else
                :: else -> step = DONE
#endif
                fi
            fi
        fi
    fi
}

/* start_decide() */
inline decide()
{
    d_step {
        read_tpm();
        scan();
        tpm_behind = false;
        if
        :: !a_ok -> step = (KIND == VERSION -> REFUSE : STEP_W_WRITE_A)
        :: else ->
            if
            :: aw > w || ab > l || NEITHER(al, l) || ae > aw + 1 -> step = REFUSE
            :: else ->
                if
                :: al == l + 1 && aw == w -> step = FINISH_L
#ifdef M_L_BEFORE_A
                :: al + 1 == l && aw == w && HEAD_KNOWN -> step = FINISH_L
#endif
#ifdef M_A_BEFORE_TEST
                /* The mistake: A is made good before anyone asks whether the ledger knows it. */
                :: al == l && aw < w -> step = WRITE_A
#endif
                :: else ->
                    if
                    :: !ANCESTOR -> step = REFUSE
                    :: ANCESTOR && BEHIND -> step = REFUSE; tpm_behind = true
                    :: else -> tidy()
                    fi
                fi
            fi
        fi;
        forget()
    }
}

/* ledger_void_after(): every binding behind the head, in one transaction. */
inline void_intents()
{
    atomic {
        may_die();
        d_step {
            scan();
            do
            :: behind_head != 0 ->
                lifting = behind_head - 1;
                forget();
                append(VOID, lifting, 0, 0);
                scan()
            :: else -> break
            od;
            forget();
            lifting = 0
        }
    }
    sync()
}

inline record_window()
{
    atomic {
        may_die();
        scan();
        assert(top_w < kw); /* or the ledger refuses the entry, and the key halts for good */
        forget();
        append(OPENED, kw, 0, 0)
    }
    sync()
}

/* allocate_anchor(). The A of a window step that a TPM has lost is written along with it. */
#ifdef M_ANCHOR_KEEPS_W
#define SAY_OPENED false
#else
#define SAY_OPENED (kaw < kw)
#endif
inline anchor()
{
#if defined(M_L_BEFORE_A)
    tpm_step_l();
    tpm_write_a(kaw, kl, kab)
#else
    if
    :: SAY_OPENED -> tpm_write_a(kw, kl + 1, kl)
    :: else -> tpm_write_a(kaw, kl + 1, kab)
    fi;
    tpm_step_l()
#endif
}

/* allocate_write_opened() */
inline write_opened()
{
#if defined(M_A_KEEPS_W)
    tpm_write_a(kaw, kl, kab)
#else
    tpm_write_a(kw, kl, kl)
#endif
}

/* allocate_open_window(). L keeps what an A of a window that is over has promised. */
inline open_window(to)
{
#if REMOTE > 0
    end_with_window();
#endif
    skipping = true; /* what the windows before hold is past, whatever this ledger knows of it */
    do
    :: kw < to -> tpm_step_w()
    :: else -> break
    od;
    if
    :: kal == kl + 1 -> tpm_step_l()
    :: else
    fi;
    write_opened();
    skipping = false;
    record_window()
}

inline do_step()
{
    if
    :: step == FINISH_L ->
#ifdef M_L_BEFORE_A
        tpm_write_a(kaw, kl, kab)
#else
        tpm_step_l()
#endif
    :: step == VOID_INTENTS -> void_intents()
    :: step == ANCHOR_INTENTS || step == RAISE_L -> anchor()
    :: step == WRITE_A -> write_opened()
    :: step == STEP_W_WRITE_A ->
        if
        :: kw == WINDOWS -> goto used_up
        :: else
        fi;
#ifdef M_L_BASE_RESET
        atomic { may_die(); aw = w; al = l; ab = l; apos = size; abr = HEAD_BRANCH; a_ok = true; ae = 0 };
        behind = false
#else
        from = kw + 1;
        open_window(from);
        from = 0
#endif
    :: step == RECORD_WINDOW -> record_window()
    :: step == OPEN_EARLY ->
        from = kae;
        open_window(from);
        from = 0
    fi
}
