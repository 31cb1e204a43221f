/*
 * The anchored clock on special days: a real chronyd under libfaketime, so that its clock stands at
 * a date of ours, between servers that agree with that date or do not. Cases 22 and 33 of
 * docs/clock.md. A leap second that the kernel itself inserts is in tests/clock/kernel.c.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/clock_bench.h"

#define MINUTE 60

/* First seconds of the days that follow. */
#define JANUARY_2027 INT64_C(1798761600)
#define JULY_2027 INT64_C(1814400000)
#define NOON 43200

/* Without a clock of its own the host boots in 1970, and chronyd, who does not step it, has a
 * correction of half a century. */
static void case_22_boot_in_1970(void **state)
{
    struct bench *b = *state;
    set_date(b, 5 * MINUTE, JANUARY_2027 - NOON);
    observe_servers(b, "");
    int64_t begin = raw_now_ns();
    do {
        stays_shut(b, 1);
        expect_reason(b, CLK_REASON(CLK_RANGE));
        assert_true(raw_now_ns() - begin < PATIENCE_MS * MS);
    } while (b->r.error_ns == INT64_MAX || b->sample.evidence.tracking.leap != 0);
    assert_int_equal(b->v.mode, CLK_UNSYNCED);
    expect_reason(b, CLK_REASON(CLK_ERR_BIG));
    assert_true(b->sample.evidence.tracking.correction_s < -1e9 ||
                b->sample.evidence.tracking.correction_s > 1e9);
    stays_shut(b, 20);
}

/* Announced on the last day of June or December of the client's own clock: chronyd says so, and a
 * day of announcement is a day like others. */
static void announced(struct bench *b, int64_t day_end_s, unsigned bits, unsigned expected)
{
    set_date(b, day_end_s - 10 * MINUTE, day_end_s - 10 * MINUTE);
    struct lies leap = liar_honest();
    leap.leap = bits;
    tell(b, 0, SERVERS - 1, &leap);
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    stays_right(b, 20);
    assert_int_equal(b->sample.evidence.tracking.leap, expected);
}

static void case_33_second_to_be_inserted(void **state)
{
    announced(*state, JANUARY_2027, 1, 1);
}

static void case_33_second_to_be_deleted(void **state)
{
    announced(*state, JULY_2027, 2, 2);
}

static void case_33_leap_on_any_other_day(void **state)
{
    announced(*state, JULY_2027 - 86400, 1, 0);
}

#define DATE(f) cmocka_unit_test_setup_teardown(f, bench_start, bench_stop)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        DATE(case_22_boot_in_1970),
        DATE(case_33_second_to_be_inserted),
        DATE(case_33_second_to_be_deleted),
        DATE(case_33_leap_on_any_other_day),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, bench_group_start, bench_group_stop);
}
