/*
 * From a plan to a device: `tidemark plan compile`, the C header that it makes, and the example
 * program of docs/verify.md, each compiled and run as a user would, with a key that signs here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/secmem.h"
#include "lib/command.h"
#include "lib/small_key.h"
#include "verify/verify.h"

static struct command c;
static struct small_key key;
static uint8_t sig[HSS_SIG_LEN_MAX];
static const char artifact[] = "an artifact of version 1.0.1, slot b\n";

#define COMPILE "./tidemark plan compile "
/* As a boot loader's build would: strict C11, and what is not used left out. */
#define CC_FLAGS                                                                                   \
    "/usr/bin/env " TEST_CC " -std=c11 -Wall -Wextra -Werror -O1 " TEST_CFLAGS                     \
    " -I @include -o @%s %s "                                                                      \
    "./libtidemark-verify.a"

static void expect(int code, const char *out, const char *err)
{
    if (c.exit != code || strstr(c.out, out) == NULL || strstr(c.err, err) == NULL)
        fail_msg("exit %d, out \"%s\", err \"%s\"", c.exit, c.out, c.err);
}

/* A header of the library where #include <tidemark/verify.h> finds it. */
static void install_header(void)
{
    command_run(&c, NULL, "/bin/mkdir -p @include/tidemark");
    expect(0, "", "");
    command_run(&c, NULL, "/bin/cp " SRCDIR "/src/verify/verify.h @include/tidemark/verify.h");
    expect(0, "", "");
}

/* The key as SubjectPublicKeyInfo (RFC 9802 §3), in DER and in PEM. */
static void write_forms(void)
{
    uint8_t der[96] = {0x30, 0x4e, 0x30, 0x0d, 0x06, 0x0b, 0x2a, 0x86, 0x48, 0x86,
                       0xf7, 0x0d, 0x01, 0x09, 0x10, 0x03, 0x11, 0x03, 0x3d, 0x00};
    char base64[BASE64_SIZE(sizeof(der))], pem[256];
    assert_int_equal(key.raw_len, 60);
    memcpy(der + 20, key.raw, key.raw_len);
    base64_encode(base64, der, 80);
    (void)snprintf(pem, sizeof(pem),
                   "-----BEGIN PUBLIC KEY-----\n%.64s\n%s\n-----END PUBLIC KEY-----\n", base64,
                   base64 + 64);
    command_write("key.raw", key.raw, key.raw_len);
    command_write("key.der", der, 80);
    command_write("key.pem", pem, strlen(pem));
}

static int setup(void **state)
{
    (void)state;
    char text[2048];
    if (base_init(NULL) != RC_OK)
        return -1;
    small_key_make(&key, 7);
    write_forms();
    (void)snprintf(text, sizeof(text), SMALL_VERSION_PLAN, "raw");
    command_write("plan.json", text, strlen(text));
    (void)snprintf(text, sizeof(text), SMALL_VERSION_PLAN, "sha384");
    command_write("digest.json", text, strlen(text));
    command_write("file", artifact, strlen(artifact));
    command_write("file.sig", sig, small_key_sign(&key, 20, artifact, strlen(artifact), sig));
    install_header();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    command_run(&c, NULL, "/bin/rm -rf @include");
    command_clean();
    return 0;
}

static void test_compile(void **state)
{
    (void)state;
    size_t len = 0;
    struct tmv_plan plan;
    command_run(&c, NULL, COMPILE "@plan.json --pub @key.raw --out @plan.tmcp");
    expect(0, "wrote ", "");
    const char *data = command_read("plan.tmcp", &len);
    assert_non_null(data);
    assert_int_equal(tmv_plan_open(&plan, (const uint8_t *)data, len), TMV_OK);
    /* What is there already is kept, unless it is the same or --force says so. */
    command_run(&c, NULL, COMPILE "@plan.json --pub @key.raw --out @plan.tmcp");
    expect(0, "", "");
    command_run(&c, NULL, COMPILE "@digest.json --pub @key.raw --out @plan.tmcp");
    expect(2, "", "plan.tmcp");
    command_run(&c, NULL, COMPILE "@digest.json --pub @key.raw --out @digest.tmcp --force");
    expect(0, "", "");
    command_run(&c, NULL, COMPILE "@plan.json --pub @key.raw --json");
    expect(0, "\"public_key_sha256\"", "");
    command_run(&c, NULL, COMPILE "@plan.json --pub @key.raw");
    assert_int_equal(c.exit, 0);
    assert_int_equal(c.out_len, len);
}

/* Keys in every form; and what is no key, no plan, or does not belong together. */
static void test_compile_refuses(void **state)
{
    (void)state;
    uint8_t cut[HSS_PUB_LEN_MAX];
    command_run(&c, NULL, COMPILE "@plan.json --pub @key.pem --json");
    expect(0, "router-fw", "");
    command_run(&c, NULL, COMPILE "@plan.json --pub @key.der --json");
    expect(0, "router-fw", "");
    command_run(&c, NULL, COMPILE "@plan.json");
    expect(2, "", "--pub");
    command_run(&c, NULL, COMPILE "@plan.json --pub @missing");
    expect(2, "", "missing");
    command_run(&c, NULL, COMPILE "@missing --pub @key.raw");
    expect(2, "", "missing");
    command_run(&c, NULL, COMPILE "@key.raw --pub @key.raw");
    expect(2, "", "");
    command_run(&c, NULL, COMPILE "@plan.json --pub @plan.json");
    expect(2, "", "not a public key");
    command_run(&c, NULL, COMPILE "@plan.json --pub @key.raw --format elf");
    expect(2, "", "bin or c-header");
    command_write("cut", key.raw, key.raw_len - 1);
    command_run(&c, NULL, COMPILE "@plan.json --pub @cut");
    expect(2, "", "not a public key");
    memcpy(cut, key.raw, key.raw_len);
    cut[7] = 6; /* LMS_SHA256_M32_H10: a taller tree than the plan's */
    command_write("tall", cut, key.raw_len);
    command_run(&c, NULL, COMPILE "@plan.json --pub @tall");
    expect(2, "", "LMS_SHA256_M32_H10");
    cut[7] = 5;
    cut[3] = 2; /* two levels */
    command_write("levels", cut, key.raw_len);
    command_run(&c, NULL, COMPILE "@plan.json --pub @levels");
    expect(2, "", "in 2");
}

