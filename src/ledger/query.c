#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "ledger/internal.h"
/* One question --------------------------------------------------------------------------------- */

struct binder question(struct ledger *l, enum stmt which, uint32_t key)
{
    struct binder b = {.stmt = l->stmts[which]};
    bind_i64(&b, key);
    return b;
}

enum rc question_next(struct ledger *l, const struct binder *b, bool *found, struct err *err)
{
    int s = b->status == SQLITE_OK ? sqlite3_step(b->stmt) : b->status;
    *found = s == SQLITE_ROW;
    if (s != SQLITE_ROW && s != SQLITE_DONE)
        return HALT(l, s, err, "read the ledger");
    return RC_OK;
}

enum rc question_one(struct ledger *l, const struct binder *b, struct err *err)
{
    bool found = false;
    enum rc rc = question_next(l, b, &found, err);
    if (rc == RC_OK && !found)
        return HALT(l, 0, err, "a question without an answer");
    return rc;
}

enum rc row_good(struct ledger *l, const struct row *r, struct err *err)
{
    if (r->bad)
        return HALT(l, 0, err, "a row does not fit: the ledger is damaged");
    return RC_OK;
}

int64_t row_or_none(struct row *r)
{
    if (sqlite3_column_type(r->stmt, r->at) == SQLITE_NULL) {
        r->at++;
        return -1;
    }
    return row_i64(r);
}

bool is_beyond(uint64_t number)
{
    return number > INT64_MAX;
}

/* Keys ----------------------------------------------------------------------------------------- */

static enum rc read_key(struct ledger *l, uint32_t id, struct ledger_key *key, struct err *err)
{
    struct binder b CLEANUP(binder_done) = question(l, STMT_KEY, id);
    enum rc rc = question_one(l, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    row_key(&r, key);
    return row_good(l, &r, err);
}

static enum rc read_device(struct ledger *l, uint32_t id, struct ledger_key *key, struct err *err)
{
    struct binder b CLEANUP(binder_done) = question(l, STMT_DEVICE, id);
    enum rc rc = question_one(l, &b, err);
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
    struct binder b CLEANUP(binder_done) = question(l, STMT_FLOOR, id);
    enum rc rc = question_one(l, &b, err);
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
    struct binder b CLEANUP(binder_done) = question(l, STMT_HEAD_SEQ, key);
    bind_blob(&b, head, SHA256_LEN);
    enum rc rc = question_next(l, &b, &st->head_known, err);
    if (rc != RC_OK || !st->head_known)
        return rc;
    struct row r = {.stmt = b.stmt};
    st->head_seq = row_u64(&r);
    return row_good(l, &r, err);
}

static enum rc count_behind(struct ledger *l, enum stmt which, uint32_t key, uint64_t seq,
                            uint64_t *count, struct err *err)
{
    struct binder b CLEANUP(binder_done) = question(l, which, key);
    bind_u64(&b, seq);
    enum rc rc = question_one(l, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    *count = row_u64(&r);
    return row_good(l, &r, err);
}

static enum rc top_epochs(struct ledger *l, uint32_t key, struct ledger_standing *st,
                          struct err *err)
{
    struct binder b CLEANUP(binder_done) = question(l, STMT_EPOCHS, key);
    enum rc rc = question_one(l, &b, err);
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
    struct binder b CLEANUP(binder_done) = question(l, STMT_TOP_WINDOW, key);
    bool found = false;
    enum rc rc = question_next(l, &b, &found, err);
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
    enum rc rc = question_next(l, b, found, err);
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
    if (rc != RC_OK || is_beyond(after))
        return rc;
    struct binder b CLEANUP(binder_done) = question(l, STMT_NEXT_OPEN_INTENT, key);
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
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_INTENT_BY_VERSION, key);
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
    if (!is_beyond(index)) {
        struct binder b CLEANUP(binder_done) = question(ledger, STMT_INTENT_BY_INDEX, key);
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
    if (rc != RC_OK || is_beyond(from_index))
        return rc;
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_BINDINGS, key);
    bind_u64(&b, from_index);
    bind_u64(&b, is_beyond(max) ? (uint64_t)INT64_MAX : max);
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
    if (rc != RC_OK || is_beyond(line))
        return rc;
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_LINE_MARKS, key);
    bind_u64(&b, line);
    rc = question_one(ledger, &b, err);
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
    enum rc rc = question_next(l, b, &found, err);
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
    if (is_beyond(index))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such receipt");
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_RECEIPT_BY_INDEX, key);
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
    if (is_beyond(from_window))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such receipt");
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_RECEIPT_BY_IDEMPOTENCY, key);
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
    if (is_beyond(number))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such reservation");
    struct binder b CLEANUP(binder_done) = question(l, which, key);
    bind_u64(&b, number);
    rc = question_next(l, &b, &found, err);
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
    enum rc rc = question_next(l, b, &found, err);
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
    if (is_beyond(number))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no such branch");
    struct binder b CLEANUP(binder_done) = question(l, which, key);
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
