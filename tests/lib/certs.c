#include "lib/certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define GOOD(call) assert_int_equal(call, 0)
#define PATH_SIZE 256
#define ROOM 16384
#define PATIENCE_S 60

static const char *path_of(char *out, const char *dir, const char *name, const char *suffix)
{
    (void)snprintf(out, PATH_SIZE, "%s/%s%s", dir, name, suffix);
    return out;
}

/* Under another name first, so that whoever looks at the file never sees a half. */
static void write_file(const char *dir, const char *name, const char *suffix, const void *data,
                       size_t len)
{
    char path[PATH_SIZE];
    char part[PATH_SIZE];
    int fd =
        open(path_of(part, dir, name, ".part"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    GOOD(close(fd));
    GOOD(rename(part, path_of(path, dir, name, suffix)));
}

static gnutls_datum_t read_file(const char *dir, const char *name, const char *suffix)
{
    char path[PATH_SIZE];
    gnutls_datum_t data = {0};
    GOOD(gnutls_load_file(path_of(path, dir, name, suffix), &data));
    return data;
}

static gnutls_x509_crt_t load_certificate(const char *dir, const char *name)
{
    gnutls_x509_crt_t crt = NULL;
    gnutls_datum_t pem = read_file(dir, name, ".pem");
    GOOD(gnutls_x509_crt_init(&crt));
    GOOD(gnutls_x509_crt_import(crt, &pem, GNUTLS_X509_FMT_PEM));
    gnutls_free(pem.data);
    return crt;
}

static gnutls_x509_privkey_t load_key(const char *dir, const char *name)
{
    gnutls_x509_privkey_t key = NULL;
    gnutls_datum_t pem = read_file(dir, name, ".key");
    GOOD(gnutls_x509_privkey_init(&key));
    GOOD(gnutls_x509_privkey_import(key, &pem, GNUTLS_X509_FMT_PEM));
    gnutls_free(pem.data);
    return key;
}

static void describe(gnutls_x509_crt_t crt, const char *name, const struct cert_options *o)
{
    static int64_t serial = 1;
    uint8_t number[8];
    serial++;
    for (size_t i = 0; i < sizeof(number); i++)
        number[i] = (uint8_t)((uint64_t)serial >> (56 - 8 * i));
    bool plain = o->from_s == 0 && o->to_s == 0;
    time_t now = time(NULL);
    GOOD(gnutls_x509_crt_set_version(crt, 3));
    GOOD(gnutls_x509_crt_set_serial(crt, number, sizeof(number)));
    GOOD(gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                       (unsigned)strlen(name)));
    GOOD(gnutls_x509_crt_set_activation_time(crt, now + (time_t)(plain ? -3600 : o->from_s)));
    GOOD(gnutls_x509_crt_set_expiration_time(crt, now + (time_t)(plain ? 86400 : o->to_s)));
    GOOD(gnutls_x509_crt_set_basic_constraints(crt, o->issuer, -1));
    if (o->issuer)
        GOOD(gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN));
    else if (!o->any_purpose)
        GOOD(gnutls_x509_crt_set_key_purpose_oid(
            crt, o->server ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT, 0));
}

static void add_name(gnutls_x509_crt_t crt, gnutls_x509_subject_alt_name_t kind, const char *text)
{
    if (text != NULL)
        GOOD(gnutls_x509_crt_set_subject_alt_name(crt, kind, text, (unsigned)strlen(text),
                                                  GNUTLS_FSAN_APPEND));
}

static void export_both(const char *dir, const char *name, gnutls_x509_crt_t crt,
                        gnutls_x509_privkey_t key)
{
    gnutls_datum_t out = {0};
    GOOD(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out));
    write_file(dir, name, ".pem", out.data, out.size);
    gnutls_free(out.data);
    GOOD(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &out));
    write_file(dir, name, ".key", out.data, out.size);
    gnutls_free(out.data);
}

