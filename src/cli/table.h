/*
 * table: the one table of commands and options. Help, usage errors, completions and the check of
 * the manual page all come from it; nothing else knows which options there are.
 *
 * Uses: base. Constant data.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/exit.h"

struct cli;

/** What a shell may offer for a value or an operand. */
enum cli_words {
    WORDS_NONE,
    WORDS_FILE,
    WORDS_CHOICE, /* one of `choices` */
    WORDS_KEY     /* a key of the service */
};

struct cli_option {
    const char *name;  /* without "--"; NULL ends a list */
    const char *value; /* what stands for the value in help; NULL: a switch */
    const char *help;  /* one line */
    enum cli_words words;
    const char *choices; /* separated by blanks */
};

typedef enum cli_exit (*cli_run)(struct cli *cli, struct cli_fault *fault);

struct cli_command {
    const char *name;     /* one or two words; NULL ends the table */
    const char *operands; /* as in help, e.g. "FILE" or "[PLAN]" */
    unsigned operands_min, operands_max;
    enum cli_words operand_words;
    const char *operand_choices;
    const char *summary; /* one line, no full stop */
    const char *text;    /* a paragraph or more for help */
    const char *example; /* one or more command lines */
    const struct cli_option *options;
    bool service; /* talks to the service: --url and --socket */
    cli_run run;
};

/** The i-th command, NULL behind the last. */
const struct cli_command *table_command_at(size_t i);

/** Command by its whole name, e.g. "key new"; NULL if there is none. */
const struct cli_command *table_command(const char *name);

/** True if some command consists of this word and a second one, e.g. "key". */
bool table_is_group(const char *word);

/**
 * The i-th option of a command, its own first, then --url and --socket, then those that all
 * commands have. NULL behind the last.
 */
const struct cli_option *table_option_at(const struct cli_command *command, size_t i);

/** Option of a command by name; NULL if it has none. */
const struct cli_option *table_option(const struct cli_command *command, const char *name);

#endif
