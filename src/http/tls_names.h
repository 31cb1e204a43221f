/*
 * tls_names: what a certificate says of its owner, and which identity that is.
 *
 * Uses: base, identity.h, GnuTLS. Any thread. tls.c calls it, for certificates that are good.
 */
#ifndef HTTP_TLS_NAMES_H
#define HTTP_TLS_NAMES_H

#include <gnutls/x509.h>

#include "http/identity.h"

/**
 * Read the fingerprint and the alternative names (URI, DNS, e-mail; RFC 5280 section 4.2.1.6) and
 * look for their identity. A name that is longer than any of the configuration, or that has a NUL
 * inside, is nobody's and counts all the same (identity_of_certificate()).
 *
 * @param[in,out] identity     From identity_of_socket(). Nobody, with the reason, if the names
 *                             cannot be read, are too many, or lead to none or to two.
 * @param[in]     access       The table, borrowed as long as *identity lives.
 * @param[in]     certificate  Borrowed for the call. Whether it is to be trusted is not asked here.
 */
void tls_names_identify(struct identity *identity, const struct access *access,
                        gnutls_x509_crt_t certificate);

#endif
