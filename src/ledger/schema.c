#include <stdio.h>
#include <string.h>

#include "ledger/internal.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Tables ------------------------------------------------------------------------------------------
 *
 * Every table but "binding" only ever grows. A row of "key" … "note" says in columns what its entry
 * says in JSON; check.c writes the JSON again from the row and compares. "binding" is the set of
 * intents that are not void: the one place from which a row may go, and only behind a void entry.
 *
 * Detail rows are inserted before their entry (the references are deferred to the commit), so that
 * the first statement of each ledger_add_…() is the only one that a constraint may refuse: then
 * nothing has changed yet and the transaction goes on.
 */

/* Columns that occur again and again. Numbers of the limits are written out, since SQL has no names
 * for them. */
#define NUMBER(name) name " INTEGER NOT NULL CHECK (" name " BETWEEN 0 AND 1152921504606846975)"
#define COUNTER(name) name " INTEGER NOT NULL CHECK (" name " >= 0)"
#define COUNT "count INTEGER NOT NULL CHECK (count BETWEEN 1 AND 1152921504606846976 - first)"
#define TEXT(name, least) name " TEXT NOT NULL CHECK (length(" name ") BETWEEN " least " AND 255)"
#define NAME(name, least) name " TEXT NOT NULL CHECK (length(" name ") BETWEEN " least " AND 63)"
#define BYTES(name, len) name " BLOB NOT NULL CHECK (length(" name ") = " len ")"
#define VALUE(name) name " BLOB NOT NULL CHECK (length(" name ") BETWEEN 1 AND 64)"
#define MAYBE(name) name " BLOB NOT NULL CHECK (length(" name ") BETWEEN 0 AND 64)"
#define SEQ "seq INTEGER PRIMARY KEY REFERENCES entry (seq) DEFERRABLE INITIALLY DEFERRED"
#define KEY "key INTEGER NOT NULL REFERENCES key (id)"
#define ORIGIN TEXT("requester", "0") ", " TEXT("request_id", "0") ", " TEXT("idempotency_key", "0")

_Static_assert(LEDGER_NUMBER_MAX == UINT64_C(1152921504606846976) && LEDGER_TEXT_MAX == 255 &&
                   LEDGER_VERSION_MAX == 63 && NAME_LEN_MAX == 63 && LEDGER_PUBLIC_MAX == 128 &&
                   LEDGER_VALUE_MAX == 64 && TPM_NAME_LEN == 34 && LEDGER_KIND_MAX == 79 &&
                   LEDGER_SIGNATURE_MAX == 131072 && LEDGER_ATTESTATION_MAX == 16384 &&
                   RFC3339_S_MAX == 253402300799,
               "the limits that the schema writes out");

#define REFUSE(why, condition) "SELECT RAISE(ABORT, '" why "') WHERE " condition ";"
#define NO_UPDATE(table)                                                                           \
    "CREATE TRIGGER " table "_no_update BEFORE UPDATE ON " table                                   \
    " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
#define NO_DELETE(table)                                                                           \
    "CREATE TRIGGER " table "_no_delete BEFORE DELETE ON " table                                   \
    " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
#define APPEND_ONLY(table) NO_UPDATE(table), NO_DELETE(table)

/* A burn names its window, and an index belongs to one window: only burns of that one are looked
 * through. */
#define BURNED(first, end)                                                                         \
    "EXISTS (SELECT 1 FROM burn AS x WHERE x.key = NEW.key AND x.window = NEW.window"              \
    " AND x.first < " end " AND x.first + x.count > " first ")"

/* End of the lease that starts last before a place; leases do not overlap, so only this one can
 * reach further. */
#define LEASE_END(before)                                                                          \
    "(SELECT o.first + o.count FROM lease AS o WHERE o.key = NEW.key AND o.first < " before        \
    " ORDER BY o.first DESC LIMIT 1)"

#define SIGNED(index)                                                                              \
    "EXISTS (SELECT 1 FROM receipt AS r WHERE r.key = NEW.key AND r.idx = " index ")"

