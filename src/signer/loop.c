#include "signer/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "signer/bulk.h"

#define TICK_MS 500
#define REOPEN_MS_MIN 500
#define REOPEN_MS_MAX 15000

static int64_t raw_ns(const struct loop *loop)
{
    return loop->world->time->raw_ns(loop->world->time->ctx);
}

static int64_t now_ms(const struct loop *loop)
{
    return raw_ns(loop) / 1000000;
}

/* Answers ------------------------------------------------------------------------------------- */

static void answer(struct loop *loop, struct item *item, const void *payload, size_t len)
{
    loop->sink->answer(loop->sink->ctx, item, payload, len);
}

static enum service_state state_without_signer(enum rc why)
{
    return rc_class(why) == RC_CLASS_RETRY ? STATE_RECOVERING : STATE_HALTED;
}

void item_refuse(struct item *item, enum rc rc, enum tpm_trouble trouble, const struct err *err)
{
    struct reply *r = &item->reply;
    reply_init(r, &item->request);
    r->rc = (int32_t)rc;
    text_copy(r->text, sizeof(r->text), err_text(err));
    r->state = state_without_signer(rc);
    if (trouble != TPM_TROUBLE_NONE)
        strcpy(r->tpm_state, tpm_trouble_word(trouble));
    if (item->request.op != REQUEST_STATE)
        return;
    r->rc = RC_OK;
    r->text[0] = '\0';
    strcpy(r->check_ledger, "unknown");
    strcpy(r->check_tpm, "unknown");
    strcpy(r->check_clock, "unknown");
    strcpy(r->check_nodes, "unknown");
    if (trouble != TPM_TROUBLE_NONE) {
        (void)snprintf(r->check_tpm, sizeof(r->check_tpm), "%s: %.150s", r->tpm_state,
                       err_text(err));
        return;
    }
    strcpy(r->tpm_state, "unknown");
    text_copy(r->check_ledger, sizeof(r->check_ledger), err_text(err));
}

static void refuse(struct loop *loop, struct item *item, enum rc rc, const struct err *err)
{
    item_refuse(item, rc, tpm_trouble_of(err), err);
    answer(loop, item, NULL, 0);
}

/* Requests of one key side by side, in the order they came: one batch shares one sync. */
static size_t group_by_key(struct item **items, size_t count, struct item **grouped)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i] == NULL)
            continue;
        for (size_t k = i; k < count; k++) {
            if (items[k] == NULL ||
                (k != i && strcmp(items[k]->request.key, items[i]->request.key) != 0))
                continue;
            grouped[n++] = items[k];
            if (k != i)
                items[k] = NULL;
        }
        items[i] = NULL;
    }
    return n;
}

/* One request of a batch that has ended: what monitors want to know of it. */
static void meter(struct loop *loop, const char *key, const struct reply *r, int64_t took_ns)
{
    struct view_meters *m = &loop->meters;
    enum plan_message mode = PLAN_RAW;
    if (r->rc == RC_OK && r->reserved)
        return; /* counted when its hash is signed */
    if (signer_message_mode(loop->signer, key, &mode))
        results_count(&loop->results, key, r);
    m->codes[view_code_number((enum rc)r->rc)]++;
    if (r->rc == RC_OK && !r->replayed)
        histogram_add(&m->commit, histogram_time_bounds_us,
                      took_ns > 0 ? (uint64_t)took_ns / 1000 : 0);
}

/* Put off: the request is as if it had never come, but for its tokens. */
static void read_again(struct loop *loop, struct item *item, const struct job *job)
{
    item->job.token = job->token;
    item->passes++;
    loop->sink->read_again(loop->sink->ctx, item);
}

/* signer_sign(), signer_reserve() or signer_commit(). */
typedef enum rc (*batch_server)(struct signer *signer, struct job *jobs, size_t count,
                                struct err *err);

