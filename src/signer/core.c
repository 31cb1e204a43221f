#include "signer/core.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
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
#include "signer/ahead.h"
#include "signer/crew.h"
#include "signer/follow.h"
#include "signer/loop.h"

#define QUEUE_MAX 1024
#define HASHERS 2 /* threads for large artifacts: one of them alone does not hold up all others */
#define LOCK_WAIT_MS 10000
#define STUCK_MS 5000 /* no command of a TPM in order takes that long */
#define STUCK_RETRY_S 10
#define LOOK_MS 500
#define NS_PER_S INT64_C(1000000000)
#define PATIENCE_PART 4 /* of the last turn's time is waited for more requests */
#define PATIENCE_NS_MAX INT64_C(50000000)

struct fifo {
    struct item *first;
    struct item **last;
    size_t count;
};

struct core {
    const struct core_config *config;
    const struct world *world;
    int front, control;
    uint64_t generation;
    struct core_settings settings; /* of now; signer.limits points here */
    struct signer_config signer;

    pthread_mutex_t lock;
    pthread_cond_t ready_cond, hash_cond, room_cond;
    struct fifo ready, hash;
    bool closed;      /* the front is gone: no more items will come */
    unsigned hashers; /* that are still there */
    struct {
        char name[NAME_LEN_MAX + 1];
        enum plan_message mode;
    } modes[SIGNER_KEYS_MAX];
    size_t mode_count;
    struct follow *follow; /* artifacts that still arrive */

