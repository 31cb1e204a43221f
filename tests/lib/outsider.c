#include "lib/outsider.h"

#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#define NONE3 ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE
/* The library's own constant shifts a signed number into its sign. */
#define TRANSIENT_FIRST ((TPM2_HANDLE)TPM2_HT_TRANSIENT << TPM2_HR_SHIFT)
#define PASSWORD ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE

struct link {
    TSS2_TCTI_CONTEXT *tcti;
    ESYS_CONTEXT *esys;
};

static void link_close(struct link *l)
{
    if (l->esys != NULL)
        Esys_Finalize(&l->esys);
    if (l->tcti != NULL)
        Tss2_TctiLdr_Finalize(&l->tcti);
}
#define LINK(l) struct link l __attribute__((cleanup(link_close))) = {0}

static bool link_open(struct link *l, const char *tcti)
{
    (void)setenv("TSS2_LOG", "all+none", 0);
    return Tss2_TctiLdr_Initialize(tcti, &l->tcti) == 0 &&
           Esys_Initialize(&l->esys, l->tcti, NULL) == 0;
}

static bool find(struct link *l, const char *tcti, uint32_t handle, const uint8_t *auth,
                 ESYS_TR *object)
{
    if (!link_open(l, tcti) || Esys_TR_FromTPMPublic(l->esys, handle, NONE3, object) != 0)
        return false;
    if (auth == NULL)
        return true;
    TPM2B_AUTH value = {.size = 32};
    memcpy(value.buffer, auth, 32);
    return Esys_TR_SetAuth(l->esys, *object, &value) == 0;
}

bool outsider_increment(const char *tcti, uint32_t handle, const uint8_t auth[32])
{
    LINK(l);
    ESYS_TR index;
    return find(&l, tcti, handle, auth, &index) &&
           Esys_NV_Increment(l.esys, index, index, PASSWORD) == 0;
}

bool outsider_write(const char *tcti, uint32_t handle, const uint8_t auth[32], const void *data,
                    size_t len)
{
    LINK(l);
    ESYS_TR index;
    TPM2B_MAX_NV_BUFFER buffer = {.size = (UINT16)len};
    memcpy(buffer.buffer, data, len);
    return find(&l, tcti, handle, auth, &index) &&
           Esys_NV_Write(l.esys, index, index, PASSWORD, &buffer, 0) == 0;
}

static bool define(const char *tcti, const TPMS_NV_PUBLIC *pub, const TPM2B_AUTH *auth)
{
    LINK(l);
    ESYS_TR index;
    TPM2B_NV_PUBLIC in = {.nvPublic = *pub};
    return link_open(&l, tcti) &&
           Esys_NV_DefineSpace(l.esys, ESYS_TR_RH_OWNER, PASSWORD, auth, &in, &index) == 0;
}

bool outsider_define(const char *tcti, uint32_t handle, bool counter, const uint8_t auth[32])
{
    TPM2B_AUTH value = {.size = 32};
    memcpy(value.buffer, auth, 32);
    TPMS_NV_PUBLIC pub = {
        .nvIndex = handle,
        .nameAlg = TPM2_ALG_SHA256,
        .attributes =
            TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_NO_DA |
            (counter ? (TPMA_NV)TPM2_NT_COUNTER << TPMA_NV_TPM2_NT_SHIFT : TPMA_NV_WRITEALL),
        .dataSize = counter ? 8 : 96,
    };
    return define(tcti, &pub, &value);
}

bool outsider_define_protected(const char *tcti, uint32_t handle, const uint8_t auth[32])
{
    TPM2B_AUTH value = {.size = 32};
    memcpy(value.buffer, auth, 32);
    TPMS_NV_PUBLIC pub = {
        .nvIndex = handle,
        .nameAlg = TPM2_ALG_SHA256,
        .attributes = TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE,
        .dataSize = 8,
    };
    return define(tcti, &pub, &value);
}

bool outsider_define_byte(const char *tcti, uint32_t handle)
{
    TPM2B_AUTH none = {0};
    TPMS_NV_PUBLIC pub = {
        .nvIndex = handle,
        .nameAlg = TPM2_ALG_SHA256,
        .attributes = TPMA_NV_OWNERREAD | TPMA_NV_OWNERWRITE,
        .dataSize = 1,
    };
    return define(tcti, &pub, &none);
}

bool outsider_undefine(const char *tcti, uint32_t handle)
{
    LINK(l);
    ESYS_TR index;
    return find(&l, tcti, handle, NULL, &index) &&
           Esys_NV_UndefineSpace(l.esys, ESYS_TR_RH_OWNER, index, PASSWORD) == 0;
}

