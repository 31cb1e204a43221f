/*
 * Fuzz target: attestations, as src/attest reads them.
 *
 * The first byte chooses: 's' a statement as a TPM signs it, 'd' a document, 'r' a receipt that
 * carries one, 'k' a public key in PEM, 'e' a signature in DER. Beside not crashing: what is read
 * and printed again is the same text, what is refused leaves zeros and a reason, and whatever is
 * read is judged with one of the codes that the header names.
 * Run: tests/fuzz/fuzz_attest -max_len=8192 CORPUS
 */
#include <stdlib.h>
#include <string.h>

#include "attest/statement.h"
#include "attest/verify.h"
#include "base/secmem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool all_zero(const void *p, size_t len)
{
    const uint8_t *bytes = p;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void refused(enum rc rc, const struct err *err, const void *out, size_t size)
{
    MUST(rc == RC_REFUSED_SIGNATURE || rc == RC_REFUSED_NOT_FOUND);
    MUST(err->rc == rc && err->text[0] != '\0');
    MUST(all_zero(out, size));
}

static void try_statement(const uint8_t *data, size_t len)
{
    static struct statement s;
    struct err err = {0};
    enum rc rc = statement_parse(&s, data, len, &err);
    if (rc != RC_OK) {
        refused(rc, &err, &s, sizeof(s));
        return;
    }
    MUST(s.contents_len <= sizeof(s.contents));
    MUST(s.type == STATEMENT_NV || s.type == STATEMENT_TIME);
}

static void judge(const struct attest_document *doc)
{
    static const struct attest_expected nothing;
    struct attest_meaning m;
    struct err err = {0};
    enum rc rc = attest_verify(doc, &nothing, &m, &err);
    if (rc != RC_OK)
        refused(rc, &err, &m, sizeof(m));
    else
        (void)!attest_meaning_check(doc, &m, &err);
}

static void try_document(const char *text, size_t len)
{
    static struct attest_document doc;
    struct jcs again CLEANUP(jcs_wipe) = {0};
    struct err err = {0};
    enum rc rc = attest_document_parse(&doc, text, len, &err);
    if (rc != RC_OK) {
        refused(rc, &err, &doc, sizeof(doc));
        return;
    }
    attest_document_print(&again, &doc);
    MUST(jcs_finish(&again));
    MUST(again.len == len || (again.len + 1 == len && text[len - 1] == '\n'));
    MUST(memcmp(again.text, text, again.len) == 0);
    judge(&doc);
}

static void try_receipt(const char *text, size_t len)
{
    static struct attest_receipt receipt;
    static const struct attest_expected nothing;
    struct attest_meaning m;
    struct err err = {0};
    enum rc rc = attest_receipt_parse(&receipt, text, len, &err);
    if (rc != RC_OK) {
        refused(rc, &err, &receipt, sizeof(receipt));
        return;
    }
    rc = attest_receipt_verify(&receipt, &nothing, &m, &err);
    if (rc != RC_OK)
        refused(rc, &err, &m, sizeof(m));
}

static void try_key(const uint8_t *data, size_t len)
{
    uint8_t point[P256_POINT_LEN];
    char again[P256_PEM_SIZE];
    char *text = malloc(len + 1);
    MUST(text != NULL);
    memcpy(text, data, len);
    text[len] = '\0';
    if (p256_pem_parse(point, text)) {
        p256_pem_print(again, point);
        MUST(strncmp(again, text, strlen(text)) == 0);
    } else {
        MUST(all_zero(point, sizeof(point)));
    }
    free(text);
}

static void try_signature(const uint8_t *data, size_t len)
{
    uint8_t sig[P256_SIG_LEN], again[P256_SIG_DER_MAX];
    if (p256_sig_parse(sig, data, len)) {
        MUST(p256_sig_print(again, sig) == len);
        MUST(memcmp(again, data, len) == 0);
    } else {
        MUST(all_zero(sig, sizeof(sig)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static bool started;
    if (!started)
        MUST(base_init_public(NULL) == RC_OK);
    started = true;
    if (len < 1)
        return 0;
    const uint8_t kind = *data++;
    len--;
    if (kind == 's')
        try_statement(data, len);
    else if (kind == 'd')
        try_document((const char *)data, len);
    else if (kind == 'r')
        try_receipt((const char *)data, len);
    else if (kind == 'k')
        try_key(data, len);
    else if (kind == 'e')
        try_signature(data, len);
    return 0;
}
