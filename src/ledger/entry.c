#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "ledger/internal.h"

void entry_hash(uint8_t hash[SHA256_LEN], const char *json, size_t len)
{
    static const uint8_t leaf = 0x00;
    sha256_2(hash, &leaf, 1, json, len);
}

void receipt_id(uint8_t id[LEDGER_ID_LEN], const uint8_t key_id[KEY_ID_LEN], uint64_t index)
{
    uint8_t *number = id + LEDGER_ID_LEN - sizeof(uint64_t);
    uint8_t hash[SHA256_LEN];
    be_put64(number, index);
    sha256_2(hash, key_id, KEY_ID_LEN, number, sizeof(uint64_t));
    memcpy(id, hash, LEDGER_ID_LEN - sizeof(uint64_t));
}

/* A number that may be negative; beyond 2^53 as a string of digits, like jcs_u64(). */
static void member_i64(struct jcs *j, const char *key, int64_t value)
{
    char text[24];
    if (value >= 0) {
        jcs_member_u64(j, key, (uint64_t)value);
    } else if (value >= -(INT64_C(1) << 53)) {
        jcs_member_int(j, key, value);
    } else {
        (void)snprintf(text, sizeof(text), "%lld", (long long)value);
        jcs_member_string(j, key, text);
    }
}

/* Members are written in sorted order (jcs.h holds us to it), so the ones that every entry has
 * stand between those of its kind: "at" near the front, "key" and "kind" together, then "prev", and
 * "seq". */
static void member_at(struct jcs *j, const struct entry *e)
{
    char at[RFC3339_SIZE];
    rfc3339_print(at, e->at_s);
    jcs_member_string(j, "at", at);
}

static void member_kind(struct jcs *j, struct entry *e, const char *kind, const char *suffix)
{
    int printed = snprintf(e->kind, sizeof(e->kind), "%s%s", kind, suffix);
    MUST(printed > 0 && (size_t)printed < sizeof(e->kind));
    jcs_member_string(j, "kind", e->kind);
}

static void member_prev(struct jcs *j, const struct entry *e)
{
    jcs_member_hex(j, "prev", e->prev, SHA256_LEN);
}

static void member_seq(struct jcs *j, const struct entry *e)
{
    jcs_member_u64(j, "seq", e->seq);
}

void entry_key(struct jcs *j, struct entry *e, const struct ledger_key *key)
{
    jcs_object_open(j);
    member_at(j, e);
    jcs_member_string(j, "key", e->key_name);
    jcs_member_hex(j, "key_id", key->key_id, KEY_ID_LEN);
    member_kind(j, e, "key-created", "");
    jcs_member_hex(j, "plan_sha256", key->plan_sha256, SHA256_LEN);
    member_prev(j, e);
    jcs_member_hex(j, "public_key", key->public_key, key->public_key_len);
    member_seq(j, e);
    jcs_object_close(j);
}

void entry_device(struct jcs *j, struct entry *e, const struct ledger_key *key)
{
    const struct anchor_pins *pins = &key->pins;
    jcs_object_open(j);
    member_at(j, e);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "device-provisioned", "");
    member_i64(j, "min_window", key->min_window);
    jcs_key(j, "pins");
    jcs_object_open(j);
    jcs_member_u64(j, "a_handle", pins->a_handle);
    jcs_member_hex(j, "a_name", pins->a_name, TPM_NAME_LEN);
    jcs_member_u64(j, "l_first", pins->l_first);
    jcs_member_u64(j, "l_handle", pins->l_handle);
    jcs_member_hex(j, "l_name", pins->l_name, TPM_NAME_LEN);
    jcs_member_hex(j, "srk_name", pins->srk_name, TPM_NAME_LEN);
    member_i64(j, "w_base", pins->w_base);
    jcs_member_u64(j, "w_first", pins->w_first);
    jcs_member_u64(j, "w_handle", pins->w_handle);
    jcs_member_hex(j, "w_name", pins->w_name, TPM_NAME_LEN);
    jcs_object_close(j);
    member_prev(j, e);
    member_seq(j, e);
    jcs_object_close(j);
}

