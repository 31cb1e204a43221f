#include "http/exchange.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secmem.h"
#include "base/text.h"
#include "http/routes.h"

#define CORE_PACE_MIN (8 * 1024 * 1024) /* bytes of an artifact in a second, at worst */

static uint64_t now(const struct exchange *x)
{
    return atomic_load(&x->front->now);
}

static void deadline_in(struct exchange *x, uint64_t seconds)
{
    conns_set_deadline(x->front->conns, x->conn, now(x) + seconds * TICKS_PER_S);
}

/* A body has an absolute deadline, and a small one a near one: a byte now and then is not enough.
 */
static uint64_t body_seconds(const struct exchange *x)
{
    const struct front_config *config = x->front->config;
    uint64_t seconds = atomic_load(&x->front->live.body_deadline_s);
    if (config->body_rate_min == 0)
        return seconds;
    uint64_t needed = atomic_load(&x->front->live.header_deadline_s) +
                      x->guard.content_length / config->body_rate_min;
    return needed < seconds ? needed : seconds;
}

/* Answers ----------------------------------------------------------------------------------------
 */

void exchange_problem(struct exchange *x, enum problem_id id, const char *format, ...)
{
    char detail[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    answer_problem(&x->answer, id, detail, x->request_id, NULL);
}

void exchange_fail(struct exchange *x, const struct err *err)
{
    exchange_problem(x, problem_of_rc(err->rc), "%s", err_text(err));
}

/* A place for the body: in memory while the budget of all lasts, else in the spool folder. */
static bool take_room(struct exchange *x)
{
    struct front *front = x->front;
    const struct front_config *config = front->config;
    uint64_t len = x->guard.content_length;
    if (len <= atomic_load(&front->live.body_memory_max) && budget_take(&front->memory, len)) {
        x->in_memory += len;
        return true;
    }
    if (!budget_take(&front->spool, len))
        return false;
    x->in_spool = len;
    x->unwritten = len;
    uint64_t promised = atomic_fetch_add(&front->unwritten, len) + len;
    return budget_fits_disk(config->spool_dirfd, promised, config->spool_keep_free);
}

void exchange_expect_body(struct exchange *x, bool sha512)
{
    struct err err = {0};
    const struct front_config *config = x->front->config;
    uint64_t len = x->guard.content_length;
    if (!take_room(x))
        exchange_problem(x, PROBLEM_SPOOL_FULL,
                         "the bodies of other requests leave no room for %" PRIu64 " bytes now",
                         len);
    else if (spool_open(&x->spool, len, x->in_spool > 0 ? 0 : len, config->spool_dirfd, sha512,
                        &err) != RC_OK)
        exchange_problem(x, PROBLEM_SPOOL_FULL, "%s", err_text(&err));
    else if (x->in_spool > REQUEST_UPLOAD_MIN && budget_take(&x->front->memory, SPOOL_GATHER)) {
        x->in_memory += SPOOL_GATHER;
        spool_gather(&x->spool);
    }
}

static void give_room(struct exchange *x)
{
    budget_give(&x->front->memory, x->in_memory);
    budget_give(&x->front->spool, x->in_spool);
    atomic_fetch_sub(&x->front->unwritten, x->unwritten);
}

void exchange_answer_payload(struct exchange *x, unsigned status, const char *type)
{
    answer_bytes(&x->answer, status, type, (char *)x->payload, x->payload_len);
    x->payload = NULL;
    x->payload_len = 0;
}

bool exchange_key_allowed(struct exchange *x, const char *key)
{
    const struct identity *who = conn_identity(x->conn);
    return key[0] == '\0' || who->rules == NULL ||
           access_key_allowed(x->front->config->access, who->rules, key);
}

/* Asking the core --------------------------------------------------------------------------------
 */

void exchange_request(struct exchange *x, enum request_op op)
{
    x->job.request = (struct request){.op = op};
    memcpy(x->job.request.key, x->key, sizeof(x->key));
    text_copy(x->job.request.requester, sizeof(x->job.request.requester),
              conn_identity(x->conn)->name);
}

/* Any thread, without the link's lock. The library runs exchange_handle() again on its own thread.
 */
static void job_done(struct core_job *job)
{
    struct exchange *x = (struct exchange *)((char *)job - offsetof(struct exchange, job));
    MHD_resume_connection(x->connection);
}

/* The core reads a large artifact, more than once, from a disk that may be slow. */
static uint64_t core_seconds(const struct exchange *x)
{
    return atomic_load(&x->front->live.core_deadline_s) + x->job.request.body_len / CORE_PACE_MIN;
}

void exchange_ask(struct exchange *x, int body, exchange_step then)
{
    x->then = then;
    x->submit_err = (struct err){0};
    x->job.body = body;
    x->job.deadline = now(x) + core_seconds(x) * TICKS_PER_S;
    x->job.done = job_done;
    x->phase = EXCHANGE_ASKING;
    conns_set_deadline(x->front->conns, x->conn, CONNS_NO_DEADLINE);
    /* Suspended first, and then submitted: the answer may be there before the call returns, and a
     * connection that is resumed before it is suspended sleeps for ever. */
    MHD_suspend_connection(x->connection);
    if (core_link_submit(x->front->link, &x->job, &x->submit_err) != RC_OK) {
        x->job.end = JOB_UNSENT;
        MHD_resume_connection(x->connection);
    }
}

static enum rc load_payload(struct exchange *x, struct err *err)
{
    int fd CLEANUP(fd_close) = x->job.payload;
    x->job.payload = -1;
    free(x->payload);
    x->payload = NULL;
    x->payload_len = 0;
    uint64_t len = x->job.reply.payload_len;
    struct stat status = {0};
    if (len == 0)
        return RC_OK;
    if (fd >= 0 &&
        (fstat(fd, &status) != 0 || (uint64_t)status.st_size != len || len > REQUEST_PAYLOAD_MAX))
        return FAIL(err, RC_HALT_INVARIANT, "", 0, "the core's payload is not what it says");
    /* A list becomes text of about its size. What a signature was spent on is never refused. */
    if (!x->used && !budget_take(&x->front->memory, 2 * len))
        return FAIL(err, RC_RETRY_BUSY, "", 0, "too many answers are being read by others");
    x->in_memory += x->used ? 0 : 2 * len;
    x->payload = fd >= 0 ? malloc(len) : x->job.bytes; /* or it came in the message itself */
    x->job.bytes = NULL;
    if (x->payload == NULL || (fd >= 0 && !pread_full(fd, x->payload, len, 0)))
        return FAIL(err, RC_RETRY_SYSTEM, "errno", errno, "cannot read the core's payload");
    x->payload_len = len;
    return RC_OK;
}

static void outcome_unknown(struct exchange *x, const char *why)
{
    exchange_problem(x, PROBLEM_OUTCOME_UNKNOWN, "%s", why);
}

/* The job was not sent, so nothing happened. */
static void unsent(struct exchange *x)
{
    if (x->used)
        outcome_unknown(x,
                        "the signature was made and stored, but the answer could not be finished");
    else if (x->submit_err.rc == RC_REFUSED_EXISTS)
        exchange_problem(x, PROBLEM_IDEMPOTENCY_KEY_IN_USE, "%s", err_text(&x->submit_err));
    else if (x->submit_err.rc != RC_OK)
        exchange_fail(x, &x->submit_err);
    else
        exchange_problem(x, PROBLEM_STARTING,
                         "the signing process went away; it had not seen this");
}

static void unanswered(struct exchange *x, bool late)
{
    if (x->used || request_may_sign(&x->job.request))
        outcome_unknown(x, late ? "the signing process has not answered in time"
                                : "the signing process went away before it answered");
    else if (late)
        exchange_problem(x, PROBLEM_BUSY, "the signing process has not answered in time");
    else
        exchange_problem(x, PROBLEM_STARTING, "the signing process is being restarted");
}

static void refused(struct exchange *x)
{
    const struct reply *reply = &x->job.reply;
    enum rc rc = (enum rc)reply->rc;
    if (x->used) {
        outcome_unknown(x,
                        "the signature was made and stored, but the answer could not be finished");
        return;
    }
    const char *detail = reply->text[0] != '\0' ? reply->text : rc_text(rc);
    answer_problem(&x->answer, problem_of_rc(rc), detail, x->request_id, reply);
    answer_limits(&x->answer, reply, x->facts.window_s);
}

static void answered(struct exchange *x)
{
    struct err err = {0};
    if (x->job.reply.rc != RC_OK) {
        fd_close(&x->job.payload);
        free(x->job.bytes);
        x->job.bytes = NULL;
        refused(x);
        return;
    }
    if (request_may_sign(&x->job.request))
        x->used = true;
    if (load_payload(x, &err) == RC_OK)
        x->then(x);
    else if (x->used)
        outcome_unknown(x, "the signature was made and stored, but could not be read");
    else
        exchange_fail(x, &err);
}

static void resumed(struct exchange *x)
{
    enum job_end end = x->job.end;
    MUST(end != JOB_RUNNING);
    x->job.end = JOB_IDLE;
    x->phase = EXCHANGE_BODY;
    switch (end) {
    case JOB_ANSWERED:
        answered(x);
        break;
    case JOB_LOST:
    case JOB_LATE:
        unanswered(x, end == JOB_LATE);
        break;
    default:
        unsent(x);
        break;
    }
    /* If there is an answer now, no further job is running, and the reply is that of the last one.
     * Whatever it was about, it said what the TPM is; the warning goes with every such answer. */
    if (x->answer.ready && end == JOB_ANSWERED && x->job.reply.tpm_virtual)
        answer_header(&x->answer, "Tidemark-Warning", "%s", ANSWER_VIRTUAL_TPM);
}

/* The first call: headers are there --------------------------------------------------------------
 */

struct headers {
    struct guard *guard;
    bool in_place; /* the library leaves them where they came in */
    uintptr_t at;  /* where the next one must begin */
};

static enum MHD_Result show_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_len, const char *value, size_t value_len)
{
    struct headers *h = cls;
    (void)kind;
    value_len = value == NULL ? 0 : value_len;
    value = value == NULL ? "" : value;
    if (h->in_place)
        guard_line(h->guard, &h->at, name, name_len, value, value_len);
    guard_header(h->guard, name, name_len, value, value_len);
    return MHD_YES;
}

