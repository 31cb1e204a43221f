/*
 * conns: every open connection, who is behind it, and when it must be done.
 *
 * The HTTP library only knows a timeout of inactivity, which a client that sends one byte a second
 * never meets. So each connection has an absolute deadline here, and conns_reap() shuts down the
 * ones that are past it; the library then sees the end of the connection and cleans up.
 *
 * Connections are counted for each peer, too: the address of a TCP client (of IPv6 its /64, which
 * is what one customer gets), the user of a unix socket. No peer may hold more than its share of
 * connections and of requests in flight. When there is no room left, the greediest peer loses the
 * connections on which it has said least for longest (conns_make_room()).
 *
 * Uses: base. Any thread (one lock inside) but for conns_admit(), which one thread calls.
 */
#ifndef HTTP_CONNS_H
#define HTTP_CONNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "http/identity.h"
#include "http/tls.h"

#define CONNS_NO_DEADLINE UINT64_MAX

struct conns; /* opaque: all of them */
struct conn;  /* opaque: one */

/** How much of everything one peer may hold; 0: all of it. */
struct conns_share {
    uint32_t connections;
    uint32_t requests;
};

/**
 * @param[in] access  Table of identities, borrowed until conns_close().
 * @param[in] share   Copied.
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc conns_open(struct conns **conns, const struct access *access,
                   const struct conns_share *share, struct err *err) MUST_CHECK;

/** Connections that were admitted and never begun are forgotten; all others must be gone (MUST). */
void conns_close(struct conns **conns);

/**
 * A connection was accepted and is about to be given to the library.
 * @param[in] fd        Its socket; stays the caller's.
 * @param[in] tls       It speaks TLS; who is behind it is known after the handshake.
 * @param[in] now       Tick.
 * @param[in] deadline  Tick by which the headers must be there.
 * @return false if its peer has its share already, or without memory: close it.
 */
bool conns_admit(struct conns *conns, int fd, bool tls, uint64_t now, uint64_t deadline) MUST_CHECK;

/** The library did not take it, and has closed the socket. */
void conns_forget(struct conns *conns, int fd);

/** The library begins to serve it. @return NULL if conns_admit() does not know this socket. */
struct conn *conns_begin(struct conns *conns, int fd) MUST_CHECK;

/** It is about to be closed. Call it before its socket is, so that no other one is ever shut down.
 */
void conns_remove(struct conns *conns, struct conn *conn);

/** How many there are. */
uint32_t conns_count(struct conns *conns);

/** How many conns_admit() has refused since the last call. */
uint64_t conns_take_refused(struct conns *conns);

/** Move the deadline. */
void conns_set_deadline(struct conns *conns, struct conn *conn, uint64_t deadline);

/** Who is behind it. Borrowed, until it is removed; belongs to the thread of the connection. */
struct identity *conn_identity(struct conn *conn);

/**
 * The headers of a request are there, and it counts among those of its peer until conns_idle().
 * @return false if the peer has as many in flight as it may; it counts all the same.
 */
bool conns_busy(struct conns *conns, struct conn *conn) MUST_CHECK;

/** The request has ended; the next one on this connection is waited for since now. */
void conns_idle(struct conns *conns, struct conn *conn, uint64_t now);

/** Its TLS session: NULL until somebody puts one there, who also ends it. */
struct tls_session **conn_tls(struct conn *conn);

/** As it was admitted. */
bool conn_speaks_tls(const struct conn *conn) MUST_CHECK;

/** Shut down what is past its deadline. */
void conns_reap(struct conns *conns, uint64_t now);

/**
 * Shut down up to `count` connections on which no request is going on and nothing has ended for
 * min_age ticks: one after the other of the peer that holds most of them, the longest waiting
 * first.
 * @return how many.
 */
size_t conns_make_room(struct conns *conns, uint64_t now, uint64_t min_age, size_t count);

#endif
