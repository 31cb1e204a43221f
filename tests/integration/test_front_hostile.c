/*
 * The front against clients and a core that do not behave: bad input, smuggling, slow clients,
 * broken uploads, full queues, a core that dies, lies or is late. Nothing of it may cost an index
 * that need not be spent, nothing may stop the front, and every refusal says what to do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "lib/front_rig.h"

#define PATIENCE_MS 60000 /* far more than anything here takes */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SIGNATURES "/v1/keys/" RIG_VERSION_KEY "/signatures"
#define SIGN SIGNATURES "?version=4.2.1&slot=kernel"
#define BY_WINDOW "/v1/keys/" RIG_TIME_KEY "/signatures?window=current"
#define HEX_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HOST " HTTP/1.1\r\nHost: x\r\n"
#define SIGN_ABC "POST " SIGN HOST "Content-Length: 3\r\n\r\nabc"
#define SIGNATURE_PATH SIGNATURES "/a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"

static struct rig rig;

static int start(void **state)
{
    (void)state;
    rig_start(&rig, rig_config());
    return 0;
}

/* Room for few, and for bodies of 3 MiB. */
static int start_few(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    config.settings.body_max = 3 << 20;
    config.requests_max = 4;
    rig_start(&rig, config);
    return 0;
}

/* Clients must be quick: with their headers more than with bodies. */
static int start_quick(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    config.settings.header_deadline_s = 2;
    config.settings.body_deadline_s = 8;
    rig_start(&rig, config);
    return 0;
}

/* A core that keeps clients waiting does not do so for long. */
static int start_late(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    config.settings.core_deadline_s = 4;
    config.requests_max = 4;
    rig_start(&rig, config);
    return 0;
}

/* Files of the front may not grow beyond 1.5 MiB: the spool folder is "full" from there on. */
static int start_full(void **state)
{
    (void)state;
    rig_start_limited(&rig, rig_config(), 3 << 19);
    return 0;
}

/* Clients must be quick, the core need not be. */
static int start_patient(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    config.settings.header_deadline_s = 2;
    config.settings.body_deadline_s = 2;
    rig_start(&rig, config);
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

/* A problem document of this name, complete and in agreement with its status line. */
static json_t *check_problem(const struct answered *a, int status, const char *name)
{
    char type[96];
    (void)snprintf(type, sizeof(type), "/problems/%s", name);
    if (a->status != status || a->body == NULL || strstr(a->body, type) == NULL)
        fail_msg("%d %s, not %d %s", a->status, a->body == NULL ? "" : a->body, status, name);
    assert_string_equal(answered_header(a, "Content-Type"), "application/problem+json");
    json_t *json = json_loadb(a->body, a->len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "type")), type);
    assert_int_equal(json_integer_value(json_object_get(json, "status")), status);
    assert_string_equal(json_string_value(json_object_get(json, "request_id")),
                        answered_header(a, "Request-Id"));
    assert_true(json_string_length(json_object_get(json, "action")) > 0);
    if (status == 503 || status == 429)
        assert_non_null(answered_header(a, "Retry-After"));
    return json;
}

static void check_refused(const struct answered *a, int status, const char *name)
{
    json_decref(check_problem(a, status, name));
}

/* Newer libraries find some mistakes before we do, and say so in their own words. */
static void check_refused_by_any(const struct answered *a, int status, const char *name)
{
    if (a->status == status && answered_header(a, "Request-Id") == NULL)
        return;
    check_refused(a, status, name);
}

static void check_works(void)
{
    struct answered a CLEANUP(answered_free) = client_ask(&rig, SIGN_ABC);
    assert_int_equal(a.status, 201);
}

/* Open a connection and send the request that this many bytes are. */
static int send_request(const char *text)
{
    int fd = client_unix(&rig);
    assert_true(client_send(fd, text, strlen(text)));
    return fd;
}

static void reply_signed(const struct rig_request *r)
{
    uint8_t signature[RIG_SIGNATURE_LEN] = {0};
    struct reply reply = rig_signed(&rig, r);
    rig_send(&rig, &reply, signature, sizeof(signature));
}

/* Bad input --------------------------------------------------------------------------------------
 */

