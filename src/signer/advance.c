#include "signer/advance.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "signer/toolclock.h"
#include "signer/view.h"

/* Planning ------------------------------------------------------------------------------------ */

static enum rc check_key(const struct key *key, const struct advance_statement *s, struct err *err)
{
    if (key->rc != RC_OK)
        return FAIL(err, key->rc, key->err.origin, key->err.native, "%s", err_text(&key->err));
    if (key->plan.kind == PLAN_INTERVAL)
        return FAIL(err, RC_REFUSED_UNSUPPORTED, "", 0,
                    "an interval plan opens its next window by itself when one is full: there is "
                    "no time to be early for");
    if (key->plan.kind == PLAN_VERSION)
        return FAIL(err, RC_REFUSED_UNSUPPORTED, "", 0,
                    "a version plan opens a window when a version in it is signed: there is no "
                    "time to be early for");
    if (key->is_virtual && s->virtual_policy != VIRTUAL_DEMO)
        return FAIL(err, RC_REFUSED_UNSUPPORTED, "", 0,
                    "the TPM is a virtual one, and under tpm.virtual = %s nothing would be signed "
                    "in a window that was opened early",
                    s->virtual_policy == VIRTUAL_WAIT ? "wait" : "refuse");
    return RC_OK;
}

/* One line: it stands in the ledger, in logs and on terminals. */
static enum rc check_reason(const struct advance_statement *s, struct err *err)
{
    if (s->reason == NULL || s->reason[0] == '\0')
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "say who wants the window opened early, and why: --reason TEXT");
    if (strlen(s->reason) > ADVANCE_REASON_MAX)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "the reason is longer than %d bytes",
                    ADVANCE_REASON_MAX);
    for (const char *p = s->reason; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "the reason must be one line of text");
    return RC_OK;
}

static enum rc window_of_now(const struct key *key, const struct world *world, int64_t *latest_s,
                             int64_t *now, struct err *err)
{
    enum rc rc = tool_clock_latest_s(world, key->a.wall_s, latest_s, err);
    if (rc != RC_OK)
        return rc;
    uint64_t window = 0;
    *now = -1;
    if (*latest_s < key->plan.start_s)
        return RC_OK;
    if (plan_window_at(&key->plan, *latest_s, &window, NULL) != RC_OK)
        return FAIL(err, RC_REFUSED_EXHAUSTED, "", 0, "the last window of the plan is over");
    *now = (int64_t)window;
    return RC_OK;
}

/* The only window that may be opened early. After a recovery W stands in a window whose start is
 * still to come, and that is the one. */
static int64_t next_window(const struct key *key, int64_t now)
{
    int64_t floor = key_floor(key);
    if (floor > now && floor >= key->record.min_window && !key_opened_early(key))
        return floor;
    int64_t next = (floor > now ? floor : now) + 1;
    return next > key->record.min_window ? next : key->record.min_window;
}

static enum rc check_window(const struct key *key, int64_t window, int64_t now, struct err *err)
{
    int64_t next = next_window(key, now);
    if ((uint64_t)next >= key->plan.window_count)
        return FAIL(err, RC_REFUSED_EXHAUSTED, "", 0, "no window is left to be opened early");
    if (window == next)
        return RC_OK;
    return FAIL(err, RC_REFUSED_RANGE, "", 0,
                "window %" PRId64 " cannot be opened early: it is window %" PRId64
                " now, the highest that was opened is %" PRId64 ", and %" PRId64 " is the next",
                window, now, key_floor(key), next);
}

/* What went off the device decides where a replacement starts. */
static enum rc check_export(const struct key *key, struct ledger *ledger,
                            const struct advance_statement *s, struct err *err)
{
    char hex[HEX_SIZE(SHA256_LEN)];
    int64_t mark = -1;
    hex_encode(hex, s->export_sha256, SHA256_LEN);
    struct err e = {0};
    enum rc rc = ledger_note_by_text(ledger, key->record.id, LEDGER_ACKNOWLEDGEMENT,
                                     "backup-export", hex, &mark, &e);
    if (rc == RC_REFUSED_NOT_FOUND)
        return FAIL(err, RC_REFUSED_EXPORT, "", 0,
                    "no export with the digest %.16s... was acknowledged on this device: run "
                    "'tidemark backup check' on it",
                    hex);
    if (rc != RC_OK)
        return FAIL(err, rc, e.origin, e.native, "%s", err_text(&e));
    if (mark < s->window)
        return FAIL(err, RC_REFUSED_EXPORT, "", 0,
                    "the acknowledged export has mark %" PRId64 ", so a replacement made from it "
                    "could sign in window %" PRId64 ": make one with 'tidemark backup export "
                    "--through %" PRId64 "' and check it",
                    mark, s->window, s->window);
    return RC_OK;
}

