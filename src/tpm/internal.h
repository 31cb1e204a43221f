/*
 * internal: what the files of src/tpm share. The only header of the project with tss2 types in it.
 *
 * Functions here return the TPM's own response code (TSS2_RC); what a code means depends on what
 * the caller was doing, so the caller translates it with TPM_FAIL(). Threads: as struct tpm.
 */
#ifndef TPM_INTERNAL_H
#define TPM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <tss2/tss2_esys.h>

#include "base/attested.h"
#include "base/histogram.h"
#include "base/pins.h"
#include "tpm/anchor.h"
#include "tpm/device.h"
#include "tpm/health.h"

/** Ends the process when one command takes too long (watchdog.c). */
struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock; /* guards stop */
    pthread_cond_t wake;
    bool running;
    bool stop;
    uint32_t limit_s;
    _Atomic(int64_t) started_ns;   /* CLOCK_MONOTONIC; 0: no command is under way */
    _Atomic(const char *) command; /* static string */
};

enum rc watchdog_start(struct watchdog *dog, uint32_t limit_s, struct err *err) MUST_CHECK;
/** Join the thread; fine on a zeroed struct. */
void watchdog_stop(struct watchdog *dog);
void watchdog_begin(struct watchdog *dog, const char *command);
/** @return nanoseconds since watchdog_begin(). */
int64_t watchdog_end(struct watchdog *dog);

/** Durations of the last commands (health.c). */
struct stopwatch {
    uint32_t us[TPM_TIMED];
    uint32_t next, count;
    struct histogram increments;
};
void stopwatch_add(struct stopwatch *s, int64_t ns);
/** The command that was added last counted a counter up. */
void stopwatch_was_increment(struct stopwatch *s);
void stopwatch_read(const struct stopwatch *s, struct tpm_latency *latency);

/** Be part of the program, so that the TSS library's calls of OpenSSL find ours (openssl.c). */
void tpm_openssl_answer(void);

struct tpm {
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
    ESYS_TR srk;
    uint32_t ak_handle; /* where the attestation key is kept */
    ESYS_TR session;    /* the long-lived salted HMAC session; ESYS_TR_NONE until it stands */
    TSS2_RC dead;       /* the transport error that ended this struct; 0 while it lives */
    bool shared;        /* a resource manager keeps us apart from other users of the TPM */
    struct tpm_identity identity;
    struct tpm_time last; /* newest time that was proven; see anchor_prove() */
    struct watchdog dog;
    struct stopwatch stopwatch;
};

/** What a response code says about the command (call.c). */
enum tpm_outcome {
    TPM_DONE,
    TPM_BUSY,    /* not executed; the same command may work later */
    TPM_REFUSED, /* not executed; the TPM does not like the command or its parameters */
    TPM_MOVED,   /* not executed; session, authorisation or object is not what we know */
    TPM_FORGED,  /* executed or not, but the answer is not from our session; struct tpm is dead */
    TPM_LOST,    /* executed or not, nobody can tell; struct tpm is dead */
};
enum tpm_outcome tpm_outcome(TSS2_RC r);

/** What the caller was doing, for tpm_rc(). */
enum tpm_phase {
    TPM_CONNECTING, /* no struct tpm was handed out yet: nothing can have changed */
    TPM_OPENING,    /* an anchor is being opened: what does not fit is another state */
    TPM_RUNNING,    /* a command whose refusal leaves everything as it was */
    TPM_CHANGED,    /* a command after one that has changed something */
};
enum rc tpm_rc(enum tpm_phase phase, TSS2_RC r);

/** Translate and report: `return TPM_FAIL(TPM_RUNNING, r, "NV_Read of W", err)`. */
#define TPM_FAIL(phase, r, what, err) TPM_FAIL_AS(tpm_rc((phase), (r)), (r), (what), (err))
/** Report with a code that the caller chose. */
#define TPM_FAIL_AS(rc, r, what, err) tpm_fail((err), (rc), (r), __func__, (what))
enum rc tpm_fail(struct err *err, enum rc rc, TSS2_RC r, const char *where, const char *what);

/** What people are told wherever the TPM does not take us for its owner. */
#define TPM_OWNER_REFUSED "the owner authorisation of the TPM is wrong or missing"

/** How often and how long a busy TPM is asked again: 8 times with pauses of 10, 20 … 640 ms. */
#define TPM_TRIES_MAX 8
#define TPM_PAUSE_FIRST_MS 10

