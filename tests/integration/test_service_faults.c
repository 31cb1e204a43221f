/*
 * A matrix of faults in the real binary: every kind of call of every process fails, is cut short,
 * has an unknown outcome, or is the last thing the process does; for the first, the second … n-th
 * call, until there is no n-th call any more.
 *
 * test_service_faults [-a [-m MAX]] [-k ROW [-n N]] [-s SEED] [-c FILE]
 *   -a       all rows; without it a few of them at one n each, chosen by the seed (make check)
 *   -m MAX   of rows in which that is said, not more than MAX of their n, spread by the seed (8);
 *            0: all of them
 *   -k ROW   only rows whose name contains this
 *   -n N     only the N-th call
 *   -c FILE  take the next row from this file's counter: several processes share the work
 *
 * docs/faults.md says what may be answered and why, by the same table (allowed_of()).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/text.h"
#include "faults/scenes.h"

#define NEVER 1000000000U
#define ROWS_DEFAULT 32
#define ROWS_QUICK 8 /* for the second run of scripts/check.sh, under sanitizers */
#define MAX_DEFAULT 8
#define ROWS_MAX 320
#define ROW_NAME 64

/* Matrix -----------------------------------------------------------------------------------------
 */

/* What goes wrong with a kind of call, in words of inject.h. */
struct damage {
    const char *name;
    enum inject_call call;
    enum inject_action action;
    int error;
    unsigned times;
    bool spread; /* of a tool, a few n will do: they take long, and differ little */
};

static const struct damage damages[] = {
    {"write EIO", CALL_WRITE, ACT_FAIL, EIO, 1, false},
    {"write EIO, done", CALL_WRITE, ACT_LOSE, EIO, 1, true},
    {"write ENOSPC x3", CALL_WRITE, ACT_FAIL, ENOSPC, 3, true},
    {"write short", CALL_WRITE, ACT_SHORT, 0, 1, true},
    {"write kill", CALL_WRITE, ACT_KILL, 0, 1, true},
    {"sync EIO", CALL_SYNC, ACT_FAIL, EIO, 1, false},
    {"sync EIO, done", CALL_SYNC, ACT_LOSE, EIO, 1, false},
    {"sync ENOSPC", CALL_SYNC, ACT_FAIL, ENOSPC, 1, true},
    {"sync kill", CALL_SYNC, ACT_KILL, 0, 1, false},
    {"rename EIO", CALL_RENAME, ACT_FAIL, EIO, 1, false},
    {"rename EIO, done", CALL_RENAME, ACT_LOSE, EIO, 1, false},
    {"rename ENOSPC", CALL_RENAME, ACT_FAIL, ENOSPC, 1, false},
    {"rename kill", CALL_RENAME, ACT_KILL, 0, 1, false},
    {"unlink EIO", CALL_UNLINK, ACT_FAIL, EIO, 1, false},
    {"unlink EIO, done", CALL_UNLINK, ACT_LOSE, EIO, 1, false},
    {"unlink kill", CALL_UNLINK, ACT_KILL, 0, 1, false},
    {"truncate EIO", CALL_TRUNCATE, ACT_FAIL, EIO, 1, false},
    {"truncate ENOSPC", CALL_TRUNCATE, ACT_FAIL, ENOSPC, 1, false},
    {"truncate kill", CALL_TRUNCATE, ACT_KILL, 0, 1, false},
    {"connect ECONNREFUSED", CALL_CONNECT, ACT_FAIL, ECONNREFUSED, 1, false},
    {"connect kill", CALL_CONNECT, ACT_KILL, 0, 1, false},
    {"send EIO", CALL_SEND, ACT_FAIL, EIO, 1, false},
    {"send EIO, done", CALL_SEND, ACT_LOSE, EIO, 1, false},
    {"send kill", CALL_SEND, ACT_KILL, 0, 1, false},
    {"receive EIO", CALL_RECEIVE, ACT_FAIL, EIO, 1, false},
    {"receive EIO, done", CALL_RECEIVE, ACT_LOSE, EIO, 1, false},
    {"receive kill", CALL_RECEIVE, ACT_KILL, 0, 1, false},
    {"accept EIO", CALL_ACCEPT, ACT_FAIL, EIO, 1, false},
    {"accept EMFILE", CALL_ACCEPT, ACT_FAIL, EMFILE, 1, false},
    {"accept ECONNABORTED, done", CALL_ACCEPT, ACT_LOSE, ECONNABORTED, 1, false},
    {"accept kill", CALL_ACCEPT, ACT_KILL, 0, 1, false},
    {"tpm-connect ECONNREFUSED", CALL_TPM_CONNECT, ACT_FAIL, ECONNREFUSED, 1, true},
    {"tpm-send EIO", CALL_TPM_SEND, ACT_FAIL, EIO, 1, true},
    {"tpm-send EIO, done", CALL_TPM_SEND, ACT_LOSE, EIO, 1, true},
    {"tpm-send kill", CALL_TPM_SEND, ACT_KILL, 0, 1, false},
    {"tpm-receive EIO", CALL_TPM_RECEIVE, ACT_FAIL, EIO, 1, true},
    {"tpm-receive short", CALL_TPM_RECEIVE, ACT_SHORT, 0, 1, true},
    {"tpm-receive kill", CALL_TPM_RECEIVE, ACT_KILL, 0, 1, true},
};
#define DAMAGES (sizeof(damages) / sizeof(damages[0]))

