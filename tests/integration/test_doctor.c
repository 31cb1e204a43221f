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

#include "lib/outsider.h"
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
    assert_true(strstr(out, "system calls and files are locked (Landlock ABI") != NULL ||
                strstr(out, "this kernel has no Landlock") != NULL);
    /* A program, forgetful, nothing protected; firmware, and room. How fast it is depends on the
     * machine. */
    char seen[32];
    grades(out, "tpm", seen);
    assert_int_equal(strlen(seen), 8);
    assert_memory_equal(seen, "wwwwwo", 6);
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
    assert_int_equal(
        lab_shell("sed -i 's/\"sandbox\":{/\"sandbox\":{\"mode\":\"off\",/' '%s'", s.config), 0);
    assert_int_equal(service_tool(&s, out, "doctor --chrony-conf '%s'", good_chrony()), 6);
    assert_non_null(strstr(out, "bad      sandbox"));
    service_end(&s);
}

/* An owner authorisation: without it nothing is made, a wrong one is told at once, the right one is
 * found in the credential; and nobody prints it. */
static void test_owner_authorisation(void **state)
{
    (void)state;
    struct service s;
    char out[TOOL_OUT];
    char path[512];
    static const char plan[] =
        "{\"tidemark_plan\":1,\"key\":\"k\",\"profile\":\"sp800-208\",\"scheme\":\"lms\","
        "\"parameters\":[\"LMS_SHA256_M24_H5\",\"LMOTS_SHA256_N24_W2\"],\"message\":\"raw\","
        "\"assignment\":{\"kind\":\"interval\",\"signatures_per_window\":8}}";
    service_make(&s, "doctor", &clocks, NULL);
    assert_true(outsider_own(s.tpm.tcti, (const uint8_t *)"correct-horse", 13));
    (void)snprintf(path, sizeof(path), "%s/plan.json", lab_dir());
    write_file(path, plan);
    assert_int_equal(service_tool(&s, out, "key new %s", path), 2);
    assert_non_null(strstr(out, "owner authorisation of the TPM is wrong or missing"));

    char credential[512];
    (void)snprintf(credential, sizeof(credential), "%s/tidemark-tpm-owner", lab_dir());
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", lab_dir(), 1), 0);
    write_file(credential, "battery-staple\n");
    assert_int_equal(chmod(credential, 0400), 0);
    assert_int_equal(service_tool(&s, out, "key new %s", path), 2);
    assert_non_null(strstr(out, "owner authorisation of the TPM is wrong"));
    assert_null(strstr(out, "staple"));
    (void)remove(credential);
    write_file(credential, "correct-horse\n");
    assert_int_equal(chmod(credential, 0400), 0);
    assert_int_equal(service_tool(&s, out, "key new %s", path), 0);
    assert_null(strstr(out, "horse"));
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);

    doctor(&s, out, good_chrony());
    assert_non_null(strstr(out, "the owner authorisation is set"));
    service_start(&s); /* without it */
    service_stop(&s);
    (void)remove(credential);
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
        cmocka_unit_test(test_owner_authorisation),
        cmocka_unit_test(test_chrony_files),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start, stop);
}
