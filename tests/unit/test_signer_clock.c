/*
 * The clock that a signer signs by, on a fake world: jumps forward are latched, stored, written
 * into the ledger and survive every end of the process; only the evidence or the right words of an
 * operator end them; what is remembered may be lost, torn or put back and makes the clock only more
 * careful; a process that was put aside gives its leases up, and ends where the TPM is hardware.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "lib/signer_rig.h"
#include "signer/clockfile.h"
#include "signer/loop.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define DAY INT64_C(86400)
#define PLAN                                                                                       \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P1D',"                       \
             "'signatures_per_window':8,'lease_size':4}")

static struct rig rig;
static struct loop loop;
static bool running;
static struct reply reply;
static struct view_clock view;

static void take_answer(void *ctx, struct item *item, const void *payload, size_t len)
{
    (void)ctx;
    reply = item->reply;
    if (len == sizeof(view) && item->request.op != REQUEST_SIGN)
        memcpy(&view, payload, len);
}

static const struct loop_sink sink = {.answer = take_answer};

static void process_starts(void)
{
    loop_start(&loop, &rig.config, 3600000, &rig.fake.world, &sink);
    assert_non_null(loop.signer);
    running = true;
}

static void process_ends(bool in_order)
{
    loop_end(&loop, in_order);
    if (!in_order) {
        crashvfs_power_on(rig.disk);
        fake_tpm_reset(&rig.fake);
    }
    running = false;
}

static void begin(void)
{
    oracle_reset();
    rig_make(&rig, START + DAY / 2, 1);
    rig_add_key(&rig, PLAN, 0);
    rig.config.settings.tolerance.max_offline_s = 2 * DAY;
    process_starts();
}

static int end(void **state)
{
    (void)state;
    if (running)
        loop_end(&loop, false);
    running = false;
    oracle_check();
    rig_end(&rig);
    return 0;
}

/* Time passes, with a look at the clock each second. */
static enum rc seconds(unsigned n)
{
    struct err err = {0};
    enum rc rc = RC_OK;
    for (unsigned i = 0; i < n && rc == RC_OK; i++) {
        fake_clock_set(&rig.fake, rig.fake.now_ns / 1000000000 + 1);
        rc = loop_turn(&loop, NULL, 0, &err);
    }
    return rc;
}

static enum rc ask(struct item *item)
{
    struct item *items[] = {item};
    struct err err = {0};
    item->request.magic = REQUEST_MAGIC;
    return loop_turn(&loop, items, 1, &err);
}

static struct view_clock *look(void)
{
    static struct item item;
    item = (struct item){.request = {.op = REQUEST_CLOCK}, .fd = -1};
    memset(&view, 0, sizeof(view));
    assert_int_equal(ask(&item), RC_OK);
    assert_int_equal(reply.rc, RC_OK);
    return &view;
}

static enum rc acknowledge(uint64_t id, uint64_t windows, int64_t utc_s)
{
    static struct item item;
    item = (struct item){.request = {.op = REQUEST_CLOCK_ACK,
                                     .ack_id = id,
                                     .ack_windows = windows,
                                     .ack_utc_s = utc_s,
                                     .requester = "uid:1000"},
                         .fd = -1};
    assert_int_equal(ask(&item), RC_OK);
    return (enum rc)reply.rc;
}

/* One signature by time; *window says where. */
static enum rc sign(const char *name, uint64_t *window)
{
    static struct ask a;
    struct signer *kept = rig.signer;
    a = (struct ask){.idem = name, .text = name};
    rig.signer = loop.signer;
    assert_int_equal(rig_sign(&rig, &a, 1), RC_OK);
    rig.signer = kept;
    reply = a.reply;
    if (window != NULL)
        *window = a.window;
    return a.rc;
}

static void expect_state(const char *name)
{
    assert_string_equal(look()->state, name);
}

static int64_t now_s(void)
{
    return rig.fake.now_ns / 1000000000;
}

static uint64_t notes(const char *what)
{
    uint64_t seq = 0;
    int64_t number = 0;
    struct ledger *ledger = rig_ledger(&rig);
    enum rc rc = ledger_last_note(ledger, 0, LEDGER_CLOCK, what, &seq, &number, NULL);
    assert_true(rc == RC_OK || rc == RC_REFUSED_NOT_FOUND);
    ledger_close(&ledger);
    return rc == RC_OK ? (uint64_t)number : 0;
}

