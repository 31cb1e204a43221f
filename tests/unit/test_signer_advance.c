/*
 * advance-window on a fake world: a window is opened before its start, may be used at once and
 * after a restart, and the one behind it waits for its own start. What the operator must state,
 * every crash on the way (attack 20), and a device that is lost afterwards (attack 29).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "ledger/ledger.h"
#include "lib/signer_rig.h"
#include "signer/advance.h"
#include "signer/backup.h"
#include "signer/recover.h"
#include "signer/seeds.h"

#define DAY INT64_C(86400)
#define WEEK (7 * DAY)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define FAULTS_MAX 400            /* no way of one advance has so many steps */

/* Four weeks of 7 and the seal, in leases of 2. */
#define TIME_PLAN                                                                                  \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':8,'lease_size':2}")
#define INTERVAL_PLAN RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':8}")
#define VERSION_PLAN                                                                               \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'version','format':'major.minor','sizes':{'minor':8},'window':'major',"      \
             "'order':'strict'}")

static struct rig rig;
static struct advance_statement statement;
static struct advance_plan plan;

static void begin_at(int64_t now_s, const char *text, int64_t first_window)
{
    oracle_reset();
    rig_make(&rig, now_s, 1);
    rig_add_key(&rig, text, first_window);
    statement = (struct advance_statement){
        .window = 1, .reason = "A. Smith: window 0 is full", .virtual_policy = VIRTUAL_DEMO};
    memset(statement.export_sha256, 0xe1, SHA256_LEN);
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

/* What `backup check` leaves of an export; it is told by the first byte of its digest. */
static void acknowledge(uint8_t digest, int64_t mark)
{
    struct err err = {0};
    uint8_t sha256[SHA256_LEN];
    char name[LEDGER_TEXT_MAX + 1];
    memset(sha256, digest, sizeof(sha256));
    backup_name(name, sha256, "in the safe");
    signer_close(&rig.signer, false);
    struct ledger *ledger = rig_ledger(&rig);
    assert_int_equal(ledger_begin(ledger, &err), RC_OK);
    assert_int_equal(ledger_add_note(ledger, rig.record[0].id, LEDGER_ACKNOWLEDGEMENT,
                                     "backup-export", name, mark, START, &err),
                     RC_OK);
    assert_int_equal(ledger_commit(ledger, &err), RC_OK);
    ledger_close(&ledger);
}

/* A week that has begun, one signature made in it, and an export that covers the next window. */
static void begin(void)
{
    static struct ask a;
    begin_at(START + DAY, TIME_PLAN, 0);
    assert_int_equal(rig_open(&rig), RC_OK);
    memset(&a, 0, offsetof(struct ask, signature));
    a.idem = "before";
    a.text = "before";
    rig_ask(&rig, &a, RC_OK);
    assert_int_equal(a.window, 0);
    rig_stop(&rig);
    acknowledge(0xe1, 1);
}

/* The operation as the command does it; whatever fails, everything is closed again. */
static enum rc advance_key(struct key *key, void *tpm, struct ledger *ledger)
{
    const struct world *world = &rig.fake.world;
    enum rc rc = advance_window_plan(key, world, ledger, &statement, &plan, &rig.err);
    return rc == RC_OK ? advance_window(key, world, tpm, ledger, &plan, NULL, &rig.err) : rc;
}

static enum rc advance(void)
{
    static const struct key_limits none;
    const struct world *world = &rig.fake.world;
    struct ledger_options options = {.path = rig.config.ledger_path, .vfs = rig.config.ledger_vfs};
    struct ledger_key record;
    struct ledger *ledger = NULL;
    void *tpm = NULL;
    signer_close(&rig.signer, false);
    rig.err = (struct err){0};
    enum rc rc = ledger_open(&ledger, &options, &rig.err);
    if (rc == RC_OK)
        rc = ledger_key_by_id(ledger, rig.record[0].id, &record, &rig.err);
    if (rc == RC_OK)
        rc = world->tpm->open(world->tpm_ctx, &tpm, &rig.err);
    if (rc == RC_OK) {
        struct key *key = calloc(1, sizeof(*key));
        assert_non_null(key);
        key_open(key, &record, rig.config.state_dirfd, world, tpm, ledger, &rig.config.settings,
                 &none);
        rc = advance_key(key, tpm, ledger);
        key_close(key, world);
        free(key);
    }
    if (tpm != NULL)
        world->tpm->close(world->tpm_ctx, &tpm);
    ledger_close(&ledger);
    return rc;
}

static void expect_refusal(enum rc expected, const char *word)
{
    struct fake_nv before = rig.fake.tpm->nv[0];
    enum rc rc = advance();
    if (rc != expected || strstr(err_text(&rig.err), word) == NULL)
        fail_msg("wanted %s and '%s', got %s: %s", rc_name(expected), word, rc_name(rc),
                 err_text(&rig.err));
    /* Nothing was approved or opened. */
    assert_int_equal(rig.fake.tpm->nv[0].w, before.w);
    assert_memory_equal(rig.fake.tpm->nv[0].a, before.a, sizeof(before.a));
}

static struct ask *sign(enum rc expected)
{
    static struct ask a;
    static unsigned number;
    static char idem[32];
    memset(&a, 0, offsetof(struct ask, signature));
    (void)snprintf(idem, sizeof(idem), "fresh-%u", ++number);
    a.idem = idem;
    a.text = idem;
    if (rig.signer == NULL)
        assert_int_equal(rig_open(&rig), RC_OK);
    rig_ask(&rig, &a, expected);
    return &a;
}

static struct anchor_record anchored(void)
{
    struct anchor_record a;
    assert_true(anchor_record_decode(&a, rig.fake.tpm->nv[0].a));
    return a;
}

/* What it is for ------------------------------------------------------------------------------ */

static void opens_early_and_pays_back(void **state)
{
    (void)state;
    begin();
    assert_int_equal(advance(), RC_OK);
    assert_int_equal(plan.lead_s, 6 * DAY);
    assert_int_equal(plan.planned_s, START + WEEK);
    assert_int_equal(plan.closes_s, START + 2 * WEEK);
    assert_in_range(plan.given_up, 5, 6);
    assert_int_equal(sign(RC_OK)->window, 1);
    /* A restart, in order or not, is no clock set back (attack 20). */
    rig_stop(&rig);
    assert_int_equal(sign(RC_OK)->window, 1);
    rig_crash(&rig);
    assert_int_equal(sign(RC_OK)->window, 1);
    /* Over the edge at which it would have opened nobody waits. */
    fake_clock_set(&rig.fake, START + WEEK - 1);
    rig.fake.slept_ms = 0;
    assert_int_equal(sign(RC_OK)->window, 1);
    assert_int_equal(rig.fake.slept_ms, 0);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    rig_crash(&rig);
    assert_int_equal(sign(RC_OK)->window, 1);
    (void)sign(RC_RETRY_WINDOW_FULL); /* four leases of two, one index for the seal */
    /* The lead is paid back: the window behind it waits for its own start. */
    fake_clock_set(&rig.fake, START + 2 * WEEK - 60);
    const struct ask *a = sign(RC_RETRY_WINDOW_FULL);
    assert_int_equal(a->reply.window, 1);
    assert_int_equal(a->reply.window_opens_s, START + 2 * WEEK);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    assert_int_equal(sign(RC_OK)->window, 2);
    assert_int_equal(anchored().early_window, ANCHOR_NO_WINDOW);
    oracle_check();
}

/* The window of now was never asked for: it is opened on the way, and closed. */
static void window_of_now_was_not_opened_yet(void **state)
{
    (void)state;
    begin();
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    statement.window = 2;
    acknowledge(0xe1, 2);
    assert_int_equal(advance(), RC_OK);
    assert_int_equal(sign(RC_OK)->window, 2);
    fake_clock_set(&rig.fake, START + 3 * WEEK + DAY);
    assert_int_equal(sign(RC_OK)->window, 3);
}

static void before_the_plan_begins(void **state)
{
    (void)state;
    begin_at(START - DAY, TIME_PLAN, 0);
    acknowledge(0xe1, 0);
    statement.window = 0;
    (void)sign(RC_REFUSED_NOT_OPEN);
    assert_int_equal(advance(), RC_OK);
    assert_int_equal(plan.lead_s, DAY);
    assert_int_equal(sign(RC_OK)->window, 0);
    rig_crash(&rig);
    assert_int_equal(sign(RC_OK)->window, 0);
    fake_clock_set(&rig.fake, START + DAY);
    assert_int_equal(sign(RC_OK)->window, 0);
}

/* Two windows ahead: a second operation, with a statement and an export of its own. */
static void one_window_at_a_time(void **state)
{
    (void)state;
    begin();
    statement.window = 2;
    expect_refusal(RC_REFUSED_RANGE, "1 is the next");
    statement.window = 1;
    assert_int_equal(advance(), RC_OK);
    /* Done already is done. */
    uint64_t w = rig.fake.tpm->nv[0].w;
    assert_int_equal(advance(), RC_OK);
    assert_true(plan.is_open);
    assert_int_equal(rig.fake.tpm->nv[0].w, w);
    statement.window = 2;
    expect_refusal(RC_REFUSED_EXPORT, "mark 1");
    acknowledge(0xe2, 2);
    expect_refusal(RC_REFUSED_EXPORT, "mark 1"); /* the statement names the older one */
    memset(statement.export_sha256, 0xe2, SHA256_LEN);
    assert_int_equal(advance(), RC_OK);
    assert_int_equal(plan.lead_s, 13 * DAY);
    assert_int_equal(sign(RC_OK)->window, 2);
    rig_crash(&rig);
    assert_int_equal(sign(RC_OK)->window, 2);
    statement.window = 3;
    acknowledge(0xe2, 3);
    assert_int_equal(advance(), RC_OK);
    statement.window = 4;
    acknowledge(0xe2, 4);
    expect_refusal(RC_REFUSED_EXHAUSTED, "no window is left");
    oracle_check();
}

/* A recovery leaves W in a window that waits for its start. */
static void window_of_a_recovery(void **state)
{
    (void)state;
    struct recover_plan r;
    struct err err = {0};
    void *tpm = NULL;
    begin();
    struct ledger *ledger = rig_ledger(&rig);
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    assert_int_equal(recover_here_plan(key, &rig.fake.world, ledger, -1, &r, &err), RC_OK);
    assert_int_equal(recover_here(key, &rig.fake.world, ledger, &r, NULL, &err), RC_OK);
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
    (void)sign(RC_REFUSED_NOT_OPEN);
    uint64_t w = rig.fake.tpm->nv[0].w;
    statement.window = 2;
    expect_refusal(RC_REFUSED_RANGE, "1 is the next");
    statement.window = 1;
    assert_int_equal(advance(), RC_OK);
    assert_int_equal(rig.fake.tpm->nv[0].w, w);
    assert_int_equal(sign(RC_OK)->window, 1);
    oracle_check();
}

/* What it wants ------------------------------------------------------------------------------- */

static void plans_without_time(void **state)
{
    (void)state;
    begin_at(START + DAY, INTERVAL_PLAN, 0);
    acknowledge(0xe1, 1);
    expect_refusal(RC_REFUSED_UNSUPPORTED, "interval plan");
    (void)end(NULL);
    begin_at(START + DAY, VERSION_PLAN, 0);
    acknowledge(0xe1, 1);
    expect_refusal(RC_REFUSED_UNSUPPORTED, "version plan");
}

static void statements_that_are_refused(void **state)
{
    (void)state;
    static char longer[ADVANCE_REASON_MAX + 2];
    begin();
    memset(longer, 'x', ADVANCE_REASON_MAX + 1);
    static const char *const reasons[] = {NULL, "", longer, "two\nlines", "\x7f"};
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        statement.reason = reasons[i];
        expect_refusal(RC_REFUSED_INPUT, "reason");
    }
    statement.reason = "no UTF-8: \xff";
    expect_refusal(RC_REFUSED_INPUT, "note");
    longer[ADVANCE_REASON_MAX] = '\0';
    statement.reason = longer;
    static const int64_t windows[] = {0, 2, 3, 4, INT64_MAX};
    for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
        statement.window = windows[i];
        expect_refusal(RC_REFUSED_RANGE, "1 is the next");
    }
    statement.window = 1;
    memset(statement.export_sha256, 0xe7, SHA256_LEN);
    expect_refusal(RC_REFUSED_EXPORT, "backup check");
    acknowledge(0xe7, 0);
    expect_refusal(RC_REFUSED_EXPORT, "mark 0");
    memset(statement.export_sha256, 0xe1, SHA256_LEN);
    assert_int_equal(advance(), RC_OK);
}

