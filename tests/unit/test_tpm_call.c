/* src/tpm/call and the clock check: what each response code means, in each phase. No TPM needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "tpm/internal.h"

#define HANDLE_1 (TPM2_RC_H | TPM2_RC_1)
#define SESSION_1 (TPM2_RC_S | TPM2_RC_1)
#define PARAMETER_1 (TPM2_RC_P | TPM2_RC_1)

static const struct {
    TSS2_RC r;
    enum tpm_outcome outcome;
} codes[] = {
    {TSS2_RC_SUCCESS, TPM_DONE},
    /* not executed, later perhaps */
    {TPM2_RC_RETRY, TPM_BUSY},
    {TPM2_RC_NV_RATE, TPM_BUSY},
    {TPM2_RC_NV_UNAVAILABLE, TPM_BUSY},
    {TPM2_RC_LOCKOUT, TPM_BUSY},
    {TPM2_RC_SESSION_MEMORY, TPM_BUSY},
    {TPM2_RC_OBJECT_MEMORY, TPM_BUSY},
    {TPM2_RC_YIELDED, TPM_BUSY},
    {TPM2_RC_TESTING, TPM_BUSY},
    {TPM2_RC_CONTEXT_GAP, TPM_BUSY},
    {TSS2_RESMGR_TPM_RC_LAYER | TPM2_RC_SESSION_MEMORY, TPM_BUSY},
    /* not what we know */
    {0x918, TPM_MOVED}, /* facts/tpm F11: session gone after a reset */
    {0x910, TPM_MOVED},
    {0x91e, TPM_MOVED},
    {0x9a2, TPM_MOVED}, /* bad authorisation or another Name, noDA */
    {0x98e, TPM_MOVED}, /* the same with dictionary-attack protection */
    {TPM2_RC_NONCE | SESSION_1, TPM_MOVED},
    {NV_NO_SUCH_HANDLE, TPM_MOVED},
    {0x18b, TPM_MOVED},
    {TPM2_RC_INITIALIZE, TPM_MOVED},
    {0x149, TPM_MOVED},
    {0x14a, TPM_MOVED},
    {TPM2_RC_NV_LOCKED, TPM_MOVED},
    {TPM2_RC_AUTH_UNAVAILABLE, TPM_MOVED},
    /* not executed, and asking again does not help */
    {TPM2_RC_VALUE | PARAMETER_1, TPM_REFUSED},
    {0x1df, TPM_REFUSED}, /* a blob of another TPM */
    {0x146, TPM_REFUSED}, /* NV range */
    {TPM2_RC_NV_SPACE, TPM_REFUSED},
    {TPM2_RC_NV_DEFINED, TPM_REFUSED},
    {TPM2_RC_DISABLED, TPM_REFUSED},
    {TPM2_RC_POLICY, TPM_REFUSED},
    /* nobody knows */
    {0xa000a, TPM_LOST}, /* transport: input/output */
    {0x70007, TPM_LOST}, /* ESAPI: what follows such an error */
    {TSS2_ESYS_RC_MEMORY, TPM_LOST},
    {TSS2_SYS_RC_MALFORMED_RESPONSE, TPM_LOST},
    {TPM2_RC_FAILURE, TPM_LOST},
    {TPM2_RC_REBOOT, TPM_LOST},
    {TSS2_ESYS_RC_RSP_AUTH_FAILED, TPM_FORGED},
};

static void test_outcomes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (tpm_outcome(codes[i].r) != codes[i].outcome)
            fail_msg("0x%x: %d, want %d", codes[i].r, (int)tpm_outcome(codes[i].r),
                     (int)codes[i].outcome);
    }
}

static enum tpm_trouble trouble_of(enum rc rc, const char *origin, int64_t native)
{
    struct err err = {.rc = rc, .origin = origin, .native = native};
    return tpm_trouble_of(&err);
}

