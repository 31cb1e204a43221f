#include "lib/forger.h"

#include <gcrypt.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/record.h"

#define HALF (P256_POINT_LEN / 2)

static void take_mpi(gcry_sexp_t from, const char *path, uint8_t *out, size_t len)
{
    gcry_sexp_t part = gcry_sexp_find_token(from, path, 0);
    MUST(part != NULL);
    gcry_mpi_t number = gcry_sexp_nth_mpi(part, 1, GCRYMPI_FMT_USG);
    uint8_t bytes[P256_POINT_LEN + 1];
    size_t got = 0;
    MUST(number != NULL);
    MUST(gcry_mpi_print(GCRYMPI_FMT_USG, bytes, sizeof(bytes), &got, number) == 0);
    MUST(got <= len);
    memset(out, 0, len);
    memcpy(out + len - got, bytes, got);
    gcry_mpi_release(number);
    gcry_sexp_release(part);
}

void forger_make(struct forger *f)
{
    gcry_sexp_t how = NULL, pair = NULL;
    uint8_t q[P256_POINT_LEN + 1];
    MUST(gcry_sexp_build(&how, NULL,
                         "(genkey(ecc(curve \"NIST P-256\")(flags no-keytest transient-key)))") ==
         0);
    MUST(gcry_pk_genkey(&pair, how) == 0);
    gcry_sexp_t public = gcry_sexp_find_token(pair, "public-key", 0);
    MUST(public != NULL);
    take_mpi(public, "q", q, sizeof(q));
    memcpy(f->point, q + 1, P256_POINT_LEN);
    gcry_sexp_release(public);
    gcry_sexp_release(how);
    f->key = pair;
}

void forger_end(struct forger *f)
{
    gcry_sexp_release(f->key);
    f->key = NULL;
}

/* Bytes -----------------------------------------------------------------------------------------*/

static uint8_t *put(uint8_t *p, const void *data, size_t len)
{
    memcpy(p, data, len);
    return p + len;
}

static uint8_t *put_number(uint8_t *p, uint64_t value, size_t len)
{
    uint8_t bytes[8];
    be_put64(bytes, value);
    return put(p, bytes + 8 - len, len);
}

static uint8_t *put_2b(uint8_t *p, const void *data, size_t len)
{
    return put(put_number(p, len, 2), data, len);
}

static uint8_t *put_clock(uint8_t *p, const struct forged *s, uint64_t clock_ms)
{
    p = put_number(p, clock_ms, 8);
    p = put_number(p, s->reset_count, 4);
    p = put_number(p, s->restart_count, 4);
    return put_number(p, s->safe, 1);
}

void forger_sign(const struct forger *f, const struct forged *s, struct attested *out)
{
    uint8_t bytes[512] = {0};
    uint8_t *p = put_number(bytes, s->magic, 4);
    p = put_number(p, s->type, 2);
    p = put_2b(p, s->signer, TPM_NAME_LEN);
    p = put_2b(p, s->digest, s->digest_len);
    p = put_clock(p, s, s->clock_ms);
    p = put_number(p, s->firmware, 8);
    if (s->type == 0x8019) {
        p = put_number(p, s->up_ms, 8);
        p = put_clock(p, s, s->clock_again_ms);
        p = put_number(p, s->firmware_again, 8);
    } else {
        p = put_2b(p, s->index_name, TPM_NAME_LEN);
        p = put_number(p, s->offset, 2);
        p = put_2b(p, s->contents, s->contents_len);
    }
    *out = (struct attested){.len = (size_t)(p - bytes) + s->more - s->cut};
    MUST(out->len <= sizeof(out->bytes));
    memcpy(out->bytes, bytes, out->len);

    uint8_t hash[SHA256_LEN];
    gcry_sexp_t data = NULL, sig = NULL;
    digest_buffer(DIGEST_SHA256, hash, out->bytes, out->len);
    MUST(gcry_sexp_build(&data, NULL, "(data(flags raw)(hash sha256 %b))", (int)sizeof(hash),
                         hash) == 0);
    MUST(gcry_pk_sign(&sig, data, f->key) == 0);
    take_mpi(sig, "r", out->sig, HALF);
    take_mpi(sig, "s", out->sig + HALF, HALF);
    gcry_sexp_release(data);
    gcry_sexp_release(sig);
}

