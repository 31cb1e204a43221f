#include "http/tls.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "http/tls_files.h"
#include "http/tls_names.h"

#define CHAIN_MAX 8 /* certificates that a client may send */

/* What was read from the files at one time. Lives until the last connection that uses it is gone:
 * the library looks into it as long as a session lives. */
struct loaded {
    struct loaded *next; /* older */
    gnutls_certificate_credentials_t credentials;
    uint64_t generation; /* from 1 */
    unsigned sessions;
    unsigned quiet; /* looks that found no session */
};

struct tls {
    const struct tls_files *files;
    struct tls_stamp stamp; /* of the last attempt */
    pthread_mutex_t lock;
    struct loaded *now; /* newest first; NULL: nothing could be used yet */
};

struct tls_session {
    struct loaded *loaded;
    uint64_t generation, minute; /* of the last look at the certificate; generation 0: none yet */
};

/* A crowd of strangers must not fill the log: one line between two looks at the files. */
static atomic_bool refusal_said;

/* Files -----------------------------------------------------------------------------------------
 */

static void loaded_free(struct loaded *l)
{
    gnutls_certificate_free_credentials(l->credentials);
    free(l);
}

static void unlock(struct tls *tls)
{
    MUST(pthread_mutex_unlock(&tls->lock) == 0);
}

static void lock(struct tls *tls)
{
    MUST(pthread_mutex_lock(&tls->lock) == 0);
}

/* tls_end() is said before the session is gone, so an old one waits for a second look. */
static void free_unused(struct tls *tls)
{
    lock(tls);
    struct loaded **at = tls->now == NULL ? &tls->now : &tls->now->next;
    while (*at != NULL) {
        struct loaded *l = *at;
        l->quiet = l->sessions == 0 ? l->quiet + 1 : 0;
        if (l->quiet < 2) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        loaded_free(l);
    }
    unlock(tls);
}

static enum rc load(struct tls *tls, struct err *err)
{
    struct loaded *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory for TLS");
    enum rc rc = tls_files_read(&l->credentials, tls->files, err);
    if (rc != RC_OK) {
        free(l);
        return rc;
    }
    lock(tls);
    l->generation = tls->now == NULL ? 1 : tls->now->generation + 1;
    l->next = tls->now;
    tls->now = l;
    unlock(tls);
    return RC_OK;
}

void tls_look(struct tls *tls, bool now)
{
    struct tls_stamp stamp;
    struct err err = {0};
    atomic_store(&refusal_said, false);
    free_unused(tls);
    /* Before they are read: one that is written meanwhile is read again. */
    tls_stamp(&stamp, tls->files);
    if (!now && tls_stamp_equal(&stamp, &tls->stamp))
        return;
    tls->stamp = stamp;
    if (load(tls, &err) == RC_OK)
        log_event(LOG_LEVEL_NOTICE, &LOG_NOTHING, "TLS: certificates of %s are in use",
                  tls->files->certificate);
    else
        log_event(LOG_LEVEL_ERROR, &(struct log_fields){.index = -1, .err = &err},
                  tls_ready(tls) ? "TLS: the new certificates cannot be used, the old ones stay"
                                 : "TLS: the certificates cannot be used, nobody is let in");
}

enum rc tls_open(struct tls **tls, const struct tls_files *files, struct err *err)
{
    *tls = calloc(1, sizeof(**tls));
    if (*tls == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "errno", ENOMEM, "no memory for TLS");
    (*tls)->files = files;
    MUST(pthread_mutex_init(&(*tls)->lock, NULL) == 0);
    tls_look(*tls, true);
    return RC_OK;
}

void tls_close(struct tls **tls)
{
    if (*tls == NULL)
        return;
    for (struct loaded *l = (*tls)->now; l != NULL; l = (*tls)->now) {
        MUST(l->sessions == 0);
        (*tls)->now = l->next;
        loaded_free(l);
    }
    MUST(pthread_mutex_destroy(&(*tls)->lock) == 0);
    free(*tls);
    *tls = NULL;
}

enum rc tls_check(const struct tls_files *files, struct err *err)
{
    gnutls_certificate_credentials_t credentials = NULL;
    enum rc rc = tls_files_read(&credentials, files, err);
    if (rc == RC_OK)
        gnutls_certificate_free_credentials(credentials);
    return rc;
}

bool tls_ready(struct tls *tls)
{
    lock(tls);
    bool ready = tls->now != NULL;
    unlock(tls);
    return ready;
}

/* The handshake ---------------------------------------------------------------------------------
 */

static void say_refused(unsigned status, int code)
{
    gnutls_datum_t text = {0};
    if (atomic_exchange(&refusal_said, true))
        return;
    if (code < 0)
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "TLS: a client was refused: %s",
                  gnutls_strerror(code));
    else if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) == 0)
        log_event(LOG_LEVEL_WARNING, &LOG_NOTHING, "TLS: a client was refused: %s", text.data);
    gnutls_free(text.data);
}

