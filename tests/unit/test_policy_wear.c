/* plan_wear_check(): the count of NV writes, and the proposal when it is too high. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "policy/wear.h"

static struct plan time_plan(uint64_t windows, uint64_t usable, uint64_t lease_size)
{
    return (struct plan){.kind = PLAN_TIME,
                         .window_count = windows,
                         .window_usable = usable,
                         .lease_size = lease_size};
}

static void nightly_plan_fits(void **state)
{
    (void)state;
    /* The weekly plan of the design: 1,024 windows of 64 leases. */
    struct plan plan = time_plan(1024, 1023, 16);
    struct plan_wear wear;
    assert_int_equal(plan_wear_check(&plan, WEAR_ENDURANCE_DEFAULT, &wear, NULL), RC_OK);
    assert_int_equal(wear.w, 1024);
    assert_int_equal(wear.l, 65536 + WEAR_RESTARTS);
    assert_int_equal(wear.a, 65536 + 16384 + 2048 + WEAR_RESTARTS);
    /* Both sides of the bound. */
    assert_int_equal(plan_wear_check(&plan, wear.a, &wear, NULL), RC_OK);
    assert_int_equal(plan_wear_check(&plan, wear.a - 1, &wear, NULL), RC_REFUSED_PLAN);
}

static void small_leases_get_a_proposal(void **state)
{
    (void)state;
    struct plan plan = time_plan(1024, 1023, 1);
    struct plan_wear wear;
    struct err err = {0};
    assert_int_equal(plan_wear_check(&plan, WEAR_ENDURANCE_DEFAULT, &wear, &err), RC_REFUSED_PLAN);
    assert_int_equal(wear.lease_size, 16);
    assert_non_null(strstr(err.text, "\"lease_size\": 16"));
    plan.lease_size = wear.lease_size;
    assert_int_equal(plan_wear_check(&plan, WEAR_ENDURANCE_DEFAULT, &wear, NULL), RC_OK);
}

static void too_many_windows_cannot_be_helped(void **state)
{
    (void)state;
    struct plan plan = time_plan(200000, 4, 4);
    struct plan_wear wear;
    struct err err = {0};
    assert_int_equal(plan_wear_check(&plan, WEAR_ENDURANCE_DEFAULT, &wear, &err), RC_REFUSED_PLAN);
    assert_int_equal(wear.lease_size, 0);
    assert_non_null(strstr(err.text, "larger windows"));
}

static void version_plans_are_counted_not_refused(void **state)
{
    (void)state;
    struct plan plan = {.kind = PLAN_VERSION, .window_count = 16384, .window_usable = 48};
    struct plan_wear wear;
    assert_int_equal(plan_wear_check(&plan, WEAR_ENDURANCE_DEFAULT, &wear, NULL), RC_OK);
    assert_int_equal(wear.l, 16384 * 48 + WEAR_RESTARTS);
    assert_true(wear.a > WEAR_ENDURANCE_DEFAULT);
}

/* What is in use ------------------------------------------------------------------------------- */

#define SINCE INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define DAY INT64_C(86400)

static struct wear_outlook after(uint64_t a, uint64_t endurance, int64_t elapsed_s)
{
    struct wear_used used = {.w = 1, .l = 2, .a = a};
    struct wear_outlook o;
    wear_project(&used, endurance, SINCE, SINCE + elapsed_s, &o);
    return o;
}

static void the_most_written_index_counts(void **state)
{
    (void)state;
    const struct wear_used used[] = {{.w = 7}, {.l = 7}, {.a = 7}, {.w = 6, .l = 7, .a = 5}};
    for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++) {
        struct wear_outlook o;
        wear_project(&used[i], 100, SINCE, SINCE + DAY, &o);
        assert_int_equal(o.used, 7);
        assert_int_equal(o.percent, 7);
    }
}

static void half_in_ten_years_lasts_twenty(void **state)
{
    (void)state;
    struct wear_outlook o = after(50000, 100000, 3653 * DAY);
    assert_int_equal(o.percent, 50);
    assert_int_equal(o.year, 2046);
    assert_in_range(o.per_year, 4990, 5001);
    /* Beyond it the year is that of now: it has been reached. */
    o = after(200000, 100000, 3653 * DAY);
    assert_int_equal(o.percent, 200);
    assert_int_equal(o.year, 2036);
}

static void nothing_is_projected_from_nothing(void **state)
{
    (void)state;
    struct wear_outlook o = after(10, 100000, DAY - 1);
    assert_int_equal(o.used, 10);
    assert_int_equal(o.per_year, WEAR_UNKNOWN);
    assert_int_equal(o.year, WEAR_UNKNOWN);
    o = after(10, 100000, DAY);
    assert_true(o.per_year > 0 && o.year > 2026);
    o = after(10, 100000, -DAY); /* the host's clock was wrong once, or is now */
    assert_int_equal(o.year, WEAR_UNKNOWN);
    o = after(1, UINT64_C(1) << 40, 3653 * DAY); /* longer than there are years */
    assert_int_equal(o.year, WEAR_UNKNOWN);
    assert_int_equal(o.percent, 0);
}

static void no_number_is_too_large(void **state)
{
    (void)state;
    struct wear_outlook o = after(UINT64_MAX, 1, DAY);
    assert_int_equal(o.percent, 1000);
    assert_int_equal(o.per_year, INT64_MAX);
    assert_int_equal(o.year, 2026);
    o = after(UINT64_MAX, UINT64_MAX, INT64_C(1) << 37);
    assert_int_equal(o.percent, 100);
    o = after(1, UINT64_MAX, INT64_C(1) << 37);
    assert_int_equal(o.year, WEAR_UNKNOWN);
}

static void thresholds_have_their_edges(void **state)
{
    (void)state;
    const uint32_t right[][2] = {{0, 0},   {49, 0},  {50, 50}, {74, 50},
                                 {75, 75}, {89, 75}, {90, 90}, {1000, 90}};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        assert_int_equal(wear_threshold(right[i][0]), right[i][1]);
}

/* With an argument, the tests whose names it matches (* and ?). */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nightly_plan_fits),
        cmocka_unit_test(small_leases_get_a_proposal),
        cmocka_unit_test(too_many_windows_cannot_be_helped),
        cmocka_unit_test(version_plans_are_counted_not_refused),
        cmocka_unit_test(the_most_written_index_counts),
        cmocka_unit_test(half_in_ten_years_lasts_twenty),
        cmocka_unit_test(nothing_is_projected_from_nothing),
        cmocka_unit_test(no_number_is_too_large),
        cmocka_unit_test(thresholds_have_their_edges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
