#include "signer/batch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "signer/ahead.h"
#include "signer/branches.h"
#include "signer/catchup.h"
#include "signer/checked.h"
#include "signer/crew.h"
#include "signer/scheme.h"
#include "signer/view.h"

#define STRETCH_MIN 8 /* signatures for one pair of hands */

/* Ends of a job ------------------------------------------------------------------------------- */

void job_finish(struct job *job, enum request_life life, enum rc rc, const struct err *err)
{
    request_move(&job->life, life);
    job->done = true;
    job->reply->rc = (int32_t)rc;
    if (rc != RC_OK && err != NULL)
        text_copy(job->reply->text, sizeof(job->reply->text), err_text(err));
    if (job->preview)
        return;
    log_event(rc == RC_OK || rc_class(rc) == RC_CLASS_REFUSED ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
              &(struct log_fields){.key = job->request->key,
                                   .index = job->reserved ? (int64_t)job->place.index : -1,
                                   .state = request_life_name(life),
                                   .request_id = job->request->request_id,
                                   .err = rc == RC_OK ? NULL : err},
              job->reply->replayed ? "stored signature returned" : "signing request");
}

/* What a client is told about the service beside the refusal itself. */
static enum service_state state_of(enum rc rc)
{
    switch (rc) {
    case RC_RETRY_WINDOW_FULL:
        return STATE_WINDOW_FULL;
    case RC_RETRY_CLOCK:
        return STATE_CLOCK_UNSAFE;
    case RC_RETRY_ANCHOR:
        return STATE_RECOVERING;
    case RC_REFUSED_EXHAUSTED:
        return STATE_EXHAUSTED;
    case RC_REFUSED_ACK:
        return STATE_ACK_REQUIRED;
    default:
        return rc_class(rc) == RC_CLASS_HALT ? STATE_HALTED : STATE_OPERATIONAL;
    }
}

/* A refusal that the TPM is the reason of names its trouble. */
static void name_trouble(struct job *job, const struct err *err)
{
    enum tpm_trouble trouble = err != NULL ? tpm_trouble_of(err) : TPM_TROUBLE_NONE;
    if (trouble != TPM_TROUBLE_NONE)
        strcpy(job->reply->tpm_state, tpm_trouble_word(trouble));
}

void job_refuse(struct job *job, enum rc rc, const struct err *err)
{
    job->reply->state = state_of(rc);
    name_trouble(job, err);
    job_finish(job, LIFE_REFUSED, rc, err);
}

/* Nothing was taken for it but tokens, and these it keeps. */
void job_leave(struct job *job, enum rc rc, const struct err *err)
{
    if (job->put_off)
        job->done = true;
    else
        job_refuse(job, rc, err);
}

void job_burn(struct job *job, enum rc rc, const struct err *err)
{
    job->reply->burned_index = (int64_t)job->place.index;
    job->reply->state = state_of(rc);
    name_trouble(job, err);
    job_finish(job, LIFE_BURNED, rc, err);
}

static void describe(struct batch *b, struct job *job, const struct ledger_receipt *r)
{
    struct signature_view *v = &job->reply->signature;
    view_signature(b->key, r, v);
    v->checkpoint_size = ledger_size(b->ledger);
    view_remaining(b->key, b->ledger, r->window, b->now_s, &v->remaining_window, &v->remaining_key);
    job->reply->window = (int64_t)r->window;
    job->reply->tpm_virtual = b->key->is_virtual;
}

