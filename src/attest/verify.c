#include "attest/verify.h"

#include <inttypes.h>
#include <string.h>

#include "attest/statement.h"
#include "base/bytes.h"

#define COUNTER_LEN 8
#define NO(err, ...) FAIL((err), RC_REFUSED_SIGNATURE, "", 0, __VA_ARGS__)

/* What every statement of one document has in common. */
struct judge {
    const struct attest_document *doc;
    uint8_t digest[32];
    uint8_t signer[TPM_NAME_LEN];
    struct statement last; /* the one looked at before; zero: none yet */
    bool any;
};

/* Keys and nonce --------------------------------------------------------------------------------*/

static enum rc check_keys(const struct attest_document *doc, const struct attest_expected *want,
                          struct err *err)
{
    uint8_t name[TPM_NAME_LEN];
    attest_ak_name(name, doc->ak);
    if (!ct_equal(name, doc->bound.ak_name, TPM_NAME_LEN))
        return NO(err, "the attestation key is not the one that is named: the public key belongs "
                       "to another name, or to no restricted signing key");
    attest_ek_name(name, doc->ek);
    if (!ct_equal(name, doc->bound.ek_name, TPM_NAME_LEN))
        return NO(err, "the endorsement key is not the one that is named");
    if (want->ak != NULL && !ct_equal(want->ak, doc->ak, P256_POINT_LEN))
        return NO(err, "another attestation key signed than the one expected: another TPM");
    return RC_OK;
}

static enum rc check_nonce(const struct attest_bound *b, const struct attest_expected *want,
                           struct err *err)
{
    if (want->nonce == NULL)
        return RC_OK;
    if (b->nonce_len != want->nonce_len || !ct_equal(b->nonce, want->nonce, want->nonce_len))
        return NO(err, "the nonce is another one than was asked with: an old attestation, or one "
                       "for somebody else");
    return RC_OK;
}

/* Statements ------------------------------------------------------------------------------------*/

/* One after the other, within one life of the TPM. */
static enum rc check_order(const struct judge *g, const struct statement *s, const char *what,
                           struct err *err)
{
    if (!g->any)
        return RC_OK;
    if (s->reset_count != g->last.reset_count || s->restart_count != g->last.restart_count)
        return NO(err, "the TPM was reset between the statements (%s)", what);
    if (s->firmware != g->last.firmware)
        return NO(err, "the TPM's firmware is another one in the statement of %s", what);
    if (s->clock_ms < g->last.clock_ms)
        return NO(err, "the TPM's clock runs backwards to the statement of %s", what);
    return RC_OK;
}

static enum rc check_statement(struct judge *g, const struct attested *a, enum statement_type type,
                               const char *what, struct statement *s, struct err *err)
{
    struct err why = {0};
    *s = (struct statement){0};
    if (a->len == 0)
        return NO(err, "the statement of %s is missing", what);
    enum rc rc = p256_verify(g->doc->ak, a->bytes, a->len, a->sig, &why);
    if (rc == RC_OK)
        rc = statement_parse(s, a->bytes, a->len, &why);
    if (rc != RC_OK)
        return FAIL(err, rc, why.origin, why.native, "%s: %s", what, err_text(&why));
    if (s->type != type)
        return NO(err, "%s: a statement of another type stands in its place", what);
    if (!ct_equal(s->signer, g->signer, TPM_NAME_LEN))
        return NO(err, "%s: signed by a key of another hierarchy, or of another name", what);
    if (!ct_equal(s->digest, g->digest, sizeof(g->digest)))
        return NO(err,
                  "%s: the TPM signed for another question: nonce, key, ledger head or names in "
                  "\"bound\" are not those it was asked with",
                  what);
    rc = check_order(g, s, what, err);
    g->last = *s;
    g->any = true;
    return rc;
}

