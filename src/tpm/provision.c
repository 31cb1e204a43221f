/* Making and undoing the three objects of one key. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "tpm/anchor.h"
#include "tpm/internal.h"

/* NV handles from 0x01800000 to 0x01BFFFFF belong to the owner (TCG registry of reserved handles);
 * ours start somewhere in the middle of the part that nobody uses by default. */
#define HANDLE_FIRST UINT32_C(0x01854D00)
#define HANDLE_LAST UINT32_C(0x01BFFFFF)
#define LIST_ROUNDS_MAX 64 /* of 254 handles: more than any TPM holds */
#define COUNTER_LEN 8
#define NO_SESSIONS ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE

#define INDEX_ATTRIBUTES (TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_NO_DA)
#define KIND(nt) ((TPMA_NV)(nt) << TPMA_NV_TPM2_NT_SHIFT)

void anchor_auth(TPM2B_AUTH *auth, const uint8_t auth_secret[32], enum anchor_object object)
{
    static const char labels[OBJECT_COUNT] = {'W', 'L', 'A'};
    uint8_t value[32];
    hmac_sha256(value, auth_secret, ANCHOR_AUTH_LEN, &labels[object], 1);
    tpm_auth_set(auth, value, sizeof(value));
    wipe(value, sizeof(value));
}

static TPMS_NV_PUBLIC index_template(enum anchor_object object, uint32_t handle)
{
    TPMS_NV_PUBLIC p = {
        .nvIndex = handle,
        .nameAlg = TPM2_ALG_SHA256,
        .attributes = INDEX_ATTRIBUTES | KIND(TPM2_NT_COUNTER),
        .dataSize = COUNTER_LEN,
    };
    if (object == OBJECT_A) {
        /* WRITEALL: a write of a part of it is refused, so A changes as a whole or not at all. */
        p.attributes = INDEX_ATTRIBUTES | TPMA_NV_WRITEALL | KIND(TPM2_NT_ORDINARY);
        p.dataSize = ANCHOR_RECORD_LEN;
    }
    return p;
}

/* Handles ---------------------------------------------------------------------------------------*/

/* Move *candidate up to a gap of OBJECT_COUNT handles among those listed, which are in ascending
 * order (TPM 2.0 Part 3, 30.2). @return true if the list shows the end of such a gap. */
static bool find_gap(const TPML_HANDLE *list, uint32_t *candidate)
{
    for (uint32_t i = 0; i < list->count; i++) {
        uint32_t taken = list->handle[i];
        if (taken >= *candidate + OBJECT_COUNT)
            return true;
        if (taken >= *candidate)
            *candidate = taken + 1;
    }
    return false;
}

static enum rc find_handles(struct tpm *tpm, uint32_t *first, struct err *err)
{
    *first = HANDLE_FIRST;
    bool found = false;
    TPMI_YES_NO more = TPM2_YES;
    for (int round = 0; !found && more != 0 && round < LIST_ROUNDS_MAX; round++) {
        TPMS_CAPABILITY_DATA *data = NULL;
        TSS2_RC r =
            tpm_capability(tpm, TPM2_CAP_HANDLES, *first, TPM2_MAX_CAP_HANDLES, &more, &data);
        if (r != TSS2_RC_SUCCESS)
            return TPM_FAIL(TPM_RUNNING, r, "GetCapability of the NV indexes", err);
        found = find_gap(&data->data.handles, first);
        Esys_Free(data);
    }
    if ((found || more == 0) && *first <= HANDLE_LAST - OBJECT_COUNT + 1)
        return RC_OK;
    *first = 0;
    return FAIL(err, RC_REFUSED_EXHAUSTED, "", 0, "no three free NV handles in a row");
}

/* A Name follows from handle and template, so it is known before there is an index. The one to pin
 * is that after the first write. */
static void name_at(uint8_t name[TPM_NAME_LEN], enum anchor_object object, uint32_t handle)
{
    TPMS_NV_PUBLIC pub = index_template(object, handle);
    pub.attributes |= TPMA_NV_WRITTEN;
    nv_name(name, &pub);
}

