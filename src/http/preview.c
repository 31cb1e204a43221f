/*
 * POST …/signatures:preview: what a signing request would do now. It is refused as that would be,
 * and uses nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "http/body.h"
#include "http/print.h"
#include "http/routes.h"
#include "http/sign_body.h"

/* The place stands in the query, or all of it in a JSON body. */
static enum rc read_headers(struct exchange *x, struct err *err)
{
    const struct target *t = &x->target;
    const char *idempotency = guard_value(&x->guard, GUARD_IDEMPOTENCY_KEY);
    enum rc rc = RC_OK;
    if (idempotency != NULL)
        rc = idempotency_key_parse(x->sign.idempotency_key, idempotency, err);
    if (rc == RC_OK && x->by_json)
        rc = target_allow(t, "", err);
    else if (rc == RC_OK)
        rc = sign_place(&x->sign, target_param(t, "version"), target_param(t, "slot"),
                        target_param(t, "window"), err);
    return rc;
}

void preview_begin(struct exchange *x)
{
    struct err err = {0};
    if (!body_no_page(x))
        return;
    x->by_json = x->guard.content_length > 0;
    if (read_headers(x, &err) != RC_OK)
        exchange_fail(x, &err);
    else if (x->by_json)
        body_begin(x, SIGN_BODY_MAX);
}

static void answer_preview(struct exchange *x)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    print_preview(&j, &x->made, &x->facts);
    answer_json(&x->answer, 200, &j);
    answer_limits(&x->answer, &x->made, x->facts.window_s);
}

static void preview_with_plan(struct exchange *x)
{
    struct err err = {0};
    if (plans_put(x->front->plans, x->key, (const char *)x->payload, x->payload_len, &x->facts,
                  &err) == RC_OK)
        answer_preview(x);
    else
        exchange_problem(x, PROBLEM_INTERNAL, "the plan of this key cannot be read");
}

static void preview_done(struct exchange *x)
{
    x->made = x->job.reply;
    if (plans_get(x->front->plans, x->key, x->made.signature.plan_sha256, &x->facts)) {
        answer_preview(x);
        return;
    }
    exchange_request(x, REQUEST_PLAN);
    exchange_ask(x, -1, preview_with_plan);
}

static enum rc read_body(struct exchange *x, struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    enum rc rc = body_take(x, &text, &len, err);
    if (rc == RC_OK)
        rc = preview_body_parse(&x->sign, text, len, err);
    free(text);
    return rc;
}

void preview_start(struct exchange *x)
{
    struct err err = {0};
    if (x->by_json && read_body(x, &err) != RC_OK) {
        exchange_fail(x, &err);
        return;
    }
    x->sign.op = REQUEST_PREVIEW;
    memcpy(x->sign.key, x->key, sizeof(x->key));
    memcpy(x->sign.request_id, x->request_id, sizeof(x->request_id));
    text_copy(x->sign.requester, sizeof(x->sign.requester), conn_identity(x->conn)->name);
    x->job.request = x->sign;
    exchange_ask(x, -1, preview_done);
}
