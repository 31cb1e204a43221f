/*
 * ledger/internal: what the files of this module share. Nobody else includes it.
 *
 * schema.c      tables, triggers, settings
 * statements.c  the text of every statement
 * ledger.c      open, close, transactions, what happens after a failure
 * entry.c       one entry as canonical JSON
 * append.c      ledger_add_…()
 * rows.c        rows back into structs
 * query.c       look-ups: keys, intents, receipts, reservations, branches
 * usage.c       what became of the indices of windows and leases
 * note.c        notes, entries as they stand, attestations
 * tally.c       what windows and callers have used, counted once and then kept up
 * check.c       everything that ledger_open() verifies
 */
#ifndef LEDGER_INTERNAL_H
#define LEDGER_INTERNAL_H

#include <sqlite3.h>

#include "base/jcs.h"
#include "ledger/ledger.h"

#define LEDGER_APPLICATION_ID 0x54696465      /* "Tide" */
#define LEDGER_NUMBER_MAX (UINT64_C(1) << 60) /* indices and windows are below it */
#define LEDGER_KIND_MAX 79                    /* "operation-" and a name of 63 */
#define LEDGER_WAL_FRAMES_DUE 500             /* then ledger_tidy() empties the WAL */
#define LEDGER_WAL_FRAMES_MAX 1000            /* and then ledger_commit() does */

/* Text of the statements: statements.c. Prepared once, when the ledger is opened. */
enum stmt {
    STMT_BEGIN,
    STMT_COMMIT,
    STMT_ROLLBACK,
    STMT_ADD_ENTRY,
    STMT_ADD_KEY,
    STMT_ADD_DEVICE,
    STMT_ADD_FLOOR,
    STMT_ADD_WINDOW,
    STMT_ADD_BRANCH,
    STMT_ADD_LEASE,
    STMT_ADD_BINDING,
    STMT_ADD_INTENT,
    STMT_ADD_VOID,
    STMT_ADD_RECEIPT,
    STMT_ADD_RESERVATION,
    STMT_ADD_BURN,
    STMT_ADD_NOTE,
    STMT_ADD_ATTEST_KEYS,
    STMT_ADD_ATTESTATION,
    STMT_KEY,
    STMT_DEVICE,
    STMT_FLOOR,
    STMT_HEAD_SEQ,
    STMT_BEHIND,
    STMT_OPEN_INTENTS,
    STMT_EPOCHS,
    STMT_TOP_WINDOW,
    STMT_NEXT_OPEN_INTENT,
    STMT_INTENT_BY_VERSION,
    STMT_INTENT_BY_INDEX,
    STMT_BINDINGS,
    STMT_RECEIPT_BY_INDEX,
    STMT_RECEIPT_BY_IDEMPOTENCY,
    STMT_RECEIPT_TIMES,
    STMT_RESERVATION_BY_INDEX,
    STMT_NEXT_OPEN_RESERVATION,
    STMT_USED_BY,
    STMT_BRANCH_AT,
    STMT_BRANCH_LATEST,
    STMT_LINE_MARKS,
    STMT_USAGE,
    STMT_BURNS,
    STMT_KEY_TOTALS,
    STMT_KEY_BURNS,
    STMT_WINDOW,
    STMT_LEASE_OF_INDEX,
    STMT_IS_BURNED,
    STMT_BURN_OF_INDEX,
    STMT_NOTE_RANGE,
    STMT_NOTE_BY_TEXT,
    STMT_NOTE_TIME,
    STMT_NOTE_LATEST,
    STMT_NOTE_LAST,
    STMT_RECEIPT_RECENT,
    STMT_ENTRY_JSON,
    STMT_ATTEST_KEYS,
    STMT_ATTESTATION_OF,
    STMT_ATTESTED_AT,
    STMT_COUNT
};

/* What ledger_rollback() must be able to put back. */
struct ledger_state {
    uint64_t size;
    uint32_t key_count;
    uint8_t heads[LEDGER_KEYS_MAX + 1][SHA256_LEN]; /* [0]: the service; all zero: no entry yet */
};

/* What never changes about a key; slots above state.key_count mean nothing. */
struct ledger_key_name {
    char name[NAME_LEN_MAX + 1];
    uint8_t key_id[KEY_ID_LEN];
};

/* How much of a window was used, by all or by one requester; the counts of the tables, so that
 * limits need not go through a window's rows for each request. */
