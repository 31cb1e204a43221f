/*
 * Time and interval plans on a fake world: the clock, the leases, limits and replays, a TPM that is
 * busy, and the sequences of docs/attacks.md that concern them, each under its number.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "lib/signer_rig.h"

#define DAY INT64_C(86400)
#define WEEK (7 * DAY)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */

/* Four weeks of 7 and the seal, in leases of 2; eight windows of 4, in leases of 2. */
#define TIME_PLAN                                                                                  \
    RIG_PLAN("k", "raw",                                                                           \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':8,'lease_size':2}")
#define INTERVAL_PLAN                                                                              \
    RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':4,'lease_size':2}")

static struct rig rig;

static void begin(const char *plan)
{
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, plan, 0);
    assert_int_equal(rig_open(&rig), RC_OK);
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

static struct ask *fresh(void)
{
    static struct ask ask;
    static unsigned number;
    static char idem[32];
    static char text[64];
    memset(&ask, 0, offsetof(struct ask, signature));
    (void)snprintf(idem, sizeof(idem), "fresh-%u", ++number);
    (void)snprintf(text, sizeof(text), "artifact number %u", number);
    ask.idem = idem;
    ask.text = text;
    return &ask;
}

/* Another artifact under another idempotency key each time. */
static struct ask *one(enum rc expected)
{
    struct ask *a = fresh();
    rig_ask(&rig, a, expected);
    return a;
}

static struct ask *one_of(const char *idem, const char *text, enum rc expected)
{
    struct ask *a = fresh();
    a->idem = idem;
    a->text = text;
    rig_ask(&rig, a, expected);
    return a;
}

/* Indices of the key that the ledger says are burned, all of them for one reason. */
static uint64_t burned_total(enum burn_reason reason)
{
    struct request request = {.op = REQUEST_KEYS, .key = "k"};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    signer_read(rig.signer, &request, &reply, &payload, &len);
    assert_int_equal(reply.rc, RC_OK);
    assert_int_equal(len, sizeof(struct view_key));
    uint64_t total = ((const struct view_key *)payload)->burned_total;
    assert_int_equal(((const struct view_key *)payload)->burned_by[reason], total);
    free(payload);
    return total;
}

/* A request, whatever comes of it; on HALT everything is opened again. */
static enum rc any(void)
{
    struct ask *a = fresh();
    if (rig_sign(&rig, a, 1) != RC_OK || rig_key_rc(&rig, 0) != RC_OK)
        rig_reopen(&rig);
    return a->rc;
}

/* A busy TPM ------------------------------------------------------------------------------------
 */

/* "Busy" changes nothing, but what went before it in the same step did: W or L must not be left
 * ahead of an A that goes on being used. */
static void busy_at_each_command_costs_a_lease_at_most(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 30; n++) {
        begin(TIME_PLAN);
        (void)one(RC_OK);
        (void)one(RC_OK);
        (void)one(RC_OK);
        fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
        fake_tpm_fail(&rig.fake, n, FAKE_BUSY);
        unsigned good = 0;
        for (unsigned i = 0; i < 12; i++) {
            enum rc rc = any();
            good += rc == RC_OK ? 1 : 0;
            assert_int_not_equal(rc, RC_HALT_INVARIANT);
            if (i == 3)
                rig_reopen(&rig); /* what it did must also be what a start understands */
        }
        /* 7 in the window; the reopening and the busy TPM may take a lease each. */
        assert_in_range(good, 7 - 4, 7);
        assert_int_equal(rig_key_rc(&rig, 0), RC_OK);
        oracle_check();
        rig_end(&rig);
    }
}

/* The clock -------------------------------------------------------------------------------------
 */

static void clock_that_is_not_safe_signs_nothing(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    rig.fake.reasons = CLK_REASON(CLK_STALE);
    (void)one(RC_RETRY_CLOCK);
    assert_int_equal(oracle_computed(), 0);
    rig.fake.reasons = 0;
    assert_int_equal(one(RC_OK)->window, 0);
}

