/*
 * Power cuts under the ledger. A script of commits runs on a disk whose power goes at its n-th
 * write, sync, truncation or deletion, for every n; what was not synced is kept, dropped or torn by
 * a seeded coin. Then the ledger is opened again and must hold every commit that was acknowledged
 * (I2), no half of any, and entries that are byte for byte those of a run without a cut; and the
 * rest of the script must go on from there.
 *
 * That such a test can fail is part of it: with the settings that the ledger refuses to run with,
 * the same cuts must lose commits.
 *
 * Options: test_ledger_crash [seed [rounds]]; a failure prints the seed that repeats it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/secmem.h"
#include "base/text.h"
#include "ledger/ledger.h"
#include "lib/crashvfs.h"
#include "lib/quick.h"

#define AT_S INT64_C(1796000000)
#define ENTRIES_MAX 64
#define COMMITS_MAX 48

static uint64_t first_seed = 1;
static uint64_t rounds = 1; /* seeds per cut */

/* The script ------------------------------------------------------------------------------------
 */

struct script {
    const char *name;
    size_t commits;
    enum rc (*commit)(struct ledger *l, size_t i, struct err *err); /* between begin and commit */
    size_t reopen_at;                                               /* before this commit */
};

static uint8_t signature[LEDGER_SIGNATURE_MAX];

static enum rc add_key(struct ledger *l, struct err *err)
{
    struct ledger_key key = {.name = "router-fw", .public_key_len = 60};
    memset(key.key_id, 7, sizeof(key.key_id));
    return ledger_add_key(l, &key, AT_S, err);
}

static enum rc add_lease(struct ledger *l, uint64_t number, uint64_t count, struct err *err)
{
    struct ledger_lease lease = {.epoch = number + 1,
                                 .window = 9,
                                 .number = number,
                                 .first = 1000 * (number + 1),
                                 .count = count};
    return ledger_add_lease(l, 1, &lease, AT_S, err);
}

