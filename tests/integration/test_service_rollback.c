/*
 * State that goes back: yesterday's copy of the state directory, a copy beside another TPM, a TPM
 * that was turned back, a clock that was turned back. Each is refused with its reason, nothing is
 * signed meanwhile, and the way on is the next window; signatures from before, those that the old
 * ledger has never heard of included, never meet one of the same index.
 */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "lib/evidence.h"

#define WINDOW_S 600
#define SIZE 32 /* indices of a window */
#define LEASE 4 /* and of a lease */
#define TRIES 5
#define WARM_S 6 /* longer than a clock needs to be believed after a jump */

#define LMS "'scheme':'lms','parameters':['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4']"
#define PLAN(key, assignment)                                                                      \
    "{'tidemark_plan':1,'key':'" key "','profile':'sp800-208'," LMS ",'assignment':" assignment "}"

static const char *const keys[] = {"fw", "builds", "nightly"};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* Here the clock goes on by a window in a moment, which no clock does that is right. */
static const struct service_options believing = {.clock = "'max_forward_ms':3600000"};

static bool fake;
static struct clocks clocks;

/* Windows of ten minutes, as short as they may be; now is the middle of window 1. */
static void make_keys(const struct service *s)
{
    char plan[1024];
    char start[RFC3339_SIZE];
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    rfc3339_print(start, now.tv_sec + s->clocks->shift_s - WINDOW_S - WINDOW_S / 2);
    service_key(s, PLAN("fw", "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,"
                              "'patch':16},'slots':['boot','kernel'],'window':'minor'}"));
    service_key(s, PLAN("builds", "{'kind':'interval','signatures_per_window':32,"
                                  "'lease_size':4}"));
    (void)snprintf(plan, sizeof(plan),
                   PLAN("nightly", "{'kind':'time','start':'%s','window':'PT10M',"
                                   "'signatures_per_window':32,'lease_size':4}"),
                   start);
    service_key(s, plan);
}

static void make(struct service *s, const char *name)
{
    service_make(s, name, &clocks, &believing);
    make_keys(s);
    service_start(s);
}

/* One signature under each key; `name` makes the requests, version 1.0.PATCH.
 * @return the index under "builds". */
static uint64_t sign_some(const struct service *s, struct evidence *e, const char *name,
                          unsigned patch)
{
    char version[32];
    (void)snprintf(version, sizeof(version), "1.0.%u", patch);
    (void)must_sign_version(s, e, "fw", version, "kernel", name);
    uint64_t index = must_sign_window(s, e, "builds", name, name);
    struct answer a;
    wait_sign_window(s, &a, "nightly", name, name, 201);
    assert_true(evidence_take(e, "nightly", name, name, &a));
    client_done(&a);
    return index;
}

/* Signs before and after a copy is taken, within one lease of "builds": on a machine that stands
 * still in between the process ends its leases, and it is done again.
 * @param[out] patch  Of the version that the copy does not know.
 * @return the first index of the next lease. */
static uint64_t copy_within_a_lease(const struct service *s, struct evidence *e, unsigned *patch)
{
    for (*patch = 1; *patch < 16; *patch += 2) {
        char before[32];
        char after[32];
        (void)snprintf(before, sizeof(before), "before-%u", *patch);
        (void)snprintf(after, sizeof(after), "after-%u", *patch);
        uint64_t first = sign_some(s, e, before, *patch - 1) / LEASE;
        service_save(s, "live");
        if (sign_some(s, e, after, *patch) / LEASE == first)
            return (first + 1) * LEASE;
        print_message("another lease behind the copy: once more\n");
    }
    fail_msg("each copy was taken between two leases");
    return 0;
}

static void check_evidence(const struct service *s, const struct evidence *e)
{
    for (size_t i = 0; i < KEYS; i++) {
        uint8_t public[PUBLIC_MAX];
        size_t len = service_public(s, keys[i], public);
        assert_int_equal(evidence_check(e, keys[i], public, len), 0);
    }
}

