#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "ledger/internal.h"

/* What is checked before anything is written --------------------------------------------------- */

/* Well-formed UTF-8 (RFC 3629 §4) of at most max bytes, which ends inside its array. */
static bool text_ok(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);
    if (len > max)
        return false;
    const unsigned char *p = (const unsigned char *)text;
    const unsigned char *end = p + len;
    while (p < end) {
        unsigned char c = *p++;
        if (c < 0x80)
            continue;
        /* How many bytes follow, and the range of the first of them: no overlong forms, no
         * surrogates, nothing above U+10FFFF. */
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        if (c < 0xc2 || c > 0xf4 || end - p < more || p[0] < low || p[0] > high)
            return false;
        for (int i = 1; i < more; i++)
            if ((p[i] & 0xc0) != 0x80)
                return false;
        p += more;
    }
    return true;
}

static bool origin_ok(const struct ledger_origin *o)
{
    return text_ok(o->requester, LEDGER_TEXT_MAX) && text_ok(o->request_id, LEDGER_TEXT_MAX) &&
           text_ok(o->idempotency_key, LEDGER_TEXT_MAX);
}

static bool number_ok(uint64_t value)
{
    return value < LEDGER_NUMBER_MAX;
}

static bool counter_ok(uint64_t value)
{
    return value <= INT64_MAX;
}

static bool range_ok(uint64_t first, uint64_t count)
{
    return number_ok(first) && count >= 1 && count <= LEDGER_NUMBER_MAX - first;
}

/* Below zero: before the first window. */
static bool min_window_ok(int64_t window)
{
    return window >= -(int64_t)LEDGER_NUMBER_MAX && window <= (int64_t)LEDGER_NUMBER_MAX;
}

#define REFUSE_RANGE(err, what) FAIL((err), RC_REFUSED_RANGE, "", 0, "%s is out of range", (what))
#define REFUSE_TEXT(err, what)                                                                     \
    FAIL((err), RC_REFUSED_INPUT, "", 0, "%s is too long or not UTF-8", (what))

/* One entry ------------------------------------------------------------------------------------ */

/* An entry on its way: what it will say, and the statement that adds its row. */
struct adding {
    struct ledger *l;
    struct entry e;
    struct jcs json;
};

static void adding_wipe(struct adding *a)
{
    jcs_wipe(&a->json);
}

/* key 0: the service, which has notes and nothing else. */
static enum rc adding_start_any(struct adding *a, struct ledger *l, uint32_t key, int64_t at_s,
                                struct err *err)
{
    enum rc rc = key == 0 ? ledger_usable(l, err) : ledger_usable_key(l, key, err);
    if (rc != RC_OK)
        return rc;
    MUST(l->in_transaction);
    if (at_s < 0 || at_s > RFC3339_S_MAX)
        return REFUSE_RANGE(err, "the time");
    a->l = l;
    a->e.seq = l->state.size + 1;
    a->e.key = key;
    a->e.key_name = l->keys[key].name;
    a->e.at_s = at_s;
    memcpy(a->e.prev, l->state.heads[key], SHA256_LEN);
    return RC_OK;
}

static enum rc adding_start(struct adding *a, struct ledger *l, uint32_t key, int64_t at_s,
                            struct err *err)
{
    enum rc rc = ledger_usable_key(l, key, err);
    return rc == RC_OK ? adding_start_any(a, l, key, at_s, err) : rc;
}

/* Start a detail row with the two columns that each has. */
static struct binder detail(struct adding *a, enum stmt which)
{
    struct binder b = {.stmt = a->l->stmts[which]};
    bind_u64(&b, a->e.seq);
    bind_i64(&b, a->e.key);
    return b;
}

/* Run an INSERT. SQLITE_DONE, or the constraint that refused it: then SQLite has undone the whole
 * statement and the transaction is as it was before. Everything else is for HALT(). */
static int insert(struct binder *b)
{
    sqlite3_stmt *stmt CLEANUP(stmt_done) = b->stmt;
    return b->status == SQLITE_OK ? sqlite3_step(stmt) : b->status;
}

/* A second one of what may be there once: UNIQUE said so, or a trigger about spent indices. */
static bool is_taken(int s)
{
    return s == SQLITE_CONSTRAINT_UNIQUE || s == SQLITE_CONSTRAINT_PRIMARYKEY;
}

