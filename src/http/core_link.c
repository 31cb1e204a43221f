#include "http/core_link.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "http/print.h"

#define JOBS_MAX 65536
#define HANDLES_MAX 4 /* room for what a reply should not bring along, to close it */

struct core_link {
    pthread_mutex_t lock;
    pthread_t thread;
    bool threaded;
    int wake; /* eventfd: look at the mailbox */
    /* all below: under the lock */
    int fd; /* changed by the link's thread only, so that it may wait on it without the lock */
    uint64_t generation;
    bool mail; /* the next core is waiting to be attached */
    int mail_fd;
    uint64_t mail_generation;
    bool attached_ever;
    bool stopping;
    uint64_t serial;
    uint32_t jobs_max, signs_max, jobs, signs;
    struct core_job **slots; /* job of number n in slots[n % jobs_max] */
    struct core_job *queue;  /* not yet sent, oldest first; a subset of slots */
    struct core_job **queue_end;
};

static void lock(struct core_link *link)
{
    MUST(pthread_mutex_lock(&link->lock) == 0);
}

static void unlock(struct core_link *link)
{
    MUST(pthread_mutex_unlock(&link->lock) == 0);
}

static void wake(struct core_link *link)
{
    uint64_t one = 1;
    ssize_t put = write(link->wake, &one, sizeof(one));
    (void)put; /* fails only when the counter is full, and then the thread is awake anyway */
}

/* Table ------------------------------------------------------------------------------------------
 */

static bool is_sign(const struct core_job *job)
{
    return request_may_sign(&job->request);
}

/* Give the job a number whose slot is free. There is one: jobs < jobs_max. */
static void enter(struct core_link *link, struct core_job *job)
{
    do {
        link->serial++;
    } while (link->slots[link->serial % link->jobs_max] != NULL);
    job->request.number = link->serial;
    link->slots[link->serial % link->jobs_max] = job;
    link->jobs++;
    if (is_sign(job))
        link->signs++;
}

static void unqueue(struct core_link *link, const struct core_job *job)
{
    for (struct core_job **at = &link->queue; *at != NULL; at = &(*at)->next) {
        if (*at != job)
            continue;
        *at = job->next;
        if (*at == NULL)
            link->queue_end = at;
        return;
    }
}

/* The body is sent, or never will be. */
static void drop_body(struct core_job *job)
{
    fd_close(&job->body);
    free(job->behind);
    job->behind = NULL;
}

/* Take a job out of the table and put it on the list of those to be told. */
static void finish(struct core_link *link, struct core_job *job, enum job_end end,
                   struct core_job **finished)
{
    if (!job->sent)
        unqueue(link, job);
    link->slots[job->request.number % link->jobs_max] = NULL;
    link->jobs--;
    if (is_sign(job))
        link->signs--;
    drop_body(job);
    job->end = end;
    job->next = *finished;
    *finished = job;
}

static void finish_all(struct core_link *link, struct core_job **finished)
{
    for (uint32_t i = 0; i < link->jobs_max; i++)
        if (link->slots[i] != NULL)
            finish(link, link->slots[i], link->slots[i]->sent ? JOB_LOST : JOB_UNSENT, finished);
}

/* Without the lock: done() may take other locks, and the job may be gone when it returns. */
static void tell(struct core_job *finished)
{
    while (finished != NULL) {
        struct core_job *next = finished->next;
        finished->done(finished);
        finished = next;
    }
}

/* Sending ----------------------------------------------------------------------------------------
 */

static ssize_t send_job(int fd, struct core_job *job)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov[2] = {{.iov_base = &job->request, .iov_len = sizeof(job->request)},
                           {.iov_base = job->behind, .iov_len = (size_t)job->request.body_len}};
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = job->behind != NULL ? 2 : 1};
    if (job->body >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &job->body, sizeof(int));
    }
    ssize_t sent;
    do {
        sent = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    return sent;
}

/* Send what is queued until the socket is full or broken; the thread sees both and goes on. */
static void pump(struct core_link *link)
{
    while (link->fd >= 0 && link->queue != NULL) {
        struct core_job *job = link->queue;
        job->request.magic = REQUEST_MAGIC;
        job->request.generation = link->generation;
        if (send_job(link->fd, job) < 0)
            return;
        unqueue(link, job);
        job->sent = true;
        drop_body(job);
    }
}

/* Is the same (key, idempotency key) being signed just now? */
static bool in_flight(const struct core_link *link, const struct request *request)
{
    for (uint32_t i = 0; i < link->jobs_max; i++) {
        const struct core_job *job = link->slots[i];
        if (job != NULL && is_sign(job) && strcmp(job->request.key, request->key) == 0 &&
            strcmp(job->request.idempotency_key, request->idempotency_key) == 0)
            return true;
    }
    return false;
}