/* A process that has signed, and all its time servers say three days more. */
static uint64_t jumped(void)
{
    begin();
    assert_int_equal(seconds(5), RC_OK);
    assert_int_equal(sign("before", NULL), RC_OK);
    assert_int_equal(seconds(70), RC_OK);
    fake_clock_step(&rig.fake, now_s() + 3 * DAY);
    assert_int_equal(seconds(3), RC_OK);
    expect_state("quarantine-fwd");
    assert_true(view.jump_id != 0);
    return view.jump_id;
}

/* Jumps ------------------------------------------------------------------------------------------
 */

static void case_16_jump_is_latched_and_stored(void **state)
{
    (void)state;
    uint64_t id = jumped();
    assert_int_equal(sign("in vain", NULL), RC_RETRY_CLOCK);
    assert_non_null(strstr(reply.text, "quarantine-fwd"));
    assert_true(reply.retry_after_s > 0);
    assert_int_equal(view.windows, 3);
    assert_int_equal(view.one_time_keys, 7 + 2 * 8 - 3); /* the lease in hand had four */
    struct clk_memory memory;
    assert_int_equal(clockfile_read(rig.config.state_dirfd, &memory, NULL), RC_OK);
    assert_int_equal(memory.quarantine.id, id);
    for (unsigned i = 0; i < 3; i++) {
        process_ends(i == 0);
        assert_int_equal(notes("quarantine"), id);
        process_starts();
        assert_int_equal(seconds(5), RC_OK);
        expect_state("quarantine-fwd");
        assert_int_equal(view.jump_id, id);
        assert_int_equal(sign("still in vain", NULL), RC_RETRY_CLOCK);
    }
}

/* Nothing is known of the time but that it was claimed: a host that starts again with its own
 * clock, and no chronyd yet. */
static void case_16_jump_costs_what_it_did_without_evidence(void **state)
{
    (void)state;
    (void)jumped();
    uint64_t one_time_keys = view.one_time_keys;
    process_ends(false);
    fake_clock_step(&rig.fake, now_s() - 3 * DAY);
    rig.fake.reasons = CLK_REASON(CLK_NO_REPLY);
    process_starts();
    assert_int_equal(seconds(5), RC_OK);
    expect_state("quarantine-fwd");
    assert_int_equal(view.windows, 3);
    assert_int_equal(view.one_time_keys, one_time_keys - 3); /* the lease died with the process */
}

static void case_16_jump_survives_a_lost_file(void **state)
{
    (void)state;
    uint64_t id = jumped();
    for (unsigned i = 0; i < 2; i++) {
        process_ends(false);
        if (i == 0) {
            assert_int_equal(unlinkat(rig.config.state_dirfd, CLOCKFILE_NAME, 0), 0);
        } else { /* torn */
            int fd CLEANUP(fd_close) = openat(rig.config.state_dirfd, CLOCKFILE_NAME, O_WRONLY);
            assert_true(pwrite_full(fd, "torn", 4, 20));
        }
        process_starts();
        assert_int_equal(seconds(5), RC_OK);
        expect_state("quarantine-fwd");
        assert_int_equal(view.jump_id, id);
        assert_int_equal(sign("in vain", NULL), RC_RETRY_CLOCK);
    }
}

static void case_13_jump_that_is_withdrawn_costs_nothing(void **state)
{
    (void)state;
    uint64_t id = jumped();
    uint64_t window = 9;
    process_ends(false);
    process_starts();
    fake_clock_step(&rig.fake, now_s() - 3 * DAY);
    assert_int_equal(seconds(5), RC_OK);
    expect_state("synced");
    assert_int_equal(view.jump_id, 0);
    assert_int_equal(sign("after", &window), RC_OK);
    assert_int_equal(window, 0);
    process_ends(false);
    assert_int_equal(notes("withdrawn"), id);
    process_starts();
    assert_int_equal(seconds(3), RC_OK);
    expect_state("synced");
}

