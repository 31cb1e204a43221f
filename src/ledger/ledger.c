#include "ledger/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/file.h"
#include "ledger/internal.h"

#define REWRITE_LEN (64 * 1024)

/* Failure -------------------------------------------------------------------------------------- */

enum rc ledger_halt(struct ledger *l, int native, const char *where, struct err *err,
                    const char *format, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!l->halted) {
        l->halted = true;
        l->halted_native = native;
        (void)snprintf(l->halted_text, sizeof(l->halted_text), "%.100s%s%.50s", text,
                       native != 0 ? ": " : "", native != 0 ? sqlite3_errstr(native) : "");
    }
    if (native == 0)
        return err_fail(err, RC_HALT_LEDGER, "", 0, where, "%s", text);
    return err_fail(err, RC_HALT_LEDGER, "sqlite", native, where, "%s: %s", text,
                    l->db != NULL ? sqlite3_errmsg(l->db) : sqlite3_errstr(native));
}

enum rc ledger_usable(struct ledger *l, struct err *err)
{
    if (l->halted)
        return FAIL(err, RC_HALT_LEDGER, l->halted_native != 0 ? "sqlite" : "", l->halted_native,
                    "the ledger stopped earlier (%s); start-up decides", l->halted_text);
    return RC_OK;
}

enum rc ledger_usable_key(struct ledger *l, uint32_t key, struct err *err)
{
    enum rc rc = ledger_usable(l, err);
    if (rc != RC_OK)
        return rc;
    if (key == 0 || key > l->state.key_count)
        return FAIL(err, RC_REFUSED_NO_KEY, "", 0, "the ledger has no key number %u", key);
    return RC_OK;
}

bool ledger_may_pass(const struct err *err)
{
    int primary = (int)(err->native & 0xff); /* the rest says where it happened */
    return err->rc == RC_HALT_LEDGER && err->origin != NULL && strcmp(err->origin, "sqlite") == 0 &&
           (primary == SQLITE_FULL || primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN);
}

/* Statements ----------------------------------------------------------------------------------- */

void stmt_done(sqlite3_stmt **stmt)
{
    /* The result repeats what step already said. */
    (void)sqlite3_reset(*stmt);
    (void)sqlite3_clear_bindings(*stmt);
}

void stmt_finalize(sqlite3_stmt **stmt)
{
    (void)sqlite3_finalize(*stmt);
    *stmt = NULL;
}

void binder_done(struct binder *b)
{
    stmt_done(&b->stmt);
}

void bind_i64(struct binder *b, int64_t value)
{
    if (b->status == SQLITE_OK)
        b->status = sqlite3_bind_int64(b->stmt, ++b->at, value);
}

void bind_u64(struct binder *b, uint64_t value)
{
    MUST(value <= INT64_MAX);
    bind_i64(b, (int64_t)value);
}

void bind_text(struct binder *b, const char *text)
{
    if (b->status == SQLITE_OK)
        b->status = sqlite3_bind_text(b->stmt, ++b->at, text, -1, SQLITE_STATIC);
}

void bind_blob(struct binder *b, const void *data, size_t len)
{
    MUST(len <= LEDGER_SIGNATURE_MAX);
    if (b->status == SQLITE_OK)
        b->status = sqlite3_bind_blob(b->stmt, ++b->at, data, (int)len, SQLITE_STATIC);
}

/* Closing -------------------------------------------------------------------------------------- */

