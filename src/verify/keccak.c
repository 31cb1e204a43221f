/*
 * The permutation Keccak-f[1600] (FIPS 202 §3.3). Lane (x, y) is a[x + 5 * y].
 */
#include "verify/hash.h"

#if TMVI_NEED_KECCAK

static const uint64_t round_constants[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
    0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008};

/* Where the walk of rho and pi goes, and by how many bits it turns. */
static const uint8_t walk_lane[24] = {10, 7,  11, 17, 18, 3, 5,  16, 8,  21, 24, 4,
                                      15, 23, 19, 13, 12, 2, 20, 14, 22, 9,  6,  1};
static const uint8_t walk_turn[24] = {1,  3,  6,  10, 15, 21, 28, 36, 45, 55, 2,  14,
                                      27, 41, 56, 8,  25, 43, 62, 18, 39, 61, 20, 44};

static inline uint64_t rotl(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void theta(uint64_t *a)
{
    uint64_t c[5];
    for (unsigned x = 0; x < 5; x++)
        c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
    for (unsigned x = 0; x < 5; x++) {
        uint64_t d = c[(x + 4) % 5] ^ rotl(c[(x + 1) % 5], 1);
        for (unsigned y = 0; y < 25; y += 5)
            a[x + y] ^= d;
    }
}

static void rho_and_pi(uint64_t *a)
{
    uint64_t carried = a[1];
    for (unsigned t = 0; t < 24; t++) {
        uint64_t next = a[walk_lane[t]];
        a[walk_lane[t]] = rotl(carried, walk_turn[t]);
        carried = next;
    }
}

static void chi(uint64_t *a)
{
    for (unsigned y = 0; y < 25; y += 5) {
        uint64_t row[5];
        for (unsigned x = 0; x < 5; x++)
            row[x] = a[y + x];
        for (unsigned x = 0; x < 5; x++)
            a[y + x] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5]);
    }
}

void tmvi_keccak_f(uint64_t *a)
{
    for (unsigned r = 0; r < 24; r++) {
        theta(a);
        rho_and_pi(a);
        chi(a);
        a[0] ^= round_constants[r];
    }
}

#endif
