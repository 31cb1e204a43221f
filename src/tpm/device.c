#include "tpm/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_tctildr.h>

#include "base/bytes.h"
#include "tpm/attest.h"
#include "tpm/internal.h"

#define NO_SESSIONS ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE
#define SRK_HANDLE_MIN UINT32_C(0x81000000) /* owner's part of the persistent handles */
#define SRK_HANDLE_MAX UINT32_C(0x817FFFFF)
#define TCTI_TEXT_MAX 256
#define FLUSH_ROUNDS_MAX 8
/* The library's own constant shifts a signed number into its sign. */
#define TRANSIENT_FIRST ((TPM2_HANDLE)TPM2_HT_TRANSIENT << TPM2_HR_SHIFT)

_Static_assert(TPM_OWNER_AUTH_MAX <= sizeof(((TPM2B_AUTH *)0)->buffer), "fits in a TPM2B_AUTH");

/* Small helpers that the other files use too ----------------------------------------------------*/

TSS2_RC tpm_session_use(struct tpm *tpm, TPMA_SESSION extra)
{
    if (tpm->dead != 0)
        return tpm->dead;
    return Esys_TRSess_SetAttributes(tpm->esys, tpm->session,
                                     (TPMA_SESSION)(TPMA_SESSION_CONTINUESESSION | extra), 0xff);
}

void tpm_auth_set(TPM2B_AUTH *auth, const uint8_t *value, size_t len)
{
    MUST(len <= sizeof(auth->buffer));
    *auth = (TPM2B_AUTH){0};
    if (len > 0)
        memcpy(auth->buffer, value, len);
    while (len > 0 && auth->buffer[len - 1] == 0)
        len--;
    auth->size = (UINT16)len;
}

void tpm_auth_wipe(TPM2B_AUTH *auth)
{
    wipe(auth, sizeof(*auth));
}

void tpm_tr_close(struct tpm *tpm, ESYS_TR *object)
{
    if (*object != ESYS_TR_NONE)
        (void)Esys_TR_Close(tpm->esys, object);
    *object = ESYS_TR_NONE;
}

void tpm_tr_flush(struct tpm *tpm, ESYS_TR *object)
{
    if (*object == ESYS_TR_NONE)
        return;
    TSS2_RC r = TPM_RUN(tpm, "FlushContext", Esys_FlushContext(tpm->esys, *object));
    if (r != TSS2_RC_SUCCESS)
        tpm_tr_close(tpm, object);
    *object = ESYS_TR_NONE;
}

TSS2_RC tpm_capability(struct tpm *tpm, TPM2_CAP kind, uint32_t first, uint32_t count,
                       TPMI_YES_NO *more, TPMS_CAPABILITY_DATA **data)
{
    *data = NULL;
    TSS2_RC r = TPM_RUN(tpm, "GetCapability",
                        Esys_GetCapability(tpm->esys, NO_SESSIONS, kind, first, count, more, data));
    if (r != TSS2_RC_SUCCESS || (*data)->capability == kind)
        return r;
    /* The library unpacks whatever list came, and only its kind tells which member of the union
     * holds it: counting one list with the length of another leads behind its end. */
    Esys_Free(*data);
    *data = NULL;
    return tpm_malformed(tpm);
}

TSS2_RC tpm_property(struct tpm *tpm, TPM2_PT property, uint32_t *value)
{
    *value = 0;
    TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more = 0;
    TSS2_RC r = tpm_capability(tpm, TPM2_CAP_TPM_PROPERTIES, property, 1, &more, &data);
    if (r != TSS2_RC_SUCCESS)
        return r;
    /* A TPM without this property answers with the next one that it has. */
    const TPML_TAGGED_TPM_PROPERTY *list = &data->data.tpmProperties;
    if (list->count >= 1 && list->tpmProperty[0].property == property)
        *value = list->tpmProperty[0].value;
    Esys_Free(data);
    return TSS2_RC_SUCCESS;
}

/* Connection ------------------------------------------------------------------------------------*/

