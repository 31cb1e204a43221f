/*
 * toolclock: how the offline operations judge the clock: as the service does in its first seconds.
 *
 * An operation that takes a window from the time must not believe what the service would refuse: a
 * jump forward that nobody has accepted, a time before the last one that was signed under, or one
 * that the TPM's clock contradicts. So it runs the same state machine over what the service left
 * behind (the file `clock`, the ledger, the anchor that it works on). It writes none of that: a
 * jump is found again, named and accepted by the service, where operators see what it costs.
 *
 * Uses: clock, clockbook, timekeeper, world. One thread; the caller holds both locks. Keeps I5.
 */
#ifndef SIGNER_TOOLCLOCK_H
#define SIGNER_TOOLCLOCK_H

#include "ledger/ledger.h"
#include "signer/world.h"

/** All zero but for policy and tolerance: nothing is remembered. */
struct tool_clock {
    struct clk_policy
        policy; /* one update is enough to place a key in time; signing asks for more */
    struct clk_tolerance tolerance;
    struct clk_memory memory; /* what outlived the service's processes */
    struct clk_tpm tpm;       /* the TPM's clock, read once */
};

/**
 * Take the service's policy, and what it left behind.
 * @param[in] world   For its TPM and time; world->tool_clock may be set to *clock afterwards.
 * @param[in] tpm     Open, of world->tpm. One that is slow or does not tell its time says nothing.
 * @param[in] dirfd   State directory. A file `clock` that is missing or torn is as if nobody had
 *                    looked at the clock yet; the ledger still knows of a jump.
 * @retval RC_HALT_LEDGER  From the ledger.
 */
enum rc tool_clock_recall(struct tool_clock *clock, const struct clk_policy *policy,
                          const struct clk_tolerance *tolerance, const struct world *world,
                          void *tpm, int dirfd, struct ledger *ledger, struct err *err) MUST_CHECK;

/**
 * The latest second that it can be by world->tool_clock (MUST be set), waited for: at most 20
 * readings, half a second apart.
 * @param[in]  wall_s    Latest second in an anchor: it was that late once; 0: none is known.
 * @param[out] latest_s  At or above wall_s; -1 unless RC_OK.
 * @retval RC_RETRY_CLOCK  There is none; the text says why, and what would help.
 */
enum rc tool_clock_latest_s(const struct world *world, int64_t wall_s, int64_t *latest_s,
                            struct err *err) MUST_CHECK;

#endif