static enum rc keep_signature(struct job *job, const uint8_t *signature, size_t len,
                              struct err *err)
{
    job->signature = malloc(len);
    if (job->signature == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for the answer");
    memcpy(job->signature, signature, len);
    job->signature_len = len;
    return RC_OK;
}

enum rc job_replay(struct batch *b, struct job *job, const struct ledger_receipt *receipt,
                   const uint8_t *signature, struct err *err)
{
    enum rc rc = keep_signature(job, signature, receipt->signature_len, err);
    if (rc != RC_OK)
        return rc;
    describe(b, job, receipt);
    job->reply->replayed = true;
    job_finish(job, LIFE_RELEASED, RC_OK, NULL);
    return RC_OK;
}

/* Limits -------------------------------------------------------------------------------------- */

enum rc job_admit(const struct batch *b, const struct job *job, struct err *err)
{
    if (b->access == NULL)
        return RC_OK;
    return access_check_sign(b->access, job->request->requester, &b->key->plan, job->version,
                             job->slot, err);
}

static struct allocator allocator_of(const struct batch *b)
{
    return (struct allocator){
        .key = b->key, .world = b->world, .ledger = b->ledger, .wall_s = b->wall_s};
}

enum rc batch_have_secret(struct batch *b, uint64_t window, const struct window_secret **secret,
                          struct err *err)
{
    struct key *key = b->key;
    bool waits = false;
    *secret = NULL;
    /* An older wish for a later window is over: if W went on to it behind what is signed here, a
     * strict plan might be allowed to jump to nothing that is still open. */
    if ((int64_t)window < key->catch_up_to)
        key->catch_up_to = (int64_t)window;
    enum rc rc = key_secret_waits(key, b->world, b->tpm, window, &waits, err);
    if (rc == RC_OK && !waits)
        rc = key_secret(key, b->world, b->tpm, window, secret, err);
    if (rc == RC_OK && (int64_t)window > key_floor(key) + 1) {
        struct allocator alloc = allocator_of(b);
        rc = catch_up_to(&alloc, (int64_t)window, b->settings->catch_up_steps, err);
    }
    if (rc == RC_OK && waits)
        rc = key_secret(key, b->world, b->tpm, window, secret, err);
    if (rc != RC_OK)
        *secret = NULL;
    return rc;
}

uint64_t batch_window_cap(const struct batch *b)
{
    uint64_t usable = b->key->plan.window_usable;
    uint64_t cap = b->key->limits.window_max;
    return cap != 0 && cap < usable ? cap : usable;
}

enum rc batch_export_check(struct batch *b, int64_t window, struct err *err)
{
    int64_t limit = view_export_limit(b->key, b->ledger, b->settings->export_margin);
    if (limit == REQUEST_NONE || window <= limit)
        return RC_OK;
    return FAIL(
        err, RC_REFUSED_EXPORT, "", 0,
        "window %" PRId64 " lies beyond %" PRId64
        ", the last that an export acknowledged off the device allows: run 'tidemark backup "
        "export' and 'tidemark backup check'",
        window, limit);
}

/* Computing ----------------------------------------------------------------------------------- */

enum rc job_value(struct batch *b, struct job *job, struct err *err)
{
    const struct hbs_branch *branch = NULL;
    struct allocator alloc = allocator_of(b);
    enum rc rc = branches_of(&alloc, b->tpm, job->place.window, job->place.index, &branch, err);
    if (rc != RC_OK)
        return rc;
    hbs_branch_randomizer(branch, job->place.index, job->c);
    if (b->reserving)
        return RC_OK; /* the caller will make it */
    if (job->pass != NULL && artifact_is_long(&job->artifact, branch, job->place.index, job->c)) {
        rc = artifact_pass_open(job->pass, branch, job->place.index, job->c, err);
        job->put_off = rc == RC_OK;
        return rc == RC_OK ? RC_RETRY_BUSY : rc;
    }
    return artifact_value(&job->artifact, branch, job->place.index, job->c, job->value, err);
}

/* What became of each job of a batch, and of the permission it was given. */
struct outcome {
    enum rc rc;
    struct ots_lease lease;
};

static void drop_signature(struct job *job)
{
    free(job->signature);
    job->signature = NULL;
    job->signature_len = 0;
}

/* Memory for the signatures of a run. @return how many jobs of it have theirs, in front. */
static size_t make_room(struct batch *b, struct job **jobs, struct outcome *outcomes, size_t count,
                        struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        jobs[i]->signature_len = hbs_key_sig_len(&b->key->hbs);
        jobs[i]->signature = malloc(jobs[i]->signature_len);
        if (jobs[i]->signature != NULL)
            continue;
        jobs[i]->signature_len = 0;
        for (size_t k = i; k < count; k++)
            outcomes[k].rc = FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for a signature");
        return i;
    }
    return count;
}

/* A run of one branch, which several hands compute: a stretch of it each. */
struct stretch {
    const struct hbs_branch *branch;
    const struct hbs_branch_signing *signings;
    bool *good;
    size_t sig_len, count, parts;
};

