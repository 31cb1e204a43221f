/*
 * Unit tests of signing and checking many at once: the same bytes and the same answers as one by
 * one, whatever the number; every lease is spent; a bad signature says nothing of the others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "hbs/kernel.h"
#include "hbs/lms.h"
#include "hbs/xmss.h"

#define HEIGHT 5
#define LEAVES (1U << HEIGHT)

static const struct set_case {
    const char *lms;
    const char *ots;
} sets[] = {
    {"LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W1"}, {"LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W2"},
    {"LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W4"}, {"LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W8"},
    {"LMS_SHAKE_M32_H5", "LMOTS_SHAKE_N32_W4"},   {"LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W2"},
};

/* A tree, a value and a C for each leaf, and the signatures made one by one. */
struct fixture {
    struct lms_tree tree;
    struct window_secret secret;
    uint8_t root[HBS_N_MAX];
    uint8_t path[LEAVES][HEIGHT * HBS_N_MAX];
    uint8_t c[LEAVES][HBS_N_MAX];
    uint8_t value[LEAVES][HBS_N_MAX];
    uint8_t one[LEAVES][LMS_SIG_LEN_MAX];
    uint8_t sig[LEAVES][LMS_SIG_LEN_MAX];
    size_t len;
};

static struct fixture f;

static void tree_make(void)
{
    static uint8_t level[HEIGHT + 1][LEAVES * HBS_N_MAX];
    uint8_t m = f.tree.set.lms->m;
    lms_leaves(&f.tree, 0, LEAVES, &f.secret, level[0]);
    for (uint32_t h = 0; h < HEIGHT; h++)
        lms_level(&f.tree, 1U << (HEIGHT - h - 1), LEAVES >> (h + 1), level[h], level[h + 1]);
    memcpy(f.root, level[HEIGHT], m);
    for (uint32_t q = 0; q < LEAVES; q++)
        for (uint32_t h = 0; h < HEIGHT; h++)
            memcpy(f.path[q] + h * m, level[h] + (size_t)((q >> h) ^ 1) * m, m);
}

static void fixture_make(const struct set_case *set)
{
    memset(&f, 0, sizeof(f));
    f.tree.set.lms = lms_params_by_name(set->lms);
    f.tree.set.ots = lmots_params_by_name(set->ots);
    assert_true(lms_set_valid(&f.tree.set));
    f.len = lms_sig_len(&f.tree.set);
    random_bytes(f.tree.i, sizeof(f.tree.i));
    random_bytes(f.secret.seed, sizeof(f.secret.seed));
    random_bytes(f.c, sizeof(f.c));
    random_bytes(f.value, sizeof(f.value));
    tree_make();
    for (uint32_t q = 0; q < LEAVES; q++) {
        struct ots_lease lease = {.index = q, .epoch = 1};
        hbs_sign(&lease, &f.tree, &f.secret, f.c[q], f.value[q], f.path[q], f.one[q]);
        assert_true(lms_verify_release(&f.tree, f.root, q, f.c[q], f.value[q], f.one[q], f.len));
    }
}

/* The leaves first, first + step, …: signed at once, each into its own place. */
static void sign_some(size_t count, uint32_t first, uint32_t step)
{
    struct ots_lease leases[LEAVES];
    memset(leases, 0, sizeof(leases));
    struct hbs_signing jobs[LEAVES] = {{0}};
    const struct ots_lease spent = {0};
    memset(f.sig, 0xa5, sizeof(f.sig));
    for (size_t k = 0; k < count; k++) {
        uint32_t q = (first + (uint32_t)k * step) % LEAVES;
        leases[k] = (struct ots_lease){.index = q, .epoch = 7};
        jobs[k] = (struct hbs_signing){.lease = &leases[k],
                                       .secret = &f.secret,
                                       .c = f.c[q],
                                       .value = f.value[q],
                                       .path = f.path[q],
                                       .sig = f.sig[q]};
    }
    hbs_sign_batch(&f.tree, jobs, count);
    for (size_t k = 0; k < count; k++) {
        uint32_t q = (first + (uint32_t)k * step) % LEAVES;
        assert_memory_equal(&leases[k], &spent, sizeof(spent));
        assert_memory_equal(f.sig[q], f.one[q], f.len);
        for (size_t i = f.len; i < LMS_SIG_LEN_MAX; i++)
            assert_int_equal(f.sig[q][i], 0xa5);
    }
}

