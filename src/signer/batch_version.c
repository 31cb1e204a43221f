/* Requests of version plans: the version fixes the index, so the ledger must know every binding. */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "signer/batch.h"
#include "signer/limits.h"
#include "signer/reserve.h"
#include "signer/scheme.h"
#include "signer/view.h"

/* A version that is bound already ------------------------------------------------------------- */

static void refuse_bound(struct batch *b, struct job *job, const uint8_t sha256[SHA256_LEN],
                         int64_t at_s, const char *request_id)
{
    struct err e = {0};
    struct reply *reply = job->reply;
    memcpy(reply->bound_sha256, sha256, SHA256_LEN);
    reply->bound_at_s = at_s;
    text_copy(reply->bound_request_id, sizeof(reply->bound_request_id), request_id);
    view_next_version(b->key, b->ledger, job->version, job->slot, reply->next_version);
    char hex[HEX_SIZE(SHA256_LEN)];
    hex_encode(hex, sha256, SHA256_LEN);
    job_refuse(job,
               FAIL(&e, RC_REFUSED_BOUND, "", 0, "%s%s%s is bound to sha256:%s", job->version,
                    job->slot[0] != '\0' ? " " : "", job->slot, hex),
               &e);
}

/* @return RC_REFUSED_NOT_FOUND if the version is free; RC_OK if the job is done. */
static enum rc look_up(struct batch *b, struct job *job, struct err *err)
{
    static uint8_t signature[LEDGER_SIGNATURE_MAX];
    struct ledger_intent intent;
    struct ledger_receipt receipt;
    struct err e = {0};
    enum rc rc = ledger_intent_by_version(b->ledger, b->key->record.id, job->version, job->slot,
                                          &intent, &e);
    if (rc == RC_REFUSED_NOT_FOUND)
        return rc;
    if (rc != RC_OK)
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    if (!ct_equal(intent.artifact_sha256, job->artifact.sha256, SHA256_LEN)) {
        refuse_bound(b, job, intent.artifact_sha256, intent.at_s, intent.origin.request_id);
        return RC_OK;
    }
    struct reservation *open = reserve_of_index(b->key, intent.index);
    if (open != NULL)
        return reserve_again(b, job, open, err);
    rc = ledger_receipt_by_index(b->ledger, b->key->record.id, intent.index, &receipt, signature,
                                 &e);
    if (rc == RC_OK)
        rc = job_replay(b, job, &receipt, signature, &e);
    if (rc == RC_REFUSED_NOT_FOUND) {
        /* Bound, no receipt, and completion at start has passed: it was given up. */
        e = (struct err){0};
        job->reply->burned_index = (int64_t)intent.index;
        view_next_version(b->key, b->ledger, job->version, job->slot, job->reply->next_version);
        rc = FAIL(&e, RC_REFUSED_SPENT, "", 0,
                  "%s %s was given up with its index: release a new version number", job->version,
                  job->slot);
    }
    if (rc != RC_OK)
        job_refuse(job, rc, &e);
    return RC_OK;
}

/* Placing ------------------------------------------------------------------------------------- */

static enum rc place(struct batch *b, struct job *job, struct err *err)
{
    const struct request *r = job->request;
    if (r->by != REQUEST_BY_VERSION)
        return FAIL(err, RC_REFUSED_OUTSIDE_PLAN, "", 0,
                    "this key signs by version: ask for version=V");
    enum rc rc = plan_place_version(&b->key->plan, r->version, r->slot, &job->place, err);
    if (rc != RC_OK)
        return rc;
    /* Version and slot in the plan's own spelling, e.g. the only slot where none was named. */
    rc = plan_version_of_index(&b->key->plan, job->place.index, job->version, job->slot, err);
    return rc == RC_OK ? job_admit(b, job, err) : rc;
}

