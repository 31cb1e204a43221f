#include "lib/described.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/rc.h"
#include "lib/schema.h"

static void release(json_t **json)
{
    json_decref(*json);
}

static const char *text_of(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static const json_t *parameter(const json_t *root, const json_t *operation, size_t i)
{
    const json_t *list = json_object_get(operation, "parameters");
    const json_t *p = schema_resolve(root, text_of(json_array_get(list, i), "$ref"));
    assert_non_null(p);
    return p;
}

static size_t parameters(const json_t *operation)
{
    return json_array_size(json_object_get(operation, "parameters"));
}

static bool stands_in(const json_t *p, const char *place)
{
    return strcmp(text_of(p, "in"), place) == 0;
}

static bool is_required(const json_t *p)
{
    return json_is_true(json_object_get(p, "required"));
}

static const char *value_of(const json_t *p, const struct described_value *values)
{
    for (; values != NULL && values->name != NULL; values++)
        if (strcmp(values->name, text_of(p, "name")) == 0)
            return values->value;
    const char *example = text_of(p, "example");
    assert_non_null(example);
    return example;
}

/* The value of a part in braces. */
static const char *part_value(const json_t *root, const json_t *operation, const char *name,
                              size_t len, const struct described_value *values)
{
    for (size_t i = 0; i < parameters(operation); i++) {
        const json_t *p = parameter(root, operation, i);
        const char *its = text_of(p, "name");
        if (stands_in(p, "path") && strlen(its) == len && strncmp(its, name, len) == 0)
            return value_of(p, values);
    }
    fail_msg("no parameter for {%.*s}", (int)len, name);
    return "";
}

static void append(char out[DESCRIBED_PATH], const char *text, size_t len)
{
    size_t at = strlen(out);
    assert_true(at + len < DESCRIBED_PATH);
    memcpy(out + at, text, len);
    out[at + len] = '\0';
}

static void append_query(char out[DESCRIBED_PATH], const char *name, const char *value)
{
    append(out, strchr(out, '?') == NULL ? "?" : "&", 1);
    append(out, name, strlen(name));
    append(out, "=", 1);
    append(out, value, strlen(value));
}

void described_path(const json_t *root, const json_t *operation, const char *path,
                    const struct described_value *values, char out[DESCRIBED_PATH])
{
    out[0] = '\0';
    while (*path != '\0') {
        if (*path != '{') {
            append(out, path++, 1);
            continue;
        }
        size_t len = strcspn(path, "}") - 1;
        const char *value = part_value(root, operation, path + 1, len, values);
        append(out, value, strlen(value));
        path += len + 2;
    }
    for (size_t i = 0; i < parameters(operation); i++) {
        const json_t *p = parameter(root, operation, i);
        if (stands_in(p, "query") && is_required(p))
            append_query(out, text_of(p, "name"), value_of(p, values));
    }
}

bool described_query(const json_t *root, const json_t *operation, size_t i, const char *filled,
                     char out[DESCRIBED_PATH])
{
    if (i >= parameters(operation))
        return false;
    const json_t *p = parameter(root, operation, i);
    if (!stands_in(p, "query") || is_required(p))
        return false;
    out[0] = '\0';
    append(out, filled, strlen(filled));
    append_query(out, text_of(p, "name"), value_of(p, NULL));
    return true;
}

const json_t *described_body(const json_t *root, const json_t *operation, const char *type)
{
    char fault[256];
    const json_t *content = json_object_get(json_object_get(operation, "requestBody"), "content");
    const json_t *media = json_object_get(content, type);
    const json_t *example = json_object_get(media, "example");
    if (media != NULL && !schema_fits(root, json_object_get(media, "schema"), example, fault))
        fail_msg("the example of a body: %s", fault);
    return example;
}

void described_check(const json_t *root, const json_t *operation, const struct described_answer *a,
                     const char *what)
{
    char status[8], type[64], fault[256];
    (void)snprintf(status, sizeof(status), "%ld", a->status);
    (void)snprintf(type, sizeof(type), "%.*s", (int)strcspn(a->type, ";"), a->type);
    const json_t *response = json_object_get(json_object_get(operation, "responses"), status);
    const json_t *media = json_object_get(json_object_get(response, "content"), type);
    if (media == NULL)
        fail_msg("%s: %s %s is not described", what, status, type);
    if (strstr(type, "json") == NULL)
        return;
    json_t *json CLEANUP(release) = json_loadb(a->body, a->len, JSON_REJECT_DUPLICATES, NULL);
    if (json == NULL || !schema_fits(root, json_object_get(media, "schema"), json, fault))
        fail_msg("%s: %s\n%.2000s", what, json == NULL ? "no JSON" : fault, a->body);
}
