#include "attack/means.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tss2/tss2_tctildr.h>

#include "base/bytes.h"

#define NONE3 ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE
#define NONE2 ESYS_TR_NONE, ESYS_TR_NONE
#define PASSWORD ESYS_TR_PASSWORD, NONE2
#define VALUE_LEN 8

bool means_open(struct means *m, const char *tcti, uint32_t srk_handle)
{
    *m = (struct means){.srk = ESYS_TR_NONE};
    for (int i = 0; i < MEANS_SESSIONS; i++)
        m->session[i] = ESYS_TR_NONE;
    (void)setenv("TSS2_LOG", "all+none", 0);
    if (Tss2_TctiLdr_Initialize(tcti, &m->tcti) == 0 &&
        Esys_Initialize(&m->esys, m->tcti, NULL) == 0 &&
        Esys_TR_FromTPMPublic(m->esys, srk_handle, NONE3, &m->srk) == 0)
        return true;
    (void)fprintf(stderr, "attack-tpm: the attacker cannot connect\n");
    return false;
}

void means_close(struct means *m)
{
    for (int i = 0; m->esys != NULL && i < MEANS_SESSIONS; i++)
        if (m->session[i] != ESYS_TR_NONE)
            (void)Esys_FlushContext(m->esys, m->session[i]);
    if (m->esys != NULL)
        Esys_Finalize(&m->esys);
    if (m->tcti != NULL)
        Tss2_TctiLdr_Finalize(&m->tcti);
}

/* Sessions ------------------------------------------------------------------------------------- */

ESYS_TR means_session(struct means *m, TPM2_SE kind)
{
    static const TPMT_SYM_DEF none = {.algorithm = TPM2_ALG_NULL};
    for (int i = 0; i < MEANS_SESSIONS; i++) {
        if (m->session[i] != ESYS_TR_NONE)
            continue;
        if (Esys_StartAuthSession(m->esys, ESYS_TR_NONE, ESYS_TR_NONE, NONE3, NULL, kind, &none,
                                  TPM2_ALG_SHA256, &m->session[i]) != 0)
            m->session[i] = ESYS_TR_NONE;
        return m->session[i];
    }
    return ESYS_TR_NONE;
}

void means_forget(struct means *m, ESYS_TR session)
{
    for (int i = 0; i < MEANS_SESSIONS; i++)
        if (m->session[i] == session)
            m->session[i] = ESYS_TR_NONE;
}

/* The TPM drops zero bytes at the end, and so must an HMAC. */
static TPM2B_AUTH value_of(const uint8_t auth[32])
{
    TPM2B_AUTH value = {.size = 32};
    memcpy(value.buffer, auth, 32);
    while (value.size > 0 && value.buffer[value.size - 1] == 0)
        value.size--;
    return value;
}

static bool take(struct means *m, uint32_t index, const uint8_t auth[32], ESYS_TR *object)
{
    if (Esys_TR_FromTPMPublic(m->esys, index, NONE3, object) != 0)
        return false;
    TPM2B_AUTH value = value_of(auth);
    return Esys_TR_SetAuth(m->esys, *object, &value) == 0;
}

bool means_compare(struct means *m, ESYS_TR session, uint32_t index, const uint8_t auth[32],
                   uint64_t operand, uint16_t offset, uint16_t size, TPM2_EO operation)
{
    ESYS_TR nv = ESYS_TR_NONE;
    uint8_t bytes[VALUE_LEN];
    be_put64(bytes, operand);
    TPM2B_OPERAND value = {.size = size};
    memcpy(value.buffer, bytes + VALUE_LEN - size, size);
    bool ok = take(m, index, auth, &nv) &&
              Esys_PolicyNV(m->esys, nv, nv, session, PASSWORD, &value, offset, operation) == 0;
    (void)Esys_TR_Close(m->esys, &nv);
    return ok;
}

bool means_auth_value(struct means *m, ESYS_TR session)
{
    return Esys_PolicyAuthValue(m->esys, session, NONE3) == 0;
}

