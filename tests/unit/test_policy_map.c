/* The map of plans: literal numbers, every boundary from both sides, every return code. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/secmem.h"
#include "lib/plan_text.h"

#define VERSION(format, more) "{'kind':'version','format':'" format "'" more "}"
#define ROUTER                                                                                     \
    VERSION("major.minor.patch", ",'sizes':{'minor':32,'patch':16},"                               \
                                 "'slots':['bootloader','kernel','rootfs'],'window':'minor'")
#define ROUTER_PER_LINE                                                                            \
    VERSION("major.minor.patch", ",'sizes':{'minor':32,'patch':16},'order':'per-line',"            \
                                 "'slots':['bootloader','kernel','rootfs'],'window':'minor'")

static int64_t at(const char *text)
{
    int64_t seconds = 0;
    assert_true(rfc3339_parse(&seconds, text));
    return seconds;
}

static void check_window_at(const struct plan *plan, int64_t seconds, enum rc rc, uint64_t window)
{
    uint64_t got = 77;
    struct err err = {0};
    assert_int_equal(plan_window_at(plan, seconds, &got, &err), rc);
    assert_int_equal(got, window);
    assert_int_equal(err.rc, rc);
}

static void check_lease(const struct plan *plan, uint64_t window, uint64_t k, enum rc rc,
                        uint64_t first, uint64_t count)
{
    uint64_t got_first = 77;
    uint64_t got_count = 77;
    assert_int_equal(plan_lease(plan, window, k, &got_first, &got_count, NULL), rc);
    assert_int_equal(got_first, first);
    assert_int_equal(got_count, count);
}

static void check_place(const struct plan *plan, const char *version, const char *slot,
                        uint64_t window, uint64_t index)
{
    struct plan_place place = {0};
    struct err err = {0};
    char back[VERSION_LEN_MAX + 1];
    char back_slot[NAME_LEN_MAX + 1];
    enum rc rc = plan_place_version(plan, version, slot, &place, &err);
    if (rc != RC_OK)
        fail_msg("%s: %s", version, err_text(&err));
    assert_int_equal(place.window, window);
    assert_int_equal(place.index, index);
    assert_int_equal(plan_version_of_index(plan, index, back, back_slot, NULL), RC_OK);
    assert_string_equal(back, version);
    if (slot != NULL)
        assert_string_equal(back_slot, slot);
    assert_int_equal(plan_use_of_index(plan, index), PLAN_USE_ARTIFACT);
}

/* @param[in] says  Part of the message. */
static void check_no_place(const struct plan *plan, const char *version, const char *slot,
                           enum rc rc, const char *says)
{
    struct plan_place place;
    struct plan_place zero = {0};
    struct err err = {0};
    memset(&place, 0xa5, sizeof(place));
    enum rc got = plan_place_version(plan, version, slot, &place, &err);
    if (got != rc || strstr(err.text, says) == NULL)
        fail_msg("\"%s\": %s \"%s\", wanted \"%s\"", version, rc_name(got), err.text, says);
    assert_memory_equal(&place, &zero, sizeof(zero));
}

static void check_no_version(const struct plan *plan, uint64_t index, enum plan_use use)
{
    char version[VERSION_LEN_MAX + 1] = "x";
    char slot[NAME_LEN_MAX + 1] = "x";
    assert_int_equal(plan_version_of_index(plan, index, version, slot, NULL), RC_REFUSED_RANGE);
    assert_string_equal(version, "");
    assert_string_equal(slot, "");
    assert_int_equal(plan_use_of_index(plan, index), use);
}

static void check_label(const struct plan *plan, uint64_t window, const char *label)
{
    char got[64];
    plan_window_label(plan, window, got);
    assert_string_equal(got, label);
}

static void check_next(const struct plan *plan, const char *version, enum rc rc, const char *next)
{
    char got[VERSION_LEN_MAX + 1] = "x";
    assert_int_equal(plan_next_version(plan, version, got, NULL), rc);
    assert_string_equal(got, next);
}

/* --- Time ---------------------------------------------------------------------------------------
 */

