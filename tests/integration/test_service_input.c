/*
 * What comes from outside and is wrong, and what is taken away: requests, plans, configuration,
 * state directory, ledger and node file, disk space, TPM, chronyd. Each has its own clear error,
 * changes nothing that it should not, and the service goes on when the cause is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/text.h"
#include "lib/evidence.h"

#define BODY_MAX 4096
#define NOBODY 65534
#define NODES_HEADER 4096 /* src/hbs/nodes.h */
#define M 24
#define LEAVES 1024

#define LMS "'scheme':'lms','parameters':['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4']"
#define PLAN(key, assignment)                                                                      \
    "{'tidemark_plan':1,'key':'" key "','profile':'sp800-208'," LMS ",'assignment':" assignment "}"
#define FW                                                                                         \
    PLAN("fw", "{'kind':'version','format':'major.minor.patch','sizes':{'minor':4,'patch':16},"    \
               "'slots':['boot','kernel'],'window':'minor'}")
#define BUILDS PLAN("builds", "{'kind':'interval','signatures_per_window':32,'lease_size':4}")
#define NIGHTLY                                                                                    \
    PLAN("nightly", "{'kind':'time','start':'2020-01-01T00:00:00Z','window':'P3650D',"             \
                    "'signatures_per_window':64,'lease_size':4}")

static struct clocks clocks;

static void make(struct service *s, const char *name)
{
    static const struct service_options options = {.http = "'body_max':4096,'body_deadline_s':5"};
    service_make(s, name, &clocks, &options);
    service_key(s, FW);
    service_key(s, BUILDS);
    service_key(s, NIGHTLY);
}

static int start_clocks(void **state)
{
    (void)state;
    clocks_start(&clocks, "input", false);
    return 0;
}

static int stop_clocks(void **state)
{
    (void)state;
    clocks_stop(&clocks);
    return 0;
}

/* Everything that counts about a key, in one text; with the ledger's totals. */
static void key_state(const struct service *s, const char *key, char out[4096])
{
    struct answer a;
    assert_int_equal(service_get(s, &a, "/v1/keys/%s", key), 200);
    assert_true(a.len < 4096);
    memcpy(out, a.body, a.len + 1);
    client_done(&a);
}

static void wait_version(const struct service *s, struct evidence *e, const char *version)
{
    char request[64];
    for (int64_t until = lab_now_ms() + WAIT_MS;; lab_sleep_ms(100)) {
        struct answer a;
        long status = sign_version(s, &a, "fw", version, "kernel", version);
        (void)snprintf(request, sizeof(request), "%s kernel", version);
        if (status == 200 || status == 201) {
            assert_true(evidence_take(e, "fw", request, version, &a));
            client_done(&a);
            return;
        }
        if (status != 503 || lab_now_ms() > until)
            fail_msg("%s: %ld %s", version, status, a.body != NULL ? a.body : "");
        client_done(&a);
    }
}

static void check_evidence(const struct service *s, const struct evidence *e, const char *key)
{
    uint8_t public[PUBLIC_MAX];
    size_t len = service_public(s, key, public);
    assert_int_equal(evidence_check(e, key, public, len), 0);
}

/* The ledger of a stopped service holds what clients got, and nothing that cannot be. */
static void check_ledger(const struct service *s, const struct evidence *e, const char *key)
{
    struct audit audit;
    struct ledger *ledger = service_ledger(s);
    assert_int_equal(audit_ledger(&audit, ledger, key), 0);
    assert_int_equal(audit_evidence(&audit, e, key), 0);
    audit_free(&audit);
    ledger_close(&ledger);
}

/* Requests ---------------------------------------------------------------------------------------
 */

