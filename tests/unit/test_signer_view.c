/*
 * What the signer tells about itself, after random lives of keys of every kind: the numbers of each
 * window are the sums of the states of its indices, those of the key the sums of its windows, and
 * every signature that was given out is found again.
 *
 * Options: test_signer_view [seed [rounds]]; a failure prints the seed.
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

#include "lib/signer_rig.h"
#include "signer/recover.h"

#define DAY INT64_C(86400)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define INDICES 32
#define KINDS 4

static const char *const plans[KINDS] = {
    RIG_PLAN("k", "raw",
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"
             "'signatures_per_window':8,'lease_size':3}"),
    RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':3,'lease_size':2}"),
    RIG_PLAN("k", "raw",
             "{'kind':'version','format':'major.minor','sizes':{'minor':3},'slots':['a','b'],"
             "'window':'major','order':'strict','max_jump':8}"),
    RIG_PLAN("k", "raw",
             "{'kind':'version','format':'major.minor.patch','sizes':{'minor':2,'patch':3},"
             "'slots':['a','b'],'window':'minor','order':'per-line','max_jump':8}")};

static uint64_t first_seed = 1;
static uint64_t rounds = 24;
static struct rig rig;

/* Random numbers ----------------------------------------------------------------------------------
 */

static uint64_t state_of_chance;

