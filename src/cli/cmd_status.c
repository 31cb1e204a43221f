/*
 * status, windows, versions: the service's state for people; with --json, its answers as they are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "policy/plan.h"

#define PAGES_MAX 2000 /* of one list: 1,000 entries each, more than any plan has windows */
#define BAR_CELLS 10
#define WINDOWS_BEFORE 9
#define WEAR_SHOWN_PERCENT 50 /* from here on in colour; the service warns from here on too */

static int64_t now_s(const struct cli *cli)
{
    const struct time_source *time = &cli->out.time;
    return time->real_ns(time->ctx) / INT64_C(1000000000);
}

static enum out_colour state_colour(const char *state)
{
    switch (cli_exit_of_state(state)) {
    case CLI_OK:
        return OUT_GOOD;
    case CLI_LATER:
    case CLI_ACK:
        return OUT_WARN;
    default:
        return OUT_BAD;
    }
}

static enum cli_exit print_table(const struct cli *cli, const struct out_table *table,
                                 struct cli_fault *fault)
{
    if (out_table_print(&cli->out, table))
        return CLI_OK;
    return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
}

/* status ----------------------------------------------------------------------------------------
 */

static void print_check(const struct cli *cli, const json_t *checks, const char *name,
                        const char *more)
{
    char text[200];
    member_text(checks, name, text, sizeof(text));
    out_data(&cli->out, "%-10s", name);
    out_coloured(&cli->out, strcmp(text, "ok") == 0 ? OUT_GOOD : OUT_WARN,
                 text[0] != '\0' ? text : "unknown");
    out_data(&cli->out, "%s%s\n", more[0] != '\0' ? "  " : "", more);
}

static void print_service(const struct cli *cli, const struct client *client, const json_t *state)
{
    const struct out *out = &cli->out;
    const json_t *tpm = json_object_get(state, "tpm"), *checks = json_object_get(state, "checks");
    char name[40], description[120];
    member_text(state, "state", name, sizeof(name));
    member_text(tpm, "description", description, sizeof(description));
    bool virtual = json_is_true(json_object_get(tpm, "virtual"));
    out_data(out, "%-10s", "service");
    out_coloured(out, state_colour(name), name);
    out_data(out, "  %s\n", client->where);
    print_check(cli, checks, "ledger", "");
    print_check(cli, checks, "tpm", description);
    if (virtual)
        out_data(out, "%-10s%s\n", "",
                 "virtual: a snapshot of the whole machine rolls it back too");
    print_check(cli, checks, "clock", "");
    print_check(cli, checks, "nodes", "");
}

/* "3 %, until 2061": how worn the key's NV indices are; "" from a service that does not say. */
static void wear_text(const json_t *key, char text[OUT_SHORT])
{
    const json_t *wear = json_object_get(key, "wear");
    uint64_t year = 0;
    text[0] = '\0';
    if (wear == NULL)
        return;
    uint64_t percent = member_count(wear, "percent");
    if (member_u64(wear, "used_up", &year))
        (void)snprintf(text, OUT_SHORT, "%" PRIu64 " %%, until %" PRIu64, percent, year);
    else
        (void)snprintf(text, OUT_SHORT, "%" PRIu64 " %%", percent);
}

static void add_key(struct out_table *table, const json_t *key)
{
    char name[NAME_LEN_MAX + 1], kind[20], state[40], reason[170];
    char made[OUT_SHORT], in_window[OUT_SHORT], in_key[OUT_SHORT], wear[OUT_SHORT];
    member_text(key, "key", name, sizeof(name));
    member_text(key, "kind", kind, sizeof(kind));
    member_text(key, "state", state, sizeof(state));
    member_text(key, "reason", reason, sizeof(reason));
    const json_t *remaining = json_object_get(key, "remaining");
    out_count(made, member_count(key, "signed"));
    out_count(in_window, member_count(remaining, "window"));
    out_count(in_key, member_count(remaining, "key"));
    wear_text(key, wear);
    uint64_t percent = member_count(json_object_get(key, "wear"), "percent");
    out_table_cell(table, OUT_PLAIN, "%s", name);
    out_table_cell(table, OUT_PLAIN, "%s", kind);
    out_table_cell(table, state_colour(state), "%s", state);
    out_table_cell(table, OUT_PLAIN, "%s", made);
    out_table_cell(table, OUT_PLAIN, "%s", in_window);
    out_table_cell(table, OUT_PLAIN, "%s", in_key);
    out_table_cell(table, percent >= WEAR_SHOWN_PERCENT ? OUT_WARN : OUT_PLAIN, "%s", wear);
    out_table_cell(table, OUT_WARN, "%s", reason);
}

