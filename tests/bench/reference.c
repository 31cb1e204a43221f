#include "bench/reference.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rc.h"

#define THREADS 2U                 /* as the front of the service has */
#define FILE_LEN ((off_t)16 << 20) /* written round and round */
#define FILE_NAME "reference.records"
#define WAITING_MAX 1024
#define SYNCS_MAX 100000

/* One request on its way. */
struct waiter {
    struct MHD_Connection *connection;
    bool committed;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t some;
    struct waiter *waiting[WAITING_MAX];
    size_t count;
    int file;
    off_t at;
} committer = {.lock = PTHREAD_MUTEX_INITIALIZER, .some = PTHREAD_COND_INITIALIZER};

/* Disk ----------------------------------------------------------------------------------------- */

/* Preallocated and written once, so that a sync has no metadata to write: the best a disk does. */
static int open_file(const char *dir)
{
    static const uint8_t zeros[1 << 16];
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/" FILE_NAME, dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (off_t at = 0; fd >= 0 && at < FILE_LEN; at += (off_t)sizeof(zeros))
        if (!pwrite_full(fd, zeros, sizeof(zeros), at))
            fd_close(&fd);
    if (fd < 0 || fsync(fd) != 0)
        (void)fprintf(stderr, "reference: %s: %s\n", path, strerror(errno));
    return fd;
}

static bool commit(size_t records)
{
    static uint8_t bytes[WAITING_MAX * REFERENCE_RECORD_LEN];
    size_t len = records * REFERENCE_RECORD_LEN;
    if (committer.at + (off_t)len > FILE_LEN)
        committer.at = 0;
    if (!pwrite_full(committer.file, bytes, len, committer.at) || fdatasync(committer.file) != 0)
        return false;
    committer.at += (off_t)len;
    return true;
}

static void *commit_all(void *arg)
{
    static struct waiter *batch[WAITING_MAX];
    for (;;) {
        (void)pthread_mutex_lock(&committer.lock);
        while (committer.count == 0)
            (void)pthread_cond_wait(&committer.some, &committer.lock);
        size_t count = committer.count;
        memcpy(batch, committer.waiting, count * sizeof(batch[0]));
        committer.count = 0;
        (void)pthread_mutex_unlock(&committer.lock);
        if (!commit(count))
            _exit(1);
        for (size_t i = 0; i < count; i++) {
            batch[i]->committed = true;
            MHD_resume_connection(batch[i]->connection);
        }
    }
    return arg;
}

/* HTTP ----------------------------------------------------------------------------------------- */

static enum MHD_Result answer(struct MHD_Connection *connection)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result ok = MHD_queue_response(connection, 201, response);
    MHD_destroy_response(response);
    return ok;
}

static void enqueue(struct waiter *w)
{
    (void)pthread_mutex_lock(&committer.lock);
    MUST(committer.count < WAITING_MAX);
    committer.waiting[committer.count++] = w;
    (void)pthread_cond_signal(&committer.some);
    (void)pthread_mutex_unlock(&committer.lock);
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *len, void **context)
{
    (void)cls;
    (void)url;
    (void)method;
    (void)version;
    (void)data;
    struct waiter *w = *context;
    if (w == NULL) {
        w = calloc(1, sizeof(*w));
        *context = w;
        return w != NULL ? MHD_YES : MHD_NO;
    }
    if (*len > 0) {
        *len = 0;
        return MHD_YES;
    }
    if (w->committed)
        return answer(connection);
    w->connection = connection;
    MHD_suspend_connection(connection);
    enqueue(w);
    return MHD_YES;
}

static void completed(void *cls, struct MHD_Connection *connection, void **context,
                      enum MHD_RequestTerminationCode why)
{
    (void)cls;
    (void)connection;
    (void)why;
    free(*context);
    *context = NULL;
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
    (void)unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
                    listen(fd, WAITING_MAX) != 0))
        fd_close(&fd);
    return fd;
}

static _Noreturn void serve(int listener)
{
    pthread_t thread;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGPIPE, SIG_IGN);
    struct MHD_Daemon *daemon = NULL;
    if (pthread_create(&thread, NULL, commit_all, NULL) == 0)
        daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL,
                                  NULL, handle, NULL, MHD_OPTION_LISTEN_SOCKET, listener,
                                  MHD_OPTION_THREAD_POOL_SIZE, THREADS, MHD_OPTION_NOTIFY_COMPLETED,
                                  completed, NULL, MHD_OPTION_END);
    if (daemon == NULL)
        _exit(1);
    for (;;)
        (void)pause();
}

pid_t reference_start(const char *dir, const char *socket)
{
    int listener CLEANUP(fd_close) = listen_at(socket);
    committer.file = open_file(dir);
    pid_t pid = listener >= 0 && committer.file >= 0 ? fork() : -1;
    if (pid == 0)
        serve(listener);
    fd_close(&committer.file);
    if (pid < 0)
        (void)fprintf(stderr, "reference: cannot start: %s\n", strerror(errno));
    return pid > 0 ? pid : 0;
}

/* One sync ------------------------------------------------------------------------------------- */

static double now_us(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

bool reference_sync(const char *dir, double seconds, double *p50_us, double *p99_us)
{
    static double times[SYNCS_MAX];
    size_t count = 0;
    committer.file = open_file(dir);
    bool good = committer.file >= 0;
    double until = now_us() + seconds * 1e6;
    while (good && count < SYNCS_MAX && (count < 10 || now_us() < until)) {
        double start = now_us();
        good = commit(1);
        times[count++] = now_us() - start;
    }
    fd_close(&committer.file);
    if (!good)
        return false;
    qsort(times, count, sizeof(times[0]), by_size);
    *p50_us = times[count / 2];
    *p99_us = times[count - 1 - count / 100];
    return true;
}
