#include "http/problem.h"

#include <stdio.h>
#include <string.h>

#include "http/print.h"

static const struct problem problems[PROBLEM_COUNT] = {
#define X(id, name, status, title, action) [id] = {name, status, title, action},
    PROBLEM_LIST(X)
#undef X
};

static const struct {
    enum rc rc;
    enum problem_id id;
} by_rc[] = {
    {RC_REFUSED_INPUT, PROBLEM_BAD_REQUEST},
    {RC_REFUSED_SPENT, PROBLEM_VERSION_GIVEN_UP},
    {RC_REFUSED_RANGE, PROBLEM_NOT_FOUND},
    {RC_REFUSED_PLAN, PROBLEM_PLAN_INVALID},
    {RC_REFUSED_CONFIG, PROBLEM_INTERNAL},
    {RC_REFUSED_OUTSIDE_PLAN, PROBLEM_VERSION_OUTSIDE_PLAN},
    {RC_REFUSED_BOUND, PROBLEM_VERSION_ALREADY_SIGNED},
    {RC_REFUSED_BELOW_FLOOR, PROBLEM_VERSION_BELOW_FLOOR},
    {RC_REFUSED_JUMP, PROBLEM_VERSION_JUMP},
    {RC_REFUSED_NOT_OPEN, PROBLEM_WINDOW_NOT_OPEN},
    {RC_REFUSED_DIGEST, PROBLEM_DIGEST_MISMATCH},
    {RC_REFUSED_TOO_LARGE, PROBLEM_TOO_LARGE},
    {RC_REFUSED_NO_KEY, PROBLEM_NOT_FOUND},
    {RC_REFUSED_NOT_FOUND, PROBLEM_NOT_FOUND},
    {RC_REFUSED_EXISTS, PROBLEM_CONFLICT},
    {RC_REFUSED_IDEM_MISSING, PROBLEM_IDEMPOTENCY_KEY_MISSING},
    {RC_REFUSED_IDEM_REUSED, PROBLEM_IDEMPOTENCY_KEY_REUSED},
    {RC_REFUSED_EXHAUSTED, PROBLEM_KEY_EXHAUSTED},
    {RC_REFUSED_EXPORT, PROBLEM_EXPORT_REQUIRED},
    {RC_REFUSED_SIGNATURE, PROBLEM_INTERNAL},
    {RC_REFUSED_UNSUPPORTED, PROBLEM_NOT_SUPPORTED},
    {RC_REFUSED_PASSPHRASE, PROBLEM_INTERNAL},
    {RC_REFUSED_ATTEST, PROBLEM_NOT_ATTESTED},
    {RC_REFUSED_ACCESS, PROBLEM_FORBIDDEN},
    {RC_REFUSED_ACK, PROBLEM_EXHAUSTION_ACK_REQUIRED},
    {RC_REFUSED_NOT_REMOTE, PROBLEM_REMOTE_HASHING_OFF},
    {RC_REFUSED_EXPIRED, PROBLEM_RESERVATION_EXPIRED},
    {RC_REFUSED_OTHER_HASH, PROBLEM_RESERVATION_SPENT},
    {RC_RETRY_BUSY, PROBLEM_BUSY},
    {RC_RETRY_WINDOW_FULL, PROBLEM_WINDOW_FULL},
    {RC_RETRY_RATE, PROBLEM_RATE_LIMITED},
    {RC_RETRY_CLOCK, PROBLEM_CLOCK_UNSAFE},
    {RC_RETRY_ANCHOR, PROBLEM_ANCHOR_UNAVAILABLE},
    {RC_RETRY_SYSTEM, PROBLEM_BUSY},
    {RC_RETRY_STARTING, PROBLEM_STARTING},
    {RC_BURNED_CLOCK, PROBLEM_INDEX_BURNED},
    {RC_BURNED_VERIFY, PROBLEM_INDEX_BURNED},
    {RC_HALT_LEDGER, PROBLEM_HALTED},
    {RC_HALT_ANCHOR, PROBLEM_HALTED},
    {RC_HALT_REGRESSION, PROBLEM_STATE_REGRESSION},
    {RC_HALT_TPM_BEHIND, PROBLEM_STATE_REGRESSION},
    {RC_HALT_CANARY, PROBLEM_HALTED},
    {RC_HALT_NODES, PROBLEM_HALTED},
    {RC_HALT_SEEDS, PROBLEM_HALTED},
    {RC_HALT_INVARIANT, PROBLEM_HALTED},
    {RC_HALT_STATE_DIR, PROBLEM_HALTED},
    {RC_HALT_SYSTEM, PROBLEM_HALTED},
    {RC_HALT_VIRTUAL, PROBLEM_HALTED},
};

