/*
 * The clock against the real chronyd: a pair from scripts/chrony-pair.sh, and single ones that
 * follow nobody. Needs no privilege and does not touch the clock of the host. Skipped where there
 * is no chronyd; CHRONYD=path in the environment names one, otherwise scripts/get-chronyd looks for
 * it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/secmem.h"
#include "base/text.h"
#include "clock/clock.h"

#define SECOND INT64_C(1000000000)
#define MS INT64_C(1000000)
#define WEEK_S 604800
#define PATIENCE_MS 60000 /* then a test gives up */
#define SKIPPED 77        /* automake's exit status for a test that could not run */

static char work_dir[128];
static char chronyd[512];

static int run(const char *format, ...) PRINTF_LIKE(1, 2);
static int run(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof(command))
        return -1;
    return system(command);
}

static int64_t now_ns(clockid_t clock)
{
    struct timespec t = {0};
    (void)clock_gettime(clock, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static int64_t elapsed_ms(int64_t since_ns)
{
    return (now_ns(CLOCK_MONOTONIC) - since_ns) / MS;
}

static void sleep_ms(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * MS};
    (void)nanosleep(&t, NULL);
}

/* The time of the host, plus a shift for the test that moves chronyd's clock too. */
static int64_t real_ns(void *ctx)
{
    const int64_t *shift_s = ctx;
    return now_ns(CLOCK_REALTIME) + *shift_s * SECOND;
}

static int64_t raw_ns(void *ctx)
{
    (void)ctx;
    return now_ns(CLOCK_MONOTONIC_RAW);
}

struct bench {
    int64_t shift_s;
    struct time_source time;
    struct clk_policy policy;
    struct clk *clk;
    struct clk_reading r;
    pid_t single; /* a chronyd without a partner, 0 if there is none */
};

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return -1;
    b->time = (struct time_source){.ctx = &b->shift_s, .real_ns = real_ns, .raw_ns = raw_ns};
    b->policy = (struct clk_policy){.address = "127.0.0.1",
                                    .max_error_ms = 250,
                                    .max_age_s = 512,
                                    .max_stratum = 4,
                                    .warmup = 3,
                                    .guard_ms = 2000};
    *state = b;
    return 0;
}

static int bench_stop(void **state)
{
    struct bench *b = *state;
    clk_close(&b->clk);
    if (b->single > 0) {
        (void)kill(b->single, SIGTERM);
        (void)waitpid(b->single, NULL, 0);
    }
    free(b);
    return run("'%s/scripts/chrony-pair.sh' stop '%s/pair'", SRCDIR, work_dir);
}

static uint64_t number_in(const char *name)
{
    char path[256];
    char text[32] = "";
    uint64_t number = 0;
    (void)snprintf(path, sizeof(path), "%s/pair/%s", work_dir, name);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof(text), f));
    (void)fclose(f);
    text[strcspn(text, "\n")] = '\0';
    assert_true(text_to_u64(&number, text, INT32_MAX));
    return number;
}

static void start_pair(struct bench *b, const char *environment)
{
    assert_int_equal(run("%s '%s/scripts/chrony-pair.sh' start '%s/pair' '%s'", environment, SRCDIR,
                         work_dir, chronyd),
                     0);
    b->policy.port = (uint16_t)number_in("client.cmdport");
}

static void open_clock(struct bench *b)
{
    struct err err = {0};
    clk_close(&b->clk);
    if (clk_open(&b->clk, &b->policy, &b->time, &err) != RC_OK)
        fail_msg("%s", err_text(&err));
}

static void expect_reasons(const struct bench *b, uint32_t expected)
{
    char seen[CLK_REASONS_SIZE];
    char wanted[CLK_REASONS_SIZE];
    clk_reasons_print(b->r.reasons, seen, sizeof(seen));
    clk_reasons_print(expected, wanted, sizeof(wanted));
    assert_string_equal(seen, wanted);
}

/* Read ten times a second until the reading has exactly these reasons. How long that takes is a
 * matter of the machine (after a step chronyd must be given the time to measure anew). */
static void read_until(struct bench *b, uint32_t reasons)
{
    int64_t begin_ns = now_ns(CLOCK_MONOTONIC);
    do {
        clk_read(b->clk, &b->r);
        if (b->r.reasons == reasons)
            return;
        sleep_ms(100);
    } while (elapsed_ms(begin_ns) < PATIENCE_MS);
    expect_reasons(b, reasons);
}

static void expect_sound_interval(const struct bench *b)
{
    int64_t now = real_ns(b->time.ctx);
    assert_true(b->r.safe);
    assert_true(b->r.error_ns > 0 && b->r.error_ns < 250 * MS);
    assert_true(b->r.latest_ns - b->r.earliest_ns == 2 * b->r.error_ns);
    /* The host is the server's clock, hence the true time; the reading is a moment old. */
    assert_true(b->r.earliest_ns <= now);
    assert_true(b->r.latest_ns >= now - 100 * MS);
}

