#include "http/conns.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

struct conn {
    struct conn *next, *previous;
    int fd;
    uint64_t deadline;
    struct identity identity;
};

struct conns {
    const struct access *access;
    pthread_mutex_t lock;
    struct conn *first;
    uint32_t count;
};

enum rc conns_open(struct conns **conns, const struct access *access, struct err *err)
{
    *conns = calloc(1, sizeof(**conns));
    if (*conns == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory for connections");
    (*conns)->access = access;
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

struct conn *conns_add(struct conns *conns, int fd, bool tls, uint64_t deadline)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return NULL;
    conn->fd = fd;
    conn->deadline = deadline;
    identity_of_socket(&conn->identity, conns->access, fd, tls);
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

struct identity *conn_identity(struct conn *conn)
{
    return &conn->identity;
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
