#include "http/tls_names.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"

#define NAMES_MAX 32 /* of each kind in one certificate */
#define NAME_SIZE (ACCESS_TEXT_MAX + 1)

/* The names of a certificate, each with room of its own. */
struct names {
    char uris[NAMES_MAX][NAME_SIZE], names[NAMES_MAX][NAME_SIZE], emails[NAMES_MAX][NAME_SIZE];
    const char *uri_list[NAMES_MAX], *name_list[NAMES_MAX], *email_list[NAMES_MAX];
    struct identity_certificate certificate;
};

/* One that does not fit, or has a NUL inside, stays "" and so is nobody's; it counts all the same.
 */
static bool add_name(char room[NAMES_MAX][NAME_SIZE], const char *list[NAMES_MAX], size_t *count,
                     const char *text, size_t len)
{
    if (*count == NAMES_MAX)
        return false;
    if (len < NAME_SIZE && memchr(text, '\0', len) == NULL)
        memcpy(room[*count], text, len);
    list[*count] = room[*count];
    (*count)++;
    return true;
}

static bool take_name(struct names *n, int type, const char *text, size_t len)
{
    struct identity_certificate *c = &n->certificate;
    if (type == GNUTLS_SAN_URI)
        return add_name(n->uris, n->uri_list, &c->uri_count, text, len);
    if (type == GNUTLS_SAN_DNSNAME)
        return add_name(n->names, n->name_list, &c->name_count, text, len);
    if (type == GNUTLS_SAN_RFC822NAME)
        return add_name(n->emails, n->email_list, &c->email_count, text, len);
    return true;
}

static bool read_names(struct names *n, gnutls_x509_crt_t certificate)
{
    for (unsigned i = 0;; i++) {
        char text[NAME_SIZE];
        size_t len = sizeof(text);
        int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, text, &len, NULL);
        if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            break;
        if (type == GNUTLS_E_SHORT_MEMORY_BUFFER)
            return false; /* its kind is not said then */
        if (type < 0 || !take_name(n, type, text, len))
            return false;
    }
    n->certificate.uris = n->uri_list;
    n->certificate.names = n->name_list;
    n->certificate.emails = n->email_list;
    return true;
}

void tls_names_identify(struct identity *identity, const struct access *access,
                        gnutls_x509_crt_t certificate)
{
    uint8_t sha256[SHA256_LEN];
    size_t len = sizeof(sha256);
    struct names *n = calloc(1, sizeof(*n));
    if (n == NULL ||
        gnutls_x509_crt_get_fingerprint(certificate, GNUTLS_DIG_SHA256, sha256, &len) < 0 ||
        !read_names(n, certificate)) {
        identity_nobody(identity, "the certificate has more names, or longer ones, than are read");
        free(n);
        return;
    }
    hex_encode(n->certificate.fingerprint, sha256, sizeof(sha256));
    identity_of_certificate(identity, access, &n->certificate);
    free(n);
}
