/*
 * A key that is made in several attempts: killed at every step that can be told apart (a command to
 * the TPM, a sync, a unit of leaves), stopped, gone on with. What comes out must be one key: every
 * leaf is derived again from the sealed secrets and compared. And what must not be gone on with.
 *
 * A kill is a child process that ends in the middle; disk and fake TPM are what it shares with us.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/secmem.h"
#include "hbs/key.h"
#include "lib/plan_text.h"
#include "lib/quick.h"
#include "lib/signer_rig.h"
#include "signer/provision.h"
#include "signer/scheme.h"
#include "signer/seeds.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define NEVER UINT64_MAX
#define KILLED 9
#define PLAN_OF(minors)                                                                            \
    "{'tidemark_plan':1,'key':'k','profile':'sp800-208','scheme':'lms','parameters':"              \
    "['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W1'],'message':'raw','assignment':{'kind':'version'," \
    "'format':'major.minor','sizes':{'minor':" minors "},'window':'major','order':'strict'}}"

static struct rig rig;
static uint64_t steps, kill_at; /* steps of this attempt; the one at which the process ends */
static uint64_t first_done, stop_at, seals;
static struct provision wanted;
static struct err last;

/* A child's ledger is its own memory: what it does behind its commit shows nothing here. */
static bool committed(void)
{
    return faccessat(rig.config.state_dirfd, KEYS_DIR "/k/plan.json", F_OK, 0) == 0 &&
           faccessat(rig.config.state_dirfd, KEYS_DIR "/k/draft", F_OK, 0) != 0;
}

static void step(void)
{
    if (++steps == kill_at && !committed())
        _exit(KILLED);
}

/* Nothing here loses its power, so syncs need not take their time. */
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    (void)fd;
    step();
    return 0;
}

static void on_command(void *ctx, enum fake_command command)
{
    (void)ctx;
    seals += command == FAKE_SEAL;
    step();
}

static bool on_progress(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    (void)total;
    first_done = first_done == NEVER ? done : first_done;
    step();
    return done < stop_at;
}

static enum rc attempt(const char *plan, struct ledger_key *made)
{
    const struct tpm_ops *ops = rig.fake.world.tpm;
    char json[PLAN_TEXT_SIZE];
    plan_text(json, plan);
    struct ledger *ledger = rig_ledger(&rig);
    struct provision p = wanted;
    last = (struct err){0};
    p.state_dirfd = rig.config.state_dirfd;
    p.ledger = ledger;
    p.world = &rig.fake.world;
    p.now_s = START;
    p.threads = 2;
    p.progress = on_progress;
    assert_int_equal(ops->open(rig.fake.world.tpm_ctx, &p.tpm, &last), RC_OK);
    rig.fake.hook = rig.fake.hook_after = on_command;
    steps = seals = 0;
    first_done = NEVER;
    enum rc rc = provision_new(&p, json, strlen(json), made, NULL, &last);
    rig.fake.hook = rig.fake.hook_after = NULL;
    ops->close(rig.fake.world.tpm_ctx, &p.tpm);
    ledger_close(&ledger);
    fake_tpm_reset(&rig.fake);
    return rc;
}

/* The same in a process that ends at step n. @return false if it came to its end before. */
static bool killed_attempt(const char *plan, uint64_t n)
{
    struct ledger_key made;
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        kill_at = n;
        _exit(attempt(plan, &made) == RC_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fake_tpm_reset(&rig.fake);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == KILLED || WEXITSTATUS(status) == 0);
    return WEXITSTATUS(status) == KILLED;
}

static void begin(void)
{
    wanted = (struct provision){0};
    kill_at = 0;
    stop_at = NEVER;
    oracle_reset();
    rig_make(&rig, START, 1);
}

static int key_folder(const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof(path), KEYS_DIR "/%s", name);
    return openat(rig.config.state_dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static unsigned counters_defined(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < FAKE_KEYS_MAX; i++)
        n += rig.fake.tpm->nv[i].defined;
    return n;
}

static enum rc unseal(void *tpm, void *anchor, int dirfd, const char *file, uint64_t records,
                      uint64_t record, const uint8_t auth[32], void *secret, size_t len)
{
    struct err err = {0};
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    int fd CLEANUP(fd_close) = -1;
    assert_int_equal(seeds_open(dirfd, file, records, &fd, &err), RC_OK);
    assert_int_equal(seeds_read(fd, record, blob, &blob_len, &err), RC_OK);
    return rig.fake.world.tpm->unseal(tpm, anchor, auth, blob, blob_len, secret, len, &err);
}

