/*
 * operations: what an operator does on the signer host while the service is stopped: key-new,
 *             backup-export, backup-check, recover, advance-window; and, at any time, doctor and
 *             key-selftest. Called by `tidemark` through tidemarkd.
 *
 * Result on standard output, talk on standard error; exit codes of the command line (API section
 * 3).
 */
#ifndef DAEMON_OPERATIONS_H
#define DAEMON_OPERATIONS_H

#include "base/rc.h"

/** True if word names an operation. */
bool operation_known(const char *word);

/** Run it: argv[0] is the operation. @return the exit code of the process. */
int operation_run(int argc, char **argv);

/** Exit code of the command line for a result: 0, 3 refused by plan, 4 later, 6 halted, 9 … */
int operation_exit_code(enum rc rc);

#endif
