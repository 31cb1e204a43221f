/*
 * A key that was not used for many windows: W passes them in turns, requests hear how far it is,
 * other keys are served in between, and a stop or a crash anywhere costs nothing but the rest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secmem.h"
#include "lib/signer_rig.h"
#include "signer/catchup.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define DAY 86400
#define WEEK (7 * DAY)
#define FAR 6 /* of 8 windows */
#define STEPS 2
#define TURNS_MAX 16
#define ASSIGNMENT                                                                                 \
    "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D','signatures_per_window':4,"      \
    "'lease_size':1}"

static struct rig rig;

static void begin(void)
{
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, RIG_PLAN("k", "raw", ASSIGNMENT), 0);
    rig_add_key(&rig, RIG_PLAN("other", "raw", "{'kind':'interval','signatures_per_window':8}"), 0);
    rig.config.settings.catch_up_steps = STEPS;
    assert_int_equal(rig_open(&rig), RC_OK);
}

static int end(void **state)
{
    (void)state;
    oracle_check();
    rig_end(&rig);
    return 0;
}

static struct ask ask_key(unsigned key, const char *idem)
{
    return (struct ask){.key = key, .idem = idem, .text = "x"};
}

static void must_sign(unsigned key, const char *idem)
{
    struct ask ask = ask_key(key, idem);
    rig_ask(&rig, &ask, RC_OK);
}

static struct view_key told(void)
{
    struct request request = {.magic = REQUEST_MAGIC, .op = REQUEST_KEYS, .generation = 1};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    strcpy(request.key, "k");
    signer_read(rig.signer, &request, &reply, &payload, &len);
    assert_int_equal(len, sizeof(struct view_key));
    struct view_key view = *(const struct view_key *)payload;
    free(payload);
    return view;
}

static void go_far(void)
{
    must_sign(0, "first");
    fake_clock_set(&rig.fake, START + (int64_t)FAR * WEEK + DAY);
}

static void a_far_window_is_reached_in_turns(void **state)
{
    (void)state;
    begin();
    go_far();
    struct ask ask = ask_key(0, "far");
    rig_ask(&rig, &ask, RC_RETRY_STARTING);
    assert_non_null(strstr(ask.reply.text, "catching up: window 2 of 6"));
    assert_true(ask.reply.retry_after_s >= 1);
    struct view_key view = told();
    assert_int_equal(view.state, STATE_RECOVERING);
    assert_string_equal(view.reason, "catching up: window 2 of 6");
    unsigned turns = 0;
    for (; signer_has_work(rig.signer) && turns < TURNS_MAX; turns++) {
        struct err err = {0};
        must_sign(1, (const char *[]){"a", "b", "c", "d", "e"}[turns % 5]); /* nobody waits */
        assert_int_equal(signer_work(rig.signer, &err), RC_OK);
    }
    assert_int_equal(turns, 2); /* 2, 4, 5 */
    assert_int_equal(told().state, STATE_OPERATIONAL);
    must_sign(0, "far");
    assert_int_equal(told().floor, FAR);
    assert_int_equal(told().wear.w, 1 + FAR + 1);
}

/* Without a turn in between, whoever asks moves it on. */
static void asking_is_enough(void **state)
{
    (void)state;
    begin();
    go_far();
    unsigned asked = 0;
    for (enum rc rc = RC_RETRY_STARTING; rc != RC_OK && asked < TURNS_MAX; asked++) {
        struct ask ask = ask_key(0, "far");
        assert_int_equal(rig_sign(&rig, &ask, 1), RC_OK);
        rc = ask.rc;
        assert_true(rc == RC_OK || rc == RC_RETRY_STARTING);
    }
    assert_int_equal(asked, 3);
}

/* Of two versions the nearer one is signed first. If W went on to the farther one by itself, it
 * would close all that may still be jumped to from there. */
static void a_nearer_version_ends_the_way_to_a_farther_one(void **state)
{
    (void)state;
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig,
                RIG_PLAN("k", "raw",
                         "{'kind':'version','format':'major.minor','sizes':{'minor':4},"
                         "'window':'major','order':'strict','max_jump':1}"),
                0);
    rig.config.settings.catch_up_steps = STEPS;
    assert_int_equal(rig_open(&rig), RC_OK);
    struct ask far = {.version = "7.0", .text = "x"};
    rig_ask(&rig, &far, RC_RETRY_STARTING);
    struct ask near = {.version = "2.0", .text = "x"};
    rig_ask(&rig, &near, RC_OK);
    struct err err = {0};
    for (unsigned i = 0; i < TURNS_MAX && signer_has_work(rig.signer); i++)
        assert_int_equal(signer_work(rig.signer, &err), RC_OK);
    assert_int_equal(told().floor, 2);
    rig_ask(&rig, &far, RC_REFUSED_JUMP);
    struct ask next = {.version = "4.0", .text = "x"};
    rig_ask(&rig, &next, RC_OK);
}

/* A stop in the middle: the next start goes on from there, with nothing that was kept on the way.
 */
static void a_stop_in_between_costs_nothing(void **state)
{
    (void)state;
    begin();
    go_far();
    struct ask ask = ask_key(0, "far");
    rig_ask(&rig, &ask, RC_RETRY_STARTING);
    rig_stop(&rig);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(told().floor, STEPS);
    assert_int_equal(told().state, STATE_OPERATIONAL);
    struct ask again = ask_key(0, "far");
    rig_ask(&rig, &again, RC_RETRY_STARTING);
    assert_non_null(strstr(again.reply.text, "window 4 of 6"));
}

static void reach(const char *idem)
{
    for (int i = 0; i < TURNS_MAX; i++) {
        struct ask ask = ask_key(0, idem);
        assert_int_equal(rig_sign(&rig, &ask, 1), RC_OK);
        if (ask.rc == RC_OK)
            return;
        assert_int_equal(ask.rc, RC_RETRY_STARTING);
    }
    fail_msg("it never comes there");
}

/* The TPM fails before or behind each of its commands, and the process ends with it. */
static void a_crash_anywhere_is_gone_on_with(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {FAKE_FAIL_BEFORE, FAKE_FAIL_AFTER, FAKE_BUSY};
    unsigned hit = 0;
    for (size_t f = 0; f < sizeof(faults) / sizeof(faults[0]); f++) {
        for (uint64_t at = 1; at <= 18; at++) {
            begin();
            go_far();
            fake_tpm_fail(&rig.fake, at, faults[f]);
            for (int i = 0; i < TURNS_MAX; i++) {
                struct ask ask = ask_key(0, "far");
                if (rig_sign(&rig, &ask, 1) != RC_OK || ask.rc == RC_OK)
                    break;
            }
            hit += rig.fake.tpm->commands >= at;
            fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
            rig_reopen(&rig);
            reach("far");
            assert_int_equal(told().floor, FAR);
            assert_int_equal(told().wear.w, 1 + FAR + 1); /* no step twice */
            must_sign(1, "z");
            oracle_check();
            rig_end(&rig);
        }
    }
    assert_true(hit > 45);
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
        cmocka_unit_test_teardown(a_far_window_is_reached_in_turns, end),
        cmocka_unit_test_teardown(asking_is_enough, end),
        cmocka_unit_test_teardown(a_nearer_version_ends_the_way_to_a_farther_one, end),
        cmocka_unit_test_teardown(a_stop_in_between_costs_nothing, end),
        cmocka_unit_test_teardown(a_crash_anywhere_is_gone_on_with, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
