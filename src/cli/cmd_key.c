/*
 * key show, key public: one key of the service.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/keyform.h"
#include "cli/save.h"

static enum cli_exit check_key_name(const char *key, struct cli_fault *fault)
{
    if (name_valid(key))
        return CLI_OK;
    return FAULT(fault, CLI_USAGE, "tidemark key list shows the names", "%.80s is no name of a key",
                 key);
}

static void print_text(const struct out *out, const json_t *o, const char *name, const char *title)
{
    char text[200];
    member_text(o, name, text, sizeof(text));
    if (text[0] != '\0')
        out_data(out, "%-12s%s\n", title, text);
}

static void print_number(const struct out *out, const json_t *o, const char *name,
                         const char *title)
{
    char text[OUT_SHORT];
    uint64_t value = 0;
    if (!member_u64(o, name, &value))
        return;
    out_count(text, value);
    out_data(out, "%-12s%s\n", title, text);
}

static void print_key(const struct out *out, const json_t *key)
{
    print_text(out, key, "key", "key");
    print_text(out, key, "key_id", "key id");
    print_text(out, key, "state", "state");
    print_text(out, key, "reason", "reason");
    print_text(out, key, "scheme", "scheme");
    const json_t *parameters = json_object_get(key, "parameters");
    for (size_t i = 0; i < json_array_size(parameters) && i < 16; i++) {
        const char *raw = json_string_value(json_array_get(parameters, i));
        char text[80];
        out_clean(text, sizeof(text), raw != NULL ? raw : "");
        out_data(out, "%-12s%s\n", i == 0 ? "parameters" : "", text);
    }
    print_text(out, key, "profile", "profile");
    print_text(out, key, "kind", "plan kind");
    print_text(out, key, "plan_sha256", "plan sha256");
    print_text(out, key, "message", "message");
    const json_t *windows = json_object_get(key, "windows");
    char count[OUT_SHORT];
    out_count(count, member_count(windows, "count"));
    out_data(out, "%-12s%s of %" PRIu64 " indices, %" PRIu64 " usable\n", "windows", count,
             member_count(windows, "size"), member_count(windows, "usable"));
    print_number(out, windows, "open", "open window");
    print_number(out, windows, "early", "opened early");
    print_number(out, windows, "floor", "floor");
    print_number(out, windows, "min", "starts at");
    print_number(out, key, "export_limit", "export limit");
    print_number(out, key, "epoch", "epoch");
    print_number(out, key, "signed", "signed");
    print_number(out, key, "burned", "burned");
    const json_t *remaining = json_object_get(key, "remaining");
    char in_window[OUT_SHORT], in_key[OUT_SHORT];
    out_count(in_window, member_count(remaining, "window"));
    out_count(in_key, member_count(remaining, "key"));
    out_data(out, "%-12s%s in the window, %s in the key\n", "left", in_window, in_key);
    const json_t *tpm = json_object_get(key, "tpm");
    char tpm_text[80];
    member_text(tpm, "description", tpm_text, sizeof(tpm_text));
    out_data(out, "%-12s%s%s\n", "tpm", tpm_text,
             json_is_true(json_object_get(tpm, "virtual")) ? " (virtual)" : "");
}

enum cli_exit cmd_key_show(struct cli *cli, struct cli_fault *fault)
{
    const char *key = cli->args.operands[0];
    struct client client CLEANUP(client_close) = {0};
    struct answer answer CLEANUP(answer_free) = {0};
    char path[CLIENT_URL_MAX] = "";
    enum cli_exit code = check_key_name(key, fault);
    if (code == CLI_OK)
        code = client_open(&client, cli, fault);
    client_path_add(path, "/v1/keys/", key);
    if (code == CLI_OK)
        code = client_get_json(&client, path, &answer, fault);
    if (code != CLI_OK)
        return code;
    if (cli->out.json)
        return json_print(answer.json, fault);
    print_key(&cli->out, answer.json);
    return CLI_OK;
}

static void free_chars(char **p)
{
    free(*p);
}

/* With --json: {"key", "format", "encoding": "text" or "base64", "data"}. */
static enum cli_exit print_public_json(const char *key, const char *format,
                                       const struct answer *answer, struct cli_fault *fault)
{
    bool binary = keyform_binary(format);
    char *encoded CLEANUP(free_chars) = malloc(BASE64_SIZE(answer->len));
    if (encoded == NULL)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    base64_encode(encoded, (const uint8_t *)answer->body, answer->len);
    json_t *o = json_pack("{ssssssss}", "key", key, "format", format, "encoding",
                          binary ? "base64" : "text", "data", binary ? encoded : answer->body);
    enum cli_exit code = json_print(o, fault);
    json_decref(o);
    return code;
}

static enum cli_exit print_public(const struct answer *answer, const char *format,
                                  struct cli_fault *fault)
{
    if (keyform_binary(format) && isatty(STDOUT_FILENO) == 1)
        return FAULT(fault, CLI_USAGE, "give --out FILE, or --format spki-pem",
                     "a binary key is not printed on a terminal");
    if (fwrite(answer->body, 1, answer->len, stdout) != answer->len)
        return FAULT(fault, CLI_INTERNAL, "check where standard output goes, and repeat",
                     "cannot write to standard output");
    return CLI_OK;
}

static enum cli_exit give_public(const struct cli *cli, const struct answer *answer,
                                 const char *format, struct cli_fault *fault)
{
    const char *key = cli->args.operands[0], *out = args_value(&cli->args, "out");
    enum cli_exit code = keyform_check(format, answer->body, answer->len, fault);
    if (code != CLI_OK)
        return code;
    if (out == NULL)
        return cli->out.json ? print_public_json(key, format, answer, fault)
                             : print_public(answer, format, fault);
    bool force = args_switch(&cli->args, "force");
    code = save_write(out, answer->body, answer->len, force, NULL, fault);
    if (code != CLI_OK)
        return code;
    char path[300];
    out_clean(path, sizeof(path), out);
    out_note(&cli->out, "wrote %s (%zu bytes)\n", path, answer->len);
    return cli->out.json ? print_public_json(key, format, answer, fault) : CLI_OK;
}

enum cli_exit cmd_key_public(struct cli *cli, struct cli_fault *fault)
{
    const char *key = cli->args.operands[0], *format = args_value(&cli->args, "format");
    if (format == NULL)
        format = "spki-pem";
    struct client client CLEANUP(client_close) = {0};
    struct answer answer CLEANUP(answer_free) = {0};
    char path[CLIENT_URL_MAX] = "";
    enum cli_exit code = check_key_name(key, fault);
    if (code == CLI_OK)
        code = client_open(&client, cli, fault);
    client_path_add(path, "/v1/keys/", key);
    client_path_add(path, "/public?format=", format);
    if (code == CLI_OK)
        code = client_get(&client, path, &answer, fault);
    if (code == CLI_OK)
        code = answer_check(&answer, client_now_s(&client), fault);
    return code != CLI_OK ? code : give_public(cli, &answer, format, fault);
}
