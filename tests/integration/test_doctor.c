/*
 * tidemark doctor on a host that is fit (but for what a test cannot have), on one that is not, and
 * beside a service that runs; and tidemark key selftest, which looks at keys as that looks at
 * hosts.
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

#include "base/bytes.h"
#include "lib/outsider.h"
#include "lib/service.h"

#define PLAN                                                                                       \
    "{'tidemark_plan':1,'key':'k','profile':'sp800-208','scheme':'lms','parameters':["             \
    "'LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W2'],'message':'raw','assignment':"                     \
    "{'kind':'interval','signatures_per_window':8}}"

#define XMSS_PLAN                                                                                  \
    "{'tidemark_plan':1,'key':'x','profile':'sp800-208','scheme':'xmss','parameters':["            \
    "'XMSS-SHA2_10_256'],'message':'raw','assignment':"                                            \
    "{'kind':'interval','signatures_per_window':256}}"

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
    service_key(&s, PLAN);
    doctor(&s, out, good_chrony());
    expect(out, "permissions", "o");
    assert_true(strstr(out, "system calls and files are locked (Landlock ABI") != NULL ||
                strstr(out, "this kernel has no Landlock") != NULL);
    /* A program, forgetful, nothing protected; firmware, and room. How fast it is depends on the
     * machine. */
    char seen[32];
    grades(out, "tpm", seen);
    assert_int_equal(strlen(seen), 9);
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

/* What a kill in the making of a key leaves: handle and Name, three times. */
static void write_pins(const struct service *s)
{
    char path[512];
    uint8_t pins[3 * 38] = {0};
    for (size_t i = 0; i < 3; i++)
        be_put32(pins + 38 * i, (uint32_t)(0x01854D00 + i));
    (void)snprintf(path, sizeof(path), "%s/keys/.new-draft", s->state);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/keys/.new-draft/pins", s->state);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(pins, 1, sizeof(pins), f), sizeof(pins));
    assert_int_equal(fclose(f), 0);
}

/* NV indexes that look like a key's and that no key has. Those of keys, of a key in the making and
 * of others are not named; and nothing is removed. */
static void test_indexes_without_a_key(void **state)
{
    (void)state;
    struct service s;
    char out[TOOL_OUT];
    static const uint8_t auth[32] = {1};
    service_make(&s, "doctor", &clocks, NULL);
    service_key(&s, PLAN);
    doctor(&s, out, good_chrony());
    assert_null(strstr(out, "no key here has it"));
    assert_non_null(strstr(out, "storage key 0x81000544, attestation key 0x81000545"));
    assert_true(outsider_define_byte(s.tpm.tcti, 0x01855555)); /* somebody else's */
    doctor(&s, out, good_chrony());
    assert_null(strstr(out, "no key here has it"));
    assert_true(outsider_define(s.tpm.tcti, 0x01854E00, true, auth));
    doctor(&s, out, good_chrony());
    assert_non_null(strstr(out, "NV index 0x01854e00 looks like a counter of ours"));
    assert_non_null(strstr(out, "tpm2_nvundefine -C o 0x01854e00"));
    assert_null(strstr(out, "0x01854d0"));
    /* The ledger is gone, and the folder of the key asks for it: nobody must undefine anything. */
    assert_int_equal(lab_shell("rm -f '%s'/ledger.db*", s.state), 0);
    doctor(&s, out, good_chrony());
    assert_non_null(strstr(out, "cannot be told: there is a folder of the key 'k'"));
    assert_null(strstr(out, "nvundefine"));
    /* The folder is gone as well: the key's own have nobody any more. */
    assert_int_equal(lab_shell("rm -rf '%s'/keys/k", s.state), 0);
    doctor(&s, out, good_chrony());
    assert_non_null(strstr(out, "0x01854d00 looks like a counter"));
    assert_non_null(strstr(out, "0x01854d01 looks like a counter"));
    assert_non_null(strstr(out, "0x01854d02 looks like an anchor record"));
    assert_non_null(strstr(out, "0x01854e00"));
    /* A key in the making has them: the file `pins` says so. */
    write_pins(&s);
    doctor(&s, out, good_chrony());
    assert_null(strstr(out, "0x01854d0"));
    assert_non_null(strstr(out, "0x01854e00"));
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
    char second[sizeof(plan)];
    memcpy(second, plan, sizeof(plan));
    *strchr(strstr(second, "\"k\"") + 1, 'k') = 'm';
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
    /* The right one, sealed on the disk, as docs/operations.md has it given to a tool. */
    (void)snprintf(credential, sizeof(credential), "%s/owner", lab_dir());
    write_file(credential, "correct-horse\n");
    lab_sealed_credential("owner", "owner-creds", "tidemark-tpm-owner");
    (void)snprintf(credential, sizeof(credential), "%s/owner-creds", lab_dir());
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", credential, 1), 0);
    assert_int_equal(service_tool(&s, out, "key new %s", path), 0);
    assert_null(strstr(out, "horse"));
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    /* Nor is another key made, now that our storage key is there; and nobody has to clean up. */
    write_file(path, second);
    assert_int_equal(service_tool(&s, out, "key new %s", path), 2);
    assert_non_null(strstr(out, "owner authorisation of the TPM is wrong or missing"));
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", credential, 1), 0);
    assert_int_equal(service_tool(&s, out, "key new %s", path), 0);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);

    doctor(&s, out, good_chrony());
    assert_non_null(strstr(out, "the owner authorisation is set"));
    service_start(&s); /* without it */
    service_stop(&s);
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

