/*
 * completion: what bash, zsh and fish offer behind "tidemark", from the table.
 *
 * All three scripts have the same parts: the words of the commands, the options of each, and what
 * may stand behind an option or as an operand. No script runs anything but `tidemark key list`.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

/* bash ------------------------------------------------------------------------------------------
 */

static void bash_words(enum cli_words words, const char *choices)
{
    switch (words) {
    case WORDS_FILE:
        (void)printf("compopt -o default; COMPREPLY=()");
        break;
    case WORDS_CHOICE:
        (void)printf("mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\")", choices);
        break;
    case WORDS_KEY:
        (void)printf("mapfile -t COMPREPLY < <(compgen -W \"$(_tidemark_keys)\" -- \"$cur\")");
        break;
    case WORDS_NONE:
        (void)printf("COMPREPLY=()");
        break;
    }
}

static void bash_command(const struct cli_command *command)
{
    (void)printf("    '%s')\n        case $prev in\n", command->name);
    const struct cli_option *option;
    for (size_t i = 0; (option = table_option_at(command, i)) != NULL; i++) {
        if (option->value == NULL)
            continue;
        (void)printf("        --%s) ", option->name);
        bash_words(option->words, option->choices);
        (void)printf("; return ;;\n");
    }
    (void)printf("        esac\n        if [[ $cur == -* ]]; then\n"
                 "            mapfile -t COMPREPLY < <(compgen -W '");
    for (size_t i = 0; (option = table_option_at(command, i)) != NULL; i++)
        (void)printf("%s--%s", i == 0 ? "" : " ", option->name);
    (void)printf("' -- \"$cur\")\n        else\n            ");
    bash_words(command->operands_max == 0 ? WORDS_NONE : command->operand_words,
               command->operand_choices);
    (void)printf("\n        fi\n        ;;\n");
}

/* First words, or the second words of a group. */
static void print_words(const char *group)
{
    const struct cli_command *command;
    const char *before = "";
    size_t before_len = 0;
    bool first = true;
    for (size_t i = 0; (command = table_command_at(i)) != NULL; i++) {
        const char *word = command->name;
        size_t len = strcspn(word, " ");
        if (group != NULL) {
            if (strlen(group) != len || strncmp(word, group, len) != 0)
                continue;
            if (word[len] == '\0')
                continue; /* the command that has only the first word */
            word += len + 1;
            len = strlen(word);
        } else if (len == before_len && strncmp(word, before, len) == 0) {
            continue; /* commands of one group stand together in the table */
        }
        (void)printf("%s%.*s", first ? "" : " ", (int)len, word);
        before = word;
        before_len = len;
        first = false;
    }
}

/* True if the first word of a group is a command by itself. */
static bool is_command(const char *group)
{
    return table_command(group) != NULL;
}

/* Call visit for the first word of every group, once. */
static void each_group(void (*visit)(const char *group))
{
    const struct cli_command *command;
    char before[32] = "";
    for (size_t i = 0; (command = table_command_at(i)) != NULL; i++) {
        size_t len = strcspn(command->name, " ");
        char group[32];
        MUST(len < sizeof(group));
        memcpy(group, command->name, len);
        group[len] = '\0';
        if (command->name[len] != ' ' || strcmp(group, before) == 0)
            continue;
        visit(group);
        memcpy(before, group, len + 1);
    }
}

static void bash_group(const char *group)
{
    if (is_command(group))
        return;
    (void)printf("    '%s') mapfile -t COMPREPLY < <(compgen -W '", group);
    print_words(group);
    (void)printf("' -- \"$cur\") ;;\n");
}

static void bash_group_pattern(const char *group)
{
    (void)printf("    %s) [[ $cword -gt 2 ", group);
    if (is_command(group)) {
        (void)printf("&& ' ");
        print_words(group);
        (void)printf(" ' == *\" ${words[2]} \"* ");
    }
    (void)printf("]] && command+=\" ${words[2]}\" ;;\n");
}

