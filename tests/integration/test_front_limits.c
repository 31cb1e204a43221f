/*
 * How much of the front one client may have, and what is too ambiguous to be served at all: shares
 * of connections and requests, room for newcomers, budgets of memory and spool, the pace of bodies,
 * and requests that two readers could understand differently.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "lib/front_rig.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SIGN "/v1/keys/" RIG_VERSION_KEY "/signatures?version=4.2.1&slot=kernel"
#define HOST " HTTP/1.1\r\nHost: x\r\n"
#define SIGN_ABC "POST " SIGN HOST "Content-Length: 3\r\n\r\nabc"
#define HIDDEN "GET /v1/keys" HOST "\r\n"
#define PATIENCE_MS 60000 /* far more than anything here takes */

static struct rig rig;

static int stop(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static int start(void **state)
{
    (void)state;
    rig_start(&rig, rig_config());
    return 0;
}

static int send_request(const char *text)
{
    int fd = client_unix(&rig);
    assert_true(client_send(fd, text, strlen(text)));
    return fd;
}

static void check_refused(const struct answered *a, int status, const char *name)
{
    char type[96];
    (void)snprintf(type, sizeof(type), "/problems/%s", name);
    if (a->status != status || a->body == NULL || strstr(a->body, type) == NULL)
        fail_msg("%d %s, not %d %s", a->status, a->body == NULL ? "" : a->body, status, name);
}

static void check_works(void)
{
    struct answered a CLEANUP(answered_free) = client_ask(&rig, SIGN_ABC);
    assert_int_equal(a.status, 201);
}

/* Ambiguous requests -----------------------------------------------------------------------------
 */

/* Each is refused, whoever finds it out (newer libraries do it themselves, in their own words),
 * what stands behind it is never run, and the connection ends. */
static void test_ambiguous(void **state)
{
    (void)state;
    static const char *const requests[] = {
        /* folded lines, which a reader may join or take for a header of its own */
        "GET /v1/keys" HOST "X-A: b\r\n c\r\n\r\n" HIDDEN,
        "GET /v1/keys" HOST "X-A: b\r\n\tc\r\n\r\n" HIDDEN,
        "POST " SIGN HOST "Content-Len: 3\r\n gth\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: 3\r\n 0\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: 3\r\nTransfer-Encoding:\r\n chunked\r\n\r\nabc" HIDDEN,
        "GET /v1/keys HTTP/1.1\r\n Host: y\r\nHost: x\r\n\r\n" HIDDEN,
        /* a line feed alone */
        "GET /v1/keys HTTP/1.1\nHost: x\r\n\r\n" HIDDEN,
        "GET /v1/keys" HOST "X-A: b\nX-B: c\r\n\r\n" HIDDEN,
        "POST " SIGN HOST "X-A: b\nContent-Length: 3\r\n\r\nabc" HIDDEN,
        /* a carriage return alone */
        "GET /v1/keys" HOST "X-A: b\rX-B: c\r\n\r\n" HIDDEN,
        /* names */
        "GET /v1/keys" HOST "X A: b\r\n\r\n" HIDDEN,
        "GET /v1/keys" HOST "X-A : b\r\n\r\n" HIDDEN,
        "GET /v1/keys" HOST "X-A\t: b\r\n\r\n" HIDDEN,
        "GET /v1/keys" HOST "X(A): b\r\n\r\n" HIDDEN,
        "GET /v1/keys" HOST "X-A\r\n\r\n" HIDDEN,
        "GET /v1/keys" HOST ":\r\n" HIDDEN,
        "GET /v1/keys" HOST ":b\r\n" HIDDEN,
        "GET /v1/keys" HOST ": b\r\nX-A: c\r\n\r\n" HIDDEN,
        "GET /v1/keys" HOST "X-A: c\r\n:: b\r\n\r\n" HIDDEN,
        "POST " SIGN HOST ":\r\nContent-Length: 3\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: 3\r\n:\r\n\r\nabc" HIDDEN,
        /* the end of the headers */
        "GET /v1/keys" HOST "X-A: b\r\n\n" HIDDEN,
        "GET /v1/keys" HOST "X-A: b\n\n" HIDDEN,
        "GET /v1/keys" HOST "\n" HIDDEN,
        /* hosts */
        "GET /v1/keys HTTP/1.1\r\n\r\n" HIDDEN,
        "GET /v1/keys HTTP/1.1\r\nHost: x, y\r\n\r\n" HIDDEN,
        "GET /v1/keys HTTP/1.1\r\nHost: x y\r\n\r\n" HIDDEN,
        "GET /v1/keys HTTP/1.1\r\nHost: u@x\r\n\r\n" HIDDEN,
        "GET http://y/v1/keys" HOST "\r\n" HIDDEN,
        "GET http://x:80/v1/keys" HOST "\r\n" HIDDEN,
        "GET https://y?z=/v1/keys" HOST "\r\n" HIDDEN,
        /* lengths */
        "POST " SIGN HOST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: 3\r\ncontent-length: 3\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length:\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: 3 3\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: -3\r\n\r\nabc" HIDDEN,
        "POST " SIGN HOST "Content-Length: 3\r\nTransfer-Encoding: gzip\r\n\r\nabc" HIDDEN,
        "GET /v1/keys" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HIDDEN,
        "GET /v1/keys" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n" HIDDEN,
        /* versions */
        "GET /v1/keys HTTP/1.0\r\nHost: x\r\n\r\n" HIDDEN,
        "GET /v1/keys HTTP/2.0\r\nHost: x\r\n\r\n" HIDDEN,
        "GET /v1/keys HTTP/1.10\r\nHost: x\r\n\r\n" HIDDEN,
        "GET /v1/keys http/1.1\r\nHost: x\r\n\r\n" HIDDEN,
        "GET /v1/keys HTTP/1.1 x\r\nHost: x\r\n\r\n" HIDDEN,
    };
    for (size_t i = 0; i < COUNT(requests); i++) {
        int fd CLEANUP(fd_close) = send_request(requests[i]);
        struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
        if (a.status != 0 && a.status < 400)
            fail_msg("%d: %s", a.status, requests[i]);
        if (!client_ends(fd, PATIENCE_MS))
            fail_msg("not closed: %s", requests[i]);
    }
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 0);
    assert_int_equal(rig_count(&rig, REQUEST_KEYS), 0);
    check_works();
}

