/*
 * Previews on a fake world: what one says is what the same signing request then does, and it leaves
 * no trace: not in the ledger, not in the TPM, not in a bucket, not in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "lib/signer_rig.h"

#define DAY INT64_C(86400)
#define WEEK (7 * DAY)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define STEPS 150

#define VERSION_PLAN                                                                               \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':2},"       \
             "'slots':['a','b'],'window':'minor','order':'strict','max_jump':8}")
#define TIME_PLAN                                                                                  \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':8,'lease_size':2}")
#define INTERVAL_PLAN                                                                              \
    RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':4,'lease_size':2}")
#define DIGEST_PLAN                                                                                \
    RIG_PLAN("k", "sha512", "{'kind':'interval','signatures_per_window':4,'lease_size':2}")

static struct rig rig;
static uint64_t seed_state;

static unsigned roll(unsigned n)
{
    seed_state = seed_state * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return (unsigned)(seed_state >> 33) % n;
}

static void begin(const char *plan, uint64_t burst, uint64_t window_max)
{
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, plan, 0);
    rig.limits[0].limits =
        (struct key_limits){.burst = burst, .per_hour = 60, .window_max = window_max};
    assert_int_equal(rig_open(&rig), RC_OK);
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

/* Asking ---------------------------------------------------------------------------------------
 */

static struct request request_of(const struct ask *a, bool with_digest)
{
    struct request r = {.magic = REQUEST_MAGIC, .op = REQUEST_PREVIEW, .generation = 1};
    strcpy(r.key, "k");
    r.by = a->version != NULL ? REQUEST_BY_VERSION : REQUEST_BY_WINDOW;
    text_copy(r.version, sizeof(r.version), a->version != NULL ? a->version : "");
    text_copy(r.slot, sizeof(r.slot), a->slot != NULL ? a->slot : "");
    text_copy(r.idempotency_key, sizeof(r.idempotency_key), a->idem != NULL ? a->idem : "");
    r.digest_claimed = with_digest;
    r.digest_kind = DIGEST_SHA256;
    if (with_digest)
        digest_buffer(DIGEST_SHA256, r.digest, a->text, strlen(a->text));
    return r;
}

static struct reply look(const struct request *request)
{
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    struct err err = {0};
    assert_int_equal(request_check(request, 1, false, 0, &err), RC_OK);
    signer_read(rig.signer, request, &reply, &payload, &len);
    assert_null(payload);
    return reply;
}

/* Everything that must not move. */
struct trace {
    struct rig_disk disk;
    struct fake_nv nv[FAKE_KEYS_MAX];
    size_t computed;
    int64_t slept_ms;
};

static struct trace trace_take(void)
{
    struct trace t = {.computed = oracle_computed(), .slept_ms = rig.fake.slept_ms};
    rig_disk_take(&rig, &t.disk);
    memcpy(t.nv, rig.fake.tpm->nv, sizeof(t.nv));
    return t;
}

static void trace_same(struct trace *t)
{
    struct trace now = trace_take();
    assert_int_equal(t->computed, now.computed);
    assert_int_equal(t->slept_ms, now.slept_ms);
    assert_memory_equal(t->nv, now.nv, sizeof(now.nv));
    assert_int_equal(t->disk.db_len, now.disk.db_len);
    assert_int_equal(t->disk.wal_len, now.disk.wal_len);
    assert_memory_equal(t->disk.db, now.disk.db, now.disk.db_len);
    if (now.disk.wal_len > 0)
        assert_memory_equal(t->disk.wal, now.disk.wal, now.disk.wal_len);
    rig_disk_free(&t->disk);
    rig_disk_free(&now.disk);
}

