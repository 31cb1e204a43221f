/*
 * clock status, clock ack-forward: the clock that the service signs by, and the word of operators
 * about a jump forward.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/client.h"

#define NUMBER_MAX INT64_MAX

static void free_chars(char **p)
{
    free(*p);
}

/* status ----------------------------------------------------------------------------------------
 */

static void line(const struct out *out, const json_t *o, const char *name, const char *title)
{
    char text[260];
    member_text(o, name, text, sizeof(text));
    if (text[0] != '\0')
        out_data(out, "%-12s%s\n", title, text);
}

static double member_signed(const json_t *o, const char *name)
{
    return (double)json_integer_value(json_object_get(o, name));
}

static void print_source(const struct out *out, const json_t *source)
{
    char ref_id[16];
    member_text(source, "ref_id", ref_id, sizeof(ref_id));
    if (ref_id[0] == '\0')
        return;
    out_data(out, "%-12s%s, stratum %" PRIu64 ", host clock off by %.3f ms", "source", ref_id,
             member_count(source, "stratum"), member_signed(source, "offset_us") / 1000);
    if (json_object_get(source, "error_us") != NULL)
        out_data(out, ", right to %.3f ms", member_signed(source, "error_us") / 1000);
    out_data(out, "\n");
}

static void print_tpm(const struct out *out, const json_t *tpm)
{
    char up[OUT_SHORT];
    if (tpm == NULL) {
        out_data(out, "%-12snot read yet\n", "tpm clock");
        return;
    }
    out_span(up, (int64_t)(member_count(tpm, "clock_ms") / 1000));
    out_data(out, "%-12s%s, %" PRIu64 " resets, %" PRIu64 " restarts, %s\n", "tpm clock", up,
             member_count(tpm, "resets"), member_count(tpm, "restarts"),
             json_is_true(json_object_get(tpm, "safe")) ? "safe" : "may have fallen back");
}

static void print_jump(const struct out *out, const json_t *jump)
{
    char span[OUT_SHORT];
    char windows[OUT_SHORT];
    char keys[OUT_SHORT];
    const json_t *list = json_object_get(jump, "keys");
    out_span(span, (int64_t)member_signed(jump, "seconds"));
    out_count(windows, member_count(jump, "windows"));
    out_count(keys, member_count(jump, "one_time_keys"));
    out_data(out, "\n%-12s%" PRIu64 "\n", "jump", member_count(jump, "id"));
    line(out, jump, "from", "from");
    line(out, jump, "to", "to");
    out_data(out, "%-12s%s\n", "length", span);
    out_data(out, "%-12s%s windows with %s one-time keys\n", "costs", windows, keys);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *key = json_array_get(list, i);
        char name[NAME_LEN_MAX + 1];
        member_text(key, "key", name, sizeof(name));
        out_count(windows, member_count(key, "windows"));
        out_count(keys, member_count(key, "one_time_keys"));
        out_data(out, "%-12s%s: %s windows, %s one-time keys\n", "", name, windows, keys);
    }
    out_data(out,
             "\nIf a clock of your own shows this time too, accept it; it cannot be taken back:\n"
             "  tidemark clock ack-forward --id %" PRIu64 " --windows %" PRIu64 " --utc TIME\n",
             member_count(jump, "id"), member_count(jump, "windows"));
}

static void print_reasons(const struct out *out, const json_t *reasons)
{
    for (size_t i = 0; i < json_array_size(reasons) && i < 32; i++) {
        const char *raw = json_string_value(json_array_get(reasons, i));
        char text[40];
        out_clean(text, sizeof(text), raw != NULL ? raw : "");
        out_data(out, "%-12s%s\n", i == 0 ? "reasons" : "", text);
    }
}

static void print_clock(const struct out *out, const json_t *clock)
{
    char state[40];
    char since[40];
    member_text(clock, "state", state, sizeof(state));
    member_text(clock, "since", since, sizeof(since));
    out_data(out, "%-12s", "clock");
    out_coloured(out, json_is_true(json_object_get(clock, "safe")) ? OUT_GOOD : OUT_BAD, state);
    out_data(out, "%s%s\n", since[0] != '\0' ? " since " : "", since);
    print_reasons(out, json_object_get(clock, "reasons"));
    line(out, clock, "detail", "detail");
    line(out, clock, "earliest", "earliest");
    line(out, clock, "latest", "latest");
    print_source(out, json_object_get(clock, "source"));
    line(out, clock, "floor", "floor");
    line(out, clock, "last_record", "last record");
    line(out, clock, "closed_before", "closed");
    print_tpm(out, json_object_get(clock, "tpm"));
    if (json_object_get(clock, "jump") != NULL)
        print_jump(out, json_object_get(clock, "jump"));
}

