/*
 * Keys that run out, on a fake world: the forecast, the warning at two levels, and that nothing new
 * is signed behind one before an operator has typed its sentence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/signer_rig.h"
#include "policy/forecast.h"

#define DAY INT64_C(86400)
#define YEAR INT64_C(31556952)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */

/* 32 one-time keys in eight windows of 4. */
#define INTERVAL_PLAN                                                                              \
    RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':4,'lease_size':2}")
#define VERSION_PLAN                                                                               \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':2},"       \
             "'slots':['a','b'],'window':'minor','order':'strict','max_jump':8}")
#define TIME_PLAN                                                                                  \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':8,'lease_size':2}")

static struct rig rig;

static void begin(const char *plan, uint32_t ack_percent)
{
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig.config.settings.ack_percent = ack_percent;
    rig_add_key(&rig, plan, 0);
    assert_int_equal(rig_open(&rig), RC_OK);
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

static struct ask *one(unsigned number, enum rc expected)
{
    static struct ask a;
    static char idem[32];
    memset(&a, 0, offsetof(struct ask, signature));
    (void)snprintf(idem, sizeof(idem), "key-%u", number);
    a.idem = idem;
    a.text = idem;
    rig_ask(&rig, &a, expected);
    return &a;
}

/* What the loop does every half second. */
static void watch(void)
{
    struct err err = {0};
    assert_int_equal(signer_watch(rig.signer, &err), RC_OK);
}

/* What monitors are told of the one key. */
static struct view_meter meter(void)
{
    struct request request = {.op = REQUEST_METERS};
    struct reply reply;
    struct view_meter m;
    void *payload = NULL;
    size_t len = 0;
    signer_read(rig.signer, &request, &reply, &payload, &len);
    assert_int_equal(reply.rc, RC_OK);
    assert_int_equal(len, sizeof(struct view_meters) + sizeof(m));
    memcpy(&m, (const uint8_t *)payload + sizeof(struct view_meters), sizeof(m));
    free(payload);
    return m;
}

static size_t warnings(struct view_warning *first)
{
    struct request request = {.op = REQUEST_WARNINGS};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    signer_read(rig.signer, &request, &reply, &payload, &len);
    assert_int_equal(reply.rc, RC_OK);
    assert_int_equal(len % sizeof(*first), 0);
    memset(first, 0, sizeof(*first));
    if (len > 0)
        memcpy(first, payload, sizeof(*first));
    free(payload);
    return len / sizeof(*first);
}

static const char *who = "anna";

static enum rc acknowledge(uint64_t id, const char *sentence)
{
    struct request request = {.op = REQUEST_WARNING_ACK, .from = (int64_t)id};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    struct err err = {0};
    strcpy(request.requester, who);
    strcpy(request.sentence, sentence);
    assert_int_equal(signer_acknowledge(rig.signer, &request, &reply, &payload, &len, &err), RC_OK);
    free(payload);
    return (enum rc)reply.rc;
}

static uint32_t state_of_service(void)
{
    struct request request = {.op = REQUEST_STATE};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    signer_read(rig.signer, &request, &reply, &payload, &len);
    return reply.state;
}

static struct view_forecast forecast(void)
{
    struct request request = {.op = REQUEST_FORECAST, .key = "k"};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    signer_read(rig.signer, &request, &reply, &payload, &len);
    assert_int_equal(reply.rc, RC_OK);
    assert_int_equal(len, sizeof(struct view_forecast));
    struct view_forecast v = *(const struct view_forecast *)payload;
    free(payload);
    return v;
}

/* Levels ---------------------------------------------------------------------------------------
 */

static void levels(void **state)
{
    (void)state;
    assert_int_equal(forecast_level(1000, 101, 10), 0);
    assert_int_equal(forecast_level(1000, 100, 10), 10);
    assert_int_equal(forecast_level(1000, 11, 10), 10);
    assert_int_equal(forecast_level(1000, 10, 10), 1);
    assert_int_equal(forecast_level(1000, 0, 10), 1);
    assert_int_equal(forecast_level(1000, 0, 0), 0);
    assert_int_equal(forecast_level(1000, 10, 5), 1);
    assert_int_equal(forecast_level(1000, 1000, 100), 100);
    assert_int_equal(forecast_level(UINT64_MAX, UINT64_MAX / 10, 10), 10);
    assert_int_equal(forecast_level_left(UINT64_MAX, 100), UINT64_MAX);
}

static void projections(void **state)
{
    (void)state;
    struct forecast f;
    struct forecast_past p = {.total = 1000,
                              .left = 500,
                              .since_s = 0,
                              .now_s = 1000 * DAY,
                              .recent = 100,
                              .recent_s = 10 * DAY,
                              .window_left = 20,
                              .window_end_s = FORECAST_UNKNOWN,
                              .plan_end_s = FORECAST_UNKNOWN};
    forecast_project(&p, &f);
    assert_int_equal(f.exhausted_s, p.now_s + 50 * DAY);
    assert_int_equal(f.window_full_s, p.now_s + 2 * DAY);
    assert_int_equal(f.per_year, YEAR / DAY * 10 + 2); /* 365.2425 days */
    /* Slow of late, but skipped ones went faster. */
    p.recent = 1;
    forecast_project(&p, &f);
    assert_int_equal(f.exhausted_s, p.now_s + 1000 * DAY);
    /* A time plan ends by itself, and its window before it is full. */
    p.plan_end_s = p.now_s + 30 * DAY;
    p.window_end_s = p.now_s + DAY;
    forecast_project(&p, &f);
    assert_int_equal(f.exhausted_s, p.plan_end_s);
    assert_int_equal(f.window_full_s, FORECAST_UNKNOWN);
    /* Nothing is known yet. */
    p = (struct forecast_past){.total = 10,
                               .left = 10,
                               .now_s = DAY,
                               .since_s = DAY,
                               .window_end_s = FORECAST_UNKNOWN,
                               .plan_end_s = FORECAST_UNKNOWN,
                               .window_left = 4};
    forecast_project(&p, &f);
    assert_int_equal(f.exhausted_s, FORECAST_UNKNOWN);
    assert_int_equal(f.per_year, FORECAST_UNKNOWN);
    /* And nothing is left. */
    p.left = 0;
    p.window_left = 0;
    forecast_project(&p, &f);
    assert_int_equal(f.exhausted_s, p.now_s);
    assert_int_equal(f.window_full_s, p.now_s);
    /* Numbers at their ends. */
    p = (struct forecast_past){.total = UINT64_MAX,
                               .left = UINT64_MAX,
                               .now_s = INT64_MAX,
                               .recent = UINT64_MAX,
                               .recent_s = INT64_MAX,
                               .window_left = UINT64_MAX,
                               .window_end_s = FORECAST_UNKNOWN,
                               .plan_end_s = FORECAST_UNKNOWN};
    forecast_project(&p, &f);
    assert_int_equal(f.exhausted_s, FORECAST_UNKNOWN);
}

/* Warnings -------------------------------------------------------------------------------------
 */

static void nothing_new_behind_a_warning(void **state)
{
    (void)state;
    struct view_warning w;
    unsigned n = 0;
    begin(INTERVAL_PLAN, 30);
    /* 32 keys: at 9 left it is less than 30 %, at 0 less than 3 %. */
    while (n < 23)
        (void)one(n++, RC_OK);
    watch();
    assert_int_equal(warnings(&w), 1);
    assert_int_equal(w.percent, 30);
    assert_false(w.acknowledged);
    assert_string_equal(w.key, "k");
    assert_int_equal(state_of_service(), STATE_ACK_REQUIRED);
    assert_int_equal(meter().unacknowledged, 1);
    struct ask *refused = one(n, RC_REFUSED_ACK);
    assert_int_equal(refused->reply.state, STATE_ACK_REQUIRED);
    /* What is signed stays to be had. */
    assert_true(one(n - 1, RC_OK)->replayed);
    /* The sentence, to the letter, and of this warning. */
    assert_int_equal(acknowledge(w.id, "yes"), RC_REFUSED_INPUT);
    assert_int_equal(acknowledge(w.id, ""), RC_REFUSED_INPUT);
    assert_int_equal(acknowledge(w.id + 1, w.sentence), RC_REFUSED_NOT_FOUND);
    (void)one(n, RC_REFUSED_ACK);
    assert_int_equal(acknowledge(w.id, w.sentence), RC_OK);
    assert_int_equal(acknowledge(w.id, w.sentence), RC_OK);
    assert_int_equal(state_of_service(), STATE_OPERATIONAL);
    assert_int_equal(meter().unacknowledged, 0);
    assert_int_equal(warnings(&w), 1);
    assert_true(w.acknowledged);
    (void)one(n++, RC_OK);
    watch();
    oracle_check();
}

static void both_survive_a_restart(void **state)
{
    (void)state;
    struct view_warning w, again;
    begin(INTERVAL_PLAN, 30);
    for (unsigned n = 0; n < 23; n++)
        (void)one(n, RC_OK);
    watch();
    watch();
    assert_int_equal(warnings(&w), 1);
    rig_reopen(&rig);
    watch();
    assert_int_equal(warnings(&again), 1);
    assert_memory_equal(&again, &w, sizeof(w)); /* no second one */
    (void)one(23, RC_REFUSED_ACK);
    assert_int_equal(acknowledge(w.id, w.sentence), RC_OK);
    rig_reopen(&rig);
    (void)one(23, RC_OK);
    /* Another configuration asks for nothing that was answered. */
    rig_stop(&rig);
    rig.config.settings.ack_percent = 60;
    assert_int_equal(rig_open(&rig), RC_OK);
    watch();
    (void)one(24, RC_OK);
    rig_stop(&rig);
    rig.config.settings.ack_percent = 0;
    assert_int_equal(rig_open(&rig), RC_OK);
    (void)one(25, RC_OK);
}

static void the_second_level(void **state)
{
    (void)state;
    struct view_warning first, second;
    unsigned n = 0;
    begin(INTERVAL_PLAN, 90);
    while (n < 4)
        (void)one(n++, RC_OK);
    watch();
    assert_int_equal(warnings(&first), 1);
    (void)one(n, RC_REFUSED_ACK);
    assert_int_equal(acknowledge(first.id, first.sentence), RC_OK);
    while (n < 30)
        (void)one(n++, RC_OK);
    (void)one(n, RC_REFUSED_ACK);
    watch();
    assert_int_equal(warnings(&second), 1);
    assert_int_equal(second.percent, 9);
    assert_false(second.acknowledged);
    assert_int_equal(acknowledge(first.id, first.sentence), RC_REFUSED_NOT_FOUND);
    assert_int_equal(acknowledge(second.id, first.sentence), RC_REFUSED_INPUT);
    assert_int_equal(acknowledge(second.id, second.sentence), RC_OK);
    while (n < 32)
        (void)one(n++, RC_OK);
    (void)one(n, RC_REFUSED_EXHAUSTED);
}

/* A preview says so too, and a batch does for each. */
static void versions_that_are_skipped_count(void **state)
{
    (void)state;
    struct ask a = {.version = "1.2.0", .slot = "a", .text = "x"};
    begin(VERSION_PLAN, 40);
    rig_ask(&rig, &a, RC_OK);
    struct ask b = {.version = "1.2.1", .slot = "a", .text = "x"};
    rig_ask(&rig, &b, RC_REFUSED_ACK);
    struct request look = {.magic = REQUEST_MAGIC,
                           .op = REQUEST_PREVIEW,
                           .by = REQUEST_BY_VERSION,
                           .key = "k",
                           .version = "1.2.1",
                           .slot = "a"};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    signer_read(rig.signer, &look, &reply, &payload, &len);
    assert_int_equal(reply.rc, RC_REFUSED_ACK);
    rig_ask(&rig, &a, RC_OK);
    assert_true(a.replayed);
}

static void an_acknowledgement_that_is_cut_off(void **state)
{
    (void)state;
    struct view_warning w;
    begin(INTERVAL_PLAN, 90);
    for (unsigned n = 0; n < 4; n++)
        (void)one(n, RC_OK);
    watch();
    assert_int_equal(warnings(&w), 1);
    assert_int_equal(acknowledge(w.id, w.sentence), RC_OK);
    rig_crash(&rig);
    assert_int_equal(rig_open(&rig), RC_OK);
    /* It was committed before it counted. */
    (void)one(4, RC_OK);
}

/* An operator of one key has no say about another, an approver about none. */
static void operators_keep_to_their_keys(void **state)
{
    (void)state;
    static struct access table;
    struct view_warning w;
    begin(INTERVAL_PLAN, 90);
    for (unsigned n = 0; n < 4; n++)
        (void)one(n, RC_OK);
    watch();
    assert_int_equal(warnings(&w), 1);
    table = (struct access){.identity_count = 3, .rule_count = 2};
    table.identities[0] = (struct access_identity){.name = "anna", .roles = ROLE_OPERATOR};
    table.identities[1] = (struct access_identity){.name = "bea", .roles = ROLE_OPERATOR};
    table.identities[2] =
        (struct access_identity){.name = "cleo", .roles = ROLE_APPROVER, .every_key = true};
    table.rules[0] = (struct access_rule){.identity = 0, .key = "other"};
    table.rules[1] = (struct access_rule){.identity = 1, .key = "k"};
    rig.config.access = &table;
    static const char *const outside[] = {"anna", "cleo", "uid:0"};
    for (size_t i = 0; i < 3; i++) {
        who = outside[i];
        assert_int_equal(acknowledge(w.id, w.sentence), RC_REFUSED_ACCESS);
        assert_int_equal(acknowledge(w.id, "yes"), RC_REFUSED_ACCESS);
        assert_int_equal(state_of_service(), STATE_ACK_REQUIRED);
    }
    who = "bea";
    assert_int_equal(acknowledge(w.id, w.sentence), RC_OK);
    assert_int_equal(state_of_service(), STATE_OPERATIONAL);
    who = "anna";
}

/* Forecast -------------------------------------------------------------------------------------
 */

static void forecasts(void **state)
{
    (void)state;
    begin(TIME_PLAN, 0);
    struct view_forecast v = forecast();
    assert_int_equal(v.recent, 0);
    assert_int_equal(v.per_year, REQUEST_NONE);
    assert_int_equal(v.window, 0);
    assert_true(v.plan_ends_s > START);
    assert_int_equal(v.exhausted_s, v.plan_ends_s);
    (void)one(0, RC_OK);
    (void)one(1, RC_OK);
    fake_clock_set(&rig.fake, START + 2 * DAY);
    v = forecast();
    assert_int_equal(v.recent, 2);
    assert_int_equal(v.recent_s, DAY);
    assert_int_equal(v.per_year, 2 * YEAR / DAY);
    assert_int_equal(v.remaining_window, 5);
    assert_int_equal(v.window_full_s, START + 2 * DAY + 5 * DAY / 2);
    assert_int_equal(v.signed_total, 2);
    assert_int_equal(v.waits_percent, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, end)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels),
        cmocka_unit_test(projections),
        TEST(nothing_new_behind_a_warning),
        TEST(both_survive_a_restart),
        TEST(the_second_level),
        TEST(versions_that_are_skipped_count),
        TEST(an_acknowledgement_that_is_cut_off),
        TEST(operators_keep_to_their_keys),
        TEST(forecasts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
