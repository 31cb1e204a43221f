/*
 * Limits on a fake world: shares, reserves and buckets of several callers, over restarts and
 * crashes, which must give nobody anything back; and the entries about what was refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lib/signer_rig.h"
#include "policy/bucket.h"

#define DAY INT64_C(86400)
#define WEEK (7 * DAY)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define NS INT64_C(1000000000)

/* Windows of 16 indices, the last one is the seal's. */
#define TIME_PLAN                                                                                  \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':16,'lease_size':4}")
/* Windows of eight: four patches in two slots. */
#define VERSION_PLAN                                                                               \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':4},"       \
             "'slots':['a','b'],'window':'minor','order':'per-line'}")
#define INTERVAL_PLAN                                                                              \
    RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':4,'lease_size':2}")

static struct rig rig;
static struct access access_table;

/* "greedy" may have a quarter of each window, "modest" and "incident" all of it. */
static void fill_access(void)
{
    static const char *const names[] = {"greedy", "modest", "incident"};
    memset(&access_table, 0, sizeof(access_table));
    for (size_t i = 0; i < 3; i++) {
        struct access_identity *id = &access_table.identities[access_table.identity_count++];
        strcpy(id->name, names[i]);
        id->roles = ROLE_SIGNER;
        id->every_key = i > 0;
    }
    access_table.rules[access_table.rule_count++] =
        (struct access_rule){.identity = 0, .window_share = 25};
}

static void begin(const char *plan, const struct key_limits *limits)
{
    oracle_reset();
    fill_access();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, plan, 0);
    rig.limits[0].limits = *limits;
    rig.config.access = &access_table;
    assert_int_equal(rig_open(&rig), RC_OK);
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

/* Asking ---------------------------------------------------------------------------------------
 */

static struct ask last;

/* One request by window with a key of its own. */
static enum rc sign(const char *who)
{
    static char idem[16];
    static unsigned number;
    (void)snprintf(idem, sizeof(idem), "i%u", number++);
    last = (struct ask){.who = who, .idem = idem, .text = idem};
    (void)rig_sign(&rig, &last, 1);
    return last.rc;
}

/* How many this one gets before something else than RC_OK comes, at most 40. */
static unsigned take_all(const char *who)
{
    unsigned n = 0;
    while (n < 40 && sign(who) == RC_OK)
        n++;
    return n;
}

static enum rc sign_version(const char *who, const char *version, const char *slot)
{
    last = (struct ask){.who = who, .version = version, .slot = slot, .text = version};
    (void)rig_sign(&rig, &last, 1);
    return last.rc;
}

static void check_violated(const char *which)
{
    assert_int_equal(last.rc, RC_RETRY_WINDOW_FULL);
    assert_string_equal(last.reply.violated, which);
}

/* Shares ---------------------------------------------------------------------------------------
 */

static void share_of_a_window(void **state)
{
    (void)state;
    static struct ask asks[6];
    static const char *const idem[] = {"a", "b", "c", "d", "e", "f"};
    begin(TIME_PLAN, &(struct key_limits){0});
    for (size_t i = 0; i < 6; i++)
        asks[i] =
            (struct ask){.who = i == 3 ? "modest" : "greedy", .idem = idem[i], .text = idem[i]};
    assert_int_equal(rig_sign(&rig, asks, 6), RC_OK);
    /* A quarter of 15 is 3; the one of somebody else in between does not count. */
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(asks[i].rc, i < 4 ? RC_OK : RC_RETRY_WINDOW_FULL);
    assert_int_equal(asks[1].reply.share_limit, 3);
    assert_int_equal(asks[1].reply.share_remaining, 1);
    assert_string_equal(asks[5].reply.violated, LIMIT_CALLER);
    assert_int_equal(asks[5].reply.retry_after_s, 6 * DAY);
    assert_int_equal(asks[5].reply.window_opens_s, START + WEEK);
    /* What is there already costs nothing and is given again. */
    asks[0] = (struct ask){.who = "greedy", .idem = "a", .text = "a"};
    rig_ask(&rig, &asks[0], RC_OK);
    assert_true(asks[0].replayed);
    (void)sign("greedy");
    check_violated(LIMIT_CALLER);
    rig_reopen(&rig);
    (void)sign("greedy");
    check_violated(LIMIT_CALLER);
    assert_int_equal(sign("modest"), RC_OK);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    assert_int_equal(take_all("greedy"), 3);
}

