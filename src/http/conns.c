#include "http/conns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PEER_TEXT 64
#define PEER_BUCKETS 256

/* Everybody behind one address, or one user of the unix socket; lives as long as a connection. */
struct peer {
    struct peer *next;
    char name[PEER_TEXT];
    uint32_t connections, requests;
    uint32_t leaving; /* of the connections: shut down, and not yet gone */
};

struct conn {
    struct conn *next, *previous;
    struct peer *peer;
    int fd;
    bool begun;     /* the library has it */
    bool busy;      /* a request is going on */
    bool shut;      /* we have shut it down; the library has yet to notice */
    uint64_t since; /* tick: admitted, or the last request ended */
    uint64_t deadline;
    struct identity identity;
    bool speaks_tls;
    struct tls_session *tls;
};

struct conns {
    const struct access *access;
    pthread_mutex_t lock;
    struct conns_share share;
    struct conn *first;
    uint32_t count;
    uint64_t refused;
    struct peer *peers[PEER_BUCKETS];
};

static void lock(struct conns *conns)
{
    MUST(pthread_mutex_lock(&conns->lock) == 0);
}

static void unlock(struct conns *conns)
{
    MUST(pthread_mutex_unlock(&conns->lock) == 0);
}

enum rc conns_open(struct conns **conns, const struct access *access,
                   const struct conns_share *share, struct err *err)
{
    *conns = calloc(1, sizeof(**conns));
    if (*conns == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory for connections");
    (*conns)->access = access;
    (*conns)->share = *share;
    MUST(pthread_mutex_init(&(*conns)->lock, NULL) == 0);
    return RC_OK;
}

/* Peers ------------------------------------------------------------------------------------------
 */

static struct peer **peer_bucket(struct conns *conns, const char *name)
{
    uint32_t hash = 2166136261U; /* FNV-1a: spreads addresses, and nobody gains by a long bucket */
    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619U;
    return &conns->peers[hash % PEER_BUCKETS];
}

static struct peer *peer_of(struct conns *conns, const char *name)
{
    struct peer **bucket = peer_bucket(conns, name);
    for (struct peer *peer = *bucket; peer != NULL; peer = peer->next)
        if (strcmp(peer->name, name) == 0)
            return peer;
    struct peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        return NULL;
    (void)snprintf(peer->name, sizeof(peer->name), "%s", name);
    peer->next = *bucket;
    *bucket = peer;
    return peer;
}

static void peer_drop_if_unused(struct conns *conns, struct peer *peer)
{
    if (peer->connections > 0)
        return;
    struct peer **at = peer_bucket(conns, peer->name);
    while (*at != peer)
        at = &(*at)->next;
    *at = peer->next;
    free(peer);
}

/* Whose share it is. Asked of the kernel, never of the client. */
static void name_peer(const struct conn *conn, char name[PEER_TEXT])
{
    struct sockaddr_in6 in6 = {0};
    socklen_t len = sizeof(in6);
    char text[INET6_ADDRSTRLEN] = "";
    const char *known = strchr(conn->identity.peer, ':'); /* "uid:…" and "tcp:…", "tls:…" */
    (void)snprintf(name, PEER_TEXT, "%s%s", conn->identity.local ? "uid" : "tcp",
                   known == NULL ? "" : known);
    if (conn->identity.local || getpeername(conn->fd, (struct sockaddr *)&in6, &len) != 0 ||
        in6.sin6_family != AF_INET6 || IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
        return;
    memset(in6.sin6_addr.s6_addr + 8, 0, 8);
    (void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
    (void)snprintf(name, PEER_TEXT, "tcp:%s/64", text);
}

/* Connections ------------------------------------------------------------------------------------
 */

static void drop(struct conns *conns, struct conn *conn)
{
    if (conn->previous != NULL)
        conn->previous->next = conn->next;
    else
        conns->first = conn->next;
    if (conn->next != NULL)
        conn->next->previous = conn->previous;
    conns->count--;
    conn->peer->connections--;
    conn->peer->leaving -= conn->shut ? 1 : 0;
    if (conn->busy)
        conn->peer->requests--;
    peer_drop_if_unused(conns, conn->peer);
    free(conn);
}

static struct conn *waiting_for(struct conns *conns, int fd)
{
    for (struct conn *conn = conns->first; conn != NULL; conn = conn->next)
        if (conn->fd == fd && !conn->begun)
            return conn;
    return NULL;
}

void conns_close(struct conns **conns)
{
    if (*conns == NULL)
        return;
    for (struct conn *conn = (*conns)->first; conn != NULL; conn = (*conns)->first) {
        MUST(!conn->begun);
        drop(*conns, conn);
    }
    MUST(pthread_mutex_destroy(&(*conns)->lock) == 0);
    free(*conns);
    *conns = NULL;
}

static bool put(struct conns *conns, struct conn *conn, const char *name)
{
    /* A socket of this number that the library took and then lost has been closed since. */
    struct conn *stale = waiting_for(conns, conn->fd);
    if (stale != NULL)
        drop(conns, stale);
    conn->peer = peer_of(conns, name);
    if (conn->peer == NULL)
        return false;
    if (conns->share.connections > 0 && conn->peer->connections >= conns->share.connections) {
        conns->refused++;
        return false;
    }
    conn->peer->connections++;
    conn->next = conns->first;
    if (conn->next != NULL)
        conn->next->previous = conn;
    conns->first = conn;
    conns->count++;
    return true;
}

bool conns_admit(struct conns *conns, int fd, bool tls, uint64_t now, uint64_t deadline)
{
    char name[PEER_TEXT];
    struct conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        return false;
    conn->fd = fd;
    conn->since = now;
    conn->deadline = deadline;
    conn->speaks_tls = tls;
    identity_of_socket(&conn->identity, conns->access, fd, tls);
    name_peer(conn, name);
    lock(conns);
    bool admitted = put(conns, conn, name);
    unlock(conns);
    if (!admitted)
        free(conn);
    return admitted;
}

void conns_forget(struct conns *conns, int fd)
{
    lock(conns);
    struct conn *conn = waiting_for(conns, fd);
    if (conn != NULL)
        drop(conns, conn);
    unlock(conns);
}

struct conn *conns_begin(struct conns *conns, int fd)
{
    lock(conns);
    struct conn *conn = waiting_for(conns, fd);
    if (conn != NULL)
        conn->begun = true;
    unlock(conns);
    return conn;
}

void conns_remove(struct conns *conns, struct conn *conn)
{
    lock(conns);
    drop(conns, conn);
    unlock(conns);
}

uint32_t conns_count(struct conns *conns)
{
    lock(conns);
    uint32_t count = conns->count;
    unlock(conns);
    return count;
}

uint64_t conns_take_refused(struct conns *conns)
{
    lock(conns);
    uint64_t refused = conns->refused;
    conns->refused = 0;
    unlock(conns);
    return refused;
}

void conns_set_deadline(struct conns *conns, struct conn *conn, uint64_t deadline)
{
    lock(conns);
    conn->deadline = deadline;
    unlock(conns);
}

bool conns_busy(struct conns *conns, struct conn *conn)
{
    lock(conns);
    MUST(!conn->busy);
    conn->busy = true;
    conn->peer->requests++;
    bool within = conns->share.requests == 0 || conn->peer->requests <= conns->share.requests;
    unlock(conns);
    return within;
}

void conns_idle(struct conns *conns, struct conn *conn, uint64_t now)
{
    lock(conns);
    MUST(conn->busy);
    conn->busy = false;
    conn->peer->requests--;
    conn->since = now;
    unlock(conns);
}

struct identity *conn_identity(struct conn *conn)
{
    return &conn->identity;
}

/* Ends -------------------------------------------------------------------------------------------
 */

/* Only what the library serves: a socket that it has not begun with may be closed already, and its
 * number another file by now. */
static void shut(struct conn *conn)
{
    conn->deadline = CONNS_NO_DEADLINE;
    conn->peer->leaving += conn->shut ? 0 : 1;
    conn->shut = true;
    (void)shutdown(conn->fd, SHUT_RDWR);
}

struct tls_session **conn_tls(struct conn *conn)
{
    return &conn->tls;
}

bool conn_speaks_tls(const struct conn *conn)
{
    return conn->speaks_tls;
}

void conns_reap(struct conns *conns, uint64_t now)
{
    lock(conns);
    for (struct conn *conn = conns->first; conn != NULL; conn = conn->next)
        if (conn->begun && now >= conn->deadline)
            shut(conn);
    unlock(conns);
}

static bool goes_before(const struct conn *a, const struct conn *b)
{
    if (b == NULL)
        return true;
    uint32_t held_a = a->peer->connections - a->peer->leaving;
    uint32_t held_b = b->peer->connections - b->peer->leaving;
    return held_a != held_b ? held_a > held_b : a->since < b->since;
}

size_t conns_make_room(struct conns *conns, uint64_t now, uint64_t min_age, size_t count)
{
    size_t done = 0;
    lock(conns);
    for (; done < count; done++) {
        struct conn *chosen = NULL;
        for (struct conn *conn = conns->first; conn != NULL; conn = conn->next)
            if (conn->begun && !conn->busy && !conn->shut && now >= conn->since + min_age &&
                goes_before(conn, chosen))
                chosen = conn;
        if (chosen == NULL)
            break;
        shut(chosen);
    }
    unlock(conns);
    return done;
}
