/* Requests of time and interval plans: any index of the open window will do. */
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "signer/batch.h"
#include "signer/limits.h"
#include "signer/reserve.h"
#include "signer/view.h"

#define NS_PER_S INT64_C(1000000000)

static struct allocator allocator_of(const struct batch *b)
{
    return (struct allocator){
        .key = b->key, .world = b->world, .ledger = b->ledger, .wall_s = b->wall_s};
}

/* Replay -------------------------------------------------------------------------------------- */

/* An idempotency key is remembered one window longer than its own (attack 24). */
static uint64_t remembered_from(const struct key *key)
{
    int64_t floor = key_floor(key);
    return floor > 1 ? (uint64_t)floor - 1 : 0;
}

/* @return RC_REFUSED_NOT_FOUND if the request is new; RC_OK if the job is done. */
static enum rc look_up(struct batch *b, struct job *job, struct err *err)
{
    static uint8_t signature[LEDGER_SIGNATURE_MAX];
    struct ledger_receipt receipt;
    struct err e = {0};
    if (job->request->idempotency_key[0] == '\0') {
        job_refuse(job,
                   FAIL(&e, RC_REFUSED_IDEM_MISSING, "", 0,
                        "this key needs an Idempotency-Key, so that a retry costs no index"),
                   &e);
        return RC_OK;
    }
    struct reservation *open = reserve_of_request(b->key, job->request->idempotency_key);
    if (open != NULL)
        return reserve_again(b, job, open, err);
    enum rc rc =
        ledger_receipt_by_idempotency(b->ledger, b->key->record.id, job->request->idempotency_key,
                                      remembered_from(b->key), &receipt, signature, &e);
    if (rc == RC_REFUSED_NOT_FOUND)
        return rc;
    if (rc != RC_OK)
        return FAIL(err, rc, "", 0, "%s", err_text(&e));
    if (!ct_equal(receipt.artifact_sha256, job->artifact.sha256, SHA256_LEN)) {
        job_refuse(job,
                   FAIL(&e, RC_REFUSED_IDEM_REUSED, "", 0,
                        "this Idempotency-Key belongs to another artifact"),
                   &e);
        return RC_OK;
    }
    rc = job_replay(b, job, &receipt, signature, &e);
    if (rc != RC_OK)
        job_refuse(job, rc, &e);
    return RC_OK;
}

/* The window of now --------------------------------------------------------------------------- */

struct opening {
    int64_t window;
    int64_t retry_after_s; /* -1: none */
    int64_t opens_s;       /* -1: none */
    bool look_only;        /* wait for nothing, and remember nothing */
};

/* When a window may be used; one that was opened early: from any time on. A clock that was set back
 * since then is not safe (clk_recall() of A's wall time). */
static void window_span(const struct key *key, uint64_t window, int64_t *start_s, int64_t *end_s)
{
    plan_window_times(&key->plan, window, start_s, end_s);
    if (key_opened_early(key) && (int64_t)window == key_floor(key))
        *start_s = 0;
}

/* The window that a trusted second belongs to: by plan, or the one that was opened before its
 * start. */
static enum rc place_time(const struct key *key, int64_t wall_s, struct opening *o, struct err *err)
{
    int64_t early = key_opened_early(key) ? key_floor(key) : -1;
    uint64_t window = 0;
    o->window = early;
    if (wall_s < key->plan.start_s) {
        if (early >= 0)
            return RC_OK;
        o->opens_s = key->plan.start_s;
        return FAIL(err, RC_REFUSED_NOT_OPEN, "", 0, "the first window has not begun");
    }
    if (plan_window_at(&key->plan, wall_s, &window, NULL) != RC_OK)
        return FAIL(err, RC_REFUSED_EXHAUSTED, "", 0, "the last window of the plan is over");
    if ((int64_t)window > early)
        o->window = (int64_t)window;
    return RC_OK;
}

