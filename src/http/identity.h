/*
 * identity: who is at the other end of a connection, and what that one may do.
 *
 * A name comes from the kernel (user and groups of the process behind a unix socket) or from a
 * certificate that the TLS handshake has verified (tls.h), never from anything that a client says
 * in a request. The table of identities is that of the configuration (policy/access.h).
 *
 * Where no identities are configured, root and the user that the service runs as have all roles
 * over the unix socket, and everybody else is nobody. As soon as one is configured, the table alone
 * decides, also about root. Nobody gets what is public, and is else told "unauthorised" and why.
 *
 * Uses: base, policy/access.h. Plain values, any thread.
 */
#ifndef HTTP_IDENTITY_H
#define HTTP_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "policy/access.h"
#include "signer/request.h"

#define IDENTITY_PEER_MAX 95
#define IDENTITY_GROUPS_MAX 1024 /* of one process; the kernel allows 65536 */

struct identity {
    /* What the core is told and receipts keep: the identity's name; "uid:0" and the like without
     * configured identities; of nobody the same as peer. */
    char name[NAME_LEN_MAX + 1];
    unsigned roles;                      /* of enum access_role; 0: nobody */
    bool local;                          /* came over the unix socket */
    const struct access_identity *rules; /* entry of the table; NULL: none, every key is allowed */
    char peer[IDENTITY_PEER_MAX + 1]; /* for logs: "uid:1000", "tcp:127.0.0.1", "tls:192.0.2.7" */
    char why[160];                    /* nobody: the reason, for people; else "" */
};

/** What a certificate says that identities are recognised by. All borrowed for the call. */
struct identity_certificate {
    char fingerprint[65];     /* SHA-256 of the DER, 64 lower-case hexadecimal digits */
    const char *const *uris;  /* subject alternative names by kind; without NUL inside */
    const char *const *names; /* DNS */
    const char *const *emails;
    size_t uri_count, name_count, email_count;
};

/**
 * Who opened this connection? Asks the kernel.
 *
 * @param[out] identity  Complete. A user that is named goes before groups; two identities that the
 *                       groups of one process lead to make nobody.
 * @param[in]  access    The table, borrowed as long as *identity lives; empty: see above.
 * @param[in]  fd        A connected socket, borrowed.
 * @param[in]  tls       It speaks TLS: nobody yet, until identity_of_certificate().
 */
void identity_of_socket(struct identity *identity, const struct access *access, int fd, bool tls);

/**
 * Who does a verified certificate belong to?
 *
 * A fingerprint goes before names; names that lead to two identities make nobody, since nothing
 * says which was meant. A SPIFFE ID counts only where it is the one URI of the certificate.
 *
 * @param[in,out] identity  From identity_of_socket().
 */
void identity_of_certificate(struct identity *identity, const struct access *access,
                             const struct identity_certificate *certificate);

/** Nobody, for a reason. */
void identity_nobody(struct identity *identity, const char *why);

#endif
