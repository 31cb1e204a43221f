/*
 * A real chronyd between time servers that lie and the anchored clock: cases 8 to 10, 12, 35 and 38
 * to 40 of docs/clock.md. The servers are ours (tests/lib/liar.h), chronyd an observer that touches
 * no clock, so the time of this host is the truth; those with network time security are chronyd
 * too.
 */
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
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/secmem.h"
#include "base/text.h"
#include "clock/machine.h"
#include "lib/liar.h"

#define SECOND INT64_C(1000000000)
#define MS INT64_C(1000000)
#define SERVERS 3
#define PATIENCE_MS 60000
#define LOOK_MS 100
#define CONF_MAX 2048

static char work_dir[96];
static char chronyd[512];

static int64_t now_ns(clockid_t clock)
{
    struct timespec t = {0};
    (void)clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

static int64_t real_ns(void *ctx)
{
    (void)ctx;
    return now_ns(CLOCK_REALTIME);
}

static int64_t raw_ns(void *ctx)
{
    (void)ctx;
    return now_ns(CLOCK_MONOTONIC_RAW);
}

static const struct time_source host_time = {.real_ns = real_ns, .raw_ns = raw_ns};

/* A raw clock that is believed within 2 % only, so that a holdover lasts seconds, not minutes. */
static const struct clk_tolerance tolerance = {
    .raw_ppm = 20000, .max_forward_ms = 2000, .max_offline_s = 172800};

struct bench {
    struct liar servers[SERVERS];
    pid_t chronyd[2]; /* the observer, and a server of its own kind */
    struct clk_policy policy;
    struct clk *clk;
    struct clk_machine machine;
    struct clk_reading r;
    struct clk_verdict v;
    int64_t before_ns, after_ns; /* the truth around the last look */
};

static int run(const char *format, ...) PRINTF_LIKE(1, 2);
static int run(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    return len < 0 || (size_t)len >= sizeof(command) ? -1 : system(command);
}

static int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return -1;
    /* All at one port, each at an address of its own: a reference id of its own. */
    liar_start(&b->servers[0], 2, 0);
    for (unsigned i = 1; i < SERVERS; i++)
        liar_start(&b->servers[i], 2 + i, b->servers[0].port);
    b->policy = (struct clk_policy){.address = "127.0.0.1",
                                    .max_error_ms = 250,
                                    .max_age_s = 8,
                                    .max_stratum = 4,
                                    .warmup = 3,
                                    .guard_ms = 2000};
    *state = b;
    return 0;
}

static void stop_chronyd(pid_t *pid)
{
    if (*pid <= 0)
        return;
    (void)kill(*pid, SIGTERM);
    (void)waitpid(*pid, NULL, 0);
    *pid = 0;
}

static int bench_stop(void **state)
{
    struct bench *b = *state;
    clk_close(&b->clk);
    for (size_t i = 0; i < 2; i++)
        stop_chronyd(&b->chronyd[i]);
    for (size_t i = 0; i < SERVERS; i++)
        liar_stop(&b->servers[i]);
    free(b);
    return 0;
}