static void make_request_id(struct exchange *x)
{
    uint8_t bytes[16];
    random_id(bytes, sizeof(bytes));
    hex_encode(x->request_id, bytes, sizeof(bytes));
}

/* From here on answers carry an id: the client's if it has a usable one, else one of ours. */
static bool choose_request_id(struct exchange *x)
{
    const char *sent = guard_value(&x->guard, GUARD_REQUEST_ID);
    make_request_id(x);
    if (sent == NULL)
        return true;
    if (!request_id_valid(sent)) {
        exchange_problem(x, PROBLEM_BAD_REQUEST,
                         "Request-Id may hold 1 to %d printable characters without quotes",
                         REQUEST_ID_MAX);
        return false;
    }
    strcpy(x->request_id, sent);
    return true;
}

static size_t head_size(const struct exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info != NULL ? info->header_size : 0;
}

/* May we believe what the headers say about where the request ends? */
static bool pass_guard(struct exchange *x, const char *method, const char *version)
{
    /* Versions from 1.0 on refuse folded lines, lone line feeds and lines without a name
     * themselves. What counts is the library that runs, not the one that was built with. */
    struct headers headers = {.guard = &x->guard,
                              .in_place = strncmp(MHD_get_version(), "0.", 2) == 0,
                              .at = (uintptr_t)version + strlen(version) + strlen("\r\n")};
    (void)MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, show_header, &headers);
    if (headers.in_place)
        guard_head(&x->guard, headers.at - (uintptr_t)method, head_size(x));
    bool pass = guard_finish(&x->guard, version);
    if (pass && !x->too_long)
        return true;
    make_request_id(x);
    if (!pass)
        exchange_problem(x, x->guard.problem, "%s", x->guard.detail);
    else
        exchange_problem(x, PROBLEM_URI_TOO_LONG, "more than %d characters", TARGET_LEN_MAX);
    x->answer.close = true;
    return false;
}