/* What people are told: by the code, and never for something that is not the TPM's doing. */
static void test_troubles(void **state)
{
    (void)state;
    static const struct {
        TSS2_RC r;
        enum tpm_trouble trouble;
    } right[] = {
        {TPM2_RC_RETRY, TPM_TROUBLE_BUSY},
        {TPM2_RC_NV_RATE, TPM_TROUBLE_BUSY},
        {TPM2_RC_NV_UNAVAILABLE, TPM_TROUBLE_BUSY},
        {TPM2_RC_YIELDED, TPM_TROUBLE_BUSY},
        {TPM2_RC_TESTING, TPM_TROUBLE_BUSY},
        {TPM2_RC_SESSION_MEMORY, TPM_TROUBLE_BUSY},
        {TSS2_RESMGR_TPM_RC_LAYER | TPM2_RC_RETRY, TPM_TROUBLE_BUSY},
        {TPM2_RC_LOCKOUT, TPM_TROUBLE_LOCKOUT},
        {TSS2_RESMGR_TPM_RC_LAYER | TPM2_RC_LOCKOUT, TPM_TROUBLE_LOCKOUT},
        {TPM2_RC_FAILURE, TPM_TROUBLE_FAILED},
        {TPM2_RC_REBOOT, TPM_TROUBLE_FAILED},
        {0x918, TPM_TROUBLE_RESET},
        {0x9a2, TPM_TROUBLE_RESET},
        {TPM2_RC_INITIALIZE, TPM_TROUBLE_RESET},
        {TSS2_ESYS_RC_RSP_AUTH_FAILED, TPM_TROUBLE_RESET},
        {NV_NO_SUCH_HANDLE, TPM_TROUBLE_INDEX},
        {TPM2_RC_VALUE | PARAMETER_1, TPM_TROUBLE_REFUSED},
        {0x1df, TPM_TROUBLE_REFUSED},
        {0xa000a, TPM_TROUBLE_GONE},
        {0x70007, TPM_TROUBLE_GONE},
        {TSS2_SYS_RC_MALFORMED_RESPONSE, TPM_TROUBLE_GONE},
    };
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
        if (trouble_of(RC_HALT_ANCHOR, "tss2", right[i].r) != right[i].trouble)
            fail_msg("0x%x: %s", right[i].r,
                     tpm_trouble_word(trouble_of(RC_HALT_ANCHOR, "tss2", right[i].r)));
    assert_int_equal(trouble_of(RC_HALT_REGRESSION, TPM_ORIGIN_PINS, 0), TPM_TROUBLE_REPLACED);
    assert_int_equal(trouble_of(RC_HALT_REGRESSION, TPM_ORIGIN_PINS, 7), TPM_TROUBLE_INDEX);
    assert_int_equal(trouble_of(RC_HALT_CANARY, "", 0), TPM_TROUBLE_RESET);
    assert_int_equal(trouble_of(RC_HALT_REGRESSION, "", 0), TPM_TROUBLE_NONE);
    assert_int_equal(trouble_of(RC_HALT_LEDGER, "sqlite", 0x101), TPM_TROUBLE_NONE);
    assert_int_equal(trouble_of(RC_REFUSED_EXHAUSTED, "tss2", 0x14b), TPM_TROUBLE_NONE);
    assert_int_equal(trouble_of(RC_OK, NULL, 0), TPM_TROUBLE_NONE);
}

