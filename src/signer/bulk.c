#include "signer/bulk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "signer/signer.h"
#include "signer/view.h"

_Static_assert(REQUEST_BATCH_MAX <= BATCH_MAX, "a message is one batch");
_Static_assert(REQUEST_BATCH_MAX *(LEDGER_SIGNATURE_MAX + sizeof(struct reply)) <=
                   REQUEST_PAYLOAD_MAX,
               "its answers fit into one payload");

/* Reading ------------------------------------------------------------------------------------- */

static enum rc read_items(struct request_item *items, size_t count, int fd, struct err *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
        (uint64_t)st.st_size != count * sizeof(*items))
        return FAIL(err, RC_REFUSED_INPUT, "errno", errno, "the list of items is no such file");
    if (!pread_full(fd, items, count * sizeof(*items), 0))
        return FAIL(err, RC_RETRY_SYSTEM, "errno", errno, "the list of items cannot be read");
    return RC_OK;
}

static void take_item(struct request *r, const struct request *message,
                      const struct request_item *item)
{
    *r = *message;
    r->op = REQUEST_SIGN;
    r->by = item->by;
    r->body = REQUEST_BODY_DIGEST;
    r->body_len = 0;
    r->digest_kind = item->digest_kind;
    memcpy(r->digest, item->digest, sizeof(r->digest));
    memcpy(r->version, item->version, sizeof(r->version));
    memcpy(r->slot, item->slot, sizeof(r->slot));
    memcpy(r->idempotency_key, item->idempotency_key, sizeof(r->idempotency_key));
}

static enum rc take_items(struct bulk *bulk, const struct request *message,
                          const struct request_item *items, struct err *err)
{
    for (size_t i = 0; i < bulk->count; i++) {
        struct err e = {0};
        struct request *r = &bulk->requests[i];
        take_item(r, message, &items[i]);
        if (request_check(r, message->generation, false, 0, &e) != RC_OK)
            return FAIL(err, RC_REFUSED_INPUT, "", 0, "item %zu: %s", i, err_text(&e));
        reply_init(&bulk->replies[i], r);
        bulk->jobs[i] = (struct job){
            .request = r, .reply = &bulk->replies[i], .artifact.fd = -1, .life = LIFE_RECEIVED};
    }
    return RC_OK;
}

enum rc bulk_read(struct bulk **bulk, const struct request *request, int fd, const void *bytes,
                  struct err *err)
{
    static struct request_item items[REQUEST_BATCH_MAX];
    const size_t count = (size_t)(request->body_len / sizeof(items[0]));
    MUST(count >= 1 && count <= REQUEST_BATCH_MAX); /* request_check() */
    *bulk = NULL;
    enum rc rc = RC_OK;
    if (bytes != NULL)
        memcpy(items, bytes, count * sizeof(items[0]));
    else
        rc = read_items(items, count, fd, err);
    if (rc != RC_OK)
        return rc;
    struct bulk *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for a batch");
    b->count = count;
    rc = take_items(b, request, items, err);
    if (rc == RC_OK)
        *bulk = b;
    else
        free(b);
    return rc;
}

void bulk_free(struct bulk **bulk)
{
    struct bulk *b = *bulk;
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->count; i++)
        free(b->jobs[i].signature);
    free(b);
    *bulk = NULL;
}

/* Looking before ------------------------------------------------------------------------------ */

/* Where a job would sign, without a trace. */
struct look {
    bool fresh; /* it would use an index */
    uint64_t window, index;
    struct reply reply;
};

static enum rc look_at(struct batch *b, const struct job *job, struct look *look, struct err *err)
{
    struct job copy = *job;
    copy.preview = true;
    copy.reply = &look->reply;
    reply_init(&look->reply, job->request);
    enum rc rc = b->key->plan.kind == PLAN_VERSION ? batch_preview_version(b, &copy, err)
                                                   : batch_preview_window(b, &copy, err);
    free(copy.signature);
    look->fresh = rc == RC_OK && !copy.done;
    look->window = copy.place.window;
    look->index = copy.place.index;
    return rc;
}

