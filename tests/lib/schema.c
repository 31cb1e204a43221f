#include "lib/schema.h"

#include <regex.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static json_t *loosely(const json_t *json)
{
    return (json_t *)(uintptr_t)json; /* Jansson's loops want it so */
}

static bool bad(char fault[256], const char *where, const char *what)
{
    (void)snprintf(fault, 256, "%s: %s", where, what);
    return false;
}

const json_t *schema_resolve(const json_t *root, const char *ref)
{
    char part[128];
    const json_t *at = root;
    if (strncmp(ref, "#/", 2) != 0)
        return NULL;
    for (const char *p = ref + 2; at != NULL; p++) {
        size_t len = strcspn(p, "/");
        (void)snprintf(part, sizeof(part), "%.*s", (int)len, p);
        at = json_object_get(at, part);
        p += len;
        if (*p == '\0')
            return at;
    }
    return NULL;
}

static bool type_fits(const char *type, const json_t *value)
{
    return (strcmp(type, "object") == 0 && json_is_object(value)) ||
           (strcmp(type, "array") == 0 && json_is_array(value)) ||
           (strcmp(type, "string") == 0 && json_is_string(value)) ||
           (strcmp(type, "integer") == 0 && json_is_integer(value)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(value)) ||
           (strcmp(type, "null") == 0 && json_is_null(value));
}

static bool pattern_fits(const char *pattern, const char *text)
{
    regex_t regex;
    if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    bool fits = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return fits;
}

static bool one_of(const json_t *list, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), value))
            return true;
    return false;
}

static bool scalar_fits(const json_t *schema, const json_t *value, const char *where,
                        char fault[256])
{
    const json_t *type = json_object_get(schema, "type");
    const json_t *list = json_object_get(schema, "enum");
    const json_t *constant = json_object_get(schema, "const");
    const json_t *pattern = json_object_get(schema, "pattern");
    const json_t *maximum = json_object_get(schema, "maximum");
    if (type != NULL && !type_fits(json_string_value(type), value))
        return bad(fault, where, "wrong type");
    if ((list != NULL && !one_of(list, value)) ||
        (constant != NULL && !json_equal(constant, value)))
        return bad(fault, where, "not one of the values");
    if (pattern != NULL && json_is_string(value) &&
        !pattern_fits(json_string_value(pattern), json_string_value(value)))
        return bad(fault, where, "does not match the pattern");
    if (maximum != NULL && json_integer_value(value) > json_integer_value(maximum))
        return bad(fault, where, "too large");
    return true;
}

static bool fits(const json_t *root, const json_t *schema, const json_t *value, const char *where,
                 char fault[256]);

static bool object_fits(const json_t *root, const json_t *schema, const json_t *value,
                        char fault[256])
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    bool closed = json_is_false(json_object_get(schema, "additionalProperties"));
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (json_object_get(value, name) == NULL)
            return bad(fault, name, "missing");
    }
    const char *name;
    json_t *member;
    json_object_foreach(loosely(value), name, member)
    {
        const json_t *of = json_object_get(properties, name);
        if (of == NULL && closed)
            return bad(fault, name, "not described");
        if (of != NULL && !fits(root, of, member, name, fault))
            return false;
    }
    return true;
}

static bool any_fits(const json_t *root, const json_t *list, const json_t *value, const char *where,
                     char fault[256])
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (fits(root, json_array_get(list, i), value, where, fault))
            return true;
    return false;
}

static bool fits(const json_t *root, const json_t *schema, const json_t *value, const char *where,
                 char fault[256])
{
    const json_t *ref = json_object_get(schema, "$ref");
    if (ref != NULL)
        schema = schema_resolve(root, json_string_value(ref));
    if (schema == NULL)
        return bad(fault, where, "reference leads nowhere");
    const json_t *any = json_object_get(schema, "anyOf");
    if (any != NULL && !any_fits(root, any, value, where, fault))
        return false;
    if (!scalar_fits(schema, value, where, fault))
        return false;
    if (json_is_object(value))
        return object_fits(root, schema, value, fault);
    const json_t *items = json_object_get(schema, "items");
    for (size_t i = 0; items != NULL && i < json_array_size(value); i++)
        if (!fits(root, items, json_array_get(value, i), where, fault))
            return false;
    return true;
}

bool schema_fits(const json_t *root, const json_t *schema, const json_t *value, char fault[256])
{
    fault[0] = '\0';
    bool ok = fits(root, schema, value, "value", fault);
    if (ok)
        fault[0] = '\0';
    return ok;
}