static void clock_must_be_trusted(void **state)
{
    (void)state;
    begin();
    rig.fake.reasons = CLK_REASON(CLK_STALE);
    expect_refusal(RC_RETRY_CLOCK, "not safe");
    rig.fake.reasons = 0;
    fake_clock_set(&rig.fake, START + DAY - 3600);
    expect_refusal(RC_RETRY_CLOCK, "time must catch up: 3601 s");
    /* In an open early window, too. */
    fake_clock_set(&rig.fake, START + DAY);
    assert_int_equal(advance(), RC_OK);
    fake_clock_set(&rig.fake, START + 2 * DAY);
    assert_int_equal(sign(RC_OK)->window, 1);
    size_t computed = oracle_computed();
    fake_clock_step(&rig.fake, START + 2 * DAY - 60);
    (void)sign(RC_RETRY_CLOCK);
    rig_crash(&rig); /* nor in a process that has not seen the step */
    (void)sign(RC_RETRY_CLOCK);
    rig.fake.reasons = CLK_REASON(CLK_STALE);
    (void)sign(RC_RETRY_CLOCK);
    assert_int_equal(oracle_computed(), computed);
    rig.fake.reasons = 0;
    /* It was the clock that went back, not time: somebody mends it, and starts the service again.
     */
    fake_clock_step(&rig.fake, START + 2 * DAY + 1);
    rig_reopen(&rig);
    assert_int_equal(sign(RC_OK)->window, 1);
}

