/*
 * front: the process that talks HTTP. Parses everything from outside, holds no key, no TPM, no
 * ledger.
 *
 * Uses: base, policy (plans, read only), signer/request.h, libmicrohttpd, Jansson.
 * One process, one call: front_run() returns when told to stop.
 */
#ifndef HTTP_FRONT_H
#define HTTP_FRONT_H

#include <stddef.h>
#include <stdint.h>

#include "base/pulse.h"
#include "base/rc.h"
#include "http/tls.h"
#include "policy/access.h"

#define FRONT_LISTENERS_MAX 4

/** What may change while the front runs. */
struct front_settings {
    uint64_t body_max;          /* bytes of an artifact */
    uint64_t body_memory_max;   /* up to this size a body is spooled into a memfd */
    uint32_t header_deadline_s; /* complete headers within, from connect or end of last answer */
    uint32_t body_deadline_s;   /* whole body within */
    uint32_t core_deadline_s;   /* answer of the core within, else 503 */
    uint32_t log_level;         /* enum log_level: lines above it are left out; 0: as it is */
};

struct front_config {
    int listeners[FRONT_LISTENERS_MAX];     /* bound, listening sockets (unix or loopback
                                               TCP); borrowed, made non-blocking */
    bool listener_tls[FRONT_LISTENERS_MAX]; /* which of them speak TLS: the only ones that may be
                                               reached from other machines */
    size_t listener_count;
    struct tls_files tls;        /* what these need */
    const struct access *access; /* identities; borrowed. Empty: root and our own user, as
                                    identity.h says */
    int spool_dirfd;             /* folder for bodies that do not fit in memory (O_TMPFILE) */
    uint64_t memory_max;         /* bytes of bodies and answers in memory, of all; 0: no limit */
    uint64_t spool_max;          /* bytes of bodies in the spool folder, of all; 0: no limit */
    uint64_t spool_keep_free;    /* bytes that they leave on its file system; 0: not looked at */
    uint32_t connections_max;    /* of all listeners together; more wait in the backlog */
    uint32_t requests_max;       /* signing requests in flight; more get 503 with Retry-After */
    uint32_t peer_connections;   /* of one address or user; more are closed at once; 0: no limit */
    uint32_t peer_requests;      /* in flight, of one address or user; more get 503; 0: no limit */
    uint32_t body_rate_min;      /* bytes a second that a body must come with at least, beside the
                                    header deadline; 0: only body_deadline_s counts */
    struct front_settings settings; /* to begin with */
    struct pulse *pulse;            /* beats while the front goes round; NULL: nobody watches */
};

/**
 * Serve until the control socket closes or says stop.
 *
 * The control socket (SOCK_SEQPACKET) comes from the supervisor, which sends messages of the form
 * struct front_control with the socket of a (new) core attached. When a core goes away, all its
 * requests in flight are answered 503, and until the next one comes so are new ones.
 *
 * @param[in] config   Borrowed.
 * @param[in] control  Borrowed, open.
 * @retval RC_OK           Told to stop: connections were drained for at most 5 s.
 * @retval RC_HALT_SYSTEM  The HTTP library or a system call failed.
 */
enum rc front_run(const struct front_config *config, int control, struct err *err) MUST_CHECK;

enum front_control_op { FRONT_NEW_CORE = 1, FRONT_STOP, FRONT_SETTINGS };
struct front_control {
    uint32_t op;
    uint64_t generation;            /* FRONT_NEW_CORE: of the core whose socket is attached */
    struct front_settings settings; /* FRONT_SETTINGS: they hold for requests that begin from now */
};

#endif
