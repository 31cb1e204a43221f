/*
 * sign: ask the service for a signature, check it, and write it beside the file.
 *
 * What must not go wrong here: an index that is used and a signature that is lost. So everything
 * that can be known to fail is found before the upload (options, folders, names that are taken), a
 * failure afterwards says how to get the same signature again, and nothing is written that does not
 * verify.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "base/text.h"
#include "cli/check.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/save.h"
#include "cli/sign_request.h"
#include "hbs/spki.h"

#define RECEIPT_MAX (1024 * 1024)

static void job_free(struct sign_job *job)
{
    client_close(&job->client);
    input_close(&job->input);
    answer_free(&job->answer);
    free(job->sig);
}

/* The command line ------------------------------------------------------------------------------
 */

static enum cli_exit read_names(struct sign_job *job, struct cli_fault *fault)
{
    const struct args *args = &job->cli->args;
    enum cli_exit code = args_need(args, "key", &job->key, fault);
    if (code != CLI_OK)
        return code;
    if (!name_valid(job->key))
        return FAULT(fault, CLI_USAGE, "tidemark key list shows the names",
                     "--key %.80s is no name of a key", job->key);
    job->version = args_value(args, "version");
    job->slot = args_value(args, "slot");
    const char *window = args_value(args, "window");
    if (window != NULL && strcmp(window, "current") != 0)
        return FAULT(fault, CLI_USAGE, "write --window current",
                     "only the open window can sign, not %.40s", window);
    if ((job->version == NULL) == (window == NULL))
        return FAULT(fault, CLI_USAGE, "version plans take --version V, others --window current",
                     "sign needs --version or --window, and not both");
    if (job->slot != NULL && job->version == NULL)
        return FAULT(fault, CLI_USAGE, "give --version too", "--slot needs --version");
    /* Longer ones are in no plan; nothing that goes into a request may ever be cut. */
    if (job->version != NULL && !token_valid(job->version, VERSION_LEN_MAX))
        return FAULT(fault, CLI_USAGE, "tidemark key show KEY tells how versions are written",
                     "--version %.80s is no version", job->version);
    if (job->slot != NULL && !name_valid(job->slot))
        return FAULT(fault, CLI_USAGE, "use a slot that the plan names",
                     "--slot %.80s is no name of a slot", job->slot);
    job->force = args_switch(args, "force");
    job->preview = args_switch(args, "preview");
    job->remote = args_switch(args, "remote");
    if (job->preview && job->remote)
        return FAULT(fault, CLI_USAGE, "leave one of them out; a preview uploads nothing",
                     "--preview and --remote do not go together");
    return CLI_OK;
}

static enum cli_exit read_idempotency(struct sign_job *job, struct cli_fault *fault)
{
    const char *given = args_value(&job->cli->args, "idempotency-key");
    if (given == NULL)
        return CLI_OK;
    if (given[0] == '\0' || !token_valid(given, IDEMPOTENCY_MAX))
        return FAULT(fault, CLI_USAGE,
                     "use up to 128 printable ASCII characters without quotes and backslashes",
                     "--idempotency-key cannot be sent");
    (void)snprintf(job->idempotency, sizeof(job->idempotency), "%s", given);
    job->idempotency_given = true;
    return CLI_OK;
}

static enum cli_exit read_digest(struct sign_job *job, struct cli_fault *fault)
{
    const char *given = args_value(&job->cli->args, "sha256");
    if (given == NULL)
        return CLI_OK;
    if (!hex_decode(job->digest, SHA256_LEN, given))
        return FAULT(fault, CLI_USAGE, "give the 64 hexadecimal digits that sha256sum prints",
                     "--sha256 %.80s is no SHA-256", given);
    job->digest_given = true;
    return CLI_OK;
}

