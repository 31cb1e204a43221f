/*
 * The pieces of the front that need no socket: header guard, field readers, request targets,
 * routes, problems, JSON, spool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/secmem.h"
#include "http/ack_body.h"
#include "http/answer.h"
#include "http/fields.h"
#include "http/guard.h"
#include "http/openapi.h"
#include "http/print.h"
#include "http/problem.h"
#include "http/routes.h"
#include "http/sign_body.h"
#include "http/spool.h"
#include "http/target.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void release(json_t **json)
{
    json_decref(*json);
}

/* Guard ------------------------------------------------------------------------------------------
 */

static void show(struct guard *g, const char *name, const char *value)
{
    guard_header(g, name, strlen(name), value, strlen(value));
}

/* A guard that has seen Host and these headers, each "Name: value". */
static bool judge(struct guard *g, const char *const *headers, size_t count)
{
    *g = (struct guard){0};
    show(g, "Host", "signer");
    for (size_t i = 0; i < count; i++) {
        const char *colon = strstr(headers[i], ": ");
        guard_header(g, headers[i], (size_t)(colon - headers[i]), colon + 2, strlen(colon + 2));
    }
    return guard_finish(g, "HTTP/1.1");
}

static void test_guard_takes(void **state)
{
    (void)state;
    struct guard g;
    static const char *const headers[] = {"content-length: 12", "Accept: a/b", "accept: c/d",
                                          "X-Other: anything", "Expect: 100-Continue"};
    assert_true(judge(&g, headers, COUNT(headers)));
    assert_int_equal(g.content_length, 12);
    assert_string_equal(guard_value(&g, GUARD_ACCEPT), "a/b, c/d");
    assert_string_equal(guard_value(&g, GUARD_HOST), "signer");
    assert_null(guard_value(&g, GUARD_CONTENT_TYPE));
    assert_true(judge(&g, NULL, 0));
    assert_int_equal(g.content_length, 0);
}

static void test_guard_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *headers[2];
        enum problem_id problem;
    } cases[] = {
        {{"Host: other", NULL}, PROBLEM_BAD_REQUEST},
        {{"Content-Length: 1", "Content-Length: 1"}, PROBLEM_BAD_REQUEST},
        {{"Content-Length: 1", "content-length: 2"}, PROBLEM_BAD_REQUEST},
        {{"Content-Length: 1", "Transfer-Encoding: chunked"}, PROBLEM_BAD_REQUEST},
        {{"Transfer-Encoding: chunked", NULL}, PROBLEM_LENGTH_REQUIRED},
        {{"Transfer-Encoding: xchunked", NULL}, PROBLEM_LENGTH_REQUIRED},
        {{"transfer-encoding: identity, chunked", NULL}, PROBLEM_LENGTH_REQUIRED},
        {{"Content-Length: +1", NULL}, PROBLEM_BAD_REQUEST},
        {{"Content-Length: -1", NULL}, PROBLEM_BAD_REQUEST},
        {{"Content-Length: 1, 1", NULL}, PROBLEM_BAD_REQUEST},
        {{"Content-Length: 0x10", NULL}, PROBLEM_BAD_REQUEST},
        {{"Content-Length: 18446744073709551617", NULL}, PROBLEM_BAD_REQUEST},
        {{"Content-Length: ", NULL}, PROBLEM_BAD_REQUEST},
        {{"Content-Length : 1", NULL}, PROBLEM_BAD_REQUEST}, /* a blank in the name */
        {{"X Y: 1", NULL}, PROBLEM_BAD_REQUEST},
        {{": 1", NULL}, PROBLEM_BAD_REQUEST},
        {{"X-A: a\rb", NULL}, PROBLEM_BAD_REQUEST},
        {{"X-A: a\nb", NULL}, PROBLEM_BAD_REQUEST},
        {{"X-A: a\x7f", NULL}, PROBLEM_BAD_REQUEST},
        {{"Request-Id: a", "Request-Id: a"}, PROBLEM_BAD_REQUEST},
        {{"Idempotency-Key: a", "Idempotency-Key: b"}, PROBLEM_BAD_REQUEST},
        {{"Content-Type: a/b", "Content-Type: a/b"}, PROBLEM_BAD_REQUEST},
        {{"Expect: the-unexpected", NULL}, PROBLEM_BAD_REQUEST},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct guard g;
        if (judge(&g, cases[i].headers, cases[i].headers[1] == NULL ? 1 : 2))
            fail_msg("let through: %s", cases[i].headers[0]);
        assert_int_equal(g.problem, cases[i].problem);
        assert_true(g.detail[0] != '\0');
    }
}

static void test_guard_nul_and_version(void **state)
{
    (void)state;
    struct guard g = {0};
    show(&g, "Host", "x");
    guard_header(&g, "X-A", 3, "a\0b", 3);
    assert_false(guard_finish(&g, "HTTP/1.1"));

    static const char *const versions[] = {"HTTP/1.0", "HTTP/1.9", "HTTP/2.0", "http/1.1", ""};
    for (size_t i = 0; i < COUNT(versions); i++) {
        g = (struct guard){0};
        show(&g, "Host", "x");
        assert_false(guard_finish(&g, versions[i]));
        assert_int_equal(g.problem, PROBLEM_HTTP_VERSION);
    }
    g = (struct guard){0};
    assert_false(guard_finish(&g, "HTTP/1.1")); /* no Host */
}

static void test_guard_bounds(void **state)
{
    (void)state;
    struct guard g = {0};
    char value[GUARD_VALUE_MAX + 2];
    memset(value, 'a', sizeof(value));
    value[GUARD_VALUE_MAX] = '\0';
    show(&g, "Host", "x");
    show(&g, "Accept", value);
    assert_true(guard_finish(&g, "HTTP/1.1"));
    show(&g, "Accept", "a");
    assert_false(guard_finish(&g, "HTTP/1.1"));

    g = (struct guard){0};
    show(&g, "Host", "x");
    for (size_t i = 1; i < GUARD_HEADERS_MAX; i++)
        show(&g, "X-A", "1");
    assert_true(guard_finish(&g, "HTTP/1.1"));
    show(&g, "X-A", "1");
    assert_false(guard_finish(&g, "HTTP/1.1"));
}

/* Fields -----------------------------------------------------------------------------------------
 */

#define SHA256_ABC "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
#define SHA512_ABC                                                                                 \
    "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="