static bool find_route(struct exchange *x, const char *method)
{
    struct err err = {0};
    char allow[ROUTES_ALLOW_SIZE];
    if (!target_agrees(x->raw, guard_value(&x->guard, GUARD_HOST))) {
        exchange_problem(x, PROBLEM_BAD_REQUEST, "the address names another host than Host does");
        x->answer.close = true;
        return false;
    }
    if (target_parse(&x->target, x->raw, &err) != RC_OK) {
        exchange_fail(x, &err);
        return false;
    }
    switch (routes_find(x, method, allow)) {
    case ROUTE_FOUND:
        break;
    case ROUTE_NO_PATH:
        exchange_problem(x, PROBLEM_NOT_FOUND, "nothing is served at this address");
        return false;
    case ROUTE_NO_METHOD:
        exchange_problem(x, PROBLEM_METHOD_NOT_ALLOWED, "this address takes %s", allow);
        answer_header(&x->answer, "Allow", "%s", allow);
        return false;
    }
    if (target_allow(&x->target, x->route->params, &err) != RC_OK)
        exchange_fail(x, &err);
    return !x->answer.ready;
}

/* RFC 9110 §15.5.2: "The server generating a 401 response MUST send a WWW-Authenticate header". No
 * scheme of the registry means certificates, so this one only says what is missing. */
