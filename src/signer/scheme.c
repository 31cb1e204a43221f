#include "signer/scheme.h"

/* The plan's names, as an array of strings. @return how many */
static size_t names_of(const struct plan *plan, const char *names[HBS_KEY_NAMES_MAX])
{
    MUST(plan->parameter_count <= HBS_KEY_NAMES_MAX);
    for (uint32_t i = 0; i < plan->parameter_count; i++)
        names[i] = plan->parameters[i];
    return plan->parameter_count;
}

enum rc scheme_new(struct hbs_key *key, const struct plan *plan, const uint8_t id[HBS_KEY_ID_LEN],
                   struct err *err)
{
    const char *names[HBS_KEY_NAMES_MAX];
    size_t count = names_of(plan, names);
    enum rc rc = hbs_key_new(key, plan_scheme_name(plan->scheme), names, count, id, err);
    return rc == RC_OK ? hbs_key_windows(key, plan->window_size, err) : rc;
}

enum rc scheme_read(struct hbs_key *key, const struct plan *plan, const uint8_t *raw,
                    size_t raw_len, struct err *err)
{
    const char *names[HBS_KEY_NAMES_MAX];
    size_t count = names_of(plan, names);
    enum rc rc = hbs_key_read(key, plan_scheme_name(plan->scheme), names, count, raw, raw_len, err);
    return rc == RC_OK ? hbs_key_windows(key, plan->window_size, err) : rc;
}

size_t scheme_value_len(const struct hbs_key *key)
{
    return hbs_key_top(key).n; /* one length in all levels */
}

enum hbs_scheme scheme_of(const struct plan *plan)
{
    switch (plan->scheme) {
    case PLAN_XMSS:
        return HBS_SCHEME_XMSS;
    case PLAN_XMSSMT:
        return HBS_SCHEME_XMSSMT;
    case PLAN_LMS:
    case PLAN_HSS:
        break;
    }
    return HBS_SCHEME_HSS;
}
