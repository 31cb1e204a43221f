/*
 * A key's public key in the forms that verifiers take.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "http/routes.h"
#include "policy/plan.h"

#define PEM_COLUMNS 64
#define HEADER_COLUMNS 12
#define COSE_HEAD_LEN 8
#define TEXT_MAX 4096

static void answer_copy(struct exchange *x, const char *type, const void *bytes, size_t len)
{
    char *copy = malloc(len + 1);
    if (copy == NULL) {
        exchange_problem(x, PROBLEM_BUSY, "no memory for the answer");
        return;
    }
    memcpy(copy, bytes, len);
    answer_bytes(&x->answer, 200, type, copy, len);
    x->answer.kept = true;
}

static void answer_raw(struct exchange *x, const struct view_key *key)
{
    answer_copy(x, "application/octet-stream", key->public_key, key->public_key_len);
}

static bool has_spki(struct exchange *x, const struct view_key *key)
{
    if (key->spki_len == 0)
        exchange_problem(x, PROBLEM_NOT_SUPPORTED, "this scheme has no SubjectPublicKeyInfo here");
    return key->spki_len != 0;
}

static void answer_der(struct exchange *x, const struct view_key *key)
{
    if (has_spki(x, key))
        answer_copy(x, "application/octet-stream", key->spki, key->spki_len);
}

/* RFC 7468 §13: lines of 64 characters. */
static void answer_pem(struct exchange *x, const struct view_key *key)
{
    if (!has_spki(x, key))
        return;
    char base64[BASE64_SIZE(sizeof(key->spki))];
    char pem[sizeof(base64) + sizeof(base64) / PEM_COLUMNS + 80];
    base64_encode(base64, key->spki, key->spki_len);
    size_t at = (size_t)snprintf(pem, sizeof(pem), "-----BEGIN PUBLIC KEY-----\n");
    for (size_t i = 0; i < strlen(base64); i += PEM_COLUMNS)
        at += (size_t)snprintf(pem + at, sizeof(pem) - at, "%.*s\n", PEM_COLUMNS, base64 + i);
    at += (size_t)snprintf(pem + at, sizeof(pem) - at, "-----END PUBLIC KEY-----\n");
    answer_copy(x, "application/x-pem-file", pem, at);
}

/* COSE_Key of RFC 8778 §3: {1 (kty): 5 (HSS-LMS), 3 (alg): -46 (HSS-LMS), -1 (pub): bytes}, in the
 * deterministic order of RFC 8949 §4.2.1. */
static void answer_cose(struct exchange *x, const struct view_key *key)
{
    if (key->scheme != PLAN_LMS && key->scheme != PLAN_HSS) {
        exchange_problem(x, PROBLEM_NOT_SUPPORTED, "COSE has no key type for this scheme");
        return;
    }
    uint8_t cose[COSE_HEAD_LEN + 1 + sizeof(key->public_key)] = {0xa3, 0x01, 0x05, 0x03,
                                                                 0x38, 0x2d, 0x20, 0x58};
    cose[COSE_HEAD_LEN] = (uint8_t)key->public_key_len;
    memcpy(cose + COSE_HEAD_LEN + 1, key->public_key, key->public_key_len);
    answer_copy(x, "application/cose-key", cose, COSE_HEAD_LEN + 1 + key->public_key_len);
}

static size_t put_bytes(char *text, size_t cap, const uint8_t *bytes, size_t len)
{
    size_t at = 0;
    for (size_t i = 0; i < len; i++)
        at += (size_t)snprintf(text + at, cap - at, "%s0x%02x,",
                               i % HEADER_COLUMNS == 0 ? "\n    " : " ", bytes[i]);
    return at;
}

/* A key name as C knows names: other characters become '_'. */
static void c_name(char out[NAME_LEN_MAX + 1], const char *name)
{
    size_t i = 0;
    for (; name[i] != '\0'; i++)
        out[i] = (char)(isalnum((unsigned char)name[i]) ? name[i] : '_');
    out[i] = '\0';
}

static void answer_c(struct exchange *x, const struct view_key *key)
{
    char name[NAME_LEN_MAX + 1];
    char text[TEXT_MAX];
    const size_t cap = sizeof(text);
    c_name(name, key->name);
    size_t at = (size_t)snprintf(
        text, cap,
        "/* Public key %s (%s), as in %s, and the SHA-256 of its plan. */\n"
        "#ifndef TIDEMARK_KEY_%s\n#define TIDEMARK_KEY_%s\n\n"
        "static const unsigned char tidemark_key_%s[%u] = {",
        key->name, plan_scheme_name((enum plan_scheme)key->scheme),
        key->scheme == PLAN_LMS || key->scheme == PLAN_HSS ? "RFC 8554 section 6.1" : "RFC 8391",
        name, name, name, (unsigned)key->public_key_len);
    at += put_bytes(text + at, cap - at, key->public_key, key->public_key_len);
    at += (size_t)snprintf(text + at, cap - at,
                           "\n};\n\nstatic const unsigned char tidemark_plan_%s[32] = {", name);
    at += put_bytes(text + at, cap - at, key->plan_sha256, SHA256_LEN);
    at += (size_t)snprintf(text + at, cap - at, "\n};\n\n#endif\n");
    answer_copy(x, "text/x-c", text, at);
}

/* XDR: both RFC 8554 and RFC 8391 define the raw form in that language. */
static const struct format {
    const char *name;
    void (*answer)(struct exchange *x, const struct view_key *key);
} formats[] = {
    {"raw", answer_raw},      {"xdr", answer_raw},   {"spki-pem", answer_pem},
    {"spki-der", answer_der}, {"cose", answer_cose}, {"c-header", answer_c},
};

static const struct format *format_of(const struct exchange *x)
{
    const char *name = target_param(&x->target, "format");
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (name == NULL || strcmp(name, formats[i].name) == 0)
            return &formats[i];
    return NULL;
}

static void public_done(struct exchange *x)
{
    if (keys_take(x))
        format_of(x)->answer(x, &x->keys[0]);
}

void public_start(struct exchange *x)
{
    if (format_of(x) == NULL) {
        exchange_problem(x, PROBLEM_BAD_REQUEST,
                         "format must be raw, xdr, spki-pem, spki-der, cose or c-header");
        return;
    }
    exchange_request(x, REQUEST_KEYS);
    exchange_ask(x, -1, public_done);
}
