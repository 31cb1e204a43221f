/* Opening sealed blobs: each lock asks the TPM for something else before it gives the secret. */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "tpm/anchor.h"
#include "tpm/internal.h"

#define AUTH_LEN 32
#define OPERAND_LEN 8
/* Whenever anybody extends any PCR, policy sessions that have looked at PCRs end; IMA does it all
 * the time. */
#define PCR_TRIES 8
#define NO_SESSION ESYS_TR_NONE, ESYS_TR_NONE
#define NO_SESSIONS ESYS_TR_NONE, NO_SESSION

/* PCRs ----------------------------------------------------------------------------------------- */

static TPML_PCR_SELECTION selection_of(const struct tpm_pcrs *pcrs, uint32_t bits)
{
    TPML_PCR_SELECTION list = {.count = 1};
    TPMS_PCR_SELECTION *s = &list.pcrSelections[0];
    s->hash = pcrs->bank;
    s->sizeofSelect = TPM_PCR_COUNT / 8;
    for (unsigned i = 0; i < s->sizeofSelect; i++)
        s->pcrSelect[i] = (BYTE)(bits >> 8 * i);
    return list;
}

static uint32_t bits_of(const struct tpm_pcrs *pcrs, const TPML_PCR_SELECTION *list)
{
    uint32_t bits = 0;
    if (list->count != 1 || list->pcrSelections[0].hash != pcrs->bank)
        return 0;
    for (unsigned i = 0; i < list->pcrSelections[0].sizeofSelect && i < 3; i++)
        bits |= (uint32_t)list->pcrSelections[0].pcrSelect[i] << 8 * i;
    return bits;
}

/* The TPM gives as many values as fit into one answer and says which.
 * @param[out] got  Which ones they were; 0: none, there is nothing more to be had. */
static TSS2_RC read_some(struct tpm *tpm, const struct tpm_pcrs *pcrs, uint32_t left,
                         struct digest *all, uint32_t *got)
{
    TPML_PCR_SELECTION ask = selection_of(pcrs, left);
    TPML_PCR_SELECTION *said = NULL;
    TPML_DIGEST *values = NULL;
    *got = 0;
    TSS2_RC r =
        TPM_RUN(tpm, "PCR_Read", Esys_PCR_Read(tpm->esys, NO_SESSIONS, &ask, NULL, &said, &values));
    if (r != TSS2_RC_SUCCESS)
        return r;
    uint32_t bits = bits_of(pcrs, said) & left;
    if ((uint32_t)__builtin_popcount(bits) == values->count)
        *got = bits;
    for (uint32_t i = 0; *got != 0 && i < values->count; i++)
        digest_update(all, values->digests[i].buffer, values->digests[i].size);
    Esys_Free(said);
    Esys_Free(values);
    return TSS2_RC_SUCCESS;
}

static enum rc read_all(struct tpm *tpm, struct tpm_pcrs *pcrs, struct digest *all, struct err *err)
{
    /* Each answer takes something away, so this ends; the TPM answers in rising order. */
    for (uint32_t left = pcrs->selection; left != 0;) {
        uint32_t got = 0;
        TSS2_RC r = read_some(tpm, pcrs, left, all, &got);
        if (r != TSS2_RC_SUCCESS && tpm_outcome(r) != TPM_REFUSED)
            return TPM_FAIL(TPM_RUNNING, r, "PCR_Read", err);
        char text[TPM_PCRS_TEXT];
        tpm_pcrs_print(text, pcrs);
        if (got == 0)
            return FAIL(err, RC_REFUSED_CONFIG, "tss2", r, "the TPM has no PCRs %s", text);
        left &= ~got;
    }
    digest_final(all, pcrs->digest);
    return RC_OK;
}

enum rc tpm_pcrs_read(struct tpm *tpm, struct tpm_pcrs *pcrs, struct err *err)
{
    memset(pcrs->digest, 0, sizeof(pcrs->digest));
    if (pcrs->selection == 0)
        return RC_OK;
    struct digest all CLEANUP(digest_close) = {0};
    enum rc rc = digest_open(&all, DIGEST_SHA256, err);
    return rc == RC_OK ? read_all(tpm, pcrs, &all, err) : rc;
}

