/*
 * help: --help, help COMMAND and the list of exit codes, all from the table.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static void print_all(void)
{
    (void)printf("Usage: tidemark COMMAND [OPTION...]\n\n"
                 "Signs releases with stateful hash-based signatures, and verifies them.\n\n"
                 "Commands:\n");
    const struct cli_command *command;
    for (size_t i = 0; (command = table_command_at(i)) != NULL; i++)
        (void)printf("  %-14s %s\n", command->name, command->summary);
    (void)printf("\ntidemark help COMMAND shows the options of one command.\n"
                 "tidemark --version shows the version.\n\n"
                 "The service is looked for at --url or --socket, then at TIDEMARK_URL or "
                 "TIDEMARK_SOCKET, then at\n/run/tidemark/tidemark.sock, then at "
                 "http://127.0.0.1:8793. For https: --tls-cert, --tls-key and --tls-ca, or "
                 "TIDEMARK_TLS_CERT,\nTIDEMARK_TLS_KEY and TIDEMARK_TLS_CA.\n\n"
                 "Exit codes:\n");
#define X(name, number, text) (void)printf("  %d  %s\n", number, text);
    CLI_EXIT_LIST(X)
#undef X
}

static void print_command(const struct cli_command *command)
{
    (void)printf("Usage: tidemark %s [OPTION...]%s%s\n\n%s.\n\n%s\n\nOptions:\n", command->name,
                 command->operands[0] != '\0' ? " " : "", command->operands, command->summary,
                 command->text);
    const struct cli_option *option;
    for (size_t i = 0; (option = table_option_at(command, i)) != NULL; i++) {
        char left[80];
        (void)snprintf(left, sizeof(left), "--%s%s%s", option->name,
                       option->value != NULL ? " " : "",
                       option->value != NULL ? option->value : "");
        (void)printf("  %-26s %s", left, option->help);
        if (option->choices != NULL)
            (void)printf(" (%s)", option->choices);
        (void)printf("\n");
    }
    (void)printf("\nExample:\n");
    for (const char *line = command->example; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        (void)printf("  %.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
}

void help_print(const struct cli_command *command)
{
    if (command == NULL)
        print_all();
    else
        print_command(command);
}

enum cli_exit cmd_help(struct cli *cli, struct cli_fault *fault)
{
    const struct args *args = &cli->args;
    if (args->operand_count == 0) {
        print_all();
        return CLI_OK;
    }
    char name[80];
    bool two = args->operand_count == 2;
    (void)snprintf(name, sizeof(name), "%.38s%s%.38s", args->operands[0], two ? " " : "",
                   two ? args->operands[1] : "");
    const struct cli_command *command = table_command(name);
    if (command != NULL) {
        print_command(command);
        return CLI_OK;
    }
    /* "help key": every command of the group. */
    bool found = false;
    for (size_t i = 0; !two && table_is_group(name) && (command = table_command_at(i)) != NULL;
         i++) {
        size_t len = strlen(name);
        if (strncmp(command->name, name, len) != 0 || command->name[len] != ' ')
            continue;
        (void)printf("%s", found ? "\n" : "");
        print_command(command);
        found = true;
    }
    if (found)
        return CLI_OK;
    return FAULT(fault, CLI_USAGE, "tidemark help lists the commands", "there is no command %s",
                 name);
}
