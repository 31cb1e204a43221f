/*
 * The wear of the TPM's NV indices: counted exactly, whatever happens to the process, and warned of
 * once at each threshold.
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
#include "signer/wear.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define DAY 86400
#define PLAN                                                                                       \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':8,'lease_size':1}")

static struct rig rig;

/* What the TPM has really done, beside what the key says of it. */
static struct wear_counts {
    uint64_t w, l, a;
} made;

static void count(void *ctx, enum fake_command command)
{
    (void)ctx;
    made.w += command == FAKE_STEP_W;
    made.l += command == FAKE_STEP_L;
    made.a += command == FAKE_WRITE;
}

static void begin(void)
{
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, PLAN, 0);
    /* The rig makes a key as provisioning does: each counter with one increment, A written once. */
    made = (struct wear_counts){1, 1, 1};
    rig.fake.hook_after = count;
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

static void sign(unsigned number)
{
    char idem[24];
    (void)snprintf(idem, sizeof(idem), "n%u", number);
    struct ask ask = {.idem = idem, .text = "x"};
    rig_ask(&rig, &ask, RC_OK);
}

static struct view_wear told(void)
{
    struct request request = {.magic = REQUEST_MAGIC, .op = REQUEST_KEYS, .generation = 1};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    signer_read(rig.signer, &request, &reply, &payload, &len);
    assert_int_equal(reply.rc, RC_OK);
    assert_int_equal(len, sizeof(struct view_key));
    struct view_wear wear = ((const struct view_key *)payload)->wear;
    free(payload);
    return wear;
}

static void assert_counted(void)
{
    struct view_wear wear = told();
    assert_int_equal(wear.known, 1);
    assert_int_equal(wear.w, made.w);
    assert_int_equal(wear.l, made.l);
    assert_int_equal(wear.a, made.a);
}

static void every_write_is_counted(void **state)
{
    (void)state;
    begin();
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_counted();
    for (unsigned i = 0; i < 5; i++) {
        sign(i);
        assert_counted();
    }
    rig_stop(&rig); /* writes A */
    fake_clock_set(&rig.fake, START + 15 * DAY);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_counted();
    sign(9); /* two windows on */
    assert_counted();
    assert_int_equal(told().endurance, 100000);
}

/* Between any two commands the power goes; what was written before it is counted all the same. */
static void a_crash_loses_no_count(void **state)
{
    (void)state;
    for (unsigned at = 1; at < 12; at++) {
        begin();
        assert_int_equal(rig_open(&rig), RC_OK);
        fake_tpm_fail(&rig.fake, at, FAKE_FAIL_BEFORE);
        struct ask ask = {.idem = "n", .text = "x"};
        (void)rig_sign(&rig, &ask, 1);
        fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
        rig_reopen(&rig);
        assert_counted();
        rig_end(&rig);
    }
}

/* A key that was made before A counted: W and L say the least that A was written. */
static void an_old_record_begins_its_count(void **state)
{
    (void)state;
    begin();
    assert_int_equal(rig_open(&rig), RC_OK);
    sign(0);
    sign(1);
    rig_stop(&rig);
    struct anchor_record a;
    assert_true(anchor_record_decode(&a, rig.fake.tpm->nv[0].a));
    a.writes = 0;
    fake_tpm_set_a(&rig.fake, 0, &a);
    assert_int_equal(rig_open(&rig), RC_OK);
    struct view_wear wear = told();
    assert_int_equal(wear.a, 1 + (wear.w - 1) + (wear.l - 1));
    uint64_t before = wear.a;
    sign(2);
    assert_int_equal(told().a, before + 1);
    sign(3);
    assert_int_equal(told().a, before + 2);
}

static int64_t highest_warning(struct ledger *ledger)
{
    int64_t low = 0, high = 0;
    struct err none = {0};
    if (ledger_note_range(ledger, 1, LEDGER_WARNING, "tpm-wear", &low, &high, &none) != RC_OK)
        return 0;
    return high;
}

/* What the ledger holds after one look at the key, and after another start and look. */
static void assert_warned(int64_t right)
{
    uint64_t size = 0;
    for (int again = 0; again < 2; again++) {
        struct err err = {0};
        assert_int_equal(signer_watch(rig.signer, &err), RC_OK);
        assert_int_equal(signer_watch(rig.signer, &err), RC_OK);
        rig_stop(&rig);
        struct ledger *ledger = rig_ledger(&rig);
        assert_int_equal(highest_warning(ledger), right);
        assert_true(again == 0 || ledger_size(ledger) == size);
        size = ledger_size(ledger);
        ledger_close(&ledger);
        assert_int_equal(rig_open(&rig), RC_OK);
    }
}

static void each_threshold_warns_once(void **state)
{
    (void)state;
    begin();
    assert_int_equal(rig_open(&rig), RC_OK);
    sign(0);
    /* Of the settings, since the way to the next threshold would take hundreds of leases:
     * endurances on both sides of each threshold, as parts of what is used. */
    const struct {
        uint64_t times, of, more;
        int64_t right;
    } cases[] = {{2, 1, 1, 0},   {2, 1, 0, 50},  {4, 3, 1, 50}, {4, 3, 0, 75},
                 {10, 9, 1, 75}, {10, 9, 0, 90}, {1, 2, 0, 90}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake_clock_set(&rig.fake, START + (8 + 7 * (int64_t)(i / 4)) * DAY);
        sign((unsigned)i + 1); /* a warning stops nothing */
        rig_stop(&rig);
        assert_int_equal(rig_open(&rig), RC_OK); /* what a stop writes is in the count */
        rig.config.settings.nv_endurance = told().a * cases[i].times / cases[i].of + cases[i].more;
        assert_warned(cases[i].right);
    }
}

/* Two thresholds passed at once are one warning, of the higher one. */
static void only_the_highest_threshold_is_named(void **state)
{
    (void)state;
    begin();
    rig.config.settings.nv_endurance = 1;
    assert_int_equal(rig_open(&rig), RC_OK);
    struct err err = {0};
    assert_int_equal(signer_watch(rig.signer, &err), RC_OK);
    rig_stop(&rig);
    struct ledger *ledger = rig_ledger(&rig);
    int64_t low = 0, high = 0;
    assert_int_equal(ledger_note_range(ledger, 1, LEDGER_WARNING, "tpm-wear", &low, &high, &err),
                     RC_OK);
    ledger_close(&ledger);
    assert_int_equal(low, 90);
    assert_int_equal(high, 90);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    struct err err = {0};
    if (base_init(&err) != RC_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_write_is_counted, end),
        cmocka_unit_test_teardown(a_crash_loses_no_count, end),
        cmocka_unit_test_teardown(an_old_record_begins_its_count, end),
        cmocka_unit_test_teardown(each_threshold_warns_once, end),
        cmocka_unit_test_teardown(only_the_highest_threshold_is_named, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
