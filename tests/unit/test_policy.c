/* Plan documents: what is taken, what is refused and with which words, and what is hashed. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/secmem.h"
#include "lib/plan_text.h"
#include "policy/assignment.h"
#include "policy/document.h"
#include "policy/sets.h"
#include "policy/version.h"

#define INTERVAL "{'kind':'interval','signatures_per_window':16}"
#define TIME "'kind':'time','start':'2026-12-06T00:00:00Z','window':'P7D'"
#define LMS2 "['LMS_SHA256_M32_H10','LMOTS_SHA256_N32_W8']"

static bool all_zero(const void *p, size_t len)
{
    const unsigned char *bytes = p;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* --- Refused ------------------------------------------------------------------------------------
 */

struct bad {
    const char *text;
    const char *path;
    const char *what;    /* part of it */
    const char *example; /* part of it, NULL: any */
};

/* The members of the root, replaced one at a time. */
#define ROOT(version, key, profile, scheme, parameters, more)                                      \
    "{'tidemark_plan':" version ",'key':" key ",'profile':" profile ",'scheme':" scheme            \
    ",'parameters':" parameters more ",'assignment':" INTERVAL "}"
#define PARAMETERS(profile, scheme, parameters)                                                    \
    ROOT("1", "'k'", "'" profile "'", "'" scheme "'", parameters, "")

static const struct bad bad_roots[] = {
    {"", "$", "line 1", "tidemark_plan"},
    {"[]", "$", "must be an object, not an array", "tidemark_plan"},
    {"1", "$", "must be an object, not an integer", NULL},
    {"1.5", "$", "must be an object, not a number with a fraction", NULL},
    {"'x'", "$", "must be an object, not a string", NULL},
    {"null", "$", "must be an object, not null", NULL},
    {"true", "$", "must be an object, not true or false", NULL},
    {"{}", "$.tidemark_plan", "is missing", "1"},
    {"{'tidemark_plan':1,'keys':'k'}", "$.keys", "no such member", "key, profile"},
    {"{'tidemark_plan':1,'window':'k'}", "$.window", "does not belong here", NULL},
    {"{'tidemark_plan':1,'a b':'k'}", "$['a b']", "no such member", NULL},
    {"{'tidemark_plan':1,'\\u0007\xc3\xa4':0}",
     "$['?"
     "?"
     "?']",
     "no such member", NULL},
    {ROOT("2", "'k'", "'rfc'", "'lms'", LMS2, ""), "$.tidemark_plan", "must be 1 to 1, not 2", "1"},
    {ROOT("'1'", "'k'", "'rfc'", "'lms'", LMS2, ""), "$.tidemark_plan", "an integer, not a string",
     NULL},
    {ROOT("1.0", "'k'", "'rfc'", "'lms'", LMS2, ""), "$.tidemark_plan", "with a fraction", NULL},
    {ROOT("1e0", "'k'", "'rfc'", "'lms'", LMS2, ""), "$.tidemark_plan", "or exponent", NULL},
    {ROOT("1", "1", "'rfc'", "'lms'", LMS2, ""), "$.key", "must be a string, not an integer",
     "\"router-fw\""},
    {ROOT("1", "''", "'rfc'", "'lms'", LMS2, ""), "$.key", "is no name", NULL},
    {ROOT("1", "'../x'", "'rfc'", "'lms'", LMS2, ""), "$.key", "is no name", NULL},
    {ROOT("1", "'k'", "'nist'", "'lms'", LMS2, ""), "$.profile", "one of cnsa2, sp800-208, rfc",
     "\"cnsa2\""},
    {ROOT("1", "'k'", "'rfc'", "'LMS'", LMS2, ""), "$.scheme", "one of lms, hss, xmss, xmssmt",
     NULL},
    {ROOT("1", "'k'", "'rfc'", "null", LMS2, ""), "$.scheme", "a string, not null", NULL},
    {ROOT("1", "'k'", "'rfc'", "'lms'", LMS2, ",'message':'sha1'"), "$.message",
     "raw, sha256, sha384, sha512, not \"sha1\"", "\"raw\""},
    {ROOT("1", "'k'", "'rfc'", "'lms'", LMS2, ",'remote_hashing':true"), "$.remote_hashing",
     "must be an object, not true or false", "expires_s"},
    {ROOT("1", "'k'", "'rfc'", "'lms'", LMS2, ",'remote_hashing':{'open':1}"),
     "$.remote_hashing.open", "no such member", "expires_s, open_per_caller"},
    {ROOT("1", "'k'", "'rfc'", "'lms'", LMS2, ",'remote_hashing':{'key':1}"),
     "$.remote_hashing.key", "does not belong here", NULL},
    {ROOT("1", "'k'", "'rfc'", "'lms'", LMS2, ",'remote_hashing':{'expires_s':9}"),
     "$.remote_hashing.expires_s", "must be 10 to 86400, not 9", "300"},
    {ROOT("1", "'k'", "'rfc'", "'lms'", LMS2, ",'remote_hashing':{'expires_s':86401}"),
     "$.remote_hashing.expires_s", "must be 10 to 86400", NULL},
    {ROOT("1", "'k'", "'rfc'", "'lms'", LMS2, ",'remote_hashing':{'open_per_caller':0}"),
     "$.remote_hashing.open_per_caller", "must be 1 to 64, not 0", "4"},
    {ROOT("1", "'k'", "'rfc'", "'lms'", LMS2, ",'remote_hashing':{'open_per_caller':65}"),
     "$.remote_hashing.open_per_caller", "must be 1 to 64", NULL},
    {ROOT("1", "'k'", "'sp800-208'", "'lms'", LMS2, ",'remote_hashing':{}"), "$.remote_hashing",
     "profile sp800-208 hashes where the key is", NULL},
    {ROOT("1", "'k'", "'rfc'", "'lms'", LMS2, ",'message':'sha256','remote_hashing':{}"),
     "$.remote_hashing", "this is for message raw", NULL},
    {"{'tidemark_plan':1}", "$.key", "is missing", NULL},
    {"{'tidemark_plan':1,'key':'k'}", "$.profile", "is missing", NULL},
    {"{'tidemark_plan':1,'key':'k','profile':'rfc'}", "$.scheme", "is missing", NULL},
    {"{'tidemark_plan':1,'key':'k','profile':'rfc','scheme':'lms'}", "$.parameters", "is missing",
     "LMS_SHA256_M24_H20"},
    {"{'tidemark_plan':1,'key':'k','profile':'rfc','scheme':'lms','parameters':" LMS2 "}",
     "$.assignment", "is missing", NULL},
    /* Not JSON, or not the JSON we take: the path leads to the place. */
    {"{'tidemark_plan':1,'key':'k','key':'k'}", "$.key", "duplicate object key", "once"},
    {"{'assignment':{'kind':'time','kind':'time'}}", "$.assignment.kind", "duplicate", "once"},
    {"{'parameters':['a','b',nix]}", "$.parameters[2]", "invalid token", NULL},
    {"{'a':[{'b':[1,2,{'c':01}]}]}", "$.a[0].b[2].c", "invalid token", NULL},
    {"{'key':'k'} x", "$", "end of file expected", NULL},
    {"{'key':99999999999999999999}", "$.key", "too big", NULL},
    {"{'key':'a\\u0000b'}", "$.key", "\\u0000", NULL},
    {"{'key':'\xff'}", "$.key", "decode byte 0xff", NULL},
    {"{'key':'\xc3'}", "$.key", "decode byte", NULL},
    {"{'key':'\\ud800'}", "$.key", "invalid Unicode", NULL},
    {"\xef\xbb\xbf{}", "$", "invalid token", NULL},
    {"{'key':'k',}", "$", "line 1", NULL},
    {"{'key':'k'", "$.key", "line 1", NULL},
};

