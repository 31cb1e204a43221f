/*
 * The pure pieces of the tidemark command: exit codes, argument parsing, printing, lists of tags;
 * and whether the manual page, the completions and the table say the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/exit.h"
#include "cli/out.h"
#include "cli/tags.h"
#include "http/problem.h" /* the list alone; nothing of http is linked */
#include "policy/advise.h"

/* Exit codes ------------------------------------------------------------------------------------
 */

static void test_exit_numbers(void **state)
{
    (void)state;
    /* Scripts depend on these (API page, section 3). */
    assert_int_equal(CLI_OK, 0);
    assert_int_equal(CLI_NO, 1);
    assert_int_equal(CLI_USAGE, 2);
    assert_int_equal(CLI_REFUSED, 3);
    assert_int_equal(CLI_LATER, 4);
    assert_int_equal(CLI_ACK, 5);
    assert_int_equal(CLI_UNSAFE, 6);
    assert_int_equal(CLI_NETWORK, 7);
    assert_int_equal(CLI_DENIED, 8);
    assert_int_equal(CLI_INTERNAL, 9);
}

static void test_problems_of_the_api(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum cli_exit exit;
    } wanted[] = {
        {"version-already-signed", CLI_REFUSED},
        {"version-below-floor", CLI_REFUSED},
        {"version-outside-plan", CLI_REFUSED},
        {"window-not-open", CLI_LATER},
        {"window-full", CLI_LATER},
        {"rate-limited", CLI_LATER},
        {"exhaustion-ack-required", CLI_ACK},
        {"export-required", CLI_ACK},
        {"key-exhausted", CLI_REFUSED},
        {"clock-unsafe", CLI_UNSAFE},
        {"state-regression", CLI_UNSAFE},
        {"anchor-unavailable", CLI_UNSAFE},
        {"halted", CLI_UNSAFE},
        {"unauthorised", CLI_DENIED},
        {"forbidden", CLI_DENIED},
        {"index-burned", CLI_INTERNAL},
        {"idempotency-key-missing", CLI_USAGE},
        {"idempotency-key-reused", CLI_USAGE},
        {"outcome-unknown", CLI_NETWORK},
        {"too-large", CLI_USAGE},
    };
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        char type[80];
        (void)snprintf(type, sizeof(type), "/problems/%s", wanted[i].name);
        /* The type decides, whatever the status says. */
        const struct cli_problem *p = cli_problem_find(type, 500, false);
        assert_string_equal(p->name, wanted[i].name);
        assert_int_equal(p->exit, wanted[i].exit);
        assert_true(p->next[0] != '\0');
    }
}

static void test_every_problem_of_the_service_is_known(void **state)
{
    (void)state;
    static const char *const service[] = {
#define X(id, name, status, title, action) name,
        PROBLEM_LIST(X)
#undef X
    };
    size_t count = sizeof(service) / sizeof(service[0]);
    for (size_t i = 0; i < count; i++) {
        char type[80];
        (void)snprintf(type, sizeof(type), "https://signer.example/problems/%s", service[i]);
        assert_string_equal(cli_problem_find(type, 400, false)->name, service[i]);
    }
    size_t ours = 0;
    while (cli_problem_at(ours) != NULL)
        ours++;
    assert_int_equal(ours, count);
}

static void test_status_decides_without_a_type(void **state)
{
    (void)state;
    assert_int_equal(cli_problem_find(NULL, 401, false)->exit, CLI_DENIED);
    assert_int_equal(cli_problem_find(NULL, 403, false)->exit, CLI_DENIED);
    assert_int_equal(cli_problem_find("about:blank", 404, false)->exit, CLI_USAGE);
    assert_int_equal(cli_problem_find("/problems/new-one", 409, false)->exit, CLI_REFUSED);
    assert_int_equal(cli_problem_find("", 428, true)->exit, CLI_ACK);
    assert_int_equal(cli_problem_find("", 429, false)->exit, CLI_LATER);
    assert_int_equal(cli_problem_find("", 503, true)->exit, CLI_LATER);
    assert_int_equal(cli_problem_find("", 503, false)->exit, CLI_UNSAFE);
    assert_int_equal(cli_problem_find("", 500, false)->exit, CLI_INTERNAL);
    assert_int_equal(cli_problem_find("", 302, false)->exit, CLI_INTERNAL);
}

