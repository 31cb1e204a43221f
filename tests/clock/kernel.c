/*
 * The anchored clock in a kernel of its own: a real chronyd that steps and slews its clock, between
 * servers that lie; and root, who sets it. The cases U of docs/clock.md.
 *
 * Never run it on a machine whose clock matters: tests/clock/uml.sh starts each case in a user-mode
 * Linux. It refuses any other kernel.
 *
 * kernel --list: names of the cases; kernel NAME: that one.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "lib/clock_bench.h"

#define ALL 0, SERVERS - 1
#define WINDOW_S 20
#define MIDNIGHT_S INT64_C(1798761600) /* at the end of 31 December 2026 */

/* chronyd follows its servers at once, as most hosts are set up; rtcsync makes the kernel a
 * witness. */
#define OBEDIENT "makestep 1 -1\nrtcsync"

static int kernel_start(void **state)
{
    if (bench_start(state) != 0)
        return -1;
    struct bench *b = *state;
    b->control = true;
    b->policy.kernel_witness = true;
    b->tolerance.raw_ppm = 200;
    return 0;
}

static void set_clock(int64_t ns)
{
    const struct timespec t = {.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
    assert_int_equal(clock_settime(CLOCK_REALTIME, &t), 0);
}

static int64_t system_ns(const struct bench *b)
{
    return b->time.real_ns(b->time.ctx);
}

/* How far the system clock is ahead of the truth. */
static int64_t ahead_ns(const struct bench *b)
{
    return system_ns(b) - liar_true_ns();
}

static void expect_near(const struct bench *b, int64_t ahead_by_ns, int64_t tolerance_ns)
{
    int64_t apart = ahead_ns(b) - ahead_by_ns;
    if (apart > tolerance_ns || apart < -tolerance_ns)
        fail_msg("the system clock is %" PRId64 " ms ahead instead of %" PRId64, ahead_ns(b) / MS,
                 ahead_by_ns / MS);
}

/* The window of WINDOW_S that the reading lies in, or -1. */
static int64_t window_of(const struct bench *b, int64_t *wait_ms)
{
    int64_t window = b->r.earliest_ns / SECOND / WINDOW_S;
    int64_t start_s = window * WINDOW_S;
    return clk_inside(&b->r, &b->policy, start_s, start_s + WINDOW_S, wait_ms) ? window : -1;
}

/* chronyd ---------------------------------------------------------------------------------------
 */

static void case_06_local_clock_only(void **state)
{
    struct bench *b = *state;
    observe(b, "local stratum 3\nrtcsync");
    int64_t begin = raw_now_ns();
    do {
        stays_shut(b, 1);
        assert_true(raw_now_ns() - begin < PATIENCE_MS * MS);
    } while ((b->r.reasons & CLK_REASON(CLK_LOCAL_REF)) == 0);
    assert_int_equal(b->sample.evidence.tracking.leap, 0); /* it sees no trouble */
    stays_shut(b, 30);
    expect_reason(b, CLK_REASON(CLK_LOCAL_REF));
}

static void case_10_one_of_three_lies(void **state)
{
    struct bench *b = *state;
    observe_servers(b, OBEDIENT);
    until(b, CLK_SYNCED);
    tell_offset(b, 2, 2, 30 * SECOND);
    stays_right(b, 80);
    expect_near(b, 0, 250 * MS);
}

/* The lines about trust of what we ship, without its sources and ports. */
static void shipped_lines(char *out, size_t cap)
{
    assert_int_equal(run("grep -E '^(maxdistance|maxclockerror|maxdrift|maxslewrate|makestep|"
                         "maxchange|rtcsync|logchange)' '%s/etc/chrony/tidemark.conf' >'%s/lines'",
                         SRCDIR, bench_dir),
                     0);
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/lines", bench_dir);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t len = fread(out, 1, cap - 1, f);
    (void)fclose(f);
    assert_in_range(len, 80, cap - 2);
    (void)snprintf(out + len, cap - len, "minsources 2");
}

static void case_11_majority_lies_to_our_configuration(void **state)
{
    struct bench *b = *state;
    char lines[512];
    shipped_lines(lines, sizeof(lines));
    b->tolerance.raw_ppm = 1000; /* four minutes of holdover */
    observe_servers(b, lines);
    until(b, CLK_SYNCED);
    stays_right(b, 20); /* past the updates in which chronyd may still step */
    tell_offset(b, 0, 1, 30 * SECOND);
    until(b, CLK_HOLDOVER);
    stays_right(b, 20);
    assert_true(log_says("observer", "(ignored)"));
    expect_near(b, 0, 100 * MS);
    tell_offset(b, 0, 1, 0);
    until(b, CLK_SYNCED);
    expect_near(b, 0, 100 * MS);
}

/* Forward -------------------------------------------------------------------------------------- */

static void cases_12_13_jump_and_withdrawal(void **state)
{
    struct bench *b = *state;
    observe_servers(b, OBEDIENT);
    until(b, CLK_SYNCED);
    clk_commit(&b->machine, &b->r);
    int64_t floor = b->machine.memory.floor_ns;
    tell_offset(b, ALL, 3600 * SECOND);
    until(b, CLK_QUARANTINE_FWD);
    expect_reason(b, CLK_REASON(CLK_FORWARD));
    expect_near(b, 3600 * SECOND, SECOND); /* chronyd did step */
    int64_t skipped_s = (b->v.quarantine.to_ns - b->v.quarantine.from_ns) / SECOND;
    assert_in_range(skipped_s, 3595, 3600);
    uint64_t id = b->v.quarantine.id;
    stays_shut(b, 30);
    assert_int_equal(b->v.mode, CLK_QUARANTINE_FWD);
    assert_int_equal(b->v.quarantine.id, id);
    assert_true(b->machine.memory.floor_ns == floor);

    tell_offset(b, ALL, 0);
    until(b, CLK_SYNCED);
    expect_near(b, 0, 250 * MS);
    assert_int_equal(b->v.quarantine.id, 0);
    assert_true(b->machine.memory.floor_ns == floor);
    stays_right(b, 10);
}

/* Whoever signs on the way has a clock that is ahead by no more than the tolerance, what the first
 * fix was wide, and what the raw clock may be off. */
static void drag(struct bench *b, double rate, int64_t forward_ms)
{
    b->tolerance.max_forward_ms = forward_ms;
    b->patience_ms = 150000;
    observe_servers(b, OBEDIENT);
    until(b, CLK_SYNCED);
    b->lead_ns =
        forward_ms * MS + 2 * b->r.error_ns + b->patience_ms * MS / 1000000 * b->tolerance.raw_ppm;
    struct lies fast = liar_honest();
    fast.rate = rate;
    tell(b, ALL, &fast);
    until(b, CLK_QUARANTINE_FWD);
    expect_reason(b, CLK_REASON(CLK_DRAG));
    print_message("%" PRId64 " ms ahead, chronyd claims an error of %" PRId64 " ms at most\n",
                  ahead_ns(b) / MS, b->r.error_ns / MS);
    assert_true(b->r.error_ns < forward_ms * MS); /* chronyd has not noticed */
    /* Right at the limit a wider bound may bring the evidence back inside for a moment. */
    for (unsigned i = 0; i < 50; i++) {
        look_at_truth(b);
        pause_ms(LOOK_MS);
    }
}

static void case_17_drag_of_a_hundredth(void **state)
{
    drag(*state, 0.01, 300);
}

static void case_17_drag_of_a_thousandth(void **state)
{
    drag(*state, 0.001, 25);
}

/* Root ----------------------------------------------------------------------------------------- */

static void case_19_set_by_root(void **state)
{
    struct bench *b = *state;
    observe_servers(b, OBEDIENT);
    until(b, CLK_SYNCED);
    for (int64_t jump_s = -3600; jump_s <= 3600; jump_s += 7200) {
        set_clock(system_ns(b) + jump_s * SECOND);
        look(b);
        assert_int_equal(b->v.mode, CLK_UNSYNCED);
        expect_reason(b, CLK_REASON(CLK_STEP));
        expect_reason(b, CLK_REASON(CLK_KERNEL_UNSYNC));
        assert_true(b->sample.stepped);
        set_clock(liar_true_ns());
        until(b, CLK_SYNCED);
    }
    /* Set and set back between two looks: no clock shows it, the kernel's timer does. */
    int64_t before = raw_now_ns();
    set_clock(system_ns(b) + 10 * SECOND);
    set_clock(system_ns(b) - 10 * SECOND + (raw_now_ns() - before) / 2);
    look(b);
    assert_true(b->sample.stepped);
    assert_int_equal(b->v.mode, CLK_UNSYNCED);
    expect_reason(b, CLK_REASON(CLK_STEP));
    until(b, CLK_SYNCED);
}

/* Root sets the clock back, the sources say so, too: only time mends that. */
static void case_20_back_with_chronyd(void **state)
{
    struct bench *b = *state;
    struct err err = {0};
    const int64_t back_ns = 20 * SECOND;
    observe_servers(b, OBEDIENT);
    until(b, CLK_SYNCED);
    clk_commit(&b->machine, &b->r);
    int64_t floor = b->machine.memory.floor_ns;
    int64_t begin = raw_now_ns();
    set_clock(system_ns(b) - back_ns);
    tell_offset(b, ALL, -back_ns);
    b->lag_ns = back_ns;
    until(b, CLK_REFUSED_BACK);
    expect_reason(b, CLK_REASON(CLK_BACKWARD));
    const struct clk_acknowledgement words = {.id = b->v.quarantine.id,
                                              .utc_s = system_ns(b) / SECOND,
                                              .shown_raw_ns = b->sample.evidence.raw_ns};
    assert_int_equal(clk_acknowledge(&b->machine, &words, &b->r, 0, &err), RC_REFUSED_INPUT);
    until(b, CLK_SYNCED);
    assert_true(raw_now_ns() - begin >= back_ns - 500 * MS);
    assert_true(b->r.earliest_ns >= floor);
}

/* Edges ---------------------------------------------------------------------------------------- */

/* Announced, waited for, there: never before the guard is over, and never much later. */
static void case_31_window_edges(void **state)
{
    struct bench *b = *state;
    observe_servers(b, OBEDIENT);
    until(b, CLK_SYNCED);
    for (int i = 0; i < 2; i++) {
        look_at_truth(b);
        int64_t next_s = (b->r.latest_ns / SECOND / WINDOW_S + 1) * WINDOW_S;
        int64_t wait_ms = 0;
        assert_false(clk_inside(&b->r, &b->policy, next_s, next_s + WINDOW_S, &wait_ms));
        assert_in_range(wait_ms, 1, (WINDOW_S + 3) * 1000);
        for (int again = 0; wait_ms > 0; again++) {
            assert_true(again == 0 || wait_ms <= b->policy.max_error_ms);
            pause_ms((unsigned)wait_ms);
            until(b, CLK_SYNCED);
            bool inside = clk_inside(&b->r, &b->policy, next_s, next_s + WINDOW_S, &wait_ms);
            assert_true(inside == (wait_ms == 0));
        }
        assert_int_equal(wait_ms, 0);
        assert_true(b->after_ns >= (next_s * 1000 + b->policy.guard_ms) * MS);
        assert_int_equal(window_of(b, &wait_ms), next_s / WINDOW_S);
        /* In the guard in front of the next edge nothing is open. */
        while (liar_true_ns() < (next_s + WINDOW_S) * SECOND - b->policy.guard_ms * MS)
            pause_ms(LOOK_MS);
        do {
            look_at_truth(b);
            assert_true(window_of(b, &wait_ms) < 0 ||
                        b->before_ns >= (next_s + WINDOW_S) * SECOND + b->policy.guard_ms * MS);
            pause_ms(LOOK_MS);
        } while (liar_true_ns() < (next_s + WINDOW_S) * SECOND);
    }
}

static int new_years_eve(void **state)
{
    set_clock((MIDNIGHT_S - 25) * SECOND);
    liar_set_true_ns((MIDNIGHT_S - 25) * SECOND);
    return kernel_start(state);
}

/* A window begins at midnight, and the kernel says its last second twice. How long it takes until
 * chronyd has measured anew depends on the machine. */
static void case_34_leap_second_at_an_edge(void **state)
{
    struct bench *b = *state;
    struct lies leap = liar_honest();
    leap.leap = 1;
    leap.leap_at_ns = MIDNIGHT_S * SECOND;
    tell(b, ALL, &leap);
    b->lag_ns = SECOND; /* the truth counts the second once */
    b->policy.max_age_s = 60;
    observe_servers(b, OBEDIENT);
    until(b, CLK_SYNCED);
    assert_true(liar_true_ns() < (MIDNIGHT_S - 5) * SECOND);
    int64_t last = 0;
    unsigned shut = 0;
    bool stepped = false;
    /* Into the window that begins at midnight, or one behind it, and on for some seconds. */
    for (unsigned looks = 0; looks < 50; looks += last >= MIDNIGHT_S / WINDOW_S ? 1 : 0) {
        int64_t wait_ms = 0;
        look_at_truth(b);
        stepped = stepped || b->sample.stepped;
        shut += b->r.safe ? 0 : 1;
        int64_t window = window_of(b, &wait_ms);
        if (window >= 0) {
            assert_true(window >= last);
            last = window;
            clk_commit(&b->machine, &b->r);
        }
        assert_true(liar_true_ns() < (MIDNIGHT_S + 2 * PATIENCE_MS / 1000) * SECOND);
        pause_ms(LOOK_MS);
    }
    assert_true(stepped);
    assert_true(shut > 0);
    expect_near(b, -SECOND, 250 * MS);
}

/* chronyd dies while it slews by 10 s: the kernel goes on at that rate, and says that all is well.
 */
static void case_36_killed_in_mid_slew(void **state)
{
    struct bench *b = *state;
    struct lies vague = liar_honest();
    vague.root_dispersion_s = 0.1;
    tell(b, ALL, &vague);
    observe_servers(b, "rtcsync\nmaxslewrate 80000");
    until(b, CLK_SYNCED);
    vague.offset_ns = 10 * SECOND;
    tell(b, ALL, &vague);
    int64_t begin = raw_now_ns();
    while (ahead_ns(b) < 20 * MS) {
        look_at_truth(b);
        assert_true(raw_now_ns() - begin < PATIENCE_MS * MS);
        pause_ms(10);
    }
    assert_int_equal(kill(b->chronyd[0], SIGKILL), 0);
    assert_int_equal(waitpid(b->chronyd[0], NULL, 0), b->chronyd[0]);
    b->chronyd[0] = 0;
    look_at_truth(b);
    while (b->r.safe) {
        assert_int_equal(b->v.mode, CLK_HOLDOVER);
        assert_true(b->sample.evidence.real_ns - b->before_ns < b->policy.max_error_ms * MS);
        assert_true(raw_now_ns() - begin < 2 * PATIENCE_MS * MS);
        pause_ms(10);
        look_at_truth(b);
    }
    assert_int_equal(b->v.mode, CLK_UNSYNCED);
    int64_t ahead = ahead_ns(b);
    pause_ms(3000);
    look(b);
    assert_true(ahead_ns(b) > ahead + 100 * MS); /* it does run away */
    assert_false(b->sample.evidence.kernel_unsync);
    print_message("%" PRId64 " ms ahead; the kernel does not say that it is unsynchronised\n",
                  ahead_ns(b) / MS);
    assert_int_equal(b->v.mode, CLK_UNSYNCED);
}

/* ---------------------------------------------------------------------------------------------- */

#define KERNEL(f) cmocka_unit_test_setup_teardown(f, kernel_start, bench_stop)

static const struct CMUnitTest tests[] = {
    KERNEL(case_06_local_clock_only),
    KERNEL(case_10_one_of_three_lies),
    KERNEL(case_11_majority_lies_to_our_configuration),
    KERNEL(cases_12_13_jump_and_withdrawal),
    KERNEL(case_17_drag_of_a_hundredth),
    KERNEL(case_17_drag_of_a_thousandth),
    KERNEL(case_19_set_by_root),
    KERNEL(case_20_back_with_chronyd),
    KERNEL(case_31_window_edges),
    cmocka_unit_test_setup_teardown(case_34_leap_second_at_an_edge, new_years_eve, bench_stop),
    KERNEL(case_36_killed_in_mid_slew),
};

/* A user-mode Linux says so in /proc/cpuinfo and nowhere else. */
static bool own_kernel(void)
{
    return run("grep -q '^model name.*UML' /proc/cpuinfo") == 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
            (void)printf("%s\n", tests[i].name);
        return 0;
    }
    if (!own_kernel()) {
        (void)fprintf(stderr, "this sets clocks: start it through tests/clock/uml.sh\n");
        return 2;
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, bench_group_start, bench_group_stop);
}