static enum rc other_pcrs(const struct tpm_lock *lock, struct err *err)
{
    char text[TPM_PCRS_TEXT];
    tpm_pcrs_print(text, &lock->pcrs);
    return FAIL(err, RC_HALT_SEEDS, "", 0,
                "the PCRs %s have other values than at sealing (firmware or boot was changed): if "
                "that was meant, 'tidemark reseal --from BACKUP'",
                text);
}

/* Bounds of W ---------------------------------------------------------------------------------- */

static enum rc refuse_window(const struct tpm_lock *lock, uint64_t w, struct err *err)
{
    if (lock->bound_high && w > lock->high)
        return FAIL(err, RC_HALT_SEEDS, "", (int64_t)w,
                    "the TPM refuses: the window is closed (W stands at %" PRIu64
                    ", the secret opened up to %" PRIu64 ")",
                    w, lock->high);
    return FAIL(err, RC_HALT_SEEDS, "", (int64_t)w,
                "the TPM refuses: the window is not yet open (W stands at %" PRIu64
                ", the secret opens from %" PRIu64 ")",
                w, lock->low);
}

static enum rc read_w(struct tpm *tpm, struct anchor *anchor, uint64_t *w, struct err *err)
{
    TSS2_RC r = nv_read_counter(tpm, anchor_w(anchor), w);
    if (r != TSS2_RC_SUCCESS)
        return anchor_finish(anchor, TPM_FAIL(TPM_RUNNING, r, "NV_Read of W", err));
    return RC_OK;
}

/* One comparison. The long-lived session authorises the read of W: its HMAC covers the pinned Name,
 * so that no other index can stand in. */
static enum rc bound(struct tpm *tpm, struct anchor *anchor, ESYS_TR session,
                     const struct tpm_lock *lock, uint64_t value, TPM2_EO operation,
                     struct err *err)
{
    TPM2B_OPERAND operand = {.size = OPERAND_LEN};
    be_put64(operand.buffer, value);
    TSS2_RC r = tpm_session_use(tpm, 0);
    if (r == TSS2_RC_SUCCESS)
        r = TPM_RUN(tpm, "PolicyNV",
                    Esys_PolicyNV(tpm->esys, anchor_w(anchor), anchor_w(anchor), session,
                                  tpm->session, NO_SESSION, &operand, 0, operation));
    if (r == TSS2_RC_SUCCESS)
        return RC_OK;
    if (r != TPM2_RC_POLICY)
        return anchor_finish(anchor, TPM_FAIL(TPM_RUNNING, r, "PolicyNV", err));
    uint64_t w = 0;
    enum rc rc = read_w(tpm, anchor, &w, err);
    return rc == RC_OK ? refuse_window(lock, w, err) : rc;
}

/* Policies ------------------------------------------------------------------------------------- */

static enum rc window_policy(struct tpm *tpm, struct anchor *anchor, const struct tpm_lock *lock,
                             ESYS_TR session, struct err *err)
{
    enum rc rc = RC_OK;
    if (lock->bound_low)
        rc = bound(tpm, anchor, session, lock, lock->low, TPM2_EO_UNSIGNED_GE, err);
    if (rc == RC_OK && lock->bound_high)
        rc = bound(tpm, anchor, session, lock, lock->high, TPM2_EO_UNSIGNED_LE, err);
    if (rc != RC_OK || lock->pcrs.selection == 0)
        return rc;
    TPM2B_DIGEST values = {.size = sizeof(lock->pcrs.digest)};
    memcpy(values.buffer, lock->pcrs.digest, sizeof(lock->pcrs.digest));
    TPML_PCR_SELECTION list = selection_of(&lock->pcrs, lock->pcrs.selection);
    TSS2_RC r =
        TPM_RUN(tpm, "PolicyPCR", Esys_PolicyPCR(tpm->esys, session, NO_SESSIONS, &values, &list));
    if (tpm_outcome(r) == TPM_REFUSED)
        return other_pcrs(lock, err);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "PolicyPCR", err);
    return RC_OK;
}

