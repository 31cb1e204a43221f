/*
 * doors: the few functions of the code under test that are replaced at link time, beside the file
 * calls of files.h: randomness, the passphrase's cost, the chains of the one-time scheme, the log,
 * threads, and the place where a signature is computed.
 *
 * - random_bytes(): from the seed, so that a key made in a run is the same key in every run of it.
 * - box_key(): one hash instead of Argon2id; a backup opens with its passphrase and no other.
 * - hbs_chains_run(): in most seeds a chain is an addition instead of up to 255 hashes. A one-time
 *   key still signs one value only: another value leads to another leaf, and a forged or mixed-up
 *   signature does not verify. Trees, paths, C, checksums and all of lms.c and lmots.c are the real
 *   ones. Some seeds run the real chains.
 * - hbs_sign(): told to the oracle, then really done.
 * - ledger_add_reservation(): really done, then told to the oracle.
 * - log_event(): into the story. - getpid(), usleep(), pthread_create(): nothing of the host.
 *
 * Uses: sim. One thread.
 */
#ifndef SIM_DOORS_H
#define SIM_DOORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lease.h"
#include "ledger/ledger.h"

/** Real chains or cheap ones, from now on. */
void doors_set_chains(bool real);

/** Told of each signature before it is computed. */
typedef void (*doors_signing)(const uint8_t key_id[KEY_ID_LEN], uint64_t index, uint64_t epoch,
                              const uint8_t *value, size_t len);
void doors_set_signing(doors_signing told);

/** Told of each reservation for a remote hash that was written into a ledger. */
typedef void (*doors_reserving)(const struct ledger_reservation *reservation);
void doors_set_reserving(doors_reserving told);

#endif
