#include "signer/exhaustion.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "policy/forecast.h"
#include "signer/view.h"

#define NOTE "exhaustion"
#define RECENT 1000 /* signatures that the rate is taken over */

static uint64_t total_of(const struct key *key)
{
    return key->plan.window_count * key->plan.window_usable;
}

static uint64_t left_of(const struct key *key, struct ledger *ledger, int64_t now_s)
{
    uint64_t in_window = 0;
    uint64_t in_key = 0;
    view_remaining(key, ledger, 0, now_s, &in_window, &in_key);
    return in_key;
}

/* The level that a key stands at, acknowledged or not. */
static uint32_t level_of(const struct key *key, struct ledger *ledger,
                         const struct key_settings *settings, int64_t now_s)
{
    if (settings->ack_percent == 0)
        return 0;
    return forecast_level(total_of(key), left_of(key, ledger, now_s), settings->ack_percent);
}

static bool covered(const struct key *key, uint32_t level)
{
    return key->exhaustion_acked != 0 && key->exhaustion_acked <= level;
}

uint32_t exhaustion_waits(const struct key *key, struct ledger *ledger,
                          const struct key_settings *settings, int64_t now_s)
{
    uint32_t level = level_of(key, ledger, settings, now_s);
    return level == 0 || covered(key, level) ? 0 : level;
}

enum rc exhaustion_check(const struct key *key, struct ledger *ledger,
                         const struct key_settings *settings, int64_t now_s, struct err *err)
{
    uint32_t level = exhaustion_waits(key, ledger, settings, now_s);
    if (level == 0)
        return RC_OK;
    return FAIL(err, RC_REFUSED_ACK, "", 0,
                "%" PRIu32 " %% or less of the one-time keys of %s are left: an operator has to "
                "acknowledge that (tidemark warning list)",
                level, key->record.name);
}

/* Notes --------------------------------------------------------------------------------------- */

static void remember_warning(struct key *key, struct ledger *ledger)
{
    struct err none = {0};
    int64_t level = 0;
    uint64_t seq = 0;
    int64_t at_s = 0;
    enum rc rc =
        ledger_last_note(ledger, key->record.id, LEDGER_WARNING, NOTE, &seq, &level, &none);
    if (rc == RC_OK)
        rc = ledger_note_time(ledger, key->record.id, LEDGER_WARNING, NOTE, level, &at_s, &none);
    if (rc != RC_OK || level < 1 || level > 100)
        return;
    key->exhaustion_id = seq;
    key->exhaustion_warned = (uint32_t)level;
    key->exhaustion_at_s = at_s;
}

void exhaustion_remember(struct key *key, struct ledger *ledger)
{
    struct err none = {0};
    int64_t smallest = 0;
    int64_t largest = 0;
    remember_warning(key, ledger);
    if (ledger_note_range(ledger, key->record.id, LEDGER_ACKNOWLEDGEMENT, NOTE, &smallest, &largest,
                          &none) == RC_OK &&
        smallest >= 1 && smallest <= 100)
        key->exhaustion_acked = (uint32_t)smallest;
}

static enum rc record(const struct key *key, struct ledger *ledger, enum ledger_note_kind kind,
                      const char *text, uint32_t level, int64_t now_s, struct err *err)
{
    enum rc rc = ledger_begin(ledger, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_add_note(ledger, key->record.id, kind, NOTE, text, level, now_s, err);
    if (rc == RC_OK)
        return ledger_commit(ledger, err);
    ledger_rollback(ledger);
    return rc;
}

static void sentence_of(const struct key *key, uint32_t level, char out[WARNING_SENTENCE_SIZE])
{
    uint64_t total = total_of(key);
    (void)snprintf(out, WARNING_SENTENCE_SIZE,
                   "I know that %s has at most %" PRIu64 " of its %" PRIu64
                   " signatures left and that nothing can add to them.",
                   key->record.name, forecast_level_left(total, level), total);
}

enum rc exhaustion_warn(struct key *key, struct ledger *ledger, const struct key_settings *settings,
                        int64_t now_s, struct err *err)
{
    char text[100];
    if (key->rc != RC_OK)
        return RC_OK;
    uint32_t level = level_of(key, ledger, settings, now_s);
    if (level == 0 || (key->exhaustion_warned != 0 && key->exhaustion_warned <= level))
        return RC_OK;
    (void)snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64 " one-time keys are left",
                   left_of(key, ledger, now_s), total_of(key));
    log_event(LOG_LEVEL_WARNING, &(struct log_fields){.key = key->record.name, .index = -1},
              "exhaustion: %s", text);
    enum rc rc = record(key, ledger, LEDGER_WARNING, text, level, now_s, err);
    if (rc == RC_OK)
        remember_warning(key, ledger);
    return rc;
}