/* A NUL would end a value for one reader and not for another. */
static void test_nul(void **state)
{
    (void)state;
    static const char request[] = "GET /v1/keys" HOST "X-A: b\0c\r\nX-B: d\r\n\r\n" HIDDEN;
    int fd CLEANUP(fd_close) = client_unix(&rig);
    assert_true(client_send(fd, request, sizeof(request) - 1));
    struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
    assert_true(a.status == 0 || a.status >= 400);
    assert_true(client_ends(fd, PATIENCE_MS));
    assert_int_equal(rig_count(&rig, REQUEST_KEYS), 0);
}

/* And what is right is served: the test above does not pass by refusing everything. */
static void test_unambiguous(void **state)
{
    (void)state;
    static char big[24 * 1024];
    size_t len = (size_t)snprintf(big, sizeof(big), "GET /v1/keys" HOST);
    for (int i = 0; i < 20; i++) {
        len += (size_t)snprintf(big + len, sizeof(big) - len, "X-%d:%*s", i, 1 + i % 3, "");
        memset(big + len, 'a', (size_t)(700 + i));
        len += (size_t)(700 + i);
        len += (size_t)snprintf(big + len, sizeof(big) - len, "%*s\r\n", i % 4, "");
    }
    (void)snprintf(big + len, sizeof(big) - len, "\r\n");
    const char *const requests[] = {
        "GET /v1/keys" HOST "X-A: \r\nX-B:\r\nX-C:c\r\nX-D: \t d \t \r\n\r\n",
        "GET /v1/keys HTTP/1.1\r\nHost: [::1]:8793\r\n\r\n",
        "GET /v1/keys HTTP/1.1\r\nHost:\r\n\r\n",
        "GET http://x/v1/keys" HOST "\r\n",
        "GET HTTP://X/v1/keys" HOST "Cookie: a=b; c=d\r\nX-A: e\r\n\r\n",
        big,
    };
    for (size_t i = 0; i < COUNT(requests); i++) {
        int fd CLEANUP(fd_close) = send_request(requests[i]);
        struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
        if (a.status != 200)
            fail_msg("%d %s: %.200s", a.status, a.body == NULL ? "" : a.body, requests[i]);
        /* The same connection serves the next one: nothing of the first was left over. */
        assert_true(client_send(fd, HIDDEN, strlen(HIDDEN)));
        struct answered b CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
        assert_int_equal(b.status, 200);
    }
}

