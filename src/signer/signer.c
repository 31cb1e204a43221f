#include "signer/signer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/document.h"
#include "base/file.h"
#include "base/log.h"
#include "policy/wear.h"
#include "signer/attest.h"
#include "signer/bulk.h"
#include "signer/catchup.h"
#include "signer/clockbook.h"
#include "signer/exhaustion.h"
#include "signer/limits.h"
#include "signer/tpmwatch.h"
#include "signer/view.h"
#include "signer/wear.h"

/* How many attestations may be asked for without a pause: behind them the next signature waits. */
#define ATTEST_BURST 2

struct signer {
    const struct signer_config *config;
    const struct world *world;
    struct timekeeper *clock;
    struct ledger *ledger;
    void *tpm;
    enum rc tpm_rc;
    struct err tpm_err;
    struct tpmwatch watch;
    struct key keys[SIGNER_KEYS_MAX];
    size_t key_count;
    struct bucket attest_bucket;
    enum rc attest_rc; /* a HALT that an attestation has found */
    struct err attest_err;
    struct clockbook book;
};

void reply_init(struct reply *reply, const struct request *request)
{
    *reply = (struct reply){.magic = REPLY_MAGIC,
                            .op = request->op,
                            .generation = request->generation,
                            .number = request->number,
                            .next = REQUEST_NONE,
                            .retry_after_s = REQUEST_NONE,
                            .burned_index = REQUEST_NONE,
                            .window = REQUEST_NONE,
                            .window_opens_s = REQUEST_NONE};
}

static int64_t now_s(const struct signer *s)
{
    return s->world->time->real_ns(s->world->time->ctx) / INT64_C(1000000000);
}

/* Opening ------------------------------------------------------------------------------------- */

static const struct key_limits *limits_of(const struct signer_config *config, const char *name)
{
    static const struct key_limits none;
    const struct key_limits *found = &none;
    for (size_t i = 0; i < config->limits_count; i++) {
        if (strcmp(config->limits[i].name, name) == 0)
            return &config->limits[i].limits;
        if (config->limits[i].name[0] == '\0')
            found = &config->limits[i].limits;
    }
    return found;
}

static void log_key(const struct key *key)
{
    struct log_fields fields = {.key = key->record.name, .index = -1};
    if (key->rc == RC_OK) {
        log_event(LOG_LEVEL_NOTICE, &fields, "key is ready: window %" PRId64 ", epoch %" PRIu64,
                  key_floor(key), key->l - key->record.pins.l_first);
        return;
    }
    fields.err = &key->err;
    log_event(LOG_LEVEL_ERROR, &fields, "key does not sign");
}

static void open_key(struct signer *s, struct key *key, const struct ledger_key *record)
{
    key_open(key, record, s->config->state_dirfd, s->world, s->tpm, s->ledger, &s->config->settings,
             limits_of(s->config, record->name));
    wear_remember(key, s->ledger);
    exhaustion_remember(key, s->ledger);
    if (key->rc == RC_OK)
        key->rc = attest_start(key, s->world, s->tpm, s->ledger, now_s(s), &key->err);
    if (s->tpm == NULL && key->rc == RC_RETRY_ANCHOR) {
        key->rc = s->tpm_rc;
        key->err = s->tpm_err;
    }
}

static enum rc open_keys(struct signer *s, struct err *err)
{
    uint32_t count = ledger_key_count(s->ledger);
    if (count > SIGNER_KEYS_MAX)
        return FAIL(err, RC_REFUSED_RANGE, "", count, "%" PRIu32 " keys, at most %d are supported",
                    count, SIGNER_KEYS_MAX);
    for (uint32_t id = 1; id <= count; id++) {
        struct ledger_key record;
        enum rc rc = ledger_key_by_id(s->ledger, id, &record, err);
        if (rc != RC_OK)
            return rc;
        struct key *key = &s->keys[s->key_count++];
        open_key(s, key, &record);
        log_key(key);
    }
    return RC_OK;
}

