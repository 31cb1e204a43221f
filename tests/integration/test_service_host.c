/*
 * The service and its host: what the service manager is told and when, sockets that it hands over,
 * a configuration that is read again, and a stop that loses nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "lib/evidence.h"

#define PATIENCE_MS 60000
#define SILENCE_MS 3000 /* six times as long as a sign of life may take */
#define HEARD_MAX 8192

#define PLAN                                                                                       \
    "{'tidemark_plan':1,'key':'fw','profile':'sp800-208','scheme':'lms',"                          \
    "'parameters':['LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W4'],"                                    \
    "'assignment':{'kind':'version','format':'integer'}}"

static struct clocks clocks;

static int start_clocks(void **state)
{
    (void)state;
    clocks_start(&clocks, "host", false);
    return 0;
}

static int stop_clocks(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

static void make(struct service *s, const char *name, const struct service_options *options)
{
    service_make(s, name, &clocks, options);
    service_key(s, PLAN);
}

static void wait_log(const struct service *s, off_t from, const char *text)
{
    for (int64_t until = lab_now_ms() + PATIENCE_MS; lab_now_ms() < until; lab_sleep_ms(20))
        if (service_log_has(s, from, text))
            return;
    service_show_log(s);
    fail_msg("the log does not say '%s'", text);
}

/* The service manager ---------------------------------------------------------------------------
 */

struct manager {
    int fd;
    char path[LAB_PATH];
    char heard[HEARD_MAX]; /* all messages, a newline behind each */
    size_t len;
};

static void manager_open(struct manager *m, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    *m = (struct manager){.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    assert_true(m->fd >= 0);
    (void)snprintf(m->path, sizeof(m->path), "%s/%s", lab_dir(), name);
    strcpy(address.sun_path, m->path);
    assert_int_equal(bind(m->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", m->path, 1), 0);
}

static void manager_close(struct manager *m)
{
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    fd_close(&m->fd);
}

/* @return false: nothing came within that time. */
static bool hear(struct manager *m, int wait_ms)
{
    struct pollfd p = {.fd = m->fd, .events = POLLIN};
    if (poll(&p, 1, wait_ms) <= 0)
        return false;
    if (m->len > HEARD_MAX / 2) { /* only what is new matters to whoever waits */
        memmove(m->heard, m->heard + m->len / 2, m->len - m->len / 2);
        m->len -= m->len / 2;
    }
    ssize_t got = recv(m->fd, m->heard + m->len, HEARD_MAX - m->len - 2, 0);
    if (got <= 0)
        return false;
    m->len += (size_t)got;
    m->heard[m->len++] = '\n';
    m->heard[m->len] = '\0';
    return true;
}

static void forget(struct manager *m)
{
    while (hear(m, 0))
        continue;
    m->len = 0;
    m->heard[0] = '\0';
}

static void wait_heard(struct manager *m, const char *text)
{
    for (int64_t until = lab_now_ms() + PATIENCE_MS; strstr(m->heard, text) == NULL;)
        if (!hear(m, 100) && lab_now_ms() > until)
            fail_msg("the service manager was not told '%s', but '%s'", text, m->heard);
}

static void test_ready_when_there_is_a_state(void **state)
{
    (void)state;
    struct service s;
    struct manager m;
    make(&s, "ready", NULL);
    manager_open(&m, "ready.notify");
    service_run(&s);
    wait_heard(&m, "READY=1");
    /* By then the state is one, and was said: whoever waited for READY gets an answer. */
    assert_non_null(strstr(m.heard, "STATUS=Operational"));
    struct answer a;
    assert_int_equal(service_get(&s, &a, "/health/ready"), 200);
    client_done(&a);
    /* A core that ends is started again; nobody says READY twice for that. */
    forget(&m);
    pid_t core = service_child(&s, "core", 0);
    assert_int_equal(kill(core, SIGKILL), 0);
    (void)service_child(&s, "core", core);
    service_wait_state(&s, "Operational");
    service_stop(&s);
    wait_heard(&m, "STOPPING=1");
    assert_null(strstr(m.heard, "READY=1"));
    assert_null(strstr(m.heard, "WATCHDOG=1")); /* nobody asked for it */
    manager_close(&m);
    service_end(&s);
}

/* No start without keys: READY never comes, and the exit status says it. */
static void test_not_ready_without_state(void **state)
{
    (void)state;
    struct service s;
    struct manager m;
    service_make(&s, "empty", &clocks, NULL);
    manager_open(&m, "empty.notify");
    service_run(&s);
    assert_int_equal(service_wait_end(&s), 6);
    forget(&m);
    assert_null(strstr(m.heard, "READY=1"));
    manager_close(&m);
    service_end(&s);
}

static void wait_silence(struct manager *m)
{
    int64_t last = lab_now_ms();
    for (int64_t until = last + PATIENCE_MS; lab_now_ms() - last < SILENCE_MS;) {
        if (hear(m, 100))
            last = lab_now_ms();
        if (lab_now_ms() > until)
            fail_msg("a child hangs, and the service manager is told that all is well");
    }
}

static void check_hanging(const struct service *s, struct manager *m, const char *child)
{
    pid_t pid = service_child(s, child, 0);
    forget(m);
    wait_heard(m, "WATCHDOG=1");
    assert_int_equal(kill(pid, SIGSTOP), 0);
    wait_silence(m);
    assert_int_equal(kill(pid, SIGCONT), 0);
    forget(m);
    wait_heard(m, "WATCHDOG=1");
}

static void test_watchdog(void **state)
{
    (void)state;
    static const struct service_options options = {.tpm = "'watchdog_s':3"};
    struct service s;
    struct manager m;
    make(&s, "watchdog", &options);
    manager_open(&m, "watchdog.notify");
    assert_int_equal(setenv("WATCHDOG_USEC", "1000000", 1), 0);
    service_start(&s);
    check_hanging(&s, &m, "front");
    check_hanging(&s, &m, "core");
    service_stop(&s);
    manager_close(&m);
    service_end(&s);
}

/* Reading the configuration again ---------------------------------------------------------------
 */

static long sign(const struct service *s, const char *version, const char *body)
{
    struct answer a;
    struct client c;
    client_open(&c, s);
    long status =
        client_ask(&c, &a, NULL, body, strlen(body), "/v1/keys/fw/signatures?version=%s", version);
    client_done(&a);
    client_close(&c);
    return status;
}

static long sign_next(const struct service *s, unsigned version, const char *body)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%u", version);
    return sign(s, text, body);
}

static void hangup(const struct service *s, const char *said)
{
    off_t from = service_log_size(s);
    assert_int_equal(kill(s->pid, SIGHUP), 0);
    wait_log(s, from, said);
}

/* The message has left for the process; when it arrives there is nobody's business. */
static void wait_status(const struct service *s, const char *version, const char *body, long status)
{
    long got = 0;
    for (int64_t until = lab_now_ms() + PATIENCE_MS; lab_now_ms() < until; lab_sleep_ms(20))
        if ((got = sign(s, version, body)) == status)
            return;
    fail_msg("version %s: %ld instead of %ld", version, got, status);
}

static void test_reload(void **state)
{
    (void)state;
    static const struct service_options narrow = {.http = "'body_max':8"};
    static const struct service_options limited = {.http = "'body_max':100",
                                                   .limits = "'fw':{'burst':1,'per_hour':1}"};
    struct service s;
    make(&s, "reload", &narrow);
    service_start(&s);
    pid_t front = service_child(&s, "front", 0);
    pid_t core = service_child(&s, "core", 0);
    assert_int_equal(sign(&s, "1", "nine bytes"), 413);
    service_configure(&s, &limited);
    hangup(&s, "the configuration was reloaded");
    wait_status(&s, "1", "nine bytes", 201);
    /* The limit of one, too, holds without a restart; whether its one token was there for the first
     * signature depends on when the core was told. */
    unsigned next = sign_next(&s, 2, "nine bytes") == 201 ? 3 : 2;
    assert_int_equal(sign_next(&s, next, "nine bytes"), 429);
    /* And stays with a core that comes later. */
    assert_int_equal(kill(core, SIGKILL), 0);
    (void)service_child(&s, "core", core);
    service_wait_state(&s, "Operational");
    assert_int_equal(sign_next(&s, next, "nine bytes"), 429);
    service_configure(&s, &narrow);
    hangup(&s, "the configuration was reloaded");
    wait_status(&s, "1", "nine bytes", 413);
    for (int64_t until = lab_now_ms() + PATIENCE_MS; sign_next(&s, next, "short") != 201;)
        assert_true(lab_now_ms() < until);
    assert_int_equal(service_child(&s, "front", 0), front);
    service_stop(&s);
    service_end(&s);
}

/* Who may do what: front and core start anew, and nobody is turned away meanwhile. */
static void test_reload_identities(void **state)
{
    (void)state;
    char reads[128];
    char signs[128];
    (void)snprintf(reads, sizeof(reads), "'me':{'match':[{'uid':%u}],'roles':['auditor']}",
                   (unsigned)geteuid());
    (void)snprintf(signs, sizeof(signs), "'me':{'match':[{'uid':%u}],'roles':['signer','auditor']}",
                   (unsigned)geteuid());
    const struct service_options auditor = {.identities = reads};
    const struct service_options signer = {.identities = signs};
    struct service s;
    make(&s, "identities", &auditor);
    service_start(&s);
    pid_t front = service_child(&s, "front", 0);
    pid_t core = service_child(&s, "core", 0);
    assert_int_equal(sign(&s, "1", "one"), 403);
    service_configure(&s, &signer);
    hangup(&s, "front and core start anew for other identities");
    (void)service_child(&s, "front", front);
    (void)service_child(&s, "core", core);
    wait_status(&s, "1", "one", 201);
    /* And with the same ones nobody is disturbed. */
    front = service_child(&s, "front", 0);
    hangup(&s, "the configuration was reloaded");
    assert_int_equal(sign(&s, "1", "one"), 200);
    assert_int_equal(service_child(&s, "front", 0), front);
    service_stop(&s);
    service_end(&s);
}

static void test_reload_refused(void **state)
{
    (void)state;
    static const struct service_options narrow = {.http = "'body_max':8"};
    static const struct service_options wrong = {.http = "'body_max':0"};
    static const struct service_options fixed = {.http = "'body_max':100,'connections_max':77"};
    struct service s;
    make(&s, "refused", &narrow);
    service_start(&s);
    service_configure(&s, &wrong);
    hangup(&s, "http.body_max: not a whole number in range");
    assert_int_equal(sign(&s, "1", "nine bytes"), 413);
    /* One member that cannot change: the other one does not change either. */
    service_configure(&s, &fixed);
    hangup(&s, "http.connections_max cannot change while the service runs");
    assert_int_equal(sign(&s, "1", "nine bytes"), 413);
    assert_int_equal(lab_shell("rm '%s'", s.config), 0);
    hangup(&s, "the old one holds on");
    assert_int_equal(sign(&s, "1", "short"), 201);
    service_configure(&s, &narrow);
    hangup(&s, "the configuration was reloaded");
    service_stop(&s);
    service_end(&s);
}

/* A manager that waits for the end of the reload is told of it, however it ends. */
static void test_reload_is_told(void **state)
{
    (void)state;
    static const struct service_options wrong = {.http = "'body_max':0"};
    struct service s;
    struct manager m;
    make(&s, "told", NULL);
    manager_open(&m, "told.notify");
    service_start(&s);
    wait_heard(&m, "READY=1");
    forget(&m);
    hangup(&s, "the configuration was reloaded");
    wait_heard(&m, "READY=1");
    assert_non_null(strstr(m.heard, "RELOADING=1\nMONOTONIC_USEC="));
    service_configure(&s, &wrong);
    forget(&m);
    hangup(&s, "the configuration was not reloaded");
    wait_heard(&m, "the new configuration was refused");
    assert_non_null(strstr(m.heard, "READY=1"));
    service_stop(&s);
    manager_close(&m);
    service_end(&s);
}

/* Stopping ---------------------------------------------------------------------------------------
 */

/* A request of which the body is not there yet. */
static int begin_upload(const struct service *s, const char *version)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char head[256];
    strcpy(address.sun_path, s->socket);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int len = snprintf(head, sizeof(head),
                       "POST /v1/keys/fw/signatures?version=%s HTTP/1.1\r\nHost: signer\r\n"
                       "Content-Type: application/octet-stream\r\nContent-Length: 8\r\n\r\n1234",
                       version);
    assert_int_equal(send(fd, head, (size_t)len, MSG_NOSIGNAL), len);
    return fd;
}

/* Until the front has read it: the next request on another connection is answered after that one
 * was begun, since both were accepted in order; a moment more for the thread that reads it. */
static void settle(const struct service *s)
{
    struct answer a;
    assert_int_equal(service_get(s, &a, "/health/state"), 200);
    client_done(&a);
    lab_sleep_ms(1000);
}

static void test_stop_ends_requests_in_flight(void **state)
{
    (void)state;
    struct service s;
    char answer[4096] = "";
    make(&s, "drain", NULL);
    service_start(&s);
    int fd CLEANUP(fd_close) = begin_upload(&s, "1");
    settle(&s);
    off_t from = service_log_size(&s);
    assert_int_equal(kill(s.pid, SIGTERM), 0);
    wait_log(&s, from, "stopping");
    assert_int_equal(send(fd, "5678", 4, MSG_NOSIGNAL), 4);
    assert_true(recv(fd, answer, sizeof(answer) - 1, 0) > 0);
    assert_non_null(strstr(answer, "HTTP/1.1 201"));
    assert_int_equal(service_wait_end(&s), 0);
    /* What was answered is there after the stop. */
    service_start(&s);
    assert_int_equal(sign(&s, "1", "12345678"), 200);
    service_stop(&s);
    service_end(&s);
}

static void test_second_signal_does_not_wait(void **state)
{
    (void)state;
    struct service s;
    make(&s, "hurry", NULL);
    service_start(&s);
    assert_int_equal(sign(&s, "1", "one"), 201);
    int fd = begin_upload(&s, "2");
    settle(&s);
    off_t from = service_log_size(&s);
    assert_int_equal(kill(s.pid, SIGTERM), 0);
    wait_log(&s, from, "stopping");
    assert_int_equal(kill(s.pid, SIGTERM), 0);
    wait_log(&s, from, "stopping at once");
    assert_int_equal(service_wait_end(&s), 0);
    (void)close(fd);
    service_start(&s);
    assert_int_equal(sign(&s, "1", "one"), 200);
    assert_int_equal(sign(&s, "2", "two"), 201);
    service_stop(&s);
    service_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready_when_there_is_a_state),
        cmocka_unit_test(test_not_ready_without_state),
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_reload_identities),
        cmocka_unit_test(test_reload_refused),
        cmocka_unit_test(test_reload_is_told),
        cmocka_unit_test(test_stop_ends_requests_in_flight),
        cmocka_unit_test(test_second_signal_does_not_wait),
    };
    int opened = lab_open();
    if (opened != 0)
        return opened;
    return cmocka_run_group_tests(tests, start_clocks, stop_clocks);
}