void entry_floor(struct jcs *j, struct entry *e, const struct ledger_floor *floor)
{
    jcs_object_open(j);
    member_at(j, e);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "operation-recover", "");
    member_i64(j, "min_window", floor->min_window);
    member_prev(j, e);
    member_seq(j, e);
    jcs_member_string(j, "why", floor->why);
    jcs_object_close(j);
}

void entry_window(struct jcs *j, struct entry *e, const struct ledger_window *window)
{
    jcs_object_open(j);
    member_at(j, e);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "window-opened", "");
    jcs_member_u64(j, "l_base", window->l_base);
    member_prev(j, e);
    member_seq(j, e);
    jcs_member_u64(j, "w", window->w);
    jcs_member_u64(j, "window", window->window);
    jcs_object_close(j);
}

void entry_branch(struct jcs *j, struct entry *e, const struct ledger_branch *branch)
{
    jcs_object_open(j);
    member_at(j, e);
    jcs_member_u64(j, "first", branch->first);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "branch-signed", "");
    member_prev(j, e);
    jcs_member_hex(j, "record_sha256", branch->record_sha256, SHA256_LEN);
    jcs_member_u64(j, "record_size", branch->record_len);
    member_seq(j, e);
    jcs_member_u64(j, "window", branch->window);
    jcs_object_close(j);
}

void entry_lease(struct jcs *j, struct entry *e, const struct ledger_lease *lease)
{
    jcs_object_open(j);
    member_at(j, e);
    jcs_member_u64(j, "count", lease->count);
    jcs_member_u64(j, "epoch", lease->epoch);
    jcs_member_u64(j, "first", lease->first);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "lease", "");
    jcs_member_u64(j, "number", lease->number);
    member_prev(j, e);
    member_seq(j, e);
    jcs_member_u64(j, "window", lease->window);
    jcs_object_close(j);
}

void entry_intent(struct jcs *j, struct entry *e, const struct ledger_intent *intent)
{
    jcs_object_open(j);
    jcs_member_hex(j, "artifact_sha256", intent->artifact_sha256, SHA256_LEN);
    jcs_member_u64(j, "artifact_size", intent->artifact_size);
    member_at(j, e);
    jcs_member_u64(j, "epoch", intent->epoch);
    jcs_member_string(j, "idempotency_key", intent->origin.idempotency_key);
    jcs_member_u64(j, "index", intent->index);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "intent", "");
    jcs_member_u64(j, "line", intent->line);
    member_prev(j, e);
    jcs_member_hex(j, "randomizer", intent->randomizer, intent->value_len);
    jcs_member_u64(j, "rank", intent->rank);
    jcs_member_string(j, "request_id", intent->origin.request_id);
    jcs_member_string(j, "requester", intent->origin.requester);
    member_seq(j, e);
    jcs_member_string(j, "slot", intent->slot);
    jcs_member_hex(j, "value", intent->value, intent->remote ? 0 : intent->value_len);
    jcs_member_string(j, "version", intent->version);
    jcs_member_u64(j, "window", intent->window);
    jcs_object_close(j);
}

void entry_void(struct jcs *j, struct entry *e, const struct ledger_void *lifted)
{
    jcs_object_open(j);
    member_at(j, e);
    jcs_member_u64(j, "index", lifted->index);
    jcs_member_u64(j, "intent", lifted->intent);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "void", "");
    member_prev(j, e);
    member_seq(j, e);
    jcs_object_close(j);
}

void entry_receipt(struct jcs *j, struct entry *e, const struct ledger_receipt *receipt)
{
    jcs_object_open(j);
    jcs_member_hex(j, "artifact_sha256", receipt->artifact_sha256, SHA256_LEN);
    jcs_member_u64(j, "artifact_size", receipt->artifact_size);
    member_at(j, e);
    if (receipt->caller_hash_len > 0)
        jcs_member_hex(j, "caller_hash", receipt->caller_hash, receipt->caller_hash_len);
    jcs_member_u64(j, "epoch", receipt->epoch);
    jcs_member_hex(j, "id", receipt->id, LEDGER_ID_LEN);
    jcs_member_string(j, "idempotency_key", receipt->origin.idempotency_key);
    jcs_member_u64(j, "index", receipt->index);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "receipt", "");
    member_prev(j, e);
    jcs_member_string(j, "request_id", receipt->origin.request_id);
    jcs_member_string(j, "requester", receipt->origin.requester);
    member_seq(j, e);
    jcs_member_hex(j, "signature_sha256", receipt->signature_sha256, SHA256_LEN);
    jcs_member_u64(j, "signature_size", receipt->signature_len);
    jcs_member_string(j, "slot", receipt->slot);
    jcs_member_string(j, "version", receipt->version);
    jcs_member_u64(j, "window", receipt->window);
    jcs_object_close(j);
}

