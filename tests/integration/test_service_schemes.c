/*
 * Keys of every scheme through the real service: made by tidemark key new, signed with over HTTP,
 * verified offline, killed in the middle, restored on another device.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lib/service.h"

#define PLAN(key, scheme, parameters, assignment)                                                  \
    "{'tidemark_plan':1,'key':'" key "','profile':'sp800-208','scheme':'" scheme                   \
    "','parameters':[" parameters "],'assignment':" assignment "}"
#define H5(w) "'LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W" w "'"
#define VERSIONS(minor)                                                                            \
    "{'kind':'version','format':'major.minor','sizes':{'minor':" minor                             \
    "},'window':'major','order':'strict'}"

static const struct {
    const char *key, *plan;
    const char *second_tree; /* a version that lies in another bottom tree than 0.0 */
} keys[] = {
    {"hss2", PLAN("hss2", "hss", H5("4") "," H5("2"), VERSIONS("64")), "0.40"},
    {"hss3", PLAN("hss3", "hss", H5("4") "," H5("2") "," H5("8"), VERSIONS("1024")), "0.99"},
    {"xmss", PLAN("xmss", "xmss", "'XMSS-SHA2_10_256'", VERSIONS("64")), "0.63"},
    {"shake", PLAN("shake", "xmss", "'XMSS-SHAKE256_10_192'", VERSIONS("64")), "0.63"},
    {"mt", PLAN("mt", "xmssmt", "'XMSSMT-SHA2_20/4_256'", VERSIONS("32768")), "0.1023"},
    {"lms-shake",
     PLAN("lms-shake", "lms", "'LMS_SHAKE_M32_H5','LMOTS_SHAKE_N32_W8'", VERSIONS("8")), "0.7"},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

static struct clocks clocks;

static void write_file(const char *name, const char *text)
{
    char path[LAB_PATH + 32];
    (void)snprintf(path, sizeof(path), "%s/%s", lab_dir(), name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Sign a file under a version, and verify it with nothing but public key and plan. */
static void sign_and_verify(const struct service *s, const char *key, const char *version)
{
    const char *d = lab_dir();
    char public[LAB_PATH + 64];
    char out[TOOL_OUT];
    (void)snprintf(public, sizeof(public), "%s/%s.pem", d, key);
    assert_int_equal(service_client(s, NULL,
                                    "sign --key %s --version %s '%s/artifact' --out '%s/sig' "
                                    "--force",
                                    key, version, d, d),
                     0);
    assert_int_equal(service_verify(s, NULL, public,
                                    "verify '%s/artifact' --sig '%s/sig' --plan '%s/%s.plan' "
                                    "--version %s",
                                    d, d, d, key, version),
                     0);
    assert_int_equal(service_verify(s, out, public, "verify '%s/other' --sig '%s/sig'", d, d), 1);
}

static void save_public(const struct service *s, size_t k)
{
    char name[64];
    char text[1024];
    assert_int_equal(service_client(s, NULL, "key public %s --out '%s/%s.pem' --force", keys[k].key,
                                    lab_dir(), keys[k].key),
                     0);
    (void)snprintf(name, sizeof(name), "%s.plan", keys[k].key);
    size_t i = 0;
    for (; keys[k].plan[i] != '\0'; i++)
        text[i] = keys[k].plan[i] == '\'' ? '"' : keys[k].plan[i];
    text[i] = '\0';
    write_file(name, text);
}

static void test_every_scheme(void **state)
{
    (void)state;
    struct service s;
    service_make(&s, "schemes", &clocks, NULL);
    for (size_t k = 0; k < KEYS; k++)
        service_key(&s, keys[k].plan);
    write_file("artifact", "firmware");
    write_file("other", "another firmware");
    service_start(&s);
    for (size_t k = 0; k < KEYS; k++) {
        save_public(&s, k);
        sign_and_verify(&s, keys[k].key, "0.0");
        sign_and_verify(&s, keys[k].key, keys[k].second_tree);
    }
    /* What was signed above bottom trees is found again, and the same bytes come back. */
    service_crash(&s);
    service_start(&s);
    for (size_t k = 0; k < KEYS; k++) {
        sign_and_verify(&s, keys[k].key, "0.0");
        sign_and_verify(&s, keys[k].key, keys[k].second_tree);
        sign_and_verify(&s, keys[k].key, "1.0");
    }
    service_end(&s);
}

/* The replacement of a device with hypertrees goes on with the next window. */
static void test_recover_a_hypertree(void **state)
{
    (void)state;
    static const size_t moved[] = {0, 4}; /* HSS and XMSS^MT */
    struct service old;
    struct service new;
    char file[LAB_PATH + 32];
    char out[TOOL_OUT];
    service_make(&old, "old", &clocks, NULL);
    service_make(&new, "new", &clocks, NULL);
    write_file("artifact", "firmware");
    write_file("pass", "correct horse battery\n");
    for (size_t i = 0; i < 2; i++)
        service_key(&old, keys[moved[i]].plan);
    service_start(&old);
    for (size_t i = 0; i < 2; i++) {
        save_public(&old, moved[i]);
        sign_and_verify(&old, keys[moved[i]].key, "0.0");
    }
    service_stop(&old);
    for (size_t i = 0; i < 2; i++) {
        const char *key = keys[moved[i]].key;
        (void)snprintf(file, sizeof(file), "%s/%s.backup", lab_dir(), key);
        assert_int_equal(service_tool(&old, NULL,
                                      "backup export --key %s --out '%s' --through 1 "
                                      "--passphrase-file '%s/pass'",
                                      key, file, lab_dir()),
                         0);
        assert_int_equal(service_tool(&old, NULL, "backup check '%s' --passphrase-file '%s/pass'",
                                      file, lab_dir()),
                         0);
        assert_int_equal(service_tool(&new, NULL,
                                      "recover --from '%s' --passphrase-file '%s/pass' --yes "
                                      "--acknowledged-through 1 --old-device-destroyed 'me, today'",
                                      file, lab_dir()),
                         0);
        /* Its first export must be off the device before it signs. */
        (void)snprintf(file, sizeof(file), "%s/%s.next", lab_dir(), key);
        assert_int_equal(service_tool(&new, NULL,
                                      "backup export --key %s --out '%s' --through 5 "
                                      "--passphrase-file '%s/pass'",
                                      key, file, lab_dir()),
                         0);
        assert_int_equal(service_tool(&new, NULL, "backup check '%s' --passphrase-file '%s/pass'",
                                      file, lab_dir()),
                         0);
    }
    service_start(&new);
    for (size_t i = 0; i < 2; i++) {
        const char *key = keys[moved[i]].key;
        /* In a window that the old device may have opened; and in the first that it cannot have. */
        assert_int_equal(service_client(&new, out,
                                        "sign --key %s --version 1.0 '%s/artifact' --out "
                                        "'%s/new.sig'",
                                        key, lab_dir(), lab_dir()),
                         3);
        sign_and_verify(&new, key, "3.0");
    }
    service_end(&new);
    service_end(&old);
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
        cmocka_unit_test(test_every_scheme),
        cmocka_unit_test(test_recover_a_hypertree),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start, stop);
}