enum rc anchor_choose(struct tpm *tpm, struct anchor_pins *pins, struct err *err)
{
    *pins = (struct anchor_pins){0};
    uint32_t first = 0;
    enum rc rc = find_handles(tpm, &first, err);
    if (rc != RC_OK)
        return rc;
    pins->w_handle = first + OBJECT_W;
    pins->l_handle = first + OBJECT_L;
    pins->a_handle = first + OBJECT_A;
    name_at(pins->w_name, OBJECT_W, pins->w_handle);
    name_at(pins->l_name, OBJECT_L, pins->l_handle);
    name_at(pins->a_name, OBJECT_A, pins->a_handle);
    memcpy(pins->srk_name, tpm->identity.srk_name, sizeof(pins->srk_name));
    return RC_OK;
}

/* Provision -------------------------------------------------------------------------------------*/

struct making {
    struct tpm *tpm;
    ESYS_TR index[OBJECT_COUNT];
    TPMS_NV_PUBLIC pub[OBJECT_COUNT];
};

static enum rc exhausted(struct tpm *tpm, TSS2_RC cause, struct err *err)
{
    uint32_t counters = 0;
    TSS2_RC r = tpm_property(tpm, TPM2_PT_NV_COUNTERS_AVAIL, &counters);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CHANGED, r, "GetCapability of the counters", err);
    return FAIL(err, RC_REFUSED_EXHAUSTED, "tss2", cause,
                "no room in the TPM for two counters and a record; it says that %" PRIu32
                " more counters fit",
                counters);
}

static enum rc define_one(struct making *m, enum anchor_object object, uint32_t handle,
                          const uint8_t auth_secret[ANCHOR_AUTH_LEN], struct err *err)
{
    m->pub[object] = index_template(object, handle);
    TPM2B_AUTH auth CLEANUP(tpm_auth_wipe) = {0};
    anchor_auth(&auth, auth_secret, object);
    TSS2_RC r = nv_define(m->tpm, &m->pub[object], &auth, &m->index[object]);
    if (r == TPM2_RC_NV_SPACE)
        return exhausted(m->tpm, r, err);
    if (r == (TPM2_RC_BAD_AUTH | TPM2_RC_S | TPM2_RC_1))
        return TPM_FAIL_AS(RC_REFUSED_CONFIG, r, TPM_OWNER_REFUSED, err);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(object == OBJECT_W ? TPM_RUNNING : TPM_CHANGED, r, "NV_DefineSpace", err);
    return RC_OK;
}

static enum rc start_counter(struct making *m, enum anchor_object object, uint64_t *value,
                             struct err *err)
{
    TSS2_RC r = nv_increment(m->tpm, m->index[object]);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CHANGED, r, "first NV_Increment of a counter", err);
    r = nv_read_counter(m->tpm, m->index[object], value);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CHANGED, r, "first NV_Read of a counter", err);
    return RC_OK;
}

static enum rc make_all(struct making *m, const uint8_t auth_secret[ANCHOR_AUTH_LEN],
                        int64_t floor_window, struct anchor_pins *pins, struct err *err)
{
    const uint32_t handles[OBJECT_COUNT] = {pins->w_handle, pins->l_handle, pins->a_handle};
    enum rc rc = RC_OK;
    for (int i = 0; rc == RC_OK && i < OBJECT_COUNT; i++)
        rc = define_one(m, (enum anchor_object)i, handles[i], auth_secret, err);
    if (rc == RC_OK)
        rc = start_counter(m, OBJECT_W, &pins->w_first, err);
    if (rc == RC_OK)
        rc = start_counter(m, OBJECT_L, &pins->l_first, err);
    if (rc != RC_OK)
        return rc;
    if (pins->w_first > INT64_MAX || pins->l_first > INT64_MAX ||
        __builtin_sub_overflow((int64_t)pins->w_first, floor_window, &pins->w_base))
        return FAIL(err, RC_HALT_ANCHOR, "", 0, "counters start at %" PRIu64 " and %" PRIu64,
                    pins->w_first, pins->l_first);
    return RC_OK;
}

/* Undo what stands, last first. The handles that could not be undefined go into `left`; on a dead
 * connection that includes the one whose definition has an unknown outcome. */
