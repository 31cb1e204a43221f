/*
 * The loop of the signer thread: every request is answered exactly once whatever happens, a signer
 * that cannot be opened is tried again at growing intervals, an idle moment brings A up to date,
 * and after a HALT there is nothing to go on with.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "lib/signer_rig.h"
#include "signer/loop.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define MS INT64_C(1000000)
#define IDLE_MS 2000
#define PLAN                                                                                       \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':8,'lease_size':1}")

static struct rig rig;
static struct loop loop;
static unsigned answered[BATCH_MAX]; /* by the request's number */
static enum rc last_rc;
static unsigned opened;

static void take_answer(void *ctx, struct item *item, const void *payload, size_t len)
{
    (void)ctx;
    answered[item->request.number]++;
    last_rc = (enum rc)item->reply.rc;
    bool signature = item->request.op == REQUEST_SIGN && last_rc == RC_OK;
    assert_true(item->request.op != REQUEST_SIGN || signature == (payload != NULL && len > 0));
}

static void take_opened(void *ctx, const struct signer *signer)
{
    (void)ctx;
    const char *name = NULL;
    enum plan_message mode = PLAN_SHA512;
    assert_true(signer_key_at(signer, 0, &name, &mode));
    assert_string_equal(name, "k");
    assert_int_equal(mode, PLAN_RAW);
    assert_false(signer_key_at(signer, 1, &name, &mode));
    opened++;
}

static const struct loop_sink sink = {.answer = take_answer, .opened = take_opened};

static void begin(void)
{
    oracle_reset();
    memset(answered, 0, sizeof(answered));
    opened = 0;
    rig_make(&rig, START + 86400, 1);
    rig_add_key(&rig, PLAN, 0);
}

static void start(void)
{
    loop_start(&loop, &rig.config, IDLE_MS, &rig.fake.world, &sink);
}

static int end(void **state)
{
    (void)state;
    loop_end(&loop, false);
    rig_end(&rig);
    return 0;
}

static void make_request(struct item *item, unsigned number, uint32_t op)
{
    struct err err = {0};
    *item = (struct item){.fd = -1, .job.artifact.fd = -1};
    struct request *r = &item->request;
    *r = (struct request){.magic = REQUEST_MAGIC, .op = op, .generation = 1, .number = number};
    strcpy(r->key, "k");
    strcpy(r->requester, "tester");
    if (op != REQUEST_SIGN)
        return;
    r->by = REQUEST_BY_WINDOW;
    r->body = REQUEST_BODY_BYTES;
    r->body_len = 1;
    (void)snprintf(r->idempotency_key, sizeof(r->idempotency_key), "n%u", number);
    item->fd = memfd_create("artifact", MFD_CLOEXEC);
    assert_true(item->fd >= 0 && pwrite_full(item->fd, "x", 1, 0));
    assert_int_equal(artifact_open(&item->job.artifact, r, item->fd, PLAN_RAW, &err), RC_OK);
}

/* Hand over `count` requests with new numbers from `from` on; the last one has this op. */
static enum rc turn(unsigned from, size_t count, uint32_t last_op)
{
    static struct item items[BATCH_MAX];
    struct item *list[BATCH_MAX];
    struct err err = {0};
    for (size_t i = 0; i < count; i++) {
        make_request(&items[i], from + (unsigned)i, i + 1 == count ? last_op : REQUEST_SIGN);
        list[i] = &items[i];
    }
    enum rc rc = loop_turn(&loop, list, count, &err);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(answered[from + i], 1);
        fd_close(&items[i].fd);
    }
    return rc;
}

static void pass_ms(int64_t ms)
{
    rig.fake.now_ns += ms * MS;
    rig.fake.raw_ns += ms * MS;
}

static void test_answers_each_once(void **state)
{
    (void)state;
    begin();
    start();
    assert_int_equal(opened, 1);
    assert_int_equal(turn(0, 3, REQUEST_SIGN), RC_OK);
    assert_int_equal(last_rc, RC_OK);
    assert_int_equal(oracle_indices(), 3);
    assert_int_equal(turn(3, 2, REQUEST_STATE), RC_OK);
    assert_int_equal(turn(5, 0, REQUEST_STATE), RC_OK);
}

/* What was refused on its way in is answered with its own reason, and the others go on. */
static void test_refused_before(void **state)
{
    (void)state;
    begin();
    start();
    struct item item;
    struct item *list[] = {&item};
    struct err err = {0};
    make_request(&item, 7, REQUEST_STATE);
    item.request.op = REQUEST_SIGN;
    item.rc = FAIL(&item.err, RC_REFUSED_DIGEST, "", 0, "another file");
    assert_int_equal(loop_turn(&loop, list, 1, &err), RC_OK);
    assert_int_equal(answered[7], 1);
    assert_int_equal(last_rc, RC_REFUSED_DIGEST);
    assert_string_equal(item.reply.text, "another file");
    assert_int_equal(oracle_computed(), 0);
}

