#include "lib/front_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/secmem.h"
#include "daemon/sandbox.h"
#include "policy/plan.h"

#define PATIENCE_MS 60000

static const char *const plan_texts[2] = {
    "{\"tidemark_plan\":1,\"key\":\"" RIG_VERSION_KEY "\",\"profile\":\"sp800-208\","
    "\"scheme\":\"lms\",\"parameters\":[\"LMS_SHA256_M24_H20\",\"LMOTS_SHA256_N24_W8\"],"
    "\"message\":\"raw\",\"assignment\":{\"kind\":\"version\",\"format\":\"major.minor.patch\","
    "\"sizes\":{\"minor\":32,\"patch\":16},\"slots\":[\"bootloader\",\"kernel\"],"
    "\"window\":\"minor\",\"order\":\"per-line\"}}",
    "{\"tidemark_plan\":1,\"key\":\"" RIG_TIME_KEY "\",\"profile\":\"cnsa2\",\"scheme\":\"lms\","
    "\"parameters\":[\"LMS_SHA256_M24_H20\",\"LMOTS_SHA256_N24_W8\"],\"message\":\"raw\","
    "\"assignment\":{\"kind\":\"time\",\"start\":\"2026-12-06T00:00:00Z\",\"window\":\"P7D\","
    "\"signatures_per_window\":1024,\"lease_size\":16}}"};

/* Messages ---------------------------------------------------------------------------------------
 */

static void send_message(int fd, const void *data, size_t len, int handle)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (handle >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &handle, sizeof(int));
    }
    ssize_t sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
    if (sent != (ssize_t)len && errno != EPIPE && errno != ECONNRESET)
        (void)fprintf(stderr, "rig: sendmsg: %s\n", strerror(errno));
}

void rig_send(struct rig *rig, struct reply *reply, const void *payload, size_t len)
{
    int fd CLEANUP(fd_close) = -1;
    /* Both ways in turn: behind the reply, and in a handle. */
    if (payload != NULL && reply->payload_len == 0 && len <= REPLY_BEHIND_MAX &&
        reply->number % 2 == 1) {
        uint8_t whole[sizeof(*reply) + REPLY_BEHIND_MAX];
        reply->payload_len = len;
        memcpy(whole, reply, sizeof(*reply));
        memcpy(whole + sizeof(*reply), payload, len);
        send_message(rig->core, whole, sizeof(*reply) + len, -1);
        return;
    }
    if (payload != NULL) {
        fd = memfd_create("payload", MFD_CLOEXEC);
        if (fd < 0 || !pwrite_full(fd, payload, len, 0))
            abort();
        if (reply->payload_len == 0)
            reply->payload_len = len;
    }
    send_message(rig->core, reply, sizeof(*reply), fd);
}

struct reply rig_reply(struct rig *rig, const struct request *request, enum rc rc)
{
    struct reply reply;
    memset(&reply, 0, sizeof(reply));
    reply.magic = REPLY_MAGIC;
    reply.op = request->op;
    reply.generation = request->generation;
    reply.number = request->number;
    reply.rc = (int32_t)rc;
    reply.next = REQUEST_NONE;
    reply.retry_after_s = REQUEST_NONE;
    reply.burned_index = REQUEST_NONE;
    reply.window = REQUEST_NONE;
    reply.window_opens_s = REQUEST_NONE;
    reply.bound_at_s = REQUEST_NONE;
    pthread_mutex_lock(&rig->lock);
    reply.state = rig->state;
    reply.tpm_virtual = rig->tpm_virtual;
    pthread_mutex_unlock(&rig->lock);
    strcpy(reply.tpm, "Example TPM");
    strcpy(reply.check_ledger, "ok");
    strcpy(reply.check_tpm, "ok");
    strcpy(reply.check_clock, "ok");
    strcpy(reply.check_nodes, "ok");
    reply.clock_earliest_ms = INT64_C(1796722560125);
    reply.clock_latest_ms = INT64_C(1796722560250);
    return reply;
}

void rig_signature(uint8_t out[RIG_SIGNATURE_LEN], uint64_t index)
{
    for (size_t i = 0; i < RIG_SIGNATURE_LEN; i++)
        out[i] = (uint8_t)(i * 7 + index);
}

static void copy_plan_sha256(struct rig *rig, size_t which, uint8_t out[32])
{
    pthread_mutex_lock(&rig->lock);
    memcpy(out, rig->plan_sha256[which], 32);
    out[0] ^= rig->wrong_hash ? 1 : 0;
    pthread_mutex_unlock(&rig->lock);
}

