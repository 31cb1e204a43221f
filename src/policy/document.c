#include "policy/document.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jcs.h"

#define TRAIL_MAX 8           /* levels that a path to a syntax error shows; plans have three */
#define OBJECT_MEMBERS_MAX 32 /* members of one object; the parser accepts fewer */
#define NAME_SHOWN_MAX 40     /* characters of a strange member name that a path shows */

void doc_free(json_t **json)
{
    json_decref(*json);
    *json = NULL;
}

/* Texts of a fault may end in a log or a terminal, and parts of them come from outside. */
static void printable(char *text)
{
    for (; *text != '\0'; text++)
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
}

static enum rc PRINTF_LIKE(4, 0) bad_v(const struct doc *doc, const char *path, const char *example,
                                       const char *format, va_list args)
{
    struct plan_fault fault = {0};
    (void)snprintf(fault.path, sizeof(fault.path), "%s", path);
    (void)snprintf(fault.example, sizeof(fault.example), "%s", example);
    (void)vsnprintf(fault.what, sizeof(fault.what), format, args);
    printable(fault.path);
    printable(fault.what);
    printable(fault.example);
    if (doc->fault != NULL)
        *doc->fault = fault;
    return FAIL(doc->err, RC_REFUSED_PLAN, "", 0, "%s: %s; right would be: %s", fault.path,
                fault.what, fault.example);
}

enum rc doc_bad(const struct doc *doc, const char *path, const char *example, const char *format,
                ...)
{
    va_list args;
    va_start(args, format);
    enum rc rc = bad_v(doc, path, example, format, args);
    va_end(args);
    return rc;
}

enum rc doc_bad_field(const struct doc *doc, const struct doc_field *field, const char *format, ...)
{
    char path[sizeof(doc->fault->path)];
    doc_path(path, sizeof(path), field->at, field->name);
    va_list args;
    va_start(args, format);
    enum rc rc = bad_v(doc, path, field->example, format, args);
    va_end(args);
    return rc;
}

const char *doc_type(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction or exponent";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        break;
    }
    return "null";
}

static bool plain_word(const char *name, size_t len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    if (len == 0 || len > NAME_SHOWN_MAX || (name[0] >= '0' && name[0] <= '9'))
        return false;
    /* A piece of a text that need not end behind it. */
    for (size_t i = 0; i < len; i++)
        if (name[i] == '\0' || strchr(letters, name[i]) == NULL)
            return false;
    return true;
}

/* Append one member name to a path; text that does not fit is cut. */
static void path_member(char *out, size_t size, const char *name, size_t len)
{
    size_t used = strlen(out);
    int shown = (int)(len < NAME_SHOWN_MAX ? len : NAME_SHOWN_MAX);
    if (plain_word(name, len))
        (void)snprintf(out + used, size - used, ".%.*s", shown, name);
    else
        (void)snprintf(out + used, size - used, "['%.*s%s']", shown, name,
                       len > NAME_SHOWN_MAX ? "..." : "");
}

void doc_path(char *out, size_t size, const char *at, const char *name)
{
    (void)snprintf(out, size, "%s", at);
    path_member(out, size, name, strlen(name));
}

/* --- Text to JSON ------------------------------------------------------------------------------
 */

/* How deep a scan of the text is, and in which member or element of each level. */
struct trail {
    size_t depth; /* may exceed TRAIL_MAX; deeper levels are not shown */
    struct {
        bool array;
        bool in_value;
        size_t element;
        const char *name; /* points into the text, between the quotes; NULL at first */
        size_t name_len;
    } level[TRAIL_MAX];
};

static void trail_open(struct trail *trail, bool array)
{
    if (trail->depth < TRAIL_MAX) {
        memset(&trail->level[trail->depth], 0, sizeof(trail->level[0]));
        trail->level[trail->depth].array = array;
    }
    trail->depth++;
}

/* A string of the text: skip it, and note it if it is a member name. */
static size_t trail_string(struct trail *trail, const char *text, size_t i, size_t end)
{
    size_t start = ++i;
    while (i < end && text[i] != '"')
        i += text[i] == '\\' ? 2 : 1;
    if (i > end)
        i = end;
    if (trail->depth >= 1 && trail->depth <= TRAIL_MAX && !trail->level[trail->depth - 1].array &&
        !trail->level[trail->depth - 1].in_value) {
        trail->level[trail->depth - 1].name = text + start;
        trail->level[trail->depth - 1].name_len = i - start;
    }
    return i;
}

