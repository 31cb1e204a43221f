/*
 * The power is cut under the real daemon, whose state directory lies on a disk that forgets what
 * was not synced.
 *
 * test_service_powercut [-n ROUNDS] [-s SEED]
 *
 * A round: clients sign under three keys, or a tool runs; at a write or flush of the disk chosen by
 * chance the power goes. Every write that no flush followed is kept, dropped or torn; in half of
 * the rounds the processes are killed before they can notice, in the others they go on for a moment
 * with a disk that only says EIO. The TPM is reset. Power on: the file system is mounted, the
 * ledger opened and compared with everything that clients ever received, and the service signs on.
 *
 * Two tests show that such losses would be found: a disk that lies about flushes, and a daemon that
 * does not sync (what SQLite calls synchronous=OFF). Both must lose something; no index may be used
 * twice even then.
 */
#include <dirent.h>
#include <fcntl.h>
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
#include "faults/powerdisk.h"
#include "faults/scenes.h"

#define ROUNDS_DEFAULT 6
#define ROUNDS_QUICK 2 /* for the second run of scripts/check.sh, under sanitizers */
#define ROUNDS_MAX 100000
#define WORKERS 5
#define QUOTA 12        /* signatures of one worker in one round */
#define RESTORE_EVERY 8 /* rounds of signing on one state */
#define LIAR_ROUNDS 40  /* in which a disk that lies must have been found out */
#define EVERY 0xffffffffU
#define ROUND_MS 60000

static uint64_t seed, rounds = ROUNDS_DEFAULT;
static struct stage stage;
static struct powerdisk disk;

/* xorshift64*: good enough to choose, and the same everywhere. */
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

/* Watching the power -----------------------------------------------------------------------------
 */

static atomic_bool watching;
static pthread_t watcher;

/* Parent and name of a process, from its line in /proc. */
static bool is_ours(pid_t pid)
{
    char path[64];
    char line[256];
    char name[32] = "";
    int parent = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    bool got = fgets(line, sizeof(line), f) != NULL &&
               sscanf(line, "%*d (%31[^)]) %*c %d", name, &parent) == 2;
    (void)fclose(f);
    return got && parent == (int)getpid() && strncmp(name, "tidemark", 8) == 0;
}

/* The service or tool that this test has started; the children of a supervisor end with it. */
static void kill_ours(void)
{
    DIR *proc = opendir("/proc");
    for (struct dirent *e = proc != NULL ? readdir(proc) : NULL; e != NULL; e = readdir(proc)) {
        uint64_t number = 0;
        if (text_to_u64(&number, e->d_name, INT32_MAX) && is_ours((pid_t)number))
            (void)kill((pid_t)number, SIGKILL);
    }
    if (proc != NULL)
        (void)closedir(proc);
}

/* Nobody who waits for the disk is answered before he has been killed. */
static void *watch(void *unused)
{
    (void)unused;
    while (atomic_load(&watching)) {
        if (powerdisk_power(&disk) == POWERDISK_HELD) {
            kill_ours();
            (void)powerdisk_tell(&disk, "release");
            return NULL;
        }
        lab_sleep_ms(1);
    }
    return NULL;
}

static void arm(unsigned requests)
{
    assert_true(powerdisk_tell(&disk, "arm %" PRIu64 " %" PRIu64 " %u", 1 + rnd() % requests,
                               rnd() % UINT32_MAX, (unsigned)(rnd() % 2)));
    atomic_store(&watching, true);
    assert_int_equal(pthread_create(&watcher, NULL, watch, NULL), 0);
}

/* The power is off behind this, if it was not before. */
static void cut_now(void)
{
    atomic_store(&watching, false);
    (void)pthread_join(watcher, NULL);
    if (powerdisk_power(&disk) == POWERDISK_HELD) {
        kill_ours();
        assert_true(powerdisk_tell(&disk, "release"));
    }
    assert_true(powerdisk_tell(&disk, "cut %" PRIu64, rnd() % UINT32_MAX));
}

/* Clients ----------------------------------------------------------------------------------------
 */

struct worker {
    pthread_t thread;
    struct victim *victim;
    size_t key;
    unsigned number, serial;
    bool pending; /* asked for and not received */
    char request[EVIDENCE_TEXT / 2], artifact[EVIDENCE_TEXT];
};

static struct worker workers[WORKERS];
static atomic_bool finish;
static atomic_uint busy, impossible, received;

static void next_request(struct worker *w)
{
    unsigned n = w->key == 0 ? w->victim->turn++ : w->serial++;
    if (w->key == 0)
        victim_request(w->request, w->victim, 0, n);
    else
        (void)snprintf(w->request, sizeof(w->request), "worker-%u-%u", w->number, n);
    (void)snprintf(w->artifact, sizeof(w->artifact), "%s of %u", w->request, w->number);
    w->pending = true;
}