static void edge_is_waited_for_within_reason(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    fake_clock_set(&rig.fake, START + WEEK - 1);
    const struct ask *a = one(RC_OK);
    assert_int_equal(a->window, 1);
    assert_in_range(rig.fake.slept_ms, 1000, 5000);
    /* Further from the edge than a request waits. */
    rig.config.settings.edge_wait_ms = 100;
    fake_clock_set(&rig.fake, START + 2 * WEEK - 1);
    a = one(RC_RETRY_CLOCK);
    assert_in_range(a->reply.retry_after_s, 1, 10);
    /* The window has begun, but its guard band is not over. */
    fake_clock_set(&rig.fake, START + 2 * WEEK + 1);
    (void)one(RC_RETRY_CLOCK);
    assert_int_equal(oracle_computed(), 1);
    fake_clock_set(&rig.fake, START + 2 * WEEK + 3);
    assert_int_equal(one(RC_OK)->window, 2);
}

/* A clock that has lost its memory after the start does not know the floor; the anchor does, and
 * says how long time needs to catch up. */
static void clock_behind_the_anchor_alone_is_told_for_how_long(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    assert_int_equal(one(RC_OK)->window, 2);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    (void)one(RC_RETRY_CLOCK); /* the step itself */
    clk_machine_init(&rig.clock.machine, &(struct clk_memory){0});
    const struct ask *a = one(RC_RETRY_CLOCK);
    assert_non_null(strstr(a->reply.text, "behind the last time that the TPM has seen"));
    assert_int_equal(a->reply.retry_after_s, WEEK);
}

/* The second look at the clock: the index is burned, and no more of the batch is taken. */
static void case_32_window_that_ends_while_signing_burns(void **state)
{
    (void)state;
    static struct ask asks[5];
    static const char *const idem[] = {"a", "b", "c", "d", "e"};
    begin(TIME_PLAN);
    for (size_t i = 0; i < 5; i++)
        asks[i] = (struct ask){.idem = idem[i], .text = idem[i]};
    fake_clock_change_at(&rig.fake, 2, WEEK, 0);
    assert_int_equal(rig_sign(&rig, asks, 5), RC_OK);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(asks[i].rc, i < 2 ? RC_BURNED_CLOCK : RC_RETRY_CLOCK);
    assert_int_equal(asks[0].reply.burned_index, 0);
    assert_int_equal(oracle_computed(), 2);
    assert_int_equal(burned_total(BURN_CLOCK), 2);
    /* The same keys again: new signatures in the new window. */
    assert_int_equal(rig_sign(&rig, asks, 5), RC_OK);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(asks[i].rc, RC_OK);
        assert_int_equal(asks[i].window, 1);
    }
}

static void clock_behind_the_anchor_is_refused(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    assert_int_equal(one(RC_OK)->window, 2);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    (void)one(RC_RETRY_CLOCK);
    rig_reopen(&rig);
    (void)one(RC_RETRY_CLOCK);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    assert_int_equal(one(RC_OK)->window, 2);
}

/* A replacement that may sign from window 2 on: the windows before it belong to the lost device. */
static void case_42_replacement_waits_for_its_first_window(void **state)
{
    (void)state;
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, TIME_PLAN, 2);
    assert_int_equal(rig_open(&rig), RC_OK);
    (void)one(RC_REFUSED_NOT_OPEN);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    assert_int_equal(one(RC_REFUSED_NOT_OPEN)->reply.window_opens_s, START + 2 * WEEK);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    assert_int_equal(one(RC_OK)->window, 2);
}

static void before_the_plan_and_behind_it(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    fake_clock_set(&rig.fake, START - DAY);
    assert_int_equal(one(RC_REFUSED_NOT_OPEN)->reply.window_opens_s, START);
    fake_clock_set(&rig.fake, START + 4 * WEEK + DAY);
    (void)one(RC_REFUSED_EXHAUSTED);
    assert_int_equal(oracle_computed(), 0);
}

/* Limits and replays ----------------------------------------------------------------------------
 */

static void idempotency(void **state)
{
    (void)state;
    static struct ask asks[2];
    begin(TIME_PLAN);
    (void)one_of(NULL, "text", RC_REFUSED_IDEM_MISSING);
    uint64_t index = one_of("key", "text", RC_OK)->index;
    const struct ask *again = one_of("key", "text", RC_OK);
    assert_true(again->replayed && again->index == index);
    (void)one_of("key", "another text", RC_REFUSED_IDEM_REUSED);
    asks[0] = (struct ask){.idem = "twice", .text = "same"};
    asks[1] = asks[0];
    assert_int_equal(rig_sign(&rig, asks, 2), RC_OK);
    assert_int_equal(asks[0].rc, RC_OK);
    assert_int_equal(asks[1].rc, RC_RETRY_BUSY);
    assert_int_equal(oracle_computed(), 2);
    struct ask *wrong = fresh();
    wrong->version = "1.0";
    rig_ask(&rig, wrong, RC_REFUSED_OUTSIDE_PLAN);
    wrong = fresh();
    wrong->name = "nobody";
    rig_ask(&rig, wrong, RC_REFUSED_NO_KEY);
}

