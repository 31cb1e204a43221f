/*
 * client: requests to the service over a unix socket or TCP, with bounded answers.
 *
 * The service is looked for at --url or --socket, then at TIDEMARK_URL or TIDEMARK_SOCKET, then at
 * /run/tidemark/tidemark.sock if that is there, then at http://127.0.0.1:8793. Proxies are not used
 * and redirects not followed: bytes to be signed go where the user said, or nowhere.
 *
 * Over https it is TLS 1.3 or nothing. The service wants a certificate: --tls-cert and --tls-key,
 * else TIDEMARK_TLS_CERT and TIDEMARK_TLS_KEY. Its own is held against --tls-ca, else
 * TIDEMARK_TLS_CA, else the issuers of this host; nothing switches that off.
 *
 * Uses: base, libcurl, Jansson. A struct client belongs to one thread. Blocking; a connection that
 * moves nothing for CLIENT_STALL_S seconds is given up.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/input.h"

#define CLIENT_ANSWER_MAX (16 * 1024 * 1024)
#define CLIENT_CONNECT_S 10
#define CLIENT_STALL_S 300
#define CLIENT_URL_MAX 1024

struct client {
    void *curl;                       /* CURL, NULL when closed */
    struct time_source time;          /* to say when to try again */
    char base[CLIENT_URL_MAX];        /* no slash at the end */
    char socket[108];                 /* "" for TCP */
    char where[CLIENT_URL_MAX + 120]; /* for messages */
    bool https;
    const char *tls_cert, *tls_key, *tls_ca; /* files, borrowed from arguments or environment;
                                                NULL: none */
};

/** What came back. Free with answer_free(), also after a failure. */
struct answer {
    long status;
    char *body; /* NUL-terminated behind len bytes, or NULL if empty */
    size_t len;
    json_t *json;          /* parsed, if the answer is some kind of JSON; else NULL */
    bool replayed;         /* Tidemark-Replayed: true */
    int64_t retry_after_s; /* Retry-After in seconds, or -1 */
};

/**
 * @retval CLI_USAGE     --url, --socket or the TLS files make no sense, or cannot be read.
 * @retval CLI_INTERNAL  libcurl does not start.
 */
enum cli_exit client_open(struct client *client, const struct cli *cli,
                          struct cli_fault *fault) MUST_CHECK;
void client_close(struct client *client);

/** Seconds of UTC, as this host believes. */
int64_t client_now_s(const struct client *client);

void answer_free(struct answer *answer);

/** Append text to a path, percent-encoding all but unreserved characters (RFC 3986 §2.3). What does
 * not fit is cut, so callers bound their texts: names, versions and cursors are far below. */
void client_path_add(char path[CLIENT_URL_MAX], const char *literal, const char *text);

/**
 * GET a path and take the answer, whatever its status.
 * @param[in] path    Starts with '/'.
 * @retval CLI_NETWORK   The service cannot be reached, or the connection broke.
 * @retval CLI_INTERNAL  Not HTTP, longer than CLIENT_ANSWER_MAX, or JSON that cannot be parsed.
 */
enum cli_exit client_get(struct client *client, const char *path, struct answer *answer,
                         struct cli_fault *fault) MUST_CHECK;

/** GET a path; any status but 200 is a failure as answer_check() says, and so is any other body
 * than a JSON object. */
enum cli_exit client_get_json(struct client *client, const char *path, struct answer *answer,
                              struct cli_fault *fault) MUST_CHECK;

#define CLIENT_HEADERS_MAX 4

/** A body to send: a file, or a short text. */
struct upload {
    const struct input *input; /* regular; NULL: text is sent */
    const struct out *out;     /* progress */
    const char *text;
    const char *headers[CLIENT_HEADERS_MAX]; /* "Name: value", NULL behind the last */
};

/** POST a body and take the answer, whatever its status. Codes as client_get(), and CLI_USAGE if
 * the file cannot be read or has become shorter. */
enum cli_exit client_post(struct client *client, const char *path, const struct upload *upload,
                          struct answer *answer, struct cli_fault *fault) MUST_CHECK;

/**
 * Is the answer a 2xx? If not: fault from its problem document, or from its status.
 * @param[in] now_s  Seconds of UTC, to say when to try again.
 */
enum cli_exit answer_check(const struct answer *answer, int64_t now_s,
                           struct cli_fault *fault) MUST_CHECK;

/* Members of JSON objects ------------------------------------------------------------------------
 */

/** A string, made safe to print; "" if it is missing or no string. */
void member_text(const json_t *object, const char *name, char *text, size_t size);

/** A count or index: a number, or a string of digits for those above 2^53. false: neither. */
bool member_u64(const json_t *object, const char *name, uint64_t *value) MUST_CHECK;

/** The same for display: 0 if it is missing. */
uint64_t member_count(const json_t *object, const char *name);

/** An RFC 3339 time. false: missing or no time. */
bool member_time(const json_t *object, const char *name, int64_t *seconds) MUST_CHECK;

/** A member that has to be there. @retval CLI_INTERNAL it is not. */
enum cli_exit member_need_u64(const json_t *object, const char *name, uint64_t *value,
                              struct cli_fault *fault) MUST_CHECK;
enum cli_exit member_need_array(const json_t *object, const char *name, json_t **array,
                                struct cli_fault *fault) MUST_CHECK;

/** Print a value for --json. @retval CLI_INTERNAL it could not be printed. */
enum cli_exit json_print(const json_t *value, struct cli_fault *fault) MUST_CHECK;

#endif