/* A text made of literals and macros is more than the formatter can lay out. */
/* clang-format off */
static const char *const schema[] = {
    "CREATE TABLE entry ("
        "seq INTEGER PRIMARY KEY CHECK (seq >= 1),"
        COUNTER("key") ","
        "kind TEXT NOT NULL CHECK (length(kind) BETWEEN 1 AND 79),"
        "at_s INTEGER NOT NULL CHECK (at_s BETWEEN 0 AND 253402300799),"
        BYTES("hash", "32") ","
        "json TEXT NOT NULL) STRICT",
    "CREATE INDEX entry_of_key ON entry (key)",
    "CREATE TRIGGER entry_next BEFORE INSERT ON entry BEGIN "
        REFUSE("entry numbers have no gaps",
               "NEW.seq IS NOT (SELECT coalesce(max(e.seq), 0) + 1 FROM entry AS e)")
    " END",
    APPEND_ONLY("entry"),

    "CREATE TABLE key ("
        "id INTEGER PRIMARY KEY CHECK (id >= 1),"
        "seq INTEGER NOT NULL UNIQUE REFERENCES entry (seq) DEFERRABLE INITIALLY DEFERRED,"
        NAME("name", "1") " UNIQUE,"
        BYTES("key_id", "32") " UNIQUE,"
        BYTES("plan_sha256", "32") ","
        "public_key BLOB NOT NULL CHECK (length(public_key) BETWEEN 1 AND 128)) STRICT",
    APPEND_ONLY("key"),

    "CREATE TABLE device (" SEQ "," KEY ","
        "min_window INTEGER NOT NULL,"
        COUNTER("w_handle") "," COUNTER("l_handle") "," COUNTER("a_handle") ","
        BYTES("w_name", "34") "," BYTES("l_name", "34") "," BYTES("a_name", "34") ","
        BYTES("srk_name", "34") ","
        "w_base INTEGER NOT NULL,"
        COUNTER("w_first") "," COUNTER("l_first") ") STRICT",
    "CREATE INDEX device_of_key ON device (key)",
    APPEND_ONLY("device"),

    "CREATE TABLE floor (" SEQ "," KEY ","
        "min_window INTEGER NOT NULL,"
        TEXT("why", "0") ") STRICT",
    "CREATE INDEX floor_of_key ON floor (key, min_window)",
    APPEND_ONLY("floor"),

    "CREATE TABLE window (" SEQ "," KEY ","
        NUMBER("window") "," COUNTER("w") "," COUNTER("l_base") ","
        "UNIQUE (key, window)) STRICT",
    APPEND_ONLY("window"),

    /* What a bottom tree of a hypertree was signed with; once, for ever. */
    "CREATE TABLE branch (" SEQ "," KEY ","
        NUMBER("window") "," NUMBER("first") "," BYTES("record_sha256", "32") ","
        "record BLOB NOT NULL CHECK (length(record) BETWEEN 1 AND 131072),"
        "UNIQUE (key, first)) STRICT",
    "CREATE INDEX branch_of_window ON branch (key, window, seq)",
    APPEND_ONLY("branch"),

    "CREATE TABLE lease (" SEQ "," KEY ","
        COUNTER("epoch") "," NUMBER("window") "," NUMBER("number") ","
        NUMBER("first") "," COUNT ","
        "UNIQUE (key, epoch), UNIQUE (key, first), UNIQUE (key, window, number)) STRICT",
    "CREATE TRIGGER lease_apart BEFORE INSERT ON lease BEGIN "
        REFUSE("an index of it stands in another lease",
               LEASE_END("NEW.first + NEW.count") " > NEW.first")
        REFUSE("an index of it is bound to a version",
               "EXISTS (SELECT 1 FROM binding AS b WHERE b.key = NEW.key"
               " AND b.idx >= NEW.first AND b.idx < NEW.first + NEW.count)")
        REFUSE("an index of it is burned", BURNED("NEW.first", "NEW.first + NEW.count"))
    " END",
    APPEND_ONLY("lease"),

    "CREATE TABLE intent (" SEQ "," KEY ","
        COUNTER("epoch") "," NUMBER("window") "," NUMBER("idx") ","
        NUMBER("line") "," NUMBER("rank") "," NAME("version", "1") "," NAME("slot", "0") ","
        BYTES("artifact_sha256", "32") "," COUNTER("artifact_size") ","
        VALUE("randomizer") "," MAYBE("value") "," ORIGIN ","
        "CHECK (length(value) IN (0, length(randomizer)))) STRICT",
    APPEND_ONLY("intent"),

    "CREATE TABLE binding ("
        "seq INTEGER PRIMARY KEY REFERENCES intent (seq) DEFERRABLE INITIALLY DEFERRED," KEY ","
        NUMBER("idx") "," COUNTER("epoch") "," NUMBER("window") ","
        NUMBER("line") "," NUMBER("rank") "," NAME("version", "1") "," NAME("slot", "0") ","
        "UNIQUE (key, idx), UNIQUE (key, version, slot)) STRICT",
    "CREATE INDEX binding_of_window ON binding (key, window)",
    "CREATE INDEX binding_of_epoch ON binding (key, epoch)",
    "CREATE INDEX binding_of_rank ON binding (key, line, rank)",
    "CREATE INDEX binding_of_line ON binding (key, line, window)",
    "CREATE TRIGGER binding_free BEFORE INSERT ON binding BEGIN "
        REFUSE("the index stands in a lease", LEASE_END("NEW.idx + 1") " > NEW.idx")
        REFUSE("the index has a receipt", SIGNED("NEW.idx"))
        REFUSE("the index is burned", BURNED("NEW.idx", "NEW.idx + 1"))
    " END",
    NO_UPDATE("binding"),
    "CREATE TRIGGER binding_stays BEFORE DELETE ON binding BEGIN "
        REFUSE("only a void entry lifts a binding",
               "NOT EXISTS (SELECT 1 FROM void AS v WHERE v.intent = OLD.seq)")
    " END",

    "CREATE TABLE void (" SEQ "," KEY ","
        "intent INTEGER NOT NULL UNIQUE REFERENCES intent (seq),"
        NUMBER("idx") ") STRICT",
    "CREATE TRIGGER void_unsigned BEFORE INSERT ON void BEGIN "
        REFUSE("only a bound intent can be void",
               "NOT EXISTS (SELECT 1 FROM binding AS b WHERE b.seq = NEW.intent"
               " AND b.key = NEW.key AND b.idx = NEW.idx)")
        REFUSE("the index has a receipt", SIGNED("NEW.idx"))
        REFUSE("the index is burned",
               "EXISTS (SELECT 1 FROM binding AS b JOIN burn AS x ON x.key = b.key"
               " AND x.window = b.window AND x.first <= b.idx AND x.first + x.count > b.idx"
               " WHERE b.seq = NEW.intent)")
    " END",
    /* In the statement that adds the void entry: the two can never be apart. */
    "CREATE TRIGGER void_lifts AFTER INSERT ON void"
    " BEGIN DELETE FROM binding WHERE seq = NEW.intent; END",
    APPEND_ONLY("void"),

    /* An index whose prefix was given away, for one artifact; "intent" is 0 where a lease holds it. */
    "CREATE TABLE reservation (" SEQ "," KEY ","
        COUNTER("epoch") "," NUMBER("window") "," NUMBER("idx") ","
        BYTES("id", "16") "," COUNTER("intent") ","
        BYTES("artifact_sha256", "32") "," COUNTER("expires_s") "," ORIGIN ","
        "UNIQUE (key, idx, intent)) STRICT",
    "CREATE INDEX reservation_of_window ON reservation (key, window)",
    "CREATE TRIGGER reservation_held BEFORE INSERT ON reservation BEGIN "
        REFUSE("no lease and no intent of this epoch, window and artifact covers it",
               "NOT (NEW.intent = 0 AND EXISTS (SELECT 1 FROM lease AS l WHERE l.key = NEW.key"
               " AND l.epoch = NEW.epoch AND l.window = NEW.window"
               " AND l.first <= NEW.idx AND l.first + l.count > NEW.idx))"
               " AND NOT EXISTS (SELECT 1 FROM binding AS b JOIN intent AS i ON i.seq = b.seq"
               " WHERE b.seq = NEW.intent AND b.key = NEW.key AND b.idx = NEW.idx"
               " AND b.epoch = NEW.epoch AND b.window = NEW.window AND length(i.value) = 0"
               " AND i.artifact_sha256 = NEW.artifact_sha256)")
        REFUSE("the index has a receipt", SIGNED("NEW.idx"))
        REFUSE("it is burned", BURNED("NEW.idx", "NEW.idx + 1"))
    " END",
    APPEND_ONLY("reservation"),

    "CREATE TABLE receipt (" SEQ "," KEY ","
        COUNTER("epoch") "," NUMBER("window") "," NUMBER("idx") ","
        BYTES("id", "16") "," /* found by the index that it ends with: an index of its own over
                               * what looks random would cost a page for each receipt */
        NAME("version", "0") "," NAME("slot", "0") ","
        BYTES("artifact_sha256", "32") "," COUNTER("artifact_size") ","
        BYTES("signature_sha256", "32") "," MAYBE("caller_hash") "," ORIGIN ","
        "signature BLOB NOT NULL CHECK (length(signature) BETWEEN 1 AND 131072),"
        "UNIQUE (key, idx)) STRICT",
    "CREATE INDEX receipt_of_window ON receipt (key, window)",
    "CREATE INDEX receipt_of_epoch ON receipt (key, epoch)",
    "CREATE INDEX receipt_of_request ON receipt (key, idempotency_key)"
    " WHERE idempotency_key <> ''",
    /* A second receipt is left to UNIQUE, whose answer the caller can tell from these. */
    "CREATE TRIGGER receipt_reserved BEFORE INSERT ON receipt WHEN NOT " SIGNED("NEW.idx") " BEGIN "
        REFUSE("no lease and no binding of this epoch, window, version and artifact covers it",
               "NOT EXISTS (SELECT 1 FROM lease AS l WHERE l.key = NEW.key"
               " AND l.epoch = NEW.epoch AND l.window = NEW.window"
               " AND l.first <= NEW.idx AND l.first + l.count > NEW.idx)"
               " AND NOT EXISTS (SELECT 1 FROM binding AS b JOIN intent AS i ON i.seq = b.seq"
               " WHERE b.key = NEW.key AND b.idx = NEW.idx AND b.epoch = NEW.epoch"
               " AND b.window = NEW.window AND b.version = NEW.version AND b.slot = NEW.slot"
               " AND i.artifact_sha256 = NEW.artifact_sha256)")
        REFUSE("it is burned", BURNED("NEW.idx", "NEW.idx + 1"))
        REFUSE("a hash that the caller made, and no other, is signed for a reservation",
               "(length(NEW.caller_hash) > 0) IS NOT EXISTS (SELECT 1 FROM reservation AS v"
               " WHERE " RESERVED("v", "NEW.key", "NEW.idx") ")"
               " OR length(NEW.caller_hash) > 0 AND NOT EXISTS (SELECT 1 FROM reservation AS v"
               " WHERE " RESERVED("v", "NEW.key", "NEW.idx") " AND v.epoch = NEW.epoch"
               " AND v.artifact_sha256 = NEW.artifact_sha256)")
    " END",
    APPEND_ONLY("receipt"),

    "CREATE TABLE burn (" SEQ "," KEY ","
        NUMBER("window") "," NUMBER("first") "," COUNT "," TEXT("why", "0") ") STRICT",
    "CREATE INDEX burn_of_window ON burn (key, window, first, count)",
    "CREATE INDEX burn_of_index ON burn (key, first, count)",
    "CREATE INDEX burn_of_size ON burn (key, count)",
    APPEND_ONLY("burn"),

    "CREATE TABLE note (" SEQ ","
        COUNTER("key") "," /* 0, the service, has notes too */
        "kind INTEGER NOT NULL CHECK (kind BETWEEN 0 AND 5),"
        NAME("what", "1") ","
        "number INTEGER NOT NULL,"
        TEXT("text", "0") ") STRICT",
    "CREATE INDEX note_of_kind ON note (key, kind, what, number)",
    APPEND_ONLY("note"),

    "CREATE TABLE attest_keys (" SEQ "," KEY ","
        BYTES("ak_name", "34") "," BYTES("ak_point", "64") ","
        BYTES("ek_name", "34") "," BYTES("ek_point", "64") ") STRICT",
    "CREATE INDEX attest_keys_of_key ON attest_keys (key)",
    APPEND_ONLY("attest_keys"),

    "CREATE TABLE attestation (" SEQ "," KEY ","
        "receipt INTEGER NOT NULL UNIQUE REFERENCES receipt (seq),"
        BYTES("document_sha256", "32") ","
        "document TEXT NOT NULL CHECK (length(document) BETWEEN 1 AND 16384)) STRICT",
    "CREATE INDEX attestation_of_key ON attestation (key)",
    "CREATE TRIGGER attestation_of_receipt BEFORE INSERT ON attestation BEGIN "
        REFUSE("only a receipt of the same key has an attestation",
               "NOT EXISTS (SELECT 1 FROM receipt AS r WHERE r.seq = NEW.receipt"
               " AND r.key = NEW.key)")
    " END",
    APPEND_ONLY("attestation"),
};
/* clang-format on */