static void attack_24_retry_over_midnight(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    fake_clock_set(&rig.fake, START + WEEK - 60);
    uint64_t index = one_of("night", "text", RC_OK)->index;
    fake_clock_set(&rig.fake, START + WEEK + 60);
    (void)one(RC_OK); /* window 1 is open now */
    const struct ask *a = one_of("night", "text", RC_OK);
    assert_true(a->replayed && a->index == index);
    /* The next night too; two nights later it is forgotten. */
    index = one_of("second night", "other text", RC_OK)->index;
    fake_clock_set(&rig.fake, START + 2 * WEEK + 60);
    (void)one(RC_OK);
    a = one_of("second night", "other text", RC_OK);
    assert_true(a->replayed && a->index == index);
    a = one_of("night", "text", RC_OK);
    assert_false(a->replayed);
}

static void window_is_full(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(one(RC_OK)->index, i);
    const struct ask *a = one(RC_RETRY_WINDOW_FULL);
    assert_int_equal(a->reply.window_opens_s, START + WEEK);
    assert_int_equal(a->reply.window_remaining, 0);
    assert_false(oracle_has(&rig, 0, 7)); /* the seal's */
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    assert_int_equal(one(RC_OK)->index, 8);
}

static void configured_limits(void **state)
{
    (void)state;
    static struct ask asks[4];
    static const char *const idem[] = {"a", "b", "c", "d"};
    begin(TIME_PLAN);
    rig_stop(&rig);
    rig.limits[0].limits = (struct key_limits){.burst = 5, .per_hour = 60, .window_max = 3};
    assert_int_equal(rig_open(&rig), RC_OK);
    for (size_t i = 0; i < 4; i++)
        asks[i] = (struct ask){.idem = idem[i], .text = idem[i]};
    assert_int_equal(rig_sign(&rig, asks, 4), RC_OK);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(asks[i].rc, i < 3 ? RC_OK : RC_RETRY_WINDOW_FULL);
    (void)one(RC_RETRY_WINDOW_FULL);
    const struct ask *a = one(RC_RETRY_RATE); /* five tokens are gone */
    assert_in_range(a->reply.retry_after_s, 1, 60);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    (void)one(RC_OK);
}

static void interval_goes_on_in_the_next_window(void **state)
{
    (void)state;
    static struct ask asks[40];
    static char idem[40][8];
    begin(INTERVAL_PLAN);
    for (size_t i = 0; i < 40; i++) {
        (void)snprintf(idem[i], sizeof(idem[i]), "i%zu", i);
        asks[i] = (struct ask){.idem = idem[i], .text = idem[i]};
    }
    assert_int_equal(rig_sign(&rig, asks, 40), RC_OK);
    for (size_t i = 0; i < 32; i++) {
        assert_int_equal(asks[i].rc, RC_OK);
        assert_int_equal(asks[i].index, i);
        assert_int_equal(asks[i].window, i / 4);
    }
    for (size_t i = 32; i < 40; i++)
        assert_int_equal(asks[i].rc, RC_REFUSED_EXHAUSTED);
    (void)one(RC_REFUSED_EXHAUSTED);
}

/* Keys and devices ------------------------------------------------------------------------------
 */

static void virtual_tpm(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    rig.fake.tpm->identity.is_virtual = true;
    rig.config.settings.virtual_policy = VIRTUAL_REFUSE;
    rig_reopen(&rig);
    (void)one(RC_HALT_VIRTUAL);
    rig.config.settings.virtual_policy = VIRTUAL_WAIT;
    rig_reopen(&rig);
    assert_int_equal(one(RC_REFUSED_NOT_OPEN)->reply.window_opens_s, START + WEEK);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    const struct ask *a = one(RC_OK);
    assert_int_equal(a->window, 1);
    assert_true(a->reply.tpm_virtual);
    rig.config.settings.virtual_policy = VIRTUAL_DEMO;
    rig_reopen(&rig);
    assert_true(one(RC_OK)->reply.tpm_virtual);
}