/* Its secret is looked at before anything is given up for it. */
static void window_that_cannot_sign(void **state)
{
    (void)state;
    static const uint8_t nothing[SEEDS_RECORD_LEN];
    begin();
    int fd = openat(rig.config.state_dirfd, KEYS_DIR "/k/" SEEDS_FILE, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && pwrite_full(fd, nothing, sizeof(nothing), SEEDS_RECORD_LEN));
    (void)close(fd);
    expect_refusal(RC_HALT_SEEDS, "window 1");
    assert_int_equal(sign(RC_OK)->window, 0);
}

/* Under `wait` nothing signs in the window of the start, and after a restart that is the early one:
 * a snapshot of the machine may have been taken in it. */
static void virtual_tpm(void **state)
{
    (void)state;
    begin();
    rig.fake.tpm->identity.is_virtual = true;
    statement.virtual_policy = VIRTUAL_WAIT;
    expect_refusal(RC_REFUSED_UNSUPPORTED, "tpm.virtual = wait");
    statement.virtual_policy = VIRTUAL_REFUSE;
    expect_refusal(RC_REFUSED_UNSUPPORTED, "tpm.virtual = refuse");
    statement.virtual_policy = VIRTUAL_DEMO;
    assert_int_equal(advance(), RC_OK);
    assert_int_equal(sign(RC_OK)->window, 1);
    signer_close(&rig.signer, false);
    rig.config.settings.virtual_policy = VIRTUAL_WAIT;
    (void)sign(RC_REFUSED_NOT_OPEN);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    (void)sign(RC_REFUSED_NOT_OPEN);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    assert_int_equal(sign(RC_OK)->window, 2);
}