static enum rc may_enter(const struct core_link *link, const struct core_job *job, struct err *err)
{
    if (link->stopping || (link->fd < 0 && !link->mail))
        return FAIL(err, RC_RETRY_STARTING, "", 0, "the signing process is not there");
    if (link->jobs == link->jobs_max || (is_sign(job) && link->signs == link->signs_max))
        return FAIL(err, RC_RETRY_BUSY, "", 0, "%" PRIu32 " requests are in progress", link->jobs);
    if (is_sign(job) && job->request.idempotency_key[0] != '\0' && in_flight(link, &job->request))
        return FAIL(err, RC_REFUSED_EXISTS, "", 0, "its first request is still running");
    return RC_OK;
}

enum rc core_link_submit(struct core_link *link, struct core_job *job, struct err *err)
{
    job->payload = -1;
    job->bytes = NULL;
    job->reply = (struct reply){0};
    job->sent = false;
    job->next = NULL;
    lock(link);
    enum rc rc = may_enter(link, job, err);
    if (rc == RC_OK) {
        job->end = JOB_RUNNING;
        enter(link, job);
        *link->queue_end = job;
        link->queue_end = &job->next;
        pump(link);
        /* From here on the job may be finished, and gone, as soon as the lock is. */
        if (link->queue != NULL)
            wake(link);
    }
    unlock(link);
    if (rc != RC_OK)
        drop_body(job);
    return rc;
}

void core_link_tell(struct core_link *link, const struct request *request, int body)
{
    struct core_job job = {.request = *request, .body = body};
    lock(link);
    if (link->fd >= 0 && link->queue == NULL && !link->stopping) {
        job.request.magic = REQUEST_MAGIC;
        job.request.generation = link->generation;
        (void)send_job(link->fd, &job);
    }
    unlock(link);
}

/* Receiving --------------------------------------------------------------------------------------
 */

/* Keep the first handle of a message, close all others. */
static int take_handles(struct msghdr *msg)
{
    int kept = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (kept < 0)
                kept = fd;
            else
                (void)close(fd);
        }
    }
    return kept;
}

/* A reply, and what may stand behind it. */
struct parcel {
    struct reply reply;
    uint8_t bytes[REPLY_BEHIND_MAX];
};

static ssize_t receive(int fd, struct parcel *parcel, int *handle)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(HANDLES_MAX * sizeof(int))];
    } control;
    struct iovec iov[2] = {{.iov_base = &parcel->reply, .iov_len = sizeof(parcel->reply)},
                           {.iov_base = parcel->bytes, .iov_len = sizeof(parcel->bytes)}};
    struct msghdr msg = {.msg_iov = iov,
                         .msg_iovlen = 2,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    ssize_t got;
    do {
        got = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    *handle = got < 0 ? -1 : take_handles(&msg);
    /* A longer message than a reply and its payload can be is no reply. */
    if (got <= 0 || ((msg.msg_flags & MSG_TRUNC) == 0 && (size_t)got >= sizeof(parcel->reply)))
        return got;
    parcel->reply.magic = 0;
    return (ssize_t)sizeof(parcel->reply);
}

/* The payload is in the message or in a handle, and nothing is where it should not be. */
static bool whole(const struct reply *reply, size_t behind, int handle)
{
    if (handle >= 0)
        return behind == 0 && reply->payload_len > 0;
    return behind == reply->payload_len;
}

/* The job that this reply belongs to, or NULL. */
static struct core_job *match(const struct core_link *link, const struct reply *reply,
                              size_t behind, int handle)
{
    if (reply->magic != REPLY_MAGIC || reply->generation != link->generation ||
        !rc_known(reply->rc))
        return NULL;
    struct core_job *job = link->slots[reply->number % link->jobs_max];
    if (job == NULL || !job->sent || job->request.number != reply->number ||
        job->request.op != reply->op)
        return NULL;
    return whole(reply, behind, handle) ? job : NULL;
}

static void deliver(struct core_link *link, struct parcel *parcel, size_t behind, int handle)
{
    struct core_job *finished = NULL;
    lock(link);
    struct core_job *job = match(link, &parcel->reply, behind, handle);
    if (job != NULL) {
        reply_terminate(&parcel->reply);
        job->reply = parcel->reply;
        job->payload = handle;
        /* Without memory the job ends without its payload, and whoever reads it sees that. */
        job->bytes = behind > 0 ? malloc(behind) : NULL;
        if (job->bytes != NULL)
            memcpy(job->bytes, parcel->bytes, behind);
        finish(link, job, JOB_ANSWERED, &finished);
    }
    unlock(link);
    if (job == NULL) {
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING,
                  "dropped a reply of the core that belongs to no request in flight");
        fd_close(&handle);
    }
    tell(finished);
}

/* Read all that is there. false: the core is gone. */
static bool drain(struct core_link *link, int fd)
{
    static struct parcel parcel; /* there is one thread that reads */
    for (;;) {
        int handle = -1;
        ssize_t got = receive(fd, &parcel, &handle);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (got <= 0) {
            fd_close(&handle);
            return false;
        }
        deliver(link, &parcel, (size_t)got - sizeof(parcel.reply), handle);
    }
}

