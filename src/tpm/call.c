/* One command: what its response code means, when it is sent again, when the connection is dead. */
#include <time.h>
#include <tss2/tss2_rc.h>

#include "tpm/internal.h"

/* The two layers whose codes are answers of a TPM; all others speak about the way to it. */
static bool from_tpm(TSS2_RC r)
{
    TSS2_RC layer = r & TSS2_RC_LAYER_MASK;
    return layer == TSS2_TPM_RC_LAYER || layer == TSS2_RESMGR_TPM_RC_LAYER;
}

/* Warnings (0x900 …): the TPM has not started the command (TPM 2.0 Part 2, 6.6.3, RC_WARN). */
static enum tpm_outcome outcome_of_warning(TSS2_RC code)
{
    bool reference = code >= TPM2_RC_REFERENCE_H0 && code <= TPM2_RC_REFERENCE_S6;
    return reference ? TPM_MOVED : TPM_BUSY;
}

/* Format zero errors (0x100 …). The ones that say "this is not the index, or not the boot, that
 * you know" are told from plain refusals. */
static enum tpm_outcome outcome_of_error(TSS2_RC code)
{
    switch (code) {
    case TPM2_RC_FAILURE: /* failure mode: whatever ran last may have run in part */
    case TPM2_RC_REBOOT:
        return TPM_LOST;
    case TPM2_RC_INITIALIZE: /* the TPM was reset and nobody has started it up */
    case TPM2_RC_AUTH_TYPE:
    case TPM2_RC_AUTH_MISSING:
    case TPM2_RC_AUTH_UNAVAILABLE:
    case TPM2_RC_NV_LOCKED:
    case TPM2_RC_NV_AUTHORIZATION:
    case TPM2_RC_NV_UNINITIALIZED:
        return TPM_MOVED;
    default:
        return TPM_REFUSED;
    }
}

enum tpm_outcome tpm_outcome(TSS2_RC r)
{
    if (r == TSS2_RC_SUCCESS)
        return TPM_DONE;
    if (r == TSS2_ESYS_RC_RSP_AUTH_FAILED)
        return TPM_FORGED;
    if (!from_tpm(r))
        return TPM_LOST;

    TSS2_RC code = r & ~TSS2_RC_LAYER_MASK;
    /* Format one: bit 6 says that a parameter is meant, else it is a session or a handle. */
    if ((code & TPM2_RC_FMT1) != 0)
        return (code & TPM2_RC_P) != 0 ? TPM_REFUSED : TPM_MOVED;
    if ((code & TPM2_RC_WARN) == TPM2_RC_WARN)
        return outcome_of_warning(code);
    return outcome_of_error(code);
}

enum rc tpm_rc(enum tpm_phase phase, TSS2_RC r)
{
    switch (tpm_outcome(r)) {
    case TPM_DONE:
        return RC_OK;
    case TPM_BUSY:
        return phase == TPM_CHANGED ? RC_HALT_ANCHOR : RC_RETRY_ANCHOR;
    case TPM_MOVED:
        if (phase == TPM_CONNECTING)
            return RC_RETRY_ANCHOR;
        return phase == TPM_OPENING ? RC_HALT_REGRESSION : RC_HALT_CANARY;
    case TPM_FORGED:
        return RC_HALT_CANARY;
    case TPM_LOST:
        return phase == TPM_CONNECTING ? RC_RETRY_ANCHOR : RC_HALT_ANCHOR;
    case TPM_REFUSED:
    default:
        return RC_HALT_ANCHOR;
    }
}

enum rc tpm_fail(struct err *err, enum rc rc, TSS2_RC r, const char *where, const char *what)
{
    return err_fail(err, rc, "tss2", (int64_t)r, where, "%s: %s", what, Tss2_RC_Decode(r));
}

void tpm_call_begin(struct tpm *tpm, const char *command)
{
    watchdog_begin(&tpm->dog, command);
}

TSS2_RC tpm_call_end(struct tpm *tpm, TSS2_RC r)
{
    stopwatch_add(&tpm->stopwatch, watchdog_end(&tpm->dog));
    enum tpm_outcome outcome = tpm_outcome(r);
    if (outcome == TPM_LOST || outcome == TPM_FORGED)
        tpm->dead = r;
    return r;
}

/* Shortages that pass by themselves in a moment. A lock-out does not: it lasts for minutes. */
static bool passes_soon(TSS2_RC r)
{
    switch (r & ~TSS2_RC_LAYER_MASK) {
    case TPM2_RC_OBJECT_MEMORY:
    case TPM2_RC_SESSION_MEMORY:
    case TPM2_RC_MEMORY:
    case TPM2_RC_YIELDED:
    case TPM2_RC_TESTING:
    case TPM2_RC_NV_RATE:
    case TPM2_RC_RETRY:
    case TPM2_RC_NV_UNAVAILABLE:
        return true;
    default:
        return false;
    }
}

bool tpm_call_again(TSS2_RC r, unsigned tries)
{
    if (tpm_outcome(r) != TPM_BUSY || !passes_soon(r) || tries >= TPM_TRIES_MAX)
        return false;
    int64_t pause_ms = (int64_t)TPM_PAUSE_FIRST_MS << (tries - 1);
    struct timespec pause = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
    return true;
}

TSS2_RC tpm_malformed(struct tpm *tpm)
{
    tpm->dead = TSS2_ESYS_RC_MALFORMED_RESPONSE;
    return tpm->dead;
}
