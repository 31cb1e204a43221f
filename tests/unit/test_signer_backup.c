/*
 * Backups: what was exported comes back, and nothing else opens: files that are cut off or changed
 * in any byte of the header, wrong passphrases, headers that do not fit their plan though their
 * author knew the passphrase. And where a replacement made from one may start.
 *
 * Argon2id takes its time on purpose; a cheap function stands in for it (link with
 * -Wl,--wrap=box_key) in all tests but one. fsync() is counted, and fails when a test wants it to
 * (-Wl,--wrap=fsync).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/box.h"
#include "base/bytes.h"
#include "base/file.h"
#include "lib/signer_rig.h"
#include "signer/allocate.h"
#include "signer/recover.h"

#define DAY INT64_C(86400)
#define WEEK (7 * DAY)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define WINDOWS 4
#define PASSPHRASE "correct horse"

#define TIME_PLAN                                                                                  \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':8,'lease_size':2}")
#define INTERVAL_PLAN RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':8}")
#define VERSION_PLAN                                                                               \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'version','format':'major.minor','sizes':{'minor':8},'window':'major',"      \
             "'order':'strict'}")

static struct rig rig;
static char path[128];
static uint8_t sha256[SHA256_LEN];
static bool real_box;

enum rc __real_box_key(uint8_t *key, const char *passphrase, size_t passphrase_len,
                       const uint8_t salt[BOX_SALT_LEN], const struct box_cost *cost,
                       struct err *err);
enum rc __wrap_box_key(uint8_t *key, const char *passphrase, size_t passphrase_len,
                       const uint8_t salt[BOX_SALT_LEN], const struct box_cost *cost,
                       struct err *err);

enum rc __wrap_box_key(uint8_t *key, const char *passphrase, size_t passphrase_len,
                       const uint8_t salt[BOX_SALT_LEN], const struct box_cost *cost,
                       struct err *err)
{
    if (real_box || cost->memory_kib < 8192)
        return __real_box_key(key, passphrase, passphrase_len, salt, cost, err);
    uint8_t mixed[BOX_SALT_LEN + 8];
    memcpy(mixed, salt, BOX_SALT_LEN);
    be_put32(mixed + BOX_SALT_LEN, cost->memory_kib);
    be_put32(mixed + BOX_SALT_LEN + 4, cost->passes);
    sha256_2(key, mixed, sizeof(mixed), passphrase, passphrase_len);
    return RC_OK;
}

static off_t synced_size; /* of the file that was synced last */
static bool folder_synced;
static bool sync_fails;

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
    struct stat st;
    if (sync_fails) {
        errno = EIO;
        return -1;
    }
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        folder_synced = true;
    else
        synced_size = st.st_size;
    return __real_fsync(fd);
}

/* Making one --------------------------------------------------------------------------------------
 */

static enum rc export(int64_t through) {
    struct err err = {0}; void *tpm = NULL; signer_close(&rig.signer, false);
    struct ledger *ledger = rig_ledger(&rig);
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    enum rc rc = backup_export(key, &rig.fake.world, tpm, path, PASSPHRASE, through, START, NULL,
                               NULL, sha256, &err);
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
    return rc;
}

/* A key, `signatures` made with it, and its backup. */
static void begin(const char *plan, unsigned signatures, int64_t through)
{
    static struct ask a;
    static char idem[16];
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, plan, 0);
    assert_int_equal(rig_open(&rig), RC_OK);
    for (unsigned i = 0; i < signatures; i++) {
        (void)snprintf(idem, sizeof(idem), rig.plan[0].kind == PLAN_VERSION ? "0.%u" : "%u", i);
        memset(&a, 0, offsetof(struct ask, signature));
        a.version = rig.plan[0].kind == PLAN_VERSION ? idem : NULL;
        a.idem = rig.plan[0].kind == PLAN_VERSION ? NULL : idem;
        a.text = "x";
        rig_ask(&rig, &a, RC_OK);
    }
    (void)snprintf(path, sizeof(path), "%s/backup", rig.dir);
    assert_int_equal(export(through), RC_OK);
}