/* Where [earliest, latest] lies; waits a bounded time if it straddles an edge. */
static enum rc window_of_now(struct batch *b, struct opening *o, struct err *err)
{
    const struct key *key = b->key;
    const struct key_settings *s = b->settings;
    int64_t waited_ms = 0;
    for (;;) {
        struct clk_reading r;
        timekeeper_look(b->clock, &r);
        if (!r.safe)
            return timekeeper_refuse(b->clock, &o->retry_after_s, err);
        b->wall_s = r.latest_ns / NS_PER_S;
        enum rc rc = place_time(key, b->wall_s, o, err);
        if (rc != RC_OK)
            return rc;
        int64_t start_s = 0;
        int64_t end_s = 0;
        window_span(key, (uint64_t)o->window, &start_s, &end_s);
        int64_t wait_ms = 0;
        if (clk_inside(&r, &s->clock, start_s, end_s, &wait_ms)) {
            if (!o->look_only)
                timekeeper_commit(b->clock, &r);
            return RC_OK;
        }
        /* Too near to the end: wait for the next window's guard band to pass. */
        if (wait_ms < 0)
            wait_ms = (end_s * NS_PER_S - r.earliest_ns) / 1000000 + s->clock.guard_ms + 1;
        if (o->look_only || waited_ms + wait_ms > s->edge_wait_ms) {
            o->retry_after_s = wait_ms / 1000 + 1;
            return FAIL(err, RC_RETRY_CLOCK, "", 0,
                        "between two windows: the next may be used in %" PRId64 " ms", wait_ms);
        }
        b->world->time->sleep_ms(b->world->time->ctx, (uint32_t)wait_ms);
        waited_ms += wait_ms;
    }
}

static enum rc not_open(const struct batch *b, int64_t window, struct opening *o, const char *why,
                        struct err *err)
{
    int64_t end_s = 0;
    if (window >= 0 && (uint64_t)window < b->key->plan.window_count)
        plan_window_times(&b->key->plan, (uint64_t)window, &o->opens_s, &end_s);
    o->retry_after_s = o->opens_s > b->wall_s ? o->opens_s - b->wall_s : -1;
    return FAIL(err, RC_REFUSED_NOT_OPEN, "", 0, "%s: window %" PRId64 " is the next that may sign",
                why, window);
}

/* Policy `wait`: a snapshot of a machine with a virtual TPM that is started again signs in a later
 * window than the one it was taken in. */
static bool must_wait(const struct batch *b)
{
    return b->settings->virtual_policy == VIRTUAL_WAIT && b->key->is_virtual;
}

/* A machine that was put aside and resumed, or restored, may have signed in the window that was
 * open then, in a life that it does not remember. A TPM of hardware remembers it. */
static bool stays_closed(const struct batch *b, int64_t window)
{
    int64_t start_s = 0;
    int64_t end_s = 0;
    if (!b->key->is_virtual || b->clock->verdict.closed_before_ns == 0)
        return false;
    window_span(b->key, (uint64_t)window, &start_s, &end_s);
    return start_s <= b->clock->verdict.closed_before_ns / NS_PER_S;
}

static enum rc check_floor(struct batch *b, struct opening *o, struct err *err)
{
    struct key *key = b->key;
    int64_t floor = key_floor(key);
    if (o->window < floor && b->wall_s < key->a.wall_s) {
        /* The clock says less than it has said before: set back. No override; time must catch up,
         * and that is how long it takes. */
        o->retry_after_s = key->a.wall_s - b->wall_s;
        return FAIL(err, RC_RETRY_CLOCK, "", 0,
                    "the clock is %" PRId64 " s behind the last time that the TPM has seen",
                    o->retry_after_s);
    }
    if (o->window < floor)
        return not_open(b, floor, o, "the TPM's window counter is ahead of this window", err);
    if (o->window < key->record.min_window)
        return not_open(b, key->record.min_window, o, "this device may not sign in this window",
                        err);
    if (stays_closed(b, o->window))
        return not_open(b, o->window + 1, o,
                        "this window was open while this machine stood still, and a virtual TPM "
                        "may have stood still with it",
                        err);
    if (must_wait(b)) {
        key_note_time(key, b->wall_s);
        if (o->window <= key->started_window)
            return not_open(b, key->started_window + 1, o,
                            "on a virtual TPM nothing is signed in the window of the start", err);
    }
    return RC_OK;
}