static void fill(const struct key *key, struct ledger *ledger, const struct advance_statement *s,
                 int64_t now, struct advance_plan *p)
{
    uint64_t in_key = 0;
    p->window = s->window;
    p->floor = key_floor(key);
    p->uid = s->uid;
    memcpy(p->export_sha256, s->export_sha256, SHA256_LEN);
    text_copy(p->reason, sizeof(p->reason), s->reason);
    plan_window_times(&key->plan, (uint64_t)p->window, &p->planned_s, &p->closes_s);
    p->lead_s = p->planned_s - p->latest_s;
    if (now >= 0)
        view_remaining(key, ledger, (uint64_t)now, p->latest_s, &p->given_up, &in_key);
}

enum rc advance_window_plan(struct key *key, const struct world *world, struct ledger *ledger,
                            const struct advance_statement *s, struct advance_plan *plan,
                            struct err *err)
{
    *plan = (struct advance_plan){0};
    int64_t now = -1;
    enum rc rc = check_key(key, s, err);
    if (rc == RC_OK)
        rc = check_reason(s, err);
    if (rc == RC_OK)
        rc = window_of_now(key, world, &plan->latest_s, &now, err);
    if (rc != RC_OK)
        return rc;
    /* Run again behind a crash: the start has finished it. */
    plan->is_open = key_opened_early(key) && s->window == key_floor(key) && s->window > now;
    if (!plan->is_open)
        rc = check_window(key, s->window, now, err);
    if (rc == RC_OK && !plan->is_open)
        rc = check_export(key, ledger, s, err);
    if (rc == RC_OK)
        fill(key, ledger, s, now, plan);
    return rc;
}

/* Running ------------------------------------------------------------------------------------- */

static enum rc record(const struct key *key, const struct world *world, struct ledger *ledger,
                      const struct advance_plan *p, struct err *err)
{
    char text[LEDGER_TEXT_MAX + 1];
    char hex[HEX_SIZE(SHA256_LEN)];
    hex_encode(hex, p->export_sha256, SHA256_LEN);
    (void)snprintf(text, sizeof(text), "lead %" PRId64 " s, export %.16s, uid %" PRIu32 ": %s",
                   p->lead_s, hex, p->uid, p->reason);
    int64_t now_s = world->time->real_ns(world->time->ctx) / INT64_C(1000000000);
    enum rc rc = ledger_begin(ledger, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_add_note(ledger, key->record.id, LEDGER_OPERATION, ADVANCE_NOTE, text, p->window,
                         now_s, err);
    if (rc == RC_OK)
        return ledger_commit(ledger, err);
    ledger_rollback(ledger);
    return rc;
}

/* A window that cannot sign must not cost the one before it. If the window of now was never asked
 * for, W passes it first, so that what is early is one step and no more. */
static enum rc have_secret(const struct allocator *alloc, void *tpm, int64_t window,
                           struct err *err)
{
    struct key *key = alloc->key;
    const struct window_secret *secret = NULL;
    bool waits = false;
    enum rc rc = key_secret_waits(key, alloc->world, tpm, (uint64_t)window, &waits, err);
    if (rc == RC_OK && window > key_floor(key))
        rc = allocate_skip_to(alloc, window, err);
    return rc == RC_OK ? key_secret(key, alloc->world, tpm, (uint64_t)window, &secret, err) : rc;
}

enum rc advance_window(struct key *key, const struct world *world, void *tpm, struct ledger *ledger,
                       const struct advance_plan *p, struct step_watch *watch, struct err *err)
{
    struct allocator alloc = {
        .key = key, .world = world, .ledger = ledger, .wall_s = p->latest_s, .watch = watch};
    if (p->is_open)
        return RC_OK;
    if (p->floor != key_floor(key))
        return FAIL(err, RC_REFUSED_RANGE, "", 0, "the counter has moved since the plan was made");
    if (watch != NULL)
        watch->total = (uint64_t)(p->window - p->floor);
    enum rc rc = have_secret(&alloc, tpm, p->window, err);
    if (rc == RC_OK)
        rc = record(key, world, ledger, p, err);
    if (rc == RC_OK)
        rc = allocate_approve_early(&alloc, p->window, err);
    if (rc == RC_OK && p->window > key_floor(key))
        rc = allocate_open_window(&alloc, p->window, err);
    return rc == RC_OK ? key_destroy_below(key, (uint64_t)p->window, err) : rc;
}