static int end(void **state)
{
    (void)state;
    real_box = false;
    sync_fails = false;
    (void)unlink(path);
    rig_end(&rig);
    return 0;
}

static uint8_t *read_file(size_t *len)
{
    char *data = NULL;
    struct err err = {0};
    assert_int_equal(file_read(AT_FDCWD, path, 1024 * 1024, &data, len, &err), RC_OK);
    return (uint8_t *)data;
}

static void write_file(const uint8_t *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(fd >= 0 && pwrite_full(fd, data, len, 0));
    (void)close(fd);
}

/* Open and check, as the operator does. */
static enum rc try(const char *passphrase)
{
    struct backup b = {.fd = -1};
    struct err err = {0};
    enum rc rc = backup_open(&b, path, passphrase, &err);
    if (rc == RC_OK) {
        rc = backup_check(&b, NULL, NULL, &err);
        backup_close(&b);
    }
    assert_true(rc == RC_OK || err.text[0] != '\0');
    return rc;
}

/* Reading -----------------------------------------------------------------------------------------
 */

static void round_trip(void **state)
{
    (void)state;
    real_box = true;
    begin(TIME_PLAN, 2, 0);
    struct backup b;
    struct err err = {0};
    assert_int_equal(backup_open(&b, path, PASSPHRASE, &err), RC_OK);
    assert_string_equal(b.header.key, "k");
    assert_int_equal(b.header.first_window, 1); /* window 0 is open: it stays on the device */
    assert_int_equal(b.header.count, WINDOWS - 1);
    assert_int_equal(b.header.through, 0);
    assert_int_equal(b.header.made_at_s, START);
    for (uint64_t w = 1; w < WINDOWS; w++) {
        struct window_secret secret;
        assert_int_equal(backup_secret(&b, w, &secret, &err), RC_OK);
        assert_int_equal(be_get64(secret.seed), w);
    }
    struct window_secret none;
    assert_int_equal(backup_secret(&b, 0, &none, &err), RC_REFUSED_RANGE);
    assert_int_equal(backup_secret(&b, WINDOWS, &none, &err), RC_REFUSED_RANGE);
    err = (struct err){0};
    assert_int_equal(backup_check(&b, NULL, NULL, &err), RC_OK);
    backup_close(&b);
    assert_int_equal(try("correct horsf"), RC_REFUSED_PASSPHRASE);
    uint8_t hash[SHA256_LEN];
    size_t len = 0;
    uint8_t *data = read_file(&len);
    digest_buffer(DIGEST_SHA256, hash, data, len);
    assert_memory_equal(hash, sha256, sizeof(hash));
    free(data);
}

static void nothing_left_and_path_taken(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN, 1, 0);
    assert_int_equal(export(0), RC_REFUSED_EXISTS);
    size_t len = 0;
    free(read_file(&len)); /* and is still there */
    (void)unlink(path);
    assert_int_equal(try(PASSPHRASE), RC_REFUSED_NOT_FOUND);
    /* A secret that the TPM does not open: no half file stays. */
    rig.fake.tpm->id = 7;
    assert_int_equal(export(0), RC_HALT_SEEDS);
    assert_int_equal(access(path, F_OK), -1);
}

