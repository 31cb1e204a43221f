/*
 * SHA-256's compression function (FIPS 180-4 §6.2.2).
 */
#include "verify/bytes.h"
#include "verify/hash.h"

#if TMVI_NEED_SHA256

static const uint32_t k256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static inline uint32_t rotr(uint32_t x, unsigned by)
{
    return x >> by | x << (32 - by);
}

/* The next word of the schedule, in place of the one that is 16 rounds old. */
static inline uint32_t next_word(uint32_t w[16], unsigned t)
{
    uint32_t w1 = w[(t + 1) & 15];
    uint32_t w14 = w[(t + 14) & 15];
    uint32_t s0 = rotr(w1, 7) ^ rotr(w1, 18) ^ w1 >> 3;
    uint32_t s1 = rotr(w14, 17) ^ rotr(w14, 19) ^ w14 >> 10;
    w[t & 15] += s0 + w[(t + 9) & 15] + s1;
    return w[t & 15];
}

void tmvi_sha256_block(uint32_t *h, const uint8_t *block)
{
    uint32_t w[16];
    uint32_t s[8];
    for (unsigned i = 0; i < 16; i++)
        w[i] = tmvi_get32(block + (size_t)4 * i);
    for (unsigned i = 0; i < 8; i++)
        s[i] = h[i];
    for (unsigned t = 0; t < 64; t++) {
        uint32_t word = t < 16 ? w[t] : next_word(w, t);
        uint32_t e = s[4];
        uint32_t a = s[0];
        uint32_t t1 = s[7] + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & s[5]) ^ (~e & s[6])) +
                      k256[t] + word;
        uint32_t t2 =
            (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        for (unsigned i = 7; i > 0; i--)
            s[i] = s[i - 1];
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        h[i] += s[i];
}

#endif
