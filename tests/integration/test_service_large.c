/*
 * test_service_large [-g GIB]: an artifact that no memory should hold, through HTTP into the whole
 * service: signed rightly, while others are served, and neither front nor core grows with it.
 *
 * Over the socket, and over TLS 1.3. 64 MiB in make check. With -g that many GiB, and times beside
 * those of dd to the same disk, with their ratio, and of one pass of SHA-256, for docs/evidence.md.
 * The artifact is a sparse file with a few bytes in it: reading it costs nothing, and what the
 * service stores of it is not sparse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/text.h"
#include "hbs/public.h"
#include "hbs/verify.h"
#include "lib/certs.h"
#include "lib/service.h"

#define MIB (UINT64_C(1) << 20)
#define ANSWER_S 3600          /* far above what any machine needs */
#define TRIES 5                /* a busy machine may be between two states of its clock */
#define GROWTH_KIB (48 * 1024) /* less than the artifact, though sanitizers keep freed memory */

/* GnuTLS takes memory for each record, and a sanitizer keeps 256 MiB of what is freed. */
#ifdef TIDEMARK_SANITIZED
#define TLS_GROWTH_KIB (512 * 1024)
#else
#define TLS_GROWTH_KIB GROWTH_KIB
#endif

static const char version_plan[] =
    "{'tidemark_plan':1,'key':'fw','profile':'sp800-208','scheme':'lms',"
    "'parameters':['LMS_SHA256_M24_H10','LMOTS_SHA256_N24_W4'],"
    "'assignment':{'kind':'version','format':'major.minor','sizes':{'minor':64},'window':'major',"
    "'order':'per-line'}}";
static const char interval_plan[] =
    "{'tidemark_plan':1,'key':'builds','profile':'sp800-208','scheme':'xmss',"
    "'parameters':['XMSS-SHA2_10_256'],"
    "'assignment':{'kind':'interval','signatures_per_window':256,'lease_size':16}}";

static uint64_t size = 64 * MIB;
static bool by_hand;
static struct clocks clocks;
static struct service service;
static const uint8_t *artifact; /* mapped */
static uint8_t sha256[SHA256_LEN];
/* What it took: version plan, interval plan, version plan over TLS; before, behind. */
static int64_t upload_ms[3], dd_ms[2];
static unsigned upload_count, dd_count;
static uint16_t tls_port;

/* What windows and trees need is there before anything is measured. */
static void sign_first(const char *headers, const char *where)
{
    struct client c;
    struct answer a;
    long status = 0;
    for (int i = 0; i < TRIES && status != 201 && status != 200; i++) {
        client_open(&c, &service);
        status = client_ask(&c, &a, headers, "x", 1, "%s", where);
        client_done(&a);
        client_close(&c);
    }
    assert_true(status == 201 || status == 200);
}

static void make_service(void)
{
    const char *d = lab_dir();
    char tls[4 * LAB_PATH];
    char identities[256];
    certs_make(d, "ca", NULL, &(struct cert_options){.issuer = true});
    certs_make(d, "server", "ca", &(struct cert_options){.server = true});
    certs_make(d, "ci", "ca", &(struct cert_options){.uri = "spiffe://example.org/ci"});
    tls_port = lab_free_port();
    (void)snprintf(tls, sizeof(tls),
                   "'address':'127.0.0.1','port':%u,'certificate_file':'%s/server.pem',"
                   "'key_file':'%s/server.key','trust_file':'%s/ca.pem'",
                   tls_port, d, d, d);
    (void)snprintf(identities, sizeof(identities),
                   "'all':{'match':[{'uid':%u},{'spiffe':'spiffe://example.org/ci'}],"
                   "'roles':['signer','auditor']}",
                   (unsigned)geteuid());
    service_make(&service, "large", &clocks,
                 &(struct service_options){
                     .http = "'body_max':1099511627776", .tls = tls, .identities = identities});
}

static int make(void **state)
{
    (void)state;
    char path[LAB_PATH];
    clocks_start(&clocks, "large", false);
    make_service();
    service_key(&service, version_plan);
    service_key(&service, interval_plan);
    service_start(&service);
    sign_first(NULL, "/v1/keys/fw/signatures?version=1.0");
    sign_first("Idempotency-Key: first", "/v1/keys/builds/signatures?window=current");
    (void)snprintf(path, sizeof(path), "%s/artifact", lab_dir());
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    for (uint64_t at = 0; at < size; at += size / 8 + 1)
        assert_int_equal(pwrite(fd, &at, sizeof(at), (off_t)at), sizeof(at));
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    (void)close(fd);
    artifact = map;
    int64_t began = lab_now_ms();
    sha256_2(sha256, artifact, size, "", 0);
    if (by_hand)
        print_message("sha256 of it, once: %.1f s\n", (double)(lab_now_ms() - began) / 1000);
    return 0;
}