/* An operator who was told that it is made may pull the stick out. */
static void export_is_synced_or_fails(void **state)
{
    (void)state;
    struct stat st;
    folder_synced = false;
    begin(TIME_PLAN, 1, 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(synced_size, st.st_size);
    assert_true(folder_synced);
    (void)unlink(path);
    sync_fails = true;
    assert_int_equal(export(0), RC_HALT_SYSTEM);
    assert_int_equal(access(path, F_OK), -1);
}

/* Half a file is not called a backup, and does not stand in the way of one. */
static void half_made_export_is_replaced(void **state)
{
    (void)state;
    char part[sizeof(path) + 8];
    begin(TIME_PLAN, 1, 0);
    (void)unlink(path);
    (void)snprintf(part, sizeof(part), "%s.part", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && pwrite_full(fd, "TIDEBKUP", 8, 0));
    (void)close(fd);
    assert_int_equal(export(0), RC_OK);
    assert_int_equal(try(PASSPHRASE), RC_OK);
    assert_int_equal(access(part, F_OK), -1);
}

/* In the last window nothing is left to be given away, but its mark is: a key that was recovered
 * into that window signs when an export is acknowledged. */
static void export_in_the_last_window(void **state)
{
    (void)state;
    static struct ask a = {.idem = "last", .text = "x"};
    struct backup b;
    struct err err = {0};
    begin(TIME_PLAN, 1, 0);
    (void)unlink(path);
    fake_clock_set(&rig.fake, START + (WINDOWS - 1) * WEEK + DAY);
    assert_int_equal(rig_open(&rig), RC_OK);
    rig_ask(&rig, &a, RC_OK);
    assert_int_equal(export(WINDOWS - 1), RC_OK);
    assert_int_equal(backup_open(&b, path, PASSPHRASE, &err), RC_OK);
    assert_int_equal(b.header.count, 0);
    assert_int_equal(b.header.first_window, WINDOWS);
    assert_int_equal(b.header.through, WINDOWS - 1);
    struct window_secret none;
    assert_int_equal(backup_secret(&b, WINDOWS - 1, &none, &err), RC_REFUSED_RANGE);
    struct recover_plan plan;
    const struct recover_statement s = {.acknowledged_through = WINDOWS - 1,
                                        .start_window = -1,
                                        .margin = 1,
                                        .clock_latest_s = START};
    assert_int_equal(recover_backup_plan(&b, &s, &plan, &err), RC_REFUSED_EXHAUSTED);
    backup_close(&b);
    assert_int_equal(try(PASSPHRASE), RC_OK);
}

static void truncated(void **state)
{
    (void)state;
    begin(TIME_PLAN, 1, 0);
    size_t len = 0;
    uint8_t *data = read_file(&len);
    for (size_t cut = 0; cut < len; cut += cut < 700 ? 1 : 97) {
        write_file(data, cut);
        enum rc rc = try(PASSPHRASE);
        if (rc_class(rc) != RC_CLASS_REFUSED)
            fail_msg("cut to %zu of %zu bytes: %s", cut, len, rc_name(rc));
    }
    uint8_t *longer = realloc(data, len + 1);
    assert_non_null(longer);
    longer[len] = 0;
    write_file(longer, len + 1);
    assert_int_equal(try(PASSPHRASE), RC_REFUSED_INPUT);
    write_file(longer, len);
    assert_int_equal(try(PASSPHRASE), RC_OK);
    free(longer);
}

static void changed_in_any_byte_before_the_nodes(void **state)
{
    (void)state;
    begin(TIME_PLAN, 1, 0);
    size_t len = 0;
    uint8_t *data = read_file(&len);
    struct backup b;
    struct err err = {0};
    assert_int_equal(backup_open(&b, path, PASSPHRASE, &err), RC_OK);
    size_t nodes_at = (size_t)b.nodes_at;
    backup_close(&b);
    for (size_t at = 0; at < nodes_at; at++) {
        static const uint8_t flips[] = {0x01, 0x10, 0x80};
        for (size_t i = 0; i < 3; i++) {
            data[at] ^= flips[i];
            write_file(data, len);
            enum rc rc = try(PASSPHRASE);
            if (rc_class(rc) != RC_CLASS_REFUSED)
                fail_msg("byte %zu ^ %#x: %s", at, flips[i], rc_name(rc));
            data[at] ^= flips[i];
        }
    }
    /* A leaf of the first window in it. */
    data[nodes_at + 4096 + 24 * (32 + 8)] ^= 1;
    write_file(data, len);
    assert_int_equal(try(PASSPHRASE), RC_HALT_NODES);
    free(data);
}

/* Sealed by somebody who knows the passphrase, with numbers that the plan does not have. */
static void headers_that_do_not_fit_the_plan(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } changes[] = {{"\"count\":3", "\"count\":9"},
                   {"\"count\":3", "\"count\":2"},
                   {"\"first_window\":1", "\"first_window\":7"},
                   {"\"through\":0", "\"through\":-"},
                   {"\"key\":\"k\"", "\"key\":\"j\""}};
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        begin(TIME_PLAN, 1, 0);
        size_t len = 0;
        uint8_t *data = read_file(&len);
        char *found = memmem(data, len, changes[i].from, strlen(changes[i].from));
        assert_non_null(found);
        memcpy(found, changes[i].to, strlen(changes[i].to));
        write_file(data, len);
        free(data);
        assert_int_equal(try(PASSPHRASE), RC_REFUSED_INPUT);
        (void)end(NULL);
    }
}