static enum rc start_watch(struct signer *s, struct err *err)
{
    const struct tpmwatch_start start = {.tpm = s->tpm,
                                         .tpm_err = &s->tpm_err,
                                         .keys = s->keys,
                                         .key_count = s->key_count,
                                         .ledger = s->ledger,
                                         .now_s = now_s(s)};
    return tpmwatch_start(&s->watch, s->world, s->config->settings.tpm_slow_ms, &start, err);
}

enum rc signer_open(struct signer **signer, const struct signer_config *config,
                    const struct world *world, struct timekeeper *clock, struct err *err)
{
    *signer = NULL;
    struct signer *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory");
    s->config = config;
    s->world = world;
    s->clock = clock;
    bucket_init(&s->attest_bucket, config->attest_per_minute > 0 ? ATTEST_BURST : 0,
                config->attest_per_minute * 60, world->time->raw_ns(world->time->ctx));
    struct ledger_options options = {.path = config->ledger_path, .vfs = config->ledger_vfs};
    enum rc rc = ledger_open(&s->ledger, &options, err);
    if (rc == RC_OK) {
        s->tpm_rc = world->tpm->open(world->tpm_ctx, &s->tpm, &s->tpm_err);
        if (s->tpm_rc != RC_OK)
            log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &s->tpm_err},
                      "the TPM cannot be used");
        rc = open_keys(s, err);
    }
    if (rc == RC_OK)
        rc = start_watch(s, err);
    if (rc == RC_OK) {
        s->book = (struct clockbook){.ledger = s->ledger,
                                     .clock = clock,
                                     .keys = s->keys,
                                     .key_count = s->key_count,
                                     .tpm_there = s->tpm_rc == RC_OK};
        rc = clockbook_open(&s->book, err);
    }
    if (rc != RC_OK) {
        signer_close(&s, false);
        return rc;
    }
    *signer = s;
    return RC_OK;
}

static enum rc settle(struct signer *s, bool stopping, struct err *err);

static void settle_all(struct signer *s)
{
    struct err err = {0};
    if (settle(s, true, &err) != RC_OK)
        log_event(LOG_LEVEL_WARNING, &(struct log_fields){.index = -1, .err = &err},
                  "the anchor could not be brought up to date at the stop");
}

void signer_close(struct signer **signer, bool settle)
{
    struct signer *s = *signer;
    if (s == NULL)
        return;
    if (settle)
        settle_all(s);
    for (size_t i = 0; i < s->key_count; i++)
        key_close(&s->keys[i], s->world);
    if (s->tpm != NULL)
        s->world->tpm->close(s->world->tpm_ctx, &s->tpm);
    ledger_close(&s->ledger);
    free(s);
    *signer = NULL;
}

bool signer_healthy(const struct signer *s)
{
    for (size_t i = 0; i < s->key_count; i++)
        if (s->keys[i].rc != RC_OK)
            return false;
    return s->tpm_rc == RC_OK;
}

/* A TPM that does not do what it should now may do it later; that it is another one, or lacks an
 * index, does not pass. */
static bool trouble_may_pass(enum tpm_trouble trouble)
{
    return trouble != TPM_TROUBLE_NONE && trouble != TPM_TROUBLE_CLEARED &&
           trouble != TPM_TROUBLE_REPLACED && trouble != TPM_TROUBLE_INDEX;
}

static bool may_pass(enum rc rc, const struct err *err)
{
    return rc_class(rc) == RC_CLASS_RETRY || rc == RC_HALT_ANCHOR || ledger_may_pass(err) ||
           (rc != RC_OK && trouble_may_pass(tpm_trouble_of(err)));
}

bool signer_may_recover(const struct signer *s)
{
    bool away = may_pass(s->tpm_rc, &s->tpm_err);
    for (size_t i = 0; i < s->key_count; i++)
        away = away || may_pass(s->keys[i].rc, &s->keys[i].err);
    return away;
}

/* Did the TPM turn down one command on a connection that goes on? */
static bool only_refused(const struct key *key)
{
    enum tpm_trouble trouble = tpm_trouble_of(&key->err);
    return trouble == TPM_TROUBLE_BUSY || trouble == TPM_TROUBLE_LOCKOUT ||
           trouble == TPM_TROUBLE_REFUSED;
}