/* One request, one refusal; the core must not hear of any. */
static void test_bad_requests(void **state)
{
    (void)state;
#define POST_ABC(target, headers) "POST " target HOST headers "Content-Length: 3\r\n\r\nabc"
#define JSON_HEAD "Content-Type: application/json\r\n"
    static const struct {
        const char *request;
        int status;
        const char *problem;
        const char *says; /* part of the body, or NULL */
    } cases[] = {
        {"GET /" HOST "\r\n", 404, "not-found", NULL},
        {"GET /v1/keys/" HOST "\r\n", 404, "not-found", NULL},
        {"GET /v1/keys/no-such-key" HOST "\r\n", 404, "not-found", NULL},
        {"GET /v1/keys/no-such-key/plan" HOST "\r\n", 404, "not-found", NULL},
        {"GET /v1/keys/..%2f..%2fetc" HOST "\r\n", 400, "bad-request", "percent"},
        {"GET /v1/keys/%00" HOST "\r\n", 400, "bad-request", "percent"},
        {"GET /v1/keys/%zz" HOST "\r\n", 400, "bad-request", "percent"},
        {"GET /v1/keys?x=1" HOST "\r\n", 400, "bad-request", "'x'"},
        {"GET /v1/keys/nightly/windows?from=1&from=2" HOST "\r\n", 400, "bad-request", "'from'"},
        {"GET /v1/keys/nightly/windows?from=-1" HOST "\r\n", 400, "bad-request", "'from'"},
        {"GET /v1/keys/nightly/windows?from=9&to=8" HOST "\r\n", 400, "bad-request", "above"},
        {"GET /v1/keys/nightly/windows?cursor=x" HOST "\r\n", 400, "bad-request", "'cursor'"},
        {"GET /v1/keys/nightly/public?format=sshkey" HOST "\r\n", 400, "bad-request", "spki-pem"},
        {"GET /v1/keys/nightly/versions?prefix=%22" HOST "\r\n", 400, "bad-request", "prefix"},
        {"GET /problems/no-such" HOST "\r\n", 404, "not-found", NULL},
        {"GET /v1/keys" HOST "Content-Length: 3\r\n\r\nabc", 400, "bad-request", "no body"},
        {"GET /v1/keys" HOST "Request-Id: a\"b\r\n\r\n", 400, "bad-request", "Request-Id"},
        {"GET " SIGNATURE_PATH HOST "Accept: text/html\r\n\r\n", 406, "not-acceptable", NULL},
        {"DELETE /v1/keys" HOST "\r\n", 405, "method-not-allowed", NULL},
        {"OPTIONS /v1/keys" HOST "\r\n", 405, "method-not-allowed", "GET, HEAD"},
        {"GET " SIGNATURES HOST "\r\n", 405, "method-not-allowed", "POST"},
        {POST_ABC("/v1/keys/router-fw/nothing", ""), 404, "not-found", NULL},
        {POST_ABC(SIGNATURES, ""), 400, "bad-request", "version="},
        {POST_ABC(SIGNATURES "?version=", ""), 400, "bad-request", "version"},
        {POST_ABC(SIGNATURES "?version=1&window=current", ""), 400, "bad-request", "version="},
        {POST_ABC(SIGNATURES "?window=5", ""), 400, "bad-request", "current"},
        {POST_ABC(SIGNATURES "?version=1&slot=a%20b", ""), 400, "bad-request", "slot"},
        {POST_ABC(SIGNATURES "?version=1&vers=2", ""), 400, "bad-request", "'vers'"},
        {POST_ABC(SIGN, "Content-Type: application/x-www-form-urlencoded\r\n"), 415,
         "unsupported-media-type", "form"},
        {POST_ABC(SIGN, "Content-Encoding: gzip\r\n"), 415, "unsupported-media-type", "Encoding"},
        {POST_ABC(SIGN, "Accept: text/html\r\n"), 406, "not-acceptable", NULL},
        {POST_ABC(SIGN, "Origin: https://evil.example\r\n"), 403, "forbidden", "Origin"},
        {POST_ABC(SIGN, "Idempotency-Key: \"\"\r\n"), 400, "bad-request", "Idempotency-Key"},
        {POST_ABC(SIGN, "Content-Digest: sha-256=rubbish\r\n"), 400, "bad-request",
         "Content-Digest"},
        {POST_ABC(SIGN, "Content-Digest: sha-256=:" /* of nothing at all */
                        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\r\n"),
         400, "digest-mismatch", NULL},
        {"POST " SIGN HOST "\r\n", 411, "length-required", "Content-Length"},
        {"POST " SIGN HOST "Content-Length: 0\r\n\r\n", 400, "bad-request", "empty"},
        {"POST " SIGN HOST "Content-Length: 99999999999\r\n\r\n", 413, "too-large", "99999999999"},
        {"POST " SIGNATURES HOST JSON_HEAD "Content-Length: 65537\r\n\r\n", 413, "too-large",
         "65536"},
        {POST_ABC(SIGN, JSON_HEAD), 400, "bad-request", "'version'"}, /* JSON says where itself */
        {POST_ABC(SIGNATURES, JSON_HEAD), 400, "bad-request", "JSON"},
        {"POST " SIGNATURES HOST JSON_HEAD "Content-Length: 2\r\n\r\n{}", 400, "bad-request",
         "digest"},
        {"POST " SIGNATURES HOST JSON_HEAD "Content-Length: 12\r\n\r\n{\"wibble\":1}", 400,
         "bad-request", "'wibble'"},
        {POST_ABC("/v1/keys/no-such-key/signatures?version=1", ""), 404, "not-found", NULL},
        {POST_ABC("/v1/keys/.hidden/signatures?version=1", ""), 404, "not-found", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct answered a CLEANUP(answered_free) = client_ask(&rig, cases[i].request);
        if (a.status != cases[i].status)
            fail_msg("%s\n%d %s", cases[i].request, a.status, a.body == NULL ? "" : a.body);
        if (strstr(cases[i].request, "/v1/keys/%") != NULL) {
            check_refused_by_any(&a, cases[i].status, cases[i].problem);
            continue;
        }
        check_refused(&a, cases[i].status, cases[i].problem);
        if (cases[i].says != NULL && strstr(a.body, cases[i].says) == NULL)
            fail_msg("%s\n%s", cases[i].request, a.body);
        if (a.status == 405)
            assert_non_null(answered_header(&a, "Allow"));
    }
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 0);
    check_works();
}

static void test_long_target(void **state)
{
    (void)state;
    char request[4096];
    (void)snprintf(request, sizeof(request), "GET /%02500d" HOST "\r\n", 0);
    struct answered a CLEANUP(answered_free) = client_ask(&rig, request);
    check_refused(&a, 414, "uri-too-long");
}

/* What two readers could understand differently is refused, and the connection ends there. */
static void test_smuggling(void **state)
{
    (void)state;
#define HIDDEN "GET /v1/keys HTTP/1.1\r\nHost: x\r\n\r\n"
    static const char *const requests[] = {
        "POST " SIGN HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HIDDEN,
        "POST " SIGN HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" HIDDEN,
        "POST " SIGN HOST "Content-Length: 3\r\nContent-Length: 60\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" HIDDEN,
        "POST " SIGN HOST "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" HIDDEN,
        "POST " SIGN HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" HIDDEN,
        "POST " SIGN HOST "Content-Length : 3\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: +3\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: 3, 3\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: 0x3\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: 18446744073709551619\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Host: y\r\nContent-Length: 3\r\n\r\nabc" HIDDEN,
        "POST " SIGN " HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" HIDDEN,
        "GET /v1/keys" HOST "Host: y\r\n\r\n" HIDDEN,
        "GET /v1/keys HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n" HIDDEN,
        "GET /v1/keys HTTP/1.9\r\nHost: x\r\n\r\n" HIDDEN,
    };
    for (size_t i = 0; i < COUNT(requests); i++) {
        int fd CLEANUP(fd_close) = send_request(requests[i]);
        struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
        if (a.status < 400)
            fail_msg("%d: %s", a.status, requests[i]);
        /* The library sends the head of some of its own refusals twice; that is all that may come.
         */
        if (!client_ends(fd, PATIENCE_MS))
            fail_msg("not closed: %s", requests[i]);
    }
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 0);
    assert_int_equal(rig_count(&rig, REQUEST_KEYS), 0);
    check_works();
}

