#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool text_to_u64(uint64_t *value, const char *text, uint64_t max)
{
    *value = 0;
    if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
        return false;
    uint64_t v = 0;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return false;
    }
    if (v > max)
        return false;
    *value = v;
    return true;
}

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar, and back. The year is
 * counted from March, so that the leap day is the last day of a year. */
static int64_t days_from_date(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_from_days(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    int64_t era = days / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t of_year = day_of_era - (365 * of_era + of_era / 4 - of_era / 100);
    int64_t m = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(of_era + era * 400 + (*month <= 2));
}

void rfc3339_print(char out[RFC3339_SIZE], int64_t seconds)
{
    if (seconds < 0)
        seconds = 0;
    if (seconds > RFC3339_S_MAX)
        seconds = RFC3339_S_MAX;
    int year = 0;
    int month = 0;
    int day = 0;
    date_from_days(seconds / 86400, &year, &month, &day);
    int rest = (int)(seconds % 86400);
    (void)snprintf(out, RFC3339_SIZE, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)year % 10000,
                   (unsigned)month % 100, (unsigned)day % 100, (unsigned)rest / 3600 % 100,
                   (unsigned)rest / 60 % 60, (unsigned)rest % 60);
}

static bool digits(int *value, const char *text, size_t count)
{
    *value = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *value = *value * 10 + (text[i] - '0');
    }
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

bool rfc3339_parse(int64_t *seconds, const char *text)
{
    *seconds = 0;
    int year = 0;
    int month = 0;
    int day = 0;
    int hour = 0;
    int minute = 0;
    int second = 0;
    if (strnlen(text, RFC3339_SIZE) != RFC3339_SIZE - 1 || text[4] != '-' || text[7] != '-' ||
        text[10] != 'T' || text[13] != ':' || text[16] != ':' || text[19] != 'Z')
        return false;
    if (!digits(&year, text, 4) || !digits(&month, text + 5, 2) || !digits(&day, text + 8, 2) ||
        !digits(&hour, text + 11, 2) || !digits(&minute, text + 14, 2) ||
        !digits(&second, text + 17, 2))
        return false;
    if (year < 1970 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    *seconds = days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return true;
}

void duration_print(char out[DURATION_SIZE], int64_t seconds)
{
    static const struct {
        int64_t unit_s;
        const char *prefix;
        char letter;
    } units[] = {{86400, "P", 'D'}, {3600, "PT", 'H'}, {60, "PT", 'M'}, {1, "PT", 'S'}};
    /* The largest unit that divides it: windows are round numbers, and one unit reads best. */
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (seconds % units[i].unit_s == 0 && (seconds != 0 || units[i].unit_s == 1)) {
            (void)snprintf(out, DURATION_SIZE, "%s%" PRId64 "%c", units[i].prefix,
                           seconds / units[i].unit_s, units[i].letter);
            return;
        }
    }
}

#define DURATION_S_MAX INT64_C(100000000000)

bool duration_parse(int64_t *seconds, const char *text)
{
    static const char letters[] = "WDHMS";
    static const int64_t units[] = {604800, 86400, 3600, 60, 1};
    *seconds = 0;
    if (*text++ != 'P')
        return false;
    int64_t total = 0;
    bool time_part = false;
    size_t next = 0; /* first unit that may still come: each at most once, in falling order */
    size_t parts = 0;
    while (*text != '\0') {
        if (*text == 'T' && !time_part) {
            time_part = true;
            next = next < 2 ? 2 : next;
            if (*++text == '\0')
                return false;
            continue;
        }
        int64_t n = 0;
        size_t count = 0;
        for (; *text >= '0' && *text <= '9'; text++, count++)
            if (count >= 12 || (n = n * 10 + (*text - '0')) > DURATION_S_MAX)
                return false;
        const char *letter = *text != '\0' ? strchr(letters, *text) : NULL;
        if (count == 0 || letter == NULL)
            return false;
        size_t unit = (size_t)(letter - letters);
        if (unit < next || (unit >= 2) != time_part || n > DURATION_S_MAX / units[unit])
            return false;
        total += n * units[unit];
        next = unit + 1;
        parts++;
        text++;
    }
    if (parts == 0 || total < 1 || total > DURATION_S_MAX)
        return false;
    *seconds = total;
    return true;
}

void text_copy(char *to, size_t size, const char *from)
{
    MUST(size >= 1);
    size_t len = strnlen(from, size - 1);
    memcpy(to, from, len);
    memset(to + len, 0, size - len);
}

bool name_valid(const char *text)
{
    size_t len = strnlen(text, NAME_LEN_MAX + 1);
    if (len == 0 || len > NAME_LEN_MAX || text[0] == '.' || text[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

bool token_valid(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);
    if (len > max)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] > 0x7e || text[i] == '"' || text[i] == '\\')
            return false;
    return true;
}
