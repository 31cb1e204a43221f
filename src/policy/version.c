#include "policy/version.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define QUOTED_SIZE 48 /* a version from outside, made fit for a message */

const char *const *version_levels(enum plan_format format)
{
    static const char *const levels[][PLAN_COMPONENTS_MAX + 1] = {
        [PLAN_INTEGER] = {"version", NULL},
        [PLAN_MAJOR_MINOR] = {"major", "minor", NULL},
        [PLAN_MAJOR_MINOR_PATCH] = {"major", "minor", "patch", NULL},
        [PLAN_CALENDAR] = {"year", "month", "number", NULL},
        [PLAN_TABLE] = {"entry", NULL},
    };
    return levels[format];
}

const char *plan_level_name(const struct plan *plan, uint32_t level)
{
    MUST(level < plan->component_count);
    return version_levels(plan->format)[level];
}

bool version_flat(enum plan_format format)
{
    return format == PLAN_INTEGER || format == PLAN_TABLE;
}

/* How many versions share the first `level` + 1 components. plan_parse() has made sure that no
 * product of sizes exceeds the key's capacity, so nothing here can overflow. */
static uint64_t span(const struct plan *plan, uint32_t level)
{
    uint64_t product = 1;
    for (uint32_t i = level + 1; i < plan->component_count; i++)
        product *= plan->sizes[i];
    return product;
}

uint64_t plan_version_count(const struct plan *plan)
{
    MUST(plan->kind == PLAN_VERSION);
    return plan->sizes[0] * span(plan, 0);
}

/* --- Text to rank and back ---------------------------------------------------------------------
 */

static void quote(char out[QUOTED_SIZE], const char *text)
{
    size_t i = 0;
    for (; i < QUOTED_SIZE - 4 && text[i] != '\0'; i++)
        out[i] = text[i] >= 0x20 && text[i] <= 0x7e ? text[i] : '?';
    (void)strcpy(out + i, text[i] == '\0' ? "" : "...");
}

static enum rc not_a_version(const struct plan *plan, const char *version, struct err *err)
{
    static const uint64_t wish[PLAN_COMPONENTS_MAX] = {4, 2, 1};
    char quoted[QUOTED_SIZE];
    char example[VERSION_LEN_MAX + 1];
    uint64_t rank = 0;
    for (uint32_t i = 0; i < plan->component_count; i++)
        rank = rank * plan->sizes[i] + (wish[i] < plan->sizes[i] ? wish[i] : plan->sizes[i] - 1);
    version_print(plan, rank, example);
    quote(quoted, version);
    return FAIL(err, RC_REFUSED_INPUT, "", 0,
                "\"%s\" is no version of the form %s; right is \"%s\"", quoted,
                plan_format_name(plan->format), example);
}

static enum rc outside(const struct plan *plan, const char *version, uint32_t level,
                       struct err *err)
{
    char quoted[QUOTED_SIZE];
    quote(quoted, version);
    return FAIL(err, RC_REFUSED_OUTSIDE_PLAN, "", 0,
                "\"%s\": the %s must be %" PRIu64 " to %" PRIu64 " in this plan", quoted,
                plan_level_name(plan, level), plan->bases[level],
                plan->bases[level] + plan->sizes[level] - 1);
}

/* One component of a version: digits without leading zeros, but for the two digits of a month.
 * A number too large for 64 bits reads as UINT64_MAX, which lies outside every plan. */
static bool component(const struct plan *plan, uint32_t level, const char *text, size_t len,
                      uint64_t *value)
{
    char digits[VERSION_LEN_MAX + 1] = {0};
    bool month = plan->format == PLAN_CALENDAR && level == 1;
    if (len == 0 || len > VERSION_LEN_MAX || strspn(text, "0123456789") < len)
        return false;
    if (month && len != 2)
        return false;
    if (month && text[0] == '0') {
        text++;
        len--;
    }
    if (text[0] == '0' && len > 1)
        return false;
    memcpy(digits, text, len);
    if (!text_to_u64(value, digits, UINT64_MAX))
        *value = UINT64_MAX;
    return !month || (*value >= 1 && *value <= 12);
}

