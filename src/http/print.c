#include "http/print.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "http/answer.h"
#include "policy/plan.h"

#define END(field) (field)[sizeof(field) - 1] = '\0'

/* A byte that came as a truth value; anything but 0 and 1 is no bool to a compiler. */
static void settle(bool *value)
{
    uint8_t byte = 0;
    memcpy(&byte, value, sizeof(byte));
    *value = byte != 0;
}

static bool within(int64_t value, int64_t bound)
{
    return value >= -bound && value <= bound;
}

void reply_terminate(struct reply *reply)
{
    settle(&reply->replayed);
    settle(&reply->tpm_virtual);
    END(reply->text);
    END(reply->signature.key);
    END(reply->signature.version);
    END(reply->signature.slot);
    END(reply->signature.request_id);
    END(reply->bound_request_id);
    END(reply->next_version);
    END(reply->violated);
    END(reply->tpm);
    END(reply->tpm_state);
    END(reply->check_ledger);
    END(reply->check_tpm);
    END(reply->check_clock);
    END(reply->check_nodes);
}

bool clock_terminate(struct view_clock *view)
{
    END(view->state);
    END(view->reasons);
    END(view->explained);
    for (size_t i = 0; i < REQUEST_CLOCK_KEYS_MAX; i++)
        END(view->keys[i].name);
    settle(&view->safe);
    settle(&view->tpm_read);
    settle(&view->tpm_safe);
    const int64_t seconds[] = {view->since_s, view->wait_s, view->jump_from_s, view->jump_to_s};
    const int64_t fractions[] = {view->error_us, view->offset_us, view->tpm_age_ms};
    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++)
        if (!within(seconds[i], RFC3339_S_MAX))
            return false;
    for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++)
        if (!within(fractions[i], INT64_C(1) << 53))
            return false;
    return view->key_count <= REQUEST_CLOCK_KEYS_MAX;
}

void meters_terminate(struct view_meters *view)
{
    END(view->clock_state);
    settle(&view->open);
    settle(&view->clock_safe);
    settle(&view->clock_jump);
}

void key_terminate(struct view_key *view)
{
    END(view->name);
    END(view->reason);
    if (view->public_key_len > sizeof(view->public_key))
        view->public_key_len = 0;
    if (view->spki_len > sizeof(view->spki))
        view->spki_len = 0;
    if (view->scheme > PLAN_XMSSMT)
        view->scheme = PLAN_XMSSMT;
}

void window_terminate(struct view_window *view)
{
    END(view->label);
}

void version_terminate(struct view_version *view)
{
    END(view->version);
    END(view->slot);
}

void index_terminate(struct view_index *view)
{
    END(view->why);
    END(view->version);
    END(view->slot);
}

void forecast_terminate(struct view_forecast *view)
{
    END(view->key);
}

void warning_terminate(struct view_warning *view)
{
    END(view->key);
    END(view->sentence);
    settle(&view->acknowledged);
}

void signature_path(char out[SIGNATURE_PATH_SIZE], const char *key, const uint8_t id[16])
{
    char text[ID_TEXT_SIZE];
    hex_encode(text, id, 16);
    (void)snprintf(out, SIGNATURE_PATH_SIZE, "/v1/keys/%s/signatures/%s", key, text);
}

void print_clean(struct jcs *j, const char *key, const char *text)
{
    char clean[512];
    size_t len = strnlen(text, sizeof(clean) - 1);
    for (size_t i = 0; i < len; i++)
        clean[i] = text[i] >= 0x20 && text[i] <= 0x7e ? text[i] : '?';
    clean[len] = '\0';
    jcs_member_string(j, key, clean);
}

/* Small members -----------------------------------------------------------------------------------
 */

static void member_time(struct jcs *j, const char *key, int64_t seconds)
{
    char text[RFC3339_SIZE];
    rfc3339_print(text, seconds);
    jcs_member_string(j, key, text);
}

