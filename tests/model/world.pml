/*
 * world: the TPM, the disk, and what may happen to them. All state here is local to a device.
 *
 * Ledger: e[0 ... size - 1] in order; the first dur of them survive a power cut. The entry that
 * makes the key stands before e[0] and is never lost. An entry's hash, which names everything
 * before it, is its position together with the branch it was written in: br counts the times that
 * this disk was put back.
 */

/* One entry: kind, two numbers, a message, its branch. */
#define NOTHING 0
#define OPENED  1 /* window-opened: x = w number */
#define LEASE   2 /* x = epoch, y = lease (window * LEASES + number) */
#define INTENT  3 /* x = epoch, y = version, z = message */
#define RECEIPT 4 /* x = epoch, y = index, z = message */
#define VOID    5 /* x = entry number of the intent */
#define BURN    6 /* y = index */
#define EXPORT  7 /* operation-backup-export: x = mark + 1 */
#define ACK     8 /* acknowledgement: x = mark + 1 */
#define RAISE   9 /* operation-recover: x = w number of the new lowest window */
#define ADVANCE 10 /* operation-advance-window: x = w number */
#define RESERVED 11 /* reservation: x = epoch, y = index, z = commitment */

/* An intent or a receipt of a remote hash says so. */
#if REMOTE > 0
#define FAR (far << 18)
#else
#define FAR 0
#endif
#define ENTRY(k, x, y, z) ((k) | ((x) << 4) | ((y) << 9) | ((z) << 14) | (br << 16) | FAR)
#define K(n)  (e[n] & 15)
#define X(n)  ((e[n] >> 4) & 31)
#define Y(n)  ((e[n] >> 9) & 31)
#define Z(n)  ((e[n] >> 14) & 3)
#define BR(n) ((e[n] >> 16) & 3)
#define F(n)  ((e[n] >> 18) & 1)

#define HEAD_BRANCH (size == 0 -> 0 : BR(size - 1))
#define HEAD_KNOWN  (apos == 0 || (apos <= size && BR(apos - 1) == abr))
#define HEAD_MOVED  (apos != size || abr != HEAD_BRANCH)

#define MAX(a, b) ((a) > (b) -> (a) : (b))

/* A crash, between any two steps. The process is gone and with it what it knew; a disk keeps or
 * drops what was not synced. In the mistake of old sessions left standing, a command of a process
 * that is gone may land at any such point. */
inline may_die()
{
    if
    :: true
    :: crashes > 0 -> crashes--; goto cut
#ifdef M_NO_FLUSH
    :: pending != 0 -> land()
#endif
    fi
}

/* Ledger ------------------------------------------------------------------------------------ */

inline append(kind, x, y, z)
{
    assert(size < ENTRIES); /* the bounds fit the model, not a property */
    e[size] = ENTRY(kind, x, y, z);
    size++
}

/* ledger_begin(), ledger_add_...() */
inline put(kind, x, y, z)
{
    atomic { may_die(); append(kind, x, y, z) }
}

/* ledger_add_receipt() and its commit. What is stored durably is given to whoever asks. */
inline receipt(epoch, idx, message)
{
    put(RECEIPT, epoch, idx, message);
    atomic {
        may_die();
#ifdef ONLY_SHOWN
        assert(used[idx] == 0 || used[idx] == message);
        used[idx] = message;
#endif
#ifndef M_RECEIPT_LATE
        dur = size
#endif
    }
}

/* ledger_commit(): a sync that fails ends the process, which is a crash before or behind it. */
inline sync()
{
    atomic { may_die(); dur = size }
}

/* What ledger_stand(), ledger_line_marks() and view_export_limit() read. To be zeroed by forget(),
 * so that no state is told from another by what was only read. */
inline scan()
{
    n = 0;
    lowest = first;
    do
    :: n < size ->
        if
        :: K(n) == OPENED -> top_w = MAX(top_w, X(n))
        :: K(n) == LEASE -> top_lease = MAX(top_lease, X(n))
        :: K(n) == RECEIPT -> top_receipt = MAX(top_receipt, X(n))
        :: K(n) == RAISE -> lowest = MAX(lowest, X(n))
        :: K(n) == EXPORT ->
            exported = (exported == 0 || X(n) + 1 < exported -> X(n) + 1 : exported);
            newest = MAX(newest, X(n))
        :: K(n) == ACK -> acknowledged = MAX(acknowledged, X(n))
        :: K(n) == INTENT -> scan_intent()
        :: else
        fi;
        n++
    :: else -> break
    od;
    n = 0
}

/* Which open intents a start voids, and which it completes; and the mistakes in it. */
#if defined(M_VOID_RECEIPTS)
#define VOIDABLE (n >= apos)
#elif defined(M_VOID_ANCHORED)
#define VOIDABLE (!done)
#else
#define VOIDABLE (!done && n >= apos)
#endif
#ifdef M_COMPLETE_VOIDED
#define COMPLETABLE true
#else
#define COMPLETABLE (!lifted)
#endif

