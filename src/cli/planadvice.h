/*
 * planadvice: a plan that serves a rate or a history of releases. The second half of `tidemark
 * plan`.
 *
 * The plan goes to standard output, so that it can be redirected to a file; what it costs goes to
 * standard error. What is printed has passed plan_parse().
 */
#ifndef CLI_PLANADVICE_H
#define CLI_PLANADVICE_H

#include "cli/cli.h"

/**
 * @retval CLI_USAGE  Neither --rate nor tags, numbers that make no sense, or a need that no
 * standard key serves; the text says what would help.
 */
enum cli_exit planadvice_run(struct cli *cli, struct cli_fault *fault) MUST_CHECK;

#endif
