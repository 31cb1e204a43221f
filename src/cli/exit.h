/*
 * exit: how a command ends: one closed list of exit codes, and the struct that carries the reason.
 *
 * Functions of the cli module return enum cli_exit and are MUST_CHECK; a caller-owned struct
 * cli_fault comes last, zeroed by main, filled by whoever sees the failure first and passed on by
 * everyone else. main prints it, once. One table says which exit code and which next step belong to
 * a problem that the service names.
 *
 * Uses: base. Pure functions, any thread.
 */
#ifndef CLI_EXIT_H
#define CLI_EXIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"

/* X(name, number, what it means, for help and the manual page) */
#define CLI_EXIT_LIST(X)                                                                           \
    X(CLI_OK, 0, "done")                                                                           \
    X(CLI_NO, 1, "verification says NO")                                                           \
    X(CLI_USAGE, 2, "wrong usage, or an input file that cannot be used")                           \
    X(CLI_REFUSED, 3, "refused by the plan: version taken, outside, or the key is exhausted")      \
    X(CLI_LATER, 4, "a limit is reached: try again later; the message says when")                  \
    X(CLI_ACK, 5, "somebody has to acknowledge a warning first")                                   \
    X(CLI_UNSAFE, 6, "service halted, or its clock or state is not safe to sign by")               \
    X(CLI_NETWORK, 7, "service cannot be reached, no TLS, or the connection broke")                \
    X(CLI_DENIED, 8, "not authorised")                                                             \
    X(CLI_INTERNAL, 9, "internal error, or an answer that makes no sense")

enum cli_exit {
#define X(name, number, text) name = number,
    CLI_EXIT_LIST(X)
#undef X
};

/** Why a command failed. All zero: it did not. */
struct cli_fault {
    enum cli_exit exit;
    char problem[48]; /* type of the service's problem document, or "" */
    char text[640];   /* what happened; printable, no newline */
    char next[640];   /* what to do now; "" if the text says it */
    bool printed;     /* with --json: the command printed the reason as JSON itself */
};

/** What a code means, for people. Static. */
const char *cli_exit_text(enum cli_exit code);

/**
 * Fill *fault (unless it is already) and return code: `return FAULT(fault, CLI_…, "next", "…", …)`.
 * Control characters in the text, which may quote what came from outside, become '?'.
 * @param[in] next  The next step for the reader, or NULL.
 */
enum cli_exit cli_fault_set(struct cli_fault *fault, enum cli_exit code, const char *next,
                            const char *format, ...) PRINTF_LIKE(4, 5);
#define FAULT(fault, code, next, ...) cli_fault_set((fault), (code), (next), __VA_ARGS__)

/** Like FAULT() for a result of another module: its text, behind "subject: " unless that is NULL.
 */
enum cli_exit cli_fault_rc(struct cli_fault *fault, const struct err *err, const char *subject,
                           const char *next);

/** Exit code of a result code. */
enum cli_exit cli_exit_of_rc(enum rc rc);

/** What the one table says about a problem type of the service (API page, section 2). */
struct cli_problem {
    const char *name; /* without "/problems/" */
    enum cli_exit exit;
    const char *next; /* static; for somebody at a command line, unlike the service's advice */
};

/** The i-th line of the table, NULL behind the last. */
const struct cli_problem *cli_problem_at(size_t i);

/**
 * Find the line for an answer.
 * @param[in] type    "/problems/NAME", a URL that ends so, or NULL.
 * @param[in] status  HTTP status; decides if the type is not known.
 * @param[in] later   True if the answer came with Retry-After.
 * @return never NULL; static.
 */
const struct cli_problem *cli_problem_find(const char *type, long status, bool later);

/** True if a line found by cli_problem_find() is of that type, and not only of the same status. */
bool cli_problem_is(const struct cli_problem *problem, const char *type);

/** Exit code of a service state as the service names it ("Operational", "Halted", …). */
enum cli_exit cli_exit_of_state(const char *state);

#endif