/* A machine that stood still may have been resumed twice. Its early window has no start of its own
 * that would say that it was opened later, so it stays closed with the window of now. */
static void pause_on_a_virtual_tpm(void **state)
{
    (void)state;
    begin();
    rig.fake.tpm->identity.is_virtual = true;
    assert_int_equal(advance(), RC_OK);
    assert_int_equal(sign(RC_OK)->window, 1);
    rig.fake.asleep_ns += INT64_C(700000000);
    (void)sign(RC_RETRY_CLOCK);
    size_t computed = oracle_computed();
    fake_clock_set(&rig.fake, START + 2 * DAY);
    (void)sign(RC_REFUSED_NOT_OPEN);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    (void)sign(RC_REFUSED_NOT_OPEN);
    assert_int_equal(oracle_computed(), computed);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    assert_int_equal(sign(RC_OK)->window, 2);
}

/* What is shown ------------------------------------------------------------------------------- */

static void *read_view(struct request *request, size_t *len)
{
    struct reply reply;
    void *payload = NULL;
    strcpy(request->key, "k");
    signer_read(rig.signer, request, &reply, &payload, len);
    assert_int_equal(reply.rc, RC_OK);
    return payload;
}

static void lead_is_shown(void **state)
{
    (void)state;
    size_t len = 0;
    begin();
    assert_int_equal(advance(), RC_OK);
    (void)sign(RC_OK);
    struct request request = {.op = REQUEST_KEYS};
    struct view_key *key = read_view(&request, &len);
    assert_int_equal(key->open_window, 1);
    assert_int_equal(key->early_window, 1);
    assert_in_range(key->remaining_window, 5, 6);
    free(key);
    request = (struct request){.op = REQUEST_WINDOWS, .from = 0, .to = 3};
    struct view_window *v = read_view(&request, &len);
    assert_int_equal(len, 4 * sizeof(*v));
    assert_int_equal(v[0].state, WINDOW_CLOSED);
    assert_int_equal(v[0].lead_s, 0);
    assert_int_equal(v[0].remaining, 0);
    assert_int_equal(v[1].state, WINDOW_OPEN);
    assert_int_equal(v[1].lead_s, 6 * DAY);
    assert_int_equal(v[1].opens_s, START + WEEK);
    assert_int_equal(v[2].state, WINDOW_FUTURE);
    assert_int_equal(v[2].lead_s, 0);
    free(v);
    /* By plan it is a window like any other; what was is kept. */
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    request = (struct request){.op = REQUEST_KEYS};
    key = read_view(&request, &len);
    assert_int_equal(key->open_window, 1);
    assert_int_equal(key->early_window, REQUEST_NONE);
    free(key);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    (void)sign(RC_OK);
    request = (struct request){.op = REQUEST_WINDOWS, .from = 0, .to = 3};
    v = read_view(&request, &len);
    assert_int_equal(v[1].lead_s, 6 * DAY);
    assert_int_equal(v[2].lead_s, 0);
    free(v);
}

