/*
 * What docs/openapi.json says, held against the whole service: tidemarkd as it is, swtpm, chronyd.
 *
 * Every operation is asked with the examples of the document, and every answer must be one that the
 * document describes. test_front.c does the same with a core that says what the document wants to
 * hear; here nobody is asked to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "hbs/verify.h"
#include "lib/described.h"
#include "lib/service.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define JSON "Content-Type: application/json"
#define RAW "Content-Type: application/octet-stream"
#define WHERE "?version=4.2.1&slot=kernel"
#define PATIENCE_MS 60000
#define SMALL_KEYS 16 /* signatures after which the small key is half used up */

/* The key that the examples speak of. Artifacts and their digests are the same requests to it. */
static const char version_plan[] =
    "{'tidemark_plan':1,'key':'router-fw','profile':'sp800-208','scheme':'lms','message':'sha256',"
    "'parameters':['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4'],"
    "'assignment':{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':4},"
    "'slots':['bootloader','kernel','rootfs'],'window':'minor','order':'per-line'}}";
/* One that runs out, so that there is something to acknowledge. */
static const char small_plan[] =
    "{'tidemark_plan':1,'key':'small','profile':'sp800-208','scheme':'lms',"
    "'parameters':['LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W4'],"
    "'assignment':{'kind':'interval','signatures_per_window':32,'lease_size':32}}";

/* One whose windows are smaller than a batch may be: three to sign, one for the seal. */
static const char weekly_plan[] =
    "{'tidemark_plan':1,'key':'weekly','profile':'sp800-208','scheme':'lms','message':'sha256',"
    "'parameters':['LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W4'],"
    "'assignment':{'kind':'time','start':'2020-01-01T00:00:00Z','window':'P3650D',"
    "'signatures_per_window':4,'lease_size':2}}";

static struct clocks clocks;
static struct service service;
static json_t *root;

static int make(void **state)
{
    (void)state;
    static const struct service_options options = {.signing = "'ack_percent':50"};
    struct answer a;
    clocks_start(&clocks, "described", false);
    service_make(&service, "described", &clocks, &options);
    service_key(&service, version_plan);
    service_key(&service, small_plan);
    service_key(&service, weekly_plan);
    service_start(&service);
    assert_int_equal(service_get(&service, &a, "/openapi.json"), 200);
    root = json_incref(a.json);
    client_done(&a);
    assert_non_null(root);
    return 0;
}

static int unmake(void **state)
{
    (void)state;
    json_decref(root);
    service_end(&service);
    clocks_stop(&clocks);
    return 0;
}

static const json_t *operation(const char *path, const char *method)
{
    const json_t *found =
        json_object_get(json_object_get(json_object_get(root, "paths"), path), method);
    if (found == NULL)
        fail_msg("%s %s is not described", method, path);
    return found;
}

/* Ask, and hold the answer against the document. @return its status; client_done() it. */
static long ask(struct answer *a, const json_t *op, const char *headers, const char *body,
                const char *path)
{
    struct client c;
    client_open(&c, &service);
    long status = client_ask(&c, a, headers, body, body != NULL ? strlen(body) : 0, "%s", path);
    client_close(&c);
    if (status == 0)
        fail_msg("%s: no answer", path);
    char type[80];
    (void)snprintf(type, sizeof(type), "%s", answer_header(a, "Content-Type"));
    const struct described_answer answer = {
        .status = status, .type = type, .body = a->body, .len = a->len};
    described_check(root, op, &answer, path);
    return status;
}

static void expect(const json_t *op, const char *headers, const char *body, const char *path,
                   long status)
{
    struct answer a;
    if (ask(&a, op, headers, body, path) != status)
        fail_msg("%s: %ld and not %ld\n%.600s", path, a.status, status, a.body);
    client_done(&a);
}

