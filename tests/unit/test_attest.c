/*
 * src/attest: everything that a verifier must refuse, with a signature that is right (forger) and
 * with one that is not; names, keys and signatures in the forms of other people; and documents that
 * a real software TPM signed (tests/attest, made by tests/integration/test_attest -w).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attest/statement.h"
#include "attest/verify.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/secmem.h"
#include "lib/forger.h"
#include "lib/quick.h"

static struct forger forger;
static const struct attest_expected nothing;

static int group_setup(void **state)
{
    struct err err = {0};
    (void)state;
    if (base_init_public(&err) != RC_OK)
        return -1;
    forger_make(&forger);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    forger_end(&forger);
    return 0;
}

/* The document is refused, and the reason has these words. */
static void refused(const struct attest_document *doc, const struct attest_expected *want,
                    const char *words)
{
    struct err err = {0};
    static const struct attest_meaning zero;
    struct attest_meaning m;
    memset(&m, 0x55, sizeof(m));
    assert_int_equal(attest_verify(doc, want, &m, &err), RC_REFUSED_SIGNATURE);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, words);
    assert_memory_equal(&m, &zero, sizeof(m));
}

static void good(const struct attest_document *doc, const struct attest_expected *want,
                 struct attest_meaning *m)
{
    struct err err = {0};
    if (attest_verify(doc, want, m, &err) != RC_OK)
        fail_msg("%s", err.text);
}

static void test_good(void **state)
{
    struct forgery g;
    struct attest_document doc;
    struct attest_meaning m;
    struct err err = {0};
    (void)state;
    forgery_begin(&forger, &g);
    forger_document(&forger, &g, &doc);
    const struct attest_expected want = {
        .nonce = g.bound.nonce, .nonce_len = g.bound.nonce_len, .ak = forger.point};
    good(&doc, &want, &m);
    assert_int_equal(m.floor, 42);
    assert_int_equal(m.epoch, 7);
    assert_int_equal(m.w, 50);
    assert_int_equal(m.l, 12);
    assert_int_equal(m.clock_ms, 70005);
    assert_int_equal(m.reset_count, 3);
    assert_int_equal(m.restart_count, 1);
    assert_true(m.safe);
    assert_int_equal(m.anchored_window, 42);
    assert_int_equal(m.anchored_wall_s, 1799999999);
    assert_int_equal(attest_meaning_check(&doc, &m, &err), RC_OK);
    g.no_time = true;
    forger_document(&forger, &g, &doc);
    good(&doc, &want, &m);
    assert_int_equal(m.clock_ms, 70001);
}

/* What the signature does not say ---------------------------------------------------------------
 */

static void test_expectations(void **state)
{
    struct forgery g;
    struct attest_document doc;
    (void)state;
    forgery_begin(&forger, &g);
    forger_document(&forger, &g, &doc);
    uint8_t nonce[16], other[P256_POINT_LEN];
    memcpy(nonce, g.bound.nonce, 16);
    nonce[15] ^= 1;
    refused(&doc, &(struct attest_expected){.nonce = nonce, .nonce_len = 16}, "nonce");
    refused(&doc, &(struct attest_expected){.nonce = g.bound.nonce, .nonce_len = 15}, "nonce");
    memcpy(other, forger.point, sizeof(other));
    other[63] ^= 1;
    refused(&doc, &(struct attest_expected){.ak = other}, "another TPM");

    doc.ak[3] ^= 1;
    refused(&doc, &nothing, "the attestation key is not the one that is named");
    doc.ak[3] ^= 1;
    doc.ek[3] ^= 1;
    refused(&doc, &nothing, "the endorsement key is not the one that is named");
}

/* A key with other attributes, one that signs what it is told to, has another Name; everything in
 * the document fits it, and it is refused all the same. */
static void test_unrestricted_key(void **state)
{
    struct forgery g;
    struct attest_document doc;
    (void)state;
    forgery_begin(&forger, &g);
    g.bound.ak_name[20] ^= 1;
    struct forged *all[] = {&g.w, &g.l, &g.a, &g.time};
    for (size_t i = 0; i < 4; i++)
        attest_qualified_name(all[i]->signer, g.bound.ak_name);
    forgery_bind(&g);
    forger_document(&forger, &g, &doc);
    refused(&doc, &nothing, "no restricted signing key");
}