static void test_latency(void **state)
{
    (void)state;
    struct stopwatch s = {0};
    struct tpm_latency l;
    stopwatch_read(&s, &l);
    assert_int_equal(l.count + l.median_us + l.p90_us + l.max_us, 0);
    stopwatch_add(&s, 7000);
    stopwatch_read(&s, &l);
    assert_true(l.count == 1 && l.median_us == 7 && l.p90_us == 7 && l.max_us == 7);
    for (int i = 0; i < 2 * TPM_TIMED; i++)
        stopwatch_add(&s, i % 10 == 0 ? INT64_C(5000000) : 1000);
    stopwatch_read(&s, &l);
    assert_int_equal(l.count, TPM_TIMED);
    assert_int_equal(l.median_us, 1);
    assert_int_equal(l.max_us, 5000);
    for (int i = 0; i < TPM_TIMED / 5; i++) /* one in five: that is more than one in ten */
        stopwatch_add(&s, INT64_MAX);
    stopwatch_read(&s, &l);
    assert_int_equal(l.p90_us, UINT32_MAX);
    for (int i = 0; i < TPM_TIMED; i++) /* what is over is forgotten */
        stopwatch_add(&s, 1000);
    stopwatch_read(&s, &l);
    assert_int_equal(l.max_us, 1);
    assert_int_equal(l.increments.sum, 0);
    stopwatch_add(&s, 20000 * INT64_C(1000));
    stopwatch_was_increment(&s);
    stopwatch_add(&s, 1000);
    for (int i = 0; i < TPM_TIMED; i++) { /* what was counted up is not forgotten */
        stopwatch_add(&s, 20001 * INT64_C(1000));
        stopwatch_was_increment(&s);
    }
    stopwatch_read(&s, &l);
    assert_int_equal(l.increments.counts[4], 1); /* up to 20 ms */
    assert_int_equal(l.increments.counts[5], TPM_TIMED);
    assert_int_equal(l.increments.sum, 20000 + TPM_TIMED * 20001);
}

static void test_firmware_text(void **state)
{
    (void)state;
    char text[TPM_FIRMWARE_TEXT];
    tpm_firmware_print(text, UINT64_C(0x0007005511cb0000));
    assert_string_equal(text, "7.85.4555.0");
    tpm_firmware_print(text, UINT64_MAX);
    assert_string_equal(text, "65535.65535.65535.65535");
    tpm_firmware_print(text, 0);
    assert_string_equal(text, "unknown");
}

static void test_codes_of_phases(void **state)
{
    (void)state;
    static const TSS2_RC examples[] = {
        0, TPM2_RC_NV_RATE, TPM2_RC_NV_SPACE, 0x918, TSS2_ESYS_RC_RSP_AUTH_FAILED, 0xa000a};
    static const enum rc want[][6] = {
        [TPM_CONNECTING] = {RC_OK, RC_RETRY_ANCHOR, RC_HALT_ANCHOR, RC_RETRY_ANCHOR, RC_HALT_CANARY,
                            RC_RETRY_ANCHOR},
        [TPM_OPENING] = {RC_OK, RC_RETRY_ANCHOR, RC_HALT_ANCHOR, RC_HALT_REGRESSION, RC_HALT_CANARY,
                         RC_HALT_ANCHOR},
        [TPM_RUNNING] = {RC_OK, RC_RETRY_ANCHOR, RC_HALT_ANCHOR, RC_HALT_CANARY, RC_HALT_CANARY,
                         RC_HALT_ANCHOR},
        [TPM_CHANGED] = {RC_OK, RC_HALT_ANCHOR, RC_HALT_ANCHOR, RC_HALT_CANARY, RC_HALT_CANARY,
                         RC_HALT_ANCHOR},
    };
    for (int phase = TPM_CONNECTING; phase <= TPM_CHANGED; phase++) {
        for (size_t i = 0; i < 6; i++)
            assert_int_equal(tpm_rc((enum tpm_phase)phase, examples[i]), want[phase][i]);
    }
}

/* Sent again: only what was not executed and passes by itself, and not for ever. */
static void test_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        TSS2_RC r = codes[i].r;
        bool waits =
            codes[i].outcome == TPM_BUSY && r != TPM2_RC_LOCKOUT && r != TPM2_RC_CONTEXT_GAP;
        assert_true(tpm_call_again(r, 1) == waits);
        assert_false(tpm_call_again(r, TPM_TRIES_MAX));
    }
}

