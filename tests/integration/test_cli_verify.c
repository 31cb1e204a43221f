/*
 * tidemark verify and tidemark plan, as a user runs them: the program, files, exit codes. Nothing
 * here needs a service, which is the point of them.
 */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/secmem.h"
#include "hbs/spki.h"
#include "lib/command.h"
#include "lib/small_key.h"
#include "lib/vector.h"

#define RFC SRCDIR "/tests/vectors/data/rfc8554_hss.json"
#define VERIFY "./tidemark verify "

static struct command c;
static struct vector rfc[2];
static struct small_key key, other_key;

static void expect(int code, const char *out, const char *err)
{
    if (c.exit != code || strstr(c.out, out) == NULL || strstr(c.err, err) == NULL)
        fail_msg("exit %d, not %d\nout: %s\nerr: %s\nwanted: %s / %s", c.exit, code, c.out, c.err,
                 out, err);
    /* Every error is said once, by name, with the next step. */
    if (code != 0) {
        assert_true(strncmp(c.err, "tidemark: ", 10) == 0);
        assert_non_null(strstr(c.err, "tidemark: next: "));
    }
}

static int setup(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(base_init(&err), RC_OK);
    assert_int_equal(unsetenv("TIDEMARKD"), 0);
    for (size_t i = 0; i < 2; i++) {
        char name[20];
        vector_read(&rfc[i], RFC, i);
        (void)snprintf(name, sizeof(name), "rfc%zu.msg", i);
        command_write(name, rfc[i].message, rfc[i].message_len);
        (void)snprintf(name, sizeof(name), "rfc%zu.sig", i);
        command_write(name, rfc[i].signature, rfc[i].signature_len);
        (void)snprintf(name, sizeof(name), "rfc%zu.pub", i);
        command_write(name, rfc[i].public_key, rfc[i].public_len);
    }
    small_key_make(&key, 7);
    small_key_make(&other_key, 8);
    command_write("key.pub", key.raw, key.raw_len);
    command_write("other.pub", other_key.raw, other_key.raw_len);
    char plan[2048];
    (void)snprintf(plan, sizeof(plan), SMALL_VERSION_PLAN, "raw");
    command_write("version.json", plan, strlen(plan));
    (void)snprintf(plan, sizeof(plan), SMALL_VERSION_PLAN, "sha384");
    command_write("digest.json", plan, strlen(plan));
    command_write("time.json", SMALL_TIME_PLAN, strlen(SMALL_TIME_PLAN));
    command_write("file.bin", "firmware", 8);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    command_clean();
    return 0;
}

static void write_signature(const char *name, const struct small_key *k, uint64_t index,
                            const void *message, size_t len)
{
    static uint8_t sig[HSS_SIG_LEN_MAX];
    size_t sig_len = small_key_sign(k, index, message, len, sig);
    command_write(name, sig, sig_len);
}

/* Good signatures -------------------------------------------------------------------------------
 */

static void test_rfc8554(void **state)
{
    (void)state;
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig @rfc0.sig --public @rfc0.pub");
    expect(0, "good", "");
    assert_non_null(strstr(c.out, "LMS_SHA256_M32_H5/W8 (2 levels)"));
    assert_int_equal(c.err_len, 0);
    command_run(&c, NULL, VERIFY "--scheme hss --public @rfc1.pub --sig @rfc1.sig @rfc1.msg");
    expect(0, "good", "");
    command_run(&c, command_path("rfc0.msg"), VERIFY "- --sig @rfc0.sig --public=@rfc0.pub");
    expect(2, "", "cannot read @rfc0.pub"); /* @ names a file of this test in whole words only */
    command_run(&c, command_path("rfc0.msg"), VERIFY "- --sig @rfc0.sig --public @rfc0.pub");
    expect(0, "good", "");
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig @rfc0.sig --public @rfc0.pub --quiet");
    expect(0, "", "");
    assert_int_equal(c.out_len + c.err_len, 0);
}

