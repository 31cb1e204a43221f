/*
 * Every scheme through the same signer: one tree (LMS, XMSS) and hypertrees (HSS, XMSS^MT), whose
 * windows hold whole bottom trees. What is signed above a bottom tree is recorded and anchored
 * before anything is signed under it, is signed once whatever fails, and is compared ever after
 * (attack 12).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/signer_rig.h"

#define DAY INT64_C(86400)
#define WEEK (7 * DAY)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */

#define KEY(scheme, parameters, assignment)                                                        \
    "{'tidemark_plan':1,'key':'k','profile':'sp800-208','scheme':'" scheme "','parameters':"       \
    "[" parameters "],'message':'raw','assignment':" assignment "}"
#define LEVEL(w) "'LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W" #w "'"
#define WEEKS(n, lease)                                                                            \
    "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D','signatures_per_window':" #n     \
    ",'lease_size':" #lease ",'seal':false}"

/* Two bottom trees of 32 indices in a window; leases that end in the middle of one. */
#define HSS_WEEKS KEY("hss", LEVEL(4) "," LEVEL(2), WEEKS(64, 24))
#define HSS_VERSIONS                                                                               \
    KEY("hss", LEVEL(4) "," LEVEL(2),                                                              \
        "{'kind':'version','format':'major.minor','sizes':{'minor':64},'window':'major',"          \
        "'order':'strict'}")

static struct rig rig;
static unsigned next_name;

static void begin(const char *plan)
{
    oracle_reset();
    next_name = 0;
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, plan, 0);
    assert_int_equal(rig_open(&rig), RC_OK);
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

static char names[256][16];
static struct ask asks[256];

/* A request of its own; by version if the plan says so. */
static struct ask *fresh(void)
{
    unsigned n = next_name++;
    assert_true(n < 256);
    bool versions = rig.plan[0].kind == PLAN_VERSION;
    (void)snprintf(names[n], sizeof(names[n]), versions ? "%u.%u" : "n%u", versions ? n / 64 : n,
                   n % 64);
    memset(&asks[n], 0, offsetof(struct ask, signature));
    asks[n].version = versions ? names[n] : NULL;
    asks[n].idem = versions ? NULL : names[n];
    asks[n].text = names[n];
    return &asks[n];
}

static struct ask *sign_one(enum rc expected)
{
    struct ask *a = fresh();
    rig_ask(&rig, a, expected);
    return a;
}

/* Asked again, everything that was released comes back byte for byte. */
static void expect_replay(void)
{
    static struct ask again;
    for (unsigned n = 0; n < next_name; n++) {
        if (asks[n].rc != RC_OK)
            continue;
        again = asks[n];
        rig_ask(&rig, &again, RC_OK);
        assert_true(again.replayed);
        assert_int_equal(again.len, asks[n].len);
        assert_memory_equal(again.signature, asks[n].signature, again.len);
    }
}

static unsigned branches_recorded(void)
{
    static uint8_t record[LEDGER_SIGNATURE_MAX];
    struct err err = {0};
    signer_close(&rig.signer, false);
    struct ledger *ledger = rig_ledger(&rig);
    unsigned count = 0;
    for (uint64_t first = 0; first < 1024; first += 32) {
        struct ledger_branch branch;
        enum rc rc = ledger_branch_at(ledger, rig.record[0].id, first, &branch, record, &err);
        err = (struct err){0};
        count += rc == RC_OK;
    }
    ledger_close(&ledger);
    assert_int_equal(rig_open(&rig), RC_OK);
    return count;
}

static const char *const plans[] = {
    KEY("lms", LEVEL(4), WEEKS(8, 4)),
    HSS_WEEKS,
    HSS_VERSIONS,
    KEY("hss", LEVEL(4) "," LEVEL(2) "," LEVEL(2), WEEKS(1024, 24)),
    KEY("xmss", "'XMSS-SHA2_10_192'", WEEKS(16, 8)),
    KEY("xmss", "'XMSS-SHAKE256_10_256'", "{'kind':'interval','signatures_per_window':16}"),
    KEY("xmssmt", "'XMSSMT-SHA2_20/4_256'", WEEKS(32768, 64)),
};

/* Batches, restarts and windows, the same for all. */
static void test_every_scheme(void **state)
{
    (void)state;
    for (size_t p = 0; p < sizeof(plans) / sizeof(plans[0]); p++) {
        begin(plans[p]);
        struct ask *first = sign_one(RC_OK);
        assert_int_equal(first->index, 0);
        static struct ask batch[7];
        for (unsigned i = 0; i < 7; i++)
            batch[i] = *fresh();
        assert_int_equal(rig_sign(&rig, batch, 7), RC_OK);
        for (unsigned i = 0; i < 7; i++) {
            if (batch[i].rc != RC_OK)
                fail_msg("plan %zu: %s", p, batch[i].reply.text);
            asks[next_name - 7 + i] = batch[i];
        }
        rig_crash(&rig);
        assert_int_equal(rig_open(&rig), RC_OK);
        expect_replay();
        (void)sign_one(rig.plan[0].kind == PLAN_TIME && rig.plan[0].window_usable == 8
                           ? RC_RETRY_WINDOW_FULL
                           : RC_OK);
        if (rig.plan[0].kind == PLAN_TIME) {
            fake_clock_set(&rig.fake, START + WEEK + DAY);
            assert_int_equal(sign_one(RC_OK)->window, 1);
        }
        rig_stop(&rig);
        assert_int_equal(rig_open(&rig), RC_OK);
        assert_int_equal(rig_key_rc(&rig, 0), RC_OK);
        rig_end(&rig);
    }
}

