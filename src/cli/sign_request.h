/*
 * sign_request: the part of `tidemark sign` that talks to the service about one signature: upload,
 * digest, preview, or hash here.
 *
 * Uses: client, remote. One thread, blocking.
 */
#ifndef CLI_SIGN_REQUEST_H
#define CLI_SIGN_REQUEST_H

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/input.h"
#include "hbs/public.h"
#include "policy/plan.h"

#define PATH_TEXT_MAX 4096
#define IDEMPOTENCY_MAX 128

struct sign_job {
    struct cli *cli;
    struct client client;
    struct input input;
    /* the command line */
    const char *key;
    const char *version; /* or NULL */
    const char *slot;    /* or NULL */
    bool force;
    bool preview;
    bool remote;
    bool idempotency_given;
    char idempotency[IDEMPOTENCY_MAX + 1]; /* "" if none is sent */
    char sig_path[PATH_TEXT_MAX];
    char receipt_path[PATH_TEXT_MAX];
    /* the key */
    enum plan_message message;
    enum plan_kind kind;
    struct hbs_public public;
    /* the artifact */
    bool digest_given; /* by --sha256 */
    uint8_t digest[DIGEST_LEN_MAX];
    uint64_t size;
    /* the answer */
    struct answer answer;
    char id[40];
    uint64_t window, index;
    uint8_t *sig;
    size_t sig_len;
    bool sig_written, receipt_written; /* false: the same bytes were there already */
};

/** Digest that is sent: what the plan signs, or SHA-256 of what is signed as it is. */
enum digest_kind sign_digest_kind(const struct sign_job *job);

/** CLI_INTERNAL: the service's answer is none that we know. */
enum cli_exit sign_odd_answer(const char *what, struct cli_fault *fault) MUST_CHECK;

/**
 * Ask for the signature, or for the preview.
 * @param[in,out] job  Command line, key and digest are complete; answer is filled, and idempotency
 *                     where one is needed and none was given.
 * @return CLI_OK, or what answer_check() makes of a refusal; CLI_NET; CLI_USAGE: the file is not
 *         what it was, or is not that of --sha256. An index may be used unless the fault names a
 *         problem of the service.
 */
enum cli_exit sign_request(struct sign_job *job, struct cli_fault *fault) MUST_CHECK;

#endif