static void test_json(void **state)
{
    (void)state;
    command_run(&c, NULL, VERIFY "@rfc1.msg --sig @rfc1.sig --public @rfc1.pub --json");
    expect(0, "", "");
    json_t *o = json_loads(c.out, JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_true(json_object_get(o, "ok")));
    assert_string_equal(json_string_value(json_object_get(o, "parameters")),
                        "LMS_SHA256_M32_H10/W4 (2 levels)");
    json_decref(o);
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig @rfc1.sig --public @rfc1.pub --json");
    assert_int_equal(c.exit, 1);
    o = json_loads(c.out, JSON_REJECT_DUPLICATES, NULL);
    const json_t *error = json_object_get(o, "error");
    assert_int_equal(json_integer_value(json_object_get(error, "exit")), 1);
    assert_true(json_is_null(json_object_get(error, "problem")));
    assert_non_null(json_string_value(json_object_get(error, "next")));
    json_decref(o);
}

static void test_key_forms(void **state)
{
    (void)state;
    uint8_t der[SPKI_DER_MAX];
    char pem[SPKI_PEM_MAX];
    for (size_t i = 0; i < 2; i++) {
        command_write("key.der", der,
                      spki_der_print(der, HBS_SCHEME_HSS, rfc[i].public_key, rfc[i].public_len));
        spki_pem_print(pem, HBS_SCHEME_HSS, rfc[i].public_key, rfc[i].public_len);
        command_write("key.pem", pem, strlen(pem));
        command_runf(&c, VERIFY "@rfc%zu.msg --sig @rfc%zu.sig --public @key.der", i, i);
        expect(0, "good", "");
        command_runf(&c, VERIFY "@rfc%zu.msg --sig @rfc%zu.sig --public @key.pem", i, i);
        expect(0, "good", "");
    }
}

/* Keys of XMSS and XMSS^MT; their raw forms can be each other's. */
static void test_xmss(void **state)
{
    (void)state;
    static const struct {
        const char *file, *scheme, *other, *name;
        enum hbs_scheme number;
    } keys[] = {
        {"botan_xmss_verify", "xmss", "xmssmt", "XMSS-SHA2_10_256", HBS_SCHEME_XMSS},
        {"xmss_reference", "xmssmt", "xmss", "XMSSMT-SHAKE_20/4_256", HBS_SCHEME_XMSSMT},
    };
    static struct vector v;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char path[200];
        char pem[SPKI_PEM_MAX];
        (void)snprintf(path, sizeof(path), SRCDIR "/tests/vectors/data/%s.json", keys[i].file);
        vector_read(&v, path, 0);
        spki_pem_print(pem, keys[i].number, v.public_key, v.public_len);
        command_write("x.msg", v.message, v.message_len);
        command_write("x.sig", v.signature, v.signature_len);
        command_write("x.pub", v.public_key, v.public_len);
        command_write("x.pem", pem, strlen(pem));
        command_run(&c, NULL, VERIFY "@x.msg --sig @x.sig --public @x.pem");
        expect(0, keys[i].name, "");
        command_run(&c, NULL, VERIFY "@x.msg --sig @x.sig --public @x.pub");
        expect(2, "", "say which");
        command_runf(&c, VERIFY "@x.msg --sig @x.sig --public @x.pub --scheme %s", keys[i].scheme);
        expect(0, keys[i].name, "");
        command_runf(&c, VERIFY "@x.msg --sig @x.sig --public @x.pem --scheme %s", keys[i].other);
        expect(2, "", "not of");
        command_runf(&c, VERIFY "@x.msg --sig @x.sig --public @x.pub --scheme %s", keys[i].other);
        expect(1, "", "");
        command_run(&c, NULL, VERIFY "@file.bin --sig @x.sig --public @x.pem");
        expect(1, "", "not of this file");
    }
}

