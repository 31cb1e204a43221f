/*
 * front_rig: a real front in a process of its own, a scripted core at the other end of its socket,
 * and clients that send exactly the bytes they are told to.
 *
 * The core is the fake here, on purpose: it can answer late, twice, for another generation, with
 * lies, or die in the middle of a request, which the real one should never do. One rig at a time;
 * all functions fail the running cmocka test when something goes wrong.
 */
#ifndef TESTS_FRONT_RIG_H
#define TESTS_FRONT_RIG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "http/front.h"
#include "signer/request.h"

#define RIG_VERSION_KEY "router-fw" /* version plan: major.minor.patch, slots bootloader kernel */
#define RIG_TIME_KEY "nightly"      /* time plan of weekly windows */
#define RIG_LOCAL "here"            /* identity of whoever comes over the unix socket */
#define RIG_TCP "loopback"          /* over TCP */
#define RIG_SIGNATURE_LEN 1144
#define RIG_PENDING_MAX 64

struct rig_request {
    struct request request;
    int body;           /* handle that came with it, or -1 */
    size_t behind;      /* bytes that stood behind the request in its message, instead */
    uint64_t body_len;  /* bytes of either */
    uint8_t sha256[32]; /* of these bytes */
    bool sealed;        /* a memory file that nobody can change any more */
    uint8_t bytes[REQUEST_BEHIND_MAX];
};

struct rig {
    pid_t front;
    int control;
    int spool_dirfd;
    struct front_settings settings; /* that it was started with */
    char dir[64];
    char unix_path[96];
    uint16_t port;
    uint16_t tls_port; /* if config.tls was given */
    /* the core */
    int core; /* our end of its socket, or -1 */
    uint64_t generation;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    bool manual; /* SIGN and BATCH requests wait for rig_next(); all others are answered */
    bool deaf;   /* the core reads nothing, so that its socket fills up */
    bool tpm_virtual;
    bool wrong_plan;         /* plans come from the other key */
    bool wrong_hash;         /* replies name another plan than the key has */
    const char *attestation; /* what every question for one is answered with; NULL: {} */
    bool bad_batch;          /* results of a batch end early */
    uint32_t state;          /* said in every reply */
    struct rig_request pending[RIG_PENDING_MAX];
    size_t pending_count;
    struct rig_request last; /* the last SIGN request that was answered by itself */
    uint32_t counts[REQUEST_OP_END];
    uint8_t plan_sha256[2][32]; /* version, time */
};

/** A configuration for tests: unix socket and TCP, small limits, deadlines of a few seconds. */
struct front_config rig_config(void);

/** Start front and core. config->listeners and spool_dirfd are filled in. */
void rig_start(struct rig *rig, struct front_config config);

/** Like rig_start(), but no file of the front may grow beyond this many bytes (RLIMIT_FSIZE). */
void rig_start_limited(struct rig *rig, struct front_config config, uint64_t file_max);

/** Tell the front what the supervisor tells it after SIGHUP: the same settings again. */
void rig_reload(struct rig *rig);

/** Stop both; the front must end by itself and without complaint. */
void rig_stop(struct rig *rig);

/** Take the core away in the middle of everything, or give the front a new one. */
void rig_core_kill(struct rig *rig);
void rig_core_new(struct rig *rig);

/** How many requests of a kind this core has seen, and the last SIGN that it answered by itself. */
uint32_t rig_count(struct rig *rig, enum request_op op);
struct rig_request rig_last(struct rig *rig);

/** Set one of the switches above under the lock. */
void rig_set(struct rig *rig, bool *which, bool value);
void rig_set_state(struct rig *rig, enum service_state state);

/** Wait for a SIGN request (manual mode), at most 60 s. The caller closes its handle. */
struct rig_request rig_next(struct rig *rig);

/** Wait until that many SIGN requests are pending. */
void rig_wait_pending(struct rig *rig, size_t count);

/** A reply to a request that says what it should, with everything unknown that can be. */
struct reply rig_reply(struct rig *rig, const struct request *request, enum rc rc);

/** A reply that brings a signature. */
struct reply rig_signed(struct rig *rig, const struct rig_request *request);

/** Send a reply; payload may be NULL. */
void rig_send(struct rig *rig, struct reply *reply, const void *payload, size_t len);

/** The signature bytes that the core gives for an index. */
void rig_signature(uint8_t out[RIG_SIGNATURE_LEN], uint64_t index);

/* Clients ----------------------------------------------------------------------------------------
 */

struct answered {
    int status;      /* 0: the connection was closed without an answer */
    char head[8192]; /* status line and headers */
    char *body;      /* malloc'ed, NUL-terminated */
    size_t len;
};
void answered_free(struct answered *a);

int client_unix(const struct rig *rig);
int client_tcp(const struct rig *rig);

/** Send all of it; false if the other side has closed. */
bool client_send(int fd, const void *data, size_t len);

/** Read one answer (head = true: without a body), at most timeout_ms. */
struct answered client_read(int fd, bool head, int timeout_ms);

/** True if the other side closes within that time without sending anything more. */
bool client_closed(int fd, int timeout_ms);

/** True if the other side closes within that time, whatever it sends before. */
bool client_ends(int fd, int timeout_ms);

/** Connect over the unix socket, send this text, read the answer, close. */
struct answered client_ask(const struct rig *rig, const char *request);

/** The same for a GET without further headers. */
struct answered client_get(const struct rig *rig, const char *path);

/** The same for a POST with headers (each ended by CRLF, "" for none) and a body. */
struct answered client_post(const struct rig *rig, const char *path, const char *headers,
                            const void *body, size_t len);

/** Value of a header in the answer, or NULL; in a static buffer. */
const char *answered_header(const struct answered *a, const char *name);

#endif
