#include "lib/fake_service.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

bool fake_header(const struct fake_request *request, const char *name, char *value, size_t size)
{
    size_t name_len = strlen(name);
    value[0] = '\0';
    for (const char *line = request->headers; line != NULL && *line != '\0';) {
        if (strncasecmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *from = line + name_len + 1 + strspn(line + name_len + 1, " ");
            (void)snprintf(value, size, "%.*s", (int)strcspn(from, "\r"), from);
            return true;
        }
        line = strstr(line, "\r\n");
        line = line == NULL ? NULL : line + 2;
    }
    return false;
}

void fake_text(struct fake_answer *answer, int status, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int n = vsnprintf(answer->store, sizeof(answer->store), format, list);
    va_end(list);
    if (n < 0 || (size_t)n >= sizeof(answer->store))
        abort();
    answer->status = status;
    answer->body = answer->store;
    answer->len = (size_t)n;
    if (status >= 400)
        strcpy(answer->type, "application/problem+json");
}

static bool send_all(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t put = send(fd, p, len, MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        p += put;
        len -= (size_t)put;
    }
    return true;
}

/* Read until the blank line; what follows it is the start of the body. */
static bool read_head(int fd, struct fake_request *r, char *head, size_t cap, size_t *got,
                      size_t *body_at)
{
    *got = 0;
    for (;;) {
        ssize_t n = recv(fd, head + *got, cap - 1 - *got, 0);
        if (n <= 0)
            return false;
        *got += (size_t)n;
        head[*got] = '\0';
        char *end = strstr(head, "\r\n\r\n");
        if (end == NULL)
            continue;
        *body_at = (size_t)(end + 4 - head);
        char *line_end = strstr(head, "\r\n");
        if (sscanf(head, "%15s %2047s", r->method, r->target) != 2)
            return false;
        (void)snprintf(r->headers, sizeof(r->headers), "%.*s", (int)(end + 2 - (line_end + 2)),
                       line_end + 2);
        return true;
    }
}

static bool read_request(int fd, struct fake_request *r)
{
    char head[16384], value[64];
    size_t got = 0, body_at = 0;
    if (!read_head(fd, r, head, sizeof(head), &got, &body_at))
        return false;
    size_t len = fake_header(r, "Content-Length", value, sizeof(value))
                     ? (size_t)strtoul(value, NULL, 10)
                     : 0;
    if (len > FAKE_BODY_MAX)
        return false;
    if (fake_header(r, "Expect", value, sizeof(value)) &&
        !send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25))
        return false;
    free(r->body);
    r->body = malloc(len + 1);
    if (r->body == NULL)
        abort();
    size_t have = got - body_at < len ? got - body_at : len;
    memcpy(r->body, head + body_at, have);
    while (have < len) {
        ssize_t n = recv(fd, r->body + have, len - have, 0);
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    r->body[len] = '\0';
    r->body_len = len;
    return true;
}

static void answer_request(int fd, const struct fake_answer *a)
{
    char head[1024];
    if (a->status == 0)
        return;
    if (!a->raw) {
        int n = snprintf(head, sizeof(head),
                         "HTTP/1.1 %d Fake\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                         "Connection: close\r\n%s\r\n",
                         a->status, a->type, a->say_len != 0 ? a->say_len : a->len, a->headers);
        if (!send_all(fd, head, (size_t)n))
            return;
    }
    (void)send_all(fd, a->body, a->len);
}

static void *serve(void *arg)
{
    struct fake_service *s = arg;
    for (;;) {
        struct pollfd fds[2] = {{.fd = s->listener, .events = POLLIN},
                                {.fd = s->stop[0], .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 || fds[1].revents != 0)
            return NULL;
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        if (read_request(fd, &s->request)) {
            memset(&s->answer, 0, sizeof(s->answer));
            s->answer.status = 200;
            strcpy(s->answer.type, "application/json");
            s->handler(s->ctx, &s->request, &s->answer);
            answer_request(fd, &s->answer);
        }
        (void)shutdown(fd, SHUT_RDWR);
        (void)close(fd);
    }
}

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_true(strlen(path) < sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static int listen_tcp(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

void fake_start(struct fake_service *s, const char *path, fake_handler handler, void *ctx)
{
    memset(s, 0, sizeof(*s));
    s->handler = handler;
    s->ctx = ctx;
    s->listener = path != NULL ? listen_unix(path) : listen_tcp(&s->port);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(pipe(s->stop), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

void fake_stop(struct fake_service *s)
{
    assert_int_equal(write(s->stop[1], "x", 1), 1);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    (void)close(s->listener);
    (void)close(s->stop[0]);
    (void)close(s->stop[1]);
    free(s->request.body);
}
