/*
 * sign_body: the JSON form of a signing request, which names a digest instead of carrying the
 * bytes.
 *
 * Uses: base, signer/request.h, Jansson. Pure, any thread.
 */
#ifndef HTTP_SIGN_BODY_H
#define HTTP_SIGN_BODY_H

#include "base/rc.h"
#include "signer/request.h"

#define SIGN_BODY_MAX 65536

/**
 * Read {"digest": {"sha256": "HEX"}, "version": "…", "slot": "…"} or {"digest": …, "window":
 * "current"} into a request: by, body, digest_kind, digest, version, slot. Nothing else is touched.
 * @param[in] text  len bytes; anything.
 * @retval RC_REFUSED_INPUT      Not JSON, a member twice, unknown or of the wrong type; the text
 * names it. The request is unchanged then.
 * @retval RC_REFUSED_TOO_LARGE  More than SIGN_BODY_MAX bytes.
 */
enum rc sign_body_parse(struct request *request, const char *text, size_t len,
                        struct err *err) MUST_CHECK;

/** The same for a preview: the digest may be missing, and digest_claimed says whether it is there.
 */
enum rc preview_body_parse(struct request *request, const char *text, size_t len,
                           struct err *err) MUST_CHECK;

/**
 * Read {"hash": "HEX"}, what a caller has hashed for a reservation, into digest and hash_len.
 * @retval RC_REFUSED_INPUT      Not of this form, or not 1 to 64 bytes. Unchanged then.
 * @retval RC_REFUSED_TOO_LARGE  More than SIGN_BODY_MAX bytes.
 */
enum rc hash_body_parse(struct request *request, const char *text, size_t len,
                        struct err *err) MUST_CHECK;

/**
 * Read {"requests": [{"digest": …, "version": …, "slot": …}, {"digest": …, "window": "current",
 * "idempotency_key": "…"}]}.
 * @param[out] items  Zeroed behind *count, and all of them unless RC_OK.
 * @retval RC_REFUSED_INPUT      Not of this form, or no or too many requests; the text says which.
 * @retval RC_REFUSED_TOO_LARGE  More than SIGN_BODY_MAX bytes.
 */
enum rc batch_body_parse(struct request_item items[REQUEST_BATCH_MAX], size_t *count,
                         const char *text, size_t len, struct err *err) MUST_CHECK;

/**
 * Where the signature belongs, from either form of a request: by version (with or without a slot)
 * or by the current window, never both.
 * @param[in] version, slot, window  NULL where it was not said.
 * @retval RC_REFUSED_INPUT  Neither, both, or a text that cannot be one. Unchanged then.
 */
enum rc sign_place(struct request *request, const char *version, const char *slot,
                   const char *window, struct err *err) MUST_CHECK;

#endif
