/*
 * Fuzz target: the messages between front and core, either side of which may have been taken over.
 *
 * The first byte chooses: 'q' a request, 'b' a batch (the next byte: how many items), as the core
 * checks them; 's' a reply about state, 'k' a key, 'c' the clock, 'w' a window, 'v' a version, 'i'
 * an index, 'g' a signature, 'r' a preview, 'p' a problem, 'f' a forecast, 'n' a warning, 'm' what
 * monitors are told (the next byte: of how many keys), 'o' a reservation: as the front prints them.
 * The struct is zero but for what makes it one of its kind; then come patches: two bytes of place,
 * one of length, and the bytes. Beside not crashing: what the core takes has texts that end, and
 * what the front prints is JSON, or lines of metrics. Run: tests/fuzz/fuzz_message -max_len=4096
 * CORPUS tests/fuzz/message
 */
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "http/metrics.h"
#include "http/print.h"
#include "http/problem.h"
#include "signer/bulk.h"

#define GENERATION 7
#define METERS_MAX 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void patch(void *object, size_t size, const uint8_t *data, size_t len)
{
    while (len >= 3) {
        size_t at = be_get16(data) % size;
        size_t count = data[2];
        data += 3;
        len -= 3;
        if (count > len)
            count = len;
        if (count > size - at)
            count = size - at;
        memcpy((uint8_t *)object + at, data, count);
        data += count;
        len -= count;
    }
}

/* One complete JSON value, as every client will see it. */
static void is_json(struct jcs *j)
{
    json_error_t error;
    if (!jcs_finish(j)) /* want of memory */
        return;
    json_t *root = json_loadb(j->text, j->len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    MUST(root != NULL);
    json_decref(root);
}

static void try_request(const uint8_t *data, size_t len)
{
    struct request r = {.magic = REQUEST_MAGIC, .op = REQUEST_SIGN, .generation = GENERATION};
    struct err err = {0};
    /* A handle, or so many bytes that stood behind the request. */
    bool handle = len > 0 && data[0] % 2 == 1;
    size_t behind = len > 0 ? data[0] / 2 : 0;
    if (len > 0)
        patch(&r, sizeof(r), data + 1, len - 1);
    if (request_check(&r, GENERATION, handle, behind, &err) != RC_OK) {
        MUST(err.rc == RC_REFUSED_INPUT && err.text[0] != '\0');
        return;
    }
    MUST(r.op >= REQUEST_STATE && r.op < REQUEST_OP_END);
    MUST(strnlen(r.key, sizeof(r.key)) < sizeof(r.key));
    MUST(strnlen(r.version, sizeof(r.version)) < sizeof(r.version));
    MUST(strnlen(r.requester, sizeof(r.requester)) < sizeof(r.requester));
    MUST(r.op != REQUEST_ATTEST || r.nonce_len <= sizeof(r.nonce));
    MUST(r.op != REQUEST_SIGN || (handle || behind > 0) == (r.body == REQUEST_BODY_BYTES));
    MUST(behind == 0 || (!handle && behind == r.body_len));
    if (r.op == REQUEST_RESERVE || r.op == REQUEST_COMMIT) {
        MUST(!handle && behind == 0);
        MUST(token_valid(r.idempotency_key, REQUEST_TEXT_MAX));
        MUST(token_valid(r.requester, REQUEST_TEXT_MAX));
    }
    MUST(r.op != REQUEST_RESERVE || r.digest_kind == DIGEST_SHA256);
    MUST(r.op != REQUEST_COMMIT || (r.hash_len >= 1 && r.hash_len <= sizeof(r.digest)));
}

/* What the core reads of a batch: the message, which is good, and the items in a file, which are
 * anything. */
static void try_batch(const uint8_t *data, size_t len)
{
    static struct request_item items[REQUEST_BATCH_MAX];
    struct bulk *bulk CLEANUP(bulk_free) = NULL;
    struct err err = {0};
    size_t count = len > 0 ? data[0] % REQUEST_BATCH_MAX + 1U : 1;
    struct request r = {.magic = REQUEST_MAGIC,
                        .op = REQUEST_BATCH,
                        .generation = GENERATION,
                        .key = "fw",
                        .body_len = count * sizeof(items[0])};
    memset(items, 0, sizeof(items));
    for (size_t i = 0; i < count; i++)
        items[i] = (struct request_item){.by = REQUEST_BY_WINDOW, .idempotency_key = "x"};
    if (len > 0)
        patch(items, count * sizeof(items[0]), data + 1, len - 1);
    MUST(request_check(&r, GENERATION, true, 0, NULL) == RC_OK);
    int fd = memfd_create("items", MFD_CLOEXEC);
    MUST(fd >= 0 && write(fd, items, r.body_len) == (ssize_t)r.body_len);
    if (bulk_read(&bulk, &r, fd, NULL, &err) == RC_OK) {
        MUST(bulk->count == count);
        for (size_t i = 0; i < count; i++) {
            const struct request *one = &bulk->requests[i];
            MUST(one->op == REQUEST_SIGN && one->body == REQUEST_BODY_DIGEST);
            MUST(strnlen(one->version, sizeof(one->version)) < sizeof(one->version));
            MUST(strcmp(one->key, "fw") == 0);
        }
    } else {
        MUST(err.rc == RC_REFUSED_INPUT && err.text[0] != '\0');
    }
    (void)close(fd);
}

static void try_reply(char kind, const uint8_t *data, size_t len)
{
    static struct reply r;
    static const struct plan_facts facts = {.kind = PLAN_VERSION};
    struct jcs j CLEANUP(jcs_wipe) = {0};
    r = (struct reply){.magic = REPLY_MAGIC};
    patch(&r, sizeof(r), data, len);
    reply_terminate(&r);
    if (kind == 's')
        print_state(&j, &r);
    else if (kind == 'g')
        print_signature(&j, &r, &facts, "AAAA");
    else if (kind == 'r')
        print_preview(&j, &r, &facts);
    else if (kind == 'o')
        print_reservation(&j, &r, "AAAA");
    else
        problem_print(&j, problem_get(problem_of_rc((enum rc)r.rc)), r.text, "id", &r);
    is_json(&j);
}

static void try_key(const uint8_t *data, size_t len)
{
    static const struct reply reply;
    static struct view_key v;
    struct plan_facts facts = {.parameter_count = 0};
    struct jcs j CLEANUP(jcs_wipe) = {0};
    v = (struct view_key){0};
    patch(&v, sizeof(v), data, len);
    key_terminate(&v);
    facts.scheme = (enum plan_scheme)v.scheme;
    print_key(&j, &v, &facts, &reply);
    is_json(&j);
}

static void try_clock(const uint8_t *data, size_t len)
{
    static struct view_clock v;
    struct jcs j CLEANUP(jcs_wipe) = {0};
    v = (struct view_clock){0};
    patch(&v, sizeof(v), data, len);
    if (!clock_terminate(&v))
        return;
    print_clock(&j, &v);
    is_json(&j);
}

static void try_entry(char kind, const uint8_t *data, size_t len)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    union {
        struct view_window w;
        struct view_version v;
        struct view_index i;
    } u;
    memset(&u, 0, sizeof(u));
    patch(&u, sizeof(u), data, len);
    if (kind == 'w') {
        window_terminate(&u.w);
        print_window(&j, &u.w);
    } else if (kind == 'v') {
        version_terminate(&u.v);
        print_version(&j, &u.v, "key");
    } else {
        index_terminate(&u.i);
        print_index(&j, &u.i, "key");
    }
    is_json(&j);
}

