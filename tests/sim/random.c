#include "sim/random.h"

#include <string.h>

/* splitmix64: small, seedable, and good enough to toss coins. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

struct chance chance_make(uint64_t seed, uint64_t stream)
{
    return (struct chance){mix(seed * UINT64_C(0x9e3779b97f4a7c15) + mix(stream + 1))};
}

uint64_t chance_next(struct chance *c)
{
    return mix(c->state += UINT64_C(0x9e3779b97f4a7c15));
}

uint64_t chance_below(struct chance *c, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)chance_next(c) * n) >> 64);
}

int64_t chance_between(struct chance *c, int64_t low, int64_t high)
{
    return low + (int64_t)chance_below(c, (uint64_t)(high - low) + 1);
}

bool chance_percent(struct chance *c, unsigned percent)
{
    return chance_below(c, 100) < percent;
}

bool chance_one_in(struct chance *c, uint64_t n)
{
    return n != 0 && chance_below(c, n) == 0;
}

void chance_bytes(struct chance *c, void *out, size_t len)
{
    uint8_t *p = out;
    while (len > 0) {
        uint64_t word = chance_next(c);
        size_t n = len < sizeof(word) ? len : sizeof(word);
        memcpy(p, &word, n);
        p += n;
        len -= n;
    }
}
