#include "cli/args.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define WORD_MAX 40

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edit distance of two short words, to guess what was meant. */
static size_t distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    if (la > WORD_MAX || lb > WORD_MAX)
        return WORD_MAX;
    size_t row[WORD_MAX + 1];
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = smaller(change, smaller(row[j], row[j - 1]) + 1);
        }
    }
    return row[lb];
}

static enum cli_exit unknown_option(const struct cli_command *command, const char *name,
                                    struct cli_fault *fault)
{
    const char *best = NULL;
    size_t best_distance = 3; /* further away is no guess worth making */
    const struct cli_option *option;
    for (size_t i = 0; (option = table_option_at(command, i)) != NULL; i++) {
        size_t d = distance(option->name, name);
        if (d < best_distance) {
            best = option->name;
            best_distance = d;
        }
    }
    char next[120];
    if (best != NULL)
        (void)snprintf(next, sizeof(next), "did you mean --%s? See tidemark help %s", best,
                       command->name);
    else
        (void)snprintf(next, sizeof(next), "tidemark help %s shows its options", command->name);
    return FAULT(fault, CLI_USAGE, next, "%s: unknown option --%.80s", command->name, name);
}

static enum cli_exit unknown_command(const char *word, struct cli_fault *fault)
{
    const char *best = NULL;
    size_t best_distance = 3;
    const struct cli_command *command;
    for (size_t i = 0; (command = table_command_at(i)) != NULL; i++) {
        size_t d = distance(command->name, word);
        if (d < best_distance) {
            best = command->name;
            best_distance = d;
        }
    }
    char next[120];
    (void)snprintf(next, sizeof(next), "%s%s%stidemark help lists the commands",
                   best != NULL ? "did you mean " : "", best != NULL ? best : "",
                   best != NULL ? "? " : "");
    return FAULT(fault, CLI_USAGE, next, "unknown command %.80s", word);
}

static enum cli_exit find_command(struct args *args, int argc, char **argv, int *used,
                                  struct cli_fault *fault)
{
    const char *second = argc > 2 ? argv[2] : "";
    char name[2 * WORD_MAX];
    (void)snprintf(name, sizeof(name), "%.30s %.40s", argv[1], second);
    args->command = table_command(name);
    *used = 3;
    if (args->command != NULL)
        return CLI_OK;
    /* "plan" is a command of its own and the first word of another. */
    bool alone = table_command(argv[1]) != NULL;
    if (table_is_group(argv[1]) && !alone) {
        if (argv[2] != NULL && (strcmp(second, "--help") == 0 || strcmp(second, "-h") == 0)) {
            args->help = true;
            return CLI_OK;
        }
        return FAULT(fault, CLI_USAGE, "tidemark help lists the commands",
                     second[0] == '\0' ? "%s needs a second word" : "there is no command %s %.60s",
                     argv[1], second);
    }
    args->command = table_command(argv[1]);
    *used = 2;
    return args->command == NULL ? unknown_command(argv[1], fault) : CLI_OK;
}

static enum cli_exit add_option(struct args *args, const struct cli_option *option,
                                const char *value, struct cli_fault *fault)
{
    for (size_t i = 0; i < args->given_count; i++) {
        if (args->given[i].option == option)
            return FAULT(fault, CLI_USAGE, "give it once", "--%s stands more than once",
                         option->name);
    }
    MUST(args->given_count < ARGS_OPTIONS_MAX); /* fewer options than that in every command */
    args->given[args->given_count].option = option;
    args->given[args->given_count].value = value;
    args->given_count++;
    return CLI_OK;
}

/* One "--name…" word; *i moves on if the next word is its value. */
static enum cli_exit take_option(struct args *args, char **argv, int *i, struct cli_fault *fault)
{
    const char *word = argv[*i] + 2;
    const char *equals = strchr(word, '=');
    char name[WORD_MAX + 1];
    int len = equals != NULL ? (int)(equals - word) : (int)smaller(strlen(word), WORD_MAX);
    (void)snprintf(name, sizeof(name), "%.*s", len < WORD_MAX ? len : WORD_MAX, word);
    const struct cli_option *option = table_option(args->command, name);
    if (option == NULL)
        return unknown_option(args->command, name, fault);
    char next[160];
    (void)snprintf(next, sizeof(next), "tidemark help %s shows its options", args->command->name);
    if (option->value == NULL) {
        if (equals != NULL)
            return FAULT(fault, CLI_USAGE, next, "--%s takes no value", name);
        return add_option(args, option, "", fault);
    }
    if (equals != NULL)
        return add_option(args, option, equals + 1, fault);
    /* A word with two dashes is the next option: the value was forgotten. "--x=--y" says otherwise.
     */
    const char *value = argv[*i + 1];
    if (value == NULL || strncmp(value, "--", 2) == 0)
        return FAULT(fault, CLI_USAGE, next, "--%s needs a value: --%s %s", name, name,
                     option->value);
    (*i)++;
    return add_option(args, option, value, fault);
}

