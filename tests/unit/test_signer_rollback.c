/*
 * States put back: the ledger as it stood at each command of the TPM, with the TPM of now; and the
 * TPM as it stood then, with the ledger of now. Either must be refused, or be harmless; and
 * whatever is signed afterwards, also after a recovery and on demand of a client who asks for all
 * the old versions again with other bytes, no index gets a second value. After a recovery only
 * windows sign that lie above every one that was ever used.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/quick.h"
#include "lib/signer_rig.h"
#include "signer/recover.h"

#define DAY INT64_C(86400)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define BATCH 4
#define BATCHES 6
#define COMMANDS_MAX 400

/* Each batch: versions or idempotency keys. Fewer windows are used than there are, so that recovery
 * has somewhere to go. */
struct history {
    const char *name;
    const char *plan;
    bool lossy;
    const char *asked[BATCHES][BATCH];
    int64_t at_day[BATCHES];
};

#define VERSION_PLAN(order)                                                                        \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':2},"       \
             "'slots':['a','b'],'window':'minor','order':'" order "','max_jump':8}")
#define STRICT_ASKED                                                                               \
    {                                                                                              \
        {"0.0.0"}, {"0.0.1", "0.1.0"}, {"0.1.1"}, {"0.2.0"}, {"0.2.1"},                            \
    }

static const struct history histories[] = {
    {.name = "time",
     .plan = RIG_PLAN("k", "raw",
                      "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"
                      "'signatures_per_window':8,'lease_size':2}"),
     .asked = {{"a"}, {"b", "c"}, {"d"}, {"e", "f"}, {"g"}},
     .at_day = {1, 2, 8, 9, 10}},
    {.name = "interval",
     .plan = RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':4,'lease_size':2}"),
     .asked = {{"a"}, {"b", "c"}, {"d", "e"}, {"f"}, {"g", "h"}}},
    {.name = "strict", .plan = VERSION_PLAN("strict"), .asked = STRICT_ASKED},
    {.name = "lossy", .plan = VERSION_PLAN("strict"), .lossy = true, .asked = STRICT_ASKED},
    {.name = "per-line",
     .plan = VERSION_PLAN("per-line"),
     .asked = {{"0.0.0"}, {"1.0.0", "0.0.1"}, {"0.1.0"}, {"1.0.1"}, {"0.1.1"}}},
};
#define HISTORIES (sizeof(histories) / sizeof(histories[0]))
#define QUICK 4 /* from one command to the next, where the run is to be short */

static struct rig rigs[HISTORIES];
static struct rig *rig;
static const struct history *history;
static char told[100];

/* The state at one command -------------------------------------------------------------------- */

static struct {
    uint64_t at;
    bool taken;
    struct rig_disk disk;
    struct fake_nv nv[FAKE_KEYS_MAX];
} past;

static void look(void *ctx, enum fake_command command)
{
    (void)ctx;
    (void)command;
    if (rig->fake.tpm->commands != past.at || past.taken)
        return;
    past.taken = true;
    rig_disk_take(rig, &past.disk);
    memcpy(past.nv, rig->fake.tpm->nv, sizeof(past.nv));
}

static bool by_version(void)
{
    return rig->plan[0].kind == PLAN_VERSION;
}

/* One request; slot a of a version. @return false if everything had to be opened again and the key
 * does not sign any more. */
static bool ask_for(const char *what, const char *text, struct ask *a)
{
    memset(a, 0, offsetof(struct ask, signature));
    a->version = by_version() ? what : NULL;
    a->slot = by_version() ? "a" : NULL;
    a->idem = by_version() ? NULL : what;
    a->text = text;
    if (rig_sign(rig, a, 1) == RC_OK)
        return true;
    rig_crash(rig);
    return rig_open(rig) == RC_OK && rig_key_rc(rig, 0) == RC_OK;
}

static void play(void)
{
    static struct ask asks[BATCH];
    for (size_t i = 0; i < BATCHES && history->asked[i][0] != NULL; i++) {
        size_t n = 0;
        fake_clock_set(&rig->fake, START + history->at_day[i] * DAY);
        for (; n < BATCH && history->asked[i][n] != NULL; n++) {
            memset(&asks[n], 0, offsetof(struct ask, signature));
            asks[n].version = by_version() ? history->asked[i][n] : NULL;
            asks[n].slot = by_version() ? "a" : NULL;
            asks[n].idem = by_version() ? NULL : history->asked[i][n];
            asks[n].text = history->asked[i][n];
        }
        assert_int_equal(rig_sign(rig, asks, n), RC_OK);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(asks[k].rc, RC_OK);
        struct err err = {0};
        if (i == 2)
            assert_int_equal(signer_idle(rig->signer, &err), RC_OK);
        /* A restart in the middle: states of the start itself are put back, too. */
        if (i == 1)
            rig_reopen(rig);
    }
}