/* Each field of what is bound goes into the digest that was signed. */
static void test_binding(void **state)
{
    struct forgery g;
    struct attest_document doc;
    (void)state;
    forgery_begin(&forger, &g);
#define CHANGED(field, words)                                                                      \
    do {                                                                                           \
        forger_document(&forger, &g, &doc);                                                        \
        ((uint8_t *)&doc.bound.field)[0] ^= 1;                                                     \
        refused(&doc, &nothing, (words));                                                          \
    } while (0)
    CHANGED(key, "another question");
    CHANGED(plan_sha256, "another question");
    CHANGED(public_sha256, "another question");
    CHANGED(nonce, "another question");
    CHANGED(head, "another question");
    CHANGED(entries, "another question");
    CHANGED(at_s, "another question");
    CHANGED(w_name, "another question");
    CHANGED(l_name, "another question");
    CHANGED(a_name, "another question");
    CHANGED(w_base, "another question");
    CHANGED(l_first, "another question");
    CHANGED(tpm, "another question");
    CHANGED(ak_name, "attestation key");
    CHANGED(ek_name, "endorsement key");
    forger_document(&forger, &g, &doc);
    doc.bound.tpm_virtual = false;
    refused(&doc, &nothing, "another question");
    doc.bound.tpm_virtual = true;
    doc.bound.nonce_len--;
    refused(&doc, &nothing, "another question");
}