/* Byte by byte, so that every read of the library ends somewhere else. */
static void test_slices(void **state)
{
    (void)state;
    static const char request[] = "GET /v1/keys" HOST "X-A: b\r\nX-Bcd:  e f \r\n\r\n";
    for (size_t cut = 1; cut < sizeof(request) - 1; cut++) {
        int fd CLEANUP(fd_close) = client_unix(&rig);
        assert_true(client_send(fd, request, cut));
        (void)usleep(500);
        assert_true(client_send(fd, request + cut, sizeof(request) - 1 - cut));
        struct answered a CLEANUP(answered_free) = client_read(fd, false, PATIENCE_MS);
        assert_int_equal(a.status, 200);
    }
}

/* Shares -----------------------------------------------------------------------------------------
 */

static int start_shares(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    config.peer_connections = 6;
    config.peer_requests = 3;
    config.settings.header_deadline_s = 3600; /* nothing is closed for being slow */
    config.settings.core_deadline_s = 60;
    rig_start(&rig, config);
    return 0;
}

/* One user holds its share of connections; the next one is closed, others have theirs. */
static void test_peer_connections(void **state)
{
    (void)state;
    int fds[6];
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = client_unix(&rig);
    int more CLEANUP(fd_close) = client_unix(&rig);
    assert_true(client_closed(more, PATIENCE_MS));
    int tcp CLEANUP(fd_close) = client_tcp(&rig);
    assert_true(client_send(tcp, HIDDEN, strlen(HIDDEN)));
    struct answered a CLEANUP(answered_free) = client_read(tcp, false, PATIENCE_MS);
    assert_int_equal(a.status, 200);
    for (size_t i = 0; i < COUNT(fds); i++)
        fd_close(&fds[i]);
    /* Whoever lets go may come again. */
    for (int ms = 0; ms < PATIENCE_MS; ms += 10) {
        struct answered b CLEANUP(answered_free) = client_get(&rig, "/v1/keys");
        if (b.status == 200)
            return;
        (void)usleep(10 * 1000);
    }
    fail_msg("the share was not given back");
}

/* As many requests in flight as one may have; another peer is not held up by it. */
static void test_peer_requests(void **state)
{
    (void)state;
    int fds[3];
    check_works();
    rig_set(&rig, &rig.manual, true);
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = send_request(SIGN_ABC);
    rig_wait_pending(&rig, COUNT(fds));
    struct answered a CLEANUP(answered_free) = client_ask(&rig, SIGN_ABC);
    check_refused(&a, 503, "busy");
    assert_non_null(answered_header(&a, "Retry-After"));
    struct answered r CLEANUP(answered_free) = client_get(&rig, "/v1/keys");
    check_refused(&r, 503, "busy");
    int tcp CLEANUP(fd_close) = client_tcp(&rig);
    assert_true(client_send(tcp, HIDDEN, strlen(HIDDEN)));
    struct answered b CLEANUP(answered_free) = client_read(tcp, false, PATIENCE_MS);
    assert_int_equal(b.status, 200);
    uint8_t signature[RIG_SIGNATURE_LEN] = {0};
    for (size_t i = 0; i < COUNT(fds); i++) {
        struct rig_request q = rig_next(&rig);
        struct reply reply = rig_signed(&rig, &q);
        rig_send(&rig, &reply, signature, sizeof(signature));
        fd_close(&q.body);
    }
    for (size_t i = 0; i < COUNT(fds); i++) {
        struct answered c CLEANUP(answered_free) = client_read(fds[i], false, PATIENCE_MS);
        assert_int_equal(c.status, 201);
        fd_close(&fds[i]);
    }
    rig_set(&rig, &rig.manual, false);
    check_works();
}

