/*
 * Version plans on a fake world: bindings, order, twins, digests, completion at the start, and the
 * sequences of docs/attacks.md that concern them, each under its number.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/signer_rig.h"
#include "signer/recover.h"

#define START INT64_C(1796515200)

/* Two majors of four minors, each a window of two patches and two slots: 0.1.0 b is index 5. */
#define PLAN(order, message, more)                                                                 \
    RIG_PLAN("k", message,                                                                         \
             "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':2},"       \
             "'slots':['a','b'],'window':'minor','order':'" order "'" more "}")
#define STRICT PLAN("strict", "raw", ",'max_jump':8")
#define PER_LINE PLAN("per-line", "raw", ",'max_jump':8")

static struct rig rig;

static void begin(const char *plan)
{
    oracle_reset();
    rig_make(&rig, START, 1);
    rig_add_key(&rig, plan, 0);
    assert_int_equal(rig_open(&rig), RC_OK);
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

static void set(struct ask *a, const char *version, const char *slot, const char *text)
{
    memset(a, 0, offsetof(struct ask, signature));
    a->version = version;
    a->slot = slot;
    a->text = text;
}

static struct ask *one(const char *version, const char *slot, const char *text, enum rc expected)
{
    static struct ask a;
    set(&a, version, slot, text);
    rig_ask(&rig, &a, expected);
    return &a;
}

static struct ask *again(const char *version, const char *slot, const char *text)
{
    size_t computed = oracle_computed();
    struct ask *a = one(version, slot, text, RC_OK);
    assert_true(a->replayed);
    assert_int_equal(oracle_computed(), computed);
    return a;
}

static void reopen(void)
{
    rig_reopen(&rig);
    assert_int_equal(rig_key_rc(&rig, 0), RC_OK);
}

/* One request, cut off by a failing TPM command; the n-th from here: 1 is A of its batch, 2 its
 * L + 1, 3 the proof (in a window that is open and unsealed). */
static void cut_off(const char *version, const char *text, uint64_t n, enum fake_command hit)
{
    fake_tpm_fail(&rig.fake, n, FAKE_FAIL_BEFORE);
    (void)one(version, "a", text, RC_HALT_ANCHOR);
    assert_int_equal(rig.fake.tpm->hit, hit);
    fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
}

/* The window that the TPM says is the latest one opened: the mark that no ledger can lower. */
static int64_t floor_in_tpm(void)
{
    return (int64_t)rig.fake.tpm->nv[0].w - rig.record[0].pins.w_base;
}

/* Ordinary life ---------------------------------------------------------------------------------
 */

static void version_is_bound_to_one_artifact(void **state)
{
    (void)state;
    begin(STRICT);
    const struct ask *a = one("0.1.0", "b", "kernel", RC_OK);
    assert_int_equal(a->index, 5);
    (void)again("0.1.0", "b", "kernel");
    a = one("0.1.0", "b", "another kernel", RC_REFUSED_BOUND);
    uint8_t hash[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, hash, "kernel", 6);
    assert_memory_equal(a->reply.bound_sha256, hash, sizeof(hash));
    assert_string_equal(a->reply.next_version, "0.1.1");
    assert_string_equal(a->reply.bound_request_id, "req-v");
    (void)one("0.1.0", "c", "x", RC_REFUSED_OUTSIDE_PLAN);
    (void)one("0.9.0", "a", "x", RC_REFUSED_OUTSIDE_PLAN);
    (void)one("v1", "a", "x", RC_REFUSED_INPUT);
    struct ask *window = one("0.1.1", "a", "y", RC_OK);
    set(window, NULL, NULL, "z");
    window->idem = "z";
    rig_ask(&rig, window, RC_REFUSED_OUTSIDE_PLAN);
}

/* What one batch has taken counts for the rest of it. */
static void ordered_in_one_batch(const char *higher, const char *lower)
{
    static struct ask asks[2];
    set(&asks[0], higher, "a", "h");
    set(&asks[1], lower, "a", "l");
    assert_int_equal(rig_sign(&rig, asks, 2), RC_OK);
    assert_int_equal(asks[0].rc, RC_OK);
    assert_int_equal(asks[1].rc, RC_REFUSED_BELOW_FLOOR);
}

static void order_of_versions(void **state)
{
    (void)state;
    begin(STRICT);
    (void)one("0.0.0", "a", "w", RC_OK);
    assert_int_equal(floor_in_tpm(), 0);
    (void)one("0.1.0", "a", "x", RC_OK);
    assert_int_equal(floor_in_tpm(), 1);
    const struct ask *a = one("0.0.1", "a", "y", RC_REFUSED_BELOW_FLOOR);
    assert_string_equal(a->reply.next_version, "0.1.1"); /* 0.1.0 is not free in this slot */
    (void)one("0.1.1", "a", "z", RC_OK);
    (void)one("0.1.0", "b", "z", RC_REFUSED_BELOW_FLOOR);
    ordered_in_one_batch("0.2.1", "0.2.0");
    rig_end(&rig);
    begin(PER_LINE);
    ordered_in_one_batch("0.0.1", "0.0.0");
    (void)one("1.0.0", "a", "x", RC_OK);
    assert_int_equal(floor_in_tpm(), 4);
    (void)one("0.1.0", "a", "y", RC_OK); /* an older line lives on */
    assert_int_equal(floor_in_tpm(), 4);
    (void)one("0.0.0", "a", "y", RC_REFUSED_BELOW_FLOOR);
    (void)one("1.0.1", "a", "z", RC_OK);
}

static void wait_policy_cannot_protect_versions(void **state)
{
    (void)state;
    begin(STRICT);
    rig.fake.tpm->identity.is_virtual = true;
    rig.config.settings.virtual_policy = VIRTUAL_WAIT;
    rig_reopen(&rig);
    (void)one("0.0.0", "a", "x", RC_HALT_VIRTUAL);
}

static void configured_limit_of_a_window(void **state)
{
    (void)state;
    static struct ask asks[3];
    begin(STRICT);
    rig_stop(&rig);
    rig.limits[0].limits.window_max = 2;
    assert_int_equal(rig_open(&rig), RC_OK);
    set(&asks[0], "0.0.0", "a", "1");
    set(&asks[1], "0.0.0", "b", "2");
    set(&asks[2], "0.0.1", "a", "3");
    assert_int_equal(rig_sign(&rig, asks, 3), RC_OK);
    assert_int_equal(asks[1].rc, RC_OK);
    assert_int_equal(asks[2].rc, RC_RETRY_WINDOW_FULL);
    (void)one("0.1.0", "a", "4", RC_OK);
}

/* What is signed: the verifier of the rig hashes for itself. */
static void digest_plans(void **state)
{
    (void)state;
    static const struct {
        const char *plan;
        enum digest_kind kind;
    } kinds[] = {{PLAN("strict", "sha256", ""), DIGEST_SHA256},
                 {PLAN("strict", "sha384", ""), DIGEST_SHA384},
                 {PLAN("strict", "sha512", ""), DIGEST_SHA512}};
    static struct ask a;
    for (size_t i = 0; i < 3; i++) {
        begin(kinds[i].plan);
        uint8_t digest[DIGEST_LEN_MAX];
        digest_buffer(kinds[i].kind, digest, "firmware", 8);
        (void)one("0.0.0", "a", "firmware", RC_OK);
        set(&a, "0.0.0", "b", NULL);
        a.digest = digest;
        a.digest_kind = kinds[i].kind;
        rig_ask(&rig, &a, RC_OK);
        set(&a, "0.0.1", "a", NULL);
        a.digest = digest;
        a.digest_kind = kinds[(i + 1) % 3].kind;
        assert_int_equal(rig_sign(&rig, &a, 1), RC_OK);
        assert_int_equal(a.rc, RC_REFUSED_INPUT);
        /* Hashed before the core knew its keys. */
        set(&a, "0.0.1", "a", "firmware 2");
        a.guessed = true;
        a.guess = PLAN_RAW;
        rig_ask(&rig, &a, RC_OK);
        rig_end(&rig);
    }
    begin(STRICT);
    uint8_t digest[DIGEST_LEN_MAX] = {1};
    set(&a, "0.0.0", "a", NULL);
    a.digest = digest;
    a.guessed = true;
    a.guess = PLAN_SHA256;
    rig_ask(&rig, &a, RC_REFUSED_INPUT);
    assert_int_equal(oracle_computed(), 0);
}

/* Attacks ----------------------------------------------------------------------------------------
 */

/* The signatures were computed, their receipts got lost, and the TPM forgets what it acknowledged.
 */
static void attack_07_tpm_that_loses_writes(void **state)
{
    (void)state;
    for (unsigned lost = 0; lost < 3; lost++) {
        begin(STRICT);
        rig.fake.tpm->identity.keeps_writes = false;
        (void)one("0.0.0", "a", "first", RC_OK);
        struct fake_nv before = rig.fake.tpm->nv[0];
        crashvfs_fail(rig.disk, CRASHVFS_SYNC, 2, SQLITE_IOERR_FSYNC);
        (void)one("0.0.1", "a", "second", RC_HALT_LEDGER);
        assert_true(oracle_has(&rig, 0, 2));
        if (lost == 1)
            fake_tpm_lose_last(&rig.fake);
        if (lost == 2)
            rig.fake.tpm->nv[0] = before;
        reopen();
        (void)one("0.0.1", "a", "other", RC_REFUSED_BOUND);
        (void)again("0.0.1", "a", "second");
        rig_end(&rig);
    }
}

/* Found by tests/sim/exhaustive: the A of the window step is lost, the intents behind it are
 * durable, and the start that anchors them is cut off between A and L + 1. No version may go with
 * it. */
static void lost_window_step_before_intents(void **state)
{
    (void)state;
    begin(STRICT);
    rig.fake.tpm->identity.keeps_writes = false;
    cut_off("0.0.0", "first", 4, FAKE_WRITE); /* unseal, W + 1, A, and no A of the batch */
    fake_tpm_lose_last(&rig.fake);
    rig_crash(&rig);
    fake_tpm_fail(&rig.fake, 5, FAKE_FAIL_AFTER); /* open, unseal, anchor, read, A */
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(rig.fake.tpm->hit, FAKE_WRITE);
    fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
    reopen();
    (void)again("0.0.0", "a", "first");
}

static void attack_10_other_bytes_than_announced(void **state)
{
    (void)state;
    static struct ask a;
    begin(STRICT);
    set(&a, "0.0.0", "a", "these bytes");
    a.claim = "those bytes";
    assert_int_equal(rig_sign(&rig, &a, 1), RC_OK);
    assert_int_equal(a.rc, RC_REFUSED_DIGEST);
    a.claim = "these bytes";
    a.change_to = "those bytes";
    rig_ask(&rig, &a, RC_REFUSED_DIGEST);
    assert_int_equal(oracle_computed(), 0);
    (void)one("0.0.0", "a", "others", RC_OK); /* nothing was bound */
}

/* Completed from what was recorded: byte for byte what would have been signed without the crash. */
static void attack_11_completion_gives_the_same_bytes(void **state)
{
    (void)state;
    static struct ask straight;
    begin(STRICT);
    (void)one("0.0.0", "a", "first", RC_OK);
    straight = *one("0.0.1", "a", "second", RC_OK);
    rig_end(&rig);
    begin(STRICT);
    (void)one("0.0.0", "a", "first", RC_OK);
    cut_off("0.0.1", "second", 3, FAKE_PROVE);
    reopen();
    (void)one("0.0.1", "a", "other", RC_REFUSED_BOUND);
    const struct ask *a = again("0.0.1", "a", "second");
    assert_int_equal(a->len, straight.len);
    assert_memory_equal(a->signature, straight.signature, a->len);
}

static void expect_regression(const struct rig_disk *disk)
{
    signer_close(&rig.signer, false);
    rig_disk_put(&rig, disk);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(rig_key_rc(&rig, 0), RC_HALT_REGRESSION);
}

static void attack_13_line_opened_and_the_old_disk(void **state)
{
    (void)state;
    struct rig_disk disk = {0};
    begin(PER_LINE);
    (void)one("0.2.0", "a", "x", RC_OK);
    rig_disk_take(&rig, &disk);
    (void)one("1.0.0", "a", "y", RC_OK);
    (void)one("0.3.0", "a", "z", RC_OK);
    expect_regression(&disk);
    rig_disk_free(&disk);
}

static void attack_18_anchored_intent_before_new_work(void **state)
{
    (void)state;
    begin(STRICT);
    (void)one("0.0.0", "a", "x", RC_OK);
    cut_off("0.0.1", "y", 2, FAKE_STEP_L);
    reopen();
    (void)one("0.1.0", "a", "z", RC_OK);
    (void)again("0.0.1", "a", "y");
}

static void attack_18b_mistyped_version(void **state)
{
    (void)state;
    begin(PLAN("strict", "raw", ""));
    (void)one("0.0.0", "a", "x", RC_OK);
    uint64_t w = rig.fake.tpm->nv[0].w;
    (void)one("1.3.0", "a", "y", RC_REFUSED_JUMP);
    assert_int_equal(rig.fake.tpm->nv[0].w, w);
    (void)one("0.1.0", "a", "y", RC_OK);
}

static void attack_22_twins(void **state)
{
    (void)state;
    static struct ask asks[5];
    begin(STRICT);
    set(&asks[0], "0.0.0", "a", "x");
    set(&asks[1], "0.0.0", "a", "x");
    set(&asks[2], "0.0.0", "a", "y");
    set(&asks[3], "0.0.0", "b", "y");
    set(&asks[4], "0.0.0", "a", "x");
    assert_int_equal(rig_sign(&rig, asks, 5), RC_OK);
    static const enum rc expected[] = {RC_OK, RC_OK, RC_REFUSED_BOUND, RC_OK, RC_OK};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(asks[i].rc, expected[i]);
    assert_true(asks[1].replayed && asks[4].replayed);
    assert_int_equal(oracle_computed(), 2);
    /* Void, then another digest. */
    cut_off("0.0.1", "z", 1, FAKE_WRITE);
    reopen();
    (void)one("0.0.1", "a", "not z", RC_OK);
}

static void attack_25_voided_is_not_completed(void **state)
{
    (void)state;
    begin(STRICT);
    (void)one("0.0.0", "a", "x", RC_OK);
    cut_off("0.0.1", "a's", 1, FAKE_WRITE);
    reopen();
    crashvfs_fail(rig.disk, CRASHVFS_SYNC, 2, SQLITE_IOERR_FSYNC);
    (void)one("0.0.1", "a", "b's", RC_HALT_LEDGER); /* anchored, computed, no receipt */
    reopen();
    (void)one("0.0.1", "a", "a's", RC_REFUSED_BOUND);
    (void)again("0.0.1", "a", "b's");
    assert_int_equal(oracle_indices(), 2);
}

static void attack_26_old_disk_between_w_and_a(void **state)
{
    (void)state;
    struct rig_disk disk = {0};
    begin(PER_LINE);
    (void)one("0.0.0", "a", "x", RC_OK);
    rig_disk_take(&rig, &disk);
    (void)one("0.0.1", "a", "y", RC_OK);
    fake_tpm_fail(&rig.fake, 3, FAKE_FAIL_BEFORE);
    (void)one("0.1.0", "a", "z", RC_HALT_ANCHOR); /* unseal, W + 1, and no A */
    assert_int_equal(rig.fake.tpm->hit, FAKE_WRITE);
    expect_regression(&disk);
    rig_disk_free(&disk);
}

static void recover(int64_t *start_window)
{
    struct err err = {0};
    struct recover_plan plan;
    void *tpm = NULL;
    signer_close(&rig.signer, false);
    struct ledger *ledger = rig_ledger(&rig);
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    assert_int_equal(recover_here_plan(key, &rig.fake.world, ledger, -1, &plan, &err), RC_OK);
    assert_int_equal(recover_here(key, &rig.fake.world, ledger, &plan, NULL, &err), RC_OK);
    rig_acknowledge(ledger, key, plan.start_window);
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(rig_key_rc(&rig, 0), RC_OK);
    *start_window = plan.start_window;
}

static void attack_27_torn_a_and_old_disk(void **state)
{
    (void)state;
    struct rig_disk disk = {0};
    begin(PER_LINE);
    (void)one("0.0.0", "a", "x", RC_OK);
    rig_disk_take(&rig, &disk);
    (void)one("0.0.1", "a", "y", RC_OK);
    fake_tpm_tear_a(&rig.fake, 0);
    expect_regression(&disk);
    int64_t window = 0;
    recover(&window);
    assert_int_equal(window, 1);
    (void)one("0.0.1", "a", "not y", RC_REFUSED_BELOW_FLOOR);
    (void)one("0.1.0", "a", "not y", RC_OK);
    rig_disk_free(&disk);
}

static void attack_28_recovery_of_lines(void **state)
{
    (void)state;
    struct rig_disk disk = {0};
    begin(PER_LINE);
    (void)one("0.0.0", "a", "x", RC_OK);
    (void)one("1.0.0", "a", "x", RC_OK);
    rig_disk_take(&rig, &disk);
    (void)one("0.1.0", "a", "x", RC_OK);
    (void)one("0.2.0", "a", "x", RC_OK);
    expect_regression(&disk);
    int64_t window = 0;
    recover(&window);
    assert_int_equal(window, 5); /* above W, so all of line 0 is over */
    (void)one("0.1.0", "a", "y", RC_REFUSED_BELOW_FLOOR);
    (void)one("0.3.0", "a", "y", RC_REFUSED_BELOW_FLOOR);
    (void)one("1.1.0", "a", "y", RC_OK);
    rig_disk_free(&disk);
}

/* An old ledger under a W that is far ahead: recovery closes all windows up to W, and the ledger's
 * last version lies far below. What max_jump forbids is to leave out windows, and these were
 * closed. Found by the simulator: no version was left that would have been signed. */
static void recovery_past_many_windows(void **state)
{
    (void)state;
    struct rig_disk disk = {0};
    begin(PLAN("strict", "raw", ""));
    (void)one("0.0.0", "a", "x", RC_OK);
    rig_disk_take(&rig, &disk);
    (void)one("0.1.0", "a", "x", RC_OK);
    (void)one("0.2.0", "a", "x", RC_OK);
    expect_regression(&disk);
    int64_t window = 0;
    recover(&window);
    assert_int_equal(window, 3);
    (void)one("0.2.1", "a", "y", RC_REFUSED_BELOW_FLOOR);
    (void)one("1.2.0", "a", "y", RC_REFUSED_JUMP);
    (void)one("0.3.0", "a", "y", RC_OK);
    rig_disk_free(&disk);
}

/* An intent that was anchored when the power went, in a window that recovery then closed: it cannot
 * be completed, and nobody else gets its index. */
static void intent_of_a_closed_window_is_given_up(void **state)
{
    (void)state;
    begin(PER_LINE);
    (void)one("0.0.0", "a", "x", RC_OK);
    cut_off("0.0.1", "y", 3, FAKE_PROVE);
    size_t computed = oracle_computed();
    fake_tpm_tear_a(&rig.fake, 0);
    rig_crash(&rig);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(rig_key_rc(&rig, 0), RC_HALT_REGRESSION);
    int64_t window = 0;
    recover(&window);
    assert_int_equal(window, 1);
    const struct ask *a = one("0.0.1", "a", "y", RC_REFUSED_SPENT);
    assert_int_equal(a->reply.burned_index, 2);
    assert_int_equal(oracle_computed(), computed);
    (void)one("0.1.0", "a", "z", RC_OK);
}

static void attack_35_honest_crashes(void **state)
{
    (void)state;
    begin(STRICT);
    (void)one("0.0.0", "a", "x", RC_OK);
    (void)one("0.0.0", "a", "y", RC_REFUSED_BOUND);
    reopen();
    for (unsigned i = 0; i < 3; i++) { /* un-anchored, void, un-anchored … */
        cut_off("0.0.1", "y", 2, FAKE_WRITE);
        reopen();
    }
    (void)one("0.0.1", "a", "z", RC_OK);
}

static void look_for_open_intents(void *ctx, enum fake_command command)
{
    *(unsigned *)ctx += command == FAKE_STEP_W ? 1 : 0;
}

static void attack_36_one_batch_over_two_windows(void **state)
{
    (void)state;
    static struct ask asks[4];
    begin(STRICT);
    set(&asks[0], "0.0.0", "a", "1");
    set(&asks[1], "0.1.0", "a", "2");
    set(&asks[2], "0.0.0", "b", "3"); /* before 0.1.0, though it came after it */
    set(&asks[3], "0.2.0", "a", "4");
    unsigned steps = 0;
    rig.fake.hook = look_for_open_intents;
    rig.fake.hook_ctx = &steps;
    assert_int_equal(rig_sign(&rig, asks, 4), RC_OK);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(asks[i].rc, RC_OK);
    assert_int_equal(steps, 3);
    /* Each step of W found the receipts of the window before: a crash there completes nothing. */
    for (uint64_t n = 1; n < 30; n++) {
        rig_end(&rig);
        begin(STRICT);
        fake_tpm_fail(&rig.fake, n, FAKE_FAIL_AFTER);
        bool cut = rig_sign(&rig, asks, 4) != RC_OK;
        fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
        reopen();
        assert_int_equal(rig_sign(&rig, asks, 4), RC_OK);
        for (size_t i = 0; i < 4; i++)
            assert_true(asks[i].rc == RC_OK || (cut && i == 2));
    }
}

/* With an argument, the tests whose names it matches (* and ?). */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(version_is_bound_to_one_artifact, end),
        cmocka_unit_test_teardown(order_of_versions, end),
        cmocka_unit_test_teardown(wait_policy_cannot_protect_versions, end),
        cmocka_unit_test_teardown(configured_limit_of_a_window, end),
        cmocka_unit_test_teardown(digest_plans, end),
        cmocka_unit_test_teardown(attack_07_tpm_that_loses_writes, end),
        cmocka_unit_test_teardown(lost_window_step_before_intents, end),
        cmocka_unit_test_teardown(attack_10_other_bytes_than_announced, end),
        cmocka_unit_test_teardown(attack_11_completion_gives_the_same_bytes, end),
        cmocka_unit_test_teardown(attack_13_line_opened_and_the_old_disk, end),
        cmocka_unit_test_teardown(attack_18_anchored_intent_before_new_work, end),
        cmocka_unit_test_teardown(attack_18b_mistyped_version, end),
        cmocka_unit_test_teardown(attack_22_twins, end),
        cmocka_unit_test_teardown(attack_25_voided_is_not_completed, end),
        cmocka_unit_test_teardown(attack_26_old_disk_between_w_and_a, end),
        cmocka_unit_test_teardown(attack_27_torn_a_and_old_disk, end),
        cmocka_unit_test_teardown(attack_28_recovery_of_lines, end),
        cmocka_unit_test_teardown(recovery_past_many_windows, end),
        cmocka_unit_test_teardown(intent_of_a_closed_window_is_given_up, end),
        cmocka_unit_test_teardown(attack_35_honest_crashes, end),
        cmocka_unit_test_teardown(attack_36_one_batch_over_two_windows, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
