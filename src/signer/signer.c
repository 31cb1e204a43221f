#include "signer/signer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "policy/wear.h"
#include "signer/bulk.h"
#include "signer/catchup.h"
#include "signer/exhaustion.h"
#include "signer/inside.h"
#include "signer/reserve.h"
#include "signer/wear.h"

/* How many attestations may be asked for without a pause: behind them the next signature waits. */
#define ATTEST_BURST 2

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

void signer_limits(struct signer *s)
{
    for (size_t i = 0; i < s->key_count; i++) {
        struct key *key = &s->keys[i];
        key->limits = *limits_of(s->config, key->record.name);
        bucket_change(&key->bucket, key->limits.burst, key->limits.per_hour,
                      s->world->time->raw_ns(s->world->time->ctx));
    }
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

struct batch batch_of(struct signer *s, struct key *key)
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

/* batch_sign(), reserve_open() or reserve_sign(). */
typedef enum rc (*job_server)(struct batch *batch, struct job *jobs, size_t count, struct err *err);

static enum rc sign_for_key(struct signer *s, struct key *key, job_server serve, struct job *jobs,
                            size_t count, struct err *err)
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
    enum rc rc = serve(&batch, jobs, count, err);
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

static enum rc sign_run(struct signer *s, job_server serve, struct job *jobs, size_t count,
                        struct err *err)
{
    const char *name = jobs[0].request->key;
    struct key *key = find_key(s, name);
    if (key != NULL)
        return sign_for_key(s, key, serve, jobs, count, err);
    struct err none = {0};
    (void)FAIL(&none, RC_REFUSED_NO_KEY, "", 0, "there is no key '%s'", name);
    for (size_t i = 0; i < count; i++)
        job_refuse(&jobs[i], RC_REFUSED_NO_KEY, &none);
    return RC_OK;
}

static enum rc serve_jobs(struct signer *s, job_server serve, struct job *jobs, size_t count,
                          struct err *err)
{
    /* Runs of one key, so that order among a client's requests stays as it was. */
    for (size_t i = 0; i < count;) {
        size_t run = run_of_key(jobs + i, count - i);
        struct err e = {0};
        enum rc rc = sign_run(s, serve, jobs + i, run, &e);
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

enum rc signer_sign(struct signer *s, struct job *jobs, size_t count, struct err *err)
{
    return serve_jobs(s, batch_sign, jobs, count, err);
}

enum rc signer_reserve(struct signer *s, struct job *jobs, size_t count, struct err *err)
{
    return serve_jobs(s, reserve_open, jobs, count, err);
}

enum rc signer_commit(struct signer *s, struct job *jobs, size_t count, struct err *err)
{
    return serve_jobs(s, reserve_sign, jobs, count, err);
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

struct attest_job attest_job_of(const struct signer *s, struct key *key)
{
    return (struct attest_job){
        .key = key, .world = s->world, .tpm = s->tpm, .ledger = s->ledger, .now_s = now_s(s)};
}

void note_attest(struct signer *s, struct key *key, enum rc rc, const struct err *err)
{
    if (rc_class(rc) != RC_CLASS_HALT)
        return;
    key->rc = rc;
    key->err = *err;
    s->attest_rc = rc;
    s->attest_err = *err;
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

static void end_leases(struct key *key, const char *why)
{
    key->lease = (struct open_lease){0};
    reserve_end_all(key, BURN_CLOCK, why);
}

/* What this process holds in memory may be older than it knows: a lease, or copies of counters.
 * Where the TPM is a part of hardware, the next process reads the truth from it. */
static enum rc after_disruption(struct signer *s, struct err *err)
{
    const char *why = clk_reason_text(s->clock->disrupted_by);
    log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "clock: %s: leases are given up", why);
    for (size_t i = 0; i < s->key_count; i++)
        end_leases(&s->keys[i], why);
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
        enum rc rc = reserve_tidy(key, s->ledger, s->world, now_s(s), &why);
        if (rc == RC_OK)
            rc = wear_warn(key, s->ledger, s->config->settings.nv_endurance, now_s(s), &why);
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
