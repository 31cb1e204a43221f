/*
 * A real service whose chronyd, and all its time servers, say three days more: quarantine, through
 * the commands of an operator. Wrong words are refused, and over TCP all words; a kill changes
 * nothing; the right words are believed, and signing goes on in the window of the new time.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/text.h"
#include "lib/evidence.h"

#define DAY INT64_C(86400)
#define JUMP_DAYS 3
#define LMS "'scheme':'lms','parameters':['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4']"

static bool fake;
static struct clocks clocks;

static int64_t now_s(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec + clocks.shift_s;
}

/* Windows of a day; now is the middle of window 1. */
static void make(struct service *s, uint16_t port)
{
    char http[80];
    char identities[160];
    char plan[1024];
    char start[RFC3339_SIZE];
    (void)snprintf(http, sizeof(http), "'tcp_address':'127.0.0.1','tcp_port':%u", port);
    (void)snprintf(identities, sizeof(identities),
                   "'all':{'match':[{'uid':%u},{'tcp':'loopback'}],'roles':['signer','auditor',"
                   "'operator']}",
                   (unsigned)geteuid());
    service_make(s, "jump", &clocks,
                 &(struct service_options){.http = http, .identities = identities});
    rfc3339_print(start, now_s() - DAY - DAY / 2);
    (void)snprintf(plan, sizeof(plan),
                   "{'tidemark_plan':1,'key':'nightly','profile':'sp800-208'," LMS
                   ",'assignment':{'kind':'time','start':'%s','window':'P1D',"
                   "'signatures_per_window':32,'lease_size':4}}",
                   start);
    service_key(s, plan);
    service_start(s);
}

/* `tidemark clock status --json`, when it ends with this code. */
static json_t *status(const struct service *s, int code)
{
    char out[TOOL_OUT];
    for (int64_t until = lab_now_ms() + 60000; lab_now_ms() < until; lab_sleep_ms(200)) {
        if (service_client(s, out, "clock status --json") != code)
            continue;
        json_t *json = json_loads(out, 0, NULL);
        assert_non_null(json);
        return json;
    }
    fail_msg("the clock does not come to status %d: %s", code, out);
    return NULL;
}

static uint64_t number(const json_t *o, const char *name)
{
    const json_t *value = json_object_get(o, name);
    assert_true(json_is_integer(value));
    return (uint64_t)json_integer_value(value);
}

static int acknowledge(const struct service *s, uint64_t id, uint64_t windows, int64_t utc_s,
                       const char *more)
{
    char utc[RFC3339_SIZE];
    char out[TOOL_OUT];
    int code = 6;
    rfc3339_print(utc, utc_s);
    /* chronyd on a busy machine may have no good evidence at this moment: repeat it, that says. */
    for (int64_t until = lab_now_ms() + 60000; code == 6 && lab_now_ms() < until; lab_sleep_ms(500))
        code = service_client(
            s, out, "clock ack-forward --id %" PRIu64 " --windows %" PRIu64 " --utc %s %s", id,
            windows, utc, more);
    if (code != 0)
        print_message("ack-forward: %d %s", code, out);
    return code;
}

/* The right words from the wrong side. @return the first line of the answer's status. */
static void acknowledge_by_tcp(uint16_t port, uint64_t id, uint64_t windows, char status_line[32])
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char utc[RFC3339_SIZE];
    char body[200];
    char text[600];
    int fd CLEANUP(fd_close) = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    rfc3339_print(utc, now_s());
    int len =
        snprintf(body, sizeof(body), "{\"id\":%" PRIu64 ",\"windows\":%" PRIu64 ",\"utc\":\"%s\"}",
                 id, windows, utc);
    int all = snprintf(text, sizeof(text),
                       "POST /v1/clock/acknowledgements HTTP/1.1\r\nHost: localhost\r\n"
                       "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                       len, body);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, text, (size_t)all, MSG_NOSIGNAL), all);
    memset(status_line, 0, 32);
    assert_true(recv(fd, status_line, 31, MSG_WAITALL) > 12);
}

static void expect_jump(const struct service *s, uint64_t *id, uint64_t *windows)
{
    json_t *clock = status(s, 5);
    /* A TPM that is slow to tell its time is asked again. */
    for (int64_t until = lab_now_ms() + 60000;
         json_object_get(clock, "tpm") == NULL && lab_now_ms() < until; lab_sleep_ms(500)) {
        json_decref(clock);
        clock = status(s, 5);
    }
    const json_t *jump = json_object_get(clock, "jump");
    assert_string_equal(json_string_value(json_object_get(clock, "state")), "quarantine-fwd");
    assert_false(json_is_true(json_object_get(clock, "safe")));
    assert_true(json_object_get(clock, "floor") != NULL);
    assert_true(json_object_get(clock, "tpm") != NULL);
    *id = number(jump, "id");
    *windows = number(jump, "windows");
    /* Two days of an outage are believed unseen; what lies behind them is the jump. */
    assert_in_range(*windows, 1, JUMP_DAYS);
    assert_in_range(number(jump, "seconds"), DAY - 120, DAY + 120);
    assert_true(number(jump, "one_time_keys") > 0);
    json_decref(clock);
}