static void test_content_digest(void **state)
{
    (void)state;
    struct content_digest d;
    struct err err = {0};
    uint8_t want[64];
    assert_int_equal(content_digest_parse(&d, NULL, NULL), RC_OK);
    assert_false(d.has_sha256 || d.has_sha512);

    assert_int_equal(content_digest_parse(&d, "sha-256=:" SHA256_ABC ":", &err), RC_OK);
    digest_buffer(DIGEST_SHA256, want, "abc", 3);
    assert_true(d.has_sha256 && !d.has_sha512);
    assert_memory_equal(d.sha256, want, 32);

    assert_int_equal(
        content_digest_parse(&d, "md5=:AAAA:,  sha-512=:" SHA512_ABC ": , sha-256=:" SHA256_ABC ":",
                             &err),
        RC_OK);
    digest_buffer(DIGEST_SHA512, want, "abc", 3);
    assert_true(d.has_sha256 && d.has_sha512);
    assert_memory_equal(d.sha512, want, 64);

    /* Algorithms that we do not know promise nothing to us. */
    assert_int_equal(content_digest_parse(&d, "unixsum=:AAAA:", &err), RC_OK);
    assert_false(d.has_sha256 || d.has_sha512);
}

static void test_content_digest_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "sha-256",
        "sha-256=",
        "sha-256=:" SHA256_ABC,
        "sha-256=" SHA256_ABC,
        "sha-256=::",
        "sha-256=:AAAA:",
        "sha-256=:" SHA512_ABC ":",
        "sha-256=:" SHA256_ABC ": sha-512=:" SHA512_ABC ":",
        "sha-256=:" SHA256_ABC ":,",
        "sha-256=:" SHA256_ABC ":, sha-256=:" SHA256_ABC ":",
        "sha-256=:" SHA256_ABC ":;a=1",
        "SHA-256=:" SHA256_ABC ":",
        "sha-256=:ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0=:", /* another alphabet */
        "sha-256 =:" SHA256_ABC ":",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct content_digest d;
        struct err err = {0};
        if (content_digest_parse(&d, bad[i], &err) != RC_REFUSED_INPUT)
            fail_msg("taken: '%s'", bad[i]);
        assert_false(d.has_sha256 || d.has_sha512);
        assert_true(err.text[0] != '\0');
    }
}

static void test_idempotency_key(void **state)
{
    (void)state;
    char key[IDEMPOTENCY_KEY_MAX + 1];
    char other[IDEMPOTENCY_KEY_MAX + 1];
    assert_int_equal(idempotency_key_parse(key, "\"build 17\"", NULL), RC_OK);
    assert_string_equal(key, "build 17");
    assert_int_equal(idempotency_key_parse(key, "\"ci-88123\"", NULL), RC_OK);
    assert_int_equal(idempotency_key_parse(other, "ci-88123", NULL), RC_OK);
    assert_string_equal(key, other);

    char longest[IDEMPOTENCY_KEY_MAX + 4];
    memset(longest, 'k', sizeof(longest));
    longest[IDEMPOTENCY_KEY_MAX] = '\0';
    assert_int_equal(idempotency_key_parse(key, longest, NULL), RC_OK);
    assert_int_equal(strlen(key), IDEMPOTENCY_KEY_MAX);
    longest[IDEMPOTENCY_KEY_MAX] = 'k';
    longest[IDEMPOTENCY_KEY_MAX + 1] = '\0';
    assert_int_equal(idempotency_key_parse(key, longest, NULL), RC_REFUSED_INPUT);
    assert_string_equal(key, "");

    static const char *const bad[] = {"",    "\"\"",       "\"",       "\"a",      "a\"",
                                      "a b", "\"a\\\"b\"", "\"a\"b\"", "\xc3\xa4", "\"a\tb\""};
    for (size_t i = 0; i < COUNT(bad); i++)
        if (idempotency_key_parse(key, bad[i], NULL) != RC_REFUSED_INPUT)
            fail_msg("taken: '%s'", bad[i]);
}

static void test_accept(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        bool bare, neither;
    } cases[] = {
        {NULL, false, false},
        {"*/*", false, false},
        {"application/json", false, false},
        {"application/octet-stream", true, false},
        {"Application/Octet-Stream", true, false},
        {"application/*", false, false},
        {"application/json;q=0.5, application/octet-stream", true, false},
        {"application/octet-stream;q=0.5, */*", false, false},
        {"application/octet-stream, */*;q=0.1", true, false},
        {"application/octet-stream;q=0, */*;q=0.1", false, false},
        {"application/json; q=0, */*", true, false},
        {"text/html", false, true},
        {"text/html;q=1, application/octet-stream;q=0.001", true, false},
        {"application/jsonx", false, true},
        {"*/*;q=0", false, true},
        {"", false, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        bool neither = false;
        bool bare = accept_bare(cases[i].accept, &neither);
        if (bare != cases[i].bare || neither != cases[i].neither)
            fail_msg("Accept: %s", cases[i].accept);
    }
    assert_int_equal(accept_quality("a/b;q=0.8", "a/b"), 800);
    assert_int_equal(accept_quality("a/b;x=1;q=0.123", "a/b"), 123);
    assert_int_equal(accept_quality("a/b;q=1.5", "a/b"), 1000);
    assert_int_equal(accept_quality("a/b;q=rubbish", "a/b"), 0);
    assert_int_equal(accept_quality("a/b;q=", "a/b"), 0);
}