static void test_smuggling_problems(void **state)
{
    (void)state;
    struct answered te CLEANUP(answered_free) =
        client_ask(&rig, "POST " SIGN HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    check_refused(&te, 411, "length-required");
    struct answered version CLEANUP(answered_free) =
        client_ask(&rig, "GET /v1/keys HTTP/1.9\r\nHost: x\r\n\r\n");
    check_refused(&version, 505, "http-version");
    struct answered both CLEANUP(answered_free) = client_ask(
        &rig, "POST " SIGN HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    check_refused_by_any(&both, 400, "bad-request");
}

/* Requests with bytes changed, dropped and doubled at random: nothing of it stops the front. */
static void test_garbage(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        SIGN_ABC,
        "POST " SIGNATURES HOST "Content-Type: application/json\r\nContent-Length: 106\r\n\r\n"
        "{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"version\":\"4.2.1\"}",
        "GET /v1/keys/nightly/windows?from=1&to=%32" HOST "Accept: a/b;q=0.1, */*\r\n\r\n",
        "GET http://x/v1/keys" HOST "Request-Id: r\r\nIdempotency-Key: \"k\"\r\n\r\n",
    };
    uint64_t random = 20261122; /* fixed: a failure repeats */
    for (int i = 0; i < 2000; i++) {
        char request[1024];
        size_t len = strlen(seeds[i % 4]);
        memcpy(request, seeds[i % 4], len);
        for (int change = 0; change < 1 + i % 5; change++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
            size_t at = (size_t)(random >> 33) % len;
            switch ((random >> 20) % 3) {
            case 0:
                request[at] = (char)(random >> 24);
                break;
            case 1:
                memmove(request + at, request + at + 1, --len - at);
                break;
            default:
                memmove(request + at + 1, request + at, len++ - at);
                break;
            }
        }
        int fd CLEANUP(fd_close) = client_unix(&rig);
        (void)client_send(fd, request, len);
        if (i % 16 == 0) {
            (void)shutdown(fd, SHUT_WR);
            (void)client_ends(fd, 200);
        }
    }
    check_works();
}

/* Uploads ----------------------------------------------------------------------------------------
 */

static size_t files_in_spool(void)
{
    size_t count = 0;
    DIR *dir = fdopendir(dup(rig.spool_dirfd));
    assert_non_null(dir);
    rewinddir(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 ? 1 : 0;
    (void)closedir(dir);
    return count - 1; /* the socket lies there, too */
}

/* An upload that breaks off in the middle costs nothing, in memory and in a file. */
static void test_truncated(void **state)
{
    (void)state;
    static const char *const lengths[] = {"1000", "2000000"};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        char head[256];
        (void)snprintf(head, sizeof(head), "POST " SIGN HOST "Content-Length: %s\r\n\r\nabc",
                       lengths[i]);
        int fd CLEANUP(fd_close) = send_request(head);
        (void)usleep(50 * 1000);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        assert_true(client_closed(fd, PATIENCE_MS));
        int gone = send_request(head);
        (void)usleep(50 * 1000);
        fd_close(&gone);
    }
    check_works();
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 1);
    for (int ms = 0; ms < PATIENCE_MS && files_in_spool() != 0; ms += 10)
        (void)usleep(10 * 1000);
    assert_int_equal(files_in_spool(), 0);
}

/* Too large is said before the upload. */
static void test_too_large(void **state)
{
    (void)state;
    struct answered a CLEANUP(answered_free) = client_ask(
        &rig, "POST " SIGN HOST "Content-Length: 3145729\r\nExpect: 100-continue\r\n\r\n");
    check_refused(&a, 413, "too-large");
    assert_null(strstr(a.head, "100 Continue"));
    /* And exactly the limit is fine. */
    const size_t len = 3 << 20;
    char *body = calloc(1, len);
    assert_non_null(body);
    struct answered b CLEANUP(answered_free) = client_post(&rig, SIGN, "", body, len);
    assert_int_equal(b.status, 201);
    /* A client that sends it all without waiting learns it, too. */
    char *more = calloc(1, len + 1);
    assert_non_null(more);
    struct answered c CLEANUP(answered_free) = client_post(&rig, SIGN, "", more, len + 1);
    check_refused(&c, 413, "too-large");
    free(body);
    free(more);
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 1);
}

