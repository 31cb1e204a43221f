/*
 * The way of one signature, and what a power cut leaves (DESIGN section 9): a short history of each
 * kind of plan is run again and again, and each time another single thing goes wrong: the n-th TPM
 * command fails before or after it took effect, is refused, or finds the TPM busy; or the power
 * goes in the n-th step of the disk under the ledger. Then everything is opened again and the
 * history goes on where it stood. An oracle outside the signer sees every signature that is
 * computed.
 *
 * In the end every request must have its signature, no index two values, no crash may have cost
 * more than one lease (and no version its number), and a repeated request must get the same bytes.
 *
 * Options: test_signer_crash [seed [rounds]]: rounds of histories in which two things go wrong.
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

#include "base/text.h"
#include "ledger/ledger.h"
#include "lib/quick.h"
#include "lib/signer_rig.h"

#define DAY INT64_C(86400)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define ASKS_MAX 8
#define TRIES_MAX 8
#define FAULTS_MAX 4000 /* no history has so many steps: a loop that does not end is seen */

static uint64_t first_seed = 1;
static uint64_t rounds = 40;

/* Histories -------------------------------------------------------------------------------------
 */

struct wish {
    const char *what; /* version, or idempotency key */
    const char *slot;
    const char *text;
};

struct act {
    int64_t at_s;
    bool stop_before; /* an orderly stop and start */
    bool idle_after;
    struct wish wishes[ASKS_MAX];
};

struct history {
    const char *name;
    const char *plan;
    bool lossy;               /* a TPM that is not known to keep its writes */
    uint64_t lost_by_a_crash; /* indices, at most */
    struct act acts[8];
};

static const struct history by_time = {
    .name = "time",
    .plan = RIG_PLAN("k", "raw",
                     "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"
                     "'signatures_per_window':8,'lease_size':2}"),
    .lost_by_a_crash = 2,
    .acts = {{.at_s = START + DAY, .wishes = {{"a", NULL, "one"}}},
             {.at_s = START + 2 * DAY,
              .idle_after = true,
              .wishes = {{"b", NULL, "two"}, {"c", NULL, "three"}}},
             {.at_s = START + 8 * DAY,
              .wishes = {{"d", NULL, "two"}, {"e", NULL, "five"}, {"f", NULL, "six"}}},
             {.at_s = START + 9 * DAY, .stop_before = true, .wishes = {{"g", NULL, "seven"}}},
             {.at_s = START + 23 * DAY, .wishes = {{"h", NULL, "eight"}}}}};

static const struct history by_interval = {
    .name = "interval",
    .plan = RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':4,'lease_size':2}"),
    .lost_by_a_crash = 2,
    .acts = {{.at_s = START, .wishes = {{"a", NULL, "one"}}},
             {.at_s = START + 1, /* over the end of window 0 */
              .wishes = {{"b", NULL, "two"},
                         {"c", NULL, "three"},
                         {"d", NULL, "two"},
                         {"e", NULL, "five"},
                         {"f", NULL, "six"}}},
             {.at_s = START + 2, .stop_before = true, .wishes = {{"g", NULL, "seven"}}},
             {.at_s = START + 3, .idle_after = true, .wishes = {{"h", NULL, "eight"}}},
             {.at_s = START + 4, .wishes = {{"i", NULL, "nine"}}}}};

#define VERSION_PLAN(order)                                                                        \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':2},"       \
             "'slots':['a','b'],'window':'minor','order':'" order "','max_jump':8}")

#define STRICT_ACTS                                                                                \
    {                                                                                              \
        {.at_s = START, .wishes = {{"0.0.0", "a", "one"}}},                                        \
            {.at_s = START + 1,                                                                    \
             .idle_after = true,                                                                   \
             .wishes = {{"0.0.0", "b", "two"},                                                     \
                        {"0.0.1", "a", "three"},                                                   \
                        {"0.0.1", "a", "three"}, /* a twin */                                      \
                        {"0.1.0", "a", "four"}}},                                                  \
            {.at_s = START + 2, .stop_before = true, .wishes = {{"0.1.0", "b", "five"}}},          \
            {.at_s = START + 3, .wishes = {{"1.0.0", "a", "six"}, {"1.0.0", "b", "six"}}},         \
        {                                                                                          \
            .at_s = START + 4, .wishes = { {"1.0.1", "a", "seven"} }                               \
        }                                                                                          \
    }