bool means_owner(struct means *m, ESYS_TR session)
{
    static const TPM2B_NONCE no_nonce;
    static const TPM2B_DIGEST no_digest;
    return Esys_PolicySecret(m->esys, ESYS_TR_RH_OWNER, session, PASSWORD, &no_nonce, &no_digest,
                             &no_digest, 0, NULL, NULL) == 0;
}

bool means_digest(struct means *m, ESYS_TR session, TPM2B_DIGEST *digest)
{
    TPM2B_DIGEST *got = NULL;
    if (Esys_PolicyGetDigest(m->esys, session, NONE3, &got) != 0)
        return false;
    *digest = *got;
    Esys_Free(got);
    return true;
}

bool means_or(struct means *m, ESYS_TR session, const uint8_t other[32])
{
    TPML_DIGEST list = {.count = 2};
    list.digests[0].size = 32;
    memcpy(list.digests[0].buffer, other, 32);
    return means_digest(m, session, &list.digests[1]) &&
           Esys_PolicyOR(m->esys, session, NONE3, &list) == 0;
}

/* Objects -------------------------------------------------------------------------------------- */

bool means_seal(struct means *m, const TPM2B_DIGEST *policy, const uint8_t auth[32],
                const void *plain, size_t len, TPM2B_PUBLIC *pub, TPM2B_PRIVATE *priv)
{
    static const TPM2B_DATA no_data;
    static const TPML_PCR_SELECTION no_pcr;
    TPM2B_SENSITIVE_CREATE in = {.sensitive = {.userAuth = {.size = 32}}};
    memcpy(in.sensitive.userAuth.buffer, auth, 32);
    in.sensitive.data.size = (UINT16)len;
    memcpy(in.sensitive.data.buffer, plain, len);
    TPM2B_PUBLIC template = {
        .publicArea = {.type = TPM2_ALG_KEYEDHASH,
                       .nameAlg = TPM2_ALG_SHA256,
                       .objectAttributes =
                           TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA,
                       .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL}};
    if (policy != NULL)
        template.publicArea.authPolicy = *policy;
    else
        template.publicArea.objectAttributes |= TPMA_OBJECT_USERWITHAUTH;
    TPM2B_PUBLIC *out_pub = NULL;
    TPM2B_PRIVATE *out_priv = NULL;
    if (Esys_Create(m->esys, m->srk, PASSWORD, &in, &template, &no_data, &no_pcr, &out_priv,
                    &out_pub, NULL, NULL, NULL) != 0)
        return false;
    *pub = *out_pub;
    *priv = *out_priv;
    Esys_Free(out_pub);
    Esys_Free(out_priv);
    return true;
}

static bool load(struct means *m, const TPM2B_PUBLIC *pub, const TPM2B_PRIVATE *priv,
                 const uint8_t auth[32], ESYS_TR *object)
{
    TPM2B_AUTH value = value_of(auth);
    *object = ESYS_TR_NONE;
    if (Esys_Load(m->esys, m->srk, PASSWORD, priv, pub, object) != 0)
        return false;
    return Esys_TR_SetAuth(m->esys, *object, &value) == 0;
}

bool means_unseal(struct means *m, ESYS_TR session, const TPM2B_PUBLIC *pub,
                  const TPM2B_PRIVATE *priv, const uint8_t auth[32])
{
    ESYS_TR object = ESYS_TR_NONE;
    TPM2B_SENSITIVE_DATA *out = NULL;
    bool opened = load(m, pub, priv, auth, &object) &&
                  Esys_Unseal(m->esys, object, session, NONE2, &out) == 0;
    Esys_Free(out);
    if (object != ESYS_TR_NONE)
        (void)Esys_FlushContext(m->esys, object);
    return opened;
}

