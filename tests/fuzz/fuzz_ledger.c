/*
 * Fuzz target: a ledger that somebody has written into, or that is asked for anything.
 *
 * A ledger with one entry of most kinds is made once; each input is changes of it. The first byte
 * chooses: 'a' entries that are asked for through the front door, eight bytes each (what, number
 * or window, epoch, index, count, version, and two more), out of so few values that they get in
 * each other's way; 'b' bytes of the database file (three bytes of place, one of length, the
 * bytes), 'r' rows, behind the ledger's back and with its triggers put back afterwards (table, row,
 * column, type, length, value). Beside not crashing: a ledger that opens says what it said before,
 * every entry of it, and one that does not says why. Nobody who changes a row and cannot make
 * SHA-256 collide is believed. And whatever is asked for in whatever order, no index is leased,
 * bound, reserved or signed twice, as a table beside the ledger says, and what was written can be
 * opened again. Run: tests/fuzz/fuzz_ledger -max_len=256 CORPUS tests/fuzz/ledger
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "fuzz/scratch.h"
#include "ledger/ledger.h"

#define AT_S INT64_C(1796000000)
#define ENTRIES_MAX 32
#define ASKED_MAX 24 /* entries of one input */
/* The indices that are asked for; those of the template are among them. An index belongs to one
 * window, which the callers of a ledger see to. */
#define FIRST 884
#define INDICES 64
#define WINDOW_SIZE 16
#define TRIGGERS_MAX 128
#define FILE_MAX ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint8_t template[FILE_MAX];
static size_t template_len;
static char *entries[ENTRIES_MAX]; /* what it says */
static uint64_t entry_count;
static char path[160];

static const char *const tables[] = {
    "entry",   "key",  "device",  "floor", "window", "branch",      "lease",       "intent",
    "binding", "void", "receipt", "burn",  "note",   "attest_keys", "attestation", "reservation"};

/* The template -------------------------------------------------------------------------------- */

static struct ledger_intent sample_intent(uint64_t index, const char *version)
{
    struct ledger_intent i = {.epoch = 5,
                              .window = 9,
                              .index = index,
                              .line = 4,
                              .rank = index,
                              .artifact_size = 1000,
                              .value_len = 32,
                              .at_s = AT_S};
    (void)snprintf(i.version, sizeof(i.version), "%s", version);
    (void)snprintf(i.origin.requester, sizeof(i.origin.requester), "uid:1000");
    return i;
}

static void fill(struct ledger *l)
{
    static const uint8_t signature[40] = {1, 2, 3};
    struct ledger_key key = {.name = "router-fw", .public_key_len = 60, .min_window = 3};
    struct ledger_window window = {.window = 9, .w = 4, .l_base = 2};
    struct ledger_lease lease = {.epoch = 5, .window = 9, .first = 900, .count = 16};
    struct ledger_receipt r = {.epoch = 5, .window = 9, .index = 901, .at_s = AT_S};
    struct ledger_intent first = sample_intent(10, "4.2.0"), second = sample_intent(11, "4.2.1");
    struct ledger_branch branch = {.window = 9, .first = 896, .record_len = 5};
    struct ledger_reservation reservation = {
        .epoch = 5, .window = 9, .index = 900, .expires_s = AT_S + 60, .at_s = AT_S};
    struct attest_keys keys = {0};
    uint64_t lifted = 0;
    MUST(ledger_begin(l, NULL) == RC_OK);
    MUST(ledger_add_key(l, &key, AT_S, NULL) == RC_OK);
    MUST(ledger_add_window(l, 1, &window, AT_S, NULL) == RC_OK);
    MUST(ledger_add_lease(l, 1, &lease, AT_S, NULL) == RC_OK);
    MUST(ledger_add_receipt(l, 1, &r, signature, sizeof(signature), NULL) == RC_OK);
    MUST(ledger_add_intent(l, 1, &first, NULL) == RC_OK);
    MUST(ledger_void_after(l, 1, 0, AT_S, &lifted, NULL) == RC_OK);
    MUST(ledger_add_intent(l, 1, &second, NULL) == RC_OK);
    MUST(ledger_add_burn(l, 1, 9, 902, 14, "restart", AT_S, NULL) == RC_OK);
    MUST(ledger_add_note(l, 0, LEDGER_WARNING, "exhaustion", "90 %", 90, AT_S, NULL) == RC_OK);
    MUST(ledger_add_branch(l, 1, &branch, (const uint8_t *)"above", AT_S, NULL) == RC_OK);
    MUST(ledger_raise_min_window(l, 1, 8, "recovered", AT_S, NULL) == RC_OK);
    MUST(ledger_add_attest_keys(l, 1, &keys, AT_S, NULL) == RC_OK);
    MUST(ledger_add_attestation(l, 1, r.seq, "{\"a\":1}", AT_S, NULL) == RC_OK);
    MUST(ledger_add_reservation(l, 1, &reservation, NULL) == RC_OK);
    MUST(ledger_commit(l, NULL) == RC_OK);
}