struct reply rig_signed(struct rig *rig, const struct rig_request *r)
{
    struct reply reply = rig_reply(rig, &r->request, RC_OK);
    struct signature_view *s = &reply.signature;
    bool by_time = strcmp(r->request.key, RIG_TIME_KEY) == 0;
    memset(s->id, 0xa5, sizeof(s->id));
    strcpy(s->key, r->request.key);
    strcpy(s->version, r->request.version);
    strcpy(s->slot, r->request.slot);
    s->window = 130;
    s->index = 402101;
    copy_plan_sha256(rig, by_time ? 1 : 0, s->plan_sha256);
    memcpy(s->artifact_sha256, r->body_len > 0 ? r->sha256 : r->request.digest, 32);
    s->artifact_size = r->body_len;
    s->signed_at_s = 1796722560;
    s->epoch = 881;
    s->log_index = 20117;
    s->checkpoint_size = 20118;
    s->remaining_window = 1007;
    s->remaining_key = 646475;
    reply.window_limit = 1023;
    reply.window_remaining = 1007;
    reply.window_reset_s = 3600;
    reply.rate_limit = 60;
    reply.rate_remaining = 59;
    reply.rate_reset_s = 60;
    return reply;
}

/* The core that answers by itself ----------------------------------------------------------------
 */

static void answer_sign(struct rig *rig, struct rig_request *r)
{
    uint8_t signature[RIG_SIGNATURE_LEN];
    struct reply reply = rig_signed(rig, r);
    rig_signature(signature, reply.signature.index);
    rig_send(rig, &reply, signature, sizeof(signature));
    fd_close(&r->body);
}

/* A digest that begins with 0xba is signed already, one with 0xbb reserved. */
static void answer_reserve(struct rig *rig, struct rig_request *r)
{
    static const uint8_t prefix[] = {'I', 'q', 0x81, 0x81, 'C'};
    if (r->request.digest[0] == 0xba) {
        uint8_t signature[RIG_SIGNATURE_LEN];
        struct reply reply = rig_signed(rig, r);
        reply.replayed = true;
        rig_signature(signature, reply.signature.index);
        rig_send(rig, &reply, signature, sizeof(signature));
        return;
    }
    struct reply reply = rig_signed(rig, r);
    reply.reserved = true;
    reply.replayed = r->request.digest[0] == 0xbb;
    reply.expires_s = 1796722860;
    strcpy(reply.hash, "sha256/192");
    rig_send(rig, &reply, prefix, sizeof(prefix));
}

/* As a signing request would be answered, with nothing stored. */
static void answer_preview(struct rig *rig, const struct request *request)
{
    struct rig_request r = {.request = *request, .body = -1};
    struct reply reply = rig_signed(rig, &r);
    reply.replayed = request->digest_claimed && request->digest[0] == 0xba;
    rig_send(rig, &reply, NULL, 0);
}

/* Items of even number are signed, the others are bound to something else. */
static void answer_batch(struct rig *rig, struct rig_request *r)
{
    static struct request_item items[REQUEST_BATCH_MAX];
    static uint8_t payload[REQUEST_BATCH_MAX * (sizeof(struct reply) + RIG_SIGNATURE_LEN)];
    size_t count = (size_t)(r->body_len / sizeof(items[0]));
    size_t len = count * sizeof(struct reply);
    if (count > REQUEST_BATCH_MAX)
        abort();
    if (r->behind > 0)
        memcpy(items, r->bytes, r->behind);
    else if (!pread_full(r->body, items, r->body_len, 0))
        abort();
    fd_close(&r->body);
    for (size_t i = 0; i < count; i++) {
        struct rig_request one = {.request = r->request, .body = -1};
        one.request.op = REQUEST_SIGN;
        memcpy(one.request.version, items[i].version, sizeof(items[i].version));
        memcpy(one.request.slot, items[i].slot, sizeof(items[i].slot));
        memcpy(one.request.digest, items[i].digest, sizeof(items[i].digest));
        struct reply reply = rig_reply(rig, &one.request, RC_REFUSED_BOUND);
        if (i % 2 == 0) {
            reply = rig_signed(rig, &one);
            reply.replayed = items[i].digest[0] == 0xcc;
            reply.payload_len = RIG_SIGNATURE_LEN;
            rig_signature(payload + len, reply.signature.index);
            len += RIG_SIGNATURE_LEN;
        }
        memcpy(payload + i * sizeof(reply), &reply, sizeof(reply));
    }
    pthread_mutex_lock(&rig->lock);
    len -= rig->bad_batch ? 1 : 0;
    pthread_mutex_unlock(&rig->lock);
    struct reply whole = rig_reply(rig, &r->request, RC_OK);
    rig_send(rig, &whole, payload, len);
}

#define SENTENCE                                                                                   \
    "I know that router-fw has at most 104755 of its 1047552 signatures left and that nothing "    \
    "can "                                                                                         \
    "add to them."

