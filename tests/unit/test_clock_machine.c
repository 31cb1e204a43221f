/*
 * The anchored clock as a pure function: a host whose true time, system clock, raw clock, TPM clock
 * and sources are moved by hand. Cases carry the numbers of docs/clock.md.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/text.h"
#include "clock/machine.h"

#define SECOND INT64_C(1000000000)
#define MS INT64_C(1000000)
#define HOUR 3600
#define DAY 86400
#define NOW_S INT64_C(1796515200) /* 2026-12-06 */

static const struct clk_policy policy = {.address = "127.0.0.1",
                                         .port = 323,
                                         .max_error_ms = 250,
                                         .max_age_s = 512,
                                         .max_stratum = 4,
                                         .warmup = 3,
                                         .guard_ms = 2000,
                                         .kernel_witness = true};
static const struct clk_tolerance tolerance = {
    .raw_ppm = 200, .max_forward_ms = 2000, .max_offline_s = 2 * DAY};

/* The host and what is wrong with it. */
struct host {
    int64_t true_ns;
    int64_t real_off_ns; /* system clock - true time */
    int64_t raw_ns, asleep_ns;
    int64_t source_off_ns; /* what the sources say - true time; chronyd follows at once */
    int64_t raw_ppm;       /* of the crystal */
    int64_t ref_ns;        /* last update, system time */
    int64_t error_ns;
    bool dead, no_source, local, kernel_unsync, stepped;
    struct clk_tpm tpm;
    struct clk_machine machine;
    struct clk_reading reading;
    struct clk_verdict verdict;
};

static struct host host_at(int64_t now_s)
{
    struct clk_memory none = {0};
    struct host h = {.true_ns = now_s * SECOND,
                     .raw_ns = 1000 * SECOND,
                     .error_ns = 5 * MS,
                     .tpm = {.read = true, .safe = true, .clock_ms = 5000000}};
    clk_machine_init(&h.machine, &none);
    return h;
}

static int64_t real_of(const struct host *h)
{
    return h->true_ns + h->real_off_ns;
}

/* Time goes on for everything that runs. */
static void pass_ns(struct host *h, int64_t ns)
{
    h->true_ns += ns;
    h->raw_ns += ns + ns / 1000000 * h->raw_ppm;
    h->tpm.clock_ms += (uint64_t)(ns / MS);
    h->tpm.raw_ns = h->raw_ns;
}

static void look(struct host *h)
{
    struct clk_sample s = {
        .evidence = {.real_ns = real_of(h),
                     .raw_ns = h->raw_ns,
                     .replied = !h->dead,
                     .tracking = {.ref_id = h->local ? 0x7f7f0101 : 0xc0000201,
                                  .stratum = 2,
                                  .ref_time_ns = h->ref_ns,
                                  .root_dispersion_s = (double)h->error_ns / 1e9},
                     .kernel_asked = true,
                     .kernel_unsync = h->kernel_unsync,
                     .kernel_maxerror_us = 1000},
        .mono_ns = h->raw_ns,
        .boot_ns = h->raw_ns + h->asleep_ns,
        .stepped = h->stepped,
        .tpm = h->tpm};
    if (h->no_source)
        s.evidence.tracking.leap = 3;
    clk_step(&h->machine, &policy, &tolerance, &s, &h->reading, &h->verdict);
    h->stepped = false;
}

/* A second passes, the sources are asked, chronyd follows them, and the machine looks. */
static void tick(struct host *h)
{
    pass_ns(h, SECOND);
    if (!h->dead && !h->no_source) {
        h->real_off_ns = h->source_off_ns;
        h->ref_ns = real_of(h);
    }
    look(h);
}

static void ticks(struct host *h, int n)
{
    for (int i = 0; i < n; i++)
        tick(h);
}

/* Seconds in which chronyd hears from nobody. */
static void silence(struct host *h, int n)
{
    for (int i = 0; i < n; i++) {
        pass_ns(h, SECOND);
        look(h);
    }
}

static void expect(const struct host *h, enum clk_mode mode, uint32_t reasons)
{
    char seen[CLK_REASONS_SIZE];
    char wanted[CLK_REASONS_SIZE];
    clk_reasons_print(h->reading.reasons, seen, sizeof(seen));
    clk_reasons_print(reasons, wanted, sizeof(wanted));
    assert_string_equal(clk_mode_name(h->verdict.mode), clk_mode_name(mode));
    assert_string_equal(seen, wanted);
    assert_true(h->reading.safe == (mode == CLK_SYNCED || mode == CLK_HOLDOVER));
    if (h->reading.safe && h->source_off_ns == 0) {
        assert_true(h->reading.earliest_ns <= h->true_ns);
        assert_true(h->reading.latest_ns >= h->true_ns);
    }
}