static uint64_t *w_of(const struct ledger_key *made)
{
    for (unsigned i = 0; i < FAKE_KEYS_MAX; i++)
        if (rig.fake.tpm->nv[i].handle == made->pins.w_handle)
            return &rig.fake.tpm->nv[i].w;
    fail();
    return NULL;
}

/* The TPM gives a window's secret while W says that one or the one before it, and only then. */
static void unseal_in_turn(void *tpm, void *anchor, int dirfd, const struct ledger_key *made,
                           uint64_t windows, uint64_t window, const uint8_t auth[32],
                           struct window_secret *secret)
{
    uint64_t *w = w_of(made);
    uint64_t before = *w;
    uint64_t turn = (uint64_t)made->pins.w_base + window;
    for (unsigned i = 0; i < 4; i++) {
        *w = turn - 2 + i;
        assert_int_equal(
            unseal(tpm, anchor, dirfd, SEEDS_FILE, windows, window, auth, secret, sizeof(*secret)),
            i == 1 || i == 2 ? RC_OK : RC_HALT_SEEDS);
    }
    *w = turn;
    assert_int_equal(
        unseal(tpm, anchor, dirfd, SEEDS_FILE, windows, window, auth, secret, sizeof(*secret)),
        RC_OK);
    *w = before;
}

static void open_escrow(struct escrow *escrow, void *tpm, void *anchor, int dirfd,
                        const struct plan *plan, const struct ledger_key *made, const uint8_t *auth)
{
    struct err err = {0};
    const struct escrow_keeper keeper = {.world = &rig.fake.world,
                                         .tpm = tpm,
                                         .anchor = anchor,
                                         .auth_secret = auth,
                                         .plan = plan,
                                         .pins = &made->pins,
                                         .passphrase = wanted.escrow_passphrase};
    *escrow = ESCROW_CLOSED;
    assert_int_equal(escrow_open(escrow, dirfd, plan->window_count, &err), RC_OK);
    assert_true(escrow->fd >= 0);
    if (escrow_unlock(escrow, dirfd, &keeper, &err) != RC_OK)
        fail_msg("%s", err_text(&err));
}

/* Every leaf of windows that may sign, from what the TPM and the escrow give back. */
static void expect_one_key(const char *plan_json, const struct ledger_key *made)
{
    static const uint8_t no_pin[32];
    struct err err = {0};
    struct plan plan;
    struct hbs_key key;
    struct hbs_nodes *nodes = NULL;
    bool repaired = true;
    void *tpm = NULL;
    void *anchor = NULL;
    struct escrow escrow;
    uint8_t auth[ANCHOR_AUTH_LEN];
    uint8_t seed_auth[32];
    plan_make(&plan, plan_json);
    int dirfd CLEANUP(fd_close) = key_folder("k");
    assert_int_equal(scheme_read(&key, &plan, made->public_key, made->public_key_len, &err), RC_OK);
    assert_int_equal(hbs_key_nodes_open(&nodes, dirfd, KEY_FILE_NODES, &key, &repaired, &err),
                     RC_OK);
    assert_false(repaired);
    assert_int_equal(rig.fake.world.tpm->open(rig.fake.world.tpm_ctx, &tpm, &err), RC_OK);
    assert_int_equal(unseal(tpm, NULL, dirfd, DEVICE_FILE, 1, 0, no_pin, auth, sizeof(auth)),
                     RC_OK);
    assert_int_equal(rig.fake.world.tpm->anchor_open(&anchor, tpm, &made->pins, auth, &err), RC_OK);
    open_escrow(&escrow, tpm, anchor, dirfd, &plan, made, auth);
    hmac_sha256(seed_auth, auth, sizeof(auth), "seed", 4);
    const struct hbs_tree top = hbs_key_top(&key);
    for (uint64_t w = (uint64_t)made->min_window; w < plan.window_count; w++) {
        struct window_secret secret;
        uint8_t leaf[HBS_N_MAX];
        struct window_secret twin;
        unseal_in_turn(tpm, anchor, dirfd, made, plan.window_count, w, seed_auth, &secret);
        assert_int_equal(escrow_get(&escrow, w, &twin, &err), RC_OK);
        assert_memory_equal(&secret, &twin, sizeof(twin));
        for (uint64_t q = w * plan.window_size; q < (w + 1) * plan.window_size; q++) {
            hbs_tree_leaves(&top, (uint32_t)q, 1, secret.seed, leaf);
            assert_memory_equal(leaf, hbs_nodes_at(nodes, 1024 + (uint32_t)q), top.n);
        }
    }
    hbs_nodes_close(&nodes);
    escrow_close(&escrow);
    rig.fake.world.tpm->anchor_close(&anchor);
    rig.fake.world.tpm->close(rig.fake.world.tpm_ctx, &tpm);
    fake_tpm_reset(&rig.fake);
    plan_free(&plan);
    assert_true(faccessat(dirfd, "draft", F_OK, 0) != 0);
    assert_true(faccessat(dirfd, "pins", F_OK, 0) != 0);
}