static void answer_forecast(struct rig *rig, const struct request *request)
{
    struct view_forecast v;
    struct reply reply = rig_reply(rig, request, RC_OK);
    memset(&v, 0, sizeof(v));
    strcpy(v.key, request->key);
    bool by_time = strcmp(request->key, RIG_TIME_KEY) == 0;
    v.total = 1047552;
    v.remaining_key = 104001;
    v.recent = 1000;
    v.recent_s = 1314873;
    v.per_year = by_time ? REQUEST_NONE : 24000;
    v.exhausted_s = by_time ? REQUEST_NONE : 1796722560;
    v.window_full_s = REQUEST_NONE;
    v.plan_ends_s = by_time ? 1996722560 : REQUEST_NONE;
    v.window = by_time ? REQUEST_NONE : 3;
    v.ack_percent = 10;
    rig_send(rig, &reply, &v, sizeof(v));
}

/* One for each key; only the version key's is there to be acknowledged, in these words. */
static void answer_warnings(struct rig *rig, const struct request *request)
{
    struct view_warning v[2];
    enum rc rc = RC_OK;
    if (request->op == REQUEST_WARNING_ACK && request->from != 2)
        rc = RC_REFUSED_NOT_FOUND;
    else if (request->op == REQUEST_WARNING_ACK && strcmp(request->sentence, SENTENCE) != 0)
        rc = RC_REFUSED_INPUT;
    struct reply reply = rig_reply(rig, request, rc);
    memset(v, 0, sizeof(v));
    v[0] = (struct view_warning){.id = 2, .percent = 10, .at_s = 1796722560};
    strcpy(v[0].key, RIG_VERSION_KEY);
    strcpy(v[0].sentence, SENTENCE);
    v[0].acknowledged = request->op == REQUEST_WARNING_ACK;
    v[1] = v[0];
    v[1].id = 3;
    strcpy(v[1].key, RIG_TIME_KEY);
    rig_send(rig, &reply, rc == RC_OK ? v : NULL, rc == RC_OK ? sizeof(v) : 0);
}

static void answer_signature(struct rig *rig, const struct request *request)
{
    uint8_t signature[RIG_SIGNATURE_LEN];
    struct rig_request r = {.request = *request, .body = -1};
    strcpy(r.request.version, "4.2.1");
    strcpy(r.request.slot, "kernel");
    if (request->id[0] != 0xa5) {
        struct reply reply = rig_reply(rig, request, RC_REFUSED_NOT_FOUND);
        rig_send(rig, &reply, NULL, 0);
        return;
    }
    struct reply reply = rig_signed(rig, &r);
    memcpy(reply.signature.id, request->id, 16);
    rig_signature(signature, reply.signature.index);
    if (request->op == REQUEST_RECEIPT)
        rig_send(rig, &reply, "{\"kind\":\"receipt\"}", 18);
    else
        rig_send(rig, &reply, signature, sizeof(signature));
}

static void answer_attestation(struct rig *rig, const struct request *request)
{
    struct reply reply = rig_reply(rig, request, RC_OK);
    pthread_mutex_lock(&rig->lock);
    const char *text = rig->attestation != NULL ? rig->attestation : "{}";
    pthread_mutex_unlock(&rig->lock);
    rig_send(rig, &reply, text, strlen(text));
}

static struct view_key key_view(struct rig *rig, size_t which)
{
    struct view_key v;
    memset(&v, 0, sizeof(v));
    strcpy(v.name, which == 0 ? RIG_VERSION_KEY : RIG_TIME_KEY);
    memset(v.key_id, 0x11, sizeof(v.key_id));
    copy_plan_sha256(rig, which, v.plan_sha256);
    memset(v.public_key, 0x22, sizeof(v.public_key));
    v.public_key_len = 52;
    memset(v.spki, 0x33, sizeof(v.spki));
    v.spki_len = 76;
    v.state = STATE_OPERATIONAL;
    v.floor = which == 0 ? REQUEST_NONE : 3;
    v.min_window = 0;
    v.open_window = which == 0 ? REQUEST_NONE : 3;
    v.epoch = UINT64_C(1) << 60; /* beyond what JSON numbers carry */
    v.signed_total = 7;
    v.burned_total = 2;
    v.remaining_window = 1007;
    v.remaining_key = 646475;
    v.export_limit = REQUEST_NONE;
    return v;
}

static void answer_keys(struct rig *rig, const struct request *request)
{
    struct reply reply = rig_reply(rig, request, RC_OK);
    struct view_key views[2] = {key_view(rig, 0), key_view(rig, 1)};
    if (request->key[0] == '\0')
        rig_send(rig, &reply, views, sizeof(views));
    else if (strcmp(request->key, RIG_VERSION_KEY) == 0)
        rig_send(rig, &reply, &views[0], sizeof(views[0]));
    else
        rig_send(rig, &reply, &views[1], sizeof(views[1]));
}