/* A number, or null where there is none. */
static void member_or_null(struct jcs *j, const char *key, int64_t value)
{
    jcs_key(j, key);
    if (value < 0)
        jcs_null(j);
    else
        jcs_u64(j, (uint64_t)value);
}

static void member_text(struct jcs *j, const char *key, const char *text)
{
    if (text[0] != '\0')
        print_clean(j, key, text);
}

static void member_signature_path(struct jcs *j, const char *key, const uint8_t id[16])
{
    char path[SIGNATURE_PATH_SIZE];
    signature_path(path, key, id);
    print_clean(j, "signature", path); /* the name of the key is what the core says */
}

static void print_parameters(struct jcs *j, const struct plan_facts *facts)
{
    jcs_key(j, "parameters");
    jcs_array_open(j);
    for (uint32_t i = 0; i < facts->parameter_count; i++)
        jcs_string(j, facts->parameters[i]);
    jcs_array_close(j);
}

static void print_remaining(struct jcs *j, uint64_t window, uint64_t key)
{
    jcs_key(j, "remaining");
    jcs_object_open(j);
    jcs_member_u64(j, "key", key);
    jcs_member_u64(j, "window", window);
    jcs_object_close(j);
}

static void print_tpm(struct jcs *j, const struct reply *reply)
{
    jcs_key(j, "tpm");
    jcs_object_open(j);
    print_clean(j, "description", reply->tpm);
    jcs_member_bool(j, "virtual", reply->tpm_virtual);
    jcs_object_close(j);
}

void print_warnings(struct jcs *j, bool tpm_virtual, uint32_t wear_percent)
{
    jcs_key(j, "warnings");
    jcs_array_open(j);
    if (tpm_virtual)
        jcs_string(j, ANSWER_VIRTUAL_TPM);
    if (wear_percent >= WEAR_WARN_PERCENT) {
        char text[100];
        (void)snprintf(text, sizeof(text), ANSWER_WORN_TPM, (unsigned)wear_percent);
        jcs_string(j, text);
    }
    jcs_array_close(j);
}

/* Present only where the counters could be read. */
static void print_wear(struct jcs *j, const struct view_wear *wear)
{
    if (wear->known == 0)
        return;
    jcs_key(j, "wear");
    jcs_object_open(j);
    jcs_member_u64(j, "a", wear->a);
    jcs_member_u64(j, "endurance", wear->endurance);
    jcs_member_u64(j, "l", wear->l);
    member_or_null(j, "per_year", wear->per_year);
    jcs_member_u64(j, "percent", wear->percent);
    member_or_null(j, "used_up", wear->year);
    jcs_member_u64(j, "w", wear->w);
    jcs_object_close(j);
}

/* Objects -----------------------------------------------------------------------------------------
 */

static void print_key_windows(struct jcs *j, const struct view_key *view,
                              const struct plan_facts *facts)
{
    jcs_key(j, "windows");
    jcs_object_open(j);
    jcs_member_u64(j, "count", facts->window_count);
    member_or_null(j, "early", view->early_window);
    member_or_null(j, "floor", view->floor);
    member_or_null(j, "min", view->min_window);
    member_or_null(j, "open", view->open_window);
    jcs_member_u64(j, "size", facts->window_size);
    jcs_member_u64(j, "usable", facts->window_usable);
    jcs_object_close(j);
}