/* What the document shows as a body, as text. */
static char *body_of(const json_t *op, const char *type)
{
    const json_t *example = described_body(root, op, type);
    assert_non_null(example);
    return json_is_string(example) ? strdup(json_string_value(example)) : json_dumps(example, 0);
}

static void filled(char out[DESCRIBED_PATH], const json_t *op, const char *path, const char *more)
{
    described_path(root, op, path, NULL, out);
    assert_true(strlen(out) + strlen(more) < DESCRIBED_PATH);
    strcat(out, more);
}

/* Signing, in the order in which the examples make sense: nothing is signed yet. ------------------
 */

static void test_preview(void **state)
{
    (void)state;
    static const char path[] = "/v1/keys/{key}/signatures:preview";
    const json_t *op = operation(path, "post");
    char target[DESCRIBED_PATH];
    struct answer a;
    char *json = body_of(op, "application/json");
    filled(target, op, path, "");
    assert_int_equal(ask(&a, op, JSON, json, target), 200);
    assert_true(json_is_true(json_object_get(a.json, "uses_index")));
    client_done(&a);
    free(json);
    filled(target, op, path, WHERE);
    expect(op, NULL, "", target, 200);
}

static void check_signature(const struct answer *a, const char *artifact)
{
    uint8_t raw[PUBLIC_MAX], sha256[SHA256_LEN], signature[8192];
    struct hss_public public;
    size_t signature_len = 0;
    size_t len = service_public(&service, "router-fw", raw);
    const char *base64 = answer_text(a, "signature");
    sha256_2(sha256, artifact, strlen(artifact), "", 0);
    assert_true(
        base64_decode(signature, sizeof(signature), &signature_len, base64, strlen(base64)));
    assert_int_equal(hss_public_parse(&public, raw, len, NULL), RC_OK);
    assert_int_equal(hss_verify(&public, sha256, sizeof(sha256), signature, signature_len, NULL),
                     RC_OK);
}

/* Artifact and digest of the examples are one thing: signed once. */
static void test_sign(void **state)
{
    (void)state;
    static const char path[] = "/v1/keys/{key}/signatures";
    const json_t *op = operation(path, "post");
    char target[DESCRIBED_PATH];
    struct answer a;
    char *raw = body_of(op, "application/octet-stream");
    char *json = body_of(op, "application/json");
    filled(target, op, path, WHERE);
    assert_int_equal(ask(&a, op, RAW, raw, target), 201);
    check_signature(&a, raw);
    client_done(&a);
    expect(op, RAW "\nAccept: application/octet-stream", raw, target, 200);
    expect(op, RAW, "other firmware", target, 409);
    filled(target, op, path, "");
    expect(op, JSON, json, target, 200);
    free(json);
    free(raw);
}

static void test_batch(void **state)
{
    (void)state;
    static const char path[] = "/v1/keys/{key}/signatures:batch";
    const json_t *op = operation(path, "post");
    char target[DESCRIBED_PATH];
    struct answer a;
    char *json = body_of(op, "application/json");
    filled(target, op, path, "");
    assert_int_equal(ask(&a, op, JSON, json, target), 201);
    assert_int_equal(answer_number(&a, "signed"), 1);
    assert_int_equal(answer_number(&a, "replayed"), 1);
    client_done(&a);
    expect(op, JSON, json, target, 200);
    free(json);
}

