#include "tpm/anchor.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "tpm/attest.h"
#include "tpm/internal.h"

struct anchor {
    struct tpm *tpm; /* borrowed */
    struct anchor_pins pins;
    uint8_t auth_secret[ANCHOR_AUTH_LEN]; /* to take A's ESYS_TR again after its first write */
    ESYS_TR index[OBJECT_COUNT];
    bool a_written;
    enum rc halted; /* the first HALT; RC_OK while there was none */
};

static const char *const object_names[OBJECT_COUNT] = {"W", "L", "A"};

static uint32_t pinned_handle(const struct anchor_pins *p, enum anchor_object object)
{
    const uint32_t handles[OBJECT_COUNT] = {p->w_handle, p->l_handle, p->a_handle};
    return handles[object];
}

static const uint8_t *pinned_name(const struct anchor_pins *p, enum anchor_object object)
{
    const uint8_t *const names[OBJECT_COUNT] = {p->w_name, p->l_name, p->a_name};
    return names[object];
}

/* Opening ---------------------------------------------------------------------------------------*/

/* Take the ESYS_TR of one object, compare its Name with the pin, and give it its authorisation
 * value. The session's HMAC covers the Name that ESAPI keeps, so from here on every command is
 * refused by the TPM if another index sits at the handle.
 *
 * @param[out] written  Whether it has been written: without that the Name cannot equal the pin. */
static enum rc take_index(struct anchor *a, enum anchor_object object, bool *written,
                          enum tpm_phase phase, struct err *err)
{
    TPMS_NV_PUBLIC pub = {0};
    enum rc moved = phase == TPM_OPENING ? RC_HALT_REGRESSION : RC_HALT_CANARY;
    uint32_t handle = pinned_handle(&a->pins, object);
    TSS2_RC r = nv_find(a->tpm, handle, &a->index[object], &pub);
    if (r == NV_NO_SUCH_HANDLE)
        return FAIL(err, moved, "tss2", r, "%s is missing: no NV index 0x%08" PRIx32,
                    object_names[object], handle);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(phase, r, "NV_ReadPublic", err);

    *written = (pub.attributes & TPMA_NV_WRITTEN) != 0;
    pub.attributes |= TPMA_NV_WRITTEN;
    uint8_t name[TPM_NAME_LEN];
    nv_name(name, &pub);
    if (!ct_equal(name, pinned_name(&a->pins, object), TPM_NAME_LEN))
        return FAIL(err, moved, TPM_ORIGIN_PINS, handle,
                    "%s was replaced: NV index 0x%08" PRIx32 " has another Name",
                    object_names[object], handle);

    TPM2B_AUTH auth CLEANUP(tpm_auth_wipe) = {0};
    anchor_auth(&auth, a->auth_secret, object);
    r = Esys_TR_SetAuth(a->tpm->esys, a->index[object], &auth);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(phase, r, "Esys_TR_SetAuth", err);
    return RC_OK;
}

/* One read shows that the authorisation value is still ours: a Name does not contain it, so an
 * index made anew with another value has the same Name (facts/tpm §1). */
static enum rc try_counter(struct anchor *a, enum anchor_object object, struct err *err)
{
    bool written = false;
    enum rc rc = take_index(a, object, &written, TPM_OPENING, err);
    if (rc != RC_OK)
        return rc;
    if (!written)
        return FAIL(err, RC_HALT_REGRESSION, TPM_ORIGIN_PINS, pinned_handle(&a->pins, object),
                    "counter %s was made anew: never incremented", object_names[object]);
    uint64_t value = 0;
    TSS2_RC r = nv_read_counter(a->tpm, a->index[object], &value);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_OPENING, r, "first NV_Read of a counter", err);
    return RC_OK;
}

