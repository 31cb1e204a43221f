#include "policy/assignment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/version.h"

#define AT "$.assignment"
#define AT_SIZES "$.assignment.sizes"
#define YEAR_MAX 9999
#define YEAR_MIN 1970

static const char *const kind_names[] = {
    [PLAN_TIME] = "time", [PLAN_VERSION] = "version", [PLAN_INTERVAL] = "interval", NULL};
static const char *const format_names[] = {[PLAN_INTEGER] = "integer",
                                           [PLAN_MAJOR_MINOR] = "major.minor",
                                           [PLAN_MAJOR_MINOR_PATCH] = "major.minor.patch",
                                           [PLAN_CALENDAR] = "calendar",
                                           [PLAN_TABLE] = "table",
                                           NULL};
static const char *const order_names[] = {
    [PLAN_STRICT] = "strict", [PLAN_PER_LINE] = "per-line", NULL};

const char *plan_kind_name(enum plan_kind kind)
{
    return kind_names[kind];
}

const char *plan_format_name(enum plan_format format)
{
    return format_names[format];
}

const char *plan_order_name(enum plan_order order)
{
    return order_names[order];
}

/* --- Members -----------------------------------------------------------------------------------
 */

#define MEMBER_OF_BLOCKS (MEMBER_OF_TIME | MEMBER_OF_INTERVAL)
#define MEMBER_OF_FLAT (MEMBER_OF_INTEGER | MEMBER_OF_TABLE)
#define MEMBER_OF_LEVELS (MEMBER_OF_NUMBERS | MEMBER_OF_CALENDAR)

const struct plan_member plan_members[] = {
    {"tidemark_plan", MEMBER_OF_PLAN},
    {"key", MEMBER_OF_PLAN},
    {"profile", MEMBER_OF_PLAN},
    {"scheme", MEMBER_OF_PLAN},
    {"parameters", MEMBER_OF_PLAN},
    {"message", MEMBER_OF_PLAN},
    {"assignment", MEMBER_OF_PLAN},
    {"remote_hashing", MEMBER_OF_PLAN},
    {"expires_s", MEMBER_OF_REMOTE},
    {"open_per_caller", MEMBER_OF_REMOTE},
    {"kind", MEMBER_OF_BLOCKS | MEMBER_OF_VERSION},
    {"start", MEMBER_OF_TIME},
    {"window", MEMBER_OF_TIME | MEMBER_OF_LEVELS},
    {"windows", MEMBER_OF_BLOCKS},
    {"signatures_per_window", MEMBER_OF_BLOCKS},
    {"lease_size", MEMBER_OF_BLOCKS},
    {"format", MEMBER_OF_VERSION},
    {"start_year", MEMBER_OF_CALENDAR},
    {"sizes", MEMBER_OF_LEVELS | MEMBER_OF_INTEGER},
    {"entries", MEMBER_OF_TABLE},
    {"versions_per_window", MEMBER_OF_FLAT},
    {"slots", MEMBER_OF_VERSION},
    {"order", MEMBER_OF_VERSION},
    {"line", MEMBER_OF_LEVELS},
    {"max_jump", MEMBER_OF_VERSION},
    {"seal", MEMBER_OF_BLOCKS | MEMBER_OF_VERSION},
    {NULL, 0},
};

/* The names that an object may have, for the message. */
static void members_list(char *out, size_t size, unsigned where)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; plan_members[i].name != NULL && used < size; i++) {
        if ((plan_members[i].where & where) == 0)
            continue;
        int n =
            snprintf(out + used, size - used, "%s%s", used == 0 ? "" : ", ", plan_members[i].name);
        used += n > 0 ? (size_t)n : 0;
    }
}

static enum rc member_unknown(const struct doc *doc, const char *at, const char *name,
                              unsigned where)
{
    char list[sizeof(doc->fault->example)];
    members_list(list, sizeof(list), where);
    struct doc_field field = {NULL, at, name, list};
    for (size_t i = 0; plan_members[i].name != NULL; i++)
        if (strcmp(plan_members[i].name, name) == 0)
            return doc_bad_field(doc, &field, "this member does not belong here");
    return doc_bad_field(doc, &field, "there is no such member");
}