/* How many signatures the configured cap leaves in the open window. */
static enum rc cap_left(struct batch *b, size_t *left, struct err *err)
{
    struct ledger_usage usage;
    uint64_t cap = batch_window_cap(b);
    *left = SIZE_MAX;
    if (cap == b->key->plan.window_usable)
        return RC_OK;
    enum rc rc =
        ledger_window_usage(b->ledger, b->key->record.id, (uint64_t)key_floor(b->key), &usage, err);
    uint64_t used = usage.receipts + usage.reserved;
    *left = rc == RC_OK && used < cap ? (size_t)(cap - used) : 0;
    return rc;
}

/* Interval plans: the open window until it is full, by plan or by cap, then the next. */
static enum rc window_by_interval(struct batch *b, struct opening *o, struct err *err)
{
    const struct key *key = b->key;
    int64_t floor = key_floor(key);
    o->window = floor > key->record.min_window ? floor : key->record.min_window;
    /* A start that found A lost in the last window has stepped W behind it. */
    if (o->window == floor && (uint64_t)floor < key->plan.window_count) {
        uint64_t first = 0;
        uint64_t count = 0;
        size_t left = 0;
        enum rc rc = cap_left(b, &left, err);
        if (rc != RC_OK)
            return rc;
        bool lease_left = key->lease.epoch != 0 && key->lease.next < key->lease.count;
        if (left == 0)
            o->window++;
        else if (!lease_left && plan_lease(&key->plan, (uint64_t)floor, key->l - key->a.l_base,
                                           &first, &count, NULL) == RC_RETRY_WINDOW_FULL)
            o->window++;
    }
    if ((uint64_t)o->window >= key->plan.window_count)
        return FAIL(err, RC_REFUSED_EXHAUSTED, "", 0, "the last window of the plan is full");
    return batch_export_check(b, o->window, err);
}

static enum rc choose_window(struct batch *b, struct opening *o, struct err *err)
{
    if (b->key->plan.kind != PLAN_TIME)
        return window_by_interval(b, o, err);
    enum rc rc = window_of_now(b, o, err);
    return rc == RC_OK ? check_floor(b, o, err) : rc;
}

static enum rc open_window(struct batch *b, struct opening *o, struct err *err)
{
    struct key *key = b->key;
    enum rc rc = choose_window(b, o, err);
    if (rc != RC_OK)
        return rc;
    const struct window_secret *secret = NULL;
    rc = batch_have_secret(b, (uint64_t)o->window, &secret, err);
    if (rc != RC_OK || o->window == key_floor(key))
        return rc;
    struct allocator alloc = allocator_of(b);
    rc = allocate_open_window(&alloc, o->window, err);
    if (rc == RC_OK)
        rc = key_destroy_below(key, (uint64_t)o->window, err);
    return rc;
}

/* Leases -------------------------------------------------------------------------------------- */

static void lease_next(struct batch *b, struct job *job, struct ots_lease *lease)
{
    (void)job;
    struct allocator alloc = allocator_of(b);
    allocate_next(&alloc, lease);
}

static bool time_still_inside(struct batch *b, struct err *err)
{
    struct clk_reading r;
    timekeeper_look(b->clock, &r);
    int64_t start_s = 0;
    int64_t end_s = 0;
    int64_t wait_ms = 0;
    window_span(b->key, (uint64_t)key_floor(b->key), &start_s, &end_s);
    if (r.safe && clk_inside(&r, &b->settings->clock, start_s, end_s, &wait_ms))
        return true;
    (void)FAIL(err, RC_BURNED_CLOCK, "", r.reasons,
               "the window ended, or the clock became unsafe, while the signature was made");
    return false;
}

open_check batch_open_check(const struct batch *b)
{
    return b->key->plan.kind == PLAN_TIME ? time_still_inside : NULL;
}

/* Every step to another window ends what was reserved, so only the floor's is asked about. */
enum rc batch_still_open(struct batch *b, int64_t *retry_after_s, struct err *err)
{
    struct clk_reading r;
    int64_t start_s = 0;
    int64_t end_s = 0;
    int64_t wait_ms = 0;
    *retry_after_s = REQUEST_NONE;
    timekeeper_look(b->clock, &r);
    b->wall_s = r.safe ? r.latest_ns / NS_PER_S : 0;
    if (b->key->plan.kind != PLAN_TIME || key_floor(b->key) < 0)
        return RC_OK;
    if (!r.safe)
        return timekeeper_refuse(b->clock, retry_after_s, err);
    window_span(b->key, (uint64_t)key_floor(b->key), &start_s, &end_s);
    if (clk_inside(&r, &b->settings->clock, start_s, end_s, &wait_ms))
        return RC_OK;
    if (wait_ms < 0)
        return FAIL(err, RC_REFUSED_EXPIRED, "", 0, "the window is over");
    *retry_after_s = wait_ms / 1000 + 1;
    return FAIL(err, RC_RETRY_CLOCK, "", 0, "the window may be used in %" PRId64 " ms", wait_ms);
}

