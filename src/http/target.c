#include "http/target.h"

#include <string.h>
#include <strings.h>

#include "base/bytes.h"

static bool printable(char c)
{
    return c > 0x20 && c <= 0x7e && c != '#';
}

/* Decode raw[0..len) to *out, advance *out behind the NUL, and return where the text starts. */
static enum rc decode(const char **text, char **out, const char *raw, size_t len, struct err *err)
{
    char *start = *out;
    for (size_t i = 0; i < len; i++) {
        char c = raw[i];
        if (c == '%') {
            uint8_t byte = 0;
            char pair[3] = {0};
            if (len - i > 2) {
                pair[0] = raw[i + 1];
                pair[1] = raw[i + 2];
            }
            if (!hex_decode(&byte, 1, pair) || byte < 0x20 || byte > 0x7e || byte == '/')
                return FAIL(err, RC_REFUSED_INPUT, "", 0, "bad percent-encoding in the address");
            c = (char)byte;
            i += 2;
        } else if (!printable(c)) {
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "character 0x%02x in the address",
                        (unsigned)(unsigned char)c);
        }
        *(*out)++ = c;
    }
    *(*out)++ = '\0';
    *text = start;
    return RC_OK;
}

static enum rc parse_path(struct target *t, char **out, const char *raw, size_t len,
                          struct err *err)
{
    size_t at = 1; /* behind the first '/' */
    for (;;) {
        if (t->segment_count == TARGET_SEGMENTS_MAX)
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "more than %d parts in the path",
                        TARGET_SEGMENTS_MAX);
        const char *slash = memchr(raw + at, '/', len - at);
        size_t end = slash == NULL ? len : (size_t)(slash - raw);
        enum rc rc = decode(&t->segments[t->segment_count], out, raw + at, end - at, err);
        if (rc != RC_OK)
            return rc;
        t->segment_count++;
        if (slash == NULL)
            return RC_OK;
        at = end + 1;
    }
}

static enum rc add_param(struct target *t, char **out, const char *raw, size_t len, struct err *err)
{
    if (t->param_count == TARGET_PARAMS_MAX)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "more than %d parameters", TARGET_PARAMS_MAX);
    const char *equals = memchr(raw, '=', len);
    size_t name_len = equals == NULL ? len : (size_t)(equals - raw);
    if (name_len == 0)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "a query parameter has no name");
    const char *name = NULL;
    const char *value = "";
    enum rc rc = decode(&name, out, raw, name_len, err);
    if (rc == RC_OK && equals != NULL)
        rc = decode(&value, out, equals + 1, len - name_len - 1, err);
    if (rc != RC_OK)
        return rc;
    if (target_param(t, name) != NULL)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "query parameter '%.40s' is there twice", name);
    t->params[t->param_count].name = name;
    t->params[t->param_count].value = value;
    t->param_count++;
    return RC_OK;
}

static enum rc parse_query(struct target *t, char **out, const char *raw, struct err *err)
{
    while (*raw != '\0') {
        size_t len = strcspn(raw, "&");
        enum rc rc = add_param(t, out, raw, len, err);
        if (rc != RC_OK)
            return rc;
        raw += len;
        if (*raw == '&') {
            raw++;
            if (*raw == '\0')
                return FAIL(err, RC_REFUSED_INPUT, "", 0, "a query parameter has no name");
        }
    }
    return RC_OK;
}

/* RFC 9112 §3.2.2: "a server MUST accept the absolute-form in requests". */
static const char *skip_scheme(const char *raw)
{
    if (strncasecmp(raw, "http://", 7) == 0)
        return raw + 7;
    return strncasecmp(raw, "https://", 8) == 0 ? raw + 8 : NULL;
}

static const char *skip_origin(const char *raw)
{
    const char *authority = skip_scheme(raw);
    return authority == NULL ? raw : authority + strcspn(authority, "/");
}

bool target_agrees(const char *raw, const char *host)
{
    const char *authority = skip_scheme(raw);
    if (authority == NULL)
        return true;
    size_t len = strcspn(authority, "/?#");
    return strlen(host) == len && strncasecmp(authority, host, len) == 0;
}

enum rc target_parse(struct target *target, const char *raw, struct err *err)
{
    *target = (struct target){0};
    if (strnlen(raw, TARGET_LEN_MAX + 1) > TARGET_LEN_MAX)
        return FAIL(err, RC_REFUSED_TOO_LARGE, "", 0, "more than %d characters", TARGET_LEN_MAX);
    const char *path = skip_origin(raw);
    if (path[0] != '/')
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "the address does not start with '/'");
    char *out = target->store;
    size_t path_len = strcspn(path, "?");
    enum rc rc = parse_path(target, &out, path, path_len, err);
    if (rc == RC_OK && path[path_len] == '?')
        rc = parse_query(target, &out, path + path_len + 1, err);
    if (rc != RC_OK)
        *target = (struct target){0};
    return rc;
}

const char *target_param(const struct target *target, const char *name)
{
    for (size_t i = 0; i < target->param_count; i++)
        if (strcmp(target->params[i].name, name) == 0)
            return target->params[i].value;
    return NULL;
}

/* Is name one of the words of allowed? */
static bool listed(const char *allowed, const char *name)
{
    size_t name_len = strlen(name);
    while (*allowed != '\0') {
        size_t len = strcspn(allowed, " ");
        if (len == name_len && strncmp(allowed, name, len) == 0)
            return true;
        allowed += len;
        allowed += strspn(allowed, " ");
    }
    return false;
}

enum rc target_allow(const struct target *target, const char *allowed, struct err *err)
{
    for (size_t i = 0; i < target->param_count; i++)
        if (!listed(allowed, target->params[i].name))
            return FAIL(err, RC_REFUSED_INPUT, "", 0,
                        "query parameter '%.40s' is not known here; %s%s", target->params[i].name,
                        allowed[0] == '\0' ? "there are none" : "possible: ", allowed);
    return RC_OK;
}