static void answer_windows(struct rig *rig, const struct request *request)
{
    struct view_window views[3];
    struct reply reply = rig_reply(rig, request, RC_OK);
    memset(views, 0, sizeof(views));
    size_t count = 0;
    for (int64_t w = request->from; w <= request->to && w < 10 && count < 3; w++, count++) {
        struct view_window *v = &views[count];
        v->window = (uint64_t)w;
        (void)snprintf(v->label, sizeof(v->label), "4.%u", (unsigned)w);
        v->state = w < 3 ? WINDOW_CLOSED : WINDOW_OPEN;
        v->opens_s = w == 2 ? REQUEST_NONE : 1796722560;
        v->closes_s = w == 2 ? REQUEST_NONE : 1796722560 + 604800;
        v->first_index = (uint64_t)w * 64;
        v->size = 64;
        v->usable = 32;
        v->signatures = 5;
        v->burned = 1;
        v->remaining = 26;
    }
    if (count == 3 && views[2].window < 9 && request->to > (int64_t)views[2].window)
        reply.next = (int64_t)views[2].window + 1;
    rig_send(rig, &reply, count == 0 ? NULL : views, count * sizeof(views[0]));
}

static void answer_versions(struct rig *rig, const struct request *request)
{
    struct view_version views[2];
    struct reply reply = rig_reply(rig, request, RC_OK);
    memset(views, 0, sizeof(views));
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(views[i].version, sizeof(views[i].version), "%.40s.%zu", request->version,
                       (size_t)request->from + i);
        strcpy(views[i].slot, "kernel");
        views[i].window = 130;
        views[i].index = 402100 + i;
        views[i].state = i == 0 ? INDEX_UNUSED : INDEX_SIGNED;
        memset(views[i].artifact_sha256, 0x44, 32);
        memset(views[i].id, 0xa5, 16);
        views[i].signed_at_s = 1796722560;
    }
    reply.next = 2;
    rig_send(rig, &reply, views, sizeof(views));
}

static void answer_index(struct rig *rig, const struct request *request)
{
    struct view_index view;
    struct reply reply = rig_reply(rig, request, RC_OK);
    memset(&view, 0, sizeof(view));
    view.index = (uint64_t)request->from;
    view.window = 130;
    view.state = INDEX_SIGNED;
    strcpy(view.version, "4.2.1");
    strcpy(view.slot, "kernel");
    view.epoch = 881;
    memset(view.id, 0xa5, 16);
    view.signed_at_s = 1796722560;
    rig_send(rig, &reply, &view, sizeof(view));
}

/* A clock in quarantine, with every member that an answer can have. */
static void answer_clock(struct rig *rig, const struct request *request)
{
    struct reply reply = rig_reply(rig, request, RC_OK);
    struct view_clock view = {.state = "quarantine-fwd",
                              .reasons = "forward,offline",
                              .explained = "the time is later than it can be",
                              .since_s = 1796722560,
                              .wait_s = 60,
                              .earliest_ms = INT64_C(1796722560123),
                              .latest_ms = INT64_C(1796722560123),
                              .error_us = 812,
                              .offset_us = -35,
                              .ref_id = 0xc0000201,
                              .stratum = 2,
                              .floor_ms = INT64_C(1796722000000),
                              .record_ms = INT64_C(1796722000000),
                              .closed_before_s = 1796722000,
                              .tpm_read = true,
                              .tpm_clock_ms = 123456,
                              .tpm_resets = 3,
                              .tpm_age_ms = 2000,
                              .jump_id = 1796722560,
                              .jump_from_s = 1796722000,
                              .jump_to_s = 1796722560,
                              .windows = 3,
                              .one_time_keys = 96,
                              .key_count = 1,
                              .keys = {{RIG_TIME_KEY, 3, 96}}};
    rig_send(rig, &reply, &view, sizeof(view));
}