static struct host synced(void)
{
    struct host h = host_at(NOW_S);
    ticks(&h, 3);
    expect(&h, CLK_SYNCED, 0);
    return h;
}

/* The next process on this host, with what was written down. */
static void restart(struct host *h, const struct clk_memory *memory)
{
    clk_machine_init(&h->machine, memory);
    h->raw_ns = 50 * SECOND;
    h->tpm.raw_ns = h->raw_ns;
}

/* Evidence ---------------------------------------------------------------------------------------
 */

static void cases_01_03_06_no_evidence(void **state)
{
    (void)state;
    struct host h = host_at(NOW_S);
    h.dead = true;
    look(&h);
    expect(&h, CLK_UNSYNCED, CLK_REASON(CLK_NO_REPLY));
    h.dead = false;
    h.no_source = true;
    look(&h);
    expect(&h, CLK_UNSYNCED, CLK_REASON(CLK_LEAP3));
    h.no_source = false;
    h.local = true;
    h.ref_ns = real_of(&h);
    look(&h);
    expect(&h, CLK_UNSYNCED, CLK_REASON(CLK_LOCAL_REF));
}

static void case_04_warm_up(void **state)
{
    (void)state;
    struct host h = host_at(NOW_S);
    ticks(&h, 2);
    expect(&h, CLK_UNSYNCED, CLK_REASON(CLK_WARMUP));
    tick(&h);
    expect(&h, CLK_SYNCED, 0);
}

static void case_05_bound_too_wide(void **state)
{
    (void)state;
    struct host h = host_at(NOW_S);
    h.error_ns = 800 * MS;
    ticks(&h, 5);
    expect(&h, CLK_UNSYNCED, CLK_REASON(CLK_ERR_BIG));
}

/* 7: SYNCED until max_age, then HOLDOVER until the width is too much, then UNSYNCED. */
static void case_07_sources_lost(void **state)
{
    (void)state;
    struct host h = synced();
    silence(&h, 510);
    expect(&h, CLK_SYNCED, 0);
    silence(&h, 10);
    expect(&h, CLK_HOLDOVER, 0);
    int64_t width = h.reading.latest_ns - h.reading.earliest_ns;
    silence(&h, 100);
    expect(&h, CLK_HOLDOVER, 0);
    assert_true(h.reading.latest_ns - h.reading.earliest_ns > width);
    /* (250 ms - 5 ms) / 200 ppm = 1225 s after the last update. */
    silence(&h, 1220 - 610);
    expect(&h, CLK_HOLDOVER, 0);
    silence(&h, 520);
    expect(&h, CLK_UNSYNCED, CLK_REASON(CLK_STALE));
    ticks(&h, 3);
    expect(&h, CLK_SYNCED, 0);
}

static void case_02_36_chronyd_dies(void **state)
{
    (void)state;
    struct host h = synced();
    h.dead = true;
    silence(&h, 60);
    expect(&h, CLK_HOLDOVER, 0);
    /* Killed in mid-slew: the system clock runs 1 % fast and nobody corrects it. */
    for (int i = 0; i < 60 && h.verdict.mode == CLK_HOLDOVER; i++) {
        pass_ns(&h, SECOND);
        h.real_off_ns += SECOND / 100;
        look(&h);
    }
    expect(&h, CLK_UNSYNCED, CLK_REASON(CLK_NO_REPLY));
    assert_true(h.real_off_ns < 250 * MS);
}

static void case_18_honest_crystal(void **state)
{
    (void)state;
    for (int64_t ppm = -100; ppm <= 100; ppm += 200) {
        struct host h = synced();
        h.raw_ppm = ppm;
        for (int i = 0; i < DAY; i++) {
            tick(&h);
            expect(&h, CLK_SYNCED, 0);
        }
    }
}

static void case_19_set_by_root(void **state)
{
    (void)state;
    for (int64_t jump = -HOUR; jump <= HOUR; jump += 2 * HOUR) {
        struct host h = synced();
        h.real_off_ns = jump * SECOND;
        h.stepped = true;
        h.kernel_unsync = true;
        look(&h);
        assert_int_equal(h.verdict.mode, CLK_UNSYNCED);
        assert_true(h.reading.reasons & CLK_REASON(CLK_STEP));
        /* Step and correction between two samples: the timer tells all the same. */
        struct host quick = synced();
        quick.stepped = true;
        look(&quick);
        expect(&quick, CLK_UNSYNCED, CLK_REASON(CLK_STEP));
        tick(&quick);
        expect(&quick, CLK_UNSYNCED, CLK_REASON(CLK_WARMUP));
        ticks(&quick, 2);
        expect(&quick, CLK_SYNCED, 0);
    }
}

/* Forward ----------------------------------------------------------------------------------------
 */

