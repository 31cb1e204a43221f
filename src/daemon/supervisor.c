#include "daemon/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/secmem.h"
#include "daemon/host.h"
#include "daemon/listen.h"
#include "daemon/notify.h"
#include "daemon/sandbox.h"
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
    int control;         /* socket to it; -1 while it does not run */
    struct pulse *pulse; /* shared with it */
    uint64_t beats;      /* seen last, and when they changed */
    int64_t beat_ms;
};

struct supervisor {
    const struct config *config; /* of now */
    const char *config_path;     /* to read it again; NULL: the default */
    struct config spare[2];      /* where it is read to */
    pid_t pid;
    struct front_config front_config;
    int state_dirfd, lock, spool_dirfd, signals;
    bool our_socket; /* the Unix socket's file was made here */
    struct child front, core;
    uint64_t generation;
    struct notify notify;
    bool stopping, hurry, reload;
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
    (void)signal(SIGHUP, SIG_IGN);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    log_open(name);
}

/* The last thing before a child serves: what it needs from outside the sandbox it has by now. */
static enum rc lock_in(const struct supervisor *s, enum sandbox_role role, struct err *err)
{
    const struct tls_files *tls = &s->front_config.tls;
    struct sandbox sandbox = {.role = role,
                              .dirfd = role == SANDBOX_FRONT ? s->spool_dirfd : s->state_dirfd,
                              .tcti = s->config->tcti,
                              .also_read = s->config->also_read};
    int abi = 0;
    if (role == SANDBOX_FRONT) {
        const char *const files[] = {tls->certificate, tls->key, tls->trust, tls->crl};
        memcpy(sandbox.files, files, sizeof(files));
    }
    if (!s->config->sandbox) {
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "the sandbox is off (sandbox.mode)");
        return RC_OK;
    }
    enum rc rc = sandbox_enter(&sandbox, &abi, err);
    if (rc == RC_OK && abi == 0)
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING,
                  "this kernel has no Landlock: system calls are locked, files are not");
    else if (rc == RC_OK)
        log_event(LOG_LEVEL_INFO, &LOG_NOTHING, "locked in: system calls, and Landlock ABI %d",
                  abi);
    return rc;
}

static _Noreturn void front_main(struct supervisor *s, int control)
{
    child_begin("front", "tidemarkd-front", s->pid);
    fd_close(&s->state_dirfd);
    struct err err = {0};
    enum rc rc = lock_in(s, SANDBOX_FRONT, &err);
    if (rc == RC_OK)
        rc = front_run(&s->front_config, control, &err);
    if (rc != RC_OK)
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err},
                  "the front ends");
    _exit(rc == RC_OK ? 0 : 1);
}

static _Noreturn void core_main(struct supervisor *s, int socket, int control)
{
    child_begin("core", "tidemarkd-core", s->pid);
    for (size_t i = 0; i < s->front_config.listener_count; i++)
        (void)close(s->front_config.listeners[i]);
    fd_close(&s->front.control);
    fd_close(&s->spool_dirfd);
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
                          .clock_ctx = clock};
    struct core_config config = {.signer = {.state_dirfd = s->state_dirfd,
                                            .ledger_path = s->ledger_path,
                                            .settings = s->config->settings,
                                            .attest_per_minute = s->config->attest_per_minute,
                                            .access = &s->config->access},
                                 .settings = s->config->core,
                                 .idle_ms = s->config->idle_ms,
                                 .pulse = s->core.pulse};
    (void)tpm_load(s->config->tcti); /* the core says what is wrong, as long as it is */
    if (base_forked(&err) != RC_OK || lock_in(s, SANDBOX_CORE, &err) != RC_OK) {
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err},
                  "the core cannot be locked in");
        _exit(CORE_EXIT_HALT);
    }
    enum core_exit code = core_run(&config, &world, socket, control, s->generation);
    _exit((int)code);
}

/* @param[out] pair  pair[1] is the child's. */
static enum rc make_pair(int pair[2], struct err *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "socketpair: %s", strerror(errno));
    return RC_OK;
}

static void started(struct child *child, pid_t pid, int control)
{
    fd_close(&child->control);
    child->control = control;
    child->pid = pid;
    child->start_ms = now_ms();
    child->beat_ms = child->start_ms;
}