/* Settings ------------------------------------------------------------------------------------- */

/* The order is not free. EXCLUSIVE comes before the first access, so that WAL works without shared
 * memory and a second connection cannot exist (SQLite up to 3.51.2 can lose commits with two).
 * EXTRA comes before WAL: the switch itself writes, and must be synced like everything else. */
static const struct {
    const char *set;
    const char *get;
    const char *value;
} settings[] = {
    {"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA locking_mode", "exclusive"},
    {"PRAGMA synchronous=EXTRA", "PRAGMA synchronous", "3"},
    {"PRAGMA mmap_size=0", "PRAGMA mmap_size", "0"},
    /* KiB: room for the inner pages of all indices. */
    {"PRAGMA cache_size=-16384", "PRAGMA cache_size", "-16384"},
    {"PRAGMA cell_size_check=ON", "PRAGMA cell_size_check", "1"},
    {"PRAGMA trusted_schema=OFF", "PRAGMA trusted_schema", "0"},
    {"PRAGMA foreign_keys=ON", "PRAGMA foreign_keys", "1"},
    {"PRAGMA recursive_triggers=ON", "PRAGMA recursive_triggers", "1"},
    {"PRAGMA ignore_check_constraints=OFF", "PRAGMA ignore_check_constraints", "0"},
    {"PRAGMA secure_delete=ON", "PRAGMA secure_delete", "1"},
    {"PRAGMA temp_store=MEMORY", "PRAGMA temp_store", "2"},
    {"PRAGMA journal_mode=WAL", "PRAGMA journal_mode", "wal"}, /* once we know whose it is */
};

