#include <inttypes.h>
#include <string.h>

#include "ledger/internal.h"
/* Notes and entries ---------------------------------------------------------------------------- */

enum rc ledger_note_range(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                          const char *what, int64_t *smallest, int64_t *largest, struct err *err)
{
    *smallest = 0;
    *largest = 0;
    enum rc rc = key == 0 ? ledger_usable(ledger, err) : ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_NOTE_RANGE, key);
    bind_i64(&b, (int64_t)kind);
    bind_text(&b, what);
    rc = question_one(ledger, &b, err);
    if (rc != RC_OK)
        return rc;
    if (sqlite3_column_type(b.stmt, 0) == SQLITE_NULL)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such note");
    struct row r = {.stmt = b.stmt};
    *smallest = row_i64(&r);
    *largest = row_i64(&r);
    return row_good(ledger, &r, err);
}

/* One number, or NULL if no note is like that. */
static enum rc note_number(struct ledger *l, struct binder *b, int64_t *number, struct err *err)
{
    enum rc rc = question_one(l, b, err);
    if (rc != RC_OK)
        return rc;
    if (sqlite3_column_type(b->stmt, 0) == SQLITE_NULL)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such note");
    struct row r = {.stmt = b->stmt};
    *number = row_i64(&r);
    return row_good(l, &r, err);
}

enum rc ledger_note_by_text(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                            const char *what, const char *text, int64_t *number, struct err *err)
{
    *number = 0;
    enum rc rc = key == 0 ? ledger_usable(ledger, err) : ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_NOTE_BY_TEXT, key);
    bind_i64(&b, (int64_t)kind);
    bind_text(&b, what);
    bind_text(&b, text);
    return note_number(ledger, &b, number, err);
}

enum rc ledger_note_time(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                         const char *what, int64_t number, int64_t *at_s, struct err *err)
{
    *at_s = 0;
    enum rc rc = key == 0 ? ledger_usable(ledger, err) : ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_NOTE_TIME, key);
    bind_i64(&b, (int64_t)kind);
    bind_text(&b, what);
    bind_i64(&b, number);
    return note_number(ledger, &b, at_s, err);
}

enum rc ledger_note_latest(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                           const char *what, int64_t *number, int64_t *at_s, struct err *err)
{
    *number = 0;
    *at_s = 0;
    enum rc rc = key == 0 ? ledger_usable(ledger, err) : ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_NOTE_LATEST, key);
    bind_i64(&b, (int64_t)kind);
    bind_text(&b, what);
    bool found = false;
    rc = question_next(ledger, &b, &found, err);
    if (rc != RC_OK)
        return rc;
    if (!found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such note");
    struct row r = {.stmt = b.stmt};
    *number = row_i64(&r);
    *at_s = row_i64(&r);
    return row_good(ledger, &r, err);
}

enum rc ledger_last_note(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                         const char *what, uint64_t *seq, int64_t *number, struct err *err)
{
    *seq = 0;
    *number = 0;
    enum rc rc = key == 0 ? ledger_usable(ledger, err) : ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_NOTE_LAST, key);
    bind_i64(&b, (int64_t)kind);
    bind_text(&b, what);
    bool found = false;
    rc = question_next(ledger, &b, &found, err);
    if (rc != RC_OK)
        return rc;
    if (!found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such note");
    struct row r = {.stmt = b.stmt};
    *seq = row_u64(&r);
    *number = row_i64(&r);
    return row_good(ledger, &r, err);
}

enum rc ledger_recent_receipt(struct ledger *ledger, uint32_t key, uint64_t back, int64_t *at_s,
                              struct err *err)
{
    *at_s = 0;
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_RECEIPT_RECENT, key);
    bind_u64(&b, back);
    bool found = false;
    rc = question_next(ledger, &b, &found, err);
    if (rc != RC_OK)
        return rc;
    if (!found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "there are not so many receipts");
    struct row r = {.stmt = b.stmt};
    *at_s = row_i64(&r);
    return row_good(ledger, &r, err);
}

enum rc ledger_entry_json(struct ledger *ledger, uint64_t seq, char **json, struct err *err)
{
    *json = NULL;
    enum rc rc = ledger_usable(ledger, err);
    if (rc != RC_OK)
        return rc;
    if (seq == 0 || seq > ledger->state.size)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "the ledger has no entry %" PRIu64, seq);
    struct binder b CLEANUP(binder_done) = {.stmt = ledger->stmts[STMT_ENTRY_JSON]};
    bind_u64(&b, seq);
    rc = question_one(ledger, &b, err);
    if (rc != RC_OK)
        return rc;
    const unsigned char *text = sqlite3_column_text(b.stmt, 0);
    *json = text != NULL ? strdup((const char *)text) : NULL;
    if (*json == NULL)
        return HALT(ledger, SQLITE_NOMEM, err, "copy entry %" PRIu64, seq);
    return RC_OK;
}

/* Attestations --------------------------------------------------------------------------------- */

enum rc ledger_attest_keys(struct ledger *ledger, uint32_t key, struct attest_keys *keys,
                           struct err *err)
{
    bool found = false;
    *keys = (struct attest_keys){0};
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_ATTEST_KEYS, key);
    rc = question_next(ledger, &b, &found, err);
    if (rc == RC_OK && !found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no attestation key is recorded");
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    row_attest_keys(&r, keys);
    return row_good(ledger, &r, err);
}

enum rc ledger_attestation_of(struct ledger *ledger, uint32_t key, uint64_t receipt,
                              char **document, struct err *err)
{
    bool found = false;
    *document = NULL;
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    if (is_beyond(receipt))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such receipt");
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_ATTESTATION_OF, key);
    bind_u64(&b, receipt);
    rc = question_next(ledger, &b, &found, err);
    if (rc == RC_OK && !found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "the receipt has no attestation");
    if (rc != RC_OK)
        return rc;
    const unsigned char *text = sqlite3_column_text(b.stmt, 0);
    *document = text != NULL ? strdup((const char *)text) : NULL;
    if (*document == NULL)
        return HALT(ledger, SQLITE_NOMEM, err, "copy the attestation of entry %" PRIu64, receipt);
    return RC_OK;
}

enum rc ledger_attested_at(struct ledger *ledger, uint32_t key, int64_t *at_s, struct err *err)
{
    bool found = false;
    *at_s = 0;
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_ATTESTED_AT, key);
    rc = question_next(ledger, &b, &found, err);
    if (rc == RC_OK && !found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no attestation is recorded");
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    *at_s = row_i64(&r);
    return row_good(ledger, &r, err);
}
