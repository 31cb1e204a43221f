/*
 * The front as its clients see it when all is well: a real front process, real sockets, and a core
 * that plays its part from a script (lib/front_rig.h). What must be refused or survived is in
 * test_front_hostile.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "http/problem.h"
#include "lib/described.h"
#include "lib/front_rig.h"
#include "lib/schema.h"

#define PATIENCE_MS 60000
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SIGNATURES "/v1/keys/" RIG_VERSION_KEY "/signatures"
#define SIGN SIGNATURES "?version=4.2.1&slot=kernel"
#define ID "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"
#define HEX_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SHA256_ABC "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
#define SHA512_ABC                                                                                 \
    "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="

static struct rig rig;

static int start(void **state)
{
    (void)state;
    rig_start(&rig, rig_config());
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static void release(json_t **json)
{
    json_decref(*json);
}

static json_t *json_of(const struct answered *a)
{
    json_t *json = json_loadb(a->body, a->len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    return json;
}

static const char *text_of(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static int64_t number_of(const json_t *json, const char *name)
{
    return json_integer_value(json_object_get(json, name));
}

static void check_header(const struct answered *a, const char *name, const char *want)
{
    const char *value = answered_header(a, name);
    if (value == NULL || strcmp(value, want) != 0)
        fail_msg("%s: %s (not %s)", name, value == NULL ? "(missing)" : value, want);
}

/* Signing ----------------------------------------------------------------------------------------
 */

static void check_signature(const json_t *json)
{
    uint8_t want[RIG_SIGNATURE_LEN], got[RIG_SIGNATURE_LEN];
    size_t len = 0;
    const char *base64 = text_of(json, "signature");
    rig_signature(want, 402101);
    assert_true(base64_decode(got, sizeof(got), &len, base64, strlen(base64)));
    assert_int_equal(len, sizeof(want));
    assert_memory_equal(got, want, sizeof(want));
    assert_int_equal(number_of(json, "index"), 402101);
    assert_int_equal(number_of(json, "window"), 130);
    assert_string_equal(text_of(json, "id"), ID);
    assert_string_equal(text_of(json, "scheme"), "lms");
    assert_int_equal(number_of(json_object_get(json, "receipt"), "epoch"), 881);
    assert_int_equal(number_of(json_object_get(json, "remaining"), "window"), 1007);
}

static void test_sign(void **state)
{
    (void)state;
    struct answered a CLEANUP(answered_free) = client_post(
        &rig, SIGN, "Content-Type: application/octet-stream\r\nRequest-Id: ci-1\r\n", "abc", 3);
    assert_int_equal(a.status, 201);
    check_header(&a, "Content-Type", "application/json");
    check_header(&a, "Location", SIGNATURES "/" ID);
    check_header(&a, "Request-Id", "ci-1");
    check_header(&a, "RateLimit-Policy", "\"window\";q=1023, \"rate\";q=60");
    check_header(&a, "RateLimit", "\"window\";r=1007;t=3600, \"rate\";r=59;t=60");
    check_header(&a, "Cache-Control", "no-store");
    assert_null(answered_header(&a, "Tidemark-Replayed"));
    json_t *json CLEANUP(release) = json_of(&a);
    check_signature(json);
    assert_string_equal(text_of(json, "version"), "4.2.1");
    assert_string_equal(text_of(json, "slot"), "kernel");
    assert_string_equal(text_of(json, "artifact_sha256"), HEX_ABC);

    struct rig_request r = rig_last(&rig);
    assert_int_equal(r.request.by, REQUEST_BY_VERSION);
    assert_int_equal(r.request.body, REQUEST_BODY_BYTES);
    assert_string_equal(r.request.version, "4.2.1");
    assert_string_equal(r.request.slot, "kernel");
    assert_string_equal(r.request.request_id, "ci-1");
    assert_string_equal(r.request.requester, RIG_LOCAL);
    assert_int_equal(r.request.body_len, 3);
    assert_int_equal(r.body_len, 3);
    assert_true(r.request.digest_claimed);
    assert_memory_equal(r.request.digest, r.sha256, 32);
    /* In the message itself. */
    assert_int_equal(r.behind, 3);
    assert_int_equal(r.body, -1);
}

/* The longest body that goes in its request's message, and the shortest that does not. */
static void test_sign_behind(void **state)
{
    (void)state;
    uint8_t sha256[32];
    char *body = malloc(REQUEST_BEHIND_MAX + 1);
    assert_non_null(body);
    for (size_t i = 0; i <= REQUEST_BEHIND_MAX; i++)
        body[i] = (char)(i * 31 + (i >> 8));
    for (size_t len = REQUEST_BEHIND_MAX; len <= REQUEST_BEHIND_MAX + 1; len++) {
        bool behind = len == REQUEST_BEHIND_MAX;
        struct answered a CLEANUP(answered_free) = client_post(&rig, SIGN, "", body, len);
        assert_int_equal(a.status, 201);
        struct rig_request r = rig_last(&rig);
        digest_buffer(DIGEST_SHA256, sha256, body, len);
        assert_int_equal(r.behind, behind ? len : 0);
        assert_int_equal(r.body_len, len);
        assert_int_equal(r.request.body_len, len);
        assert_memory_equal(r.sha256, sha256, 32);
        assert_memory_equal(r.request.digest, sha256, 32);
        assert_int_equal(r.sealed, !behind);
    }
    free(body);
}

static void test_sign_bare(void **state)
{
    (void)state;
    uint8_t want[RIG_SIGNATURE_LEN];
    rig_signature(want, 402101);
    struct answered a CLEANUP(answered_free) =
        client_post(&rig, SIGN, "Accept: application/octet-stream\r\n", "abc", 3);
    assert_int_equal(a.status, 201);
    assert_int_equal(a.len, sizeof(want));
    assert_memory_equal(a.body, want, sizeof(want));
    check_header(&a, "Content-Type", "application/octet-stream");
    check_header(&a, "Location", SIGNATURES "/" ID);
    check_header(&a, "Tidemark-Key", RIG_VERSION_KEY);
    check_header(&a, "Tidemark-Index", "402101");
    check_header(&a, "Tidemark-Window", "130");
    check_header(&a, "Tidemark-Version", "4.2.1");
    check_header(&a, "Tidemark-Slot", "kernel");
    check_header(&a, "Tidemark-Artifact-SHA256", HEX_ABC);
    check_header(&a, "Tidemark-Signature-Id", ID);
    check_header(&a, "Tidemark-Scheme", "lms");
    check_header(&a, "Tidemark-Signed-At", "2026-12-08T09:36:00Z");
    check_header(&a, "Tidemark-Receipt", "log_index=20117, checkpoint_size=20118, epoch=881");
    check_header(&a, "Tidemark-Remaining", "window=1007, key=646475");
    char hex[65];
    hex_encode(hex, rig.plan_sha256[0], 32);
    check_header(&a, "Tidemark-Plan-SHA256", hex);
}