/* Replacements ------------------------------------------------------------------------------------
 */

static enum rc plan_of(const struct recover_statement *s, struct recover_plan *r)
{
    struct backup b;
    struct err err = {0};
    assert_int_equal(backup_open(&b, path, PASSPHRASE, &err), RC_OK);
    enum rc rc = recover_backup_plan(&b, s, r, &err);
    backup_close(&b);
    return rc;
}

#define STATEMENT                                                                                  \
    ((struct recover_statement){                                                                   \
        .acknowledged_through = -1, .start_window = -1, .margin = 1, .clock_latest_s = -1})

static void case_42_replacement_by_time(void **state)
{
    (void)state;
    begin(TIME_PLAN, 1, 0);
    struct recover_plan r;
    struct recover_statement s = STATEMENT;
    assert_int_equal(plan_of(&s, &r), RC_RETRY_CLOCK);
    s.clock_latest_s = START - WEEK; /* before the plan: still behind all that the backup knows */
    assert_int_equal(plan_of(&s, &r), RC_REFUSED_INPUT);
    s.acknowledged_through = 0;
    assert_int_equal(plan_of(&s, &r), RC_OK);
    assert_int_equal(r.start_window, 1);
    s.clock_latest_s = START + WEEK + DAY;
    assert_int_equal(plan_of(&s, &r), RC_OK);
    assert_int_equal(r.start_window, 2);
    assert_int_equal(r.opens_s, START + 2 * WEEK);
    s.start_window = 3;
    assert_int_equal(plan_of(&s, &r), RC_OK);
    assert_int_equal(r.start_window, 3);
    s.start_window = 0; /* never lower */
    assert_int_equal(plan_of(&s, &r), RC_OK);
    assert_int_equal(r.start_window, 2);
    s.start_window = 4;
    assert_int_equal(plan_of(&s, &r), RC_REFUSED_EXHAUSTED);
    s.start_window = -1;
    s.clock_latest_s = START + 3 * WEEK + DAY;
    assert_int_equal(plan_of(&s, &r), RC_REFUSED_EXHAUSTED);
    s.clock_latest_s = START + 9 * WEEK;
    assert_int_equal(plan_of(&s, &r), RC_REFUSED_EXHAUSTED);
}

static void attack_02_replacement_by_export(void **state)
{
    (void)state;
    static const char *const plans[] = {INTERVAL_PLAN, VERSION_PLAN};
    for (size_t i = 0; i < 2; i++) {
        begin(plans[i], 1, 1);
        struct recover_plan r;
        struct recover_statement s = STATEMENT;
        assert_int_equal(plan_of(&s, &r), RC_REFUSED_INPUT);
        s.acknowledged_through = 0;
        assert_int_equal(plan_of(&s, &r), RC_REFUSED_INPUT);
        s.acknowledged_through = 1;
        assert_int_equal(plan_of(&s, &r), RC_OK);
        assert_int_equal(r.start_window, 3); /* exported + m + 1 */
        assert_int_equal(r.mark, 1);
        s.margin = 0;
        assert_int_equal(plan_of(&s, &r), RC_OK);
        assert_int_equal(r.start_window, 2);
        s.acknowledged_through = 3;
        assert_int_equal(plan_of(&s, &r), RC_REFUSED_EXHAUSTED);
        (void)end(NULL);
    }
}

