/* Sealed blobs: a secret that only this TPM gives back, and only for an authorisation value. */
#include <string.h>
#include <tss2/tss2_mu.h>

#include "base/bytes.h"
#include "tpm/internal.h"

#define BLOB_MAGIC UINT32_C(0x544d5342) /* "TMSB" */
#define BLOB_VERSION 1
#define BLOB_HEAD_LEN 6
#define AUTH_LEN 32
#define NO_SESSION ESYS_TR_NONE, ESYS_TR_NONE

_Static_assert(TPM_SECRET_MAX <= sizeof(((TPM2B_SENSITIVE_DATA *)0)->buffer), "fits into one");

static void sensitive_wipe(TPM2B_SENSITIVE_CREATE *s)
{
    wipe(s, sizeof(*s));
}

/* The public area of every blob. A policy (DESIGN section 6: PolicyNV on W) goes in here: with one,
 * USERWITHAUTH goes away so that the authorisation value alone no longer opens the blob. */
static TPM2B_PUBLIC seal_template(const TPM2B_DIGEST *policy)
{
    TPM2B_PUBLIC p = {
        .publicArea =
            {
                .type = TPM2_ALG_KEYEDHASH,
                .nameAlg = TPM2_ALG_SHA256,
                .objectAttributes =
                    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA,
                .parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL,
            },
    };
    if (policy != NULL)
        p.publicArea.authPolicy = *policy;
    else
        p.publicArea.objectAttributes |= TPMA_OBJECT_USERWITHAUTH;
    return p;
}

static const TPM2B_DATA no_data;
static const TPML_PCR_SELECTION no_pcr;

/* ESAPI wipes nothing and keeps the parameters of its latest Create. A Create of nothing takes
 * their place; it fails inside the library, for want of a parent, and nothing is sent. A test looks
 * through the memory of the process for what is left. */
static void overwrite_kept_parameters(struct tpm *tpm)
{
    static const TPM2B_SENSITIVE_CREATE no_secret;
    static const TPM2B_PUBLIC no_public;
    (void)Esys_Create_Async(tpm->esys, ESYS_TR_NONE, tpm->session, NO_SESSION, &no_secret,
                            &no_public, &no_data, &no_pcr);
}

static TSS2_RC create(struct tpm *tpm, const TPM2B_SENSITIVE_CREATE *secret,
                      const TPM2B_DIGEST *policy, TPM2B_PUBLIC **pub, TPM2B_PRIVATE **priv)
{
    TPM2B_PUBLIC in = seal_template(policy);
    TSS2_RC r = tpm_session_use(tpm, TPMA_SESSION_DECRYPT);
    if (r != TSS2_RC_SUCCESS)
        return r;
    r = TPM_RUN(tpm, "Create",
                Esys_Create(tpm->esys, tpm->srk, tpm->session, NO_SESSION, secret, &in, &no_data,
                            &no_pcr, priv, pub, NULL, NULL, NULL));
    if (tpm->dead == 0)
        overwrite_kept_parameters(tpm);
    return r;
}

static TSS2_RC blob_write(uint8_t blob[TPM_SEALED_MAX], size_t *len, const TPM2B_PUBLIC *pub,
                          const TPM2B_PRIVATE *priv)
{
    size_t at = BLOB_HEAD_LEN;
    be_put32(blob, BLOB_MAGIC);
    be_put16(blob + 4, BLOB_VERSION);
    TSS2_RC r = Tss2_MU_TPM2B_PUBLIC_Marshal(pub, blob, TPM_SEALED_MAX, &at);
    if (r == TSS2_RC_SUCCESS)
        r = Tss2_MU_TPM2B_PRIVATE_Marshal(priv, blob, TPM_SEALED_MAX, &at);
    *len = r == TSS2_RC_SUCCESS ? at : 0;
    return r;
}

enum rc tpm_seal(struct tpm *tpm, const uint8_t auth[AUTH_LEN], const void *secret,
                 size_t secret_len, uint8_t *blob, size_t *blob_len, struct err *err)
{
    MUST(secret_len >= 1);
    MUST(secret_len <= TPM_SECRET_MAX);
    memset(blob, 0, TPM_SEALED_MAX);
    *blob_len = 0;

    TPM2B_SENSITIVE_CREATE in CLEANUP(sensitive_wipe) = {0};
    tpm_auth_set(&in.sensitive.userAuth, auth, AUTH_LEN);
    in.sensitive.data.size = (UINT16)secret_len;
    memcpy(in.sensitive.data.buffer, secret, secret_len);

    TPM2B_PUBLIC *pub = NULL;
    TPM2B_PRIVATE *priv = NULL;
    TSS2_RC r = create(tpm, &in, NULL, &pub, &priv);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "Create", err);
    r = blob_write(blob, blob_len, pub, priv);
    Esys_Free(pub);
    Esys_Free(priv);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL_AS(RC_HALT_ANCHOR, r, "sealed object larger than TPM_SEALED_MAX", err);
    return RC_OK;
}

