/*
 * Exhaustive at small size: a key of eight indices in two windows and two requests. For each kind
 * of plan, every script in which the requests can meet the windows and each other (sim/life.h), and
 * in it every point at which the power can go (sim/moment.h), with every fate of what was not
 * synced. From each moment that such a cut leaves, life goes on with a start, and ends in front of
 * a judge; and on its way the power goes again, at every point, to the depth asked for. Beside the
 * honest cut, at each point: the disk put back to each earlier durable state; for a TPM of an
 * unknown vendor, its newest write lost; for a time plan, the clock in the next window when the
 * power is back.
 *
 * Moments that were met before (moment_key()) are not gone on from again. Each life whose points
 * are cut is first lived dry: what disk, TPM and secrets' file count in it is the total that the
 * covered points are held against.
 *
 * What is left out: choices among more than MOMENT_ALL unsynced steps (see moment.h; `partial`
 * counts the points), and, unless -a is given, second cuts behind the end of a start, and disks put
 * back after the first cut.
 *
 * Options: exhaustive [-d DEPTH] [-a] [-x] [-v] [SCRIPT...]: cuts in one life, 1 to 4; -a: second
 * cuts everywhere, and disks put back at every depth; -x: moments are the same only if their bytes
 * are; scripts or plans by the beginning of their names. Without: depth 2, and 1 where the TPM
 * loses writes, where clients hash for themselves, and everywhere with TIDEMARK_QUICK.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "sim/life.h"

#define OLD_MAX 64
#define WORKERS_MAX 16
#define QUICK 20 /* every twentieth script of a plan */

static struct {
    unsigned depth, shallow_depth, workers;
    bool everywhere, exact, verbose, quick;
    char **only;
    int only_count;
} options;

/* What is reported; a worker each. */
struct counts {
    uint64_t plans, scripts, covered, total, states, fates, partial, lives, refused, harmless;
    uint64_t reuses, violations;
};

/* What all workers see. */
struct shared {
    atomic_uint taken; /* plans */
    struct counts counts[WORKERS_MAX];
};

static struct counts *count;

/* The log would be most of the time; -v tells every life by it. */
void __wrap_log_event(enum log_level level, const struct log_fields *fields, const char *format,
                      ...) PRINTF_LIKE(3, 4);
void __wrap_log_event(enum log_level level, const struct log_fields *fields, const char *format,
                      ...)
{
    (void)level;
    if (!options.verbose)
        return;
    va_list list;
    va_start(list, format);
    (void)fputs("    ", stderr);
    (void)vfprintf(stderr, format, list);
    (void)fprintf(stderr, " [index %" PRId64 "] %s\n", fields->index,
                  fields->err != NULL ? err_text(fields->err) : "");
    va_end(list);
}

/* Moments met so far ----------------------------------------------------------------------------
 */

static struct {
    struct hash128 *keys;
    size_t count, cap;
} met;

static void met_forget(void)
{
    free(met.keys);
    met.count = 0;
    met.cap = 0;
    met.keys = NULL;
}

static size_t met_slot(struct hash128 key)
{
    size_t i = (size_t)key.a & (met.cap - 1);
    while ((met.keys[i].a != 0 || met.keys[i].b != 0) &&
           (met.keys[i].a != key.a || met.keys[i].b != key.b))
        i = (i + 1) & (met.cap - 1);
    return i;
}

static void met_grow(void)
{
    struct hash128 *old = met.keys;
    size_t old_cap = met.cap;
    met.cap = old_cap == 0 ? 1024 : 2 * old_cap;
    met.keys = calloc(met.cap, sizeof(*met.keys));
    assert_non_null(met.keys);
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].a != 0 || old[i].b != 0)
            met.keys[met_slot(old[i])] = old[i];
    free(old);
}

/* @return whether this is the first time. */
static bool meet(struct hash128 key)
{
    if (2 * met.count >= met.cap)
        met_grow();
    size_t i = met_slot(key);
    if (met.keys[i].a != 0 || met.keys[i].b != 0)
        return false;
    met.keys[i] = key;
    met.count++;
    return true;
}

/* Cutting ----------------------------------------------------------------------------------------
 */

