#include "daemon/ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/text.h"

#define ANSWER_MAX 16384

static enum rc connect_to(const char *path, int *fd, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = ASK_PATIENCE_S};
    if (path[0] == '\0' || strlen(path) >= sizeof(address.sun_path))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "the service has no unix socket");
    strcpy(address.sun_path, path);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0 || setsockopt(*fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        setsockopt(*fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0 ||
        connect(*fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        return FAIL(err, RC_REFUSED_NOT_FOUND, "errno", errno, "no service answers at %.107s: %s",
                    path, strerror(errno));
    return RC_OK;
}

/* The whole answer, which ends with the connection. */
static enum rc exchange(int fd, const char *name, char answer[ANSWER_MAX + 1], struct err *err)
{
    char request[NAME_LEN_MAX + 160];
    size_t len = 0;
    int n = snprintf(request, sizeof(request),
                     "GET /v1/keys/%s/public?format=c-header HTTP/1.1\r\n"
                     "Host: localhost\r\nConnection: close\r\n\r\n",
                     name);
    MUST(n > 0 && (size_t)n < sizeof(request));
    if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n)
        return FAIL(err, RC_RETRY_BUSY, "errno", errno, "the service takes no request: %s",
                    strerror(errno));
    while (len < ANSWER_MAX) {
        ssize_t got = recv(fd, answer + len, ANSWER_MAX - len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return FAIL(err, RC_RETRY_BUSY, "errno", errno, "the service does not answer: %s",
                        strerror(errno));
        if (got == 0)
            break;
        len += (size_t)got;
    }
    answer[len] = '\0';
    if (len != strlen(answer) || strncmp(answer, "HTTP/1.1 ", 9) != 0)
        return FAIL(err, RC_RETRY_BUSY, "", 0, "what answers at the socket is not the service");
    if (strncmp(answer + 9, "200 ", 4) != 0)
        return FAIL(err, RC_RETRY_BUSY, "", 0, "the service answers with status %.3s", answer + 9);
    return RC_OK;
}

/* The bytes of an array in a C header. @return how many; 0: no such array, or a longer one. */
static size_t array_read(const char *text, const char *begins, uint8_t *out, size_t cap)
{
    size_t len = 0;
    const char *at = strstr(text, begins);
    at = at != NULL ? strchr(at, '{') : NULL;
    if (at == NULL)
        return 0;
    const char *end = at + strcspn(at, "}");
    while ((at = strstr(at, "0x")) != NULL && at < end) {
        char hex[3] = {at[2], at[2] != '\0' ? at[3] : '\0', '\0'};
        if (len == cap || !hex_decode(out + len, 1, hex))
            return 0;
        len++;
        at += 2;
    }
    return len;
}

enum rc ask_public_key(const char *socket, const char *name, struct ask_public *public,
                       struct err *err)
{
    char answer[ANSWER_MAX + 1];
    int fd CLEANUP(fd_close) = -1;
    MUST(name_valid(name));
    *public = (struct ask_public){0};
    enum rc rc = connect_to(socket, &fd, err);
    if (rc == RC_OK)
        rc = exchange(fd, name, answer, err);
    if (rc != RC_OK)
        return rc;
    public->key_len = array_read(answer, "\nstatic const unsigned char tidemark_key_", public->key,
                                 sizeof(public->key));
    size_t plan_len = array_read(answer, "\nstatic const unsigned char tidemark_plan_",
                                 public->plan_sha256, SHA256_LEN);
    if (public->key_len != 0 && plan_len == SHA256_LEN)
        return RC_OK;
    *public = (struct ask_public){0};
    return FAIL(err, RC_RETRY_BUSY, "", 0, "the service's answer names no key and plan");
}