/* The entry itself, behind its detail row: nothing can refuse it any more. */
static enum rc adding_finish(struct adding *a, struct err *err)
{
    struct ledger *l = a->l;
    if (!jcs_finish(&a->json))
        return HALT(l, SQLITE_NOMEM, err, "write entry %" PRIu64 " as JSON", a->e.seq);
    uint8_t hash[SHA256_LEN];
    entry_hash(hash, a->json.text, a->json.len);

    struct binder b = detail(a, STMT_ADD_ENTRY);
    bind_text(&b, a->e.kind);
    bind_i64(&b, a->e.at_s);
    bind_blob(&b, hash, SHA256_LEN);
    bind_text(&b, a->json.text);
    int s = insert(&b);
    if (s != SQLITE_DONE)
        return HALT(l, s, err, "add entry %" PRIu64 " (%s)", a->e.seq, a->e.kind);
    l->state.size = a->e.seq;
    memcpy(l->state.heads[a->e.key], hash, SHA256_LEN);
    return RC_OK;
}

/* Detail rows that no constraint of ours can refuse. */
static enum rc adding_both(struct adding *a, struct binder *b, struct err *err)
{
    int s = insert(b);
    if (s != SQLITE_DONE)
        return HALT(a->l, s, err, "add the row of entry %" PRIu64, a->e.seq);
    return adding_finish(a, err);
}

/* Keys ----------------------------------------------------------------------------------------- */

static enum rc add_created(struct ledger *l, const struct ledger_key *key, int64_t at_s,
                           struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, l, key->id, at_s, err);
    if (rc != RC_OK)
        return rc;
    entry_key(&a.json, &a.e, key);
    return adding_finish(&a, err);
}

static enum rc add_device(struct ledger *l, const struct ledger_key *key, int64_t at_s,
                          struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, l, key->id, at_s, err);
    if (rc != RC_OK)
        return rc;
    entry_device(&a.json, &a.e, key);
    const struct anchor_pins *pins = &key->pins;
    struct binder b = detail(&a, STMT_ADD_DEVICE);
    bind_i64(&b, key->min_window);
    bind_i64(&b, pins->w_handle);
    bind_i64(&b, pins->l_handle);
    bind_i64(&b, pins->a_handle);
    bind_blob(&b, pins->w_name, TPM_NAME_LEN);
    bind_blob(&b, pins->l_name, TPM_NAME_LEN);
    bind_blob(&b, pins->a_name, TPM_NAME_LEN);
    bind_blob(&b, pins->srk_name, TPM_NAME_LEN);
    bind_i64(&b, pins->w_base);
    bind_u64(&b, pins->w_first);
    bind_u64(&b, pins->l_first);
    return adding_both(&a, &b, err);
}

static enum rc key_ok(const struct ledger *l, const struct ledger_key *key, int64_t at_s,
                      struct err *err)
{
    if (!name_valid(key->name))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "not a name for a key");
    if (key->public_key_len < 1 || key->public_key_len > LEDGER_PUBLIC_MAX)
        return REFUSE_RANGE(err, "the length of the public key");
    if (!min_window_ok(key->min_window))
        return REFUSE_RANGE(err, "the lowest window");
    if (!counter_ok(key->pins.w_first) || !counter_ok(key->pins.l_first))
        return REFUSE_RANGE(err, "a counter");
    if (at_s < 0 || at_s > RFC3339_S_MAX)
        return REFUSE_RANGE(err, "the time");
    if (l->state.key_count >= LEDGER_KEYS_MAX)
        return FAIL(err, RC_REFUSED_RANGE, "", 0, "a ledger holds at most %d keys",
                    LEDGER_KEYS_MAX);
    return RC_OK;
}

enum rc ledger_add_key(struct ledger *ledger, struct ledger_key *key, int64_t at_s, struct err *err)
{
    key->id = 0;
    enum rc rc = ledger_usable(ledger, err);
    if (rc == RC_OK)
        rc = key_ok(ledger, key, at_s, err);
    if (rc != RC_OK)
        return rc;
    MUST(ledger->in_transaction);

