#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "ledger/internal.h"

/*
 * One walk over the entries in order, with one cursor per table beside it. Each entry must find its
 * row under the cursor of its kind, and its JSON, written again from that row, from the number and
 * from the head that its chain has reached, must be the stored text, byte for byte; the hash of
 * that text must be the stored hash. So every column of every table is checked against the chain,
 * and a row too many or too few shows as a cursor that is not where it should be. No JSON is
 * parsed.
 *
 * What one row says about another (leases apart, receipts reserved, bindings = intents that are not
 * void) is asked in SQL afterwards.
 */
struct checker {
    struct ledger *l;
    sqlite3_stmt *entries;
    sqlite3_stmt *cursors[TABLE_COUNT];
    bool more[TABLE_COUNT]; /* the cursor stands on a row that no entry has claimed */
    struct ledger_state *state;
    struct ledger_key_name *keys;
    struct jcs json;
};

static void checker_wipe(struct checker *c)
{
    jcs_wipe(&c->json);
    stmt_finalize(&c->entries);
    for (size_t i = 0; i < TABLE_COUNT; i++)
        stmt_finalize(&c->cursors[i]);
}

/* The row under the walk: the entry as stored, and a reader on the row of its kind. */
struct stored {
    struct entry e;
    const char *kind;
    const uint8_t *hash;
    const char *json;
    size_t json_len;
};

#define DAMAGED(c, err, seq, ...) damaged((c), (err), __func__, (seq), __VA_ARGS__)

PRINTF_LIKE(5, 6)
static enum rc damaged(struct checker *c, struct err *err, const char *where, uint64_t seq,
                       const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return ledger_halt(c->l, 0, where, err, "the ledger is damaged: entry %" PRIu64 ": %s", seq,
                       text);
}

static enum rc advance(struct checker *c, enum table table, struct err *err)
{
    int s = sqlite3_step(c->cursors[table]);
    c->more[table] = s == SQLITE_ROW;
    if (s != SQLITE_ROW && s != SQLITE_DONE)
        return HALT(c->l, s, err, "read the tables of the ledger");
    return RC_OK;
}

static enum rc start(struct checker *c, struct err *err)
{
    static const char sql[] = "SELECT seq, key, kind, at_s, hash, json FROM entry ORDER BY seq";
    int s = sqlite3_prepare_v2(c->l->db, sql, -1, &c->entries, NULL);
    for (size_t i = 0; s == SQLITE_OK && i < TABLE_COUNT; i++)
        s = sqlite3_prepare_v2(c->l->db, ledger_cursor_sql[i], -1, &c->cursors[i], NULL);
    if (s != SQLITE_OK)
        return HALT(c->l, s, err, "prepare the check of the ledger");
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        enum rc rc = advance(c, (enum table)i, err);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum table table_of(const char *kind)
{
    static const struct {
        const char *kind;
        enum table table;
    } kinds[] = {
        {"receipt", TABLE_RECEIPT},
        {"lease", TABLE_LEASE},
        {"intent", TABLE_INTENT},
        {"burn", TABLE_BURN},
        {"reservation", TABLE_RESERVATION},
        {"branch-signed", TABLE_BRANCH},
        {"void", TABLE_VOID},
        {"window-opened", TABLE_WINDOW},
        {"key-created", TABLE_KEY},
        {"device-provisioned", TABLE_DEVICE},
        {"operation-recover", TABLE_FLOOR},
        {"attestation", TABLE_ATTESTATION},
        {"attestation-key", TABLE_ATTEST_KEYS},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].kind, kind) == 0)
            return kinds[i].table;
    return TABLE_NOTE;
}

/* Key rows come in the order of their ids, each before any other entry of its key. */
static void remember_key(struct checker *c, struct row *r, struct entry *e, struct ledger_key *key)
{
    row_key(r, key);
    if (key->id != c->state->key_count + 1 || key->id > LEDGER_KEYS_MAX || !name_valid(key->name)) {
        r->bad = true;
        return;
    }
    c->state->key_count = key->id;
    memcpy(c->keys[key->id].name, key->name, sizeof(key->name));
    memcpy(c->keys[key->id].key_id, key->key_id, KEY_ID_LEN);
    e->key_name = c->keys[key->id].name;
}

/* What a receipt says of its signature and its name is hashed again from the bytes that are there.
 */
static void check_receipt(const struct checker *c, struct row *r, const struct entry *e,
                          struct ledger_receipt *receipt)
{
    const uint8_t *signature = NULL;
    row_receipt(r, receipt, &signature);
    if (r->bad)
        return;
    uint8_t id[LEDGER_ID_LEN];
    uint8_t hash[SHA256_LEN];
    receipt_id(id, c->keys[e->key].key_id, receipt->index);
    digest_buffer(DIGEST_SHA256, hash, signature, receipt->signature_len);
    if (!ct_equal(id, receipt->id, LEDGER_ID_LEN) ||
        !ct_equal(hash, receipt->signature_sha256, SHA256_LEN))
        r->bad = true;
}