/* The index of an XMSS signature against a plan. */
static void test_xmss_plan(void **state)
{
    (void)state;
    static const char plan[] =
        "{\"tidemark_plan\":1,\"key\":\"nightly\",\"profile\":\"sp800-208\",\"scheme\":\"xmss\","
        "\"parameters\":[\"XMSS-SHA2_10_256\"],\"message\":\"raw\","
        "\"assignment\":{\"kind\":\"time\",\"start\":\"2026-12-06T00:00:00Z\",\"window\":\"P7D\","
        "\"signatures_per_window\":64}}";
    static struct vector v;
    vector_read(&v, SRCDIR "/tests/vectors/data/botan_xmss_verify.json", 0);
    command_write("x.msg", v.message, v.message_len);
    command_write("x.sig", v.signature, v.signature_len);
    command_write("x.pub", v.public_key, v.public_len);
    command_write("x.json", plan, strlen(plan));
#define WITH_XMSS VERIFY "@x.msg --sig @x.sig --public @x.pub --scheme xmss --plan @x.json "
    command_run(&c, NULL, WITH_XMSS "--window 0");
    expect(0, "as claimed", "");
    command_run(&c, NULL, WITH_XMSS "--window 1");
    expect(1, "", "not of window 1");
    command_run(&c, NULL,
                VERIFY "@x.msg --sig @x.sig --public @x.pub --scheme xmss "
                       "--plan @time.json");
    expect(1, "", "the public key is XMSS-SHA2_10_256");
}

static void test_long_message(void **state)
{
    (void)state;
    size_t len = 5 * 1024 * 1024 + 13; /* no multiple of any piece that it is read in */
    uint8_t *message = malloc(len);
    assert_non_null(message);
    for (size_t i = 0; i < len; i++)
        message[i] = (uint8_t)(i * 31 >> 3);
    write_signature("long.sig", &key, 3, message, len);
    command_write("long.bin", message, len);
    command_run(&c, NULL, VERIFY "@long.bin --sig @long.sig --public @key.pub");
    expect(0, "index 3", "");
    command_run(&c, command_path("long.bin"), VERIFY "- --sig @long.sig --public @key.pub");
    expect(0, "index 3", "");
    command_write("long.bin", message, len - 1);
    command_run(&c, NULL, VERIFY "@long.bin --sig @long.sig --public @key.pub");
    expect(1, "BAD", "");
    free(message);
}

/* NO --------------------------------------------------------------------------------------------
 */

static void test_bad_message(void **state)
{
    (void)state;
    static uint8_t message[VECTOR_BYTES_MAX];
    memcpy(message, rfc[0].message, rfc[0].message_len);
    for (size_t at = 0; at < rfc[0].message_len; at += 40) {
        message[at] ^= 1;
        command_write("bad.msg", message, rfc[0].message_len);
        message[at] ^= 1;
        command_run(&c, NULL, VERIFY "@bad.msg --sig @rfc0.sig --public @rfc0.pub");
        expect(1, "BAD", "do not use");
    }
    command_write("bad.msg", message, rfc[0].message_len + 1); /* a zero behind it */
    command_run(&c, NULL, VERIFY "@bad.msg --sig @rfc0.sig --public @rfc0.pub");
    expect(1, "BAD", "");
    command_write("bad.msg", "", 0);
    command_run(&c, NULL, VERIFY "@bad.msg --sig @rfc0.sig --public @rfc0.pub");
    expect(1, "BAD", "");
    command_run(&c, NULL, VERIFY "@bad.msg --sig @rfc0.sig --public @rfc0.pub --quiet");
    assert_int_equal(c.out_len, 0);
    assert_int_equal(c.exit, 1);
}

static void test_bad_signature(void **state)
{
    (void)state;
    static uint8_t sig[VECTOR_BYTES_MAX];
    memcpy(sig, rfc[0].signature, rfc[0].signature_len);
    for (size_t at = 0; at < rfc[0].signature_len; at += 61) {
        sig[at] ^= 0x80;
        command_write("bad.sig", sig, rfc[0].signature_len);
        sig[at] ^= 0x80;
        command_run(&c, NULL, VERIFY "@rfc0.msg --sig @bad.sig --public @rfc0.pub");
        expect(1, "BAD", "");
    }
}

