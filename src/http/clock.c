/*
 * The clock: what it says and why, and the acknowledgement of a jump forward.
 *
 * Operators acknowledge, and over the unix socket only: whoever may connect there works on this
 * host, and can compare its clock with another.
 */
#include <stdlib.h>
#include <string.h>

#include "http/ack_body.h"
#include "http/body.h"
#include "http/print.h"
#include "http/routes.h"

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

static enum rc read_body(struct exchange *x, struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    enum rc rc = body_take(x, &text, &len, err);
    if (rc == RC_OK)
        rc = clock_ack_body_parse(&x->job.request, text, len, err);
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
