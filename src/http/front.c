#include "http/front.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "http/exchange.h"

#define CONNECTION_MEMORY ((size_t)32 * 1024) /* bounds request line and headers together */
#define THREADS 2U                            /* one uploads while one answers */
#define DRAIN_TICKS (5 * TICKS_PER_S)
#define LAST_WORD_TICKS TICKS_PER_S /* to send what core_link_stop() made everyone say */
#define JOBS_MAX 65536U
#define CONNECTIONS_MAX 100000U /* far above what handles allow */
#define TLS_LOOK_TICKS (2 * TICKS_PER_S)
#define ACCEPT_BATCH 32         /* of one listener, before timer and control are looked at again */
#define EVICT_TICKS TICKS_PER_S /* so long everyone may be silent, also when others wait */
#define EVICT_PART 16           /* of all connections, that are closed for others in one tick */
#define REFUSED_TICKS (60 * TICKS_PER_S) /* between two lines about clients beyond their share */

struct service {
    struct front front;
    struct MHD_Daemon *daemon;     /* unix sockets and loopback */
    struct MHD_Daemon *tls_daemon; /* NULL: there is no listener for TLS */
    int timer;
    int control;
    int room;            /* eventfd: a connection was closed while there was no room */
    atomic_bool full;    /* connections_max reached: listeners are not polled */
    bool accept_paused;  /* accept() failed for want of handles: not before the next tick */
    uint64_t refused_at; /* tick of the last line about refused connections */
};

/* Connections come and go ------------------------------------------------------------------------
 */

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct service *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        uint64_t one = 1;
        if (*context != NULL)
            conns_remove(s->front.conns, *context);
        *context = NULL;
        if (atomic_exchange(&s->full, false) && write(s->room, &one, sizeof(one)) < 0)
            return; /* the next tick looks for room, too */
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *context = info == NULL ? NULL : conns_begin(s->front.conns, info->connect_fd);
}

/* Before the handshake: from here on it is ours who gets through it. A connection that is given no
 * credentials has a handshake that fails (tls_no_certificate()), and its deadline, too. */
static void on_tls_connection(void *cls, struct MHD_Connection *connection, void **context,
                              enum MHD_ConnectionNotificationCode what)
{
    struct service *s = cls;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED && *context != NULL)
        tls_end(s->front.tls, conn_tls(*context));
    on_connection(cls, connection, context, what);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (what == MHD_CONNECTION_NOTIFY_STARTED && *context != NULL && info != NULL)
        *conn_tls(*context) = tls_begin(s->front.tls, info->tls_session);
}

/* Somebody waits and there is no room: whoever keeps connections open without a request makes some,
 * the greediest first. So slow clients that hold all of them hold them for a second. */
static void make_room(struct service *s)
{
    uint32_t count = 1 + s->front.config->connections_max / EVICT_PART;
    atomic_store(&s->full, true);
    (void)conns_make_room(s->front.conns, atomic_load(&s->front.now), EVICT_TICKS,
                          count < ACCEPT_BATCH ? count : ACCEPT_BATCH);
}

static void give_to_library(struct service *s, bool tls, int fd,
                            const struct sockaddr_storage *address, socklen_t len)
{
    struct MHD_Daemon *daemon = tls ? s->tls_daemon : s->daemon;
    uint64_t now = atomic_load(&s->front.now);
    uint64_t deadline = now + (uint64_t)atomic_load(&s->front.live.header_deadline_s) * TICKS_PER_S;
    if (!conns_admit(s->front.conns, fd, tls, now, deadline)) {
        (void)close(fd);
        return;
    }
    /* Takes the handle, and closes it when it fails. */
    if (MHD_add_connection(daemon, fd, (const struct sockaddr *)address, len) != MHD_YES)
        conns_forget(s->front.conns, fd);
}

/*
 * We accept connections ourselves and hand them to the library. Left to itself it can neither be
 * told to stop accepting (MHD_quiesce_daemon() races with its own threads and then aborts the
 * process, seen with 0.9.75), nor does it share one limit between listeners and threads.
 */
static void accept_some(struct service *s, bool tls, int listener)
{
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage address;
        socklen_t len = sizeof(address);
        if (conns_count(s->front.conns) >= s->front.config->connections_max) {
            make_room(s);
            return;
        }
        int fd = accept4(listener, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            s->accept_paused = errno == EMFILE || errno == ENFILE || errno == ENOMEM;
            return;
        }
        give_to_library(s, tls, fd, &address, len);
    }
}

/* The HTTP library -------------------------------------------------------------------------------
 */

/* MHD 0.9.77 gave the strictness a new name, with more levels; 1 means the same in both. */
#if MHD_VERSION >= 0x00097701
#define STRICTNESS MHD_OPTION_CLIENT_DISCIPLINE_LVL
#else
#define STRICTNESS MHD_OPTION_STRICT_FOR_CLIENT
#endif

