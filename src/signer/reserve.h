/*
 * reserve: reservations, so that callers can hash their artifacts themselves (DESIGN section 9).
 *
 * A caller commits to the SHA-256 of its artifact. It gets an index by the same rules, limits and
 * order of commit as for a signature, and only then, with the reservation durable, what is hashed
 * before the artifact at this index; nobody knew that while the artifact could still be chosen.
 * When it comes back with the hash, that is signed, once, by the lease that the reservation has
 * held in memory all the time. Whether the hash is that of the artifact nobody here can see: the
 * receipt says that the caller made it.
 *
 * There is one lease object for each reservation, and none is ever made again: a reservation ends
 * when it expires, when its window closes and when the process ends, however it ends, and the index
 * is burned. So no copy of disk or ledger can bring one back to sign another hash (I1, I7). The
 * receipt holds the hash, and is durable before a byte of the signature leaves (I2): the same hash
 * gets the same bytes again, and another one is refused for ever.
 *
 * Uses: everything below signer. Threads: signer thread. Keeps I1, I2, I5, I7.
 */
#ifndef SIGNER_RESERVE_H
#define SIGNER_RESERVE_H

#include "signer/batch.h"

/**
 * At the start of a key, before complete_intents(): burn what earlier processes left open.
 * @retval RC_HALT_…, RC_RETRY_SYSTEM  Ledger or memory; the key cannot sign.
 */
enum rc reserve_start(struct key *key, struct ledger *ledger, int64_t now_s,
                      struct err *err) MUST_CHECK;

/** Wipe and free. */
void reserve_stop(struct key *key);

/**
 * No open reservation of the key may be used any more: their leases are wiped at once; their burns
 * are written by the next reserve_tidy(), or by the next start.
 * @param[in] why  Static, for people.
 */
void reserve_end_all(struct key *key, enum burn_reason reason, const char *why);

/**
 * End those that have expired, and write the burns of all that have ended. Not in a transaction.
 * @retval RC_HALT_LEDGER  As ledger_commit().
 */
enum rc reserve_tidy(struct key *key, struct ledger *ledger, const struct world *world,
                     int64_t now_s, struct err *err) MUST_CHECK;

/** Reservations whose index is neither signed nor written down as burned. */
uint64_t reserve_not_burned(const struct key *key);

/** Reservations that are open in a window. */
uint64_t reserve_open_in(const struct key *key, uint64_t window);

/** The open reservation of an index, or NULL. */
struct reservation *reserve_of_index(const struct key *key, uint64_t index);

/** The open one that was asked for with this idempotency key, or NULL. */
struct reservation *reserve_of_request(const struct key *key, const char *idempotency_key);

/**
 * Answer count requests for reservations of one key: as batch_sign(). Each job that is answered
 * with RC_OK has the prefix where a signature would be, or a stored signature (then
 * reply->reserved is false).
 */
enum rc reserve_open(struct batch *batch, struct job *jobs, size_t count,
                     struct err *err) MUST_CHECK;

/** Sign the hashes that count callers come back with, of one key: as batch_sign(). */
enum rc reserve_sign(struct batch *batch, struct job *jobs, size_t count,
                     struct err *err) MUST_CHECK;

/* For batch_version.c and batch_window.c ------------------------------------------------------- */

/**
 * May this caller have another reservation, beside the count jobs that are taken? If not, the job
 * is refused. Does nothing unless the batch reserves.
 */
bool reserve_has_room(struct batch *b, struct job *job, struct job *const *taken, size_t count);

/**
 * End a job with a reservation that is open already, told again behind a proof of the TPM, or
 * refuse it if it is not the caller's.
 * @retval RC_HALT_…  Of the proof: this memory is older than the TPM. Nothing is told.
 */
enum rc reserve_again(struct batch *b, struct job *job, struct reservation *r,
                      struct err *err) MUST_CHECK;

/** In the place of batch_release() where a batch reserves: the same jobs, LEASED and ANCHORED. */
enum rc reserve_release(struct batch *b, struct job **jobs, size_t count, lease_source lease_of,
                        struct err *err) MUST_CHECK;

#endif