/* One key, in trouble, and counters that are not 0. */
static void answer_meters(struct rig *rig, const struct request *request)
{
    static struct {
        struct view_meters all;
        struct view_meter key;
    } m;
    struct reply reply = rig_reply(rig, request, RC_OK);
    m.all = (struct view_meters){.state = STATE_OPERATIONAL,
                                 .open = true,
                                 .entries = 20117,
                                 .clock_state = "holdover",
                                 .clock_safe = true,
                                 .clock_error_us = 812,
                                 .clock_offset_us = -35,
                                 .tpm_median_us = 18000,
                                 .tpm_p90_us = 21000,
                                 .tpm_max_us = 40000};
    histogram_add(&m.all.commit, histogram_time_bounds_us, 1500);
    histogram_add(&m.all.commit, histogram_time_bounds_us, 9000000);
    histogram_add(&m.all.batch, view_batch_bounds, 2);
    histogram_add(&m.all.tpm_increment, histogram_time_bounds_us, 19000);
    m.all.codes[view_code_number(RC_BURNED_VERIFY)] = 1;
    m.key = (struct view_meter){.kind = PLAN_TIME,
                                .window = 37,
                                .opens_s = 1795305600,
                                .ends_s = 1795910400,
                                .capacity = 1023,
                                .used = 1019,
                                .burned = 2,
                                .exhausted_s = REQUEST_NONE,
                                .unacknowledged = 1};
    m.key.key = (struct view_key){.name = RIG_TIME_KEY,
                                  .state = STATE_HALTED,
                                  .signed_total = 20000,
                                  .burned_total = 7,
                                  .remaining_window = 2,
                                  .remaining_key = 646475,
                                  .export_limit = REQUEST_NONE,
                                  .wear = {.known = 1,
                                           .w = 38,
                                           .l = 2000,
                                           .a = 80,
                                           .endurance = 100000,
                                           .percent = 2,
                                           .per_year = 1000,
                                           .year = 2126}};
    rig_send(rig, &reply, &m, sizeof(m));
}

static void answer_plan(struct rig *rig, const struct request *request)
{
    struct reply reply = rig_reply(rig, request, RC_OK);
    pthread_mutex_lock(&rig->lock);
    bool first = (strcmp(request->key, RIG_VERSION_KEY) == 0) != rig->wrong_plan;
    pthread_mutex_unlock(&rig->lock);
    const char *text = plan_texts[first ? 0 : 1];
    rig_send(rig, &reply, text, strlen(text));
}

static void answer_by_itself(struct rig *rig, struct rig_request *r)
{
    const struct request *request = &r->request;
    if (request->op == REQUEST_UPLOAD) {
        fd_close(&r->body);
        return;
    }
    bool known = request->key[0] == '\0' || strcmp(request->key, RIG_VERSION_KEY) == 0 ||
                 strcmp(request->key, RIG_TIME_KEY) == 0;
    struct reply reply = rig_reply(rig, request, known ? RC_OK : RC_REFUSED_NO_KEY);
    fd_close(known ? &(int){-1} : &r->body);
    if (!known || request->op == REQUEST_STATE)
        rig_send(rig, &reply, NULL, 0);
    else if (request->op == REQUEST_SIGN || request->op == REQUEST_COMMIT)
        answer_sign(rig, r);
    else if (request->op == REQUEST_RESERVE)
        answer_reserve(rig, r);
    else if (request->op == REQUEST_FORECAST)
        answer_forecast(rig, request);
    else if (request->op == REQUEST_WARNINGS || request->op == REQUEST_WARNING_ACK)
        answer_warnings(rig, request);
    else if (request->op == REQUEST_BATCH)
        answer_batch(rig, r);
    else if (request->op == REQUEST_PREVIEW)
        answer_preview(rig, request);
    else if (request->op == REQUEST_SIGNATURE || request->op == REQUEST_RECEIPT)
        answer_signature(rig, request);
    else if (request->op == REQUEST_ATTEST)
        answer_attestation(rig, request);
    else if (request->op == REQUEST_KEYS)
        answer_keys(rig, request);
    else if (request->op == REQUEST_PLAN)
        answer_plan(rig, request);
    else if (request->op == REQUEST_WINDOWS)
        answer_windows(rig, request);
    else if (request->op == REQUEST_VERSIONS)
        answer_versions(rig, request);
    else if (request->op == REQUEST_METERS)
        answer_meters(rig, request);
    else if (request->op == REQUEST_CLOCK || request->op == REQUEST_CLOCK_ACK)
        answer_clock(rig, request);
    else
        answer_index(rig, request);
}

static void look_at_body(struct rig_request *r)
{
    struct digest digest CLEANUP(digest_close) = {0};
    struct stat status;
    char block[65536];
    r->body_len = r->behind;
    if (r->behind > 0)
        digest_buffer(DIGEST_SHA256, r->sha256, r->bytes, r->behind);
    if (r->body < 0)
        return;
    int seals = fcntl(r->body, F_GET_SEALS);
    int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    r->sealed = seals >= 0 && (seals & all) == all;
    if (fstat(r->body, &status) != 0 || digest_open(&digest, DIGEST_SHA256, NULL) != RC_OK)
        abort();
    r->body_len = (uint64_t)status.st_size;
    off_t at = 0;
    for (ssize_t got; (got = pread(r->body, block, sizeof(block), at)) > 0; at += got)
        digest_update(&digest, block, (size_t)got);
    digest_final(&digest, r->sha256);
}