static void forget_wal(void)
{
    static const char *const ends[] = {"-wal", "-journal", "-shm"};
    char name[sizeof(path) + 16];
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        (void)snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        (void)remove(name);
    }
}

static void make_template(void)
{
    struct ledger *l = NULL;
    (void)snprintf(path, sizeof(path), "%s/ledger", scratch_folder_path());
    struct ledger_options options = {.path = path, .create = true};
    MUST(ledger_open(&l, &options, NULL) == RC_OK);
    fill(l);
    entry_count = ledger_size(l);
    MUST(entry_count >= 1 && entry_count < ENTRIES_MAX);
    for (uint64_t i = 0; i < entry_count; i++)
        MUST(ledger_entry_json(l, i + 1, &entries[i], NULL) == RC_OK);
    ledger_close(&l);
    forget_wal();
    FILE *file = fopen(path, "rb");
    MUST(file != NULL);
    template_len = fread(template, 1, sizeof(template), file);
    MUST(template_len > 0 && template_len < sizeof(template));
    (void)fclose(file);
}

/* Changes ------------------------------------------------------------------------------------- */

static void change_bytes(const uint8_t *data, size_t len)
{
    static uint8_t changed[FILE_MAX];
    memcpy(changed, template, template_len);
    while (len >= 4) {
        size_t at = ((size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2]) % template_len;
        size_t count = data[3];
        data += 4;
        len -= 4;
        if (count > len)
            count = len;
        if (count > template_len - at)
            count = template_len - at;
        memcpy(changed + at, data, count);
        data += count;
        len -= count;
    }
    (void)scratch_folder("ledger", changed, template_len);
}

static size_t take_triggers(sqlite3 *db, char *sql[TRIGGERS_MAX])
{
    sqlite3_stmt *s = NULL;
    size_t count = 0;
    MUST(sqlite3_prepare_v2(db,
                            "SELECT sql, 'DROP TRIGGER ' || name FROM sqlite_schema"
                            " WHERE type = 'trigger'",
                            -1, &s, NULL) == SQLITE_OK);
    char *drop[TRIGGERS_MAX];
    for (; sqlite3_step(s) == SQLITE_ROW; count++) {
        MUST(count < TRIGGERS_MAX);
        sql[count] = strdup((const char *)sqlite3_column_text(s, 0));
        drop[count] = strdup((const char *)sqlite3_column_text(s, 1));
    }
    MUST(sqlite3_finalize(s) == SQLITE_OK);
    for (size_t i = 0; i < count; i++) {
        MUST(sqlite3_exec(db, drop[i], NULL, NULL, NULL) == SQLITE_OK);
        free(drop[i]);
    }
    return count;
}

/* The name of a column, or NULL behind the last. */
static bool column_name(sqlite3 *db, const char *table, int column, char out[64])
{
    char sql[120];
    sqlite3_stmt *s = NULL;
    (void)snprintf(sql, sizeof(sql), "SELECT name FROM pragma_table_info('%s') WHERE cid = %d",
                   table, column);
    MUST(sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK);
    bool found = sqlite3_step(s) == SQLITE_ROW;
    if (found)
        (void)snprintf(out, 64, "%s", (const char *)sqlite3_column_text(s, 0));
    (void)sqlite3_finalize(s);
    return found;
}