static enum rc check_config(const struct tpm_config *c, struct err *err)
{
    if (c->tcti == NULL || c->tcti[0] == '\0' || strlen(c->tcti) >= TCTI_TEXT_MAX)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "TCTI string is empty or too long");
    if (c->srk_handle != 0 && (c->srk_handle < SRK_HANDLE_MIN || c->srk_handle > SRK_HANDLE_MAX))
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "0x%08x is no persistent handle of the owner",
                    c->srk_handle);
    if (c->watchdog_s > TPM_WATCHDOG_S_MAX)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "watchdog of %u s, at most %d", c->watchdog_s,
                    TPM_WATCHDOG_S_MAX);
    if (c->owner_auth_len > TPM_OWNER_AUTH_MAX)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "owner authorisation longer than %d bytes",
                    TPM_OWNER_AUTH_MAX);
    if (c->endorsement_auth_len > TPM_OWNER_AUTH_MAX)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "endorsement authorisation longer than %d bytes",
                    TPM_OWNER_AUTH_MAX);
    return RC_OK;
}

/* True if others may use the TPM beside us without seeing our sessions and objects. */
static bool has_resource_manager(const char *tcti)
{
    return strstr(tcti, "tpmrm") != NULL || strstr(tcti, "tabrmd") != NULL ||
           strcmp(tcti, "device") == 0;
}

/* The loader asks for it by the same name, which is found among what is loaded. */
bool tpm_load(const char *tcti)
{
    char name[64];
    int len = snprintf(name, sizeof(name), "libtss2-tcti-%.*s.so.0", (int)strcspn(tcti, ":"), tcti);
    return len > 0 && (size_t)len < sizeof(name) && dlopen(name, RTLD_NOW | RTLD_LOCAL) != NULL;
}

static enum rc connect_tcti(struct tpm *tpm, const char *tcti, struct err *err)
{
    TSS2_RC r = TPM_RUN(tpm, "TctiLdr_Initialize", Tss2_TctiLdr_Initialize(tcti, &tpm->tcti));
    if (r == TSS2_TCTI_RC_NOT_SUPPORTED || r == TSS2_TCTI_RC_BAD_VALUE)
        return TPM_FAIL_AS(RC_REFUSED_CONFIG, r, tcti, err);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CONNECTING, r, tcti, err);
    r = TPM_RUN(tpm, "Esys_Initialize", Esys_Initialize(&tpm->esys, tpm->tcti, NULL));
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CONNECTING, r, "Esys_Initialize", err);
    /* TPM_RC_INITIALIZE: firmware or kernel has started it up already, the normal case. */
    r = TPM_RUN(tpm, "Startup", Esys_Startup(tpm->esys, TPM2_SU_CLEAR));
    if (r != TSS2_RC_SUCCESS && r != TPM2_RC_INITIALIZE)
        return TPM_FAIL(TPM_CONNECTING, r, "Startup", err);
    return RC_OK;
}

/* Flush what one list of handles shows.
 * @param[in] keep  The one that is ours; 0 while there is none. */
static TSS2_RC flush_listed(struct tpm *tpm, TPM2_HANDLE first, TPM2_HANDLE keep, bool *more)
{
    TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more_data = 0;
    TSS2_RC r =
        tpm_capability(tpm, TPM2_CAP_HANDLES, first, TPM2_MAX_CAP_HANDLES, &more_data, &data);
    if (r != TSS2_RC_SUCCESS)
        return r;
    const TPML_HANDLE *list = &data->data.handles;
    for (uint32_t i = 0; i < list->count && tpm->dead == 0; i++) {
        ESYS_TR stray = ESYS_TR_NONE;
        if (list->handle[i] == keep)
            continue;
        r = TPM_RUN(tpm, "ReadPublic",
                    Esys_TR_FromTPMPublic(tpm->esys, list->handle[i], NO_SESSIONS, &stray));
        if (r == TSS2_RC_SUCCESS)
            tpm_tr_flush(tpm, &stray);
    }
    *more = more_data != 0;
    Esys_Free(data);
    return tpm->dead;
}