static void test_spool_full(void **state)
{
    (void)state;
    const size_t len = 2 << 20;
    char *body = calloc(1, len);
    assert_non_null(body);
    struct answered a CLEANUP(answered_free) = client_post(&rig, SIGN, "", body, len);
    check_refused(&a, 507, "spool-full");
    free(body);
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 0);
    check_works();
}

/* Slow clients -----------------------------------------------------------------------------------
 */

/* One byte every 50 ms until the other side closes; false if it never does within limit_ms. */
static bool drip(int fd, char byte, int limit_ms)
{
    for (int ms = 0; ms < limit_ms; ms += 50) {
        if (!client_send(fd, &byte, 1) || client_closed(fd, 50))
            return true;
    }
    return false;
}

static void test_slow_header(void **state)
{
    (void)state;
    int fd CLEANUP(fd_close) = send_request("GET /v1/keys HTTP/1.1\r\nHost: x\r\nX-A: ");
    assert_true(drip(fd, 'a', PATIENCE_MS));
    int tcp CLEANUP(fd_close) = client_tcp(&rig);
    assert_true(drip(tcp, 'G', PATIENCE_MS));
    check_works();
}

static void test_slow_body(void **state)
{
    (void)state;
    int fd CLEANUP(fd_close) = send_request("POST " SIGN HOST "Content-Length: 1000\r\n\r\n");
    assert_false(drip(fd, 'a', 2500)); /* longer than headers may take */
    assert_true(drip(fd, 'a', PATIENCE_MS));
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 0);
    check_works();
}

/* A connection that is kept open says something within the deadline, or goes. */
static void test_idle(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    rig_stop(&rig);
    config.settings.header_deadline_s = 4;
    config.settings.body_deadline_s = 3600;
    rig_start(&rig, config);
    int silent CLEANUP(fd_close) = client_unix(&rig);
    int fd CLEANUP(fd_close) = send_request("GET /v1/keys" HOST "\r\n");
    struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    assert_int_equal(a.status, 200);
    assert_false(client_closed(fd, 500));
    assert_true(client_closed(fd, PATIENCE_MS)); /* less than a body may take */
    assert_true(client_closed(silent, PATIENCE_MS));
}

/* While many slow ones hold connections, a good one is served. */
static void test_slow_many(void **state)
{
    (void)state;
    int fds[40];
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = send_request("POST " SIGN HOST "Content-Le");
    check_works();
    for (size_t i = 0; i < COUNT(fds); i++) {
        assert_true(client_closed(fds[i], PATIENCE_MS));
        fd_close(&fds[i]);
    }
    check_works();
}

/* As many connections as allowed, and all of them wait for the core, so that none has to make room:
 * the next one waits until one of them is gone, which it sees at once and not at a deadline. */
static void test_connections_max(void **state)
{
    (void)state;
    int fds[8];
    struct front_config config = rig_config();
    rig_stop(&rig);
    config.connections_max = COUNT(fds);
    config.requests_max = COUNT(fds);
    config.settings.header_deadline_s = 120;
    config.settings.core_deadline_s = 120;
    rig_start(&rig, config);
    rig_set(&rig, &rig.manual, true);
    for (size_t i = 0; i < COUNT(fds); i++) {
        fds[i] = i % 2 == 0 ? client_unix(&rig) : client_tcp(&rig);
        assert_true(client_send(fds[i], SIGN_ABC, strlen(SIGN_ABC)));
        rig_wait_pending(&rig, i + 1);
    }
    int fd CLEANUP(fd_close) = send_request("GET /health/live" HOST "\r\n");
    struct answered early CLEANUP(answered_free) = client_read(fd, false, 500);
    assert_int_equal(early.status, 0);
    struct rig_request first = rig_next(&rig);
    reply_signed(&first);
    fd_close(&first.body);
    struct answered served CLEANUP(answered_free) = client_read(fds[0], false, PATIENCE_MS);
    assert_int_equal(served.status, 201);
    fd_close(&fds[0]);
    struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    assert_int_equal(a.status, 200);
    for (size_t i = 1; i < COUNT(fds); i++) {
        struct rig_request r = rig_next(&rig);
        reply_signed(&r);
        fd_close(&r.body);
        fd_close(&fds[i]);
    }
    rig_set(&rig, &rig.manual, false);
    check_works();
}

/* Who waits for the core is not slow. */
static void test_slow_core(void **state)
{
    (void)state;
    rig_set(&rig, &rig.manual, true);
    int fd CLEANUP(fd_close) = send_request(SIGN_ABC);
    struct rig_request r = rig_next(&rig);
    assert_false(client_closed(fd, 3000)); /* longer than headers and bodies may take */
    reply_signed(&r);
    struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    assert_int_equal(a.status, 201);
    fd_close(&r.body);
}

/* Queue ------------------------------------------------------------------------------------------
 */