static void bind_value(sqlite3_stmt *s, uint8_t type, const uint8_t *value, int len)
{
    uint8_t number[8] = {0};
    memcpy(number + 8 - (len < 8 ? len : 8), value, (size_t)(len < 8 ? len : 8));
    if (type % 3 == 0)
        (void)sqlite3_bind_int64(s, 1, (sqlite3_int64)be_get64(number));
    else if (type % 3 == 1)
        (void)sqlite3_bind_text(s, 1, (const char *)value, len, SQLITE_TRANSIENT);
    else
        (void)sqlite3_bind_blob(s, 1, value, len, SQLITE_TRANSIENT);
}

/* Constraints of the tables may refuse it: then the row stays as it is. */
static void change_row(sqlite3 *db, const uint8_t head[4], const uint8_t *value, int len)
{
    const char *table = tables[head[0] % (sizeof(tables) / sizeof(tables[0]))];
    char column[64], sql[200];
    sqlite3_stmt *s = NULL;
    if (!column_name(db, table, head[2] % 20, column))
        return;
    (void)snprintf(sql, sizeof(sql),
                   "UPDATE \"%s\" SET \"%s\" = ?1 WHERE rowid ="
                   " (SELECT rowid FROM \"%s\" ORDER BY rowid LIMIT 1 OFFSET %d)",
                   table, column, table, head[1] % 8);
    MUST(sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK);
    bind_value(s, head[3], value, len);
    (void)sqlite3_step(s);
    (void)sqlite3_finalize(s);
}

static void change_rows(const uint8_t *data, size_t len)
{
    sqlite3 *db = NULL;
    char *triggers[TRIGGERS_MAX];
    (void)scratch_folder("ledger", template, template_len);
    MUST(sqlite3_open(path, &db) == SQLITE_OK);
    MUST(sqlite3_exec(db, "PRAGMA synchronous=OFF; BEGIN", NULL, NULL, NULL) == SQLITE_OK);
    size_t count = take_triggers(db, triggers);
    while (len >= 5) {
        size_t value = data[4] < len - 5 ? data[4] : len - 5;
        change_row(db, data, data + 5, (int)value);
        data += 5 + value;
        len -= 5 + value;
    }
    for (size_t i = 0; i < count; i++) {
        MUST(sqlite3_exec(db, triggers[i], NULL, NULL, NULL) == SQLITE_OK);
        free(triggers[i]);
    }
    (void)sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    MUST(sqlite3_close(db) == SQLITE_OK);
}

/* The front door ------------------------------------------------------------------------------ */

/* What has become of an index, as far as the ledger's answers say. */
struct fate {
    bool leased, bound, reserved, receipt, burned;
    uint64_t intent; /* number of the entry that binds it */
};
static struct fate fates[INDICES];

/* As fill() left them. */
static void begin_fates(void)
{
    memset(fates, 0, sizeof(fates));
    for (size_t i = 900; i < 916; i++)
        fates[i - FIRST].leased = true;
    for (size_t i = 902; i < 916; i++)
        fates[i - FIRST].burned = true;
    fates[900 - FIRST].reserved = true;
    fates[901 - FIRST].receipt = true;
}

static uint64_t window_of(size_t i)
{
    return 8 + i / WINDOW_SIZE;
}

/* Of so many that are wanted, those that are still in the window. */
static uint64_t count_of(size_t i, uint8_t wanted)
{
    uint64_t room = WINDOW_SIZE - i % WINDOW_SIZE;
    return 1 + wanted % 8U < room ? 1 + wanted % 8U : room;
}

static enum rc ask_lease(struct ledger *l, const uint8_t op[8])
{
    size_t first = op[3] % INDICES;
    struct ledger_lease lease = {.epoch = op[2] % 8,
                                 .window = window_of(first),
                                 .number = op[1] % 8,
                                 .first = FIRST + first,
                                 .count = count_of(first, op[4])};
    enum rc rc = ledger_add_lease(l, 1, &lease, AT_S, NULL);
    for (size_t i = first; rc == RC_OK && i < first + lease.count; i++) {
        MUST(!fates[i].leased && !fates[i].bound && !fates[i].burned && !fates[i].receipt);
        fates[i].leased = true;
    }
    return rc;
}

