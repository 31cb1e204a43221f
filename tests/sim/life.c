/* life: how a life begins, how it goes on from any moment, and how it is judged. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "signer/clockfile.h"
#include "signer/recover.h"
#include "sim/life_inside.h"

#define USABLE 4

/* Judging ----------------------------------------------------------------------------------------
 */

static void check_answer(unsigned act, unsigned i, bool key_is_full)
{
    const struct answer *a = &live.now.answers[act][i];
    const struct answer *e = &live.expected[act][i];
    if (a->rc == e->rc)
        return;
    bool full = a->rc == RC_RETRY_WINDOW_FULL || a->rc == RC_REFUSED_EXHAUSTED;
    /* A version whose reservation died in a crash. */
    if (life_by_version() && live.life->plan->remote && live.crashes > 0 &&
        a->rc == RC_REFUSED_SPENT)
        return;
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
    life_request(&again, live.life->acts[act].asks[i]);
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
                         v[i].usable); /* and nothing is reserved any more */
    }
    free(v);
    rests += live.life->prior + (live.life->acts[1].restart_before ? 1 : 0);
    rests += live.life->acts[1].early_before ? 1 : 0;
    uint64_t bound = live.life->plan->lease * (live.crashes + rests);
    if (live.life->acts[0].change_at > 0)
        bound += live.life->plan->lease;
    if (live.life->plan->remote) /* an open reservation each, and one that a later window ended */
        bound += live.crashes + 1;
    if (burned > bound)
        fail_msg("%s: %" PRIu64 " indices burned in %u crashes", live.life->name, burned,
                 live.crashes);
    assert_int_equal(made, live.life->prior + signed_now);
    return remaining == 0;
}

static uint32_t state_of(uint64_t index)
{
    struct request r = {.op = REQUEST_INDEX, .from = (int64_t)index};
    size_t len = 0;
    struct view_index *v = read_payload(&r, &len);
    uint32_t state = v->state;
    free(v);
    return state;
}

/* Whatever was computed is in the books, and so is whatever a prefix was given away for. */
static void check_books(void)
{
    for (uint64_t i = 0; i < MOMENT_WINDOWS * (uint64_t)USABLE; i++) {
        bool told = (live.now.told >> i & 1) != 0;
        if (!told && !oracle_has(live.rig, 0, i))
            continue;
        uint32_t state = state_of(i);
        if (state != INDEX_SIGNED && state != INDEX_BURNED)
            fail_msg("%s: index %" PRIu64 " was computed or reserved and the books say %u",
                     live.life->name, i, state);
    }
}

/* Reserved by a process that is gone, and not computed by it. */
static uint64_t given_away(const struct moment *from)
{
    uint64_t away = from->crashes > 0 ? from->progress.told : 0;
    for (uint64_t i = 0; i < MOMENT_WINDOWS * (uint64_t)USABLE; i++)
        if (oracle_has(live.rig, 0, i))
            away &= ~(UINT64_C(1) << i);
    return away;
}

static void check_given_away(uint64_t away)
{
    for (uint64_t i = 0; i < MOMENT_WINDOWS * (uint64_t)USABLE; i++)
        if ((away >> i & 1) != 0 && oracle_has(live.rig, 0, i))
            fail_msg("%s: index %" PRIu64 ", reserved by an earlier process, was computed",
                     live.life->name, i);
}

/* No reservation is open behind its process. The signer is closed. */
static void check_all_ended(void)
{
    struct ledger_reservation r;
    struct ledger *ledger = rig_ledger(live.rig);
    assert_int_equal(ledger_next_open_reservation(ledger, live.rig->record[0].id, 0, &r, NULL),
                     RC_REFUSED_NOT_FOUND);
    ledger_close(&ledger);
}

/* Different requests that were signed. */
static unsigned count_signed(void)
{
    bool got[2] = {false};
    for (unsigned act = 0; act < live.life->act_count; act++)
        for (unsigned i = 0; live.life->acts[act].asks[i] != '\0'; i++)
            if (live.now.answers[act][i].rc == RC_OK)
                got[life_number(live.life->acts[act].asks[i])] = true;
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
    check_books();
    oracle_check();
    rig_stop(live.rig);
    if (live.life->plan->remote)
        check_all_ended();
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
    return life_open() == RC_OK;
}

static void provoke(void)
{
    static struct ask a;
    for (unsigned i = 0; i < 4; i++) {
        life_request(&a, i % 2 == 0 ? '1' : '2');
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
    if (life_by_clock())
        fake_clock_set(&live.rig->fake, plan->opens_s + DAY);
    life_clear(&a);
    a.text = "fresh";
    a.idem = life_by_version() ? NULL : "fresh";
    if (life_by_version()) {
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
    life_must_open();
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
    enum rc rc = life_open();
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
    life_clear(&a);
    a.text = "before";
    if (life_by_version()) {
        a.version = strncmp(live.life->plan->name, "strict", 6) == 0 ? "1.2.0" : "6.0.0";
        a.slot = "b";
    } else {
        a.idem = idems[n];
    }
    life_must_open();
    rig_ask(live.rig, &a, RC_OK);
    rig_stop(live.rig);
}

unsigned life_window_of_clock(void)
{
    return life_by_clock() ? life_clock() : LAST_WINDOW + 1;
}

void life_begin(const struct life *life, struct rig *rig, bool exact, struct moment *first)
{
    live.life = life;
    live.rig = rig;
    live.crashes = 0;
    oracle_reset();
    rig_make(rig, life_in_window(LIFE_FIRST_WINDOW), 1);
    rig_add_key(rig, life->plan->json, LIFE_FIRST_WINDOW);
    rig->fake.tpm->identity.keeps_writes = !life->plan->lossy;
    for (unsigned i = 0; i < life->prior; i++)
        prior(i);
    if (life->acts[1].early_before)
        life_acknowledge();
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
    uint64_t away = given_away(from);
    /* The clock's own notes are no part of a moment: a life begins with what A tells it. */
    (void)unlinkat(live.rig->config.state_dirfd, CLOCKFILE_NAME, 0);
    tell(hooks->opening);
    if (from->rolled_back) {
        with_old_disk(hooks->started);
        tell(hooks->ended);
        check_given_away(away);
        return;
    }
    life_must_open();
    tell(hooks->started);
    for (unsigned act = from->progress.act; act < live.life->act_count; act++) {
        life_play(act, act == from->progress.act && from->crashes > 0);
        live.now.act = act + 1;
    }
    tell(hooks->ended);
    check_given_away(away);
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
