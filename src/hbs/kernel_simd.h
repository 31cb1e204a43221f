/*
 * kernel_simd: SHA-256 with one message in each lane of a vector register, for kernel_avx2.c and
 * kernel_avx512.c, which define before they include this:
 *
 *   VEC, VEC_LANES, INLINE           the register, its 32-bit lanes, how functions are declared
 *   V_ADD V_OR V_AND V_SET1          operations on VEC
 *   V_SHL V_SHR(x, n)                shifts by a constant
 *   V_LOAD V_STORE(p)                64-byte aligned memory
 *   V_SUM(x, a, b, c)                rotations to the right by a, b and c, xor-ed
 *   V_SIGMA(x, a, b, c)              the same, but by c it is shifted
 *   V_CH V_MAJ(x, y, z)              Ch and Maj of FIPS 180-4 §4.1.2
 *   V_BSWAP(x)                       the bytes of each lane turned round
 *   V_LO32 V_HI32 V_LO64 V_HI64      unpack the lower or upper 64 bits of each 128
 *   V_LO128 V_HI128(x, y)            the lower or upper 128 bits of each 256 of x, then of y
 *   V_JOIN(x, y)                     VEC of two __m256i; y is not evaluated if VEC is one
 *   V_HALF(x, i)                     the i-th __m256i of VEC
 *
 * Uses: base, kernel_lanes.h. Secrets and threads: as there. Registers are groups of VEC_LANES
 * lanes; two groups interleaved keep the CPU's adders busy, where one waits for its own results.
 */
#ifndef HBS_KERNEL_SIMD_H
#define HBS_KERNEL_SIMD_H

#include <string.h>

#include "hbs/kernel_lanes.h"

#define GROUPS_MAX 2

/* Constant indices into the arrays of registers let the compiler keep them in registers. */
#define UNROLL _Pragma("GCC unroll 8")

/* One round. Instead of the eight values, their names move on by one place each round. */
INLINE void simd_round(VEC s[8], unsigned i, VEC wk)
{
    const VEC a = s[(8 - i) % 8];
    const VEC b = s[(9 - i) % 8];
    const VEC c = s[(10 - i) % 8];
    const VEC e = s[(12 - i) % 8];
    const VEC f = s[(13 - i) % 8];
    const VEC g = s[(14 - i) % 8];
    const VEC h = s[(15 - i) % 8];
    VEC t1 = V_ADD(V_ADD(h, wk), V_ADD(V_SUM(e, 6, 11, 25), V_CH(e, f, g)));
    s[(11 - i) % 8] = V_ADD(s[(11 - i) % 8], t1);
    s[(15 - i) % 8] = V_ADD(t1, V_ADD(V_SUM(a, 2, 13, 22), V_MAJ(a, b, c)));
}

/* Word i of the schedule, in the place of the word of sixteen before. */
INLINE VEC simd_word(VEC w[16], unsigned i)
{
    const VEC w15 = w[(i + 1) % 16];
    const VEC w2 = w[(i + 14) % 16];
    VEC x =
        V_ADD(V_ADD(w[i], V_SIGMA(w15, 7, 18, 3)), V_ADD(w[(i + 9) % 16], V_SIGMA(w2, 17, 19, 10)));
    w[i] = x;
    return x;
}