    /* The row decides whether name and key_id are free, so it comes before all else. */
    uint32_t id = ledger->state.key_count + 1;
    struct binder b = {.stmt = ledger->stmts[STMT_ADD_KEY]};
    bind_i64(&b, id);
    bind_u64(&b, ledger->state.size + 1);
    bind_text(&b, key->name);
    bind_blob(&b, key->key_id, KEY_ID_LEN);
    bind_blob(&b, key->plan_sha256, SHA256_LEN);
    bind_blob(&b, key->public_key, key->public_key_len);
    int s = insert(&b);
    if (is_taken(s))
        return FAIL(err, RC_REFUSED_EXISTS, "sqlite", s, "a key %s, or one with its id, exists",
                    key->name);
    if (s != SQLITE_DONE)
        return HALT(ledger, s, err, "add key %s", key->name);

    ledger->state.key_count = id;
    memcpy(ledger->keys[id].name, key->name, sizeof(key->name));
    memcpy(ledger->keys[id].key_id, key->key_id, KEY_ID_LEN);
    key->id = id;
    key->provisioned_s = at_s;
    rc = add_created(ledger, key, at_s, err);
    if (rc == RC_OK)
        rc = add_device(ledger, key, at_s, err);
    if (rc != RC_OK)
        key->id = 0;
    return rc;
}

enum rc ledger_raise_min_window(struct ledger *ledger, uint32_t key, int64_t min_window,
                                const char *why, int64_t at_s, struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, ledger, key, at_s, err);
    if (rc != RC_OK)
        return rc;
    if (!text_ok(why, LEDGER_TEXT_MAX))
        return REFUSE_TEXT(err, "the reason");
    struct ledger_key now = {0};
    rc = ledger_key_by_id(ledger, key, &now, err);
    if (rc != RC_OK)
        return rc;
    if (min_window <= now.min_window || !min_window_ok(min_window))
        return FAIL(err, RC_REFUSED_RANGE, "", 0,
                    "the lowest window of %s is %" PRId64 " and only rises, not to %" PRId64,
                    now.name, now.min_window, min_window);

    struct ledger_floor floor = {.min_window = min_window};
    (void)snprintf(floor.why, sizeof(floor.why), "%s", why);
    entry_floor(&a.json, &a.e, &floor);
    struct binder b = detail(&a, STMT_ADD_FLOOR);
    bind_i64(&b, min_window);
    bind_text(&b, floor.why);
    return adding_both(&a, &b, err);
}

/* Windows and leases --------------------------------------------------------------------------- */

enum rc ledger_add_window(struct ledger *ledger, uint32_t key, const struct ledger_window *window,
                          int64_t at_s, struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, ledger, key, at_s, err);
    if (rc != RC_OK)
        return rc;
    if (!number_ok(window->window) || !counter_ok(window->w) || !counter_ok(window->l_base))
        return REFUSE_RANGE(err, "the window or a counter");

    entry_window(&a.json, &a.e, window);
    struct binder b = detail(&a, STMT_ADD_WINDOW);
    bind_u64(&b, window->window);
    bind_u64(&b, window->w);
    bind_u64(&b, window->l_base);
    int s = insert(&b);
    if (is_taken(s))
        return FAIL(err, RC_REFUSED_SPENT, "sqlite", s,
                    "window %" PRIu64 " of %s was opened before", window->window, a.e.key_name);
    if (s != SQLITE_DONE)
        return HALT(ledger, s, err, "add window %" PRIu64, window->window);
    return adding_finish(&a, err);
}

enum rc ledger_add_branch(struct ledger *ledger, uint32_t key, struct ledger_branch *branch,
                          const uint8_t *record, int64_t at_s, struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, ledger, key, at_s, err);
    if (rc != RC_OK)
        return rc;
    if (!number_ok(branch->window) || !number_ok(branch->first) || branch->record_len < 1 ||
        branch->record_len > LEDGER_SIGNATURE_MAX)
        return REFUSE_RANGE(err, "a number of the branch");
    digest_buffer(DIGEST_SHA256, branch->record_sha256, record, branch->record_len);
    entry_branch(&a.json, &a.e, branch);
    struct binder b = detail(&a, STMT_ADD_BRANCH);
    bind_u64(&b, branch->window);
    bind_u64(&b, branch->first);
    bind_blob(&b, branch->record_sha256, SHA256_LEN);
    bind_blob(&b, record, branch->record_len);
    int s = insert(&b);
    if (is_taken(s))
        return FAIL(err, RC_REFUSED_SPENT, "sqlite", s,
                    "the branch from index %" PRIu64 " was signed before", branch->first);
    if (s != SQLITE_DONE)
        return HALT(ledger, s, err, "add the branch from index %" PRIu64, branch->first);
    return adding_finish(&a, err);
}