static void case_04_follows_a_server(void **state)
{
    struct bench *b = *state;
    start_pair(b, "");
    open_clock(b);
    clk_read(b->clk, &b->r);
    assert_false(b->r.safe); /* one update is not enough */
    read_until(b, 0);
    expect_sound_interval(b);
    assert_int_equal(b->r.ref_id, 0x7f000001);
    assert_int_equal(b->r.stratum, 4);

    /* And stays so, also against a window of the plan. */
    int64_t now_s = now_ns(CLOCK_REALTIME) / SECOND;
    for (int i = 0; i < 20; i++) {
        int64_t wait_ms = 0;
        clk_read(b->clk, &b->r);
        expect_sound_interval(b);
        assert_true(clk_inside(&b->r, &b->policy, now_s - 300, now_s + 300, &wait_ms));
        assert_false(clk_inside(&b->r, &b->policy, now_s + 300, now_s + 600, &wait_ms));
        assert_in_range(wait_ms, 290000, 303000);
        sleep_ms(50);
    }

    /* The source's stratum is above the limit. */
    b->policy.max_stratum = 3;
    open_clock(b);
    clk_read(b->clk, &b->r);
    expect_reasons(b, CLK_REASON(CLK_STRATUM));
}

static void case_07_server_lost(void **state)
{
    struct bench *b = *state;
    start_pair(b, "");
    b->policy.max_age_s = 3;
    open_clock(b);
    read_until(b, 0);

    /* chronyd goes on saying "leap 0, stratum 4" with a tiny bound; only the age shows it. */
    assert_int_equal(kill((pid_t)number_in("server.pid"), SIGKILL), 0);
    int64_t begin_ns = now_ns(CLOCK_MONOTONIC);
    sleep_ms(500);
    clk_read(b->clk, &b->r);
    expect_sound_interval(b);
    read_until(b, CLK_REASON(CLK_STALE));
    /* The reference time was up to 1.3 s old when the server died. */
    assert_in_range(elapsed_ms(begin_ns), 1500, 3500);
    assert_int_equal(b->r.stratum, 4);
    assert_true(b->r.error_ns < 250 * MS);
}

/* How long a reading takes that gets no answer. The fastest of three, because this process itself
 * may be put aside on a busy machine. */
static int64_t fastest_silence_ms(struct bench *b)
{
    int64_t fastest_ms = INT64_MAX;
    for (int i = 0; i < 3; i++) {
        int64_t begin_ns = now_ns(CLOCK_MONOTONIC);
        clk_read(b->clk, &b->r);
        int64_t ms = elapsed_ms(begin_ns);
        fastest_ms = ms < fastest_ms ? ms : fastest_ms;
        expect_reasons(b, CLK_REASON(CLK_NO_REPLY));
    }
    return fastest_ms;
}

static void case_02_client_hangs(void **state)
{
    struct bench *b = *state;
    start_pair(b, "");
    open_clock(b);
    read_until(b, 0);
    pid_t client = (pid_t)number_in("client.pid");
    assert_int_equal(kill(client, SIGSTOP), 0);
    assert_in_range(fastest_silence_ms(b), CLK_TIMEOUT_MS - 20, CLK_TIMEOUT_MS + 50);
    /* It wakes up while we wait and answers the three old requests first; they are not taken for
     * answers to this one. */
    pid_t waker = fork();
    assert_true(waker >= 0);
    if (waker == 0) {
        sleep_ms(CLK_TIMEOUT_MS / 10);
        _exit(kill(client, SIGCONT) == 0 ? 0 : 1);
    }
    clk_read(b->clk, &b->r);
    int status = 0;
    assert_int_equal(waitpid(waker, &status, 0), waker);
    assert_int_equal(status, 0);
    expect_reasons(b, CLK_REASON(CLK_WARMUP));
    read_until(b, 0);
    expect_sound_interval(b);
}

static void case_01_client_dead(void **state)
{
    struct bench *b = *state;
    start_pair(b, "");
    open_clock(b);
    read_until(b, 0);
    assert_int_equal(kill((pid_t)number_in("client.pid"), SIGKILL), 0);
    sleep_ms(100);
    assert_in_range(fastest_silence_ms(b), 0, CLK_TIMEOUT_MS / 4);
}

static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    (void)close(fd);
    return ntohs(a.sin_port);
}

