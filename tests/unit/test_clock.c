/* The clock without chronyd: every reason, every boundary, every byte of a reply. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/secmem.h"
#include "base/text.h"
#include "clock/chrony.h"
#include "clock/clock.h"

#define SECOND INT64_C(1000000000)
#define MS INT64_C(1000000)
#define NOW_S INT64_C(1796515200) /* 2026-12-06 */

static const struct clk_policy test_policy = {
    .address = "127.0.0.1",
    .port = 323,
    .max_error_ms = 250,
    .max_age_s = 512,
    .max_stratum = 4,
    .warmup = 1,
    .guard_ms = 2000,
    .kernel_witness = true,
};

static const struct clk_evidence good = {
    .real_ns = NOW_S * SECOND,
    .raw_ns = 1000 * SECOND,
    .query_ns = 0,
    .replied = true,
    .tracking = {.ref_id = 0xc0000201,
                 .stratum = 2,
                 .leap = 0,
                 .ref_time_ns = (NOW_S - 10) * SECOND,
                 .correction_s = 0.001,
                 .root_delay_s = 0.02,
                 .root_dispersion_s = 0.005},
    .kernel_asked = true,
    .kernel_maxerror_us = 20000,
};

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* TEST_SEED repeats a run or tries another one. */
static void seed_random(void)
{
    const char *text = getenv("TEST_SEED");
    uint64_t seed = 0;
    if (text == NULL || !text_to_u64(&seed, text, UINT64_MAX) || seed == 0)
        seed = 20261206;
    print_message("TEST_SEED=%" PRIu64 "\n", seed);
    random_state = seed;
}

static void expect_reasons(const char *name, uint32_t seen, uint32_t expected)
{
    if (seen == expected)
        return;
    char a[CLK_REASONS_SIZE];
    char b[CLK_REASONS_SIZE];
    clk_reasons_print(seen, a, sizeof(a));
    clk_reasons_print(expected, b, sizeof(b));
    fail_msg("%s: \"%s\" instead of \"%s\"", name, a, b);
}

/* One line a case: what is different from `good`, and which reasons that must give. */
#define CASE(text, expected, ...)                                                                  \
    if (at++ == n) {                                                                               \
        __VA_ARGS__;                                                                               \
        *name = text;                                                                              \
        return expected;                                                                           \
    }

static uint32_t judge_case(size_t n, const char **name, struct clk_evidence *e,
                           struct clk_policy *p)
{
    const uint32_t no_reply = CLK_REASON(CLK_NO_REPLY);
    const uint32_t bad_input = CLK_REASON(CLK_BAD_INPUT);
    const uint32_t leap3 = CLK_REASON(CLK_LEAP3);
    const uint32_t local_ref = CLK_REASON(CLK_LOCAL_REF);
    const uint32_t stratum = CLK_REASON(CLK_STRATUM);
    const uint32_t is_stale = CLK_REASON(CLK_STALE);
    const uint32_t err_big = CLK_REASON(CLK_ERR_BIG);
    const uint32_t kernel = CLK_REASON(CLK_KERNEL_UNSYNC);
    const uint32_t warmup = CLK_REASON(CLK_WARMUP);
    const uint32_t step = CLK_REASON(CLK_STEP);
    const uint32_t range = CLK_REASON(CLK_RANGE);
    struct clk_tracking *t = &e->tracking;
    size_t at = 0;

    CASE("good", 0, (void)e)
    CASE("no reply", no_reply, e->replied = false)
    CASE("malformed", bad_input, e->replied = false, e->malformed = true)
    CASE("malformed and replied", bad_input, e->malformed = true)

    CASE("leap 1", 0, t->leap = 1)
    CASE("leap 2", 0, t->leap = 2)
    CASE("leap 3", leap3, t->leap = 3)
    CASE("leap 65535", leap3, t->leap = 65535)
    CASE("reference id 0", leap3, t->ref_id = 0)
    CASE("just started", leap3, t->leap = 3, t->ref_id = 0, t->stratum = 0, t->ref_time_ns = 0,
         t->root_delay_s = 1, t->root_dispersion_s = 1, t->own_device = true)

    CASE("local", local_ref, t->ref_id = 0x7f7f0101, t->own_device = true)
    CASE("local by its number only", local_ref, t->ref_id = 0x7f7f0101)
    CASE("local allowed", 0, t->ref_id = 0x7f7f0101, t->own_device = true,
         p->allow_local_refid = true)
    CASE("reference clock", local_ref, t->ref_id = 0x50505300, t->own_device = true)
    CASE("reference clock allowed", 0, t->ref_id = 0x50505300, t->own_device = true,
         p->allow_local_refid = true)
    CASE("a server on this host", 0, t->ref_id = 0x7f000001)

    CASE("stratum 0", stratum, t->stratum = 0)
    CASE("stratum 1", 0, t->stratum = 1)
    CASE("stratum 4", 0, t->stratum = 4)
    CASE("stratum 5", stratum, t->stratum = 5)
    CASE("stratum 65535", stratum, t->stratum = 65535)

    CASE("age at the limit", 0, t->correction_s = 0, t->ref_time_ns = (NOW_S - 512) * SECOND)
    CASE("age over the limit", is_stale, t->correction_s = 0,
         t->ref_time_ns = (NOW_S - 512) * SECOND - 1)
    CASE("clock behind: older than it looks", is_stale, t->correction_s = 0.125,
         t->ref_time_ns = (NOW_S - 512) * SECOND + 120 * MS)
    CASE("clock ahead: younger than it looks", 0, t->correction_s = -0.125,
         t->ref_time_ns = (NOW_S - 512) * SECOND - 120 * MS)
    CASE("future at the limit", 0, t->correction_s = 0, t->ref_time_ns = (NOW_S + 2) * SECOND)
    CASE("future over the limit", is_stale, t->correction_s = 0,
         t->ref_time_ns = (NOW_S + 2) * SECOND + 1)
    CASE("reference time never set", is_stale, t->ref_time_ns = 0)
    CASE("reference time absurdly early", is_stale, t->ref_time_ns = INT64_MIN)
    CASE("reference time absurdly late", is_stale, t->ref_time_ns = INT64_MAX)

    CASE("bound at the limit", 0, t->correction_s = 0.0625, t->root_delay_s = 0.125,
         t->root_dispersion_s = 0.125)
    CASE("bound over the limit: query", err_big, t->correction_s = 0.0625, t->root_delay_s = 0.125,
         t->root_dispersion_s = 0.125, e->query_ns = 1)
    CASE("bound over the limit: correction", err_big, t->correction_s = -0.251)
    CASE("bound over the limit: delay", err_big, t->root_delay_s = 0.5)
    CASE("bound over the limit: dispersion", err_big, t->root_dispersion_s = 0.75)
    CASE("bound at the limit: query", 0, t->correction_s = 0, t->root_delay_s = 0,
         t->root_dispersion_s = 0, e->query_ns = 250 * MS)
    CASE("query took for ever", err_big, e->query_ns = INT64_MAX)
    CASE("an hour off", err_big, t->correction_s = 3600, t->ref_time_ns += 3600 * SECOND)
    CASE("limit above the ceiling", 0, p->max_error_ms = INT64_MAX, t->root_delay_s = 0,
         t->correction_s = 0, t->root_dispersion_s = 60)
    CASE("bound above the ceiling", err_big, p->max_error_ms = INT64_MAX, t->root_delay_s = 0,
         t->correction_s = 0, t->root_dispersion_s = 60, e->query_ns = 1)
    CASE("limit below zero", err_big | kernel, p->max_error_ms = INT64_MIN / MS)