static void cases_12_13_jump_and_withdrawal(void **state)
{
    (void)state;
    struct host h = synced();
    clk_commit(&h.machine, &h.reading);
    int64_t floor = h.machine.memory.floor_ns;
    h.source_off_ns = HOUR * SECOND;
    ticks(&h, 5);
    expect(&h, CLK_QUARANTINE_FWD, CLK_REASON(CLK_FORWARD));
    assert_int_equal(h.machine.memory.floor_ns, floor);
    uint64_t id = h.verdict.quarantine.id;
    assert_true(id != 0);
    ticks(&h, 1000);
    assert_int_equal(h.verdict.quarantine.id, id); /* time that goes on is the same jump */
    h.source_off_ns = 0;
    ticks(&h, 4);
    expect(&h, CLK_SYNCED, 0);
    assert_int_equal(h.verdict.quarantine.id, 0);
}

static struct host jumped(void)
{
    struct host h = synced();
    h.source_off_ns = HOUR * SECOND;
    ticks(&h, 5);
    expect(&h, CLK_QUARANTINE_FWD, CLK_REASON(CLK_FORWARD));
    return h;
}

static struct clk_acknowledgement right_words(const struct host *h)
{
    return (struct clk_acknowledgement){.id = h->verdict.quarantine.id,
                                        .utc_s = real_of(h) / SECOND,
                                        .windows = 180,
                                        .shown_raw_ns = h->raw_ns - 60 * SECOND};
}

static void case_14_wrong_acknowledgements(void **state)
{
    (void)state;
    struct host h = jumped();
    struct err err = {0};
    struct clk_acknowledgement ack = right_words(&h);
    ack.id++;
    assert_int_equal(clk_acknowledge(&h.machine, &ack, &h.reading, 180, &err), RC_REFUSED_INPUT);
    ack = right_words(&h);
    ack.windows = 179;
    assert_int_equal(clk_acknowledge(&h.machine, &ack, &h.reading, 180, &err), RC_REFUSED_INPUT);
    for (int64_t apart = -61; apart <= 61; apart += 122) {
        ack = right_words(&h);
        ack.utc_s += apart;
        assert_int_equal(clk_acknowledge(&h.machine, &ack, &h.reading, 180, &err),
                         RC_REFUSED_INPUT);
    }
    ack = right_words(&h);
    ack.shown_raw_ns = h.raw_ns - 601 * SECOND;
    assert_int_equal(clk_acknowledge(&h.machine, &ack, &h.reading, 180, &err), RC_REFUSED_INPUT);
    ack.shown_raw_ns = h.raw_ns + SECOND;
    assert_int_equal(clk_acknowledge(&h.machine, &ack, &h.reading, 180, &err), RC_REFUSED_INPUT);
    tick(&h);
    expect(&h, CLK_QUARANTINE_FWD, CLK_REASON(CLK_FORWARD));
    /* And where there is nothing to acknowledge. */
    struct host calm = synced();
    ack.id = 0;
    assert_int_equal(clk_acknowledge(&calm.machine, &ack, &calm.reading, 180, &err),
                     RC_REFUSED_INPUT);
}

static void case_15_acknowledged(void **state)
{
    (void)state;
    struct host h = jumped();
    struct err err = {0};
    struct clk_acknowledgement ack = right_words(&h);
    assert_int_equal(clk_acknowledge(&h.machine, &ack, &h.reading, 180, &err), RC_OK);
    tick(&h); /* asking changed nothing */
    expect(&h, CLK_QUARANTINE_FWD, CLK_REASON(CLK_FORWARD));
    clk_release(&h.machine);
    tick(&h);
    expect(&h, CLK_SYNCED, 0);
    /* A second jump is another one. */
    uint64_t id = ack.id;
    h.source_off_ns = 2 * HOUR * SECOND;
    ticks(&h, 4);
    expect(&h, CLK_QUARANTINE_FWD, CLK_REASON(CLK_FORWARD));
    assert_int_not_equal(h.verdict.quarantine.id, id);
}

static void case_16_latched(void **state)
{
    (void)state;
    struct host h = jumped();
    h.dead = true;
    silence(&h, 3000);
    assert_int_equal(h.verdict.mode, CLK_QUARANTINE_FWD);
    h.dead = false;
    ticks(&h, 4);
    expect(&h, CLK_QUARANTINE_FWD, CLK_REASON(CLK_FORWARD));
    struct clk_memory memory = h.machine.memory;
    memory.seen_ns = NOW_S * SECOND; /* a jump of an hour is within what an outage may last */
    restart(&h, &memory);
    ticks(&h, 5);
    expect(&h, CLK_QUARANTINE_FWD, CLK_REASON(CLK_FORWARD));
    assert_int_equal(h.verdict.quarantine.id, memory.quarantine.id);
    /* Until the evidence speaks of a time before the one it claimed. */
    restart(&h, &memory);
    h.source_off_ns = 0;
    h.real_off_ns = 0;
    ticks(&h, 3);
    expect(&h, CLK_SYNCED, 0);
}