static void test_states(void **state)
{
    (void)state;
    assert_int_equal(cli_exit_of_state("Operational"), CLI_OK);
    assert_int_equal(cli_exit_of_state("WindowFull"), CLI_LATER);
    assert_int_equal(cli_exit_of_state("AckRequired"), CLI_ACK);
    assert_int_equal(cli_exit_of_state("Exhausted"), CLI_REFUSED);
    static const char *const unsafe[] = {"Starting", "ClockUnsafe", "Recovering", "Halted", "New"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(cli_exit_of_state(unsafe[i]), CLI_UNSAFE);
}

static void test_result_codes(void **state)
{
    (void)state;
    assert_int_equal(cli_exit_of_rc(RC_OK), CLI_OK);
    assert_int_equal(cli_exit_of_rc(RC_REFUSED_SIGNATURE), CLI_NO);
    assert_int_equal(cli_exit_of_rc(RC_REFUSED_PLAN), CLI_USAGE);
    assert_int_equal(cli_exit_of_rc(RC_REFUSED_OUTSIDE_PLAN), CLI_REFUSED);
    assert_int_equal(cli_exit_of_rc(RC_RETRY_WINDOW_FULL), CLI_LATER);
    assert_int_equal(cli_exit_of_rc(RC_RETRY_CLOCK), CLI_UNSAFE);
    assert_int_equal(cli_exit_of_rc(RC_RETRY_SYSTEM), CLI_INTERNAL);
    assert_int_equal(cli_exit_of_rc(RC_HALT_LEDGER), CLI_UNSAFE);
    /* None of them can look like success. */
#define X(name, class, n, text) assert_int_not_equal(cli_exit_of_rc(name), CLI_OK);
    RC_LIST(X)
#undef X
}

static void test_first_fault_stays(void **state)
{
    (void)state;
    struct cli_fault fault = {0};
    assert_int_equal(FAULT(&fault, CLI_NO, "do this", "one\033[31m %d", 7), CLI_NO);
    assert_int_equal(FAULT(&fault, CLI_INTERNAL, "do that", "two"), CLI_NO);
    assert_string_equal(fault.text, "one?[31m 7");
    assert_string_equal(fault.next, "do this");
}

/* Arguments -------------------------------------------------------------------------------------
 */

static enum cli_exit parse(struct args *args, struct cli_fault *fault, const char *line)
{
    static char store[1024];
    static char *words[40];
    int count = 0;
    *fault = (struct cli_fault){0};
    strcpy(store, line);
    char *rest = NULL;
    words[count++] = strcpy(store + 900, "tidemark");
    for (char *w = strtok_r(store, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest))
        words[count++] = w;
    words[count] = NULL;
    return args_parse(args, count, words, fault);
}

static void test_args_good(void **state)
{
    (void)state;
    struct args args;
    struct cli_fault fault;
    assert_int_equal(parse(&args, &fault, "sign f.bin --key k --version=4.2.1 --force --out=--odd"),
                     CLI_OK);
    assert_string_equal(args.command->name, "sign");
    assert_string_equal(args_value(&args, "key"), "k");
    assert_string_equal(args_value(&args, "version"), "4.2.1");
    assert_string_equal(args_value(&args, "out"), "--odd");
    assert_true(args_switch(&args, "force"));
    assert_false(args_switch(&args, "json"));
    assert_null(args_value(&args, "slot"));
    assert_int_equal(args.operand_count, 1);
    assert_string_equal(args.operands[0], "f.bin");

    assert_int_equal(parse(&args, &fault, "key show --json -- --name"), CLI_OK);
    assert_string_equal(args.command->name, "key show");
    assert_string_equal(args.operands[0], "--name");
    assert_int_equal(parse(&args, &fault, "verify - --sig s --public p"), CLI_OK);
    assert_string_equal(args.operands[0], "-");
    /* A command whose name is the first word of another. */
    assert_int_equal(parse(&args, &fault, "plan compile p.json --pub k"), CLI_OK);
    assert_string_equal(args.command->name, "plan compile");
    assert_string_equal(args.operands[0], "p.json");
    assert_int_equal(parse(&args, &fault, "plan ./compile"), CLI_OK);
    assert_string_equal(args.command->name, "plan");
    assert_string_equal(args.operands[0], "./compile");
    assert_int_equal(parse(&args, &fault, "plan"), CLI_OK);
    assert_string_equal(args.command->name, "plan");
    assert_int_equal(parse(&args, &fault, "plan --help"), CLI_OK);
    assert_true(args.help);

    assert_int_equal(parse(&args, &fault, "--version"), CLI_OK);
    assert_true(args.version);
    assert_int_equal(parse(&args, &fault, "sign --help --nonsense"), CLI_OK);
    assert_true(args.help);
    assert_int_equal(parse(&args, &fault, "key --help"), CLI_OK);
    assert_true(args.help);
}

static void test_args_bad(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *text; /* part of the message */
        const char *next; /* part of the next step */
    } bad[] = {
        {"", "command is needed", "tidemark help"},
        {"sing f", "unknown command sing", "did you mean sign"},
        {"frobnicate", "unknown command", "tidemark help"},
        {"--json status", "unknown option --json", "command comes first"},
        {"key", "second word", "tidemark help"},
        {"key nw", "no command key nw", "tidemark help"},
        {"sign f --keey k", "unknown option --keey", "did you mean --key"},
        {"sign f --zzzzzz", "unknown option --zzzzzz", "tidemark help sign"},
        {"sign f -k x", "unknown option -k", "two dashes"},
        {"sign f --key", "needs a value", "tidemark help sign"},
        {"sign f --key --version 1", "--key needs a value", "tidemark help sign"},
        {"sign f --key a --key b", "more than once", "once"},
        {"sign f --force --force", "more than once", "once"},
        {"sign f --force=yes", "takes no value", "tidemark help sign"},
        {"sign f g", "one word too many: g", "usage: tidemark sign"},
        {"sign", "FILE is missing", "usage: tidemark sign"},
        {"status now", "one word too many", "usage"},
        {"verify f --socket x", "unknown option --socket", ""}, /* verify is offline */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct args args;
        struct cli_fault fault;
        assert_int_equal(parse(&args, &fault, bad[i].line), CLI_USAGE);
        if (strstr(fault.text, bad[i].text) == NULL || strstr(fault.next, bad[i].next) == NULL)
            fail_msg("\"%s\" gave \"%s\" and \"%s\"", bad[i].line, fault.text, fault.next);
        assert_true(fault.next[0] != '\0');
    }
}

