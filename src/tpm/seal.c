/* Making sealed blobs, and taking them apart: a secret that only this TPM gives back. */
#include <string.h>
#include <tss2/tss2_mu.h>

#include "base/bytes.h"
#include "tpm/internal.h"

#define BLOB_MAGIC UINT32_C(0x544d5342) /* "TMSB" */
#define VERSION_AUTH 1                  /* no policy */
#define VERSION_LOCK 2
#define BLOB_HEAD_LEN 6
#define AUTH_LEN 32
#define NO_SESSION ESYS_TR_NONE, ESYS_TR_NONE

_Static_assert(TPM_SECRET_MAX <= sizeof(((TPM2B_SENSITIVE_DATA *)0)->buffer), "fits into one");

static void sensitive_wipe(TPM2B_SENSITIVE_CREATE *s)
{
    wipe(s, sizeof(*s));
}

/* The public area of every blob. With a policy USERWITHAUTH goes away, so that the authorisation
 * value alone no longer opens the blob. The policy of a window's lock belongs to a counter that the
 * blob does not name, so it is given by whoever knows it. */
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

static TSS2_RC blob_write(uint8_t blob[TPM_SEALED_MAX], size_t *len, const struct tpm_lock *lock,
                          const TPM2B_PUBLIC *pub, const TPM2B_PRIVATE *priv)
{
    size_t at = BLOB_HEAD_LEN;
    be_put32(blob, BLOB_MAGIC);
    be_put16(blob + 4, lock->kind == TPM_LOCK_AUTH ? VERSION_AUTH : VERSION_LOCK);
    if (lock->kind != TPM_LOCK_AUTH) {
        tpm_lock_print(blob + at, lock);
        at += TPM_LOCK_LEN;
    }
    TSS2_RC r = Tss2_MU_TPM2B_PUBLIC_Marshal(pub, blob, TPM_SEALED_MAX, &at);
    if (r == TSS2_RC_SUCCESS)
        r = Tss2_MU_TPM2B_PRIVATE_Marshal(priv, blob, TPM_SEALED_MAX, &at);
    *len = r == TSS2_RC_SUCCESS ? at : 0;
    return r;
}

enum rc tpm_seal(struct tpm *tpm, const uint8_t auth[AUTH_LEN], const struct tpm_lock *lock,
                 const void *secret, size_t secret_len, uint8_t *blob, size_t *blob_len,
                 struct err *err)
{
    static const struct tpm_lock auth_alone = {.kind = TPM_LOCK_AUTH};
    MUST(secret_len >= 1);
    MUST(secret_len <= TPM_SECRET_MAX);
    memset(blob, 0, TPM_SEALED_MAX);
    *blob_len = 0;

    TPM2B_SENSITIVE_CREATE in CLEANUP(sensitive_wipe) = {0};
    tpm_auth_set(&in.sensitive.userAuth, auth, AUTH_LEN);
    in.sensitive.data.size = (UINT16)secret_len;
    memcpy(in.sensitive.data.buffer, secret, secret_len);

    TPM2B_DIGEST policy = {.size = TPM_POLICY_LEN};
    bool has_policy = lock != NULL && lock->kind != TPM_LOCK_AUTH;
    if (has_policy)
        tpm_lock_policy(policy.buffer, lock);
    TPM2B_PUBLIC *pub = NULL;
    TPM2B_PRIVATE *priv = NULL;
    TSS2_RC r = create(tpm, &in, has_policy ? &policy : NULL, &pub, &priv);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "Create", err);
    r = blob_write(blob, blob_len, has_policy ? lock : &auth_alone, pub, priv);
    Esys_Free(pub);
    Esys_Free(priv);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL_AS(RC_HALT_ANCHOR, r, "sealed object larger than TPM_SEALED_MAX", err);
    return RC_OK;
}

/* True if the public area is one that tpm_seal() makes (but for `unique`, which the TPM checks). */
static bool is_our_template(const TPM2B_PUBLIC *pub, bool has_policy)
{
    const TPMT_PUBLIC *a = &pub->publicArea;
    TPM2B_PUBLIC want = seal_template(has_policy ? &a->authPolicy : NULL);
    return a->type == want.publicArea.type && a->nameAlg == want.publicArea.nameAlg &&
           a->objectAttributes == want.publicArea.objectAttributes &&
           a->authPolicy.size == (has_policy ? TPM_POLICY_LEN : 0) &&
           a->parameters.keyedHashDetail.scheme.scheme == TPM2_ALG_NULL;
}

static bool head_parse(struct tpm_lock *lock, const uint8_t *blob, size_t len, size_t *at)
{
    *lock = (struct tpm_lock){.kind = TPM_LOCK_AUTH};
    *at = BLOB_HEAD_LEN;
    if (len < BLOB_HEAD_LEN || len > TPM_SEALED_MAX || be_get32(blob) != BLOB_MAGIC)
        return false;
    if (be_get16(blob + 4) == VERSION_AUTH)
        return true;
    if (be_get16(blob + 4) != VERSION_LOCK || len < BLOB_HEAD_LEN + TPM_LOCK_LEN)
        return false;
    *at += TPM_LOCK_LEN;
    return tpm_lock_scan(lock, blob + BLOB_HEAD_LEN);
}

/* Strict: what was read is written again and must give the same bytes, so that no length field can
 * hide anything and no blob has two forms. */
bool sealed_parse(struct sealed *sealed, const uint8_t *blob, size_t len)
{
    size_t at = 0;
    *sealed = (struct sealed){0};
    if (!head_parse(&sealed->lock, blob, len, &at))
        return false;
    if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(blob, len, &at, &sealed->pub) != TSS2_RC_SUCCESS ||
        Tss2_MU_TPM2B_PRIVATE_Unmarshal(blob, len, &at, &sealed->priv) != TSS2_RC_SUCCESS)
        return false;
    uint8_t again[TPM_SEALED_MAX] = {0};
    size_t again_len = 0;
    if (blob_write(again, &again_len, &sealed->lock, &sealed->pub, &sealed->priv) !=
            TSS2_RC_SUCCESS ||
        again_len != len)
        return false;
    return ct_equal(again, blob, len) &&
           is_our_template(&sealed->pub, sealed->lock.kind != TPM_LOCK_AUTH);
}

bool tpm_sealed_lock(const uint8_t *blob, size_t blob_len, struct tpm_lock *lock)
{
    struct sealed sealed;
    bool ok = sealed_parse(&sealed, blob, blob_len);
    *lock = ok ? sealed.lock : (struct tpm_lock){0};
    return ok;
}