    CASE("correction NaN", bad_input, t->correction_s = (double)NAN)
    CASE("delay NaN", bad_input, t->root_delay_s = (double)NAN)
    CASE("dispersion NaN", bad_input, t->root_dispersion_s = (double)NAN)
    CASE("correction -inf", bad_input, t->correction_s = -(double)INFINITY)
    CASE("delay inf", bad_input, t->root_delay_s = (double)INFINITY)
    CASE("dispersion 1e300", bad_input, t->root_dispersion_s = 1e300)
    CASE("delay below zero", bad_input, t->root_delay_s = -1e-9)
    CASE("dispersion below zero", bad_input, t->root_dispersion_s = -1e-9)
    CASE("correction below zero", 0, t->correction_s = -0.001)

    CASE("kernel flag", kernel, e->kernel_unsync = true)
    CASE("kernel not asked", kernel, e->kernel_asked = false)
    CASE("kernel error at the limit", 0, e->kernel_maxerror_us = 250000)
    CASE("kernel error over the limit", kernel, e->kernel_maxerror_us = 250001)
    CASE("kernel error below zero", kernel, e->kernel_maxerror_us = -1)
    CASE("kernel not wanted", 0, p->kernel_witness = false, e->kernel_asked = false,
         e->kernel_unsync = true, e->kernel_maxerror_us = INT64_MAX)

    CASE("first second", 0, e->real_ns = CLK_REAL_S_MIN * SECOND, t->ref_time_ns = e->real_ns)
    CASE("before the first second", range, e->real_ns = CLK_REAL_S_MIN * SECOND - 1,
         t->ref_time_ns = e->real_ns)
    CASE("last second", 0, e->real_ns = CLK_REAL_S_MAX * SECOND - 1, t->ref_time_ns = e->real_ns)
    CASE("after the last second", range, e->real_ns = CLK_REAL_S_MAX * SECOND,
         t->ref_time_ns = e->real_ns)
    CASE("1970", range | is_stale, e->real_ns = 0)
    CASE("before all times", range | is_stale, e->real_ns = INT64_MIN)
    CASE("after all times", range | is_stale, e->real_ns = INT64_MAX)

    CASE("apart by all 64 bits", range | is_stale, e->real_ns = INT64_MIN,
         t->ref_time_ns = INT64_MAX)

    CASE("raw clock went backwards in the query", step, e->query_ns = -1)
    CASE("first of two", warmup, p->warmup = 2)
    CASE("warm-up of none", 0, p->warmup = 0)

    CASE("several at once", stratum | is_stale | err_big | kernel, t->stratum = 9,
         t->ref_time_ns = 1, t->root_delay_s = 2, e->kernel_unsync = true)
    CASE("no reply and no kernel", no_reply | kernel, e->replied = false, e->kernel_unsync = true)
    *name = NULL;
    return 0;
}

static void test_judge_each_reason(void **unused)
{
    (void)unused;
    uint32_t provoked = 0;
    for (size_t n = 0;; n++) {
        struct clk_state state = {0};
        struct clk_evidence e = good;
        struct clk_policy p = test_policy;
        struct clk_reading r;
        const char *name = NULL;
        uint32_t expected = judge_case(n, &name, &e, &p);
        if (name == NULL)
            break;
        clk_judge(&state, &p, &e, &r);
        expect_reasons(name, r.reasons, expected);
        provoked |= r.reasons;
        assert_int_equal(r.safe, expected == 0);
        if (!r.safe) {
            assert_true(r.earliest_ns == e.real_ns && r.latest_ns == e.real_ns);
        } else {
            assert_true(e.real_ns - r.earliest_ns == r.error_ns);
            assert_true(r.latest_ns - e.real_ns == r.error_ns);
        }
        if (expected & (CLK_REASON(CLK_NO_REPLY) | CLK_REASON(CLK_BAD_INPUT))) {
            assert_true(r.error_ns == INT64_MAX);
            assert_true(r.ref_id == 0 && r.stratum == 0);
        }
    }
    /* What comes behind range is the machine's to say (test_clock_machine). */
    assert_int_equal(provoked, (CLK_REASON(CLK_RANGE) << 1) - 1);
}

static void test_judge_interval(void **unused)
{
    (void)unused;
    struct clk_state state = {0};
    struct clk_evidence e = good;
    struct clk_reading r;
    e.tracking.correction_s = -0.0625;
    e.tracking.root_delay_s = 0.03125;
    e.tracking.root_dispersion_s = 0.0078125;
    e.query_ns = 77;
    clk_judge(&state, &test_policy, &e, &r);
    assert_true(r.safe);
    assert_true(r.error_ns == 62500000 + 15625000 + 7812500 + 77);
    assert_true(r.earliest_ns == e.real_ns - r.error_ns);
    assert_true(r.latest_ns == e.real_ns + r.error_ns);
    assert_int_equal(r.ref_id, 0xc0000201);
    assert_int_equal(r.stratum, 2);

    /* The bound is rounded up, and known also where it is too big. */
    e.tracking.root_dispersion_s = 1.0 + 1e-10;
    clk_judge(&state, &test_policy, &e, &r);
    assert_false(r.safe);
    assert_true(r.error_ns == 62500000 + 15625000 + SECOND + 1 + 77);
}

/* Warm-up and steps: samples in a row. */

struct row {
    struct clk_state state;
    struct clk_policy policy;
    struct clk_evidence e;
    struct clk_reading r;
};

static void row_start(struct row *row, uint32_t warmup)
{
    *row = (struct row){.policy = test_policy, .e = good};
    row->policy.warmup = warmup;
}

/* The next sample, a second later; update: a new reference time came with it. */
static void row_next(struct row *row, bool update, const char *name, uint32_t expected)
{
    row->e.real_ns += SECOND;
    row->e.raw_ns += SECOND;
    if (update)
        row->e.tracking.ref_time_ns = row->e.real_ns - 300 * MS;
    clk_judge(&row->state, &row->policy, &row->e, &row->r);
    expect_reasons(name, row->r.reasons, expected);
}

static void test_warmup_counts_updates(void **unused)
{
    (void)unused;
    struct row row;
    row_start(&row, 3);
    row_next(&row, true, "first", CLK_REASON(CLK_WARMUP));
    for (int i = 0; i < 20; i++)
        row_next(&row, false, "no news", CLK_REASON(CLK_WARMUP));
    row_next(&row, true, "second", CLK_REASON(CLK_WARMUP));
    row_next(&row, false, "no news", CLK_REASON(CLK_WARMUP));
    row_next(&row, true, "third", 0);
    assert_int_equal(row.state.fresh, 3);
    row_next(&row, false, "still", 0);

    /* chronyd blurs the reference time: a new one may be earlier than the last. */
    row_start(&row, 2);
    row_next(&row, true, "first", CLK_REASON(CLK_WARMUP));
    row.e.tracking.ref_time_ns -= 400 * MS;
    row_next(&row, false, "earlier, but new", 0);

    row_start(&row, 2);
    row.state.fresh = UINT32_MAX;
    row_next(&row, true, "the count does not wrap", 0);
    assert_true(row.state.fresh == UINT32_MAX);
}

