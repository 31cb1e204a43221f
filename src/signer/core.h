/*
 * core: the signing process: takes messages from the front, feeds the signer, sends replies.
 *
 * Three threads and one queue: the intake thread receives and checks messages and hashes small
 * artifacts, the hasher reads big ones, and the calling thread is the signer thread, which owns
 * ledger, TPM and keys. Whatever queued up while a batch was committed is the next batch: no timer.
 *
 * The core is crash-only: after any HALT it answers what it has, and returns; the supervisor starts
 * a new one, and the start-up path is the only recovery there is.
 */
#ifndef SIGNER_CORE_H
#define SIGNER_CORE_H

#include "base/pulse.h"
#include "signer/signer.h"

/** What may change while the core runs. */
struct core_settings {
    uint32_t log_level; /* enum log_level: lines above it are left out; 0: as it is */
    uint32_t limits_count;
    struct named_limits limits[SIGNER_KEYS_MAX + 1];
};

struct core_config {
    struct signer_config signer;   /* its limits are those of the settings */
    struct core_settings settings; /* to begin with */
    uint32_t idle_ms;    /* after so long without a request every A is brought up to date */
    struct pulse *pulse; /* beats while the signer thread comes round; NULL: nobody watches */
};

enum core_exit {
    CORE_EXIT_OK = 0,    /* the front is gone; settled and closed */
    CORE_EXIT_HALT = 70, /* unknown outcome: start again */
    CORE_EXIT_BUSY = 71  /* another core holds the lock */
};

/**
 * Run until the front closes its end.
 *
 * While the signer cannot be opened (TPM away, ledger damaged) requests are answered with the
 * reason, and opening is tried again where that can help.
 *
 * @param[in] config, world  Borrowed.
 * @param[in] front          SOCK_SEQPACKET socket to the front; borrowed.
 * @param[in] control        SOCK_SEQPACKET socket to the supervisor, which sends a struct
 *                           core_settings where they have changed; borrowed, -1: none will come.
 * @param[in] generation     Of this core; requests with another one are refused.
 */
enum core_exit core_run(const struct core_config *config, const struct world *world, int front,
                        int control, uint64_t generation);

#endif
