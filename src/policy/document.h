/*
 * document: reads a plan document strictly, and says where and why it is wrong.
 *
 * Internal to policy. Uses: base, Jansson. Pure functions, any thread. Every function that reads a
 * member fills the caller's plan_fault and err with the JSON path, what is wrong there and an
 * example of what is right, and returns RC_REFUSED_PLAN.
 */
#ifndef POLICY_DOCUMENT_H
#define POLICY_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "policy/plan.h"

/** Where faults go. */
struct doc {
    struct plan_fault *fault; /* may be NULL */
    struct err *err;          /* may be NULL */
};

/** One member of an object: where it stands and what would be right there. */
struct doc_field {
    const json_t *object;
    const char *at; /* JSON path of the object, e.g. "$.assignment" */
    const char *name;
    const char *example; /* a right value or member, as JSON */
};

/** For CLEANUP(): drop a reference. */
void doc_free(json_t **json);

/**
 * Text to JSON: UTF-8, no duplicate members, nothing behind the end.
 * @param[out] root  A new reference, doc_free(). NULL unless RC_OK.
 * @retval RC_REFUSED_PLAN  Not JSON, or longer than PLAN_TEXT_MAX; the path leads to the place.
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc doc_load(const struct doc *doc, const char *text, size_t len, json_t **root) MUST_CHECK;

/**
 * Canonical form (RFC 8785) of a document in which all numbers are integers, all member names ASCII
 * and nothing is deeper than JCS_DEPTH_MAX: what the plan parser has accepted.
 * @param[out] text  malloc'ed and NUL-terminated. NULL unless RC_OK.
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc doc_canonical(const json_t *root, char **text, size_t *len, struct err *err) MUST_CHECK;

/** Fill fault and err; returns RC_REFUSED_PLAN. path and example are cut to fit. */
enum rc doc_bad(const struct doc *doc, const char *path, const char *example, const char *format,
                ...) PRINTF_LIKE(4, 5);

/** The same for a member. */
enum rc doc_bad_field(const struct doc *doc, const struct doc_field *field, const char *format, ...)
    PRINTF_LIKE(3, 4);

/** "an object", "a string", … Static. */
const char *doc_type(const json_t *json);

/** Path of a member: "$.a.b", or "$.a['odd name']" where the name is no plain word. */
void doc_path(char *out, size_t size, const char *at, const char *name);

/** A member that must be there, of any type. */
enum rc doc_need(const struct doc *doc, const struct doc_field *field,
                 const json_t **value) MUST_CHECK;

/** A string; *value is NULL if the member is absent. Borrowed from the document. */
enum rc doc_string(const struct doc *doc, const struct doc_field *field,
                   const char **value) MUST_CHECK;

/** An integer min … max; *value is untouched if the member is absent, so set the default first. */
enum rc doc_u64(const struct doc *doc, const struct doc_field *field, uint64_t min, uint64_t max,
                uint64_t *value) MUST_CHECK;

/** true or false; *value is untouched if the member is absent. */
enum rc doc_bool(const struct doc *doc, const struct doc_field *field, bool *value) MUST_CHECK;

/** One of a NULL-terminated list of strings, as its place in it; untouched if absent. */
enum rc doc_choice(const struct doc *doc, const struct doc_field *field, const char *const *names,
                   uint32_t *value) MUST_CHECK;

/** An array of min … max strings; *value is NULL if the member is absent. */
enum rc doc_strings(const struct doc *doc, const struct doc_field *field, size_t min, size_t max,
                    const json_t **value) MUST_CHECK;

#endif
