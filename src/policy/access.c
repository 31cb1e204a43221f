#include "policy/access.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const struct {
    enum access_role role;
    const char *name;
} roles[] = {{ROLE_SIGNER, "signer"},     {ROLE_AUDITOR, "auditor"}, {ROLE_OPERATOR, "operator"},
             {ROLE_APPROVER, "approver"}, {ROLE_METRICS, "metrics"}, {ROLE_PUBLIC, "public"}};

#define ROLE_COUNT (sizeof(roles) / sizeof(roles[0]))

/* Roles ------------------------------------------------------------------------------------------
 */

const char *access_role_name(enum access_role role)
{
    for (size_t i = 0; i < ROLE_COUNT; i++)
        if (roles[i].role == role)
            return roles[i].name;
    MUST(false);
}

bool access_role_find(enum access_role *role, const char *name)
{
    for (size_t i = 0; i < ROLE_COUNT; i++) {
        if (strcmp(roles[i].name, name) != 0 || roles[i].role == ROLE_PUBLIC)
            continue;
        *role = roles[i].role;
        return true;
    }
    return false;
}

void access_roles_print(char *text, size_t size, unsigned set)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < ROLE_COUNT && used < size; i++) {
        if ((set & roles[i].role) == 0)
            continue;
        int n = snprintf(text + used, size - used, "%s%s", used == 0 ? "" : ", ", roles[i].name);
        used += n > 0 ? (size_t)n : 0;
    }
}

/* The table --------------------------------------------------------------------------------------
 */

static bool same_identity(const struct access_identity *a, const struct access_identity *b)
{
    return strcmp(a->name, b->name) == 0 && a->roles == b->roles && a->every_key == b->every_key;
}

static bool same_selector(const struct access_selector *a, const struct access_selector *b)
{
    return a->identity == b->identity && a->kind == b->kind && a->number == b->number &&
           strcmp(a->text, b->text) == 0;
}

static bool same_rule(const struct access_rule *a, const struct access_rule *b)
{
    return a->identity == b->identity && strcmp(a->key, b->key) == 0 &&
           strcmp(a->version_from, b->version_from) == 0 &&
           strcmp(a->version_to, b->version_to) == 0 && strcmp(a->slots, b->slots) == 0 &&
           a->window_share == b->window_share;
}

bool access_equal(const struct access *a, const struct access *b)
{
    bool same = a->identity_count == b->identity_count && a->rule_count == b->rule_count &&
                a->selector_count == b->selector_count;
    for (size_t i = 0; same && i < a->identity_count; i++)
        same = same_identity(&a->identities[i], &b->identities[i]);
    for (size_t i = 0; same && i < a->selector_count; i++)
        same = same_selector(&a->selectors[i], &b->selectors[i]);
    for (size_t i = 0; same && i < a->rule_count; i++)
        same = same_rule(&a->rules[i], &b->rules[i]);
    return same;
}

const struct access_identity *access_find(const struct access *access, const char *name)
{
    for (size_t i = 0; i < access->identity_count; i++)
        if (strcmp(access->identities[i].name, name) == 0)
            return &access->identities[i];
    return NULL;
}

const struct access_rule *access_rule_of(const struct access *access,
                                         const struct access_identity *identity, const char *key)
{
    const struct access_rule *others = NULL;
    for (size_t i = 0; i < access->rule_count; i++) {
        const struct access_rule *rule = &access->rules[i];
        if (&access->identities[rule->identity] != identity)
            continue;
        if (strcmp(rule->key, key) == 0)
            return rule;
        if (rule->key[0] == '\0')
            others = rule;
    }
    return others;
}

bool access_key_allowed(const struct access *access, const struct access_identity *identity,
                        const char *key)
{
    return identity->every_key || access_rule_of(access, identity, key) != NULL;
}

/* Is a name one of those in a list with blanks between? */
static bool listed(const char *list, const char *name)
{
    size_t len = strlen(name);
    while (*list != '\0') {
        size_t word = strcspn(list, " ");
        if (word == len && strncmp(list, name, len) == 0)
            return true;
        list += word;
        list += *list == ' ' ? 1 : 0;
    }
    return false;
}

bool access_slot_allowed(const struct access *access, const struct access_identity *identity,
                         const char *key, const char *slot)
{
    const struct access_rule *rule = access_rule_of(access, identity, key);
    if (rule == NULL)
        return identity->every_key;
    /* A plan with one slot fills its name in, so only the core knows what "" stands for. */
    return rule->slots[0] == '\0' || slot[0] == '\0' || listed(rule->slots, slot);
}

/* Versions ---------------------------------------------------------------------------------------
 */

/* The next number of "4.2.1"; false at the end, or where there is no number. */
static bool next_number(const char **text, uint64_t *number)
{
    const char *p = *text;
    if (*p < '0' || *p > '9')
        return false;
    for (*number = 0; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(*number, 10U, number) ||
            __builtin_add_overflow(*number, (unsigned)(*p - '0'), number))
            *number = UINT64_MAX;
    *text = *p == '.' ? p + 1 : p;
    return true;
}