/* FILE.sig and FILE.receipt, or what --out makes of them. */
static enum cli_exit name_results(struct sign_job *job, struct cli_fault *fault)
{
    const char *file = job->cli->args.operands[0], *out = args_value(&job->cli->args, "out");
    if (strlen(out != NULL ? out : file) + sizeof(".receipt") > PATH_TEXT_MAX)
        return FAULT(fault, CLI_USAGE, "give a shorter --out", "the name of the file is too long");
    if (out == NULL) {
        (void)snprintf(job->sig_path, PATH_TEXT_MAX, "%s.sig", file);
        (void)snprintf(job->receipt_path, PATH_TEXT_MAX, "%s.receipt", file);
        return CLI_OK;
    }
    size_t len = strlen(out);
    size_t stem = len > 4 && strcmp(out + len - 4, ".sig") == 0 ? len - 4 : len;
    (void)snprintf(job->sig_path, PATH_TEXT_MAX, "%s", out);
    (void)snprintf(job->receipt_path, PATH_TEXT_MAX, "%.*s.receipt", (int)stem, out);
    return CLI_OK;
}

static enum cli_exit open_file(struct sign_job *job, struct cli_fault *fault)
{
    enum cli_exit code = input_open(&job->input, job->cli->args.operands[0], fault);
    if (code != CLI_OK || job->input.regular)
        return code;
    return FAULT(fault, CLI_USAGE, "write it to a file first",
                 "%.300s cannot be read more than once: sign hashes, sends and checks it",
                 job->input.path);
}

/* The key -------------------------------------------------------------------------------------- */

static enum cli_exit fetch_public(struct sign_job *job, struct cli_fault *fault)
{
    const char *path = args_value(&job->cli->args, "public");
    if (path != NULL)
        return check_public_read(&job->public, 0, path, fault);
    char request[CLIENT_URL_MAX] = "";
    client_path_add(request, "/v1/keys/", job->key);
    client_path_add(request, "/public?format=", "spki-der"); /* names the scheme */
    struct answer answer CLEANUP(answer_free) = {0};
    enum cli_exit code = client_get(&job->client, request, &answer, fault);
    if (code == CLI_OK)
        code = answer_check(&answer, client_now_s(&job->client), fault);
    if (code != CLI_OK)
        return code;
    struct err err = {0};
    if (spki_public_read(&job->public, 0, (const uint8_t *)answer.body, answer.len, &err) == RC_OK)
        return CLI_OK;
    return FAULT(fault, CLI_INTERNAL, "compare tidemark --version with the service's",
                 "the service's public key cannot be read: %s", err_text(&err));
}

static enum cli_exit read_key(struct sign_job *job, const json_t *key, struct cli_fault *fault)
{
    char kind[20], message[20];
    member_text(key, "kind", kind, sizeof(kind));
    member_text(key, "message", message, sizeof(message));
    static const enum plan_message messages[] = {PLAN_RAW, PLAN_SHA256, PLAN_SHA384, PLAN_SHA512};
    static const enum plan_kind kinds[] = {PLAN_TIME, PLAN_VERSION, PLAN_INTERVAL};
    bool message_known = false, kind_known = false;
    for (size_t i = 0; i < 4 && !message_known; i++) {
        job->message = messages[i];
        message_known = strcmp(plan_message_name(messages[i]), message) == 0;
    }
    for (size_t i = 0; i < 3 && !kind_known; i++) {
        job->kind = kinds[i];
        kind_known = strcmp(plan_kind_name(kinds[i]), kind) == 0;
    }
    if (!message_known || !kind_known)
        return FAULT(fault, CLI_INTERNAL, "compare tidemark --version with the service's",
                     "key %s is of a kind (%s) or message (%s) that this tidemark does not know",
                     job->key, kind, message);
    if (job->kind == PLAN_VERSION && job->version == NULL)
        return FAULT(fault, CLI_USAGE, "give --version V, not --window",
                     "key %s has a version plan", job->key);
    if (job->kind != PLAN_VERSION && job->version != NULL)
        return FAULT(fault, CLI_USAGE, "give --window current, not --version",
                     "key %s has a %s plan: it knows no versions", job->key, kind);
    return CLI_OK;
}

/* The file is not read at all where the plan signs its SHA-256, and that is known. */
static bool needs_file(const struct sign_job *job)
{
    return !job->digest_given || job->message != PLAN_SHA256;
}