/* Documents -------------------------------------------------------------------------------------*/

static void name_index(uint8_t name[TPM_NAME_LEN], uint8_t fill)
{
    memset(name, fill, TPM_NAME_LEN);
    be_put16(name, 0x000B);
}

static struct forged statement(const struct forgery *g, const uint8_t *index, uint64_t clock_ms)
{
    struct forged s = {.magic = 0xFF544347,
                       .type = index != NULL ? 0x8014 : 0x8019,
                       .digest_len = 32,
                       .clock_ms = clock_ms,
                       .reset_count = 3,
                       .restart_count = 1,
                       .safe = 1,
                       .firmware = 0x20191023001636ff,
                       .up_ms = clock_ms - 1000,
                       .clock_again_ms = clock_ms,
                       .firmware_again = 0x20191023001636ff};
    attest_qualified_name(s.signer, g->bound.ak_name);
    if (index != NULL)
        memcpy(s.index_name, index, TPM_NAME_LEN);
    return s;
}

void forgery_bind(struct forgery *g)
{
    uint8_t digest[32];
    struct err err = {0};
    MUST(attest_digest(digest, &g->bound, &err) == RC_OK);
    memcpy(g->w.digest, digest, 32);
    memcpy(g->l.digest, digest, 32);
    memcpy(g->a.digest, digest, 32);
    memcpy(g->time.digest, digest, 32);
}

void forgery_begin(const struct forger *f, struct forgery *g)
{
    *g = (struct forgery){.bound = {.key = "router-fw",
                                    .nonce_len = 16,
                                    .entries = 40,
                                    .at_s = 1800000000,
                                    .w_base = 8,
                                    .l_first = 5,
                                    .tpm = "IBM SW   TPM",
                                    .tpm_virtual = true}};
    struct attest_bound *b = &g->bound;
    memset(b->nonce, 0x11, b->nonce_len);
    memset(b->head, 0x22, sizeof(b->head));
    memset(b->plan_sha256, 0x33, sizeof(b->plan_sha256));
    memset(b->public_sha256, 0x44, sizeof(b->public_sha256));
    attest_ak_name(b->ak_name, f->point);
    attest_ek_name(b->ek_name, f->point); /* one key for both: nothing depends on it */
    name_index(b->w_name, 0x57);
    name_index(b->l_name, 0x4c);
    name_index(b->a_name, 0x41);
    g->w = statement(g, b->w_name, 70000);
    g->l = statement(g, b->l_name, 70001);
    g->a = statement(g, b->a_name, 70001);
    g->time = statement(g, NULL, 70005);
    g->w.contents_len = g->l.contents_len = 8;
    be_put64(g->w.contents, 50);
    be_put64(g->l.contents, 12);
    struct anchor_record a = {
        .w = 50, .window = 42, .l = 12, .l_base = 9, .wall_s = 1799999999, .writes = 3};
    a.early_window = ANCHOR_NO_WINDOW;
    anchor_record_encode(&a, g->a.contents);
    g->a.contents_len = ANCHOR_RECORD_LEN;
    forgery_bind(g);
}

void forger_document(const struct forger *f, const struct forgery *g, struct attest_document *doc)
{
    static const struct attest_expected nothing;
    *doc = (struct attest_document){.bound = g->bound};
    memcpy(doc->ak, f->point, P256_POINT_LEN);
    memcpy(doc->ek, f->point, P256_POINT_LEN);
    forger_sign(f, &g->w, &doc->evidence.w);
    forger_sign(f, &g->l, &doc->evidence.l);
    forger_sign(f, &g->a, &doc->evidence.a);
    if (!g->no_time)
        forger_sign(f, &g->time, &doc->evidence.time);
    struct err none = {0};
    (void)!attest_verify(doc, &nothing, &doc->meaning, &none);
}