static void test_warmup_restarts(void **unused)
{
    (void)unused;
    const uint32_t warmup = CLK_REASON(CLK_WARMUP);
    struct row row;
    row_start(&row, 2);
    row_next(&row, true, "first", warmup);
    row.e.replied = false;
    row_next(&row, false, "gap", CLK_REASON(CLK_NO_REPLY));
    row.e.replied = true;
    row_next(&row, false, "the old update does not count", warmup);
    assert_int_equal(row.state.fresh, 0);
    row_next(&row, true, "one", warmup);
    row_next(&row, true, "two", 0);

    row.e.tracking.root_dispersion_s = 1;
    row_next(&row, true, "too big", CLK_REASON(CLK_ERR_BIG));
    row.e.tracking.root_dispersion_s = 0.005;
    row_next(&row, false, "seen while too big", warmup);
    assert_int_equal(row.state.fresh, 0);
    row_next(&row, true, "one", warmup);
    row.e.kernel_unsync = true;
    row_next(&row, true, "kernel", CLK_REASON(CLK_KERNEL_UNSYNC));
    row.e.kernel_unsync = false;
    row_next(&row, true, "one", warmup);
    row_next(&row, true, "two", 0);

    /* A malformed report's reference time is not remembered. */
    int64_t before = row.state.last_ref_ns;
    row.e.malformed = true;
    row_next(&row, true, "malformed", CLK_REASON(CLK_BAD_INPUT));
    assert_true(row.state.last_ref_ns == before);
}

static void step_by(struct row *row, int64_t jump_ns, const char *name, uint32_t expected)
{
    row_start(row, 1);
    row_next(row, true, "before", 0);
    row->e.real_ns += jump_ns;
    row_next(row, true, name, expected);
}

static void test_step(void **unused)
{
    (void)unused;
    const uint32_t step = CLK_REASON(CLK_STEP);
    struct row row;
    /* In a second slewing moves at most a tenth of a second; 50 ms are allowed for reading. */
    step_by(&row, 150 * MS, "largest slew forwards", 0);
    step_by(&row, 150 * MS + 1, "step forwards", step);
    step_by(&row, -150 * MS, "largest slew backwards", 0);
    step_by(&row, -150 * MS - 1, "step backwards", step);
    step_by(&row, 3600 * SECOND, "an hour forwards", step);
    step_by(&row, -3600 * SECOND, "an hour backwards", step);

    /* The sample of the step does not count for the new warm-up, and neither does its update. */
    assert_int_equal(row.state.fresh, 0);
    row_next(&row, false, "after", CLK_REASON(CLK_WARMUP));
    row_next(&row, true, "update after", 0);

    /* Steps are found between any two samples, also between unanswered ones. */
    row.e.replied = false;
    row_next(&row, false, "silence", CLK_REASON(CLK_NO_REPLY));
    row.e.real_ns += SECOND;
    row_next(&row, false, "step in silence", step | CLK_REASON(CLK_NO_REPLY));
    row.e.replied = true;
    row_next(&row, false, "answer", CLK_REASON(CLK_WARMUP));

    row_start(&row, 1);
    row_next(&row, true, "before", 0);
    row.e.raw_ns -= SECOND + 1;
    row.e.real_ns -= SECOND + 1;
    row_next(&row, true, "both clocks backwards", step);

    /* A suspended host: real runs on, raw does not. */
    row_start(&row, 1);
    row_next(&row, true, "before", 0);
    row.e.real_ns += 30 * SECOND;
    row_next(&row, true, "suspended", step);
}

/* Whatever the numbers: no overflow (UBSan watches), and safe only with everything in order. */
static void test_judge_absurd_numbers(void **unused)
{
    (void)unused;
    static const int64_t n[] = {INT64_MIN, INT64_MIN + 1,  -SECOND,       -1,       0,
                                1,         NOW_S * SECOND, INT64_MAX - 1, INT64_MAX};
    static const double d[] = {
        (double)NAN, -(double)INFINITY, -1e300, -1e9, -0.0, 1e-320, 0.25, 1e9, 1e300};
    enum { COUNT = 9 };
    seed_random();
    struct clk_state state = {0};
    for (int i = 0; i < 300000; i++) {
        struct clk_evidence e = good;
        struct clk_policy p = test_policy;
        struct clk_reading r;
        struct clk_tracking *t = &e.tracking;
        int64_t *numbers[] = {&e.real_ns,      &e.raw_ns,    &e.query_ns, &t->ref_time_ns,
                              &p.max_error_ms, &p.max_age_s, &p.guard_ms, &e.kernel_maxerror_us};
        double *floats[] = {&t->correction_s, &t->root_delay_s, &t->root_dispersion_s};
        for (uint64_t k = next_random() % 4; k > 0; k--)
            *numbers[next_random() % 8] = n[next_random() % COUNT];
        for (uint64_t k = next_random() % 3; k > 0; k--)
            *floats[next_random() % 3] = d[next_random() % COUNT];
        if (next_random() % 8 == 0)
            state = (struct clk_state){0};
        clk_judge(&state, &p, &e, &r);
        assert_int_equal(r.safe, r.reasons == 0);
        if (r.safe) {
            assert_true(r.error_ns >= 0 && r.error_ns <= CLK_ERROR_MS_MAX * MS);
            assert_true(r.error_ns / MS <= p.max_error_ms);
            assert_true(r.earliest_ns <= e.real_ns && e.real_ns <= r.latest_ns);
            assert_true(t->correction_s >= -60 && t->correction_s <= 60);
        }
    }
}

/* Edges of windows. */