static void test_time(void **state)
{
    (void)state;
    struct plan plan;
    plan_make(&plan, "{'tidemark_plan':1,'key':'nightly','profile':'cnsa2','scheme':'lms',"
                     "'parameters':['LMS_SHA256_M24_H20','LMOTS_SHA256_N24_W8'],'message':'raw',"
                     "'assignment':{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"
                     "'signatures_per_window':1024,'lease_size':16}}");
    assert_int_equal(plan.height, 20);
    assert_int_equal(plan.window_size, 1024);
    assert_int_equal(plan.window_usable, 1023);
    assert_int_equal(plan.window_count, 1024);
    assert_int_equal(plan.lease_size, 16);
    assert_true(plan.seal);

    int64_t start = at("2026-12-06T00:00:00Z");
    check_window_at(&plan, start - 1, RC_REFUSED_OUTSIDE_PLAN, 0);
    check_window_at(&plan, INT64_MIN, RC_REFUSED_OUTSIDE_PLAN, 0);
    check_window_at(&plan, -1, RC_REFUSED_OUTSIDE_PLAN, 0);
    check_window_at(&plan, start, RC_OK, 0);
    check_window_at(&plan, start + 604799, RC_OK, 0);
    check_window_at(&plan, start + 604800, RC_OK, 1);
    check_window_at(&plan, at("2046-07-21T23:59:59Z"), RC_OK, 1023);
    check_window_at(&plan, at("2046-07-22T00:00:00Z"), RC_REFUSED_OUTSIDE_PLAN, 0);
    check_window_at(&plan, INT64_MAX, RC_REFUSED_OUTSIDE_PLAN, 0);

    int64_t from = 0;
    int64_t to = 0;
    plan_window_times(&plan, 0, &from, &to);
    assert_int_equal(from, start);
    assert_int_equal(to, start + 604800);
    plan_window_times(&plan, 1023, &from, &to);
    assert_int_equal(to, at("2046-07-22T00:00:00Z"));
    check_label(&plan, 1, "2026-12-13T00:00:00Z");

    check_lease(&plan, 0, 0, RC_OK, 0, 16);
    check_lease(&plan, 0, 62, RC_OK, 992, 16);
    check_lease(&plan, 0, 63, RC_OK, 1008, 15); /* 1023 is the seal */
    check_lease(&plan, 0, 64, RC_RETRY_WINDOW_FULL, 0, 0);
    check_lease(&plan, 1023, 63, RC_OK, 1048560, 15);
    check_lease(&plan, 1023, UINT64_MAX, RC_RETRY_WINDOW_FULL, 0, 0);
    assert_int_equal(plan_leases_per_window(&plan), 64);
    assert_int_equal(plan_seal_index(&plan, 0), 1023);
    assert_int_equal(plan_seal_index(&plan, 1023), 1048575);
    assert_int_equal(plan_use_of_index(&plan, 1022), PLAN_USE_ARTIFACT);
    assert_int_equal(plan_use_of_index(&plan, 1023), PLAN_USE_SEAL);
    assert_int_equal(plan_use_of_index(&plan, 1048575), PLAN_USE_SEAL);
    assert_int_equal(plan_use_of_index(&plan, 1048576), PLAN_USE_NONE);
    assert_int_equal(plan_use_of_index(&plan, UINT64_MAX), PLAN_USE_NONE);
    plan_free(&plan);
}

static void test_window_of_index(void **state)
{
    (void)state;
    struct plan plan;
    uint64_t window = 77;
    struct err err = {0};
    plan_make(&plan, PLAN_H10("{'kind':'interval','signatures_per_window':100,'windows':3}"));
    assert_int_equal(plan.window_size, 128);
    assert_int_equal(plan.window_usable, 100);
    assert_int_equal(plan.window_count, 3);
    assert_int_equal(plan_window_first(&plan, 0), 0);
    assert_int_equal(plan_window_first(&plan, 2), 256);
    assert_int_equal(plan_window_of_index(&plan, 0, &window, &err), RC_OK);
    assert_int_equal(window, 0);
    assert_int_equal(plan_window_of_index(&plan, 127, &window, &err), RC_OK);
    assert_int_equal(window, 0);
    assert_int_equal(plan_window_of_index(&plan, 128, &window, &err), RC_OK);
    assert_int_equal(window, 1);
    assert_int_equal(plan_window_of_index(&plan, 383, &window, &err), RC_OK);
    assert_int_equal(window, 2);
    assert_int_equal(plan_window_of_index(&plan, 384, &window, &err), RC_REFUSED_RANGE);
    assert_int_equal(window, 0);
    assert_non_null(strstr(err.text, "383"));
    assert_int_equal(plan_window_of_index(&plan, UINT64_MAX, &window, NULL), RC_REFUSED_RANGE);
    assert_int_equal(plan_use_of_index(&plan, 99), PLAN_USE_ARTIFACT);
    assert_int_equal(plan_use_of_index(&plan, 100), PLAN_USE_PADDING);
    assert_int_equal(plan_use_of_index(&plan, 127), PLAN_USE_PADDING);
    assert_int_equal(plan_use_of_index(&plan, 384), PLAN_USE_NONE);
    check_label(&plan, 2, "2");
    plan_free(&plan);
}

static void check_block(const char *text, uint64_t size, uint64_t usable, uint64_t count,
                        uint64_t lease)
{
    struct plan plan;
    plan_make(&plan, text);
    assert_int_equal(plan.window_size, size);
    assert_int_equal(plan.window_usable, usable);
    assert_int_equal(plan.window_count, count);
    assert_int_equal(plan.lease_size, lease);
    uint64_t first = 0;
    uint64_t n = 0;
    uint64_t last = plan_leases_per_window(&plan) - 1;
    assert_int_equal(plan_lease(&plan, count - 1, last, &first, &n, NULL), RC_OK);
    assert_int_equal(first + n, (count - 1) * size + usable);
    plan_free(&plan);
}