static void case_14_wrong_words_change_nothing(void **state)
{
    (void)state;
    uint64_t id = jumped();
    uint64_t windows = look()->windows;
    assert_int_equal(acknowledge(id + 1, windows, now_s()), RC_REFUSED_INPUT);
    assert_int_equal(acknowledge(id, windows + 1, now_s()), RC_REFUSED_INPUT);
    assert_int_equal(acknowledge(id, windows, now_s() + 61), RC_REFUSED_INPUT);
    assert_int_equal(acknowledge(id, windows, now_s() - 61), RC_REFUSED_INPUT);
    /* Evidence that is bad in itself is no time to accept. */
    rig.fake.reasons = CLK_REASON(CLK_LEAP3);
    assert_int_equal(acknowledge(id, windows, now_s()), RC_RETRY_CLOCK);
    assert_in_range(reply.retry_after_s, 1, 60);
    rig.fake.reasons = 0;
    /* What was shown eleven minutes ago, or by another process. */
    assert_int_equal(seconds(660), RC_OK);
    assert_int_equal(acknowledge(id, windows, now_s()), RC_REFUSED_INPUT);
    process_ends(false);
    process_starts();
    assert_int_equal(seconds(5), RC_OK);
    assert_int_equal(acknowledge(id, windows, now_s()), RC_REFUSED_INPUT);
    expect_state("quarantine-fwd");
    process_ends(false);
    assert_int_equal(notes("acknowledged"), 0);
    process_starts();
}

static void case_15_right_words_release_it_for_good(void **state)
{
    (void)state;
    uint64_t window = 0;
    uint64_t id = jumped();
    uint64_t windows = look()->windows;
    assert_int_equal(acknowledge(id, windows, now_s() + 30), RC_OK);
    assert_int_equal(view.jump_id, 0);
    assert_int_equal(seconds(3), RC_OK);
    expect_state("synced");
    assert_int_equal(sign("after", &window), RC_OK);
    assert_int_equal(window, 3);
    /* Again: there is nothing to acknowledge any more. */
    assert_int_equal(acknowledge(id, windows, now_s()), RC_REFUSED_INPUT);
    process_ends(false);
    assert_int_equal(notes("acknowledged"), id);
    process_starts();
    assert_int_equal(seconds(3), RC_OK);
    expect_state("synced");
}

/* A jump closes windows of every key, so who may use some of them has no say. */
static void case_15_not_for_operators_of_some_keys(void **state)
{
    (void)state;
    static struct access table;
    uint64_t id = jumped();
    table = (struct access){.identity_count = 1, .rule_count = 1};
    table.identities[0] = (struct access_identity){.name = "uid:1000", .roles = ROLE_OPERATOR};
    table.rules[0] = (struct access_rule){.identity = 0, .key = "other"};
    rig.config.access = &table;
    assert_int_equal(acknowledge(id, look()->windows, now_s()), RC_REFUSED_ACCESS);
    expect_state("quarantine-fwd");
    table.identities[0].every_key = true;
    table.identities[0].roles = ROLE_APPROVER;
    assert_int_equal(acknowledge(id, look()->windows, now_s()), RC_REFUSED_ACCESS);
    table.identities[0].roles = ROLE_OPERATOR;
    assert_int_equal(acknowledge(id, look()->windows, now_s()), RC_OK);
}

/* The power goes between the ledger's entry and the file: the ledger has the last word. */
static void case_15_acknowledgement_is_the_ledgers(void **state)
{
    (void)state;
    struct clk_memory memory;
    uint64_t id = jumped();
    assert_int_equal(clockfile_read(rig.config.state_dirfd, &memory, NULL), RC_OK);
    assert_int_equal(acknowledge(id, look()->windows, now_s()), RC_OK);
    process_ends(false);
    assert_int_equal(clockfile_write(rig.config.state_dirfd, &memory, NULL), RC_OK);
    process_starts();
    assert_int_equal(seconds(3), RC_OK);
    expect_state("synced");
}

/* Memory -----------------------------------------------------------------------------------------
 */