static enum rc sign_items(struct loop *loop, batch_server serve, struct item **items, size_t count,
                          struct err *err)
{
    static struct job jobs[BATCH_MAX];
    struct item *grouped[BATCH_MAX];
    count = group_by_key(items, count, grouped);
    for (size_t i = 0; i < count; i++) {
        reply_init(&grouped[i]->reply, &grouped[i]->request);
        jobs[i] = grouped[i]->job;
        jobs[i].request = &grouped[i]->request;
        jobs[i].reply = &grouped[i]->reply;
        bool may_wait = loop->sink->read_again != NULL && grouped[i]->passes < LOOP_PASSES_MAX;
        jobs[i].pass = may_wait ? &grouped[i]->pass : NULL;
    }
    int64_t began_ns = raw_ns(loop);
    enum rc rc = serve(loop->signer, jobs, count, err);
    int64_t took_ns = raw_ns(loop) - began_ns;
    histogram_add(&loop->meters.batch, view_batch_bounds, count);
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].put_off) {
            read_again(loop, grouped[i], &jobs[i]);
            continue;
        }
        meter(loop, grouped[i]->request.key, &grouped[i]->reply, took_ns);
        answer(loop, grouped[i], jobs[i].signature, jobs[i].signature_len);
        free(jobs[i].signature);
    }
    return rc;
}

/* A batch that is refused as a whole is answered like a single request. */
static void refuse_bulk(struct loop *loop, struct item *item, enum rc rc, const struct err *err)
{
    struct reply *r = &item->reply;
    r->rc = (int32_t)rc;
    text_copy(r->text, sizeof(r->text), err_text(err));
    r->state = rc == RC_RETRY_WINDOW_FULL      ? STATE_WINDOW_FULL
               : rc_class(rc) == RC_CLASS_HALT ? STATE_HALTED
                                               : STATE_OPERATIONAL;
    answer(loop, item, NULL, 0);
}

static void answer_bulk(struct loop *loop, struct item *item, struct bulk *bulk)
{
    struct err err = {0};
    void *payload = NULL;
    size_t len = 0;
    if (bulk_refused_whole(bulk)) {
        item->reply = bulk->replies[0];
        item->reply.op = item->request.op;
        answer(loop, item, NULL, 0);
        return;
    }
    enum rc rc = bulk_pack(bulk, &payload, &len, &err);
    if (rc != RC_OK) {
        refuse_bulk(loop, item, rc, &err);
        return;
    }
    item->reply.rc = RC_OK;
    item->reply.tpm_virtual = bulk->replies[0].tpm_virtual;
    answer(loop, item, payload, len);
    free(payload);
}

static enum rc sign_bulk(struct loop *loop, struct item *item, struct err *err)
{
    struct bulk *bulk CLEANUP(bulk_free) = NULL;
    struct err e = {0};
    reply_init(&item->reply, &item->request);
    enum rc rc = bulk_read(&bulk, &item->request, item->fd, item->behind, &e);
    if (rc != RC_OK) {
        refuse_bulk(loop, item, rc, &e);
        return RC_OK;
    }
    int64_t began_ns = raw_ns(loop);
    rc = signer_sign_bulk(loop->signer, bulk->jobs, bulk->count, &item->reply, &e);
    int64_t took_ns = raw_ns(loop) - began_ns;
    histogram_add(&loop->meters.batch, view_batch_bounds, bulk->count);
    for (size_t i = 0; bulk_done(bulk) && i < bulk->count; i++)
        meter(loop, item->request.key, &bulk->replies[i], took_ns);
    /* Behind a halt every job has its answer; where the look before found it, nothing was begun. */
    if (bulk_done(bulk))
        answer_bulk(loop, item, bulk);
    else
        refuse_bulk(loop, item, rc, &e);
    if (rc_class(rc) != RC_CLASS_HALT)
        return RC_OK;
    return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
}

/* The signer says what is; what was since the start is counted here, since signers come and go. */
static void add_counters(const struct loop *loop, struct view_meters *m, size_t len)
{
    struct view_meter *keys = (struct view_meter *)(void *)(m + 1);
    m->commit = loop->meters.commit;
    m->batch = loop->meters.batch;
    memcpy(m->codes, loop->meters.codes, sizeof(m->codes));
    for (size_t i = 0; i < (len - sizeof(*m)) / sizeof(*keys); i++)
        results_fill(&loop->results, &keys[i]);
}

/* Without a signer there is still something to tell monitors: above all that there is none. */
static void read_counters(struct loop *loop, struct item *item)
{
    struct view_meters m = {.state = state_without_signer(loop->why.rc)};
    enum tpm_trouble trouble = tpm_trouble_of(&loop->why);
    add_counters(loop, &m, sizeof(m));
    reply_init(&item->reply, &item->request);
    strcpy(item->reply.tpm_state, tpm_trouble_word(trouble));
    answer(loop, item, &m, sizeof(m));
}

