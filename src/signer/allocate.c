#include "signer/allocate.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "signer/reserve.h"

/* Stepping over many skipped windows takes 10 to 100 ms each on a chip: say so now and then. */
#define STEP_LOG_EVERY 1024
/* One turn of catching up: other keys wait so long. */
#define SKIP_NS INT64_C(2000000000)

static int64_t now_s(const struct allocator *alloc)
{
    const struct time_source *t = alloc->world->time;
    return t->real_ns(t->ctx) / INT64_C(1000000000);
}

/* A TPM that is merely busy has changed nothing, but here something has: the ledger's entry is
 * durable, or W or A was written. Trying again in this process would need to know how far it came;
 * the next start reads that from ledger and TPM. So what is RETRY to the TPM is HALT to a commit.
 */
static enum rc firm(enum rc rc)
{
    return rc_class(rc) == RC_CLASS_RETRY ? RC_HALT_ANCHOR : rc;
}

/* Commit, or take back what could not be added. The ledger refuses a lease that overlaps an older
 * one, or a window that was opened before: that cannot be while ledger and TPM agree, so it is no
 * refusal of a request but the end of work on this key. */
static enum rc commit(const struct allocator *alloc, enum rc rc, struct err *err)
{
    if (rc == RC_OK)
        return ledger_commit(alloc->ledger, err);
    ledger_rollback(alloc->ledger);
    if (rc_class(rc) != RC_CLASS_REFUSED)
        return rc;
    struct err why = err != NULL ? *err : (struct err){.rc = rc};
    if (err != NULL)
        *err = (struct err){0};
    return FAIL(err, RC_HALT_INVARIANT, why.origin, why.native, "the ledger refuses an entry: %s",
                err_text(&why));
}

/* A counts its own writes, so that counting them costs none. */
static uint32_t written_again(const struct key *key)
{
    uint64_t writes = key_writes_of_a(key) + 1;
    return writes < UINT32_MAX ? (uint32_t)writes : UINT32_MAX;
}

/* Only forward (I6): A never loses ground against the one before it. */
static enum rc write_a(const struct allocator *alloc, struct anchor_record *a, struct err *err)
{
    struct key *key = alloc->key;
    if (alloc->wall_s > a->wall_s)
        a->wall_s = alloc->wall_s;
    MUST(a->w >= key->a.w);
    MUST(a->l >= key->a.l);
    MUST(a->wall_s >= key->a.wall_s);
    /* An early window is approved for good until a later one opens. */
    MUST(a->early_window >= key->a.early_window || a->w > key->a.w);
    /* L_base is only ever written together with a W above the one in A (attack 6). */
    MUST(a->l_base == key->a.l_base || a->w > key->a.w);
    enum rc rc = ledger_head(alloc->ledger, key->record.id, a->head, err);
    if (rc != RC_OK)
        return rc;
    a->writes = written_again(key);
    rc = firm(alloc->world->tpm->write(key->anchor, a, err));
    if (rc != RC_OK)
        return rc;
    key->a = *a;
    return RC_OK;
}

enum rc allocate_step_l(const struct allocator *alloc, struct err *err)
{
    struct key *key = alloc->key;
    MUST(key->a.l == key->l + 1);
    enum rc rc = firm(alloc->world->tpm->step_l(key->anchor, key->l + 1, err));
    if (rc != RC_OK)
        return rc;
    key->l++;
    return RC_OK;
}

/* What A says of the window that W has opened. */
static void say_opened(const struct key *key, struct anchor_record *a)
{
    MUST(a->w < key->w);
    a->w = key->w;
    a->window = key_floor(key);
    a->l_base = key->l;
    /* The window itself keeps its approval: until it begins by plan, nothing else tells it from one
     * that a clock set back is behind (attack 20). */
    if (a->early_window < a->window)
        a->early_window = ANCHOR_NO_WINDOW;
}

enum rc allocate_anchor(const struct allocator *alloc, struct err *err)
{
    struct key *key = alloc->key;
    struct anchor_record a = key->a;
    /* A TPM that lost the A of a window step, with intents behind it: both in one write. With W
     * left as A had it, a crash before L + 1 would look like a step that must be taken again, and
     * closing the window would give the intents up. */
    if (a.w < key->w)
        say_opened(key, &a);
    a.l = key->l + 1;
    enum rc rc = write_a(alloc, &a, err);
    if (rc != RC_OK)
        return rc;
    return allocate_step_l(alloc, err);
}

enum rc allocate_void(const struct allocator *alloc, uint64_t seq, struct err *err)
{
    uint64_t count = 0;
    enum rc rc = ledger_begin(alloc->ledger, err);
    if (rc == RC_OK)
        rc =
            ledger_void_after(alloc->ledger, alloc->key->record.id, seq, now_s(alloc), &count, err);
    return commit(alloc, rc, err);
}