static void test_args_numbers(void **state)
{
    (void)state;
    struct args args;
    struct cli_fault fault;
    uint64_t value = 0;
    assert_int_equal(parse(&args, &fault, "windows --from 12 --to x1"), CLI_OK);
    assert_int_equal(args_number(&args, "from", 12, 0, &value, &fault), CLI_OK);
    assert_int_equal(value, 12);
    assert_int_equal(args_number(&args, "to", 100, 0, &value, &fault), CLI_USAGE);
    fault = (struct cli_fault){0};
    assert_int_equal(args_number(&args, "from", 11, 0, &value, &fault), CLI_USAGE);
    assert_int_equal(parse(&args, &fault, "windows"), CLI_OK);
    assert_int_equal(args_number(&args, "from", 11, 5, &value, &fault), CLI_OK);
    assert_int_equal(value, 5);
    const char *key = NULL;
    assert_int_equal(args_need(&args, "key", &key, &fault), CLI_USAGE);
    assert_non_null(strstr(fault.next, "--key NAME"));
}

static void test_table_fits_its_limits(void **state)
{
    (void)state;
    const struct cli_command *command;
    for (size_t i = 0; (command = table_command_at(i)) != NULL; i++) {
        size_t count = 0;
        const struct cli_option *option;
        while ((option = table_option_at(command, count)) != NULL) {
            assert_true(strlen(option->name) < 40);
            assert_ptr_equal(table_option(command, option->name), option);
            assert_true((option->words == WORDS_CHOICE) == (option->choices != NULL));
            count++;
        }
        assert_true(count < ARGS_OPTIONS_MAX);
        assert_true(command->operands_max <= ARGS_OPERANDS_MAX);
        assert_ptr_equal(table_command(command->name), command);
        assert_non_null(command->run);
        assert_true(command->summary[0] != '\0' && command->text[0] != '\0');
        /* Every example starts with the command that it is an example of. */
        assert_non_null(strstr(command->example, command->name));
    }
}