static bool receive(int fd, struct rig_request *r)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov[2] = {{.iov_base = &r->request, .iov_len = sizeof(r->request)},
                           {.iov_base = r->bytes, .iov_len = sizeof(r->bytes)}};
    struct msghdr msg = {.msg_iov = iov,
                         .msg_iovlen = 2,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    ssize_t got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    r->body = -1;
    const struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (c != NULL && c->cmsg_type == SCM_RIGHTS)
        memcpy(&r->body, CMSG_DATA(c), sizeof(int));
    if (got < (ssize_t)sizeof(r->request) || (msg.msg_flags & MSG_TRUNC) != 0)
        return false;
    r->behind = (size_t)got - sizeof(r->request);
    return true;
}

uint32_t rig_count(struct rig *rig, enum request_op op)
{
    pthread_mutex_lock(&rig->lock);
    uint32_t count = rig->counts[op];
    pthread_mutex_unlock(&rig->lock);
    return count;
}

struct rig_request rig_last(struct rig *rig)
{
    pthread_mutex_lock(&rig->lock);
    struct rig_request last = rig->last;
    pthread_mutex_unlock(&rig->lock);
    return last;
}

void rig_set(struct rig *rig, bool *which, bool value)
{
    pthread_mutex_lock(&rig->lock);
    *which = value;
    pthread_cond_broadcast(&rig->changed);
    pthread_mutex_unlock(&rig->lock);
}

void rig_set_state(struct rig *rig, enum service_state state)
{
    pthread_mutex_lock(&rig->lock);
    rig->state = state;
    pthread_mutex_unlock(&rig->lock);
}

static void wait_while_deaf(struct rig *rig)
{
    pthread_mutex_lock(&rig->lock);
    while (rig->deaf)
        pthread_cond_wait(&rig->changed, &rig->lock);
    pthread_mutex_unlock(&rig->lock);
}

static void *core_run(void *arg)
{
    struct rig *rig = arg;
    struct rig_request r = {.body = -1};
    while (receive(rig->core, &r)) {
        wait_while_deaf(rig);
        struct err err = {0};
        if (request_check(&r.request, rig->generation, r.body >= 0, r.behind, &err) != RC_OK) {
            (void)fprintf(stderr, "rig: bad request from the front: %s\n", err.text);
            abort();
        }
        look_at_body(&r);
        pthread_mutex_lock(&rig->lock);
        rig->counts[r.request.op]++;
        bool hold = rig->manual && request_may_sign(&r.request);
        if (hold && rig->pending_count < RIG_PENDING_MAX)
            rig->pending[rig->pending_count++] = r;
        else if (r.request.op == REQUEST_SIGN || r.request.op == REQUEST_COMMIT ||
                 r.request.op == REQUEST_RESERVE)
            rig->last = r;
        pthread_cond_broadcast(&rig->changed);
        pthread_mutex_unlock(&rig->lock);
        if (!hold)
            answer_by_itself(rig, &r);
    }
    return NULL;
}

static void deadline(struct timespec *at)
{
    clock_gettime(CLOCK_REALTIME, at);
    at->tv_sec += PATIENCE_MS / 1000;
}

void rig_wait_pending(struct rig *rig, size_t count)
{
    struct timespec at;
    deadline(&at);
    pthread_mutex_lock(&rig->lock);
    int failed = 0;
    while (rig->pending_count < count && failed == 0)
        failed = pthread_cond_timedwait(&rig->changed, &rig->lock, &at);
    size_t there = rig->pending_count;
    pthread_mutex_unlock(&rig->lock);
    assert_in_range(there, count, RIG_PENDING_MAX);
}

struct rig_request rig_next(struct rig *rig)
{
    rig_wait_pending(rig, 1);
    pthread_mutex_lock(&rig->lock);
    struct rig_request r = rig->pending[0];
    rig->pending_count--;
    memmove(rig->pending, rig->pending + 1, rig->pending_count * sizeof(r));
    pthread_mutex_unlock(&rig->lock);
    return r;
}

/* Life -------------------------------------------------------------------------------------------
 */

/* Everything for us over the unix socket, and the same under another name over TCP. */
static const struct access *rig_access(void)
{
    static struct access access;
    access = (struct access){.identity_count = 2, .selector_count = 2};
    access.identities[0] =
        (struct access_identity){.name = RIG_LOCAL, .roles = ROLES_ALL, .every_key = true};
    access.identities[1] =
        (struct access_identity){.name = RIG_TCP, .roles = ROLES_ALL, .every_key = true};
    access.selectors[0] =
        (struct access_selector){.identity = 0, .kind = ACCESS_UID, .number = geteuid()};
    access.selectors[1] = (struct access_selector){.identity = 1, .kind = ACCESS_LOOPBACK};
    return &access;
}

struct front_config rig_config(void)
{
    return (struct front_config){.access = rig_access(),
                                 .connections_max = 64,
                                 .requests_max = 16,
                                 .settings = {.body_max = 64 << 20,
                                              .body_memory_max = 1 << 20,
                                              .header_deadline_s = 60,
                                              .body_deadline_s = 60,
                                              .core_deadline_s = 60}};
}

