/*
 * The service is killed again and again under load, and nothing may be lost or used twice.
 *
 * test_service_kill [-s SEED] [-n KILLS], or TIDEMARK_QUICK=1 for a short run: 13 clients sign
 * under four keys without pause, as release tools would: whatever goes wrong, the same request is
 * sent again until it is answered. KILLS times (300), 10 to 120 ms after the service has signed
 * again, SIGKILL goes to the core, to the front, to both, or to the supervisor and with it to all.
 * In the end the clients finish what they have begun, and everything that they ever received is
 * laid beside the ledger. The seed is printed; -s repeats the choice of victims and moments, as far
 * as the scheduler lets it.
 */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "lib/evidence.h"

#define KILLS_DEFAULT 300
#define KILLS_QUICK 25 /* for the second run of scripts/check.sh, under sanitizers */
#define KILLS_MAX 100000
#define LEASE_SIZE 4
#define SLOTS 4
#define MINORS 64
#define PATCHES 8
#define THINK_MS_MAX 6
#define QUOTA 6 /* signatures under the time plan between two kills */

#define LMS "'scheme':'lms','parameters':['LMS_SHA256_M24_H15','LMOTS_SHA256_N24_W1']"
#define PLAN(key, assignment)                                                                      \
    "{'tidemark_plan':1,'key':'" key "','profile':'sp800-208'," LMS ",'assignment':" assignment "}"
#define VERSIONS(order)                                                                            \
    "{'kind':'version','format':'major.minor.patch','sizes':{'minor':64,'patch':8},"               \
    "'slots':['s0','s1','s2','s3'],'window':'minor','order':'" order "'}"

/* The first signature in a window derives all its leaves, so windows are as small as they can be:
 * that of the time plan must hold the whole test. */
#define NIGHTLY                                                                                    \
    PLAN("nightly", "{'kind':'time','start':'2020-01-01T00:00:00Z','window':'P7300D',"             \
                    "'signatures_per_window':%u,'lease_size':4}")
static const char *const plans[] = {
    PLAN("strict", VERSIONS("strict")),
    PLAN("lines", VERSIONS("per-line")),
    PLAN("builds", "{'kind':'interval','signatures_per_window':256,'lease_size':4}"),
};

static uint64_t seed;
static uint64_t kills = KILLS_DEFAULT;

/* xorshift64*: good enough to choose, and the same everywhere. */
static uint64_t rnd(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717) >> 3;
}

/* Clients ----------------------------------------------------------------------------------------
 */

static struct service service;
static struct evidence evidence = EVIDENCE_EMPTY;
static atomic_bool finishing;          /* begin nothing new */
static atomic_uint_fast64_t age;       /* how many kills there have been */
static atomic_uint_fast64_t seen;      /* age in which a request was last begun and signed */
static atomic_uint_fast64_t in_window; /* signed under the time plan in this age */
static atomic_uint faults;
static atomic_uint_fast64_t requests, retries, replays, conflicts;

/* Versions of a line, handed out slot by slot: the next version begins when the one before it is
 * signed in all slots, because in both orders a later version closes the door to earlier ones. */
struct line {
    const char *key;
    pthread_mutex_t lock;
    pthread_cond_t complete;
    unsigned major, version; /* version: minor * PATCHES + patch */
    unsigned handed_out, done;
};

static struct line strict_line = {
    .key = "strict", .lock = PTHREAD_MUTEX_INITIALIZER, .complete = PTHREAD_COND_INITIALIZER};
static struct line lines[2] = {
    {.key = "lines", .lock = PTHREAD_MUTEX_INITIALIZER, .complete = PTHREAD_COND_INITIALIZER},
    {.key = "lines",
     .lock = PTHREAD_MUTEX_INITIALIZER,
     .complete = PTHREAD_COND_INITIALIZER,
     .major = 1},
};

struct task {
    unsigned major, minor, patch, slot;
};

/* @return false when there is nothing left to begin. */
static bool line_take(struct line *l, struct task *task)
{
    (void)pthread_mutex_lock(&l->lock);
    while (l->handed_out == SLOTS && l->done < SLOTS)
        (void)pthread_cond_wait(&l->complete, &l->lock);
    if (l->done == SLOTS) {
        l->version++;
        l->handed_out = l->done = 0;
    }
    /* A version that has been begun is finished. */
    bool go_on = l->handed_out > 0 || !atomic_load(&finishing);
    if (go_on && l->version == MINORS * PATCHES) {
        l->version = 0;
        l->major += l == &strict_line ? 1 : 2;
    }
    *task = (struct task){.major = l->major,
                          .minor = l->version / PATCHES,
                          .patch = l->version % PATCHES,
                          .slot = l->handed_out};
    if (go_on)
        l->handed_out++;
    (void)pthread_mutex_unlock(&l->lock);
    return go_on;
}