static void test_verifiers_of_the_table(void **state)
{
    (void)state;
    char list[200] = "";
    for (const char *const *v = advise_verifiers(); *v != NULL; v++) {
        strcat(list, list[0] == '\0' ? "" : " ");
        strcat(list, *v);
    }
    assert_string_equal(table_option(table_command("plan"), "verifier")->choices, list);
}

/* The manual page -------------------------------------------------------------------------------
 */

static char *read_page(void)
{
    FILE *file = fopen(SRCDIR "/docs/man/tidemark.1", "r");
    assert_non_null(file);
    char *text = calloc(1, 128 * 1024);
    assert_non_null(text);
    assert_true(fread(text, 1, 128 * 1024 - 1, file) > 0);
    (void)fclose(file);
    return text;
}

/* "\-" in the page is "-". */
static void unescape(char *text)
{
    char *put = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (from[0] == '\\' && from[1] == '-')
            from++;
        *put++ = *from;
    }
    *put = '\0';
}

/* One ".B --name" or ".BI --name " VALUE"" line: an option of the command, with its value. */
static void check_page_option(const struct cli_command *command, const char *line)
{
    char name[80], value[80] = "";
    bool valued = strncmp(line, ".BI --", 6) == 0;
    const char *from = line + (valued ? 6 : 5);
    size_t len = strcspn(from, " \n");
    (void)snprintf(name, sizeof(name), "%.*s", (int)len, from);
    if (valued)
        (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(from + len + 3, "\""),
                       from + len + 3);
    const struct cli_option *option = table_option(command, name);
    if (option == NULL)
        fail_msg("the manual page has --%s for %s, the table has not", name, command->name);
    assert_string_equal(value, option->value != NULL ? option->value : "");
}

static void test_manual_page(void **state)
{
    (void)state;
    char *page = read_page();
    unescape(page);
    const struct cli_command *command;
    for (size_t i = 0; (command = table_command_at(i)) != NULL; i++) {
        char heading[60];
        (void)snprintf(heading, sizeof(heading), "\n.SS %s\n", command->name);
        const char *from = strstr(page, heading);
        if (from == NULL)
            fail_msg("the manual page has no section \"%s\"", command->name);
        const char *end = strstr(from + 1, "\n.S");
        size_t in_page = 0, in_table = 0;
        for (const char *line = from; line != NULL && line < end; line = strchr(line + 1, '\n')) {
            if (strncmp(line, "\n.B --", 6) != 0 && strncmp(line, "\n.BI --", 7) != 0)
                continue;
            check_page_option(command, line + 1);
            in_page++;
        }
        while (command->options[in_table].name != NULL)
            in_table++;
        if (in_page != in_table)
            fail_msg("%s has %zu options in the page and %zu in the table", command->name, in_page,
                     in_table);
    }
    for (int code = 0; code <= 9; code++) {
        char line[200];
        (void)snprintf(line, sizeof(line), "\n.B %d\n%s.\n", code,
                       cli_exit_text((enum cli_exit)code));
        line[6] = (char)(line[6] - 'a' + 'A');
        if (strstr(page, line) == NULL)
            fail_msg("the manual page does not say: %s", line);
    }
    free(page);
}

