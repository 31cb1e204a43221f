/*
 * Reading a compiled plan. docs/verify.md has the layout; all numbers are big-endian.
 */
#include "verify/bytes.h"
#include "verify/hash.h"
#include "verify/place.h"

#if TMV_WITH_PLAN

#define FORMAT 1
#define FLAG_SEAL 1U
#define FLAG_SLOTS 2U
#define HEIGHT_MIN 5
#define HEIGHT_MAX 60
#define SECOND_MAX UINT64_C(253402300799) /* end of the year 9999 */
#define YEAR_MIN 1970
#define YEAR_MAX 9999
#define DIGEST_LEN 32

/* What is left of the bytes. */
struct rest {
    const uint8_t *data;
    size_t len;
    bool short_of; /* something was taken that is not there */
};

static uint64_t take(struct rest *rest, size_t len)
{
    if (rest->len < len) {
        rest->short_of = true;
        return 0;
    }
    uint64_t v = tmvi_get(rest->data, len);
    rest->data += len;
    rest->len -= len;
    return v;
}

static const uint8_t *take_bytes(struct rest *rest, size_t len)
{
    const uint8_t *bytes = rest->data;
    if (rest->len < len) {
        rest->short_of = true;
        return NULL;
    }
    rest->data += len;
    rest->len -= len;
    return bytes;
}

/* A number that stands for one of a few choices. */
static unsigned take_choice(struct rest *rest, unsigned choices)
{
    unsigned v = (unsigned)take(rest, 1);
    if (v >= choices)
        rest->short_of = true;
    return v < choices ? v : 0;
}

static void take_head(struct rest *rest, struct tmv_plan *plan, unsigned flags)
{
    plan->kind = (enum tmv_plan_kind)take_choice(rest, 3);
    plan->format = (enum tmv_plan_format)take_choice(rest, 5);
    plan->scheme = (enum tmv_scheme)take_choice(rest, 4);
    plan->message = (enum tmv_message)take_choice(rest, 4);
    plan->height = (uint8_t)take(rest, 1);
    plan->levels = (uint8_t)take(rest, 1);
    plan->components = (uint8_t)take(rest, 1);
    plan->window_level = (uint8_t)take(rest, 1);
    plan->per_line = take_choice(rest, 2) == 1;
    plan->line_level = (uint8_t)take(rest, 1);
    plan->slot_count = (uint32_t)take(rest, 2);
    plan->seal = (flags & FLAG_SEAL) != 0;
    plan->slots_named = (flags & FLAG_SLOTS) != 0;
    plan->plan_sha256 = take_bytes(rest, DIGEST_LEN);
    plan->key_sha256 = take_bytes(rest, DIGEST_LEN);
}

static void take_numbers(struct rest *rest, struct tmv_plan *plan)
{
    plan->window_size = take(rest, 8);
    plan->window_usable = take(rest, 8);
    plan->window_count = take(rest, 8);
    plan->start_s = (int64_t)take(rest, 8);
    plan->window_s = (int64_t)take(rest, 8);
    for (unsigned i = 0; i < TMV_COMPONENTS_MAX; i++)
        plan->sizes[i] = take(rest, 8);
    for (unsigned i = 0; i < TMV_COMPONENTS_MAX; i++)
        plan->bases[i] = take(rest, 8);
    plan->versions_per_window = take(rest, 8);
    plan->table_count = (uint32_t)take(rest, 4);
}

/* Strings of a length in front of them: 1 … TMV_TEXT_MAX printable ASCII characters. */
static const uint8_t *take_strings(struct rest *rest, uint32_t count)
{
    const uint8_t *first = rest->data;
    for (uint32_t i = 0; i < count && !rest->short_of; i++) {
        size_t len = (size_t)take(rest, 1);
        const uint8_t *text = take_bytes(rest, len);
        if (len < 1 || len > TMV_TEXT_MAX)
            rest->short_of = true;
        for (size_t k = 0; text != NULL && k < len; k++)
            if (text[k] < 0x20 || text[k] > 0x7e)
                rest->short_of = true;
    }
    return first;
}

/* --- Is it a plan that can be? -----------------------------------------------------------------
 */

/* Windows: powers of two, aligned, and all of them inside the key. */
static bool windows_fit(const struct tmv_plan *plan)
{
    if (plan->height < HEIGHT_MIN || plan->height > HEIGHT_MAX)
        return false;
    uint64_t indices = UINT64_C(1) << plan->height;
    if (plan->window_size < 1 || plan->window_size > indices ||
        (plan->window_size & (plan->window_size - 1)) != 0)
        return false;
    return plan->window_usable >= 1 &&
           plan->window_usable <= plan->window_size - (plan->seal ? 1 : 0) &&
           plan->window_count >= 1 && plan->window_count <= indices / plan->window_size;
}

/* Fields of other kinds of plan are zero, so that a plan has one form. */
static bool no_versions(const struct tmv_plan *plan)
{
    uint64_t any = plan->versions_per_window | plan->table_count | plan->slot_count |
                   plan->components | plan->window_level | plan->line_level;
    for (unsigned i = 0; i < TMV_COMPONENTS_MAX; i++)
        any |= plan->sizes[i] | plan->bases[i];
    return any == 0 && plan->format == TMV_INTEGER && !plan->slots_named && !plan->per_line;
}

static bool times_fit(const struct tmv_plan *plan)
{
    uint64_t start = (uint64_t)plan->start_s;
    uint64_t window = (uint64_t)plan->window_s;
    return start < SECOND_MAX && window >= 1 && window <= SECOND_MAX &&
           plan->window_count <= (SECOND_MAX - start) / window;
}