static enum cli_exit print_keys(const struct cli *cli, const json_t *keys, struct cli_fault *fault)
{
    static const char *const heading[] = {
        "key", "kind", "state", "signed", "left in window", "left in key", "TPM wear", ""};
    struct out_table table CLEANUP(out_table_free) = {0};
    out_table_init(&table, "lllrrrll");
    for (size_t i = 0; i < sizeof(heading) / sizeof(heading[0]); i++)
        out_table_cell(&table, OUT_BOLD, "%s", heading[i]);
    for (size_t i = 0; i < json_array_size(keys); i++)
        add_key(&table, json_array_get(keys, i));
    return print_table(cli, &table, fault);
}

/* Warnings of all keys, each once. */
static void print_warnings(const struct cli *cli, const json_t *keys)
{
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *key = json_array_get(keys, i);
        char name[NAME_LEN_MAX + 1];
        member_text(key, "key", name, sizeof(name));
        const json_t *warnings = json_object_get(key, "warnings");
        for (size_t w = 0; w < json_array_size(warnings) && w < 20; w++) {
            const char *raw = json_string_value(json_array_get(warnings, w));
            char text[300];
            out_clean(text, sizeof(text), raw != NULL ? raw : "");
            out_talk(&cli->out, "tidemark: warning: %s: %s\n", name, text);
        }
    }
}

static enum cli_exit fetch_keys(struct client *client, struct answer *answer, json_t **keys,
                                struct cli_fault *fault)
{
    enum cli_exit code = client_get_json(client, "/v1/keys", answer, fault);
    if (code != CLI_OK)
        return code;
    return member_need_array(answer->json, "keys", keys, fault);
}

enum cli_exit cmd_status(struct cli *cli, struct cli_fault *fault)
{
    struct client client CLEANUP(client_close) = {0};
    struct answer state CLEANUP(answer_free) = {0}, keys CLEANUP(answer_free) = {0};
    enum cli_exit code = client_open(&client, cli, fault);
    /* A service that is not well may answer with its state and another status than 200. */
    if (code == CLI_OK)
        code = client_get(&client, "/health/state", &state, fault);
    char name[40];
    member_text(state.json, "state", name, sizeof(name));
    if (code == CLI_OK && name[0] == '\0')
        code = answer_check(&state, client_now_s(&client), fault);
    if (code == CLI_OK && name[0] == '\0')
        code = FAULT(fault, CLI_INTERNAL, "check the address: is that a tidemark service?",
                     "the answer from %s names no state", client.where);
    if (code != CLI_OK)
        return code;
    /* Keys are a bonus: a service that is just starting cannot list them. */
    struct cli_fault no_keys = {0};
    json_t *list = NULL;
    bool has_keys = fetch_keys(&client, &keys, &list, &no_keys) == CLI_OK;
    if (cli->out.json) {
        json_t *o = json_pack("{sOsO?}", "service", state.json, "keys", has_keys ? list : NULL);
        code = json_print(o, fault);
        json_decref(o);
    } else {
        print_service(cli, &client, state.json);
        if (has_keys && json_array_size(list) > 0) {
            out_data(&cli->out, "\n");
            code = print_keys(cli, list, fault);
            print_warnings(cli, list);
        } else {
            out_data(&cli->out, "\n%s\n",
                     has_keys ? "no keys yet: tidemark key new PLAN" : no_keys.text);
        }
    }
    return code != CLI_OK ? code : cli_exit_of_state(name);
}

enum cli_exit cmd_key_list(struct cli *cli, struct cli_fault *fault)
{
    struct client client CLEANUP(client_close) = {0};
    struct answer answer CLEANUP(answer_free) = {0};
    json_t *keys = NULL;
    enum cli_exit code = client_open(&client, cli, fault);
    if (code == CLI_OK)
        code = fetch_keys(&client, &answer, &keys, fault);
    if (code != CLI_OK)
        return code;
    return cli->out.json ? json_print(answer.json, fault) : print_keys(cli, keys, fault);
}

/* Lists in pages ------------------------------------------------------------------------------- */

/* The member "next": a number or a text; false if the list ends here. */
static bool next_cursor(const json_t *page, char *cursor, size_t size)
{
    const json_t *next = json_object_get(page, "next");
    cursor[0] = '\0';
    if (json_is_integer(next))
        (void)snprintf(cursor, size, "%" JSON_INTEGER_FORMAT, json_integer_value(next));
    else
        member_text(page, "next", cursor, size);
    return cursor[0] != '\0';
}

