#include "daemon/supervisor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "daemon/host.h"
#include "daemon/world.h"

#define SPOOL_DIR "spool"
#define STOP_WAIT_MS 20000
#define DELAY_MS_MIN 100
#define LIVED_MS 3000 /* a child that lived so long is started again at once */
#define POLL_MS 250

struct child {
    pid_t pid;        /* 0: not running */
    int64_t start_ms; /* when it was started */
    int64_t again_ms; /* not to be started before */
    int64_t delay_ms;
};

struct supervisor {
    const struct config *config;
    pid_t pid;
    struct front_config front_config;
    int state_dirfd, lock, spool_dirfd, signals;
    int control; /* to the front; -1 while there is none */
    struct child front, core;
    uint64_t generation;
    bool stopping;
    char ledger_path[CONFIG_PATH_MAX + sizeof(LEDGER_FILE) + 1];
};

static int64_t now_ms(void)
{
    const struct time_source *t = world_time();
    return t->raw_ns(t->ctx) / 1000000;
}

/* State directory ----------------------------------------------------------------------------- */

enum rc state_dir_open(const char *path, bool create, int *dirfd, int *lock, struct err *err)
{
    *lock = -1;
    if (create && mkdir(path, 0700) != 0 && errno != EEXIST)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "mkdir %s: %s", path, strerror(errno));
    *dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*dirfd < 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno,
                    "the state directory %s cannot be opened: %s", path, strerror(errno));
    struct stat st;
    if (fstat(*dirfd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 0022) != 0) {
        fd_close(dirfd);
        return FAIL(
            err, RC_HALT_STATE_DIR, "", 0,
            "the state directory %s must belong to this user and be writable by nobody else", path);
    }
    enum rc rc = lock_take(*dirfd, SERVICE_LOCK, 0, lock, err);
    if (rc != RC_OK)
        fd_close(dirfd);
    return rc;
}

/* Bodies that a crash left behind are of no use to anybody: O_TMPFILE leaves none. */
static enum rc open_spool(struct supervisor *s, struct err *err)
{
    if (mkdirat(s->state_dirfd, SPOOL_DIR, 0700) != 0 && errno != EEXIST)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "mkdir %s: %s", SPOOL_DIR,
                    strerror(errno));
    s->spool_dirfd = openat(s->state_dirfd, SPOOL_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->spool_dirfd < 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "open %s: %s", SPOOL_DIR,
                    strerror(errno));
    return RC_OK;
}

/* Listeners ----------------------------------------------------------------------------------- */

static enum rc listen_on(int fd, const struct sockaddr *address, socklen_t len, const char *name,
                         struct err *err)
{
    if (fd >= 0 && bind(fd, address, len) == 0 && listen(fd, SOMAXCONN) == 0)
        return RC_OK;
    int saved = errno;
    if (fd >= 0)
        (void)close(fd);
    return FAIL(err, RC_HALT_SYSTEM, "errno", saved, "listen on %s: %s", name, strerror(saved));
}

static enum rc listen_unix(struct supervisor *s, struct err *err)
{
    const char *path = s->config->http_unix;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path[0] == '\0')
        return RC_OK;
    MUST(strlen(path) < sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    (void)unlink(path); /* left by a service before us: we hold its state directory's lock */
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    enum rc rc = listen_on(fd, (struct sockaddr *)&address, sizeof(address), path, err);
    if (rc != RC_OK)
        return rc;
    (void)chmod(path, 0660);
    s->front_config.listeners[s->front_config.listener_count++] = fd;
    return RC_OK;
}

static enum rc listen_tcp(struct supervisor *s, struct err *err)
{
    const char *text = s->config->http_tcp_address;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(s->config->http_tcp_port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons(s->config->http_tcp_port)};
    if (text[0] == '\0')
        return RC_OK;
    bool is_v4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;
    if (!is_v4 && inet_pton(AF_INET6, text, &v6.sin6_addr) != 1)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, "http.tcp_address: %s is no address", text);
    int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    enum rc rc = is_v4 ? listen_on(fd, (struct sockaddr *)&v4, sizeof(v4), text, err)
                       : listen_on(fd, (struct sockaddr *)&v6, sizeof(v6), text, err);
    if (rc == RC_OK)
        s->front_config.listeners[s->front_config.listener_count++] = fd;
    return rc;
}

/* Children ------------------------------------------------------------------------------------ */

static void child_begin(const char *name, const char *title, pid_t supervisor)
{
    /* For ps and top, where otherwise three processes of one name stand. */
    (void)prctl(PR_SET_NAME, title, 0, 0, 0);
    /* The supervisor alone listens to the terminal and to the service manager; without it nobody
     * would look after the child, so it ends too. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor) /* it ended before we asked to be told */
        _exit(CORE_EXIT_BUSY);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    log_open(name);
}

