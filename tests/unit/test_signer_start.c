/* start_decide(): every row of DESIGN section 6, rules 2, 4, 5 and 10, as facts and the one right
 * step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "signer/request.h"
#include "signer/start.h"

/* A key in the middle of its life: W = 110 (window 10), L = 50, five leases into the window. */
static struct start_facts calm(enum plan_kind kind)
{
    return (struct start_facts){
        .kind = kind,
        .keeps_writes = true,
        .w_first = 100,
        .w_base = 100,
        .tpm = {.w = 110,
                .l = 50,
                .a_valid = true,
                .a = {.w = 110, .window = 10, .l = 50, .l_base = 45, .early_window = -1}},
        .ledger = {.head_known = true,
                   .head_seq = 200,
                   .lease_epoch = kind == PLAN_VERSION ? -1 : 50,
                   .receipt_epoch = 50,
                   .intent_epoch = kind == PLAN_VERSION ? 50 : -1,
                   .window = 10,
                   .window_w = 110},
    };
}

static void expect(const struct start_facts *facts, enum start_step step, enum rc code)
{
    enum rc rc = RC_OK;
    struct err err = {0};
    enum start_step got = start_decide(facts, &rc, &err);
    if (got != step || rc != code)
        print_error("got %s / %s (%s)\n", start_step_name(got), rc_name(rc), err.text);
    assert_int_equal(got, step);
    assert_int_equal(rc, code);
    if (code != RC_OK)
        assert_true(err.text[0] != '\0');
}

static void agreeing_state_signs(void **state)
{
    (void)state;
    for (enum plan_kind kind = PLAN_TIME; kind <= PLAN_INTERVAL; kind++) {
        struct start_facts f = calm(kind);
        expect(&f, START_DONE, RC_OK);
        /* Receipts, voids, notes behind the head are no reason for anything (attack 35). */
        f.ledger.behind = 7;
        expect(&f, START_DONE, RC_OK);
    }
}

static void new_key_signs(void **state)
{
    (void)state;
    struct start_facts f = calm(PLAN_TIME);
    f.tpm = (struct anchor_state){
        .w = 100, .l = 1, .a_valid = true, .a = {.w = 100, .l = 1, .l_base = 1}};
    f.ledger = (struct ledger_standing){.head_known = true,
                                        .head_seq = 2,
                                        .lease_epoch = -1,
                                        .receipt_epoch = -1,
                                        .intent_epoch = -1,
                                        .window = -1,
                                        .window_w = -1};
    expect(&f, START_DONE, RC_OK);
}

static void crash_between_a_and_l_is_finished(void **state)
{
    (void)state;
    struct start_facts f = calm(PLAN_VERSION);
    f.tpm.a.l = 51;
    f.ledger.intent_epoch = 51;
    expect(&f, START_FINISH_L, RC_OK);
    f.kind = PLAN_TIME;
    f.ledger.intent_epoch = -1;
    f.ledger.lease_epoch = 51;
    expect(&f, START_FINISH_L, RC_OK);
}

static void rolled_back_ledger_is_refused(void **state)
{
    (void)state;
    for (enum plan_kind kind = PLAN_TIME; kind <= PLAN_INTERVAL; kind++) {
        struct start_facts f = calm(kind);
        f.ledger = (struct ledger_standing){.head_known = false, .lease_epoch = 40, .window = 8};
        expect(&f, START_REFUSE, RC_HALT_REGRESSION);
        /* A is not rewritten with the old head first (attack 26). */
        f.tpm.w = 111;
        expect(&f, START_REFUSE, RC_HALT_REGRESSION);
    }
}

static void lost_a(void **state)
{
    (void)state;
    struct start_facts f = calm(PLAN_TIME);
    f.tpm.a_valid = false;
    f.tpm.a = (struct anchor_record){0};
    /* W first, then A: L_base never moves inside a window (attack 6). */
    expect(&f, START_STEP_W_WRITE_A, RC_OK);
    f.kind = PLAN_INTERVAL;
    expect(&f, START_STEP_W_WRITE_A, RC_OK);
    f.kind = PLAN_VERSION; /* attack 27 */
    expect(&f, START_REFUSE, RC_HALT_REGRESSION);
}

static void values_that_cannot_be(void **state)
{
    (void)state;
    struct start_facts f = calm(PLAN_TIME);
    f.tpm.a.w = 111;
    expect(&f, START_REFUSE, RC_HALT_INVARIANT);
    f = calm(PLAN_TIME);
    f.tpm.a.l_base = 51;
    expect(&f, START_REFUSE, RC_HALT_INVARIANT);
    f = calm(PLAN_VERSION);
    f.tpm.a.l = 49; /* an older A put back (attack 8), or L made anew above its old value */
    expect(&f, START_REFUSE, RC_HALT_REGRESSION);
    f.tpm.a.l = 52;
    expect(&f, START_REFUSE, RC_HALT_INVARIANT);
}

