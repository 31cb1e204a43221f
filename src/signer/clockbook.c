#include "signer/clockbook.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "signer/view.h"

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_US INT64_C(1000)
#define MS_PER_S INT64_C(1000)
#define SERVICE 0 /* the chain of the service as a whole */

/* The past ------------------------------------------------------------------------------------- */

struct ending {
    uint64_t seq;
    int64_t id;
};

static enum rc newest(struct ledger *ledger, const char *what, struct ending *e, struct err *err)
{
    struct err none = {0};
    enum rc rc = ledger_last_note(ledger, SERVICE, LEDGER_CLOCK, what, &e->seq, &e->id, &none);
    if (rc == RC_OK || rc == RC_REFUSED_NOT_FOUND)
        return RC_OK;
    return FAIL(err, rc, none.origin, none.native, "%s", err_text(&none));
}

static enum rc last_jump(struct ledger *ledger, struct timekeeper_past *past, struct err *err)
{
    struct ending began = {0};
    struct ending withdrawn = {0};
    struct ending accepted = {0};
    enum rc rc = newest(ledger, "quarantine", &began, err);
    if (rc == RC_OK)
        rc = newest(ledger, "withdrawn", &withdrawn, err);
    if (rc == RC_OK)
        rc = newest(ledger, "acknowledged", &accepted, err);
    if (rc != RC_OK)
        return rc;
    const struct ending *ended = withdrawn.seq > accepted.seq ? &withdrawn : &accepted;
    if (began.seq > ended->seq)
        past->open_id = (uint64_t)began.id;
    else if (ended->seq != 0)
        past->settled_id = (uint64_t)ended->id;
    return RC_OK;
}

enum rc clockbook_open(struct clockbook *book, struct err *err)
{
    struct timekeeper_past past = {0};
    enum rc rc = last_jump(book->ledger, &past, err);
    if (rc != RC_OK)
        return rc;
    past.complete = book->tpm_there;
    for (size_t i = 0; i < book->key_count; i++) {
        const struct key *key = &book->keys[i];
        if (key->anchor != NULL && key->a.wall_s > past.wall_s)
            past.wall_s = key->a.wall_s;
    }
    book->open_id = past.open_id;
    timekeeper_recall(book->clock, &past);
    return RC_OK;
}

/* Notes ---------------------------------------------------------------------------------------- */