#define BLOCK(more) "{'kind':'interval','signatures_per_window':" more "}"
#define YEAR_9999(more)                                                                            \
    "{'kind':'time','start':'9999-12-30T00:00:00Z','signatures_per_window':4,'window':" more "}"

static void test_blocks(void **state)
{
    (void)state;
    check_block(PLAN_H10(BLOCK("1")), 1, 1, 1024, 1);
    check_block(PLAN_H10(BLOCK("2,'seal':true")), 2, 1, 512, 1);
    check_block(PLAN_H10(BLOCK("16")), 16, 16, 64, 16);
    check_block(PLAN_H10(BLOCK("17")), 32, 17, 32, 16);
    check_block(PLAN_H10(BLOCK("16,'seal':true")), 16, 15, 64, 15);
    check_block(PLAN_H10(BLOCK("16,'seal':true,'lease_size':16")), 16, 15, 64, 15);
    check_block(PLAN_H10(BLOCK("1000,'seal':true,'lease_size':7")), 1024, 999, 1, 7);
    check_block(PLAN_H10(BLOCK("1024")), 1024, 1024, 1, 16);
    check_block(PLAN_H10(BLOCK("512,'lease_size':512")), 512, 512, 2, 512);
    check_block(PLAN_H60(BLOCK("9007199254740992,'lease_size':9007199254740992")),
                UINT64_C(1) << 53, UINT64_C(1) << 53, 128, UINT64_C(1) << 53);
    check_block(PLAN_H60(BLOCK("1")), 1, 1, UINT64_C(1) << 60, 1);
    /* Time ends with the year 9999. */
    check_block(PLAN_H10(YEAR_9999("'PT1H'")), 4, 3, 47, 3);
    check_block(PLAN_H10(YEAR_9999("'P1D'")), 4, 3, 1, 3);
    check_block(PLAN_H60(YEAR_9999("'PT600S'")), 4, 3, 287, 3);
}

static void test_time_end(void **state)
{
    (void)state;
    struct plan plan;
    int64_t from = 0;
    int64_t to = 0;
    /* All windows of 2^60 / 4 that fit, from the first second there is. */
    plan_make(&plan, PLAN_H60("{'kind':'time','start':'1970-01-01T00:00:00Z','window':'PT10M',"
                              "'signatures_per_window':4}"));
    assert_int_equal(plan.window_count, (uint64_t)RFC3339_S_MAX / 600);
    plan_window_times(&plan, plan.window_count - 1, &from, &to);
    assert_true(to <= RFC3339_S_MAX && to > RFC3339_S_MAX - 600);
    check_window_at(&plan, 0, RC_OK, 0);
    check_window_at(&plan, to - 1, RC_OK, plan.window_count - 1);
    check_window_at(&plan, to, RC_REFUSED_OUTSIDE_PLAN, 0);
    plan_free(&plan);
}

/* --- Versions -----------------------------------------------------------------------------------
 */

static void test_router(void **state)
{
    (void)state;
    struct plan plan;
    plan_make(&plan, PLAN_H16(ROUTER));
    assert_int_equal(plan.window_size, 64);
    assert_int_equal(plan.window_usable, 48);
    assert_int_equal(plan.window_count, 1024);
    assert_int_equal(plan.sizes[0], 32);
    assert_int_equal(plan.versions_per_window, 16);
    assert_int_equal(plan.slot_count, 3);
    assert_int_equal(plan.lease_size, 0);
    assert_int_equal(plan.max_jump, 1);
    assert_false(plan.seal);
    assert_int_equal(plan_version_count(&plan), 16384);
    assert_string_equal(plan_level_name(&plan, 0), "major");
    assert_string_equal(plan_level_name(&plan, 2), "patch");

    check_place(&plan, "0.0.0", "bootloader", 0, 0);
    check_place(&plan, "0.0.0", "rootfs", 0, 2);
    check_place(&plan, "0.0.1", "bootloader", 0, 3);
    check_place(&plan, "0.0.15", "rootfs", 0, 47);
    check_place(&plan, "0.1.0", "bootloader", 1, 64);
    check_place(&plan, "4.2.1", "kernel", 130, 8324);
    check_place(&plan, "31.31.15", "rootfs", 1023, 65519);
    check_no_version(&plan, 48, PLAN_USE_PADDING);
    check_no_version(&plan, 63, PLAN_USE_PADDING);
    check_no_version(&plan, 65520, PLAN_USE_PADDING);
    check_no_version(&plan, 65535, PLAN_USE_PADDING);
    check_no_version(&plan, 65536, PLAN_USE_NONE);
    check_no_version(&plan, UINT64_MAX, PLAN_USE_NONE);
    check_label(&plan, 0, "0.0");
    check_label(&plan, 130, "4.2");
    check_label(&plan, 1023, "31.31");

    check_no_place(&plan, "32.0.0", "kernel", RC_REFUSED_OUTSIDE_PLAN, "major must be 0 to 31");
    check_no_place(&plan, "4.32.0", "kernel", RC_REFUSED_OUTSIDE_PLAN, "minor must be 0 to 31");
    check_no_place(&plan, "4.2.16", "kernel", RC_REFUSED_OUTSIDE_PLAN, "patch must be 0 to 15");
    check_no_place(&plan, "4.2.18446744073709551616", "kernel", RC_REFUSED_OUTSIDE_PLAN, "patch");
    check_no_place(&plan, "4.2.1", NULL, RC_REFUSED_INPUT, "3 slots");
    check_no_place(&plan, "4.2.1", "", RC_REFUSED_INPUT, "\"bootloader\"");
    check_no_place(&plan, "4.2.1", "Kernel", RC_REFUSED_OUTSIDE_PLAN, "\"Kernel\" is not in");
    plan_free(&plan);
}

