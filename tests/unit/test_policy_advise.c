/* Token buckets, and advice about plans. */
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/secmem.h"
#include "lib/plan_text.h"
#include "policy/advise.h"
#include "policy/bucket.h"

#define SECOND INT64_C(1000000000)

/* --- Bucket -------------------------------------------------------------------------------------
 */

static void check_take(struct bucket *b, int64_t now_ns, bool taken, uint64_t wait_s,
                       uint64_t remaining)
{
    uint64_t wait = 77;
    uint64_t left = 77;
    assert_int_equal(bucket_take(b, now_ns, &wait, &left), taken);
    assert_int_equal(wait, wait_s);
    assert_int_equal(left, remaining);
}

static void test_bucket(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 3, 60, 100 * SECOND);
    check_take(&b, 100 * SECOND, true, 0, 2);
    check_take(&b, 100 * SECOND, true, 0, 1);
    check_take(&b, 100 * SECOND, true, 0, 0);
    check_take(&b, 100 * SECOND, false, 60, 0); /* one a minute */
    check_take(&b, 101 * SECOND, false, 59, 0);
    check_take(&b, 160 * SECOND - 1, false, 1, 0);
    check_take(&b, 160 * SECOND, true, 0, 0);
    /* Backwards: nothing comes back, and nothing is counted twice later. */
    check_take(&b, 50 * SECOND, false, 60, 0);
    check_take(&b, INT64_MIN, false, 60, 0);
    check_take(&b, 219 * SECOND, false, 1, 0);
    check_take(&b, 220 * SECOND, true, 0, 0);
    /* A long pause fills it and no more. */
    check_take(&b, INT64_MAX, true, 0, 2);

    bucket_init(&b, 0, 0, 0);
    check_take(&b, 0, true, 0, UINT64_MAX);
    check_take(&b, -1, true, 0, UINT64_MAX);

    bucket_init(&b, UINT64_MAX, UINT64_MAX, INT64_MIN);
    check_take(&b, INT64_MIN, true, 0, UINT64_MAX / 1000000 - 1);
    check_take(&b, INT64_MAX, true, 0, UINT64_MAX / 1000000 - 1);

    bucket_init(&b, 1, 1, 0);
    check_take(&b, 0, true, 0, 0);
    check_take(&b, 1, false, 3600, 0);
    check_take(&b, 3599 * SECOND, false, 1, 0);
    check_take(&b, 3600 * SECOND, true, 0, 0);

    /* Faster than one a second: still a whole second to wait. */
    bucket_init(&b, 1, 36000, 0);
    check_take(&b, 0, true, 0, 0);
    check_take(&b, 1, false, 1, 0);
}

/* Another limit while it runs: nothing that was used comes back by that. */
static void test_bucket_change(void **state)
{
    (void)state;
    struct bucket b;
    bucket_init(&b, 3, 60, 0);
    check_take(&b, 0, true, 0, 2);
    check_take(&b, 0, true, 0, 1);
    bucket_change(&b, 10, 60, 0);
    check_take(&b, 0, true, 0, 0);
    check_take(&b, 0, false, 60, 0);
    /* What the old rate has brought until then counts. */
    bucket_change(&b, 10, 3600, 60 * SECOND);
    check_take(&b, 60 * SECOND, true, 0, 0);
    check_take(&b, 60 * SECOND, false, 1, 0);
    /* Less room: what does not fit is gone. Full stays full. */
    bucket_change(&b, 2, 3600, 70 * SECOND);
    check_take(&b, 70 * SECOND, true, 0, 1);
    bucket_change(&b, 2, 3600, 80 * SECOND);
    bucket_change(&b, 5, 3600, 80 * SECOND);
    check_take(&b, 80 * SECOND, true, 0, 4);
    /* Off, and on again. */
    bucket_change(&b, 0, 0, 80 * SECOND);
    check_take(&b, 80 * SECOND, true, 0, UINT64_MAX);
    bucket_change(&b, 2, 60, 80 * SECOND);
    check_take(&b, 80 * SECOND, true, 0, 1);
}