/* Tests --------------------------------------------------------------------------------------- */

static void kill_everywhere(const char *plan, uint64_t by)
{
    unsigned continued = 0;
    uint64_t n = 1;
    by *= quick_stride(10);
    for (bool was_killed = true; was_killed; n += by) {
        struct ledger_key made;
        begin();
        was_killed = killed_attempt(plan, n);
        if (was_killed) {
            /* A second one is killed as well, soon after its start. */
            assert_true(killed_attempt(plan, 1 + n % 11));
            if (attempt(plan, &made) != RC_OK)
                fail_msg("killed at step %u: %s", (unsigned)n, err_text(&last));
            continued += first_done != NEVER && first_done > 0;
            assert_int_equal(counters_defined(), 1);
            expect_one_key(plan, &made);
        }
        rig_end(&rig);
    }
    assert_true(n > 100);
    assert_true(continued > 30 / by);
}

static void test_killed_at_every_step(void **state)
{
    (void)state;
    kill_everywhere(PLAN_OF("64"), 3);
}

static void test_killed_inside_large_windows(void **state)
{
    (void)state;
    kill_everywhere(PLAN_OF("512"), 1);
}

static void test_killed_with_small_windows(void **state)
{
    (void)state;
    kill_everywhere(PLAN_OF("8"), 7);
}

/* Stopped twice, gone on with, and only what was missing is made. */
static void test_stopped(void **state)
{
    (void)state;
    struct ledger_key made;
    begin();
    stop_at = 300;
    assert_int_equal(attempt(PLAN_OF("64"), &made), RC_RETRY_BUSY);
    stop_at = 600;
    assert_int_equal(attempt(PLAN_OF("64"), &made), RC_RETRY_BUSY);
    assert_true(first_done >= 300 && first_done < 600);
    struct ledger *ledger = rig_ledger(&rig);
    struct ledger_key none;
    assert_int_equal(ledger_key_by_name(ledger, "k", &none, &last), RC_REFUSED_NOT_FOUND);
    ledger_close(&ledger);
    stop_at = NEVER;
    assert_int_equal(attempt(PLAN_OF("64"), &made), RC_OK);
    assert_true(first_done >= 600);
    assert_true(seals <= 4 * 7); /* windows behind leaf 600, twice each; commands are seen twice */
    assert_int_equal(counters_defined(), 1);
    expect_one_key(PLAN_OF("64"), &made);
    rig_end(&rig);
}

static void spoil(const char *folder, const char *file, off_t at)
{
    uint8_t byte = 0;
    int dirfd CLEANUP(fd_close) = key_folder(folder);
    int fd CLEANUP(fd_close) = openat(dirfd, file, O_RDWR | O_CLOEXEC);
    assert_true(pread_full(fd, &byte, 1, at));
    byte ^= 1;
    assert_true(pwrite_full(fd, &byte, 1, at));
}

/* Behind 2048 nodes of 24 bytes: 4096 + 49152 is a multiple of a page. */
#define SLOT(n) (4096 + 2048 * 24 + 4096 * (off_t)(n))

static void test_torn_checkpoint(void **state)
{
    (void)state;
    uint64_t seen[4];
    for (unsigned torn = 0; torn < 4; torn++) {
        struct ledger_key made;
        begin();
        stop_at = 300;
        assert_int_equal(attempt(PLAN_OF("512"), &made), RC_RETRY_BUSY);
        for (unsigned slot = 0; slot < 2; slot++)
            if ((torn >> slot & 1) != 0)
                spoil(".new-k", ".nodes.tmp", SLOT(slot) + 50);
        stop_at = NEVER;
        assert_int_equal(attempt(PLAN_OF("512"), &made), RC_OK);
        seen[torn] = first_done;
        expect_one_key(PLAN_OF("512"), &made);
        rig_end(&rig);
    }
    assert_true(seen[0] >= 300);
    assert_int_equal(seen[3], 0);
    /* One of the two was the newest, and the other stands for a little less. */
    uint64_t less = seen[1] < seen[2] ? seen[1] : seen[2];
    assert_true(less > 0 && less < seen[0]);
}