#define SIXTEEN(F)                                                                                 \
    F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define FIRST(i)                                                                                   \
    if ((i) >= from) {                                                                             \
        const VEC k##i = V_SET1(sha256_k[i]);                                                      \
        simd_round(s[0], i, V_ADD(w[0][i], k##i));                                                 \
        if (groups > 1)                                                                            \
            simd_round(s[1], i, V_ADD(w[1][i], k##i));                                             \
    }
#define LATER(i)                                                                                   \
    {                                                                                              \
        const VEC k##i = V_SET1(k[i]);                                                             \
        simd_round(s[0], i, V_ADD(simd_word(w[0], i), k##i));                                      \
        if (groups > 1)                                                                            \
            simd_round(s[1], i, V_ADD(simd_word(w[1], i), k##i));                                  \
    }

/* All rounds, or all from round `from` (8 or less) on. w is used up. The loop of sixteen rounds,
 * and not all 64 in a row, fits the CPU's cache of decoded instructions. */
INLINE void simd_rounds(VEC s[GROUPS_MAX][8], VEC w[GROUPS_MAX][16], unsigned groups, unsigned from)
{
    SIXTEEN(FIRST)
    for (const uint32_t *k = sha256_k + 16; k < sha256_k + 64; k += 16) {
        SIXTEEN(LATER)
    }
}

INLINE void simd_load(VEC d[8], const uint32_t from[8][LANES_MAX], size_t at)
{
    UNROLL
    for (unsigned r = 0; r < 8; r++)
        d[r] = V_LOAD(from[r] + at);
}

INLINE void simd_store(uint32_t to[8][LANES_MAX], size_t at, const VEC d[8])
{
    UNROLL
    for (unsigned r = 0; r < 8; r++)
        V_STORE(to[r] + at, d[r]);
}

INLINE void simd_add(VEC d[8], const VEC s[8])
{
    UNROLL
    for (unsigned r = 0; r < 8; r++)
        d[r] = V_ADD(d[r], s[r]);
}

/* The same words in all lanes; word r becomes the one that has this name after `moved` rounds. */
INLINE void simd_set(VEC s[8], const uint32_t words[8], unsigned moved)
{
    UNROLL
    for (unsigned r = 0; r < 8; r++)
        s[(r + 8 - moved) % 8] = V_SET1(words[r]);
}

/* The block of the next step. The value starts at byte 23, the last one of word 5: every word of it
 * is split 8 to 24 bits. */
INLINE void simd_step_block(VEC w[16], const struct chain_lanes *lanes, size_t at, const VEC d[8])
{
    const VEC zero = V_SET1(0);
    const VEC pad = V_SET1(0x80);
    for (unsigned i = 0; i < 4; i++)
        w[i] = V_SET1(lanes->id[i]);
    w[4] = V_LOAD(lanes->q + at);
    w[5] = V_OR(V_LOAD(lanes->ij + at), V_SHR(d[0], 24));
    for (unsigned i = 0; i < 5; i++)
        w[6 + i] = V_OR(V_SHL(d[i], 8), V_SHR(d[i + 1], 24));
    if (lanes->n == 32) {
        w[11] = V_OR(V_SHL(d[5], 8), V_SHR(d[6], 24));
        w[12] = V_OR(V_SHL(d[6], 8), V_SHR(d[7], 24));
        w[13] = V_OR(V_SHL(d[7], 8), pad);
    } else {
        w[11] = V_OR(V_SHL(d[5], 8), pad);
        w[12] = zero;
        w[13] = zero;
    }
    w[14] = zero;
    w[15] = V_SET1(STEP_BITS(lanes->n));
}

/* Chain number stays, step number goes on modulo 256. */
INLINE void simd_step_next(struct chain_lanes *lanes, size_t at)
{
    VEC ij = V_LOAD(lanes->ij + at);
    VEC j = V_AND(V_ADD(ij, V_SET1(0x100)), V_SET1(0xff00));
    V_STORE(lanes->ij + at, V_OR(V_AND(ij, V_SET1(0xffff0000)), j));
}

/* n bytes, 24 or 32, and zeros. */
INLINE __m256i simd_bytes_get(const uint8_t *in, uint8_t n)
{
    if (n == 32)
        return _mm256_loadu_si256((const __m256i *)(const void *)in);
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)in);
    __m128i high = _mm_loadl_epi64((const __m128i *)(const void *)(in + 16));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

INLINE void simd_bytes_put(uint8_t *out, __m256i x, uint8_t n)
{
    if (n == 32) {
        _mm256_storeu_si256((__m256i *)(void *)out, x);
        return;
    }
    _mm_storeu_si128((__m128i *)(void *)out, _mm256_castsi256_si128(x));
    _mm_storel_epi64((__m128i *)(void *)(out + 16), _mm256_extracti128_si256(x, 1));
}

/* Eight words of eight lanes, in each half of a wide register for itself, change places: word r of
 * lane l goes where word l of lane r was. */
INLINE void simd_transpose(VEC x[8])
{
    VEC y[8] LEFT_AS_IS;
    UNROLL
    for (unsigned i = 0; i < 8; i += 2) {
        y[i] = V_LO32(x[i], x[i + 1]);
        y[i + 1] = V_HI32(x[i], x[i + 1]);
    }
    /* z[i] has word i of four lanes, and word i + 4 of the same in its upper part. */
    VEC z[8] LEFT_AS_IS;
    UNROLL
    for (unsigned i = 0; i < 8; i += 4) {
        z[i] = V_LO64(y[i], y[i + 2]);
        z[i + 1] = V_HI64(y[i], y[i + 2]);
        z[i + 2] = V_LO64(y[i + 1], y[i + 3]);
        z[i + 3] = V_HI64(y[i + 1], y[i + 3]);
    }
    UNROLL
    for (unsigned i = 0; i < 4; i++) {
        x[i] = V_LO128(z[i], z[i + 4]);
        x[i + 4] = V_HI128(z[i], z[i + 4]);
    }
}

/* Eight words of a group from the bytes at in[lane] + offset, of which n are read. */
INLINE void simd_rows_get(VEC words[8], const uint8_t *const in[VEC_LANES], size_t offset,
                          uint8_t n)
{
    UNROLL
    for (unsigned l = 0; l < 8; l++)
        words[l] = V_BSWAP(
            V_JOIN(simd_bytes_get(in[l] + offset, n), simd_bytes_get(in[l + 8] + offset, n)));
    simd_transpose(words);
}

INLINE void simd_values_load(struct chain_lanes *lanes, size_t at, const uint8_t *const in[])
{
    VEC d[8] LEFT_AS_IS;
    if (lanes->n == 32)
        simd_rows_get(d, in + at, 0, 32);
    else
        simd_rows_get(d, in + at, 0, 24);
    simd_store(lanes->d, at, d);
}

/* Those of the group that are lanes from … to - 1. */
INLINE void simd_values_store(const struct chain_lanes *lanes, size_t at, size_t from, size_t to,
                              uint8_t *const out[])
{
    VEC d[8] LEFT_AS_IS;
    simd_load(d, lanes->d, at);
    simd_transpose(d);
    UNROLL
    for (unsigned l = 0; l < 8; l++) {
        VEC bytes = V_BSWAP(d[l]);
        for (unsigned i = 0; i < VEC_LANES / 8; i++) {
            size_t lane = at + l + 8 * i;
            if (lane >= from && lane < to)
                simd_bytes_put(out[lane], i == 0 ? V_HALF(bytes, 0) : V_HALF(bytes, 1), lanes->n);
        }
    }
}

/* As lane_ops says. */
INLINE void simd_splice(uint32_t to[][LANES_MAX], const uint32_t before[LANES_MAX],
                        const uint32_t d[][LANES_MAX], size_t words)
{
    for (size_t at = 0; at < LANES_MAX; at += VEC_LANES) {
        VEC last = V_LOAD(before + at);
        for (size_t r = 0; r < words; r++) {
            VEC word = V_LOAD(d[r] + at);
            V_STORE(to[r] + at, V_OR(V_SHL(last, 16), V_SHR(word, 16)));
            last = word;
        }
    }
}

/* Steps of the groups * VEC_LANES lanes from `at` on. groups is a constant. */
INLINE void simd_steps(struct chain_lanes *lanes, size_t at, unsigned groups, uint32_t steps)
{
    VEC d[GROUPS_MAX][8] LEFT_AS_IS;
    VEC s[GROUPS_MAX][8] LEFT_AS_IS;
    VEC w[GROUPS_MAX][16] LEFT_AS_IS;
    for (unsigned g = 0; g < groups; g++) {
        if (lanes->seed != NULL)
            simd_set(d[g], lanes->seed, 0);
        else
            simd_load(d[g], lanes->d, at + g * VEC_LANES);
    }
    for (; steps > 0; steps--) {
        for (unsigned g = 0; g < groups; g++) {
            simd_step_block(w[g], lanes, at + g * VEC_LANES, d[g]);
            simd_step_next(lanes, at + g * VEC_LANES);
            simd_set(s[g], lanes->mid, 4); /* after four rounds, names have moved four places */
        }
        simd_rounds(s, w, groups, 4);
        for (unsigned g = 0; g < groups; g++) {
            simd_set(d[g], sha256_iv, 0);
            simd_add(d[g], s[g]);
        }
    }
    for (unsigned g = 0; g < groups; g++)
        simd_store(lanes->d, at + g * VEC_LANES, d[g]);
}

/* Blocks of a group. Lanes past `active` take the first lane's block. */
INLINE void simd_words(VEC w[16], const struct block_lanes *lanes, size_t at, size_t active,
                       size_t offset)
{
    const uint8_t *block[VEC_LANES] LEFT_AS_IS;
    for (size_t l = 0; l < VEC_LANES; l++)
        block[l] = lanes->block[at + l < active ? at + l : 0] + offset;
    simd_rows_get(w, block, 0, 32);
    simd_rows_get(w + 8, block, 32, 32);
}

/* One block, given word by word, in the groups * VEC_LANES lanes from `at` on. */
INLINE void simd_compress(uint32_t out[8][LANES_MAX], const uint32_t start[8][LANES_MAX],
                          const uint32_t block[16][LANES_MAX], size_t at, unsigned groups)
{
    VEC s[GROUPS_MAX][8] LEFT_AS_IS;
    VEC w[GROUPS_MAX][16] LEFT_AS_IS;
    for (unsigned g = 0; g < groups; g++) {
        simd_load(s[g], start, at + g * VEC_LANES);
        UNROLL
        for (unsigned i = 0; i < 16; i++)
            w[g][i] = V_LOAD(block[i] + at + g * VEC_LANES);
    }
    simd_rounds(s, w, groups, 0);
    for (unsigned g = 0; g < groups; g++) {
        VEC d[8] LEFT_AS_IS;
        simd_load(d, start, at + g * VEC_LANES);
        simd_add(d, s[g]);
        simd_store(out, at + g * VEC_LANES, d);
    }
}

INLINE void simd_blocks(struct block_lanes *lanes, size_t at, size_t active, unsigned groups,
                        uint32_t blocks)
{
    VEC d[GROUPS_MAX][8] LEFT_AS_IS;
    VEC s[GROUPS_MAX][8] LEFT_AS_IS;
    VEC w[GROUPS_MAX][16] LEFT_AS_IS;
    for (unsigned g = 0; g < groups; g++)
        simd_load(d[g], lanes->state, at + g * VEC_LANES);
    for (uint32_t b = 0; b < blocks; b++) {
        for (unsigned g = 0; g < groups; g++) {
            simd_words(w[g], lanes, at + g * VEC_LANES, active, (size_t)b * 64);
            memcpy(s[g], d[g], sizeof(s[g]));
        }
        simd_rounds(s, w, groups, 0);
        for (unsigned g = 0; g < groups; g++)
            simd_add(d[g], s[g]);
    }
    for (unsigned g = 0; g < groups; g++)
        simd_store(lanes->state, at + g * VEC_LANES, d[g]);
}

#endif
