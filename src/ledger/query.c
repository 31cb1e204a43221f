#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "ledger/internal.h"

/* One question --------------------------------------------------------------------------------- */

/* Most questions name a key and then one to three values. */
static struct binder ask(struct ledger *l, enum stmt which, uint32_t key)
{
    struct binder b = {.stmt = l->stmts[which]};
    bind_i64(&b, key);
    return b;
}

/* Step to the next row. *found tells a row from the end. */
static enum rc next(struct ledger *l, const struct binder *b, bool *found, struct err *err)
{
    int s = b->status == SQLITE_OK ? sqlite3_step(b->stmt) : b->status;
    *found = s == SQLITE_ROW;
    if (s != SQLITE_ROW && s != SQLITE_DONE)
        return HALT(l, s, err, "read the ledger");
    return RC_OK;
}

/* For questions that always have one row. */
static enum rc one(struct ledger *l, const struct binder *b, struct err *err)
{
    bool found = false;
    enum rc rc = next(l, b, &found, err);
    if (rc == RC_OK && !found)
        return HALT(l, 0, err, "a question without an answer");
    return rc;
}

/* After a row was read. SQLite gives NULL for a value it had no memory for; that ends here too. */
static enum rc row_good(struct ledger *l, const struct row *r, struct err *err)
{
    if (r->bad)
        return HALT(l, 0, err, "a row does not fit: the ledger is damaged");
    return RC_OK;
}

/* A number or NULL, which becomes -1. */
static int64_t row_or_none(struct row *r)
{
    if (sqlite3_column_type(r->stmt, r->at) == SQLITE_NULL) {
        r->at++;
        return -1;
    }
    return row_i64(r);
}

static bool beyond(uint64_t number)
{
    return number > INT64_MAX; /* nothing in the ledger is; asking SQLite would wrap around */
}

/* Keys ----------------------------------------------------------------------------------------- */

static enum rc read_key(struct ledger *l, uint32_t id, struct ledger_key *key, struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_KEY, id);
    enum rc rc = one(l, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    row_key(&r, key);
    return row_good(l, &r, err);
}

static enum rc read_device(struct ledger *l, uint32_t id, struct ledger_key *key, struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_DEVICE, id);
    enum rc rc = one(l, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    row_device(&r, key);
    key->provisioned_s = row_i64(&r);
    return row_good(l, &r, err);
}

/* What recovery has raised stands above what was provisioned. */
static enum rc read_floor(struct ledger *l, uint32_t id, struct ledger_key *key, struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_FLOOR, id);
    enum rc rc = one(l, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    if (sqlite3_column_type(b.stmt, 0) != SQLITE_NULL) {
        int64_t raised = row_i64(&r);
        if (raised > key->min_window)
            key->min_window = raised;
    }
    return row_good(l, &r, err);
}

enum rc ledger_key_by_id(struct ledger *ledger, uint32_t id, struct ledger_key *key,
                         struct err *err)
{
    *key = (struct ledger_key){0};
    enum rc rc = ledger_usable(ledger, err);
    if (rc != RC_OK)
        return rc;
    if (id == 0 || id > ledger->state.key_count)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "the ledger has no key number %u", id);
    rc = read_key(ledger, id, key, err);
    if (rc == RC_OK)
        rc = read_device(ledger, id, key, err);
    if (rc == RC_OK)
        rc = read_floor(ledger, id, key, err);
    if (rc != RC_OK)
        *key = (struct ledger_key){0};
    return rc;
}

enum rc ledger_key_by_name(struct ledger *ledger, const char *name, struct ledger_key *key,
                           struct err *err)
{
    *key = (struct ledger_key){0};
    enum rc rc = ledger_usable(ledger, err);
    if (rc != RC_OK)
        return rc;
    for (uint32_t id = 1; id <= ledger->state.key_count; id++)
        if (strcmp(ledger->keys[id].name, name) == 0)
            return ledger_key_by_id(ledger, id, key, err);
    return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "the ledger has no key of that name");
}

/* Standing ------------------------------------------------------------------------------------- */

enum rc ledger_head(struct ledger *ledger, uint32_t key, uint8_t head[SHA256_LEN], struct err *err)
{
    memset(head, 0, SHA256_LEN);
    enum rc rc = key == 0 ? ledger_usable(ledger, err) : ledger_usable_key(ledger, key, err);
    if (rc == RC_OK)
        memcpy(head, ledger->state.heads[key], SHA256_LEN);
    return rc;
}