static void test_queue_full(void **state)
{
    (void)state;
    int fds[4];
    rig_set(&rig, &rig.manual, true);
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = send_request(SIGN_ABC);
    rig_wait_pending(&rig, COUNT(fds));
    struct answered a CLEANUP(answered_free) = client_ask(&rig, SIGN_ABC);
    check_refused(&a, 503, "busy");
    /* Reading is not held up by signing. */
    struct answered b CLEANUP(answered_free) = client_get(&rig, "/v1/keys");
    assert_int_equal(b.status, 200);
    for (size_t i = 0; i < COUNT(fds); i++) {
        struct rig_request r = rig_next(&rig);
        reply_signed(&r);
        fd_close(&r.body);
    }
    for (size_t i = 0; i < COUNT(fds); i++) {
        struct answered c CLEANUP(answered_free) = client_read(fds[i], false, PATIENCE_MS);
        assert_int_equal(c.status, 201);
        fd_close(&fds[i]);
    }
    rig_set(&rig, &rig.manual, false);
    check_works();
}

/* Until one of them has something to read. */
static void wait_any(const int *fds, size_t count)
{
    struct pollfd polls[8];
    for (size_t i = 0; i < count; i++)
        polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    assert_true(poll(polls, count, PATIENCE_MS) > 0);
}

/* All of them had room when their headers came; the queue is what counts when the bodies are there.
 */
static void test_queue_full_late(void **state)
{
    (void)state;
    int fds[5];
    int taken = 0;
    check_works();
    rig_set(&rig, &rig.manual, true);
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = send_request("POST " SIGN HOST "Content-Length: 3\r\n\r\nab");
    (void)usleep(100 * 1000);
    for (size_t i = 0; i < COUNT(fds); i++)
        assert_true(client_send(fds[i], "c", 1));
    rig_wait_pending(&rig, 4);
    wait_any(fds, COUNT(fds)); /* the fifth has been refused before there is room again */
    for (int i = 0; i < 4; i++) {
        struct rig_request r = rig_next(&rig);
        reply_signed(&r);
        fd_close(&r.body);
    }
    for (size_t i = 0; i < COUNT(fds); i++) {
        struct answered a CLEANUP(answered_free) = client_read(fds[i], false, PATIENCE_MS);
        if (a.status == 201)
            taken++;
        else
            check_refused(&a, 503, "busy");
        fd_close(&fds[i]);
    }
    assert_int_equal(taken, 4);
}

/* A core that does not read: its socket fills up, requests wait for room, and none is lost. */
static void test_deaf_core(void **state)
{
    (void)state;
    enum { CLIENTS = 200 };
    static int fds[CLIENTS];
    struct front_config config = rig_config();
    rig_stop(&rig);
    config.connections_max = 512;
    config.requests_max = 256;
    rig_start(&rig, config);
    check_works();
    rig_set(&rig, &rig.deaf, true);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = send_request(SIGN_ABC);
    (void)usleep(300 * 1000);
    rig_set(&rig, &rig.deaf, false);
    for (int i = 0; i < CLIENTS; i++) {
        struct answered a CLEANUP(answered_free) = client_read(fds[i], false, PATIENCE_MS);
        assert_int_equal(a.status, 201);
        fd_close(&fds[i]);
    }
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), CLIENTS + 1);
}

static void test_idempotency_in_use(void **state)
{
    (void)state;
#define WITH_KEY(key)                                                                              \
    "POST " BY_WINDOW HOST "Idempotency-Key: " key "\r\nContent-Length: 3\r\n\r\nabc"
    rig_set(&rig, &rig.manual, true);
    int first CLEANUP(fd_close) = send_request(WITH_KEY("\"k1\""));
    rig_wait_pending(&rig, 1);
    struct answered a CLEANUP(answered_free) = client_ask(&rig, WITH_KEY("k1"));
    check_refused(&a, 409, "idempotency-key-in-use");
    /* Another key of the client, and the same key for another signing key, are other requests. */
    int others[2] = {send_request(WITH_KEY("k2")), -1};
    others[1] =
        send_request("POST " SIGN HOST "Idempotency-Key: k1\r\nContent-Length: 3\r\n\r\nabc");
    rig_wait_pending(&rig, 3);
    for (int i = 0; i < 3; i++) {
        struct rig_request r = rig_next(&rig);
        reply_signed(&r);
        fd_close(&r.body);
    }
    struct answered b CLEANUP(answered_free) = client_read(first, false, PATIENCE_MS);
    assert_int_equal(b.status, 201);
    fd_close(&others[0]);
    fd_close(&others[1]);
    rig_set(&rig, &rig.manual, false);
    struct answered c CLEANUP(answered_free) = client_ask(&rig, WITH_KEY("k1"));
    assert_int_equal(c.status, 201);
}

/* Handles ----------------------------------------------------------------------------------------
 */

/* How many handles the front has open; 0 if we may not look. */
static size_t handles(void)
{
    char path[64];
    size_t count = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)rig.front);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

/* What a client has done with may be open for a moment more. */
static size_t handles_now(void)
{
    size_t count = handles();
    for (int still = 0; still < 10;) {
        (void)usleep(10 * 1000);
        size_t again = handles();
        still = again == count ? still + 1 : 0;
        count = again;
    }
    return count;
}

static void check_handles(size_t before)
{
    for (int ms = 0; ms < PATIENCE_MS && handles() != before; ms += 10)
        (void)usleep(10 * 1000);
    assert_int_equal(handles(), before);
}

