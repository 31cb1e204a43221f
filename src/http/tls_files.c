#include "http/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define ISSUERS_MAX 256
#define CHAIN_MAX 8
#define CRLS_MAX 64

/* One file in memory. The room is wiped when it goes: one of the four is the key. */
struct pem {
    gnutls_datum_t bytes; /* with a NUL behind, which is not counted */
};

static void pem_wipe(struct pem *pem)
{
    if (pem->bytes.data != NULL)
        explicit_bzero(pem->bytes.data, pem->bytes.size);
    free(pem->bytes.data);
    *pem = (struct pem){0};
}

/* Stamps ----------------------------------------------------------------------------------------
 */

static const char *path_at(const struct tls_files *files, size_t i)
{
    const char *const paths[] = {files->certificate, files->key, files->trust, files->crl};
    return paths[i];
}

void tls_stamp(struct tls_stamp *stamp, const struct tls_files *files)
{
    struct stat s;
    *stamp = (struct tls_stamp){0};
    for (size_t i = 0; i < sizeof(stamp->files) / sizeof(stamp->files[0]); i++) {
        const char *path = path_at(files, i);
        if (path[0] == '\0' || stat(path, &s) != 0)
            continue;
        stamp->files[i].device = s.st_dev;
        stamp->files[i].inode = s.st_ino;
        stamp->files[i].size = (uint64_t)s.st_size;
        stamp->files[i].changed_s = s.st_mtim.tv_sec;
        stamp->files[i].changed_ns = s.st_mtim.tv_nsec;
    }
}

bool tls_stamp_equal(const struct tls_stamp *a, const struct tls_stamp *b)
{
    for (size_t i = 0; i < sizeof(a->files) / sizeof(a->files[0]); i++)
        if (a->files[i].device != b->files[i].device || a->files[i].inode != b->files[i].inode ||
            a->files[i].size != b->files[i].size ||
            a->files[i].changed_s != b->files[i].changed_s ||
            a->files[i].changed_ns != b->files[i].changed_ns)
            return false;
    return true;
}

/* Reading ---------------------------------------------------------------------------------------
 */

static enum rc refuse(const char *path, int code, const char *what, struct err *err)
{
    return FAIL(err, code == GNUTLS_E_MEMORY_ERROR ? RC_RETRY_SYSTEM : RC_REFUSED_CONFIG, "gnutls",
                code, "%s: %s%s%s", path, what, code < 0 ? ": " : "",
                code < 0 ? gnutls_strerror(code) : "");
}

/* systemd shows the mask of a credential's access list as the group's bits, so the group may read;
 * a key that anybody may read, or others may write, is no secret. */
static bool is_secret(const struct stat *s)
{
    return (s->st_mode & 0037) == 0 && (s->st_uid == 0 || s->st_uid == geteuid());
}