/* Marks of the job's line, those of jobs that this batch has taken included. */
static enum rc line_marks(struct batch *b, struct job *const *taken, size_t count,
                          const struct job *job, struct plan_marks *marks, struct err *err)
{
    enum rc rc = ledger_line_marks(b->ledger, b->key->record.id, job->place.line, &marks->rank,
                                   &marks->window, err);
    for (size_t i = 0; i < count && rc == RC_OK; i++) {
        const struct plan_place *p = &taken[i]->place;
        if (p->line != job->place.line)
            continue;
        if ((int64_t)p->rank > marks->rank)
            marks->rank = (int64_t)p->rank;
        if ((int64_t)p->window > marks->window)
            marks->window = (int64_t)p->window;
    }
    return rc;
}

/* Windows below min_window were closed by a recovery, and left out by nobody who numbers releases:
 * with the mark from before it, max_jump would refuse every version that a recovery leaves. The
 * versions of a strict plan count from there; a line begins anew. */
static void forget_closed(const struct key *key, struct plan_marks *marks)
{
    int64_t last_closed = key->record.min_window - 1;
    if (marks->window >= 0 && marks->window < last_closed)
        marks->window = key->plan.order == PLAN_STRICT ? last_closed : -1;
}

static enum rc check_order(struct batch *b, struct job *const *taken, size_t count,
                           const struct job *job, struct err *err)
{
    const struct key *key = b->key;
    int64_t window = (int64_t)job->place.window;
    if (window < key->record.min_window)
        return FAIL(err, RC_REFUSED_BELOW_FLOOR, "", 0,
                    "window %" PRId64 " was closed when this device was recovered: the first that "
                    "may sign is %" PRId64,
                    window, key->record.min_window);
    /* The floor in the TPM is the mark that no ledger can lower. Per-line plans keep older lines
     * open below it, by their own marks. */
    if (key->plan.order == PLAN_STRICT && window < key_floor(key))
        return FAIL(err, RC_REFUSED_BELOW_FLOOR, "", 0,
                    "a later version has been signed: window %" PRId64 " is closed", window);
    struct plan_marks marks;
    enum rc rc = line_marks(b, taken, count, job, &marks, err);
    forget_closed(key, &marks);
    if (rc == RC_OK)
        rc = plan_order_check(&key->plan, &job->place, &marks, REQUEST_NONE, err);
    if (rc == RC_OK)
        rc = batch_export_check(b, window, err);
    return rc;
}

static struct job *same_index(struct job *const *taken, size_t count, const struct job *job)
{
    for (size_t i = 0; i < count; i++)
        if (taken[i]->place.index == job->place.index)
            return taken[i];
    return NULL;
}

/* Equal requests of one batch are one (attack 22). */
static void join_twin(struct batch *b, struct job *job, struct job *twin)
{
    if (ct_equal(twin->artifact.sha256, job->artifact.sha256, SHA256_LEN))
        job->twin = twin;
    else
        refuse_bound(b, job, twin->artifact.sha256, b->now_s, twin->request->request_id);
}

/* Put a job into the batch, or end it. Jobs of another window are left for the next round. */
static enum rc take(struct batch *b, struct job *job, struct job **taken, size_t *count,
                    struct err *err)
{
    struct err e = {0};
    struct job *twin = same_index(taken, *count, job);
    if (twin != NULL) {
        join_twin(b, job, twin);
        return RC_OK;
    }
    if (*count > 0 && taken[0]->place.window != job->place.window)
        return RC_OK;
    enum rc rc = check_order(b, taken, *count, job, &e);
    if (rc_class(rc) == RC_CLASS_HALT)
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    if (rc != RC_OK) {
        if (rc == RC_REFUSED_BELOW_FLOOR)
            view_next_version(b->key, b->ledger, job->version, job->slot, job->reply->next_version);
        job_refuse(job, rc, &e);
        return RC_OK;
    }
    bool granted = false;
    rc = limits_rate(b, job, &granted, err);
    if (rc != RC_OK || !granted || !reserve_has_room(b, job, taken, *count))
        return rc;
    request_move(&job->life, LIFE_PLACED);
    taken[(*count)++] = job;
    return RC_OK;
}

