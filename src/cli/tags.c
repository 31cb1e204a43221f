#include "cli/tags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define YEAR_S 31557600.0 /* 365.25 days */
#define NUMBER_DIGITS_MAX 9

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* "YYYY-MM-DD" and anything that starts so. */
static bool read_date(int64_t *seconds, const char *word, size_t len)
{
    if (len < 10 || (len > 10 && (digit(word[10]) || word[10] == '.')))
        return false;
    char text[RFC3339_SIZE];
    (void)snprintf(text, sizeof(text), "%.10sT00:00:00Z", word);
    return rfc3339_parse(seconds, text);
}

/* Numbers with dots between. 0 if that is not all there is. */
static unsigned read_version(uint64_t numbers[3], const char *word, size_t len)
{
    size_t i = 0;
    while (i < len && !digit(word[i])) {
        bool skipped = (word[i] >= 'a' && word[i] <= 'z') || (word[i] >= 'A' && word[i] <= 'Z') ||
                       strchr("-_/", word[i]) != NULL;
        if (!skipped)
            return 0;
        i++;
    }
    unsigned count = 0;
    while (i < len && count < 3) {
        size_t from = i;
        numbers[count] = 0;
        for (; i < len && digit(word[i]); i++)
            numbers[count] = numbers[count] * 10 + (uint64_t)(word[i] - '0');
        if (i == from || i - from > NUMBER_DIGITS_MAX)
            return 0;
        count++;
        if (i == len)
            return count;
        if (word[i++] != '.')
            return 0;
    }
    return 0;
}

static void add_version(struct tags *tags, const uint64_t numbers[3], unsigned count)
{
    bool calendar = count == 3 && numbers[0] >= 1990 && numbers[0] <= 2200 && numbers[1] >= 1 &&
                    numbers[1] <= 12;
    tags->calendar = calendar && (tags->versions == 0 || tags->calendar);
    if (tags->versions == 0 || numbers[0] < tags->year_min)
        tags->year_min = numbers[0];
    if (count > tags->components)
        tags->components = count;
    for (unsigned i = 0; i < count; i++) {
        if (numbers[i] > tags->max[i])
            tags->max[i] = numbers[i];
    }
    tags->versions++;
}

/* One line: [version] [date]. Room for a date was made by the caller. */
static void read_line(struct tags *tags, const char *line, size_t len)
{
    while (len > 0 && blank(line[len - 1]))
        len--;
    while (len > 0 && blank(line[0])) {
        line++;
        len--;
    }
    if (len == 0)
        return;
    size_t first = 0;
    while (first < len && !blank(line[first]))
        first++;
    int64_t date = 0;
    if (read_date(&date, line, first)) {
        tags->dates[tags->date_count++] = date;
        return;
    }
    uint64_t numbers[3] = {0};
    unsigned count = read_version(numbers, line, first);
    if (count == 0) {
        tags->ignored++;
        return;
    }
    add_version(tags, numbers, count);
    size_t second = first;
    while (second < len && blank(line[second]))
        second++;
    if (second < len && read_date(&date, line + second, len - second))
        tags->dates[tags->date_count++] = date;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

enum rc tags_read(struct tags *tags, const char *text, size_t len, struct err *err)
{
    *tags = (struct tags){0};
    size_t lines = 1;
    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    tags->dates = calloc(lines, sizeof(*tags->dates));
    if (tags->dates == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for %zu lines", lines);
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t line_len = end == NULL ? len - at : (size_t)(end - (text + at));
        read_line(tags, text + at, line_len);
        at += line_len + 1;
    }
    if (tags->versions == 0 && tags->date_count == 0) {
        tags_free(tags);
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "no version and no date in the list");
    }
    qsort(tags->dates, tags->date_count, sizeof(*tags->dates), by_number);
    return RC_OK;
}

void tags_free(struct tags *tags)
{
    free(tags->dates);
    *tags = (struct tags){0};
}

uint64_t tags_peak(const struct tags *tags, int64_t window_s)
{
    MUST(window_s > 0);
    uint64_t peak = 0;
    size_t from = 0;
    for (size_t to = 0; to < tags->date_count; to++) {
        while (tags->dates[to] - tags->dates[from] >= window_s)
            from++;
        if (to - from + 1 > peak)
            peak = to - from + 1;
    }
    return peak;
}

double tags_years(const struct tags *tags)
{
    if (tags->date_count < 2)
        return 0;
    return (double)(tags->dates[tags->date_count - 1] - tags->dates[0]) / YEAR_S;
}

bool decimal_parse(double *value, const char *text)
{
    *value = 0;
    double number = 0, unit = 1;
    unsigned digits = 0;
    for (bool point = false; digit(*text) || (*text == '.' && !point && digits > 0); text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        if (++digits > 15)
            return false;
        number = number * 10 + (*text - '0');
        unit *= point ? 10 : 1;
    }
    if (digits == 0 || text[-1] == '.')
        return false;
    number /= unit;
    if (*text == 'e') {
        bool down = text[1] == '-';
        uint64_t exponent = 0;
        if (!text_to_u64(&exponent, text + 1 + down, 99))
            return false;
        for (; exponent > 0; exponent--)
            number = down ? number / 10 : number * 10;
    } else if (*text != '\0') {
        return false;
    }
    *value = number;
    return true;
}
