/*
 * Window secrets that the TPM opens only in their turn, on the signer's side: windows that were
 * skipped, secrets put back, other PCRs, keys of older versions, and the escrow that backups are
 * made from. What the TPM itself does about it is in test_tpm_lock.
 *
 * Argon2id takes its time on purpose; a cheap function stands in for it (link with
 * -Wl,--wrap=box_key).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/box.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "lib/signer_rig.h"
#include "signer/reseal.h"
#include "signer/seeds.h"
#include "signer/window_lock.h"

#define DAY INT64_C(86400)
#define WEEK (7 * DAY)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define WINDOWS 8
#define PASSPHRASE "correct horse"

#define TIME_PLAN                                                                                  \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':4,'lease_size':2,'seal':false}")
#define VERSION_PLAN(order)                                                                        \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'version','format':'major.minor','sizes':{'minor':4},'window':'major',"      \
             "'max_jump':6,'order':'" order "'}")

static struct rig rig;
static char path[128];
static unsigned asked;

enum rc __wrap_box_key(uint8_t *key, const char *passphrase, size_t passphrase_len,
                       const uint8_t salt[BOX_SALT_LEN], const struct box_cost *cost,
                       struct err *err);
enum rc __wrap_box_key(uint8_t *key, const char *passphrase, size_t passphrase_len,
                       const uint8_t salt[BOX_SALT_LEN], const struct box_cost *cost,
                       struct err *err)
{
    (void)cost;
    (void)err;
    sha256_2(key, salt, BOX_SALT_LEN, passphrase, passphrase_len);
    return RC_OK;
}

static void start(const char *plan)
{
    oracle_reset();
    rig_add_key(&rig, plan, 0);
    assert_int_equal(rig_open(&rig), RC_OK);
}

static int make(void **state)
{
    (void)state;
    rig_make(&rig, START + DAY, 1);
    (void)snprintf(path, sizeof(path), "%s/backup", rig.dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    oracle_check();
    (void)unlink(path);
    rig_end(&rig);
    return 0;
}

/* One request in the window of now. */
static struct ask *ask(enum rc expected)
{
    static struct ask a;
    static char idem[24];
    (void)snprintf(idem, sizeof(idem), "lock-%u", asked++);
    memset(&a, 0, offsetof(struct ask, signature));
    a.idem = idem;
    a.text = idem;
    rig_ask(&rig, &a, expected);
    return &a;
}

static struct ask *ask_version(const char *version, enum rc expected)
{
    static struct ask a;
    memset(&a, 0, offsetof(struct ask, signature));
    a.version = version;
    a.text = version;
    rig_ask(&rig, &a, expected);
    return &a;
}

static void go_to(int64_t window)
{
    fake_clock_set(&rig.fake, START + window * WEEK + DAY);
}

static int64_t floor_now(void)
{
    return (int64_t)rig.fake.tpm->nv[0].w - rig.record[0].pins.w_base;
}

