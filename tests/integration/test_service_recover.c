/*
 * A device is lost, a new one takes its place: backup export, backup check, recover on a second
 * software TPM. The new device starts in the next window, never in the current one, under the same
 * public key; and no index of the old one is ever seen again.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "base/text.h"
#include "lib/evidence.h"

#define WINDOW_S 600
#define SIZE 32
#define LEAVES_LEN (1024 * 24) /* they end the node file, and that ends the backup */
#define STATEMENT "--old-device-destroyed 'shredded, two witnesses' --yes"

#define LMS "'scheme':'lms','parameters':['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4']"
#define PLAN(key, assignment)                                                                      \
    "{'tidemark_plan':1,'key':'" key "','profile':'sp800-208'," LMS ",'assignment':" assignment "}"

static bool fake;
/* Here the clock goes on by a window in a moment, which no clock does that is right. */
static const struct service_options believing = {.clock = "'max_forward_ms':3600000"};

static struct clocks clocks;
static char passphrase[LAB_PATH], wrong[LAB_PATH];

static void put(char path[LAB_PATH], const char *name, const char *text)
{
    (void)snprintf(path, LAB_PATH, "%s/%s", lab_dir(), name);
    assert_int_equal(lab_shell("printf '%%s\\n' '%s' >'%s'", text, path), 0);
}

static int start_all(void **state)
{
    (void)state;
    fake = clocks_can_be_faked();
    clocks_start(&clocks, "recover", fake);
    put(passphrase, "passphrase", "correct horse battery staple");
    put(wrong, "wrong", "incorrect horse");
    return 0;
}

