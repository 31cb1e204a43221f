#include "http/sign_body.h"

#include <jansson.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "http/fields.h"

static void json_release(json_t **json)
{
    json_decref(*json);
}

enum rc sign_place(struct request *request, const char *version, const char *slot,
                   const char *window, struct err *err)
{
    if ((version == NULL) == (window == NULL))
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "say where to sign: version=V (and slot=NAME), or window=current");
    if (window != NULL && (strcmp(window, "current") != 0 || slot != NULL))
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "window can only be 'current', and goes without a slot");
    if (version != NULL && (version[0] == '\0' || !token_valid(version, REQUEST_VERSION_MAX)))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "version must have 1 to %d printable characters",
                    REQUEST_VERSION_MAX);
    if (slot != NULL && !name_valid(slot))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "slot is not a name");
    request->by = window != NULL ? REQUEST_BY_WINDOW : REQUEST_BY_VERSION;
    if (version != NULL)
        strcpy(request->version, version); /* token_valid: at most REQUEST_VERSION_MAX */
    if (slot != NULL)
        strcpy(request->slot, slot); /* name_valid: at most NAME_LEN_MAX */
    return RC_OK;
}

/* {"sha256": "HEX"}: exactly one member. */
static enum rc take_digest(struct request *request, const json_t *digest, struct err *err)
{
    enum digest_kind kind = DIGEST_SHA256;
    const char *name;
    json_t *value;
    if (!json_is_object(digest) || json_object_size(digest) != 1)
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "digest must be an object with one member, such as {\"sha256\": \"HEX\"}");
    json_object_foreach((json_t *)(uintptr_t)digest, name, value)
    {
        if (!digest_by_name(&kind, name))
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "digest '%.40s' is not known", name);
        size_t len = digest_len(kind);
        if (!json_is_string(value) || json_string_length(value) != 2 * len ||
            !hex_decode(request->digest, len, json_string_value(value)))
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "digest '%s' must be %zu hex digits", name,
                        2 * len);
    }
    request->digest_kind = kind;
    request->body = REQUEST_BODY_DIGEST;
    return RC_OK;
}

/* Text of a member, or NULL. */
static enum rc take_text(const json_t *root, const char *name, const char **text, struct err *err)
{
    const json_t *value = json_object_get(root, name);
    *text = NULL;
    if (value == NULL)
        return RC_OK;
    if (!json_is_string(value))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "member '%s' must be a string", name);
    *text = json_string_value(value);
    return RC_OK;
}

static enum rc check_members(json_t *root, const char *const *known, struct err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        bool found = false;
        for (size_t i = 0; known[i] != NULL; i++)
            found = found || strcmp(known[i], name) == 0;
        if (!found)
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "member '%.60s' is not known", name);
    }
    return RC_OK;
}

/* One object that says what is to be signed, and where. */
static enum rc take_request(struct request *request, json_t *root, bool must_have_digest,
                            struct err *err)
{
    const json_t *digest = json_object_get(root, "digest");
    const char *version = NULL;
    const char *slot = NULL;
    const char *window = NULL;
    enum rc rc = RC_OK;
    if (must_have_digest || digest != NULL) {
        rc = take_digest(request, digest, err);
        request->digest_claimed = !must_have_digest;
    }
    if (rc == RC_OK)
        rc = take_text(root, "version", &version, err);
    if (rc == RC_OK)
        rc = take_text(root, "slot", &slot, err);
    if (rc == RC_OK)
        rc = take_text(root, "window", &window, err);
    return rc == RC_OK ? sign_place(request, version, slot, window, err) : rc;
}

static enum rc load(json_t **root, const char *text, size_t len, struct err *err)
{
    json_error_t error = {0};
    if (len > SIGN_BODY_MAX)
        return FAIL(err, RC_REFUSED_TOO_LARGE, "", 0, "JSON of more than %d bytes", SIGN_BODY_MAX);
    *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(*root))
        return FAIL(err, RC_REFUSED_INPUT, "jansson", error.line, "not a JSON object: %.120s",
                    *root == NULL ? error.text : "another type");
    return RC_OK;
}

static const char *const members[] = {"digest", "version", "slot", "window", NULL};

