/* Identities: the section of the configuration, the rules, and how peers are recognised. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/config_access.h"
#include "http/identity.h"
#include "policy/access.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FP "aa00000000000000000000000000000000000000000000000000000000000bcd"

static struct access access_;

static void release(json_t **json)
{
    json_decref(*json);
}

/* With ' for ". */
static enum rc parse(const char *text, struct err *err)
{
    char buffer[4096];
    (void)snprintf(buffer, sizeof(buffer), "%s", text);
    for (char *p = buffer; *p != '\0'; p++)
        *p = *p == '\'' ? '"' : *p;
    json_error_t where;
    json_t *json CLEANUP(release) = json_loads(buffer, JSON_DECODE_ANY, &where);
    if (json == NULL)
        fail_msg("%s: %s", buffer, where.text);
    struct mistakes bad = {.file = "test.json"};
    config_access(&access_, json, &bad);
    return mistakes_end(&bad, err);
}

static void have(const char *text)
{
    struct err err = {0};
    if (parse(text, &err) != RC_OK)
        fail_msg("%s", err_text(&err));
}

/* The configuration -------------------------------------------------------------------------------
 */

static void test_read(void **state)
{
    (void)state;
    have("{'ci':{'match':[{'spiffe':'spiffe://example.org/ci/fw'},{'fingerprint':'sha256:" FP "'}],"
         "'roles':['signer'],'keys':{'fw':{'versions':{'from':'4','to':'4.9'},"
         "'slots':['kernel','rootfs'],'window_share':50},'*':{}}},"
         "'boss':{'match':[{'uid':0},{'gid':27}],'roles':['operator','auditor','approver']},"
         "'none':{'match':[{'tcp':'loopback'}],'roles':['metrics'],'keys':{}}}");
    assert_int_equal(access_.identity_count, 3);
    assert_int_equal(access_.selector_count, 5);
    assert_int_equal(access_.rule_count, 2);
    const struct access_identity *ci = access_find(&access_, "ci");
    const struct access_identity *boss = access_find(&access_, "boss");
    const struct access_identity *none = access_find(&access_, "none");
    assert_int_equal(ci->roles, ROLE_SIGNER);
    assert_int_equal(boss->roles, ROLE_OPERATOR | ROLE_AUDITOR | ROLE_APPROVER);
    assert_true(boss->every_key);
    assert_true(access_key_allowed(&access_, boss, "any"));
    assert_false(access_key_allowed(&access_, none, "any"));
    assert_true(access_key_allowed(&access_, ci, "any"));
    const struct access_rule *rule = access_rule_of(&access_, ci, "fw");
    assert_string_equal(rule->slots, "kernel rootfs");
    assert_string_equal(rule->version_from, "4");
    assert_string_equal(rule->version_to, "4.9");
    assert_int_equal(access_window_share(&access_, "ci", "fw"), 50);
    assert_int_equal(access_window_share(&access_, "ci", "other"), 100);
    assert_int_equal(access_window_share(&access_, "boss", "fw"), 100);
    assert_null(access_find(&access_, "uid:0"));
}

static void test_equal(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{'a':{'match':[{'uid':1}],'roles':['signer']}}",
        "{'b':{'match':[{'uid':1}],'roles':['signer']}}",
        "{'a':{'match':[{'gid':1}],'roles':['signer']}}",
        "{'a':{'match':[{'uid':2}],'roles':['signer']}}",
        "{'a':{'match':[{'uid':1}],'roles':['auditor']}}",
        "{'a':{'match':[{'uid':1}],'roles':['signer'],'keys':{}}}",
        "{'a':{'match':[{'uid':1}],'roles':['signer'],'keys':{'fw':{}}}}",
        "{'a':{'match':[{'uid':1}],'roles':['signer'],'keys':{'fw':{'slots':['x']}}}}",
        "{'a':{'match':[{'uid':1}],'roles':['signer'],'keys':{'fw':{'window_share':2}}}}",
        "{'a':{'match':[{'dns':'x'}],'roles':['signer']}}",
    };
    static struct access first;
    for (size_t i = 0; i < COUNT(texts); i++) {
        have(texts[i]);
        first = access_;
        for (size_t k = 0; k < COUNT(texts); k++) {
            have(texts[k]);
            assert_int_equal(access_equal(&first, &access_), i == k);
        }
    }
}