static struct MHD_Daemon *start_daemon(struct service *s, unsigned flags,
                                       MHD_NotifyConnectionCallback notify,
                                       const struct MHD_OptionItem *more)
{
    /* Its limit is divided among its threads, and only backs up the one in accept_some(). */
    unsigned limit = (s->front.config->connections_max + ACCEPT_BATCH) * THREADS;
    return MHD_start_daemon(
        flags | MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET,
        0, NULL, NULL, exchange_handle, &s->front, MHD_OPTION_THREAD_POOL_SIZE, THREADS,
        MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
        STRICTNESS, 1, MHD_OPTION_URI_LOG_CALLBACK, exchange_open, &s->front,
        MHD_OPTION_NOTIFY_COMPLETED, exchange_close, &s->front, MHD_OPTION_NOTIFY_CONNECTION,
        notify, s, MHD_OPTION_ARRAY, more, MHD_OPTION_END);
}

static enum rc start_daemons(struct service *s, struct err *err)
{
    struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    char priorities[] = TLS_PRIORITIES;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)tls_no_certificate()},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, priorities},
        {MHD_OPTION_END, 0, NULL}};
    s->daemon = start_daemon(s, 0, on_connection, none);
    if (s->daemon != NULL && s->front.tls != NULL)
        s->tls_daemon = start_daemon(s, MHD_USE_TLS, on_tls_connection, tls);
    if (s->daemon == NULL || (s->front.tls != NULL && s->tls_daemon == NULL))
        return FAIL(err, RC_HALT_SYSTEM, "microhttpd", 0, "cannot start the HTTP library%s",
                    s->daemon != NULL ? " for TLS" : "");
    return RC_OK;
}

static enum rc prepare_listeners(const struct front_config *config, struct err *err)
{
    for (size_t i = 0; i < config->listener_count; i++) {
        int flags = fcntl(config->listeners[i], F_GETFL);
        if (flags < 0 || fcntl(config->listeners[i], F_SETFL, flags | O_NONBLOCK) != 0)
            return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "listening socket %zu", i);
    }
    return RC_OK;
}

/* Control socket ---------------------------------------------------------------------------------
 */

/* A request that is under way keeps the deadline that it has. */
static void take_settings(struct front *front, const struct front_settings *settings)
{
    atomic_store(&front->live.body_max, settings->body_max);
    atomic_store(&front->live.body_memory_max, settings->body_memory_max);
    atomic_store(&front->live.header_deadline_s, settings->header_deadline_s);
    atomic_store(&front->live.body_deadline_s, settings->body_deadline_s);
    atomic_store(&front->live.core_deadline_s, settings->core_deadline_s);
    if (settings->log_level != 0)
        log_level_set((enum log_level)settings->log_level);
}

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
    if (got == (ssize_t)sizeof(control) && control.op == FRONT_SETTINGS) {
        take_settings(&s->front, &control.settings);
        if (s->front.tls != NULL)
            tls_look(s->front.tls, true);
        return true;
    }
    return false;
}

/* Time -------------------------------------------------------------------------------------------
 */

static void tell_refused(struct service *s, uint64_t now)
{
    if (s->refused_at != 0 && now - s->refused_at < REFUSED_TICKS)
        return;
    uint64_t refused = conns_take_refused(s->front.conns);
    if (refused == 0)
        return;
    s->refused_at = now;
    log_event(LOG_LEVEL_WARNING, &LOG_NOTHING,
              "%" PRIu64 " connections were closed at once: their clients had their share already",
              refused);
}

/* The front asks no clock: it counts the ticks of one timer, which is all that deadlines need. */
static void read_timer(struct service *s)
{
    uint64_t count = 0;
    if (read(s->timer, &count, sizeof(count)) != (ssize_t)sizeof(count))
        return;
    uint64_t now = atomic_fetch_add(&s->front.now, count) + count;
    atomic_store(&s->full, false);
    s->accept_paused = false;
    conns_reap(s->front.conns, now);
    tell_refused(s, now);
    core_link_tick(s->front.link, now);
    if (s->front.tls != NULL && now / TLS_LOOK_TICKS != (now - count) / TLS_LOOK_TICKS)
        tls_look(s->front.tls, false);
    pulse_beat(s->front.config->pulse);
}

static enum rc open_timer(struct service *s, struct err *err)
{
    const long tick_ns = 1000000000L / TICKS_PER_S;
    const struct itimerspec every = {.it_interval = {.tv_nsec = tick_ns},
                                     .it_value = {.tv_nsec = tick_ns}};
    s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (s->timer < 0 || timerfd_settime(s->timer, 0, &every, NULL) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "timer");
    s->room = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->room < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "eventfd");
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