/* Bodies, payloads and connections are closed, however their requests ended. */
static void test_handles(void **state)
{
    (void)state;
    check_works();
    struct answered a CLEANUP(answered_free) = client_get(&rig, "/v1/keys");
    assert_int_equal(a.status, 200);
    size_t before = handles_now();
    for (int i = 0; i < 20; i++) {
        check_works();
        struct answered b CLEANUP(answered_free) = client_get(&rig, "/v1/keys/nightly/plan");
        assert_int_equal(b.status, 200);
        struct answered c CLEANUP(answered_free) =
            client_ask(&rig, "POST /v1/keys/no-such-key/signatures?version=1" HOST
                             "Content-Length: 3\r\n\r\nabc");
        assert_int_equal(c.status, 404);
    }
    rig_set(&rig, &rig.manual, true);
    int fd = send_request(SIGN_ABC);
    rig_wait_pending(&rig, 1);
    rig_core_kill(&rig);
    struct answered d CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    check_refused(&d, 503, "outcome-unknown");
    fd_close(&fd);
    rig_core_new(&rig);
    check_handles(before);
}

/* A reply that belongs to nobody brings a handle; a request that was never sent has one. */
static void test_handles_dropped(void **state)
{
    (void)state;
    uint8_t signature[RIG_SIGNATURE_LEN] = {0};
    check_works();
    size_t before = handles_now();
    rig_set(&rig, &rig.manual, true);
    int fds[5];
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = send_request("POST " SIGN HOST "Content-Length: 3\r\n\r\nab");
    (void)usleep(100 * 1000);
    for (size_t i = 0; i < COUNT(fds); i++)
        assert_true(client_send(fds[i], "c", 1));
    for (int i = 0; i < 4; i++) {
        struct rig_request r = rig_next(&rig);
        struct reply reply = rig_signed(&rig, &r);
        reply.number += 1000;
        for (int k = 0; k < 5; k++)
            rig_send(&rig, &reply, signature, sizeof(signature));
        fd_close(&r.body);
    }
    for (size_t i = 0; i < COUNT(fds); i++) {
        struct answered a CLEANUP(answered_free) = client_read(fds[i], false, PATIENCE_MS);
        assert_int_equal(a.status, 503);
        fd_close(&fds[i]);
    }
    check_handles(before);
}

/* Clients that leave -----------------------------------------------------------------------------
 */

static void test_client_leaves(void **state)
{
    (void)state;
    rig_set(&rig, &rig.manual, true);
    int fd = send_request(SIGN_ABC);
    struct rig_request r = rig_next(&rig);
    fd_close(&fd);
    (void)usleep(50 * 1000);
    reply_signed(&r);
    fd_close(&r.body);
    rig_set(&rig, &rig.manual, false);
    check_works();
}

/* The core ---------------------------------------------------------------------------------------
 */

static void test_core_dies(void **state)
{
    (void)state;
    check_works(); /* the plan is known from here on */
    rig_set(&rig, &rig.manual, true);
    int fd CLEANUP(fd_close) = send_request(SIGN_ABC);
    rig_wait_pending(&rig, 1);
    rig_core_kill(&rig);
    /* At once, and not when the core's deadline ends. */
    struct answered a CLEANUP(answered_free) = client_read(fd, false, 30000);
    check_refused(&a, 503, "outcome-unknown");
    assert_non_null(strstr(a.body, "safe"));
    assert_non_null(strstr(a.body, "Idempotency-Key"));
    /* Until there is a new one: nothing was sent, so nothing happened. */
    struct answered b CLEANUP(answered_free) = client_ask(&rig, SIGN_ABC);
    check_refused(&b, 503, "starting");
    struct answered c CLEANUP(answered_free) = client_get(&rig, "/v1/keys");
    check_refused(&c, 503, "starting");
    rig_set(&rig, &rig.manual, false);
    rig_core_new(&rig);
    check_works();
    struct answered d CLEANUP(answered_free) = client_get(&rig, "/v1/keys");
    assert_int_equal(d.status, 200);
}

/* A new core while the old one is still there: what the old one had is unknown. */
static void test_core_replaced(void **state)
{
    (void)state;
    check_works();
    rig_set(&rig, &rig.manual, true);
    int fd CLEANUP(fd_close) = send_request(SIGN_ABC);
    rig_wait_pending(&rig, 1);
    for (int i = 0; i < 5; i++) {
        rig_core_kill(&rig);
        rig_core_new(&rig);
    }
    struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    check_refused(&a, 503, "outcome-unknown");
    rig_set(&rig, &rig.manual, false);
    check_works();
}

static void test_core_late(void **state)
{
    (void)state;
    check_works();
    rig_set(&rig, &rig.manual, true);
    int fd CLEANUP(fd_close) = send_request(SIGN_ABC);
    struct rig_request r = rig_next(&rig);
    struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    check_refused(&a, 503, "outcome-unknown");
    /* The late answer belongs to nobody any more, least of all to the next request. */
    int next CLEANUP(fd_close) = send_request(SIGN_ABC);
    struct rig_request r2 = rig_next(&rig);
    reply_signed(&r);
    assert_false(client_closed(next, 200));
    reply_signed(&r2);
    struct answered b CLEANUP(answered_free) = client_read(next, false, PATIENCE_MS);
    assert_int_equal(b.status, 201);
    fd_close(&r.body);
    fd_close(&r2.body);
}