static void refused(const char *plan, enum rc expected, const char *text)
{
    struct ledger_key made;
    struct ledger_key other;
    assert_int_equal(attempt(plan, &made), expected);
    if (strstr(last.text, text) == NULL || strstr(last.text, "--restart") == NULL)
        fail_msg("\"%s\" does not say \"%s\" and --restart", last.text, text);
    /* Refused twice: the first time has thrown nothing away. */
    assert_int_equal(attempt(plan, &other), expected);
    wanted.restart = true;
    stop_at = NEVER;
    assert_int_equal(attempt(plan, &made), RC_OK);
    assert_int_equal(first_done, 0);
    expect_one_key(plan, &made);
}

static void stopped_draft(void)
{
    struct ledger_key made;
    begin();
    stop_at = 300;
    assert_int_equal(attempt(PLAN_OF("64"), &made), RC_RETRY_BUSY);
    stop_at = NEVER;
}

static void test_other_plan(void **state)
{
    (void)state;
    stopped_draft();
    refused(PLAN_OF("32"), RC_REFUSED_EXISTS, "another plan");
    assert_int_equal(counters_defined(), 1);
    rig_end(&rig);
}

static void test_other_tpm(void **state)
{
    (void)state;
    stopped_draft();
    rig.fake.tpm->id ^= 1;
    refused(PLAN_OF("64"), RC_REFUSED_EXISTS, "another TPM");
    rig_end(&rig);
}

static void test_damaged(void **state)
{
    (void)state;
    stopped_draft();
    spoil(".new-k", "draft", 60);
    refused(PLAN_OF("64"), RC_REFUSED_EXISTS, "damaged");
    rig_end(&rig);
    /* The last leaf that counts is not one of its secret any more: windows of 512. */
    struct ledger_key made;
    begin();
    stop_at = 300;
    assert_int_equal(attempt(PLAN_OF("512"), &made), RC_RETRY_BUSY);
    for (unsigned q = 299; q < 512; q++)
        spoil(".new-k", ".nodes.tmp", 4096 + (1024 + q) * 24);
    stop_at = NEVER;
    refused(PLAN_OF("512"), RC_HALT_NODES, "damaged");
    rig_end(&rig);
}

/* The disk is put back to where the key was half made, after the key has been finished. Going on
 * would make the same secrets sign a second time (I1); the TPM knows. */
static void test_disk_put_back(void **state)
{
    (void)state;
    stopped_draft();
    rig.fake.tpm->nv[0].w++;
    refused(PLAN_OF("64"), RC_REFUSED_EXISTS, "put back");
    rig_end(&rig);
    stopped_draft();
    struct anchor_record a = {.w = rig.fake.tpm->nv[0].w, .l = rig.fake.tpm->nv[0].l};
    fake_tpm_set_a(&rig.fake, 0, &a);
    refused(PLAN_OF("64"), RC_REFUSED_EXISTS, "put back");
    rig_end(&rig);
}

/* PCRs change while a key is half made: what is sealed already would not open. */
static void test_other_pcrs(void **state)
{
    (void)state;
    struct ledger_key made;
    begin();
    assert_true(tpm_pcrs_scan(&wanted.pcrs, "sha256:0,7"));
    stop_at = 300;
    assert_int_equal(attempt(PLAN_OF("64"), &made), RC_RETRY_BUSY);
    stop_at = NEVER;
    rig.fake.tpm->pcrs++;
    refused(PLAN_OF("64"), RC_REFUSED_EXISTS, "other PCRs");
    rig_end(&rig);
}

/* The escrow stays in the keeping that it was begun with. */
static void test_other_escrow(void **state)
{
    (void)state;
    stopped_draft();
    wanted.escrow_passphrase = "correct horse";
    refused(PLAN_OF("64"), RC_REFUSED_EXISTS, "without --escrow-passphrase-file");
    rig_end(&rig);
    struct ledger_key made;
    begin();
    wanted.escrow_passphrase = "correct horse";
    stop_at = 300;
    assert_int_equal(attempt(PLAN_OF("64"), &made), RC_RETRY_BUSY);
    stop_at = NEVER;
    wanted.escrow_passphrase = "another horse";
    assert_int_equal(attempt(PLAN_OF("64"), &made), RC_REFUSED_PASSPHRASE);
    wanted.escrow_passphrase = NULL;
    assert_int_equal(attempt(PLAN_OF("64"), &made), RC_REFUSED_EXISTS);
    wanted.escrow_passphrase = "correct horse";
    assert_int_equal(attempt(PLAN_OF("64"), &made), RC_OK);
    assert_true(first_done >= 300);
    expect_one_key(PLAN_OF("64"), &made);
    rig_end(&rig);
}

