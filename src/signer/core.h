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

#include "signer/signer.h"

struct core_config {
    struct signer_config signer;
    uint32_t idle_ms; /* after so long without a request every A is brought up to date */
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
 * @param[in] generation     Of this core; requests with another one are refused.
 */
enum core_exit core_run(const struct core_config *config, const struct world *world, int front,
                        uint64_t generation);

#endif
