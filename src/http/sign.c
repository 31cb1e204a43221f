/*
 * POST …/signatures, and the stored signatures and receipts behind it.
 *
 * Order matters here: everything that can be refused is refused before the core hears of the
 * request, and what is refused from the headers alone is refused before the body is read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/text.h"
#include "http/body.h"
#include "http/print.h"
#include "http/routes.h"
#include "http/sign_body.h"

/* From the headers -------------------------------------------------------------------------------
 */

static bool check_media(struct exchange *x)
{
    const char *type = guard_value(&x->guard, GUARD_CONTENT_TYPE);
    x->by_json = type != NULL && media_type_is(type, "application/json");
    /* RFC 9110 §8.3: without Content-Type "the recipient MAY either assume a media type of
     * application/octet-stream"; that is what curl -T sends. */
    if (type != NULL && !x->by_json && !media_type_is(type, "application/octet-stream"))
        exchange_problem(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "Content-Type %.80s is not taken",
                         type);
    else if (guard_value(&x->guard, GUARD_CONTENT_ENCODING) != NULL)
        exchange_problem(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is not taken");
    return !x->answer.ready;
}

static bool check_length(struct exchange *x)
{
    uint64_t len = x->guard.content_length;
    uint64_t max = x->by_json ? SIGN_BODY_MAX : atomic_load(&x->front->live.body_max);
    if (guard_value(&x->guard, GUARD_CONTENT_LENGTH) == NULL)
        exchange_problem(x, PROBLEM_LENGTH_REQUIRED, "there is no Content-Length");
    else if (len == 0)
        exchange_problem(x, PROBLEM_BAD_REQUEST, "the body is empty: there is nothing to sign");
    else if (len > max)
        exchange_problem(x, PROBLEM_TOO_LARGE,
                         "%" PRIu64 " bytes, and at most %" PRIu64 " are taken", len, max);
    return !x->answer.ready;
}

bool sign_accept(struct exchange *x)
{
    bool neither = false;
    x->bare = accept_bare(guard_value(&x->guard, GUARD_ACCEPT), &neither);
    if (neither)
        exchange_problem(x, PROBLEM_NOT_ACCEPTABLE, "Accept takes none of the two forms");
    return !neither;
}

/* Headers and query of the request itself. */
static enum rc read_request(struct exchange *x, struct err *err)
{
    const struct target *t = &x->target;
    const char *idempotency = guard_value(&x->guard, GUARD_IDEMPOTENCY_KEY);
    enum rc rc =
        content_digest_parse(&x->promised, guard_value(&x->guard, GUARD_CONTENT_DIGEST), err);
    if (rc == RC_OK && idempotency != NULL)
        rc = idempotency_key_parse(x->sign.idempotency_key, idempotency, err);
    if (rc == RC_OK && x->by_json)
        rc = target_allow(t, "", err); /* the JSON says where */
    else if (rc == RC_OK)
        rc = sign_place(&x->sign, target_param(t, "version"), target_param(t, "slot"),
                        target_param(t, "window"), err);
    return rc;
}

/* The core looks at slot and version again, by the plan; this only saves uploads. */
static bool check_slot(struct exchange *x)
{
    const struct identity *who = conn_identity(x->conn);
    if (who->rules == NULL ||
        access_slot_allowed(x->front->config->access, who->rules, x->key, x->sign.slot))
        return true;
    exchange_problem(x, PROBLEM_FORBIDDEN, "%s may not sign for the slot %s of %s", who->name,
                     x->sign.slot, x->key);
    return false;
}

/* Better to say no now than after the upload. */
static bool check_core(struct exchange *x)
{
    bool ever = false;
    if (!core_link_up(x->front->link, &ever))
        exchange_problem(x, PROBLEM_STARTING, "the signing process is %s",
                         ever ? "being restarted" : "starting");
    else if (core_link_full(x->front->link))
        exchange_problem(x, PROBLEM_BUSY, "as many signing requests as allowed are in progress");
    return !x->answer.ready;
}

/* The core hashes what is long while it comes. It need not hear of it: then it hashes later. */
static void announce(struct exchange *x)
{
    if (x->in_spool <= REQUEST_UPLOAD_MIN || x->by_json)
        return;
    struct request upload = x->sign;
    upload.op = REQUEST_UPLOAD;
    memcpy(upload.key, x->key, sizeof(x->key));
    upload.body = REQUEST_BODY_BYTES;
    upload.body_len = x->in_spool;
    core_link_tell(x->front->link, &upload, x->spool.fd);
}

void sign_begin(struct exchange *x)
{
    struct err err = {0};
    x->signing = true;
    if (!body_no_page(x) || !check_media(x) || !check_length(x) || !sign_accept(x))
        return;
    if (read_request(x, &err) != RC_OK) {
        exchange_fail(x, &err);
        return;
    }
    if (!check_slot(x) || !check_core(x))
        return;
    exchange_expect_body(x, x->promised.has_sha512);
    if (!x->answer.ready)
        announce(x);
}

/* With the body ----------------------------------------------------------------------------------
 */

static enum rc read_json(struct exchange *x, struct err *err)
{
    size_t len = (size_t)x->spool.len; /* check_length: at most SIGN_BODY_MAX */
    char *text = malloc(len);
    if (text == NULL || !spool_read(&x->spool, text)) {
        free(text);
        return FAIL(err, RC_RETRY_SYSTEM, "errno", errno, "cannot read the body back");
    }
    enum rc rc = sign_body_parse(&x->sign, text, len, err);
    free(text);
    return rc;
}

static void use_bytes(struct exchange *x)
{
    x->sign.body = REQUEST_BODY_BYTES;
    x->sign.body_len = x->spool.len;
    x->sign.digest_kind = DIGEST_SHA256;
    x->sign.digest_claimed = true;
    memcpy(x->sign.digest, x->sha256, SHA256_LEN);
}

static void sign_send(struct exchange *x)
{
    int body = -1;
    if (x->by_json)
        spool_close(&x->spool);
    else
        body = spool_take(&x->spool, &x->job.behind);
    x->job.request = x->sign;
    exchange_ask(x, body, sign_done);
}

static void sign_with_plan(struct exchange *x)
{
    struct err err = {0};
    if (plans_put(x->front->plans, x->key, (const char *)x->payload, x->payload_len, &x->facts,
                  &err) == RC_OK)
        sign_send(x);
    else
        exchange_problem(x, PROBLEM_INTERNAL, "the plan of this key cannot be read");
}

void sign_start(struct exchange *x)
{
    struct err err = {0};
    if (x->spool_err.rc == RC_RETRY_SYSTEM) {
        exchange_problem(x, PROBLEM_SPOOL_FULL, "%s", err_text(&x->spool_err));
        return;
    }
    enum rc rc = x->spool_err.rc;
    if (rc == RC_OK)
        rc = spool_finish(&x->spool, &x->promised, x->sha256, &err);
    else
        err = x->spool_err;
    if (rc == RC_OK && x->by_json)
        rc = read_json(x, &err);
    if (rc != RC_OK) {
        exchange_fail(x, &err);
        return;
    }
    if (!x->by_json)
        use_bytes(x);
    x->sign.op = REQUEST_SIGN;
    memcpy(x->sign.key, x->key, sizeof(x->key));
    memcpy(x->sign.request_id, x->request_id, sizeof(x->request_id));
    text_copy(x->sign.requester, sizeof(x->sign.requester), conn_identity(x->conn)->name);

    /* The answer shows the key's scheme, so its plan is fetched first, once for each key: after the
     * signature is made nothing should be left that can fail. */
    if (plans_get(x->front->plans, x->key, NULL, &x->facts)) {
        sign_send(x);
        return;
    }
    exchange_request(x, REQUEST_PLAN);
    exchange_ask(x, -1, sign_with_plan);
}

/* The answer -------------------------------------------------------------------------------------
 */

/* What the JSON form says, but for the key's parameters, which may be many and are the same for
 * each signature, and for what is left, where the answer may be kept. */
static void bare_headers(struct answer *a, const struct reply *made, enum plan_scheme scheme)
{
    const struct signature_view *s = &made->signature;
    char hex[HEX_SIZE(SHA256_LEN)];
    char at[RFC3339_SIZE];
    answer_header(a, "Tidemark-Key", "%s", s->key);
    answer_header(a, "Tidemark-Index", "%" PRIu64, s->index);
    answer_header(a, "Tidemark-Window", "%" PRIu64, s->window);
    if (s->version[0] != '\0')
        answer_header(a, "Tidemark-Version", "%s", s->version);
    if (s->slot[0] != '\0')
        answer_header(a, "Tidemark-Slot", "%s", s->slot);
    hex_encode(hex, s->artifact_sha256, SHA256_LEN);
    answer_header(a, "Tidemark-Artifact-SHA256", "%s", hex);
    hex_encode(hex, s->plan_sha256, SHA256_LEN);
    answer_header(a, "Tidemark-Plan-SHA256", "%s", hex);
    hex_encode(hex, s->id, sizeof(s->id));
    answer_header(a, "Tidemark-Signature-Id", "%s", hex);
    answer_header(a, "Tidemark-Scheme", "%s", plan_scheme_name(scheme));
    rfc3339_print(at, s->signed_at_s);
    answer_header(a, "Tidemark-Signed-At", "%s", at);
    answer_header(a, "Tidemark-Receipt",
                  "log_index=%" PRIu64 ", checkpoint_size=%" PRIu64 ", epoch=%" PRIu64,
                  s->log_index, s->checkpoint_size, s->epoch);
    if (made->op != REQUEST_SIGNATURE)
        answer_header(a, "Tidemark-Remaining", "window=%" PRIu64 ", key=%" PRIu64,
                      s->remaining_window, s->remaining_key);
}

static void signature_json(struct exchange *x, unsigned status)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    char *base64 = malloc(BASE64_SIZE(x->signature_len));
    if (base64 == NULL) {
        exchange_problem(x, PROBLEM_OUTCOME_UNKNOWN, "no memory for the answer");
        return;
    }
    base64_encode(base64, x->signature, x->signature_len);
    print_signature(&j, &x->made, &x->facts, base64);
    free(base64);
    answer_json(&x->answer, status, &j);
}

