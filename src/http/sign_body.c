#include "http/sign_body.h"

#include <jansson.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"

static void json_release(json_t **json)
{
    json_decref(*json);
}

enum rc sign_place(struct request *request, const char *version, const char *slot,
                   const char *window, struct err *err)
{
    if ((version == NULL) == (window == NULL))
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "say where to sign: version=… (and slot=…), or window=current");
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
                    "digest must be an object with one member, such as {\"sha256\": \"…\"}");
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

static enum rc check_members(json_t *root, struct err *err)
{
    static const char *const known[] = {"digest", "version", "slot", "window"};
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        bool found = false;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
            found = found || strcmp(known[i], name) == 0;
        if (!found)
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "member '%.60s' is not known", name);
    }
    return RC_OK;
}

/* All of a body; a digest is there, or must be. */
static enum rc parse(struct request *request, const char *text, size_t len, bool must_have_digest,
                     struct err *err)
{
    if (len > SIGN_BODY_MAX)
        return FAIL(err, RC_REFUSED_TOO_LARGE, "", 0, "JSON of more than %d bytes", SIGN_BODY_MAX);
    json_error_t error = {0};
    json_t *root CLEANUP(json_release) = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root))
        return FAIL(err, RC_REFUSED_INPUT, "jansson", error.line, "not a JSON object: %.120s",
                    root == NULL ? error.text : "another type");
    struct request copy = *request;
    const json_t *digest = json_object_get(root, "digest");
    const char *version = NULL;
    const char *slot = NULL;
    const char *window = NULL;
    enum rc rc = check_members(root, err);
    if (rc == RC_OK && (must_have_digest || digest != NULL)) {
        rc = take_digest(&copy, digest, err);
        copy.digest_claimed = !must_have_digest;
    }
    if (rc == RC_OK)
        rc = take_text(root, "version", &version, err);
    if (rc == RC_OK)
        rc = take_text(root, "slot", &slot, err);
    if (rc == RC_OK)
        rc = take_text(root, "window", &window, err);
    if (rc == RC_OK)
        rc = sign_place(&copy, version, slot, window, err);
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
