/*
 * Many requests in one message, on a fake world: each succeeds or fails alone, none is made where a
 * window cannot hold them, they share their commits, and a message sent again gives the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/file.h"
#include "lib/signer_rig.h"
#include "signer/bulk.h"
#include "signer/loop.h"

#define DAY INT64_C(86400)
#define WEEK (7 * DAY)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */

#define VERSION_PLAN                                                                               \
    RIG_PLAN("k", "sha256",                                                                        \
             "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':2},"       \
             "'slots':['a','b'],'window':'minor','order':'strict','max_jump':8}")
#define TIME_PLAN                                                                                  \
    RIG_PLAN("k", "sha256",                                                                        \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':8,'lease_size':8}")
#define INTERVAL_PLAN                                                                              \
    RIG_PLAN("k", "sha256", "{'kind':'interval','signatures_per_window':4,'lease_size':2}")
#define RAW_PLAN                                                                                   \
    RIG_PLAN("k", "raw", "{'kind':'interval','signatures_per_window':4,'lease_size':2}")

#define ASKS 8

static struct rig rig;
static struct access table;
static struct ask asks[ASKS];
static uint8_t digests[ASKS][SHA256_LEN];
static char names[ASKS][16];

static void begin(const char *plan, uint64_t window_max)
{
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, plan, 0);
    rig.limits[0].limits = (struct key_limits){.window_max = window_max};
    assert_int_equal(rig_open(&rig), RC_OK);
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

static void set(size_t i, const char *version, const char *slot, const char *idem, unsigned text)
{
    memset(&asks[i], 0, offsetof(struct ask, signature));
    digest_buffer(DIGEST_SHA256, digests[i], &text, sizeof(text));
    asks[i].version = version;
    asks[i].slot = slot;
    asks[i].idem = idem;
    asks[i].digest = digests[i];
    asks[i].digest_kind = DIGEST_SHA256;
}

/* `count` fresh requests by window, with keys from number `from` on. */
static void fresh(size_t count, unsigned from)
{
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "key-%u", from + i);
        set(i, NULL, NULL, names[i], from + i);
    }
}

static struct reply sign(size_t count, enum rc expected)
{
    struct reply whole;
    enum rc rc = rig_sign_bulk(&rig, asks, count, &whole);
    if (rc != expected)
        fail_msg("expected %s, got %s: %s", rc_name(expected), rc_name(rc), rig.err.text);
    return whole;
}

static void expect(size_t i, enum rc rc, bool replayed)
{
    if (asks[i].rc != rc || (rc == RC_OK && asks[i].replayed != replayed))
        fail_msg("item %zu: %s %s", i, rc_name(asks[i].rc), asks[i].reply.text);
}

/* Versions -------------------------------------------------------------------------------------
 */

static void versions_alone_and_together(void **state)
{
    (void)state;
    begin(VERSION_PLAN, 0);
    set(0, "0.1.0", "a", NULL, 1);
    set(1, "0.1.0", "b", NULL, 2);
    set(2, "0.1.0", "a", NULL, 3); /* bound by the first */
    set(3, "0.1.0", "a", NULL, 1); /* the first again */
    set(4, "0.9.0", "a", NULL, 5); /* outside the plan */
    set(5, "0.1.1", "a", NULL, 6);
    uint64_t commands = rig.fake.tpm->commands;
    (void)sign(6, RC_OK);
    expect(0, RC_OK, false);
    expect(1, RC_OK, false);
    expect(2, RC_REFUSED_BOUND, false);
    expect(3, RC_OK, true);
    expect(4, RC_REFUSED_OUTSIDE_PLAN, false);
    expect(5, RC_OK, false);
    assert_int_equal(oracle_indices(), 3);
    /* One commit for all: opening the window aside, A, L and the proof came once. */
    uint64_t together = rig.fake.tpm->commands - commands;
    assert_int_equal(asks[0].reply.signature.epoch, asks[5].reply.signature.epoch);
    assert_true(together < 14);
    (void)sign(6, RC_OK);
    expect(0, RC_OK, true);
    expect(1, RC_OK, true);
    expect(5, RC_OK, true);
    assert_int_equal(oracle_indices(), 3);
}

