/*
 * device: one place where a signer stands: what its TPM and its disk hold, what the process knows,
 * and its life from power-on to loss.
 */

proctype device(byte slot)
{
    /* TPM: the counters, A, and a command that waits in it. */
    byte w, l, aw, al, ab, apos, abr, ae;
    bool a_ok;
    byte pending, pw, pl, pb, ppos, pbr, pe;
#if LOSSES > 0 || REPLAYS > 0
    byte h1w, h1l, h1aw, h1al, h1ab, h1apos, h1abr, h1ae;
    byte h2w, h2l, h2aw, h2al, h2ab, h2apos, h2abr, h2ae;
    byte writes;
#endif
    /* Disk. */
    int e[ENTRIES];
    byte size, dur, br;
#if ROLLBACKS > 1
    int shelf[ENTRIES];
    byte shelf_size;
#endif
    byte born, first; /* W after provisioning, first window */

    /* The process. */
    byte kw, kl, kaw, kal, kab, kae, approving, step;
    byte idx, message, epoch, from, least, reserved, lifting;
    byte lease_epoch, lease_first, lease_next, to, reading, computed;
    bool go, stuck, tpm_behind, skipping;

    /* Scratch of scan(), zero between two steps. */
    byte n, k, top_w, top_lease, top_receipt, top_intent, lowest, exported, acknowledged, newest;
    byte mark, behind_head, open;
    bool lifted, done;
#if REMOTE > 0
    /* The reservation that this process holds: index plus one, commitment, epoch, entry of its
     * lease or intent; one that has ended and is not burned yet; and scratch. */
    byte held, held_for, held_epoch, held_at, burning, found;
    bool far;
#endif

    /* What only the observer knows: which device this is, how much of the ledger clients rely on,
     * whether the disk was put back behind what A anchors, whether more than crashes happened. */
    byte me, relied;
    bool behind, cause, lost;

    if
    :: slot == 0 ->
        d_step {
            made++; alive++; me = made; over[slot] = false;
            first = 1; a_ok = true
        }
    :: else -> goto nothing
    fi;

boot:
    atomic { may_die(); flush() }
    do
    :: atomic { may_die(); decide() }
       if
       :: step == REFUSE ->
           assert(cause); /* a crash alone is never taken for anything worse */
           goto recover
       :: step == DONE -> break
       :: else -> do_step()
       fi
    od;
    atomic {
        /* A ledger behind its anchor serves nobody, unless its owner forged the anchor. */
        assert(!behind || replays != REPLAYS);
        assert(kae <= kw); /* what was approved is open */
        cause = false; lost = false; step = 0
    }
#ifdef M_LEASE_RESUMED
    if
    :: kl > kab ->
        lease_epoch = kl; lease_next = 0;
        lease_first = ((kw - 1) * LEASES + kl - kab - 1) * LEASE_SIZE
    :: else
    fi;
#endif
#if REMOTE > 0
    burn_reserved();
#endif
#if KIND == VERSION && !defined(M_NOT_COMPLETED)
    complete_intents();
#endif
#if REMOTE > 0
    check_none_open();
#endif
    up[slot] = true;

ready:
end_ready:
    do
    :: serve(); up[slot] = true
#if REMOTE > 0
    :: atomic { remotes > 0 && held == 0 && burning == 0 -> place(); remotes-- }
       reserve_remote();
       up[slot] = true
    :: held != 0 -> sign_hash(); up[slot] = true
    :: held != 0 -> tell_again()
    :: held != 0 -> expire()
    :: burning != 0 -> write_burn()
#endif
    :: crashes > 0 -> crashes--; goto cut
    :: HEAD_MOVED -> tpm_write_a(kaw, kal, kab) /* allocate_settle(): idle moments */
#if OPERATIONS > 0
    :: atomic { operations > 0 -> operations-- }
       export()
#if KIND != TIME || EARLY > 0
    :: atomic { operations > 0 && files != 0 -> operations-- }
       acknowledge()
#endif
#endif
#if EARLY > 0
    :: atomic { early > 0 -> early-- }
       advance();
       goto ended
#endif
#if RECOVERIES > 0
    :: atomic { recoveries > 0 -> recoveries-- }
       goto recover
#endif
#if DEVICES > 1
    :: files != 0 && made < DEVICES -> goto gone
#endif
    :: break
    od;
    /* signer_close(): a clean stop brings A up to date. */
    up[slot] = false;
    if
    :: HEAD_MOVED -> tpm_write_a(kaw, kal, kab)
    :: else
    fi;
    forget_memory();
    goto off;

recover:
    up[slot] = false;
    plan_recovery();
    if
    :: from > WINDOWS -> goto used_up
    :: else
    fi;
    recover_here();
    goto ended;

halted: /* the process ends of its own accord; the supervisor starts it again */
ended:
    forget_memory();
    up[slot] = false;
    goto boot;

cut:
    atomic {
        forget_memory();
        up[slot] = false;
        /* An unsynced entry is kept or dropped. */
        do
        :: size > dur -> drop_last()
        :: break
        od;
        dur = size;
        assert(size >= relied) /* what was acknowledged stays */
    }
off:
    do
    :: break
#if ROLLBACKS > 0
    :: atomic { rollbacks > 0 && size > 0 && !lost -> rollbacks--; put_back() }
#endif
#if TEARS > 0
    :: atomic { tears > 0 -> tears--; a_ok = false; cause = true;
        aw = 0; al = 0; ab = 0; apos = 0; abr = 0; ae = 0 }
#endif
#if LOSSES > 0
    :: atomic { losses > 0 && writes > 0 && !cause -> losses--; lose_writes() }
#endif
#if REPLAYS > 0
    :: atomic { replays > 0 && writes > 0 -> replays--; replay_a() }
#endif
#if LATE > 0
    :: atomic { pending != 0 -> land() }
#endif
#if DEVICES > 1
    :: files != 0 && made < DEVICES -> goto gone
#endif
    od;
    goto boot;

used_up:
    over[slot] = true;
    goto end_used_up;

gone: /* Its TPM is no more. Whatever else comes back of it opens no secret (anchor_open()). */
    atomic {
        up[slot] = false;
        over[slot] = true;
        d_step { alive--; forget_memory(); forget_device() }
    }
nothing:
end_nothing:
    do
    :: atomic { files != 0 && made < DEVICES && STATED -> replace() }
       break
    od;
    goto boot;

end_used_up:
    false
}
