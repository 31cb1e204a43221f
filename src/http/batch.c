/*
 * POST …/signatures:batch: many digests in one request. Each has an answer of its own, which is
 * what a request for it alone would have got.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "http/body.h"
#include "http/print.h"
#include "http/routes.h"
#include "http/sign_body.h"

void batch_begin(struct exchange *x)
{
    bool ever = false;
    x->signing = true;
    if (!body_no_page(x))
        return;
    body_begin(x, SIGN_BODY_MAX);
    if (x->answer.ready)
        return;
    if (!core_link_up(x->front->link, &ever))
        exchange_problem(x, PROBLEM_STARTING, "the signing process is %s",
                         ever ? "being restarted" : "starting");
    else if (core_link_full(x->front->link))
        exchange_problem(x, PROBLEM_BUSY, "as many signing requests as allowed are in progress");
}

/* The answer ------------------------------------------------------------------------------------
 */

/* What the core sent: a reply for each item, and the signatures behind them. */
struct results {
    struct reply *replies; /* in x->signature */
    size_t count;
    size_t created, replayed, refused;
};

static bool take_results(struct exchange *x, struct results *r)
{
    *r = (struct results){.replies = (struct reply *)(void *)x->signature, .count = x->item_count};
    size_t at = r->count * sizeof(struct reply);
    if (x->signature_len < at)
        return false;
    for (size_t i = 0; i < r->count; i++) {
        struct reply *reply = &r->replies[i];
        bool good = reply->rc == RC_OK;
        reply_terminate(reply);
        if (!rc_known(reply->rc) || good != (reply->payload_len > 0) ||
            reply->payload_len > x->signature_len - at ||
            (good && (strcmp(reply->signature.key, x->key) != 0 ||
                      !ct_equal(reply->signature.plan_sha256, x->facts.sha256, SHA256_LEN))))
            return false;
        at += reply->payload_len;
        r->created += good && !reply->replayed ? 1 : 0;
        r->replayed += good && reply->replayed ? 1 : 0;
        r->refused += good ? 0 : 1;
    }
    return at == x->signature_len;
}

static void print_refused(struct exchange *x, struct jcs *j, const struct reply *reply)
{
    enum rc rc = (enum rc)reply->rc;
    const struct problem *problem = problem_get(problem_of_rc(rc));
    jcs_key(j, "problem");
    problem_print(j, problem, reply->text[0] != '\0' ? reply->text : rc_text(rc), x->request_id,
                  reply);
    jcs_member_int(j, "status", problem->status);
}

/* @return false: no memory. */
static bool print_made(struct exchange *x, struct jcs *j, const struct reply *reply,
                       const uint8_t *signature)
{
    char *base64 = malloc(BASE64_SIZE(reply->payload_len));
    if (base64 == NULL)
        return false;
    base64_encode(base64, signature, reply->payload_len);
    jcs_key(j, "signature");
    print_signature(j, reply, &x->facts, base64);
    free(base64);
    jcs_member_int(j, "status", reply->replayed ? 200 : 201);
    return true;
}

static bool print_results(struct exchange *x, struct jcs *j, const struct results *r)
{
    size_t at = r->count * sizeof(struct reply);
    bool ok = true;
    jcs_object_open(j);
    jcs_member_string(j, "key", x->key);
    jcs_member_u64(j, "refused", r->refused);
    jcs_member_u64(j, "replayed", r->replayed);
    jcs_key(j, "results");
    jcs_array_open(j);
    for (size_t i = 0; i < r->count && ok; i++) {
        jcs_object_open(j);
        if (r->replies[i].rc == RC_OK)
            ok = print_made(x, j, &r->replies[i], x->signature + at);
        else
            print_refused(x, j, &r->replies[i]);
        jcs_object_close(j);
        at += r->replies[i].payload_len;
    }
    jcs_array_close(j);
    jcs_member_u64(j, "signed", r->created);
    jcs_object_close(j);
    return ok;
}

static void batch_answer(struct exchange *x)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    struct results results;
    if (!take_results(x, &results)) {
        exchange_problem(x, PROBLEM_OUTCOME_UNKNOWN, "the core's answer cannot be read");
        return;
    }
    (void)snprintf(x->ended, sizeof(x->ended), "batch: %zu signed, %zu stored, %zu refused",
                   results.created, results.replayed, results.refused);
    if (!print_results(x, &j, &results)) {
        exchange_problem(x, PROBLEM_OUTCOME_UNKNOWN, "no memory for the answer");
        return;
    }
    answer_json(&x->answer, results.created > 0 ? 201 : 200, &j);
}

/* Keep the results; plans never change, so the plan that was asked for before is theirs. */
static void batch_done(struct exchange *x)
{
    x->made = x->job.reply;
    x->signature = x->payload;
    x->signature_len = x->payload_len;
    x->payload = NULL;
    x->payload_len = 0;
    if (x->signature == NULL)
        exchange_problem(x, PROBLEM_OUTCOME_UNKNOWN, "the core answered without results");
    else
        batch_answer(x);
}

/* Asking ----------------------------------------------------------------------------------------
 */

static void batch_send(struct exchange *x)
{
    exchange_request(x, REQUEST_BATCH);
    struct request *r = &x->job.request;
    r->body_len = x->spool.len;
    memcpy(r->request_id, x->request_id, sizeof(x->request_id));
    exchange_ask(x, spool_take(&x->spool, &x->job.behind), batch_done);
}

static void batch_with_plan(struct exchange *x)
{
    struct err err = {0};
    if (plans_put(x->front->plans, x->key, (const char *)x->payload, x->payload_len, &x->facts,
                  &err) == RC_OK)
        batch_send(x);
    else
        exchange_problem(x, PROBLEM_INTERNAL, "the plan of this key cannot be read");
}

/* The items go to the core like an artifact. */
static enum rc put_items(struct exchange *x, const struct request_item *items, struct err *err)
{
    static const struct content_digest nothing;
    const size_t len = x->item_count * sizeof(*items);
    enum rc rc = spool_open(&x->spool, len, len, -1, false, err);
    if (rc == RC_OK)
        rc = spool_write(&x->spool, items, len, err);
    if (rc == RC_OK)
        rc = spool_finish(&x->spool, &nothing, x->sha256, err);
    return rc;
}

static enum rc read_items(struct exchange *x, struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    struct request_item *items = calloc(REQUEST_BATCH_MAX, sizeof(*items));
    enum rc rc = items == NULL ? FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for a batch")
                               : body_take(x, &text, &len, err);
    if (rc == RC_OK)
        rc = batch_body_parse(items, &x->item_count, text, len, err);
    if (rc == RC_OK)
        rc = put_items(x, items, err);
    free(text);
    free(items);
    return rc;
}

void batch_start(struct exchange *x)
{
    struct err err = {0};
    if (read_items(x, &err) != RC_OK) {
        exchange_fail(x, &err);
        return;
    }
    /* As for a single request: nothing that can fail should be left behind the signatures. */
    if (plans_get(x->front->plans, x->key, NULL, &x->facts)) {
        batch_send(x);
        return;
    }
    exchange_request(x, REQUEST_PLAN);
    exchange_ask(x, -1, batch_with_plan);
}
