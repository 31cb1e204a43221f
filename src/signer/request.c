#include "signer/request.h"

#include <string.h>

#include "base/digest.h"

const char *service_state_name(uint32_t state)
{
    static const char *const names[] = {[STATE_STARTING] = "Starting",
                                        [STATE_OPERATIONAL] = "Operational",
                                        [STATE_WINDOW_FULL] = "WindowFull",
                                        [STATE_ACK_REQUIRED] = "AckRequired",
                                        [STATE_CLOCK_UNSAFE] = "ClockUnsafe",
                                        [STATE_RECOVERING] = "Recovering",
                                        [STATE_HALTED] = "Halted",
                                        [STATE_EXHAUSTED] = "Exhausted"};
    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "Unknown";
}

const char *window_state_name(uint32_t state)
{
    static const char *const names[] = {[WINDOW_FUTURE] = "future",
                                        [WINDOW_OPEN] = "open",
                                        [WINDOW_CLOSED] = "closed",
                                        [WINDOW_SKIPPED] = "skipped"};
    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

const char *index_state_name(uint32_t state)
{
    static const char *const names[] = {
        [INDEX_UNUSED] = "unused",  [INDEX_LEASED] = "leased",     [INDEX_SIGNED] = "signed",
        [INDEX_BURNED] = "burned",  [INDEX_GIVEN_UP] = "given-up", [INDEX_SEAL] = "seal",
        [INDEX_PADDING] = "padding"};
    return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

const char *result_name(uint32_t result)
{
    static const char *const names[VIEW_RESULTS] = {[RESULT_REPLAYED] = "replayed",
                                                    [RESULT_REFUSED] = "refused",
                                                    [RESULT_LATER] = "later",
                                                    [RESULT_BURNED] = "burned",
                                                    [RESULT_HALTED] = "halted"};
    return result < VIEW_RESULTS ? names[result] : "unknown";
}

const uint64_t view_batch_bounds[HISTOGRAM_BOUNDS] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128};

static const enum rc codes[] = {RC_OK,
#define X(name, class, n, text) name,
                                RC_LIST(X)
#undef X
};
_Static_assert(sizeof(codes) / sizeof(codes[0]) <= VIEW_CODES_MAX, "room for every code");

uint32_t view_code_number(enum rc rc)
{
    uint32_t n = sizeof(codes) / sizeof(codes[0]) - 1;
    while (n > 0 && codes[n] != rc)
        n--;
    return n;
}

static bool terminated(const char *text, size_t size)
{
    return strnlen(text, size) < size;
}

/* Every text field with its room: a front that was taken over may leave the NUL out. */
static const char *unterminated_field(const struct request *r)
{
    if (!terminated(r->key, sizeof(r->key)))
        return "key";
    if (!terminated(r->version, sizeof(r->version)))
        return "version";
    if (!terminated(r->slot, sizeof(r->slot)))
        return "slot";
    if (!terminated(r->idempotency_key, sizeof(r->idempotency_key)))
        return "idempotency_key";
    if (!terminated(r->request_id, sizeof(r->request_id)))
        return "request_id";
    if (!terminated(r->sentence, sizeof(r->sentence)))
        return "sentence";
    if (!terminated(r->requester, sizeof(r->requester)))
        return "requester";
    return NULL;
}

/* The body is in a handle or behind the request, all of it, and nothing is where it should not be.
 */
static enum rc check_body(const struct request *r, bool has_handle, size_t behind, struct err *err)
{
    if (has_handle && behind > 0)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "message has a body twice");
    if (!has_handle && behind == 0)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "message lacks its body");
    if (behind > REQUEST_BEHIND_MAX || (behind > 0 && behind != r->body_len))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "message has a body of %zu bytes", behind);
    return RC_OK;
}

static enum rc check_no_body(bool has_handle, size_t behind, struct err *err)
{
    if (has_handle || behind > 0)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "message has a body that it needs not");
    return RC_OK;
}

static enum rc check_origin(const struct request *r, struct err *err)
{
    if (!token_valid(r->idempotency_key, REQUEST_TEXT_MAX) ||
        !token_valid(r->request_id, REQUEST_TEXT_MAX) ||
        !token_valid(r->requester, REQUEST_TEXT_MAX))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "unprintable characters in a message field");
    return RC_OK;
}