static void test_signature(void **state)
{
    struct forgery g;
    struct attest_document doc;
    (void)state;
    forgery_begin(&forger, &g);
    forger_document(&forger, &g, &doc);
    struct attested *all[] = {&doc.evidence.w, &doc.evidence.l, &doc.evidence.a,
                              &doc.evidence.time};
    for (size_t i = 0; i < 4; i++) {
        for (size_t bit = 0; bit < all[i]->len * 8; bit += 29 * quick_stride(7)) {
            all[i]->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            refused(&doc, &nothing, "signature is not the attestation key's");
            all[i]->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        all[i]->sig[40] ^= 1;
        refused(&doc, &nothing, "signature is not the attestation key's");
        all[i]->sig[40] ^= 1;
        all[i]->len--;
        refused(&doc, &nothing, "signature is not the attestation key's");
        all[i]->len++;
    }
    doc.evidence.a.len = 0;
    refused(&doc, &nothing, "A is missing");
}

/* L for W, an index for the time, one document's statement in another. */
static void test_swapped(void **state)
{
    struct forgery g;
    struct attest_document doc, other;
    (void)state;
    forgery_begin(&forger, &g);
    forger_document(&forger, &g, &doc);
    g.bound.nonce[0]++;
    forgery_bind(&g);
    forger_document(&forger, &g, &other);
    struct attested w = doc.evidence.w;
    doc.evidence.w = doc.evidence.l;
    refused(&doc, &nothing, "W: the statement is of another NV index");
    doc.evidence.w = doc.evidence.time;
    refused(&doc, &nothing, "W: a statement of another type");
    doc.evidence.w = other.evidence.w;
    refused(&doc, &nothing, "W: the TPM signed for another question");
    doc.evidence.w = w;
    doc.evidence.time = w;
    refused(&doc, &nothing, "the time: a statement of another type");
    doc.evidence.time = other.evidence.time;
    refused(&doc, &nothing, "the time: the TPM signed for another question");
}

/* Statements that a TPM would never sign --------------------------------------------------------*/

#define FORGED(change, words)                                                                      \
    do {                                                                                           \
        struct forgery g;                                                                          \
        struct attest_document doc;                                                                \
        forgery_begin(&forger, &g);                                                                \
        change;                                                                                    \
        forger_document(&forger, &g, &doc);                                                        \
        refused(&doc, &nothing, (words));                                                          \
    } while (0)

static void test_statements(void **state)
{
    (void)state;
    FORGED(g.w.magic ^= 1, "what a TPM made itself");
    FORGED(g.w.type = 0x8018, "type 0x8018");
    FORGED(g.w.type = 0x801c, "type 0x801c");
    FORGED(g.w.signer[5] ^= 1, "another hierarchy");
    FORGED(g.w.signer[1] ^= 1, "SHA-256 name of its signer");
    FORGED(g.l.digest[31] ^= 1, "L: the TPM signed for another question");
    FORGED(g.l.digest_len = 31, "digest of 32 bytes");
    FORGED(g.l.digest_len = 33, "digest of 32 bytes");
    FORGED(g.l.digest_len = 0, "digest of 32 bytes");
    FORGED(g.w.safe = 2, "neither yes nor no");
    FORGED(g.w.index_name[33] ^= 1, "W: the statement is of another NV index");
    FORGED(g.a.index_name[33] ^= 1, "A: the statement is of another NV index");
    FORGED(g.w.offset = 1, "from 1 on");
    FORGED(g.w.contents_len = 7, "7 bytes");
    FORGED(g.w.contents_len = 9, "9 bytes");
    FORGED(g.w.contents_len = 97, "97 bytes");
    FORGED(g.a.contents_len = 95, "95 bytes");
    FORGED(g.a.contents[20] ^= 1, "torn");
    FORGED(g.w.more = 1, "1 bytes too many");
    FORGED(g.w.contents[0] = 0x80, "no window");
    FORGED(be_put64(g.l.contents, 4), "below its first value");
    FORGED(be_put64(g.w.contents, 49), "later window than W");
    FORGED(g.l.reset_count++, "reset between");
    FORGED(g.a.restart_count++, "reset between");
    FORGED(g.l.firmware++, "firmware");
    FORGED(g.l.clock_ms = 69999, "backwards");
    FORGED(g.time.clock_ms++, "contradicts itself");
    FORGED(g.time.firmware_again++, "two firmware versions");
    for (size_t cut = 1; cut < 130; cut++)
        FORGED(g.w.cut = cut, "W: the statement");
    for (size_t cut = 1; cut < 120; cut++)
        FORGED(g.time.cut = cut, "the time: the statement");
}

/* Parser alone: all zero after every failure. */
static void test_parser_cut(void **state)
{
    struct forgery g;
    struct attested a;
    struct statement s;
    static const struct statement zero;
    (void)state;
    forgery_begin(&forger, &g);
    forger_sign(&forger, &g.a, &a);
    for (size_t len = 0; len < a.len; len++) {
        struct err err = {0};
        memset(&s, 0x55, sizeof(s));
        assert_int_equal(statement_parse(&s, a.bytes, len, &err), RC_REFUSED_SIGNATURE);
        assert_memory_equal(&s, &zero, sizeof(s));
    }
    assert_int_equal(statement_parse(&s, a.bytes, a.len, NULL), RC_OK);
    assert_int_equal(s.contents_len, ANCHOR_RECORD_LEN);
}

/* An earlier document ---------------------------------------------------------------------------
 */

static void test_earlier(void **state)
{
    struct forgery g;
    struct attest_document was, doc;
    struct attest_meaning m;
    const struct attest_expected want = {.earlier = &was};
    (void)state;
    forgery_begin(&forger, &g);
    forger_document(&forger, &g, &was);
    be_put64(g.w.contents, 51);
    be_put64(g.l.contents, 13);
    g.bound.entries++;
    forgery_bind(&g);
    forger_document(&forger, &g, &doc);
    good(&doc, &want, &m);

    struct attest_document back = doc;
    back.meaning.w = 52;
    refused(&doc, &(struct attest_expected){.earlier = &back}, "W went back");
    back = doc;
    back.meaning.l = 14;
    refused(&doc, &(struct attest_expected){.earlier = &back}, "L went back");
    back = doc;
    back.bound.entries++;
    refused(&doc, &(struct attest_expected){.earlier = &back}, "fewer entries");
    back = doc;
    back.ak[0] ^= 1;
    refused(&doc, &(struct attest_expected){.earlier = &back}, "another TPM");
    back = doc;
    back.ek[0] ^= 1;
    refused(&doc, &(struct attest_expected){.earlier = &back}, "another TPM");
    back = doc;
    back.bound.key[0] ^= 1;
    refused(&doc, &(struct attest_expected){.earlier = &back}, "another key");
    back = doc;
    back.bound.w_base++;
    refused(&doc, &(struct attest_expected){.earlier = &back}, "counts from elsewhere");
    back = doc;
    back.bound.l_name[5]++;
    refused(&doc, &(struct attest_expected){.earlier = &back}, "counts from elsewhere");
}

/* Text
 * -------------------------------------------------------------------------------------------*/

static char *printed(const struct attest_document *doc, size_t *len)
{
    struct jcs j = {0};
    attest_document_print(&j, doc);
    assert_true(jcs_finish(&j));
    *len = j.len;
    return j.text;
}

/* Read and judged as the command does it. */
static enum rc read_text(const char *text, size_t len, struct err *err)
{
    static struct attest_document doc;
    struct attest_meaning m;
    enum rc rc = attest_document_parse(&doc, text, len, err);
    if (rc == RC_OK)
        rc = attest_verify(&doc, &nothing, &m, err);
    if (rc == RC_OK)
        rc = attest_meaning_check(&doc, &m, err);
    return rc;
}

static void every_change_is_refused(const char *text, size_t len)
{
    char *copy = malloc(len + 1);
    assert_non_null(copy);
    for (size_t i = 0; i < len; i += quick_stride(5)) {
        struct err err = {0};
        memcpy(copy, text, len + 1);
        copy[i] ^= (char)(1 << i % 7);
        if (read_text(copy, len, &err) != RC_REFUSED_SIGNATURE || err.text[0] == '\0')
            fail_msg("byte %zu of %zu changed, and nobody minds", i, len);
        err = (struct err){0};
        if (i % 16 == 0 && read_text(text, i, &err) != RC_REFUSED_SIGNATURE)
            fail_msg("cut at byte %zu, and nobody minds", i);
    }
    free(copy);
}

static void test_text(void **state)
{
    struct forgery g;
    static struct attest_document doc, again;
    struct err err = {0};
    (void)state;
    forgery_begin(&forger, &g);
    g.bound.w_base = -(INT64_C(1) << 60);
    g.bound.entries = UINT64_C(1) << 60; /* strings of digits, both */
    forgery_bind(&g);
    forger_document(&forger, &g, &doc);
    size_t len = 0;
    char *text = printed(&doc, &len);
    assert_int_equal(attest_document_parse(&again, text, len, &err), RC_OK);
    assert_memory_equal(&again.bound, &doc.bound, sizeof(doc.bound));
    assert_memory_equal(&again.evidence, &doc.evidence, sizeof(doc.evidence));
    assert_int_equal(read_text(text, len, &err), RC_OK);
    every_change_is_refused(text, len);
    free(text);
}

static void test_text_forms(void **state)
{
    struct forgery g;
    static struct attest_document doc;
    (void)state;
    forgery_begin(&forger, &g);
    forger_document(&forger, &g, &doc);
    size_t len = 0;
    char *text = printed(&doc, &len);
    char longer[8192];
    const struct {
        const char *before, *behind, *words;
        bool whole;
    } forms[] = {
        {"", "\n\n", "canonical", true}, {" ", "", "canonical", true}, {"", " ", "canonical", true},
        {"[", "]", "JSON object", true}, {"", "{}", "no JSON", true},  {"", "", "no JSON", false},
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct err err = {0};
        int n = snprintf(longer, sizeof(longer), "%s%s%s", forms[i].before,
                         forms[i].whole ? text : "", forms[i].behind);
        assert_int_equal(read_text(longer, (size_t)n, &err), RC_REFUSED_SIGNATURE);
        if (strstr(err.text, forms[i].words) == NULL)
            fail_msg("form %zu: %s", i, err.text);
    }
    struct err err = {0};
    (void)snprintf(longer, sizeof(longer), "%s\n", text);
    assert_int_equal(read_text(longer, len + 1, &err), RC_OK);
    /* A member more, in its right place, is still one that nobody looked at. */
    (void)snprintf(longer, sizeof(longer), "{\"ab\":1,%s", text + 1);
    assert_int_equal(read_text(longer, strlen(longer), &err), RC_REFUSED_SIGNATURE);
    free(text);

    doc.meaning.floor++;
    text = printed(&doc, &len);
    err = (struct err){0};
    assert_int_equal(read_text(text, len, &err), RC_REFUSED_SIGNATURE);
    assert_non_null(strstr(err.text, "\"meaning\""));
    free(text);
}

/* Receipts
 * ---------------------------------------------------------------------------------------*/

static const char entry_text[] =
    "{\"artifact_sha256\":\"00\",\"artifact_size\":5,\"at\":\"2027-01-15T08:00:00Z\",\"epoch\":7,"
    "\"id\":\"000102030405060708090a0b0c0d0e0f\",\"idempotency_key\":\"\",\"index\":3,"
    "\"key\":\"router-fw\",\"kind\":\"receipt\",\"request_id\":\",\\\"attestation\\\":{\"}";

static void test_receipt(void **state)
{
    struct forgery g;
    static struct attest_document doc;
    static struct attest_receipt r;
    struct err err = {0};
    uint8_t hash[SHA256_LEN];
    static const uint8_t leaf = 0;
    (void)state;
    forgery_begin(&forger, &g);
    forger_document(&forger, &g, &doc);
    size_t len = 0;
    char *text = printed(&doc, &len), *joined = NULL;
    assert_int_equal(attest_receipt_join(&joined, entry_text, text, &err), RC_OK);
    assert_int_equal(attest_receipt_parse(&r, joined, strlen(joined), &err), RC_OK);
    sha256_2(hash, &leaf, 1, entry_text, strlen(entry_text));
    assert_memory_equal(hash, r.entry_sha256, sizeof(hash));
    assert_string_equal(r.key, "router-fw");
    assert_int_equal(r.id[15], 15);
    assert_int_equal(r.index, 3);
    assert_memory_equal(&r.document, &doc, sizeof(doc));

    /* One byte of the entry makes it another entry. */
    char *at = strstr(joined, "\"index\":3");
    assert_non_null(at);
    at[8] = '4';
    assert_int_equal(attest_receipt_parse(&r, joined, strlen(joined), &err), RC_OK);
    assert_memory_not_equal(hash, r.entry_sha256, sizeof(hash));
    free(joined);
    free(text);

    err = (struct err){0};
    assert_int_equal(attest_receipt_parse(&r, entry_text, strlen(entry_text), &err),
                     RC_REFUSED_NOT_FOUND);
    err = (struct err){0};
    assert_int_equal(attest_receipt_join(&joined, "{\"kind\":\"lease\"}", "{}", &err),
                     RC_HALT_INVARIANT);
    assert_null(joined);
}

/* Forms of other people
 * --------------------------------------------------------------------------*/

static void test_signature_der(void **state)
{
    uint8_t sig[P256_SIG_LEN], back[P256_SIG_LEN], der[P256_SIG_DER_MAX + 1];
    static const uint8_t zero[P256_SIG_LEN];
    (void)state;
    memset(sig, 0xff, sizeof(sig));
    assert_int_equal(p256_sig_print(der, sig), 72);
    memset(sig, 0, sizeof(sig));
    sig[31] = 1;
    sig[63] = 0x80;
    size_t len = p256_sig_print(der, sig);
    const uint8_t want[] = {0x30, 0x07, 0x02, 0x01, 0x01, 0x02, 0x02, 0x00, 0x80};
    assert_int_equal(len, sizeof(want));
    assert_memory_equal(der, want, sizeof(want));
    assert_true(p256_sig_parse(back, der, len));
    assert_memory_equal(back, sig, sizeof(sig));
    for (size_t i = 0; i < len * 8; i++) {
        der[i / 8] ^= (uint8_t)(1 << i % 8);
        /* The numbers themselves may be others; the form may not. */
        if (p256_sig_parse(back, der, len))
            assert_true(i / 8 == 4 || i / 8 == 7 || i / 8 == 8);
        else
            assert_memory_equal(back, zero, sizeof(zero));
        der[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t i = 0; i <= len + 1; i++)
        assert_true(p256_sig_parse(back, der, i) == (i == len));
}

static void test_pem(void **state)
{
    uint8_t point[P256_POINT_LEN];
    char pem[P256_PEM_SIZE], copy[P256_PEM_SIZE + 8];
    (void)state;
    p256_pem_print(pem, forger.point);
    assert_true(p256_pem_parse(point, pem));
    assert_memory_equal(point, forger.point, sizeof(point));
    size_t len = strlen(pem);
    for (size_t i = 0; i < len - 1; i += quick_stride(5)) {
        (void)snprintf(copy, sizeof(copy), "%s", pem);
        copy[i] = '\0';
        assert_false(p256_pem_parse(point, copy));
        (void)snprintf(copy, sizeof(copy), "%s", pem);
        copy[i] ^= 1;
        /* Base64 of another point is another point, and nothing else is a key. */
        if (p256_pem_parse(point, copy))
            assert_memory_not_equal(point, forger.point, sizeof(point));
    }
    pem[len - 1] = '\0';
    assert_true(p256_pem_parse(point, pem));
    (void)snprintf(copy, sizeof(copy), "%s\n\n", pem);
    assert_false(p256_pem_parse(point, copy));
}

static void test_point_off_the_curve(void **state)
{
    uint8_t point[P256_POINT_LEN] = {1};
    uint8_t sig[P256_SIG_LEN];
    struct err err = {0};
    (void)state;
    memset(sig, 1, sizeof(sig));
    assert_int_equal(p256_verify(point, "x", 1, sig, &err), RC_REFUSED_SIGNATURE);
    memset(sig, 0, sizeof(sig));
    assert_int_equal(p256_verify(forger.point, "x", 1, sig, &err), RC_REFUSED_SIGNATURE);
    memset(sig, 0xff, sizeof(sig));
    assert_int_equal(p256_verify(forger.point, "x", 1, sig, &err), RC_REFUSED_SIGNATURE);
}

/* What a software TPM signed
 * ---------------------------------------------------------------------*/

static char *load(const char *name, size_t *len)
{
    char path[512];
    char *text = NULL;
    struct err err = {0};
    (void)snprintf(path, sizeof(path), "%s/tests/attest/%s", SRCDIR, name);
    if (file_read(AT_FDCWD, path, 65536, &text, len, &err) != RC_OK)
        fail_msg("%s", err.text);
    return text;
}

static void test_recorded(void **state)
{
    static struct attest_document first, later, other;
    struct attest_document *docs[] = {&first, &later, &other};
    static const char *const names[] = {"first.json", "later.json", "other-tpm.json"};
    struct attest_meaning m[3];
    struct err err = {0};
    size_t len = 0;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char *text = load(names[i], &len);
        if (attest_document_parse(docs[i], text, len, &err) != RC_OK)
            fail_msg("%s: %s", names[i], err.text);
        good(docs[i], &nothing, &m[i]);
        assert_int_equal(attest_meaning_check(docs[i], &m[i], &err), RC_OK);
        free(text);
    }
    /* The counters moved in between by what the test that made them says. */
    assert_int_equal(m[1].floor, m[0].floor + 2);
    assert_int_equal(m[1].epoch, m[0].epoch + 3);
    assert_true(m[1].clock_ms >= m[0].clock_ms);
    assert_int_equal(m[0].reset_count, m[1].reset_count);
    good(&later, &(struct attest_expected){.earlier = &first, .ak = first.ak}, &m[2]);
    refused(&first, &(struct attest_expected){.earlier = &later}, "W went back");
    refused(&other, &(struct attest_expected){.ak = first.ak}, "another TPM");
    refused(&other, &(struct attest_expected){.earlier = &first}, "another TPM");
    char *text = load("first.json", &len);
    if (text[len - 1] == '\n')
        text[--len] = '\0';
    every_change_is_refused(text, len);
    free(text);
}

/* The example of docs/openapi.json is an attestation that a reader can try the command on. */
static void test_example(void **state)
{
    json_error_t where;
    struct err err = {0};
    (void)state;
    json_t *root = json_load_file(SRCDIR "/docs/openapi.json", 0, &where);
    json_t *at = json_object_get(json_object_get(root, "paths"), "/v1/keys/{key}/attestation");
    static const char *const steps[] = {"get",     "responses",        "200",
                                        "content", "application/json", "example"};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        at = json_object_get(at, steps[i]);
    assert_non_null(at);
    char *text = json_dumps(at, JSON_COMPACT | JSON_SORT_KEYS);
    if (read_text(text, strlen(text), &err) != RC_OK)
        fail_msg("%s", err.text);
    free(text);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_unrestricted_key),
        cmocka_unit_test(test_binding),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_swapped),
        cmocka_unit_test(test_statements),
        cmocka_unit_test(test_parser_cut),
        cmocka_unit_test(test_earlier),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_forms),
        cmocka_unit_test(test_receipt),
        cmocka_unit_test(test_signature_der),
        cmocka_unit_test(test_pem),
        cmocka_unit_test(test_point_off_the_curve),
        cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_example),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