static void compute_part(void *arg, size_t i)
{
    const struct stretch *s = arg;
    size_t from = s->count * i / s->parts;
    size_t to = s->count * (i + 1) / s->parts;
    sign_checked(s->branch, s->signings + from, s->sig_len, to - from, s->good + from);
}

/* As many hands as there are, but none for so little work that its lanes would stay empty. */
static size_t parts_for(const struct hands *hands, size_t count)
{
    size_t most = count / STRETCH_MIN;
    size_t parts = hands != NULL ? hands->count : 1;
    parts = parts < most ? parts : most;
    return parts > 1 ? parts : 1;
}

/* Jobs of one branch: all chains of all signatures together, so that every lane is full. */
static void compute_run(struct batch *b, const struct hbs_branch *branch, struct job **jobs,
                        struct outcome *outcomes, size_t count, struct err *err)
{
    struct hbs_branch_signing signings[BATCH_MAX];
    bool good[BATCH_MAX];
    count = make_room(b, jobs, outcomes, count, err);
    for (size_t i = 0; i < count; i++)
        signings[i] = (struct hbs_branch_signing){
            .lease = &outcomes[i].lease,
            .stations = ahead_stations(b->world->ahead, branch, jobs[i]->place.index),
            .c = jobs[i]->c,
            .value = jobs[i]->value,
            .sig = jobs[i]->signature};
    struct stretch stretch = {.branch = branch,
                              .signings = signings,
                              .good = good,
                              .sig_len = hbs_key_sig_len(&b->key->hbs),
                              .count = count,
                              .parts = parts_for(b->world->hands, count)};
    hands_run(b->world->hands, stretch.parts, compute_part, &stretch);
    for (size_t i = 0; i < count; i++) {
        if (good[i]) {
            request_move(&jobs[i]->life, LIFE_SIGNED);
            continue;
        }
        drop_signature(jobs[i]);
        outcomes[i].rc = not_verified(jobs[i]->place.index, err);
    }
}

/* As many again, since whoever asked is likely to ask again. Of a version plan nobody knows what
 * comes next. */
