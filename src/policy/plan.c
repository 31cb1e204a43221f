#include "policy/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/assignment.h"
#include "policy/document.h"
#include "policy/sets.h"

#define AT "$"

static const char *const scheme_names[] = {
    [PLAN_LMS] = "lms", [PLAN_HSS] = "hss", [PLAN_XMSS] = "xmss", [PLAN_XMSSMT] = "xmssmt", NULL};
static const char *const profile_names[] = {
    [PLAN_CNSA2] = "cnsa2", [PLAN_SP800_208] = "sp800-208", [PLAN_RFC] = "rfc", NULL};
static const char *const message_names[] = {[PLAN_RAW] = "raw",
                                            [PLAN_SHA256] = "sha256",
                                            [PLAN_SHA384] = "sha384",
                                            [PLAN_SHA512] = "sha512",
                                            NULL};

const char *plan_scheme_name(enum plan_scheme scheme)
{
    return scheme_names[scheme];
}

const char *plan_profile_name(enum plan_profile profile)
{
    return profile_names[profile];
}

const char *plan_message_name(enum plan_message message)
{
    return message_names[message];
}

void plan_free(struct plan *plan)
{
    free(plan->table);
    *plan = (struct plan){0};
}

/* --- Key, profile, message ----------------------------------------------------------------------
 */

static enum rc parse_head(const struct doc *doc, const json_t *root, struct plan *plan)
{
    struct doc_field format = {root, AT, "tidemark_plan", "1"};
    struct doc_field key = {root, AT, "key", "\"router-fw\""};
    const json_t *present = NULL;
    uint64_t one = 0;
    const char *name = NULL;
    enum rc rc = doc_need(doc, &format, &present);
    if (rc == RC_OK)
        rc = doc_u64(doc, &format, 1, 1, &one);
    if (rc == RC_OK)
        rc = doc_need(doc, &key, &present);
    if (rc == RC_OK)
        rc = doc_string(doc, &key, &name);
    if (rc != RC_OK)
        return rc;
    if (!name_valid(name))
        return doc_bad_field(doc, &key,
                             "\"%.70s\" is no name: 1 to %d letters, digits, '.', '_' or '-', "
                             "starting with a letter, digit or '_'",
                             name, NAME_LEN_MAX);
    memcpy(plan->key, name, strlen(name) + 1);
    return RC_OK;
}

static enum rc need_choice(const struct doc *doc, const struct doc_field *field,
                           const char *const *names, uint32_t *choice)
{
    const json_t *present = NULL;
    enum rc rc = doc_need(doc, field, &present);
    return rc == RC_OK ? doc_choice(doc, field, names, choice) : rc;
}

static enum rc parse_choices(const struct doc *doc, const json_t *root, struct plan *plan)
{
    struct doc_field profile = {root, AT, "profile", "\"cnsa2\""};
    struct doc_field scheme = {root, AT, "scheme", "\"lms\""};
    struct doc_field message = {root, AT, "message", "\"raw\""};
    uint32_t choice[3] = {0, 0, PLAN_RAW};
    enum rc rc = need_choice(doc, &profile, profile_names, &choice[0]);
    if (rc == RC_OK)
        rc = need_choice(doc, &scheme, scheme_names, &choice[1]);
    if (rc == RC_OK)
        rc = doc_choice(doc, &message, message_names, &choice[2]);
    if (rc != RC_OK)
        return rc;
    plan->profile = (enum plan_profile)choice[0];
    plan->scheme = (enum plan_scheme)choice[1];
    plan->message = (enum plan_message)choice[2];
    if (plan->profile == PLAN_CNSA2 && (plan->scheme == PLAN_HSS || plan->scheme == PLAN_XMSSMT))
        return doc_bad_field(doc, &scheme,
                             "profile cnsa2 takes single trees only, and %s is a hypertree",
                             plan_scheme_name(plan->scheme));
    return RC_OK;
}

/* --- Parameter sets -----------------------------------------------------------------------------
 */

#define EXAMPLE_LMS "\"LMS_SHA256_M24_H20\", \"LMOTS_SHA256_N24_W8\""

