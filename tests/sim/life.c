#include "sim/life.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "signer/advance.h"
#include "signer/backup.h"
#include "signer/clockfile.h"
#include "signer/recover.h"

#define DAY INT64_C(86400)
#define WEEK (7 * DAY)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define NS_PER_S INT64_C(1000000000)
#define TRIES_MAX 8
#define USABLE 4
#define LAST_WINDOW 7

static struct {
    const struct life *life;
    struct rig *rig;
    struct progress now;
    unsigned crashes;
    struct answer expected[MOMENT_ACTS][MOMENT_ASKS];
    struct ask asks[MOMENT_ASKS];
    uint64_t refused, harmless;
} live;

/* Asking -----------------------------------------------------------------------------------------
 */

static bool by_version(void)
{
    return live.rig->plan[0].kind == PLAN_VERSION;
}

static bool by_clock(void)
{
    return live.rig->plan[0].kind == PLAN_TIME;
}

static int64_t in_window(unsigned window)
{
    return START + window * WEEK + DAY;
}

static unsigned window_of_clock(void)
{
    return (unsigned)((live.rig->fake.now_ns / NS_PER_S - START) / WEEK);
}

static void clear(struct ask *a)
{
    memset(a, 0, offsetof(struct ask, signature));
}

/* Request '1' or '2' of the life. */
static void request(struct ask *a, char which)
{
    unsigned n = (unsigned)(which - '1');
    clear(a);
    a->version = by_version() ? live.life->versions[n] : NULL;
    a->slot = by_version() ? "a" : NULL;
    a->idem = by_version() ? NULL : (n == 0 ? "first" : "second");
    a->text = n == 0 ? "one" : "two";
}

static enum rc open_signer(void)
{
    enum rc rc = rig_open(live.rig);
    return rc == RC_OK ? rig_key_rc(live.rig, 0) : rc;
}

static void must_open(void)
{
    enum rc rc = open_signer();
    if (rc != RC_OK)
        fail_msg("%s: the key does not sign: %s", live.life->name, rc_name(rc));
}

/* Does the TPM say that window 7 may be used before its start? */
static bool opened_early(void)
{
    struct anchor_record a;
    return anchor_record_decode(&a, live.rig->fake.tpm->nv[0].a) && a.early_window == LAST_WINDOW;
}

/* A full window is no end while there is another; then it is, and it must be true. */
static bool waits_for_window(const struct ask *a)
{
    return a->rc == RC_RETRY_WINDOW_FULL && by_clock() && window_of_clock() < LAST_WINDOW;
}

static bool is_final(const struct ask *a)
{
    return a->rc == RC_OK || rc_class(a->rc) == RC_CLASS_REFUSED ||
           (a->rc == RC_RETRY_WINDOW_FULL && !waits_for_window(a));
}

/* A signature lies in the window in which it was made; while a batch is on its way that can be two
 * of them, one after the other. */
static void check_window(const struct ask *a, unsigned began)
{
    if (a->rc != RC_OK || a->replayed)
        return;
    bool wrong = opened_early() ? a->window != LAST_WINDOW
                                : a->window < began || a->window > window_of_clock();
    if (by_clock() && wrong)
        fail_msg("%s: signed in window %" PRIu64 ", but it is %u", live.life->name, a->window,
                 window_of_clock());
    assert_in_range(a->window, LIFE_FIRST_WINDOW, LAST_WINDOW);
}

static void keep_answer(struct answer *answer, const struct ask *a)
{
    *answer = (struct answer){.final = is_final(a), .rc = (int32_t)a->rc};
    if (a->rc != RC_OK)
        return;
    answer->index = a->index;
    digest_buffer(DIGEST_SHA256, answer->signature, a->signature, a->len);
}

/* Those who have no final answer yet ask, together. @return how many. */
static size_t ask_round(unsigned act)
{
    const char *which = live.life->acts[act].asks;
    struct answer *to[MOMENT_ASKS];
    size_t n = 0;
    for (size_t i = 0; which[i] != '\0'; i++) {
        if (live.now.answers[act][i].final)
            continue;
        to[n] = &live.now.answers[act][i];
        request(&live.asks[n++], which[i]);
    }
    if (n == 0)
        return 0;
    unsigned began = window_of_clock();
    enum rc rc = rig_sign(live.rig, live.asks, n);
    if (rc != RC_OK)
        fail_msg("%s: %s: %s", live.life->name, rc_name(rc), err_text(&live.rig->err));
    for (size_t i = 0; i < n; i++) {
        check_window(&live.asks[i], began);
        keep_answer(to[i], &live.asks[i]);
    }
    bool wait = false;
    for (size_t i = 0; i < n; i++)
        wait = wait || waits_for_window(&live.asks[i]);
    if (!wait)
        return n;
    fake_clock_set(&live.rig->fake, in_window(LAST_WINDOW));
    fake_clock_change_at(&live.rig->fake, 0, 0, 0);
    return n;
}