/* Committing ---------------------------------------------------------------------------------- */

static struct allocator allocator_of(const struct batch *b)
{
    return (struct allocator){
        .key = b->key, .world = b->world, .ledger = b->ledger, .wall_s = b->wall_s};
}

static void intent_lease(struct batch *b, struct job *job, struct ots_lease *lease)
{
    struct allocator alloc = allocator_of(b);
    allocate_intent(&alloc, job->place.index, job->epoch, lease);
}

static enum rc may_step(struct batch *b, int64_t window, struct err *err)
{
    struct key *key = b->key;
    if (window <= key_floor(key))
        return RC_OK;
    reserve_end_all(key, BURN_WINDOW, "a later window opened");
    enum rc rc = reserve_tidy(key, b->ledger, b->world, b->now_s, err);
    if (rc != RC_OK)
        return rc;
    /* W may step only when every anchored intent of the windows it closes has its receipt (rule 1):
     * batches run one after another and the start completes what a crash left, so none is open. */
    struct ledger_intent open;
    struct err none = {0};
    rc = ledger_next_open_intent(b->ledger, key->record.id, 0, &open, &none);
    if (rc != RC_REFUSED_NOT_FOUND)
        return FAIL(err, RC_HALT_INVARIANT, "", rc, "an intent is open while a window closes");
    return RC_OK;
}

static enum rc raise_floor(struct batch *b, int64_t window, struct err *err)
{
    struct key *key = b->key;
    if (window <= key_floor(key))
        return RC_OK;
    struct allocator alloc = allocator_of(b);
    enum rc rc = allocate_open_window(&alloc, window, err);
    if (rc == RC_OK && key->plan.order == PLAN_STRICT)
        rc = key_destroy_below(key, (uint64_t)window, err);
    return rc;
}

/* C and value of every job; one whose artifact cannot be read any more drops out, unharmed. */
static enum rc values(struct batch *b, struct job **taken, size_t *count, struct err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        struct err e = {0};
        enum rc rc = job_value(b, taken[i], &e);
        if (rc_class(rc) == RC_CLASS_HALT)
            return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
        if (rc != RC_OK)
            job_leave(taken[i], rc, &e);
        else
            taken[kept++] = taken[i];
    }
    *count = kept;
    return RC_OK;
}

static enum rc add_intent(struct batch *b, struct job *job, struct err *err)
{
    const struct request *r = job->request;
    struct ledger_intent intent = {.epoch = b->key->l + 1,
                                   .window = job->place.window,
                                   .index = job->place.index,
                                   .line = job->place.line,
                                   .rank = job->place.rank,
                                   .artifact_size = job->artifact.size,
                                   .value_len = scheme_value_len(&b->key->hbs),
                                   .remote = b->reserving,
                                   .at_s = b->now_s};
    text_copy(intent.version, sizeof(intent.version), job->version);
    text_copy(intent.slot, sizeof(intent.slot), job->slot);
    memcpy(intent.artifact_sha256, job->artifact.sha256, SHA256_LEN);
    memcpy(intent.randomizer, job->c, intent.value_len);
    if (!intent.remote)
        memcpy(intent.value, job->value, intent.value_len);
    text_copy(intent.origin.requester, sizeof(intent.origin.requester), r->requester);
    text_copy(intent.origin.request_id, sizeof(intent.origin.request_id), r->request_id);
    enum rc rc = ledger_add_intent(b->ledger, b->key->record.id, &intent, err);
    job->intent = intent.seq;
    return rc;
}