static void test_inside(void **unused)
{
    (void)unused;
    const int64_t start = NOW_S;
    const int64_t end = NOW_S + 600;
    static const struct {
        const char *name;
        int64_t earliest_ns; /* after the start of the window */
        int64_t latest_ns;
        bool inside;
        int64_t wait_ms;
    } cases[] = {
        {"in the middle", 300 * SECOND, 300 * SECOND + 1, true, 0},
        {"first moment", 2 * SECOND, 2 * SECOND + 5, true, 0},
        {"a nanosecond early", 2 * SECOND - 1, 2 * SECOND + 5, false, 1},
        {"a millisecond early", 2 * SECOND - MS, 2 * SECOND, false, 1},
        {"a millisecond and a bit", 2 * SECOND - MS - 1, 2 * SECOND, false, 2},
        {"at the start", 0, 5 * MS, false, 2000},
        {"astride the start", -5 * MS, 5 * MS, false, 2005},
        {"before the start", -10 * SECOND, -9 * SECOND, false, 12000},
        {"last moment", 597 * SECOND, 598 * SECOND, true, 0},
        {"a nanosecond late", 597 * SECOND, 598 * SECOND + 1, false, -1},
        {"at the end", 600 * SECOND - 5, 600 * SECOND, false, -1},
        {"astride the end", 599 * SECOND, 601 * SECOND, false, -1},
        {"over", 601 * SECOND, 602 * SECOND, false, -1},
        {"as wide as the window", 2 * SECOND, 598 * SECOND, true, 0},
        {"too wide, early", SECOND, 597 * SECOND + 1, false, -1},
        {"just fits after waiting", SECOND, 597 * SECOND, false, 1000},
        {"too wide", SECOND, 599 * SECOND, false, -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct clk_reading r = {.safe = true,
                                .earliest_ns = start * SECOND + cases[i].earliest_ns,
                                .latest_ns = start * SECOND + cases[i].latest_ns};
        int64_t wait_ms = 77;
        bool inside = clk_inside(&r, &test_policy, start, end, &wait_ms);
        if (inside != cases[i].inside || wait_ms != cases[i].wait_ms)
            fail_msg("%s: %d, wait %" PRId64, cases[i].name, inside, wait_ms);
        /* The announced wait is exact: after it the window may be used, a millisecond before not.
         */
        if (wait_ms > 0) {
            int64_t again = 0;
            r.earliest_ns += (wait_ms - 1) * MS;
            r.latest_ns += (wait_ms - 1) * MS;
            assert_false(clk_inside(&r, &test_policy, start, end, &again));
            assert_int_equal(again, 1);
            r.earliest_ns += MS;
            r.latest_ns += MS;
            assert_true(clk_inside(&r, &test_policy, start, end, &again));
        }
        r.safe = false;
        assert_false(clk_inside(&r, &test_policy, start, end, &wait_ms));
        assert_int_equal(wait_ms, CLK_RETRY_MS);
    }
}

static void case_41_inside_far_numbers(void **unused)
{
    (void)unused;
    struct clk_reading r = {
        .safe = true, .earliest_ns = NOW_S * SECOND, .latest_ns = NOW_S * SECOND};
    struct clk_policy p = test_policy;
    int64_t wait_ms = 0;
    assert_true(clk_inside(&r, &p, INT64_MIN, INT64_MAX, &wait_ms));
    assert_int_equal(wait_ms, 0);
    assert_false(clk_inside(&r, &p, INT64_MAX - 600, INT64_MAX, &wait_ms));
    assert_true(wait_ms == INT64_MAX);
    assert_false(clk_inside(&r, &p, INT64_MAX, INT64_MIN, &wait_ms));
    assert_int_equal(wait_ms, -1);
    assert_false(clk_inside(&r, &p, INT64_MIN, INT64_MIN + 600, &wait_ms));
    assert_int_equal(wait_ms, -1);
    assert_false(clk_inside(&r, &p, NOW_S, NOW_S, &wait_ms));
    assert_int_equal(wait_ms, -1);

    /* 2^63 ns are 292 years: a window after that is still told apart by its exact wait. */
    assert_false(clk_inside(&r, &p, INT64_C(10000000000), INT64_C(10000000600), &wait_ms));
    assert_true(wait_ms == (INT64_C(10000000000) - NOW_S) * 1000 + 2000);

    p.guard_ms = INT64_MAX;
    assert_false(clk_inside(&r, &p, NOW_S - 600, NOW_S + 600, &wait_ms));
    assert_int_equal(wait_ms, -1);
    p.guard_ms = 0;
    r.latest_ns++;
    assert_true(clk_inside(&r, &p, NOW_S, NOW_S + 1, &wait_ms));
    r.earliest_ns = INT64_MIN;
    r.latest_ns = INT64_MIN;
    assert_false(clk_inside(&r, &p, INT64_MAX - 1, INT64_MAX, &wait_ms));
    assert_true(wait_ms == INT64_MAX);
    r.earliest_ns = INT64_MAX;
    r.latest_ns = INT64_MAX;
    assert_false(clk_inside(&r, &p, INT64_MIN, INT64_MIN + 1, &wait_ms));
    assert_int_equal(wait_ms, -1);
}

static void test_reason_names(void **unused)
{
    (void)unused;
    char text[CLK_REASONS_SIZE];
    clk_reasons_print(0, text, sizeof(text));
    assert_string_equal(text, "");
    assert_string_equal(clk_reason_text(0), "");
    clk_reasons_print(CLK_REASON(CLK_LEAP3) | CLK_REASON(CLK_ERR_BIG), text, sizeof(text));
    assert_string_equal(text, "leap3,err-big");
    assert_string_equal(clk_reason_text(CLK_REASON(CLK_LEAP3) | CLK_REASON(CLK_ERR_BIG)),
                        "chronyd is not synchronised");

    /* All of them fill the buffer to the last byte; in smaller ones whole names are left out. */
    const char *all = "no-reply,bad-input,leap3,local-ref,stratum,stale,err-big,kernel-unsync,"
                      "warmup,step,range,suspend,tpm-jump,forward,drag,offline,backward";
    clk_reasons_print(UINT32_MAX, text, sizeof(text));
    assert_string_equal(text, all);
    assert_int_equal(strlen(all) + 1, CLK_REASONS_SIZE);
    clk_reasons_print(UINT32_MAX, text, CLK_REASONS_SIZE - 1);
    assert_int_equal(strlen(text), strlen(all) - strlen(",backward"));
    for (size_t cap = 1; cap < CLK_REASONS_SIZE; cap++) {
        memset(text, 'x', sizeof(text));
        clk_reasons_print(UINT32_MAX, text, cap);
        size_t len = strnlen(text, cap);
        assert_true(len < cap && memcmp(text, all, len) == 0);
        assert_true(len == 0 || all[len] == ',' || all[len] == '\0');
    }
}

/* The decoder. */

/* As the real chronyd 4.3 sent it, following a server at 127.0.0.1. */
static const char *const seen_reply =
    "060200000021000500000000000000"
    "00deadbeef00000000000000007f0000017f00000100000000000000000000000000010000"
    "00040000000000006b02630a2518714ddd3f196ed6becb42d8c1882cff2f047afa96480f04"
    "d22e1ee0fdf937dee234da008218d1";
#define SEEN_SEQUENCE UINT32_C(0xdeadbeef)

static void load_reply(uint8_t packet[CHRONY_PACKET_LEN])
{
    assert_true(hex_decode(packet, CHRONY_PACKET_LEN, seen_reply));
}

static void expect_refused(const uint8_t *packet, size_t len, uint32_t sequence, const char *text)
{
    static const struct clk_tracking none;
    struct clk_tracking t;
    memset(&t, 0xff, sizeof(t));
    struct err err = {0};
    enum rc rc = chrony_reply(&t, packet, len, sequence, &err);
    if (rc != RC_REFUSED_INPUT || strstr(err.text, text) == NULL)
        fail_msg("%s \"%s\" instead of \"%s\"", rc_name(rc), err.text, text);
    assert_memory_equal(&t, &none, sizeof(t));
}

static void test_request(void **unused)
{
    (void)unused;
    uint8_t packet[CHRONY_PACKET_LEN];
    uint8_t expected[CHRONY_PACKET_LEN] = {6, 1, 0, 0, 0, 33, 0, 0, 0x12, 0x34, 0x56, 0x78};
    memset(packet, 0xff, sizeof(packet));
    chrony_request(packet, 0x12345678);
    assert_memory_equal(packet, expected, sizeof(packet));
}

static void test_reply_as_seen(void **unused)
{
    (void)unused;
    uint8_t packet[CHRONY_PACKET_LEN];
    struct clk_tracking t;
    struct err err = {0};
    load_reply(packet);
    assert_int_equal(chrony_reply(&t, packet, sizeof(packet), SEEN_SEQUENCE, &err), RC_OK);
    assert_int_equal(err.rc, RC_OK);
    assert_int_equal(t.ref_id, 0x7f000001);
    assert_int_equal(t.stratum, 4);
    assert_int_equal(t.leap, 0);
    assert_false(t.own_device);
    assert_true(t.ref_time_ns == INT64_C(1795318538) * SECOND + 0x2518714d);
    /* dd3f196e, e0fdf937, dee234da: 1.4 microseconds off, 7.6 of delay, 3.4 of doubt. */
    assert_true(t.correction_s == ldexp(-0xc0e692, -18 - 25));
    assert_true(t.root_delay_s == ldexp(0xfdf937, -16 - 25));
    assert_true(t.root_dispersion_s == ldexp(0xe234da, -17 - 25));
}

static void case_37_reply_lengths(void **unused)
{
    (void)unused;
    uint8_t packet[2 * CHRONY_PACKET_LEN] = {0};
    load_reply(packet);
    for (size_t len = 0; len <= sizeof(packet); len++) {
        /* A copy of exactly that length, so that reading past it is seen by the sanitizer. */
        uint8_t *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy + 1, packet, len);
        if (len != CHRONY_PACKET_LEN)
            expect_refused(copy + 1, len, SEEN_SEQUENCE, "bytes");
        assert_true(chrony_answers(copy + 1, len, SEEN_SEQUENCE));
        assert_int_equal(chrony_answers(copy + 1, len, 1), len < 20);
        free(copy);
    }
}

