#include "cli/compile.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

/* --- Bytes -------------------------------------------------------------------------------------
 */

struct writer {
    uint8_t *out;
    size_t len;
};

static void put(struct writer *w, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        w->out[w->len++] = (uint8_t)(value >> (8 * (len - 1 - i)));
}

static void put_bytes(struct writer *w, const void *data, size_t len)
{
    memcpy(w->out + w->len, data, len);
    w->len += len;
}

static void put_text(struct writer *w, const char *text)
{
    put(w, strlen(text), 1);
    put_bytes(w, text, strlen(text));
}

/* lms keys are HSS with one level on the wire, so the two have one number. */
static uint64_t scheme_number(enum plan_scheme scheme)
{
    static const uint8_t numbers[] = {
        [PLAN_LMS] = 1, [PLAN_HSS] = 1, [PLAN_XMSS] = 2, [PLAN_XMSSMT] = 3};
    return numbers[scheme];
}

static uint64_t kind_number(enum plan_kind kind)
{
    static const uint8_t numbers[] = {[PLAN_TIME] = 0, [PLAN_VERSION] = 1, [PLAN_INTERVAL] = 2};
    return numbers[kind];
}

static uint64_t format_number(enum plan_format format)
{
    static const uint8_t numbers[] = {[PLAN_INTEGER] = 0,
                                      [PLAN_MAJOR_MINOR] = 1,
                                      [PLAN_MAJOR_MINOR_PATCH] = 2,
                                      [PLAN_CALENDAR] = 3,
                                      [PLAN_TABLE] = 4};
    return numbers[format];
}

static uint64_t message_number(enum plan_message message)
{
    static const uint8_t numbers[] = {
        [PLAN_RAW] = 0, [PLAN_SHA256] = 1, [PLAN_SHA384] = 2, [PLAN_SHA512] = 3};
    return numbers[message];
}

static void put_head(struct writer *w, const struct plan *plan, const struct tmv_key *key)
{
    uint8_t key_sha256[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, key_sha256, key->raw, key->raw_len);
    put_bytes(w, "TMCP", 4);
    put(w, 1, 2); /* format of this layout */
    put(w, (plan->seal ? 1U : 0U) | (plan->slots_named ? 2U : 0U), 2);
    put(w, 0, 4); /* length of all, once it is known */
    put(w, kind_number(plan->kind), 1);
    put(w, format_number(plan->format), 1);
    put(w, scheme_number(plan->scheme), 1);
    put(w, message_number(plan->message), 1);
    put(w, plan->height, 1);
    put(w, plan->level_count, 1);
    put(w, plan->component_count, 1);
    put(w, plan->window_level, 1);
    put(w, plan->order == PLAN_PER_LINE ? 1 : 0, 1);
    put(w, plan->line_level, 1);
    put(w, plan->slot_count, 2);
    put_bytes(w, plan->sha256, SHA256_LEN);
    put_bytes(w, key_sha256, SHA256_LEN);
}

static void put_numbers(struct writer *w, const struct plan *plan)
{
    put(w, plan->window_size, 8);
    put(w, plan->window_usable, 8);
    put(w, plan->window_count, 8);
    put(w, (uint64_t)plan->start_s, 8);
    put(w, (uint64_t)plan->window_s, 8);
    for (size_t i = 0; i < PLAN_COMPONENTS_MAX; i++)
        put(w, plan->sizes[i], 8);
    for (size_t i = 0; i < PLAN_COMPONENTS_MAX; i++)
        put(w, plan->bases[i], 8);
    put(w, plan->versions_per_window, 8);
    put(w, plan->table_count, 4);
}

size_t compile_plan(const struct plan *plan, const struct tmv_key *key, uint8_t *out)
{
    struct writer w = {out, 0};
    put_head(&w, plan, key);
    put_numbers(&w, plan);
    for (uint32_t i = 0; plan->slots_named && i < plan->slot_count; i++)
        put_text(&w, plan->slots[i]);
    for (uint32_t i = 0; i < plan->table_count; i++)
        put_text(&w, plan->table[i]);
    be_put32(out + 8, (uint32_t)(w.len + SHA256_LEN));
    digest_buffer(DIGEST_SHA256, out + w.len, out, w.len);
    MUST(w.len + SHA256_LEN <= COMPILE_MAX);
    return w.len + SHA256_LEN;
}

/* --- C header ----------------------------------------------------------------------------------
 */

/* A key's name as a part of names in C. */
static void c_name(char out[NAME_LEN_MAX + 1], const char *name, bool upper)
{
    size_t i = 0;
    for (; name[i] != '\0'; i++) {
        int c = (unsigned char)name[i];
        out[i] = (char)(!isalnum(c) ? '_' : upper ? toupper(c) : c);
    }
    out[i] = '\0';
}

static const char *scheme_name(enum tmv_scheme scheme)
{
    static const char *const names[] = {[TMV_LMS] = "TMV_LMS",
                                        [TMV_HSS] = "TMV_HSS",
                                        [TMV_XMSS] = "TMV_XMSS",
                                        [TMV_XMSSMT] = "TMV_XMSSMT"};
    return names[scheme];
}