static void read_item(struct loop *loop, struct item *item)
{
    void *payload = NULL;
    size_t len = 0;
    signer_read(loop->signer, &item->request, &item->reply, &payload, &len);
    if (item->request.op == REQUEST_METERS && payload != NULL)
        add_counters(loop, payload, len);
    answer(loop, item, payload, len);
    free(payload);
}

static enum rc acknowledge(struct loop *loop, struct item *item, struct err *err)
{
    void *payload = NULL;
    size_t len = 0;
    enum rc rc =
        signer_acknowledge(loop->signer, &item->request, &item->reply, &payload, &len, err);
    answer(loop, item, payload, len);
    free(payload);
    return rc;
}

static bool is_acknowledgement(const struct item *item)
{
    return item->request.op == REQUEST_CLOCK_ACK || item->request.op == REQUEST_WARNING_ACK;
}

/* Its first look, and the only one if we know already at which index it will sign. */
static void read_first(struct loop *loop, struct item *item)
{
    MUST(loop->sink->read_again != NULL);
    signer_foresee(loop->signer, &item->request, &item->pass);
    loop->sink->read_again(loop->sink->ctx, item);
}

/* After a halt nothing more is begun. */
static enum rc serve_items(struct loop *loop, enum rc rc, batch_server serve, struct item **items,
                           size_t count, struct err *err)
{
    for (size_t i = 0; rc != RC_OK && i < count; i++)
        refuse(loop, items[i], rc, err);
    return rc == RC_OK && count > 0 ? sign_items(loop, serve, items, count, err) : rc;
}

static enum rc serve(struct loop *loop, struct item **items, size_t count, struct err *err)
{
    struct item *to_sign[BATCH_MAX], *to_attest[BATCH_MAX], *bulks[BATCH_MAX];
    struct item *to_reserve[BATCH_MAX], *to_commit[BATCH_MAX];
    size_t n = 0, later = 0, bulk_count = 0, reserves = 0, commits = 0;
    enum rc rc = RC_OK;
    for (size_t i = 0; i < count; i++) {
        if (items[i]->rc != RC_OK)
            refuse(loop, items[i], items[i]->rc, &items[i]->err);
        else if (loop->signer == NULL && items[i]->request.op == REQUEST_METERS)
            read_counters(loop, items[i]);
        else if (loop->signer == NULL)
            refuse(loop, items[i], loop->why.rc, &loop->why);
        else if (items[i]->unread)
            read_first(loop, items[i]);
        else if (items[i]->request.op == REQUEST_SIGN)
            to_sign[n++] = items[i];
        else if (items[i]->request.op == REQUEST_BATCH)
            bulks[bulk_count++] = items[i];
        else if (items[i]->request.op == REQUEST_RESERVE)
            to_reserve[reserves++] = items[i];
        else if (items[i]->request.op == REQUEST_COMMIT)
            to_commit[commits++] = items[i];
        else if (items[i]->request.op == REQUEST_ATTEST)
            to_attest[later++] = items[i];
        else if (is_acknowledgement(items[i]) && rc == RC_OK)
            rc = acknowledge(loop, items[i], err);
        else if (is_acknowledgement(items[i]))
            refuse(loop, items[i], rc, err);
        else
            read_item(loop, items[i]);
    }
    /* Hashes first: a signature may open a window, which ends what was reserved. */
    rc = serve_items(loop, rc, signer_commit, to_commit, commits, err);
    rc = serve_items(loop, rc, signer_sign, to_sign, n, err);
    rc = serve_items(loop, rc, signer_reserve, to_reserve, reserves, err);
    for (size_t i = 0; i < bulk_count; i++) {
        if (rc != RC_OK)
            refuse(loop, bulks[i], rc, err);
        else
            rc = sign_bulk(loop, bulks[i], err);
    }
    /* What asks the TPM for a while comes behind every signature that is waiting. */
    for (size_t i = 0; i < later; i++) {
        if (rc != RC_OK)
            refuse(loop, to_attest[i], rc, err);
        else
            read_item(loop, to_attest[i]);
    }
    if (rc == RC_OK && loop->signer != NULL)
        rc = signer_turned(loop->signer, err);
    return rc;
}

/* By the clock -------------------------------------------------------------------------------- */