static void set_window_limit(struct batch *b, struct job *job)
{
    int64_t start_s = 0;
    int64_t end_s = 0;
    uint64_t left_key = 0;
    job->reply->window_limit = batch_window_cap(b);
    view_remaining(b->key, b->ledger, (uint64_t)key_floor(b->key), b->now_s,
                   &job->reply->window_remaining, &left_key);
    if (b->key->plan.kind != PLAN_TIME)
        return;
    plan_window_times(&b->key->plan, (uint64_t)key_floor(b->key), &start_s, &end_s);
    job->reply->window_reset_s = end_s > b->wall_s ? end_s - b->wall_s : 0;
}

/* Sign as many of the waiting jobs as the lease in hand has indices. */
static enum rc sign_chunk(struct batch *b, struct job **waiting, size_t count, size_t *taken,
                          struct err *err)
{
    struct open_lease *lease = &b->key->lease;
    struct job *chunk[BATCH_MAX];
    size_t n = 0;
    *taken = 0;
    for (uint64_t at = lease->next; *taken < count && at < lease->count; ++*taken) {
        struct job *job = waiting[*taken];
        struct err e = {0};
        job->place.window = lease->window;
        job->place.index = lease->first + at;
        job->epoch = lease->epoch;
        enum rc rc = job_value(b, job, &e);
        if (rc_class(rc) == RC_CLASS_HALT)
            return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
        if (rc != RC_OK) {
            job_leave(job, rc, &e); /* no index was assigned to it yet */
            continue;
        }
        job->reserved = true;
        request_move(&job->life, LIFE_LEASED);
        request_move(&job->life, LIFE_ANCHORED);
        chunk[n++] = job;
        at++;
    }
    if (n == 0)
        return RC_OK;
    if (!b->reserving)
        batch_prepare(b, chunk, n);
    enum rc rc = b->reserving ? reserve_release(b, chunk, n, lease_next, err)
                              : batch_release(b, chunk, n, lease_next, batch_open_check(b), err);
    for (size_t i = 0; i < n; i++)
        set_window_limit(b, chunk[i]);
    return rc;
}

static void refuse_full(struct batch *b, struct job *job)
{
    struct err e = {0};
    set_window_limit(b, job);
    job->reply->window_remaining = 0;
    job->reply->window = key_floor(b->key);
    strcpy(job->reply->violated, LIMIT_WINDOW);
    limits_refused(b, job, LIMIT_WINDOW);
    if (b->key->plan.kind == PLAN_TIME) {
        job->reply->retry_after_s = job->reply->window_reset_s;
        job->reply->window_opens_s = b->wall_s + job->reply->window_reset_s;
    }
    job_refuse(
        job,
        FAIL(&e, RC_RETRY_WINDOW_FULL, "", 0, "window %" PRId64 " is used up", key_floor(b->key)),
        &e);
}

/* How many more the configured limit of the open window lets through; without one the leases alone
 * decide. */
/* The lease in hand, or the next one; an interval plan goes on in the next window. */
static enum rc have_lease(struct batch *b, struct err *err)
{
    const struct open_lease *lease = &b->key->lease;
    if (lease->epoch != 0 && lease->next < lease->count)
        return RC_OK;
    struct allocator alloc = allocator_of(b);
    enum rc rc = allocate_lease(&alloc, b->now_s, err);
    if (rc != RC_RETRY_WINDOW_FULL || b->key->plan.kind != PLAN_INTERVAL)
        return rc;
    struct opening opening = {.window = -1};
    *err = (struct err){0};
    rc = open_window(b, &opening, err);
    return rc == RC_OK ? allocate_lease(&alloc, b->now_s, err) : rc;
}

/* A lease with indices left, and how many of them may be used. An interval plan may have moved on
 * to another window for it, which has a limit of its own. */