/* Attack 20 ----------------------------------------------------------------------------------- */

/* Who approved it, and why, is on disk before it is approved. */
static void expect_note(const char *told)
{
    struct err err = {0};
    int64_t at_s = 0;
    struct ledger *ledger = rig_ledger(&rig);
    if (ledger_note_time(ledger, rig.record[0].id, LEDGER_OPERATION, ADVANCE_NOTE, 1, &at_s,
                         &err) != RC_OK)
        fail_msg("%s: approved, and nobody knows by whom", told);
    ledger_close(&ledger);
}

/* Whatever happened on the way: the key signs, in the window of now if nothing was approved and in
 * the early one otherwise; the same command again opens that; and the next one waits. */
static void goes_on(enum rc rc, const char *told)
{
    rig_crash(&rig);
    crashvfs_cut_at(rig.disk, 0);
    fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
    bool approved = anchored().early_window == 1;
    if (approved)
        expect_note(told);
    int64_t window = (int64_t)sign(RC_OK)->window;
    if (window != (approved ? 1 : 0) || (rc == RC_OK && !approved))
        fail_msg("%s: %s, %s, and signs in window %" PRId64, told, rc_name(rc),
                 approved ? "approved" : "not approved", window);
    rc = advance();
    if (rc != RC_OK)
        fail_msg("%s: again: %s: %s", told, rc_name(rc), err_text(&rig.err));
    assert_int_equal(sign(RC_OK)->window, 1);
    rig_crash(&rig);
    assert_int_equal(anchored().early_window, 1);
    fake_clock_set(&rig.fake, START + 2 * WEEK - 60);
    const struct ask *a = sign(RC_OK);
    assert_int_equal(a->window, 1);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    assert_int_equal(sign(RC_OK)->window, 2);
    oracle_check();
    rig_stop(&rig);
    struct err err = {0};
    struct ledger *ledger = rig_ledger(&rig);
    assert_int_equal(ledger_check_invariants(ledger, &err), RC_OK);
    ledger_close(&ledger);
}