static const char *const role_names[ROLE_COUNT] = {
    [ROLE_NONE] = "",     [ROLE_SUPERVISOR] = "supervisor",
    [ROLE_CORE] = "core", [ROLE_FRONT] = "front",
    [ROLE_TOOL] = "tool",
};

struct row {
    char name[ROW_NAME];
    enum scene_id scene;
    enum inject_role role;
    const struct damage *damage;
    unsigned calls; /* that the scene makes when nothing goes wrong */
};

static struct row rows[ROWS_MAX];
static size_t row_count;

/*
 * What may be said while this goes wrong: the table of docs/faults.md. "starting" and
 * "clock-unsafe" are said by every service that has just been started.
 */
#define BEGIN "starting clock-unsafe busy "
#define DISK "halted outcome-unknown "
#define TPM "halted anchor-unavailable outcome-unknown "
#define CLOCK "index-burned outcome-unknown "
#define GONE "no-answer outcome-unknown "

static const char *serve_allowed(enum inject_role role, enum inject_call call, bool kill)
{
    if (role == ROLE_SUPERVISOR)
        return kill ? BEGIN GONE "signal-9" : BEGIN GONE;
    if (role == ROLE_FRONT)
        return call == CALL_WRITE && !kill ? BEGIN "spool-full" : BEGIN GONE;
    if (kill)
        return BEGIN "outcome-unknown";
    if (call >= CALL_TPM_CONNECT)
        return BEGIN TPM;
    return call >= CALL_CONNECT ? BEGIN CLOCK : BEGIN DISK;
}

/* Exit codes of tidemark(1): 4 try again later, 6 the state is not safe. */
static const char *allowed_of(const struct row *r)
{
    bool kill = r->damage->action == ACT_KILL;
    enum inject_call call = r->damage->call;
    if (r->role != ROLE_TOOL)
        return serve_allowed(r->role, call, kill);
    if (kill)
        return "exit-137";
    return call >= CALL_CONNECT ? "exit-4 exit-6" : "exit-6";
}

/* Results ----------------------------------------------------------------------------------------
 */

static bool all;
static unsigned sample = ROWS_DEFAULT;
static uint64_t seed, only_n, max = MAX_DEFAULT;
static const char *claim_file;
static struct stage stage;
static unsigned kinds, injected, reuses, violations;

static uint64_t rnd(void)
{
    static uint64_t state;
    if (state == 0)
        state = seed | 1;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(2685821657736338717) >> 3;
}