static void test_bad_requests(void **state)
{
    (void)state;
    static const char json[] = "Content-Type: application/json";
    static const char wrong_digest[] =
        "Content-Digest: sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
    static char large[BODY_MAX + 1];
    static const struct {
        const char *headers, *path, *body;
        size_t len;
        long status;
        const char *problem;
    } cases[] = {
        {json, "/v1/keys/fw/signatures", "{\"digest\":", 10, 400, "bad-request"},
        {json, "/v1/keys/fw/signatures", "[]", 2, 400, "bad-request"},
        {json, "/v1/keys/fw/signatures", "{\"version\":\"1.0.0\",\"version\":\"1.0.1\"}", 37, 400,
         "bad-request"},
        {NULL, "/v1/keys/fw/signatures?version=9.9.9999&slot=boot", "x", 1, 422,
         "version-outside-plan"},
        {NULL, "/v1/keys/fw/signatures?version=1.0&slot=boot", "x", 1, 400, "bad-request"},
        {NULL, "/v1/keys/fw/signatures?version=v1.0.0&slot=boot", "x", 1, 400, "bad-request"},
        {NULL, "/v1/keys/fw/signatures?version=1.0.0&slot=rootfs", "x", 1, 422,
         "version-outside-plan"},
        {NULL, "/v1/keys/fw/signatures?version=1.0.0", "x", 1, 400, "bad-request"},
        {NULL, "/v1/keys/fw/signatures", "x", 1, 400, "bad-request"},
        {"Idempotency-Key: a", "/v1/keys/fw/signatures?window=current", "x", 1, 422,
         "version-outside-plan"},
        {NULL, "/v1/keys/fw/signatures?version=1.0.0&slot=boot&colour=red", "x", 1, 400,
         "bad-request"},
        {NULL, "/v1/keys/fw/signatures?version=1.0.0&slot=boot", "", 0, 400, "bad-request"},
        {NULL, "/v1/keys/fw/signatures?version=1.0.0&slot=boot", large, sizeof(large), 413,
         "too-large"},
        {wrong_digest, "/v1/keys/fw/signatures?version=1.0.0&slot=boot", "x", 1, 400,
         "digest-mismatch"},
        {NULL, "/v1/keys/nobody/signatures?version=1.0.0&slot=boot", "x", 1, 404, "not-found"},
        {NULL, "/v1/keys/builds/signatures?window=current", "x", 1, 400, "idempotency-key-missing"},
        {"Content-Encoding: gzip", "/v1/keys/fw/signatures?version=1.0.0&slot=boot", "x", 1, 415,
         "unsupported-media-type"},
    };
    struct service s;
    struct client c;
    struct evidence e = EVIDENCE_EMPTY;
    char fw[4096], builds[4096], now[4096];
    make(&s, "requests");
    service_start(&s);
    (void)must_sign_version(&s, &e, "fw", "0.0.0", "boot", "first");
    key_state(&s, "fw", fw);
    key_state(&s, "builds", builds);
    client_open(&c, &s);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer a;
        (void)client_ask(&c, &a, cases[i].headers, cases[i].body, cases[i].len, "%s",
                         cases[i].path);
        expect_problem(&a, cases[i].status, cases[i].problem);
        assert_true(answer_text(&a, "detail")[0] != '\0');
        client_done(&a);
        key_state(&s, "fw", now);
        assert_string_equal(now, fw);
        key_state(&s, "builds", now);
        assert_string_equal(now, builds);
    }
    client_close(&c);
    /* None of the versions above is bound to anything. */
    (void)must_sign_version(&s, &e, "fw", "1.0.0", "boot", "x");
    check_evidence(&s, &e, "fw");
    service_stop(&s);
    check_ledger(&s, &e, "fw");
    evidence_free(&e);
    service_end(&s);
}

