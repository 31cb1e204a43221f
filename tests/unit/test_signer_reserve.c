/*
 * Remote hashing on a fake world: an index is reserved for an artifact that is only announced, and
 * the hash that the caller comes back with is signed once. What a reservation must not outlive: its
 * time, its window, the process. And every TPM command and every step of the disk between
 * reservation and answer fails once, with the oracle looking on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "lib/quick.h"
#include "lib/signer_rig.h"

#define DAY INT64_C(86400)
#define WEEK (7 * DAY)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define FAULTS_MAX 4000

#define PLAN(sets, scheme, remote, assignment)                                                     \
    "{'tidemark_plan':1,'key':'k','profile':'rfc','scheme':'" scheme "','parameters':" sets        \
    ",'message':'raw'" remote ",'assignment':" assignment "}"
#define LMS "['LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W2']"
#define HSS "['LMS_SHA256_M32_H5','LMOTS_SHA256_N32_W4','LMS_SHA256_M32_H5','LMOTS_SHA256_N32_W4']"
#define REMOTE ",'remote_hashing':{'expires_s':300,'open_per_caller':3}"
#define TIME                                                                                       \
    "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D','signatures_per_window':8,"      \
    "'lease_size':4}"
#define INTERVAL "{'kind':'interval','signatures_per_window':8,'lease_size':4}"
#define VERSION(order)                                                                             \
    "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':4},"                \
    "'window':'minor','order':'" order "','max_jump':8}"

#define TIME_PLAN PLAN(LMS, "lms", REMOTE, TIME)
#define INTERVAL_PLAN PLAN(LMS, "lms", REMOTE, INTERVAL)
#define VERSION_PLAN PLAN(LMS, "lms", REMOTE, VERSION("strict"))
#define LINE_PLAN PLAN(LMS, "lms", REMOTE, VERSION("per-line"))

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

static bool by_version(void)
{
    return rig.plan[0].kind == PLAN_VERSION;
}

/* what: a version, or an idempotency key. */
static enum rc reserve_as(struct ask *ask, const char *who, const char *what, const char *text)
{
    memset(ask, 0, offsetof(struct ask, signature));
    ask->version = by_version() ? what : NULL;
    ask->idem = by_version() ? NULL : what;
    ask->who = who;
    ask->text = text;
    return rig_reserve(&rig, ask);
}

static void reserve(struct ask *ask, const char *what, const char *text, enum rc expected)
{
    (void)reserve_as(ask, NULL, what, text);
    if (ask->rc != expected)
        fail_msg("expected %s, got %s: %s", rc_name(expected), rc_name(ask->rc), ask->reply.text);
}

static void commit_as(const struct ask *reserved, const char *who, const char *text,
                      struct ask *ask, enum rc expected)
{
    memset(ask, 0, offsetof(struct ask, signature));
    ask->who = who;
    (void)rig_commit(&rig, reserved, text, ask);
    if (ask->rc != expected)
        fail_msg("expected %s, got %s: %s", rc_name(expected), rc_name(ask->rc), ask->reply.text);
}

static void commit(const struct ask *reserved, const char *text, enum rc expected)
{
    static struct ask ask;
    commit_as(reserved, NULL, text, &ask, expected);
}

/* The hash that was signed before: the same bytes. */
static void commit_again(const struct ask *reserved, const struct ask *first)
{
    static struct ask again;
    commit_as(reserved, NULL, "artifact", &again, RC_OK);
    assert_true(again.replayed);
    assert_int_equal(again.len, first->len);
    assert_memory_equal(again.signature, first->signature, first->len);
}

/* The request that was made before: the same reservation, which is still open. */
static void told_again(const struct ask *first, const char *what)
{
    static struct ask again;
    reserve(&again, what, "artifact", RC_OK);
    assert_true(again.replayed && again.reply.reserved);
    assert_int_equal(again.len, first->len);
    assert_memory_equal(again.signature, first->signature, first->len);
    assert_int_equal(again.reply.expires_s, first->reply.expires_s);
}