/* What `backup check` left of an export that covers window 7; before the life begins. */
static const uint8_t export_sha256[SHA256_LEN] = {0xe1};

static void acknowledge(void)
{
    struct err err = {0};
    char name[LEDGER_TEXT_MAX + 1];
    backup_name(name, export_sha256, "in the safe");
    struct ledger *ledger = rig_ledger(live.rig);
    assert_int_equal(ledger_begin(ledger, &err), RC_OK);
    assert_int_equal(ledger_add_note(ledger, live.rig->record[0].id, LEDGER_ACKNOWLEDGEMENT,
                                     "backup-export", name, LAST_WINDOW, START, &err),
                     RC_OK);
    assert_int_equal(ledger_commit(ledger, &err), RC_OK);
    ledger_close(&ledger);
}

/* The operator runs the command, and behind a crash runs it again. Once it is window 7 by the
 * clock there is nothing to be early for. */
static void open_early(void)
{
    struct rig *rig = live.rig;
    struct err err = {0};
    struct advance_plan plan;
    void *tpm = NULL;
    struct advance_statement s = {
        .window = LAST_WINDOW, .reason = "in a hurry", .virtual_policy = VIRTUAL_DEMO};
    memcpy(s.export_sha256, export_sha256, SHA256_LEN);
    if (window_of_clock() >= LAST_WINDOW)
        return;
    rig_stop(rig);
    struct ledger *ledger = rig_ledger(rig);
    struct key *key = rig_load_key(rig, 0, ledger, &tpm);
    enum rc rc = advance_window_plan(key, &rig->fake.world, ledger, &s, &plan, &err);
    if (rc == RC_OK)
        rc = advance_window(key, &rig->fake.world, tpm, ledger, &plan, NULL, &err);
    rig_unload_key(rig, key, &tpm);
    ledger_close(&ledger);
    if (rc != RC_OK)
        fail_msg("%s: opened early: %s: %s", live.life->name, rc_name(rc), err_text(&err));
    must_open();
}

static void play_act(unsigned act, bool begun)
{
    const struct life_act *a = &live.life->acts[act];
    if (a->early_before)
        open_early();
    if (a->restart_before && !begun) {
        rig_stop(live.rig);
        must_open();
    }
    if (by_clock() && a->window > window_of_clock())
        fake_clock_set(&live.rig->fake, in_window(a->window));
    fake_clock_change_at(&live.rig->fake, begun ? 0 : a->change_at, WEEK, 0);
    for (unsigned try = 0; try < TRIES_MAX; try++)
        if (ask_round(act) == 0)
            return;
    fail_msg("%s: act %u: no end of asking: %s", live.life->name, act, rc_name(live.asks[0].rc));
}

/* Judging ----------------------------------------------------------------------------------------
 */

static void check_answer(unsigned act, unsigned i, bool key_is_full)
{
    const struct answer *a = &live.now.answers[act][i];
    const struct answer *e = &live.expected[act][i];
    if (a->rc == e->rc)
        return;
    bool full = a->rc == RC_RETRY_WINDOW_FULL || a->rc == RC_REFUSED_EXHAUSTED;
    if (!full || !key_is_full || live.life->plan->lease == 0 || live.crashes == 0)
        fail_msg("%s: act %u, request %u: %s instead of %s", live.life->name, act, i,
                 rc_name((enum rc)a->rc), rc_name((enum rc)e->rc));
}

/* Asked once more: the same bytes, and nothing is computed. */
static void check_replayed(unsigned act, unsigned i)
{
    static struct ask again;
    static const uint8_t none[SHA256_LEN];
    uint8_t hash[SHA256_LEN];
    const struct answer *a = &live.now.answers[act][i];
    if (a->rc != RC_OK)
        return;
    assert_memory_not_equal(a->signature, none, sizeof(none));
    size_t before = oracle_computed();
    request(&again, live.life->acts[act].asks[i]);
    rig_ask(live.rig, &again, RC_OK);
    digest_buffer(DIGEST_SHA256, hash, again.signature, again.len);
    assert_true(again.replayed);
    assert_memory_equal(hash, a->signature, sizeof(hash));
    assert_int_equal(again.index, a->index);
    assert_int_equal(oracle_computed(), before);
}

static void *read_payload(struct request *r, size_t *len)
{
    struct reply reply;
    void *payload = NULL;
    strcpy(r->key, "k");
    signer_read(live.rig->signer, r, &reply, &payload, len);
    assert_int_equal(reply.rc, RC_OK);
    return payload;
}