static int unmake(void **state)
{
    (void)state;
    service_end(&service);
    clocks_stop(&clocks);
    return 0;
}

/* Peak of what a process ever had in memory. */
static uint64_t peak_kib(const char *child)
{
    char path[64], line[128];
    uint64_t kib = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)service_child(&service, child, 0));
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtoull(line + 6, NULL, 10);
    (void)fclose(file);
    assert_true(kib > 0);
    return kib;
}

/* Others, meanwhile ------------------------------------------------------------------------------
 */

struct other {
    atomic_bool stop;
    uint64_t count;
    int64_t worst_ms;
};

static void *sign_small(void *arg)
{
    struct other *o = arg;
    struct client c;
    client_open(&c, &service);
    do {
        struct answer a;
        char key[64];
        int64_t began = lab_now_ms();
        (void)snprintf(key, sizeof(key), "Idempotency-Key: other-%" PRIu64, o->count % 8);
        if (client_ask(&c, &a, key, "x", 1, "/v1/keys/builds/signatures?window=current") != 0)
            o->count++;
        client_done(&a);
        int64_t took = lab_now_ms() - began;
        o->worst_ms = took > o->worst_ms ? took : o->worst_ms;
        lab_sleep_ms(20);
    } while (!atomic_load(&o->stop));
    client_close(&c);
    return NULL;
}

/* The upload -------------------------------------------------------------------------------------
 */

static void check_signature(const struct answer *a, const char *key, enum hbs_scheme scheme)
{
    uint8_t raw[128], signature[8192];
    struct hbs_public public;
    struct hbs_verifier verifier CLEANUP(hbs_verify_close) = {0};
    struct answer of_key;
    size_t len = 0;
    char hex[HEX_SIZE(SHA256_LEN)];
    hex_encode(hex, sha256, sizeof(sha256));
    assert_string_equal(answer_text(a, "artifact_sha256"), hex);
    const char *base64 = answer_text(a, "signature");
    assert_true(base64_decode(signature, sizeof(signature), &len, base64, strlen(base64)));
    assert_int_equal(service_get(&service, &of_key, "/v1/keys/%s/public", key), 200);
    assert_true(of_key.len <= sizeof(raw));
    memcpy(raw, of_key.body, of_key.len);
    assert_int_equal(hbs_public_parse(&public, scheme, raw, of_key.len, NULL), RC_OK);
    client_done(&of_key);
    assert_int_equal(hbs_verify_open(&verifier, &public, signature, len, NULL), RC_OK);
    hbs_verify_update(&verifier, artifact, size);
    assert_int_equal(hbs_verify_finish(&verifier, NULL), RC_OK);
}

static void upload(struct answer *a, const char *headers, const char *where, long status)
{
    struct client c;
    long got = 0;
    for (int i = 0; i < TRIES && got != status; i++) {
        if (i > 0)
            client_done(a);
        client_open(&c, &service);
        c.patience_s = ANSWER_S;
        got = client_ask(&c, a, headers, artifact, size, "%s", where);
        client_close(&c);
    }
    if (got != status)
        fail_msg("%s: %ld %s", where, got, a->body == NULL ? "" : a->body);
}

/* The kernel counts in batches, so a peak may be a little lower afterwards. */
static uint64_t growth(uint64_t before, uint64_t after)
{
    return after > before ? after - before : 0;
}

static void check_upload(const char *name, const char *headers, const char *where, const char *key,
                         enum hbs_scheme scheme)
{
    struct other other = {.count = 0};
    pthread_t thread;
    struct answer a;
    uint64_t front = peak_kib("front"), core = peak_kib("core");
    assert_int_equal(pthread_create(&thread, NULL, sign_small, &other), 0);
    int64_t began = lab_now_ms();
    upload(&a, headers, where, 201);
    int64_t took = lab_now_ms() - began;
    upload_ms[upload_count++ % 3] = took;
    atomic_store(&other.stop, true);
    (void)pthread_join(thread, NULL);
    uint64_t front_after = peak_kib("front"), core_after = peak_kib("core");
    print_message("%s: %" PRIu64 " MiB in %.1f s; peak memory front %" PRIu64 " KiB (+%" PRIu64
                  "), core %" PRIu64 " KiB (+%" PRIu64 "); %" PRIu64
                  " others served, the slowest in %" PRId64 " ms\n",
                  name, size / MIB, (double)took / 1000, front_after, growth(front, front_after),
                  core_after, growth(core, core_after), other.count, other.worst_ms);
    assert_true(growth(front, front_after) < GROWTH_KIB);
    assert_true(growth(core, core_after) < GROWTH_KIB);
    assert_true(other.count > 0);
    check_signature(&a, key, scheme);
    client_done(&a);
}

