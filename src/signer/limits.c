#include "signer/limits.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signer/exhaustion.h"
#include "signer/view.h"

#define NS_PER_S INT64_C(1000000000)
#define SHARE_WHOLE ACCESS_SHARE_ALL
#define TIMES_MAX 4096 /* receipts that a bucket is filled from; more count as a full drain */
#define NOTE_WHAT "rate-limited"

static int64_t raw_ns(const struct world *world)
{
    return world->time->raw_ns(world->time->ctx);
}

/* Buckets ---------------------------------------------------------------------------------------
 */

/* A bucket as the receipts leave it. caller: NULL for all callers. */
static enum rc fill(struct bucket *bucket, uint64_t capacity, uint64_t per_hour, struct key *key,
                    struct ledger *ledger, const char *caller, int64_t now_ns, int64_t now_s,
                    struct err *err)
{
    bucket_init(bucket, capacity, per_hour, now_ns);
    if (capacity == 0)
        return RC_OK;
    size_t count = 0;
    int64_t *times = calloc(TIMES_MAX, sizeof(*times));
    if (times == NULL)
        return FAIL(err, RC_HALT_SYSTEM, "errno", 0, "no memory for the times of receipts");
    enum rc rc = ledger_receipt_times(ledger, key->record.id, caller, now_s - bucket_fill_s(bucket),
                                      times, TIMES_MAX, &count, err);
    if (rc == RC_OK)
        bucket_replay(bucket, now_ns, now_s, times, count, count == TIMES_MAX);
    free(times);
    return rc;
}

enum rc limits_start(struct key *key, struct ledger *ledger, const struct world *world,
                     int64_t now_s, struct err *err)
{
    return fill(&key->bucket, key->limits.burst, key->limits.per_hour, key, ledger, NULL,
                raw_ns(world), now_s, err);
}

/* The caller's own bucket; the one that was asked for longest ago makes room for a new one, whose
 * level the ledger knows. */
static enum rc caller_bucket(struct batch *b, const struct job *job, struct bucket **bucket,
                             struct err *err)
{
    struct key *key = b->key;
    const struct key_limits *l = &key->limits;
    struct caller *oldest = &key->callers[0];
    int64_t now_ns = raw_ns(b->world);
    for (size_t i = 0; i < KEY_CALLERS_MAX; i++) {
        struct caller *c = &key->callers[i];
        oldest = c->used < oldest->used ? c : oldest;
        if (c->used == 0 || strcmp(c->name, job->request->requester) != 0)
            continue;
        if (c->bucket.capacity != l->caller_burst || c->bucket.per_hour != l->caller_per_hour)
            bucket_change(&c->bucket, l->caller_burst, l->caller_per_hour, now_ns);
        c->used = ++key->caller_clock;
        *bucket = &c->bucket;
        return RC_OK;
    }
    *oldest = (struct caller){.used = ++key->caller_clock};
    text_copy(oldest->name, sizeof(oldest->name), job->request->requester);
    *bucket = &oldest->bucket;
    return fill(&oldest->bucket, l->caller_burst, l->caller_per_hour, key, b->ledger, oldest->name,
                now_ns, b->now_s, err);
}

static void refuse_rate(struct batch *b, struct job *job, const char *which, uint64_t per_hour,
                        uint64_t wait_s)
{
    struct err err = {0};
    bool callers = strcmp(which, LIMIT_CALLER_RATE) == 0;
    limits_refused(b, job, which);
    strcpy(job->reply->violated, which);
    job->reply->retry_after_s = (int64_t)wait_s;
    job_refuse(job,
               FAIL(&err, RC_RETRY_RATE, "", 0,
                    "%" PRIu64 " signatures an hour are allowed for %s: try again in %" PRIu64 " s",
                    per_hour, callers ? "one caller of this key" : "this key", wait_s),
               &err);
}

/* Is there a token of the caller's, and one of the key's? Take both or none; without `take` none,
 * nor for a job that has its own since it was put off. */