void ledger_close(struct ledger **ledger)
{
    struct ledger *l = *ledger;
    *ledger = NULL;
    if (l == NULL)
        return;
    if (!l->halted)
        ledger_rollback(l);
    for (size_t i = 0; i < STMT_COUNT; i++)
        (void)sqlite3_finalize(l->stmts[i]);
    if (l->db != NULL && (l->halted || !l->opened)) {
        /* After a failure nothing more is written: what the disk holds now is what start-up will
         * judge. Without this, closing would copy the WAL into the database. */
        (void)sqlite3_db_config(l->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
    } else if (l->db != NULL) {
        /* Everything in the WAL is durable already, so a failure here loses nothing. */
        (void)sqlite3_wal_checkpoint_v2(l->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    (void)sqlite3_close(l->db);
    free(l);
}

/* Opening -------------------------------------------------------------------------------------- */

static int remember_frames(void *ctx, sqlite3 *db, const char *name, int frames)
{
    (void)db;
    (void)name;
    ((struct ledger *)ctx)->wal_frames = frames;
    return SQLITE_OK;
}

/* SQLite would make the file readable by others (0644); it keeps the mode of one that is there, and
 * gives its WAL the same. O_EXCL: an existing file is not opened here, because closing it again
 * would drop every POSIX lock that this process holds on it, SQLite's own included. */
static enum rc make_file(const char *path, struct err *err)
{
    int fd CLEANUP(fd_close) = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno != EEXIST)
        return FAIL(err, RC_HALT_LEDGER, "errno", errno, "create %s: %s", path, strerror(errno));
    return RC_OK;
}

static enum rc open_database(struct ledger *l, const struct ledger_options *options,
                             struct err *err)
{
    /* Statistics of memory that nobody reads: a lock and a sum for each allocation. Refused once
     * SQLite runs, and then the first call has said it. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_vfs *vfs = sqlite3_vfs_find(options->vfs);
    if (vfs == NULL)
        return HALT(l, SQLITE_CANTOPEN, err, "no such SQLite VFS");
    int exists = 0;
    if (!options->create) {
        int s = vfs->xAccess(vfs, options->path, SQLITE_ACCESS_EXISTS, &exists);
        if (s != SQLITE_OK)
            return HALT(l, s, err, "look for the database");
        if (!exists)
            return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no ledger at %s", options->path);
    } else if (options->vfs == NULL) {
        enum rc rc = make_file(options->path, err);
        if (rc != RC_OK)
            return rc;
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOMUTEX |
                SQLITE_OPEN_EXRESCODE | (options->create ? SQLITE_OPEN_CREATE : 0);
    int s = sqlite3_open_v2(options->path, &l->db, flags, options->vfs);
    if (s != SQLITE_OK)
        return HALT(l, s, err, "open the database");
    /* Checkpoints run where ledger_tidy() and ledger_commit() say, not inside SQLite's COMMIT,
     * which would keep their failures to itself. */
    (void)sqlite3_wal_hook(l->db, remember_frames, l);
    return RC_OK;
}

static enum rc prepare_statements(struct ledger *l, struct err *err)
{
    for (size_t i = 0; i < STMT_COUNT; i++) {
        int s = sqlite3_prepare_v3(l->db, ledger_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                   &l->stmts[i], NULL);
        if (s != SQLITE_OK)
            return HALT(l, s, err, "prepare statement %zu", i);
    }
    return RC_OK;
}

/* Write what a file holds over itself, and sync it. */
static int rewrite(sqlite3_file *file)
{
    uint8_t piece[REWRITE_LEN];
    sqlite3_int64 size = 0;
    int s = file->pMethods->xFileSize(file, &size);
    for (sqlite3_int64 at = 0; s == SQLITE_OK && at < size; at += REWRITE_LEN) {
        int len = size - at < REWRITE_LEN ? (int)(size - at) : REWRITE_LEN;
        s = file->pMethods->xRead(file, piece, len, at);
        if (s == SQLITE_OK)
            s = file->pMethods->xWrite(file, piece, len, at);
    }
    return s == SQLITE_OK && size > 0 ? file->pMethods->xSync(file, SQLITE_SYNC_FULL) : s;
}

/* What a process that ended badly left in the WAL can be read, and need not be on the disk: it was
 * killed between write and sync, or its sync failed. Nobody may act on an entry that a power cut
 * could still take back. Another sync alone would not do, since after a failed one the kernel calls
 * the pages clean, and neither would a checkpoint: if the power then leaves an older part of the
 * WAL, that is laid over newer pages of the database. */
static enum rc settle_wal(struct ledger *l, struct err *err)
{
    sqlite3_file *wal = NULL;
    int s = sqlite3_file_control(l->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (s == SQLITE_OK && wal != NULL && wal->pMethods != NULL)
        s = rewrite(wal);
    return s == SQLITE_OK ? RC_OK : HALT(l, s, err, "make the WAL durable");
}

static enum rc open_steps(struct ledger *l, const struct ledger_options *options, struct err *err)
{
    enum rc rc = open_database(l, options, err);
    if (rc == RC_OK)
        rc = schema_start(l, options->create, err);
    if (rc == RC_OK)
        rc = check_all(l, &l->state, l->keys, err);
    if (rc == RC_OK)
        rc = settle_wal(l, err);
    if (rc == RC_OK)
        rc = prepare_statements(l, err);
    return rc;
}

enum rc ledger_open(struct ledger **ledger, const struct ledger_options *options, struct err *err)
{
    *ledger = NULL;
    struct ledger *l CLEANUP(ledger_close) = calloc(1, sizeof(*l));
    if (l == NULL)
        return FAIL(err, RC_HALT_LEDGER, "errno", ENOMEM, "no memory");
    struct err seen = {0};
    enum rc rc = open_steps(l, options, &seen);
    if (l->halted && (l->halted_native & 0xff) == SQLITE_BUSY)
        return FAIL(err, RC_RETRY_BUSY, "sqlite", l->halted_native,
                    "another process has the ledger open");
    if (rc != RC_OK)
        return err_fail(err, rc, seen.origin, seen.native, seen.where, "%s", seen.text);
    l->opened = true;
    *ledger = l;
    l = NULL;
    return RC_OK;
}

uint64_t ledger_size(const struct ledger *ledger)
{
    return ledger->state.size;
}

uint32_t ledger_key_count(const struct ledger *ledger)
{
    return ledger->state.key_count;
}

/* Transactions --------------------------------------------------------------------------------- */

enum rc ledger_begin(struct ledger *ledger, struct err *err)
{
    enum rc rc = ledger_usable(ledger, err);
    if (rc != RC_OK)
        return rc;
    MUST(!ledger->in_transaction);
    sqlite3_stmt *stmt CLEANUP(stmt_done) = ledger->stmts[STMT_BEGIN];
    int s = sqlite3_step(stmt);
    if (s != SQLITE_DONE)
        return HALT(ledger, s, err, "begin a transaction");
    ledger->in_transaction = true;
    ledger->before = ledger->state;
    return RC_OK;
}

/* A WAL of so many frames goes into the database file. */
static enum rc copy_wal(struct ledger *l, int frames, struct err *err)
{
    if (l->wal_frames < frames)
        return RC_OK;
    int s = sqlite3_wal_checkpoint_v2(l->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    l->wal_frames = 0;
    return s == SQLITE_OK ? RC_OK : HALT(l, s, err, "copy the WAL into the database");
}

enum rc ledger_commit(struct ledger *ledger, struct err *err)
{
    enum rc rc = ledger_usable(ledger, err);
    if (rc != RC_OK)
        return rc;
    MUST(ledger->in_transaction);
    MUST(sqlite3_get_autocommit(ledger->db) == 0);
    sqlite3_stmt *stmt CLEANUP(stmt_done) = ledger->stmts[STMT_COMMIT];
    int s = sqlite3_step(stmt);
    ledger->in_transaction = false;
    if (s != SQLITE_DONE)
        return HALT(ledger, s, err, "commit");
    /* The commit is durable, whatever happens to the checkpoint, so the next call hears of it. */
    (void)copy_wal(ledger, LEDGER_WAL_FRAMES_MAX, NULL);
    return RC_OK;
}

enum rc ledger_tidy(struct ledger *ledger, struct err *err)
{
    enum rc rc = ledger_usable(ledger, err);
    MUST(!ledger->in_transaction);
    return rc == RC_OK ? copy_wal(ledger, LEDGER_WAL_FRAMES_DUE, err) : rc;
}

void ledger_rollback(struct ledger *ledger)
{
    if (!ledger->in_transaction)
        return;
    ledger->in_transaction = false;
    ledger->state = ledger->before;
    tally_forget(&ledger->tallies);
    if (ledger->halted)
        return; /* ledger_close() lets go of it without writing */
    sqlite3_stmt *stmt CLEANUP(stmt_done) = ledger->stmts[STMT_ROLLBACK];
    int s = sqlite3_step(stmt);
    if (s != SQLITE_DONE)
        (void)HALT(ledger, s, NULL, "roll back");
}

/* What check_all() derives from the database. */
struct derived {
    struct ledger_state state;
    struct ledger_key_name keys[LEDGER_KEYS_MAX + 1];
};

static void derived_free(struct derived **d)
{
    free(*d);
    *d = NULL;
}

enum rc ledger_check_invariants(struct ledger *ledger, struct err *err)
{
    enum rc rc = ledger_usable(ledger, err);
    if (rc != RC_OK)
        return rc;
    struct derived *d CLEANUP(derived_free) = calloc(1, sizeof(*d));
    if (d == NULL)
        return HALT(ledger, SQLITE_NOMEM, err, "check the ledger");
    rc = check_all(ledger, &d->state, d->keys, err);
    if (rc != RC_OK)
        return rc;
    const struct ledger_state *kept = &ledger->state;
    bool same = d->state.size == kept->size && d->state.key_count == kept->key_count;
    for (uint32_t i = 0; same && i <= kept->key_count; i++)
        same = ct_equal(d->state.heads[i], kept->heads[i], SHA256_LEN) &&
               strcmp(d->keys[i].name, ledger->keys[i].name) == 0;
    if (!same)
        return HALT(ledger, 0, err, "what is kept in memory differs from the database");
    return tally_check(ledger, err);
}