static void test_etag_named(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        bool named;
    } cases[] = {
        {NULL, false},
        {"\"abc\"", true},
        {"W/\"abc\"", true},
        {"*", true},
        {" * ", true},
        {"\"x\", \"abc\"", true},
        {"\"abc\",W/\"x\"", true},
        {"\"a,\" , \"abc\"", true}, /* a comma may stand inside */
        {"\"x,\\\",\"abc\"", true}, /* and a backslash escapes nothing */
        {"\"\", \"abc\"", true},
        {"", false},
        {"abc", false},
        {"\"abcd\"", false},
        {"\"ab\"", false},
        {"\"ABC\"", false},
        {"\"abc", false},
        {"w/\"abc\"", false},
        {"\"abc\" \"x\"", false},
        {"\"abc\",", false},
        {"\"abc\", rubbish", false},
        {"\"a bc\", \"abc\"", false},
        {"*, \"abc\"", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        if (etag_named(cases[i].value, "\"abc\"") != cases[i].named)
            fail_msg("If-None-Match: %s", cases[i].value);
}

static void test_small_fields(void **state)
{
    (void)state;
    assert_true(media_type_is("application/json", "application/json"));
    assert_true(media_type_is(" Application/JSON ; charset=utf-8", "application/json"));
    assert_false(media_type_is("application/jsonx", "application/json"));
    assert_false(media_type_is("application/json text", "application/json"));
    assert_false(media_type_is("", "application/json"));
    char id[REQUEST_ID_MAX + 2];
    memset(id, 'r', sizeof(id));
    id[REQUEST_ID_MAX + 1] = '\0';
    assert_false(request_id_valid(id));
    id[REQUEST_ID_MAX] = '\0';
    assert_true(request_id_valid(id));
    assert_false(request_id_valid(""));
    assert_false(request_id_valid("a\"b"));
}

/* Targets and routes -----------------------------------------------------------------------------
 */

static void test_target(void **state)
{
    (void)state;
    struct target t;
    struct err err = {0};
    assert_int_equal(target_parse(&t, "/v1/keys/%61bc?version=4%2e2.1&x&y=", &err), RC_OK);
    assert_int_equal(t.segment_count, 3);
    assert_string_equal(t.segments[2], "abc");
    assert_int_equal(t.param_count, 3);
    assert_string_equal(target_param(&t, "version"), "4.2.1");
    assert_string_equal(target_param(&t, "x"), "");
    assert_string_equal(target_param(&t, "y"), "");
    assert_null(target_param(&t, "z"));

    assert_int_equal(target_parse(&t, "/?", &err), RC_OK);
    assert_int_equal(t.segment_count, 1);
    assert_string_equal(t.segments[0], "");
    assert_int_equal(t.param_count, 0);

    assert_int_equal(target_parse(&t, "HTTP://signer:80/health/live?a=b=c", &err), RC_OK);
    assert_string_equal(t.segments[0], "health");
    assert_string_equal(target_param(&t, "a"), "b=c");
    assert_int_equal(target_parse(&t, "/a?v=1+2", &err), RC_OK);
    assert_string_equal(target_param(&t, "v"), "1+2");
}

static void test_target_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "*",
        "v1/keys",
        "http://signer",
        "ftp://signer/a",
        "/a%",
        "/a%4",
        "/a%zz",
        "/a%00b",
        "/a%2fb",
        "/a%0d%0ab",
        "/a%7f",
        "/a%ff",
        "/a b",
        "/a#b",
        "/a\tb",
        "/a\x80",
        "/a?x=%00",
        "/a?x=1&x=1",
        "/a?x=1&x=2",
        "/a?x&%78",
        "/a?=1",
        "/a?x=1&",
        "/a?&x=1",
        "/a?x=1&&y=1",
        "/a?x=1#y",
        "/1/2/3/4/5/6/7/8/9",
        "/a?a&b&c&d&e&f&g&h&i",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct target t;
        struct err err = {0};
        if (target_parse(&t, bad[i], &err) != RC_REFUSED_INPUT)
            fail_msg("taken: '%s'", bad[i]);
        assert_int_equal(t.segment_count, 0);
        assert_true(err.text[0] != '\0');
    }
    char text[TARGET_LEN_MAX + 2];
    struct target t;
    memset(text, 'a', sizeof(text));
    text[0] = '/';
    text[TARGET_LEN_MAX + 1] = '\0';
    assert_int_equal(target_parse(&t, text, NULL), RC_REFUSED_TOO_LARGE);
    text[TARGET_LEN_MAX] = '\0';
    assert_int_equal(target_parse(&t, text, NULL), RC_OK);
    /* The longest store: all parts, all parameters. */
    assert_int_equal(target_parse(&t, "/1/2/3/4/5/6/7/8?a=&b=&c=&d=&e=&f=&g=&h=", NULL), RC_OK);
}

static void test_target_allow(void **state)
{
    (void)state;
    struct target t;
    struct err err = {0};
    assert_int_equal(target_parse(&t, "/a?from=1&to=2", NULL), RC_OK);
    assert_int_equal(target_allow(&t, "from to cursor", &err), RC_OK);
    assert_int_equal(target_allow(&t, "cursor from", &err), RC_REFUSED_INPUT);
    assert_non_null(strstr(err.text, "'to'"));
    assert_non_null(strstr(err.text, "cursor from"));
    err = (struct err){0};
    assert_int_equal(target_allow(&t, "", &err), RC_REFUSED_INPUT);
    assert_int_equal(target_parse(&t, "/a?fro=1", NULL), RC_OK);
    assert_int_equal(target_allow(&t, "from to", NULL), RC_REFUSED_INPUT);
}

static enum route_result find(struct exchange *x, const char *method, const char *target)
{
    char allow[ROUTES_ALLOW_SIZE];
    memset(x, 0, sizeof(*x));
    assert_int_equal(target_parse(&x->target, target, NULL), RC_OK);
    return routes_find(x, method, allow);
}

static void test_routes(void **state)
{
    (void)state;
    struct exchange *x = calloc(1, sizeof(*x));
    assert_non_null(x);
    assert_int_equal(find(x, "POST", "/v1/keys/router-fw/signatures"), ROUTE_FOUND);
    assert_string_equal(x->key, "router-fw");
    assert_ptr_equal(x->route->start, sign_start);
    assert_int_equal(find(x, "GET", "/v1/keys/a/windows/9223372036854775807"), ROUTE_FOUND);
    assert_true(x->number == INT64_MAX);
    assert_int_equal(
        find(x, "HEAD", "/v1/keys/a/signatures/00112233445566778899aabbccddeeff/receipt"),
        ROUTE_FOUND);
    assert_int_equal(x->id[15], 0xff);

    static const char *const nowhere[] = {
        "/",
        "/v1",
        "/v1/",
        "/v1/keys/",
        "/v1/keys/a/",
        "/v1//keys",
        "/v1/keys/../plan",
        "/v1/keys/.a",
        "/v1/keys/a%20b",
        "/v1/keys/a/windows/01",
        "/v1/keys/a/windows/-1",
        "/v1/keys/a/windows/9223372036854775808",
        "/v1/keys/a/signatures/00112233445566778899aabbccddeef",
        "/v1/keys/a/signatures/00112233445566778899aabbccddeeff/x",
        "/v1/keys/a/signatures:pack",
        "/V1/keys",
        "/v1/keys/0123456789012345678901234567890123456789012345678901234567890123",
    };
    for (size_t i = 0; i < COUNT(nowhere); i++)
        if (find(x, "GET", nowhere[i]) != ROUTE_NO_PATH)
            fail_msg("found: %s", nowhere[i]);

    char allow[ROUTES_ALLOW_SIZE];
    assert_int_equal(find(x, "DELETE", "/v1/keys"), ROUTE_NO_METHOD);
    assert_int_equal(routes_find(x, "get", allow), ROUTE_NO_METHOD);
    assert_string_equal(allow, "GET, HEAD");
    assert_int_equal(find(x, "GET", "/v1/keys/a/signatures"), ROUTE_NO_METHOD);
    assert_int_equal(routes_find(x, "HEAD", allow), ROUTE_NO_METHOD);
    assert_string_equal(allow, "POST");
    free(x);
}

