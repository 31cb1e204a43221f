#include "tpm/record.h"

#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"

#define RECORD_FORMAT 1
#define CHECKSUM_LEN 12
#define BODY_LEN (ANCHOR_RECORD_LEN - CHECKSUM_LEN)

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
    AT_CHECKSUM = 84,
};
_Static_assert(AT_CHECKSUM == AT_HEAD + SHA256_LEN, "the head ends where the checksum starts");
_Static_assert(AT_CHECKSUM == BODY_LEN, "the checksum covers all before it");

static void checksum(uint8_t out[CHECKSUM_LEN], const uint8_t body[BODY_LEN])
{
    uint8_t hash[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, hash, body, BODY_LEN);
    memcpy(out, hash, CHECKSUM_LEN);
}

void anchor_record_encode(const struct anchor_record *a, uint8_t out[ANCHOR_RECORD_LEN])
{
    be_put32(out + AT_FORMAT, RECORD_FORMAT);
    be_put64(out + AT_W, a->w);
    be_put64(out + AT_WINDOW, (uint64_t)a->window);
    be_put64(out + AT_L, a->l);
    be_put64(out + AT_L_BASE, a->l_base);
    be_put64(out + AT_WALL, (uint64_t)a->wall_s);
    be_put64(out + AT_EARLY, (uint64_t)a->early_window);
    memcpy(out + AT_HEAD, a->head, SHA256_LEN);
    checksum(out + AT_CHECKSUM, out);
}

bool anchor_record_decode(struct anchor_record *a, const uint8_t in[ANCHOR_RECORD_LEN])
{
    *a = (struct anchor_record){0};
    uint8_t sum[CHECKSUM_LEN];
    checksum(sum, in);
    if (!ct_equal(sum, in + AT_CHECKSUM, CHECKSUM_LEN) || be_get32(in + AT_FORMAT) != RECORD_FORMAT)
        return false;
    a->w = be_get64(in + AT_W);
    a->window = (int64_t)be_get64(in + AT_WINDOW);
    a->l = be_get64(in + AT_L);
    a->l_base = be_get64(in + AT_L_BASE);
    a->wall_s = (int64_t)be_get64(in + AT_WALL);
    a->early_window = (int64_t)be_get64(in + AT_EARLY);
    memcpy(a->head, in + AT_HEAD, SHA256_LEN);
    return true;
}
