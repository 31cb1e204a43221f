/*
 * Every pair of role and operation, taken from the description of the interface: who has one of the
 * roles gets past the gate, who has another is told "forbidden", who is nobody "unauthorised". Then
 * the rules of an identity: keys, and slots before anything is uploaded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "http/openapi.h"
#include "lib/front_rig.h"
#include "policy/access.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ID "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5"

static struct rig rig;
static struct access table;

static void release(json_t **json)
{
    json_decref(*json);
}

/* One identity, which is us if `us`, else somebody else. */
static void start_as(unsigned roles, bool us)
{
    struct front_config config = rig_config();
    table = (struct access){.identity_count = 1, .selector_count = 1};
    table.identities[0] =
        (struct access_identity){.name = "one", .roles = roles, .every_key = true};
    table.selectors[0] = (struct access_selector){
        .identity = 0, .kind = ACCESS_UID, .number = us ? geteuid() : geteuid() + 1};
    config.access = &table;
    rig_start(&rig, config);
}

/* A path with something for each of its parts. */
static void fill(char *out, size_t size, const char *pattern)
{
    static const struct {
        const char *part, *value;
    } parts[] = {{"{key}", RIG_VERSION_KEY}, {"{id}", ID}, {"{number}", "1"}, {"{name}", "busy"}};
    size_t used = 0;
    while (*pattern != '\0') {
        size_t i = 0;
        while (i < COUNT(parts) && strncmp(pattern, parts[i].part, strlen(parts[i].part)) != 0)
            i++;
        if (i == COUNT(parts) && *pattern == '{')
            fail_msg("no value for %s", pattern);
        const char *value = i < COUNT(parts) ? parts[i].value : NULL;
        int n = value != NULL ? snprintf(out + used, size - used, "%s", value)
                              : snprintf(out + used, size - used, "%c", *pattern);
        assert_true(n > 0 && used + (size_t)n < size);
        used += (size_t)n;
        pattern += value != NULL ? strlen(parts[i].part) : 1;
    }
}

static struct answered ask(const char *method, const char *pattern)
{
    char path[256];
    char request[512];
    fill(path, sizeof(path), pattern);
    bool post = strcmp(method, "post") == 0;
    (void)snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n%s",
                   post ? "POST" : "GET", path,
                   /* Who may not read is not told either that it has it already. */
                   post ? "Content-Type: application/json\r\nContent-Length: 2\r\n"
                        : "If-None-Match: *\r\n",
                   post ? "{}" : "");
    return client_ask(&rig, request);
}

static bool has_role(const json_t *operation, const char *role)
{
    const json_t *roles = json_object_get(operation, "x-tidemark-roles");
    for (size_t i = 0; i < json_array_size(roles); i++)
        if (strcmp(json_string_value(json_array_get(roles, i)), role) == 0)
            return true;
    return false;
}

static void check(const char *method, const char *path, const json_t *operation, const char *role)
{
    struct answered a CLEANUP(answered_free) = ask(method, path);
    bool in = has_role(operation, "public") || (role != NULL && has_role(operation, role));
    int refusal = role != NULL ? 403 : 401;
    bool refused = a.status == 401 || a.status == 403;
    if (a.status == 0 || refused != !in || (!in && a.status != refusal))
        fail_msg("%s %s as %s: %d", method, path, role != NULL ? role : "nobody", a.status);
    if (in)
        return;
    assert_non_null(
        strstr(a.body, refusal == 401 ? "/problems/unauthorised" : "/problems/forbidden"));
    if (refusal == 401)
        assert_non_null(answered_header(&a, "WWW-Authenticate"));
}

static size_t every_operation(const char *role)
{
    json_t *root CLEANUP(release) = json_loadb(openapi_json, openapi_json_len, 0, NULL);
    const char *path = NULL;
    const char *method = NULL;
    json_t *item = NULL;
    json_t *operation = NULL;
    size_t count = 0;
    json_object_foreach(json_object_get(root, "paths"), path, item)
    {
        json_object_foreach(item, method, operation)
        {
            if (strcmp(method, "get") != 0 && strcmp(method, "post") != 0)
                continue;
            check(method, path, operation, role);
            count++;
        }
    }
    return count;
}

