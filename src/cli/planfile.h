/*
 * planfile: plan documents from files, with faults that a writer of plans can act on.
 *
 * Uses: base, policy. One thread, blocking.
 */
#ifndef CLI_PLANFILE_H
#define CLI_PLANFILE_H

#include "cli/exit.h"
#include "policy/plan.h"

/**
 * Read and parse a plan; "-" is standard input.
 * @param[out] plan  plan_free() it. All zero unless CLI_OK.
 * @param[out] where Fault inside the document, for --json; all zero if it is of another kind. May
 * be NULL.
 * @retval CLI_USAGE     Not readable, or not a valid plan: path, what and example are in the text.
 * @retval CLI_INTERNAL  No memory.
 */
enum cli_exit planfile_read(struct plan *plan, const char *path, struct plan_fault *where,
                            struct cli_fault *fault) MUST_CHECK;

#endif