static enum rc try_record(struct anchor *a, struct err *err)
{
    enum rc rc = take_index(a, OBJECT_A, &a->a_written, TPM_OPENING, err);
    if (rc != RC_OK)
        return rc;
    uint8_t bytes[ANCHOR_RECORD_LEN];
    TSS2_RC r = nv_read(a->tpm, a->index[OBJECT_A], bytes, sizeof(bytes));
    /* The TPM checks the authorisation first, so this answer proves it as well as a read does. */
    if (r == TPM2_RC_NV_UNINITIALIZED && !a->a_written)
        return RC_OK;
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_OPENING, r, "first NV_Read of A", err);
    return RC_OK;
}

static enum rc check_tpm(const struct tpm *tpm, const struct anchor_pins *pins, struct err *err)
{
    const struct tpm_identity *id = &tpm->identity;
    if (id->srk_name_len != TPM_NAME_LEN || !ct_equal(id->srk_name, pins->srk_name, TPM_NAME_LEN))
        return FAIL(err, RC_HALT_REGRESSION, TPM_ORIGIN_PINS, 0,
                    "another TPM: its storage key is not the one of provisioning");
    return RC_OK;
}

enum rc anchor_open(struct anchor **anchor, struct tpm *tpm, const struct anchor_pins *pins,
                    const uint8_t auth_secret[ANCHOR_AUTH_LEN], struct err *err)
{
    *anchor = NULL;
    enum rc rc = check_tpm(tpm, pins, err);
    if (rc != RC_OK)
        return rc;
    struct anchor *a CLEANUP(anchor_close) = calloc(1, sizeof(*a));
    if (a == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for an anchor");
    a->tpm = tpm;
    a->pins = *pins;
    memcpy(a->auth_secret, auth_secret, ANCHOR_AUTH_LEN);
    for (int i = 0; i < OBJECT_COUNT; i++)
        a->index[i] = ESYS_TR_NONE;

    rc = try_counter(a, OBJECT_W, err);
    if (rc == RC_OK)
        rc = try_counter(a, OBJECT_L, err);
    if (rc == RC_OK)
        rc = try_record(a, err);
    if (rc != RC_OK)
        return rc;
    *anchor = a;
    a = NULL;
    return RC_OK;
}

void anchor_close(struct anchor **anchor)
{
    struct anchor *a = *anchor;
    *anchor = NULL;
    if (a == NULL)
        return;
    for (int i = 0; i < OBJECT_COUNT; i++)
        tpm_tr_close(a->tpm, &a->index[i]);
    wipe(a, sizeof(*a));
    free(a);
}

/* Reading and writing ---------------------------------------------------------------------------*/

enum rc anchor_running(const struct anchor *a, struct err *err)
{
    if (a->halted == RC_OK)
        return RC_OK;
    return FAIL(err, a->halted, "", 0, "stopped by an earlier failure of this anchor");
}

/* Remember the first HALT, so that no later call can act on a state that is in doubt. */
enum rc anchor_finish(struct anchor *a, enum rc rc)
{
    if (rc_class(rc) == RC_CLASS_HALT && a->halted == RC_OK)
        a->halted = rc;
    return rc;
}

ESYS_TR anchor_w(const struct anchor *a)
{
    return a->index[OBJECT_W];
}

const uint8_t *anchor_w_name(const struct anchor *a)
{
    return a->pins.w_name;
}

static enum rc read_counter(struct anchor *a, enum anchor_object object, uint64_t *value,
                            enum tpm_phase phase, struct err *err)
{
    TSS2_RC r = nv_read_counter(a->tpm, a->index[object], value);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(phase, r, object == OBJECT_W ? "NV_Read of W" : "NV_Read of L", err);
    return RC_OK;
}

static enum rc read_record(struct anchor *a, struct anchor_state *state, struct err *err)
{
    if (!a->a_written)
        return RC_OK;
    uint8_t bytes[ANCHOR_RECORD_LEN];
    TSS2_RC r = nv_read(a->tpm, a->index[OBJECT_A], bytes, sizeof(bytes));
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "NV_Read of A", err);
    state->a_valid = anchor_record_decode(&state->a, bytes);
    return RC_OK;
}

