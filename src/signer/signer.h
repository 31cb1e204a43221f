/*
 * signer: the ledger, the TPM and all keys of one service, opened together; answers requests.
 *
 * No sockets, no threads: the core feeds it, and so does the simulator.
 * Threads: signer thread. Keeps I1–I10 through the modules below.
 */
#ifndef SIGNER_SIGNER_H
#define SIGNER_SIGNER_H

#include "policy/access.h"
#include "signer/batch.h"
#include "signer/key.h"
#include "signer/request.h"
#include "signer/timekeeper.h"

#define SIGNER_KEYS_MAX 32

/** Limits of one key by name; the entry with name "" holds the defaults. */
struct named_limits {
    char name[NAME_LEN_MAX + 1];
    struct key_limits limits;
};

struct signer_config {
    int state_dirfd;         /* state directory, locked by the caller; borrowed */
    const char *ledger_path; /* of the database */
    const char *ledger_vfs;  /* NULL: the default */
    struct key_settings settings;
    const struct named_limits *limits;
    size_t limits_count;
    uint64_t attest_per_minute;  /* attestations that clients may ask for; 0: no limit */
    const struct access *access; /* identities and their rules; NULL: none are configured */
};

struct signer;

/**
 * Open ledger and TPM and start every key. Fails only where nothing at all can be answered; a TPM
 * that is away or a key that does not start leaves a signer that reads and refuses.
 *
 * @param[out] signer  Owned by the caller; signer_close().
 * @param[in]  config, world, clock  Borrowed; must outlive the signer.
 * @retval RC_HALT_LEDGER, RC_RETRY_BUSY, RC_REFUSED_UNSUPPORTED  From ledger_open().
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc signer_open(struct signer **signer, const struct signer_config *config,
                    const struct world *world, struct timekeeper *clock,
                    struct err *err) MUST_CHECK;

/**
 * Close. With settle, A is brought up to the ledger's head first (clean stop); failures there are
 * logged and change nothing, since a start copes with an A that is behind.
 */
void signer_close(struct signer **signer, bool settle);

/** True if every key signs. If not, a later signer_open() may do better (TPM away) or not (halted).
 */
bool signer_healthy(const struct signer *signer);

/** True if some key is away for a reason that may pass (RETRY class, TPM gone or refusing, disk
 * full): try signer_retry_keys() or signer_open() again. */
bool signer_may_recover(const struct signer *signer);

/**
 * Start the keys again that the TPM turned a command down for, and leave the others alone: each
 * start costs a key what is left of its lease.
 * @return false if that is not enough (the connection is lost, the ledger failed): some keys may
 * have been started again; close the signer and open it anew.
 */
bool signer_retry_keys(struct signer *signer) MUST_CHECK;

/**
 * Name and message mode of key number i (from 0), for hashing ahead.
 * @param[out] name  Valid while the signer is open.
 * @return false behind the last key.
 */
bool signer_key_at(const struct signer *signer, size_t i, const char **name,
                   enum plan_message *mode) MUST_CHECK;

/** Open a pass for the index that a request is likely to sign at; as batch_foresee(). */
void signer_foresee(struct signer *signer, const struct request *request,
                    struct artifact_pass *pass);

/** Message mode of a key's plan, for hashing ahead. @return false if there is no such key. */
bool signer_message_mode(const struct signer *signer, const char *key,
                         enum plan_message *mode) MUST_CHECK;

/**
 * Answer signing requests, for any keys, in the order given.
 * @return RC_OK, or a HALT code after which the signer must be closed without settling and the
 * process ended (or, in the simulator, everything reopened). Jobs are done in any case.
 * A window secret that cannot be opened is answered with RC_HALT_SEEDS and is no such code: it is
 * found before anything was spent, and the key's next window and other keys may sign.
 */
enum rc signer_sign(struct signer *signer, struct job *jobs, size_t count,
                    struct err *err) MUST_CHECK;

