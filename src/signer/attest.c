#include "signer/attest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/verify.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/log.h"

#define NS_PER_S INT64_C(1000000000)

static bool is_halt(enum rc rc)
{
    return rc_class(rc) == RC_CLASS_HALT;
}

static void say(const struct key *key, enum log_level level, const struct err *err,
                const char *what)
{
    log_event(level, &(struct log_fields){.key = key->record.name, .index = -1, .err = err},
              "attestation: %s", what);
}

/* Start -----------------------------------------------------------------------------------------*/

static enum rc record_keys(struct key *key, struct ledger *ledger, const struct attest_keys *keys,
                           int64_t now_s, struct err *err)
{
    enum rc rc = ledger_begin(ledger, err);
    if (rc == RC_OK)
        rc = ledger_add_attest_keys(ledger, key->record.id, keys, now_s, err);
    if (rc != RC_OK) {
        ledger_rollback(ledger);
        return rc;
    }
    rc = ledger_commit(ledger, err);
    if (rc == RC_OK)
        say(key, LOG_LEVEL_NOTICE, NULL, "the TPM's attestation key was recorded");
    return rc;
}

static enum rc check_keys(const struct attest_keys *recorded, const struct attest_keys *found,
                          struct err *err)
{
    if (ct_equal(recorded->ak.name, found->ak.name, TPM_NAME_LEN))
        return RC_OK;
    return FAIL(err, RC_REFUSED_ATTEST, "", 0,
                "the TPM's attestation key is not the one that was recorded");
}

static enum rc start(struct key *key, const struct world *world, void *tpm, struct ledger *ledger,
                     int64_t now_s, struct err *err)
{
    struct attest_keys recorded, found;
    struct err none = {0};
    enum rc rc = ledger_attest_keys(ledger, key->record.id, &recorded, &none);
    if (rc != RC_OK && rc != RC_REFUSED_NOT_FOUND)
        return FAIL(err, rc, none.origin, none.native, "%s", err_text(&none));
    bool known = rc == RC_OK;
    rc = world->tpm->attest_keys(tpm, !known, &found, err);
    if (rc == RC_OK && known)
        rc = check_keys(&recorded, &found, err);
    if (rc == RC_OK && !known)
        rc = record_keys(key, ledger, &found, now_s, err);
    if (rc == RC_OK)
        key->attest = known ? recorded : found;
    return rc;
}

enum rc attest_start(struct key *key, const struct world *world, void *tpm, struct ledger *ledger,
                     int64_t now_s, struct err *err)
{
    struct err why = {0};
    int64_t at_s = 0;
    key->attest_at_s = -1;
    enum rc rc = start(key, world, tpm, ledger, now_s, &why);
    if (is_halt(rc))
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    if (rc != RC_OK)
        say(key, LOG_LEVEL_NOTICE, &why, "key has no attestations");
    rc = ledger_attested_at(ledger, key->record.id, &at_s, NULL);
    if (rc == RC_OK)
        key->attest_at_s = at_s;
    return rc == RC_REFUSED_NOT_FOUND ? RC_OK : rc;
}

/* Making one ------------------------------------------------------------------------------------*/

static enum rc fill_bound(const struct attest_job *job, struct attest_bound *b, struct err *err)
{
    const struct key *key = job->key;
    const struct anchor_pins *pins = &key->record.pins;
    const struct tpm_identity *id = job->world->tpm->identify(job->tpm);
    MUST(job->nonce_len <= sizeof(b->nonce));
    text_copy(b->key, sizeof(b->key), key->record.name);
    memcpy(b->plan_sha256, key->record.plan_sha256, SHA256_LEN);
    digest_buffer(DIGEST_SHA256, b->public_sha256, key->record.public_key,
                  key->record.public_key_len);
    memcpy(b->nonce, job->nonce, job->nonce_len);
    b->nonce_len = job->nonce_len;
    b->entries = ledger_size(job->ledger);
    b->at_s = job->now_s;
    memcpy(b->ak_name, key->attest.ak.name, TPM_NAME_LEN);
    memcpy(b->ek_name, key->attest.ek.name, TPM_NAME_LEN);
    memcpy(b->w_name, pins->w_name, TPM_NAME_LEN);
    memcpy(b->l_name, pins->l_name, TPM_NAME_LEN);
    memcpy(b->a_name, pins->a_name, TPM_NAME_LEN);
    b->w_base = pins->w_base;
    b->l_first = pins->l_first;
    (void)snprintf(b->tpm, sizeof(b->tpm), "%s %s", id->manufacturer, id->vendor);
    b->tpm_virtual = id->is_virtual;
    return ledger_head(job->ledger, key->record.id, b->head, err);
}