static void test_version_form(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "4",
        "4.2",
        "4.2.1.0",
        "v4.2.1",
        "4.2.1 ",
        " 4.2.1",
        "04.2.1",
        "4.02.1",
        "4.2.01",
        "4.2.",
        ".2.1",
        "4..1",
        "4.2.1-rc1",
        "4.2.1\n",
        "+4.2.1",
        "4.-2.1",
        "4,2,1",
        "4.2.1x",
        "4.2.0x1",
        "4.2.\xd9\xa1",
        "0.0.00000000000000000000000000000000000000000000000000000000000000000000000000000000",
        "4.2.1111111111111111111111111111111111111111111111111111111111111111111111111111x",
        "4.2.1111111111111111111111111111111111111111111111111111111111111111111111111111111",
    };
    struct plan plan;
    plan_make(&plan, PLAN_H16(ROUTER));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check_no_place(&plan, bad[i], "kernel", RC_REFUSED_INPUT, "right is \"4.2.1\"");
    check_no_place(&plan, "4.2.\x1b[31m", "kernel", RC_REFUSED_INPUT,
                   "\"4.2.?[31m\" is no version");
    plan_free(&plan);

    /* The example lies inside the plan, however small it is. */
    plan_make(&plan, PLAN_H10(VERSION("major.minor", ",'sizes':{'major':2,'minor':1}")));
    check_no_place(&plan, "4", NULL, RC_REFUSED_INPUT, "right is \"1.0\"");
    plan_free(&plan);
}

static void test_hundred_minors(void **state)
{
    (void)state;
    struct plan plan;
    plan_make(&plan, PLAN_H16(VERSION("major.minor.patch", ",'sizes':{'minor':100,'patch':10}")));
    assert_int_equal(plan.window_size, 16);
    assert_int_equal(plan.window_usable, 10);
    assert_int_equal(plan.sizes[0], 40); /* 4,096 windows hold 40 times 100 */
    assert_int_equal(plan.window_count, 4000);
    check_place(&plan, "39.99.9", NULL, 3999, 63993);
    check_place(&plan, "1.0.0", "", 100, 1600);
    check_no_place(&plan, "40.0.0", NULL, RC_REFUSED_OUTSIDE_PLAN, "major must be 0 to 39");
    check_no_place(&plan, "1.0.0", "kernel", RC_REFUSED_OUTSIDE_PLAN, "has no slots");
    check_no_version(&plan, 63994, PLAN_USE_PADDING);
    check_no_version(&plan, 64000, PLAN_USE_NONE);
    plan_free(&plan);
}