void print_key(struct jcs *j, const struct view_key *view, const struct plan_facts *facts,
               const struct reply *reply)
{
    jcs_object_open(j);
    jcs_member_u64(j, "burned", view->burned_total);
    jcs_member_u64(j, "epoch", view->epoch);
    member_or_null(j, "export_limit", view->export_limit);
    print_clean(j, "key", view->name);
    jcs_member_hex(j, "key_id", view->key_id, KEY_ID_LEN);
    jcs_member_string(j, "kind", plan_kind_name(facts->kind));
    jcs_member_string(j, "message", plan_message_name(facts->message));
    print_parameters(j, facts);
    jcs_member_hex(j, "plan_sha256", view->plan_sha256, SHA256_LEN);
    jcs_member_string(j, "profile", plan_profile_name(facts->profile));
    member_text(j, "reason", view->reason);
    print_remaining(j, view->remaining_window, view->remaining_key);
    jcs_member_string(j, "scheme", plan_scheme_name(facts->scheme));
    jcs_member_u64(j, "signed", view->signed_total);
    jcs_member_string(j, "state", service_state_name(view->state));
    print_tpm(j, reply);
    print_warnings(j, reply->tpm_virtual, view->wear.percent);
    print_wear(j, &view->wear);
    print_key_windows(j, view, facts);
    jcs_object_close(j);
}

void print_window(struct jcs *j, const struct view_window *view)
{
    jcs_object_open(j);
    jcs_member_u64(j, "burned", view->burned);
    if (view->closes_s >= 0)
        member_time(j, "closes", view->closes_s);
    jcs_member_u64(j, "first_index", view->first_index);
    jcs_member_u64(j, "given_up", view->given_up);
    print_clean(j, "label", view->label);
    if (view->lead_s > 0)
        jcs_member_u64(j, "lead_seconds", (uint64_t)view->lead_s);
    if (view->opens_s >= 0)
        member_time(j, "opens", view->opens_s);
    jcs_member_u64(j, "remaining", view->remaining);
    if (view->reserved > 0)
        jcs_member_u64(j, "reserved", view->reserved);
    jcs_member_u64(j, "signed", view->signatures);
    jcs_member_u64(j, "size", view->size);
    jcs_member_string(j, "state", window_state_name(view->state));
    jcs_member_u64(j, "usable", view->usable);
    jcs_member_u64(j, "window", view->window);
    jcs_object_close(j);
}

void print_version(struct jcs *j, const struct view_version *view, const char *key)
{
    bool has_receipt = view->state == INDEX_SIGNED;
    jcs_object_open(j);
    if (has_receipt)
        jcs_member_hex(j, "artifact_sha256", view->artifact_sha256, SHA256_LEN);
    jcs_member_u64(j, "index", view->index);
    if (view->state == INDEX_BURNED)
        jcs_member_string(j, "reason", burn_word(view->reason));
    if (has_receipt) {
        member_signature_path(j, key, view->id);
        member_time(j, "signed_at", view->signed_at_s);
    }
    member_text(j, "slot", view->slot);
    jcs_member_string(j, "state", index_state_name(view->state));
    print_clean(j, "version", view->version);
    jcs_member_u64(j, "window", view->window);
    jcs_object_close(j);
}

void print_index(struct jcs *j, const struct view_index *view, const char *key)
{
    bool has_receipt = view->state == INDEX_SIGNED;
    jcs_object_open(j);
    if (view->epoch > 0)
        jcs_member_u64(j, "epoch", view->epoch);
    jcs_member_u64(j, "index", view->index);
    if (view->state == INDEX_BURNED)
        jcs_member_string(j, "reason", burn_word(view->reason));
    if (has_receipt) {
        member_signature_path(j, key, view->id);
        member_time(j, "signed_at", view->signed_at_s);
    }
    member_text(j, "slot", view->slot);
    jcs_member_string(j, "state", index_state_name(view->state));
    member_text(j, "version", view->version);
    if (view->state == INDEX_BURNED)
        member_text(j, "why", view->why);
    jcs_member_u64(j, "window", view->window);
    jcs_object_close(j);
}

static void print_receipt(struct jcs *j, const struct signature_view *view)
{
    jcs_key(j, "receipt");
    jcs_object_open(j);
    jcs_member_u64(j, "checkpoint_size", view->checkpoint_size);
    jcs_member_u64(j, "epoch", view->epoch);
    jcs_member_u64(j, "log_index", view->log_index);
    jcs_object_close(j);
}

