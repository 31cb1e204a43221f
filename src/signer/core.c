#include "signer/core.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"

#define QUEUE_MAX 1024
#define HASH_INLINE_MAX (1024 * 1024) /* larger artifacts go to the hasher */
#define LOCK_WAIT_MS 10000
#define TICK_MS 500
#define REOPEN_MS_MIN 500
#define REOPEN_MS_MAX 15000

/* One request on its way through the core. */
struct item {
    struct item *next;
    struct request request;
    int fd;
    struct job job;
    struct reply reply;
    enum rc rc; /* not RC_OK: refused before it reached the signer */
    struct err err;
};

struct fifo {
    struct item *first;
    struct item **last;
    size_t count;
};

struct core {
    const struct core_config *config;
    const struct world *world;
    int front;
    uint64_t generation;

    pthread_mutex_t lock;
    pthread_cond_t ready_cond, hash_cond, room_cond;
    struct fifo ready, hash;
    bool closed; /* the front is gone: no more items will come */
    bool hasher_done;
    struct {
        char name[NAME_LEN_MAX + 1];
        enum plan_message mode;
    } modes[SIGNER_KEYS_MAX];
    size_t mode_count;

    struct signer *signer; /* NULL while it cannot be opened */
    struct err why;        /* then: the reason */
};

/* Queue --------------------------------------------------------------------------------------- */

static void fifo_init(struct fifo *f)
{
    f->first = NULL;
    f->last = &f->first;
    f->count = 0;
}

static void fifo_push(struct fifo *f, struct item *item)
{
    item->next = NULL;
    *f->last = item;
    f->last = &item->next;
    f->count++;
}

static struct item *fifo_pop(struct fifo *f)
{
    struct item *item = f->first;
    if (item == NULL)
        return NULL;
    f->first = item->next;
    if (f->first == NULL)
        f->last = &f->first;
    f->count--;
    return item;
}

static void item_free(struct item *item)
{
    fd_close(&item->fd);
    free(item->job.signature);
    free(item);
}

/* Intake and hashing -------------------------------------------------------------------------- */

/* While the keys are not known yet the request says what it takes them for; the signer looks again
 * (batch.c). */
static enum plan_message guess(const struct request *request)
{
    if (request->body != REQUEST_BODY_DIGEST)
        return PLAN_RAW;
    return request->digest_kind == DIGEST_SHA512   ? PLAN_SHA512
           : request->digest_kind == DIGEST_SHA384 ? PLAN_SHA384
                                                   : PLAN_SHA256;
}

static enum plan_message mode_of(struct core *core, const struct request *request)
{
    enum plan_message mode = guess(request);
    (void)pthread_mutex_lock(&core->lock);
    for (size_t i = 0; i < core->mode_count; i++)
        if (strcmp(core->modes[i].name, request->key) == 0)
            mode = core->modes[i].mode;
    (void)pthread_mutex_unlock(&core->lock);
    return mode;
}

static void hash_item(struct core *core, struct item *item)
{
    item->rc = artifact_open(&item->job.artifact, &item->request, item->fd,
                             mode_of(core, &item->request), &item->err);
}

static void push_ready(struct core *core, struct item *item)
{
    (void)pthread_mutex_lock(&core->lock);
    while (core->ready.count >= QUEUE_MAX)
        (void)pthread_cond_wait(&core->room_cond, &core->lock);
    fifo_push(&core->ready, item);
    (void)pthread_cond_signal(&core->ready_cond);
    (void)pthread_mutex_unlock(&core->lock);
}

static void push_hash(struct core *core, struct item *item)
{
    (void)pthread_mutex_lock(&core->lock);
    while (core->hash.count >= QUEUE_MAX)
        (void)pthread_cond_wait(&core->room_cond, &core->lock);
    fifo_push(&core->hash, item);
    (void)pthread_cond_signal(&core->hash_cond);
    (void)pthread_mutex_unlock(&core->lock);
}

/* One message and the handle that may come with it. @return bytes, 0 at the end, -1 on error. */
static ssize_t receive(int socket, struct request *request, int *fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec data = {.iov_base = request, .iov_len = sizeof(*request)};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    *fd = -1;
    ssize_t got = 0;
    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); got > 0 && c != NULL;
         c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
            c->cmsg_len == CMSG_LEN(sizeof(int)))
            memcpy(fd, CMSG_DATA(c), sizeof(int));
    }
    return got;
}

