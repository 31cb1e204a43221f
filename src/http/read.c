/*
 * The operations that only look: keys, plans, windows, versions, indices.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "http/print.h"
#include "http/routes.h"

static void internal(struct exchange *x)
{
    exchange_problem(x, PROBLEM_INTERNAL, "the core's answer cannot be read");
}

/* How many entries of this size the payload has; false if it is no list of them. */
static bool entries(const struct exchange *x, size_t size, size_t max, size_t *count)
{
    *count = x->payload_len / size;
    return x->payload_len % size == 0 && *count <= max;
}

/* Keys -------------------------------------------------------------------------------------------
 */

static void keys_answer(struct exchange *x)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    bool one = x->key[0] != '\0';
    if (!one) {
        jcs_object_open(&j);
        jcs_key(&j, "keys");
        jcs_array_open(&j);
    }
    for (size_t i = 0; i < x->key_count; i++)
        print_key(&j, &x->keys[i], &x->key_facts[i], &x->job.reply);
    if (!one) {
        jcs_array_close(&j);
        jcs_object_close(&j);
    }
    answer_json(&x->answer, 200, &j);
}

static void keys_with_plan(struct exchange *x);

/* Each key is shown with its plan: ask for those that are not known yet, one after the other. */
static void keys_next(struct exchange *x)
{
    for (; x->key_at < x->key_count; x->key_at++) {
        const struct view_key *view = &x->keys[x->key_at];
        if (plans_get(x->front->plans, view->name, view->plan_sha256, &x->key_facts[x->key_at]))
            continue;
        exchange_request(x, REQUEST_PLAN);
        memcpy(x->job.request.key, view->name, sizeof(view->name));
        exchange_ask(x, -1, keys_with_plan);
        return;
    }
    keys_answer(x);
}

static void keys_with_plan(struct exchange *x)
{
    struct err err = {0};
    const struct view_key *view = &x->keys[x->key_at];
    struct plan_facts *facts = &x->key_facts[x->key_at];
    if (plans_put(x->front->plans, view->name, (const char *)x->payload, x->payload_len, facts,
                  &err) != RC_OK ||
        !ct_equal(facts->sha256, view->plan_sha256, SHA256_LEN)) {
        internal(x);
        return;
    }
    x->key_at++;
    keys_next(x);
}

bool keys_take(struct exchange *x)
{
    size_t count = 0;
    bool one = x->key[0] != '\0';
    if (!entries(x, sizeof(struct view_key), REQUEST_LIST_MAX, &count) || (one && count != 1)) {
        internal(x);
        return false;
    }
    x->keys = (struct view_key *)(void *)x->payload; /* malloc'ed, so aligned for anything */
    x->payload = NULL;
    x->payload_len = 0;
    x->key_count = count;
    for (size_t i = 0; i < count; i++) {
        key_terminate(&x->keys[i]);
        if (!name_valid(x->keys[i].name)) {
            internal(x);
            return false;
        }
    }
    return true;
}

/* Of keys that it may not use, an identity is not told that they are there. */
static void keys_hide(struct exchange *x)
{
    size_t shown = 0;
    for (size_t i = 0; i < x->key_count; i++)
        if (exchange_key_allowed(x, x->keys[i].name))
            x->keys[shown++] = x->keys[i];
    x->key_count = shown;
}

static void keys_done(struct exchange *x)
{
    if (!keys_take(x))
        return;
    keys_hide(x);
    x->key_facts = calloc(x->key_count + 1, sizeof(*x->key_facts));
    if (x->key_facts == NULL) {
        exchange_problem(x, PROBLEM_BUSY, "no memory for the answer");
        return;
    }
    keys_next(x);
}

void keys_start(struct exchange *x)
{
    exchange_request(x, REQUEST_KEYS);
    exchange_ask(x, -1, keys_done);
}

void key_start(struct exchange *x)
{
    keys_start(x); /* exchange_request() names the key of the path */
}

static void plan_done(struct exchange *x)
{
    char hex[HEX_SIZE(SHA256_LEN)];
    struct plan_facts facts;
    struct err err = {0};
    if (plans_put(x->front->plans, x->key, (const char *)x->payload, x->payload_len, &facts,
                  &err) != RC_OK) {
        internal(x);
        return;
    }
    exchange_answer_payload(x, 200, "application/json");
    x->answer.kept = true;
    hex_encode(hex, facts.sha256, SHA256_LEN);
    answer_header(&x->answer, "Tidemark-Plan-SHA256", "%s", hex);
}

void plan_start(struct exchange *x)
{
    exchange_request(x, REQUEST_PLAN);
    exchange_ask(x, -1, plan_done);
}

/* Attestation ------------------------------------------------------------------------------------
 */

static void attestation_done(struct exchange *x)
{
    exchange_answer_payload(x, 200, "application/json");
}

