/*
 * The whole service, end to end, when nothing goes wrong: signatures of all three kinds of plan
 * that a second implementation of nothing but verification accepts, replays, limits, many requests
 * in one commit, idle restarts that cost nothing.
 */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/text.h"
#include "hbs/verify.h"
#include "lib/evidence.h"

#define LMS_H10 "'scheme':'lms','parameters':['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4']"
#define LMS_H5 "'scheme':'lms','parameters':['LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W4']"
#define PLAN(key, set, assignment)                                                                 \
    "{'tidemark_plan':1,'key':'" key "','profile':'sp800-208'," set ",'assignment':" assignment "}"

static const char version_plan[] =
    PLAN("fw", LMS_H10,
         "{'kind':'version','format':'major.minor.patch','sizes':{'minor':8,'patch':8},"
         "'slots':['boot','kernel'],'window':'minor','order':'strict'}");
static const char time_plan[] =
    PLAN("nightly", LMS_H5,
         "{'kind':'time','start':'2020-01-01T00:00:00Z','window':'P3650D',"
         "'signatures_per_window':5,'lease_size':2}"); /* the fifth is the seal's */
static const char interval_plan[] =
    PLAN("builds", LMS_H10, "{'kind':'interval','signatures_per_window':4,'lease_size':3}");
static const char digest_plan[] =
    "{'tidemark_plan':1,'key':'digests','profile':'sp800-208'," LMS_H5
    ",'message':'sha256','assignment':{'kind':'version','format':'integer'}}";
static const char slots16_plan[] =
    PLAN("many", LMS_H10,
         "{'kind':'version','format':'major.minor','sizes':{'minor':16},'slots':["
         "'s0','s1','s2','s3','s4','s5','s6','s7','s8','s9','s10','s11','s12','s13','s14','s15'],"
         "'window':'major','order':'strict'}");

static struct clocks clocks;
static struct service service;
static struct evidence evidence = EVIDENCE_EMPTY;

/* One service for all tests: none of them leaves it in a state that another one minds. */
static int make(void **state)
{
    (void)state;
    static const struct service_options options = {
        .limits = "'digests':{'burst':3,'per_hour':60}",
    };
    clocks_start(&clocks, "sign", false);
    service_make(&service, "sign", &clocks, &options);
    service_key(&service, version_plan);
    service_key(&service, time_plan);
    service_key(&service, interval_plan);
    service_key(&service, digest_plan);
    service_key(&service, slots16_plan);
    service_start(&service);
    return 0;
}

static int unmake(void **state)
{
    (void)state;
    evidence_free(&evidence);
    service_end(&service);
    clocks_stop(&clocks);
    return 0;
}

/* Members of GET /v1/keys/{key}. */
static int64_t key_number(const char *key, const char *member)
{
    struct answer a;
    assert_int_equal(service_get(&service, &a, "/v1/keys/%s", key), 200);
    int64_t value = answer_number(&a, member);
    client_done(&a);
    return value;
}

static void check_all(const char *key)
{
    uint8_t public[PUBLIC_MAX];
    size_t len = service_public(&service, key, public);
    assert_int_equal(evidence_check(&evidence, key, public, len), 0);
}

/* Version plans ----------------------------------------------------------------------------------
 */