static void test_signature_lengths(void **state)
{
    (void)state;
    static uint8_t sig[VECTOR_BYTES_MAX + 256 * 1024];
    memcpy(sig, rfc[0].signature, rfc[0].signature_len);
    size_t full = rfc[0].signature_len;
    size_t lengths[] = {0,        1,        3,        4,        7,         8,
                        11,       12,       full / 3, full / 2, full - 65, full - 4,
                        full - 1, full + 1, full + 4, 2 * full, 90000,     sizeof(sig)};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        command_write("cut.sig", sig, lengths[i]);
        command_run(&c, NULL, VERIFY "@rfc0.msg --sig @cut.sig --public @rfc0.pub");
        expect(1, "BAD", "");
    }
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig /dev/zero --public @rfc0.pub");
    expect(1, "BAD", "");
}

static void test_wrong_key(void **state)
{
    (void)state;
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig @rfc0.sig --public @rfc1.pub");
    expect(1, "BAD", "");
    write_signature("file.sig", &key, 5, "firmware", 8);
    command_run(&c, NULL, VERIFY "@file.bin --sig @file.sig --public @other.pub");
    expect(1, "BAD", "");
    command_run(&c, NULL, VERIFY "@file.bin --sig @file.sig --public @key.pub");
    expect(0, "good", "");
}

/* Input that cannot be used ---------------------------------------------------------------------
 */

static void test_bad_files(void **state)
{
    (void)state;
    command_run(&c, NULL, VERIFY "@none --sig @rfc0.sig --public @rfc0.pub");
    expect(2, "", "No such file");
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig @none --public @rfc0.pub");
    expect(2, "", "No such file");
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig @rfc0.sig --public @none");
    expect(2, "", "No such file");
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig @rfc0.sig --public @rfc0.pub --plan @none");
    expect(2, "", "No such file");
    command_run(&c, NULL, VERIFY ". --sig @rfc0.sig --public @rfc0.pub");
    expect(2, "", "Is a directory");
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig . --public @rfc0.pub");
    expect(2, "", "Is a directory");
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig @rfc0.sig --public @rfc0.msg");
    expect(2, "", "no public key");
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig @rfc0.sig --public /dev/zero");
    expect(2, "", "longer than");
    command_write("short.pub", rfc[0].public_key, rfc[0].public_len - 1);
    command_run(&c, NULL, VERIFY "@rfc0.msg --sig @rfc0.sig --public @short.pub");
    expect(2, "", "no public key");
    if (geteuid() != 0) { /* root reads everything */
        command_write("secret.bin", "x", 1);
        assert_int_equal(chmod(command_path("secret.bin"), 0), 0);
        command_run(&c, NULL, VERIFY "@secret.bin --sig @rfc0.sig --public @rfc0.pub");
        expect(2, "", "Permission denied");
    }
}

static void test_bad_usage(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "verify",
        "verify @file.bin",
        "verify @file.bin --sig @rfc0.sig",
        "verify @file.bin --sig @rfc0.sig --public",
        "verify @file.bin --sig @rfc0.sig --public @key.pub --scheme xmss",
        "verify @file.bin --sig @rfc0.sig --public @key.pub --message md5",
        "verify @file.bin --sig @rfc0.sig --public @key.pub --version 1.0.0",
        "verify @file.bin --sig @rfc0.sig --public @key.pub --slot a --plan @version.json",
        "verify @file.bin --sig s --public p --window 1 --version 1 --plan @time.json",
        "verify @file.bin --sig @rfc0.sig --public @key.pub --window x --plan @time.json",
        "verify @file.bin --sig @rfc0.sig --public @key.pub --time now --plan @time.json",
        "verify @file.bin --sig @rfc0.sig --public @key.pub --message sha256 --plan @time.json",
        "verify @file.bin --unknown",
        "frobnicate",
        "completion csh",
        "help frobnicate",
        "key",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        command_runf(&c, "./tidemark %s", lines[i]);
        expect(2, "", "tidemark: next: ");
    }
}

