/*
 * advance-window with the real service, a software TPM and chronyd: the next window is opened,
 * signs at once, after a stop and after a kill; the one behind it waits for its own start; what the
 * command wants first; and a replacement of the device starts behind the early window, whatever
 * backup it is made from.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/text.h"
#include "lib/evidence.h"

#define WINDOW_S 600
#define SIZE 32
#define STATEMENT "--old-device-destroyed 'shredded, two witnesses'"
#define REASON "--reason 'A. Smith: the release can not wait'"

#define LMS "'scheme':'lms','parameters':['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4']"
#define PLAN(key, assignment)                                                                      \
    "{'tidemark_plan':1,'key':'" key "','profile':'sp800-208'," LMS ",'assignment':" assignment "}"

/* Here the clock goes on by a window in a moment, which no clock does that is right. */
static const struct service_options believing = {.clock = "'max_forward_ms':3600000"};

static bool fake;
static struct clocks clocks;
static char passphrase[LAB_PATH];
static char none[LAB_PATH + 16], first[LAB_PATH + 16], second[LAB_PATH + 16];

static int start_all(void **state)
{
    (void)state;
    fake = clocks_can_be_faked();
    clocks_start(&clocks, "advance", fake);
    (void)snprintf(passphrase, sizeof(passphrase), "%s/passphrase", lab_dir());
    (void)snprintf(none, sizeof(none), "%s/none.backup", lab_dir());
    (void)snprintf(first, sizeof(first), "%s/first.backup", lab_dir());
    (void)snprintf(second, sizeof(second), "%s/second.backup", lab_dir());
    assert_int_equal(lab_shell("echo 'correct horse battery staple' >'%s'", passphrase), 0);
    return 0;
}