/* Afterwards ------------------------------------------------------------------------------------
 */

static int64_t highest_used(void)
{
    int64_t highest = -1;
    for (uint64_t i = 0; i < 32; i++)
        if (oracle_has(rig, 0, i))
            highest = (int64_t)(i / rig->plan[0].window_size);
    return highest;
}

/* A client who asks for everything again, with other bytes. What it gets is not looked at: the
 * oracle looks at what was computed for it. */
static void provoke(void)
{
    static struct ask a;
    for (unsigned pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < BATCHES; i++)
            for (size_t k = 0; k < BATCH && history->asked[i][k] != NULL; k++) {
                char other[32];
                (void)snprintf(other, sizeof(other), "%s%s", history->asked[i][k],
                               pass == 1 && !by_version() ? " again" : "");
                if (!ask_for(other, pass == 0 ? "other bytes" : "and others still", &a))
                    return;
            }
    oracle_check();
}

static void recover(int64_t highest)
{
    struct err err = {0};
    struct recover_plan plan;
    void *tpm = NULL;
    signer_close(&rig->signer, false);
    struct ledger *ledger = rig_ledger(rig);
    struct key *key = rig_load_key(rig, 0, ledger, &tpm);
    const struct world *world = &rig->fake.world;
    assert_int_equal(recover_here_plan(key, world, ledger, 0, &plan, &err), RC_OK);
    if (plan.start_window <= highest)
        fail_msg("%s: starts again in window %" PRId64 ", but %" PRId64 " was used", told,
                 plan.start_window, highest);
    if (recover_here(key, world, ledger, &plan, NULL, &err) != RC_OK)
        fail_msg("%s: %s", told, err_text(&err));
    rig_acknowledge(ledger, key, plan.start_window);
    rig_unload_key(rig, key, &tpm);
    ledger_close(&ledger);
    assert_int_equal(rig_open(rig), RC_OK);
    if (rig_key_rc(rig, 0) != RC_OK)
        fail_msg("%s: does not sign after the recovery", told);

    if (rig->plan[0].kind == PLAN_TIME)
        fake_clock_set(&rig->fake, plan.opens_s + DAY);
    char version[VERSION_LEN_MAX + 1] = "fresh";
    char slot[NAME_LEN_MAX + 1];
    if (by_version())
        assert_int_equal(
            plan_version_of_index(&rig->plan[0],
                                  plan_window_first(&rig->plan[0], (uint64_t)plan.start_window),
                                  version, slot, &err),
            RC_OK);
    static struct ask a;
    assert_true(ask_for(version, "fresh", &a));
    if (a.rc != RC_OK)
        fail_msg("%s: no signature after the recovery: %s: %s", told, rc_name(a.rc), a.reply.text);
    assert_true((int64_t)a.window >= plan.start_window);
    provoke();
}

/* @return the verdict of the start. */
static enum rc go_on(void)
{
    int64_t highest = highest_used();
    assert_int_equal(rig_open(rig), RC_OK);
    enum rc rc = rig_key_rc(rig, 0);
    if (rc == RC_OK) {
        provoke();
    } else {
        if (rc != RC_HALT_REGRESSION && rc != RC_HALT_TPM_BEHIND && rc != RC_HALT_INVARIANT)
            fail_msg("%s: %s", told, rc_name(rc));
        recover(highest);
    }
    oracle_check();
    return rc;
}

/* Play, stop or pull the plug, put something back. @return false if there is no such command. */
static bool begin(size_t number, uint64_t at)
{
    rig = &rigs[number];
    history = &histories[number];
    (void)snprintf(told, sizeof(told), "%s, command %" PRIu64, history->name, at);
    oracle_reset();
    rig_restore(rig, at);
    rig->fake.tpm->identity.keeps_writes = !history->lossy;
    fake_tpm_fail(&rig->fake, 0, FAKE_NONE);
    rig_disk_free(&past.disk);
    past.at = at;
    past.taken = false;
    rig->fake.hook = look;
    assert_int_equal(rig_open(rig), RC_OK);
    play();
    if (at % 2 == 0)
        rig_stop(rig);
    else
        rig_crash(rig);
    rig->fake.hook = NULL;
    return past.taken;
}