    /* Set by the signer thread; the lock is for who reads them while pushing. */
    size_t expected;     /* so many requests are likely to come for the next turn */
    int64_t patience_ns; /* and so long they are waited for */
    bool answered;       /* somebody was, in this turn */
    size_t behind;       /* so many requests were waiting then */
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
    artifact_unmap(&item->request, item->mapped);
    free(item->behind);
    artifact_pass_close(&item->pass);
    free(item);
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
    if (reply->op == REQUEST_UPLOAD)
        return; /* nobody waits for one, whatever became of it */
    reply->payload_len = len;
    bool behind = len > 0 && len <= REPLY_BEHIND_MAX;
    if (len > 0 && !behind) {
        fd = payload_fd(payload, len);
        if (fd < 0) {
            /* Not RETRY, which says that nothing was used: the signature may be made and stored. */
            reply->rc = RC_HALT_SYSTEM;
            reply->payload_len = 0;
            strcpy(reply->text, "no memory for the answer: send the same request again");
        }
    }
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec data[2] = {{.iov_base = reply, .iov_len = sizeof(*reply)},
                            {.iov_base = (void *)(uintptr_t)payload, .iov_len = len}};
    struct msghdr message = {.msg_iov = data, .msg_iovlen = behind ? 2 : 1};
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

/* A stuck TPM ----------------------------------------------------------------------------------

 * Only the signer thread may answer for ledger and keys, and it is waiting for the TPM until the
 * watchdog ends the process. Whoever asks meanwhile learns that, and so do those who wait in the
 * queue: nothing has happened to their requests. */

static bool is_stuck(char *text, size_t size)
{
    uint32_t ms = tpm_waits_ms();
    (void)snprintf(text, size, "%s: one has been under way for %u s",
                   tpm_trouble_text(TPM_TROUBLE_STUCK), ms / 1000);
    return ms >= STUCK_MS;
}

static void refuse_stuck(struct core *core, struct item *item, const char *text)
{
    struct err err = {0};
    enum rc rc = FAIL(&err, RC_RETRY_ANCHOR, "", 0, "%s", text);
    item_refuse(item, rc, TPM_TROUBLE_STUCK, &err);
    item->reply.retry_after_s = STUCK_RETRY_S;
    send_reply(core, &item->reply, NULL, 0);
    item_free(item);
}

static void look_after_queue(struct core *core)
{
    char text[ERR_TEXT_MAX];
    while (is_stuck(text, sizeof(text))) {
        (void)pthread_mutex_lock(&core->lock);
        struct item *item = fifo_pop(&core->ready);
        (void)pthread_cond_broadcast(&core->room_cond);
        (void)pthread_mutex_unlock(&core->lock);
        if (item == NULL)
            return;
        refuse_stuck(core, item, text);
    }
}

/* Wait for the next message, and look after those that were taken before. Always true. */
static bool wait_message(struct core *core)
{
    struct pollfd p = {.fd = core->front, .events = POLLIN};
    while (poll(&p, 1, LOOK_MS) == 0)
        look_after_queue(core);
    return true;
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

/* The first look at a large one, or the rest of it. */
static void hash_unread(struct core *core, struct item *item, enum plan_message mode)
{
    struct artifact *a = &item->job.artifact;
    struct artifact_look look CLEANUP(artifact_look_close) = {0};
    if (!follow_take(core->follow, &item->request, item->fd, mode, &look)) {
        item->rc = artifact_open_for(a, &item->request, item->fd, mode, &item->pass, &item->err);
        return;
    }
    artifact_pass_close(&item->pass); /* it was hashed for the index that was foreseen earlier */
    item->rc = artifact_open_rest(a, &item->request, item->fd, &look, &item->err);
}

static void hash_item(struct core *core, struct item *item)
{
    enum plan_message mode = mode_of(core, &item->request);
    struct artifact *a = &item->job.artifact;
    if (item->unread)
        hash_unread(core, item, mode);
    else if (item->passes > 0)
        item->rc = artifact_pass_run(&item->pass, a, &item->err);
    else if (item->behind != NULL || item->mapped != NULL)
        item->rc = artifact_open_bytes(a, &item->request,
                                       item->behind != NULL ? item->behind : item->mapped, mode,
                                       &item->err);
    else
        item->rc = artifact_open(a, &item->request, item->fd, mode, &item->err);
    item->unread = false;
}

/* What is small is hashed at once; of most of it the bytes stay at hand until it is signed. */
static void hash_small(struct core *core, struct item *item)
{
    if (item->fd >= 0)
        item->mapped = artifact_map(&item->request, item->fd);
    if (item->mapped != NULL)
        fd_close(&item->fd);
    hash_item(core, item);
}

static void push_ready(struct core *core, struct item *item)
{
    (void)pthread_mutex_lock(&core->lock);
    while (core->ready.count >= QUEUE_MAX)
        (void)pthread_cond_wait(&core->room_cond, &core->lock);
    fifo_push(&core->ready, item);
    /* The signer thread is woken for the first, and then for the last that it waits for. */
    if (core->ready.count == 1 || core->ready.count >= core->expected)
        (void)pthread_cond_signal(&core->ready_cond);
    (void)pthread_mutex_unlock(&core->lock);
}

/* What stood behind a request in its message. One byte more than may, so that more is seen. */
struct behind {
    size_t len;
    uint8_t bytes[REQUEST_BEHIND_MAX + 1];
};

/* One message, and what may come with it. @return bytes, 0 at the end, -1 on error. */
static ssize_t receive(struct core *core, struct request *request, struct behind *behind, int *fd)
{
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec data[2] = {{.iov_base = request, .iov_len = sizeof(*request)},
                            {.iov_base = behind->bytes, .iov_len = sizeof(behind->bytes)}};
    struct msghdr message = {.msg_iov = data,
                             .msg_iovlen = 2,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    *fd = -1;
    ssize_t got = 0;
    do
        got = recvmsg(core->front, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (got < 0 && (errno == EINTR || (errno == EAGAIN && wait_message(core))));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); got > 0 && c != NULL;
         c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
            c->cmsg_len == CMSG_LEN(sizeof(int)))
            memcpy(fd, CMSG_DATA(c), sizeof(int));
    }
    behind->len = got > (ssize_t)sizeof(*request) ? (size_t)got - sizeof(*request) : 0;
    return got;
}

/* From here on the body is the core's own: nobody else can change it. */
static void keep_behind(struct item *item, const struct behind *behind)
{
    if (item->rc != RC_OK || behind->len == 0)
        return;
    item->behind = malloc(behind->len);
    if (item->behind == NULL)
        item->rc = FAIL(&item->err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory for a body");
    else
        memcpy(item->behind, behind->bytes, behind->len);
}

static void *intake(void *argument)
{
    static struct behind behind; /* there is one intake */
    struct core *core = argument;
    for (;;) {
        struct item *item = calloc(1, sizeof(*item));
        if (item == NULL) {
            (void)usleep(10000); /* the front keeps its messages until there is memory */
            continue;
        }
        ssize_t got = receive(core, &item->request, &behind, &item->fd);
        if (got <= 0) {
            item_free(item);
            break;
        }
        if ((size_t)got < sizeof(item->request)) {
            log_event(LOG_LEVEL_ERROR, &LOG_NOTHING, "message of %zd bytes from the front", got);
            item_free(item);
            continue;
        }
        item->rc =
            request_check(&item->request, core->generation, item->fd >= 0, behind.len, &item->err);
        keep_behind(item, &behind);
        item->job.artifact.fd = -1;
        bool hash = item->rc == RC_OK && item->request.op == REQUEST_SIGN;
        item->unread = (hash && item->request.body_len > ARTIFACT_LARGE) ||
                       (item->rc == RC_OK && item->request.op == REQUEST_UPLOAD);
        if (hash && !item->unread)
            hash_small(core, item);
        push_ready(core, item);
        look_after_queue(core);
    }
    (void)pthread_mutex_lock(&core->lock);
    core->closed = true;
    (void)pthread_cond_broadcast(&core->hash_cond);
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
            core->hashers--;
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

/* Signer thread ------------------------------------------------------------------------------- */

static int64_t now_ns(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* Until so many are ready, or that moment. The lock is held. */
static void wait_ready(struct core *core, size_t count, int64_t until_ns)
{
    const struct timespec until = {.tv_sec = until_ns / NS_PER_S,
                                   .tv_nsec = (long)(until_ns % NS_PER_S)};
    while (core->ready.count < count && core->hashers > 0)
        if (pthread_cond_timedwait(&core->ready_cond, &core->lock, &until) == ETIMEDOUT)
            return;
}

/* Who was answered in the last turn, or waited then, is likely to be there again at once. Begun
 * with the first of them, the next turn would leave the others to the one behind it, and each turn
 * costs its TPM commands and syncs however many it serves. One client waits for nobody. */
static void expect_more(struct core *core, size_t count, int64_t began_ns)
{
    if (count == 0)
        return;
    int64_t patience_ns = (now_ns() - began_ns) / PATIENCE_PART;
    (void)pthread_mutex_lock(&core->lock);
    size_t expected = count + core->behind;
    core->expected = expected < BATCH_MAX ? expected : BATCH_MAX;
    core->patience_ns = patience_ns < PATIENCE_NS_MAX ? patience_ns : PATIENCE_NS_MAX;
    core->answered = false;
    (void)pthread_mutex_unlock(&core->lock);
}

/* Everything that is ready, at most BATCH_MAX. @return false at the end of all work. */
static bool take_ready(struct core *core, struct item **items, size_t *count, uint32_t wait_ms)
{
    *count = 0;
    (void)pthread_mutex_lock(&core->lock);
    wait_ready(core, 1, now_ns() + (int64_t)wait_ms * 1000000);
    if (core->ready.count > 0)
        wait_ready(core, core->expected, now_ns() + core->patience_ns);
    while (*count < BATCH_MAX && core->ready.first != NULL)
        items[(*count)++] = fifo_pop(&core->ready);
    bool more = *count > 0 || core->hashers > 0;
    (void)pthread_cond_broadcast(&core->room_cond);
    (void)pthread_mutex_unlock(&core->lock);
    return more;
}

static void answer(void *ctx, struct item *item, const void *payload, size_t len)
{
    struct core *core = ctx;
    if (!core->answered) {
        (void)pthread_mutex_lock(&core->lock);
        core->behind = core->ready.count;
        (void)pthread_mutex_unlock(&core->lock);
        core->answered = true;
    }
    send_reply(core, &item->reply, payload, len);
    item_free(item);
}

/* A large artifact, for the index that it would sign at. The signer thread must not wait for room
 * here, since those who make it may wait for the signer thread; what it puts back is bounded by
 * what it was given. */
static void read_again(void *ctx, struct item *item)
{
    struct core *core = ctx;
    if (item->request.op == REQUEST_UPLOAD) {
        follow_begin(core->follow, &item->request, &item->fd, mode_of(core, &item->request),
                     &item->pass);
        item_free(item);
        return;
    }
    (void)pthread_mutex_lock(&core->lock);
    bool late = core->hashers == 0; /* the front is gone, and with it who could be answered */
    bool full = !late && core->hash.count >= QUEUE_MAX;
    if (!late && !full)
        fifo_push(&core->hash, item);
    (void)pthread_cond_signal(&core->hash_cond);
    (void)pthread_mutex_unlock(&core->lock);
    if (full) {
        struct err err = {0};
        enum rc rc = FAIL(&err, RC_RETRY_BUSY, "", 0, "too many large artifacts wait to be read");
        item_refuse(item, rc, TPM_TROUBLE_NONE, &err);
        item->reply.retry_after_s = STUCK_RETRY_S;
        send_reply(core, &item->reply, NULL, 0);
    }
    if (late || full)
        item_free(item);
}

/* Artifacts are hashed before the signer thread sees them, so the intake must know how. */
static void remember_modes(void *ctx, const struct signer *signer)
{
    struct core *core = ctx;
    (void)pthread_mutex_lock(&core->lock);
    const char *name = NULL;
    enum plan_message mode = PLAN_RAW;
    size_t i = 0;
    for (; signer_key_at(signer, i, &name, &mode); i++) {
        strcpy(core->modes[i].name, name);
        core->modes[i].mode = mode;
    }
    core->mode_count = i;
    (void)pthread_mutex_unlock(&core->lock);
}

static void opening(void *ctx)
{
    const struct core *core = ctx;
    pulse_long_work(core->config->pulse, true);
}

/* The supervisor has read and checked them. Between two turns nobody looks at the old ones. */
static void take_settings(struct core *core, struct loop *loop)
{
    struct core_settings news;
    struct pollfd p = {.fd = core->control, .events = POLLIN};
    if (poll(&p, 1, 0) <= 0)
        return;
    ssize_t got = recv(core->control, &news, sizeof(news), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        core->control = -1; /* the supervisor is gone; poll() passes over it from here on */
    if (got != (ssize_t)sizeof(news) || news.limits_count > SIGNER_KEYS_MAX + 1)
        return;
    core->settings = news;
    core->signer.limits_count = news.limits_count;
    if (news.log_level != 0)
        log_level_set((enum log_level)news.log_level);
    loop_limits(loop);
}

/* The signer thread has come round: what it says of itself is true as of now. */
static void beat(const struct core *core, const struct loop *loop)
{
    pulse_state(core->config->pulse, loop_state(loop));
    pulse_long_work(core->config->pulse, false);
    pulse_beat(core->config->pulse);
}

static enum core_exit run(struct core *core)
{
    const struct loop_sink sink = {.ctx = core,
                                   .answer = answer,
                                   .read_again = read_again,
                                   .opened = remember_modes,
                                   .opening = opening};
    struct loop loop;
    loop_start(&loop, &core->signer, core->config->idle_ms, core->world, &sink);
    bool more = true;
    enum rc rc = RC_OK;
    while (more && rc == RC_OK) {
        struct item *items[BATCH_MAX];
        size_t count = 0;
        struct err err = {0};
        beat(core, &loop);
        more = take_ready(core, items, &count, (uint32_t)loop_wait_ms(&loop));
        take_settings(core, &loop);
        int64_t began_ns = now_ns();
        rc = loop_turn(&loop, items, count, &err);
        expect_more(core, count, began_ns);
        if (rc != RC_OK)
            log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err},
                      "the core ends: the next one decides from ledger and TPM");
    }
    loop_end(&loop, rc == RC_OK);
    return rc == RC_OK ? CORE_EXIT_OK : CORE_EXIT_HALT;
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

static void *follower(void *argument)
{
    struct core *core = argument;
    follow_run(core->follow);
}

static bool start_threads(struct core *core)
{
    pthread_t thread;
    core->hashers = HASHERS;
    for (unsigned i = 0; i < HASHERS; i++)
        if (pthread_create(&thread, NULL, hasher, core) != 0)
            return false;
    return pthread_create(&thread, NULL, follower, core) == 0 &&
           pthread_create(&thread, NULL, intake, core) == 0;
}

enum core_exit core_run(const struct core_config *config, const struct world *world, int front,
                        int control, uint64_t generation)
{
    static struct core core;
    core = (struct core){.config = config,
                         .world = world,
                         .front = front,
                         .control = control,
                         .generation = generation,
                         .settings = config->settings,
                         .signer = config->signer};
    core.signer.limits = core.settings.limits;
    core.signer.limits_count = core.settings.limits_count;
    int lock CLEANUP(fd_close) = -1;
    struct err err = {0};
    /* Before the TPM is touched: an old core that is stuck there must be gone first. */
    if (lock_take(config->signer.state_dirfd, CORE_LOCK, LOCK_WAIT_MS, &lock, &err) != RC_OK) {
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err}, "no core lock");
        return CORE_EXIT_BUSY;
    }
    core_init(&core);
    struct crew *crew = NULL;
    struct ahead *ahead = NULL;
    if (crew_open(&crew, &err) != RC_OK || ahead_open(&ahead, crew_hands(crew), &err) != RC_OK ||
        follow_open(&core.follow, &err) != RC_OK) {
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err}, "no threads");
        return CORE_EXIT_HALT;
    }
    static struct world staffed;
    staffed = *world;
    staffed.hands = crew_hands(crew);
    staffed.ahead = ahead;
    core.world = &staffed;
    if (!start_threads(&core)) {
        log_event(LOG_LEVEL_ERROR, &LOG_NOTHING, "no threads");
        return CORE_EXIT_HALT;
    }
    /* The threads end with the process: they own nothing that must be kept. */
    return run(&core);
}