static void test_window_levels(void **state)
{
    (void)state;
    struct plan plan;
    /* A window is a major: 4 x 3 versions and the seal in 16. */
    plan_make(&plan, PLAN_H10(VERSION("major.minor.patch", ",'sizes':{'minor':4,'patch':3},"
                                                           "'window':'major','seal':true")));
    assert_int_equal(plan.window_size, 16);
    assert_int_equal(plan.window_usable, 12);
    assert_int_equal(plan.sizes[0], 64);
    check_place(&plan, "63.3.2", NULL, 63, 1019);
    assert_int_equal(plan_seal_index(&plan, 63), 1023);
    check_no_version(&plan, 1023, PLAN_USE_SEAL);
    check_no_version(&plan, 1020, PLAN_USE_PADDING);
    check_label(&plan, 63, "63");
    plan_free(&plan);

    /* The seal needs a place of its own: 16 versions and a seal take 32. */
    plan_make(&plan, PLAN_H10(VERSION("major.minor", ",'sizes':{'minor':16},'seal':true")));
    assert_int_equal(plan.window_size, 32);
    assert_int_equal(plan.window_usable, 16);
    assert_int_equal(plan.window_count, 32);
    plan_free(&plan);

    /* A window is a version: only the slots are inside. */
    plan_make(&plan,
              PLAN_H10(VERSION("major.minor.patch", ",'sizes':{'major':3,'minor':4,'patch':3},"
                                                    "'window':'patch','slots':['a','b','c']")));
    assert_int_equal(plan.window_size, 4);
    assert_int_equal(plan.window_count, 36);
    check_place(&plan, "2.3.2", "c", 35, 142);
    check_place(&plan, "0.0.1", "a", 1, 4);
    check_label(&plan, 35, "2.3.2");
    check_no_version(&plan, 144, PLAN_USE_NONE);
    plan_free(&plan);

    /* One slot with a name: it may be left out, and is named on the way back. */
    plan_make(&plan, PLAN_H10(VERSION("major.minor", ",'sizes':{'minor':8},'slots':['image']")));
    struct plan_place place;
    assert_int_equal(plan_place_version(&plan, "2.1", NULL, &place, NULL), RC_OK);
    assert_int_equal(place.index, 17);
    check_place(&plan, "2.1", "image", 2, 17);
    check_no_place(&plan, "2.1", "kernel", RC_REFUSED_OUTSIDE_PLAN, "kernel");
    assert_string_equal(plan_level_name(&plan, 1), "minor");
    plan_free(&plan);
}

static void test_integer(void **state)
{
    (void)state;
    struct plan plan;
    plan_make(&plan, PLAN_H10(VERSION("integer", "")));
    assert_int_equal(plan.window_count, 1024);
    check_place(&plan, "0", NULL, 0, 0);
    check_place(&plan, "1023", NULL, 1023, 1023);
    check_no_place(&plan, "1024", NULL, RC_REFUSED_OUTSIDE_PLAN, "version must be 0 to 1023");
    check_no_place(&plan, "1.0", NULL, RC_REFUSED_INPUT, "form integer; right is \"4\"");
    check_label(&plan, 5, "5");
    plan_free(&plan);

    /* 25 versions, ten a window: the last window is half full. */
    plan_make(&plan, PLAN_H10(VERSION("integer", ",'sizes':{'version':25},'seal':true,"
                                                 "'versions_per_window':10")));
    assert_int_equal(plan.window_size, 16);
    assert_int_equal(plan.window_count, 3);
    check_place(&plan, "24", NULL, 2, 36);
    check_no_place(&plan, "25", NULL, RC_REFUSED_OUTSIDE_PLAN, "0 to 24");
    check_no_version(&plan, 37, PLAN_USE_PADDING);
    check_no_version(&plan, 47, PLAN_USE_SEAL);
    check_no_version(&plan, 48, PLAN_USE_NONE);
    check_label(&plan, 0, "0..9");
    check_label(&plan, 2, "20..24");
    plan_free(&plan);

    plan_make(&plan, PLAN_H60(VERSION("integer", "")));
    check_place(&plan, "1152921504606846975", NULL, (UINT64_C(1) << 60) - 1,
                (UINT64_C(1) << 60) - 1);
    check_no_place(&plan, "1152921504606846976", NULL, RC_REFUSED_OUTSIDE_PLAN, "version");
    plan_free(&plan);
}

