/*
 * batch: the way of signing requests from RECEIVED to RELEASED, many at a time (DESIGN section 9).
 *
 * One batch is for one key and one window. It shares one ledger sync for its reservations, one
 * anchor step, and one ledger sync for its receipts. batch_window.c places requests of time and
 * interval plans, batch_version.c those of version plans; batch.c does what both share: compute,
 * prove, verify, receipt, answer.
 *
 * Uses: everything below signer. Threads: signer thread. Keeps I1, I2, I5, I10.
 */
#ifndef SIGNER_BATCH_H
#define SIGNER_BATCH_H

#include "policy/access.h"
#include "signer/allocate.h"
#include "signer/artifact.h"
#include "signer/key.h"
#include "signer/request.h"
#include "signer/timekeeper.h"

#define BATCH_MAX 128

/** One signing request on its way. The core owns it. */
struct job {
    const struct request *request;
    struct artifact artifact;
    struct reply *reply; /* filled when done */
    uint8_t *signature;  /* malloc'ed when done with RC_OK, as on the wire; the loop frees */
    size_t signature_len;
    enum request_life life;
    bool done;
    bool preview; /* only look: nothing is taken, nothing is moved */
    bool token;   /* tokens of the buckets were taken for it, this time or before it was put off */
    /* Where a large artifact may be put off: filled when `put_off` is set, for whoever reads it and
     * hands the request in again. NULL: it is read here and now. */
    struct artifact_pass *pass;
    bool put_off; /* done, and neither answered nor moved */

    /* from PLACED on */
    struct plan_place place; /* window and index; line and rank for version plans */
    char version[REQUEST_VERSION_MAX + 1];
    char slot[NAME_LEN_MAX + 1];
    uint64_t intent;                 /* number of its entry, version plans */
    struct reservation *reservation; /* reserve.h: that it opens, or signs for */
    struct job *twin;                /* the same request earlier in this batch: gets its answer */
    uint64_t epoch;
    uint8_t c[HBS_N_MAX];
    uint8_t value[HBS_N_MAX];
    bool reserved; /* an intent of this batch, or an index of the lease */
};

struct batch {
    struct key *key;
    const struct world *world;
    void *tpm;
    struct ledger *ledger;
    const struct key_settings *settings;
    const struct access *access; /* NULL: nobody is told apart */
    struct timekeeper *clock;
    int64_t now_s;  /* host clock, for records */
    int64_t wall_s; /* latest trusted second, 0 if there is none */
    bool reserving; /* reserve.h: its jobs get prefixes, not signatures */
};

/**
 * Answer count signing requests for one key: each job is done afterwards, with its reply filled.
 * @retval RC_OK     Every job has its own answer; the key goes on.
 * @retval RC_HALT_… The outcome of something is unknown or the TPM moved: the process must end (or
 * the simulator restart). The jobs are answered all the same.
 */
enum rc batch_sign(struct batch *batch, struct job *jobs, size_t count, struct err *err) MUST_CHECK;

/**
 * Open a pass for the index that a request is likely to sign at. Takes, moves and asks for nothing;
 * leaves the pass closed where the index cannot be told, or its window or tree is not open yet.
 * @param[in,out] pass  Closed before; artifact_pass_close() it.
 */
void batch_foresee(struct key *key, const struct request *request, struct artifact_pass *pass);

/* Between batch.c and its two placers --------------------------------------------------------- */

/** End a job: its answer, one move of its life, and a line in the log. err: for refusals. */
void job_finish(struct job *job, enum request_life life, enum rc rc, const struct err *err);

/** End a job without a change: reply filled from err, life REFUSED. */
void job_refuse(struct job *job, enum rc rc, const struct err *err);

/** End a job that job_value() has not found a value for: put off, or as job_refuse(). */
void job_leave(struct job *job, enum rc rc, const struct err *err);

/** End a job whose index is gone: life BURNED. */
void job_burn(struct job *job, enum rc rc, const struct err *err);

/** End a job with a stored signature. */
enum rc job_replay(struct batch *b, struct job *job, const struct ledger_receipt *receipt,
                   const uint8_t *signature, struct err *err) MUST_CHECK;