static void case_17_slow_drag(void **state)
{
    (void)state;
    static const int64_t per_second_ns[] = {10 * MS, MS};
    for (size_t i = 0; i < 2; i++) {
        struct host h = synced();
        for (int s = 0; s < 5 * HOUR && h.verdict.mode == CLK_SYNCED; s++) {
            h.source_off_ns += per_second_ns[i];
            tick(&h);
        }
        expect(&h, CLK_QUARANTINE_FWD, CLK_REASON(CLK_DRAG));
        /* Noticed before the error is more than the tolerance and what the crystal may do. */
        assert_true(h.source_off_ns < (2000 + 500 + 600) * MS);
    }
}

/* An index is taken under the last reading that a drag leaves believable. The floor is the end of
 * that reading, and the next one stands on it: further ahead than any evidence may lie, by as much
 * as an interval is wide, which is less than the guard. So no window opens sooner for it. */
static void case_17_index_at_the_end_of_a_drag(void **state)
{
    (void)state;
    struct host h = synced();
    const int64_t forward_ns = tolerance.max_forward_ms * MS;
    const int64_t width_ns = 2 * policy.max_error_ms * MS;
    int64_t begun_ns = h.machine.first.latest_ns - h.machine.first.raw_ns; /* true time by raw */
    h.error_ns = 200 * MS;
    while (h.verdict.mode == CLK_SYNCED && h.source_off_ns < 2200 * MS) {
        h.source_off_ns += 10 * MS;
        tick(&h);
    }
    expect(&h, CLK_SYNCED, 0);
    int64_t crystal_ns = (h.raw_ns - h.machine.first.raw_ns) / 1000000 * tolerance.raw_ppm;
    int64_t most_ns = begun_ns + h.raw_ns + crystal_ns + forward_ns;
    assert_true(h.reading.earliest_ns <= most_ns + 1 && h.reading.latest_ns > most_ns);
    clk_commit(&h.machine, &h.reading);
    look(&h);
    expect(&h, CLK_SYNCED, 0);
    assert_true(h.reading.earliest_ns > most_ns);
    assert_true(h.reading.earliest_ns <= most_ns + width_ns);
    /* A window that begins later than the evidence could be believed is not open yet. */
    int64_t wait_ms = 0;
    assert_true(policy.guard_ms * MS >= width_ns);
    assert_false(
        clk_inside(&h.reading, &policy, most_ns / SECOND + 1, most_ns / SECOND + DAY, &wait_ms));
}

static void cases_23_24_outage(void **state)
{
    (void)state;
    static const struct {
        int64_t away_s;
        enum clk_mode mode;
        uint32_t reasons;
    } rows[] = {{HOUR, CLK_SYNCED, 0},
                {2 * DAY - 60, CLK_SYNCED, 0},
                {2 * DAY + 60, CLK_QUARANTINE_FWD, CLK_REASON(CLK_OFFLINE)}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct host h = synced();
        clk_commit(&h.machine, &h.reading);
        struct clk_memory memory = h.machine.memory;
        h.true_ns += rows[i].away_s * SECOND; /* powered off: the TPM does not count either */
        h.tpm.resets++;
        restart(&h, &memory);
        ticks(&h, 3);
        expect(&h, rows[i].mode, rows[i].reasons);
    }
}

/* Backward ---------------------------------------------------------------------------------------
 */

