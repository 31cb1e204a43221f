/*
 * `make bench` and `make bench-json`: key generation, signing and verification of every kind of
 * parameter set, against the two ends of the scale measured in the same run: libgcrypt called one
 * hash at a time, and the limit, which is the number of compressions that an operation needs times
 * the best time that any kernel of this CPU takes for one when all its lanes are full.
 *
 * Not a test: nothing here passes or fails. CPU time is counted, in rounds that measure everything
 * in turn, and ratios are taken within a round; the rows have the medians. docs/bench.md explains
 * the rows and keeps the table of one run.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/secmem.h"
#include "bench/bench.h"
#include "hbs/kernel.h"

#define ROUNDS 7
#define SLICE_S 0.02 /* how long one operation is repeated */
#define QUICK_SLICE_S 1e-4
#define LIMIT_CHAINS 1088 /* full rows for every kernel */
#define GCRYPT_LEAVES 8   /* enough to see what a leaf costs one hash at a time */
#define QUICK_LEAVES 32
#define SPIKES 10000
#define PEERS_MAX 8

struct options {
    bool json;
    bool quick;
    bool all;
    const char *only;
    const char *peers[PEERS_MAX];
    size_t peer_count;
};

static struct options options;

double bench_cpu_s(void)
{
    struct timespec t;
    MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_wall_s(void)
{
    struct timespec t;
    MUST(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_blocks(enum hbs_hash_kind hash, size_t len)
{
    return (double)(hash == HBS_SHA256 ? (len + 9 + 63) / 64 : len / 136 + 1);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *all, size_t count)
{
    qsort(all, count, sizeof(*all), by_size);
    return all[count / 2];
}

static size_t rounds(void)
{
    return options.quick ? 1 : ROUNDS;
}

/* The limit ------------------------------------------------------------------------------------ */

/* Seconds a compression takes in a kernel with full lanes. */
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

/* The fastest kernel of a hash, measured; a row for each if print is set. */
static const struct hbs_kernel *best_kernel(enum hbs_hash_kind hash, bool print)
{
    const struct hbs_kernel *best = NULL;
    const struct hbs_kernel *kernel = NULL;
    double least = 1;
    for (size_t i = 0; (kernel = hbs_kernel_at(hash, i)) != NULL; i++) {
        double all[ROUNDS];
        if (!kernel->supported())
            continue;
        for (size_t r = 0; r < rounds(); r++)
            all[r] = kernel_s(kernel);
        double s = median(all, rounds());
        best = s < least ? kernel : best;
        least = s < least ? s : least;
        char name[64];
        (void)snprintf(name, sizeof(name), "kernel-%s.%s",
                       hash == HBS_SHA256 ? "sha256" : "shake256", kernel->name);
        if (print)
            bench_print(options.json, &(struct bench_row){.name = name, .per_second = 1 / s});
    }
    return best;
}

/* One operation -------------------------------------------------------------------------------- */

enum operation {
    KEYGEN,
    SIGN,
    SIGN_BATCH,
    VERIFY,
    VERIFY_BATCH,
    RELEASE,
    RELEASE_BATCH,
    PREPARE,
    PREPARED,
    OPERATIONS
};

/* A release is what the service does with a value: no signature leaves it that was not verified. */
static const struct {
    const char *name;
    unsigned count; /* of values at once */
    bool signs, verifies;
} operations[] = {
    [KEYGEN] = {"keygen", 1, false, false},
    [SIGN] = {"sign", 1, true, false},
    [SIGN_BATCH] = {"sign-16", BENCH_BATCH, true, false},
    [VERIFY] = {"verify", 1, false, true},
    [VERIFY_BATCH] = {"verify-16", BENCH_BATCH, false, true},
    [RELEASE] = {"release", 1, true, true},
    [RELEASE_BATCH] = {"release-16", BENCH_BATCH, true, true},
    [PREPARE] = {"prepare", BENCH_BATCH, false, false},
    [PREPARED] = {"prepared-16", BENCH_BATCH, true, true},
};

static void run(const struct bench_scheme *scheme, enum operation operation, uint32_t leaves)
{
    static unsigned turn;
    unsigned count = operations[operation].count;
    unsigned first = turn % BENCH_VALUES / count * count;
    turn += count;
    if (operation == KEYGEN)
        scheme->keygen(0, leaves);
    if (operation == PREPARE)
        scheme->prepare(first, count);
    if (operation == PREPARED)
        scheme->use_prepared(true);
    if (operations[operation].signs)
        scheme->sign(first, count);
    if (operations[operation].verifies)
        scheme->verify(first, count);
    if (operation == PREPARED)
        scheme->use_prepared(false);
}

/* CPU seconds of one key generation, signature or verification, on average over a slice of time and
 * whole turns of the values. */
static double measure(const struct bench_scheme *scheme, enum operation operation, uint32_t leaves)
{
    unsigned count = operations[operation].count;
    unsigned turn = operation == KEYGEN ? 1 : BENCH_VALUES / count;
    double slice = options.quick ? QUICK_SLICE_S : SLICE_S;
    double start = bench_cpu_s();
    double passed = 0;
    unsigned done = 0;
    do {
        for (unsigned k = 0; k < turn; k++)
            run(scheme, operation, leaves);
        done += turn;
        passed = bench_cpu_s() - start;
    } while (passed < slice);
    return passed / done / count;
}

static double needs(const struct bench_scheme *scheme, enum operation operation, uint32_t leaves)
{
    if (operation == KEYGEN)
        return scheme->keygen_needs(leaves);
    if (operation == PREPARE)
        return scheme->prepare_needs();
    if (operation == PREPARED)
        return scheme->prepared_needs();
    return (operations[operation].signs ? scheme->sign_needs() : 0) +
           (operations[operation].verifies ? scheme->verify_needs() : 0);
}

static const struct hbs_kernel *gcrypt_of(enum hbs_hash_kind hash)
{
    return hash == HBS_SHA256 ? &hbs_kernel_gcrypt : &hbs_kernel_gcrypt_shake;
}

static uint32_t leaves_measured(const struct bench_scheme *scheme)
{
    uint32_t most = options.quick ? QUICK_LEAVES : BENCH_LEAVES_MAX;
    return scheme->height() < 10 && !options.quick ? UINT32_C(1) << scheme->height() : most;
}

/* One row: in each round the limit, ours and libgcrypt's, one after another. */
static void operation_bench(const struct bench_scheme *scheme, const char *set,
                            enum operation operation, const struct hbs_kernel *best)
{
    double ours[ROUNDS];
    double to_limit[ROUNDS];
    double to_gcrypt[ROUNDS];
    const struct hbs_kernel *used = hbs_kernel_current(scheme->hash());
    uint32_t leaves = leaves_measured(scheme);
    double need = needs(scheme, operation, leaves);
    double few = needs(scheme, operation, GCRYPT_LEAVES);
    for (size_t r = 0; r < rounds(); r++) {
        double limit = kernel_s(best) * need;
        ours[r] = measure(scheme, operation, leaves);
        hbs_kernel_use(gcrypt_of(scheme->hash()));
        to_gcrypt[r] = measure(scheme, operation, GCRYPT_LEAVES) * (need / few) / ours[r];
        hbs_kernel_use(used);
        to_limit[r] = limit / ours[r];
    }
    char name[64];
    (void)snprintf(name, sizeof(name), "%s.%s", set, operations[operation].name);
    double whole =
        operation == KEYGEN ? scheme->keygen_needs(UINT32_C(1) << scheme->height()) : need;
    bench_print(options.json,
                &(struct bench_row){.name = name,
                                    .per_second = need / whole / median(ours, rounds()),
                                    .needs = whole,
                                    .ratio_to_limit = median(to_limit, rounds()),
                                    .ratio_to_libgcrypt = median(to_gcrypt, rounds())});
}

/* Two cores ------------------------------------------------------------------------------------ */

struct part {
    const struct bench_scheme *scheme;
    uint32_t first;
    uint32_t count;
    double seconds; /* CPU time of its thread */
};

static double thread_s(void)
{
    struct timespec t;
    MUST(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *part_run(void *ctx)
{
    struct part *part = ctx;
    double start = thread_s();
    part->scheme->keygen(part->first, part->count);
    part->seconds = thread_s() - start;
    return NULL;
}

/* All leaves by one thread, then a half each by two at once: how much longer the slower one takes
 * than half the time. CPU time of the threads, so that other programs on the machine do not count;
 * what they share, the memory and the power of the chip, does. */
static void two_cores_bench(const struct bench_scheme *scheme, const char *set)
{
    uint32_t leaves = leaves_measured(scheme);
    double ratios[ROUNDS];
    double seconds[ROUNDS];
    for (size_t r = 0; r < rounds(); r++) {
        struct part all = {scheme, 0, leaves, 0};
        struct part halves[2] = {{scheme, 0, leaves / 2, 0}, {scheme, leaves / 2, leaves / 2, 0}};
        pthread_t other;
        (void)part_run(&all);
        MUST(pthread_create(&other, NULL, part_run, &halves[1]) == 0);
        (void)part_run(&halves[0]);
        MUST(pthread_join(other, NULL) == 0);
        bool first = halves[0].seconds > halves[1].seconds;
        seconds[r] = first ? halves[0].seconds : halves[1].seconds;
        ratios[r] = all.seconds / seconds[r];
    }
    char name[64];
    (void)snprintf(name, sizeof(name), "%s.keygen-2", set);
    double whole = scheme->keygen_needs(UINT32_C(1) << scheme->height());
    double part = scheme->keygen_needs(leaves) / whole;
    bench_print(options.json, &(struct bench_row){.name = name,
                                                  .per_second = part / median(seconds, rounds()),
                                                  .ratio_to_one_core = median(ratios, rounds())});
}

/* Spikes --------------------------------------------------------------------------------------- */

/* The slowest of many signatures against the median. Each is made three times, and the least time
 * counts: what an interrupt takes, it takes at another one the next time, and what is ours comes
 * again. */
static void spikes_bench(const struct bench_scheme *scheme, const char *set)
{
    static double all[SPIKES];
    size_t count = options.quick ? 100 : SPIKES;
    for (int pass = 0; pass < 3; pass++) {
        for (size_t k = 0; k < count; k++) {
            double start = thread_s();
            scheme->sign((unsigned)(k % BENCH_VALUES), 1);
            double passed = thread_s() - start;
            all[k] = pass == 0 || passed < all[k] ? passed : all[k];
        }
    }
    double middle = median(all, count);
    char name[64];
    (void)snprintf(name, sizeof(name), "%s.sign-spikes", set);
    bench_print(options.json, &(struct bench_row){.name = name,
                                                  .per_second = 1 / middle,
                                                  .slowest_to_median = all[count - 1] / middle});
}

/* Sets ----------------------------------------------------------------------------------------- */

static void set_bench(const struct bench_scheme *scheme, size_t i, const char *set)
{
    scheme->make(i);
    const struct hbs_kernel *best = best_kernel(scheme->hash(), false);
    for (enum operation o = KEYGEN; o < OPERATIONS; o++)
        if (o >= PREPARE ? scheme->prepare != NULL && scheme->prepare_needs() > 0
                         : scheme->batches || operations[o].count == 1)
            operation_bench(scheme, set, o, best);
    two_cores_bench(scheme, set);
    spikes_bench(scheme, set);
}

/* A process for each set, so that its peak of memory is its own. */
static bool set_apart(const struct bench_scheme *scheme, size_t i, const char *set)
{
    (void)fflush(NULL);
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        set_bench(scheme, i, set);
        (void)fflush(NULL);
        _exit(0);
    }
    int status = 0;
    struct rusage usage;
    MUST(wait4(child, &status, 0, &usage) == child);
    char name[64];
    (void)snprintf(name, sizeof(name), "%s.memory", set);
    bench_print(options.json, &(struct bench_row){.name = name, .peak_kib = usage.ru_maxrss});
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* Quick runs take the sets with short chains: a few milliseconds a row. */
static bool wanted(const char *set, bool standard)
{
    if (options.only != NULL)
        return strstr(set, options.only) != NULL;
    if (options.quick)
        return strcmp(set, "lms-sha256-m32-h5-w4") == 0 ||
               strcmp(set, "lms-shake-m24-h5-w2") == 0 || strcmp(set, "xmss-sha2_10_256") == 0 ||
               strcmp(set, "xmssmt-shake256_20/2_192") == 0;
    return standard || options.all;
}

static bool scheme_bench(const struct bench_scheme *scheme)
{
    char set[48];
    bool standard = false;
    for (size_t i = 0; scheme->set(i, set, &standard); i++)
        if (wanted(set, standard) && !set_apart(scheme, i, set))
            return false;
    return true;
}

/* Finds the set by the name in front of the dot. */
static const struct bench_scheme *set_find(const char *row, size_t *at)
{
    static const struct bench_scheme *const schemes[] = {&bench_lms, &bench_xmss};
    char set[48];
    bool standard = false;
    size_t len = strcspn(row, ".");
    for (size_t s = 0; s < 2; s++)
        for (*at = 0; schemes[s]->set(*at, set, &standard); (*at)++)
            if (strlen(set) == len && strncmp(set, row, len) == 0)
                return schemes[s];
    return NULL;
}

double bench_ours(const char *row)
{
    size_t at = 0;
    const struct bench_scheme *scheme = set_find(row, &at);
    const char *operation = strchr(row, '.');
    if (scheme == NULL || operation == NULL)
        return 0;
    scheme->make(at);
    for (enum operation o = KEYGEN; o < OPERATIONS; o++) {
        if (strcmp(operation + 1, operations[o].name) != 0)
            continue;
        double all[ROUNDS];
        uint32_t leaves = leaves_measured(scheme);
        for (size_t r = 0; r < rounds(); r++)
            all[r] = measure(scheme, o, leaves);
        double whole = o == KEYGEN ? scheme->keygen_needs(UINT32_C(1) << scheme->height()) /
                                         scheme->keygen_needs(leaves)
                                   : 1;
        return whole * median(all, rounds());
    }
    return 0;
}

static void usage(void)
{
    (void)fputs("usage: bench [--json] [--quick] [--all] [--only TEXT] [--peer NAME=DIR]...\n"
                "  --json       one JSON object a line\n"
                "  --quick      a few small sets, a few milliseconds a row: to see that it works\n"
                "  --all        every set that may sign, not only those of one height\n"
                "  --only TEXT  sets whose name contains TEXT\n"
                "  --peer NAME=DIR  build and time the source in DIR beside ours; NAME is\n"
                "               hash-sigs, xmss-reference, wolfssl or botan\n",
                stderr);
}

static bool options_read(int argc, char **argv)
{
    static const struct option longs[] = {
        {"json", no_argument, NULL, 'j'},       {"quick", no_argument, NULL, 'q'},
        {"all", no_argument, NULL, 'a'},        {"only", required_argument, NULL, 'o'},
        {"peer", required_argument, NULL, 'p'}, {NULL, 0, NULL, 0}};
    int option = 0;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        options.json = options.json || option == 'j';
        options.quick = options.quick || option == 'q';
        options.all = options.all || option == 'a';
        if (option == 'o')
            options.only = optarg;
        if (option == 'p' && options.peer_count < PEERS_MAX)
            options.peers[options.peer_count++] = optarg;
        if (option == '?')
            return false;
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    if (!options_read(argc, argv)) {
        usage();
        return 2;
    }
    if (base_init_public(&err) != RC_OK || hbs_kernel_start(&err) != RC_OK) {
        (void)fprintf(stderr, "bench: %s\n", err_text(&err));
        return 1;
    }
    if (!options.json)
        printf("Hash kernels: %s\n", hbs_kernel_summary());
    (void)best_kernel(HBS_SHA256, true);
    (void)best_kernel(HBS_SHAKE256, true);
    bool good = scheme_bench(&bench_lms) && scheme_bench(&bench_xmss);
    for (size_t p = 0; p < options.peer_count; p++)
        good = bench_peer(options.peers[p], options.json, options.quick) && good;
    return good ? 0 : 1;
}