static void test_version_signs_once(void **state)
{
    (void)state;
    struct answer first;
    struct answer again;
    struct answer stored;
    assert_int_equal(sign_version(&service, &first, "fw", "1.2.3", "kernel", "vmlinuz"), 201);
    assert_true(evidence_take(&evidence, "fw", "1.2.3 kernel", "vmlinuz", &first));
    /* ((1 * 8 + 2) * 8 + 3) * 2 + 1, and window 1 * 8 + 2: the plan's arithmetic, done by hand. */
    assert_int_equal(answer_number(&first, "index"), 167);
    assert_int_equal(answer_number(&first, "window"), 10);
    assert_string_equal(answer_text(&first, "version"), "1.2.3");
    assert_string_equal(answer_text(&first, "slot"), "kernel");
    assert_non_null(strstr(first.body, "virtual TPM"));

    int64_t used = key_number("fw", "signed");
    assert_int_equal(sign_version(&service, &again, "fw", "1.2.3", "kernel", "vmlinuz"), 200);
    assert_string_equal(answer_header(&again, "Tidemark-Replayed"), "true");
    assert_string_equal(answer_text(&again, "signature"), answer_text(&first, "signature"));
    assert_int_equal(key_number("fw", "signed"), used);

    /* Location leads to the same bytes. */
    assert_int_equal(service_get(&service, &stored, "%s", answer_header(&first, "Location")), 200);
    assert_string_equal(answer_text(&stored, "signature"), answer_text(&first, "signature"));
    client_done(&stored);
    client_done(&again);
    client_done(&first);
    check_all("fw");
}

static void test_version_is_bound(void **state)
{
    (void)state;
    struct answer a;
    char bound[HEX_SIZE(SHA256_LEN)];
    uint8_t sha256[SHA256_LEN];
    (void)must_sign_version(&service, &evidence, "fw", "1.3.0", "boot", "good");
    sha256_2(sha256, "good", 4, "", 0);
    hex_encode(bound, sha256, sizeof(sha256));
    assert_int_equal(sign_version(&service, &a, "fw", "1.3.0", "boot", "evil"), 409);
    expect_problem(&a, 409, "version-already-signed");
    assert_string_equal(answer_text(&a, "bound_to.artifact_sha256"), bound);
    assert_string_equal(answer_text(&a, "next_version"), "1.3.1");
    client_done(&a);
    /* The other slot of the version is free, an older version is not. */
    (void)must_sign_version(&service, &evidence, "fw", "1.3.0", "kernel", "evil");
    (void)sign_version(&service, &a, "fw", "1.2.7", "kernel", "late");
    expect_problem(&a, 409, "version-below-floor");
    client_done(&a);
    check_all("fw");
}

static void test_bare_signature(void **state)
{
    (void)state;
    struct client c;
    struct answer a;
    client_open(&c, &service);
    assert_int_equal(client_ask(&c, &a, "Accept: application/octet-stream", "kernel", 6,
                                "/v1/keys/fw/signatures?version=1.4.0&slot=kernel"),
                     201);
    struct hss_public public;
    uint8_t raw[PUBLIC_MAX];
    size_t len = service_public(&service, "fw", raw);
    assert_int_equal(hss_public_parse(&public, raw, len, NULL), RC_OK);
    assert_int_equal(hss_verify(&public, "kernel", 6, (uint8_t *)a.body, a.len, NULL), RC_OK);
    assert_int_equal(hss_verify(&public, "Kernel", 6, (uint8_t *)a.body, a.len, NULL),
                     RC_REFUSED_SIGNATURE);
    assert_string_equal(answer_header(&a, "Tidemark-Index"), "193");
    client_done(&a);
    client_close(&c);
}

static void test_digest_as_json(void **state)
{
    (void)state;
    struct client c;
    struct answer a;
    struct hss_public public;
    uint8_t raw[PUBLIC_MAX];
    uint8_t sha256[SHA256_LEN];
    uint8_t signature[8192];
    size_t signature_len = 0;
    char hex[HEX_SIZE(SHA256_LEN)];
    char body[256];
    sha256_2(sha256, "release", 7, "", 0);
    hex_encode(hex, sha256, sizeof(sha256));
    (void)snprintf(body, sizeof(body), "{\"digest\":{\"sha256\":\"%s\"},\"version\":\"0\"}", hex);
    client_open(&c, &service);
    assert_int_equal(client_ask(&c, &a, "Content-Type: application/json", body, strlen(body),
                                "/v1/keys/digests/signatures"),
                     201);
    assert_string_equal(answer_text(&a, "artifact_sha256"), hex);
    const char *base64 = answer_text(&a, "signature");
    assert_true(
        base64_decode(signature, sizeof(signature), &signature_len, base64, strlen(base64)));
    size_t len = service_public(&service, "digests", raw);
    assert_int_equal(hss_public_parse(&public, raw, len, NULL), RC_OK);
    assert_int_equal(hss_verify(&public, sha256, sizeof(sha256), signature, signature_len, NULL),
                     RC_OK);
    client_done(&a);
    client_close(&c);
    /* The bytes themselves are the same request, and cost nothing. */
    assert_int_equal(sign_version(&service, &a, "digests", "0", "", "release"), 200);
    client_done(&a);
}