static struct view_window window_zero(void)
{
    struct request request = {.op = REQUEST_WINDOWS, .key = "k", .from = 0, .to = 0};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    signer_read(rig.signer, &request, &reply, &payload, &len);
    assert_int_equal(reply.rc, RC_OK);
    struct view_window v = *(const struct view_window *)payload;
    free(payload);
    assert_int_equal(v.signatures + v.burned + v.given_up + v.remaining + v.reserved, v.usable);
    return v;
}

static void expect_window(uint64_t signatures, uint64_t reserved, uint64_t burned)
{
    struct view_window v = window_zero();
    assert_int_equal(v.signatures, signatures);
    assert_int_equal(v.reserved, reserved);
    assert_int_equal(v.burned, burned);
}

static enum burn_reason reason; /* of the index that was asked for last */

static uint32_t index_state(uint64_t index)
{
    struct request request = {.op = REQUEST_INDEX, .key = "k", .from = (int64_t)index};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    signer_read(rig.signer, &request, &reply, &payload, &len);
    assert_int_equal(reply.rc, RC_OK);
    const struct view_index *view = payload;
    uint32_t found = view->state;
    reason = (enum burn_reason)view->reason;
    /* The ledger's words begin with the reason's, and are there just when it is burned. */
    assert_true(found != INDEX_BURNED || burn_reason_of(view->why) == reason);
    assert_int_equal(view->why[0] != '\0', found == INDEX_BURNED);
    free(payload);
    return found;
}

static void look(void)
{
    struct err err = {0};
    assert_int_equal(signer_watch(rig.signer, &err), RC_OK);
}

/* The way of it -------------------------------------------------------------------------------- */

static const char *const all_plans[] = {
    TIME_PLAN,
    INTERVAL_PLAN,
    VERSION_PLAN,
    LINE_PLAN,
    PLAN("['XMSS-SHA2_10_256']", "xmss", REMOTE,
         "{'kind':'interval','signatures_per_window':8,'lease_size':4}"),
    PLAN("['XMSSMT-SHA2_20/2_256']", "xmssmt", REMOTE,
         "{'kind':'interval','signatures_per_window':1024,'lease_size':4,'windows':2}"),
    PLAN(HSS, "hss", REMOTE,
         "{'kind':'interval','signatures_per_window':32,'lease_size':4,'windows':2}"),
};

/* Every kind of plan and every scheme: what comes back is an ordinary signature of the artifact,
 * which the rig verifies like any other. */
static void hash_is_signed_once(void **state)
{
    (void)state;
    static struct ask r, first, again;
    for (size_t i = 0; i < sizeof(all_plans) / sizeof(all_plans[0]); i++) {
        begin(all_plans[i]);
        reserve(&r, by_version() ? "0.0.0" : "a", "artifact", RC_OK);
        assert_true(r.reply.reserved && !r.replayed);
        assert_int_equal(r.reply.expires_s, START + DAY + 300);
        size_t before = oracle_computed(); /* what leads to a bottom tree */
        assert_false(oracle_has(&rig, 0, r.reply.signature.index));
        assert_int_equal(index_state(r.reply.signature.index), INDEX_LEASED);
        expect_window(0, 1, 0);
        commit_as(&r, NULL, "artifact", &first, RC_OK);
        assert_false(first.replayed);
        assert_int_equal(first.index, r.reply.signature.index);
        assert_memory_equal(first.reply.signature.id, r.reply.signature.id, 16);
        assert_int_equal(index_state(first.index), INDEX_SIGNED);
        expect_window(1, 0, 0);
        /* The same hash: the same bytes. Another one: never. */
        commit_again(&r, &first);
        commit(&r, "another artifact", RC_REFUSED_OTHER_HASH);
        rig_reopen(&rig);
        commit(&r, "another artifact", RC_REFUSED_OTHER_HASH);
        commit_again(&r, &first);
        /* Who asks for a reservation again, or for a signature, is given what is signed. */
        reserve(&again, by_version() ? "0.0.0" : "a", "artifact", RC_OK);
        assert_true(again.replayed && !again.reply.reserved);
        assert_memory_equal(again.signature, first.signature, first.len);
        assert_int_equal(oracle_computed(), before + 1);
        rig_end(&rig);
    }
}

