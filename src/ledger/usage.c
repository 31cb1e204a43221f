#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "ledger/internal.h"
/* Windows, leases, burns ----------------------------------------------------------------------- */

static enum rc count_used(struct ledger *l, struct tally *t, struct err *err)
{
    struct binder b CLEANUP(binder_done) = question(l, STMT_USAGE, t->key);
    bind_u64(&b, t->window);
    enum rc rc = question_one(l, &b, err);
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
    struct binder b CLEANUP(binder_done) = question(l, STMT_USED_BY, t->key);
    bind_u64(&b, t->window);
    bind_text(&b, t->requester);
    enum rc rc = question_one(l, &b, err);
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

static enum rc count_key(struct ledger *l, uint32_t key, struct ledger_totals *totals,
                         struct err *err);

static bool same_totals(const struct ledger_totals *a, const struct ledger_totals *b)
{
    bool same = a->leased == b->leased && a->receipts == b->receipts && a->burned == b->burned;
    for (size_t i = 0; i < BURN_COUNT; i++)
        same = same && a->burned_by[i] == b->burned_by[i];
    return same;
}

static enum rc check_keys(struct ledger *l, struct err *err)
{
    for (uint32_t key = 1; key <= l->state.key_count; key++) {
        const struct key_tally *kept = &l->tallies.keys[key];
        struct ledger_totals totals = {0};
        if (!kept->counted)
            continue;
        enum rc rc = count_key(l, key, &totals, err);
        if (rc != RC_OK)
            return rc;
        if (!same_totals(&totals, &kept->totals))
            return HALT(l, 0, err, "what is counted of '%s' differs from the tables",
                        l->keys[key].name);
    }
    return RC_OK;
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
    return check_keys(l, err);
}

/* Burns may overlap. They come in order of their first index, so one sweep counts each index once.
 * by: NULL where the rows have no reasons. */
static enum rc sweep_burns(struct ledger *l, const struct binder *b, uint64_t *burned, uint64_t *by,
                           struct err *err)
{
    uint64_t swept = 0; /* every index below it is counted */
    for (;;) {
        bool found = false;
        enum rc rc = question_next(l, b, &found, err);
        if (rc != RC_OK || !found)
            return rc;
        struct row r = {.stmt = b->stmt};
        uint64_t first = row_u64(&r);
        uint64_t end = first + row_u64(&r);
        char why[LEDGER_TEXT_MAX + 1] = "";
        if (by != NULL)
            row_text(&r, why, sizeof(why));
        rc = row_good(l, &r, err);
        if (rc != RC_OK)
            return rc;
        if (end <= swept)
            continue;
        uint64_t count = end - (first > swept ? first : swept);
        *burned += count;
        if (by != NULL)
            by[burn_reason_of(why)] += count;
        swept = end;
    }
}

static enum rc count_burned(struct ledger *l, uint32_t key, uint64_t window, uint64_t *burned,
                            struct err *err)
{
    struct binder b CLEANUP(binder_done) = question(l, STMT_BURNS, key);
    bind_u64(&b, window);
    return sweep_burns(l, &b, burned, NULL, err);
}

static enum rc count_burned_of_key(struct ledger *l, uint32_t key, struct ledger_totals *totals,
                                   struct err *err)
{
    struct binder b CLEANUP(binder_done) = question(l, STMT_KEY_BURNS, key);
    return sweep_burns(l, &b, &totals->burned, totals->burned_by, err);
}

static enum rc count_key(struct ledger *l, uint32_t key, struct ledger_totals *totals,
                         struct err *err)
{
    struct binder b CLEANUP(binder_done) = question(l, STMT_KEY_TOTALS, key);
    enum rc rc = question_one(l, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    totals->leased = row_u64(&r);
    totals->receipts = row_u64(&r);
    rc = row_good(l, &r, err);
    return rc == RC_OK ? count_burned_of_key(l, key, totals, err) : rc;
}

enum rc ledger_key_totals(struct ledger *ledger, uint32_t key, struct ledger_totals *totals,
                          struct err *err)
{
    *totals = (struct ledger_totals){0};
    struct ledger_totals found = {0};
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    struct key_tally *kept = &ledger->tallies.keys[key];
    if (!kept->counted) {
        rc = count_key(ledger, key, &found, err);
        if (rc != RC_OK)
            return rc;
        *kept = (struct key_tally){.counted = true, .totals = found};
    }
    *totals = kept->totals;
    return RC_OK;
}

static enum rc read_opened(struct ledger *l, uint32_t key, uint64_t window,
                           struct ledger_usage *usage, struct err *err)
{
    struct binder b CLEANUP(binder_done) = question(l, STMT_WINDOW, key);
    bind_u64(&b, window);
    enum rc rc = question_next(l, &b, &usage->opened, err);
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
    if (rc != RC_OK || is_beyond(window))
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
    if (rc != RC_OK || is_beyond(window))
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
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_RECEIPT_TIMES, key);
    while (*count < max) {
        char who[LEDGER_TEXT_MAX + 1];
        bool found = false;
        rc = question_next(ledger, &b, &found, err);
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
    struct binder b CLEANUP(binder_done) = question(l, STMT_LEASE_OF_INDEX, key);
    bind_u64(&b, index);
    enum rc rc = question_next(l, &b, found, err);
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
    if (!is_beyond(index))
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
    if (rc != RC_OK || is_beyond(index))
        return rc;
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_IS_BURNED, key);
    bind_u64(&b, index);
    rc = question_one(ledger, &b, err);
    if (rc != RC_OK)
        return rc;
    struct row r = {.stmt = b.stmt};
    *burned = row_i64(&r) != 0;
    return row_good(ledger, &r, err);
}

enum rc ledger_burn_of_index(struct ledger *ledger, uint32_t key, uint64_t index,
                             char why[LEDGER_TEXT_MAX + 1], struct err *err)
{
    why[0] = '\0';
    bool found = false;
    enum rc rc = ledger_usable_key(ledger, key, err);
    if (rc != RC_OK)
        return rc;
    if (is_beyond(index))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "index %" PRIu64 " is not burned", index);
    struct binder b CLEANUP(binder_done) = question(ledger, STMT_BURN_OF_INDEX, key);
    bind_u64(&b, index);
    rc = question_next(ledger, &b, &found, err);
    if (rc != RC_OK)
        return rc;
    if (!found)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "index %" PRIu64 " is not burned", index);
    struct row r = {.stmt = b.stmt};
    row_text(&r, why, LEDGER_TEXT_MAX + 1);
    rc = row_good(ledger, &r, err);
    if (rc != RC_OK)
        why[0] = '\0';
    return rc;
}