static enum rc ask_intent(struct ledger *l, const uint8_t op[8])
{
    char version[8];
    (void)snprintf(version, sizeof(version), "5.%u", op[5] % 8U);
    struct ledger_intent intent = sample_intent(FIRST + op[3] % INDICES, version);
    struct fate *fate = &fates[op[3] % INDICES];
    intent.epoch = op[2] % 8;
    intent.window = window_of(op[3] % INDICES);
    intent.artifact_sha256[0] = op[6] % 2;
    if (op[7] % 2 != 0) /* the caller will make the hash */
        intent.value_len = 0;
    enum rc rc = ledger_add_intent(l, 1, &intent, NULL);
    if (rc == RC_OK) {
        MUST(!fate->leased && !fate->bound && !fate->burned && !fate->receipt && intent.seq > 0);
        fate->bound = true;
        fate->intent = intent.seq;
    }
    return rc;
}

static enum rc ask_reservation(struct ledger *l, const uint8_t op[8])
{
    struct fate *fate = &fates[op[3] % INDICES];
    struct ledger_reservation r = {.epoch = op[2] % 8,
                                   .window = window_of(op[3] % INDICES),
                                   .index = FIRST + op[3] % INDICES,
                                   .intent = op[7] % 2 != 0 ? fate->intent : op[5] % 2,
                                   .expires_s = AT_S + op[1],
                                   .at_s = AT_S};
    r.artifact_sha256[0] = op[6] % 2;
    enum rc rc = ledger_add_reservation(l, 1, &r, NULL);
    if (rc == RC_OK) {
        MUST(!fate->reserved && !fate->receipt && !fate->burned);
        MUST(r.intent == 0 ? fate->leased : fate->bound && r.intent == fate->intent);
        fate->reserved = true;
    }
    return rc;
}

/* Those that wait for a hash are those that a start finds and burns: no more, no fewer. */
static void look_for_open(struct ledger *l)
{
    struct ledger_reservation r = {0};
    size_t open = 0;
    for (size_t i = 0; i < INDICES; i++)
        open += fates[i].reserved && !fates[i].receipt && !fates[i].burned ? 1 : 0;
    while (ledger_next_open_reservation(l, 1, r.seq, &r, NULL) == RC_OK) {
        MUST(open > 0 && r.index >= FIRST && r.index < FIRST + INDICES);
        const struct fate *fate = &fates[r.index - FIRST];
        MUST(fate->reserved && !fate->receipt && !fate->burned);
        open--;
    }
    MUST(open == 0);
}

static enum rc ask_receipt(struct ledger *l, const uint8_t op[8])
{
    struct ledger_receipt r = {.epoch = op[2] % 8,
                               .window = window_of(op[3] % INDICES),
                               .index = FIRST + op[3] % INDICES,
                               .at_s = AT_S};
    struct fate *fate = &fates[op[3] % INDICES];
    r.artifact_sha256[0] = op[6] % 2;
    r.caller_hash_len = op[4] % 2 != 0 ? 24 : 0;
    if (op[7] % 2 != 0) /* else of a lease, which knows no versions */
        (void)snprintf(r.version, sizeof(r.version), "5.%u", op[5] % 8U);
    enum rc rc = ledger_add_receipt(l, 1, &r, op, 8, NULL);
    if (rc == RC_OK) {
        MUST(!fate->receipt && !fate->burned && (fate->leased || fate->bound));
        MUST(fate->reserved == (r.caller_hash_len > 0));
        fate->receipt = true;
    }
    return rc;
}

static enum rc ask_burn(struct ledger *l, const uint8_t op[8])
{
    size_t first = op[3] % INDICES;
    uint64_t count = count_of(first, op[4]);
    enum rc rc = ledger_add_burn(l, 1, window_of(first), FIRST + first, count, "asked", AT_S, NULL);
    for (size_t i = first; rc == RC_OK && i < first + count; i++)
        fates[i].burned = true;
    return rc;
}

