#include "cli/exit.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/out.h"

const char *cli_exit_text(enum cli_exit code)
{
    switch (code) {
#define X(name, number, text)                                                                      \
    case name:                                                                                     \
        return text;
        CLI_EXIT_LIST(X)
#undef X
    }
    return "unknown";
}

enum cli_exit cli_fault_set(struct cli_fault *fault, enum cli_exit code, const char *next,
                            const char *format, ...)
{
    MUST(code != CLI_OK);
    if (fault->exit != CLI_OK)
        return fault->exit;
    fault->exit = code;
    char text[sizeof(fault->text)];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    out_clean(fault->text, sizeof(fault->text), text);
    if (next != NULL)
        out_clean(fault->next, sizeof(fault->next), next);
    return code;
}

enum cli_exit cli_fault_rc(struct cli_fault *fault, const struct err *err, const char *subject,
                           const char *next)
{
    enum cli_exit code = cli_exit_of_rc(err->rc);
    if (subject != NULL)
        return FAULT(fault, code, next, "%s: %s", subject, err_text(err));
    return FAULT(fault, code, next, "%s", err_text(err));
}

enum cli_exit cli_exit_of_rc(enum rc rc)
{
    switch (rc) {
    case RC_OK:
        return CLI_OK;
    case RC_REFUSED_SIGNATURE:
        return CLI_NO;
    case RC_REFUSED_SPENT:
    case RC_REFUSED_OUTSIDE_PLAN:
    case RC_REFUSED_BOUND:
    case RC_REFUSED_BELOW_FLOOR:
    case RC_REFUSED_JUMP:
    case RC_REFUSED_EXHAUSTED:
    case RC_REFUSED_NOT_REMOTE:
    case RC_REFUSED_EXPIRED:
    case RC_REFUSED_OTHER_HASH:
        return CLI_REFUSED;
    case RC_REFUSED_NOT_OPEN:
        return CLI_LATER;
    case RC_REFUSED_EXPORT:
    case RC_REFUSED_ACK:
        return CLI_ACK;
    case RC_RETRY_BUSY:
    case RC_RETRY_WINDOW_FULL:
    case RC_RETRY_RATE:
        return CLI_LATER;
    case RC_RETRY_CLOCK:
    case RC_RETRY_ANCHOR:
    case RC_RETRY_STARTING:
        return CLI_UNSAFE;
    case RC_RETRY_SYSTEM:
    case RC_HALT_SYSTEM: /* of this process, not of the service */
        return CLI_INTERNAL;
    default:
        break;
    }
    switch (rc_class(rc)) {
    case RC_CLASS_REFUSED:
        return CLI_USAGE;
    case RC_CLASS_HALT:
        return CLI_UNSAFE;
    default:
        return CLI_INTERNAL;
    }
}

