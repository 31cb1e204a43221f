#include "tpm/attest.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "tpm/internal.h"

#define NO_SESSIONS ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE
#define NO_MORE_SESSIONS ESYS_TR_NONE, ESYS_TR_NONE
#define COORDINATE_LEN (P256_POINT_LEN / 2)
#define OWNER_HANDLE_LAST UINT32_C(0x817FFFFF)

_Static_assert(ATTESTED_LEN_MAX <= sizeof(((TPM2B_ATTEST *)0)->attestationData), "what TSS2 holds");

uint32_t tpm_ak_handle(uint32_t srk_handle)
{
    return srk_handle < OWNER_HANDLE_LAST ? srk_handle + 1 : srk_handle - 1;
}

/* Templates -------------------------------------------------------------------------------------*/

/* src/attest computes the Names from these same values: what is changed here changes there. */
#define AK_ATTRIBUTES                                                                              \
    (TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |            \
     TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED |                        \
     TPMA_OBJECT_SIGN_ENCRYPT)

static const TPM2B_PUBLIC ak_template = {
    .publicArea =
        {
            .type = TPM2_ALG_ECC,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = AK_ATTRIBUTES,
            .parameters.eccDetail =
                {
                    .symmetric = {.algorithm = TPM2_ALG_NULL},
                    .scheme = {.scheme = TPM2_ALG_ECDSA,
                               .details.ecdsa = {.hashAlg = TPM2_ALG_SHA256}},
                    .curveID = TPM2_ECC_NIST_P256,
                    .kdf = {.scheme = TPM2_ALG_NULL},
                },
        },
};

/* TCG EK Credential Profile for TPM Family 2.0, template L-2. The policy is PolicySecret of the
 * endorsement hierarchy, and nobody here ever satisfies it. */
static const TPM2B_PUBLIC ek_template = {
    .publicArea =
        {
            .type = TPM2_ALG_ECC,
            .nameAlg = TPM2_ALG_SHA256,
            .objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_ADMINWITHPOLICY |
                                TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
            .authPolicy = {.size = 32, .buffer = {0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8,
                                                  0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
                                                  0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64,
                                                  0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa}},
            .parameters.eccDetail =
                {
                    .symmetric = {.algorithm = TPM2_ALG_AES,
                                  .keyBits = {.aes = 128},
                                  .mode = {.aes = TPM2_ALG_CFB}},
                    .scheme = {.scheme = TPM2_ALG_NULL},
                    .curveID = TPM2_ECC_NIST_P256,
                    .kdf = {.scheme = TPM2_ALG_NULL},
                },
            /* The profile wants 32 zero bytes for each coordinate, not empty ones: another unique
             * field would be another key than the one that the maker's certificate is for. */
            .unique.ecc = {.x = {.size = COORDINATE_LEN}, .y = {.size = COORDINATE_LEN}},
        },
};

static bool is_our_kind_of_ak(const TPMT_PUBLIC *pub)
{
    const TPMS_ECC_PARMS *p = &pub->parameters.eccDetail;
    return pub->type == TPM2_ALG_ECC && pub->nameAlg == TPM2_ALG_SHA256 &&
           pub->objectAttributes == AK_ATTRIBUTES && pub->authPolicy.size == 0 &&
           p->scheme.scheme == TPM2_ALG_ECDSA &&
           p->scheme.details.ecdsa.hashAlg == TPM2_ALG_SHA256 && p->curveID == TPM2_ECC_NIST_P256;
}

/* Codes -----------------------------------------------------------------------------------------*/

#define WRONG_AUTH (TPM2_RC_BAD_AUTH | TPM2_RC_S | TPM2_RC_1)

/* Is it the first handle of the command (the AK), or its authorisation, that the TPM means? */
static bool about_first(TSS2_RC r)
{
    TSS2_RC code = r & ~TSS2_RC_LAYER_MASK;
    bool first = (code & TPM2_RC_N_MASK) == TPM2_RC_1 || (code & TPM2_RC_N_MASK) == TPM2_RC_9;
    return (code & TPM2_RC_FMT1) != 0 && (code & TPM2_RC_P) == 0 && first;
}

/* What asks for an attestation and gets none has changed nothing: only a lost connection, a lost
 * session and a replaced index are more than a refusal. */
static enum rc refuse(TSS2_RC r, const char *what, struct err *err)
{
    bool refused = tpm_outcome(r) == TPM_REFUSED || (tpm_outcome(r) == TPM_MOVED && about_first(r));
    if (refused)
        return TPM_FAIL_AS(RC_REFUSED_ATTEST, r, what, err);
    return TPM_FAIL(TPM_RUNNING, r, what, err);
}

/* Keys ------------------------------------------------------------------------------------------*/

static bool copy_key(struct attest_key *key, const TPM2B_NAME *name, const TPMT_PUBLIC *pub)
{
    const TPMS_ECC_POINT *q = &pub->unique.ecc;
    if (name->size != TPM_NAME_LEN || q->x.size != COORDINATE_LEN || q->y.size != COORDINATE_LEN)
        return false;
    memcpy(key->name, name->name, TPM_NAME_LEN);
    memcpy(key->point, q->x.buffer, COORDINATE_LEN);
    memcpy(key->point + COORDINATE_LEN, q->y.buffer, COORDINATE_LEN);
    return true;
}

