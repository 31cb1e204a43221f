/*
 * version: a request of a strict version plan, and the completion of intents at start
 * (batch_version.c, complete_intents()). A batch is one request: its intents stand or fall in
 * one transaction, and after a crash they are completed one by one.
 */

/* The intent of a reservation is open while it is held; raise_floor() ends it first. */
#if REMOTE > 0
#define HELD_OPEN (held != 0 && Y(open - 1) + 1 == held)
#else
#define HELD_OPEN false
#endif

/* The intent of a remote hash has no value to complete. */
#ifdef M_REMOTE_COMPLETED
#define HAS_NO_VALUE false
#else
#define HAS_NO_VALUE (F(open - 1) == 1)
#endif

/* look_up() and check_order(): an answer that changes nothing, or on with the request. */
inline place()
{
    select(idx : 0 .. INDICES - 1);
    select(message : 1 .. 2);
    scan(); /* not in a d_step: a select must not end in one */
    d_step {
        /* A bound version is answered from the ledger, or refused. A lower one than the highest
         * that is bound is refused, and with it every bound one but the highest. */
        go = requests > 0 && idx + 1 > mark && WINDOW_OF(idx) + 1 >= lowest &&
             WINDOW_OF(idx) + 1 >= kw && WITHIN_LIMIT(WINDOW_OF(idx) + 1);
        stuck = WINDOW_OF(idx) + 1 > kw && open != 0 && !HELD_OPEN;
        forget()
    }
    if
    :: !go -> idx = 0; message = 0; goto ready
    :: else -> go = false; requests--; up[slot] = false
    fi;
    assert(!stuck) /* raise_floor(): an intent is open while its window closes */
}

inline serve()
{
    atomic { place() }
    if
    :: WINDOW_OF(idx) + 1 > kw ->
#if REMOTE > 0
        end_with_window();
        if
        :: burning != 0 -> write_burn()
        :: else
        fi;
#endif
        open_window(WINDOW_OF(idx) + 1)
    :: else
    fi;
    check_recorded();
    put(INTENT, kl + 1, idx, message);
    reserved = size - 1;
#if defined(M_ANCHOR_FIRST)
    anchor();
    sync();
#elif defined(M_NO_SYNC)
    anchor();
#else
    sync();
    anchor();
#endif
    assert(kal == kl); /* allocate_intent() */
    atomic { may_die(); prove(); compute(idx, message) }
    receipt(kl, idx, message);
    atomic { may_die(); release(idx, message, kl) }
    idx = 0; message = 0; reserved = 0
}

inline burn_intent()
{
    put(BURN, 0, idx, 0);
    sync()
}

/* complete_intents() */
inline complete_intents()
{
    do
    :: atomic {
        may_die();
        scan();
        if
        :: open == 0 -> forget(); break
        :: else ->
            d_step {
                idx = Y(open - 1);
                message = Z(open - 1);
                epoch = X(open - 1);
                go = HAS_NO_VALUE || WINDOW_OF(idx) + 1 < lowest || WINDOW_OF(idx) + 1 < kw;
                /* Only a recovery, or a disk put back, costs a version number. */
                assert(!go || HAS_NO_VALUE || WINDOW_OF(idx) + 1 < lowest || br != 0);
                forget()
            }
        fi
       }
       if
       :: go -> go = false; burn_intent()
       :: else ->
           atomic { may_die(); prove(); compute(idx, message) }
           receipt(epoch, idx, message);
           sync()
       fi;
       idx = 0; message = 0; epoch = 0
    od
}