enum rc members_check(const struct doc *doc, const json_t *object, const char *at, unsigned where)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        bool known = false;
        for (size_t i = 0; plan_members[i].name != NULL && !known; i++)
            known = (plan_members[i].where & where) != 0 && strcmp(plan_members[i].name, name) == 0;
        if (!known)
            return member_unknown(doc, at, name, where);
    }
    return RC_OK;
}

static unsigned where_of_format(enum plan_format format)
{
    switch (format) {
    case PLAN_INTEGER:
        return MEMBER_OF_INTEGER;
    case PLAN_MAJOR_MINOR:
    case PLAN_MAJOR_MINOR_PATCH:
        return MEMBER_OF_NUMBERS;
    case PLAN_CALENDAR:
        return MEMBER_OF_CALENDAR;
    case PLAN_TABLE:
        break;
    }
    return MEMBER_OF_TABLE;
}

/* --- Windows -----------------------------------------------------------------------------------
 */

static uint64_t capacity(const struct plan *plan)
{
    return UINT64_C(1) << plan->height;
}

/* Windows that the key has room for. */
static uint64_t windows_max(const struct plan *plan)
{
    return capacity(plan) / plan->window_size;
}

/* Pad a window to a power of two; the caller has checked size <= capacity(plan). */
static void window_pad(struct plan *plan, uint64_t size)
{
    plan->window_size = 1;
    while (plan->window_size < size)
        plan->window_size *= 2;
}

/* signatures_per_window, seal and lease_size of time and interval plans. */
static enum rc parse_block(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field size = {json, AT, "signatures_per_window", "1024"};
    struct doc_field seal = {json, AT, "seal", "true"};
    struct doc_field lease = {json, AT, "lease_size", "16"};
    const json_t *present = NULL;
    uint64_t signatures = 0;
    plan->seal = plan->kind == PLAN_TIME;
    plan->lease_size = PLAN_LEASE_DEFAULT;
    enum rc rc = doc_need(doc, &size, &present);
    if (rc == RC_OK)
        rc = doc_bool(doc, &seal, &plan->seal);
    /* A sealed window needs room for one artifact beside its seal. */
    uint64_t max = capacity(plan) < PLAN_NUMBER_MAX ? capacity(plan) : PLAN_NUMBER_MAX;
    if (rc == RC_OK)
        rc = doc_u64(doc, &size, plan->seal ? 2 : 1, max, &signatures);
    if (rc == RC_OK)
        rc = doc_u64(doc, &lease, 1, signatures, &plan->lease_size);
    if (rc != RC_OK)
        return rc;
    window_pad(plan, signatures);
    plan->window_usable = signatures - (plan->seal ? 1 : 0);
    if (plan->lease_size > plan->window_usable)
        plan->lease_size = plan->window_usable;
    return RC_OK;
}

/* `windows`, or as many as the key and the calendar hold. */
static enum rc parse_windows(const struct doc *doc, const json_t *json, uint64_t max,
                             struct plan *plan)
{
    struct doc_field field = {json, AT, "windows", "leave it out: all that fit"};
    uint64_t number_max = max < PLAN_NUMBER_MAX ? max : PLAN_NUMBER_MAX;
    plan->window_count = max;
    return doc_u64(doc, &field, 1, number_max, &plan->window_count);
}

/* --- Time and interval --------------------------------------------------------------------------
 */

static enum rc parse_start(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field field = {json, AT, "start", "\"2026-12-06T00:00:00Z\""};
    const json_t *present = NULL;
    const char *text = NULL;
    enum rc rc = doc_need(doc, &field, &present);
    if (rc == RC_OK)
        rc = doc_string(doc, &field, &text);
    if (rc != RC_OK)
        return rc;
    if (!rfc3339_parse(&plan->start_s, text))
        return doc_bad_field(doc, &field,
                             "\"%.40s\" is no time in UTC with whole seconds (RFC 3339)", text);
    return RC_OK;
}