/* The caller's hash is in the receipt, and what was hashed here says nothing of one. */
static void receipt_says_who_hashed(void **state)
{
    (void)state;
    static struct ask r, s;
    begin(TIME_PLAN);
    reserve(&r, "a", "artifact", RC_OK);
    commit_as(&r, NULL, "artifact", &s, RC_OK);
    struct request request = {.op = REQUEST_RECEIPT, .key = "k"};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    memcpy(request.id, s.reply.signature.id, sizeof(request.id));
    signer_read(rig.signer, &request, &reply, &payload, &len);
    assert_int_equal(reply.rc, RC_OK);
    char hex[HEX_SIZE(24)];
    char member[100];
    hex_encode(hex, s.request.digest, 24);
    (void)snprintf(member, sizeof(member), "\"caller_hash\":\"%s\"", hex);
    assert_non_null(strstr(payload, member));
    assert_non_null(strstr(payload, "\"idempotency_key\":\"a\""));
    free(payload);
    static struct ask here = {.idem = "b", .text = "artifact"};
    rig_ask(&rig, &here, RC_OK);
    memcpy(request.id, here.reply.signature.id, sizeof(request.id));
    signer_read(rig.signer, &request, &reply, &payload, &len);
    assert_null(strstr(payload, "caller_hash"));
    free(payload);
}

static void same_request_gets_the_same_reservation(void **state)
{
    (void)state;
    static struct ask r, again;
    static const char *const plans[] = {TIME_PLAN, VERSION_PLAN};
    for (size_t i = 0; i < 2; i++) {
        begin(plans[i]);
        const char *what = by_version() ? "0.0.0" : "a";
        reserve(&r, what, "artifact", RC_OK);
        told_again(&r, what);
        /* Another artifact, another caller, or somebody who wants it signed here. */
        reserve(&again, what, "another", by_version() ? RC_REFUSED_BOUND : RC_REFUSED_IDEM_REUSED);
        (void)reserve_as(&again, "other", what, "artifact");
        assert_int_equal(again.rc, RC_RETRY_BUSY);
        assert_in_range(again.reply.retry_after_s, 1, 301);
        static struct ask sign;
        memset(&sign, 0, offsetof(struct ask, signature));
        sign.version = r.version;
        sign.idem = r.idem;
        sign.text = "artifact";
        rig_ask(&rig, &sign, RC_RETRY_BUSY);
        assert_int_equal(oracle_computed(), 0);
        commit(&r, "artifact", RC_OK);
        rig_end(&rig);
    }
}

static void refusals(void **state)
{
    (void)state;
    static struct ask r, s;
    begin(PLAN(LMS, "lms", "", TIME));
    reserve(&r, "a", "artifact", RC_REFUSED_NOT_REMOTE);
    r.reply.reserved = true;
    strcpy(r.reply.hash, "sha256/192");
    commit(&r, "artifact", RC_REFUSED_NOT_REMOTE);
    rig_end(&rig);

    begin(TIME_PLAN);
    reserve(&r, NULL, "artifact", RC_REFUSED_IDEM_MISSING);
    reserve(&r, "a", "artifact", RC_OK);
    struct ask wrong = r;
    wrong.reply.signature.id[0] ^= 1;
    commit(&wrong, "artifact", RC_REFUSED_NOT_FOUND);
    wrong = r;
    wrong.reply.signature.id[15] ^= 1;
    commit(&wrong, "artifact", RC_REFUSED_NOT_FOUND);
    wrong = r;
    strcpy(wrong.reply.hash, "sha256/256");
    commit(&wrong, "artifact", RC_REFUSED_INPUT); /* 32 bytes for a key of 24 */
    commit_as(&r, "other", "artifact", &s, RC_REFUSED_ACCESS);
    assert_int_equal(oracle_computed(), 0);
    commit(&r, "artifact", RC_OK);
    commit_as(&r, "other", "artifact", &s, RC_REFUSED_ACCESS);
    /* What was signed here was no reservation. */
    static struct ask here = {.idem = "b", .text = "artifact"};
    rig_ask(&rig, &here, RC_OK);
    wrong = r;
    memcpy(wrong.reply.signature.id, here.reply.signature.id, 16);
    commit(&wrong, "artifact", RC_REFUSED_NOT_FOUND);
}