static const struct bad bad_parameters[] = {
    {PARAMETERS("rfc", "lms", "'x'"), "$.parameters", "must be an array, not a string", "LMOTS"},
    {PARAMETERS("rfc", "lms", "[]"), "$.parameters", "1 to 16 entries, not 0", NULL},
    {PARAMETERS("rfc", "lms", "['LMS_SHA256_M32_H10']"), "$.parameters", "lms needs 2 names", NULL},
    {PARAMETERS("rfc", "lms", "['LMS_SHA256_M32_H10',7]"), "$.parameters[1]",
     "a string, not an integer", NULL},
    {PARAMETERS("rfc", "lms", "['LMS_SHA256_M32_H11','LMOTS_SHA256_N32_W8']"), "$.parameters[0]",
     "\"LMS_SHA256_M32_H11\" is no LMS set", "LMS_SHA256_M24_H20"},
    {PARAMETERS("rfc", "lms", "['LMS_SHA256_M32_H10','LMOTS_SHA256_N32_W3']"), "$.parameters[1]",
     "is no LM-OTS set", "LMOTS_"},
    {PARAMETERS("rfc", "lms", "['LMOTS_SHA256_N32_W8','LMS_SHA256_M32_H10']"), "$.parameters[0]",
     "is no LMS set", NULL},
    {PARAMETERS("rfc", "lms", "['LMS_SHA256_M32_H10','LMOTS_SHA256_N24_W8']"), "$.parameters[1]",
     "same hash of the same length", NULL},
    {PARAMETERS("rfc", "lms", "['LMS_SHAKE_M32_H10','LMOTS_SHA256_N32_W8']"), "$.parameters[1]",
     "same hash of the same length", NULL},
    {PARAMETERS("rfc", "lms",
                "['LMS_SHA256_M32_H10','xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx']"),
     "$.parameters[1]", "is no parameter set", NULL},
    {PARAMETERS("cnsa2", "hss",
                "['LMS_SHA256_M32_H10','LMOTS_SHA256_N32_W8','LMS_SHA256_M32_H10',"
                "'LMOTS_SHA256_N32_W8']"),
     "$.scheme", "cnsa2 takes single trees only, and hss is a hypertree", "\"lms\""},
    {PARAMETERS("cnsa2", "xmssmt", "['XMSSMT-SHA2_20/2_256']"), "$.scheme", "xmssmt is a hypertree",
     NULL},
    {PARAMETERS("rfc", "hss", LMS2), "$.parameters", "one level is scheme lms", "H10"},
    {PARAMETERS("rfc", "hss", "['LMS_SHA256_M32_H10','LMOTS_SHA256_N32_W8','LMS_SHA256_M32_H10']"),
     "$.parameters", "two names for each of 2 to 8 levels", NULL},
    {PARAMETERS("sp800-208", "hss",
                "['LMS_SHA256_M32_H10','LMOTS_SHA256_N32_W8','LMS_SHA256_M24_H10',"
                "'LMOTS_SHA256_N24_W8']"),
     "$.parameters[2]", "hash of the top level in all levels", NULL},
    {PARAMETERS("rfc", "hss",
                "['LMS_SHA256_M32_H25','LMOTS_SHA256_N32_W8','LMS_SHA256_M32_H25',"
                "'LMOTS_SHA256_N32_W8','LMS_SHA256_M32_H15','LMOTS_SHA256_N32_W8']"),
     "$.parameters", "65 high together, but at most 60", NULL},
    {PARAMETERS("rfc", "xmss", "['XMSS-SHA2_10_256','XMSS-SHA2_10_256']"), "$.parameters",
     "xmss needs 1 name", "XMSS-SHA2_16_256"},
    {PARAMETERS("rfc", "xmss", "['XMSSMT-SHA2_20/2_256']"), "$.parameters[0]", "is no XMSS set",
     NULL},
    {PARAMETERS("rfc", "xmssmt", "['XMSSMT-SHA2_20/8_256']"), "$.parameters[0]",
     "is no XMSS^MT set", "XMSSMT-SHA2_40/4_256"},
    {PARAMETERS("sp800-208", "xmss", "['XMSS-SHA2_10_512']"), "$.parameters[0]",
     "not a set of SP 800-208, which profile sp800-208", NULL},
    {PARAMETERS("cnsa2", "xmss", "['XMSS-SHAKE_10_256']"), "$.parameters[0]",
     "not a set of SP 800-208, which profile cnsa2", NULL},
};