static void test_sign_replayed(void **state)
{
    (void)state;
    uint8_t signature[RIG_SIGNATURE_LEN];
    rig_set(&rig, &rig.manual, true);
    int fd = client_unix(&rig);
    static const char request[] =
        "POST " SIGN " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    assert_true(client_send(fd, request, strlen(request)));
    struct rig_request r = rig_next(&rig);
    struct reply reply = rig_signed(&rig, &r);
    reply.replayed = true;
    rig_signature(signature, 402101);
    rig_send(&rig, &reply, signature, sizeof(signature));
    struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    assert_int_equal(a.status, 200);
    check_header(&a, "Tidemark-Replayed", "true");
    assert_null(answered_header(&a, "Location"));
    fd_close(&r.body);
    fd_close(&fd);
}

static void test_sign_window(void **state)
{
    (void)state;
    struct answered a CLEANUP(answered_free) =
        client_post(&rig, "/v1/keys/" RIG_TIME_KEY "/signatures?window=current",
                    "Idempotency-Key: \"build 17\"\r\n", "abc", 3);
    assert_int_equal(a.status, 201);
    /* The policy of a time plan says how long a window is. */
    check_header(&a, "RateLimit-Policy", "\"window\";q=1023;w=604800, \"rate\";q=60");
    json_t *json CLEANUP(release) = json_of(&a);
    assert_null(json_object_get(json, "version"));
    assert_null(json_object_get(json, "slot"));
    struct rig_request r = rig_last(&rig);
    assert_int_equal(r.request.by, REQUEST_BY_WINDOW);
    assert_string_equal(r.request.version, "");
    assert_string_equal(r.request.idempotency_key, "build 17");
}

static void test_sign_digest(void **state)
{
    (void)state;
    static const char body[] =
        "{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"version\":\"4.2.1\",\"slot\":\"kernel\"}";
    struct answered a CLEANUP(answered_free) = client_post(
        &rig, SIGNATURES, "Content-Type: application/json; charset=utf-8\r\n", body, strlen(body));
    assert_int_equal(a.status, 201);
    struct rig_request r = rig_last(&rig);
    char hex[65];
    hex_encode(hex, r.request.digest, 32);
    assert_string_equal(hex, HEX_ABC);
    assert_int_equal(r.request.body, REQUEST_BODY_DIGEST);
    assert_int_equal(r.request.digest_kind, DIGEST_SHA256);
    assert_int_equal(r.body, -1);
}

static void test_sign_content_digest(void **state)
{
    (void)state;
    struct answered a CLEANUP(answered_free) = client_post(
        &rig, SIGN, "Content-Digest: sha-256=:" SHA256_ABC ":, sha-512=:" SHA512_ABC ":\r\n", "abc",
        3);
    assert_int_equal(a.status, 201);
    struct answered b CLEANUP(answered_free) =
        client_post(&rig, SIGN, "Content-Digest: sha-512=:" SHA512_ABC ":\r\n", "abd", 3);
    assert_int_equal(b.status, 400);
    assert_non_null(strstr(b.body, "/problems/digest-mismatch"));
}

/* The plan is asked for once, not for every request. */
static void test_plan_asked_once(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct answered a CLEANUP(answered_free) = client_post(&rig, SIGN, "", "abc", 3);
        assert_int_equal(a.status, 201);
    }
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 3);
    assert_int_equal(rig_count(&rig, REQUEST_PLAN), 1);
}

static void test_tcp(void **state)
{
    (void)state;
    int fd CLEANUP(fd_close) = client_tcp(&rig);
    static const char request[] =
        "POST " SIGN " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    assert_true(client_send(fd, request, strlen(request)));
    struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    assert_int_equal(a.status, 201);
    struct rig_request r = rig_last(&rig);
    assert_string_equal(r.request.requester, RIG_TCP);
    assert_int_equal(strlen(r.request.request_id), 32); /* made, since none was sent */
    check_header(&a, "Request-Id", r.request.request_id);
}

/* Large uploads with a real client: Expect: 100-continue, and a spool file instead of memory. */

static size_t drop(char *data, size_t size, size_t count, void *arg)
{
    (void)data;
    (void)arg;
    return size * count;
}

static int saw_continue(CURL *curl, curl_infotype type, char *data, size_t len, void *arg)
{
    (void)curl;
    if (type == CURLINFO_HEADER_IN && len > 12 && strncmp(data, "HTTP/1.1 100", 12) == 0)
        *(bool *)arg = true;
    return 0;
}

static void test_upload_curl(void **state)
{
    (void)state;
    const size_t len = (size_t)20 << 20;
    uint8_t sha256[32];
    bool continued = false;
    long status = 0;
    char *body = malloc(len);
    assert_non_null(body);
    for (size_t i = 0; i < len; i++)
        body[i] = (char)(i * 31 + (i >> 12));
    digest_buffer(DIGEST_SHA256, sha256, body, len);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/octet-stream");
    assert_non_null(curl);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, rig.unix_path);
    curl_easy_setopt(curl, CURLOPT_URL, "http://signer" SIGN);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
    curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, saw_continue);
    curl_easy_setopt(curl, CURLOPT_DEBUGDATA, &continued);
    curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 120L);
    uint32_t announced = rig_count(&rig, REQUEST_UPLOAD);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    assert_int_equal(status, 201);
    assert_true(continued);
    assert_int_equal(rig_count(&rig, REQUEST_UPLOAD), announced + 1);
    struct rig_request r = rig_last(&rig);
    assert_int_equal(r.body_len, len);
    assert_memory_equal(r.sha256, sha256, 32);
    assert_memory_equal(r.request.digest, sha256, 32);
    assert_false(r.sealed); /* a file of the spool folder */
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    free(body);
}