static void test_opens_when_it_can(void **state)
{
    (void)state;
    begin();
    fake_tpm_fail(&rig.fake, 1, FAKE_FAIL_BEFORE);
    start();
    assert_int_equal(turn(0, 1, REQUEST_SIGN), RC_OK);
    assert_int_equal(last_rc, RC_HALT_ANCHOR);
    assert_int_equal(oracle_computed(), 0);
    assert_true(loop_wait_ms(&loop) > 0);
    /* The TPM is back: not before the next look, then at once. */
    fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
    unsigned before = opened;
    assert_int_equal(turn(1, 0, 0), RC_OK);
    assert_int_equal(opened, before);
    pass_ms(600);
    assert_int_equal(loop_wait_ms(&loop), 0);
    assert_int_equal(turn(1, 0, 0), RC_OK);
    assert_int_equal(opened, before + 1);
    assert_int_equal(turn(1, 1, REQUEST_SIGN), RC_OK);
    assert_int_equal(last_rc, RC_OK);
}

/* While opening does not help it is tried less and less often, but at least every 15 s. */
static void test_backs_off(void **state)
{
    (void)state;
    begin();
    unsigned tries = 0;
    start();
    for (unsigned i = 0; i < 120; i++) {
        uint64_t before = rig.fake.tpm->session;
        fake_tpm_fail(&rig.fake, 1, FAKE_FAIL_BEFORE);
        if (i == 0) {
            loop_end(&loop, false);
            start();
            continue;
        }
        pass_ms(500);
        assert_int_equal(turn(0, 0, 0), RC_OK);
        tries += rig.fake.tpm->session != before;
    }
    /* A minute: 0.5, 1, 2, 4, 8, 15, 15 … seconds between them. */
    assert_in_range(tries, 6, 10);
}

static void test_idle_settles(void **state)
{
    (void)state;
    begin();
    start();
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(turn(i, 1, REQUEST_SIGN), RC_OK);
    struct anchor_record a;
    uint8_t before[sizeof(a.head)];
    assert_true(anchor_record_decode(&a, rig.fake.tpm->nv[0].a));
    memcpy(before, a.head, sizeof(before));
    pass_ms(IDLE_MS - 1000);
    assert_int_equal(turn(8, 1, REQUEST_STATE), RC_OK);
    assert_true(anchor_record_decode(&a, rig.fake.tpm->nv[0].a));
    assert_memory_equal(a.head, before, sizeof(before));
    /* A monitor that reads all the time does not put it off. */
    pass_ms(1500);
    assert_int_equal(turn(9, 1, REQUEST_STATE), RC_OK);
    assert_true(anchor_record_decode(&a, rig.fake.tpm->nv[0].a));
    assert_memory_not_equal(a.head, before, sizeof(before));
}

/* Windows to pass: the loop wants its next turn at once, and is not in the way of anybody. */
static void test_passes_windows_in_between(void **state)
{
    (void)state;
    begin();
    rig.config.settings.catch_up_steps = 1;
    fake_clock_set(&rig.fake, START + 86400 + (int64_t)3 * 7 * 86400);
    start();
    assert_true(loop_wait_ms(&loop) > 0);
    assert_int_equal(turn(0, 1, REQUEST_SIGN), RC_OK);
    assert_int_equal(last_rc, RC_RETRY_STARTING);
    assert_int_equal(loop_wait_ms(&loop), 0);
    unsigned turns = 0;
    for (; loop_wait_ms(&loop) == 0 && turns < 10; turns++)
        assert_int_equal(turn(0, 0, 0), RC_OK);
    assert_int_equal(turns, 1); /* 0 in the request, 1 in its turn, 2 in this one */
    assert_int_equal(turn(1, 1, REQUEST_SIGN), RC_OK);
    assert_int_equal(last_rc, RC_OK);
}

static void test_halt_answers_all(void **state)
{
    (void)state;
    begin();
    start();
    assert_int_equal(turn(0, 1, REQUEST_SIGN), RC_OK);
    fake_tpm_fail(&rig.fake, 2, FAKE_FAIL_AFTER);
    enum rc rc = turn(1, 5, REQUEST_SIGN);
    assert_int_equal(rc_class(rc), RC_CLASS_HALT);
    assert_int_equal(rc_class(last_rc), RC_CLASS_HALT);
}

/* A key whose plan cannot be read keeps its reason, and the service goes on looking at its clock.
 * Found by the simulator: the look divided by the length of the windows of a plan that was not
 * there. */
static void test_key_without_plan(void **state)
{
    (void)state;
    begin();
    assert_int_equal(unlinkat(rig.config.state_dirfd, "keys/k/plan.json", 0), 0);
    start();
    pass_ms(1000);
    assert_int_equal(turn(0, 0, REQUEST_STATE), RC_OK);
    assert_int_equal(turn(1, 1, REQUEST_SIGN), RC_OK);
    assert_int_equal(last_rc, RC_HALT_STATE_DIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_answers_each_once, end),
        cmocka_unit_test_teardown(test_refused_before, end),
        cmocka_unit_test_teardown(test_opens_when_it_can, end),
        cmocka_unit_test_teardown(test_backs_off, end),
        cmocka_unit_test_teardown(test_idle_settles, end),
        cmocka_unit_test_teardown(test_passes_windows_in_between, end),
        cmocka_unit_test_teardown(test_halt_answers_all, end),
        cmocka_unit_test_teardown(test_key_without_plan, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
