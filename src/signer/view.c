#include "signer/view.h"

#include <inttypes.h>
#include <string.h>

#include "hbs/spki.h"
#include "signer/advance.h"
#include "signer/catchup.h"
#include "signer/exhaustion.h"
#include "signer/reserve.h"
#include "signer/scheme.h"
#include "signer/wear.h"

#define NEXT_TRIES_MAX 1000

void view_signature(const struct key *key, const struct ledger_receipt *r, struct signature_view *v)
{
    *v = (struct signature_view){.window = r->window,
                                 .index = r->index,
                                 .artifact_size = r->artifact_size,
                                 .signed_at_s = r->at_s,
                                 /* DESIGN section 1: the counter's value minus its base. */
                                 .epoch = r->epoch - key->record.pins.l_first,
                                 .log_index = r->seq - 1};
    memcpy(v->id, r->id, sizeof(v->id));
    text_copy(v->key, sizeof(v->key), key->record.name);
    text_copy(v->version, sizeof(v->version), r->version);
    text_copy(v->slot, sizeof(v->slot), r->slot);
    memcpy(v->plan_sha256, key->plan.sha256, SHA256_LEN);
    memcpy(v->artifact_sha256, r->artifact_sha256, SHA256_LEN);
    text_copy(v->request_id, sizeof(v->request_id), r->origin.request_id);
}

/* Counting ------------------------------------------------------------------------------------ */

/* Indices of a time or interval window whose lease numbers have passed. */
static uint64_t passed(const struct key *key)
{
    uint64_t leases = key->l - key->a.l_base;
    uint64_t usable = key->plan.window_usable;
    uint64_t size = key->plan.lease_size;
    uint64_t gone = leases > usable / size ? usable : leases * size;
    if (gone > usable)
        gone = usable;
    return gone - (key->lease.count - key->lease.next);
}

/* Lowest window that may still sign, per-line plans aside: the floor in the TPM, what recovery
 * left, and for time plans the window of now. window_count if none is left. */
static uint64_t lowest_left(const struct key *key, int64_t now_s)
{
    int64_t lowest = key_floor(key) > 0 ? key_floor(key) : 0;
    if (lowest < key->record.min_window)
        lowest = key->record.min_window;
    if (key->plan.kind == PLAN_TIME && now_s >= key->plan.start_s) {
        uint64_t now = 0;
        if (plan_window_at(&key->plan, now_s, &now, NULL) != RC_OK)
            now = key->plan.window_count;
        if (lowest < (int64_t)now)
            lowest = (int64_t)now;
    }
    return (uint64_t)lowest < key->plan.window_count ? (uint64_t)lowest : key->plan.window_count;
}

static bool may_still_sign(const struct key *key, uint64_t window, int64_t now_s)
{
    if (key->plan.kind == PLAN_VERSION && key->plan.order == PLAN_PER_LINE)
        return (int64_t)window >= key->record.min_window;
    return window >= lowest_left(key, now_s);
}

static uint64_t left_in_window(const struct key *key, struct ledger *ledger, uint64_t window,
                               int64_t now_s)
{
    if (window >= key->plan.window_count || !may_still_sign(key, window, now_s))
        return 0;
    uint64_t usable = key->plan.window_usable;
    if (key->plan.kind != PLAN_VERSION)
        return (int64_t)window == key_floor(key) ? usable - passed(key) : usable;
    struct ledger_usage usage;
    if (ledger_window_usage(ledger, key->record.id, window, &usage, NULL) != RC_OK)
        return 0;
    return usage.bound < usable ? usable - usage.bound : 0;
}

void view_remaining(const struct key *key, struct ledger *ledger, uint64_t window, int64_t now_s,
                    uint64_t *in_window, uint64_t *in_key)
{
    uint64_t lowest = lowest_left(key, now_s);
    *in_window = left_in_window(key, ledger, window, now_s);
    *in_key = 0;
    if (lowest < key->plan.window_count)
        *in_key = left_in_window(key, ledger, lowest, now_s) +
                  (key->plan.window_count - lowest - 1) * key->plan.window_usable;
}