/* True if the public area is one that tpm_seal() makes (but for `unique`, which the TPM checks). */
static bool is_our_template(const TPM2B_PUBLIC *pub)
{
    TPM2B_PUBLIC want = seal_template(NULL);
    const TPMT_PUBLIC *a = &pub->publicArea;
    return a->type == want.publicArea.type && a->nameAlg == want.publicArea.nameAlg &&
           a->objectAttributes == want.publicArea.objectAttributes && a->authPolicy.size == 0 &&
           a->parameters.keyedHashDetail.scheme.scheme == TPM2_ALG_NULL;
}

/* Strict: what was read is written again and must give the same bytes, so that no length field can
 * hide anything and no blob has two forms. */
static bool blob_parse(const uint8_t *blob, size_t len, TPM2B_PUBLIC *pub, TPM2B_PRIVATE *priv)
{
    size_t at = BLOB_HEAD_LEN;
    if (len < BLOB_HEAD_LEN || len > TPM_SEALED_MAX || be_get32(blob) != BLOB_MAGIC ||
        be_get16(blob + 4) != BLOB_VERSION)
        return false;
    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(blob, len, &at, pub) != TSS2_RC_SUCCESS ||
        Tss2_MU_TPM2B_PRIVATE_Unmarshal(blob, len, &at, priv) != TSS2_RC_SUCCESS)
        return false;
    uint8_t again[TPM_SEALED_MAX] = {0};
    size_t again_len = 0;
    if (blob_write(again, &again_len, pub, priv) != TSS2_RC_SUCCESS || again_len != len)
        return false;
    return ct_equal(again, blob, len) && is_our_template(pub);
}

static TSS2_RC load(struct tpm *tpm, const TPM2B_PUBLIC *pub, const TPM2B_PRIVATE *priv,
                    ESYS_TR *object)
{
    *object = ESYS_TR_NONE;
    TSS2_RC r = tpm_session_use(tpm, TPMA_SESSION_DECRYPT);
    if (r != TSS2_RC_SUCCESS)
        return r;
    return TPM_RUN(tpm, "Load",
                   Esys_Load(tpm->esys, tpm->srk, tpm->session, NO_SESSION, priv, pub, object));
}

/* The plain secret stands in the library's command buffer now. The answer to this command is longer
 * than the largest secret and takes its place. */
static void overwrite_command_buffer(struct tpm *tpm)
{
    TPM2B_PUBLIC *pub = NULL;
    TSS2_RC r =
        TPM_RUN(tpm, "ReadPublic",
                Esys_ReadPublic(tpm->esys, tpm->srk, ESYS_TR_NONE, NO_SESSION, &pub, NULL, NULL));
    if (r == TSS2_RC_SUCCESS)
        Esys_Free(pub);
}

static TSS2_RC unseal(struct tpm *tpm, ESYS_TR object, const uint8_t auth[AUTH_LEN], void *secret,
                      size_t secret_len, bool *fits)
{
    *fits = false;
    TPM2B_AUTH value CLEANUP(tpm_auth_wipe) = {0};
    tpm_auth_set(&value, auth, AUTH_LEN);
    TSS2_RC r = Esys_TR_SetAuth(tpm->esys, object, &value);
    if (r == TSS2_RC_SUCCESS)
        r = tpm_session_use(tpm, TPMA_SESSION_ENCRYPT);
    if (r != TSS2_RC_SUCCESS)
        return r;
    TPM2B_SENSITIVE_DATA *out = NULL;
    r = TPM_RUN(tpm, "Unseal", Esys_Unseal(tpm->esys, object, tpm->session, NO_SESSION, &out));
    if (r != TSS2_RC_SUCCESS)
        return r;
    if (out->size == secret_len) {
        memcpy(secret, out->buffer, secret_len);
        *fits = true;
    }
    wipe(out, sizeof(*out));
    Esys_Free(out);
    overwrite_command_buffer(tpm);
    return TSS2_RC_SUCCESS;
}

enum rc tpm_unseal(struct tpm *tpm, const uint8_t auth[AUTH_LEN], const uint8_t *blob,
                   size_t blob_len, void *secret, size_t secret_len, struct err *err)
{
    MUST(secret_len >= 1);
    MUST(secret_len <= TPM_SECRET_MAX);
    memset(secret, 0, secret_len);
    TPM2B_PUBLIC pub = {0};
    TPM2B_PRIVATE priv = {0};
    if (!blob_parse(blob, blob_len, &pub, &priv))
        return FAIL(err, RC_HALT_SEEDS, "", 0, "sealed blob is not well-formed");

    ESYS_TR object = ESYS_TR_NONE;
    TSS2_RC r = load(tpm, &pub, &priv, &object);
    if (tpm_outcome(r) == TPM_REFUSED)
        return TPM_FAIL_AS(RC_HALT_SEEDS, r, "Load of a sealed blob", err);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "Load", err);

    bool fits = false;
    r = unseal(tpm, object, auth, secret, secret_len, &fits);
    tpm_tr_flush(tpm, &object);
    /* The session has just served the Load, so what is refused here is the blob's own value. */
    enum tpm_outcome outcome = tpm_outcome(r);
    if (outcome == TPM_MOVED || outcome == TPM_REFUSED)
        return TPM_FAIL_AS(RC_HALT_SEEDS, r, "Unseal", err);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "Unseal", err);
    if (!fits)
        return FAIL(err, RC_HALT_SEEDS, "", 0, "sealed blob holds another number of bytes");
    return RC_OK;
}