static const char *parameters_example(enum plan_scheme scheme)
{
    switch (scheme) {
    case PLAN_LMS:
        return "[" EXAMPLE_LMS "]";
    case PLAN_HSS:
        return "[" EXAMPLE_LMS ", \"LMS_SHA256_M24_H10\", \"LMOTS_SHA256_N24_W8\"]";
    case PLAN_XMSS:
        return "[\"XMSS-SHA2_16_256\"]";
    case PLAN_XMSSMT:
        break;
    }
    return "[\"XMSSMT-SHA2_40/4_256\"]";
}

static void parameter_path(char path[32], uint32_t i)
{
    (void)snprintf(path, 32, "$.parameters[%" PRIu32 "]", i);
}

/* Read the i-th name as a set of the kind that belongs there. */
static enum rc parse_set(const struct doc *doc, const struct plan *plan, uint32_t i, bool one_time,
                         struct set *set)
{
    const char *name = plan->parameters[i];
    bool known = false;
    const char *kind = one_time ? "LM-OTS set" : "LMS set";
    const char *example = one_time ? "\"LMOTS_SHA256_N24_W8\"" : "\"LMS_SHA256_M24_H20\"";
    char path[32];
    if (plan->scheme == PLAN_XMSS || plan->scheme == PLAN_XMSSMT) {
        bool single = plan->scheme == PLAN_XMSS;
        known = single ? set_xmss(set, name) : set_xmssmt(set, name);
        kind = single ? "XMSS set" : "XMSS^MT set";
        example = single ? "\"XMSS-SHA2_16_256\"" : "\"XMSSMT-SHA2_40/4_256\"";
    } else {
        known = one_time ? set_lmots(set, name) : set_lms(set, name);
    }
    parameter_path(path, i);
    if (!known)
        return doc_bad(doc, path, example, "\"%s\" is no %s", name, kind);
    if (plan->profile != PLAN_RFC && !set->approved)
        return doc_bad(doc, path, example,
                       "\"%s\" is not a set of SP 800-208, which profile %s asks for", name,
                       plan_profile_name(plan->profile));
    return RC_OK;
}

/* SP 800-208 §4: "the hash function used for the LMS system shall be the same as the hash function
 * used in the LM-OTS keys", and one hash function for all levels of an HSS key. */
static enum rc parse_level(const struct doc *doc, struct plan *plan, uint32_t level,
                           const struct set *top, struct set *tree)
{
    struct set ots = {0};
    char path[32];
    enum rc rc = parse_set(doc, plan, 2 * level, false, tree);
    if (rc == RC_OK)
        rc = parse_set(doc, plan, 2 * level + 1, true, &ots);
    if (rc != RC_OK)
        return rc;
    if (!set_same_hash(tree, &ots)) {
        parameter_path(path, 2 * level + 1);
        return doc_bad(doc, path, EXAMPLE_LMS,
                       "a tree and its one-time scheme must use the same hash of the same length");
    }
    if (level > 0 && plan->profile != PLAN_RFC && !set_same_hash(tree, top)) {
        parameter_path(path, 2 * level);
        return doc_bad(doc, path, parameters_example(PLAN_HSS),
                       "SP 800-208 wants the hash of the top level in all levels");
    }
    plan->level_heights[level] = tree->height;
    return RC_OK;
}

static enum rc parse_lms_levels(const struct doc *doc, struct plan *plan)
{
    struct set top = {0};
    struct set lower = {0};
    plan->level_count = plan->parameter_count / 2;
    for (uint32_t i = 0; i < plan->level_count; i++) {
        enum rc rc = parse_level(doc, plan, i, &top, i == 0 ? &top : &lower);
        if (rc != RC_OK)
            return rc;
        plan->height += plan->level_heights[i];
    }
    if (plan->height > PLAN_HEIGHT_MAX)
        return doc_bad(doc, "$.parameters", parameters_example(PLAN_HSS),
                       "the trees are %" PRIu32 " high together, but at most %d is supported",
                       plan->height, PLAN_HEIGHT_MAX);
    return RC_OK;
}