static void expect_refused(const struct service *s, const char *name)
{
    struct answer a;
    (void)sign_window(s, &a, "nightly", name, name);
    expect_problem(&a, 503, "clock-unsafe");
    assert_non_null(strstr(answer_text(&a, "detail"), "quarantine-fwd"));
    assert_true(answer_number(&a, "retry_after_s") > 0);
    client_done(&a);
}

/* A key that is made now would have its first window by a time that nobody has accepted. */
static void expect_tool_refused(const struct service *s)
{
    char out[TOOL_OUT];
    char start[RFC3339_SIZE];
    char path[LAB_PATH + 16];
    rfc3339_print(start, now_s() - DAY);
    (void)snprintf(path, sizeof(path), "%s/second.json", lab_dir());
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    (void)fprintf(f,
                  "{\"tidemark_plan\":1,\"key\":\"second\",\"profile\":\"sp800-208\","
                  "\"scheme\":\"lms\",\"parameters\":[\"LMS_SHA256_M24_H5\","
                  "\"LMOTS_SHA256_N24_W2\"],\"assignment\":{\"kind\":\"time\",\"start\":\"%s\","
                  "\"window\":\"P1D\",\"signatures_per_window\":4}}",
                  start);
    assert_int_equal(fclose(f), 0);
    /* On a busy machine chronyd may need longer than the command waits for good evidence. */
    bool named = false;
    for (int64_t until = lab_now_ms() + 60000; !named && lab_now_ms() < until;) {
        int code = service_tool(s, out, "key new '%s'", path);
        if (code != 6)
            fail_msg("key new in quarantine: %d %s", code, out);
        named =
            strstr(out, "quarantine-fwd") != NULL && strstr(out, "tidemark clock status") != NULL;
    }
    if (!named)
        fail_msg("key new in quarantine: %s", out);
}

static void test_jump_while_down(void **state)
{
    (void)state;
    if (!fake)
        return;
    struct service s;
    struct answer a;
    char line[32];
    char out[TOOL_OUT];
    uint64_t id = 0, again = 0, windows = 0;
    uint16_t port = lab_free_port();
    make(&s, port);
    wait_sign_window(&s, &a, "nightly", "before", "before", 201);
    assert_int_equal(answer_number(&a, "window"), 1);
    client_done(&a);
    json_decref(status(&s, 0));
    assert_int_equal(service_client(&s, out, "clock status"), 0);
    assert_non_null(strstr(out, "synced"));
    service_stop(&s);
    clocks_shift(&clocks, clocks.shift_s + JUMP_DAYS * DAY);
    service_start(&s);
    expect_jump(&s, &id, &windows);
    expect_refused(&s, "in-vain");

    /* Nor does an operation believe what the service does not. */
    service_stop(&s);
    expect_tool_refused(&s);
    service_start(&s);
    expect_jump(&s, &again, &windows);
    assert_int_equal(again, id);

    /* Killed in quarantine: the same jump, still unexplained. */
    service_crash(&s);
    service_start(&s);
    expect_jump(&s, &again, &windows);
    assert_int_equal(again, id);
    expect_refused(&s, "in-vain-again");

    assert_int_equal(acknowledge(&s, id + 1, windows, now_s(), "--yes"), 2);
    assert_int_equal(acknowledge(&s, id, windows + 1, now_s(), "--yes"), 2);
    assert_int_equal(acknowledge(&s, id, windows, now_s() - JUMP_DAYS * DAY, "--yes"), 2);
    assert_int_equal(acknowledge(&s, id, windows, now_s(), ""), 2); /* nobody said yes */
    acknowledge_by_tcp(port, id, windows, line);
    assert_non_null(strstr(line, " 403 "));
    expect_jump(&s, &again, &windows);

    assert_int_equal(acknowledge(&s, id, windows, now_s(), "--yes"), 0);
    json_decref(status(&s, 0));
    wait_sign_window(&s, &a, "nightly", "after", "after", 201);
    assert_int_equal(answer_number(&a, "window"), 1 + JUMP_DAYS);
    client_done(&a);
    service_crash(&s);
    service_start(&s);
    wait_sign_window(&s, &a, "nightly", "later", "later", 201);
    client_done(&a);
    service_end(&s);
}

static int start_clocks(void **state)
{
    (void)state;
    fake = clocks_can_be_faked();
    clocks_start(&clocks, "clock", fake);
    return 0;
}

static int stop_clocks(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jump_while_down),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start_clocks, stop_clocks);
}