static void attack_20_tpm_fails_on_the_way(void **state)
{
    (void)state;
    char told[80];
    begin();
    rig_save(&rig);
    for (int fault = FAKE_FAIL_BEFORE; fault <= FAKE_BUSY; fault++) {
        uint64_t n = 1;
        for (; n < FAULTS_MAX; n++) {
            oracle_reset();
            rig_restore(&rig, n);
            fake_tpm_fail(&rig.fake, n, (enum fake_fault)fault);
            enum rc rc = advance();
            bool met = rig.fake.tpm->commands >= n;
            (void)snprintf(told, sizeof(told), "fault %d at command %" PRIu64, fault, n);
            goes_on(rc, told);
            if (!met)
                break;
        }
        /* Open, unseal, open the anchor, read …, A, W, A at the least. */
        assert_in_range(n, 8, FAULTS_MAX - 1);
    }
}

static void attack_20_power_goes_on_the_way(void **state)
{
    (void)state;
    char told[80];
    begin();
    rig_save(&rig);
    uint64_t cut = 1;
    for (; cut < FAULTS_MAX; cut++) {
        oracle_reset();
        rig_restore(&rig, cut);
        crashvfs_cut_at(rig.disk, cut);
        enum rc rc = advance();
        (void)snprintf(told, sizeof(told), "power cut at step %" PRIu64, cut);
        goes_on(rc, told);
        if (rc == RC_OK)
            break;
    }
    assert_in_range(cut, 5, FAULTS_MAX - 1);
}

/* Each state that a crash can leave in the TPM, over the ledger of that moment: A approved and W
 * not stepped; W stepped and A not written; the entry missing. */
static struct {
    enum fake_command at;
    unsigned number;
} stop_behind;

static void stop_hook(void *ctx, enum fake_command command)
{
    (void)ctx;
    if (command != stop_behind.at || --stop_behind.number > 0)
        return;
    crashvfs_cut_at(rig.disk, crashvfs_steps(rig.disk) + 1);
    fake_tpm_fail(&rig.fake, 1, FAKE_FAIL_BEFORE);
}

static void attack_20_start_finishes_what_was_approved(void **state)
{
    (void)state;
    begin();
    rig_save(&rig);
    static const struct {
        enum fake_command at;
        unsigned number;
        uint64_t steps; /* of W */
    } points[] = {{FAKE_WRITE, 1, 0}, {FAKE_STEP_W, 1, 1}, {FAKE_WRITE, 2, 1}};
    for (size_t i = 0; i < 3; i++) {
        oracle_reset();
        rig_restore(&rig, 1);
        uint64_t w = rig.fake.tpm->nv[0].w;
        rig.fake.hook_after = stop_hook;
        stop_behind.at = points[i].at;
        stop_behind.number = points[i].number;
        enum rc rc = advance();
        rig.fake.hook_after = NULL;
        assert_int_equal(anchored().early_window, 1);
        assert_int_equal(rig.fake.tpm->nv[0].w, w + points[i].steps);
        assert_int_equal(rc_class(rc), RC_CLASS_HALT);
        goes_on(rc, "stopped behind a command");
    }
}

