/*
 * Fuzz target: who is at the other end of a TLS connection, and the files that TLS is set up from.
 *
 * The first byte chooses: 'c' a certificate (DER), as a client sends it; 'n' the names of one, a
 * line each (F fingerprint, U URI, D DNS name, E e-mail address, behind it the name); 'f' the files
 * of the configuration: certificate, key, issuers and revocation list, in this order, each with two
 * bytes of length before it, an empty one being none. Identities are the table below.
 * Beside not crashing: whoever gets roles is the one identity that its names lead to, as a second
 * and slower reading of the table says, and whoever gets none is told why. Files that are refused
 * are refused with a text that names one of them.
 * Run: tests/fuzz/fuzz_peer -max_len=8192 CORPUS tests/fuzz/peer
 */
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "http/tls.h"
#include "http/tls_names.h"

#define NAMES_MAX 8
#define FILES 4
#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct access table = {.identities = {{.name = "ci", .roles = ROLE_SIGNER},
                                                   {.name = "audit", .roles = ROLE_AUDITOR},
                                                   {.name = "ops", .roles = ROLE_OPERATOR}},
                                    .identity_count = 3,
                                    .selectors = {{0, ACCESS_SPIFFE, 0, "spiffe://example.org/ci"},
                                                  {0, ACCESS_DNS, 0, "ci.example.org"},
                                                  {0, ACCESS_FINGERPRINT, 0, SHA_A},
                                                  {1, ACCESS_URI, 0, "https://example.org/audit"},
                                                  {1, ACCESS_EMAIL, 0, "audit@example.org"},
                                                  {2, ACCESS_URI, 0, "spiffe://example.org/ops"},
                                                  {2, ACCESS_DNS, 0, "ops.example.org"}},
                                    .selector_count = 7};

static void settled(const struct identity *identity)
{
    if (identity->roles == 0) {
        MUST(identity->rules == NULL && identity->why[0] != '\0');
        return;
    }
    MUST(identity->rules >= table.identities && identity->rules < table.identities + 3);
    MUST(identity->roles == identity->rules->roles && identity->why[0] == '\0');
    MUST(strcmp(identity->name, identity->rules->name) == 0);
}

static void fuzz_certificate(const uint8_t *data, size_t len)
{
    struct identity identity = {.peer = "tls:192.0.2.7"};
    gnutls_datum_t der = {malloc(len + 1), (unsigned)len}; /* the library's field is not const */
    gnutls_x509_crt_t certificate = NULL;
    MUST(der.data != NULL);
    memcpy(der.data, data, len);
    MUST(gnutls_x509_crt_init(&certificate) == 0);
    if (gnutls_x509_crt_import(certificate, &der, GNUTLS_X509_FMT_DER) == 0) {
        tls_names_identify(&identity, &table, certificate);
        settled(&identity);
    }
    gnutls_x509_crt_deinit(certificate);
    free(der.data);
}

/* Names ----------------------------------------------------------------------------------------
 */

struct names {
    struct identity_certificate c;
    const char *uris[NAMES_MAX], *dns[NAMES_MAX], *emails[NAMES_MAX];
};

static void read_name(struct names *n, const char *line)
{
    if (line[0] == 'F')
        text_copy(n->c.fingerprint, sizeof(n->c.fingerprint), line + 1);
    else if (line[0] == 'U' && n->c.uri_count < NAMES_MAX)
        n->uris[n->c.uri_count++] = line + 1;
    else if (line[0] == 'D' && n->c.name_count < NAMES_MAX)
        n->dns[n->c.name_count++] = line + 1;
    else if (line[0] == 'E' && n->c.email_count < NAMES_MAX)
        n->emails[n->c.email_count++] = line + 1;
}

static bool has(const char *const *list, size_t count, const char *text, bool any_case)
{
    bool found = false;
    for (size_t i = 0; i < count; i++)
        found = found || strcmp(list[i], text) == 0 || (any_case && strcasecmp(list[i], text) == 0);
    return found;
}

/* Bits of the identities that a certificate leads to, by fingerprint or else by name. */
static unsigned led_to(const struct identity_certificate *c)
{
    unsigned named = 0;
    if (strcmp(c->fingerprint, SHA_A) == 0)
        return 1;
    if ((c->uri_count == 1 && has(c->uris, 1, "spiffe://example.org/ci", false)) ||
        has(c->names, c->name_count, "ci.example.org", true))
        named |= 1;
    if (has(c->uris, c->uri_count, "https://example.org/audit", false) ||
        has(c->emails, c->email_count, "audit@example.org", false))
        named |= 2;
    if (has(c->uris, c->uri_count, "spiffe://example.org/ops", false) ||
        has(c->names, c->name_count, "ops.example.org", true))
        named |= 4;
    return named;
}

static void fuzz_names(const uint8_t *data, size_t len)
{
    struct names n = {0};
    struct identity identity = {.peer = "tls:192.0.2.7"};
    char *rest = NULL;
    char *text = strndup((const char *)data, len);
    MUST(text != NULL);
    n.c.uris = n.uris;
    n.c.names = n.dns;
    n.c.emails = n.emails;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
        read_name(&n, line);
    identity_of_certificate(&identity, &table, &n.c);
    settled(&identity);
    unsigned named = led_to(&n.c);
    bool one = named == 1 || named == 2 || named == 4;
    MUST(one == (identity.roles != 0));
    MUST(!one || named == 1U << (identity.rules - table.identities));
    free(text);
}

/* Files ----------------------------------------------------------------------------------------
 */

static void fuzz_files(const uint8_t *data, size_t len)
{
    struct tls_files files = {0};
    char *const paths[FILES] = {files.certificate, files.key, files.trust, files.crl};
    int fds[FILES];
    struct err err = {0};
    bool named = false;
    for (size_t i = 0; i < FILES; i++) {
        size_t size = len >= 2 ? be_get16(data) : 0;
        size_t head = len >= 2 ? 2 : len;
        if (size > len - head)
            size = len - head;
        fds[i] = memfd_create("pem", MFD_CLOEXEC);
        MUST(fds[i] >= 0 && fchmod(fds[i], 0600) == 0);
        MUST(write(fds[i], data + head, size) == (ssize_t)size);
        if (size > 0 || i < 3)
            (void)snprintf(paths[i], TLS_PATH_MAX, "/proc/self/fd/%d", fds[i]);
        data += head + size;
        len -= head + size;
    }
    if (tls_check(&files, &err) != RC_OK) {
        for (size_t i = 0; i < FILES; i++)
            named = named || (paths[i][0] != '\0' && strstr(err.text, paths[i]) != NULL);
        MUST(err.rc == RC_REFUSED_CONFIG && named);
    }
    for (size_t i = 0; i < FILES; i++)
        (void)close(fds[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static bool started;
    if (!started)
        MUST(base_init_public(NULL) == RC_OK);
    started = true;
    if (len < 1)
        return 0;
    if (data[0] == 'c')
        fuzz_certificate(data + 1, len - 1);
    else if (data[0] == 'n')
        fuzz_names(data + 1, len - 1);
    else if (data[0] == 'f')
        fuzz_files(data + 1, len - 1);
    return 0;
}