/* Printing --------------------------------------------------------------------------------------
 */

static void test_sizes(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {10137, "9.9 KiB"},
        {10189, "10 KiB"},
        {1048575, "1.0 MiB"},
        {268435456, "256 MiB"},
        {UINT64_C(8) << 30, "8.0 GiB"},
        {UINT64_MAX, "16 EiB"},
    };
    char text[OUT_SHORT];
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        out_size(text, sizes[i].bytes);
        assert_string_equal(text, sizes[i].text);
    }
    out_rate(text, UINT64_C(1900000000), 1000000000);
    assert_string_equal(text, "1.9 GB/s");
    out_rate(text, 5000, 1000000000);
    assert_string_equal(text, "5.0 kB/s");
    out_rate(text, 5000, 0);
    assert_string_equal(text, "");
    out_count(text, 1048576);
    assert_string_equal(text, "1,048,576");
    out_count(text, 999);
    assert_string_equal(text, "999");
    out_count(text, UINT64_MAX);
    assert_string_equal(text, "18,446,744,073,709,551,615");
}

static void test_spans(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } spans[] = {
        {3 * 86400 + 14 * 3600 + 59, "3 d 14 h"},
        {86400, "1 d"},
        {86399, "23 h 59 min"},
        {720, "12 min"},
        {61, "1 min 1 s"},
        {40, "40 s"},
        {0, "0 s"},
        {-5, "0 s"},
    };
    char text[OUT_SHORT];
    for (size_t i = 0; i < sizeof(spans) / sizeof(spans[0]); i++) {
        out_span(text, spans[i].seconds);
        assert_string_equal(text, spans[i].text);
    }
    out_span(text, INT64_MAX);
    out_time(text, INT64_C(1796722560));
    assert_string_equal(text, "2026-12-08 09:36 UTC");
}

static void test_bars(void **state)
{
    (void)state;
    static const struct {
        uint64_t used, total;
        const char *text;
    } bars[] = {
        {0, 1023, ".........."},    {1, 1023, "#........."},
        {211, 1023, "##........"},  {398, 1023, "####......"},
        {1019, 1023, "##########"}, {1023, 1023, "##########"},
        {5000, 1023, "##########"}, {0, 0, ".........."},
        {7, 0, ".........."},       {UINT64_MAX, UINT64_MAX, "##########"},
    };
    char text[OUT_BAR_SIZE];
    for (size_t i = 0; i < sizeof(bars) / sizeof(bars[0]); i++) {
        out_bar(text, bars[i].used, bars[i].total, 10, true);
        assert_string_equal(text, bars[i].text);
    }
    out_bar(text, 3, 10, 10, false);
    assert_string_equal(text, "███░░░░░░░");
}

static void test_clean(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } texts[] = {
        {"plain → ä", "plain → ä"},
        {"\033[2J", "?[2J"},
        {"a\nb\tc\x7f", "a?b?c?"},
        {"\xc2\x9b"
         "31m",
         "??31m"},
        {"\xff\xfe", "??"},
        {"cut \xe2\x86", "cut ??"},
        {"\xc0\xaf", "??"},
        {"\xf0\x9f\x8c\x8a", "\xf0\x9f\x8c\x8a"},
    };
    char text[40];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        out_clean(text, sizeof(text), texts[i].in);
        assert_string_equal(text, texts[i].out);
    }
    char small[4];
    out_clean(small, sizeof(small), "ab→");
    assert_string_equal(small, "ab"); /* never half a character */
}

static int64_t fake_ns;