static const struct history strict = {
    .name = "strict", .plan = VERSION_PLAN("strict"), .acts = STRICT_ACTS};

static const struct history lossy = {
    .name = "lossy", .plan = VERSION_PLAN("strict"), .lossy = true, .acts = STRICT_ACTS};

static const struct history per_line = {
    .name = "per-line",
    .plan = VERSION_PLAN("per-line"),
    .acts = {{.at_s = START, .wishes = {{"0.0.0", "a", "one"}}},
             {.at_s = START + 1, .wishes = {{"1.0.0", "a", "two"}, {"0.0.1", "a", "three"}}},
             {.at_s = START + 2, .wishes = {{"0.1.0", "a", "four"}, {"0.1.0", "b", "four"}}},
             {.at_s = START + 3, .stop_before = true, .wishes = {{"1.1.0", "b", "five"}}},
             {.at_s = START + 4, .wishes = {{"0.1.1", "a", "six"}, {"1.1.1", "a", "seven"}}}}};

static const struct history *const histories[] = {&by_time, &by_interval, &strict, &lossy,
                                                  &per_line};
#define HISTORIES (sizeof(histories) / sizeof(histories[0]))

/* Running one -----------------------------------------------------------------------------------
 */

/* What goes wrong; n counts from the first opening of the signer, once the key is there. */
struct mishap {
    enum fake_fault fault;
    uint64_t command;
    uint64_t cut; /* step of the disk; 0: none */
    uint64_t seed;
};

static struct rig rigs[HISTORIES]; /* made once, brought back before each run */
static struct rig *rig;
static struct ask asks[8][ASKS_MAX];
static unsigned crashes;
static unsigned judged;
static char told[200]; /* how to find this run again */

static void crash_and_open(void)
{
    for (unsigned i = 0; i < TRIES_MAX; i++) {
        crashes++;
        rig_crash(rig);
        if (rig_open(rig) == RC_OK && rig_key_rc(rig, 0) == RC_OK)
            return;
    }
    fail_msg("%s: the key does not sign any more: %s", told,
             rig->signer == NULL ? err_text(&rig->err) : rc_name(rig_key_rc(rig, 0)));
}

/* The first opening, in which the mishap may lie too. */
static void open_first(void)
{
    if (rig_open(rig) != RC_OK || rig_key_rc(rig, 0) != RC_OK)
        crash_and_open();
}

static size_t wish_count(const struct act *act)
{
    size_t n = 0;
    while (n < ASKS_MAX && act->wishes[n].what != NULL)
        n++;
    return n;
}

/* Requests go out again until each has its signature: those that had theirs too, as clients do
 * whose answer got lost. */
static void play(const struct history *h, size_t number)
{
    const struct act *act = &h->acts[number];
    size_t count = wish_count(act);
    bool by_version = rig->plan[0].kind == PLAN_VERSION;
    for (unsigned try = 0; try < TRIES_MAX; try++) {
        for (size_t i = 0; i < count; i++) {
            const struct wish *w = &act->wishes[i];
            struct ask *a = &asks[number][i];
            memset(a, 0, offsetof(struct ask, signature));
            a->version = by_version ? w->what : NULL;
            a->idem = by_version ? NULL : w->what;
            a->slot = w->slot;
            a->text = w->text;
        }
        enum rc rc = rig_sign(rig, asks[number], count);
        size_t good = 0;
        for (size_t i = 0; i < count; i++)
            good += asks[number][i].rc == RC_OK ? 1 : 0;
        if (rc == RC_OK && good == count)
            return;
        if (rc != RC_OK || rig_key_rc(rig, 0) != RC_OK)
            crash_and_open();
    }
    for (size_t i = 0; i < count; i++)
        if (asks[number][i].rc != RC_OK)
            fail_msg("%s: act %zu: '%s' gets no signature: %s: %s", told, number,
                     act->wishes[i].what, rc_name(asks[number][i].rc), asks[number][i].reply.text);
}

static void rest(void)
{
    struct err err = {0};
    if (signer_idle(rig->signer, &err) != RC_OK)
        crash_and_open();
}

static void stop_and_start(void)
{
    rig_stop(rig);
    if (rig_open(rig) != RC_OK || rig_key_rc(rig, 0) != RC_OK)
        crash_and_open();
}

