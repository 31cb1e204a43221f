#include "cli/out.h"

#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"

#define COLUMNS_DEFAULT 80
#define COLUMNS_MAX 400

static bool terminal_draws(int fd)
{
    const char *term = getenv("TERM");
    return isatty(fd) == 1 && term != NULL && strcmp(term, "dumb") != 0;
}

void out_init(struct out *out, bool json, bool quiet, const struct time_source *time)
{
    *out = (struct out){.json = json, .quiet = quiet, .columns = COLUMNS_DEFAULT, .time = *time};
    const char *no_colour = getenv("NO_COLOR");
    out->colour = terminal_draws(STDOUT_FILENO) && (no_colour == NULL || no_colour[0] == '\0');
    out->progress = terminal_draws(STDERR_FILENO) && !quiet && !json;
    /* Into a pipe or a file we write UTF-8; a terminal may be of another mind. */
    (void)setlocale(LC_CTYPE, "");
    out->ascii = isatty(STDOUT_FILENO) == 1 && strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
    struct winsize size = {0};
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        out->columns = size.ws_col < COLUMNS_MAX ? size.ws_col : COLUMNS_MAX;
}

void out_data(const struct out *out, const char *format, ...)
{
    if (out->json)
        return;
    va_list list;
    va_start(list, format);
    (void)vprintf(format, list);
    va_end(list);
}

void out_note(const struct out *out, const char *format, ...)
{
    if (out->json || out->quiet)
        return;
    va_list list;
    va_start(list, format);
    (void)vprintf(format, list);
    va_end(list);
}

void out_talk(const struct out *out, const char *format, ...)
{
    if (out->quiet)
        return;
    (void)fflush(stdout); /* so that both stand in order where they go to one place */
    va_list list;
    va_start(list, format);
    (void)vfprintf(stderr, format, list);
    va_end(list);
}

const char *out_arrow(const struct out *out)
{
    return out->ascii ? "->" : "→";
}

/* Length of the UTF-8 character at s if it may be shown, else 0. */
static size_t utf8_shown(const unsigned char *s)
{
    if (s[0] >= 0x20 && s[0] < 0x7f)
        return 1;
    size_t len = s[0] >= 0xc2 && s[0] <= 0xdf ? 2
                 : s[0] >> 4 == 0xe           ? 3
                 : s[0] >> 3 == 0x1e          ? 4
                                              : 0;
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) /* a NUL ends here too */
            return 0;
    }
    if (len == 2 && s[0] == 0xc2 && s[1] < 0xa0)
        return 0; /* C1 controls, among them a one-character CSI */
    return len;
}

void out_clean(char *dst, size_t size, const char *src)
{
    MUST(size >= 1);
    size_t used = 0;
    for (const unsigned char *s = (const unsigned char *)src; *s != '\0';) {
        size_t len = utf8_shown(s);
        size_t put = len == 0 ? 1 : len;
        if (used + put >= size)
            break;
        if (len == 0)
            dst[used] = '?';
        else
            memcpy(dst + used, s, len);
        used += put;
        s += put;
    }
    dst[used] = '\0';
}

/* value / unit with one digit behind the point below ten, none above. */
static void print_scaled(char text[OUT_SHORT], double value, const char *unit)
{
    (void)snprintf(text, OUT_SHORT, value < 9.95 ? "%.1f %s" : "%.0f %s", value, unit);
}

void out_size(char text[OUT_SHORT], uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        (void)snprintf(text, OUT_SHORT, "%" PRIu64 " B", bytes);
        return;
    }
    double value = (double)bytes / 1024;
    size_t unit = 0;
    for (; value >= 1023.5 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1024;
    print_scaled(text, value, units[unit]);
}

void out_rate(char text[OUT_SHORT], uint64_t bytes, int64_t ns)
{
    static const char *const units[] = {"kB/s", "MB/s", "GB/s", "TB/s"};
    text[0] = '\0';
    if (ns <= 0)
        return;
    double value = (double)bytes * 1e9 / (double)ns / 1000;
    size_t unit = 0;
    for (; value >= 999.5 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1000;
    print_scaled(text, value, units[unit]);
}

void out_span(char text[OUT_SHORT], int64_t seconds)
{
    static const struct {
        int64_t s;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    if (seconds < 0)
        seconds = 0;
    size_t i = 0;
    while (i < 3 && seconds < units[i].s)
        i++;
    int n = snprintf(text, OUT_SHORT, "%" PRId64 " %s", seconds / units[i].s, units[i].name);
    int64_t rest = i < 3 ? seconds % units[i].s / units[i + 1].s : 0;
    if (rest > 0 && n > 0)
        (void)snprintf(text + n, OUT_SHORT - (size_t)n, " %" PRId64 " %s", rest, units[i + 1].name);
}

void out_time(char text[OUT_SHORT], int64_t seconds)
{
    char full[RFC3339_SIZE];
    rfc3339_print(full, seconds);
    (void)snprintf(text, OUT_SHORT, "%.10s %.5s UTC", full, full + 11);
}

void out_count(char text[OUT_SHORT], uint64_t value)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, value);
    char *put = text;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *put++ = ',';
        *put++ = digits[i];
    }
    *put = '\0';
}