/* Every key refuses everything with this problem, whatever is asked, and says why. */
static void expect_refused(const struct service *s, const char *problem)
{
    struct answer a;
    for (size_t i = 0; i < KEYS; i++) {
        bool by_version = strcmp(keys[i], "fw") == 0;
        for (unsigned k = 0; k < 3; k++) {
            char name[32];
            (void)snprintf(name, sizeof(name), by_version ? "1.%u.15" : "refused-%u", k);
            if (by_version)
                (void)sign_version(s, &a, keys[i], name, "kernel", name);
            else
                (void)sign_window(s, &a, keys[i], name, name);
            expect_problem(&a, 503, problem);
            assert_string_equal(answer_text(&a, "state"), "Halted");
            assert_true(strlen(answer_text(&a, "detail")) > 20);
            client_done(&a);
        }
        assert_int_equal(service_get(s, &a, "/v1/keys/%s", keys[i]), 200);
        assert_string_equal(answer_text(&a, "state"), "Halted");
        assert_true(answer_text(&a, "reason")[0] != '\0');
        client_done(&a);
    }
    assert_int_equal(service_get(s, &a, "/health/ready"), 503);
    client_done(&a);
}

/* Exports that the old ledger may have forgotten: the key signs when one is acknowledged. */
static void acknowledge_export(const struct service *s, const char *key)
{
    char passphrase[LAB_PATH];
    char file[LAB_PATH];
    (void)snprintf(passphrase, sizeof(passphrase), "%.60s/passphrase", s->dir);
    (void)snprintf(file, sizeof(file), "%.60s/%s.backup", s->dir, key);
    FILE *f = fopen(passphrase, "w");
    assert_non_null(f);
    assert_true(fputs("correct horse battery staple\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(service_tool(s, NULL,
                                  "backup export --key %s --out '%s' --passphrase-file '%s'", key,
                                  file, passphrase),
                     0);
    assert_int_equal(
        service_tool(s, NULL, "backup check '%s' --passphrase-file '%s'", file, passphrase), 0);
    assert_int_equal(unlink(file), 0);
}

/* `tidemark recover` for every key; it needs a word of consent, and says what it gives up. */
static void recover_all(const struct service *s)
{
    char out[TOOL_OUT];
    assert_int_equal(service_tool(s, out, "recover --key fw"), 2);
    assert_non_null(strstr(out, "--yes"));
    for (size_t i = 0; i < KEYS; i++) {
        assert_int_equal(
            service_tool(s, out, "recover --key %s --acknowledged-through 0 --yes", keys[i]), 0);
        assert_non_null(strstr(out, "starts again in window"));
        assert_non_null(strstr(out, "given up"));
    }
    acknowledge_export(s, "fw");
    acknowledge_export(s, "builds");
}

/* After a recovery: the window that was open is closed for good, the next one signs. */
static void expect_next_window(const struct service *s, struct evidence *e, const char *name,
                               unsigned old_minor, uint64_t old_interval)
{
    struct answer a;
    char version[32];
    for (unsigned patch = 0; patch < 16; patch++) {
        (void)snprintf(version, sizeof(version), "1.%u.%u", old_minor, patch);
        (void)sign_version(s, &a, "fw", version, "boot", name);
        expect_problem(&a, 409, "version-below-floor");
        client_done(&a);
    }
    (void)snprintf(version, sizeof(version), "1.%u.0", old_minor + 1);
    uint64_t index = must_sign_version(s, e, "fw", version, "kernel", name);
    assert_int_equal(index, (4 + old_minor + 1) * SIZE + 1);
    index = must_sign_window(s, e, "builds", name, name);
    assert_int_equal(index, (old_interval + 1) * SIZE);
}

/* Rollback of the disk ---------------------------------------------------------------------------
 */