/* Half a body, and then the client is gone, or silent. */
static void test_truncated_upload(void **state)
{
    (void)state;
    struct service s;
    struct evidence e = EVIDENCE_EMPTY;
    char before[4096], after[4096];
    make(&s, "upload");
    service_start(&s);
    key_state(&s, "fw", before);
    for (unsigned i = 0; i < 4; i++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        static const char head[] =
            "POST /v1/keys/fw/signatures?version=1.0.0&slot=boot HTTP/1.1\r\nHost: signer\r\n"
            "Content-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nhalf of it";
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        memcpy(address.sun_path, s.socket, sizeof(s.socket));
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL), sizeof(head) - 1);
        if (i % 2 == 1)
            (void)shutdown(fd, SHUT_WR);
        lab_sleep_ms(50);
        (void)close(fd);
    }
    lab_sleep_ms(200);
    key_state(&s, "fw", after);
    assert_string_equal(before, after);
    (void)must_sign_version(&s, &e, "fw", "1.0.0", "boot", "all of it");
    check_evidence(&s, &e, "fw");
    service_stop(&s);
    check_ledger(&s, &e, "fw");
    evidence_free(&e);
    service_end(&s);
}

/* Plans and configuration ------------------------------------------------------------------------
 */

static void test_bad_plan(void **state)
{
    (void)state;
    static const struct {
        const char *plan, *path;
    } cases[] = {
        {"{'tidemark_plan':1,'key':'k','colour':'red','profile':'sp800-208'," LMS
         ",'assignment':{'kind':'version','format':'integer'}}",
         "$.colour"},
        {PLAN("k", "{'kind':'version','format':'integer','speed':3}"), "$.assignment.speed"},
        {PLAN("k", "{'kind':'interval','signatures_per_window':4096}"), "$.assignment"},
        {"{'tidemark_plan':1,", "$"},
    };
    struct service s;
    char out[TOOL_OUT];
    char path[LAB_PATH + 16];
    service_make(&s, "plan", &clocks, NULL);
    (void)snprintf(path, sizeof(path), "%s/bad.json", s.dir);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(lab_shell("tr \"'\" '\"' >'%s' <<'END'\n%s\nEND", path, cases[i].plan), 0);
        assert_int_equal(service_tool(&s, out, "key new '%s'", path), 3);
        assert_non_null(strstr(out, cases[i].path));
        /* Not even the state directory was made. */
        assert_int_not_equal(lab_shell("test -e '%s'", s.state), 0);
    }
    service_end(&s);
}

static void test_bad_configuration(void **state)
{
    (void)state;
    static const struct {
        struct service_options options;
        const char *text;
    } cases[] = {
        {{.http = "'colour':'red'"}, "http.colour: unknown member"},
        {{.clock = "'guard_s':2"}, "clock.guard_s: unknown member"},
        {{.limits = "'fw':{'bursts':2}"}, "limits.fw.bursts: unknown member"},
        {{.limits = "'fw':{'reserve':4}"}, "limits.fw: has a reserve for nobody"},
        {{.limits = "'fw':{'reserve_for':'x'}"}, "limits.fw: has a reserve for nobody"},
        {{.limits = "'fw':{'reserve':4,'reserve_for':5}"}, "limits.fw.reserve_for: not a name"},
        {{.limits = "'fw':{'caller_burst':4}"}, "limits.fw: has a burst but no rate"},
        {{.signing = "'idle_ms':1"}, "signing.idle_ms: not a whole number in range"},
        {{.restart = "'delay_ms_max':1},'colour':{"}, "colour: unknown member"},
        {{.tls = "'address':'example.org','certificate_file':'/c','key_file':'/k',"
                 "'trust_file':'/t'"},
         "tls.address: not an address"},
        {{.tls = "'address':'0.0.0.0','certificate_file':'/c','trust_file':'/t'"},
         "tls.key_file: is needed for tls.address"},
        {{.tls = "'crl_file':'list.pem'"}, "tls.crl_file: not an absolute path"},
        {{.identities = "'ci':{'match':[{'uid':-1}],'roles':['signer']}"},
         "identities.ci.match[0].uid: cannot be matched"},
        {{.http = "'tcp_address':'0.0.0.0'"}, "http.tcp_address: not a loopback address"},
    };
    struct service s;
    char out[TOOL_OUT];
    service_make(&s, "config", &clocks, NULL);
    service_key(&s, FW);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        service_configure(&s, &cases[i].options);
        assert_int_equal(service_tool(&s, out, "--check-config"), 2);
        assert_non_null(strstr(out, cases[i].text));
        assert_non_null(strstr(out, "right would be"));
        service_run(&s);
        assert_int_equal(service_wait_end(&s), 2);
        assert_int_equal(service_tool(&s, out, "key new none.json"), 2);
    }
    service_configure(&s, NULL);
    assert_int_equal(service_tool(&s, out, "--check-config"), 0);
    /* Beside the service as well. */
    service_start(&s);
    assert_int_equal(service_tool(&s, out, "--check-config"), 0);
    service_stop(&s);
    service_end(&s);
}

