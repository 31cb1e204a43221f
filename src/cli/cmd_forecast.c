/*
 * forecast, warning list, warning ack: when a key will be used up, and the word of operators that
 * lets one sign on which is running out.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/client.h"

#define SENTENCE_MAX 256

static void free_chars(char **p)
{
    free(*p);
}

/* forecast --------------------------------------------------------------------------------------
 */

static void print_when(const struct out *out, const json_t *o, const char *name, const char *title,
                       const char *unknown)
{
    char text[OUT_SHORT];
    int64_t at = 0;
    if (member_time(o, name, &at))
        out_time(text, at);
    else
        (void)snprintf(text, sizeof(text), "%s", unknown);
    out_data(out, "%-14s%s\n", title, text);
}

static void print_forecast(const struct out *out, const json_t *o)
{
    char left[OUT_SHORT], total[OUT_SHORT], per_year[OUT_SHORT], span[OUT_SHORT];
    const json_t *rate = json_object_get(o, "rate");
    out_count(left, member_count(json_object_get(o, "remaining"), "key"));
    out_count(total, member_count(o, "total"));
    out_data(out, "%-14s%s of %s one-time keys\n", "left", left, total);
    if (!json_is_null(json_object_get(o, "per_year"))) {
        out_count(per_year, member_count(o, "per_year"));
        out_span(span, (int64_t)member_count(rate, "seconds"));
        out_data(out, "%-14s%s a year, by the newest %" PRIu64 " of %s\n", "signatures", per_year,
                 member_count(rate, "signatures"), span);
    }
    print_when(out, o, "window_full_at", "window full", "not at this rate");
    print_when(out, o, "exhausted_at", "key used up", "not at this rate");
    if (json_object_get(o, "plan_ends") != NULL)
        print_when(out, o, "plan_ends", "plan ends", "");
    if (json_is_true(json_object_get(o, "waits_for_acknowledgement")))
        out_data(out, "Nothing new is signed before its warning is acknowledged: tidemark warning "
                      "list\n");
}

enum cli_exit cmd_forecast(struct cli *cli, struct cli_fault *fault)
{
    struct client client CLEANUP(client_close) = {0};
    struct answer answer CLEANUP(answer_free) = {0};
    char path[CLIENT_URL_MAX] = "";
    const char *key = NULL;
    enum cli_exit code = args_need(&cli->args, "key", &key, fault);
    if (code == CLI_OK && !name_valid(key))
        code = FAULT(fault, CLI_USAGE, "tidemark key list shows the names",
                     "--key %.80s is no name of a key", key);
    if (code == CLI_OK)
        code = client_open(&client, cli, fault);
    if (code != CLI_OK)
        return code;
    client_path_add(path, "/v1/keys/", key);
    client_path_add(path, "/forecast", "");
    code = client_get_json(&client, path, &answer, fault);
    if (code == CLI_OK && cli->out.json)
        return json_print(answer.json, fault);
    if (code == CLI_OK)
        print_forecast(&cli->out, answer.json);
    return code;
}

/* warning list ----------------------------------------------------------------------------------
 */

static bool print_warning(const struct out *out, const json_t *o)
{
    char key[NAME_LEN_MAX + 1], at[40], sentence[SENTENCE_MAX];
    bool waits = !json_is_true(json_object_get(o, "acknowledged"));
    member_text(o, "key", key, sizeof(key));
    member_text(o, "at", at, sizeof(at));
    member_text(o, "sentence", sentence, sizeof(sentence));
    out_data(out, "%-14s%" PRIu64 "\n", "warning", member_count(o, "id"));
    out_data(out, "%-14s%s: %" PRIu64 " %% or less is left, since %s\n", "key", key,
             member_count(o, "percent"), at);
    if (waits)
        out_data(out, "Nothing new is signed before an operator types this:\n  %s\n", sentence);
    else
        out_data(out, "%-14sacknowledged\n", "");
    return waits;
}