static const struct bad bad_blocks[] = {
    {PLAN_H10("7"), "$.assignment", "must be an object, not an integer", "version"},
    {PLAN_H10("{}"), "$.assignment.kind", "is missing", "\"time\""},
    {PLAN_H10("{'kind':'weekly'}"), "$.assignment.kind", "one of time, version, interval", NULL},
    {PLAN_H10("{'kind':'time'}"), "$.assignment.start", "is missing", "2026-12-06T00:00:00Z"},
    {PLAN_H10("{'kind':'time','start':1796515200}"), "$.assignment.start", "a string", NULL},
    {PLAN_H10("{'kind':'time','start':'2026-12-06'}"), "$.assignment.start",
     "\"2026-12-06\" is no time in UTC", NULL},
    {PLAN_H10("{'kind':'time','start':'2026-02-29T00:00:00Z'}"), "$.assignment.start", "no time",
     NULL},
    {PLAN_H10("{'kind':'time','start':'2026-12-06T00:00:00Z'}"), "$.assignment.window",
     "is missing", "\"P7D\""},
    {PLAN_H10("{'kind':'time','start':'2026-12-06T00:00:00Z','window':604800}"),
     "$.assignment.window", "a string, not an integer", NULL},
    {PLAN_H10("{'kind':'time','start':'2026-12-06T00:00:00Z','window':'P1M'}"),
     "$.assignment.window", "months and years have no fixed length", NULL},
    {PLAN_H10("{'kind':'time','start':'2026-12-06T00:00:00Z','window':'PT599S',"
              "'signatures_per_window':16}"),
     "$.assignment.window", "shorter than the 600 seconds", "P7D"},
    {PLAN_H10("{" TIME "}"), "$.assignment.signatures_per_window", "is missing", "1024"},
    {PLAN_H10("{" TIME ",'signatures_per_window':1}"), "$.assignment.signatures_per_window",
     "must be 2 to 1024, not 1", NULL},
    {PLAN_H10("{" TIME ",'seal':false,'signatures_per_window':0}"),
     "$.assignment.signatures_per_window", "must be 1 to 1024, not 0", NULL},
    {PLAN_H10("{" TIME ",'signatures_per_window':-1}"), "$.assignment.signatures_per_window",
     "not -1", NULL},
    {PLAN_H10("{" TIME ",'signatures_per_window':1025}"), "$.assignment.signatures_per_window",
     "must be 2 to 1024, not 1025", NULL},
    {PLAN_H60("{" TIME ",'signatures_per_window':9007199254740993}"),
     "$.assignment.signatures_per_window", "must be 2 to 9007199254740992", NULL},
    {PLAN_H10("{" TIME ",'signatures_per_window':16.0}"), "$.assignment.signatures_per_window",
     "fraction", NULL},
    {PLAN_H10("{" TIME ",'signatures_per_window':16,'lease_size':0}"), "$.assignment.lease_size",
     "must be 1 to 16, not 0", "16"},
    {PLAN_H10("{" TIME ",'signatures_per_window':16,'lease_size':17}"), "$.assignment.lease_size",
     "must be 1 to 16, not 17", NULL},
    {PLAN_H10("{" TIME ",'signatures_per_window':16,'seal':1}"), "$.assignment.seal",
     "must be true or false, not an integer", "true"},
    {PLAN_H10("{" TIME ",'signatures_per_window':16,'windows':0}"), "$.assignment.windows",
     "must be 1 to 64, not 0", NULL},
    {PLAN_H10("{" TIME ",'signatures_per_window':16,'windows':65}"), "$.assignment.windows",
     "must be 1 to 64, not 65", NULL},
    {PLAN_H10("{" TIME ",'signatures_per_window':16,'slots':['a']}"), "$.assignment.slots",
     "does not belong here", "start"},
    {PLAN_H10("{'kind':'interval','signatures_per_window':16,'start':'x'}"), "$.assignment.start",
     "does not belong here", "signatures_per_window"},
    {PLAN_H10("{'kind':'interval'}"), "$.assignment.signatures_per_window", "is missing", NULL},
    {PLAN_H10("{'kind':'interval','seal':true,'signatures_per_window':1}"),
     "$.assignment.signatures_per_window", "must be 2", NULL},
    {PLAN_H10("{'kind':'time','start':'9999-12-31T00:00:00Z','window':'P1D',"
              "'signatures_per_window':16}"),
     "$.assignment.start", "behind the year 9999", "2026"},
    {PLAN_H10("{'kind':'time','start':'9999-12-29T00:00:00Z','window':'P1D','windows':3,"
              "'signatures_per_window':16}"),
     "$.assignment.windows", "must be 1 to 2, not 3", NULL},
};

#define VERSION(format, more) "{'kind':'version','format':'" format "'" more "}"
#define MMP(more) VERSION("major.minor.patch", more)

