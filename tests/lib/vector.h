/* vector: the first vectors of a file in tests/vectors/data, as bytes. */
#ifndef TESTS_VECTOR_H
#define TESTS_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#define VECTOR_BYTES_MAX 65536

struct vector {
    uint8_t message[VECTOR_BYTES_MAX];
    size_t message_len;
    uint8_t public_key[256];
    size_t public_len;
    uint8_t signature[VECTOR_BYTES_MAX];
    size_t signature_len;
};

/** Fails the running test if the file or the vector is not there. */
void vector_read(struct vector *v, const char *path, size_t number);

#endif