static void old_ledger_is_refused_or_harmless(void **state)
{
    (void)state;
    for (size_t i = 0; i < HISTORIES; i++) {
        unsigned refused = 0;
        uint64_t at = 1;
        for (; at < COMMANDS_MAX && begin(i, at); at += quick_stride(QUICK)) {
            rig_disk_put(rig, &past.disk);
            enum rc rc = go_on();
            refused += rc == RC_HALT_REGRESSION ? 1 : 0;
            assert_true(rc == RC_OK || rc == RC_HALT_REGRESSION);
        }
        signer_close(&rig->signer, false);
        assert_in_range(at, 20, COMMANDS_MAX - 1);
        assert_true(refused > at / 2 / quick_stride(QUICK));
    }
}

static void old_tpm_is_refused_or_harmless(void **state)
{
    (void)state;
    for (size_t i = 0; i < HISTORIES; i++) {
        unsigned refused = 0;
        uint64_t at = 1;
        for (; at < COMMANDS_MAX && begin(i, at); at += quick_stride(QUICK)) {
            memcpy(rig->fake.tpm->nv, past.nv, sizeof(past.nv));
            enum rc rc = go_on();
            refused += rc == RC_HALT_TPM_BEHIND ? 1 : 0;
        }
        signer_close(&rig->signer, false);
        assert_in_range(at, 20, COMMANDS_MAX - 1);
        assert_true(refused > at / 2 / quick_stride(QUICK));
    }
}

/* Both at once is a machine restored whole, which no TPM of that machine can see; but a ledger and
 * a TPM of two different moments are as good as either alone, if the TPM is the newer one. */
/* TPM and ledger are both put back, the TPM further: neither knows that a later window was signed
 * in, but the clock tells which one that can be at most. */
static void both_put_back_to_an_earlier_window(void **state)
{
    (void)state;
    static struct ask a;
    rig = &rigs[0]; /* the time plan */
    history = &histories[0];
    strcpy(told, "both put back");
    oracle_reset();
    rig_restore(rig, 1);
    assert_int_equal(rig_open(rig), RC_OK);
    fake_clock_set(&rig->fake, START + DAY);
    struct fake_nv nv[FAKE_KEYS_MAX];
    for (unsigned i = 0; i < 6; i++) {
        char what[16];
        (void)snprintf(what, sizeof(what), "early %u", i);
        if (i == 1)
            memcpy(nv, rig->fake.tpm->nv, sizeof(nv));
        assert_true(ask_for(what, what, &a));
        assert_int_equal(a.rc, RC_OK);
    }
    struct rig_disk disk = {0};
    rig_disk_take(rig, &disk);
    fake_clock_set(&rig->fake, START + 8 * DAY);
    assert_true(ask_for("later", "later", &a));
    assert_int_equal(a.window, 1);
    signer_close(&rig->signer, false);
    rig_disk_put(rig, &disk);
    rig_disk_free(&disk);
    memcpy(rig->fake.tpm->nv, nv, sizeof(nv));
    assert_int_equal(rig_open(rig), RC_OK);
    assert_int_equal(rig_key_rc(rig, 0), RC_HALT_TPM_BEHIND);
    recover(1);
    signer_close(&rig->signer, false);
}

static void old_ledger_and_torn_a(void **state)
{
    (void)state;
    for (size_t i = 0; i < HISTORIES; i++)
        for (uint64_t at = 1; at < COMMANDS_MAX && begin(i, at); at += 3 * quick_stride(QUICK)) {
            rig_disk_put(rig, &past.disk);
            fake_tpm_tear_a(&rig->fake, 0);
            enum rc rc = go_on();
            if (by_version())
                assert_int_equal(rc, RC_HALT_REGRESSION);
            signer_close(&rig->signer, false);
        }
}

static int make_rigs(void **state)
{
    (void)state;
    for (size_t i = 0; i < HISTORIES; i++) {
        rig_make(&rigs[i], START, 1);
        rig_add_key(&rigs[i], histories[i].plan, 0);
        rig_save(&rigs[i]);
        crashvfs_close(&rigs[i].disk);
    }
    return 0;
}

static int end_rigs(void **state)
{
    (void)state;
    rig_disk_free(&past.disk);
    for (size_t i = 0; i < HISTORIES; i++)
        rig_end(&rigs[i]);
    return 0;
}

static int close_signer(void **state)
{
    (void)state;
    signer_close(&rig->signer, false);
    crashvfs_close(&rig->disk);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(old_ledger_is_refused_or_harmless, close_signer),
        cmocka_unit_test_teardown(old_tpm_is_refused_or_harmless, close_signer),
        cmocka_unit_test_teardown(both_put_back_to_an_earlier_window, close_signer),
        cmocka_unit_test_teardown(old_ledger_and_torn_a, close_signer),
    };
    return cmocka_run_group_tests(tests, make_rigs, end_rigs);
}