static void print_bash(void)
{
    (void)printf("# bash completion for tidemark; made by: tidemark completion bash\n"
                 "_tidemark_keys()\n{\n"
                 "    tidemark key list --quiet 2>/dev/null | awk 'NR > 1 { print $1 }'\n}\n\n"
                 "_tidemark()\n{\n"
                 "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
                 "    local cword=$COMP_CWORD words=(\"${COMP_WORDS[@]}\") command\n"
                 "    if [[ $cword -eq 1 ]]; then\n"
                 "        mapfile -t COMPREPLY < <(compgen -W '");
    print_words(NULL);
    (void)printf(" --help --version' -- \"$cur\")\n        return\n    fi\n"
                 "    command=${words[1]}\n    case $command in\n");
    each_group(bash_group_pattern);
    (void)printf("    esac\n    case $command in\n");
    each_group(bash_group);
    const struct cli_command *command;
    for (size_t i = 0; (command = table_command_at(i)) != NULL; i++)
        bash_command(command);
    (void)printf("    esac\n}\ncomplete -F _tidemark tidemark\n");
}

/* zsh -------------------------------------------------------------------------------------------
 */

/* Help text inside single quotes and brackets: escape what _arguments would read. */
static void zsh_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            (void)printf("'\\''");
        else if (strchr(":[]", *text) != NULL)
            (void)printf("\\%c", *text);
        else
            (void)printf("%c", *text);
    }
}

static void zsh_words(enum cli_words words, const char *choices)
{
    switch (words) {
    case WORDS_FILE:
        (void)printf("_files");
        break;
    case WORDS_CHOICE:
        (void)printf("(%s)", choices);
        break;
    case WORDS_KEY:
        (void)printf("_tidemark_keys");
        break;
    case WORDS_NONE:
        break;
    }
}

static void zsh_command(const struct cli_command *command)
{
    (void)printf("    '%s')\n        _arguments", command->name);
    const struct cli_option *option;
    for (size_t i = 0; (option = table_option_at(command, i)) != NULL; i++) {
        (void)printf(" \\\n            '--%s[", option->name);
        zsh_text(option->help);
        (void)printf("]");
        if (option->value != NULL) {
            (void)printf(":");
            zsh_text(option->value);
            (void)printf(":");
            zsh_words(option->words, option->choices);
        }
        (void)printf("'");
    }
    for (unsigned i = 0; i < command->operands_max; i++) {
        (void)printf(" \\\n            ':");
        zsh_text(command->operands);
        (void)printf(":");
        zsh_words(command->operand_words, command->operand_choices);
        (void)printf("'");
    }
    (void)printf("\n        ;;\n");
}

static void zsh_group(const char *group)
{
    if (is_command(group)) {
        (void)printf("    %s)\n        if [[ ' ", group);
        print_words(group);
        (void)printf(" ' == *\" $words[3] \"* ]] && (( CURRENT > 3 )); then\n"
                     "            command+=\" $words[3]\"\n            (( strip = 2 ))\n"
                     "        fi\n        ;;\n");
        return;
    }
    (void)printf("    %s)\n        if (( CURRENT == 3 )); then\n            compadd ", group);
    print_words(group);
    (void)printf("\n            return\n        fi\n"
                 "        command+=\" $words[3]\"\n        (( strip = 2 ))\n        ;;\n");
}

static void print_zsh(void)
{
    (void)printf("#compdef tidemark\n# zsh completion; made by: tidemark completion zsh\n"
                 "_tidemark_keys()\n{\n"
                 "    compadd ${(f)\"$(tidemark key list --quiet 2>/dev/null | "
                 "awk 'NR > 1 { print $1 }')\"}\n}\n\n"
                 "_tidemark()\n{\n    local command=$words[2]\n    integer strip=1\n"
                 "    if (( CURRENT == 2 )); then\n        compadd -- ");
    print_words(NULL);
    (void)printf(" --help --version\n        return\n    fi\n    case $command in\n");
    each_group(zsh_group);
    (void)printf("    esac\n    shift $strip words\n    (( CURRENT -= strip ))\n"
                 "    case $command in\n");
    const struct cli_command *command;
    for (size_t i = 0; (command = table_command_at(i)) != NULL; i++)
        zsh_command(command);
    (void)printf("    esac\n}\n\n_tidemark \"$@\"\n");
}