/* The numbers of a version; false if it is not of the plan's form. */
static bool components(const struct plan *plan, const char *version,
                       uint64_t values[PLAN_COMPONENTS_MAX])
{
    for (uint32_t i = 0; i < plan->component_count; i++) {
        size_t len = strcspn(version, ".");
        bool last = i + 1 == plan->component_count;
        if (!component(plan, i, version, len, &values[i]) || (version[len] == '.') == last)
            return false;
        version += last ? len : len + 1;
    }
    return true;
}

static enum rc parse_numbers(const struct plan *plan, const char *version, uint64_t *rank,
                             struct err *err)
{
    uint64_t values[PLAN_COMPONENTS_MAX] = {0};
    if (!components(plan, version, values))
        return not_a_version(plan, version, err);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < plan->component_count; i++) {
        if (values[i] < plan->bases[i] || values[i] - plan->bases[i] >= plan->sizes[i])
            return outside(plan, version, i, err);
        sum = sum * plan->sizes[i] + (values[i] - plan->bases[i]);
    }
    *rank = sum;
    return RC_OK;
}

static enum rc parse_entry(const struct plan *plan, const char *version, uint64_t *rank,
                           struct err *err)
{
    if (version[0] == '\0' || !token_valid(version, VERSION_LEN_MAX))
        return not_a_version(plan, version, err);
    for (uint32_t i = 0; i < plan->table_count; i++) {
        if (strcmp(plan->table[i], version) == 0) {
            *rank = i;
            return RC_OK;
        }
    }
    char quoted[QUOTED_SIZE];
    quote(quoted, version);
    return FAIL(err, RC_REFUSED_OUTSIDE_PLAN, "", 0, "\"%s\" is not in the table of this plan",
                quoted);
}

enum rc version_parse(const struct plan *plan, const char *version, uint64_t *rank, struct err *err)
{
    MUST(plan->kind == PLAN_VERSION);
    *rank = 0;
    if (plan->format == PLAN_TABLE)
        return parse_entry(plan, version, rank, err);
    return parse_numbers(plan, version, rank, err);
}

/* The first `count` components of a version. */
static void print_prefix(const struct plan *plan, uint64_t rank, uint32_t count, char *out)
{
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < count; i++) {
        uint64_t rest = span(plan, i);
        bool month = plan->format == PLAN_CALENDAR && i == 1;
        int n =
            snprintf(out + used, VERSION_LEN_MAX + 1 - used, month ? "%s%02" PRIu64 : "%s%" PRIu64,
                     i == 0 ? "" : ".", rank / rest + plan->bases[i]);
        MUST(n > 0 && used + (size_t)n <= VERSION_LEN_MAX);
        used += (size_t)n;
        rank %= rest;
    }
}

void version_print(const struct plan *plan, uint64_t rank, char *out)
{
    MUST(rank < plan_version_count(plan));
    if (plan->format == PLAN_TABLE)
        memcpy(out, plan->table[rank], VERSION_LEN_MAX + 1);
    else
        print_prefix(plan, rank, plan->component_count, out);
}

/* --- Windows and lines -------------------------------------------------------------------------
 */

void version_ranks_of_window(const struct plan *plan, uint64_t window, uint64_t *from, uint64_t *to)
{
    MUST(window < plan->window_count);
    uint64_t count = plan_version_count(plan);
    *from = window * plan->versions_per_window;
    *to = *from + plan->versions_per_window;
    if (*to > count) /* the last window of an integer or table plan may be part filled */
        *to = count;
    MUST(*from < *to);
}

void version_window_label(const struct plan *plan, uint64_t window, char out[64])
{
    _Static_assert(VERSION_LEN_MAX + 1 <= 64, "a version fits a label");
    uint64_t from = 0;
    uint64_t to = 0;
    version_ranks_of_window(plan, window, &from, &to);
    if (!version_flat(plan->format)) {
        print_prefix(plan, from, plan->window_level + 1, out);
        return;
    }
    version_print(plan, from, out);
    if (to - from == 1)
        return;
    char last[VERSION_LEN_MAX + 1];
    version_print(plan, to - 1, last);
    size_t used = strlen(out);
    (void)snprintf(out + used, 64 - used, "..%s", last);
}