/* The jump happens while nobody looks; what says so is the record, or the TPM without it. */
static void case_24_long_outage_is_a_jump(void **state)
{
    (void)state;
    for (unsigned lost = 0; lost < 2; lost++) {
        begin();
        assert_int_equal(seconds(5), RC_OK);
        assert_int_equal(sign("before", NULL), RC_OK);
        process_ends(true);
        if (lost == 1)
            assert_int_equal(unlinkat(rig.config.state_dirfd, CLOCKFILE_NAME, 0), 0);
        fake_clock_step(&rig.fake, now_s() + 3 * DAY);
        process_starts();
        assert_int_equal(seconds(5), RC_OK);
        expect_state("quarantine-fwd");
        assert_string_equal(view.reasons, "offline");
        assert_int_equal(acknowledge(view.jump_id, view.windows, now_s()), RC_OK);
        assert_int_equal(seconds(3), RC_OK);
        assert_int_equal(sign("after", NULL), RC_OK);
        if (lost == 0)
            assert_int_equal(end(NULL), 0);
    }
}

static void case_23_short_outage_is_none(void **state)
{
    (void)state;
    begin();
    assert_int_equal(seconds(5), RC_OK);
    process_ends(false);
    fake_clock_step(&rig.fake, now_s() + DAY);
    process_starts();
    assert_int_equal(seconds(5), RC_OK);
    expect_state("synced");
}

/* A record from long ago in place of today's: more careful, not less. */
static void file_put_back(void **state)
{
    (void)state;
    struct clk_memory old;
    begin();
    assert_int_equal(seconds(5), RC_OK);
    assert_int_equal(clockfile_read(rig.config.state_dirfd, &old, NULL), RC_OK);
    fake_clock_set(&rig.fake, now_s() + 3 * DAY);
    assert_int_equal(seconds(5), RC_OK);
    assert_int_equal(sign("today", NULL), RC_OK);
    process_ends(false);
    assert_int_equal(clockfile_write(rig.config.state_dirfd, &old, NULL), RC_OK);
    process_starts();
    assert_int_equal(seconds(5), RC_OK);
    expect_state("quarantine-fwd");
    /* And the floor is the TPM's. */
    assert_true(view.floor_ms / 1000 >= now_s() - 60);
}

static void case_20_backwards_is_refused_by_every_process(void **state)
{
    (void)state;
    uint64_t window = 0;
    begin();
    assert_int_equal(seconds(5), RC_OK);
    assert_int_equal(sign("before", NULL), RC_OK);
    assert_int_equal(seconds(70), RC_OK);
    fake_clock_step(&rig.fake, now_s() - 3600);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(seconds(5), RC_OK);
        expect_state("refused-back");
        assert_int_equal(sign("in vain", NULL), RC_RETRY_CLOCK);
        assert_non_null(strstr(reply.text, "refused-back"));
        assert_in_range(reply.retry_after_s, 3400, 3601);
        process_ends(false);
        if (i == 1) /* then A says so */
            assert_int_equal(unlinkat(rig.config.state_dirfd, CLOCKFILE_NAME, 0), 0);
        process_starts();
    }
    fake_clock_set(&rig.fake, now_s() + 3700);
    assert_int_equal(seconds(5), RC_OK);
    assert_int_equal(sign("after", &window), RC_OK);
    assert_int_equal(window, 0);
}

/* Disruptions ------------------------------------------------------------------------------------
 */

static void put_aside(unsigned how)
{
    if (how == 0)
        rig.fake.asleep_ns += INT64_C(700000000); /* suspended: the raw clock stood still */
    else if (how == 1)
        rig.fake.tpm_ns += INT64_C(1200000000); /* paused: only the TPM went on */
    else
        rig.fake.tpm->resets++;
}

static void attack_19_hardware_ends_lease_and_process(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        uint64_t window = 9;
        begin();
        assert_int_equal(seconds(15), RC_OK);
        assert_int_equal(sign("before", NULL), RC_OK);
        put_aside(how);
        assert_int_equal(seconds(12), RC_HALT_CANARY);
        process_ends(false);
        assert_true(notes("disrupted") != 0);
        process_starts();
        assert_int_equal(seconds(5), RC_OK);
        assert_int_equal(sign("after", &window), RC_OK);
        assert_int_equal(window, 0); /* the TPM knows what was used: the window goes on */
        assert_int_equal(reply.signature.index, 4);
        if (how < 2)
            assert_int_equal(end(NULL), 0);
    }
}