/* Plans -----------------------------------------------------------------------------------------
 */

#define WITH_PLAN VERIFY "@file.bin --sig @file.sig --public @key.pub --plan @version.json "

static void test_version_plan(void **state)
{
    (void)state;
    write_signature("file.sig", &key, 20, "firmware", 8);
    command_run(&c, NULL, WITH_PLAN);
    expect(0, "router-fw  1.0.1 b", "");
    assert_non_null(strstr(c.out, "window 2 (1.0)"));
    assert_null(strstr(c.out, "as claimed"));
    command_run(&c, NULL, WITH_PLAN "--version 1.0.1 --slot b");
    expect(0, "as claimed", "");
    command_run(&c, NULL, WITH_PLAN "--version 1.0.1 --slot b --json");
    expect(0, "\"version\": \"1.0.1\"", "");
    command_run(&c, NULL, WITH_PLAN "--window 2");
    expect(0, "as claimed", "");
    command_run(&c, NULL, WITH_PLAN "--version 1.0.1 --slot c");
    expect(1, "BAD", "is for 1.0.1 b (index 20), not for 1.0.1 c (index 21)");
    command_run(&c, NULL, WITH_PLAN "--version 1.0.0 --slot b");
    expect(1, "BAD", "not for 1.0.0 b");
    command_run(&c, NULL, WITH_PLAN "--window 3");
    expect(1, "BAD", "not of window 3");
    command_run(&c, NULL, WITH_PLAN "--window 4");
    expect(3, "", "windows 0 to 3");
    command_run(&c, NULL, WITH_PLAN "--version 1.0.2 --slot b");
    expect(3, "", "");
    command_run(&c, NULL, WITH_PLAN "--version 1.0.1 --slot z");
    expect(3, "", "");
    command_run(&c, NULL, WITH_PLAN "--version v1 --slot b");
    expect(2, "", "");
    command_run(&c, NULL, WITH_PLAN "--version 1.0.1");
    expect(2, "", "");
    command_run(&c, NULL, WITH_PLAN "--time 2026-12-08T00:00:00Z");
    expect(2, "", "knows no times");
}

static void test_padding(void **state)
{
    (void)state;
    write_signature("file.sig", &key, 22, "firmware", 8);
    command_run(&c, NULL, VERIFY "@file.bin --sig @file.sig --public @key.pub");
    expect(0, "good", "");
    command_run(&c, NULL, WITH_PLAN);
    expect(1, "BAD", "padding");
}

#define WITH_TIME VERIFY "@file.bin --sig @file.sig --public @key.pub --plan @time.json "

static void test_time_plan(void **state)
{
    (void)state;
    write_signature("file.sig", &key, 9, "firmware", 8);
    command_run(&c, NULL, WITH_TIME);
    expect(0, "window 1 (", "");
    command_run(&c, NULL, WITH_TIME "--time 2026-12-13T00:00:00Z");
    expect(0, "as claimed", "");
    command_run(&c, NULL, WITH_TIME "--time 2026-12-19T23:59:59Z --json");
    expect(0, "\"window\": 1", "");
    command_run(&c, NULL, WITH_TIME "--time 2026-12-12T23:59:59Z");
    expect(1, "BAD", "not of window 0");
    command_run(&c, NULL, WITH_TIME "--time 2026-12-05T23:59:59Z");
    expect(3, "", "");
    command_run(&c, NULL, WITH_TIME "--version 1.0.0");
    expect(2, "", "has no versions");
    write_signature("file.sig", &key, 15, "firmware", 8);
    command_run(&c, NULL, WITH_TIME);
    expect(1, "BAD", "seal of window 1");
}

