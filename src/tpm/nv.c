/* NV commands, each through the long-lived session. */
#include <string.h>
#include <tss2/tss2_mu.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/lease.h"
#include "tpm/internal.h"

#define NO_SESSION ESYS_TR_NONE, ESYS_TR_NONE
#define COUNTER_LEN 8

void nv_name(uint8_t name[TPM_NAME_LEN], const TPMS_NV_PUBLIC *pub)
{
    uint8_t bytes[sizeof(*pub)];
    size_t len = 0;
    /* The buffer is larger than any public area, so only a bug of ours can make this fail. */
    MUST(Tss2_MU_TPMS_NV_PUBLIC_Marshal(pub, bytes, sizeof(bytes), &len) == TSS2_RC_SUCCESS);
    be_put16(name, TPM2_ALG_SHA256);
    digest_buffer(DIGEST_SHA256, name + 2, bytes, len);
}
_Static_assert(TPM_NAME_LEN == 2 + SHA256_LEN, "a Name is the algorithm and the hash");

TSS2_RC nv_find(struct tpm *tpm, uint32_t handle, ESYS_TR *index, TPMS_NV_PUBLIC *pub)
{
    *index = ESYS_TR_NONE;
    *pub = (TPMS_NV_PUBLIC){0};
    TSS2_RC r = TPM_RUN(tpm, "NV_ReadPublic",
                        Esys_TR_FromTPMPublic(tpm->esys, handle, ESYS_TR_NONE, NO_SESSION, index));
    if (r != TSS2_RC_SUCCESS)
        return r;
    TPM2B_NV_PUBLIC *answer = NULL;
    r = TPM_RUN(tpm, "NV_ReadPublic",
                Esys_NV_ReadPublic(tpm->esys, *index, ESYS_TR_NONE, NO_SESSION, &answer, NULL));
    if (r != TSS2_RC_SUCCESS) {
        tpm_tr_close(tpm, index);
        return r;
    }
    *pub = answer->nvPublic;
    Esys_Free(answer);
    return TSS2_RC_SUCCESS;
}

static TSS2_RC read_as(struct tpm *tpm, ESYS_TR index, void *data, uint16_t len, TPMA_SESSION how)
{
    memset(data, 0, len);
    TSS2_RC r = tpm_session_use(tpm, how);
    if (r != TSS2_RC_SUCCESS)
        return r;
    TPM2B_MAX_NV_BUFFER *answer = NULL;
    r = TPM_RUN(tpm, "NV_Read",
                Esys_NV_Read(tpm->esys, index, index, tpm->session, NO_SESSION, len, 0, &answer));
    if (r != TSS2_RC_SUCCESS)
        return r;
    if (answer->size == len)
        memcpy(data, answer->buffer, len);
    else
        r = tpm_malformed(tpm);
    Esys_Free(answer);
    return r;
}

TSS2_RC nv_read(struct tpm *tpm, ESYS_TR index, void *data, uint16_t len)
{
    return read_as(tpm, index, data, len, TPMA_SESSION_ENCRYPT);
}

/* A count is no secret, so its answer is not encrypted, only authenticated: one is read before
 * every batch, and the library's key derivation for it costs more than all the rest of the command.
 */
TSS2_RC nv_read_counter(struct tpm *tpm, ESYS_TR index, uint64_t *value)
{
    uint8_t bytes[COUNTER_LEN];
    TSS2_RC r = read_as(tpm, index, bytes, sizeof(bytes), 0);
    *value = be_get64(bytes);
    return r;
}

TSS2_RC nv_write(struct tpm *tpm, ESYS_TR index, const void *data, uint16_t len)
{
    TPM2B_MAX_NV_BUFFER buffer = {.size = len};
    MUST(len <= sizeof(buffer.buffer));
    memcpy(buffer.buffer, data, len);
    TSS2_RC r = tpm_session_use(tpm, TPMA_SESSION_DECRYPT);
    if (r != TSS2_RC_SUCCESS)
        return r;
    return TPM_RUN(tpm, "NV_Write",
                   Esys_NV_Write(tpm->esys, index, index, tpm->session, NO_SESSION, &buffer, 0));
}

TSS2_RC nv_increment(struct tpm *tpm, ESYS_TR index)
{
    TSS2_RC r = tpm_session_use(tpm, 0);
    if (r != TSS2_RC_SUCCESS)
        return r;
    r = TPM_RUN(tpm, "NV_Increment",
                Esys_NV_Increment(tpm->esys, index, index, tpm->session, NO_SESSION));
    if (r == TSS2_RC_SUCCESS)
        stopwatch_was_increment(&tpm->stopwatch);
    return r;
}

TSS2_RC nv_define(struct tpm *tpm, const TPMS_NV_PUBLIC *pub, const TPM2B_AUTH *auth,
                  ESYS_TR *index)
{
    *index = ESYS_TR_NONE;
    TPM2B_NV_PUBLIC in = {.nvPublic = *pub};
    /* The new authorisation value is the first parameter: DECRYPT hides it on the bus. */
    TSS2_RC r = tpm_session_use(tpm, TPMA_SESSION_DECRYPT);
    if (r != TSS2_RC_SUCCESS)
        return r;
    return TPM_RUN(tpm, "NV_DefineSpace",
                   Esys_NV_DefineSpace(tpm->esys, ESYS_TR_RH_OWNER, tpm->session, NO_SESSION, auth,
                                       &in, index));
}

TSS2_RC nv_undefine(struct tpm *tpm, ESYS_TR *index)
{
    TSS2_RC r = tpm_session_use(tpm, 0);
    if (r != TSS2_RC_SUCCESS)
        return r;
    r = TPM_RUN(
        tpm, "NV_UndefineSpace",
        Esys_NV_UndefineSpace(tpm->esys, ESYS_TR_RH_OWNER, *index, tpm->session, NO_SESSION));
    if (r == TSS2_RC_SUCCESS)
        *index = ESYS_TR_NONE; /* ESAPI frees it together with the index */
    return r;
}
