/*
 * Making a key when the TPM fails: at every command, before and after it took effect. What the
 * failed attempt left is gone after the next one, which makes a key that signs. And what a key that
 * starts in a later window is given.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "lib/plan_text.h"
#include "lib/signer_rig.h"
#include "signer/provision.h"
#include "signer/seeds.h"

#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define PLAN                                                                                       \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'version','format':'major.minor','sizes':{'minor':8},'window':'major',"      \
             "'order':'strict'}")

static struct rig rig;
static bool hit;                /* the fault came into effect in the last attempt */
static struct provision wanted; /* what an attempt is made with, beside the rig's parts */

/* Syncs of a folder, told apart by its number; counted while there is one to watch. */
static ino_t watched;
static unsigned synced;

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    struct stat st;
    synced += watched != 0 && fstat(fd, &st) == 0 && st.st_ino == watched;
    return __real_fsync(fd);
}

/* One attempt, as `tidemark key new` makes it. */
static enum rc attempt(uint64_t fail_at, enum fake_fault fault, struct ledger_key *made)
{
    const struct tpm_ops *ops = rig.fake.world.tpm;
    struct err err = {0};
    char json[PLAN_TEXT_SIZE];
    plan_text(json, PLAN);
    struct ledger *ledger = rig_ledger(&rig);
    struct provision p = wanted;
    p.state_dirfd = rig.config.state_dirfd;
    p.ledger = ledger;
    p.world = &rig.fake.world;
    p.now_s = START;
    p.threads = 1;
    assert_int_equal(ops->open(rig.fake.world.tpm_ctx, &p.tpm, &err), RC_OK);
    fake_tpm_fail(&rig.fake, fail_at, fault);
    enum rc rc = provision_new(&p, json, strlen(json), made, NULL, &err);
    hit = rig.fake.tpm->commands >= fail_at;
    fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
    ops->close(rig.fake.world.tpm_ctx, &p.tpm);
    ledger_close(&ledger);
    fake_tpm_reset(&rig.fake);
    return rc;
}

static unsigned counters_defined(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < FAKE_KEYS_MAX; i++)
        n += rig.fake.tpm->nv[i].defined;
    return n;
}

static void expect_signing(const struct ledger_key *made)
{
    rig.keys = 1;
    plan_make(&rig.plan[0], PLAN);
    rig.record[0] = *made;
    assert_int_equal(rig_open(&rig), RC_OK);
    struct ask a = {.version = "0.3", .text = "firmware"};
    rig_ask(&rig, &a, RC_OK);
    assert_int_equal(a.index, 3);
    rig_stop(&rig);
}

static bool try_fault(uint64_t n, enum fake_fault fault)
{
    struct ledger_key made;
    oracle_reset();
    rig_make(&rig, START, 1);
    enum rc rc = attempt(n, fault, &made);
    bool was_hit = hit;
    assert_true(was_hit == (rc != RC_OK));
    if (was_hit) {
        assert_int_equal(attempt(0, FAKE_NONE, &made), RC_OK);
        /* Nor are counters left that were made by a command without an answer. */
        assert_int_equal(counters_defined(), 1);
    }
    expect_signing(&made);
    rig_end(&rig);
    return was_hit;
}

static void test_every_tpm_command(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {FAKE_FAIL_BEFORE, FAKE_FAIL_AFTER, FAKE_REFUSE,
                                             FAKE_BUSY};
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        uint64_t n = 1;
        while (try_fault(n, faults[i]))
            n++;
        assert_true(n > 8); /* authorisation, four windows, counters, reading, A */
    }
}

static void test_name_is_taken(void **state)
{
    (void)state;
    struct ledger_key made;
    struct ledger_key again;
    rig_make(&rig, START, 1);
    assert_int_equal(attempt(0, FAKE_NONE, &made), RC_OK);
    assert_int_equal(attempt(0, FAKE_NONE, &again), RC_REFUSED_EXISTS);
    assert_int_equal(counters_defined(), 1);
    expect_signing(&made);
    rig_end(&rig);
}

/* A replacement: what it must not use it never gets, and what it rests on is in its ledger. */
static void test_from_a_later_window_on(void **state)
{
    (void)state;
    struct ledger_key made;
    struct err err = {0};
    rig_make(&rig, START, 1);
    wanted = (struct provision){.first_window = 2, .statement = "lost at sea", .mark = 1};
    assert_int_equal(attempt(0, FAKE_NONE, &made), RC_OK);
    wanted = (struct provision){0};
    assert_int_equal(made.min_window, 2);
    int dirfd = openat(rig.config.state_dirfd, KEYS_DIR "/k", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = -1;
    assert_int_equal(seeds_open(dirfd, SEEDS_FILE, 4, &fd, &err), RC_OK);
    for (uint64_t w = 0; w < 4; w++) {
        uint8_t blob[TPM_SEALED_MAX];
        size_t len = 0;
        assert_int_equal(seeds_read(fd, w, blob, &len, &err), RC_OK);
        assert_int_equal(len > 0, w >= 2);
    }
    fd_close(&fd);
    fd_close(&dirfd);
    struct ledger *ledger = rig_ledger(&rig);
    int64_t smallest = -1;
    int64_t largest = -1;
    assert_int_equal(ledger_note_range(ledger, made.id, LEDGER_OPERATION, "backup-export",
                                       &smallest, &largest, &err),
                     RC_OK);
    assert_int_equal(smallest, 1);
    assert_int_equal(largest, 1);
    ledger_close(&ledger);
    rig_end(&rig);
}

/* The first key makes the folder of all keys, whose name stands in the state directory. Found by
 * the simulator: the ledger knew the key after a power cut, and the folder was gone. */
static void test_folder_is_durable(void **state)
{
    (void)state;
    struct ledger_key made;
    struct stat st;
    rig_make(&rig, START, 1);
    assert_int_equal(fstat(rig.config.state_dirfd, &st), 0);
    watched = st.st_ino;
    synced = 0;
    assert_int_equal(attempt(0, FAKE_NONE, &made), RC_OK);
    watched = 0;
    assert_true(synced > 0);
    expect_signing(&made);
    rig_end(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_tpm_command),
        cmocka_unit_test(test_name_is_taken),
        cmocka_unit_test(test_from_a_later_window_on),
        cmocka_unit_test(test_folder_is_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