/* Every problem of the service has a line; a test holds the two lists together. */
static const struct cli_problem problems[] = {
    {"version-already-signed", CLI_REFUSED,
     "sign it as the next free version, or sign the artifact that this version is bound to"},
    {"version-below-floor", CLI_REFUSED, "choose a version above the highest one that is signed"},
    {"version-given-up", CLI_REFUSED, "release under the next free version"},
    {"remote-hashing-off", CLI_REFUSED, "sign without --remote: the artifact is uploaded then"},
    {"reservation-expired", CLI_REFUSED,
     "sign again; a version is given up with its index, so under the next version"},
    {"reservation-spent", CLI_REFUSED, "sign again, under another version or idempotency key"},
    {"version-jump", CLI_REFUSED, "check the version for a typing error; an operator can approve"},
    {"version-outside-plan", CLI_REFUSED,
     "choose a version and slot that the plan can name: tidemark key show KEY"},
    {"window-not-open", CLI_LATER, "wait until the window opens: tidemark windows --key KEY"},
    {"window-full", CLI_LATER, "wait for the next window: tidemark windows --key KEY"},
    {"rate-limited", CLI_LATER, "wait, then repeat the same command"},
    {"exhaustion-ack-required", CLI_ACK,
     "an operator has to acknowledge the warning that tidemark warning list shows"},
    {"export-required", CLI_ACK,
     "an operator has to store a backup off this device: tidemark backup export --key KEY"},
    {"key-exhausted", CLI_REFUSED, "sign with a new key: tidemark key new PLAN"},
    {"clock-unsafe", CLI_UNSAFE, "tidemark clock status says why, and what helps"},
    {"state-regression", CLI_UNSAFE,
     "do not restore anything; an operator has to run tidemark recover on the signer host"},
    {"anchor-unavailable", CLI_UNSAFE, "check the TPM: tidemark status and the service's log"},
    {"halted", CLI_UNSAFE, "call the operator: tidemark status and the service's log say why"},
    {"starting", CLI_UNSAFE, "wait until tidemark status says Operational, then repeat"},
    {"busy", CLI_LATER, "wait a moment, then repeat the same command"},
    {"outcome-unknown", CLI_NETWORK, "repeat exactly the same command; that is safe"},
    {"index-burned", CLI_INTERNAL,
     "one index is lost and no signature was made; repeat, or sign the next version"},
    {"digest-mismatch", CLI_NETWORK,
     "nothing was used; if nobody is writing to the file, repeat the same command"},
    {"too-large", CLI_USAGE,
     "sign fewer at a time, raise the service's limit, or use a plan that signs a digest"},
    {"spool-full", CLI_LATER, "an operator has to make room in the service's spool folder"},
    {"unauthorised", CLI_DENIED, "ask the operator of the service for access"},
    {"forbidden", CLI_DENIED, "ask the operator of the service for the role that this needs"},
    {"idempotency-key-missing", CLI_USAGE, "give --idempotency-key TEXT"},
    {"idempotency-key-reused", CLI_USAGE,
     "give another --idempotency-key, or leave it out to have one made"},
    {"idempotency-key-in-use", CLI_LATER, "wait for the other request, then repeat"},
    {"bad-request", CLI_USAGE, "check the command line: tidemark help"},
    {"not-found", CLI_USAGE, "check the name: tidemark key list"},
    {"conflict", CLI_REFUSED, "choose another name, or use what is there"},
    {"uri-too-long", CLI_USAGE, "shorten the names on the command line"},
    {"not-supported", CLI_USAGE, "see what the key can do: tidemark key show KEY"},
    {"not-attested", CLI_UNSAFE,
     "signing is not affected; an operator looks into the service's log"},
    {"plan-invalid", CLI_USAGE, "check it: tidemark plan PLAN"},
    /* These say that tidemark and the service do not understand each other. */
    {"method-not-allowed", CLI_INTERNAL, "compare tidemark --version with the service's"},
    {"not-acceptable", CLI_INTERNAL, "compare tidemark --version with the service's"},
    {"length-required", CLI_INTERNAL, "compare tidemark --version with the service's"},
    {"unsupported-media-type", CLI_INTERNAL, "compare tidemark --version with the service's"},
    {"http-version", CLI_INTERNAL, "compare tidemark --version with the service's"},
    {"internal", CLI_INTERNAL, "look into the service's log"},
};

const struct cli_problem *cli_problem_at(size_t i)
{
    return i < sizeof(problems) / sizeof(problems[0]) ? &problems[i] : NULL;
}

/* Answers without a type that we know: the status alone has to say it. */
static const struct cli_problem by_status[] = {
    {"later", CLI_LATER, "wait, then repeat the same command"},
    {"unauthorised", CLI_DENIED, "ask the operator of the service for access"},
    {"not-found", CLI_USAGE, "check the name: tidemark key list"},
    {"conflict", CLI_REFUSED, "tidemark status shows what the service allows now"},
    {"bad-request", CLI_USAGE, "check the command line: tidemark help"},
    {"acknowledgement", CLI_ACK, "an operator has to acknowledge the warning first"},
    {"unavailable", CLI_UNSAFE, "tidemark status and the service's log say why"},
    {"server-error", CLI_INTERNAL, "look into the service's log"},
};

static const struct cli_problem *problem_of_status(long status, bool later)
{
    if (status == 401 || status == 403)
        return &by_status[1];
    if (status == 404)
        return &by_status[2];
    if (status == 428)
        return &by_status[5];
    if (later || status == 429)
        return &by_status[0];
    if (status == 409 || status == 410)
        return &by_status[3];
    if (status >= 400 && status < 500)
        return &by_status[4];
    return status == 503 ? &by_status[6] : &by_status[7];
}

const struct cli_problem *cli_problem_find(const char *type, long status, bool later)
{
    const char *name = type == NULL ? NULL : strrchr(type, '/');
    if (name != NULL) {
        for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
            if (strcmp(problems[i].name, name + 1) == 0)
                return &problems[i];
        }
    }
    return problem_of_status(status, later);
}

bool cli_problem_is(const struct cli_problem *problem, const char *type)
{
    const char *name = strrchr(type, '/');
    return name != NULL && strcmp(problem->name, name + 1) == 0;
}

enum cli_exit cli_exit_of_state(const char *state)
{
    static const struct {
        const char *name;
        enum cli_exit exit;
    } states[] = {
        {"Operational", CLI_OK},
        {"WindowFull", CLI_LATER},
        {"AckRequired", CLI_ACK},
        {"Exhausted", CLI_REFUSED},
    };
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (strcmp(states[i].name, state) == 0)
            return states[i].exit;
    }
    return CLI_UNSAFE; /* Starting, ClockUnsafe, Recovering, Halted, and what we do not know */
}