static void start_history(size_t number, const struct mishap *m)
{
    const struct history *h = histories[number];
    (void)snprintf(told, sizeof(told),
                   "%s, fault %d at command %" PRIu64 ", power cut at step %" PRIu64
                   ", seed %" PRIu64,
                   h->name, (int)m->fault, m->command, m->cut, m->seed);
    oracle_reset();
    crashes = 0;
    rig = &rigs[number];
    rig_restore(rig, m->seed);
    crashvfs_cut_at(rig->disk, m->cut);
    fake_tpm_fail(&rig->fake, m->command, m->fault);
}

static void go_through(const struct history *h)
{
    open_first();
    for (size_t i = 0; i < 8 && h->acts[i].wishes[0].what != NULL; i++) {
        if (h->acts[i].stop_before)
            stop_and_start();
        fake_clock_set(&rig->fake, h->acts[i].at_s);
        play(h, i);
        if (h->acts[i].idle_after)
            rest();
    }
}

/* Judging ---------------------------------------------------------------------------------------
 */

static void check_placed(const struct history *h, size_t number)
{
    for (size_t i = 0; i < wish_count(&h->acts[number]); i++) {
        const struct ask *a = &asks[number][i];
        struct plan_place place = {0};
        if (rig->plan[0].kind == PLAN_VERSION) {
            assert_int_equal(plan_place_version(&rig->plan[0], a->version, a->slot, &place, NULL),
                             RC_OK);
            assert_int_equal(a->index, place.index);
        } else if (rig->plan[0].kind == PLAN_TIME) {
            uint64_t window = 0;
            assert_int_equal(plan_window_at(&rig->plan[0], h->acts[number].at_s, &window, NULL),
                             RC_OK);
            assert_int_equal(a->window, window);
        }
    }
}

/* Asked once more: the same bytes, and no index. Idempotency keys live one window longer. */
static void check_replayed(const struct history *h, size_t number, uint64_t newest_window)
{
    size_t before = oracle_computed();
    for (size_t i = 0; i < wish_count(&h->acts[number]); i++) {
        static struct ask again;
        const struct ask *a = &asks[number][i];
        memset(&again, 0, offsetof(struct ask, signature));
        again.version = a->version;
        again.slot = a->slot;
        again.idem = a->idem;
        again.text = a->text;
        if (a->version == NULL && a->window + 1 < newest_window)
            continue;
        rig_ask(rig, &again, RC_OK);
        assert_true(again.replayed);
        assert_int_equal(again.len, a->len);
        assert_memory_equal(again.signature, a->signature, a->len);
    }
    assert_int_equal(oracle_computed(), before);
}

static void check_windows(const struct history *h)
{
    struct request request = {.op = REQUEST_WINDOWS, .from = 0, .to = 100};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    uint64_t burned = 0;
    unsigned rests = 0; /* of leases that may be given up without a crash */
    strcpy(request.key, "k");
    signer_read(rig->signer, &request, &reply, &payload, &len);
    assert_int_equal(reply.rc, RC_OK);
    const struct view_window *v = payload;
    for (size_t i = 0; i < len / sizeof(*v); i++) {
        burned += v[i].burned;
        rests += v[i].signatures > 0 ? 1 : 0;
        assert_int_equal(v[i].signatures + v[i].burned + v[i].given_up + v[i].remaining,
                         v[i].usable);
    }
    free(payload);
    /* So does an orderly stop, and the end of a window. */
    for (size_t i = 0; i < 8; i++)
        rests += h->acts[i].stop_before ? 1 : 0;
    if (rig->plan[0].kind == PLAN_VERSION)
        rests = 0;
    if (burned > h->lost_by_a_crash * crashes + rests)
        fail_msg("%s: %" PRIu64 " indices burned in %u crashes", told, burned, crashes);
}

static void check_ledger(void)
{
    struct err err = {0};
    struct ledger *ledger = rig_ledger(rig);
    assert_int_equal(ledger_check_invariants(ledger, &err), RC_OK);
    ledger_close(&ledger);
}

static void judge(const struct history *h)
{
    size_t acts = 0;
    while (acts < 8 && h->acts[acts].wishes[0].what != NULL)
        acts++;
    uint64_t newest = asks[acts - 1][0].window;
    for (size_t i = 0; i < acts; i++) {
        check_placed(h, i);
        check_replayed(h, i, newest);
    }
    check_windows(h);
    oracle_check();
    rig_stop(rig);
    if (++judged % 8 == 0) /* opening a ledger takes longer than a history */
        check_ledger();
}