/* Start a chronyd on a configuration, its log in work_dir/NAME.log. */
static pid_t spawn_chronyd(const char *name, const char *conf)
{
    char path[128];
    char log[128];
    (void)snprintf(path, sizeof(path), "%s/%s.conf", work_dir, name);
    (void)snprintf(log, sizeof(log), "%s/%s.log", work_dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    (void)fprintf(f, "%s\nbindcmdaddress /\npidfile %s/%s.pid\n", conf, work_dir, name);
    assert_int_equal(fclose(f), 0);
    const struct passwd *me = getpwuid(getuid());
    assert_non_null(me);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (freopen(log, "w", stderr) == NULL)
            _exit(127);
        (void)execl(chronyd, chronyd, "-4", "-x", "-U", "-u", me->pw_name, "-d", "-f", path,
                    (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* A port that nothing listens on now; another process may take it, and the test then fails. */
static uint16_t free_port(void)
{
    struct liar taken;
    liar_start(&taken, 1, 0);
    uint16_t port = taken.port;
    liar_stop(&taken);
    return port;
}

/* An observer of these sources, asked over UDP alone: its Unix socket is switched off (case 38). */
static void observe(struct bench *b, const char *sources)
{
    char conf[CONF_MAX];
    struct clk_memory none = {0};
    struct err err = {0};
    b->policy.port = free_port();
    (void)snprintf(conf, sizeof(conf), "%s\nport 0\ncmdport %" PRIu16 "\nbindcmdaddress 127.0.0.1",
                   sources, b->policy.port);
    b->chronyd[0] = spawn_chronyd("observer", conf);
    if (clk_open(&b->clk, &b->policy, &host_time, &err) != RC_OK)
        fail_msg("%s", err_text(&err));
    clk_machine_init(&b->machine, &none);
}

/* The three servers, and more lines. */
static void observe_servers(struct bench *b, const char *more)
{
    char sources[CONF_MAX] = "";
    size_t at = 0;
    for (unsigned i = 0; i < SERVERS; i++)
        at += (size_t)snprintf(sources + at, sizeof(sources) - at,
                               "server 127.0.0.%u port %" PRIu16 " iburst minpoll -2 maxpoll -2\n",
                               2 + i, b->servers[0].port);
    (void)snprintf(sources + at, sizeof(sources) - at, "%s", more);
    observe(b, sources);
}

static void look(struct bench *b)
{
    struct clk_sample sample;
    b->before_ns = real_ns(NULL);
    clk_sample(b->clk, &sample);
    b->after_ns = real_ns(NULL);
    clk_step(&b->machine, &b->policy, &tolerance, &sample, &b->r, &b->v);
}

static void pause_ms(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * MS};
    (void)nanosleep(&t, NULL);
}

/* Whoever signs by this reading must not be wrong, whatever the servers say. */
static void expect_truth(const struct bench *b)
{
    assert_true(b->r.earliest_ns <= b->after_ns);
    assert_true(b->r.latest_ns >= b->before_ns);
}

/* Look ten times a second until the machine is in this mode. */
static void until(struct bench *b, enum clk_mode mode)
{
    int64_t begin = raw_ns(NULL);
    char reasons[CLK_REASONS_SIZE];
    do {
        look(b);
        if (b->r.safe)
            expect_truth(b);
        if (b->v.mode == mode)
            return;
        pause_ms(LOOK_MS);
    } while (raw_ns(NULL) - begin < PATIENCE_MS * MS);
    clk_reasons_print(b->r.reasons, reasons, sizeof(reasons));
    fail_msg("%s (%s) instead of %s", clk_mode_name(b->v.mode), reasons, clk_mode_name(mode));
}

/* For a while it signs, and rightly so. */
static void stays_right(struct bench *b, unsigned looks)
{
    for (unsigned i = 0; i < looks; i++) {
        look(b);
        assert_true(b->r.safe);
        expect_truth(b);
        pause_ms(LOOK_MS);
    }
}

static void tell(struct bench *b, unsigned server, int64_t offset_ns)
{
    struct lies lies = liar_honest();
    lies.offset_ns = offset_ns;
    liar_tell(&b->servers[server], &lies);
}

static void test_08_too_few_sources(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "minsources 2");
    until(b, CLK_SYNCED);
    struct lies silent = liar_honest();
    silent.silent = true;
    liar_tell(&b->servers[0], &silent);
    liar_tell(&b->servers[1], &silent);
    /* chronyd goes on saying "normal"; the age of its last update does not lie. */
    until(b, CLK_HOLDOVER);
    until(b, CLK_UNSYNCED);
    assert_true(b->r.reasons & CLK_REASON(CLK_STALE));
    for (unsigned i = 0; i < 2; i++)
        tell(b, i, 0);
    until(b, CLK_SYNCED);
}

static void test_09_no_majority(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    tell(b, 0, 60 * SECOND);
    tell(b, 1, -60 * SECOND);
    until(b, CLK_UNSYNCED);
    assert_true(b->r.reasons & CLK_REASON(CLK_LEAP3));
    tell(b, 0, 0);
    tell(b, 1, 0);
    until(b, CLK_SYNCED);
}

static void test_10_one_of_three_lies(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    tell(b, 2, 30 * SECOND);
    stays_right(b, 60);
    struct lies other = liar_honest();
    other.stratum = 15;
    liar_tell(&b->servers[2], &other);
    stays_right(b, 20);
}

/* 12: the majority jumps. An observer does not follow: what it says is an offset of an hour. */
static void test_12_majority_lies(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    for (unsigned i = 0; i < 2; i++)
        tell(b, i, 3600 * SECOND);
    until(b, CLK_UNSYNCED);
    for (unsigned i = 0; i < 30; i++) {
        look(b);
        assert_false(b->r.safe);
        pause_ms(LOOK_MS);
    }
    for (unsigned i = 0; i < 2; i++)
        tell(b, i, 0);
    until(b, CLK_SYNCED);
    assert_int_equal(b->v.quarantine.id, 0);
}

static void test_35_smearing_sources(void **state)
{
    struct bench *b = *state;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    struct lies smear = liar_honest();
    smear.rate = -1.0 / 86400;
    for (unsigned i = 0; i < SERVERS; i++)
        liar_tell(&b->servers[i], &smear);
    stays_right(b, 50);
}

/* The way back takes 0.2 s longer than the way there: the offset is wrong, the interval right. */
static void test_40_asymmetric_delay(void **state)
{
    struct bench *b = *state;
    struct lies late = liar_honest();
    late.lag_ns = 200 * MS;
    for (unsigned i = 0; i < SERVERS; i++)
        liar_tell(&b->servers[i], &late);
    b->policy.max_error_ms = 1000;
    observe_servers(b, "");
    until(b, CLK_SYNCED);
    assert_true(b->r.error_ns >= 190 * MS);
    stays_right(b, 20);
}

/* Network time security ------------------------------------------------------------------------ */

#define NEW_KEY "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

/* A key and a certificate for 127.0.0.1 by an authority, made some days ago and valid so long. */
static void make_certificate(const char *authority, const char *name, int made_days, int valid_days)
{
    assert_int_equal(run("cd '%s' && { [ -f %s.crt ] || openssl req -x509 " NEW_KEY
                         " -keyout %s.key -out %s.crt -days 30 -subj /CN=%s; } >log 2>&1",
                         work_dir, authority, authority, authority, authority),
                     0);
    assert_int_equal(run("cd '%s' && openssl req -new " NEW_KEY
                         " -keyout %s.key -out %s.csr -subj /CN=127.0.0.1 >log 2>&1 && "
                         "chmod 600 %s.key && echo 'subjectAltName=IP:127.0.0.1' >ext && "
                         "echo '%+dd' >date",
                         work_dir, name, name, name, made_days),
                     0);
    assert_int_equal(run("cd '%s' && '%s/scripts/chrony-pair.sh' faketime date openssl x509 -req "
                         "-in %s.csr -CA %s.crt -CAkey %s.key -CAcreateserial -days %d "
                         "-extfile ext -out %s.crt >log 2>&1 || { cat log >&2; false; }",
                         work_dir, SRCDIR, name, authority, authority, valid_days, name),
                     0);
}

/* A chronyd that serves with this certificate, and an observer that trusts `authority`. */
static void serve_secure(struct bench *b, const char *certificate, const char *more)
{
    char conf[CONF_MAX];
    uint16_t port = free_port();
    uint16_t key_port = free_port();
    (void)snprintf(conf, sizeof(conf),
                   "local stratum 1\nallow 127.0.0.1\nport %" PRIu16 "\nbindaddress 127.0.0.1\n"
                   "cmdport 0\nntsport %" PRIu16
                   "\nntsserverkey %s/%s.key\nntsservercert %s/%s.crt",
                   port, key_port, work_dir, certificate, work_dir, certificate);
    b->chronyd[1] = spawn_chronyd("server", conf);
    (void)snprintf(conf, sizeof(conf),
                   "server 127.0.0.1 port %" PRIu16 " nts ntsport %" PRIu16
                   " iburst minpoll -2 maxpoll -2\nntstrustedcerts %s/authority.crt\n"
                   "nosystemcert\nauthselectmode require\n%s",
                   port, key_port, work_dir, more);
    observe(b, conf);
}

static void test_39_nts_good(void **state)
{
    struct bench *b = *state;
    char liar[128];
    make_certificate("authority", "good", 0, 10);
    tell(b, 0, 120 * SECOND);
    (void)snprintf(liar, sizeof(liar),
                   "server 127.0.0.2 port %" PRIu16 " iburst minpoll -2 maxpoll -2",
                   b->servers[0].port);
    serve_secure(b, "good", liar);
    until(b, CLK_SYNCED);
    stays_right(b, 20);
}

/* Refused for its certificate: chronyd says so, and nothing is signed by such a time. */
static void expect_refused(struct bench *b, const char *certificate)
{
    serve_secure(b, certificate, "");
    int64_t begin = raw_ns(NULL);
    while (run("grep -q -i 'TLS handshake' '%s/observer.log'", work_dir) != 0) {
        if (raw_ns(NULL) - begin > PATIENCE_MS * MS) {
            (void)run("cat '%s/observer.log' >&2", work_dir);
            fail_msg("chronyd does not complain about the certificate '%s'", certificate);
        }
        look(b);
        assert_false(b->r.safe);
        pause_ms(LOOK_MS);
    }
    while (b->r.reasons != CLK_REASON(CLK_LEAP3)) {
        assert_true(raw_ns(NULL) - begin < 2 * PATIENCE_MS * MS);
        pause_ms(LOOK_MS);
        look(b);
        assert_false(b->r.safe);
    }
}

static void test_39_nts_expired(void **state)
{
    make_certificate("authority", "expired", -20, 10);
    expect_refused(*state, "expired");
}

static void test_39_nts_not_yet_valid(void **state)
{
    make_certificate("authority", "early", 5, 10);
    expect_refused(*state, "early");
}

static void test_39_nts_unknown_authority(void **state)
{
    make_certificate("authority", "good", 0, 10); /* so that there is an authority to trust */
    make_certificate("other", "foreign", 0, 10);
    expect_refused(*state, "foreign");
}

/* What is shipped for signer hosts is what chronyd itself can read. */
static void test_shipped_configuration(void **state)
{
    (void)state;
    assert_int_equal(
        run("'%s' -p -f '%s/etc/chrony/tidemark.conf' >'%s/log'", chronyd, SRCDIR, work_dir), 0);
}

static int group_start(void **state)
{
    (void)state;
    struct err err = {0};
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(work_dir, sizeof(work_dir), "%s/clock-lies.XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (base_init(&err) != RC_OK || mkdtemp(work_dir) == NULL)
        return -1;
    const char *given = getenv("CHRONYD");
    char path[128];
    if (given == NULL &&
        run("'%s/scripts/get-chronyd' '%s/chronyd' >'%s/path'", SRCDIR, work_dir, work_dir) == 0) {
        (void)snprintf(path, sizeof(path), "%s/path", work_dir);
        FILE *f = fopen(path, "re");
        if (f == NULL || fgets(chronyd, sizeof(chronyd), f) == NULL)
            return -1;
        (void)fclose(f);
        chronyd[strcspn(chronyd, "\n")] = '\0';
        return 0;
    }
    text_copy(chronyd, sizeof(chronyd), given != NULL ? given : "");
    return given != NULL ? 0 : -1;
}

static int group_stop(void **state)
{
    (void)state;
    return run("rm -rf '%s'", work_dir);
}

#define LIES(f) cmocka_unit_test_setup_teardown(f, bench_start, bench_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIES(test_08_too_few_sources),
        LIES(test_09_no_majority),
        LIES(test_10_one_of_three_lies),
        LIES(test_12_majority_lies),
        LIES(test_35_smearing_sources),
        LIES(test_40_asymmetric_delay),
        LIES(test_39_nts_good),
        LIES(test_39_nts_expired),
        LIES(test_39_nts_not_yet_valid),
        LIES(test_39_nts_unknown_authority),
        cmocka_unit_test(test_shipped_configuration),
    };
    return cmocka_run_group_tests(tests, group_start, group_stop);
}