static void slow_proof(void *ctx, enum fake_command command)
{
    (void)ctx;
    if (command != FAKE_PROVE)
        return;
    rig.fake.raw_ns += INT64_C(1000000000);
    rig.fake.now_ns += INT64_C(1000000000);
}

/* The proof right before a signature tells the TPM's time. If it takes a second, a pause of ten
 * shows all the same, and the signature does not leave; the second alone is no pause. */
static void attack_19_shown_by_a_slow_tpm(void **state)
{
    (void)state;
    begin();
    assert_int_equal(seconds(15), RC_OK);
    rig.fake.hook_after = slow_proof;
    assert_int_equal(sign("slow", NULL), RC_OK);
    rig.fake.tpm_ns += INT64_C(10000000000);
    assert_int_equal(sign("behind a pause", NULL), RC_BURNED_CLOCK);
    rig.fake.hook_after = NULL;
}

/* Attack 19: a short pause in a window. A virtual TPM may have been put aside too. */
static void attack_19_virtual_closes_the_window(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 3; how++) {
        uint64_t window = 9;
        begin();
        rig.fake.tpm->identity.is_virtual = true;
        process_ends(true);
        process_starts();
        assert_int_equal(seconds(15), RC_OK);
        assert_int_equal(sign("before", NULL), RC_OK);
        put_aside(how);
        assert_int_equal(seconds(20), RC_OK);
        expect_state("synced");
        assert_int_equal(sign("in vain", NULL), RC_REFUSED_NOT_OPEN);
        /* Not by another process either, wherever it ended. */
        process_ends(false);
        process_starts();
        assert_int_equal(seconds(5), RC_OK);
        assert_int_equal(sign("in vain", NULL), RC_REFUSED_NOT_OPEN);
        fake_clock_set(&rig.fake, now_s() + DAY);
        assert_int_equal(seconds(5), RC_OK);
        assert_int_equal(sign("after", &window), RC_OK);
        assert_int_equal(window, 1);
        if (how < 2)
            assert_int_equal(end(NULL), 0);
    }
}

/* Killed before the clock was good again: the next process closes the window. */
static void disruption_outlives_the_process(void **state)
{
    (void)state;
    begin();
    rig.fake.tpm->identity.is_virtual = true;
    process_ends(true);
    process_starts();
    assert_int_equal(seconds(15), RC_OK);
    assert_int_equal(sign("before", NULL), RC_OK);
    put_aside(0);
    rig.fake.reasons = CLK_REASON(CLK_NO_REPLY);
    assert_int_equal(seconds(1), RC_OK);
    process_ends(false);
    rig.fake.reasons = 0;
    process_starts();
    assert_int_equal(seconds(5), RC_OK);
    assert_int_equal(sign("in vain", NULL), RC_REFUSED_NOT_OPEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(case_16_jump_is_latched_and_stored, end),
        cmocka_unit_test_teardown(case_16_jump_costs_what_it_did_without_evidence, end),
        cmocka_unit_test_teardown(case_16_jump_survives_a_lost_file, end),
        cmocka_unit_test_teardown(case_13_jump_that_is_withdrawn_costs_nothing, end),
        cmocka_unit_test_teardown(case_14_wrong_words_change_nothing, end),
        cmocka_unit_test_teardown(case_15_right_words_release_it_for_good, end),
        cmocka_unit_test_teardown(case_15_not_for_operators_of_some_keys, end),
        cmocka_unit_test_teardown(case_15_acknowledgement_is_the_ledgers, end),
        cmocka_unit_test_teardown(case_24_long_outage_is_a_jump, end),
        cmocka_unit_test_teardown(case_23_short_outage_is_none, end),
        cmocka_unit_test_teardown(file_put_back, end),
        cmocka_unit_test_teardown(case_20_backwards_is_refused_by_every_process, end),
        cmocka_unit_test_teardown(attack_19_hardware_ends_lease_and_process, end),
        cmocka_unit_test_teardown(attack_19_shown_by_a_slow_tpm, end),
        cmocka_unit_test_teardown(attack_19_virtual_closes_the_window, end),
        cmocka_unit_test_teardown(disruption_outlives_the_process, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