/*
 * Fetch all pages of a list into one array.
 * path has its query already, so that "&cursor=" can follow.
 */
static enum cli_exit fetch_pages(struct client *client, const char *path, const char *name,
                                 json_t *all, struct cli_fault *fault)
{
    char cursor[80] = "", before[80] = "";
    for (int page = 0; page < PAGES_MAX; page++) {
        char request[CLIENT_URL_MAX] = "";
        client_path_add(request, path, "");
        if (cursor[0] != '\0')
            client_path_add(request, "&cursor=", cursor);
        struct answer answer CLEANUP(answer_free) = {0};
        json_t *entries = NULL;
        enum cli_exit code = client_get_json(client, request, &answer, fault);
        if (code == CLI_OK)
            code = member_need_array(answer.json, name, &entries, fault);
        if (code != CLI_OK)
            return code;
        if (json_array_extend(all, entries) != 0)
            return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
        (void)snprintf(before, sizeof(before), "%s", cursor);
        if (!next_cursor(answer.json, cursor, sizeof(cursor)))
            return CLI_OK;
        if (strcmp(cursor, before) == 0)
            break;
    }
    return FAULT(fault, CLI_INTERNAL, "ask for less with --from and --to, or --prefix",
                 "the service's list of %s does not end", name);
}

static enum cli_exit need_key(const struct cli *cli, const char **key, struct cli_fault *fault)
{
    enum cli_exit code = args_need(&cli->args, "key", key, fault);
    if (code == CLI_OK && !name_valid(*key))
        code = FAULT(fault, CLI_USAGE, "tidemark key list shows the names",
                     "%.80s is no name of a key", *key);
    return code;
}

static enum cli_exit print_list(const char *name, json_t *list, struct cli_fault *fault)
{
    json_t *o = json_pack("{sO}", name, list);
    enum cli_exit code = json_print(o, fault);
    json_decref(o);
    return code;
}

static void free_json(json_t **json)
{
    json_decref(*json);
}

/* windows ---------------------------------------------------------------------------------------
 */

struct range {
    uint64_t from, to;
};

/* Which windows to show: what was asked for, or the newest that was opened and its neighbours. */
static enum cli_exit choose_range(const struct cli *cli, const json_t *key, struct range *range,
                                  struct cli_fault *fault)
{
    uint64_t count = 0, newest = 0, open = 0;
    const json_t *windows = json_object_get(key, "windows");
    enum cli_exit code = member_need_u64(windows, "count", &count, fault);
    if (code != CLI_OK)
        return code;
    if (!member_u64(windows, "floor", &newest))
        newest = 0;
    if (member_u64(windows, "open", &open) && open > newest)
        newest = open;
    uint64_t last = count > 0 ? count - 1 : 0;
    bool all = args_switch(&cli->args, "all");
    uint64_t from = all || newest < WINDOWS_BEFORE ? 0 : newest - WINDOWS_BEFORE;
    uint64_t to = all || newest >= last ? last : newest + 1;
    code = args_number(&cli->args, "from", UINT64_C(1) << 60, from, &range->from, fault);
    /* --from alone goes on to the end of the default, or shows one screen from there. */
    if (code == CLI_OK && range->from > to)
        to = last - range->from < WINDOWS_BEFORE ? last : range->from + WINDOWS_BEFORE;
    if (code == CLI_OK)
        code = args_number(&cli->args, "to", UINT64_C(1) << 60, to, &range->to, fault);
    if (code == CLI_OK && (range->from > range->to || range->from > last))
        code = FAULT(fault, CLI_USAGE, "give --from and --to in order and inside the key",
                     "the key has windows 0 to %" PRIu64 ": none from %" PRIu64 " to %" PRIu64,
                     last, range->from, range->to);
    if (code == CLI_OK && range->to > last)
        range->to = last;
    return code;
}

static void add_state(struct out_table *table, const json_t *window, int64_t now)
{
    char state[20], span[OUT_SHORT];
    int64_t closes = 0;
    int64_t opens = 0;
    member_text(window, "state", state, sizeof(state));
    bool open = strcmp(state, "open") == 0;
    bool early = open && member_time(window, "opens", &opens) && opens > now;
    if (open && member_time(window, "closes", &closes) && closes > now) {
        out_span(span, closes - now);
        out_table_cell(table, OUT_GOOD, "open%s, %s to go", early ? " early" : "", span);
        return;
    }
    enum out_colour colour = open ? OUT_GOOD : strcmp(state, "skipped") == 0 ? OUT_WARN : OUT_DIM;
    out_table_cell(table, colour, "%s", state);
}