static void signature_answer(struct exchange *x)
{
    const struct signature_view *s = &x->made.signature;
    bool stored = x->made.op == REQUEST_SIGNATURE;
    bool created = !stored && !x->made.replayed;
    unsigned status = created ? 201 : 200;
    if (x->bare) {
        uint8_t *copy = malloc(x->signature_len);
        if (copy == NULL) {
            exchange_problem(x, PROBLEM_OUTCOME_UNKNOWN, "no memory for the answer");
            return;
        }
        memcpy(copy, x->signature, x->signature_len);
        answer_bytes(&x->answer, status, "application/octet-stream", (char *)copy,
                     x->signature_len);
        bare_headers(&x->answer, &x->made, x->facts.scheme);
    } else {
        signature_json(x, status);
    }
    if (x->answer.status != status)
        return;
    char path[SIGNATURE_PATH_SIZE];
    signature_path(path, s->key, s->id);
    if (created)
        answer_header(&x->answer, "Location", "%s", path);
    if (stored) { /* as JSON it says what is left, which changes */
        x->answer.kept = true;
        answer_header(&x->answer, "Vary", "Accept");
    }
    if (!stored && x->made.replayed)
        answer_header(&x->answer, "Tidemark-Replayed", "true");
    answer_limits(&x->answer, &x->made, x->facts.window_s);
}