/* Look twice, without a trace, and then do it: the answer is that of the preview. */
static struct reply look_and_sign(struct ask *a)
{
    struct trace before = trace_take();
    struct request request = request_of(a, true);
    struct reply first = look(&request);
    struct reply seen = look(&request);
    assert_memory_equal(&first, &seen, sizeof(seen));
    trace_same(&before);
    assert_int_equal(rig_sign(&rig, a, 1), RC_OK);
    if (seen.rc != (int32_t)a->rc)
        fail_msg("preview %s (%s), then %s (%s)", rc_name((enum rc)seen.rc), seen.text,
                 rc_name(a->rc), a->reply.text);
    assert_int_equal(seen.rate_limit, a->reply.rate_limit);
    assert_int_equal(seen.rate_remaining, a->reply.rate_remaining);
    assert_string_equal(seen.next_version, a->reply.next_version);
    assert_int_equal(seen.retry_after_s, a->reply.retry_after_s);
    if (a->rc != RC_OK)
        return seen;
    assert_int_equal(seen.replayed, a->replayed);
    assert_int_equal(seen.signature.index, a->index);
    assert_int_equal(seen.signature.window, a->window);
    assert_string_equal(seen.signature.version, a->reply.signature.version);
    assert_string_equal(seen.signature.slot, a->reply.signature.slot);
    assert_memory_equal(seen.signature.plan_sha256, a->reply.signature.plan_sha256, SHA256_LEN);
    if (!a->replayed)
        assert_int_equal(seen.signature.remaining_window, a->reply.signature.remaining_window + 1);
    return seen;
}

/* Random requests ------------------------------------------------------------------------------
 */

static void versions_as_previewed(void **state)
{
    (void)state;
    static struct ask a;
    unsigned counts[2] = {0};
    seed_state = 7;
    begin(VERSION_PLAN, 0, 3);
    for (unsigned i = 0; i < STEPS; i++) {
        char version[32], text[16];
        (void)snprintf(version, sizeof(version), "%u.%u.%u", roll(2), roll(5), roll(2));
        (void)snprintf(text, sizeof(text), "text %u", roll(2));
        memset(&a, 0, offsetof(struct ask, signature));
        a.version = version;
        a.slot = roll(8) == 0 ? NULL : roll(2) == 0 ? "a" : "b";
        a.text = text;
        counts[look_and_sign(&a).rc == RC_OK]++;
    }
    assert_true(counts[0] > 5);
    assert_true(counts[1] > 5);
    oracle_check();
}

static void windows_as_previewed(const char *plan, uint64_t window_max, int64_t step_s)
{
    static struct ask a;
    unsigned counts[2] = {0};
    seed_state = 11;
    begin(plan, 0, window_max);
    for (unsigned i = 0; i < STEPS / 2; i++) {
        char idem[16], text[16];
        (void)snprintf(idem, sizeof(idem), "key %u", roll(30));
        (void)snprintf(text, sizeof(text), "text %u", roll(2));
        memset(&a, 0, offsetof(struct ask, signature));
        a.idem = idem;
        a.text = text;
        counts[look_and_sign(&a).rc == RC_OK]++;
        fake_clock_set(&rig.fake, rig.fake.now_ns / INT64_C(1000000000) + step_s);
        if (roll(20) == 0)
            rig_reopen(&rig);
    }
    assert_true(counts[0] > 5);
    assert_true(counts[1] > 5);
    oracle_check();
}

static void time_windows_as_previewed(void **state)
{
    (void)state;
    windows_as_previewed(TIME_PLAN, 0, 37 * 3600);
}

static void capped_time_windows_as_previewed(void **state)
{
    (void)state;
    windows_as_previewed(TIME_PLAN, 3, 11 * 3600);
}

static void interval_windows_as_previewed(void **state)
{
    (void)state;
    windows_as_previewed(INTERVAL_PLAN, 0, 60);
}

static void capped_interval_windows_as_previewed(void **state)
{
    (void)state;
    windows_as_previewed(INTERVAL_PLAN, 3, 60);
}

/* Single cases ---------------------------------------------------------------------------------
 */

static void tokens_stay(void **state)
{
    (void)state;
    struct ask a = {.idem = "one", .text = "one"};
    begin(TIME_PLAN, 1, 0);
    assert_int_equal(look_and_sign(&a).rate_limit, 1);
    /* Another key: the bucket is empty now, and the preview says so. */
    struct ask b = {.idem = "two", .text = "two"};
    assert_int_equal(look_and_sign(&b).rc, RC_RETRY_RATE);
}