static const struct bad bad_versions[] = {
    {PLAN_H10("{'kind':'version'}"), "$.assignment.format", "is missing", "\"major.minor.patch\""},
    {PLAN_H10("{'kind':'version','format':'semver'}"), "$.assignment.format",
     "one of integer, major.minor, major.minor.patch, calendar, table", NULL},
    {PLAN_H10(MMP("")), "$.assignment.sizes", "is missing", "{\"minor\": 32, \"patch\": 16}"},
    {PLAN_H10(MMP(",'sizes':[32,16]")), "$.assignment.sizes", "must be an object, not an array",
     NULL},
    {PLAN_H10(MMP(",'sizes':{'minor':4}")), "$.assignment.sizes.patch", "is missing", NULL},
    {PLAN_H10(MMP(",'sizes':{'minor':0,'patch':4}")), "$.assignment.sizes.minor", "must be 1 to",
     NULL},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':'4'}")), "$.assignment.sizes.patch",
     "an integer, not a string", NULL},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':4,'build':4}")), "$.assignment.sizes.build",
     "no such level", "patch"},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':2048}")), "$.assignment.sizes",
     "a window of 2048 versions x 1 slots does not fit the key, which has 1024", NULL},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':1024},'seal':true")), "$.assignment.sizes",
     "1024 versions x 1 slots and a seal does not fit", NULL},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':512},'slots':['a','b','c']")), "$.assignment.sizes",
     "512 versions x 3 slots", NULL},
    {PLAN_H10(MMP(",'sizes':{'minor':100,'patch':16}")), "$.assignment.sizes",
     "needs 100 windows of 16 indices, but the key has room for 64", NULL},
    {PLAN_H10(MMP(",'sizes':{'major':5,'minor':16,'patch':16}")), "$.assignment.sizes",
     "needs 80 windows", NULL},
    {PLAN_H10(MMP(",'sizes':{'minor':9007199254740992,'patch':9007199254740992}")),
     "$.assignment.sizes", "does not fit the key", NULL},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':4},'window':'build'")), "$.assignment.window",
     "one of major, minor, patch, not \"build\"", "\"minor\""},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':4},'order':'any'")), "$.assignment.order",
     "one of strict, per-line", NULL},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':4},'line':'minor'")), "$.assignment.line",
     "a strict plan has no lines", "per-line"},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':4},'order':'per-line','line':'year'")),
     "$.assignment.line", "one of major, minor, patch", "\"major\""},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':4},'max_jump':-1")), "$.assignment.max_jump",
     "must be 0 to", "1"},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':4},'lease_size':4")), "$.assignment.lease_size",
     "does not belong here", "max_jump"},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':4},'slots':[]")), "$.assignment.slots",
     "1 to 64 entries, not 0", "kernel"},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':4},'slots':['a',true]")), "$.assignment.slots[1]",
     "a string, not true or false", NULL},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':4},'slots':['a','b c']")), "$.assignment.slots[1]",
     "\"b c\" is no name", "kernel"},
    {PLAN_H10(MMP(",'sizes':{'minor':4,'patch':4},'slots':['a','b','a']")), "$.assignment.slots[2]",
     "stands here twice", NULL},
    {PLAN_H10(VERSION("major.minor", ",'sizes':{'minor':4,'patch':4}")), "$.assignment.sizes.patch",
     "no such level", NULL},
    {PLAN_H10(VERSION("integer", ",'sizes':{'minor':4}")), "$.assignment.sizes.minor",
     "no such level", "version"},
    {PLAN_H10(VERSION("integer", ",'sizes':{'version':1025}")), "$.assignment.sizes.version",
     "needs 1025 windows of 1 indices, but the key has room for 1024", NULL},
    {PLAN_H10(VERSION("integer", ",'window':'version'")), "$.assignment.window",
     "does not belong here", "versions_per_window"},
    {PLAN_H10(VERSION("integer", ",'order':'per-line','line':'version'")), "$.assignment.line",
     "does not belong here", NULL},
    {PLAN_H10(VERSION("integer", ",'versions_per_window':0")), "$.assignment.versions_per_window",
     "must be 1", NULL},
    {PLAN_H10(VERSION("integer", ",'versions_per_window':1025")),
     "$.assignment.versions_per_window", "does not fit the key", "1"},
    {PLAN_H10(VERSION("calendar", ",'sizes':{'number':4}")), "$.assignment.start_year",
     "is missing", "2026"},
    {PLAN_H10(VERSION("calendar", ",'sizes':{'number':4},'start_year':1969")),
     "$.assignment.start_year", "must be 1970 to 9999", NULL},
    {PLAN_H10(VERSION("calendar", ",'sizes':{'number':4,'month':12},'start_year':2026")),
     "$.assignment.sizes.month", "12 months", "number"},
    {PLAN_H10(VERSION("calendar", ",'sizes':{'number':4,'year':3},'start_year':9998")),
     "$.assignment.sizes.year", "beyond 9999", NULL},
    {PLAN_H10(VERSION("calendar", ",'sizes':{'year':2},'start_year':2026")),
     "$.assignment.sizes.number", "is missing", NULL},
    {PLAN_H10(VERSION("table", "")), "$.assignment.entries", "is missing", "1.0-rc1"},
    {PLAN_H10(VERSION("table", ",'entries':[]")), "$.assignment.entries", "1 to 4096 entries",
     NULL},
    {PLAN_H10(VERSION("table", ",'entries':['a',1]")), "$.assignment.entries[1]", "a string", NULL},
    {PLAN_H10(VERSION("table", ",'entries':['a','']")), "$.assignment.entries[1]", "is no version",
     NULL},
    {PLAN_H10(VERSION("table", ",'entries':['a\\\\b']")), "$.assignment.entries[0]",
     "is no version", NULL},
    {PLAN_H10(VERSION("table", ",'entries':['b','a','c','a','b']")), "$.assignment.entries[3]",
     "\"a\" stands here twice", NULL},
    {PLAN_H10(VERSION("table", ",'entries':['a','b'],'sizes':{'entry':2}")), "$.assignment.sizes",
     "does not belong here", "entries"},
};

static void check_bad(const struct bad *bad)
{
    char json[PLAN_TEXT_SIZE];
    struct plan plan;
    struct plan_fault fault;
    struct err err = {0};
    memset(&plan, 0xa5, sizeof(plan));
    memset(&fault, 0xa5, sizeof(fault));
    plan_text(json, bad->text);
    enum rc rc = plan_parse(&plan, json, strlen(json), &fault, &err);
    if (rc != RC_REFUSED_PLAN || strcmp(fault.path, bad->path) != 0 ||
        strstr(fault.what, bad->what) == NULL ||
        (bad->example != NULL && strstr(fault.example, bad->example) == NULL))
        fail_msg("%s\n%s, path \"%s\" (wanted \"%s\"), what \"%s\" (wanted \"%s\"), example \"%s\"",
                 json, rc_name(rc), fault.path, bad->path, fault.what, bad->what, fault.example);
    assert_true(all_zero(&plan, sizeof(plan)));
    assert_int_equal(err.rc, RC_REFUSED_PLAN);
    assert_non_null(strstr(err.text, bad->path));
    assert_true(fault.example[0] != '\0');
    /* The same answer without a fault, and from the other door. */
    assert_int_equal(plan_parse(&plan, json, strlen(json), NULL, NULL), RC_REFUSED_PLAN);
    char *canonical = json;
    size_t len = 1;
    assert_int_equal(plan_canonical(json, strlen(json), &canonical, &len, NULL), RC_REFUSED_PLAN);
    assert_null(canonical);
    assert_int_equal(len, 0);
}

#define CHECK_ALL(list)                                                                            \
    for (size_t i = 0; i < sizeof(list) / sizeof((list)[0]); i++)                                  \
        check_bad(&(list)[i]);

static void test_bad_roots(void **state)
{
    (void)state;
    CHECK_ALL(bad_roots)
}

static void test_bad_parameters(void **state)
{
    (void)state;
    CHECK_ALL(bad_parameters)
}

static void test_bad_blocks(void **state)
{
    (void)state;
    CHECK_ALL(bad_blocks)
}

static void test_bad_versions(void **state)
{
    (void)state;
    CHECK_ALL(bad_versions)
}