static void trail_step(struct trail *trail, char c)
{
    if (c == '{' || c == '[') {
        trail_open(trail, c == '[');
        return;
    }
    if (trail->depth == 0)
        return;
    if (c == '}' || c == ']') {
        trail->depth--;
    } else if (trail->depth <= TRAIL_MAX && c == ':') {
        trail->level[trail->depth - 1].in_value = true;
    } else if (trail->depth <= TRAIL_MAX && c == ',') {
        trail->level[trail->depth - 1].in_value = false;
        trail->level[trail->depth - 1].element++;
    }
}

/* Jansson tells the byte where it stopped; people want to know which member that is. */
static void path_at(char *out, size_t size, const char *text, size_t end)
{
    struct trail trail = {0};
    for (size_t i = 0; i < end; i++) {
        if (text[i] == '"')
            i = trail_string(&trail, text, i, end);
        else
            trail_step(&trail, text[i]);
    }
    (void)snprintf(out, size, "$");
    for (size_t i = 0; i < trail.depth && i < TRAIL_MAX; i++) {
        size_t used = strlen(out);
        if (trail.level[i].array)
            (void)snprintf(out + used, size - used, "[%zu]", trail.level[i].element);
        else if (trail.level[i].name != NULL)
            path_member(out, size, trail.level[i].name, trail.level[i].name_len);
    }
}

enum rc doc_load(const struct doc *doc, const char *text, size_t len, json_t **root)
{
    *root = NULL;
    if (len > PLAN_TEXT_MAX)
        return doc_bad(doc, "$", "a document of a few hundred bytes",
                       "the document has %zu bytes, but at most %d are read", len, PLAN_TEXT_MAX);
    json_error_t error = {0};
    *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (*root != NULL)
        return RC_OK;
    /* Jansson forgets to say so in some places; then it says nothing at all. */
    if (json_error_code(&error) == json_error_out_of_memory || error.text[0] == '\0')
        return FAIL(doc->err, RC_RETRY_SYSTEM, "jansson", json_error_out_of_memory, "no memory");
    char path[sizeof(doc->fault->path)];
    size_t stopped = error.position > 0 ? (size_t)error.position : 0;
    path_at(path, sizeof(path), text, stopped < len ? stopped : len);
    const char *example = json_error_code(&error) == json_error_duplicate_key
                              ? "each member once"
                              : "{\"tidemark_plan\": 1, \"key\": \"nightly\", ...}";
    return doc_bad(doc, path, example, "line %d, column %d: %s", error.line, error.column,
                   error.text);
}

/* --- Canonical form ----------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void write_value(struct jcs *jcs, const json_t *json);

/* RFC 8785 §3.2.3 sorts by UTF-16 code units; for ASCII names that is strcmp(). */
static void write_object(struct jcs *jcs, const json_t *json)
{
    const char *names[OBJECT_MEMBERS_MAX] = {0};
    size_t count = 0;
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        MUST(count < OBJECT_MEMBERS_MAX);
        names[count++] = name;
    }
    qsort(names, count, sizeof(names[0]), by_name);
    jcs_object_open(jcs);
    for (size_t i = 0; i < count; i++) {
        jcs_key(jcs, names[i]);
        write_value(jcs, json_object_get(json, names[i]));
    }
    jcs_object_close(jcs);
}

static void write_array(struct jcs *jcs, const json_t *json)
{
    jcs_array_open(jcs);
    for (size_t i = 0; i < json_array_size(json); i++)
        write_value(jcs, json_array_get(json, i));
    jcs_array_close(jcs);
}

static void write_value(struct jcs *jcs, const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        write_object(jcs, json);
        return;
    case JSON_ARRAY:
        write_array(jcs, json);
        return;
    case JSON_STRING:
        jcs_string(jcs, json_string_value(json));
        return;
    case JSON_INTEGER:
        jcs_int(jcs, json_integer_value(json));
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        jcs_bool(jcs, json_is_true(json));
        return;
    case JSON_REAL:
    case JSON_NULL:
        break;
    }
    must_failed("a value that no plan holds", __FILE__, __LINE__);
}