/* Bound unless void; open unless signed or burned. behind_head and open: the oldest, plus one. */
inline scan_intent()
{
    k = n + 1;
    lifted = false;
    done = false;
    do
    :: k < size ->
        if
        :: K(k) == VOID && X(k) == n -> lifted = true
        :: K(k) == RECEIPT && Y(k) == Y(n) -> done = true
        :: K(k) == BURN && Y(k) == Y(n) -> done = true
        :: else
        fi;
        k++
    :: else -> break
    od;
    k = 0;
    if
    :: !lifted ->
        top_intent = MAX(top_intent, X(n));
        mark = MAX(mark, Y(n) + 1)
    :: else
    fi;
    if
    :: !lifted && VOIDABLE -> behind_head = (behind_head == 0 -> n + 1 : behind_head)
    :: else
    fi;
    if
    :: COMPLETABLE && !done -> open = (open == 0 -> n + 1 : open)
    :: else
    fi;
    lifted = false;
    done = false
}

inline forget()
{
    top_w = 0; top_lease = 0; top_receipt = 0; top_intent = 0; lowest = 0; exported = 0;
    acknowledged = 0; newest = 0; mark = 0; behind_head = 0; open = 0
}

/* TPM --------------------------------------------------------------------------------------- */

/* A TPM that loses writes: how it stood one and two writes ago. */
inline remember()
{
#if LOSSES > 0 || REPLAYS > 0
    h2w = h1w; h2l = h1l; h2aw = h1aw; h2al = h1al; h2ab = h1ab; h2apos = h1apos; h2abr = h1abr;
    h2ae = h1ae;
    h1ae = ae;
    h1w = w; h1l = l; h1aw = aw; h1al = al; h1ab = ab; h1apos = apos; h1abr = abr;
    writes = (writes < 2 -> writes + 1 : 2)
#else
    skip
#endif
}

/* say_opened(): an approval goes with the next window step, but not with its own. */
#ifdef M_APPROVAL_KEPT
#define GONE(nw) false
#else
#define GONE(nw) ((nw) > kaw && kae < (nw))
#endif
#define NEXT_EARLY(nw) (approving != 0 -> approving : (GONE(nw) -> 0 : kae))

/* The process is killed while its command waits in the TPM (a watchdog, a driver's time-out). */
inline may_be_late(what, nw, nl, nb)
{
    if
    :: true
    :: late > 0 ->
        late--;
        pending = (what == 3 && skipping -> 4 : what);
        pw = nw; pl = nl; pb = nb; ppos = size; pbr = HEAD_BRANCH;
        pe = (what == 3 -> NEXT_EARLY(nw) : 0);
        goto cut
    fi
}

inline land()
{
    if
    :: pending == 1 -> w++
    :: pending == 2 -> l++
    :: pending >= 3 ->
        aw = pw; al = pl; ab = pb; apos = ppos; abr = pbr; ae = pe; a_ok = true;
        behind = behind && pending != 4
    fi;
    pending = 0; pw = 0; pl = 0; pb = 0; ppos = 0; pbr = 0; pe = 0
}

/* anchor_step_w(), anchor_step_l(): the value is checked; another one ends the process. */
inline tpm_step_w()
{
    atomic {
        may_die();
        may_be_late(1, 0, 0, 0);
        remember();
        w++; kw++;
        if
        :: w != kw -> goto halted
        :: else
        fi
    }
}

inline tpm_step_l()
{
    atomic {
        may_die();
        may_be_late(2, 0, 0, 0);
        remember();
        l++; kl++;
        if
        :: l != kl -> goto halted
        :: else
        fi
    }
}

/* write_a(): A := {w, l, l_base, early_window, head}, with what the code demands of it (I6). */
inline tpm_write_a(nw, nl, nb)
{
    atomic {
        may_die();
        assert(nw >= kaw && nl >= kal && (nb == kab || nw > kaw));
        assert(NEXT_EARLY(nw) >= kae || nw > kaw);
        may_be_late(3, nw, nl, nb);
        remember();
        ae = NEXT_EARLY(nw); kae = ae; approving = 0;
        aw = nw; al = nl; ab = nb; apos = size; abr = HEAD_BRANCH; a_ok = true;
        kaw = nw; kal = nl; kab = nb;
        behind = behind && !skipping
    }
}

/* anchor_prove() */
inline prove()
{
    if
    :: l != kl -> goto halted
    :: else
    fi
}

/* What an observer sees --------------------------------------------------------------------- */

/* Complete accounting: a window in which something is reserved stands in the ledger as opened. */
inline check_recorded()
{
    d_step { scan(); assert(top_w == kw); forget() }
}