static TSS2_RC flush_kind(struct tpm *tpm, TPM2_HANDLE first, TPM2_HANDLE keep)
{
    bool more = true;
    TSS2_RC r = TSS2_RC_SUCCESS;
    for (int round = 0; more && r == TSS2_RC_SUCCESS && round < FLUSH_ROUNDS_MAX; round++)
        r = flush_listed(tpm, first, keep, &more);
    return r;
}

TSS2_RC tpm_flush_sessions(struct tpm *tpm)
{
    TPM2_HANDLE ours = 0;
    TSS2_RC r = TSS2_RC_SUCCESS;
    if (tpm->shared)
        return r;
    if (tpm->session != ESYS_TR_NONE)
        r = Esys_TR_GetTpmHandle(tpm->esys, tpm->session, &ours);
    if (r == TSS2_RC_SUCCESS)
        r = flush_kind(tpm, TPM2_LOADED_SESSION_FIRST, ours);
    if (r == TSS2_RC_SUCCESS)
        r = flush_kind(tpm, TPM2_ACTIVE_SESSION_FIRST, ours);
    return r;
}

/* An earlier process that was killed leaves its session behind, and three of them fill the TPM. */
static enum rc flush_strays(struct tpm *tpm, struct err *err)
{
    TSS2_RC r = TSS2_RC_SUCCESS;
    if (!tpm->shared)
        r = flush_kind(tpm, TRANSIENT_FIRST, 0);
    if (r == TSS2_RC_SUCCESS)
        r = tpm_flush_sessions(tpm);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CONNECTING, r, "GetCapability of handles", err);
    return RC_OK;
}

/* Sessions --------------------------------------------------------------------------------------*/

/* salt_key: ESYS_TR_NONE for a session without a secret, good for nothing that needs one.
 *
 * bind: the owner hierarchy where its authorisation was given, else ESYS_TR_NONE. The salt keeps
 * listeners out; whoever answers in the TPM's place and shows a storage key of his own reads it.
 * Later the pinned Name tells such a key, but not when the first key is made. Then the owner
 * authorisation is the one thing that this host and the real TPM know and the bus has never
 * carried: bound to it, the session's secret cannot be computed by anybody else. Binding to W, L, A
 * or a blob would add nothing: their values went through this same session. */
static TSS2_RC start_session(struct tpm *tpm, ESYS_TR salt_key, ESYS_TR bind, TPM2_SE kind,
                             ESYS_TR *session)
{
    static const TPMT_SYM_DEF aes = {
        .algorithm = TPM2_ALG_AES, .keyBits = {.aes = 128}, .mode = {.aes = TPM2_ALG_CFB}};
    *session = ESYS_TR_NONE;
    return TPM_RUN(tpm, "StartAuthSession",
                   Esys_StartAuthSession(tpm->esys, salt_key, bind, NO_SESSIONS, NULL, kind, &aes,
                                         TPM2_ALG_SHA256, session));
}

TSS2_RC tpm_policy_session(struct tpm *tpm, ESYS_TR *session)
{
    return start_session(tpm, tpm->srk, ESYS_TR_NONE, TPM2_SE_POLICY, session);
}

/* Storage key -----------------------------------------------------------------------------------*/

#define SRK_ATTRIBUTES                                                                             \
    (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |            \
     TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT)

static const TPM2B_PUBLIC srk_template = {
    .publicArea =
        {
            .type = TPM2_ALG_ECC,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = SRK_ATTRIBUTES,
            .parameters.eccDetail =
                {
                    .symmetric = {.algorithm = TPM2_ALG_AES,
                                  .keyBits = {.aes = 128},
                                  .mode = {.aes = TPM2_ALG_CFB}},
                    .scheme = {.scheme = TPM2_ALG_NULL},
                    .curveID = TPM2_ECC_NIST_P256,
                    .kdf = {.scheme = TPM2_ALG_NULL},
                },
        },
};

/* Without noDA three power cuts would put the TPM into lock-out (facts/tpm F9). */
static bool is_our_kind_of_srk(const TPMT_PUBLIC *pub)
{
    return pub->type == TPM2_ALG_ECC && pub->nameAlg == TPM2_ALG_SHA256 &&
           pub->objectAttributes == SRK_ATTRIBUTES &&
           pub->parameters.eccDetail.curveID == TPM2_ECC_NIST_P256;
}