int64_t view_export_limit(const struct key *key, struct ledger *ledger, int64_t margin)
{
    int64_t smallest = 0;
    int64_t largest = 0;
    if (key->plan.kind == PLAN_TIME)
        return REQUEST_NONE;
    enum rc rc = ledger_note_range(ledger, key->record.id, LEDGER_OPERATION, "backup-export",
                                   &smallest, &largest, NULL);
    if (rc == RC_REFUSED_NOT_FOUND)
        return REQUEST_NONE;
    /* Any replacement was made from an export, so from the oldest at the least. */
    int64_t limit = rc == RC_OK ? smallest : 0;
    rc = ledger_note_range(ledger, key->record.id, LEDGER_ACKNOWLEDGEMENT, "backup-export",
                           &smallest, &largest, NULL);
    if (rc == RC_OK && largest > limit)
        limit = largest;
    return limit + margin;
}

/* Time ---------------------------------------------------------------------------------------- */

static uint64_t window_at(const struct plan *plan, int64_t at_s)
{
    uint64_t window = 0;
    if (at_s < plan->start_s)
        return 0;
    return plan_window_at(plan, at_s, &window, NULL) == RC_OK ? window : plan->window_count;
}

void view_clock_loss(const struct key *key, struct ledger *ledger, int64_t from_s, int64_t to_s,
                     uint64_t *windows, uint64_t *one_time_keys)
{
    *windows = 0;
    *one_time_keys = 0;
    if (key->plan.window_size == 0 || key->plan.kind != PLAN_TIME)
        return;
    uint64_t first = window_at(&key->plan, from_s);
    uint64_t lowest = lowest_left(key, key->plan.start_s);
    uint64_t end = window_at(&key->plan, to_s);
    if (first < lowest)
        first = lowest;
    if (end <= first)
        return;
    *windows = end - first;
    *one_time_keys = left_in_window(key, ledger, first, key->plan.start_s) +
                     (*windows - 1) * key->plan.window_usable;
}

/* Versions ------------------------------------------------------------------------------------ */

static bool free_and_allowed(const struct key *key, struct ledger *ledger, const char *version,
                             const char *slot)
{
    struct plan_place place;
    struct plan_marks marks;
    struct ledger_intent intent;
    if (plan_place_version(&key->plan, version, slot, &place, NULL) != RC_OK ||
        !may_still_sign(key, place.window, 0) ||
        ledger_line_marks(ledger, key->record.id, place.line, &marks.rank, &marks.window, NULL) !=
            RC_OK ||
        plan_order_check(&key->plan, &place, &marks, REQUEST_NONE, NULL) != RC_OK)
        return false;
    return ledger_intent_by_index(ledger, key->record.id, place.index, &intent, NULL) ==
           RC_REFUSED_NOT_FOUND;
}

void view_next_version(const struct key *key, struct ledger *ledger, const char *version,
                       const char *slot, char next[REQUEST_VERSION_MAX + 1])
{
    char from[REQUEST_VERSION_MAX + 1];
    text_copy(from, sizeof(from), version);
    for (unsigned i = 0; i < NEXT_TRIES_MAX; i++) {
        if (plan_next_version(&key->plan, from, next, NULL) != RC_OK)
            break;
        if (free_and_allowed(key, ledger, next, slot))
            return;
        text_copy(from, sizeof(from), next);
    }
    next[0] = '\0';
}

/* Burned indices ------------------------------------------------------------------------------ */

/* What the lease in hand may still sign. */
static uint64_t in_hand(const struct key *key, int64_t now_s)
{
    bool over = key->lease.epoch == 0 || !may_still_sign(key, key->lease.window, now_s);
    return over ? 0 : key->lease.count - key->lease.next;
}

/* By reason, and in all. The rests of leases have no entries: they are what was leased, and is
 * neither signed, nor in an entry, nor still to come. */
static void view_burns(const struct key *key, const struct ledger_totals *totals, int64_t now_s,
                       struct view_key *v)
{
    _Static_assert(sizeof(v->burned_by) == sizeof(totals->burned_by), "the same reasons");
    memcpy(v->burned_by, totals->burned_by, sizeof(v->burned_by));
    if (key->plan.kind != PLAN_VERSION) {
        uint64_t known =
            totals->receipts + totals->burned + in_hand(key, now_s) + reserve_not_burned(key);
        v->burned_by[BURN_LEASE] = totals->leased > known ? totals->leased - known : 0;
    }
    for (unsigned i = 0; i < BURN_COUNT; i++)
        v->burned_total += v->burned_by[i];
}

/* Keys ---------------------------------------------------------------------------------------- */

