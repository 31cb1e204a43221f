#include "policy/bucket.h"

#define TOKEN_PPM UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define YEAR_S (366 * 86400)
/* Nanoseconds in which a rate of one token an hour brings one millionth of a token. */
#define NS_PER_PPM_HOUR UINT64_C(3600000)

typedef unsigned __int128 wide; /* a product of two counters fits */

static uint64_t level_full(const struct bucket *b)
{
    return b->capacity > UINT64_MAX / TOKEN_PPM ? UINT64_MAX : b->capacity * TOKEN_PPM;
}

void bucket_init(struct bucket *b, uint64_t capacity, uint64_t per_hour, int64_t now_ns)
{
    MUST(capacity == 0 || per_hour >= 1);
    *b = (struct bucket){.capacity = capacity, .per_hour = per_hour, .at_ns = now_ns};
    b->level_ppm = level_full(b);
}

/* Add what the time since at_ns has brought. at_ns moves on by the time that was paid out, rounded
 * up: asking often makes no tokens, and loses less than a nanosecond of refill a call. */
static void refill(struct bucket *b, int64_t now_ns)
{
    if (now_ns <= b->at_ns)
        return;
    wide elapsed = (wide)((__int128)now_ns - b->at_ns);
    wide gained = elapsed * b->per_hour / NS_PER_PPM_HOUR;
    uint64_t room = level_full(b) - b->level_ppm;
    if (gained >= room) {
        b->level_ppm = level_full(b);
        b->at_ns = now_ns;
        return;
    }
    b->level_ppm += (uint64_t)gained;
    wide paid = (gained * NS_PER_PPM_HOUR + b->per_hour - 1) / b->per_hour;
    b->at_ns = (int64_t)((__int128)b->at_ns + (__int128)paid);
}

/* Seconds from now until the level reaches a token. What has passed since at_ns without being paid
 * out counts; it brings less than a millionth of a token, or refill() would have paid it. */
static uint64_t wait_for_token(const struct bucket *b, int64_t now_ns)
{
    wide ns = ((wide)(TOKEN_PPM - b->level_ppm) * NS_PER_PPM_HOUR + b->per_hour - 1) / b->per_hour;
    wide passed = now_ns > b->at_ns ? (wide)((__int128)now_ns - b->at_ns) : 0;
    MUST(ns > passed);
    return (uint64_t)((ns - passed + NS_PER_S - 1) / NS_PER_S);
}

void bucket_change(struct bucket *b, uint64_t capacity, uint64_t per_hour, int64_t now_ns)
{
    struct bucket old = *b;
    if (old.capacity != 0)
        refill(&old, now_ns);
    bool full = old.capacity == 0 || old.level_ppm == level_full(&old);
    bucket_init(b, capacity, per_hour, now_ns);
    if (!full && old.level_ppm < b->level_ppm)
        b->level_ppm = old.level_ppm;
}

int64_t bucket_fill_s(const struct bucket *b)
{
    if (b->capacity == 0)
        return 0;
    wide seconds = ((wide)b->capacity * 3600 + b->per_hour - 1) / b->per_hour;
    return seconds > YEAR_S ? YEAR_S : (int64_t)seconds;
}

void bucket_replay(struct bucket *b, int64_t now_ns, int64_t now_s, const int64_t *taken_s,
                   size_t count, bool cut)
{
    if (b->capacity == 0 || count == 0)
        return;
    int64_t oldest_s = now_s - taken_s[count - 1];
    int64_t begin_s = cut ? oldest_s : bucket_fill_s(b);
    b->level_ppm = 0;
    b->at_ns = now_ns - (begin_s > 0 ? begin_s : 0) * (int64_t)NS_PER_S;
    for (size_t i = count; i > 0; i--) {
        int64_t ago_s = now_s - taken_s[i - 1];
        refill(b, now_ns - (ago_s > 0 ? ago_s : 0) * (int64_t)NS_PER_S);
        b->level_ppm -= b->level_ppm < TOKEN_PPM ? b->level_ppm : TOKEN_PPM;
    }
    refill(b, now_ns);
}

bool bucket_take(struct bucket *b, int64_t now_ns, uint64_t *wait_s, uint64_t *remaining)
{
    *wait_s = 0;
    *remaining = UINT64_MAX;
    if (b->capacity == 0)
        return true;
    refill(b, now_ns);
    bool taken = b->level_ppm >= TOKEN_PPM;
    if (taken)
        b->level_ppm -= TOKEN_PPM;
    else
        *wait_s = wait_for_token(b, now_ns);
    *remaining = b->level_ppm / TOKEN_PPM;
    return taken;
}
