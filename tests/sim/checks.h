/*
 * checks: what the oracle looks at while machines run: each computation, each answer that leaves,
 * each start, and now and then a whole account, index by index.
 *
 * Uses: sim, machine, ledger (only to read what a power cut would leave). One thread.
 */
#ifndef SIM_CHECKS_H
#define SIM_CHECKS_H

#include "sim/machine.h"

/** Begin to listen to signatures. */
void checks_begin(void);

/** The bytes of an artifact by number; @return their length. */
size_t artifact_text(uint16_t number, char out[40]);

/** The artifact whose hash some clients bring instead of that of this one. */
uint16_t artifact_other(uint16_t number);

/**
 * A prefix left a device: its index was reserved by this very process, durably, for this artifact
 * and never for another one, and has signed nothing.
 * @return false if something is wrong (the oracle says what).
 */
bool check_told(struct machine *m, const struct wish *wish, const struct reply *reply,
                const uint8_t *prefix, size_t len);

/**
 * A signature left a device: it must verify, have been computed, be the one that left before, and
 * be durable together with its receipt.
 * @param[in] wish     What it answers.
 * @param[in] exactly  Its artifact and no other; else, where it is the stored signature of an index
 *                     that was told, the other one that its client may have hashed will do.
 * @return the index, or UINT64_MAX if something is wrong (the oracle says what).
 */
uint64_t check_release(struct machine *m, const struct wish *wish, bool exactly,
                       const uint8_t *signature, size_t len);

/** After a start: how much the end of the process before has cost. */
void check_start(struct machine *m);

/** Whatever comes now is a new beginning for the books on burned indices (recovery, restore). */
void check_forget(struct machine *m);

/** Compare everything the service says about its indices with the oracle. */
void check_account(struct machine *m);

#endif