static _Noreturn void front_main(struct supervisor *s, int control)
{
    child_begin("front", "tidemarkd-front", s->pid);
    struct err err = {0};
    enum rc rc = front_run(&s->front_config, control, &err);
    if (rc != RC_OK)
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err},
                  "the front ends");
    _exit(rc == RC_OK ? 0 : 1);
}

static _Noreturn void core_main(struct supervisor *s, int socket)
{
    child_begin("core", "tidemarkd-core", s->pid);
    for (size_t i = 0; i < s->front_config.listener_count; i++)
        (void)close(s->front_config.listeners[i]);
    fd_close(&s->control);
    struct err err = {0};
    struct clk *clock = NULL;
    if (clk_open(&clock, &s->config->settings.clock, world_time(), &err) != RC_OK) {
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err},
                  "the clock cannot be asked");
        _exit(CORE_EXIT_HALT);
    }
    struct tpm_config tpm = s->config->tpm;
    struct world world = {.time = world_time(),
                          .tpm = &world_tpm,
                          .tpm_ctx = &tpm,
                          .clock_sample = world_clock_sample,
                          .clock_ctx = clock,
                          .clock_policy = &s->config->settings.clock};
    struct core_config config = {.signer = {.state_dirfd = s->state_dirfd,
                                            .ledger_path = s->ledger_path,
                                            .settings = s->config->settings,
                                            .limits = s->config->limits,
                                            .limits_count = s->config->limits_count,
                                            .attest_per_minute = s->config->attest_per_minute},
                                 .idle_ms = s->config->idle_ms};
    enum core_exit code = core_run(&config, &world, socket, s->generation);
    _exit((int)code);
}

static enum rc start_front(struct supervisor *s, struct err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "socketpair: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "fork: %s", strerror(errno));
    if (pid == 0) {
        (void)close(pair[0]);
        fd_close(&s->signals);
        fd_close(&s->lock);
        front_main(s, pair[1]);
    }
    (void)close(pair[1]);
    fd_close(&s->control);
    s->control = pair[0];
    s->front.pid = pid;
    s->front.start_ms = now_ms();
    return RC_OK;
}

/* Tell the front about a core's socket, or (fd < 0) to stop. */
static void send_control(struct supervisor *s, uint32_t op, int fd)
{
    struct front_control data = {.op = op, .generation = s->generation};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec iov = {.iov_base = &data, .iov_len = sizeof(data)};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    if (sendmsg(s->control, &message, MSG_NOSIGNAL) < 0)
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "the front takes no messages: %s",
                  strerror(errno));
}

static enum rc start_core(struct supervisor *s, struct err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "socketpair: %s", strerror(errno));
    s->generation++;
    pid_t pid = fork();
    if (pid < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "fork: %s", strerror(errno));
    if (pid == 0) {
        (void)close(pair[0]);
        fd_close(&s->signals);
        core_main(s, pair[1]);
    }
    (void)close(pair[1]);
    send_control(s, FRONT_NEW_CORE, pair[0]);
    (void)close(pair[0]);
    s->core.pid = pid;
    s->core.start_ms = now_ms();
    return RC_OK;
}

static void ended(struct child *child, const char *name, int status, bool stopping,
                  int64_t delay_ms_max)
{
    int64_t now = now_ms();
    child->pid = 0;
    bool lived = now - child->start_ms >= LIVED_MS;
    child->delay_ms = lived ? 0 : child->delay_ms * 2;
    if (!lived && child->delay_ms < DELAY_MS_MIN)
        child->delay_ms = DELAY_MS_MIN;
    if (child->delay_ms > delay_ms_max)
        child->delay_ms = delay_ms_max;
    child->again_ms = now + child->delay_ms;
    if (stopping)
        return;
    if (WIFSIGNALED(status))
        log_event(LOG_LEVEL_ERROR, &LOG_NOTHING, "the %s was ended by signal %d", name,
                  WTERMSIG(status));
    else
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "the %s ended with code %d", name,
                  WEXITSTATUS(status));
}

static void reap(struct supervisor *s)
{
    int status = 0;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
        if (pid == s->front.pid)
            ended(&s->front, "front", status, s->stopping, s->config->restart_delay_ms_max);
        else if (pid == s->core.pid)
            ended(&s->core, "core", status, s->stopping, s->config->restart_delay_ms_max);
    }
}

/* A new front needs a new core: the old one ends by itself when its front is gone. */
static enum rc start_missing(struct supervisor *s, struct err *err)
{
    int64_t now = now_ms();
    enum rc rc = RC_OK;
    if (s->front.pid == 0 && s->core.pid == 0 && now >= s->front.again_ms)
        rc = start_front(s, err);
    if (rc == RC_OK && s->front.pid != 0 && s->core.pid == 0 && now >= s->core.again_ms)
        rc = start_core(s, err);
    return rc;
}