static enum cli_exit take_operand(struct args *args, const char *word, struct cli_fault *fault)
{
    const struct cli_command *command = args->command;
    char next[200];
    (void)snprintf(next, sizeof(next), "usage: tidemark %s [OPTION...] %s", command->name,
                   command->operands);
    if (args->operand_count >= command->operands_max)
        return FAULT(fault, CLI_USAGE, next, "%s: one word too many: %.80s", command->name, word);
    MUST(args->operand_count < ARGS_OPERANDS_MAX);
    args->operands[args->operand_count++] = word;
    return CLI_OK;
}

static bool wants_help(char **words)
{
    for (; *words != NULL && strcmp(*words, "--") != 0; words++) {
        if (strcmp(*words, "--help") == 0 || strcmp(*words, "-h") == 0)
            return true;
    }
    return false;
}

static enum cli_exit take_words(struct args *args, int first, int argc, char **argv,
                                struct cli_fault *fault)
{
    bool options_end = false;
    for (int i = first; i < argc; i++) {
        const char *word = argv[i];
        enum cli_exit code = CLI_OK;
        if (!options_end && strcmp(word, "--") == 0)
            options_end = true;
        else if (!options_end && strncmp(word, "--", 2) == 0)
            code = take_option(args, argv, &i, fault);
        else if (!options_end && word[0] == '-' && word[1] != '\0')
            code = FAULT(fault, CLI_USAGE, "options have two dashes; write ./-name for such a file",
                         "%s: unknown option %.80s", args->command->name, word);
        else
            code = take_operand(args, word, fault);
        if (code != CLI_OK)
            return code;
    }
    return CLI_OK;
}

enum cli_exit args_parse(struct args *args, int argc, char **argv, struct cli_fault *fault)
{
    *args = (struct args){0};
    if (argc < 2)
        return FAULT(fault, CLI_USAGE, "tidemark help lists the commands", "a command is needed");
    args->help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
    args->version = strcmp(argv[1], "--version") == 0;
    if (args->help || args->version)
        return CLI_OK;
    if (argv[1][0] == '-')
        return FAULT(fault, CLI_USAGE, "the command comes first: tidemark COMMAND [OPTION...]",
                     "unknown option %.80s", argv[1]);
    int used = 0;
    enum cli_exit code = find_command(args, argc, argv, &used, fault);
    if (code != CLI_OK || args->command == NULL)
        return code;
    args->rest = argv + used;
    args->help = wants_help(args->rest);
    if (args->help)
        return CLI_OK;
    code = take_words(args, used, argc, argv, fault);
    if (code != CLI_OK)
        return code;
    if (args->operand_count < args->command->operands_min) {
        char next[200];
        (void)snprintf(next, sizeof(next), "usage: tidemark %s [OPTION...] %s", args->command->name,
                       args->command->operands);
        return FAULT(fault, CLI_USAGE, next, "%s: %s is missing", args->command->name,
                     args->command->operands);
    }
    return CLI_OK;
}

const char *args_value(const struct args *args, const char *name)
{
    MUST(table_option(args->command, name) != NULL);
    for (size_t i = 0; i < args->given_count; i++) {
        if (strcmp(args->given[i].option->name, name) == 0)
            return args->given[i].value;
    }
    return NULL;
}

bool args_switch(const struct args *args, const char *name)
{
    return args_value(args, name) != NULL;
}

enum cli_exit args_need(const struct args *args, const char *name, const char **value,
                        struct cli_fault *fault)
{
    *value = args_value(args, name);
    if (*value != NULL)
        return CLI_OK;
    const struct cli_option *option = table_option(args->command, name);
    char next[200];
    (void)snprintf(next, sizeof(next), "give --%s %s: %s", name, option->value, option->help);
    return FAULT(fault, CLI_USAGE, next, "%s needs --%s", args->command->name, name);
}

enum cli_exit args_number(const struct args *args, const char *name, uint64_t max,
                          uint64_t fallback, uint64_t *value, struct cli_fault *fault)
{
    *value = fallback;
    const char *text = args_value(args, name);
    if (text == NULL || text_to_u64(value, text, max))
        return CLI_OK;
    char next[120];
    (void)snprintf(next, sizeof(next), "give a whole number from 0 to %" PRIu64, max);
    return FAULT(fault, CLI_USAGE, next, "--%s %.60s is no such number", name, text);
}
