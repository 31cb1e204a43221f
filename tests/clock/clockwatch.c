/*
 * clockwatch: the anchored clock by itself, with a real chronyd, a real TPM and a signer that only
 * says in which window it would sign. For the virtual machines of scripts/clock-vm; it touches no
 * key.
 *
 * clockwatch [-p PORT] [-t TCTI] [-m FILE] [-w WINDOW_S] [-n COMMITS]
 *
 * One look a second. Prints a line when the mode or the reasons change, when the TPM comes or goes,
 * and when a window is signed in, which it does once for each window, COMMITS times at most. FILE
 * holds what outlives the process; it may be a block device. Ends when it is killed.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/secmem.h"
#include "base/text.h"
#include "clock/machine.h"
#include "tpm/device.h"

#define SECOND INT64_C(1000000000)
#define MS INT64_C(1000000)
#define MEMORY_LEN 128 /* of the record: a magic number, then 64-bit numbers */
#define MEMORY_MAGIC UINT64_C(0x54434c4f434b5731)
#define TPM_PAIR_NS (100 * MS)
#define TPM_TRIES 5

struct watch {
    struct clk_policy policy;
    struct clk_tolerance tolerance;
    const char *tcti;
    const char *memory_path;
    int64_t window_s;
    uint64_t commits_left;
    struct clk *clk;
    struct tpm *tpm;
    struct clk_machine machine;
    struct clk_reading r;
    struct clk_verdict v;
    bool had_tpm, refused;
    int64_t signed_in; /* window */
};

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

static const struct time_source host_time = {
    .real_ns = real_ns, .raw_ns = raw_ns, .mono_ns = mono_ns, .boot_ns = boot_ns};