static enum rc check_sign(const struct request *r, bool has_handle, size_t behind, struct err *err)
{
    uint8_t claimed = 0;
    memcpy(&claimed, &r->digest_claimed, sizeof(claimed));
    if (claimed > 1) /* not a bool, so not to be read as one */
        return FAIL(err, RC_REFUSED_INPUT, "", claimed, "message field digest_claimed");
    if (r->by != REQUEST_BY_VERSION && r->by != REQUEST_BY_WINDOW)
        return FAIL(err, RC_REFUSED_INPUT, "", r->by, "message field by: %u", r->by);
    if (r->body != REQUEST_BODY_BYTES && r->body != REQUEST_BODY_DIGEST)
        return FAIL(err, RC_REFUSED_INPUT, "", r->body, "message field body: %u", r->body);
    if (r->body == REQUEST_BODY_DIGEST && r->digest_kind > 2)
        return FAIL(err, RC_REFUSED_INPUT, "", r->digest_kind, "message field digest_kind");
    enum rc rc = check_origin(r, err);
    if (rc != RC_OK)
        return rc;
    return r->body == REQUEST_BODY_BYTES ? check_body(r, has_handle, behind, err)
                                         : check_no_body(has_handle, behind, err);
}

/* The items themselves are checked when they are read (bulk_read()). */
static enum rc check_batch(const struct request *r, bool has_handle, size_t behind, struct err *err)
{
    const uint64_t size = sizeof(struct request_item);
    if (r->body_len == 0 || r->body_len % size != 0 || r->body_len > REQUEST_BATCH_MAX * size)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "message field body_len");
    return check_body(r, has_handle, behind, err);
}

static enum rc check_reserve(const struct request *r, struct err *err)
{
    if (r->by != REQUEST_BY_VERSION && r->by != REQUEST_BY_WINDOW)
        return FAIL(err, RC_REFUSED_INPUT, "", r->by, "message field by: %u", r->by);
    if (r->digest_kind != DIGEST_SHA256)
        return FAIL(err, RC_REFUSED_INPUT, "", r->digest_kind,
                    "an artifact is announced by its sha256");
    return RC_OK;
}

static enum rc check_remote(const struct request *r, struct err *err)
{
    enum rc rc = check_origin(r, err);
    if (rc == RC_OK && r->op == REQUEST_RESERVE)
        return check_reserve(r, err);
    if (rc == RC_OK && (r->hash_len < 1 || r->hash_len > sizeof(r->digest)))
        return FAIL(err, RC_REFUSED_INPUT, "", r->hash_len, "a hash of %u bytes", r->hash_len);
    return rc;
}

/* A hint, of which little is read (follow.h). */
static enum rc check_upload(const struct request *r, bool has_handle, size_t behind,
                            struct err *err)
{
    if (!has_handle || behind > 0 || r->body != REQUEST_BODY_BYTES ||
        r->body_len <= REQUEST_UPLOAD_MIN)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "message announces no large body");
    if (r->by != REQUEST_BY_VERSION && r->by != REQUEST_BY_WINDOW)
        return FAIL(err, RC_REFUSED_INPUT, "", r->by, "message field by: %u", r->by);
    return RC_OK;
}

static enum rc check_preview(const struct request *r, struct err *err)
{
    if (r->by != REQUEST_BY_VERSION && r->by != REQUEST_BY_WINDOW)
        return FAIL(err, RC_REFUSED_INPUT, "", r->by, "message field by: %u", r->by);
    if (r->digest_kind > 2)
        return FAIL(err, RC_REFUSED_INPUT, "", r->digest_kind, "message field digest_kind");
    if (!token_valid(r->idempotency_key, REQUEST_TEXT_MAX) ||
        !token_valid(r->request_id, REQUEST_TEXT_MAX))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "unprintable characters in a message field");
    return RC_OK;
}