static void caller_has_so_many_at_a_time(void **state)
{
    (void)state;
    static struct ask r[4], other;
    static const char *const idem[] = {"a", "b", "c", "d"};
    begin(TIME_PLAN);
    for (size_t i = 0; i < 4; i++)
        reserve(&r[i], idem[i], idem[i], i < 3 ? RC_OK : RC_RETRY_RATE);
    assert_string_equal(r[3].reply.violated, LIMIT_RESERVATIONS);
    assert_in_range(r[3].reply.retry_after_s, 1, 301);
    (void)reserve_as(&other, "other", "e", "e");
    assert_int_equal(other.rc, RC_OK);
    reserve(&r[3], "a", "a", RC_OK); /* one that is open already is no new one */
    assert_true(r[3].replayed);
    commit(&r[0], "a", RC_OK);
    reserve(&r[3], "d", "d", RC_OK);
}

/* Shares and caps count what is reserved, and what was burned of it: whoever reserves and never
 * comes back uses the window up like anybody else. */
static void reserved_counts_as_used(void **state)
{
    (void)state;
    static struct ask r;
    begin(TIME_PLAN);
    rig_stop(&rig);
    rig.limits[0].limits = (struct key_limits){.window_max = 3};
    assert_int_equal(rig_open(&rig), RC_OK);
    reserve(&r, "a", "a", RC_OK);
    reserve(&r, "b", "b", RC_OK);
    commit(&r, "b", RC_OK);
    fake_clock_set(&rig.fake, START + DAY + 400);
    reserve(&r, "c", "c", RC_OK);
    reserve(&r, "d", "d", RC_RETRY_WINDOW_FULL);
    static struct ask here = {.idem = "e", .text = "e"};
    rig_ask(&rig, &here, RC_RETRY_WINDOW_FULL);
}

/* What a reservation must not outlive -----------------------------------------------------------
 */

static void it_expires(void **state)
{
    (void)state;
    static struct ask r, second;
    static const char *const plans[] = {TIME_PLAN, INTERVAL_PLAN, VERSION_PLAN};
    for (size_t i = 0; i < 3; i++) {
        begin(plans[i]);
        reserve(&r, by_version() ? "0.0.0" : "a", "artifact", RC_OK);
        reserve(&second, by_version() ? "0.0.1" : "b", "another", RC_OK);
        fake_clock_set(&rig.fake, START + DAY + 299);
        commit(&second, "another", RC_OK);
        fake_clock_set(&rig.fake, START + DAY + 301);
        look();
        assert_int_equal(index_state(r.reply.signature.index), INDEX_BURNED);
        assert_int_equal(reason, BURN_EXPIRED);
        expect_window(1, 0, 1);
        commit(&r, "artifact", RC_REFUSED_EXPIRED);
        commit(&second, "another", RC_OK);
        /* Its index is never given back; the idempotency key gets another one. */
        reserve(&r, by_version() ? "0.0.0" : "a", "artifact",
                by_version() ? RC_REFUSED_SPENT : RC_OK);
        if (!by_version())
            assert_int_not_equal(r.reply.signature.index, 0);
        assert_int_equal(oracle_computed(), 1);
        rig_end(&rig);
    }
}

/* Though nobody has looked since. */
static void late_hash_is_late_by_itself(void **state)
{
    (void)state;
    static struct ask r;
    begin(TIME_PLAN);
    reserve(&r, "a", "artifact", RC_OK);
    fake_clock_set(&rig.fake, START + DAY + 300);
    commit(&r, "artifact", RC_REFUSED_EXPIRED);
    expect_window(0, 0, 1);
}