struct tally {
    uint64_t used; /* when it was last asked for; 0: free */
    uint32_t key;
    bool whole; /* of all requesters */
    uint64_t window;
    char requester[LEDGER_TEXT_MAX + 1];
    uint64_t leased; /* of all only */
    uint64_t bound;
    uint64_t receipts;
    uint64_t reserved; /* of leases, by remote hashes, without a receipt */
};
#define TALLIES_MAX 256 /* more than there are identities: a caller is seldom counted twice */
/* The same of a whole key. */
struct key_tally {
    bool counted;
    struct ledger_totals totals;
};
struct tallies {
    uint64_t clock;
    struct tally list[TALLIES_MAX];
    struct key_tally keys[LEDGER_KEYS_MAX + 1];
};

struct ledger {
    sqlite3 *db;
    sqlite3_stmt *stmts[STMT_COUNT];
    struct ledger_state state;
    struct ledger_state before; /* of the open transaction */
    struct tallies tallies;     /* as the tables stand, the open transaction included */
    struct ledger_key_name keys[LEDGER_KEYS_MAX + 1];
    bool opened; /* ledger_open() found nothing wrong */
    bool in_transaction;
    int wal_frames; /* in the WAL after the newest commit */
    bool halted;    /* an outcome is unknown: nothing works any more but ledger_close() */
    int halted_native;
    char halted_text[160];
};

/* Failure (ledger.c) --------------------------------------------------------------------------- */

/**
 * Poison the ledger and report RC_HALT_LEDGER. doing: what was tried, for people. native: SQLite's
 * code, or 0 where SQLite is content and we are not.
 */
enum rc ledger_halt(struct ledger *l, int native, const char *where, struct err *err,
                    const char *format, ...) PRINTF_LIKE(5, 6);
#define HALT(l, native, err, ...) ledger_halt((l), (native), __func__, (err), __VA_ARGS__)

/** @retval RC_HALT_LEDGER  if the ledger is poisoned. */
enum rc ledger_usable(struct ledger *l, struct err *err) MUST_CHECK;

/** The same, and @retval RC_REFUSED_NO_KEY  if there is no such key (0, the service, is none). */
enum rc ledger_usable_key(struct ledger *l, uint32_t key, struct err *err) MUST_CHECK;

/* Statements ----------------------------------------------------------------------------------- */

/** Reset and forget the bound values, so that nothing stays locked or borrowed. For CLEANUP(). */
void stmt_done(sqlite3_stmt **stmt);

/** Finalise one that was prepared for a single use. For CLEANUP(). */
void stmt_finalize(sqlite3_stmt **stmt);

/* Values are bound one behind the other; the first failure sticks and is asked for at the end. */
struct binder {
    sqlite3_stmt *stmt;
    int at;
    int status;
};
void binder_done(struct binder *b); /* stmt_done() on its statement; for CLEANUP() */
void bind_i64(struct binder *b, int64_t value);
void bind_u64(struct binder *b, uint64_t value); /* MUST be <= INT64_MAX: SQLite has no more */
void bind_text(struct binder *b, const char *text);
void bind_blob(struct binder *b, const void *data, size_t len);

/* Columns are read one behind the other; one that does not fit its C field makes the row bad. */
struct row {
    sqlite3_stmt *stmt;
    int at;
    bool bad;
};
int64_t row_i64(struct row *r);
uint64_t row_u64(struct row *r);
uint32_t row_u32(struct row *r);
void row_text(struct row *r, char *out, size_t cap);
void row_blob(struct row *r, uint8_t *out, size_t len); /* exactly len bytes */
size_t row_blob_upto(struct row *r, uint8_t *out, size_t cap);
int64_t row_or_none(struct row *r); /* -1 for NULL */

/** After a row was read. SQLite gives NULL for a value it had no memory for; that ends here too.
 * @retval RC_HALT_LEDGER  The row is bad. */
enum rc row_good(struct ledger *l, const struct row *r, struct err *err) MUST_CHECK;

/* Questions (query.c) -------------------------------------------------------------------------- */

/** Most name a key and then one to three values, which are bound behind it. binder_done() it. */
struct binder question(struct ledger *l, enum stmt which, uint32_t key);

/** Step to the next row. *found tells a row from the end. @retval RC_HALT_LEDGER  As HALT(). */
enum rc question_next(struct ledger *l, const struct binder *b, bool *found,
                      struct err *err) MUST_CHECK;