enum rc request_check(const struct request *r, uint64_t generation, bool has_handle, size_t behind,
                      struct err *err)
{
    if (r->magic != REQUEST_MAGIC)
        return FAIL(err, RC_REFUSED_INPUT, "", r->magic, "message field magic");
    if (r->generation != generation)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "message is for another core");
    if (r->op < REQUEST_STATE || r->op >= REQUEST_OP_END)
        return FAIL(err, RC_REFUSED_INPUT, "", r->op, "message field op: %u", r->op);
    const char *field = unterminated_field(r);
    if (field != NULL)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "message field %s does not end", field);
    if (r->op == REQUEST_SIGN)
        return check_sign(r, has_handle, behind, err);
    if (r->op == REQUEST_BATCH)
        return check_batch(r, has_handle, behind, err);
    if (r->op == REQUEST_UPLOAD)
        return check_upload(r, has_handle, behind, err);
    enum rc rc = check_no_body(has_handle, behind, err);
    if (rc != RC_OK)
        return rc;
    if (r->op == REQUEST_PREVIEW)
        return check_preview(r, err);
    if (r->op == REQUEST_RESERVE || r->op == REQUEST_COMMIT)
        return check_remote(r, err);
    if (r->op == REQUEST_ATTEST &&
        (r->nonce_len < REQUEST_NONCE_MIN || r->nonce_len > REQUEST_NONCE_MAX))
        return FAIL(err, RC_REFUSED_INPUT, "", r->nonce_len, "a nonce of %u bytes", r->nonce_len);
    if (r->op == REQUEST_CLOCK_ACK &&
        (r->ack_utc_s < 0 || !token_valid(r->requester, REQUEST_TEXT_MAX)))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "message fields of an acknowledgement");
    if (r->op == REQUEST_WARNING_ACK &&
        (r->from < 1 || !token_valid(r->requester, REQUEST_TEXT_MAX)))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "message fields of an acknowledgement");
    if (r->op == REQUEST_WINDOWS && (r->from < 0 || r->to < r->from))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "windows from %lld to %lld", (long long)r->from,
                    (long long)r->to);
    return RC_OK;
}

bool request_may_sign(const struct request *r)
{
    return r->op == REQUEST_SIGN || r->op == REQUEST_BATCH || r->op == REQUEST_RESERVE ||
           r->op == REQUEST_COMMIT;
}

const char *request_life_name(enum request_life life)
{
    static const char *const names[LIFE_COUNT] = {
        [LIFE_RECEIVED] = "received", [LIFE_PLACED] = "placed", [LIFE_LEASED] = "leased",
        [LIFE_ANCHORED] = "anchored", [LIFE_SIGNED] = "signed", [LIFE_RELEASED] = "released",
        [LIFE_REFUSED] = "refused",   [LIFE_BURNED] = "burned", [LIFE_RESERVED] = "reserved"};
    MUST(life < LIFE_COUNT);
    return names[life];
}

#define TO(life) (1U << (life))

bool request_move_allowed(enum request_life from, enum request_life to)
{
    /* RECEIVED goes straight to RELEASED when a stored signature is returned, and to RESERVED when
     * a reservation is told again. After LEASED there is no way to REFUSED: whatever fails then has
     * cost an index (I1). */
    static const unsigned moves[LIFE_COUNT] = {
        [LIFE_RECEIVED] =
            TO(LIFE_PLACED) | TO(LIFE_RELEASED) | TO(LIFE_REFUSED) | TO(LIFE_RESERVED),
        [LIFE_PLACED] = TO(LIFE_LEASED) | TO(LIFE_REFUSED),
        [LIFE_LEASED] = TO(LIFE_ANCHORED) | TO(LIFE_BURNED),
        [LIFE_ANCHORED] = TO(LIFE_SIGNED) | TO(LIFE_BURNED) | TO(LIFE_RESERVED),
        [LIFE_SIGNED] = TO(LIFE_RELEASED) | TO(LIFE_BURNED),
        [LIFE_RELEASED] = 0,
        [LIFE_REFUSED] = 0,
        [LIFE_BURNED] = 0,
        [LIFE_RESERVED] = 0,
    };
    return from < LIFE_COUNT && to < LIFE_COUNT && (moves[from] & TO(to)) != 0;
}

void request_move(enum request_life *life, enum request_life to)
{
    MUST(request_move_allowed(*life, to));
    *life = to;
}