static void test_roles(void **state)
{
    (void)state;
    static const enum access_role roles[] = {ROLE_SIGNER, ROLE_AUDITOR, ROLE_OPERATOR,
                                             ROLE_APPROVER, ROLE_METRICS};
    for (size_t i = 0; i < COUNT(roles); i++) {
        start_as(roles[i], true);
        assert_true(every_operation(access_role_name(roles[i])) >= 19);
        if (roles[i] != ROLE_SIGNER)
            assert_int_equal(rig_count(&rig, REQUEST_SIGN), 0);
        rig_stop(&rig);
    }
}

static void test_nobody(void **state)
{
    (void)state;
    start_as(ROLES_ALL, false);
    assert_true(every_operation(NULL) >= 19);
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 0);
    assert_int_equal(rig_count(&rig, REQUEST_PLAN), 0);
    rig_stop(&rig);
}

/* Without configuration: we may do everything over the unix socket, and TCP nothing. */
static void test_default(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    static const char request[] = "GET /v1/keys HTTP/1.1\r\nHost: x\r\n\r\n";
    char uid[32];
    table = (struct access){0};
    config.access = &table;
    rig_start(&rig, config);
    struct answered ours CLEANUP(answered_free) = client_post(
        &rig, "/v1/keys/" RIG_VERSION_KEY "/signatures?version=4.2.1&slot=kernel", "", "abc", 3);
    assert_int_equal(ours.status, 201);
    (void)snprintf(uid, sizeof(uid), "uid:%u", (unsigned)geteuid());
    assert_string_equal(rig_last(&rig).request.requester, uid);
    int fd = client_tcp(&rig);
    assert_true(client_send(fd, request, strlen(request)));
    struct answered theirs CLEANUP(answered_free) = client_read(fd, false, 60000);
    assert_int_equal(theirs.status, 401);
    (void)close(fd);
    rig_stop(&rig);
}

static int sign_for(const char *key, const char *slot)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "/v1/keys/%s/signatures?version=4.2.1&slot=%s", key, slot);
    struct answered a CLEANUP(answered_free) = client_post(&rig, path, "", "abc", 3);
    return a.status;
}

static void test_rules(void **state)
{
    (void)state;
    struct front_config config = rig_config();
    table = (struct access){.identity_count = 1, .selector_count = 1, .rule_count = 1};
    table.identities[0] =
        (struct access_identity){.name = "one", .roles = ROLE_SIGNER | ROLE_AUDITOR};
    table.selectors[0] = (struct access_selector){.kind = ACCESS_UID, .number = geteuid()};
    table.rules[0] = (struct access_rule){
        .key = RIG_VERSION_KEY, .slots = "kernel", .window_share = ACCESS_SHARE_ALL};
    config.access = &table;
    rig_start(&rig, config);
    assert_int_equal(sign_for(RIG_VERSION_KEY, "kernel"), 201);
    assert_string_equal(rig_last(&rig).request.requester, "one");
    assert_int_equal(sign_for(RIG_VERSION_KEY, "bootloader"), 403);
    assert_int_equal(sign_for(RIG_TIME_KEY, "kernel"), 403);
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), 1);
    struct answered other CLEANUP(answered_free) =
        client_get(&rig, "/v1/keys/" RIG_TIME_KEY "/windows");
    assert_int_equal(other.status, 403);
    assert_int_equal(rig_count(&rig, REQUEST_WINDOWS), 0);
    struct answered list CLEANUP(answered_free) = client_get(&rig, "/v1/keys");
    assert_int_equal(list.status, 200);
    assert_non_null(strstr(list.body, RIG_VERSION_KEY));
    assert_null(strstr(list.body, RIG_TIME_KEY));
    struct answered public CLEANUP(answered_free) =
        client_get(&rig, "/v1/keys/" RIG_TIME_KEY "/public");
    assert_int_equal(public.status, 200);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