static void test_yesterdays_copy(void **state)
{
    (void)state;
    struct service s;
    struct answer a;
    struct evidence e = EVIDENCE_EMPTY;
    make(&s, "copy");
    (void)sign_some(&s, &e, "monday", 0);
    service_stop(&s);
    service_save(&s, "yesterday");
    service_start(&s);
    (void)sign_some(&s, &e, "tuesday", 1);
    (void)sign_some(&s, &e, "tuesday-late", 2);
    service_stop(&s);

    service_restore(&s, "yesterday");
    service_start(&s);
    expect_refused(&s, "state-regression");
    /* And it stays so, however it ends. */
    service_stop(&s);
    service_start(&s);
    expect_refused(&s, "state-regression");
    /* While a service works on the state, nobody else does. */
    char out[TOOL_OUT];
    assert_int_equal(service_tool(&s, out, "recover --key fw --yes"), 6);
    service_crash(&s);

    recover_all(&s);
    service_start(&s);
    service_wait_state(&s, "Operational");
    /* What the old ledger knows is still answered from it; what it has forgotten is not signed. */
    assert_int_equal(sign_version(&s, &a, "fw", "1.0.0", "kernel", "monday"), 200);
    client_done(&a);
    (void)sign_version(&s, &a, "fw", "1.0.1", "kernel", "not tuesday");
    expect_problem(&a, 409, "version-below-floor");
    client_done(&a);
    expect_next_window(&s, &e, "wednesday", 0, 0);
    if (fake) {
        (void)sign_window(&s, &a, "nightly", "wednesday", "wednesday");
        expect_problem(&a, 409, "window-not-open");
        assert_true(answer_text(&a, "opens")[0] != '\0');
        client_done(&a);
        clocks_shift(&clocks, clocks.shift_s + WINDOW_S);
        uint64_t burned = wait_sign_window(&s, &a, "nightly", "wednesday", "wednesday", 201);
        assert_true(evidence_take(&e, "nightly", "wednesday", "wednesday", &a));
        assert_int_equal(answer_number(&a, "index"), 2 * SIZE + burned);
        client_done(&a);
    }
    check_evidence(&s, &e);
    /* The ledger goes on from the old one, and says what happened. */
    service_stop(&s);
    struct ledger *ledger = service_ledger(&s);
    for (size_t i = 0; i < KEYS; i++) {
        struct audit audit;
        assert_int_equal(audit_ledger(&audit, ledger, keys[i]), 0);
        assert_int_equal(audit.recoveries, 1);
        audit_free(&audit);
    }
    ledger_close(&ledger);
    evidence_free(&e);
    service_end(&s);
}

/* A copy taken while the service runs, and a service that is killed: no clean stop writes A. */
static void test_copy_of_a_running_service(void **state)
{
    (void)state;
    struct service s;
    struct evidence e = EVIDENCE_EMPTY;
    struct answer a;
    make(&s, "live");
    service_configure(
        &s, &(struct service_options){.clock = believing.clock, .signing = "'idle_ms':3600000"});
    service_stop(&s);
    service_start(&s);
    unsigned patch = 0;
    uint64_t next = copy_within_a_lease(&s, &e, &patch);
    service_crash(&s);
    service_restore(&s, "live");
    service_start(&s);
    /* Each batch of a version plan is anchored, so the next one after the copy shows. */
    char version[32];
    (void)snprintf(version, sizeof(version), "1.0.%u", patch);
    (void)sign_version(&s, &a, "fw", version, "kernel", "another");
    expect_problem(&a, 503, "state-regression");
    client_done(&a);
    /* Window plans are anchored by the lease: within one the copy passes, its receipts are lost
     * (the threat model says so), and no index is used twice all the same. */
    for (unsigned i = 0; i < 5; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "again-%u", i);
        uint64_t index = must_sign_window(&s, &e, "builds", name, name);
        assert_true(index >= next);
    }
    check_evidence(&s, &e);
    evidence_free(&e);
    service_end(&s);
}

static void test_other_tpm(void **state)
{
    (void)state;
    struct service s;
    struct service clone;
    struct evidence e = EVIDENCE_EMPTY;
    char out[TOOL_OUT];
    make(&s, "original");
    (void)sign_some(&s, &e, "first", 0);
    service_stop(&s);
    for (unsigned provisioned = 0; provisioned < 2; provisioned++) {
        /* A TPM that has never been used, and one that another service has used. */
        service_make(&clone, "clone", &clocks, NULL);
        if (provisioned == 1)
            make_keys(&clone);
        assert_int_equal(
            lab_shell("rm -rf '%s' && cp -a '%s' '%s'", clone.state, s.state, clone.state), 0);
        service_start(&clone);
        expect_refused(&clone, "state-regression");
        service_stop(&clone);
        /* No recovery on this TPM without a backup: it does not hold the counters. */
        assert_int_equal(service_tool(&clone, out, "recover --key fw --yes"),
                         provisioned == 1 ? 3 : 6);
        service_start(&clone);
        expect_refused(&clone, "state-regression");
        service_end(&clone);
    }
    /* The original has not noticed. */
    service_start(&s);
    (void)sign_some(&s, &e, "second", 1);
    check_evidence(&s, &e);
    evidence_free(&e);
    service_end(&s);
}

