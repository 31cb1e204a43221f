/*
 * Fuzz target: the messages between front and core, either side of which may have been taken over.
 *
 * The first byte chooses: 'q' a request, as the core checks it; 's' a reply about state, 'k' a key,
 * 'c' the clock, 'w' a window, 'v' a version, 'i' an index, 'g' a signature, 'p' a problem: as the
 * front prints them. The struct is zero but for what makes it one of its kind; then come patches:
 * two bytes of place, one of length, and the bytes. Beside not crashing: what the core takes has
 * texts that end, and what the front prints is JSON.
 * Run: tests/fuzz/fuzz_message -max_len=4096 CORPUS tests/fuzz/message
 */
#include <jansson.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "http/print.h"
#include "http/problem.h"

#define GENERATION 7

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
    bool handle = len > 0 && data[0] != 0;
    if (len > 0)
        patch(&r, sizeof(r), data + 1, len - 1);
    if (request_check(&r, GENERATION, handle, &err) != RC_OK) {
        MUST(err.rc == RC_REFUSED_INPUT && err.text[0] != '\0');
        return;
    }
    MUST(r.op >= REQUEST_STATE && r.op < REQUEST_OP_END);
    MUST(strnlen(r.key, sizeof(r.key)) < sizeof(r.key));
    MUST(strnlen(r.version, sizeof(r.version)) < sizeof(r.version));
    MUST(strnlen(r.requester, sizeof(r.requester)) < sizeof(r.requester));
    MUST(r.op != REQUEST_ATTEST || r.nonce_len <= sizeof(r.nonce));
    MUST(r.op != REQUEST_SIGN || handle == (r.body == REQUEST_BODY_HANDLE));
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
    else if (kind == 's' || kind == 'g' || kind == 'p')
        try_reply(kind, data, len);
    else if (kind == 'k')
        try_key(data, len);
    else if (kind == 'c')
        try_clock(data, len);
    else if (kind == 'w' || kind == 'v' || kind == 'i')
        try_entry(kind, data, len);
    return 0;
}