void batch_prepare(struct batch *b, struct job *const *jobs, size_t count)
{
    const struct open_lease *lease = &b->key->lease;
    uint64_t wanted[2 * BATCH_MAX];
    size_t n = 0;
    struct open_secret *slot = key_open_secret(b->key, jobs[0]->place.window);
    if (b->world->ahead == NULL || slot == NULL || slot->branch == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        if (hbs_branch_holds(slot->branch, jobs[i]->place.index))
            wanted[n++] = jobs[i]->place.index;
    uint64_t next = jobs[count - 1]->place.index + 1;
    for (size_t i = 0; i < count && b->key->plan.kind != PLAN_VERSION; i++, next++)
        if (next < lease->first + lease->count && hbs_branch_holds(slot->branch, next))
            wanted[n++] = next;
    slot->ahead = b->world->ahead;
    ahead_want(slot->ahead, slot->branch, wanted, n);
}

static size_t run_of_branch(const struct hbs_branch *branch, struct job *const *jobs, size_t count)
{
    size_t run = 1;
    while (run < count && jobs[run]->place.window == jobs[0]->place.window &&
           hbs_branch_holds(branch, jobs[run]->place.index))
        run++;
    return run;
}

/* Compute the signatures of a batch; outcomes[i] says what became of each. err: the first cause. */
static void compute(struct batch *b, struct job **jobs, struct outcome *outcomes, size_t count,
                    lease_source lease_of, struct err *err)
{
    struct allocator alloc = allocator_of(b);
    /* First of all: the index of a job that fails further down is spent like any other, or the next
     * job would be given it. */
    for (size_t i = 0; i < count; i++) {
        outcomes[i] = (struct outcome){.rc = RC_OK};
        lease_of(b, jobs[i], &outcomes[i].lease);
        MUST(outcomes[i].lease.index == jobs[i]->place.index);
        /* hbs looks at this too, but sees only what one pair of hands was given. */
        for (size_t other = 0; other < i; other++)
            MUST(outcomes[other].lease.index != outcomes[i].lease.index);
    }
    for (size_t i = 0; i < count;) {
        const struct hbs_branch *branch = NULL;
        const struct plan_place *place = &jobs[i]->place;
        enum rc rc = branches_of(&alloc, b->tpm, place->window, place->index, &branch, err);
        if (rc != RC_OK) {
            outcomes[i++].rc = rc;
            continue;
        }
        size_t run = run_of_branch(branch, jobs + i, count - i);
        compute_run(b, branch, jobs + i, outcomes + i, run, err);
        i += run;
    }
}

/* Receipts ------------------------------------------------------------------------------------ */

static void receipt_of(const struct batch *b, const struct job *job, struct ledger_receipt *r)
{
    *r = (struct ledger_receipt){.epoch = job->epoch,
                                 .window = job->place.window,
                                 .index = job->place.index,
                                 .artifact_size = job->artifact.size,
                                 .at_s = b->now_s};
    text_copy(r->version, sizeof(r->version), job->version);
    text_copy(r->slot, sizeof(r->slot), job->slot);
    memcpy(r->artifact_sha256, job->artifact.sha256, SHA256_LEN);
    if (job->reservation != NULL) {
        r->origin = job->reservation->record.origin;
        r->caller_hash_len = scheme_value_len(&b->key->hbs);
        memcpy(r->caller_hash, job->value, r->caller_hash_len);
        return;
    }
    text_copy(r->origin.requester, sizeof(r->origin.requester), job->request->requester);
    text_copy(r->origin.request_id, sizeof(r->origin.request_id), job->request->request_id);
    text_copy(r->origin.idempotency_key, sizeof(r->origin.idempotency_key),
              job->request->idempotency_key);
}

static enum rc burn_entry(struct batch *b, const struct job *job, enum rc outcome, const char *why,
                          struct err *err)
{
    char text[LEDGER_TEXT_MAX + 1];
    burn_text(text, sizeof(text), outcome == RC_BURNED_CLOCK ? BURN_CLOCK : BURN_VERIFY, why);
    return ledger_add_burn(b->ledger, b->key->record.id, job->place.window, job->place.index, 1,
                           text, b->now_s, err);
}

/* Receipts of the good ones and burns of the bad ones, in one sync. */
static enum rc record(struct batch *b, struct job **jobs, size_t count,
                      const struct outcome *outcomes, struct ledger_receipt *receipts,
                      const char *why, struct err *err)
{
    enum rc rc = ledger_begin(b->ledger, err);
    for (size_t i = 0; i < count && rc == RC_OK; i++) {
        if (outcomes[i].rc != RC_OK) {
            rc = burn_entry(b, jobs[i], outcomes[i].rc, why, err);
            continue;
        }
        receipt_of(b, jobs[i], &receipts[i]);
        rc = ledger_add_receipt(b->ledger, b->key->record.id, &receipts[i], jobs[i]->signature,
                                jobs[i]->signature_len, err);
    }
    if (rc != RC_OK) {
        ledger_rollback(b->ledger);
        return rc_class(rc) == RC_CLASS_HALT ? rc : RC_HALT_INVARIANT;
    }
    return ledger_commit(b->ledger, err);
}

static void burn_all(struct job **jobs, size_t count, enum rc rc, const struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (jobs[i]->done)
            continue;
        drop_signature(jobs[i]);
        job_burn(jobs[i], rc, err);
    }
}

static void answer(struct batch *b, struct job *job, const struct ledger_receipt *receipt)
{
    describe(b, job, receipt);
    job->reply->signature.log_index = receipt->seq - 1;
    job_finish(job, LIFE_RELEASED, RC_OK, NULL);
}

