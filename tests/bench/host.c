#include "bench/host.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rc.h"
#include "base/text.h"

#define COMMAND_MAX 1024
#define START_S 120.0
#define POLL_NS 500000
#define ANSWER_MAX (256 * 1024)

static bool fail(const char *what, const char *name)
{
    (void)fprintf(stderr, "host: %s %s: %s\n", what, name, strerror(errno));
    return false;
}

static double now_s(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void wait_a_little(void)
{
    struct timespec pause = {.tv_nsec = POLL_NS};
    (void)nanosleep(&pause, NULL);
}

static int shell(const char *format, ...) PRINTF_LIKE(1, 2);
static int shell(const char *format, ...)
{
    char command[COMMAND_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    return system(command);
}

/* Texts with ' for ". */
static bool write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return fail("cannot write", path);
    for (; *text != '\0'; text++)
        (void)fputc(*text == '\'' ? '"' : *text, f);
    return fclose(f) == 0;
}

/* The folder ----------------------------------------------------------------------------------- */

static bool configure(const struct host *host)
{
    char text[COMMAND_MAX];
    (void)snprintf(text, sizeof(text),
                   "{'state_dir':'%s/state','tpm':{'tcti':'%s','virtual':'demo'},"
                   "'http':{'unix':'%s','requests_max':1024,'header_deadline_s':600},"
                   "'signing':{'export_margin':1000,'ack_percent':0},"
                   "'limits':{'default':{'burst':0,'per_hour':0}}}\n",
                   host->dir, host->proxied ? host->proxy.tcti : host->tpm.tcti, host->socket);
    return write_text(host->config, text);
}

static bool make_dir(struct host *host, const char *dir)
{
    const char *tmp = getenv("TMPDIR");
    host->keep = dir != NULL;
    if (dir != NULL)
        (void)snprintf(host->dir, sizeof(host->dir), "%.40s", dir);
    else
        (void)snprintf(host->dir, sizeof(host->dir), "%.30s/tmb.XXXXXX",
                       tmp != NULL && strlen(tmp) < 30 ? tmp : "/tmp");
    if (dir == NULL ? mkdtemp(host->dir) == NULL : mkdir(host->dir, 0700) != 0 && errno != EEXIST) {
        fail("cannot make", host->dir);
        host->dir[0] = '\0';
        return false;
    }
    return true;
}

bool host_open(struct host *host, const char *dir)
{
    *host = (struct host){.proxy = {.listener = -1, .wake = {-1, -1}}};
    if (!make_dir(host, dir))
        return false;
    (void)snprintf(host->config, sizeof(host->config), "%.60s/tidemark.json", host->dir);
    (void)snprintf(host->socket, sizeof(host->socket), "%.60s/sock", host->dir);
    (void)snprintf(host->tpm.dir, sizeof(host->tpm.dir), "%.55s/tpm", host->dir);
    (void)snprintf(host->tpm.tcti, sizeof(host->tpm.tcti), "swtpm:path=%.60s/s", host->tpm.dir);
    if (mkdir(host->tpm.dir, 0700) != 0 && errno != EEXIST)
        return fail("cannot make", host->tpm.dir);
    return swtpm_start(&host->tpm) && tpmproxy_start(&host->proxy, &host->tpm) && configure(host);
}

void host_close(struct host *host)
{
    if (host->pid > 0)
        (void)host_stop(host);
    if (host->proxy.running)
        tpmproxy_stop(&host->proxy);
    if (host->keep)
        swtpm_stop(&host->tpm);
    else if (host->dir[0] != '\0') {
        swtpm_remove(&host->tpm);
        (void)shell("rm -rf '%s'", host->dir);
    }
}

bool host_key(struct host *host, const char *name, const char *plan)
{
    char path[HOST_PATH + 32];
    (void)snprintf(path, sizeof(path), "%.60s/%.20s.json", host->dir, name);
    if (access(path, F_OK) == 0)
        return true;
    if (!configure(host) || !write_text(path, plan))
        return false;
    if (shell("exec '" BUILDDIR "/tidemark' key new '%s' --config '%s' >/dev/null", path,
              host->config) == 0)
        return true;
    (void)unlink(path);
    return fail("no key", name);
}

/* Processes ------------------------------------------------------------------------------------ */

static pid_t child_named(pid_t parent, const char *name)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *f = fopen(path, "re");
    pid_t found = 0;
    int pid = 0;
    while (f != NULL && found == 0 && fscanf(f, "%d", &pid) == 1) {
        char comm[32] = "";
        (void)snprintf(path, sizeof(path), "/proc/%d/comm", pid);
        FILE *c = fopen(path, "re");
        if (c != NULL && fgets(comm, sizeof(comm), c) != NULL &&
            strncmp(comm, name, strlen(name)) == 0)
            found = pid;
        if (c != NULL)
            (void)fclose(c);
    }
    if (f != NULL)
        (void)fclose(f);
    return found;
}