static enum cli_exit digest_file(struct sign_job *job, struct cli_fault *fault)
{
    if (job->digest_given && sign_digest_kind(job) != DIGEST_SHA256)
        return FAULT(fault, CLI_USAGE, "leave --sha256 out", "key %s signs %s, not SHA-256",
                     job->key, digest_name(sign_digest_kind(job)));
    if (!needs_file(job))
        return CLI_OK;
    if (job->digest_given)
        return open_file(job, fault);
    enum cli_exit code = input_digest(&job->input, &job->cli->out, sign_digest_kind(job),
                                      job->digest, &job->size, fault);
    if (code == CLI_OK && job->size != job->input.size)
        code = FAULT(fault, CLI_USAGE, "repeat when nobody is writing to it",
                     "%.300s changed while it was hashed", job->input.path);
    return code;
}

static enum cli_exit fetch_key(struct sign_job *job, struct cli_fault *fault)
{
    char request[CLIENT_URL_MAX] = "";
    client_path_add(request, "/v1/keys/", job->key);
    struct answer answer CLEANUP(answer_free) = {0};
    enum cli_exit code = client_get_json(&job->client, request, &answer, fault);
    if (code == CLI_OK)
        code = read_key(job, answer.json, fault);
    if (code == CLI_OK)
        code = fetch_public(job, fault);
    return code;
}

/*
 * Names that are taken. A request that can only give a new signature stops here. One that may give
 * an old one again (a version, or a given idempotency key) goes on: equal bytes need no
 * overwriting.
 */
static enum cli_exit look_at_results(struct sign_job *job, struct cli_fault *fault)
{
    const char *paths[] = {job->sig_path, job->receipt_path};
    for (size_t i = 0; i < 2; i++) {
        enum save_found found = SAVE_FREE;
        enum cli_exit code = save_look(paths[i], &found, fault);
        if (code != CLI_OK)
            return code;
        bool fresh = job->kind != PLAN_VERSION && !job->idempotency_given;
        if (found == SAVE_TAKEN && fresh && !job->force)
            return FAULT(fault, CLI_USAGE, "give --force to replace it, or --out for another name",
                         "%.300s exists; nothing was sent", paths[i]);
    }
    return CLI_OK;
}

/* The answer ------------------------------------------------------------------------------------
 */

static enum cli_exit read_answer(struct sign_job *job, struct cli_fault *fault)
{
    const json_t *json = job->answer.json;
    if (json == NULL)
        return sign_odd_answer("no JSON", fault);
    enum cli_exit code = member_need_u64(json, "index", &job->index, fault);
    if (code == CLI_OK)
        code = member_need_u64(json, "window", &job->window, fault);
    if (code != CLI_OK)
        return code;
    member_text(json, "id", job->id, sizeof(job->id));
    if (!name_valid(job->id))
        return sign_odd_answer("no usable \"id\"", fault);
    const char *text = json_string_value(json_object_get(json, "signature"));
    job->sig = malloc(HSS_SIG_LEN_MAX);
    if (job->sig == NULL)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    if (text == NULL ||
        !base64_decode(job->sig, HSS_SIG_LEN_MAX, &job->sig_len, text, strlen(text)))
        return sign_odd_answer("no usable \"signature\"", fault);
    return CLI_OK;
}

/* Is it a signature of this very file by this key, and of the index that it is said to be of? */
static enum cli_exit check_answer(struct sign_job *job, struct cli_fault *fault)
{
    uint64_t index = 0;
    struct cli_fault inner = {0};
    enum cli_exit code = needs_file(job)
                             ? check_file(&job->public, job->sig, job->sig_len, job->message,
                                          &job->input, &job->cli->out, &index, &inner)
                             : check_bytes(&job->public, job->sig, job->sig_len, job->digest,
                                           SHA256_LEN, &index, &inner);
    if (code == CLI_NO)
        return FAULT(fault, CLI_NO,
                     "check that nobody wrote to the file meanwhile; if not, call the operator",
                     "what the service returned does not verify, nothing was written: %s",
                     inner.text);
    if (code != CLI_OK)
        return FAULT(fault, code, inner.next, "%s", inner.text);
    if (index != job->index)
        return FAULT(fault, CLI_NO, "call the operator: the service contradicts itself",
                     "the signature is of index %" PRIu64 ", the answer says %" PRIu64
                     "; nothing was written",
                     index, job->index);
    return CLI_OK;
}