/* Whoever keeps the files of a draft can read its windows for as long as they are to come, and the
 * TPM gives none that is over. */
static void test_draft_opens_nothing_later(void **state)
{
    (void)state;
    static const uint8_t no_pin[32];
    struct ledger_key made;
    uint8_t kept[SEEDS_RECORD_LEN];
    uint8_t auth[ANCHOR_AUTH_LEN];
    struct plan plan;
    struct escrow escrow;
    void *tpm = NULL;
    void *anchor = NULL;
    plan_make(&plan, PLAN_OF("64"));
    stopped_draft();
    {
        int dirfd CLEANUP(fd_close) = key_folder(".new-k");
        int fd CLEANUP(fd_close) = openat(dirfd, ESCROW_FILE, O_RDONLY | O_CLOEXEC);
        assert_true(pread_full(fd, kept, sizeof(kept), 0));
    }
    assert_int_equal(attempt(PLAN_OF("64"), &made), RC_OK);
    int dirfd CLEANUP(fd_close) = key_folder("k");
    assert_int_equal(rig.fake.world.tpm->open(rig.fake.world.tpm_ctx, &tpm, &last), RC_OK);
    assert_int_equal(unseal(tpm, NULL, dirfd, DEVICE_FILE, 1, 0, no_pin, auth, sizeof(auth)),
                     RC_OK);
    assert_int_equal(rig.fake.world.tpm->anchor_open(&anchor, tpm, &made.pins, auth, &last), RC_OK);
    open_escrow(&escrow, tpm, anchor, dirfd, &plan, &made, auth);
    for (unsigned i = 0; i < 3; i++) {
        struct window_secret secret;
        struct err err = {0};
        *w_of(&made) = (uint64_t)made.pins.w_base + i; /* window i is open */
        assert_true(pwrite_full(escrow.fd, kept, sizeof(kept), 0));
        assert_int_equal(escrow_get(&escrow, 0, &secret, &err), i == 0 ? RC_OK : RC_HALT_SEEDS);
        assert_true(i == 0 || strstr(err_text(&err), "closed") != NULL);
    }
    escrow_close(&escrow);
    rig.fake.world.tpm->anchor_close(&anchor);
    rig.fake.world.tpm->close(rig.fake.world.tpm_ctx, &tpm);
    plan_free(&plan);
    rig_end(&rig);
}

/* Windows end while a key is half made: their secrets go. W stays where it was made, since the
 * others are sealed under it, and is stepped over them when the first window opens. */
static void test_first_window_moves(void **state)
{
    (void)state;
    struct ledger_key made;
    stopped_draft();
    wanted.first_window = 3;
    assert_int_equal(attempt(PLAN_OF("64"), &made), RC_OK);
    assert_true(first_done >= 300);
    assert_int_equal(made.min_window, 3);
    assert_int_equal((int64_t)rig.fake.tpm->nv[0].w - made.pins.w_base, -1);
    expect_one_key(PLAN_OF("64"), &made);
    int dirfd CLEANUP(fd_close) = key_folder("k");
    int fd CLEANUP(fd_close) = -1;
    assert_int_equal(seeds_open(dirfd, SEEDS_FILE, 16, &fd, &last), RC_OK);
    for (uint64_t w = 0; w < 16; w++) {
        uint8_t blob[TPM_SEALED_MAX];
        size_t len = 0;
        assert_int_equal(seeds_read(fd, w, blob, &len, &last), RC_OK);
        assert_int_equal(len > 0, w >= 3);
    }
    struct stat st;
    assert_int_equal(fstatat(dirfd, ESCROW_FILE, &st, 0), 0);
    int escrow CLEANUP(fd_close) = openat(dirfd, ESCROW_FILE, O_RDONLY | O_CLOEXEC);
    for (uint64_t w = 0; w < 16; w++) {
        uint8_t record[SEEDS_RECORD_LEN];
        assert_true(pread_full(escrow, record, sizeof(record), (off_t)(w * sizeof(record))));
        assert_int_equal(be_get32(record) > 0, w >= 3);
    }
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_at_every_step),
        cmocka_unit_test(test_killed_inside_large_windows),
        cmocka_unit_test(test_killed_with_small_windows),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_torn_checkpoint),
        cmocka_unit_test(test_other_plan),
        cmocka_unit_test(test_other_tpm),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_disk_put_back),
        cmocka_unit_test(test_other_pcrs),
        cmocka_unit_test(test_other_escrow),
        cmocka_unit_test(test_draft_opens_nothing_later),
        cmocka_unit_test(test_first_window_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
