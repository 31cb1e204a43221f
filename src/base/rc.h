/*
 * rc: one closed list of result codes, and the struct that carries the cause of a failure.
 *
 * A code's class tells the caller what has changed, because the caller of a stateful signer must
 * know whether an index is gone:
 *
 *   REFUSED  nothing changed; correct the request          (HTTP 4xx)
 *   RETRY    nothing changed; the same call may work later  (HTTP 429 or 503)
 *   BURNED   an index is spent and no signature left        (HTTP 500)
 *   HALT     outcome unknown or an invariant is broken: stop signing and call the operator (503)
 *
 * Uses: libc. May be called from any thread. Rules that hold for every function of the project:
 * pointers are not NULL unless the header says so; outputs are complete on RC_OK and all zero
 * otherwise; inputs are borrowed; a caller-owned `struct err *` (may be NULL) comes last, zeroed by
 * the caller, filled by whoever sees the failure first and passed on unchanged by everyone else.
 */
#ifndef BASE_RC_H
#define BASE_RC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rc_class { RC_CLASS_OK, RC_CLASS_REFUSED, RC_CLASS_RETRY, RC_CLASS_BURNED, RC_CLASS_HALT };

/* X(name, class, number inside the class, text for people) */
#define RC_LIST(X)                                                                                 \
    X(RC_REFUSED_INPUT, RC_CLASS_REFUSED, 1, "malformed input")                                    \
    X(RC_REFUSED_SPENT, RC_CLASS_REFUSED, 2, "index already reserved")                             \
    X(RC_REFUSED_RANGE, RC_CLASS_REFUSED, 3, "number outside the allowed range")                   \
    X(RC_REFUSED_PLAN, RC_CLASS_REFUSED, 4, "plan is not valid")                                   \
    X(RC_REFUSED_CONFIG, RC_CLASS_REFUSED, 5, "configuration is not valid")                        \
    X(RC_REFUSED_OUTSIDE_PLAN, RC_CLASS_REFUSED, 6, "version or time outside the plan")            \
    X(RC_REFUSED_BOUND, RC_CLASS_REFUSED, 7, "version is bound to another artifact")               \
    X(RC_REFUSED_BELOW_FLOOR, RC_CLASS_REFUSED, 8, "below the high-water mark")                    \
    X(RC_REFUSED_JUMP, RC_CLASS_REFUSED, 9, "version skips more windows than the plan allows")     \
    X(RC_REFUSED_NOT_OPEN, RC_CLASS_REFUSED, 10, "window is not open")                             \
    X(RC_REFUSED_DIGEST, RC_CLASS_REFUSED, 11, "digest does not match the bytes")                  \
    X(RC_REFUSED_TOO_LARGE, RC_CLASS_REFUSED, 12, "larger than the limit")                         \
    X(RC_REFUSED_NO_KEY, RC_CLASS_REFUSED, 13, "no such key")                                      \
    X(RC_REFUSED_NOT_FOUND, RC_CLASS_REFUSED, 14, "not found")                                     \
    X(RC_REFUSED_EXISTS, RC_CLASS_REFUSED, 15, "exists already")                                   \
    X(RC_REFUSED_IDEM_MISSING, RC_CLASS_REFUSED, 16, "Idempotency-Key is required")                \
    X(RC_REFUSED_IDEM_REUSED, RC_CLASS_REFUSED, 17, "Idempotency-Key was used for other bytes")    \
    X(RC_REFUSED_EXHAUSTED, RC_CLASS_REFUSED, 18, "key is exhausted")                              \
    X(RC_REFUSED_EXPORT, RC_CLASS_REFUSED, 19, "window beyond the last acknowledged export")       \
    X(RC_REFUSED_SIGNATURE, RC_CLASS_REFUSED, 20, "signature does not verify")                     \
    X(RC_REFUSED_UNSUPPORTED, RC_CLASS_REFUSED, 21, "not supported")                               \
    X(RC_REFUSED_PASSPHRASE, RC_CLASS_REFUSED, 22, "wrong passphrase or damaged file")             \
    X(RC_REFUSED_ATTEST, RC_CLASS_REFUSED, 23, "TPM attests nothing for this key")                 \
    X(RC_REFUSED_ACCESS, RC_CLASS_REFUSED, 24, "not allowed for this identity")                    \
    X(RC_REFUSED_ACK, RC_CLASS_REFUSED, 25, "warning of exhaustion not acknowledged")              \
    X(RC_REFUSED_NOT_REMOTE, RC_CLASS_REFUSED, 26, "plan allows no remote hashing")                \
    X(RC_REFUSED_EXPIRED, RC_CLASS_REFUSED, 27, "reservation has ended, its index is burned")      \
    X(RC_REFUSED_OTHER_HASH, RC_CLASS_REFUSED, 28, "reservation has signed another hash")          \
    X(RC_RETRY_BUSY, RC_CLASS_RETRY, 1, "in use by another process")                               \
    X(RC_RETRY_WINDOW_FULL, RC_CLASS_RETRY, 2, "window is full")                                   \
    X(RC_RETRY_RATE, RC_CLASS_RETRY, 3, "rate limit reached")                                      \
    X(RC_RETRY_CLOCK, RC_CLASS_RETRY, 4, "clock is not safe to sign by")                           \
    X(RC_RETRY_ANCHOR, RC_CLASS_RETRY, 5, "TPM cannot be reached")                                 \
    X(RC_RETRY_SYSTEM, RC_CLASS_RETRY, 6, "out of memory or another system resource")              \
    X(RC_RETRY_STARTING, RC_CLASS_RETRY, 7, "signer is starting or recovering")                    \
    X(RC_BURNED_CLOCK, RC_CLASS_BURNED, 1, "window ended while signing")                           \
    X(RC_BURNED_VERIFY, RC_CLASS_BURNED, 2, "own signature did not verify")                        \
    X(RC_HALT_LEDGER, RC_CLASS_HALT, 1, "ledger not readable or not writable")                     \
    X(RC_HALT_ANCHOR, RC_CLASS_HALT, 2, "outcome of a TPM command is unknown")                     \
    X(RC_HALT_REGRESSION, RC_CLASS_HALT, 3, "state is behind its anchor")                          \
    X(RC_HALT_TPM_BEHIND, RC_CLASS_HALT, 4, "TPM is behind the ledger")                            \
    X(RC_HALT_CANARY, RC_CLASS_HALT, 5, "TPM session or counter moved behind our back")            \
    X(RC_HALT_NODES, RC_CLASS_HALT, 6, "node file is damaged")                                     \
    X(RC_HALT_SEEDS, RC_CLASS_HALT, 7, "window secret cannot be opened")                           \
    X(RC_HALT_INVARIANT, RC_CLASS_HALT, 8, "an invariant is broken")                               \
    X(RC_HALT_STATE_DIR, RC_CLASS_HALT, 9, "state directory cannot be used")                       \
    X(RC_HALT_SYSTEM, RC_CLASS_HALT, 10, "system call failed")                                     \
    X(RC_HALT_VIRTUAL, RC_CLASS_HALT, 11, "virtual TPM is refused by the configuration")

