/*
 * Attestations in the life of a signer: keys recorded once, one receipt in each period, behind the
 * answers and never in their way, and what ends a process and what does not. The TPM is in memory
 * and signs with the forger's key.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/secmem.h"
#include "lib/forger.h"
#include "lib/signer_rig.h"
#include "signer/attest.h"
#include "signer/loop.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define PERIOD_S 86400
#define PLAN                                                                                       \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':8,'lease_size':1}")

static struct rig rig;
static struct loop loop;
static struct forger forger;

/* What the TPM does with the next question. */
static struct {
    unsigned asked;
    enum rc answer;  /* not RC_OK: this, and nothing else */
    uint64_t l_more; /* added to L in the statement */
    bool spoil;      /* a bit of the signature */
} tpm;

/* What came back, in the order in which it left. */
static struct {
    unsigned count;
    uint32_t ops[BATCH_MAX];
    enum rc rcs[BATCH_MAX];
    int64_t retry_after_s;
    uint8_t id[16];
    char *payload; /* of the newest answer that is no signature */
} seen;

static enum rc attests(void *ctx, const struct fake_nv *nv, const uint8_t digest[32],
                       struct attest_evidence *e, struct err *err)
{
    struct forgery g;
    (void)ctx;
    tpm.asked++;
    if (tpm.answer != RC_OK)
        return FAIL(err, tpm.answer, "fake", 0, "as it was told");
    forgery_begin(&forger, &g);
    struct forged *all[] = {&g.w, &g.l, &g.a, &g.time};
    for (size_t i = 0; i < 4; i++)
        memcpy(all[i]->digest, digest, 32);
    memcpy(g.w.index_name, rig.record[0].pins.w_name, TPM_NAME_LEN);
    memcpy(g.l.index_name, rig.record[0].pins.l_name, TPM_NAME_LEN);
    memcpy(g.a.index_name, rig.record[0].pins.a_name, TPM_NAME_LEN);
    be_put64(g.w.contents, nv->w);
    be_put64(g.l.contents, nv->l + tpm.l_more);
    memcpy(g.a.contents, nv->a, ANCHOR_RECORD_LEN);
    forger_sign(&forger, &g.w, &e->w);
    forger_sign(&forger, &g.l, &e->l);
    forger_sign(&forger, &g.a, &e->a);
    forger_sign(&forger, &g.time, &e->time);
    if (tpm.spoil)
        e->l.sig[5] ^= 1;
    return RC_OK;
}

static void take_answer(void *ctx, struct item *item, const void *payload, size_t len)
{
    (void)ctx;
    assert_true(seen.count < BATCH_MAX);
    seen.ops[seen.count] = item->request.op;
    seen.rcs[seen.count++] = (enum rc)item->reply.rc;
    seen.retry_after_s = item->reply.retry_after_s;
    if (item->request.op == REQUEST_SIGN) {
        memcpy(seen.id, item->reply.signature.id, sizeof(seen.id));
        return;
    }
    free(seen.payload);
    seen.payload = len > 0 ? strndup(payload, len) : NULL;
}

static const struct loop_sink sink = {.answer = take_answer};

static void start(void)
{
    loop_start(&loop, &rig.config, 2000, &rig.fake.world, &sink);
}

static int begin(void **state)
{
    (void)state;
    free(seen.payload);
    memset(&seen, 0, sizeof(seen));
    memset(&tpm, 0, sizeof(tpm));
    oracle_reset();
    rig_make(&rig, START + 3600, 1);
    rig_add_key(&rig, PLAN, 0);
    rig.config.settings.attest_period_s = PERIOD_S;
    rig.fake.attests = attests;
    memcpy(rig.fake.attest_keys.ak.point, forger.point, P256_POINT_LEN);
    memcpy(rig.fake.attest_keys.ek.point, forger.point, P256_POINT_LEN);
    attest_ak_name(rig.fake.attest_keys.ak.name, forger.point);
    attest_ek_name(rig.fake.attest_keys.ek.name, forger.point);
    start();
    return 0;
}

static int end(void **state)
{
    (void)state;
    loop_end(&loop, false);
    rig_end(&rig);
    free(seen.payload);
    seen.payload = NULL;
    return 0;
}

