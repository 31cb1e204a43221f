#include "http/front.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "http/exchange.h"

#define CONNECTION_MEMORY ((size_t)32 * 1024) /* bounds request line and headers together */
#define THREADS 2U                            /* of each listener: one uploads while one answers */
#define DRAIN_TICKS (5 * TICKS_PER_S)
#define LAST_WORD_TICKS TICKS_PER_S /* to send what core_link_stop() made everyone say */
#define JOBS_MAX 65536U

struct service {
    struct front front;
    struct MHD_Daemon *daemons[FRONT_LISTENERS_MAX];
    int timer;
    int control;
};

/* Connections come and go ------------------------------------------------------------------------
 */

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct front *front = cls;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*context != NULL)
            conns_remove(front->conns, *context);
        *context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    uint64_t deadline =
        atomic_load(&front->now) + (uint64_t)front->config->header_deadline_s * TICKS_PER_S;
    *context = info == NULL ? NULL : conns_add(front->conns, info->connect_fd, deadline);
}

/* Daemons of the HTTP library --------------------------------------------------------------------
 */

/* MHD 0.9.77 gave the strictness a new name, with more levels; 1 means the same in both. */
#if MHD_VERSION >= 0x00097701
#define STRICTNESS MHD_OPTION_CLIENT_DISCIPLINE_LVL
#else
#define STRICTNESS MHD_OPTION_STRICT_FOR_CLIENT
#endif

static enum rc start_daemon(struct service *s, size_t i, struct err *err)
{
    const struct front_config *config = s->front.config;
    /* The library closes the socket that it is given, and ours is borrowed. */
    int fd = fcntl(config->listeners[i], F_DUPFD_CLOEXEC, 3);
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        fd_close(&fd);
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "listening socket %zu", i);
    }
    s->daemons[i] = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, exchange_handle,
        &s->front, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE, THREADS,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)config->connections_max,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, STRICTNESS, 1,
        MHD_OPTION_URI_LOG_CALLBACK, exchange_open, &s->front, MHD_OPTION_NOTIFY_COMPLETED,
        exchange_close, &s->front, MHD_OPTION_NOTIFY_CONNECTION, on_connection, &s->front,
        MHD_OPTION_END);
    if (s->daemons[i] != NULL)
        return RC_OK;
    fd_close(&fd);
    return FAIL(err, RC_HALT_SYSTEM, "microhttpd", 0, "cannot serve on listening socket %zu", i);
}

static void stop_daemons(struct service *s)
{
    for (size_t i = 0; i < FRONT_LISTENERS_MAX; i++)
        if (s->daemons[i] != NULL)
            MHD_stop_daemon(s->daemons[i]);
}

/* New connections are left to whoever listens next; those that are there may finish. */
static void stop_listening(struct service *s)
{
    for (size_t i = 0; i < FRONT_LISTENERS_MAX; i++) {
        if (s->daemons[i] == NULL)
            continue;
        int fd = MHD_quiesce_daemon(s->daemons[i]);
        fd_close(&fd);
    }
}

/* Control socket ---------------------------------------------------------------------------------
 */

/* false: stop. */
static bool read_control(struct service *s)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } space;
    struct front_control control = {0};
    struct iovec iov = {.iov_base = &control, .iov_len = sizeof(control)};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &space, .msg_controllen = sizeof(space)};
    ssize_t got = recvmsg(s->control, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    int fd = -1;
    const struct cmsghdr *c = got > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(c), sizeof(int));
    if (got == (ssize_t)sizeof(control) && control.op == FRONT_NEW_CORE && fd >= 0) {
        core_link_attach(s->front.link, fd, control.generation);
        return true;
    }
    fd_close(&fd);
    return false;
}

/* Time -------------------------------------------------------------------------------------------
 */

