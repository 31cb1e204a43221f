/*
 * libtidemark-verify against the rest of the project: its hashing against libgcrypt, its sets
 * against src/policy's, and its verification against what src/hbs signs. And what no vector says:
 * streams whose signature changes on the way, verifiers that were never begun, texts, marks.
 */
#include <gcrypt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "cli/compile.h"
#include "hbs/hss.h"
#include "hbs/xmss_private.h"
#include "lib/plan_text.h"
#include "policy/sets.h"
#include "verify/hash.h"
#include "verify/verify.h"

/* --- Hashing -----------------------------------------------------------------------------------
 */

static void gcrypt_hash(int algorithm, bool xof, const uint8_t *data, size_t len, uint8_t *out,
                        size_t n)
{
    gcry_md_hd_t md = NULL;
    assert_int_equal(gcry_md_open(&md, algorithm, 0), 0);
    gcry_md_write(md, data, len);
    if (xof)
        assert_int_equal(gcry_md_extract(md, algorithm, out, n), 0);
    else
        memcpy(out, gcry_md_read(md, algorithm), n);
    gcry_md_close(md);
}

/* Every length around several blocks, in two pieces. */
static void test_hashes(void **state)
{
    (void)state;
    static const struct {
        enum tmv_hash_kind kind;
        int gcrypt;
        bool xof;
        size_t n;
    } all[] = {
        {TMV_SHA256, GCRY_MD_SHA256, false, 32},    {TMV_SHA384, GCRY_MD_SHA384, false, 48},
        {TMV_SHA512, GCRY_MD_SHA512, false, 64},    {TMV_SHAKE128, GCRY_MD_SHAKE128, true, 32},
        {TMV_SHAKE256, GCRY_MD_SHAKE256, true, 64},
    };
    uint8_t data[600], expected[64], found[64];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t a = 0; a < sizeof(all) / sizeof(all[0]); a++) {
        for (size_t len = 0; len <= sizeof(data); len++) {
            struct tmv_hash hash;
            tmvi_hash_begin(&hash, all[a].kind);
            tmvi_hash_add(&hash, data, len / 3);
            tmvi_hash_add(&hash, data + len / 3, len - len / 3);
            tmvi_hash_end(&hash, found, all[a].n);
            gcrypt_hash(all[a].gcrypt, all[a].xof, data, len, expected, all[a].n);
            assert_memory_equal(found, expected, all[a].n);
        }
    }
}

static void test_digests(void **state)
{
    (void)state;
    static const struct {
        enum tmv_message message;
        enum digest_kind kind;
    } all[] = {{TMV_DIGEST_SHA256, DIGEST_SHA256},
               {TMV_DIGEST_SHA384, DIGEST_SHA384},
               {TMV_DIGEST_SHA512, DIGEST_SHA512}};
    static uint8_t data[100000];
    uint8_t expected[DIGEST_LEN_MAX], found[TMV_DIGEST_MAX];
    memset(data, 0x5a, sizeof(data));
    for (size_t i = 0; i < 3; i++) {
        struct tmv_hash digest;
        tmv_digest_begin(&digest, all[i].message);
        tmv_digest_update(&digest, data, sizeof(data));
        assert_int_equal(tmv_digest_final(&digest, found), digest_len(all[i].kind));
        digest_buffer(all[i].kind, expected, data, sizeof(data));
        assert_memory_equal(found, expected, digest_len(all[i].kind));
    }
}

/* --- Sets --------------------------------------------------------------------------------------
 */

static enum tmv_result read_numbers(struct tmv_key *key, enum tmv_scheme scheme, uint32_t type,
                                    uint32_t ots_type, size_t len)
{
    uint8_t raw[160] = {0};
    size_t at = 0;
    if (scheme == TMV_HSS) {
        be_put32(raw, 1);
        at = 4;
    }
    be_put32(raw + at, type);
    if (scheme == TMV_HSS)
        be_put32(raw + at + 4, ots_type);
    return tmv_key_read(key, scheme, raw, len);
}