static const struct {
    int option;
    int value;
    const char *name;
} switches[] = {
    {SQLITE_DBCONFIG_DEFENSIVE, 1, "defensive"},
    {SQLITE_DBCONFIG_DQS_DML, 0, "dqs_dml"},
    {SQLITE_DBCONFIG_DQS_DDL, 0, "dqs_ddl"},
    {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, "load_extension"},
    {SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, "triggers"},
    {SQLITE_DBCONFIG_ENABLE_VIEW, 0, "views"},
    {SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0, "writable_schema"},
};

#define JOURNAL (LENGTH(settings) - 1)

static enum rc set(struct ledger *l, size_t from, size_t to, struct err *err)
{
    for (size_t i = from; i < to; i++) {
        int s = sqlite3_exec(l->db, settings[i].set, NULL, NULL, NULL);
        if (s != SQLITE_OK)
            return HALT(l, s, err, "%s", settings[i].set);
    }
    return RC_OK;
}

static enum rc configure(struct ledger *l, struct err *err)
{
    (void)sqlite3_limit(l->db, SQLITE_LIMIT_ATTACHED, 0);
    for (size_t i = 0; i < LENGTH(switches); i++) {
        int s = sqlite3_db_config(l->db, switches[i].option, switches[i].value, (int *)NULL);
        if (s != SQLITE_OK)
            return HALT(l, s, err, "switch %s", switches[i].name);
    }
    /* A receipt with its signature takes 2 to 3 KiB: on pages of 4 KiB each would lie alone and
     * leave a third of its page empty. A ledger that is there keeps the pages that it was made
     * with. */
    int s = sqlite3_exec(l->db, "PRAGMA page_size=8192", NULL, NULL, NULL);
    if (s != SQLITE_OK)
        return HALT(l, s, err, "size of pages");
    return set(l, 0, JOURNAL, err);
}

