#include "lib/clock_bench.h"

#include <inttypes.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/secmem.h"
#include "base/text.h"

char bench_dir[96];
char bench_chronyd[512];

/* Time ----------------------------------------------------------------------------------------- */

static int64_t now_ns(clockid_t clock)
{
    struct timespec t = {0};
    (void)clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

int64_t raw_now_ns(void)
{
    return now_ns(CLOCK_MONOTONIC_RAW);
}

static int64_t real_ns(void *ctx)
{
    const struct bench *b = ctx;
    return now_ns(CLOCK_REALTIME) + b->shift_ns;
}

static int64_t raw_ns(void *ctx)
{
    (void)ctx;
    return raw_now_ns();
}

static int64_t mono_ns(void *ctx)
{
    (void)ctx;
    return now_ns(CLOCK_MONOTONIC);
}

static int64_t boot_ns(void *ctx)
{
    (void)ctx;
    return now_ns(CLOCK_BOOTTIME);
}

void pause_ms(unsigned ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * MS};
    (void)nanosleep(&t, NULL);
}

/* Processes ------------------------------------------------------------------------------------ */

int run(const char *format, ...)
{
    char command[2048];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    return len < 0 || (size_t)len >= sizeof(command) ? -1 : system(command);
}

static void exec_chronyd(const struct bench *b, const char *conf)
{
    const char *script = SRCDIR "/scripts/chrony-pair.sh";
    char date[128];
    const struct passwd *me = getpwuid(getuid());
    if (me == NULL)
        return;
    (void)snprintf(date, sizeof(date), "%s/date", bench_dir);
    if (b->control)
        (void)execl(bench_chronyd, bench_chronyd, "-4", "-u", me->pw_name, "-d", "-f", conf,
                    (char *)NULL);
    else if (b->shift_ns != 0)
        (void)execl(script, script, "faketime", date, bench_chronyd, "-4", "-x", "-U", "-u",
                    me->pw_name, "-d", "-f", conf, (char *)NULL);
    else
        (void)execl(bench_chronyd, bench_chronyd, "-4", "-x", "-U", "-u", me->pw_name, "-d", "-f",
                    conf, (char *)NULL);
}