static void test_message_modes(void **state)
{
    (void)state;
    uint8_t digest[DIGEST_LEN_MAX];
    digest_buffer(DIGEST_SHA384, digest, "firmware", 8);
    write_signature("file.sig", &key, 20, digest, 48);
    static const char plan[] =
        VERIFY "@file.bin --sig @file.sig --public @key.pub --plan @digest.json";
    command_run(&c, NULL, plan);
    expect(0, "1.0.1 b", "");
    command_run(&c, NULL, WITH_PLAN); /* the same plan but for raw: another message */
    expect(1, "BAD", "");
    command_run(&c, NULL, VERIFY "@file.bin --sig @file.sig --public @key.pub --message sha384");
    expect(0, "good", "");
    command_run(&c, NULL, VERIFY "@file.bin --sig @file.sig --public @key.pub --message sha256");
    expect(1, "BAD", "");
    command_run(&c, NULL, VERIFY "@file.bin --sig @file.sig --public @key.pub");
    expect(1, "BAD", "");
    write_signature("file.sig", &key, 20, "firmware", 8);
    command_run(&c, NULL, plan);
    expect(1, "BAD", "");
}

static void test_plan_of_another_key(void **state)
{
    (void)state;
    command_run(&c, NULL,
                VERIFY "@rfc0.msg --sig @rfc0.sig --public @rfc0.pub --plan @version.json");
    expect(1, "BAD", "the plan is for");
}

static void test_plan_faults(void **state)
{
    (void)state;
    static const char bad[] = "{\"tidemark_plan\":1,\"key\":\"k\",\"colour\":\"red\"}";
    command_write("bad.json", bad, strlen(bad));
    command_run(&c, NULL, "./tidemark plan @bad.json");
    expect(2, "", "$.colour");
    assert_non_null(strstr(c.err, "right would be"));
    command_run(&c, NULL, "./tidemark plan @bad.json --json");
    expect(2, "\"path\": \"$.colour\"", "");
    json_t *o = json_loads(c.out, JSON_REJECT_DUPLICATES, NULL); /* one value, not two */
    assert_true(json_is_false(json_object_get(o, "valid")));
    json_decref(o);
    command_run(&c, NULL, VERIFY "@file.bin --sig @rfc0.sig --public @key.pub --plan @bad.json");
    expect(2, "", "$.colour");
    command_run(&c, NULL, "./tidemark plan @rfc0.sig");
    expect(2, "", "");
    command_run(&c, NULL, "./tidemark plan @time.json --rate 5");
    expect(2, "", "belongs to advice");
}

static void test_plan_shown(void **state)
{
    (void)state;
    command_run(&c, NULL, "./tidemark plan @version.json");
    expect(0, "valid", "");
    assert_non_null(strstr(c.out, "windows    4 of 8 indices, 6 for artifacts"));
    assert_non_null(strstr(c.out, "25.0 % of 32 indices: 8 padding"));
    assert_non_null(strstr(c.out, "slots      a, b, c"));
    assert_non_null(strstr(c.out, "8 versions"));
    /* 4 + (4 + (4 + 32 + 34 * 32) + 4 + 5 * 32): RFC 8554 §5.4 and §6.2. */
    assert_non_null(strstr(c.out, "signature  1296 bytes, public key 60 bytes"));
    command_run(&c, command_path("time.json"), "./tidemark plan - --json");
    expect(0, "\"window_usable\": 7", "");
    json_t *o = json_loads(c.out, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_integer_value(json_object_get(o, "seals")), 4);
    assert_int_equal(json_integer_value(json_object_get(o, "capacity")), 28);
    assert_int_equal(json_integer_value(json_object_get(o, "leases")), 4);
    json_decref(o);
}

