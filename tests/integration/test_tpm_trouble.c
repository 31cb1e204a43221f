/*
 * A service whose TPM is in trouble: each trouble has its word (base/trouble.h), in /health/state,
 * in refusals and in tidemark doctor; each has its section in docs/operations.md; nothing is signed
 * twice; and where the trouble passes, signing goes on without anybody's help.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/trouble.h"
#include "lib/evidence.h"
#include "lib/outsider.h"
#include "lib/tpmproxy.h"

#define PLAN                                                                                       \
    "{'tidemark_plan':1,'key':'fw','profile':'sp800-208','scheme':'lms','parameters':["            \
    "'LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4'],'assignment':{'kind':'version','format':"         \
    "'major.minor.patch','sizes':{'minor':4,'patch':16},'window':'minor'}}"
#define STUCK_WAIT_MS 60000
#define HANDLE_FOREIGN 0x01855555

/* TPM 2.0 Part 2, 6.5.2 and 6.6.3 */
#define CC_NV_READ 0x14e
#define CC_GET_CAPABILITY 0x17a
#define CC_LOAD 0x157
#define RC_FAILURE 0x101
#define RC_NV_RATE 0x920
#define RC_LOCKOUT 0x921
#define RC_TPM_RETRY 0x922
#define RC_NV_UNAVAILABLE 0x923
#define RC_YIELDED 0x908
#define RC_SIZE_PARAMETER 0x1d5

static struct clocks clocks;

struct fixture {
    struct service s;
    struct tpmproxy proxy;
    struct evidence e;
    unsigned patch; /* of the next version */
};

static void make_behind(struct fixture *f, const char *name, const struct service_options *options)
{
    *f = (struct fixture){.e = EVIDENCE_EMPTY};
    service_make(&f->s, name, &clocks, NULL);
    assert_true(tpmproxy_start(&f->proxy, &f->s.tpm));
    (void)snprintf(f->s.tpm.tcti, sizeof(f->s.tpm.tcti), "%s", f->proxy.tcti);
    service_configure(&f->s, options);
    service_key(&f->s, PLAN);
    service_start(&f->s);
}

static void make(struct fixture *f, const char *name, const struct service_options *options)
{
    *f = (struct fixture){.e = EVIDENCE_EMPTY};
    service_make(&f->s, name, &clocks, options);
    service_key(&f->s, PLAN);
    service_start(&f->s);
}

static long sign(struct fixture *f, struct answer *a)
{
    char version[16];
    (void)snprintf(version, sizeof(version), "1.0.%u", f->patch);
    return sign_version(&f->s, a, "fw", version, "", version);
}

static void must_sign(struct fixture *f)
{
    char version[16];
    (void)snprintf(version, sizeof(version), "1.0.%u", f->patch++);
    (void)must_sign_version(&f->s, &f->e, "fw", version, "", version);
}

/* Signs as soon as the service can: nobody has to help. */
static void must_sign_again(struct fixture *f)
{
    for (int64_t until = lab_now_ms() + STUCK_WAIT_MS; lab_now_ms() < until; lab_sleep_ms(100)) {
        struct answer a;
        char version[16];
        long status = sign(f, &a);
        (void)snprintf(version, sizeof(version), "1.0.%u", f->patch);
        /* A request whose answer was lost may have been signed: then this is that signature. */
        if (status == 201 || status == 200) {
            assert_true(evidence_take(&f->e, "fw", version, version, &a));
            f->patch++;
            client_done(&a);
            return;
        }
        client_done(&a);
    }
    service_show_log(&f->s);
    fail_msg("it does not sign again");
}

static void end(struct fixture *f)
{
    uint8_t public[PUBLIC_MAX];
    if (f->s.pid > 0 && f->patch > 0) {
        size_t len = service_public(&f->s, "fw", public);
        assert_int_equal(evidence_check(&f->e, "fw", public, len), 0);
    }
    evidence_free(&f->e);
    service_crash(&f->s);
    tpmproxy_stop(&f->proxy);
    service_end(&f->s);
}

/* Wait until the state names this trouble. @param[out] check  What it says; may be NULL. */
static void wait_trouble(const struct fixture *f, enum tpm_trouble trouble, char check[256])
{
    const char *word = tpm_trouble_word(trouble);
    char seen[64] = "";
    for (int64_t until = lab_now_ms() + STUCK_WAIT_MS; lab_now_ms() < until; lab_sleep_ms(100)) {
        struct answer a;
        (void)service_get(&f->s, &a, "/health/state");
        (void)snprintf(seen, sizeof(seen), "%s", answer_text(&a, "tpm_state"));
        if (check != NULL)
            (void)snprintf(check, 256, "%s", answer_text(&a, "checks.tpm"));
        client_done(&a);
        if (strcmp(seen, word) == 0)
            return;
    }
    service_show_log(&f->s);
    fail_msg("the TPM is '%s', not '%s'", seen, word);
}

