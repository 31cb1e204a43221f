#include "http/routes.h"

#include <string.h>

#include "base/bytes.h"
#include "base/text.h"

/* Roles stand before the parameters, so that a route without them does not compile. Signers read
 * what tidemark sign needs to know of a key before it signs, and what they have signed. */
#define READ_OWN (ROLE_SIGNER | ROLE_AUDITOR)
#define READ_KEYS (ROLE_SIGNER | ROLE_AUDITOR | ROLE_OPERATOR)
#define READ_STATE (ROLE_AUDITOR | ROLE_OPERATOR)

static const struct route routes[] = {
    {"POST", "/v1/keys/{key}/signatures", ROLE_SIGNER, "version slot window", sign_begin,
     sign_start},
    {"POST", "/v1/keys/{key}/signatures:batch", ROLE_SIGNER, "", batch_begin, batch_start},
    {"POST", "/v1/keys/{key}/signatures:preview", ROLE_SIGNER, "version slot window", preview_begin,
     preview_start},
    {"POST", "/v1/keys/{key}/reservations", ROLE_SIGNER, "", reservation_begin, reservation_start},
    {"POST", "/v1/keys/{key}/reservations/{id}/signature", ROLE_SIGNER, "", hash_begin, hash_start},
    {"GET", "/v1/keys/{key}/signatures/{id}", READ_OWN, "", NULL, signature_start},
    {"GET", "/v1/keys/{key}/signatures/{id}/receipt", READ_OWN, "", NULL, receipt_start},
    {"GET", "/v1/keys", READ_KEYS, "", NULL, keys_start},
    {"GET", "/v1/keys/{key}", READ_KEYS, "", NULL, key_start},
    {"GET", "/v1/keys/{key}/plan", READ_KEYS, "", NULL, plan_start},
    {"GET", "/v1/keys/{key}/public", ROLE_PUBLIC, "format", NULL, public_start},
    {"GET", "/v1/keys/{key}/attestation", READ_STATE, "nonce", NULL, attestation_start},
    {"GET", "/v1/keys/{key}/windows", READ_STATE, "from to cursor", NULL, windows_start},
    {"GET", "/v1/keys/{key}/windows/{number}", READ_STATE, "", NULL, window_start},
    {"GET", "/v1/keys/{key}/versions", READ_STATE, "prefix cursor", NULL, versions_start},
    {"GET", "/v1/keys/{key}/indices/{number}", READ_STATE, "", NULL, index_start},
    {"GET", "/v1/keys/{key}/forecast", READ_STATE, "", NULL, forecast_start},
    {"GET", "/v1/warnings", READ_STATE, "", NULL, warnings_start},
    {"POST", "/v1/warnings/{number}/acknowledgements", ROLE_OPERATOR, "", warning_ack_begin,
     warning_ack_start},
    {"GET", "/v1/clock", ROLE_PUBLIC, "", NULL, clock_start},
    {"POST", "/v1/clock/acknowledgements", ROLE_OPERATOR, "", clock_ack_begin, clock_ack_start},
    {"GET", "/health/live", ROLE_PUBLIC, "", NULL, live_start},
    {"GET", "/health/ready", ROLE_PUBLIC, "", NULL, ready_start},
    {"GET", "/health/state", ROLE_PUBLIC, "", NULL, state_start},
    {"GET", "/problems/{name}", ROLE_PUBLIC, "", NULL, problem_start},
    {"GET", "/metrics", ROLE_METRICS, "", NULL, metrics_start},
    {"GET", "/openapi.json", ROLE_PUBLIC, "", NULL, openapi_start},
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