/* More than any window holds: told at once, and not to wait for the next one. */
static void test_batch_too_large(void **state)
{
    (void)state;
    const json_t *op = operation("/v1/keys/{key}/signatures:batch", "post");
    char body[1024] = "{\"requests\":[";
    struct answer a = {.status = 503};
    for (unsigned i = 0; i < 4; i++)
        (void)sprintf(body + strlen(body),
                      "%s{\"digest\":{\"sha256\":\"%064x\"},\"window\":\"current\","
                      "\"idempotency_key\":\"four-%u\"}",
                      i > 0 ? "," : "", i + 1, i);
    strcat(body, "]}");
    for (int64_t until = lab_now_ms() + PATIENCE_MS; a.status == 503 && lab_now_ms() < until;) {
        lab_sleep_ms(100); /* until the clock is good */
        client_done(&a);
        (void)ask(&a, op, JSON, body, "/v1/keys/weekly/signatures:batch");
    }
    assert_int_equal(a.status, 413);
    assert_string_equal(answer_text(&a, "type"), "/problems/too-large");
    assert_non_null(strstr(answer_text(&a, "detail"), "3 signatures and the batch asks for 4"));
    assert_string_equal(answer_header(&a, "Retry-After"), "");
    assert_string_equal(answer_header(&a, "RateLimit"), "");
    client_done(&a);
}

/* The key of the examples hashes what it signs, and says so: test_service_remote has others. */
static void test_reserve(void **state)
{
    (void)state;
    static const char *const paths[] = {"/v1/keys/{key}/reservations",
                                        "/v1/keys/{key}/reservations/{id}/signature"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        const json_t *op = operation(paths[i], "post");
        char target[DESCRIBED_PATH];
        char *json = body_of(op, "application/json");
        filled(target, op, paths[i], "");
        expect(op, JSON, json, target, 422);
        free(json);
    }
}

/* Reading, of what was signed above ---------------------------------------------------------------
 */

static void test_read(void **state)
{
    (void)state;
    char id[40];
    struct answer a;
    assert_int_equal(service_get(&service, &a, "/v1/keys/router-fw/versions?prefix=4.2.1"), 200);
    const json_t *list = json_object_get(a.json, "versions");
    const char *signature = NULL;
    for (size_t i = 0; i < json_array_size(list) && signature == NULL; i++)
        signature = json_string_value(json_object_get(json_array_get(list, i), "signature"));
    assert_non_null(signature);
    (void)snprintf(id, sizeof(id), "%s", strrchr(signature, '/') + 1);
    client_done(&a);

    const struct described_value values[] = {{"id", id}, {NULL, NULL}};
    const char *path = NULL;
    json_t *item = NULL;
    size_t count = 0;
    json_object_foreach(json_object_get(root, "paths"), path, item)
    {
        char target[DESCRIBED_PATH], query[DESCRIBED_PATH];
        const json_t *op = json_object_get(item, "get");
        if (op == NULL)
            continue;
        described_path(root, op, path, values, target);
        /* Whether the clock is safe on a busy machine is not asked here. */
        if (strcmp(path, "/health/ready") == 0) {
            (void)ask(&a, op, NULL, NULL, target);
            client_done(&a);
            continue;
        }
        expect(op, NULL, NULL, target, 200);
        count++;
        for (size_t i = 0; i < json_array_size(json_object_get(op, "parameters")); i++)
            if (described_query(root, op, i, target, query))
                expect(op, NULL, NULL, query, 200);
    }
    assert_true(count > 15);
}

/* All six forms of a public key are of the types that are described. */
static void test_public(void **state)
{
    (void)state;
    static const char *const formats[] = {"raw", "xdr", "spki-pem", "spki-der", "cose", "c-header"};
    const json_t *op = operation("/v1/keys/{key}/public", "get");
    for (size_t i = 0; i < COUNT(formats); i++) {
        char target[DESCRIBED_PATH];
        (void)snprintf(target, sizeof(target), "/v1/keys/router-fw/public?format=%s", formats[i]);
        expect(op, NULL, NULL, target, 200);
    }
}

