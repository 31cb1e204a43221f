/*
 * tidemark doctor on a host that is fit (but for what a test cannot have), on one that is not, and
 * beside a service that runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/service.h"

static struct clocks clocks;

/* Grades found in an area, as letters: 'o', 'w', 'b', in their order. */
static void grades(const char *out, const char *area, char letters[32])
{
    size_t i;
    json_t *row;
    size_t n = 0;
    json_t *root = json_loads(out, 0, NULL);
    assert_non_null(root);
    json_array_foreach(json_object_get(root, "findings"), i, row)
    {
        const char *grade = json_string_value(json_object_get(row, "grade"));
        assert_true(strlen(json_string_value(json_object_get(row, "text"))) > 3);
        if (strcmp(json_string_value(json_object_get(row, "area")), area) == 0 && n < 31)
            letters[n++] = grade[0];
    }
    letters[n] = '\0';
    json_decref(root);
}

static void expect(const char *out, const char *area, const char *letters)
{
    char seen[32];
    grades(out, area, seen);
    if (strcmp(seen, letters) != 0)
        fail_msg("%s: %s instead of %s in %s", area, seen, letters, out);
}

/* Run it with --json; the exit status must say what the findings say. Where the folder for tests is
 * on tmpfs, the storage of one is bad, and rightly so. */
static void doctor(const struct service *s, char out[TOOL_OUT], const char *chrony)
{
    int code = service_tool(s, out, "doctor --json --chrony-conf '%s'", chrony);
    assert_int_equal(code, strstr(out, "\"grade\":\"bad\"") != NULL ? 6 : 0);
}

static const char *good_chrony(void)
{
    return SRCDIR "/etc/chrony/tidemark.conf";
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_before_the_first_key(void **state)
{
    (void)state;
    struct service s;
    char out[TOOL_OUT];
    service_make(&s, "doctor", &clocks, NULL);
    /* chronyd is a test's (no kernel witness); the TPM is a program and has no key of ours yet. */
    doctor(&s, out, good_chrony());
    expect(out, "storage", "w");
    expect(out, "tpm", "w");
    expect(out, "clock", "ow");
    expect(out, "chrony", "o");
    service_end(&s);
}

static void test_with_a_key_and_running(void **state)
{
    (void)state;
    struct service s;
    char out[TOOL_OUT];
    service_make(&s, "doctor", &clocks, NULL);
    service_key(&s,
                "{'tidemark_plan':1,'key':'k','profile':'sp800-208','scheme':'lms','parameters':"
                "['LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W2'],'message':'raw','assignment':"
                "{'kind':'interval','signatures_per_window':8}}");
    doctor(&s, out, good_chrony());
    expect(out, "permissions", "o");
    expect(out, "tpm", "wwo");
    assert_non_null(strstr(out, "a sync of 4096 bytes takes"));
    service_start(&s);
    doctor(&s, out, good_chrony());
    expect(out, "tpm", "o");
    assert_non_null(strstr(out, "in use by the service"));
    service_stop(&s);
    assert_int_equal(chmod(s.state, 0755), 0);
    assert_int_equal(service_tool(&s, out, "doctor --chrony-conf '%s'", good_chrony()), 6);
    assert_non_null(strstr(out, "bad      permissions"));
    assert_int_equal(chmod(s.state, 0700), 0);
    service_end(&s);
}

/* Includes are followed where they stand, and a file that is not there is said. */
static void test_chrony_files(void **state)
{
    (void)state;
    struct service s;
    char out[TOOL_OUT];
    char conf[512];
    char folder[512];
    char text[2048];
    service_make(&s, "doctor", &clocks, NULL);
    (void)snprintf(folder, sizeof(folder), "%s/conf.d", lab_dir());
    (void)snprintf(conf, sizeof(conf), "%s/chrony.conf", lab_dir());
    (void)mkdir(folder, 0700);
    (void)snprintf(text, sizeof(text), "include %s\nconfdir %s\n", good_chrony(), folder);
    write_file(conf, text);
    doctor(&s, out, conf);
    expect(out, "chrony", "o");
    (void)snprintf(text, sizeof(text), "%s/10-site.conf", folder);
    write_file(text, "local stratum 8\nallow\n");
    doctor(&s, out, conf);
    expect(out, "chrony", "bw");
    doctor(&s, out, "/nonexistent");
    expect(out, "chrony", "w");
    assert_int_equal(service_tool(&s, out, "doctor --nonsense"), 2);
    service_end(&s);
}

static int start(void **state)
{
    (void)state;
    clocks_start(&clocks, "clocks", false);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_the_first_key),
        cmocka_unit_test(test_with_a_key_and_running),
        cmocka_unit_test(test_chrony_files),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start, stop);
}