/* Signatures that may still be made in a window; an interval plan goes on in the next one. */
static enum rc room(const struct batch *b, uint64_t window, uint64_t *left, struct err *err)
{
    const struct key *key = b->key;
    const uint64_t cap = batch_window_cap(b);
    struct ledger_usage usage;
    uint64_t in_window = 0;
    uint64_t in_key = 0;
    view_remaining(key, b->ledger, window, b->now_s, &in_window, &in_key);
    *left = key->plan.kind == PLAN_INTERVAL ? in_key : in_window;
    if (key->plan.kind == PLAN_INTERVAL || cap == key->plan.window_usable)
        return RC_OK;
    enum rc rc = ledger_window_usage(b->ledger, key->record.id, window, &usage, err);
    if (rc != RC_OK)
        return rc;
    uint64_t used = key->plan.kind == PLAN_VERSION ? usage.bound : usage.receipts;
    uint64_t by_cap = used < cap ? cap - used : 0;
    *left = by_cap < *left ? by_cap : *left;
    return RC_OK;
}

/* Fresh ones of the window of looks[at]; two of one index (twins) are one. 0: counted before. */
static uint64_t count_fresh(const struct batch *b, const struct look *looks, size_t count,
                            size_t at)
{
    bool by_version = b->key->plan.kind == PLAN_VERSION;
    uint64_t fresh = 0;
    for (size_t i = 0; i < count; i++) {
        bool same = looks[i].fresh && looks[i].window == looks[at].window;
        if (same && i < at)
            return 0;
        for (size_t k = 0; same && by_version && k < i; k++)
            same = !looks[k].fresh || looks[k].index != looks[i].index;
        fresh += same ? 1 : 0;
    }
    return fresh;
}

static enum rc refuse_window(const struct batch *b, const struct look *look, uint64_t fresh,
                             uint64_t left, struct reply *whole, struct err *err)
{
    whole->window = (int64_t)look->window;
    whole->window_limit = batch_window_cap(b);
    whole->window_remaining = left;
    whole->window_reset_s = look->reply.window_reset_s;
    if (look->reply.window_reset_s > 0) {
        whole->retry_after_s = look->reply.window_reset_s;
        whole->window_opens_s = b->wall_s + look->reply.window_reset_s;
    }
    return FAIL(err, RC_RETRY_WINDOW_FULL, "", 0,
                "window %" PRIu64 " has room for %" PRIu64
                " more signatures and the batch asks for %" PRIu64 ": none was made",
                look->window, left, fresh);
}

static enum rc compare(struct batch *b, const struct look *looks, size_t count, struct reply *whole,
                       struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t left = 0;
        uint64_t fresh = looks[i].fresh ? count_fresh(b, looks, count, i) : 0;
        if (fresh == 0)
            continue;
        enum rc rc = room(b, looks[i].window, &left, err);
        if (rc != RC_OK)
            return rc;
        if (fresh > left)
            return refuse_window(b, &looks[i], fresh, left, whole, err);
    }
    return RC_OK;
}

/* A share or a reserve is a matter of who asks and in which order: each job meets it alone. */
static bool window_is_full(const struct look *look)
{
    return look->reply.rc == RC_RETRY_WINDOW_FULL &&
           strcmp(look->reply.violated, LIMIT_CALLER) != 0 &&
           strcmp(look->reply.violated, LIMIT_RESERVE) != 0;
}

/* A second request with the idempotency key of an earlier one of this batch is told that the other
 * is still running, and takes no room. */
static bool is_second(const struct batch *b, const struct job *jobs, const struct look *looks,
                      size_t at)
{
    const char *key = jobs[at].request->idempotency_key;
    if (b->key->plan.kind == PLAN_VERSION)
        return false; /* knows no such keys */
    for (size_t i = 0; i < at; i++)
        if ((looks[i].fresh || window_is_full(&looks[i])) &&
            strcmp(jobs[i].request->idempotency_key, key) == 0)
            return true;
    return false;
}