/* Rows -------------------------------------------------------------------------------------------
 */

static void add_rows(enum scene_id scene, enum inject_role role, const unsigned calls[CALL_COUNT])
{
    for (size_t i = 0; i < DAMAGES; i++) {
        unsigned n = calls[damages[i].call];
        if (n == 0)
            continue;
        assert_true(row_count < ROWS_MAX);
        struct row *r = &rows[row_count++];
        *r = (struct row){.scene = scene, .role = role, .damage = &damages[i], .calls = n};
        (void)snprintf(r->name, sizeof(r->name), "%s: %s %s", scenes[scene].name, role_names[role],
                       damages[i].name);
    }
}

/* Every call that a scene makes when nothing goes wrong is one that can. */
static void count_calls(enum scene_id id)
{
    static const struct fault none = {.nth = NEVER, .times = 1};
    struct book b = {.size = 0};
    unsigned calls[ROLE_COUNT][CALL_COUNT];
    struct victim *v = scenes[id].before(&stage);
    faults_arm(&none, &v->service);
    scenes[id].act(&stage, v, &b);
    faults_disarm();
    for (unsigned role = 0; role < ROLE_COUNT; role++)
        for (unsigned call = 0; call < CALL_COUNT; call++)
            calls[role][call] = faults_seen((enum inject_role)role, (enum inject_call)call);
    assert_int_equal(scenes[id].after(&stage, v, &b), 0);
    assert_int_equal(book_strangers(&b, "starting clock-unsafe busy", "without a fault"), 0);
    for (enum inject_role role = ROLE_SUPERVISOR; role < ROLE_COUNT; role++)
        add_rows(id, role, calls[role]);
}

/* @return false: the fault was never reached */
static bool play(const struct row *r, unsigned n, struct victim *v, struct book *answers)
{
    const struct scene *scene = &scenes[r->scene];
    const struct damage *d = r->damage;
    struct fault fault = {.role = r->role,
                          .call = d->call,
                          .action = d->action,
                          .error = d->error,
                          .nth = n,
                          .times = d->times};
    struct book b = {.size = 0};
    off_t log = service_log_size(&v->service);
    faults_arm(&fault, &v->service);
    scene->act(&stage, v, &b);
    bool fired = faults_fired() > 0;
    faults_disarm();
    unsigned wrong = scene->after(&stage, v, &b) + victim_check_log(v, log);
    if (wrong > 0)
        (void)fprintf(stderr, "FAULT: the above at %s, n = %u\n", r->name, n);
    violations += wrong;
    injected += fired ? 1 : 0;
    for (size_t i = 0; i < b.size; i++)
        for (unsigned k = 0; k < b.count[i]; k++)
            book_add(answers, "%s", b.word[i]);
    return fired;
}

static unsigned judge_reuse(const struct victim *v)
{
    unsigned found = victim_check_reuse(v);
    reuses += found;
    return found;
}

/* The next n to play: 1, 2, 3 …, or one by chance in each of a few equal parts. */
static bool next_n(const struct row *r, unsigned *n)
{
    bool first = *n == 0;
    if (only_n > 0) {
        *n = (unsigned)only_n;
        return first;
    }
    if (!all) {
        *n = 1 + (unsigned)(rnd() % r->calls);
        return first;
    }
    bool whole = r->role != ROLE_TOOL || !r->damage->spread || max == 0 || r->calls <= max;
    unsigned part = whole ? 1 : (r->calls + (unsigned)max - 1) / (unsigned)max;
    unsigned next = *n == 0 ? 0 : (*n - 1) / part + 1;
    *n = 1 + next * part + (unsigned)(rnd() % part);
    return whole || next * part < r->calls;
}