/* First column of the first row as text; "0" where a VFS has no such setting and gives no row. */
static int ask(sqlite3 *db, const char *sql, char *out, size_t cap)
{
    sqlite3_stmt *stmt CLEANUP(stmt_finalize) = NULL;
    (void)snprintf(out, cap, "0");
    int s = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    if (s != SQLITE_OK)
        return s;
    s = sqlite3_step(stmt);
    if (s == SQLITE_DONE)
        return SQLITE_OK;
    if (s != SQLITE_ROW)
        return s;
    const unsigned char *text = sqlite3_column_text(stmt, 0);
    (void)snprintf(out, cap, "%s", text != NULL ? (const char *)text : "");
    return SQLITE_OK;
}

enum rc schema_settings_hold(struct ledger *l, struct err *err)
{
    for (size_t i = 0; i < LENGTH(switches); i++) {
        int value = -1;
        int s = sqlite3_db_config(l->db, switches[i].option, -1, &value);
        if (s != SQLITE_OK || value != switches[i].value)
            return HALT(l, s, err, "switch %s is %d, not %d", switches[i].name, value,
                        switches[i].value);
    }
    for (size_t i = 0; i < LENGTH(settings); i++) {
        char value[32];
        int s = ask(l->db, settings[i].get, value, sizeof(value));
        if (s != SQLITE_OK || strcmp(value, settings[i].value) != 0)
            return HALT(l, s, err, "%s reads back as \"%s\", not \"%s\"", settings[i].get, value,
                        settings[i].value);
    }
    return RC_OK;
}