void print_signature(struct jcs *j, const struct reply *reply, const struct plan_facts *facts,
                     const char *base64)
{
    const struct signature_view *view = &reply->signature;
    jcs_object_open(j);
    jcs_member_hex(j, "artifact_sha256", view->artifact_sha256, SHA256_LEN);
    jcs_member_hex(j, "id", view->id, sizeof(view->id));
    jcs_member_u64(j, "index", view->index);
    print_clean(j, "key", view->key);
    print_parameters(j, facts);
    jcs_member_hex(j, "plan_sha256", view->plan_sha256, SHA256_LEN);
    print_receipt(j, view);
    print_remaining(j, view->remaining_window, view->remaining_key);
    jcs_member_string(j, "scheme", plan_scheme_name(facts->scheme));
    jcs_member_string(j, "signature", base64);
    member_time(j, "signed_at", view->signed_at_s);
    member_text(j, "slot", view->slot);
    member_text(j, "version", view->version);
    print_warnings(j, reply->tpm_virtual, 0);
    jcs_member_u64(j, "window", view->window);
    jcs_object_close(j);
}

void print_reservation(struct jcs *j, const struct reply *reply, const char *base64)
{
    const struct signature_view *view = &reply->signature;
    jcs_object_open(j);
    jcs_member_hex(j, "artifact_sha256", view->artifact_sha256, SHA256_LEN);
    member_time(j, "expires", reply->expires_s);
    print_clean(j, "hash", reply->hash);
    jcs_member_hex(j, "id", view->id, sizeof(view->id));
    jcs_member_u64(j, "index", view->index);
    print_clean(j, "key", view->key);
    jcs_member_hex(j, "plan_sha256", view->plan_sha256, SHA256_LEN);
    jcs_member_string(j, "prefix", base64);
    print_remaining(j, view->remaining_window, view->remaining_key);
    member_text(j, "slot", view->slot);
    member_text(j, "version", view->version);
    print_warnings(j, reply->tpm_virtual, 0);
    jcs_member_u64(j, "window", view->window);
    jcs_object_close(j);
}

static void print_limit(struct jcs *j, const char *name, uint64_t limit, uint64_t remaining,
                        int64_t reset_s)
{
    if (limit == 0)
        return;
    jcs_key(j, name);
    jcs_object_open(j);
    jcs_member_u64(j, "limit", limit);
    jcs_member_u64(j, "remaining", remaining);
    if (reset_s > 0)
        jcs_member_u64(j, "reset_s", (uint64_t)reset_s);
    jcs_object_close(j);
}

void print_preview(struct jcs *j, const struct reply *reply, const struct plan_facts *facts)
{
    const struct signature_view *view = &reply->signature;
    jcs_object_open(j);
    jcs_member_u64(j, "index", view->index);
    print_clean(j, "key", view->key);
    jcs_key(j, "limits");
    jcs_object_open(j);
    print_limit(j, LIMIT_CALLER, reply->share_limit, reply->share_remaining, reply->window_reset_s);
    print_limit(j, LIMIT_CALLER_RATE, reply->caller_rate_limit, reply->caller_rate_remaining,
                reply->caller_rate_reset_s);
    print_limit(j, "rate", reply->rate_limit, reply->rate_remaining, reply->rate_reset_s);
    print_limit(j, "window", reply->window_limit, reply->window_remaining, reply->window_reset_s);
    jcs_object_close(j);
    print_parameters(j, facts);
    jcs_member_hex(j, "plan_sha256", view->plan_sha256, SHA256_LEN);
    print_remaining(j, view->remaining_window, view->remaining_key);
    jcs_member_string(j, "scheme", plan_scheme_name(facts->scheme));
    if (reply->replayed) {
        member_signature_path(j, view->key, view->id);
        member_time(j, "signed_at", view->signed_at_s);
    }
    member_text(j, "slot", view->slot);
    jcs_member_bool(j, "uses_index", !reply->replayed);
    member_text(j, "version", view->version);
    print_warnings(j, reply->tpm_virtual, 0);
    jcs_member_u64(j, "window", view->window);
    jcs_object_close(j);
}