static enum rc add_receipts(struct ledger *l, uint64_t number, uint64_t from, uint64_t count,
                            size_t size, struct err *err)
{
    for (uint64_t i = from; i < from + count; i++) {
        struct ledger_receipt r = {
            .epoch = number + 1, .window = 9, .index = 1000 * (number + 1) + i, .at_s = AT_S};
        snprintf(r.origin.idempotency_key, sizeof(r.origin.idempotency_key), "key-%" PRIu64, i);
        enum rc rc = ledger_add_receipt(l, 1, &r, signature, size, err);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc add_intent(struct ledger *l, uint64_t index, uint8_t artifact, struct err *err)
{
    struct ledger_intent i = {
        .epoch = 50, .window = 3, .index = index, .rank = index, .value_len = 32, .at_s = AT_S};
    snprintf(i.version, sizeof(i.version), "1.%" PRIu64, index);
    memset(i.artifact_sha256, artifact, SHA256_LEN);
    return ledger_add_intent(l, 1, &i, err);
}

static enum rc sign_intent(struct ledger *l, uint64_t index, uint8_t artifact, struct err *err)
{
    struct ledger_receipt r = {.epoch = 50, .window = 3, .index = index, .at_s = AT_S};
    snprintf(r.version, sizeof(r.version), "1.%" PRIu64, index);
    memset(r.artifact_sha256, artifact, SHA256_LEN);
    return ledger_add_receipt(l, 1, &r, signature, 1300, err);
}

/* A little of everything, the ledger closed and opened once in the middle. */
static enum rc commit_mixed(struct ledger *l, size_t i, struct err *err)
{
    enum rc rc = RC_OK;
    uint64_t count = 0;
    struct ledger_window window = {.window = 9, .w = 4, .l_base = 0};
    switch (i) {
    case 0:
        return add_key(l, err);
    case 1:
        rc = ledger_add_window(l, 1, &window, AT_S, err);
        return rc == RC_OK ? add_lease(l, 0, 16, err) : rc;
    case 2:
        return add_receipts(l, 0, 0, 3, 2500, err);
    case 3:
        for (uint64_t n = 0; n < 3 && rc == RC_OK; n++)
            rc = add_intent(l, n, 1, err);
        return rc;
    case 4:
        return sign_intent(l, 1, 1, err);
    case 5:
        return ledger_void_after(l, 1, 0, AT_S, &count, err);
    case 6:
        return add_intent(l, 2, 2, err); /* another artifact for what became void */
    case 7:
        rc = sign_intent(l, 2, 2, err);
        return rc == RC_OK ? ledger_add_burn(l, 1, 9, 1003, 13, "restart", AT_S, err) : rc;
    case 8:
        return ledger_raise_min_window(l, 1, 9, "recovered", AT_S, err);
    case 9:
        rc = add_lease(l, 1, 16, err);
        return rc == RC_OK ? add_receipts(l, 1, 0, 8, 2500, err) : rc;
    default:
        return ledger_add_note(l, 0, LEDGER_CLOCK, "step", "", (int64_t)i, AT_S, err);
    }
}

/* Signatures so large that the WAL is copied into the database while the script runs. */
static enum rc commit_large(struct ledger *l, size_t i, struct err *err)
{
    if (i == 0)
        return add_key(l, err);
    if (i == 1)
        return add_lease(l, 0, 100, err);
    return add_receipts(l, 0, i, 1, LEDGER_SIGNATURE_MAX, err);
}

static const struct script mixed = {
    .name = "mixed", .commits = 12, .commit = commit_mixed, .reopen_at = 6};
static const struct script large = {
    .name = "large", .commits = 36, .commit = commit_large, .reopen_at = SIZE_MAX};

/* What a run without a cut leaves behind: the text of each entry, the entries after each commit. */
struct reference {
    uint64_t steps; /* of the disk, until the ledger is closed */
    uint64_t size[COMMITS_MAX + 1];
    char *json[ENTRIES_MAX];
};

static void reference_wipe(struct reference *r)
{
    for (size_t i = 0; i < ENTRIES_MAX; i++)
        free(r->json[i]);
    *r = (struct reference){0};
}

/* One run ---------------------------------------------------------------------------------------
 */

/* How the connection is weakened after the ledger has opened it; NULL: not at all. */
struct weakness {
    const char *name;
    const char *sql;
    bool lose_syncs;
};

/* SQLite tells every new connection to this function; the ledger's is the one with a file. */
static sqlite3 *newest;

static int remember_connection(sqlite3 *db, char **text, const struct sqlite3_api_routines *api)
{
    (void)text;
    (void)api;
    const char *file = sqlite3_db_filename(db, "main");
    if (file != NULL && file[0] != '\0')
        newest = db;
    return SQLITE_OK;
}

static struct ledger *open_ledger(const struct weakness *weak, struct err *err)
{
    struct ledger *l = NULL;
    struct ledger_options options = {.path = "ledger", .vfs = "crash", .create = true};
    if (ledger_open(&l, &options, err) != RC_OK)
        return NULL;
    /* The power may go in here as well; then the next call finds out. */
    if (weak != NULL && weak->sql != NULL)
        (void)sqlite3_exec(newest, weak->sql, NULL, NULL, NULL);
    return l;
}

/* Run the script from a commit on. Returns how many commits were acknowledged, the earlier ones
 * included; fewer than all if the power went. */
static size_t run(const struct script *script, const struct weakness *weak, size_t from,
                  struct reference *record)
{
    struct err err = {0};
    struct ledger *l CLEANUP(ledger_close) = open_ledger(weak, &err);
    for (size_t i = from; i < script->commits; i++) {
        if (l != NULL && i == script->reopen_at) {
            ledger_close(&l);
            l = open_ledger(weak, &err);
        }
        if (l == NULL || ledger_begin(l, &err) != RC_OK)
            return i;
        enum rc rc = script->commit(l, i, &err);
        if (rc == RC_OK)
            rc = ledger_commit(l, &err);
        if (rc != RC_OK) {
            assert_int_equal(rc, RC_HALT_LEDGER);
            return i;
        }
        if (record != NULL)
            record->size[i + 1] = ledger_size(l);
    }
    for (uint64_t seq = 1; record != NULL && seq <= ledger_size(l); seq++) {
        assert_true(seq <= ENTRIES_MAX);
        assert_int_equal(ledger_entry_json(l, seq, &record->json[seq - 1], &err), RC_OK);
    }
    return script->commits;
}

static void make_reference(const struct script *script, const struct weakness *weak,
                           struct reference *r)
{
    struct crashvfs *disk CLEANUP(crashvfs_close) = crashvfs_open("crash", 1);
    assert_int_equal(run(script, weak, 0, r), script->commits);
    r->steps = crashvfs_steps(disk);
}

/* After the cut ---------------------------------------------------------------------------------
 */

enum verdict { WHOLE, LOST, HALF, DAMAGED };

/* Every entry that is there is the one of the reference, and they end where a commit ends. */
static enum verdict judge(struct ledger *l, const struct script *script, const struct reference *r,
                          size_t acknowledged, size_t *commits)
{
    struct err err = {0};
    uint64_t size = ledger_size(l);
    for (uint64_t seq = 1; seq <= size; seq++) {
        char *json = NULL;
        if (ledger_entry_json(l, seq, &json, &err) != RC_OK)
            return DAMAGED;
        bool same = r->json[seq - 1] != NULL && strcmp(json, r->json[seq - 1]) == 0;
        free(json);
        if (!same)
            return DAMAGED;
    }
    for (*commits = 0; *commits <= script->commits; (*commits)++)
        if (r->size[*commits] == size)
            return *commits < acknowledged ? LOST : WHOLE;
    return HALF;
}

/* One cut at step n, perhaps a second one soon after the power is back, then a look. */
static enum verdict cut_once(const struct script *script, const struct weakness *weak,
                             const struct reference *r, uint64_t n, uint64_t seed)
{
    struct crashvfs *disk CLEANUP(crashvfs_close) = crashvfs_open("crash", seed);
    crashvfs_lose_syncs(disk, weak != NULL && weak->lose_syncs);
    crashvfs_cut_at(disk, n);
    size_t acknowledged = run(script, weak, 0, NULL);
    crashvfs_power_on(disk);
    crashvfs_lose_syncs(disk, false);

    struct err err = {0};
    size_t commits = 0;
    struct ledger *l CLEANUP(ledger_close) = open_ledger(NULL, &err);
    if (l == NULL)
        return DAMAGED;
    enum verdict verdict = judge(l, script, r, acknowledged, &commits);
    if (verdict != WHOLE || weak != NULL)
        return verdict;
    assert_true(commits <= acknowledged + 1);

    /* Again, while what the first cut left is being cleared up and a commit follows it. */
    ledger_close(&l);
    crashvfs_cut_at(disk, crashvfs_steps(disk) + 1 + seed * n % 13);
    acknowledged = run(script, NULL, commits, NULL);
    crashvfs_power_on(disk);
    l = open_ledger(NULL, &err);
    if (l == NULL)
        return DAMAGED;
    verdict = judge(l, script, r, acknowledged, &commits);
    if (verdict != WHOLE)
        return verdict;
    if (n % 4 != 0)
        return WHOLE;
    ledger_close(&l);

    /* And to the end, which is the same as without any cut. */
    if (run(script, NULL, commits, NULL) != script->commits)
        return DAMAGED;
    l = open_ledger(NULL, &err);
    return l != NULL ? judge(l, script, r, script->commits, &commits) : DAMAGED;
}

/* Every stride-th step is cut. Counts the verdicts; with none allowed, stops at the first loss. */
static void cut_everywhere(const struct script *script, const struct weakness *weak,
                           uint64_t stride, uint64_t counts[4])
{
    struct reference r CLEANUP(reference_wipe) = {0};
    make_reference(script, weak, &r);
    assert_true(r.steps > 100);
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint64_t n = 1 + round % stride; n <= r.steps; n += stride) {
            uint64_t seed = first_seed + round;
            enum verdict verdict = cut_once(script, weak, &r, n, seed);
            counts[verdict]++;
            if (weak == NULL && verdict != WHOLE)
                fail_msg("script %s, power cut at step %" PRIu64 " of %" PRIu64 ", seed %" PRIu64
                         ": %s",
                         script->name, n, r.steps, seed,
                         verdict == LOST   ? "an acknowledged commit is lost"
                         : verdict == HALF ? "half a commit is there"
                                           : "the ledger is damaged");
        }
    }
    print_message("script %s, %s: %" PRIu64 " cuts: %" PRIu64 " whole, %" PRIu64 " lost, %" PRIu64
                  " half, %" PRIu64 " damaged\n",
                  script->name, weak != NULL ? weak->name : "as the ledger sets it",
                  counts[0] + counts[1] + counts[2] + counts[3], counts[WHOLE], counts[LOST],
                  counts[HALF], counts[DAMAGED]);
}

