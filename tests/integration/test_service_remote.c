/*
 * Remote hashing through the whole service: the artifact never leaves its file, and what comes back
 * is verified by `tidemark verify` like any other signature. The service is killed between
 * reservation and hash, and between two hashes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "lib/service.h"

#define JSON "Content-Type: application/json"
#define ARTIFACT "gigabytes that stay where they are"
#define PLAN(key, scheme, parameters, remote, assignment)                                          \
    "{'tidemark_plan':1,'key':'" key "','profile':'rfc','scheme':'" scheme                         \
    "','parameters':[" parameters "],'message':'raw'" remote ",'assignment':" assignment "}"
#define REMOTE ",'remote_hashing':{'expires_s':3600}"
#define VERSIONS                                                                                   \
    "{'kind':'version','format':'major.minor','sizes':{'minor':16},'window':'major',"              \
    "'order':'strict'}"
#define BLOCKS "{'kind':'interval','signatures_per_window':16,'lease_size':4}"

static const char lms_plan[] =
    PLAN("fw", "lms", "'LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W4'", REMOTE, VERSIONS);
static const char xmss_plan[] = PLAN("image", "xmss", "'XMSS-SHA2_10_256'", REMOTE, BLOCKS);
static const char shake_plan[] =
    PLAN("shake", "lms", "'LMS_SHAKE_M24_H5','LMOTS_SHAKE_N24_W8'", REMOTE, BLOCKS);
static const char plain_plan[] =
    PLAN("plain", "lms", "'LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W4'", "", VERSIONS);

static const char digest_plan[] =
    "{'tidemark_plan':1,'key':'digest','profile':'rfc','scheme':'lms',"
    "'parameters':['LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W4'],'message':'sha256',"
    "'assignment':" VERSIONS "}";

static struct clocks clocks;
static struct service service;

static int start(void **state)
{
    (void)state;
    clocks_start(&clocks, "clocks", false);
    service_make(&service, "remote", &clocks, NULL);
    service_key(&service, lms_plan);
    service_key(&service, xmss_plan);
    service_key(&service, shake_plan);
    service_key(&service, plain_plan);
    service_key(&service, digest_plan);
    service_start(&service);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    service_end(&service);
    clocks_stop(&clocks);
    return 0;
}

static void write_file(const char *name, const void *data, size_t len)
{
    char path[LAB_PATH + 32];
    (void)snprintf(path, sizeof(path), "%s/%s", lab_dir(), name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* What a client keeps of its reservation. */
struct kept {
    char path[200];
    uint8_t prefix[256];
    size_t prefix_len, n;
};

static long post(struct answer *a, const char *headers, const char *path, const char *body)
{
    struct client c;
    client_open(&c, &service);
    long status = client_ask(&c, a, headers, body, strlen(body), "%s", path);
    client_close(&c);
    return status;
}

/* where: members of the body behind the digest, and a header where one is needed. */
static long reserve(struct kept *kept, const char *key, const char *where, const char *headers)
{
    char hex[HEX_SIZE(SHA256_LEN)], body[300], path[100], all[200];
    uint8_t sha256[SHA256_LEN];
    struct answer a;
    digest_buffer(DIGEST_SHA256, sha256, ARTIFACT, strlen(ARTIFACT));
    hex_encode(hex, sha256, sizeof(sha256));
    (void)snprintf(body, sizeof(body), "{\"digest\":{\"sha256\":\"%s\"},%s}", hex, where);
    (void)snprintf(path, sizeof(path), "/v1/keys/%s/reservations", key);
    (void)snprintf(all, sizeof(all), JSON "%s%s", headers != NULL ? "\n" : "",
                   headers != NULL ? headers : "");
    *kept = (struct kept){0};
    long status = post(&a, all, path, body);
    if (status == 201) {
        const char *base64 = answer_text(&a, "prefix");
        assert_true(base64_decode(kept->prefix, sizeof(kept->prefix), &kept->prefix_len, base64,
                                  strlen(base64)));
        kept->n = strcmp(answer_text(&a, "hash"), "sha256/192") == 0 ? 24 : 32;
        assert_string_equal(answer_text(&a, "hash"), kept->n == 24 ? "sha256/192" : "sha256/256");
        (void)snprintf(kept->path, sizeof(kept->path), "%s", answer_header(&a, "Location"));
        assert_string_equal(answer_text(&a, "artifact_sha256"), hex);
    }
    client_done(&a);
    return status;
}

