#include "sim/trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define LINE_SIZE 600

void trace_start(struct trace *t, bool telling, bool fully)
{
    t->hash = UINT64_C(0xcbf29ce484222325);
    t->telling = telling;
    t->fully = fully;
    t->cut = false;
    t->len = 0;
    t->step = 0;
    t->text[0] = '\0';
}

static void append(struct trace *t, const char *line, size_t len)
{
    if (t->cut || t->len + len + 1 > sizeof(t->text)) {
        t->cut = true;
        return;
    }
    memcpy(t->text + t->len, line, len);
    t->len += len;
    t->text[t->len] = '\0';
}

void trace_say(struct trace *t, int64_t now_ns, const char *format, ...)
{
    char line[LINE_SIZE];
    char when[RFC3339_SIZE];
    if (!t->telling)
        return;
    rfc3339_print(when, now_ns / INT64_C(1000000000));
    int at = snprintf(line, sizeof(line), "%6" PRIu64 "  %s  ", t->step, when);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + at, sizeof(line) - (size_t)at, format, args);
    va_end(args);
    size_t len = (size_t)(at + more);
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    line[len++] = '\n';
    append(t, line, len);
}

void trace_detail(struct trace *t, const char *format, ...)
{
    char line[LINE_SIZE];
    if (!t->telling || !t->fully)
        return;
    int at = snprintf(line, sizeof(line), "%30s", "");
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + at, sizeof(line) - (size_t)at, format, args);
    va_end(args);
    size_t len = (size_t)(at + more);
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    line[len++] = '\n';
    append(t, line, len);
}