static void *intake(void *argument)
{
    struct core *core = argument;
    for (;;) {
        struct item *item = calloc(1, sizeof(*item));
        if (item == NULL) {
            (void)usleep(10000); /* the front keeps its messages until there is memory */
            continue;
        }
        ssize_t got = receive(core->front, &item->request, &item->fd);
        if (got <= 0) {
            item_free(item);
            break;
        }
        if ((size_t)got != sizeof(item->request)) {
            log_event(LOG_LEVEL_ERROR, &LOG_NOTHING, "message of %zd bytes from the front", got);
            item_free(item);
            continue;
        }
        item->rc = request_check(&item->request, core->generation, item->fd >= 0, &item->err);
        item->job.artifact.fd = -1;
        bool hash = item->rc == RC_OK && item->request.op == REQUEST_SIGN;
        if (hash && item->request.body_len > HASH_INLINE_MAX) {
            push_hash(core, item);
            continue;
        }
        if (hash)
            hash_item(core, item);
        push_ready(core, item);
    }
    (void)pthread_mutex_lock(&core->lock);
    core->closed = true;
    (void)pthread_cond_signal(&core->hash_cond);
    (void)pthread_mutex_unlock(&core->lock);
    return NULL;
}

static void *hasher(void *argument)
{
    struct core *core = argument;
    for (;;) {
        (void)pthread_mutex_lock(&core->lock);
        while (core->hash.first == NULL && !core->closed)
            (void)pthread_cond_wait(&core->hash_cond, &core->lock);
        struct item *item = fifo_pop(&core->hash);
        if (item == NULL)
            core->hasher_done = true;
        (void)pthread_cond_broadcast(&core->room_cond);
        if (item == NULL)
            (void)pthread_cond_signal(&core->ready_cond);
        (void)pthread_mutex_unlock(&core->lock);
        if (item == NULL)
            return NULL;
        hash_item(core, item);
        push_ready(core, item);
    }
}

/* Replies ------------------------------------------------------------------------------------- */