/* Life ---------------------------------------------------------------------------------------- */

static void on_signal(struct supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        if (!s->stopping)
            log_event(LOG_LEVEL_NOTICE, &LOG_NOTHING, "stopping");
        s->stopping = true;
    }
    reap(s);
}

/* How long nothing is due: a child that waits for its start must not wait for the next round too.
 */
static int quiet_ms(const struct supervisor *s)
{
    const struct child *const children[] = {&s->front, &s->core};
    int64_t now = now_ms();
    int64_t quiet = POLL_MS;
    for (size_t i = 0; i < sizeof(children) / sizeof(children[0]); i++) {
        int64_t left = children[i]->again_ms - now;
        if (children[i]->pid == 0 && left >= 0 && left < quiet)
            quiet = left;
    }
    return (int)quiet;
}

static void wait_signal(struct supervisor *s)
{
    struct pollfd p = {.fd = s->signals, .events = POLLIN};
    if (poll(&p, 1, quiet_ms(s)) > 0)
        on_signal(s);
    else
        reap(s);
}

/* Front first: it drains its clients; then the core sees its end of the socket and settles. */
static void stop_children(struct supervisor *s)
{
    (void)sd_notify(0, "STOPPING=1");
    int64_t until = now_ms() + STOP_WAIT_MS;
    if (s->front.pid != 0)
        send_control(s, FRONT_STOP, -1);
    while ((s->front.pid != 0 || s->core.pid != 0) && now_ms() < until)
        wait_signal(s);
    if (s->front.pid != 0)
        (void)kill(s->front.pid, SIGKILL);
    if (s->core.pid != 0)
        (void)kill(s->core.pid, SIGKILL);
}

static enum rc open_signals(struct supervisor *s, struct err *err)
{
    sigset_t mask;
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, SIGTERM);
    (void)sigaddset(&mask, SIGINT);
    (void)sigaddset(&mask, SIGCHLD);
    (void)signal(SIGPIPE, SIG_IGN); /* the TCTI writes without MSG_NOSIGNAL (facts/tpm §11) */
    if (sigprocmask(SIG_BLOCK, &mask, NULL) == 0)
        s->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signals < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "signalfd: %s", strerror(errno));
    return RC_OK;
}

static enum rc prepare(struct supervisor *s, struct err *err)
{
    enum rc rc = state_dir_open(s->config->state_dir, false, &s->state_dirfd, &s->lock, err);
    if (rc != RC_OK)
        return rc;
    if (faccessat(s->state_dirfd, LEDGER_FILE, F_OK, 0) != 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno,
                    "there is no ledger in %s yet: make a key with 'tidemark key new PLAN'",
                    s->config->state_dir);
    (void)snprintf(s->ledger_path, sizeof(s->ledger_path), "%s/%s", s->config->state_dir,
                   LEDGER_FILE);
    rc = open_spool(s, err);
    s->front_config.spool_dirfd = s->spool_dirfd;
    if (rc == RC_OK)
        rc = listen_unix(s, err);
    if (rc == RC_OK)
        rc = listen_tcp(s, err);
    if (rc == RC_OK)
        rc = open_signals(s, err);
    return rc;
}

static void clean_up(struct supervisor *s)
{
    for (size_t i = 0; i < s->front_config.listener_count; i++)
        (void)close(s->front_config.listeners[i]);
    if (s->front_config.listener_count > 0 && s->config->http_unix[0] != '\0')
        (void)unlink(s->config->http_unix);
    fd_close(&s->control);
    fd_close(&s->signals);
    fd_close(&s->spool_dirfd);
    fd_close(&s->lock);
    fd_close(&s->state_dirfd);
}

enum rc supervisor_run(const struct config *config, struct err *err)
{
    struct supervisor s = {.config = config,
                           .pid = getpid(),
                           .front_config = config->front,
                           .state_dirfd = -1,
                           .lock = -1,
                           .spool_dirfd = -1,
                           .signals = -1,
                           .control = -1};
    enum rc rc = prepare(&s, err);
    if (rc == RC_OK)
        rc = start_missing(&s, err);
    if (rc == RC_OK) {
        (void)sd_notify(0, "READY=1\nSTATUS=serving");
        log_event(LOG_LEVEL_NOTICE, &LOG_NOTHING, "tidemarkd is serving %s", config->state_dir);
    }
    while (rc == RC_OK && !s.stopping) {
        wait_signal(&s);
        (void)sd_notify(0, "WATCHDOG=1");
        if (!s.stopping)
            rc = start_missing(&s, err);
    }
    stop_children(&s);
    clean_up(&s);
    return rc;
}