/* As it is before a child comes round for the first time. */
static void reset_pulse(struct child *child)
{
    atomic_store(&child->pulse->beats, 0);
    atomic_store(&child->pulse->long_work, false);
    child->beats = 0;
}

static enum rc start_front(struct supervisor *s, struct err *err)
{
    int pair[2];
    enum rc rc = make_pair(pair, err);
    if (rc != RC_OK)
        return rc;
    reset_pulse(&s->front);
    pid_t pid = fork();
    if (pid < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "fork: %s", strerror(errno));
    if (pid == 0) {
        (void)close(pair[0]);
        fd_close(&s->signals);
        fd_close(&s->lock);
        fd_close(&s->core.control);
        front_main(s, pair[1]);
    }
    (void)close(pair[1]);
    started(&s->front, pid, pair[0]);
    return RC_OK;
}

/* Tell the front about a core's socket, or (fd < 0) to stop, or what has changed. */
static void send_control(struct supervisor *s, uint32_t op, int fd)
{
    struct front_control data = {
        .op = op, .generation = s->generation, .settings = s->front_config.settings};
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
    if (sendmsg(s->front.control, &message, MSG_NOSIGNAL) < 0)
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "the front takes no messages: %s",
                  strerror(errno));
}

static enum rc start_core(struct supervisor *s, struct err *err)
{
    int pair[2];
    int control[2];
    enum rc rc = make_pair(pair, err);
    if (rc == RC_OK)
        rc = make_pair(control, err);
    if (rc != RC_OK)
        return rc;
    s->generation++;
    reset_pulse(&s->core);
    pid_t pid = fork();
    if (pid < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "fork: %s", strerror(errno));
    if (pid == 0) {
        (void)close(pair[0]);
        (void)close(control[0]);
        fd_close(&s->signals);
        core_main(s, pair[1], control[1]);
    }
    (void)close(pair[1]);
    (void)close(control[1]);
    send_control(s, FRONT_NEW_CORE, pair[0]);
    (void)close(pair[0]);
    started(&s->core, pid, control[0]);
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
        if (info.ssi_signo == SIGHUP) {
            s->reload = true;
            continue;
        }
        /* Whoever asks a second time does not want to wait for clients. The core still brings A up
         * to date: that is one command of the TPM, and it has its bound. */
        if (s->stopping)
            s->hurry = true;
        log_event(LOG_LEVEL_NOTICE, &LOG_NOTHING, s->hurry ? "stopping at once" : "stopping");
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

/* Reloading ------------------------------------------------------------------------------------ */

static void hand_over(struct supervisor *s)
{
    s->front_config.settings = s->config->front.settings;
    log_level_set((enum log_level)s->config->core.log_level);
    if (s->front.pid != 0)
        send_control(s, FRONT_SETTINGS, -1);
    if (s->core.pid != 0 && send(s->core.control, &s->config->core, sizeof(s->config->core),
                                 MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "the core takes no messages: %s",
                  strerror(errno));
}

/* All of it or nothing: a file of which one half holds is worse than the old one. */
static void reload(struct supervisor *s)
{
    struct err err = {0};
    struct config *to = s->config == &s->spare[0] ? &s->spare[1] : &s->spare[0];
    s->reload = false;
    notify_reloading(&s->notify);
    enum rc rc = config_read(to, s->config_path, NULL, &err);
    if (rc == RC_OK)
        rc = config_change(s->config, to, &err);
    if (rc != RC_OK) {
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err},
                  "the configuration was not reloaded, the old one holds on");
        notify_reloaded(&s->notify, "the new configuration was refused");
        return;
    }
    bool renews = config_renews(s->config, to);
    s->config = to;
    s->front_config.access = &to->access;
    hand_over(s);
    /* The front ends its requests and then itself, the core settles when it sees that, and both are
     * started again. Who connects meanwhile waits: the listening sockets stay. */
    if (renews && s->front.pid != 0)
        send_control(s, FRONT_STOP, -1);
    log_event(LOG_LEVEL_NOTICE, &LOG_NOTHING, "the configuration was reloaded%s",
              renews ? ": front and core start anew for other identities" : "");
    notify_reloaded(&s->notify, "reloaded");
}

/* Signs of life ------------------------------------------------------------------------------- */

