#include "daemon/config_access.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/text.h"

#define ID_MAX (UINT32_MAX - 1) /* the highest number means "no user" to the kernel */
#define FINGERPRINT "sha256:"
#define SPIFFE "spiffe://"

/* Where we are, for messages. */
struct place {
    struct mistakes *bad;
    char path[MISTAKE_PATH_SIZE];
    struct access *access;
    uint32_t identity;
};

static void wrong(const struct place *p, const char *what, const char *right)
{
    mistake(p->bad, p->path, what, right);
}

static struct place below(const struct place *p, const char *name)
{
    struct place q = *p;
    size_t used = strlen(q.path);
    (void)snprintf(q.path + used, sizeof(q.path) - used, ".%.60s", name);
    return q;
}

static struct place item(const struct place *p, size_t i)
{
    struct place q = *p;
    size_t used = strlen(q.path);
    (void)snprintf(q.path + used, sizeof(q.path) - used, "[%zu]", i);
    return q;
}

/* What a peer is recognised by -------------------------------------------------------------------
 */

static bool is_fingerprint(char *text, const char *value)
{
    uint8_t bytes[SHA256_LEN];
    size_t len = strlen(FINGERPRINT);
    if (strncmp(value, FINGERPRINT, len) != 0 || !hex_decode(bytes, sizeof(bytes), value + len))
        return false;
    hex_encode(text, bytes, sizeof(bytes));
    return true;
}

static bool copy(char *text, const char *value)
{
    text_copy(text, ACCESS_TEXT_MAX + 1, value);
    return true;
}