static enum rc find_head(struct ledger *l, uint32_t key, const uint8_t head[SHA256_LEN],
                         struct ledger_standing *st, struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_HEAD_SEQ, key);
    bind_blob(&b, head, SHA256_LEN);
    enum rc rc = next(l, &b, &st->head_known, err);
    if (rc != RC_OK || !st->head_known)
        return rc;
    struct row r = {.stmt = b.stmt};
    st->head_seq = row_u64(&r);
    return row_good(l, &r, err);
}

static enum rc count_behind(struct ledger *l, enum stmt which, uint32_t key, uint64_t seq,
                            uint64_t *count, struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, which, key);
    bind_u64(&b, seq);
    enum rc rc = one(l, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    *count = row_u64(&r);
    return row_good(l, &r, err);
}

static enum rc top_epochs(struct ledger *l, uint32_t key, struct ledger_standing *st,
                          struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_EPOCHS, key);
    enum rc rc = one(l, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    st->lease_epoch = row_or_none(&r);
    st->receipt_epoch = row_or_none(&r);
    st->intent_epoch = row_or_none(&r);
    return row_good(l, &r, err);
}

static enum rc top_window(struct ledger *l, uint32_t key, struct ledger_standing *st,
                          struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_TOP_WINDOW, key);
    bool found = false;
    enum rc rc = next(l, &b, &found, err);
    st->window = -1;
    st->window_w = -1;
    if (rc != RC_OK || !found)
        return rc;
    struct row r = {.stmt = b.stmt};
    st->window = row_i64(&r);
    st->window_w = row_i64(&r);
    return row_good(l, &r, err);
}

enum rc ledger_stand(struct ledger *ledger, uint32_t key, const uint8_t head[SHA256_LEN],
                     struct ledger_standing *standing, struct err *err)
{
    *standing = (struct ledger_standing){0};
    struct ledger_standing st = {0};
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc == RC_OK)
        rc = find_head(ledger, key, head, &st, err);
    if (rc == RC_OK)
        rc = count_behind(ledger, STMT_BEHIND, key, st.head_seq, &st.behind, err);
    if (rc == RC_OK)
        rc =
            count_behind(ledger, STMT_OPEN_INTENTS, key, st.head_seq, &st.open_intents_behind, err);
    if (rc == RC_OK)
        rc = top_epochs(ledger, key, &st, err);
    if (rc == RC_OK)
        rc = top_window(ledger, key, &st, err);
    if (rc == RC_OK)
        *standing = st;
    return rc;
}

/* Intents -------------------------------------------------------------------------------------- */

/* Behind the columns of the intent stands the time of its entry. */
static enum rc read_intent(struct ledger *l, const struct binder *b, struct ledger_intent *intent,
                           bool *found, struct err *err)
{
    enum rc rc = next(l, b, found, err);
    if (rc != RC_OK || !*found)
        return rc;
    struct row r = {.stmt = b->stmt};
    row_intent(&r, intent);
    intent->at_s = row_i64(&r);
    rc = row_good(l, &r, err);
    if (rc != RC_OK)
        *intent = (struct ledger_intent){0};
    return rc;
}

enum rc next_open_intent(struct ledger *l, uint32_t key, uint64_t after,
                         struct ledger_intent *intent, bool *found, struct err *err)
{
    *intent = (struct ledger_intent){0};
    *found = false;
    enum rc rc = ledger_usable_key(l, key, err);
    if (rc != RC_OK || beyond(after))
        return rc;
    struct binder b CLEANUP(binder_done) = ask(l, STMT_NEXT_OPEN_INTENT, key);
    bind_u64(&b, after);
    return read_intent(l, &b, intent, found, err);
}

enum rc ledger_next_open_intent(struct ledger *ledger, uint32_t key, uint64_t after,
                                struct ledger_intent *intent, struct err *err)
{
    bool found = false;
    enum rc rc = next_open_intent(ledger, key, after, intent, &found, err);
    if (rc == RC_OK && !found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no open intent behind entry %" PRIu64,
                    after);
    return rc;
}

enum rc ledger_intent_by_version(struct ledger *ledger, uint32_t key, const char *version,
                                 const char *slot, struct ledger_intent *intent, struct err *err)
{
    *intent = (struct ledger_intent){0};
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_INTENT_BY_VERSION, key);
    bind_text(&b, version);
    bind_text(&b, slot);
    bool found = false;
    rc = read_intent(ledger, &b, intent, &found, err);
    if (rc == RC_OK && !found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "the version is not bound");
    return rc;
}