void entry_reservation(struct jcs *j, struct entry *e, const struct ledger_reservation *reservation)
{
    jcs_object_open(j);
    jcs_member_hex(j, "artifact_sha256", reservation->artifact_sha256, SHA256_LEN);
    member_at(j, e);
    jcs_member_u64(j, "epoch", reservation->epoch);
    jcs_member_u64(j, "expires", (uint64_t)reservation->expires_s);
    jcs_member_hex(j, "id", reservation->id, LEDGER_ID_LEN);
    jcs_member_string(j, "idempotency_key", reservation->origin.idempotency_key);
    jcs_member_u64(j, "index", reservation->index);
    jcs_member_u64(j, "intent", reservation->intent);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "reservation", "");
    member_prev(j, e);
    jcs_member_string(j, "request_id", reservation->origin.request_id);
    jcs_member_string(j, "requester", reservation->origin.requester);
    member_seq(j, e);
    jcs_member_u64(j, "window", reservation->window);
    jcs_object_close(j);
}

void entry_burn(struct jcs *j, struct entry *e, const struct ledger_burn *burn)
{
    jcs_object_open(j);
    member_at(j, e);
    jcs_member_u64(j, "count", burn->count);
    jcs_member_u64(j, "first", burn->first);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "burn", "");
    member_prev(j, e);
    member_seq(j, e);
    jcs_member_string(j, "why", burn->why);
    jcs_member_u64(j, "window", burn->window);
    jcs_object_close(j);
}

void entry_attest_keys(struct jcs *j, struct entry *e, const struct attest_keys *keys)
{
    jcs_object_open(j);
    jcs_member_hex(j, "ak_name", keys->ak.name, TPM_NAME_LEN);
    jcs_member_hex(j, "ak_point", keys->ak.point, P256_POINT_LEN);
    member_at(j, e);
    jcs_member_hex(j, "ek_name", keys->ek.name, TPM_NAME_LEN);
    jcs_member_hex(j, "ek_point", keys->ek.point, P256_POINT_LEN);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "attestation-key", "");
    member_prev(j, e);
    member_seq(j, e);
    jcs_object_close(j);
}

void entry_attestation(struct jcs *j, struct entry *e, const struct ledger_attestation *attestation)
{
    jcs_object_open(j);
    member_at(j, e);
    jcs_member_hex(j, "document_sha256", attestation->document_sha256, SHA256_LEN);
    jcs_member_u64(j, "document_size", attestation->document_len);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, "attestation", "");
    member_prev(j, e);
    jcs_member_u64(j, "receipt", attestation->receipt);
    member_seq(j, e);
    jcs_object_close(j);
}

void entry_note(struct jcs *j, struct entry *e, const struct ledger_note *note)
{
    static const char *const kinds[] = {
        [LEDGER_REFUSAL] = "refusal",      [LEDGER_WARNING] = "warning",
        [LEDGER_OPERATION] = "operation-", [LEDGER_ACKNOWLEDGEMENT] = "acknowledgement",
        [LEDGER_CLOCK] = "clock-",         [LEDGER_INCIDENT] = "incident",
    };
    bool named = note->kind == LEDGER_OPERATION || note->kind == LEDGER_CLOCK;
    jcs_object_open(j);
    member_at(j, e);
    jcs_member_string(j, "key", e->key_name);
    member_kind(j, e, kinds[note->kind], named ? note->what : "");
    member_i64(j, "number", note->number);
    member_prev(j, e);
    member_seq(j, e);
    jcs_member_string(j, "text", note->text);
    jcs_member_string(j, "what", note->what);
    jcs_object_close(j);
}