static void line_done(struct line *l)
{
    (void)pthread_mutex_lock(&l->lock);
    l->done++;
    (void)pthread_cond_broadcast(&l->complete);
    (void)pthread_mutex_unlock(&l->lock);
}

struct worker {
    pthread_t thread;
    unsigned number;
    struct line *line; /* NULL: signs in windows */
    const char *key;
    struct client client;
    uint64_t random;
};

static void complain(const char *request, const struct answer *a)
{
    if (atomic_fetch_add(&faults, 1) < 10)
        (void)fprintf(stderr, "FAULT: %s: %ld %s\n", request, a->status,
                      a->body != NULL ? a->body : "");
}

static long ask(struct worker *w, struct answer *a, const char *request, const char *artifact)
{
    char headers[EVIDENCE_TEXT + 32];
    if (w->line != NULL)
        return client_ask(&w->client, a, NULL, artifact, strlen(artifact),
                          "/v1/keys/%s/signatures?version=%s", w->key, request);
    (void)snprintf(headers, sizeof(headers), "Idempotency-Key: %s", request);
    return client_ask(&w->client, a, headers, artifact, strlen(artifact),
                      "/v1/keys/%s/signatures?window=current", w->key);
}

/* Would a release tool send the same request again? */
static bool worth_retrying(const struct worker *w, const struct answer *a)
{
    /* The index is gone, in a window plan the next attempt gets another one. No kill explains it in
     * a version plan. */
    if (a->status == 500)
        return w->line == NULL && strcmp(answer_text(a, "type"), "/problems/index-burned") == 0;
    if (a->status == 409)
        return strcmp(answer_text(a, "type"), "/problems/idempotency-key-in-use") == 0;
    return a->status == 0 || a->status == 503;
}

/* Ask until there is a signature, and keep it. */
static void sign(struct worker *w, const char *request, const char *artifact)
{
    int64_t until = lab_now_ms() + WAIT_MS;
    for (;;) {
        struct answer a;
        uint_fast64_t begun = atomic_load(&age);
        long status = ask(w, &a, request, artifact);
        bool good = status == 200 || status == 201;
        bool hopeless = lab_now_ms() > until || atomic_load(&faults) > 0;
        bool again = !good && !hopeless && worth_retrying(w, &a);
        if (!again && !(good && evidence_take(&evidence, w->key, request, artifact, &a)))
            complain(request, &a);
        client_done(&a);
        if (good && status == 201)
            atomic_store(&seen, begun);
        if (!again)
            return;
        atomic_fetch_add(&retries, 1);
        lab_sleep_ms(5 + (unsigned)(rnd(&w->random) % 15));
    }
}

/* Somebody else's bytes for a version that is signed: refused, or not answered at all. */
static void provoke(struct worker *w, const char *request)
{
    struct answer a;
    long status = ask(w, &a, request, "something else");
    bool refused =
        status == 409 && strcmp(answer_text(&a, "type"), "/problems/version-already-signed") == 0;
    if (!refused && !worth_retrying(w, &a))
        complain(request, &a);
    atomic_fetch_add(&conflicts, refused ? 1 : 0);
    client_done(&a);
}

static void sign_and_doubt(struct worker *w, const char *request)
{
    char artifact[EVIDENCE_TEXT];
    (void)snprintf(artifact, sizeof(artifact), "%s of %s, %" PRIx64, request, w->key, seed);
    atomic_fetch_add(&requests, 1);
    sign(w, request, artifact);
    if (rnd(&w->random) % 8 == 0) {
        atomic_fetch_add(&replays, 1);
        sign(w, request, artifact);
    }
    if (w->line != NULL && rnd(&w->random) % 16 == 0)
        provoke(w, request);
    lab_sleep_ms((unsigned)(rnd(&w->random) % (THINK_MS_MAX + 1)));
}

/* The time plan's one window must hold the whole test. */
static void wait_quota(const struct worker *w)
{
    if (strcmp(w->key, "nightly") != 0)
        return;
    while (!atomic_load(&finishing) && atomic_fetch_add(&in_window, 1) >= QUOTA)
        lab_sleep_ms(5);
}

static void *work(void *argument)
{
    struct worker *w = argument;
    char request[EVIDENCE_TEXT / 2];
    struct task t;
    if (w->line != NULL) {
        while (line_take(w->line, &t)) {
            (void)snprintf(request, sizeof(request), "%u.%u.%u&slot=s%u", t.major, t.minor, t.patch,
                           t.slot);
            sign_and_doubt(w, request);
            line_done(w->line);
        }
    }
    for (unsigned i = 0; w->line == NULL && !atomic_load(&finishing); i++) {
        (void)snprintf(request, sizeof(request), "client-%u-build-%u", w->number, i);
        wait_quota(w);
        sign_and_doubt(w, request);
    }
    return NULL;
}

