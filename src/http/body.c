#include "http/body.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

bool body_no_page(struct exchange *x)
{
    if (guard_value(&x->guard, GUARD_ORIGIN) == NULL)
        return true;
    exchange_problem(x, PROBLEM_FORBIDDEN, "the request comes from a web page (Origin)");
    return false;
}

static bool check_headers(struct exchange *x, uint64_t max)
{
    const char *type = guard_value(&x->guard, GUARD_CONTENT_TYPE);
    uint64_t len = x->guard.content_length;
    if (type == NULL || !media_type_is(type, "application/json"))
        exchange_problem(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "Content-Type is not application/json");
    else if (guard_value(&x->guard, GUARD_CONTENT_ENCODING) != NULL)
        exchange_problem(x, PROBLEM_UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is not taken");
    else if (guard_value(&x->guard, GUARD_CONTENT_LENGTH) == NULL)
        exchange_problem(x, PROBLEM_LENGTH_REQUIRED, "there is no Content-Length");
    else if (len > max)
        exchange_problem(x, PROBLEM_TOO_LARGE,
                         "%" PRIu64 " bytes, and at most %" PRIu64 " are taken", len, max);
    else if (len == 0)
        exchange_problem(x, PROBLEM_BAD_REQUEST, "the body is empty");
    return !x->answer.ready;
}

void body_begin(struct exchange *x, uint64_t max)
{
    struct err err = {0};
    if (!check_headers(x, max))
        return;
    if (content_digest_parse(&x->promised, guard_value(&x->guard, GUARD_CONTENT_DIGEST), &err) !=
        RC_OK)
        exchange_fail(x, &err);
    else
        exchange_expect_body(x, x->promised.has_sha512);
}

static enum rc read_back(struct exchange *x, char **text, size_t *len, struct err *err)
{
    *len = (size_t)x->spool.len; /* check_headers(): bounded */
    *text = malloc(*len);
    if (*text != NULL && spool_read(&x->spool, *text))
        return RC_OK;
    free(*text);
    *text = NULL;
    return FAIL(err, RC_RETRY_SYSTEM, "errno", errno, "cannot read the body back");
}

enum rc body_take(struct exchange *x, char **text, size_t *len, struct err *err)
{
    *text = NULL;
    enum rc rc = RC_OK;
    if (x->spool_err.rc != RC_OK)
        rc = FAIL(err, x->spool_err.rc, "", 0, "%s", err_text(&x->spool_err));
    if (rc == RC_OK)
        rc = spool_finish(&x->spool, &x->promised, x->sha256, err);
    if (rc == RC_OK)
        rc = read_back(x, text, len, err);
    spool_close(&x->spool);
    return rc;
}