static TSS2_RC create_primary(struct tpm *tpm, ESYS_TR hierarchy, ESYS_TR session, ESYS_TR *key)
{
    static const TPM2B_SENSITIVE_CREATE no_secret = {0};
    static const TPM2B_DATA no_data = {0};
    static const TPML_PCR_SELECTION no_pcr = {0};
    return TPM_RUN(tpm, "CreatePrimary",
                   Esys_CreatePrimary(tpm->esys, hierarchy, session, ESYS_TR_NONE, ESYS_TR_NONE,
                                      &no_secret, &srk_template, &no_data, &no_pcr, key, NULL, NULL,
                                      NULL, NULL));
}

/* Before there is a storage key there is nothing to salt a session with, and the HMAC of an
 * unsalted one lets a listener try out owner authorisations at leisure. So a key of the null
 * hierarchy, whose authorisation is empty, does it for this once. */
static TSS2_RC first_session(struct tpm *tpm, ESYS_TR bind, ESYS_TR *session)
{
    ESYS_TR plain = ESYS_TR_NONE;
    ESYS_TR key = ESYS_TR_NONE;
    *session = ESYS_TR_NONE;
    TSS2_RC r = start_session(tpm, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_SE_HMAC, &plain);
    if (r == TSS2_RC_SUCCESS)
        r = create_primary(tpm, ESYS_TR_RH_NULL, plain, &key);
    tpm_tr_flush(tpm, &plain);
    if (r == TSS2_RC_SUCCESS)
        r = start_session(tpm, key, bind, TPM2_SE_HMAC, session);
    tpm_tr_flush(tpm, &key);
    return r;
}

static TSS2_RC make_srk(struct tpm *tpm, uint32_t handle, ESYS_TR bind)
{
    ESYS_TR session = ESYS_TR_NONE;
    ESYS_TR key = ESYS_TR_NONE;
    TSS2_RC r = first_session(tpm, bind, &session);
    if (r != TSS2_RC_SUCCESS)
        return r;
    /* The default attribute of a new session is CONTINUESESSION: it serves both commands. */
    r = create_primary(tpm, ESYS_TR_RH_OWNER, session, &key);
    if (r == TSS2_RC_SUCCESS)
        r = TPM_RUN(tpm, "EvictControl",
                    Esys_EvictControl(tpm->esys, ESYS_TR_RH_OWNER, key, session, ESYS_TR_NONE,
                                      ESYS_TR_NONE, handle, &tpm->srk));
    tpm_tr_flush(tpm, &key);
    tpm_tr_flush(tpm, &session);
    return r;
}

static enum rc check_srk(struct tpm *tpm, uint32_t handle, bool create, struct err *err)
{
    TPM2B_PUBLIC *pub = NULL;
    TPM2B_NAME *name = NULL;
    TPM2B_NAME *known = NULL;
    TSS2_RC r = TPM_RUN(tpm, "ReadPublic",
                        Esys_ReadPublic(tpm->esys, tpm->srk, NO_SESSIONS, &pub, &name, NULL));
    if (r == TSS2_RC_SUCCESS)
        r = Esys_TR_GetName(tpm->esys, tpm->srk, &known);
    if (r != TSS2_RC_SUCCESS) {
        Esys_Free(pub);
        Esys_Free(name);
        return TPM_FAIL(TPM_CONNECTING, r, "ReadPublic of the storage key", err);
    }
    /* ESAPI has compared each Name with the hash of its public area. The salt will go to the key of
     * the ESYS_TR, so that one must be the key that was just read, not one that a listener on the
     * bus put in its place for the first look. */
    struct tpm_identity *id = &tpm->identity;
    bool ours = is_our_kind_of_srk(&pub->publicArea) && name->size == TPM_NAME_LEN &&
                known->size == TPM_NAME_LEN && ct_equal(name->name, known->name, TPM_NAME_LEN);
    if (ours) {
        id->srk_name_len = known->size;
        memcpy(id->srk_name, known->name, known->size);
    }
    Esys_Free(pub);
    Esys_Free(name);
    Esys_Free(known);
    if (ours)
        return RC_OK;
    return FAIL(err, create ? RC_REFUSED_CONFIG : RC_HALT_REGRESSION, "", 0,
                "the object at 0x%08x is not a storage key of ours", handle);
}