static enum rc pem_read(struct pem *pem, const char *path, bool secret, struct err *err)
{
    int fd CLEANUP(fd_close) = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat s;
    if (fd < 0 || fstat(fd, &s) != 0)
        return FAIL(err, RC_REFUSED_CONFIG, "errno", errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(s.st_mode) || s.st_size < 1 || s.st_size > TLS_FILE_MAX)
        return refuse(path, 0, "not a file of 1 byte to 1 MiB", err);
    if (secret && !is_secret(&s))
        return refuse(path, 0, "the key must be ours or root's alone: chmod 400", err);
    pem->bytes.data = malloc((size_t)s.st_size + 1);
    if (pem->bytes.data == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory for %s", path);
    pem->bytes.size = (unsigned)s.st_size;
    pem->bytes.data[s.st_size] = '\0';
    if (!pread_full(fd, pem->bytes.data, (size_t)s.st_size, 0))
        return FAIL(err, RC_REFUSED_CONFIG, "errno", errno, "%s became shorter", path);
    return RC_OK;
}

/* Using -----------------------------------------------------------------------------------------
 */

struct certificates {
    gnutls_x509_crt_t *list; /* allocated by the library */
    unsigned count;
};

static void certificates_free(struct certificates *c)
{
    for (unsigned i = 0; i < c->count; i++)
        gnutls_x509_crt_deinit(c->list[i]);
    gnutls_free(c->list);
    *c = (struct certificates){0};
}

static enum rc certificates_of(struct certificates *c, const struct pem *pem, const char *path,
                               unsigned max, struct err *err)
{
    int code =
        gnutls_x509_crt_list_import2(&c->list, &c->count, &pem->bytes, GNUTLS_X509_FMT_PEM, 0);
    if (code < 0) {
        *c = (struct certificates){0};
        return refuse(path, code, "no certificates in PEM", err);
    }
    return c->count <= max ? RC_OK : refuse(path, 0, "too many certificates", err);
}

static enum rc use_key(gnutls_certificate_credentials_t credentials, const struct tls_files *files,
                       struct err *err)
{
    struct pem certificate CLEANUP(pem_wipe) = {0};
    struct pem key CLEANUP(pem_wipe) = {0};
    struct certificates chain CLEANUP(certificates_free) = {0};
    enum rc rc = pem_read(&certificate, files->certificate, false, err);
    if (rc == RC_OK)
        rc = pem_read(&key, files->key, true, err);
    if (rc == RC_OK)
        rc = certificates_of(&chain, &certificate, files->certificate, CHAIN_MAX, err);
    if (rc != RC_OK)
        return rc;
    if (gnutls_x509_crt_check_key_purpose(chain.list[0], GNUTLS_KP_TLS_WWW_SERVER, 0) == 0)
        return refuse(files->certificate, 0, "the certificate is not meant for servers", err);
    int code = gnutls_certificate_set_x509_key_mem2(credentials, &certificate.bytes, &key.bytes,
                                                    GNUTLS_X509_FMT_PEM, NULL, 0);
    return code < 0 ? refuse(files->key, code, "certificate and key", err) : RC_OK;
}

struct lists {
    gnutls_x509_crl_t *list;
    unsigned count;
};

static void lists_free(struct lists *l)
{
    for (unsigned i = 0; i < l->count; i++)
        gnutls_x509_crl_deinit(l->list[i]);
    gnutls_free(l->list);
    *l = (struct lists){0};
}

/* A list of somebody else's would be taken by the library, and revoke nothing. */
static enum rc check_list(gnutls_x509_crl_t list, const struct certificates *issuers,
                          const char *path, struct err *err)
{
    unsigned status = 0;
    int code = gnutls_x509_crl_verify(list, issuers->list, issuers->count, 0, &status);
    if (code < 0)
        return refuse(path, code, "a list cannot be verified", err);
    if ((status & GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED) != 0)
        return refuse(path, 0, "a list has run out: its next update is due", err);
    if (status != 0)
        return refuse(path, 0, "a list is signed by none of the trusted issuers", err);
    return RC_OK;
}

static enum rc use_lists(gnutls_certificate_credentials_t credentials,
                         const struct certificates *issuers, const char *path, struct err *err)
{
    struct pem pem CLEANUP(pem_wipe) = {0};
    struct lists lists CLEANUP(lists_free) = {0};
    if (path[0] == '\0')
        return RC_OK;
    enum rc rc = pem_read(&pem, path, false, err);
    if (rc != RC_OK)
        return rc;
    int code =
        gnutls_x509_crl_list_import2(&lists.list, &lists.count, &pem.bytes, GNUTLS_X509_FMT_PEM, 0);
    if (code < 0) {
        lists = (struct lists){0};
        return refuse(path, code, "no revocation lists in PEM", err);
    }
    if (lists.count > CRLS_MAX)
        return refuse(path, 0, "too many revocation lists", err);
    for (unsigned i = 0; i < lists.count && rc == RC_OK; i++)
        rc = check_list(lists.list[i], issuers, path, err);
    if (rc != RC_OK)
        return rc;
    code = gnutls_certificate_set_x509_crl(credentials, lists.list, (int)lists.count);
    return code < 0 ? refuse(path, code, "revocation lists", err) : RC_OK;
}

static enum rc use_trust(gnutls_certificate_credentials_t credentials,
                         const struct tls_files *files, struct err *err)
{
    struct pem pem CLEANUP(pem_wipe) = {0};
    struct certificates issuers CLEANUP(certificates_free) = {0};
    enum rc rc = pem_read(&pem, files->trust, false, err);
    if (rc == RC_OK)
        rc = certificates_of(&issuers, &pem, files->trust, ISSUERS_MAX, err);
    if (rc != RC_OK)
        return rc;
    for (unsigned i = 0; i < issuers.count; i++)
        if (gnutls_x509_crt_get_ca_status(issuers.list[i], NULL) <= 0)
            return refuse(files->trust, 0, "has a certificate that is no issuer's (CA)", err);
    int code = gnutls_certificate_set_x509_trust(credentials, issuers.list, (int)issuers.count);
    if (code < 0)
        return refuse(files->trust, code, "trusted issuers", err);
    return use_lists(credentials, &issuers, files->crl, err);
}

enum rc tls_files_read(gnutls_certificate_credentials_t *credentials, const struct tls_files *files,
                       struct err *err)
{
    int code = gnutls_certificate_allocate_credentials(credentials);
    if (code < 0) {
        *credentials = NULL;
        return refuse(files->certificate, code, "credentials", err);
    }
    enum rc rc = use_key(*credentials, files, err);
    if (rc == RC_OK)
        rc = use_trust(*credentials, files, err);
    if (rc == RC_OK)
        return RC_OK;
    gnutls_certificate_free_credentials(*credentials);
    *credentials = NULL;
    return rc;
}
