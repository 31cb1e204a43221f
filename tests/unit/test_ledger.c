/*
 * The ledger: every return code of its header, each boundary from both sides, what is refused and
 * leaves nothing behind, and what is found again when somebody changed the file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/secmem.h"
#include "ledger/internal.h" /* the text of the questions */
#include "ledger/ledger.h"
#include "lib/crashvfs.h"
#include "lib/quick.h"

#define AT_S INT64_C(1796000000) /* 2026-11-30T00:53:20Z */
#define EDGE (UINT64_C(1) << 60)

#define OK(call)                                                                                   \
    do {                                                                                           \
        enum rc ok_rc = (call);                                                                    \
        if (ok_rc != RC_OK)                                                                        \
            fail_msg("%s: %s: %s", #call, rc_name(ok_rc), err_text(&f->err));                      \
    } while (0)

/* A call that must give one code and say something about it. */
#define GIVES(code, call)                                                                          \
    do {                                                                                           \
        memset(&f->err, 0, sizeof(f->err));                                                        \
        enum rc gives_rc = (call);                                                                 \
        if (gives_rc != (code))                                                                    \
            fail_msg("%s: %s instead of %s: %s", #call, rc_name(gives_rc), rc_name(code),          \
                     err_text(&f->err));                                                           \
        assert_int_equal(f->err.rc, (code));                                                       \
        assert_true(f->err.text[0] != '\0');                                                       \
        memset(&f->err, 0, sizeof(f->err));                                                        \
    } while (0)

/* Fixture ------------------------------------------------------------------------------------- */

struct fixture {
    char dir[64];
    char path[128];
    struct ledger *l;
    struct crashvfs *disk;
    struct ledger_key key; /* number 1, in a ledger made by start() */
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    snprintf(f->dir, sizeof(f->dir), "test-ledger-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/ledger", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    static const char *const ends[] = {"", "-wal", "-journal", "-shm"};
    ledger_close(&f->l);
    crashvfs_close(&f->disk);
    for (size_t i = 0; i < 4; i++) {
        char name[160];
        snprintf(name, sizeof(name), "%s%s", f->path, ends[i]);
        (void)unlink(name);
    }
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static enum rc open_ledger(struct fixture *f, bool create)
{
    struct ledger_options options = {.path = f->path, .create = create};
    if (f->disk != NULL)
        options.vfs = "crash";
    return ledger_open(&f->l, &options, &f->err);
}

static void reopen(struct fixture *f)
{
    ledger_close(&f->l);
    OK(open_ledger(f, false));
}

static struct ledger_key sample_key(const char *name, uint8_t tag)
{
    struct ledger_key key = {.public_key_len = 60, .min_window = 3};
    snprintf(key.name, sizeof(key.name), "%s", name);
    memset(key.key_id, tag, sizeof(key.key_id));
    memset(key.plan_sha256, 0x22, sizeof(key.plan_sha256));
    memset(key.public_key, 0x33, key.public_key_len);
    key.pins = (struct anchor_pins){.w_handle = 0x01500001,
                                    .l_handle = 0x01500002,
                                    .a_handle = UINT32_MAX,
                                    .w_base = -5,
                                    .w_first = 7,
                                    .l_first = INT64_MAX};
    memset(key.pins.w_name, 0x44, TPM_NAME_LEN);
    memset(key.pins.srk_name, 0x55, TPM_NAME_LEN);
    return key;
}

static void begin(struct fixture *f)
{
    OK(ledger_begin(f->l, &f->err));
}

static void commit(struct fixture *f)
{
    OK(ledger_commit(f->l, &f->err));
}

/* A ledger with one key, committed. */
static void start(struct fixture *f)
{
    OK(open_ledger(f, true));
    f->key = sample_key("router-fw", 1);
    begin(f);
    OK(ledger_add_key(f->l, &f->key, AT_S, &f->err));
    commit(f);
}

static void start_on_disk(struct fixture *f)
{
    f->disk = crashvfs_open("crash", 1);
    start(f);
}

static struct ledger_lease sample_lease(uint64_t epoch, uint64_t number)
{
    return (struct ledger_lease){
        .epoch = epoch, .window = 9, .number = number, .first = 900 + 16 * number, .count = 16};
}

static struct ledger_intent sample_intent(uint64_t index, const char *version)
{
    struct ledger_intent i = {.epoch = 5,
                              .window = 9,
                              .index = index,
                              .line = 4,
                              .rank = index,
                              .artifact_size = 1000,
                              .value_len = 32,
                              .at_s = AT_S};
    snprintf(i.version, sizeof(i.version), "%s", version);
    snprintf(i.slot, sizeof(i.slot), "kernel");
    snprintf(i.origin.requester, sizeof(i.origin.requester), "ci \"1\" \xc3\xa9\n");
    snprintf(i.origin.request_id, sizeof(i.origin.request_id), "r-1");
    memset(i.artifact_sha256, (int)index, SHA256_LEN);
    memset(i.randomizer, 0x66, 32);
    memset(i.value, 0x77, 32);
    return i;
}

/* The receipt that an intent asks for. */
static struct ledger_receipt receipt_of(const struct ledger_intent *i)
{
    struct ledger_receipt r = {.epoch = i->epoch,
                               .window = i->window,
                               .index = i->index,
                               .artifact_size = i->artifact_size,
                               .origin = i->origin,
                               .at_s = i->at_s};
    memcpy(r.version, i->version, sizeof(r.version));
    memcpy(r.slot, i->slot, sizeof(r.slot));
    memcpy(r.artifact_sha256, i->artifact_sha256, SHA256_LEN);
    return r;
}

/* The receipt of an index in a lease. */
static struct ledger_receipt leased_receipt(const struct ledger_lease *lease, uint64_t index,
                                            const char *idempotency_key)
{
    struct ledger_receipt r = {
        .epoch = lease->epoch, .window = lease->window, .index = index, .at_s = AT_S};
    memset(r.artifact_sha256, 0x88, SHA256_LEN);
    snprintf(r.origin.idempotency_key, sizeof(r.origin.idempotency_key), "%s", idempotency_key);
    return r;
}

static struct ledger_reservation leased_reservation(const struct ledger_lease *lease,
                                                    uint64_t index)
{
    struct ledger_reservation r = {.epoch = lease->epoch,
                                   .window = lease->window,
                                   .index = index,
                                   .expires_s = AT_S + 300,
                                   .at_s = AT_S};
    memset(r.artifact_sha256, 0x88, SHA256_LEN);
    snprintf(r.origin.requester, sizeof(r.origin.requester), "ci");
    return r;
}

static const uint8_t signature[3000] = {1, 2, 3};

static enum rc add_receipt(struct fixture *f, struct ledger_receipt *r)
{
    return ledger_add_receipt(f->l, 1, r, signature, sizeof(signature), &f->err);
}

static void add_lease(struct fixture *f, uint64_t epoch, uint64_t number)
{
    struct ledger_lease lease = sample_lease(epoch, number);
    OK(ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
}

static uint64_t add_intent(struct fixture *f, uint64_t index, const char *version)
{
    struct ledger_intent i = sample_intent(index, version);
    OK(ledger_add_intent(f->l, 1, &i, &f->err));
    return i.seq;
}

/* Run SQL on the file behind the ledger's back; the ledger must be closed. */
static int raw(struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    int s = sqlite3_exec(db, sql, NULL, NULL, NULL);
    if (s != SQLITE_OK && s != SQLITE_CONSTRAINT)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return s;
}

static struct attest_keys sample_attest_keys(uint8_t tag)
{
    struct attest_keys keys = {0};
    memset(keys.ak.name, tag, TPM_NAME_LEN);
    memset(keys.ak.point, tag + 1, P256_POINT_LEN);
    memset(keys.ek.name, tag + 2, TPM_NAME_LEN);
    memset(keys.ek.point, tag + 3, P256_POINT_LEN);
    return keys;
}

#define MARKER "a text that stands in a table, an index and an entry"

/* One of each kind of entry, so that every table has a row. */
static void fill(struct fixture *f)
{
    begin(f);
    struct ledger_window window = {.window = 9, .w = 4, .l_base = 2};
    OK(ledger_add_window(f->l, 1, &window, AT_S, &f->err));
    struct ledger_lease lease = sample_lease(5, 0);
    OK(ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
    struct ledger_receipt r = leased_receipt(&lease, 901, MARKER);
    OK(add_receipt(f, &r));
    add_intent(f, 10, "4.2.0");
    add_intent(f, 11, "4.2.1");
    struct ledger_intent i = sample_intent(10, "4.2.0");
    r = receipt_of(&i);
    OK(add_receipt(f, &r));
    uint64_t lifted = 0;
    OK(ledger_void_after(f->l, 1, 0, AT_S, &lifted, &f->err));
    assert_int_equal(lifted, 1);
    OK(ledger_add_burn(f->l, 1, 9, 902, 14, "restart", AT_S, &f->err));
    OK(ledger_add_note(f->l, 0, LEDGER_WARNING, "exhaustion", "90 %", 90, AT_S, &f->err));
    struct ledger_branch branch = {.window = 9, .first = 896, .record_len = 5};
    OK(ledger_add_branch(f->l, 1, &branch, (const uint8_t *)"above", AT_S, &f->err));
    OK(ledger_raise_min_window(f->l, 1, 8, "recovered", AT_S, &f->err));
    struct attest_keys keys = sample_attest_keys(1);
    OK(ledger_add_attest_keys(f->l, 1, &keys, AT_S, &f->err));
    OK(ledger_add_attestation(f->l, 1, r.seq, "{\"a\":1}", AT_S, &f->err));
    struct ledger_reservation held = leased_reservation(&lease, 900);
    OK(ledger_add_reservation(f->l, 1, &held, &f->err));
    commit(f);
}

/* Opening ------------------------------------------------------------------------------------- */

static void test_open_makes_and_finds(void **state)
{
    struct fixture *f = *state;
    GIVES(RC_REFUSED_NOT_FOUND, open_ledger(f, false));
    assert_null(f->l);
    assert_int_equal(access(f->path, F_OK), -1);

    OK(open_ledger(f, true));
    assert_int_equal(ledger_size(f->l), 0);
    assert_int_equal(ledger_key_count(f->l), 0);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    char wal[160];
    snprintf(wal, sizeof(wal), "%s-wal", f->path);
    assert_int_equal(stat(wal, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    snprintf(wal, sizeof(wal), "%s-shm", f->path);
    assert_int_equal(stat(wal, &st), -1); /* nothing is shared with a second connection */
    ledger_close(&f->l);
    snprintf(wal, sizeof(wal), "%s-wal", f->path);
    assert_int_equal(stat(wal, &st), -1); /* closing copied it into the database */

    OK(open_ledger(f, true));
    reopen(f);
    ledger_close(&f->l);
    ledger_close(&f->l); /* NULL inside is fine */
}

static void test_open_empty_file(void **state)
{
    struct fixture *f = *state;
    raw(f, "PRAGMA journal_mode=DELETE; PRAGMA user_version=1; PRAGMA user_version=0;");
    GIVES(RC_REFUSED_NOT_FOUND, open_ledger(f, false));
    OK(open_ledger(f, true)); /* an empty database becomes one of ours */
    reopen(f);
}

static void test_open_other_databases(void **state)
{
    struct fixture *f = *state;
    raw(f, "PRAGMA journal_mode=DELETE; CREATE TABLE t (a);");
    GIVES(RC_HALT_LEDGER, open_ledger(f, true));
    assert_null(f->l);
    /* It is not ours, so it stays as it was: even its journal mode. */
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    uint8_t format[2];
    assert_true(pread(fd, format, 2, 18) == 2);
    assert_int_equal(format[0], 1);
    /* Nor is a file that is no database at all. */
    assert_true(pwrite(fd, "rubbish", 7, 0) == 7);
    close(fd);
    GIVES(RC_HALT_LEDGER, open_ledger(f, false));
}

static void test_open_other_versions(void **state)
{
    struct fixture *f = *state;
    start(f);
    ledger_close(&f->l);
    raw(f, "PRAGMA user_version=5");
    assert_int_equal(open_ledger(f, true), RC_REFUSED_UNSUPPORTED);
    assert_non_null(strstr(f->err.text, "newer"));
    memset(&f->err, 0, sizeof(f->err));
    assert_null(f->l);
    raw(f, "PRAGMA user_version=3");
    assert_int_equal(open_ledger(f, true), RC_REFUSED_UNSUPPORTED);
    assert_non_null(strstr(f->err.text, "older"));
    memset(&f->err, 0, sizeof(f->err));
    assert_null(f->l);
    raw(f, "PRAGMA user_version=0");
    GIVES(RC_HALT_LEDGER, open_ledger(f, true));
    raw(f, "PRAGMA user_version=4; PRAGMA application_id=1");
    GIVES(RC_HALT_LEDGER, open_ledger(f, true));
    raw(f, "PRAGMA application_id=-1");
    GIVES(RC_HALT_LEDGER, open_ledger(f, true));
    raw(f, "PRAGMA application_id=1416193125");
    OK(open_ledger(f, false));
}

static void test_open_other_journal_mode(void **state)
{
    struct fixture *f = *state;
    start(f);
    ledger_close(&f->l);
    raw(f, "PRAGMA journal_mode=DELETE");
    OK(open_ledger(f, false));
    char wal[160];
    snprintf(wal, sizeof(wal), "%s-wal", f->path);
    begin(f);
    commit(f);
    assert_int_equal(access(wal, F_OK), 0);
}

static void test_open_twice(void **state)
{
    struct fixture *f = *state;
    start(f);
    struct ledger *other = NULL;
    struct ledger_options options = {.path = f->path, .create = true};
    GIVES(RC_RETRY_BUSY, ledger_open(&other, &options, &f->err));
    assert_null(other);
    begin(f);
    commit(f);
    /* The attempt took no lock away from the first. A child of ours owns none of them, so it sees
     * them as another process does (SQLite itself would still answer from what it has in memory).
     */
    pid_t child = fork();
    if (child == 0) {
        struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0x40000000};
        int fd = open(f->path, O_RDWR | O_CLOEXEC);
        _exit(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_WRLCK ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_open_bad_place(void **state)
{
    struct fixture *f = *state;
    struct ledger_options options = {.path = "no-such-directory/ledger", .create = true};
    GIVES(RC_HALT_LEDGER, ledger_open(&f->l, &options, &f->err));
    options = (struct ledger_options){.path = f->path, .vfs = "no-such-vfs", .create = true};
    GIVES(RC_HALT_LEDGER, ledger_open(&f->l, &options, &f->err));
}

/* Each setting is read back: a disk that answers otherwise is not worked on. */
static void test_open_settings_are_read_back(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name;
        const char *lie;
        const char *truth;
    } settings[] = {
        {"locking_mode", "normal", "exclusive"},
        {"synchronous", "2", "3"},
        {"mmap_size", "4096", "0"},
        {"cell_size_check", "0", "1"},
        {"trusted_schema", "1", "0"},
        {"foreign_keys", "0", "1"},
        {"recursive_triggers", "0", "1"},
        {"ignore_check_constraints", "1", "0"},
        {"secure_delete", "0", "1"},
        {"temp_store", "0", "2"},
        {"journal_mode", "delete", "wal"},
    };
    f->disk = crashvfs_open("crash", 1);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        crashvfs_answer(f->disk, settings[i].name, settings[i].lie);
        GIVES(RC_HALT_LEDGER, open_ledger(f, true));
        assert_null(f->l);
    }
    crashvfs_answer(f->disk, NULL, NULL);
    OK(open_ledger(f, true));
}

/* Keys ---------------------------------------------------------------------------------------- */

static void test_keys(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(f->key.id, 1);
    struct ledger_key key = sample_key("router-fw", 2);
    begin(f);
    uint64_t size = ledger_size(f->l);
    GIVES(RC_REFUSED_EXISTS, ledger_add_key(f->l, &key, AT_S, &f->err));
    key = sample_key("other", 1); /* the same key_id */
    GIVES(RC_REFUSED_EXISTS, ledger_add_key(f->l, &key, AT_S, &f->err));
    assert_int_equal(key.id, 0);
    assert_int_equal(ledger_size(f->l), size);
    key = sample_key("other", 2);
    OK(ledger_add_key(f->l, &key, AT_S, &f->err));
    assert_int_equal(key.id, 2);
    assert_int_equal(ledger_size(f->l), size + 2);
    commit(f);
    reopen(f);

    assert_int_equal(ledger_key_count(f->l), 2);
    struct ledger_key found;
    OK(ledger_key_by_id(f->l, 1, &found, &f->err));
    assert_memory_equal(&found, &f->key, sizeof(found));
    OK(ledger_key_by_name(f->l, "other", &found, &f->err));
    assert_memory_equal(&found, &key, sizeof(found));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_key_by_id(f->l, 0, &found, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_key_by_id(f->l, 3, &found, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_key_by_name(f->l, "", &found, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_key_by_name(f->l, "Other", &found, &f->err));
    assert_int_equal(found.id, 0);
}

static void test_keys_bounds(void **state)
{
    struct fixture *f = *state;
    OK(open_ledger(f, true));
    begin(f);
    struct ledger_key key = sample_key(".hidden", 1);
    GIVES(RC_REFUSED_INPUT, ledger_add_key(f->l, &key, AT_S, &f->err));
    key = sample_key("k", 1);
    key.public_key_len = 0;
    GIVES(RC_REFUSED_RANGE, ledger_add_key(f->l, &key, AT_S, &f->err));
    key.public_key_len = LEDGER_PUBLIC_MAX + 1;
    GIVES(RC_REFUSED_RANGE, ledger_add_key(f->l, &key, AT_S, &f->err));
    key.public_key_len = LEDGER_PUBLIC_MAX;
    GIVES(RC_REFUSED_RANGE, ledger_add_key(f->l, &key, -1, &f->err));
    GIVES(RC_REFUSED_RANGE, ledger_add_key(f->l, &key, RFC3339_S_MAX + 1, &f->err));
    key.pins.l_first = (uint64_t)INT64_MAX + 1;
    GIVES(RC_REFUSED_RANGE, ledger_add_key(f->l, &key, 0, &f->err));
    key.pins.l_first = 0;
    key.min_window = (int64_t)EDGE + 1;
    GIVES(RC_REFUSED_RANGE, ledger_add_key(f->l, &key, 0, &f->err));
    key.min_window = -(int64_t)EDGE;
    key.pins.w_base = INT64_MIN;
    assert_int_equal(ledger_size(f->l), 0);
    OK(ledger_add_key(f->l, &key, 0, &f->err));
    struct ledger_key again = {0};
    OK(ledger_key_by_id(f->l, 1, &again, &f->err));
    assert_memory_equal(&again, &key, sizeof(key));

    char name[8];
    for (unsigned i = 2; i <= LEDGER_KEYS_MAX; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        key = sample_key(name, (uint8_t)i);
        OK(ledger_add_key(f->l, &key, RFC3339_S_MAX, &f->err));
    }
    key = sample_key("one-more", 0);
    GIVES(RC_REFUSED_RANGE, ledger_add_key(f->l, &key, AT_S, &f->err));
    commit(f);
    reopen(f);
    assert_int_equal(ledger_key_count(f->l), LEDGER_KEYS_MAX);
}

static void test_min_window_rises(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    GIVES(RC_REFUSED_RANGE, ledger_raise_min_window(f->l, 1, 3, "same", AT_S, &f->err));
    GIVES(RC_REFUSED_RANGE, ledger_raise_min_window(f->l, 1, -3, "less", AT_S, &f->err));
    GIVES(RC_REFUSED_RANGE,
          ledger_raise_min_window(f->l, 1, (int64_t)EDGE + 1, "much", AT_S, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_raise_min_window(f->l, 2, 4, "", AT_S, &f->err));
    GIVES(RC_REFUSED_INPUT, ledger_raise_min_window(f->l, 1, 4, "\xff", AT_S, &f->err));
    OK(ledger_raise_min_window(f->l, 1, 4, "device lost", AT_S, &f->err));
    OK(ledger_raise_min_window(f->l, 1, 40, "again", AT_S, &f->err));
    GIVES(RC_REFUSED_RANGE, ledger_raise_min_window(f->l, 1, 39, "back", AT_S, &f->err));
    commit(f);
    reopen(f);
    struct ledger_key found;
    OK(ledger_key_by_id(f->l, 1, &found, &f->err));
    assert_int_equal(found.min_window, 40);
}

/* Windows and leases -------------------------------------------------------------------------- */

static void test_windows(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_window window = {.window = 9, .w = 4, .l_base = 2};
    OK(ledger_add_window(f->l, 1, &window, AT_S + 1, &f->err));
    window.w = 5;
    GIVES(RC_REFUSED_SPENT, ledger_add_window(f->l, 1, &window, AT_S, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_add_window(f->l, 0, &window, AT_S, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_add_window(f->l, 2, &window, AT_S, &f->err));
    window.window = EDGE;
    GIVES(RC_REFUSED_RANGE, ledger_add_window(f->l, 1, &window, AT_S, &f->err));
    window.window = EDGE - 1;
    window.w = (uint64_t)INT64_MAX + 1;
    GIVES(RC_REFUSED_RANGE, ledger_add_window(f->l, 1, &window, AT_S, &f->err));
    window.w = INT64_MAX;
    GIVES(RC_REFUSED_RANGE, ledger_add_window(f->l, 1, &window, -1, &f->err));
    OK(ledger_add_window(f->l, 1, &window, AT_S, &f->err));
    commit(f);

    struct ledger_usage usage;
    OK(ledger_window_usage(f->l, 1, 9, &usage, &f->err));
    assert_true(usage.opened);
    assert_int_equal(usage.opened_at_s, AT_S + 1);
    OK(ledger_window_usage(f->l, 1, 8, &usage, &f->err));
    assert_false(usage.opened);
    OK(ledger_window_usage(f->l, 1, UINT64_MAX, &usage, &f->err));
    assert_false(usage.opened);
    reopen(f);
}

/* What was signed above a bottom tree is recorded once, and found by its tree and by its window. */
static void test_attest_keys(void **state)
{
    struct fixture *f = *state;
    struct attest_keys first = sample_attest_keys(1), second = sample_attest_keys(9), found;
    struct attest_keys none = {0};
    start(f);
    memset(&found, 0x55, sizeof(found));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_attest_keys(f->l, 1, &found, &f->err));
    assert_memory_equal(&found, &none, sizeof(none));
    begin(f);
    OK(ledger_add_attest_keys(f->l, 1, &first, AT_S, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_add_attest_keys(f->l, 2, &first, AT_S, &f->err));
    OK(ledger_add_attest_keys(f->l, 1, &second, AT_S, &f->err));
    commit(f);
    reopen(f);
    OK(ledger_attest_keys(f->l, 1, &found, &f->err));
    assert_memory_equal(&found, &second, sizeof(found));
}

static void test_attestations(void **state)
{
    struct fixture *f = *state;
    static char text[LEDGER_ATTESTATION_MAX + 2];
    char *found = NULL;
    int64_t at_s = 1;
    start(f);
    GIVES(RC_REFUSED_NOT_FOUND, ledger_attested_at(f->l, 1, &at_s, &f->err));
    assert_int_equal(at_s, 0);
    begin(f);
    add_lease(f, 5, 0);
    struct ledger_lease lease = sample_lease(5, 0);
    struct ledger_receipt r = leased_receipt(&lease, 901, "a"),
                          s = leased_receipt(&lease, 902, "b");
    OK(add_receipt(f, &r));
    OK(add_receipt(f, &s));
    memset(text, 'x', sizeof(text) - 1);
    GIVES(RC_REFUSED_INPUT, ledger_add_attestation(f->l, 1, r.seq, text, AT_S, &f->err));
    GIVES(RC_REFUSED_INPUT, ledger_add_attestation(f->l, 1, r.seq, "", AT_S, &f->err));
    GIVES(RC_REFUSED_INPUT, ledger_add_attestation(f->l, 1, r.seq, "\xff", AT_S, &f->err));
    /* Of no entry, and of one that is no receipt. */
    GIVES(RC_HALT_INVARIANT, ledger_add_attestation(f->l, 1, 99, "{}", AT_S, &f->err));
    GIVES(RC_HALT_INVARIANT, ledger_add_attestation(f->l, 1, 1, "{}", AT_S, &f->err));
    text[LEDGER_ATTESTATION_MAX] = '\0';
    OK(ledger_add_attestation(f->l, 1, r.seq, text, AT_S + 7, &f->err));
    GIVES(RC_REFUSED_SPENT, ledger_add_attestation(f->l, 1, r.seq, "{}", AT_S, &f->err));
    commit(f);
    reopen(f);
    OK(ledger_attestation_of(f->l, 1, r.seq, &found, &f->err));
    assert_string_equal(found, text);
    free(found);
    GIVES(RC_REFUSED_NOT_FOUND, ledger_attestation_of(f->l, 1, s.seq, &found, &f->err));
    assert_null(found);
    OK(ledger_attested_at(f->l, 1, &at_s, &f->err));
    assert_int_equal(at_s, AT_S + 7);
}

static void test_branches(void **state)
{
    struct fixture *f = *state;
    static uint8_t record[LEDGER_SIGNATURE_MAX];
    static uint8_t found[LEDGER_SIGNATURE_MAX];
    start(f);
    begin(f);
    memset(record, 0x5a, sizeof(record));
    struct ledger_branch branch = {.window = 3, .first = 96, .record_len = sizeof(record)};
    OK(ledger_add_branch(f->l, 1, &branch, record, AT_S, &f->err));
    /* Never another one for the same one-time key, whatever window it is said to be of. */
    branch.window = 4;
    GIVES(RC_REFUSED_SPENT, ledger_add_branch(f->l, 1, &branch, record, AT_S, &f->err));
    branch = (struct ledger_branch){.window = 3, .first = 112, .record_len = 1};
    OK(ledger_add_branch(f->l, 1, &branch, (const uint8_t *)"b", AT_S, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_add_branch(f->l, 2, &branch, record, AT_S, &f->err));
    branch.first = EDGE;
    GIVES(RC_REFUSED_RANGE, ledger_add_branch(f->l, 1, &branch, record, AT_S, &f->err));
    branch.first = 0;
    branch.record_len = 0;
    GIVES(RC_REFUSED_RANGE, ledger_add_branch(f->l, 1, &branch, record, AT_S, &f->err));
    branch.record_len = LEDGER_SIGNATURE_MAX + 1;
    GIVES(RC_REFUSED_RANGE, ledger_add_branch(f->l, 1, &branch, record, AT_S, &f->err));
    commit(f);
    reopen(f);

    OK(ledger_branch_at(f->l, 1, 96, &branch, found, &f->err));
    assert_int_equal(branch.window, 3);
    assert_int_equal(branch.record_len, sizeof(record));
    assert_memory_equal(found, record, sizeof(record));
    OK(ledger_branch_latest(f->l, 1, 3, &branch, found, &f->err));
    assert_int_equal(branch.first, 112);
    assert_int_equal(found[0], 'b');
    GIVES(RC_REFUSED_NOT_FOUND, ledger_branch_at(f->l, 1, 97, &branch, found, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_branch_at(f->l, 1, UINT64_MAX, &branch, found, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_branch_latest(f->l, 1, 4, &branch, found, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_branch_latest(f->l, 2, 3, &branch, found, &f->err));
}

static void test_leases_do_not_overlap(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_lease l = {.epoch = 5, .window = 9, .number = 2, .first = 100, .count = 10};
    OK(ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    uint64_t size = ledger_size(f->l);
    uint8_t head[SHA256_LEN];
    OK(ledger_head(f->l, 1, head, &f->err));

    static const struct {
        uint64_t epoch, number, first, count;
    } taken[] = {
        {5, 3, 200, 10},  /* the epoch */
        {6, 2, 200, 10},  /* the number in the window */
        {6, 3, 100, 10},  /* the same indices */
        {6, 3, 109, 1},   /* the last one */
        {6, 3, 100, 1},   /* the first one */
        {6, 3, 91, 10},   /* reaching in from below */
        {6, 3, 109, 100}, /* reaching out above */
        {6, 3, 0, 1000},  /* around it */
        {6, 3, 104, 2},   /* inside it */
    };
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        l = (struct ledger_lease){taken[i].epoch, 9, taken[i].number, taken[i].first,
                                  taken[i].count};
        GIVES(RC_REFUSED_SPENT, ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
        assert_int_equal(ledger_size(f->l), size); /* nothing changed */
    }
    uint8_t head_now[SHA256_LEN];
    OK(ledger_head(f->l, 1, head_now, &f->err));
    assert_memory_equal(head, head_now, SHA256_LEN);

    l = (struct ledger_lease){6, 9, 3, 110, 10}; /* right behind */
    OK(ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    l = (struct ledger_lease){7, 9, 1, 90, 10}; /* right before */
    OK(ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    l = (struct ledger_lease){8, 10, 1, 120, 1}; /* the number again, in another window */
    OK(ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    commit(f); /* the transaction survived all refusals */
    reopen(f);
}

static void test_lease_bounds(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_lease l = {.epoch = 5, .window = 9, .number = 2, .first = EDGE - 4, .count = 5};
    GIVES(RC_REFUSED_RANGE, ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    l.count = 0;
    GIVES(RC_REFUSED_RANGE, ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    l.count = UINT64_MAX;
    GIVES(RC_REFUSED_RANGE, ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    l.count = 4;
    l.epoch = (uint64_t)INT64_MAX + 1;
    GIVES(RC_REFUSED_RANGE, ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    l.epoch = INT64_MAX;
    l.number = EDGE;
    GIVES(RC_REFUSED_RANGE, ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    l.number = EDGE - 1;
    OK(ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    l = (struct ledger_lease){.epoch = 1, .window = 0, .number = 0, .first = 0, .count = 3};
    OK(ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    commit(f);
    reopen(f);

    struct ledger_lease found;
    OK(ledger_lease_of_index(f->l, 1, 2, &found, &f->err));
    assert_memory_equal(&found, &l, sizeof(l));
    OK(ledger_lease_of_index(f->l, 1, EDGE - 1, &found, &f->err));
    assert_int_equal(found.epoch, INT64_MAX);
    GIVES(RC_REFUSED_NOT_FOUND, ledger_lease_of_index(f->l, 1, 3, &found, &f->err));
    assert_int_equal(found.count, 0);
    GIVES(RC_REFUSED_NOT_FOUND, ledger_lease_of_index(f->l, 1, EDGE - 5, &found, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_lease_of_index(f->l, 1, EDGE, &found, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_lease_of_index(f->l, 1, UINT64_MAX, &found, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_lease_of_index(f->l, 2, 0, &found, &f->err));
}

/* One index is reserved in one way only, and never again once it is burned. */
static void test_spent_is_spent(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    add_lease(f, 5, 0); /* 900 … 915 */
    add_intent(f, 10, "1.0.0");
    OK(ledger_add_burn(f->l, 1, 9, 950, 10, "", AT_S, &f->err));

    struct ledger_intent i = sample_intent(915, "1.0.1");
    GIVES(RC_REFUSED_SPENT, ledger_add_intent(f->l, 1, &i, &f->err));
    i = sample_intent(950, "1.0.1");
    GIVES(RC_REFUSED_SPENT, ledger_add_intent(f->l, 1, &i, &f->err));
    i = sample_intent(959, "1.0.1");
    GIVES(RC_REFUSED_SPENT, ledger_add_intent(f->l, 1, &i, &f->err));
    struct ledger_lease l = {.epoch = 6, .window = 9, .number = 7, .first = 8, .count = 3};
    GIVES(RC_REFUSED_SPENT, ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    l.first = 945;
    l.count = 6;
    GIVES(RC_REFUSED_SPENT, ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    l.first = 959;
    GIVES(RC_REFUSED_SPENT, ledger_add_lease(f->l, 1, &l, AT_S, &f->err));

    l.first = 960;
    OK(ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    add_intent(f, 949, "1.0.1");
    add_intent(f, 916, "1.0.2");
    add_intent(f, 899, "1.0.3");
    commit(f);
    reopen(f);
}

/* Intents ------------------------------------------------------------------------------------- */

static void test_intents(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_intent i = sample_intent(10, "4.2.0");
    OK(ledger_add_intent(f->l, 1, &i, &f->err));
    assert_int_equal(i.seq, ledger_size(f->l));
    uint64_t size = ledger_size(f->l);

    struct ledger_intent other = sample_intent(10, "4.2.1"); /* the index */
    GIVES(RC_REFUSED_SPENT, ledger_add_intent(f->l, 1, &other, &f->err));
    assert_int_equal(other.seq, 0);
    other = sample_intent(11, "4.2.0"); /* the version and slot */
    GIVES(RC_REFUSED_SPENT, ledger_add_intent(f->l, 1, &other, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_add_intent(f->l, 2, &other, &f->err));
    assert_int_equal(ledger_size(f->l), size);
    snprintf(other.slot, sizeof(other.slot), "rootfs"); /* another slot of it */
    OK(ledger_add_intent(f->l, 1, &other, &f->err));
    commit(f);
    reopen(f);

    struct ledger_intent found;
    OK(ledger_intent_by_version(f->l, 1, "4.2.0", "kernel", &found, &f->err));
    assert_memory_equal(&found, &i, sizeof(i));
    OK(ledger_intent_by_index(f->l, 1, 11, &found, &f->err));
    assert_memory_equal(&found, &other, sizeof(other));
    GIVES(RC_REFUSED_NOT_FOUND,
          ledger_intent_by_version(f->l, 1, "4.2.0", "boot", &found, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND,
          ledger_intent_by_version(f->l, 1, "4.2", "kernel", &found, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_intent_by_index(f->l, 1, 12, &found, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_intent_by_index(f->l, 1, UINT64_MAX, &found, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_intent_by_index(f->l, 2, 10, &found, &f->err));
    assert_int_equal(found.seq, 0);
}

static void test_intent_bounds(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_intent good = sample_intent(EDGE - 1, "4.2.0");
    struct ledger_intent i = good;
    uint64_t *const numbers[] = {&i.index, &i.window, &i.line, &i.rank};
    for (size_t n = 0; n < 4; n++) {
        i = good;
        *numbers[n] = EDGE;
        GIVES(RC_REFUSED_RANGE, ledger_add_intent(f->l, 1, &i, &f->err));
    }
    i = good;
    i.epoch = (uint64_t)INT64_MAX + 1;
    GIVES(RC_REFUSED_RANGE, ledger_add_intent(f->l, 1, &i, &f->err));
    i = good;
    i.value_len = 0;
    GIVES(RC_REFUSED_RANGE, ledger_add_intent(f->l, 1, &i, &f->err));
    i.value_len = LEDGER_VALUE_MAX + 1;
    GIVES(RC_REFUSED_RANGE, ledger_add_intent(f->l, 1, &i, &f->err));
    i = good;
    i.version[0] = '\0';
    GIVES(RC_REFUSED_INPUT, ledger_add_intent(f->l, 1, &i, &f->err));
    memset(i.version, 'v', sizeof(i.version)); /* no end */
    GIVES(RC_REFUSED_INPUT, ledger_add_intent(f->l, 1, &i, &f->err));
    i = good;
    memset(i.slot, 's', sizeof(i.slot));
    GIVES(RC_REFUSED_INPUT, ledger_add_intent(f->l, 1, &i, &f->err));

    i = good;
    i.value_len = LEDGER_VALUE_MAX;
    i.window = i.line = i.rank = EDGE - 1;
    i.epoch = i.artifact_size = INT64_MAX;
    memset(i.slot, 0, sizeof(i.slot));
    memset(i.version, 'v', LEDGER_VERSION_MAX);
    memset(i.origin.requester, 'r', LEDGER_TEXT_MAX);
    memset(i.origin.request_id, 'r', LEDGER_TEXT_MAX);
    memset(i.origin.idempotency_key, '"', LEDGER_TEXT_MAX);
    OK(ledger_add_intent(f->l, 1, &i, &f->err));
    commit(f);
    reopen(f);
    struct ledger_intent found;
    OK(ledger_intent_by_index(f->l, 1, EDGE - 1, &found, &f->err));
    assert_memory_equal(&found, &i, sizeof(i));
}

static void test_text_is_utf8(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"\x80",
                                      "\xc3",
                                      "\xc3(",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xed\xbf\xbf",
                                      "\xe2\x82",
                                      "\xe2\x82(",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf0\x90\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff"};
    static const char *const good[] = {"",
                                       "plain",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xef\xbf\xbf",
                                       "\x01\x7f\t\n",
                                       "a'b\"c\\d;--",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    start(f);
    begin(f);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        GIVES(RC_REFUSED_INPUT,
              ledger_add_note(f->l, 1, LEDGER_REFUSAL, "x", bad[i], 0, AT_S, &f->err));
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        OK(ledger_add_note(f->l, 1, LEDGER_REFUSAL, "x", good[i], 0, AT_S, &f->err));
    commit(f);
    reopen(f);
}

static void test_bindings_and_marks(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_intent i = sample_intent(30, "2.0");
    i.line = 1;
    i.window = 12;
    i.rank = 0;
    OK(ledger_add_intent(f->l, 1, &i, &f->err));
    add_intent(f, 20, "1.1");
    uint64_t last = add_intent(f, 10, "1.0");
    int64_t rank = 0;
    int64_t window = 0;
    OK(ledger_line_marks(f->l, 1, 4, &rank, &window, &f->err));
    assert_int_equal(rank, 20);
    assert_int_equal(window, 9);
    OK(ledger_line_marks(f->l, 1, 1, &rank, &window, &f->err));
    assert_int_equal(rank, 0);
    assert_int_equal(window, 12);
    OK(ledger_line_marks(f->l, 1, 2, &rank, &window, &f->err));
    assert_int_equal(rank, -1);
    assert_int_equal(window, -1);
    OK(ledger_line_marks(f->l, 1, UINT64_MAX, &rank, &window, &f->err));
    assert_int_equal(rank, -1);
    GIVES(RC_REFUSED_NO_KEY, ledger_line_marks(f->l, 2, 4, &rank, &window, &f->err));

    struct ledger_intent list[3];
    size_t count = 0;
    OK(ledger_bindings(f->l, 1, 0, list, 3, &count, &f->err));
    assert_int_equal(count, 3);
    assert_int_equal(list[0].index, 10);
    assert_int_equal(list[0].seq, last);
    assert_int_equal(list[2].index, 30);
    OK(ledger_bindings(f->l, 1, 11, list, 1, &count, &f->err));
    assert_int_equal(count, 1);
    assert_int_equal(list[0].index, 20);
    OK(ledger_bindings(f->l, 1, 30, list, 3, &count, &f->err));
    assert_int_equal(count, 1);
    OK(ledger_bindings(f->l, 1, 31, list, 3, &count, &f->err));
    assert_int_equal(count, 0);
    OK(ledger_bindings(f->l, 1, 0, list, 0, &count, &f->err));
    assert_int_equal(count, 0);
    OK(ledger_bindings(f->l, 1, UINT64_MAX, list, 3, &count, &f->err));
    assert_int_equal(count, 0);

    /* Marks fall back to what is bound when the highest is void. */
    uint64_t lifted = 0;
    OK(ledger_void_after(f->l, 1, last - 2, AT_S, &lifted, &f->err));
    assert_int_equal(lifted, 2);
    OK(ledger_line_marks(f->l, 1, 4, &rank, &window, &f->err));
    assert_int_equal(rank, -1);
    commit(f);
    reopen(f);
}

/* Receipts ------------------------------------------------------------------------------------ */

static void test_receipts(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_lease lease = sample_lease(5, 0);
    OK(ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
    struct ledger_receipt r = leased_receipt(&lease, 900, "once");
    OK(add_receipt(f, &r));
    assert_int_equal(r.seq, ledger_size(f->l));
    assert_int_equal(r.signature_len, sizeof(signature));
    uint8_t hash[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, hash, signature, sizeof(signature));
    assert_memory_equal(r.signature_sha256, hash, SHA256_LEN);
    uint8_t named[KEY_ID_LEN + 8];
    memcpy(named, f->key.key_id, KEY_ID_LEN);
    be_put64(named + KEY_ID_LEN, 900);
    digest_buffer(DIGEST_SHA256, hash, named, sizeof(named));
    assert_memory_equal(r.id, hash, 8);
    assert_memory_equal(r.id + 8, named + KEY_ID_LEN, 8);

    struct ledger_receipt second = leased_receipt(&lease, 900, "twice");
    GIVES(RC_REFUSED_SPENT, add_receipt(f, &second));
    assert_int_equal(second.seq, 0);
    assert_int_equal(second.signature_len, 0);
    second = leased_receipt(&lease, 915, "twice");
    OK(add_receipt(f, &second));
    commit(f);
    reopen(f);

    struct ledger_receipt found;
    uint8_t *bytes = calloc(1, LEDGER_SIGNATURE_MAX);
    OK(ledger_receipt_by_index(f->l, 1, 900, &found, bytes, &f->err));
    assert_memory_equal(&found, &r, sizeof(r));
    assert_memory_equal(bytes, signature, sizeof(signature));
    OK(ledger_receipt_by_id(f->l, 1, second.id, &found, NULL, &f->err));
    assert_memory_equal(&found, &second, sizeof(second));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_receipt_by_index(f->l, 1, 901, &found, bytes, &f->err));
    assert_int_equal(found.seq, 0);
    GIVES(RC_REFUSED_NOT_FOUND,
          ledger_receipt_by_index(f->l, 1, UINT64_MAX, &found, bytes, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_receipt_by_id(f->l, 1, hash + 1, &found, NULL, &f->err));
    /* The index of a receipt is no id yet. */
    second.id[0] ^= 1;
    GIVES(RC_REFUSED_NOT_FOUND, ledger_receipt_by_id(f->l, 1, second.id, &found, bytes, &f->err));
    assert_int_equal(found.seq, 0);
    second.id[0] ^= 1;
    GIVES(RC_REFUSED_NO_KEY, ledger_receipt_by_id(f->l, 2, second.id, &found, NULL, &f->err));
    free(bytes);
}

static void test_receipt_bounds(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_lease lease = sample_lease(5, 0);
    OK(ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
    struct ledger_receipt r = leased_receipt(&lease, 900, "");
    static uint8_t large[LEDGER_SIGNATURE_MAX + 1];
    GIVES(RC_REFUSED_RANGE, ledger_add_receipt(f->l, 1, &r, large, 0, &f->err));
    GIVES(RC_REFUSED_RANGE, ledger_add_receipt(f->l, 1, &r, large, sizeof(large), &f->err));
    r.at_s = -1;
    GIVES(RC_REFUSED_RANGE, ledger_add_receipt(f->l, 1, &r, large, 1, &f->err));
    r.at_s = AT_S;
    r.index = EDGE;
    GIVES(RC_REFUSED_RANGE, ledger_add_receipt(f->l, 1, &r, large, 1, &f->err));
    r.index = 900;
    GIVES(RC_REFUSED_NO_KEY, ledger_add_receipt(f->l, 2, &r, large, 1, &f->err));
    r.origin.request_id[0] = (char)0xff;
    GIVES(RC_REFUSED_INPUT, ledger_add_receipt(f->l, 1, &r, large, 1, &f->err));
    r.origin.request_id[0] = '\0';
    large[LEDGER_SIGNATURE_MAX - 1] = 9;
    OK(ledger_add_receipt(f->l, 1, &r, large, LEDGER_SIGNATURE_MAX, &f->err));
    r = leased_receipt(&lease, 901, "");
    OK(ledger_add_receipt(f->l, 1, &r, large, 1, &f->err));
    commit(f);
    reopen(f);
    static uint8_t bytes[LEDGER_SIGNATURE_MAX];
    OK(ledger_receipt_by_index(f->l, 1, 900, &r, bytes, &f->err));
    assert_int_equal(r.signature_len, LEDGER_SIGNATURE_MAX);
    assert_memory_equal(bytes, large, LEDGER_SIGNATURE_MAX);
}

/* A receipt without reservation cannot be; it changes nothing and stops nothing else. */
static void test_receipts_need_a_reservation(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_lease lease = sample_lease(5, 0);
    OK(ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
    add_intent(f, 10, "4.2.0");
    uint64_t size = ledger_size(f->l);

    struct ledger_receipt r = leased_receipt(&lease, 899, "");
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &r)); /* below the lease */
    r = leased_receipt(&lease, 916, "");
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &r)); /* above it */
    r = leased_receipt(&lease, 900, "");
    r.epoch = 6;
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &r)); /* not its epoch */
    r = leased_receipt(&lease, 900, "");
    r.window = 8;
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &r)); /* not its window */

    struct ledger_intent i = sample_intent(10, "4.2.0");
    r = receipt_of(&i);
    r.artifact_sha256[31] ^= 1;
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &r)); /* bound to another digest */
    r = receipt_of(&i);
    r.version[0] = '5';
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &r)); /* to another version */
    r = receipt_of(&i);
    r.slot[0] = 'K';
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &r)); /* to another slot */
    r = receipt_of(&i);
    r.epoch = 4;
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &r)); /* in another batch */

    OK(ledger_add_burn(f->l, 1, 9, 905, 1, "clock", AT_S, &f->err));
    r = leased_receipt(&lease, 905, "");
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &r)); /* burned: no signature was released */
    assert_int_equal(ledger_size(f->l), size + 1);

    r = receipt_of(&i);
    OK(add_receipt(f, &r));
    r = leased_receipt(&lease, 904, "");
    OK(add_receipt(f, &r));
    r = leased_receipt(&lease, 906, "");
    OK(add_receipt(f, &r));
    commit(f);
    reopen(f);
}

/* Reservations --------------------------------------------------------------------------------- */

static void expect_open(struct fixture *f, uint64_t after, uint64_t index)
{
    struct ledger_reservation r;
    if (index == UINT64_MAX) {
        GIVES(RC_REFUSED_NOT_FOUND, ledger_next_open_reservation(f->l, 1, after, &r, &f->err));
        return;
    }
    OK(ledger_next_open_reservation(f->l, 1, after, &r, &f->err));
    assert_int_equal(r.index, index);
}

static struct ledger_receipt remote_receipt(const struct ledger_lease *lease, uint64_t index)
{
    struct ledger_receipt r = leased_receipt(lease, index, "");
    snprintf(r.origin.requester, sizeof(r.origin.requester), "ci");
    r.caller_hash_len = 24;
    memset(r.caller_hash, 0x99, r.caller_hash_len);
    return r;
}

static void test_reservations_of_leases(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_lease lease = sample_lease(5, 0);
    OK(ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
    uint64_t size = ledger_size(f->l);
    struct ledger_reservation r = leased_reservation(&lease, 916);
    GIVES(RC_HALT_INVARIANT, ledger_add_reservation(f->l, 1, &r, &f->err)); /* above the lease */
    r = leased_reservation(&lease, 900);
    r.epoch = 6;
    GIVES(RC_HALT_INVARIANT, ledger_add_reservation(f->l, 1, &r, &f->err)); /* not its epoch */
    r = leased_reservation(&lease, 900);
    r.expires_s = -1;
    GIVES(RC_REFUSED_RANGE, ledger_add_reservation(f->l, 1, &r, &f->err));
    r = leased_reservation(&lease, 900);
    r.origin.requester[0] = (char)0xff;
    GIVES(RC_REFUSED_INPUT, ledger_add_reservation(f->l, 1, &r, &f->err));
    assert_int_equal(ledger_size(f->l), size);
    for (uint64_t i = 900; i < 903; i++) {
        r = leased_reservation(&lease, i);
        OK(ledger_add_reservation(f->l, 1, &r, &f->err));
    }
    GIVES(RC_REFUSED_SPENT, ledger_add_reservation(f->l, 1, &r, &f->err)); /* twice */
    struct ledger_usage usage;
    OK(ledger_window_usage(f->l, 1, 9, &usage, &f->err));
    assert_int_equal(usage.reserved, 3);
    expect_open(f, 0, 900);

    /* The caller's hash for a reservation, and for nothing else. */
    struct ledger_receipt receipt = leased_receipt(&lease, 900, "");
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &receipt));
    receipt.artifact_sha256[0] ^= 1;
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &receipt)); /* nor of anything else, made here */
    receipt = remote_receipt(&lease, 903);
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &receipt));
    receipt = remote_receipt(&lease, 900);
    receipt.artifact_sha256[0] ^= 1;
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &receipt)); /* not what it was committed to */
    receipt = remote_receipt(&lease, 900);
    OK(add_receipt(f, &receipt));
    receipt.caller_hash[0] ^= 1;
    GIVES(RC_REFUSED_SPENT, add_receipt(f, &receipt)); /* signed once */
    expect_open(f, 0, 901);
    /* What was burned is never signed. */
    OK(ledger_add_burn(f->l, 1, 9, 901, 1, "expired", AT_S, &f->err));
    receipt = remote_receipt(&lease, 901);
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &receipt));
    r = leased_reservation(&lease, 904);
    OK(ledger_add_burn(f->l, 1, 9, 904, 1, "clock", AT_S, &f->err));
    GIVES(RC_HALT_INVARIANT, ledger_add_reservation(f->l, 1, &r, &f->err));
    expect_open(f, 0, 902);
    commit(f);
    OK(ledger_check_invariants(f->l, &f->err));
    reopen(f);
    OK(ledger_window_usage(f->l, 1, 9, &usage, &f->err));
    assert_int_equal(usage.reserved, 2);
    uint64_t used = 0;
    OK(ledger_used_by(f->l, 1, 9, "ci", &used, &f->err));
    assert_int_equal(used, 3);
    OK(ledger_receipt_by_index(f->l, 1, 900, &receipt, NULL, &f->err));
    assert_int_equal(receipt.caller_hash_len, 24);
    assert_int_equal(receipt.caller_hash[23], 0x99);
    OK(ledger_reservation_by_index(f->l, 1, 901, &r, &f->err));
    assert_int_equal(r.expires_s, AT_S + 300);
    assert_string_equal(r.origin.requester, "ci");
    GIVES(RC_REFUSED_NOT_FOUND, ledger_reservation_by_index(f->l, 1, 903, &r, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_reservation_by_index(f->l, 1, UINT64_MAX, &r, &f->err));
}

static struct ledger_reservation bound_reservation(const struct ledger_intent *i)
{
    struct ledger_reservation r = {.epoch = i->epoch,
                                   .window = i->window,
                                   .index = i->index,
                                   .intent = i->seq,
                                   .expires_s = AT_S,
                                   .at_s = AT_S};
    memcpy(r.artifact_sha256, i->artifact_sha256, SHA256_LEN);
    return r;
}

static void test_reservations_of_versions(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_intent known = sample_intent(10, "4.2.0");
    OK(ledger_add_intent(f->l, 1, &known, &f->err));
    struct ledger_intent remote = sample_intent(11, "4.2.1");
    remote.remote = true;
    memset(remote.value, 0, sizeof(remote.value));
    OK(ledger_add_intent(f->l, 1, &remote, &f->err));
    struct ledger_reservation r = bound_reservation(&known);
    GIVES(RC_HALT_INVARIANT, ledger_add_reservation(f->l, 1, &r, &f->err)); /* its value is known */
    r = bound_reservation(&remote);
    r.artifact_sha256[0] ^= 1;
    GIVES(RC_HALT_INVARIANT, ledger_add_reservation(f->l, 1, &r, &f->err));
    r = bound_reservation(&remote);
    OK(ledger_add_reservation(f->l, 1, &r, &f->err));
    /* A void intent takes its reservation with it, and the version begins anew. */
    uint64_t lifted = 0;
    expect_open(f, 0, 11);
    OK(ledger_void_after(f->l, 1, known.seq, AT_S, &lifted, &f->err));
    assert_int_equal(lifted, 1);
    expect_open(f, 0, UINT64_MAX);
    struct ledger_intent again = sample_intent(11, "4.2.1");
    OK(ledger_add_intent(f->l, 1, &again, &f->err));
    struct ledger_receipt receipt = receipt_of(&again);
    OK(add_receipt(f, &receipt));
    commit(f);
    reopen(f);
    OK(ledger_intent_by_index(f->l, 1, 11, &again, &f->err));
    assert_false(again.remote);
    OK(ledger_check_invariants(f->l, &f->err));
}

static void test_idempotency(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_lease nine = sample_lease(5, 0);
    struct ledger_lease ten = {.epoch = 6, .window = 10, .number = 0, .first = 2000, .count = 2};
    OK(ledger_add_lease(f->l, 1, &nine, AT_S, &f->err));
    OK(ledger_add_lease(f->l, 1, &ten, AT_S, &f->err));
    struct ledger_receipt r = leased_receipt(&nine, 900, "same");
    OK(add_receipt(f, &r));
    r = leased_receipt(&nine, 901, "");
    OK(add_receipt(f, &r));
    r = leased_receipt(&ten, 2000, "same");
    OK(add_receipt(f, &r));
    r = leased_receipt(&nine, 902, "old");
    OK(add_receipt(f, &r));
    commit(f);

    OK(ledger_receipt_by_idempotency(f->l, 1, "same", 9, &r, NULL, &f->err));
    assert_int_equal(r.index, 2000); /* the newest */
    OK(ledger_receipt_by_idempotency(f->l, 1, "old", 9, &r, NULL, &f->err));
    assert_int_equal(r.index, 902);
    GIVES(RC_REFUSED_NOT_FOUND,
          ledger_receipt_by_idempotency(f->l, 1, "old", 10, &r, NULL, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND,
          ledger_receipt_by_idempotency(f->l, 1, "new", 0, &r, NULL, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_receipt_by_idempotency(f->l, 1, "", 0, &r, NULL, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND,
          ledger_receipt_by_idempotency(f->l, 1, "same", UINT64_MAX, &r, NULL, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_receipt_by_idempotency(f->l, 2, "same", 0, &r, NULL, &f->err));
    assert_int_equal(r.seq, 0);
}

/* Voids --------------------------------------------------------------------------------------- */

static void test_void_lifts_open_intents_only(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    uint64_t anchored = add_intent(f, 10, "1.0"); /* not behind: stays */
    add_intent(f, 11, "1.1");
    struct ledger_intent signed_one = sample_intent(11, "1.1");
    struct ledger_receipt r = receipt_of(&signed_one);
    OK(add_receipt(f, &r));
    add_intent(f, 12, "1.2");
    OK(ledger_add_burn(f->l, 1, 9, 12, 1, "given up", AT_S, &f->err));
    uint64_t first = add_intent(f, 13, "1.3");
    uint64_t second = add_intent(f, 14, "1.4");

    struct ledger_intent open;
    OK(ledger_next_open_intent(f->l, 1, 0, &open, &f->err));
    assert_int_equal(open.seq, anchored);
    OK(ledger_next_open_intent(f->l, 1, anchored, &open, &f->err));
    assert_int_equal(open.seq, first);
    OK(ledger_next_open_intent(f->l, 1, first, &open, &f->err));
    assert_int_equal(open.seq, second);
    GIVES(RC_REFUSED_NOT_FOUND, ledger_next_open_intent(f->l, 1, second, &open, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_next_open_intent(f->l, 1, UINT64_MAX, &open, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_next_open_intent(f->l, 2, 0, &open, &f->err));

    uint64_t count = 9;
    uint64_t size = ledger_size(f->l);
    GIVES(RC_REFUSED_NO_KEY, ledger_void_after(f->l, 2, anchored, AT_S, &count, &f->err));
    assert_int_equal(count, 0);
    GIVES(RC_REFUSED_RANGE, ledger_void_after(f->l, 1, anchored, -1, &count, &f->err));
    OK(ledger_void_after(f->l, 1, anchored, AT_S, &count, &f->err));
    assert_int_equal(count, 2);
    assert_int_equal(ledger_size(f->l), size + 2);
    OK(ledger_void_after(f->l, 1, anchored, AT_S, &count, &f->err));
    assert_int_equal(count, 0); /* once */
    commit(f);
    reopen(f);

    OK(ledger_intent_by_version(f->l, 1, "1.0", "kernel", &open, &f->err));
    OK(ledger_intent_by_version(f->l, 1, "1.1", "kernel", &open, &f->err));
    OK(ledger_intent_by_version(f->l, 1, "1.2", "kernel", &open, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_intent_by_version(f->l, 1, "1.3", "kernel", &open, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_intent_by_index(f->l, 1, 14, &open, &f->err));

    /* A receipt for a void intent has no reservation any more; another digest is free to come. */
    begin(f);
    struct ledger_intent voided = sample_intent(13, "1.3");
    r = receipt_of(&voided);
    GIVES(RC_HALT_INVARIANT, add_receipt(f, &r));
    voided.artifact_sha256[0] ^= 1;
    OK(ledger_add_intent(f->l, 1, &voided, &f->err));
    OK(ledger_next_open_intent(f->l, 1, anchored, &open, &f->err));
    assert_memory_equal(&open, &voided, sizeof(open)); /* the new one, never the void one */
    r = receipt_of(&voided);
    OK(add_receipt(f, &r));
    commit(f);
    reopen(f);
}

/* Burns and totals ---------------------------------------------------------------------------- */

/* What is kept while burns are added, ends the transaction and says the same as the tables: after a
 * burn of one index, after one of an index that is burned, and after a rollback. */
static void expect_totals_kept(struct fixture *f)
{
    struct ledger_totals before;
    struct ledger_totals after;
    char why[LEDGER_TEXT_MAX + 1];
    burn_text(why, sizeof(why), BURN_EXPIRED, "nobody came");
    OK(ledger_key_totals(f->l, 1, &before, &f->err));
    OK(ledger_add_burn(f->l, 1, 7, 710, 1, why, AT_S, &f->err));
    OK(ledger_key_totals(f->l, 1, &after, &f->err));
    assert_int_equal(after.burned, before.burned + 1);
    assert_int_equal(after.burned_by[BURN_EXPIRED], 1);
    OK(ledger_add_burn(f->l, 1, 7, 710, 1, "clock: again", AT_S, &f->err));
    commit(f);
    OK(ledger_check_invariants(f->l, &f->err));
    OK(ledger_key_totals(f->l, 1, &after, &f->err));
    assert_int_equal(after.burned, before.burned + 1);
    begin(f);
    OK(ledger_add_burn(f->l, 1, 7, 720, 1, why, AT_S, &f->err));
    ledger_rollback(f->l);
    OK(ledger_key_totals(f->l, 1, &after, &f->err));
    assert_int_equal(after.burned, before.burned + 1);
}

static void test_usage_counts(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    struct ledger_lease lease = sample_lease(5, 0);
    OK(ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
    add_lease(f, 6, 1);
    struct ledger_receipt r = leased_receipt(&lease, 900, "");
    OK(add_receipt(f, &r));
    add_intent(f, 10, "1.0");
    static const struct {
        uint64_t first, count;
    } burns[] = {{940, 10}, {945, 10}, {905, 1}, {942, 2}, {905, 1}, {940, 1}, {960, 5}};
    for (size_t i = 0; i < 7; i++)
        OK(ledger_add_burn(f->l, 1, 9, burns[i].first, burns[i].count, "x", AT_S, &f->err));
    OK(ledger_add_burn(f->l, 1, 7, 700, 4, "x", AT_S, &f->err));
    expect_totals_kept(f);
    reopen(f);

    struct ledger_usage usage;
    OK(ledger_window_usage(f->l, 1, 9, &usage, &f->err));
    assert_int_equal(usage.leased, 32);
    assert_int_equal(usage.receipts, 1);
    assert_int_equal(usage.bound, 1);
    assert_int_equal(usage.burned, 15 + 1 + 5);
    assert_false(usage.opened);
    struct ledger_totals totals;
    OK(ledger_key_totals(f->l, 1, &totals, &f->err));
    assert_int_equal(totals.receipts, 1);
    assert_int_equal(totals.leased, 32);
    assert_int_equal(totals.burned, 15 + 1 + 5 + 4 + 1);
    assert_int_equal(totals.burned_by[BURN_OTHER], 15 + 1 + 5 + 4);
    assert_int_equal(totals.burned_by[BURN_EXPIRED], 1);
    char why[LEDGER_TEXT_MAX + 1] = "unset";
    OK(ledger_burn_of_index(f->l, 1, 710, why, &f->err));
    assert_string_equal(why, "expired: nobody came");
    GIVES(RC_REFUSED_NOT_FOUND, ledger_burn_of_index(f->l, 1, 711, why, &f->err));
    assert_string_equal(why, "");
    GIVES(RC_REFUSED_NOT_FOUND, ledger_burn_of_index(f->l, 1, UINT64_MAX, why, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_key_totals(f->l, 2, &totals, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_window_usage(f->l, 2, 9, &usage, &f->err));
    assert_int_equal(usage.leased, 0);

    static const uint64_t edges[] = {904, 905, 906, 939, 940, 954, 955, 699, 700, 703, 704};
    static const bool burned[] = {false, true,  false, false, true, true,
                                  false, false, true,  true,  false};
    for (size_t i = 0; i < 11; i++) {
        bool is = !burned[i];
        OK(ledger_is_burned(f->l, 1, edges[i], &is, &f->err));
        assert_int_equal(is, burned[i]);
    }
    bool is = true;
    OK(ledger_is_burned(f->l, 1, UINT64_MAX, &is, &f->err));
    assert_false(is);
    GIVES(RC_REFUSED_NO_KEY, ledger_is_burned(f->l, 2, 905, &is, &f->err));
}

static void test_burn_bounds(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    GIVES(RC_REFUSED_RANGE, ledger_add_burn(f->l, 1, EDGE, 0, 1, "", AT_S, &f->err));
    GIVES(RC_REFUSED_RANGE, ledger_add_burn(f->l, 1, 0, EDGE, 1, "", AT_S, &f->err));
    GIVES(RC_REFUSED_RANGE, ledger_add_burn(f->l, 1, 0, 0, 0, "", AT_S, &f->err));
    GIVES(RC_REFUSED_RANGE, ledger_add_burn(f->l, 1, 0, 1, EDGE, "", AT_S, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_add_burn(f->l, 3, 0, 1, 1, "", AT_S, &f->err));
    char why[LEDGER_TEXT_MAX + 2];
    memset(why, 'w', sizeof(why));
    why[LEDGER_TEXT_MAX + 1] = '\0';
    GIVES(RC_REFUSED_INPUT, ledger_add_burn(f->l, 1, 0, 1, 1, why, AT_S, &f->err));
    why[LEDGER_TEXT_MAX] = '\0';
    OK(ledger_add_burn(f->l, 1, EDGE - 1, 0, EDGE, why, AT_S, &f->err));
    OK(ledger_add_burn(f->l, 1, 0, EDGE - 1, 1, "", AT_S, &f->err));
    commit(f);
    reopen(f);
    struct ledger_totals totals;
    OK(ledger_key_totals(f->l, 1, &totals, &f->err));
    assert_true(totals.burned == EDGE);
    bool burned = false;
    OK(ledger_is_burned(f->l, 1, EDGE - 2, &burned, &f->err)); /* far above where it starts */
    assert_true(burned);
    OK(ledger_is_burned(f->l, 1, EDGE, &burned, &f->err));
    assert_false(burned);
}

/* Standing ------------------------------------------------------------------------------------ */

static void test_standing(void **state)
{
    struct fixture *f = *state;
    start(f);
    struct ledger_standing st;
    uint8_t head[SHA256_LEN];
    OK(ledger_head(f->l, 1, head, &f->err));
    OK(ledger_stand(f->l, 1, head, &st, &f->err));
    assert_true(st.head_known);
    assert_int_equal(st.head_seq, 2);
    assert_int_equal(st.behind, 0);
    assert_int_equal(st.open_intents_behind, 0);
    assert_int_equal(st.lease_epoch, -1);
    assert_int_equal(st.receipt_epoch, -1);
    assert_int_equal(st.intent_epoch, -1);
    assert_int_equal(st.window, -1);
    assert_int_equal(st.window_w, -1);

    begin(f);
    struct ledger_window window = {.window = 9, .w = 4, .l_base = 2};
    OK(ledger_add_window(f->l, 1, &window, AT_S, &f->err));
    window = (struct ledger_window){.window = 8, .w = 3, .l_base = 2};
    OK(ledger_add_window(f->l, 1, &window, AT_S, &f->err));
    add_lease(f, 7, 0);
    add_intent(f, 10, "1.0");
    struct ledger_intent i = sample_intent(11, "1.1");
    i.epoch = 6;
    OK(ledger_add_intent(f->l, 1, &i, &f->err));
    struct ledger_intent first = sample_intent(10, "1.0");
    struct ledger_receipt r = receipt_of(&first);
    OK(add_receipt(f, &r));
    /* Entries of others do not count. */
    struct ledger_key other = sample_key("other", 2);
    OK(ledger_add_key(f->l, &other, AT_S, &f->err));
    OK(ledger_add_note(f->l, 0, LEDGER_CLOCK, "step", "", 1, AT_S, &f->err));

    OK(ledger_stand(f->l, 1, head, &st, &f->err));
    assert_true(st.head_known);
    assert_int_equal(st.behind, 6);
    assert_int_equal(st.open_intents_behind, 1);
    assert_int_equal(st.lease_epoch, 7);
    assert_int_equal(st.receipt_epoch, 5);
    assert_int_equal(st.intent_epoch, 6);
    assert_int_equal(st.window, 9);
    assert_int_equal(st.window_w, 4);
    uint64_t lifted = 0;
    OK(ledger_void_after(f->l, 1, 0, AT_S, &lifted, &f->err));
    OK(ledger_stand(f->l, 1, head, &st, &f->err));
    assert_int_equal(st.open_intents_behind, 0);
    assert_int_equal(st.intent_epoch, 5);
    commit(f);
    reopen(f);

    /* A head that is nowhere in this chain: of another key, or from a ledger that was put back. */
    OK(ledger_head(f->l, 2, head, &f->err));
    OK(ledger_stand(f->l, 1, head, &st, &f->err));
    assert_false(st.head_known);
    assert_int_equal(st.head_seq, 0);
    assert_int_equal(st.behind, 9);
    memset(head, 0, sizeof(head));
    OK(ledger_stand(f->l, 1, head, &st, &f->err));
    assert_false(st.head_known);
    GIVES(RC_REFUSED_NO_KEY, ledger_stand(f->l, 0, head, &st, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_stand(f->l, 3, head, &st, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_head(f->l, 3, head, &f->err));
}

/* Notes, entries, chains ---------------------------------------------------------------------- */

static void test_notes(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    GIVES(RC_REFUSED_INPUT, ledger_add_note(f->l, 0, LEDGER_CLOCK, "", "", 0, AT_S, &f->err));
    GIVES(RC_REFUSED_INPUT, ledger_add_note(f->l, 0, LEDGER_CLOCK, "a\"b", "", 0, AT_S, &f->err));
    GIVES(RC_REFUSED_INPUT,
          ledger_add_note(f->l, 1, LEDGER_OPERATION, "recover", "", 0, AT_S, &f->err));
    GIVES(RC_REFUSED_NO_KEY, ledger_add_note(f->l, 2, LEDGER_CLOCK, "x", "", 0, AT_S, &f->err));
    GIVES(RC_REFUSED_RANGE, ledger_add_note(f->l, 1, LEDGER_CLOCK, "x", "", 0, -1, &f->err));
    char what[NAME_LEN_MAX + 2];
    memset(what, 'w', sizeof(what));
    what[NAME_LEN_MAX + 1] = '\0';
    GIVES(RC_REFUSED_INPUT, ledger_add_note(f->l, 1, LEDGER_OPERATION, what, "", 0, AT_S, &f->err));
    what[NAME_LEN_MAX] = '\0';
    OK(ledger_add_note(f->l, 1, LEDGER_OPERATION, what, "", 0, AT_S, &f->err));
    static const int64_t numbers[] = {5, INT64_MIN, -1, INT64_MAX, -(INT64_C(1) << 53), 0};
    for (size_t i = 0; i < 6; i++)
        OK(ledger_add_note(f->l, 1, LEDGER_CLOCK, "step", "", numbers[i], AT_S, &f->err));
    OK(ledger_add_note(f->l, 1, LEDGER_INCIDENT, "step", "", 3, AT_S, &f->err));
    OK(ledger_add_note(f->l, 1, LEDGER_INCIDENT, "step", "", 2, AT_S, &f->err));
    OK(ledger_add_note(f->l, 0, LEDGER_INCIDENT, "step", "", 1, AT_S, &f->err));
    OK(ledger_add_note(f->l, 0, LEDGER_REFUSAL, "r", "", 1, AT_S, &f->err));
    OK(ledger_add_note(f->l, 0, LEDGER_WARNING, "r", "", 1, AT_S, &f->err));
    OK(ledger_add_note(f->l, 0, LEDGER_ACKNOWLEDGEMENT, "r", "", 1, AT_S, &f->err));
    commit(f);
    reopen(f);

    int64_t low = 0;
    int64_t high = 0;
    OK(ledger_note_range(f->l, 1, LEDGER_CLOCK, "step", &low, &high, &f->err));
    assert_true(low == INT64_MIN && high == INT64_MAX);
    OK(ledger_note_range(f->l, 1, LEDGER_INCIDENT, "step", &low, &high, &f->err));
    assert_true(low == 2 && high == 3);
    OK(ledger_note_range(f->l, 0, LEDGER_INCIDENT, "step", &low, &high, &f->err));
    assert_true(low == 1 && high == 1);
    GIVES(RC_REFUSED_NOT_FOUND,
          ledger_note_range(f->l, 1, LEDGER_WARNING, "step", &low, &high, &f->err));
    GIVES(RC_REFUSED_NO_KEY,
          ledger_note_range(f->l, 2, LEDGER_CLOCK, "step", &low, &high, &f->err));

    int64_t at_s = 0;
    OK(ledger_note_latest(f->l, 1, LEDGER_INCIDENT, "step", &low, &at_s, &f->err));
    assert_int_equal(low, 2); /* the newest, not the largest */
    assert_int_equal(at_s, AT_S);
    OK(ledger_note_latest(f->l, 0, LEDGER_INCIDENT, "step", &low, &at_s, &f->err));
    assert_int_equal(low, 1);
    GIVES(RC_REFUSED_NOT_FOUND,
          ledger_note_latest(f->l, 0, LEDGER_CLOCK, "step", &low, &at_s, &f->err));
    GIVES(RC_REFUSED_NO_KEY,
          ledger_note_latest(f->l, 2, LEDGER_CLOCK, "step", &low, &at_s, &f->err));
    assert_true(low == 0 && at_s == 0);
}

/* By the beginning of the text, as it stands: no pattern; and by the number. */
static void test_notes_looked_up(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    OK(ledger_add_note(f->l, 1, LEDGER_ACKNOWLEDGEMENT, "a", "e1 safe", 4, AT_S, &f->err));
    OK(ledger_add_note(f->l, 1, LEDGER_ACKNOWLEDGEMENT, "a", "e1", 7, AT_S + 1, &f->err));
    OK(ledger_add_note(f->l, 1, LEDGER_ACKNOWLEDGEMENT, "a", "e2%_", 9, AT_S + 2, &f->err));
    OK(ledger_add_note(f->l, 1, LEDGER_ACKNOWLEDGEMENT, "b", "e1", 11, AT_S, &f->err));
    OK(ledger_add_note(f->l, 1, LEDGER_OPERATION, "a", "e1", 12, AT_S, &f->err));
    OK(ledger_add_note(f->l, 1, LEDGER_ACKNOWLEDGEMENT, "a", "", 4, AT_S + 5, &f->err));
    commit(f);
    reopen(f);

    int64_t number = 1;
    OK(ledger_note_by_text(f->l, 1, LEDGER_ACKNOWLEDGEMENT, "a", "e1", &number, &f->err));
    assert_int_equal(number, 7);
    OK(ledger_note_by_text(f->l, 1, LEDGER_ACKNOWLEDGEMENT, "a", "e1 ", &number, &f->err));
    assert_int_equal(number, 4);
    OK(ledger_note_by_text(f->l, 1, LEDGER_ACKNOWLEDGEMENT, "a", "e2%", &number, &f->err));
    assert_int_equal(number, 9);
    static const char *const others[] = {"%", "_", "e3", "e1 safer", "E1"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        GIVES(RC_REFUSED_NOT_FOUND, ledger_note_by_text(f->l, 1, LEDGER_ACKNOWLEDGEMENT, "a",
                                                        others[i], &number, &f->err));
        assert_int_equal(number, 0);
    }
    GIVES(RC_REFUSED_NO_KEY,
          ledger_note_by_text(f->l, 2, LEDGER_ACKNOWLEDGEMENT, "a", "e1", &number, &f->err));

    int64_t at_s = 1;
    OK(ledger_note_time(f->l, 1, LEDGER_ACKNOWLEDGEMENT, "a", 4, &at_s, &f->err));
    assert_int_equal(at_s, AT_S + 5);
    OK(ledger_note_time(f->l, 1, LEDGER_OPERATION, "a", 12, &at_s, &f->err));
    assert_int_equal(at_s, AT_S);
    GIVES(RC_REFUSED_NOT_FOUND,
          ledger_note_time(f->l, 1, LEDGER_OPERATION, "a", 4, &at_s, &f->err));
    assert_int_equal(at_s, 0);
    GIVES(RC_REFUSED_NO_KEY, ledger_note_time(f->l, 2, LEDGER_OPERATION, "a", 4, &at_s, &f->err));
}

/* The text of an entry is a promise to everybody who checks a ledger without this program. */
static void test_entry_text(void **state)
{
    struct fixture *f = *state;
    start(f);
    uint8_t head[SHA256_LEN];
    char hex[HEX_SIZE(SHA256_LEN)];
    OK(ledger_head(f->l, 1, head, &f->err));
    hex_encode(hex, head, SHA256_LEN);
    begin(f);
    struct ledger_lease lease = {.epoch = INT64_MAX, .window = 9, .first = 900, .count = 16};
    OK(ledger_add_lease(f->l, 1, &lease, 0, &f->err));
    OK(ledger_add_note(f->l, 0, LEDGER_CLOCK, "step", "\"\n\xc3\xa9", -7, AT_S, &f->err));

    char *json = NULL;
    char expected[400];
    OK(ledger_entry_json(f->l, 3, &json, &f->err));
    snprintf(expected, sizeof(expected),
             "{\"at\":\"1970-01-01T00:00:00Z\",\"count\":16,\"epoch\":\"9223372036854775807\","
             "\"first\":900,\"key\":\"router-fw\",\"kind\":\"lease\",\"number\":0,"
             "\"prev\":\"%s\",\"seq\":3,\"window\":9}",
             hex);
    assert_string_equal(json, expected);
    uint8_t text[500] = {0};
    memcpy(text + 1, json, strlen(json));
    uint8_t hash[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, hash, text, strlen(json) + 1);
    OK(ledger_head(f->l, 1, head, &f->err));
    assert_memory_equal(head, hash, SHA256_LEN);
    free(json);

    OK(ledger_entry_json(f->l, 4, &json, &f->err));
    assert_string_equal(
        json, "{\"at\":\"2026-11-30T00:53:20Z\",\"key\":\"\",\"kind\":\"clock-step\","
              "\"number\":-7,\"prev\":\"0000000000000000000000000000000000000000000000000"
              "000000000000000\",\"seq\":4,\"text\":\"\\\"\\n\xc3\xa9\",\"what\":\"step\"}");
    free(json);
    GIVES(RC_REFUSED_NOT_FOUND, ledger_entry_json(f->l, 0, &json, &f->err));
    GIVES(RC_REFUSED_NOT_FOUND, ledger_entry_json(f->l, 5, &json, &f->err));
    assert_null(json);
    commit(f);
}

/* Each chain names its own predecessor, whatever stands between. */
static void test_chain_per_key(void **state)
{
    struct fixture *f = *state;
    start(f);
    begin(f);
    uint8_t service[SHA256_LEN];
    static const uint8_t zero[SHA256_LEN];
    OK(ledger_head(f->l, 0, service, &f->err));
    assert_memory_equal(service, zero, SHA256_LEN);
    uint8_t one[SHA256_LEN];
    OK(ledger_head(f->l, 1, one, &f->err));
    struct ledger_key key = sample_key("other", 2);
    OK(ledger_add_key(f->l, &key, AT_S, &f->err));
    OK(ledger_add_note(f->l, 0, LEDGER_CLOCK, "x", "", 0, AT_S, &f->err));
    uint8_t now[SHA256_LEN];
    OK(ledger_head(f->l, 1, now, &f->err));
    assert_memory_equal(now, one, SHA256_LEN); /* untouched by the others */
    OK(ledger_add_note(f->l, 1, LEDGER_CLOCK, "x", "", 0, AT_S, &f->err));
    char *json = NULL;
    OK(ledger_entry_json(f->l, ledger_size(f->l), &json, &f->err));
    char hex[HEX_SIZE(SHA256_LEN)];
    hex_encode(hex, one, SHA256_LEN);
    assert_non_null(strstr(json, hex));
    free(json);
    commit(f);
    reopen(f);
}

/* Transactions -------------------------------------------------------------------------------- */

static void test_rollback(void **state)
{
    struct fixture *f = *state;
    start(f);
    uint8_t before[SHA256_LEN];
    uint8_t after[SHA256_LEN];
    OK(ledger_head(f->l, 1, before, &f->err));
    ledger_rollback(f->l); /* fine without a transaction */
    begin(f);
    struct ledger_key key = sample_key("other", 2);
    OK(ledger_add_key(f->l, &key, AT_S, &f->err));
    add_lease(f, 5, 0);
    OK(ledger_head(f->l, 1, after, &f->err));
    assert_memory_not_equal(before, after, SHA256_LEN); /* sees the open transaction */
    assert_int_equal(ledger_size(f->l), 5);
    assert_int_equal(ledger_key_count(f->l), 2);
    OK(ledger_check_invariants(f->l, &f->err));
    ledger_rollback(f->l);
    OK(ledger_head(f->l, 1, after, &f->err));
    assert_memory_equal(before, after, SHA256_LEN);
    assert_int_equal(ledger_size(f->l), 2);
    assert_int_equal(ledger_key_count(f->l), 1);
    OK(ledger_check_invariants(f->l, &f->err));

    /* The number of the key that went is given to the next one, whose chain is new. */
    begin(f);
    key = sample_key("third", 3);
    OK(ledger_add_key(f->l, &key, AT_S, &f->err));
    assert_int_equal(key.id, 2);
    add_lease(f, 5, 0);
    commit(f);
    begin(f);
    add_lease(f, 6, 1);
    reopen(f); /* closing forgets what was not committed */
    assert_int_equal(ledger_size(f->l), 5);
    struct ledger_lease found;
    GIVES(RC_REFUSED_NOT_FOUND, ledger_lease_of_index(f->l, 1, 916, &found, &f->err));
}

/* Append-only --------------------------------------------------------------------------------- */

static const char *const tables[] = {
    "entry", "key",     "device", "floor", "window",  "branch",      "lease",       "intent",
    "void",  "receipt", "burn",   "note",  "binding", "attest_keys", "attestation", "reservation"};

/* Tallies: counted once, then kept up with every row that comes, and never with one that goes. */
static void expect_used(struct fixture *f, uint64_t window, const char *who, uint64_t expected)
{
    uint64_t used = UINT64_MAX;
    OK(ledger_used_by(f->l, 1, window, who, &used, &f->err));
    assert_int_equal(used, expected);
}

static void expect_usage(struct fixture *f, uint64_t leased, uint64_t bound, uint64_t receipts)
{
    struct ledger_usage usage;
    OK(ledger_window_usage(f->l, 1, 9, &usage, &f->err));
    assert_int_equal(usage.leased, leased);
    assert_int_equal(usage.bound, bound);
    assert_int_equal(usage.receipts, receipts);
}

static void sign_for(struct fixture *f, uint64_t index, const char *who)
{
    struct ledger_lease lease = sample_lease(5, 0);
    struct ledger_receipt r = leased_receipt(&lease, index, "");
    snprintf(r.origin.requester, sizeof(r.origin.requester), "%s", who);
    OK(add_receipt(f, &r));
}

static void test_tallies_follow_the_tables(void **state)
{
    struct fixture *f = *state;
    static char longest[LEDGER_TEXT_MAX + 2];
    start(f);
    expect_usage(f, 0, 0, 0);
    expect_used(f, 9, "ci", 0);
    begin(f);
    add_lease(f, 5, 0);
    sign_for(f, 900, "ci");
    sign_for(f, 901, "other");
    expect_usage(f, 16, 0, 2); /* sees the open transaction */
    expect_used(f, 9, "ci", 1);
    expect_used(f, 9, "other", 1);
    expect_used(f, 8, "ci", 0);
    expect_used(f, 9, "", 0);
    OK(ledger_check_invariants(f->l, &f->err));
    ledger_rollback(f->l);
    expect_usage(f, 0, 0, 0);
    expect_used(f, 9, "ci", 0);
    begin(f);
    add_lease(f, 5, 0);
    sign_for(f, 900, "ci");
    struct ledger_receipt again =
        leased_receipt(&(struct ledger_lease){.epoch = 5, .window = 9}, 900, "");
    snprintf(again.origin.requester, sizeof(again.origin.requester), "ci");
    GIVES(RC_REFUSED_SPENT, add_receipt(f, &again));
    commit(f);
    expect_used(f, 9, "ci", 1);
    /* What is bound and lifted again counts no more. */
    begin(f);
    uint64_t lifted = 0;
    struct ledger_intent intent = sample_intent(1500, "1.0");
    expect_used(f, 9, intent.origin.requester, 0);
    (void)add_intent(f, 1500, "1.0");
    expect_used(f, 9, intent.origin.requester, 1);
    expect_usage(f, 16, 1, 1);
    OK(ledger_void_after(f->l, 1, 0, AT_S, &lifted, &f->err));
    assert_int_equal(lifted, 1);
    expect_used(f, 9, intent.origin.requester, 0);
    expect_usage(f, 16, 0, 1);
    commit(f);
    memset(longest, 'x', LEDGER_TEXT_MAX + 1);
    expect_used(f, 9, longest, 0);
    OK(ledger_check_invariants(f->l, &f->err));
    /* More callers than are kept: who was forgotten is counted again. */
    for (unsigned i = 0; i < TALLIES_MAX + 10; i++) {
        char who[16];
        snprintf(who, sizeof(who), "c%u", i);
        expect_used(f, 9, who, 0);
    }
    begin(f);
    sign_for(f, 902, "ci");
    sign_for(f, 903, "c0");
    sign_for(f, 904, "c100");
    commit(f);
    expect_used(f, 9, "ci", 2);
    expect_used(f, 9, "c0", 1);
    expect_used(f, 9, "c100", 1);
    expect_usage(f, 16, 0, 4);
    OK(ledger_check_invariants(f->l, &f->err));
    reopen(f);
    expect_used(f, 9, "ci", 2);
    /* Memory that says something else than the tables is found. */
    tally_find(&f->l->tallies, 1, 9, "ci")->receipts++;
    GIVES(RC_HALT_LEDGER, ledger_check_invariants(f->l, &f->err));
}

static void test_tables_refuse_changes(void **state)
{
    struct fixture *f = *state;
    start(f);
    fill(f);
    ledger_close(&f->l);
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        char sql[100];
        const char *id = strcmp(tables[i], "key") == 0 ? "id" : "seq";
        snprintf(sql, sizeof(sql), "UPDATE %s SET %s = %s", tables[i], id, id);
        assert_int_equal(raw(f, sql), SQLITE_CONSTRAINT);
        snprintf(sql, sizeof(sql), "DELETE FROM %s", tables[i]);
        assert_int_equal(raw(f, sql), SQLITE_CONSTRAINT);
    }
    /* The rules of the schema hold for everybody who writes, not only for this program. */
    static const char *const refused[] = {
        "INSERT INTO entry SELECT seq + 2, key, kind, at_s, hash, json FROM entry LIMIT 1",
        "INSERT OR REPLACE INTO entry SELECT * FROM entry LIMIT 1",
        "INSERT INTO lease VALUES (90, 1, 77, 9, 50, 915, 1)",
        "INSERT INTO lease VALUES (90, 1, 77, 9, 50, 0, 0)",
        "INSERT INTO void SELECT 90, key, seq, idx FROM binding",
        ("INSERT INTO receipt SELECT 90, key, epoch, window, 903, randomblob(16), version, slot,"
         " artifact_sha256, artifact_size, signature_sha256, caller_hash, requester, request_id,"
         " idempotency_key, signature FROM receipt WHERE idx = 901"),
        "INSERT INTO binding SELECT 91, key, 903, epoch, window, line, rank, 'x', '' FROM binding",
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        assert_int_equal(raw(f, refused[i]), SQLITE_CONSTRAINT);
    OK(open_ledger(f, false));
}

/* With the triggers away everything can be changed: then the next start must find it. */
static void tampered(struct fixture *f, const char *table, const char *sql)
{
    char all[600];
    char *trigger[2] = {NULL, NULL};
    static const char *const ends[] = {"update", "delete"};
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
    for (size_t i = 0; i < 2; i++) {
        sqlite3_stmt *stmt = NULL;
        snprintf(all, sizeof(all), "SELECT sql FROM sqlite_schema WHERE name = '%s_no_%s'", table,
                 ends[i]);
        assert_int_equal(sqlite3_prepare_v2(db, all, -1, &stmt, NULL), SQLITE_OK);
        if (sqlite3_step(stmt) == SQLITE_ROW)
            trigger[i] = strdup((const char *)sqlite3_column_text(stmt, 0));
        sqlite3_finalize(stmt);
        if (trigger[i] != NULL) {
            snprintf(all, sizeof(all), "DROP TRIGGER %s_no_%s", table, ends[i]);
            assert_int_equal(sqlite3_exec(db, all, NULL, NULL, NULL), SQLITE_OK);
        }
    }
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_true(sqlite3_total_changes(db) > 0);
    for (size_t i = 0; i < 2; i++)
        if (trigger[i] != NULL) /* the triggers are put back: they are not what gives it away */
            assert_int_equal(sqlite3_exec(db, trigger[i], NULL, NULL, NULL), SQLITE_OK);
    free(trigger[0]);
    free(trigger[1]);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

#define SCHEMA "note" /* with a row that stays as it is */

static void test_tampering_is_found(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *table;
        const char *sql;
    } changes[] = {
        {"entry", "UPDATE entry SET json = replace(json, '900', '800') WHERE kind = 'lease'"},
        {"entry", "UPDATE entry SET hash = zeroblob(32) WHERE seq = 3"},
        {"entry", "UPDATE entry SET at_s = at_s + 1 WHERE seq = 4"},
        {"entry", "UPDATE entry SET key = 0 WHERE seq = 4"},
        {"entry", "UPDATE entry SET key = 7 WHERE seq = 4"},
        {"entry", "UPDATE entry SET kind = 'burn' WHERE kind = 'lease'"},
        {"entry", "UPDATE entry SET kind = 'incident' WHERE kind = 'warning'"},
        {"reservation", "UPDATE reservation SET artifact_sha256 = zeroblob(32)"},
        {"reservation", "UPDATE reservation SET expires_s = expires_s + 1"},
        {"reservation", "DELETE FROM reservation"},
        {"attestation", "UPDATE attestation SET document = '{}'"},
        {"attestation", "UPDATE attestation SET receipt = (SELECT min(seq) FROM receipt)"},
        {"attestation", "DELETE FROM attestation"},
        {"attest_keys", "UPDATE attest_keys SET ak_point = ek_point"},
        {"attest_keys", "DELETE FROM attest_keys"},
        {"entry", "DELETE FROM entry WHERE seq = 1"},
        {"entry", "DELETE FROM entry WHERE seq = 5"},
        {"entry", "DELETE FROM entry WHERE seq = (SELECT max(seq) FROM entry)"},
        /* two entries change places, texts, hashes and all */
        {"entry", "UPDATE entry SET seq = -1 + 99 WHERE seq = 6; UPDATE entry SET seq = 6"
                  " WHERE seq = 7; UPDATE entry SET seq = 7 WHERE seq = 98"},
        {"key", "UPDATE key SET name = 'router-fx'"},
        {"key", "UPDATE key SET key_id = zeroblob(32)"},
        {"key", "UPDATE key SET plan_sha256 = zeroblob(32)"},
        {"key", "UPDATE key SET public_key = zeroblob(60)"},
        {"device", "UPDATE device SET min_window = 0"},
        {"device", "UPDATE device SET a_name = randomblob(34)"},
        {"device", "UPDATE device SET w_base = -4"},
        {"floor", "UPDATE floor SET min_window = 7"},
        {"floor", "DELETE FROM floor"},
        {"window", "UPDATE window SET window = 8"},
        {"window", "UPDATE window SET w = 3"},
        {"window", "UPDATE window SET l_base = 3"},
        {"window", "DELETE FROM window"},
        {"branch", "UPDATE branch SET record = zeroblob(5)"},
        {"branch", "UPDATE branch SET record_sha256 = zeroblob(32)"},
        {"branch", "UPDATE branch SET first = 897"},
        {"branch", "UPDATE branch SET window = 8"},
        {"branch", "DELETE FROM branch"},
        {"lease", "UPDATE lease SET epoch = 4"},
        {"lease", "UPDATE lease SET count = 17"},
        {"lease", "DELETE FROM lease"},
        {"intent", "UPDATE intent SET artifact_sha256 = zeroblob(32) WHERE idx = 11"},
        {"intent", "UPDATE intent SET randomizer = zeroblob(32) WHERE idx = 11"},
        {"intent", "UPDATE intent SET value = zeroblob(32) WHERE idx = 11"},
        {"intent", "UPDATE intent SET requester = '' WHERE idx = 11"},
        {"intent", "DELETE FROM intent WHERE idx = 11"},
        {"binding", "UPDATE binding SET rank = 9"},
        {"binding", "UPDATE binding SET epoch = 9"},
        {"binding", "DROP TRIGGER binding_stays; DELETE FROM binding;"
                    " CREATE TRIGGER binding_stays BEFORE DELETE ON binding BEGIN SELECT RAISE("
                    "ABORT, 'only a void entry lifts a binding') WHERE NOT EXISTS (SELECT 1 FROM"
                    " void AS v WHERE v.intent = OLD.seq); END"},
        {"binding", "INSERT INTO binding SELECT seq, key, idx, epoch, window, line, rank, version,"
                    " slot FROM intent WHERE idx = 11"},
        {"void", "DELETE FROM void"},
        {"void", "UPDATE void SET idx = 10"},
        {"receipt", "UPDATE receipt SET signature = zeroblob(3000) WHERE idx = 901"},
        {"receipt", "UPDATE receipt SET signature_sha256 = zeroblob(32) WHERE idx = 901"},
        {"receipt", "UPDATE receipt SET id = zeroblob(16) WHERE idx = 901"},
        {"receipt", "UPDATE receipt SET idx = 902 WHERE idx = 901"},
        {"receipt", "DELETE FROM receipt WHERE idx = 901"},
        {"burn", "UPDATE burn SET count = 13"},
        {"burn", "UPDATE burn SET why = ''"},
        {"note", "UPDATE note SET number = 91"},
        {"note", "UPDATE note SET kind = 0"},
        {"note", "INSERT INTO note VALUES (99, 1, 0, 'x', 0, '')"},
        {SCHEMA, "DROP TRIGGER void_lifts; CREATE TRIGGER void_lifts AFTER INSERT ON void BEGIN"
                 " SELECT 1; END; UPDATE note SET number = number"},
        {SCHEMA, "DROP TRIGGER lease_apart; UPDATE note SET number = number"},
        {SCHEMA, "DROP INDEX burn_of_index; UPDATE note SET number = number"},
        {SCHEMA, "CREATE VIEW v AS SELECT 1; UPDATE note SET number = number"},
        {SCHEMA, "CREATE TABLE t (a); UPDATE note SET number = number"},
    };
    /* One file, put back after each change. */
    start(f);
    fill(f);
    ledger_close(&f->l);
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    size_t len = (size_t)st.st_size;
    uint8_t *bytes = malloc(len);
    assert_true(pread(fd, bytes, len, 0) == (ssize_t)len);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        tampered(f, changes[i].table, changes[i].sql);
        enum rc rc = open_ledger(f, false);
        if (rc != RC_HALT_LEDGER)
            fail_msg("not found: %s", changes[i].sql);
        /* Found for the right reason: a changed row is not taken for a changed schema. */
        bool of_schema = strstr(changes[i].sql, "number = number") != NULL;
        if ((strstr(f->err.text, "schema") != NULL) != of_schema)
            fail_msg("%s: %s", changes[i].sql, f->err.text);
        assert_null(f->l);
        memset(&f->err, 0, sizeof(f->err));
        assert_int_equal(ftruncate(fd, (off_t)len), 0);
        assert_true(pwrite(fd, bytes, len, 0) == (ssize_t)len);
    }
    close(fd);
    free(bytes);
    OK(open_ledger(f, false)); /* and the untouched one is fine */
}

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

static void on_the_inside(const char *sql)
{
    if (sqlite3_exec(newest, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(newest));
}

/* Take a trigger away, so that this very program writes what it must never write; then put it back.
 */
static char *without(const char *trigger)
{
    char sql[120];
    sqlite3_stmt *stmt = NULL;
    snprintf(sql, sizeof(sql), "SELECT sql FROM sqlite_schema WHERE name = '%s'", trigger);
    assert_int_equal(sqlite3_prepare_v2(newest, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    char *text = strdup((const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    snprintf(sql, sizeof(sql), "DROP TRIGGER %s", trigger);
    on_the_inside(sql);
    return text;
}

static void found_as(struct fixture *f, char *trigger, const char *why)
{
    commit(f);
    on_the_inside(trigger);
    free(trigger);
    ledger_close(&f->l);
    assert_int_equal(open_ledger(f, false), RC_HALT_LEDGER);
    if (strstr(f->err.text, why) == NULL)
        fail_msg("%s: %s", why, f->err.text);
    memset(&f->err, 0, sizeof(f->err));
}

/* Chain, texts and hashes are all right here; only what the entries say together cannot be. */
static void test_receipt_without_reservation_is_found(void **state)
{
    struct fixture *f = *state;
    start(f);
    char *trigger = without("receipt_reserved");
    begin(f);
    add_lease(f, 5, 0);
    struct ledger_lease other = sample_lease(5, 1);
    struct ledger_receipt r = leased_receipt(&other, 916, "");
    OK(add_receipt(f, &r));
    found_as(f, trigger, "entry 4: no lease and no binding covers the index");
}

static void test_reserved_index_signed_for_another_is_found(void **state)
{
    struct fixture *f = *state;
    start(f);
    char *trigger = without("receipt_reserved");
    begin(f);
    struct ledger_lease lease = sample_lease(5, 0);
    OK(ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
    struct ledger_reservation reservation = leased_reservation(&lease, 900);
    OK(ledger_add_reservation(f->l, 1, &reservation, &f->err));
    struct ledger_receipt r = leased_receipt(&lease, 900, "");
    r.artifact_sha256[0] ^= 1;
    OK(add_receipt(f, &r));
    found_as(f, trigger, "entry 5: a hash that the caller made, and no other");
}

static void test_overlapping_leases_are_found(void **state)
{
    struct fixture *f = *state;
    start(f);
    char *trigger = without("lease_apart");
    begin(f);
    add_lease(f, 5, 0);
    struct ledger_lease l = sample_lease(6, 1);
    l.first--;
    OK(ledger_add_lease(f->l, 1, &l, AT_S, &f->err));
    found_as(f, trigger, "entry 4: two leases overlap");
}

static void test_void_but_bound_is_found(void **state)
{
    struct fixture *f = *state;
    start(f);
    char *trigger = without("void_lifts");
    begin(f);
    add_intent(f, 10, "1.0");
    uint64_t lifted = 0;
    OK(ledger_void_after(f->l, 1, 0, AT_S, &lifted, &f->err));
    found_as(f, trigger, "entry 3: an intent is either bound or void");
}

/* A bit that flips anywhere in a page: SQLite or the chain must see it, or it must not matter. */
static void test_bit_flips(void **state)
{
    struct fixture *f = *state;
    start(f);
    fill(f);
    uint8_t heads[2][SHA256_LEN];
    OK(ledger_head(f->l, 0, heads[0], &f->err));
    OK(ledger_head(f->l, 1, heads[1], &f->err));
    uint64_t size = ledger_size(f->l);
    ledger_close(&f->l);
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    size_t found = 0;
    size_t tried = 0;
    uint32_t x = 12345;
    for (; tried < 150; tried++) {
        x = x * 1664525 + 1013904223;
        off_t at = (off_t)(x >> 4) % st.st_size;
        uint8_t old = 0;
        assert_true(pread(fd, &old, 1, at) == 1);
        uint8_t bad = (uint8_t)(old ^ (1u << (tried % 8)));
        assert_true(pwrite(fd, &bad, 1, at) == 1);
        if (open_ledger(f, false) != RC_OK) {
            found++;
            memset(&f->err, 0, sizeof(f->err));
        } else {
            uint8_t head[SHA256_LEN];
            assert_int_equal(ledger_size(f->l), size);
            OK(ledger_head(f->l, 0, head, &f->err));
            assert_memory_equal(head, heads[0], SHA256_LEN);
            OK(ledger_head(f->l, 1, head, &f->err));
            assert_memory_equal(head, heads[1], SHA256_LEN);
            ledger_close(&f->l);
        }
        assert_true(pwrite(fd, &old, 1, at) == 1);
    }
    close(fd);
    assert_true(found > 0 && found < tried);
    OK(open_ledger(f, false));
}

/* The same text in three places. A row and an entry that differ are ours to find, an index that
 * differs from its table is SQLite's. */
static void test_each_copy_is_checked(void **state)
{
    struct fixture *f = *state;
    start(f);
    fill(f);
    ledger_close(&f->l);
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *bytes = malloc((size_t)st.st_size);
    assert_true(pread(fd, bytes, (size_t)st.st_size, 0) == st.st_size);
    size_t copies = 0;
    const uint8_t *end = bytes + st.st_size;
    for (const uint8_t *p = bytes;
         (p = memmem(p, (size_t)(end - p), MARKER, sizeof(MARKER) - 1)) != NULL; p++) {
        copies++;
        assert_true(pwrite(fd, "A", 1, p - bytes) == 1);
        GIVES(RC_HALT_LEDGER, open_ledger(f, false));
        assert_true(pwrite(fd, "a", 1, p - bytes) == 1);
    }
    assert_int_equal(copies, 3);
    close(fd);
    free(bytes);
    OK(open_ledger(f, false));
}

/* Want of memory ------------------------------------------------------------------------------ */

static uint64_t fail_ours;   /* 1: the next allocation of this program; 0: none */
static uint64_t fail_sqlite; /* the same for SQLite's */

static bool falls_due(uint64_t *count)
{
    return *count != 0 && --*count == 0;
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
    return falls_due(&fail_ours) ? NULL : __real_calloc(n, size);
}

void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size)
{
    return falls_due(&fail_ours) ? NULL : __real_realloc(p, size);
}

char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
char *__wrap_strdup(const char *text)
{
    return falls_due(&fail_ours) ? NULL : __real_strdup(text);
}

static sqlite3_mem_methods memory;

static void *sqlite_malloc(int size)
{
    return falls_due(&fail_sqlite) ? NULL : memory.xMalloc(size);
}

static void *sqlite_realloc(void *p, int size)
{
    return falls_due(&fail_sqlite) ? NULL : memory.xRealloc(p, size);
}

static bool use_failing_memory(void)
{
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory) != SQLITE_OK)
        return false;
    sqlite3_mem_methods failing = memory;
    failing.xMalloc = sqlite_malloc;
    failing.xRealloc = sqlite_realloc;
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &failing) == SQLITE_OK;
}

static void test_no_memory_of_ours(void **state)
{
    struct fixture *f = *state;
    fail_ours = 1;
    GIVES(RC_HALT_LEDGER, open_ledger(f, true));
    start(f);
    begin(f);
    struct ledger_lease lease = sample_lease(5, 0);
    fail_ours = 1;
    GIVES(RC_HALT_LEDGER, ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
    reopen(f);
    char *json = NULL;
    fail_ours = 1;
    GIVES(RC_HALT_LEDGER, ledger_entry_json(f->l, 1, &json, &f->err));
    reopen(f);
    for (uint64_t n = 1; n <= 2; n++) { /* what it derives, and the text of an entry */
        fail_ours = n;
        GIVES(RC_HALT_LEDGER, ledger_check_invariants(f->l, &f->err));
        reopen(f);
    }
    assert_int_equal(fail_ours, 0);
    assert_int_equal(ledger_size(f->l), 2);
}

/* Every so often an allocation of SQLite's fails, once: the ledger stops there, or SQLite could do
 * without; what was acknowledged is there afterwards. */
static void test_no_memory_for_sqlite(void **state)
{
    struct fixture *f = *state;
    start(f);
    uint64_t stopped = 0;
    bool done = false;
    for (uint64_t n = 1; !done; n += n < 40 ? 1 : 47 * quick_stride(3)) {
        ledger_close(&f->l);
        uint64_t size = 0;
        fail_sqlite = n;
        enum rc rc = open_ledger(f, false);
        if (rc == RC_OK)
            rc = ledger_begin(f->l, &f->err);
        if (rc == RC_OK)
            rc = ledger_add_note(f->l, 1, LEDGER_CLOCK, "x", "", 1, AT_S, &f->err);
        if (rc == RC_OK)
            rc = ledger_commit(f->l, &f->err);
        if (rc == RC_OK)
            size = ledger_size(f->l);
        uint8_t head[SHA256_LEN] = {1};
        struct ledger_standing standing;
        if (rc == RC_OK)
            rc = ledger_stand(f->l, 1, head, &standing, &f->err);
        done = fail_sqlite != 0;
        fail_sqlite = 0;
        if (rc != RC_OK) {
            stopped++;
            assert_int_equal(rc, RC_HALT_LEDGER);
            if (f->l != NULL)
                GIVES(RC_HALT_LEDGER, ledger_begin(f->l, &f->err));
        }
        memset(&f->err, 0, sizeof(f->err));
        reopen(f);
        assert_true(ledger_size(f->l) >= size);
    }
    assert_true(stopped > 30);
}

/* Failing disks ------------------------------------------------------------------------------- */

/* Whatever is called after a failure, the answer is the same and nothing is written. */
static void assert_poisoned(struct fixture *f)
{
    struct ledger_key key = sample_key("x", 9);
    struct ledger_lease lease = sample_lease(50, 50);
    struct ledger_window window = {.window = 50};
    struct ledger_intent intent = sample_intent(50, "50");
    struct ledger_receipt receipt = leased_receipt(&lease, 50, "x");
    struct ledger_standing standing;
    struct ledger_usage usage;
    struct ledger_totals totals;
    uint8_t head[SHA256_LEN];
    uint64_t count = 0;
    size_t n = 0;
    int64_t low = 0;
    int64_t high = 0;
    bool burned = false;
    char *json = NULL;
    struct ledger *l = f->l;
    uint64_t steps = crashvfs_steps(f->disk);
    GIVES(RC_HALT_LEDGER, ledger_begin(l, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_commit(l, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_add_key(l, &key, AT_S, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_add_window(l, 1, &window, AT_S, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_add_lease(l, 1, &lease, AT_S, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_add_intent(l, 1, &intent, &f->err));
    GIVES(RC_HALT_LEDGER, add_receipt(f, &receipt));
    GIVES(RC_HALT_LEDGER, ledger_add_burn(l, 1, 9, 1, 1, "", AT_S, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_void_after(l, 1, 0, AT_S, &count, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_add_note(l, 0, LEDGER_CLOCK, "x", "", 0, AT_S, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_raise_min_window(l, 1, 99, "", AT_S, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_key_by_id(l, 1, &key, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_key_by_name(l, "router-fw", &key, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_head(l, 1, head, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_stand(l, 1, head, &standing, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_next_open_intent(l, 1, 0, &intent, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_intent_by_version(l, 1, "1", "", &intent, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_intent_by_index(l, 1, 1, &intent, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_receipt_by_index(l, 1, 1, &receipt, NULL, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_receipt_by_id(l, 1, head, &receipt, NULL, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_receipt_by_idempotency(l, 1, "x", 0, &receipt, NULL, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_line_marks(l, 1, 0, &low, &high, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_window_usage(l, 1, 9, &usage, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_key_totals(l, 1, &totals, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_lease_of_index(l, 1, 1, &lease, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_is_burned(l, 1, 1, &burned, &f->err));
    char why[LEDGER_TEXT_MAX + 1];
    GIVES(RC_HALT_LEDGER, ledger_burn_of_index(l, 1, 1, why, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_bindings(l, 1, 0, &intent, 1, &n, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_note_range(l, 1, LEDGER_CLOCK, "x", &low, &high, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_note_by_text(l, 1, LEDGER_CLOCK, "x", "x", &low, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_note_time(l, 1, LEDGER_CLOCK, "x", 1, &low, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_note_latest(l, 1, LEDGER_CLOCK, "x", &low, &high, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_entry_json(l, 1, &json, &f->err));
    GIVES(RC_HALT_LEDGER, ledger_check_invariants(l, &f->err));
    ledger_rollback(l);
    GIVES(RC_HALT_LEDGER, ledger_begin(l, &f->err));
    ledger_close(&f->l);
    assert_int_equal(crashvfs_steps(f->disk), steps); /* not even closing wrote anything */
}

static void test_failed_sync_is_not_retried(void **state)
{
    struct fixture *f = *state;
    start_on_disk(f);
    begin(f);
    add_lease(f, 5, 0);
    crashvfs_fail(f->disk, CRASHVFS_SYNC, 1, SQLITE_IOERR_FSYNC);
    GIVES(RC_HALT_LEDGER, ledger_commit(f->l, &f->err));
    assert_poisoned(f);
    /* The outcome was unknown: here the lease is there, and the ledger is whole either way. */
    OK(open_ledger(f, false));
    assert_true(ledger_size(f->l) == 2 || ledger_size(f->l) == 3);
}

/* A commit whose sync failed can still be read: by the next process too, which acts on it. So it
 * must be durable before that process gets its first answer. Found by the simulator: a process was
 * killed between write and sync, the next one returned the stored signature, and the power went. */
static void test_what_is_read_is_durable(void **state)
{
    struct fixture *f = *state;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        f->disk = crashvfs_open("crash", seed);
        start(f);
        begin(f);
        add_lease(f, 5, 0);
        crashvfs_fail(f->disk, CRASHVFS_SYNC, 1, SQLITE_IOERR_FSYNC);
        GIVES(RC_HALT_LEDGER, ledger_commit(f->l, &f->err));
        reopen(f);
        uint64_t seen = ledger_size(f->l);
        crashvfs_cut_at(f->disk, crashvfs_steps(f->disk) + 1);
        begin(f);
        add_lease(f, 6, 1);
        GIVES(RC_HALT_LEDGER, ledger_commit(f->l, &f->err));
        ledger_close(&f->l);
        crashvfs_power_on(f->disk);
        reopen(f);
        assert_true(ledger_size(f->l) >= seen);
        ledger_close(&f->l);
        crashvfs_close(&f->disk);
    }
}

static void test_disk_full(void **state)
{
    struct fixture *f = *state;
    start_on_disk(f);
    begin(f);
    add_lease(f, 5, 0);
    crashvfs_fail(f->disk, CRASHVFS_WRITE, 1, SQLITE_FULL);
    GIVES(RC_HALT_LEDGER, ledger_commit(f->l, &f->err));
    assert_poisoned(f);
    OK(open_ledger(f, false));
    assert_int_equal(ledger_size(f->l), 2);
}

/* The n-th step of any kind fails, for every n: each time the ledger stops, and is whole again when
 * it is opened the next time, with everything that was acknowledged. */
static void test_every_step_fails_once(void **state)
{
    struct fixture *f = *state;
    static const int codes[CRASHVFS_STEPS] = {SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC,
                                              SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_DELETE};
    for (int kind = 0; kind < CRASHVFS_STEPS; kind++) {
        for (uint64_t n = 1;; n += quick_stride(5)) {
            crashvfs_close(&f->disk);
            f->disk = crashvfs_open("crash", n);
            crashvfs_fail(f->disk, (enum crashvfs_step)kind, n, codes[kind]);
            uint64_t acknowledged = 0;
            bool failed = open_ledger(f, true) != RC_OK;
            struct ledger_key key = sample_key("router-fw", 1);
            for (uint64_t i = 0; i < 4 && !failed; i++) {
                struct ledger_lease lease = sample_lease(i + 1, i);
                failed = ledger_begin(f->l, &f->err) != RC_OK ||
                         (i == 0 && ledger_add_key(f->l, &key, AT_S, &f->err) != RC_OK) ||
                         ledger_add_lease(f->l, 1, &lease, AT_S, &f->err) != RC_OK ||
                         ledger_commit(f->l, &f->err) != RC_OK;
                if (!failed)
                    acknowledged = ledger_size(f->l);
            }
            if (failed)
                assert_int_equal(f->err.rc, RC_HALT_LEDGER);
            ledger_close(&f->l); /* a failing checkpoint in here is no failure */
            memset(&f->err, 0, sizeof(f->err));
            crashvfs_fail(f->disk, (enum crashvfs_step)kind, 0, 0);
            OK(open_ledger(f, true));
            assert_true(ledger_size(f->l) >= acknowledged);
            ledger_close(&f->l);
            if (!failed && n > 40)
                break;
        }
    }
}

/* When the WAL is copied and that fails, the commit before it still stands, and the next call hears
 * of it. */
static void test_failed_checkpoint_stops(void **state)
{
    struct fixture *f = *state;
    start_on_disk(f);
    struct ledger_lease lease = {.epoch = 1, .window = 9, .number = 0, .first = 0, .count = 1024};
    begin(f);
    OK(ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
    commit(f);
    static uint8_t large[LEDGER_SIGNATURE_MAX];
    uint64_t i = 0;
    for (enum rc rc = RC_OK; rc == RC_OK && i < 1000; i++) {
        struct ledger_receipt r = leased_receipt(&lease, i, "");
        begin(f);
        OK(ledger_add_receipt(f->l, 1, &r, large, sizeof(large), &f->err));
        crashvfs_fail(f->disk, CRASHVFS_SYNC, 2, SQLITE_IOERR_FSYNC); /* 1: the commit's own */
        commit(f);
        crashvfs_fail(f->disk, CRASHVFS_SYNC, 0, 0);
        rc = ledger_begin(f->l, &f->err);
        if (rc == RC_OK)
            ledger_rollback(f->l);
        else
            assert_int_equal(rc, RC_HALT_LEDGER);
    }
    assert_true(i > 1 && i < 1000);
    memset(&f->err, 0, sizeof(f->err));
    reopen(f);
    assert_int_equal(ledger_size(f->l), 3 + i);
}

static off_t file_size(const struct fixture *f)
{
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    return st.st_size;
}

/* A WAL that is due goes into the database when nobody waits, and not in the commit; one that is
 * not stays what it is. */
static void test_tidy(void **state)
{
    struct fixture *f = *state;
    start(f);
    struct ledger_lease lease = {.epoch = 1, .window = 9, .number = 0, .first = 0, .count = 1024};
    static uint8_t large[LEDGER_SIGNATURE_MAX];
    begin(f);
    OK(ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
    commit(f);
    const off_t before = file_size(f);
    OK(ledger_tidy(f->l, &f->err));
    assert_int_equal(file_size(f), before);
    begin(f);
    for (uint64_t i = 0; i < 40; i++) { /* 16 pages each */
        struct ledger_receipt r = leased_receipt(&lease, i, "");
        OK(ledger_add_receipt(f->l, 1, &r, large, sizeof(large), &f->err));
    }
    commit(f);
    assert_int_equal(file_size(f), before);
    OK(ledger_tidy(f->l, &f->err));
    assert_true(file_size(f) > before + 40 * LEDGER_SIGNATURE_MAX);
    reopen(f);
}

/* Bytes of a page, from the header of the file. */
static unsigned page_size(struct fixture *f)
{
    uint8_t header[18];
    int fd CLEANUP(fd_close) = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && pread_full(fd, header, sizeof(header), 0));
    return be_get16(header + 16);
}

/* A ledger of smaller pages, as they were made once, is as good as a new one. */
static void test_older_pages(void **state)
{
    struct fixture *f = *state;
    start(f);
    fill(f);
    ledger_close(&f->l);
    assert_int_equal(page_size(f), 8192);
    assert_int_equal(raw(f, "PRAGMA journal_mode=DELETE; PRAGMA page_size=4096; VACUUM"),
                     SQLITE_OK);
    OK(open_ledger(f, false));
    begin(f);
    add_intent(f, 20, "5.0.0");
    commit(f);
    reopen(f);
    ledger_close(&f->l);
    assert_int_equal(page_size(f), 4096);
}

/* A read that fails stops the ledger as well. */
static void test_failed_read(void **state)
{
    struct fixture *f = *state;
    start_on_disk(f);
    fill(f);
    reopen(f);
    crashvfs_cut_at(f->disk, crashvfs_steps(f->disk) + 1);
    begin(f);
    add_lease(f, 70, 7);
    GIVES(RC_HALT_LEDGER, ledger_commit(f->l, &f->err));
    assert_true(crashvfs_is_off(f->disk));
    assert_poisoned(f);
    GIVES(RC_HALT_LEDGER, open_ledger(f, true)); /* there is no reading without power */
    crashvfs_power_on(f->disk);
    OK(open_ledger(f, false));
}

/* The file grows without end in real life; a ledger of some length is checked in one go. */
static void test_many_entries(void **state)
{
    struct fixture *f = *state;
    start(f);
    struct ledger_lease lease = {.epoch = 1, .window = 9, .number = 0, .first = 0, .count = 5000};
    begin(f);
    OK(ledger_add_lease(f->l, 1, &lease, AT_S, &f->err));
    commit(f);
    for (uint64_t i = 0; i < 3000;) {
        begin(f);
        for (uint64_t end = i + 500; i < end; i++) {
            struct ledger_receipt r = leased_receipt(&lease, i, "");
            OK(add_receipt(f, &r));
        }
        commit(f);
    }
    OK(ledger_check_invariants(f->l, &f->err));
    reopen(f);
    assert_int_equal(ledger_size(f->l), 3003);
    struct ledger_usage usage;
    OK(ledger_window_usage(f->l, 1, 9, &usage, &f->err));
    assert_int_equal(usage.receipts, 3000);
}

/* No question may become slower with the length of the ledger: each finds its rows by an index, in
 * the order it wants them, and the two that SQLite would answer in another way are as they are
 * meant to be. */
static void test_questions_use_indices(void **state)
{
    struct fixture *f = *state;
    start(f);
    size_t looked_at = 0;
    for (size_t i = 0; i < STMT_COUNT; i++) {
        char sql[2000];
        char plan[2000] = "";
        if (strncmp(ledger_sql[i], "SELECT", 6) != 0)
            continue;
        looked_at++;
        snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", ledger_sql[i]);
        sqlite3_stmt *stmt = NULL;
        assert_int_equal(sqlite3_prepare_v2(newest, sql, -1, &stmt, NULL), SQLITE_OK);
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            const char *line = (const char *)sqlite3_column_text(stmt, 3);
            strncat(plan, line, sizeof(plan) - strlen(plan) - 1);
            if ((strstr(line, "SCAN") != NULL && strstr(line, "SCAN CONSTANT ROW") == NULL) ||
                strstr(line, "TEMP B-TREE") != NULL)
                fail_msg("%s: %s", ledger_sql[i], line);
        }
        sqlite3_finalize(stmt);
        if (i == STMT_RECEIPT_BY_IDEMPOTENCY)
            assert_non_null(strstr(plan, "receipt_of_request"));
        if (i == STMT_NEXT_OPEN_INTENT || i == STMT_OPEN_INTENTS)
            assert_non_null(strstr(plan, "SEARCH b USING INTEGER PRIMARY KEY (rowid>?)"));
    }
    assert_true(looked_at > 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    struct err err = {0};
    if (!use_failing_memory() || base_init(&err) != RC_OK ||
        sqlite3_auto_extension((void (*)(void))remember_connection) != SQLITE_OK)
        return 1;
    const struct CMUnitTest tests[] = {
        TEST(test_open_makes_and_finds),
        TEST(test_open_empty_file),
        TEST(test_open_other_databases),
        TEST(test_open_other_versions),
        TEST(test_open_other_journal_mode),
        TEST(test_open_twice),
        TEST(test_open_bad_place),
        TEST(test_open_settings_are_read_back),
        TEST(test_keys),
        TEST(test_keys_bounds),
        TEST(test_min_window_rises),
        TEST(test_windows),
        TEST(test_branches),
        TEST(test_attest_keys),
        TEST(test_attestations),
        TEST(test_leases_do_not_overlap),
        TEST(test_lease_bounds),
        TEST(test_spent_is_spent),
        TEST(test_intents),
        TEST(test_intent_bounds),
        TEST(test_text_is_utf8),
        TEST(test_bindings_and_marks),
        TEST(test_receipts),
        TEST(test_receipt_bounds),
        TEST(test_receipts_need_a_reservation),
        TEST(test_reservations_of_leases),
        TEST(test_reservations_of_versions),
        TEST(test_idempotency),
        TEST(test_void_lifts_open_intents_only),
        TEST(test_usage_counts),
        TEST(test_burn_bounds),
        TEST(test_standing),
        TEST(test_notes),
        TEST(test_notes_looked_up),
        TEST(test_entry_text),
        TEST(test_chain_per_key),
        TEST(test_rollback),
        TEST(test_tallies_follow_the_tables),
        TEST(test_tables_refuse_changes),
        TEST(test_tampering_is_found),
        TEST(test_receipt_without_reservation_is_found),
        TEST(test_reserved_index_signed_for_another_is_found),
        TEST(test_overlapping_leases_are_found),
        TEST(test_void_but_bound_is_found),
        TEST(test_bit_flips),
        TEST(test_each_copy_is_checked),
        TEST(test_no_memory_of_ours),
        TEST(test_no_memory_for_sqlite),
        TEST(test_failed_sync_is_not_retried),
        TEST(test_what_is_read_is_durable),
        TEST(test_disk_full),
        TEST(test_every_step_fails_once),
        TEST(test_failed_checkpoint_stops),
        TEST(test_tidy),
        TEST(test_older_pages),
        TEST(test_failed_read),
        TEST(test_many_entries),
        TEST(test_questions_use_indices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