/* Through the long-lived session, with the hierarchy's authorisation. */
static TSS2_RC make_primary(struct tpm *tpm, const TPM2B_PUBLIC *template, ESYS_TR *key)
{
    static const TPM2B_SENSITIVE_CREATE no_secret = {0};
    static const TPM2B_DATA no_data = {0};
    static const TPML_PCR_SELECTION no_pcr = {0};
    *key = ESYS_TR_NONE;
    TSS2_RC r = tpm_session_use(tpm, 0);
    if (r != TSS2_RC_SUCCESS)
        return r;
    return TPM_RUN(tpm, "CreatePrimary",
                   Esys_CreatePrimary(tpm->esys, ESYS_TR_RH_ENDORSEMENT, tpm->session,
                                      NO_MORE_SESSIONS, &no_secret, template, &no_data, &no_pcr,
                                      key, NULL, NULL, NULL, NULL));
}

static TSS2_RC keep(struct tpm *tpm, ESYS_TR key, ESYS_TR *kept)
{
    TSS2_RC r = tpm_session_use(tpm, 0);
    if (r != TSS2_RC_SUCCESS)
        return r;
    return TPM_RUN(tpm, "EvictControl",
                   Esys_EvictControl(tpm->esys, ESYS_TR_RH_OWNER, key, tpm->session,
                                     NO_MORE_SESSIONS, tpm->ak_handle, kept));
}

/* Read the public part of what an ESYS_TR stands for. ESAPI has compared the Name with it. */
static enum rc read_key(struct tpm *tpm, ESYS_TR object, bool is_ak, struct attest_key *key,
                        struct err *err)
{
    TPM2B_PUBLIC *pub = NULL;
    TPM2B_NAME *name = NULL;
    TSS2_RC r = TPM_RUN(tpm, "ReadPublic",
                        Esys_ReadPublic(tpm->esys, object, NO_SESSIONS, &pub, &name, NULL));
    if (r != TSS2_RC_SUCCESS)
        return refuse(r, "ReadPublic of an attestation key", err);
    bool good =
        (!is_ak || is_our_kind_of_ak(&pub->publicArea)) && copy_key(key, name, &pub->publicArea);
    Esys_Free(pub);
    Esys_Free(name);
    if (good)
        return RC_OK;
    return FAIL(err, RC_REFUSED_ATTEST, "", 0, "the object at 0x%08" PRIx32 " is no key of ours",
                tpm->ak_handle);
}

static enum rc make_ak(struct tpm *tpm, ESYS_TR *ak, struct err *err)
{
    ESYS_TR made = ESYS_TR_NONE;
    TSS2_RC r = make_primary(tpm, &ak_template, &made);
    if (r == WRONG_AUTH)
        return TPM_FAIL_AS(RC_REFUSED_ATTEST, r, "the endorsement authorisation is not ours", err);
    if (r != TSS2_RC_SUCCESS)
        return refuse(r, "CreatePrimary of the attestation key", err);
    r = keep(tpm, made, ak);
    tpm_tr_flush(tpm, &made);
    if (r == WRONG_AUTH)
        return TPM_FAIL_AS(RC_REFUSED_ATTEST, r, "the owner authorisation is not ours", err);
    return r == TSS2_RC_SUCCESS ? RC_OK : refuse(r, "EvictControl of the attestation key", err);
}

static enum rc read_ak(struct tpm *tpm, struct attest_key *key, struct err *err)
{
    ESYS_TR ak = ESYS_TR_NONE;
    enum rc rc = RC_OK;
    TSS2_RC r = TPM_RUN(tpm, "ReadPublic",
                        Esys_TR_FromTPMPublic(tpm->esys, tpm->ak_handle, NO_SESSIONS, &ak));
    if (r == NV_NO_SUCH_HANDLE)
        rc = make_ak(tpm, &ak, err);
    else if (r != TSS2_RC_SUCCESS)
        rc = refuse(r, "ReadPublic of the attestation key", err);
    if (rc == RC_OK)
        rc = read_key(tpm, ak, true, key, err);
    tpm_tr_close(tpm, &ak);
    return rc;
}

enum rc attest_read_ek(struct tpm *tpm, struct attest_key *key, struct err *err)
{
    ESYS_TR ek = ESYS_TR_NONE;
    TSS2_RC r = make_primary(tpm, &ek_template, &ek);
    if (r == WRONG_AUTH)
        return TPM_FAIL_AS(RC_REFUSED_ATTEST, r, "the endorsement authorisation is not ours", err);
    if (r != TSS2_RC_SUCCESS)
        return refuse(r, "CreatePrimary of the endorsement key", err);
    enum rc rc = read_key(tpm, ek, false, key, err);
    tpm_tr_flush(tpm, &ek);
    return rc;
}