static int start_few(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    config.connections_max = 8;
    config.requests_max = 8;
    config.settings.header_deadline_s =
        3600; /* far away: what is closed is closed for somebody else */
    config.settings.body_deadline_s = 3600;
    rig_start(&rig, config);
    return 0;
}

/* All connections are held by silent clients of one peer: a newcomer gets in after a moment, and it
 * is the greedy one who pays, not the one with a single idle connection. */
static void test_room_for_newcomers(void **state)
{
    (void)state;
    int fds[7];
    int modest CLEANUP(fd_close) = client_tcp(&rig);
    assert_true(client_send(modest, HIDDEN, strlen(HIDDEN)));
    struct answered a CLEANUP(answered_free) = client_read(modest, false, PATIENCE_MS);
    assert_int_equal(a.status, 200);
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = send_request("POST " SIGN HOST "Content-Le");
    check_works();
    size_t closed = 0;
    for (size_t i = 0; i < COUNT(fds); i++) {
        closed += client_closed(fds[i], 0) ? 1 : 0;
        fd_close(&fds[i]);
    }
    assert_true(closed > 0);
    assert_true(client_send(modest, HIDDEN, strlen(HIDDEN)));
    struct answered b CLEANUP(answered_free) = client_read(modest, false, PATIENCE_MS);
    assert_int_equal(b.status, 200);
}

/* Who is in the middle of a request is not thrown out for a newcomer. */
static void test_busy_ones_stay(void **state)
{
    (void)state;
    int fds[8];
    check_works();
    for (size_t i = 0; i < COUNT(fds); i++)
        fds[i] = send_request("POST " SIGN HOST "Content-Length: 3\r\n\r\nab");
    int more CLEANUP(fd_close) = send_request(HIDDEN);
    assert_false(client_closed(more, 1500)); /* longer than silence is suffered */
    for (size_t i = 0; i < COUNT(fds); i++) {
        assert_true(client_send(fds[i], "c", 1));
        struct answered a CLEANUP(answered_free) = client_read(fds[i], false, PATIENCE_MS);
        assert_int_equal(a.status, 201);
        fd_close(&fds[i]);
    }
    struct answered b CLEANUP(answered_free) = client_read(more, false, PATIENCE_MS);
    assert_int_equal(b.status, 200);
}

/* Budgets ----------------------------------------------------------------------------------------
 */

static int start_budgets(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    config.memory_max = 3000;
    config.spool_max = 5000;
    config.settings.body_memory_max = 2000;
    config.settings.body_deadline_s = 60;
    rig_start(&rig, config);
    return 0;
}

/* One that has begun and does not end. Whoever is told to go on has the room for all of it. */
static int half_upload(const char *length)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char head[256];
    char said[sizeof(go_on)] = "";
    (void)snprintf(head, sizeof(head),
                   "POST " SIGN HOST "Content-Length: %s\r\nExpect: 100-continue\r\n\r\n", length);
    int fd = send_request(head);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (size_t len = 0; len < sizeof(go_on) - 1;) {
        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        ssize_t n = recv(fd, said + len, sizeof(go_on) - 1 - len, 0);
        assert_true(n > 0);
        len += (size_t)n;
    }
    assert_string_equal(said, go_on);
    assert_true(client_send(fd, "abc", 3));
    return fd;
}

static struct answered ask_upload(size_t len)
{
    static const char bytes[8192];
    return client_post(&rig, SIGN, "", bytes, len);
}

static void expect_no_room(size_t len)
{
    struct answered a CLEANUP(answered_free) = ask_upload(len);
    check_refused(&a, 507, "spool-full");
}