static enum rc parse_duration(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field field = {json, AT, "window", "\"P7D\""};
    const json_t *present = NULL;
    const char *text = NULL;
    enum rc rc = doc_need(doc, &field, &present);
    if (rc == RC_OK)
        rc = doc_string(doc, &field, &text);
    if (rc != RC_OK)
        return rc;
    if (!duration_parse(&plan->window_s, text))
        return doc_bad_field(doc, &field,
                             "\"%.40s\" is no duration in weeks, days, hours, minutes and seconds "
                             "(ISO 8601; months and years have no fixed length)",
                             text);
    if (plan->window_s < PLAN_WINDOW_S_MIN)
        return doc_bad_field(doc, &field,
                             "\"%.40s\" is shorter than the %d seconds of the shortest "
                             "window",
                             text, PLAN_WINDOW_S_MIN);
    return RC_OK;
}

static enum rc parse_time(const struct doc *doc, const json_t *json, struct plan *plan)
{
    enum rc rc = parse_start(doc, json, plan);
    if (rc == RC_OK)
        rc = parse_duration(doc, json, plan);
    if (rc == RC_OK)
        rc = parse_block(doc, json, plan);
    if (rc != RC_OK)
        return rc;
    /* Every end of a window must be a time that can be printed. */
    uint64_t max = (uint64_t)((RFC3339_S_MAX - plan->start_s) / plan->window_s);
    if (max == 0)
        return doc_bad(doc, AT ".start", "\"2026-12-06T00:00:00Z\"",
                       "the first window would end behind the year 9999");
    return parse_windows(doc, json, max < windows_max(plan) ? max : windows_max(plan), plan);
}

static enum rc parse_interval(const struct doc *doc, const json_t *json, struct plan *plan)
{
    enum rc rc = parse_block(doc, json, plan);
    return rc == RC_OK ? parse_windows(doc, json, windows_max(plan), plan) : rc;
}

/* --- Versions ----------------------------------------------------------------------------------
 */

static enum rc parse_slots(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field field = {json, AT, "slots", "[\"bootloader\", \"kernel\", \"rootfs\"]"};
    const json_t *slots = NULL;
    enum rc rc = doc_strings(doc, &field, 1, PLAN_SLOTS_MAX, &slots);
    plan->slot_count = 1;
    if (rc != RC_OK || slots == NULL)
        return rc;
    plan->slots_named = true;
    plan->slot_count = (uint32_t)json_array_size(slots);
    for (uint32_t i = 0; i < plan->slot_count; i++) {
        const char *name = json_string_value(json_array_get(slots, i));
        char path[64];
        (void)snprintf(path, sizeof(path), AT ".slots[%" PRIu32 "]", i);
        if (!name_valid(name))
            return doc_bad(doc, path, "\"kernel\"",
                           "\"%.70s\" is no name: 1 to %d letters, digits, '.', '_' or '-', "
                           "starting with a letter, digit or '_'",
                           name, NAME_LEN_MAX);
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(plan->slots[k], name) == 0)
                return doc_bad(doc, path, "each slot once", "slot \"%s\" stands here twice", name);
        memcpy(plan->slots[i], name, strlen(name) + 1);
    }
    return RC_OK;
}

/* The size of one level; untouched if it may be absent and is. */
static enum rc parse_size(const struct doc *doc, const json_t *sizes, const char *level,
                          bool required, uint64_t *size)
{
    struct doc_field field = {sizes, AT_SIZES, level, "32"};
    const json_t *present = NULL;
    if (required) {
        enum rc rc = doc_need(doc, &field, &present);
        if (rc != RC_OK)
            return rc;
    }
    return doc_u64(doc, &field, 1, PLAN_NUMBER_MAX, size);
}

/* All levels may have a size, all but the first must; the months of a year are twelve. */
static enum rc parse_levels(const struct doc *doc, const json_t *sizes, struct plan *plan)
{
    const char *const *levels = version_levels(plan->format);
    for (uint32_t i = 0; i < plan->component_count; i++) {
        if (plan->format == PLAN_CALENDAR && i == 1) {
            plan->sizes[i] = 12;
            continue;
        }
        enum rc rc = parse_size(doc, sizes, levels[i], i > 0, &plan->sizes[i]);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

static enum rc sizes_members(const struct doc *doc, const json_t *sizes, const char *example,
                             const struct plan *plan)
{
    const char *const *levels = version_levels(plan->format);
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)sizes, name, value)
    {
        struct doc_field field = {sizes, AT_SIZES, name, example};
        bool known = false;
        for (uint32_t i = 0; levels[i] != NULL; i++)
            known = known || strcmp(levels[i], name) == 0;
        if (!known)
            return doc_bad_field(doc, &field, "versions of the form %s have no such level",
                                 plan_format_name(plan->format));
        if (plan->format == PLAN_CALENDAR && strcmp(name, levels[1]) == 0)
            return doc_bad_field(doc, &field, "a year always has 12 months; leave this out");
    }
    return RC_OK;
}

