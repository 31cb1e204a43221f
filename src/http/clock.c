/*
 * The clock: what it says and why, and the acknowledgement of a jump forward.
 *
 * Operators acknowledge, and over the unix socket only: whoever may connect there works on this
 * host, and can compare its clock with another.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "http/body.h"
#include "http/print.h"
#include "http/routes.h"

#define ACK_BODY_MAX 4096

static void json_release(json_t **json)
{
    json_decref(*json);
}

/* The answer ------------------------------------------------------------------------------------
 */

static bool take_view(const struct exchange *x, struct view_clock *v)
{
    if (x->payload_len != sizeof(*v))
        return false;
    memcpy(v, x->payload, sizeof(*v));
    return clock_terminate(v);
}

static void clock_done(struct exchange *x)
{
    struct view_clock view;
    struct jcs j CLEANUP(jcs_wipe) = {0};
    if (!take_view(x, &view)) {
        exchange_problem(x, PROBLEM_INTERNAL, "the core's answer cannot be read");
        return;
    }
    print_clock(&j, &view);
    answer_json(&x->answer, 200, &j);
}

void clock_start(struct exchange *x)
{
    exchange_request(x, REQUEST_CLOCK);
    exchange_ask(x, -1, clock_done);
}

/* The acknowledgement ---------------------------------------------------------------------------
 */

void clock_ack_begin(struct exchange *x)
{
    if (!body_no_page(x))
        return;
    if (!conn_identity(x->conn)->local)
        exchange_problem(x, PROBLEM_FORBIDDEN,
                         "a jump is acknowledged over the unix socket of this host, not over TCP");
    else
        body_begin(x, ACK_BODY_MAX);
}

static enum rc take_count(const json_t *root, const char *name, uint64_t *value, struct err *err)
{
    const json_t *member = json_object_get(root, name);
    if (!json_is_integer(member) || json_integer_value(member) < 0)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "member '%s' must be a whole number", name);
    *value = (uint64_t)json_integer_value(member);
    return RC_OK;
}

/* {"id": 1780000000, "windows": 3, "utc": "2026-11-25T10:00:00Z"}: all three, nothing else. */
static enum rc parse(struct request *r, const char *text, size_t len, struct err *err)
{
    json_error_t error = {0};
    json_t *root CLEANUP(json_release) = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root) || json_object_size(root) != 3)
        return FAIL(err, RC_REFUSED_INPUT, "jansson", error.line,
                    "not a JSON object of id, windows and utc");
    const char *utc = json_string_value(json_object_get(root, "utc"));
    enum rc rc = take_count(root, "id", &r->ack_id, err);
    if (rc == RC_OK)
        rc = take_count(root, "windows", &r->ack_windows, err);
    if (rc == RC_OK && (utc == NULL || !rfc3339_parse(&r->ack_utc_s, utc)))
        rc = FAIL(err, RC_REFUSED_INPUT, "", 0, "member 'utc' must be like 2026-11-25T10:00:00Z");
    return rc;
}

static enum rc read_body(struct exchange *x, struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    enum rc rc = body_take(x, &text, &len, err);
    if (rc == RC_OK)
        rc = parse(&x->job.request, text, len, err);
    free(text);
    return rc;
}

void clock_ack_start(struct exchange *x)
{
    struct err err = {0};
    exchange_request(x, REQUEST_CLOCK_ACK);
    if (read_body(x, &err) != RC_OK) {
        exchange_fail(x, &err);
        return;
    }
    memcpy(x->job.request.request_id, x->request_id, sizeof(x->request_id));
    exchange_ask(x, -1, clock_done);
}