enum rc ledger_add_lease(struct ledger *ledger, uint32_t key, const struct ledger_lease *lease,
                         int64_t at_s, struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, ledger, key, at_s, err);
    if (rc != RC_OK)
        return rc;
    if (!range_ok(lease->first, lease->count) || !number_ok(lease->window) ||
        !number_ok(lease->number) || !counter_ok(lease->epoch))
        return REFUSE_RANGE(err, "the lease");

    entry_lease(&a.json, &a.e, lease);
    struct binder b = detail(&a, STMT_ADD_LEASE);
    bind_u64(&b, lease->epoch);
    bind_u64(&b, lease->window);
    bind_u64(&b, lease->number);
    bind_u64(&b, lease->first);
    bind_u64(&b, lease->count);
    int s = insert(&b);
    if (is_taken(s) || s == SQLITE_CONSTRAINT_TRIGGER)
        return FAIL(err, RC_REFUSED_SPENT, "sqlite", s,
                    "lease of epoch %" PRIu64 ", number %" PRIu64 " in window %" PRIu64
                    ", from index %" PRIu64 ": %s",
                    lease->epoch, lease->number, lease->window, lease->first,
                    sqlite3_errmsg(ledger->db));
    if (s != SQLITE_DONE)
        return HALT(ledger, s, err, "add the lease of epoch %" PRIu64, lease->epoch);
    rc = adding_finish(&a, err);
    if (rc == RC_OK)
        tally_lease(&ledger->tallies, key, lease);
    return rc;
}

/* Intents and receipts ------------------------------------------------------------------------- */

static enum rc intent_ok(const struct ledger_intent *i, struct err *err)
{
    if (!number_ok(i->index) || !number_ok(i->window) || !number_ok(i->line) ||
        !number_ok(i->rank) || !counter_ok(i->epoch) || !counter_ok(i->artifact_size) ||
        i->value_len < 1 || i->value_len > LEDGER_VALUE_MAX)
        return REFUSE_RANGE(err, "a number of the intent");
    if (i->version[0] == '\0' || !text_ok(i->version, LEDGER_VERSION_MAX) ||
        !text_ok(i->slot, NAME_LEN_MAX) || !origin_ok(&i->origin))
        return REFUSE_TEXT(err, "a text of the intent");
    return RC_OK;
}

/* The binding is what may be refused, so it goes in before the intent that it is of. */
static int insert_binding(struct adding *a, const struct ledger_intent *i)
{
    struct binder b = detail(a, STMT_ADD_BINDING);
    bind_u64(&b, i->index);
    bind_u64(&b, i->epoch);
    bind_u64(&b, i->window);
    bind_u64(&b, i->line);
    bind_u64(&b, i->rank);
    bind_text(&b, i->version);
    bind_text(&b, i->slot);
    return insert(&b);
}

static void bind_origin(struct binder *b, const struct ledger_origin *o)
{
    bind_text(b, o->requester);
    bind_text(b, o->request_id);
    bind_text(b, o->idempotency_key);
}

enum rc ledger_add_intent(struct ledger *ledger, uint32_t key, struct ledger_intent *intent,
                          struct err *err)
{
    intent->seq = 0;
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, ledger, key, intent->at_s, err);
    if (rc == RC_OK)
        rc = intent_ok(intent, err);
    if (rc != RC_OK)
        return rc;

    int s = insert_binding(&a, intent);
    if (is_taken(s) || s == SQLITE_CONSTRAINT_TRIGGER)
        return FAIL(err, RC_REFUSED_SPENT, "sqlite", s,
                    "index %" PRIu64 " for version %s, slot %s: %s", intent->index, intent->version,
                    intent->slot, sqlite3_errmsg(ledger->db));
    if (s != SQLITE_DONE)
        return HALT(ledger, s, err, "bind index %" PRIu64, intent->index);

    entry_intent(&a.json, &a.e, intent);
    struct binder b = detail(&a, STMT_ADD_INTENT);
    bind_u64(&b, intent->epoch);
    bind_u64(&b, intent->window);
    bind_u64(&b, intent->index);
    bind_u64(&b, intent->line);
    bind_u64(&b, intent->rank);
    bind_text(&b, intent->version);
    bind_text(&b, intent->slot);
    bind_blob(&b, intent->artifact_sha256, SHA256_LEN);
    bind_u64(&b, intent->artifact_size);
    bind_blob(&b, intent->randomizer, intent->value_len);
    bind_blob(&b, intent->value, intent->remote ? 0 : intent->value_len);
    bind_origin(&b, &intent->origin);
    rc = adding_both(&a, &b, err);
    if (rc != RC_OK)
        return rc;
    intent->seq = a.e.seq;
    tally_intent(&ledger->tallies, key, intent);
    return RC_OK;
}

