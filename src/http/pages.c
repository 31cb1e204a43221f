/*
 * Health, the pages about problems, and the description of the interface.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/openapi.h"
#include "http/print.h"
#include "http/routes.h"

/* Health never signs and never waits for a signature. --------------------------------------------
 */

void live_start(struct exchange *x)
{
    static const char alive[] = "{\"status\":\"live\"}";
    answer_fixed(&x->answer, 200, "application/json", alive, sizeof(alive) - 1);
}

/* The core cannot be asked: say so in the form of its own answers. */
static void state_without_core(struct exchange *x, unsigned status, bool ever, bool whole)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    jcs_object_open(&j);
    if (whole) {
        jcs_key(&j, "checks");
        jcs_object_open(&j);
        jcs_member_string(&j, "core", "the signing process is not there");
        jcs_object_close(&j);
    }
    jcs_member_string(&j, "state", service_state_name(ever ? STATE_RECOVERING : STATE_STARTING));
    jcs_object_close(&j);
    answer_json(&x->answer, status, &j);
    if (status == 503)
        answer_header(&x->answer, "Retry-After", "1");
}

static void ready_done(struct exchange *x)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    bool ready = x->job.reply.state == STATE_OPERATIONAL;
    jcs_object_open(&j);
    jcs_member_string(&j, "state", service_state_name(x->job.reply.state));
    jcs_object_close(&j);
    answer_json(&x->answer, ready ? 200 : 503, &j);
    if (!ready)
        answer_header(&x->answer, "Retry-After", "1");
}

void ready_start(struct exchange *x)
{
    bool ever = false;
    if (!core_link_up(x->front->link, &ever)) {
        state_without_core(x, 503, ever, false);
        return;
    }
    exchange_request(x, REQUEST_STATE);
    exchange_ask(x, -1, ready_done);
}

static void state_done(struct exchange *x)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    print_state(&j, &x->job.reply);
    answer_json(&x->answer, 200, &j);
}

void state_start(struct exchange *x)
{
    bool ever = false;
    if (!core_link_up(x->front->link, &ever)) {
        state_without_core(x, 200, ever, true);
        return;
    }
    exchange_request(x, REQUEST_STATE);
    exchange_ask(x, -1, state_done);
}

/* Pages ------------------------------------------------------------------------------------------
 */

void problem_start(struct exchange *x)
{
    const struct problem *p = problem_by_name(x->name);
    char *text = NULL;
    if (p == NULL) {
        exchange_problem(x, PROBLEM_NOT_FOUND, "there is no problem of this name");
        return;
    }
    int len = asprintf(&text, "%s\n\nstatus  %u\ntype    /problems/%s\n\nWhat to do\n\n%s\n",
                       p->title, p->status, p->name, p->action);
    if (len < 0)
        exchange_problem(x, PROBLEM_BUSY, "no memory for the answer");
    else
        answer_bytes(&x->answer, 200, "text/plain; charset=utf-8", text, (size_t)len);
    x->answer.kept = len >= 0;
}

void openapi_start(struct exchange *x)
{
    answer_fixed(&x->answer, 200, "application/json", openapi_json, openapi_json_len);
    x->answer.kept = true;
}