static void versions_beyond_the_cap(void **state)
{
    (void)state;
    begin(VERSION_PLAN, 2);
    set(0, "0.1.0", "a", NULL, 1);
    set(1, "0.1.0", "b", NULL, 2);
    set(2, "0.1.1", "a", NULL, 3);
    struct reply whole = sign(3, RC_RETRY_WINDOW_FULL);
    assert_int_equal(whole.window, 1);
    assert_int_equal(whole.window_limit, 2);
    assert_int_equal(whole.window_remaining, 2);
    assert_int_equal(oracle_computed(), 0);
    /* Equal requests are one. */
    set(2, "0.1.0", "b", NULL, 2);
    (void)sign(3, RC_OK);
    expect(2, RC_OK, true);
    assert_int_equal(oracle_indices(), 2);
    /* And what is signed already needs no room. */
    (void)sign(3, RC_OK);
    set(2, "0.1.1", "a", NULL, 3);
    (void)sign(3, RC_RETRY_WINDOW_FULL);
    assert_int_equal(oracle_indices(), 2);
}

/* Windows --------------------------------------------------------------------------------------
 */

static void time_window_that_cannot_hold_it(void **state)
{
    (void)state;
    begin(TIME_PLAN, 0);
    fresh(5, 0);
    (void)sign(5, RC_OK);
    uint64_t epoch = asks[0].reply.signature.epoch;
    for (size_t i = 0; i < 5; i++) {
        expect(i, RC_OK, false);
        assert_int_equal(asks[i].reply.signature.epoch, epoch);
    }
    /* Seven are usable, two are left. */
    fresh(3, 5);
    struct reply whole = sign(3, RC_RETRY_WINDOW_FULL);
    assert_int_equal(whole.window_remaining, 2);
    assert_true(whole.retry_after_s > 0);
    assert_int_equal(whole.retry_after_s, START + WEEK - rig.fake.now_ns / 1000000000);
    assert_int_equal(oracle_indices(), 5);
    /* Three with one stored among them fit. */
    fresh(3, 4);
    (void)sign(3, RC_OK);
    expect(0, RC_OK, true);
    expect(1, RC_OK, false);
    expect(2, RC_OK, false);
    fresh(1, 9);
    (void)sign(1, RC_RETRY_WINDOW_FULL);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    (void)sign(1, RC_OK);
    expect(0, RC_OK, false);
}

static void time_window_with_a_cap(void **state)
{
    (void)state;
    begin(TIME_PLAN, 3);
    fresh(4, 0);
    (void)sign(4, RC_REFUSED_TOO_LARGE);
    assert_int_equal(oracle_computed(), 0);
    fresh(2, 0);
    (void)sign(2, RC_OK);
    fresh(2, 2);
    assert_int_equal(sign(2, RC_RETRY_WINDOW_FULL).window_remaining, 1);
    fresh(1, 2);
    (void)sign(1, RC_OK);
    fresh(1, 3);
    assert_int_equal(sign(1, RC_RETRY_WINDOW_FULL).window_remaining, 0);
    assert_int_equal(oracle_indices(), 3);
    /* Four new ones are too many for any window, also while this one has no room at all; of those
     * signed before none is new. */
    fresh(4, 3);
    struct reply whole = sign(4, RC_REFUSED_TOO_LARGE);
    assert_int_equal(whole.window_limit, 0); /* no RateLimit: what is left is not what is amiss */
    assert_int_equal(whole.retry_after_s, -1);
    assert_non_null(strstr(rig.err.text, "3 signatures and the batch asks for 4"));
    fresh(4, 2);
    (void)sign(4, RC_RETRY_WINDOW_FULL);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    (void)sign(4, RC_OK);
    expect(0, RC_OK, true);
    expect(3, RC_OK, false);
    assert_int_equal(oracle_indices(), 6);
}

/* An interval plan goes on in the next window. */
static void interval_windows_hold_it_together(void **state)
{
    (void)state;
    begin(INTERVAL_PLAN, 0);
    fresh(7, 0);
    (void)sign(7, RC_OK);
    for (size_t i = 0; i < 7; i++)
        expect(i, RC_OK, false);
    assert_int_equal(asks[0].window + 1, asks[6].window);
    (void)sign(7, RC_OK);
    for (size_t i = 0; i < 7; i++)
        expect(i, RC_OK, true);
}