static void case_37_reply_header(void **unused)
{
    (void)unused;
    uint8_t packet[CHRONY_PACKET_LEN];
    for (size_t bit = 0; bit < (size_t)28 * 8; bit++) {
        load_reply(packet);
        packet[bit / 8] ^= (uint8_t)(1U << bit % 8);
        expect_refused(packet, sizeof(packet), SEEN_SEQUENCE, "");
    }
    load_reply(packet);
    expect_refused(packet, sizeof(packet), SEEN_SEQUENCE + 1, "another request");
    packet[9] = 2;
    expect_refused(packet, sizeof(packet), SEEN_SEQUENCE, "status 2");
    load_reply(packet);
    packet[0] = 5;
    expect_refused(packet, sizeof(packet), SEEN_SEQUENCE, "protocol 5");
    load_reply(packet);
    packet[7] = 6;
    expect_refused(packet, sizeof(packet), SEEN_SEQUENCE, "another command");
    load_reply(packet);
    packet[27] = 1;
    expect_refused(packet, sizeof(packet), SEEN_SEQUENCE, "reserved");
    load_reply(packet);
    packet[51] = 1;
    expect_refused(packet, sizeof(packet), SEEN_SEQUENCE, "reserved");

    /* Our own request, thrown back at us. */
    chrony_request(packet, SEEN_SEQUENCE);
    expect_refused(packet, sizeof(packet), SEEN_SEQUENCE, "packet type 1");
}

static enum rc reply_with32(size_t offset, uint32_t value, struct clk_tracking *t)
{
    uint8_t packet[CHRONY_PACKET_LEN];
    load_reply(packet);
    be_put32(packet + offset, value);
    return chrony_reply(t, packet, sizeof(packet), SEEN_SEQUENCE, NULL);
}

static void case_37_reply_fields(void **unused)
{
    (void)unused;
    struct clk_tracking t;
    assert_int_equal(reply_with32(28, 0x7f7f0101, &t), RC_OK);
    assert_int_equal(t.ref_id, 0x7f7f0101);
    for (uint32_t leap = 0; leap <= 3; leap++) {
        assert_int_equal(reply_with32(52, UINT32_C(0xfffe0000) | leap, &t), RC_OK);
        assert_int_equal(t.leap, leap);
        assert_int_equal(t.stratum, 0xfffe);
    }
    assert_int_equal(reply_with32(52, 0x00040004, &t), RC_REFUSED_INPUT);

    static const struct {
        uint32_t family;
        enum rc rc;
        bool own_device;
    } families[] = {{0, RC_OK, true},
                    {1, RC_OK, false},
                    {2, RC_OK, false},
                    {3, RC_REFUSED_INPUT, false},
                    {0xffff, RC_REFUSED_INPUT, false}};
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        assert_int_equal(reply_with32(48, families[i].family << 16, &t), families[i].rc);
        assert_int_equal(t.own_device, families[i].own_device);
    }

    assert_int_equal(reply_with32(56, 0x7fffffff, &t), RC_OK);
    assert_true(t.ref_time_ns / SECOND == 0x6b02630a);
    assert_int_equal(reply_with32(56, 1, &t), RC_REFUSED_INPUT);
    assert_int_equal(reply_with32(56, 0x7ffffffe, &t), RC_REFUSED_INPUT);
    assert_int_equal(reply_with32(56, 0x80000000, &t), RC_REFUSED_INPUT);
    assert_int_equal(reply_with32(56, 0xffffffff, &t), RC_REFUSED_INPUT);
    assert_int_equal(reply_with32(60, 0xffffffff, &t), RC_OK);
    assert_true(t.ref_time_ns / SECOND == 0xffffffff);
    assert_int_equal(reply_with32(64, 999999999, &t), RC_OK);
    assert_true(t.ref_time_ns % SECOND == 999999999);
    assert_int_equal(reply_with32(64, 1000000000, &t), RC_REFUSED_INPUT);
    assert_int_equal(reply_with32(64, 0xffffffff, &t), RC_REFUSED_INPUT);
}

#define FLOAT(exponent, coefficient)                                                               \
    ((uint32_t)(exponent) << 25 | ((uint32_t)(coefficient)&UINT32_C(0x1ffffff)))

static void case_37_reply_floats(void **unused)
{
    (void)unused;
    static const struct {
        uint32_t bits;
        double value; /* NaN: refused everywhere */
    } cases[] = {
        {0, 0.0},
        {FLOAT(0, 1), 0x1p-25},
        {FLOAT(25, 1), 1.0},
        {FLOAT(25, -1), -1.0},
        {FLOAT(2, 0x800000), 1.0},
        {FLOAT(1, 0xffffff), 0xffffffp-24},
        {FLOAT(1, -0x1000000), -1.0},
        {FLOAT(-64, 1), 0x1p-89},
        {FLOAT(-64, -0x1000000), -0x1p-65},
        {FLOAT(63, 0), 0.0},
        {FLOAT(56, 1), 2147483648.0},
        {FLOAT(57, 1), (double)NAN}, /* 2^32 seconds */
        {FLOAT(57, -1), (double)NAN},
        {FLOAT(63, 0xffffff), (double)NAN}, /* the largest of all */
        {FLOAT(63, -0x1000000), (double)NAN},
        {0xffffffff, -0x1p-26},
        {0x7fffffff, (double)NAN},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct clk_tracking t;
        double value = cases[i].value;
        bool sane = !isnan(value);
        enum rc rc = reply_with32(68, cases[i].bits, &t);
        assert_int_equal(rc, sane ? RC_OK : RC_REFUSED_INPUT);
        if (sane)
            assert_true(t.correction_s == value);
        sane = sane && value >= 0;
        rc = reply_with32(92, cases[i].bits, &t);
        assert_int_equal(rc, sane ? RC_OK : RC_REFUSED_INPUT);
        if (sane)
            assert_true(t.root_delay_s == value);
        rc = reply_with32(96, cases[i].bits, &t);
        assert_int_equal(rc, sane ? RC_OK : RC_REFUSED_INPUT);
        if (sane)
            assert_true(t.root_dispersion_s == value);
    }
}