/* The front asks no clock: it counts the ticks of one timer, which is all that deadlines need. */
static void read_timer(struct service *s)
{
    uint64_t count = 0;
    if (read(s->timer, &count, sizeof(count)) != (ssize_t)sizeof(count))
        return;
    uint64_t now = atomic_fetch_add(&s->front.now, count) + count;
    conns_reap(s->front.conns, now);
    core_link_tick(s->front.link, now);
}

static enum rc open_timer(struct service *s, struct err *err)
{
    const long tick_ns = 1000000000L / TICKS_PER_S;
    const struct itimerspec every = {.it_interval = {.tv_nsec = tick_ns},
                                     .it_value = {.tv_nsec = tick_ns}};
    s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (s->timer < 0 || timerfd_settime(s->timer, 0, &every, NULL) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "timer");
    return RC_OK;
}

/* Until all answers are sent, or for that many ticks. */
static void wait_idle(struct service *s, uint64_t ticks)
{
    uint64_t end = atomic_load(&s->front.now) + ticks;
    while (atomic_load(&s->front.active) > 0 && atomic_load(&s->front.now) < end) {
        struct pollfd fd = {.fd = s->timer, .events = POLLIN};
        if (poll(&fd, 1, -1) > 0)
            read_timer(s);
    }
}

/* Life -------------------------------------------------------------------------------------------
 */

static enum rc open_all(struct service *s, struct err *err)
{
    const struct front_config *config = s->front.config;
    uint64_t jobs = (uint64_t)config->connections_max * config->listener_count;
    uint32_t jobs_max = jobs < JOBS_MAX ? (uint32_t)jobs : JOBS_MAX;
    uint32_t signs_max = config->requests_max < jobs_max ? config->requests_max : jobs_max;
    enum rc rc = conns_open(&s->front.conns, err);
    if (rc == RC_OK)
        rc = plans_open(&s->front.plans, err);
    if (rc == RC_OK)
        rc = core_link_open(&s->front.link, jobs_max, signs_max, err);
    if (rc == RC_OK)
        rc = open_timer(s, err);
    for (size_t i = 0; rc == RC_OK && i < config->listener_count; i++)
        rc = start_daemon(s, i, err);
    return rc == RC_RETRY_SYSTEM ? RC_HALT_SYSTEM : rc;
}

/* Jobs end before the daemons stop, since a suspended connection cannot be closed. */
static void close_all(struct service *s)
{
    core_link_stop(s->front.link);
    if (s->timer >= 0)
        wait_idle(s, LAST_WORD_TICKS);
    stop_daemons(s);
    core_link_close(&s->front.link);
    plans_close(&s->front.plans);
    conns_close(&s->front.conns);
    fd_close(&s->timer);
}

static enum rc serve(struct service *s, struct err *err)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = s->control, .events = POLLIN},
                                {.fd = s->timer, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "poll");
        if ((fds[1].revents & POLLIN) != 0)
            read_timer(s);
        if (fds[0].revents != 0 && !read_control(s))
            return RC_OK;
    }
}

enum rc front_run(const struct front_config *config, int control, struct err *err)
{
    MUST(config->listener_count >= 1);
    MUST(config->listener_count <= FRONT_LISTENERS_MAX);
    MUST(config->connections_max >= THREADS);
    MUST(config->requests_max >= 1);
    struct service s = {.front = {.config = config}, .timer = -1, .control = control};
    /* A peer that goes away while it is written to is an error of that write, not a signal. */
    (void)signal(SIGPIPE, SIG_IGN);
    enum rc rc = open_all(&s, err);
    if (rc == RC_OK) {
        log_event(LOG_LEVEL_NOTICE, &LOG_NOTHING, "serving HTTP, libmicrohttpd %s",
                  MHD_get_version());
        rc = serve(&s, err);
        atomic_store(&s.front.stopping, true);
        stop_listening(&s);
        wait_idle(&s, DRAIN_TICKS);
    }
    close_all(&s);
    return rc;
}