/* Replies that are none: each is dropped, and the right one still counts. */
static void test_core_lies(void **state)
{
    (void)state;
    uint8_t signature[RIG_SIGNATURE_LEN] = {0};
    check_works();
    rig_set(&rig, &rig.manual, true);
    int fd CLEANUP(fd_close) = send_request(SIGN_ABC);
    struct rig_request r = rig_next(&rig);
    for (int lie = 0; lie < 11; lie++) {
        struct reply reply[2] = {rig_signed(&rig, &r)};
        reply[0].magic += lie == 0 ? 1 : 0;
        reply[0].generation += lie == 1 ? 1 : 0;
        reply[0].number += lie == 2 ? 1 : 0;
        reply[0].number += lie == 3 ? (UINT64_C(1) << 40) * 128 : 0; /* same place in the table */
        reply[0].op = lie == 4 ? REQUEST_RECEIPT : reply[0].op;
        reply[0].rc = lie == 5 ? 7777 : reply[0].rc;
        reply[0].payload_len = lie == 6 ? sizeof(signature) : 0; /* and nothing is attached */
        reply[0].payload_len = lie == 9 || lie == 10 ? 8 : reply[0].payload_len;
        if (lie < 6)
            rig_send(&rig, reply, signature, sizeof(signature));
        else if (lie == 6)
            rig_send(&rig, reply, NULL, 0);
        else
            /* More than a reply, less of one; more behind it than it says, less of that. */
            assert_true(send(rig.core, reply,
                             sizeof(reply[0]) + (lie == 7   ? 8
                                                 : lie == 8 ? -8UL
                                                 : lie == 9 ? 9
                                                            : 7),
                             0) > 0);
        if (client_closed(fd, 50))
            fail_msg("lie %d was believed", lie);
    }
    struct reply reply = rig_signed(&rig, &r);
    rig_send(&rig, &reply, NULL, 0);
    struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    /* The last one was a success without a signature: nobody knows what to make of it. */
    check_refused(&a, 503, "outcome-unknown");
    fd_close(&r.body);
    rig_set(&rig, &rig.manual, false);
    check_works();
}

/* A payload of another length than said. */
static void test_core_payload(void **state)
{
    (void)state;
    uint8_t signature[RIG_SIGNATURE_LEN] = {0};
    check_works();
    rig_set(&rig, &rig.manual, true);
    for (size_t len = RIG_SIGNATURE_LEN - 1; len <= RIG_SIGNATURE_LEN + 1; len++) {
        int fd CLEANUP(fd_close) = send_request(SIGN_ABC);
        struct rig_request r = rig_next(&rig);
        struct reply reply = rig_signed(&rig, &r);
        reply.payload_len = len;
        rig_send(&rig, &reply, signature, sizeof(signature));
        struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
        if (len == RIG_SIGNATURE_LEN)
            assert_int_equal(a.status, 201);
        else
            check_refused(&a, 503, "outcome-unknown");
        fd_close(&r.body);
    }
}

/* The plan of another key: nothing is signed under it. */
static void test_core_other_plan(void **state)
{
    (void)state;
    rig_set(&rig, &rig.wrong_plan, true);
    struct answered a CLEANUP(answered_free) = client_ask(&rig, SIGN_ABC);
    check_refused(&a, 500, "internal");
    struct answered b CLEANUP(answered_free) = client_get(&rig, "/v1/keys/nightly/plan");
    check_refused(&b, 500, "internal");
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 0);
    rig_set(&rig, &rig.wrong_plan, false);
    check_works();
}

/* A signature under another plan than the key's: that is asked for again, and then not believed. */
static void test_core_plan(void **state)
{
    (void)state;
    check_works();
    rig_set(&rig, &rig.wrong_hash, true);
    struct answered a CLEANUP(answered_free) = client_ask(&rig, SIGN_ABC);
    check_refused(&a, 503, "outcome-unknown");
    assert_int_equal(rig_count(&rig, REQUEST_PLAN), 2);
    struct answered b CLEANUP(answered_free) = client_get(&rig, "/v1/keys/" RIG_VERSION_KEY);
    check_refused(&b, 500, "internal");
    struct answered c CLEANUP(answered_free) = client_get(&rig, SIGNATURE_PATH);
    check_refused(&c, 500, "internal");
}

/* A core that does not answer cannot keep the front from stopping, and clients are told. */
static void test_stop_gives_up(void **state)
{
    (void)state;
    struct front_control control = {.op = FRONT_STOP};
    rig_set(&rig, &rig.manual, true);
    int fd CLEANUP(fd_close) = send_request(SIGN_ABC);
    rig_wait_pending(&rig, 1);
    assert_int_equal(send(rig.control, &control, sizeof(control), 0), sizeof(control));
    struct answered a CLEANUP(answered_free) = client_read(fd, false, 7000);
    check_refused(&a, 503, "outcome-unknown");
}

/* What the core refuses, as the client sees it. */
static void refuse(struct answered *a, struct reply (*fill)(struct reply), enum rc rc)
{
    int fd CLEANUP(fd_close) = send_request(SIGN_ABC);
    struct rig_request r = rig_next(&rig);
    struct reply reply = fill(rig_reply(&rig, &r.request, rc));
    rig_send(&rig, &reply, NULL, 0);
    *a = client_read(fd, false, PATIENCE_MS);
    fd_close(&r.body);
}

static struct reply fill_bound(struct reply r)
{
    memset(r.bound_sha256, 0x9f, 32);
    r.bound_at_s = 1796722560;
    strcpy(r.bound_request_id, "ci-88123");
    strcpy(r.next_version, "4.2.2");
    strcpy(r.text, "4.2.1 kernel is bound to sha256:9f9f");
    return r;
}

