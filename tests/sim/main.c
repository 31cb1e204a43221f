/* The command: seeds in, one line out; a seed that fails is told as a story and made shorter. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/secmem.h"
#include "base/text.h"
#include "sim/adversary.h"
#include "sim/run.h"

#define VIOLATIONS_TOLD_MAX 5
#define JOBS_MAX 64
#define STORY_STEPS 12 /* of a failing seed, in full */

struct options {
    uint64_t seeds, from, ops, total, jobs;
    bool story, counts;
    const char *trace, *evidence;
    const char *plan_name, *world;
    enum sim_plan plan;
};

/* Time on the processor: the machine that this runs on may have other things to do. */
static double processor_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool number(const char *text, uint64_t *to)
{
    return text_to_u64(to, text, INT64_MAX);
}

static bool take_option(struct options *o, int letter)
{
    switch (letter) {
    case 'n':
        return number(optarg, &o->seeds);
    case 's':
        o->seeds = 1;
        return number(optarg, &o->from);
    case 'f':
        return number(optarg, &o->from);
    case 'o':
        return number(optarg, &o->ops);
    case 'T':
        o->seeds = UINT64_MAX;
        return number(optarg, &o->total);
    case 'j':
        return number(optarg, &o->jobs) && o->jobs >= 1 && o->jobs <= JOBS_MAX;
    case 't':
        o->trace = optarg;
        return true;
    case 'e':
        o->evidence = optarg;
        return true;
    case 'y':
        o->story = true;
        return true;
    case 'c':
        o->counts = true;
        return true;
    case 'w':
        o->world = optarg;
        return temper_known(optarg);
    case 'p':
        o->plan_name = optarg;
        o->plan = plans_by_name(optarg);
        return o->plan != SIM_PLANS;
    default:
        return false;
    }
}

static bool parse(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {{"seeds", required_argument, NULL, 'n'},
                                          {"from", required_argument, NULL, 'f'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"ops", required_argument, NULL, 'o'},
                                          {"total", required_argument, NULL, 'T'},
                                          {"trace", required_argument, NULL, 't'},
                                          {"story", no_argument, NULL, 'y'},
                                          {"plan", required_argument, NULL, 'p'},
                                          {"counts", no_argument, NULL, 'c'},
                                          {"jobs", required_argument, NULL, 'j'},
                                          {"evidence", required_argument, NULL, 'e'},
                                          {"world", required_argument, NULL, 'w'},
                                          {NULL, 0, NULL, 0}};
    *o = (struct options){.seeds = 200, .from = 1, .jobs = 1, .plan = SIM_PLANS};
    for (int c = 0; (c = getopt_long(argc, argv, "", known, NULL)) != -1;)
        if (!take_option(o, c))
            return false;
    return optind == argc;
}

/* A violation ---------------------------------------------------------------------------------- */

static bool fails_alike(const struct options *o, uint64_t seed, uint64_t ops, const char *invariant)
{
    struct run_options r = {.seed = seed, .ops = ops, .plan = o->plan, .world = o->world};
    struct counts kept = sim->counts;
    bool fails = !run_seed(&r) && strcmp(sim->oracle.invariant, invariant) == 0;
    sim->counts = kept;
    return fails;
}

/* Fewer operations that end in the same violation; the first of them are the same. */
static uint64_t shorten(const struct options *o, uint64_t seed, uint64_t ops, const char *invariant)
{
    uint64_t good = 0;
    while (ops - good > 1) {
        uint64_t half = good + (ops - good) / 2;
        if (fails_alike(o, seed, half, invariant))
            ops = half;
        else
            good = half;
    }
    return ops;
}

/* The last steps of the story, each from its first line on. */
static void print_end(const char *story)
{
    const char *from = story + strlen(story);
    for (unsigned steps = 0; from > story && steps < STORY_STEPS;) {
        const char *line = from - 1;
        while (line > story && line[-1] != '\n')
            line--;
        from = line;
        steps += strncmp(line, "          ", 10) != 0;
    }
    (void)printf("%s%s", from > story ? "…\n" : "", from);
}

/* Sentences alone, to read from the start; then the last steps with every disk step and command. */
static void tell(const struct options *o, uint64_t seed, uint64_t ops)
{
    struct counts kept = sim->counts;
    struct run_options r = {
        .seed = seed, .ops = ops, .plan = o->plan, .world = o->world, .telling = true};
    (void)run_seed(&r);
    (void)printf("--- what happened ---\n%s--- the end, in full ---\n", sim->trace.text);
    r.fully = true;
    (void)run_seed(&r);
    print_end(sim->trace.text);
    sim->counts = kept;
}