/* 0 if it may be signed by, else as for the service's state ClockUnsafe; a jump waits for somebody
 * to acknowledge it. */
static enum cli_exit exit_of(const json_t *clock)
{
    if (json_is_true(json_object_get(clock, "safe")))
        return CLI_OK;
    return json_object_get(clock, "jump") != NULL ? CLI_ACK : CLI_UNSAFE;
}

enum cli_exit cmd_clock_status(struct cli *cli, struct cli_fault *fault)
{
    struct client client CLEANUP(client_close) = {0};
    struct answer answer CLEANUP(answer_free) = {0};
    enum cli_exit code = client_open(&client, cli, fault);
    if (code == CLI_OK)
        code = client_get_json(&client, "/v1/clock", &answer, fault);
    if (code == CLI_OK && cli->out.json)
        code = json_print(answer.json, fault);
    if (code != CLI_OK)
        return code;
    print_clock(&cli->out, answer.json);
    return exit_of(answer.json);
}

/* ack-forward -----------------------------------------------------------------------------------
 */

static enum cli_exit need_number(const struct cli *cli, const char *name, uint64_t *value,
                                 struct cli_fault *fault)
{
    const char *text = NULL;
    enum cli_exit code = args_need(&cli->args, name, &text, fault);
    return code == CLI_OK ? args_number(&cli->args, name, NUMBER_MAX, 0, value, fault) : code;
}

static enum cli_exit confirm(const struct cli *cli, struct cli_fault *fault)
{
    char answer[16] = "";
    if (args_switch(&cli->args, "yes"))
        return CLI_OK;
    if (!isatty(STDIN_FILENO))
        return FAULT(fault, CLI_USAGE, "run it again with --yes", "nothing was done");
    (void)fprintf(stderr, "The skipped windows can never be signed in again. Type 'accept': ");
    if (fgets(answer, sizeof(answer), stdin) != NULL && strcmp(answer, "accept\n") == 0)
        return CLI_OK;
    return FAULT(fault, CLI_USAGE, "run it again if it is meant", "nothing was done");
}

static char *make_body(uint64_t id, uint64_t windows, const char *utc)
{
    json_t *o =
        json_pack("{sI sI ss}", "id", (json_int_t)id, "windows", (json_int_t)windows, "utc", utc);
    char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

enum cli_exit cmd_clock_ack(struct cli *cli, struct cli_fault *fault)
{
    struct client client CLEANUP(client_close) = {0};
    struct answer answer CLEANUP(answer_free) = {0};
    const char *utc = NULL;
    uint64_t id = 0;
    uint64_t windows = 0;
    int64_t seconds = 0;
    enum cli_exit code = need_number(cli, "id", &id, fault);
    if (code == CLI_OK)
        code = need_number(cli, "windows", &windows, fault);
    if (code == CLI_OK)
        code = args_need(&cli->args, "utc", &utc, fault);
    if (code == CLI_OK && !rfc3339_parse(&seconds, utc))
        code = FAULT(fault, CLI_USAGE, "write it like 2026-11-25T10:00:00Z",
                     "--utc %.40s is no time", utc);
    if (code == CLI_OK)
        code = confirm(cli, fault);
    if (code == CLI_OK)
        code = client_open(&client, cli, fault);
    if (code != CLI_OK)
        return code;
    char *text CLEANUP(free_chars) = make_body(id, windows, utc);
    if (text == NULL)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    struct upload upload = {.out = &cli->out, .text = text};
    upload.headers[0] = "Content-Type: application/json";
    code = client_post(&client, "/v1/clock/acknowledgements", &upload, &answer, fault);
    if (code == CLI_OK)
        code = answer_check(&answer, client_now_s(&client), fault);
    if (code != CLI_OK)
        return code;
    if (cli->out.json)
        return json_print(answer.json, fault);
    out_note(&cli->out, "accepted: the service signs again when the clock is warm\n");
    return CLI_OK;
}