static enum rc find_srk(struct tpm *tpm, uint32_t handle, bool create, ESYS_TR bind,
                        struct err *err)
{
    TSS2_RC r = TPM_RUN(tpm, "ReadPublic",
                        Esys_TR_FromTPMPublic(tpm->esys, handle, NO_SESSIONS, &tpm->srk));
    if (r == NV_NO_SUCH_HANDLE && create) {
        r = make_srk(tpm, handle, bind);
        if (tpm_outcome(r) == TPM_MOVED)
            return TPM_FAIL_AS(RC_REFUSED_CONFIG, r, TPM_OWNER_REFUSED, err);
        if (r != TSS2_RC_SUCCESS)
            return TPM_FAIL(TPM_CONNECTING, r, "making the storage key", err);
    }
    if (r == NV_NO_SUCH_HANDLE)
        return TPM_FAIL_AS(RC_HALT_REGRESSION, r, "no storage key in this TPM", err);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CONNECTING, r, "ReadPublic of the storage key", err);
    return check_srk(tpm, handle, create, err);
}

/* Identity --------------------------------------------------------------------------------------*/

struct maker {
    char name[5];
    bool is_virtual;
    bool keeps_writes;
};

/* The table of device.h; whoever is not in it counts as virtual and forgetful. */
static const struct maker makers[] = {
    {"IFX", false, true},   {"STM", false, true},  {"NTC", false, true},   {"NTZ", false, true},
    {"NSG", false, true},   {"ATML", false, true}, {"WEC", false, true},   {"SEAL", false, true},
    {"INTC", false, false}, {"AMD", false, false}, {"QCOM", false, false},
};

void tpm_judge_maker(struct tpm_identity *id, const char *tcti)
{
    id->is_virtual = true;
    id->keeps_writes = false;
    /* Whoever is at the other end of these is a program, whatever it says. */
    if (strncmp(tcti, "swtpm", 5) == 0 || strncmp(tcti, "mssim", 5) == 0)
        return;
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        if (strcmp(id->manufacturer, makers[i].name) != 0)
            continue;
        id->is_virtual = makers[i].is_virtual;
        id->keeps_writes = makers[i].keeps_writes;
    }
}

/* Four characters out of a property. What is not printable ASCII ends up in logs and JSON as '?'.
 */
static void put_chars(char out[4], uint32_t value)
{
    uint8_t bytes[4];
    be_put32(bytes, value);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bool plain = bytes[i] >= 0x20 && bytes[i] < 0x7f && bytes[i] != '"' && bytes[i] != '\\';
        if (bytes[i] == 0)
            out[i] = ' ';
        else
            out[i] = plain ? (char)bytes[i] : '?';
    }
}

static void cut_blanks(char *text, size_t len)
{
    while (len > 0 && text[len - 1] == ' ')
        len--;
    text[len] = '\0';
}

static enum rc read_identity(struct tpm *tpm, const char *tcti, struct err *err)
{
    struct tpm_identity *id = &tpm->identity;
    uint32_t value[5];
    for (uint32_t i = 0; i < 5; i++) {
        TSS2_RC r = tpm_property(tpm, TPM2_PT_MANUFACTURER + i, &value[i]);
        if (r != TSS2_RC_SUCCESS)
            return TPM_FAIL(TPM_CONNECTING, r, "GetCapability of the maker", err);
    }
    TSS2_RC r = tpm_property(tpm, TPM2_PT_NV_COUNTERS_AVAIL, &id->counters_available);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CONNECTING, r, "GetCapability of the counters", err);
    put_chars(id->manufacturer, value[0]);
    cut_blanks(id->manufacturer, 4);
    for (uint32_t i = 0; i < 4; i++)
        put_chars(id->vendor + (size_t)4 * i, value[1 + i]);
    cut_blanks(id->vendor, 16);
    tpm_judge_maker(id, tcti);
    return RC_OK;
}
_Static_assert(TPM2_PT_VENDOR_STRING_4 == TPM2_PT_MANUFACTURER + 4, "five properties in a row");

