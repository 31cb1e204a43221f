#include "signer/reserve.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "signer/branches.h"
#include "signer/limits.h"
#include "signer/scheme.h"
#include "signer/view.h"

#define NS_PER_S INT64_C(1000000000)
#define EXPIRED "the reservation expired"
#define ENDED_BY_START "the process that held the reservation ended"

/* The table ----------------------------------------------------------------------------------- */

static void forget(struct reservation *r)
{
    wipe(r, sizeof(*r));
}

static void end(struct key *key, struct reservation *r, enum burn_reason reason, const char *why)
{
    wipe(&r->lease, sizeof(r->lease));
    r->state = RESERVATION_ENDED;
    r->reason = reason;
    r->why = why;
    log_event(LOG_LEVEL_WARNING,
              &(struct log_fields){.key = key->record.name,
                                   .index = (int64_t)r->record.index,
                                   .request_id = r->record.origin.request_id},
              "index is burned: %s", why);
}

static struct reservation *find(const struct key *key, enum reservation_state state)
{
    for (size_t i = 0; key->reservations != NULL && i < RESERVATIONS_MAX; i++)
        if (key->reservations[i].state == state)
            return &key->reservations[i];
    return NULL;
}

void reserve_end_all(struct key *key, enum burn_reason reason, const char *why)
{
    struct reservation *r = NULL;
    while ((r = find(key, RESERVATION_OPEN)) != NULL)
        end(key, r, reason, why);
}

uint64_t reserve_not_burned(const struct key *key)
{
    uint64_t n = 0;
    for (size_t i = 0; key->reservations != NULL && i < RESERVATIONS_MAX; i++)
        n += key->reservations[i].state != RESERVATION_FREE ? 1 : 0;
    return n;
}

uint64_t reserve_open_in(const struct key *key, uint64_t window)
{
    uint64_t n = 0;
    for (size_t i = 0; key->reservations != NULL && i < RESERVATIONS_MAX; i++)
        n += key->reservations[i].state == RESERVATION_OPEN &&
                     key->reservations[i].record.window == window
                 ? 1
                 : 0;
    return n;
}

struct reservation *reserve_of_index(const struct key *key, uint64_t index)
{
    for (size_t i = 0; key->reservations != NULL && i < RESERVATIONS_MAX; i++)
        if (key->reservations[i].state == RESERVATION_OPEN &&
            key->reservations[i].record.index == index)
            return &key->reservations[i];
    return NULL;
}

struct reservation *reserve_of_request(const struct key *key, const char *idempotency_key)
{
    for (size_t i = 0; key->reservations != NULL && i < RESERVATIONS_MAX; i++)
        if (key->reservations[i].state == RESERVATION_OPEN && idempotency_key[0] != '\0' &&
            strcmp(key->reservations[i].record.origin.idempotency_key, idempotency_key) == 0)
            return &key->reservations[i];
    return NULL;
}

static enum rc burn(struct ledger *ledger, uint32_t key, const struct ledger_reservation *r,
                    enum burn_reason reason, const char *why, int64_t now_s, struct err *err)
{
    char text[LEDGER_TEXT_MAX + 1];
    burn_text(text, sizeof(text), reason, why);
    return ledger_add_burn(ledger, key, r->window, r->index, 1, text, now_s, err);
}

/* Commit, or leave nothing behind: what cannot be recorded ends the work on the key. */
static enum rc commit(struct ledger *ledger, enum rc rc, struct err *err)
{
    if (rc == RC_OK)
        return ledger_commit(ledger, err);
    ledger_rollback(ledger);
    return rc_class(rc) == RC_CLASS_HALT ? rc : RC_HALT_INVARIANT;
}

