/*
 * bench_service: what the whole service does in a second, against the least that it can cost. Part
 * of `make bench` and `make bench-json`; docs/bench.md explains the rows.
 *
 * The bound of a row is taken in the same round, a moment before: CPU time of the reference program
 * (reference.h) for one request, and that of the compressions which one signature and its
 * verification cannot do without, over the cores at hand. Those are the CPU time that the service
 * took and what it left idle; what clients and other programs take is not at hand.
 *
 * Not a test: nothing here passes or fails by a figure.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/secmem.h"
#include "base/text.h"
#include "bench/bench.h"
#include "bench/host.h"
#include "bench/load.h"
#include "bench/reference.h"
#include "hbs/kernel.h"

#define ROUNDS_MAX 5
#define RUN_S 3.0
#define QUICK_RUN_S 0.3
#define WARM_S 0.3
#define CLIENTS 64
#define SLOW_TPM_MS 20
#define LIMIT_CHAINS 1088 /* full rows for every kernel */
#define FIELDS_MAX 16

static struct {
    bool json, quick;
    const char *only, *dir;
    uint64_t height, seconds; /* 0: as usual */
} options;

/* Rows ----------------------------------------------------------------------------------------- */

struct row {
    char name[48];
    size_t count;
    struct {
        const char *name;
        double values[ROUNDS_MAX];
        size_t rounds;
    } fields[FIELDS_MAX];
};

