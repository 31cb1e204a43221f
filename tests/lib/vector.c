#include "lib/vector.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static size_t take(const json_t *vector, const char *name, uint8_t *out, size_t cap)
{
    const char *hex = json_string_value(json_object_get(vector, name));
    assert_non_null(hex);
    size_t len = strlen(hex) / 2;
    assert_true(len <= cap);
    assert_true(hex_decode(out, len, hex));
    return len;
}

void vector_read(struct vector *v, const char *path, size_t number)
{
    json_t *file = json_load_file(path, 0, NULL);
    const json_t *vector = json_array_get(json_object_get(file, "vectors"), number);
    assert_non_null(vector);
    v->message_len = take(vector, "message", v->message, sizeof(v->message));
    v->public_len = take(vector, "public_key", v->public_key, sizeof(v->public_key));
    v->signature_len = take(vector, "signature", v->signature, sizeof(v->signature));
    json_decref(file);
}