/* Refusals are described as well. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct described_value values[] = {{"key", "nobody"}, {NULL, NULL}};
    const char *path = NULL;
    json_t *item = NULL;
    json_object_foreach(json_object_get(root, "paths"), path, item)
    {
        char target[DESCRIBED_PATH];
        const json_t *get = json_object_get(item, "get");
        const json_t *post = json_object_get(item, "post");
        if (get != NULL) {
            described_path(root, get, path, NULL, target);
            expect(get, "Request-Id: a\"b", NULL, target, 400);
        }
        if (get != NULL && strstr(path, "{key}") != NULL) {
            described_path(root, get, path, values, target);
            expect(get, NULL, NULL, target, 404);
        }
        if (post == NULL)
            continue;
        described_path(root, post, path, NULL, target);
        expect(post, "Content-Type: text/html", "<p>", target, 415);
        expect(post, JSON, "[", target, 400);
        expect(post, JSON "\nContent-Digest: sha-256=rubbish", "{}", target, 400);
    }
}

/* Acknowledgements --------------------------------------------------------------------------------
 */

static void use_half_of_small(void)
{
    const json_t *op = operation("/v1/keys/{key}/signatures", "post");
    for (unsigned i = 0; i < SMALL_KEYS; i++) {
        char headers[80];
        (void)snprintf(headers, sizeof(headers), RAW "\nIdempotency-Key: \"build-%u\"", i);
        expect(op, headers, "build", "/v1/keys/small/signatures?window=current", 201);
    }
    expect(op, RAW "\nIdempotency-Key: \"one-more\"", "build",
           "/v1/keys/small/signatures?window=current", 428);
}

/* The warning is written behind the answers that led to it. */
static json_t *wait_warning(void)
{
    const json_t *op = operation("/v1/warnings", "get");
    for (int64_t until = lab_now_ms() + PATIENCE_MS; lab_now_ms() < until; lab_sleep_ms(50)) {
        struct answer a;
        (void)ask(&a, op, NULL, NULL, "/v1/warnings");
        json_t *warning = json_array_get(json_object_get(a.json, "warnings"), 0);
        json_incref(warning);
        client_done(&a);
        if (warning != NULL)
            return warning;
    }
    fail_msg("there is no warning");
    return NULL;
}

static void test_warning(void **state)
{
    (void)state;
    static const char path[] = "/v1/warnings/{number}/acknowledgements";
    const json_t *op = operation(path, "post");
    char target[DESCRIBED_PATH], number[24];
    use_half_of_small();
    json_t *warning = wait_warning();
    (void)snprintf(number, sizeof(number), "%lld",
                   (long long)json_integer_value(json_object_get(warning, "id")));
    const struct described_value values[] = {{"number", number}, {NULL, NULL}};
    described_path(root, op, path, values, target);
    /* The example is of another key: a sentence that is not this warning's. */
    json_t *body = json_deep_copy(described_body(root, op, "application/json"));
    char *text = json_dumps(body, 0);
    expect(op, JSON, text, target, 400);
    free(text);
    json_t *sentence = json_object_get(warning, "sentence");
    assert_int_equal(json_object_set(body, "sentence", sentence), 0);
    text = json_dumps(body, 0);
    expect(op, JSON, text, target, 200);
    free(text);
    json_decref(body);
    json_decref(warning);
    expect(operation("/v1/keys/{key}/signatures", "post"), RAW "\nIdempotency-Key: \"one-more\"",
           "build", "/v1/keys/small/signatures?window=current", 201);
}

/* No jump of the clock waits for anybody, so there is none to accept. */
static void test_clock(void **state)
{
    (void)state;
    static const char path[] = "/v1/clock/acknowledgements";
    const json_t *op = operation(path, "post");
    char *json = body_of(op, "application/json");
    struct answer a;
    long status = ask(&a, op, JSON, json, path);
    assert_true(status >= 400 && status < 500);
    client_done(&a);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preview), cmocka_unit_test(test_sign),
        cmocka_unit_test(test_batch),   cmocka_unit_test(test_batch_too_large),
        cmocka_unit_test(test_reserve), cmocka_unit_test(test_read),
        cmocka_unit_test(test_public),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_warning), cmocka_unit_test(test_clock),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, make, unmake);
}
