/*
 * args: a command line taken apart by the table. Pure; the result borrows from argv.
 *
 *   tidemark COMMAND [OPTION…] [OPERAND…]
 *
 * Options are "--name VALUE", "--name=VALUE" or "--switch"; "--" ends them; "-h" is "--help".
 * Options and operands may be mixed. An option may stand once.
 */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include "cli/table.h"

#define ARGS_OPTIONS_MAX 32
#define ARGS_OPERANDS_MAX 2

struct args {
    const struct cli_command *command; /* NULL: only --help or --version were asked for */
    struct {
        const struct cli_option *option;
        const char *value; /* "" for a switch */
    } given[ARGS_OPTIONS_MAX];
    size_t given_count;
    const char *operands[ARGS_OPERANDS_MAX];
    size_t operand_count;
    char **rest;  /* everything behind the command's words, NULL-terminated, as given */
    bool help;    /* --help */
    bool version; /* --version without a command */
};

/**
 * Take argv apart.
 * @param[in]  argc, argv  As main() got them; argv[argc] is NULL. Must outlive *args.
 * @param[out] args        Complete on CLI_OK.
 * @retval CLI_USAGE  No such command or option, value missing or not wanted, option repeated, too
 * few or too many operands. With --help nothing but the command is checked.
 */
enum cli_exit args_parse(struct args *args, int argc, char **argv,
                         struct cli_fault *fault) MUST_CHECK;

/** Value of an option of the command (MUST have it in the table), or NULL. */
const char *args_value(const struct args *args, const char *name);

/** Is a switch of the command there? */
bool args_switch(const struct args *args, const char *name);

/** Value of an option that has to be there. @retval CLI_USAGE it is not. */
enum cli_exit args_need(const struct args *args, const char *name, const char **value,
                        struct cli_fault *fault) MUST_CHECK;

/**
 * An option whose value is a whole number.
 * @param[out] value  fallback if the option is not there.
 * @retval CLI_USAGE  Not a number from 0 to max.
 */
enum cli_exit args_number(const struct args *args, const char *name, uint64_t max,
                          uint64_t fallback, uint64_t *value, struct cli_fault *fault) MUST_CHECK;

#endif