bool means_change_auth(struct means *m, const TPM2B_PUBLIC *pub, const TPM2B_PRIVATE *priv,
                       const uint8_t auth[32], const uint8_t new_auth[32], TPM2B_PRIVATE *out)
{
    ESYS_TR object = ESYS_TR_NONE;
    TPM2B_PRIVATE *changed = NULL;
    TPM2B_AUTH value = value_of(new_auth);
    bool ok = load(m, pub, priv, auth, &object) &&
              Esys_ObjectChangeAuth(m->esys, object, m->srk, PASSWORD, &value, &changed) == 0;
    if (ok)
        *out = *changed;
    Esys_Free(changed);
    if (object != ESYS_TR_NONE)
        (void)Esys_FlushContext(m->esys, object);
    return ok;
}

/* NV ------------------------------------------------------------------------------------------- */

bool means_define(struct means *m, uint32_t index, TPMA_NV attributes, uint16_t size,
                  const uint8_t auth[32])
{
    TPM2B_AUTH value = value_of(auth);
    TPM2B_NV_PUBLIC pub = {.nvPublic = {.nvIndex = index,
                                        .nameAlg = TPM2_ALG_SHA256,
                                        .attributes = attributes | TPMA_NV_AUTHREAD |
                                                      TPMA_NV_AUTHWRITE | TPMA_NV_NO_DA,
                                        .dataSize = size}};
    ESYS_TR nv = ESYS_TR_NONE;
    return Esys_NV_DefineSpace(m->esys, ESYS_TR_RH_OWNER, PASSWORD, &value, &pub, &nv) == 0;
}

bool means_undefine(struct means *m, uint32_t index)
{
    ESYS_TR nv = ESYS_TR_NONE;
    return Esys_TR_FromTPMPublic(m->esys, index, NONE3, &nv) == 0 &&
           Esys_NV_UndefineSpace(m->esys, ESYS_TR_RH_OWNER, nv, PASSWORD) == 0;
}

bool means_increment(struct means *m, uint32_t index, const uint8_t auth[32])
{
    ESYS_TR nv = ESYS_TR_NONE;
    bool ok = take(m, index, auth, &nv) && Esys_NV_Increment(m->esys, nv, nv, PASSWORD) == 0;
    (void)Esys_TR_Close(m->esys, &nv);
    return ok;
}

bool means_write(struct means *m, uint32_t index, const uint8_t auth[32], uint64_t value)
{
    ESYS_TR nv = ESYS_TR_NONE;
    TPM2B_MAX_NV_BUFFER data = {.size = VALUE_LEN};
    be_put64(data.buffer, value);
    bool ok = take(m, index, auth, &nv) && Esys_NV_Write(m->esys, nv, nv, PASSWORD, &data, 0) == 0;
    (void)Esys_TR_Close(m->esys, &nv);
    return ok;
}

bool means_set_bits(struct means *m, uint32_t index, const uint8_t auth[32], uint64_t bits)
{
    ESYS_TR nv = ESYS_TR_NONE;
    bool ok = take(m, index, auth, &nv) && Esys_NV_SetBits(m->esys, nv, nv, PASSWORD, bits) == 0;
    (void)Esys_TR_Close(m->esys, &nv);
    return ok;
}

bool means_extend(struct means *m, uint32_t index, const uint8_t auth[32], uint64_t data)
{
    ESYS_TR nv = ESYS_TR_NONE;
    TPM2B_MAX_NV_BUFFER bytes = {.size = VALUE_LEN};
    be_put64(bytes.buffer, data);
    bool ok = take(m, index, auth, &nv) && Esys_NV_Extend(m->esys, nv, nv, PASSWORD, &bytes) == 0;
    (void)Esys_TR_Close(m->esys, &nv);
    return ok;
}

/* The whole TPM -------------------------------------------------------------------------------- */

bool means_clear(struct means *m)
{
    return Esys_Clear(m->esys, ESYS_TR_RH_LOCKOUT, PASSWORD) == 0;
}

bool means_evict_srk(struct means *m)
{
    ESYS_TR gone = ESYS_TR_NONE;
    TPM2_HANDLE handle = 0;
    if (Esys_TR_GetTpmHandle(m->esys, m->srk, &handle) != 0)
        return false;
    return Esys_EvictControl(m->esys, ESYS_TR_RH_OWNER, m->srk, PASSWORD, handle, &gone) == 0;
}