void certs_make(const char *dir, const char *name, const char *issuer,
                const struct cert_options *options)
{
    static const struct cert_options none;
    const struct cert_options *o = options != NULL ? options : &none;
    gnutls_x509_crt_t crt = NULL;
    gnutls_x509_privkey_t key = NULL;
    GOOD(gnutls_x509_privkey_init(&key));
    GOOD(gnutls_x509_privkey_generate(
        key, o->rsa_bits != 0 ? GNUTLS_PK_RSA : GNUTLS_PK_ECDSA,
        o->rsa_bits != 0 ? o->rsa_bits : GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    GOOD(gnutls_x509_crt_init(&crt));
    describe(crt, name, o);
    add_name(crt, GNUTLS_SAN_URI, o->uri);
    add_name(crt, GNUTLS_SAN_URI, o->uri2);
    add_name(crt, GNUTLS_SAN_DNSNAME, o->server ? "localhost" : o->dns);
    add_name(crt, GNUTLS_SAN_RFC822NAME, o->email);
    GOOD(gnutls_x509_crt_set_key(crt, key));
    gnutls_x509_crt_t by = issuer != NULL ? load_certificate(dir, issuer) : crt;
    gnutls_x509_privkey_t with = issuer != NULL ? load_key(dir, issuer) : key;
    GOOD(gnutls_x509_crt_sign2(crt, by, with, GNUTLS_DIG_SHA256, 0));
    export_both(dir, name, crt, key);
    if (issuer != NULL) {
        gnutls_x509_crt_deinit(by);
        gnutls_x509_privkey_deinit(with);
    }
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}

void certs_revoke(const char *dir, const char *name, const char *issuer, const char *revoked,
                  int64_t next_update_s)
{
    gnutls_x509_crl_t crl = NULL;
    gnutls_x509_crt_t by = load_certificate(dir, issuer);
    gnutls_x509_privkey_t with = load_key(dir, issuer);
    gnutls_datum_t out = {0};
    time_t now = time(NULL);
    GOOD(gnutls_x509_crl_init(&crl));
    GOOD(gnutls_x509_crl_set_version(crl, 2));
    GOOD(gnutls_x509_crl_set_this_update(crl, now - 7200));
    GOOD(gnutls_x509_crl_set_next_update(crl, now + (time_t)next_update_s));
    GOOD(gnutls_x509_crl_set_number(crl, "\x01", 1));
    if (revoked != NULL) {
        gnutls_x509_crt_t crt = load_certificate(dir, revoked);
        GOOD(gnutls_x509_crl_set_crt(crl, crt, now - 3600));
        gnutls_x509_crt_deinit(crt);
    }
    GOOD(gnutls_x509_crl_sign2(crl, by, with, GNUTLS_DIG_SHA256, 0));
    GOOD(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &out));
    write_file(dir, name, ".crl", out.data, out.size);
    gnutls_free(out.data);
    gnutls_x509_crl_deinit(crl);
    gnutls_x509_crt_deinit(by);
    gnutls_x509_privkey_deinit(with);
}

void certs_fingerprint(const char *dir, const char *name, char out[65])
{
    uint8_t sha256[32];
    size_t len = sizeof(sha256);
    gnutls_x509_crt_t crt = load_certificate(dir, name);
    GOOD(gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, sha256, &len));
    for (size_t i = 0; i < sizeof(sha256); i++)
        (void)snprintf(out + 2 * i, 3, "%02x", sha256[i]);
    gnutls_x509_crt_deinit(crt);
}

/* The client ------------------------------------------------------------------------------------
 */

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    GOOD(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
    GOOD(connect(fd, (struct sockaddr *)&address, sizeof(address)));
    return fd;
}

bool certs_connect(struct certs_client *c, uint16_t port, const char *dir, const char *issuer,
                   const char *name, const char *priorities)
{
    char path[PATH_SIZE];
    char key[PATH_SIZE];
    *c = (struct certs_client){.fd = connect_to(port)};
    GOOD(gnutls_certificate_allocate_credentials(&c->credentials));
    assert_int_equal(gnutls_certificate_set_x509_trust_file(
                         c->credentials, path_of(path, dir, issuer, ".pem"), GNUTLS_X509_FMT_PEM),
                     1);
    if (name != NULL)
        assert_true(gnutls_certificate_set_x509_key_file(
                        c->credentials, path_of(path, dir, name, ".pem"),
                        path_of(key, dir, name, ".key"), GNUTLS_X509_FMT_PEM) >= 0);
    /* Sent whether the server asks for that issuer or not: a client that means harm would. */
    GOOD(gnutls_init(&c->session, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL | GNUTLS_FORCE_CLIENT_CERT));
    GOOD(gnutls_priority_set_direct(c->session, priorities, NULL));
    GOOD(gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, c->credentials));
    gnutls_session_set_verify_cert(c->session, "localhost", 0);
    gnutls_transport_set_int(c->session, c->fd);
    int code = GNUTLS_E_AGAIN;
    while (code < 0 && gnutls_error_is_fatal(code) == 0)
        code = gnutls_handshake(c->session);
    return code == 0;
}

static ssize_t receive(struct certs_client *c, char *to, size_t size)
{
    ssize_t got = GNUTLS_E_INTERRUPTED;
    while (got == GNUTLS_E_INTERRUPTED)
        got = gnutls_record_recv(c->session, to, size);
    return got;
}

/* All of the answer: header and as many bytes as it says. */
static bool complete(const char *text, size_t len)
{
    const char *body = strstr(text, "\r\n\r\n");
    const char *length = strstr(text, "Content-Length: ");
    if (body == NULL)
        return false;
    size_t wanted = length == NULL ? 0 : strtoul(length + strlen("Content-Length: "), NULL, 10);
    return len >= (size_t)(body + 4 - text) + wanted;
}

int certs_ask(struct certs_client *c, const char *request, char *out, size_t size)
{
    static char text[ROOM * 4];
    size_t len = 0;
    text[0] = '\0';
    if (request[0] != '\0' && gnutls_record_send(c->session, request, strlen(request)) < 0)
        return 0;
    while (!complete(text, len) && len + 1 < sizeof(text)) {
        ssize_t got = receive(c, text + len, sizeof(text) - len - 1);
        if (got <= 0)
            return 0;
        len += (size_t)got;
        text[len] = '\0';
    }
    if (out != NULL)
        (void)snprintf(out, size, "%s", text);
    return strncmp(text, "HTTP/1.1 ", 9) == 0 ? (int)strtol(text + 9, NULL, 10) : 0;
}

void certs_close(struct certs_client *c)
{
    if (c->session != NULL)
        gnutls_deinit(c->session);
    if (c->credentials != NULL)
        gnutls_certificate_free_credentials(c->credentials);
    if (c->fd > 0)
        (void)close(c->fd);
    *c = (struct certs_client){0};
}