static enum rc ask_void(struct ledger *l, const uint8_t op[8])
{
    uint64_t lifted = 0;
    uint64_t found = 0;
    uint64_t behind = entry_count + op[5] % 8; /* the template's own intents are older */
    enum rc rc = ledger_void_after(l, 1, behind, AT_S, &lifted, NULL);
    for (size_t i = 0; rc == RC_OK && i < INDICES; i++) {
        struct fate *fate = &fates[i];
        if (!fate->bound || fate->intent <= behind || fate->receipt || fate->burned)
            continue;
        fate->bound = false;
        fate->reserved = false;
        found++;
    }
    MUST(rc != RC_OK || found == lifted);
    return rc;
}

static enum rc ask_other(struct ledger *l, const uint8_t op[8])
{
    char document[] = "{\"a\":0}";
    struct ledger_window window = {.window = 8 + op[1] % 4, .w = op[2] % 8, .l_base = op[5] % 8};
    struct ledger_branch branch = {
        .window = 8 + op[1] % 4, .first = FIRST + op[3] % INDICES, .record_len = 5};
    switch (op[4] % 4) {
    case 0:
        return ledger_add_window(l, 1, &window, AT_S, NULL);
    case 1:
        return ledger_add_branch(l, 1, &branch, (const uint8_t *)"above", AT_S, NULL);
    case 2:
        return ledger_raise_min_window(l, 1, op[1] % 16, "asked", AT_S, NULL);
    default:
        return ledger_add_attestation(l, 1, op[5] % 32, document, AT_S, NULL);
    }
}

/* Each entry in a transaction of its own: what is refused leaves nothing behind. */
static void ask(struct ledger *l, const uint8_t op[8])
{
    static enum rc (*const asks[])(struct ledger *, const uint8_t[8]) = {
        ask_lease, ask_intent, ask_receipt, ask_burn, ask_void, ask_other, ask_reservation};
    uint64_t before = ledger_size(l);
    MUST(ledger_begin(l, NULL) == RC_OK);
    enum rc rc = asks[op[0] % (sizeof(asks) / sizeof(asks[0]))](l, op);
    if (rc == RC_OK) {
        MUST(ledger_commit(l, NULL) == RC_OK);
        return;
    }
    MUST(rc_class(rc) == RC_CLASS_REFUSED || rc == RC_HALT_INVARIANT);
    ledger_rollback(l);
    MUST(ledger_size(l) == before);
}

static void ask_all(const uint8_t *data, size_t len)
{
    struct ledger *l CLEANUP(ledger_close) = NULL;
    struct ledger_options options = {.path = path};
    (void)scratch_folder("ledger", template, template_len);
    MUST(ledger_open(&l, &options, NULL) == RC_OK);
    begin_fates();
    for (size_t i = 0; i < ASKED_MAX && len >= 8; i++, data += 8, len -= 8)
        ask(l, data);
    look_for_open(l);
    uint64_t size = ledger_size(l);
    ledger_close(&l);
    MUST(ledger_open(&l, &options, NULL) == RC_OK);
    MUST(ledger_size(l) == size);
}

/* Judgement ----------------------------------------------------------------------------------- */

static void says_the_same(struct ledger *l)
{
    MUST(ledger_size(l) == entry_count);
    for (uint64_t i = 0; i < entry_count; i++) {
        char *json = NULL;
        MUST(ledger_entry_json(l, i + 1, &json, NULL) == RC_OK);
        MUST(strcmp(json, entries[i]) == 0);
        free(json);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct ledger *l CLEANUP(ledger_close) = NULL;
    struct err err = {0};
    if (template_len == 0) {
        MUST(base_init_public(NULL) == RC_OK);
        make_template();
    }
    if (len < 1)
        return 0;
    forget_wal();
    if (data[0] == 'a') {
        ask_all(data + 1, len - 1);
        forget_wal();
        return 0;
    }
    if (data[0] == 'b')
        change_bytes(data + 1, len - 1);
    else if (data[0] == 'r')
        change_rows(data + 1, len - 1);
    else
        return 0;
    struct ledger_options options = {.path = path};
    enum rc rc = ledger_open(&l, &options, &err);
    if (rc == RC_OK)
        says_the_same(l);
    else
        MUST(err.rc == rc && err.text[0] != '\0' && l == NULL);
    ledger_close(&l);
    forget_wal();
    return 0;
}
