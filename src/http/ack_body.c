#include "http/ack_body.h"

#include <jansson.h>
#include <string.h>

static void json_release(json_t **json)
{
    json_decref(*json);
}

static enum rc take_count(const json_t *root, const char *name, uint64_t *value, struct err *err)
{
    const json_t *member = json_object_get(root, name);
    if (!json_is_integer(member) || json_integer_value(member) < 0)
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "member '%s' must be a whole number", name);
    *value = (uint64_t)json_integer_value(member);
    return RC_OK;
}

enum rc clock_ack_body_parse(struct request *request, const char *text, size_t len, struct err *err)
{
    json_error_t error = {0};
    uint64_t id = 0;
    uint64_t windows = 0;
    int64_t utc_s = 0;
    json_t *root CLEANUP(json_release) = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(root) || json_object_size(root) != 3)
        return FAIL(err, RC_REFUSED_INPUT, "jansson", error.line,
                    "not a JSON object of id, windows and utc");
    const char *utc = json_string_value(json_object_get(root, "utc"));
    enum rc rc = take_count(root, "id", &id, err);
    if (rc == RC_OK)
        rc = take_count(root, "windows", &windows, err);
    if (rc != RC_OK)
        return rc;
    if (utc == NULL || !rfc3339_parse(&utc_s, utc))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "member 'utc' must be like 2026-11-25T10:00:00Z");
    request->ack_id = id;
    request->ack_windows = windows;
    request->ack_utc_s = utc_s;
    return RC_OK;
}

enum rc warning_ack_body_parse(struct request *request, const char *text, size_t len,
                               struct err *err)
{
    json_error_t error = {0};
    json_t *root CLEANUP(json_release) = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    const char *sentence = json_string_value(json_object_get(root, "sentence"));
    if (json_object_size(root) != 1 || sentence == NULL)
        return FAIL(err, RC_REFUSED_INPUT, "jansson", error.line,
                    "not a JSON object with the member 'sentence' alone");
    if (strlen(sentence) >= sizeof(request->sentence))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "the sentence is longer than any that is shown");
    strcpy(request->sentence, sentence); /* shorter than its field, as just seen */
    return RC_OK;
}