/** For questions that always have one row. */
enum rc question_one(struct ledger *l, const struct binder *b, struct err *err) MUST_CHECK;

/** Nothing in the ledger is; asking SQLite would wrap around. */
bool is_beyond(uint64_t number);

/* Entries as JSON (entry.c) -------------------------------------------------------------------- */

struct entry {
    uint64_t seq;
    uint32_t key;
    const char *key_name; /* "" for the service */
    int64_t at_s;
    uint8_t prev[SHA256_LEN];
    char kind[LEDGER_KIND_MAX + 1]; /* set by the writer */
};

/* The kinds beside notes that have no struct in ledger.h. */
struct ledger_floor {
    int64_t min_window;
    char why[LEDGER_TEXT_MAX + 1];
};
struct ledger_burn {
    uint64_t window;
    uint64_t first;
    uint64_t count;
    char why[LEDGER_TEXT_MAX + 1];
};
struct ledger_void {
    uint64_t intent; /* number of its entry */
    uint64_t index;
};
struct ledger_attestation {
    uint64_t receipt; /* number of its entry */
    uint8_t document_sha256[SHA256_LEN];
    size_t document_len;
};
struct ledger_note {
    enum ledger_note_kind kind;
    char what[NAME_LEN_MAX + 1];
    int64_t number;
    char text[LEDGER_TEXT_MAX + 1];
};

/* Each sets e->kind and writes the whole object; ask jcs_finish() for failure. */
void entry_key(struct jcs *j, struct entry *e, const struct ledger_key *key);
void entry_device(struct jcs *j, struct entry *e, const struct ledger_key *key);
void entry_floor(struct jcs *j, struct entry *e, const struct ledger_floor *floor);
void entry_window(struct jcs *j, struct entry *e, const struct ledger_window *window);
void entry_branch(struct jcs *j, struct entry *e, const struct ledger_branch *branch);
void entry_lease(struct jcs *j, struct entry *e, const struct ledger_lease *lease);
void entry_intent(struct jcs *j, struct entry *e, const struct ledger_intent *intent);
void entry_void(struct jcs *j, struct entry *e, const struct ledger_void *lifted);
void entry_receipt(struct jcs *j, struct entry *e, const struct ledger_receipt *receipt);
void entry_reservation(struct jcs *j, struct entry *e,
                       const struct ledger_reservation *reservation);
void entry_burn(struct jcs *j, struct entry *e, const struct ledger_burn *burn);
void entry_note(struct jcs *j, struct entry *e, const struct ledger_note *note);
void entry_attest_keys(struct jcs *j, struct entry *e, const struct attest_keys *keys);
void entry_attestation(struct jcs *j, struct entry *e,
                       const struct ledger_attestation *attestation);

/** SHA-256(0x00 || json): the leaf hash of RFC 6962 §2.1. */
void entry_hash(uint8_t hash[SHA256_LEN], const char *json, size_t len);

/** As struct ledger_receipt says. */
void receipt_id(uint8_t id[LEDGER_ID_LEN], const uint8_t key_id[KEY_ID_LEN], uint64_t index);

/* Rows back into structs (rows.c) ---------------------------------------------------------- */
/* Columns in the order of the COLUMNS_ macros of statements.c. */

void row_key(struct row *r, struct ledger_key *key);
void row_device(struct row *r, struct ledger_key *key);
void row_floor(struct row *r, struct ledger_floor *floor);
void row_window(struct row *r, struct ledger_window *window);
/* *record: record_len bytes, borrowed as the signature of row_receipt(). */
void row_branch(struct row *r, struct ledger_branch *branch, const uint8_t **record);
void row_lease(struct row *r, struct ledger_lease *lease);
void row_intent(struct row *r, struct ledger_intent *intent);
void row_void(struct row *r, struct ledger_void *lifted);
/* *signature: signature_len bytes, borrowed from the statement until it steps or is reset. */
void row_receipt(struct row *r, struct ledger_receipt *receipt, const uint8_t **signature);
void row_reservation(struct row *r, struct ledger_reservation *reservation);
void row_burn(struct row *r, struct ledger_burn *burn);
void row_note(struct row *r, struct ledger_note *note);
void row_attest_keys(struct row *r, struct attest_keys *keys);
/* *document: document_len bytes, borrowed as the signature of row_receipt(). */
void row_attestation(struct row *r, struct ledger_attestation *attestation, const char **document);