/* A cap below what the plan gives closes a window like the plan does: it must not stick there. */
static void interval_cap_opens_the_next_window(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN);
    rig_stop(&rig);
    rig.limits[0].limits = (struct key_limits){.window_max = 3};
    assert_int_equal(rig_open(&rig), RC_OK);
    for (uint64_t i = 0; i < 9; i++) {
        /* The window's fourth index is given up; windows have four. */
        uint64_t index = one(RC_OK)->index;
        assert_int_equal(index, i / 3 * 4 + i % 3);
    }
}

/* A machine put back with its virtual TPM knows only the window of its snapshot, and the window
 * behind that may have been used since: waiting for it protects nothing. Found by the simulator: an
 * index signed two messages. */
static void virtual_tpm_and_intervals(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN);
    assert_int_equal(one(RC_OK)->window, 0);
    rig.fake.tpm->identity.is_virtual = true;
    rig.config.settings.virtual_policy = VIRTUAL_WAIT;
    rig_reopen(&rig);
    (void)one(RC_HALT_VIRTUAL);
    rig.config.settings.virtual_policy = VIRTUAL_DEMO;
    rig_reopen(&rig);
    assert_int_equal(one(RC_OK)->window, 0);
}

static int key_file(const char *name, int flags)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/keys/k/%s", rig.dir, name);
    int fd = open(path, flags | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void spoil(const char *name, off_t at)
{
    int fd = key_file(name, O_RDWR);
    uint8_t byte = 0;
    assert_true(pread_full(fd, &byte, 1, at));
    byte ^= 0x55;
    assert_true(pwrite_full(fd, &byte, 1, at));
    (void)close(fd);
}

/* A secret that is gone or wrong must be found before anything is spent on its window. */
static void secrets_that_are_gone_or_wrong(void **state)
{
    (void)state;
    static const uint8_t zeros[TPM_SEALED_MAX + 4];
    begin(TIME_PLAN);
    (void)one(RC_OK);
    int fd = key_file("seeds", O_RDWR);
    uint8_t other[TPM_SEALED_MAX + 4];
    uint8_t own[TPM_SEALED_MAX + 4];
    assert_true(pread_full(fd, own, sizeof(own), (off_t)sizeof(own)));
    assert_true(pread_full(fd, other, sizeof(other), 2 * (off_t)sizeof(other)));
    assert_true(pwrite_full(fd, zeros, sizeof(zeros), (off_t)sizeof(zeros)));
    struct fake_nv before = rig.fake.tpm->nv[0];
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    for (unsigned i = 0; i < 3; i++) {
        (void)one(RC_HALT_SEEDS);
        rig_reopen(&rig);
    }
    assert_true(pwrite_full(fd, other, sizeof(other), (off_t)sizeof(other)));
    (void)one(RC_HALT_SEEDS); /* it opens in the next window only */
    rig_reopen(&rig);
    /* What differs is the seed of the leaves: a fake TPM's blob has the secret last, as long as its
     * sixth byte says, and does not notice. */
    own[4 + be_get32(own) - own[4 + 5]] ^= 1;
    assert_true(pwrite_full(fd, own, sizeof(own), (off_t)sizeof(own)));
    (void)close(fd);
    (void)one(RC_HALT_SEEDS); /* it opens, and is not this window's */
    assert_int_equal(rig.fake.tpm->nv[0].w, before.w);
    assert_int_equal(rig.fake.tpm->nv[0].l, before.l);
    rig_reopen(&rig);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    assert_int_equal(one(RC_OK)->window, 2);
}

/* Seeds of windows that are over are overwritten. */
static void past_seeds_are_destroyed(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    (void)one(RC_OK);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    (void)one(RC_OK);
    int fd = key_file("seeds", O_RDONLY);
    for (off_t w = 0; w < 4; w++) {
        uint8_t head[4];
        assert_true(pread_full(fd, head, 4, w * (TPM_SEALED_MAX + 4)));
        bool there = head[2] != 0 || head[3] != 0;
        assert_int_equal(there, w >= 2);
    }
    (void)close(fd);
}

static void other_tpm_and_damaged_files(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    (void)one(RC_OK);
    rig.fake.tpm->identity.srk_name[0] ^= 1;
    rig_reopen(&rig);
    (void)one(RC_HALT_REGRESSION);
    rig.fake.tpm->identity.srk_name[0] ^= 1;
    rig.fake.tpm->id = 9;
    rig_reopen(&rig);
    (void)one(RC_HALT_SEEDS);
    rig.fake.tpm->id = 1;
    spoil("plan.json", 0);
    rig_reopen(&rig);
    (void)one(RC_HALT_STATE_DIR);
    spoil("plan.json", 0);
    spoil("nodes", 4096 + 24 * 40); /* a leaf */
    rig_reopen(&rig);
    (void)one(RC_HALT_NODES);
    spoil("nodes", 4096 + 24 * 40);
    rig_reopen(&rig);
    (void)one(RC_OK);
}

/* The file is mapped: it goes bad under the signer's hands. */
static void bad_node_burns_and_releases_nothing(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    (void)one(RC_OK);
    spoil("nodes", 4096 + 24 * 3);
    const struct ask *a = one_of("bad", "text", RC_BURNED_VERIFY);
    assert_int_equal(a->reply.burned_index, 1);
    spoil("nodes", 4096 + 24 * 3);
    a = one_of("bad", "text", RC_OK);
    assert_int_equal(a->index, 2);
}

/* Attacks ----------------------------------------------------------------------------------------
 */

/* A process image is taken; the original goes on signing; the image is resumed. */
static bool is_image;
static bool forked;

static void take_image(void)
{
    pid_t child = fork();
    assert_true(child >= 0);
    forked = true;
    if (child == 0)
        return; /* the original, as far as the TPM can tell */
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    is_image = true;
}

static void original_signs_and_ends(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct ask *a = fresh();
        a->text = "the original's";
        if (rig_sign(&rig, a, 1) != RC_OK || a->rc != RC_OK)
            _exit(1);
    }
    _exit(0);
}

