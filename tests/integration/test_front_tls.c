/*
 * The front's TLS listener with real sockets: who gets through the handshake and who does not, who
 * is recognised by what, and certificates, issuers and revocation lists that change while it runs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/certs.h"
#include "lib/command.h"
#include "lib/front_rig.h"

#define WHO "GET /v1/keys HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define LIVE "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define SIGN                                                                                       \
    "POST /v1/keys/" RIG_VERSION_KEY "/signatures?version=4.2.1&slot=kernel HTTP/1.1\r\n"          \
    "Host: localhost\r\nContent-Length: 3\r\n\r\nabc"
#define PATIENCE_MS 60000

static struct rig rig;
static char dir[32];
static struct access table;

/* Identities ------------------------------------------------------------------------------------
 */

static void add(const char *name, enum access_kind kind, const char *text)
{
    size_t at = table.identity_count++;
    table.identities[at] = (struct access_identity){
        .name = "", .roles = ROLE_SIGNER | ROLE_AUDITOR, .every_key = true};
    (void)snprintf(table.identities[at].name, sizeof(table.identities[at].name), "%s", name);
    struct access_selector *s = &table.selectors[table.selector_count++];
    *s = (struct access_selector){.identity = (uint32_t)at, .kind = kind};
    (void)snprintf(s->text, sizeof(s->text), "%s", text);
}

static void make_table(void)
{
    char fingerprint[65];
    table = (struct access){0};
    certs_fingerprint(dir, "finger", fingerprint);
    add("by-finger", ACCESS_FINGERPRINT, fingerprint);
    add("by-spiffe", ACCESS_SPIFFE, "spiffe://example.org/ci/fw");
    add("by-dns", ACCESS_DNS, "ci.example.org");
    add("by-uri", ACCESS_URI, "https://example.org/ci");
    add("by-email", ACCESS_EMAIL, "ci@example.org");
    /* For the rig itself, which asks over the unix socket. */
    table.identities[table.identity_count] =
        (struct access_identity){.name = RIG_LOCAL, .roles = ROLES_ALL, .every_key = true};
    table.selectors[table.selector_count++] = (struct access_selector){
        .identity = (uint32_t)table.identity_count++, .kind = ACCESS_UID, .number = geteuid()};
}

static void make_certificates(void)
{
    certs_make(dir, "ca", NULL, &(struct cert_options){.issuer = true});
    certs_make(dir, "other-ca", NULL, &(struct cert_options){.issuer = true});
    certs_make(dir, "server", "ca", &(struct cert_options){.server = true});
    certs_make(dir, "finger", "ca", NULL);
    certs_make(dir, "spiffe", "ca", &(struct cert_options){.uri = "spiffe://example.org/ci/fw"});
    certs_make(dir, "dns", "ca", &(struct cert_options){.dns = "ci.example.org"});
}

/* One file is the name of what is in use; files are replaced by renaming, as tools do it. */
static void put(const char *name, const char *suffix, const char *as)
{
    char command[320];
    (void)snprintf(command, sizeof(command),
                   "cd '%s' && cp -p '%.40s%s' '%.40s.new' && mv '%.40s.new' '%.40s'", dir, name,
                   suffix, as, as, as);
    assert_int_equal(system(command), 0);
}

static void path(char to[TLS_PATH_MAX], const char *name)
{
    (void)snprintf(to, TLS_PATH_MAX, "%s/%s", dir, name);
}