/* The names that we give XMSS keys are read by policy, which has tables of its own. */
static void check_xmss(enum tmv_scheme scheme, uint32_t oid)
{
    struct tmv_key key = {0};
    struct set set;
    char name[COMPILE_SET_SIZE];
    static const size_t lens[] = {24, 32, 64};
    for (size_t i = 0; i < 3 && key.raw_len == 0; i++)
        (void)!read_numbers(&key, scheme, oid, 0, 4 + 2 * lens[i]);
    assert_int_not_equal(key.raw_len, 0);
    compile_set_name(&key, name);
    assert_true(scheme == TMV_XMSS ? set_xmss(&set, name) : set_xmssmt(&set, name));
    assert_int_equal(set.n, key.n);
    assert_int_equal(set.height, key.height);
    assert_int_equal(set.layers, key.levels);
    assert_int_equal(key.raw_len, 4 + 2 * key.n);
}

static void test_xmss_numbers(void **state)
{
    (void)state;
    struct tmv_key key;
    for (uint32_t oid = 1; oid <= 0x15; oid++)
        check_xmss(TMV_XMSS, oid);
    for (uint32_t oid = 1; oid <= 0x38; oid++)
        check_xmss(TMV_XMSSMT, oid);
    static const uint32_t none[] = {0, 0x16, 0x39, 0x100, 0x1000001, UINT32_MAX};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        if (none[i] != 0x16)
            assert_int_equal(read_numbers(&key, TMV_XMSSMT, none[i], 0, 68), TMV_UNSUPPORTED);
        assert_int_equal(read_numbers(&key, TMV_XMSS, none[i], 0, 68), TMV_UNSUPPORTED);
        assert_int_equal(key.raw_len, 0);
    }
}

/* All pairs of a tree and a one-time scheme: those of one hash function, and no others. */
static void test_lms_numbers(void **state)
{
    (void)state;
    for (uint32_t type = 0; type < 30; type++) {
        for (uint32_t ots = 0; ots < 20; ots++) {
            struct lms_set set = {lms_params_by_type(type), lmots_params_by_type(ots)};
            struct tmv_key key;
            char name[COMPILE_SET_SIZE], expected[COMPILE_SET_SIZE];
            bool valid = lms_set_valid(&set);
            size_t len = valid ? 4 + lms_pub_len(&set) : 60;
            assert_int_equal(read_numbers(&key, TMV_HSS, type, ots, len),
                             valid ? TMV_OK : TMV_UNSUPPORTED);
            if (!valid)
                continue;
            compile_set_name(&key, name);
            (void)snprintf(expected, sizeof(expected), "%s %s", set.lms->name, set.ots->name);
            assert_string_equal(name, expected);
            assert_int_equal(read_numbers(&key, TMV_HSS, type, ots, len - 1), TMV_MALFORMED_KEY);
            assert_int_equal(read_numbers(&key, TMV_HSS, type, ots, len + 1), TMV_MALFORMED_KEY);
        }
    }
}

static void test_hss_levels(void **state)
{
    (void)state;
    uint8_t raw[60] = {0};
    struct tmv_key key;
    be_put32(raw + 4, 5);
    be_put32(raw + 8, 4);
    for (uint32_t levels = 0; levels < 11; levels++) {
        be_put32(raw, levels);
        assert_int_equal(tmv_key_read(&key, TMV_HSS, raw, sizeof(raw)),
                         levels >= 1 && levels <= 8 ? TMV_OK : TMV_MALFORMED_KEY);
    }
    be_put32(raw, 0x01000001);
    assert_int_equal(tmv_key_read(&key, TMV_HSS, raw, sizeof(raw)), TMV_MALFORMED_KEY);
    assert_int_equal(tmv_key_read(&key, (enum tmv_scheme)4, raw, sizeof(raw)), TMV_UNSUPPORTED);
}