static enum rc parse_xmss_layers(const struct doc *doc, struct plan *plan)
{
    struct set set = {0};
    enum rc rc = parse_set(doc, plan, 0, false, &set);
    if (rc != RC_OK)
        return rc;
    plan->height = set.height;
    plan->level_count = set.layers;
    for (uint32_t i = 0; i < set.layers; i++)
        plan->level_heights[i] = set.height / set.layers;
    return RC_OK;
}

/* How many names a scheme has. */
static enum rc parameters_count(const struct doc *doc, const struct doc_field *field,
                                const struct plan *plan, size_t count)
{
    switch (plan->scheme) {
    case PLAN_LMS:
        if (count != 2)
            return doc_bad_field(doc, field, "lms needs 2 names, a tree and its one-time scheme");
        break;
    case PLAN_HSS:
        if (count < 4 || count % 2 != 0)
            return doc_bad_field(doc, field,
                                 "hss needs two names for each of 2 to %d levels, top first; "
                                 "one level is scheme lms",
                                 PLAN_LEVELS_MAX);
        break;
    case PLAN_XMSS:
    case PLAN_XMSSMT:
        if (count != 1)
            return doc_bad_field(doc, field, "%s needs 1 name", plan_scheme_name(plan->scheme));
        break;
    }
    return RC_OK;
}

static enum rc parse_parameters(const struct doc *doc, const json_t *root, struct plan *plan)
{
    struct doc_field field = {root, AT, "parameters", parameters_example(plan->scheme)};
    const json_t *names = NULL;
    enum rc rc = doc_need(doc, &field, &names);
    if (rc == RC_OK)
        rc = doc_strings(doc, &field, 1, 2 * PLAN_LEVELS_MAX, &names);
    if (rc == RC_OK)
        rc = parameters_count(doc, &field, plan, json_array_size(names));
    if (rc != RC_OK)
        return rc;
    plan->parameter_count = (uint32_t)json_array_size(names);
    for (uint32_t i = 0; i < plan->parameter_count; i++) {
        const char *name = json_string_value(json_array_get(names, i));
        char path[32];
        parameter_path(path, i);
        if (strlen(name) > PLAN_PARAM_NAME_MAX)
            return doc_bad(doc, path, parameters_example(plan->scheme),
                           "\"%.60s\" is no parameter set", name);
        memcpy(plan->parameters[i], name, strlen(name) + 1);
    }
    bool lms = plan->scheme == PLAN_LMS || plan->scheme == PLAN_HSS;
    return lms ? parse_lms_levels(doc, plan) : parse_xmss_layers(doc, plan);
}

/* --- Remote hashing ------------------------------------------------------------------------------
 */

#define AT_REMOTE "$.remote_hashing"

static enum rc remote_fits(const struct doc *doc, const struct doc_field *field,
                           const struct plan *plan)
{
    if (plan->profile == PLAN_SP800_208)
        return doc_bad_field(doc, field,
                             "profile sp800-208 hashes where the key is, and nowhere else");
    if (plan->message != PLAN_RAW)
        return doc_bad_field(doc, field,
                             "a key that signs digests needs no artifact: this is for message raw");
    return RC_OK;
}

static enum rc parse_remote(const struct doc *doc, const json_t *root, struct plan *plan)
{
    struct doc_field field = {root, AT, "remote_hashing",
                              "{\"expires_s\": 300, \"open_per_caller\": 4}"};
    const json_t *object = json_object_get(root, field.name);
    uint64_t expires_s = PLAN_REMOTE_EXPIRES_DEFAULT;
    uint64_t open = PLAN_REMOTE_OPEN_DEFAULT;
    if (object == NULL)
        return RC_OK;
    if (!json_is_object(object))
        return doc_bad_field(doc, &field, "must be an object, not %s", doc_type(object));
    struct doc_field expires_field = {object, AT_REMOTE, "expires_s", "300"};
    struct doc_field open_field = {object, AT_REMOTE, "open_per_caller", "4"};
    enum rc rc = members_check(doc, object, AT_REMOTE, MEMBER_OF_REMOTE);
    if (rc == RC_OK)
        rc = doc_u64(doc, &expires_field, PLAN_REMOTE_EXPIRES_MIN, PLAN_REMOTE_EXPIRES_MAX,
                     &expires_s);
    if (rc == RC_OK)
        rc = doc_u64(doc, &open_field, 1, PLAN_REMOTE_OPEN_MAX, &open);
    if (rc == RC_OK)
        rc = remote_fits(doc, &field, plan);
    if (rc != RC_OK)
        return rc;
    plan->remote.allowed = true;
    plan->remote.expires_s = (uint32_t)expires_s;
    plan->remote.open_per_caller = (uint32_t)open;
    return RC_OK;
}