/* More than any window of a time plan takes: waiting for the next one would not help. */
static enum rc too_many(const struct batch *b, const struct look *looks, size_t count,
                        struct err *err)
{
    const uint64_t cap = batch_window_cap(b);
    uint64_t asked = 0;
    for (size_t i = 0; i < count; i++)
        asked += looks[i].fresh || window_is_full(&looks[i]) ? 1 : 0;
    if (b->key->plan.kind != PLAN_TIME || asked <= cap)
        return RC_OK;
    return FAIL(err, RC_REFUSED_TOO_LARGE, "", 0,
                "a window of this key has room for %" PRIu64
                " signatures and the batch asks for %" PRIu64
                ": none was made; send fewer at a time",
                cap, asked);
}

enum rc bulk_fits(struct batch *b, struct job *jobs, size_t count, struct reply *whole,
                  struct err *err)
{
    MUST(count <= REQUEST_BATCH_MAX);
    struct look *looks = calloc(count, sizeof(*looks));
    if (looks == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", 0, "no memory for a batch");
    enum rc rc = RC_OK;
    const struct look *full = NULL;
    for (size_t i = 0; i < count && rc == RC_OK; i++) {
        struct err e = {0};
        enum rc fits =
            artifact_open(&jobs[i].artifact, jobs[i].request, -1, b->key->plan.message, &e);
        if (fits != RC_OK) {
            job_refuse(&jobs[i], fits, &e);
            continue;
        }
        if (is_second(b, jobs, looks, i))
            continue;
        rc = look_at(b, &jobs[i], &looks[i], err);
        if (rc == RC_OK && full == NULL && window_is_full(&looks[i]))
            full = &looks[i];
    }
    if (rc == RC_OK)
        rc = too_many(b, looks, count, err);
    if (rc == RC_OK && full != NULL) {
        *whole = full->reply;
        whole->op = REQUEST_BATCH;
        rc = FAIL(err, RC_RETRY_WINDOW_FULL, "", 0, "%s: none was made", whole->text);
    }
    if (rc == RC_OK)
        rc = compare(b, looks, count, whole, err);
    free(looks);
    return rc;
}

/* Answering ----------------------------------------------------------------------------------- */

bool bulk_done(const struct bulk *bulk)
{
    for (size_t i = 0; i < bulk->count; i++)
        if (!bulk->jobs[i].done)
            return false;
    return true;
}

bool bulk_refused_whole(const struct bulk *bulk)
{
    enum rc rc = (enum rc)bulk->replies[0].rc;
    enum rc_class class = rc_class(rc);
    if (class != RC_CLASS_RETRY && class != RC_CLASS_HALT && rc != RC_REFUSED_NO_KEY)
        return false;
    for (size_t i = 0; i < bulk->count; i++)
        if (bulk->replies[i].rc != bulk->replies[0].rc || bulk->jobs[i].life != LIFE_REFUSED)
            return false;
    return true;
}

enum rc bulk_pack(struct bulk *bulk, void **payload, size_t *len, struct err *err)
{
    size_t at = bulk->count * sizeof(struct reply);
    *len = at;
    for (size_t i = 0; i < bulk->count; i++) {
        bulk->replies[i].payload_len = bulk->jobs[i].signature_len;
        *len += bulk->jobs[i].signature_len;
    }
    uint8_t *bytes = malloc(*len);
    *payload = bytes;
    if (bytes == NULL)
        return FAIL(err, RC_HALT_SYSTEM, "errno", 0,
                    "no memory for the answer: send the same request again");
    memcpy(bytes, bulk->replies, at);
    for (size_t i = 0; i < bulk->count; i++) {
        if (bulk->jobs[i].signature_len > 0)
            memcpy(bytes + at, bulk->jobs[i].signature, bulk->jobs[i].signature_len);
        at += bulk->jobs[i].signature_len;
    }
    return RC_OK;
}
