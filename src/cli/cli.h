/*
 * cli: what every command gets: its arguments, where to print, what time it is.
 *
 * The cli module is the `tidemark` command: for people, scripts and verifiers. It uses base,
 * attest, hbs (the verifying half), verify, policy, libcurl and Jansson, and links no signing
 * daemon code. What needs the TPM or the ledger is done by tidemarkd, which it executes
 * (cmd_local.c). One thread.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "cli/args.h"
#include "cli/out.h"

struct cli {
    struct args args;
    struct out out;
};

/** One for each line of the table. On any other result than CLI_OK, *fault says why. */
enum cli_exit cmd_plan(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_plan_compile(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_key_list(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_key_show(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_key_public(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_forecast(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_warning_list(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_warning_ack(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_sign(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_verify(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_attest_get(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_attest_verify(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_status(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_clock_status(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_clock_ack(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_windows(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_versions(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_local(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_help(struct cli *cli, struct cli_fault *fault) MUST_CHECK;
enum cli_exit cmd_completion(struct cli *cli, struct cli_fault *fault) MUST_CHECK;

/** Help for one command, or for all if command is NULL, on standard output. */
void help_print(const struct cli_command *command);

#endif