static enum rc note(struct clockbook *book, const char *what, const char *text, uint64_t number,
                    int64_t now_s, struct err *err)
{
    enum rc rc = ledger_begin(book->ledger, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_add_note(book->ledger, SERVICE, LEDGER_CLOCK, what, text, (int64_t)number, now_s,
                         err);
    if (rc == RC_OK)
        return ledger_commit(book->ledger, err);
    ledger_rollback(book->ledger);
    return rc;
}

static void describe_jump(const struct clk_quarantine *q, char *text, size_t size)
{
    char from[RFC3339_SIZE];
    char to[RFC3339_SIZE];
    rfc3339_print(from, q->from_ns / NS_PER_S);
    rfc3339_print(to, q->to_ns / NS_PER_S);
    (void)snprintf(text, size, "at most %s was to be believed, and %s was claimed", from, to);
}

enum rc clockbook_keep(struct clockbook *book, int64_t now_s, struct err *err)
{
    const struct clk_quarantine *q = &book->clock->machine.memory.quarantine;
    char text[200];
    if (q->id == book->open_id)
        return RC_OK;
    enum rc rc = RC_OK;
    if (q->id == 0) {
        rc = note(book, "withdrawn", "the evidence came back", book->open_id, now_s, err);
        log_event(LOG_LEVEL_NOTICE, &LOG_NOTHING, "clock: the jump forward %" PRIu64 " is over",
                  book->open_id);
    } else {
        describe_jump(q, text, sizeof(text));
        rc = note(book, "quarantine", text, q->id, now_s, err);
        log_event(LOG_LEVEL_ERROR, &LOG_NOTHING,
                  "clock: jump forward %" PRIu64 ": %s; see 'tidemark clock status'", q->id, text);
    }
    if (rc == RC_OK)
        book->open_id = q->id;
    return rc;
}

enum rc clockbook_disrupted(struct clockbook *book, const char *why, int64_t now_s, struct err *err)
{
    return note(book, "disrupted", why, book->clock->machine.disruptions, now_s, err);
}

/* People --------------------------------------------------------------------------------------- */

/* What the evidence claims is the time now; the jump goes on with it. Bad evidence is no time, and
 * the host's own clock may not have jumped: accepting costs at least what was claimed then. */
static void count_losses(const struct clockbook *book, struct view_clock *v)
{
    int64_t now_s = v->latest_ms / MS_PER_S;
    int64_t claimed_s = now_s > v->jump_to_s ? now_s : v->jump_to_s;
    for (size_t i = 0; i < book->key_count && v->key_count < REQUEST_CLOCK_KEYS_MAX; i++) {
        const struct key *key = &book->keys[i];
        uint64_t windows = 0;
        uint64_t one_time_keys = 0;
        view_clock_loss(key, book->ledger, v->jump_from_s, claimed_s, &windows, &one_time_keys);
        if (windows == 0)
            continue;
        text_copy(v->keys[v->key_count].name, sizeof(v->keys[0].name), key->record.name);
        v->keys[v->key_count].windows = windows;
        v->keys[v->key_count].one_time_keys = one_time_keys;
        v->windows += windows;
        v->one_time_keys += one_time_keys;
        v->key_count++;
    }
}

static void view_tpm(const struct timekeeper *tk, struct view_clock *v)
{
    v->tpm_read = tk->tpm.read;
    if (!tk->tpm.read)
        return;
    v->tpm_safe = tk->tpm.safe;
    v->tpm_clock_ms = tk->tpm.clock_ms;
    v->tpm_resets = tk->tpm.resets;
    v->tpm_restarts = tk->tpm.restarts;
    v->tpm_age_ms = (timekeeper_raw_ns(tk) - tk->tpm.raw_ns) / NS_PER_MS;
}

static void view_jump(const struct clockbook *book, struct view_clock *v)
{
    const struct clk_quarantine *q = &book->clock->machine.memory.quarantine;
    if (q->id == 0)
        return;
    v->jump_id = q->id;
    v->jump_from_s = q->from_ns / NS_PER_S;
    v->jump_to_s = q->to_ns / NS_PER_S;
    count_losses(book, v);
}

void clockbook_view(struct clockbook *book, struct view_clock *v)
{
    struct timekeeper *tk = book->clock;
    struct clk_reading r;
    struct err none = {0};
    timekeeper_look(tk, &r);
    timekeeper_show(tk);
    *v = (struct view_clock){.safe = r.safe,
                             .since_s = tk->since_s,
                             .earliest_ms = r.earliest_ns / NS_PER_MS,
                             .latest_ms = r.latest_ns / NS_PER_MS,
                             .error_us =
                                 r.error_ns == INT64_MAX ? REQUEST_NONE : r.error_ns / NS_PER_US,
                             .offset_us = r.offset_ns / NS_PER_US,
                             .ref_id = r.ref_id,
                             .stratum = r.stratum,
                             .floor_ms = tk->machine.memory.floor_ns / NS_PER_MS,
                             .record_ms = tk->machine.memory.seen_ns / NS_PER_MS,
                             .closed_before_s = tk->verdict.closed_before_ns / NS_PER_S};
    text_copy(v->state, sizeof(v->state), clk_mode_name(tk->verdict.mode));
    clk_reasons_print(r.reasons, v->reasons, sizeof(v->reasons));
    if (!r.safe && timekeeper_refuse(tk, &v->wait_s, &none) == RC_RETRY_CLOCK)
        text_copy(v->explained, sizeof(v->explained), err_text(&none));
    view_tpm(tk, v);
    view_jump(book, v);
}

enum rc clockbook_acknowledge(struct clockbook *book, const struct clk_acknowledgement *said,
                              const char *who, int64_t now_s, struct err *err)
{
    struct view_clock v = {.latest_ms = book->clock->reading.latest_ns / NS_PER_MS};
    char utc[RFC3339_SIZE];
    char text[LEDGER_TEXT_MAX + 1];
    view_jump(book, &v);
    enum rc rc = timekeeper_acknowledge(book->clock, said, v.windows, err);
    if (rc != RC_OK)
        return rc;
    rfc3339_print(utc, said->utc_s);
    (void)snprintf(text, sizeof(text),
                   "%.60s: %" PRIu64 " windows, %" PRIu64
                   " one-time keys, at %s by their own clock",
                   who, v.windows, v.one_time_keys, utc);
    /* Written down before it is believed: whoever reads the ledger finds who let the time pass. */
    rc = note(book, "acknowledged", text, said->id, now_s, err);
    if (rc != RC_OK)
        return rc;
    log_event(LOG_LEVEL_NOTICE, &LOG_NOTHING, "clock: jump %" PRIu64 " acknowledged by %s",
              said->id, text);
    book->open_id = 0;
    timekeeper_release(book->clock);
    return RC_OK;
}