static void attack_04_image_resumed_between_batches(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    (void)one(RC_OK); /* a lease is in hand, with an index left */
    is_image = false;
    take_image();
    if (forked && !is_image)
        original_signs_and_ends(1);
    size_t computed = oracle_computed();
    struct ask *a = fresh();
    a->text = "the image's";
    assert_int_equal(rig_sign(&rig, a, 1), RC_HALT_CANARY);
    assert_int_equal(a->rc, RC_HALT_CANARY);
    assert_int_equal(oracle_computed(), computed);
    /* And its disk is the old one: what the original signed since the anchor is not in it. */
    rig_reopen(&rig);
    for (unsigned i = 0; i < 4; i++)
        (void)one(RC_OK);
}

static void fork_at(void *ctx, enum fake_command command)
{
    if (command == *(enum fake_command *)ctx && !forked)
        take_image();
}

static void attack_31_image_resumed_inside_a_batch(void **state)
{
    (void)state;
    static const enum fake_command at[] = {FAKE_STEP_L, FAKE_PROVE};
    for (size_t i = 0; i < 2; i++) {
        begin(TIME_PLAN);
        is_image = false;
        forked = false;
        enum fake_command command = at[i];
        rig.fake.hook = fork_at;
        rig.fake.hook_ctx = &command;
        struct ask *a = fresh();
        enum rc rc = rig_sign(&rig, a, 1);
        if (!forked)
            fail_msg("the command at which the image is taken was not given");
        if (!is_image) {
            if (rc != RC_OK)
                _exit(1);
            original_signs_and_ends(3);
        }
        assert_int_equal(a->rc, RC_HALT_CANARY);
        assert_int_equal(oracle_computed(), 4);
        rig_end(&rig);
    }
}

static void attack_05_lease_size_changed(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    (void)one(RC_OK);
    signer_close(&rig.signer, false);
    char text[1024] = {0};
    int fd = key_file("plan.json", O_RDWR);
    ssize_t len = read(fd, text, sizeof(text) - 1);
    assert_true(len > 0);
    char *size = strstr(text, "\"lease_size\":2");
    assert_non_null(size);
    size[13] = '1';
    assert_true(pwrite_full(fd, text, (size_t)len, 0));
    (void)close(fd);
    assert_int_equal(rig_open(&rig), RC_OK);
    (void)one(RC_HALT_STATE_DIR);
}

static void attack_06_a_torn(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    (void)one(RC_OK);
    signer_close(&rig.signer, false);
    fake_tpm_tear_a(&rig.fake, 0);
    assert_int_equal(rig_open(&rig), RC_OK);
    /* Its window is closed by the start itself; the next one has not begun. */
    assert_int_equal(one(RC_REFUSED_NOT_OPEN)->reply.window_opens_s, START + WEEK);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    assert_int_equal(one(RC_OK)->index, 8);
}