/** As ledger_next_open_intent(), with "there is none" as an answer and not as a failure. */
enum rc next_open_intent(struct ledger *l, uint32_t key, uint64_t after,
                         struct ledger_intent *intent, bool *found, struct err *err) MUST_CHECK;

/* Tallies (tally.c) ------------------------------------------------------------------------------
 *
 * Nothing is derived from them that the tables do not say: a tally is read from the tables when it
 * is first asked for, moves with each row that is added, and is forgotten when rows go away again.
 * ledger_check_invariants() compares each with the tables. */

/** requester: NULL for all. @return NULL if it has to be counted. */
struct tally *tally_find(struct tallies *tallies, uint32_t key, uint64_t window,
                         const char *requester) MUST_CHECK;

/** Keep one that was just counted, in the place of the one not asked for for longest. */
void tally_keep(struct tallies *tallies, const struct tally *tally);

/** Rows went away: a rollback, or bindings that were lifted. */
void tally_forget(struct tallies *tallies);

/** A row was added. */
void tally_lease(struct tallies *tallies, uint32_t key, const struct ledger_lease *lease);
void tally_intent(struct tallies *tallies, uint32_t key, const struct ledger_intent *intent);
void tally_receipt(struct tallies *tallies, uint32_t key, const struct ledger_receipt *receipt);
/** @param[in] again  Some of its indices may have been burned before. */
void tally_burn(struct tallies *tallies, uint32_t key, const struct ledger_burn *burn, bool again);

void tally_reservation(struct tallies *tallies, uint32_t key,
                       const struct ledger_reservation *reservation);

/** Are all that are kept as the tables say (query.c)? @retval RC_HALT_LEDGER  No. */
enum rc tally_check(struct ledger *l, struct err *err) MUST_CHECK;

/* Text of the statements (statements.c) -------------------------------------------------------- */

extern const char *const ledger_sql[STMT_COUNT];

/* One cursor over each table in order of entry numbers: "SELECT seq, key, …", for check.c. */
enum table {
    TABLE_KEY,
    TABLE_DEVICE,
    TABLE_FLOOR,
    TABLE_WINDOW,
    TABLE_BRANCH,
    TABLE_LEASE,
    TABLE_INTENT,
    TABLE_VOID,
    TABLE_RECEIPT,
    TABLE_RESERVATION,
    TABLE_BURN,
    TABLE_NOTE,
    TABLE_ATTEST_KEYS,
    TABLE_ATTESTATION,
    TABLE_COUNT
};
extern const char *const ledger_cursor_sql[TABLE_COUNT];

/* What a trigger refuses and what a question leaves out is the same thing, said once. */

/* The reservation of a remote hash that is not void: of a window's lease, or of a bound intent. */
#define NOT_VOID(v)                                                                                \
    "(" v ".intent = 0 OR EXISTS (SELECT 1 FROM binding AS w WHERE w.seq = " v ".intent))"
#define RESERVED(v, key, index) v ".key = " key " AND " v ".idx = " index " AND " NOT_VOID(v)

/* Schema and settings (schema.c) --------------------------------------------------------------- */

/**
 * Set everything in the order that survives a power cut, look whose database it is, and make the
 * tables in an empty one. Only a database of ours, or an empty one to be made ours, is written to.
 * @retval RC_REFUSED_NOT_FOUND    Empty, and create is false.
 * @retval RC_REFUSED_UNSUPPORTED  From another version.
 * @retval RC_HALT_LEDGER          Not a ledger, or SQLite failed (busy included).
 */
enum rc schema_start(struct ledger *l, bool create, struct err *err) MUST_CHECK;

/** Read every setting back. @retval RC_HALT_LEDGER  one is not as it must be. */
enum rc schema_settings_hold(struct ledger *l, struct err *err) MUST_CHECK;

/** Tables, indices and triggers are exactly those of this version. @retval RC_HALT_LEDGER */
enum rc schema_unchanged(struct ledger *l, struct err *err) MUST_CHECK;

/* Verification (check.c) ----------------------------------------------------------------------- */

/** Verify the whole database and derive from it what is cached in memory. @retval RC_HALT_LEDGER */
enum rc check_all(struct ledger *l, struct ledger_state *state, struct ledger_key_name *keys,
                  struct err *err) MUST_CHECK;

#endif
