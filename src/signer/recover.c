#include "signer/recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "signer/toolclock.h"

/* More increments than this are no rolled-back TPM but a composed A or a forged ledger, and would
 * take a chip a day. */
#define RAISE_L_MAX (INT64_C(1) << 20)

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* A TPM that did not answer says nothing about whose counters it holds, and nobody must replace a
 * device for it: only one that does not know them is another one. */
static enum rc no_anchor(const struct key *key, struct err *err)
{
    if (key->rc != RC_HALT_REGRESSION && key->rc != RC_HALT_SEEDS)
        return FAIL(err, key->rc, key->err.origin, key->err.native,
                    "the key's counters could not be read: %s", err_text(&key->err));
    return FAIL(err, RC_REFUSED_UNSUPPORTED, "", 0,
                "this TPM does not hold the key's counters (%s): recover from a backup with --from "
                "FILE",
                err_text(&key->err));
}

/* Facts as they are now; an A that is not valid counts as nothing. */
static enum rc look(struct key *key, const struct world *world, struct ledger *ledger,
                    struct anchor_state *tpm, struct ledger_standing *standing, struct err *err)
{
    if (key->anchor == NULL)
        return no_anchor(key, err);
    enum rc rc = world->tpm->read(key->anchor, tpm, err);
    if (rc != RC_OK)
        return rc;
    key->w = tpm->w;
    key->l = tpm->l;
    key->a = tpm->a_valid ? tpm->a
                          : (struct anchor_record){.window = ANCHOR_NO_WINDOW,
                                                   .early_window = ANCHOR_NO_WINDOW};
    return ledger_stand(ledger, key->record.id, key->a.head, standing, err);
}

static enum rc finish_plan(const struct plan *plan, struct recover_plan *r, struct err *err)
{
    r->opens_s = -1;
    if ((uint64_t)r->start_window >= plan->window_count)
        return FAIL(err, RC_REFUSED_EXHAUSTED, "", 0,
                    "window %" PRId64 " would be next, but the plan has only %" PRIu64 " windows",
                    r->start_window, plan->window_count);
    int64_t end_s = 0;
    if (plan->kind == PLAN_TIME)
        plan_window_times(plan, (uint64_t)r->start_window, &r->opens_s, &end_s);
    return RC_OK;
}

/* How far one counter value is above another; A may hold any number. */
static int64_t steps(uint64_t from, uint64_t to)
{
    uint64_t n = to - from;
    return n < (UINT64_C(1) << 60) ? (int64_t)n : INT64_C(1) << 60;
}

/* A TPM that went back may have opened windows that this ledger, put back too, knows nothing of. In
 * a time plan none of them can lie behind the window of now, but for those that were opened early:
 * and these not behind the last export that was acknowledged. */
static enum rc window_of_now(const struct key *key, const struct world *world, int64_t *window,
                             struct err *err)
{
    int64_t latest_s = -1;
    struct err why = {0};
    if (tool_clock_latest_s(world, key->a.wall_s, &latest_s, &why) != RC_OK)
        return FAIL(
            err, RC_RETRY_CLOCK, "", why.native,
            "the TPM is behind the ledger, so the window of now may have been used, and the "
            "clock does not tell which one that is: %s",
            err_text(&why));
    uint64_t now = 0;
    *window = -1;
    if (latest_s < key->plan.start_s)
        return RC_OK;
    enum rc rc = plan_window_at(&key->plan, latest_s, &now, err);
    *window = (int64_t)now;
    return rc;
}