static void try_warning(char kind, const uint8_t *data, size_t len)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    struct view_forecast f = {0};
    struct view_warning w = {0};
    if (kind == 'f') {
        patch(&f, sizeof(f), data, len);
        forecast_terminate(&f);
        print_forecast(&j, &f);
    } else {
        patch(&w, sizeof(w), data, len);
        warning_terminate(&w);
        print_warning(&j, &w);
    }
    is_json(&j);
}

/* "# …", or "tidemark_NAME{LABELS} NUMBER", where no label ends before its quote. */
static void is_metric(const char *line)
{
    char *end = NULL;
    if (strncmp(line, "# HELP tidemark_", 16) == 0 || strncmp(line, "# TYPE tidemark_", 16) == 0)
        return;
    MUST(strncmp(line, "tidemark_", 9) == 0);
    line += 9;
    while (islower((unsigned char)*line) || isdigit((unsigned char)*line) || *line == '_')
        line++;
    if (*line == '{') {
        size_t quotes = 0;
        for (; *line != '\0' && *line != '}'; line++)
            quotes += *line == '"';
        MUST(*line == '}' && quotes > 0 && quotes % 2 == 0);
        line++;
    }
    MUST(*line == ' ');
    (void)strtod(line + 1, &end);
    MUST(end != line + 1 && *end == '\0');
}

static void try_meters(const uint8_t *data, size_t len)
{
    static struct {
        struct view_meters all;
        struct view_meter keys[METERS_MAX];
    } m;
    static const struct reply reply;
    char *text = NULL;
    size_t text_len = 0;
    size_t count = len > 0 ? data[0] % (METERS_MAX + 1) : 0;
    size_t size = sizeof(m.all) + count * sizeof(m.keys[0]);
    memset(&m, 0, sizeof(m));
    for (size_t i = 0; i < count; i++)
        (void)snprintf(m.keys[i].key.name, sizeof(m.keys[i].key.name), "key-%zu", i);
    m.all.open = true;
    if (len > 0)
        patch(&m, size, data + 1, len - 1);
    FILE *f = open_memstream(&text, &text_len);
    MUST(f != NULL);
    bool readable = metrics_print_core(f, (uint8_t *)&m, size, &reply);
    MUST(fclose(f) == 0 && readable == (text_len > 0));
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        is_metric(line);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static bool started;
    if (!started)
        MUST(base_init_public(NULL) == RC_OK);
    started = true;
    if (len < 1)
        return 0;
    char kind = (char)*data++;
    len--;
    if (kind == 'q')
        try_request(data, len);
    else if (kind == 'b')
        try_batch(data, len);
    else if (kind == 's' || kind == 'g' || kind == 'r' || kind == 'p' || kind == 'o')
        try_reply(kind, data, len);
    else if (kind == 'k')
        try_key(data, len);
    else if (kind == 'c')
        try_clock(data, len);
    else if (kind == 'w' || kind == 'v' || kind == 'i')
        try_entry(kind, data, len);
    else if (kind == 'f' || kind == 'n')
        try_warning(kind, data, len);
    else if (kind == 'm')
        try_meters(data, len);
    return 0;
}