void out_bar(char text[OUT_BAR_SIZE], uint64_t used, uint64_t total, unsigned cells, bool ascii)
{
    MUST(cells <= OUT_BAR_CELLS_MAX);
    double share = total == 0 ? 0 : (double)used / (double)total;
    unsigned full = share >= 1 ? cells : (unsigned)(share * cells + 0.5);
    if (full == 0 && used > 0 && total > 0 && cells > 0)
        full = 1;
    char *put = text;
    for (unsigned i = 0; i < cells; i++) {
        const char *cell = ascii ? (i < full ? "#" : ".") : (i < full ? "█" : "░");
        put = stpcpy(put, cell);
    }
    *put = '\0';
}

static const char *colour_start(enum out_colour colour)
{
    switch (colour) {
    case OUT_GOOD:
        return "\033[32m";
    case OUT_WARN:
        return "\033[33m";
    case OUT_BAD:
        return "\033[1;31m";
    case OUT_DIM:
        return "\033[2m";
    case OUT_BOLD:
        return "\033[1m";
    case OUT_PLAIN:
        break;
    }
    return "";
}

void out_coloured(const struct out *out, enum out_colour colour, const char *text)
{
    if (out->colour && colour != OUT_PLAIN)
        out_data(out, "%s%s\033[0m", colour_start(colour), text);
    else
        out_data(out, "%s", text);
}

void out_table_init(struct out_table *table, const char *align)
{
    size_t columns = strlen(align);
    MUST(columns >= 1 && columns <= OUT_TABLE_COLUMNS_MAX);
    *table = (struct out_table){.columns = (unsigned)columns, .align = align};
}

void out_table_cell(struct out_table *table, enum out_colour colour, const char *format, ...)
{
    if (table->count == table->cap) {
        size_t cap = table->cap == 0 ? 64 : 2 * table->cap;
        struct out_cell *cells = reallocarray(table->cells, cap, sizeof(*cells));
        if (cells == NULL) {
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->cap = cap;
    }
    struct out_cell *cell = &table->cells[table->count];
    *cell = (struct out_cell){.colour = colour};
    va_list list;
    va_start(list, format);
    if (vasprintf(&cell->text, format, list) < 0) {
        cell->text = NULL;
        table->failed = true;
    }
    va_end(list);
    table->count++;
}

/* Every character that we print takes one column; continuation bytes take none. */
static size_t shown_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void print_row(const struct out *out, const struct out_table *table, size_t row,
                      const size_t *widths)
{
    const struct out_cell *cells = &table->cells[row * table->columns];
    unsigned last = table->columns;
    while (last > 1 && cells[last - 1].text[0] == '\0')
        last--;
    for (unsigned i = 0; i < last; i++) {
        int pad = (int)(widths[i] - shown_width(cells[i].text));
        if (table->align[i] == 'r')
            out_data(out, "%*s", pad, "");
        out_coloured(out, row == 0 ? OUT_BOLD : cells[i].colour, cells[i].text);
        if (table->align[i] == 'l' && i + 1 < last)
            out_data(out, "%*s", pad, "");
        out_data(out, i + 1 < last ? "  " : "\n");
    }
}

bool out_table_print(const struct out *out, const struct out_table *table)
{
    if (table->failed)
        return false;
    MUST(table->count % table->columns == 0);
    size_t widths[OUT_TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->count; i++) {
        size_t width = shown_width(table->cells[i].text);
        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
    for (size_t row = 0; row < table->count / table->columns; row++)
        print_row(out, table, row, widths);
    return true;
}

void out_table_free(struct out_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    *table = (struct out_table){0};
}

#define PROGRESS_DELAY_NS INT64_C(1000000000)
#define PROGRESS_EVERY_NS INT64_C(100000000)

void out_progress_start(struct out_progress *p, const struct out *out, const char *verb,
                        uint64_t total)
{
    *p = (struct out_progress){.out = out, .verb = verb, .total = total};
    if (out->progress)
        p->start_ns = out->time.raw_ns(out->time.ctx);
}

static void progress_draw(struct out_progress *p, uint64_t done, int64_t now_ns)
{
    char bar[OUT_BAR_SIZE], size[OUT_SHORT], rate[OUT_SHORT];
    unsigned cells = p->out->columns > 72 ? 32 : p->out->columns > 52 ? 12 : 0;
    out_bar(bar, done, p->total, p->total == 0 ? 0 : cells, p->out->ascii);
    out_size(size, done);
    out_rate(rate, done, now_ns - p->start_ns);
    (void)fprintf(stderr, "\r%-7s  %s %s  %s\033[K", p->verb, bar, size, rate);
    (void)fflush(stderr);
    p->drawn_ns = now_ns;
}

void out_progress_step(struct out_progress *p, uint64_t done)
{
    if (!p->out->progress)
        return;
    int64_t now_ns = p->out->time.raw_ns(p->out->time.ctx);
    if (now_ns - p->start_ns >= PROGRESS_DELAY_NS && now_ns - p->drawn_ns >= PROGRESS_EVERY_NS)
        progress_draw(p, done, now_ns);
}

void out_progress_end(struct out_progress *p, uint64_t done)
{
    if (!p->out->progress || p->drawn_ns == 0)
        return;
    progress_draw(p, done, p->out->time.raw_ns(p->out->time.ctx));
    (void)fprintf(stderr, "\n");
}
