#include "base/record.h"

#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"

#define FORMAT_UNCOUNTED 1
#define FORMAT 2

/* Where each field starts. */
enum {
    AT_FORMAT = 0,
    AT_W = 4,
    AT_WINDOW = 12,
    AT_L = 20,
    AT_L_BASE = 28,
    AT_WALL = 36,
    AT_EARLY = 44,
    AT_HEAD = 52,
    AT_HEAD_END = AT_HEAD + SHA256_LEN,
    AT_WRITES = AT_HEAD_END,
    AT_CHECKSUM = AT_WRITES + 4,
};
_Static_assert(AT_CHECKSUM < ANCHOR_RECORD_LEN, "room for a checksum");

/* The checksum tells a torn write from a whole one; it is no secret and keeps nobody out. */
static void checksum(uint8_t out[SHA256_LEN], const uint8_t *in, size_t body_len)
{
    digest_buffer(DIGEST_SHA256, out, in, body_len);
}

static bool is_whole(const uint8_t in[ANCHOR_RECORD_LEN], size_t body_len)
{
    uint8_t sum[SHA256_LEN];
    checksum(sum, in, body_len);
    return ct_equal(sum, in + body_len, ANCHOR_RECORD_LEN - body_len);
}

void anchor_record_encode(const struct anchor_record *a, uint8_t out[ANCHOR_RECORD_LEN])
{
    be_put32(out + AT_FORMAT, FORMAT);
    be_put64(out + AT_W, a->w);
    be_put64(out + AT_WINDOW, (uint64_t)a->window);
    be_put64(out + AT_L, a->l);
    be_put64(out + AT_L_BASE, a->l_base);
    be_put64(out + AT_WALL, (uint64_t)a->wall_s);
    be_put64(out + AT_EARLY, (uint64_t)a->early_window);
    memcpy(out + AT_HEAD, a->head, SHA256_LEN);
    be_put32(out + AT_WRITES, a->writes);
    uint8_t sum[SHA256_LEN];
    checksum(sum, out, AT_CHECKSUM);
    memcpy(out + AT_CHECKSUM, sum, ANCHOR_RECORD_LEN - AT_CHECKSUM);
}

bool anchor_record_decode(struct anchor_record *a, const uint8_t in[ANCHOR_RECORD_LEN])
{
    *a = (struct anchor_record){0};
    uint32_t format = be_get32(in + AT_FORMAT);
    if (format != FORMAT && format != FORMAT_UNCOUNTED)
        return false;
    if (!is_whole(in, format == FORMAT ? AT_CHECKSUM : AT_HEAD_END))
        return false;
    a->w = be_get64(in + AT_W);
    a->window = (int64_t)be_get64(in + AT_WINDOW);
    a->l = be_get64(in + AT_L);
    a->l_base = be_get64(in + AT_L_BASE);
    a->wall_s = (int64_t)be_get64(in + AT_WALL);
    a->early_window = (int64_t)be_get64(in + AT_EARLY);
    memcpy(a->head, in + AT_HEAD, SHA256_LEN);
    if (format == FORMAT)
        a->writes = be_get32(in + AT_WRITES);
    return true;
}