/* Thread -----------------------------------------------------------------------------------------
 */

/* Leave this core and take the one in the mailbox, if there is one. */
static void change_core(struct core_link *link)
{
    struct core_job *finished = NULL;
    lock(link);
    bool had = link->fd >= 0;
    bool mail = link->mail;
    /* Jobs that were queued for the next core before it was attached stay queued for it. */
    if (had)
        finish_all(link, &finished);
    fd_close(&link->fd);
    if (mail) {
        link->fd = link->mail_fd;
        link->generation = link->mail_generation;
        link->mail_fd = -1;
        link->mail = false;
        link->attached_ever = true;
        pump(link);
    }
    unlock(link);
    tell(finished);
    if (had)
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "the core is gone");
    if (mail)
        log_event(LOG_LEVEL_NOTICE, &LOG_NOTHING, "connected to a core");
}

/* What to wait for next. false: stop. */
static bool plan_wait(struct core_link *link, struct pollfd fds[2], bool *mail)
{
    lock(link);
    bool go_on = !link->stopping;
    *mail = link->mail;
    fds[0] = (struct pollfd){.fd = link->wake, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = link->fd, .events = POLLIN};
    if (link->queue != NULL)
        fds[1].events |= POLLOUT;
    unlock(link);
    return go_on;
}

static void *run(void *arg)
{
    struct core_link *link = arg;
    struct pollfd fds[2];
    bool mail = false;
    while (plan_wait(link, fds, &mail)) {
        if (mail) {
            change_core(link);
            continue;
        }
        if (poll(fds, 2, -1) < 0)
            continue;
        uint64_t count;
        if ((fds[0].revents & POLLIN) != 0 && read(link->wake, &count, sizeof(count)) < 0)
            continue;
        if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !drain(link, fds[1].fd))
            change_core(link);
        if ((fds[1].revents & POLLOUT) != 0) {
            lock(link);
            pump(link);
            unlock(link);
        }
    }
    return NULL;
}

void core_link_attach(struct core_link *link, int fd, uint64_t generation)
{
    lock(link);
    fd_close(&link->mail_fd);
    link->mail_fd = fd;
    link->mail_generation = generation;
    link->mail = true;
    wake(link);
    unlock(link);
}

bool core_link_full(struct core_link *link)
{
    lock(link);
    bool full = link->signs == link->signs_max || link->jobs == link->jobs_max;
    unlock(link);
    return full;
}

bool core_link_up(struct core_link *link, bool *ever)
{
    lock(link);
    bool up = link->fd >= 0 || link->mail;
    *ever = link->attached_ever;
    unlock(link);
    return up;
}

void core_link_tick(struct core_link *link, uint64_t now)
{
    struct core_job *finished = NULL;
    lock(link);
    for (uint32_t i = 0; i < link->jobs_max && link->jobs > 0; i++) {
        struct core_job *job = link->slots[i];
        if (job != NULL && now >= job->deadline)
            finish(link, job, job->sent ? JOB_LATE : JOB_UNSENT, &finished);
    }
    unlock(link);
    tell(finished);
}

/* Life -------------------------------------------------------------------------------------------
 */

enum rc core_link_open(struct core_link **link, uint32_t jobs_max, uint32_t signs_max,
                       struct err *err)
{
    MUST(jobs_max >= 1);
    MUST(jobs_max <= JOBS_MAX);
    MUST(signs_max >= 1);
    MUST(signs_max <= jobs_max);
    *link = NULL;
    struct core_link *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory for the link to the core");
    MUST(pthread_mutex_init(&l->lock, NULL) == 0);
    l->fd = -1;
    l->mail_fd = -1;
    l->jobs_max = jobs_max;
    l->signs_max = signs_max;
    l->queue_end = &l->queue;
    l->slots = calloc(jobs_max, sizeof(struct core_job *));
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->threaded = l->slots != NULL && l->wake >= 0 && pthread_create(&l->thread, NULL, run, l) == 0;
    *link = l;
    if (l->threaded)
        return RC_OK;
    core_link_close(link);
    return FAIL(err, RC_RETRY_SYSTEM, "errno", errno, "cannot start the link to the core");
}

void core_link_stop(struct core_link *link)
{
    if (link == NULL)
        return;
    struct core_job *finished = NULL;
    lock(link);
    bool join = link->threaded && !link->stopping;
    link->stopping = true;
    wake(link);
    unlock(link);
    if (join)
        MUST(pthread_join(link->thread, NULL) == 0);
    lock(link);
    if (link->slots != NULL)
        finish_all(link, &finished);
    unlock(link);
    tell(finished);
}

void core_link_close(struct core_link **link)
{
    struct core_link *l = *link;
    if (l == NULL)
        return;
    core_link_stop(l);
    fd_close(&l->fd);
    fd_close(&l->mail_fd);
    fd_close(&l->wake);
    free(l->slots);
    MUST(pthread_mutex_destroy(&l->lock) == 0);
    free(l);
    *link = NULL;
}