/* A file with many mistakes: each is said, once, and nothing that only follows from another. */
static void test_many_mistakes(void **state)
{
    (void)state;
    static const char *const told[] = {
        "http.colour: unknown member",       "http.tcp_address: not a loopback address",
        "clock.guard_ms: not a whole",       "limits.fw.bursts: unknown member",
        "limits.fw.per_hour: not a number",  "limits.nightly: has a burst but no rate",
        "signing.idle_ms: not a whole",      "restart.delay_ms_max: not a whole",
        "tls.crl_file: not an absolute",     "tls.key_file: is needed for tls.address",
        "tls.trust_file: not a text",        "identities.ci.match[0].uid: cannot be matched",
        "identities.ci.roles[1]: an unknown"};
    static const struct service_options wrong = {
        .http = "'colour':'red','tcp_address':'0.0.0.0'",
        .clock = "'guard_ms':-1",
        .limits = "'fw':{'bursts':2,'burst':3,'per_hour':'many'},'nightly':{'burst':1}",
        .signing = "'idle_ms':1",
        .restart = "'delay_ms_max':'x'",
        .tls = "'address':'0.0.0.0','certificate_file':'/c','crl_file':'c','trust_file':7",
        .identities = "'ci':{'match':[{'uid':-1}],'roles':['signer','boss']}"};
    struct service s;
    char out[TOOL_OUT];
    service_make(&s, "mistakes", &clocks, NULL);
    service_configure(&s, &wrong);
    assert_int_equal(service_tool(&s, out, "--check-config"), 2);
    size_t lines = 0;
    for (const char *p = out; *p != '\0'; p++)
        lines += *p == '\n' ? 1 : 0;
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        if (strstr(out, told[i]) == NULL)
            fail_msg("%s is not in: %s", told[i], out);
    if (lines != sizeof(told) / sizeof(told[0]))
        fail_msg("%zu lines: %s", lines, out);
    service_end(&s);
}

/* A good file, on a host that is not ready for it: everything is said at once, nothing is made. */
static void test_bad_host(void **state)
{
    (void)state;
    static const struct service_options elsewhere = {
        .http = "'tcp_address':'::1'",
        .tls = "'address':'192.0.2.1','certificate_file':'/nowhere/c',"
               "'key_file':'/nowhere/k','trust_file':'/nowhere/t'"};
    struct service s;
    char out[TOOL_OUT];
    service_make(&s, "host", &clocks, NULL);
    assert_int_equal(service_tool(&s, out, "--check-config"), 6);
    assert_non_null(strstr(out, "state_dir: "));
    assert_int_not_equal(lab_shell("test -e '%s'", s.state), 0);
    assert_int_equal(mkdir(s.state, 0700), 0);
    assert_int_equal(service_tool(&s, out, "--check-config"), 6);
    assert_non_null(strstr(out, "make a key with 'tidemark key new PLAN'"));
    assert_int_equal(chmod(s.state, 0777), 0);
    assert_int_equal(service_tool(&s, out, "--check-config"), 6);
    assert_non_null(strstr(out, "must belong to this user and be writable by nobody else"));
    service_configure(&s, &elsewhere);
    assert_int_equal(lab_shell("sed -i 's/swtpm:path/nosuch:path/' '%s'", s.config), 0);
    assert_int_equal(service_tool(&s, out, "--check-config"), 2);
    assert_non_null(strstr(out, "/nowhere/c"));
    assert_non_null(strstr(out, "tls.address: 192.0.2.1 cannot be listened on"));
    assert_non_null(strstr(out, "tpm.tcti: there is no library for \"nosuch:path"));
    assert_non_null(strstr(out, "state_dir: "));
    service_end(&s);
}