/* A nonce that was used before would prove nothing: there is no default for it. */
void attestation_start(struct exchange *x)
{
    const char *text = target_param(&x->target, "nonce");
    exchange_request(x, REQUEST_ATTEST);
    struct request *r = &x->job.request;
    size_t len = text != NULL ? strlen(text) / 2 : 0;
    if (len < REQUEST_NONCE_MIN || len > REQUEST_NONCE_MAX || !hex_decode(r->nonce, len, text)) {
        exchange_problem(x, PROBLEM_BAD_REQUEST,
                         "query parameter 'nonce' must be %d to %d bytes as hex, fresh and random",
                         REQUEST_NONCE_MIN, REQUEST_NONCE_MAX);
        return;
    }
    r->nonce_len = (uint32_t)len;
    exchange_ask(x, -1, attestation_done);
}

/* Lists ------------------------------------------------------------------------------------------
 */

/* A number among the query parameters; *value stays as it is without one. */
static bool number_param(struct exchange *x, const char *name, int64_t *value)
{
    const char *text = target_param(&x->target, name);
    uint64_t number = 0;
    if (text == NULL)
        return true;
    if (!text_to_u64(&number, text, INT64_MAX)) {
        exchange_problem(x, PROBLEM_BAD_REQUEST, "query parameter '%s' is not a number", name);
        return false;
    }
    *value = (int64_t)number;
    return true;
}

/* Cursors are texts for clients, who should not count with them. */
static void print_next(struct jcs *j, int64_t next)
{
    char text[24];
    jcs_key(j, "next");
    if (next < 0) {
        jcs_null(j);
        return;
    }
    (void)snprintf(text, sizeof(text), "%" PRId64, next);
    jcs_string(j, text);
}

static void windows_done(struct exchange *x)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    struct view_window *views = (struct view_window *)(void *)x->payload;
    size_t count = 0;
    if (!entries(x, sizeof(*views), REQUEST_LIST_MAX, &count)) {
        internal(x);
        return;
    }
    jcs_object_open(&j);
    print_next(&j, x->job.reply.next);
    jcs_key(&j, "windows");
    jcs_array_open(&j);
    for (size_t i = 0; i < count; i++) {
        window_terminate(&views[i]);
        print_window(&j, &views[i]);
    }
    jcs_array_close(&j);
    jcs_object_close(&j);
    answer_json(&x->answer, 200, &j);
}

void windows_start(struct exchange *x)
{
    exchange_request(x, REQUEST_WINDOWS);
    struct request *r = &x->job.request;
    r->to = INT64_MAX;
    /* A cursor goes on where a list of the same from and to had stopped. */
    if (!number_param(x, "from", &r->from) || !number_param(x, "to", &r->to) ||
        !number_param(x, "cursor", &r->from))
        return;
    if (r->from > r->to) {
        exchange_problem(x, PROBLEM_BAD_REQUEST, "from is above to");
        return;
    }
    exchange_ask(x, -1, windows_done);
}

static void window_done(struct exchange *x)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    struct view_window *view = (struct view_window *)(void *)x->payload;
    size_t count = 0;
    if (!entries(x, sizeof(*view), 1, &count)) {
        internal(x);
        return;
    }
    if (count == 0) {
        exchange_problem(x, PROBLEM_NOT_FOUND, "the plan has no window %" PRIu64, x->number);
        return;
    }
    window_terminate(view);
    print_window(&j, view);
    answer_json(&x->answer, 200, &j);
}

void window_start(struct exchange *x)
{
    exchange_request(x, REQUEST_WINDOWS);
    x->job.request.from = x->job.request.to = (int64_t)x->number;
    exchange_ask(x, -1, window_done);
}

static void versions_done(struct exchange *x)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    struct view_version *views = (struct view_version *)(void *)x->payload;
    size_t count = 0;
    if (!entries(x, sizeof(*views), REQUEST_LIST_MAX, &count)) {
        internal(x);
        return;
    }
    jcs_object_open(&j);
    print_next(&j, x->job.reply.next);
    jcs_key(&j, "versions");
    jcs_array_open(&j);
    for (size_t i = 0; i < count; i++) {
        version_terminate(&views[i]);
        print_version(&j, &views[i], x->key);
    }
    jcs_array_close(&j);
    jcs_object_close(&j);
    answer_json(&x->answer, 200, &j);
}

void versions_start(struct exchange *x)
{
    const char *prefix = target_param(&x->target, "prefix");
    exchange_request(x, REQUEST_VERSIONS);
    struct request *r = &x->job.request;
    r->to = INT64_MAX;
    if (prefix != NULL && !token_valid(prefix, REQUEST_VERSION_MAX)) {
        exchange_problem(x, PROBLEM_BAD_REQUEST, "prefix must have up to %d printable characters",
                         REQUEST_VERSION_MAX);
        return;
    }
    if (!number_param(x, "cursor", &r->from))
        return;
    if (prefix != NULL)
        strcpy(r->version, prefix); /* token_valid: at most REQUEST_VERSION_MAX */
    exchange_ask(x, -1, versions_done);
}

static void index_done(struct exchange *x)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    struct view_index *view = (struct view_index *)(void *)x->payload;
    if (x->payload_len != sizeof(*view)) {
        internal(x);
        return;
    }
    index_terminate(view);
    print_index(&j, view, x->key);
    answer_json(&x->answer, 200, &j);
}

void index_start(struct exchange *x)
{
    exchange_request(x, REQUEST_INDEX);
    x->job.request.from = x->job.request.to = (int64_t)x->number;
    exchange_ask(x, -1, index_done);
}