static void keys_of_idempotency(void **state)
{
    (void)state;
    begin(TIME_PLAN, 0);
    fresh(4, 0);
    set(1, NULL, NULL, "key-0", 0); /* the first again: it is still running */
    set(2, NULL, NULL, NULL, 2);    /* no key */
    set(3, "1.0.0", "a", NULL, 3);  /* no version plan */
    (void)sign(4, RC_OK);
    expect(0, RC_OK, false);
    expect(1, RC_RETRY_BUSY, false);
    expect(2, RC_REFUSED_IDEM_MISSING, false);
    expect(3, RC_REFUSED_OUTSIDE_PLAN, false);
    set(1, NULL, NULL, "key-0", 1); /* other bytes */
    (void)sign(2, RC_OK);
    expect(0, RC_OK, true);
    expect(1, RC_REFUSED_IDEM_REUSED, false);
    assert_int_equal(oracle_indices(), 1);
}

/* Two with one key need room for one: where three are left, and in a window of three. */
static void twins_take_room_once(void **state)
{
    (void)state;
    begin(TIME_PLAN, 3);
    fresh(4, 0);
    set(1, NULL, NULL, "key-0", 0);
    (void)sign(4, RC_OK);
    expect(0, RC_OK, false);
    expect(1, RC_RETRY_BUSY, false);
    expect(2, RC_OK, false);
    expect(3, RC_OK, false);
    assert_int_equal(oracle_indices(), 3);
    /* In a full window they wait for the next one, which can hold them. */
    fresh(4, 4);
    set(1, NULL, NULL, "key-4", 4);
    (void)sign(4, RC_RETRY_WINDOW_FULL);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    (void)sign(4, RC_OK);
    expect(1, RC_RETRY_BUSY, false);
    assert_int_equal(oracle_indices(), 6);
    /* Behind one that is refused for itself, the second is the first. */
    fake_clock_set(&rig.fake, START + 2 * WEEK + DAY);
    fresh(4, 8);
    set(0, "1.0.0", "a", "key-9", 9); /* no version plan */
    (void)sign(4, RC_OK);
    expect(0, RC_REFUSED_OUTSIDE_PLAN, false);
    expect(1, RC_OK, false);
    expect(3, RC_OK, false);
    fresh(2, 12);
    set(0, "1.0.0", "a", "key-12", 12);
    set(1, NULL, NULL, "key-12", 12);
    (void)sign(2, RC_RETRY_WINDOW_FULL);
}

static void digests_that_do_not_fit(void **state)
{
    (void)state;
    begin(TIME_PLAN, 0);
    fresh(2, 0);
    asks[0].digest_kind = DIGEST_SHA512;
    static uint8_t long_digest[64];
    asks[0].digest = long_digest;
    (void)sign(2, RC_OK);
    expect(0, RC_REFUSED_INPUT, false);
    expect(1, RC_OK, false);
    rig_end(&rig);
    begin(RAW_PLAN, 0);
    fresh(2, 0);
    (void)sign(2, RC_OK);
    expect(0, RC_REFUSED_INPUT, false);
    expect(1, RC_REFUSED_INPUT, false);
    assert_int_equal(oracle_indices(), 0);
}

/* Shares and reserves --------------------------------------------------------------------------
 */

/* "greedy" may have half of each window, "modest" and "incident" all of it. */
static void begin_shared(const char *plan, const struct key_limits *limits)
{
    static const char *const callers[] = {"greedy", "modest", "incident"};
    begin(plan, 0);
    memset(&table, 0, sizeof(table));
    for (size_t i = 0; i < 3; i++) {
        struct access_identity *id = &table.identities[table.identity_count++];
        strcpy(id->name, callers[i]);
        id->roles = ROLE_SIGNER;
        id->every_key = i > 0;
    }
    table.rules[table.rule_count++] = (struct access_rule){.identity = 0, .window_share = 50};
    rig_stop(&rig);
    rig.config.access = &table;
    rig.limits[0].limits = *limits;
    assert_int_equal(rig_open(&rig), RC_OK);
}

/* A message is one caller's. */
static void as(const char *who, size_t count)
{
    for (size_t i = 0; i < count; i++)
        asks[i].who = who;
}

/* Refused alone, and nothing was used for it. */
static void expect_limit(size_t i, const char *which)
{
    expect(i, RC_RETRY_WINDOW_FULL, false);
    assert_string_equal(asks[i].reply.violated, which);
    assert_int_equal(asks[i].reply.burned_index, REQUEST_NONE);
    assert_int_equal(asks[i].len, 0);
}