static bool undo(struct making *m, char *left, size_t left_size)
{
    bool clean = true;
    left[0] = '\0';
    for (int i = OBJECT_COUNT - 1; i >= 0; i--) {
        bool started = m->pub[i].nvIndex != 0;
        bool stands = m->index[i] != ESYS_TR_NONE;
        if (!started || (!stands && m->tpm->dead == 0))
            continue;
        if (stands && nv_undefine(m->tpm, &m->index[i]) == TSS2_RC_SUCCESS)
            continue;
        size_t used = strlen(left);
        (void)snprintf(left + used, left_size - used, " 0x%08" PRIx32, m->pub[i].nvIndex);
        clean = false;
    }
    return clean;
}

static enum rc undo_after(struct making *m, enum rc rc, struct err *err)
{
    char left[OBJECT_COUNT * 12];
    if (undo(m, left, sizeof(left)) || err == NULL)
        return rc;
    /* The first failure stays what it was; the operator must also learn what is left behind. */
    struct err first = *err;
    (void)snprintf(err->text, sizeof(err->text), "may be left in the TPM:%s; %.150s", left,
                   first.text);
    return rc;
}

enum rc anchor_provision(struct tpm *tpm, const uint8_t auth_secret[ANCHOR_AUTH_LEN],
                         int64_t floor_window, struct anchor_pins *pins, struct err *err)
{
    MUST(floor_window >= ANCHOR_FLOOR_MIN);
    MUST(floor_window <= ANCHOR_FLOOR_MAX);
    pins->w_first = pins->l_first = 0;
    pins->w_base = 0;
    struct making m = {.tpm = tpm, .index = {ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE}};
    enum rc rc = make_all(&m, auth_secret, floor_window, pins, err);
    if (rc != RC_OK) {
        *pins = (struct anchor_pins){0};
        rc = undo_after(&m, rc, err);
    }
    for (int i = 0; i < OBJECT_COUNT; i++)
        tpm_tr_close(tpm, &m.index[i]);
    return rc;
}

/* Undefine --------------------------------------------------------------------------------------*/

/* A counter's Name has WRITTEN in it from provisioning on, A's only from the first write. A crash
 * in between leaves any of them unwritten, so both Names are ours. */
static bool is_pinned(const TPMS_NV_PUBLIC *pub, const uint8_t pinned[TPM_NAME_LEN])
{
    TPMS_NV_PUBLIC written = *pub;
    written.attributes |= TPMA_NV_WRITTEN;
    uint8_t name[TPM_NAME_LEN];
    nv_name(name, &written);
    return ct_equal(name, pinned, TPM_NAME_LEN);
}

/* Two keys' W at one handle have the same Name, since a Name does not contain the authorisation
 * value. So what is undefined must also answer to ours: a handle in an old file on a disk that was
 * put back may have become another key's. */
static enum rc prove_ours(struct tpm *tpm, enum anchor_object object, ESYS_TR index,
                          const uint8_t auth_secret[ANCHOR_AUTH_LEN], struct err *err)
{
    TPM2B_AUTH auth CLEANUP(tpm_auth_wipe) = {0};
    anchor_auth(&auth, auth_secret, object);
    TSS2_RC r = Esys_TR_SetAuth(tpm->esys, index, &auth);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "Esys_TR_SetAuth", err);
    uint8_t bytes[ANCHOR_RECORD_LEN];
    r = nv_read(tpm, index, bytes, object == OBJECT_A ? ANCHOR_RECORD_LEN : COUNTER_LEN);
    /* Unwritten is said only to those who have the value (try_record() in anchor.c relies on it
     * too). */
    if (r == TSS2_RC_SUCCESS || r == TPM2_RC_NV_UNINITIALIZED)
        return RC_OK;
    if (r == (TPM2_RC_BAD_AUTH | TPM2_RC_S | TPM2_RC_1))
        return TPM_FAIL_AS(RC_HALT_REGRESSION, r, "the index is another key's", err);
    return TPM_FAIL(TPM_RUNNING, r, "NV_Read of an index to be undefined", err);
}