static void make_request(struct item *item, uint32_t op)
{
    static unsigned number;
    struct err err = {0};
    *item = (struct item){.fd = -1, .job.artifact.fd = -1};
    struct request *r = &item->request;
    *r = (struct request){.magic = REQUEST_MAGIC, .op = op, .generation = 1, .number = ++number};
    strcpy(r->key, "k");
    strcpy(r->requester, "tester");
    memset(r->nonce, 0x42, 16);
    r->nonce_len = 16;
    memcpy(r->id, seen.id, sizeof(r->id));
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

static enum rc turn(size_t count, const uint32_t *ops)
{
    static struct item items[BATCH_MAX];
    struct item *list[BATCH_MAX];
    struct err err = {0};
    for (size_t i = 0; i < count; i++) {
        make_request(&items[i], ops[i]);
        list[i] = &items[i];
    }
    seen.count = 0;
    enum rc rc = loop_turn(&loop, list, count, &err);
    assert_int_equal(seen.count, count);
    for (size_t i = 0; i < count; i++)
        fd_close(&items[i].fd);
    return rc;
}

static enum rc ask(uint32_t op)
{
    return turn(1, &op);
}

static void must_sign(void)
{
    assert_int_equal(ask(REQUEST_SIGN), RC_OK);
    assert_int_equal(seen.rcs[0], RC_OK);
}

/* Does the receipt of the newest signature carry an attestation, and a true one? */
static bool attested(void)
{
    static struct attest_receipt receipt;
    static const struct attest_expected nothing;
    struct attest_meaning m;
    struct err err = {0};
    assert_int_equal(ask(REQUEST_RECEIPT), RC_OK);
    assert_int_equal(seen.rcs[0], RC_OK);
    enum rc rc = attest_receipt_parse(&receipt, seen.payload, strlen(seen.payload), &err);
    if (rc == RC_REFUSED_NOT_FOUND)
        return false;
    if (rc == RC_OK)
        rc = attest_receipt_verify(&receipt, &nothing, &m, &err);
    if (rc != RC_OK)
        fail_msg("%s", err.text);
    return true;
}

static void pass_s(int64_t seconds)
{
    rig.fake.now_ns += seconds * INT64_C(1000000000);
    rig.fake.raw_ns += seconds * INT64_C(1000000000);
}

/* One receipt in each period
 * ---------------------------------------------------------------------*/

static void test_one_in_each_period(void **state)
{
    (void)state;
    must_sign();
    assert_true(attested());
    must_sign();
    assert_false(attested());
    assert_int_equal(tpm.asked, 1);
    pass_s(PERIOD_S);
    must_sign();
    assert_true(attested());
    must_sign();
    assert_false(attested());
    assert_int_equal(tpm.asked, 2);
    /* A new process knows what the ledger knows. */
    loop_end(&loop, true);
    start();
    must_sign();
    assert_false(attested());
    assert_int_equal(tpm.asked, 2);
}

/* Of many in one batch it is the last: the head is its own hash. */
static void test_batch(void **state)
{
    (void)state;
    static const uint32_t ops[] = {REQUEST_SIGN, REQUEST_SIGN, REQUEST_SIGN};
    assert_int_equal(turn(3, ops), RC_OK);
    assert_true(attested());
    assert_int_equal(tpm.asked, 1);
}

static void test_off(void **state)
{
    (void)state;
    rig.config.settings.attest_period_s = 0;
    must_sign();
    assert_false(attested());
    assert_int_equal(tpm.asked, 0);
}

/* What fails costs no signature, and is not tried with every one. */
static void test_refused(void **state)
{
    (void)state;
    static const enum rc answers[] = {RC_REFUSED_ATTEST, RC_RETRY_ANCHOR};
    for (size_t i = 0; i < 2; i++) {
        tpm.answer = answers[i];
        tpm.asked = 0;
        must_sign();
        must_sign();
        assert_int_equal(tpm.asked, 1);
        pass_s(ATTEST_RETRY_S);
    }
    tpm.answer = RC_OK;
    must_sign();
    assert_true(attested());
}

static void test_wrong_signature(void **state)
{
    (void)state;
    tpm.spoil = true;
    must_sign();
    assert_false(attested());
    assert_int_equal(ask(REQUEST_ATTEST), RC_OK);
    assert_int_equal(seen.rcs[0], RC_REFUSED_ATTEST);
    must_sign();
}

/* A HALT ends the process, but the signature has left by then. */
static void test_halt_behind_the_answer(void **state)
{
    (void)state;
    tpm.answer = RC_HALT_ANCHOR;
    assert_int_equal(ask(REQUEST_SIGN), RC_HALT_ANCHOR);
    assert_int_equal(seen.rcs[0], RC_OK);
    assert_int_equal(oracle_indices(), 1);
}

/* W and L that this process did not write. */
static void test_other_counters(void **state)
{
    (void)state;
    tpm.l_more = 1;
    assert_int_equal(ask(REQUEST_SIGN), RC_HALT_CANARY);
    assert_int_equal(seen.rcs[0], RC_OK);
    loop_end(&loop, false);
    start();
    assert_int_equal(ask(REQUEST_ATTEST), RC_HALT_CANARY);
    assert_int_equal(seen.rcs[0], RC_HALT_CANARY);
}

/* Questions
 * --------------------------------------------------------------------------------------*/

static void test_question(void **state)
{
    (void)state;
    static struct attest_document doc;
    struct attest_meaning m;
    uint8_t nonce[16];
    struct err err = {0};
    must_sign();
    assert_int_equal(ask(REQUEST_ATTEST), RC_OK);
    assert_int_equal(seen.rcs[0], RC_OK);
    assert_int_equal(attest_document_parse(&doc, seen.payload, strlen(seen.payload), &err), RC_OK);
    memset(nonce, 0x42, sizeof(nonce));
    const struct attest_expected want = {.nonce = nonce, .nonce_len = 16, .ak = forger.point};
    assert_int_equal(attest_verify(&doc, &want, &m, &err), RC_OK);
    assert_int_equal(attest_meaning_check(&doc, &m, &err), RC_OK);
    assert_int_equal(m.floor, 0);
    assert_int_equal(m.epoch, 1);
    assert_string_equal(doc.bound.key, "k");
    assert_memory_equal(doc.bound.plan_sha256, rig.record[0].plan_sha256, SHA256_LEN);
}

/* Signatures that wait go first, whatever came first. */
static void test_behind_signatures(void **state)
{
    (void)state;
    static const uint32_t ops[] = {REQUEST_ATTEST, REQUEST_SIGN, REQUEST_ATTEST, REQUEST_SIGN};
    assert_int_equal(turn(4, ops), RC_OK);
    assert_int_equal(seen.ops[0], REQUEST_SIGN);
    assert_int_equal(seen.ops[1], REQUEST_SIGN);
    assert_int_equal(seen.ops[2], REQUEST_ATTEST);
    assert_int_equal(seen.ops[3], REQUEST_ATTEST);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(seen.rcs[i], RC_OK);
}

static void test_limit(void **state)
{
    (void)state;
    loop_end(&loop, false);
    rig.config.attest_per_minute = 4;
    start();
    assert_int_equal(ask(REQUEST_ATTEST), RC_OK);
    assert_int_equal(ask(REQUEST_ATTEST), RC_OK);
    assert_int_equal(seen.rcs[0], RC_OK);
    assert_int_equal(ask(REQUEST_ATTEST), RC_OK);
    assert_int_equal(seen.rcs[0], RC_RETRY_RATE);
    assert_in_range(seen.retry_after_s, 14, 16);
    assert_int_equal(tpm.asked, 2);
    must_sign(); /* its receipt is not one of those that are counted */
    assert_true(attested());
    pass_s(15);
    assert_int_equal(ask(REQUEST_ATTEST), RC_OK);
    assert_int_equal(seen.rcs[0], RC_OK);
}

/* Keys
 * -------------------------------------------------------------------------------------------*/

static unsigned recorded(void)
{
    unsigned count = 0;
    struct err err = {0};
    char *json = NULL;
    loop_end(&loop, false);
    struct ledger *ledger = rig_ledger(&rig);
    for (uint64_t seq = 1; seq <= ledger_size(ledger); seq++) {
        assert_int_equal(ledger_entry_json(ledger, seq, &json, &err), RC_OK);
        count += strstr(json, "\"kind\":\"attestation-key\"") != NULL;
        free(json);
    }
    ledger_close(&ledger);
    start();
    return count;
}

/* A key that was made before there were attestations gets them with its first start, once. */
static void test_recorded_once(void **state)
{
    (void)state;
    assert_int_equal(recorded(), 1);
    assert_int_equal(recorded(), 1);
    must_sign();
    assert_true(attested());
}

/* Another AK than the recorded one: no attestations, and signatures as ever. */
static void test_other_ak(void **state)
{
    (void)state;
    loop_end(&loop, false);
    rig.fake.attest_keys.ak.name[7] ^= 1;
    start();
    must_sign();
    assert_false(attested());
    assert_int_equal(ask(REQUEST_ATTEST), RC_OK);
    assert_int_equal(seen.rcs[0], RC_REFUSED_ATTEST);
    assert_int_equal(tpm.asked, 0);
    rig.fake.attest_keys.ak.name[7] ^= 1;
    assert_int_equal(recorded(), 1);
    must_sign();
    assert_true(attested());
}

static void test_none(void **state)
{
    (void)state;
    end(NULL);
    oracle_reset();
    rig_make(&rig, START + 3600, 1);
    rig_add_key(&rig, PLAN, 0);
    rig.config.settings.attest_period_s = PERIOD_S;
    start();
    must_sign();
    assert_false(attested());
    assert_int_equal(ask(REQUEST_ATTEST), RC_OK);
    assert_int_equal(seen.rcs[0], RC_REFUSED_ATTEST);
    assert_int_equal(recorded(), 0);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_in_each_period),
        TEST(test_batch),
        TEST(test_off),
        TEST(test_refused),
        TEST(test_wrong_signature),
        TEST(test_halt_behind_the_answer),
        TEST(test_other_counters),
        TEST(test_question),
        TEST(test_behind_signatures),
        TEST(test_limit),
        TEST(test_recorded_once),
        TEST(test_other_ak),
        TEST(test_none),
    };
    struct err err = {0};
    if (base_init(&err) != RC_OK)
        return 1;
    forger_make(&forger);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    forger_end(&forger);
    return failed;
}