/* Time and interval plans ------------------------------------------------------------------------
 */

static void test_window_needs_a_key(void **state)
{
    (void)state;
    struct client c;
    struct answer a;
    int64_t used = key_number("builds", "signed");
    client_open(&c, &service);
    (void)client_ask(&c, &a, NULL, "x", 1, "/v1/keys/builds/signatures?window=current");
    expect_problem(&a, 400, "idempotency-key-missing");
    client_done(&a);
    client_close(&c);
    assert_int_equal(key_number("builds", "signed"), used);
}

static void test_window_replay(void **state)
{
    (void)state;
    struct answer a;
    struct answer again;
    struct answer other;
    assert_int_equal(sign_window(&service, &a, "builds", "build-1", "image"), 201);
    assert_true(evidence_take(&evidence, "builds", "build-1", "image", &a));
    int64_t used = key_number("builds", "signed");
    assert_int_equal(sign_window(&service, &again, "builds", "build-1", "image"), 200);
    assert_string_equal(answer_header(&again, "Tidemark-Replayed"), "true");
    assert_string_equal(answer_text(&again, "signature"), answer_text(&a, "signature"));
    (void)sign_window(&service, &other, "builds", "build-1", "another image");
    expect_problem(&other, 422, "idempotency-key-reused");
    assert_int_equal(key_number("builds", "signed"), used);
    client_done(&other);
    client_done(&again);
    client_done(&a);
    check_all("builds");
}

/* Windows of 4 with leases of 3: the second lease of each window has one index. */
static void test_interval_goes_on(void **state)
{
    (void)state;
    uint64_t last = 0;
    for (unsigned i = 2; i <= 10; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "build-%u", i);
        uint64_t index = must_sign_window(&service, &evidence, "builds", name, name);
        assert_int_equal(index, i - 1);
        last = index;
    }
    assert_int_equal(last, 9);
    assert_int_equal(key_number("builds", "windows.floor"), 2);
    check_all("builds");
}

static void test_window_full(void **state)
{
    (void)state;
    struct answer a;
    wait_sign_window(&service, &a, "nightly", "night-0", "night-0", 201);
    assert_true(evidence_take(&evidence, "nightly", "night-0", "night-0", &a));
    client_done(&a);
    for (unsigned i = 1; i < 4; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "night-%u", i);
        (void)must_sign_window(&service, &evidence, "nightly", name, name);
    }
    (void)sign_window(&service, &a, "nightly", "night-4", "night-4");
    expect_problem(&a, 429, "window-full");
    assert_string_equal(answer_text(&a, "state"), "WindowFull");
    /* Until the next window: 3650 days from 2020 are more than years away. */
    uint64_t seconds = 0;
    assert_true(text_to_u64(&seconds, answer_header(&a, "Retry-After"), UINT64_C(3650) * 86400));
    assert_true(seconds > 86400);
    assert_string_equal(answer_header(&a, "RateLimit-Policy"), "\"window\";q=4;w=315360000");
    assert_non_null(strstr(answer_header(&a, "RateLimit"), "\"window\";r=0;t="));
    client_done(&a);
    /* The stored ones are still there. */
    assert_int_equal(sign_window(&service, &a, "nightly", "night-3", "night-3"), 200);
    client_done(&a);
    check_all("nightly");
}