/* State directory --------------------------------------------------------------------------------
 */

static void expect_no_start(struct service *s, const char *text)
{
    off_t from = service_log_size(s);
    service_run(s);
    assert_int_equal(service_wait_end(s), 6);
    if (!service_log_has(s, from, text)) {
        service_show_log(s);
        fail_msg("no '%s' in the log", text);
    }
}

static void test_two_services(void **state)
{
    (void)state;
    struct service s;
    struct service second;
    struct evidence e = EVIDENCE_EMPTY;
    char out[TOOL_OUT];
    make(&s, "two");
    service_start(&s);
    (void)must_sign_version(&s, &e, "fw", "1.0.0", "kernel", "one");
    service_make(&second, "second", &clocks, NULL);
    memcpy(second.state, s.state, sizeof(s.state));
    service_configure(&second, NULL);
    expect_no_start(&second, "another service or tool is using this state directory");
    assert_int_equal(service_tool(&s, out, "recover --key fw --yes"), 6);
    assert_non_null(strstr(out, "another service or tool"));
    (void)must_sign_version(&s, &e, "fw", "1.0.1", "kernel", "two");
    check_evidence(&s, &e, "fw");
    evidence_free(&e);
    service_end(&second);
    service_end(&s);
}

static void test_state_directory(void **state)
{
    (void)state;
    struct service s;
    struct evidence e = EVIDENCE_EMPTY;
    make(&s, "dir");
    assert_int_equal(chmod(s.state, 0777), 0);
    expect_no_start(&s, "writable by nobody else");
    assert_int_equal(chmod(s.state, 0720), 0);
    expect_no_start(&s, "writable by nobody else");
    assert_int_equal(chmod(s.state, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(s.state, NOBODY, NOBODY), 0);
        expect_no_start(&s, "must belong to this user");
        assert_int_equal(chown(s.state, 0, 0), 0);
    } else {
        assert_int_equal(chmod(s.state, 0500), 0);
        expect_no_start(&s, "cannot be written");
        assert_int_equal(chmod(s.state, 0700), 0);
    }
    assert_int_equal(lab_shell("mv '%s' '%s.away'", s.state, s.state), 0);
    expect_no_start(&s, "cannot be opened");
    assert_int_equal(lab_shell("mv '%s.away' '%s'", s.state, s.state), 0);
    service_start(&s);
    (void)must_sign_version(&s, &e, "fw", "1.0.0", "kernel", "one");
    evidence_free(&e);
    service_end(&s);
}

/* Damage -----------------------------------------------------------------------------------------
 */

/* Where some bytes stand in a file, or -1. */
static off_t find_in_file(const char *path, const void *bytes, size_t bytes_len)
{
    char *data = NULL;
    size_t len = 0;
    assert_int_equal(file_read(AT_FDCWD, path, (size_t)64 << 20, &data, &len, NULL), RC_OK);
    const char *found = memmem(data, len, bytes, bytes_len);
    off_t at = found != NULL ? found - data : -1;
    free(data);
    return at;
}