/* The JSON form of a signing request -------------------------------------------------------------
 */

#define HEX_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static enum rc parse_body(struct request *r, const char *text, struct err *err)
{
    memset(r, 0, sizeof(*r));
    *err = (struct err){0};
    return sign_body_parse(r, text, strlen(text), err);
}

static void test_sign_body(void **state)
{
    (void)state;
    struct request r;
    struct err err;
    uint8_t want[32];
    digest_buffer(DIGEST_SHA256, want, "abc", 3);
    assert_int_equal(parse_body(&r,
                                "{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"version\":\"4.2.1\","
                                "\"slot\":\"kernel\"}",
                                &err),
                     RC_OK);
    assert_int_equal(r.by, REQUEST_BY_VERSION);
    assert_int_equal(r.body, REQUEST_BODY_DIGEST);
    assert_int_equal(r.digest_kind, DIGEST_SHA256);
    assert_memory_equal(r.digest, want, 32);
    assert_string_equal(r.version, "4.2.1");
    assert_string_equal(r.slot, "kernel");
    assert_int_equal(
        parse_body(&r, " {\"window\":\"current\",\"digest\":{\"sha512\":\"" HEX_ABC HEX_ABC "\"}}",
                   &err),
        RC_OK);
    assert_int_equal(r.by, REQUEST_BY_WINDOW);
    assert_int_equal(r.digest_kind, DIGEST_SHA512);
}

static void test_sign_body_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "JSON"},
        {"{", "JSON"},
        {"[]", "JSON object"},
        {"null", "JSON object"},
        {"{} x", "JSON"},
        {"{}", "digest"},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"}}", "version="},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"version\":\"1\",\"version\":\"1\"}",
         "duplicate"},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"version\":\"1\",\"wibble\":1}", "'wibble'"},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"version\":1}", "'version'"},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"version\":\"\"}", "version"},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"version\":\"1\\\"\"}", "version"},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"version\":\"1\\u0000\"}", "JSON"},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"version\":\"1\",\"slot\":\"\"}", "slot"},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"version\":\"1\",\"slot\":\"a/b\"}", "slot"},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"window\":\"next\"}", "window"},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"window\":\"current\",\"version\":\"1\"}",
         "version="},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\"},\"window\":\"current\",\"slot\":\"a\"}",
         "window"},
        {"{\"digest\":\"" HEX_ABC "\",\"version\":\"1\"}", "digest"},
        {"{\"digest\":{},\"version\":\"1\"}", "digest"},
        {"{\"digest\":{\"sha1\":\"00\"},\"version\":\"1\"}", "'sha1'"},
        {"{\"digest\":{\"sha256\":\"00\"},\"version\":\"1\"}", "64 hex"},
        {"{\"digest\":{\"sha256\":\"" HEX_ABC "\",\"sha512\":\"" HEX_ABC HEX_ABC
         "\"},\"version\":\"1\"}",
         "one member"},
        {"{\"digest\":{\"sha256\":5},\"version\":\"1\"}", "hex"},
    };
    struct request zero = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct request r;
        struct err err;
        enum rc rc = parse_body(&r, cases[i].text, &err);
        if (rc != RC_REFUSED_INPUT || strstr(err.text, cases[i].says) == NULL)
            fail_msg("%s: %s %s", cases[i].text, rc_name(rc), err.text);
        assert_memory_equal(&r, &zero, sizeof(r));
    }
    struct request r = {0};
    char *big = calloc(1, SIGN_BODY_MAX + 1);
    assert_non_null(big);
    memset(big, ' ', SIGN_BODY_MAX + 1);
    assert_int_equal(sign_body_parse(&r, big, SIGN_BODY_MAX + 1, NULL), RC_REFUSED_TOO_LARGE);
    assert_int_equal(sign_body_parse(&r, big, SIGN_BODY_MAX, NULL), RC_REFUSED_INPUT);
    free(big);
}

/* Problems ---------------------------------------------------------------------------------------
 */

/* What an operator acknowledges with is read whole or not at all. */
static void test_ack_bodies(void **state)
{
    (void)state;
    static const char *const clocks[] = {
        "",
        "[]",
        "{\"id\":1,\"windows\":2}",
        "{\"id\":1,\"windows\":2,\"utc\":\"2026-11-25T10:00:00Z\",\"more\":1}",
        "{\"id\":1,\"id\":1,\"windows\":2,\"utc\":\"2026-11-25T10:00:00Z\"}",
        "{\"id\":-1,\"windows\":2,\"utc\":\"2026-11-25T10:00:00Z\"}",
        "{\"id\":1,\"windows\":2.0,\"utc\":\"2026-11-25T10:00:00Z\"}",
        "{\"id\":1,\"windows\":2,\"utc\":\"tomorrow\"}",
        "{\"id\":1,\"windows\":2,\"utc\":7}",
    };
    static const char *const warnings[] = {"", "{}", "{\"sentence\":1}",
                                           "{\"sentence\":\"a\",\"more\":1}", "[\"sentence\"]"};
    static const char clock[] = "{\"id\":1,\"windows\":2,\"utc\":\"2026-11-25T10:00:00Z\"}";
    static const char sentence[] = "{\"sentence\":\"I know\"}";
    char longest[WARNING_SENTENCE_SIZE + 32];
    struct request r = {0};
    const struct request zero = {0};
    for (size_t i = 0; i < COUNT(clocks); i++)
        assert_int_equal(clock_ack_body_parse(&r, clocks[i], strlen(clocks[i]), NULL),
                         RC_REFUSED_INPUT);
    for (size_t i = 0; i < COUNT(warnings); i++)
        assert_int_equal(warning_ack_body_parse(&r, warnings[i], strlen(warnings[i]), NULL),
                         RC_REFUSED_INPUT);
    int len =
        snprintf(longest, sizeof(longest), "{\"sentence\":\"%0*d\"}", WARNING_SENTENCE_SIZE, 0);
    assert_int_equal(warning_ack_body_parse(&r, longest, (size_t)len, NULL), RC_REFUSED_INPUT);
    assert_memory_equal(&r, &zero, sizeof(r));
    len =
        snprintf(longest, sizeof(longest), "{\"sentence\":\"%0*d\"}", WARNING_SENTENCE_SIZE - 1, 0);
    assert_int_equal(warning_ack_body_parse(&r, longest, (size_t)len, NULL), RC_OK);

    assert_int_equal(clock_ack_body_parse(&r, clock, strlen(clock), NULL), RC_OK);
    assert_int_equal(warning_ack_body_parse(&r, sentence, strlen(sentence), NULL), RC_OK);
    assert_true(r.ack_id == 1 && r.ack_windows == 2 && r.ack_utc_s == 1795600800);
    assert_string_equal(r.sentence, "I know");
}