/* scheme://trust-domain/path, as SPIFFE-ID section 2 writes it. */
static bool is_spiffe(char *text, const char *value)
{
    size_t len = strlen(SPIFFE);
    if (strncmp(value, SPIFFE, len) != 0)
        return false;
    size_t domain = strspn(value + len, "abcdefghijklmnopqrstuvwxyz0123456789.-_");
    const char *path = value + len + domain;
    size_t allowed = strspn(path, "/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".-_");
    return domain > 0 && path[0] == '/' && path[allowed] == '\0' && path[allowed - 1] != '/' &&
           strstr(path, "//") == NULL && copy(text, value);
}

static bool is_uri(char *text, const char *value)
{
    /* A SPIFFE ID has a kind of its own, which asks more of the certificate. */
    return strchr(value, ':') != NULL && strncmp(value, SPIFFE, strlen(SPIFFE)) != 0 &&
           copy(text, value);
}

/* No patterns: what looks like one would be taken for one. */
static bool is_dns(char *text, const char *value)
{
    return value[strspn(value,
                        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")] ==
               '\0' &&
           copy(text, value);
}

static bool is_email(char *text, const char *value)
{
    return strchr(value, '@') != NULL && copy(text, value);
}

static bool is_loopback(char *text, const char *value)
{
    text[0] = '\0';
    return strcmp(value, "loopback") == 0;
}

static const struct {
    const char *name;
    enum access_kind kind;
    bool (*text)(char *text, const char *value); /* NULL: a number */
    const char *right;
} kinds[] = {
    {"fingerprint", ACCESS_FINGERPRINT, is_fingerprint,
     "\"sha256:\" and the 64 hexadecimal digits of the certificate's SHA-256"},
    {"spiffe", ACCESS_SPIFFE, is_spiffe, "\"spiffe://example.org/ci/router\""},
    {"uri", ACCESS_URI, is_uri, "\"https://ci.example.org/router\""},
    {"dns", ACCESS_DNS, is_dns, "\"ci.example.org\", no pattern"},
    {"email", ACCESS_EMAIL, is_email, "\"release@example.org\""},
    {"uid", ACCESS_UID, NULL, "a user's number, 0 to 4294967294"},
    {"gid", ACCESS_GID, NULL, "a group's number, 0 to 4294967294"},
    {"tcp", ACCESS_LOOPBACK, is_loopback, "\"loopback\""},
};

static bool same(const struct access_selector *a, const struct access_selector *b)
{
    return a->kind == b->kind && a->number == b->number && strcmp(a->text, b->text) == 0;
}

static void add_selector(const struct place *p, const struct access_selector *selector)
{
    struct access *access = p->access;
    if (access->selector_count == ACCESS_SELECTORS_MAX) {
        wrong(p, "too many", "at most 256 members of all match lists together");
        return;
    }
    for (size_t i = 0; i < access->selector_count; i++) {
        if (!same(&access->selectors[i], selector))
            continue;
        wrong(p, "stands in two places", "each peer belongs to one identity");
        return;
    }
    access->selectors[access->selector_count++] = *selector;
}

/* {"spiffe": "spiffe://example.org/ci"}: one member, of one of the kinds. */
static void take_selector(const struct place *p, const json_t *value)
{
    if (!json_is_object(value) || json_object_size(value) != 1) {
        wrong(p, "not an object of one member", "{\"uid\": 1000}");
        return;
    }
    const char *name = json_object_iter_key(json_object_iter((json_t *)(uintptr_t)value));
    const json_t *is = json_object_get(value, name);
    struct place q = below(p, name);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct access_selector s = {.identity = p->identity, .kind = kinds[i].kind};
        const char *text = json_string_value(is);
        json_int_t number = json_integer_value(is);
        bool good = kinds[i].text != NULL
                        ? text != NULL && text[0] != '\0' && token_valid(text, ACCESS_TEXT_MAX) &&
                              strchr(text, ' ') == NULL && kinds[i].text(s.text, text)
                        : json_is_integer(is) && number >= 0 && number <= (json_int_t)ID_MAX;
        if (strcmp(kinds[i].name, name) != 0)
            continue;
        s.number = kinds[i].text == NULL && good ? (uint32_t)number : 0;
        if (good)
            add_selector(&q, &s);
        else
            wrong(&q, "cannot be matched", kinds[i].right);
        return;
    }
    wrong(&q, "unknown member", "fingerprint, spiffe, uri, dns, email, uid, gid or tcp");
}

static void take_match(const struct place *p, const json_t *value)
{
    if (!json_is_array(value) || json_array_size(value) == 0)
        wrong(p, "not a list of what the peer is recognised by", "[{\"uid\": 1000}]");
    for (size_t i = 0; i < json_array_size(value); i++) {
        struct place q = item(p, i);
        take_selector(&q, json_array_get(value, i));
    }
}

/* Roles ------------------------------------------------------------------------------------------
 */

static void take_roles(const struct place *p, const json_t *value)
{
    struct access_identity *identity = &p->access->identities[p->identity];
    const char *right = "a list of signer, auditor, operator, approver, metrics, each once";
    if (!json_is_array(value) || json_array_size(value) == 0)
        wrong(p, "not a list of roles", right);
    for (size_t i = 0; i < json_array_size(value); i++) {
        enum access_role role = ROLE_PUBLIC;
        const char *name = json_string_value(json_array_get(value, i));
        struct place q = item(p, i);
        if (name == NULL || !access_role_find(&role, name) || (identity->roles & role) != 0)
            wrong(&q, "an unknown or repeated role", right);
        else
            identity->roles |= role;
    }
}

/* Rules ------------------------------------------------------------------------------------------
 */

static void take_slots(const struct place *p, struct access_rule *rule, const json_t *value)
{
    const char *right = "[\"kernel\", \"rootfs\"]: slots of the plan, at most 511 characters";
    if (!json_is_array(value) || json_array_size(value) == 0)
        wrong(p, "not a list of slots", right);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *name = json_string_value(json_array_get(value, i));
        size_t used = strlen(rule->slots);
        struct place q = item(p, i);
        if (name == NULL || !name_valid(name) || used + strlen(name) + 2 > sizeof(rule->slots))
            wrong(&q, "no name of a slot, or too many", right);
        else
            (void)snprintf(rule->slots + used, sizeof(rule->slots) - used, "%s%s",
                           used == 0 ? "" : " ", name);
    }
}

static void take_versions(const struct place *p, struct access_rule *rule, const json_t *value)
{
    const char *right = "{\"from\": \"4.0.0\", \"to\": \"4\"}, or one of the two";
    const char *name = NULL;
    json_t *end = NULL;
    if (!json_is_object(value) || json_object_size(value) == 0)
        wrong(p, "not a range of versions", right);
    json_object_foreach((json_t *)(uintptr_t)value, name, end)
    {
        bool from = strcmp(name, "from") == 0;
        const char *text = json_string_value(end);
        struct place q = below(p, name);
        if (!from && strcmp(name, "to") != 0)
            wrong(&q, "unknown member", right);
        else if (text == NULL || text[0] == '\0' || !token_valid(text, VERSION_LEN_MAX))
            wrong(&q, "no version", right);
        else
            text_copy(from ? rule->version_from : rule->version_to, VERSION_LEN_MAX + 1, text);
    }
}

static void take_share(const struct place *p, struct access_rule *rule, const json_t *value)
{
    json_int_t percent = json_integer_value(value);
    if (!json_is_integer(value) || percent < 1 || percent > ACCESS_SHARE_ALL)
        wrong(p, "not a share of a window", "percent, 1 to 100");
    else
        rule->window_share = (uint32_t)percent;
}

static void take_rule(const struct place *p, const char *key, const json_t *value)
{
    struct access *access = p->access;
    const char *name = NULL;
    json_t *member = NULL;
    bool others = strcmp(key, "*") == 0;
    if (!json_is_object(value) || (!others && !name_valid(key))) {
        wrong(p, "not a rule for a key, or for * (all others)", "{} or {\"slots\": […]}");
        return;
    }
    if (access->rule_count == ACCESS_RULES_MAX) {
        wrong(p, "too many", "at most 256 rules of all identities together");
        return;
    }
    struct access_rule *rule = &access->rules[access->rule_count++];
    *rule = (struct access_rule){.identity = p->identity, .window_share = ACCESS_SHARE_ALL};
    text_copy(rule->key, sizeof(rule->key), others ? "" : key);
    json_object_foreach((json_t *)(uintptr_t)value, name, member)
    {
        struct place q = below(p, name);
        if (strcmp(name, "slots") == 0)
            take_slots(&q, rule, member);
        else if (strcmp(name, "versions") == 0)
            take_versions(&q, rule, member);
        else if (strcmp(name, "window_share") == 0)
            take_share(&q, rule, member);
        else
            wrong(&q, "unknown member", "versions, slots, window_share");
    }
}

static void take_keys(const struct place *p, const json_t *value)
{
    const char *key = NULL;
    json_t *rule = NULL;
    if (!json_is_object(value))
        wrong(p, "not an object of keys", "{\"router-fw\": {}}");
    p->access->identities[p->identity].every_key = false;
    json_object_foreach((json_t *)(uintptr_t)value, key, rule)
    {
        struct place q = below(p, key);
        take_rule(&q, key, rule);
    }
}

/* Identities -------------------------------------------------------------------------------------
 */

static void take_identity(const struct place *p, const json_t *value)
{
    static const char *const needed[] = {"match", "roles"};
    const char *right = "{\"match\": [{\"uid\": 1000}], \"roles\": [\"signer\"]}";
    const char *name = NULL;
    json_t *member = NULL;
    if (!json_is_object(value)) {
        wrong(p, "not an identity", right);
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, member)
    {
        struct place q = below(p, name);
        if (strcmp(name, "match") == 0)
            take_match(&q, member);
        else if (strcmp(name, "roles") == 0)
            take_roles(&q, member);
        else if (strcmp(name, "keys") == 0)
            take_keys(&q, member);
        else
            wrong(&q, "unknown member", "match, roles, keys");
    }
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        struct place q = below(p, needed[i]);
        if (json_object_get(value, needed[i]) == NULL)
            wrong(&q, "is missing", right);
    }
}

static void take_all(const struct place *p, const json_t *value)
{
    const char *name = NULL;
    json_t *member = NULL;
    if (!json_is_object(value) || json_object_size(value) == 0 ||
        json_object_size(value) > ACCESS_IDENTITIES_MAX) {
        wrong(p, "not an object of 1 to 128 identities",
              "{\"ci\": {\"match\": […], \"roles\": […]}}");
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, member)
    {
        struct place q = below(p, name);
        if (!name_valid(name)) {
            wrong(&q, "not a name", "1 to 63 letters, digits, '.', '_' or '-'");
            continue;
        }
        q.identity = (uint32_t)p->access->identity_count++;
        struct access_identity *identity = &p->access->identities[q.identity];
        *identity = (struct access_identity){.every_key = true};
        text_copy(identity->name, sizeof(identity->name), name);
        take_identity(&q, member);
    }
}

void config_access(struct access *access, const json_t *value, struct mistakes *bad)
{
    struct place p = {.bad = bad, .path = "identities", .access = access};
    size_t before = bad->count;
    *access = (struct access){0};
    take_all(&p, value);
    if (bad->count != before)
        *access = (struct access){0};
}