static uint32_t key_state(const struct key *key, struct ledger *ledger,
                          const struct key_settings *settings, int64_t now_s)
{
    switch (rc_class(key->rc)) {
    case RC_CLASS_OK:
        break;
    case RC_CLASS_RETRY:
        return STATE_RECOVERING;
    case RC_CLASS_REFUSED:
    case RC_CLASS_BURNED:
    case RC_CLASS_HALT:
        return STATE_HALTED;
    }
    char text[CATCH_UP_TEXT];
    if (catching_up(key, text))
        return STATE_RECOVERING;
    if (exhaustion_waits(key, ledger, settings, now_s) != 0)
        return STATE_ACK_REQUIRED;
    int64_t last = (int64_t)key->plan.window_count - 1;
    return key_floor(key) > last ? STATE_EXHAUSTED : STATE_OPERATIONAL;
}

void view_key(const struct key *key, struct ledger *ledger, const struct key_settings *settings,
              int64_t now_s, struct view_key *v)
{
    *v = (struct view_key){.state = key_state(key, ledger, settings, now_s),
                           .floor = REQUEST_NONE,
                           .open_window = REQUEST_NONE,
                           .early_window = REQUEST_NONE,
                           .export_limit = REQUEST_NONE,
                           .min_window = key->record.min_window};
    text_copy(v->name, sizeof(v->name), key->record.name);
    memcpy(v->key_id, key->record.key_id, KEY_ID_LEN);
    memcpy(v->plan_sha256, key->record.plan_sha256, SHA256_LEN);
    v->scheme = key->plan.scheme;
    memcpy(v->public_key, key->record.public_key, key->record.public_key_len);
    v->public_key_len = (uint32_t)key->record.public_key_len;
    _Static_assert(LEDGER_PUBLIC_MAX + 40 <= sizeof(v->spki), "room for SubjectPublicKeyInfo");
    v->spki_len =
        (uint32_t)spki_der_print(v->spki, scheme_of(&key->plan), v->public_key, v->public_key_len);
    wear_view(key, settings->nv_endurance, now_s, &v->wear);
    struct ledger_totals totals = {0};
    if (ledger_key_totals(ledger, key->record.id, &totals, NULL) == RC_OK) {
        v->signed_total = totals.receipts;
        view_burns(key, &totals, now_s, v);
    }
    if (key->rc != RC_OK) {
        text_copy(v->reason, sizeof(v->reason), err_text(&key->err));
        return;
    }
    (void)catching_up(key, v->reason);
    int64_t floor = key_floor(key);
    v->floor = floor < 0 ? REQUEST_NONE : floor;
    v->epoch = key->l - key->record.pins.l_first;
    v->export_limit = view_export_limit(key, ledger, settings->export_margin);
    uint64_t window = 0;
    if (key->plan.kind == PLAN_TIME && plan_window_at(&key->plan, now_s, &window, NULL) == RC_OK)
        v->open_window = (int64_t)window;
    if (key_opened_early(key) && floor > v->open_window)
        v->open_window = v->early_window = floor;
    uint64_t shown = v->open_window != REQUEST_NONE ? (uint64_t)v->open_window
                     : floor < 0                    ? 0
                                                    : (uint64_t)floor;
    view_remaining(key, ledger, shown, now_s, &v->remaining_window, &v->remaining_key);
}

/*
 * Of a window, reserved without a receipt: burned, except what the lease in hand may still sign.
 * @param[in] over  It signs nothing any more.
 */
static uint64_t burned_in(const struct key *key, const struct ledger_usage *usage, uint64_t window,
                          bool over)
{
    uint64_t reserved = key->plan.kind == PLAN_VERSION ? usage->bound : usage->leased;
    uint64_t in_hand = !over && key->lease.epoch != 0 && key->lease.window == window
                           ? key->lease.count - key->lease.next
                           : 0;
    uint64_t done = usage->receipts + in_hand + reserve_open_in(key, window);
    return reserved > done ? reserved - done : 0;
}