/** May the one who asks have this signed? version and slot are the plan's own spelling.
 * @retval RC_REFUSED_ACCESS  As access_check_sign(). */
enum rc job_admit(const struct batch *b, const struct job *job, struct err *err) MUST_CHECK;

/**
 * Derive C and the value that the job's index will sign. No index is assigned or bound by it.
 * @retval RC_RETRY_BUSY  Put off: job->pass is open for this index, and job_leave() is next.
 * @retval as artifact_value(), branches_of().
 */
enum rc job_value(struct batch *b, struct job *job, struct err *err) MUST_CHECK;

/**
 * Prove, sign, verify, check the clock again, receipt, answer: for jobs that are LEASED and
 * ANCHORED.
 * @param[in] lease_of  Gives the lease of a job's index, once.
 * @param[in] still_open  Second clock check (time plans), or NULL.
 */
typedef void (*lease_source)(struct batch *b, struct job *job, struct ots_lease *lease);
typedef bool (*open_check)(struct batch *b, struct err *err);
enum rc batch_release(struct batch *b, struct job **jobs, size_t count, lease_source lease_of,
                      open_check still_open, struct err *err) MUST_CHECK;

/**
 * Let hands that have nothing to do compute ahead what these jobs are to sign with, and in time and
 * interval plans as many one-time keys again behind them (ahead.h). Signs nothing; only makes
 * batch_release() quicker. For jobs of one window, placed, whose branch is open.
 */
void batch_prepare(struct batch *b, struct job *const *jobs, size_t count);

/**
 * Have the secret of a window at hand, before anything is spent on it: a window that cannot sign
 * costs neither the one before it nor a lease. Where the TPM gives it only when W stands right
 * below, the windows between the open one and that one are skipped for it, once it is known that
 * nothing else than W is in the way.
 * @param[in] window  Not below the floor, except in per-line plans.
 * @retval RC_HALT_SEEDS  As key_secret(). W may have been raised, but not to the window.
 * @retval RC_HALT_…      As allocate_open_window().
 */
enum rc batch_have_secret(struct batch *b, uint64_t window, const struct window_secret **secret,
                          struct err *err) MUST_CHECK;

/**
 * May what was reserved in the open window still be signed?
 * @param[out] retry_after_s  On RC_RETRY_CLOCK, or REQUEST_NONE.
 * @retval RC_RETRY_CLOCK      Time plans: the clock is not safe now.
 * @retval RC_REFUSED_EXPIRED  Time plans: the window is over.
 */
enum rc batch_still_open(struct batch *b, int64_t *retry_after_s, struct err *err) MUST_CHECK;

/** The second check of the clock for batch_release(): NULL where no clock is signed by. */
open_check batch_open_check(const struct batch *b);

/** Signatures that a window may have by the configured limit; usable if there is none. */
uint64_t batch_window_cap(const struct batch *b);

enum rc batch_by_window(struct batch *b, struct job *jobs, size_t count,
                        struct err *err) MUST_CHECK;
enum rc batch_by_version(struct batch *b, struct job *jobs, size_t count,
                         struct err *err) MUST_CHECK;

/**
 * What batch_by_version() and batch_by_window() would do with this one job now: place it, look
 * whether it is signed already, and ask every limit that can be asked without using anything. The
 * job is done afterwards if it would be refused or get a stored signature; otherwise job->place
 * says where it would sign. What only the TPM can say (a secret that does not open) is not asked.
 * @param[in,out] job  With `preview` set (MUST); artifact.sha256 is all zero where nobody said it.
 * @retval RC_OK     Done, or placed.
 * @retval RC_HALT_… The ledger cannot be read.
 */
enum rc batch_preview_version(struct batch *b, struct job *job, struct err *err) MUST_CHECK;
enum rc batch_preview_window(struct batch *b, struct job *job, struct err *err) MUST_CHECK;

/** RC_REFUSED_EXPORT if a window lies beyond what an export acknowledged off the device allows. */
enum rc batch_export_check(struct batch *b, int64_t window, struct err *err) MUST_CHECK;

#endif