/* Open and close --------------------------------------------------------------------------------*/

static TSS2_RC read_clock(struct tpm *tpm, struct tpm_time *time)
{
    *time = (struct tpm_time){0};
    TPMS_TIME_INFO *info = NULL;
    TSS2_RC r = TPM_RUN(tpm, "ReadClock", Esys_ReadClock(tpm->esys, NO_SESSIONS, &info));
    if (r != TSS2_RC_SUCCESS)
        return r;
    time->clock_ms = info->clockInfo.clock;
    time->reset_count = info->clockInfo.resetCount;
    time->restart_count = info->clockInfo.restartCount;
    time->safe = info->clockInfo.safe == TPM2_YES;
    Esys_Free(info);
    return TSS2_RC_SUCCESS;
}

static enum rc set_auth(struct tpm *tpm, ESYS_TR hierarchy, const uint8_t *value, size_t len,
                        struct err *err)
{
    TPM2B_AUTH auth CLEANUP(tpm_auth_wipe) = {0};
    tpm_auth_set(&auth, value, len);
    TSS2_RC r = Esys_TR_SetAuth(tpm->esys, hierarchy, &auth);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL_AS(RC_RETRY_SYSTEM, r, "Esys_TR_SetAuth", err);
    return RC_OK;
}

/* A session that is bound to another value than the TPM has does not work for anything, so it is
 * tried at once: who gave a wrong owner authorisation is told that, and not that a key's objects
 * are not what they were. */
static enum rc long_lived_session(struct tpm *tpm, ESYS_TR bind, struct err *err)
{
    TSS2_RC r = start_session(tpm, tpm->srk, bind, TPM2_SE_HMAC, &tpm->session);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CONNECTING, r, "StartAuthSession", err);
    if (bind == ESYS_TR_NONE)
        return RC_OK;
    TPM2B_DIGEST *bytes = NULL;
    r = tpm_session_use(tpm, TPMA_SESSION_ENCRYPT);
    if (r == TSS2_RC_SUCCESS)
        r = TPM_RUN(tpm, "GetRandom",
                    Esys_GetRandom(tpm->esys, tpm->session, ESYS_TR_NONE, ESYS_TR_NONE, 8, &bytes));
    Esys_Free(bytes);
    enum tpm_outcome outcome = tpm_outcome(r);
    if (outcome == TPM_MOVED || outcome == TPM_REFUSED)
        return TPM_FAIL_AS(RC_REFUSED_CONFIG, r, TPM_OWNER_REFUSED, err);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CONNECTING, r, "GetRandom", err);
    return RC_OK;
}

/* As far as it goes without keys of ours. */
static enum rc open_stranger(struct tpm *tpm, const struct tpm_config *config, struct err *err)
{
    /* The watchdog comes first: connecting to a stuck TPM blocks as well. */
    enum rc rc = watchdog_start(&tpm->dog, config->watchdog_s, err);
    if (rc == RC_OK)
        rc = connect_tcti(tpm, config->tcti, err);
    if (rc == RC_OK)
        rc = flush_strays(tpm, err);
    if (rc == RC_OK)
        rc = set_auth(tpm, ESYS_TR_RH_OWNER, config->owner_auth, config->owner_auth_len, err);
    if (rc == RC_OK)
        rc = set_auth(tpm, ESYS_TR_RH_ENDORSEMENT, config->endorsement_auth,
                      config->endorsement_auth_len, err);
    if (rc == RC_OK)
        rc = read_identity(tpm, config->tcti, err);
    return rc;
}