static void check_reservation(const struct checker *c, struct row *r, const struct entry *e,
                              struct ledger_reservation *reservation)
{
    uint8_t id[LEDGER_ID_LEN];
    row_reservation(r, reservation);
    if (r->bad)
        return;
    receipt_id(id, c->keys[e->key].key_id, reservation->index);
    r->bad = !ct_equal(id, reservation->id, LEDGER_ID_LEN);
}

static void check_branch(struct row *r, struct ledger_branch *branch)
{
    const uint8_t *record = NULL;
    uint8_t hash[SHA256_LEN];
    row_branch(r, branch, &record);
    if (r->bad)
        return;
    digest_buffer(DIGEST_SHA256, hash, record, branch->record_len);
    r->bad = !ct_equal(hash, branch->record_sha256, SHA256_LEN);
}

static void check_attestation(struct row *r, struct ledger_attestation *attestation)
{
    const char *document = NULL;
    uint8_t hash[SHA256_LEN];
    row_attestation(r, attestation, &document);
    if (r->bad)
        return;
    digest_buffer(DIGEST_SHA256, hash, document, attestation->document_len);
    r->bad = !ct_equal(hash, attestation->document_sha256, SHA256_LEN);
}

/* Write the JSON of an entry again from its row. */
static void rebuild(struct checker *c, enum table table, struct row *r, struct entry *e)
{
    union {
        struct ledger_key key;
        struct ledger_floor floor;
        struct ledger_window window;
        struct ledger_branch branch;
        struct ledger_lease lease;
        struct ledger_intent intent;
        struct ledger_void lifted;
        struct ledger_receipt receipt;
        struct ledger_reservation reservation;
        struct ledger_burn burn;
        struct ledger_note note;
        struct attest_keys keys;
        struct ledger_attestation attestation;
    } u;
    memset(&u, 0, sizeof(u));
    struct jcs *j = &c->json;
    switch (table) {
    case TABLE_KEY:
        remember_key(c, r, e, &u.key);
        entry_key(j, e, &u.key);
        break;
    case TABLE_DEVICE:
        row_device(r, &u.key);
        entry_device(j, e, &u.key);
        break;
    case TABLE_FLOOR:
        row_floor(r, &u.floor);
        entry_floor(j, e, &u.floor);
        break;
    case TABLE_WINDOW:
        row_window(r, &u.window);
        entry_window(j, e, &u.window);
        break;
    case TABLE_BRANCH:
        check_branch(r, &u.branch);
        entry_branch(j, e, &u.branch);
        break;
    case TABLE_LEASE:
        row_lease(r, &u.lease);
        entry_lease(j, e, &u.lease);
        break;
    case TABLE_INTENT:
        row_intent(r, &u.intent);
        entry_intent(j, e, &u.intent);
        break;
    case TABLE_VOID:
        row_void(r, &u.lifted);
        entry_void(j, e, &u.lifted);
        break;
    case TABLE_RECEIPT:
        check_receipt(c, r, e, &u.receipt);
        entry_receipt(j, e, &u.receipt);
        break;
    case TABLE_RESERVATION:
        check_reservation(c, r, e, &u.reservation);
        entry_reservation(j, e, &u.reservation);
        break;
    case TABLE_BURN:
        row_burn(r, &u.burn);
        entry_burn(j, e, &u.burn);
        break;
    case TABLE_ATTEST_KEYS:
        row_attest_keys(r, &u.keys);
        entry_attest_keys(j, e, &u.keys);
        break;
    case TABLE_ATTESTATION:
        check_attestation(r, &u.attestation);
        entry_attestation(j, e, &u.attestation);
        break;
    case TABLE_NOTE:
    case TABLE_COUNT:
        row_note(r, &u.note);
        entry_note(j, e, &u.note);
        break;
    }
}

