#include "http/guard.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define LINE_MAX_LEN 32768 /* no line is longer than the buffer that the library has */

static const struct {
    const char *name;
    bool list; /* may be there more than once: the values are joined (RFC 9110 §5.3) */
} known[GUARD_KNOWN_COUNT] = {
    [GUARD_HOST] = {"Host", false},
    [GUARD_CONTENT_LENGTH] = {"Content-Length", false},
    [GUARD_TRANSFER_ENCODING] = {"Transfer-Encoding", true},
    [GUARD_CONTENT_TYPE] = {"Content-Type", false},
    [GUARD_CONTENT_ENCODING] = {"Content-Encoding", true},
    [GUARD_CONTENT_DIGEST] = {"Content-Digest", true},
    [GUARD_ACCEPT] = {"Accept", true},
    [GUARD_IF_NONE_MATCH] = {"If-None-Match", true},
    [GUARD_EXPECT] = {"Expect", true},
    [GUARD_IDEMPOTENCY_KEY] = {"Idempotency-Key", false},
    [GUARD_REQUEST_ID] = {"Request-Id", false},
    [GUARD_ORIGIN] = {"Origin", false},
};

static void PRINTF_LIKE(3, 4)
    refuse(struct guard *g, enum problem_id problem, const char *format, ...)
{
    if (g->refused)
        return;
    g->refused = true;
    g->problem = problem;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(g->detail, sizeof(g->detail), format, args);
    va_end(args);
}

/* RFC 9110 §5.6.2: what a header name may consist of. */
static bool token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool name_clean(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!token_char(name[i]))
            return false;
    return len > 0;
}

/* "A sender MUST NOT generate" and we do not take: CR, LF, NUL and other controls (RFC 9110 §5.5).
 */
static bool value_clean(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static void keep(struct guard *g, size_t which, const char *value, size_t len)
{
    char *kept = g->values[which];
    size_t at = strlen(kept);
    const char *comma = g->seen[which] > 0 ? ", " : "";
    g->seen[which]++;
    if (g->seen[which] > 1 && !known[which].list) {
        refuse(g, PROBLEM_BAD_REQUEST, "header %s is there twice", known[which].name);
        return;
    }
    if (at + strlen(comma) + len > GUARD_VALUE_MAX) {
        refuse(g, PROBLEM_BAD_REQUEST, "header %s is longer than %d characters", known[which].name,
               GUARD_VALUE_MAX);
        return;
    }
    (void)snprintf(kept + at, GUARD_VALUE_MAX + 1 - at, "%s%.*s", comma, (int)len, value);
}

void guard_line(struct guard *guard, uintptr_t *at, const char *name, size_t name_len,
                const char *value, size_t value_len)
{
    uintptr_t begin = (uintptr_t)name;
    uintptr_t behind_colon = begin + name_len + 1;
    uintptr_t text = (uintptr_t)value;
    if ((*at != 0 && begin != *at) || text < behind_colon || text - behind_colon > LINE_MAX_LEN)
        refuse(guard, PROBLEM_BAD_REQUEST,
               "a header is folded, holds a NUL, or its line does not end with CR LF");
    *at = text + value_len + strlen("\r\n");
}

void guard_head(struct guard *guard, size_t seen, size_t size)
{
    if (size != seen + strlen("\r\n"))
        refuse(guard, PROBLEM_BAD_REQUEST,
               "the headers do not end with an empty line, or one of them has no name");
}

void guard_header(struct guard *guard, const char *name, size_t name_len, const char *value,
                  size_t value_len)
{
    guard->count++;
    if (guard->count > GUARD_HEADERS_MAX)
        refuse(guard, PROBLEM_BAD_REQUEST, "more than %d headers", GUARD_HEADERS_MAX);
    if (!name_clean(name, name_len))
        refuse(guard, PROBLEM_BAD_REQUEST, "a header name has a blank or another wrong character");
    if (!value_clean(value, value_len))
        refuse(guard, PROBLEM_BAD_REQUEST, "a header value has a control character");
    if (guard->refused)
        return;
    for (size_t i = 0; i < GUARD_KNOWN_COUNT; i++)
        if (strlen(known[i].name) == name_len && strncasecmp(known[i].name, name, name_len) == 0)
            keep(guard, i, value, value_len);
}

static void check_length(struct guard *g)
{
    if (g->seen[GUARD_TRANSFER_ENCODING] > 0 && g->seen[GUARD_CONTENT_LENGTH] > 0) {
        refuse(g, PROBLEM_BAD_REQUEST, "Content-Length and Transfer-Encoding in one request");
    } else if (g->seen[GUARD_TRANSFER_ENCODING] > 0) {
        refuse(g, PROBLEM_LENGTH_REQUIRED, "Transfer-Encoding is not taken");
    } else if (g->seen[GUARD_CONTENT_LENGTH] > 0 &&
               !text_to_u64(&g->content_length, g->values[GUARD_CONTENT_LENGTH], INT64_MAX)) {
        refuse(g, PROBLEM_BAD_REQUEST, "Content-Length is not a plain number");
    }
}

bool guard_finish(struct guard *guard, const char *version)
{
    if (strcmp(version, "HTTP/1.1") != 0)
        refuse(guard, PROBLEM_HTTP_VERSION, "the version of the request is not HTTP/1.1");
    if (guard->seen[GUARD_HOST] != 1)
        refuse(guard, PROBLEM_BAD_REQUEST, "exactly one Host header is needed");
    else if (guard->values[GUARD_HOST][strcspn(guard->values[GUARD_HOST], " \t,/@?#")] != '\0')
        refuse(guard, PROBLEM_BAD_REQUEST, "Host is not a name or address with a port");
    check_length(guard);
    if (guard->seen[GUARD_EXPECT] > 0 &&
        strcasecmp(guard->values[GUARD_EXPECT], "100-continue") != 0)
        refuse(guard, PROBLEM_BAD_REQUEST, "Expect may only be 100-continue");
    return !guard->refused;
}

const char *guard_value(const struct guard *guard, enum guard_header header)
{
    return guard->seen[header] > 0 ? guard->values[header] : NULL;
}