enum rc allocate_write_opened(const struct allocator *alloc, struct err *err)
{
    struct key *key = alloc->key;
    struct anchor_record a = key->a;
    say_opened(key, &a);
    a.l = key->l;
    return write_a(alloc, &a, err);
}

enum rc allocate_approve_early(const struct allocator *alloc, int64_t window, struct err *err)
{
    struct key *key = alloc->key;
    MUST(key->plan.kind == PLAN_TIME);
    MUST(window >= key_floor(key) && window <= key_floor(key) + 1);
    MUST(key->a.w == key->w && key->a.l == key->l);
    struct anchor_record a = key->a;
    a.early_window = window;
    return write_a(alloc, &a, err);
}

enum rc allocate_record_window(const struct allocator *alloc, struct err *err)
{
    struct key *key = alloc->key;
    MUST(key->a.w == key->w);
    struct ledger_window window = {
        .window = (uint64_t)key_floor(key), .w = key->w, .l_base = key->a.l_base};
    enum rc rc = ledger_begin(alloc->ledger, err);
    if (rc == RC_OK)
        rc = ledger_add_window(alloc->ledger, key->record.id, &window, now_s(alloc), err);
    return commit(alloc, rc, err);
}

/* Where W may stop short of a window: behind so many steps, or behind so much time. */
struct patience {
    int64_t steps;
    int64_t until_ns; /* raw time */
};
static const struct patience endless = {.steps = INT64_MAX, .until_ns = INT64_MAX};

static int64_t raw_ns(const struct allocator *alloc)
{
    const struct time_source *t = alloc->world->time;
    return t->raw_ns(t->ctx);
}

/* @return false: the one who waits wants it to stop here, and there is more to do. */
static bool step_taken(const struct allocator *alloc)
{
    struct step_watch *w = alloc->watch;
    if (w == NULL)
        return true;
    w->done++;
    w->stopped = !w->report(w->ctx, w->done, w->total) && w->done < w->total;
    return !w->stopped;
}

static enum rc stopped(const struct allocator *alloc, struct err *err)
{
    const struct step_watch *w = alloc->watch;
    return FAIL(err, RC_RETRY_BUSY, "", 0,
                "stopped: %" PRIu64 " of %" PRIu64 " steps of the TPM's counters are done", w->done,
                w->total);
}

static bool was_stopped(const struct allocator *alloc)
{
    return alloc->watch != NULL && alloc->watch->stopped;
}

/* At least one step. Behind it W may stand below the window. */
static enum rc raise_w(const struct allocator *alloc, int64_t window, struct patience patience,
                       struct err *err)
{
    struct key *key = alloc->key;
    int64_t total = window - key_floor(key);
    bool on = true;
    key->lease = (struct open_lease){0};
    reserve_end_all(key, BURN_WINDOW, "a later window opened");
    do {
        enum rc rc = firm(alloc->world->tpm->step_w(key->anchor, key->w + 1, err));
        if (rc != RC_OK)
            return rc;
        key->w++;
        int64_t left = window - key_floor(key);
        if (left > 0 && left % STEP_LOG_EVERY == 0)
            log_event(LOG_LEVEL_NOTICE, &(struct log_fields){.key = key->record.name, .index = -1},
                      "closing skipped windows: %" PRId64 " of %" PRId64, total - left, total);
        patience.steps--;
        on = step_taken(alloc);
    } while (key_floor(key) < window && on && patience.steps > 0 &&
             raw_ns(alloc) < patience.until_ns);
    return RC_OK;
}

/* A and the ledger say what W stands at. */
static enum rc say_open(const struct allocator *alloc, struct err *err)
{
    struct key *key = alloc->key;
    enum rc rc = RC_OK;
    /* An A that promised an L which never came, in a window that is over now: L keeps the promise,
     * or A would go back. Start and recovery only. */
    if (key->a.l == key->l + 1)
        rc = allocate_step_l(alloc, err);
    if (rc == RC_OK)
        rc = allocate_write_opened(alloc, err);
    return rc == RC_OK ? allocate_record_window(alloc, err) : rc;
}

/* A recovery that is stopped halfway must not look like a window that was opened in order: only its
 * end makes the key one that signs. */
enum rc allocate_open_window(const struct allocator *alloc, int64_t window, struct err *err)
{
    MUST(window > key_floor(alloc->key));
    enum rc rc = raise_w(alloc, window, endless, err);
    if (rc == RC_OK && was_stopped(alloc))
        return stopped(alloc, err);
    return rc == RC_OK ? say_open(alloc, err) : rc;
}