/* What `backup export` and `backup check` leave in the ledger; anchored at once. */
static void note(enum ledger_note_kind kind, int64_t mark)
{
    struct err err = {0};
    void *tpm = NULL;
    signer_close(&rig.signer, false);
    struct ledger *ledger = rig_ledger(&rig);
    struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
    struct allocator alloc = {.key = key, .world = &rig.fake.world, .ledger = ledger};
    assert_int_equal(key->rc, RC_OK);
    assert_int_equal(ledger_begin(ledger, &err), RC_OK);
    assert_int_equal(
        ledger_add_note(ledger, key->record.id, kind, "backup-export", path, mark, START, &err),
        RC_OK);
    assert_int_equal(ledger_commit(ledger, &err), RC_OK);
    assert_int_equal(allocate_settle(&alloc, &err), RC_OK);
    rig_unload_key(&rig, key, &tpm);
    ledger_close(&ledger);
    assert_int_equal(rig_open(&rig), RC_OK);
}

/* Ask for a signature in the given window of a version plan, or in whatever window an interval plan
 * is in. */
static void ask_in(int64_t window, const char *text, enum rc expected)
{
    static struct ask a;
    char version[VERSION_LEN_MAX + 1];
    bool by_version = rig.plan[0].kind == PLAN_VERSION;
    (void)snprintf(version, sizeof(version), "%" PRId64 ".0", window);
    memset(&a, 0, offsetof(struct ask, signature));
    a.version = by_version ? version : NULL;
    a.idem = by_version ? NULL : text;
    a.text = text;
    rig_ask(&rig, &a, expected);
    if (expected == RC_OK)
        assert_int_equal(a.window, window);
}

/* A disk put back to before an export has forgotten it, and with it how far this device may go
 * before a replacement starts. Found by the model (tests/model, M_RECOVERY_FORGETS). */
static void attack_38_recovery_of_a_ledger_that_forgot_an_export(void **state)
{
    (void)state;
    static const char *const plans[] = {INTERVAL_PLAN, VERSION_PLAN};
    for (size_t i = 0; i < 2; i++) {
        struct rig_disk disk = {0};
        struct recover_plan here;
        struct recover_plan replacement;
        struct recover_statement s = STATEMENT;
        struct err err = {0};
        void *tpm = NULL;
        begin(plans[i], 1, 0);
        rig_disk_take(&rig, &disk);
        note(LEDGER_OPERATION, 0);
        rig_crash(&rig);
        rig_disk_put(&rig, &disk);
        struct ledger *ledger = rig_ledger(&rig);
        struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
        assert_int_equal(key->rc, RC_HALT_REGRESSION);
        assert_int_equal(recover_here_plan(key, &rig.fake.world, ledger, -1, &here, &err), RC_OK);
        assert_int_equal(here.start_window, 1);
        assert_int_equal(recover_here(key, &rig.fake.world, ledger, &here, NULL, &err), RC_OK);
        rig_unload_key(&rig, key, &tpm);
        ledger_close(&ledger);
        assert_int_equal(rig_open(&rig), RC_OK);
        /* Nothing is signed until the operator knows of it, whatever window is asked for. */
        s.acknowledged_through = 0;
        assert_int_equal(plan_of(&s, &replacement), RC_OK);
        assert_int_equal(replacement.start_window, 2);
        ask_in(1, "one", RC_REFUSED_EXPORT);
        ask_in(replacement.start_window, "two", RC_REFUSED_EXPORT);
        note(LEDGER_OPERATION, 1);
        ask_in(1, "one", RC_REFUSED_EXPORT); /* an export alone is no acknowledgement */
        note(LEDGER_ACKNOWLEDGEMENT, 1);
        ask_in(1, "one", RC_OK);
        s.acknowledged_through = 1;
        assert_int_equal(plan_of(&s, &replacement), RC_OK);
        assert_int_equal(replacement.start_window, 3);
        if (rig.plan[0].kind == PLAN_VERSION)
            ask_in(replacement.start_window, "three", RC_REFUSED_EXPORT);
        rig_disk_free(&disk);
        (void)end(NULL);
    }
}

