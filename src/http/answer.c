#include "http/answer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "http/fields.h"

#define INTEGER_MAX UINT64_C(999999999999999)
#define RETRY_DEFAULT_S 1 /* for refusals that pass by themselves and name no time */

void answer_wipe(struct answer *a)
{
    free(a->body);
    *a = (struct answer){0};
}

void answer_header(struct answer *a, const char *name, const char *format, ...)
{
    MUST(a->header_count < ANSWER_HEADERS_MAX);
    a->headers[a->header_count].name = name;
    char *value = a->headers[a->header_count].value;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(value, sizeof(a->headers[0].value), format, args);
    va_end(args);
    MUST(len >= 0);
    MUST((size_t)len < sizeof(a->headers[0].value));
    a->header_count++;
}

void answer_fixed(struct answer *a, unsigned status, const char *type, const char *text, size_t len)
{
    free(a->body);
    a->body = NULL;
    a->ready = true;
    a->status = status;
    a->content_type = type;
    a->fixed = text;
    a->len = len;
}

void answer_bytes(struct answer *a, unsigned status, const char *type, char *body, size_t len)
{
    answer_fixed(a, status, type, NULL, len);
    a->body = body;
}

void answer_json(struct answer *a, unsigned status, struct jcs *j)
{
    static const char no_memory[] =
        "{\"status\":503,\"title\":\"Too much work in progress\",\"type\":\"/problems/busy\"}";
    if (!jcs_finish(j)) {
        answer_fixed(a, 503, "application/problem+json", no_memory, sizeof(no_memory) - 1);
        return;
    }
    answer_bytes(a, status, "application/json", j->text, j->len);
    j->text = NULL; /* the answer's from here on */
    jcs_wipe(j);
}

/* Clients that obey Retry-After must not hammer: it is there whenever waiting can help. */
static void retry_after(struct answer *a, const struct problem *problem, const struct reply *reply)
{
    if (reply != NULL && reply->retry_after_s > 0)
        answer_header(a, "Retry-After", "%" PRId64, reply->retry_after_s);
    else if (problem->status == 503 || problem->status == 429)
        answer_header(a, "Retry-After", "%d", RETRY_DEFAULT_S);
}

void answer_problem(struct answer *a, enum problem_id id, const char *detail,
                    const char *request_id, const struct reply *reply)
{
    const struct problem *problem = problem_get(id);
    struct jcs j CLEANUP(jcs_wipe) = {0};
    problem_print(&j, problem, detail, request_id, reply);
    answer_json(a, problem->status, &j);
    a->content_type = "application/problem+json";
    a->problem = problem;
    retry_after(a, problem, reply);
}

#define ETAG_BYTES 16 /* nobody gains by two answers with one tag: they are all ours */

void answer_validate(struct answer *a, const char *if_none_match)
{
    uint8_t sha256[SHA256_LEN];
    char hex[HEX_SIZE(ETAG_BYTES)];
    char etag[HEX_SIZE(ETAG_BYTES) + 2];
    if (!a->kept || a->status != 200)
        return;
    digest_buffer(DIGEST_SHA256, sha256, a->body != NULL ? a->body : a->fixed, a->len);
    hex_encode(hex, sha256, ETAG_BYTES);
    (void)snprintf(etag, sizeof(etag), "\"%s\"", hex);
    answer_header(a, "ETag", "%s", etag);
    if (etag_named(if_none_match, etag))
        a->status = 304;
}

/* One item of a structured-field list: "name";q=10;w=60 or "name";r=3;t=20. Its integers have at
 * most 15 digits (RFC 9651 §3.3.1). */
static void item(char *list, size_t size, const char *name, char first, uint64_t value, char second,
                 int64_t seconds)
{
    size_t at = strlen(list);
    value = value < INTEGER_MAX ? value : INTEGER_MAX;
    seconds = seconds < (int64_t)INTEGER_MAX ? seconds : (int64_t)INTEGER_MAX;
    (void)snprintf(list + at, size - at, "%s\"%s\";%c=%" PRIu64, at > 0 ? ", " : "", name, first,
                   value);
    at = strlen(list);
    if (seconds > 0)
        (void)snprintf(list + at, size - at, ";%c=%" PRId64, second, seconds);
}

/* Both fields are lists of one item for each limit (draft-ietf-httpapi-ratelimit-headers-10 §3,
 * §4). */
void answer_limits(struct answer *a, const struct reply *r, int64_t window_s)
{
    const struct {
        const char *name;
        uint64_t limit, remaining;
        int64_t window_s, reset_s;
    } limits[] = {
        {LIMIT_WINDOW, r->window_limit, r->window_remaining, window_s, r->window_reset_s},
        {LIMIT_CALLER, r->share_limit, r->share_remaining, window_s, r->window_reset_s},
        {LIMIT_RATE, r->rate_limit, r->rate_remaining, r->rate_window_s, r->rate_reset_s},
        {LIMIT_CALLER_RATE, r->caller_rate_limit, r->caller_rate_remaining, r->caller_rate_window_s,
         r->caller_rate_reset_s},
    };
    char policy[240] = "";
    char now[240] = "";
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        if (limits[i].limit == 0)
            continue;
        item(policy, sizeof(policy), limits[i].name, 'q', limits[i].limit, 'w', limits[i].window_s);
        item(now, sizeof(now), limits[i].name, 'r', limits[i].remaining, 't', limits[i].reset_s);
    }
    if (policy[0] == '\0')
        return;
    answer_header(a, "RateLimit-Policy", "%s", policy);
    answer_header(a, "RateLimit", "%s", now);
}
