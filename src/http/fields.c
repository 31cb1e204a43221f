#include "http/fields.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/text.h"

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* Keys of a dictionary: RFC 8941 §3.1.2. */
static size_t key_length(const char *p)
{
    if (!((*p >= 'a' && *p <= 'z') || *p == '*'))
        return 0;
    return strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_-.*");
}

static bool key_is(const char *key, size_t len, const char *name)
{
    return strlen(name) == len && strncmp(key, name, len) == 0;
}

static enum rc take_digest(bool *has, uint8_t *out, size_t out_len, const char *text, size_t len,
                           struct err *err)
{
    size_t got = 0;
    if (*has)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "Content-Digest names an algorithm twice");
    if (!base64_decode(out, out_len, &got, text, len) || got != out_len)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "Content-Digest is not %zu bytes of base64",
                    out_len);
    *has = true;
    return RC_OK;
}

/* One member "key=:base64:"; *at moves behind it. */
static enum rc digest_member(struct content_digest *d, const char **at, struct err *err)
{
    const char *key = *at;
    size_t key_len = key_length(key);
    if (key_len == 0 || strncmp(key + key_len, "=:", 2) != 0)
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "Content-Digest is not of the form sha-256=:BASE64:");
    const char *text = key + key_len + 2;
    size_t len = strcspn(text, ":");
    if (text[len] != ':')
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "Content-Digest has no closing ':'");
    *at = text + len + 1;
    if (key_is(key, key_len, "sha-256"))
        return take_digest(&d->has_sha256, d->sha256, sizeof(d->sha256), text, len, err);
    if (key_is(key, key_len, "sha-512"))
        return take_digest(&d->has_sha512, d->sha512, sizeof(d->sha512), text, len, err);
    return RC_OK; /* RFC 9530 §5: other algorithms are for others */
}

static enum rc digest_members(struct content_digest *d, const char *at, struct err *err)
{
    for (;;) {
        enum rc rc = digest_member(d, &at, err);
        if (rc != RC_OK)
            return rc;
        at = skip_blanks(at);
        if (*at == '\0')
            return RC_OK;
        if (*at != ',')
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "Content-Digest goes on after a digest");
        at = skip_blanks(at + 1);
    }
}

enum rc content_digest_parse(struct content_digest *digest, const char *value, struct err *err)
{
    *digest = (struct content_digest){0};
    if (value == NULL)
        return RC_OK;
    enum rc rc = digest_members(digest, skip_blanks(value), err);
    if (rc != RC_OK)
        *digest = (struct content_digest){0};
    return rc;
}

enum rc idempotency_key_parse(char key[IDEMPOTENCY_KEY_MAX + 1], const char *value, struct err *err)
{
    key[0] = '\0';
    size_t len = strlen(value);
    bool quoted = len >= 2 && value[0] == '"' && value[len - 1] == '"';
    if (quoted) {
        value++;
        len -= 2;
    }
    char copy[IDEMPOTENCY_KEY_MAX + 1] = {0};
    if (len == 0 || len > IDEMPOTENCY_KEY_MAX)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "Idempotency-Key must have 1 to %d characters",
                    IDEMPOTENCY_KEY_MAX);
    memcpy(copy, value, len);
    if (!token_valid(copy, IDEMPOTENCY_KEY_MAX) || (!quoted && strchr(copy, ' ') != NULL))
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "Idempotency-Key may hold printable ASCII without quotes and backslashes");
    memcpy(key, copy, sizeof(copy));
    return RC_OK;
}

bool request_id_valid(const char *value)
{
    return value[0] != '\0' && token_valid(value, REQUEST_ID_MAX);
}

bool media_type_is(const char *value, const char *type)
{
    value = skip_blanks(value);
    size_t len = strcspn(value, "; \t");
    const char *rest = skip_blanks(value + len);
    return (*rest == '\0' || *rest == ';') && strlen(type) == len &&
           strncasecmp(value, type, len) == 0;
}

/* 3: the type itself; 2: "application/ *"; 1: "* / *"; 0: no match. */
static unsigned range_matches(const char *range, size_t len, const char *type)
{
    size_t main_len = strcspn(type, "/") + 1;
    if (strlen(type) == len && strncasecmp(range, type, len) == 0)
        return 3;
    if (len == main_len + 1 && strncasecmp(range, type, main_len) == 0 && range[main_len] == '*')
        return 2;
    return len == 3 && strncmp(range, "*/*", 3) == 0 ? 1 : 0;
}

/* "0.8" -> 800; what is not a weight counts as 0, so that it is never taken for a wish. */
static unsigned weight(const char *p)
{
    unsigned q = *p == '1' ? 1000 : 0;
    if (*p != '0' && *p != '1')
        return 0;
    if (p[1] != '.')
        return q;
    unsigned step = 100;
    for (p += 2; *p >= '0' && *p <= '9' && step > 0; p++, step /= 10)
        q += (unsigned)(*p - '0') * step;
    return q > 1000 ? 1000 : q;
}

/* Weight among the parameters of one range, params[0 … len). */
static unsigned range_weight(const char *params, size_t len)
{
    for (size_t i = 0; i + 1 < len; i++) {
        if (params[i] != ';')
            continue;
        size_t at = i + 1 + strspn(params + i + 1, " \t");
        if (at + 1 < len && (params[at] == 'q' || params[at] == 'Q') && params[at + 1] == '=')
            return weight(params + at + 2);
    }
    return 1000;
}

unsigned accept_quality(const char *accept, const char *type)
{
    if (accept == NULL)
        return 1000;
    unsigned best_match = 0;
    unsigned quality = 0;
    for (const char *p = skip_blanks(accept); *p != '\0';) {
        size_t len = strcspn(p, ",");
        size_t range_len = strcspn(p, ",; \t");
        unsigned match = range_matches(p, range_len, type);
        if (match > best_match) {
            best_match = match;
            quality = range_weight(p + range_len, len - range_len);
        }
        p = skip_blanks(p + len + (p[len] == ',' ? 1 : 0));
    }
    return quality;
}

bool accept_bare(const char *accept, bool *neither)
{
    unsigned json = accept_quality(accept, "application/json");
    unsigned bare = accept_quality(accept, "application/octet-stream");
    *neither = json == 0 && bare == 0;
    return bare > json;
}

/* Length of one entity tag without its "W/"; 0 if there is none. Its characters are those of RFC
 * 9110 §8.8.3, so that a comma inside one is no end of it. */
static size_t etag_length(const char *p)
{
    size_t len = 1;
    if (*p != '"')
        return 0;
    while ((unsigned char)p[len] >= 0x21 && p[len] != '"' && p[len] != 0x7f)
        len++;
    return p[len] == '"' ? len + 1 : 0;
}

bool etag_named(const char *value, const char *etag)
{
    bool named = false;
    if (value == NULL)
        return false;
    const char *p = skip_blanks(value);
    if (*p == '*')
        return *skip_blanks(p + 1) == '\0';
    for (;;) {
        p += strncmp(p, "W/", 2) == 0 ? 2 : 0;
        size_t len = etag_length(p);
        if (len == 0)
            return false;
        named = named || key_is(p, len, etag);
        p = skip_blanks(p + len);
        if (*p == '\0')
            return named;
        if (*p != ',')
            return false;
        p = skip_blanks(p + 1);
    }
}