static void test_corrupt_ledger(void **state)
{
    (void)state;
    struct service s;
    struct answer a;
    struct evidence e = EVIDENCE_EMPTY;
    char path[LAB_PATH + 16];
    make(&s, "ledger");
    service_start(&s);
    (void)must_sign_version(&s, &e, "fw", "1.0.0", "kernel", "one");
    (void)must_sign_window(&s, &e, "builds", "one", "one");
    service_stop(&s);
    (void)snprintf(path, sizeof(path), "%s/ledger.db", s.state);
    /* Into the text of an entry, and into a stored signature. */
    static const char receipt[] = "\"kind\":\"receipt\"";
    const off_t places[] = {find_in_file(path, receipt, strlen(receipt)) - 40,
                            find_in_file(path, e.list[0].signature + 100, 16)};
    assert_true(places[0] > 0 && places[1] > 0);
    for (size_t i = 0; i < 2; i++) {
        lab_spoil(path, places[i]);
        service_start(&s);
        (void)sign_version(&s, &a, "fw", "1.0.1", "kernel", "two");
        expect_problem(&a, 503, "halted");
        assert_non_null(strstr(answer_text(&a, "detail"), "entry"));
        client_done(&a);
        /* No version and no signature that is stored, either: it might be the damaged one. */
        (void)sign_version(&s, &a, "fw", "1.0.0", "kernel", "one");
        expect_problem(&a, 503, "halted");
        client_done(&a);
        service_wait_state(&s, "Halted");
        service_stop(&s);
        lab_spoil(path, places[i]);
    }
    service_start(&s);
    (void)must_sign_version(&s, &e, "fw", "1.0.1", "kernel", "two");
    (void)must_sign_window(&s, &e, "builds", "two", "two");
    check_evidence(&s, &e, "fw");
    check_evidence(&s, &e, "builds");
    service_stop(&s);
    check_ledger(&s, &e, "fw");
    evidence_free(&e);
    service_end(&s);
}

static void test_corrupt_nodes(void **state)
{
    (void)state;
    struct service s;
    struct answer a;
    struct evidence e = EVIDENCE_EMPTY;
    char path[LAB_PATH + 32];
    make(&s, "nodes");
    (void)snprintf(path, sizeof(path), "%s/keys/fw/nodes", s.state);
    assert_int_equal(lab_shell("cp '%s' '%s/nodes'", path, s.dir), 0);
    /* An inner node: made again from the leaves. */
    lab_spoil(path, NODES_HEADER + 5 * M + 3);
    service_start(&s);
    assert_true(service_log_has(&s, 0, "the node file was damaged and has been rebuilt"));
    (void)must_sign_version(&s, &e, "fw", "1.0.0", "kernel", "one");
    check_evidence(&s, &e, "fw");
    service_stop(&s);
    assert_int_equal(lab_shell("cmp '%s' '%s/nodes'", path, s.dir), 0);
    /* A leaf: only that key stops, and says what is to be done. */
    lab_spoil(path, NODES_HEADER + (LEAVES + 77) * M + 3);
    service_start(&s);
    (void)sign_version(&s, &a, "fw", "1.0.1", "kernel", "two");
    expect_problem(&a, 503, "halted");
    assert_non_null(strstr(answer_text(&a, "detail"), "leaves"));
    client_done(&a);
    (void)must_sign_window(&s, &e, "builds", "one", "one");
    service_stop(&s);
    assert_int_equal(lab_shell("cp '%s/nodes' '%s'", s.dir, path), 0);
    service_start(&s);
    (void)must_sign_version(&s, &e, "fw", "1.0.1", "kernel", "two");
    check_evidence(&s, &e, "fw");
    check_evidence(&s, &e, "builds");
    evidence_free(&e);
    service_end(&s);
}

/* What is taken away -----------------------------------------------------------------------------
 */