#define RC_NUMBER_(class, n) ((int)(class) * 100 + (n))
enum rc {
    RC_OK = 0,
#define X(name, class, n, text) name = RC_NUMBER_(class, n),
    RC_LIST(X)
#undef X
};

#define ERR_TEXT_MAX 240

struct err {
    enum rc rc;
    const char *origin;      /* static: "sqlite", "tss2", "gcrypt", "errno", "" */
    int64_t native;          /* that library's code, unmodified */
    const char *where;       /* static: function that saw it */
    char text[ERR_TEXT_MAX]; /* no secrets, no request bodies */
};

#define MUST_CHECK __attribute__((warn_unused_result))
#define CLEANUP(f) __attribute__((cleanup(f)))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/** Class of a code; RC_CLASS_OK for RC_OK. */
enum rc_class rc_class(enum rc rc);

/** Symbolic name, e.g. "RC_REFUSED_SPENT"; "RC_UNKNOWN" for a number outside the list. Static. */
const char *rc_name(enum rc rc);

/** One line for people, from RC_LIST. Static. */
const char *rc_text(enum rc rc);

/** True if the number is RC_OK or stands in RC_LIST: use it on numbers that came over a wire. */
bool rc_known(int number);

/**
 * Fill *err (unless NULL or already filled) and return rc: `return FAIL(err, RC_…, …)`.
 * Use the macro, which adds the function's name. text is cut at ERR_TEXT_MAX - 1 bytes.
 */
enum rc err_fail(struct err *err, enum rc rc, const char *origin, int64_t native, const char *where,
                 const char *format, ...) PRINTF_LIKE(6, 7);
#define FAIL(err, rc, origin, native, ...)                                                         \
    err_fail((err), (rc), (origin), (int64_t)(native), __func__, __VA_ARGS__)

/** Text of an err for people: its own text, or rc_text() where it has none. Borrowed from *err. */
const char *err_text(const struct err *err);

/**
 * A condition that only a bug of ours can break. Stays on in release builds: stopping before a
 * signature leaves costs an index, going on could cost the key. Never for input from outside.
 */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            must_failed(#condition, __FILE__, __LINE__);                                           \
    } while (0)
_Noreturn void must_failed(const char *condition, const char *file, int line);

#endif
