/*
 * guard: what a request's headers must look like before anything believes them.
 *
 * The HTTP library of Debian 12 (0.9.75) lets through what two readers can understand differently:
 * Content-Length beside Transfer-Encoding, two of either, two Hosts, blanks before a colon. The
 * guard sees every header of a request once and refuses all of that, so that a proxy and this
 * service can never disagree where a request ends. It also picks up the headers that the service
 * uses.
 *
 * Uses: base. Pure, one thread per struct. Sources: RFC 9112 §3.2, §5, §6; RFC 9110 §5.
 */
#ifndef HTTP_GUARD_H
#define HTTP_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "http/problem.h"

#define GUARD_VALUE_MAX 511
#define GUARD_HEADERS_MAX 64

/** Headers that the service uses. */
enum guard_header {
    GUARD_HOST,
    GUARD_CONTENT_LENGTH,
    GUARD_TRANSFER_ENCODING,
    GUARD_CONTENT_TYPE,
    GUARD_CONTENT_ENCODING,
    GUARD_CONTENT_DIGEST,
    GUARD_ACCEPT,
    GUARD_IF_NONE_MATCH,
    GUARD_EXPECT,
    GUARD_IDEMPOTENCY_KEY,
    GUARD_REQUEST_ID,
    GUARD_ORIGIN,
    GUARD_KNOWN_COUNT
};

struct guard {
    size_t count;                                        /* headers seen */
    uint32_t seen[GUARD_KNOWN_COUNT];                    /* how often each was there */
    char values[GUARD_KNOWN_COUNT][GUARD_VALUE_MAX + 1]; /* lists are joined with ", " */
    uint64_t content_length; /* after guard_finish(); 0 if there is none */
    enum problem_id problem; /* why it was refused */
    bool refused;
    char detail[160];
};

/**
 * Does this header stand in one line of its own, directly behind the one before it?
 *
 * For libraries before 1.0: they join folded lines ("obs-fold", RFC 9112 §5.2), which makes one
 * header name out of two, end a line at a line feed alone (§2.2), and cut a value at a NUL. All of
 * it shows in where names and values lie in the buffer that they came in: they were not copied. The
 * end of the last line shows in guard_head(). Call it before guard_header().
 * @param[in,out] at  Address at which the name must begin, 0 if any will do; moved behind the line.
 */
void guard_line(struct guard *guard, uintptr_t *at, const char *name, size_t name_len,
                const char *value, size_t value_len);

/**
 * Is the empty line all that stands behind the last header?
 *
 * For libraries before 1.0: they take a line that begins with a colon for the end of the headers,
 * and what follows it for a request of its own; and they take a line feed alone for the empty line.
 * Both make a head of another size. Call it behind the last guard_line().
 * @param[in] seen  Bytes from the first one of the request line to behind the last header line.
 * @param[in] size  Bytes of the whole head, as the library has counted them.
 */
void guard_head(struct guard *guard, size_t seen, size_t size);

/**
 * Look at one header.
 * @param[in,out] guard  Zeroed before the first.
 * @param[in] name, value  As sent, with their lengths, since they may contain anything.
 */
void guard_header(struct guard *guard, const char *name, size_t name_len, const char *value,
                  size_t value_len);

/**
 * All headers were shown: may the request be looked at?
 * @param[in] version  "HTTP/1.1" and nothing else is taken.
 * @retval false  guard->problem and guard->detail say why; answer so and close the connection,
 * since nobody can tell where this request ends.
 */
bool guard_finish(struct guard *guard, const char *version) MUST_CHECK;

/** Value of a header, or NULL if it was not there. Borrowed from *guard. */
const char *guard_value(const struct guard *guard, enum guard_header header) MUST_CHECK;

#endif