/* In the last window there is no next one: nothing signs, and nothing falls over. */
static void attack_06_a_torn_in_the_last_window(void **state)
{
    (void)state;
    static const char *const plans[] = {TIME_PLAN, INTERVAL_PLAN};
    for (size_t i = 0; i < 2; i++) {
        begin(plans[i]);
        rig.limits[0].limits.window_max = i == 0 ? 0 : 4;
        fake_clock_set(&rig.fake, START + 3 * WEEK + DAY);
        for (unsigned n = 0; n < (i == 0 ? 1U : 29U); n++)
            (void)one(RC_OK);
        signer_close(&rig.signer, false);
        fake_tpm_tear_a(&rig.fake, 0);
        assert_int_equal(rig_open(&rig), RC_OK);
        (void)one(i == 0 ? RC_REFUSED_NOT_OPEN : RC_REFUSED_EXHAUSTED);
        (void)one(i == 0 ? RC_REFUSED_NOT_OPEN : RC_REFUSED_EXHAUSTED);
        rig_end(&rig);
    }
}

static void attack_08_old_a_and_old_disk(void **state)
{
    (void)state;
    struct rig_disk disk = {0};
    uint8_t a[ANCHOR_RECORD_LEN];
    begin(TIME_PLAN);
    (void)one(RC_OK);
    rig_disk_take(&rig, &disk);
    memcpy(a, rig.fake.tpm->nv[0].a, sizeof(a));
    for (unsigned i = 0; i < 4; i++)
        (void)one(RC_OK);
    signer_close(&rig.signer, false);
    rig_disk_put(&rig, &disk);
    memcpy(rig.fake.tpm->nv[0].a, a, sizeof(a));
    rig_disk_free(&disk);
    assert_int_equal(rig_open(&rig), RC_OK);
    (void)one(RC_HALT_REGRESSION);
}

static void attack_14_two_keys_in_one_ledger(void **state)
{
    (void)state;
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, TIME_PLAN, 0);
    rig_add_key(&rig,
                RIG_PLAN("k2", "raw",
                         "{'kind':'interval','signatures_per_window':4,"
                         "'lease_size':2}"),
                0);
    assert_int_equal(rig_open(&rig), RC_OK);
    static struct ask asks[4];
    static const char *const idem[] = {"a", "b", "c", "d"};
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 4; i++)
            asks[i] = (struct ask){.key = (i / 2 + round) % 2, .idem = idem[i], .text = idem[i]};
        assert_int_equal(rig_sign(&rig, asks, 4), RC_OK);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(asks[i].rc, RC_OK);
        rig_reopen(&rig);
        assert_int_equal(rig_key_rc(&rig, 0), RC_OK);
        assert_int_equal(rig_key_rc(&rig, 1), RC_OK);
    }
}

/* Two keys, k by time and k2 by interval, and a request for each. */
static struct ask *begin_two_keys(void)
{
    static struct ask asks[2];
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, TIME_PLAN, 0);
    rig_add_key(&rig,
                RIG_PLAN("k2", "raw",
                         "{'kind':'interval','signatures_per_window':4,"
                         "'lease_size':2}"),
                0);
    assert_int_equal(rig_open(&rig), RC_OK);
    asks[0] = (struct ask){.key = 0, .idem = "a", .text = "a"};
    asks[1] = (struct ask){.key = 1, .idem = "b", .text = "b"};
    return asks;
}

/* What stops one key stops what came with it: ledger and TPM are the same. */
static void halt_of_one_key_stops_the_others(void **state)
{
    (void)state;
    struct ask *asks = begin_two_keys();
    fake_tpm_fail(&rig.fake, 2, FAKE_FAIL_BEFORE);
    assert_int_equal(rig_sign(&rig, asks, 2), RC_HALT_ANCHOR);
    assert_int_equal(asks[0].rc, RC_HALT_ANCHOR);
    assert_int_equal(asks[1].rc, RC_HALT_ANCHOR);
    assert_int_equal(oracle_computed(), 0);
    assert_int_equal(rig_key_rc(&rig, 0), RC_HALT_ANCHOR); /* until everything is opened again */
}