/* One more round's value of a field; the row has their median. */
static void put(struct row *row, const char *name, double value)
{
    size_t i = 0;
    while (i < row->count && strcmp(row->fields[i].name, name) != 0)
        i++;
    MUST(i < FIELDS_MAX);
    if (i == row->count)
        row->count++;
    row->fields[i].name = name;
    MUST(row->fields[i].rounds < ROUNDS_MAX);
    row->fields[i].values[row->fields[i].rounds++] = value;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_row(struct row *row)
{
    printf(options.json ? "{\"row\": \"%s\"" : "%-28s", row->name);
    for (size_t i = 0; i < row->count; i++) {
        size_t rounds = row->fields[i].rounds;
        qsort(row->fields[i].values, rounds, sizeof(double), by_size);
        double value = row->fields[i].values[rounds / 2];
        if (options.json)
            printf(", \"%s\": %.5g", row->fields[i].name, value);
        else
            printf("  %s %.4g", row->fields[i].name, value);
    }
    puts(options.json ? "}" : "");
    (void)fflush(stdout);
}

/* The hash limit ------------------------------------------------------------------------------- */

/* Seconds that a compression of SHA-256 takes in a kernel with full lanes. */
static double kernel_s(const struct hbs_kernel *kernel)
{
    static struct hbs_chain chains[LIMIT_CHAINS];
    static uint8_t values[LIMIT_CHAINS][HBS_N_MAX];
    static const uint8_t id[LMS_I_LEN];
    uint16_t steps = options.quick ? 8 : 255;
    for (size_t c = 0; c < LIMIT_CHAINS; c++)
        chains[c] = (struct hbs_chain){.to = steps, .in = values[c], .out = values[c]};
    double start = bench_cpu_s();
    kernel->chains(32, id, chains, LIMIT_CHAINS);
    return (bench_cpu_s() - start) / (LIMIT_CHAINS * (double)steps);
}

static double best_kernel_s(void)
{
    const struct hbs_kernel *kernel = NULL;
    double least = 1;
    for (size_t i = 0; (kernel = hbs_kernel_at(HBS_SHA256, i)) != NULL; i++) {
        double s = kernel->supported() ? kernel_s(kernel) : 1;
        least = s < least ? s : least;
    }
    return least;
}

/* Compressions for one signature of this set and its verification. */
static double hash_needs(const char *set)
{
    char name[48];
    bool standard = false;
    for (size_t i = 0; bench_lms.set(i, name, &standard); i++) {
        if (strcmp(name, set) != 0)
            continue;
        bench_lms.make(i);
        return bench_lms.sign_needs() + bench_lms.verify_needs();
    }
    return 0;
}

double bench_cpu_s(void)
{
    struct timespec t;
    MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_blocks(enum hbs_hash_kind hash, size_t len)
{
    return (double)(hash == HBS_SHA256 ? (len + 9 + 63) / 64 : len / 136 + 1);
}

/* Keys ----------------------------------------------------------------------------------------- */

static unsigned height(void)
{
    if (options.height > 0)
        return (unsigned)options.height;
    return options.quick ? 15 : 20;
}

/* An interval plan: which index signs needs no clock, so that the row is that of the service alone;
 * time plans look at the clock twice a batch. A crash costs at most a lease, 0.4 % of the key; at
 * these rates smaller ones would wear a chip by more than a write a second. */
static bool make_key(struct host *host, unsigned w)
{
    char name[16];
    char plan[512];
    (void)snprintf(name, sizeof(name), "w%u", w);
    (void)snprintf(plan, sizeof(plan),
                   "{'tidemark_plan':1,'key':'%s','profile':'sp800-208','scheme':'lms',"
                   "'parameters':['LMS_SHA256_M32_H%u','LMOTS_SHA256_N32_W%u'],'message':'raw',"
                   "'assignment':{'kind':'interval','signatures_per_window':%u,'lease_size':%u,"
                   "'seal':false}}",
                   name, height(), w, 1U << (height() - 2), 1U << (height() - 8));
    return host_key(host, name, plan);
}

static struct load *open_load(const struct host *host, unsigned w, unsigned clients)
{
    char target[64];
    (void)snprintf(target, sizeof(target), "/v1/keys/w%u/signatures?window=current", w);
    return load_open(host->socket, target, clients);
}

static double run_s(void)
{
    if (options.seconds > 0)
        return (double)options.seconds;
    return options.quick ? QUICK_RUN_S : RUN_S;
}

static size_t rounds(void)
{
    return options.quick ? 1 : ROUNDS_MAX;
}

/* Runs that are refused say nothing about speed. */
static bool run_load(struct load *load, double seconds, struct load_result *result)
{
    if (!load_run(load, seconds, result))
        return false;
    if (result->answers > 0 && result->refused == 0)
        return true;
    (void)fprintf(stderr, "bench_service: %lu of %lu requests were refused: %s\n",
                  (unsigned long)result->refused,
                  (unsigned long)(result->refused + result->answers), load_refusal(load));
    return false;
}

/* 64 clients ----------------------------------------------------------------------------------- */

/* CPU seconds of one request at the reference program. */
static bool reference_round(struct load *load, pid_t pid, double *cpu_s, double *per_second)
{
    struct load_result result;
    if (!run_load(load, WARM_S, &result))
        return false;
    double before = host_cpu_s(pid);
    if (!run_load(load, run_s() / 2, &result))
        return false;
    *cpu_s = (host_cpu_s(pid) - before) / (double)result.answers;
    *per_second = (double)result.answers / result.seconds;
    return true;
}

/* Between two looks 99 of 100 commits took no longer; as the classes let tell, evenly within one.
 */
static double commits_p99_s(const struct host_commits *before, const struct host_commits *after)
{
    size_t last = after->classes - 1;
    double wanted = (after->count[last] - before->count[last]) * 0.99;
    double from_s = 0;
    double below = 0;
    for (size_t i = 0; i < last; i++) {
        double upto = after->count[i] - before->count[i];
        if (upto >= wanted && upto > below)
            return from_s + (after->most_s[i] - from_s) * (wanted - below) / (upto - below);
        from_s = after->most_s[i];
        below = upto;
    }
    return from_s;
}

/* How long the commits of a run took, beside five syncs as slow as one in a hundred is. */
static bool put_commits(const struct host *host, const struct host_commits *before, struct row *row)
{
    struct host_commits after;
    double sync_us = 0;
    double p99_us = 0;
    if (!host_commits(host, &after) || !reference_sync(host->dir, run_s() / 6, &sync_us, &p99_us))
        return false;
    double p99_s = commits_p99_s(before, &after);
    put(row, "commit_p99_ms", p99_s * 1e3);
    put(row, "ratio_to_five_syncs", p99_s / (5 * p99_us * 1e-6));
    return true;
}

static bool service_round(const struct host *host, struct load *load, double reference_s,
                          double hash_s, struct row *row)
{
    struct load_result result;
    struct host_usage a;
    struct host_usage b;
    struct host_commits before;
    if (!run_load(load, WARM_S, &result) || !host_commits(host, &before))
        return false;
    host_usage(host, &a);
    if (!run_load(load, run_s(), &result))
        return false;
    host_usage(host, &b);
    double n = (double)result.answers;
    double used = (b.front_s - a.front_s) + (b.core_s - a.core_s) + (b.tpm_s - a.tpm_s);
    double cores = (used + b.idle_s - a.idle_s) / (b.wall_s - a.wall_s);
    double most = cores / (reference_s + hash_s);
    put(row, "per_second", n / result.seconds);
    put(row, "ratio_to_reference", n / result.seconds / most);
    put(row, "cpu_us", used / n * 1e6);
    put(row, "front_us", (b.front_s - a.front_s) / n * 1e6);
    put(row, "core_us", (b.core_s - a.core_s) / n * 1e6);
    put(row, "tpm_us", (b.tpm_s - a.tpm_s) / n * 1e6);
    put(row, "reference_us", reference_s * 1e6);
    put(row, "hash_us", hash_s * 1e6);
    put(row, "cores", cores);
    put(row, "p50_ms", result.p50_us / 1000);
    put(row, "p99_ms", result.p99_us / 1000);
    return put_commits(host, &before, row);
}

static bool many_clients(const struct host *host, unsigned w, pid_t reference,
                         const char *reference_socket)
{
    struct row row = {.count = 0};
    char set[48];
    (void)snprintf(set, sizeof(set), "lms-sha256-m32-h%u-w%u", height(), w);
    (void)snprintf(row.name, sizeof(row.name), "service.%d-clients.w%u", CLIENTS, w);
    double needs = hash_needs(set);
    struct load *least = load_open(reference_socket, "/", CLIENTS);
    struct load *load = open_load(host, w, CLIENTS);
    bool good = least != NULL && load != NULL && needs > 0;
    for (size_t r = 0; good && r < rounds(); r++) {
        double reference_s = 0;
        double reference_rate = 0;
        double hash_s = best_kernel_s() * needs;
        good = reference_round(least, reference, &reference_s, &reference_rate) &&
               service_round(host, load, reference_s, hash_s, &row);
        if (good)
            put(&row, "reference_per_second", reference_rate);
    }
    load_close(&least);
    load_close(&load);
    if (good)
        print_row(&row);
    return good;
}

/* One client, and a slow TPM ------------------------------------------------------------------- */

static unsigned commands_seen(struct host *host)
{
    (void)pthread_mutex_lock(&host->proxy.lock);
    unsigned seen = host->proxy.seen;
    (void)pthread_mutex_unlock(&host->proxy.lock);
    return seen;
}

/* One client: each request is a batch. How long it takes, and what of it one sync is. */
static bool one_client(const struct host *host, unsigned w)
{
    struct row row = {.count = 0};
    (void)snprintf(row.name, sizeof(row.name), "service.1-client.w%u", w);
    struct load *load = open_load(host, w, 1);
    bool good = load != NULL;
    for (size_t r = 0; good && r < rounds(); r++) {
        struct load_result result;
        double p50_us = 0;
        double p99_us = 0;
        good = reference_sync(host->dir, run_s() / 6, &p50_us, &p99_us) &&
               run_load(load, run_s() / 2, &result);
        if (!good)
            break;
        double rate = (double)result.answers / result.seconds;
        put(&row, "per_second", rate);
        put(&row, "ratio_to_two_syncs", rate * 2 * p50_us * 1e-6);
        put(&row, "p50_ms", result.p50_us / 1000);
        put(&row, "p99_ms", result.p99_us / 1000);
        put(&row, "sync_ms", p50_us / 1000);
        put(&row, "sync_p99_ms", p99_us / 1000);
    }
    load_close(&load);
    if (good)
        print_row(&row);
    return good;
}

/* Commands that one batch needs. Those of the clock and of new leases fall in between, but few, as
 * long as the TPM is fast; a batch has a whole number. */
static bool count_commands(struct host *host, struct load *one, unsigned *commands)
{
    struct load_result result;
    unsigned before = commands_seen(host);
    if (!run_load(one, run_s() / 2, &result))
        return false;
    *commands = (commands_seen(host) - before) / (unsigned)result.answers;
    return true;
}

/* A TPM as slow as a chip: what 64 clients reach of one batch for all of them in the time of the
 * TPM's part and one sync. */
static bool slow_tpm_round(const struct host *host, struct load *all, unsigned commands,
                           struct row *row)
{
    struct load_result result;
    double sync_us = 0;
    double p99_us = 0;
    if (!reference_sync(host->dir, run_s() / 6, &sync_us, &p99_us) ||
        !run_load(all, WARM_S, &result) || !run_load(all, run_s(), &result))
        return false;
    double least_s = (commands * SLOW_TPM_MS) * 1e-3 + sync_us * 1e-6;
    double rate = (double)result.answers / result.seconds;
    put(row, "per_second", rate);
    put(row, "ratio_to_tpm_and_sync", rate * least_s / CLIENTS);
    put(row, "tpm_commands", commands);
    put(row, "sync_ms", sync_us / 1000);
    put(row, "p50_ms", result.p50_us / 1000);
    put(row, "p99_ms", result.p99_us / 1000);
    return true;
}

static bool slow_tpm(struct host *host, unsigned w)
{
    const struct tpm_fault slow = {
        .kind = FAULT_DELAY, .at = 1, .times = 1U << 30, .rc = SLOW_TPM_MS};
    struct row row = {.count = 0};
    double ignored = 0;
    (void)snprintf(row.name, sizeof(row.name), "service.slow-tpm.w%u", w);
    host->proxied = true;
    tpmproxy_set(&host->proxy, NULL);
    bool good = host_start(host, &ignored);
    struct load *one = good ? open_load(host, w, 1) : NULL;
    struct load *all = good ? open_load(host, w, CLIENTS) : NULL;
    unsigned commands = 0;
    good = one != NULL && all != NULL && count_commands(host, one, &commands);
    tpmproxy_set(&host->proxy, &slow);
    for (size_t r = 0; good && r < rounds(); r++)
        good = slow_tpm_round(host, all, commands, &row);
    load_close(&one);
    load_close(&all);
    tpmproxy_set(&host->proxy, NULL);
    if (good)
        print_row(&row);
    host->proxied = false;
    return host_stop(host) && good;
}

/* Starting ------------------------------------------------------------------------------------- */

/* From the command to the first answer, with the keys of this run: node files good, TPM there. */
static bool starts(struct host *host)
{
    struct row row = {.count = 0};
    (void)snprintf(row.name, sizeof(row.name), "service.start.h%u", height());
    for (size_t r = 0; r < rounds(); r++) {
        double seconds = 0;
        long peak_kib = 0;
        long own_kib = 0;
        if (!host_start(host, &seconds) || !host_memory(host, &peak_kib, &own_kib) ||
            !host_stop(host))
            return false;
        put(&row, "seconds", seconds);
        put(&row, "peak_kib", (double)peak_kib);
        put(&row, "own_kib", (double)own_kib);
    }
    print_row(&row);
    return true;
}

/* All ------------------------------------------------------------------------------------------ */

static bool wanted(unsigned w)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "service.w%u", w);
    return options.only == NULL || strstr(name, options.only) != NULL;
}

