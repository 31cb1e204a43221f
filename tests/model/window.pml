/*
 * window: a request of a time or interval plan (batch_window.c, allocate_lease()). The message is
 * the client's name: each sends one artifact, again and again, under one idempotency key.
 */

#if CLOCK_LIES == 0
#define READ_CLOCK(to) to = today
#elif CLOCK_LIES == 1
#define READ_CLOCK(to) select(to : 0 .. today)
#else
#define READ_CLOCK(to) select(to : 0 .. WINDOWS - 1)
#endif

#define APPROVED(wn) ((approved & (1 << (wn))) != 0)

/* The receipt of this client's reservation. */
inline look_up_signed()
{
    k = n + 1;
    do
    :: k < size -> done = done || (K(k) == RECEIPT && Y(k) == Y(n)); k++
    :: else -> break
    od;
    k = 0
}

/* look_up(): the receipt of this client, remembered one window longer than its own. */
inline look_up()
{
#if REMOTE > 0
    done = held != 0 && held_for == message; /* told again, or busy */
#endif
    n = 0;
    do
    :: n < size ->
        if
        :: K(n) == RECEIPT && F(n) == 0 && Z(n) == message && WINDOW_OF(Y(n)) + 2 >= kw ->
            done = true
#if REMOTE > 0
        :: K(n) == RESERVED && Z(n) == message && WINDOW_OF(Y(n)) + 2 >= kw -> look_up_signed()
#endif
        :: else
        fi;
        n++
    :: else -> break
    od;
    n = 0
}

#define LEASE_IN_HAND (lease_epoch != 0 && lease_next < LEASE_SIZE)
#define LEASE_LEFT    (LEASE_IN_HAND || kl - kab < LEASES)

/* key_opened_early() */
#ifdef M_APPROVAL_KEPT
#define OPENED_EARLY (kae != 0)
#else
#define OPENED_EARLY (kae != 0 && kaw == kw && kae == kw)
#endif

/* window_of_now() and check_floor(), or window_by_interval(): `to` is the w number to sign in. */
#if KIND == TIME
inline place_in_window()
{
    READ_CLOCK(reading);
    to = (OPENED_EARLY && kw > reading + 1 -> kw : reading + 1);
#ifdef M_FLOOR_IGNORED
    to = MAX(to, kw);
#endif
    go = go && to >= kw && to >= lowest && (to > kw || LEASE_LEFT)
}
#else
inline place_in_window()
{
    to = MAX(kw, lowest);
    to = (to == kw && to <= WINDOWS && !LEASE_LEFT -> to + 1 : to);
    go = go && to <= WINDOWS && WITHIN_LIMIT(to)
}
#endif

inline place()
{
    select(message : 1 .. 2);
    look_up();
    go = requests > 0 && !done;
    done = false;
    scan();
    place_in_window();
    forget();
    if
    :: !go -> message = 0; to = 0; reading = 0; goto ready
    :: else -> go = false; requests--; up[slot] = false
    fi
}

/* What UNIQUE says of leases: no epoch and no place twice. A refusal would end work for good. */
inline check_apart()
{
    d_step {
        n = 0;
        do
        :: n < size ->
            assert(K(n) != LEASE || (X(n) != kl + 1 && Y(n) != (kw - 1) * LEASES + kl - kab));
            n++
        :: else -> break
        od;
        n = 0
    }
}

/* allocate_lease() */
inline take_lease()
{
    lease_epoch = 0;
    lease_next = 0;
    check_recorded();
    atomic {
        may_die();
        check_apart();
        /* Only in the window of now, or in one that was opened before its start. */
        assert(KIND != TIME || reading + 1 == kw || (reading + 1 < kw && APPROVED(kw)));
        append(LEASE, kl + 1, (kw - 1) * LEASES + kl - kab, 0);
        reserved = size - 1
    }
#if defined(M_ANCHOR_FIRST)
    anchor();
    sync();
#elif defined(M_NO_SYNC)
    anchor();
#else
    sync();
    anchor();
#endif
    d_step {
        lease_epoch = kl;
        lease_first = ((kw - 1) * LEASES + kl - kab - 1) * LEASE_SIZE
    }
}

inline serve()
{
    atomic { place() }
    if
    :: to > kw ->
        lease_epoch = 0;
        open_window(to)
    :: else
    fi;
    to = 0;
    if
    :: LEASE_IN_HAND
    :: else -> take_lease()
    fi;
    /* key_check_invariants() */
    assert(lease_epoch == kl && WINDOW_OF(lease_first) + 1 == kw);
    atomic {
        may_die();
        prove();
        compute(lease_first + lease_next, message);
        lease_next++;
        computed = today
    }
    /* time_still_inside() */
    atomic {
        may_die();
#if KIND == TIME && !defined(M_NO_SECOND_LOOK)
        READ_CLOCK(reading);
        go = reading + 1 != kw && !(OPENED_EARLY && reading + 1 < kw)
#endif
    }
    if
    :: go ->
        go = false;
        put(BURN, 0, lease_first + lease_next - 1, 0);
        sync()
    :: else ->
        assert(KIND != TIME || CLOCK_LIES != 0 || computed + 1 == kw ||
            (computed + 1 < kw && APPROVED(kw)));
        receipt(lease_epoch, lease_first + lease_next - 1, message);
        atomic { may_die(); release(lease_first + lease_next - 1, message, lease_epoch) }
    fi;
    d_step { message = 0; computed = 0; reading = 0 }
}