static void test_sign(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++) {
        fixture_make(sets + s);
        for (size_t count = 0; count <= LEAVES; count += count < 4 ? 1 : 7)
            sign_some(count, (uint32_t)count, 3);
        sign_some(LEAVES, 0, 1);
    }
}

static void checks_make(struct lms_checking jobs[LEAVES])
{
    for (uint32_t q = 0; q < LEAVES; q++)
        jobs[q] = (struct lms_checking){
            .q = q, .c = f.c[q], .value = f.value[q], .sig = f.one[q], .sig_len = f.len};
}

/* All are good but the ones that `bad` names, bit by bit. */
static void assert_answers(const struct lms_checking *jobs, size_t count, uint32_t bad)
{
    bool good[LEAVES] = {0};
    for (size_t k = 0; k < count; k++)
        good[k] = (bad >> k & 1) != 0; /* the wrong answer */
    lms_verify_batch(&f.tree, f.root, jobs, count, good);
    for (size_t k = 0; k < count; k++)
        assert_int_equal(good[k], (bad >> k & 1) == 0);
}

static void test_verify(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++) {
        fixture_make(sets + s);
        struct lms_checking jobs[LEAVES];
        checks_make(jobs);
        for (size_t count = 0; count <= LEAVES; count += count < 4 ? 1 : 7)
            assert_answers(jobs, count, 0);
        assert_answers(jobs, LEAVES, 0);
    }
}

/* Any bit of any signature, wrong values, lengths, leaves and randomizers: seen, and in one only.
 */
static void test_verify_damage(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++) {
        fixture_make(sets + s);
        struct lms_checking jobs[LEAVES];
        for (size_t at = 0; at < f.len; at += 1 + f.len / 61) {
            uint32_t q = (uint32_t)(at % LEAVES);
            checks_make(jobs);
            f.one[q][at] ^= 0x10;
            assert_answers(jobs, LEAVES, UINT32_C(1) << q);
            f.one[q][at] ^= 0x10;
        }
        checks_make(jobs);
        jobs[3].sig_len--;
        jobs[4].sig_len++;
        jobs[5].sig_len = 0;
        jobs[8].q = 9;
        jobs[11].value = f.value[12];
        jobs[17].c = f.c[18];
        jobs[31].q = LEAVES;
        assert_answers(jobs, LEAVES,
                       1U << 3 | 1U << 4 | 1U << 5 | 1U << 8 | 1U << 11 | 1U << 17 |
                           UINT32_C(1) << 31);
        checks_make(jobs);
        jobs[17].c = NULL;
        assert_answers(jobs, LEAVES, 0);
    }
}

/* A public key of types that do not belong together verifies nothing. */
static void test_verify_mixed_set(void **state)
{
    (void)state;
    fixture_make(sets);
    struct lms_checking jobs[LEAVES];
    checks_make(jobs);
    f.tree.set.lms = lms_params_by_name("LMS_SHAKE_M32_H5");
    assert_answers(jobs, LEAVES, UINT32_MAX);
}

/* Stations ------------------------------------------------------------------------------------- */

static const struct set_case prepared_sets[] = {
    {"LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W8"},
    {"LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W8"},
    {"LMS_SHAKE_M32_H5", "LMOTS_SHAKE_N32_W8"},
};

static uint8_t stations[LEAVES][LMS_STATIONS_MAX];

/* All leaves, one to four at a time. */
static void stations_make(void)
{
    uint32_t q = 0;
    for (size_t count = 1; q < LEAVES; count = count % LMS_PREPARE_MAX + 1) {
        struct lms_preparing jobs[LMS_PREPARE_MAX];
        size_t n = 0;
        for (; n < count && q < LEAVES; n++, q++)
            jobs[n] = (struct lms_preparing){q, stations[q]};
        lms_prepare(&f.tree, &f.secret, jobs, n);
    }
}