static void without_a_digest(void **state)
{
    (void)state;
    begin(VERSION_PLAN, 0, 0);
    struct ask a = {.version = "0.1.0", .slot = "a", .text = "x"};
    struct request request = request_of(&a, false);
    assert_int_equal(look(&request).rc, RC_OK);
    rig_ask(&rig, &a, RC_OK);
    /* Whatever else one might bring is refused, and the preview names what is bound. */
    struct reply bound = look(&request);
    assert_int_equal(bound.rc, RC_REFUSED_BOUND);
    assert_memory_equal(bound.bound_sha256, a.reply.signature.artifact_sha256, SHA256_LEN);
    request = request_of(&a, true);
    assert_true(look(&request).replayed);
    request.digest_kind = DIGEST_SHA512;
    assert_int_equal(look(&request).rc, RC_REFUSED_INPUT);
}

static void kinds_that_do_not_fit(void **state)
{
    (void)state;
    begin(DIGEST_PLAN, 0, 0);
    struct ask a = {.idem = "one", .text = "x"};
    struct request request = request_of(&a, true);
    assert_int_equal(look(&request).rc, RC_REFUSED_INPUT);
    request.digest_kind = DIGEST_SHA512;
    assert_int_equal(look(&request).rc, RC_OK);
    request.by = REQUEST_BY_VERSION;
    strcpy(request.version, "1.0.0");
    assert_int_equal(look(&request).rc, RC_REFUSED_OUTSIDE_PLAN);
    strcpy(request.key, "nobody");
    assert_int_equal(look(&request).rc, RC_REFUSED_NO_KEY);
}

/* A preview waits for no edge; the signing request may. */
static void no_waiting_at_an_edge(void **state)
{
    (void)state;
    begin(TIME_PLAN, 0, 0);
    struct ask a = {.idem = "one", .text = "x"};
    struct request request = request_of(&a, true);
    fake_clock_set(&rig.fake, START + WEEK - 1);
    struct trace before = trace_take();
    struct reply reply = look(&request);
    trace_same(&before);
    assert_int_equal(reply.rc, RC_RETRY_CLOCK);
    assert_true(reply.retry_after_s > 0);
}

static void key_that_does_not_sign(void **state)
{
    (void)state;
    begin(TIME_PLAN, 0, 0);
    struct ask a = {.idem = "one", .text = "x"};
    struct request request = request_of(&a, true);
    fake_tpm_fail(&rig.fake, 1, FAKE_FAIL_BEFORE);
    struct ask b = {.idem = "two", .text = "y"};
    (void)rig_sign(&rig, &b, 1);
    assert_int_not_equal(rig_key_rc(&rig, 0), RC_OK);
    struct reply reply = look(&request);
    assert_int_equal(reply.rc, rig_key_rc(&rig, 0));
    assert_int_equal(reply.state, STATE_HALTED);
}

static void messages_are_checked(void **state)
{
    (void)state;
    struct ask a = {.version = "0.1.0", .slot = "a", .text = "x"};
    struct request r = request_of(&a, true);
    struct err err = {0};
    assert_int_equal(request_check(&r, 1, true, 0, &err), RC_REFUSED_INPUT);
    r.by = 3;
    assert_int_equal(request_check(&r, 1, false, 0, &err), RC_REFUSED_INPUT);
    r = request_of(&a, true);
    r.digest_kind = 9;
    assert_int_equal(request_check(&r, 1, false, 0, &err), RC_REFUSED_INPUT);
    r = request_of(&a, true);
    r.idempotency_key[0] = '\n';
    assert_int_equal(request_check(&r, 1, false, 0, &err), RC_REFUSED_INPUT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, end)
    const struct CMUnitTest tests[] = {
        TEST(versions_as_previewed),
        TEST(time_windows_as_previewed),
        TEST(capped_time_windows_as_previewed),
        TEST(interval_windows_as_previewed),
        TEST(capped_interval_windows_as_previewed),
        TEST(tokens_stay),
        TEST(without_a_digest),
        TEST(kinds_that_do_not_fit),
        TEST(no_waiting_at_an_edge),
        TEST(key_that_does_not_sign),
        cmocka_unit_test(messages_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