static void try_once(struct worker *w)
{
    struct answer a;
    const char *key = victim_keys[w->key];
    struct victim *v = w->victim;
    long status = w->key == 0 ? sign_version(&v->service, &a, key, w->request, "a", w->artifact)
                              : sign_window(&v->service, &a, key, w->request, w->artifact);
    if (status == 200 || status == 201) {
        if (!evidence_take(&v->all, key, w->request, w->artifact, &a) ||
            !evidence_take(&v->kept, key, w->request, w->artifact, &a))
            atomic_fetch_add(&impossible, 1);
        atomic_fetch_add(&received, 1);
        w->pending = false;
    }
    client_done(&a);
}

static void *work(void *argument)
{
    struct worker *w = argument;
    for (unsigned done = 0; done < QUOTA && !atomic_load(&finish);) {
        if (!w->pending)
            next_request(w);
        try_once(w);
        if (w->pending)
            lab_sleep_ms(3);
        else
            done++;
    }
    atomic_fetch_sub(&busy, 1);
    return NULL;
}

static void start_workers(struct victim *v)
{
    static const size_t keys[WORKERS] = {0, 1, 1, 1, 2};
    atomic_store(&finish, false);
    atomic_store(&busy, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].victim = v;
        workers[i].key = keys[i];
        workers[i].number = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
}

static void join_workers(void)
{
    atomic_store(&finish, true);
    for (unsigned i = 0; i < WORKERS; i++)
        (void)pthread_join(workers[i].thread, NULL);
}

/* Rounds -----------------------------------------------------------------------------------------
 */

static unsigned wrong;

static void make_durable(void)
{
    assert_int_equal(lab_shell("sync -f '%s'", disk.mount), 0);
}

/* A world from its template, on the disk. */
static struct victim *fresh_world(enum scene_id id)
{
    struct victim *v = scenes[id].before(&stage);
    for (size_t i = 0; id == SCENE_SERVE && i < WORKERS; i++)
        workers[i].pending = false;
    make_durable();
    return v;
}

/* Sign until the power goes, or everything is signed and it goes for nothing. */
static void sign_and_cut(struct victim *v, bool at_start)
{
    struct book b = {.size = 0};
    if (at_start)
        arm(60);
    if (at_start)
        service_run(&v->service);
    else
        victim_start(v, &b);
    start_workers(v);
    if (!at_start)
        arm(250);
    for (int64_t until = lab_now_ms() + ROUND_MS; lab_now_ms() < until; lab_sleep_ms(1))
        if (powerdisk_power(&disk) == POWERDISK_OFF || atomic_load(&busy) == 0)
            break;
    cut_now();
    /* The daemon and its clients may notice; what they do then must not matter. */
    lab_sleep_ms((unsigned)(rnd() % 20));
    if (v->service.pid != 0)
        service_crash(&v->service);
    join_workers();
    assert_true(swtpm_reset(&v->service.tpm));
}

static void sign_round(bool at_start)
{
    static unsigned played;
    static struct victim *v;
    struct book b = {.size = 0};
    if (played++ % RESTORE_EVERY == 0) {
        if (v != NULL)
            wrong += victim_check_reuse(v);
        v = fresh_world(SCENE_SERVE);
    }
    sign_and_cut(v, at_start);
    assert_true(powerdisk_again(&disk));
    wrong += victim_check(v);
    victim_start(v, &b);
    for (size_t i = 0; i < WORKERS; i++) {
        if (workers[i].pending)
            victim_ask(v, &b, workers[i].key, workers[i].request, workers[i].artifact);
        workers[i].pending = false;
    }
    victim_sign(v, &b);
    victim_stop(v, &b);
    wrong +=
        victim_check(v) + book_strangers(&b, "starting clock-unsafe busy", "behind a power cut");
}

static void tool_round(enum scene_id id)
{
    struct book b = {.size = 0};
    struct victim *v = fresh_world(id);
    arm(40);
    scenes[id].act(&stage, v, &b);
    cut_now();
    assert_true(swtpm_reset(&v->service.tpm));
    assert_true(powerdisk_again(&disk));
    wrong += scenes[id].after(&stage, v, &b);
}

static void play_round(void)
{

    static const enum scene_id tools[] = {SCENE_KEY_NEW, SCENE_RECOVER, SCENE_REPLACE, SCENE_EXPORT,
                                          SCENE_CHECK};
    uint64_t n = rnd() % 10;
    if (n < 6)
        sign_round(n == 0);
    else
        tool_round(tools[rnd() % (sizeof(tools) / sizeof(tools[0]))]);
}

