/* sandbox_files: the half of the sandbox that is Landlock; see sandbox.h. */
#ifndef DAEMON_SANDBOX_FILES_H
#define DAEMON_SANDBOX_FILES_H

#include "daemon/sandbox.h"

/**
 * Let the calling thread, and those it makes, open nothing but what the role needs.
 * @param[out] abi  Version of Landlock; 0: this kernel has none, and nothing was done.
 * @retval RC_HALT_SYSTEM  The kernel has it and refuses.
 */
enum rc sandbox_files(const struct sandbox *s, int *abi, struct err *err) MUST_CHECK;

/** True if the TPM is reached by a connection over IP, which the core must be able to make then. */
bool sandbox_tcti_network(const char *tcti);

#endif