/* A window of two bottom trees: the second is signed when its first index is used, once. */
static void test_bottom_trees_are_signed_once(void **state)
{
    (void)state;
    begin(HSS_WEEKS);
    assert_int_equal(branches_recorded(), 0);
    (void)sign_one(RC_OK);
    assert_int_equal(branches_recorded(), 1);
    /* The restarts gave up two leases of 24: the next index lies in the second tree. */
    assert_int_equal(sign_one(RC_OK)->index, 24);
    for (unsigned i = 0; i < 8; i++)
        (void)sign_one(RC_OK);
    assert_int_equal(asks[next_name - 1].index, 32);
    assert_int_equal(branches_recorded(), 2);
    expect_replay();
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    (void)sign_one(RC_OK);
    assert_int_equal(branches_recorded(), 3);
}

/* One batch over the border between two bottom trees. */
static void test_batch_over_two_trees(void **state)
{
    (void)state;
    begin(HSS_WEEKS);
    static struct ask batch[40];
    for (unsigned i = 0; i < 40; i++)
        batch[i] = *fresh();
    assert_int_equal(rig_sign(&rig, batch, 40), RC_OK);
    for (unsigned i = 0; i < 40; i++) {
        assert_int_equal(batch[i].rc, RC_OK);
        assert_int_equal(batch[i].index, i);
    }
    assert_int_equal(oracle_indices(), 40 + 2);
}

/* Something fails at the n-th command or step from now: a restart, and everything goes on. */
static void go_on(void)
{
    fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
    rig_crash(&rig);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(rig_key_rc(&rig, 0), RC_OK);
    expect_replay();
    struct ask *a = sign_one(RC_OK);
    assert_true(a->index < 64);
    oracle_check();
}

static const char *const hypertrees[] = {HSS_WEEKS, HSS_VERSIONS};

static void test_tpm_fails_while_a_tree_is_signed(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {FAKE_FAIL_BEFORE, FAKE_FAIL_AFTER, FAKE_REFUSE,
                                             FAKE_BUSY};
    for (size_t p = 0; p < 2; p++)
        for (size_t f = 0; f < 4; f++) {
            bool failed = true;
            for (uint64_t n = 1; failed; n++) {
                begin(hypertrees[p]);
                fake_tpm_fail(&rig.fake, n, faults[f]);
                struct ask *a = fresh();
                (void)rig_sign(&rig, a, 1);
                failed = a->rc != RC_OK;
                go_on();
                rig_end(&rig);
                assert_true(failed || n > 4);
            }
        }
}

static void test_power_cut_while_a_tree_is_signed(void **state)
{
    (void)state;
    for (size_t p = 0; p < 2; p++) {
        bool cut = true;
        for (uint64_t n = 1; cut; n++) {
            begin(hypertrees[p]);
            crashvfs_cut_at(rig.disk, crashvfs_steps(rig.disk) + n);
            struct ask *a = fresh();
            (void)rig_sign(&rig, a, 1);
            cut = crashvfs_is_off(rig.disk);
            if (cut)
                a->rc = RC_HALT_LEDGER; /* whatever it says: nothing left the device */
            go_on();
            rig_end(&rig);
            assert_true(cut || n > 6);
        }
    }
}

/* A memory fault in the n-th run of leaves from now; 0: none. */
static unsigned fault_at;

void __real_hbs_tree_leaves(const struct hbs_tree *tree, uint32_t first, uint32_t count,
                            const uint8_t *seed, uint8_t *leaves);
void __wrap_hbs_tree_leaves(const struct hbs_tree *tree, uint32_t first, uint32_t count,
                            const uint8_t *seed, uint8_t *leaves);
void __wrap_hbs_tree_leaves(const struct hbs_tree *tree, uint32_t first, uint32_t count,
                            const uint8_t *seed, uint8_t *leaves)
{
    __real_hbs_tree_leaves(tree, first, count, seed, leaves);
    if (fault_at > 0 && --fault_at == 0)
        leaves[0] ^= 1;
}

/* Every tree that is built for a window, wrong once: no root of it is signed, and the right one is
 * later. */
static void attack_12_wrong_root_signed(void **state)
{
    (void)state;
    bool reached = true;
    unsigned builds = 0;
    for (unsigned n = 1; reached; n++) {
        begin(HSS_WEEKS);
        fault_at = n;
        struct ask *a = fresh();
        (void)rig_sign(&rig, a, 1);
        reached = fault_at == 0;
        fault_at = 0;
        if (reached) {
            builds++;
            assert_int_equal(rc_class(a->rc), RC_CLASS_HALT);
            assert_int_equal(oracle_computed(), 0);
            assert_int_equal(branches_recorded(), 0);
        }
        go_on();
        assert_int_equal(branches_recorded(), 1);
        rig_end(&rig);
    }
    assert_true(builds >= 3); /* the window's leaves on top, and two builds below */
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_scheme, end),
        cmocka_unit_test_teardown(test_bottom_trees_are_signed_once, end),
        cmocka_unit_test_teardown(test_batch_over_two_trees, end),
        cmocka_unit_test_teardown(test_tpm_fails_while_a_tree_is_signed, end),
        cmocka_unit_test_teardown(test_power_cut_while_a_tree_is_signed, end),
        cmocka_unit_test_teardown(attack_12_wrong_root_signed, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
