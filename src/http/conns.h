/*
 * conns: every open connection, who is behind it, and when it must be done.
 *
 * The HTTP library only knows a timeout of inactivity, which a client that sends one byte a second
 * never meets. So each connection has an absolute deadline here, and conns_reap() shuts down the
 * ones that are past it; the library then sees the end of the connection and cleans up.
 *
 * Uses: base. Any thread (one lock inside).
 */
#ifndef HTTP_CONNS_H
#define HTTP_CONNS_H

#include <stdint.h>

#include "base/rc.h"
#include "http/identity.h"

#define CONNS_NO_DEADLINE UINT64_MAX

struct conns; /* opaque: all of them */
struct conn;  /* opaque: one */

/**
 * @param[in] access  Table of identities, borrowed until conns_close().
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc conns_open(struct conns **conns, const struct access *access, struct err *err) MUST_CHECK;

/** All connections must be gone (MUST). */
void conns_close(struct conns **conns);

/**
 * A connection is there.
 * @param[in] fd        Its socket; stays the library's.
 * @param[in] tls       It speaks TLS; who is behind it is known after the handshake.
 * @param[in] deadline  Tick.
 * @return NULL without memory: serve it without a deadline, or better not at all.
 */
struct conn *conns_add(struct conns *conns, int fd, bool tls, uint64_t deadline) MUST_CHECK;

/** It is about to be closed. Call it before its socket is, so that no other one is ever shut down.
 */
void conns_remove(struct conns *conns, struct conn *conn);

/** How many there are. */
uint32_t conns_count(struct conns *conns);

/** Move the deadline. */
void conns_set_deadline(struct conns *conns, struct conn *conn, uint64_t deadline);

/** Who is behind it. Borrowed, until it is removed; belongs to the thread of the connection. */
struct identity *conn_identity(struct conn *conn);

/** Shut down what is past its deadline. */
void conns_reap(struct conns *conns, uint64_t now);

#endif