/* Documents that are too long to write down. */
static void test_bad_sizes(void **state)
{
    (void)state;
    static char text[PLAN_TEXT_MAX + 2];
    struct plan plan;
    struct plan_fault fault;
    struct err err = {0};

    memset(text, ' ', sizeof(text));
    assert_int_equal(plan_parse(&plan, text, PLAN_TEXT_MAX + 1, &fault, &err), RC_REFUSED_PLAN);
    assert_string_equal(fault.path, "$");
    assert_non_null(strstr(fault.what, "1048577 bytes, but at most 1048576"));

    /* A plan that is just short enough, thanks to blanks. */
    plan_text(text, PLAN_H10(INTERVAL));
    text[strlen(text)] = ' ';
    assert_int_equal(plan_parse(&plan, text, PLAN_TEXT_MAX, NULL, NULL), RC_OK);
    plan_free(&plan);

    /* Nesting without end. */
    memset(text, '[', PLAN_TEXT_MAX);
    err = (struct err){0};
    assert_int_equal(plan_parse(&plan, text, PLAN_TEXT_MAX, &fault, &err), RC_REFUSED_PLAN);
    assert_non_null(strstr(fault.what, "depth"));
    assert_string_equal(fault.path, "$[0][0][0][0][0][0][0][0]");
    for (size_t i = 0; i + 5 < PLAN_TEXT_MAX; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    assert_int_equal(plan_parse(&plan, text, PLAN_TEXT_MAX - 6, &fault, NULL), RC_REFUSED_PLAN);
    assert_string_equal(fault.path, "$.a.a.a.a.a.a.a.a");

    /* A member with a name as long as the document. */
    memset(text, 'n', PLAN_TEXT_MAX);
    memcpy(text, "{\"", 2);
    memcpy(text + PLAN_TEXT_MAX - 4, "\":1}", 4);
    assert_int_equal(plan_parse(&plan, text, PLAN_TEXT_MAX, &fault, NULL), RC_REFUSED_PLAN);
    assert_string_equal(fault.path, "$['nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...']");
}

/* count entries "0", "1", …, of one version a window unless `more` says so. */
static enum rc parse_table(size_t count, const char *more, struct plan *plan,
                           struct plan_fault *fault)
{
    static char text[PLAN_TEXT_MAX];
    plan_text(text, "{'tidemark_plan':1,'key':'k','profile':'rfc','scheme':'xmss','parameters':"
                    "['XMSS-SHA2_10_256'],'assignment':{'kind':'version','format':'table',"
                    "'entries':[");
    size_t used = strlen(text);
    for (size_t i = 0; i < count; i++)
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "%s\"%zu\"", i == 0 ? "" : ",", i);
    char rest[PLAN_TEXT_SIZE];
    plan_text(rest, more);
    used += (size_t)snprintf(text + used, sizeof(text) - used, "]%s}}", rest);
    return plan_parse(plan, text, used, fault, NULL);
}

#define REMOTE(member)                                                                             \
    "{'tidemark_plan':1,'key':'k','profile':'cnsa2','scheme':'lms','parameters':" LMS2 member      \
    ",'assignment':{'kind':'interval','signatures_per_window':4}}"

/* It is part of the document and so of its hash: an auditor sees whether a key may do it. */
static void test_remote_hashing(void **state)
{
    (void)state;
    struct plan without, with, other;
    plan_make(&without, REMOTE(""));
    plan_make(&with, REMOTE(",'remote_hashing':{}"));
    plan_make(&other, REMOTE(",'remote_hashing':{'expires_s':10,'open_per_caller':64}"));
    assert_false(without.remote.allowed);
    assert_true(with.remote.allowed);
    assert_int_equal(with.remote.expires_s, PLAN_REMOTE_EXPIRES_DEFAULT);
    assert_int_equal(with.remote.open_per_caller, PLAN_REMOTE_OPEN_DEFAULT);
    assert_int_equal(other.remote.expires_s, 10);
    assert_int_equal(other.remote.open_per_caller, 64);
    assert_memory_not_equal(without.sha256, with.sha256, SHA256_LEN);
    assert_memory_not_equal(other.sha256, with.sha256, SHA256_LEN);
}

static void test_table_sizes(void **state)
{
    (void)state;
    struct plan plan;
    struct plan_fault fault;
    struct plan_place place;
    assert_int_equal(parse_table(1024, "", &plan, &fault), RC_OK);
    assert_int_equal(plan.window_count, 1024);
    assert_int_equal(plan_place_version(&plan, "1023", NULL, &place, NULL), RC_OK);
    assert_int_equal(place.index, 1023);
    plan_free(&plan);
    assert_true(all_zero(&plan, sizeof(plan)));
    assert_int_equal(parse_table(1025, "", &plan, &fault), RC_REFUSED_PLAN);
    assert_string_equal(fault.path, "$.assignment.entries");
    assert_non_null(strstr(fault.what, "needs 1025 windows of 1 indices, but the key has room for "
                                       "1024"));
    assert_int_equal(parse_table(4096, ",'versions_per_window':8", &plan, &fault), RC_REFUSED_PLAN);
    assert_int_equal(parse_table(4097, "", &plan, &fault), RC_REFUSED_PLAN);
    assert_non_null(strstr(fault.what, "1 to 4096 entries, not 4097"));
    assert_int_equal(
        parse_table(200, ",'slots':['a','b','c'],'versions_per_window':200", &plan, &fault), RC_OK);
    assert_int_equal(plan.window_count, 1);
    plan_free(&plan);
    assert_int_equal(
        parse_table(201, ",'slots':['a','b','c'],'versions_per_window':200", &plan, &fault),
        RC_REFUSED_PLAN);
    assert_non_null(strstr(fault.what, "needs 2 windows of 1024"));
}

/* --- Parameter sets -----------------------------------------------------------------------------
 */