static void share_of_a_release(void **state)
{
    (void)state;
    begin(VERSION_PLAN, &(struct key_limits){0});
    assert_int_equal(sign_version("greedy", "0.0.0", "a"), RC_OK);
    assert_int_equal(sign_version("greedy", "0.0.0", "b"), RC_OK);
    (void)sign_version("greedy", "0.0.1", "a");
    check_violated(LIMIT_CALLER);
    assert_int_equal(sign_version("modest", "0.0.1", "a"), RC_OK);
    rig_reopen(&rig);
    (void)sign_version("greedy", "0.0.1", "b");
    check_violated(LIMIT_CALLER);
    assert_int_equal(sign_version("greedy", "0.1.0", "a"), RC_OK); /* another window */
    assert_int_equal(sign_version("greedy", "0.0.0", "b"), RC_OK); /* stored */
    assert_true(last.replayed);
}

/* Reserve --------------------------------------------------------------------------------------
 */

static void reserve_is_kept(void **state)
{
    (void)state;
    begin(TIME_PLAN, &(struct key_limits){.reserve = 4, .reserve_for = "incident"});
    assert_int_equal(take_all("modest"), 11);
    check_violated(LIMIT_RESERVE);
    (void)sign("greedy");
    check_violated(LIMIT_RESERVE);
    assert_int_equal(take_all("incident"), 4);
    check_violated(LIMIT_WINDOW);
    (void)sign("modest");
    check_violated(LIMIT_WINDOW);
}

/* A start gives up the rest of the lease: the reserve is counted from what is left then. */
static void reserve_after_a_crash(void **state)
{
    (void)state;
    begin(TIME_PLAN, &(struct key_limits){.reserve = 4, .reserve_for = "incident"});
    assert_int_equal(sign("modest"), RC_OK);
    rig_reopen(&rig); /* three of sixteen are gone */
    assert_int_equal(take_all("modest"), 15 - 4 - 4);
    check_violated(LIMIT_RESERVE);
    assert_int_equal(take_all("incident"), 4);
}

static void reserve_within_a_cap(void **state)
{
    (void)state;
    begin(VERSION_PLAN,
          &(struct key_limits){.window_max = 3, .reserve = 1, .reserve_for = "incident"});
    assert_int_equal(sign_version("modest", "0.0.0", "a"), RC_OK);
    assert_int_equal(sign_version("modest", "0.0.0", "b"), RC_OK);
    (void)sign_version("modest", "0.0.1", "a");
    check_violated(LIMIT_RESERVE);
    assert_int_equal(sign_version("incident", "0.0.1", "b"), RC_OK);
    (void)sign_version("incident", "0.0.2", "a");
    check_violated(LIMIT_WINDOW);
}

/* The next window of an interval plan opens when one is full: kept indices would block the key. */
static void no_reserve_in_intervals(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN, &(struct key_limits){.reserve = 3, .reserve_for = "incident"});
    assert_int_equal(take_all("modest"), 32);
}

/* Buckets --------------------------------------------------------------------------------------
 */

static void tokens_of_callers(void **state)
{
    (void)state;
    begin(TIME_PLAN, &(struct key_limits){.caller_burst = 2, .caller_per_hour = 60});
    assert_int_equal(take_all("modest"), 2);
    assert_int_equal(last.rc, RC_RETRY_RATE);
    assert_string_equal(last.reply.violated, LIMIT_CALLER_RATE);
    assert_in_range(last.reply.retry_after_s, 1, 60);
    assert_int_equal(last.reply.caller_rate_limit, 2);
    assert_int_equal(last.reply.caller_rate_window_s, 120);
    assert_int_equal(sign("incident"), RC_OK);
    assert_int_equal(last.reply.caller_rate_remaining, 1);
    /* Not by a restart, and not by a crash. */
    rig_stop(&rig);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(sign("modest"), RC_RETRY_RATE);
    rig_reopen(&rig);
    assert_int_equal(sign("modest"), RC_RETRY_RATE);
    fake_clock_set(&rig.fake, START + DAY + 61);
    assert_int_equal(take_all("modest"), 1);
}

/* More callers than are remembered: who was forgotten is looked up in the ledger. */
static void many_callers(void **state)
{
    (void)state;
    begin(TIME_PLAN, &(struct key_limits){.caller_burst = 1, .caller_per_hour = 1});
    rig.config.access = NULL;
    rig_reopen(&rig);
    assert_int_equal(sign("first"), RC_OK);
    for (unsigned i = 0; i < KEY_CALLERS_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "c%u", i);
        last = (struct ask){.who = name, .text = "x"}; /* no Idempotency-Key: refused earlier */
        (void)rig_sign(&rig, &last, 1);
        if (i < 10)
            assert_int_equal(sign(name), RC_OK);
        else
            (void)sign(name);
    }
    assert_int_equal(sign("first"), RC_RETRY_RATE);
    assert_int_equal(sign("c3"), RC_RETRY_RATE);
}