static void play_row(const struct row *r)
{
    const struct scene *scene = &scenes[r->scene];
    struct book answers = {.size = 0};
    struct victim *v = NULL;
    unsigned played = 0;
    unsigned before = injected;
    int64_t since = lab_now_ms();
    for (unsigned n = 0; next_n(r, &n);) {
        if (played++ % scene->repeat == 0)
            v = scene->before(&stage);
        /* A spread row need not come to its end, nor need a quick one. */
        if (!play(r, n, v, &answers) && all)
            break;
        if (played % scene->repeat == 0)
            (void)judge_reuse(v);
    }
    (void)judge_reuse(v);
    kinds++;
    violations += book_strangers(&answers, allowed_of(r), r->name);
    (void)printf("faults: %-45s n=%-5u %3d s  ", r->name, injected - before,
                 (int)((lab_now_ms() - since) / 1000));
    book_print(&answers, stdout);
    (void)printf("%s\n", v->restarts > 0 ? "  (restarted by hand)" : "");
    v->restarts = 0;
    (void)fflush(stdout);
}

/* Main -------------------------------------------------------------------------------------------
 */

static bool claim(size_t *row)
{
    static size_t next;
    uint64_t taken = 0;
    if (claim_file == NULL) {
        *row = next++;
        return *row < row_count;
    }
    int fd CLEANUP(fd_close) = open(claim_file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    (void)!pread(fd, &taken, sizeof(taken), 0);
    *row = (size_t)taken++;
    assert_true(pwrite_full(fd, &taken, sizeof(taken), 0));
    return *row < row_count;
}

static const char *only = "";

/* In any order, when only the first of them will be played. */
static void shuffle(void)
{
    for (size_t i = row_count - 1; i > 0; i--) {
        size_t k = rnd() % (i + 1);
        struct row r = rows[i];
        rows[i] = rows[k];
        rows[k] = r;
    }
}

static void test_matrix(void **state)
{
    (void)state;
    size_t i = 0;
    if (!all)
        shuffle();
    for (unsigned played = 0; claim(&i) && (all || played < sample);) {
        if (strstr(rows[i].name, only) == NULL)
            continue;
        play_row(&rows[i]);
        played++;
    }
    assert_int_equal(reuses + violations, 0);
}

/* What a key new left behind that was cut off behind its counters stood in the way of every later
 * one: its TPM objects were not known as ours again. */
static void test_key_new_again(void **state)
{
    (void)state;
    const struct row *r = rows;
    while (r < rows + row_count && strcmp(r->name, "key-new: tool rename kill") != 0)
        r++;
    assert_true(r < rows + row_count);
    struct book b = {.size = 0};
    unsigned before = violations;
    assert_true(play(r, r->calls, scenes[SCENE_KEY_NEW].before(&stage), &b));
    assert_int_equal(b.size, 1);
    assert_int_equal(violations, before);
}

static int set_up(void **state)
{
    (void)state;
    faults_open();
    stage_open(&stage);
    for (unsigned id = 0; id < SCENE_COUNT; id++)
        count_calls((enum scene_id)id);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_close(&stage);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_new_again),
        cmocka_unit_test(test_matrix),
    };
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return 1;
    seed >>= 16; /* short enough to type */
    const char *quick = getenv("TIDEMARK_QUICK");
    if (quick != NULL && strcmp(quick, "1") == 0)
        sample = ROWS_QUICK;
    for (int letter = 0; (letter = getopt(argc, argv, "ak:s:c:m:n:")) != -1;) {
        if (letter == 'a')
            all = true;
        else if (letter == 'k')
            only = optarg;
        else if (letter == 'c')
            claim_file = optarg;
        else if (!text_to_u64(letter == 's'   ? &seed
                              : letter == 'm' ? &max
                                              : &only_n,
                              optarg, letter == 's' ? UINT64_MAX : UINT32_MAX))
            return 2;
    }
    (void)printf("seed %" PRIu64 " (-s repeats it)\n", seed);
    int unable = lab_open();
    if (unable != 0)
        return unable;
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    (void)printf("faults: kinds=%u injected=%u reuses=%u violations=%u\n", kinds, injected, reuses,
                 violations);
    return failed != 0 || reuses > 0 || violations > 0 ? 1 : 0;
}