/* What is advised can be used as a plan, whatever it was made from. */
static void test_advice(void **state)
{
    (void)state;
    static const char *const lists[] = {
        "v1.0.0 2024-01-01\nv1.1.0 2024-06-01\nv2.0.0 2026-01-01\n",
        "1.0\n1.1\n1.2\n2.0\n",
        "1\n2\n3\n17\n",
        "2024.03.1\n2025.12.4\n",
        "2026-01-01\n2026-01-02\n2026-02-01\n",
        "v0.0.1\n",
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        command_write("tags", lists[i], strlen(lists[i]));
        command_run(&c, NULL, "./tidemark plan --tags @tags --key fw --slots boot,kernel");
        expect(0, "\"key\": \"fw\"", "next ");
        command_write("advised.json", c.out, c.out_len);
        command_run(&c, NULL, "./tidemark plan @advised.json");
        expect(0, "valid", "");
        command_run(&c, command_path("tags"), "./tidemark plan --quiet");
        expect(0, "tidemark_plan", "");
        assert_int_equal(c.err_len, 0);
    }
    command_run(
        &c, NULL,
        "./tidemark plan --rate 100/day --window P7D --years 15 --start 2026-12-06T00:00:00Z");
    expect(0, "LMS_SHA256_M24_H20", "19.6 years");
    command_run(&c, NULL, "./tidemark plan --rate 3/week --years 1 --verifier mcuboot");
    expect(0, "LMS_SHA256_M32_H10", "");
    static const char *const bad[] = {
        "--rate 0",
        "--rate -5",
        "--rate 5/month",
        "--rate 5 --years 0",
        "--rate 5 --window P1M",
        "--rate 5 --start now",
        "--rate 5 --key a/b",
        "--rate 5 --tags -",
        "--rate 5 --exhaust 2",
        "--rate 5 --verifier nobody",
        "--rate 5 --slots a",
        "--rate 1e9/hour",
        "--tags @none",
        "--tags @rfc0.sig",
        "--tags @file.bin",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        command_runf(&c, "./tidemark plan %s", bad[i]);
        expect(2, "", "tidemark: next: ");
    }
}

/* The rest --------------------------------------------------------------------------------------
 */

static void test_help(void **state)
{
    (void)state;
    command_run(&c, NULL, "./tidemark help");
    expect(0, "Exit codes:", "");
    command_run(&c, NULL, "./tidemark help key");
    expect(0, "tidemark key new", "");
    assert_non_null(strstr(c.out, "tidemark key public"));
    command_run(&c, NULL, "./tidemark sign --help");
    expect(0, "--idempotency-key TEXT", "");
    command_run(&c, NULL, "./tidemark --version");
    expect(0, "tidemark ", "");
    command_run(&c, NULL, "./tidemark");
    expect(2, "", "a command is needed");
}

static void test_full_output(void **state)
{
    (void)state;
    static const char script[] = "exec ./tidemark help >/dev/full\n";
    command_write("full.sh", script, strlen(script));
    command_run(&c, NULL, "/bin/sh @full.sh");
    expect(9, "", "cannot write to standard output");
}

/* Verifying needs no locked memory, which many containers do not give. */
static void test_no_locked_memory(void **state)
{
    (void)state;
    static const char script[] =
        "drop=\n[ \"$(id -u)\" = 0 ] && drop='setpriv --bounding-set=-ipc_lock'\n"
        "exec $drop sh -c 'ulimit -l 0; exec ./tidemark verify \"$0.msg\" --sig \"$0.sig\" "
        "--public \"$0.pub\"' \"$1\"\n";
    command_write("unlocked.sh", script, strlen(script));
    command_run(&c, NULL, "/bin/sh @unlocked.sh @rfc0");
    expect(0, "good", "");
    assert_int_equal(c.err_len, 0);
    command_run(&c, NULL, "/bin/sh @unlocked.sh @rfc1");
    expect(0, "good", "");
}