enum rc ledger_intent_by_index(struct ledger *ledger, uint32_t key, uint64_t index,
                               struct ledger_intent *intent, struct err *err)
{
    *intent = (struct ledger_intent){0};
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    bool found = false;
    if (!beyond(index)) {
        struct binder b CLEANUP(binder_done) = ask(ledger, STMT_INTENT_BY_INDEX, key);
        bind_u64(&b, index);
        rc = read_intent(ledger, &b, intent, &found, err);
    }
    if (rc == RC_OK && !found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "index %" PRIu64 " is not bound", index);
    return rc;
}

enum rc ledger_bindings(struct ledger *ledger, uint32_t key, uint64_t from_index,
                        struct ledger_intent *intents, size_t max, size_t *count, struct err *err)
{
    *count = 0;
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK || beyond(from_index))
        return rc;
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_BINDINGS, key);
    bind_u64(&b, from_index);
    bind_u64(&b, beyond(max) ? (uint64_t)INT64_MAX : max);
    size_t n = 0;
    for (bool found = true; n < max; n++) {
        intents[n] = (struct ledger_intent){0};
        rc = read_intent(ledger, &b, &intents[n], &found, err);
        if (rc != RC_OK)
            return rc;
        if (!found)
            break;
    }
    *count = n;
    return RC_OK;
}

enum rc ledger_line_marks(struct ledger *ledger, uint32_t key, uint64_t line, int64_t *rank,
                          int64_t *window, struct err *err)
{
    *rank = -1;
    *window = -1;
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK || beyond(line))
        return rc;
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_LINE_MARKS, key);
    bind_u64(&b, line);
    rc = one(ledger, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    *rank = row_or_none(&r);
    *window = row_or_none(&r);
    return row_good(ledger, &r, err);
}

/* Receipts ------------------------------------------------------------------------------------- */

static enum rc read_receipt(struct ledger *l, const struct binder *b,
                            struct ledger_receipt *receipt, uint8_t *signature, struct err *err)
{
    bool found = false;
    enum rc rc = next(l, b, &found, err);
    if (rc != RC_OK)
        return rc;
    if (!found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such receipt");
    struct row r = {.stmt = b->stmt};
    const uint8_t *stored = NULL;
    row_receipt(&r, receipt, &stored);
    receipt->at_s = row_i64(&r);
    rc = row_good(l, &r, err);
    if (rc != RC_OK)
        *receipt = (struct ledger_receipt){0};
    else if (signature != NULL)
        memcpy(signature, stored, receipt->signature_len);
    return rc;
}

enum rc ledger_receipt_by_index(struct ledger *ledger, uint32_t key, uint64_t index,
                                struct ledger_receipt *receipt, uint8_t *signature, struct err *err)
{
    *receipt = (struct ledger_receipt){0};
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    if (beyond(index))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such receipt");
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_RECEIPT_BY_INDEX, key);
    bind_u64(&b, index);
    return read_receipt(ledger, &b, receipt, signature, err);
}

enum rc ledger_receipt_by_id(struct ledger *ledger, uint32_t key, const uint8_t id[LEDGER_ID_LEN],
                             struct ledger_receipt *receipt, uint8_t *signature, struct err *err)
{
    uint64_t index = be_get64(id + LEDGER_ID_LEN - sizeof(index));
    enum rc rc = ledger_receipt_by_index(ledger, key, index, receipt, signature, err);
    if (rc != RC_OK || ct_equal(receipt->id, id, LEDGER_ID_LEN))
        return rc;
    if (signature != NULL)
        memset(signature, 0, receipt->signature_len);
    *receipt = (struct ledger_receipt){0};
    return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such receipt");
}

enum rc ledger_receipt_by_idempotency(struct ledger *ledger, uint32_t key,
                                      const char *idempotency_key, uint64_t from_window,
                                      struct ledger_receipt *receipt, uint8_t *signature,
                                      struct err *err)
{
    *receipt = (struct ledger_receipt){0};
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    if (beyond(from_window))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such receipt");
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_RECEIPT_BY_IDEMPOTENCY, key);
    bind_text(&b, idempotency_key);
    bind_u64(&b, from_window);
    return read_receipt(ledger, &b, receipt, signature, err);
}

/* Reservations --------------------------------------------------------------------------------- */