static void refuse_unknown(struct exchange *x, const struct identity *who)
{
    exchange_problem(x, PROBLEM_UNAUTHORISED, "%s", who->why);
    answer_header(&x->answer, "WWW-Authenticate", "Certificate realm=\"tidemark\"");
}

/* May this one use this route at all, and ask about this key? What it may sign is seen in sign.c
 * and, by the plan, in the core. */
static bool pass_gate(struct exchange *x)
{
    char wanted[96];
    const struct identity *who = conn_identity(x->conn);
    if ((x->route->roles & ROLE_PUBLIC) != 0)
        return true;
    access_roles_print(wanted, sizeof(wanted), x->route->roles);
    if (who->roles == 0)
        refuse_unknown(x, who);
    else if ((who->roles & x->route->roles) == 0)
        exchange_problem(x, PROBLEM_FORBIDDEN, "%s lacks the role that this needs: %s", who->name,
                         wanted);
    else if (!exchange_key_allowed(x, x->key))
        exchange_problem(x, PROBLEM_FORBIDDEN, "%s may not use the key %s", who->name, x->key);
    return !x->answer.ready;
}

static void begin(struct exchange *x, const char *method, const char *version)
{
    bool within = conns_busy(x->front->conns, x->conn);
    if (!pass_guard(x, method, version) || !choose_request_id(x) || !find_route(x, method) ||
        !pass_gate(x))
        return;
    if (!within) {
        exchange_problem(x, PROBLEM_BUSY,
                         "as many requests as one client may have are in progress");
    } else if (atomic_load(&x->front->stopping)) {
        exchange_problem(x, PROBLEM_STARTING, "the service is stopping");
        x->answer.close = true;
    } else if (x->route->begin != NULL) {
        x->route->begin(x);
    } else if (x->guard.content_length > 0) {
        exchange_problem(x, PROBLEM_BAD_REQUEST, "this operation takes no body");
    }
}

/* The library's callbacks ------------------------------------------------------------------------
 */