bool outsider_persist_key(const char *tcti, uint32_t handle)
{
    static const TPM2B_SENSITIVE_CREATE no_secret = {0};
    static const TPM2B_DATA no_data = {0};
    static const TPML_PCR_SELECTION no_pcr = {0};
    const TPM2B_PUBLIC in = {
        .publicArea =
            {
                .type = TPM2_ALG_ECC,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                    TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
                .parameters.eccDetail = {.symmetric = {.algorithm = TPM2_ALG_AES,
                                                       .keyBits = {.aes = 128},
                                                       .mode = {.aes = TPM2_ALG_CFB}},
                                         .scheme = {.scheme = TPM2_ALG_NULL},
                                         .curveID = TPM2_ECC_NIST_P256,
                                         .kdf = {.scheme = TPM2_ALG_NULL}},
            },
    };
    LINK(l);
    ESYS_TR key, kept;
    return link_open(&l, tcti) &&
           Esys_CreatePrimary(l.esys, ESYS_TR_RH_OWNER, PASSWORD, &no_secret, &in, &no_data,
                              &no_pcr, &key, NULL, NULL, NULL, NULL) == 0 &&
           Esys_EvictControl(l.esys, ESYS_TR_RH_OWNER, key, PASSWORD, handle, &kept) == 0 &&
           Esys_FlushContext(l.esys, key) == 0;
}

bool outsider_evict_as(const char *tcti, uint32_t handle, const uint8_t *owner, size_t len)
{
    LINK(l);
    ESYS_TR object, gone;
    TPM2B_AUTH value = {.size = (UINT16)len};
    if (len > 0)
        memcpy(value.buffer, owner, len);
    return find(&l, tcti, handle, NULL, &object) &&
           Esys_TR_SetAuth(l.esys, ESYS_TR_RH_OWNER, &value) == 0 &&
           Esys_EvictControl(l.esys, ESYS_TR_RH_OWNER, object, PASSWORD, handle, &gone) == 0;
}

bool outsider_evict(const char *tcti, uint32_t handle)
{
    return outsider_evict_as(tcti, handle, NULL, 0);
}

static bool change_auth(const char *tcti, ESYS_TR hierarchy, const uint8_t *auth, size_t len)
{
    LINK(l);
    TPM2B_AUTH value = {.size = (UINT16)len};
    memcpy(value.buffer, auth, len);
    return link_open(&l, tcti) &&
           Esys_HierarchyChangeAuth(l.esys, hierarchy, PASSWORD, &value) == 0;
}

bool outsider_own(const char *tcti, const uint8_t *auth, size_t len)
{
    return change_auth(tcti, ESYS_TR_RH_OWNER, auth, len);
}

bool outsider_endorse(const char *tcti, const uint8_t *auth, size_t len)
{
    return change_auth(tcti, ESYS_TR_RH_ENDORSEMENT, auth, len);
}

static int count(struct link *l, TPM2_HANDLE first)
{
    TPMS_CAPABILITY_DATA *data = NULL;
    TPMI_YES_NO more = 0;
    if (Esys_GetCapability(l->esys, NONE3, TPM2_CAP_HANDLES, first, TPM2_MAX_CAP_HANDLES, &more,
                           &data) != 0)
        return -1000;
    int n = (int)data->data.handles.count;
    Esys_Free(data);
    return n;
}

int outsider_count_strays(const char *tcti)
{
    LINK(l);
    if (!link_open(&l, tcti))
        return -1;
    int n = count(&l, TRANSIENT_FIRST) + count(&l, TPM2_LOADED_SESSION_FIRST) +
            count(&l, TPM2_ACTIVE_SESSION_FIRST);
    return n < 0 ? -1 : n;
}

int outsider_count_indexes(const char *tcti)
{
    LINK(l);
    int n = link_open(&l, tcti) ? count(&l, TPM2_NV_INDEX_FIRST) : -1;
    return n < 0 ? -1 : n;
}

bool outsider_leave_session(const char *tcti)
{
    LINK(l);
    static const TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
    ESYS_TR session;
    return link_open(&l, tcti) &&
           Esys_StartAuthSession(l.esys, ESYS_TR_NONE, ESYS_TR_NONE, NONE3, NULL, TPM2_SE_HMAC,
                                 &none, TPM2_ALG_SHA256, &session) == 0;
}

bool outsider_extend(const char *tcti, uint32_t pcr)
{
    LINK(l);
    TPML_DIGEST_VALUES values = {.count = 1, .digests[0].hashAlg = TPM2_ALG_SHA256};
    memset(&values.digests[0].digest.sha256, 0x5a, TPM2_SHA256_DIGEST_SIZE);
    return link_open(&l, tcti) &&
           Esys_PCR_Extend(l.esys, ESYS_TR_PCR0 + pcr, PASSWORD, &values) == 0;
}

