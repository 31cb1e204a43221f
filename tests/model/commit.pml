/*
 * commit: the commit protocol of the signer as a finite model, for spin.
 *
 * One key on up to three devices in succession, each with its TPM (W, L, A) and its disk (the
 * ledger: what is written and what is durable), an operator who exports, acknowledges, recovers and
 * replaces, clients who ask again and again, and a clock. What can go wrong is an action of the
 * model with a budget: a crash before or behind every single step, a TPM command whose outcome is
 * unknown or that lands late, a disk put back to any earlier state, an A that is torn, a TPM that
 * loses its last writes, a device that is lost.
 *
 * The steps stand in the order of the code; docs/model.md says which function each one is.
 * tests/model/check.sh says with which numbers it is checked, and breaks it on purpose: every M_...
 * below is a mistake that one could make in the code, and for each spin must find a counterexample.
 *
 * Numbers: a "w number" is a window plus one, so that 0 says "none opened yet"; W - W_base + 1 in
 * the words of the code. Index and version are the same number in a version plan.
 */
#define TIME     1
#define INTERVAL 2
#define VERSION  3

#ifndef KIND
#define KIND TIME
#endif

/* The plan: windows, leases in a window, indices in a lease; versions in a window. */
#ifndef WINDOWS
#define WINDOWS 3
#endif
#ifndef LEASES
#define LEASES 2
#endif
#ifndef LEASE_SIZE
#define LEASE_SIZE 1
#endif
#ifndef PER_WINDOW
#define PER_WINDOW 1
#endif
#ifndef MARGIN
#define MARGIN 1 /* m of design section 10 */
#endif

/* Budgets. */
#ifndef REQUESTS
#define REQUESTS 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef ROLLBACKS
#define ROLLBACKS 0 /* at most 3 */
#endif
#ifndef TEARS
#define TEARS 0
#endif
#ifndef LATE
#define LATE 0
#endif
#ifndef LOSSES
#define LOSSES 0 /* power cuts in which the TPM forgets its last one or two writes */
#endif
#ifndef KEEPS
#define KEEPS (LOSSES == 0) /* what the TPM's maker is known for: keeps_writes */
#endif
#ifndef REPLAYS
#define REPLAYS 0 /* the A of one write ago is put back by whoever has its authorisation */
#endif
#ifndef OPERATIONS
#define OPERATIONS 0 /* exports and acknowledgements */
#endif
#ifndef EARLY
#define EARLY 0 /* windows of a time plan that are opened before their start */
#endif
#ifndef REMOTE
#define REMOTE 0 /* reservations for remote hashes */
#endif
#ifndef RECOVERIES
#define RECOVERIES 0 /* recoveries that nobody needs */
#endif
#ifndef DEVICES
#define DEVICES 1 /* how many are ever made; two of them exist at a time */
#endif
#ifndef CLOCK_LIES
#define CLOCK_LIES 0 /* 1: it may be set back, 2: or ahead */
#endif

#if KIND == VERSION
#define INDICES (WINDOWS * PER_WINDOW)
#define WINDOW_OF(idx) ((idx) / PER_WINDOW)
#else
#define INDICES (WINDOWS * LEASES * LEASE_SIZE)
#define WINDOW_OF(idx) ((idx) / (LEASES * LEASE_SIZE))
#endif

#ifndef ENTRIES
#define ENTRIES 20 /* room in a ledger; at most 31 */
#endif

/* The world --------------------------------------------------------------------------------- */

byte today;                      /* window of the true time */
byte requests = REQUESTS;      /* requests that get as far as being placed */
byte crashes = CRASHES;
byte rollbacks = ROLLBACKS;
byte tears = TEARS;
byte late = LATE;
byte losses = LOSSES;
byte replays = REPLAYS;
byte operations = OPERATIONS;
byte recoveries = RECOVERIES;
byte early = EARLY;
#if REMOTE > 0
byte remotes = REMOTE;
#endif

byte made;                     /* devices provisioned so far */
byte alive;                    /* of these, such whose TPM still has the key's objects */
byte files;                    /* backups: bit n stands for a file with mark n - 1 */
byte notebook;                 /* operator: highest mark acknowledged, plus one */

/* Liveness: per slot, "serves" and "has nothing left to do". */
bool up[2];
bool over[2] = true;

/* What an observer outside of all devices knows --------------------------------------------- */

byte used[INDICES];            /* message whose signature was computed at the index; 0: none */
byte owner[WINDOWS];           /* device that computed in the window, 1 ...; 0: none */
byte top;                      /* highest w number in which anything was computed */
#if REMOTE > 0
byte told[INDICES];            /* commitment for which the index's prefix left; 0: none */
bool dead[INDICES];            /* the reservation of the index has ended without a signature */
#endif
byte approved;                 /* windows that operators opened early: bit n stands for w number n */

#include "world.pml"
#include "start.pml"
#include "recover.pml"
#if KIND == VERSION
#include "version.pml"
#else
#include "window.pml"
#endif
#if REMOTE > 0
#include "remote.pml"
#endif
#if EARLY > 0
#include "advance.pml"
#endif
#include "device.pml"

#if KIND == TIME
active proctype clock()
{
    do
    :: today + 1 < WINDOWS -> today++
    :: else -> break
    od
}
#endif

init
{
    atomic {
        run device(0);
#if DEVICES > 1
        run device(1)
#endif
    }
}

/* When nothing goes wrong any more (every budget ends), every device serves again or has ended. */
#ifdef LIVENESS
ltl live { [] <> (up[0] || over[0]) && [] <> (up[1] || over[1]) }
#endif