static int payload_fd(const void *data, size_t len)
{
    int fd = memfd_create("tidemark-reply", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (pwrite_full(fd, data, len, 0) &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static void send_reply(struct core *core, struct reply *reply, const void *payload, size_t len)
{
    int fd CLEANUP(fd_close) = -1;
    if (len > 0) {
        fd = payload_fd(payload, len);
        if (fd < 0) {
            /* Not RETRY, which says that nothing was used: the signature may be made and stored. */
            reply->rc = RC_HALT_SYSTEM;
            strcpy(reply->text, "no memory for the answer: send the same request again");
        } else {
            reply->payload_len = len;
        }
    }
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec data = {.iov_base = reply, .iov_len = sizeof(*reply)};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    ssize_t sent = 0;
    do
        sent = sendmsg(core->front, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    /* A front that is gone takes no reply; its clients ask again and get the stored signature. */
}

static void refuse(struct core *core, struct item *item, enum rc rc, const struct err *err)
{
    reply_init(&item->reply, &item->request);
    item->reply.rc = (int32_t)rc;
    text_copy(item->reply.text, sizeof(item->reply.text), err_text(err));
    item->reply.state = rc_class(rc) == RC_CLASS_RETRY ? STATE_RECOVERING : STATE_HALTED;
    if (item->request.op == REQUEST_STATE) {
        item->reply.rc = RC_OK;
        text_copy(item->reply.check_ledger, sizeof(item->reply.check_ledger), err_text(err));
        strcpy(item->reply.check_tpm, "unknown");
        strcpy(item->reply.check_clock, "unknown");
        strcpy(item->reply.check_nodes, "unknown");
    }
    send_reply(core, &item->reply, NULL, 0);
    item_free(item);
}

/* Signer thread ------------------------------------------------------------------------------- */

/* Everything that is ready, at most BATCH_MAX. @return false at the end of all work. */
static bool take_ready(struct core *core, struct item **items, size_t *count, uint32_t wait_ms)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += wait_ms / 1000;
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    *count = 0;
    (void)pthread_mutex_lock(&core->lock);
    while (core->ready.first == NULL && !core->hasher_done)
        if (pthread_cond_timedwait(&core->ready_cond, &core->lock, &until) == ETIMEDOUT)
            break;
    while (*count < BATCH_MAX && core->ready.first != NULL)
        items[(*count)++] = fifo_pop(&core->ready);
    bool more = *count > 0 || !core->hasher_done;
    (void)pthread_cond_broadcast(&core->room_cond);
    (void)pthread_mutex_unlock(&core->lock);
    return more;
}

static void remember_modes(struct core *core)
{
    struct request all = {.op = REQUEST_KEYS};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    signer_read(core->signer, &all, &reply, &payload, &len);
    const struct view_key *keys = payload;
    (void)pthread_mutex_lock(&core->lock);
    core->mode_count = 0;
    for (size_t i = 0; i < len / sizeof(*keys) && i < SIGNER_KEYS_MAX; i++) {
        enum plan_message mode = PLAN_RAW;
        if (!signer_message_mode(core->signer, keys[i].name, &mode))
            continue;
        strcpy(core->modes[core->mode_count].name, keys[i].name);
        core->modes[core->mode_count++].mode = mode;
    }
    (void)pthread_mutex_unlock(&core->lock);
    free(payload);
}

static void open_signer(struct core *core)
{
    signer_close(&core->signer, false);
    core->why = (struct err){0};
    enum rc rc = signer_open(&core->signer, &core->config->signer, core->world, &core->why);
    if (rc != RC_OK) {
        core->why.rc = rc;
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &core->why},
                  "the signer cannot be opened");
        return;
    }
    remember_modes(core);
}

static bool worth_reopening(const struct core *core)
{
    if (core->signer != NULL)
        return signer_may_recover(core->signer);
    return rc_class(core->why.rc) == RC_CLASS_RETRY || ledger_may_pass(&core->why);
}

static void send_signed(struct core *core, struct item *item, struct job *job)
{
    item->job = *job; /* takes over the signature's memory */
    send_reply(core, &item->reply, item->job.signature, item->job.signature_len);
    item_free(item);
}

/* Requests of one key side by side, in the order they came: one batch shares one sync. */
static size_t group_by_key(struct item **items, size_t count, struct item **grouped)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i] == NULL)
            continue;
        for (size_t k = i; k < count; k++) {
            if (items[k] == NULL ||
                (k != i && strcmp(items[k]->request.key, items[i]->request.key) != 0))
                continue;
            grouped[n++] = items[k];
            if (k != i)
                items[k] = NULL;
        }
        items[i] = NULL;
    }
    return n;
}

static enum rc sign_items(struct core *core, struct item **items, size_t count, struct err *err)
{
    static struct job jobs[BATCH_MAX];
    struct item *grouped[BATCH_MAX];
    count = group_by_key(items, count, grouped);
    for (size_t i = 0; i < count; i++) {
        reply_init(&grouped[i]->reply, &grouped[i]->request);
        jobs[i] = grouped[i]->job;
        jobs[i].request = &grouped[i]->request;
        jobs[i].reply = &grouped[i]->reply;
    }
    enum rc rc = signer_sign(core->signer, jobs, count, err);
    for (size_t i = 0; i < count; i++)
        send_signed(core, grouped[i], &jobs[i]);
    return rc;
}

static void read_item(struct core *core, struct item *item)
{
    void *payload = NULL;
    size_t len = 0;
    signer_read(core->signer, &item->request, &item->reply, &payload, &len);
    send_reply(core, &item->reply, payload, len);
    free(payload);
    item_free(item);
}

static enum rc serve(struct core *core, struct item **items, size_t count, struct err *err)
{
    struct item *to_sign[BATCH_MAX];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i]->rc != RC_OK)
            refuse(core, items[i], items[i]->rc, &items[i]->err);
        else if (core->signer == NULL)
            refuse(core, items[i], core->why.rc, &core->why);
        else if (items[i]->request.op == REQUEST_SIGN)
            to_sign[n++] = items[i];
        else
            read_item(core, items[i]);
    }
    return n > 0 ? sign_items(core, to_sign, n, err) : RC_OK;
}

/* What is due by the clock, however much is asked meanwhile. Raw milliseconds. */
struct rhythm {
    int64_t tick_at;
    int64_t asked_at; /* when somebody last asked for a signature */
    int64_t reopen_at;
    uint32_t reopen_ms; /* doubles while opening does not help */
};