/* The life whose points are cut, and what comes of it. */
struct cutting {
    const struct moment *from;
    unsigned depth;
    struct moment **next;
    size_t count, cap;
    uint64_t points, counted;
    bool over; /* points that come now belong to the judge */
    enum point point;
    const char *what;
    /* Durable states of the disk in the order in which they came. */
    struct moment old[OLD_MAX];
    struct hash128 old_hash[OLD_MAX];
    size_t old_count;
    uint64_t settled;
};

static struct cutting *cutting;
static bool lossy_plan;

static void keep(struct cutting *c, const struct moment *m)
{
    if (c->count == c->cap) {
        c->cap = c->cap == 0 ? 64 : 2 * c->cap;
        c->next = realloc(c->next, c->cap * sizeof(*c->next));
        assert_non_null(c->next);
    }
    struct moment *copy = calloc(1, sizeof(*copy));
    assert_non_null(copy);
    moment_copy(copy, m);
    copy->crashes++;
    size_t told = strlen(copy->story);
    static const char *const when[] = {[POINT_DISK] = "in",
                                       [POINT_FILE] = "in",
                                       [POINT_BEFORE] = "before",
                                       [POINT_AFTER] = "after"};
    (void)snprintf(copy->story + told, sizeof(copy->story) - told,
                   "%scut at point %" PRIu64 ", %s '%s'%s", told > 0 ? "; " : "", c->points,
                   when[c->point], c->what, m->rolled_back ? ", disk put back" : "");
    c->next[c->count++] = copy;
}

static void on_outcome(void *ctx, struct moment *m, struct hash128 key)
{
    struct cutting *c = ctx;
    if (!meet(key))
        return;
    moment_fill(m);
    keep(c, m);
    crashvfs_image_free(&m->disk);
}

/* Remember how the durable disk stands now, if it has changed. */
static void note_disk(struct cutting *c)
{
    static struct moment now;
    if (c->old_count > 0 && c->settled == moment_settled())
        return;
    c->settled = moment_settled();
    moment_durable(&now);
    if (c->old_count == 0 || !moment_same_disk(&now, &c->old[c->old_count - 1])) {
        assert_true(c->old_count < OLD_MAX);
        c->old_hash[c->old_count] = moment_disk_hash(&now);
        moment_copy(&c->old[c->old_count++], &now);
    }
    moment_free(&now);
}

/* The disk of each earlier time, under the TPM of now. */
static void put_disks_back(struct cutting *c, const struct moment *like)
{
    static struct moment now;
    if (!options.everywhere && (c->depth > 0 || lossy_plan))
        return;
    note_disk(c);
    now = *like;
    moment_rest(&now);
    now.rolled_back = true;
    for (size_t i = 0; i + 1 < c->old_count; i++) {
        now.disk = c->old[i].disk; /* borrowed */
        memcpy(now.seeds, c->old[i].seeds, sizeof(now.seeds));
        if (meet(moment_key_with(&now, c->old_hash[i])))
            keep(c, &now);
    }
}

static void clock_goes_on(struct cutting *c, struct moment *like)
{
    bool partial = false;
    int64_t week_ns = INT64_C(7) * 86400 * 1000000000;
    if (c->depth > 0 || like->rolled_back || life_window_of_clock() > LIFE_FIRST_WINDOW)
        return;
    like->progress.now_ns += week_ns;
    count->fates += moment_outcomes(like, on_outcome, c, &partial);
}

static void on_point(void *ctx, enum point point, const char *what)
{
    static struct moment like;
    struct cutting *c = ctx;
    bool partial = false;
    if (c->over)
        return;
    c->points++;
    c->point = point;
    c->what = what;
    like = *c->from;
    like.progress = *life_progress();
    count->fates += moment_outcomes(&like, on_outcome, c, &partial);
    count->partial += partial ? 1 : 0;
    if (!like.rolled_back)
        put_disks_back(c, &like);
    clock_goes_on(c, &like);
}

/* A second cut lies in the start, unless it may lie anywhere. */
static bool ends_with_start(void)
{
    return cutting->depth > 0 && !options.everywhere;
}

static void on_opening(void)
{
    moment_watch(on_point, cutting);
}