/* What the ledger says was used and burned of the window that is open. */
static struct ledger_usage used(uint64_t window)
{
    struct ledger_usage usage = {0};
    rig_stop(&rig);
    struct ledger *ledger = rig_ledger(&rig);
    assert_int_equal(ledger_window_usage(ledger, rig.record[0].id, window, &usage, &rig.err),
                     RC_OK);
    ledger_close(&ledger);
    assert_int_equal(rig_open(&rig), RC_OK);
    return usage;
}

/* Half of seven is three. */
static void share_that_ends_inside(void **state)
{
    (void)state;
    begin_shared(TIME_PLAN, &(struct key_limits){0});
    fresh(5, 0);
    as("greedy", 5);
    (void)sign(5, RC_OK);
    for (size_t i = 0; i < 3; i++) {
        expect(i, RC_OK, false);
        assert_int_equal(asks[i].index, asks[0].index + i);
        assert_int_equal(asks[i].reply.share_limit, 3);
        assert_int_equal(asks[i].reply.share_remaining, 2 - i);
    }
    expect_limit(3, LIMIT_CALLER);
    expect_limit(4, LIMIT_CALLER);
    assert_int_equal(asks[4].reply.retry_after_s, 6 * DAY);
    assert_int_equal(oracle_computed(), 3);
    /* Sent again, what was made is given again; it is not refused with the rest. */
    (void)sign(5, RC_OK);
    expect(2, RC_OK, true);
    expect_limit(3, LIMIT_CALLER);
    /* Where all are over, one answer is that of all (bulk_refused_whole()). */
    fresh(3, 5);
    as("greedy", 3);
    (void)sign(3, RC_OK);
    for (size_t i = 0; i < 3; i++)
        expect_limit(i, LIMIT_CALLER);
    assert_int_equal(oracle_indices(), 3);
    assert_int_equal(used(0).receipts, 3);
    assert_int_equal(used(0).burned, 0);
}

/* A version plan counts bindings, each window by itself. */
static void share_of_two_windows(void **state)
{
    (void)state;
    begin_shared(VERSION_PLAN, &(struct key_limits){0});
    set(0, "0.1.0", "a", NULL, 1);
    set(1, "0.1.0", "b", NULL, 2);
    set(2, "0.1.1", "a", NULL, 3); /* over: half of four is two */
    set(3, "0.1.0", "a", NULL, 1); /* the first again needs no share */
    set(4, "0.2.0", "a", NULL, 5); /* another window */
    as("greedy", 5);
    (void)sign(5, RC_OK);
    expect(0, RC_OK, false);
    expect(1, RC_OK, false);
    expect_limit(2, LIMIT_CALLER);
    expect(3, RC_OK, true);
    expect(4, RC_OK, false);
    /* A share that was over before the batch holds nothing up that needs none of it. */
    set(0, "0.2.0", "b", NULL, 6);
    set(1, "0.2.1", "a", NULL, 7);
    set(2, "0.3.0", "a", NULL, 8);
    as("greedy", 3);
    (void)sign(2, RC_OK);
    (void)sign(3, RC_OK);
    expect(0, RC_OK, true);
    expect_limit(1, LIMIT_CALLER);
    expect(2, RC_OK, false);
    assert_int_equal(oracle_computed(), 5);
}

static void reserve_inside_a_batch(void **state)
{
    (void)state;
    begin_shared(TIME_PLAN, &(struct key_limits){.reserve = 3, .reserve_for = "incident"});
    fresh(5, 0);
    as("modest", 5);
    (void)sign(5, RC_OK);
    for (size_t i = 0; i < 4; i++)
        expect(i, RC_OK, false);
    expect_limit(4, LIMIT_RESERVE);
    assert_int_equal(oracle_computed(), 4);
    /* Four do not fit for anybody, three do for whom they are kept. */
    fresh(4, 5);
    as("incident", 4);
    (void)sign(4, RC_RETRY_WINDOW_FULL);
    (void)sign(3, RC_OK);
    for (size_t i = 0; i < 3; i++)
        expect(i, RC_OK, false);
    fresh(1, 9);
    as("modest", 1);
    assert_string_equal(sign(1, RC_RETRY_WINDOW_FULL).violated, LIMIT_WINDOW);
    assert_int_equal(used(0).receipts, 7);
}

