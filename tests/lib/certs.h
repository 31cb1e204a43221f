/*
 * certs: issuers, certificates and revocation lists for tests, made with GnuTLS, and a client that
 * speaks TLS with them. Files are DIR/NAME.pem, DIR/NAME.key and DIR/NAME.crl.
 *
 * All functions fail the running cmocka test when something goes wrong that is not the point of it.
 */
#ifndef TESTS_CERTS_H
#define TESTS_CERTS_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdint.h>

#define CERTS_TLS13 "NORMAL:-VERS-ALL:+VERS-TLS1.3"

/** Zero is: a client's, good from an hour ago for a day, without names. */
struct cert_options {
    const char *uri, *uri2, *dns, *email; /* subject alternative names, or NULL */
    bool issuer;                          /* a CA */
    bool server;                          /* meant for servers (with "localhost"), not clients */
    bool any_purpose;                     /* says nothing about what it is meant for */
    int64_t from_s, to_s;                 /* from now; both 0: as above */
    unsigned rsa_bits;                    /* 0: ECDSA with P-256 */
};

/** @param[in] issuer  Name of an earlier one, or NULL: signs itself. */
void certs_make(const char *dir, const char *name, const char *issuer,
                const struct cert_options *options);

/** A list of an issuer's, DIR/NAME.crl. @param[in] revoked  Name of a certificate, or NULL. */
void certs_revoke(const char *dir, const char *name, const char *issuer, const char *revoked,
                  int64_t next_update_s);

/** SHA-256 of a certificate as hexadecimal digits. */
void certs_fingerprint(const char *dir, const char *name, char out[65]);

struct certs_client {
    int fd;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
};

/**
 * Connect to 127.0.0.1 and shake hands. The server's certificate must be one of this issuer.
 * @param[in] name        Own certificate, or NULL: none.
 * @param[in] priorities  CERTS_TLS13, or others.
 * @return false: no handshake. With TLS 1.3 a client that is refused learns it with its first read.
 */
bool certs_connect(struct certs_client *c, uint16_t port, const char *dir, const char *issuer,
                   const char *name, const char *priorities);

/**
 * Send text and read an answer.
 * @param[in]  request  "": it was sent already.
 * @param[out] out  Start of the answer, NUL-terminated, or NULL.
 * @return HTTP status, 0 if the connection ended instead.
 */
int certs_ask(struct certs_client *c, const char *request, char *out, size_t size);

/** Fine on a zeroed struct. */
void certs_close(struct certs_client *c);

#endif