enum rc batch_release(struct batch *b, struct job **jobs, size_t count, lease_source lease_of,
                      open_check still_open, struct err *err)
{
    MUST(count <= BATCH_MAX);
    /* Rule 6: the indices are assigned, nothing is computed yet. A memory image that is resumed
     * behind this line repeats the same messages at the same indices; one resumed before it fails
     * here. */
    struct tpm_time time;
    int64_t asked_ns = timekeeper_raw_ns(b->clock);
    enum rc rc = b->world->tpm->prove(b->key->anchor, b->key->l, &time, err);
    if (rc != RC_OK) {
        /* The indices are reserved: busy is no retry any more, as in allocate.c. */
        rc = rc_class(rc) == RC_CLASS_RETRY ? RC_HALT_ANCHOR : rc;
        burn_all(jobs, count, rc, err);
        return rc;
    }
    timekeeper_tpm(b->clock, &time, asked_ns);
    struct err problem = {0};
    struct outcome outcomes[BATCH_MAX];
    compute(b, jobs, outcomes, count, lease_of, &problem);
    if (still_open != NULL && !still_open(b, &problem))
        for (size_t i = 0; i < count; i++)
            outcomes[i].rc = RC_BURNED_CLOCK;
    struct ledger_receipt *receipts = calloc(count, sizeof(*receipts));
    rc = receipts == NULL ? FAIL(err, RC_HALT_SYSTEM, "errno", 0, "no memory for receipts")
                          : record(b, jobs, count, outcomes, receipts, err_text(&problem), err);
    if (rc != RC_OK) {
        free(receipts);
        burn_all(jobs, count, rc, err);
        return rc;
    }
    for (size_t i = 0; i < count; i++) {
        enum rc why = outcomes[i].rc;
        if (why == RC_OK) {
            b->key->unattested.seq = receipts[i].seq;
            memcpy(b->key->unattested.id, receipts[i].id, LEDGER_ID_LEN);
            answer(b, jobs[i], &receipts[i]);
            continue;
        }
        drop_signature(jobs[i]);
        job_burn(jobs[i], rc_class(why) == RC_CLASS_BURNED ? why : RC_BURNED_VERIFY, &problem);
    }
    free(receipts);
    return RC_OK;
}

/* One batch ------------------------------------------------------------------------------------ */

/* The core hashes ahead, and while no signer is open it can only guess what a key signs. A raw
 * artifact under a key of digests would be a signature over another message than anyone expects. */
static void match_mode(struct batch *b, struct job *job)
{
    struct err e = {0};
    enum plan_message mode = b->key->plan.message;
    if (job->artifact.mode == mode)
        return;
    struct artifact *a = &job->artifact;
    enum rc rc = a->bytes != NULL ? artifact_open_bytes(a, job->request, a->bytes, mode, &e)
                                  : artifact_open(a, job->request, a->fd, mode, &e);
    if (rc != RC_OK)
        job_refuse(job, rc, &e);
}

static enum rc sign_by_plan(struct batch *b, struct job *jobs, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        match_mode(b, &jobs[i]);
    return b->key->plan.kind == PLAN_VERSION ? batch_by_version(b, jobs, count, err)
                                             : batch_by_window(b, jobs, count, err);
}

static bool likely_index(const struct key *key, const struct request *r, uint64_t *window,
                         uint64_t *index)
{
    struct plan_place place;
    struct err none = {0};
    if (key->plan.kind != PLAN_VERSION) {
        *window = key->lease.window;
        *index = key->lease.first + key->lease.next;
        return key->lease.epoch != 0 && key->lease.next < key->lease.count;
    }
    if (r->by != REQUEST_BY_VERSION ||
        plan_place_version(&key->plan, r->version, r->slot, &place, &none) != RC_OK)
        return false;
    *window = place.window;
    *index = place.index;
    return true;
}

void batch_foresee(struct key *key, const struct request *request, struct artifact_pass *pass)
{
    uint8_t c[HBS_N_MAX];
    struct err none = {0};
    uint64_t window = 0;
    uint64_t index = 0;
    if (key->rc != RC_OK || key->plan.message != PLAN_RAW ||
        !likely_index(key, request, &window, &index))
        return;
    const struct open_secret *slot = key_open_secret(key, window);
    if (slot == NULL || slot->branch == NULL || !hbs_branch_holds(slot->branch, index))
        return;
    hbs_branch_randomizer(slot->branch, index, c);
    if (artifact_pass_open(pass, slot->branch, index, c, &none) != RC_OK)
        artifact_pass_close(pass); /* read twice, then */
}

enum rc batch_sign(struct batch *b, struct job *jobs, size_t count, struct err *err)
{
    enum rc rc = sign_by_plan(b, jobs, count, err);
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].done)
            continue;
        /* Only a halt leaves jobs without an answer of their own; nothing was computed for these.
         */
        MUST(rc != RC_OK);
        if (jobs[i].life == LIFE_RECEIVED || jobs[i].life == LIFE_PLACED)
            job_refuse(&jobs[i], rc, err);
        else
            job_burn(&jobs[i], rc, err);
    }
    return rc;
}