static enum rc skip(const struct allocator *alloc, int64_t window, struct patience patience,
                    struct err *err)
{
    MUST(window > key_floor(alloc->key));
    if (window - 1 == key_floor(alloc->key))
        return RC_OK;
    enum rc rc = raise_w(alloc, window - 1, patience, err);
    if (rc == RC_OK)
        rc = say_open(alloc, err);
    return rc == RC_OK && was_stopped(alloc) ? stopped(alloc, err) : rc;
}

enum rc allocate_skip_to(const struct allocator *alloc, int64_t window, struct err *err)
{
    return skip(alloc, window, endless, err);
}

enum rc allocate_skip_some(const struct allocator *alloc, int64_t window, int64_t steps,
                           struct err *err)
{
    MUST(steps > 0);
    const struct patience patience = {.steps = steps, .until_ns = raw_ns(alloc) + SKIP_NS};
    return skip(alloc, window, patience, err);
}

enum rc allocate_raise_l(const struct allocator *alloc, uint64_t least, struct err *err)
{
    struct key *key = alloc->key;
    while (key->l < least) {
        enum rc rc = firm(alloc->world->tpm->step_l(key->anchor, key->l + 1, err));
        if (rc != RC_OK)
            return rc;
        key->l++;
        if (!step_taken(alloc))
            return stopped(alloc, err);
    }
    return RC_OK;
}

enum rc allocate_settle(const struct allocator *alloc, struct err *err)
{
    struct key *key = alloc->key;
    uint8_t head[SHA256_LEN];
    enum rc rc = ledger_head(alloc->ledger, key->record.id, head, err);
    if (rc != RC_OK)
        return rc;
    if (ct_equal(head, key->a.head, sizeof(head)))
        return RC_OK;
    struct anchor_record a = key->a;
    return write_a(alloc, &a, err);
}

enum rc allocate_lease(const struct allocator *alloc, int64_t at_s, struct err *err)
{
    struct key *key = alloc->key;
    struct ledger_lease lease = {
        .epoch = key->l + 1,
        .window = (uint64_t)key_floor(key),
        /* Rule 4: the position comes from the TPM alone, L - L_base leases were taken before. */
        .number = key->l - key->a.l_base,
    };
    enum rc rc =
        plan_lease(&key->plan, lease.window, lease.number, &lease.first, &lease.count, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_begin(alloc->ledger, err);
    if (rc == RC_OK)
        rc = ledger_add_lease(alloc->ledger, key->record.id, &lease, at_s, err);
    rc = commit(alloc, rc, err);
    if (rc != RC_OK)
        return rc;
    rc = allocate_anchor(alloc, err);
    if (rc != RC_OK)
        return rc;
    key->lease = (struct open_lease){
        .epoch = key->l, .window = lease.window, .first = lease.first, .count = lease.count};
    key_check_invariants(key);
    return RC_OK;
}

void allocate_next(const struct allocator *alloc, struct ots_lease *lease)
{
    struct key *key = alloc->key;
    key_check_invariants(key);
    MUST(key->lease.epoch != 0 && key->lease.next < key->lease.count);
    memcpy(lease->key_id, key->record.key_id, KEY_ID_LEN);
    lease->index = key->lease.first + key->lease.next;
    lease->epoch = key->lease.epoch;
    key->lease.next++;
}

void allocate_intent(const struct allocator *alloc, uint64_t index, uint64_t anchored_epoch,
                     struct ots_lease *lease)
{
    struct key *key = alloc->key;
    MUST(key->plan.kind == PLAN_VERSION);
    MUST(anchored_epoch == key->l && key->a.l == key->l);
    memcpy(lease->key_id, key->record.key_id, KEY_ID_LEN);
    lease->index = index;
    lease->epoch = anchored_epoch;
}

void allocate_branch(const struct allocator *alloc, uint64_t first, struct ots_lease *lease)
{
    const struct key *key = alloc->key;
    MUST((int64_t)(first / key->plan.window_size) <= key_floor(key));
    memcpy(lease->key_id, key->record.key_id, KEY_ID_LEN);
    lease->index = first;
    lease->epoch = key->l;
    MUST(lease->epoch > 0);
}

enum rc allocate_record_branch(const struct allocator *alloc, struct ledger_branch *branch,
                               const uint8_t *record, struct err *err)
{
    enum rc rc = ledger_begin(alloc->ledger, err);
    if (rc == RC_OK)
        rc = ledger_add_branch(alloc->ledger, alloc->key->record.id, branch, record, now_s(alloc),
                               err);
    rc = commit(alloc, rc, err);
    return rc == RC_OK ? allocate_settle(alloc, err) : rc;
}