static enum rc reserve(struct batch *b, struct job **taken, size_t count, struct err *err)
{
    enum rc rc = ledger_begin(b->ledger, err);
    for (size_t i = 0; i < count && rc == RC_OK; i++)
        rc = add_intent(b, taken[i], err);
    if (rc != RC_OK) {
        ledger_rollback(b->ledger);
        return rc_class(rc) == RC_CLASS_HALT ? rc : RC_HALT_INVARIANT;
    }
    /* From here on the versions are bound: whatever fails now is the start's to sort out. */
    for (size_t i = 0; i < count; i++) {
        taken[i]->reserved = true;
        request_move(&taken[i]->life, LIFE_LEASED);
    }
    rc = ledger_commit(b->ledger, err);
    struct allocator alloc = allocator_of(b);
    if (rc == RC_OK)
        rc = allocate_anchor(&alloc, err);
    for (size_t i = 0; i < count && rc == RC_OK; i++) {
        taken[i]->epoch = b->key->l;
        request_move(&taken[i]->life, LIFE_ANCHORED);
    }
    return rc;
}

static void set_window_limit(struct batch *b, struct job *job)
{
    uint64_t left_key = 0;
    job->reply->window_limit = batch_window_cap(b);
    view_remaining(b->key, b->ledger, job->place.window, b->now_s, &job->reply->window_remaining,
                   &left_key);
}

/* A configured cap on a window, on top of what the plan gives. */
static enum rc apply_cap(struct batch *b, struct job **taken, size_t *count, struct err *err)
{
    struct ledger_usage usage;
    uint64_t window = taken[0]->place.window;
    enum rc rc = ledger_window_usage(b->ledger, b->key->record.id, window, &usage, err);
    if (rc != RC_OK)
        return rc;
    uint64_t cap = batch_window_cap(b);
    uint64_t left = usage.bound < cap ? cap - usage.bound : 0;
    while (*count > left) {
        struct err e = {0};
        struct job *job = taken[--*count];
        set_window_limit(b, job);
        job->reply->window = (int64_t)window;
        strcpy(job->reply->violated, LIMIT_WINDOW);
        limits_refused(b, job, LIMIT_WINDOW);
        job_refuse(job,
                   FAIL(&e, RC_RETRY_WINDOW_FULL, "", 0,
                        "the configured limit of %" PRIu64 " signatures for window %" PRIu64
                        " is reached",
                        cap, window),
                   &e);
    }
    return RC_OK;
}

static enum rc sign_taken(struct batch *b, struct job **taken, size_t count, struct err *err)
{
    const struct window_secret *secret = NULL;
    enum rc rc = apply_cap(b, taken, &count, err);
    if (rc == RC_OK && count > 0)
        rc = limits_window(b, taken[0]->place.window, taken, &count, err);
    if (rc == RC_OK && count > 0)
        rc = may_step(b, (int64_t)taken[0]->place.window, err);
    /* The window's secret before anything is spent on it: no intent that only recovery could get
     * rid of. */
    if (rc == RC_OK && count > 0)
        rc = batch_have_secret(b, taken[0]->place.window, &secret, err);
    if (rc != RC_OK || count == 0)
        return rc;
    rc = raise_floor(b, (int64_t)taken[0]->place.window, err);
    if (rc == RC_OK)
        rc = values(b, taken, &count, err);
    if (rc != RC_OK || count == 0)
        return rc;
    if (!b->reserving)
        batch_prepare(b, taken, count);
    rc = reserve(b, taken, count, err);
    if (rc == RC_OK)
        rc = b->reserving ? reserve_release(b, taken, count, intent_lease, err)
                          : batch_release(b, taken, count, intent_lease, NULL, err);
    for (size_t i = 0; i < count; i++)
        set_window_limit(b, taken[i]);
    return rc;
}

/* One window: choose its jobs, sign them. Jobs of other windows stay undone. */
static enum rc one_round(struct batch *b, struct job *jobs, size_t count, struct err *err)
{
    struct job *taken[BATCH_MAX];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].done || jobs[i].twin != NULL)
            continue;
        enum rc rc = look_up(b, &jobs[i], err);
        if (rc == RC_REFUSED_NOT_FOUND)
            rc = take(b, &jobs[i], taken, &n, err);
        if (rc != RC_OK)
            return rc;
    }
    return n > 0 ? sign_taken(b, taken, n, err) : RC_OK;
}