/* @return whether the mishap came about. */
static bool run(size_t number, const struct mishap *m)
{
    const struct history *h = histories[number];
    start_history(number, m);
    go_through(h);
    uint64_t commands = rig->fake.tpm->commands;
    bool met = crashes > 0 || (m->fault == FAKE_BUSY && m->command <= commands);
    crashvfs_cut_at(rig->disk, 0);
    judge(h);
    return met;
}

/* Tests -----------------------------------------------------------------------------------------
 */

static void nothing_goes_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < HISTORIES; i++) {
        const struct mishap none = {.seed = 1};
        assert_false(run(i, &none));
        assert_int_equal(crashes, 0);
    }
}

#define TIME 1U
#define INTERVAL 2U
#define STRICT 4U
#define LOSSY 8U
#define PER_LINE 16U
#define ALL 31U
#define QUICK 11 /* from one command or step to the next, where the run is to be short */

/* Not every fault for every history: what they have in common is seen in one of them. */
static void each_command(enum fake_fault fault, unsigned which)
{
    for (size_t i = 0; i < HISTORIES; i++) {
        if ((which & (1U << i)) == 0)
            continue;
        struct mishap m = {.fault = fault, .command = 1, .seed = 1};
        while (m.command < FAULTS_MAX && run(i, &m))
            m.command += quick_stride(QUICK);
        assert_in_range(m.command, 20, FAULTS_MAX - 1);
    }
}

static void each_tpm_command_fails_undone(void **state)
{
    (void)state;
    each_command(FAKE_FAIL_BEFORE, TIME | STRICT);
}

static void each_tpm_command_fails_though_done(void **state)
{
    (void)state;
    each_command(FAKE_FAIL_AFTER, ALL);
}

static void each_tpm_command_is_refused(void **state)
{
    (void)state;
    each_command(FAKE_REFUSE, PER_LINE);
}

static void each_tpm_command_finds_it_busy(void **state)
{
    (void)state;
    each_command(FAKE_BUSY, TIME | INTERVAL | LOSSY);
}

static void power_goes_in_each_step_of_the_disk(void **state)
{
    (void)state;
    for (size_t i = 0; i < HISTORIES; i++) {
        struct mishap m = {.cut = 1, .seed = first_seed};
        while (m.cut < FAULTS_MAX && run(i, &m)) {
            m.cut += quick_stride(QUICK);
            m.seed++;
        }
        assert_in_range(m.cut, 20, FAULTS_MAX - 1);
    }
}

static uint64_t mix(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* One at the TPM and one at the disk: the second often lies in the start after the first. */
static void two_things_go_wrong(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t seed = first_seed + round;
        struct mishap m = {.seed = seed};
        m.fault = (enum fake_fault)(1 + mix(&seed) % 4);
        m.command = 1 + mix(&seed) % 60;
        m.cut = 1 + mix(&seed) % 60;
        (void)run(round % HISTORIES, &m);
    }
}

static int make_rigs(void **state)
{
    (void)state;
    for (size_t i = 0; i < HISTORIES; i++) {
        rig_make(&rigs[i], START, 1);
        rig_add_key(&rigs[i], histories[i]->plan, 0);
        rigs[i].fake.tpm->identity.keeps_writes = !histories[i]->lossy;
        rig_save(&rigs[i]);
        crashvfs_close(&rigs[i].disk);
    }
    return 0;
}

static int end_rigs(void **state)
{
    (void)state;
    for (size_t i = 0; i < HISTORIES; i++)
        rig_end(&rigs[i]);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !text_to_u64(&first_seed, argv[1], UINT64_MAX - 1000000))
        return 2;
    if (argc > 2 && !text_to_u64(&rounds, argv[2], 1000000))
        return 2;
    print_message("# seed %" PRIu64 "\n", first_seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_goes_wrong),
        cmocka_unit_test(each_tpm_command_fails_undone),
        cmocka_unit_test(each_tpm_command_fails_though_done),
        cmocka_unit_test(each_tpm_command_is_refused),
        cmocka_unit_test(each_tpm_command_finds_it_busy),
        cmocka_unit_test(power_goes_in_each_step_of_the_disk),
        cmocka_unit_test(two_things_go_wrong),
    };
    return cmocka_run_group_tests(tests, make_rigs, end_rigs);
}