/* A refusal that names the trouble and has used nothing. */
static void expect_refused(struct fixture *f, const char *problem, enum tpm_trouble trouble)
{
    struct answer a;
    (void)sign(f, &a);
    expect_problem(&a, 503, problem);
    assert_string_equal(answer_text(&a, "tpm_state"), tpm_trouble_word(trouble));
    client_done(&a);
}

static void expect_status_says(const struct fixture *f, const char *word)
{
    char out[TOOL_OUT];
    (void)service_client(&f->s, out, "status");
    if (strstr(out, word) == NULL)
        fail_msg("tidemark status does not say %s: %s", word, out);
}

static void expect_doctor_says(const struct fixture *f, const char *word)
{
    char out[TOOL_OUT];
    (void)service_tool(&f->s, out, "doctor");
    if (strstr(out, word) == NULL)
        fail_msg("tidemark doctor does not say %s: %s", word, out);
}

/* Gone ----------------------------------------------------------------------------------------- */

static void killed_and_started_again(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, "gone", NULL);
    must_sign(&f);
    swtpm_kill(&f.s.tpm);
    /* Nobody asks for a signature: it is noticed all the same. */
    wait_trouble(&f, TPM_TROUBLE_GONE, NULL);
    service_wait_state(&f.s, "Recovering");
    expect_refused(&f, "anchor-unavailable", TPM_TROUBLE_GONE);
    expect_status_says(&f, "tpm-gone");
    assert_true(swtpm_start(&f.s.tpm));
    must_sign_again(&f);
    wait_trouble(&f, TPM_TROUBLE_NONE, NULL);
    service_stop(&f.s);
    swtpm_kill(&f.s.tpm);
    expect_doctor_says(&f, "tpm-gone");
    end(&f);
}

/* Stuck ---------------------------------------------------------------------------------------- */

/* Frozen for longer than the watchdog waits, over the start of another core, then thawed. */
static void frozen_and_thawed(void **state)
{
    (void)state;
    struct fixture f;
    static const struct service_options options = {.tpm = "'watchdog_s':8"};
    make(&f, "stuck", &options);
    must_sign(&f);
    pid_t core = service_child(&f.s, "core", 0);
    swtpm_pause(&f.s.tpm);
    wait_trouble(&f, TPM_TROUBLE_STUCK, NULL);
    service_wait_state(&f.s, "Recovering");
    expect_refused(&f, "anchor-unavailable", TPM_TROUBLE_STUCK);
    expect_status_says(&f, "tpm-stuck");
    /* The watchdog ends the core, and the next one finds the TPM no better. */
    assert_true(service_child(&f.s, "core", core) != core);
    assert_true(service_log_has(&f.s, 0, "has not ended within 8 s"));
    wait_trouble(&f, TPM_TROUBLE_STUCK, NULL);
    swtpm_resume(&f.s.tpm);
    must_sign_again(&f);
    wait_trouble(&f, TPM_TROUBLE_NONE, NULL);
    end(&f);
}

/* Slow ----------------------------------------------------------------------------------------- */

static void slow(void **state)
{
    (void)state;
    struct fixture f;
    char check[256];
    static const struct service_options options = {.tpm = "'slow_ms':250"};
    make_behind(&f, "slow", &options);
    must_sign(&f);
    const struct tpm_fault late = {.kind = FAULT_DELAY, .at = 1, .times = 1000000, .rc = 300};
    tpmproxy_set(&f.proxy, &late);
    for (int i = 0; i < 4; i++)
        must_sign(&f); /* it goes on, at its pace */
    wait_trouble(&f, TPM_TROUBLE_SLOW, check);
    assert_non_null(strstr(check, "ms"));
    service_wait_state(&f.s, "Operational");
    expect_status_says(&f, "tpm-slow");
    tpmproxy_set(&f.proxy, NULL);
    for (int i = 0; i < 10; i++)
        must_sign(&f);
    wait_trouble(&f, TPM_TROUBLE_NONE, NULL);
    end(&f);
}

/* Busy ----------------------------------------------------------------------------------------- */

/* Codes that say "again later", for so long that a request cannot wait for it: at a start, where
 * nothing has been used, and in the middle of work. */
