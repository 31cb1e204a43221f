#include "attest/statement.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"

#define MAGIC UINT32_C(0xFF544347) /* TPM_GENERATED_VALUE: the TPM made these bytes itself */
#define TYPE_NV 0x8014             /* TPM_ST_ATTEST_NV */
#define TYPE_TIME 0x8019           /* TPM_ST_ATTEST_TIME */
#define ALG_SHA256 0x000B

/* A read position that never passes the end; the first thing that is missing sticks. */
struct reader {
    const uint8_t *p;
    size_t left;
    bool short_of; /* something did not fit */
};

static const uint8_t *take(struct reader *r, size_t len)
{
    static const uint8_t zeros[ANCHOR_RECORD_LEN];
    if (r->short_of || len > r->left || len > sizeof(zeros)) {
        r->short_of = true;
        return zeros;
    }
    const uint8_t *p = r->p;
    r->p += len;
    r->left -= len;
    return p;
}

static uint16_t take16(struct reader *r)
{
    return be_get16(take(r, 2));
}

static uint32_t take32(struct reader *r)
{
    return be_get32(take(r, 4));
}

static uint64_t take64(struct reader *r)
{
    return be_get64(take(r, 8));
}

/* A TPM2B of exactly this many bytes. */
static bool take_exactly(struct reader *r, uint8_t *out, uint16_t len)
{
    bool same = take16(r) == len && !r->short_of;
    memcpy(out, take(r, len), len);
    return same && !r->short_of;
}

static bool take_name(struct reader *r, uint8_t name[TPM_NAME_LEN])
{
    return take_exactly(r, name, TPM_NAME_LEN) && be_get16(name) == ALG_SHA256;
}

static bool take_bool(struct reader *r, bool *value)
{
    uint8_t byte = *take(r, 1);
    *value = byte == 1;
    return byte <= 1 && !r->short_of;
}

#define NO(err, ...) FAIL((err), RC_REFUSED_SIGNATURE, "", 0, __VA_ARGS__)

static enum rc take_clock(struct reader *r, struct statement *s, struct err *err)
{
    s->clock_ms = take64(r);
    s->reset_count = take32(r);
    s->restart_count = take32(r);
    if (!take_bool(r, &s->safe))
        return NO(err, "the statement's clock is cut off, or 'safe' is neither yes nor no");
    return RC_OK;
}

static enum rc take_nv(struct reader *r, struct statement *s, struct err *err)
{
    if (!take_name(r, s->index_name))
        return NO(err, "the statement has no SHA-256 name of an NV index");
    s->offset = take16(r);
    s->contents_len = take16(r);
    if (s->contents_len > sizeof(s->contents))
        return NO(err, "the statement is of %zu bytes of NV, more than any index of ours",
                  s->contents_len);
    memcpy(s->contents, take(r, s->contents_len), s->contents_len);
    return RC_OK;
}

/* The clock stands twice in such a statement; one that contradicts itself is no TPM's. */
static enum rc take_time(struct reader *r, struct statement *s, struct err *err)
{
    struct statement inner = {0};
    s->up_ms = take64(r);
    enum rc rc = take_clock(r, &inner, err);
    if (rc != RC_OK)
        return rc;
    if (inner.clock_ms != s->clock_ms || inner.reset_count != s->reset_count ||
        inner.restart_count != s->restart_count || inner.safe != s->safe)
        return NO(err, "the statement of the time contradicts itself");
    if (take64(r) != s->firmware)
        return NO(err, "the statement of the time names two firmware versions");
    return RC_OK;
}

static enum rc parse(struct reader *r, struct statement *s, struct err *err)
{
    uint32_t magic = take32(r);
    uint16_t type = take16(r);
    if (r->short_of || magic != MAGIC)
        return NO(err, "the statement does not begin as what a TPM made itself");
    if (type != TYPE_NV && type != TYPE_TIME)
        return NO(err, "the statement is of type 0x%04x, not of an NV index or of the time", type);
    s->type = type == TYPE_NV ? STATEMENT_NV : STATEMENT_TIME;
    if (!take_name(r, s->signer))
        return NO(err, "the statement has no SHA-256 name of its signer");
    if (!take_exactly(r, s->digest, sizeof(s->digest)))
        return NO(err, "the statement's own data are not a digest of 32 bytes");
    enum rc rc = take_clock(r, s, err);
    s->firmware = take64(r);
    if (rc == RC_OK)
        rc = s->type == STATEMENT_NV ? take_nv(r, s, err) : take_time(r, s, err);
    if (rc != RC_OK)
        return rc;
    if (r->short_of)
        return NO(err, "the statement is cut off");
    if (r->left != 0)
        return NO(err, "the statement has %zu bytes too many", r->left);
    return RC_OK;
}

enum rc statement_parse(struct statement *s, const uint8_t *bytes, size_t len, struct err *err)
{
    struct reader r = {.p = bytes, .left = len};
    *s = (struct statement){0};
    enum rc rc = parse(&r, s, err);
    if (rc != RC_OK)
        *s = (struct statement){0};
    return rc;
}
