#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/document.h"
#include "base/file.h"
#include "signer/catchup.h"
#include "signer/exhaustion.h"
#include "signer/inside.h"
#include "signer/view.h"
#include "signer/wear.h"

/* The service ---------------------------------------------------------------------------------- */

static enum service_state worst_state(const struct signer *s, const struct clk_reading *clock)
{
    char text[CATCH_UP_TEXT];
    bool halted = false;
    bool away = false;
    bool by_time = false;
    bool acknowledge = false;
    for (size_t i = 0; i < s->key_count; i++) {
        enum rc_class class = rc_class(s->keys[i].rc);
        halted = halted || class == RC_CLASS_HALT || class == RC_CLASS_REFUSED;
        away = away || class == RC_CLASS_RETRY || catching_up(&s->keys[i], text);
        by_time = by_time || s->keys[i].plan.kind == PLAN_TIME;
        acknowledge = acknowledge || (class == RC_CLASS_OK &&
                                      exhaustion_waits(&s->keys[i], s->ledger, &s->config->settings,
                                                       now_s(s)) != 0);
    }
    if (halted)
        return STATE_HALTED;
    if (away || s->tpm_rc != RC_OK)
        return STATE_RECOVERING;
    if (by_time && !clock->safe)
        return STATE_CLOCK_UNSAFE;
    return acknowledge ? STATE_ACK_REQUIRED : STATE_OPERATIONAL;
}

enum service_state signer_state(const struct signer *s)
{
    return worst_state(s, &s->clock->reading);
}

/* Every answer says what kind of TPM it rests on (DESIGN section 6 rule 11). */
static void name_tpm(const struct signer *s, struct reply *reply)
{
    if (s->tpm_rc != RC_OK)
        return;
    const struct tpm_identity *id = s->world->tpm->identify(s->tpm);
    reply->tpm_virtual = id->is_virtual;
    (void)snprintf(reply->tpm, sizeof(reply->tpm), "%s %s", id->manufacturer, id->vendor);
}

static uint32_t worst_wear(const struct signer *s)
{
    uint32_t worst = 0;
    for (size_t i = 0; i < s->key_count; i++) {
        struct view_wear wear;
        wear_view(&s->keys[i], s->config->settings.nv_endurance, now_s(s), &wear);
        worst = wear.percent > worst ? wear.percent : worst;
    }
    return worst;
}

static void read_state(struct signer *s, struct reply *reply)
{
    struct clk_reading clock;
    timekeeper_look(s->clock, &clock);
    reply->state = worst_state(s, &clock);
    reply->clock_earliest_ms = clock.earliest_ns / 1000000;
    reply->clock_latest_ms = clock.latest_ns / 1000000;
    strcpy(reply->check_ledger, "ok");
    strcpy(reply->check_nodes, "ok");
    strcpy(reply->check_clock, "ok");
    strcpy(reply->check_tpm, "ok");
    reply->wear_percent = worst_wear(s);
    if (!clock.safe)
        clk_reasons_print(clock.reasons, reply->check_clock, sizeof(reply->check_clock));
    char text[TPMWATCH_TEXT];
    enum tpm_trouble trouble = tpmwatch_now(&s->watch, s->tpm, text);
    strcpy(reply->tpm_state, tpm_trouble_word(trouble));
    if (trouble != TPM_TROUBLE_NONE)
        (void)snprintf(reply->check_tpm, sizeof(reply->check_tpm), "%s: %s", reply->tpm_state,
                       text);
    else if (s->tpm_rc != RC_OK)
        (void)snprintf(reply->check_tpm, sizeof(reply->check_tpm), "%.90s", err_text(&s->tpm_err));
    for (size_t i = 0; i < s->key_count; i++) {
        const struct key *key = &s->keys[i];
        if (key->rc == RC_HALT_NODES)
            (void)snprintf(reply->check_nodes, sizeof(reply->check_nodes), "%.20s: %.70s",
                           key->record.name, err_text(&key->err));
        else if (key->rc != RC_OK)
            (void)snprintf(reply->check_ledger, sizeof(reply->check_ledger), "%.20s: %.70s",
                           key->record.name, err_text(&key->err));
    }
}