static void member_time_or_null(struct jcs *j, const char *key, int64_t seconds)
{
    if (seconds >= 0) {
        member_time(j, key, seconds);
        return;
    }
    jcs_key(j, key);
    jcs_null(j);
}

void print_forecast(struct jcs *j, const struct view_forecast *view)
{
    jcs_object_open(j);
    jcs_member_u64(j, "ack_percent", view->ack_percent);
    jcs_member_u64(j, "burned", view->burned_total);
    member_time_or_null(j, "exhausted_at", view->exhausted_s);
    print_clean(j, "key", view->key);
    member_or_null(j, "per_year", view->per_year);
    if (view->plan_ends_s >= 0)
        member_time(j, "plan_ends", view->plan_ends_s);
    jcs_key(j, "rate");
    jcs_object_open(j);
    jcs_member_u64(j, "seconds", view->recent_s > 0 ? (uint64_t)view->recent_s : 0);
    jcs_member_u64(j, "signatures", view->recent);
    jcs_object_close(j);
    print_remaining(j, view->remaining_window, view->remaining_key);
    jcs_member_u64(j, "signed", view->signed_total);
    jcs_member_u64(j, "total", view->total);
    jcs_member_bool(j, "waits_for_acknowledgement", view->waits_percent != 0);
    member_or_null(j, "window", view->window);
    member_time_or_null(j, "window_full_at", view->window_full_s);
    jcs_object_close(j);
}

void print_warning(struct jcs *j, const struct view_warning *view)
{
    jcs_object_open(j);
    jcs_member_bool(j, "acknowledged", view->acknowledged);
    member_time(j, "at", view->at_s);
    jcs_member_u64(j, "id", view->id);
    print_clean(j, "key", view->key);
    jcs_member_u64(j, "percent", view->percent);
    print_clean(j, "sentence", view->sentence);
    jcs_object_close(j);
}

/* "2026-12-08T09:36:00.125Z" */
static void member_time_ms(struct jcs *j, const char *key, int64_t ms)
{
    char text[RFC3339_SIZE + 4];
    char seconds[RFC3339_SIZE];
    rfc3339_print(seconds, ms / 1000);
    (void)snprintf(text, sizeof(text), "%.19s.%03uZ", seconds, (unsigned)(ms % 1000));
    jcs_member_string(j, key, text);
}

void print_state(struct jcs *j, const struct reply *reply)
{
    jcs_object_open(j);
    jcs_key(j, "checks");
    jcs_object_open(j);
    print_clean(j, "clock", reply->check_clock);
    print_clean(j, "ledger", reply->check_ledger);
    print_clean(j, "nodes", reply->check_nodes);
    print_clean(j, "tpm", reply->check_tpm);
    jcs_object_close(j);
    if (reply->clock_earliest_ms > 0 && reply->clock_latest_ms > 0) {
        jcs_key(j, "clock");
        jcs_object_open(j);
        member_time_ms(j, "earliest", reply->clock_earliest_ms);
        member_time_ms(j, "latest", reply->clock_latest_ms);
        jcs_object_close(j);
    }
    jcs_member_string(j, "state", service_state_name(reply->state));
    print_tpm(j, reply);
    member_text(j, "tpm_state", reply->tpm_state);
    print_warnings(j, reply->tpm_virtual, reply->wear_percent);
    jcs_member_u64(j, "wear_percent", reply->wear_percent);
    jcs_object_close(j);
}

/* Clock ------------------------------------------------------------------------------------------
 */

static void member_time_if(struct jcs *j, const char *key, int64_t ms)
{
    if (ms > 0)
        member_time_ms(j, key, ms);
}