static enum rc open_tls(struct service *s, struct err *err)
{
    const struct front_config *config = s->front.config;
    for (size_t i = 0; i < config->listener_count; i++)
        if (config->listener_tls[i])
            return tls_open(&s->front.tls, &config->tls, err);
    return RC_OK;
}

static enum rc open_all(struct service *s, struct err *err)
{
    const struct front_config *config = s->front.config;
    uint32_t jobs_max = config->connections_max < JOBS_MAX ? config->connections_max : JOBS_MAX;
    uint32_t signs_max = config->requests_max < jobs_max ? config->requests_max : jobs_max;
    enum rc rc = prepare_listeners(config, err);
    if (rc == RC_OK)
        rc = conns_open(&s->front.conns, config->access,
                        &(struct conns_share){.connections = config->peer_connections,
                                              .requests = config->peer_requests},
                        err);
    if (rc == RC_OK)
        rc = plans_open(&s->front.plans, err);
    if (rc == RC_OK)
        rc = core_link_open(&s->front.link, jobs_max, signs_max, err);
    if (rc == RC_OK)
        rc = open_timer(s, err);
    if (rc == RC_OK)
        rc = open_tls(s, err);
    if (rc == RC_OK)
        rc = start_daemons(s, err);
    return rc == RC_RETRY_SYSTEM ? RC_HALT_SYSTEM : rc;
}

/* Jobs end before the library stops, since a suspended connection cannot be closed. */
static void close_all(struct service *s)
{
    core_link_stop(s->front.link);
    if (s->timer >= 0)
        wait_idle(s, LAST_WORD_TICKS);
    if (s->daemon != NULL)
        MHD_stop_daemon(s->daemon);
    if (s->tls_daemon != NULL)
        MHD_stop_daemon(s->tls_daemon);
    core_link_close(&s->front.link);
    plans_close(&s->front.plans);
    conns_close(&s->front.conns);
    tls_close(&s->front.tls);
    fd_close(&s->timer);
    fd_close(&s->room);
}

/* Control, timer, room and then the listeners: those through which somebody can be let in just now.
 * The others have the handle -1, which poll() leaves out. */
static nfds_t watch(const struct service *s, struct pollfd fds[3 + FRONT_LISTENERS_MAX])
{
    const struct front_config *config = s->front.config;
    nfds_t count = 3;
    fds[0] = (struct pollfd){.fd = s->control, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = s->timer, .events = POLLIN};
    fds[2] = (struct pollfd){.fd = s->room, .events = POLLIN};
    if (atomic_load(&s->full) || s->accept_paused)
        return count;
    bool tls = s->front.tls != NULL && tls_ready(s->front.tls);
    for (size_t i = 0; i < config->listener_count; i++) {
        bool in = !config->listener_tls[i] || tls;
        fds[count++] = (struct pollfd){.fd = in ? config->listeners[i] : -1, .events = POLLIN};
    }
    return count;
}

static enum rc serve(struct service *s, struct err *err)
{
    for (;;) {
        struct pollfd fds[3 + FRONT_LISTENERS_MAX];
        uint64_t ignored;
        nfds_t count = watch(s, fds);
        if (poll(fds, count, -1) < 0) {
            if (errno == EINTR)
                continue;
            return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "poll");
        }
        if ((fds[1].revents & POLLIN) != 0)
            read_timer(s);
        if ((fds[2].revents & POLLIN) != 0 && read(s->room, &ignored, sizeof(ignored)) < 0)
            continue;
        if (fds[0].revents != 0 && !read_control(s))
            return RC_OK;
        for (nfds_t i = 3; i < count; i++)
            if (fds[i].revents != 0)
                accept_some(s, s->front.config->listener_tls[i - 3], fds[i].fd);
    }
}

enum rc front_run(const struct front_config *config, int control, struct err *err)
{
    MUST(config->access != NULL);
    MUST(config->listener_count >= 1);
    MUST(config->listener_count <= FRONT_LISTENERS_MAX);
    MUST(config->connections_max >= 1);
    MUST(config->connections_max <= CONNECTIONS_MAX);
    MUST(config->requests_max >= 1);
    struct service s = {.front = {.config = config,
                                  .memory = {.max = config->memory_max},
                                  .spool = {.max = config->spool_max}},
                        .timer = -1,
                        .room = -1,
                        .control = control};
    /* A peer that goes away while it is written to is an error of that write, not a signal. */
    (void)signal(SIGPIPE, SIG_IGN);
    take_settings(&s.front, &config->settings);
    enum rc rc = open_all(&s, err);
    if (rc == RC_OK) {
        log_event(LOG_LEVEL_NOTICE, &LOG_NOTHING, "serving HTTP, libmicrohttpd %s",
                  MHD_get_version());
        rc = serve(&s, err);
        /* Whoever knocks from here on is left to the one who listens next. */
        atomic_store(&s.front.stopping, true);
        wait_idle(&s, DRAIN_TICKS);
    }
    close_all(&s);
    return rc;
}