/* As any reader would, and more: the numbers must be the ones that this process signs by. */
static enum rc check(const struct attest_job *job, struct attest_document *doc, struct err *err)
{
    struct err why = {0};
    const struct attest_expected want = {
        .nonce = job->nonce, .nonce_len = job->nonce_len, .ak = job->key->attest.ak.point};
    enum rc rc = attest_verify(doc, &want, &doc->meaning, &why);
    if (rc == RC_REFUSED_SIGNATURE)
        return FAIL(err, RC_REFUSED_ATTEST, why.origin, why.native,
                    "what the TPM signed does not verify: %s", err_text(&why));
    if (rc != RC_OK)
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    if (doc->meaning.w != job->key->w || doc->meaning.l != job->key->l)
        return FAIL(err, RC_HALT_CANARY, "", 0,
                    "the TPM attests W %" PRIu64 " and L %" PRIu64 ", and this process signs by "
                    "%" PRIu64 " and %" PRIu64,
                    doc->meaning.w, doc->meaning.l, job->key->w, job->key->l);
    return RC_OK;
}

static enum rc print(const struct attest_document *doc, char **text, struct err *err)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    attest_document_print(&j, doc);
    *text = jcs_finish(&j) ? strdup(j.text) : NULL;
    if (*text == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for an attestation");
    return RC_OK;
}

static bool has_keys(const struct key *key)
{
    static const struct attest_keys none;
    return !ct_equal(&key->attest, &none, sizeof(none));
}

enum rc attest_make(const struct attest_job *job, char **text, struct err *err)
{
    struct attest_document doc = {0};
    uint8_t digest[32];
    *text = NULL;
    if (!has_keys(job->key))
        return FAIL(err, RC_REFUSED_ATTEST, "", 0,
                    "this device has no attestation key for '%s'; the log of its start says why",
                    job->key->record.name);
    memcpy(doc.ak, job->key->attest.ak.point, P256_POINT_LEN);
    memcpy(doc.ek, job->key->attest.ek.point, P256_POINT_LEN);
    enum rc rc = fill_bound(job, &doc.bound, err);
    if (rc == RC_OK)
        rc = attest_digest(digest, &doc.bound, err);
    if (rc == RC_OK)
        rc = job->world->tpm->attest(job->key->anchor, doc.bound.ak_name, digest, &doc.evidence,
                                     err);
    if (rc == RC_OK)
        rc = check(job, &doc, err);
    return rc == RC_OK ? print(&doc, text, err) : rc;
}

/* One receipt in each period --------------------------------------------------------------------*/

static void free_chars(char **p)
{
    free(*p);
}

/* Is the entry the newest of the key? Its hash is the head then. */
static enum rc is_head(const struct attest_job *job, uint64_t seq, bool *newest, struct err *err)
{
    char *json CLEANUP(free_chars) = NULL;
    uint8_t head[SHA256_LEN], hash[SHA256_LEN];
    static const uint8_t leaf = 0x00; /* RFC 6962 §2.1 */
    *newest = false;
    enum rc rc = ledger_head(job->ledger, job->key->record.id, head, err);
    if (rc == RC_OK)
        rc = ledger_entry_json(job->ledger, seq, &json, err);
    if (rc != RC_OK)
        return rc;
    sha256_2(hash, &leaf, 1, json, strlen(json));
    *newest = ct_equal(hash, head, SHA256_LEN);
    return RC_OK;
}

static enum rc store(const struct attest_job *job, uint64_t receipt, const char *text,
                     struct err *err)
{
    enum rc rc = ledger_begin(job->ledger, err);
    if (rc == RC_OK)
        rc = ledger_add_attestation(job->ledger, job->key->record.id, receipt, text, job->now_s,
                                    err);
    if (rc != RC_OK) {
        ledger_rollback(job->ledger);
        return rc;
    }
    return ledger_commit(job->ledger, err);
}

static enum rc make_and_store(const struct attest_job *job, const struct unattested *receipt,
                              struct err *err)
{
    char *text CLEANUP(free_chars) = NULL;
    bool newest = false;
    struct attest_job asked = *job;
    asked.nonce = receipt->id;
    asked.nonce_len = sizeof(receipt->id);
    enum rc rc = is_head(job, receipt->seq, &newest, err);
    if (rc == RC_OK && !newest)
        return RC_OK;
    if (rc == RC_OK)
        rc = attest_make(&asked, &text, err);
    if (rc == RC_OK)
        rc = store(job, receipt->seq, text, err);
    if (rc == RC_OK)
        job->key->attest_at_s = job->now_s;
    return rc;
}

enum rc attest_receipt(const struct attest_job *job, int64_t period_s, struct err *err)
{
    struct key *key = job->key;
    const struct time_source *t = job->world->time;
    const struct unattested receipt = key->unattested;
    key->unattested = (struct unattested){0};
    if (receipt.seq == 0 || period_s == 0 || !has_keys(key))
        return RC_OK;
    if (key->attest_at_s >= 0 && key->attest_at_s / period_s == job->now_s / period_s)
        return RC_OK;
    int64_t now_ns = t->raw_ns(t->ctx);
    if (now_ns < key->attest_retry_ns)
        return RC_OK;
    struct err why = {0};
    enum rc rc = make_and_store(job, &receipt, &why);
    if (is_halt(rc))
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    if (rc != RC_OK) {
        key->attest_retry_ns = now_ns + ATTEST_RETRY_S * NS_PER_S;
        say(key, LOG_LEVEL_WARNING, &why, "the receipt is without an attestation");
    }
    return RC_OK;
}
