/*
 * recover and advance-window over many windows: every step of W and L is reported, the work stops
 * between any two of them, what it leaves signs nothing that it must not, and the same command goes
 * on from there without a step twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/secmem.h"
#include "lib/signer_rig.h"
#include "signer/advance.h"
#include "signer/recover.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define DAY INT64_C(86400)
#define WEEK (7 * DAY)
#define FAR 5  /* of 8 windows */
#define LOST 2 /* leases that the TPM forgets */
#define PLAN                                                                                       \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':4,'lease_size':1}")

static struct rig rig;

/* Who watches: stops behind this step, and sees each of them once. */
struct eye {
    uint64_t stop_at, seen, total;
};

static bool look(void *ctx, uint64_t done, uint64_t total)
{
    struct eye *eye = ctx;
    assert_int_equal(done, eye->seen + 1);
    assert_true(eye->seen == 0 || total == eye->total);
    eye->seen = done;
    eye->total = total;
    return done != eye->stop_at;
}

static enum rc sign(const char *idem)
{
    struct ask ask = {.idem = idem, .text = idem};
    if (rig.signer == NULL && rig_open(&rig) != RC_OK)
        return RC_HALT_ANCHOR;
    (void)rig_sign(&rig, &ask, 1);
    oracle_check();
    return ask.rc;
}

static void begin(void)
{
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, PLAN, 0);
    assert_int_equal(sign("first"), RC_OK);
    signer_close(&rig.signer, false);
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

static uint64_t w_now(void)
{
    return rig.fake.tpm->nv[0].w;
}

/* Recovery ------------------------------------------------------------------------------------- */

static enum rc recover(uint64_t stop_at, struct eye *eye, struct recover_plan *plan)
{
    struct err err = {0};
    void *tpm = NULL;
    struct step_watch watch = {.report = look, .ctx = eye};
    *eye = (struct eye){.stop_at = stop_at};
    signer_close(&rig.signer, false);
    struct ledger *ledger = rig_ledger(&rig);
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    assert_int_equal(recover_here_plan(key, &rig.fake.world, ledger, FAR - 1, plan, &err), RC_OK);
    enum rc rc = recover_here(key, &rig.fake.world, ledger, plan, &watch, &err);
    assert_int_equal(watch.stopped, rc == RC_RETRY_BUSY);
    if (rc == RC_RETRY_BUSY)
        assert_non_null(strstr(err_text(&err), "steps of the TPM's counters are done"));
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
    return rc;
}

/* The TPM forgets some leases: the ledger is ahead of it. */
static void put_tpm_back(void)
{
    struct fake_nv before = rig.fake.tpm->nv[0];
    for (unsigned i = 0; i < LOST; i++)
        assert_int_equal(sign((const char *[]){"a", "b"}[i]), RC_OK);
    signer_close(&rig.signer, false);
    rig.fake.tpm->nv[0] = before;
}

/* Between the two halves somebody starts the service: the windows that were named stay closed. */
static void must_not_sign(void)
{
    assert_int_not_equal(sign("between"), RC_OK);
    fake_clock_set(&rig.fake, START + (FAR - 1) * WEEK + DAY);
    assert_int_not_equal(sign("between"), RC_OK);
}

static void stop_recovery_at(uint64_t stop_at, bool tpm_behind, bool restart)
{
    struct eye eye;
    struct recover_plan first, second;
    begin();
    uint64_t w = w_now();
    if (tpm_behind)
        put_tpm_back();
    assert_int_equal(recover(stop_at, &eye, &first), RC_RETRY_BUSY);
    assert_int_equal(eye.seen, stop_at);
    if (restart)
        must_not_sign();
    uint64_t left = w + FAR - w_now();
    assert_int_equal(recover(0, &eye, &second), RC_OK);
    assert_int_equal(second.start_window, first.start_window);
    assert_int_equal(second.start_window, FAR);
    assert_true(eye.seen >= left);
    assert_int_equal(eye.seen, eye.total);
    assert_int_equal(w_now(), w + FAR); /* no step twice */
    fake_clock_set(&rig.fake, START + FAR * WEEK + DAY);
    assert_int_equal(sign("behind"), RC_OK);
    rig_end(&rig);
}