/* A damaged secret is its window's trouble: not that of other keys, nor of the next window. */
static void damaged_secret_stops_its_window_alone(void **state)
{
    (void)state;
    struct ask *asks = begin_two_keys();
    static const uint8_t zeros[TPM_SEALED_MAX + 4];
    int fd = key_file("seeds", O_RDWR);
    assert_true(pwrite_full(fd, zeros, sizeof(zeros), 0));
    (void)close(fd);
    struct fake_nv before = rig.fake.tpm->nv[0];
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(rig_sign(&rig, asks, 2), RC_OK);
        assert_int_equal(asks[0].rc, RC_HALT_SEEDS);
        assert_int_equal(asks[1].rc, RC_OK);
    }
    assert_int_equal(rig.fake.tpm->nv[0].l, before.l);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    assert_int_equal(rig_sign(&rig, asks, 1), RC_OK);
    assert_int_equal(asks[0].rc, RC_OK);
    assert_int_equal(asks[0].window, 1);
}

/* With a lease in hand, and a host whose clock says that it is 1969, which the ledger takes for no
 * time: the signature is made and its receipt refused, so it does not leave. */
static void receipt_that_cannot_be_written(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN);
    (void)one(RC_OK);
    fake_clock_set(&rig.fake, -5);
    (void)one(RC_HALT_INVARIANT);
    fake_clock_set(&rig.fake, START + DAY);
    rig_reopen(&rig);
    assert_int_equal(one(RC_OK)->index, 2);
}

/* Between the lease's entry and the increment. */
static void attack_15_crash_before_the_increment(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    (void)one(RC_OK);
    (void)one(RC_OK);
    fake_tpm_fail(&rig.fake, 1, FAKE_FAIL_BEFORE); /* A of the second lease */
    (void)one(RC_HALT_ANCHOR);
    assert_int_equal(rig.fake.tpm->hit, FAKE_WRITE);
    rig_reopen(&rig);
    assert_int_equal(one(RC_OK)->index, 4); /* 2 and 3 are given up, the window is not */
}

static void attack_16_idle_restarts_cost_nothing(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    (void)one(RC_OK);
    struct fake_nv before = rig.fake.tpm->nv[0];
    for (unsigned i = 0; i < 64; i++) {
        if (i % 2 == 0)
            rig_stop(&rig);
        rig_reopen(&rig);
    }
    assert_int_equal(rig.fake.tpm->nv[0].w, before.w);
    assert_int_equal(rig.fake.tpm->nv[0].l, before.l);
    assert_int_equal(one(RC_OK)->index, 2);
}

/* Receipts of the open lease can vanish with a disk put back; an index cannot come again. */
static void attack_17_disk_back_within_one_lease(void **state)
{
    (void)state;
    struct rig_disk disk = {0};
    begin(RIG_PLAN("k", "raw",
                   "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"
                   "'signatures_per_window':8,'lease_size':5}"));
    (void)one(RC_OK);
    rig_disk_take(&rig, &disk);
    (void)one(RC_OK);
    (void)one(RC_OK);
    signer_close(&rig.signer, false);
    rig_disk_put(&rig, &disk);
    rig_disk_free(&disk);
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(one(RC_OK)->index, 5);
}

/* Acknowledged exports ----------------------------------------------------------------------------
 */

static void note(enum ledger_note_kind kind, int64_t number)
{
    struct err err = {0};
    signer_close(&rig.signer, false);
    struct ledger *ledger = rig_ledger(&rig);
    assert_int_equal(ledger_begin(ledger, &err), RC_OK);
    assert_int_equal(ledger_add_note(ledger, 1, kind, "backup-export", "test", number, START, &err),
                     RC_OK);
    assert_int_equal(ledger_commit(ledger, &err), RC_OK);
    ledger_close(&ledger);
    assert_int_equal(rig_open(&rig), RC_OK);
}

static void attack_30_nothing_beyond_the_export(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN);
    note(LEDGER_OPERATION, 1);
    for (unsigned i = 0; i < 12; i++) /* windows 0, 1 and, by the margin, 2 */
        (void)one_of(fresh()->idem, "text", RC_OK);
    (void)one(RC_REFUSED_EXPORT);
    signer_close(&rig.signer, false);
    fake_tpm_tear_a(&rig.fake, 0); /* the start steps W to 3 */
    assert_int_equal(rig_open(&rig), RC_OK);
    (void)one(RC_REFUSED_EXPORT);
    note(LEDGER_OPERATION, 3);
    (void)one(RC_REFUSED_EXPORT); /* written, and nobody has seen it off this machine */
    note(LEDGER_ACKNOWLEDGEMENT, 3);
    assert_int_equal(one(RC_OK)->window, 3);
}

