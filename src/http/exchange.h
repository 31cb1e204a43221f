/*
 * exchange: one HTTP request and its answer, from the first header to the last byte.
 *
 * The HTTP library calls exchange_handle() several times for one request, always on the thread of
 * its connection. An exchange moves NEW → BODY → (ASKING → …) → ANSWERED; while it is ASKING its
 * connection is suspended and the exchange is lent to core_link, so nothing here runs for it.
 *
 * A route has up to two functions. begin() runs when the headers are there, and may answer at once:
 * then the body is never read. start() runs when the body is complete. Both either answer or
 * (start() only) ask the core and name the function that goes on with the reply.
 */
#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "http/answer.h"
#include "http/budget.h"
#include "http/conns.h"
#include "http/core_link.h"
#include "http/fields.h"
#include "http/front.h"
#include "http/guard.h"
#include "http/metrics.h"
#include "http/plans.h"
#include "http/spool.h"
#include "http/target.h"

#define TICKS_PER_S 10 /* time comes as ticks of one timer (front.c) */

/** struct front_settings, as any thread may read them while they change. */
struct live_settings {
    atomic_uint_fast64_t body_max, body_memory_max;
    atomic_uint header_deadline_s, body_deadline_s, core_deadline_s;
};

/** What all exchanges share. */
struct front {
    const struct front_config *config;
    struct live_settings live;
    struct core_link *link;
    struct conns *conns;
    struct plans *plans;
    struct tls *tls;                /* NULL: no listener speaks it */
    struct budget memory;           /* bodies and answers */
    struct budget spool;            /* bodies in the spool folder */
    atomic_uint_fast64_t unwritten; /* of these: promised, and not there yet */
    atomic_uint_fast64_t now;       /* ticks since the start */
    struct metrics metrics;
    atomic_bool stopping;
    atomic_uint active; /* exchanges between first header and last byte */
};

struct exchange;
typedef void (*exchange_step)(struct exchange *x);

struct route {
    const char *method;
    const char *pattern; /* "/v1/keys/{key}/windows/{number}" */
    unsigned roles;      /* who may: of enum access_role, never 0; ROLE_PUBLIC: everybody */
    const char *params;  /* query parameters, with blanks between */
    exchange_step begin; /* or NULL: no body is taken */
    exchange_step start;
};

enum exchange_phase { EXCHANGE_NEW, EXCHANGE_BODY, EXCHANGE_ASKING, EXCHANGE_ANSWERED };

struct exchange {
    struct front *front;
    struct MHD_Connection *connection;
    struct conn *conn;
    enum exchange_phase phase;
    bool counted;     /* in front->active */
    uint64_t started; /* tick */

    char raw[TARGET_LEN_MAX + 2]; /* request target as it came; longer ones are cut, and refused */
    bool too_long;
    struct target target;
    struct guard guard;
    const struct route *route;
    char request_id[REQUEST_ID_MAX + 1];

    /* from the path */
    char key[NAME_LEN_MAX + 1];
    char name[NAME_LEN_MAX + 1];
    uint64_t number;
    uint8_t id[16];

    /* the body */
    struct spool spool;
    uint64_t in_memory, in_spool, unwritten; /* what it has taken of the budgets of the front */
    struct content_digest promised;
    struct err spool_err; /* why the rest of the body is thrown away */
    uint8_t sha256[SHA256_LEN];

    /* asking the core */
    struct core_job job;   /* job.reply: the last answer of the core */
    struct err submit_err; /* why the job was not taken */
    exchange_step then;    /* goes on with the reply */
    uint8_t *payload;      /* of the last reply, malloc'ed */
    size_t payload_len;

    /* what the routes keep between steps */
    bool bare;           /* the signature itself is wanted, not JSON */
    bool by_json;        /* the request is a JSON body */
    struct request sign; /* the signing request, until it is sent */
    struct plan_facts facts;
    struct reply made;  /* the reply that brought the signature */
    uint8_t *signature; /* malloc'ed */
    size_t signature_len;
    size_t item_count;            /* of a batch; then signature holds the core's results */
    struct view_key *keys;        /* GET /v1/keys; malloc'ed */
    struct plan_facts *key_facts; /* one for each; malloc'ed */
    size_t key_count, key_at;
    bool signing; /* a signing request: its end is logged */
    bool used;    /* the core has signed for it: from here on a failure is not "nothing" */
    bool logged;
    char ended[80]; /* a batch: what became of it, for the log */

    struct answer answer;
};

/** Callbacks for the HTTP library; cls is the struct front. */
void *exchange_open(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result exchange_handle(void *cls, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload_data,
                                size_t *upload_data_size, void **con_cls);
void exchange_close(void *cls, struct MHD_Connection *connection, void **con_cls,
                    enum MHD_RequestTerminationCode why);

/* For routes --------------------------------------------------------------------------------------
 */

/** Answer with a problem. */
void exchange_problem(struct exchange *x, enum problem_id id, const char *format, ...)
    PRINTF_LIKE(3, 4);

/** May the one who asks use this key, "" for none? The rules of its identity say so. */
bool exchange_key_allowed(struct exchange *x, const char *key) MUST_CHECK;

/** Answer with the problem that err->rc is, its text as detail. */
void exchange_fail(struct exchange *x, const struct err *err);

/**
 * Make room for the body that the headers promise, in memory or in the spool folder, or answer that
 * there is none. For begin().
 * @param[in] sha512  Compute that, too.
 */
void exchange_expect_body(struct exchange *x, bool sha512);

/** Start x->job.request: zero but for the operation, the key of the path, and who asks. */
void exchange_request(struct exchange *x, enum request_op op);

/**
 * Send x->job.request and go on with then() when the core has answered RC_OK; x->job.reply and
 * x->payload are there then. Every other end is answered here: refusals with their problem, a lost
 * core with "outcome-unknown" if the request may have signed, else with "starting" or "busy".
 * @param[in] body  Handle to pass along, or -1. Taken, and so is x->job.behind.
 */
void exchange_ask(struct exchange *x, int body, exchange_step then);

/** Answer with x->payload as it is, which becomes the answer's. */
void exchange_answer_payload(struct exchange *x, unsigned status, const char *type);

#endif