/* Connections ------------------------------------------------------------------------------------
 */

static void test_keep_alive(void **state)
{
    (void)state;
    int fd CLEANUP(fd_close) = client_unix(&rig);
    static const char request[] = "POST " SIGN " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
                                  "abcGET /v1/keys HTTP/1.1\r\nHost: x\r\n\r\n"
                                  "HEAD /v1/keys/nightly HTTP/1.1\r\nHost: x\r\n\r\n"
                                  "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
                                  "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    static const int want[] = {201, 200, 200, 404, 200};
    assert_true(client_send(fd, request, strlen(request)));
    for (size_t i = 0; i < COUNT(want); i++) {
        struct answered a CLEANUP(answered_free) = client_read(fd, i == 2, PATIENCE_MS);
        assert_int_equal(a.status, want[i]);
        if (i == 2)
            assert_non_null(answered_header(&a, "Content-Length"));
    }
}

/* Many wait at once, and each gets its own answer although they come in the wrong order. */
static void test_concurrent(void **state)
{
    (void)state;
    enum { CLIENTS = 14 };
    int fds[CLIENTS];
    struct rig_request requests[CLIENTS];
    rig_set(&rig, &rig.manual, true);
    for (int i = 0; i < CLIENTS; i++) {
        char request[256];
        int len = snprintf(request, sizeof(request),
                           "POST " SIGNATURES "?version=4.2.%d&slot=kernel HTTP/1.1\r\nHost: x\r\n"
                           "Content-Length: 3\r\n\r\nabc",
                           i);
        fds[i] = i % 2 == 0 ? client_unix(&rig) : client_tcp(&rig);
        assert_true(client_send(fds[i], request, (size_t)len));
    }
    rig_wait_pending(&rig, CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        requests[i] = rig_next(&rig);
    for (int i = CLIENTS - 1; i >= 0; i--) {
        struct reply reply = rig_signed(&rig, &requests[i]);
        uint8_t signature[RIG_SIGNATURE_LEN] = {0};
        rig_send(&rig, &reply, signature, sizeof(signature));
        fd_close(&requests[i].body);
    }
    for (int i = 0; i < CLIENTS; i++) {
        char want[16];
        (void)snprintf(want, sizeof(want), "4.2.%d", i);
        struct answered a CLEANUP(answered_free) = client_read(fds[i], false, PATIENCE_MS);
        json_t *json CLEANUP(release) = json_of(&a);
        assert_int_equal(a.status, 201);
        assert_string_equal(text_of(json, "version"), want);
        fd_close(&fds[i]);
    }
}

/* Stopping lets those finish who are inside, and nobody else in. */
static void test_stop_drains(void **state)
{
    (void)state;
    struct front_control control = {.op = FRONT_STOP};
    uint8_t signature[RIG_SIGNATURE_LEN] = {0};
    static const char request[] =
        "POST " SIGN " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    static const char late[] = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    rig_set(&rig, &rig.manual, true);
    int idle CLEANUP(fd_close) = client_unix(&rig);
    assert_true(client_send(idle, late, strlen(late)));
    struct answered first CLEANUP(answered_free) = client_read(idle, false, PATIENCE_MS);
    assert_int_equal(first.status, 200);
    int fd CLEANUP(fd_close) = client_unix(&rig);
    assert_true(client_send(fd, request, strlen(request)));
    struct rig_request r = rig_next(&rig);
    assert_int_equal(send(rig.control, &control, sizeof(control), 0), sizeof(control));
    /* Who is connected already is told to come back, once the order has arrived. */
    assert_true(client_send(idle, late, strlen(late)));
    struct answered refused CLEANUP(answered_free) = client_read(idle, false, PATIENCE_MS);
    for (int i = 0; i < PATIENCE_MS / 10 && refused.status == 200; i++) {
        (void)usleep(10 * 1000);
        answered_free(&refused);
        assert_true(client_send(idle, late, strlen(late)));
        refused = client_read(idle, false, PATIENCE_MS);
    }
    assert_int_equal(refused.status, 503);
    check_header(&refused, "Connection", "close");
    int outside CLEANUP(fd_close) = client_unix(&rig);
    assert_true(client_send(outside, late, strlen(late)));
    struct answered none CLEANUP(answered_free) = client_read(outside, false, 300);
    assert_int_equal(none.status, 0);
    struct reply reply = rig_signed(&rig, &r);
    rig_send(&rig, &reply, signature, sizeof(signature));
    struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    assert_int_equal(a.status, 201);
    fd_close(&r.body);
}

/* The supervisor going away is an order to stop, too. */
static void test_stop_on_eof(void **state)
{
    (void)state;
    siginfo_t info = {0};
    assert_int_equal(shutdown(rig.control, SHUT_RDWR), 0);
    for (int i = 0; i < PATIENCE_MS / 10 && info.si_pid == 0; i++) {
        (void)usleep(10 * 1000);
        assert_int_equal(waitid(P_PID, (id_t)rig.front, &info, WEXITED | WNOWAIT | WNOHANG), 0);
    }
    assert_int_equal(info.si_pid, rig.front);
}

/* Reading ----------------------------------------------------------------------------------------
 */

static void test_plan_and_public(void **state)
{
    (void)state;
    char hex[65];
    uint8_t want[76];
    struct answered plan CLEANUP(answered_free) = client_get(&rig, "/v1/keys/nightly/plan");
    hex_encode(hex, rig.plan_sha256[1], 32);
    check_header(&plan, "Tidemark-Plan-SHA256", hex);
    assert_non_null(strstr(plan.body, "\"signatures_per_window\":1024"));

    struct answered raw CLEANUP(answered_free) = client_get(&rig, "/v1/keys/nightly/public");
    memset(want, 0x22, sizeof(want));
    assert_int_equal(raw.len, 52);
    assert_memory_equal(raw.body, want, 52);
    struct answered der CLEANUP(answered_free) =
        client_get(&rig, "/v1/keys/nightly/public?format=spki-der");
    memset(want, 0x33, sizeof(want));
    assert_int_equal(der.len, 76);
    assert_memory_equal(der.body, want, 76);
    struct answered pem CLEANUP(answered_free) =
        client_get(&rig, "/v1/keys/nightly/public?format=spki-pem");
    assert_string_equal(pem.body,
                        "-----BEGIN PUBLIC KEY-----\n"
                        "MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMz\n"
                        "MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMw==\n"
                        "-----END PUBLIC KEY-----\n");
    static const uint8_t cose_head[] = {0xa3, 1, 5, 3, 0x38, 0x2d, 0x20, 0x58, 52};
    struct answered cose CLEANUP(answered_free) =
        client_get(&rig, "/v1/keys/nightly/public?format=cose");
    memset(want, 0x22, sizeof(want));
    assert_int_equal(cose.len, sizeof(cose_head) + 52);
    assert_memory_equal(cose.body, cose_head, sizeof(cose_head));
    assert_memory_equal(cose.body + sizeof(cose_head), want, 52);
    struct answered xdr CLEANUP(answered_free) =
        client_get(&rig, "/v1/keys/nightly/public?format=xdr");
    assert_int_equal(xdr.len, 52);
    struct answered header CLEANUP(answered_free) =
        client_get(&rig, "/v1/keys/nightly/public?format=c-header");
    assert_non_null(strstr(header.body, "static const unsigned char tidemark_key_nightly[52] = {\n"
                                        "    0x22, 0x22,"));
    assert_non_null(strstr(header.body, "tidemark_plan_nightly[32]"));
    struct answered wrong CLEANUP(answered_free) =
        client_get(&rig, "/v1/keys/nightly/public?format=pkcs1");
    assert_int_equal(wrong.status, 400);
}

static void test_lists(void **state)
{
    (void)state;
    struct answered all CLEANUP(answered_free) = client_get(&rig, "/v1/keys/nightly/windows");
    json_t *json CLEANUP(release) = json_of(&all);
    assert_int_equal(json_array_size(json_object_get(json, "windows")), 3);
    assert_string_equal(text_of(json, "next"), "3");

    struct answered rest CLEANUP(answered_free) =
        client_get(&rig, "/v1/keys/nightly/windows?from=0&to=8&cursor=7");
    json_t *end CLEANUP(release) = json_of(&rest);
    assert_int_equal(json_array_size(json_object_get(end, "windows")), 2);
    assert_true(json_is_null(json_object_get(end, "next")));

    struct answered none CLEANUP(answered_free) = client_get(&rig, "/v1/keys/nightly/windows/77");
    assert_int_equal(none.status, 404);
    struct answered empty CLEANUP(answered_free) =
        client_get(&rig, "/v1/keys/nightly/windows?from=50");
    assert_int_equal(empty.status, 200);
    assert_non_null(strstr(empty.body, "\"windows\":[]"));

    struct answered versions CLEANUP(answered_free) =
        client_get(&rig, "/v1/keys/router-fw/versions?prefix=7.1&cursor=40");
    json_t *list CLEANUP(release) = json_of(&versions);
    const json_t *second = json_array_get(json_object_get(list, "versions"), 1);
    assert_string_equal(text_of(second, "version"), "7.1.41");
    assert_string_equal(text_of(second, "signature"), SIGNATURES "/" ID);
    assert_null(json_object_get(json_array_get(json_object_get(list, "versions"), 0), "signature"));
}

static void test_stored_signature(void **state)
{
    (void)state;
    uint8_t want[RIG_SIGNATURE_LEN];
    rig_signature(want, 402101);
    struct answered a CLEANUP(answered_free) = client_get(&rig, SIGNATURES "/" ID);
    json_t *json CLEANUP(release) = json_of(&a);
    assert_int_equal(a.status, 200);
    check_signature(json);
    assert_null(answered_header(&a, "Tidemark-Replayed"));
    struct answered bare CLEANUP(answered_free) =
        client_ask(&rig, "GET " SIGNATURES "/" ID
                         " HTTP/1.1\r\nHost: x\r\nAccept: application/octet-stream\r\n\r\n");
    assert_int_equal(bare.len, sizeof(want));
    assert_memory_equal(bare.body, want, sizeof(want));
    check_header(&bare, "Tidemark-Receipt", "log_index=20117, checkpoint_size=20118, epoch=881");
    assert_null(answered_header(&bare, "Tidemark-Remaining")); /* it changes */
    struct answered receipt CLEANUP(answered_free) = client_get(&rig, SIGNATURES "/" ID "/receipt");
    assert_string_equal(receipt.body, "{\"kind\":\"receipt\"}");
    struct answered none CLEANUP(answered_free) =
        client_get(&rig, SIGNATURES "/00000000000000000000000000000000");
    assert_int_equal(none.status, 404);
}

/* What may be kept -------------------------------------------------------------------------------
 */

static struct answered ask_again(const char *method, const char *path, const char *headers)
{
    char request[512];
    (void)snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path,
                   headers);
    return client_ask(&rig, request);
}