/* The signature is written to the lab's file "sig". */
static long commit(const struct kept *kept, const char *artifact)
{
    char hex[HEX_SIZE(SHA256_LEN)], body[200];
    uint8_t bytes[1024], hash[SHA256_LEN];
    static uint8_t signature[16384];
    struct answer a;
    size_t len = kept->prefix_len;
    memcpy(bytes, kept->prefix, len);
    memcpy(bytes + len, artifact, strlen(artifact));
    digest_buffer(DIGEST_SHA256, hash, bytes, len + strlen(artifact));
    hex_encode(hex, hash, kept->n);
    (void)snprintf(body, sizeof(body), "{\"hash\":\"%s\"}", hex);
    long status = post(&a, JSON, kept->path, body);
    if (status == 200 || status == 201) {
        const char *base64 = answer_text(&a, "signature");
        assert_true(base64_decode(signature, sizeof(signature), &len, base64, strlen(base64)));
        write_file("sig", signature, len);
        assert_string_equal(answer_header(&a, "Tidemark-Replayed"), status == 200 ? "true" : "");
    }
    client_done(&a);
    return status;
}

/* With nothing but the public key. */
static void expect_verified(const char *key, const char *file, int expected)
{
    char public[LAB_PATH + 32];
    (void)snprintf(public, sizeof(public), "%s/%s.pem", lab_dir(), key);
    assert_int_equal(
        service_client(&service, NULL, "key public %s --out '%s' --force", key, public), 0);
    char out[TOOL_OUT];
    assert_int_equal(service_verify(&service, out, public, "verify '%s/%s' --sig '%s/sig'",
                                    lab_dir(), file, lab_dir()),
                     expected);
}

static void crash_and_start(void)
{
    service_crash(&service);
    service_start(&service);
}

static void the_way(const char *key, const char *where, const char *headers)
{
    struct kept kept, again;
    write_file("artifact", ARTIFACT, strlen(ARTIFACT));
    write_file("other", "other", 5);
    assert_int_equal(reserve(&kept, key, where, headers), 201);
    assert_int_equal(commit(&kept, ARTIFACT), 201);
    expect_verified(key, "artifact", 0);
    expect_verified(key, "other", 1);
    assert_int_equal(commit(&kept, ARTIFACT), 200);
    assert_int_equal(commit(&kept, "other"), 409);
    /* The other hash is refused behind a crash, too, and the same one gets the same bytes. */
    crash_and_start();
    assert_int_equal(commit(&kept, "other"), 409);
    assert_int_equal(commit(&kept, ARTIFACT), 200);
    expect_verified(key, "artifact", 0);
    assert_int_equal(reserve(&again, key, where, headers), 200); /* the signature itself */
}

static void test_lms(void **state)
{
    (void)state;
    the_way("fw", "\"version\":\"0.1\"", NULL);
}

static void test_xmss(void **state)
{
    (void)state;
    the_way("image", "\"window\":\"current\"", "Idempotency-Key: \"one\"");
}

/* Killed between reservation and hash: the index is burned, and the version with it. */
static void test_reservation_ends_with_the_service(void **state)
{
    (void)state;
    struct kept kept;
    assert_int_equal(reserve(&kept, "fw", "\"version\":\"0.2\"", NULL), 201);
    crash_and_start();
    assert_int_equal(commit(&kept, ARTIFACT), 410);
    assert_int_equal(reserve(&kept, "fw", "\"version\":\"0.2\"", NULL), 409);
    assert_int_equal(reserve(&kept, "fw", "\"version\":\"0.3\"", NULL), 201);
    assert_int_equal(commit(&kept, ARTIFACT), 201);
}