static int64_t read_fake(void *ctx)
{
    (void)ctx;
    return fake_ns;
}

/* What a progress line writes to standard error while the clock stands at these milliseconds. */
static size_t progress_output(bool terminal, const int64_t *at_ms, size_t steps, char *text,
                              size_t size)
{
    struct out out = {.progress = terminal, .columns = 80, .time = {.raw_ns = read_fake}};
    FILE *file = tmpfile();
    assert_non_null(file);
    (void)fflush(stderr);
    int saved = dup(STDERR_FILENO);
    assert_int_equal(dup2(fileno(file), STDERR_FILENO), STDERR_FILENO);
    struct out_progress p;
    fake_ns = INT64_C(5000000000);
    out_progress_start(&p, &out, "hashing", 1024);
    for (size_t i = 0; i < steps; i++) {
        fake_ns = INT64_C(5000000000) + at_ms[i] * 1000000;
        out_progress_step(&p, 512);
    }
    out_progress_end(&p, 1024);
    (void)fflush(stderr);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    (void)close(saved);
    rewind(file);
    size_t len = fread(text, 1, size - 1, file);
    text[len] = '\0';
    (void)fclose(file);
    return len;
}

static void test_progress(void **state)
{
    (void)state;
    char text[4096];
    /* Only after one second, only on a terminal, at most every tenth of a second. */
    assert_int_equal(progress_output(true, (int64_t[]){1, 500, 999}, 3, text, sizeof(text)), 0);
    assert_int_equal(progress_output(false, (int64_t[]){1000, 9000}, 2, text, sizeof(text)), 0);
    assert_true(progress_output(true, (int64_t[]){1000, 1050, 1099}, 3, text, sizeof(text)) > 0);
    size_t drawn = 0;
    for (const char *at = text; (at = strchr(at, '\r')) != NULL; at++)
        drawn++;
    assert_int_equal(drawn, 2); /* once, and the end */
    assert_non_null(strstr(text, "hashing  ████████████████░░░░░░░░░░░░░░░░ 512 B"));
    assert_non_null(strstr(text, "████████████████████████████████ 1.0 KiB"));
    assert_int_equal(text[strlen(text) - 1], '\n');
}

/* Members of answers ----------------------------------------------------------------------------
 */

static void test_members(void **state)
{
    (void)state;
    json_t *o = json_loads("{\"a\": 5, \"b\": \"18446744073709551615\", \"c\": -1, \"d\": \"x\","
                           "\"e\": 1.5, \"t\": \"2026-12-08T09:36:00Z\", \"l\": []}",
                           0, NULL);
    assert_non_null(o);
    uint64_t value = 0;
    int64_t seconds = 0;
    json_t *list = NULL;
    struct cli_fault fault = {0};
    assert_true(member_u64(o, "a", &value) && value == 5);
    assert_true(member_u64(o, "b", &value) && value == UINT64_MAX);
    assert_false(member_u64(o, "c", &value));
    assert_false(member_u64(o, "d", &value));
    assert_false(member_u64(o, "e", &value));
    assert_false(member_u64(o, "none", &value));
    assert_false(member_u64(NULL, "a", &value));
    assert_true(member_time(o, "t", &seconds));
    assert_int_equal(seconds, 1796722560);
    assert_false(member_time(o, "d", &seconds));
    assert_int_equal(member_need_array(o, "l", &list, &fault), CLI_OK);
    assert_int_equal(member_need_array(o, "a", &list, &fault), CLI_INTERNAL);
    assert_non_null(strstr(fault.text, "\"a\""));
    json_decref(o);
}