static void test_no_commit_is_lost(void **state)
{
    (void)state;
    uint64_t counts[4] = {0};
    cut_everywhere(&mixed, NULL, quick_stride(15), counts);
    assert_true(counts[WHOLE] > 20);
}

static void test_no_commit_is_lost_around_checkpoints(void **state)
{
    (void)state;
    uint64_t counts[4] = {0};
    cut_everywhere(&large, NULL, 19 * quick_stride(5), counts);
    assert_true(counts[WHOLE] > 20);
}

/* The same cuts under settings that the ledger does not run with. */
static void weakened_loses(const struct weakness *weak)
{
    uint64_t counts[4] = {0};
    cut_everywhere(&mixed, weak, 3 * quick_stride(5), counts);
    assert_true(counts[LOST] + counts[DAMAGED] > 0);
}

static void test_normal_loses(void **state)
{
    (void)state;
    weakened_loses(&(struct weakness){.name = "WAL with synchronous=NORMAL",
                                      .sql = "PRAGMA synchronous=NORMAL"});
}

static void test_rollback_journal_loses(void **state)
{
    (void)state;
    weakened_loses(&(struct weakness){.name = "journal_mode=DELETE with synchronous=FULL",
                                      .sql =
                                          "PRAGMA journal_mode=DELETE; PRAGMA locking_mode=NORMAL;"
                                          "PRAGMA synchronous=FULL"});
}

static void test_lying_disk_loses(void **state)
{
    (void)state;
    weakened_loses(&(struct weakness){.name = "a disk that does not sync", .lose_syncs = true});
}

int main(int argc, char **argv)
{
    struct err err = {0};
    if (base_init(&err) != RC_OK ||
        sqlite3_auto_extension((void (*)(void))remember_connection) != SQLITE_OK)
        return 1;
    if ((argc > 1 && !text_to_u64(&first_seed, argv[1], UINT32_MAX)) ||
        (argc > 2 && !text_to_u64(&rounds, argv[2], UINT32_MAX)))
        return 2;
    for (size_t i = 0; i < sizeof(signature); i++)
        signature[i] = (uint8_t)(i * i >> 7);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_commit_is_lost),
        cmocka_unit_test(test_no_commit_is_lost_around_checkpoints),
        cmocka_unit_test(test_normal_loses),
        cmocka_unit_test(test_rollback_journal_loses),
        cmocka_unit_test(test_lying_disk_loses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