static void tpm_behind_the_ledger(void **state)
{
    (void)state;
    struct start_facts f = calm(PLAN_TIME);
    f.ledger.lease_epoch = 52;
    expect(&f, START_REFUSE, RC_HALT_TPM_BEHIND);
    f = calm(PLAN_TIME);
    f.ledger.lease_epoch = 51;
    f.ledger.receipt_epoch = 51;
    expect(&f, START_REFUSE, RC_HALT_TPM_BEHIND);
    f = calm(PLAN_TIME);
    f.ledger.window_w = 111;
    expect(&f, START_REFUSE, RC_HALT_TPM_BEHIND);
    f = calm(PLAN_VERSION);
    f.ledger.intent_epoch = 52;
    expect(&f, START_REFUSE, RC_HALT_TPM_BEHIND);
}

static void unanchored_lease_is_passed_over(void **state)
{
    (void)state;
    /* Exactly L + 1, no receipts: an ordinary crash (attack 15). */
    struct start_facts f = calm(PLAN_TIME);
    f.ledger.lease_epoch = 51;
    expect(&f, START_RAISE_L, RC_OK);
    f.kind = PLAN_INTERVAL;
    expect(&f, START_RAISE_L, RC_OK);
}

static void unanchored_intents(void **state)
{
    (void)state;
    struct start_facts f = calm(PLAN_VERSION);
    f.ledger.open_intents_behind = 2;
    f.ledger.intent_epoch = 51;
    expect(&f, START_VOID, RC_OK);
    /* A TPM that may have lost the acknowledged write: the bindings stay (attack 7). */
    f.keeps_writes = false;
    expect(&f, START_ANCHOR_INTENTS, RC_OK);
}

static void stepped_w(void **state)
{
    (void)state;
    struct start_facts f = calm(PLAN_TIME);
    f.tpm.w = 111;
    expect(&f, START_WRITE_A, RC_OK);
    /* An older A beside a newer W and another L: step once more first (attack 37). */
    f.tpm.a.l = 51;
    expect(&f, START_STEP_W_WRITE_A, RC_OK);
    /* A was written, the ledger's entry was not. */
    f = calm(PLAN_TIME);
    f.tpm.w = 111;
    f.tpm.a.w = 111;
    f.tpm.a.l_base = 50;
    expect(&f, START_RECORD_WINDOW, RC_OK);
}

static void approved_window(void **state)
{
    (void)state;
    /* Approved, W not stepped: what was promised is finished, behind all other tidying (attack 20).
     */
    struct start_facts f = calm(PLAN_TIME);
    f.tpm.a.early_window = 11;
    expect(&f, START_OPEN_EARLY, RC_OK);
    f.ledger.window_w = 109;
    expect(&f, START_RECORD_WINDOW, RC_OK);
    f = calm(PLAN_TIME);
    f.tpm.a.early_window = 11;
    f.ledger.lease_epoch = 51;
    expect(&f, START_RAISE_L, RC_OK);
    /* The ledger of before the approval. */
    f.ledger.head_known = false;
    expect(&f, START_REFUSE, RC_HALT_REGRESSION);
    /* W stepped and A not written; then all done. */
    f = calm(PLAN_TIME);
    f.tpm.a.early_window = 11;
    f.tpm.w = 111;
    expect(&f, START_WRITE_A, RC_OK);
    f.tpm.a.w = 111;
    f.tpm.a.window = 11;
    f.ledger.window_w = 111;
    expect(&f, START_DONE, RC_OK);
    /* Two windows ahead of A, or in a plan without time: not of our making. */
    f.tpm.a.early_window = 13;
    expect(&f, START_REFUSE, RC_HALT_INVARIANT);
    for (enum plan_kind kind = PLAN_TIME; kind <= PLAN_INTERVAL; kind++) {
        f = calm(kind);
        f.tpm.a.early_window = 11;
        expect(&f, kind == PLAN_TIME ? START_OPEN_EARLY : START_REFUSE,
               kind == PLAN_TIME ? RC_OK : RC_HALT_INVARIANT);
    }
}