/* Leaves with an odd number from their stations, the others from the secret; into f.sig. */
static void sign_prepared(void)
{
    struct ots_lease leases[LEAVES];
    struct hbs_signing jobs[LEAVES];
    memset(leases, 0, sizeof(leases));
    for (uint32_t q = 0; q < LEAVES; q++) {
        leases[q] = (struct ots_lease){.index = q, .epoch = 7};
        jobs[q] = (struct hbs_signing){.lease = &leases[q],
                                       .secret = &f.secret,
                                       .stations = q % 2 == 1 ? stations[q] : NULL,
                                       .c = f.c[q],
                                       .value = f.value[q],
                                       .path = f.path[q],
                                       .sig = f.sig[q]};
    }
    hbs_sign_batch(&f.tree, jobs, LEAVES);
}

/* With stations no signature is good that is not good without; and where they are whole, each one
 * that is. @return how many are good. */
static unsigned check_answers(uint8_t sigs[LEAVES][LMS_SIG_LEN_MAX], bool whole)
{
    struct lms_checking jobs[LEAVES];
    bool good[LEAVES];
    bool plain[LEAVES];
    unsigned count = 0;
    for (uint32_t q = 0; q < LEAVES; q++)
        jobs[q] = (struct lms_checking){
            .q = q, .c = f.c[q], .value = f.value[q], .sig = sigs[q], .sig_len = f.len};
    lms_verify_batch(&f.tree, f.root, jobs, LEAVES, plain);
    for (uint32_t q = 0; q < LEAVES; q++)
        jobs[q].stations = q % 4 != 0 ? stations[q] : NULL;
    lms_verify_batch(&f.tree, f.root, jobs, LEAVES, good);
    for (uint32_t q = 0; q < LEAVES; q++) {
        assert_true(plain[q] || !good[q]);
        assert_true(good[q] || !plain[q] || !whole);
        count += good[q] ? 1 : 0;
    }
    return count;
}

/* Extreme digits too: all chains at their starts, and all but the checksum's at their ends. */
static void extreme_values(void)
{
    memset(f.value[1], 0, HBS_N_MAX);
    memset(f.value[3], 0xff, HBS_N_MAX);
    memset(f.value[5], 0xf0, HBS_N_MAX);
    memset(f.value[7], 0x0f, HBS_N_MAX);
    for (uint32_t q = 1; q < 8; q += 2) {
        struct ots_lease lease = {.index = q, .epoch = 1};
        hbs_sign(&lease, &f.tree, &f.secret, f.c[q], f.value[q], f.path[q], f.one[q]);
    }
}

/* A bit of a station: the signature is the right one, or is seen not to be. */
static void check_damaged_stations(size_t len)
{
    unsigned right = 0;
    unsigned bad = 0;
    for (unsigned turn = 0; turn < 6; turn++) {
        for (uint32_t q = 0; q < LEAVES; q++)
            stations[q][(q * 7919 + turn * 1009) % len] ^= 1;
        sign_prepared();
        for (uint32_t q = 1; q < LEAVES; q += 2)
            right += memcmp(f.sig[q], f.one[q], f.len) == 0 ? 1 : 0;
        bad += LEAVES - check_answers(f.sig, false);
        stations_make();
    }
    assert_in_range(right, 1, 6 * LEAVES / 2 - 1); /* both were seen */
    assert_in_range(bad, 6 * LEAVES / 2 - right, 6 * LEAVES / 2);
}

/* all: what no kernel can change, too. */
static void check_prepared(const struct set_case *set, bool all)
{
    fixture_make(set);
    extreme_values();
    size_t len = lms_stations_len(&f.tree.set);
    assert_in_range(len, 1, LMS_STATIONS_MAX);
    stations_make();
    sign_prepared();
    for (uint32_t q = 0; q < LEAVES; q++)
        assert_memory_equal(f.sig[q], f.one[q], f.len);
    assert_int_equal(check_answers(f.sig, true), LEAVES);
    /* A bit of each signature, anywhere. */
    for (uint32_t q = 0; q < LEAVES; q++)
        f.sig[q][q * 7919 % f.len] ^= 0x10;
    assert_int_equal(check_answers(f.sig, true), 0);
    if (all)
        check_damaged_stations(len);
}

static void test_prepared(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof(prepared_sets) / sizeof(prepared_sets[0]); s++) {
        const struct lms_params *lms = lms_params_by_name(prepared_sets[s].lms);
        const struct hbs_kernel *used = hbs_kernel_current(lms->hash);
        const struct hbs_kernel *kernel = NULL;
        bool first = true;
        for (size_t k = 0; (kernel = hbs_kernel_at(lms->hash, k)) != NULL; k++) {
            if (!kernel->supported())
                continue;
            hbs_kernel_use(kernel);
            check_prepared(prepared_sets + s, first);
            first = false;
        }
        hbs_kernel_use(used);
    }
}

