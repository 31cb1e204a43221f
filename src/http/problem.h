/*
 * problem: the one table of what can go wrong for a client, and its RFC 9457 documents.
 *
 * Every refusal of the service is one row: a name that is the last part of the type URI
 * ("/problems/NAME", relative to the service), a status, a title, and what to do next. The same row
 * is served as a page at /problems/NAME. Result codes of the core map to rows in problem_of_rc().
 *
 * Uses: base, signer/request.h. Pure functions, any thread.
 */
#ifndef HTTP_PROBLEM_H
#define HTTP_PROBLEM_H

#include "base/jcs.h"
#include "base/rc.h"
#include "signer/request.h"

/* X(identifier, name in URIs, HTTP status, title, what to do) */
#define PROBLEM_LIST(X)                                                                            \
    X(PROBLEM_VERSION_ALREADY_SIGNED, "version-already-signed", 409,                               \
      "This version is bound to another artifact",                                                 \
      "A version signs one artifact only, for ever. If the bound artifact is the right one, sign " \
      "exactly those bytes again and get the same signature. Otherwise release under the next "    \
      "free version, which next_version names.")                                                   \
    X(PROBLEM_VERSION_BELOW_FLOOR, "version-below-floor", 409,                                     \
      "A later version has been signed already",                                                   \
      "The plan only goes forward. Release under a version above the highest one signed; "         \
      "next_version names the next free one where it is known.")                                   \
    X(PROBLEM_VERSION_JUMP, "version-jump", 409, "The version skips too many windows",             \
      "Check the version for a typing error. If the jump is meant, an operator approves the "      \
      "window first; windows that are skipped can never be signed in again.")                      \
    X(PROBLEM_VERSION_OUTSIDE_PLAN, "version-outside-plan", 422,                                   \
      "The plan has no place for this version, slot or time",                                      \
      "Compare with GET /v1/keys/{key}/plan: format, sizes and slots are fixed when the key is "   \
      "made. What lies outside needs a new key with a larger plan.")                               \
    X(PROBLEM_VERSION_GIVEN_UP, "version-given-up", 409,                                           \
      "The index of this version is gone and will never sign",                                     \
      "Something ended before its signature was made, and its window has closed since. Release "   \
      "under the next free version, which next_version names.")                                    \
    X(PROBLEM_WINDOW_NOT_OPEN, "window-not-open", 409, "The window is not open",                   \
      "Wait until it opens (opens and Retry-After say when), or ask an operator to advance it.")   \
    X(PROBLEM_WINDOW_FULL, "window-full", 429, "All indices of the window are used",               \
      "Nothing was used by this request. Send it again when the next window opens; Retry-After "   \
      "says when. If this happens often, the plan's windows are too small for the load.")          \
    X(PROBLEM_RATE_LIMITED, "rate-limited", 429, "Too much was asked in a short time",             \
      "Nothing was used by this request. Send it again after Retry-After seconds.")                \
    X(PROBLEM_EXHAUSTION_ACK_REQUIRED, "exhaustion-ack-required", 428,                             \
      "A warning about exhaustion must be acknowledged first",                                     \
      "An operator reads the warning and acknowledges it; then send the request again.")           \
    X(PROBLEM_EXPORT_REQUIRED, "export-required", 428,                                             \
      "An export must be acknowledged off this device first",                                      \
      "An operator runs tidemark backup export, takes the file off this device, and acknowledges " \
      "it with tidemark backup check; then send the request again. This bounds what a lost "       \
      "device could have signed without anyone knowing.")                                          \
    X(PROBLEM_KEY_EXHAUSTED, "key-exhausted", 410, "The key has no indices left",                  \
      "This key will never sign again. Change over to its successor.")                             \
    X(PROBLEM_CLOCK_UNSAFE, "clock-unsafe", 503, "The clock is not safe to sign by",               \
      "Nothing was used by this request. GET /health/state says what is missing; an operator "     \
      "looks at time synchronisation. Send the same request again later.")                         \
    X(PROBLEM_STATE_REGRESSION, "state-regression", 503, "The stored state is behind its anchor",  \
      "A ledger or TPM has gone back, perhaps through a restored backup. Signing stays off until " \
      "an operator has recovered the device by skipping ahead.")                                   \
    X(PROBLEM_ANCHOR_UNAVAILABLE, "anchor-unavailable", 503, "The TPM cannot be reached",          \
      "Nothing was used by this request. Send the same request again later; an operator looks up " \
      "tpm_state in docs/operations.md if it persists.")                                           \
    X(PROBLEM_HALTED, "halted", 503, "Signing has stopped",                                        \
      "Something that must always hold could not be shown to hold. An operator reads the log and " \
      "GET /health/state. If this answered a signing request, its index may be gone: sending the " \
      "same request again later is safe and never uses an index twice.")                           \
    X(PROBLEM_STARTING, "starting", 503, "The signing process is starting or recovering",          \
      "Nothing was used by this request. Send the same request again after Retry-After seconds.")  \
    X(PROBLEM_BUSY, "busy", 503, "Too much work in progress",                                      \
      "Nothing was used by this request. Send the same request again after Retry-After seconds.")  \
    X(PROBLEM_OUTCOME_UNKNOWN, "outcome-unknown", 503,                                             \
      "The signing process went away before it answered",                                          \
      "Send exactly the same request again; that is safe. A version plan returns the signature "   \
      "of this request if one was made, and signs now if none was. With a time or interval plan "  \
      "send the same Idempotency-Key with it, which does the same.")                               \
    X(PROBLEM_INDEX_BURNED, "index-burned", 500, "An index was used up without a signature",       \
      "The index named here is gone and will never sign. Time and interval plans: send the "       \
      "request again, it gets another index. Version plans: the version keeps its binding; send "  \
      "the same request again, and if it is refused, release under the next version.")             \
    X(PROBLEM_DIGEST_MISMATCH, "digest-mismatch", 400, "The digest does not match the bytes",      \
      "The body that arrived is not the one that Content-Digest describes. Nothing was used. "     \
      "Compute the digest over exactly the bytes sent, and upload again.")                         \
    X(PROBLEM_TOO_LARGE, "too-large", 413, "The request is larger than the limit",                 \
      "Nothing was used. A batch can be sent in parts. For anything else an operator can raise "   \
      "the limit, or choose a plan whose message is a digest, so that only the digest is sent.")   \
    X(PROBLEM_SPOOL_FULL, "spool-full", 507, "No room to store the body",                          \
      "Nothing was used. An operator frees room in the spool folder; then upload again.")          \
    X(PROBLEM_UNAUTHORISED, "unauthorised", 401, "Who is asking is not known",                     \
      "Send credentials that the service knows.")                                                  \
    X(PROBLEM_FORBIDDEN, "forbidden", 403, "Not allowed",                                          \
      "Ask for the role that this operation needs. Web pages may never ask for signatures.")       \
    X(PROBLEM_IDEMPOTENCY_KEY_MISSING, "idempotency-key-missing", 400,                             \
      "Idempotency-Key is required",                                                               \
      "Signatures by time or interval need the header Idempotency-Key, so that sending a request " \
      "again cannot use a second index. Any text that is unique to the artifact will do, for "     \
      "example the build number.")                                                                 \
    X(PROBLEM_IDEMPOTENCY_KEY_REUSED, "idempotency-key-reused", 422,                               \
      "Idempotency-Key was used for other bytes",                                                  \
      "Use one key for one artifact. To get the earlier signature, send the earlier bytes.")       \
    X(PROBLEM_IDEMPOTENCY_KEY_IN_USE, "idempotency-key-in-use", 409,                               \
      "A request with this Idempotency-Key is still running",                                      \
      "Wait for its answer, or send this request again in a second: it then gets the same "        \
      "signature.")                                                                                \
    X(PROBLEM_BAD_REQUEST, "bad-request", 400, "The request cannot be understood",                 \
      "The detail names the part that is wrong. GET /openapi.json describes what is right.")       \
    X(PROBLEM_NOT_FOUND, "not-found", 404, "There is nothing here",                                \
      "Check the address. GET /v1/keys lists the keys, GET /openapi.json all operations.")         \
    X(PROBLEM_CONFLICT, "conflict", 409, "Exists already",                                         \
      "Choose another name, or use what is there.")                                                \
    X(PROBLEM_METHOD_NOT_ALLOWED, "method-not-allowed", 405, "Not with this method",               \
      "The Allow header lists the methods that this address takes.")                               \
    X(PROBLEM_NOT_ACCEPTABLE, "not-acceptable", 406, "No form of the answer is acceptable",        \
      "Accept application/json, or application/octet-stream for a bare signature.")                \
    X(PROBLEM_LENGTH_REQUIRED, "length-required", 411, "The length of the body must be known",     \
      "Send a Content-Length and no Transfer-Encoding. curl does that when it is given a file "    \
      "(curl --data-binary @FILE or -T FILE) and cannot when it reads from a pipe (-T -).")        \
    X(PROBLEM_URI_TOO_LONG, "uri-too-long", 414, "The address is too long",                        \
      "No address of this service needs more than 2048 characters.")                               \
    X(PROBLEM_UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", 415,                               \
      "Not a body that can be signed",                                                             \
      "Send the artifact itself with Content-Type: application/octet-stream, or a digest with "    \
      "Content-Type: application/json. Encoded bodies (Content-Encoding, forms) are refused, "     \
      "since it would not be clear which bytes are signed.")                                       \
    X(PROBLEM_NOT_SUPPORTED, "not-supported", 422, "The key cannot do this",                       \
      "Compare with GET /v1/keys/{key}: message, kind and scheme are fixed when the key is made.") \
    X(PROBLEM_REMOTE_HASHING_OFF, "remote-hashing-off", 422,                                       \
      "The plan of this key allows no remote hashing",                                             \
      "Upload the artifact to be signed. Whether callers may hash their artifacts themselves is "  \
      "a part of the plan (remote_hashing) and fixed when the key is made.")                       \
    X(PROBLEM_RESERVATION_EXPIRED, "reservation-expired", 410,                                     \
      "The reservation has ended, and its index is burned",                                        \
      "Nothing was signed and nothing will be for this index. Ask for another reservation and "    \
      "come back with its hash before it expires. Version plans: the version is given up with "    \
      "its index; release under the next one.")                                                    \
    X(PROBLEM_RESERVATION_SPENT, "reservation-spent", 409,                                         \
      "The reservation has signed another hash",                                                   \
      "A one-time key signs once. Send the hash that it has signed to get the same signature "     \
      "again, or ask for another reservation.")                                                    \
    X(PROBLEM_NOT_ATTESTED, "not-attested", 409, "The TPM attests nothing for this key",           \
      "Signing is not affected. The detail says what is missing: an operator gives the service "   \
      "the TPM's owner and endorsement authorisations once, restarts it, and the attestation key " \
      "is made.")                                                                                  \
    X(PROBLEM_PLAN_INVALID, "plan-invalid", 422, "The plan is not valid",                          \
      "The detail names the place. tidemark plan checks a plan and shows what it means.")          \
    X(PROBLEM_INTERNAL, "internal", 500, "The service made a mistake",                             \
      "Nothing that this answer belongs to was released. Report the request id to an operator.")   \
    X(PROBLEM_HTTP_VERSION, "http-version", 505, "Not HTTP/1.1", "Speak HTTP/1.1.")

enum problem_id {
#define X(id, name, status, title, action) id,
    PROBLEM_LIST(X)
#undef X
        PROBLEM_COUNT
};

struct problem {
    const char *name;
    unsigned status;
    const char *title;
    const char *action;
};

/** The row of an identifier below PROBLEM_COUNT (MUST). Static. */
const struct problem *problem_get(enum problem_id id);

/** The row with this name, or NULL. Static. */
const struct problem *problem_by_name(const char *name) MUST_CHECK;

/**
 * Which problem a result code is. Every code of RC_LIST has a row of its own here; RC_OK and
 * numbers outside the list are PROBLEM_INTERNAL.
 */
enum problem_id problem_of_rc(enum rc rc);

/**
 * Write the problem document.
 *
 * @param[in,out] j           Empty writer; on return it holds one complete object.
 * @param[in]     detail      What happened this time; bytes outside printable ASCII become '?'.
 * @param[in]     request_id  Printable ASCII.
 * @param[in]     reply       What the core said, for the extension members (bound_to, index,
 *                            next_version, opens, retry_after_s, state, tpm_state, window); or
 * NULL.
 */
void problem_print(struct jcs *j, const struct problem *problem, const char *detail,
                   const char *request_id, const struct reply *reply);

#endif