/* Versions of one line. */
static uint64_t line_span(const struct plan *plan)
{
    if (plan->order == PLAN_STRICT)
        return plan_version_count(plan);
    return version_flat(plan->format) ? plan->versions_per_window : span(plan, plan->line_level);
}

/* The rank after this one in its line; false if the line ends here. */
static bool next_rank(const struct plan *plan, uint64_t rank, uint64_t *next)
{
    *next = rank + 1;
    return *next < plan_version_count(plan) && *next % line_span(plan) != 0;
}

/* --- Places ------------------------------------------------------------------------------------
 */

static enum rc slot_number(const struct plan *plan, const char *slot, uint64_t *number,
                           struct err *err)
{
    *number = 0;
    if (slot == NULL || slot[0] == '\0') {
        if (plan->slot_count == 1)
            return RC_OK;
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "the plan has %" PRIu32 " slots, so one must be named, e.g. \"%s\"",
                    plan->slot_count, plan->slots[0]);
    }
    char quoted[QUOTED_SIZE];
    quote(quoted, slot);
    if (!plan->slots_named)
        return FAIL(err, RC_REFUSED_OUTSIDE_PLAN, "", 0,
                    "slot \"%s\": this plan has no slots; leave it out", quoted);
    for (uint32_t i = 0; i < plan->slot_count; i++) {
        if (strcmp(plan->slots[i], slot) == 0) {
            *number = i;
            return RC_OK;
        }
    }
    return FAIL(err, RC_REFUSED_OUTSIDE_PLAN, "", 0,
                "slot \"%s\" is not in this plan; its first is \"%s\"", quoted, plan->slots[0]);
}

enum rc plan_place_version(const struct plan *plan, const char *version, const char *slot,
                           struct plan_place *place, struct err *err)
{
    *place = (struct plan_place){0};
    uint64_t rank = 0;
    uint64_t number = 0;
    enum rc rc = version_parse(plan, version, &rank, err);
    if (rc != RC_OK)
        return rc;
    rc = slot_number(plan, slot, &number, err);
    if (rc != RC_OK)
        return rc;
    uint64_t window = rank / plan->versions_per_window;
    uint64_t position = rank % plan->versions_per_window * plan->slot_count + number;
    MUST(window < plan->window_count);
    MUST(position < plan->window_usable);
    place->window = window;
    place->index = window * plan->window_size + position;
    place->line = rank / line_span(plan);
    place->rank = rank;
    return RC_OK;
}

enum rc plan_version_of_index(const struct plan *plan, uint64_t index, char *version, char *slot,
                              struct err *err)
{
    MUST(plan->kind == PLAN_VERSION);
    memset(version, 0, VERSION_LEN_MAX + 1);
    memset(slot, 0, NAME_LEN_MAX + 1);
    uint64_t window = index / plan->window_size;
    uint64_t position = index % plan->window_size;
    if (window >= plan->window_count)
        return FAIL(err, RC_REFUSED_RANGE, "", 0,
                    "index %" PRIu64 " lies behind the last window of the plan", index);
    uint64_t rank = window * plan->versions_per_window + position / plan->slot_count;
    if (position >= plan->window_usable || rank >= plan_version_count(plan))
        return FAIL(err, RC_REFUSED_RANGE, "", 0,
                    "index %" PRIu64 " belongs to no version: it is padding or a seal", index);
    version_print(plan, rank, version);
    if (plan->slots_named)
        memcpy(slot, plan->slots[position % plan->slot_count], NAME_LEN_MAX + 1);
    return RC_OK;
}

/* --- Order -------------------------------------------------------------------------------------
 */