static enum rc lease_and_cap(struct batch *b, size_t *left, struct err *err)
{
    int64_t window = key_floor(b->key);
    enum rc rc = cap_left(b, left, err);
    if (rc == RC_OK && *left > 0)
        rc = have_lease(b, err);
    if (rc == RC_OK && key_floor(b->key) != window)
        rc = cap_left(b, left, err);
    if (rc == RC_OK && *left == 0)
        return FAIL(err, RC_RETRY_WINDOW_FULL, "", 0, "the window's limit is reached");
    return rc;
}

/* Those first whose value is known for the next index, and those last that are still to be read:
 * whoever signs in between takes the index that they would be read for. */
static void line_up(struct job **waiting, size_t count)
{
    struct job *sorted[BATCH_MAX];
    size_t n = 0;
    for (int rank = 0; rank < 3; rank++)
        for (size_t i = 0; i < count; i++) {
            const struct artifact *a = &waiting[i]->artifact;
            bool large = a->message_len == 0 && a->size > ARTIFACT_LARGE;
            if ((a->at.known ? 0 : large ? 2 : 1) == rank)
                sorted[n++] = waiting[i];
        }
    memcpy(waiting, sorted, n * sizeof(waiting[0]));
}

static enum rc sign_waiting(struct batch *b, struct job **waiting, size_t count, struct err *err)
{
    size_t at = 0;
    enum rc rc = RC_OK;
    struct err e = {0};
    while (at < count) {
        size_t left = 0;
        /* A window that ended under the first indices takes no more of them. */
        if (at > 0 && b->key->plan.kind == PLAN_TIME && !time_still_inside(b, &e)) {
            rc = RC_RETRY_CLOCK;
            break;
        }
        rc = lease_and_cap(b, &left, &e);
        if (rc_class(rc) == RC_CLASS_HALT)
            return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
        if (rc != RC_OK)
            break;
        size_t taken = 0;
        size_t most = left < count - at ? left : count - at;
        rc = sign_chunk(b, waiting + at, most, &taken, err);
        if (rc != RC_OK)
            return rc;
        at += taken;
    }
    for (; at < count; at++) {
        if (rc == RC_RETRY_WINDOW_FULL)
            refuse_full(b, waiting[at]);
        else
            job_refuse(waiting[at], rc, &e);
    }
    return RC_OK;
}

/* A second request with one idempotency key in one batch waits for the first one's answer. */
static bool is_running(struct job *const *waiting, size_t count, const struct job *job)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(waiting[i]->request->idempotency_key, job->request->idempotency_key) == 0)
            return true;
    return false;
}

enum rc batch_by_window(struct batch *b, struct job *jobs, size_t count, struct err *err)
{
    struct job *waiting[BATCH_MAX];
    size_t n = 0;
    MUST(count <= BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        struct err e = {0};
        enum rc rc = RC_OK;
        if (jobs[i].done)
            continue;
        if (jobs[i].request->by != REQUEST_BY_WINDOW) {
            job_refuse(&jobs[i],
                       FAIL(&e, RC_REFUSED_OUTSIDE_PLAN, "", 0,
                            "this key signs by window: ask for window=current"),
                       &e);
            continue;
        }
        rc = job_admit(b, &jobs[i], &e);
        if (rc != RC_OK) {
            job_refuse(&jobs[i], rc, &e);
            continue;
        }
        rc = look_up(b, &jobs[i], err);
        if (rc == RC_OK)
            continue;
        if (rc != RC_REFUSED_NOT_FOUND)
            return rc;
        if (is_running(waiting, n, &jobs[i])) {
            jobs[i].reply->retry_after_s = 1;
            job_refuse(
                &jobs[i],
                FAIL(&e, RC_RETRY_BUSY, "", 0, "a request with this Idempotency-Key is running"),
                &e);
            continue;
        }
        bool granted = false;
        rc = limits_rate(b, &jobs[i], &granted, err);
        if (rc != RC_OK)
            return rc;
        if (granted && reserve_has_room(b, &jobs[i], waiting, n)) {
            request_move(&jobs[i].life, LIFE_PLACED);
            waiting[n++] = &jobs[i];
        }
    }
    if (n == 0)
        return RC_OK;
    struct opening opening = {.window = -1, .retry_after_s = -1, .opens_s = -1};
    struct err e = {0};
    enum rc rc = open_window(b, &opening, &e);
    if (rc_class(rc) == RC_CLASS_HALT)
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    for (size_t i = 0; rc != RC_OK && i < n; i++) {
        waiting[i]->reply->retry_after_s = opening.retry_after_s;
        waiting[i]->reply->window_opens_s = opening.opens_s;
        job_refuse(waiting[i], rc, &e);
    }
    if (rc != RC_OK)
        return RC_OK;
    rc = limits_window(b, (uint64_t)key_floor(b->key), waiting, &n, err);
    if (rc != RC_OK)
        return rc;
    line_up(waiting, n);
    return sign_waiting(b, waiting, n, err);
}