/* Rollback of the TPM ----------------------------------------------------------------------------
 */

static void test_tpm_turned_back(void **state)
{
    (void)state;
    struct service s;
    struct evidence e = EVIDENCE_EMPTY;
    char snapshot[LAB_PATH];
    make(&s, "tpmback");
    (void)sign_some(&s, &e, "first", 0);
    service_stop(&s);
    (void)snprintf(snapshot, sizeof(snapshot), "%.60s/tpm-copy", s.dir);
    assert_int_equal(mkdir(snapshot, 0700), 0);
    swtpm_stop(&s.tpm);
    assert_true(swtpm_copy_state(snapshot, s.tpm.dir));
    assert_true(swtpm_start(&s.tpm));
    service_start(&s);
    (void)sign_some(&s, &e, "second", 1);
    (void)must_sign_version(&s, &e, "fw", "1.1.0", "kernel", "next window");
    service_stop(&s);
    swtpm_stop(&s.tpm);
    assert_true(swtpm_copy_state(s.tpm.dir, snapshot));
    assert_true(swtpm_start(&s.tpm));
    service_start(&s);
    expect_refused(&s, "state-regression");
    service_stop(&s);
    recover_all(&s);
    service_start(&s);
    expect_next_window(&s, &e, "third", 1, 0);
    check_evidence(&s, &e);
    evidence_free(&e);
    service_end(&s);
}

/* The clock --------------------------------------------------------------------------------------
 */

/* For a while, every attempt is refused as the clock's fault. */
static void expect_clock_refusal(const struct service *s)
{
    bool believed = false;
    for (int64_t until = lab_now_ms() + WARM_S * 1000; lab_now_ms() < until; lab_sleep_ms(100)) {
        struct answer a;
        (void)sign_window(s, &a, "nightly", "turned-back", "turned-back");
        expect_problem(&a, 503, "clock-unsafe");
        /* First the step itself is the reason, then, with chronyd content, what was seen before. */
        if (strstr(answer_text(&a, "detail"), "refused-back") != NULL ||
            strstr(answer_text(&a, "detail"), "behind the last time that the TPM has seen") != NULL)
            believed = true;
        client_done(&a);
    }
    assert_true(believed);
}

static void test_clock_one_window_back(void **state)
{
    (void)state;
    if (!fake)
        return;
    struct service s;
    struct evidence e = EVIDENCE_EMPTY;
    struct answer a;
    int64_t today = clocks.shift_s;
    make(&s, "clock");
    wait_sign_window(&s, &a, "nightly", "today", "today", 201);
    assert_true(evidence_take(&e, "nightly", "today", "today", &a));
    assert_int_equal(answer_number(&a, "window"), 1);
    client_done(&a);

    /* One window on: the next one opens by itself. */
    clocks_shift(&clocks, today + WINDOW_S);
    uint64_t burned = wait_sign_window(&s, &a, "nightly", "tomorrow", "tomorrow", 201);
    assert_true(evidence_take(&e, "nightly", "tomorrow", "tomorrow", &a));
    assert_int_equal(answer_number(&a, "window"), 2);
    assert_int_equal(answer_number(&a, "index"), 2 * SIZE + burned);
    client_done(&a);

    /* One window back: refused, also by a process that has not seen the step. */
    clocks_shift(&clocks, today);
    expect_clock_refusal(&s);
    service_crash(&s);
    service_start(&s);
    expect_clock_refusal(&s);
    assert_int_equal(sign_version(&s, &a, "fw", "1.0.0", "kernel", "version"), 201);
    client_done(&a);

    /* Time catches up: the window is the same, its next lease signs. */
    clocks_shift(&clocks, today + WINDOW_S);
    wait_sign_window(&s, &a, "nightly", "again", "again", 201);
    assert_true(evidence_take(&e, "nightly", "again", "again", &a));
    assert_int_equal(answer_number(&a, "window"), 2);
    assert_true(answer_number(&a, "index") >= 2 * SIZE + 4);
    client_done(&a);
    check_evidence(&s, &e);
    evidence_free(&e);
    service_end(&s);
    clocks_shift(&clocks, today);
}