static enum rc read_reservation(struct ledger *l, enum stmt which, uint32_t key, uint64_t number,
                                struct ledger_reservation *reservation, struct err *err)
{
    bool found = false;
    *reservation = (struct ledger_reservation){0};
    enum rc rc = ledger_usable_key(l, key, err);
    if (rc != RC_OK)
        return rc;
    if (beyond(number))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such reservation");
    struct binder b CLEANUP(binder_done) = ask(l, which, key);
    bind_u64(&b, number);
    rc = next(l, &b, &found, err);
    if (rc == RC_OK && !found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such reservation");
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    row_reservation(&r, reservation);
    reservation->at_s = row_i64(&r);
    rc = row_good(l, &r, err);
    if (rc != RC_OK)
        *reservation = (struct ledger_reservation){0};
    return rc;
}

enum rc ledger_reservation_by_index(struct ledger *ledger, uint32_t key, uint64_t index,
                                    struct ledger_reservation *reservation, struct err *err)
{
    return read_reservation(ledger, STMT_RESERVATION_BY_INDEX, key, index, reservation, err);
}

enum rc ledger_next_open_reservation(struct ledger *ledger, uint32_t key, uint64_t after,
                                     struct ledger_reservation *reservation, struct err *err)
{
    return read_reservation(ledger, STMT_NEXT_OPEN_RESERVATION, key, after, reservation, err);
}

/* Branches ------------------------------------------------------------------------------------- */

static enum rc read_branch(struct ledger *l, const struct binder *b, struct ledger_branch *branch,
                           uint8_t *record, struct err *err)
{
    bool found = false;
    enum rc rc = next(l, b, &found, err);
    if (rc != RC_OK)
        return rc;
    if (!found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such branch");
    struct row r = {.stmt = b->stmt};
    const uint8_t *stored = NULL;
    row_branch(&r, branch, &stored);
    rc = row_good(l, &r, err);
    if (rc != RC_OK)
        *branch = (struct ledger_branch){0};
    else
        memcpy(record, stored, branch->record_len);
    return rc;
}

static enum rc ask_branch(struct ledger *l, enum stmt which, uint32_t key, uint64_t number,
                          struct ledger_branch *branch, uint8_t *record, struct err *err)
{
    *branch = (struct ledger_branch){0};
    enum rc rc = ledger_usable_key(l, key, err);
    if (rc != RC_OK)
        return rc;
    if (beyond(number))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such branch");
    struct binder b CLEANUP(binder_done) = ask(l, which, key);
    bind_u64(&b, number);
    return read_branch(l, &b, branch, record, err);
}

enum rc ledger_branch_at(struct ledger *ledger, uint32_t key, uint64_t first,
                         struct ledger_branch *branch, uint8_t *record, struct err *err)
{
    return ask_branch(ledger, STMT_BRANCH_AT, key, first, branch, record, err);
}

enum rc ledger_branch_latest(struct ledger *ledger, uint32_t key, uint64_t window,
                             struct ledger_branch *branch, uint8_t *record, struct err *err)
{
    return ask_branch(ledger, STMT_BRANCH_LATEST, key, window, branch, record, err);
}

/* Windows, leases, burns ----------------------------------------------------------------------- */

static enum rc count_used(struct ledger *l, struct tally *t, struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_USAGE, t->key);
    bind_u64(&b, t->window);
    enum rc rc = one(l, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    t->leased = row_u64(&r);
    t->bound = row_u64(&r);
    t->receipts = row_u64(&r);
    t->reserved = row_u64(&r);
    return row_good(l, &r, err);
}

static enum rc count_used_by(struct ledger *l, struct tally *t, struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_USED_BY, t->key);
    bind_u64(&b, t->window);
    bind_text(&b, t->requester);
    enum rc rc = one(l, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    t->bound = row_u64(&r);
    t->receipts = row_u64(&r);
    t->reserved = row_u64(&r);
    return row_good(l, &r, err);
}

/* requester: NULL for all. */
static enum rc tally_of(struct ledger *l, uint32_t key, uint64_t window, const char *requester,
                        struct tally *tally, struct err *err)
{
    const struct tally *kept = tally_find(&l->tallies, key, window, requester);
    if (kept != NULL) {
        *tally = *kept;
        return RC_OK;
    }
    *tally = (struct tally){.key = key, .window = window, .whole = requester == NULL};
    if (requester != NULL)
        text_copy(tally->requester, sizeof(tally->requester), requester);
    enum rc rc = requester == NULL ? count_used(l, tally, err) : count_used_by(l, tally, err);
    if (rc == RC_OK)
        tally_keep(&l->tallies, tally);
    return rc;
}

enum rc tally_check(struct ledger *l, struct err *err)
{
    for (size_t i = 0; i < TALLIES_MAX; i++) {
        const struct tally *kept = &l->tallies.list[i];
        struct tally t = *kept;
        if (kept->used == 0)
            continue;
        enum rc rc = t.whole ? count_used(l, &t, err) : count_used_by(l, &t, err);
        if (rc != RC_OK)
            return rc;
        if (t.leased != kept->leased || t.bound != kept->bound || t.receipts != kept->receipts ||
            t.reserved != kept->reserved)
            return HALT(l, 0, err, "what is counted of window %" PRIu64 " differs from the tables",
                        t.window);
    }
    return RC_OK;
}

/* Burns may overlap. They come in order of their first index, so one sweep counts each index once.
 */
static enum rc sweep_burns(struct ledger *l, const struct binder *b, uint64_t *burned,
                           struct err *err)
{
    uint64_t swept = 0; /* every index below it is counted */
    for (;;) {
        bool found = false;
        enum rc rc = next(l, b, &found, err);
        if (rc != RC_OK || !found)
            return rc;
        struct row r = {.stmt = b->stmt};
        uint64_t first = row_u64(&r);
        uint64_t end = first + row_u64(&r);
        rc = row_good(l, &r, err);
        if (rc != RC_OK)
            return rc;
        if (end > swept) {
            *burned += end - (first > swept ? first : swept);
            swept = end;
        }
    }
}

static enum rc count_burned(struct ledger *l, uint32_t key, uint64_t window, uint64_t *burned,
                            struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_BURNS, key);
    bind_u64(&b, window);
    return sweep_burns(l, &b, burned, err);
}

static enum rc count_burned_of_key(struct ledger *l, uint32_t key, uint64_t *burned,
                                   struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_KEY_BURNS, key);
    return sweep_burns(l, &b, burned, err);
}

