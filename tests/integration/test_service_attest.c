/*
 * Attestations through the real service: asked for by the command, verified by the command with
 * nothing but files, checked with OpenSSL, in the receipts that carry them, and missing where the
 * TPM gives none, which costs no signature.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "lib/outsider.h"
#include "lib/service.h"
#include "tpm/attest.h"

#define NONCE "000102030405060708090a0b0c0d0e0f"
#define OTHER_NONCE "000102030405060708090a0b0c0d0e0e"
/* Longer than any test takes, even one that runs over midnight. */
#define PERIOD "'period_s':31622400"

static const char plan[] =
    "{'tidemark_plan':1,'key':'fw','profile':'sp800-208','scheme':'lms',"
    "'parameters':['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4'],"
    "'assignment':{'kind':'version','format':'major.minor','sizes':{'minor':4},'window':'major',"
    "'order':'strict'}}";

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

static char *read_whole(const char *name)
{
    static char text[64 * 1024];
    char path[LAB_PATH + 32];
    (void)snprintf(path, sizeof(path), "%s/%s", lab_dir(), name);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t len = fread(text, 1, sizeof(text) - 1, f);
    text[len] = '\0';
    assert_int_equal(fclose(f), 0);
    return text;
}

/* `tidemark attest verify` in the lab's folder. @return its exit status; what it said is in out */
static int verify(const char *file, const char *options)
{
    return lab_shell("cd '%s' && '%s/tidemark' attest verify %s %s >out 2>&1", lab_dir(),
                     getenv("ATTEST_BUILD"), file, options);
}

