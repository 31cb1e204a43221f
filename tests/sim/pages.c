#include "sim/pages.h"

#include <string.h>

#include "base/bytes.h"
#include "base/rc.h"

#define FRAME_HEADER 24
#define FRAME_MAX (FRAME_HEADER + 8192)
#define FRAMES_MAX 2048
#define MAGIC_LITTLE UINT32_C(0x377f0682) /* and | 1: checksums over big-endian words */
#define PAGES_MAX 1024
#define CHANGE_COUNTER 24 /* in page 1 */
#define VALID_FOR 92

#define LANES 4
#define MIX_A UINT64_C(0xff51afd7ed558ccd)
#define MIX_B UINT64_C(0xc4ceb9fe1a85ec53)

/* One to one in the word and in what was there, so one changed word is never lost. */
static uint64_t mix(uint64_t lane, uint64_t word, uint64_t by)
{
    lane = (lane ^ word) * by;
    return lane ^ lane >> 32;
}

/* Four words at a time, in lanes that need not wait for each other: the small model spent half of
 * its time here. */
void hash128_add(struct hash128 *hash, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t words[LANES];
    uint64_t lanes[LANES] = {hash->a ^ len, hash->b + len, hash->a + MIX_B, hash->b ^ MIX_A};
    for (; len >= sizeof(words); len -= sizeof(words), p += sizeof(words)) {
        memcpy(words, p, sizeof(words));
        for (size_t i = 0; i < LANES; i++)
            lanes[i] = mix(lanes[i], words[i], MIX_A);
    }
    memset(words, 0, sizeof(words));
    if (len > 0)
        memcpy(words, p, len);
    uint64_t a = len;
    uint64_t b = ~(uint64_t)len;
    for (size_t i = 0; i < LANES; i++) {
        lanes[i] = mix(lanes[i], words[i], MIX_A);
        a = mix(a, lanes[i], MIX_A);
        b = mix(b, lanes[LANES - 1 - i], MIX_B);
    }
    *hash = (struct hash128){a, b};
}

/* Two running sums over pairs of words, as the format defines them. */
struct sums {
    uint32_t s0, s1;
    bool big;
};

static uint32_t le_get32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void sums_add(struct sums *s, const uint8_t *p, size_t len)
{
    uint32_t s0 = s->s0;
    uint32_t s1 = s->s1;
    if (s->big)
        for (size_t i = 0; i < len; i += 8) {
            s0 += be_get32(p + i) + s1;
            s1 += be_get32(p + i + 4) + s0;
        }
    else
        for (size_t i = 0; i < len; i += 8) {
            s0 += le_get32(p + i) + s1;
            s1 += le_get32(p + i + 4) + s0;
        }
    s->s0 = s0;
    s->s1 = s1;
}

static bool sums_are(const struct sums *s, const uint8_t *p)
{
    return s->s0 == be_get32(p) && s->s1 == be_get32(p + 4);
}

static bool header_is_good(const uint8_t *wal, size_t len, struct sums *sums)
{
    if (len < PAGES_WAL_HEADER || (be_get32(wal) & ~UINT32_C(1)) != MAGIC_LITTLE)
        return false;
    sums->big = (be_get32(wal) & 1) != 0;
    sums_add(sums, wal, 24);
    return sums_are(sums, wal + 24);
}

/* The log that was scanned last, with the sums behind each of its frames: the next one mostly
 * begins with the same frames. */
static struct {
    uint8_t wal[PAGES_WAL_HEADER + FRAMES_MAX * FRAME_MAX];
    struct sums sums[FRAMES_MAX];
    size_t frames;
} last;

/* Sums behind frame i, which begins at `at`. *same: as all before it, this one is as it was. */
static struct sums sums_behind(struct sums before, const uint8_t *wal, size_t at, size_t page_size,
                               size_t i, bool *same)
{
    size_t frame = FRAME_HEADER + page_size;
    MUST(i < FRAMES_MAX && frame <= FRAME_MAX);
    *same = *same && i < last.frames && memcmp(last.wal + at, wal + at, frame) == 0;
    if (*same)
        return last.sums[i];
    sums_add(&before, wal + at, 8);
    sums_add(&before, wal + at + FRAME_HEADER, page_size);
    memcpy(last.wal + at, wal + at, frame);
    last.sums[i] = before;
    last.frames = i + 1;
    return before;
}