/* A million damaged replies: each is refused and leaves nothing, or is decoded to numbers in their
 * ranges, which the judge then takes without an overflow. */
static void case_37_reply_mutations(void **unused)
{
    (void)unused;
    static const struct clk_tracking none;
    uint8_t original[CHRONY_PACKET_LEN];
    struct clk_state state = {0};
    uint32_t accepted = 0;
    const int rounds = 1000000;
    load_reply(original);
    seed_random();
    for (int i = 0; i < rounds; i++) {
        uint8_t packet[CHRONY_PACKET_LEN + 8] = {0};
        memcpy(packet, original, sizeof(original));
        /* Mostly behind the header, or nothing would get past it. */
        for (uint64_t k = 1 + next_random() % 6; k > 0; k--) {
            size_t at = next_random() % 64 == 0 ? next_random() % 28 : 28 + next_random() % 76;
            packet[at] = (uint8_t)next_random();
        }
        size_t len = next_random() % 64 == 0 ? next_random() % sizeof(packet) : CHRONY_PACKET_LEN;
        struct clk_tracking t;
        if (chrony_reply(&t, packet, len, SEEN_SEQUENCE, NULL) != RC_OK) {
            assert_memory_equal(&t, &none, sizeof(t));
            continue;
        }
        accepted++;
        assert_true(t.leap <= 3);
        assert_true(t.ref_time_ns >= 0 && t.ref_time_ns < INT64_C(4294967296) * SECOND);
        assert_true(fabs(t.correction_s) <= CHRONY_SECONDS_MAX);
        assert_true(t.root_delay_s >= 0 && t.root_delay_s <= CHRONY_SECONDS_MAX);
        assert_true(t.root_dispersion_s >= 0 && t.root_dispersion_s <= CHRONY_SECONDS_MAX);
        struct clk_evidence e = good;
        struct clk_reading r;
        e.tracking = t;
        clk_judge(&state, &test_policy, &e, &r);
        assert_int_equal(r.reasons & CLK_REASON(CLK_BAD_INPUT), 0);
    }
    print_message("%" PRIu32 " of %d decoded\n", accepted, rounds);
    assert_true(accepted > 10000);
}

/* The collector, with a chronyd made of a socket. It answers when the raw clock is read, so one
 * thread is enough and nothing depends on how fast the machine is. */

enum script {
    ANSWER,
    ANSWER_LATE_ONE_FIRST, /* answers to other requests come first */
    ANSWER_SHORT,
    ANSWER_LONG,
    ANSWER_STATUS,
    ANSWER_EMPTY,
    ANSWER_OTHERS_ONLY,
    SILENCE
};

struct fake {
    int fd; /* -1: nobody is there */
    uint16_t port;
    enum script script;
    uint32_t requests;
    uint32_t sequence;
    struct sockaddr_in client;
    int64_t real_ns;
    int64_t raw_ns;
    int64_t query_ns; /* how long the answer takes on the raw clock */
    int stalls; /* so often the process is put aside between reading one clock and the other */
};

static void fake_send(const struct fake *f, const struct sockaddr_in *to, uint32_t sequence,
                      size_t len)
{
    uint8_t packet[CHRONY_PACKET_LEN + 1] = {0};
    load_reply(packet);
    be_put32(packet + 16, sequence);
    be_put32(packet + 60, (uint32_t)(NOW_S - 1));
    if (f->script == ANSWER_STATUS)
        packet[9] = 2;
    ssize_t sent = sendto(f->fd, packet, len, 0, (const struct sockaddr *)to, sizeof(*to));
    assert_int_equal(sent, len);
}

static void fake_answer(struct fake *f)
{
    uint8_t packet[CHRONY_PACKET_LEN + 1];
    struct sockaddr_in from = {0};
    socklen_t from_len = sizeof(from);
    if (f->fd < 0)
        return;
    ssize_t len =
        recvfrom(f->fd, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    if (len < 0)
        return;
    assert_int_equal(len, CHRONY_PACKET_LEN);
    f->requests++;
    uint32_t sequence = be_get32(packet + 8);
    assert_true(sequence != f->sequence || f->requests == 1);
    f->sequence = sequence;
    f->client = from;
    f->raw_ns += f->query_ns;
    size_t reply_len = CHRONY_PACKET_LEN;
    switch (f->script) {
    case SILENCE:
        return;
    case ANSWER_OTHERS_ONLY:
        fake_send(f, &from, sequence - 1, reply_len);
        return;
    case ANSWER_LATE_ONE_FIRST:
        for (uint32_t i = 5; i > 0; i--)
            fake_send(f, &from, sequence - i, reply_len);
        break;
    case ANSWER_SHORT:
        reply_len--;
        break;
    case ANSWER_LONG:
        reply_len++;
        break;
    case ANSWER_EMPTY:
        reply_len = 0;
        break;
    case ANSWER:
    case ANSWER_STATUS:
        break;
    }
    fake_send(f, &from, sequence, reply_len);
}

static int64_t fake_real(void *ctx)
{
    struct fake *f = ctx;
    int64_t now = f->real_ns;
    if (f->stalls > 0) {
        f->stalls--;
        f->real_ns += 120 * MS;
        f->raw_ns += 120 * MS;
    }
    return now;
}

static int64_t fake_raw(void *ctx)
{
    struct fake *f = ctx;
    fake_answer(f);
    return f->raw_ns;
}

static void fake_open(struct fake *f)
{
    *f = (struct fake){.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
                       .real_ns = NOW_S * SECOND,
                       .raw_ns = 5 * SECOND};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    assert_true(f->fd >= 0);
    assert_int_equal(bind(f->fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(f->fd, (struct sockaddr *)&a, &len), 0);
    f->port = ntohs(a.sin_port);
}

static int64_t elapsed_ms(const struct timespec *since)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / MS;
}

static void test_read(void **unused)
{
    (void)unused;
    static const struct {
        const char *name;
        enum script script;
        uint32_t reasons;
        bool waits;
    } cases[] = {
        {"answer", ANSWER, 0, false},
        {"answer after others", ANSWER_LATE_ONE_FIRST, 0, false},
        {"short", ANSWER_SHORT, CLK_REASON(CLK_BAD_INPUT), false},
        {"long", ANSWER_LONG, CLK_REASON(CLK_BAD_INPUT), false},
        {"status", ANSWER_STATUS, CLK_REASON(CLK_BAD_INPUT), false},
        {"empty", ANSWER_EMPTY, CLK_REASON(CLK_BAD_INPUT), false},
        {"silence", SILENCE, CLK_REASON(CLK_NO_REPLY), true},
        {"other answers only", ANSWER_OTHERS_ONLY, CLK_REASON(CLK_NO_REPLY), true},
    };
    struct fake f;
    fake_open(&f);
    const struct time_source time = {.ctx = &f, .real_ns = fake_real, .raw_ns = fake_raw};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct clk_policy p = test_policy;
        struct clk *clk CLEANUP(clk_close) = NULL;
        struct clk_reading r;
        struct timespec begin;
        p.port = f.port;
        p.kernel_witness = false;
        f.script = cases[i].script;
        f.requests = 0;
        assert_int_equal(clk_open(&clk, &p, &time, NULL), RC_OK);
        /* Twice: what the first reading left on the socket must not disturb the second. */
        for (int k = 0; k < 2; k++) {
            (void)clock_gettime(CLOCK_MONOTONIC, &begin);
            clk_read(clk, &r);
            int64_t ms = elapsed_ms(&begin);
            expect_reasons(cases[i].name, r.reasons, cases[i].reasons);
            assert_true(cases[i].waits ? ms >= CLK_TIMEOUT_MS - 20 : ms < CLK_TIMEOUT_MS);
        }
        assert_int_equal(f.requests, 2);
    }
    fd_close(&f.fd);
}

