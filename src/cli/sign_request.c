#include "cli/sign_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "base/text.h"
#include "cli/check.h"
#include "cli/remote.h"

enum cli_exit sign_odd_answer(const char *what, struct cli_fault *fault)
{
    return FAULT(fault, CLI_INTERNAL, "compare tidemark --version with the service's",
                 "the service's answer has %s", what);
}

enum digest_kind sign_digest_kind(const struct sign_job *job)
{
    return job->message == PLAN_RAW ? DIGEST_SHA256 : check_digest_kind(job->message);
}

static void choose_idempotency(struct sign_job *job)
{
    if (job->kind == PLAN_VERSION || job->idempotency_given)
        return;
    uint8_t random[16];
    random_bytes(random, sizeof(random));
    hex_encode(job->idempotency, random, sizeof(random));
}

static enum cli_exit post_file(struct sign_job *job, const char *idempotency_header,
                               struct cli_fault *fault)
{
    char path[CLIENT_URL_MAX] = "", encoded[BASE64_SIZE(32)], digest_header[100];
    client_path_add(path, "/v1/keys/", job->key);
    if (job->version != NULL)
        client_path_add(path, "/signatures?version=", job->version);
    else
        client_path_add(path, "/signatures?window=", "current");
    if (job->slot != NULL)
        client_path_add(path, "&slot=", job->slot);
    base64_encode(encoded, job->digest, 32);
    (void)snprintf(digest_header, sizeof(digest_header), "Content-Digest: sha-256=:%s:", encoded);
    struct upload upload = {.input = &job->input, .out = &job->cli->out};
    upload.headers[0] = "Content-Type: application/octet-stream";
    upload.headers[1] = digest_header;
    upload.headers[2] = idempotency_header;
    return client_post(&job->client, path, &upload, &job->answer, fault);
}

static void free_chars(char **p)
{
    free(*p);
}

/* @param[in] operation  "/signatures" or "/signatures:preview". */
static enum cli_exit post_digest(struct sign_job *job, const char *operation,
                                 const char *idempotency_header, struct cli_fault *fault)
{
    enum digest_kind kind = sign_digest_kind(job);
    char path[CLIENT_URL_MAX] = "", hex[HEX_SIZE(DIGEST_LEN_MAX)];
    client_path_add(path, "/v1/keys/", job->key);
    client_path_add(path, operation, "");
    hex_encode(hex, job->digest, digest_len(kind));
    json_t *o = json_pack("{s{ss}}", "digest", digest_name(kind), hex);
    bool ok = o != NULL;
    if (job->version != NULL)
        ok = ok && json_object_set_new(o, "version", json_string(job->version)) == 0;
    else
        ok = ok && json_object_set_new(o, "window", json_string("current")) == 0;
    if (job->slot != NULL)
        ok = ok && json_object_set_new(o, "slot", json_string(job->slot)) == 0;
    char *text CLEANUP(free_chars) = ok ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (text == NULL)
        return FAULT(fault, CLI_USAGE, "check the command line for odd characters",
                     "--version or --slot cannot be sent");
    struct upload upload = {.text = text};
    upload.headers[0] = "Content-Type: application/json";
    upload.headers[1] = idempotency_header;
    return client_post(&job->client, path, &upload, &job->answer, fault);
}

/* "refused: 4.2.1 kernel is bound to sha256:9f86... (2026-12-08, ci-88123); next free version: ..."
 */
static enum cli_exit refuse_bound(const struct sign_job *job, struct cli_fault *fault)
{
    const json_t *json = job->answer.json, *bound = json_object_get(json, "bound_to");
    char sha[72], by[80], next[80];
    char at[10 + 1]; /* the date */
    member_text(bound, "artifact_sha256", sha, sizeof(sha));
    if (sha[0] == '\0')
        return CLI_OK; /* another shape than we know: answer_check() prints what there is */
    member_text(bound, "signed_at", at, sizeof(at));
    member_text(bound, "request_id", by, sizeof(by));
    member_text(json, "next_version", next, sizeof(next));
    char when[120] = "", after[120] = "";
    if (at[0] != '\0')
        (void)snprintf(when, sizeof(when), " (%s%s%s)", at, by[0] != '\0' ? ", " : "", by);
    if (next[0] != '\0')
        (void)snprintf(after, sizeof(after), "; next free version: %s", next);
    (void)snprintf(fault->problem, sizeof(fault->problem), "version-already-signed");
    return FAULT(fault, CLI_REFUSED,
                 next[0] != '\0' ? NULL : "sign it under another version: tidemark versions",
                 "refused: %s%s%s is bound to sha256:%s%s%s", job->version,
                 job->slot != NULL ? " " : "", job->slot != NULL ? job->slot : "", sha, when,
                 after);
}

/* The file stays here: its digest goes first, and then the hash that the reservation asks for. */
static enum cli_exit post_remote(struct sign_job *job, const char *sent, struct cli_fault *fault)
{
    char path[CLIENT_URL_MAX] = "", hex[HEX_SIZE(REMOTE_HASH_MAX)], id[40];
    char body[HEX_SIZE(REMOTE_HASH_MAX) + 16];
    enum cli_exit code = post_digest(job, "/reservations", sent, fault);
    bool good = job->answer.status == 200 || job->answer.status == 201;
    /* A refusal, or a signature that was made before. */
    if (code != CLI_OK || !good || json_object_get(job->answer.json, "signature") != NULL)
        return code;
    member_text(job->answer.json, "id", id, sizeof(id));
    if (!name_valid(id))
        return sign_odd_answer("no usable \"id\"", fault);
    code = remote_hash(job->answer.json, job->digest, &job->input, &job->cli->out, hex, fault);
    if (code != CLI_OK)
        return code;
    client_path_add(path, "/v1/keys/", job->key);
    client_path_add(path, "/reservations/", id);
    client_path_add(path, "/signature", "");
    (void)snprintf(body, sizeof(body), "{\"hash\":\"%s\"}", hex);
    struct upload upload = {.text = body, .headers = {"Content-Type: application/json"}};
    answer_free(&job->answer);
    return client_post(&job->client, path, &upload, &job->answer, fault);
}

static enum cli_exit post(struct sign_job *job, const char *sent, struct cli_fault *fault)
{
    if (job->remote)
        return post_remote(job, sent, fault);
    if (job->preview)
        return post_digest(job, "/signatures:preview", sent, fault);
    return job->message == PLAN_RAW ? post_file(job, sent, fault)
                                    : post_digest(job, "/signatures", sent, fault);
}

enum cli_exit sign_request(struct sign_job *job, struct cli_fault *fault)
{
    if (!job->preview)
        choose_idempotency(job);
    char header[IDEMPOTENCY_MAX + 24] = "";
    if (job->idempotency[0] != '\0')
        (void)snprintf(header, sizeof(header), "Idempotency-Key: %s", job->idempotency);
    const char *sent = header[0] != '\0' ? header : NULL;
    enum cli_exit code = post(job, sent, fault);
    if (code != CLI_OK)
        return code;
    if (job->answer.status == 409) {
        code = refuse_bound(job, fault);
        if (code != CLI_OK)
            return code;
    }
    return answer_check(&job->answer, client_now_s(&job->client), fault);
}