static void start_front(void)
{
    struct front_config config = rig_config();
    make_table();
    put("server", ".pem", "use-cert");
    put("server", ".key", "use-key");
    put("ca", ".pem", "use-trust");
    certs_revoke(dir, "empty", "ca", NULL, 3600);
    put("empty", ".crl", "use-crl");
    config.access = &table;
    path(config.tls.certificate, "use-cert");
    path(config.tls.key, "use-key");
    path(config.tls.trust, "use-trust");
    path(config.tls.crl, "use-crl");
    config.settings.header_deadline_s = 30;
    config.settings.body_deadline_s = 60;
    rig_start(&rig, config);
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/tidemark-tls-XXXXXX");
    assert_non_null(mkdtemp(dir));
    make_certificates();
    start_front();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    rig_stop(&rig);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static int ask_as(const char *name, const char *request)
{
    struct certs_client c;
    int status = 0;
    if (certs_connect(&c, rig.tls_port, dir, "ca", name, CERTS_TLS13))
        status = certs_ask(&c, request, NULL, 0);
    certs_close(&c);
    return status;
}

/* Files are looked at every two seconds, and when the supervisor says so. */
static void wait_for(const char *name, int status)
{
    int last = -1;
    for (int ms = 0; ms < PATIENCE_MS; ms += 100) {
        last = ask_as(name, WHO);
        if (last == status)
            return;
        (void)usleep(100 * 1000);
    }
    fail_msg("%s: %d, not %d", name, last, status);
}

/* Long enough for a reload; where it is not, the test sees less, and does not fail. */
static void reload(void)
{
    rig_reload(&rig);
    (void)usleep(200 * 1000);
}

/* Who gets in -----------------------------------------------------------------------------------
 */

static void test_good(void **state)
{
    (void)state;
    char answer[512];
    struct certs_client c;
    assert_true(certs_connect(&c, rig.tls_port, dir, "ca", "finger", CERTS_TLS13));
    assert_int_equal(gnutls_protocol_get_version(c.session), GNUTLS_TLS1_3);
    assert_int_equal(certs_ask(&c, WHO, answer, sizeof(answer)), 200);
    assert_int_equal(certs_ask(&c, SIGN, NULL, 0), 201); /* the same connection */
    assert_string_equal(rig_last(&rig).request.requester, "by-finger");
    certs_close(&c);
}

static void expect_name(const char *certificate, const char *name)
{
    assert_int_equal(ask_as(certificate, SIGN), 201);
    assert_string_equal(rig_last(&rig).request.requester, name);
}

static void test_names(void **state)
{
    (void)state;
    certs_make(dir, "uri", "ca", &(struct cert_options){.uri = "https://example.org/ci"});
    certs_make(dir, "email", "ca", &(struct cert_options){.email = "ci@example.org"});
    certs_make(dir, "any", "ca",
               &(struct cert_options){.dns = "CI.example.org", .any_purpose = true});
    certs_make(dir, "rsa", "ca", &(struct cert_options){.dns = "ci.example.org", .rsa_bits = 2048});
    expect_name("rsa", "by-dns");
    expect_name("spiffe", "by-spiffe");
    expect_name("dns", "by-dns");
    expect_name("uri", "by-uri");
    expect_name("email", "by-email");
    expect_name("any", "by-dns");
}

/* Good certificates, that belong to nobody of the configuration. */
static void test_strangers(void **state)
{
    (void)state;
    certs_make(dir, "fingre", "ca", NULL); /* as good as "finger", but not it */
    certs_make(dir, "near", "ca", &(struct cert_options){.uri = "spiffe://example.org/ci/fw2"});
    certs_make(dir, "two", "ca",
               &(struct cert_options){.uri = "spiffe://example.org/ci/fw",
                                      .uri2 = "https://example.org/x"});
    certs_make(dir, "both", "ca",
               &(struct cert_options){.dns = "ci.example.org", .email = "ci@example.org"});
    static const char *const names[] = {"fingre", "near", "two", "both"};
    uint32_t before = rig_count(&rig, REQUEST_SIGN);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(ask_as(names[i], SIGN), 401);
        assert_int_equal(ask_as(names[i], LIVE), 200); /* what is public */
    }
    assert_int_equal(rig_count(&rig, REQUEST_SIGN), before);
}

/* No request of these is ever heard, not even for what is public. */
static void test_refused(void **state)
{
    (void)state;
    certs_make(dir, "late", "ca", &(struct cert_options){.from_s = -7200, .to_s = -60});
    certs_make(dir, "early", "ca", &(struct cert_options){.from_s = 7200, .to_s = 86400});
    certs_make(dir, "for-servers", "ca", &(struct cert_options){.server = true});
    certs_make(dir, "foreign", "other-ca", &(struct cert_options){.dns = "ci.example.org"});
    certs_make(dir, "alone", NULL, &(struct cert_options){.dns = "ci.example.org"});
    certs_make(dir, "by-leaf", "finger", &(struct cert_options){.dns = "ci.example.org"});
    certs_make(dir, "weak", "ca", &(struct cert_options){.rsa_bits = 1024});
    static const char *const names[] = {NULL,      "late",  "early",   "for-servers",
                                        "foreign", "alone", "by-leaf", "weak"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (ask_as(names[i], LIVE) != 0)
            fail_msg("%s was let in", names[i] != NULL ? names[i] : "no certificate");
    }
    assert_int_equal(ask_as("finger", LIVE), 200);
}

static void test_old_versions(void **state)
{
    (void)state;
    static const char *const old[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.2",
                                      "NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0"};
    for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++) {
        struct certs_client c;
        assert_false(certs_connect(&c, rig.tls_port, dir, "ca", "finger", old[i]));
        certs_close(&c);
    }
}

