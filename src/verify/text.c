/*
 * Versions and slots as text, in and out.
 */
#include "verify/bytes.h"
#include "verify/place.h"

#if TMV_WITH_PLAN

/* --- In ----------------------------------------------------------------------------------------
 */

static bool is_month(const struct tmv_plan *plan, unsigned level)
{
    return plan->format == TMV_CALENDAR && level == 1;
}

/* A number at the front of text, without leading zeros but for a month, which has two digits. One
 * that 64 bits do not hold reads as UINT64_MAX, which lies outside every plan. Returns how many
 * characters it has; 0 if there is no such number. */
static size_t number(const char *text, bool month, uint64_t *value)
{
    size_t len = 0;
    *value = 0;
    for (; text[len] >= '0' && text[len] <= '9'; len++) {
        uint64_t digit = (uint64_t)(text[len] - '0');
        bool fits = *value <= (UINT64_MAX - digit) / 10;
        *value = fits ? *value * 10 + digit : UINT64_MAX;
        if (len == TMV_TEXT_MAX)
            return 0;
    }
    if (month)
        return len == 2 && *value >= 1 && *value <= 12 ? len : 0;
    return len > 1 && text[0] == '0' ? 0 : len;
}

static enum tmv_result read_numbers(const struct tmv_plan *plan, const char *version,
                                    uint64_t numbers[TMV_COMPONENTS_MAX])
{
    for (unsigned i = 0; i < plan->components; i++) {
        char end = i + 1 == plan->components ? '\0' : '.';
        size_t len = number(version, is_month(plan, i), &numbers[i]);
        if (len == 0 || version[len] != end)
            return TMV_NOT_A_VERSION;
        version += len + 1;
    }
    return TMV_OK;
}

/* Length of a text as the compiler of plans takes it: printable ASCII without '"' and '\'. 0 if it
 * is empty, too long or something else. */
static size_t token_len(const char *text)
{
    size_t len = 0;
    for (; text[len] != '\0'; len++) {
        char c = text[len];
        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\' || len == TMV_TEXT_MAX)
            return 0;
    }
    return len;
}

/* Place of a text among strings; count if it is not there. */
static uint32_t find(const uint8_t *strings, uint32_t count, const char *text)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t len = *strings++;
        size_t same = 0;
        while (same < len && text[same] == (char)strings[same])
            same++;
        if (same == len && text[len] == '\0')
            return i;
        strings += len;
    }
    return count;
}

enum tmv_result tmvi_version_read(const struct tmv_plan *plan, const char *version,
                                  uint64_t numbers[TMV_COMPONENTS_MAX])
{
    if (plan->format != TMV_TABLE)
        return read_numbers(plan, version, numbers);
    if (token_len(version) == 0)
        return TMV_NOT_A_VERSION;
    numbers[0] = find(plan->table, plan->table_count, version);
    return numbers[0] < plan->table_count ? TMV_OK : TMV_OUTSIDE_PLAN;
}

enum tmv_result tmvi_slot_read(const struct tmv_plan *plan, const char *slot, uint32_t *slot_number)
{
    *slot_number = 0;
    if (slot == NULL || slot[0] == '\0')
        return plan->slot_count == 1 ? TMV_OK : TMV_NOT_A_VERSION;
    if (!plan->slots_named)
        return TMV_OUTSIDE_PLAN;
    uint32_t found = find(plan->slots, plan->slot_count, slot);
    if (found == plan->slot_count)
        return TMV_OUTSIDE_PLAN;
    *slot_number = found;
    return TMV_OK;
}

/* --- Out ---------------------------------------------------------------------------------------
 */

/* Write a number with at least `least` digits; returns how many. */
static size_t print_number(char *out, uint64_t value, size_t least)
{
    size_t len = 1;
    for (uint64_t rest = value / 10; rest != 0; rest /= 10)
        len++;
    if (len < least)
        len = least;
    for (size_t i = len; i > 0; i--) {
        out[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return len;
}

/* The i-th of some strings, as a C string. */
static void print_string(char *out, const uint8_t *strings, uint64_t i)
{
    while (i-- > 0)
        strings += 1 + (size_t)*strings;
    tmvi_copy(out, strings + 1, *strings);
    out[*strings] = '\0';
}

static void print_version(const struct tmv_plan *plan, const struct tmv_place *place, char *out)
{
    for (unsigned i = 0; i < plan->components; i++) {
        if (i > 0)
            *out++ = '.';
        out += print_number(out, place->numbers[i], is_month(plan, i) ? 2 : 1);
    }
    *out = '\0';
}

void tmv_plan_print(const struct tmv_plan *plan, const struct tmv_place *place, char *version,
                    char *slot)
{
    version[0] = '\0';
    if (slot != NULL)
        slot[0] = '\0';
    if (plan->kind != TMV_PLAN_VERSION)
        return;
    if (plan->format != TMV_TABLE)
        print_version(plan, place, version);
    else if (place->numbers[0] < plan->table_count)
        print_string(version, plan->table, place->numbers[0]);
    if (slot != NULL && plan->slots_named && place->slot < plan->slot_count)
        print_string(slot, plan->slots, place->slot);
}

#endif