/* Some window waits for hashes that are made elsewhere: only then is there a column for it. */
static bool any_reserved(const json_t *windows)
{
    for (size_t i = 0; i < json_array_size(windows); i++)
        if (member_count(json_array_get(windows, i), "reserved") > 0)
            return true;
    return false;
}

static void add_window(struct out_table *table, const json_t *window, bool timed, bool reserved,
                       int64_t now, bool ascii)
{
    char label[64], state[20], bar[OUT_BAR_SIZE];
    uint64_t used = member_count(window, "signed"), usable = member_count(window, "usable");
    uint64_t left = member_count(window, "remaining"), burned = member_count(window, "burned");
    int64_t opens = 0;
    member_text(window, "label", label, sizeof(label));
    member_text(window, "state", state, sizeof(state));
    if (timed && member_time(window, "opens", &opens)) {
        char full[RFC3339_SIZE];
        rfc3339_print(full, opens);
        /* Windows that do not start at midnight need their hour. */
        (void)snprintf(label, sizeof(label), "%.10s", full);
        if (strcmp(full + 11, "00:00:00Z") != 0)
            (void)snprintf(label, sizeof(label), "%.10s %.5s", full, full + 11);
    }
    /* Burned and reserved indices are gone as well: the bar shows how full the window is. */
    uint64_t waiting = member_count(window, "reserved");
    out_bar(bar, used + burned + waiting, usable, BAR_CELLS, ascii);
    bool open = strcmp(state, "open") == 0, scarce = open && left * 10 <= usable;
    out_table_cell(table, OUT_PLAIN, "%" PRIu64, member_count(window, "window"));
    out_table_cell(table, OUT_PLAIN, "%s", label);
    out_table_cell(table, scarce ? OUT_WARN : OUT_PLAIN, "%s", bar);
    out_table_cell(table, OUT_PLAIN, "%" PRIu64, used);
    if (scarce)
        out_table_cell(table, OUT_WARN, "%" PRIu64 " left", left);
    else
        out_table_cell(table, OUT_PLAIN, "%s", "");
    if (reserved)
        out_table_cell(table, OUT_PLAIN, "%" PRIu64, waiting);
    out_table_cell(table, burned > 0 ? OUT_WARN : OUT_PLAIN, "%" PRIu64, burned);
    add_state(table, window, now);
}

static enum cli_exit print_windows(const struct cli *cli, const json_t *windows,
                                   struct cli_fault *fault)
{
    const json_t *first = json_array_get(windows, 0);
    int64_t opens = 0;
    bool timed = member_time(first, "opens", &opens), reserved = any_reserved(windows);
    struct out_table table CLEANUP(out_table_free) = {0};
    out_table_init(&table, reserved ? "rllrlrrl" : "rllrlrl");
    out_table_cell(&table, OUT_BOLD, "window");
    out_table_cell(&table, OUT_BOLD, "%s", timed ? "opens" : "label");
    out_table_cell(&table, OUT_BOLD, "used / %" PRIu64, member_count(first, "usable"));
    out_table_cell(&table, OUT_BOLD, "%s", "");
    out_table_cell(&table, OUT_BOLD, "%s", "");
    if (reserved)
        out_table_cell(&table, OUT_BOLD, "reserved");
    out_table_cell(&table, OUT_BOLD, "burned");
    out_table_cell(&table, OUT_BOLD, "state");
    for (size_t i = 0; i < json_array_size(windows); i++)
        add_window(&table, json_array_get(windows, i), timed, reserved, now_s(cli), cli->out.ascii);
    return print_table(cli, &table, fault);
}

/* What is used up beside the windows: the TPM's memory. */
static void print_wear(const struct cli *cli, const json_t *key)
{
    const json_t *wear = json_object_get(key, "wear");
    char text[OUT_SHORT], endurance[OUT_SHORT], rate[OUT_SHORT] = "";
    uint64_t per_year = 0;
    if (wear == NULL)
        return;
    wear_text(key, text);
    out_count(endurance, member_count(wear, "endurance"));
    if (member_u64(wear, "per_year", &per_year))
        (void)snprintf(rate, sizeof(rate), "; %" PRIu64 " a year", per_year);
    out_data(&cli->out,
             "\nTPM wear %s: W %" PRIu64 ", L %" PRIu64 ", A %" PRIu64 " of %s writes%s\n", text,
             member_count(wear, "w"), member_count(wear, "l"), member_count(wear, "a"), endurance,
             rate);
}