static void a_recovery_stops_between_any_two_steps(void **state)
{
    (void)state;
    for (uint64_t at = 1; at < FAR; at++)
        for (int restart = 0; restart < 2; restart++)
            stop_recovery_at(at, false, restart == 1);
    for (uint64_t at = 1; at < FAR + LOST; at++)
        for (int restart = 0; restart < 2; restart++)
            stop_recovery_at(at, true, restart == 1);
    begin(); /* for end() */
}

/* Nothing is left to do then, so there is nothing to stop. */
static void behind_the_last_step_it_ends_in_order(void **state)
{
    (void)state;
    struct eye eye;
    struct recover_plan plan;
    begin();
    assert_int_equal(recover(FAR, &eye, &plan), RC_OK);
    assert_int_equal(eye.seen, FAR);
    fake_clock_set(&rig.fake, START + FAR * WEEK + DAY);
    assert_int_equal(sign("behind"), RC_OK);
}

/* Early windows ---------------------------------------------------------------------------------
 */

static void acknowledge(int64_t mark, struct advance_statement *s)
{
    struct err err = {0};
    uint8_t sha256[SHA256_LEN];
    char name[LEDGER_TEXT_MAX + 1];
    memset(sha256, 0xe1, sizeof(sha256));
    backup_name(name, sha256, "in the safe");
    struct ledger *ledger = rig_ledger(&rig);
    assert_int_equal(ledger_begin(ledger, &err), RC_OK);
    assert_int_equal(ledger_add_note(ledger, rig.record[0].id, LEDGER_ACKNOWLEDGEMENT,
                                     "backup-export", name, mark, START, &err),
                     RC_OK);
    assert_int_equal(ledger_commit(ledger, &err), RC_OK);
    ledger_close(&ledger);
    *s = (struct advance_statement){
        .window = mark, .reason = "A. Smith", .virtual_policy = VIRTUAL_DEMO};
    memcpy(s->export_sha256, sha256, sizeof(sha256));
}

/* @param[out] early  What A says of it afterwards. @param[out] notes  Has anybody approved? */
static enum rc advance(const struct advance_statement *s, struct eye *eye, int64_t *early,
                       bool *approved)
{
    struct err err = {0};
    void *tpm = NULL;
    struct advance_plan plan;
    struct step_watch watch = {.report = look, .ctx = eye};
    struct ledger *ledger = rig_ledger(&rig);
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    assert_int_equal(advance_window_plan(key, &rig.fake.world, ledger, s, &plan, &err), RC_OK);
    enum rc rc = advance_window(key, &rig.fake.world, tpm, ledger, &plan, &watch, &err);
    assert_int_equal(watch.stopped, rc == RC_RETRY_BUSY);
    int64_t number = 0;
    int64_t at_s = 0;
    *approved = ledger_note_latest(ledger, rig.record[0].id, LEDGER_OPERATION, ADVANCE_NOTE,
                                   &number, &at_s, NULL) == RC_OK;
    *early = key->a.early_window;
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
    return rc;
}

/* The window of now, which nobody asked for, and those before it are passed first. */
static void an_advance_stops_before_anything_is_approved(void **state)
{
    (void)state;
    for (uint64_t at = 1; at <= FAR; at++) {
        struct eye eye = {.stop_at = at};
        struct advance_statement s;
        int64_t early = 0;
        bool approved = false;
        begin();
        uint64_t w = w_now();
        fake_clock_set(&rig.fake, START + (FAR - 1) * WEEK + DAY);
        acknowledge(FAR, &s);
        enum rc rc = advance(&s, &eye, &early, &approved);
        assert_int_equal(rc, at < FAR ? RC_RETRY_BUSY : RC_OK);
        assert_int_equal(eye.total, FAR);
        assert_int_equal(w_now(), w + at);
        assert_int_equal(approved, at == FAR);
        assert_int_equal(early, at == FAR ? FAR : ANCHOR_NO_WINDOW);
        eye = (struct eye){0};
        assert_int_equal(at < FAR ? advance(&s, &eye, &early, &approved) : RC_OK, RC_OK);
        assert_int_equal(w_now(), w + FAR);
        assert_int_equal(early, FAR);
        assert_int_equal(sign("early"), RC_OK);
        rig_end(&rig);
    }
    begin(); /* for end() */
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    struct err err = {0};
    if (base_init(&err) != RC_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_recovery_stops_between_any_two_steps, end),
        cmocka_unit_test_teardown(behind_the_last_step_it_ends_in_order, end),
        cmocka_unit_test_teardown(an_advance_stops_before_anything_is_approved, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