void view_meter(const struct key *key, struct ledger *ledger, const struct key_settings *settings,
                int64_t now_s, struct view_meter *m)
{
    *m = (struct view_meter){.kind = key->plan.kind,
                             .window = REQUEST_NONE,
                             .opens_s = REQUEST_NONE,
                             .ends_s = REQUEST_NONE,
                             .exhausted_s = REQUEST_NONE,
                             .burst = key->limits.burst,
                             .per_hour = key->limits.per_hour,
                             .window_max = key->limits.window_max};
    view_key(key, ledger, settings, now_s, &m->key);
    /* Seeds and trees of all windows were made with the key; an export may be due before. */
    m->prepared_until = (int64_t)key->plan.window_count - 1;
    if (m->key.export_limit != REQUEST_NONE && m->key.export_limit < m->prepared_until)
        m->prepared_until = m->key.export_limit;
    m->window = m->key.open_window != REQUEST_NONE ? m->key.open_window : m->key.floor;
    struct ledger_usage usage;
    if (key->plan.window_size == 0 || m->window < 0 ||
        (uint64_t)m->window >= key->plan.window_count ||
        ledger_window_usage(ledger, key->record.id, (uint64_t)m->window, &usage, NULL) != RC_OK)
        return;
    m->capacity = key->plan.window_usable;
    m->used = usage.receipts;
    m->burned = burned_in(key, &usage, (uint64_t)m->window,
                          !may_still_sign(key, (uint64_t)m->window, now_s));
    if (key->plan.kind == PLAN_TIME)
        plan_window_times(&key->plan, (uint64_t)m->window, &m->opens_s, &m->ends_s);
}

/* Windows ------------------------------------------------------------------------------------- */

static uint32_t window_state(const struct key *key, uint64_t window, bool opened, int64_t now_s,
                             const struct view_window *v)
{
    if (!may_still_sign(key, window, now_s))
        return opened ? WINDOW_CLOSED : WINDOW_SKIPPED;
    bool early = key_opened_early(key) && (int64_t)window == key_floor(key);
    if (key->plan.kind == PLAN_TIME)
        return early || now_s >= v->opens_s ? WINDOW_OPEN : WINDOW_FUTURE;
    if (key->plan.kind == PLAN_VERSION && key->plan.order == PLAN_PER_LINE)
        return opened || v->signatures > 0 ? WINDOW_OPEN : WINDOW_FUTURE;
    return (int64_t)window == key_floor(key) ? WINDOW_OPEN : WINDOW_FUTURE;
}

/* How much before its start a window was opened by an advance-window. A window that a recovery
 * opened has no such note. */
static enum rc lead_of(const struct key *key, struct ledger *ledger,
                       const struct ledger_usage *usage, struct view_window *v, struct err *err)
{
    int64_t at_s = 0;
    if (key->plan.kind != PLAN_TIME || !usage->opened || usage->opened_at_s >= v->opens_s)
        return RC_OK;
    enum rc rc = ledger_note_time(ledger, key->record.id, LEDGER_OPERATION, ADVANCE_NOTE,
                                  (int64_t)v->window, &at_s, err);
    if (rc == RC_OK && at_s < v->opens_s)
        v->lead_s = v->opens_s - at_s;
    return rc == RC_REFUSED_NOT_FOUND ? RC_OK : rc;
}

static enum rc one_window(const struct key *key, struct ledger *ledger, uint64_t window,
                          int64_t now_s, struct view_window *v, struct err *err)
{
    struct ledger_usage usage;
    enum rc rc = ledger_window_usage(ledger, key->record.id, window, &usage, err);
    if (rc != RC_OK)
        return rc;
    *v = (struct view_window){.window = window,
                              .opens_s = REQUEST_NONE,
                              .closes_s = REQUEST_NONE,
                              .first_index = plan_window_first(&key->plan, window),
                              .size = key->plan.window_size,
                              .usable = key->plan.window_usable,
                              .signatures = usage.receipts};
    plan_window_label(&key->plan, window, v->label);
    if (key->plan.kind == PLAN_TIME)
        plan_window_times(&key->plan, window, &v->opens_s, &v->closes_s);
    v->state = window_state(key, window, usage.opened, now_s, v);
    v->remaining = left_in_window(key, ledger, window, now_s);
    v->burned =
        burned_in(key, &usage, window, v->state == WINDOW_CLOSED || v->state == WINDOW_SKIPPED);
    v->reserved = reserve_open_in(key, window);
    uint64_t accounted = v->signatures + v->burned + v->remaining + v->reserved;
    v->given_up = v->usable > accounted ? v->usable - accounted : 0;
    return lead_of(key, ledger, &usage, v, err);
}

enum rc view_windows(const struct key *key, struct ledger *ledger, int64_t from, int64_t to,
                     int64_t now_s, struct view_window *views, size_t *count, int64_t *next,
                     struct err *err)
{
    *count = 0;
    *next = REQUEST_NONE;
    int64_t end = (int64_t)key->plan.window_count - 1;
    if (to > end)
        to = end;
    for (int64_t w = from; w <= to; w++) {
        if (*count == REQUEST_LIST_MAX) {
            *next = w;
            break;
        }
        enum rc rc = one_window(key, ledger, (uint64_t)w, now_s, &views[*count], err);
        if (rc != RC_OK)
            return rc;
        ++*count;
    }
    return RC_OK;
}