static void on_end(void)
{
    if (!cutting->over)
        cutting->counted = moment_points();
    cutting->over = true;
}

static void on_started(void)
{
    if (ends_with_start())
        on_end();
}

static const struct life_hooks dry = {.started = on_started, .ended = on_end};
static const struct life_hooks wet = {
    .opening = on_opening, .started = on_started, .ended = on_end};

static void free_next(struct cutting *c)
{
    for (size_t i = 0; i < c->count; i++) {
        moment_free(c->next[i]);
        free(c->next[i]);
    }
    free(c->next);
    for (size_t i = 0; i < c->old_count; i++)
        moment_free(&c->old[i]);
}

static unsigned depth_of_plan;
static const char *script_name = "";
static const char *told; /* how the life that is lived now came about */

static void live_once(struct cutting *c, const struct life_hooks *hooks)
{
    cutting = c;
    told = c->from->story;
    c->over = false;
    c->counted = 0;
    count->lives++;
    if (options.verbose)
        (void)fprintf(stderr, "life of %s: %s\n", script_name, told);
    life_go_on(c->from, hooks);
}

/* All lives from here, cut `depth` times before. */
static void go_on(const struct moment *from, unsigned depth)
{
    struct cutting *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    c->from = from;
    c->depth = depth;
    if (depth >= depth_of_plan) {
        live_once(c, &(struct life_hooks){0});
        free(c);
        return;
    }
    if (depth == 0)
        live_once(c, &dry);
    uint64_t total = c->counted;
    live_once(c, &wet);
    assert_true(depth > 0 || total == c->counted);
    count->total += c->counted;
    assert_int_equal(c->counted, c->points);
    /* The points are covered once every life that begins in one has been judged. */
    for (size_t i = 0; i < c->count; i++)
        go_on(c->next[i], depth + 1);
    count->covered += c->points;
    free_next(c);
    free(c);
}

/* Scripts ----------------------------------------------------------------------------------------
 */

static bool is_asked_for(const char *name)
{
    for (int i = 0; i < options.only_count; i++)
        if (strncmp(name, options.only[i], strlen(options.only[i])) == 0)
            return true;
    return options.only_count == 0;
}

static void run_script(const struct life *life)
{
    static struct rig rig;
    struct moment first = {0};
    life_begin(life, &rig, options.exact, &first);
    (void)meet(moment_key(&first));
    life_expect(&first);
    go_on(&first, 0);
    count->states += met.count;
    count->scripts++;
    moment_free(&first);
    met_forget();
    rig_end(&rig);
}

static void run_plan(void **state)
{
    const struct life_plan *plan = *state;
    struct life life;
    lossy_plan = plan->lossy;
    depth_of_plan = plan->lossy || plan->remote ? options.shallow_depth : options.depth;
    count->violations++; /* until it has come to its end */
    for (unsigned i = 0; life_script(&life, plan, i); i++) {
        static char name[sizeof(life.name)];
        memcpy(name, life.name, sizeof(name));
        script_name = name;
        told = "";
        if (is_asked_for(name) && !(options.quick && i % QUICK != 0))
            run_script(&life);
    }
    count->violations--;
    count->plans++;
    script_name = "";
}

/* How to meet the same again. */
static int tell(void **state)
{
    (void)state;
    if (script_name[0] == '\0')
        return 0;
    print_message("# in the life of %s: %s\n", script_name,
                  told[0] != '\0' ? told : "without a cut");
    print_message("# again: tests/sim/exhaustive -d %u %s%s%s\n", depth_of_plan,
                  options.everywhere ? "-a " : "", options.exact ? "-x " : "", script_name);
    script_name = "";
    return 0;
}

/* Workers ----------------------------------------------------------------------------------------
 */

/* One plan after another, of those that no worker has taken yet. @return how many failed. */
static int run_plans(atomic_uint *taken)
{
    int failed = 0;
    for (unsigned i = 0; (i = atomic_fetch_add(taken, 1)) < life_plan_count;) {
        const struct CMUnitTest test[] = {{.name = life_plans[i].name,
                                           .test_func = run_plan,
                                           .teardown_func = tell,
                                           .initial_state = (void *)(uintptr_t)&life_plans[i]}};
        failed += cmocka_run_group_tests_name("exhaustive", test, NULL, NULL);
    }
    count->refused = life_refused();
    count->harmless = life_harmless();
    count->reuses = oracle_is_broken() ? 1 : 0;
    return failed;
}