/* A TPM that fails while the key is loaded: that is what is said, whatever command it was, and not
 * that this is another TPM. */
static void recovery_with_a_tpm_that_fails(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {FAKE_FAIL_BEFORE, FAKE_BUSY};
    begin(INTERVAL_PLAN, 1, 0);
    rig_crash(&rig);
    for (uint64_t n = 2; n <= 6; n++) { /* the first opens the TPM */
        for (size_t i = 0; i < 2; i++) {
            struct err err = {0};
            struct recover_plan plan;
            void *tpm = NULL;
            struct ledger *ledger = rig_ledger(&rig);
            fake_tpm_fail(&rig.fake, n, faults[i]);
            struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
            enum rc rc = recover_here_plan(key, &rig.fake.world, ledger, -1, &plan, &err);
            assert_true(rc == RC_OK || rc_class(rc) == RC_CLASS_HALT ||
                        rc_class(rc) == RC_CLASS_RETRY);
            assert_true(rc != RC_OK || key->anchor != NULL);
            fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
            rig_unload_key(&rig, key, &tpm);
            ledger_close(&ledger);
        }
    }
    (void)end(NULL);
}

/* On the device itself: numbers in A that nothing can have left there end nothing but the attempt.
 */
static void recovery_of_a_composed_a(void **state)
{
    (void)state;
    static const struct {
        uint64_t w, l;
        enum rc plan, run;
    } numbers[] = {{UINT64_MAX, 4, RC_REFUSED_EXHAUSTED, RC_OK},
                   {UINT64_MAX / 2, 4, RC_REFUSED_EXHAUSTED, RC_OK},
                   {8, UINT64_MAX, RC_OK, RC_HALT_INVARIANT},
                   {8, UINT64_MAX / 2 + 9, RC_OK, RC_HALT_INVARIANT},
                   {9, 40, RC_OK, RC_OK}};
    begin(INTERVAL_PLAN, 1, 0);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct anchor_record a = {.w = numbers[i].w, .l = numbers[i].l, .early_window = -1};
        struct recover_plan plan;
        struct err err = {0};
        void *tpm = NULL;
        fake_tpm_set_a(&rig.fake, 0, &a);
        struct ledger *ledger = rig_ledger(&rig);
        struct key *key = rig_load_key(&rig, 0, ledger, &tpm);
        assert_int_not_equal(key->rc, RC_OK);
        enum rc rc = recover_here_plan(key, &rig.fake.world, ledger, -1, &plan, &err);
        assert_int_equal(rc, numbers[i].plan);
        if (rc == RC_OK)
            assert_int_equal(recover_here(key, &rig.fake.world, ledger, &plan, NULL, &err),
                             numbers[i].run);
        rig_unload_key(&rig, key, &tpm);
        ledger_close(&ledger);
    }
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(rig_key_rc(&rig, 0), RC_OK);
}

/* With an argument, the tests whose names it matches (* and ?). */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(round_trip, end),
        cmocka_unit_test_teardown(nothing_left_and_path_taken, end),
        cmocka_unit_test_teardown(export_is_synced_or_fails, end),
        cmocka_unit_test_teardown(half_made_export_is_replaced, end),
        cmocka_unit_test_teardown(export_in_the_last_window, end),
        cmocka_unit_test_teardown(truncated, end),
        cmocka_unit_test_teardown(changed_in_any_byte_before_the_nodes, end),
        cmocka_unit_test_teardown(headers_that_do_not_fit_the_plan, end),
        cmocka_unit_test_teardown(case_42_replacement_by_time, end),
        cmocka_unit_test_teardown(attack_02_replacement_by_export, end),
        cmocka_unit_test_teardown(attack_38_recovery_of_a_ledger_that_forgot_an_export, end),
        cmocka_unit_test_teardown(recovery_of_a_composed_a, end),
        cmocka_unit_test_teardown(recovery_with_a_tpm_that_fails, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