/* Whatever the facts, a step leads to other facts or to an end: no start goes round in circles. */
static void every_start_ends(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252U;
    for (unsigned round = 0; round < 200000; round++) {
        uint64_t r = seed ^= seed << 13;
        r = seed ^= seed >> 7;
        r = seed ^= seed << 17;
        struct start_facts f = calm((enum plan_kind)(r % 3));
        f.keeps_writes = (r >> 2) & 1;
        f.tpm.a_valid = (r >> 3) % 8 != 0;
        f.tpm.w += (r >> 6) % 3;
        f.tpm.a.l += (r >> 8) % 2;
        f.tpm.a.early_window = f.kind == PLAN_TIME ? 8 + (int64_t)((r >> 14) % 4) : -1;
        f.ledger.head_known = (r >> 9) % 8 != 0;
        f.ledger.open_intents_behind = f.kind == PLAN_VERSION ? (r >> 12) % 2 : 0;
        if (f.kind != PLAN_VERSION)
            f.ledger.lease_epoch += (int64_t)((r >> 13) % 2);
        unsigned steps = 0;
        for (;; steps++) {
            assert_true(steps < 8);
            enum rc rc = RC_OK;
            enum start_step step = start_decide(&f, &rc, NULL);
            if (step == START_DONE || step == START_REFUSE)
                break;
            switch (step) {
            case START_FINISH_L:
                f.tpm.l++;
                break;
            case START_VOID:
                f.ledger.open_intents_behind = 0;
                break;
            case START_ANCHOR_INTENTS:
            case START_RAISE_L:
                f.tpm.a.l = ++f.tpm.l;
                f.ledger.open_intents_behind = 0;
                break;
            case START_STEP_W_WRITE_A:
                f.tpm.w++;
                f.ledger.head_known = true;
                f.ledger.window_w = (int64_t)f.tpm.w;
                f.tpm.a.early_window = -1;
                __attribute__((fallthrough));
            case START_WRITE_A:
                f.tpm.a_valid = true;
                f.tpm.a.w = f.tpm.w;
                f.tpm.a.l = f.tpm.l;
                f.tpm.a.l_base = f.tpm.l;
                f.ledger.open_intents_behind = 0;
                break;
            case START_RECORD_WINDOW:
                f.ledger.window_w = (int64_t)f.tpm.w;
                break;
            case START_OPEN_EARLY:
                f.tpm.a.w = ++f.tpm.w;
                f.tpm.a.l_base = f.tpm.l;
                f.ledger.window_w = (int64_t)f.tpm.w;
                break;
            case START_DONE:
            case START_REFUSE:
                break;
            }
        }
    }
}

static void life_of_a_request(void **state)
{
    (void)state;
    static const enum request_life way[] = {LIFE_RECEIVED, LIFE_PLACED, LIFE_LEASED,
                                            LIFE_ANCHORED, LIFE_SIGNED, LIFE_RELEASED};
    for (size_t i = 0; i + 1 < sizeof(way) / sizeof(way[0]); i++)
        assert_true(request_move_allowed(way[i], way[i + 1]));
    /* A stored signature is returned at once. */
    assert_true(request_move_allowed(LIFE_RECEIVED, LIFE_RELEASED));
    /* Before LEASED nothing is lost; from then on every failure costs the index. */
    for (enum request_life from = 0; from < LIFE_COUNT; from++) {
        bool before = from == LIFE_RECEIVED || from == LIFE_PLACED;
        bool after = from == LIFE_LEASED || from == LIFE_ANCHORED || from == LIFE_SIGNED;
        assert_int_equal(request_move_allowed(from, LIFE_REFUSED), before);
        assert_int_equal(request_move_allowed(from, LIFE_BURNED), after);
        assert_false(request_move_allowed(LIFE_RELEASED, from));
        assert_false(request_move_allowed(LIFE_BURNED, from));
        assert_false(request_move_allowed(from, LIFE_RECEIVED));
    }
    /* No bytes leave before the index is leased, anchored and signed. */
    assert_false(request_move_allowed(LIFE_PLACED, LIFE_RELEASED));
    assert_false(request_move_allowed(LIFE_LEASED, LIFE_RELEASED));
    assert_false(request_move_allowed(LIFE_ANCHORED, LIFE_RELEASED));
    assert_false(request_move_allowed(LIFE_LEASED, LIFE_SIGNED));
}

static struct request good_request(void)
{
    struct request r = {.magic = REQUEST_MAGIC,
                        .op = REQUEST_SIGN,
                        .generation = 3,
                        .by = REQUEST_BY_VERSION,
                        .body = REQUEST_BODY_BYTES};
    strcpy(r.key, "fw");
    return r;
}

static void expect_refused(struct request r, bool handle)
{
    struct err err = {0};
    assert_int_equal(request_check(&r, 3, handle, 0, &err), RC_REFUSED_INPUT);
    assert_true(err.text[0] != '\0');
}