static pid_t start_worker(atomic_uint *taken)
{
    (void)fflush(NULL);
    pid_t child = fork();
    if (child != 0)
        return child;
    /* It only computes, for minutes; many tests beside it wait for clocks and processes. */
    (void)setpriority(PRIO_PROCESS, 0, 10);
    int failed = run_plans(taken);
    (void)fflush(NULL);
    _exit(failed == 0 ? 0 : 1);
}

static bool run_workers(struct shared *shared)
{
    pid_t children[WORKERS_MAX];
    bool good = true;
    for (unsigned i = 0; i < options.workers; i++) {
        count = &shared->counts[i];
        children[i] = start_worker(&shared->taken);
        MUST(children[i] > 0);
    }
    for (unsigned i = 0; i < options.workers; i++) {
        int status = 0;
        MUST(waitpid(children[i], &status, 0) == children[i]);
        good = good && status == 0;
        /* One that died has not counted what it died of. */
        struct counts *c = &shared->counts[i];
        c->violations += status != 0 && c->violations == 0 ? 1 : 0;
    }
    return good;
}

static void report(const struct counts *c)
{
    double percent = c->total > 0 ? 100.0 * (double)c->covered / (double)c->total : 0;
    printf("exhaustive: plans=%" PRIu64 " interleavings=%" PRIu64 " depth=%u/%u points=%" PRIu64
           " fates=%" PRIu64 " partial=%" PRIu64 " covered=%" PRIu64 " total=%" PRIu64
           " (%.1f %%) states=%" PRIu64 " lives=%" PRIu64 " put_back_refused=%" PRIu64
           " put_back_harmless=%" PRIu64 " reuses=%" PRIu64 " violations=%" PRIu64 "\n",
           c->plans, c->scripts, options.depth, options.shallow_depth, c->total, c->fates,
           c->partial, c->covered, c->total, percent, c->states, c->lives, c->refused, c->harmless,
           c->reuses, c->violations);
}

static struct counts sum_up(const struct counts *counts)
{
    struct counts sum = {0};
    for (unsigned i = 0; i < options.workers; i++) {
        const uint64_t *from = (const uint64_t *)&counts[i];
        uint64_t *to = (uint64_t *)&sum;
        for (size_t k = 0; k < sizeof(sum) / sizeof(*to); k++)
            to[k] += from[k];
    }
    return sum;
}

static int usage(void)
{
    (void)fprintf(stderr, "exhaustive [-d DEPTH] [-j WORKERS] [-a] [-x] [-v] [SCRIPT...]\n");
    return 2;
}

static bool read_options(int argc, char **argv)
{
    options.quick = getenv("TIDEMARK_QUICK") != NULL;
    uint64_t depth = 0;
    uint64_t workers = 2;
    for (int opt; (opt = getopt(argc, argv, "d:j:axv")) != -1;) {
        if ((opt == 'd' && (!text_to_u64(&depth, optarg, 4) || depth == 0)) ||
            (opt == 'j' && (!text_to_u64(&workers, optarg, WORKERS_MAX) || workers == 0)) ||
            opt == '?')
            return false;
        options.everywhere = options.everywhere || opt == 'a';
        options.exact = options.exact || opt == 'x';
        options.verbose = options.verbose || opt == 'v';
    }
    options.depth = depth > 0 ? (unsigned)depth : options.quick ? 1 : 2;
    options.shallow_depth = depth > 0 ? (unsigned)depth : 1;
    options.workers = (unsigned)workers;
    options.only = argv + optind;
    options.only_count = argc - optind;
    return true;
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv))
        return usage();
    MUST(sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) == SQLITE_OK);
    MUST(sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) == SQLITE_OK);
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(shared != MAP_FAILED);
    bool good = run_workers(shared);
    struct counts sum = sum_up(shared->counts);
    report(&sum);
    return good && sum.violations == 0 && sum.covered == sum.total ? 0 : 1;
}
