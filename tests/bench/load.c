#include "bench/load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rc.h"
#include "base/secmem.h"
#include "base/text.h"

#define HEAD_MAX 512
#define ANSWER_MAX 32768
#define TIMES_MAX (1U << 22)
#define WAIT_MS 60000 /* no answer takes that long */

struct client {
    int fd;
    bool asking;
    int64_t asked_ns;
    size_t got;    /* bytes of the answer */
    size_t wanted; /* all of them; 0: the headers are not complete yet */
    char answer[ANSWER_MAX];
};

struct load {
    unsigned count;
    int epoll;
    uint64_t serial;
    char head[HEAD_MAX]; /* up to the number of the idempotency key */
    uint8_t body[LOAD_BODY_LEN];
    char refusal[512];
    uint32_t *times_us;
    size_t times;
    struct client clients[LOAD_CLIENTS_MAX];
};

static int64_t now_ns(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Connections ---------------------------------------------------------------------------------- */

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        fd_close(&fd);
    return fd;
}

static bool add_client(struct load *load, const char *socket)
{
    struct client *c = &load->clients[load->count];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->fd = connect_to(socket);
    if (c->fd < 0 || epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        (void)fprintf(stderr, "load: %s: %s\n", socket, strerror(errno));
        return false;
    }
    load->count++;
    return true;
}

struct load *load_open(const char *socket, const char *target, unsigned clients)
{
    MUST(clients >= 1 && clients <= LOAD_CLIENTS_MAX);
    uint64_t run = 0;
    random_bytes(&run, sizeof(run));
    struct load *load = calloc(1, sizeof(*load));
    if (load == NULL)
        return NULL;
    random_bytes(load->body, sizeof(load->body));
    load->times_us = calloc(TIMES_MAX, sizeof(*load->times_us));
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    (void)snprintf(load->head, sizeof(load->head),
                   "POST %s HTTP/1.1\r\nHost: localhost\r\n"
                   "Accept: application/octet-stream\r\n"
                   "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n"
                   "Idempotency-Key: \"%016" PRIx64 "-",
                   target, LOAD_BODY_LEN, run);
    bool good = load->times_us != NULL && load->epoll >= 0;
    for (unsigned i = 0; good && i < clients; i++)
        good = add_client(load, socket);
    if (!good)
        load_close(&load);
    return load;
}

void load_close(struct load **load)
{
    struct load *l = *load;
    *load = NULL;
    if (l == NULL)
        return;
    for (unsigned i = 0; i < l->count; i++)
        fd_close(&l->clients[i].fd);
    fd_close(&l->epoll);
    free(l->times_us);
    free(l);
}

const char *load_refusal(const struct load *load)
{
    return load->refusal;
}

/* Requests and answers ------------------------------------------------------------------------- */

static bool ask(struct load *load, struct client *c)
{
    char text[HEAD_MAX + 64 + LOAD_BODY_LEN];
    int head = snprintf(text, sizeof(text) - LOAD_BODY_LEN, "%s%016" PRIx64 "\"\r\n\r\n",
                        load->head, load->serial++);
    memcpy(text + head, load->body, LOAD_BODY_LEN);
    size_t len = (size_t)head + LOAD_BODY_LEN;
    c->asking = true;
    c->got = 0;
    c->wanted = 0;
    c->asked_ns = now_ns();
    if (send(c->fd, text, len, MSG_NOSIGNAL) == (ssize_t)len)
        return true;
    (void)fprintf(stderr, "load: send: %s\n", strerror(errno));
    return false;
}

/* Length of the whole answer, once its headers are there. */
static bool measure_answer(struct client *c)
{
    static const char field[] = "\r\nContent-Length: ";
    uint64_t len = 0;
    c->answer[c->got] = '\0';
    char *end = strstr(c->answer, "\r\n\r\n");
    if (end == NULL)
        return c->got < ANSWER_MAX - 1;
    char *at = strstr(c->answer, field);
    if (at == NULL || at > end)
        return false;
    at += sizeof(field) - 1;
    char *line_end = strchr(at, '\r');
    *line_end = '\0';
    bool good = text_to_u64(&len, at, ANSWER_MAX);
    *line_end = '\r';
    c->wanted = (size_t)(end + 4 - c->answer) + len;
    return good && c->wanted < ANSWER_MAX;
}

/* @param[out] whole  The answer is complete. */
static bool read_answer(struct client *c, bool *whole)
{
    *whole = false;
    ssize_t got = recv(c->fd, c->answer + c->got, ANSWER_MAX - 1 - c->got, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0 || !c->asking)
        return false;
    c->got += (size_t)got;
    if (c->wanted == 0 && !measure_answer(c))
        return false;
    *whole = c->wanted != 0 && c->got >= c->wanted;
    return true;
}

static void count_answer(struct load *load, struct client *c, struct load_result *result)
{
    static const char success[] = "HTTP/1.1 2";
    int64_t ns = now_ns() - c->asked_ns;
    if (load->times < TIMES_MAX)
        load->times_us[load->times++] =
            ns < 1000 * (int64_t)UINT32_MAX ? (uint32_t)(ns / 1000) : UINT32_MAX;
    if (strncmp(c->answer, success, sizeof(success) - 1) == 0) {
        result->answers++;
        return;
    }
    result->refused++;
    if (load->refusal[0] == '\0')
        (void)snprintf(load->refusal, sizeof(load->refusal), "%.500s", c->answer);
}

/* Running -------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void summarise(struct load *load, struct load_result *result)
{
    if (load->times == 0)
        return;
    qsort(load->times_us, load->times, sizeof(*load->times_us), by_size);
    result->p50_us = load->times_us[load->times / 2];
    result->p99_us = load->times_us[load->times - 1 - load->times / 100];
    result->slowest_us = load->times_us[load->times - 1];
}

/* Answers that are there; each client whose answer is complete asks again while more is true. */
static bool turn(struct load *load, bool more, unsigned *busy, struct load_result *result)
{
    struct epoll_event events[LOAD_CLIENTS_MAX];
    int count = epoll_wait(load->epoll, events, LOAD_CLIENTS_MAX, WAIT_MS);
    if (count == 0)
        (void)fprintf(stderr, "load: no answer came\n");
    for (int i = 0; i < count; i++) {
        struct client *c = events[i].data.ptr;
        bool whole = false;
        if (!read_answer(c, &whole)) {
            (void)fprintf(stderr, "load: a connection broke, or an answer is none\n");
            return false;
        }
        if (!whole)
            continue;
        count_answer(load, c, result);
        c->asking = false;
        --*busy;
        if (more && !ask(load, c))
            return false;
        *busy += more ? 1 : 0;
    }
    return count > 0 || (count < 0 && errno == EINTR);
}

bool load_run(struct load *load, double seconds, struct load_result *result)
{
    *result = (struct load_result){0};
    load->times = 0;
    unsigned busy = 0;
    int64_t start = now_ns();
    int64_t until = start + (int64_t)(seconds * 1e9);
    for (unsigned i = 0; i < load->count; i++) {
        if (!ask(load, &load->clients[i]))
            return false;
        busy++;
    }
    while (busy > 0)
        if (!turn(load, now_ns() < until, &busy, result))
            return false;
    result->seconds = (double)(now_ns() - start) * 1e-9;
    summarise(load, result);
    return true;
}