/* The tag of a path's answer, which must be allowed to be kept. */
static void tag_of(char tag[64], const char *path, const char *headers, const char *kept_by)
{
    struct answered a CLEANUP(answered_free) = ask_again("GET", path, headers);
    assert_int_equal(a.status, 200);
    check_header(&a, "Cache-Control", kept_by);
    const char *value = answered_header(&a, "ETag");
    assert_non_null(value);
    (void)snprintf(tag, 64, "%s", value);
}

static void check_kept(const char *path, const char *kept_by)
{
    char tag[64], same[128];
    tag_of(tag, path, "", kept_by);
    (void)snprintf(same, sizeof(same), "If-None-Match: \"x\"\r\nIf-None-Match: W/%s\r\n", tag);
    struct answered head CLEANUP(answered_free) = ask_again("HEAD", path, "");
    assert_int_equal(head.status, 200);
    check_header(&head, "ETag", tag);
    struct answered known CLEANUP(answered_free) = ask_again("GET", path, same);
    assert_int_equal(known.status, 304);
    check_header(&known, "ETag", tag);
    check_header(&known, "Cache-Control", kept_by);
    struct answered other CLEANUP(answered_free) =
        ask_again("GET", path, "If-None-Match: \"x\"\r\n");
    assert_int_equal(other.status, 200);
    assert_true(other.len > 0);
}