/* --- What src/hbs signs ------------------------------------------------------------------------
 */

static uint8_t sig[HSS_SIG_LEN_MAX];
static size_t sig_len;
static struct tmv_key key;
static const uint8_t message[] = "what the signer made, somebody else has to check";

static void make(uint32_t levels, const uint32_t types[][2], uint64_t index)
{
    struct hss_private secret CLEANUP(hss_private_wipe) = {.levels = levels};
    struct hss_public public;
    struct ots_lease lease = {.index = index, .epoch = 1};
    uint8_t raw[HSS_PUB_LEN_MAX];
    struct err err = {0};
    for (uint32_t i = 0; i < levels; i++)
        secret.set[i] =
            (struct lms_set){lms_params_by_type(types[i][0]), lmots_params_by_type(types[i][1])};
    memset(secret.secret[0].seed, 0x42, HBS_N_MAX);
    memset(secret.secret[0].i, 0x17, LMS_I_LEN);
    assert_int_equal(hss_keygen(&secret, &public, &err), RC_OK);
    assert_int_equal(hss_sign(&lease, &secret, message, sizeof(message), NULL, sig, &sig_len, &err),
                     RC_OK);
    assert_int_equal(tmv_key_read(&key, TMV_HSS, raw, hss_public_print(&public, raw)), TMV_OK);
}

static void check_made(uint64_t index, uint32_t bits)
{
    struct tmv_found found;
    assert_int_equal(tmv_verify(&key, message, sizeof(message), sig, sig_len, &found), TMV_OK);
    assert_int_equal(found.index, index);
    assert_int_equal(found.bits, bits);
    assert_int_equal(tmv_verify(&key, message, sizeof(message) - 1, sig, sig_len, &found),
                     TMV_WRONG_SIGNATURE);
    assert_int_equal(found.bits, 0);
}

/* All sixteen one-time schemes, each on the smallest tree of its hash function. */
static void test_own_lms(void **state)
{
    (void)state;
    for (uint32_t ots = 1; ots <= 16; ots++) {
        const uint32_t types[1][2] = {{5 + 5 * ((ots - 1) / 4), ots}};
        make(1, types, ots * 2 - 1);
        check_made(ots * 2 - 1, 5);
    }
}

static void test_own_hss(void **state)
{
    (void)state;
    static const uint32_t types[3][2] = {{5, 3}, {5, 4}, {5, 3}};
    make(2, types, 32 * 7 + 31);
    check_made(32 * 7 + 31, 10);
    make(3, types, 32 * 32 * 30 + 32 * 2 + 9);
    check_made(32 * 32 * 30 + 32 * 2 + 9, 15);
    /* Levels of different hash functions: SP 800-208 would not have it, RFC 8554 has it. */
    static const uint32_t mixed[2][2] = {{5, 3}, {15, 11}};
    make(2, mixed, 100);
    check_made(100, 10);
}