/* Over a day of impatient asking, a bucket gives its capacity and its rate, to the token. */
static void test_bucket_rate(void **state)
{
    (void)state;
    static const struct {
        uint64_t capacity, per_hour;
        int64_t step_ns;
    } cases[] = {{5, 7, 333333337}, {1, 3600, 10000019}, {100, 1, SECOND}, {10, 1000, 1234567891}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bucket b;
        int64_t day = INT64_C(86400) * SECOND;
        uint64_t taken = 0;
        uint64_t wait = 0;
        uint64_t left = 0;
        bucket_init(&b, cases[i].capacity, cases[i].per_hour, 0);
        for (int64_t now = 0; now <= day; now += cases[i].step_ns)
            taken += bucket_take(&b, now, &wait, &left);
        uint64_t most = cases[i].capacity + cases[i].per_hour * 24;
        assert_true(taken <= most);
        /* What is missing: the part of a token at the end, and, in a bucket of one, what came in
         * between two calls while it was full. */
        assert_true(taken + 1 >= most || cases[i].capacity == 1);
        assert_true(taken >= most - most / 50 - 1);
    }
}

/* A refill pays out whole millionths of a token only. Whoever asks more often than one of them
 * comes in must not get the rest of a nanosecond for nothing: here one takes 1.5 ns. */
static void test_bucket_rounding(void **state)
{
    (void)state;
    struct bucket b;
    uint64_t wait = 0;
    uint64_t left = 0;
    uint64_t taken = 0;
    bucket_init(&b, 1, 2400000, 0);
    check_take(&b, 0, true, 0, 0);
    for (int64_t now = 0; now < 12200000; now += 2)
        taken += bucket_take(&b, now, &wait, &left);
    assert_in_range(taken, 1, 8); /* rounding may cost up to a nanosecond a call, never give */
}

/* --- Poisson ------------------------------------------------------------------------------------
 */

/* Values computed with arbitrary precision (mpmath's regularised incomplete gamma function). */
static void test_overflow(void **state)
{
    (void)state;
    static const struct {
        double mean;
        uint64_t capacity;
        double p;
    } cases[] = {
        {1.0, 0, 0.63212055882855768},
        {1.0, 1, 0.26424111765711536},
        {0.001, 3, 4.163334721825484e-14},
        {10.0, 5, 0.93291403712096822},
        {10.0, 20, 0.0015882606618580482},
        {10.0, 100, 5.3394054607197105e-64},
        {700.0, 1023, 1.3717924779367006e-30},
        {700.0, 699, 0.50502624005568246},
        {700.0, 700, 0.48994943414294543},
        {900.0, 1023, 2.753930176335945e-5},
        {1000.0, 1023, 0.22798372569962148},
        {1100.0, 1023, 0.99007091657006085},
        {2000.0, 1023, 1.0},
        {100000.0, 101000, 0.00079120142916045172},
        {100000.0, 99000, 0.99922579917055526},
        {1000000.0, 1005000, 2.9188924670030269e-7},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double got = advise_overflow(cases[i].mean, cases[i].capacity);
        /* The exponent of a term is a difference of numbers as large as mean * log(mean). */
        double tolerance = 1e-12 + cases[i].mean * 1e-14;
        if (!(fabs(got - cases[i].p) <= tolerance * cases[i].p))
            fail_msg("mean %g, capacity %" PRIu64 ": %.17g, wanted %.17g", cases[i].mean,
                     cases[i].capacity, got, cases[i].p);
    }
    assert_true(advise_overflow(0.0, 0) == 0.0);
    assert_true(advise_overflow(-1.0, 5) == 0.0);
    assert_true(advise_overflow(NAN, 5) == 0.0);
    assert_true(advise_overflow(1.0, UINT64_MAX) == 0.0);
}

/* --- Choices ------------------------------------------------------------------------------------
 */

static const struct advise_need weekly = {.window_s = 604800,
                                          .signatures_per_window = 700,
                                          .years = 15,
                                          .exhaust_max = 1e-6,
                                          .verifier = NULL};

