/*
 * local: commands that need the TPM and the ledger of this host. tidemarkd does them; its name and
 * the options go on unchanged, so that privileges and state stay with one program.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* Command line words of the longest command are far below this. */
#define WORDS_MAX 64

static const struct {
    const char *command;
    const char *verb;
} verbs[] = {
    {"key new", "key-new"},
    {"key selftest", "key-selftest"},
    {"backup export", "backup-export"},
    {"backup check", "backup-check"},
    {"recover", "recover"},
    {"advance-window", "advance-window"},
    {"reseal", "reseal"},
    {"doctor", "doctor"},
};

static const char *verb_of(const char *command)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (strcmp(verbs[i].command, command) == 0)
            return verbs[i].verb;
    }
    return NULL;
}

/* tidemarkd in the folder of this very program: a build tree, or an unusual prefix. */
static bool beside_us(char path[PATH_MAX])
{
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (len <= 0)
        return false;
    path[len] = '\0';
    char *slash = strrchr(path, '/');
    if (slash == NULL || (size_t)(slash - path) + sizeof("/tidemarkd") > PATH_MAX)
        return false;
    (void)strcpy(slash, "/tidemarkd");
    return access(path, X_OK) == 0;
}

static enum cli_exit find_daemon(char path[PATH_MAX], struct cli_fault *fault)
{
    /* secure_getenv: a privileged caller's environment must not choose what runs. */
    const char *named = secure_getenv("TIDEMARKD");
    if (named != NULL && named[0] != '\0') {
        (void)snprintf(path, PATH_MAX, "%s", named);
        if (access(path, X_OK) == 0)
            return CLI_OK;
        return FAULT(fault, CLI_USAGE, "unset TIDEMARKD, or let it name the program",
                     "TIDEMARKD=%.200s cannot be run: %s", named, strerror(errno));
    }
    if (beside_us(path))
        return CLI_OK;
    (void)snprintf(path, PATH_MAX, "%s", SBINDIR "/tidemarkd");
    if (access(path, X_OK) == 0)
        return CLI_OK;
    return FAULT(fault, CLI_USAGE,
                 "run this on the signer host, where tidemarkd is installed, or set TIDEMARKD",
                 "tidemarkd is not here: neither beside tidemark nor as %s", path);
}

enum cli_exit cmd_local(struct cli *cli, struct cli_fault *fault)
{
    const char *verb = verb_of(cli->args.command->name);
    MUST(verb != NULL);
    char path[PATH_MAX];
    enum cli_exit code = find_daemon(path, fault);
    if (code != CLI_OK)
        return code;
    char *words[WORDS_MAX + 3] = {path, NULL};
    words[1] = strdup(verb);
    if (words[1] == NULL)
        return FAULT(fault, CLI_INTERNAL, "free some memory and repeat", "out of memory");
    size_t count = 2;
    for (char **word = cli->args.rest; *word != NULL && count < WORDS_MAX + 2; word++)
        words[count++] = *word;
    words[count] = NULL;
    (void)fflush(NULL);
    (void)execv(path, words);
    int saved = errno;
    free(words[1]);
    return FAULT(fault, CLI_INTERNAL, "check the installation of tidemarkd",
                 "%.200s cannot be run: %s", path, strerror(saved));
}
