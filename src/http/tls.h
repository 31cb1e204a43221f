/*
 * tls: TLS 1.3 for the front's TCP listener, with client certificates that the handshake itself
 * verifies: whoever has none that is good never gets as far as HTTP.
 *
 * The files (certificate and key of the service, trusted issuers of clients, revocation list) are
 * looked at every two seconds and on SIGHUP; when one has changed all are read anew, and new
 * connections use what is new. What cannot be used is said in the log, once for each change, and
 * the old stays in use. Connections that are open are held against the new issuers and list, too,
 * with their next request.
 *
 * The key lies in the memory of the TLS library of this process, and nowhere else in ours: neither
 * supervisor nor core read it. It is in no log and no message.
 *
 * Uses: base, identity.h, GnuTLS. Threads: as each function says.
 */
#ifndef HTTP_TLS_H
#define HTTP_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "http/identity.h"

#define TLS_PATH_MAX 256
#define TLS_FILE_MAX (1024 * 1024)

/** What the HTTP library is told to take: TLS 1.3 alone, AEAD suites, no resumption, and keys in
 * certificates from RSA with 2048 bits on (TLS_PROFILE). */
#define TLS_PRIORITIES                                                                             \
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:-AES-128-CCM:-AES-256-CCM:%NO_TICKETS:%PROFILE_MEDIUM"
#define TLS_PROFILE GNUTLS_PROFILE_MEDIUM

/** Paths of PEM files, absolute; "" for a list that is not used. */
struct tls_files {
    char certificate[TLS_PATH_MAX]; /* chain of the service, its own first */
    char key[TLS_PATH_MAX];         /* unencrypted, and readable by nobody else */
    char trust[TLS_PATH_MAX];       /* issuers of client certificates */
    char crl[TLS_PATH_MAX];         /* lists of theirs, or "" */
};

struct tls;         /* opaque: the files and what was read from them */
struct tls_session; /* opaque: what one connection holds on to */

/**
 * Read the files. That they cannot be used is no failure but logged: nobody is let in
 * (tls_ready()) until they can.
 * @param[in] files  Borrowed until tls_close().
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc tls_open(struct tls **tls, const struct tls_files *files, struct err *err) MUST_CHECK;

/** All sessions must have ended. Fine on NULL. */
void tls_close(struct tls **tls);

/**
 * Read the files and forget what was read: for --check-config.
 * @retval RC_REFUSED_CONFIG  They cannot be used; the text says which and why.
 */
enum rc tls_check(const struct tls_files *files, struct err *err) MUST_CHECK;

/** Are there credentials to serve with? Any thread. */
bool tls_ready(struct tls *tls) MUST_CHECK;

/**
 * Read the files again if one has changed. Main thread, every now and then.
 * @param[in] now    True: though none has.
 */
void tls_look(struct tls *tls, bool now);

/**
 * A connection begins: give it the credentials of now, and have its handshake require a client
 * certificate and verify it: chain, time, revocation, and that it is meant for clients.
 *
 * @param[in] handle  gnutls_session_t before its handshake, which must not outlive tls_end() by
 *                    more than the closing of the connection.
 * @return NULL: no credentials or memory, and the connection is to be closed.
 */
struct tls_session *tls_begin(struct tls *tls, void *handle) MUST_CHECK;

/** What the HTTP library asks for a certificate where tls_begin() gave a session none: there is
 * none, and the handshake fails. A gnutls_certificate_retrieve_function2 as a number. */
intptr_t tls_no_certificate(void);

/** The connection is about to be closed. Fine on NULL. */
void tls_end(struct tls *tls, struct tls_session **session);

/**
 * Who is at the other end? To be asked with each request, behind the handshake. Looks at the
 * certificate the first time, and again when issuers or list have changed and when a minute has
 * passed: a certificate that has run out or was revoked since is nobody's.
 *
 * @param[in]     handle    As tls_begin().
 * @param[in]     minute    A number that changes every minute.
 * @param[in,out] identity  From identity_of_socket(), or from here.
 * Thread: of the connection.
 */
void tls_identify(struct tls *tls, struct tls_session *session, void *handle, uint64_t minute,
                  const struct access *access, struct identity *identity);

#endif