enum rc anchor_read(struct anchor *anchor, struct anchor_state *state, struct err *err)
{
    *state = (struct anchor_state){0};
    enum rc rc = anchor_running(anchor, err);
    if (rc == RC_OK)
        rc = read_counter(anchor, OBJECT_W, &state->w, TPM_RUNNING, err);
    if (rc == RC_OK)
        rc = read_counter(anchor, OBJECT_L, &state->l, TPM_RUNNING, err);
    if (rc == RC_OK)
        rc = read_record(anchor, state, err);
    if (rc != RC_OK)
        *state = (struct anchor_state){0};
    return anchor_finish(anchor, rc);
}

/* The first write changed A's Name. Newer ESAPIs follow that by themselves, older ones do not, so
 * ask the TPM, and hold the answer to the pin. */
static enum rc retake_record(struct anchor *a, struct err *err)
{
    bool written = false;
    tpm_tr_close(a->tpm, &a->index[OBJECT_A]);
    enum rc rc = take_index(a, OBJECT_A, &written, TPM_CHANGED, err);
    if (rc == RC_OK && !written)
        return FAIL(err, RC_HALT_CANARY, "", 0, "A was written and is unwritten again");
    a->a_written = rc == RC_OK;
    return rc;
}

static enum rc write_record(struct anchor *a, const uint8_t bytes[ANCHOR_RECORD_LEN],
                            struct err *err)
{
    TSS2_RC r = nv_write(a->tpm, a->index[OBJECT_A], bytes, ANCHOR_RECORD_LEN);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "NV_Write of A", err);
    if (!a->a_written) {
        enum rc rc = retake_record(a, err);
        if (rc != RC_OK)
            return rc;
    }
    uint8_t back[ANCHOR_RECORD_LEN];
    r = nv_read(a->tpm, a->index[OBJECT_A], back, sizeof(back));
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CHANGED, r, "NV_Read of A behind its write", err);
    if (!ct_equal(back, bytes, ANCHOR_RECORD_LEN))
        return FAIL(err, RC_HALT_ANCHOR, "", 0, "A reads back differently from what was written");
    return RC_OK;
}

enum rc anchor_write(struct anchor *anchor, const struct anchor_record *a, struct err *err)
{
    enum rc rc = anchor_running(anchor, err);
    if (rc != RC_OK)
        return rc;
    uint8_t bytes[ANCHOR_RECORD_LEN];
    anchor_record_encode(a, bytes);
    return anchor_finish(anchor, write_record(anchor, bytes, err));
}

static enum rc step(struct anchor *a, enum anchor_object object, uint64_t expected, struct err *err)
{
    TSS2_RC r = nv_increment(a->tpm, a->index[object]);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r,
                        object == OBJECT_W ? "NV_Increment of W" : "NV_Increment of L", err);
    uint64_t value = 0;
    enum rc rc = read_counter(a, object, &value, TPM_CHANGED, err);
    if (rc != RC_OK)
        return rc;
    if (value != expected)
        return FAIL(err, RC_HALT_CANARY, "", 0,
                    "%s is %" PRIu64 " after its increment, expected %" PRIu64,
                    object_names[object], value, expected);
    return RC_OK;
}

/* A policy session remembers that W was in bounds when it was asked, and opens a blob also when W
 * has gone on (facts/tpm F4). So nobody else's session lives over a step. If the power goes before
 * this, the sessions go with it; if only this process does, tpm_open() flushes them. */
static enum rc end_sessions(struct anchor *a, struct err *err)
{
    TSS2_RC r = tpm_flush_sessions(a->tpm);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CHANGED, r, "GetCapability of sessions behind a step of W", err);
    return RC_OK;
}

enum rc anchor_step_w(struct anchor *anchor, uint64_t expected, struct err *err)
{
    enum rc rc = anchor_running(anchor, err);
    if (rc != RC_OK)
        return rc;
    rc = step(anchor, OBJECT_W, expected, err);
    if (rc == RC_OK)
        rc = end_sessions(anchor, err);
    return anchor_finish(anchor, rc);
}