static enum rc owner_policy(struct tpm *tpm, ESYS_TR session, struct err *err)
{
    static const TPM2B_NONCE no_nonce;
    static const TPM2B_DIGEST no_digest;
    TSS2_RC r = tpm_session_use(tpm, 0);
    if (r == TSS2_RC_SUCCESS)
        r = TPM_RUN(tpm, "PolicySecret",
                    Esys_PolicySecret(tpm->esys, ESYS_TR_RH_OWNER, session, tpm->session,
                                      NO_SESSION, &no_nonce, &no_digest, &no_digest, 0, NULL,
                                      NULL));
    if (r == (TPM2_RC_BAD_AUTH | TPM2_RC_S | TPM2_RC_1))
        return TPM_FAIL_AS(RC_REFUSED_CONFIG, r, "the owner authorisation of the TPM is wrong",
                           err);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "PolicySecret", err);
    return RC_OK;
}

static enum rc satisfy(struct tpm *tpm, struct anchor *anchor, const struct tpm_lock *lock,
                       ESYS_TR session, struct err *err)
{
    enum rc rc = lock->kind == TPM_LOCK_OWNER ? owner_policy(tpm, session, err) : RC_OK;
    if (rc == RC_OK)
        rc = window_policy(tpm, anchor, lock, session, err);
    if (rc != RC_OK)
        return rc;
    TSS2_RC r =
        TPM_RUN(tpm, "PolicyAuthValue", Esys_PolicyAuthValue(tpm->esys, session, NO_SESSIONS));
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "PolicyAuthValue", err);
    return RC_OK;
}

/* The object ----------------------------------------------------------------------------------- */

static enum rc load(struct tpm *tpm, const struct sealed *sealed, ESYS_TR *object, struct err *err)
{
    *object = ESYS_TR_NONE;
    TSS2_RC r = tpm_session_use(tpm, TPMA_SESSION_DECRYPT);
    if (r == TSS2_RC_SUCCESS)
        r = TPM_RUN(tpm, "Load",
                    Esys_Load(tpm->esys, tpm->srk, tpm->session, NO_SESSION, &sealed->priv,
                              &sealed->pub, object));
    if (tpm_outcome(r) == TPM_REFUSED)
        return TPM_FAIL_AS(RC_HALT_SEEDS, r, "Load of a sealed blob", err);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "Load", err);
    return RC_OK;
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