/* Six characters a byte at most, and a few more for each line of twelve. */
static size_t print_array(char *out, size_t cap, const char *name, const char *what,
                          const uint8_t *data, size_t len)
{
    size_t at =
        (size_t)snprintf(out, cap, "static const uint8_t tidemark_%s_%s[%zu] = {", name, what, len);
    for (size_t i = 0; i < len && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s0x%02x,", i % 16 == 0 ? "\n    " : " ",
                               data[i]);
    MUST(at < cap);
    at += (size_t)snprintf(out + at, cap - at, "\n};\n\n");
    MUST(at < cap);
    return at;
}

size_t compile_header(const struct plan *plan, const struct tmv_key *key, const uint8_t *compiled,
                      size_t compiled_len, char *out)
{
    const size_t cap = COMPILE_HEADER_MAX;
    char name[NAME_LEN_MAX + 1];
    char upper[NAME_LEN_MAX + 1];
    char set[COMPILE_SET_SIZE];
    char digest[HEX_SIZE(SHA256_LEN)];
    c_name(name, plan->key, false);
    c_name(upper, plan->key, true);
    compile_set_name(key, set);
    hex_encode(digest, plan->sha256, SHA256_LEN);
    size_t at = (size_t)snprintf(
        out, cap,
        "/*\n * Public key and compiled plan of %s, for <tidemark/verify.h>.\n"
        " * Made by tidemark plan compile; %s.\n * SHA-256 of the plan:\n * %s\n */\n"
        "#ifndef TIDEMARK_PLAN_%s_H\n#define TIDEMARK_PLAN_%s_H\n\n#include <stdint.h>\n\n"
        "#define TIDEMARK_%s_SCHEME %s\n\n",
        plan->key, set, digest, upper, upper, upper, scheme_name(key->scheme));
    MUST(at < cap);
    at += print_array(out + at, cap - at, name, "public_key", key->raw, key->raw_len);
    at += print_array(out + at, cap - at, name, "plan", compiled, compiled_len);
    at += (size_t)snprintf(out + at, cap - at, "#endif\n");
    MUST(at < cap);
    return at;
}

/* --- Keys --------------------------------------------------------------------------------------
 */

static enum tmv_scheme scheme_of(const struct plan *plan)
{
    return plan->scheme == PLAN_XMSS     ? TMV_XMSS
           : plan->scheme == PLAN_XMSSMT ? TMV_XMSSMT
                                         : TMV_HSS;
}

/* The base64 between the lines of a PEM text, decoded; 0 if it is none. */
static size_t pem_decode(uint8_t *der, size_t cap, const char *text)
{
    static const char begin[] = "-----BEGIN PUBLIC KEY-----";
    static const char end[] = "-----END PUBLIC KEY-----";
    char body[512];
    size_t body_len = 0;
    size_t der_len = 0;
    const char *p = text + strlen(begin);
    if (strncmp(text, begin, strlen(begin)) != 0)
        return 0;
    for (; *p != '\0' && *p != '-' && body_len < sizeof(body); p++)
        if (*p != '\r' && *p != '\n')
            body[body_len++] = *p;
    if (strncmp(p, end, strlen(end)) != 0 || !base64_decode(der, cap, &der_len, body, body_len))
        return 0;
    return der_len;
}

bool compile_key_read(struct tmv_key *key, const struct plan *plan, const char *data, size_t len,
                      const char **why)
{
    uint8_t der[256];
    size_t der_len = len;
    const uint8_t *bytes = (const uint8_t *)data;
    if (len > 0 && data[0] == '-') {
        der_len = pem_decode(der, sizeof(der), data);
        bytes = der;
    }
    /* A raw key begins with a zero byte: no count of levels and no number of a set is that large.
     */
    bool raw = len > 0 && data[0] == 0;
    enum tmv_result result = raw ? tmv_key_read(key, scheme_of(plan), bytes, len)
                                 : tmv_key_read_spki(key, bytes, der_len);
    *why = tmv_result_text(result);
    return result == TMV_OK;
}

/* The part of an XMSS name that says which hash (RFC 8391 §8, SP 800-208 §5). */
static const char *xmss_hash(const struct tmv_key *key)
{
    if (key->hash == TMV_SHA256 || key->hash == TMV_SHA512)
        return "SHA2";
    return key->hash == TMV_SHAKE128 || key->n == 64 ? "SHAKE" : "SHAKE256";
}

void compile_set_name(const struct tmv_key *key, char out[COMPILE_SET_SIZE])
{
    const char *lms_hash = key->hash == TMV_SHA256 ? "SHA256" : "SHAKE";
    unsigned n = key->n;
    switch (key->scheme) {
    case TMV_LMS:
    case TMV_HSS:
        (void)snprintf(out, COMPILE_SET_SIZE, "LMS_%s_M%u_H%u LMOTS_%s_N%u_W%u", lms_hash, n,
                       key->height, lms_hash, n, key->w);
        break;
    case TMV_XMSS:
        (void)snprintf(out, COMPILE_SET_SIZE, "XMSS-%s_%u_%u", xmss_hash(key), key->height, 8 * n);
        break;
    case TMV_XMSSMT:
        (void)snprintf(out, COMPILE_SET_SIZE, "XMSSMT-%s_%u/%u_%u", xmss_hash(key), key->height,
                       key->levels, 8 * n);
        break;
    }
}