static enum cli_exit show(const struct cli *cli, const struct answer *answer, bool *waits,
                          struct cli_fault *fault)
{
    json_t *list = NULL;
    enum cli_exit code = member_need_array(answer->json, "warnings", &list, fault);
    if (code == CLI_OK && cli->out.json)
        code = json_print(answer->json, fault);
    for (size_t i = 0; code == CLI_OK && i < json_array_size(list); i++)
        *waits = print_warning(&cli->out, json_array_get(list, i)) || *waits;
    if (code == CLI_OK && json_array_size(list) == 0)
        out_data(&cli->out, "no key is running out\n");
    return code;
}

enum cli_exit cmd_warning_list(struct cli *cli, struct cli_fault *fault)
{
    struct client client CLEANUP(client_close) = {0};
    struct answer answer CLEANUP(answer_free) = {0};
    bool waits = false;
    enum cli_exit code = client_open(&client, cli, fault);
    if (code == CLI_OK)
        code = client_get_json(&client, "/v1/warnings", &answer, fault);
    if (code == CLI_OK)
        code = show(cli, &answer, &waits, fault);
    return code == CLI_OK && waits ? CLI_ACK : code;
}

/* warning ack -----------------------------------------------------------------------------------
 */

/* From --sentence, or typed: the point is that somebody reads it. */
static enum cli_exit read_sentence(const struct cli *cli, char sentence[SENTENCE_MAX],
                                   struct cli_fault *fault)
{
    const char *given = args_value(&cli->args, "sentence");
    if (given == NULL) {
        out_talk(&cli->out, "Type the sentence of the warning: ");
        if (fgets(sentence, SENTENCE_MAX, stdin) == NULL)
            return FAULT(fault, CLI_USAGE, "give --sentence TEXT", "nothing was done");
        sentence[strcspn(sentence, "\n")] = '\0';
        return CLI_OK;
    }
    if (strlen(given) >= SENTENCE_MAX)
        return FAULT(fault, CLI_USAGE, "tidemark warning list shows it",
                     "--sentence is longer than any that is shown");
    (void)snprintf(sentence, SENTENCE_MAX, "%s", given);
    return CLI_OK;
}

static enum cli_exit post(const struct cli *cli, struct client *client, uint64_t id,
                          const char *sentence, struct answer *answer, struct cli_fault *fault)
{
    char path[CLIENT_URL_MAX];
    json_t *o = json_pack("{ss}", "sentence", sentence);
    char *text CLEANUP(free_chars) = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (text == NULL)
        return FAULT(fault, CLI_USAGE, "check the sentence for odd characters",
                     "the sentence cannot be sent");
    (void)snprintf(path, sizeof(path), "/v1/warnings/%" PRIu64 "/acknowledgements", id);
    struct upload upload = {.out = &cli->out, .text = text};
    upload.headers[0] = "Content-Type: application/json";
    enum cli_exit code = client_post(client, path, &upload, answer, fault);
    return code == CLI_OK ? answer_check(answer, client_now_s(client), fault) : code;
}

enum cli_exit cmd_warning_ack(struct cli *cli, struct cli_fault *fault)
{
    struct client client CLEANUP(client_close) = {0};
    struct answer answer CLEANUP(answer_free) = {0};
    char sentence[SENTENCE_MAX] = "";
    const char *given = NULL;
    uint64_t id = 0;
    enum cli_exit code = args_need(&cli->args, "id", &given, fault);
    if (code == CLI_OK)
        code = args_number(&cli->args, "id", INT64_MAX, 0, &id, fault);
    if (code == CLI_OK)
        code = read_sentence(cli, sentence, fault);
    if (code == CLI_OK)
        code = client_open(&client, cli, fault);
    if (code == CLI_OK)
        code = post(cli, &client, id, sentence, &answer, fault);
    if (code != CLI_OK)
        return code;
    if (cli->out.json)
        return json_print(answer.json, fault);
    out_note(&cli->out, "acknowledged: the key signs again\n");
    return CLI_OK;
}
