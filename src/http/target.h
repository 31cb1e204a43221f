/*
 * target: the request target of one request, taken apart and decoded.
 *
 * Strict on purpose: what two readers could understand differently is refused. Uses: base. Pure,
 * any thread. Source: RFC 9112 §3.2 (forms), RFC 3986 §2.1 (percent-encoding).
 */
#ifndef HTTP_TARGET_H
#define HTTP_TARGET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/rc.h"

#define TARGET_LEN_MAX 2048
#define TARGET_SEGMENTS_MAX 8
#define TARGET_PARAMS_MAX 8

struct target {
    char store[TARGET_LEN_MAX + TARGET_SEGMENTS_MAX + 2 * TARGET_PARAMS_MAX + 1];
    const char *segments[TARGET_SEGMENTS_MAX]; /* decoded; "/" alone has one empty segment */
    size_t segment_count;
    struct {
        const char *name;
        const char *value; /* "" if there is no '=' */
    } params[TARGET_PARAMS_MAX];
    size_t param_count;
};

/**
 * Take a raw request target apart.
 *
 * Accepted: origin form ("/path?query") and absolute form ("http://host/path?query", whose host is
 * ignored). Percent-encoded characters must decode to printable ASCII other than '/'; raw
 * characters must be printable ASCII other than '#' and blank. '+' means '+'. Two parameters of one
 * name are refused, and so is an empty one ("a=1&&b=2"); a query that is empty altogether is fine.
 *
 * @param[in]  raw     NUL-terminated.
 * @param[out] target  Points into itself, so do not copy it.
 * @retval RC_REFUSED_TOO_LARGE  More than TARGET_LEN_MAX characters.
 * @retval RC_REFUSED_INPUT      Anything else; the text says what.
 */
enum rc target_parse(struct target *target, const char *raw, struct err *err) MUST_CHECK;

/**
 * Does a target in absolute form name the host that the Host header names? Two readers could
 * understand it differently otherwise (RFC 9112 §3.2.2). Any other form agrees.
 * @param[in] raw, host  NUL-terminated.
 */
bool target_agrees(const char *raw, const char *host) MUST_CHECK;

/** Value of a parameter, or NULL if it was not sent. Borrowed from *target. */
const char *target_param(const struct target *target, const char *name) MUST_CHECK;

/**
 * Are all parameters among these?
 * @param[in] allowed  Names with blanks between: "from to cursor"; "" for none.
 * @retval RC_REFUSED_INPUT  No; the text names the first that is not, and those that are.
 */
enum rc target_allow(const struct target *target, const char *allowed, struct err *err) MUST_CHECK;

#endif