static enum rc ask_tokens(struct batch *b, struct job *job, bool take, bool *granted,
                          struct err *err)
{
    struct key *key = b->key;
    struct reply *reply = job->reply;
    struct bucket *callers = NULL;
    uint64_t wait_s = 0;
    int64_t now_ns = raw_ns(b->world);
    *granted = false;
    struct bucket of_caller = {0};
    if (key->limits.caller_burst != 0) {
        enum rc rc = caller_bucket(b, job, &callers, err);
        if (rc != RC_OK)
            return rc;
        of_caller = *callers;
    }
    struct bucket of_key = key->bucket;
    bool caller_may = bucket_take(&of_caller, now_ns, &wait_s, &reply->caller_rate_remaining);
    reply->caller_rate_limit = key->limits.caller_burst;
    reply->caller_rate_window_s = bucket_fill_s(&of_caller);
    reply->caller_rate_reset_s = (int64_t)wait_s;
    if (!caller_may && !job->token) {
        refuse_rate(b, job, LIMIT_CALLER_RATE, key->limits.caller_per_hour, wait_s);
        return RC_OK;
    }
    bool key_may = bucket_take(&of_key, now_ns, &wait_s, &reply->rate_remaining);
    reply->rate_limit = key->limits.burst;
    reply->rate_window_s = bucket_fill_s(&of_key);
    reply->rate_reset_s = (int64_t)wait_s;
    if (key->limits.burst == 0)
        reply->rate_remaining = 0;
    if (!key_may && !job->token) {
        refuse_rate(b, job, LIMIT_RATE, key->limits.per_hour, wait_s);
        return RC_OK;
    }
    *granted = true;
    if (!take || job->token)
        return RC_OK;
    job->token = true;
    key->bucket = of_key;
    if (callers != NULL)
        *callers = of_caller;
    return RC_OK;
}

enum rc limits_rate(struct batch *b, struct job *job, bool *granted, struct err *err)
{
    struct err why = {0};
    *granted = false;
    enum rc rc = exhaustion_check(b->key, b->ledger, b->settings, b->now_s, &why);
    if (rc == RC_OK)
        return ask_tokens(b, job, false, granted, err);
    job_refuse(job, rc, &why);
    return RC_OK;
}

/* Windows ---------------------------------------------------------------------------------------
 */

struct room {
    uint64_t all;      /* that may be signed in the window at all */
    uint64_t ordinary; /* without the reserve */
};

static enum rc room_of(struct batch *b, uint64_t window, struct room *room, struct err *err)
{
    const struct key *key = b->key;
    struct ledger_usage usage;
    uint64_t left_key = 0;
    enum rc rc = ledger_window_usage(b->ledger, key->record.id, window, &usage, err);
    if (rc != RC_OK)
        return rc;
    uint64_t cap = batch_window_cap(b);
    uint64_t used = key->plan.kind == PLAN_VERSION ? usage.bound : usage.receipts + usage.reserved;
    uint64_t reserve = key->plan.kind == PLAN_INTERVAL ? 0 : key->limits.reserve;
    room->all = used < cap ? cap - used : 0;
    /* What a start has given up of the window is not left for anybody. One that is not open yet has
     * all of its indices. */
    uint64_t left = 0;
    view_remaining(key, b->ledger, window, b->now_s, &left, &left_key);
    if (usage.opened && left < room->all)
        room->all = left;
    room->ordinary = room->all > reserve ? room->all - reserve : 0;
    return RC_OK;
}

/* How many more of a window one caller may have. *limit: 0 without a share. */
static enum rc share_of(struct batch *b, uint64_t window, const char *caller, uint64_t *limit,
                        uint64_t *left, struct err *err)
{
    const struct key *key = b->key;
    uint32_t percent =
        b->access == NULL ? SHARE_WHOLE : access_window_share(b->access, caller, key->record.name);
    uint64_t used = 0;
    *limit = 0;
    *left = UINT64_MAX;
    if (percent >= SHARE_WHOLE)
        return RC_OK;
    /* Of a small window everybody may have something. */
    *limit = key->plan.window_usable * percent / SHARE_WHOLE;
    *limit = *limit == 0 ? 1 : *limit;
    enum rc rc = ledger_used_by(b->ledger, key->record.id, window, caller, &used, err);
    *left = used < *limit ? *limit - used : 0;
    return rc;
}

static void tell_window(struct batch *b, struct job *job, uint64_t window)
{
    int64_t start_s = 0;
    int64_t end_s = 0;
    struct reply *reply = job->reply;
    reply->window = (int64_t)window;
    reply->window_limit = batch_window_cap(b);
    if (b->key->plan.kind != PLAN_TIME)
        return;
    plan_window_times(&b->key->plan, window, &start_s, &end_s);
    reply->window_reset_s = end_s > b->wall_s ? end_s - b->wall_s : 0;
    reply->retry_after_s = reply->window_reset_s;
    reply->window_opens_s = end_s;
}