/* One GET on a connection of its own. */
static bool is_ready(const char *socket_path)
{
    static const char get[] =
        "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char answer[64] = "";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, socket_path); /* HOST_PATH: it fits */
    int fd CLEANUP(fd_close) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        send(fd, get, sizeof(get) - 1, MSG_NOSIGNAL) < 0)
        return false;
    return recv(fd, answer, sizeof(answer) - 1, 0) > 12 && strncmp(answer, "HTTP/1.1 200", 12) == 0;
}

static _Noreturn void run_service(const struct host *host)
{
    char log[HOST_PATH + 8];
    (void)snprintf(log, sizeof(log), "%s/log", host->dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(fd, STDOUT_FILENO);
    (void)dup2(fd, STDERR_FILENO);
    (void)execl(BUILDDIR "/tidemarkd", "tidemarkd", "--config", host->config, (char *)NULL);
    _exit(127);
}

bool host_start(struct host *host, double *seconds)
{
    if (!configure(host))
        return false;
    double start = now_s();
    host->pid = fork();
    if (host->pid < 0)
        return fail("cannot start", "tidemarkd");
    if (host->pid == 0)
        run_service(host);
    while (!is_ready(host->socket)) {
        if (now_s() - start > START_S || waitpid(host->pid, NULL, WNOHANG) == host->pid)
            return fail("the service does not start, see log in", host->dir);
        wait_a_little();
    }
    *seconds = now_s() - start;
    host->core = child_named(host->pid, "tidemarkd-core");
    host->front = child_named(host->pid, "tidemarkd-fron");
    return host->core > 0 && host->front > 0;
}

bool host_stop(struct host *host)
{
    int status = 0;
    if (host->pid <= 0)
        return true;
    (void)kill(host->pid, SIGTERM);
    pid_t ended = waitpid(host->pid, &status, 0);
    host->pid = 0;
    return (ended > 0 && status == 0) ||
           fail("the service did not stop well, see log in", host->dir);
}

/* The whole answer to one GET, cut at size. */
static bool get(const struct host *host, const char *target, char *answer, size_t size)
{
    char text[128];
    size_t got = 0;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, host->socket); /* HOST_PATH: it fits */
    int fd CLEANUP(fd_close) = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int len = snprintf(text, sizeof(text),
                       "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", target);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        send(fd, text, (size_t)len, MSG_NOSIGNAL) != len)
        return fail("cannot ask for", target);
    for (ssize_t n = 1; n > 0 && got<size - 1; got += n> 0 ? (size_t)n : 0)
        n = recv(fd, answer + got, size - 1 - got, 0);
    answer[got] = '\0';
    return strncmp(answer, "HTTP/1.1 200", 12) == 0 || fail("no answer to", target);
}

bool host_commits(const struct host *host, struct host_commits *commits)
{
    static const char name[] = "\ntidemark_commit_seconds_bucket{le=\"";
    static char answer[ANSWER_MAX];
    *commits = (struct host_commits){0};
    if (!get(host, "/metrics", answer, sizeof(answer)))
        return false;
    for (const char *at = answer; (at = strstr(at, name)) != NULL;) {
        size_t i = commits->classes++;
        at += sizeof(name) - 1;
        if (i >= HOST_CLASSES_MAX ||
            sscanf(at, "%lf\"} %lf", &commits->most_s[i], &commits->count[i]) != 2)
            return fail("not understood:", "tidemark_commit_seconds");
    }
    return commits->classes > 1 || fail("not there:", "tidemark_commit_seconds");
}

/* What it costs -------------------------------------------------------------------------------- */

/* A number of kB in /proc/PID/status. */
static bool status_kib(pid_t pid, const char *name, long *kib)
{
    char path[64];
    char line[128];
    bool found = false;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
        found = strncmp(line, name, strlen(name)) == 0 &&
                sscanf(line + strlen(name), ": %ld", kib) == 1;
    if (f != NULL)
        (void)fclose(f);
    return found || fail("nothing said of", name);
}

bool host_memory(const struct host *host, long *peak_kib, long *own_kib)
{
    return status_kib(host->core, "VmHWM", peak_kib) && status_kib(host->core, "RssAnon", own_kib);
}

double host_cpu_s(pid_t pid)
{
    clockid_t clock;
    struct timespec t = {0};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* proc(5), /proc/stat: user nice system idle iowait … in clock ticks. */
static double idle_s(void)
{
    unsigned long long t[5] = {0};
    FILE *f = fopen("/proc/stat", "re");
    if (f != NULL &&
        fscanf(f, "cpu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2], &t[3], &t[4]) != 5)
        t[3] = t[4] = 0;
    if (f != NULL)
        (void)fclose(f);
    return (double)(t[3] + t[4]) / (double)sysconf(_SC_CLK_TCK);
}

void host_usage(const struct host *host, struct host_usage *usage)
{
    *usage = (struct host_usage){.wall_s = now_s(),
                                 .idle_s = idle_s(),
                                 .front_s = host_cpu_s(host->front),
                                 .core_s = host_cpu_s(host->core),
                                 .tpm_s = host_cpu_s(host->tpm.pid)};
}