static int64_t now_ms(const struct core *core)
{
    return core->world->time->raw_ns(core->world->time->ctx) / 1000000;
}

static void reopen(struct core *core, struct rhythm *r, int64_t now)
{
    if (now < r->reopen_at)
        return;
    open_signer(core);
    r->reopen_ms = r->reopen_ms * 2 > REOPEN_MS_MAX ? REOPEN_MS_MAX : r->reopen_ms * 2;
    r->reopen_at = now_ms(core) + r->reopen_ms;
}

static enum rc tick(struct core *core, struct rhythm *r, int64_t now, struct err *err)
{
    /* The clock counts fresh updates and must see every step, so it is asked though nobody signs by
     * it. */
    struct clk_reading reading;
    core->world->clock_read(core->world->clock_ctx, &reading);
    if (core->signer != NULL && reading.safe)
        signer_note_time(core->signer, reading.latest_ns / INT64_C(1000000000));
    if (worth_reopening(core)) {
        reopen(core, r, now);
        return RC_OK;
    }
    r->reopen_ms = REOPEN_MS_MIN;
    r->reopen_at = now + r->reopen_ms;
    if (core->signer == NULL || now - r->asked_at < core->config->idle_ms)
        return RC_OK;
    r->asked_at = now;
    return signer_idle(core->signer, err);
}

/* Whoever only reads, a monitor every second, does not keep A from being brought up to date. */
static bool any_signing(struct item *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (items[i]->request.op == REQUEST_SIGN)
            return true;
    return false;
}

static enum core_exit run(struct core *core)
{
    open_signer(core);
    int64_t now = now_ms(core);
    struct rhythm rhythm = {.tick_at = now + TICK_MS,
                            .asked_at = now,
                            .reopen_at = now + REOPEN_MS_MIN,
                            .reopen_ms = REOPEN_MS_MIN};
    for (;;) {
        struct item *items[BATCH_MAX];
        size_t count = 0;
        int64_t wait_ms = rhythm.tick_at > now ? rhythm.tick_at - now : 0;
        bool more = take_ready(core, items, &count, (uint32_t)wait_ms);
        struct err err = {0};
        enum rc rc = RC_OK;
        bool signing = any_signing(items, count);
        if (count > 0)
            rc = serve(core, items, count, &err);
        now = now_ms(core);
        if (signing)
            rhythm.asked_at = now;
        if (rc == RC_OK && more && now >= rhythm.tick_at) {
            rc = tick(core, &rhythm, now, &err);
            now = now_ms(core);
            rhythm.tick_at = now + TICK_MS;
        }
        if (rc != RC_OK) {
            log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err},
                      "the core ends: the next one decides from ledger and TPM");
            return CORE_EXIT_HALT;
        }
        if (!more)
            return CORE_EXIT_OK;
    }
}

static void core_init(struct core *core)
{
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&core->lock, NULL);
    (void)pthread_cond_init(&core->ready_cond, &monotonic);
    (void)pthread_cond_init(&core->hash_cond, NULL);
    (void)pthread_cond_init(&core->room_cond, NULL);
    (void)pthread_condattr_destroy(&monotonic);
    fifo_init(&core->ready);
    fifo_init(&core->hash);
}

enum core_exit core_run(const struct core_config *config, const struct world *world, int front,
                        uint64_t generation)
{
    static struct core core;
    core =
        (struct core){.config = config, .world = world, .front = front, .generation = generation};
    int lock CLEANUP(fd_close) = -1;
    struct err err = {0};
    /* Before the TPM is touched: an old core that is stuck there must be gone first. */
    if (lock_take(config->signer.state_dirfd, CORE_LOCK, LOCK_WAIT_MS, &lock, &err) != RC_OK) {
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err}, "no core lock");
        return CORE_EXIT_BUSY;
    }
    core_init(&core);
    pthread_t threads[2];
    if (pthread_create(&threads[0], NULL, intake, &core) != 0 ||
        pthread_create(&threads[1], NULL, hasher, &core) != 0) {
        log_event(LOG_LEVEL_ERROR, &LOG_NOTHING, "no threads");
        return CORE_EXIT_HALT;
    }
    enum core_exit code = run(&core);
    signer_close(&core.signer, code == CORE_EXIT_OK);
    /* The threads end with the process: they own nothing that must be kept. */
    return code;
}
