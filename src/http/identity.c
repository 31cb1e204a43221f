#include "http/identity.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"

/* Result ---------------------------------------------------------------------------------------
 */

#define NOT_FOUND (-1)
#define AMBIGUOUS (-2)

void identity_nobody(struct identity *identity, const char *why)
{
    identity->roles = 0;
    identity->rules = NULL;
    text_copy(identity->name, sizeof(identity->name), identity->peer);
    text_copy(identity->why, sizeof(identity->why), why);
}

static void found(struct identity *identity, const struct access *access, int64_t at)
{
    const struct access_identity *entry = &access->identities[at];
    identity->roles = entry->roles;
    identity->rules = entry;
    identity->why[0] = '\0';
    text_copy(identity->name, sizeof(identity->name), entry->name);
}

/* One more selector fits. */
static void take(int64_t *at, const struct access_selector *selector)
{
    if (*at == NOT_FOUND || *at == (int64_t)selector->identity)
        *at = selector->identity;
    else
        *at = AMBIGUOUS; /* and stays so: it is no identity's place */
}

/* peer: as it would stand in the configuration, or nearly. */
static void decide(struct identity *identity, const struct access *access, int64_t at,
                   const char *peer)
{
    char why[sizeof(identity->why)];
    if (at >= 0) {
        found(identity, access, at);
        return;
    }
    (void)snprintf(why, sizeof(why),
                   at == AMBIGUOUS ? "%s fits two identities of the configuration"
                                   : "%s is no identity of the configuration",
                   peer);
    identity_nobody(identity, why);
}

/* Sockets --------------------------------------------------------------------------------------
 */

static bool in_group(gid_t wanted, gid_t primary, const gid_t *groups, size_t count)
{
    if (wanted == primary)
        return true;
    for (size_t i = 0; i < count; i++)
        if (groups[i] == wanted)
            return true;
    return false;
}

static int64_t by_user(const struct access *access, uid_t uid)
{
    int64_t at = NOT_FOUND;
    for (size_t i = 0; i < access->selector_count; i++) {
        const struct access_selector *s = &access->selectors[i];
        if (s->kind == ACCESS_UID && s->number == uid)
            take(&at, s);
    }
    return at;
}

static int64_t by_group(const struct access *access, int fd, gid_t primary)
{
    gid_t groups[IDENTITY_GROUPS_MAX];
    socklen_t len = sizeof(groups);
    int64_t at = NOT_FOUND;
    /* Of a process with more groups than that, or on an old kernel, the first one has to do. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
        len = 0;
    for (size_t i = 0; i < access->selector_count; i++) {
        const struct access_selector *s = &access->selectors[i];
        if (s->kind == ACCESS_GID && in_group(s->number, primary, groups, len / sizeof(groups[0])))
            take(&at, s);
    }
    return at;
}

static void of_process(struct identity *identity, const struct access *access, int fd)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    identity->local = true;
    (void)snprintf(identity->peer, sizeof(identity->peer), "uid:unknown");
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
        identity_nobody(identity, "the kernel does not say who is at the other end");
        return;
    }
    (void)snprintf(identity->peer, sizeof(identity->peer), "uid:%lu", (unsigned long)peer.uid);
    text_copy(identity->name, sizeof(identity->name), identity->peer);
    if (access->identity_count > 0) {
        int64_t at = by_user(access, peer.uid);
        decide(identity, access, at != NOT_FOUND ? at : by_group(access, fd, peer.gid),
               identity->peer);
    } else if (peer.uid == 0 || peer.uid == geteuid()) {
        identity->roles = ROLES_ALL;
    } else {
        identity_nobody(identity, "without identities in the configuration only root and the "
                                  "service's own user are known");
    }
}

static void of_address(struct identity *identity, const struct access *access, bool tls)
{
    int64_t at = NOT_FOUND;
    if (tls) {
        identity_nobody(identity, "no certificate was looked at yet");
        return;
    }
    for (size_t i = 0; i < access->selector_count; i++)
        if (access->selectors[i].kind == ACCESS_LOOPBACK)
            take(&at, &access->selectors[i]);
    if (at >= 0)
        found(identity, access, at);
    else
        identity_nobody(identity, "over TCP without TLS nobody can be told apart: use the unix "
                                  "socket, or TLS with a certificate");
}

void identity_of_socket(struct identity *identity, const struct access *access, int fd, bool tls)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    char text[INET6_ADDRSTRLEN] = "unknown";
    *identity = (struct identity){0};
    if (getpeername(fd, (struct sockaddr *)&address, &len) != 0)
        address.ss_family = AF_UNSPEC;
    if (address.ss_family == AF_UNIX) {
        of_process(identity, access, fd);
        return;
    }
    if (address.ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, &address, sizeof(in));
        (void)inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
    } else if (address.ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, &address, sizeof(in6));
        (void)inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
    }
    (void)snprintf(identity->peer, sizeof(identity->peer), "%s:%s", tls ? "tls" : "tcp", text);
    of_address(identity, access, tls);
}

/* Certificates ---------------------------------------------------------------------------------
 */

static bool one_of(const char *text, const char *const *list, size_t count, bool any_case)
{
    for (size_t i = 0; i < count; i++)
        if ((any_case ? strcasecmp(list[i], text) : strcmp(list[i], text)) == 0)
            return true;
    return false;
}

static bool fits(const struct access_selector *s, const struct identity_certificate *c)
{
    switch (s->kind) {
    case ACCESS_SPIFFE:
        /* SPIFFE X509-SVID section 2: "An X.509 SVID MUST contain exactly one URI SAN". */
        return c->uri_count == 1 && strcmp(c->uris[0], s->text) == 0;
    case ACCESS_URI:
        return one_of(s->text, c->uris, c->uri_count, false);
    case ACCESS_DNS:
        return one_of(s->text, c->names, c->name_count, true);
    case ACCESS_EMAIL:
        return one_of(s->text, c->emails, c->email_count, false);
    default:
        return false;
    }
}

void identity_of_certificate(struct identity *identity, const struct access *access,
                             const struct identity_certificate *c)
{
    int64_t at = NOT_FOUND;
    char peer[128];
    (void)snprintf(peer, sizeof(peer), "the certificate sha256:%.64s", c->fingerprint);
    for (size_t i = 0; i < access->selector_count; i++) {
        const struct access_selector *s = &access->selectors[i];
        if (s->kind == ACCESS_FINGERPRINT && strcmp(s->text, c->fingerprint) == 0)
            take(&at, s);
    }
    bool by_fingerprint = at != NOT_FOUND;
    for (size_t i = 0; !by_fingerprint && i < access->selector_count; i++)
        if (fits(&access->selectors[i], c))
            take(&at, &access->selectors[i]);
    decide(identity, access, at, peer);
}