enum rc recover_here_plan(struct key *key, const struct world *world, struct ledger *ledger,
                          int64_t acknowledged_through, struct recover_plan *r, struct err *err)
{
    *r = (struct recover_plan){.floor = -1};
    struct anchor_state tpm;
    struct ledger_standing standing;
    enum rc rc = look(key, world, ledger, &tpm, &standing, err);
    if (rc != RC_OK)
        return rc;
    /* Whatever may have been used counts as used: by the counter, by A, by the ledger. */
    r->floor = key_floor(key);
    r->floor = max64(r->floor, key->a.early_window);
    r->floor = max64(r->floor, standing.window);
    if (tpm.a_valid && key->a.w > key->w)
        r->floor = max64(r->floor, key_floor(key) + steps(key->w, key->a.w));
    if (standing.window_w > 0)
        r->floor = max64(r->floor, standing.window_w - key->record.pins.w_base);
    if (key->plan.kind == PLAN_TIME)
        r->floor = max64(r->floor, acknowledged_through);
    if (key->rc == RC_HALT_TPM_BEHIND && key->plan.kind == PLAN_TIME) {
        if (acknowledged_through < 0)
            return FAIL(err, RC_REFUSED_INPUT, "", 0,
                        "the TPM is behind the ledger, and which windows were opened early neither "
                        "can tell: give the mark of the last export that was acknowledged (0: "
                        "there was none) with --acknowledged-through");
        int64_t now = -1;
        rc = window_of_now(key, world, &now, err);
        if (rc != RC_OK)
            return rc;
        r->floor = max64(r->floor, now);
    }
    r->start_window = max64(r->floor + 1, key->record.min_window);
    r->windows_given_up = (uint64_t)(r->start_window - max64(key_floor(key), 0));
    (void)snprintf(r->why, sizeof(r->why), "%.200s",
                   key->rc == RC_OK ? "the operator asked for the next window"
                                    : err_text(&key->err));
    return finish_plan(&key->plan, r, err);
}

/* Past everything that the ledger or A ever saw, so that no epoch number comes twice. */
static enum rc highest_epoch(const struct key *key, const struct ledger_standing *standing,
                             uint64_t *least, struct err *err)
{
    int64_t highest = (int64_t)key->l;
    highest = max64(highest, standing->lease_epoch);
    highest = max64(highest, standing->receipt_epoch);
    highest = max64(highest, standing->intent_epoch);
    if (key->a.l > key->l)
        highest = max64(highest, (int64_t)key->l + steps(key->l, key->a.l));
    *least = (uint64_t)highest;
    if (highest - (int64_t)key->l <= RAISE_L_MAX)
        return RC_OK;
    return FAIL(err, RC_HALT_INVARIANT, "", 0,
                "L would have to be raised by %" PRId64 ": A or the ledger holds a number that no "
                "signing can have left",
                highest - (int64_t)key->l);
}

/* A ledger that is not known to be the latest may have forgotten exports, and with them how far
 * this device may go before a replacement of it starts. Exports have marks of 0 and above: behind a
 * mark of -1 nothing signs above m - 1, and a replacement starts at m + 1 at the least, so what is
 * signed from here on was acknowledged off the device first (attack 38). */
static enum rc distrust_exports(const struct key *key, struct ledger *ledger, int64_t now_s,
                                struct err *err)
{
    if (key->rc == RC_OK || key->plan.kind == PLAN_TIME)
        return RC_OK;
    return ledger_add_note(ledger, key->record.id, LEDGER_OPERATION, "backup-export",
                           "exports that this ledger may have forgotten", -1, now_s, err);
}

static enum rc record_here(struct key *key, const struct world *world, struct ledger *ledger,
                           const struct recover_plan *r, struct err *err)
{
    int64_t now_s = world->time->real_ns(world->time->ctx) / INT64_C(1000000000);
    enum rc rc = ledger_begin(ledger, err);
    if (rc == RC_OK)
        rc = ledger_add_note(ledger, key->record.id, LEDGER_INCIDENT, "state-regression", r->why,
                             r->floor, now_s, err);
    if (rc == RC_OK)
        rc = distrust_exports(key, ledger, now_s, err);
    if (rc == RC_OK && r->start_window > key->record.min_window)
        rc = ledger_raise_min_window(ledger, key->record.id, r->start_window, r->why, now_s, err);
    if (rc != RC_OK) {
        ledger_rollback(ledger);
        return rc;
    }
    return ledger_commit(ledger, err);
}

/* The window-opened entry of an attempt that was cut off may stand already; then only A is missing.
 */
static enum rc open_start_window(const struct allocator *alloc, const struct recover_plan *r,
                                 struct err *err)
{
    enum rc rc = allocate_open_window(alloc, r->start_window, err);
    return rc == RC_OK ? allocate_settle(alloc, err) : rc;
}