static void test_problem_classes(void **state)
{
    (void)state;
    /* What a class promises about the index must be what the status says (STYLE section 5). */
#define X(name, class, n, text)                                                                    \
    {                                                                                              \
        const struct problem *p = problem_get(problem_of_rc(name));                                \
        enum rc_class c = rc_class(name);                                                          \
        bool internal = p == problem_get(PROBLEM_INTERNAL);                                        \
        if (c == RC_CLASS_REFUSED && !internal)                                                    \
            assert_in_range(p->status, 400, 499);                                                  \
        if (c == RC_CLASS_RETRY)                                                                   \
            assert_true(p->status == 503 || p->status == 429);                                     \
        if (c == RC_CLASS_BURNED)                                                                  \
            assert_ptr_equal(p, problem_get(PROBLEM_INDEX_BURNED));                                \
        if (c == RC_CLASS_HALT)                                                                    \
            assert_int_equal(p->status, 503);                                                      \
    }
    RC_LIST(X)
#undef X
    assert_int_equal(problem_of_rc(RC_OK), PROBLEM_INTERNAL);
    assert_int_equal(problem_of_rc((enum rc)12345), PROBLEM_INTERNAL);
}

static void test_problem_promises(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned status;
    } promised[] = {
        {"version-already-signed", 409},
        {"version-below-floor", 409},
        {"version-outside-plan", 422},
        {"window-not-open", 409},
        {"window-full", 429},
        {"rate-limited", 429},
        {"exhaustion-ack-required", 428},
        {"key-exhausted", 410},
        {"clock-unsafe", 503},
        {"state-regression", 503},
        {"anchor-unavailable", 503},
        {"halted", 503},
        {"digest-mismatch", 400},
        {"too-large", 413},
        {"unauthorised", 401},
        {"forbidden", 403},
        {"idempotency-key-missing", 400},
        {"idempotency-key-reused", 422},
        {"index-burned", 500},
    };
    for (size_t i = 0; i < COUNT(promised); i++) {
        const struct problem *p = problem_by_name(promised[i].name);
        assert_non_null(p);
        assert_int_equal(p->status, promised[i].status);
    }
    assert_null(problem_by_name("no-such"));
    for (int i = 0; i < PROBLEM_COUNT; i++) {
        const struct problem *p = problem_get((enum problem_id)i);
        assert_true(name_valid(p->name)); /* a page can be asked for it */
        assert_ptr_equal(problem_by_name(p->name), p);
    }
}

static json_t *problem_json(const struct problem *p, const char *detail, const struct reply *reply)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    problem_print(&j, p, detail, "req-1", reply);
    assert_true(jcs_finish(&j));
    json_t *json = json_loadb(j.text, j.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    return json;
}