static enum cli_exit write_results(struct sign_job *job, struct answer *receipt,
                                   struct cli_fault *fault)
{
    enum cli_exit code =
        save_write(job->sig_path, job->sig, job->sig_len, job->force, &job->sig_written, fault);
    if (code != CLI_OK)
        return code;
    char path[CLIENT_URL_MAX] = "";
    client_path_add(path, "/v1/keys/", job->key);
    client_path_add(path, "/signatures/", job->id);
    client_path_add(path, "/receipt", "");
    code = client_get(&job->client, path, receipt, fault);
    if (code == CLI_OK)
        code = answer_check(receipt, client_now_s(&job->client), fault);
    if (code == CLI_OK && (receipt->len == 0 || receipt->len > RECEIPT_MAX))
        code = sign_odd_answer("no usable receipt", fault);
    if (code == CLI_OK)
        code = save_write(job->receipt_path, receipt->body, receipt->len, job->force,
                          &job->receipt_written, fault);
    return code;
}

static void print_signed(const struct sign_job *job)
{
    const struct out *out = &job->cli->out;
    if (out->quiet)
        return;
    char name[CHECK_NAME_SIZE], when[OUT_SHORT], sig_path[300], receipt_path[300];
    int64_t at = 0;
    if (job->answer.replayed) {
        if (member_time(job->answer.json, "signed_at", &at))
            out_time(when, at);
        else
            (void)snprintf(when, sizeof(when), "before");
        out_note(out, "already signed %s for the same artifact: returned, no index used\n", when);
    } else {
        check_name(name, &job->public);
        out_coloured(out, OUT_GOOD, "signed");
        out_note(out, "   %s  %s  %s%s%s%s%s window %" PRIu64 ", index %" PRIu64 "\n", job->key,
                 name, job->version != NULL ? job->version : "", job->slot != NULL ? " " : "",
                 job->slot != NULL ? job->slot : "", job->version != NULL ? " " : "",
                 out_arrow(out), job->window, job->index);
    }
    out_clean(sig_path, sizeof(sig_path), job->sig_path);
    out_clean(receipt_path, sizeof(receipt_path), job->receipt_path);
    if (job->sig_written)
        out_note(out, "wrote    %s (%zu bytes)%s%s\n", sig_path, job->sig_len,
                 job->receipt_written ? ", " : "", job->receipt_written ? receipt_path : "");
    else if (job->receipt_written)
        out_note(out, "wrote    %s\n", receipt_path);
}

/* "would use  router-fw  4.2.1 kernel -> window 130, index 402101" */
static enum cli_exit print_preview(const struct sign_job *job, struct cli_fault *fault)
{
    const struct out *out = &job->cli->out;
    const json_t *json = job->answer.json, *left = json_object_get(json, "remaining");
    char version[80], slot[80], when[OUT_SHORT];
    uint64_t window = 0, index = 0;
    int64_t at = 0;
    if (json == NULL)
        return sign_odd_answer("no JSON", fault);
    if (out->json)
        return json_print(json, fault);
    enum cli_exit code = member_need_u64(json, "window", &window, fault);
    if (code == CLI_OK)
        code = member_need_u64(json, "index", &index, fault);
    if (code != CLI_OK)
        return code;
    member_text(json, "version", version, sizeof(version));
    member_text(json, "slot", slot, sizeof(slot));
    bool stored = json_is_false(json_object_get(json, "uses_index"));
    out_data(out, "%s  %s  %s%s%s%s%s window %" PRIu64 ", index %" PRIu64 "\n",
             stored ? "stored   " : "would use", job->key, version, slot[0] != '\0' ? " " : "",
             slot, version[0] != '\0' ? " " : "", out_arrow(out), window, index);
    if (stored && member_time(json, "signed_at", &at)) {
        out_time(when, at);
        out_data(out, "signed     %s\n", when);
    } else {
        out_data(out, "left now   %" PRIu64 " in the window, %" PRIu64 " in the key\n",
                 member_count(left, "window"), member_count(left, "key"));
    }
    return CLI_OK;
}