static struct reply fill_full(struct reply r)
{
    r.retry_after_s = 86400;
    r.window = 37;
    r.window_opens_s = 1796722560;
    r.window_limit = 1023;
    return r;
}

static struct reply fill_burned(struct reply r)
{
    r.burned_index = 402101;
    return r;
}

/* Texts that do not end where their fields do. */
static struct reply fill_endless(struct reply r)
{
    memset(r.text, 'A', sizeof(r.text));
    memset(r.next_version, 'B', sizeof(r.next_version));
    memset(r.bound_request_id, 'C', sizeof(r.bound_request_id));
    return r;
}

static struct reply fill_nothing(struct reply r)
{
    return r;
}

static void test_core_refuses(void **state)
{
    (void)state;
    check_works();
    rig_set(&rig, &rig.manual, true);
    struct answered bound CLEANUP(answered_free) = {0};
    refuse(&bound, fill_bound, RC_REFUSED_BOUND);
    json_t *b CLEANUP(release) = check_problem(&bound, 409, "version-already-signed");
    const json_t *to = json_object_get(b, "bound_to");
    assert_string_equal(json_string_value(json_object_get(to, "request_id")), "ci-88123");
    assert_string_equal(json_string_value(json_object_get(b, "next_version")), "4.2.2");
    assert_string_equal(json_string_value(json_object_get(b, "detail")),
                        "4.2.1 kernel is bound to sha256:9f9f");

    struct answered full CLEANUP(answered_free) = {0};
    refuse(&full, fill_full, RC_RETRY_WINDOW_FULL);
    check_refused(&full, 429, "window-full");
    assert_string_equal(answered_header(&full, "Retry-After"), "86400");
    assert_string_equal(answered_header(&full, "RateLimit"), "\"window\";r=0");

    struct answered burned CLEANUP(answered_free) = {0};
    refuse(&burned, fill_burned, RC_BURNED_VERIFY);
    json_t *u CLEANUP(release) = check_problem(&burned, 500, "index-burned");
    assert_int_equal(json_integer_value(json_object_get(u, "index")), 402101);

    struct answered endless CLEANUP(answered_free) = {0};
    refuse(&endless, fill_endless, RC_REFUSED_BOUND);
    json_t *e CLEANUP(release) = check_problem(&endless, 409, "version-already-signed");
    assert_int_equal(json_string_length(json_object_get(e, "detail")), ERR_TEXT_MAX - 1);
    assert_int_equal(json_string_length(json_object_get(e, "next_version")), REQUEST_VERSION_MAX);

    static const struct {
        enum rc rc;
        int status;
        const char *problem;
    } cases[] = {
        {RC_REFUSED_OUTSIDE_PLAN, 422, "version-outside-plan"},
        {RC_REFUSED_BELOW_FLOOR, 409, "version-below-floor"},
        {RC_REFUSED_JUMP, 409, "version-jump"},
        {RC_REFUSED_NOT_OPEN, 409, "window-not-open"},
        {RC_REFUSED_IDEM_MISSING, 400, "idempotency-key-missing"},
        {RC_REFUSED_IDEM_REUSED, 422, "idempotency-key-reused"},
        {RC_REFUSED_EXHAUSTED, 410, "key-exhausted"},
        {RC_REFUSED_NOT_REMOTE, 422, "remote-hashing-off"},
        {RC_REFUSED_EXPIRED, 410, "reservation-expired"},
        {RC_REFUSED_OTHER_HASH, 409, "reservation-spent"},
        {RC_REFUSED_EXPORT, 428, "export-required"},
        {RC_RETRY_RATE, 429, "rate-limited"},
        {RC_RETRY_CLOCK, 503, "clock-unsafe"},
        {RC_RETRY_ANCHOR, 503, "anchor-unavailable"},
        {RC_RETRY_STARTING, 503, "starting"},
        {RC_HALT_LEDGER, 503, "halted"},
        {RC_HALT_REGRESSION, 503, "state-regression"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct answered a CLEANUP(answered_free) = {0};
        refuse(&a, fill_nothing, cases[i].rc);
        check_refused(&a, cases[i].status, cases[i].problem);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
#define FEW(name) cmocka_unit_test_setup_teardown(name, start_few, stop)
#define LATE(name) cmocka_unit_test_setup_teardown(name, start_late, stop)
#define QUICK(name) cmocka_unit_test_setup_teardown(name, start_quick, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_bad_requests),
        TEST(test_long_target),
        TEST(test_smuggling),
        TEST(test_smuggling_problems),
        TEST(test_garbage),
        TEST(test_truncated),
        FEW(test_too_large),
        cmocka_unit_test_setup_teardown(test_spool_full, start_full, stop),
        QUICK(test_slow_header),
        QUICK(test_slow_body),
        TEST(test_idle),
        QUICK(test_slow_many),
        TEST(test_connections_max),
        cmocka_unit_test_setup_teardown(test_slow_core, start_patient, stop),
        FEW(test_queue_full),
        FEW(test_queue_full_late),
        TEST(test_deaf_core),
        TEST(test_idempotency_in_use),
        TEST(test_handles),
        LATE(test_handles_dropped),
        TEST(test_client_leaves),
        TEST(test_core_dies),
        TEST(test_core_replaced),
        LATE(test_core_late),
        TEST(test_core_lies),
        TEST(test_core_payload),
        TEST(test_core_other_plan),
        TEST(test_core_plan),
        cmocka_unit_test_setup_teardown(test_stop_gives_up, start_patient, stop),
        TEST(test_core_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
