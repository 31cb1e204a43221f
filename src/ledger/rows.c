#include <string.h>

#include "ledger/internal.h"

/* Columns -------------------------------------------------------------------------------------- */

int64_t row_i64(struct row *r)
{
    int column = r->at++;
    if (sqlite3_column_type(r->stmt, column) != SQLITE_INTEGER)
        r->bad = true;
    return sqlite3_column_int64(r->stmt, column);
}

uint64_t row_u64(struct row *r)
{
    int64_t value = row_i64(r);
    if (value < 0)
        r->bad = true;
    return (uint64_t)value;
}

uint32_t row_u32(struct row *r)
{
    int64_t value = row_i64(r);
    if (value < 0 || value > UINT32_MAX)
        r->bad = true;
    return (uint32_t)value;
}

/* The unused end of an array is cleared, since one struct is often filled again and again. */
static size_t row_copy(struct row *r, const void *data, size_t len, uint8_t *out, size_t cap)
{
    memset(out, 0, cap);
    if (len > cap || (data == NULL && len > 0)) {
        r->bad = true;
        return 0;
    }
    if (len > 0)
        memcpy(out, data, len);
    return len;
}

void row_text(struct row *r, char *out, size_t cap)
{
    int column = r->at++;
    const unsigned char *text = sqlite3_column_text(r->stmt, column);
    size_t len = (size_t)sqlite3_column_bytes(r->stmt, column);
    out[cap - 1] = '\0';
    (void)row_copy(r, text, len, (uint8_t *)out, cap - 1);
    if (text == NULL || strlen(out) != len) /* NULL, or a NUL inside */
        r->bad = true;
}

size_t row_blob_upto(struct row *r, uint8_t *out, size_t cap)
{
    int column = r->at++;
    const void *blob = sqlite3_column_blob(r->stmt, column);
    return row_copy(r, blob, (size_t)sqlite3_column_bytes(r->stmt, column), out, cap);
}

void row_blob(struct row *r, uint8_t *out, size_t len)
{
    if (row_blob_upto(r, out, len) != len)
        r->bad = true;
}

/* Rows; the order of the columns is that of the COLUMNS_ macros in statements.c. */

void row_key(struct row *r, struct ledger_key *key)
{
    key->id = row_u32(r);
    row_text(r, key->name, sizeof(key->name));
    row_blob(r, key->key_id, KEY_ID_LEN);
    row_blob(r, key->plan_sha256, SHA256_LEN);
    key->public_key_len = row_blob_upto(r, key->public_key, LEDGER_PUBLIC_MAX);
}

void row_device(struct row *r, struct ledger_key *key)
{
    struct anchor_pins *pins = &key->pins;
    key->min_window = row_i64(r);
    pins->w_handle = row_u32(r);
    pins->l_handle = row_u32(r);
    pins->a_handle = row_u32(r);
    row_blob(r, pins->w_name, TPM_NAME_LEN);
    row_blob(r, pins->l_name, TPM_NAME_LEN);
    row_blob(r, pins->a_name, TPM_NAME_LEN);
    row_blob(r, pins->srk_name, TPM_NAME_LEN);
    pins->w_base = row_i64(r);
    pins->w_first = row_u64(r);
    pins->l_first = row_u64(r);
}

void row_floor(struct row *r, struct ledger_floor *floor)
{
    floor->min_window = row_i64(r);
    row_text(r, floor->why, sizeof(floor->why));
}

void row_window(struct row *r, struct ledger_window *window)
{
    window->window = row_u64(r);
    window->w = row_u64(r);
    window->l_base = row_u64(r);
}

void row_branch(struct row *r, struct ledger_branch *branch, const uint8_t **record)
{
    branch->window = row_u64(r);
    branch->first = row_u64(r);
    row_blob(r, branch->record_sha256, SHA256_LEN);
    int column = r->at++;
    *record = sqlite3_column_blob(r->stmt, column);
    branch->record_len = (size_t)sqlite3_column_bytes(r->stmt, column);
    if (*record == NULL || branch->record_len > LEDGER_SIGNATURE_MAX)
        r->bad = true;
}

void row_lease(struct row *r, struct ledger_lease *lease)
{
    lease->epoch = row_u64(r);
    lease->window = row_u64(r);
    lease->number = row_u64(r);
    lease->first = row_u64(r);
    lease->count = row_u64(r);
}