static void signature_with_plan(struct exchange *x)
{
    struct err err = {0};
    if (plans_put(x->front->plans, x->key, (const char *)x->payload, x->payload_len, &x->facts,
                  &err) == RC_OK &&
        ct_equal(x->facts.sha256, x->made.signature.plan_sha256, SHA256_LEN))
        signature_answer(x);
    else
        exchange_problem(x, x->used ? PROBLEM_OUTCOME_UNKNOWN : PROBLEM_INTERNAL,
                         "the plan of this signature cannot be read");
}

/* The signature is there; keep it, and see that we know its plan. */
void sign_done(struct exchange *x)
{
    x->made = x->job.reply;
    x->signature = x->payload;
    x->signature_len = x->payload_len;
    x->payload = NULL;
    x->payload_len = 0;
    if (x->signature == NULL || strcmp(x->made.signature.key, x->key) != 0) {
        exchange_problem(x, x->used ? PROBLEM_OUTCOME_UNKNOWN : PROBLEM_INTERNAL,
                         "the core answered without the signature");
        return;
    }
    if (plans_get(x->front->plans, x->key, x->made.signature.plan_sha256, &x->facts)) {
        signature_answer(x);
        return;
    }
    exchange_request(x, REQUEST_PLAN);
    exchange_ask(x, -1, signature_with_plan);
}

void signature_start(struct exchange *x)
{
    if (!sign_accept(x))
        return;
    exchange_request(x, REQUEST_SIGNATURE);
    memcpy(x->job.request.id, x->id, sizeof(x->id));
    exchange_ask(x, -1, sign_done);
}

/* A receipt gains its attestation once, and so another tag. */
static void receipt_done(struct exchange *x)
{
    exchange_answer_payload(x, 200, "application/json");
    x->answer.kept = true;
}

void receipt_start(struct exchange *x)
{
    exchange_request(x, REQUEST_RECEIPT);
    memcpy(x->job.request.id, x->id, sizeof(x->id));
    exchange_ask(x, -1, receipt_done);
}