/* --- The whole ----------------------------------------------------------------------------------
 */

static enum rc parse_root(const struct doc *doc, const json_t *root, struct plan *plan)
{
    struct doc_field field = {root, AT, "assignment", "{\"kind\": \"time\", ...}"};
    const json_t *assignment = NULL;
    if (!json_is_object(root))
        return doc_bad(doc, AT, "{\"tidemark_plan\": 1, ...}", "must be an object, not %s",
                       doc_type(root));
    enum rc rc = members_check(doc, root, AT, MEMBER_OF_PLAN);
    if (rc == RC_OK)
        rc = parse_head(doc, root, plan);
    if (rc == RC_OK)
        rc = parse_choices(doc, root, plan);
    if (rc == RC_OK)
        rc = parse_remote(doc, root, plan);
    if (rc == RC_OK)
        rc = parse_parameters(doc, root, plan);
    if (rc == RC_OK)
        rc = doc_need(doc, &field, &assignment);
    return rc == RC_OK ? assignment_parse(doc, assignment, plan) : rc;
}

/* What every later calculation relies on, whatever document came in. */
static void check_invariant(const struct plan *plan)
{
    MUST(plan->height >= 5 && plan->height <= PLAN_HEIGHT_MAX);
    MUST(plan->window_size != 0 && (plan->window_size & (plan->window_size - 1)) == 0);
    MUST(plan->window_usable >= 1);
    MUST(plan->window_usable + (plan->seal ? 1 : 0) <= plan->window_size);
    MUST(plan->window_count >= 1);
    MUST(plan->window_count <= (UINT64_C(1) << plan->height) / plan->window_size);
    if (plan->kind != PLAN_VERSION) {
        MUST(plan->lease_size >= 1 && plan->lease_size <= plan->window_usable);
        return;
    }
    MUST(plan->versions_per_window * plan->slot_count == plan->window_usable);
    MUST((plan_version_count(plan) - 1) / plan->versions_per_window + 1 == plan->window_count);
}

/* Parse, and write the canonical form of what was parsed. */
static enum rc parse_and_write(struct plan *plan, char **canonical, size_t *canonical_len,
                               const char *text, size_t len, const struct doc *doc)
{
    json_t *root CLEANUP(doc_free) = NULL;
    enum rc rc = doc_load(doc, text, len, &root);
    if (rc == RC_OK)
        rc = parse_root(doc, root, plan);
    if (rc == RC_OK)
        rc = doc_canonical(root, canonical, canonical_len, doc->err);
    if (rc != RC_OK) {
        plan_free(plan);
        return rc;
    }
    check_invariant(plan);
    digest_buffer(DIGEST_SHA256, plan->sha256, *canonical, *canonical_len);
    return RC_OK;
}

static void free_text(char **text)
{
    free(*text);
    *text = NULL;
}

enum rc plan_parse(struct plan *plan, const char *text, size_t len, struct plan_fault *fault,
                   struct err *err)
{
    *plan = (struct plan){0};
    if (fault != NULL)
        *fault = (struct plan_fault){0};
    struct doc doc = {fault, err};
    char *canonical CLEANUP(free_text) = NULL;
    size_t canonical_len = 0;
    return parse_and_write(plan, &canonical, &canonical_len, text, len, &doc);
}

enum rc plan_canonical(const char *text, size_t len, char **canonical, size_t *canonical_len,
                       struct err *err)
{
    *canonical = NULL;
    *canonical_len = 0;
    struct plan plan CLEANUP(plan_free) = {0};
    struct doc doc = {NULL, err};
    return parse_and_write(&plan, canonical, canonical_len, text, len, &doc);
}