#define WORKERS 13
static struct worker workers[WORKERS];

static void start_workers(void)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *w = &workers[i];
        *w = (struct worker){.number = i, .random = seed * 31 + i + 1};
        w->line = i < 4 ? &strict_line : i < 6 ? &lines[i - 4] : NULL;
        w->key = w->line != NULL ? w->line->key : i < 10 ? "nightly" : "builds";
        client_open(&w->client, &service);
        assert_int_equal(pthread_create(&w->thread, NULL, work, w), 0);
    }
}

static void join_workers(void)
{
    atomic_store(&finishing, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        client_close(&workers[i].client);
    }
}

/* Killing ----------------------------------------------------------------------------------------
 */

enum victim { CORE, FRONT, BOTH, ALL, VICTIMS };
static const char *const victim_names[VICTIMS] = {"core", "front", "both", "all"};
static unsigned victims[VICTIMS];
static int64_t away_ms_max, away_ms_sum;

/* Until a request that was begun behind the last kill has been signed. */
static bool wait_alive(uint64_t now)
{
    int64_t since = lab_now_ms();
    while (atomic_load(&seen) != now) {
        if (lab_now_ms() - since > WAIT_MS || atomic_load(&faults) > 0)
            return false;
        lab_sleep_ms(1);
    }
    int64_t away = lab_now_ms() - since;
    away_ms_sum += away;
    if (away > away_ms_max)
        away_ms_max = away;
    return true;
}

static void kill_one(enum victim victim)
{
    pid_t core = victim != FRONT ? service_child(&service, "core", 0) : 0;
    pid_t front = victim != CORE ? service_child(&service, "front", 0) : 0;
    victims[victim]++;
    if (victim == ALL) {
        service_crash(&service);
        service_run(&service);
        return;
    }
    if (core != 0)
        (void)kill(core, SIGKILL);
    if (front != 0)
        (void)kill(front, SIGKILL);
}

/* One in ten takes the supervisor along; the others share the rest. */
static enum victim choose(uint64_t *random)
{
    uint64_t n = rnd(random) % 10;
    return n == 0 ? ALL : (enum victim)(n % 3);
}

static void kill_often(void)
{
    uint64_t random = seed | 1;
    for (uint64_t i = 0; i < kills; i++) {
        if (!wait_alive(i)) {
            (void)lab_shell("tail -n 30 '%s' >&2", service.log);
            (void)fprintf(stderr, "no signature behind kill %" PRIu64 "\n", i);
            atomic_fetch_add(&faults, 1);
            return;
        }
        lab_sleep_ms(10 + (unsigned)(rnd(&random) % 111));
        kill_one(choose(&random));
        atomic_store(&in_window, 0);
        atomic_store(&age, i + 1);
    }
    (void)wait_alive(kills);
}

/* Judgement --------------------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static uint64_t distinct_requests(const char *key)
{
    const char **names = calloc(evidence.count + 1, sizeof(*names));
    assert_non_null(names);
    size_t count = 0;
    for (size_t i = 0; i < evidence.count; i++)
        if (strcmp(evidence.list[i].key, key) == 0)
            names[count++] = evidence.list[i].request;
    qsort(names, count, sizeof(*names), by_name);
    uint64_t distinct = count > 0 ? 1 : 0;
    for (size_t i = 1; i < count; i++)
        distinct += strcmp(names[i - 1], names[i]) != 0 ? 1 : 0;
    free(names);
    return distinct;
}

/* Given up: at most one lease for each kill, and the one that was open at the stop. */
static void judge_leases(const struct audit *audit, const char *key)
{
    uint64_t given_up = audit->leased - audit->receipts;
    print_message("%-8s %6" PRIu64 " signatures, %5" PRIu64 " leases, %4" PRIu64
                  " indices given up in %3" PRIu64 " leases\n",
                  key, audit->receipts, audit->leases, given_up, audit->leases_cut_short);
    assert_true(audit->leases_cut_short <= kills + 1);
    assert_true(given_up <= LEASE_SIZE * (kills + 1));
    assert_int_equal(audit->epochs, audit->leases);
}

static void judge_versions(const struct audit *audit, const char *key)
{
    print_message("%-8s %6" PRIu64 " signatures, %5" PRIu64 " batches, none lost\n", key,
                  audit->receipts, audit->epochs);
    assert_int_equal(audit->intents, audit->receipts);
}