/* XMSS and XMSS^MT of both lengths and both hash functions that SP 800-208 has, and RFC 8391's. */
static void test_own_xmss(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t index;
    } all[] = {
        {"XMSS-SHA2_10_256", 1023},
        {"XMSS-SHA2_10_192", 512},
        {"XMSS-SHAKE256_10_192", 77},
        {"XMSSMT-SHA2_20/4_256", 0xfffff},
        {"XMSSMT-SHA2_40/8_192", 0xfedcba9876},
    };
    static uint8_t made[XMSS_SIG_LEN_MAX];
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct xmss_private secret CLEANUP(xmss_private_wipe) = {
            .params = xmss_params_by_name(all[i].name)};
        struct xmss_public public;
        struct ots_lease lease = {.index = all[i].index, .epoch = 1};
        uint8_t raw[XMSS_PUB_LEN_MAX];
        size_t len = 0;
        struct err err = {0};
        struct tmv_found found;
        memset(secret.sk_seed, 1, sizeof(secret.sk_seed));
        memset(secret.sk_prf, 2, sizeof(secret.sk_prf));
        memset(secret.pub_seed, 3, sizeof(secret.pub_seed));
        assert_int_equal(xmss_keygen(&secret, &public, &err), RC_OK);
        assert_int_equal(
            xmss_sign(&lease, &secret, message, sizeof(message), NULL, made, &len, &err), RC_OK);
        size_t raw_len = xmss_public_print(&public, raw);
        assert_int_equal(tmv_key_read(&key,
                                      strncmp(all[i].name, "XMSS-", 5) == 0 ? TMV_XMSS : TMV_XMSSMT,
                                      raw, raw_len),
                         TMV_OK);
        assert_int_equal(tmv_verify(&key, message, sizeof(message), made, len, &found), TMV_OK);
        assert_int_equal(found.index, all[i].index);
        made[len - 1] ^= 1;
        assert_int_equal(tmv_verify(&key, message, sizeof(message), made, len, &found),
                         TMV_WRONG_SIGNATURE);
    }
}

/* One bit anywhere: the index and the randomiser too. */
static void test_every_byte_counts(void **state)
{
    (void)state;
    static const uint32_t types[2][2] = {{5, 3}, {5, 3}};
    make(2, types, 33);
    for (size_t i = 0; i < sig_len; i++) {
        struct tmv_found found;
        sig[i] ^= (uint8_t)(1U << i % 8);
        enum tmv_result result = tmv_verify(&key, message, sizeof(message), sig, sig_len, &found);
        sig[i] ^= (uint8_t)(1U << i % 8);
        assert_true(result == TMV_WRONG_SIGNATURE || result == TMV_MALFORMED_SIGNATURE ||
                    result == TMV_UNSUPPORTED);
    }
    check_made(33, 10);
}

/* An index past its tree would lead along a path that is longer than the signature. Every such
 * index is malformed before anything is hashed, also in the prefix of a stream. */
static void test_index_past_the_key(void **state)
{
    (void)state;
    static const uint32_t types[2][2] = {{5, 3}, {5, 3}};
    static const uint32_t past[] = {32, 64, 1U << 25, UINT32_MAX};
    struct tmv_verifier v;
    for (size_t i = 0; i < sizeof(past) / sizeof(past[0]); i++) {
        make(1, types, 31);
        be_put32(sig + 4, past[i]);
        assert_int_equal(tmv_begin(&v, &key, sig, 12 + 32), TMV_MALFORMED_SIGNATURE);
        make(2, types, 31);
        be_put32(sig + 4, past[i]);
        assert_int_equal(tmv_verify(&key, message, sizeof(message), sig, sig_len, NULL),
                         TMV_MALFORMED_SIGNATURE);
    }
    uint8_t raw[68] = {0, 0, 0, 2};
    uint8_t prefix[4 + 32] = {0, 1, 0, 0}; /* 2^16, of a key with 2^16 indices */
    assert_int_equal(tmv_key_read(&key, TMV_XMSS, raw, sizeof(raw)), TMV_OK);
    assert_int_equal(tmv_begin(&v, &key, prefix, sizeof(prefix)), TMV_MALFORMED_SIGNATURE);
    be_put32(prefix, 0xffff);
    assert_int_equal(tmv_begin(&v, &key, prefix, sizeof(prefix)), TMV_OK);
    assert_int_equal(tmv_begin(&v, &key, prefix, sizeof(prefix) - 1), TMV_SHORT);
    raw[3] = 1; /* XMSSMT-SHA2_20/2_256: three bytes of index */
    uint8_t index[3 + 32] = {0x10, 0, 0};
    assert_int_equal(tmv_key_read(&key, TMV_XMSSMT, raw, sizeof(raw)), TMV_OK);
    assert_int_equal(tmv_begin(&v, &key, index, sizeof(index)), TMV_MALFORMED_SIGNATURE);
    memset(index, 0xff, 3);
    assert_int_equal(tmv_begin(&v, &key, index, sizeof(index)), TMV_MALFORMED_SIGNATURE);
    index[0] = 0x0f;
    assert_int_equal(tmv_begin(&v, &key, index, sizeof(index)), TMV_OK);
}

