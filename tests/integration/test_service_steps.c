/*
 * recover and advance-window with a slow TPM and many windows to pass: SIGTERM ends them between
 * two steps with a message that says what is done and what comes next, the same command goes on
 * from there, and the service starts and signs behind it.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/text.h"
#include "lib/evidence.h"
#include "lib/tpmproxy.h"

#define WINDOW_S 600
#define FAR 200 /* windows; at the pace of the proxy none of this ends in less than a minute */
#define BEFORE_SIGNAL 6
#define CC_NV_INCREMENT 0x134
#define PLAN                                                                                       \
    "{'tidemark_plan':1,'key':'nightly','profile':'sp800-208','scheme':'lms','parameters':["       \
    "'LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W2'],'assignment':{'kind':'time','start':'%s',"        \
    "'window':'PT10M','signatures_per_window':4,'lease_size':1}}"

static bool fake;
static struct clocks clocks;
static struct service s;
static struct tpmproxy proxy;

/* It is the middle of window 1. */
static void make(const char *name)
{
    char start[RFC3339_SIZE];
    char plan[512];
    struct timespec now = {0};
    service_make(&s, name, &clocks, NULL);
    assert_true(tpmproxy_start(&proxy, &s.tpm));
    (void)snprintf(s.tpm.tcti, sizeof(s.tpm.tcti), "%s", proxy.tcti);
    service_configure(&s, NULL);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    rfc3339_print(start, now.tv_sec + clocks.shift_s - WINDOW_S - WINDOW_S / 2);
    (void)snprintf(plan, sizeof(plan), PLAN, start);
    service_key(&s, plan);
}

/* Answers to steps of a counter come late; the first few are on time, so that some are done. */
static void slow_down(void)
{
    const struct tpm_fault late = {.kind = FAULT_DELAY,
                                   .command = CC_NV_INCREMENT,
                                   .at = BEFORE_SIGNAL,
                                   .times = 1000000,
                                   .rc = 400};
    tpmproxy_set(&proxy, &late);
}

static bool late(void *ctx)
{
    return tpmproxy_reached(ctx);
}

static void end(void)
{
    tpmproxy_stop(&proxy);
    service_end(&s);
}

static int64_t floor_now(void)
{
    struct answer a;
    assert_int_equal(service_get(&s, &a, "/v1/keys/nightly"), 200);
    int64_t floor = answer_number(&a, "windows.floor");
    client_done(&a);
    return floor;
}

static void recovery_is_stopped_and_gone_on_with(void **state)
{
    (void)state;
    char out[TOOL_OUT];
    make("recover");
    slow_down();
    int code = service_tool_ended(&s, SIGTERM, out, late, &proxy,
                                  "recover --key nightly --acknowledged-through %d --yes", FAR - 1);
    if (code != 6 || strstr(out, "stopped: ") == NULL ||
        strstr(out, "of 200 steps of the TPM's counters are done") == NULL ||
        strstr(out, "the same command goes on from here") == NULL)
        fail_msg("%d: %s", code, out);
    tpmproxy_set(&proxy, NULL);
    /* It has done some steps and not all, and what was named stays closed. */
    struct answer a;
    service_start(&s);
    int64_t floor = floor_now();
    assert_in_range(floor, 1, FAR - 1);
    wait_sign_window(&s, &a, "nightly", "one", "one", 409);
    expect_problem(&a, 409, "window-not-open");
    client_done(&a);
    service_stop(&s);
    assert_int_equal(
        service_tool(&s, out, "recover --key nightly --acknowledged-through %d --yes", FAR - 1), 0);
    assert_non_null(strstr(out, "starts again in window 200"));
    service_start(&s);
    assert_int_equal(floor_now(), FAR);
    service_stop(&s);
    end();
}

/* Nobody signed for a hundred windows; then the next one is wanted early. */
static void advance_is_stopped_and_gone_on_with(void **state)
{
    (void)state;
    char out[TOOL_OUT];
    char passphrase[LAB_PATH], file[LAB_PATH + 16], command[512];
    struct answer a;
    if (!fake)
        return; /* clocks_can_be_faked() has said so */
    make("advance");
    clocks_shift(&clocks, clocks.shift_s + (FAR - 1) * WINDOW_S);
    (void)snprintf(passphrase, sizeof(passphrase), "%s/passphrase", lab_dir());
    (void)snprintf(file, sizeof(file), "%s/far.backup", lab_dir());
    assert_int_equal(lab_shell("echo 'correct horse battery staple' >'%s'", passphrase), 0);
    assert_int_equal(service_tool(&s, NULL,
                                  "backup export --key nightly --through %d --out '%s' "
                                  "--passphrase-file '%s'",
                                  FAR + 1, file, passphrase),
                     0);
    assert_int_equal(
        service_tool(&s, NULL, "backup check '%s' --passphrase-file '%s'", file, passphrase), 0);
    (void)snprintf(command, sizeof(command),
                   "advance-window --key nightly --window %d --acknowledged-export '%s' "
                   "--reason 'A. Smith' --yes",
                   FAR + 1, file);
    slow_down();
    int code = service_tool_ended(&s, SIGTERM, out, late, &proxy, "%s", command);
    if (code != 6 || strstr(out, "of 201 steps") == NULL ||
        strstr(out, "nothing was approved") == NULL)
        fail_msg("%d: %s", code, out);
    tpmproxy_set(&proxy, NULL);
    assert_int_equal(service_tool(&s, out, "%s", command), 0);
    service_start(&s);
    assert_int_equal(floor_now(), FAR + 1);
    wait_sign_window(&s, &a, "nightly", "early", "early", 201);
    assert_int_equal(answer_number(&a, "window"), FAR + 1);
    client_done(&a);
    service_stop(&s);
    end();
}

static int start_clocks(void **state)
{
    (void)state;
    fake = clocks_can_be_faked();
    clocks_start(&clocks, "steps", fake);
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
    int unable = lab_open();
    if (unable != 0)
        return unable;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recovery_is_stopped_and_gone_on_with),
        cmocka_unit_test(advance_is_stopped_and_gone_on_with),
    };
    return cmocka_run_group_tests(tests, start_clocks, stop_clocks);
}
