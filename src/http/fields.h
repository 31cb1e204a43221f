/*
 * fields: readers for the values of single headers.
 *
 * Uses: base. Pure functions, any thread. Every one takes a NUL-terminated value and says in its
 * result whether it understood all of it.
 */
#ifndef HTTP_FIELDS_H
#define HTTP_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lease.h"
#include "base/rc.h"

/** What a Content-Digest header promises; others than these two algorithms are ignored. */
struct content_digest {
    bool has_sha256, has_sha512;
    uint8_t sha256[SHA256_LEN];
    uint8_t sha512[64];
};

/**
 * Read "sha-256=:BASE64:, sha-512=:BASE64:" (RFC 9530 §2, RFC 8941 §3.2 with byte sequences only).
 * @param[in]  value   NULL if the header was not sent: nothing is promised then.
 * @param[out] digest  All zero unless RC_OK.
 * @retval RC_REFUSED_INPUT  Not of this form, an algorithm twice, or a digest of the wrong length.
 */
enum rc content_digest_parse(struct content_digest *digest, const char *value,
                             struct err *err) MUST_CHECK;

#define IDEMPOTENCY_KEY_MAX 255

/**
 * Read an Idempotency-Key: a string in quotes ("…", as draft-ietf-httpapi-idempotency-key-header
 * wants it) or the same text without them, which is what many clients send. Both forms of one text
 * are one key.
 * @param[out] key  IDEMPOTENCY_KEY_MAX + 1 bytes, "" unless RC_OK.
 * @retval RC_REFUSED_INPUT  Empty, too long, with blanks outside quotes, a quote or backslash
 *                           inside, or characters outside printable ASCII.
 */
enum rc idempotency_key_parse(char key[IDEMPOTENCY_KEY_MAX + 1], const char *value,
                              struct err *err) MUST_CHECK;

#define REQUEST_ID_MAX 128

/** Is this a request id that we can log and store? 1 … REQUEST_ID_MAX characters of token_valid().
 */
bool request_id_valid(const char *value) MUST_CHECK;

/** Is the media type of a Content-Type value this one ("application/json"), parameters aside? */
bool media_type_is(const char *value, const char *type) MUST_CHECK;

/**
 * How welcome a media type is, by an Accept value (RFC 9110 §12.5.1).
 * @param[in] accept  NULL if the header was not sent: everything is welcome.
 * @param[in] type    In lower case, "application/json".
 * @return 0 (not acceptable) … 1000, from the most specific range that matches.
 */
unsigned accept_quality(const char *accept, const char *type) MUST_CHECK;

/**
 * Does the client ask for the bare signature rather than JSON? JSON wins a draw.
 * @param[out] neither  True if none of the two is acceptable.
 */
bool accept_bare(const char *accept, bool *neither) MUST_CHECK;

/**
 * Does an If-None-Match value name this entity tag (RFC 9110 §13.1.2, weak comparison)?
 *
 * A value that cannot be read names none: the client is then given what it would have been given
 * without it.
 * @param[in] value  NULL if the header was not sent: names none.
 * @param[in] etag   With its quotes, and strong.
 */
bool etag_named(const char *value, const char *etag) MUST_CHECK;

#endif