/* The Name has WRITTEN in it: an index that was made anew and not written has another one. */
static enum rc check_index(struct judge *g, const struct attested *a, const char *what,
                           const uint8_t name[TPM_NAME_LEN], size_t len, struct statement *s,
                           struct err *err)
{
    enum rc rc = check_statement(g, a, STATEMENT_NV, what, s, err);
    if (rc != RC_OK)
        return rc;
    if (!ct_equal(s->index_name, name, TPM_NAME_LEN))
        return NO(err, "%s: the statement is of another NV index", what);
    if (s->offset != 0 || s->contents_len != len)
        return NO(err, "%s: the statement is of %zu bytes from %u on, not of all %zu", what,
                  s->contents_len, s->offset, len);
    return RC_OK;
}

static enum rc check_counters(struct judge *g, struct attest_meaning *m, struct err *err)
{
    const struct attest_bound *b = &g->doc->bound;
    struct statement s;
    enum rc rc = check_index(g, &g->doc->evidence.w, "W", b->w_name, COUNTER_LEN, &s, err);
    if (rc != RC_OK)
        return rc;
    m->w = be_get64(s.contents);
    rc = check_index(g, &g->doc->evidence.l, "L", b->l_name, COUNTER_LEN, &s, err);
    if (rc != RC_OK)
        return rc;
    m->l = be_get64(s.contents);
    if (m->w > INT64_MAX || __builtin_sub_overflow((int64_t)m->w, b->w_base, &m->floor))
        return NO(err, "W: counter and base give no window");
    if (m->l < b->l_first)
        return NO(err, "L: the counter is below its first value");
    m->epoch = m->l - b->l_first;
    return RC_OK;
}

static enum rc check_record(struct judge *g, struct attest_meaning *m, struct err *err)
{
    struct statement s;
    struct anchor_record a;
    enum rc rc =
        check_index(g, &g->doc->evidence.a, "A", g->doc->bound.a_name, ANCHOR_RECORD_LEN, &s, err);
    if (rc != RC_OK)
        return rc;
    if (!anchor_record_decode(&a, s.contents))
        return NO(err, "A: the record in the TPM is torn");
    if (a.w > m->w)
        return NO(err, "A: the record is of a later window than W");
    m->anchored_window = a.window;
    m->anchored_wall_s = a.wall_s;
    memcpy(m->anchored_head, a.head, SHA256_LEN);
    return RC_OK;
}

static enum rc check_time(struct judge *g, struct err *err)
{
    struct statement s;
    if (g->doc->evidence.time.len == 0)
        return RC_OK;
    return check_statement(g, &g->doc->evidence.time, STATEMENT_TIME, "the time", &s, err);
}

/* Against an earlier document -------------------------------------------------------------------*/

static enum rc check_same_key(const struct attest_document *doc, const struct attest_document *was,
                              struct err *err)
{
    const struct attest_bound *b = &doc->bound, *e = &was->bound;
    if (!ct_equal(doc->ak, was->ak, P256_POINT_LEN))
        return NO(err, "another attestation key signed the earlier one: another TPM");
    if (!ct_equal(doc->ek, was->ek, P256_POINT_LEN))
        return NO(err, "the earlier one names another endorsement key: another TPM");
    if (strcmp(b->key, e->key) != 0 || !ct_equal(b->plan_sha256, e->plan_sha256, SHA256_LEN) ||
        !ct_equal(b->public_sha256, e->public_sha256, SHA256_LEN))
        return NO(err, "the earlier one is of another key or another plan");
    if (!ct_equal(b->w_name, e->w_name, TPM_NAME_LEN) ||
        !ct_equal(b->l_name, e->l_name, TPM_NAME_LEN) ||
        !ct_equal(b->a_name, e->a_name, TPM_NAME_LEN) || b->w_base != e->w_base ||
        b->l_first != e->l_first)
        return NO(err, "the earlier one is of other counters, or counts from elsewhere");
    return RC_OK;
}