static void case_27_tpm_gone(void **state)
{
    (void)state;
    struct service s;
    struct answer a;
    struct evidence e = EVIDENCE_EMPTY;
    make(&s, "tpm");
    service_start(&s);
    (void)must_sign_version(&s, &e, "fw", "1.0.0", "kernel", "one");
    (void)must_sign_window(&s, &e, "builds", "one", "one");
    swtpm_kill(&s.tpm);
    /* The first one to notice may be in the middle of something: its outcome is unknown. From then
     * on it is known that nothing can be done. */
    bool away = false;
    for (int64_t until = lab_now_ms() + WAIT_MS; !away && lab_now_ms() < until;) {
        (void)sign_version(&s, &a, "fw", "1.0.1", "kernel", "1.0.1");
        assert_int_equal(a.status, 503);
        away = strcmp(answer_text(&a, "type"), "/problems/anchor-unavailable") == 0;
        client_done(&a);
        lab_sleep_ms(50);
    }
    assert_true(away);
    (void)sign_window(&s, &a, "builds", "two", "two");
    expect_problem(&a, 503, "anchor-unavailable");
    client_done(&a);
    assert_int_equal(service_get(&s, &a, "/health/ready"), 503);
    client_done(&a);
    /* It comes back by itself. */
    assert_true(swtpm_start(&s.tpm));
    wait_version(&s, &e, "1.0.1");
    (void)must_sign_window(&s, &e, "builds", "two", "two");
    check_evidence(&s, &e, "fw");
    check_evidence(&s, &e, "builds");
    service_stop(&s);
    check_ledger(&s, &e, "fw");
    check_ledger(&s, &e, "builds");
    evidence_free(&e);
    service_end(&s);
}

static void signal_chronyd(const char *which, const char *signal_name)
{
    assert_int_equal(lab_shell("kill -%s \"$(cat '%s/%s.pid')\"", signal_name, clocks.dir, which),
                     0);
}

/* Time plans stop, all others do not mind; when it is back, so are they. */
static void test_chronyd_gone(void **state)
{
    (void)state;
    struct service s;
    struct answer a;
    struct evidence e = EVIDENCE_EMPTY;
    make(&s, "chronyd");
    /* What is left of the last answer carries on for 15 s, not for the usual 20 minutes. */
    service_configure(&s, &(struct service_options){.clock = "'raw_ppm':10000,'max_error_ms':150"});
    service_start(&s);
    wait_sign_window(&s, &a, "nightly", "one", "one", 201);
    client_done(&a);
    signal_chronyd("client", "STOP");
    service_wait_state(&s, "ClockUnsafe");
    wait_sign_window(&s, &a, "nightly", "two", "two", 503);
    expect_problem(&a, 503, "clock-unsafe");
    assert_non_null(strstr(answer_text(&a, "detail"), "no-reply"));
    client_done(&a);
    /* A chronyd that hangs delays nobody for more than its 200 ms. */
    int64_t begun = lab_now_ms();
    (void)must_sign_version(&s, &e, "fw", "1.0.0", "kernel", "one");
    assert_true(lab_now_ms() - begun < 5000);
    (void)must_sign_window(&s, &e, "builds", "one", "one");
    signal_chronyd("client", "CONT");
    wait_sign_window(&s, &a, "nightly", "two", "two", 201);
    client_done(&a);
    /* Really gone. */
    clocks_stop(&clocks);
    service_wait_state(&s, "ClockUnsafe");
    wait_sign_window(&s, &a, "nightly", "three", "three", 503);
    expect_problem(&a, 503, "clock-unsafe");
    client_done(&a);
    (void)must_sign_version(&s, &e, "fw", "1.0.1", "kernel", "two");
    (void)must_sign_window(&s, &e, "builds", "two", "two");
    check_evidence(&s, &e, "fw");
    check_evidence(&s, &e, "builds");
    evidence_free(&e);
    service_end(&s);
    clocks_start(&clocks, "input", false);
}

/* A small file system of our own, which goes away with this process. */
static bool mount_small(const char *path)
{
    uid_t uid = geteuid();
    bool ok = unshare(CLONE_NEWNS) == 0;
    if (!ok && unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0)
        ok = lab_shell("echo '0 %u 1' >/proc/%d/uid_map", uid, (int)getpid()) == 0;
    if (ok && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("tidemark-test", path, "tmpfs", 0, "size=8m,mode=700") == 0)
        return true;
    (void)fprintf(
        stderr, "\n*** NOT RUN: disk full: a small file system cannot be mounted here: %s ***\n\n",
        strerror(errno));
    return false;
}

