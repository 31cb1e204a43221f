/*
 * remote: reservations for callers who hash their artifacts themselves (reserve.c). An index is
 * taken as for a signature, its reservation is durable, and the prefix is told for one commitment;
 * later a hash comes, any hash, and is signed once. A reservation lives in the memory of one
 * process. One is open at a time.
 *
 * A hash that comes when nothing is held changes nothing: the stored signature is returned, or it
 * is refused. So the hash that comes twice, late or never is one that sign_hash() meets when held
 * is 0, or does not meet.
 */

/* What the observer knows of an index: whose prefix left, or that it will, as soon as nothing can
 * give the index to somebody else. */
#define PROMISED 3

/* reserve_end_all(), end(): the lease is wiped at once, the burn comes behind it. */
inline end_reserved()
{
    d_step {
        if
        :: held != 0 ->
            dead[held - 1] = true;
            burning = held;
            held = 0; held_for = 0; held_epoch = 0; held_at = 0
        :: else
        fi
    }
}

inline end_with_window()
{
#ifndef M_WINDOW_KEEPS_RESERVATION
    end_reserved()
#else
    skip
#endif
}

/* reserve_tidy() */
inline write_burn()
{
    put(BURN, 0, burning - 1, 0);
    sync();
    burning = 0
}

inline expire()
{
#ifdef M_RESERVATION_KEPT
    dead[held - 1] = true;
    burning = held;
#else
    end_reserved();
#endif
    write_burn()
}

/* ledger_next_open_reservation(): the oldest one that is neither signed nor burned, plus one. */
inline find_open()
{
    n = 0;
    do
    :: n < size && found == 0 ->
        if
        :: K(n) == RESERVED ->
            k = n + 1;
            done = false;
            do
            :: k < size ->
                done = done || (Y(k) == Y(n) && (K(k) == RECEIPT || K(k) == BURN));
                k++
            :: else -> break
            od;
            k = 0;
            found = (done -> 0 : n + 1);
            done = false
        :: else
        fi;
        n++
    :: else -> break
    od;
    n = 0
}

/* reserve_start() */
inline burn_reserved()
{
#if defined(M_RESERVATION_RESUMED)
    d_step {
        find_open();
        if
        :: found != 0 ->
            held = Y(found - 1) + 1; held_for = Z(found - 1); held_epoch = X(found - 1); found = 0
        :: else
        fi
    }
#elif defined(M_RESERVATIONS_LEFT)
    skip
#else
    do
    :: atomic {
        may_die();
        d_step {
            find_open();
            from = (found == 0 -> 0 : Y(found - 1) + 1);
            found = 0
        }
        if
        :: from == 0 -> break
        :: else -> append(BURN, 0, from - 1, 0); from = 0
        fi
       }
       sync()
    od
#endif
}

/* Behind a start no reservation is open that no process holds. */
inline check_none_open()
{
    d_step { find_open(); assert(found == 0 || held != 0); found = 0 }
}

/* tell(): the prefix leaves. Durable before visible, for one commitment, and before anything is
 * signed. */
inline tell(idx, commitment)
{
    d_step {
        assert(told[idx] == 0 || told[idx] == PROMISED || told[idx] == commitment);
        assert(!dead[idx] && used[idx] == 0);
        assert(a_ok && al >= held_epoch && l >= held_epoch && held_at < apos);
        n = 0;
        do
        :: n < dur -> done = done || (K(n) == RESERVED && Y(n) == idx && Z(n) == held_for); n++
        :: else -> break
        od;
        n = 0;
        assert(done);
        done = false;
        told[idx] = commitment;
        relied = size
    }
}

/* reserve_again(): asked for once more, by its client or by another. */
inline tell_again()
{
    atomic {
        may_die();
        select(message : 1 .. 2);
        if
#ifndef M_TOLD_TO_ANOTHER
        :: message != held_for -> message = 0; goto ready
#endif
        :: else -> prove(); tell(held - 1, message); message = 0
        fi
    }
}