/* A chronyd of its own, with one line of configuration that matters. */
static void start_single(struct bench *b, const char *line)
{
    char path[256];
    b->policy.port = free_port();
    (void)snprintf(path, sizeof(path), "%s/single.conf", work_dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    (void)fprintf(f,
                  "%s\nport 0\ncmdport %" PRIu16 "\nbindcmdaddress 127.0.0.1\n"
                  "bindcmdaddress /\npidfile %s/single.pid\n",
                  line, b->policy.port, work_dir);
    assert_int_equal(fclose(f), 0);
    const struct passwd *me = getpwuid(getuid());
    assert_non_null(me);
    b->single = fork();
    assert_true(b->single >= 0);
    if (b->single == 0) {
        (void)snprintf(path, sizeof(path), "%s/single.conf", work_dir);
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(127);
        (void)execl(chronyd, chronyd, "-4", "-x", "-U", "-u", me->pw_name, "-d", "-f", path,
                    (char *)NULL);
        _exit(127);
    }
}

static void case_06_local_clock_only(void **state)
{
    struct bench *b = *state;
    start_single(b, "local stratum 3");
    open_clock(b);
    read_until(b, CLK_REASON(CLK_LOCAL_REF));
    assert_int_equal(b->r.ref_id, 0x7f7f0101);
    assert_true(b->r.error_ns < 250 * MS); /* it claims to be exact */
    for (int i = 0; i < 10; i++) {
        clk_read(b->clk, &b->r);
        expect_reasons(b, CLK_REASON(CLK_LOCAL_REF));
    }

    /* Allowed where somebody asks for it by name. */
    b->policy.allow_local_refid = true;
    b->policy.warmup = 1; /* it has no updates to count */
    open_clock(b);
    clk_read(b->clk, &b->r);
    expect_reasons(b, 0);
}

static void case_03_no_source(void **state)
{
    struct bench *b = *state;
    start_single(b, "# follows nobody");
    open_clock(b);
    read_until(b, CLK_REASON(CLK_LEAP3));
    sleep_ms(300);
    clk_read(b->clk, &b->r);
    expect_reasons(b, CLK_REASON(CLK_LEAP3));
}

static void shift_clock(struct bench *b, int64_t shift_s)
{
    assert_int_equal(run("echo '%+" PRId64 "' >'%s/shift.new' && mv '%s/shift.new' '%s/shift'",
                         shift_s, work_dir, work_dir, work_dir),
                     0);
    b->shift_s = shift_s;
}

/* The whole world moves by a week, as in tests that wait for the next window. */
static void test_faked_clock(void **state)
{
    struct bench *b = *state;
    char environment[256];
    (void)snprintf(environment, sizeof(environment), "FAKETIME_FILE='%s/shift'", work_dir);
    shift_clock(b, 0);
    if (run("'%s/scripts/chrony-pair.sh' faketime '%s/shift' true 2>/dev/null", SRCDIR, work_dir))
        skip();
    start_pair(b, environment);
    open_clock(b);
    read_until(b, 0);
    expect_sound_interval(b);

    static const int64_t shifts_s[] = {WEEK_S, WEEK_S + 60, -2 * WEEK_S};
    for (size_t i = 0; i < sizeof(shifts_s) / sizeof(shifts_s[0]); i++) {
        shift_clock(b, shifts_s[i]);
        /* Another process under the same clock sees it. */
        assert_int_equal(run("a=$('%s/scripts/chrony-pair.sh' faketime '%s/shift' date +%%s) && "
                             "b=$(($(date +%%s) + %" PRId64 ")) && "
                             "test $((b - a)) -ge 0 && test $((b - a)) -le 2",
                             SRCDIR, work_dir, shifts_s[i]),
                         0);
        clk_read(b->clk, &b->r);
        assert_false(b->r.safe);
        assert_int_not_equal(b->r.reasons & CLK_REASON(CLK_STEP), 0);
        read_until(b, 0);
        expect_sound_interval(b);
    }
}

static bool find_chronyd(void)
{
    char path[256];
    const char *given = getenv("CHRONYD");
    if (given != NULL) {
        (void)snprintf(chronyd, sizeof(chronyd), "%s", given);
        return true;
    }
    if (run("'%s/scripts/get-chronyd' '%s/chronyd' >'%s/path'", SRCDIR, work_dir, work_dir) != 0)
        return false;
    (void)snprintf(path, sizeof(path), "%s/path", work_dir);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    bool read = fgets(chronyd, sizeof(chronyd), f) != NULL;
    (void)fclose(f);
    chronyd[strcspn(chronyd, "\n")] = '\0';
    return read;
}

#define BENCH_TEST(f) cmocka_unit_test_setup_teardown(f, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BENCH_TEST(case_04_follows_a_server), BENCH_TEST(case_07_server_lost),
        BENCH_TEST(case_02_client_hangs),     BENCH_TEST(case_01_client_dead),
        BENCH_TEST(case_06_local_clock_only), BENCH_TEST(case_03_no_source),
        BENCH_TEST(test_faked_clock),
    };
    struct err err = {0};
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(work_dir, sizeof(work_dir), "%s/tidemark-clock-XXXXXX",
                   tmp != NULL ? tmp : "/tmp");
    if (base_init(&err) != RC_OK || mkdtemp(work_dir) == NULL) {
        (void)fprintf(stderr, "%s\n", err.rc != RC_OK ? err_text(&err) : strerror(errno));
        return 1;
    }
    int failed = SKIPPED;
    if (find_chronyd())
        failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)run("rm -rf '%s'", work_dir);
    return failed;
}