static void expect_said(const char *words)
{
    if (strstr(read_whole("out"), words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", read_whole("out"), words);
}

static void sign(const struct service *s, const char *version)
{
    const char *d = lab_dir();
    assert_int_equal(
        service_client(s, NULL,
                       "sign '%s/artifact' --key fw --version %s --out '%s/%s.sig' --force", d,
                       version, d, version),
        0);
}

static void get(const struct service *s, const char *name)
{
    assert_int_equal(service_client(s, NULL,
                                    "attest get --key fw --nonce " NONCE " --out '%s/%s' --force",
                                    lab_dir(), name),
                     0);
}

static const struct service_options usual = {.attest = PERIOD ",'per_minute':600"};

static void start(struct service *s, const char *name)
{
    service_make(s, name, &clocks, &usual);
    service_key(s, plan);
    service_start(s);
}

/* Get and verify
 * ---------------------------------------------------------------------------------*/

static void test_get_and_verify(void **state)
{
    struct service s, other;
    (void)state;
    start(&s, "attest");
    get(&s, "first");
    assert_int_equal(verify("first", "--nonce " NONCE " --save-ak ak.pem"), 0);
    expect_said("GOOD");
    expect_said("no window was opened yet");
    expect_said("anybody could have made it");
    assert_int_equal(verify("first", "--nonce " NONCE " --ak ak.pem --json"), 0);
    expect_said("\"ak_compared\": true");
    expect_said("\"epoch\": 0");

    sign(&s, "1.0");
    sign(&s, "2.1");
    get(&s, "later");
    assert_int_equal(verify("later", "--nonce " NONCE " --earlier first --json"), 0);
    expect_said("\"floor\": 2");
    expect_said("\"epoch\": 2");
    assert_int_equal(verify("first", "--nonce " NONCE " --earlier later"), 1);
    expect_said("W went back");

    /* What is refused, each with its reason. */
    assert_int_equal(verify("later", "--nonce " OTHER_NONCE), 1);
    expect_said("the nonce is another one");
    assert_int_equal(verify("later", ""), 2);
    expect_said("--nonce");
    assert_int_equal(verify("later", "--nonce any"), 0);
    assert_int_equal(verify("later", "--nonce 12"), 2);
    assert_int_equal(verify("missing", "--nonce any"), 2);
    assert_int_equal(verify("artifact", "--nonce any"), 1);
    assert_int_equal(lab_shell("cd '%s' && head -c 900 later >short", lab_dir()), 0);
    assert_int_equal(verify("short", "--nonce any"), 1);
    expect_said("BAD");

    start(&other, "other");
    get(&other, "foreign");
    assert_int_equal(verify("foreign", "--nonce " NONCE), 0);
    assert_int_equal(verify("foreign", "--nonce " NONCE " --ak ak.pem"), 1);
    expect_said("another TPM");
    assert_int_equal(verify("foreign", "--nonce " NONCE " --earlier first"), 1);
    expect_said("another TPM");
    service_end(&other);
    service_end(&s);
}

/* One signature checked by somebody else's code. */
static void test_openssl(void **state)
{
    struct service s;
    (void)state;
    start(&s, "openssl");
    get(&s, "doc");
    assert_int_equal(verify("doc", "--nonce " NONCE " --save-ak key.pem --force"), 0);
    assert_int_equal(
        lab_shell("cd '%s' && for part in w l a time; do"
                  " jq -r .evidence.$part.attested doc | base64 -d >bytes &&"
                  " jq -r .evidence.$part.signature doc | base64 -d >signature &&"
                  " openssl dgst -sha256 -verify key.pem -signature signature bytes >/dev/null &&"
                  /* what was signed has the hash of "bound" in it */
                  " jq -cjS .bound doc | openssl dgst -sha256 -binary >digest &&"
                  " python3 -c \"import sys; sys.exit(open('digest','rb').read() not in"
                  " open('bytes','rb').read())\" || exit 1; done",
                  lab_dir()),
        0);
    service_end(&s);
}

/* Receipts
 * ---------------------------------------------------------------------------------------*/

static void test_receipts(void **state)
{
    struct service s;
    struct answer a;
    (void)state;
    start(&s, "receipts");
    get(&s, "made");
    sign(&s, "1.0");
    sign(&s, "1.1");
    assert_int_equal(verify("1.0.receipt", "--earlier made"), 0);
    expect_said("receipt     of index 4");
    expect_said("window 1 was opened");
    assert_int_equal(verify("1.1.receipt", ""), 1);
    expect_said("carries no attestation");
    assert_int_equal(verify("1.0.receipt", "--nonce " NONCE), 2);

    /* Without the attestation it is the entry of the ledger, whose hash the TPM has signed. */
    assert_int_equal(lab_shell("cd '%s' && jq -cjS 'del(.attestation)' 1.0.receipt >entry &&"
                               " { printf '\\000'; cat entry; } | openssl dgst -sha256 -r |"
                               " cut -c 1-64 >hash && jq -r .attestation.bound.head 1.0.receipt |"
                               " cmp - hash",
                               lab_dir()),
                     0);
    assert_int_equal(lab_shell("cd '%s' && sed 's/\"artifact_size\":[0-9]*/\"artifact_size\":9/' "
                               "1.0.receipt >changed",
                               lab_dir()),
                     0);
    assert_int_equal(verify("changed", ""), 1);
    expect_said("a byte of this one was changed");

    /* It stays so after a restart, and the period does not begin anew. */
    service_stop(&s);
    service_start(&s);
    sign(&s, "1.2");
    assert_int_equal(verify("1.2.receipt", ""), 1);
    assert_int_equal(service_client(&s, NULL,
                                    "sign '%s/artifact' --key fw --version 1.0 --out "
                                    "'%s/again.sig'",
                                    lab_dir(), lab_dir()),
                     0);
    assert_int_equal(lab_shell("cd '%s' && cmp again.receipt 1.0.receipt", lab_dir()), 0);
    service_stop(&s);
    struct ledger *ledger = service_ledger(&s);
    char *document = NULL;
    struct err err = {0};
    uint64_t found = 0;
    for (uint64_t seq = 1; seq <= ledger_size(ledger); seq++) {
        if (ledger_attestation_of(ledger, 1, seq, &document, &err) == RC_OK)
            found++;
        free(document);
    }
    assert_int_equal(found, 1);
    ledger_close(&ledger);

    const struct service_options off = {.attest = "'period_s':0"};
    service_configure(&s, &off);
    service_start(&s);
    sign(&s, "2.0");
    assert_int_equal(verify("2.0.receipt", ""), 1);
    (void)service_get(&s, &a, "/v1/keys/fw/attestation?nonce=" NONCE);
    assert_int_equal(a.status, 200);
    client_done(&a);
    service_end(&s);
}

/* HTTP
 * -------------------------------------------------------------------------------------------*/

static void test_http(void **state)
{
    static const char *const bad[] = {"",
                                      "?nonce=",
                                      "?nonce=00010203040506",
                                      "?nonce=0",
                                      ("?nonce=" NONCE "0"),
                                      ("?nonce=" NONCE "zz"),
                                      ("?other=" NONCE)};
    const struct service_options slow = {.attest = PERIOD ",'per_minute':1"};
    char long_nonce[2 * 65 + 1];
    struct service s;
    struct answer a;
    (void)state;
    start(&s, "http");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)service_get(&s, &a, "/v1/keys/fw/attestation%s", bad[i]);
        expect_problem(&a, 400, "bad-request");
        client_done(&a);
    }
    memset(long_nonce, 'a', sizeof(long_nonce) - 1);
    long_nonce[sizeof(long_nonce) - 1] = '\0';
    (void)service_get(&s, &a, "/v1/keys/fw/attestation?nonce=%s", long_nonce);
    expect_problem(&a, 400, "bad-request");
    client_done(&a);
    (void)service_get(&s, &a, "/v1/keys/fw/attestation?nonce=%s", long_nonce + 2);
    assert_int_equal(a.status, 200);
    assert_int_equal(answer_number(&a, "tidemark_attestation"), 1);
    assert_string_equal(answer_text(&a, "bound.nonce"), long_nonce + 2);
    client_done(&a);
    (void)service_get(&s, &a, "/v1/keys/none/attestation?nonce=" NONCE);
    expect_problem(&a, 404, "not-found");
    client_done(&a);
    service_stop(&s);

    /* Two at once, then one a minute; signatures do not mind. */
    service_configure(&s, &slow);
    service_start(&s);
    for (int i = 0; i < 2; i++) {
        (void)service_get(&s, &a, "/v1/keys/fw/attestation?nonce=" NONCE);
        assert_int_equal(a.status, 200);
        client_done(&a);
    }
    (void)service_get(&s, &a, "/v1/keys/fw/attestation?nonce=" NONCE);
    expect_problem(&a, 429, "rate-limited");
    assert_true(atoi(answer_header(&a, "Retry-After")) >= 1); /* NOLINT(cert-err34-c) */
    client_done(&a);
    assert_int_equal(service_client(&s, NULL, "attest get --key fw"), 4);
    sign(&s, "3.0");
    service_end(&s);
}