static void test_paths(void **state)
{
    (void)state;
    char path[CLIENT_URL_MAX] = "";
    client_path_add(path, "/v1/keys/", "router-fw");
    client_path_add(path, "/signatures?version=", "4.2 &x=1#/%");
    assert_string_equal(path, "/v1/keys/router-fw/signatures?version=4.2%20%26x%3D1%23%2F%25");
    char longest[2 * CLIENT_URL_MAX];
    memset(longest, '/', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    client_path_add(path, longest, longest);
    assert_true(strlen(path) < CLIENT_URL_MAX);
}

/* Tags ------------------------------------------------------------------------------------------
 */

static void read_tags(struct tags *tags, const char *text)
{
    struct err err = {0};
    assert_int_equal(tags_read(tags, text, strlen(text), &err), RC_OK);
}

static void test_tags(void **state)
{
    (void)state;
    struct tags tags;
    read_tags(&tags, "v4.2.1 2026-01-05\nrelease-4.10.0\t2025-12-24T10:00:00+01:00\r\n\n"
                     "4.2.1-rc1\nv5\nnonsense\n");
    assert_int_equal(tags.versions, 3);
    assert_int_equal(tags.ignored, 2);
    assert_int_equal(tags.components, 3);
    assert_int_equal(tags.max[0], 5);
    assert_int_equal(tags.max[1], 10);
    assert_int_equal(tags.max[2], 1);
    assert_false(tags.calendar);
    assert_int_equal(tags.date_count, 2);
    assert_true(tags.dates[0] < tags.dates[1]);
    tags_free(&tags);

    read_tags(&tags, "2024.03.1\n2025.12.14");
    assert_true(tags.calendar);
    assert_int_equal(tags.year_min, 2024);
    assert_int_equal(tags.max[2], 14);
    tags_free(&tags);

    read_tags(&tags, "2024.03.1\n2025.13.1\n"); /* there is no month 13 */
    assert_false(tags.calendar);
    tags_free(&tags);

    struct err err = {0};
    assert_int_equal(tags_read(&tags, "no\nnothing\n", 11, &err), RC_REFUSED_INPUT);
    assert_null(tags.dates);
    static const char *const odd[] = {"1.", "1..2", "1.2.3.4", "9999999999", "1,2", "é1"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        assert_int_equal(tags_read(&tags, odd[i], strlen(odd[i]), NULL), RC_REFUSED_INPUT);
}

static void test_tags_peak(void **state)
{
    (void)state;
    struct tags tags;
    read_tags(&tags, "2026-01-01\n2026-01-02\n2026-01-07\n2026-01-08\n2026-03-01\n");
    assert_int_equal(tags_peak(&tags, 7 * 86400), 3);
    assert_int_equal(tags_peak(&tags, 86400), 1);
    assert_int_equal(tags_peak(&tags, 400 * 86400), 5);
    assert_true(tags_years(&tags) > 0.16 && tags_years(&tags) < 0.17);
    tags_free(&tags);
}

static void test_decimals(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0}, {"120", 120}, {"0.5", 0.5}, {"1e-6", 1e-6}, {"2.5e3", 2500}};
    double value = 0;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(decimal_parse(&value, good[i].text));
        assert_true(value > good[i].value * 0.999999 - 1e-15);
        assert_true(value < good[i].value * 1.000001 + 1e-15);
    }
    static const char *const bad[] = {"",    ".5",  "5.",    "-1",    "1e",
                                      "1x",  " 1",  "1 ",    "1e999", "1234567890123456",
                                      "inf", "nan", "1.2.3", "0x10",  "1e-"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(decimal_parse(&value, bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_numbers),
        cmocka_unit_test(test_problems_of_the_api),
        cmocka_unit_test(test_every_problem_of_the_service_is_known),
        cmocka_unit_test(test_status_decides_without_a_type),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_result_codes),
        cmocka_unit_test(test_first_fault_stays),
        cmocka_unit_test(test_args_good),
        cmocka_unit_test(test_args_bad),
        cmocka_unit_test(test_args_numbers),
        cmocka_unit_test(test_table_fits_its_limits),
        cmocka_unit_test(test_verifiers_of_the_table),
        cmocka_unit_test(test_manual_page),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_bars),
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_tags_peak),
        cmocka_unit_test(test_decimals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