static void test_rate_limit(void **state)
{
    (void)state;
    struct answer a;
    long status = 201;
    int64_t before = key_number("digests", "signed");
    unsigned signed_ = 0;
    for (unsigned i = 1; i < 8 && status == 201; i++) {
        char version[16];
        (void)snprintf(version, sizeof(version), "%u", i);
        status = sign_version(&service, &a, "digests", version, "", "release");
        if (status == 201) {
            signed_++;
            client_done(&a);
        }
    }
    expect_problem(&a, 429, "rate-limited");
    assert_string_equal(answer_text(&a, "state"), "Operational");
    assert_true(signed_ <= 3);
    uint64_t seconds = 0;
    assert_true(text_to_u64(&seconds, answer_header(&a, "Retry-After"), 60));
    assert_true(seconds >= 1);
    assert_non_null(strstr(answer_header(&a, "RateLimit-Policy"), "\"rate\";q=3"));
    assert_non_null(strstr(answer_header(&a, "RateLimit"), "\"rate\";r=0;t="));
    client_done(&a);
    /* Refused before anything was used, and what is stored needs no token. */
    assert_int_equal(key_number("digests", "signed"), before + signed_);
    assert_int_equal(sign_version(&service, &a, "digests", "0", "", "release"), 200);
    client_done(&a);
}

/* Many at a time ---------------------------------------------------------------------------------
 */

#define CLIENTS 16
#define VERSIONS 16

struct crowd {
    pthread_barrier_t barrier;
    bool failed;
};

struct member {
    struct crowd *crowd;
    unsigned number;
    pthread_t thread;
};

static void *sign_slots(void *argument)
{
    struct member *m = argument;
    struct client c;
    client_open(&c, &service);
    for (unsigned v = 0; v < VERSIONS; v++) {
        char text[64];
        struct answer a;
        (void)snprintf(text, sizeof(text), "0.%u s%u", v, m->number);
        /* A version at a time: in a strict plan whoever is ahead would close the door. */
        (void)pthread_barrier_wait(&m->crowd->barrier);
        long status = client_ask(&c, &a, NULL, text, strlen(text),
                                 "/v1/keys/many/signatures?version=0.%u&slot=s%u", v, m->number);
        if (status != 201 || !evidence_take(&evidence, "many", text, text, &a))
            m->crowd->failed = true;
        client_done(&a);
    }
    client_close(&c);
    return NULL;
}