static const char *text_of(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static void test_problem_bound(void **state)
{
    (void)state;
    struct reply reply = {.rc = RC_REFUSED_BOUND,
                          .retry_after_s = REQUEST_NONE,
                          .burned_index = REQUEST_NONE,
                          .window = 130,
                          .window_opens_s = REQUEST_NONE,
                          .bound_at_s = 1796722560,
                          .bound_request_id = "ci-88123",
                          .next_version = "4.2.2"};
    memset(reply.bound_sha256, 0x9f, 32);
    json_t *json CLEANUP(release) =
        problem_json(problem_get(problem_of_rc(RC_REFUSED_BOUND)), "taken", &reply);
    const json_t *bound = json_object_get(json, "bound_to");
    assert_string_equal(text_of(json, "type"), "/problems/version-already-signed");
    assert_int_equal(json_integer_value(json_object_get(json, "status")), 409);
    assert_string_equal(text_of(json, "next_version"), "4.2.2");
    assert_string_equal(text_of(json, "code"), "RC_REFUSED_BOUND");
    assert_string_equal(text_of(json, "request_id"), "req-1");
    assert_int_equal(json_integer_value(json_object_get(json, "window")), 130);
    assert_int_equal(strlen(text_of(bound, "artifact_sha256")), 64);
    assert_string_equal(text_of(bound, "signed_at"), "2026-12-08T09:36:00Z");
    assert_string_equal(text_of(bound, "request_id"), "ci-88123");
    assert_null(json_object_get(json, "index"));
    assert_null(json_object_get(json, "state"));
    assert_null(json_object_get(json, "opens"));
    assert_null(json_object_get(json, "retry_after_s"));
}

static void test_problem_members(void **state)
{
    (void)state;
    struct reply reply = {.rc = RC_BURNED_VERIFY,
                          .retry_after_s = 17,
                          .burned_index = INT64_C(1) << 60,
                          .window = REQUEST_NONE,
                          .window_opens_s = 1796722560};
    json_t *burned CLEANUP(release) =
        problem_json(problem_get(PROBLEM_INDEX_BURNED), "odd \xff\n text", &reply);
    assert_string_equal(text_of(burned, "index"), "1152921504606846976");
    assert_string_equal(text_of(burned, "detail"), "odd ?? text");
    assert_string_equal(text_of(burned, "opens"), "2026-12-08T09:36:00Z");
    assert_int_equal(json_integer_value(json_object_get(burned, "retry_after_s")), 17);
    assert_null(json_object_get(burned, "bound_to"));

    reply.rc = RC_RETRY_CLOCK;
    reply.state = STATE_CLOCK_UNSAFE;
    json_t *clock CLEANUP(release) = problem_json(problem_get(PROBLEM_CLOCK_UNSAFE), "x", &reply);
    assert_string_equal(text_of(clock, "state"), "ClockUnsafe");
    assert_null(json_object_get(clock, "index"));

    json_t *plain CLEANUP(release) = problem_json(problem_get(PROBLEM_NOT_FOUND), "x", NULL);
    assert_null(json_object_get(plain, "code"));
}

/* Answers ----------------------------------------------------------------------------------------
 */

static const char *header_of(const struct answer *a, const char *name)
{
    for (size_t i = 0; i < a->header_count; i++)
        if (strcmp(a->headers[i].name, name) == 0)
            return a->headers[i].value;
    return NULL;
}

static void test_answer_retry_after(void **state)
{
    (void)state;
    struct answer a CLEANUP(answer_wipe) = {0};
    struct reply reply = {.rc = RC_RETRY_WINDOW_FULL, .retry_after_s = 86400};
    answer_problem(&a, PROBLEM_WINDOW_FULL, "full", "r", &reply);
    assert_true(a.ready);
    assert_int_equal(a.status, 429);
    assert_string_equal(a.content_type, "application/problem+json");
    assert_string_equal(header_of(&a, "Retry-After"), "86400");
    answer_wipe(&a);
    answer_problem(&a, PROBLEM_STARTING, "not yet", "r", NULL);
    assert_string_equal(header_of(&a, "Retry-After"), "1");
    answer_wipe(&a);
    answer_problem(&a, PROBLEM_NOT_FOUND, "nothing", "r", NULL);
    assert_null(header_of(&a, "Retry-After"));
}

static void test_answer_limits(void **state)
{
    (void)state;
    struct answer a CLEANUP(answer_wipe) = {0};
    struct reply reply = {.window_limit = 1023,
                          .window_remaining = 7,
                          .window_reset_s = 3600,
                          .rate_limit = UINT64_MAX,
                          .rate_remaining = UINT64_MAX,
                          .rate_reset_s = INT64_MAX};
    answer_limits(&a, &reply, 604800);
    assert_string_equal(header_of(&a, "RateLimit-Policy"),
                        "\"window\";q=1023;w=604800, \"rate\";q=999999999999999");
    assert_string_equal(header_of(&a, "RateLimit"),
                        "\"window\";r=7;t=3600, \"rate\";r=999999999999999;"
                        "t=999999999999999");
    answer_wipe(&a);
    reply = (struct reply){.window_limit = UINT64_MAX,
                           .window_remaining = UINT64_MAX,
                           .window_reset_s = INT64_MAX,
                           .share_limit = UINT64_MAX,
                           .share_remaining = 3,
                           .rate_limit = UINT64_MAX,
                           .rate_window_s = INT64_MAX,
                           .rate_reset_s = INT64_MAX,
                           .caller_rate_limit = 4,
                           .caller_rate_remaining = 2,
                           .caller_rate_window_s = 240,
                           .caller_rate_reset_s = 30};
    answer_limits(&a, &reply, INT64_MAX);
    assert_non_null(strstr(header_of(&a, "RateLimit-Policy"), ", \"caller-rate\";q=4;w=240"));
    assert_non_null(strstr(header_of(&a, "RateLimit"), ", \"caller\";r=3;t=999999999999999, "));
    assert_non_null(strstr(header_of(&a, "RateLimit"), ", \"caller-rate\";r=2;t=30"));
    answer_wipe(&a);
    reply = (struct reply){.rate_limit = 60, .rate_remaining = 0, .rate_reset_s = REQUEST_NONE};
    answer_limits(&a, &reply, 0);
    assert_string_equal(header_of(&a, "RateLimit-Policy"), "\"rate\";q=60");
    assert_string_equal(header_of(&a, "RateLimit"), "\"rate\";r=0");
    answer_wipe(&a);
    reply = (struct reply){0};
    answer_limits(&a, &reply, 0);
    assert_int_equal(a.header_count, 0);
}

/* JSON of views: hostile texts stay inside their fields and inside UTF-8. */
static void test_print_hostile(void **state)
{
    (void)state;
    struct view_key key;
    struct plan_facts facts = {.parameter_count = 1};
    struct reply reply = {.tpm_virtual = true};
    struct jcs j CLEANUP(jcs_wipe) = {0};
    memset(&key, 0xff, sizeof(key));
    key_terminate(&key);
    key.state = 99;
    strcpy(facts.parameters[0], "P");
    strcpy(reply.tpm, "\x01\xc3(");
    print_key(&j, &key, &facts, &reply);
    assert_true(jcs_finish(&j));
    json_t *json CLEANUP(release) = json_loadb(j.text, j.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_int_equal(strlen(text_of(json, "key")), NAME_LEN_MAX);
    assert_string_equal(text_of(json_object_get(json, "tpm"), "description"), "??"
                                                                              "(");
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "warnings"), 0)),
                        ANSWER_VIRTUAL_TPM);
    /* Lengths beyond their fields count for nothing. */
    assert_int_equal(key.public_key_len, 0);
    assert_int_equal(key.spki_len, 0);
}

/* What a core that was taken over says of a preview and of a warning is JSON all the same: the name
 * of the key stands in a path, too, and a truth value is true or false. */