enum rc tpm_attest_keys(struct tpm *tpm, bool with_ek, struct attest_keys *keys, struct err *err)
{
    *keys = (struct attest_keys){0};
    enum rc rc = read_ak(tpm, &keys->ak, err);
    if (rc == RC_OK && with_ek)
        rc = attest_read_ek(tpm, &keys->ek, err);
    if (rc != RC_OK)
        *keys = (struct attest_keys){0};
    return rc;
}

/* Signing ---------------------------------------------------------------------------------------*/

enum rc attest_find(struct tpm *tpm, const uint8_t name[TPM_NAME_LEN], ESYS_TR *ak, struct err *err)
{
    TPM2B_NAME *found = NULL;
    *ak = ESYS_TR_NONE;
    TSS2_RC r = TPM_RUN(tpm, "ReadPublic",
                        Esys_TR_FromTPMPublic(tpm->esys, tpm->ak_handle, NO_SESSIONS, ak));
    if (r == NV_NO_SUCH_HANDLE)
        return FAIL(err, RC_REFUSED_ATTEST, "tss2", r,
                    "the attestation key is gone from 0x%08" PRIx32 "; a restart makes it again",
                    tpm->ak_handle);
    if (r == TSS2_RC_SUCCESS)
        r = Esys_TR_GetName(tpm->esys, *ak, &found);
    if (r != TSS2_RC_SUCCESS)
        return refuse(r, "ReadPublic of the attestation key", err);
    bool same = found->size == TPM_NAME_LEN && ct_equal(found->name, name, TPM_NAME_LEN);
    Esys_Free(found);
    if (same)
        return RC_OK;
    return FAIL(err, RC_REFUSED_ATTEST, "", 0,
                "the key at 0x%08" PRIx32 " is not the attestation key that was recorded",
                tpm->ak_handle);
}

/* Take what the TPM signed. Its numbers are not looked at here, only their sizes. */
static enum rc take(struct tpm *tpm, TPM2B_ATTEST *attest, TPMT_SIGNATURE *sig,
                    struct attested *out, struct err *err)
{
    const TPMS_SIGNATURE_ECC *e = &sig->signature.ecdsa;
    bool good = sig->sigAlg == TPM2_ALG_ECDSA && e->hash == TPM2_ALG_SHA256 &&
                e->signatureR.size <= COORDINATE_LEN && e->signatureS.size <= COORDINATE_LEN &&
                attest->size > 0 && attest->size <= sizeof(out->bytes);
    if (good) {
        out->len = attest->size;
        memcpy(out->bytes, attest->attestationData, attest->size);
        memcpy(out->sig + COORDINATE_LEN - e->signatureR.size, e->signatureR.buffer,
               e->signatureR.size);
        memcpy(out->sig + P256_SIG_LEN - e->signatureS.size, e->signatureS.buffer,
               e->signatureS.size);
    }
    Esys_Free(attest);
    Esys_Free(sig);
    if (good)
        return RC_OK;
    return TPM_FAIL(TPM_RUNNING, tpm_malformed(tpm), "attestation of the TPM", err);
}

static const TPMT_SIG_SCHEME scheme_of_key = {.scheme = TPM2_ALG_NULL};

static void put_digest(TPM2B_DATA *data, const uint8_t digest[32])
{
    *data = (TPM2B_DATA){.size = 32};
    memcpy(data->buffer, digest, 32);
}

enum rc attest_index(struct tpm *tpm, ESYS_TR ak, ESYS_TR index, uint16_t size,
                     const uint8_t digest[32], struct attested *out, struct err *err)
{
    TPM2B_DATA data;
    TPM2B_ATTEST *attest = NULL;
    TPMT_SIGNATURE *sig = NULL;
    put_digest(&data, digest);
    TSS2_RC r = tpm_session_use(tpm, 0);
    if (r == TSS2_RC_SUCCESS)
        r = TPM_RUN(tpm, "NV_Certify",
                    Esys_NV_Certify(tpm->esys, ak, index, index, ESYS_TR_PASSWORD, tpm->session,
                                    ESYS_TR_NONE, &data, &scheme_of_key, size, 0, &attest, &sig));
    if (r != TSS2_RC_SUCCESS)
        return refuse(r, "NV_Certify", err);
    return take(tpm, attest, sig, out, err);
}

enum rc attest_time(struct tpm *tpm, ESYS_TR ak, const uint8_t digest[32], struct attested *out,
                    struct err *err)
{
    TPM2B_DATA data;
    TPM2B_ATTEST *attest = NULL;
    TPMT_SIGNATURE *sig = NULL;
    put_digest(&data, digest);
    TSS2_RC r = tpm_session_use(tpm, 0);
    if (r == TSS2_RC_SUCCESS)
        r = TPM_RUN(tpm, "GetTime",
                    Esys_GetTime(tpm->esys, ESYS_TR_RH_ENDORSEMENT, ak, tpm->session,
                                 ESYS_TR_PASSWORD, ESYS_TR_NONE, &data, &scheme_of_key, &attest,
                                 &sig));
    /* The hierarchies know no lock-out, so asking with a wrong value does no harm. */
    if (r == WRONG_AUTH || tpm_outcome(r) == TPM_REFUSED)
        return RC_OK;
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "GetTime", err);
    return take(tpm, attest, sig, out, err);
}