static enum rc undefine_one(struct tpm *tpm, enum anchor_object object, uint32_t handle,
                            const uint8_t pinned[TPM_NAME_LEN],
                            const uint8_t auth_secret[ANCHOR_AUTH_LEN], struct err *err)
{
    ESYS_TR index = ESYS_TR_NONE;
    TPMS_NV_PUBLIC pub = {0};
    TSS2_RC r = nv_find(tpm, handle, &index, &pub);
    if (r == NV_NO_SUCH_HANDLE)
        return RC_OK;
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "NV_ReadPublic", err);
    enum rc rc = RC_OK;
    if (!is_pinned(&pub, pinned))
        rc = FAIL(err, RC_HALT_REGRESSION, "", 0, "NV index 0x%08" PRIx32 " has another Name",
                  handle);
    if (rc == RC_OK)
        rc = prove_ours(tpm, object, index, auth_secret, err);
    if (rc != RC_OK) {
        tpm_tr_close(tpm, &index);
        return rc;
    }
    r = nv_undefine(tpm, &index);
    tpm_tr_close(tpm, &index);
    if (r == (TPM2_RC_BAD_AUTH | TPM2_RC_S | TPM2_RC_1))
        return TPM_FAIL_AS(RC_REFUSED_CONFIG, r, TPM_OWNER_REFUSED, err);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "NV_UndefineSpace", err);
    return RC_OK;
}

enum rc anchor_undefine(struct tpm *tpm, const struct anchor_pins *pins,
                        const uint8_t auth_secret[ANCHOR_AUTH_LEN], struct err *err)
{
    const struct {
        uint32_t handle;
        const uint8_t *name;
    } objects[OBJECT_COUNT] = {{pins->w_handle, pins->w_name},
                               {pins->l_handle, pins->l_name},
                               {pins->a_handle, pins->a_name}};
    enum rc first = RC_OK;
    for (int i = 0; i < OBJECT_COUNT; i++) {
        enum rc rc = undefine_one(tpm, (enum anchor_object)i, objects[i].handle, objects[i].name,
                                  auth_secret, err);
        if (rc != RC_OK && rc != RC_HALT_REGRESSION)
            return rc;
        if (first == RC_OK)
            first = rc;
    }
    return first;
}

/* List ------------------------------------------------------------------------------------------*/

static bool looks_like(const TPMS_NV_PUBLIC *pub, enum anchor_object object)
{
    const TPMS_NV_PUBLIC ours = index_template(object, pub->nvIndex);
    return pub->nameAlg == ours.nameAlg && pub->dataSize == ours.dataSize &&
           pub->authPolicy.size == 0 && (pub->attributes & ~TPMA_NV_WRITTEN) == ours.attributes;
}

static enum rc list_one(struct tpm *tpm, uint32_t handle, struct anchor_index *list, size_t *count,
                        struct err *err)
{
    ESYS_TR index = ESYS_TR_NONE;
    TPMS_NV_PUBLIC pub = {0};
    TSS2_RC r = nv_find(tpm, handle, &index, &pub);
    tpm_tr_close(tpm, &index);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "NV_ReadPublic", err);
    bool counter = looks_like(&pub, OBJECT_W);
    if (*count < ANCHOR_LIST_MAX && (counter || looks_like(&pub, OBJECT_A)))
        list[(*count)++] = (struct anchor_index){.handle = handle, .counter = counter};
    return RC_OK;
}

enum rc anchor_list(struct tpm *tpm, struct anchor_index list[ANCHOR_LIST_MAX], size_t *count,
                    struct err *err)
{
    uint32_t next = HANDLE_FIRST;
    TPMI_YES_NO more = TPM2_YES;
    enum rc rc = RC_OK;
    *count = 0;
    for (int round = 0; rc == RC_OK && more != 0 && round < LIST_ROUNDS_MAX; round++) {
        TPMS_CAPABILITY_DATA *data = NULL;
        TSS2_RC r = TPM_RUN(tpm, "GetCapability",
                            Esys_GetCapability(tpm->esys, NO_SESSIONS, TPM2_CAP_HANDLES, next,
                                               TPM2_MAX_CAP_HANDLES, &more, &data));
        if (r != TSS2_RC_SUCCESS)
            return TPM_FAIL(TPM_RUNNING, r, "GetCapability of the NV indexes", err);
        const TPML_HANDLE *handles = &data->data.handles;
        for (uint32_t i = 0; rc == RC_OK && i < handles->count; i++) {
            next = handles->handle[i] + 1;
            if (handles->handle[i] <= HANDLE_LAST)
                rc = list_one(tpm, handles->handle[i], list, count, err);
        }
        if (handles->count == 0 || next > HANDLE_LAST)
            more = TPM2_NO;
        Esys_Free(data);
    }
    return rc;
}