static void test_kept(void **state)
{
    (void)state;
    static const char *const private[] = {SIGNATURES "/" ID, SIGNATURES "/" ID "/receipt",
                                          "/v1/keys/nightly/plan"};
    static const char *const public[] = {"/v1/keys/nightly/public",
                                         "/v1/keys/nightly/public?format=spki-pem",
                                         "/problems/busy", "/openapi.json"};
    static const char *const never[] = {"/v1/keys",
                                        "/v1/keys/nightly",
                                        "/v1/keys/nightly/windows",
                                        "/v1/keys/nightly/windows/2",
                                        "/v1/keys/router-fw/versions",
                                        "/v1/keys/nightly/indices/2",
                                        "/v1/keys/nightly/forecast",
                                        "/v1/warnings",
                                        "/v1/clock",
                                        "/health/live",
                                        "/health/ready",
                                        "/health/state",
                                        "/metrics"};
    for (size_t i = 0; i < COUNT(private); i++)
        check_kept(private[i], "private, no-cache");
    for (size_t i = 0; i < COUNT(public); i++)
        check_kept(public[i], "no-cache");
    for (size_t i = 0; i < COUNT(never); i++) {
        struct answered a CLEANUP(answered_free) =
            ask_again("GET", never[i], "If-None-Match: *\r\n");
        if (a.status != 200)
            fail_msg("%s: %d", never[i], a.status);
        check_header(&a, "Cache-Control", "no-store");
        assert_null(answered_header(&a, "ETag"));
    }
    /* What is not there was not kept either. */
    struct answered none CLEANUP(answered_free) =
        ask_again("GET", "/problems/none-of-these", "If-None-Match: *\r\n");
    assert_int_equal(none.status, 404);
    check_header(&none, "Cache-Control", "no-store");
}

/* The two forms of a signature are two things to keep, and so is what has changed. */
static void test_kept_forms(void **state)
{
    (void)state;
    static const char bare[] = "Accept: application/octet-stream\r\n";
    char json[64], bytes[64], both[256];
    tag_of(json, SIGNATURES "/" ID, "", "private, no-cache");
    tag_of(bytes, SIGNATURES "/" ID, bare, "private, no-cache");
    assert_string_not_equal(json, bytes);
    (void)snprintf(both, sizeof(both), "%sIf-None-Match: %s\r\n", bare, json);
    struct answered other CLEANUP(answered_free) = ask_again("GET", SIGNATURES "/" ID, both);
    assert_int_equal(other.status, 200);
    assert_int_equal(other.len, RIG_SIGNATURE_LEN);
    check_header(&other, "Vary", "Accept");
    (void)snprintf(both, sizeof(both), "If-None-Match: %s\r\n", json);
    rig_set(&rig, &rig.tpm_virtual, true); /* one warning more in the JSON */
    struct answered changed CLEANUP(answered_free) = ask_again("GET", SIGNATURES "/" ID, both);
    assert_int_equal(changed.status, 200);
}

/* The length that a 304 says is not that of a body: the next answer follows at once. */
static void test_kept_alive(void **state)
{
    (void)state;
    int fd CLEANUP(fd_close) = client_unix(&rig);
    static const char requests[] =
        "GET /openapi.json HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n"
        "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_true(client_send(fd, requests, strlen(requests)));
    struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    assert_int_equal(a.status, 304);
    struct answered b CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    assert_int_equal(b.status, 200);
    assert_string_equal(b.body, "{\"status\":\"live\"}");
}

static void test_health(void **state)
{
    (void)state;
    rig_set_state(&rig, STATE_CLOCK_UNSAFE);
    struct answered not_ready CLEANUP(answered_free) = client_get(&rig, "/health/ready");
    assert_int_equal(not_ready.status, 503);
    assert_string_equal(not_ready.body, "{\"state\":\"ClockUnsafe\"}");
    struct answered whole CLEANUP(answered_free) = client_get(&rig, "/health/state");
    json_t *json CLEANUP(release) = json_of(&whole);
    assert_int_equal(whole.status, 200);
    assert_string_equal(text_of(json, "state"), "ClockUnsafe");
    assert_string_equal(text_of(json_object_get(json, "clock"), "earliest"),
                        "2026-12-08T09:36:00.125Z");
    assert_string_equal(text_of(json_object_get(json, "tpm"), "description"), "Example TPM");
    rig_core_kill(&rig);
    struct answered gone CLEANUP(answered_free) = client_get(&rig, "/health/ready");
    for (int i = 0; i < PATIENCE_MS / 10 && strstr(gone.body, "Recovering") == NULL; i++) {
        (void)usleep(10 * 1000);
        answered_free(&gone);
        gone = client_get(&rig, "/health/ready");
    }
    struct answered live CLEANUP(answered_free) = client_get(&rig, "/health/live");
    assert_int_equal(live.status, 200);
    assert_int_equal(gone.status, 503);
    assert_string_equal(gone.body, "{\"state\":\"Recovering\"}");
}

static void test_virtual_tpm(void **state)
{
    (void)state;
    static const char *const paths[] = {"/v1/keys", "/v1/keys/nightly", SIGNATURES "/" ID,
                                        "/health/state"};
    rig_set(&rig, &rig.tpm_virtual, true);
    struct answered a CLEANUP(answered_free) = client_post(&rig, SIGN, "", "abc", 3);
    json_t *json CLEANUP(release) = json_of(&a);
    assert_int_equal(a.status, 201);
    assert_int_equal(json_array_size(json_object_get(json, "warnings")), 1);
    assert_memory_equal(answered_header(&a, "Tidemark-Warning"), "virtual TPM: ", 13);
    for (size_t i = 0; i < COUNT(paths); i++) {
        struct answered b CLEANUP(answered_free) = client_get(&rig, paths[i]);
        assert_non_null(answered_header(&b, "Tidemark-Warning"));
        assert_non_null(strstr(b.body, "virtual TPM: "));
    }
    struct answered c CLEANUP(answered_free) =
        client_post(&rig, SIGN, "Accept: application/octet-stream\r\n", "abc", 3);
    assert_non_null(answered_header(&c, "Tidemark-Warning"));
}

/* Previews ---------------------------------------------------------------------------------------
 */

#define PREVIEW "/v1/keys/" RIG_VERSION_KEY "/signatures:preview"
#define JSON "Content-Type: application/json\r\n"