static enum rc check_earlier(const struct attest_document *doc, const struct attest_meaning *m,
                             const struct attest_document *was, struct err *err)
{
    const struct attest_meaning *e = &was->meaning;
    enum rc rc = check_same_key(doc, was, err);
    if (rc != RC_OK)
        return rc;
    if (m->w < e->w)
        return NO(err, "W went back since the earlier one, from %" PRIu64 " to %" PRIu64, e->w,
                  m->w);
    if (m->l < e->l)
        return NO(err, "L went back since the earlier one, from %" PRIu64 " to %" PRIu64, e->l,
                  m->l);
    if (doc->bound.entries < was->bound.entries)
        return NO(err,
                  "the ledger has fewer entries than in the earlier one: %" PRIu64 " of %" PRIu64
                  " are left",
                  doc->bound.entries, was->bound.entries);
    return RC_OK;
}

/* All of it -------------------------------------------------------------------------------------*/

static enum rc judge(struct judge *g, const struct attest_expected *want, struct attest_meaning *m,
                     struct err *err)
{
    enum rc rc = check_keys(g->doc, want, err);
    if (rc == RC_OK)
        rc = check_nonce(&g->doc->bound, want, err);
    if (rc == RC_OK)
        rc = attest_digest(g->digest, &g->doc->bound, err);
    attest_qualified_name(g->signer, g->doc->bound.ak_name);
    if (rc == RC_OK)
        rc = check_counters(g, m, err);
    if (rc == RC_OK)
        rc = check_record(g, m, err);
    if (rc == RC_OK)
        rc = check_time(g, err);
    m->clock_ms = g->last.clock_ms;
    m->reset_count = g->last.reset_count;
    m->restart_count = g->last.restart_count;
    m->safe = g->last.safe;
    m->firmware = g->last.firmware;
    if (rc == RC_OK && want->earlier != NULL)
        rc = check_earlier(g->doc, m, want->earlier, err);
    return rc;
}

enum rc attest_verify(const struct attest_document *doc, const struct attest_expected *expected,
                      struct attest_meaning *meaning, struct err *err)
{
    struct judge g = {.doc = doc};
    *meaning = (struct attest_meaning){0};
    enum rc rc = judge(&g, expected, meaning, err);
    if (rc != RC_OK)
        *meaning = (struct attest_meaning){0};
    return rc;
}

enum rc attest_receipt_verify(const struct attest_receipt *receipt,
                              const struct attest_expected *expected,
                              struct attest_meaning *meaning, struct err *err)
{
    const struct attest_document *doc = &receipt->document;
    struct attest_expected want = *expected;
    MUST(expected->nonce == NULL);
    *meaning = (struct attest_meaning){0};
    if (strcmp(receipt->key, doc->bound.key) != 0)
        return NO(err, "the attestation is of another key than the receipt");
    if (!ct_equal(receipt->entry_sha256, doc->bound.head, SHA256_LEN))
        return NO(err, "the attestation is of another receipt, or a byte of this one was changed");
    want.nonce = receipt->id;
    want.nonce_len = sizeof(receipt->id);
    return attest_verify(doc, &want, meaning, err);
}

enum rc attest_meaning_check(const struct attest_document *doc,
                             const struct attest_meaning *meaning, struct err *err)
{
    const struct attest_meaning *d = &doc->meaning;
    bool same = d->floor == meaning->floor && d->epoch == meaning->epoch && d->w == meaning->w &&
                d->l == meaning->l && d->clock_ms == meaning->clock_ms &&
                d->reset_count == meaning->reset_count &&
                d->restart_count == meaning->restart_count && d->safe == meaning->safe &&
                d->firmware == meaning->firmware &&
                d->anchored_window == meaning->anchored_window &&
                d->anchored_wall_s == meaning->anchored_wall_s &&
                ct_equal(d->anchored_head, meaning->anchored_head, SHA256_LEN);
    if (same)
        return RC_OK;
    return NO(err, "\"meaning\" is not what the TPM's statements come to");
}