static void it_ends_with_the_process(void **state)
{
    (void)state;
    static struct ask r;
    static const char *const plans[] = {TIME_PLAN, INTERVAL_PLAN, VERSION_PLAN, LINE_PLAN};
    for (size_t i = 0; i < 8; i++) {
        begin(plans[i / 2]);
        reserve(&r, by_version() ? "0.0.0" : "a", "artifact", RC_OK);
        if (i % 2 == 0) {
            rig_reopen(&rig);
        } else {
            rig_stop(&rig);
            assert_int_equal(rig_open(&rig), RC_OK);
        }
        assert_int_equal(rig_key_rc(&rig, 0), RC_OK);
        commit(&r, "artifact", RC_REFUSED_EXPIRED);
        assert_int_equal(index_state(r.reply.signature.index), INDEX_BURNED);
        assert_int_equal(reason, BURN_RESTART);
        assert_int_equal(oracle_computed(), 0);
        rig_stop(&rig);
        struct ledger *ledger = rig_ledger(&rig);
        struct err err = {0};
        bool burned = false;
        assert_int_equal(ledger_is_burned(ledger, 1, r.reply.signature.index, &burned, &err),
                         RC_OK);
        assert_true(burned);
        assert_int_equal(ledger_check_invariants(ledger, &err), RC_OK);
        ledger_close(&ledger);
        rig_end(&rig);
    }
}

static void it_ends_with_its_window(void **state)
{
    (void)state;
    static struct ask r, next;
    begin(VERSION_PLAN);
    reserve(&r, "0.0.0", "artifact", RC_OK);
    static struct ask sign = {.version = "0.1.0", .text = "later"};
    rig_ask(&rig, &sign, RC_OK);
    commit(&r, "artifact", RC_REFUSED_EXPIRED);
    assert_int_equal(index_state(r.reply.signature.index), INDEX_BURNED);
    assert_int_equal(reason, BURN_WINDOW);
    rig_end(&rig);

    begin(TIME_PLAN);
    reserve(&r, "a", "artifact", RC_OK);
    fake_clock_set(&rig.fake, START + WEEK + DAY);
    commit(&r, "artifact", RC_REFUSED_EXPIRED); /* nobody has opened the next one yet */
    rig_end(&rig);

    /* Within its time, but its window is over. */
    begin(TIME_PLAN);
    fake_clock_set(&rig.fake, START + WEEK - 60);
    reserve(&r, "a", "artifact", RC_OK);
    fake_clock_set(&rig.fake, START + WEEK + 60);
    commit(&r, "artifact", RC_REFUSED_EXPIRED);
    reserve(&next, "b", "artifact", RC_OK);
    assert_int_equal(next.reply.signature.window, 1);
    commit(&next, "artifact", RC_OK);
    rig_end(&rig);

    begin(TIME_PLAN);
    fake_clock_set(&rig.fake, START + WEEK - 60);
    reserve(&r, "a", "artifact", RC_OK);
    fake_clock_set(&rig.fake, START + WEEK + 60);
    reserve(&next, "b", "other", RC_OK); /* opens window 1 */
    commit(&r, "artifact", RC_REFUSED_EXPIRED);
    assert_int_equal(oracle_computed(), 0);
}

/* A clock that is not safe signs nothing, and takes nothing away. */
static void unsafe_clock_waits(void **state)
{
    (void)state;
    static struct ask r;
    begin(TIME_PLAN);
    reserve(&r, "a", "artifact", RC_OK);
    fake_clock_step(&rig.fake, START + DAY + 3600);
    commit(&r, "artifact", RC_RETRY_CLOCK);
    assert_int_equal(index_state(r.reply.signature.index), INDEX_LEASED);
    assert_int_equal(oracle_computed(), 0);
    rig_end(&rig);
    begin(TIME_PLAN);
    /* The second look, when the signature is made: the index is burned. */
    reserve(&r, "b", "artifact", RC_OK);
    fake_clock_change_at(&rig.fake, 2, WEEK, 0);
    commit(&r, "artifact", RC_BURNED_CLOCK);
    commit(&r, "artifact", RC_REFUSED_EXPIRED);
}