static void test_print_lies(void **state)
{
    (void)state;
    static struct reply reply;
    const struct plan_facts facts = {.kind = PLAN_VERSION};
    struct view_warning warning = {.id = 1};
    struct jcs j CLEANUP(jcs_wipe) = {0};
    struct jcs k CLEANUP(jcs_wipe) = {0};
    memset(&reply, 0xff, sizeof(reply));
    reply_terminate(&reply);
    print_preview(&j, &reply, &facts);
    assert_true(jcs_finish(&j));
    json_t *json CLEANUP(release) = json_loadb(j.text, j.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    assert_non_null(strstr(text_of(json, "signature"), "/v1/keys/???"));

    memset(&warning.acknowledged, 2, 1);
    memset(warning.sentence, 'x', sizeof(warning.sentence));
    warning_terminate(&warning);
    assert_int_equal(strlen(warning.sentence), WARNING_SENTENCE_SIZE - 1);
    print_warning(&k, &warning);
    assert_true(jcs_finish(&k));
    json_t *said CLEANUP(release) = json_loadb(k.text, k.len, JSON_REJECT_DUPLICATES, NULL);
    uint8_t byte = 0;
    memcpy(&byte, &warning.acknowledged, 1);
    assert_int_equal(byte, 1);
    assert_true(json_is_true(json_object_get(said, "acknowledged")));
}

/* A window that was opened early says by how much, and its key which one it is; others do not. */
static void test_print_early(void **state)
{
    (void)state;
    for (int early = 0; early < 2; early++) {
        struct view_key key = {.floor = 4,
                               .open_window = 4,
                               .early_window = early != 0 ? 4 : REQUEST_NONE,
                               .export_limit = REQUEST_NONE};
        struct view_window window = {
            .window = 4, .opens_s = 1796515200, .closes_s = 1797120000, .lead_s = early * 3600};
        const struct plan_facts facts = {.kind = PLAN_TIME};
        const struct reply reply = {0};
        struct jcs j CLEANUP(jcs_wipe) = {0};
        print_key(&j, &key, &facts, &reply);
        assert_true(jcs_finish(&j));
        json_t *json CLEANUP(release) = json_loadb(j.text, j.len, JSON_REJECT_DUPLICATES, NULL);
        const json_t *shown = json_object_get(json_object_get(json, "windows"), "early");
        assert_true(early != 0 ? json_integer_value(shown) == 4 : json_is_null(shown));
        struct jcs k CLEANUP(jcs_wipe) = {0};
        print_window(&k, &window);
        assert_true(jcs_finish(&k));
        json_t *list CLEANUP(release) = json_loadb(k.text, k.len, JSON_REJECT_DUPLICATES, NULL);
        shown = json_object_get(list, "lead_seconds");
        assert_true(early != 0 ? json_integer_value(shown) == 3600 : shown == NULL);
    }
}

/* Spool ------------------------------------------------------------------------------------------
 */

/* The smallest bodies need no file, and are handed over as they are. */
static void test_spool_bytes(void **state)
{
    (void)state;
    struct spool s CLEANUP(spool_close) = SPOOL_CLOSED;
    const struct content_digest promised = {0};
    uint8_t sha256[32], want[32];
    char back[3];
    uint8_t *bytes = NULL;
    digest_buffer(DIGEST_SHA256, want, "abc", 3);
    assert_int_equal(spool_open(&s, 3, 3, -1, false, NULL), RC_OK);
    assert_true(spool_is_open(&s));
    assert_int_equal(spool_write(&s, "a", 1, NULL), RC_OK);
    assert_int_equal(spool_write(&s, "bc", 2, NULL), RC_OK);
    assert_int_equal(spool_write(&s, "d", 1, NULL), RC_REFUSED_TOO_LARGE);
    assert_int_equal(spool_finish(&s, &promised, sha256, NULL), RC_OK);
    assert_memory_equal(sha256, want, 32);
    assert_true(spool_read(&s, back));
    assert_memory_equal(back, "abc", 3);
    assert_int_equal(spool_take(&s, &bytes), -1);
    assert_memory_equal(bytes, "abc", 3);
    assert_false(spool_is_open(&s));
    free(bytes);
}

static void test_spool_memory(void **state)
{
    (void)state;
    const size_t len = REQUEST_BEHIND_MAX + 1;
    static char text[REQUEST_BEHIND_MAX + 1], back[REQUEST_BEHIND_MAX + 1];
    struct spool s CLEANUP(spool_close) = SPOOL_CLOSED;
    struct content_digest promised;
    uint8_t sha256[32];
    uint8_t *bytes = NULL;
    for (size_t i = 0; i < len; i++)
        text[i] = (char)(i * 7);
    promised = (struct content_digest){.has_sha256 = true, .has_sha512 = true};
    digest_buffer(DIGEST_SHA256, promised.sha256, text, len);
    digest_buffer(DIGEST_SHA512, promised.sha512, text, len);
    assert_int_equal(spool_open(&s, len, len, -1, true, NULL), RC_OK);
    assert_int_equal(spool_write(&s, text, 1, NULL), RC_OK);
    assert_int_equal(spool_write(&s, text + 1, len - 1, NULL), RC_OK);
    assert_int_equal(spool_write(&s, "d", 1, NULL), RC_REFUSED_TOO_LARGE);
    assert_int_equal(spool_finish(&s, &promised, sha256, NULL), RC_OK);
    assert_memory_equal(sha256, promised.sha256, 32);
    memset(back, 0, len);
    assert_true(spool_read(&s, back));
    assert_memory_equal(back, text, len);
    int fd CLEANUP(fd_close) = spool_take(&s, &bytes);
    assert_null(bytes);
    assert_int_equal(s.fd, -1);
    assert_true(pread_full(fd, back, len, 0));
    assert_memory_equal(back, text, len);
    /* Nobody can change it any more, not even we. */
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 0), -1);
}

static void test_spool_file(void **state)
{
    (void)state;
    struct spool s CLEANUP(spool_close) = SPOOL_CLOSED;
    const struct content_digest promised = {0};
    uint8_t sha256[32];
    struct stat status;
    char dir[] = "/tmp/tidemark-spool-XXXXXX";
    assert_non_null(mkdtemp(dir));
    int dirfd CLEANUP(fd_close) = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(spool_open(&s, 4, 3, dirfd, false, NULL), RC_OK);
    assert_int_equal(spool_write(&s, "abcd", 4, NULL), RC_OK);
    assert_int_equal(spool_finish(&s, &promised, sha256, NULL), RC_OK);
    assert_int_equal(fstat(s.fd, &status), 0);
    assert_int_equal(status.st_nlink, 0); /* it has no name, and never gets one */
    assert_int_equal(rmdir(dir), 0);
}