/* The three steps of TPM_RUN(). */
void tpm_call_begin(struct tpm *tpm, const char *command);
TSS2_RC tpm_call_end(struct tpm *tpm, TSS2_RC r);
bool tpm_call_again(TSS2_RC r, unsigned tries);

/**
 * Run one ESAPI call: under the watchdog, again after a pause if the TPM says that it did not start
 * the command, never again after any other answer, and not at all once the struct is dead.
 *
 * Sending the command again cannot run it twice even if somebody on the bus replaced the answer:
 * the first run would have rolled the session's nonces, so the TPM refuses the second (TPM_MOVED).
 */
#define TPM_RUN(tpm, command, call)                                                                \
    ({                                                                                             \
        TSS2_RC run_r = (tpm)->dead;                                                               \
        unsigned run_tries = 0;                                                                    \
        while (run_r == 0) {                                                                       \
            tpm_call_begin((tpm), (command));                                                      \
            run_r = tpm_call_end((tpm), (call));                                                   \
            run_tries++;                                                                           \
            if (!tpm_call_again(run_r, run_tries))                                                 \
                break;                                                                             \
            run_r = 0;                                                                             \
        }                                                                                          \
        run_r;                                                                                     \
    })

/** Say that the answer to a command makes no sense, which ends the struct like an I/O error. */
TSS2_RC tpm_malformed(struct tpm *tpm);

/**
 * Start a policy session, salted like the long-lived one and with parameter encryption.
 * @param[out] session  tpm_tr_flush() it on every path: small chips have three slots.
 */
TSS2_RC tpm_policy_session(struct tpm *tpm, ESYS_TR *session) MUST_CHECK;

/** Set the long-lived session's attributes for the next command: CONTINUESESSION and `extra`. */
TSS2_RC tpm_session_use(struct tpm *tpm, TPMA_SESSION extra) MUST_CHECK;

/**
 * Copy an authorisation value into the TPM's form. Trailing zero bytes are dropped here because the
 * TPM drops them too (TPM 2.0 Part 1, 19.6.4.3): an HMAC over the longer value would not fit.
 */
void tpm_auth_set(TPM2B_AUTH *auth, const uint8_t *value, size_t len);
void tpm_auth_wipe(TPM2B_AUTH *auth);

/** Close an ESYS_TR (memory of ours only) and set it to ESYS_TR_NONE; fine on ESYS_TR_NONE. */
void tpm_tr_close(struct tpm *tpm, ESYS_TR *object);
/** Flush a transient object from the TPM; errors beyond tpm->dead are ignored. */
void tpm_tr_flush(struct tpm *tpm, ESYS_TR *object);

/**
 * Flush all sessions but our own, saved ones too. Behind a resource manager nothing is flushed: it
 * keeps processes apart, and its list of sessions shows those of others.
 */
TSS2_RC tpm_flush_sessions(struct tpm *tpm) MUST_CHECK;

/**
 * TPM2_GetCapability (TPM 2.0 Part 3, 30.2), and the answer is of the kind that was asked for: if
 * it is not, the connection is dead.
 * @param[out] data  Esys_Free() it. NULL unless TSS2_RC_SUCCESS.
 */
TSS2_RC tpm_capability(struct tpm *tpm, TPM2_CAP kind, uint32_t first, uint32_t count,
                       TPMI_YES_NO *more, TPMS_CAPABILITY_DATA **data) MUST_CHECK;

/** One property of TPM2_CAP_TPM_PROPERTIES; 0 where the TPM does not have it. */
TSS2_RC tpm_property(struct tpm *tpm, TPM2_PT property, uint32_t *value) MUST_CHECK;

/** Fill is_virtual and keeps_writes from manufacturer and TCTI: the table of device.h. */
void tpm_judge_maker(struct tpm_identity *id, const char *tcti);

/* Sealed blobs (seal.c) -------------------------------------------------------------------------*/

/** A blob, taken apart. */
struct sealed {
    struct tpm_lock lock;
    TPM2B_PUBLIC pub;
    TPM2B_PRIVATE priv;
};

/** Strict. @return false if it is none of tpm_seal()'s. */
bool sealed_parse(struct sealed *sealed, const uint8_t *blob, size_t len) MUST_CHECK;

