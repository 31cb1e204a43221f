/*
 * document: an attestation as one JSON document that can be verified without the service, its TPM
 * or a network: what the service claims, what the TPM signed, and what that means.
 *
 * Everything the service says stands in "bound", and the TPM signs the SHA-256 of bound's canonical
 * JSON (RFC 8785) in each statement: so one nonce and one ledger head go with all of them, and no
 * part of one document can be put into another. "meaning" is what a reader is after; it is computed
 * again from the rest and compared, never believed.
 *
 * A document has one form: canonical JSON, one newline behind it at most. Uses: base, Jansson.
 * Pure but for memory; any thread.
 */
#ifndef ATTEST_DOCUMENT_H
#define ATTEST_DOCUMENT_H

#include <stdbool.h>

#include "attest/names.h"
#include "base/attested.h"
#include "base/jcs.h"
#include "base/lease.h"
#include "base/record.h"
#include "base/text.h"

#define ATTEST_DOCUMENT_VERSION 1
#define ATTEST_NONCE_MIN 8
#define ATTEST_NONCE_MAX 64
#define ATTEST_TEXT_MAX (16 * 1024) /* bytes of a document */

/** What the service says, and what the TPM's signatures hold it to. */
struct attest_bound {
    char key[NAME_LEN_MAX + 1];
    uint8_t plan_sha256[SHA256_LEN];
    uint8_t public_sha256[SHA256_LEN]; /* of the raw public key, RFC 8554 or RFC 8391 */
    uint8_t nonce[ATTEST_NONCE_MAX];
    size_t nonce_len;         /* ATTEST_NONCE_MIN … ATTEST_NONCE_MAX */
    uint8_t head[SHA256_LEN]; /* newest entry of the key's chain in the ledger */
    uint64_t entries;         /* how many entries the whole ledger had */
    int64_t at_s;             /* the host's clock */
    uint8_t ak_name[TPM_NAME_LEN], ek_name[TPM_NAME_LEN];
    uint8_t w_name[TPM_NAME_LEN], l_name[TPM_NAME_LEN], a_name[TPM_NAME_LEN];
    int64_t w_base;   /* floor = W - w_base */
    uint64_t l_first; /* epoch = L - l_first */
    char tpm[40];     /* maker's name, as the TPM says it */
    bool tpm_virtual;
};

/** What the TPM's statements come to. */
struct attest_meaning {
    int64_t floor;  /* highest window that was ever opened; below 0: none yet */
    uint64_t epoch; /* leases or batches that the device ever took */
    uint64_t w, l;  /* the counters themselves */
    uint64_t clock_ms;
    uint32_t reset_count, restart_count;
    bool safe; /* the TPM says that its clock was never lower */
    uint64_t firmware;
    uint8_t anchored_head[SHA256_LEN]; /* what A says, written at the last lease or later */
    int64_t anchored_window;
    int64_t anchored_wall_s;
};

struct attest_document {
    struct attest_bound bound;
    uint8_t ak[P256_POINT_LEN], ek[P256_POINT_LEN];
    struct attest_evidence evidence;
    struct attest_meaning meaning;
};

/**
 * What goes into the TPM's statements: SHA-256 over bound as canonical JSON.
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc attest_digest(uint8_t digest[32], const struct attest_bound *bound,
                      struct err *err) MUST_CHECK;

/** Write the document as one JSON value. bound->tpm must be printable ASCII. */
void attest_document_print(struct jcs *j, const struct attest_document *doc);

/**
 * Read a document. That its parts fit together is attest_verify()'s business.
 * @param[in]  text, len  Untrusted; need not end with NUL.
 * @param[out] doc        All zero unless RC_OK.
 * @retval RC_REFUSED_SIGNATURE  It is no such document: the text says where it stops being one.
 * @retval RC_RETRY_SYSTEM       No memory.
 */
enum rc attest_document_parse(struct attest_document *doc, const char *text, size_t len,
                              struct err *err) MUST_CHECK;

/** A receipt that carries an attestation, as the service hands it out. */
struct attest_receipt {
    struct attest_document document;
    uint8_t entry_sha256[SHA256_LEN]; /* hash of the receipt's entry: without the attestation */
    char key[NAME_LEN_MAX + 1];
    uint8_t id[16];
    uint64_t index;
};

/**
 * Read a receipt: the entry of the ledger with one more member "attestation", which is taken out
 * before the entry is hashed.
 * @retval RC_REFUSED_NOT_FOUND  It is a receipt, but carries none: only one in each period does.
 * @retval RC_REFUSED_SIGNATURE, RC_RETRY_SYSTEM  As attest_document_parse().
 */
enum rc attest_receipt_parse(struct attest_receipt *receipt, const char *text, size_t len,
                             struct err *err) MUST_CHECK;

/**
 * Put an attestation into a receipt's entry, so that attest_receipt_parse() can take it out.
 * @param[in]  entry     Canonical JSON of the entry.
 * @param[in]  document  Canonical JSON of the attestation.
 * @param[out] text      malloc'ed, NUL-terminated; the caller frees it.
 * @retval RC_HALT_INVARIANT  The entry does not begin like a receipt.
 * @retval RC_RETRY_SYSTEM    No memory.
 */
enum rc attest_receipt_join(char **text, const char *entry, const char *document,
                            struct err *err) MUST_CHECK;

#endif