/* The window as numbers of its components, in which a jump is measured. */
uint64_t plan_windows_skipped(const struct plan *plan, uint64_t from, uint64_t to)
{
    MUST(from < plan->window_count);
    MUST(to < plan->window_count);
    if (to <= from)
        return 0;
    if (plan->kind != PLAN_VERSION || version_flat(plan->format))
        return to - from - 1;
    /* The first component that differs decides: going on by one there is what releases do. */
    uint64_t step = plan->window_count;
    for (uint32_t level = 0; level <= plan->window_level; level++) {
        step /= plan->sizes[level];
        if (from / step != to / step)
            break;
    }
    return (to / step - from / step - 1) * step + to % step;
}

/* Rank of the next version that may be signed after the marks; false if there is none. */
static bool next_free(const struct plan *plan, const struct plan_marks *marks, uint64_t *rank)
{
    uint64_t count = plan_version_count(plan);
    if (marks->rank >= 0 && (uint64_t)marks->rank >= count)
        return false;
    *rank = 0;
    bool found = marks->rank < 0 || next_rank(plan, (uint64_t)marks->rank, rank);
    if (marks->window >= 0 && (uint64_t)marks->window < plan->window_count &&
        *rank < (uint64_t)marks->window * plan->versions_per_window)
        *rank = (uint64_t)marks->window * plan->versions_per_window;
    return found && *rank < count;
}

static enum rc below_floor(const struct plan *plan, const struct plan_place *place,
                           const struct plan_marks *marks, struct err *err)
{
    char version[VERSION_LEN_MAX + 1];
    char next[VERSION_LEN_MAX + 1] = "none in this line";
    uint64_t rank = 0;
    version_print(plan, place->rank, version);
    if (next_free(plan, marks, &rank))
        version_print(plan, rank, next);
    return FAIL(err, RC_REFUSED_BELOW_FLOOR, "", 0,
                "%s is below the high-water mark%s; next free version: %s", version,
                plan->order == PLAN_STRICT ? "" : " of its line", next);
}

static enum rc jump_check(const struct plan *plan, const struct plan_place *place,
                          const struct plan_marks *marks, struct err *err)
{
    uint64_t skipped = plan_windows_skipped(plan, (uint64_t)marks->window, place->window);
    if (skipped <= plan->max_jump)
        return RC_OK;
    char version[VERSION_LEN_MAX + 1];
    char label[64];
    version_print(plan, place->rank, version);
    version_window_label(plan, (uint64_t)marks->window, label);
    return FAIL(err, RC_REFUSED_JUMP, "", 0,
                "%s leaves out %" PRIu64 " windows after window %" PRId64
                " (%.40s); the plan allows %" PRIu64 " without approval",
                version, skipped, marks->window, label, plan->max_jump);
}

enum rc plan_order_check(const struct plan *plan, const struct plan_place *place,
                         const struct plan_marks *marks, int64_t approved_window, struct err *err)
{
    MUST(plan->kind == PLAN_VERSION);
    MUST(place->window < plan->window_count);
    MUST(place->rank < plan_version_count(plan));
    MUST(marks->window < 0 || (uint64_t)marks->window < plan->window_count);
    if ((marks->rank >= 0 && place->rank < (uint64_t)marks->rank) ||
        (marks->window >= 0 && place->window < (uint64_t)marks->window))
        return below_floor(plan, place, marks, err);
    if (marks->window < 0 || (approved_window >= 0 && place->window == (uint64_t)approved_window))
        return RC_OK;
    return jump_check(plan, place, marks, err);
}

enum rc plan_next_version(const struct plan *plan, const char *version, char *next, struct err *err)
{
    memset(next, 0, VERSION_LEN_MAX + 1);
    uint64_t rank = 0;
    enum rc rc = version_parse(plan, version, &rank, err);
    if (rc != RC_OK)
        return rc;
    if (!next_rank(plan, rank, &rank))
        return FAIL(err, RC_REFUSED_OUTSIDE_PLAN, "", 0, "%s is the last version of its %s",
                    version, plan->order == PLAN_STRICT ? "plan" : "line");
    version_print(plan, rank, next);
    return RC_OK;
}