static void test_sets(void **state)
{
    (void)state;
    static const struct {
        bool (*parse)(struct set *, const char *);
        const char *name;
        uint32_t n, height, layers;
        bool approved;
    } good[] = {
        {set_lms, "LMS_SHA256_M32_H5", 32, 5, 1, true},
        {set_lms, "LMS_SHA256_M24_H25", 24, 25, 1, true},
        {set_lms, "LMS_SHAKE_M32_H15", 32, 15, 1, true},
        {set_lmots, "LMOTS_SHA256_N32_W1", 32, 0, 1, true},
        {set_lmots, "LMOTS_SHAKE_N24_W4", 24, 0, 1, true},
        {set_xmss, "XMSS-SHA2_10_256", 32, 10, 1, true},
        {set_xmss, "XMSS-SHA2_20_192", 24, 20, 1, true},
        {set_xmss, "XMSS-SHAKE256_16_192", 24, 16, 1, true},
        {set_xmss, "XMSS-SHAKE_16_256", 32, 16, 1, false},
        {set_xmss, "XMSS-SHA2_16_512", 64, 16, 1, false},
        {set_xmss, "XMSS-SHAKE_16_512", 64, 16, 1, false},
        {set_xmssmt, "XMSSMT-SHA2_20/2_256", 32, 20, 2, true},
        {set_xmssmt, "XMSSMT-SHAKE256_40/8_192", 24, 40, 8, true},
        {set_xmssmt, "XMSSMT-SHAKE_60/12_512", 64, 60, 12, false},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct set set;
        assert_true(good[i].parse(&set, good[i].name));
        assert_int_equal(set.n, good[i].n);
        assert_int_equal(set.height, good[i].height);
        assert_int_equal(set.layers, good[i].layers);
        assert_int_equal(set.approved, good[i].approved);
        /* One character less or more is no set. */
        char other[64];
        (void)snprintf(other, sizeof(other), "%sx", good[i].name);
        assert_false(good[i].parse(&set, other));
        other[strlen(good[i].name) - 1] = '\0';
        assert_false(good[i].parse(&set, other));
        assert_true(all_zero(&set, sizeof(set)));
        assert_false(good[i].parse(&set, good[i].name + 1));
        assert_false(good[i].parse(&set, ""));
    }
    static const char *const bad[] = {
        "XMSS-SHAKE_10_192",    "XMSS-SHAKE256_10_512", "XMSS-SHA2_11_256",
        "XMSS-SHA2_010_256",    "XMSS-SHA2_20/2_256",   "XMSS-SHA2_99999999999_256",
        "XMSSMT-SHA2_20/8_256", "XMSSMT-SHA2_40/3_256", "XMSSMT-SHA2_60/2_256",
        "LMS_SHA256_M16_H5",    "LMS_SHA256_M32_H6",    "LMS_SHA384_M32_H5",
        "LMOTS_SHA256_N32_W16", "LMOTS_SHA256_M32_W8",  "lms_sha256_m32_h5",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct set set;
        assert_false(set_lms(&set, bad[i]));
        assert_false(set_lmots(&set, bad[i]));
        assert_false(set_xmss(&set, bad[i]));
        assert_false(set_xmssmt(&set, bad[i]));
    }
}

/* --- Taken --------------------------------------------------------------------------------------
 */

static void test_levels(void **state)
{
    (void)state;
    struct plan plan;
    plan_make(&plan, PARAMETERS("rfc", "hss",
                                "['LMS_SHA256_M32_H15','LMOTS_SHA256_N32_W4',"
                                "'LMS_SHAKE_M24_H10','LMOTS_SHAKE_N24_W8',"
                                "'LMS_SHA256_M32_H5','LMOTS_SHA256_N32_W1']"));
    assert_int_equal(plan.height, 30);
    assert_int_equal(plan.level_count, 3);
    assert_int_equal(plan.level_heights[0], 15);
    assert_int_equal(plan.level_heights[1], 10);
    assert_int_equal(plan.level_heights[2], 5);
    assert_int_equal(plan.parameter_count, 6);
    assert_string_equal(plan.parameters[3], "LMOTS_SHAKE_N24_W8");
    assert_int_equal(plan.window_count, (UINT64_C(1) << 30) / 16);
    plan_free(&plan);

    plan_make(&plan, PLAN_H60(INTERVAL));
    assert_int_equal(plan.height, 60);
    assert_int_equal(plan.level_count, 6);
    assert_int_equal(plan.level_heights[5], 10);
    assert_int_equal(plan.window_count, UINT64_C(1) << 56);
    plan_free(&plan);

    /* 60 is the highest key that is taken; see bad_parameters for 65. */
    plan_make(&plan, PARAMETERS("sp800-208", "hss",
                                "['LMS_SHA256_M24_H25','LMOTS_SHA256_N24_W4',"
                                "'LMS_SHA256_M24_H25','LMOTS_SHA256_N24_W8',"
                                "'LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W8']"));
    assert_int_equal(plan.height, 60);
    plan_free(&plan);
    plan_make(&plan, PARAMETERS("rfc", "xmss", "['XMSS-SHA2_10_512']"));
    assert_int_equal(plan.height, 10);
    plan_free(&plan);
    plan_make(&plan, PARAMETERS("cnsa2", "xmss", "['XMSS-SHAKE256_10_192']"));
    plan_free(&plan);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(plan_kind_name(PLAN_TIME), "time");
    assert_string_equal(plan_kind_name(PLAN_VERSION), "version");
    assert_string_equal(plan_kind_name(PLAN_INTERVAL), "interval");
    assert_string_equal(plan_scheme_name(PLAN_LMS), "lms");
    assert_string_equal(plan_scheme_name(PLAN_HSS), "hss");
    assert_string_equal(plan_scheme_name(PLAN_XMSS), "xmss");
    assert_string_equal(plan_scheme_name(PLAN_XMSSMT), "xmssmt");
    assert_string_equal(plan_profile_name(PLAN_CNSA2), "cnsa2");
    assert_string_equal(plan_profile_name(PLAN_SP800_208), "sp800-208");
    assert_string_equal(plan_profile_name(PLAN_RFC), "rfc");
    assert_string_equal(plan_message_name(PLAN_RAW), "raw");
    assert_string_equal(plan_message_name(PLAN_SHA256), "sha256");
    assert_string_equal(plan_message_name(PLAN_SHA384), "sha384");
    assert_string_equal(plan_message_name(PLAN_SHA512), "sha512");
    assert_string_equal(plan_format_name(PLAN_INTEGER), "integer");
    assert_string_equal(plan_format_name(PLAN_MAJOR_MINOR), "major.minor");
    assert_string_equal(plan_format_name(PLAN_MAJOR_MINOR_PATCH), "major.minor.patch");
    assert_string_equal(plan_format_name(PLAN_CALENDAR), "calendar");
    assert_string_equal(plan_format_name(PLAN_TABLE), "table");
    assert_string_equal(plan_order_name(PLAN_STRICT), "strict");
    assert_string_equal(plan_order_name(PLAN_PER_LINE), "per-line");
}

/* --- Canonical form -----------------------------------------------------------------------------
 */