/* HTTP without TLS, and bytes that are nothing, on the TLS port; TLS on the port without. */
static void test_garbage(void **state)
{
    (void)state;
    struct rig plain = rig;
    uint8_t bytes[600];
    plain.port = rig.tls_port;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    int fd = client_tcp(&plain);
    assert_true(client_send(fd, LIVE, strlen(LIVE)));
    assert_true(client_ends(fd, PATIENCE_MS));
    (void)close(fd);
    fd = client_tcp(&plain);
    (void)client_send(fd, bytes, sizeof(bytes));
    assert_true(client_ends(fd, PATIENCE_MS));
    (void)close(fd);
    struct certs_client c;
    assert_false(certs_connect(&c, rig.port, dir, "ca", "finger", CERTS_TLS13));
    certs_close(&c);
    assert_int_equal(ask_as("finger", LIVE), 200);
}

/* What changes while it runs --------------------------------------------------------------------
 */

/* Revoked: no new connection, and the open one is nobody's from its next request on. */
static void test_revoked(void **state)
{
    (void)state;
    struct certs_client c;
    assert_true(certs_connect(&c, rig.tls_port, dir, "ca", "spiffe", CERTS_TLS13));
    assert_int_equal(certs_ask(&c, WHO, NULL, 0), 200);
    certs_revoke(dir, "revoked", "ca", "spiffe", 3600);
    put("revoked", ".crl", "use-crl");
    wait_for("spiffe", 0);
    assert_int_equal(certs_ask(&c, WHO, NULL, 0), 401);
    assert_int_equal(ask_as("dns", WHO), 200);
    certs_close(&c);

    /* Lists that cannot be used: the old one stays, and with it what it revokes. */
    certs_revoke(dir, "foreign", "other-ca", "dns", 3600);
    put("foreign", ".crl", "use-crl");
    reload();
    assert_int_equal(ask_as("spiffe", WHO), 0);
    certs_revoke(dir, "stale", "ca", NULL, -60);
    put("stale", ".crl", "use-crl");
    reload();
    assert_int_equal(ask_as("spiffe", WHO), 0);
    put("empty", ".crl", "use-crl");
    reload();
    wait_for("spiffe", 200);
}

/* Another issuer is trusted from now on, the old one no more. */
static void test_issuer(void **state)
{
    (void)state;
    struct certs_client c;
    certs_make(dir, "next-ca", NULL, &(struct cert_options){.issuer = true});
    certs_make(dir, "next", "next-ca", &(struct cert_options){.dns = "ci.example.org"});
    certs_revoke(dir, "next", "next-ca", NULL, 3600);
    assert_int_equal(ask_as("next", WHO), 0);
    assert_true(certs_connect(&c, rig.tls_port, dir, "ca", "finger", CERTS_TLS13));
    put("next", ".crl", "use-crl");
    put("next-ca", ".pem", "use-trust");
    reload();
    wait_for("next", 200);
    assert_int_equal(certs_ask(&c, WHO, NULL, 0), 401);
    assert_int_equal(ask_as("finger", WHO), 0);
    certs_close(&c);
    put("ca", ".pem", "use-trust");
    put("empty", ".crl", "use-crl");
    reload();
    wait_for("finger", 200);
}

/* The service's own certificate: a request that is under way is not disturbed, one that cannot be
 * used changes nothing, and a good one is used for whoever comes next. */
static void test_own_certificate(void **state)
{
    (void)state;
    struct certs_client c;
    certs_make(dir, "second-ca", NULL, &(struct cert_options){.issuer = true});
    certs_make(dir, "second", "second-ca", &(struct cert_options){.server = true});
    assert_true(certs_connect(&c, rig.tls_port, dir, "ca", "finger", CERTS_TLS13));
    assert_int_equal(certs_ask(&c, WHO, NULL, 0), 200);

    put("second", ".pem", "use-cert"); /* without its key */
    reload();
    assert_int_equal(ask_as("finger", WHO), 200);
    put("second", ".key", "use-key");
    reload();
    struct certs_client next = {0};
    bool there = false;
    for (int ms = 0; ms < PATIENCE_MS && !there; ms += 100) {
        there = certs_connect(&next, rig.tls_port, dir, "second-ca", "finger", CERTS_TLS13);
        there = there && certs_ask(&next, WHO, NULL, 0) == 200;
        certs_close(&next);
        (void)usleep(100 * 1000);
    }
    assert_true(there);
    assert_int_equal(certs_ask(&c, SIGN, NULL, 0), 201);
    certs_close(&c);
    put("server", ".pem", "use-cert");
    put("server", ".key", "use-key");
    reload();
    wait_for("finger", 200);
}