static enum rc void_one(struct ledger *l, uint32_t key, const struct ledger_intent *intent,
                        int64_t at_s, struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, l, key, at_s, err);
    if (rc != RC_OK)
        return rc;
    struct ledger_void lifted = {.intent = intent->seq, .index = intent->index};
    entry_void(&a.json, &a.e, &lifted);
    struct binder b = detail(&a, STMT_ADD_VOID);
    bind_u64(&b, lifted.intent);
    bind_u64(&b, lifted.index);
    tally_forget(&l->tallies);
    return adding_both(&a, &b, err);
}

enum rc ledger_void_after(struct ledger *ledger, uint32_t key, uint64_t seq, int64_t at_s,
                          uint64_t *count, struct err *err)
{
    *count = 0;
    if (at_s < 0 || at_s > RFC3339_S_MAX)
        return REFUSE_RANGE(err, "the time");
    uint64_t lifted = 0;
    struct ledger_intent intent = {0};
    /* Ends: each round looks behind the intent of the one before. */
    for (uint64_t after = seq;; after = intent.seq, lifted++) {
        bool found = false;
        enum rc rc = next_open_intent(ledger, key, after, &intent, &found, err);
        if (rc == RC_OK && !found)
            break;
        if (rc == RC_OK)
            rc = void_one(ledger, key, &intent, at_s, err);
        if (rc != RC_OK)
            return rc;
    }
    *count = lifted;
    return RC_OK;
}

static enum rc receipt_ok(const struct ledger_receipt *r, struct err *err)
{
    if (!number_ok(r->index) || !number_ok(r->window) || !counter_ok(r->epoch) ||
        !counter_ok(r->artifact_size) || r->signature_len < 1 ||
        r->signature_len > LEDGER_SIGNATURE_MAX || r->caller_hash_len > LEDGER_VALUE_MAX)
        return REFUSE_RANGE(err, "a number of the receipt");
    if (!text_ok(r->version, LEDGER_VERSION_MAX) || !text_ok(r->slot, NAME_LEN_MAX) ||
        !origin_ok(&r->origin))
        return REFUSE_TEXT(err, "a text of the receipt");
    return RC_OK;
}

static int insert_receipt(struct adding *a, const struct ledger_receipt *r,
                          const uint8_t *signature)
{
    struct binder b = detail(a, STMT_ADD_RECEIPT);
    bind_u64(&b, r->epoch);
    bind_u64(&b, r->window);
    bind_u64(&b, r->index);
    bind_blob(&b, r->id, LEDGER_ID_LEN);
    bind_text(&b, r->version);
    bind_text(&b, r->slot);
    bind_blob(&b, r->artifact_sha256, SHA256_LEN);
    bind_u64(&b, r->artifact_size);
    bind_blob(&b, r->signature_sha256, SHA256_LEN);
    bind_blob(&b, r->caller_hash, r->caller_hash_len);
    bind_origin(&b, &r->origin);
    bind_blob(&b, signature, r->signature_len);
    return insert(&b);
}

static enum rc add_receipt(struct ledger *l, uint32_t key, struct ledger_receipt *receipt,
                           const uint8_t *signature, struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, l, key, receipt->at_s, err);
    if (rc == RC_OK)
        rc = receipt_ok(receipt, err);
    if (rc != RC_OK)
        return rc;

    receipt_id(receipt->id, l->keys[key].key_id, receipt->index);
    digest_buffer(DIGEST_SHA256, receipt->signature_sha256, signature, receipt->signature_len);
    int s = insert_receipt(&a, receipt, signature);
    if (is_taken(s))
        return FAIL(err, RC_REFUSED_SPENT, "sqlite", s, "index %" PRIu64 " has a receipt",
                    receipt->index);
    if (s == SQLITE_CONSTRAINT_TRIGGER)
        return FAIL(err, RC_HALT_INVARIANT, "sqlite", s, "receipt for index %" PRIu64 ": %s",
                    receipt->index, sqlite3_errmsg(l->db));
    if (s != SQLITE_DONE)
        return HALT(l, s, err, "add the receipt of index %" PRIu64, receipt->index);
    entry_receipt(&a.json, &a.e, receipt);
    rc = adding_finish(&a, err);
    if (rc != RC_OK)
        return rc;
    receipt->seq = a.e.seq;
    tally_receipt(&l->tallies, key, receipt);
    return RC_OK;
}