static void test_calendar(void **state)
{
    (void)state;
    struct plan plan;
    plan_make(&plan, PLAN_H10(VERSION("calendar", ",'start_year':2026,'sizes':{'number':4}")));
    assert_int_equal(plan.window_size, 4);
    assert_int_equal(plan.sizes[0], 21); /* 256 windows hold 21 years */
    assert_int_equal(plan.window_count, 252);
    check_place(&plan, "2026.01.0", NULL, 0, 0);
    check_place(&plan, "2026.04.1", NULL, 3, 13);
    check_place(&plan, "2026.12.3", NULL, 11, 47);
    check_place(&plan, "2046.12.3", NULL, 251, 1007);
    check_label(&plan, 3, "2026.04");
    check_no_version(&plan, 1008, PLAN_USE_NONE);
    check_no_place(&plan, "2025.12.0", NULL, RC_REFUSED_OUTSIDE_PLAN, "year must be 2026 to 2046");
    check_no_place(&plan, "2047.01.0", NULL, RC_REFUSED_OUTSIDE_PLAN, "year");
    check_no_place(&plan, "2026.04.4", NULL, RC_REFUSED_OUTSIDE_PLAN, "number must be 0 to 3");
    static const char *const bad[] = {"2026.4.1", "2026.00.1", "2026.13.1",  "2026.004.1",
                                      "2026.04",  "26.04.1",   "2026.04.01", "2026-04-1",
                                      "2026.04.", "02026.04.1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (strcmp(bad[i], "26.04.1") == 0)
            check_no_place(&plan, bad[i], NULL, RC_REFUSED_OUTSIDE_PLAN, "year must be 2026");
        else
            check_no_place(&plan, bad[i], NULL, RC_REFUSED_INPUT, "right is \"2030.03.1\"");
    plan_free(&plan);

    /* 21 years would fit, but only 20 are left of the calendar. */
    plan_make(&plan, PLAN_H10(VERSION("calendar", ",'start_year':9980,'sizes':{'number':4}")));
    assert_int_equal(plan.sizes[0], 20);
    check_place(&plan, "9999.12.3", NULL, 239, 959);
    plan_free(&plan);

    /* The calendar ends with 9999 even if the key does not. */
    plan_make(&plan, PLAN_H10(VERSION("calendar", ",'start_year':9998,'sizes':{'number':4},"
                                                  "'window':'year'")));
    assert_int_equal(plan.sizes[0], 2);
    assert_int_equal(plan.window_count, 2);
    check_place(&plan, "9999.12.3", NULL, 1, 111);
    check_label(&plan, 1, "9999");
    plan_free(&plan);
    plan_make(&plan, PLAN_H10(VERSION("calendar", ",'start_year':9998,'sizes':{'year':2,"
                                                  "'number':4}")));
    assert_int_equal(plan.window_count, 24);
    plan_free(&plan);
}

static void test_table(void **state)
{
    (void)state;
    struct plan plan;
    plan_make(&plan, PLAN_H10(VERSION("table", ",'entries':['1.0-rc1','1.0','1.0 SP/1','9','2'],"
                                               "'versions_per_window':2,'slots':['a','b']")));
    assert_int_equal(plan.window_size, 4);
    assert_int_equal(plan.window_count, 3);
    check_place(&plan, "1.0-rc1", "a", 0, 0);
    check_place(&plan, "1.0", "b", 0, 3);
    check_place(&plan, "1.0 SP/1", "a", 1, 4);
    check_place(&plan, "2", "b", 2, 9);
    check_no_version(&plan, 10, PLAN_USE_PADDING);
    check_no_version(&plan, 11, PLAN_USE_PADDING);
    check_no_version(&plan, 12, PLAN_USE_NONE);
    check_no_place(&plan, "3", "a", RC_REFUSED_OUTSIDE_PLAN, "not in the table");
    check_no_place(&plan, "", "a", RC_REFUSED_INPUT, "right is \"2\"");
    check_no_place(&plan, "a\"b", "a", RC_REFUSED_INPUT, "form table");
    check_label(&plan, 0, "1.0-rc1..1.0");
    check_label(&plan, 2, "2");
    check_next(&plan, "1.0", RC_OK, "1.0 SP/1");
    check_next(&plan, "2", RC_REFUSED_OUTSIDE_PLAN, "");
    plan_free(&plan);

    /* Two long entries: the label is cut. */
    plan_make(&plan,
              PLAN_H10(VERSION("table", ",'versions_per_window':2,'entries':["
                                        "'0123456789012345678901234567890123456789012345678901234"
                                        "56789012','end']")));
    check_label(&plan, 0, "012345678901234567890123456789012345678901234567890123456789012");
    plan_free(&plan);
}

/* --- Order --------------------------------------------------------------------------------------
 */

/* What plan_order_check() says to a version after another one (NULL: after none). */
static enum rc order(const struct plan *plan, const char *after, const char *version,
                     int64_t approved, struct err *err)
{
    struct plan_marks marks = {-1, -1};
    struct plan_place place;
    const char *slot = plan->slots_named ? plan->slots[0] : NULL;
    *err = (struct err){0};
    if (after != NULL) {
        assert_int_equal(plan_place_version(plan, after, slot, &place, NULL), RC_OK);
        marks.rank = (int64_t)place.rank;
        marks.window = (int64_t)place.window;
    }
    uint64_t line = place.line;
    assert_int_equal(plan_place_version(plan, version, slot, &place, NULL), RC_OK);
    assert_true(after == NULL || place.line == line);
    return plan_order_check(plan, &place, &marks, approved, err);
}

static void check_order(const struct plan *plan, const char *after, const char *version,
                        int64_t approved, enum rc rc, const char *says)
{
    struct err err;
    enum rc got = order(plan, after, version, approved, &err);
    if (got != rc || (says != NULL && strstr(err.text, says) == NULL))
        fail_msg("%s after %s: %s \"%s\"", version, after == NULL ? "nothing" : after, rc_name(got),
                 err.text);
}

static void test_strict(void **state)
{
    (void)state;
    struct plan plan;
    plan_make(&plan, PLAN_H16(ROUTER));
    check_order(&plan, NULL, "4.2.1", -1, RC_OK, NULL);
    check_order(&plan, "4.2.1", "4.2.1", -1, RC_OK, NULL);
    check_order(&plan, "4.2.1", "4.2.2", -1, RC_OK, NULL);
    check_order(&plan, "4.2.1", "4.2.15", -1, RC_OK, NULL);
    check_order(&plan, "4.2.1", "4.2.0", -1, RC_REFUSED_BELOW_FLOOR, "next free version: 4.2.2");
    check_order(&plan, "4.2.1", "0.0.0", -1, RC_REFUSED_BELOW_FLOOR, "4.2.2");
    check_order(&plan, "4.2.15", "4.2.14", -1, RC_REFUSED_BELOW_FLOOR, "next free version: 4.3.0");
    check_order(&plan, "31.31.15", "31.31.14", -1, RC_REFUSED_BELOW_FLOOR, "none");
    /* The next minor and the next major leave out nothing; max_jump is 1. */
    check_order(&plan, "4.2.1", "4.3.7", -1, RC_OK, NULL);
    check_order(&plan, "4.2.1", "4.4.0", -1, RC_OK, NULL);
    check_order(&plan, "4.2.1", "4.5.0", -1, RC_REFUSED_JUMP, "leaves out 2 windows");
    check_order(&plan, "4.2.1", "5.0.0", -1, RC_OK, NULL);
    check_order(&plan, "4.2.1", "5.1.0", -1, RC_OK, NULL);
    check_order(&plan, "4.2.1", "5.2.0", -1, RC_REFUSED_JUMP, "leaves out 2 windows");
    check_order(&plan, "4.2.1", "6.0.0", -1, RC_REFUSED_JUMP, "leaves out 32 windows");
    check_order(&plan, "4.2.1", "31.0.0", -1, RC_REFUSED_JUMP, "leaves out 832 windows");
    /* An approval is for one window, and lifts the jump alone. */
    check_order(&plan, "4.2.1", "31.0.0", 992, RC_OK, NULL);
    check_order(&plan, "4.2.1", "31.0.0", 991, RC_REFUSED_JUMP, NULL);
    check_order(&plan, "4.2.1", "31.0.0", 993, RC_REFUSED_JUMP, NULL);
    check_order(&plan, "4.2.1", "4.2.0", 130, RC_REFUSED_BELOW_FLOOR, NULL);

    check_next(&plan, "4.2.1", RC_OK, "4.2.2");
    check_next(&plan, "4.2.15", RC_OK, "4.3.0");
    check_next(&plan, "4.31.15", RC_OK, "5.0.0");
    check_next(&plan, "31.31.15", RC_REFUSED_OUTSIDE_PLAN, "");
    check_next(&plan, "32.0.0", RC_REFUSED_OUTSIDE_PLAN, "");
    check_next(&plan, "4.2", RC_REFUSED_INPUT, "");
    plan_free(&plan);
}

static void test_per_line(void **state)
{
    (void)state;
    struct plan plan;
    struct plan_place place;
    plan_make(&plan, PLAN_H16(ROUTER_PER_LINE));
    assert_int_equal(plan_place_version(&plan, "4.2.1", "kernel", &place, NULL), RC_OK);
    assert_int_equal(place.line, 4);
    assert_int_equal(place.rank, 2081);
    check_order(&plan, "4.2.1", "4.1.15", -1, RC_REFUSED_BELOW_FLOOR, "of its line");
    check_order(&plan, "4.2.1", "4.3.0", -1, RC_OK, NULL);
    check_order(&plan, "4.2.1", "4.5.0", -1, RC_REFUSED_JUMP, NULL);
    check_order(&plan, "4.31.15", "4.31.14", -1, RC_REFUSED_BELOW_FLOOR, "none in this line");
    check_order(&plan, NULL, "31.31.0", -1, RC_OK, NULL);
    check_next(&plan, "4.31.14", RC_OK, "4.31.15");
    check_next(&plan, "4.31.15", RC_REFUSED_OUTSIDE_PLAN, "");
    plan_free(&plan);

    /* A line for each minor: no window but its own. */
    plan_make(&plan, PLAN_H10(VERSION("major.minor.patch", ",'sizes':{'minor':4,'patch':4},"
                                                           "'order':'per-line','line':'minor'")));
    assert_int_equal(plan_place_version(&plan, "3.1.0", NULL, &place, NULL), RC_OK);
    assert_int_equal(place.line, 13);
    check_next(&plan, "3.1.3", RC_REFUSED_OUTSIDE_PLAN, "");
    check_next(&plan, "3.1.2", RC_OK, "3.1.3");
    plan_free(&plan);

    /* Integers: a line is a window. */
    plan_make(&plan, PLAN_H10(VERSION("integer", ",'order':'per-line','versions_per_window':8")));
    assert_int_equal(plan_place_version(&plan, "23", NULL, &place, NULL), RC_OK);
    assert_int_equal(place.line, 2);
    assert_int_equal(place.rank, 23);
    check_order(&plan, "20", "19", -1, RC_REFUSED_BELOW_FLOOR, "21");
    check_next(&plan, "23", RC_REFUSED_OUTSIDE_PLAN, "");
    plan_free(&plan);
}

static void test_jumps(void **state)
{
    (void)state;
    struct plan plan;
    plan_make(&plan, PLAN_H10(VERSION("integer", ",'max_jump':0")));
    check_order(&plan, "5", "6", -1, RC_OK, NULL);
    check_order(&plan, "5", "7", -1, RC_REFUSED_JUMP, "leaves out 1 windows after window 5 (5)");
    check_order(&plan, "5", "7", 7, RC_OK, NULL);
    assert_int_equal(plan_windows_skipped(&plan, 5, 4), 0);
    assert_int_equal(plan_windows_skipped(&plan, 5, 5), 0);
    assert_int_equal(plan_windows_skipped(&plan, 5, 6), 0);
    assert_int_equal(plan_windows_skipped(&plan, 0, 1023), 1022);
    plan_free(&plan);

    /* Every window a version of its own: three levels take part. */
    plan_make(&plan, PLAN_H10(VERSION("major.minor.patch",
                                      ",'sizes':{'minor':4,'patch':5},"
                                      "'window':'patch','max_jump':9007199254740992")));
    assert_int_equal(plan_windows_skipped(&plan, 23, 24), 0);  /* 1.0.3 -> 1.0.4 */
    assert_int_equal(plan_windows_skipped(&plan, 23, 25), 0);  /* 1.0.3 -> 1.1.0 */
    assert_int_equal(plan_windows_skipped(&plan, 21, 27), 2);  /* 1.0.1 -> 1.1.2 */
    assert_int_equal(plan_windows_skipped(&plan, 21, 35), 10); /* 1.0.1 -> 1.3.0 */
    assert_int_equal(plan_windows_skipped(&plan, 21, 40), 0);  /* 1.0.1 -> 2.0.0 */
    assert_int_equal(plan_windows_skipped(&plan, 21, 46), 6);  /* 1.0.1 -> 2.1.1 */
    assert_int_equal(plan_windows_skipped(&plan, 21, 60), 20); /* 1.0.1 -> 3.0.0 */
    check_order(&plan, "0.0.0", "50.3.4", -1, RC_OK, NULL);
    plan_free(&plan);

    plan_make(&plan, PLAN_H10(VERSION("calendar", ",'start_year':2026,'sizes':{'number':4}")));
    check_order(&plan, "2026.12.3", "2027.01.0", -1, RC_OK, NULL);
    check_order(&plan, "2026.10.3", "2027.02.0", -1, RC_OK, NULL);
    check_order(&plan, "2026.10.3", "2027.03.0", -1, RC_REFUSED_JUMP, "leaves out 2");
    plan_free(&plan);
}

/* A window may be closed although nothing was signed in it: recovery skips windows. */
static void test_closed_window(void **state)
{
    (void)state;
    struct plan plan;
    struct plan_place place;
    struct err err = {0};
    plan_make(&plan, PLAN_H16(ROUTER));
    assert_int_equal(plan_place_version(&plan, "4.3.0", "kernel", &place, NULL), RC_OK);
    struct plan_marks marks = {2081, 140};
    assert_int_equal(plan_order_check(&plan, &place, &marks, -1, &err), RC_REFUSED_BELOW_FLOOR);
    assert_non_null(strstr(err.text, "next free version: 4.12.0"));
    assert_int_equal(place.window, 131);
    marks.window = 132;
    assert_int_equal(plan_order_check(&plan, &place, &marks, -1, NULL), RC_REFUSED_BELOW_FLOOR);
    marks.window = 131;
    assert_int_equal(plan_order_check(&plan, &place, &marks, -1, NULL), RC_OK);
    marks = (struct plan_marks){-1, 140};
    err = (struct err){0};
    assert_int_equal(plan_order_check(&plan, &place, &marks, -1, &err), RC_REFUSED_BELOW_FLOOR);
    assert_non_null(strstr(err.text, "next free version: 4.12.0"));
    plan_free(&plan);
}

int main(void)
{
    if (base_init(NULL) != RC_OK)
        return 99;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time),           cmocka_unit_test(test_window_of_index),
        cmocka_unit_test(test_blocks),         cmocka_unit_test(test_time_end),
        cmocka_unit_test(test_router),         cmocka_unit_test(test_version_form),
        cmocka_unit_test(test_hundred_minors), cmocka_unit_test(test_window_levels),
        cmocka_unit_test(test_integer),        cmocka_unit_test(test_calendar),
        cmocka_unit_test(test_table),          cmocka_unit_test(test_strict),
        cmocka_unit_test(test_per_line),       cmocka_unit_test(test_jumps),
        cmocka_unit_test(test_closed_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