/* One that does not run is being started again: that is the supervisor's work, not its own. */
static bool alive(struct child *child, int64_t late_ms)
{
    uint64_t beats = atomic_load(&child->pulse->beats);
    int64_t now = now_ms();
    if (beats != child->beats || atomic_load(&child->pulse->long_work))
        child->beat_ms = now;
    child->beats = beats;
    return child->pid == 0 || now - child->beat_ms < late_ms;
}

static void look_after(struct supervisor *s)
{
    int64_t late_ms = s->notify.every_ms;
    bool both = alive(&s->front, late_ms);
    /* A TPM that hangs ends the core by itself, after so many seconds. */
    both = alive(&s->core, late_ms + (int64_t)s->config->tpm.watchdog_s * 1000) && both;
    bool definite = s->front.beats > 0 && s->core.beats > 0;
    notify_turn(&s->notify, now_ms(), definite, atomic_load(&s->core.pulse->long_work), both,
                atomic_load(&s->core.pulse->state));
}

/* Stopping ------------------------------------------------------------------------------------- */

/* Front first: it drains its clients; then the core sees its end of the socket and settles. */
static void stop_children(struct supervisor *s)
{
    notify_stopping();
    int64_t until = now_ms() + STOP_WAIT_MS;
    if (s->front.pid != 0)
        send_control(s, FRONT_STOP, -1);
    while ((s->front.pid != 0 || s->core.pid != 0) && now_ms() < until) {
        wait_signal(s);
        if (s->hurry && s->front.pid != 0)
            (void)kill(s->front.pid, SIGKILL);
    }
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
    (void)sigaddset(&mask, SIGHUP);
    (void)sigaddset(&mask, SIGCHLD);
    (void)signal(SIGPIPE, SIG_IGN); /* the TCTI writes without MSG_NOSIGNAL (facts/tpm §11) */
    if (sigprocmask(SIG_BLOCK, &mask, NULL) == 0)
        s->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signals < 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "signalfd: %s", strerror(errno));
    return RC_OK;
}

/* A page for each child: neither can say something for the other. */
static enum rc open_pulse(struct child *child, struct err *err)
{
    void *page =
        mmap(NULL, sizeof(struct pulse), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "mmap: %s", strerror(errno));
    child->pulse = page;
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
        rc = listen_open(s->config, &s->front_config, &s->our_socket, err);
    if (rc == RC_OK)
        rc = open_pulse(&s->front, err);
    if (rc == RC_OK)
        rc = open_pulse(&s->core, err);
    if (rc == RC_OK)
        rc = open_signals(s, err);
    s->front_config.pulse = s->front.pulse;

    return rc;
}

static void child_forget(struct child *child)
{
    fd_close(&child->control);
    if (child->pulse != NULL)
        (void)munmap(child->pulse, sizeof(struct pulse));
}

static void clean_up(struct supervisor *s)
{
    listen_close(s->config, &s->front_config, s->our_socket);
    child_forget(&s->front);
    child_forget(&s->core);
    fd_close(&s->signals);
    fd_close(&s->spool_dirfd);
    fd_close(&s->lock);
    fd_close(&s->state_dirfd);
}

enum rc supervisor_run(const struct config *config, const char *path, struct err *err)
{
    static struct supervisor s;
    const struct rlimit no_core = {0};
    s = (struct supervisor){.config = config,
                            .config_path = path,
                            .pid = getpid(),
                            .front_config = config->front,
                            .front = {.control = -1},
                            .core = {.control = -1},
                            .state_dirfd = -1,
                            .lock = -1,
                            .spool_dirfd = -1,
                            .signals = -1};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    log_level_set((enum log_level)config->core.log_level);
    notify_open(&s.notify);
    s.front_config.access = &config->access;
    enum rc rc = prepare(&s, err);
    if (rc == RC_OK)
        rc = start_missing(&s, err);
    if (rc == RC_OK)
        log_event(LOG_LEVEL_NOTICE, &LOG_NOTHING, "tidemarkd is serving %s", config->state_dir);
    while (rc == RC_OK && !s.stopping) {
        wait_signal(&s);
        look_after(&s);
        if (s.reload && !s.stopping)
            reload(&s);
        if (!s.stopping)
            rc = start_missing(&s, err);
    }
    stop_children(&s);
    clean_up(&s);
    return rc;
}