static void open_signer(struct loop *loop)
{
    signer_close(&loop->signer, false);
    loop->why = (struct err){0};
    if (loop->sink->opening != NULL)
        loop->sink->opening(loop->sink->ctx);
    enum rc rc = signer_open(&loop->signer, loop->config, loop->world, &loop->clock, &loop->why);
    if (rc != RC_OK) {
        loop->why.rc = rc;
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &loop->why},
                  "the signer cannot be opened");
        return;
    }
    if (loop->sink->opened != NULL)
        loop->sink->opened(loop->sink->ctx, loop->signer);
}

static bool worth_reopening(const struct loop *loop)
{
    if (loop->signer != NULL)
        return signer_may_recover(loop->signer);
    return rc_class(loop->why.rc) == RC_CLASS_RETRY || ledger_may_pass(&loop->why);
}

static void reopen(struct loop *loop, int64_t now)
{
    if (now < loop->reopen_at)
        return;
    if (loop->signer == NULL || !signer_retry_keys(loop->signer))
        open_signer(loop);
    loop->reopen_ms = loop->reopen_ms * 2 > REOPEN_MS_MAX ? REOPEN_MS_MAX : loop->reopen_ms * 2;
    loop->reopen_at = now_ms(loop) + loop->reopen_ms;
}

/* The clock counts fresh updates and must see every step, so it is asked though nobody signs by it,
 * and though there is no signer. */
static enum rc look(struct loop *loop, struct err *err)
{
    struct clk_reading reading;
    if (loop->signer != NULL)
        return signer_look(loop->signer, err);
    timekeeper_look(&loop->clock, &reading);
    return RC_OK;
}

static enum rc tick(struct loop *loop, int64_t now, struct err *err)
{
    enum rc rc = look(loop, err);
    if (rc != RC_OK)
        return rc;
    if (worth_reopening(loop)) {
        reopen(loop, now);
        return RC_OK;
    }
    loop->reopen_ms = REOPEN_MS_MIN;
    loop->reopen_at = now + loop->reopen_ms;
    rc = loop->signer != NULL ? signer_watch(loop->signer, err) : RC_OK;
    if (rc != RC_OK)
        return rc;
    if (loop->signer == NULL || now - loop->asked_at < loop->idle_ms)
        return RC_OK;
    loop->asked_at = now;
    return signer_idle(loop->signer, err);
}

/* Whoever only reads, a monitor every second, does not keep A from being brought up to date. */
static bool any_signing(struct item *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (request_may_sign(&items[i]->request))
            return true;
    return false;
}

/* The loop ------------------------------------------------------------------------------------ */

void loop_start(struct loop *loop, const struct signer_config *config, uint32_t idle_ms,
                const struct world *world, const struct loop_sink *sink)
{
    *loop = (struct loop){.config = config, .world = world, .sink = sink, .idle_ms = idle_ms};
    timekeeper_start(&loop->clock, &config->settings.clock, &config->settings.tolerance, world,
                     config->state_dirfd);
    open_signer(loop);
    int64_t now = now_ms(loop);
    loop->tick_at = now + TICK_MS;
    loop->asked_at = now;
    loop->reopen_at = now + REOPEN_MS_MIN;
    loop->reopen_ms = REOPEN_MS_MIN;
}

int64_t loop_wait_ms(const struct loop *loop)
{
    if (loop->signer != NULL && signer_has_work(loop->signer))
        return 0;
    int64_t wait_ms = loop->tick_at - now_ms(loop);
    return wait_ms > 0 ? wait_ms : 0;
}

enum rc loop_turn(struct loop *loop, struct item **items, size_t count, struct err *err)
{
    MUST(count <= BATCH_MAX);
    bool signing = any_signing(items, count);
    enum rc rc = serve(loop, items, count, err);
    int64_t now = now_ms(loop);
    if (signing)
        loop->asked_at = now;
    if (rc == RC_OK && loop->signer != NULL)
        rc = signer_work(loop->signer, err);
    if (rc == RC_OK && now >= loop->tick_at) {
        rc = tick(loop, now, err);
        loop->tick_at = now_ms(loop) + TICK_MS;
    }
    return rc;
}

enum service_state loop_state(const struct loop *loop)
{
    return loop->signer != NULL ? signer_state(loop->signer) : state_without_signer(loop->why.rc);
}

void loop_limits(struct loop *loop)
{
    if (loop->signer != NULL)
        signer_limits(loop->signer);
}

void loop_end(struct loop *loop, bool settle)
{
    signer_close(&loop->signer, settle);
    if (settle)
        timekeeper_stop(&loop->clock);
}