static enum rc read_entry(struct checker *c, struct stored *st, struct err *err)
{
    uint64_t seq = c->state->size + 1;
    struct row r = {.stmt = c->entries};
    if (row_u64(&r) != seq)
        return DAMAGED(c, err, seq, "it is missing");
    st->e.seq = seq;
    st->e.key = row_u32(&r);
    st->kind = (const char *)sqlite3_column_text(c->entries, r.at++);
    st->e.at_s = row_i64(&r);
    st->hash = sqlite3_column_blob(c->entries, r.at);
    bool hash_whole = sqlite3_column_bytes(c->entries, r.at++) == SHA256_LEN;
    st->json = (const char *)sqlite3_column_text(c->entries, r.at);
    st->json_len = (size_t)sqlite3_column_bytes(c->entries, r.at);
    if (r.bad || st->kind == NULL || st->hash == NULL || !hash_whole || st->json == NULL)
        return DAMAGED(c, err, seq, "a column is not what it must be");
    bool creates = table_of(st->kind) == TABLE_KEY;
    if (st->e.key > c->state->key_count + (creates ? 1 : 0) || st->e.key > LEDGER_KEYS_MAX)
        return DAMAGED(c, err, seq, "it is of key number %u, which is not there", st->e.key);
    st->e.key_name = c->keys[st->e.key].name;
    memcpy(st->e.prev, c->state->heads[st->e.key], SHA256_LEN);
    return RC_OK;
}

static enum rc check_entry(struct checker *c, struct err *err)
{
    struct stored st = {0};
    enum rc rc = read_entry(c, &st, err);
    if (rc != RC_OK)
        return rc;
    enum table table = table_of(st.kind);
    struct row r = {.stmt = c->cursors[table]};
    if (!c->more[table] || row_u64(&r) != st.e.seq || row_u32(&r) != st.e.key)
        return DAMAGED(c, err, st.e.seq, "the row of this %s is missing, or there is one too many",
                       st.kind);
    c->json.len = 0; /* the buffer is used again for every entry */
    c->json.started[0] = false;
    rebuild(c, table, &r, &st.e);
    if (r.bad)
        return DAMAGED(c, err, st.e.seq, "the row of this %s does not fit", st.kind);
    if (!jcs_finish(&c->json))
        return HALT(c->l, SQLITE_NOMEM, err, "write entry %" PRIu64 " as JSON", st.e.seq);

    uint8_t hash[SHA256_LEN];
    entry_hash(hash, st.json, st.json_len);
    if (!ct_equal(hash, st.hash, SHA256_LEN))
        return DAMAGED(c, err, st.e.seq, "its hash is not that of its text");
    if (strcmp(st.kind, st.e.kind) != 0 || c->json.len != st.json_len ||
        !ct_equal(c->json.text, st.json, st.json_len))
        return DAMAGED(c, err, st.e.seq, "its text is not what its row and its chain say");
    memcpy(c->state->heads[st.e.key], hash, SHA256_LEN);
    c->state->size = st.e.seq;
    return advance(c, table, err);
}

static enum rc check_entries(struct checker *c, struct err *err)
{
    enum rc rc = start(c, err);
    while (rc == RC_OK) {
        int s = sqlite3_step(c->entries);
        if (s == SQLITE_DONE)
            break;
        if (s != SQLITE_ROW)
            return HALT(c->l, s, err, "read the entries of the ledger");
        rc = check_entry(c, err);
    }
    for (size_t i = 0; rc == RC_OK && i < TABLE_COUNT; i++)
        if (c->more[i])
            rc = DAMAGED(c, err, c->state->size + 1, "it is missing, but rows of it are there");
    return rc;
}