/* a * b, or 0 if that is more indices than any key has. a and b are not 0. */
static uint64_t product(uint64_t a, uint64_t b)
{
    uint64_t max = UINT64_C(1) << HEIGHT_MAX;
    return a > max / b ? 0 : a * b;
}

static unsigned components_of(enum tmv_plan_format format)
{
    return format == TMV_MAJOR_MINOR ? 2 : format == TMV_INTEGER || format == TMV_TABLE ? 1 : 3;
}

/* Numbers of a version: how many there are, and that all of them together are no more than a key
 * could have. Sets version_count. */
static bool components_fit(struct tmv_plan *plan)
{
    if (plan->components != components_of(plan->format) || plan->window_level >= plan->components ||
        plan->line_level >= plan->components)
        return false;
    plan->version_count = 1;
    for (unsigned i = 0; i < TMV_COMPONENTS_MAX; i++) {
        bool used = i < plan->components;
        if (used != (plan->sizes[i] != 0) || (plan->format != TMV_CALENDAR && plan->bases[i] != 0))
            return false;
        if (used)
            plan->version_count = product(plan->version_count, plan->sizes[i]);
        if (plan->version_count == 0)
            return false;
    }
    return true;
}

static bool calendar_fits(const struct tmv_plan *plan)
{
    return plan->bases[0] >= YEAR_MIN && plan->bases[0] <= YEAR_MAX &&
           plan->sizes[0] <= YEAR_MAX + 1 - plan->bases[0] && plan->bases[1] == 1 &&
           plan->sizes[1] == 12 && plan->bases[2] == 0;
}

/* Windows of versions: how many versions and slots share one, and how many windows that makes. */
static bool versions_fit(struct tmv_plan *plan)
{
    if (!components_fit(plan) || plan->slot_count < 1 || plan->slot_count > TMV_SLOTS_MAX ||
        (plan->slot_count > 1 && !plan->slots_named) || plan->versions_per_window < 1 ||
        product(plan->versions_per_window, plan->slot_count) != plan->window_usable)
        return false;
    bool flat = plan->components == 1;
    if (!flat && plan->versions_per_window != tmvi_plan_span(plan, plan->window_level))
        return false;
    if (flat && (plan->window_level != 0 || plan->line_level != 0))
        return false;
    if (plan->format == TMV_CALENDAR && !calendar_fits(plan))
        return false;
    if ((plan->format == TMV_TABLE) != (plan->table_count != 0))
        return false;
    if (plan->format == TMV_TABLE &&
        (plan->table_count > TMV_TABLE_MAX || plan->sizes[0] != plan->table_count))
        return false;
    return (plan->version_count - 1) / plan->versions_per_window + 1 == plan->window_count;
}

static bool plan_fits(struct tmv_plan *plan)
{
    if (!windows_fit(plan))
        return false;
    if (plan->kind == TMV_PLAN_VERSION)
        return versions_fit(plan) && plan->start_s == 0 && plan->window_s == 0;
    if (!no_versions(plan))
        return false;
    return plan->kind == TMV_PLAN_TIME ? times_fit(plan)
                                       : plan->start_s == 0 && plan->window_s == 0;
}

/* --- The whole ---------------------------------------------------------------------------------
 */

static bool digest_good(const uint8_t *data, size_t len)
{
    struct tmv_hash hash;
    uint8_t digest[DIGEST_LEN];
    tmvi_hash_begin(&hash, TMV_SHA256);
    tmvi_hash_add(&hash, data, len - DIGEST_LEN);
    tmvi_hash_end(&hash, digest, DIGEST_LEN);
    return tmvi_equal(digest, data + len - DIGEST_LEN, DIGEST_LEN);
}

static bool read_plan(struct tmv_plan *plan, const uint8_t *data, size_t len)
{
    static const uint8_t magic[4] = {'T', 'M', 'C', 'P'};
    struct rest rest = {data, len, false};
    const uint8_t *found = take_bytes(&rest, sizeof(magic));
    if (found == NULL || !tmvi_equal(found, magic, sizeof(magic)) || take(&rest, 2) != FORMAT)
        return false;
    unsigned flags = (unsigned)take(&rest, 2);
    if (flags > (FLAG_SEAL | FLAG_SLOTS) || take(&rest, 4) != len || len < DIGEST_LEN)
        return false;
    if (rest.short_of || !digest_good(data, len))
        return false;
    take_head(&rest, plan, flags);
    take_numbers(&rest, plan);
    if (rest.short_of || !plan_fits(plan))
        return false;
    plan->slots = take_strings(&rest, plan->slots_named ? plan->slot_count : 0);
    plan->table = take_strings(&rest, plan->table_count);
    return !rest.short_of && rest.len == DIGEST_LEN;
}

enum tmv_result tmv_plan_open(struct tmv_plan *plan, const uint8_t *data, size_t len)
{
    tmvi_zero(plan, sizeof(*plan));
    if (read_plan(plan, data, len))
        return TMV_OK;
    tmvi_zero(plan, sizeof(*plan));
    return TMV_MALFORMED_PLAN;
}

enum tmv_result tmv_plan_check_key(const struct tmv_plan *plan, const struct tmv_key *key)
{
    struct tmv_hash hash;
    uint8_t digest[DIGEST_LEN];
    /* A bare LMS key has the raw form of the HSS key with one level. */
    enum tmv_scheme scheme = key->scheme == TMV_LMS ? TMV_HSS : key->scheme;
    tmvi_hash_begin(&hash, TMV_SHA256);
    tmvi_hash_add(&hash, key->raw, key->raw_len);
    tmvi_hash_end(&hash, digest, DIGEST_LEN);
    return scheme == plan->scheme && key->levels == plan->levels &&
                   tmvi_equal(digest, plan->key_sha256, DIGEST_LEN)
               ? TMV_OK
               : TMV_OTHER_KEY;
}

#endif