static void say(const char *format, ...) PRINTF_LIKE(1, 2);
static void say(const char *format, ...)
{
    char when[32];
    time_t s = (time_t)(now_ns(CLOCK_REALTIME) / SECOND);
    struct tm tm = {0};
    (void)gmtime_r(&s, &tm);
    (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
    printf("clockwatch: %s raw %" PRId64 " s: ", when, now_ns(CLOCK_MONOTONIC_RAW) / SECOND);
    va_list args;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    printf("\n");
    (void)fflush(stdout);
}

/* What outlives the process ---------------------------------------------------------------------
 */

static void load(const struct watch *w, struct clk_memory *memory)
{
    uint8_t b[MEMORY_LEN] = {0};
    *memory = (struct clk_memory){0};
    int fd = w->memory_path != NULL ? open(w->memory_path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    bool read = pread(fd, b, sizeof(b), 0) == (ssize_t)sizeof(b);
    (void)close(fd);
    if (!read || be_get64(b) != MEMORY_MAGIC)
        return;
    memory->floor_ns = (int64_t)be_get64(b + 8);
    memory->seen_ns = (int64_t)be_get64(b + 16);
    memory->seen = (struct clk_tpm){.read = be_get64(b + 24) == 1,
                                    .clock_ms = be_get64(b + 32),
                                    .resets = be_get32(b + 40),
                                    .restarts = be_get32(b + 44),
                                    .safe = be_get64(b + 48) == 1};
    say("remembers a floor, and that the TPM's clock was %" PRIu64 " ms", memory->seen.clock_ms);
}

static void store(const struct watch *w)
{
    uint8_t b[MEMORY_LEN] = {0};
    const struct clk_memory *m = &w->machine.memory;
    if (w->memory_path == NULL)
        return;
    be_put64(b, MEMORY_MAGIC);
    be_put64(b + 8, (uint64_t)m->floor_ns);
    be_put64(b + 16, (uint64_t)m->seen_ns);
    be_put64(b + 24, m->seen.read ? 1 : 0);
    be_put64(b + 32, m->seen.clock_ms);
    be_put32(b + 40, m->seen.resets);
    be_put32(b + 44, m->seen.restarts);
    be_put64(b + 48, m->seen.safe ? 1 : 0);
    int fd = open(w->memory_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, b, sizeof(b), 0) != (ssize_t)sizeof(b) || fsync(fd) != 0)
        say("cannot write its memory");
    if (fd >= 0)
        (void)close(fd);
}

/* The TPM -------------------------------------------------------------------------------------- */

/* Its clock and the raw clock at one moment, or nothing. */
static void read_tpm(struct watch *w, struct clk_tpm *out)
{
    struct err err = {0};
    *out = (struct clk_tpm){0};
    if (w->tcti == NULL)
        return;
    const struct tpm_config config = {.tcti = w->tcti};
    if (w->tpm == NULL && tpm_open(&w->tpm, &config, true, &err) != RC_OK)
        return;
    for (int i = 0; i < TPM_TRIES; i++) {
        struct tpm_time t = {0};
        int64_t before = raw_ns(NULL);
        if (tpm_read_time(w->tpm, &t, &err) != RC_OK) {
            tpm_close(&w->tpm);
            return;
        }
        int64_t after = raw_ns(NULL);
        *out = (struct clk_tpm){.read = true,
                                .clock_ms = t.clock_ms,
                                .resets = t.reset_count,
                                .restarts = t.restart_count,
                                .safe = t.safe,
                                .raw_ns = before + (after - before) / 2};
        if (after - before < TPM_PAIR_NS)
            return;
    }
}

static void tell_tpm(struct watch *w, const struct clk_tpm *tpm)
{
    if (tpm->read == w->had_tpm)
        return;
    w->had_tpm = tpm->read;
    if (tpm->read)
        say("TPM: clock %" PRIu64 " ms, resets %" PRIu32 ", restarts %" PRIu32 ", safe %s",
            tpm->clock_ms, tpm->resets, tpm->restarts, tpm->safe ? "yes" : "no");
    else
        say("TPM: does not answer");
}

/* Looking and signing ---------------------------------------------------------------------------
 */

static void look(struct watch *w)
{
    char reasons[CLK_REASONS_SIZE];
    struct clk_sample sample;
    struct clk_tpm tpm;
    enum clk_mode mode = w->v.mode;
    uint32_t before = w->r.reasons;
    read_tpm(w, &tpm);
    tell_tpm(w, &tpm);
    clk_sample(w->clk, &sample);
    sample.tpm = tpm;
    clk_step(&w->machine, &w->policy, &w->tolerance, &sample, &w->r, &w->v);
    if (w->v.mode == mode && w->r.reasons == before && !w->v.disrupted)
        return;
    clk_reasons_print(w->r.reasons, reasons, sizeof(reasons));
    say("%s %s", clk_mode_name(w->v.mode), reasons);
}

static void sign(struct watch *w)
{
    int64_t wait_ms = 0;
    int64_t window = w->r.earliest_ns / SECOND / w->window_s;
    int64_t start_s = window * w->window_s;
    if (!clk_inside(&w->r, &w->policy, start_s, start_s + w->window_s, &wait_ms) ||
        window <= w->signed_in || w->commits_left == 0)
        return;
    if (start_s * SECOND < w->v.closed_before_ns) {
        say("window %" PRId64 " was open in a disruption and stays closed", window);
        w->signed_in = window;
        return;
    }
    if (w->tcti != NULL && !w->had_tpm) {
        if (!w->refused)
            say("window %" PRId64 " is not signed in: no TPM to anchor it", window);
        w->refused = true;
        return;
    }
    w->refused = false;
    clk_commit(&w->machine, &w->r);
    store(w);
    w->signed_in = window;
    w->commits_left--;
    say("signs in window %" PRId64, window);
}

static int options(struct watch *w, int argc, char **argv)
{
    uint64_t number = 0;
    for (int c = getopt(argc, argv, "p:t:m:w:n:"); c != -1; c = getopt(argc, argv, "p:t:m:w:n:")) {
        bool is_number = c == 'p' || c == 'w' || c == 'n';
        if (c == '?' || (is_number && !text_to_u64(&number, optarg, INT32_MAX)))
            return 2;
        if (c == 'p')
            w->policy.port = (uint16_t)number;
        else if (c == 'w')
            w->window_s = number > 0 ? (int64_t)number : 1;
        else if (c == 'n')
            w->commits_left = number;
        else if (c == 't')
            w->tcti = optarg;
        else
            w->memory_path = optarg;
    }
    return optind == argc ? 0 : 2;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct clk_memory memory;
    struct watch w = {
        .policy = {.address = "127.0.0.1",
                   .port = 323,
                   .max_error_ms = 250,
                   .max_age_s = 512,
                   .max_stratum = 4,
                   .warmup = 3,
                   .guard_ms = 2000,
                   .kernel_witness = true},
        .tolerance = {.raw_ppm = 200, .max_forward_ms = 2000, .max_offline_s = 172800},
        .window_s = 60,
        .commits_left = UINT64_MAX,
        .v = {.mode = CLK_UNSYNCED}};
    if (options(&w, argc, argv) != 0) {
        (void)fprintf(stderr, "usage: clockwatch [-p PORT] [-t TCTI] [-m FILE] [-w WINDOW_S] "
                              "[-n COMMITS]\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    if (base_init(&err) != RC_OK || clk_open(&w.clk, &w.policy, &host_time, &err) != RC_OK) {
        (void)fprintf(stderr, "clockwatch: %s\n", err_text(&err));
        return 1;
    }
    load(&w, &memory);
    clk_machine_init(&w.machine, &memory);
    for (;;) {
        look(&w);
        sign(&w);
        (void)sleep(1);
    }
}
