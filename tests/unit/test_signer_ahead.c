/*
 * One-time keys that are computed ahead: the same signatures as without, nothing else is signed, a
 * damaged one burns its index, and nothing of them is left when their window is closed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/signer_rig.h"
#include "signer/ahead.h"
#include "signer/crew.h"
#include "signer/inside.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define BATCH 7

#define PLAN(key, height, assignment)                                                              \
    "{'tidemark_plan':1,'key':'" key "','profile':'sp800-208','scheme':'lms','parameters':"        \
    "['LMS_SHA256_M24_H" height                                                                    \
    "','LMOTS_SHA256_N24_W8'],'message':'raw','assignment':" assignment "}"
#define LONGER(key, assignment)                                                                    \
    "{'tidemark_plan':1,'key':'" key "','profile':'sp800-208','scheme':'lms','parameters':"        \
    "['LMS_SHA256_M32_H10','LMOTS_SHA256_N32_W8'],'message':'raw','assignment':" assignment "}"
#define LONG_WINDOW "{'kind':'interval','signatures_per_window':1024,'lease_size':512}"

static struct rig rig;
static struct ahead *ahead;

/* Spare work -----------------------------------------------------------------------------------
 */

/* Who is computing now. */
static atomic_int inside;

void __real_hbs_branch_prepare(const struct hbs_branch *branch,
                               const struct hbs_branch_preparing *jobs, size_t count);
void __wrap_hbs_branch_prepare(const struct hbs_branch *branch,
                               const struct hbs_branch_preparing *jobs, size_t count);
void __wrap_hbs_branch_prepare(const struct hbs_branch *branch,
                               const struct hbs_branch_preparing *jobs, size_t count)
{
    atomic_fetch_add(&inside, 1);
    __real_hbs_branch_prepare(branch, jobs, count);
    atomic_fetch_sub(&inside, 1);
}

/* As where RLIMIT_MEMLOCK is too low, which root does not feel. */
static bool no_locks;
static unsigned locks_refused;

int __real_mlock(const void *p, size_t len);
int __wrap_mlock(const void *p, size_t len);
int __wrap_mlock(const void *p, size_t len)
{
    if (!no_locks)
        return __real_mlock(p, len);
    locks_refused++;
    errno = ENOMEM;
    return -1;
}

/* Done at once, or left to the test. */
static bool at_once;

static void spare(void *ctx, bool (*work)(void *arg), void *arg)
{
    (void)ctx;
    while (at_once && work(arg))
        ;
}

static const struct hands one_pair = {.count = 1, .spare = spare};

static void begin(const struct hands *hands, const char *plan)
{
    struct err err = {0};
    oracle_reset();
    rig_make(&rig, START, 1);
    rig_add_key(&rig, plan, 0);
    rig.fake.world.hands = hands;
    at_once = true;
    ahead = NULL;
    if (hands != NULL)
        assert_int_equal(ahead_open(&ahead, hands, &err), RC_OK);
    rig.fake.world.ahead = ahead;
    assert_int_equal(rig_open(&rig), RC_OK);
}

static void end(void)
{
    oracle_check();
    rig_end(&rig);
    ahead_close(&ahead);
    assert_null(ahead);
}

/* Requests number first … of key 0; by version if the plan asks for it. */
static void sign(struct ask *asks, size_t first, size_t count, bool by_version)
{
    static char texts[64][16];
    static char idems[64][16];
    static char versions[64][16];
    for (size_t i = 0; i < count; i++) {
        size_t number = first + i;
        (void)snprintf(texts[number], sizeof(texts[0]), "artifact %zu", number);
        (void)snprintf(idems[number], sizeof(idems[0]), "idem-%zu", number);
        (void)snprintf(versions[number], sizeof(versions[0]), "0.%zu", number);
        memset(&asks[i], 0, sizeof(asks[i]));
        asks[i].text = texts[number];
        asks[i].idem = by_version ? NULL : idems[number];
        asks[i].version = by_version ? versions[number] : NULL;
        asks[i].slot = by_version ? "image" : NULL;
    }
    assert_int_equal(rig_sign(&rig, asks, count), RC_OK);
}

static const struct hbs_branch *branch_of(unsigned key, uint64_t window)
{
    const struct open_secret *slot = key_open_secret(&rig.signer->keys[key], window);
    assert_non_null(slot);
    assert_non_null(slot->branch);
    return slot->branch;
}