/* Who has had his share cannot take tokens away from the others by asking. */
static void refused_take_no_tokens(void **state)
{
    (void)state;
    begin_shared(
        TIME_PLAN,
        &(struct key_limits){.burst = 6, .per_hour = 1, .caller_burst = 4, .caller_per_hour = 1});
    for (unsigned i = 0; i < 4; i++) {
        fresh(5, 5 * i);
        as("greedy", 5);
        (void)sign(5, RC_OK);
        expect(2, i == 0 ? RC_OK : RC_RETRY_WINDOW_FULL, false);
        expect_limit(3, LIMIT_CALLER);
    }
    fresh(4, 100);
    as("modest", 4);
    (void)sign(4, RC_OK);
    for (size_t i = 0; i < 3; i++)
        expect(i, RC_OK, false);
    expect(3, RC_RETRY_RATE, false);
    assert_string_equal(asks[3].reply.violated, LIMIT_RATE);
    assert_int_equal(oracle_computed(), 6);
}

/* Cuts -----------------------------------------------------------------------------------------
 */

/* The TPM fails at its n-th command, and what was cut is asked for again: nothing is signed twice,
 * and everybody gets what they asked for. */
static void cut_at_each_command(const char *plan, bool by_version)
{
    static const char *const versions[] = {"0.1.0", "0.1.1"};
    for (uint64_t n = 1; n < 12; n++) {
        begin(plan, 0);
        fresh(4, 0);
        for (size_t i = 0; by_version && i < 4; i++)
            set(i, versions[i / 2], i % 2 == 0 ? "a" : "b", NULL, (unsigned)i);
        struct reply whole;
        fake_tpm_fail(&rig.fake, n, n % 2 == 0 ? FAKE_FAIL_BEFORE : FAKE_FAIL_AFTER);
        (void)rig_sign_bulk(&rig, asks, 4, &whole);
        fake_tpm_fail(&rig.fake, 0, FAKE_NONE);
        rig_reopen(&rig);
        (void)sign(4, RC_OK);
        for (size_t i = 0; i < 4; i++)
            assert_int_equal(asks[i].rc, RC_OK);
        rig_end(&rig);
    }
}

static void cut_batches_are_repeated(void **state)
{
    (void)state;
    cut_at_each_command(VERSION_PLAN, true);
    cut_at_each_command(INTERVAL_PLAN, false);
}

/* The message ----------------------------------------------------------------------------------
 */

static struct reply told;
static uint8_t *told_payload;
static size_t told_len;

static void take_told(void *ctx, struct item *item, const void *payload, size_t len)
{
    (void)ctx;
    told = item->reply;
    free(told_payload);
    told_payload = len > 0 ? malloc(len) : NULL;
    told_len = len;
    if (told_payload != NULL)
        memcpy(told_payload, payload, len);
}

static const struct loop_sink sink = {.answer = take_told};

/* One message with these items through the loop; file_len: how long its file is. */
static void tell(const char *key, const struct request_item *items, size_t count, size_t file_len)
{
    static struct loop loop;
    struct err err = {0};
    struct item item = {.fd = memfd_create("items", MFD_CLOEXEC), .job.artifact.fd = -1};
    struct item *list[] = {&item};
    item.request = (struct request){.magic = REQUEST_MAGIC,
                                    .op = REQUEST_BATCH,
                                    .generation = 1,
                                    .number = 7,
                                    .body_len = count * sizeof(*items)};
    strcpy(item.request.key, key);
    assert_int_equal(request_check(&item.request, 1, true, 0, &err), RC_OK);
    assert_true(pwrite_full(item.fd, items, file_len, 0));
    rig_stop(&rig);
    loop_start(&loop, &rig.config, 1000, &rig.fake.world, &sink);
    assert_int_equal(loop_turn(&loop, list, 1, &err), RC_OK);
    loop_end(&loop, true);
    fd_close(&item.fd);
    assert_int_equal(told.op, REQUEST_BATCH);
    assert_int_equal(told.number, 7);
}

static void item_of(struct request_item *item, const char *idem, unsigned text)
{
    *item = (struct request_item){.by = REQUEST_BY_WINDOW, .digest_kind = DIGEST_SHA256};
    strcpy(item->idempotency_key, idem);
    digest_buffer(DIGEST_SHA256, item->digest, &text, sizeof(text));
}

