/*
 * answer: what goes back to the client, as a plain value; exchange.c hands it to the HTTP library.
 *
 * Uses: base, problem. A struct answer belongs to one thread.
 */
#ifndef HTTP_ANSWER_H
#define HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/jcs.h"
#include "base/rc.h"
#include "http/problem.h"
#include "signer/request.h"

#define ANSWER_HEADERS_MAX 24

/* Said in every answer of a service whose TPM is virtual (DESIGN section 6 rule 11). */
#define ANSWER_VIRTUAL_TPM                                                                         \
    "virtual TPM: a snapshot of the whole machine also turns its counters back"

/* Said of a key, and of the service for its most worn one, from this percentage on. */
#define WEAR_WARN_PERCENT 50
#define ANSWER_WORN_TPM                                                                            \
    "TPM wear: %u %% of the writes that an NV index is configured to stand are used"

struct answer {
    bool ready; /* complete: status and body are set */
    unsigned status;
    const char *content_type; /* static */
    char *body;               /* malloc'ed, or NULL */
    const char *fixed;        /* instead of body: static memory */
    size_t len;
    bool close;                    /* end the connection afterwards */
    bool kept;                     /* clients may keep it and ask whether it still holds */
    const struct problem *problem; /* that it is; NULL: none */
    size_t header_count;
    struct {
        const char *name; /* static */
        char value[240];
    } headers[ANSWER_HEADERS_MAX];
};

/** Free the body and zero the struct; fine on a zeroed struct. For CLEANUP(). */
void answer_wipe(struct answer *a);

/** Add a header. A value that does not fit is a bug (MUST). name: static. */
void answer_header(struct answer *a, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);

/** Answer with static text. */
void answer_fixed(struct answer *a, unsigned status, const char *type, const char *text,
                  size_t len);

/** Answer with bytes. body: malloc'ed, becomes the answer's. */
void answer_bytes(struct answer *a, unsigned status, const char *type, char *body, size_t len);

/** Answer with a finished JSON text, which becomes the answer's; out of memory becomes a 503. */
void answer_json(struct answer *a, unsigned status, struct jcs *j);

/**
 * Answer with a problem document and the headers that go with it (Retry-After).
 * @param[in] reply  What the core said, or NULL.
 */
void answer_problem(struct answer *a, enum problem_id id, const char *detail,
                    const char *request_id, const struct reply *reply);

/**
 * Give an answer that may be kept its entity tag, and make it "not modified" for who has it
 * already.
 *
 * The tag is a digest of the bytes, so that it cannot stay when they change: whatever is answered
 * here was made and allowed as without If-None-Match, only its bytes are left out. The library
 * leaves the body out of a 304 by itself and says its length (RFC 9110 §15.4.5, §8.6). Nothing is
 * done to answers that may not be kept, and to others than a 200.
 * @param[in] if_none_match  Value of the header, or NULL.
 */
void answer_validate(struct answer *a, const char *if_none_match);

/** RateLimit-Policy and RateLimit from the limits in a reply. window_s: length of a window, or 0.
 */
void answer_limits(struct answer *a, const struct reply *r, int64_t window_s);

#endif