#define X(name, class, n, text) +1
_Static_assert(sizeof(by_rc) / sizeof(by_rc[0]) == 0 RC_LIST(X), "every code of RC_LIST has a row");
#undef X

const struct problem *problem_get(enum problem_id id)
{
    MUST((unsigned)id < PROBLEM_COUNT);
    return &problems[id];
}

const struct problem *problem_by_name(const char *name)
{
    for (size_t i = 0; i < PROBLEM_COUNT; i++)
        if (strcmp(problems[i].name, name) == 0)
            return &problems[i];
    return NULL;
}

enum problem_id problem_of_rc(enum rc rc)
{
    for (size_t i = 0; i < sizeof(by_rc) / sizeof(by_rc[0]); i++)
        if (by_rc[i].rc == rc)
            return by_rc[i].id;
    return PROBLEM_INTERNAL;
}

static void member_time(struct jcs *j, const char *key, int64_t seconds)
{
    char text[RFC3339_SIZE];
    rfc3339_print(text, seconds);
    jcs_member_string(j, key, text);
}

static void print_bound(struct jcs *j, const struct reply *reply)
{
    jcs_key(j, "bound_to");
    jcs_object_open(j);
    jcs_member_hex(j, "artifact_sha256", reply->bound_sha256, SHA256_LEN);
    if (reply->bound_request_id[0] != '\0')
        print_clean(j, "request_id", reply->bound_request_id);
    if (reply->bound_at_s > 0)
        member_time(j, "signed_at", reply->bound_at_s);
    jcs_object_close(j);
}

/* draft-ietf-httpapi-ratelimit-headers-10, appendix on problem types. */
static void print_violated(struct jcs *j, const char *limit)
{
    jcs_key(j, "violated-policies");
    jcs_array_open(j);
    jcs_string(j, limit);
    jcs_array_close(j);
}

static void member_known(struct jcs *j, const char *key, int64_t value)
{
    if (value >= 0)
        jcs_member_u64(j, key, (uint64_t)value);
}

/* The state of the service belongs to refusals that come from it, and would confuse elsewhere. */
static bool says_state(const struct reply *reply)
{
    enum rc_class class = rc_class((enum rc)reply->rc);
    return class == RC_CLASS_RETRY || class == RC_CLASS_HALT;
}

void problem_print(struct jcs *j, const struct problem *problem, const char *detail,
                   const char *request_id, const struct reply *reply)
{
    char type[96];
    (void)snprintf(type, sizeof(type), "/problems/%s", problem->name);

    jcs_object_open(j);
    jcs_member_string(j, "action", problem->action);
    if (reply != NULL && reply->rc == RC_REFUSED_BOUND)
        print_bound(j, reply);
    if (reply != NULL && rc_known(reply->rc))
        jcs_member_string(j, "code", rc_name((enum rc)reply->rc));
    print_clean(j, "detail", detail);
    if (reply != NULL && rc_class((enum rc)reply->rc) == RC_CLASS_BURNED)
        member_known(j, "index", reply->burned_index);
    if (reply != NULL && reply->next_version[0] != '\0')
        print_clean(j, "next_version", reply->next_version);
    if (reply != NULL && reply->window_opens_s > 0)
        member_time(j, "opens", reply->window_opens_s);
    print_clean(j, "request_id", request_id);
    if (reply != NULL && reply->retry_after_s > 0)
        member_known(j, "retry_after_s", reply->retry_after_s);
    if (reply != NULL && says_state(reply))
        jcs_member_string(j, "state", service_state_name(reply->state));
    jcs_member_int(j, "status", problem->status);
    jcs_member_string(j, "title", problem->title);
    if (reply != NULL && reply->tpm_state[0] != '\0' && reply->rc != RC_OK)
        print_clean(j, "tpm_state", reply->tpm_state);
    jcs_member_string(j, "type", type);
    if (reply != NULL && name_valid(reply->violated) && reply->rc != RC_OK)
        print_violated(j, reply->violated);
    if (reply != NULL)
        member_known(j, "window", reply->window);
    jcs_object_close(j);
}
