#include "cli/planfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/input.h"

static void free_chars(char **p)
{
    free(*p);
}

enum cli_exit planfile_read(struct plan *plan, const char *path, struct plan_fault *where,
                            struct cli_fault *fault)
{
    *plan = (struct plan){0};
    struct plan_fault local = {0};
    char *text CLEANUP(free_chars) = NULL;
    size_t len = 0;
    enum cli_exit code = input_read(path, "plan", PLAN_TEXT_MAX, &text, &len, fault);
    if (code != CLI_OK)
        return code;
    struct err err = {0};
    enum rc rc = plan_parse(plan, text, len, &local, &err);
    if (where != NULL)
        *where = local;
    if (rc == RC_OK)
        return CLI_OK;
    if (rc != RC_REFUSED_PLAN)
        return cli_fault_rc(fault, &err, path, "free some memory and repeat");
    char next[240] = "see the plan schema, or let tidemark plan advise one";
    if (local.example[0] != '\0')
        (void)snprintf(next, sizeof(next), "right would be: %s", local.example);
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    if (local.path[0] == '\0')
        return FAULT(fault, CLI_USAGE, next, "%.300s: %s", name, err_text(&err));
    return FAULT(fault, CLI_USAGE, next, "%.300s: %s: %s", name, local.path, local.what);
}