static void messages_and_their_answers(void **state)
{
    (void)state;
    static struct request_item items[ASKS + 1];
    begin(TIME_PLAN, 0);
    item_of(&items[0], "one", 1);
    item_of(&items[1], "two", 2);
    item_of(&items[2], "two", 3);
    tell("k", items, 3, 3 * sizeof(items[0]));
    assert_int_equal(told.rc, RC_OK);
    const struct reply *replies = (const struct reply *)(const void *)told_payload;
    assert_int_equal(replies[0].rc, RC_OK);
    assert_int_equal(replies[1].rc, RC_OK);
    assert_int_equal(replies[2].rc, RC_RETRY_BUSY);
    assert_int_equal(replies[2].payload_len, 0);
    assert_int_equal(told_len,
                     3 * sizeof(struct reply) + replies[0].payload_len + replies[1].payload_len);
    /* A file that is too short, an item that is none, a key that is not there. */
    tell("k", items, 3, sizeof(items[0]));
    assert_int_equal(told.rc, RC_REFUSED_INPUT);
    items[1].by = 9;
    tell("k", items, 2, 2 * sizeof(items[0]));
    assert_int_equal(told.rc, RC_REFUSED_INPUT);
    assert_non_null(strstr(told.text, "item 1"));
    items[1].by = REQUEST_BY_WINDOW;
    memset(items[1].idempotency_key, 'x', sizeof(items[1].idempotency_key));
    tell("k", items, 2, 2 * sizeof(items[0]));
    assert_int_equal(told.rc, RC_REFUSED_INPUT);
    tell("nobody", items, 1, sizeof(items[0]));
    assert_int_equal(told.rc, RC_REFUSED_NO_KEY);
    /* More than any window has, and more than this one has left: one answer for all. */
    for (unsigned i = 0; i < ASKS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "more-%u", i);
        item_of(&items[i], name, 10 + i);
    }
    tell("k", items, ASKS, ASKS * sizeof(items[0]));
    assert_int_equal(told.rc, RC_REFUSED_TOO_LARGE);
    assert_int_equal(told.state, STATE_OPERATIONAL);
    assert_int_equal(told_len, 0);
    tell("k", items, ASKS - 1, (ASKS - 1) * sizeof(items[0]));
    assert_int_equal(told.rc, RC_RETRY_WINDOW_FULL);
    assert_int_equal(told.state, STATE_WINDOW_FULL);
    assert_int_equal(told_len, 0);
    /* So is one of a clock that says nothing. */
    rig.fake.reasons = CLK_REASON(CLK_NO_REPLY);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    tell("k", items, 2, 2 * sizeof(items[0]));
    assert_int_equal(told.rc, RC_RETRY_CLOCK);
    assert_int_equal(told_len, 0);
    free(told_payload);
    told_payload = NULL;
}

static void messages_are_checked(void **state)
{
    (void)state;
    struct err err = {0};
    struct request r = {.magic = REQUEST_MAGIC, .op = REQUEST_BATCH, .generation = 1};
    const uint64_t size = sizeof(struct request_item);
    const uint64_t wrong[] = {0, 1, size - 1, size + 1, (REQUEST_BATCH_MAX + 1) * size};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        r.body_len = wrong[i];
        assert_int_equal(request_check(&r, 1, true, 0, &err), RC_REFUSED_INPUT);
    }
    r.body_len = REQUEST_BATCH_MAX * size;
    assert_int_equal(request_check(&r, 1, true, 0, &err), RC_OK);
    assert_int_equal(request_check(&r, 1, false, 0, &err), RC_REFUSED_INPUT);
    r.body_len = 2 * size;
    assert_int_equal(request_check(&r, 1, false, 2 * size, &err), RC_OK);
    assert_int_equal(request_check(&r, 1, false, size, &err), RC_REFUSED_INPUT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, end)
    const struct CMUnitTest tests[] = {
        TEST(versions_alone_and_together),
        TEST(versions_beyond_the_cap),
        TEST(time_window_that_cannot_hold_it),
        TEST(time_window_with_a_cap),
        TEST(interval_windows_hold_it_together),
        TEST(keys_of_idempotency),
        TEST(twins_take_room_once),
        TEST(share_that_ends_inside),
        TEST(share_of_two_windows),
        TEST(reserve_inside_a_batch),
        TEST(refused_take_no_tokens),
        TEST(digests_that_do_not_fit),
        TEST(cut_batches_are_repeated),
        TEST(messages_and_their_answers),
        cmocka_unit_test(messages_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
