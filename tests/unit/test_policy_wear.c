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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