/* Batches -------------------------------------------------------------------------------------- */

static void check_same(const char *plan, bool by_version)
{
    static struct ask without[2][BATCH];
    static struct ask with[2][BATCH];
    begin(NULL, plan);
    sign(without[0], 0, BATCH, by_version);
    sign(without[1], BATCH, BATCH, by_version);
    end();
    begin(&one_pair, plan);
    sign(with[0], 0, BATCH, by_version);
    /* As many again behind them, where it is known what comes next. */
    const struct hbs_branch *branch = branch_of(0, with[0][0].window);
    uint64_t last = with[0][BATCH - 1].index;
    assert_non_null(ahead_stations(ahead, branch, last));
    for (uint64_t k = 1; k <= BATCH; k++)
        assert_int_equal(ahead_stations(ahead, branch, last + k) != NULL, !by_version);
    assert_null(ahead_stations(ahead, branch, last + BATCH + 1));
    assert_int_equal(oracle_computed(), BATCH);
    sign(with[1], BATCH, BATCH, by_version);
    assert_int_equal(oracle_computed(), 2 * BATCH);
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < BATCH; i++) {
            assert_int_equal(with[b][i].rc, RC_OK);
            assert_int_equal(with[b][i].index, without[b][i].index);
            assert_int_equal(with[b][i].len, without[b][i].len);
            assert_memory_equal(with[b][i].signature, without[b][i].signature, with[b][i].len);
        }
    end();
}

static void test_same(void **state)
{
    (void)state;
    check_same(PLAN("k", "5", "{'kind':'interval','signatures_per_window':32,'lease_size':32}"),
               false);
    check_same(PLAN("k", "5",
                    "{'kind':'version','format':'major.minor','sizes':{'minor':32},"
                    "'slots':['image'],'window':'major','order':'strict'}"),
               true);
}

/* The end of a lease is the end of what is known. */
static void test_end_of_lease(void **state)
{
    (void)state;
    static struct ask asks[3];
    begin(&one_pair,
          PLAN("k", "5", "{'kind':'interval','signatures_per_window':32,'lease_size':4}"));
    sign(asks, 0, 3, false);
    const struct hbs_branch *branch = branch_of(0, 0);
    assert_non_null(ahead_stations(ahead, branch, 3));
    assert_null(ahead_stations(ahead, branch, 4));
    end();
}

/* What was computed ahead goes bad in memory: the index is burned, no byte leaves, the next one
 * signs. */
static void test_damage(void **state)
{
    (void)state;
    static struct ask ask;
    begin(&one_pair,
          PLAN("k", "5", "{'kind':'interval','signatures_per_window':32,'lease_size':32}"));
    sign(&ask, 0, 1, false);
    assert_int_equal(ask.rc, RC_OK);
    const struct hbs_branch *branch = branch_of(0, 0);
    uint8_t *stations = (uint8_t *)(uintptr_t)ahead_stations(ahead, branch, 1);
    assert_non_null(stations);
    for (size_t i = 0; i < hbs_branch_stations_len(branch); i++)
        stations[i] ^= 0x40;
    sign(&ask, 1, 1, false);
    assert_int_equal(ask.rc, RC_BURNED_VERIFY);
    assert_int_equal(ask.len, 0);
    sign(&ask, 2, 1, false);
    assert_int_equal(ask.rc, RC_OK);
    assert_int_equal(ask.index, 2);
    end();
}

/* No memory to be locked: it is asked for once, and keys sign without. */
static void test_no_memory(void **state)
{
    (void)state;
    static struct ask asks[4];
    begin(&one_pair,
          PLAN("k", "5", "{'kind':'interval','signatures_per_window':32,'lease_size':32}"));
    no_locks = true;
    locks_refused = 0;
    for (size_t i = 0; i < 4; i++) {
        sign(asks + i, i, 1, false);
        assert_int_equal(asks[i].rc, RC_OK);
        assert_int_equal(asks[i].index, i);
        assert_null(ahead_stations(ahead, branch_of(0, 0), i));
    }
    assert_int_equal(locks_refused, 1);
    no_locks = false;
    end();
}

