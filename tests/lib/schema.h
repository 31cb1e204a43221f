/*
 * schema: does a JSON value have the shape that a schema of docs/openapi.json says?
 *
 * Knows the part of JSON Schema that the document uses: $ref, type, const, enum, pattern, anyOf,
 * required, properties, additionalProperties: false, items, minimum, maximum. Test code.
 */
#ifndef TESTS_SCHEMA_H
#define TESTS_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

/**
 * @param[in]  root    The whole document, for $ref ("#/components/…").
 * @param[out] fault   Where it does not fit, and why; "" if it does.
 */
bool schema_fits(const json_t *root, const json_t *schema, const json_t *value, char fault[256]);

/** What a "#/…" reference points to, or NULL. */
const json_t *schema_resolve(const json_t *root, const char *ref);

#endif