static void test_requests_share_commits(void **state)
{
    (void)state;
    struct crowd crowd = {.failed = false};
    struct member members[CLIENTS];
    assert_int_equal(pthread_barrier_init(&crowd.barrier, NULL, CLIENTS), 0);
    int64_t before = key_number("many", "epoch");
    for (unsigned i = 0; i < CLIENTS; i++) {
        members[i] = (struct member){.crowd = &crowd, .number = i};
        assert_int_equal(pthread_create(&members[i].thread, NULL, sign_slots, &members[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        (void)pthread_join(members[i].thread, NULL);
    (void)pthread_barrier_destroy(&crowd.barrier);
    assert_false(crowd.failed);
    int64_t batches = key_number("many", "epoch") - before;
    print_message("%d signatures in %" PRId64 " commits\n", CLIENTS * VERSIONS, batches);
    assert_int_equal(key_number("many", "signed"), CLIENTS * VERSIONS);
    assert_true(batches >= 1);
    assert_true(batches * 2 < CLIENTS * VERSIONS);
    check_all("many");
}

/* Restarts ---------------------------------------------------------------------------------------
 */

static void test_idle_restarts_cost_nothing(void **state)
{
    (void)state;
    struct answer a;
    const char *const keys[] = {"fw", "builds", "many"};
    int64_t epochs[3];
    /* Two fill the window, the third is the first of a lease of three. */
    (void)must_sign_window(&service, &evidence, "builds", "before-1", "before");
    (void)must_sign_window(&service, &evidence, "builds", "before-2", "before");
    assert_int_equal(must_sign_window(&service, &evidence, "builds", "before-3", "before"), 12);
    for (size_t i = 0; i < 3; i++)
        epochs[i] = key_number(keys[i], "epoch");
    for (unsigned i = 0; i < 6; i++) {
        if (i % 2 == 0)
            service_stop(&service);
        else
            service_crash(&service);
        service_start(&service);
    }
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(key_number(keys[i], "epoch"), epochs[i]);
    /* The lease that was open is given up: the next index lies behind it, in a lease of its own. */
    uint64_t next = must_sign_window(&service, &evidence, "builds", "after", "after");
    assert_int_equal(next, 15);
    assert_int_equal(key_number("builds", "epoch"), epochs[1] + 1);
    assert_int_equal(sign_window(&service, &a, "builds", "before-3", "before"), 200);
    client_done(&a);
    check_all("builds");
}

/* Two at once with one idempotency key, while the TPM thinks: whichever came second is told so at
 * once, and with the first one's signature there is what both want. */
struct asked {
    struct answer answer;
    atomic_bool done;
    pthread_t thread;
};

static void *ask_slowly(void *argument)
{
    struct asked *asked = argument;
    (void)sign_window(&service, &asked->answer, "builds", "twice", "twice");
    atomic_store(&asked->done, true);
    return NULL;
}

static void test_key_in_use(void **state)
{
    (void)state;
    struct asked both[2] = {{.done = false}, {.done = false}};
    swtpm_pause(&service.tpm);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&both[i].thread, NULL, ask_slowly, &both[i]), 0);
    while (!atomic_load(&both[0].done) && !atomic_load(&both[1].done))
        lab_sleep_ms(20);
    swtpm_resume(&service.tpm);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(both[i].thread, NULL), 0);
    struct asked *first = both[0].answer.status == 201 ? &both[0] : &both[1];
    struct asked *second = first == &both[0] ? &both[1] : &both[0];
    assert_int_equal(first->answer.status, 201);
    assert_true(evidence_take(&evidence, "builds", "twice", "twice", &first->answer));
    expect_problem(&second->answer, 409, "idempotency-key-in-use");
    client_done(&first->answer);
    client_done(&second->answer);
    struct answer a;
    assert_int_equal(sign_window(&service, &a, "builds", "twice", "twice"), 200);
    assert_true(evidence_take(&evidence, "builds", "twice", "twice", &a));
    client_done(&a);
    check_all("builds");
}

/* Last: the ledger of all that has happened above. */
static void test_ledger_agrees(void **state)
{
    (void)state;
    static const char *const keys[] = {"fw", "nightly", "builds", "digests", "many"};
    service_stop(&service);
    struct ledger *ledger = service_ledger(&service);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct audit audit;
        assert_int_equal(audit_ledger(&audit, ledger, keys[i]), 0);
        assert_int_equal(audit_evidence(&audit, &evidence, keys[i]), 0);
        assert_int_equal(audit.burns, 0);
        assert_int_equal(audit.voids, 0);
        assert_true(audit.receipts > 0);
        audit_free(&audit);
    }
    ledger_close(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_signs_once),
        cmocka_unit_test(test_version_is_bound),
        cmocka_unit_test(test_bare_signature),
        cmocka_unit_test(test_digest_as_json),
        cmocka_unit_test(test_window_needs_a_key),
        cmocka_unit_test(test_window_replay),
        cmocka_unit_test(test_interval_goes_on),
        cmocka_unit_test(test_window_full),
        cmocka_unit_test(test_rate_limit),
        cmocka_unit_test(test_requests_share_commits),
        cmocka_unit_test(test_idle_restarts_cost_nothing),
        cmocka_unit_test(test_key_in_use),
        cmocka_unit_test(test_ledger_agrees),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, make, unmake);
}