/* Between the two ends of a stream the signature may not become another one, although it is a good
 * signature of the same message by the same key. */
static void test_stream_with_two_signatures(void **state)
{
    (void)state;
    static const uint32_t types[1][2] = {{5, 4}};
    static uint8_t other[HSS_SIG_LEN_MAX];
    struct tmv_verifier v;
    make(1, types, 3);
    memcpy(other, sig, sig_len);
    make(1, types, 4);
    assert_int_equal(tmv_begin(&v, &key, other, 12 + 32), TMV_OK);
    tmv_update(&v, message, sizeof(message));
    assert_int_equal(tmv_final(&v, sig, sig_len, NULL), TMV_WRONG_SIGNATURE);
    /* Twice the same end: the second has nothing to be the end of. */
    assert_int_equal(tmv_begin(&v, &key, sig, 12 + 32), TMV_OK);
    tmv_update(&v, message, sizeof(message));
    assert_int_equal(tmv_final(&v, sig, sig_len, NULL), TMV_OK);
    assert_int_equal(tmv_final(&v, sig, sig_len, NULL), TMV_WRONG_SIGNATURE);
    assert_int_equal(tmv_begin(&v, &key, sig, 12 + 31), TMV_SHORT);
    assert_int_equal(tmv_final(&v, sig, sig_len, NULL), TMV_WRONG_SIGNATURE);
}

/* --- Texts and marks ---------------------------------------------------------------------------
 */

static void test_texts(void **state)
{
    (void)state;
    for (int i = TMV_OK; i <= TMV_ROLLBACK; i++) {
        assert_true(strlen(tmv_result_text((enum tmv_result)i)) > 3);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(tmv_result_text((enum tmv_result)i),
                                    tmv_result_text((enum tmv_result)k));
    }
    assert_string_equal(tmv_result_text((enum tmv_result)(TMV_ROLLBACK + 1)), "unknown result");
    assert_string_equal(tmv_result_text((enum tmv_result) - 1), "unknown result");
}

/* A device that has run 1.2.1 takes what is as new, in all slots, and nothing older. */
static void test_rollback(void **state)
{
    (void)state;
    static uint8_t out[COMPILE_MAX];
    struct plan plan;
    struct tmv_plan compiled;
    struct tmv_place kept, place;
    uint8_t raw[68] = {0, 0, 0, 2};
    plan_make(&plan, PLAN_H16("{'kind':'version','format':'major.minor.patch',"
                              "'sizes':{'minor':4,'patch':4},'slots':['a','b']}"));
    assert_int_equal(tmv_key_read(&key, TMV_XMSS, raw, sizeof(raw)), TMV_OK);
    assert_int_equal(tmv_plan_open(&compiled, out, compile_plan(&plan, &key, out)), TMV_OK);
    assert_int_equal(tmv_plan_place_version(&compiled, "1.2.1", "b", &kept), TMV_OK);
    static const struct {
        const char *version, *slot;
        enum tmv_result by_mark, by_index;
    } all[] = {
        {"1.2.1", "b", TMV_OK, TMV_OK},
        {"1.2.1", "a", TMV_OK, TMV_ROLLBACK},
        {"1.2.2", "a", TMV_OK, TMV_OK},
        {"2.0.0", "a", TMV_OK, TMV_OK},
        {"1.2.0", "b", TMV_ROLLBACK, TMV_ROLLBACK},
        {"0.3.3", "b", TMV_ROLLBACK, TMV_ROLLBACK},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        assert_int_equal(tmv_plan_place_version(&compiled, all[i].version, all[i].slot, &place),
                         TMV_OK);
        assert_int_equal(tmv_rollback_check_mark(&place, kept.mark), all[i].by_mark);
        assert_int_equal(tmv_rollback_check_index(&place, kept.index), all[i].by_index);
        uint64_t mark = tmv_rollback_raise_mark(&place, kept.mark);
        uint64_t index = tmv_rollback_raise_index(&place, kept.index);
        assert_true(mark == (place.mark > kept.mark ? place.mark : kept.mark));
        assert_true(index == (place.index > kept.index ? place.index : kept.index));
    }
    plan_free(&plan);
}