static const char *sizes_example(enum plan_format format)
{
    switch (format) {
    case PLAN_MAJOR_MINOR:
        return "{\"minor\": 32}";
    case PLAN_MAJOR_MINOR_PATCH:
        return "{\"minor\": 32, \"patch\": 16}";
    case PLAN_CALENDAR:
        return "{\"number\": 8}";
    case PLAN_INTEGER:
    case PLAN_TABLE:
        break;
    }
    return "{\"version\": 1000}";
}

static enum rc parse_sizes(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field field = {json, AT, "sizes", sizes_example(plan->format)};
    const json_t *sizes = json_object_get(json, "sizes");
    if (sizes == NULL && plan->component_count == 1)
        return RC_OK;
    enum rc rc = doc_need(doc, &field, &sizes);
    if (rc != RC_OK)
        return rc;
    if (!json_is_object(sizes))
        return doc_bad_field(doc, &field, "must be an object, not %s", doc_type(sizes));
    rc = sizes_members(doc, sizes, field.example, plan);
    return rc == RC_OK ? parse_levels(doc, sizes, plan) : rc;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Two entries of the same name: found by sorting, since a table may be long. */
static enum rc table_unique(const struct doc *doc, const struct plan *plan)
{
    const char **sorted = calloc(plan->table_count, sizeof(*sorted));
    if (sorted == NULL)
        return FAIL(doc->err, RC_RETRY_SYSTEM, "errno", 0, "no memory for the table");
    for (uint32_t i = 0; i < plan->table_count; i++)
        sorted[i] = plan->table[i];
    qsort(sorted, plan->table_count, sizeof(*sorted), by_text);
    const char *twice = NULL;
    for (uint32_t i = 1; i < plan->table_count && twice == NULL; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            twice = sorted[i];
    free(sorted);
    if (twice == NULL)
        return RC_OK;
    char path[64];
    uint32_t last = plan->table_count - 1;
    while (strcmp(plan->table[last], twice) != 0)
        last--;
    (void)snprintf(path, sizeof(path), AT ".entries[%" PRIu32 "]", last);
    return doc_bad(doc, path, "each version once", "version \"%s\" stands here twice", twice);
}

static enum rc parse_entries(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field field = {json, AT, "entries", "[\"1.0-rc1\", \"1.0\", \"1.0-sp1\"]"};
    const json_t *entries = NULL;
    enum rc rc = doc_need(doc, &field, &entries);
    if (rc == RC_OK)
        rc = doc_strings(doc, &field, 1, PLAN_TABLE_MAX, &entries);
    if (rc != RC_OK)
        return rc;
    plan->table = calloc(json_array_size(entries), sizeof(*plan->table));
    if (plan->table == NULL)
        return FAIL(doc->err, RC_RETRY_SYSTEM, "errno", 0, "no memory for the table");
    plan->table_count = (uint32_t)json_array_size(entries);
    for (uint32_t i = 0; i < plan->table_count; i++) {
        const char *text = json_string_value(json_array_get(entries, i));
        char path[64];
        (void)snprintf(path, sizeof(path), AT ".entries[%" PRIu32 "]", i);
        if (text[0] == '\0' || !token_valid(text, VERSION_LEN_MAX))
            return doc_bad(doc, path, "\"1.0-rc1\"",
                           "\"%.70s\" is no version: 1 to %d printable ASCII characters without "
                           "'\"' and '\\'",
                           text, VERSION_LEN_MAX);
        memcpy(plan->table[i], text, strlen(text) + 1);
    }
    plan->sizes[0] = plan->table_count;
    return table_unique(doc, plan);
}

static enum rc parse_start_year(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field field = {json, AT, "start_year", "2026"};
    const json_t *present = NULL;
    enum rc rc = doc_need(doc, &field, &present);
    if (rc == RC_OK)
        rc = doc_u64(doc, &field, YEAR_MIN, YEAR_MAX, &plan->bases[0]);
    plan->bases[1] = 1;
    if (rc == RC_OK && plan->sizes[0] > YEAR_MAX + 1 - plan->bases[0])
        return doc_bad(doc, AT_SIZES ".year", "20", "the years would go beyond %d", YEAR_MAX);
    return rc;
}

/* `window`: default the level above the last. */
static enum rc parse_window_level(const struct doc *doc, const json_t *json, struct plan *plan)
{
    const char *const *levels = version_levels(plan->format);
    char example[32];
    plan->window_level = plan->component_count >= 2 ? plan->component_count - 2 : 0;
    (void)snprintf(example, sizeof(example), "\"%s\"", levels[plan->window_level]);
    struct doc_field field = {json, AT, "window", example};
    return doc_choice(doc, &field, levels, &plan->window_level);
}

static enum rc parse_order(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field order = {json, AT, "order", "\"strict\""};
    char example[32];
    (void)snprintf(example, sizeof(example), "\"%s\"", version_levels(plan->format)[0]);
    struct doc_field line = {json, AT, "line", example};
    struct doc_field jump = {json, AT, "max_jump", "1"};
    uint32_t choice = PLAN_STRICT;
    enum rc rc = doc_choice(doc, &order, order_names, &choice);
    if (rc != RC_OK)
        return rc;
    plan->order = (enum plan_order)choice;
    if (plan->order == PLAN_STRICT && json_object_get(json, "line") != NULL)
        return doc_bad(doc, AT ".line", "\"order\": \"per-line\" beside it, or no \"line\"",
                       "a strict plan has no lines");
    rc = doc_choice(doc, &line, version_levels(plan->format), &plan->line_level);
    plan->max_jump = PLAN_MAX_JUMP_DEFAULT;
    return rc == RC_OK ? doc_u64(doc, &jump, 0, PLAN_NUMBER_MAX, &plan->max_jump) : rc;
}

/* The product of two sizes, or more than any key has. */
static uint64_t product(uint64_t a, uint64_t b)
{
    uint64_t p = 0;
    return __builtin_mul_overflow(a, b, &p) || p > UINT64_C(1) << 62 ? UINT64_C(1) << 62 : p;
}

/* Size of a window: versions x slots, and one more for the seal. */
static enum rc fit_window(const struct doc *doc, const char *path, const char *example,
                          struct plan *plan)
{
    plan->window_usable = product(plan->versions_per_window, plan->slot_count);
    if (plan->window_usable > capacity(plan) - (plan->seal ? 1 : 0))
        return doc_bad(doc, path, example,
                       "a window of %" PRIu64 " versions x %" PRIu32
                       " slots%s does not fit the key, which has %" PRIu64 " indices",
                       plan->versions_per_window, plan->slot_count, plan->seal ? " and a seal" : "",
                       capacity(plan));
    window_pad(plan, plan->window_usable + (plan->seal ? 1 : 0));
    return RC_OK;
}

static enum rc too_many_windows(const struct doc *doc, const char *path, const char *example,
                                uint64_t windows, const struct plan *plan)
{
    return doc_bad(doc, path, example,
                   "this needs %" PRIu64 " windows of %" PRIu64 " indices, but the key has room "
                   "for %" PRIu64,
                   windows, plan->window_size, windows_max(plan));
}

/* Integer and table: windows are runs of versions_per_window. */
static enum rc fit_flat(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field field = {json, AT, "versions_per_window", "1"};
    plan->versions_per_window = 1;
    enum rc rc = doc_u64(doc, &field, 1, PLAN_NUMBER_MAX, &plan->versions_per_window);
    if (rc == RC_OK)
        rc = fit_window(doc, AT ".versions_per_window", "1", plan);
    if (rc != RC_OK)
        return rc;
    if (plan->sizes[0] == 0)
        plan->sizes[0] = windows_max(plan) * plan->versions_per_window;
    plan->window_count = (plan->sizes[0] - 1) / plan->versions_per_window + 1;
    if (plan->window_count <= windows_max(plan))
        return RC_OK;
    bool table = plan->format == PLAN_TABLE;
    return too_many_windows(doc, table ? AT ".entries" : AT_SIZES ".version",
                            table ? "fewer entries, or a taller tree" : "1000", plan->window_count,
                            plan);
}

/* The other formats: windows are named by the components down to window_level. */
static enum rc fit_levels(const struct doc *doc, struct plan *plan)
{
    uint64_t per_first = 1; /* windows that share the first component */
    plan->versions_per_window = 1;
    for (uint32_t i = 1; i < plan->component_count; i++) {
        if (i <= plan->window_level)
            per_first = product(per_first, plan->sizes[i]);
        else
            plan->versions_per_window = product(plan->versions_per_window, plan->sizes[i]);
    }
    enum rc rc = fit_window(doc, AT_SIZES, "smaller sizes, fewer slots, or a taller tree", plan);
    if (rc != RC_OK)
        return rc;
    uint64_t first = plan->sizes[0] != 0 ? plan->sizes[0] : 1;
    if (product(first, per_first) > windows_max(plan))
        return too_many_windows(doc, AT_SIZES, "smaller sizes, or a taller tree",
                                product(first, per_first), plan);
    if (plan->sizes[0] == 0)
        plan->sizes[0] = windows_max(plan) / per_first;
    uint64_t years = YEAR_MAX + 1 - plan->bases[0];
    if (plan->format == PLAN_CALENDAR && plan->sizes[0] > years)
        plan->sizes[0] = years;
    plan->window_count = plan->sizes[0] * per_first;
    return RC_OK;
}

static enum rc parse_format(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field field = {json, AT, "format", "\"major.minor.patch\""};
    const json_t *present = NULL;
    uint32_t choice = 0;
    enum rc rc = doc_need(doc, &field, &present);
    if (rc == RC_OK)
        rc = doc_choice(doc, &field, format_names, &choice);
    if (rc != RC_OK)
        return rc;
    plan->format = (enum plan_format)choice;
    const char *const *levels = version_levels(plan->format);
    while (levels[plan->component_count] != NULL)
        plan->component_count++;
    return members_check(doc, json, AT, where_of_format(plan->format));
}

static enum rc parse_version(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field seal = {json, AT, "seal", "false"};
    enum rc rc = parse_format(doc, json, plan);
    if (rc == RC_OK)
        rc = parse_slots(doc, json, plan);
    if (rc == RC_OK)
        rc = doc_bool(doc, &seal, &plan->seal);
    if (rc == RC_OK)
        rc = plan->format == PLAN_TABLE ? parse_entries(doc, json, plan)
                                        : parse_sizes(doc, json, plan);
    if (rc == RC_OK && plan->format == PLAN_CALENDAR)
        rc = parse_start_year(doc, json, plan);
    if (rc == RC_OK && !version_flat(plan->format))
        rc = parse_window_level(doc, json, plan);
    if (rc == RC_OK)
        rc = parse_order(doc, json, plan);
    if (rc != RC_OK)
        return rc;
    return version_flat(plan->format) ? fit_flat(doc, json, plan) : fit_levels(doc, plan);
}

enum rc assignment_parse(const struct doc *doc, const json_t *json, struct plan *plan)
{
    struct doc_field field = {json, AT, "kind", "\"time\""};
    const json_t *present = NULL;
    uint32_t choice = 0;
    if (!json_is_object(json))
        return doc_bad(doc, AT, "{\"kind\": \"version\", \"format\": \"integer\"}",
                       "must be an object, not %s", doc_type(json));
    enum rc rc = doc_need(doc, &field, &present);
    if (rc == RC_OK)
        rc = doc_choice(doc, &field, kind_names, &choice);
    if (rc != RC_OK)
        return rc;
    plan->kind = (enum plan_kind)choice;
    if (plan->kind == PLAN_VERSION)
        return parse_version(doc, json, plan);
    rc =
        members_check(doc, json, AT, plan->kind == PLAN_TIME ? MEMBER_OF_TIME : MEMBER_OF_INTERVAL);
    if (rc != RC_OK)
        return rc;
    return plan->kind == PLAN_TIME ? parse_time(doc, json, plan) : parse_interval(doc, json, plan);
}