static void test_dead(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct tpm tpm = {0};
        bool ends = codes[i].outcome == TPM_LOST || codes[i].outcome == TPM_FORGED;
        tpm_call_begin(&tpm, "test");
        assert_int_equal(tpm_call_end(&tpm, codes[i].r), codes[i].r);
        assert_int_equal(tpm.dead, ends ? codes[i].r : 0);
        int runs = 0;
        TSS2_RC r = TPM_RUN(&tpm, "test", (runs++, (TSS2_RC)0));
        assert_int_equal(runs, ends ? 0 : 1);
        assert_int_equal(r, tpm.dead);
    }
}

static void test_text(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(TPM_FAIL(TPM_RUNNING, 0x918, "NV_Read of W", &err), RC_HALT_CANARY);
    assert_int_equal(err.rc, RC_HALT_CANARY);
    assert_string_equal(err.origin, "tss2");
    assert_int_equal(err.native, 0x918);
    assert_string_equal(err.where, "test_text");
    assert_true(strncmp(err.text, "NV_Read of W: ", 14) == 0);
    assert_true(strlen(err.text) > 20);
}

/* A TPM drops zero bytes at the end of an authorisation value; so must we. */
static void test_auth_set(void **state)
{
    (void)state;
    TPM2B_AUTH auth;
    tpm_auth_set(&auth, (const uint8_t *)"\1\0\2\0\0", 5);
    assert_int_equal(auth.size, 3);
    tpm_auth_set(&auth, (const uint8_t *)"\0\0", 2);
    assert_int_equal(auth.size, 0);
    tpm_auth_set(&auth, NULL, 0);
    assert_int_equal(auth.size, 0);
}

static void test_clock(void **state)
{
    (void)state;
    const struct tpm_time last = {.clock_ms = 1000, .reset_count = 5, .restart_count = 7};
    struct tpm_time now = last;
    assert_int_equal(anchor_check_clock(&last, &now, NULL), RC_OK);
    now.clock_ms = 1001;
    now.safe = true;
    assert_int_equal(anchor_check_clock(&last, &now, NULL), RC_OK);
    now.clock_ms = 999;
    assert_int_equal(anchor_check_clock(&last, &now, NULL), RC_HALT_CANARY);
    for (int delta = -1; delta <= 1; delta += 2) {
        now = (struct tpm_time){.clock_ms = 2000, .reset_count = 5, .restart_count = 7};
        now.reset_count += (uint32_t)delta;
        assert_int_equal(anchor_check_clock(&last, &now, NULL), RC_HALT_CANARY);
        now.reset_count = 5;
        now.restart_count += (uint32_t)delta;
        assert_int_equal(anchor_check_clock(&last, &now, NULL), RC_HALT_CANARY);
    }
}

static void test_makers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool is_virtual, keeps_writes;
    } makers[] = {
        {"IFX", false, true},   {"STM", false, true},   {"NTC", false, true},
        {"NTZ", false, true},   {"NSG", false, true},   {"ATML", false, true},
        {"WEC", false, true},   {"SEAL", false, true},  {"AMD", false, false},
        {"INTC", false, false}, {"QCOM", false, false}, {"IBM", true, false},
        {"MSFT", true, false},  {"VMW", true, false},   {"GOOG", true, false},
        {"AMZN", true, false},  {"SIM0", true, false},  {"SIM3", true, false},
        {"", true, false},      {"IF", true, false},    {"ifx", true, false},
        {"ZZZZ", true, false},
    };
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        struct tpm_identity id = {.is_virtual = !makers[i].is_virtual,
                                  .keeps_writes = !makers[i].keeps_writes};
        memcpy(id.manufacturer, makers[i].name, strlen(makers[i].name));
        tpm_judge_maker(&id, "device:/dev/tpmrm0");
        assert_int_equal(id.is_virtual, makers[i].is_virtual);
        assert_int_equal(id.keeps_writes, makers[i].keeps_writes);
        tpm_judge_maker(&id, "swtpm:host=127.0.0.1,port=2321"); /* a program that tells stories */
        assert_true(id.is_virtual);
        assert_false(id.keeps_writes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_troubles),
        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_firmware_text),
        cmocka_unit_test(test_codes_of_phases),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_dead),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_auth_set),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_makers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