/* Operators ----------------------------------------------------------------------------------- */

bool exhaustion_view(const struct key *key, struct view_warning *v)
{
    *v = (struct view_warning){.id = key->exhaustion_id,
                               .percent = key->exhaustion_warned,
                               .at_s = key->exhaustion_at_s,
                               .acknowledged = covered(key, key->exhaustion_warned)};
    if (key->exhaustion_id == 0 || key->plan.window_size == 0)
        return false;
    text_copy(v->key, sizeof(v->key), key->record.name);
    sentence_of(key, key->exhaustion_warned, v->sentence);
    return true;
}

enum rc exhaustion_acknowledge(struct key *key, struct ledger *ledger, uint64_t id,
                               const char *sentence, const char *who, int64_t now_s,
                               struct err *err)
{
    struct view_warning v;
    if (!exhaustion_view(key, &v) || v.id != id)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "there is no warning %" PRIu64 " of %s", id,
                    key->record.name);
    if (strcmp(sentence, v.sentence) != 0)
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "the sentence is not the one that the warning shows");
    if (v.acknowledged)
        return RC_OK;
    /* Written down before it counts: whoever reads the ledger finds who let the key sign on. */
    enum rc rc = record(key, ledger, LEDGER_ACKNOWLEDGEMENT, who, v.percent, now_s, err);
    if (rc != RC_OK)
        return rc;
    key->exhaustion_acked = v.percent;
    log_event(LOG_LEVEL_NOTICE, &(struct log_fields){.key = key->record.name, .index = -1},
              "exhaustion: warning %" PRIu64 " acknowledged by %s", id, who);
    return RC_OK;
}

/* Forecast ------------------------------------------------------------------------------------ */

static void recent_of(const struct key *key, struct ledger *ledger, uint64_t signed_total,
                      int64_t now_s, struct forecast_past *past)
{
    struct err none = {0};
    int64_t at_s = 0;
    uint64_t count = signed_total < RECENT ? signed_total : RECENT;
    if (count == 0 ||
        ledger_recent_receipt(ledger, key->record.id, count - 1, &at_s, &none) != RC_OK ||
        at_s > now_s)
        return;
    past->recent = count;
    past->recent_s = now_s - at_s;
}

void exhaustion_forecast(const struct key *key, struct ledger *ledger,
                         const struct key_settings *settings, int64_t now_s,
                         struct view_forecast *v)
{
    struct view_key k;
    view_key(key, ledger, settings, now_s, &k);
    struct forecast_past past = {.total = total_of(key),
                                 .left = k.remaining_key,
                                 .since_s = key->record.provisioned_s,
                                 .now_s = now_s,
                                 .window_left = k.remaining_window,
                                 .window_end_s = FORECAST_UNKNOWN,
                                 .plan_end_s = FORECAST_UNKNOWN};
    int64_t start_s = 0;
    recent_of(key, ledger, k.signed_total, now_s, &past);
    if (key->plan.kind == PLAN_TIME) {
        plan_window_times(&key->plan, key->plan.window_count - 1, &start_s, &past.plan_end_s);
        if (k.open_window != REQUEST_NONE)
            plan_window_times(&key->plan, (uint64_t)k.open_window, &start_s, &past.window_end_s);
    }
    struct forecast f;
    forecast_project(&past, &f);
    *v = (struct view_forecast){.total = past.total,
                                .remaining_window = past.window_left,
                                .remaining_key = past.left,
                                .signed_total = k.signed_total,
                                .burned_total = k.burned_total,
                                .recent = past.recent,
                                .recent_s = past.recent_s,
                                .per_year = f.per_year,
                                .exhausted_s = f.exhausted_s,
                                .window_full_s = f.window_full_s,
                                .plan_ends_s = past.plan_end_s,
                                .window = k.open_window != REQUEST_NONE ? k.open_window : k.floor};
    text_copy(v->key, sizeof(v->key), key->record.name);
    v->ack_percent = settings->ack_percent;
    v->waits_percent = key->rc == RC_OK ? exhaustion_waits(key, ledger, settings, now_s) : 0;
}