static void test_time_plan(void **state)
{
    (void)state;
    struct advise_choice choice;
    assert_int_equal(advise_time_plan(&weekly, &choice, NULL), RC_OK);
    assert_int_equal(choice.height, 20);
    assert_int_equal(choice.window_size, 1024);
    assert_int_equal(choice.window_count, 1024);
    assert_true(choice.years > 19.62 && choice.years < 19.63);
    assert_true(choice.exhaust > 0 && choice.exhaust <= 1e-6);
    assert_int_equal(choice.n, 24);
    assert_int_equal(choice.w, 8);
    assert_int_equal(choice.sig_len, 1144);
    assert_string_equal(choice.parameters[0], "LMS_SHA256_M24_H20");
    assert_string_equal(choice.parameters[1], "LMOTS_SHA256_N24_W8");
    /* 2^20 leaves of 26 chains of 256, 11 blocks over their ends and the leaf; 2 for each node. */
    assert_true(choice.keygen_hashes == 1048576.0 * (26 * 256 + 11 + 1) + 2.0 * 1048575);

    /* What it proposes is a plan. */
    struct plan plan;
    char text[PLAN_TEXT_SIZE];
    (void)snprintf(text, sizeof(text),
                   "{'tidemark_plan':1,'key':'k','profile':'cnsa2','scheme':'lms','parameters':"
                   "['%s','%s'],'assignment':{'kind':'time','start':'2026-12-06T00:00:00Z',"
                   "'window':'PT%" PRId64 "S','signatures_per_window':%" PRIu64 "}}",
                   choice.parameters[0], choice.parameters[1], weekly.window_s, choice.window_size);
    plan_make(&plan, text);
    assert_int_equal(plan.window_count, choice.window_count);
    plan_free(&plan);
}

/* One index of a window is the seal's, so 16 hold 15: an overflow of 4.9 %, not 2.7 %. */
static void test_seal_counts(void **state)
{
    (void)state;
    struct advise_need need = weekly;
    struct advise_choice choice;
    need.signatures_per_window = 10;
    need.exhaust_max = 0.03;
    assert_int_equal(advise_time_plan(&need, &choice, NULL), RC_OK);
    assert_int_equal(choice.window_size, 32);
    need.exhaust_max = 0.05;
    assert_int_equal(advise_time_plan(&need, &choice, NULL), RC_OK);
    assert_int_equal(choice.window_size, 16);
    /* Exactly what is accepted is accepted. */
    need.exhaust_max = advise_overflow(10, 31);
    assert_int_equal(advise_time_plan(&need, &choice, NULL), RC_OK);
    assert_int_equal(choice.window_size, 32);
}

static void check_verifier(const char *verifier, double mean, double years, enum rc rc, uint32_t h,
                           uint32_t n)
{
    struct advise_need need = weekly;
    struct advise_choice choice;
    struct err err = {0};
    need.verifier = verifier;
    need.signatures_per_window = mean;
    need.years = years;
    enum rc got = advise_time_plan(&need, &choice, &err);
    if (got != rc || choice.height != h || choice.n != n)
        fail_msg("%s: %s, height %" PRIu32 ", n %" PRIu32 ": %s", verifier, rc_name(got),
                 choice.height, choice.n, err_text(&err));
}

static void test_verifiers(void **state)
{
    (void)state;
    static const char *const names[] = {"any", "cnsa2", "hash-sigs", "mcuboot", "rfc8554"};
    size_t count = 0;
    for (; advise_verifiers()[count] != NULL; count++)
        assert_string_equal(advise_verifiers()[count], names[count]);
    assert_int_equal(count, 5);

    check_verifier("any", 700, 15, RC_OK, 20, 24);
    check_verifier("cnsa2", 700, 15, RC_OK, 20, 24);
    check_verifier("rfc8554", 700, 15, RC_OK, 20, 32);
    check_verifier("hash-sigs", 700, 15, RC_OK, 20, 32);
    check_verifier("mcuboot", 700, 15, RC_REFUSED_RANGE, 10, 32);
    check_verifier("mcuboot", 0.001, 1, RC_OK, 10, 32);
    check_verifier("any", 0, 0.01, RC_OK, 5, 24);
    check_verifier("any", 700, 1000, RC_REFUSED_RANGE, 25, 24);

    assert_true(advise_verifier_takes("mcuboot", 32, 10, 8));
    assert_false(advise_verifier_takes("mcuboot", 24, 10, 8));
    assert_false(advise_verifier_takes("mcuboot", 32, 5, 8));
    assert_false(advise_verifier_takes("mcuboot", 32, 10, 4));
    assert_true(advise_verifier_takes("rfc8554", 32, 25, 1));
    assert_false(advise_verifier_takes("rfc8554", 24, 25, 1));
    assert_false(advise_verifier_takes("hash-sigs", 24, 5, 8));
    assert_true(advise_verifier_takes("cnsa2", 24, 25, 2));
    assert_true(advise_verifier_takes("any", 24, 5, 1));
    assert_true(advise_verifier_takes(NULL, 32, 15, 4));
    assert_false(advise_verifier_takes("any", 24, 6, 1));
    assert_false(advise_verifier_takes("any", 24, 0, 1));
    assert_false(advise_verifier_takes("any", 24, 30, 1));
    assert_false(advise_verifier_takes("any", 16, 5, 1));
    assert_false(advise_verifier_takes("any", 32, 5, 3));
    assert_false(advise_verifier_takes("nobody", 32, 10, 8));
}