static enum rc burn_open(struct key *key, struct ledger *ledger, int64_t now_s, struct err *err)
{
    for (uint64_t after = 0;;) {
        struct ledger_reservation r;
        struct err none = {0};
        enum rc rc = ledger_next_open_reservation(ledger, key->record.id, after, &r, &none);
        if (rc == RC_REFUSED_NOT_FOUND)
            return RC_OK;
        if (rc != RC_OK)
            return FAIL(err, rc, none.origin, none.native, "%s", err_text(&none));
        after = r.seq;
        rc = ledger_begin(ledger, err);
        if (rc == RC_OK)
            rc = commit(ledger,
                        burn(ledger, key->record.id, &r, BURN_RESTART, ENDED_BY_START, now_s, err),
                        err);
        if (rc != RC_OK)
            return rc;
        log_event(LOG_LEVEL_WARNING,
                  &(struct log_fields){.key = key->record.name,
                                       .index = (int64_t)r.index,
                                       .request_id = r.origin.request_id},
                  "index is burned: " ENDED_BY_START);
    }
}

enum rc reserve_start(struct key *key, struct ledger *ledger, int64_t now_s, struct err *err)
{
    if (!key->plan.remote.allowed)
        return RC_OK;
    key->reservations = calloc(RESERVATIONS_MAX, sizeof(*key->reservations));
    if (key->reservations == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for reservations");
    return burn_open(key, ledger, now_s, err);
}

void reserve_stop(struct key *key)
{
    if (key->reservations != NULL)
        wipe(key->reservations, RESERVATIONS_MAX * sizeof(*key->reservations));
    free(key->reservations);
    key->reservations = NULL;
}

static void expire(struct key *key, const struct world *world)
{
    int64_t now_ns = world->time->raw_ns(world->time->ctx);
    for (size_t i = 0; i < RESERVATIONS_MAX; i++) {
        struct reservation *r = &key->reservations[i];
        if (r->state == RESERVATION_OPEN && now_ns >= r->expires_ns)
            end(key, r, BURN_EXPIRED, EXPIRED);
    }
}

enum rc reserve_tidy(struct key *key, struct ledger *ledger, const struct world *world,
                     int64_t now_s, struct err *err)
{
    if (key->reservations == NULL)
        return RC_OK;
    expire(key, world);
    if (find(key, RESERVATION_ENDED) == NULL)
        return RC_OK;
    enum rc rc = ledger_begin(ledger, err);
    if (rc != RC_OK)
        return rc;
    for (size_t i = 0; i < RESERVATIONS_MAX && rc == RC_OK; i++) {
        const struct reservation *r = &key->reservations[i];
        if (r->state == RESERVATION_ENDED)
            rc = burn(ledger, key->record.id, &r->record, r->reason, r->why, now_s, err);
    }
    rc = commit(ledger, rc, err);
    struct reservation *r = NULL;
    while (rc == RC_OK && (r = find(key, RESERVATION_ENDED)) != NULL)
        forget(r);
    return rc;
}

/* Opening ------------------------------------------------------------------------------------- */

static bool is_of(const struct reservation *r, const struct job *job)
{
    return strcmp(r->record.origin.requester, job->request->requester) == 0;
}

bool reserve_has_room(struct batch *b, struct job *job, struct job *const *taken, size_t count)
{
    const struct key *key = b->key;
    struct err e = {0};
    size_t all = count;
    size_t own = 0;
    int64_t first_ns = INT64_MAX;
    if (!b->reserving)
        return true;
    for (size_t i = 0; i < count; i++)
        own += strcmp(taken[i]->request->requester, job->request->requester) == 0 ? 1 : 0;
    for (size_t i = 0; i < RESERVATIONS_MAX; i++) {
        const struct reservation *r = &key->reservations[i];
        all += r->state != RESERVATION_FREE ? 1 : 0;
        if (r->state != RESERVATION_OPEN)
            continue;
        own += is_of(r, job) ? 1 : 0;
        first_ns = r->expires_ns < first_ns ? r->expires_ns : first_ns;
    }
    if (own < key->plan.remote.open_per_caller && all < RESERVATIONS_MAX)
        return true;
    int64_t left_ns = first_ns - b->world->time->raw_ns(b->world->time->ctx);
    job->reply->retry_after_s = first_ns == INT64_MAX || left_ns < 0 ? 1 : left_ns / NS_PER_S + 1;
    strcpy(job->reply->violated, LIMIT_RESERVATIONS);
    limits_refused(b, job, LIMIT_RESERVATIONS);
    job_refuse(job,
               FAIL(&e, RC_RETRY_RATE, "", 0,
                    "%zu reservations are open for this caller, of %" PRIu32
                    " that the plan allows, and %zu in all, of %d",
                    own, key->plan.remote.open_per_caller, all, RESERVATIONS_MAX),
               &e);
    return false;
}

/* Rule 6, as for a signature: a memory image that was resumed gives no prefix away, neither a new
 * one nor one that its other life has used or burned meanwhile. */
static enum rc prove(struct batch *b, struct err *err)
{
    struct tpm_time time;
    int64_t asked_ns = timekeeper_raw_ns(b->clock);
    enum rc rc = b->world->tpm->prove(b->key->anchor, b->key->l, &time, err);
    if (rc == RC_OK)
        timekeeper_tpm(b->clock, &time, asked_ns);
    return rc;
}

/* What the caller is told: where, what to hash before the artifact, how, and until when. */
static enum rc tell(struct batch *b, struct job *job, const struct reservation *r, struct err *err)
{
    const struct hbs_branch *branch = NULL;
    const struct allocator alloc = {.key = b->key, .world = b->world, .ledger = b->ledger};
    uint8_t prefix[HBS_PREFIX_MAX];
    const char *hash = NULL;
    struct signature_view *v = &job->reply->signature;
    enum rc rc = branches_of(&alloc, b->tpm, r->record.window, r->record.index, &branch, err);
    if (rc != RC_OK)
        return rc;
    _Static_assert(HBS_PREFIX_MAX <= REQUEST_PREFIX_MAX, "room for what is hashed before");
    size_t len = hbs_message_prefix(branch, r->record.index, r->c, prefix, &hash);
    job->signature = malloc(len);
    if (job->signature == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for the answer");
    memcpy(job->signature, prefix, len);
    job->signature_len = len;
    *v = (struct signature_view){.window = r->record.window, .index = r->record.index};
    memcpy(v->id, r->record.id, sizeof(v->id));
    text_copy(v->key, sizeof(v->key), b->key->record.name);
    text_copy(v->version, sizeof(v->version), r->version);
    text_copy(v->slot, sizeof(v->slot), r->slot);
    memcpy(v->plan_sha256, b->key->plan.sha256, SHA256_LEN);
    memcpy(v->artifact_sha256, r->record.artifact_sha256, SHA256_LEN);
    view_remaining(b->key, b->ledger, v->window, b->now_s, &v->remaining_window, &v->remaining_key);
    job->reply->window = (int64_t)v->window;
    job->reply->reserved = true;
    job->reply->expires_s = r->record.expires_s;
    text_copy(job->reply->hash, sizeof(job->reply->hash), hash);
    job_finish(job, LIFE_RESERVED, RC_OK, NULL);
    return RC_OK;
}

enum rc reserve_again(struct batch *b, struct job *job, struct reservation *r, struct err *err)
{
    struct err e = {0};
    bool same = ct_equal(r->record.artifact_sha256, job->artifact.sha256, SHA256_LEN);
    int64_t left_ns = r->expires_ns - b->world->time->raw_ns(b->world->time->ctx);
    enum rc rc = RC_OK;
    if (!same && b->key->plan.kind != PLAN_VERSION)
        rc = FAIL(&e, RC_REFUSED_IDEM_REUSED, "", 0,
                  "this Idempotency-Key belongs to another artifact");
    else if (!b->reserving || !is_of(r, job))
        rc = FAIL(&e, RC_RETRY_BUSY, "", 0, "index %" PRIu64 " is reserved for a remote hash",
                  r->record.index);
    else
        rc = prove(b, &e);
    if (rc == RC_OK)
        rc = tell(b, job, r, &e);
    if (rc == RC_OK)
        job->reply->replayed = true;
    if (rc == RC_RETRY_BUSY)
        job->reply->retry_after_s = left_ns > 0 ? left_ns / NS_PER_S + 1 : 1;
    if (rc_class(rc) == RC_CLASS_HALT)
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    if (rc != RC_OK)
        job_refuse(job, rc, &e);
    return RC_OK;
}

static void fill(struct batch *b, const struct job *job, struct reservation *r)
{
    const struct request *q = job->request;
    int64_t lasts_s = b->key->plan.remote.expires_s;
    *r = (struct reservation){.state = RESERVATION_OPEN,
                              .expires_ns =
                                  b->world->time->raw_ns(b->world->time->ctx) + lasts_s * NS_PER_S,
                              .record = {.epoch = job->epoch,
                                         .window = job->place.window,
                                         .index = job->place.index,
                                         .intent = job->intent,
                                         .expires_s = b->now_s + lasts_s,
                                         .at_s = b->now_s}};
    memcpy(r->c, job->c, sizeof(r->c));
    memcpy(r->record.artifact_sha256, job->artifact.sha256, SHA256_LEN);
    text_copy(r->version, sizeof(r->version), job->version);
    text_copy(r->slot, sizeof(r->slot), job->slot);
    text_copy(r->record.origin.requester, sizeof(r->record.origin.requester), q->requester);
    text_copy(r->record.origin.request_id, sizeof(r->record.origin.request_id), q->request_id);
    text_copy(r->record.origin.idempotency_key, sizeof(r->record.origin.idempotency_key),
              q->idempotency_key);
}

/* Reservations with their leases, which the allocator gives in the order of the jobs; durable. */
static enum rc record(struct batch *b, struct job **jobs, size_t count, lease_source lease_of,
                      struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        struct reservation *r = find(b->key, RESERVATION_FREE);
        MUST(r != NULL); /* reserve_has_room() */
        fill(b, jobs[i], r);
        lease_of(b, jobs[i], &r->lease);
        MUST(r->lease.index == r->record.index);
        jobs[i]->reservation = r;
    }
    enum rc rc = ledger_begin(b->ledger, err);
    for (size_t i = 0; i < count && rc == RC_OK; i++)
        rc = ledger_add_reservation(b->ledger, b->key->record.id, &jobs[i]->reservation->record,
                                    err);
    return commit(b->ledger, rc, err);
}

enum rc reserve_release(struct batch *b, struct job **jobs, size_t count, lease_source lease_of,
                        struct err *err)
{
    MUST(count <= BATCH_MAX);
    enum rc rc = record(b, jobs, count, lease_of, err);
    if (rc == RC_OK)
        rc = prove(b, err);
    if (rc != RC_OK) {
        rc = rc_class(rc) == RC_CLASS_RETRY ? RC_HALT_ANCHOR : rc;
        for (size_t i = 0; i < count; i++)
            job_burn(jobs[i], rc, err);
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        struct err e = {0};
        rc = tell(b, jobs[i], jobs[i]->reservation, &e);
        if (rc == RC_OK)
            continue;
        end(b->key, jobs[i]->reservation, BURN_OTHER, "the answer could not be given");
        job_burn(jobs[i], rc, &e);
    }
    return RC_OK;
}

static enum rc remote_off(const struct key *key, struct err *err)
{
    return FAIL(err, RC_REFUSED_NOT_REMOTE, "", 0,
                "the plan of %s does not allow it (remote_hashing)", key->record.name);
}

enum rc reserve_open(struct batch *b, struct job *jobs, size_t count, struct err *err)
{
    struct err e = {0};
    if (!b->key->plan.remote.allowed) {
        for (size_t i = 0; i < count; i++)
            job_refuse(&jobs[i], remote_off(b->key, &e), &e);
        return RC_OK;
    }
    enum rc rc = reserve_tidy(b->key, b->ledger, b->world, b->now_s, err);
    b->reserving = true;
    for (size_t i = 0; i < count; i++) {
        jobs[i].artifact = (struct artifact){.fd = -1, .mode = PLAN_RAW};
        memcpy(jobs[i].artifact.sha256, jobs[i].request->digest, SHA256_LEN);
        if (rc != RC_OK)
            job_refuse(&jobs[i], rc, err);
    }
    return rc == RC_OK ? batch_sign(b, jobs, count, err) : rc;
}

/* Signing ------------------------------------------------------------------------------------- */

static void lease_of_reservation(struct batch *b, struct job *job, struct ots_lease *lease)
{
    (void)b;
    *lease = job->reservation->lease;
    wipe(&job->reservation->lease, sizeof(job->reservation->lease));
}

/* The receipt of a reservation that was used: the same hash gets it again, no other one anything.
 * @return RC_REFUSED_NOT_FOUND if there is none; RC_OK if the job is done. */
static enum rc look_up(struct batch *b, struct job *job, struct err *err)
{
    static uint8_t signature[LEDGER_SIGNATURE_MAX];
    const struct request *q = job->request;
    struct ledger_receipt receipt;
    struct err e = {0};
    enum rc rc = ledger_receipt_by_id(b->ledger, b->key->record.id, q->id, &receipt, signature, &e);
    if (rc == RC_REFUSED_NOT_FOUND || (rc == RC_OK && receipt.caller_hash_len == 0))
        return RC_REFUSED_NOT_FOUND;
    if (rc != RC_OK)
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    if (strcmp(receipt.origin.requester, q->requester) != 0)
        rc = FAIL(&e, RC_REFUSED_ACCESS, "", 0, "the reservation is another caller's");
    else if (receipt.caller_hash_len != q->hash_len ||
             !ct_equal(receipt.caller_hash, q->digest, q->hash_len))
        rc = FAIL(&e, RC_REFUSED_OTHER_HASH, "", 0,
                  "index %" PRIu64 " has signed another hash, and signs no second one",
                  receipt.index);
    else
        rc = job_replay(b, job, &receipt, signature, &e);
    if (rc != RC_OK)
        job_refuse(job, rc, &e);
    return RC_OK;
}

static enum rc refuse_absent(struct batch *b, struct job *job, struct err *err)
{
    const struct request *q = job->request;
    struct ledger_reservation r;
    struct err e = {0};
    uint64_t index = be_get64(q->id + LEDGER_ID_LEN - sizeof(index));
    enum rc rc = ledger_reservation_by_index(b->ledger, b->key->record.id, index, &r, &e);
    if (rc_class(rc) == RC_CLASS_HALT)
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    e = (struct err){0};
    if (rc == RC_OK && ct_equal(r.id, q->id, LEDGER_ID_LEN)) {
        job->reply->burned_index = (int64_t)index;
        rc = FAIL(&e, RC_REFUSED_EXPIRED, "", 0,
                  "the reservation of index %" PRIu64
                  " has ended, and the index is burned: ask for another one",
                  index);
    } else {
        rc = FAIL(&e, RC_REFUSED_NOT_FOUND, "", 0, "there is no such reservation");
    }
    job_refuse(job, rc, &e);
    return RC_OK;
}

static enum rc check_hash(const struct batch *b, struct job *job, const struct reservation *r,
                          struct err *err)
{
    size_t n = scheme_value_len(&b->key->hbs);
    text_copy(job->version, sizeof(job->version), r->version);
    text_copy(job->slot, sizeof(job->slot), r->slot);
    if (!is_of(r, job))
        return FAIL(err, RC_REFUSED_ACCESS, "", 0, "the reservation is another caller's");
    if (job->request->hash_len != n)
        return FAIL(err, RC_REFUSED_INPUT, "", job->request->hash_len,
                    "a hash of %" PRIu32 " bytes, and this key signs hashes of %zu",
                    job->request->hash_len, n);
    return job_admit(b, job, err);
}

static bool is_taken(struct job *const *taken, size_t count, const struct reservation *r)
{
    for (size_t i = 0; i < count; i++)
        if (taken[i]->reservation == r)
            return true;
    return false;
}

static void take(const struct batch *b, struct job *job, struct reservation *r)
{
    job->reservation = r;
    job->place = (struct plan_place){.window = r->record.window, .index = r->record.index};
    job->epoch = r->record.epoch;
    job->artifact = (struct artifact){.fd = -1, .mode = PLAN_RAW};
    memcpy(job->artifact.sha256, r->record.artifact_sha256, SHA256_LEN);
    memcpy(job->c, r->c, sizeof(job->c));
    memcpy(job->value, job->request->digest, scheme_value_len(&b->key->hbs));
    job->reserved = true;
    /* Placed, leased and anchored is what its reservation was; see reserve_release(). */
    request_move(&job->life, LIFE_PLACED);
    request_move(&job->life, LIFE_LEASED);
    request_move(&job->life, LIFE_ANCHORED);
}

/* Time plans: why nothing can be signed now, though it may be later. */
struct wait {
    enum rc rc;
    int64_t retry_after_s;
    struct err err;
};

/* One of a reservation at a time: a second one in the batch finds the first one's receipt. */
static enum rc one_round(struct batch *b, struct job *jobs, size_t count, const struct wait *wait,
                         struct job **taken, size_t *n, struct err *err)
{
    *n = 0;
    for (size_t i = 0; i < count; i++) {
        struct job *job = &jobs[i];
        struct err e = {0};
        if (job->done)
            continue;
        uint64_t index = be_get64(job->request->id + LEDGER_ID_LEN - sizeof(index));
        struct reservation *r = reserve_of_index(b->key, index);
        enum rc rc = RC_OK;
        if (r == NULL || !ct_equal(r->record.id, job->request->id, LEDGER_ID_LEN)) {
            rc = look_up(b, job, err);
            if (rc == RC_REFUSED_NOT_FOUND)
                rc = refuse_absent(b, job, err);
            if (rc != RC_OK)
                return rc;
            continue;
        }
        if (is_taken(taken, *n, r))
            continue;
        rc = check_hash(b, job, r, &e);
        if (rc == RC_OK && wait->rc != RC_OK) {
            job->reply->retry_after_s = wait->retry_after_s;
            e = wait->err;
            rc = wait->rc;
        }
        if (rc != RC_OK) {
            job_refuse(job, rc, &e);
            continue;
        }
        take(b, job, r);
        taken[(*n)++] = job;
    }
    return RC_OK;
}

static enum rc sign_all(struct batch *b, struct job *jobs, size_t count, const struct wait *wait,
                        struct err *err)
{
    struct job *taken[BATCH_MAX];
    size_t n = 0;
    do {
        enum rc rc = one_round(b, jobs, count, wait, taken, &n, err);
        if (rc != RC_OK || n == 0)
            return rc;
        rc = batch_release(b, taken, n, lease_of_reservation, batch_open_check(b), err);
        for (size_t i = 0; rc == RC_OK && i < n; i++)
            forget(taken[i]->reservation);
        if (rc != RC_OK)
            return rc;
    } while (n > 0);
    return RC_OK;
}

/* Before the hashes are looked at: those that may not be signed any more are ended. */
static enum rc look_at_time(struct batch *b, struct wait *wait, struct err *err)
{
    wait->rc = batch_still_open(b, &wait->retry_after_s, &wait->err);
    if (wait->rc == RC_REFUSED_EXPIRED)
        reserve_end_all(b->key, BURN_WINDOW, "its window ended before the hash came");
    return reserve_tidy(b->key, b->ledger, b->world, b->now_s, err);
}

enum rc reserve_sign(struct batch *b, struct job *jobs, size_t count, struct err *err)
{
    MUST(count <= BATCH_MAX);
    struct err e = {0};
    struct wait wait = {0};
    bool allowed = b->key->plan.remote.allowed;
    enum rc rc = allowed ? look_at_time(b, &wait, &e) : remote_off(b->key, &e);
    if (rc == RC_OK)
        rc = sign_all(b, jobs, count, &wait, &e);
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].done)
            continue;
        MUST(rc != RC_OK);
        if (jobs[i].life == LIFE_RECEIVED)
            job_refuse(&jobs[i], rc, &e);
        else
            job_burn(&jobs[i], rc, &e);
    }
    if (rc_class(rc) != RC_CLASS_HALT)
        return RC_OK;
    return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
}