static void test_read_recovers(void **unused)
{
    (void)unused;
    struct fake f;
    fake_open(&f);
    struct clk_policy p = test_policy;
    const struct time_source time = {.ctx = &f, .real_ns = fake_real, .raw_ns = fake_raw};
    struct clk *clk CLEANUP(clk_close) = NULL;
    struct clk_reading r;
    struct timespec begin;
    p.port = f.port;
    p.kernel_witness = false;
    assert_int_equal(clk_open(&clk, &p, &time, NULL), RC_OK);

    f.query_ns = 3 * MS;
    clk_read(clk, &r);
    assert_true(r.safe);
    int64_t narrow = r.error_ns;
    f.query_ns = 40 * MS;
    clk_read(clk, &r);
    assert_true(r.safe);
    assert_true(r.error_ns == narrow + 37 * MS);

    /* chronyd dies: told at once, however often; comes back at the same port: served again. */
    int back = dup(f.fd);
    fd_close(&f.fd);
    (void)close(back);
    for (int i = 0; i < 3; i++) {
        (void)clock_gettime(CLOCK_MONOTONIC, &begin);
        clk_read(clk, &r);
        expect_reasons("dead", r.reasons, CLK_REASON(CLK_NO_REPLY));
        assert_true(elapsed_ms(&begin) < CLK_TIMEOUT_MS / 2);
    }
    f.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                            .sin_port = htons(f.port)};
    assert_int_equal(bind(f.fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    clk_read(clk, &r);
    expect_reasons("back, with the update it had", r.reasons, CLK_REASON(CLK_WARMUP));
    fd_close(&f.fd);
}

/* Two clocks read one after the other look like a step if something comes between. */
static void test_read_put_aside(void **unused)
{
    (void)unused;
    struct fake f;
    fake_open(&f);
    struct clk_policy p = test_policy;
    const struct time_source time = {.ctx = &f, .real_ns = fake_real, .raw_ns = fake_raw};
    struct clk *clk CLEANUP(clk_close) = NULL;
    struct clk_reading r;
    struct timespec begin;
    p.port = f.port;
    p.kernel_witness = false;
    p.max_error_ms = 1000;
    assert_int_equal(clk_open(&clk, &p, &time, NULL), RC_OK);
    clk_read(clk, &r);
    assert_true(r.safe);
    f.stalls = 3;
    clk_read(clk, &r);
    expect_reasons("read again", r.reasons, 0);
    assert_true(r.error_ns > 3 * 120 * MS); /* and the interval is as much wider */
    f.stalls = 4;
    clk_read(clk, &r);
    expect_reasons("in the end it gives up", r.reasons, CLK_REASON(CLK_STEP));

    /* Put aside for longer than the timeout: there is nothing left to wait for. */
    f.script = ANSWER_OTHERS_ONLY;
    f.query_ns = (CLK_TIMEOUT_MS + 1) * MS;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    clk_read(clk, &r);
    assert_int_not_equal(r.reasons & CLK_REASON(CLK_NO_REPLY), 0);
    assert_true(elapsed_ms(&begin) < CLK_TIMEOUT_MS / 2);
    fd_close(&f.fd);
}

/* The kernel's part is ours in this program (see Makefile-test.am). */
static struct timex kernel_says;
static int kernel_result;
static int kernel_calls;

int __wrap_adjtimex(struct timex *t);
int __wrap_adjtimex(struct timex *t)
{
    assert_int_equal(t->modes, 0); /* nothing but reading */
    *t = kernel_says;
    kernel_calls++;
    errno = kernel_result < 0 ? EPERM : 0;
    return kernel_result;
}

/* The timer that is cancelled when somebody sets the clock: a stand-in that the test can fire. */
static int timer_fd = -1;

int __wrap_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags)
{
    assert_int_equal(clock, CLOCK_REALTIME);
    assert_true((flags & TFD_NONBLOCK) != 0);
    timer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return timer_fd;
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *value,
                           struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *value,
                           struct itimerspec *old)
{
    assert_int_equal(fd, timer_fd);
    assert_int_equal(flags, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET);
    assert_true(value->it_value.tv_sec >= CLK_REAL_S_MAX);
    assert_null(old);
    return 0;
}

/* Set and set back between two samples: no clock shows it, and the warm-up begins anew. */
static void test_read_sees_the_clock_set(void **unused)
{
    (void)unused;
    struct fake f;
    fake_open(&f);
    struct clk_policy p = test_policy;
    const struct time_source time = {.ctx = &f, .real_ns = fake_real, .raw_ns = fake_raw};
    struct clk *clk CLEANUP(clk_close) = NULL;
    struct clk_reading r;
    p.port = f.port;
    p.kernel_witness = false;
    assert_int_equal(clk_open(&clk, &p, &time, NULL), RC_OK);
    clk_read(clk, &r);
    assert_true(r.safe);
    assert_int_equal(eventfd_write(timer_fd, 1), 0);
    clk_read(clk, &r);
    assert_false(r.safe);
    expect_reasons("set", r.reasons, CLK_REASON(CLK_WARMUP));
    fd_close(&f.fd);
}

static void test_read_asks_the_kernel(void **unused)
{
    (void)unused;
    static const struct {
        const char *name;
        int result;
        int status;
        long maxerror;
        bool agrees;
    } cases[] = {
        {"in order", TIME_OK, STA_PLL | STA_NANO, 250000, true},
        {"leap second pending", TIME_INS, STA_INS, 0, true},
        {"not synchronised", TIME_ERROR, STA_UNSYNC, 100, false},
        {"flag only", TIME_OK, STA_UNSYNC | STA_PLL, 100, false},
        {"error above the limit", TIME_OK, STA_PLL, 250001, false},
        {"forbidden", -1, 0, 0, false},
    };
    struct fake f;
    fake_open(&f);
    struct clk_policy p = test_policy;
    const struct time_source time = {.ctx = &f, .real_ns = fake_real, .raw_ns = fake_raw};
    p.port = f.port;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct clk *clk CLEANUP(clk_close) = NULL;
        struct clk_reading r;
        kernel_result = cases[i].result;
        kernel_says = (struct timex){.status = cases[i].status, .maxerror = cases[i].maxerror};
        assert_int_equal(clk_open(&clk, &p, &time, NULL), RC_OK);
        clk_read(clk, &r);
        expect_reasons(cases[i].name, r.reasons,
                       cases[i].agrees ? 0 : CLK_REASON(CLK_KERNEL_UNSYNC));
    }

    /* Not asked where it is not wanted: a sandbox may forbid the call. */
    struct clk *clk CLEANUP(clk_close) = NULL;
    struct clk_reading r;
    p.kernel_witness = false;
    kernel_calls = 0;
    assert_int_equal(clk_open(&clk, &p, &time, NULL), RC_OK);
    clk_read(clk, &r);
    expect_reasons("not wanted", r.reasons, 0);
    assert_int_equal(kernel_calls, 0);
    fd_close(&f.fd);
}