static enum rc count_receipts_of_key(struct ledger *l, uint32_t key, uint64_t *receipts,
                                     struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_KEY_RECEIPTS, key);
    enum rc rc = one(l, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    *receipts = row_u64(&r);
    return row_good(l, &r, err);
}

enum rc ledger_key_totals(struct ledger *ledger, uint32_t key, struct ledger_totals *totals,
                          struct err *err)
{
    *totals = (struct ledger_totals){0};
    struct ledger_totals found = {0};
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc == RC_OK)
        rc = count_receipts_of_key(ledger, key, &found.receipts, err);
    if (rc == RC_OK)
        rc = count_burned_of_key(ledger, key, &found.burned, err);
    if (rc == RC_OK)
        *totals = found;
    return rc;
}

static enum rc read_opened(struct ledger *l, uint32_t key, uint64_t window,
                           struct ledger_usage *usage, struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_WINDOW, key);
    bind_u64(&b, window);
    enum rc rc = next(l, &b, &usage->opened, err);
    if (rc != RC_OK || !usage->opened)
        return rc;
    struct row r = {.stmt = b.stmt};
    usage->opened_at_s = row_i64(&r);
    return row_good(l, &r, err);
}

enum rc ledger_window_usage(struct ledger *ledger, uint32_t key, uint64_t window,
                            struct ledger_usage *usage, struct err *err)
{
    *usage = (struct ledger_usage){0};
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK || beyond(window))
        return rc;
    struct tally tally = {0};
    rc = tally_of(ledger, key, window, NULL, &tally, err);
    struct ledger_usage found = {.leased = tally.leased,
                                 .bound = tally.bound,
                                 .receipts = tally.receipts,
                                 .reserved = tally.reserved};
    if (rc == RC_OK)
        rc = count_burned(ledger, key, window, &found.burned, err);
    if (rc == RC_OK)
        rc = read_opened(ledger, key, window, &found, err);
    if (rc == RC_OK)
        *usage = found;
    return rc;
}