/* NV (nv.c): every command goes through the long-lived session. ---------------------------------*/

/** The TPM's answer to a handle that names nothing (TPM_RC_HANDLE for the first handle). */
#define NV_NO_SUCH_HANDLE (TPM2_RC_HANDLE | TPM2_RC_H | TPM2_RC_1)

/** Name of an index with these public data (TPM 2.0 Part 1, 16: nameAlg || H(public area)). */
void nv_name(uint8_t name[TPM_NAME_LEN], const TPMS_NV_PUBLIC *pub);

/**
 * Take the ESYS_TR of an index and read its public data.
 * @param[out] index  ESYS_TR_NONE after a failure; tpm_tr_close().
 */
TSS2_RC nv_find(struct tpm *tpm, uint32_t handle, ESYS_TR *index, TPMS_NV_PUBLIC *pub) MUST_CHECK;

TSS2_RC nv_read(struct tpm *tpm, ESYS_TR index, void *data, uint16_t len) MUST_CHECK;
TSS2_RC nv_read_counter(struct tpm *tpm, ESYS_TR index, uint64_t *value) MUST_CHECK;
TSS2_RC nv_write(struct tpm *tpm, ESYS_TR index, const void *data, uint16_t len) MUST_CHECK;
TSS2_RC nv_increment(struct tpm *tpm, ESYS_TR index) MUST_CHECK;
TSS2_RC nv_define(struct tpm *tpm, const TPMS_NV_PUBLIC *pub, const TPM2B_AUTH *auth,
                  ESYS_TR *index) MUST_CHECK;
TSS2_RC nv_undefine(struct tpm *tpm, ESYS_TR *index) MUST_CHECK;

/* Attestation (attest.c and anchor.c).
 * -----------------------------------------------------------*/

/**
 * Find the AK of the recorded Name.
 * @param[out] ak  tpm_tr_close().
 * @retval RC_REFUSED_ATTEST, RC_RETRY_ANCHOR, RC_HALT_ANCHOR  As anchor_attest().
 */
enum rc attest_find(struct tpm *tpm, const uint8_t name[TPM_NAME_LEN], ESYS_TR *ak,
                    struct err *err) MUST_CHECK;

/** Have the AK certify the first size bytes of an index. */
enum rc attest_index(struct tpm *tpm, ESYS_TR ak, ESYS_TR index, uint16_t size,
                     const uint8_t digest[32], struct attested *out, struct err *err) MUST_CHECK;

/** Have the AK sign the time; out->len 0 where the endorsement authorisation is not ours. */
enum rc attest_time(struct tpm *tpm, ESYS_TR ak, const uint8_t digest[32], struct attested *out,
                    struct err *err) MUST_CHECK;

/* One key's objects (provision.c and anchor.c). -------------------------------------------------*/

/** W, L and A, always in this order. */
enum anchor_object { OBJECT_W, OBJECT_L, OBJECT_A, OBJECT_COUNT };

/** Authorisation value of one object: HMAC(auth_secret, "W" | "L" | "A"). */
void anchor_auth(TPM2B_AUTH *auth, const uint8_t auth_secret[32], enum anchor_object object);

/** What seal.c needs of an open anchor. @return its halt, as every call on the anchor would. */
enum rc anchor_running(const struct anchor *anchor, struct err *err) MUST_CHECK;
/** ESYS_TR of W, with its authorisation value and under its pinned Name. */
ESYS_TR anchor_w(const struct anchor *anchor);
const uint8_t *anchor_w_name(const struct anchor *anchor);
/** Remember a HALT that a command on W has brought. @return rc. */
enum rc anchor_finish(struct anchor *anchor, enum rc rc);

/**
 * The clock part of anchor_prove(). The session does not survive a reset, so on a TPM that keeps to
 * the rules this finds nothing; it is for the ones that are saved and resumed sessions and all.
 * @retval RC_HALT_CANARY  Reset or restart count moved, or the clock ran backwards.
 */
enum rc anchor_check_clock(const struct tpm_time *last, const struct tpm_time *now,
                           struct err *err) MUST_CHECK;

/**
 * Public part of the endorsement key (attest.c), made and flushed again through the long-lived
 * session. @retval RC_REFUSED_ATTEST and others as tpm_attest_keys().
 */
enum rc attest_read_ek(struct tpm *tpm, struct attest_key *key, struct err *err) MUST_CHECK;

#endif