enum rc doc_canonical(const json_t *root, char **text, size_t *len, struct err *err)
{
    *text = NULL;
    *len = 0;
    struct jcs jcs CLEANUP(jcs_wipe) = {0};
    write_value(&jcs, root);
    if (!jcs_finish(&jcs))
        return FAIL(err, RC_RETRY_SYSTEM, "", 0, "no memory");
    *text = jcs.text;
    *len = jcs.len;
    jcs.text = NULL; /* now the caller's */
    return RC_OK;
}

/* --- Members -----------------------------------------------------------------------------------
 */

static const json_t *member(const struct doc_field *field)
{
    return json_object_get(field->object, field->name);
}

enum rc doc_need(const struct doc *doc, const struct doc_field *field, const json_t **value)
{
    *value = member(field);
    if (*value == NULL)
        return doc_bad_field(doc, field, "is missing");
    return RC_OK;
}

enum rc doc_string(const struct doc *doc, const struct doc_field *field, const char **value)
{
    *value = NULL;
    const json_t *json = member(field);
    if (json == NULL)
        return RC_OK;
    if (!json_is_string(json))
        return doc_bad_field(doc, field, "must be a string, not %s", doc_type(json));
    *value = json_string_value(json);
    return RC_OK;
}

enum rc doc_u64(const struct doc *doc, const struct doc_field *field, uint64_t min, uint64_t max,
                uint64_t *value)
{
    const json_t *json = member(field);
    if (json == NULL)
        return RC_OK;
    if (!json_is_integer(json))
        return doc_bad_field(doc, field, "must be an integer, not %s", doc_type(json));
    json_int_t number = json_integer_value(json);
    if (number < 0 || (uint64_t)number < min || (uint64_t)number > max)
        return doc_bad_field(doc, field,
                             "must be %" PRIu64 " to %" PRIu64 ", not %" JSON_INTEGER_FORMAT, min,
                             max, number);
    *value = (uint64_t)number;
    return RC_OK;
}

enum rc doc_bool(const struct doc *doc, const struct doc_field *field, bool *value)
{
    const json_t *json = member(field);
    if (json == NULL)
        return RC_OK;
    if (!json_is_boolean(json))
        return doc_bad_field(doc, field, "must be true or false, not %s", doc_type(json));
    *value = json_is_true(json);
    return RC_OK;
}

static void join(char *out, size_t size, const char *const *names)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; names[i] != NULL && used < size; i++) {
        int n = snprintf(out + used, size - used, "%s%s", i == 0 ? "" : ", ", names[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

enum rc doc_choice(const struct doc *doc, const struct doc_field *field, const char *const *names,
                   uint32_t *value)
{
    const char *text = NULL;
    enum rc rc = doc_string(doc, field, &text);
    if (rc != RC_OK || text == NULL)
        return rc;
    for (uint32_t i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], text) == 0) {
            *value = i;
            return RC_OK;
        }
    }
    char all[120];
    join(all, sizeof(all), names);
    return doc_bad_field(doc, field, "must be one of %s, not \"%.40s\"", all, text);
}

enum rc doc_strings(const struct doc *doc, const struct doc_field *field, size_t min, size_t max,
                    const json_t **value)
{
    *value = NULL;
    const json_t *json = member(field);
    if (json == NULL)
        return RC_OK;
    if (!json_is_array(json))
        return doc_bad_field(doc, field, "must be an array, not %s", doc_type(json));
    size_t count = json_array_size(json);
    if (count < min || count > max)
        return doc_bad_field(doc, field, "must hold %zu to %zu entries, not %zu", min, max, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(json, i);
        MUST(entry != NULL);
        if (json_is_string(entry))
            continue;
        char path[sizeof(doc->fault->path)];
        (void)snprintf(path, sizeof(path), "%s.%s[%zu]", field->at, field->name, i);
        return doc_bad(doc, path, field->example, "must be a string, not %s", doc_type(entry));
    }
    *value = json;
    return RC_OK;
}