static void asks_for_patience(void **state)
{
    (void)state;
    static const uint32_t codes[] = {RC_TPM_RETRY, RC_NV_UNAVAILABLE, RC_NV_RATE, RC_YIELDED};
    struct fixture f;
    make_behind(&f, "busy", NULL);
    must_sign(&f);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        const struct tpm_fault busy = {
            .kind = FAULT_REFUSE, .command = CC_NV_READ, .at = 1, .times = 1000000, .rc = codes[i]};
        tpmproxy_set(&f.proxy, &busy);
        struct answer a;
        (void)sign(&f, &a); /* may be anything but a signature */
        assert_int_equal(a.status / 100, 5);
        client_done(&a);
        wait_trouble(&f, TPM_TROUBLE_BUSY, NULL);
        expect_refused(&f, "anchor-unavailable", TPM_TROUBLE_BUSY);
        tpmproxy_set(&f.proxy, NULL);
        must_sign_again(&f);
        wait_trouble(&f, TPM_TROUBLE_NONE, NULL);
    }
    expect_status_says(&f, "ok");
    end(&f);
}

/* One command of a key's start is refused, with a code that says nothing of a later time. */
static void a_refused_start_is_tried_again(void **state)
{
    (void)state;
    struct fixture f;
    make_behind(&f, "refused", NULL);
    must_sign(&f);
    service_stop(&f.s);
    static const uint32_t commands[] = {CC_NV_READ, CC_LOAD};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const struct tpm_fault once = {.kind = FAULT_REFUSE,
                                       .command = commands[i],
                                       .at = 1,
                                       .times = 1,
                                       .rc = RC_SIZE_PARAMETER};
        tpmproxy_set(&f.proxy, &once);
        service_run(&f.s);
        must_sign_again(&f);
        assert_true(tpmproxy_reached(&f.proxy));
        service_stop(&f.s);
        tpmproxy_set(&f.proxy, NULL);
    }
    /* And one that is refused for long has a name. */
    const struct tpm_fault always = {.kind = FAULT_REFUSE,
                                     .command = CC_LOAD,
                                     .at = 1,
                                     .times = 1000000,
                                     .rc = RC_SIZE_PARAMETER};
    tpmproxy_set(&f.proxy, &always);
    service_run(&f.s);
    wait_trouble(&f, TPM_TROUBLE_REFUSED, NULL);
    tpmproxy_set(&f.proxy, NULL);
    must_sign_again(&f);
    end(&f);
}

/* Lock-out ------------------------------------------------------------------------------------- */

static void locked_out_by_somebody(void **state)
{
    (void)state;
    struct fixture f;
    char check[256];
    make(&f, "lockout", NULL);
    must_sign(&f);
    assert_true(outsider_lock_out(f.s.tpm.tcti, HANDLE_FOREIGN));
    wait_trouble(&f, TPM_TROUBLE_LOCKOUT, check);
    assert_non_null(strstr(check, "our keys go on"));
    service_wait_state(&f.s, "Operational");
    must_sign(&f);
    expect_status_says(&f, "tpm-lockout");
    /* Also over a start: nothing that a start needs is subject to it. */
    service_stop(&f.s);
    expect_doctor_says(&f, "tpm-lockout");
    service_start(&f.s);
    must_sign_again(&f);
    wait_trouble(&f, TPM_TROUBLE_LOCKOUT, NULL);
    end(&f);
}

/* The code itself, as a TPM would give it whose objects are subject to it after all. */
static void locked_out(void **state)
{
    (void)state;
    struct fixture f;
    make_behind(&f, "lockout-code", NULL);
    must_sign(&f);
    const struct tpm_fault fault = {
        .kind = FAULT_REFUSE, .command = CC_NV_READ, .at = 1, .times = 1000000, .rc = RC_LOCKOUT};
    tpmproxy_set(&f.proxy, &fault);
    struct answer a;
    (void)sign(&f, &a);
    assert_int_equal(a.status / 100, 5);
    client_done(&a);
    wait_trouble(&f, TPM_TROUBLE_LOCKOUT, NULL);
    expect_refused(&f, "anchor-unavailable", TPM_TROUBLE_LOCKOUT);
    tpmproxy_set(&f.proxy, NULL);
    must_sign_again(&f);
    end(&f);
}

/* Failure mode --------------------------------------------------------------------------------- */