enum rc ledger_used_by(struct ledger *ledger, uint32_t key, uint64_t window, const char *requester,
                       uint64_t *used, struct err *err)
{
    *used = 0;
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK || beyond(window))
        return rc;
    if (strnlen(requester, LEDGER_TEXT_MAX + 1) > LEDGER_TEXT_MAX)
        return RC_OK; /* nobody of that name is in the ledger */
    struct tally tally = {0};
    rc = tally_of(ledger, key, window, requester, &tally, err);
    /* A bound version has its receipt in the same window, and plans without versions bind nothing.
     */
    uint64_t taken = tally.receipts + tally.reserved;
    if (rc == RC_OK)
        *used = tally.bound > taken ? tally.bound : taken;
    return rc;
}

enum rc ledger_receipt_times(struct ledger *ledger, uint32_t key, const char *requester,
                             int64_t since_s, int64_t *at_s, size_t max, size_t *count,
                             struct err *err)
{
    *count = 0;
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_RECEIPT_TIMES, key);
    while (*count < max) {
        char who[LEDGER_TEXT_MAX + 1];
        bool found = false;
        rc = next(ledger, &b, &found, err);
        if (rc != RC_OK || !found)
            return rc;
        struct row r = {.stmt = b.stmt};
        int64_t at = row_i64(&r);
        row_text(&r, who, sizeof(who));
        rc = row_good(ledger, &r, err);
        if (rc != RC_OK || at < since_s)
            return rc;
        if (requester == NULL || strcmp(requester, who) == 0)
            at_s[(*count)++] = at;
    }
    return RC_OK;
}

static enum rc lease_below(struct ledger *l, uint32_t key, uint64_t index,
                           struct ledger_lease *lease, bool *found, struct err *err)
{
    struct binder b CLEANUP(binder_done) = ask(l, STMT_LEASE_OF_INDEX, key);
    bind_u64(&b, index);
    enum rc rc = next(l, &b, found, err);
    if (rc != RC_OK || !*found)
        return rc;
    struct row r = {.stmt = b.stmt};
    row_lease(&r, lease);
    return row_good(l, &r, err);
}

enum rc ledger_lease_of_index(struct ledger *ledger, uint32_t key, uint64_t index,
                              struct ledger_lease *lease, struct err *err)
{
    *lease = (struct ledger_lease){0};
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct ledger_lease below = {0};
    bool found = false;
    if (!beyond(index))
        rc = lease_below(ledger, key, index, &below, &found, err);
    if (rc != RC_OK)
        return rc;
    if (!found || index - below.first >= below.count)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no lease covers index %" PRIu64, index);
    *lease = below;
    return RC_OK;
}

enum rc ledger_is_burned(struct ledger *ledger, uint32_t key, uint64_t index, bool *burned,
                         struct err *err)
{
    *burned = false;
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK || beyond(index))
        return rc;
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_IS_BURNED, key);
    bind_u64(&b, index);
    rc = one(ledger, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    *burned = row_i64(&r) != 0;
    return row_good(ledger, &r, err);
}

/* Notes and entries ---------------------------------------------------------------------------- */

enum rc ledger_note_range(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                          const char *what, int64_t *smallest, int64_t *largest, struct err *err)
{
    *smallest = 0;
    *largest = 0;
    enum rc rc = key == 0 ? ledger_usable(ledger, err) : ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_NOTE_RANGE, key);
    bind_i64(&b, (int64_t)kind);
    bind_text(&b, what);
    rc = one(ledger, &b, err);
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
    enum rc rc = one(l, b, err);
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
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_NOTE_BY_TEXT, key);
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
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_NOTE_TIME, key);
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
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_NOTE_LATEST, key);
    bind_i64(&b, (int64_t)kind);
    bind_text(&b, what);
    bool found = false;
    rc = next(ledger, &b, &found, err);
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
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_NOTE_LAST, key);
    bind_i64(&b, (int64_t)kind);
    bind_text(&b, what);
    bool found = false;
    rc = next(ledger, &b, &found, err);
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
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_RECEIPT_RECENT, key);
    bind_u64(&b, back);
    bool found = false;
    rc = next(ledger, &b, &found, err);
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
    rc = one(ledger, &b, err);
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
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_ATTEST_KEYS, key);
    rc = next(ledger, &b, &found, err);
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
    if (beyond(receipt))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such receipt");
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_ATTESTATION_OF, key);
    bind_u64(&b, receipt);
    rc = next(ledger, &b, &found, err);
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
    struct binder b CLEANUP(binder_done) = ask(ledger, STMT_ATTESTED_AT, key);
    rc = next(ledger, &b, &found, err);
    if (rc == RC_OK && !found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no attestation is recorded");
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    *at_s = row_i64(&r);
    return row_good(ledger, &r, err);
}