static int stop_all(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

static void make_time_key(const struct service *s)
{
    char plan[1024];
    char start[RFC3339_SIZE];
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    rfc3339_print(start, now.tv_sec + s->clocks->shift_s - WINDOW_S - WINDOW_S / 2);
    (void)snprintf(plan, sizeof(plan),
                   PLAN("nightly", "{'kind':'time','start':'%s','window':'PT10M',"
                                   "'signatures_per_window':32,'lease_size':4}"),
                   start);
    service_key(s, plan);
}

static void make_version_key(const struct service *s)
{
    service_key(s, PLAN("fw", "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,"
                              "'patch':16},'slots':['boot','kernel'],'window':'minor'}"));
}

static void export_key(const struct service *s, const char *key, const char *file)
{
    char out[TOOL_OUT];
    int code = service_tool(s, out, "backup export --key %s --out '%s' --passphrase-file '%s'", key,
                            file, passphrase);
    if (code != 0)
        fail_msg("backup export: %d %s", code, out);
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void check_backup(const struct service *s, const char *file)
{
    assert_int_equal(
        service_tool(s, NULL, "backup check '%s' --passphrase-file '%s'", file, passphrase), 0);
}

static void check_evidence(const struct service *s, const struct evidence *e, const char *key)
{
    uint8_t public[PUBLIC_MAX];
    size_t len = service_public(s, key, public);
    assert_int_equal(evidence_check(e, key, public, len), 0);
}

/* Refused, with words, and not half done: there is no key on the device afterwards. */
static void expect_no_recovery(const struct service *s, int code, const char *word,
                               const char *arguments)
{
    char out[TOOL_OUT];
    int got = service_tool(s, out, "recover %s", arguments);
    if (got != code || strstr(out, word) == NULL)
        fail_msg("recover %s: wanted %d and '%s', got %d %s", arguments, code, word, got, out);
    assert_int_not_equal(
        lab_shell("test -e '%s/keys/fw' || test -e '%s/keys/nightly'", s->state, s->state), 0);
}

/* Time plans -------------------------------------------------------------------------------------
 */

static void test_time_plan(void **state)
{
    (void)state;
    struct service old;
    struct service new;
    struct answer a;
    struct evidence e = EVIDENCE_EMPTY;
    char file[LAB_PATH + 16];
    char arguments[512];
    service_make(&old, "old", &clocks, &believing);
    make_time_key(&old);
    service_start(&old);
    wait_sign_window(&old, &a, "nightly", "one", "one", 201);
    assert_true(evidence_take(&e, "nightly", "one", "one", &a));
    assert_int_equal(answer_number(&a, "window"), 1);
    client_done(&a);
    uint8_t public[PUBLIC_MAX];
    size_t public_len = service_public(&old, "nightly", public);
    service_stop(&old);
    (void)snprintf(file, sizeof(file), "%s/nightly.backup", lab_dir());
    export_key(&old, "nightly", file);
    /* Never over an existing file, and nobody without the passphrase. */
    assert_int_equal(service_tool(&old, (char[TOOL_OUT]){0},
                                  "backup export --key nightly --out '%s' "
                                  "--passphrase-file '%s'",
                                  file, passphrase),
                     3);
    check_backup(&old, file);
    /* It goes on in its window, since nothing has happened to it yet. */
    service_start(&old);
    wait_sign_window(&old, &a, "nightly", "two", "two", 201);
    assert_true(evidence_take(&e, "nightly", "two", "two", &a));
    client_done(&a);
    /* And in the next one, of which the backup has the secret, but which it has not seen open. */
    uint64_t lost_in = 1;
    if (fake) {
        clocks_shift(&clocks, clocks.shift_s + WINDOW_S);
        uint64_t burned = wait_sign_window(&old, &a, "nightly", "lost", "lost", 201);
        assert_true(evidence_take(&e, "nightly", "lost", "lost", &a));
        assert_int_equal(answer_number(&a, "index"), 2 * SIZE + burned);
        client_done(&a);
        lost_in = 2;
    }
    service_crash(&old);

    service_make(&new, "new", &clocks, &believing);
    /* A window may have been opened early: the clock alone does not say where it stood. */
    (void)snprintf(arguments, sizeof(arguments), "--from '%s' --passphrase-file '%s' %s", file,
                   passphrase, STATEMENT);
    expect_no_recovery(&new, 2, "--acknowledged-through", arguments);
    (void)snprintf(arguments, sizeof(arguments),
                   "--from '%s' --passphrase-file '%s' --acknowledged-through 1", file, passphrase);
    assert_int_equal(service_tool(&new, NULL, "recover %s %s", arguments, STATEMENT), 0);
    service_start(&new);
    service_wait_state(&new, "Operational");
    uint8_t same[PUBLIC_MAX];
    assert_int_equal(service_public(&new, "nightly", same), public_len);
    assert_memory_equal(same, public, public_len);
    /* Never the current window, however often it is asked. */
    for (unsigned i = 0; i < 5; i++) {
        (void)sign_window(&new, &a, "nightly", "three", "three");
        expect_problem(&a, 409, "window-not-open");
        assert_true(answer_text(&a, "opens")[0] != '\0');
        client_done(&a);
    }
    if (fake) {
        clocks_shift(&clocks, clocks.shift_s + WINDOW_S);
        uint64_t burned = wait_sign_window(&new, &a, "nightly", "three", "three", 201);
        assert_true(evidence_take(&e, "nightly", "three", "three", &a));
        assert_int_equal(answer_number(&a, "window"), lost_in + 1);
        assert_int_equal(answer_number(&a, "index"), (lost_in + 1) * SIZE + burned);
        client_done(&a);
    }
    check_evidence(&new, &e, "nightly");
    /* The same device cannot take the key twice. */
    service_stop(&new);
    assert_int_equal(service_tool(&new, (char[TOOL_OUT]){0}, "recover %s %s", arguments, STATEMENT),
                     3);
    struct ledger *ledger = service_ledger(&new);
    struct audit audit;
    assert_int_equal(audit_ledger(&audit, ledger, "nightly"), 0);
    audit_free(&audit);
    ledger_close(&ledger);
    evidence_free(&e);
    service_end(&old);
    service_end(&new);
}

/* Version plans ----------------------------------------------------------------------------------
 */

/* Which windows a lost device has opened cannot be told from time: nothing signs beyond what an
 * acknowledged export allows, and a replacement starts behind that. */
static void test_version_plan(void **state)
{
    (void)state;
    struct service old;
    struct service new;
    struct answer a;
    struct evidence e = EVIDENCE_EMPTY;
    char first[LAB_PATH + 16];
    char second[LAB_PATH + 16];
    char arguments[512];
    service_make(&old, "old", &clocks, NULL);
    make_version_key(&old);
    service_start(&old);
    (void)must_sign_version(&old, &e, "fw", "1.0.0", "kernel", "1.0.0");
    service_stop(&old);
    (void)snprintf(first, sizeof(first), "%s/fw.backup", lab_dir());
    export_key(&old, "fw", first);
    check_backup(&old, first);
    service_start(&old);
    /* Window 4 is marked, one more may be opened. */
    (void)must_sign_version(&old, &e, "fw", "1.1.0", "kernel", "1.1.0");
    (void)sign_version(&old, &a, "fw", "1.2.0", "kernel", "1.2.0");
    expect_problem(&a, 428, "export-required");
    client_done(&a);
    service_crash(&old);

    service_make(&new, "new", &clocks, NULL);
    (void)snprintf(arguments, sizeof(arguments), "--from '%s' --passphrase-file '%s' %s", first,
                   passphrase, STATEMENT);
    expect_no_recovery(&new, 2, "--acknowledged-through", arguments);
    (void)snprintf(arguments, sizeof(arguments),
                   "--from '%s' --passphrase-file '%s' --acknowledged-through 3 %s", first,
                   passphrase, STATEMENT);
    expect_no_recovery(&new, 2, "below this backup", arguments);
    (void)snprintf(arguments, sizeof(arguments),
                   "--from '%s' --passphrase-file '%s' --acknowledged-through 4 %s", first,
                   passphrase, STATEMENT);
    assert_int_equal(service_tool(&new, NULL, "recover %s", arguments), 0);
    service_start(&new);
    for (unsigned minor = 0; minor < 2; minor++) {
        char version[16];
        (void)snprintf(version, sizeof(version), "1.%u.1", minor);
        (void)sign_version(&new, &a, "fw", version, "kernel", "late");
        expect_problem(&a, 409, "version-below-floor");
        client_done(&a);
    }
    /* The start window is exported and acknowledged before its first signature. */
    (void)sign_version(&new, &a, "fw", "1.2.0", "kernel", "1.2.0");
    expect_problem(&a, 428, "export-required");
    client_done(&a);
    service_stop(&new);
    (void)snprintf(second, sizeof(second), "%s/fw.second", lab_dir());
    assert_int_equal(service_tool(&new, NULL,
                                  "backup export --key fw --through 6 --out '%s' "
                                  "--passphrase-file '%s'",
                                  second, passphrase),
                     0);
    check_backup(&new, second);
    service_start(&new);
    assert_int_equal(must_sign_version(&new, &e, "fw", "1.2.0", "kernel", "1.2.0"), 6 * SIZE + 1);
    check_evidence(&new, &e, "fw");
    evidence_free(&e);
    service_end(&old);
    service_end(&new);
}

/* Refusals ---------------------------------------------------------------------------------------
 */

static void test_bad_backups(void **state)
{
    (void)state;
    struct service old;
    struct service new;
    char out[TOOL_OUT];
    char good[LAB_PATH + 16];
    char bad[LAB_PATH + 16];
    char arguments[512];
    struct stat st;
    service_make(&old, "old", &clocks, NULL);
    make_version_key(&old);
    (void)snprintf(good, sizeof(good), "%s/good.backup", lab_dir());
    (void)snprintf(bad, sizeof(bad), "%s/bad.backup", lab_dir());
    export_key(&old, "fw", good);
    assert_int_equal(stat(good, &st), 0);
    service_make(&new, "new", &clocks, NULL);

    (void)snprintf(arguments, sizeof(arguments), "--from '%s' --passphrase-file '%s' --yes", good,
                   passphrase);
    expect_no_recovery(&new, 3, "--old-device-destroyed", arguments);
    (void)snprintf(arguments, sizeof(arguments), "--from '%s' --passphrase-file '%s' %s", good,
                   wrong, STATEMENT);
    expect_no_recovery(&new, 3, "passphrase", arguments);
    (void)snprintf(arguments, sizeof(arguments), "--from '%s.none' --passphrase-file '%s' %s", good,
                   passphrase, STATEMENT);
    expect_no_recovery(&new, 2, "none", arguments);
    assert_int_equal(
        service_tool(&old, out, "backup check '%s' --passphrase-file '%s'", good, wrong), 3);
    assert_non_null(strstr(out, "passphrase"));

    /* One byte changed: in the header, in the secrets, in a leaf; or cut off behind them. */
    (void)snprintf(arguments, sizeof(arguments),
                   "--from '%s' --passphrase-file '%s' --acknowledged-through 0 %s", bad,
                   passphrase, STATEMENT);
    const struct {
        off_t at;
        int code;
        const char *word;
    } damages[] = {
        {30, 2, "header"},
        {1000, 3, "passphrase"},
        {st.st_size - 100, 6, "leaves"},
    };
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        assert_int_equal(lab_shell("cp '%s' '%s'", good, bad), 0);
        lab_spoil(bad, damages[i].at);
        expect_no_recovery(&new, damages[i].code, damages[i].word, arguments);
        assert_int_equal(lab_shell("head -c %lld '%s' >'%s'", (long long)damages[i].at, good, bad),
                         0);
        expect_no_recovery(&new, 2, "cut off", arguments);
    }
    /* An inner node is made again from the leaves; so this one does, after all the refusals. */
    assert_int_equal(lab_shell("cp '%s' '%s'", good, bad), 0);
    lab_spoil(bad, st.st_size - LEAVES_LEN - 3000);
    assert_int_equal(service_tool(&new, NULL, "recover %s", arguments), 0);
    service_end(&old);
    service_end(&new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_plan),
        cmocka_unit_test(test_version_plan),
        cmocka_unit_test(test_bad_backups),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start_all, stop_all);
}