static void test_preview(void **state)
{
    (void)state;
    static const char known[] =
        "{\"version\":\"4.2.1\",\"digest\":{\"sha256\":"
        "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}}";
    struct answered a CLEANUP(answered_free) =
        client_post(&rig, PREVIEW "?version=4.2.1&slot=kernel", "", "", 0);
    assert_int_equal(a.status, 200);
    json_t *json CLEANUP(release) = json_of(&a);
    assert_true(json_is_true(json_object_get(json, "uses_index")));
    assert_int_equal(json_integer_value(json_object_get(json, "index")), 402101);
    assert_null(json_object_get(json, "signature"));
    assert_non_null(answered_header(&a, "RateLimit"));
    struct answered b CLEANUP(answered_free) =
        client_post(&rig, PREVIEW, JSON, known, strlen(known));
    json_t *stored CLEANUP(release) = json_of(&b);
    assert_int_equal(b.status, 200);
    assert_true(json_is_false(json_object_get(stored, "uses_index")));
    assert_string_equal(text_of(stored, "signature"),
                        "/v1/keys/" RIG_VERSION_KEY "/signatures/a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
    assert_int_equal(rig_count(&rig, REQUEST_PREVIEW), 2);
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 0);
}

static void test_preview_refused(void **state)
{
    (void)state;
    static const struct {
        const char *path, *headers, *body;
        int status;
    } cases[] = {
        {PREVIEW, "", "", 400},                                       /* no place */
        {PREVIEW "?version=4.2.1&window=current", "", "", 400},       /* two */
        {PREVIEW "?version=4.2.1", JSON, "{\"version\":\"1\"}", 400}, /* in both places */
        {PREVIEW, JSON, "{\"version\":\"1\",\"digest\":{}}", 400},
        {PREVIEW, JSON, "{\"version\":\"1\",\"colour\":\"red\"}", 400},
        {PREVIEW, "", "firmware", 415},
        {PREVIEW, "Origin: https://example.org\r\n" JSON, "{\"version\":\"1\"}", 403},
        {PREVIEW, JSON "Content-Digest: sha-256=:AAAA:\r\n", "{\"version\":\"1\"}", 400},
        {PREVIEW "?version=1", "Idempotency-Key: \"\"\r\n", "", 400},
        {"/v1/keys/nobody/signatures:preview?version=1", "", "", 404},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answered a CLEANUP(answered_free) = client_post(
            &rig, cases[i].path, cases[i].headers, cases[i].body, strlen(cases[i].body));
        if (a.status != cases[i].status)
            fail_msg("case %zu: %d %s", i, a.status, a.body);
    }
    struct answered b CLEANUP(answered_free) = client_get(&rig, PREVIEW "?version=1");
    assert_int_equal(b.status, 405);
    /* Only the key that is not there was asked for. */
    assert_int_equal(rig_count(&rig, REQUEST_PREVIEW), 1);
}

/* Batches ----------------------------------------------------------------------------------------
 */

#define BATCH "/v1/keys/" RIG_VERSION_KEY "/signatures:batch"
#define DIGEST_OF(c)                                                                               \
    "\"digest\":{\"sha256\":\"" c c c c c c c c "\"}" /* eight times eight digits */

static void test_batch(void **state)
{
    (void)state;
    static const char body[] =
        "{\"requests\":["
        "{" DIGEST_OF("aaaaaaaa") ",\"version\":\"4.2.1\",\"slot\":\"kernel\"},"
                                  "{" DIGEST_OF(
                                      "bbbbbbbb") ",\"version\":\"4.2.1\"},"
                                                  "{" DIGEST_OF(
                                                      "cccccccc") ",\"window\":\"current\","
                                                                  "\"idempotency_key\":"
                                                                  "\"one\"}]}";
    struct answered a CLEANUP(answered_free) = client_post(&rig, BATCH, JSON, body, strlen(body));
    assert_int_equal(a.status, 201);
    json_t *json CLEANUP(release) = json_of(&a);
    assert_int_equal(json_integer_value(json_object_get(json, "signed")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "replayed")), 1);
    assert_int_equal(json_integer_value(json_object_get(json, "refused")), 1);
    const json_t *results = json_object_get(json, "results");
    static const int statuses[] = {201, 409, 200};
    assert_int_equal(json_array_size(results), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *result = json_array_get(results, i);
        assert_int_equal(json_integer_value(json_object_get(result, "status")), statuses[i]);
        assert_true((json_object_get(result, "signature") != NULL) == (i != 1));
        assert_true((json_object_get(result, "problem") != NULL) == (i == 1));
    }
    const json_t *problem = json_object_get(json_array_get(results, 1), "problem");
    assert_string_equal(text_of(problem, "type"), "/problems/version-already-signed");
    const json_t *first = json_object_get(json_array_get(results, 0), "signature");
    uint8_t want[RIG_SIGNATURE_LEN], got[RIG_SIGNATURE_LEN];
    size_t len = 0;
    const char *base64 = text_of(first, "signature");
    rig_signature(want, 402101);
    assert_true(base64_decode(got, sizeof(got), &len, base64, strlen(base64)));
    assert_int_equal(len, sizeof(want));
    assert_memory_equal(got, want, sizeof(want));
    assert_string_equal(text_of(first, "slot"), "kernel");
    assert_int_equal(rig_count(&rig, REQUEST_BATCH), 1);
    /* Nothing new: 200. */
    static const char old[] = "{\"requests\":[{" DIGEST_OF("cccccccc") ",\"version\":\"4.2.1\"}]}";
    struct answered b CLEANUP(answered_free) = client_post(&rig, BATCH, JSON, old, strlen(old));
    assert_int_equal(b.status, 200);
}