static void print_warnings(const struct sign_job *job)
{
    const json_t *warnings = json_object_get(job->answer.json, "warnings");
    for (size_t i = 0; i < json_array_size(warnings) && i < 20; i++) {
        const char *raw = json_string_value(json_array_get(warnings, i));
        char text[300];
        out_clean(text, sizeof(text), raw != NULL ? raw : "");
        if (text[0] != '\0')
            out_talk(&job->cli->out, "tidemark: warning: %s\n", text);
    }
}

static enum cli_exit print_result(const struct sign_job *job, struct cli_fault *fault)
{
    if (!job->cli->out.json) {
        print_signed(job);
        return CLI_OK;
    }
    json_t *o = json_deep_copy(job->answer.json);
    bool ok =
        o != NULL && json_object_set_new(o, "replayed", json_boolean(job->answer.replayed)) == 0;
    ok = ok && json_object_set_new(o, "signature_file", json_string(job->sig_path)) == 0;
    ok = ok && json_object_set_new(o, "receipt_file", json_string(job->receipt_path)) == 0;
    enum cli_exit code = json_print(ok ? o : NULL, fault);
    json_decref(o);
    return code;
}

/* After the request left, an index may be used: say how to get its signature, whatever failed. */
static void say_how_to_repeat(const struct sign_job *job, struct cli_fault *fault)
{
    bool final = fault->exit == CLI_USAGE || fault->exit == CLI_REFUSED || fault->exit == CLI_ACK ||
                 fault->exit == CLI_DENIED;
    bool refused = final && fault->problem[0] != '\0'; /* the service said so: nothing was used */
    if (refused || job->kind == PLAN_VERSION)
        return;
    char next[sizeof(fault->next)];
    (void)snprintf(
        next, sizeof(next),
        "add --idempotency-key '%s' when you repeat, so that no other index is used; %.390s",
        job->idempotency, fault->next);
    out_clean(fault->next, sizeof(fault->next), next);
}

static enum cli_exit prepare(struct sign_job *job, struct cli_fault *fault)
{
    enum cli_exit code = read_names(job, fault);
    if (code == CLI_OK)
        code = read_idempotency(job, fault);
    if (code == CLI_OK && !job->preview)
        code = name_results(job, fault);
    if (code == CLI_OK)
        code = read_digest(job, fault);
    if (code == CLI_OK && !job->digest_given)
        code = open_file(job, fault); /* before the service is asked for anything */
    if (code == CLI_OK)
        code = client_open(&job->client, job->cli, fault);
    if (code == CLI_OK)
        code = fetch_key(job, fault);
    if (code == CLI_OK && !job->preview)
        code = look_at_results(job, fault);
    if (code == CLI_OK)
        code = digest_file(job, fault);
    return code;
}

enum cli_exit cmd_sign(struct cli *cli, struct cli_fault *fault)
{
    struct sign_job job CLEANUP(job_free) = {.cli = cli, .input = INPUT_CLOSED};
    enum cli_exit code = prepare(&job, fault);
    if (code != CLI_OK)
        return code;
    struct answer receipt CLEANUP(answer_free) = {0};
    code = sign_request(&job, fault);
    if (job.preview) {
        print_warnings(&job);
        return code == CLI_OK ? print_preview(&job, fault) : code;
    }
    if (code == CLI_OK)
        code = read_answer(&job, fault);
    if (code == CLI_OK)
        code = check_answer(&job, fault);
    if (code == CLI_OK)
        code = write_results(&job, &receipt, fault);
    if (code != CLI_OK) {
        say_how_to_repeat(&job, fault);
        return code;
    }
    print_warnings(&job);
    return print_result(&job, fault);
}