static void test_version(void **state)
{
    (void)state;
    struct answer a;
    check_upload("version plan", NULL, "/v1/keys/fw/signatures?version=1.5", "fw", HBS_SCHEME_HSS);
    upload(&a, NULL, "/v1/keys/fw/signatures?version=1.5", 200);
    client_done(&a);
}

/* The index is another one for each request, and others take some meanwhile. */
static void test_interval(void **state)
{
    (void)state;
    check_upload("interval plan", "Idempotency-Key: large",
                 "/v1/keys/builds/signatures?window=current", "builds", HBS_SCHEME_XMSS);
}

/* @return false: the service ended it, and may have said why. */
static bool send_all(struct certs_client *c, const void *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t sent = gnutls_record_send(c->session, (const uint8_t *)data + at, len - at);
        if (sent < 0)
            return false;
        at += (size_t)sent;
    }
    return true;
}

/* The service decrypts what it hashes and stores. */
static void test_tls(void **state)
{
    (void)state;
    char text[300];
    struct certs_client c;
    int status = 0;
    uint64_t front = peak_kib("front"), core = peak_kib("core");
    int64_t began = 0;
    for (int i = 0; i < TRIES && status != 201 && status != 200; i++) {
        assert_true(certs_connect(&c, tls_port, lab_dir(), "ca", "ci", CERTS_TLS13));
        (void)snprintf(text, sizeof(text),
                       "POST /v1/keys/fw/signatures?version=1.6 HTTP/1.1\r\nHost: localhost\r\n"
                       "Content-Type: application/octet-stream\r\nContent-Length: %" PRIu64
                       "\r\n\r\n",
                       size);
        began = lab_now_ms();
        if (send_all(&c, text, strlen(text)))
            (void)send_all(&c, artifact, size);
        status = certs_ask(&c, "", text, sizeof(text));
        certs_close(&c);
    }
    if (status != 201 && status != 200)
        fail_msg("over TLS: %d: %s", status, text);
    int64_t took = lab_now_ms() - began;
    upload_ms[upload_count++ % 3] = took;
    print_message("version plan over TLS: %" PRIu64 " MiB in %.1f s\n", size / MIB,
                  (double)took / 1000);
    assert_true(growth(front, peak_kib("front")) < TLS_GROWTH_KIB);
    assert_true(growth(core, peak_kib("core")) < GROWTH_KIB);
    struct answer a;
    upload(&a, NULL, "/v1/keys/fw/signatures?version=1.6", 200);
    check_signature(&a, "fw", HBS_SCHEME_HSS);
    client_done(&a);
}

/* The same bytes to the same disk, by a program that does nothing else. */
static void test_dd(void **state)
{
    (void)state;
    int64_t began = lab_now_ms();
    assert_int_equal(lab_shell("dd if='%s/artifact' of='%s/copy' bs=1M status=none conv=fsync",
                               lab_dir(), lab_dir()),
                     0);
    int64_t took = lab_now_ms() - began;
    dd_ms[dd_count++ % 2] = took;
    print_message("dd bs=1M conv=fsync: %.1f s\n", (double)took / 1000);
    assert_int_equal(lab_shell("rm '%s/copy'", lab_dir()), 0);
}

/* A disk in a machine of others is not the same twice, so it is asked before and behind. */
static void test_ratio(void **state)
{
    (void)state;
    double dd = (double)(dd_ms[0] + dd_ms[1]) / 2;
    print_message(
        "ratio to dd (mean of both): version plan %.2f, interval plan %.2f, over TLS %.2f\n",
        (double)upload_ms[0] / dd, (double)upload_ms[1] / dd, (double)upload_ms[2] / dd);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_tls),
    };
    const struct CMUnitTest measured[] = {
        cmocka_unit_test(test_dd),  cmocka_unit_test(test_version), cmocka_unit_test(test_interval),
        cmocka_unit_test(test_tls), cmocka_unit_test(test_dd),      cmocka_unit_test(test_ratio),
    };
    uint64_t gib = 0;
    by_hand = argc == 3 && strcmp(argv[1], "-g") == 0 && text_to_u64(&gib, argv[2], 64) && gib > 0;
    if (argc > 1 && !by_hand) {
        (void)fprintf(stderr, "usage: test_service_large [-g GIB]\n");
        return 2;
    }
    if (by_hand)
        size = gib * 1024 * MIB;
    int unable = lab_open();
    if (unable != 0)
        return unable;
    return by_hand ? cmocka_run_group_tests(measured, make, unmake)
                   : cmocka_run_group_tests(tests, make, unmake);
}