/* The disk as it was while the reservation was open, put back behind the signature. */
static void disk_put_back_signs_no_second_hash(void **state)
{
    (void)state;
    static struct ask r;
    static const char *const plans[] = {TIME_PLAN, INTERVAL_PLAN, VERSION_PLAN, LINE_PLAN};
    for (size_t i = 0; i < 4; i++) {
        struct rig_disk copy;
        begin(plans[i]);
        reserve(&r, by_version() ? "0.0.0" : "a", "artifact", RC_OK);
        rig_disk_take(&rig, &copy);
        commit(&r, "artifact", RC_OK);
        rig_stop(&rig);
        rig_disk_put(&rig, &copy);
        rig_disk_free(&copy);
        if (rig_open(&rig) == RC_OK && rig_key_rc(&rig, 0) == RC_OK)
            commit(&r, "another", RC_REFUSED_EXPIRED);
        oracle_check();
        assert_int_equal(oracle_computed(), 1);
        rig_end(&rig);
    }
}

/* A copy of the process with its memory, on a disk of its own, in front of the same TPM: of the two
 * one signs. */
static void resumed_memory_signs_no_second_hash(void **state)
{
    (void)state;
    static struct ask r, s;
    begin(TIME_PLAN);
    reserve(&r, "a", "artifact", RC_OK);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        memset(&s, 0, offsetof(struct ask, signature));
        (void)rig_commit(&rig, &r, "artifact", &s);
        _exit(s.rc == RC_OK ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    memset(&s, 0, offsetof(struct ask, signature));
    (void)rig_commit(&rig, &r, "another", &s);
    assert_int_equal(rc_class(s.rc), RC_CLASS_HALT);
    oracle_check();
    assert_int_equal(oracle_computed(), 1);
}

/* The same copy signs, and the caller asks this process for its reservation again: the memory that
 * says that it is open is older than the TPM. */
static void resumed_memory_tells_no_prefix(void **state)
{
    (void)state;
    static struct ask r, s;
    static const char *const plans[] = {TIME_PLAN, VERSION_PLAN};
    for (size_t i = 0; i < 2; i++) {
        const char *what = i == 0 ? "a" : "0.0.0";
        begin(plans[i]);
        reserve(&r, what, "artifact", RC_OK);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            memset(&s, 0, offsetof(struct ask, signature));
            (void)rig_commit(&rig, &r, "artifact", &s);
            _exit(s.rc == RC_OK ? 0 : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        (void)reserve_as(&s, NULL, what, "artifact");
        assert_int_equal(rc_class(s.rc), RC_CLASS_HALT);
        assert_false(s.reply.reserved);
        assert_int_equal(rc_class(rig_key_rc(&rig, 0)), RC_CLASS_HALT);
        oracle_check();
        rig_end(&rig);
    }
}

/* A TPM that is busy has changed nothing, and the reservation stays. */
static void busy_tpm_tells_it_later(void **state)
{
    (void)state;
    static struct ask r, again;
    begin(TIME_PLAN);
    reserve(&r, "a", "artifact", RC_OK);
    fake_tpm_fail(&rig.fake, 1, FAKE_BUSY);
    (void)reserve_as(&again, NULL, "a", "artifact");
    assert_int_equal(rc_class(again.rc), RC_CLASS_RETRY);
    assert_false(again.reply.reserved);
    told_again(&r, "a");
    commit(&r, "artifact", RC_OK);
}

/* Everything that fails -------------------------------------------------------------------------
 */

static char told[160];
static unsigned crashes;

static void crash_and_open(void)
{
    for (unsigned i = 0; i < 8; i++) {
        crashes++;
        rig_crash(&rig);
        if (rig_open(&rig) == RC_OK && rig_key_rc(&rig, 0) == RC_OK)
            return;
    }
    fail_msg("%s: the key does not sign any more", told);
}

/* A client that asks until it has its signature, but tries another hash after each failure: what it
 * cannot do is to have both signed. */
static void play(const char *const *names, size_t count)
{
    static struct ask r, s;
    static const char *const texts[] = {"artifact", "another", "third"};
    for (size_t i = 0; i < count; i++) {
        bool done = false;
        for (unsigned try = 0; try < 6 && !done; try++) {
            enum rc rc = reserve_as(&r, NULL, names[i], "artifact");
            if (rc != RC_OK || rig_key_rc(&rig, 0) != RC_OK)
                crash_and_open();
            if (r.rc == RC_REFUSED_SPENT) /* the version went with its index */
                break;
            if (r.rc != RC_OK)
                continue;
            done = !r.reply.reserved;
            for (unsigned t = 0; !done && t < 3; t++) {
                memset(&s, 0, offsetof(struct ask, signature));
                rc = rig_commit(&rig, &r, texts[(t + try) % 3], &s);
                done = s.rc == RC_OK;
                if (rc != RC_OK || rig_key_rc(&rig, 0) != RC_OK)
                    crash_and_open();
            }
        }
    }
    oracle_check();
}

static bool run(enum fake_fault fault, uint64_t command, uint64_t cut)
{
    static const char *const versions[] = {"0.0.0", "0.0.1", "0.1.0"};
    static const char *const keys[] = {"a", "b", "c"};
    (void)snprintf(told, sizeof(told), "fault %d at command %" PRIu64 ", cut at %" PRIu64,
                   (int)fault, command, cut);
    oracle_reset();
    crashes = 0;
    rig_restore(&rig, 1);
    crashvfs_cut_at(rig.disk, cut);
    fake_tpm_fail(&rig.fake, command, fault);
    if (rig_open(&rig) != RC_OK || rig_key_rc(&rig, 0) != RC_OK)
        crash_and_open();
    play(by_version() ? versions : keys, 3);
    bool met = crashes > 0 || (cut == 0 && rig.fake.tpm->commands >= command);
    crashvfs_cut_at(rig.disk, 0);
    rig_stop(&rig);
    return met;
}

static void each_fault(const char *plan, enum fake_fault fault, bool disk)
{
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, plan, 0);
    rig_save(&rig);
    uint64_t n = 1;
    while (n < FAULTS_MAX && run(fault, disk ? 0 : n, disk ? n : 0))
        n += quick_stride(5);
    assert_in_range(n, 12, FAULTS_MAX - 1);
    struct ledger *ledger = rig_ledger(&rig);
    struct err err = {0};
    assert_int_equal(ledger_check_invariants(ledger, &err), RC_OK);
    ledger_close(&ledger);
    rig_end(&rig);
}

static void each_tpm_command_fails(void **state)
{
    (void)state;
    each_fault(TIME_PLAN, FAKE_FAIL_AFTER, false);
    each_fault(VERSION_PLAN, FAKE_FAIL_AFTER, false);
    each_fault(VERSION_PLAN, FAKE_FAIL_BEFORE, false);
    each_fault(INTERVAL_PLAN, FAKE_BUSY, false);
}

static void power_goes_in_each_step_of_the_disk(void **state)
{
    (void)state;
    each_fault(TIME_PLAN, FAKE_NONE, true);
    each_fault(VERSION_PLAN, FAKE_NONE, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(hash_is_signed_once, end),
        cmocka_unit_test_teardown(receipt_says_who_hashed, end),
        cmocka_unit_test_teardown(same_request_gets_the_same_reservation, end),
        cmocka_unit_test_teardown(refusals, end),
        cmocka_unit_test_teardown(caller_has_so_many_at_a_time, end),
        cmocka_unit_test_teardown(reserved_counts_as_used, end),
        cmocka_unit_test_teardown(it_expires, end),
        cmocka_unit_test_teardown(late_hash_is_late_by_itself, end),
        cmocka_unit_test_teardown(it_ends_with_the_process, end),
        cmocka_unit_test_teardown(it_ends_with_its_window, end),
        cmocka_unit_test_teardown(unsafe_clock_waits, end),
        cmocka_unit_test_teardown(disk_put_back_signs_no_second_hash, end),
        cmocka_unit_test_teardown(resumed_memory_signs_no_second_hash, end),
        cmocka_unit_test_teardown(resumed_memory_tells_no_prefix, end),
        cmocka_unit_test_teardown(busy_tpm_tells_it_later, end),
        cmocka_unit_test_teardown(each_tpm_command_fails, end),
        cmocka_unit_test_teardown(power_goes_in_each_step_of_the_disk, end),
    };
    return cmocka_run_group_tests_name("signer_reserve", tests, NULL, NULL);
}
