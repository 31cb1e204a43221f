/*
 * The clock as the offline operations judge it: what the service left behind binds them (its file,
 * the ledger, an anchor, the TPM's clock); what is lost or torn only takes away; nothing of it is
 * changed by them.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/secmem.h"
#include "lib/signer_rig.h"
#include "signer/advance.h"
#include "signer/clockfile.h"
#include "signer/recover.h"
#include "signer/toolclock.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define NOW (START + DAY)
#define DAY INT64_C(86400)
#define NS INT64_C(1000000000)
#define JUMP (NOW - 60) /* of a quarantine: the time that was claimed then */
#define PLAN                                                                                       \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':4,'lease_size':1}")

static struct rig rig;
static struct tool_clock tools;
static struct err err;

static int begin(void **state)
{
    (void)state;
    rig_make(&rig, NOW, 1);
    rig_add_key(&rig, PLAN, 0);
    rig.config.settings.tolerance.max_offline_s = 2 * DAY;
    return 0;
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

/* What the service wrote last: an hour ago, in order. */
static struct clk_memory an_hour_ago(void)
{
    return (struct clk_memory){.floor_ns = (NOW - 3600) * NS, .seen_ns = (NOW - 3600) * NS};
}

static void remember(const struct clk_memory *memory)
{
    assert_int_equal(clockfile_write(rig.config.state_dirfd, memory, &err), RC_OK);
}

static void note(const char *what, int64_t id)
{
    struct ledger *ledger = rig_ledger(&rig);
    assert_int_equal(ledger_begin(ledger, &err), RC_OK);
    assert_int_equal(
        ledger_add_note(ledger, 0, LEDGER_CLOCK, what, "as a test says", id, NOW, &err), RC_OK);
    assert_int_equal(ledger_commit(ledger, &err), RC_OK);
    ledger_close(&ledger);
}

/* An operation begins: it looks at what there is, and asks for the time. */
static enum rc ask_with(int64_t wall_s, int64_t *latest_s)
{
    struct world *world = &rig.fake.world;
    void *tpm = NULL;
    err = (struct err){0};
    struct ledger *ledger = rig_ledger(&rig);
    assert_int_equal(world->tpm->open(world->tpm_ctx, &tpm, &err), RC_OK);
    assert_int_equal(tool_clock_recall(&tools, &rig.config.settings.clock,
                                       &rig.config.settings.tolerance, world, tpm,
                                       rig.config.state_dirfd, ledger, &err),
                     RC_OK);
    world->tpm->close(world->tpm_ctx, &tpm);
    ledger_close(&ledger);
    world->tool_clock = &tools;
    return tool_clock_latest_s(world, wall_s, latest_s, &err);
}

static void expect_time(int64_t wall_s)
{
    int64_t latest_s = -1;
    if (ask_with(wall_s, &latest_s) != RC_OK)
        fail_msg("%s", err_text(&err));
    assert_in_range(latest_s, NOW, NOW + 11);
}

static void expect_refusal(int64_t wall_s, const char *word)
{
    int64_t latest_s = 0;
    struct clk_memory before, after;
    struct err none = {0};
    enum rc had = clockfile_read(rig.config.state_dirfd, &before, &none);
    assert_int_equal(ask_with(wall_s, &latest_s), RC_RETRY_CLOCK);
    assert_int_equal(latest_s, -1);
    if (strstr(err_text(&err), word) == NULL)
        fail_msg("no '%s' in %s", word, err_text(&err));
    /* It has looked and no more. */
    none = (struct err){0};
    assert_int_equal(clockfile_read(rig.config.state_dirfd, &after, &none), had);
    assert_memory_equal(&after, &before, sizeof(after));
}

static void nothing_is_remembered(void **state)
{
    (void)state;
    expect_time(0);
    expect_time(NOW - 10);
    rig.fake.reasons = CLK_REASON(CLK_STALE);
    rig.fake.slept_ms = 0;
    expect_refusal(0, "not safe");
    assert_int_equal(rig.fake.slept_ms, 19 * 500); /* more evidence may come: it waits */
}

static void the_floor_binds(void **state)
{
    (void)state;
    struct clk_memory m = an_hour_ago();
    remember(&m);
    expect_time(0);
    m.floor_ns = (NOW + 3600) * NS;
    remember(&m);
    rig.fake.slept_ms = 0;
    expect_refusal(0, "time must catch up: 36");
    assert_int_equal(rig.fake.slept_ms, 0); /* no evidence helps: it does not wait */
    /* So does that of an anchor, with the file or without. */
    m.floor_ns = 0;
    remember(&m);
    expect_refusal(NOW + 3600, "time must catch up: 36");
    assert_int_equal(unlinkat(rig.config.state_dirfd, CLOCKFILE_NAME, 0), 0);
    expect_refusal(NOW + 3600, "time must catch up: 36");
}

static void a_jump_that_nobody_has_accepted_binds(void **state)
{
    (void)state;
    struct clk_memory m = an_hour_ago();
    m.quarantine =
        (struct clk_quarantine){.id = JUMP, .from_ns = (NOW - 3600) * NS, .to_ns = JUMP * NS};
    remember(&m);
    expect_refusal(0, "tidemark clock status");
    expect_refusal(0, "quarantine-fwd");
    /* The ledger knows of it as well: who removes the file wins nothing. */
    note("quarantine", JUMP);
    assert_int_equal(unlinkat(rig.config.state_dirfd, CLOCKFILE_NAME, 0), 0);
    expect_refusal(0, "quarantine-fwd");
    /* And an old file does not bring back what was accepted. */
    note("acknowledged", JUMP);
    expect_time(0);
    remember(&m);
    expect_time(0);
}

static void evidence_that_came_back_ends_a_jump(void **state)
{
    (void)state;
    struct clk_memory m = an_hour_ago();
    m.quarantine = (struct clk_quarantine){
        .id = NOW + DAY, .from_ns = (NOW - 3600) * NS, .to_ns = (NOW + DAY) * NS};
    remember(&m);
    expect_time(0);
}

static void a_long_outage_must_be_accepted(void **state)
{
    (void)state;
    struct clk_memory m = an_hour_ago();
    m.seen_ns = (NOW - 2 * DAY - 60) * NS;
    remember(&m);
    expect_refusal(0, "start the service");
    m.seen_ns = (NOW - 2 * DAY + 60) * NS;
    remember(&m);
    expect_time(0);
    /* Without the file the anchor is the record. */
    assert_int_equal(unlinkat(rig.config.state_dirfd, CLOCKFILE_NAME, 0), 0);
    expect_refusal(NOW - 2 * DAY - 60, "start the service");
}

/* The host was off, and the TPM counted on: a day more than the clock admits. */
static void the_clock_of_the_tpm_binds(void **state)
{
    (void)state;
    struct clk_memory m = an_hour_ago();
    m.seen = (struct clk_tpm){.read = true, .safe = true, .clock_ms = 1000};
    rig.fake.tpm_ns = 2 * 3600 * NS;
    remember(&m);
    expect_refusal(0, "time must catch up");
    m.seen_ns = (NOW - 2 * 3600) * NS;
    remember(&m);
    expect_time(0);
}

static void a_torn_file_is_none(void **state)
{
    (void)state;
    struct clk_memory m = an_hour_ago();
    m.floor_ns = (NOW + 3600) * NS;
    remember(&m);
    assert_int_equal(file_replace(rig.config.state_dirfd, CLOCKFILE_NAME, 0600, "torn", 4, &err),
                     RC_OK);
    int64_t latest_s = -1;
    assert_int_equal(ask_with(0, &latest_s), RC_OK);
}

/* The operations themselves ask it. */
static void operations_ask(void **state)
{
    (void)state;
    struct clk_memory m = an_hour_ago();
    struct recover_plan r;
    struct advance_plan a;
    const struct advance_statement s = {
        .window = 1, .reason = "A. Smith", .virtual_policy = VIRTUAL_DEMO};
    void *tpm = NULL;
    m.quarantine =
        (struct clk_quarantine){.id = JUMP, .from_ns = (NOW - 3600) * NS, .to_ns = JUMP * NS};
    remember(&m);
    expect_refusal(0, "quarantine-fwd");
    struct ledger *ledger = rig_ledger(&rig);
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    err = (struct err){0};
    assert_int_equal(advance_window_plan(key, &rig.fake.world, ledger, &s, &a, &err),
                     RC_RETRY_CLOCK);
    assert_non_null(strstr(err_text(&err), "quarantine-fwd"));
    key->rc = RC_HALT_TPM_BEHIND;
    err = (struct err){0};
    assert_int_equal(recover_here_plan(key, &rig.fake.world, ledger, 0, &r, &err), RC_RETRY_CLOCK);
    assert_non_null(strstr(err_text(&err), "quarantine-fwd"));
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    if (base_init(&err) != RC_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_remembered, begin, end),
        cmocka_unit_test_setup_teardown(the_floor_binds, begin, end),
        cmocka_unit_test_setup_teardown(a_jump_that_nobody_has_accepted_binds, begin, end),
        cmocka_unit_test_setup_teardown(evidence_that_came_back_ends_a_jump, begin, end),
        cmocka_unit_test_setup_teardown(a_long_outage_must_be_accepted, begin, end),
        cmocka_unit_test_setup_teardown(the_clock_of_the_tpm_binds, begin, end),
        cmocka_unit_test_setup_teardown(a_torn_file_is_none, begin, end),
        cmocka_unit_test_setup_teardown(operations_ask, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
