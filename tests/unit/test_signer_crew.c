/*
 * The crew: every part of a piece of work is done once and before hands_run() returns, whoever does
 * it; and a batch that is cut among many hands is the batch that one pair of hands makes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "lib/signer_rig.h"
#include "signer/crew.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define PARTS_MAX 40
#define BATCH 28 /* not a multiple of three */

/* The crew ------------------------------------------------------------------------------------- */

static atomic_uint done[PARTS_MAX];

static void count_part(void *arg, size_t i)
{
    assert_ptr_equal(arg, done);
    atomic_fetch_add(&done[i], 1);
}

static void check_parts(const struct hands *hands, size_t parts)
{
    for (size_t i = 0; i < PARTS_MAX; i++)
        atomic_store(&done[i], 0);
    hands_run(hands, parts, count_part, done);
    for (size_t i = 0; i < PARTS_MAX; i++)
        assert_int_equal(atomic_load(&done[i]), i < parts ? 1 : 0);
}

static void test_crew(void **state)
{
    (void)state;
    struct crew *crew = NULL;
    struct err err = {0};
    assert_int_equal(crew_open(&crew, &err), RC_OK);
    assert_in_range(crew_hands(crew)->count, 1, CREW_MAX);
    for (size_t round = 0; round < 2000; round++)
        check_parts(crew_hands(crew), round % (PARTS_MAX + 1));
    crew_close(&crew);
    assert_null(crew);
    crew_close(&crew);
    check_parts(NULL, PARTS_MAX);
}

/* A batch -------------------------------------------------------------------------------------- */

/* Three pairs of hands as the oracle can watch them: the last part first, in one thread. */
static void run_backwards(void *ctx, size_t parts, void (*part)(void *arg, size_t i), void *arg)
{
    size_t *cut = ctx;
    *cut = parts;
    while (parts-- > 0)
        part(arg, parts);
}

static struct rig rig;

/* Signatures of one batch in the order of its requests. */
static void sign_batch(const struct hands *hands, struct ask *asks)
{
    static char texts[BATCH][16];
    static char idems[BATCH][16];
    oracle_reset();
    rig_make(&rig, START, 1);
    rig_add_key(
        &rig,
        RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':32,'lease_size':32}"), 0);
    rig.fake.world.hands = hands;
    assert_int_equal(rig_open(&rig), RC_OK);
    for (size_t i = 0; i < BATCH; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "artifact %zu", i);
        (void)snprintf(idems[i], sizeof(idems[i]), "idem-%zu", i);
        memset(&asks[i], 0, sizeof(asks[i]));
        asks[i].text = texts[i];
        asks[i].idem = idems[i];
    }
    assert_int_equal(rig_sign(&rig, asks, BATCH), RC_OK);
    assert_int_equal(oracle_computed(), BATCH);
    oracle_check();
    rig_end(&rig);
}

static void test_batch(void **state)
{
    (void)state;
    static struct ask alone[BATCH];
    static struct ask together[BATCH];
    size_t cut = 0;
    const struct hands three = {.ctx = &cut, .count = 3, .run = run_backwards};
    sign_batch(NULL, alone);
    sign_batch(&three, together);
    assert_int_equal(cut, 3);
    for (size_t i = 0; i < BATCH; i++) {
        assert_int_equal(alone[i].rc, RC_OK);
        assert_int_equal(together[i].rc, RC_OK);
        assert_int_equal(alone[i].index, together[i].index);
        assert_int_equal(alone[i].len, together[i].len);
        assert_memory_equal(alone[i].signature, together[i].signature, alone[i].len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crew), cmocka_unit_test(test_batch)};
    return cmocka_run_group_tests_name("signer: crew", tests, NULL, NULL);
}
