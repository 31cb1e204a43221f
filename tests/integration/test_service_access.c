/*
 * Access through the whole service: the real daemon, its TLS listener with files and credentials,
 * the real command with a client certificate, and what the ledger keeps of who asked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "lib/certs.h"
#include "lib/service.h"

static const char plan[] =
    "{'tidemark_plan':1,'key':'fw','profile':'sp800-208','scheme':'lms',"
    "'parameters':['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4'],"
    "'assignment':{'kind':'version','format':'major.minor','sizes':{'minor':4},'window':'major',"
    "'order':'strict'}}";

static struct clocks clocks;
static uint16_t port;

static void make(struct service *s)
{
    char tls[512];
    char identities[512];
    const char *d = lab_dir();
    certs_make(d, "ca", NULL, &(struct cert_options){.issuer = true});
    certs_make(d, "server", "ca", &(struct cert_options){.server = true});
    certs_make(d, "ci", "ca", &(struct cert_options){.uri = "spiffe://example.org/ci"});
    assert_int_equal(
        lab_shell("cd '%s' && mkdir creds && cp server.pem creds/tidemark-tls-certificate && "
                  "cp ca.pem trust.pem && echo x >artifact",
                  d),
        0);
    /* docs/examples/encrypted-key.conf */
    lab_sealed_credential("server.key", "creds", "tidemark-tls-key");
    (void)snprintf(tls, sizeof(tls), "'address':'127.0.0.1','port':%u,'trust_file':'%s/trust.pem'",
                   port, d);
    (void)snprintf(identities, sizeof(identities),
                   "'here':{'match':[{'uid':%u}],'roles':['signer','auditor']},"
                   "'router-ci':{'match':[{'spiffe':'spiffe://example.org/ci'}],"
                   "'roles':['signer'],'keys':{'fw':{'versions':{'to':'0'}}}}",
                   (unsigned)geteuid());
    service_make(s, "access", &clocks,
                 &(struct service_options){.tls = tls, .identities = identities});
}

/* A command over TLS; what it says is in the lab's folder. @return its exit status */
static int over_tls(const char *words, bool certificate)
{
    const char *d = lab_dir();
    char own[2 * LAB_PATH + 64] = "";
    if (certificate)
        (void)snprintf(own, sizeof(own), "--tls-cert '%s/ci.pem' --tls-key '%s/ci.key'", d, d);
    return lab_shell("./tidemark %s --url https://localhost:%u --tls-ca '%s/ca.pem' %s >'%s/out' "
                     "2>&1",
                     words, port, d, own, d);
}

static int sign(const char *version)
{
    char words[3 * LAB_PATH];
    (void)snprintf(words, sizeof(words),
                   "sign '%s/artifact' --key fw --version %s --out '%s/%s.sig'", lab_dir(), version,
                   lab_dir(), version);
    return over_tls(words, true);
}

static void expect_in(const char *file, const char *text)
{
    if (lab_shell("grep -q '%s' '%s/%s'", text, lab_dir(), file) != 0) {
        (void)lab_shell("cat '%s/%s' >&2", lab_dir(), file);
        fail_msg("%s does not say %s", file, text);
    }
}

static void test_access(void **state)
{
    (void)state;
    struct service s;
    char out[TOOL_OUT];
    port = lab_free_port();
    make(&s);
    assert_int_equal(service_tool(&s, out, "--check-config"), 2); /* no key and no certificate */
    assert_non_null(strstr(out, "tls.certificate_file"));
    char creds[LAB_PATH + 8];
    (void)snprintf(creds, sizeof(creds), "%s/creds", lab_dir());
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", creds, 1), 0);
    service_key(&s, plan);
    if (service_tool(&s, out, "--check-config") != 0)
        fail_msg("%s", out);
    service_start(&s);

    assert_int_equal(sign("0.1"), 0);
    expect_in("0.1.receipt", "\"requester\":\"router-ci\"");
    assert_int_equal(sign("1.0"), 8); /* only the core has the plan, and says so */
    expect_in("out", "may sign the versions (first) to 0 of fw");
    assert_int_equal(over_tls("windows --key fw", true), 8);
    expect_in("out", "lacks the role");
    assert_int_equal(over_tls("key list", false), 7);
    assert_int_equal(service_client(&s, out,
                                    "sign '%s/artifact' --key fw --version 1.0 --out "
                                    "'%s/1.0.sig'",
                                    lab_dir(), lab_dir()),
                     0);
    expect_in("1.0.receipt", "\"requester\":\"here\"");
    assert_int_equal(service_client(&s, out, "windows --key fw"), 0);

    /* Read anew by a front that has locked itself in. */
    assert_int_equal(over_tls("key list", true), 0);
    certs_make(lab_dir(), "next", NULL, &(struct cert_options){.issuer = true});
    assert_int_equal(lab_shell("cd '%s' && mv next.pem trust.pem", lab_dir()), 0);
    int64_t until = lab_now_ms() + 60000;
    while (over_tls("key list", true) == 0 && lab_now_ms() < until)
        lab_sleep_ms(200);
    assert_int_equal(over_tls("key list", true), 7);

    /* The key is in no log. */
    assert_int_not_equal(lab_shell("grep -q 'PRIVATE KEY' '%s'", s.log), 0);
    service_end(&s);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static int start_clocks(void **state)
{
    (void)state;
    clocks_start(&clocks, "clock", false);
    return 0;
}

static int stop_clocks(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start_clocks, stop_clocks);
}