/* Versions and indices ------------------------------------------------------------------------ */

static enum rc version_entry(const struct key *key, struct ledger *ledger, uint64_t index,
                             struct view_version *v, struct err *err)
{
    *v = (struct view_version){.index = index, .state = INDEX_UNUSED};
    enum rc rc = plan_version_of_index(&key->plan, index, v->version, v->slot, err);
    if (rc == RC_OK)
        rc = plan_window_of_index(&key->plan, index, &v->window, err);
    if (rc != RC_OK)
        return rc;
    struct ledger_intent intent;
    rc = ledger_intent_by_index(ledger, key->record.id, index, &intent, NULL);
    if (rc == RC_REFUSED_NOT_FOUND) {
        v->state = may_still_sign(key, v->window, 0) ? INDEX_UNUSED : INDEX_GIVEN_UP;
        return RC_OK;
    }
    if (rc != RC_OK)
        return FAIL(err, rc, "", 0, "the ledger cannot be read");
    memcpy(v->artifact_sha256, intent.artifact_sha256, SHA256_LEN);
    v->state = reserve_of_index(key, index) != NULL ? INDEX_LEASED : INDEX_BURNED;
    v->reason = BURN_OTHER;
    struct ledger_receipt receipt;
    rc = ledger_receipt_by_index(ledger, key->record.id, index, &receipt, NULL, NULL);
    if (rc == RC_OK) {
        v->state = INDEX_SIGNED;
        v->signed_at_s = receipt.at_s;
        memcpy(v->id, receipt.id, sizeof(v->id));
    }
    if (rc == RC_REFUSED_NOT_FOUND && v->state == INDEX_BURNED) {
        char why[LEDGER_TEXT_MAX + 1];
        rc = ledger_burn_of_index(ledger, key->record.id, index, why, NULL);
        v->reason = burn_reason_of(why);
    }
    return rc == RC_REFUSED_NOT_FOUND ? RC_OK : rc;
}

static enum rc whole_version(const struct key *key, struct ledger *ledger, const char *version,
                             struct view_version *views, size_t *count, struct err *err)
{
    for (uint32_t i = 0; i < key->plan.slot_count; i++) {
        struct plan_place place;
        const char *slot = key->plan.slots_named ? key->plan.slots[i] : "";
        enum rc rc = plan_place_version(&key->plan, version, slot, &place, err);
        if (rc == RC_OK)
            rc = version_entry(key, ledger, place.index, &views[*count], err);
        if (rc != RC_OK)
            return rc;
        ++*count;
    }
    return RC_OK;
}

#define BINDINGS_AT_ONCE 64

/* "4.2" stands for 4.2.0, 4.2.1 …, and not for 4.20: a prefix ends at a component. */
static bool has_prefix(const char *version, const char *prefix)
{
    size_t len = strlen(prefix);
    if (len == 0)
        return true;
    if (strncmp(version, prefix, len) != 0)
        return false;
    return version[len] == '\0' || version[len] == '.' || prefix[len - 1] == '.';
}

enum rc view_versions(const struct key *key, struct ledger *ledger, const char *prefix,
                      int64_t from, struct view_version *views, size_t *count, int64_t *next,
                      struct err *err)
{
    *count = 0;
    *next = REQUEST_NONE;
    if (key->plan.kind != PLAN_VERSION)
        return FAIL(err, RC_REFUSED_OUTSIDE_PLAN, "", 0, "this key does not sign by version");
    struct plan_place place;
    const char *slot = key->plan.slots_named ? key->plan.slots[0] : "";
    if (plan_place_version(&key->plan, prefix, slot, &place, NULL) == RC_OK)
        return whole_version(key, ledger, prefix, views, count, err);
    static struct ledger_intent found[BINDINGS_AT_ONCE];
    uint64_t at = from > 0 ? (uint64_t)from : 0;
    size_t got = BINDINGS_AT_ONCE;
    while (got == BINDINGS_AT_ONCE) {
        enum rc rc =
            ledger_bindings(ledger, key->record.id, at, found, BINDINGS_AT_ONCE, &got, err);
        if (rc != RC_OK)
            return rc;
        for (size_t i = 0; i < got; i++) {
            at = found[i].index + 1;
            if (!has_prefix(found[i].version, prefix))
                continue;
            if (*count == REQUEST_LIST_MAX) {
                *next = (int64_t)found[i].index;
                return RC_OK;
            }
            rc = version_entry(key, ledger, found[i].index, &views[*count], err);
            if (rc != RC_OK)
                return rc;
            ++*count;
        }
    }
    return RC_OK;
}