static void in_failure_mode(void **state)
{
    (void)state;
    struct fixture f;
    make_behind(&f, "failed", NULL);
    must_sign(&f);
    const struct tpm_fault fault = {
        .kind = FAULT_REFUSE, .at = 1, .times = 1000000, .rc = RC_FAILURE};
    tpmproxy_set(&f.proxy, &fault);
    wait_trouble(&f, TPM_TROUBLE_FAILED, NULL);
    service_wait_state(&f.s, "Recovering");
    expect_refused(&f, "anchor-unavailable", TPM_TROUBLE_FAILED);
    tpmproxy_set(&f.proxy, NULL); /* a TPM leaves failure mode with a reset */
    must_sign_again(&f);
    wait_trouble(&f, TPM_TROUBLE_NONE, NULL);
    end(&f);
}

/* Cleared, replaced, robbed -------------------------------------------------------------------- */

static void cleared(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, "cleared", NULL);
    must_sign(&f);
    assert_true(outsider_clear(f.s.tpm.tcti));
    /* The process that saw it happen ends; the next one finds the same endorsement key, and nothing
     * of ours. */
    wait_trouble(&f, TPM_TROUBLE_CLEARED, NULL);
    service_wait_state(&f.s, "Halted");
    expect_refused(&f, "state-regression", TPM_TROUBLE_CLEARED);
    expect_status_says(&f, "tpm-cleared");
    service_stop(&f.s);
    expect_doctor_says(&f, "tpm-cleared");
    end(&f);
}

static void replaced(void **state)
{
    (void)state;
    struct fixture f;
    struct swtpm other;
    make(&f, "replaced", NULL);
    must_sign(&f);
    service_stop(&f.s);
    assert_true(swtpm_make(&other));
    assert_true(outsider_define_byte(other.tcti, HANDLE_FOREIGN)); /* it has a state to copy now */
    swtpm_stop(&other);
    swtpm_stop(&f.s.tpm);
    assert_true(swtpm_copy_state(f.s.tpm.dir, other.dir));
    assert_true(swtpm_start(&f.s.tpm));
    service_start(&f.s);
    wait_trouble(&f, TPM_TROUBLE_REPLACED, NULL);
    service_wait_state(&f.s, "Halted");
    expect_refused(&f, "state-regression", TPM_TROUBLE_REPLACED);
    expect_status_says(&f, "tpm-replaced");
    swtpm_remove(&other);
    end(&f);
}

static void index_removed(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, "index", NULL);
    must_sign(&f);
    service_stop(&f.s);
    assert_true(outsider_undefine(f.s.tpm.tcti, 0x01854D00)); /* W: the first handle of ours */
    service_start(&f.s);
    wait_trouble(&f, TPM_TROUBLE_INDEX, NULL);
    service_wait_state(&f.s, "Halted");
    expect_refused(&f, "state-regression", TPM_TROUBLE_INDEX);
    end(&f);
}

/* Firmware ------------------------------------------------------------------------------------- */

static void firmware_changed(void **state)
{
    (void)state;
    struct fixture f;
    char check[256];
    make_behind(&f, "firmware", NULL);
    must_sign(&f);
    service_stop(&f.s);
    const struct tpm_fault other = {.kind = FAULT_FIRMWARE,
                                    .command = CC_GET_CAPABILITY,
                                    .at = 1,
                                    .times = 1000000,
                                    .rc = 0x00070055};
    tpmproxy_set(&f.proxy, &other);
    service_start(&f.s);
    wait_trouble(&f, TPM_TROUBLE_FIRMWARE, check);
    assert_non_null(strstr(check, "7.85."));
    must_sign_again(&f); /* it is a note, and stops nothing */
    assert_true(service_log_has(&f.s, 0, "tpm-firmware-changed"));
    /* Still named after another start, which notes nothing new. */
    service_stop(&f.s);
    struct ledger *ledger = service_ledger(&f.s);
    int64_t number = 0, at_s = 0;
    assert_int_equal(
        ledger_note_latest(ledger, 0, LEDGER_OPERATION, "tpm-firmware", &number, &at_s, NULL),
        RC_OK);
    assert_int_equal((uint64_t)number >> 32, 0x00070055);
    uint64_t size = ledger_size(ledger);
    ledger_close(&ledger);
    service_start(&f.s);
    wait_trouble(&f, TPM_TROUBLE_FIRMWARE, NULL);
    service_stop(&f.s);
    ledger = service_ledger(&f.s);
    assert_int_equal(ledger_size(ledger), size);
    ledger_close(&ledger);
    end(&f);
}

/* A slow TPM and many windows ------------------------------------------------------------------ */

#define CC_NV_INCREMENT 0x134
#define JUMP_PLAN                                                                                  \
    "{'tidemark_plan':1,'key':'jump','profile':'sp800-208','scheme':'lms','parameters':["          \
    "'LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4'],'assignment':{'kind':'version','format':"         \
    "'major.minor.patch','sizes':{'minor':250,'patch':2},'window':'minor','max_jump':1000}}"