static void retry_key(struct signer *s, struct key *key)
{
    struct ledger_key record = key->record;
    struct err before = key->err;
    key_close(key, s->world);
    open_key(s, key, &record);
    if (strcmp(before.text, key->err.text) != 0)
        log_key(key);
}

bool signer_retry_keys(struct signer *s)
{
    if (s->tpm == NULL || may_pass(s->tpm_rc, &s->tpm_err))
        return false;
    for (size_t i = 0; i < s->key_count; i++)
        if (may_pass(s->keys[i].rc, &s->keys[i].err) && !only_refused(&s->keys[i]))
            return false;
    for (size_t i = 0; i < s->key_count; i++)
        if (may_pass(s->keys[i].rc, &s->keys[i].err))
            retry_key(s, &s->keys[i]);
    struct err err = {0};
    return start_watch(s, &err) == RC_OK;
}

static struct key *find_key(const struct signer *s, const char *name)
{
    for (size_t i = 0; i < s->key_count; i++)
        if (strcmp(s->keys[i].record.name, name) == 0)
            return (struct key *)(uintptr_t)&s->keys[i];
    return NULL;
}

bool signer_key_at(const struct signer *s, size_t i, const char **name, enum plan_message *mode)
{
    if (i >= s->key_count)
        return false;
    *name = s->keys[i].record.name;
    *mode = s->keys[i].plan.message;
    return true;
}

bool signer_message_mode(const struct signer *s, const char *name, enum plan_message *mode)
{
    const struct key *key = find_key(s, name);
    *mode = key != NULL ? key->plan.message : PLAN_RAW;
    return key != NULL;
}

void signer_foresee(struct signer *s, const struct request *request, struct artifact_pass *pass)
{
    struct key *key = find_key(s, request->key);
    if (key != NULL)
        batch_foresee(key, request, pass);
}

/* Signing ------------------------------------------------------------------------------------- */

static struct batch batch_of(struct signer *s, struct key *key)
{
    return (struct batch){.key = key,
                          .world = s->world,
                          .tpm = s->tpm,
                          .ledger = s->ledger,
                          .settings = &s->config->settings,
                          .access = s->config->access,
                          .clock = s->clock,
                          .now_s = now_s(s)};
}

static enum rc sign_for_key(struct signer *s, struct key *key, struct job *jobs, size_t count,
                            struct err *err)
{
    for (size_t i = 0; i < count; i++)
        jobs[i].reply->tpm_virtual = key->is_virtual;
    if (key->rc != RC_OK) {
        char text[TPMWATCH_TEXT];
        enum tpm_trouble trouble = tpmwatch_now(&s->watch, s->tpm, text);
        for (size_t i = 0; i < count; i++) {
            job_refuse(&jobs[i], key->rc, &key->err);
            /* The watch knows better than the error which TPM it is that does not fit. */
            if (jobs[i].reply->tpm_state[0] != '\0')
                strcpy(jobs[i].reply->tpm_state, tpm_trouble_word(trouble));
        }
        return RC_OK;
    }
    struct batch batch = batch_of(s, key);
    enum rc rc = batch_sign(&batch, jobs, count, err);
    for (size_t i = 0; i < count; i++) {
        tpmwatch_heed(&s->watch, jobs[i].reply);
        if (jobs[i].reply->rc == RC_RETRY_STARTING)
            jobs[i].reply->retry_after_s = key->catch_up_left_s;
    }
    /* Found before anything was spent, and of this key's window alone: the next window may sign,
     * and so may other keys. */
    if (rc == RC_HALT_SEEDS)
        return RC_OK;
    if (rc != RC_OK) {
        key->rc = rc;
        if (err != NULL)
            key->err = *err;
    }
    return rc;
}

/* Requests of one key that stand side by side. */
static size_t run_of_key(const struct job *jobs, size_t count)
{
    size_t run = 1;
    while (run < count && run < BATCH_MAX &&
           strcmp(jobs[run].request->key, jobs[0].request->key) == 0)
        run++;
    return run;
}

