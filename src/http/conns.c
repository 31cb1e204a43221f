#include "http/conns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct conn {
    struct conn *next, *previous;
    int fd;
    uint64_t deadline;
    char requester[REQUEST_TEXT_MAX + 1];
};

struct conns {
    pthread_mutex_t lock;
    struct conn *first;
    uint32_t count;
};

enum rc conns_open(struct conns **conns, struct err *err)
{
    *conns = calloc(1, sizeof(**conns));
    if (*conns == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory for connections");
    MUST(pthread_mutex_init(&(*conns)->lock, NULL) == 0);
    return RC_OK;
}

void conns_close(struct conns **conns)
{
    if (*conns == NULL)
        return;
    MUST((*conns)->first == NULL);
    MUST(pthread_mutex_destroy(&(*conns)->lock) == 0);
    free(*conns);
    *conns = NULL;
}

/* Who is it? Asked of the kernel, never of the client. */
static void name_requester(struct conn *conn)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    struct ucred peer = {0};
    socklen_t peer_len = sizeof(peer);
    char text[INET6_ADDRSTRLEN] = "unknown";
    const char *kind = "tcp";
    if (getpeername(conn->fd, (struct sockaddr *)&address, &len) != 0)
        address.ss_family = AF_UNSPEC;
    if (address.ss_family == AF_UNIX) {
        kind = "uid";
        if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_len) == 0)
            (void)snprintf(text, sizeof(text), "%lu", (unsigned long)peer.uid);
    } else if (address.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address, sizeof(in));
        (void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
    } else if (address.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &address, sizeof(in6));
        (void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
    }
    (void)snprintf(conn->requester, sizeof(conn->requester), "%s:%s", kind, text);
}

struct conn *conns_add(struct conns *conns, int fd, uint64_t deadline)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return NULL;
    conn->fd = fd;
    conn->deadline = deadline;
    name_requester(conn);
    MUST(pthread_mutex_lock(&conns->lock) == 0);
    conn->next = conns->first;
    if (conn->next != NULL)
        conn->next->previous = conn;
    conns->first = conn;
    conns->count++;
    MUST(pthread_mutex_unlock(&conns->lock) == 0);
    return conn;
}

void conns_remove(struct conns *conns, struct conn *conn)
{
    MUST(pthread_mutex_lock(&conns->lock) == 0);
    if (conn->previous != NULL)
        conn->previous->next = conn->next;
    else
        conns->first = conn->next;
    if (conn->next != NULL)
        conn->next->previous = conn->previous;
    conns->count--;
    MUST(pthread_mutex_unlock(&conns->lock) == 0);
    free(conn);
}

uint32_t conns_count(struct conns *conns)
{
    MUST(pthread_mutex_lock(&conns->lock) == 0);
    uint32_t count = conns->count;
    MUST(pthread_mutex_unlock(&conns->lock) == 0);
    return count;
}

void conns_set_deadline(struct conns *conns, struct conn *conn, uint64_t deadline)
{
    MUST(pthread_mutex_lock(&conns->lock) == 0);
    conn->deadline = deadline;
    MUST(pthread_mutex_unlock(&conns->lock) == 0);
}

const char *conn_requester(const struct conn *conn)
{
    return conn->requester;
}

void conns_reap(struct conns *conns, uint64_t now)
{
    MUST(pthread_mutex_lock(&conns->lock) == 0);
    for (struct conn *conn = conns->first; conn != NULL; conn = conn->next) {
        if (now < conn->deadline)
            continue;
        conn->deadline = CONNS_NO_DEADLINE;
        (void)shutdown(conn->fd, SHUT_RDWR);
    }
    MUST(pthread_mutex_unlock(&conns->lock) == 0);
}