enum rc anchor_step_l(struct anchor *anchor, uint64_t expected, struct err *err)
{
    enum rc rc = anchor_running(anchor, err);
    if (rc == RC_OK)
        rc = anchor_finish(anchor, step(anchor, OBJECT_L, expected, err));
    return rc;
}

/* Proof -----------------------------------------------------------------------------------------*/

enum rc anchor_check_clock(const struct tpm_time *last, const struct tpm_time *now, struct err *err)
{
    if (now->reset_count != last->reset_count || now->restart_count != last->restart_count)
        return FAIL(err, RC_HALT_CANARY, "", 0,
                    "TPM was reset: counts %" PRIu32 "/%" PRIu32 " became %" PRIu32 "/%" PRIu32,
                    last->reset_count, last->restart_count, now->reset_count, now->restart_count);
    if (now->clock_ms < last->clock_ms)
        return FAIL(err, RC_HALT_CANARY, "", 0,
                    "TPM clock ran backwards from %" PRIu64 " to %" PRIu64 " ms", last->clock_ms,
                    now->clock_ms);
    return RC_OK;
}

static enum rc prove(struct anchor *a, uint64_t expected_l, struct tpm_time *now, struct err *err)
{
    enum rc rc = tpm_read_time(a->tpm, now, err);
    if (rc != RC_OK)
        return rc;
    uint64_t l = 0;
    rc = read_counter(a, OBJECT_L, &l, TPM_RUNNING, err);
    if (rc != RC_OK)
        return rc;
    if (l != expected_l)
        return FAIL(err, RC_HALT_CANARY, "", 0, "L is %" PRIu64 ", expected %" PRIu64, l,
                    expected_l);
    rc = anchor_check_clock(&a->tpm->last, now, err);
    if (rc == RC_OK)
        a->tpm->last = *now;
    return rc;
}

enum rc anchor_prove(struct anchor *anchor, uint64_t expected_l, struct tpm_time *time,
                     struct err *err)
{
    *time = (struct tpm_time){0};
    enum rc rc = anchor_running(anchor, err);
    if (rc == RC_OK)
        rc = anchor_finish(anchor, prove(anchor, expected_l, time, err));
    if (rc != RC_OK)
        *time = (struct tpm_time){0};
    return rc;
}

/* Attestation -----------------------------------------------------------------------------------*/

static enum rc attest(struct anchor *a, const uint8_t ak_name[TPM_NAME_LEN],
                      const uint8_t digest[32], struct attest_evidence *e, struct err *err)
{
    struct tpm *tpm = a->tpm;
    ESYS_TR ak = ESYS_TR_NONE;
    enum rc rc = attest_find(tpm, ak_name, &ak, err);
    if (rc == RC_OK)
        rc = attest_index(tpm, ak, a->index[OBJECT_W], 8, digest, &e->w, err);
    if (rc == RC_OK)
        rc = attest_index(tpm, ak, a->index[OBJECT_L], 8, digest, &e->l, err);
    if (rc == RC_OK && a->a_written)
        rc = attest_index(tpm, ak, a->index[OBJECT_A], ANCHOR_RECORD_LEN, digest, &e->a, err);
    if (rc == RC_OK)
        rc = attest_time(tpm, ak, digest, &e->time, err);
    tpm_tr_close(tpm, &ak);
    return rc;
}

enum rc anchor_attest(struct anchor *anchor, const uint8_t ak_name[TPM_NAME_LEN],
                      const uint8_t digest[32], struct attest_evidence *evidence, struct err *err)
{
    *evidence = (struct attest_evidence){0};
    enum rc rc = anchor_running(anchor, err);
    if (rc == RC_OK)
        rc = anchor_finish(anchor, attest(anchor, ak_name, digest, evidence, err));
    if (rc != RC_OK)
        *evidence = (struct attest_evidence){0};
    return rc;
}
