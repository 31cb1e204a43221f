#include "http/routes.h"

#include <string.h>

#include "base/bytes.h"
#include "base/text.h"

static const struct route routes[] = {
    {"POST", "/v1/keys/{key}/signatures", "version slot window", sign_begin, sign_start},
    {"POST", "/v1/keys/{key}/signatures:preview", "version slot window", preview_begin,
     preview_start},
    {"GET", "/v1/keys/{key}/signatures/{id}", "", NULL, signature_start},
    {"GET", "/v1/keys/{key}/signatures/{id}/receipt", "", NULL, receipt_start},
    {"GET", "/v1/keys", "", NULL, keys_start},
    {"GET", "/v1/keys/{key}", "", NULL, key_start},
    {"GET", "/v1/keys/{key}/plan", "", NULL, plan_start},
    {"GET", "/v1/keys/{key}/public", "format", NULL, public_start},
    {"GET", "/v1/keys/{key}/attestation", "nonce", NULL, attestation_start},
    {"GET", "/v1/keys/{key}/windows", "from to cursor", NULL, windows_start},
    {"GET", "/v1/keys/{key}/windows/{number}", "", NULL, window_start},
    {"GET", "/v1/keys/{key}/versions", "prefix cursor", NULL, versions_start},
    {"GET", "/v1/keys/{key}/indices/{number}", "", NULL, index_start},
    {"GET", "/v1/clock", "", NULL, clock_start},
    {"POST", "/v1/clock/acknowledgements", "", clock_ack_begin, clock_ack_start},
    {"GET", "/health/live", "", NULL, live_start},
    {"GET", "/health/ready", "", NULL, ready_start},
    {"GET", "/health/state", "", NULL, state_start},
    {"GET", "/problems/{name}", "", NULL, problem_start},
    {"GET", "/openapi.json", "", NULL, openapi_start},
};

#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

const struct route *routes_at(size_t i)
{
    return i < ROUTE_COUNT ? &routes[i] : NULL;
}

static bool is_word(const char *part, size_t len, const char *word)
{
    return strlen(word) == len && strncmp(part, word, len) == 0;
}

static bool take_name(char out[NAME_LEN_MAX + 1], const char *segment)
{
    if (!name_valid(segment))
        return false;
    strcpy(out, segment); /* name_valid: at most NAME_LEN_MAX */
    return true;
}

/* One part of a pattern against one segment; braces capture. */
static bool part_matches(struct exchange *x, const char *part, size_t len, const char *segment)
{
    if (is_word(part, len, "{key}"))
        return take_name(x->key, segment);
    if (is_word(part, len, "{name}"))
        return take_name(x->name, segment);
    if (is_word(part, len, "{number}"))
        return text_to_u64(&x->number, segment, INT64_MAX);
    if (is_word(part, len, "{id}"))
        return hex_decode(x->id, sizeof(x->id), segment);
    return is_word(part, len, segment);
}

static bool path_matches(struct exchange *x, const char *pattern)
{
    size_t i = 0;
    while (*pattern == '/') {
        pattern++;
        size_t len = strcspn(pattern, "/");
        if (i == x->target.segment_count || !part_matches(x, pattern, len, x->target.segments[i]))
            return false;
        i++;
        pattern += len;
    }
    return i == x->target.segment_count;
}

enum route_result routes_find(struct exchange *x, const char *method, char allow[ROUTES_ALLOW_SIZE])
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    enum route_result result = ROUTE_NO_PATH;
    allow[0] = '\0';
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (!path_matches(x, routes[i].pattern))
            continue;
        if (strcmp(routes[i].method, wanted) == 0) {
            x->route = &routes[i];
            return ROUTE_FOUND;
        }
        /* No path has more than one method so far; a second one would have to be appended here. */
        MUST(result == ROUTE_NO_PATH);
        result = ROUTE_NO_METHOD;
        strcpy(allow, strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method);
    }
    return result;
}