enum rc recover_here(struct key *key, const struct world *world, struct ledger *ledger,
                     const struct recover_plan *r, struct step_watch *watch, struct err *err)
{
    struct anchor_state tpm;
    struct ledger_standing standing;
    enum rc rc = look(key, world, ledger, &tpm, &standing, err);
    if (rc != RC_OK)
        return rc;
    if (r->start_window <= key_floor(key))
        return FAIL(err, RC_REFUSED_RANGE, "", 0, "the counter has moved since the plan was made");
    uint64_t least = 0;
    rc = highest_epoch(key, &standing, &least, err);
    if (rc != RC_OK)
        return rc;
    rc = record_here(key, world, ledger, r, err);
    if (rc != RC_OK)
        return rc;
    key->record.min_window = r->start_window;
    const struct allocator alloc = {.key = key, .world = world, .ledger = ledger, .watch = watch};
    if (watch != NULL)
        watch->total = (least - key->l) + (uint64_t)(r->start_window - key_floor(key));
    rc = allocate_raise_l(&alloc, least, err);
    if (rc == RC_OK)
        rc = open_start_window(&alloc, r, err);
    if (rc == RC_OK)
        rc = key_destroy_below(key, (uint64_t)r->start_window, err);
    return rc;
}

/* Replacement --------------------------------------------------------------------------------- */

/* Neither the windows of version and interval plans nor those that were opened early can be told
 * from time: nothing signs beyond what an export that was acknowledged off the device says. This
 * backup need not be that export. */
static enum rc last_mark(const struct backup *b, const struct recover_statement *s,
                         struct recover_plan *r, struct err *err)
{
    if (s->acknowledged_through < 0)
        return FAIL(
            err, RC_REFUSED_INPUT, "", 0,
            "which windows the lost device opened cannot be told from time alone: give the mark of "
            "the last export that was acknowledged with --acknowledged-through (this backup "
            "says %" PRId64 ")",
            b->header.through);
    if (s->acknowledged_through < b->header.through)
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "--acknowledged-through %" PRId64 " is below this backup's own mark %" PRId64,
                    s->acknowledged_through, b->header.through);
    r->mark = s->acknowledged_through;
    return RC_OK;
}

static enum rc start_by_time(const struct plan *plan, const struct backup *b,
                             const struct recover_statement *s, struct recover_plan *r,
                             struct err *err)
{
    if (s->clock_latest_s < 0)
        return FAIL(err, RC_RETRY_CLOCK, "", 0,
                    "a time plan can only be recovered with a trusted clock (%s)",
                    s->clock_why != NULL ? s->clock_why : "");
    uint64_t window = 0;
    enum rc rc = last_mark(b, s, r, err);
    if (rc != RC_OK)
        return rc;
    r->floor = r->mark;
    if (s->clock_latest_s >= plan->start_s) {
        if (plan_window_at(plan, s->clock_latest_s, &window, NULL) != RC_OK)
            return FAIL(err, RC_REFUSED_EXHAUSTED, "", 0, "the last window of the plan is over");
        r->floor = max64(r->floor, (int64_t)window);
    }
    r->start_window = r->floor + 1;
    return RC_OK;
}

static enum rc start_by_export(const struct backup *b, const struct recover_statement *s,
                               struct recover_plan *r, struct err *err)
{
    enum rc rc = last_mark(b, s, r, err);
    if (rc != RC_OK)
        return rc;
    r->floor = r->mark + s->margin;
    r->start_window = r->floor + 1;
    return RC_OK;
}

enum rc recover_backup_plan(const struct backup *b, const struct recover_statement *s,
                            struct recover_plan *r, struct err *err)
{
    *r = (struct recover_plan){.opens_s = -1};
    struct plan plan = {0};
    enum rc rc = plan_parse(&plan, b->plan, b->plan_len, NULL, err);
    if (rc == RC_OK)
        rc = plan.kind == PLAN_TIME ? start_by_time(&plan, b, s, r, err)
                                    : start_by_export(b, s, r, err);
    if (rc == RC_OK) {
        r->start_window = max64(r->start_window, s->start_window);
        r->start_window = max64(r->start_window, (int64_t)b->header.first_window);
        r->windows_given_up = (uint64_t)(r->start_window - (int64_t)b->header.first_window);
        strcpy(r->why, "replacement of a lost device");
        rc = finish_plan(&plan, r, err);
    }
    plan_free(&plan);
    return rc;
}

static enum rc next_secret(void *ctx, uint64_t window, struct window_secret *secret,
                           struct err *err)
{
    return backup_secret(ctx, window, secret, err);
}

enum rc recover_from_backup(struct provision *p, struct backup *b, const struct recover_plan *r,
                            const char *statement, struct ledger_key *key, struct err *err)
{
    p->first_window = r->start_window;
    p->statement = statement;
    p->mark = r->mark; /* a replacement can be lost too: the export it came from is its first */
    return provision_restored(p, b->plan, b->plan_len, b->header.public_key,
                              b->header.public_key_len, b->fd, b->nodes_at, b->nodes_len,
                              next_secret, b, key, err);
}