/* Signature lengths of RFC 8554 §6.2 with one level, from tables of RFC 8554 and RFC 9858. */
static void test_lengths(void **state)
{
    (void)state;
    static const struct {
        const char *verifier;
        double mean;
        uint32_t height;
        uint64_t len;
    } cases[] = {{"rfc8554", 0.1, 5, 1296}, {"mcuboot", 0.1, 10, 1456}, {"any", 0.1, 5, 784}};
    for (size_t i = 0; i < 3; i++) {
        struct advise_need need = {604800, cases[i].mean, 0.01, 0.01, cases[i].verifier};
        struct advise_choice choice;
        assert_int_equal(advise_time_plan(&need, &choice, NULL), RC_OK);
        assert_int_equal(choice.height, cases[i].height);
        assert_int_equal(choice.sig_len, cases[i].len);
    }
}

static void check_input(const struct advise_need *need, const char *says)
{
    struct advise_choice choice;
    struct advise_choice zero = {0};
    struct err err = {0};
    memset(&choice, 0xa5, sizeof(choice));
    assert_int_equal(advise_time_plan(need, &choice, &err), RC_REFUSED_INPUT);
    assert_non_null(strstr(err.text, says));
    assert_memory_equal(&choice, &zero, sizeof(zero));
}

static void test_bad_needs(void **state)
{
    (void)state;
    struct advise_need need = weekly;
    need.verifier = "openssl";
    check_input(&need, "unknown verifier profile \"openssl\"");
    need = weekly;
    need.window_s = 599;
    check_input(&need, "600 to");
    need.window_s = INT64_C(100000000001);
    check_input(&need, "600 to");
    need.window_s = INT64_MIN;
    check_input(&need, "600 to");
    need = weekly;
    need.signatures_per_window = -0.5;
    check_input(&need, "signatures per window");
    need.signatures_per_window = NAN;
    check_input(&need, "signatures per window");
    need.signatures_per_window = 1.1e9;
    check_input(&need, "signatures per window");
    need = weekly;
    need.years = 0;
    check_input(&need, "years");
    need.years = 1001;
    check_input(&need, "years");
    need.years = NAN;
    check_input(&need, "years");
    need = weekly;
    need.exhaust_max = 0;
    check_input(&need, "probability");
    need.exhaust_max = 1;
    check_input(&need, "probability");
    need.exhaust_max = NAN;
    check_input(&need, "probability");
}

/* Where no height serves, the text says what would. */
static void test_too_much(void **state)
{
    (void)state;
    struct advise_need need = weekly;
    struct advise_choice choice;
    struct err err = {0};
    need.years = 1000;
    assert_int_equal(advise_time_plan(&need, &choice, &err), RC_REFUSED_RANGE);
    assert_int_equal(choice.window_size, 1024);
    assert_int_equal(choice.window_count, 32768);
    assert_non_null(strstr(err.text, "ask for 628."));
    need = weekly;
    need.signatures_per_window = 1e9;
    err = (struct err){0};
    assert_int_equal(advise_time_plan(&need, &choice, &err), RC_REFUSED_RANGE);
    assert_int_equal(choice.height, 25);
    assert_true(choice.exhaust == 1.0);
    assert_non_null(strstr(err.text, "shorter windows"));
}

int main(void)
{
    if (base_init(NULL) != RC_OK)
        return 99;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bucket),      cmocka_unit_test(test_bucket_change),
        cmocka_unit_test(test_bucket_rate), cmocka_unit_test(test_bucket_rounding),
        cmocka_unit_test(test_overflow),    cmocka_unit_test(test_time_plan),
        cmocka_unit_test(test_verifiers),   cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_bad_needs),   cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_seal_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
