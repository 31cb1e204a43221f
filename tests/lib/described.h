/*
 * described: the examples of docs/openapi.json as requests, and answers held against what the
 * document says of them.
 *
 * For tests that ask a service everything that the document describes: test_front.c with a core
 * that plays its part, test_service_described.c with the whole service. Functions without a result
 * fail the running cmocka test.
 */
#ifndef TESTS_LIB_DESCRIBED_H
#define TESTS_LIB_DESCRIBED_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define DESCRIBED_PATH 600

/** A value for a parameter that takes the place of its example; lists end with a name of NULL. */
struct described_value {
    const char *name, *value;
};

/**
 * "/v1/keys/{key}" with the examples of its parameters, and the query that it must have.
 * @param[in] values  Or NULL.
 */
void described_path(const json_t *root, const json_t *operation, const char *path,
                    const struct described_value *values, char out[DESCRIBED_PATH]);

/**
 * The same with one optional query parameter, the i-th of the operation's list.
 * @retval false  Parameter i is no such one.
 */
bool described_query(const json_t *root, const json_t *operation, size_t i, const char *filled,
                     char out[DESCRIBED_PATH]);

/** The example of a request body, in its own schema; NULL if this type is not taken. */
const json_t *described_body(const json_t *root, const json_t *operation, const char *type);

/** One answer as a client saw it. */
struct described_answer {
    long status;
    const char *type; /* value of Content-Type */
    const char *body;
    size_t len;
};

/** The document has this status and this type for the operation, and the body fits its schema. */
void described_check(const json_t *root, const json_t *operation, const struct described_answer *a,
                     const char *what);

#endif
