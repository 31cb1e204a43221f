/*
 * routes: which address and method leads to which function. The one list of what the service
 * serves.
 *
 * Uses: exchange. Pure look-up, any thread; the functions named in the table run as exchange.h
 * says.
 */
#ifndef HTTP_ROUTES_H
#define HTTP_ROUTES_H

#include "http/exchange.h"

#define ROUTES_ALLOW_SIZE 32

enum route_result { ROUTE_FOUND, ROUTE_NO_PATH, ROUTE_NO_METHOD };

/**
 * Find the route of x->target and set x->route, x->key, x->name, x->number, x->id from the path.
 * HEAD is served where GET is.
 * @param[out] allow  With ROUTE_NO_METHOD: the value of the Allow header.
 * A key, number or id in the path that cannot be one makes it ROUTE_NO_PATH.
 */
enum route_result routes_find(struct exchange *x, const char *method,
                              char allow[ROUTES_ALLOW_SIZE]) MUST_CHECK;

/** Route number i, or NULL behind the last. For tests that hold the table against the OpenAPI. */
const struct route *routes_at(size_t i) MUST_CHECK;

/* sign.c */
void sign_begin(struct exchange *x);
void sign_start(struct exchange *x);
void signature_start(struct exchange *x); /* GET …/signatures/{id} */
void receipt_start(struct exchange *x);

/** For reserve.c: how the signature is wanted (x->bare); false if an answer was given instead. */
bool sign_accept(struct exchange *x) MUST_CHECK;
/** For reserve.c: the core has answered with a signature. */
void sign_done(struct exchange *x);

/* reserve.c */
void reservation_begin(struct exchange *x);
void reservation_start(struct exchange *x);
void hash_begin(struct exchange *x);
void hash_start(struct exchange *x);

/* batch.c */
void batch_begin(struct exchange *x);
void batch_start(struct exchange *x);

/* preview.c */
void preview_begin(struct exchange *x);
void preview_start(struct exchange *x);

/* read.c */
void keys_start(struct exchange *x);
void key_start(struct exchange *x);
void plan_start(struct exchange *x);
void attestation_start(struct exchange *x);
void windows_start(struct exchange *x);
void window_start(struct exchange *x);
void versions_start(struct exchange *x);
void index_start(struct exchange *x);
/** Take the core's payload as keys (x->keys); false if an answer was given instead. */
bool keys_take(struct exchange *x) MUST_CHECK;

/* public.c */
void public_start(struct exchange *x);

/* warnings.c */
void forecast_start(struct exchange *x);
void warnings_start(struct exchange *x);
void warning_ack_begin(struct exchange *x);
void warning_ack_start(struct exchange *x);

/* clock.c */
void clock_start(struct exchange *x);
void clock_ack_begin(struct exchange *x);
void clock_ack_start(struct exchange *x);

/* pages.c */
void live_start(struct exchange *x);
void ready_start(struct exchange *x);
void state_start(struct exchange *x);
void problem_start(struct exchange *x);
void openapi_start(struct exchange *x);

/* metrics.c */
void metrics_start(struct exchange *x);

#endif