#define ID(match, roles, more) "{'a':{'match':" match ",'roles':" roles more "}}"
#define KEYS(rule) ID("[{'uid':1}]", "['signer']", ",'keys':{'fw':" rule "}")

static void test_refuse(void **state)
{
    (void)state;
    static const struct {
        const char *text, *path;
    } cases[] = {
        {"{}", "identities: "},
        {"[]", "identities: "},
        {"{'a b':{}}", "identities.a b: "},
        {"{'uid:0':{}}", "identities.uid:0: not a name"},
        {"{'a':[]}", "identities.a: "},
        {"{'a':{'match':[{'uid':1}]}}", "identities.a.roles: is missing"},
        {"{'a':{'roles':['signer']}}", "identities.a.match: is missing"},
        {ID("[]", "['signer']", ""), "identities.a.match: "},
        {ID("{'uid':1}", "['signer']", ""), "identities.a.match: "},
        {ID("[{}]", "['signer']", ""), "identities.a.match[0]: "},
        {ID("[{'uid':1,'gid':1}]", "['signer']", ""), "identities.a.match[0]: "},
        {ID("[{'user':'x'}]", "['signer']", ""), "identities.a.match[0].user: unknown"},
        {ID("[{'uid':-1}]", "['signer']", ""), "identities.a.match[0].uid: "},
        {ID("[{'uid':4294967295}]", "['signer']", ""), "identities.a.match[0].uid: "},
        {ID("[{'uid':'0'}]", "['signer']", ""), "identities.a.match[0].uid: "},
        {ID("[{'uid':1},{'uid':1}]", "['signer']", ""), "stands in two places"},
        {ID("[{'fingerprint':'" FP "'}]", "['signer']", ""), "match[0].fingerprint: "},
        {ID("[{'fingerprint':'sha256:aa'}]", "['signer']", ""), "match[0].fingerprint: "},
        {ID("[{'spiffe':'spiffe://example.org'}]", "['signer']", ""), "match[0].spiffe: "},
        {ID("[{'spiffe':'spiffe://Example.org/a'}]", "['signer']", ""), "match[0].spiffe: "},
        {ID("[{'spiffe':'spiffe://example.org/a/'}]", "['signer']", ""), "match[0].spiffe: "},
        {ID("[{'spiffe':'spiffe://example.org/a?b'}]", "['signer']", ""), "match[0].spiffe: "},
        {ID("[{'uri':'spiffe://example.org/a'}]", "['signer']", ""), "match[0].uri: "},
        {ID("[{'dns':'*.example.org'}]", "['signer']", ""), "match[0].dns: "},
        {ID("[{'dns':''}]", "['signer']", ""), "match[0].dns: "},
        {ID("[{'email':'me'}]", "['signer']", ""), "match[0].email: "},
        {ID("[{'tcp':'0.0.0.0'}]", "['signer']", ""), "match[0].tcp: "},
        {ID("[{'uid':1}]", "[]", ""), "identities.a.roles: "},
        {ID("[{'uid':1}]", "['public']", ""), "identities.a.roles[0]: "},
        {ID("[{'uid':1}]", "['Signer']", ""), "identities.a.roles[0]: "},
        {ID("[{'uid':1}]", "['signer','signer']", ""), "identities.a.roles[1]: "},
        {ID("[{'uid':1}]", "['signer']", ",'key':{}"), "identities.a.key: unknown"},
        {ID("[{'uid':1}]", "['signer']", ",'keys':['fw']"), "identities.a.keys: "},
        {ID("[{'uid':1}]", "['signer']", ",'keys':{'f w':{}}"), "identities.a.keys.f w: "},
        {KEYS("[]"), "identities.a.keys.fw: "},
        {KEYS("{'share':1}"), "identities.a.keys.fw.share: unknown"},
        {KEYS("{'window_share':0}"), "window_share: "},
        {KEYS("{'window_share':101}"), "window_share: "},
        {KEYS("{'slots':[]}"), "slots: "},
        {KEYS("{'slots':'kernel'}"), "slots: "},
        {KEYS("{'slots':['a b']}"), "slots[0]: "},
        {KEYS("{'versions':{}}"), "versions: "},
        {KEYS("{'versions':{'until':'4'}}"), "versions.until: "},
        {KEYS("{'versions':{'to':4}}"), "versions.to: "},
        {KEYS("{'versions':{'to':''}}"), "versions.to: "},
        {"{'a':{'match':[{'dns':'x'}],'roles':['signer']},"
         "'b':{'match':[{'dns':'x'}],'roles':['auditor']}}",
         "identities.b.match[0].dns: stands in two places"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err err = {0};
        if (parse(cases[i].text, &err) != RC_REFUSED_CONFIG)
            fail_msg("taken: %s", cases[i].text);
        if (strstr(err_text(&err), cases[i].path) == NULL)
            fail_msg("%s: %s", cases[i].text, err_text(&err));
        assert_non_null(strstr(err_text(&err), "right would be"));
        assert_int_equal(access_.identity_count, 0);
    }
}

/* Each of them, once, in the order of the file; and not what only follows from one. */
static char all_told[4096];

static void note(const char *text)
{
    size_t used = strlen(all_told);
    (void)snprintf(all_told + used, sizeof(all_told) - used, "%.100s\n", text);
}

static void test_refuse_all(void **state)
{
    (void)state;
    static const char *const told[] = {
        "test.json: identities.a.match[1].uid: cannot be matched",
        "test.json: identities.a.match[2].user: unknown",
        "test.json: identities.a.roles[1]: an unknown",
        "test.json: identities.a.keys.fw.window_share: not a share",
        "test.json: identities.a.keys.*.slots[0]: no name",
        "test.json: identities.b c: not a name",
        "test.json: identities.d.colour: unknown member",
        "test.json: identities.d.match: is missing",
    };
    json_t *json CLEANUP(release) =
        json_loads("{\"a\":{\"match\":[{\"uid\":1},{\"uid\":-1},{\"user\":1}],"
                   "\"roles\":[\"signer\",\"boss\"],\"keys\":{\"fw\":{\"window_share\":0},"
                   "\"*\":{\"slots\":[\"x y\"]}}},\"b c\":{},"
                   "\"d\":{\"colour\":\"red\\n\",\"roles\":[\"auditor\"]}}",
                   0, NULL);
    struct mistakes bad = {.file = "test.json", .tell = note};
    struct err err = {0};
    all_told[0] = '\0';
    config_access(&access_, json, &bad);
    assert_int_equal(mistakes_end(&bad, &err), RC_REFUSED_CONFIG);
    assert_int_equal(bad.count, COUNT(told));
    const char *at = all_told;
    for (size_t i = 0; i < COUNT(told); i++) {
        if (strncmp(at, told[i], strlen(told[i])) != 0)
            fail_msg("%zu: %s", i, at);
        at = strchr(at, '\n') + 1;
    }
    assert_non_null(strstr(err_text(&err), told[0]));
    assert_int_equal(access_.identity_count, 0);
}

/* A bound on what is told, and a line each whatever stands in a name. */
static void test_many_mistakes(void **state)
{
    (void)state;
    struct mistakes bad = {.file = "f", .tell = note};
    struct err err = {0};
    char path[16];
    size_t lines = 0;
    all_told[0] = '\0';
    mistake(&bad, "a\nb", "wrong", "right");
    mistake(&bad, "a\nb", "wrong again", "right");
    assert_string_equal(all_told, "f: a?b: wrong; right would be right\n");
    for (unsigned i = 0; i < MISTAKES_MAX + 5; i++) {
        (void)snprintf(path, sizeof(path), "p%u.x", i);
        mistake(&bad, path, "w", "r");
    }
    mistake(&bad, "p3", "follows from p3.x", "r");
    assert_int_equal(bad.count, MISTAKES_MAX + 6);
    assert_int_equal(mistakes_end(&bad, &err), RC_REFUSED_CONFIG);
    for (const char *p = all_told; *p != '\0'; p++)
        lines += *p == '\n' ? 1 : 0;
    assert_int_equal(lines, MISTAKES_MAX + 1);
    assert_non_null(strstr(all_told, "f: 70 mistakes in all\n"));
    assert_null(strstr(all_told, "follows"));
}

/* Rules -------------------------------------------------------------------------------------------
 */

static bool may(const char *who, const struct plan *plan, const char *version, const char *slot)
{
    struct err err = {0};
    enum rc rc = access_check_sign(&access_, who, plan, version, slot, &err);
    assert_true(rc == RC_OK || rc == RC_REFUSED_ACCESS);
    return rc == RC_OK;
}

static void test_rules(void **state)
{
    (void)state;
    const struct plan fw = {.key = "fw", .kind = PLAN_VERSION, .format = PLAN_MAJOR_MINOR_PATCH};
    const struct plan other = {.key = "other", .kind = PLAN_TIME};
    have("{'ci':{'match':[{'uid':1}],'roles':['signer'],'keys':{'fw':{"
         "'versions':{'from':'4.2','to':'5'},'slots':['kernel']}}},"
         "'all':{'match':[{'uid':2}],'roles':['signer']},"
         "'rest':{'match':[{'uid':3}],'roles':['signer'],'keys':{'*':{},'fw':{'slots':['x']}}},"
         "'odd':{'match':[{'uid':4}],'roles':['signer'],'keys':{'other':{'versions':{'to':'9'}},"
         "'fw':{'versions':{'from':'v1'}}}},"
         "'look':{'match':[{'uid':5}],'roles':['auditor']}}");
    assert_true(may("ci", &fw, "4.2.0", "kernel"));
    assert_true(may("ci", &fw, "4.10.0", "kernel")); /* numbers, not letters */
    assert_true(may("ci", &fw, "5.99.99", "kernel"));
    assert_false(may("ci", &fw, "4.1.99", "kernel"));
    assert_false(may("ci", &fw, "6.0.0", "kernel"));
    assert_false(may("ci", &fw, "40.2.0", "kernel"));
    assert_false(may("ci", &fw, "4.2.0", "rootfs"));
    assert_false(may("ci", &fw, "4.2.0", "kern"));
    assert_false(may("ci", &fw, "4.2.0", "")); /* the core knows the name of an only slot */
    assert_false(may("ci", &other, "", ""));
    assert_true(may("all", &fw, "1.0.0", "rootfs"));
    assert_true(may("all", &other, "", ""));
    assert_true(may("rest", &other, "", ""));
    assert_false(may("rest", &fw, "4.2.0", "kernel"));
    assert_true(may("rest", &fw, "4.2.0", "x"));
    assert_false(may("odd", &other, "", "")); /* no versions there: nothing fits the rule */
    assert_false(may("odd", &fw, "4.2.0", "kernel"));
    assert_false(may("look", &fw, "4.2.0", "kernel"));
    assert_false(may("nobody", &fw, "4.2.0", "kernel"));
    assert_false(may("", &fw, "4.2.0", "kernel"));
    assert_int_equal(access_check_role(&access_, "look", ROLE_AUDITOR, NULL), RC_OK);
    assert_int_equal(access_check_role(&access_, "look", ROLE_OPERATOR, NULL), RC_REFUSED_ACCESS);
    assert_int_equal(access_check_role(&access_, "uid:0", ROLE_OPERATOR, NULL), RC_REFUSED_ACCESS);
    assert_int_equal(access_check_key(&access_, "ci", ROLE_SIGNER, "fw", NULL), RC_OK);
    assert_int_equal(access_check_key(&access_, "ci", ROLE_SIGNER, "x", NULL), RC_REFUSED_ACCESS);
    assert_int_equal(access_check_key(&access_, "ci", ROLE_AUDITOR, "fw", NULL), RC_REFUSED_ACCESS);
    assert_int_equal(access_check_key(&access_, "all", ROLE_SIGNER, "x", NULL), RC_OK);
    assert_int_equal(access_check_key(&access_, "uid:0", ROLE_SIGNER, "x", NULL),
                     RC_REFUSED_ACCESS);
}

static void test_table(void **state)
{
    (void)state;
    char table[3][VERSION_LEN_MAX + 1] = {"1.0-rc1", "1.0", "1.0-sp1"};
    const struct plan fw = {
        .key = "fw", .kind = PLAN_VERSION, .format = PLAN_TABLE, .table = table, .table_count = 3};
    have("{'to':{'match':[{'uid':1}],'roles':['signer'],'keys':{'fw':{'versions':{'to':'1.0'}}}},"
         "'from':{'match':[{'uid':2}],'roles':['signer'],"
         "'keys':{'fw':{'versions':{'from':'1.0'}}}},"
         "'odd':{'match':[{'uid':3}],'roles':['signer'],"
         "'keys':{'fw':{'versions':{'from':'0.9'}}}}}");
    assert_true(may("to", &fw, "1.0-rc1", ""));
    assert_true(may("to", &fw, "1.0", ""));
    assert_false(may("to", &fw, "1.0-sp1", ""));
    assert_false(may("from", &fw, "1.0-rc1", ""));
    assert_true(may("from", &fw, "1.0-sp1", ""));
    assert_false(may("odd", &fw, "1.0", "")); /* an end that the list has not */
}

/* Without identities the core tells nobody apart: the front did. */
static void test_empty(void **state)
{
    (void)state;
    const struct plan fw = {.key = "fw", .kind = PLAN_VERSION, .format = PLAN_MAJOR_MINOR};
    access_ = (struct access){0};
    assert_true(may("uid:0", &fw, "4.2", ""));
    assert_int_equal(access_check_role(&access_, "uid:0", ROLE_OPERATOR, NULL), RC_OK);
    assert_int_equal(access_check_key(&access_, "uid:0", ROLE_OPERATOR, "fw", NULL), RC_OK);
    assert_int_equal(access_window_share(&access_, "uid:0", "fw"), 100);
}

static void test_role_names(void **state)
{
    (void)state;
    char text[64];
    enum access_role role;
    access_roles_print(text, sizeof(text), ROLE_SIGNER | ROLE_METRICS);
    assert_string_equal(text, "signer, metrics");
    access_roles_print(text, 9, ROLES_ALL);
    assert_string_equal(text, "signer, ");
    assert_true(access_role_find(&role, "approver"));
    assert_int_equal(role, ROLE_APPROVER);
    assert_false(access_role_find(&role, "public"));
    assert_false(access_role_find(&role, ""));
    assert_string_equal(access_role_name(ROLE_PUBLIC), "public");
}

/* Who is it? --------------------------------------------------------------------------------------
 */

static struct identity of_pair(void)
{
    int pair[2];
    struct identity identity;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    identity_of_socket(&identity, &access_, pair[0], false);
    (void)close(pair[0]);
    (void)close(pair[1]);
    return identity;
}

static void test_processes(void **state)
{
    (void)state;
    char text[512];
    char uid[32];
    access_ = (struct access){0};
    (void)snprintf(uid, sizeof(uid), "uid:%u", (unsigned)geteuid());
    struct identity me = of_pair(); /* nobody configured: the service's own user has all roles */
    assert_string_equal(me.name, uid);
    assert_int_equal(me.roles, ROLES_ALL);
    assert_true(me.local);

    (void)snprintf(text, sizeof(text),
                   "{'g':{'match':[{'gid':%u}],'roles':['auditor']},"
                   "'other':{'match':[{'uid':%u}],'roles':['signer']}}",
                   (unsigned)getegid(), (unsigned)geteuid() + 1);
    have(text);
    me = of_pair();
    assert_string_equal(me.name, "g");
    assert_int_equal(me.roles, ROLE_AUDITOR);
    assert_string_equal(me.peer, uid);

    /* A user goes before a group. */
    (void)snprintf(text, sizeof(text),
                   "{'g':{'match':[{'gid':%u}],'roles':['auditor']},"
                   "'u':{'match':[{'uid':%u}],'roles':['signer']}}",
                   (unsigned)getegid(), (unsigned)geteuid());
    have(text);
    me = of_pair();
    assert_string_equal(me.name, "u");
    assert_ptr_equal(me.rules, access_find(&access_, "u"));

    /* One who is not named is nobody, root included, once anybody is. */
    (void)snprintf(text, sizeof(text), "{'u':{'match':[{'uid':%u}],'roles':['signer']}}",
                   (unsigned)geteuid() + 1);
    have(text);
    me = of_pair();
    assert_int_equal(me.roles, 0);
    assert_null(me.rules);
    assert_string_equal(me.name, uid);
    assert_true(strlen(me.why) > 0);
}

static struct identity of_certificate(const struct identity_certificate *c)
{
    struct identity identity = {.peer = "tls:192.0.2.7"};
    identity_of_certificate(&identity, &access_, c);
    return identity;
}

static void test_certificates(void **state)
{
    (void)state;
    static const char *const spiffe[] = {"spiffe://example.org/ci"};
    static const char *const two[] = {"spiffe://example.org/ci", "https://example.org/x"};
    static const char *const names[] = {"a.example.org", "CI.Example.org"};
    static const char *const emails[] = {"Release@example.org"};
    have("{'s':{'match':[{'spiffe':'spiffe://example.org/ci'}],'roles':['signer']},"
         "'w':{'match':[{'uri':'https://example.org/x'}],'roles':['signer']},"
         "'d':{'match':[{'dns':'ci.example.org'}],'roles':['signer']},"
         "'e':{'match':[{'email':'Release@example.org'}],'roles':['signer']},"
         "'f':{'match':[{'fingerprint':'sha256:" FP "'}],'roles':['auditor']},"
         "'l':{'match':[{'tcp':'loopback'},{'uid':0}],'roles':['operator']}}");
    struct identity_certificate c = {.fingerprint = FP};
    assert_string_equal(of_certificate(&c).name, "f");
    c.uris = spiffe;
    c.uri_count = 1;
    assert_string_equal(of_certificate(&c).name, "f"); /* before all names */
    c.fingerprint[0] = 'b';
    assert_string_equal(of_certificate(&c).name, "s");
    c.uris = two; /* no SPIFFE certificate has two */
    c.uri_count = 2;
    assert_string_equal(of_certificate(&c).name, "w");
    c.uris = NULL;
    c.uri_count = 0;
    c.names = names;
    c.name_count = 2;
    assert_string_equal(of_certificate(&c).name, "d");
    c.emails = emails;
    c.email_count = 1;
    struct identity both = of_certificate(&c); /* two identities: nobody */
    assert_int_equal(both.roles, 0);
    assert_non_null(strstr(both.why, "two identities"));
    c.name_count = 0;
    assert_string_equal(of_certificate(&c).name, "e");
    c.email_count = 0;
    struct identity none = of_certificate(&c);
    assert_int_equal(none.roles, 0);
    assert_non_null(strstr(none.why, "sha256:ba00000")); /* what to put into the configuration */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),         cmocka_unit_test(test_read),
        cmocka_unit_test(test_refuse),        cmocka_unit_test(test_refuse_all),
        cmocka_unit_test(test_many_mistakes), cmocka_unit_test(test_rules),
        cmocka_unit_test(test_table),         cmocka_unit_test(test_empty),
        cmocka_unit_test(test_role_names),    cmocka_unit_test(test_processes),
        cmocka_unit_test(test_certificates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