/* Time and interval plans: the number of the lease that an index belongs to tells whether it
 * passed. */
static uint32_t leased_state(const struct key *key, struct ledger *ledger, uint64_t index,
                             uint64_t window, int64_t now_s, uint64_t *epoch)
{
    struct ledger_lease lease;
    enum rc rc = ledger_lease_of_index(ledger, key->record.id, index, &lease, NULL);
    bool over = !may_still_sign(key, window, now_s);
    bool in_hand = !over && key->lease.epoch != 0 && index >= key->lease.first + key->lease.next &&
                   index < key->lease.first + key->lease.count;
    if (in_hand || reserve_of_index(key, index) != NULL)
        return INDEX_LEASED;
    if (rc == RC_OK) {
        *epoch = lease.epoch;
        return INDEX_BURNED;
    }
    if (over)
        return INDEX_GIVEN_UP;
    uint64_t position = index - plan_window_first(&key->plan, window);
    bool skipped = (int64_t)window == key_floor(key) && position < passed(key);
    return skipped ? INDEX_GIVEN_UP : INDEX_UNUSED;
}

/* Of a lease, an index without an entry is of its rest. Of a version plan, it is one whose request
 * ended in a halt, and the next start decides. */
static enum rc why_burned(const struct key *key, struct ledger *ledger, struct view_index *v,
                          struct err *err)
{
    char why[LEDGER_TEXT_MAX + 1];
    enum rc rc = ledger_burn_of_index(ledger, key->record.id, v->index, why, NULL);
    if (rc != RC_OK && rc != RC_REFUSED_NOT_FOUND)
        return FAIL(err, rc, "", 0, "the ledger cannot be read");
    _Static_assert(sizeof(why) <= sizeof(v->why), "room for a reason");
    text_copy(v->why, sizeof(v->why), why);
    v->reason = rc == RC_OK                      ? burn_reason_of(why)
                : key->plan.kind != PLAN_VERSION ? BURN_LEASE
                                                 : BURN_OTHER;
    return RC_OK;
}

enum rc view_index(const struct key *key, struct ledger *ledger, int64_t index, int64_t now_s,
                   struct view_index *v, struct err *err)
{
    *v = (struct view_index){.index = (uint64_t)index};
    if (index < 0)
        return FAIL(err, RC_REFUSED_RANGE, "", index, "an index is not negative");
    enum rc rc = plan_window_of_index(&key->plan, v->index, &v->window, err);
    if (rc != RC_OK)
        return rc;
    uint64_t position = v->index - plan_window_first(&key->plan, v->window);
    if (key->plan.seal && position == key->plan.window_size - 1)
        v->state = INDEX_SEAL;
    else if (position >= key->plan.window_usable)
        v->state = INDEX_PADDING;
    if (v->state != INDEX_UNUSED)
        return RC_OK;
    struct ledger_receipt receipt;
    rc = ledger_receipt_by_index(ledger, key->record.id, v->index, &receipt, NULL, NULL);
    if (rc == RC_OK) {
        v->state = INDEX_SIGNED;
        v->epoch = receipt.epoch;
        v->signed_at_s = receipt.at_s;
        memcpy(v->id, receipt.id, sizeof(v->id));
    } else if (rc != RC_REFUSED_NOT_FOUND) {
        return FAIL(err, rc, "", 0, "the ledger cannot be read");
    }
    if (key->plan.kind == PLAN_VERSION) {
        struct view_version version;
        rc = version_entry(key, ledger, v->index, &version, err);
        if (rc == RC_REFUSED_RANGE) {
            v->state = INDEX_PADDING;
            if (err != NULL)
                *err = (struct err){0};
            return RC_OK;
        }
        v->state = version.state;
        text_copy(v->version, sizeof(v->version), version.version);
        text_copy(v->slot, sizeof(v->slot), version.slot);
        if (rc != RC_OK)
            return rc;
    } else if (v->state != INDEX_SIGNED) {
        v->state = leased_state(key, ledger, v->index, v->window, now_s, &v->epoch);
    }
    return v->state == INDEX_BURNED ? why_burned(key, ledger, v, err) : RC_OK;
}