static void tokens_of_the_key(void **state)
{
    (void)state;
    begin(TIME_PLAN, &(struct key_limits){.burst = 5, .per_hour = 60});
    assert_int_equal(take_all("modest"), 5);
    assert_string_equal(last.reply.violated, LIMIT_RATE);
    assert_int_equal(last.reply.rate_window_s, 300);
    rig_stop(&rig);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(sign("incident"), RC_RETRY_RATE);
    fake_clock_set(&rig.fake, START + DAY + 130);
    rig_reopen(&rig);
    assert_int_equal(take_all("incident"), 2);
}

/* A caller who is refused for the key's sake keeps his own token. */
static void both_or_none(void **state)
{
    (void)state;
    begin(TIME_PLAN, &(struct key_limits){
                         .burst = 1, .per_hour = 60, .caller_burst = 2, .caller_per_hour = 1});
    assert_int_equal(sign("modest"), RC_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sign("incident"), RC_RETRY_RATE);
    assert_string_equal(last.reply.violated, LIMIT_RATE);
    fake_clock_set(&rig.fake, START + DAY + 61);
    assert_int_equal(sign("incident"), RC_OK);
    assert_int_equal(last.reply.caller_rate_remaining, 1);
}

/* The bucket alone: whatever was taken, it never comes back fuller than it was. */
static void replay_gives_nothing(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (int round = 0; round < 2000; round++) {
        struct bucket live, again;
        int64_t taken[64], newest_first[64], now_s = 1000000;
        size_t count = 0;
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint64_t capacity = 1 + (random >> 33) % 5, per_hour = 1 + (random >> 40) % 7200;
        bucket_init(&live, capacity, per_hour, now_s * NS);
        for (int i = 0; i < 60; i++) {
            uint64_t wait_s = 0, left = 0;
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            now_s += (int64_t)((random >> 33) % (3 * 3600 / per_hour + 2));
            if (bucket_take(&live, now_s * NS, &wait_s, &left))
                taken[count++] = now_s;
        }
        int64_t since = now_s - bucket_fill_s(&live);
        size_t n = 0;
        for (size_t i = count; i > 0 && taken[i - 1] >= since; i--)
            newest_first[n++] = taken[i - 1];
        bucket_init(&again, capacity, per_hour, now_s * NS);
        bucket_replay(&again, now_s * NS, now_s, newest_first, n, false);
        assert_true(again.level_ppm <= live.level_ppm + 2); /* rounded to a millionth, twice */
        uint64_t wait_s = 0, left = 0;
        /* And after a while nothing is missing. */
        assert_true(bucket_take(&again, (now_s + bucket_fill_s(&again)) * NS, &wait_s, &left));
        assert_int_equal(left, capacity - 1);
    }
}

/* Entries --------------------------------------------------------------------------------------
 */

static int64_t noted(void)
{
    int64_t number = 0, at_s = 0;
    struct err err = {0};
    rig_stop(&rig);
    struct ledger *ledger = rig_ledger(&rig);
    enum rc rc = ledger_note_latest(ledger, rig.record[0].id, LEDGER_REFUSAL, "rate-limited",
                                    &number, &at_s, &err);
    ledger_close(&ledger);
    assert_int_equal(rig_open(&rig), RC_OK);
    return rc == RC_OK ? number : 0;
}

static void refusals_are_entries(void **state)
{
    (void)state;
    struct err err = {0};
    begin(TIME_PLAN, &(struct key_limits){.burst = 2, .per_hour = 1});
    assert_int_equal(take_all("modest"), 2);
    for (int i = 0; i < 6; i++)
        (void)sign("modest");
    assert_int_equal(signer_watch(rig.signer, &err), RC_OK);
    /* One for all of them; the next ones wait for their minute. */
    (void)sign("incident");
    assert_int_equal(signer_watch(rig.signer, &err), RC_OK);
    fake_clock_set(&rig.fake, START + DAY + 30);
    assert_int_equal(signer_watch(rig.signer, &err), RC_OK);
    assert_int_equal(noted(), 7);
    (void)sign("incident");
    (void)sign("incident");
    assert_int_equal(signer_watch(rig.signer, &err), RC_OK);
    assert_int_equal(noted(), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, end)
    const struct CMUnitTest tests[] = {
        TEST(share_of_a_window),    TEST(share_of_a_release),
        TEST(reserve_is_kept),      TEST(reserve_after_a_crash),
        TEST(reserve_within_a_cap), TEST(no_reserve_in_intervals),
        TEST(tokens_of_callers),    TEST(many_callers),
        TEST(tokens_of_the_key),    TEST(both_or_none),
        TEST(refusals_are_entries), cmocka_unit_test(replay_gives_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