static void test_power_cuts(void **state)
{
    (void)state;
    int64_t since = lab_now_ms();
    uint64_t cuts = powerdisk_count(&disk, "cuts");
    for (uint64_t i = 0; i < rounds; i++) {
        play_round();
        if (wrong + atomic_load(&impossible) > 0)
            fail_msg("in round %" PRIu64 " of seed %" PRIu64, i + 1, seed);
        if ((i + 1) % 10 == 0)
            print_message("powercut: %" PRIu64 " of %" PRIu64 " rounds, %d s\n", i + 1, rounds,
                          (int)((lab_now_ms() - since) / 1000));
    }
    assert_int_equal(victim_check_reuse(&stage.large), 0);
    assert_true(powerdisk_sound(&disk));
    cuts = powerdisk_count(&disk, "cuts") - cuts;
    print_message("powercut: rounds=%" PRIu64 " cuts=%" PRIu64 " writes: kept=%" PRIu64
                  " dropped=%" PRIu64 " torn=%" PRIu64 "; signatures=%u reuses=0 lost=0\n",
                  rounds, cuts, powerdisk_count(&disk, "kept"), powerdisk_count(&disk, "dropped"),
                  powerdisk_count(&disk, "torn"), atomic_load(&received));
    assert_int_equal(cuts, rounds);
}

/* Liars ------------------------------------------------------------------------------------------
 */

/* Is anything missing of what clients hold? */
static bool has_lost(const struct victim *v)
{
    struct err err = {0};
    struct ledger *ledger CLEANUP(ledger_close) = NULL;
    char path[LAB_PATH + 16];
    (void)snprintf(path, sizeof(path), "%s/ledger.db", v->service.state);
    struct ledger_options options = {.path = path};
    if (ledger_open(&ledger, &options, &err) != RC_OK) {
        print_message("powercut: %s\n", err_text(&err));
        return true;
    }
    for (size_t i = 0; i < KEYS; i++) {
        struct audit audit = {0};
        unsigned missing = audit_ledger(&audit, ledger, victim_keys[i]);
        missing += audit_evidence(&audit, &v->kept, victim_keys[i]);
        audit_free(&audit);
        if (missing > 0)
            return true;
    }
    return false;
}

/* Rounds from the template until something is lost. What was lost is not asked for again: but that
 * no index signs twice holds even then, since the TPM does not forget. */
static bool loses(bool disk_lies)
{
    static const struct fault no_sync = {
        .role = ROLE_CORE, .call = CALL_SYNC, .action = ACT_SKIP, .nth = 1, .times = EVERY};
    bool lost = false;
    (void)fprintf(stderr, "what follows up to the next line of stars must be found\n");
    for (unsigned i = 0; i < LIAR_ROUNDS && !lost; i++) {
        powerdisk_format(&disk);
        /* Or the file system, which syncs every five seconds, would hide what a daemon on a busy
         * machine does not do. */
        assert_int_equal(lab_shell("mount -o remount,commit=3600 '%s'", disk.mount), 0);
        struct victim *v = fresh_world(SCENE_SERVE);
        if (disk_lies)
            assert_true(powerdisk_tell(&disk, "lie 1"));
        else
            faults_arm(&no_sync, &v->service);
        sign_and_cut(v, false);
        faults_disarm();
        lost = !powerdisk_again(&disk) || has_lost(v);
        assert_true(powerdisk_tell(&disk, "lie 0"));
        assert_int_equal(victim_check_reuse(v), 0);
        if (lost)
            print_message("powercut: %s: a loss in round %u, as it must be\n",
                          disk_lies ? "a disk that lies" : "a daemon that does not sync", i + 1);
    }
    (void)fprintf(stderr, "***\n");
    powerdisk_format(&disk);
    return lost;
}

static void test_lying_disk(void **state)
{
    (void)state;
    assert_true(loses(true));
}

static void test_no_sync(void **state)
{
    (void)state;
    assert_true(loses(false));
}

/* Main -------------------------------------------------------------------------------------------
 */

static void move(struct victim *v, const char *name)
{
    char dir[LAB_PATH];
    int len = snprintf(dir, sizeof(dir), "%s/%s", disk.mount, name);
    assert_true(len > 0 && (size_t)len < sizeof(dir));
    victim_move(v, dir);
}

static int set_up(void **state)
{
    (void)state;
    faults_open();
    stage_open(&stage);
    powerdisk_make(&disk, "power");
    move(&stage.large, "large");
    move(&stage.small, "small");
    move(&stage.fresh, "fresh");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_close(&stage);
    powerdisk_end(&disk);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lying_disk),
        cmocka_unit_test(test_no_sync),
        cmocka_unit_test(test_power_cuts),
    };
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return 1;
    seed >>= 16; /* short enough to type */
    const char *quick = getenv("TIDEMARK_QUICK");
    if (quick != NULL && strcmp(quick, "1") == 0)
        rounds = ROUNDS_QUICK;
    for (int letter = 0; (letter = getopt(argc, argv, "n:s:")) != -1;)
        if (letter == 's' ? !text_to_u64(&seed, optarg, UINT64_MAX)
                          : letter != 'n' || !text_to_u64(&rounds, optarg, ROUNDS_MAX))
            return 2;
    (void)printf("seed %" PRIu64 " (-s repeats it)\n", seed);
    (void)fflush(stdout);
    int unable = lab_open();
    const char *why = unable == 0 ? powerdisk_possible() : NULL;
    if (why != NULL)
        (void)fprintf(stderr, "SKIPPED: %s\n", why);
    if (unable != 0 || why != NULL)
        return unable != 0 ? unable : LAB_SKIPPED;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