/* @return whether anything may still be signed. */
static bool check_sums(unsigned signed_now)
{
    struct request r = {.op = REQUEST_WINDOWS, .from = 0, .to = MOMENT_WINDOWS - 1};
    size_t len = 0;
    struct view_window *v = read_payload(&r, &len);
    uint64_t burned = 0;
    uint64_t made = 0;
    uint64_t remaining = 0;
    unsigned rests = 0; /* of leases that may end without a crash: with a window, or a stop */
    for (size_t i = 0; i < len / sizeof(*v); i++) {
        burned += v[i].burned;
        made += v[i].signatures;
        remaining += v[i].window >= LIFE_FIRST_WINDOW ? v[i].remaining : 0;
        rests += v[i].signatures > 0 ? 1 : 0;
        assert_int_equal(v[i].signatures + v[i].burned + v[i].given_up + v[i].remaining,
                         v[i].usable);
    }
    free(v);
    rests += live.life->prior + (live.life->acts[1].restart_before ? 1 : 0);
    rests += live.life->acts[1].early_before ? 1 : 0;
    uint64_t bound = live.life->plan->lease * (live.crashes + rests);
    if (live.life->acts[0].change_at > 0)
        bound += live.life->plan->lease;
    if (burned > bound)
        fail_msg("%s: %" PRIu64 " indices burned in %u crashes", live.life->name, burned,
                 live.crashes);
    assert_int_equal(made, live.life->prior + signed_now);
    return remaining == 0;
}

/* Whatever was computed is in the books. */
static void check_computed(void)
{
    for (uint64_t i = 0; i < MOMENT_WINDOWS * (uint64_t)USABLE; i++) {
        if (!oracle_has(live.rig, 0, i))
            continue;
        struct request r = {.op = REQUEST_INDEX, .from = (int64_t)i};
        size_t len = 0;
        struct view_index *v = read_payload(&r, &len);
        if (v->state != INDEX_SIGNED && v->state != INDEX_BURNED)
            fail_msg("%s: index %" PRIu64 " was computed and the books say %u", live.life->name, i,
                     v->state);
        free(v);
    }
}

/* Different requests that were signed. */
static unsigned count_signed(void)
{
    bool got[2] = {false};
    for (unsigned act = 0; act < live.life->act_count; act++)
        for (unsigned i = 0; live.life->acts[act].asks[i] != '\0'; i++)
            if (live.now.answers[act][i].rc == RC_OK)
                got[live.life->acts[act].asks[i] - '1'] = true;
    return (got[0] ? 1U : 0U) + (got[1] ? 1U : 0U);
}

static void judge(bool compare)
{
    bool full = check_sums(count_signed());
    for (unsigned act = 0; act < live.life->act_count; act++)
        for (unsigned i = 0; live.life->acts[act].asks[i] != '\0'; i++) {
            if (compare)
                check_answer(act, i, full);
            check_replayed(act, i);
        }
    check_computed();
    oracle_check();
    rig_stop(live.rig);
}

/* A disk put back ---------------------------------------------------------------------------------
 */

/* What comes back is not looked at: the oracle sees what is computed for it. @return false if the
 * key does not sign any more. */
static bool provoke_with(struct ask *a)
{
    if (rig_sign(live.rig, a, 1) == RC_OK)
        return true;
    rig_crash(live.rig);
    return open_signer() == RC_OK;
}

static void provoke(void)
{
    static struct ask a;
    for (unsigned i = 0; i < 4; i++) {
        request(&a, i % 2 == 0 ? '1' : '2');
        a.text = i < 2 ? "other bytes" : a.text;
        if (!provoke_with(&a))
            return;
    }
}

static void sign_fresh(const struct recover_plan *plan)
{
    static struct ask a;
    struct err err = {0};
    char version[VERSION_LEN_MAX + 1];
    char slot[NAME_LEN_MAX + 1];
    const struct plan *p = &live.rig->plan[0];
    if (by_clock())
        fake_clock_set(&live.rig->fake, plan->opens_s + DAY);
    clear(&a);
    a.text = "fresh";
    a.idem = by_version() ? NULL : "fresh";
    if (by_version()) {
        assert_int_equal(plan_version_of_index(p,
                                               plan_window_first(p, (uint64_t)plan->start_window),
                                               version, slot, &err),
                         RC_OK);
        a.version = version;
        a.slot = slot;
    }
    rig_ask(live.rig, &a, RC_OK);
    assert_true((int64_t)a.window >= plan->start_window);
}

static int64_t highest_used(void)
{
    int64_t highest = -1;
    for (uint64_t i = 0; i < MOMENT_WINDOWS * (uint64_t)USABLE; i++)
        if (oracle_has(live.rig, 0, i))
            highest = (int64_t)(i / USABLE);
    return highest;
}