static void test_c_header(void **state)
{
    (void)state;
    static const char program[] =
        "#include <stdio.h>\n#include <tidemark/verify.h>\n#include \"router.h\"\n"
        "int main(void)\n{\n    struct tmv_plan plan;\n    struct tmv_key key;\n"
        "    if (tmv_plan_open(&plan, tidemark_router_fw_plan,\n"
        "                      sizeof(tidemark_router_fw_plan)) != TMV_OK ||\n"
        "        tmv_key_read(&key, TIDEMARK_ROUTER_FW_SCHEME, tidemark_router_fw_public_key,\n"
        "                     sizeof(tidemark_router_fw_public_key)) != TMV_OK)\n"
        "        return 1;\n"
        "    puts(tmv_result_text(tmv_plan_check_key(&plan, &key)));\n    return 0;\n}\n";
    command_write("loader.c", program, strlen(program));
    command_run(&c, NULL, COMPILE "@plan.json --pub @key.raw --format c-header --out @router.h");
    expect(0, "wrote ", "");
    command_runf(&c, CC_FLAGS, "loader", "@loader.c");
    expect(0, "", "");
    command_run(&c, NULL, "@loader");
    expect(0, "good\n", "");
}

/* The boot loader's function as it stands in docs/verify.md. */
static void test_page(void **state)
{
    (void)state;
    static char page[65536];
    FILE *file = fopen(SRCDIR "/docs/verify.md", "r");
    assert_non_null(file);
    assert_true(fread(page, 1, sizeof(page) - 1, file) > 0);
    (void)fclose(file);
    char *code = strstr(page, "```c\n");
    assert_non_null(code);
    code += 5;
    command_write("page.c", code, (size_t)(strstr(code, "```") - code));
    command_run(&c, NULL, COMPILE "@plan.json --pub @key.raw --format c-header --out @router_fw.h");
    expect(0, "wrote ", "");
    command_runf(&c,
                 "/usr/bin/env " TEST_CC " -std=c11 -Wall -Wextra -Werror -O1 -I @include "
                 "-c -o @%s @%s",
                 "page.o", "page.c");
    expect(0, "", "");
}

static void example(const char *arguments, int code, const char *out)
{
    command_runf(&c, "@verify-file %s", arguments);
    expect(code, out, "");
}

static void test_example(void **state)
{
    (void)state;
    command_runf(&c, CC_FLAGS, "verify-file", SRCDIR "/docs/examples/verify-file.c");
    expect(0, "", "");
    example("@key.raw @plan.tmcp @file.sig @file 1.0.1 b", 0,
            "good: 1.0.1, index 20, window 2, mark 5");
    example("@key.der @plan.tmcp @file.sig @file 1.0.1 b 5", 0, "good");
    example("@key.raw @plan.tmcp @file.sig @file 1.0.1 b 6", 1, "older than");
    example("@key.raw @plan.tmcp @file.sig @file 1.0.1 c", 1, "another version");
    example("@key.raw @plan.tmcp @file.sig @file 1.1.0 b", 1, "another version");
    example("@key.raw @plan.tmcp @file.sig @file 1.0.1", 1, "slot is missing");
    example("@key.raw @plan.tmcp @file.sig @plan.json 1.0.1 b", 1, "not a signature");
    example("@key.raw @plan.tmcp @file @file 1.0.1 b", 1, "truncated");
    example("@key.raw @plan.json @file.sig @file 1.0.1 b", 1, "not a compiled plan");
    /* A good signature by another key, with that key: the plan is not its plan. */
    struct small_key other;
    small_key_make(&other, 8);
    command_write("other.raw", other.raw, other.raw_len);
    command_write("other.sig", sig, small_key_sign(&other, 20, artifact, strlen(artifact), sig));
    example("@other.raw @plan.tmcp @other.sig @file 1.0.1 b", 1, "another public key");
}

/* A plan that signs digests: the same file, hashed by the library. */
static void test_example_digest(void **state)
{
    (void)state;
    uint8_t digest[DIGEST_LEN_MAX];
    digest_buffer(DIGEST_SHA384, digest, artifact, strlen(artifact));
    command_write("digest.sig", sig, small_key_sign(&key, 20, digest, 48, sig));
    example("@key.raw @digest.tmcp @digest.sig @file 1.0.1 b", 0, "good");
    example("@key.raw @digest.tmcp @file.sig @file 1.0.1 b", 1, "not a signature");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compile),        cmocka_unit_test(test_compile_refuses),
        cmocka_unit_test(test_c_header),       cmocka_unit_test(test_example),
        cmocka_unit_test(test_example_digest), cmocka_unit_test(test_page),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