enum cli_exit cmd_windows(struct cli *cli, struct cli_fault *fault)
{
    struct client client CLEANUP(client_close) = {0};
    struct answer about CLEANUP(answer_free) = {0};
    json_t *windows CLEANUP(free_json) = json_array();
    const char *key = NULL;
    struct range range = {0};
    enum cli_exit code = need_key(cli, &key, fault);
    if (code == CLI_OK)
        code = client_open(&client, cli, fault);
    char path[CLIENT_URL_MAX] = "", from[24], to[24];
    if (code == CLI_OK) {
        client_path_add(path, "/v1/keys/", key);
        code = client_get_json(&client, path, &about, fault);
    }
    if (code == CLI_OK)
        code = choose_range(cli, about.json, &range, fault);
    if (code != CLI_OK)
        return code;
    path[0] = '\0';
    (void)snprintf(from, sizeof(from), "%" PRIu64, range.from);
    (void)snprintf(to, sizeof(to), "%" PRIu64, range.to);
    client_path_add(path, "/v1/keys/", key);
    client_path_add(path, "/windows?from=", from);
    client_path_add(path, "&to=", to);
    code = fetch_pages(&client, path, "windows", windows, fault);
    if (code != CLI_OK)
        return code;
    if (cli->out.json)
        return print_list("windows", windows, fault);
    code = print_windows(cli, windows, fault);
    print_wear(cli, about.json);
    return code;
}

/* versions --------------------------------------------------------------------------------------
 */

static void add_version(struct out_table *table, const json_t *version)
{
    char name[80], slot[NAME_LEN_MAX + 1], state[20], reason[20], when[OUT_SHORT] = "";
    char sha[16 + 1]; /* the beginning, cut at a whole character whatever it is */
    int64_t at = 0;
    member_text(version, "reason", reason, sizeof(reason)); /* of a burned one */
    member_text(version, "version", name, sizeof(name));
    member_text(version, "slot", slot, sizeof(slot));
    member_text(version, "state", state, sizeof(state));
    member_text(version, "artifact_sha256", sha, sizeof(sha));
    if (member_time(version, "signed_at", &at))
        out_time(when, at);
    bool made = strcmp(state, "signed") == 0, burned = strcmp(state, "burned") == 0;
    out_table_cell(table, OUT_PLAIN, "%s", name);
    out_table_cell(table, OUT_PLAIN, "%s", slot);
    out_table_cell(table, OUT_PLAIN, "%" PRIu64, member_count(version, "window"));
    out_table_cell(table, OUT_PLAIN, "%" PRIu64, member_count(version, "index"));
    out_table_cell(table,
                   made     ? OUT_GOOD
                   : burned ? OUT_WARN
                            : OUT_DIM,
                   "%s%s%s", state, reason[0] != '\0' ? ": " : "", reason);
    out_table_cell(table, OUT_PLAIN, "%s", when);
    out_table_cell(table, OUT_PLAIN, "%s%s", sha[0] != '\0' ? "sha256:" : "", sha);
}

enum cli_exit cmd_versions(struct cli *cli, struct cli_fault *fault)
{
    static const char *const heading[] = {"version", "slot",      "window",  "index",
                                          "state",   "signed at", "artifact"};
    struct client client CLEANUP(client_close) = {0};
    json_t *versions CLEANUP(free_json) = json_array();
    const char *key = NULL, *prefix = args_value(&cli->args, "prefix");
    enum cli_exit code = need_key(cli, &key, fault);
    if (code == CLI_OK && prefix != NULL && !token_valid(prefix, VERSION_LEN_MAX))
        code = FAULT(fault, CLI_USAGE, "write how the versions start, e.g. 4.2.",
                     "--prefix %.80s is no start of a version", prefix);
    if (code == CLI_OK)
        code = client_open(&client, cli, fault);
    if (code != CLI_OK)
        return code;
    char path[CLIENT_URL_MAX] = "";
    client_path_add(path, "/v1/keys/", key);
    client_path_add(path, "/versions?prefix=", prefix != NULL ? prefix : "");
    code = fetch_pages(&client, path, "versions", versions, fault);
    if (code != CLI_OK)
        return code;
    if (cli->out.json)
        return print_list("versions", versions, fault);
    struct out_table table CLEANUP(out_table_free) = {0};
    out_table_init(&table, "llrrlll");
    for (size_t i = 0; i < sizeof(heading) / sizeof(heading[0]); i++)
        out_table_cell(&table, OUT_BOLD, "%s", heading[i]);
    for (size_t i = 0; i < json_array_size(versions); i++)
        add_version(&table, json_array_get(versions, i));
    return print_table(cli, &table, fault);
}