static void member_seconds(struct jcs *j, const char *key, int64_t s)
{
    char text[RFC3339_SIZE];
    rfc3339_print(text, s);
    jcs_member_string(j, key, text);
}

static void print_jump(struct jcs *j, const struct view_clock *v)
{
    jcs_key(j, "jump");
    jcs_object_open(j);
    member_seconds(j, "from", v->jump_from_s);
    jcs_member_u64(j, "id", v->jump_id);
    jcs_key(j, "keys");
    jcs_array_open(j);
    for (size_t i = 0; i < v->key_count; i++) {
        jcs_object_open(j);
        print_clean(j, "key", v->keys[i].name);
        jcs_member_u64(j, "one_time_keys", v->keys[i].one_time_keys);
        jcs_member_u64(j, "windows", v->keys[i].windows);
        jcs_object_close(j);
    }
    jcs_array_close(j);
    jcs_member_u64(j, "one_time_keys", v->one_time_keys);
    jcs_member_int(j, "seconds", v->jump_to_s - v->jump_from_s);
    member_seconds(j, "to", v->jump_to_s);
    jcs_member_u64(j, "windows", v->windows);
    jcs_object_close(j);
}

static void print_reasons(struct jcs *j, const char *reasons)
{
    jcs_key(j, "reasons");
    jcs_array_open(j);
    while (*reasons != '\0') {
        char one[32];
        size_t len = strcspn(reasons, ",");
        size_t kept = len < sizeof(one) - 1 ? len : sizeof(one) - 1;
        for (size_t i = 0; i < kept; i++)
            one[i] = reasons[i] >= 0x20 && reasons[i] <= 0x7e ? reasons[i] : '?';
        one[kept] = '\0';
        jcs_string(j, one);
        reasons += len + (reasons[len] == ',' ? 1 : 0);
    }
    jcs_array_close(j);
}

static void print_source(struct jcs *j, const struct view_clock *v)
{
    char ref_id[9];
    (void)snprintf(ref_id, sizeof(ref_id), "%08X", v->ref_id);
    jcs_key(j, "source");
    jcs_object_open(j);
    if (v->error_us >= 0)
        jcs_member_int(j, "error_us", v->error_us);
    jcs_member_int(j, "offset_us", v->offset_us);
    jcs_member_string(j, "ref_id", ref_id);
    jcs_member_u64(j, "stratum", v->stratum);
    jcs_object_close(j);
}

static void print_tpm_clock(struct jcs *j, const struct view_clock *v)
{
    jcs_key(j, "tpm");
    jcs_object_open(j);
    jcs_member_int(j, "age_ms", v->tpm_age_ms);
    jcs_member_u64(j, "clock_ms", v->tpm_clock_ms);
    jcs_member_u64(j, "resets", v->tpm_resets);
    jcs_member_u64(j, "restarts", v->tpm_restarts);
    jcs_member_bool(j, "safe", v->tpm_safe);
    jcs_object_close(j);
}

void print_clock(struct jcs *j, const struct view_clock *v)
{
    jcs_object_open(j);
    if (v->closed_before_s > 0)
        member_seconds(j, "closed_before", v->closed_before_s);
    if (v->explained[0] != '\0')
        print_clean(j, "detail", v->explained);
    member_time_if(j, "earliest", v->earliest_ms);
    member_time_if(j, "floor", v->floor_ms);
    if (v->jump_id != 0)
        print_jump(j, v);
    member_time_if(j, "last_record", v->record_ms);
    member_time_if(j, "latest", v->latest_ms);
    print_reasons(j, v->reasons);
    jcs_member_bool(j, "safe", v->safe);
    member_time_if(j, "since", v->since_s * 1000);
    print_source(j, v);
    print_clean(j, "state", v->state);
    if (v->tpm_read)
        print_tpm_clock(j, v);
    if (v->wait_s > 0)
        jcs_member_int(j, "wait_s", v->wait_s);
    jcs_object_close(j);
}