#define FAR 200 /* windows at 30 ms each: a dozen turns */

static long ask_far(const struct fixture *f, struct answer *a)
{
    return sign_version(&f->s, a, "jump", "0.200.0", "", "far");
}

/* The floor of the key, as the service says. */
static int64_t floor_of_jump(const struct fixture *f)
{
    struct answer a;
    (void)service_get(&f->s, &a, "/v1/keys/jump");
    int64_t floor = answer_number(&a, "windows.floor");
    client_done(&a);
    return floor;
}

static void wait_floor(const struct fixture *f, int64_t least)
{
    int64_t floor = -1;
    for (int64_t until = lab_now_ms() + STUCK_WAIT_MS; floor < least && lab_now_ms() < until;
         lab_sleep_ms(50))
        floor = floor_of_jump(f);
    assert_true(floor >= least);
}

static void expect_on_its_way(const struct fixture *f)
{
    struct answer a;
    (void)ask_far(f, &a);
    expect_problem(&a, 503, "starting");
    assert_non_null(strstr(answer_text(&a, "detail"), "catching up: window "));
    assert_non_null(strstr(answer_text(&a, "detail"), " of 200"));
    assert_true(strlen(answer_header(&a, "Retry-After")) > 0);
    client_done(&a);
}

static void many_windows_are_passed_in_turns(void **state)
{
    (void)state;
    struct fixture f;
    struct answer a;
    make_behind(&f, "far", NULL);
    service_stop(&f.s);
    service_key(&f.s, JUMP_PLAN);
    service_start(&f.s);
    const struct tpm_fault late = {
        .kind = FAULT_DELAY, .command = CC_NV_INCREMENT, .at = 1, .times = 1000000, .rc = 300};
    tpmproxy_set(&f.proxy, &late);
    must_sign_again(&f);
    expect_on_its_way(&f);
    service_wait_state(&f.s, "Recovering");
    expect_status_says(&f, "catching up: window");
    must_sign(&f); /* the other key is served in between */
    /* It goes on though nobody asks, stops when it is told to, and survives a kill. */
    wait_floor(&f, 30);
    service_stop(&f.s);
    service_start(&f.s);
    int64_t floor = floor_of_jump(&f);
    assert_in_range(floor, 30, FAR - 2);
    expect_on_its_way(&f);
    wait_floor(&f, floor + 20);
    service_crash(&f.s);
    service_start(&f.s);
    assert_in_range(floor_of_jump(&f), floor + 20, FAR - 2);
    tpmproxy_set(&f.proxy, NULL);
    long status = 503;
    for (int64_t until = lab_now_ms() + STUCK_WAIT_MS; status == 503 && lab_now_ms() < until;
         lab_sleep_ms(50)) {
        status = ask_far(&f, &a);
        client_done(&a);
    }
    assert_int_equal(status, 201);
    assert_int_equal(floor_of_jump(&f), FAR);
    service_wait_state(&f.s, "Operational");
    end(&f);
}

/* Words ---------------------------------------------------------------------------------------- */

/* Every word is a heading of the operator's pages. */
static void every_trouble_has_its_page(void **state)
{
    (void)state;
    for (int i = TPM_TROUBLE_NONE + 1; i < TPM_TROUBLE_COUNT; i++) {
        const char *word = tpm_trouble_word((enum tpm_trouble)i);
        if (lab_shell("grep -qx '### %s' '%s/docs/operations.md'", word, SRCDIR) != 0)
            fail_msg("docs/operations.md has no section %s", word);
    }
}

static int start_clocks(void **state)
{
    (void)state;
    clocks_start(&clocks, "trouble", false);
    return 0;
}

static int stop_clocks(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

int main(int argc, char **argv)
{
    int skip = lab_open();
    if (skip != 0)
        return skip;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_and_started_again),
        cmocka_unit_test(frozen_and_thawed),
        cmocka_unit_test(slow),
        cmocka_unit_test(asks_for_patience),
        cmocka_unit_test(a_refused_start_is_tried_again),
        cmocka_unit_test(locked_out_by_somebody),
        cmocka_unit_test(locked_out),
        cmocka_unit_test(in_failure_mode),
        cmocka_unit_test(cleared),
        cmocka_unit_test(replaced),
        cmocka_unit_test(index_removed),
        cmocka_unit_test(firmware_changed),
        cmocka_unit_test(many_windows_are_passed_in_turns),
        cmocka_unit_test(every_trouble_has_its_page),
    };
    return cmocka_run_group_tests(tests, start_clocks, stop_clocks);
}