static void check_canonical(const char *text, const char *canonical)
{
    char json[PLAN_TEXT_SIZE];
    char want[PLAN_TEXT_SIZE];
    char *got = NULL;
    size_t len = 0;
    uint8_t digest[SHA256_LEN];
    struct plan plan;
    plan_text(json, text);
    plan_text(want, canonical);
    assert_int_equal(plan_canonical(json, strlen(json), &got, &len, NULL), RC_OK);
    assert_string_equal(got, want);
    assert_int_equal(len, strlen(want));
    assert_int_equal(plan_parse(&plan, json, strlen(json), NULL, NULL), RC_OK);
    digest_buffer(DIGEST_SHA256, digest, want, strlen(want));
    assert_memory_equal(plan.sha256, digest, SHA256_LEN);
    plan_free(&plan);
    free(got);
}

static void test_canonical(void **state)
{
    (void)state;
    /* Members sorted, blanks gone, no default filled in. */
    check_canonical(
        " {\t'scheme' : 'xmssmt',\r\n'tidemark_plan':1, 'profile':'rfc','key':'k',"
        "'parameters':[ 'XMSSMT-SHA2_20/2_256' ] , 'assignment': {'signatures_per_window':5,"
        "'kind':'interval'}}\n",
        "{'assignment':{'kind':'interval','signatures_per_window':5},'key':'k','parameters':"
        "['XMSSMT-SHA2_20/2_256'],'profile':'rfc','scheme':'xmssmt','tidemark_plan':1}");
    /* Escapes that need not be are undone, in names and in values. */
    check_canonical(
        "{'\\u0074idemark_plan':1,'key':'\\u006b\\u002D1','profile':'rfc','scheme':'xmssmt',"
        "'parameters':['XMSSMT-SHA2_20\\/2_256'],'message':'\\u0073ha512','assignment':{"
        "'kind':'version','format':'table','entries':['a\\/b \\u007e','A','1']}}",
        "{'assignment':{'entries':['a/b ~','A','1'],'format':'table','kind':'version'},'key':'k-1',"
        "'message':'sha512','parameters':['XMSSMT-SHA2_20/2_256'],'profile':'rfc','scheme':"
        "'xmssmt','tidemark_plan':1}");
    /* Minus zero is zero; the order of arrays stays. */
    check_canonical(PLAN_H16("{'sizes':{'patch':8,'minor':4,'major':2},'max_jump':-0,'kind':"
                             "'version','format':'major.minor.patch','slots':['b','a'],"
                             "'seal':false}"),
                    "{'assignment':{'format':'major.minor.patch','kind':'version','max_jump':0,"
                    "'seal':false,'sizes':{'major':2,'minor':4,'patch':8},'slots':['b','a']},'key':"
                    "'k','parameters':['XMSS-SHA2_16_256'],'profile':'sp800-208','scheme':'xmss',"
                    "'tidemark_plan':1}");
    /* The largest number of a plan. */
    check_canonical(PLAN_H16("{'kind':'version','format':'integer','max_jump':9007199254740992}"),
                    "{'assignment':{'format':'integer','kind':'version','max_jump':"
                    "9007199254740992},'key':'k','parameters':['XMSS-SHA2_16_256'],'profile':"
                    "'sp800-208','scheme':'xmss','tidemark_plan':1}");
}

/* RFC 8785 §3.2.2.2 and §3.2.3 for what no plan holds today, so that one of tomorrow may. */
static void test_canonical_json(void **state)
{
    (void)state;
    static const char text[] =
        "{\"b\":[true,false,{},[],-9007199254740992,-0],\"a\":\"\\u20ac$\\u000f\\u000aA'B\\\"\\\\"
        "\\u0008\\t\\r\\f\\u007f\\u001F\\/\",\"B\":{\"2\":0,\"10\":1,\"a-b\":2}}";
    static const char want[] =
        "{\"B\":{\"10\":1,\"2\":0,\"a-b\":2},\"a\":\"\xe2\x82\xac$\\u000f\\nA'"
        "B\\\"\\\\\\b\\t\\r\\f\x7f"
        "\\u001f/\",\"b\":[true,false,{},[],-9007199254740992,0]}";
    struct doc doc = {0};
    json_t *root CLEANUP(doc_free) = NULL;
    char *got = NULL;
    size_t len = 0;
    assert_int_equal(doc_load(&doc, text, sizeof(text) - 1, &root), RC_OK);
    assert_int_equal(doc_canonical(root, &got, &len, NULL), RC_OK);
    assert_string_equal(got, want);
    assert_int_equal(len, sizeof(want) - 1);
    free(got);
}

/* --- Shipped files ------------------------------------------------------------------------------
 */

static char *read_file(const char *folder, const char *name, size_t *len)
{
    char *text = NULL;
    int fd CLEANUP(fd_close) = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(file_read(fd, name, PLAN_TEXT_MAX, &text, len, NULL), RC_OK);
    return text;
}

/* Digests made with another implementation of RFC 8785. */
static void test_samples(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *sha256;
    } samples[] = {
        {"builds-interval.plan.json",
         "c7f034243d203d5466e4d97d7f919b0f28de320c7270fe527c4a7de85f3e78a7"},
        {"demo-time.plan.json", "40016d1a6ff3a5c0e95c0771d1780e6b58c1b1960a695d7c57020f0ffa2e0097"},
        {"demo-version.plan.json",
         "671162fcaa01ca94c22a4bb1200a79266b0248b21c38de04abe2ee5e7e9dff5e"},
        {"nightly-weekly.plan.json",
         "c9455ab6de64938763da9a5b0b41c1137751694ab68c163bdf58ea25afafd155"},
        {"router-fw.plan.json", "064fc9a3a567c98afffe1d4e49a2b9dda09eacd677058fe7996ac7f76c4575b9"},
    };
    size_t found = 0;
    DIR *dir = opendir(SRCDIR "/etc/plans");
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        found += entry->d_name[0] != '.';
    closedir(dir);
    assert_int_equal(found, sizeof(samples) / sizeof(samples[0]));
    for (size_t i = 0; i < found; i++) {
        struct plan plan;
        char hex[HEX_SIZE(SHA256_LEN)];
        size_t len = 0;
        char *text = read_file(SRCDIR "/etc/plans", samples[i].name, &len);
        assert_int_equal(plan_parse(&plan, text, len, NULL, NULL), RC_OK);
        hex_encode(hex, plan.sha256, SHA256_LEN);
        assert_string_equal(hex, samples[i].sha256);
        plan_free(&plan);
        free(text);
    }
}