static void violated(const struct options *o, uint64_t seed)
{
    char invariant[sizeof(sim->oracle.invariant)];
    memcpy(invariant, sim->oracle.invariant, sizeof(invariant));
    sim->counts.violations++;
    sim->counts.reuses += strcmp(invariant, "NoReuse") == 0;
    (void)printf("\nseed %" PRIu64 " violates %s: %s\n", seed, invariant, sim->oracle.why);
    if (sim->counts.violations > VIOLATIONS_TOLD_MAX)
        return;
    uint64_t ops = shorten(o, seed, sim->ops, invariant);
    (void)printf("repeat it with: tests/sim/sim --seed %" PRIu64 " --ops %" PRIu64
                 "%s%s%s%s%s --story\n",
                 seed, ops, o->plan != SIM_PLANS ? " --plan " : "",
                 o->plan != SIM_PLANS ? o->plan_name : "", o->world != NULL ? " --world '" : "",
                 o->world != NULL ? o->world : "", o->world != NULL ? "'" : "");
    tell(o, seed, ops);
}

/*  --------------------------------------------------------------------------------------------- */

static bool write_trace(const char *path)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return false;
    bool ok =
        fputs(sim->trace.text, f) >= 0 && fprintf(f, "hash %016" PRIx64 "%s\n", sim->trace.hash,
                                                  sim->trace.cut ? " (the text was cut)" : "") > 0;
    return fclose(f) == 0 && ok;
}

static bool one(const struct options *o, uint64_t seed)
{
    bool fully = o->story || o->trace != NULL;
    struct run_options r = {.seed = seed,
                            .ops = o->ops,
                            .plan = o->plan,
                            .world = o->world,
                            .telling = fully,
                            .fully = fully};
    bool good = run_seed(&r);
    if (o->story)
        (void)fputs(sim->trace.text, stdout);
    if (o->trace != NULL && !write_trace(o->trace)) {
        (void)fprintf(stderr, "sim: %s cannot be written\n", o->trace);
        return false;
    }
    if (!good)
        violated(o, seed);
    return good;
}

/* Every jobs-th seed from the first one of this job on. @return true if nothing was violated. */
static bool work(const struct options *o, uint64_t job)
{
    bool good = true;
    sim_map();
    run_warm_up();
    double start = processor_s();
    uint64_t most = o->total / o->jobs;
    for (uint64_t i = job; i < o->seeds; i += o->jobs) {
        if (o->total != 0 && sim->counts.operations >= most)
            break;
        good = one(o, o->from + i) && good;
    }
    sim->counts.processor_ms = (uint64_t)((processor_s() - start) * 1000);
    return good;
}

/* Several jobs side by side, each in a process of its own; their counts are added. */
static bool work_in_parallel(const struct options *o, struct counts *total)
{
    struct counts *each = mmap(NULL, o->jobs * sizeof(*each), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool good = each != MAP_FAILED;
    for (uint64_t job = 0; good && job < o->jobs; job++) {
        (void)fflush(NULL);
        pid_t pid = fork();
        MUST(pid >= 0);
        if (pid == 0) {
            bool all = work(o, job);
            each[job] = sim->counts;
            (void)fflush(NULL);
            _exit(all ? 0 : 1);
        }
    }
    int status = 0;
    while (wait(&status) > 0)
        good = good && status == 0;
    for (uint64_t job = 0; each != MAP_FAILED && job < o->jobs; job++)
        report_add(total, &each[job]);
    return good;
}

int main(int argc, char **argv)
{
    struct options o;
    struct err err = {0};
    struct counts total = {0};
    if (!parse(&o, argc, argv)) {
        (void)fprintf(stderr,
                      "usage: sim [--seeds N | --total OPERATIONS | --seed S] [--from SEED] "
                      "[--ops N] [--jobs N]\n           [--plan time|strict|per-line|interval] "
                      "[--world NAME] [--story] [--trace FILE] [--counts] [--evidence FILE]\n");
        return 2;
    }
    if (base_init(&err) != RC_OK) {
        (void)fprintf(stderr, "sim: %s\n", err_text(&err));
        return 2;
    }
    bool good = true;
    if (o.jobs > 1) {
        good = work_in_parallel(&o, &total);
    } else {
        good = work(&o, 0);
        total = sim->counts;
    }
    if (o.counts)
        report_print(stdout, &total);
    if (o.evidence != NULL && !report_write(o.evidence, &total)) {
        (void)fprintf(stderr, "sim: %s has no place for the figures\n", o.evidence);
        good = false;
    }
    return report_last_line(&total) && good ? 0 : 1;
}
