/*
 * POST …/reservations and …/reservations/{id}/signature: the artifact stays where it is, and only
 * its hash comes here (signer/reserve.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "http/body.h"
#include "http/print.h"
#include "http/routes.h"
#include "http/sign_body.h"

static enum rc read_body(struct exchange *x,
                         enum rc (*parse)(struct request *, const char *, size_t, struct err *),
                         struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    enum rc rc = body_take(x, &text, &len, err);
    if (rc == RC_OK)
        rc = parse(&x->sign, text, len, err);
    free(text);
    return rc;
}

static void ask_core(struct exchange *x, enum request_op op, exchange_step then)
{
    x->sign.op = op;
    memcpy(x->sign.key, x->key, sizeof(x->key));
    memcpy(x->sign.request_id, x->request_id, sizeof(x->request_id));
    text_copy(x->sign.requester, sizeof(x->sign.requester), conn_identity(x->conn)->name);
    x->job.request = x->sign;
    exchange_ask(x, -1, then);
}

/* Reserving --------------------------------------------------------------------------------------
 */

void reservation_begin(struct exchange *x)
{
    struct err err = {0};
    const char *idempotency = guard_value(&x->guard, GUARD_IDEMPOTENCY_KEY);
    x->signing = true;
    if (!body_no_page(x))
        return;
    if (idempotency != NULL &&
        idempotency_key_parse(x->sign.idempotency_key, idempotency, &err) != RC_OK)
        exchange_fail(x, &err);
    else
        body_begin(x, SIGN_BODY_MAX);
}

static void reservation_done(struct exchange *x)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    const struct reply *reply = &x->job.reply;
    char base64[BASE64_SIZE(REQUEST_PREFIX_MAX)];
    char id[HEX_SIZE(sizeof(reply->signature.id))];
    if (reply->rc == RC_OK && !reply->reserved) {
        sign_done(x); /* this version, or this Idempotency-Key, is signed already */
        return;
    }
    if (x->payload == NULL || x->payload_len > REQUEST_PREFIX_MAX) {
        exchange_problem(x, PROBLEM_OUTCOME_UNKNOWN, "the core answered without the prefix");
        return;
    }
    base64_encode(base64, x->payload, x->payload_len);
    print_reservation(&j, reply, base64);
    answer_json(&x->answer, reply->replayed ? 200 : 201, &j);
    hex_encode(id, reply->signature.id, sizeof(reply->signature.id));
    if (reply->replayed)
        answer_header(&x->answer, "Tidemark-Replayed", "true");
    else
        answer_header(&x->answer, "Location", "/v1/keys/%s/reservations/%s/signature", x->key, id);
    answer_limits(&x->answer, reply, x->facts.window_s);
}

void reservation_start(struct exchange *x)
{
    struct err err = {0};
    if (read_body(x, sign_body_parse, &err) != RC_OK) {
        exchange_fail(x, &err);
        return;
    }
    if (x->sign.digest_kind != DIGEST_SHA256) {
        exchange_problem(x, PROBLEM_BAD_REQUEST, "an artifact is announced by its sha256");
        return;
    }
    ask_core(x, REQUEST_RESERVE, reservation_done);
}

/* The hash ---------------------------------------------------------------------------------------
 */

void hash_begin(struct exchange *x)
{
    x->signing = true;
    if (body_no_page(x) && sign_accept(x))
        body_begin(x, SIGN_BODY_MAX);
}

void hash_start(struct exchange *x)
{
    struct err err = {0};
    if (read_body(x, hash_body_parse, &err) != RC_OK) {
        exchange_fail(x, &err);
        return;
    }
    memcpy(x->sign.id, x->id, sizeof(x->id));
    ask_core(x, REQUEST_COMMIT, sign_done);
}