static void check_properties(const json_t *schema, unsigned where)
{
    const json_t *properties = json_object_get(schema, "properties");
    assert_non_null(properties);
    size_t accepted = 0;
    for (size_t i = 0; plan_members[i].name != NULL; i++) {
        if ((plan_members[i].where & where) == 0)
            continue;
        accepted++;
        if (json_object_get(properties, plan_members[i].name) == NULL)
            fail_msg("%s is not in the schema", plan_members[i].name);
    }
    assert_int_equal(json_object_size(properties), accepted);
    assert_true(json_is_false(json_object_get(schema, "additionalProperties")));
}

static void check_sizes(const json_t *schema, enum plan_format format)
{
    const json_t *sizes = json_object_get(
        json_object_get(json_object_get(schema, "properties"), "sizes"), "properties");
    size_t count = 0;
    for (const char *const *level = version_levels(format); *level != NULL; level++) {
        if (strcmp(*level, "month") == 0)
            continue;
        count++;
        assert_non_null(json_object_get(sizes, *level));
    }
    assert_int_equal(json_object_size(sizes), count);
}

/* Examples of the schema are plans, or assignments that make one. */
static void check_examples(const json_t *schema, const json_t *around)
{
    size_t i = 0;
    json_t *example = NULL;
    assert_true(json_array_size(json_object_get(schema, "examples")) >= 1);
    json_array_foreach(json_object_get(schema, "examples"), i, example)
    {
        json_t *whole =
            around == NULL ? json_incref(example) : json_copy((json_t *)(uintptr_t)around);
        if (around != NULL)
            assert_int_equal(json_object_set(whole, "assignment", example), 0);
        char *text = json_dumps(whole, 0);
        struct plan plan;
        assert_int_equal(plan_parse(&plan, text, strlen(text), NULL, NULL), RC_OK);
        plan_free(&plan);
        free(text);
        json_decref(whole);
    }
}

static void test_schema(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned where;
        int format; /* -1: no versions */
    } parts[] = {{"time", MEMBER_OF_TIME, -1},
                 {"interval", MEMBER_OF_INTERVAL, -1},
                 {"integer", MEMBER_OF_INTEGER, PLAN_INTEGER},
                 {"major_minor", MEMBER_OF_NUMBERS, PLAN_MAJOR_MINOR},
                 {"major_minor_patch", MEMBER_OF_NUMBERS, PLAN_MAJOR_MINOR_PATCH},
                 {"calendar", MEMBER_OF_CALENDAR, PLAN_CALENDAR},
                 {"table", MEMBER_OF_TABLE, -1}};
    size_t len = 0;
    char *text = read_file(SRCDIR "/etc", "plan.schema.json", &len);
    json_t *schema CLEANUP(doc_free) = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(schema);
    check_properties(schema, MEMBER_OF_PLAN);
    check_properties(json_object_get(json_object_get(schema, "properties"), "remote_hashing"),
                     MEMBER_OF_REMOTE);
    check_examples(schema, NULL);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        const json_t *part = json_object_get(json_object_get(schema, "$defs"), parts[i].name);
        check_properties(part, parts[i].where);
        check_examples(part, json_array_get(json_object_get(schema, "examples"), 0));
        if (parts[i].format >= 0)
            check_sizes(part, (enum plan_format)parts[i].format);
    }
    free(text);
}

/* --- Memory -------------------------------------------------------------------------------------
 */

static long allocations_left = -1; /* -1: no limit */

static bool allocation_fails(void)
{
    if (allocations_left < 0)
        return false;
    if (allocations_left == 0)
        return true;
    allocations_left--;
    return false;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_malloc(size_t size)
{
    return allocation_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return allocation_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return allocation_fails() ? NULL : __real_realloc(p, size);
}

/* Every allocation fails once, Jansson's too; nothing may be left behind (the sanitizers look), and
 * no plan may come out of it. */
static void test_no_memory(void **state)
{
    (void)state;
    static const char *const texts[] = {
        PLAN_H16("{'kind':'version','format':'table','entries':['a','b','c','d','e','f','g'],"
                 "'slots':['x','y'],'order':'per-line'}"),
        PLAN_H10("{" TIME ",'signatures_per_window':16}"),
    };
    json_set_alloc_funcs(__wrap_malloc, free);
    for (size_t t = 0; t < 2; t++) {
        char json[PLAN_TEXT_SIZE];
        enum rc rc = RC_RETRY_SYSTEM;
        long n = 0;
        plan_text(json, texts[t]);
        for (; rc != RC_OK; n++) {
            struct plan plan;
            struct plan_fault fault;
            char *canonical = NULL;
            size_t len = 0;
            allocations_left = n;
            rc = plan_parse(&plan, json, strlen(json), &fault, NULL);
            allocations_left = n;
            enum rc again = plan_canonical(json, strlen(json), &canonical, &len, NULL);
            allocations_left = -1;
            assert_int_equal(again, rc);
            /* Jansson's parser sees a syntax error where one of its own allocations failed. */
            if (rc == RC_REFUSED_PLAN)
                assert_ptr_equal(strstr(fault.what, "line 1, column "), fault.what);
            else
                assert_true((rc == RC_OK || rc == RC_RETRY_SYSTEM) &&
                            all_zero(&fault, sizeof(fault)));
            assert_true(rc == RC_OK || all_zero(&plan, sizeof(plan)));
            assert_int_equal(canonical != NULL, rc == RC_OK);
            plan_free(&plan);
            free(canonical);
        }
        assert_true(n > 10);
    }
    json_set_alloc_funcs(malloc, free);
}

int main(void)
{
    if (base_init(NULL) != RC_OK)
        return 99;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_roots),   cmocka_unit_test(test_bad_parameters),
        cmocka_unit_test(test_bad_blocks),  cmocka_unit_test(test_bad_versions),
        cmocka_unit_test(test_bad_sizes),   cmocka_unit_test(test_remote_hashing),
        cmocka_unit_test(test_table_sizes), cmocka_unit_test(test_sets),
        cmocka_unit_test(test_levels),      cmocka_unit_test(test_names),
        cmocka_unit_test(test_canonical),   cmocka_unit_test(test_canonical_json),
        cmocka_unit_test(test_samples),     cmocka_unit_test(test_schema),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