/* Chains of fifteen steps and fewer have none. */
static void test_no_stations(void **state)
{
    (void)state;
    for (size_t o = 0; lmots_params_at(o) != NULL; o++) {
        const struct lmots_params *ots = lmots_params_at(o);
        const struct lms_set set = {lms_params_at(0), ots};
        assert_int_equal(lms_stations_len(&set), ots->w == 8 ? 17U * ots->p * ots->n : 0);
    }
}

/* XMSS ----------------------------------------------------------------------------------------- */

#define XMSS_SOME 21 /* more than fit one row of lanes with their chains, and an odd number */
#define XMSS_SIG_MAX ((67 + 10) * 32)

static struct {
    struct xmss_tree tree;
    uint8_t secret[XMSS_N_MAX];
    uint8_t value[XMSS_SOME][XMSS_N_MAX];
    uint8_t path[XMSS_SOME][10 * 32];
    uint8_t one[XMSS_SOME][XMSS_SIG_MAX];
    uint8_t sig[XMSS_SOME][XMSS_SIG_MAX];
    uint8_t root_one[XMSS_SOME][XMSS_N_MAX];
    uint8_t root[XMSS_SOME][XMSS_N_MAX];
} x;

/* Paths are made up: what counts is that one by one and all at once lead to the same. */
static void xmss_compare(const char *name, uint32_t first, uint32_t step)
{
    const struct xmss_params *params = xmss_params_by_name(name);
    size_t len = wots_sig_len(params) + 10U * params->n;
    struct ots_lease leases[XMSS_SOME];
    struct xmss_signing jobs[XMSS_SOME];
    struct xmss_checking checks[XMSS_SOME];
    const struct ots_lease spent = {0};
    random_bytes(&x, sizeof(x));
    xmss_tree_init(&x.tree, params, x.secret, params->d - 1U, 0);
    for (uint32_t k = 0; k < XMSS_SOME; k++) {
        uint32_t leaf = first + k * step;
        struct ots_lease lease = {.index = leaf, .epoch = 1};
        xmss_tree_sign(&lease, &x.tree, x.secret, x.value[k], x.path[k], x.one[k]);
        xmss_tree_candidate(&x.tree, leaf, x.value[k], x.one[k], x.root_one[k]);
        leases[k] = (struct ots_lease){.index = leaf, .epoch = 3};
        jobs[k] = (struct xmss_signing){&leases[k], x.value[k], x.path[k], x.sig[k]};
        checks[k] = (struct xmss_checking){leaf, x.value[k], x.sig[k], x.root[k]};
    }
    xmss_tree_sign_batch(&x.tree, x.secret, jobs, 0);
    xmss_tree_sign_batch(&x.tree, x.secret, jobs, XMSS_SOME);
    xmss_tree_candidates(&x.tree, checks, XMSS_SOME);
    for (uint32_t k = 0; k < XMSS_SOME; k++) {
        assert_memory_equal(&leases[k], &spent, sizeof(spent));
        assert_memory_equal(x.sig[k], x.one[k], len);
        assert_memory_equal(x.root[k], x.root_one[k], params->n);
        assert_memory_not_equal(x.root[k], x.root[(k + 1) % XMSS_SOME], params->n);
    }
}

static void test_xmss(void **state)
{
    (void)state;
    xmss_compare("XMSS-SHA2_10_256", 0, 1);
    xmss_compare("XMSS-SHA2_10_192", 1003, 1);
    xmss_compare("XMSSMT-SHAKE256_20/2_192", 7, 48);
    xmss_compare("XMSS-SHAKE256_10_256", 3, 5);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sign),          cmocka_unit_test(test_verify),
        cmocka_unit_test(test_verify_damage), cmocka_unit_test(test_verify_mixed_set),
        cmocka_unit_test(test_prepared),      cmocka_unit_test(test_no_stations),
        cmocka_unit_test(test_xmss),
    };
    if (base_init_public(NULL) != RC_OK)
        return 1;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("hbs batch", tests, NULL, NULL);
}