/* Inside the handshake, which ends with an alert unless this is 0. */
static int verify(gnutls_session_t session)
{
    char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st data = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                  .data = (unsigned char *)purpose};
    unsigned status = 0;
    int code = gnutls_certificate_verify_peers(session, &data, 1, &status);
    if (code == 0 && status == 0)
        return 0;
    say_refused(status, code);
    return GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR;
}

static struct loaded *hold(struct tls *tls)
{
    lock(tls);
    struct loaded *l = tls->now;
    if (l != NULL)
        l->sessions++;
    unlock(tls);
    return l;
}

static void let_go(struct tls *tls, struct loaded *l)
{
    lock(tls);
    MUST(l->sessions > 0);
    l->sessions--;
    unlock(tls);
}

struct tls_session *tls_begin(struct tls *tls, void *handle)
{
    struct tls_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return NULL;
    session->loaded = hold(tls);
    if (session->loaded == NULL ||
        gnutls_credentials_set(handle, GNUTLS_CRD_CERTIFICATE, session->loaded->credentials) < 0) {
        tls_end(tls, &session);
        return NULL;
    }
    /* Asking alone would let those in who send none, or one that is no good. */
    gnutls_certificate_server_set_request(handle, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_function(handle, verify);
    return session;
}

static int none(gnutls_session_t session, const gnutls_datum_t *issuers, int count,
                const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
                gnutls_pcert_st **chain, unsigned *chain_len, gnutls_privkey_t *key)
{
    (void)session;
    (void)issuers;
    (void)count;
    (void)algorithms;
    (void)algorithm_count;
    *chain = NULL;
    *chain_len = 0;
    *key = NULL;
    return -1;
}

intptr_t tls_no_certificate(void)
{
    gnutls_certificate_retrieve_function2 *function = none;
    return (intptr_t)function;
}

void tls_end(struct tls *tls, struct tls_session **session)
{
    if (*session == NULL)
        return;
    if ((*session)->loaded != NULL)
        let_go(tls, (*session)->loaded);
    free(*session);
    *session = NULL;
}

/* Who is it? ------------------------------------------------------------------------------------
 */

struct chain {
    gnutls_x509_crt_t list[CHAIN_MAX];
    unsigned count;
};

static void chain_free(struct chain *c)
{
    for (unsigned i = 0; i < c->count; i++)
        gnutls_x509_crt_deinit(c->list[i]);
    c->count = 0;
}

static bool chain_of(struct chain *c, const gnutls_datum_t *der, unsigned count)
{
    for (unsigned i = 0; i < count && i < CHAIN_MAX; i++) {
        if (gnutls_x509_crt_init(&c->list[i]) < 0)
            return false;
        c->count++;
        if (gnutls_x509_crt_import(c->list[i], &der[i], GNUTLS_X509_FMT_DER) < 0)
            return false;
    }
    return count > 0 && count <= CHAIN_MAX;
}

/* The same question as in the handshake, by the issuers and lists of now. */
static bool still_good(struct tls *tls, struct chain *c, uint64_t *generation, unsigned *status)
{
    char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st data = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                  .data = (unsigned char *)purpose};
    gnutls_x509_trust_list_t trust = NULL;
    struct loaded *l = hold(tls);
    if (l == NULL)
        return false;
    *generation = l->generation;
    gnutls_certificate_get_trust_list(l->credentials, &trust);
    int code = gnutls_x509_trust_list_verify_crt2(
        trust, c->list, c->count, &data, 1, GNUTLS_PROFILE_TO_VFLAGS(TLS_PROFILE), status, NULL);
    let_go(tls, l);
    return code == 0 && *status == 0;
}

static void say_bad(struct identity *identity, unsigned status)
{
    char why[sizeof(identity->why)];
    gnutls_datum_t text = {0};
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0)
        text = (gnutls_datum_t){0};
    (void)snprintf(why, sizeof(why), "the certificate is no longer good: %.100s",
                   text.data != NULL ? (const char *)text.data : "");
    gnutls_free(text.data);
    identity_nobody(identity, why);
}

void tls_identify(struct tls *tls, struct tls_session *session, void *handle, uint64_t minute,
                  const struct access *access, struct identity *identity)
{
    struct chain chain CLEANUP(chain_free) = {0};
    unsigned count = 0;
    unsigned status = 0;
    uint64_t newest = 0;
    lock(tls);
    newest = tls->now != NULL ? tls->now->generation : 0;
    unlock(tls);
    if (session->generation == newest && session->minute == minute)
        return;
    const gnutls_datum_t *der = gnutls_certificate_get_peers(handle, &count);
    session->minute = minute;
    if (der == NULL || !chain_of(&chain, der, count))
        identity_nobody(identity, "there is no certificate that can be read");
    else if (!still_good(tls, &chain, &session->generation, &status))
        say_bad(identity, status);
    else
        tls_names_identify(identity, access, chain.list[0]);
}