/* hbs_sign(): NoReuse; over all devices no window twice, and windows only forward. */
inline compute(idx, message)
{
#ifndef ONLY_SHOWN
    assert(used[idx] == 0 || used[idx] == message);
    used[idx] = message;
#endif
    assert(owner[WINDOW_OF(idx)] == 0 || owner[WINDOW_OF(idx)] == me);
    owner[WINDOW_OF(idx)] = me;
#if REMOTE > 0
    /* What was reserved for a remote hash signs one, while its reservation lives, or nothing. */
    assert(!dead[idx] && (told[idx] != 0) == far);
#endif
    assert(WINDOW_OF(idx) + 1 >= top);
    top = WINDOW_OF(idx) + 1
}

/* A reply with a signature leaves. Durable before visible: the reservation is anchored by A and L,
 * and the receipt is durable; from here on the client may rely on it. */
inline release(idx, message, epoch)
{
    assert(dur == size && K(size - 1) == RECEIPT && Y(size - 1) == idx);
    assert(a_ok && al >= epoch && l >= epoch && reserved < apos);
    relied = size
}

/* What goes wrong with power off ------------------------------------------------------------ */

inline forget_memory()
{
#if REMOTE > 0
    end_reserved();
    burning = 0; far = false; found = 0;
#endif
    kw = 0; kl = 0; kaw = 0; kal = 0; kab = 0; kae = 0; approving = 0; step = 0;
    idx = 0; message = 0; epoch = 0; from = 0; least = 0; reserved = 0; lifting = 0;
    lease_epoch = 0; lease_first = 0; lease_next = 0; to = 0; reading = 0; computed = 0;
    go = false; stuck = false; tpm_behind = false; skipping = false
}

inline drop_last()
{
    size--;
    e[size] = 0
}

/* The disk as it stood after any commit of its history. */
inline put_back()
{
#if ROLLBACKS > 1
    if
    :: true
    :: shelf_size > 0 -> take_from_shelf()
    fi;
    if
    :: shelf_size == 0 -> keep_on_shelf()
    :: else
    fi;
#endif
    do
    :: size > 0 -> drop_last()
    :: break
    od;
    d_step {
        dur = size;
        br++;
        relied = (relied < size -> relied : size);
        cause = true;
        behind = (a_ok -> !HEAD_KNOWN : behind)
    }
}

#if ROLLBACKS > 1
/* The history before the first time; later ones choose between it and what came after. */
inline keep_on_shelf()
{
    d_step {
        do
        :: n < size -> shelf[n] = e[n]; n++
        :: else -> break
        od;
        shelf_size = size;
        n = 0
    }
}

inline take_from_shelf()
{
    d_step {
        do
        :: size > 0 -> drop_last()
        :: else -> break
        od;
        do
        :: size < shelf_size -> e[size] = shelf[size]; size++
        :: else -> break
        od
    }
}
#endif

#if LOSSES > 0 || REPLAYS > 0
inline lose_writes()
{
    if
    :: w = h1w; l = h1l; aw = h1aw; al = h1al; ab = h1ab; apos = h1apos; abr = h1abr; ae = h1ae
    :: writes > 1 ->
        w = h2w; l = h2l; aw = h2aw; al = h2al; ab = h2ab; apos = h2apos; abr = h2abr; ae = h2ae
    fi;
    forget_writes();
    lost = true;
    cause = true
}

/* Of the two states before, the newest that had another A. */
inline replay_a()
{
    if
    :: writes == 1 || h1al != al || h1apos != apos || h1aw != aw || h1abr != abr ->
        aw = h1aw; al = h1al; ab = h1ab; apos = h1apos; abr = h1abr; ae = h1ae
    :: else -> aw = h2aw; al = h2al; ab = h2ab; apos = h2apos; abr = h2abr; ae = h2ae
    fi;
    forget_writes();
    cause = true
}

inline forget_writes()
{
    h1w = 0; h1l = 0; h1aw = 0; h1al = 0; h1ab = 0; h1apos = 0; h1abr = 0;
    h2w = 0; h2l = 0; h2aw = 0; h2al = 0; h2ab = 0; h2apos = 0; h2abr = 0;
    h1ae = 0; h2ae = 0;
    writes = 0
}
#endif

inline forget_device()
{
    do
    :: size > 0 -> drop_last()
    :: else -> break
    od;
    w = 0; l = 0; aw = 0; al = 0; ab = 0; apos = 0; abr = 0; ae = 0; a_ok = false;
    pending = 0; pw = 0; pl = 0; pb = 0; ppos = 0; pbr = 0; pe = 0;
    dur = 0; br = 0; born = 0; first = 0; me = 0; relied = 0;
    behind = false; cause = false; lost = false
}
