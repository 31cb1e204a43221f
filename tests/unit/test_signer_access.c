/*
 * The rules of identities where an index would be used: the core asks them by itself, whatever the
 * front has let through, for each way that leads to a signature, and a refusal costs nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/signer_rig.h"
#include "policy/access.h"

#define DAY INT64_C(86400)
#define START INT64_C(1796515200) /* 2026-12-06T00:00:00Z */

#define VERSION_PLAN                                                                               \
    RIG_PLAN("fw", "raw",                                                                          \
             "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':2},"       \
             "'slots':['a','b'],'window':'minor','order':'strict','max_jump':8}")
#define ONE_SLOT_PLAN                                                                              \
    RIG_PLAN("one", "raw",                                                                         \
             "{'kind':'version','format':'major.minor','sizes':{'minor':4},'slots':['only'],"      \
             "'window':'major','order':'strict','max_jump':8}")
#define TIME_PLAN                                                                                  \
    RIG_PLAN("nightly", "raw",                                                                     \
             "{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D',"                       \
             "'signatures_per_window':8,'lease_size':2}")

static struct rig rig;
static struct access table;

static struct access_rule *rule(const char *name, const char *key)
{
    size_t at = table.identity_count;
    if (at == 0 || strcmp(table.identities[at - 1].name, name) != 0) {
        at = table.identity_count++;
        table.identities[at] = (struct access_identity){.roles = ROLE_SIGNER};
        strcpy(table.identities[at].name, name);
    } else {
        at--;
    }
    struct access_rule *r = &table.rules[table.rule_count++];
    *r = (struct access_rule){.identity = (uint32_t)at, .window_share = ACCESS_SHARE_ALL};
    strcpy(r->key, key);
    return r;
}

static int begin(void **state)
{
    (void)state;
    table = (struct access){0};
    struct access_rule *r = rule("ci", "fw");
    strcpy(r->slots, "a");
    strcpy(r->version_from, "0.1");
    strcpy(r->version_to, "0.2");
    strcpy(rule("ci", "one")->slots, "only");
    (void)rule("night", "nightly");
    (void)rule("looker", "fw");
    table.identities[table.identity_count - 1].roles = ROLE_AUDITOR;
    (void)rule("boss", "fw");
    table.identities[table.identity_count - 1].roles = ROLE_APPROVER | ROLE_OPERATOR | ROLE_METRICS;
    oracle_reset();
    rig_make(&rig, START + DAY, 1);
    rig_add_key(&rig, VERSION_PLAN, 0);
    rig_add_key(&rig, ONE_SLOT_PLAN, 0);
    rig_add_key(&rig, TIME_PLAN, 0);
    rig.config.access = &table;
    assert_int_equal(rig_open(&rig), RC_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    rig_end(&rig);
    return 0;
}

static void sign(const char *who, unsigned key, const char *version, const char *slot,
                 enum rc expected)
{
    struct ask ask = {.key = key,
                      .who = who,
                      .version = version,
                      .slot = slot,
                      .idem = version == NULL ? who : NULL,
                      .text = "artifact"};
    rig_ask(&rig, &ask, expected);
    if (expected != RC_OK) {
        assert_int_equal(ask.len, 0);
        assert_int_equal(ask.reply.burned_index, REQUEST_NONE);
    }
}

static void by_version(void **state)
{
    (void)state;
    sign("ci", 0, "0.1.0", "b", RC_REFUSED_ACCESS);
    sign("ci", 0, "0.0.1", "a", RC_REFUSED_ACCESS);
    sign("ci", 0, "0.3.0", "a", RC_REFUSED_ACCESS);
    sign("night", 0, "0.1.0", "a", RC_REFUSED_ACCESS);
    sign("looker", 0, "0.1.0", "a", RC_REFUSED_ACCESS);
    sign("boss", 0, "0.1.0", "a", RC_REFUSED_ACCESS);
    sign("uid:0", 0, "0.1.0", "a", RC_REFUSED_ACCESS); /* root is nobody unless it is named */
    sign("ci", 0, "0.1.0", "a", RC_OK);
    sign("ci", 0, "0.2.1", "a", RC_OK);
    /* A stored signature is for those who might have made it. */
    sign("night", 0, "0.2.1", "a", RC_REFUSED_ACCESS);
    sign("ci", 0, "0.2.1", "a", RC_OK);
}

/* The plan has one slot, and who names none means that. */
static void only_slot(void **state)
{
    (void)state;
    sign("ci", 1, "0.0", NULL, RC_OK);
    strcpy(table.rules[1].slots, "other");
    sign("ci", 1, "0.1", NULL, RC_REFUSED_ACCESS);
}

static void by_window(void **state)
{
    (void)state;
    sign("ci", 2, NULL, NULL, RC_REFUSED_ACCESS);
    sign("night", 2, NULL, NULL, RC_OK);
    sign("ci", 2, NULL, NULL, RC_REFUSED_ACCESS);
}

/* Beside others in one batch: those are signed, and this one is not. */
static void beside_others(void **state)
{
    (void)state;
    static struct ask asks[3];
    asks[0] = (struct ask){.who = "ci", .version = "0.1.0", .slot = "a", .text = "x"};
    asks[1] = (struct ask){.who = "night", .version = "0.1.0", .slot = "b", .text = "x"};
    asks[2] = (struct ask){.who = "ci", .version = "0.1.1", .slot = "a", .text = "x"};
    assert_int_equal(rig_sign(&rig, asks, 3), RC_OK);
    assert_int_equal(asks[0].rc, RC_OK);
    assert_int_equal(asks[1].rc, RC_REFUSED_ACCESS);
    assert_int_equal(asks[2].rc, RC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(by_version, begin, end),
        cmocka_unit_test_setup_teardown(only_slot, begin, end),
        cmocka_unit_test_setup_teardown(by_window, begin, end),
        cmocka_unit_test_setup_teardown(beside_others, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