static int stop_all(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

/* It is the middle of window 1. */
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

static void export_through(const struct service *s, const char *file, unsigned mark)
{
    (void)lab_shell("rm -f '%s'", file);
    assert_int_equal(service_tool(s, NULL,
                                  "backup export --key nightly --through %u --out '%s' "
                                  "--passphrase-file '%s'",
                                  mark, file, passphrase),
                     0);
}

static void check_backup(const struct service *s, const char *file)
{
    assert_int_equal(
        service_tool(s, NULL, "backup check '%s' --passphrase-file '%s'", file, passphrase), 0);
}

static void expect_refusal(const struct service *s, int code, const char *word,
                           const char *arguments)
{
    char out[TOOL_OUT];
    int got = service_tool(s, out, "advance-window %s", arguments);
    if (got != code || strstr(out, word) == NULL)
        fail_msg("advance-window %s: wanted %d and '%s', got %d %s", arguments, code, word, got,
                 out);
}

static void sign_in(const struct service *s, struct evidence *e, const char *name, int64_t window)
{
    struct answer a;
    wait_sign_window(s, &a, "nightly", name, name, 201);
    assert_true(evidence_take(e, "nightly", name, name, &a));
    assert_int_equal(answer_number(&a, "window"), window);
    client_done(&a);
}

static void check_evidence(const struct service *s, const struct evidence *e)
{
    uint8_t public[PUBLIC_MAX];
    size_t len = service_public(s, "nightly", public);
    assert_int_equal(evidence_check(e, "nightly", public, len), 0);
}

/* Sign in window 1, then open window 2; the service is stopped afterwards. */
static void advance(struct service *s, struct evidence *e)
{
    char out[TOOL_OUT];
    make_time_key(s);
    service_start(s);
    sign_in(s, e, "one", 1);
    service_stop(s);
    export_through(s, first, 1);
    check_backup(s, first);
    export_through(s, second, 2);
    check_backup(s, second);
    assert_int_equal(service_tool(s, out,
                                  "advance-window --key nightly --window 2 "
                                  "--acknowledged-export '%s' " REASON " --yes",
                                  second),
                     0);
    assert_non_null(strstr(out, "a lead of "));
    assert_non_null(strstr(out, "window 2 is open"));
}

/* What the API and the command say of the early window. */
static void check_shown(const struct service *s)
{
    struct answer a;
    char out[TOOL_OUT];
    assert_int_equal(service_get(s, &a, "/v1/keys/nightly"), 200);
    assert_int_equal(answer_number(&a, "windows.open"), 2);
    assert_int_equal(answer_number(&a, "windows.early"), 2);
    client_done(&a);
    assert_int_equal(service_get(s, &a, "/v1/keys/nightly/windows?from=2&to=3"), 200);
    const json_t *windows = json_object_get(a.json, "windows");
    const json_t *early = json_array_get(windows, 0);
    assert_string_equal(json_string_value(json_object_get(early, "state")), "open");
    assert_in_range(json_integer_value(json_object_get(early, "lead_seconds")), 1, WINDOW_S);
    const json_t *behind = json_array_get(windows, 1);
    assert_string_equal(json_string_value(json_object_get(behind, "state")), "future");
    assert_null(json_object_get(behind, "lead_seconds"));
    client_done(&a);
    assert_int_equal(service_client(s, out, "windows --key nightly"), 0);
    assert_non_null(strstr(out, "open early"));
}

/* Opened, used, paid back --------------------------------------------------------------------- */

static void test_lead_is_paid_back(void **state)
{
    (void)state;
    struct service s;
    struct evidence e = EVIDENCE_EMPTY;
    service_make(&s, "hurry", &clocks, &believing);
    advance(&s, &e);
    service_start(&s);
    sign_in(&s, &e, "two", 2);
    check_shown(&s);
    /* A restart is no clock set back (attack 20). */
    service_stop(&s);
    service_start(&s);
    sign_in(&s, &e, "three", 2);
    service_crash(&s);
    service_start(&s);
    sign_in(&s, &e, "four", 2);
    if (fake) {
        /* In what was planned for it; and only then comes the next. */
        clocks_shift(&clocks, clocks.shift_s + WINDOW_S);
        sign_in(&s, &e, "five", 2);
        clocks_shift(&clocks, clocks.shift_s + WINDOW_S);
        sign_in(&s, &e, "six", 3);
    }
    check_evidence(&s, &e);
    service_stop(&s);
    struct audit audit;
    struct ledger *ledger = service_ledger(&s);
    assert_int_equal(audit_ledger(&audit, ledger, "nightly"), 0);
    assert_int_equal(audit.windows, fake ? 3 : 2);
    assert_int_equal(audit_evidence(&audit, &e, "nightly"), 0);
    audit_free(&audit);
    ledger_close(&ledger);
    evidence_free(&e);
    service_end(&s);
}

/* What it wants ------------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    (void)state;
    struct service s;
    struct evidence e = EVIDENCE_EMPTY;
    char arguments[512];
    service_make(&s, "refusals", &clocks, &believing);
    make_time_key(&s);
    service_key(&s, PLAN("builds", "{'kind':'interval','signatures_per_window':32}"));
    service_key(&s, PLAN("fw", "{'kind':'version','format':'major.minor','sizes':{'minor':32}}"));
    service_start(&s);
    sign_in(&s, &e, "one", 1);
    /* While the service runs it has the state to itself. */
    (void)snprintf(arguments, sizeof(arguments),
                   "--key nightly --window 2 --acknowledged-export %064d " REASON " --yes", 0);
    expect_refusal(&s, 6, "", arguments);
    service_stop(&s);
    expect_refusal(&s, 3, "backup check", arguments);
    (void)snprintf(arguments, sizeof(arguments),
                   "--key builds --window 1 --acknowledged-export %064d " REASON " --yes", 0);
    expect_refusal(&s, 3, "interval plan", arguments);
    (void)snprintf(arguments, sizeof(arguments),
                   "--key fw --window 1 --acknowledged-export %064d " REASON " --yes", 0);
    expect_refusal(&s, 3, "version plan", arguments);
    expect_refusal(&s, 2, "--acknowledged-export", "--key nightly --window 2 " REASON " --yes");
    (void)snprintf(arguments, sizeof(arguments),
                   "--key nightly --window 2 --acknowledged-export '%s' " REASON " --yes", none);
    expect_refusal(&s, 2, "neither a SHA-256 nor a file", arguments);
    export_through(&s, first, 1);
    (void)snprintf(arguments, sizeof(arguments),
                   "--key nightly --window 2 --acknowledged-export '%s' " REASON " --yes", first);
    expect_refusal(&s, 3, "no export with the digest", arguments);
    check_backup(&s, first);
    expect_refusal(&s, 3, "--through 2", arguments);
    export_through(&s, second, 2);
    check_backup(&s, second);
    (void)snprintf(arguments, sizeof(arguments),
                   "--key nightly --window 3 --acknowledged-export '%s' " REASON " --yes", second);
    expect_refusal(&s, 3, "2 is the next", arguments);
    (void)snprintf(arguments, sizeof(arguments),
                   "--key nightly --window 2 --acknowledged-export '%s' " REASON, second);
    expect_refusal(&s, 2, "--yes", arguments);
    /* None of it has changed anything. */
    service_start(&s);
    sign_in(&s, &e, "two", 1);
    service_stop(&s);
    /* By its digest, in place of the file; and once is enough. */
    char sha256[80] = "";
    (void)snprintf(arguments, sizeof(arguments), "sha256sum <'%s'", second);
    FILE *sum = popen(arguments, "re");
    assert_true(sum != NULL && fgets(sha256, 65, sum) != NULL);
    (void)pclose(sum);
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(arguments, sizeof(arguments),
                       "--key nightly --window 2 --acknowledged-export %s " REASON " --yes",
                       sha256);
        expect_refusal(&s, 0, i == 0 ? "window 2 is open\n" : "window 2 is open already",
                       arguments);
    }
    service_start(&s);
    sign_in(&s, &e, "three", 2);
    check_evidence(&s, &e);
    evidence_free(&e);
    service_end(&s);
}