/* Without
 * ----------------------------------------------------------------------------------------*/

/* A TPM whose endorsement hierarchy is not ours: keys are made, signatures too, attestations not,
 * until an operation brings the authorisation; the service itself never needs it. */
static void test_endorsement(void **state)
{
    static const uint8_t auth[] = "endorse";
    struct service s;
    struct answer a;
    char file[LAB_PATH + 16], tpm[LAB_PATH + 64];
    (void)state;
    service_make(&s, "endorsed", &clocks, &usual);
    assert_true(outsider_endorse(s.tpm.tcti, auth, sizeof(auth) - 1));
    service_key(&s, plan);
    service_start(&s);
    sign(&s, "7.0");
    assert_int_equal(verify("7.0.receipt", ""), 1);
    expect_said("carries no attestation");
    (void)service_get(&s, &a, "/v1/keys/fw/attestation?nonce=" NONCE);
    expect_problem(&a, 409, "not-attested");
    client_done(&a);
    assert_int_equal(service_client(&s, NULL, "attest get --key fw"), 6);
    service_stop(&s);

    (void)snprintf(file, sizeof(file), "%s/endorsement", lab_dir());
    (void)snprintf(tpm, sizeof(tpm), "'endorsement_auth_file':'%s'", file);
    write_file("endorsement", "endorse\n");
    assert_int_equal(chmod(file, 0400), 0);
    const struct service_options given = {.attest = PERIOD, .tpm = tpm};
    service_configure(&s, &given);
    write_file("pass", "a long passphrase\n");
    assert_int_equal(service_tool(&s, NULL,
                                  "backup export --key fw --out '%s/backup' "
                                  "--passphrase-file '%s/pass'",
                                  lab_dir(), lab_dir()),
                     0);
    service_configure(&s, &usual);
    service_start(&s);
    sign(&s, "8.0");
    assert_int_equal(verify("8.0.receipt", ""), 0);
    assert_non_null(strstr(read_whole("8.0.receipt"), "\"evidence\":{\"a\""));
    assert_null(strstr(read_whole("8.0.receipt"), "\"time\":")); /* GetTime would need it */
    service_end(&s);
}

/* The AK is taken away under a running service: signatures go on, the next start makes it again. */
static void test_ak_evicted(void **state)
{
    struct service s;
    struct answer a;
    (void)state;
    start(&s, "evicted");
    get(&s, "before");
    assert_true(outsider_evict(s.tpm.tcti, tpm_ak_handle(TPM_SRK_DEFAULT)));
    (void)service_get(&s, &a, "/v1/keys/fw/attestation?nonce=" NONCE);
    expect_problem(&a, 409, "not-attested");
    client_done(&a);
    sign(&s, "9.0");
    service_wait_state(&s, "Operational");
    service_stop(&s);
    service_start(&s);
    get(&s, "after");
    assert_int_equal(verify("after", "--nonce " NONCE " --earlier before"), 0);
    service_end(&s);
}

static int begin(void **state)
{
    char here[LAB_PATH * 4];
    (void)state;
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(setenv("ATTEST_BUILD", here, 1), 0);
    write_file("artifact", "firmware");
    clocks_start(&clocks, "attest", false);
    return 0;
}

static int end(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_and_verify), cmocka_unit_test(test_openssl),
        cmocka_unit_test(test_receipts),       cmocka_unit_test(test_http),
        cmocka_unit_test(test_endorsement),    cmocka_unit_test(test_ak_evicted),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, begin, end);
}