/* Compare as far as both have numbers: "4" and "4.2" are equal, as the end of a range means it. */
static int compare_numbers(const char *a, const char *b)
{
    uint64_t x = 0;
    uint64_t y = 0;
    while (next_number(&a, &x) && next_number(&b, &y))
        if (x != y)
            return x < y ? -1 : 1;
    return 0;
}

/* Place in the list of the plan; -1: not there. */
static int64_t listed_at(const struct plan *plan, const char *version)
{
    for (uint32_t i = 0; i < plan->table_count; i++)
        if (strcmp(plan->table[i], version) == 0)
            return i;
    return -1;
}

static bool in_table(const struct plan *plan, const struct access_rule *rule, const char *version)
{
    int64_t at = listed_at(plan, version);
    int64_t from = rule->version_from[0] == '\0' ? 0 : listed_at(plan, rule->version_from);
    int64_t to =
        rule->version_to[0] == '\0' ? plan->table_count : listed_at(plan, rule->version_to);
    /* An end that the list does not have allows nothing: better too little than too much. */
    return at >= 0 && from >= 0 && to >= 0 && from <= at && at <= to;
}

/* Numbers with dots between, as all formats but the table are written. */
static bool is_numbers(const char *text)
{
    return strspn(text, "0123456789.") == strlen(text);
}

static bool version_allowed(const struct plan *plan, const struct access_rule *rule,
                            const char *version)
{
    if (rule->version_from[0] == '\0' && rule->version_to[0] == '\0')
        return true;
    if (plan->kind != PLAN_VERSION)
        return false;
    if (plan->format == PLAN_TABLE)
        return in_table(plan, rule, version);
    if (!is_numbers(rule->version_from) || !is_numbers(rule->version_to))
        return false;
    return (rule->version_from[0] == '\0' || compare_numbers(rule->version_from, version) <= 0) &&
           (rule->version_to[0] == '\0' || compare_numbers(version, rule->version_to) <= 0);
}

/* The core's questions ---------------------------------------------------------------------------
 */

enum rc access_check_role(const struct access *access, const char *name, enum access_role role,
                          struct err *err)
{
    if (access->identity_count == 0)
        return RC_OK;
    const struct access_identity *identity = access_find(access, name);
    if (identity == NULL)
        return FAIL(err, RC_REFUSED_ACCESS, "", 0, "%.80s is no identity of the configuration",
                    name);
    if ((identity->roles & role) == 0)
        return FAIL(err, RC_REFUSED_ACCESS, "", 0, "%s has not the role %s", name,
                    access_role_name(role));
    return RC_OK;
}

enum rc access_check_key(const struct access *access, const char *name, enum access_role role,
                         const char *key, struct err *err)
{
    enum rc rc = access_check_role(access, name, role, err);
    if (rc != RC_OK || access->identity_count == 0)
        return rc;
    if (!access_key_allowed(access, access_find(access, name), key))
        return FAIL(err, RC_REFUSED_ACCESS, "", 0, "%s may not use the key that this is about",
                    name);
    return RC_OK;
}

enum rc access_check_sign(const struct access *access, const char *name, const struct plan *plan,
                          const char *version, const char *slot, struct err *err)
{
    if (access->identity_count == 0)
        return RC_OK;
    enum rc rc = access_check_role(access, name, ROLE_SIGNER, err);
    if (rc != RC_OK)
        return rc;
    const struct access_identity *identity = access_find(access, name);
    const struct access_rule *rule = access_rule_of(access, identity, plan->key);
    if (rule == NULL && identity->every_key)
        return RC_OK;
    if (rule == NULL)
        return FAIL(err, RC_REFUSED_ACCESS, "", 0, "%s may not use the key %s", name, plan->key);
    if (rule->slots[0] != '\0' && !listed(rule->slots, slot))
        return FAIL(err, RC_REFUSED_ACCESS, "", 0, "%s may sign for the slots %.80s of %s", name,
                    rule->slots, plan->key);
    if (!version_allowed(plan, rule, version))
        return FAIL(err, RC_REFUSED_ACCESS, "", 0, "%s may sign the versions %s to %s of %s", name,
                    rule->version_from[0] != '\0' ? rule->version_from : "(first)",
                    rule->version_to[0] != '\0' ? rule->version_to : "(last)", plan->key);
    return RC_OK;
}

uint32_t access_window_share(const struct access *access, const char *name, const char *key)
{
    const struct access_identity *identity = access_find(access, name);
    const struct access_rule *rule =
        identity == NULL ? NULL : access_rule_of(access, identity, key);
    return rule == NULL ? ACCESS_SHARE_ALL : rule->window_share;
}