static void row_origin(struct row *r, struct ledger_origin *origin)
{
    row_text(r, origin->requester, sizeof(origin->requester));
    row_text(r, origin->request_id, sizeof(origin->request_id));
    row_text(r, origin->idempotency_key, sizeof(origin->idempotency_key));
}

void row_intent(struct row *r, struct ledger_intent *intent)
{
    intent->seq = row_u64(r);
    intent->epoch = row_u64(r);
    intent->window = row_u64(r);
    intent->index = row_u64(r);
    intent->line = row_u64(r);
    intent->rank = row_u64(r);
    row_text(r, intent->version, sizeof(intent->version));
    row_text(r, intent->slot, sizeof(intent->slot));
    row_blob(r, intent->artifact_sha256, SHA256_LEN);
    intent->artifact_size = row_u64(r);
    intent->value_len = row_blob_upto(r, intent->randomizer, LEDGER_VALUE_MAX);
    size_t known = row_blob_upto(r, intent->value, LEDGER_VALUE_MAX);
    intent->remote = known == 0;
    if (known != 0 && known != intent->value_len)
        r->bad = true;
    row_origin(r, &intent->origin);
}

void row_void(struct row *r, struct ledger_void *lifted)
{
    lifted->intent = row_u64(r);
    lifted->index = row_u64(r);
}

void row_receipt(struct row *r, struct ledger_receipt *receipt, const uint8_t **signature)
{
    receipt->seq = row_u64(r);
    receipt->epoch = row_u64(r);
    receipt->window = row_u64(r);
    receipt->index = row_u64(r);
    row_blob(r, receipt->id, LEDGER_ID_LEN);
    row_text(r, receipt->version, sizeof(receipt->version));
    row_text(r, receipt->slot, sizeof(receipt->slot));
    row_blob(r, receipt->artifact_sha256, SHA256_LEN);
    receipt->artifact_size = row_u64(r);
    row_blob(r, receipt->signature_sha256, SHA256_LEN);
    receipt->caller_hash_len = row_blob_upto(r, receipt->caller_hash, LEDGER_VALUE_MAX);
    row_origin(r, &receipt->origin);
    int column = r->at++;
    *signature = sqlite3_column_blob(r->stmt, column);
    receipt->signature_len = (size_t)sqlite3_column_bytes(r->stmt, column);
    if (*signature == NULL || receipt->signature_len > LEDGER_SIGNATURE_MAX)
        r->bad = true;
}

void row_reservation(struct row *r, struct ledger_reservation *reservation)
{
    reservation->seq = row_u64(r);
    reservation->epoch = row_u64(r);
    reservation->window = row_u64(r);
    reservation->index = row_u64(r);
    row_blob(r, reservation->id, LEDGER_ID_LEN);
    reservation->intent = row_u64(r);
    row_blob(r, reservation->artifact_sha256, SHA256_LEN);
    reservation->expires_s = row_i64(r);
    row_origin(r, &reservation->origin);
}

void row_burn(struct row *r, struct ledger_burn *burn)
{
    burn->window = row_u64(r);
    burn->first = row_u64(r);
    burn->count = row_u64(r);
    row_text(r, burn->why, sizeof(burn->why));
}

void row_note(struct row *r, struct ledger_note *note)
{
    uint32_t kind = row_u32(r);
    if (kind > LEDGER_INCIDENT) {
        r->bad = true;
        kind = LEDGER_INCIDENT;
    }
    note->kind = (enum ledger_note_kind)kind;
    row_text(r, note->what, sizeof(note->what));
    note->number = row_i64(r);
    row_text(r, note->text, sizeof(note->text));
}

void row_attest_keys(struct row *r, struct attest_keys *keys)
{
    row_blob(r, keys->ak.name, TPM_NAME_LEN);
    row_blob(r, keys->ak.point, P256_POINT_LEN);
    row_blob(r, keys->ek.name, TPM_NAME_LEN);
    row_blob(r, keys->ek.point, P256_POINT_LEN);
}

void row_attestation(struct row *r, struct ledger_attestation *attestation, const char **document)
{
    attestation->receipt = row_u64(r);
    row_blob(r, attestation->document_sha256, SHA256_LEN);
    int column = r->at++;
    *document = (const char *)sqlite3_column_text(r->stmt, column);
    attestation->document_len = (size_t)sqlite3_column_bytes(r->stmt, column);
    if (*document == NULL || attestation->document_len > LEDGER_ATTESTATION_MAX)
        r->bad = true;
}
