/*
 * When a key will be used up, the warnings about it, and the word of operators that lets it sign
 * on.
 */
#include <stdlib.h>
#include <string.h>

#include "http/ack_body.h"
#include "http/body.h"
#include "http/print.h"
#include "http/routes.h"

/* Forecast --------------------------------------------------------------------------------------
 */

static void forecast_done(struct exchange *x)
{
    struct view_forecast view;
    struct jcs j CLEANUP(jcs_wipe) = {0};
    if (x->payload_len != sizeof(view)) {
        exchange_problem(x, PROBLEM_INTERNAL, "the core's answer cannot be read");
        return;
    }
    memcpy(&view, x->payload, sizeof(view));
    forecast_terminate(&view);
    print_forecast(&j, &view);
    answer_json(&x->answer, 200, &j);
}

void forecast_start(struct exchange *x)
{
    exchange_request(x, REQUEST_FORECAST);
    exchange_ask(x, -1, forecast_done);
}

/* Warnings --------------------------------------------------------------------------------------
 */

static void warnings_done(struct exchange *x)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    struct view_warning view;
    if (x->payload_len % sizeof(view) != 0) {
        exchange_problem(x, PROBLEM_INTERNAL, "the core's answer cannot be read");
        return;
    }
    jcs_object_open(&j);
    jcs_key(&j, "warnings");
    jcs_array_open(&j);
    for (size_t at = 0; at < x->payload_len; at += sizeof(view)) {
        memcpy(&view, x->payload + at, sizeof(view));
        warning_terminate(&view);
        if (exchange_key_allowed(x, view.key))
            print_warning(&j, &view);
    }
    jcs_array_close(&j);
    jcs_object_close(&j);
    answer_json(&x->answer, 200, &j);
}

void warnings_start(struct exchange *x)
{
    exchange_request(x, REQUEST_WARNINGS);
    exchange_ask(x, -1, warnings_done);
}

/* Acknowledging ---------------------------------------------------------------------------------
 */

void warning_ack_begin(struct exchange *x)
{
    if (body_no_page(x))
        body_begin(x, ACK_BODY_MAX);
}

static enum rc read_body(struct exchange *x, struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    enum rc rc = body_take(x, &text, &len, err);
    if (rc == RC_OK)
        rc = warning_ack_body_parse(&x->job.request, text, len, err);
    free(text);
    return rc;
}

void warning_ack_start(struct exchange *x)
{
    struct err err = {0};
    exchange_request(x, REQUEST_WARNING_ACK);
    x->job.request.from = (int64_t)x->number; /* a number in a path is at most INT64_MAX */
    if (x->number == 0) {
        exchange_problem(x, PROBLEM_NOT_FOUND, "there is no warning 0");
        return;
    }
    if (read_body(x, &err) != RC_OK) {
        exchange_fail(x, &err);
        return;
    }
    memcpy(x->job.request.request_id, x->request_id, sizeof(x->request_id));
    exchange_ask(x, -1, warnings_done);
}