/* A request that is asked for in another thread, so that the world can change meanwhile. */
struct late {
    const struct service *s;
    struct answer answer;
    pthread_t thread;
};

static void *ask_late(void *argument)
{
    struct late *late = argument;
    (void)sign_window(late->s, &late->answer, "nightly", "late", "late");
    return NULL;
}

/* The window ends while the TPM thinks: the index is spent, and no signature of it is released. */
static void test_window_ends_while_signing(void **state)
{
    (void)state;
    if (!fake)
        return;
    struct service s;
    struct evidence e = EVIDENCE_EMPTY;
    struct answer a;
    int64_t today = clocks.shift_s;
    make(&s, "edge");
    struct late late = {.s = &s};
    uint64_t first = 0;
    uint64_t window = 0;
    uint64_t burned = 0; /* besides the one that this is about */
    /* A signer that was about to ask the TPM for its time when it stopped looks at the clock only
     * when it goes on; then nothing is burned, and the next try may come between the two looks. */
    for (unsigned i = 0; i < TRIES && late.answer.status != 500; i++) {
        char name[32];
        client_done(&late.answer);
        (void)snprintf(name, sizeof(name), "first-%u", i);
        burned += wait_sign_window(&s, &a, "nightly", name, name, 201);
        assert_true(evidence_take(&e, "nightly", name, name, &a));
        first = (uint64_t)answer_number(&a, "index");
        window = (uint64_t)answer_number(&a, "window");
        client_done(&a);
        swtpm_pause(&s.tpm);
        assert_int_equal(pthread_create(&late.thread, NULL, ask_late, &late), 0);
        lab_sleep_ms(700); /* behind its first look at the clock, and waiting for the TPM */
        clocks_shift(&clocks, clocks.shift_s + WINDOW_S);
        swtpm_resume(&s.tpm);
        (void)pthread_join(late.thread, NULL);
    }
    expect_problem(&late.answer, 500, "index-burned");
    assert_int_equal(answer_number(&late.answer, "index"), first + 1);
    assert_null(json_object_get(late.answer.json, "signature"));
    client_done(&late.answer);

    /* The same request again gets an index of the next window. */
    uint64_t skipped = wait_sign_window(&s, &a, "nightly", "late", "late", 201);
    assert_true(evidence_take(&e, "nightly", "late", "late", &a));
    assert_int_equal(answer_number(&a, "index"), (window + 1) * SIZE + skipped);
    burned += skipped;
    client_done(&a);
    check_evidence(&s, &e);
    service_stop(&s);
    struct audit audit;
    struct ledger *ledger = service_ledger(&s);
    assert_int_equal(audit_ledger(&audit, ledger, "nightly"), 0);
    assert_int_equal(audit.burns, 1 + burned);
    assert_true(audit.at[first + 1].burned);
    assert_false(audit.at[first + 1].signed_);
    audit_free(&audit);
    ledger_close(&ledger);
    evidence_free(&e);
    service_end(&s);
    clocks_shift(&clocks, today);
}

static int start_clocks(void **state)
{
    (void)state;
    fake = clocks_can_be_faked();
    clocks_start(&clocks, "rollback", fake);
    return 0;
}

static int stop_clocks(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yesterdays_copy),
        cmocka_unit_test(test_copy_of_a_running_service),
        cmocka_unit_test(test_other_tpm),
        cmocka_unit_test(test_tpm_turned_back),
        cmocka_unit_test(test_clock_one_window_back),
        cmocka_unit_test(test_window_ends_while_signing),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start_clocks, stop_clocks);
}