/* record() and reserve_release() */
inline record_and_tell(idx, epoch)
{
    atomic {
        may_die();
        held = idx + 1; held_for = message; held_epoch = epoch; held_at = reserved;
        append(RESERVED, epoch, idx, message)
    }
#ifndef M_TOLD_UNSYNCED
    sync();
#endif
    atomic { may_die(); prove(); tell(held - 1, message) }
}

#if KIND == VERSION
inline reserve_remote()
{
    if
    :: WINDOW_OF(idx) + 1 > kw -> open_window(WINDOW_OF(idx) + 1)
    :: else
    fi;
    check_recorded();
    atomic {
        may_die();
        far = true;
        append(INTENT, kl + 1, idx, message);
        far = false;
        reserved = size - 1
    }
    sync();
#ifdef M_TOLD_BEFORE_ANCHOR
    record_and_tell(idx, kl + 1);
    anchor();
#else
    anchor();
    assert(kal == kl);
    told[idx] = PROMISED;
    record_and_tell(idx, kl);
#endif
    idx = 0; message = 0; reserved = 0
}
#else
inline reserve_remote()
{
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
    assert(lease_epoch == kl && WINDOW_OF(lease_first) + 1 == kw);
    lease_next++;
    record_and_tell(lease_first + lease_next - 1, lease_epoch);
    d_step { message = 0; reading = 0 }
}
#endif

/* A window of a time plan may be over, or not be there yet, when the hash comes. */
#if KIND == TIME
#define HASH_TOO_LATE  (reading + 1 > kw)
#define HASH_TOO_EARLY (reading + 1 < kw && !OPENED_EARLY)
#define IN_ITS_WINDOW  \
    (CLOCK_LIES != 0 || computed + 1 == kw || (computed + 1 < kw && APPROVED(kw)))
#else
#define HASH_TOO_LATE  false
#define HASH_TOO_EARLY false
#define IN_ITS_WINDOW  true
#endif

inline look_at_clock()
{
#if KIND == TIME
    READ_CLOCK(reading)
#else
    skip
#endif
}

/* reserve_sign() for the reservation that is held: look_at_time(), sign_all(). */
inline sign_hash()
{
    atomic {
        up[slot] = false;
        look_at_clock();
        if
        :: HASH_TOO_EARLY -> reading = 0; goto ready
        :: else
        fi
    }
    if
    :: HASH_TOO_LATE -> reading = 0; expire()
    :: else -> sign_it()
    fi
}

inline sign_it()
{
    atomic {
        may_die();
        select(message : 1 .. 2);
#ifdef M_SECOND_HASH
        /* The receipt's own hash is answered with the stored signature, even so. */
        if
        :: used[held - 1] == message -> message = 0; goto ready
        :: else
        fi;
#endif
        prove();
        assert(WINDOW_OF(held - 1) + 1 == kw); /* I5: a reservation ends with its window */
        far = true;
        compute(held - 1, message);
        far = false;
        computed = today
    }
    atomic {
        may_die();
#ifndef M_NO_SECOND_LOOK
        look_at_clock();
        go = HASH_TOO_LATE || HASH_TOO_EARLY;
#endif
        reading = 0
    }
    if
    :: go ->
        go = false;
        message = 0; computed = 0;
        end_reserved();
        write_burn()
    :: else ->
        assert(IN_ITS_WINDOW);
        atomic {
            may_die();
            far = true;
            append(RECEIPT, held_epoch, held - 1, message);
            far = false
        }
#ifdef M_RECEIPT_LATE
        skip;
#else
        sync();
#endif
        atomic {
            may_die();
            /* A reply with the signature leaves, as in release(). */
            assert(dur == size && K(size - 1) == RECEIPT && Y(size - 1) == held - 1);
            assert(a_ok && al >= held_epoch && l >= held_epoch && held_at < apos);
            relied = size;
#ifndef M_SECOND_HASH
            held = 0; held_for = 0; held_epoch = 0; held_at = 0;
#endif
            message = 0; computed = 0
        }
    fi
}