/* Lost ---------------------------------------------------------------------------------------- */

/* Attack 29: it is still window 1 by the clock, and the backup was made before window 2 was opened.
 */
static void test_replacement_starts_behind(void **state)
{
    (void)state;
    struct service old;
    struct service new;
    struct answer a;
    struct evidence e = EVIDENCE_EMPTY;
    char out[TOOL_OUT];
    service_make(&old, "lost", &clocks, &believing);
    advance(&old, &e);
    service_start(&old);
    sign_in(&old, &e, "two", 2);
    service_crash(&old);

    service_make(&new, "new", &clocks, &believing);
    const char *const files[] = {first, second};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(service_tool(&new, out,
                                      "recover --from '%s' --passphrase-file '%s' " STATEMENT,
                                      files[i], passphrase),
                         2);
        assert_non_null(strstr(out, "--acknowledged-through"));
        assert_int_equal(service_tool(&new, out,
                                      "recover --from '%s' --passphrase-file '%s' "
                                      "--acknowledged-through 2 " STATEMENT "%s",
                                      files[i], passphrase, i == 0 ? "" : " --yes"),
                         i == 0 ? 2 : 0);
        assert_non_null(strstr(out, "starts again in window 3"));
    }
    service_start(&new);
    service_wait_state(&new, "Operational");
    (void)sign_window(&new, &a, "nightly", "three", "three");
    expect_problem(&a, 409, "window-not-open");
    client_done(&a);
    if (fake) {
        clocks_shift(&clocks, clocks.shift_s + 2 * WINDOW_S);
        sign_in(&new, &e, "three", 3);
    }
    check_evidence(&new, &e);
    evidence_free(&e);
    service_end(&old);
    service_end(&new);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lead_is_paid_back),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_replacement_starts_behind),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start_all, stop_all);
}