void pages_scan(struct pages_log *log, const uint8_t *wal, size_t len)
{
    struct sums sums = {0};
    log->wal = wal;
    log->page_size = 0;
    log->count = 0;
    if (wal == NULL || !header_is_good(wal, len, &sums))
        return;
    bool same = memcmp(last.wal, wal, PAGES_WAL_HEADER) == 0;
    memcpy(last.wal, wal, PAGES_WAL_HEADER);
    log->page_size = be_get32(wal + 8);
    size_t frame = FRAME_HEADER + log->page_size;
    size_t i = 0;
    for (size_t at = PAGES_WAL_HEADER; at + frame <= len; at += frame) {
        const uint8_t *head = wal + at;
        sums = sums_behind(sums, wal, at, log->page_size, i++, &same);
        if (memcmp(head + 8, wal + 16, 8) != 0 || !sums_are(&sums, head + 16))
            return;
        if (be_get32(head + 4) == 0)
            continue;
        MUST(log->count < PAGES_COMMITS_MAX);
        log->commits[log->count++] = at + frame;
    }
}

size_t pages_commits_before(const struct pages_log *log, size_t limit)
{
    size_t n = log->count;
    while (n > 0 && log->commits[n - 1] > limit)
        n--;
    return n;
}

static const uint8_t *commit_header(const struct pages_log *log, size_t commits)
{
    return log->wal + log->commits[commits - 1] - log->page_size - FRAME_HEADER;
}

/* Salts and running sums stand in the last frame's header. */
void pages_sums(const struct pages_log *log, size_t commits, uint8_t sums[PAGES_SUMS])
{
    memset(sums, 0, PAGES_SUMS);
    if (commits > 0)
        memcpy(sums, commit_header(log, commits) + 8, PAGES_SUMS);
}

size_t pages_count(const struct pages_log *log, size_t commits)
{
    return be_get32(commit_header(log, commits) + 4);
}

bool pages_hides(const struct pages_log *log, size_t commits, size_t page)
{
    size_t end = commits > 0 ? log->commits[commits - 1] : 0;
    for (size_t at = PAGES_WAL_HEADER; at < end; at += FRAME_HEADER + log->page_size)
        if (be_get32(log->wal + at) == page)
            return true;
    return false;
}

static void add_page(struct hash128 *hash, const uint8_t *page, size_t number, size_t size)
{
    if (number > 1) {
        hash128_add(hash, page, size);
        return;
    }
    hash128_add(hash, page, CHANGE_COUNTER);
    hash128_add(hash, page + CHANGE_COUNTER + 4, VALID_FOR - CHANGE_COUNTER - 4);
    hash128_add(hash, page + VALID_FOR + 4, size - VALID_FOR - 4);
}

struct hash128 pages_hash(const uint8_t *db, size_t db_len, const struct pages_log *log,
                          size_t commits)
{
    static const uint8_t *page[PAGES_MAX + 1];
    struct hash128 hash = {0};
    size_t commit = commits > 0 ? log->commits[commits - 1] : 0;
    if (db_len < 100 && commit == 0)
        return hash;
    size_t size = commit > 0 ? log->page_size : (size_t)db[16] << 8 | db[17];
    size_t count = db_len / size;
    memset(page, 0, sizeof(page));
    MUST(count <= PAGES_MAX);
    for (size_t i = 1; i <= count; i++)
        page[i] = db + (i - 1) * size;
    for (size_t at = PAGES_WAL_HEADER; at < commit; at += FRAME_HEADER + size) {
        uint32_t number = be_get32(log->wal + at);
        MUST(number >= 1 && number <= PAGES_MAX);
        page[number] = log->wal + at + FRAME_HEADER;
        if (be_get32(log->wal + at + 4) != 0)
            count = be_get32(log->wal + at + 4);
    }
    for (size_t i = 1; i <= count; i++)
        if (page[i] != NULL)
            add_page(&hash, page[i], i, size);
    return hash;
}