static enum rc sign_run(struct signer *s, struct job *jobs, size_t count, struct err *err)
{
    const char *name = jobs[0].request->key;
    struct key *key = find_key(s, name);
    if (key != NULL)
        return sign_for_key(s, key, jobs, count, err);
    struct err none = {0};
    (void)FAIL(&none, RC_REFUSED_NO_KEY, "", 0, "there is no key '%s'", name);
    for (size_t i = 0; i < count; i++)
        job_refuse(&jobs[i], RC_REFUSED_NO_KEY, &none);
    return RC_OK;
}

enum rc signer_sign(struct signer *s, struct job *jobs, size_t count, struct err *err)
{
    /* Runs of one key, so that order among a client's requests stays as it was. */
    for (size_t i = 0; i < count;) {
        size_t run = run_of_key(jobs + i, count - i);
        struct err e = {0};
        enum rc rc = sign_run(s, jobs + i, run, &e);
        i += run;
        if (rc == RC_OK)
            continue;
        /* Ledger and TPM are the same for every key: what is unknown of one stops all. */
        for (; i < count; i++)
            job_refuse(&jobs[i], rc, &e);
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    }
    return RC_OK;
}

enum rc signer_sign_bulk(struct signer *s, struct job *jobs, size_t count, struct reply *whole,
                         struct err *err)
{
    struct key *key = find_key(s, jobs[0].request->key);
    enum rc rc = RC_OK;
    if (key != NULL && key->rc == RC_OK) {
        struct batch batch = batch_of(s, key);
        rc = bulk_fits(&batch, jobs, count, whole, err);
        whole->tpm_virtual = key->is_virtual;
    }
    return rc == RC_OK ? signer_sign(s, jobs, count, err) : rc;
}

/* Attesting ----------------------------------------------------------------------------------- */

static struct attest_job attest_job_of(const struct signer *s, struct key *key)
{
    return (struct attest_job){
        .key = key, .world = s->world, .tpm = s->tpm, .ledger = s->ledger, .now_s = now_s(s)};
}

/* A HALT is no answer to one question: the process ends with this turn. */
static void note_attest(struct signer *s, struct key *key, enum rc rc, const struct err *err)
{
    if (rc_class(rc) != RC_CLASS_HALT)
        return;
    key->rc = rc;
    key->err = *err;
    s->attest_rc = rc;
    s->attest_err = *err;
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

/* Every write wears the chip, so idle moments close only every few leases (plan_wear_check() counts
 * on it); what stands behind A until then is what a rolled-back disk can hide, and no index. */
static bool worth_settling(const struct key *key)
{
    return key->l >= key->settled_l + WEAR_LEASES_PER_SETTLE || key->settled_l <= key->a.l_base;
}

static enum rc settle(struct signer *s, bool stopping, struct err *err)
{
    for (size_t i = 0; i < s->key_count; i++) {
        struct key *key = &s->keys[i];
        if (key->rc != RC_OK || (!stopping && !worth_settling(key)))
            continue;
        key->settled_l = key->l;
        struct allocator alloc = {.key = key, .world = s->world, .ledger = s->ledger};
        key->rc = allocate_settle(&alloc, &key->err);
        if (key->rc != RC_OK)
            return FAIL(err, key->rc, key->err.origin, key->err.native, "%s", err_text(&key->err));
    }
    return RC_OK;
}

enum rc signer_turned(struct signer *s, struct err *err)
{
    int64_t period_s = s->config->settings.attest_period_s;
    for (size_t i = 0; i < s->key_count && s->attest_rc == RC_OK; i++) {
        struct key *key = &s->keys[i];
        if (key->unattested.seq == 0 || key->rc != RC_OK)
            continue;
        struct err e = {0};
        const struct attest_job job = attest_job_of(s, key);
        note_attest(s, key, attest_receipt(&job, period_s, &e), &e);
    }
    if (s->attest_rc == RC_OK)
        return ledger_tidy(s->ledger, err);
    return FAIL(err, s->attest_rc, s->attest_err.origin, s->attest_err.native, "%s",
                err_text(&s->attest_err));
}

/* A TPM that is only busy is asked again next time. */
static enum rc ask_tpm_time(struct signer *s, struct err *err)
{
    struct tpm_time time;
    struct err e = {0};
    int64_t asked_ns = timekeeper_raw_ns(s->clock);
    enum rc rc = s->world->tpm->read_time(s->tpm, &time, &e);
    if (rc == RC_OK)
        timekeeper_tpm(s->clock, &time, asked_ns);
    if (rc_class(rc) == RC_CLASS_HALT)
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    return RC_OK;
}

/* What this process holds in memory may be older than it knows: a lease, or copies of counters.
 * Where the TPM is a part of hardware, the next process reads the truth from it. */
static enum rc after_disruption(struct signer *s, struct err *err)
{
    const char *why = clk_reason_text(s->clock->disrupted_by);
    log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "clock: %s: leases are given up", why);
    for (size_t i = 0; i < s->key_count; i++)
        s->keys[i].lease = (struct open_lease){0};
    enum rc rc = clockbook_disrupted(&s->book, why, now_s(s), err);
    if (rc != RC_OK)
        return rc;
    if (s->tpm_rc != RC_OK || s->world->tpm->identify(s->tpm)->is_virtual)
        return RC_OK;
    return FAIL(err, RC_HALT_CANARY, "", 0, "what this process holds may be old: %s", why);
}