/* tidemark key selftest ------------------------------------------------------------------------ */

/* Run it; it must change nothing of what the host keeps. */
static void selftest(const struct service *s, char out[TOOL_OUT], const char *words, int code)
{
    if (s->pid == 0)
        service_save(s, "before");
    int status = service_tool(s, out, "key selftest %s", words);
    if (status != code)
        fail_msg("key selftest %s: %d instead of %d: %s", words, status, code, out);
    if (s->pid == 0)
        assert_int_equal(lab_shell("diff -r '%s' '%s/before'", s->state, s->dir), 0);
}

static void expect_text(const char *out, const char *text)
{
    if (strstr(out, text) == NULL)
        fail_msg("'%s' is not in: %s", text, out);
}

/* A stopped service's key of which one file is spoiled by a shell command: told with these words,
 * and not mended. */
static void expect_spoiled(const struct service *s, const char *command, const char *words)
{
    char out[TOOL_OUT];
    service_save(s, "good");
    assert_int_equal(lab_shell("cd '%s/keys/k' && %s", s->state, command), 0);
    selftest(s, out, "--quiet", 6);
    expect_text(out, words);
    expect_text(out, "next: ");
    service_restore(s, "good");
}

/* One byte of a file becomes another one: 0 or 255, so that it is not what it was. */
#define SPOIL(file, offset)                                                                        \
    "b=$(od -An -tu1 -j" #offset " -N1 " file "); "                                                \
    "if [ $b -eq 0 ]; then c='\\377'; else c='\\000'; fi; "                                        \
    "printf $c | dd of=" file " bs=1 seek=" #offset " conv=notrunc status=none"