static void test_refusals(void **state)
{
    (void)state;
    struct kept kept, wrong;
    struct answer a;
    assert_int_equal(reserve(&kept, "plain", "\"version\":\"0.1\"", NULL), 422);
    assert_int_equal(reserve(&kept, "nobody", "\"version\":\"0.1\"", NULL), 404);
    assert_int_equal(reserve(&kept, "image", "\"window\":\"current\"", NULL), 400);
    assert_int_equal(reserve(&kept, "fw", "\"window\":\"current\"", NULL), 422);
    assert_int_equal(reserve(&kept, "fw", "\"version\":\"0.4\"", NULL), 201);
    wrong = kept;
    wrong.n = 8;
    assert_int_equal(commit(&wrong, ARTIFACT), 400);
    assert_int_equal(post(&a, JSON, kept.path, "{\"hash\":\"abc\"}"), 400);
    client_done(&a);
    assert_int_equal(post(&a, JSON, kept.path, "{\"hash\":\"ab\",\"index\":1}"), 400);
    client_done(&a);
    assert_int_equal(post(&a, JSON,
                          "/v1/keys/fw/reservations/" /* of nobody */
                          "00000000000000000000000000000000/signature",
                          "{\"hash\":\"abcd\"}"),
                     404);
    client_done(&a);
    assert_int_equal(commit(&kept, ARTIFACT), 201);
    expect_verified("fw", "artifact", 0);
}

/* The command: the file is read here, and what is written verifies. */
static void sign_remotely(const char *key, const char *where, const char *file, int expected)
{
    char out[TOOL_OUT];
    int code =
        service_client(&service, out, "sign --remote --key %s %s '%s/%s' --out '%s/sig' --force",
                       key, where, lab_dir(), file, lab_dir());
    if (code != expected)
        fail_msg("sign --remote: %d and not %d: %s", code, expected, out);
}

static void test_command(void **state)
{
    (void)state;
    char out[TOOL_OUT];
    write_file("artifact", ARTIFACT, strlen(ARTIFACT));
    write_file("other", "other", 5);
    sign_remotely("fw", "--version 1.0", "artifact", 0);
    expect_verified("fw", "artifact", 0);
    expect_verified("fw", "other", 1);
    sign_remotely("fw", "--version 1.0", "artifact", 0); /* stored */
    expect_verified("fw", "artifact", 0);
    sign_remotely("fw", "--version 1.0", "other", 3);
    sign_remotely("image", "--window current", "artifact", 0);
    expect_verified("image", "artifact", 0);
    sign_remotely("shake", "--window current", "artifact", 0);
    expect_verified("shake", "artifact", 0);
    sign_remotely("plain", "--version 1.0", "artifact", 3);
    /* What waits for its hash has a column, and only then. */
    struct kept kept;
    assert_int_equal(service_client(&service, out, "windows --key fw"), 0);
    assert_null(strstr(out, "reserved"));
    assert_int_equal(reserve(&kept, "fw", "\"version\":\"1.1\"", NULL), 201);
    assert_int_equal(service_client(&service, out, "windows --key fw"), 0);
    assert_non_null(strstr(out, "reserved"));
    assert_int_equal(commit(&kept, ARTIFACT), 201);
    /* The digest is known; one of another file is found out, and the right one goes on. */
    char known[200], hex[HEX_SIZE(SHA256_LEN)];
    uint8_t sha256[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, sha256, ARTIFACT, strlen(ARTIFACT));
    hex_encode(hex, sha256, sizeof(sha256));
    (void)snprintf(known, sizeof(known), "--version 1.2 --sha256 %s", hex);
    sign_remotely("fw", known, "other", 2);
    sign_remotely("fw", known, "artifact", 0);
    expect_verified("fw", "artifact", 0);
    sign_remotely("fw", "--version 1.3 --sha256 12", "artifact", 2);
    /* Where the digest is what is signed, the file is elsewhere. */
    assert_int_equal(service_client(&service, out,
                                    "sign --key digest --version 1.0 --sha256 %s '%s/elsewhere'",
                                    hex, lab_dir()),
                     0);
    assert_int_equal(
        service_client(&service, NULL, "key public digest --out '%s/digest.pem'", lab_dir()), 0);
    char public[LAB_PATH + 32];
    (void)snprintf(public, sizeof(public), "%s/digest.pem", lab_dir());
    assert_int_equal(
        service_verify(&service, out, public,
                       "verify '%s/artifact' --sig '%s/elsewhere.sig' --message sha256", lab_dir(),
                       lab_dir()),
        0);
    assert_int_equal(service_client(&service, out,
                                    "sign --remote --preview --key fw --version 1.1 '%s/artifact'",
                                    lab_dir()),
                     2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lms),
        cmocka_unit_test(test_xmss),
        cmocka_unit_test(test_reservation_ends_with_the_service),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_command),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start, stop);
}