static bool undone(const struct job *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!jobs[i].done && jobs[i].twin == NULL)
            return true;
    return false;
}

static void refuse_undone(struct job *jobs, size_t count, enum rc rc, const struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (!jobs[i].done && jobs[i].twin == NULL)
            job_refuse(&jobs[i], rc, err);
}

/* Its elder comes back later, and so does it: then one of them signs, and both are answered. */
static enum rc put_off_twin(struct batch *b, struct job *job, struct err *err)
{
    struct err e = {0};
    enum rc rc = job_value(b, job, &e);
    if (rc_class(rc) == RC_CLASS_HALT)
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    if (rc == RC_OK) /* it was read before its elder was, which is about to sign */
        rc = FAIL(&e, RC_RETRY_BUSY, "", 0, "the same request is under way");
    job_leave(job, rc, &e);
    return RC_OK;
}

enum rc batch_by_version(struct batch *b, struct job *jobs, size_t count, struct err *err)
{
    MUST(count <= BATCH_MAX);
    struct clk_reading reading;
    timekeeper_look(b->clock, &reading);
    b->wall_s = reading.safe ? reading.latest_ns / INT64_C(1000000000) : 0;
    for (size_t i = 0; i < count; i++) {
        struct err e = {0};
        enum rc rc = jobs[i].done ? RC_OK : place(b, &jobs[i], &e);
        if (rc != RC_OK)
            job_refuse(&jobs[i], rc, &e);
    }
    /* Each round ends at least one job, so this ends. */
    while (undone(jobs, count)) {
        struct err e = {0};
        enum rc rc = one_round(b, jobs, count, &e);
        if (rc_class(rc) == RC_CLASS_HALT)
            return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
        /* Nothing has changed, and all may try again; but a later version must not overtake the
         * ones that wait here and close their window. */
        if (rc != RC_OK)
            refuse_undone(jobs, count, rc, &e);
    }
    /* Twins: their elder is done now, so the ledger has the answer for them too. */
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].twin == NULL || jobs[i].done)
            continue;
        if (jobs[i].twin->put_off && jobs[i].pass != NULL) {
            enum rc rc = put_off_twin(b, &jobs[i], err);
            if (rc != RC_OK)
                return rc;
            continue;
        }
        enum rc rc = look_up(b, &jobs[i], err);
        struct err e = {0};
        if (rc == RC_REFUSED_NOT_FOUND)
            job_refuse(&jobs[i],
                       FAIL(&e, RC_RETRY_BUSY, "", 0, "the same request failed a moment ago"), &e);
        else if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* Preview -------------------------------------------------------------------------------------- */

static enum rc preview_free(struct batch *b, struct job *job, struct err *err)
{
    struct err e = {0};
    enum rc rc = check_order(b, NULL, 0, job, &e);
    if (rc_class(rc) == RC_CLASS_HALT)
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    if (rc == RC_REFUSED_BELOW_FLOOR)
        view_next_version(b->key, b->ledger, job->version, job->slot, job->reply->next_version);
    if (rc != RC_OK) {
        job_refuse(job, rc, &e);
        return RC_OK;
    }
    bool granted = false;
    rc = limits_rate(b, job, &granted, err);
    if (rc != RC_OK || !granted)
        return rc;
    size_t count = 1;
    set_window_limit(b, job);
    rc = apply_cap(b, &job, &count, err);
    return rc == RC_OK ? limits_window(b, job->place.window, &job, &count, err) : rc;
}

enum rc batch_preview_version(struct batch *b, struct job *job, struct err *err)
{
    MUST(job->preview);
    struct err e = {0};
    enum rc rc = place(b, job, &e);
    if (rc != RC_OK) {
        job_refuse(job, rc, &e);
        return RC_OK;
    }
    rc = look_up(b, job, err);
    return rc == RC_REFUSED_NOT_FOUND ? preview_free(b, job, err) : rc;
}
