/*
 * tidemark: the command for people, scripts and verifiers. Takes the command line apart, runs one
 * command, and is the one place that prints why it failed.
 */
#include "config.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/secmem.h"
#include "cli/cli.h"
#include "cli/clock.h"
#include "hbs/kernel.h"

/* With --json, scripts find on standard output why there is no result. */
static void print_fault_json(const struct cli_fault *fault)
{
    json_t *o = json_pack("{s{si ss ss ss ss?}}", "error", "exit", (int)fault->exit, "meaning",
                          cli_exit_text(fault->exit), "text", fault->text, "next", fault->next,
                          "problem", fault->problem[0] != '\0' ? fault->problem : NULL);
    if (o != NULL && json_dumpf(o, stdout, JSON_INDENT(2)) == 0)
        (void)printf("\n");
    json_decref(o);
}

static int report(const struct cli_fault *fault, bool json)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "tidemark: %s\n", fault->text);
    if (fault->next[0] != '\0')
        (void)fprintf(stderr, "tidemark: next: %s\n", fault->next);
    if (json && !fault->printed)
        print_fault_json(fault);
    (void)fflush(stdout);
    return (int)fault->exit;
}

/* A full disk or a closed pipe shows late, when the last bytes leave. */
static enum cli_exit flush_output(struct cli_fault *fault)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return CLI_OK;
    return FAULT(fault, CLI_INTERNAL, "check where standard output goes, and repeat",
                 "cannot write to standard output: %s", strerror(errno));
}

static enum cli_exit run(struct cli *cli, struct cli_fault *fault)
{
    const struct args *args = &cli->args;
    if (args->version) {
        (void)printf("%s %s\n", PACKAGE_NAME, PACKAGE_VERSION);
        return CLI_OK;
    }
    if (args->help || args->command == NULL) {
        help_print(args->command);
        return CLI_OK;
    }
    struct err err = {0};
    /* Nothing secret ever comes into this program: a verifier has to work everywhere. */
    if (base_init_public(&err) != RC_OK)
        return cli_fault_rc(fault, &err, NULL, "check the installation of libgcrypt");
    if (hbs_kernel_start(&err) != RC_OK)
        return cli_fault_rc(fault, &err, NULL, "unset TIDEMARK_KERNEL");
    return args->command->run(cli, fault);
}

int main(int argc, char **argv)
{
    struct cli cli = {0};
    struct cli_fault fault = {0};
    enum cli_exit code = args_parse(&cli.args, argc, argv, &fault);
    bool known = code == CLI_OK && cli.args.command != NULL && !cli.args.help;
    bool json = known && args_switch(&cli.args, "json");
    bool quiet = known && args_switch(&cli.args, "quiet");
    struct time_source clock = cli_clock();
    out_init(&cli.out, json, quiet, &clock);
    if (code == CLI_OK)
        code = run(&cli, &fault);
    if (code == CLI_OK)
        code = flush_output(&fault);
    if (code == CLI_OK)
        return 0;
    /* A command may end with another code than 0 and nothing to say: status does. */
    return fault.exit == CLI_OK ? (int)code : report(&fault, json);
}