static void fill(const char *dir, unsigned left_kib)
{
    assert_int_equal(
        lab_shell("dd if=/dev/zero of='%s/filler' bs=4k 2>/dev/null; size=$(stat -c %%s "
                  "'%s/filler'); truncate -s $((size - %u * 1024)) '%s/filler'",
                  dir, dir, left_kib, dir),
        0);
}

/* Must be the last test: it changes what this process may see. */
static void test_disk_full(void **state)
{
    (void)state;
    struct service s;
    struct answer a;
    struct evidence e = EVIDENCE_EMPTY;
    static const struct service_options options = {
        .restart = "'delay_ms_max':200",
        /* Written behind an answer, it could meet the end of the disk between two requests. */
        .attest = "'period_s':0"};
    unsigned patch = 0;
    unsigned build = 0;
    char text[64];
    service_make(&s, "disk", &clocks, &options);
    assert_int_equal(mkdir(s.state, 0700), 0);
    if (!mount_small(s.state)) {
        service_end(&s);
        return;
    }
    service_key(&s, FW);
    service_key(&s, BUILDS);
    service_start(&s);
    (void)must_sign_version(&s, &e, "fw", "1.0.0", "kernel", "1.0.0");
    for (unsigned round = 0; round < 3; round++) {
        long status = 201;
        fill(s.state, 40 * round + 24);
        /* In turn, until one of them meets the end of the disk. */
        for (unsigned i = 0; i < 200 && status == 201; i++) {
            bool by_version = i % 2 == 0 && patch < 15;
            if (by_version) {
                (void)snprintf(text, sizeof(text), "1.%u.%u", round, ++patch);
                status = sign_version(&s, &a, "fw", text, "kernel", text);
            } else {
                (void)snprintf(text, sizeof(text), "build-%u", ++build);
                status = sign_window(&s, &a, "builds", text, text);
            }
            if (status == 201)
                assert_true(evidence_take(&e, by_version ? "fw" : "builds", text, text, &a));
            else
                expect_problem(&a, 503, "halted");
            client_done(&a);
        }
        assert_int_equal(status, 503);
        /* Still full: nothing is signed, and nobody crashes in a circle. */
        lab_sleep_ms(500);
        (void)sign_window(&s, &a, "builds", "full", "full");
        assert_int_equal(a.status, 503);
        client_done(&a);
        assert_int_equal(lab_shell("rm '%s/filler'", s.state), 0);
        /* With room again it goes on by itself: the request that failed, sent again, is answered.
         */
        (void)snprintf(text, sizeof(text), "1.%u.%u", round, patch);
        wait_version(&s, &e, text);
        (void)snprintf(text, sizeof(text), "room-%u", round);
        wait_sign_window(&s, &a, "builds", text, text, 201);
        assert_true(evidence_take(&e, "builds", text, text, &a));
        client_done(&a);
        patch = 0;
        (void)snprintf(text, sizeof(text), "1.%u.0", round + 1);
        wait_version(&s, &e, text);
    }
    check_evidence(&s, &e, "fw");
    check_evidence(&s, &e, "builds");
    service_stop(&s);
    check_ledger(&s, &e, "fw");
    check_ledger(&s, &e, "builds");
    evidence_free(&e);
    assert_int_equal(umount2(s.state, MNT_DETACH), 0);
    service_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_requests),   cmocka_unit_test(test_truncated_upload),
        cmocka_unit_test(test_bad_plan),       cmocka_unit_test(test_bad_configuration),
        cmocka_unit_test(test_many_mistakes),  cmocka_unit_test(test_bad_host),
        cmocka_unit_test(test_two_services),   cmocka_unit_test(test_state_directory),
        cmocka_unit_test(test_corrupt_ledger), cmocka_unit_test(test_corrupt_nodes),
        cmocka_unit_test(case_27_tpm_gone),    cmocka_unit_test(test_chronyd_gone),
        cmocka_unit_test(test_disk_full),
    };
    int unable = lab_open();
    return unable != 0 ? unable : cmocka_run_group_tests(tests, start_clocks, stop_clocks);
}