static void case_20_back_with_chronyd(void **state)
{
    (void)state;
    struct host h = synced();
    ticks(&h, 100);
    clk_commit(&h.machine, &h.reading);
    h.source_off_ns = -60 * SECOND;
    ticks(&h, 5);
    expect(&h, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
    /* No acknowledgement and no restart helps: time must catch up. */
    struct err err = {0};
    struct clk_acknowledgement ack = right_words(&h);
    assert_int_equal(clk_acknowledge(&h.machine, &ack, &h.reading, 180, &err), RC_REFUSED_INPUT);
    struct host other = h;
    struct clk_memory memory = h.machine.memory;
    restart(&other, &memory);
    ticks(&other, 5);
    expect(&other, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
    ticks(&h, 50);
    expect(&h, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
    ticks(&h, 10);
    expect(&h, CLK_SYNCED, 0);
}

/* The floor is the latest time that a commit may have been at. A narrower reading right after it is
 * behind that, and no clock went back: it neither refuses nor forgets where the baseline was. */
static void case_20_narrower_reading_after_a_commit(void **state)
{
    (void)state;
    struct host h = synced();
    ticks(&h, 100);
    h.error_ns = 240 * MS;
    tick(&h);
    clk_commit(&h.machine, &h.reading);
    int64_t floor = h.machine.memory.floor_ns;
    int64_t baseline = h.machine.first.raw_ns;
    h.error_ns = 5 * MS;
    pass_ns(&h, 10 * MS);
    look(&h);
    assert_int_equal(h.verdict.mode, CLK_SYNCED);
    assert_true(h.reading.safe);
    assert_true(h.reading.earliest_ns == floor && h.reading.latest_ns == floor);
    assert_true(h.machine.first.raw_ns == baseline);
    ticks(&h, 1);
    expect(&h, CLK_SYNCED, 0);
    assert_true(h.reading.latest_ns > floor);
    /* More than two readings can be apart is a clock that was set back. */
    h.machine.memory.floor_ns = h.true_ns + SECOND + 5 * MS + 501 * MS;
    tick(&h);
    expect(&h, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
}

static void case_21_behind_the_anchor(void **state)
{
    (void)state;
    struct host h = host_at(NOW_S);
    struct clk_memory memory = {.floor_ns = (NOW_S + HOUR) * SECOND};
    clk_machine_init(&h.machine, &memory);
    ticks(&h, 10);
    expect(&h, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
    h.true_ns += HOUR * SECOND;
    h.raw_ns += HOUR * SECOND;
    h.tpm.clock_ms += HOUR * 1000;
    h.tpm.raw_ns = h.raw_ns;
    ticks(&h, 5);
    expect(&h, CLK_SYNCED, 0);
    assert_true(h.reading.earliest_ns >= memory.floor_ns);
}

static void case_22_no_sensible_year(void **state)
{
    (void)state;
    struct host h = host_at(300);
    ticks(&h, 5);
    assert_int_equal(h.verdict.mode, CLK_UNSYNCED);
    assert_true(h.reading.reasons & CLK_REASON(CLK_RANGE));
}

/* 25: the TPM counted two hours while the wall clock says that one has passed. 26: a clock that
 * fell back proves nothing. */
static void cases_25_26_tpm_through_a_restart(void **state)
{
    (void)state;
    for (int safe = 0; safe < 2; safe++) {
        struct host h = synced();
        clk_commit(&h.machine, &h.reading);
        struct clk_memory memory = h.machine.memory;
        h.true_ns += 2 * HOUR * SECOND;
        h.tpm.clock_ms += 2 * HOUR * 1000;
        h.tpm.safe = safe == 1;
        h.source_off_ns = -HOUR * SECOND;
        h.real_off_ns = h.source_off_ns;
        restart(&h, &memory);
        ticks(&h, 3);
        if (safe == 1)
            expect(&h, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
        else
            assert_int_equal(h.verdict.mode, CLK_SYNCED); /* the floor lets it through */
    }
    /* It fell back by an hour and is not trusted: no false alarm either. */
    struct host h = synced();
    clk_commit(&h.machine, &h.reading);
    struct clk_memory memory = h.machine.memory;
    h.true_ns += HOUR * SECOND;
    h.tpm.clock_ms -= HOUR * 1000;
    h.tpm.safe = false;
    restart(&h, &memory);
    ticks(&h, 3);
    expect(&h, CLK_SYNCED, 0);
}

/* A record that lying sources made lies ahead of honest time. The TPM counts on while it is
 * refused, and nearly as fast as time goes by: time catches up with what was due at first, not with
 * that. */
static void case_25_record_ahead_is_waited_for_once(void **state)
{
    (void)state;
    struct host h = host_at(NOW_S);
    h.source_off_ns = h.real_off_ns = 100 * SECOND;
    ticks(&h, 5);
    expect(&h, CLK_SYNCED, 0);
    clk_record(&h.machine, &h.reading);
    struct clk_memory memory = h.machine.memory;
    h.source_off_ns = h.real_off_ns = 0;
    restart(&h, &memory);
    ticks(&h, 90);
    expect(&h, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
    int64_t until = h.machine.refused_until_ns;
    assert_true(until > memory.seen_ns && until < memory.seen_ns + 10 * SECOND);
    ticks(&h, 20);
    expect(&h, CLK_SYNCED, 0);
    assert_true(h.reading.latest_ns >= until);
}

/* The same, and when time has caught up it is doubted for another reason: it is too long since the
 * record. The refusal does not begin anew, so that the operator has a jump to acknowledge; and
 * evidence that goes back then is held against the TPM as before. */
static void case_25_caught_up_while_a_jump_stands(void **state)
{
    (void)state;
    struct host h = host_at(NOW_S);
    h.source_off_ns = h.real_off_ns = DAY * SECOND;
    ticks(&h, 5);
    clk_record(&h.machine, &h.reading);
    struct clk_memory memory = h.machine.memory;
    h.source_off_ns = h.real_off_ns = 0;
    pass_ns(&h, 3 * DAY * SECOND);
    restart(&h, &memory);
    ticks(&h, 5);
    expect(&h, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
    int64_t until = h.machine.refused_until_ns;
    pass_ns(&h, until - h.true_ns);
    for (int i = 0; i < 200; i++) {
        pass_ns(&h, 600 * SECOND);
        tick(&h);
        expect(&h, CLK_QUARANTINE_FWD, CLK_REASON(CLK_OFFLINE));
    }
    struct host back = h;
    back.source_off_ns = back.real_off_ns = -3 * HOUR * SECOND;
    ticks(&back, 5);
    expect(&back, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
    clk_release(&h.machine);
    ticks(&h, 3);
    expect(&h, CLK_SYNCED, 0);
}

/* A lie that goes far past what was due is no time that honest sources would have to catch up with.
 */
static void case_25_lie_while_time_catches_up(void **state)
{
    (void)state;
    struct host h = host_at(NOW_S);
    h.source_off_ns = h.real_off_ns = 100 * SECOND;
    ticks(&h, 5);
    clk_record(&h.machine, &h.reading);
    struct clk_memory memory = h.machine.memory;
    h.source_off_ns = h.real_off_ns = 0;
    restart(&h, &memory);
    ticks(&h, 5);
    expect(&h, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
    h.source_off_ns = 300 * DAY * SECOND;
    ticks(&h, 5);
    expect(&h, CLK_QUARANTINE_FWD, CLK_REASON(CLK_OFFLINE));
    h.source_off_ns = 0;
    ticks(&h, 5);
    expect(&h, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
    ticks(&h, 120);
    expect(&h, CLK_SYNCED, 0);
}

/* Disruptions ------------------------------------------------------------------------------------
 */

static void expect_recovery(struct host *h)
{
    int64_t before = h->true_ns;
    expect(h, CLK_DISRUPTED, h->reading.reasons);
    assert_true(h->verdict.disrupted);
    /* Three updates from after it; one more where the system clock is stepped to follow. */
    int needed = 0;
    for (; needed < 5 && h->verdict.mode == CLK_DISRUPTED; needed++) {
        tick(h);
        assert_false(h->verdict.disrupted);
    }
    assert_in_range(needed, 3, 4);
    expect(h, CLK_SYNCED, 0);
    /* What was open then stays closed; what begins later does not. */
    assert_true(h->verdict.closed_before_ns > before);
    assert_true(h->verdict.closed_before_ns <= h->reading.latest_ns);
}

static void case_28_suspend(void **state)
{
    (void)state;
    struct host h = synced();
    assert_int_equal(h.verdict.closed_before_ns, 0);
    h.true_ns += 30 * SECOND;
    h.asleep_ns += 30 * SECOND;
    h.tpm.read = false;
    look(&h);
    assert_int_equal(h.reading.reasons & CLK_REASON(CLK_SUSPEND), CLK_REASON(CLK_SUSPEND));
    h.tpm.read = true;
    expect_recovery(&h);
}

static void case_29_pause(void **state)
{
    (void)state;
    struct host h = synced();
    /* Every clock of the host stands still but the TPM's. */
    h.true_ns += 7 * SECOND;
    h.real_off_ns -= 7 * SECOND;
    h.tpm.clock_ms += 7500;
    look(&h);
    assert_true(h.reading.reasons & CLK_REASON(CLK_TPM_JUMP));
    expect_recovery(&h);
}

/* A reading that took two seconds may be off by one: it shows what is longer than that, at once. It
 * is no measure for what comes next, but the only one behind the disruption that it showed. */
static void case_29_pause_and_a_slow_tpm(void **state)
{
    (void)state;
    struct host h = synced();
    struct clk_tpm good = h.tpm;
    for (int64_t paused_ms = 1000; paused_ms <= 7000; paused_ms += 6000) {
        struct host p = h;
        p.true_ns += paused_ms * MS;
        p.real_off_ns -= paused_ms * MS;
        p.tpm.clock_ms += (uint64_t)paused_ms;
        p.tpm.off_ns = SECOND;
        look(&p);
        if (paused_ms == 7000) {
            expect_recovery(&p);
            assert_int_equal(p.machine.tpm.off_ns, SECOND);
        } else {
            assert_int_equal(p.verdict.mode, CLK_SYNCED);
            assert_int_equal(p.machine.tpm.clock_ms, good.clock_ms);
        }
        p.tpm.off_ns = 0;
        look(&p);
        assert_int_equal(p.verdict.mode, paused_ms == 7000 ? CLK_SYNCED : CLK_DISRUPTED);
        assert_int_equal(p.machine.tpm.off_ns, 0);
    }
}

static void case_30_restored_twice(void **state)
{
    (void)state;
    struct host h = synced();
    struct host image = h; /* memory and clocks; true time and the TPM go on */
    int64_t closed = 0;
    for (int i = 0; i < 2; i++) {
        ticks(&h, 30);
        struct host resumed = image;
        resumed.true_ns = h.true_ns;
        resumed.tpm = h.tpm;
        resumed.tpm.raw_ns = resumed.raw_ns;
        resumed.real_off_ns = image.true_ns - h.true_ns;
        look(&resumed);
        assert_true(resumed.reading.reasons & CLK_REASON(CLK_TPM_JUMP));
        expect_recovery(&resumed);
        assert_true(resumed.verdict.closed_before_ns > closed);
        closed = resumed.verdict.closed_before_ns;
        h = resumed;
    }
    /* A reset of the TPM, and raw time that runs backwards, are no normal life either. */
    tick(&h);
    h.tpm.resets++;
    look(&h);
    assert_int_equal(h.verdict.mode, CLK_DISRUPTED);
    ticks(&h, 3);
    h.raw_ns -= 5 * SECOND;
    look(&h);
    assert_int_equal(h.verdict.mode, CLK_DISRUPTED);
}

static void case_27_without_tpm_readings(void **state)
{
    (void)state;
    struct host h = host_at(NOW_S);
    h.tpm.read = false;
    ticks(&h, 3);
    expect(&h, CLK_SYNCED, 0); /* the anchor refuses then; the clock has no quarrel */
    h.tpm.read = true;
    tick(&h);
    expect(&h, CLK_SYNCED, 0);
}

/* Edges and numbers ------------------------------------------------------------------------------
 */

static void case_31_window_edge(void **state)
{
    (void)state;
    struct host h = synced();
    int64_t edge = h.true_ns / SECOND + 10;
    int64_t wait = 0;
    assert_true(clk_inside(&h.reading, &policy, edge - 1000, edge, &wait));
    ticks(&h, 8);
    assert_false(clk_inside(&h.reading, &policy, edge - 1000, edge, &wait));
    assert_false(clk_inside(&h.reading, &policy, edge, edge + 1000, &wait));
    pass_ns(&h, wait * MS);
    h.ref_ns = real_of(&h);
    look(&h);
    assert_true(clk_inside(&h.reading, &policy, edge, edge + 1000, &wait));
}

static void case_33_35_leap_second_and_smear(void **state)
{
    (void)state;
    struct host h = synced();
    h.source_off_ns = -SECOND; /* inserted: UTC says the same second twice */
    tick(&h);
    assert_int_equal(h.verdict.mode, CLK_UNSYNCED);
    ticks(&h, 3);
    expect(&h, CLK_SYNCED, 0);
    /* Smeared over a day. */
    struct host smeared = synced();
    for (int i = 0; i < DAY; i++) {
        smeared.source_off_ns -= SECOND / DAY;
        tick(&smeared);
        assert_int_equal(smeared.verdict.mode, CLK_SYNCED);
    }
}

/* The window of 20 s that a key without a first window would sign in; the last one if none is open.
 */
static int64_t sign_in(struct host *h, int64_t last)
{
    int64_t wait = 0;
    int64_t window = h->reading.earliest_ns / SECOND / 20;
    if (!clk_inside(&h->reading, &policy, window * 20, window * 20 + 20, &wait))
        return last;
    clk_commit(&h->machine, &h->reading);
    return window;
}

/* The kernel takes a second back at midnight, where a window begins. */
static void case_34_leap_second_at_an_edge(void **state)
{
    (void)state;
    int64_t midnight = NOW_S + DAY;
    struct host h = host_at(midnight - 30);
    int64_t window = 0;
    unsigned shut = 0;
    for (int i = 0; i < 60; i++) {
        if (real_of(&h) >= (midnight - 1) * SECOND && h.source_off_ns == 0) {
            h.source_off_ns = -SECOND;
            h.stepped = true;
        }
        tick(&h);
        shut += i > 5 && !h.reading.safe ? 1 : 0;
        int64_t next = sign_in(&h, window);
        assert_true(next >= window);
        window = next;
    }
    assert_int_equal(window, midnight / 20 + 1);
    assert_in_range(shut, 1, 5);
    expect(&h, CLK_SYNCED, 0);
}

static void case_41_ends_of_the_numbers(void **state)
{
    (void)state;
    static const int64_t ends[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    const size_t n = sizeof(ends) / sizeof(ends[0]);
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++)
            for (size_t c = 0; c < n; c++) {
                struct host h = synced();
                struct clk_sample s = {
                    .evidence = {.real_ns = ends[a],
                                 .raw_ns = ends[b],
                                 .replied = true,
                                 .kernel_asked = true},
                    .mono_ns = ends[c],
                    .boot_ns = ends[a],
                    .tpm = {.read = true, .clock_ms = (uint64_t)ends[c], .raw_ns = ends[b]}};
                clk_step(&h.machine, &policy, &tolerance, &s, &h.reading, &h.verdict);
                assert_false(h.reading.safe);
                tick(&h);
            }
}

static void case_42_replacement(void **state)
{
    (void)state;
    struct host h = host_at(NOW_S);
    struct clk_memory memory = {.floor_ns = (NOW_S + 100) * SECOND,
                                .seen_ns = (NOW_S + 100) * SECOND};
    clk_machine_init(&h.machine, &memory);
    ticks(&h, 50);
    expect(&h, CLK_REFUSED_BACK, CLK_REASON(CLK_BACKWARD));
    ticks(&h, 52);
    expect(&h, CLK_SYNCED, 0);
}

/* 43: everything at once. Time never goes back for whoever signs, and under honest sources the
 * interval holds the true time. */
static uint64_t random_state;

static uint64_t random_below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

static void honest_event(struct host *h)
{
    switch (random_below(40)) {
    case 0:
        h->dead = !h->dead;
        break;
    case 1:
        h->no_source = !h->no_source;
        break;
    case 2:
        h->stepped = true;
        break;
    case 3:
        h->error_ns = (int64_t)random_below(300) * MS;
        break;
    case 4: { /* suspend */
        int64_t asleep = (int64_t)random_below(600) * SECOND;
        h->true_ns += asleep;
        h->real_off_ns -= asleep;
        h->asleep_ns += asleep;
        break;
    }
    case 5: { /* pause */
        int64_t pause = (int64_t)(1 + random_below(600)) * SECOND;
        h->true_ns += pause;
        h->real_off_ns -= pause;
        h->tpm.clock_ms += (uint64_t)(pause / MS);
        break;
    }
    case 6: {
        struct clk_memory memory = h->machine.memory;
        restart(h, &memory);
        break;
    }
    case 7:
        h->raw_ppm = (int64_t)random_below(201) - 100;
        break;
    default:
        break;
    }
}

static void case_43_random_walk(void **state)
{
    (void)state;
    const char *text = getenv("TEST_SEED");
    if (text == NULL || !text_to_u64(&random_state, text, UINT64_MAX) || random_state == 0)
        random_state = 20261206;
    print_message("TEST_SEED=%" PRIu64 "\n", random_state);
    struct host h = host_at(NOW_S);
    int64_t floor = 0;
    uint64_t safe = 0;
    for (int i = 0; i < 1000000; i++) {
        honest_event(&h);
        tick(&h);
        assert_true(h.machine.memory.floor_ns >= floor);
        floor = h.machine.memory.floor_ns;
        if (!h.reading.safe)
            continue;
        safe++;
        assert_true(h.reading.latest_ns >= floor);
        assert_true(h.reading.earliest_ns <= h.true_ns && h.reading.latest_ns >= h.true_ns);
        if (random_below(10) == 0)
            clk_commit(&h.machine, &h.reading);
    }
    print_message("%" PRIu64 " of 1000000 samples could be signed by\n", safe);
    assert_true(safe > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases_01_03_06_no_evidence),
        cmocka_unit_test(case_04_warm_up),
        cmocka_unit_test(case_05_bound_too_wide),
        cmocka_unit_test(case_07_sources_lost),
        cmocka_unit_test(case_02_36_chronyd_dies),
        cmocka_unit_test(case_18_honest_crystal),
        cmocka_unit_test(case_19_set_by_root),
        cmocka_unit_test(cases_12_13_jump_and_withdrawal),
        cmocka_unit_test(case_14_wrong_acknowledgements),
        cmocka_unit_test(case_15_acknowledged),
        cmocka_unit_test(case_16_latched),
        cmocka_unit_test(case_17_slow_drag),
        cmocka_unit_test(case_17_index_at_the_end_of_a_drag),
        cmocka_unit_test(cases_23_24_outage),
        cmocka_unit_test(case_20_back_with_chronyd),
        cmocka_unit_test(case_20_narrower_reading_after_a_commit),
        cmocka_unit_test(case_21_behind_the_anchor),
        cmocka_unit_test(case_22_no_sensible_year),
        cmocka_unit_test(cases_25_26_tpm_through_a_restart),
        cmocka_unit_test(case_25_record_ahead_is_waited_for_once),
        cmocka_unit_test(case_25_caught_up_while_a_jump_stands),
        cmocka_unit_test(case_25_lie_while_time_catches_up),
        cmocka_unit_test(case_28_suspend),
        cmocka_unit_test(case_29_pause),
        cmocka_unit_test(case_29_pause_and_a_slow_tpm),
        cmocka_unit_test(case_30_restored_twice),
        cmocka_unit_test(case_27_without_tpm_readings),
        cmocka_unit_test(case_31_window_edge),
        cmocka_unit_test(case_33_35_leap_second_and_smear),
        cmocka_unit_test(case_34_leap_second_at_an_edge),
        cmocka_unit_test(case_41_ends_of_the_numbers),
        cmocka_unit_test(case_42_replacement),
        cmocka_unit_test(case_43_random_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