static void test_batch_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{}",
        "{\"requests\":[]}",
        "{\"requests\":{}}",
        "{\"requests\":[1]}",
        "{\"requests\":[{\"version\":\"1.0.0\"}]}",
        "{\"requests\":[{" DIGEST_OF("aaaaaaaa") "}]}",
        "{\"requests\":[{" DIGEST_OF("aaaaaaaa") ",\"version\":\"1\",\"window\":\"current\"}]}",
        "{\"requests\":[{" DIGEST_OF("aaaaaaaa") ",\"version\":\"1\",\"colour\":\"red\"}]}",
        "{\"requests\":[{" DIGEST_OF(
            "aaaaaaaa") ",\"window\":\"current\",\"idempotency_key\":\"\"}]}",
        "{\"requests\":[{" DIGEST_OF("aaaaaaaa") ",\"window\":\"current\",\"idempotency_key\":"
                                                 "\"\\\"a\\\"\"}]}",
        "{\"requests\":[{" DIGEST_OF("aaaaaaaa") ",\"version\":\"1\"}],\"more\":1}",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        struct answered a CLEANUP(answered_free) =
            client_post(&rig, BATCH, JSON, bodies[i], strlen(bodies[i]));
        if (a.status != 400)
            fail_msg("%s: %d", bodies[i], a.status);
    }
    /* One more than is taken. */
    char *many = malloc(65536);
    size_t at = (size_t)sprintf(many, "{\"requests\":[");
    for (size_t i = 0; i <= REQUEST_BATCH_MAX; i++)
        at += (size_t)sprintf(many + at, "%s{" DIGEST_OF("aaaaaaaa") ",\"version\":\"1\"}",
                              i > 0 ? "," : "");
    (void)sprintf(many + at, "]}");
    struct answered b CLEANUP(answered_free) = client_post(&rig, BATCH, JSON, many, strlen(many));
    assert_int_equal(b.status, 400);
    free(many);
    struct answered c CLEANUP(answered_free) =
        client_post(&rig, BATCH, "Origin: https://example.org\r\n" JSON, "{}", 2);
    assert_int_equal(c.status, 403);
    assert_int_equal(rig_count(&rig, REQUEST_BATCH), 0);
}

/* What the core says is checked, and what cannot be read may have signed. */
static void test_batch_lies(void **state)
{
    (void)state;
    static const char body[] = "{\"requests\":[{" DIGEST_OF("aaaaaaaa") ",\"version\":\"4.2.1\"}]}";
    rig_set(&rig, &rig.bad_batch, true);
    struct answered a CLEANUP(answered_free) = client_post(&rig, BATCH, JSON, body, strlen(body));
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.body, "outcome-unknown"));
    rig_set(&rig, &rig.bad_batch, false);
    rig_set(&rig, &rig.wrong_hash, true);
    struct answered b CLEANUP(answered_free) = client_post(&rig, BATCH, JSON, body, strlen(body));
    assert_int_equal(b.status, 503);
    rig_set(&rig, &rig.wrong_hash, false);
    /* The core goes away over it. */
    rig_set(&rig, &rig.manual, true);
    char head[300];
    (void)snprintf(head, sizeof(head),
                   "POST " BATCH " HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: %zu\r\n\r\n",
                   strlen(body));
    int fd CLEANUP(fd_close) = client_unix(&rig);
    assert_true(client_send(fd, head, strlen(head)));
    assert_true(client_send(fd, body, strlen(body)));
    rig_wait_pending(&rig, 1);
    rig_core_kill(&rig);
    struct answered c CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    assert_int_equal(c.status, 503);
    assert_non_null(strstr(c.body, "outcome-unknown"));
    struct answered d CLEANUP(answered_free) = client_post(&rig, BATCH, JSON, body, strlen(body));
    assert_int_equal(d.status, 503);
    assert_non_null(strstr(d.body, "starting"));
}

/* Warnings ---------------------------------------------------------------------------------------
 */

static void test_warnings(void **state)
{
    (void)state;
    static const char wrong[] = "{\"sentence\":\"yes\"}";
    static const char *const bad[] = {"{}", "[]", "{\"sentence\":1}",
                                      "{\"sentence\":\"a\",\"more\":1}"};
    struct answered a CLEANUP(answered_free) = client_get(&rig, "/v1/warnings");
    json_t *json CLEANUP(release) = json_of(&a);
    assert_int_equal(json_array_size(json_object_get(json, "warnings")), 2);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct answered b CLEANUP(answered_free) =
            client_post(&rig, "/v1/warnings/2/acknowledgements", JSON, bad[i], strlen(bad[i]));
        assert_int_equal(b.status, 400);
    }
    char *longest = malloc(400);
    (void)snprintf(longest, 400, "{\"sentence\":\"%0300d\"}", 0);
    struct answered c CLEANUP(answered_free) =
        client_post(&rig, "/v1/warnings/2/acknowledgements", JSON, longest, strlen(longest));
    assert_int_equal(c.status, 400);
    free(longest);
    struct answered zero CLEANUP(answered_free) =
        client_post(&rig, "/v1/warnings/0/acknowledgements", JSON, wrong, strlen(wrong));
    assert_int_equal(zero.status, 404);
    assert_int_equal(rig_count(&rig, REQUEST_WARNING_ACK), 0);
    struct answered d CLEANUP(answered_free) =
        client_post(&rig, "/v1/warnings/2/acknowledgements", JSON, wrong, strlen(wrong));
    assert_int_equal(d.status, 400);
    struct answered e CLEANUP(answered_free) =
        client_post(&rig, "/v1/warnings/7/acknowledgements", JSON, wrong, strlen(wrong));
    assert_int_equal(e.status, 404);
}

/* Every problem that can be answered has its page, which says what to do. */
static void test_problem_pages(void **state)
{
    (void)state;
    for (size_t i = 0; i < PROBLEM_COUNT; i++) {
        const struct problem *problem = problem_get((enum problem_id)i);
        char path[96];
        (void)snprintf(path, sizeof(path), "/problems/%s", problem->name);
        struct answered a CLEANUP(answered_free) = client_get(&rig, path);
        assert_int_equal(a.status, 200);
        assert_non_null(strstr(a.body, problem->title));
        assert_non_null(strstr(a.body, problem->action));
    }
    struct answered none CLEANUP(answered_free) = client_get(&rig, "/problems/none-of-these");
    assert_int_equal(none.status, 404);
}

/* What docs/openapi.json promises ----------------------------------------------------------------
 */

static void check_described(const json_t *root, const json_t *operation, const struct answered *a,
                            const char *what)
{
    const struct described_answer answer = {.status = a->status,
                                            .type = answered_header(a, "Content-Type"),
                                            .body = a->body,
                                            .len = a->len};
    described_check(root, operation, &answer, what);
}

static void try_get(const json_t *root, const char *path, const json_t *operation)
{
    char filled[DESCRIBED_PATH], query[DESCRIBED_PATH];
    described_path(root, operation, path, NULL, filled);
    struct answered a CLEANUP(answered_free) = client_get(&rig, filled);
    if (a.status != 200)
        fail_msg("%s: %d", filled, a.status);
    check_described(root, operation, &a, filled);
    /* Each query parameter by itself, with its example. */
    for (size_t i = 0; i < json_array_size(json_object_get(operation, "parameters")); i++) {
        if (!described_query(root, operation, i, filled, query))
            continue;
        struct answered b CLEANUP(answered_free) = client_get(&rig, query);
        if (b.status != 200)
            fail_msg("%s: %d", query, b.status);
        check_described(root, operation, &b, query);
    }
}