static void recover(void)
{
    struct rig *rig = live.rig;
    const struct world *world = &rig->fake.world;
    struct err err = {0};
    struct recover_plan plan;
    void *tpm = NULL;
    int64_t highest = highest_used();
    signer_close(&rig->signer, false);
    struct ledger *ledger = rig_ledger(rig);
    struct key *key = rig_load_key(rig, 0, ledger, &tpm);
    enum rc rc = recover_here_plan(key, world, ledger, -1, &plan, &err);
    if (rc == RC_OK) {
        if (plan.start_window <= highest)
            fail_msg("%s: starts again in window %" PRId64 ", but %" PRId64 " was used",
                     live.life->name, plan.start_window, highest);
        assert_int_equal(recover_here(key, world, ledger, &plan, NULL, &err), RC_OK);
        rig_acknowledge(ledger, key, plan.start_window);
    }
    rig_unload_key(rig, key, &tpm);
    ledger_close(&ledger);
    if (rc == RC_REFUSED_EXHAUSTED)
        return; /* window 7 was the last */
    assert_int_equal(rc, RC_OK);
    must_open();
    sign_fresh(&plan);
    provoke();
}

static void tell(void (*hook)(void))
{
    if (hook != NULL)
        hook();
}

static void with_old_disk(void (*started)(void))
{
    enum rc rc = open_signer();
    tell(started);
    if (rc == RC_OK) {
        live.harmless++;
        provoke();
    } else if (rc == RC_HALT_REGRESSION) {
        live.refused++;
        recover();
    } else {
        fail_msg("%s: a disk put back: %s", live.life->name, rc_name(rc));
    }
    oracle_check();
    signer_close(&live.rig->signer, false);
}

uint64_t life_refused(void)
{
    return live.refused;
}

uint64_t life_harmless(void)
{
    return live.harmless;
}

/* Living -----------------------------------------------------------------------------------------
 */

const struct progress *life_progress(void)
{
    live.now.now_ns = live.rig->fake.now_ns;
    return &live.now;
}

static void prior(unsigned n)
{
    static const char *const idems[] = {"prior-0", "prior-1"};
    static struct ask a;
    clear(&a);
    a.text = "before";
    if (by_version()) {
        a.version = strcmp(live.life->plan->name, "strict") == 0 ||
                            strcmp(live.life->plan->name, "strict-lossy") == 0
                        ? "1.2.0"
                        : "6.0.0";
        a.slot = "b";
    } else {
        a.idem = idems[n];
    }
    must_open();
    rig_ask(live.rig, &a, RC_OK);
    rig_stop(live.rig);
}

unsigned life_window_of_clock(void)
{
    return by_clock() ? window_of_clock() : LAST_WINDOW + 1;
}

void life_begin(const struct life *life, struct rig *rig, bool exact, struct moment *first)
{
    live.life = life;
    live.rig = rig;
    live.crashes = 0;
    oracle_reset();
    rig_make(rig, in_window(LIFE_FIRST_WINDOW), 1);
    rig_add_key(rig, life->plan->json, LIFE_FIRST_WINDOW);
    rig->fake.tpm->identity.keeps_writes = !life->plan->lossy;
    for (unsigned i = 0; i < life->prior; i++)
        prior(i);
    if (life->acts[1].early_before)
        acknowledge();
    struct progress none = {.now_ns = rig->fake.now_ns};
    crashvfs_power_on(rig->disk);
    moment_world(rig, life->plan->lossy, exact);
    moment_take(first, &none);
}

static void live_on(const struct moment *from, const struct life_hooks *hooks)
{
    live.now = from->progress;
    live.crashes = from->crashes;
    moment_put(from);
    /* The clock's own notes are no part of a moment: a life begins with what A tells it. */
    (void)unlinkat(live.rig->config.state_dirfd, CLOCKFILE_NAME, 0);
    tell(hooks->opening);
    if (from->rolled_back) {
        with_old_disk(hooks->started);
        tell(hooks->ended);
        return;
    }
    must_open();
    tell(hooks->started);
    for (unsigned act = from->progress.act; act < live.life->act_count; act++) {
        play_act(act, act == from->progress.act && from->crashes > 0);
        live.now.act = act + 1;
    }
    tell(hooks->ended);
}

void life_expect(const struct moment *first)
{
    live_on(first, &(struct life_hooks){0});
    memcpy(live.expected, live.now.answers, sizeof(live.expected));
    judge(false);
}

void life_go_on(const struct moment *from, const struct life_hooks *hooks)
{
    live_on(from, hooks);
    if (!from->rolled_back)
        judge(true);
}
