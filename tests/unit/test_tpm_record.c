/* src/base/record: each field at its place, each damaged bit noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/record.h"
#include "base/secmem.h"

static struct anchor_record example(void)
{
    struct anchor_record a = {
        .w = UINT64_C(0x0102030405060708),
        .window = INT64_C(0x1112131415161718),
        .l = UINT64_C(0x2122232425262728),
        .l_base = UINT64_C(0x3132333435363738),
        .wall_s = INT64_C(0x4142434445464748),
        .early_window = INT64_C(0x5152535455565758),
        .writes = UINT32_C(0x81828384),
    };
    for (size_t i = 0; i < sizeof(a.head); i++)
        a.head[i] = (uint8_t)(0x60 + i);
    return a;
}

static void assert_same(const struct anchor_record *a, const struct anchor_record *b)
{
    assert_int_equal(a->w, b->w);
    assert_int_equal(a->window, b->window);
    assert_int_equal(a->l, b->l);
    assert_int_equal(a->l_base, b->l_base);
    assert_int_equal(a->wall_s, b->wall_s);
    assert_int_equal(a->early_window, b->early_window);
    assert_memory_equal(a->head, b->head, sizeof(a->head));
    assert_int_equal(a->writes, b->writes);
}

static void assert_refused(const uint8_t bytes[ANCHOR_RECORD_LEN])
{
    static const struct anchor_record zero;
    struct anchor_record a = example();
    assert_false(anchor_record_decode(&a, bytes));
    assert_same(&a, &zero);
}

/* The bytes are written down here a second time, so that the layout cannot change unnoticed:
 * records in TPMs in the field must stay readable. */
#define EXAMPLE_BODY                                                                               \
    "0102030405060708"                                                                             \
    "1112131415161718"                                                                             \
    "2122232425262728"                                                                             \
    "3132333435363738"                                                                             \
    "4142434445464748"                                                                             \
    "5152535455565758"                                                                             \
    "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"

static void test_layout(void **state)
{
    (void)state;
    struct anchor_record a = example();
    uint8_t got[ANCHOR_RECORD_LEN], want[ANCHOR_RECORD_LEN], hash[32];
    anchor_record_encode(&a, got);
    assert_true(hex_decode(want, 88, "00000002" EXAMPLE_BODY "81828384"));
    digest_buffer(DIGEST_SHA256, hash, want, 88);
    memcpy(want + 88, hash, 8);
    assert_memory_equal(got, want, sizeof(want));
}

/* As keys have it that were made before writes were counted. */
static void old_record(uint8_t bytes[ANCHOR_RECORD_LEN])
{
    uint8_t hash[32];
    assert_true(hex_decode(bytes, 84, "00000001" EXAMPLE_BODY));
    digest_buffer(DIGEST_SHA256, hash, bytes, 84);
    memcpy(bytes + 84, hash, 12);
}

static void test_old_format(void **state)
{
    (void)state;
    struct anchor_record want = example(), got;
    uint8_t bytes[ANCHOR_RECORD_LEN];
    want.writes = 0;
    old_record(bytes);
    assert_true(anchor_record_decode(&got, bytes));
    assert_same(&got, &want);
    for (size_t bit = 0; bit < (size_t)8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_refused(bytes);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* The first write in the new format, torn: neither what was nor what should be. */
static void test_torn_over_old(void **state)
{
    (void)state;
    struct anchor_record a = example();
    uint8_t old[ANCHOR_RECORD_LEN], new[ANCHOR_RECORD_LEN];
    old_record(old);
    anchor_record_encode(&a, new);
    for (size_t n = 4; n < sizeof(new) - 1; n++) {
        uint8_t torn[ANCHOR_RECORD_LEN];
        memcpy(torn, old, sizeof(torn));
        memcpy(torn, new, n);
        assert_refused(torn);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    struct anchor_record records[] = {
        example(),
        {.w = 0, .window = 0},
        {.w = UINT64_MAX, .window = INT64_MAX, .l = UINT64_MAX, .l_base = UINT64_MAX},
        {.window = INT64_MIN, .wall_s = INT64_MIN, .early_window = INT64_MIN},
        {.window = -1, .wall_s = -1, .early_window = ANCHOR_NO_WINDOW},
    };
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        uint8_t bytes[ANCHOR_RECORD_LEN];
        struct anchor_record back = example();
        anchor_record_encode(&records[i], bytes);
        assert_true(anchor_record_decode(&back, bytes));
        assert_same(&back, &records[i]);
    }
}

static void test_every_bit_counts(void **state)
{
    (void)state;
    struct anchor_record a = example();
    uint8_t bytes[ANCHOR_RECORD_LEN];
    anchor_record_encode(&a, bytes);
    for (size_t bit = 0; bit < (size_t)8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_refused(bytes);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(anchor_record_decode(&a, bytes));
}

/* A torn write: the first n bytes new, the rest old. */
static void test_torn(void **state)
{
    (void)state;
    struct anchor_record a = example(), b = example();
    b.w++;
    b.wall_s++;
    b.head[31]++;
    uint8_t old[ANCHOR_RECORD_LEN], new[ANCHOR_RECORD_LEN], torn[ANCHOR_RECORD_LEN];
    anchor_record_encode(&a, old);
    anchor_record_encode(&b, new);
    for (size_t n = 1; n < sizeof(torn); n++) {
        memcpy(torn, old, sizeof(torn));
        memcpy(torn, new, n);
        if (memcmp(torn, old, sizeof(torn)) != 0 && memcmp(torn, new, sizeof(torn)) != 0)
            assert_refused(torn);
    }
}

static void test_other_formats(void **state)
{
    (void)state;
    struct anchor_record a = example();
    for (uint32_t format = 0; format < 5; format++) {
        uint8_t bytes[ANCHOR_RECORD_LEN], hash[32];
        anchor_record_encode(&a, bytes);
        be_put32(bytes, format);
        digest_buffer(DIGEST_SHA256, hash, bytes, 88);
        memcpy(bytes + 88, hash, 8);
        if (format == 2)
            assert_true(anchor_record_decode(&a, bytes));
        else
            assert_refused(bytes);
    }
    uint8_t blank[ANCHOR_RECORD_LEN] = {0};
    assert_refused(blank);
    memset(blank, 0xff, sizeof(blank));
    assert_refused(blank);
}

int main(void)
{
    struct err err = {0};
    if (base_init(&err) != RC_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),           cmocka_unit_test(test_old_format),
        cmocka_unit_test(test_torn_over_old),    cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_bit_counts), cmocka_unit_test(test_torn),
        cmocka_unit_test(test_other_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