static bool all_zero(const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* The next window is opened: of the one before nothing is left. */
static void test_forgotten(void **state)
{
    (void)state;
    static struct ask asks[4];
    begin(&one_pair,
          PLAN("k", "5", "{'kind':'interval','signatures_per_window':4,'lease_size':4}"));
    sign(asks, 0, 2, false);
    const struct hbs_branch *branch = branch_of(0, 0);
    size_t len = hbs_branch_stations_len(branch);
    const uint8_t *stations[4];
    for (uint64_t k = 0; k < 4; k++) {
        stations[k] = ahead_stations(ahead, branch, k);
        assert_non_null(stations[k]);
        assert_false(all_zero(stations[k], len));
    }
    sign(asks, 2, 2, false);
    assert_false(all_zero(stations[3], len));
    sign(asks, 4, 1, false);
    assert_int_equal(asks[0].window, 1);
    assert_int_equal(asks[0].index, 4);
    for (size_t k = 0; k < 4; k++)
        assert_true(all_zero(stations[k], len));
    end();
}

/* The pool ------------------------------------------------------------------------------------- */

static void want(const struct hbs_branch *branch, uint64_t a, uint64_t b)
{
    const uint64_t both[2] = {a, b};
    ahead_want(ahead, branch, both, 2);
}

static void assert_ready(const struct hbs_branch *branch, uint64_t index)
{
    uint8_t expected[HBS_STATIONS_MAX];
    const struct hbs_branch_preparing job = {index, expected};
    const uint8_t *stations = ahead_stations(ahead, branch, index);
    assert_non_null(stations);
    hbs_branch_prepare(branch, &job, 1);
    assert_memory_equal(stations, expected, hbs_branch_stations_len(branch));
}

static void begin_two(const struct hands *hands, const struct hbs_branch *branches[2])
{
    static struct ask ask;
    begin(hands, PLAN("a", "10", LONG_WINDOW));
    rig_stop(&rig);
    rig_add_key(&rig, LONGER("b", LONG_WINDOW), 0);
    assert_int_equal(rig_open(&rig), RC_OK);
    for (unsigned key = 0; key < 2; key++) {
        memset(&ask, 0, sizeof(ask));
        ask.key = key;
        ask.idem = "one";
        ask.text = "artifact";
        assert_int_equal(rig_sign(&rig, &ask, 1), RC_OK);
        assert_int_equal(ask.rc, RC_OK);
        branches[key] = branch_of(key, 0);
        ahead_forget(ahead, branches[key]);
    }
    at_once = false;
}

/* A place is given to another key, for which nothing is computed then: the values of the one before
 * go with their branch all the same. And a shorter set leaves nothing of a longer one behind. */
static void test_given_away(void **state)
{
    (void)state;
    const struct hbs_branch *b[2];
    begin_two(&one_pair, b);
    size_t len = hbs_branch_stations_len(b[0]);
    size_t longer = hbs_branch_stations_len(b[1]);
    assert_true(len < longer);
    for (int other = 0; other < 2; other++) {
        want(b[0], 3, 4);
        (void)ahead_work(ahead);
        const uint8_t *values = ahead_stations(ahead, b[0], 3);
        assert_non_null(values);
        assert_false(all_zero(values, len));
        for (int call = 0; call < AHEAD_STALE && other == 1; call++)
            want(b[1], 10, 11);
        want(b[other], other == 0 ? 3 + AHEAD_KEYS : 3, 12);
        assert_null(ahead_stations(ahead, b[other], other == 0 ? 3 + AHEAD_KEYS : 3));
        assert_null(ahead_stations(ahead, b[0], 3));
        assert_false(all_zero(values, len));
        ahead_forget(ahead, b[0]);
        assert_true(all_zero(values, longer));
        ahead_forget(ahead, b[1]);
    }
    want(b[1], 3, 4);
    (void)ahead_work(ahead);
    const uint8_t *values = ahead_stations(ahead, b[1], 3);
    assert_non_null(values);
    assert_false(all_zero(values + len, longer - len));
    for (int call = 0; call < AHEAD_STALE; call++)
        want(b[0], 3, 4);
    (void)ahead_work(ahead);
    assert_ready(b[0], 3);
    assert_true(all_zero(values + len, longer - len));
    end();
}

static void test_pool(void **state)
{
    (void)state;
    const struct hbs_branch *b[2];
    begin_two(&one_pair, b);
    /* Nothing is ready before it was made, and what was asked for in vain is not made any more. */
    want(b[0], 3, 4);
    assert_null(ahead_stations(ahead, b[0], 3));
    assert_false(ahead_work(ahead));
    assert_null(ahead_stations(ahead, b[0], 3));
    assert_ready(b[0], 4);
    assert_null(ahead_stations(ahead, b[1], 4));
    assert_false(ahead_work(ahead));
    /* What is wanted anew takes the place of what was wanted and not begun. */
    want(b[0], 7, 8);
    want(b[0], 4, 9);
    assert_false(ahead_work(ahead));
    assert_null(ahead_stations(ahead, b[0], 7));
    assert_ready(b[0], 4);
    assert_ready(b[0], 9);
    /* Two that share a place: the first one of a call has it, and the next call gives it away. */
    want(b[0], 5, 5 + AHEAD_KEYS);
    assert_false(ahead_work(ahead));
    assert_ready(b[0], 5);
    assert_null(ahead_stations(ahead, b[0], 5 + AHEAD_KEYS));
    want(b[0], 5 + AHEAD_KEYS, 6);
    assert_false(ahead_work(ahead));
    assert_ready(b[0], 5 + AHEAD_KEYS);
    assert_null(ahead_stations(ahead, b[0], 5));
    /* Another key does not push out what is fresh, only what nobody has come back for. */
    for (int call = 1; call < AHEAD_STALE; call++) {
        want(b[1], 6, 7);
        (void)ahead_work(ahead);
        assert_ready(b[0], 6);
        assert_ready(b[1], 7);
    }
    want(b[1], 6, 7);
    (void)ahead_work(ahead);
    assert_ready(b[1], 6);
    assert_null(ahead_stations(ahead, b[0], 6));
    ahead_forget(ahead, b[1]);
    assert_null(ahead_stations(ahead, b[1], 6));
    assert_ready(b[0], 4);
    /* Nobody computes ahead: the same calls do nothing. */
    ahead_want(NULL, b[0], &(uint64_t){1}, 1);
    assert_null(ahead_stations(NULL, b[0], 1));
    ahead_forget(NULL, b[0]);
    end();
}

/* Many hands: whatever is ready is right, and nobody works on what is forgotten. */
static void test_hands(void **state)
{
    (void)state;
    struct crew *crew = NULL;
    struct err err = {0};
    const struct hbs_branch *b[2];
    assert_int_equal(crew_open(&crew, &err), RC_OK);
    begin_two(crew_hands(crew), b);
    size_t ready = 0;
    for (unsigned round = 0; round < 300; round++) {
        const struct hbs_branch *branch = b[round / 7 % 2];
        uint64_t first = round * 5 % 400;
        uint64_t indices[20];
        for (size_t i = 0; i < 20; i++)
            indices[i] = first + i;
        ahead_want(ahead, branch, indices, 20);
        if (round % 3 == 0)
            (void)usleep(5000);
        /* The last first: mostly it is asked for before anybody has come to it. */
        for (size_t i = 20; i-- > 0 && round % 3 != 1;)
            if (ahead_stations(ahead, branch, indices[i]) != NULL) {
                assert_ready(branch, indices[i]);
                ready++;
            }
        if (round % 11 != 0)
            continue;
        /* Everything that is wanted is forgotten, while somebody computes. */
        ahead_forget(ahead, b[0]);
        ahead_forget(ahead, b[1]);
        assert_int_equal(atomic_load(&inside), 0);
        ahead_want(ahead, branch, indices, 20);
        for (int tries = 0; tries < 2000 && atomic_load(&inside) == 0; tries++)
            (void)usleep(50);
        ahead_forget(ahead, branch);
        assert_int_equal(atomic_load(&inside), 0);
        for (size_t i = 0; i < 20; i++)
            assert_null(ahead_stations(ahead, branch, indices[i]));
    }
    assert_true(ready > 0);
    crew_close(&crew);
    rig.fake.world.hands = NULL;
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),      cmocka_unit_test(test_end_of_lease),
        cmocka_unit_test(test_damage),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_forgotten), cmocka_unit_test(test_given_away),
        cmocka_unit_test(test_pool),      cmocka_unit_test(test_hands),
    };
    return cmocka_run_group_tests_name("signer: ahead", tests, NULL, NULL);
}
