/*
 * body: short JSON bodies, from their headers to their text.
 *
 * Uses: exchange. On the thread of the exchange's connection.
 */
#ifndef HTTP_BODY_H
#define HTTP_BODY_H

#include "http/exchange.h"

/**
 * For a route's begin(): is this a JSON body of a length that is taken? Opens the spool for it, and
 * answers with a problem otherwise. Content-Digest is remembered for body_take().
 */
void body_begin(struct exchange *x, uint64_t max);

/**
 * For a route's start(): the text of the body. Closes the spool, whatever comes.
 * @param[out] text  malloc'ed, len bytes without a NUL; NULL unless RC_OK.
 * @retval RC_REFUSED_INPUT, RC_REFUSED_DIGEST, RC_RETRY_SYSTEM  As spool_write(), spool_finish().
 */
enum rc body_take(struct exchange *x, char **text, size_t *len, struct err *err) MUST_CHECK;

/** Web pages may ask for nothing that changes something or names an artifact: false, and answered,
 * if the request comes from one. */
bool body_no_page(struct exchange *x) MUST_CHECK;

#endif