enum rc ledger_add_receipt(struct ledger *ledger, uint32_t key, struct ledger_receipt *receipt,
                           const uint8_t *signature, size_t signature_len, struct err *err)
{
    receipt->seq = 0;
    receipt->signature_len = signature_len;
    enum rc rc = add_receipt(ledger, key, receipt, signature, err);
    if (rc != RC_OK) {
        memset(receipt->id, 0, LEDGER_ID_LEN);
        memset(receipt->signature_sha256, 0, SHA256_LEN);
        receipt->signature_len = 0;
    }
    return rc;
}

/* Reservations --------------------------------------------------------------------------------- */

static enum rc reservation_ok(const struct ledger_reservation *r, struct err *err)
{
    if (!number_ok(r->index) || !number_ok(r->window) || !counter_ok(r->epoch) ||
        !counter_ok(r->intent) || r->expires_s < 0 || r->expires_s > RFC3339_S_MAX)
        return REFUSE_RANGE(err, "a number of the reservation");
    if (!origin_ok(&r->origin))
        return REFUSE_TEXT(err, "a text of the reservation");
    return RC_OK;
}

static int insert_reservation(struct adding *a, const struct ledger_reservation *r)
{
    struct binder b = detail(a, STMT_ADD_RESERVATION);
    bind_u64(&b, r->epoch);
    bind_u64(&b, r->window);
    bind_u64(&b, r->index);
    bind_blob(&b, r->id, LEDGER_ID_LEN);
    bind_u64(&b, r->intent);
    bind_blob(&b, r->artifact_sha256, SHA256_LEN);
    bind_i64(&b, r->expires_s);
    bind_origin(&b, &r->origin);
    return insert(&b);
}

static enum rc add_reservation(struct ledger *l, uint32_t key,
                               struct ledger_reservation *reservation, struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, l, key, reservation->at_s, err);
    if (rc == RC_OK)
        rc = reservation_ok(reservation, err);
    if (rc != RC_OK)
        return rc;
    receipt_id(reservation->id, l->keys[key].key_id, reservation->index);
    int s = insert_reservation(&a, reservation);
    if (is_taken(s))
        return FAIL(err, RC_REFUSED_SPENT, "sqlite", s, "index %" PRIu64 " is reserved",
                    reservation->index);
    if (s == SQLITE_CONSTRAINT_TRIGGER)
        return FAIL(err, RC_HALT_INVARIANT, "sqlite", s, "reservation of index %" PRIu64 ": %s",
                    reservation->index, sqlite3_errmsg(l->db));
    if (s != SQLITE_DONE)
        return HALT(l, s, err, "add the reservation of index %" PRIu64, reservation->index);
    entry_reservation(&a.json, &a.e, reservation);
    rc = adding_finish(&a, err);
    if (rc != RC_OK)
        return rc;
    reservation->seq = a.e.seq;
    tally_reservation(&l->tallies, key, reservation);
    return RC_OK;
}

enum rc ledger_add_reservation(struct ledger *ledger, uint32_t key,
                               struct ledger_reservation *reservation, struct err *err)
{
    reservation->seq = 0;
    enum rc rc = add_reservation(ledger, key, reservation, err);
    if (rc != RC_OK)
        memset(reservation->id, 0, LEDGER_ID_LEN);
    return rc;
}

/* Attestations --------------------------------------------------------------------------------- */

enum rc ledger_add_attest_keys(struct ledger *ledger, uint32_t key, const struct attest_keys *keys,
                               int64_t at_s, struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, ledger, key, at_s, err);
    if (rc != RC_OK)
        return rc;
    entry_attest_keys(&a.json, &a.e, keys);
    struct binder b = detail(&a, STMT_ADD_ATTEST_KEYS);
    bind_blob(&b, keys->ak.name, TPM_NAME_LEN);
    bind_blob(&b, keys->ak.point, P256_POINT_LEN);
    bind_blob(&b, keys->ek.name, TPM_NAME_LEN);
    bind_blob(&b, keys->ek.point, P256_POINT_LEN);
    return adding_both(&a, &b, err);
}