/* Whose database it is ------------------------------------------------------------------------- */

static int ask_number(sqlite3 *db, const char *sql, uint64_t *value)
{
    char text[32];
    int s = ask(db, sql, text, sizeof(text));
    if (s == SQLITE_OK && !text_to_u64(value, text, INT64_MAX))
        *value = UINT64_MAX; /* negative: none of ours */
    return s;
}

static int run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* One transaction: after a power cut there is either an empty database or a whole ledger. */
static enum rc create_tables(struct ledger *l, struct err *err)
{
    char marks[128];
    (void)snprintf(marks, sizeof(marks), "PRAGMA application_id=%d; PRAGMA user_version=%d;",
                   LEDGER_APPLICATION_ID, LEDGER_SCHEMA_VERSION);
    int s = run(l->db, "BEGIN IMMEDIATE");
    for (size_t i = 0; s == SQLITE_OK && i < LENGTH(schema); i++)
        s = run(l->db, schema[i]);
    if (s == SQLITE_OK)
        s = run(l->db, marks);
    if (s == SQLITE_OK)
        s = run(l->db, "COMMIT");
    return s == SQLITE_OK ? RC_OK : HALT(l, s, err, "make the tables");
}

/* Reads only: a database that is not ours stays as it is. */
static enum rc identify(struct ledger *l, bool *empty, struct err *err)
{
    uint64_t application = 0;
    uint64_t version = 0;
    uint64_t objects = 0;
    int s = ask_number(l->db, "PRAGMA application_id", &application);
    if (s == SQLITE_OK)
        s = ask_number(l->db, "PRAGMA user_version", &version);
    if (s == SQLITE_OK)
        s = ask_number(l->db, "SELECT count(*) FROM sqlite_schema", &objects);
    if (s != SQLITE_OK)
        return HALT(l, s, err, "read the kind of the database");

    *empty = application == 0 && version == 0 && objects == 0;
    if (*empty)
        return RC_OK;
    if (application != LEDGER_APPLICATION_ID || version == 0)
        return HALT(l, 0, err, "the database is not a ledger of this program");
    /* No version before this one was released, so none is read. */
    if (version != LEDGER_SCHEMA_VERSION)
        return FAIL(err, RC_REFUSED_UNSUPPORTED, "", 0,
                    "the ledger was written by %s version of the program (schema %llu, this one "
                    "knows %d)",
                    version > LEDGER_SCHEMA_VERSION ? "a newer" : "an older",
                    (unsigned long long)version, LEDGER_SCHEMA_VERSION);
    return RC_OK;
}

enum rc schema_start(struct ledger *l, bool create, struct err *err)
{
    bool empty = false;
    enum rc rc = configure(l, err);
    if (rc == RC_OK)
        rc = identify(l, &empty, err);
    if (rc != RC_OK)
        return rc;
    if (empty && !create)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "the database is empty");
    rc = set(l, JOURNAL, LENGTH(settings), err);
    if (rc == RC_OK && empty)
        rc = create_tables(l, err);
    return rc;
}

static bool is_ours(const char *text)
{
    for (size_t i = 0; i < LENGTH(schema); i++)
        if (strcmp(text, schema[i]) == 0)
            return true;
    return false;
}

/* SQLite keeps the text of each statement as it was given, and a name can be there only once: as
 * many of ours as we have, and none that is not, are all of them. Indices that SQLite makes by
 * itself have no text and follow from the tables. */
enum rc schema_unchanged(struct ledger *l, struct err *err)
{
    static const char sql[] = "SELECT sql, name FROM sqlite_schema WHERE sql IS NOT NULL";
    sqlite3_stmt *stmt CLEANUP(stmt_finalize) = NULL;
    int s = sqlite3_prepare_v2(l->db, sql, -1, &stmt, NULL);
    size_t found = 0;
    while (s == SQLITE_OK && (s = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        if (text == NULL || !is_ours(text))
            return HALT(l, 0, err, "the schema was changed: %.60s is not as this version makes it",
                        (const char *)sqlite3_column_text(stmt, 1));
        found++;
        s = SQLITE_OK;
    }
    if (s != SQLITE_DONE)
        return HALT(l, s, err, "read the schema");
    if (found != LENGTH(schema))
        return HALT(l, 0, err, "the schema was changed: %zu tables, indices or triggers, not %zu",
                    found, LENGTH(schema));
    return RC_OK;
}