/* A body stands behind its request or in a handle: there, once, and as long as it says. */
static void core_checks_bodies(void **state)
{
    (void)state;
    struct err err = {0};
    struct request r = good_request();
    r.body_len = 5;
    assert_int_equal(request_check(&r, 3, false, 5, NULL), RC_OK);
    const size_t wrong[] = {0, 4, 6, REQUEST_BEHIND_MAX + 1};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(request_check(&r, 3, false, wrong[i], &err), RC_REFUSED_INPUT);
    assert_int_equal(request_check(&r, 3, true, 5, &err), RC_REFUSED_INPUT);
    r.body_len = REQUEST_BEHIND_MAX;
    assert_int_equal(request_check(&r, 3, false, REQUEST_BEHIND_MAX, NULL), RC_OK);
    r.body_len = REQUEST_BEHIND_MAX + 1;
    assert_int_equal(request_check(&r, 3, false, REQUEST_BEHIND_MAX + 1, &err), RC_REFUSED_INPUT);
    assert_int_equal(request_check(&r, 3, true, 0, NULL), RC_OK);
    r.body = REQUEST_BODY_DIGEST;
    r.body_len = 5;
    assert_int_equal(request_check(&r, 3, false, 5, &err), RC_REFUSED_INPUT);
    r.op = REQUEST_STATE;
    assert_int_equal(request_check(&r, 3, false, 5, &err), RC_REFUSED_INPUT);
    assert_int_equal(request_check(&r, 3, false, 0, NULL), RC_OK);
}

static void core_checks_every_field(void **state)
{
    (void)state;
    struct request r = good_request();
    assert_int_equal(request_check(&r, 3, true, 0, NULL), RC_OK);
    r.magic++;
    expect_refused(r, true);
    r = good_request();
    r.generation = 2; /* an old core's request (attack 23) */
    expect_refused(r, true);
    r = good_request();
    r.op = REQUEST_OP_END;
    expect_refused(r, true);
    r = good_request();
    r.by = 9;
    expect_refused(r, true);
    r = good_request();
    r.body = 9;
    expect_refused(r, true);
    expect_refused(good_request(), false); /* a handle is promised and does not come */
    r = good_request();
    r.body = REQUEST_BODY_DIGEST;
    expect_refused(r, true);
    r.digest_kind = 3;
    expect_refused(r, false);
    r = good_request();
    memset(&r.digest_claimed, 2, 1); /* no bool: whoever reads it as one may see both */
    expect_refused(r, true);
    r = good_request();
    memset(r.key, 'k', sizeof(r.key));
    expect_refused(r, true);
    r = good_request();
    memset(r.version, 'v', sizeof(r.version));
    expect_refused(r, true);
    r = good_request();
    memset(r.slot, 's', sizeof(r.slot));
    expect_refused(r, true);
    r = good_request();
    memset(r.idempotency_key, 'i', sizeof(r.idempotency_key));
    expect_refused(r, true);
    r = good_request();
    memset(r.request_id, 'i', sizeof(r.request_id));
    expect_refused(r, true);
    r = good_request();
    memset(r.requester, 'i', sizeof(r.requester));
    expect_refused(r, true);
    r = good_request();
    strcpy(r.request_id, "line\nbreak");
    expect_refused(r, true);
    r = good_request();
    r.op = REQUEST_STATE;
    expect_refused(r, true);
    r.op = REQUEST_WINDOWS;
    r.from = 5;
    r.to = 4;
    expect_refused(r, false);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(service_state_name(STATE_CLOCK_UNSAFE), "ClockUnsafe");
    assert_string_equal(service_state_name(99), "Unknown");
    assert_string_equal(window_state_name(WINDOW_SKIPPED), "skipped");
    assert_string_equal(window_state_name(99), "unknown");
    assert_string_equal(index_state_name(INDEX_GIVEN_UP), "given-up");
    assert_string_equal(index_state_name(99), "unknown");
    assert_string_equal(request_life_name(LIFE_BURNED), "burned");
}

/* With an argument, the tests whose names it matches (* and ?). */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agreeing_state_signs),
        cmocka_unit_test(new_key_signs),
        cmocka_unit_test(crash_between_a_and_l_is_finished),
        cmocka_unit_test(rolled_back_ledger_is_refused),
        cmocka_unit_test(lost_a),
        cmocka_unit_test(values_that_cannot_be),
        cmocka_unit_test(tpm_behind_the_ledger),
        cmocka_unit_test(unanchored_lease_is_passed_over),
        cmocka_unit_test(unanchored_intents),
        cmocka_unit_test(stepped_w),
        cmocka_unit_test(approved_window),
        cmocka_unit_test(every_start_ends),
        cmocka_unit_test(life_of_a_request),
        cmocka_unit_test(core_checks_every_field),
        cmocka_unit_test(core_checks_bodies),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