pid_t spawn_chronyd(const struct bench *b, const char *name, const char *conf)
{
    char path[128];
    char log[128];
    (void)snprintf(path, sizeof(path), "%s/%s.conf", bench_dir, name);
    (void)snprintf(log, sizeof(log), "%s/%s.log", bench_dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    (void)fprintf(f, "%s\npidfile %s/%s.pid\n", conf, bench_dir, name);
    assert_int_equal(fclose(f), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (freopen(log, "w", stderr) == NULL)
            _exit(127);
        exec_chronyd(b, path);
        _exit(127);
    }
    return pid;
}

void stop_chronyd(pid_t *pid)
{
    if (*pid <= 0)
        return;
    (void)kill(*pid, SIGTERM);
    (void)kill(*pid, SIGCONT); /* a test may have left it stopped */
    (void)waitpid(*pid, NULL, 0);
    *pid = 0;
}

bool log_says(const char *name, const char *pattern)
{
    return run("grep -q '%s' '%s/%s.log'", pattern, bench_dir, name) == 0;
}

uint16_t free_port(void)
{
    struct liar taken;
    liar_start(&taken, 1, 0);
    uint16_t port = taken.port;
    liar_stop(&taken);
    return port;
}

/* Fixtures ------------------------------------------------------------------------------------- */

static int find_chronyd(void)
{
    char path[128];
    const char *given = getenv("CHRONYD");
    if (given != NULL) {
        text_copy(bench_chronyd, sizeof(bench_chronyd), given);
        return 0;
    }
    if (run("'%s/scripts/get-chronyd' '%s/chronyd' >'%s/path'", SRCDIR, bench_dir, bench_dir) != 0)
        return -1;
    (void)snprintf(path, sizeof(path), "%s/path", bench_dir);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return -1;
    bool read = fgets(bench_chronyd, sizeof(bench_chronyd), f) != NULL;
    (void)fclose(f);
    bench_chronyd[strcspn(bench_chronyd, "\n")] = '\0';
    return read ? 0 : -1;
}

int bench_group_start(void **state)
{
    (void)state;
    struct err err = {0};
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(bench_dir, sizeof(bench_dir), "%s/clock.XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (base_init(&err) != RC_OK || mkdtemp(bench_dir) == NULL)
        return -1;
    return find_chronyd();
}

int bench_group_stop(void **state)
{
    (void)state;
    return run("rm -rf '%s'", bench_dir);
}

int bench_start(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return -1;
    /* All at one port, each at an address of its own: a reference id of its own. */
    liar_start(&b->servers[0], 2, 0);
    for (unsigned i = 1; i < SERVERS; i++)
        liar_start(&b->servers[i], 2 + i, b->servers[0].port);
    b->unix_socket = "/";
    b->patience_ms = PATIENCE_MS;
    b->time = (struct time_source){
        .ctx = b, .real_ns = real_ns, .raw_ns = raw_ns, .mono_ns = mono_ns, .boot_ns = boot_ns};
    b->policy = (struct clk_policy){.address = "127.0.0.1",
                                    .max_error_ms = 250,
                                    .max_age_s = 8,
                                    .max_stratum = 4,
                                    .warmup = 3,
                                    .guard_ms = 2000};
    /* A raw clock that is believed within 4 % only, so that a holdover lasts seconds, not minutes.
     */
    b->tolerance =
        (struct clk_tolerance){.raw_ppm = 40000, .max_forward_ms = 2000, .max_offline_s = 172800};
    *state = b;
    return 0;
}

int bench_stop(void **state)
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

/* Observing ------------------------------------------------------------------------------------ */

void set_date(struct bench *b, int64_t real_s, int64_t true_s)
{
    assert_false(b->control);
    for (size_t i = 0; i < SERVERS; i++)
        liar_stop(&b->servers[i]);
    int64_t host_s = now_ns(CLOCK_REALTIME) / SECOND;
    b->shift_ns = (real_s - host_s) * SECOND;
    assert_int_equal(run("echo '%+" PRId64 "' >'%s/date'", real_s - host_s, bench_dir), 0);
    liar_set_true_ns(now_ns(CLOCK_REALTIME) + (true_s - host_s) * SECOND);
    liar_start(&b->servers[0], 2, 0);
    for (unsigned i = 1; i < SERVERS; i++)
        liar_start(&b->servers[i], 2 + i, b->servers[0].port);
}

void observe(struct bench *b, const char *sources)
{
    char conf[CONF_MAX];
    struct clk_memory none = {0};
    struct err err = {0};
    b->policy.port = free_port();
    (void)snprintf(conf, sizeof(conf),
                   "%s\nport 0\ncmdport %" PRIu16 "\nbindcmdaddress 127.0.0.1\nbindcmdaddress %s",
                   sources, b->policy.port, b->unix_socket);
    b->chronyd[0] = spawn_chronyd(b, "observer", conf);
    if (clk_open(&b->clk, &b->policy, &b->time, &err) != RC_OK)
        fail_msg("%s", err_text(&err));
    clk_machine_init(&b->machine, &none);
    b->began_ns = liar_true_ns();
}

void server_lines(const struct bench *b, char *out, size_t cap)
{
    size_t at = 0;
    for (unsigned i = 0; i < SERVERS; i++)
        at += (size_t)snprintf(out + at, cap - at,
                               "server 127.0.0.%u port %" PRIu16 " iburst minpoll -2 maxpoll -2\n",
                               2 + i, b->servers[0].port);
}

void observe_servers(struct bench *b, const char *more)
{
    char sources[CONF_MAX] = "";
    server_lines(b, sources, sizeof(sources));
    size_t at = strlen(sources);
    (void)snprintf(sources + at, sizeof(sources) - at, "%s", more);
    observe(b, sources);
}

void tell(struct bench *b, unsigned first, unsigned last, const struct lies *lies)
{
    for (unsigned i = first; i <= last; i++)
        liar_tell(&b->servers[i], lies);
}

void tell_offset(struct bench *b, unsigned first, unsigned last, int64_t offset_ns)
{
    struct lies lies = liar_honest();
    lies.offset_ns = offset_ns;
    tell(b, first, last, &lies);
}

/* Looking -------------------------------------------------------------------------------------- */

/* One line when something changed: what a log of the machine would say. */
static void tell_change(const struct bench *b, enum clk_mode mode, uint32_t reasons)
{
    char names[CLK_REASONS_SIZE];
    if (b->v.mode == mode && b->r.reasons == reasons)
        return;
    clk_reasons_print(b->r.reasons, names, sizeof(names));
    print_message("%10.3f s  system clock %+.6f s  error %.6f s  %s %s\n",
                  (double)(b->before_ns - b->began_ns) / 1e9,
                  (double)(b->sample.evidence.real_ns - b->before_ns) / 1e9,
                  b->r.error_ns == INT64_MAX ? 0.0 : (double)b->r.error_ns / 1e9,
                  clk_mode_name(b->v.mode), names);
}

void look(struct bench *b)
{
    enum clk_mode mode = b->v.mode;
    uint32_t reasons = b->r.reasons;
    b->before_ns = liar_true_ns();
    clk_sample(b->clk, &b->sample);
    b->after_ns = liar_true_ns();
    clk_step(&b->machine, &b->policy, &b->tolerance, &b->sample, &b->r, &b->v);
    tell_change(b, mode, reasons);
}

static void fail_look(const struct bench *b, const char *wanted)
{
    char reasons[CLK_REASONS_SIZE];
    clk_reasons_print(b->r.reasons, reasons, sizeof(reasons));
    (void)run("tail -n 20 '%s/observer.log' >&2", bench_dir);
    fail_msg("%s (%s) instead of %s; from the truth to the interval %" PRId64 " to %" PRId64 " us",
             clk_mode_name(b->v.mode), reasons, wanted, (b->r.earliest_ns - b->after_ns) / 1000,
             (b->r.latest_ns - b->before_ns) / 1000);
}

void look_at_truth(struct bench *b)
{
    look(b);
    if (!b->r.safe)
        return;
    /* The floor may be ahead of the truth by as much as the reading of the last commit was wide. */
    bool early = b->r.earliest_ns > b->after_ns + b->lead_ns &&
                 b->r.earliest_ns != b->machine.memory.floor_ns;
    if (early || b->r.latest_ns < b->before_ns - b->lag_ns)
        fail_look(b, "the truth");
}

static bool in_mode(const struct bench *b, uint32_t mode)
{
    return b->v.mode == (enum clk_mode)mode;
}

static bool has_reason(const struct bench *b, uint32_t reason)
{
    return (b->r.reasons & reason) != 0;
}

static void look_until(struct bench *b, bool (*is_so)(const struct bench *b, uint32_t what),
                       uint32_t what, const char *name)
{
    int64_t begin = raw_now_ns();
    for (;;) {
        look_at_truth(b);
        if (is_so(b, what))
            return;
        if (raw_now_ns() - begin > b->patience_ms * MS)
            fail_look(b, name);
        pause_ms(LOOK_MS);
    }
}

void until(struct bench *b, enum clk_mode mode)
{
    look_until(b, in_mode, (uint32_t)mode, clk_mode_name(mode));
}

void until_reason(struct bench *b, uint32_t reason)
{
    look_until(b, has_reason, reason, clk_reason_text(reason));
}

void stays_right(struct bench *b, unsigned looks)
{
    for (unsigned i = 0; i < looks; i++) {
        look_at_truth(b);
        if (!b->r.safe)
            fail_look(b, "a safe reading");
        pause_ms(LOOK_MS);
    }
}

void stays_shut(struct bench *b, unsigned looks)
{
    for (unsigned i = 0; i < looks; i++) {
        look(b);
        if (b->r.safe)
            fail_look(b, "a reading that is not safe");
        pause_ms(LOOK_MS);
    }
}

void expect_reason(const struct bench *b, uint32_t reason)
{
    if (!has_reason(b, reason))
        fail_look(b, clk_reason_text(reason));
}