static int listen_unix(struct rig *rig)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(rig->unix_path, sizeof(rig->unix_path), "%s/front.sock", rig->dir);
    strcpy(address.sun_path, rig->unix_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 128), 0);
    return fd;
}

static int listen_tcp(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void hash_plans(struct rig *rig)
{
    for (size_t i = 0; i < 2; i++) {
        struct plan plan CLEANUP(plan_free) = {0};
        struct err err = {0};
        if (plan_parse(&plan, plan_texts[i], strlen(plan_texts[i]), NULL, &err) != RC_OK)
            fail_msg("rig: plan: %s", err.text);
        memcpy(rig->plan_sha256[i], plan.sha256, 32);
    }
}

/* As in the service. Not with sanitizers: their leak checker stops the process at its end to look
 * at it, which no process in the sandbox may. */
static void lock_in(const struct front_config *config)
{
#ifndef TIDEMARK_SANITIZED
    const struct tls_files *tls = &config->tls;
    const struct sandbox sandbox = {.role = SANDBOX_FRONT,
                                    .dirfd = config->spool_dirfd,
                                    .also_read = "",
                                    .files = {tls->certificate, tls->key, tls->trust, tls->crl}};
    struct err err = {0};
    int abi = 0;
    if (sandbox_enter(&sandbox, &abi, &err) == RC_OK)
        return;
    (void)fprintf(stderr, "rig: sandbox: %s\n", err_text(&err));
    _exit(97);
#else
    (void)config;
#endif
}

static _Noreturn void run_front(const struct front_config *config, int control, uint64_t file_max)
{
    struct err err = {0};
    if (file_max > 0) {
        struct rlimit limit = {.rlim_cur = file_max, .rlim_max = file_max};
        (void)signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
            _exit(99);
    }
    if (base_init(&err) != RC_OK)
        _exit(98);
    lock_in(config);
    enum rc rc = front_run(config, control, &err);
    if (rc != RC_OK)
        (void)fprintf(stderr, "rig: front: %s\n", err_text(&err));
    exit(rc == RC_OK ? 0 : 1); /* not _exit: a leak checker wants to see the end */
}

void rig_start_limited(struct rig *rig, struct front_config config, uint64_t file_max)
{
    int pair[2];
    *rig = (struct rig){.core = -1, .state = STATE_OPERATIONAL, .settings = config.settings};
    hash_plans(rig);
    strcpy(rig->dir, "/tmp/tidemark-front-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    config.listeners[0] = listen_unix(rig);
    config.listeners[1] = listen_tcp(&rig->port);
    config.listener_count = 2;
    if (config.tls.certificate[0] != '\0') {
        config.listeners[2] = listen_tcp(&rig->tls_port);
        config.listener_tls[2] = true;
        config.listener_count = 3;
    }
    rig->spool_dirfd = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    config.spool_dirfd = rig->spool_dirfd;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    (void)fflush(NULL);
    rig->front = fork();
    assert_true(rig->front >= 0);
    if (rig->front == 0) {
        (void)close(pair[0]);
        run_front(&config, pair[1], file_max);
    }
    (void)close(pair[1]);
    for (size_t i = 0; i < config.listener_count; i++)
        (void)close(config.listeners[i]);
    rig->control = pair[0];
    pthread_mutex_init(&rig->lock, NULL);
    pthread_cond_init(&rig->changed, NULL);
    rig_core_new(rig);
}

void rig_start(struct rig *rig, struct front_config config)
{
    rig_start_limited(rig, config, 0);
}

void rig_reload(struct rig *rig)
{
    struct front_control control = {.op = FRONT_SETTINGS, .settings = rig->settings};
    send_message(rig->control, &control, sizeof(control), -1);
}

/* Until the front has asked the new core something. */
static void wait_attached(struct rig *rig)
{
    for (int tries = 0; tries < PATIENCE_MS / 5; tries++) {
        struct answered a = client_get(rig, "/health/ready");
        answered_free(&a);
        pthread_mutex_lock(&rig->lock);
        bool asked = rig->counts[REQUEST_STATE] > 0;
        pthread_mutex_unlock(&rig->lock);
        if (asked)
            return;
        (void)usleep(5000);
    }
    fail_msg("rig: the front does not talk to its core");
}

void rig_core_new(struct rig *rig)
{
    int pair[2];
    assert_int_equal(rig->core, -1);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    rig->generation++;
    memset(rig->counts, 0, sizeof(rig->counts));
    rig->core = pair[0];
    struct front_control control = {.op = FRONT_NEW_CORE, .generation = rig->generation};
    send_message(rig->control, &control, sizeof(control), pair[1]);
    (void)close(pair[1]);
    assert_int_equal(pthread_create(&rig->thread, NULL, core_run, rig), 0);
    wait_attached(rig);
}

void rig_core_kill(struct rig *rig)
{
    if (rig->core < 0)
        return;
    (void)shutdown(rig->core, SHUT_RDWR);
    assert_int_equal(pthread_join(rig->thread, NULL), 0);
    fd_close(&rig->core);
}

void rig_stop(struct rig *rig)
{
    int status = 0;
    struct front_control control = {.op = FRONT_STOP};
    send_message(rig->control, &control, sizeof(control), -1);
    assert_int_equal(waitpid(rig->front, &status, 0), rig->front);
    rig_core_kill(rig);
    for (size_t i = 0; i < rig->pending_count; i++)
        fd_close(&rig->pending[i].body);
    (void)close(rig->control);
    (void)close(rig->spool_dirfd);
    (void)unlink(rig->unix_path);
    /* rmdir fails if an upload left something in the spool folder. */
    assert_int_equal(rmdir(rig->dir), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Clients ----------------------------------------------------------------------------------------
 */

int client_unix(const struct rig *rig)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, rig->unix_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

int client_tcp(const struct rig *rig)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(rig->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

bool client_send(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t sent = send(fd, p, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        p += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* Read up to len bytes; 0 at the end, after an error or when time is up. */
static size_t read_some(int fd, void *data, size_t len, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) <= 0)
        return 0;
    ssize_t got = recv(fd, data, len, 0);
    return got > 0 ? (size_t)got : 0;
}

bool client_closed(int fd, int timeout_ms)
{
    char byte;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) > 0 && recv(fd, &byte, 1, 0) <= 0;
}

bool client_ends(int fd, int timeout_ms)
{
    char block[512];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, timeout_ms) > 0)
        if (recv(fd, block, sizeof(block), 0) <= 0)
            return true;
    return false;
}

static const char *find_header(const char *head, const char *name)
{
    size_t len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':')
            return line + len + 1 + strspn(line + len + 1, " ");
    }
    return NULL;
}