static void judge(struct ledger *ledger, const char *key, const uint8_t *public, size_t public_len)
{
    struct audit audit;
    unsigned wrong = audit_ledger(&audit, ledger, key);
    wrong += audit_evidence(&audit, &evidence, key);
    wrong += evidence_check(&evidence, key, public, public_len);
    assert_int_equal(wrong, 0);
    assert_true(audit.receipts > kills / 2);
    assert_int_equal(audit.burns, 0);
    assert_int_equal(audit.voids, 0);
    /* Every request has got its signature, and none has cost two of them. */
    assert_int_equal(audit.receipts, distinct_requests(key));
    if (audit.leases > 0)
        judge_leases(&audit, key);
    else
        judge_versions(&audit, key);
    audit_free(&audit);
}

static unsigned count_in_log(const char *text)
{
    char command[512];
    unsigned count = 0;
    (void)snprintf(command, sizeof(command), "grep -cF -- '%s' '%s'", text, service.log);
    FILE *out = popen(command, "re");
    assert_non_null(out);
    assert_int_equal(fscanf(out, "%u", &count), 1);
    (void)pclose(out); /* grep says 1 when there is none */
    return count;
}

static void test_kills(void **state)
{
    (void)state;
    static const char *const keys[] = {"strict", "lines", "nightly", "builds"};
    static const struct service_options options = {
        .clock = "'warmup':1", .signing = "'export_margin':1000", .restart = "'delay_ms_max':20"};
    struct clocks clocks;
    uint8_t public[4][PUBLIC_MAX];
    size_t public_len[4];
    clocks_start(&clocks, "kill", false);
    service_make(&service, "kill", &clocks, &options);
    char nightly[1024];
    (void)snprintf(nightly, sizeof(nightly), NIGHTLY, (unsigned)(kills + 4) * (LEASE_SIZE + QUOTA));
    service_key(&service, nightly);
    for (size_t i = 0; i < 3; i++)
        service_key(&service, plans[i]);
    service_start(&service);
    for (size_t i = 0; i < 4; i++)
        public_len[i] = service_public(&service, keys[i], public[i]);
    int64_t begun = lab_now_ms();
    start_workers();
    kill_often();
    join_workers();
    service_stop(&service);
    print_message("%" PRIu64 " kills (", kills);
    for (size_t i = 0; i < VICTIMS; i++)
        print_message("%s%s %u", i > 0 ? ", " : "", victim_names[i], victims[i]);
    print_message(") in %" PRId64 " s; away for %" PRId64 " ms on average, %" PRId64
                  " ms at most\n%" PRIu64 " requests, %" PRIu64 " retries, %" PRIu64
                  " replays, %" PRIu64 " conflicts refused\n",
                  (lab_now_ms() - begun) / 1000, away_ms_sum / (int64_t)(kills + 1), away_ms_max,
                  atomic_load(&requests), atomic_load(&retries), atomic_load(&replays),
                  atomic_load(&conflicts));
    assert_int_equal(atomic_load(&faults), 0);
    /* No core has ended by itself, and each kill has cost one start; where both were killed, a new
     * core may have met the front that was just dying, and been in vain. */
    unsigned starts =
        count_in_log("\"key\":\"strict\",\"level\":\"notice\",\"message\":\"key is ready");
    assert_int_equal(count_in_log("the core ends:"), 0);
    assert_in_range(starts, kills + 1, kills + 1 + victims[BOTH]);
    struct ledger *ledger = service_ledger(&service);
    for (size_t i = 0; i < 4; i++)
        judge(ledger, keys[i], public[i], public_len[i]);
    ledger_close(&ledger);
    evidence_free(&evidence);
    service_end(&service);
    clocks_stop(&clocks);
}

static bool parse_options(int argc, char **argv)
{
    for (int letter = 0; (letter = getopt(argc, argv, "s:n:")) != -1;) {
        if (letter == 's' ? !text_to_u64(&seed, optarg, UINT64_MAX)
                          : letter != 'n' || !text_to_u64(&kills, optarg, KILLS_MAX))
            return false;
    }
    return optind == argc && kills > 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kills)};
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return 1;
    seed >>= 16; /* short enough to type */
    const char *quick = getenv("TIDEMARK_QUICK");
    if (quick != NULL && strcmp(quick, "1") == 0)
        kills = KILLS_QUICK;
    if (!parse_options(argc, argv)) {
        (void)fprintf(stderr, "usage: test_service_kill [-s SEED] [-n KILLS]\n");
        return 2;
    }
    (void)printf("seed %" PRIu64 " (-s repeats it)\n", seed);
    (void)fflush(stdout);
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, NULL, NULL);
}