static enum rc open_all(struct tpm *tpm, const struct tpm_config *config, bool create_srk,
                        struct err *err)
{
    ESYS_TR bind = config->owner_auth_len > 0 ? ESYS_TR_RH_OWNER : ESYS_TR_NONE;
    uint32_t srk_handle = config->srk_handle != 0 ? config->srk_handle : TPM_SRK_DEFAULT;
    tpm->ak_handle = tpm_ak_handle(srk_handle);
    enum rc rc = open_stranger(tpm, config, err);
    if (rc == RC_OK)
        rc = find_srk(tpm, srk_handle, create_srk, bind, err);
    if (rc == RC_OK)
        rc = long_lived_session(tpm, bind, err);
    if (rc != RC_OK)
        return rc;
    TSS2_RC r = read_clock(tpm, &tpm->last);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CONNECTING, r, "ReadClock", err);
    return RC_OK;
}

static enum rc make(struct tpm **tpm, const struct tpm_config *config, struct err *err)
{
    enum rc rc = check_config(config, err);
    if (rc != RC_OK)
        return rc;
    /* The library prints three lines on standard error for each answer that we handle. */
    (void)setenv("TSS2_LOG", "all+none", 0);

    struct tpm *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for the TPM connection");
    t->srk = ESYS_TR_NONE;
    t->session = ESYS_TR_NONE;
    t->shared = has_resource_manager(config->tcti);
    *tpm = t;
    return RC_OK;
}

enum rc tpm_look(const struct tpm_config *config, struct tpm_facts *facts, struct err *err)
{
    struct tpm *t CLEANUP(tpm_close) = NULL;
    *facts = (struct tpm_facts){0};
    enum rc rc = make(&t, config, err);
    if (rc == RC_OK)
        rc = open_stranger(t, config, err);
    if (rc != RC_OK)
        return rc;
    /* Without a key of ours there is nothing to salt a session with. */
    TSS2_RC r = start_session(t, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_SE_HMAC, &t->session);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_CONNECTING, r, "StartAuthSession", err);
    return tpm_facts_ek(t, facts, err);
}

enum rc tpm_open(struct tpm **tpm, const struct tpm_config *config, bool create_srk,
                 struct err *err)
{
    tpm_openssl_answer();
    *tpm = NULL;
    struct tpm *t CLEANUP(tpm_close) = NULL;
    enum rc rc = make(&t, config, err);
    if (rc == RC_OK)
        rc = open_all(t, config, create_srk, err);
    if (rc != RC_OK)
        return rc;
    *tpm = t;
    t = NULL;
    return RC_OK;
}

void tpm_close(struct tpm **tpm)
{
    struct tpm *t = *tpm;
    *tpm = NULL;
    if (t == NULL)
        return;
    if (t->esys != NULL) {
        tpm_tr_flush(t, &t->session);
        tpm_tr_close(t, &t->srk);
        Esys_Finalize(&t->esys);
    }
    if (t->tcti != NULL)
        Tss2_TctiLdr_Finalize(&t->tcti);
    watchdog_stop(&t->dog);
    wipe(t, sizeof(*t));
    free(t);
}

const struct tpm_identity *tpm_identify(const struct tpm *tpm)
{
    return &tpm->identity;
}

enum rc tpm_read_time(struct tpm *tpm, struct tpm_time *time, struct err *err)
{
    TSS2_RC r = read_clock(tpm, time);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "ReadClock", err);
    return RC_OK;
}

enum rc tpm_protection_read(struct tpm *tpm, struct tpm_protection *p, struct err *err)
{
    *p = (struct tpm_protection){0};
    uint32_t permanent = 0;
    TSS2_RC r = tpm_property(tpm, TPM2_PT_PERMANENT, &permanent);
    if (r == TSS2_RC_SUCCESS)
        r = tpm_property(tpm, TPM2_PT_LOCKOUT_COUNTER, &p->lockout_counter);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "GetCapability of the protections", err);
    p->owner_auth_set = (permanent & TPMA_PERMANENT_OWNERAUTHSET) != 0;
    p->lockout_auth_set = (permanent & TPMA_PERMANENT_LOCKOUTAUTHSET) != 0;
    p->clear_disabled = (permanent & TPMA_PERMANENT_DISABLECLEAR) != 0;
    p->in_lockout = (permanent & TPMA_PERMANENT_INLOCKOUT) != 0;
    return RC_OK;
}