static enum rc read_keys(struct signer *s, const struct request *r, void **payload, size_t *len,
                         struct err *err)
{
    struct view_key *views = calloc(SIGNER_KEYS_MAX, sizeof(*views));
    if (views == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory");
    size_t count = 0;
    for (size_t i = 0; i < s->key_count; i++)
        if (r->key[0] == '\0' || strcmp(r->key, s->keys[i].record.name) == 0)
            view_key(&s->keys[i], s->ledger, &s->config->settings, now_s(s), &views[count++]);
    *payload = views;
    *len = count * sizeof(*views);
    return RC_OK;
}

/* One key ------------------------------------------------------------------------------------- */

static enum rc read_plan(const struct key *key, void **payload, size_t *len, struct err *err)
{
    char *text = NULL;
    enum rc rc = file_read(key->dirfd, KEY_FILE_PLAN, PLAN_TEXT_MAX, &text, len, err);
    *payload = text;
    return rc;
}

static enum rc read_windows(struct signer *s, const struct key *key, const struct request *r,
                            struct reply *reply, void **payload, size_t *len, struct err *err)
{
    struct view_window *views = calloc(REQUEST_LIST_MAX, sizeof(*views));
    if (views == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory");
    size_t count = 0;
    *payload = views;
    enum rc rc =
        view_windows(key, s->ledger, r->from, r->to, now_s(s), views, &count, &reply->next, err);
    *len = count * sizeof(*views);
    return rc;
}

static enum rc read_versions(struct signer *s, const struct key *key, const struct request *r,
                             struct reply *reply, void **payload, size_t *len, struct err *err)
{
    struct view_version *views = calloc(REQUEST_LIST_MAX, sizeof(*views));
    if (views == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory");
    size_t count = 0;
    *payload = views;
    enum rc rc =
        view_versions(key, s->ledger, r->version, r->from, views, &count, &reply->next, err);
    *len = count * sizeof(*views);
    return rc;
}

static enum rc read_index(struct signer *s, const struct key *key, const struct request *r,
                          void **payload, size_t *len, struct err *err)
{
    struct view_index *view = calloc(1, sizeof(*view));
    if (view == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory");
    *payload = view;
    *len = sizeof(*view);
    return view_index(key, s->ledger, r->from, now_s(s), view, err);
}

/* The entry, with the attestation that belongs to it, if it is one of those that have one. */
static enum rc read_receipt(struct signer *s, const struct key *key, uint64_t seq, void **payload,
                            size_t *len, struct err *err)
{
    char *entry = NULL;
    char *document = NULL;
    char *joined = NULL;
    struct err none = {0};
    enum rc rc = ledger_entry_json(s->ledger, seq, &entry, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_attestation_of(s->ledger, key->record.id, seq, &document, &none);
    if (rc == RC_OK)
        rc = attest_receipt_join(&joined, entry, document, &none);
    if (rc == RC_REFUSED_NOT_FOUND) {
        joined = entry;
        entry = NULL;
        rc = RC_OK;
    }
    free(entry);
    free(document);
    if (rc != RC_OK)
        return FAIL(err, rc, none.origin, none.native, "%s", err_text(&none));
    *payload = joined;
    *len = strlen(joined);
    return RC_OK;
}

static enum rc read_signature(struct signer *s, const struct key *key, const struct request *r,
                              struct reply *reply, void **payload, size_t *len, struct err *err)
{
    static uint8_t signature[LEDGER_SIGNATURE_MAX];
    struct ledger_receipt receipt;
    enum rc rc = ledger_receipt_by_id(s->ledger, key->record.id, r->id, &receipt, signature, err);
    if (rc != RC_OK)
        return rc;
    view_signature(key, &receipt, &reply->signature);
    view_remaining(key, s->ledger, receipt.window, now_s(s), &reply->signature.remaining_window,
                   &reply->signature.remaining_key);
    reply->signature.checkpoint_size = ledger_size(s->ledger);
    if (r->op == REQUEST_RECEIPT)
        return read_receipt(s, key, receipt.seq, payload, len, err);
    uint8_t *copy = malloc(receipt.signature_len);
    if (copy == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory");
    memcpy(copy, signature, receipt.signature_len);
    *payload = copy;
    *len = receipt.signature_len;
    return RC_OK;
}

static enum rc read_attest(struct signer *s, struct key *key, const struct request *r,
                           struct reply *reply, void **payload, size_t *len, struct err *err)
{
    struct attest_job job = attest_job_of(s, key);
    const struct time_source *t = s->world->time;
    uint64_t wait_s = 0;
    uint64_t remaining = 0;
    char *text = NULL;
    job.nonce = r->nonce;
    job.nonce_len = r->nonce_len;
    if (key->rc != RC_OK)
        return FAIL(err, key->rc, key->err.origin, key->err.native, "%s", err_text(&key->err));
    if (!bucket_take(&s->attest_bucket, t->raw_ns(t->ctx), &wait_s, &remaining)) {
        reply->retry_after_s = (int64_t)wait_s;
        return FAIL(err, RC_RETRY_RATE, "", 0,
                    "%" PRIu64 " attestations a minute are allowed: try again in %" PRIu64 " s",
                    s->config->attest_per_minute, wait_s);
    }
    enum rc rc = attest_make(&job, &text, err);
    if (rc != RC_OK)
        note_attest(s, key, rc, err);
    *payload = text;
    *len = text != NULL ? strlen(text) : 0;
    return rc;
}

static enum rc read_forecast(struct signer *s, const struct key *key, void **payload, size_t *len,
                             struct err *err)
{
    struct view_forecast *view = calloc(1, sizeof(*view));
    if (view == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory");
    exhaustion_forecast(key, s->ledger, &s->config->settings, now_s(s), view);
    *payload = view;
    *len = sizeof(*view);
    return RC_OK;
}

static enum rc read_warnings(struct signer *s, void **payload, size_t *len, struct err *err)
{
    struct view_warning *views = calloc(SIGNER_KEYS_MAX, sizeof(*views));
    if (views == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory");
    size_t count = 0;
    for (size_t i = 0; i < s->key_count; i++)
        count += exhaustion_view(&s->keys[i], &views[count]) ? 1 : 0;
    *payload = views;
    *len = count * sizeof(*views);
    return RC_OK;
}

static enum rc read_clock(struct signer *s, void **payload, size_t *len, struct err *err)
{
    struct view_clock *view = calloc(1, sizeof(*view));
    if (view == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory");
    clockbook_view(&s->book, view);
    *payload = view;
    *len = sizeof(*view);
    return RC_OK;
}

static void preview_view(struct signer *s, const struct key *key, const struct job *job)
{
    struct signature_view *v = &job->reply->signature;
    *v = (struct signature_view){.window = job->place.window, .index = job->place.index};
    text_copy(v->key, sizeof(v->key), key->record.name);
    text_copy(v->version, sizeof(v->version), job->version);
    text_copy(v->slot, sizeof(v->slot), job->slot);
    memcpy(v->plan_sha256, key->plan.sha256, SHA256_LEN);
    view_remaining(key, s->ledger, v->window, now_s(s), &v->remaining_window, &v->remaining_key);
    job->reply->window = (int64_t)v->window;
}

/* The same refusals as a signing request, and neither index, token nor window is used. */
static enum rc read_preview(struct signer *s, struct key *key, const struct request *r,
                            struct reply *reply, struct err *err)
{
    struct job job = {.request = r, .reply = reply, .preview = true, .artifact.fd = -1};
    struct batch batch = batch_of(s, key);
    enum rc rc = key->rc != RC_OK ? RC_OK : artifact_of_preview(&job.artifact, r, &key->plan, err);
    if (key->rc != RC_OK)
        job_refuse(&job, key->rc, &key->err);
    else if (rc == RC_OK && key->plan.kind == PLAN_VERSION)
        rc = batch_preview_version(&batch, &job, err);
    else if (rc == RC_OK)
        rc = batch_preview_window(&batch, &job, err);
    free(job.signature);
    if (rc != RC_OK)
        return rc;
    if (!job.done)
        preview_view(s, key, &job);
    if (reply->rc != RC_OK)
        return FAIL(err, (enum rc)reply->rc, "", 0, "%s", reply->text);
    return RC_OK;
}

static enum rc read_meters(struct signer *s, void **payload, size_t *len, struct err *err)
{
    struct clk_reading clock;
    size_t size = sizeof(struct view_meters) + s->key_count * sizeof(struct view_meter);
    struct view_meters *m = calloc(1, size);
    if (m == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory");
    struct view_meter *keys = (struct view_meter *)(void *)(m + 1);
    timekeeper_look(s->clock, &clock);
    /* Not clockbook_view(): a monitor is nobody to whom a jump was shown. */
    text_copy(m->clock_state, sizeof(m->clock_state), clk_mode_name(s->clock->verdict.mode));
    m->open = true;
    m->clock_safe = clock.safe;
    m->clock_jump = s->clock->verdict.quarantine.id != 0;
    m->clock_error_us = clock.error_ns == INT64_MAX ? REQUEST_NONE : clock.error_ns / 1000;
    m->clock_offset_us = clock.offset_ns / 1000;
    m->state = worst_state(s, &clock);
    m->entries = ledger_size(s->ledger);
    if (s->tpm_rc == RC_OK && s->world->tpm->latency != NULL) {
        struct tpm_latency latency;
        s->world->tpm->latency(s->tpm, &latency);
        m->tpm_median_us = latency.median_us;
        m->tpm_p90_us = latency.p90_us;
        m->tpm_max_us = latency.max_us;
        m->tpm_increment = latency.increments;
    }
    for (size_t i = 0; i < s->key_count; i++) {
        struct view_forecast forecast;
        view_meter(&s->keys[i], s->ledger, &s->config->settings, now_s(s), &keys[i]);
        exhaustion_forecast(&s->keys[i], s->ledger, &s->config->settings, now_s(s), &forecast);
        keys[i].exhausted_s = forecast.exhausted_s;
        keys[i].unacknowledged = forecast.waits_percent != 0;
    }
    *payload = m;
    *len = size;
    return RC_OK;
}

/* Any question -------------------------------------------------------------------------------- */

static enum rc read_of_key(struct signer *s, const struct request *r, struct reply *reply,
                           void **payload, size_t *len, struct err *err)
{
    struct key *key = find_key(s, r->key);
    if (key == NULL)
        return FAIL(err, RC_REFUSED_NO_KEY, "", 0, "there is no key '%s'", r->key);
    /* A key whose plan could not be loaded has no map to answer from. */
    if (key->plan.window_size == 0)
        return FAIL(err, key->rc, "", 0, "%s", err_text(&key->err));
    switch (r->op) {
    case REQUEST_PLAN:
        return read_plan(key, payload, len, err);
    case REQUEST_WINDOWS:
        return read_windows(s, key, r, reply, payload, len, err);
    case REQUEST_VERSIONS:
        return read_versions(s, key, r, reply, payload, len, err);
    case REQUEST_INDEX:
        return read_index(s, key, r, payload, len, err);
    case REQUEST_SIGNATURE:
    case REQUEST_RECEIPT:
        return read_signature(s, key, r, reply, payload, len, err);
    case REQUEST_ATTEST:
        return read_attest(s, key, r, reply, payload, len, err);
    case REQUEST_FORECAST:
        return read_forecast(s, key, payload, len, err);
    case REQUEST_PREVIEW:
        return read_preview(s, key, r, reply, err);
    default:
        return FAIL(err, RC_REFUSED_INPUT, "", r->op, "not a question");
    }
}

void signer_read(struct signer *s, const struct request *r, struct reply *reply, void **payload,
                 size_t *payload_len)
{
    struct err err = {0};
    enum rc rc = RC_OK;
    *payload = NULL;
    *payload_len = 0;
    reply_init(reply, r);
    name_tpm(s, reply);
    if (r->op == REQUEST_STATE) {
        read_state(s, reply);
    } else if (r->op == REQUEST_KEYS) {
        if (r->key[0] != '\0' && find_key(s, r->key) == NULL)
            rc = FAIL(&err, RC_REFUSED_NO_KEY, "", 0, "there is no key '%s'", r->key);
        else
            rc = read_keys(s, r, payload, payload_len, &err);
        if (s->tpm_rc == RC_OK)
            read_state(s, reply);
    } else if (r->op == REQUEST_WARNINGS) {
        rc = read_warnings(s, payload, payload_len, &err);
    } else if (r->op == REQUEST_CLOCK) {
        rc = read_clock(s, payload, payload_len, &err);
    } else if (r->op == REQUEST_METERS) {
        rc = read_meters(s, payload, payload_len, &err);
        read_state(s, reply);
    } else {
        rc = read_of_key(s, r, reply, payload, payload_len, &err);
    }
    reply->rc = (int32_t)rc;
    if (rc == RC_OK)
        return;
    free(*payload);
    *payload = NULL;
    *payload_len = 0;
    (void)snprintf(reply->text, sizeof(reply->text), "%s", err_text(&err));
}

/* Acknowledgements ---------------------------------------------------------------------------- */

static enum rc may_operate(const struct signer *s, const struct request *r, const struct key *key,
                           struct err *err)
{
    if (s->config->access == NULL)
        return RC_OK;
    return access_check_key(s->config->access, r->requester, ROLE_OPERATOR, key->record.name, err);
}

/* The windows that a jump closes may be those of any key, so this is for who may use all of them.
 */
static enum rc acknowledge_jump(struct signer *s, const struct request *r, void **payload,
                                size_t *len, struct err *err)
{
    const struct clk_acknowledgement said = {
        .id = r->ack_id, .utc_s = r->ack_utc_s, .windows = r->ack_windows};
    enum rc rc = RC_OK;
    for (size_t i = 0; i < s->key_count && rc == RC_OK; i++)
        rc = may_operate(s, r, &s->keys[i], err);
    if (rc == RC_OK)
        rc = clockbook_acknowledge(&s->book, &said, r->requester, now_s(s), err);
    return rc == RC_OK ? read_clock(s, payload, len, err) : rc;
}

/* Ids are entries of the ledger, so no two keys have the same. */
static enum rc acknowledge_warning(struct signer *s, const struct request *r, void **payload,
                                   size_t *len, struct err *err)
{
    struct view_warning view;
    for (size_t i = 0; i < s->key_count; i++) {
        struct key *key = &s->keys[i];
        if (!exhaustion_view(key, &view) || view.id != (uint64_t)r->from)
            continue;
        enum rc rc = may_operate(s, r, key, err);
        if (rc == RC_OK)
            rc = exhaustion_acknowledge(key, s->ledger, view.id, r->sentence, r->requester,
                                        now_s(s), err);
        return rc == RC_OK ? read_warnings(s, payload, len, err) : rc;
    }
    return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "there is no warning %" PRId64, r->from);
}

enum rc signer_acknowledge(struct signer *s, const struct request *r, struct reply *reply,
                           void **payload, size_t *payload_len, struct err *err)
{
    struct err e = {0};
    *payload = NULL;
    *payload_len = 0;
    reply_init(reply, r);
    name_tpm(s, reply);
    enum rc rc = s->config->access == NULL
                     ? RC_OK
                     : access_check_role(s->config->access, r->requester, ROLE_OPERATOR, &e);
    if (rc == RC_OK)
        rc = r->op == REQUEST_WARNING_ACK ? acknowledge_warning(s, r, payload, payload_len, &e)
                                          : acknowledge_jump(s, r, payload, payload_len, &e);
    reply->rc = (int32_t)rc;
    if (rc == RC_OK)
        return RC_OK;
    if (rc == RC_RETRY_CLOCK)
        reply->retry_after_s = TIMEKEEPER_WAIT_S;
    (void)snprintf(reply->text, sizeof(reply->text), "%s", err_text(&e));
    if (rc_class(rc) != RC_CLASS_HALT)
        return RC_OK;
    return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
}
