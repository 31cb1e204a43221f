/* life: requests, asked until each has its final answer; early windows, clocks that go on. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "signer/advance.h"
#include "signer/backup.h"
#include "sim/life_inside.h"

#define WEEK (7 * DAY)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */
#define NS_PER_S INT64_C(1000000000)
#define TRIES_MAX 8

struct living live;

/* Asking -----------------------------------------------------------------------------------------
 */

bool life_by_version(void)
{
    return live.rig->plan[0].kind == PLAN_VERSION;
}

bool life_by_clock(void)
{
    return live.rig->plan[0].kind == PLAN_TIME;
}

int64_t life_in_window(unsigned window)
{
    return START + window * WEEK + DAY;
}

unsigned life_clock(void)
{
    return (unsigned)((live.rig->fake.now_ns / NS_PER_S - START) / WEEK);
}

/* The request that an ask of a script stands for. */
unsigned life_number(char which)
{
    return which == 'r' ? 0 : (unsigned)(which - '1');
}

void life_clear(struct ask *a)
{
    memset(a, 0, offsetof(struct ask, signature));
}

/* Request '1', '2' or 'r' of the life. */
void life_request(struct ask *a, char which)
{
    unsigned n = life_number(which);
    life_clear(a);
    a->version = life_by_version() ? live.life->versions[n] : NULL;
    a->slot = life_by_version() ? "a" : NULL;
    a->idem = life_by_version() ? NULL : (n == 0 ? "first" : "second");
    a->text = n == 0 ? "one" : "two";
}

enum rc life_open(void)
{
    enum rc rc = rig_open(live.rig);
    return rc == RC_OK ? rig_key_rc(live.rig, 0) : rc;
}

void life_must_open(void)
{
    enum rc rc = life_open();
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
    return a->rc == RC_RETRY_WINDOW_FULL && life_by_clock() && life_clock() < LAST_WINDOW;
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
    bool wrong =
        opened_early() ? a->window != LAST_WINDOW : a->window < began || a->window > life_clock();
    if (life_by_clock() && wrong)
        fail_msg("%s: signed in window %" PRIu64 ", but it is %u", live.life->name, a->window,
                 life_clock());
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

/* An index for who hashes for itself, unless it has one. */
static void reserve(struct answer *to, struct ask *a)
{
    if (to->held.known)
        return;
    life_request(a, 'r');
    assert_int_equal(rig_reserve(live.rig, a), RC_OK);
    if (a->rc != RC_OK || !a->reply.reserved) {
        keep_answer(to, a);
        return;
    }
    struct held *h = &to->held;
    *h = (struct held){.known = true,
                       .index = a->reply.signature.index,
                       .w = live.rig->fake.tpm->nv[0].w,
                       .prefix_len = a->len};
    assert_true(a->len <= sizeof(h->prefix));
    memcpy(h->id, a->reply.signature.id, sizeof(h->id));
    memcpy(h->prefix, a->signature, a->len);
    live.now.told |= UINT64_C(1) << h->index;
}

/* With the hash. Whose reservation has ended begins again. */
static void come_back(struct answer *to, struct ask *a)
{
    static struct ask reserved;
    const struct held held = to->held;
    unsigned began = life_clock();
    bool later = live.rig->fake.tpm->nv[0].w != held.w;
    if (!held.known)
        return;
    reserved.reply.reserved = true;
    reserved.len = held.prefix_len;
    strcpy(reserved.reply.hash, "sha256/192");
    memcpy(reserved.reply.signature.id, held.id, sizeof(held.id));
    memcpy(reserved.signature, held.prefix, held.prefix_len);
    life_clear(a);
    assert_int_equal(rig_commit(live.rig, &reserved, "one", a), RC_OK);
    to->held.known = false;
    if (a->rc == RC_REFUSED_EXPIRED)
        return;
    if (later && !a->replayed)
        fail_msg("%s: a later window is open, and a hash for index %" PRIu64 " gets %s",
                 live.life->name, held.index, rc_name(a->rc));
    assert_true(a->rc != RC_OK || a->index == held.index);
    check_window(a, began);
    keep_answer(to, a);
    if (!to->final)
        to->held = held;
}

static void sign_together(size_t n, struct answer *const *to, unsigned began)
{
    if (n == 0)
        return;
    enum rc rc = rig_sign(live.rig, live.asks, n);
    if (rc != RC_OK)
        fail_msg("%s: %s: %s", live.life->name, rc_name(rc), err_text(&live.rig->err));
    for (size_t i = 0; i < n; i++) {
        check_window(&live.asks[i], began);
        keep_answer(to[i], &live.asks[i]);
    }
}

/* Those who have no final answer yet ask, together; who hashes for itself, around the others.
 * @return whether there were any. */
static bool ask_round(unsigned act)
{
    static struct ask remote;
    const char *which = live.life->acts[act].asks;
    struct answer *to[MOMENT_ASKS];
    struct answer *remote_to = NULL;
    size_t n = 0;
    unsigned began = life_clock();
    remote.rc = RC_OK;
    for (size_t i = 0; which[i] != '\0'; i++) {
        struct answer *answer = &live.now.answers[act][i];
        if (answer->final)
            continue;
        if (which[i] == 'r') {
            remote_to = answer;
            reserve(answer, &remote);
            continue;
        }
        to[n] = answer;
        life_request(&live.asks[n++], which[i]);
    }
    sign_together(n, to, began);
    if (remote_to != NULL)
        come_back(remote_to, &remote);
    bool wait = waits_for_window(&remote);
    for (size_t i = 0; i < n; i++)
        wait = wait || waits_for_window(&live.asks[i]);
    if (wait) {
        fake_clock_set(&live.rig->fake, life_in_window(LAST_WINDOW));
        fake_clock_change_at(&live.rig->fake, 0, 0, 0);
    }
    return n > 0 || remote_to != NULL;
}

/* What `backup check` left of an export that covers window 7; before the life begins. */
static const uint8_t export_sha256[SHA256_LEN] = {0xe1};

void life_acknowledge(void)
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
    if (life_clock() >= LAST_WINDOW)
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
    life_must_open();
}

void life_play(unsigned act, bool begun)
{
    const struct life_act *a = &live.life->acts[act];
    if (a->early_before)
        open_early();
    if (a->restart_before && !begun) {
        rig_stop(live.rig);
        life_must_open();
    }
    if (life_by_clock() && a->window > life_clock())
        fake_clock_set(&live.rig->fake, life_in_window(a->window));
    fake_clock_change_at(&live.rig->fake, begun ? 0 : a->change_at, WEEK, 0);
    for (unsigned try = 0; try < TRIES_MAX; try++)
        if (!ask_round(act))
            return;
    fail_msg("%s: act %u: no end of asking", live.life->name, act);
}