/* A key that others may read is not used; nor are files that are not there. Nobody is let in until
 * they can be used, and everything else goes on. */
static void test_unusable(void **state)
{
    (void)state;
    char key[TLS_PATH_MAX];
    struct tls_files files = {0};
    struct err err = {0};
    path(files.certificate, "use-cert");
    path(files.key, "use-key");
    path(files.trust, "use-trust");
    assert_int_equal(tls_check(&files, &err), RC_OK);
    path(key, "use-key");
    assert_int_equal(chmod(key, 0644), 0);
    assert_int_equal(tls_check(&files, &err), RC_REFUSED_CONFIG);
    assert_non_null(strstr(err_text(&err), "chmod 400"));
    static const struct {
        const char *certificate, *key, *trust, *text;
    } cases[] = {{"finger.pem", "finger.key", "ca.pem", "not meant for servers"},
                 {"server.pem", "finger.key", "ca.pem", "certificate and key"},
                 {"server.pem", "server.key", "finger.pem", "no issuer's"},
                 {"server.pem", "server.key", "server.key", "no certificates"},
                 {"server.pem", "nothing", "ca.pem", "No such file"},
                 {"server.key", "server.key", "ca.pem", "no certificates"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        err = (struct err){0};
        path(files.certificate, cases[i].certificate);
        path(files.key, cases[i].key);
        path(files.trust, cases[i].trust);
        assert_int_equal(tls_check(&files, &err), RC_REFUSED_CONFIG);
        if (strstr(err_text(&err), cases[i].text) == NULL)
            fail_msg("%zu: %s", i, err_text(&err));
    }

    rig_stop(&rig);
    struct front_config config = rig_config();
    config.access = &table;
    path(config.tls.certificate, "use-cert");
    path(config.tls.key, "use-key");
    path(config.tls.trust, "use-trust");
    rig_start(&rig, config); /* which asks over the unix socket */
    assert_int_equal(chmod(key, 0400), 0);
    put("server", ".key", "use-key");
    wait_for("finger", 200);
}

/* The command -----------------------------------------------------------------------------------
 */

static struct command command;

/* `tidemark key list` with an issuer and, unless name is NULL, a certificate. @return exit code */
static int list_keys(const char *host, const char *ca, const char *name)
{
    char own[256] = "";
    if (name != NULL)
        (void)snprintf(own, sizeof(own), " --tls-cert %s/%s.pem --tls-key %s/%s.key", dir, name,
                       dir, name);
    command_runf(&command, "./tidemark key list --url https://%s:%u --tls-ca %s/%s.pem%s", host,
                 rig.tls_port, dir, ca, own);
    return command.exit;
}

static void test_command(void **state)
{
    (void)state;
    certs_make(dir, "unknown", "ca", NULL);
    certs_make(dir, "foreign", "other-ca", NULL);
    assert_int_equal(list_keys("localhost", "ca", "finger"), 0);
    assert_non_null(strstr(command.out, RIG_VERSION_KEY));
    assert_int_equal(list_keys("localhost", "ca", "unknown"), 8);
    assert_non_null(strstr(command.err, "no identity"));
    assert_int_equal(list_keys("localhost", "ca", "foreign"), 7);
    assert_int_equal(list_keys("localhost", "ca", NULL), 7);
    assert_int_equal(list_keys("localhost", "other-ca", "finger"), 7);
    assert_int_equal(list_keys("127.0.0.1", "ca", "finger"), 7); /* not the certificate's name */
    assert_int_equal(list_keys("localhost", "missing", "finger"), 2);
    command_runf(&command,
                 "./tidemark key list --url https://localhost:%u --tls-cert %s/finger.pem",
                 rig.tls_port, dir);
    assert_int_equal(command.exit, 2);
    command_runf(&command, "./tidemark key list --url http://localhost:%u --tls-ca %s/ca.pem",
                 rig.port, dir);
    assert_int_equal(command.exit, 2);

    char file[TLS_PATH_MAX];
    path(file, "finger.pem");
    assert_int_equal(setenv("TIDEMARK_TLS_CERT", file, 1), 0);
    path(file, "finger.key");
    assert_int_equal(setenv("TIDEMARK_TLS_KEY", file, 1), 0);
    path(file, "ca.pem");
    assert_int_equal(setenv("TIDEMARK_TLS_CA", file, 1), 0);
    command_runf(&command, "./tidemark key list --url https://localhost:%u", rig.tls_port);
    assert_int_equal(command.exit, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_old_versions),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_revoked),
        cmocka_unit_test(test_issuer),
        cmocka_unit_test(test_own_certificate),
        cmocka_unit_test(test_command),
        cmocka_unit_test(test_unusable),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