void *exchange_open(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct exchange *x = calloc(1, sizeof(*x));
    if (x == NULL)
        return NULL; /* exchange_handle() drops the connection then */
    x->front = cls;
    x->connection = connection;
    x->spool = SPOOL_CLOSED;
    x->job.payload = -1;
    size_t len = strnlen(uri, sizeof(x->raw) - 1);
    x->too_long = len > TARGET_LEN_MAX;
    memcpy(x->raw, uri, len);
    return x;
}

static void take_body(struct exchange *x, const char *data, size_t len)
{
    /* A response cannot be given in the middle of a body, so after a failure the rest is read and
     * thrown away; the deadline of the connection bounds that. */
    if (!spool_is_open(&x->spool) || x->spool_err.rc != RC_OK)
        return;
    if (spool_write(&x->spool, data, len, &x->spool_err) != RC_OK)
        spool_close(&x->spool);
    uint64_t written = len < x->unwritten ? len : x->unwritten;
    x->unwritten -= written;
    atomic_fetch_sub(&x->front->unwritten, written);
}

/* What is kept is asked about each time (no-cache): a key of the same name may be made anew, and
 * who lost its role must not go on reading. What needs a role is nothing for caches of many
 * clients. */
static const char *cache_control(const struct exchange *x)
{
    if (!x->answer.kept || x->answer.status >= 400)
        return "no-store";
    return (x->route->roles & ROLE_PUBLIC) != 0 ? "no-cache" : "private, no-cache";
}

static enum MHD_Result add_headers(const struct exchange *x, struct MHD_Response *response)
{
    const struct answer *a = &x->answer;
    enum MHD_Result ok = MHD_add_response_header(response, "Content-Type", a->content_type);
    ok &= MHD_add_response_header(response, "Request-Id", x->request_id);
    ok &= MHD_add_response_header(response, "Cache-Control", cache_control(x));
    ok &= MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (a->close)
        ok &= MHD_add_response_header(response, "Connection", "close");
    for (size_t i = 0; i < a->header_count; i++)
        ok &= MHD_add_response_header(response, a->headers[i].name, a->headers[i].value);
    return ok;
}

static struct MHD_Response *make_response(struct answer *a)
{
    if (a->body == NULL) /* static memory, which the library only reads in this mode */
        return MHD_create_response_from_buffer(a->len, (void *)(uintptr_t)a->fixed,
                                               MHD_RESPMEM_PERSISTENT);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(a->len, a->body, MHD_RESPMEM_MUST_FREE);
    if (response != NULL)
        a->body = NULL; /* the library's from here on */
    return response;
}

/* One line for every signing request that ended, whatever became of it. Nothing of its body. */
static void log_end(struct exchange *x, const char *what)
{
    if (!x->signing || x->logged)
        return;
    x->logged = true;
    const struct signature_view *s = &x->made.signature;
    struct log_fields fields = LOG_NOTHING;
    fields.key = x->key;
    fields.request_id = x->request_id;
    if (x->signature != NULL && x->item_count == 0)
        fields.index = (int64_t)s->index;
    enum log_level level = x->answer.status >= 500 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO;
    uint64_t ticks = now(x) - x->started;
    log_event(level, &fields,
              "sign %s for %s: %s, status %u, %" PRIu64 " bytes, %" PRIu64 ".%" PRIu64 " s%s%s%s%s",
              x->key, conn_identity(x->conn)->name, what, x->answer.status, x->guard.content_length,
              ticks / TICKS_PER_S, ticks % TICKS_PER_S,
              x->sign.version[0] != '\0' ? ", version " : "", x->sign.version,
              x->sign.slot[0] != '\0' ? ", slot " : "", x->sign.slot);
}

static const char *end_name(const struct exchange *x)
{
    if (x->ended[0] != '\0')
        return x->ended;
    if (x->signature != NULL && x->answer.status < 300)
        return x->made.replayed ? "stored signature returned" : "signed";
    return "no signature";
}