/* Each gives the number of an entry that is wrong, or no row. */
static const struct {
    const char *sql;
    const char *text;
} rules[] = {
    {"SELECT i.seq FROM intent AS i WHERE EXISTS (SELECT 1 FROM binding AS b WHERE b.seq = i.seq)"
     " = EXISTS (SELECT 1 FROM void AS v WHERE v.intent = i.seq)",
     "an intent is either bound or void"},
    {"SELECT b.seq FROM binding AS b LEFT JOIN intent AS i ON i.seq = b.seq WHERE i.seq IS NULL"
     " OR (b.key, b.idx, b.epoch, b.window, b.line, b.rank, b.version, b.slot)"
     " IS NOT (i.key, i.idx, i.epoch, i.window, i.line, i.rank, i.version, i.slot)",
     "the binding says something else than its intent"},
    {"SELECT v.seq FROM void AS v LEFT JOIN intent AS i ON i.seq = v.intent WHERE i.seq IS NULL"
     " OR i.seq >= v.seq OR (v.key, v.idx) IS NOT (i.key, i.idx)",
     "the void is of no intent before it"},
    {"SELECT r.seq FROM receipt AS r WHERE NOT EXISTS (SELECT 1 FROM lease AS l"
     " WHERE l.key = r.key AND l.epoch = r.epoch AND l.window = r.window AND l.seq < r.seq"
     " AND l.first <= r.idx AND l.first + l.count > r.idx)"
     " AND NOT EXISTS (SELECT 1 FROM binding AS b JOIN intent AS i ON i.seq = b.seq"
     " WHERE b.key = r.key AND b.idx = r.idx AND b.seq < r.seq AND b.epoch = r.epoch"
     " AND b.window = r.window AND b.version = r.version AND b.slot = r.slot"
     " AND i.artifact_sha256 = r.artifact_sha256)",
     "no lease and no binding covers the index of this receipt"},
    {"SELECT v.seq FROM reservation AS v WHERE NOT (v.intent = 0 AND EXISTS (SELECT 1 FROM lease "
     "AS l"
     " WHERE l.key = v.key AND l.epoch = v.epoch AND l.window = v.window AND l.seq < v.seq"
     " AND l.first <= v.idx AND l.first + l.count > v.idx))"
     " AND NOT EXISTS (SELECT 1 FROM intent AS i WHERE i.seq = v.intent AND i.seq < v.seq"
     " AND i.key = v.key AND i.idx = v.idx AND i.epoch = v.epoch AND i.window = v.window"
     " AND length(i.value) = 0 AND i.artifact_sha256 = v.artifact_sha256)",
     "no lease and no intent covers the index of this reservation"},
    {"SELECT r.seq FROM receipt AS r WHERE (length(r.caller_hash) > 0) IS NOT EXISTS"
     " (SELECT 1 FROM reservation AS v WHERE v.key = r.key AND v.idx = r.idx AND v.seq < r.seq"
     " AND (v.intent = 0 OR EXISTS (SELECT 1 FROM binding AS b WHERE b.seq = v.intent)))"
     " OR length(r.caller_hash) > 0 AND NOT EXISTS"
     " (SELECT 1 FROM reservation AS v WHERE v.key = r.key AND v.idx = r.idx AND v.seq < r.seq"
     " AND v.epoch = r.epoch AND v.artifact_sha256 = r.artifact_sha256"
     " AND (v.intent = 0 OR EXISTS (SELECT 1 FROM binding AS b WHERE b.seq = v.intent)))",
     "a hash that the caller made, and no other, is signed for a reservation"},
    {"SELECT l.seq FROM lease AS l WHERE (SELECT o.first + o.count FROM lease AS o"
     " WHERE o.key = l.key AND o.first < l.first ORDER BY o.first DESC LIMIT 1) > l.first",
     "two leases overlap"},
    {"SELECT a.seq FROM attestation AS a LEFT JOIN receipt AS r ON r.seq = a.receipt"
     " WHERE r.seq IS NULL OR r.seq >= a.seq OR r.key <> a.key",
     "the attestation is of no receipt before it"},
    {"SELECT k.seq FROM key AS k WHERE NOT EXISTS (SELECT 1 FROM device AS d WHERE d.key = k.id)",
     "the key has no device"},
};

static enum rc check_rules(struct checker *c, struct err *err)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        sqlite3_stmt *stmt CLEANUP(stmt_finalize) = NULL;
        int s = sqlite3_prepare_v2(c->l->db, rules[i].sql, -1, &stmt, NULL);
        if (s == SQLITE_OK)
            s = sqlite3_step(stmt);
        if (s == SQLITE_ROW)
            return DAMAGED(c, err, (uint64_t)sqlite3_column_int64(stmt, 0), "%s", rules[i].text);
        if (s != SQLITE_DONE)
            return HALT(c->l, s, err, "check that %s", rules[i].text);
    }
    return RC_OK;
}

/* SQLite's own look at pages, indices, types and CHECKs. */
static enum rc check_integrity(struct ledger *l, struct err *err)
{
    sqlite3_stmt *stmt CLEANUP(stmt_finalize) = NULL;
    int s = sqlite3_prepare_v2(l->db, "PRAGMA integrity_check(1)", -1, &stmt, NULL);
    if (s == SQLITE_OK)
        s = sqlite3_step(stmt);
    if (s != SQLITE_ROW)
        return HALT(l, s, err, "run SQLite's integrity check");
    const char *text = (const char *)sqlite3_column_text(stmt, 0);
    if (text == NULL || strcmp(text, "ok") != 0)
        return HALT(l, 0, err, "the database is damaged: %.150s", text != NULL ? text : "?");
    return RC_OK;
}

enum rc check_all(struct ledger *l, struct ledger_state *state, struct ledger_key_name *keys,
                  struct err *err)
{
    struct checker c CLEANUP(checker_wipe) = {.l = l, .state = state, .keys = keys};
    enum rc rc = schema_settings_hold(l, err);
    if (rc == RC_OK)
        rc = schema_unchanged(l, err);
    if (rc == RC_OK)
        rc = check_integrity(l, err);
    if (rc == RC_OK)
        rc = check_entries(&c, err);
    if (rc == RC_OK)
        rc = check_rules(&c, err);
    return rc;
}