static int key_file(const char *name)
{
    char file[128];
    (void)snprintf(file, sizeof(file), KEYS_DIR "/k/%s", name);
    int fd = openat(rig.config.state_dirfd, file, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Which windows have a record, as bits. */
static unsigned records(const char *name)
{
    int fd CLEANUP(fd_close) = key_file(name);
    struct stat st;
    unsigned there = 0;
    assert_int_equal(fstat(fd, &st), 0);
    for (unsigned w = 0; w < WINDOWS; w++) {
        uint8_t head[4];
        assert_true(pread_full(fd, head, sizeof(head), st.st_size / WINDOWS * w));
        there |= be_get32(head) != 0 ? 1U << w : 0;
    }
    return there;
}

static uint8_t *keep(const char *name, size_t *len)
{
    char file[128];
    char *data = NULL;
    struct err err = {0};
    (void)snprintf(file, sizeof(file), KEYS_DIR "/k/%s", name);
    assert_int_equal(file_read(rig.config.state_dirfd, file, 1 << 20, &data, len, &err), RC_OK);
    return (uint8_t *)data;
}

static void put_back(const char *name, const uint8_t *data, size_t len)
{
    int fd CLEANUP(fd_close) = key_file(name);
    assert_true(pwrite_full(fd, data, len, 0));
}

/* Turns ---------------------------------------------------------------------------------------- */

/* W passes the windows that nobody signed in before the secret of the wanted one opens, and what
 * they leave is as if they had been opened. */
static void skipped_windows(void **state)
{
    (void)state;
    start(TIME_PLAN);
    (void)ask(RC_OK);
    go_to(4);
    assert_int_equal(ask(RC_OK)->window, 4);
    assert_int_equal(floor_now(), 4);
    assert_int_equal(records(SEEDS_FILE), 0xf0);
    assert_int_equal(records(ESCROW_FILE), 0xf0);
    rig_reopen(&rig);
    assert_int_equal(ask(RC_OK)->window, 4);
    go_to(5);
    assert_int_equal(ask(RC_OK)->window, 5);
    go_to(7); /* the last */
    assert_int_equal(ask(RC_OK)->window, 7);
    assert_int_equal(records(SEEDS_FILE), 0x80);
}

/* Whatever fails on the way over skipped windows, the next start goes on; no index twice. */
static void fault_while_skipping(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {FAKE_FAIL_BEFORE, FAKE_FAIL_AFTER, FAKE_REFUSE};
    for (uint64_t n = 1; n <= 14; n++) {
        for (size_t f = 0; f < 3; f++) {
            start(TIME_PLAN);
            (void)ask(RC_OK);
            go_to(4);
            struct ask a = {.idem = "skips", .text = "skips"};
            fake_tpm_fail(&rig.fake, n, faults[f]);
            (void)!rig_sign(&rig, &a, 1);
            fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
            rig_reopen(&rig);
            assert_int_equal(ask(RC_OK)->window, 4);
            assert_int_equal(ask(RC_OK)->window, 4);
            assert_int_equal(floor_now(), 4);
            oracle_check();
            rig_end(&rig);
            (void)make(NULL);
        }
    }
}

/* What can be seen to be wrong before W moves costs no window. */
static void nothing_is_skipped_for_a_bad_secret(void **state)
{
    (void)state;
    start(TIME_PLAN);
    (void)ask(RC_OK);
    size_t len = 0;
    uint8_t *seeds = keep(SEEDS_FILE, &len);
    seeds[4 * SEEDS_RECORD_LEN + 6] ^= 1; /* inside the blob's head */
    put_back(SEEDS_FILE, seeds, len);
    free(seeds);
    uint64_t commands = rig.fake.tpm->commands;
    go_to(4);
    (void)ask(RC_HALT_SEEDS);
    assert_int_equal(floor_now(), 0);
    assert_true(rig.fake.tpm->commands > commands); /* the TPM was asked */
    go_to(5);
    assert_int_equal(ask(RC_OK)->window, 5);
}

/* A secret that only shows behind the skipping that it does not open leaves the window below it
 * open in full: should the clock go back to it, its positions begin at its first. */
static void window_below_is_whole(void **state)
{
    (void)state;
    start(TIME_PLAN);
    (void)ask(RC_OK);
    (void)ask(RC_OK);
    struct tpm_lock lock;
    struct tpm_pcrs none = {0};
    uint8_t record[SEEDS_RECORD_LEN] = {0};
    uint8_t other_value[32] = {1};
    struct window_secret secret = {0};
    size_t len = 0;
    window_lock(&lock, &rig.plan[0], &rig.record[0].pins, &none, 4);
    fake_seal(&rig.fake, other_value, &lock, &secret, sizeof(secret), record + 4, &len);
    be_put32(record, (uint32_t)len);
    {
        int fd CLEANUP(fd_close) = key_file(SEEDS_FILE);
        assert_true(pwrite_full(fd, record, sizeof(record), 4 * SEEDS_RECORD_LEN));
    }
    go_to(4);
    (void)ask(RC_HALT_SEEDS);
    assert_int_equal(floor_now(), 3);
    rig_reopen(&rig);
    (void)ask(RC_HALT_SEEDS);
    go_to(5);
    struct ask *a = ask(RC_OK);
    assert_int_equal(a->window, 5);
    assert_int_equal(a->index % 4, 0);
}

/* The disk is put back behind its window: the TPM refuses what was on it. */
static void secrets_put_back(void **state)
{
    (void)state;
    start(TIME_PLAN);
    size_t len = 0;
    size_t escrow_len = 0;
    uint8_t *seeds = keep(SEEDS_FILE, &len);
    uint8_t *escrow = keep(ESCROW_FILE, &escrow_len);
    (void)ask(RC_OK);
    go_to(2);
    (void)ask(RC_OK);
    signer_close(&rig.signer, false);
    put_back(SEEDS_FILE, seeds, len);
    put_back(ESCROW_FILE, escrow, escrow_len);
    free(seeds);
    free(escrow);
    struct ledger *ledger = rig_ledger(&rig);
    void *tpm = NULL;
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    assert_int_equal(key->rc, RC_OK);
    /* Opening the key has destroyed them again. */
    assert_int_equal(records(SEEDS_FILE), 0xfc);
    assert_int_equal(records(ESCROW_FILE), 0xfc);
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
}

/* Older lines stay open beside newer ones: no counter closes them, or keeps them closed. */
static void per_line(void **state)
{
    (void)state;
    start(VERSION_PLAN("per-line"));
    (void)ask_version("0.0", RC_OK);
    (void)ask_version("3.0", RC_OK);
    assert_int_equal(floor_now(), 3);
    rig_reopen(&rig);
    (void)ask_version("0.1", RC_OK);
    (void)ask_version("1.0", RC_OK);
    (void)ask_version("3.1", RC_OK);
    assert_int_equal(records(SEEDS_FILE), 0xff);
}

static void strict_versions(void **state)
{
    (void)state;
    start(VERSION_PLAN("strict"));
    (void)ask_version("0.0", RC_OK);
    (void)ask_version("3.0", RC_OK);
    assert_int_equal(floor_now(), 3);
    assert_int_equal(records(SEEDS_FILE), 0xf8);
    rig_reopen(&rig);
    (void)ask_version("3.1", RC_OK);
    (void)ask_version("2.0", RC_REFUSED_BELOW_FLOOR);
}

/* Backups and sealing anew --------------------------------------------------------------------- */

static struct err last;

static enum rc export(const char *passphrase) {
    uint8_t sha256[SHA256_LEN]; void *tpm = NULL; last = (struct err){0}; (void)unlink(path);
    signer_close(&rig.signer, false);
    struct ledger *ledger = rig_ledger(&rig);
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    enum rc rc = backup_export(key, &rig.fake.world, tpm, path, passphrase, 0, START, NULL, NULL,
                               sha256, &last);
    assert_int_equal(access(path, F_OK) == 0, rc == RC_OK);
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
    return rc;
}

static enum rc seal_anew(uint32_t pcrs, const char *passphrase, struct reseal *r)
{
    void *tpm = NULL;
    struct backup b = {.fd = -1};
    last = (struct err){0};
    signer_close(&rig.signer, false);
    struct ledger *ledger = rig_ledger(&rig);
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    assert_int_equal(backup_open(&b, path, PASSPHRASE, &last), RC_OK);
    *r = (struct reseal){.key = key,
                         .world = &rig.fake.world,
                         .tpm = tpm,
                         .backup = &b,
                         .pcrs = {.bank = pcrs != 0 ? TPM_BANK_SHA256 : 0, .selection = pcrs},
                         .escrow_passphrase = passphrase};
    enum rc rc = reseal(r, &last);
    backup_close(&b);
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
    fake_tpm_reset(&rig.fake);
    return rc;
}

static void expect_backup(uint64_t first)
{
    struct backup b = {.fd = -1};
    struct err err = {0};
    assert_int_equal(backup_open(&b, path, PASSPHRASE, &err), RC_OK);
    assert_int_equal(b.header.first_window, first);
    assert_int_equal(backup_check(&b, NULL, NULL, &err), RC_OK);
    backup_close(&b);
}

/* The escrow is kept by the TPM: it takes the owner authorisation. */
static void export_by_owner(void **state)
{
    (void)state;
    start(TIME_PLAN);
    assert_int_equal(export(PASSPHRASE), RC_OK);
    expect_backup(0);
    assert_int_equal(rig_open(&rig), RC_OK);
    go_to(2);
    (void)ask(RC_OK);
    assert_int_equal(export(PASSPHRASE), RC_OK);
    expect_backup(3);
    rig.fake.tpm->owner_refuses = true;
    assert_int_equal(export(PASSPHRASE), RC_REFUSED_CONFIG);
    assert_int_equal(rig_open(&rig), RC_OK); /* which signing does not need */
    (void)ask(RC_OK);
}

static void export_by_passphrase(void **state)
{
    (void)state;
    rig.escrow_passphrase = PASSPHRASE;
    start(TIME_PLAN);
    (void)ask(RC_OK);
    rig.fake.tpm->owner_refuses = true;
    assert_int_equal(export("another horse"), RC_REFUSED_PASSPHRASE);
    assert_non_null(strstr(last.text, "when it was made"));
    assert_int_equal(export(PASSPHRASE), RC_OK);
    expect_backup(1);
    assert_int_equal(records(ESCROW_FILE), 0xff);
    assert_int_equal(rig_open(&rig), RC_OK);
    go_to(3);
    (void)ask(RC_OK);
    assert_int_equal(records(ESCROW_FILE), 0xf8);
    assert_int_equal(export(PASSPHRASE), RC_OK);
    expect_backup(4);
}

/* A record of another window, or a changed one, is found out before it is in a backup. */
static void damaged_escrow(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 2; way++) {
        rig.escrow_passphrase = way == 0 ? NULL : PASSPHRASE;
        start(TIME_PLAN);
        size_t len = 0;
        uint8_t *escrow = keep(ESCROW_FILE, &len);
        size_t one = len / WINDOWS;
        uint8_t *twice = malloc(len);
        assert_non_null(twice);
        memcpy(twice, escrow, len);
        memcpy(twice + 2 * one, escrow + 3 * one, one);
        put_back(ESCROW_FILE, twice, len);
        assert_int_equal(export(PASSPHRASE), RC_HALT_SEEDS);
        memcpy(twice, escrow, len);
        twice[2 * one + 30] ^= 1;
        put_back(ESCROW_FILE, twice, len);
        assert_int_equal(export(PASSPHRASE), RC_HALT_SEEDS);
        memset(twice + 2 * one, 0, one);
        put_back(ESCROW_FILE, twice, len);
        assert_int_equal(export(PASSPHRASE), RC_HALT_SEEDS);
        assert_non_null(strstr(last.text, "no secret of window 2"));
        put_back(ESCROW_FILE, escrow, len);
        assert_int_equal(export(PASSPHRASE), RC_OK);
        int fd CLEANUP(fd_close) = key_file(ESCROW_FILE);
        assert_int_equal(ftruncate(fd, (off_t)len - 1), 0);
        assert_int_equal(rig_open(&rig), RC_OK);
        (void)ask(RC_HALT_SEEDS);
        free(escrow);
        free(twice);
        rig_end(&rig);
        (void)make(NULL);
    }
}

/* Firmware is upgraded: no window opens until a backup has sealed them anew. The open one is lost.
 */
static void other_pcrs(void **state)
{
    (void)state;
    struct reseal r;
    rig.pcrs = 0x81;
    start(TIME_PLAN);
    (void)ask(RC_OK);
    assert_int_equal(export(PASSPHRASE), RC_OK);
    rig.fake.tpm->pcrs++;
    assert_int_equal(rig_open(&rig), RC_OK);
    struct ask *a = ask(RC_HALT_SEEDS);
    assert_non_null(strstr(a->reply.text, "PCRs"));
    assert_non_null(strstr(a->reply.text, "window 0"));
    go_to(3);
    (void)ask(RC_HALT_SEEDS);
    assert_int_equal(floor_now(), 0); /* and no window was given up for it */
    assert_int_equal(seal_anew(0x81, NULL, &r), RC_OK);
    assert_int_equal(r.first, 1);
    assert_int_equal(r.count, 7);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(ask(RC_OK)->window, 3);
    assert_int_equal(export(PASSPHRASE), RC_OK);
    expect_backup(4);
    rig.fake.tpm->pcrs++;
    assert_int_equal(seal_anew(0, NULL, &r), RC_OK); /* without PCRs from now on */
    rig.fake.tpm->pcrs++;
    assert_int_equal(rig_open(&rig), RC_OK);
    go_to(5);
    assert_int_equal(ask(RC_OK)->window, 5);
}

/* Closed and open windows stay as they are, and so do those whose secret was destroyed. */
static void what_is_not_sealed_anew(void **state)
{
    (void)state;
    struct reseal r;
    start(TIME_PLAN);
    assert_int_equal(export(PASSPHRASE), RC_OK);
    assert_int_equal(rig_open(&rig), RC_OK);
    go_to(3);
    (void)ask(RC_OK);
    {
        static const uint8_t zeros[SEEDS_RECORD_LEN]; /* given away */
        int fd CLEANUP(fd_close) = key_file(SEEDS_FILE);
        assert_true(pwrite_full(fd, zeros, sizeof(zeros), 5 * SEEDS_RECORD_LEN));
    }
    assert_int_equal(seal_anew(0, NULL, &r), RC_OK);
    assert_int_equal(r.first, 4);
    assert_int_equal(r.count, 3);
    assert_int_equal(records(SEEDS_FILE), 0xd8);
    assert_int_equal(rig_open(&rig), RC_OK);
    go_to(7);
    (void)ask(RC_OK);
    assert_int_equal(seal_anew(0, NULL, &r), RC_REFUSED_EXHAUSTED);
}

/* A key that an older version made: opens as before, is exported as before, and is brought up to
 * date. */
static void old_key(void **state)
{
    (void)state;
    struct reseal r;
    rig.old_locks = true;
    start(TIME_PLAN);
    (void)ask(RC_OK);
    go_to(2);
    assert_int_equal(ask(RC_OK)->window, 2);
    assert_int_equal(export(PASSPHRASE), RC_OK);
    expect_backup(3);
    assert_int_equal(seal_anew(0, PASSPHRASE, &r), RC_OK);
    assert_int_equal(r.count, 5);
    assert_int_equal(records(ESCROW_FILE), 0xf8);
    size_t len = 0;
    uint8_t *seeds = keep(SEEDS_FILE, &len);
    for (unsigned w = 2; w < WINDOWS; w++) {
        struct tpm_lock lock;
        const uint8_t *at = seeds + (size_t)w * SEEDS_RECORD_LEN;
        assert_true(rig.fake.world.tpm->sealed_lock(at + 4, be_get32(at), &lock));
        assert_int_equal(lock.kind, w == 2 ? TPM_LOCK_AUTH : TPM_LOCK_WINDOW);
        assert_int_equal(lock.bound_high, w != 2);
    }
    free(seeds);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(ask(RC_OK)->window, 2);
    go_to(5);
    assert_int_equal(ask(RC_OK)->window, 5);
    assert_int_equal(export(PASSPHRASE), RC_OK);
    expect_backup(6);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, make, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(skipped_windows),
        TEST(fault_while_skipping),
        TEST(nothing_is_skipped_for_a_bad_secret),
        TEST(window_below_is_whole),
        TEST(secrets_put_back),
        TEST(per_line),
        TEST(strict_versions),
        TEST(export_by_owner),
        TEST(export_by_passphrase),
        TEST(damaged_escrow),
        TEST(other_pcrs),
        TEST(what_is_not_sealed_anew),
        TEST(old_key),
    };
    return cmocka_run_group_tests_name("signer_lock", tests, NULL, NULL);
}