enum rc ledger_add_attestation(struct ledger *ledger, uint32_t key, uint64_t receipt,
                               const char *document, int64_t at_s, struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, ledger, key, at_s, err);
    if (rc != RC_OK)
        return rc;
    struct ledger_attestation attestation = {
        .receipt = receipt, .document_len = strnlen(document, LEDGER_ATTESTATION_MAX + 1)};
    if (attestation.document_len < 1 || attestation.document_len > LEDGER_ATTESTATION_MAX ||
        !text_ok(document, LEDGER_ATTESTATION_MAX) || !counter_ok(receipt))
        return REFUSE_TEXT(err, "the attestation");
    digest_buffer(DIGEST_SHA256, attestation.document_sha256, document, attestation.document_len);
    entry_attestation(&a.json, &a.e, &attestation);
    struct binder b = detail(&a, STMT_ADD_ATTESTATION);
    bind_u64(&b, receipt);
    bind_blob(&b, attestation.document_sha256, SHA256_LEN);
    bind_text(&b, document);
    int s = insert(&b);
    if (is_taken(s))
        return FAIL(err, RC_REFUSED_SPENT, "sqlite", s, "receipt %" PRIu64 " has an attestation",
                    receipt);
    if (s == SQLITE_CONSTRAINT_TRIGGER)
        return FAIL(err, RC_HALT_INVARIANT, "sqlite", s, "attestation of entry %" PRIu64 ": %s",
                    receipt, sqlite3_errmsg(ledger->db));
    if (s != SQLITE_DONE)
        return HALT(ledger, s, err, "add the attestation of entry %" PRIu64, receipt);
    return adding_finish(&a, err);
}

/* Burns and notes ------------------------------------------------------------------------------ */

enum rc ledger_add_burn(struct ledger *ledger, uint32_t key, uint64_t window, uint64_t first,
                        uint64_t count, const char *why, int64_t at_s, struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start(&a, ledger, key, at_s, err);
    if (rc != RC_OK)
        return rc;
    if (!number_ok(window) || !range_ok(first, count))
        return REFUSE_RANGE(err, "the window or an index");
    if (!text_ok(why, LEDGER_TEXT_MAX))
        return REFUSE_TEXT(err, "the reason");

    bool again = true; /* of more than one index nobody looks which */
    if (count == 1)
        rc = ledger_is_burned(ledger, key, first, &again, err);
    if (rc != RC_OK)
        return rc;
    struct ledger_burn burn = {.window = window, .first = first, .count = count};
    (void)snprintf(burn.why, sizeof(burn.why), "%s", why);
    entry_burn(&a.json, &a.e, &burn);
    struct binder b = detail(&a, STMT_ADD_BURN);
    bind_u64(&b, window);
    bind_u64(&b, first);
    bind_u64(&b, count);
    bind_text(&b, burn.why);
    rc = adding_both(&a, &b, err);
    if (rc == RC_OK)
        tally_burn(&ledger->tallies, key, &burn, again);
    return rc;
}

enum rc ledger_add_note(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                        const char *what, const char *text, int64_t number, int64_t at_s,
                        struct err *err)
{
    struct adding a CLEANUP(adding_wipe) = {0};
    enum rc rc = adding_start_any(&a, ledger, key, at_s, err);
    if (rc != RC_OK)
        return rc;
    MUST(kind >= LEDGER_REFUSAL && kind <= LEDGER_INCIDENT);
    if (what[0] == '\0' || !token_valid(what, NAME_LEN_MAX))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "not a name for a note");
    /* The entry "operation-recover" raises the floor; a note must not look like one. */
    if (kind == LEDGER_OPERATION && strcmp(what, "recover") == 0)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "operation-recover is no note");
    if (!text_ok(text, LEDGER_TEXT_MAX))
        return REFUSE_TEXT(err, "the text of the note");

    struct ledger_note note = {.kind = kind, .number = number};
    (void)snprintf(note.what, sizeof(note.what), "%s", what);
    (void)snprintf(note.text, sizeof(note.text), "%s", text);
    entry_note(&a.json, &a.e, &note);
    struct binder b = detail(&a, STMT_ADD_NOTE);
    bind_i64(&b, (int64_t)kind);
    bind_text(&b, note.what);
    bind_i64(&b, number);
    bind_text(&b, note.text);
    return adding_both(&a, &b, err);
}