static uint64_t chance(uint64_t below)
{
    state_of_chance += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = state_of_chance;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

/* Asking ------------------------------------------------------------------------------------------
 */

static void *read_list(struct request *request, struct reply *reply, enum rc expected, size_t size,
                       size_t *count)
{
    void *payload = NULL;
    size_t len = 0;
    strcpy(request->key, "k");
    signer_read(rig.signer, request, reply, &payload, &len);
    if ((enum rc)reply->rc != expected)
        fail_msg("seed %" PRIu64 ": expected %s, got %s: %s", first_seed, rc_name(expected),
                 rc_name((enum rc)reply->rc), reply->text);
    *count = len / size;
    return payload;
}

static struct view_index index_view(uint64_t index)
{
    struct request request = {.op = REQUEST_INDEX, .from = (int64_t)index};
    struct reply reply;
    size_t count = 0;
    struct view_index *v = read_list(&request, &reply, RC_OK, sizeof(*v), &count);
    assert_int_equal(count, 1);
    struct view_index copy = *v;
    free(v);
    return copy;
}

/* Judging -----------------------------------------------------------------------------------------
 */

struct sums {
    uint64_t of[INDEX_PADDING + 1];
};

/* Of all windows that were looked at: burned indices by reason. */
static uint64_t burned_by[BURN_COUNT];

static struct sums count_states(const struct view_window *w)
{
    struct sums sums = {{0}};
    for (uint64_t i = w->first_index; i < w->first_index + w->size; i++) {
        struct view_index v = index_view(i);
        assert_int_equal(v.window, w->window);
        assert_in_range(v.state, 0, INDEX_PADDING);
        sums.of[v.state]++;
        if (v.state == INDEX_BURNED) {
            assert_in_range(v.reason, 0, BURN_COUNT - 1);
            burned_by[v.reason]++;
        }
        /* Computed and yet free to use again? */
        if (oracle_has(&rig, 0, i) && v.state != INDEX_SIGNED && v.state != INDEX_BURNED)
            fail_msg("seed %" PRIu64 ": index %" PRIu64 " was computed and is called %s",
                     first_seed, i, index_state_name(v.state));
    }
    return sums;
}

static void expect_sum(const struct view_window *w, const char *what, uint64_t shown, uint64_t sum)
{
    if (shown != sum)
        fail_msg("seed %" PRIu64 ", kind %d, window %" PRIu64 " (%s): %s: %" PRIu64
                 ", but its indices say %" PRIu64,
                 first_seed, (int)rig.plan[0].kind, w->window, window_state_name(w->state), what,
                 shown, sum);
}

static void check_window(const struct view_window *w)
{
    struct sums s = count_states(w);
    expect_sum(w, "signed", w->signatures, s.of[INDEX_SIGNED]);
    expect_sum(w, "burned", w->burned, s.of[INDEX_BURNED]);
    expect_sum(w, "remaining", w->remaining, s.of[INDEX_UNUSED] + s.of[INDEX_LEASED]);
    expect_sum(w, "given up", w->given_up, s.of[INDEX_GIVEN_UP]);
    expect_sum(w, "seal and padding", w->size - w->usable, s.of[INDEX_SEAL] + s.of[INDEX_PADDING]);
}

static void check_key(uint64_t signatures, uint64_t remaining)
{
    struct request request = {.op = REQUEST_KEYS};
    struct reply reply;
    size_t count = 0;
    struct view_key *v = read_list(&request, &reply, RC_OK, sizeof(*v), &count);
    assert_int_equal(count, 1);
    assert_int_equal(v->signed_total, signatures);
    if (rig.plan[0].kind != PLAN_VERSION || rig.plan[0].order == PLAN_STRICT)
        assert_int_equal(v->remaining_key, remaining);
    free(v);
}

static uint64_t burned_forecast(void)
{
    struct request request = {.op = REQUEST_FORECAST};
    struct reply reply;
    size_t count = 0;
    struct view_forecast *v = read_list(&request, &reply, RC_OK, sizeof(*v), &count);
    assert_int_equal(count, 1);
    uint64_t total = v->burned_total;
    free(v);
    return total;
}

/* Monitors are told the same of the window that they are told about. */
static void check_meter(const struct view_window *windows)
{
    struct request request = {.op = REQUEST_METERS};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    signer_read(rig.signer, &request, &reply, &payload, &len);
    assert_int_equal(reply.rc, RC_OK);
    assert_int_equal(len, sizeof(struct view_meters) + sizeof(struct view_meter));
    const struct view_meter *m = (void *)((uint8_t *)payload + sizeof(struct view_meters));
    if (m->window >= 0 && (uint64_t)m->window < rig.plan[0].window_count) {
        const struct view_window *w = &windows[m->window];
        expect_sum(w, "used (metrics)", m->used, w->signatures);
        expect_sum(w, "burned (metrics)", m->burned, w->burned);
    }
    /* Of a version plan, indices that the next start decides about are in no entry yet. */
    uint64_t burned = 0;
    for (unsigned i = 0; i < BURN_COUNT; i++) {
        burned += m->key.burned_by[i];
        if (rig.plan[0].kind != PLAN_VERSION || i != BURN_OTHER)
            expect_sum(&windows[0], burn_word(i), m->key.burned_by[i], burned_by[i]);
    }
    expect_sum(&windows[0], "burned (key)", m->key.burned_total, burned);
    expect_sum(&windows[0], "burned (forecast)", burned_forecast(), burned);
    free(payload);
}

static void check_views(void)
{
    struct request request = {.op = REQUEST_WINDOWS, .from = 0, .to = 1000};
    struct reply reply;
    size_t count = 0;
    uint64_t signatures = 0;
    uint64_t remaining = 0;
    struct view_window *windows = read_list(&request, &reply, RC_OK, sizeof(*windows), &count);
    assert_int_equal(count, rig.plan[0].window_count);
    memset(burned_by, 0, sizeof(burned_by));
    for (size_t i = 0; i < count; i++) {
        check_window(&windows[i]);
        signatures += windows[i].signatures;
        remaining += windows[i].remaining;
    }
    check_meter(windows);
    free(windows);
    check_key(signatures, remaining);
}

/* Lives -------------------------------------------------------------------------------------------
 */

static void found_again(const struct ask *a)
{
    struct request request = {.op = REQUEST_SIGNATURE};
    struct reply reply;
    size_t len = 0;
    memcpy(request.id, a->reply.signature.id, sizeof(request.id));
    uint8_t *bytes = read_list(&request, &reply, RC_OK, 1, &len);
    assert_int_equal(len, a->len);
    assert_memory_equal(bytes, a->signature, len);
    free(bytes);
    request.op = REQUEST_RECEIPT;
    char *json = read_list(&request, &reply, RC_OK, 1, &len);
    assert_true(len > 100 && json[0] == '{');
    free(json);
}

static void sign_some(uint64_t step)
{
    static struct ask asks[5];
    static char names[5][VERSION_LEN_MAX + 1];
    static char slots[2][2] = {"a", "b"};
    size_t count = 1 + chance(5);
    bool by_version = rig.plan[0].kind == PLAN_VERSION;
    for (size_t i = 0; i < count; i++) {
        memset(&asks[i], 0, offsetof(struct ask, signature));
        uint64_t index = chance(INDICES);
        char slot[NAME_LEN_MAX + 1];
        if (!by_version ||
            plan_version_of_index(&rig.plan[0], index, names[i], slot, NULL) != RC_OK)
            (void)snprintf(names[i], sizeof(names[i]), "%s%" PRIu64, by_version ? "x" : "idem-",
                           step * 8 + i);
        asks[i].text = names[i];
        asks[i].version = by_version ? names[i] : NULL;
        asks[i].idem = by_version ? NULL : names[i];
        asks[i].slot = by_version ? slots[chance(2)] : NULL;
    }
    if (rig_sign(&rig, asks, count) != RC_OK)
        rig_reopen(&rig);
    for (size_t i = 0; i < count; i++)
        if (asks[i].rc == RC_OK)
            found_again(&asks[i]);
}

static void go_to_the_next_window(void)
{
    struct err err = {0};
    struct recover_plan plan;
    void *tpm = NULL;
    signer_close(&rig.signer, false);
    struct ledger *ledger = rig_ledger(&rig);
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    enum rc rc = recover_here_plan(key, &rig.fake.world, ledger, -1, &plan, &err);
    if (rc == RC_OK)
        assert_int_equal(recover_here(key, &rig.fake.world, ledger, &plan, NULL, &err), RC_OK);
    else
        assert_int_equal(rc, RC_REFUSED_EXHAUSTED);
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
    assert_int_equal(rig_open(&rig), RC_OK);
}

static void live(uint64_t step)
{
    switch (chance(8)) {
    case 0:
        fake_clock_set(&rig.fake, rig.fake.now_ns / 1000000000 + (int64_t)chance(5) * DAY);
        break;
    case 1:
        fake_tpm_fail(&rig.fake, 1 + chance(8), (enum fake_fault)(1 + chance(3)));
        sign_some(step);
        fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
        rig_reopen(&rig);
        break;
    case 2:
        rig_stop(&rig);
        assert_int_equal(rig_open(&rig), RC_OK);
        break;
    case 3:
        if (chance(4) == 0)
            go_to_the_next_window();
        break;
    default:
        sign_some(step);
    }
}

static void numbers_agree_after_random_lives(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < rounds; round++, first_seed++) {
        state_of_chance = first_seed;
        oracle_reset();
        rig_make(&rig, START + DAY, first_seed);
        rig_add_key(&rig, plans[round % KINDS], (int64_t)chance(2));
        assert_int_equal(rig_open(&rig), RC_OK);
        for (uint64_t step = 0; step < 20; step++) {
            live(step);
            assert_int_equal(rig_key_rc(&rig, 0), RC_OK);
            if (step % 4 == 0)
                check_views();
        }
        check_views();
        rig_end(&rig);
    }
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
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
        cmocka_unit_test_teardown(numbers_agree_after_random_lives, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