static enum rc parse(struct request *request, const char *text, size_t len, bool must_have_digest,
                     struct err *err)
{
    json_t *root CLEANUP(json_release) = NULL;
    struct request copy = *request;
    enum rc rc = load(&root, text, len, err);
    if (rc == RC_OK)
        rc = check_members(root, members, err);
    if (rc == RC_OK)
        rc = take_request(&copy, root, must_have_digest, err);
    if (rc == RC_OK)
        *request = copy;
    return rc;
}

enum rc sign_body_parse(struct request *request, const char *text, size_t len, struct err *err)
{
    return parse(request, text, len, true, err);
}

enum rc preview_body_parse(struct request *request, const char *text, size_t len, struct err *err)
{
    return parse(request, text, len, false, err);
}

/* Batches --------------------------------------------------------------------------------------
 */

enum rc hash_body_parse(struct request *request, const char *text, size_t len, struct err *err)
{
    static const char *const known[] = {"hash", NULL};
    json_t *root CLEANUP(json_release) = NULL;
    enum rc rc = load(&root, text, len, err);
    if (rc == RC_OK)
        rc = check_members(root, known, err);
    if (rc != RC_OK)
        return rc;
    const json_t *hash = json_object_get(root, "hash");
    size_t digits = json_is_string(hash) ? json_string_length(hash) : 0;
    uint8_t bytes[sizeof(request->digest)];
    if (digits < 2 || digits % 2 != 0 || digits / 2 > sizeof(bytes) ||
        !hex_decode(bytes, digits / 2, json_string_value(hash)))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "hash must be 2 to %zu hex digits",
                    2 * sizeof(bytes));
    memcpy(request->digest, bytes, digits / 2);
    request->hash_len = (uint32_t)(digits / 2);
    return RC_OK;
}

static enum rc take_item(struct request_item *item, json_t *value, struct err *err)
{
    static const char *const known[] = {"digest", "version",         "slot",
                                        "window", "idempotency_key", NULL};
    struct request r = {0};
    const char *key = NULL;
    if (!json_is_object(value))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "not a JSON object");
    enum rc rc = check_members(value, known, err);
    if (rc == RC_OK)
        rc = take_request(&r, value, true, err);
    if (rc == RC_OK)
        rc = take_text(value, "idempotency_key", &key, err);
    /* Here it stands in JSON, so a quote would be part of it; the reader of the header takes none.
     */
    if (rc == RC_OK && key != NULL && key[0] == '"')
        rc = FAIL(err, RC_REFUSED_INPUT, "", 0, "member 'idempotency_key' holds a quote");
    if (rc == RC_OK && key != NULL)
        rc = idempotency_key_parse(item->idempotency_key, key, err);
    if (rc != RC_OK)
        return rc;
    item->by = r.by;
    item->digest_kind = r.digest_kind;
    memcpy(item->digest, r.digest, sizeof(item->digest));
    memcpy(item->version, r.version, sizeof(item->version));
    memcpy(item->slot, r.slot, sizeof(item->slot));
    return RC_OK;
}

enum rc batch_body_parse(struct request_item items[REQUEST_BATCH_MAX], size_t *count,
                         const char *text, size_t len, struct err *err)
{
    static const char *const known[] = {"requests", NULL};
    json_t *root CLEANUP(json_release) = NULL;
    *count = 0;
    memset(items, 0, REQUEST_BATCH_MAX * sizeof(*items));
    enum rc rc = load(&root, text, len, err);
    if (rc == RC_OK)
        rc = check_members(root, known, err);
    if (rc != RC_OK)
        return rc;
    json_t *list = json_object_get(root, "requests");
    size_t n = json_array_size(list);
    if (n == 0 || n > REQUEST_BATCH_MAX)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "requests must be a list of 1 to %d objects",
                    REQUEST_BATCH_MAX);
    for (size_t i = 0; i < n; i++) {
        struct err e = {0};
        rc = take_item(&items[i], json_array_get(list, i), &e);
        if (rc == RC_OK)
            continue;
        memset(items, 0, REQUEST_BATCH_MAX * sizeof(*items));
        return FAIL(err, rc, "", 0, "requests[%zu]: %s", i, err_text(&e));
    }
    *count = n;
    return RC_OK;
}