/* fish ------------------------------------------------------------------------------------------
 */

static void fish_text(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            (void)printf("\\");
        (void)printf("%c", *text);
    }
}

static void fish_words(enum cli_words words, const char *choices)
{
    switch (words) {
    case WORDS_FILE:
        (void)printf(" -F");
        break;
    case WORDS_CHOICE:
        (void)printf(" -f -a '%s'", choices);
        break;
    case WORDS_KEY:
        (void)printf(" -f -a '(__tidemark_keys)'");
        break;
    case WORDS_NONE:
        (void)printf(" -f");
        break;
    }
}

static void fish_command(const struct cli_command *command)
{
    const char *second = strchr(command->name, ' ');
    (void)printf("\n");
    if (second == NULL)
        (void)printf("complete -c tidemark -n '__tidemark_at 1' -f -a '%s' -d '", command->name);
    else
        (void)printf("complete -c tidemark -n '__tidemark_at 2 %.*s' -f -a '%s' -d '",
                     (int)(second - command->name), command->name, second + 1);
    fish_text(command->summary);
    (void)printf("'\n");
    char in[120];
    (void)snprintf(in, sizeof(in), "complete -c tidemark -n '__tidemark_in %s'", command->name);
    const struct cli_option *option;
    for (size_t i = 0; (option = table_option_at(command, i)) != NULL; i++) {
        (void)printf("%s -l %s -d '", in, option->name);
        fish_text(option->help);
        (void)printf("'");
        if (option->value != NULL) {
            (void)printf(" -r");
            fish_words(option->words, option->choices);
        }
        (void)printf("\n");
    }
    if (command->operands_max > 0) {
        (void)printf("%s", in);
        fish_words(command->operand_words, command->operand_choices);
        (void)printf("\n");
    }
}

static void fish_group(const char *group)
{
    (void)printf("complete -c tidemark -n '__tidemark_at 1' -f -a '%s'\n", group);
}

static void print_fish(void)
{
    (void)printf("# fish completion for tidemark; made by: tidemark completion fish\n"
                 "function __tidemark_keys\n"
                 "    tidemark key list --quiet 2>/dev/null | awk 'NR > 1 { print $1 }'\nend\n\n"
                 "# True if word number $argv[1] is being written, behind the words $argv[2..].\n"
                 "function __tidemark_at\n    set -l words (commandline -opc)\n"
                 "    test (count $words) -eq $argv[1]; or return 1\n"
                 "    test $argv[1] -eq 1; or test $words[2] = $argv[2]\nend\n\n"
                 "# True if the command is $argv.\n"
                 "function __tidemark_in\n    set -l words (commandline -opc)\n"
                 "    set -l last (math (count $argv) + 1)\n"
                 "    test (count $words) -ge $last; or return 1\n"
                 "    test \"$words[2..$last]\" = \"$argv\"\nend\n\n"
                 "complete -c tidemark -f\n"
                 "complete -c tidemark -n '__tidemark_at 1' -l help -d 'show help'\n"
                 "complete -c tidemark -n '__tidemark_at 1' -l version -d 'show the version'\n");
    each_group(fish_group);
    const struct cli_command *command;
    for (size_t i = 0; (command = table_command_at(i)) != NULL; i++)
        fish_command(command);
}

enum cli_exit cmd_completion(struct cli *cli, struct cli_fault *fault)
{
    const char *shell = cli->args.operands[0];
    if (strcmp(shell, "bash") == 0)
        print_bash();
    else if (strcmp(shell, "zsh") == 0)
        print_zsh();
    else if (strcmp(shell, "fish") == 0)
        print_fish();
    else
        return FAULT(fault, CLI_USAGE, "write bash, zsh or fish", "there are no completions for %s",
                     shell);
    return CLI_OK;
}