/* chronyd hung for minutes and now answers all old requests: the pile is thrown away, not waded
 * through by later readings. */
static void test_read_after_a_pile(void **unused)
{
    (void)unused;
    struct fake f;
    fake_open(&f);
    struct clk_policy p = test_policy;
    const struct time_source time = {.ctx = &f, .real_ns = fake_real, .raw_ns = fake_raw};
    struct clk *clk CLEANUP(clk_close) = NULL;
    struct clk_reading r;
    p.port = f.port;
    p.kernel_witness = false;
    assert_int_equal(clk_open(&clk, &p, &time, NULL), RC_OK);
    clk_read(clk, &r);
    assert_true(r.safe);
    for (uint32_t i = 1; i <= 50; i++)
        fake_send(&f, &f.client, f.sequence - i, CHRONY_PACKET_LEN);
    clk_read(clk, &r);
    expect_reasons("after a pile", r.reasons, 0);
    fd_close(&f.fd);
}

static void test_open_refuses(void **unused)
{
    (void)unused;
    const struct time_source time = {.real_ns = fake_real, .raw_ns = fake_raw};
    static const struct {
        const char *address;
        enum rc rc;
    } addresses[] = {
        {"127.0.0.1", RC_OK},
        {"127.1.2.3", RC_OK},
        {"::1", RC_OK},
        {"", RC_REFUSED_CONFIG},
        {"localhost", RC_REFUSED_CONFIG},
        {"10.0.0.1", RC_REFUSED_CONFIG},
        {"126.255.255.255", RC_REFUSED_CONFIG},
        {"128.0.0.1", RC_REFUSED_CONFIG},
        {"0.0.0.0", RC_REFUSED_CONFIG},
        {"::", RC_REFUSED_CONFIG},
        {"::2", RC_REFUSED_CONFIG},
        {"::ffff:127.0.0.1", RC_REFUSED_CONFIG},
        {"127.0.0.1 ", RC_REFUSED_CONFIG},
        {"/run/chrony/chronyd.sock", RC_REFUSED_CONFIG},
    };
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        struct clk_policy p = test_policy;
        struct clk *clk CLEANUP(clk_close) = NULL;
        struct err err = {0};
        (void)snprintf(p.address, sizeof(p.address), "%s", addresses[i].address);
        enum rc rc = clk_open(&clk, &p, &time, &err);
        /* A host without IPv6 has no socket for ::1. */
        if (rc != addresses[i].rc && !(rc == RC_HALT_SYSTEM && strchr(p.address, ':') != NULL))
            fail_msg("%s: %s", addresses[i].address, rc_name(rc));
        assert_int_equal(clk != NULL, rc == RC_OK);
    }

    struct clk_policy p = test_policy;
    struct clk *clk = NULL;
    memset(p.address, '1', sizeof(p.address)); /* without its NUL */
    assert_int_equal(clk_open(&clk, &p, &time, NULL), RC_REFUSED_CONFIG);
    p = test_policy;
    p.port = 0;
    assert_int_equal(clk_open(&clk, &p, &time, NULL), RC_REFUSED_CONFIG);
    assert_null(clk);
    clk_close(&clk); /* NULL is fine */
}

#define EXPECT_LIMIT(field, value, expected)                                                       \
    do {                                                                                           \
        struct clk_policy p = test_policy;                                                         \
        struct clk *clk CLEANUP(clk_close) = NULL;                                                 \
        p.field = (value);                                                                         \
        assert_int_equal(clk_open(&clk, &p, &time, NULL), expected);                               \
    } while (0)

static void test_open_limits(void **unused)
{
    (void)unused;
    const struct time_source time = {.real_ns = fake_real, .raw_ns = fake_raw};
    EXPECT_LIMIT(max_error_ms, 0, RC_REFUSED_CONFIG);
    EXPECT_LIMIT(max_error_ms, 1, RC_OK);
    EXPECT_LIMIT(max_error_ms, CLK_ERROR_MS_MAX, RC_OK);
    EXPECT_LIMIT(max_error_ms, CLK_ERROR_MS_MAX + 1, RC_REFUSED_CONFIG);
    EXPECT_LIMIT(max_age_s, 0, RC_REFUSED_CONFIG);
    EXPECT_LIMIT(max_age_s, 1, RC_OK);
    EXPECT_LIMIT(max_age_s, CLK_AGE_S_MAX, RC_OK);
    EXPECT_LIMIT(max_age_s, CLK_AGE_S_MAX + 1, RC_REFUSED_CONFIG);
    EXPECT_LIMIT(max_stratum, 0, RC_REFUSED_CONFIG);
    EXPECT_LIMIT(max_stratum, 1, RC_OK);
    EXPECT_LIMIT(max_stratum, CLK_STRATUM_MAX, RC_OK);
    EXPECT_LIMIT(max_stratum, CLK_STRATUM_MAX + 1, RC_REFUSED_CONFIG);
    EXPECT_LIMIT(warmup, 0, RC_OK);
    EXPECT_LIMIT(warmup, CLK_WARMUP_MAX, RC_OK);
    EXPECT_LIMIT(warmup, CLK_WARMUP_MAX + 1, RC_REFUSED_CONFIG);
    EXPECT_LIMIT(guard_ms, -1, RC_REFUSED_CONFIG);
    EXPECT_LIMIT(guard_ms, 0, RC_OK);
    EXPECT_LIMIT(guard_ms, CLK_GUARD_MS_MAX, RC_OK);
    EXPECT_LIMIT(guard_ms, CLK_GUARD_MS_MAX + 1, RC_REFUSED_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge_each_reason),
        cmocka_unit_test(test_judge_interval),
        cmocka_unit_test(test_warmup_counts_updates),
        cmocka_unit_test(test_warmup_restarts),
        cmocka_unit_test(test_step),
        cmocka_unit_test(test_judge_absurd_numbers),
        cmocka_unit_test(test_inside),
        cmocka_unit_test(case_41_inside_far_numbers),
        cmocka_unit_test(test_reason_names),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_reply_as_seen),
        cmocka_unit_test(case_37_reply_lengths),
        cmocka_unit_test(case_37_reply_header),
        cmocka_unit_test(case_37_reply_fields),
        cmocka_unit_test(case_37_reply_floats),
        cmocka_unit_test(case_37_reply_mutations),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_recovers),
        cmocka_unit_test(test_read_put_aside),
        cmocka_unit_test(test_read_sees_the_clock_set),
        cmocka_unit_test(test_read_asks_the_kernel),
        cmocka_unit_test(test_read_after_a_pile),
        cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_open_limits),
    };
    struct err err = {0};
    if (base_init(&err) != RC_OK) {
        (void)fprintf(stderr, "%s\n", err_text(&err));
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