/* Preview -------------------------------------------------------------------------------------- */

/* The index that the next request of this window would be given. */
static enum rc next_index(const struct key *key, uint64_t window, uint64_t *index, struct err *err)
{
    const struct open_lease *lease = &key->lease;
    uint64_t count = 0;
    bool open = (int64_t)window == key_floor(key);
    if (open && lease->epoch != 0 && lease->next < lease->count) {
        *index = lease->first + lease->next;
        return RC_OK;
    }
    return plan_lease(&key->plan, window, open ? key->l - key->a.l_base : 0, index, &count, err);
}

static void preview_limits(struct batch *b, struct job *job)
{
    int64_t start_s = 0;
    int64_t end_s = 0;
    uint64_t left_key = 0;
    job->reply->window_limit = batch_window_cap(b);
    view_remaining(b->key, b->ledger, job->place.window, b->now_s, &job->reply->window_remaining,
                   &left_key);
    if (b->key->plan.kind != PLAN_TIME)
        return;
    plan_window_times(&b->key->plan, job->place.window, &start_s, &end_s);
    job->reply->window_reset_s = end_s > b->wall_s ? end_s - b->wall_s : 0;
}

static enum rc preview_place(struct batch *b, struct job *job, struct err *err)
{
    struct opening o = {.window = -1, .retry_after_s = -1, .opens_s = -1, .look_only = true};
    struct err e = {0};
    size_t left = SIZE_MAX;
    enum rc rc = choose_window(b, &o, &e);
    if (rc == RC_OK) {
        job->place.window = (uint64_t)o.window;
        if (o.window == key_floor(b->key))
            rc = cap_left(b, &left, &e);
        if (rc == RC_OK)
            rc = left == 0 ? RC_RETRY_WINDOW_FULL
                           : next_index(b->key, job->place.window, &job->place.index, &e);
    }
    if (rc_class(rc) == RC_CLASS_HALT)
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    if (rc == RC_RETRY_WINDOW_FULL) {
        refuse_full(b, job);
    } else if (rc != RC_OK) {
        job->reply->retry_after_s = o.retry_after_s;
        job->reply->window_opens_s = o.opens_s;
        job_refuse(job, rc, &e);
    } else {
        size_t count = 1;
        preview_limits(b, job);
        return limits_window(b, job->place.window, &job, &count, err);
    }
    return RC_OK;
}

enum rc batch_preview_window(struct batch *b, struct job *job, struct err *err)
{
    MUST(job->preview);
    struct err e = {0};
    if (job->request->by != REQUEST_BY_WINDOW) {
        job_refuse(job,
                   FAIL(&e, RC_REFUSED_OUTSIDE_PLAN, "", 0,
                        "this key signs by window: ask for window=current"),
                   &e);
        return RC_OK;
    }
    enum rc admitted = job_admit(b, job, &e);
    if (admitted != RC_OK) {
        job_refuse(job, admitted, &e);
        return RC_OK;
    }
    /* Without key or digest there is nothing that could have been signed before. */
    bool known = job->request->op != REQUEST_PREVIEW || job->request->digest_claimed;
    if (known && job->request->idempotency_key[0] != '\0') {
        enum rc rc = look_up(b, job, err);
        if (rc != RC_REFUSED_NOT_FOUND)
            return rc;
    }
    bool granted = false;
    enum rc rc = limits_rate(b, job, &granted, err);
    return rc == RC_OK && granted ? preview_place(b, job, err) : rc;
}