/* Each kind of plan says so when it is asked for what it does not have. */
static void test_wrong_kind(void **state)
{
    (void)state;
    static uint8_t out[COMPILE_MAX];
    struct plan plan;
    struct tmv_plan compiled;
    struct tmv_place place;
    struct tmv_found found = {1, 16};
    const uint64_t numbers[3] = {0};
    uint64_t window = 7;
    uint8_t raw[68] = {0, 0, 0, 2};
    plan_make(&plan, PLAN_H16("{'kind':'interval','signatures_per_window':10}"));
    assert_int_equal(tmv_key_read(&key, TMV_XMSS, raw, sizeof(raw)), TMV_OK);
    assert_int_equal(tmv_plan_open(&compiled, out, compile_plan(&plan, &key, out)), TMV_OK);
    assert_int_equal(tmv_plan_place_version(&compiled, "1", NULL, &place), TMV_WRONG_KIND);
    assert_int_equal(tmv_plan_place_numbers(&compiled, numbers, 0, &place), TMV_WRONG_KIND);
    assert_int_equal(tmv_plan_check_version(&compiled, &found, "1", NULL, &place), TMV_WRONG_KIND);
    assert_int_equal(tmv_plan_window_at(&compiled, 0, &window), TMV_WRONG_KIND);
    assert_int_equal(window, 0);
    assert_int_equal(tmv_plan_check_window(&compiled, &found, 0, &place), TMV_OK);
    assert_int_equal(tmv_plan_check_window(&compiled, &found, 1, &place), TMV_OTHER_PLACE);
    plan_free(&plan);
}

/* Every bit of a compiled plan is under its digest, and the digest is compared whole. */
static void test_every_bit_of_a_plan(void **state)
{
    (void)state;
    static uint8_t out[COMPILE_MAX];
    struct plan plan;
    struct tmv_plan compiled;
    uint8_t raw[68] = {0, 0, 0, 2};
    plan_make(&plan, PLAN_H16("{'kind':'version','format':'table','entries':['1','2'],"
                              "'slots':['a','b']}"));
    assert_int_equal(tmv_key_read(&key, TMV_XMSS, raw, sizeof(raw)), TMV_OK);
    size_t len = compile_plan(&plan, &key, out);
    for (size_t bit = 0; bit < 8 * len; bit++) {
        out[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_int_equal(tmv_plan_open(&compiled, out, len), TMV_MALFORMED_PLAN);
        out[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    assert_int_equal(tmv_plan_open(&compiled, out, len), TMV_OK);
    plan_free(&plan);
}

static int setup(void **state)
{
    (void)state;
    return base_init(NULL) == RC_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_xmss_numbers),
        cmocka_unit_test(test_lms_numbers),
        cmocka_unit_test(test_hss_levels),
        cmocka_unit_test(test_own_lms),
        cmocka_unit_test(test_own_hss),
        cmocka_unit_test(test_own_xmss),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_index_past_the_key),
        cmocka_unit_test(test_stream_with_two_signatures),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_rollback),
        cmocka_unit_test(test_wrong_kind),
        cmocka_unit_test(test_every_bit_of_a_plan),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