/* L is raised by A and L + 1 each time; a crash at any command is understood. */
static void attack_34_crash_while_l_is_raised(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 12; n++) {
        begin(TIME_PLAN);
        (void)one(RC_OK);
        (void)one(RC_OK);
        fake_tpm_fail(&rig.fake, 1, FAKE_FAIL_BEFORE);
        (void)one(RC_HALT_ANCHOR); /* leaves a lease that is not anchored */
        rig_crash(&rig);
        fake_tpm_fail(&rig.fake, n, FAKE_FAIL_AFTER);
        assert_int_equal(rig_open(&rig), RC_OK);
        fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
        rig_reopen(&rig);
        assert_int_equal(one(RC_OK)->index, 4);
        rig_end(&rig);
    }
}

/* An A that promises L + 1, and a W that somebody stepped: values from outside, so an answer. */
static void promised_l_in_a_window_that_is_over(void **state)
{
    (void)state;
    begin(TIME_PLAN);
    (void)one(RC_OK);
    (void)one(RC_OK);
    fake_tpm_fail(&rig.fake, 2, FAKE_FAIL_BEFORE); /* L of the second lease */
    (void)one(RC_HALT_ANCHOR);
    assert_int_equal(rig.fake.tpm->hit, FAKE_STEP_L);
    rig_crash(&rig);
    rig.fake.tpm->nv[0].w++;
    assert_int_equal(rig_open(&rig), RC_OK);
    assert_int_equal(rig_key_rc(&rig, 0), RC_OK);
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    assert_int_equal(one(RC_OK)->window, 2);
}

/* With an argument, the tests whose names it matches (* and ?). */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(busy_at_each_command_costs_a_lease_at_most, end),
        cmocka_unit_test_teardown(clock_that_is_not_safe_signs_nothing, end),
        cmocka_unit_test_teardown(edge_is_waited_for_within_reason, end),
        cmocka_unit_test_teardown(case_32_window_that_ends_while_signing_burns, end),
        cmocka_unit_test_teardown(clock_behind_the_anchor_is_refused, end),
        cmocka_unit_test_teardown(clock_behind_the_anchor_alone_is_told_for_how_long, end),
        cmocka_unit_test_teardown(case_42_replacement_waits_for_its_first_window, end),
        cmocka_unit_test_teardown(before_the_plan_and_behind_it, end),
        cmocka_unit_test_teardown(idempotency, end),
        cmocka_unit_test_teardown(attack_24_retry_over_midnight, end),
        cmocka_unit_test_teardown(window_is_full, end),
        cmocka_unit_test_teardown(configured_limits, end),
        cmocka_unit_test_teardown(interval_goes_on_in_the_next_window, end),
        cmocka_unit_test_teardown(virtual_tpm, end),
        cmocka_unit_test_teardown(interval_cap_opens_the_next_window, end),
        cmocka_unit_test_teardown(virtual_tpm_and_intervals, end),
        cmocka_unit_test_teardown(secrets_that_are_gone_or_wrong, end),
        cmocka_unit_test_teardown(past_seeds_are_destroyed, end),
        cmocka_unit_test_teardown(other_tpm_and_damaged_files, end),
        cmocka_unit_test_teardown(bad_node_burns_and_releases_nothing, end),
        cmocka_unit_test_teardown(attack_04_image_resumed_between_batches, end),
        cmocka_unit_test_teardown(attack_31_image_resumed_inside_a_batch, end),
        cmocka_unit_test_teardown(attack_05_lease_size_changed, end),
        cmocka_unit_test_teardown(attack_06_a_torn, end),
        cmocka_unit_test_teardown(attack_06_a_torn_in_the_last_window, end),
        cmocka_unit_test_teardown(attack_08_old_a_and_old_disk, end),
        cmocka_unit_test_teardown(attack_14_two_keys_in_one_ledger, end),
        cmocka_unit_test_teardown(halt_of_one_key_stops_the_others, end),
        cmocka_unit_test_teardown(damaged_secret_stops_its_window_alone, end),
        cmocka_unit_test_teardown(receipt_that_cannot_be_written, end),
        cmocka_unit_test_teardown(attack_15_crash_before_the_increment, end),
        cmocka_unit_test_teardown(attack_16_idle_restarts_cost_nothing, end),
        cmocka_unit_test_teardown(attack_17_disk_back_within_one_lease, end),
        cmocka_unit_test_teardown(attack_30_nothing_beyond_the_export, end),
        cmocka_unit_test_teardown(attack_34_crash_while_l_is_raised, end),
        cmocka_unit_test_teardown(promised_l_in_a_window_that_is_over, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