/** The same for requests for reservations, and for the hashes of such: reserve.h. */
enum rc signer_reserve(struct signer *signer, struct job *jobs, size_t count,
                       struct err *err) MUST_CHECK;
enum rc signer_commit(struct signer *signer, struct job *jobs, size_t count,
                      struct err *err) MUST_CHECK;

/**
 * The same for the jobs of one message (bulk.h), all of one key: all of them, or none if a window
 * cannot hold what is new.
 * @param[in,out] whole  bulk_fits().
 * @retval RC_RETRY_WINDOW_FULL, RC_REFUSED_TOO_LARGE  As bulk_fits(): none was signed. Jobs are not
 *         answered.
 * @return otherwise as signer_sign().
 */
enum rc signer_sign_bulk(struct signer *signer, struct job *jobs, size_t count, struct reply *whole,
                         struct err *err) MUST_CHECK;

/**
 * Answer a request that only reads.
 * @param[out] payload  malloc'ed bytes for the attached memfd, or NULL; the caller frees them.
 */
void signer_read(struct signer *signer, const struct request *request, struct reply *reply,
                 void **payload, size_t *payload_len);

/**
 * The answers of a turn have left: have the TPM attest to the newest receipt of keys whose period
 * has none yet. That it attests nothing is logged, costs no signature, and is tried again with a
 * later receipt; so is a TPM that is busy. Then the ledger is tidied up.
 * @return as signer_sign(), as ledger_tidy(); also what an attestation that signer_read() gave, or
 * could not give, has found out about TPM or ledger.
 */
enum rc signer_turned(struct signer *signer, struct err *err) MUST_CHECK;

/**
 * Answer a REQUEST_CLOCK_ACK: clockbook_acknowledge(), and the clock as it is then; or a
 * REQUEST_WARNING_ACK: exhaustion_acknowledge(), and the warnings.
 * @param[out] payload  As signer_read().
 * @return as signer_sign(). A refusal is the reply's, with retry_after_s where asking again may
 * help, and RC_OK here.
 */
enum rc signer_acknowledge(struct signer *signer, const struct request *request,
                           struct reply *reply, void **payload, size_t *payload_len,
                           struct err *err) MUST_CHECK;

/**
 * Look at the clock, about once a second, though nobody signs by it: it counts fresh updates and
 * must see every step. Asks the TPM for its time now and then, and acts on what was found.
 * @retval RC_HALT_CANARY  This process was put aside and resumed, or the TPM was reset: what it
 *                         holds in memory may be older than it knows. As signer_sign().
 * @retval RC_HALT_ANCHOR  The TPM does not answer any more. As signer_sign().
 */
enum rc signer_look(struct signer *signer, struct err *err) MUST_CHECK;

/** True while a key has windows to pass that nobody uses (catchup.h): call signer_work() soon. */
bool signer_has_work(const struct signer *signer);

/**
 * Half a second of that, at most, for each such key.
 * @return as signer_sign().
 */
enum rc signer_work(struct signer *signer, struct err *err) MUST_CHECK;

/**
 * What is due now and then whether anybody asks or not: warnings of the TPM's wear.
 * @return as signer_sign().
 */
enum rc signer_watch(struct signer *signer, struct err *err) MUST_CHECK;

/**
 * Nothing to do for a while: bring A up to date, for each key at most once in a few leases (wear).
 * @return as signer_sign().
 */
enum rc signer_idle(struct signer *signer, struct err *err) MUST_CHECK;

/** The state that a REQUEST_STATE is answered with, as of the last look at the clock. */
enum service_state signer_state(const struct signer *signer);

/**
 * The limits in the configuration that it was opened with have been changed: they hold from here
 * on. What a key has used of its burst stays used.
 */
void signer_limits(struct signer *signer);

/** Fields that every reply starts with. */
void reply_init(struct reply *reply, const struct request *request);

#endif
