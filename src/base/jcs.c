#include "base/jcs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define HEX_PIECE 32                 /* bytes that are written at once */
#define EXACT_MAX (INT64_C(1) << 53) /* integers up to here survive every JSON reader */

void jcs_wipe(struct jcs *j)
{
    free(j->text);
    *j = (struct jcs){0};
}

static void put(struct jcs *j, const char *text, size_t len)
{
    if (j->failed)
        return;
    if (j->len + len + 1 > j->cap) {
        size_t cap = j->cap == 0 ? 256 : j->cap;
        while (cap < j->len + len + 1)
            cap *= 2;
        char *grown = realloc(j->text, cap);
        if (grown == NULL) {
            j->failed = true;
            return;
        }
        j->text = grown;
        j->cap = cap;
    }
    memcpy(j->text + j->len, text, len);
    j->len += len;
}

/* A comma before every item but the first of its level. */
static void item(struct jcs *j)
{
    if (j->started[j->depth])
        put(j, ",", 1);
    j->started[j->depth] = true;
}

static void descend(struct jcs *j, const char *bracket)
{
    item(j);
    put(j, bracket, 1);
    MUST(j->depth + 1 < JCS_DEPTH_MAX);
    j->depth++;
    j->started[j->depth] = false;
    j->last_key[j->depth][0] = '\0';
}

static void ascend(struct jcs *j, const char *bracket)
{
    MUST(j->depth > 0);
    j->depth--;
    put(j, bracket, 1);
}

void jcs_object_open(struct jcs *j)
{
    descend(j, "{");
}

void jcs_object_close(struct jcs *j)
{
    ascend(j, "}");
}

void jcs_array_open(struct jcs *j)
{
    descend(j, "[");
}

void jcs_array_close(struct jcs *j)
{
    ascend(j, "]");
}

/* Characters up to the next one that JSON wants escaped. */
static size_t plain_run(const char *text)
{
    size_t n = 0;
    while ((unsigned char)text[n] >= 0x20 && text[n] != '"' && text[n] != '\\')
        n++;
    return n;
}

static void escaped(struct jcs *j, unsigned char c)
{
    static const char short_escapes[] = "btnvfr"; /* 8 … 13; \v has no short form in JSON */
    char escape[8] = {'\\', (char)c};
    if (c == '"' || c == '\\') {
        put(j, escape, 2);
    } else if (c >= 8 && c <= 13 && c != 11) {
        escape[1] = short_escapes[c - 8];
        put(j, escape, 2);
    } else {
        (void)snprintf(escape, sizeof(escape), "\\u%04x", c);
        put(j, escape, 6);
    }
}

static void quoted(struct jcs *j, const char *text)
{
    put(j, "\"", 1);
    for (;;) {
        size_t run = plain_run(text);
        put(j, text, run);
        text += run;
        if (*text == '\0')
            break;
        escaped(j, (unsigned char)*text++);
    }
    put(j, "\"", 1);
}

void jcs_key(struct jcs *j, const char *key)
{
    MUST(strlen(key) < JCS_KEY_MAX);
    MUST(strcmp(key, j->last_key[j->depth]) > 0);
    strcpy(j->last_key[j->depth], key);
    item(j);
    quoted(j, key);
    put(j, ":", 1);
    j->started[j->depth] = false; /* the value that follows needs no comma */
}

void jcs_string(struct jcs *j, const char *text)
{
    item(j);
    quoted(j, text);
}

static void plain(struct jcs *j, const char *text)
{
    item(j);
    put(j, text, strlen(text));
}

void jcs_int(struct jcs *j, int64_t value)
{
    MUST(value >= -EXACT_MAX && value <= EXACT_MAX);
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, value);
    plain(j, text);
}

void jcs_u64(struct jcs *j, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    if (value <= (uint64_t)EXACT_MAX)
        plain(j, text);
    else
        jcs_string(j, text);
}

void jcs_bool(struct jcs *j, bool value)
{
    plain(j, value ? "true" : "false");
}

void jcs_null(struct jcs *j)
{
    plain(j, "null");
}

void jcs_hex(struct jcs *j, const uint8_t *bytes, size_t len)
{
    item(j);
    put(j, "\"", 1);
    for (size_t i = 0; i < len; i += HEX_PIECE) {
        char piece[HEX_SIZE(HEX_PIECE)];
        size_t n = len - i < HEX_PIECE ? len - i : HEX_PIECE;
        hex_encode(piece, bytes + i, n);
        put(j, piece, 2 * n);
    }
    put(j, "\"", 1);
}

void jcs_member_string(struct jcs *j, const char *key, const char *text)
{
    jcs_key(j, key);
    jcs_string(j, text);
}

void jcs_member_int(struct jcs *j, const char *key, int64_t value)
{
    jcs_key(j, key);
    jcs_int(j, value);
}

void jcs_member_u64(struct jcs *j, const char *key, uint64_t value)
{
    jcs_key(j, key);
    jcs_u64(j, value);
}

void jcs_member_hex(struct jcs *j, const char *key, const uint8_t *bytes, size_t len)
{
    jcs_key(j, key);
    jcs_hex(j, bytes, len);
}

void jcs_member_bool(struct jcs *j, const char *key, bool value)
{
    jcs_key(j, key);
    jcs_bool(j, value);
}

bool jcs_finish(struct jcs *j)
{
    MUST(j->depth == 0);
    if (!j->failed)
        put(j, "", 0);
    if (j->failed || j->text == NULL)
        return false;
    j->text[j->len] = '\0';
    return true;
}