/* @param[in] session  The long-lived one, or a policy session that is satisfied. */
static TSS2_RC take_secret(struct tpm *tpm, ESYS_TR object, ESYS_TR session, void *secret,
                           size_t secret_len, bool *fits)
{
    *fits = false;
    TPM2B_SENSITIVE_DATA *out = NULL;
    TSS2_RC r = Esys_TRSess_SetAttributes(
        tpm->esys, session, TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_ENCRYPT, 0xff);
    if (r == TSS2_RC_SUCCESS)
        r = TPM_RUN(tpm, "Unseal", Esys_Unseal(tpm->esys, object, session, NO_SESSION, &out));
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

static enum rc unsealed(TSS2_RC r, bool fits, struct err *err)
{
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

/* Opening -------------------------------------------------------------------------------------- */

struct opening {
    struct tpm *tpm;
    struct anchor *anchor;
    struct sealed sealed;
    ESYS_TR object;
};

static void opening_end(struct opening *o)
{
    tpm_tr_flush(o->tpm, &o->object);
}

/* The policy that the TPM holds for the blob must be the one of the lock that the blob names, or a
 * session that satisfies the lock would open something else than was meant. */
static enum rc same_policy(struct opening *o, struct err *err)
{
    struct tpm_lock *lock = &o->sealed.lock;
    if (lock->kind == TPM_LOCK_AUTH)
        return RC_OK;
    if (tpm_lock_bound(lock) && o->anchor == NULL)
        return FAIL(err, RC_HALT_SEEDS, "", 0,
                    "the blob is locked by a window counter, which none of these is");
    if (o->anchor != NULL) {
        enum rc rc = anchor_running(o->anchor, err);
        if (rc != RC_OK)
            return rc;
        memcpy(lock->w_name, anchor_w_name(o->anchor), TPM_NAME_LEN);
    }
    uint8_t policy[TPM_POLICY_LEN];
    tpm_lock_policy(policy, lock);
    if (!ct_equal(policy, o->sealed.pub.publicArea.authPolicy.buffer, sizeof(policy)))
        return FAIL(err, RC_HALT_SEEDS, "", 0,
                    "the blob is locked by another counter, or its lock was changed");
    return RC_OK;
}

static enum rc open_blob(struct opening *o, const uint8_t *blob, size_t blob_len, struct err *err)
{
    o->object = ESYS_TR_NONE;
    if (!sealed_parse(&o->sealed, blob, blob_len))
        return FAIL(err, RC_HALT_SEEDS, "", 0, "sealed blob is not well-formed");
    enum rc rc = same_policy(o, err);
    return rc == RC_OK ? load(o->tpm, &o->sealed, &o->object, err) : rc;
}

/* One try with a policy session of its own.
 * @param[out] again  The PCRs were extended between the policy and the Unseal. */
static enum rc through_policy(struct opening *o, void *secret, size_t secret_len, bool *again,
                              struct err *err)
{
    struct tpm *tpm = o->tpm;
    ESYS_TR session = ESYS_TR_NONE;
    bool fits = false;
    *again = false;
    TSS2_RC r = tpm_policy_session(tpm, &session);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "StartAuthSession of a policy", err);
    enum rc rc = satisfy(tpm, o->anchor, &o->sealed.lock, session, err);
    if (rc == RC_OK) {
        r = take_secret(tpm, o->object, session, secret, secret_len, &fits);
        *again = r == TPM2_RC_PCR_CHANGED;
        rc = *again ? TPM_FAIL_AS(RC_RETRY_ANCHOR, r, "PCRs keep changing", err)
                    : unsealed(r, fits, err);
    }
    tpm_tr_flush(tpm, &session);
    return rc;
}

static enum rc give_secret(struct opening *o, const uint8_t auth[AUTH_LEN], void *secret,
                           size_t secret_len, struct err *err)
{
    TPM2B_AUTH value CLEANUP(tpm_auth_wipe) = {0};
    tpm_auth_set(&value, auth, AUTH_LEN);
    TSS2_RC r = Esys_TR_SetAuth(o->tpm->esys, o->object, &value);
    if (r != TSS2_RC_SUCCESS)
        return TPM_FAIL(TPM_RUNNING, r, "Esys_TR_SetAuth", err);
    if (o->sealed.lock.kind == TPM_LOCK_AUTH) {
        bool fits = false;
        r = take_secret(o->tpm, o->object, o->tpm->session, secret, secret_len, &fits);
        return unsealed(r, fits, err);
    }
    for (unsigned i = 1;; i++) {
        struct err why = {0};
        bool again = false;
        enum rc rc = through_policy(o, secret, secret_len, &again, &why);
        if (rc == RC_OK || !again || i == PCR_TRIES) {
            if (rc != RC_OK && err != NULL)
                *err = why;
            return rc;
        }
    }
}

enum rc tpm_unseal(struct tpm *tpm, struct anchor *anchor, const uint8_t auth[AUTH_LEN],
                   const uint8_t *blob, size_t blob_len, void *secret, size_t secret_len,
                   struct err *err)
{
    MUST(secret_len >= 1);
    MUST(secret_len <= TPM_SECRET_MAX);
    memset(secret, 0, secret_len);
    struct opening o = {.tpm = tpm, .anchor = anchor};
    enum rc rc = open_blob(&o, blob, blob_len, err);
    if (rc == RC_OK)
        rc = give_secret(&o, auth, secret, secret_len, err);
    opening_end(&o);
    return rc;
}

static enum rc could_open(struct opening *o, struct err *err)
{
    const struct tpm_lock *lock = &o->sealed.lock;
    struct tpm_pcrs now = lock->pcrs;
    uint64_t w = 0;
    struct err why = {0};
    enum rc rc = tpm_pcrs_read(o->tpm, &now, &why);
    if (rc != RC_OK && rc != RC_REFUSED_CONFIG)
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    if (rc == RC_REFUSED_CONFIG || !ct_equal(now.digest, lock->pcrs.digest, sizeof(now.digest)))
        return other_pcrs(lock, err);
    if (!lock->bound_high)
        return rc;
    rc = read_w(o->tpm, o->anchor, &w, err);
    return rc == RC_OK && w > lock->high ? refuse_window(lock, w, err) : rc;
}

enum rc tpm_sealed_check(struct tpm *tpm, struct anchor *anchor, const uint8_t *blob,
                         size_t blob_len, struct err *err)
{
    struct opening o = {.tpm = tpm, .anchor = anchor};
    enum rc rc = open_blob(&o, blob, blob_len, err);
    if (rc == RC_OK)
        rc = could_open(&o, err);
    opening_end(&o);
    return rc;
}