enum rc signer_look(struct signer *s, struct err *err)
{
    struct clk_reading reading;
    enum rc rc = s->tpm_rc == RC_OK && timekeeper_tpm_due(s->clock) ? ask_tpm_time(s, err) : RC_OK;
    if (rc != RC_OK)
        return rc;
    timekeeper_look(s->clock, &reading);
    for (size_t i = 0; reading.safe && i < s->key_count; i++)
        key_note_time(&s->keys[i], reading.latest_ns / INT64_C(1000000000));
    rc = clockbook_keep(&s->book, now_s(s), err);
    if (rc != RC_OK)
        return rc;
    return timekeeper_disrupted(s->clock) ? after_disruption(s, err) : RC_OK;
}

bool signer_has_work(const struct signer *s)
{
    char text[CATCH_UP_TEXT];
    for (size_t i = 0; i < s->key_count; i++)
        if (s->keys[i].rc == RC_OK && catching_up(&s->keys[i], text))
            return true;
    return false;
}

enum rc signer_work(struct signer *s, struct err *err)
{
    for (size_t i = 0; i < s->key_count; i++) {
        struct key *key = &s->keys[i];
        struct allocator alloc = {.key = key, .world = s->world, .ledger = s->ledger};
        struct err why = {0};
        enum rc rc = catch_up_turn(&alloc, s->config->settings.catch_up_steps, &why);
        if (rc == RC_OK)
            continue;
        key->rc = rc;
        key->err = why;
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    }
    return RC_OK;
}

enum rc signer_watch(struct signer *s, struct err *err)
{
    if (s->tpm != NULL) {
        enum rc rc = tpmwatch_ask(&s->watch, s->tpm, err);
        if (rc != RC_OK)
            return rc;
    }
    for (size_t i = 0; i < s->key_count; i++) {
        struct key *key = &s->keys[i];
        if (key->rc != RC_OK)
            continue;
        struct err why = {0};
        enum rc rc = wear_warn(key, s->ledger, s->config->settings.nv_endurance, now_s(s), &why);
        if (rc == RC_OK)
            rc = limits_note(key, s->ledger, s->world, now_s(s), &why);
        if (rc == RC_OK)
            rc = exhaustion_warn(key, s->ledger, &s->config->settings, now_s(s), &why);
        if (rc == RC_OK)
            continue;
        key->rc = rc;
        key->err = why;
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    }
    return RC_OK;
}

enum rc signer_idle(struct signer *s, struct err *err)
{
    return settle(s, false, err);
}

/* Reading ------------------------------------------------------------------------------------- */

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

void signer_limits(struct signer *s)
{
    for (size_t i = 0; i < s->key_count; i++) {
        struct key *key = &s->keys[i];
        key->limits = *limits_of(s->config, key->record.name);
        bucket_change(&key->bucket, key->limits.burst, key->limits.per_hour,
                      s->world->time->raw_ns(s->world->time->ctx));
    }
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