const char *answered_header(const struct answered *a, const char *name)
{
    static char value[1024];
    const char *found = find_header(a->head, name);
    if (found == NULL)
        return NULL;
    (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(found, "\r"), found);
    return value;
}

void answered_free(struct answered *a)
{
    free(a->body);
    *a = (struct answered){0};
}

/* One byte at a time, so that nothing of the body or of a next answer is lost. */
static bool read_head(int fd, struct answered *a, int timeout_ms)
{
    size_t len = 0;
    memset(a->head, 0, sizeof(a->head));
    while (len + 1 < sizeof(a->head)) {
        if (read_some(fd, a->head + len, 1, timeout_ms) == 0)
            return false;
        len++;
        if (len >= 4 && memcmp(a->head + len - 4, "\r\n\r\n", 4) == 0)
            return sscanf(a->head, "HTTP/1.1 %d ", &a->status) == 1;
    }
    return false;
}

struct answered client_read(int fd, bool head, int timeout_ms)
{
    struct answered a = {0};
    do {
        if (!read_head(fd, &a, timeout_ms)) {
            a.status = 0;
            return a;
        }
    } while (a.status == 100);
    const char *length = find_header(a.head, "Content-Length");
    bool bodyless = head || a.status == 304; /* which says the length nevertheless */
    size_t expected = bodyless || length == NULL ? 0 : (size_t)strtoul(length, NULL, 10);
    a.body = calloc(1, expected + 1);
    assert_non_null(a.body);
    while (a.len < expected) {
        size_t got = read_some(fd, a.body + a.len, expected - a.len, timeout_ms);
        if (got == 0)
            break;
        a.len += got;
    }
    assert_int_equal(a.len, expected);
    return a;
}

struct answered client_ask(const struct rig *rig, const char *request)
{
    int fd = client_unix(rig);
    /* Whose connection is refused at once may find it closed before all is sent: status 0. */
    (void)client_send(fd, request, strlen(request));
    struct answered a = client_read(fd, strncmp(request, "HEAD ", 5) == 0, PATIENCE_MS);
    (void)close(fd);
    return a;
}

struct answered client_get(const struct rig *rig, const char *path)
{
    char request[4096];
    (void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    return client_ask(rig, request);
}

struct answered client_post(const struct rig *rig, const char *path, const char *headers,
                            const void *body, size_t len)
{
    char request[4096];
    int head = snprintf(request, sizeof(request),
                        "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n%s\r\n", path, len,
                        headers);
    int fd = client_unix(rig);
    assert_true(client_send(fd, request, (size_t)head));
    (void)client_send(fd, body, len); /* may be refused before all of it is sent */
    struct answered a = client_read(fd, false, PATIENCE_MS);
    (void)close(fd);
    return a;
}