/* A post whose body is optional: the place may stand in the query. */
static void try_post_bare(const json_t *root, const char *path, const json_t *operation)
{
    char target[DESCRIBED_PATH + 40];
    (void)snprintf(target, sizeof(target), "%s?version=4.2.1&slot=kernel", path);
    struct answered a CLEANUP(answered_free) = client_post(&rig, target, "", "", 0);
    assert_int_equal(a.status, 200);
    check_described(root, operation, &a, target);
}

/* What takes JSON and nothing else. */
static void try_post_json(const json_t *root, const char *path, const json_t *operation)
{
    static const char *const wrong[] = {"[]", "{}", "{\"id\":1,\"windows\":-1,\"utc\":\"\"}", "no"};
    char *text = json_dumps(described_body(root, operation, "application/json"), 0);
    struct answered a CLEANUP(answered_free) =
        client_post(&rig, path, "Content-Type: application/json\r\n", text, strlen(text));
    free(text);
    assert_true(a.status == 200 || a.status == 201);
    check_described(root, operation, &a, path);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct answered b CLEANUP(answered_free) = client_post(
            &rig, path, "Content-Type: application/json\r\n", wrong[i], strlen(wrong[i]));
        assert_int_equal(b.status, 400);
        check_described(root, operation, &b, path);
    }
    struct answered c CLEANUP(answered_free) = client_post(&rig, path, "", "abc", 3);
    assert_int_equal(c.status, 415);
    check_described(root, operation, &c, path);
    if (!json_is_true(json_object_get(json_object_get(operation, "requestBody"), "required")))
        try_post_bare(root, path, operation);
}

static void try_post(const json_t *root, const char *path, const json_t *operation)
{
    char filled[DESCRIBED_PATH], target[DESCRIBED_PATH + 40];
    described_path(root, operation, path, NULL, filled);
    (void)snprintf(target, sizeof(target), "%s?version=4.2.1&slot=kernel", filled);
    const char *raw =
        json_string_value(described_body(root, operation, "application/octet-stream"));
    if (raw == NULL) {
        try_post_json(root, filled, operation);
        return;
    }
    struct answered a CLEANUP(answered_free) =
        client_post(&rig, target, "Content-Type: application/octet-stream\r\n", raw, strlen(raw));
    assert_int_equal(a.status, 201);
    check_described(root, operation, &a, target);
    char *text = json_dumps(described_body(root, operation, "application/json"), 0);
    struct answered b CLEANUP(answered_free) =
        client_post(&rig, filled, "Content-Type: application/json\r\n", text, strlen(text));
    free(text);
    assert_int_equal(b.status, 201);
    check_described(root, operation, &b, filled);
    struct answered c CLEANUP(answered_free) = client_post(&rig, filled, "", "abc", 3);
    assert_int_equal(c.status, 400);
    check_described(root, operation, &c, filled);
}

/* Examples inside responses must fit their own schemas. */
static void check_examples(const json_t *root, const json_t *operation)
{
    const char *status, *type;
    json_t *response, *media;
    json_object_foreach(json_object_get(operation, "responses"), status, response)
    {
        json_object_foreach(json_object_get(response, "content"), type, media)
        {
            char fault[256];
            const json_t *value = json_object_get(media, "example");
            if (value != NULL && !schema_fits(root, json_object_get(media, "schema"), value, fault))
                fail_msg("example of %s %s: %s", status, type, fault);
        }
    }
}

/* The example of an answer with status 200, as text. */
static char *example_text(const json_t *operation)
{
    const json_t *ok = json_object_get(json_object_get(operation, "responses"), "200");
    const json_t *content = json_object_get(json_object_get(ok, "content"), "application/json");
    char *text = json_dumps(json_object_get(content, "example"), JSON_COMPACT | JSON_SORT_KEYS);
    assert_non_null(text);
    return text;
}

static void free_text(char **text)
{
    free(*text);
}

static void test_openapi(void **state)
{
    (void)state;
    struct answered a CLEANUP(answered_free) = client_get(&rig, "/openapi.json");
    json_t *root CLEANUP(release) = json_of(&a);
    json_t *file CLEANUP(release) = json_load_file(SRCDIR "/docs/openapi.json", 0, NULL);
    assert_true(json_equal(root, file));
    const json_t *attested = json_object_get(
        json_object_get(json_object_get(root, "paths"), "/v1/keys/{key}/attestation"), "get");
    char *example CLEANUP(free_text) = example_text(attested);
    pthread_mutex_lock(&rig.lock);
    rig.attestation = example;
    pthread_mutex_unlock(&rig.lock);
    const char *path;
    json_t *item;
    json_object_foreach(json_object_get(root, "paths"), path, item)
    {
        const json_t *get = json_object_get(item, "get");
        const json_t *post = json_object_get(item, "post");
        if (get != NULL)
            try_get(root, path, get);
        if (post != NULL)
            try_post(root, path, post);
        check_examples(root, get != NULL ? get : post);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_sign),
        TEST(test_sign_behind),
        TEST(test_sign_bare),
        TEST(test_sign_replayed),
        TEST(test_sign_window),
        TEST(test_sign_digest),
        TEST(test_sign_content_digest),
        TEST(test_plan_asked_once),
        TEST(test_tcp),
        TEST(test_upload_curl),
        TEST(test_keep_alive),
        TEST(test_concurrent),
        TEST(test_stop_drains),
        TEST(test_stop_on_eof),
        TEST(test_plan_and_public),
        TEST(test_lists),
        TEST(test_stored_signature),
        TEST(test_kept),
        TEST(test_kept_forms),
        TEST(test_kept_alive),
        TEST(test_health),
        TEST(test_virtual_tpm),
        TEST(test_preview),
        TEST(test_preview_refused),
        TEST(test_batch),
        TEST(test_batch_refused),
        TEST(test_batch_lies),
        TEST(test_warnings),
        TEST(test_problem_pages),
        TEST(test_openapi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