/* Bodies that do not fit into memory any more go to the spool folder, until that is full too; who
 * comes then is told so, and all of it is given back. */
static void test_budgets(void **state)
{
    (void)state;
    check_works(); /* the plan, which is read once, fits */
    int in_memory CLEANUP(fd_close) = half_upload("1500");
    int overflowing CLEANUP(fd_close) = half_upload("2000");
    int in_spool CLEANUP(fd_close) = half_upload("2500");
    expect_no_room(2001);
    expect_no_room(1600); /* > what memory has left */
    struct answered small CLEANUP(answered_free) = ask_upload(100);
    assert_int_equal(small.status, 201);
    fd_close(&in_memory);
    fd_close(&overflowing);
    fd_close(&in_spool);
    for (int ms = 0; ms < PATIENCE_MS; ms += 10) {
        struct answered b CLEANUP(answered_free) = ask_upload(5000);
        if (b.status == 201)
            return;
        check_refused(&b, 507, "spool-full");
        (void)usleep(10 * 1000);
    }
    fail_msg("the room was not given back");
}

static int start_full_memory(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    config.memory_max = 8000;
    config.settings.body_memory_max = 8000;
    config.settings.body_deadline_s = 60;
    rig_start(&rig, config);
    return 0;
}

/* An answer that is too much for the memory that others have left. What the answer before took is
 * given back a moment behind it, and a body that comes sooner goes to the disk. */
static void test_answers_budget(void **state)
{
    (void)state;
    check_works();
    struct answered before CLEANUP(answered_free) = client_get(&rig, "/v1/keys/" RIG_VERSION_KEY);
    assert_int_equal(before.status, 200);
    for (int ms = 0; ms < PATIENCE_MS; ms += 10) {
        int held CLEANUP(fd_close) = half_upload("7900");
        struct answered a CLEANUP(answered_free) = client_get(&rig, "/v1/keys/" RIG_VERSION_KEY);
        if (a.status == 503) {
            check_refused(&a, 503, "busy");
            check_works(); /* a signature is never refused for this: its index is spent */
            assert_false(client_closed(held, 0));
            return;
        }
        assert_int_equal(a.status, 200);
        (void)usleep(10 * 1000);
    }
    fail_msg("no answer was too much");
}

static int start_pace(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    config.settings.header_deadline_s = 1;
    config.settings.body_deadline_s = 3600;
    config.body_rate_min = 1000;
    rig_start(&rig, config);
    return 0;
}

/* A small body has to be there soon, though a large one may take its time. */
static void test_body_pace(void **state)
{
    (void)state;
    int small CLEANUP(fd_close) = half_upload("500");
    int large CLEANUP(fd_close) = half_upload("30000");
    assert_true(client_closed(small, PATIENCE_MS));
    assert_false(client_closed(large, 1500));
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 0);
    check_works();
}

static int start_tight_disk(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    config.settings.body_memory_max = 100;
    config.spool_keep_free = UINT64_C(1) << 60; /* nobody has that much */
    rig_start(&rig, config);
    return 0;
}

/* Bodies leave room on the disk for the ledger. */
static void test_disk_is_kept_free(void **state)
{
    (void)state;
    struct answered a CLEANUP(answered_free) = ask_upload(101);
    check_refused(&a, 507, "spool-full");
    check_works();
}

int main(void)
{
#define TEST(name, begin) cmocka_unit_test_setup_teardown(name, begin, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_ambiguous, start),
        TEST(test_nul, start),
        TEST(test_unambiguous, start),
        TEST(test_slices, start),
        TEST(test_peer_connections, start_shares),
        TEST(test_peer_requests, start_shares),
        TEST(test_room_for_newcomers, start_few),
        TEST(test_busy_ones_stay, start_few),
        TEST(test_budgets, start_budgets),
        TEST(test_answers_budget, start_full_memory),
        TEST(test_body_pace, start_pace),
        TEST(test_disk_is_kept_free, start_tight_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