static bool fast_tpm(struct host *host, const unsigned *sets, size_t count)
{
    char socket[HOST_PATH];
    double ignored = 0;
    (void)snprintf(socket, sizeof(socket), "%.60s/reference", host->dir);
    pid_t reference = reference_start(host->dir, socket);
    bool good = reference > 0 && host_start(host, &ignored);
    for (size_t i = 0; good && i < count; i++)
        if (wanted(sets[i]))
            good = many_clients(host, sets[i], reference, socket) && one_client(host, sets[i]);
    if (reference > 0) {
        (void)kill(reference, SIGKILL);
        (void)waitpid(reference, NULL, 0);
    }
    return host_stop(host) && good;
}

static bool run(struct host *host)
{
    static const unsigned sets[] = {4, 8};
    bool any = false;
    for (size_t i = 0; i < 2; i++) {
        any = any || wanted(sets[i]);
        if (wanted(sets[i]) && !make_key(host, sets[i]))
            return false;
    }
    if (!any)
        return true;
    bool good = starts(host) && fast_tpm(host, sets, 2);
    for (size_t i = 0; good && i < 2; i++)
        if (wanted(sets[i]))
            good = slow_tpm(host, sets[i]);
    return good;
}

static bool options_read(int argc, char **argv)
{
    /* --all and --peer are for the other half of `make bench`. */
    static const struct option longs[] = {{"json", no_argument, NULL, 'j'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"all", no_argument, NULL, 'a'},
                                          {"only", required_argument, NULL, 'o'},
                                          {"peer", required_argument, NULL, 'p'},
                                          {"dir", required_argument, NULL, 'd'},
                                          {"height", required_argument, NULL, 'h'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {NULL, 0, NULL, 0}};
    int option = 0;
    bool good = true;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        options.json = options.json || option == 'j';
        options.quick = options.quick || option == 'q';
        if (option == 'o')
            options.only = optarg;
        if (option == 'd')
            options.dir = optarg;
        if (option == 'h')
            good = text_to_u64(&options.height, optarg, 25) && options.height >= 10;
        if (option == 's')
            good = text_to_u64(&options.seconds, optarg, 3600);
        if (option == '?' || !good)
            return false;
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct host host = {.dir = ""};
    (void)signal(SIGPIPE, SIG_IGN);
    if (!options_read(argc, argv)) {
        (void)fputs("usage: bench_service [--json] [--quick] [--only TEXT] [--dir DIR]\n"
                    "  --quick      small keys and short runs: to see that it works\n"
                    "  --only TEXT  w4 or w8\n"
                    "  --dir DIR    make the keys there and keep them for the next run\n"
                    "  --height N   keys of 2^N leaves (20)\n"
                    "  --seconds N  a run (3)\n",
                    stderr);
        return 2;
    }
    if (base_init_public(&err) != RC_OK || hbs_kernel_start(&err) != RC_OK) {
        (void)fprintf(stderr, "bench_service: %s\n", err_text(&err));
        return 1;
    }
    bool good = host_open(&host, options.dir) && run(&host);
    host_close(&host);
    return good ? 0 : 1;
}