/* The script of bash is run by bash, as if somebody had typed the words and then the tabulator. */
static void test_bash_completion(void **state)
{
    (void)state;
    if (access("/bin/bash", X_OK) != 0)
        skip();
    static const char script[] =
        "compopt() { :; }\n"
        "source <(./tidemark completion bash)\n"
        "try() { COMP_WORDS=(tidemark \"$@\"); COMP_CWORD=$#; COMPREPLY=(); _tidemark;\n"
        "        echo \"$*: ${COMPREPLY[*]}\"; }\n"
        "try ver\ntry key ''\ntry backup ch\ntry sign --fo\ntry verify --message sha2\n"
        "try completion z\ntry recover --old\ntry sign --window ''\n";
    command_write("complete.sh", script, strlen(script));
    command_run(&c, NULL, "/bin/bash @complete.sh");
    assert_string_equal(c.err, "");
    assert_string_equal(c.out, "ver: verify versions\nkey : new list show public selftest\n"
                               "backup ch: check\n"
                               "sign --fo: --force\nverify --message sha2: sha256\n"
                               "completion z: zsh\nrecover --old: --old-device-destroyed\n"
                               "sign --window : current\n");
}

static void test_other_completions(void **state)
{
    (void)state;
    command_run(&c, NULL, "./tidemark completion zsh");
    expect(0, "#compdef tidemark", "");
    assert_non_null(strstr(c.out, "--idempotency-key"));
    command_run(&c, NULL, "./tidemark completion fish");
    expect(0, "complete -c tidemark", "");
    assert_non_null(strstr(c.out, "-l idempotency-key"));
}

/* Commands of the signer host go to tidemarkd as they are. */
static void test_local(void **state)
{
    (void)state;
    static const char script[] = "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 6\n";
    command_write("daemon", script, strlen(script));
    assert_int_equal(chmod(command_path("daemon"), 0755), 0);
    assert_int_equal(setenv("TIDEMARKD", command_path("daemon"), 1), 0);
    command_run(&c, NULL, "./tidemark key new p.json --config c --json");
    assert_int_equal(c.exit, 6);
    assert_string_equal(c.out, "<key-new><p.json><--config><c><--json>");
    command_run(&c, NULL,
                "./tidemark backup export --key k --out o --passphrase-file f --through 9");
    assert_string_equal(c.out, "<backup-export><--key><k><--out><o><--passphrase-file><f>"
                               "<--through><9>");
    command_run(&c, NULL, "./tidemark backup check b --passphrase-file f --quiet");
    assert_string_equal(c.out, "<backup-check><b><--passphrase-file><f><--quiet>");
    command_run(&c, NULL,
                "./tidemark recover --from=b --old-device-destroyed me --start-window 3 --yes");
    assert_string_equal(c.out, "<recover><--from=b><--old-device-destroyed><me>"
                               "<--start-window><3><--yes>");
    command_run(&c, NULL, "./tidemark recover --yes --now");
    expect(2, "", "unknown option --now");
    assert_int_equal(setenv("TIDEMARKD", command_path("none"), 1), 0);
    command_run(&c, NULL, "./tidemark key new p.json");
    expect(2, "", "cannot be run");
    assert_int_equal(unsetenv("TIDEMARKD"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc8554),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_key_forms),
        cmocka_unit_test(test_xmss),
        cmocka_unit_test(test_xmss_plan),
        cmocka_unit_test(test_long_message),
        cmocka_unit_test(test_bad_message),
        cmocka_unit_test(test_bad_signature),
        cmocka_unit_test(test_signature_lengths),
        cmocka_unit_test(test_wrong_key),
        cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_bad_usage),
        cmocka_unit_test(test_version_plan),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_time_plan),
        cmocka_unit_test(test_message_modes),
        cmocka_unit_test(test_plan_of_another_key),
        cmocka_unit_test(test_plan_faults),
        cmocka_unit_test(test_plan_shown),
        cmocka_unit_test(test_advice),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_full_output),
        cmocka_unit_test(test_no_locked_memory),
        cmocka_unit_test(test_bash_completion),
        cmocka_unit_test(test_other_completions),
        cmocka_unit_test(test_local),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
