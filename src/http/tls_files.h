/*
 * tls_files: from PEM files to credentials of the TLS library. Nothing is used that is not good in
 * all its parts: certificate and key belong together, the certificate is for servers, each
 * revocation list is signed by one of the issuers and has not run out.
 *
 * Uses: base, GnuTLS. Any thread. tls.c is the only caller.
 */
#ifndef HTTP_TLS_FILES_H
#define HTTP_TLS_FILES_H

#include <gnutls/gnutls.h>

#include "http/tls.h"

/** Who the files are just now; differs when one was written or replaced. */
struct tls_stamp {
    struct {
        uint64_t device, inode, size;
        int64_t changed_s, changed_ns;
    } files[4];
};

void tls_stamp(struct tls_stamp *stamp, const struct tls_files *files);
bool tls_stamp_equal(const struct tls_stamp *a, const struct tls_stamp *b) MUST_CHECK;

/**
 * @param[out] credentials  gnutls_certificate_free_credentials() it.
 * @retval RC_REFUSED_CONFIG  A file cannot be read, is open to others, or cannot be used.
 * @retval RC_RETRY_SYSTEM    No memory.
 */
enum rc tls_files_read(gnutls_certificate_credentials_t *credentials, const struct tls_files *files,
                       struct err *err) MUST_CHECK;

#endif