static enum MHD_Result queue_answer(struct exchange *x)
{
    answer_validate(&x->answer, guard_value(&x->guard, GUARD_IF_NONE_MATCH));
    struct MHD_Response *response = make_response(&x->answer);
    if (response == NULL)
        return MHD_NO;
    x->phase = EXCHANGE_ANSWERED;
    deadline_in(x, atomic_load(&x->front->live.body_deadline_s));
    log_end(x, end_name(x));
    metrics_count(x);
    enum MHD_Result ok = add_headers(x, response);
    if (ok == MHD_YES)
        ok = MHD_queue_response(x->connection, x->answer.status, response);
    MHD_destroy_response(response);
    return ok;
}

/* A certificate is looked at with each request, since it may have run out or been revoked while the
 * connection was open. */
static bool know_peer(struct exchange *x, struct conn *conn)
{
    struct tls_session *session = *conn_tls(conn);
    if (!conn_speaks_tls(conn))
        return true;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (session == NULL || info == NULL)
        return false;
    tls_identify(x->front->tls, session, info->tls_session, now(x) / (60 * TICKS_PER_S),
                 x->front->config->access, conn_identity(conn));
    return true;
}

/* The first call. An answer that comes before the body makes the library close the connection
 * behind it, so with no body on the way it waits for the second call, and the connection stays
 * open. */
static enum MHD_Result first_call(struct exchange *x, const char *method, const char *version)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    /* From 1.0 on all kinds of information of a connection share one place, so what is behind info
     * is another thing as soon as the next one is asked for. */
    struct conn *conn = info != NULL ? info->socket_context : NULL;
    if (conn == NULL) /* no memory when it was opened */
        return MHD_NO;
    if (!know_peer(x, conn))
        return MHD_NO;
    x->conn = conn;
    x->started = now(x);
    x->counted = true;
    atomic_fetch_add(&x->front->active, 1);
    x->phase = EXCHANGE_BODY;
    begin(x, method, version);
    deadline_in(x, body_seconds(x));
    bool body_comes = x->guard.content_length > 0 || x->answer.close;
    return x->answer.ready && body_comes ? queue_answer(x) : MHD_YES;
}

enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload_data,
                                size_t *upload_data_size, void **con_cls)
{
    (void)cls;
    (void)connection;
    (void)url; /* decoded more leniently than we like: target_parse() reads the raw one */
    struct exchange *x = *con_cls;
    if (x == NULL)
        return MHD_NO;
    if (x->phase == EXCHANGE_NEW)
        return first_call(x, method, version);
    if (x->phase == EXCHANGE_ANSWERED)
        return MHD_YES;
    if (*upload_data_size > 0) {
        take_body(x, upload_data, *upload_data_size);
        *upload_data_size = 0;
        return MHD_YES;
    }
    if (x->phase == EXCHANGE_ASKING)
        resumed(x);
    else if (!x->answer.ready)
        x->route->start(x);
    return x->answer.ready ? queue_answer(x) : MHD_YES;
}

void exchange_close(void *cls, struct MHD_Connection *connection, void **con_cls,
                    enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)connection;
    (void)why;
    struct exchange *x = *con_cls;
    *con_cls = NULL;
    if (x == NULL)
        return;
    MUST(x->job.end != JOB_RUNNING);
    if (x->conn != NULL) {
        log_end(x, "the client went away before it had an answer");
        if (x->phase != EXCHANGE_ANSWERED)
            atomic_fetch_add(&x->front->metrics.gone, 1);
        deadline_in(x, atomic_load(&x->front->live.header_deadline_s));
        conns_idle(x->front->conns, x->conn, now(x));
    }
    if (x->counted)
        atomic_fetch_sub(&x->front->active, 1);
    spool_close(&x->spool);
    give_room(x);
    fd_close(&x->job.payload);
    free(x->job.bytes);
    free(x->job.behind);
    free(x->payload);
    free(x->signature);
    free(x->keys);
    free(x->key_facts);
    answer_wipe(&x->answer);
    free(x);
}
