/*
 * Fuzz target: everything of a request that the front reads itself.
 *
 * The first byte chooses the reader; a digit, so that corpora can be written by hand: 0 request
 * target, 1 headers (lines "Name: value"), 2 Content-Digest, 3 Idempotency-Key, 4 Accept, 5 JSON
 * body of a signing request, 6 If-None-Match, 7 preview, 8 batch, 9 acknowledgement of the clock's
 * jump, a of a warning, b hash for a reservation. Beside not crashing, each reader must keep what
 * its header promises about its output. Run: tests/fuzz/fuzz_http -max_len=4096 CORPUS
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "http/ack_body.h"
#include "http/fields.h"
#include "http/guard.h"
#include "http/sign_body.h"
#include "http/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void fuzz_target(const char *text)
{
    struct target t;
    if (target_parse(&t, text, NULL) != RC_OK)
        return;
    MUST(t.segment_count >= 1);
    for (size_t i = 0; i < t.segment_count; i++)
        MUST(strchr(t.segments[i], '/') == NULL);
    for (size_t i = 0; i < t.param_count; i++)
        MUST(target_param(&t, t.params[i].name) == t.params[i].value);
    MUST(target_allow(&t, "", NULL) == (t.param_count == 0 ? RC_OK : RC_REFUSED_INPUT));
}

static void fuzz_headers(const char *text, size_t len)
{
    struct guard g = {0};
    const char *end = text + len;
    guard_header(&g, "Host", 4, "x", 1);
    while (text < end) {
        const char *line_end = memchr(text, '\n', (size_t)(end - text));
        size_t line = (size_t)((line_end == NULL ? end : line_end) - text);
        const char *colon = memchr(text, ':', line);
        size_t name = colon == NULL ? line : (size_t)(colon - text);
        size_t skip = colon == NULL ? line : name + 1;
        guard_header(&g, text, name, text + skip, line - skip);
        text += line + 1;
    }
    if (!guard_finish(&g, "HTTP/1.1"))
        return;
    MUST(g.seen[GUARD_HOST] == 1);
    MUST(g.seen[GUARD_CONTENT_LENGTH] <= 1);
    MUST(g.seen[GUARD_TRANSFER_ENCODING] == 0);
}

static void fuzz_json(const char *text, size_t len)
{
    struct request r = {0};
    struct request zero = {0};
    if (sign_body_parse(&r, text, len, NULL) != RC_OK) {
        MUST(memcmp(&r, &zero, sizeof(r)) == 0);
        return;
    }
    MUST(r.body == REQUEST_BODY_DIGEST);
    MUST((r.by == REQUEST_BY_WINDOW) == (r.version[0] == '\0'));
    MUST(r.slot[0] == '\0' || name_valid(r.slot));
}

static void fuzz_hash(const char *text, size_t len)
{
    struct request r = {0};
    struct request zero = {0};
    if (hash_body_parse(&r, text, len, NULL) != RC_OK) {
        MUST(memcmp(&r, &zero, sizeof(r)) == 0);
        return;
    }
    MUST(r.hash_len >= 1 && r.hash_len <= sizeof(r.digest));
}

static void fuzz_preview(const char *text, size_t len)
{
    struct request r = {0};
    struct request zero = {0};
    if (preview_body_parse(&r, text, len, NULL) != RC_OK) {
        MUST(memcmp(&r, &zero, sizeof(r)) == 0);
        return;
    }
    MUST(r.by == REQUEST_BY_WINDOW || r.by == REQUEST_BY_VERSION);
    MUST((r.by == REQUEST_BY_WINDOW) == (r.version[0] == '\0'));
    MUST(r.slot[0] == '\0' || name_valid(r.slot));
}

static void fuzz_batch(const char *text, size_t len)
{
    static struct request_item items[REQUEST_BATCH_MAX];
    static const struct request_item zero;
    struct err err = {0};
    size_t count = 0;
    memset(items, 0xa5, sizeof(items));
    if (batch_body_parse(items, &count, text, len, &err) != RC_OK) {
        MUST(err.text[0] != '\0');
        for (size_t i = 0; i < REQUEST_BATCH_MAX; i++)
            MUST(memcmp(&items[i], &zero, sizeof(zero)) == 0);
        return;
    }
    MUST(count >= 1 && count <= REQUEST_BATCH_MAX);
    for (size_t i = 0; i < REQUEST_BATCH_MAX; i++) {
        const struct request_item *item = &items[i];
        MUST(i < count || memcmp(item, &zero, sizeof(zero)) == 0);
        if (i >= count)
            continue;
        MUST(item->by == REQUEST_BY_WINDOW || item->by == REQUEST_BY_VERSION);
        MUST((item->by == REQUEST_BY_WINDOW) == (item->version[0] == '\0'));
        MUST(item->slot[0] == '\0' || name_valid(item->slot));
    }
}

static void fuzz_ack(const char *text, size_t len, bool clock)
{
    struct request r = {0};
    struct request zero = {0};
    struct err err = {0};
    enum rc rc = clock ? clock_ack_body_parse(&r, text, len, &err)
                       : warning_ack_body_parse(&r, text, len, &err);
    if (rc != RC_OK) {
        MUST(rc == RC_REFUSED_INPUT && err.text[0] != '\0');
        MUST(memcmp(&r, &zero, sizeof(r)) == 0);
    } else if (clock) {
        MUST(r.ack_utc_s >= 0 && r.ack_utc_s <= RFC3339_S_MAX);
        MUST(r.ack_id <= INT64_MAX && r.ack_windows <= INT64_MAX);
    } else {
        MUST(strnlen(r.sentence, sizeof(r.sentence)) < sizeof(r.sentence));
    }
}

static void fuzz_body(char which, const char *text, size_t len)
{
    if (which == '5')
        fuzz_json(text, len);
    else if (which == '7')
        fuzz_preview(text, len);
    else if (which == '8')
        fuzz_batch(text, len);
    else if (which == 'b')
        fuzz_hash(text, len);
    else
        fuzz_ack(text, len, which == '9');
}

static void fuzz_fields(char which, const char *text)
{
    struct content_digest digest;
    char key[IDEMPOTENCY_KEY_MAX + 1];
    bool neither = false;
    if (which == '2' && content_digest_parse(&digest, text, NULL) != RC_OK)
        MUST(!digest.has_sha256 && !digest.has_sha512);
    if (which == '3' && idempotency_key_parse(key, text, NULL) == RC_OK)
        MUST(key[0] != '\0' && token_valid(key, IDEMPOTENCY_KEY_MAX));
    if (which == '4' && accept_bare(text, &neither))
        MUST(!neither);
    if (which == '6' && etag_named(text, "\"abc\""))
        MUST(strstr(text, "\"abc\"") != NULL || strchr(text, '*') != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0)
        return 0;
    /* A copy of its own, so that reading beyond the end is seen. */
    char *text = malloc(len);
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, len - 1);
    text[len - 1] = '\0';
    if (data[0] == '0')
        fuzz_target(text);
    else if (data[0] == '1')
        fuzz_headers(text, len - 1);
    else if (memchr("5789ab", data[0], 6) != NULL)
        fuzz_body((char)data[0], text, len - 1);
    else
        fuzz_fields((char)data[0], text);
    free(text);
    return 0;
}