static void refuse_window(struct batch *b, struct job *job, uint64_t window, const char *which)
{
    struct err e = {0};
    tell_window(b, job, window);
    strcpy(job->reply->violated, which);
    limits_refused(b, job, which);
    if (strcmp(which, LIMIT_CALLER) == 0)
        (void)FAIL(&e, RC_RETRY_WINDOW_FULL, "", 0,
                   "%.63s has had its share of window %" PRIu64 ", %" PRIu64 " signatures",
                   job->request->requester, window, job->reply->share_limit);
    else
        (void)FAIL(&e, RC_RETRY_WINDOW_FULL, "", 0,
                   "what is left of window %" PRIu64 " is kept for %s", window,
                   b->key->limits.reserve_for);
    job_refuse(job, RC_RETRY_WINDOW_FULL, &e);
}

/* Jobs of one caller among those that are let in already. */
static uint64_t let_in(struct job *const *jobs, size_t count, const char *caller)
{
    uint64_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += strcmp(jobs[i]->request->requester, caller) == 0 ? 1 : 0;
    return n;
}

/* What share and reserve of a window leave to a job behind those that are let in already. */
static enum rc ask_window(struct batch *b, uint64_t window, const struct room *room,
                          struct job *const *jobs, size_t kept, struct job *job, struct err *err)
{
    struct reply *reply = job->reply;
    const char *caller = job->request->requester;
    uint64_t left = 0;
    enum rc rc = share_of(b, window, caller, &reply->share_limit, &left, err);
    if (rc != RC_OK)
        return rc;
    uint64_t before = let_in(jobs, kept, caller);
    bool first = strcmp(caller, b->key->limits.reserve_for) == 0;
    /* Beyond all there is, the answer is the same for everybody, and not ours to give. */
    bool reserved = kept < room->all && kept >= room->ordinary && !first;
    reply->share_remaining = left > before ? left - before - 1 : 0;
    if (left <= before)
        refuse_window(b, job, window, LIMIT_CALLER);
    else if (reserved)
        refuse_window(b, job, window, LIMIT_RESERVE);
    return RC_OK;
}

enum rc limits_window(struct batch *b, uint64_t window, struct job **jobs, size_t *count,
                      struct err *err)
{
    bool shares = b->access != NULL && b->access->rule_count > 0;
    bool bounded = b->key->limits.reserve != 0 || shares;
    size_t kept = 0;
    struct room room = {0};
    enum rc rc = bounded ? room_of(b, window, &room, err) : RC_OK;
    for (size_t i = 0; i < *count && rc == RC_OK; i++) {
        struct job *job = jobs[i];
        bool granted = false;
        if (bounded)
            rc = ask_window(b, window, &room, jobs, kept, job, err);
        /* Last, so that a caller beyond its share cannot empty the bucket of all. */
        if (rc == RC_OK && !job->done)
            rc = ask_tokens(b, job, !job->preview, &granted, err);
        if (granted)
            jobs[kept++] = job;
    }
    if (rc == RC_OK)
        *count = kept;
    return rc;
}

/* Refusals --------------------------------------------------------------------------------------
 */

void limits_refused(struct batch *b, const struct job *job, const char *which)
{
    struct refusals *r = &b->key->refusals;
    if (job->preview)
        return;
    r->count++;
    r->which = which;
    text_copy(r->who, sizeof(r->who), job->request->requester);
}

static enum rc add_note(const struct key *key, struct ledger *ledger, const char *text,
                        int64_t now_s, struct err *err)
{
    enum rc rc = ledger_begin(ledger, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_add_note(ledger, key->record.id, LEDGER_REFUSAL, NOTE_WHAT, text,
                         (int64_t)key->refusals.count, now_s, err);
    if (rc == RC_OK)
        return ledger_commit(ledger, err);
    ledger_rollback(ledger);
    return rc;
}

enum rc limits_note(struct key *key, struct ledger *ledger, const struct world *world,
                    int64_t now_s, struct err *err)
{
    struct refusals *r = &key->refusals;
    int64_t now_ns = raw_ns(world);
    char text[200];
    if (r->count == 0 || (r->noted && now_ns - r->noted_ns < LIMITS_NOTE_S * NS_PER_S))
        return RC_OK;
    (void)snprintf(text, sizeof(text), "%" PRIu64 " requests refused, the last by limit %s of %s",
                   r->count, r->which, r->who);
    enum rc rc = add_note(key, ledger, text, now_s, err);
    if (rc == RC_OK)
        *r = (struct refusals){.noted = true, .noted_ns = now_ns};
    return rc;
}