/* The disk of before the approval: A holds the note, so the start refuses; recovery skips it. */
static void attack_20_disk_put_back(void **state)
{
    (void)state;
    struct rig_disk disk = {0};
    struct recover_plan r;
    struct err err = {0};
    void *tpm = NULL;
    begin();
    rig_disk_take(&rig, &disk);
    assert_int_equal(advance(), RC_OK);
    assert_int_equal(sign(RC_OK)->window, 1);
    rig_crash(&rig);
    rig_disk_put(&rig, &disk);
    rig_disk_free(&disk);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(rig_key_rc(&rig, 0), RC_HALT_REGRESSION);
    signer_close(&rig.signer, false);
    struct ledger *ledger = rig_ledger(&rig);
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    assert_int_equal(recover_here_plan(key, &rig.fake.world, ledger, -1, &r, &err), RC_OK);
    assert_int_equal(r.start_window, 2);
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
    oracle_check();
}

/* A lost behind the opening: the window is given up, and its approval with it. */
static void attack_20_torn_a(void **state)
{
    (void)state;
    begin();
    assert_int_equal(advance(), RC_OK);
    assert_int_equal(sign(RC_OK)->window, 1);
    rig_crash(&rig);
    fake_tpm_tear_a(&rig.fake, 0);
    assert_int_equal(sign(RC_REFUSED_NOT_OPEN)->reply.window_opens_s, START + 2 * WEEK);
    assert_int_equal(anchored().early_window, ANCHOR_NO_WINDOW);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    assert_int_equal(sign(RC_OK)->window, 2);
    oracle_check();
}

/* Attack 29 ----------------------------------------------------------------------------------- */

/* An old backup, made before anything was opened early, and one that covers it. */
static void attack_29_early_window_and_a_lost_device(void **state)
{
    (void)state;
    begin();
    assert_int_equal(advance(), RC_OK);
    assert_int_equal(sign(RC_OK)->window, 1);
    char text[] = TIME_PLAN;
    for (char *p = text; *p != '\0'; p++)
        *p = *p == '\'' ? '"' : *p;
    struct recover_plan r;
    struct err err = {0};
    struct backup old = {.header = {.through = 0}, .plan = text, .plan_len = strlen(text)};
    struct backup covers = {.header = {.through = 1}, .plan = text, .plan_len = strlen(text)};
    struct recover_statement s = {.acknowledged_through = 1,
                                  .start_window = -1,
                                  .margin = 1,
                                  .clock_latest_s = START + 2 * DAY};
    assert_int_equal(recover_backup_plan(&covers, &s, &r, &err), RC_OK);
    assert_int_equal(r.start_window, 2);
    assert_int_equal(recover_backup_plan(&old, &s, &r, &err), RC_OK);
    assert_int_equal(r.start_window, 2);
    /* Neither the clock nor the file at hand says that window 1 was used. */
    s.acknowledged_through = -1;
    assert_int_equal(recover_backup_plan(&old, &s, &r, &err), RC_REFUSED_INPUT);
    err = (struct err){0};
    s.acknowledged_through = 0;
    assert_int_equal(recover_backup_plan(&covers, &s, &r, &err), RC_REFUSED_INPUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(opens_early_and_pays_back, end),
        cmocka_unit_test_teardown(window_of_now_was_not_opened_yet, end),
        cmocka_unit_test_teardown(before_the_plan_begins, end),
        cmocka_unit_test_teardown(one_window_at_a_time, end),
        cmocka_unit_test_teardown(window_of_a_recovery, end),
        cmocka_unit_test_teardown(plans_without_time, end),
        cmocka_unit_test_teardown(statements_that_are_refused, end),
        cmocka_unit_test_teardown(clock_must_be_trusted, end),
        cmocka_unit_test_teardown(window_that_cannot_sign, end),
        cmocka_unit_test_teardown(virtual_tpm, end),
        cmocka_unit_test_teardown(pause_on_a_virtual_tpm, end),
        cmocka_unit_test_teardown(lead_is_shown, end),
        cmocka_unit_test_teardown(attack_20_tpm_fails_on_the_way, end),
        cmocka_unit_test_teardown(attack_20_power_goes_on_the_way, end),
        cmocka_unit_test_teardown(attack_20_start_finishes_what_was_approved, end),
        cmocka_unit_test_teardown(attack_20_disk_put_back, end),
        cmocka_unit_test_teardown(attack_20_torn_a, end),
        cmocka_unit_test_teardown(attack_29_early_window_and_a_lost_device, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