static bool trial_bound(struct link *l, ESYS_TR w, ESYS_TR session, uint64_t value, TPM2_EO how)
{
    TPM2B_OPERAND operand = {.size = 8};
    for (int i = 0; i < 8; i++)
        operand.buffer[i] = (BYTE)(value >> (56 - 8 * i));
    return Esys_PolicyNV(l->esys, w, w, session, PASSWORD, &operand, 0, how) == 0;
}

static bool trial_pcrs(struct link *l, ESYS_TR session, const struct tpm_pcrs *pcrs)
{
    TPML_PCR_SELECTION list = {.count = 1,
                               .pcrSelections[0] = {.hash = pcrs->bank, .sizeofSelect = 3}};
    for (unsigned i = 0; i < 3; i++)
        list.pcrSelections[0].pcrSelect[i] = (BYTE)(pcrs->selection >> 8 * i);
    /* Without a digest the TPM takes the values of now. */
    static const TPM2B_DIGEST of_now;
    return Esys_PolicyPCR(l->esys, session, NONE3, &of_now, &list) == 0;
}

bool outsider_trial(const char *tcti, uint32_t w_handle, const uint8_t auth[32],
                    const struct tpm_lock *lock, uint8_t policy[TPM_POLICY_LEN])
{
    static const TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
    static const TPM2B_NONCE no_nonce;
    static const TPM2B_DIGEST no_digest;
    LINK(l);
    ESYS_TR w;
    ESYS_TR s;
    if (!find(&l, tcti, w_handle, auth, &w) ||
        Esys_StartAuthSession(l.esys, ESYS_TR_NONE, ESYS_TR_NONE, NONE3, NULL, TPM2_SE_TRIAL, &none,
                              TPM2_ALG_SHA256, &s) != 0)
        return false;
    bool ok = true;
    if (lock->kind == TPM_LOCK_OWNER)
        ok = Esys_PolicySecret(l.esys, ESYS_TR_RH_OWNER, s, PASSWORD, &no_nonce, &no_digest,
                               &no_digest, 0, NULL, NULL) == 0;
    if (ok && lock->bound_low)
        ok = trial_bound(&l, w, s, lock->low, TPM2_EO_UNSIGNED_GE);
    if (ok && lock->bound_high)
        ok = trial_bound(&l, w, s, lock->high, TPM2_EO_UNSIGNED_LE);
    if (ok && lock->pcrs.selection != 0)
        ok = trial_pcrs(&l, s, &lock->pcrs);
    TPM2B_DIGEST *digest = NULL;
    ok = ok && Esys_PolicyAuthValue(l.esys, s, NONE3) == 0 &&
         Esys_PolicyGetDigest(l.esys, s, NONE3, &digest) == 0 && digest->size == TPM_POLICY_LEN;
    if (ok)
        memcpy(policy, digest->buffer, TPM_POLICY_LEN);
    Esys_Free(digest);
    (void)Esys_FlushContext(l.esys, s);
    return ok;
}

bool outsider_clear(const char *tcti)
{
    LINK(l);
    return link_open(&l, tcti) && Esys_Clear(l.esys, ESYS_TR_RH_LOCKOUT, PASSWORD) == 0;
}

#define LOCKOUT_TRIES 64 /* more than any TPM allows */

bool outsider_lock_out(const char *tcti, uint32_t handle)
{
    TPM2B_AUTH right = {.size = 32, .buffer = {1}};
    TPM2B_AUTH wrong = {.size = 32, .buffer = {2}};
    TPMS_NV_PUBLIC pub = {
        .nvIndex = handle,
        .nameAlg = TPM2_ALG_SHA256,
        .attributes = TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE,
        .dataSize = 1,
    };
    LINK(l);
    ESYS_TR index;
    TPM2B_MAX_NV_BUFFER byte = {.size = 1};
    right.buffer[31] = 1;
    wrong.buffer[31] = 1;
    if (!define(tcti, &pub, &right) || !find(&l, tcti, handle, right.buffer, &index) ||
        Esys_NV_Write(l.esys, index, index, PASSWORD, &byte, 0) != 0)
        return false;
    for (int i = 0; i < LOCKOUT_TRIES; i++) {
        LINK(again);
        if (!find(&again, tcti, handle, wrong.buffer, &index))
            return false;
        TPM2B_MAX_NV_BUFFER *data = NULL;
        TSS2_RC r = Esys_NV_Read(again.esys, index, index, PASSWORD, 1, 0, &data);
        Esys_Free(data);
        if (r == TPM2_RC_LOCKOUT)
            return true;
    }
    return false;
}