/* Large pieces for the file system, and all of it is there with the last byte. */
static void test_spool_gathers(void **state)
{
    (void)state;
    static uint8_t text[3 * SPOOL_GATHER], back[3 * SPOOL_GATHER];
    const size_t lens[] = {1, SPOOL_GATHER - 1, SPOOL_GATHER, SPOOL_GATHER + 1, sizeof(text)};
    const size_t pieces[] = {SPOOL_GATHER / 9, SPOOL_GATHER, sizeof(text)};
    char dir[] = "/tmp/tidemark-spool-XXXXXX";
    assert_non_null(mkdtemp(dir));
    int dirfd CLEANUP(fd_close) = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]) * 3; i++) {
        struct spool s CLEANUP(spool_close) = SPOOL_CLOSED;
        const struct content_digest promised = {0};
        size_t len = lens[i / 3];
        uint8_t sha256[32], want[32];
        struct stat status;
        assert_int_equal(spool_open(&s, len, 0, dirfd, false, NULL), RC_OK);
        spool_gather(&s);
        for (size_t at = 0; at < len; at += pieces[i % 3]) {
            size_t left = len - at;
            size_t piece = left < pieces[i % 3] ? left : pieces[i % 3];
            assert_int_equal(spool_write(&s, text + at, piece, NULL), RC_OK);
            assert_int_equal(fstat(s.fd, &status), 0);
            assert_true(s.len - (uint64_t)status.st_size < SPOOL_GATHER);
        }
        assert_int_equal(spool_write(&s, "d", 1, NULL), RC_REFUSED_TOO_LARGE);
        assert_int_equal(spool_finish(&s, &promised, sha256, NULL), RC_OK);
        digest_buffer(DIGEST_SHA256, want, text, len);
        assert_memory_equal(sha256, want, 32);
        assert_int_equal(fstat(s.fd, &status), 0);
        assert_int_equal(status.st_size, len);
        assert_true(spool_read(&s, back));
        assert_memory_equal(back, text, len);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void test_spool_refuses(void **state)
{
    (void)state;
    struct spool s CLEANUP(spool_close) = SPOOL_CLOSED;
    struct content_digest promised = {.has_sha256 = true};
    struct content_digest wrong512 = {.has_sha512 = true};
    uint8_t sha256[32];
    uint8_t zero[32] = {0};
    assert_int_equal(spool_open(&s, 3, 3, -1, false, NULL), RC_OK);
    assert_int_equal(spool_write(&s, "ab", 2, NULL), RC_OK);
    assert_int_equal(spool_finish(&s, &promised, sha256, NULL), RC_REFUSED_INPUT);
    assert_memory_equal(sha256, zero, 32);
    assert_int_equal(spool_write(&s, "c", 1, NULL), RC_OK);
    assert_int_equal(spool_finish(&s, &promised, sha256, NULL), RC_REFUSED_DIGEST);
    assert_memory_equal(sha256, zero, 32);
    spool_close(&s);
    assert_int_equal(spool_open(&s, 3, 3, -1, true, NULL), RC_OK);
    assert_int_equal(spool_write(&s, "abc", 3, NULL), RC_OK);
    assert_int_equal(spool_finish(&s, &wrong512, sha256, NULL), RC_REFUSED_DIGEST);
    spool_close(&s);
    /* A folder that is none. */
    struct err err = {0};
    assert_int_equal(spool_open(&s, 4, 3, -1, false, &err), RC_RETRY_SYSTEM);
    assert_int_equal(err.native, EBADF);
    assert_int_equal(s.fd, -1);
}

/* OpenAPI ----------------------------------------------------------------------------------------
 */

static size_t operations(const json_t *paths)
{
    size_t count = 0;
    const char *path;
    json_t *item;
    json_object_foreach((json_t *)(uintptr_t)paths, path, item)
    {
        const char *method;
        json_t *operation;
        json_object_foreach(item, method, operation)
        {
            if (strcmp(method, "get") != 0 && strcmp(method, "post") != 0)
                continue;
            count++;
            if (!json_is_array(json_object_get(operation, "x-tidemark-roles")) ||
                !json_is_array(json_object_get(operation, "x-tidemark-states")))
                fail_msg("%s %s: no roles or states", method, path);
        }
    }
    return count;
}

/* The roles of a route, as the description names them. */
static unsigned described_roles(const json_t *operation)
{
    const json_t *names = json_object_get(operation, "x-tidemark-roles");
    unsigned set = 0;
    for (size_t i = 0; i < json_array_size(names); i++) {
        enum access_role role = ROLE_PUBLIC;
        const char *name = json_string_value(json_array_get(names, i));
        if (!access_role_find(&role, name))
            assert_string_equal(name, "public");
        set |= role;
    }
    return set;
}

/* The description has exactly the operations of the route table, each with its roles, and states.
 */
static void test_openapi_routes(void **state)
{
    (void)state;
    json_t *root CLEANUP(release) =
        json_loadb(openapi_json, openapi_json_len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    const json_t *paths = json_object_get(root, "paths");
    size_t count = 0;
    for (; routes_at(count) != NULL; count++) {
        const struct route *route = routes_at(count);
        const char *method = strcmp(route->method, "GET") == 0 ? "get" : "post";
        const json_t *operation = json_object_get(json_object_get(paths, route->pattern), method);
        if (operation == NULL)
            fail_msg("not described: %s %s", route->method, route->pattern);
        if (route->roles == 0 || described_roles(operation) != route->roles)
            fail_msg("other roles: %s %s", route->method, route->pattern);
    }
    assert_int_equal(operations(paths), count);
}

/* Every problem that can be answered is in the list of types. */
static void test_openapi_problems(void **state)
{
    (void)state;
    json_t *root CLEANUP(release) = json_loadb(openapi_json, openapi_json_len, 0, NULL);
    const json_t *schemas = json_object_get(json_object_get(root, "components"), "schemas");
    const json_t *types = json_object_get(
        json_object_get(json_object_get(json_object_get(schemas, "Problem"), "properties"), "type"),
        "enum");
    assert_int_equal(json_array_size(types), PROBLEM_COUNT);
    for (size_t i = 0; i < PROBLEM_COUNT; i++) {
        char want[96];
        (void)snprintf(want, sizeof(want), "/problems/%s", problem_get((enum problem_id)i)->name);
        bool found = false;
        for (size_t k = 0; k < json_array_size(types); k++)
            found = found || strcmp(json_string_value(json_array_get(types, k)), want) == 0;
        if (!found)
            fail_msg("not described: %s", want);
    }
}

static int setup(void **state)
{
    (void)state;
    return base_init(NULL) == RC_OK ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_takes),
        cmocka_unit_test(test_guard_refuses),
        cmocka_unit_test(test_guard_nul_and_version),
        cmocka_unit_test(test_guard_bounds),
        cmocka_unit_test(test_content_digest),
        cmocka_unit_test(test_content_digest_refused),
        cmocka_unit_test(test_etag_named),
        cmocka_unit_test(test_idempotency_key),
        cmocka_unit_test(test_accept),
        cmocka_unit_test(test_small_fields),
        cmocka_unit_test(test_target),
        cmocka_unit_test(test_target_refused),
        cmocka_unit_test(test_target_allow),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_sign_body),
        cmocka_unit_test(test_sign_body_refused),
        cmocka_unit_test(test_ack_bodies),
        cmocka_unit_test(test_problem_classes),
        cmocka_unit_test(test_problem_promises),
        cmocka_unit_test(test_problem_bound),
        cmocka_unit_test(test_problem_members),
        cmocka_unit_test(test_answer_retry_after),
        cmocka_unit_test(test_answer_limits),
        cmocka_unit_test(test_print_hostile),
        cmocka_unit_test(test_print_lies),
        cmocka_unit_test(test_print_early),
        cmocka_unit_test(test_spool_bytes),
        cmocka_unit_test(test_spool_memory),
        cmocka_unit_test(test_spool_file),
        cmocka_unit_test(test_spool_gathers),
        cmocka_unit_test(test_spool_refuses),
        cmocka_unit_test(test_openapi_routes),
        cmocka_unit_test(test_openapi_problems),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
