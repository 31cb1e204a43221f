#include "base/rc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
    enum rc rc;
    const char *name;
    const char *text;
} rc_table[] = {{RC_OK, "RC_OK", "ok"},
#define X(name, class, n, text) {name, #name, text},
                RC_LIST(X)
#undef X
};

#define RC_COUNT (sizeof(rc_table) / sizeof(rc_table[0]))

enum rc_class rc_class(enum rc rc)
{
    return (enum rc_class)((int)rc / 100);
}

const char *rc_name(enum rc rc)
{
    for (size_t i = 0; i < RC_COUNT; i++)
        if (rc_table[i].rc == rc)
            return rc_table[i].name;
    return "RC_UNKNOWN";
}

const char *rc_text(enum rc rc)
{
    for (size_t i = 0; i < RC_COUNT; i++)
        if (rc_table[i].rc == rc)
            return rc_table[i].text;
    return "unknown result code";
}

bool rc_known(int number)
{
    for (size_t i = 0; i < RC_COUNT; i++)
        if ((int)rc_table[i].rc == number)
            return true;
    return false;
}

enum rc err_fail(struct err *err, enum rc rc, const char *origin, int64_t native, const char *where,
                 const char *format, ...)
{
    if (err == NULL || err->rc != RC_OK)
        return rc;
    err->rc = rc;
    err->origin = origin;
    err->native = native;
    err->where = where;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return rc;
}

const char *err_text(const struct err *err)
{
    return err->text[0] != '\0' ? err->text : rc_text(err->rc);
}

void must_failed(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "tidemark: bug: %s:%d: MUST(%s) does not hold; stopping\n", file, line,
                  condition);
    abort();
}