static void test_selftest_of_damaged_keys(void **state)
{
    (void)state;
    struct service s;
    char out[TOOL_OUT];
    service_make(&s, "selftest", &clocks, NULL);
    assert_int_equal(service_tool(&s, out, "key selftest --key k"), 2);
    service_key(&s, PLAN);
    selftest(&s, out, "", 0);
    assert_null(strstr(out, "gives other hashes"));
    expect_text(out, "4 trees of public test vectors come out right");
    expect_text(out, "the signature of RFC 8554, test case 1, verifies");
    expect_text(out, "k: whole, all nodes above 32 leaves computed up to the root");
    expect_text(out, "k: 4 windows, 4 secrets here (windows 0 to 3), 0 destroyed or never here");
    expect_text(out, "k: nothing to compare plan and root with: no service answers at");
    /* Nodes of 24 bytes behind 4096 of the header: a leaf, an inner node, the root, the header. */
    expect_spoiled(&s, SPOIL("nodes", 5600), "FAILED  nodes   k: nodes: node 31, above leaves 30");
    expect_spoiled(&s, SPOIL("nodes", 4144), "FAILED  nodes   k: nodes: node 1, above leaves 0 to");
    expect_spoiled(&s, SPOIL("nodes", 4120), "FAILED  nodes   k: nodes: node 1, above leaves 0 to");
    expect_spoiled(&s, SPOIL("nodes", 20), "FAILED  nodes   k: nodes: its header is damaged");
    expect_spoiled(&s, "truncate -s -1 nodes", "bytes, ");
    expect_spoiled(&s, "rm nodes", "FAILED  nodes   k: open nodes");
    expect_spoiled(&s, "echo >>plan.json", "plan.json is not in canonical form: it was edited");
    expect_spoiled(&s, "echo '{' >plan.json", "FAILED  plan    k: ");
    expect_spoiled(&s, "sed -i 's/\"k\"/\"m\"/' plan.json", "is the plan of another key");
    expect_spoiled(&s, "sed -i 's/_W2/_W4/' plan.json", "that of a tree of other parameters");
    expect_spoiled(&s, "truncate -s -1 seeds", "seeds is not a file of 4 sealed secrets");
    expect_spoiled(&s, SPOIL("seeds", 0), "sealed secret 0 is damaged");
    selftest(&s, out, "", 0);
    assert_null(strstr(out, "FAILED"));
    assert_int_equal(service_tool(&s, out, "key selftest --key m"), 2);
    expect_text(out, "there is no key 'm' in ");
    assert_int_equal(service_tool(&s, out, "key selftest --public f"), 2); /* of which key? */
    assert_int_equal(lab_shell("dd if=/dev/zero of='%s'/keys/k/seeds bs=516 count=1 conv=notrunc "
                               "status=none",
                               s.state),
                     0);
    selftest(&s, out, "--key k", 0);
    expect_text(out, "3 secrets here (windows 1 to 3), 1 destroyed or never here");
    service_end(&s);
}

/* Beside a service, and against a public key in a file. */
static void test_selftest_compares(void **state)
{
    (void)state;
    struct service s;
    char out[TOOL_OUT];
    char words[4 * LAB_PATH];
    char public[2 * LAB_PATH];
    service_make(&s, "selftest", &clocks, NULL);
    service_key(&s, PLAN);
    service_key(&s, XMSS_PLAN);
    (void)snprintf(public, sizeof(public), "%s/k.raw", s.dir);
    (void)snprintf(words, sizeof(words), "--key k --public '%s'", public);
    service_start(&s);
    assert_int_equal(service_client(&s, out, "key public k --format raw --out '%s'", public), 0);
    selftest(&s, out, "", 0);
    expect_text(out, "plan    k: it is the one that the service signs by");
    expect_text(out, "public  k: the node file is that of the public key that the service gives");
    expect_text(out, "known   x: the tree of a public test vector, XMSS-SHA2_10_256, comes out");
    expect_text(out, "public  x: the node file is that of the public key that the service gives");
    /* A plan that is right in itself, and another one. */
    assert_int_equal(lab_shell("cd '%s/keys/k' && cp -p plan.json '%s/kept' && "
                               "sed -i 's/\"raw\"/\"sha256\"/' plan.json",
                               s.state, s.dir),
                     0);
    selftest(&s, out, "--key k", 6);
    expect_text(out, "FAILED  plan    k: plan.json is not the plan that the service signs by");
    assert_int_equal(lab_shell("cp -p '%s/kept' '%s/keys/k/plan.json'", s.dir, s.state), 0);
    selftest(&s, out, "--key k", 0);
    service_stop(&s);
    selftest(&s, out, words, 0);
    expect_text(out, "ok      public  k: the node file is that of the --public key");
    expect_text(out, "note    plan    k: nothing to compare the plan with: no service answers");
    lab_spoil(public, 4 + 4 + 4 + 16); /* its root */
    selftest(&s, out, words, 6);
    expect_text(out, "FAILED  public  k: the node file is not that of the --public key");
    assert_int_equal(lab_shell("echo nonsense >'%s'", public), 0);
    selftest(&s, out, words, 6);
    expect_text(out, "FAILED  public  k: ");
    (void)strcat(words, " --json");
    selftest(&s, out, words, 6);
    json_t *root = json_loads(out, 0, NULL);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "worst")), "failed");
    json_decref(root);
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

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_the_first_key),
        cmocka_unit_test(test_with_a_key_and_running),
        cmocka_unit_test(test_indexes_without_a_key),
        cmocka_unit_test(test_owner_authorisation),
        cmocka_unit_test(test_chrony_files),
        cmocka_unit_test(test_selftest_of_damaged_keys),
        cmocka_unit_test(test_selftest_compares),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start, stop);
}
