/*
 * kernel_keccak_simd: Keccak-f[1600] with one state in each lane of a vector register, for
 * kernel_keccak_avx2.c and kernel_keccak_avx512.c, which define before they include this:
 *
 *   VEC, VEC_LANES, INLINE     the register, its 64-bit lanes, how functions are declared
 *   V_XOR V_OR(x, y)           operations on VEC
 *   V_XOR3(x, y, z)            x ^ y ^ z
 *   V_CHI(x, y, z)             x ^ (~y & z)
 *   V_SET1(x)                  the same 64 bits in all lanes
 *   V_SHL V_SHR V_ROL(x, n)    shifts and a rotation to the left, by a constant
 *   V_LOAD V_STORE(p)          64-byte aligned memory
 *
 * Uses: base, kernel_keccak.h. Secrets and threads: as there. One group of registers is enough:
 * the 25 words of a state do not wait for each other within a step.
 */
#ifndef HBS_KERNEL_KECCAK_SIMD_H
#define HBS_KERNEL_KECCAK_SIMD_H

#include "hbs/kernel_keccak.h"
#include "hbs/kernel_lanes.h" /* LEFT_AS_IS */

/* Constant indices into the arrays of registers let the compiler keep them in registers. */
#define UNROLL _Pragma("GCC unroll 25")

/* Theta's column parities, and what they add to each column (FIPS 202 §3.2.1). */
#define COLUMN(a, x) V_XOR3(V_XOR3(a[x], a[(x) + 5], a[(x) + 10]), a[(x) + 15], a[(x) + 20])
/* Theta's addition, and rho's rotation of word i, which stands in column x. */
#define TURN(a, d, i, r) V_ROL(V_XOR((a)[i], (d)[(i) % 5]), r)

/* One row after pi and chi: its five words come from a diagonal of the state before (§3.2.3). */
INLINE void keccak_row(VEC *out, VEC b0, VEC b1, VEC b2, VEC b3, VEC b4)
{
    out[0] = V_CHI(b0, b1, b2);
    out[1] = V_CHI(b1, b2, b3);
    out[2] = V_CHI(b2, b3, b4);
    out[3] = V_CHI(b3, b4, b0);
    out[4] = V_CHI(b4, b0, b1);
}

/* One round: out and a are different states. The offsets are those of §3.2.2, table 2. */
INLINE void keccak_round(VEC out[25], const VEC a[25], uint64_t constant)
{
    const VEC c[5] = {COLUMN(a, 0), COLUMN(a, 1), COLUMN(a, 2), COLUMN(a, 3), COLUMN(a, 4)};
    const VEC d[5] = {V_XOR(c[4], V_ROL(c[1], 1)), V_XOR(c[0], V_ROL(c[2], 1)),
                      V_XOR(c[1], V_ROL(c[3], 1)), V_XOR(c[2], V_ROL(c[4], 1)),
                      V_XOR(c[3], V_ROL(c[0], 1))};
    keccak_row(out, V_XOR(a[0], d[0]), TURN(a, d, 6, 44), TURN(a, d, 12, 43), TURN(a, d, 18, 21),
               TURN(a, d, 24, 14));
    out[0] = V_XOR(out[0], V_SET1(constant));
    keccak_row(out + 5, TURN(a, d, 3, 28), TURN(a, d, 9, 20), TURN(a, d, 10, 3), TURN(a, d, 16, 45),
               TURN(a, d, 22, 61));
    keccak_row(out + 10, TURN(a, d, 1, 1), TURN(a, d, 7, 6), TURN(a, d, 13, 25), TURN(a, d, 19, 8),
               TURN(a, d, 20, 18));
    keccak_row(out + 15, TURN(a, d, 4, 27), TURN(a, d, 5, 36), TURN(a, d, 11, 10),
               TURN(a, d, 17, 15), TURN(a, d, 23, 56));
    keccak_row(out + 20, TURN(a, d, 2, 62), TURN(a, d, 8, 55), TURN(a, d, 14, 39),
               TURN(a, d, 15, 41), TURN(a, d, 21, 2));
}

/* All 24 rounds. Two at a time, so that no state is copied. */
INLINE void keccak_rounds(VEC a[25])
{
    for (size_t r = 0; r < KECCAK_ROUNDS; r += 2) {
        VEC b[25] LEFT_AS_IS;
        keccak_round(b, a, keccak_constants[r]);
        keccak_round(a, b, keccak_constants[r + 1]);
    }
}

/* The state before the permutation of the next step: a padded block of 55 or 47 bytes. The value
 * starts at byte 23, the last one of word 2: every word of it is split 8 to 56 bits. */
INLINE void keccak_step_block(VEC a[25], const struct keccak_chains *lanes, const VEC v[4])
{
    const VEC zero = V_SET1(0);
    const VEC pad = V_SET1(UINT64_C(0x1f) << 56);
    UNROLL
    for (size_t i = 6; i < 25; i++)
        a[i] = zero;
    a[0] = V_SET1(lanes->id[0]);
    a[1] = V_SET1(lanes->id[1]);
    a[2] = V_OR(V_LOAD(lanes->qij), V_SHL(v[0], 56));
    a[3] = V_OR(V_SHR(v[0], 8), V_SHL(v[1], 56));
    a[4] = V_OR(V_SHR(v[1], 8), V_SHL(v[2], 56));
    if (lanes->n == 32) {
        a[5] = V_OR(V_SHR(v[2], 8), V_SHL(v[3], 56));
        a[6] = V_OR(V_SHR(v[3], 8), pad);
    } else {
        a[5] = V_OR(V_SHR(v[2], 8), pad);
    }
    a[16] = V_SET1(UINT64_C(0x80) << 56);
}

/* Leaf and chain number stay, the step number in byte 6 goes on modulo 256. */
INLINE void keccak_step_next(struct keccak_chains *lanes)
{
    const VEC step = V_SET1(UINT64_C(0xff) << 48);
    VEC qij = V_LOAD(lanes->qij);
    VEC j = V_AND(V_ADD(qij, V_SET1(UINT64_C(1) << 48)), step);
    V_STORE(lanes->qij, V_OR(V_ANDNOT(step, qij), j));
}

INLINE void keccak_simd_steps(struct keccak_chains *lanes, uint32_t steps)
{
    VEC v[4] LEFT_AS_IS;
    for (size_t i = 0; i < 4; i++)
        v[i] = V_LOAD(lanes->value[i]);
    for (; steps > 0; steps--) {
        VEC a[25] LEFT_AS_IS;
        keccak_step_block(a, lanes, v);
        keccak_step_next(lanes);
        keccak_rounds(a);
        for (size_t i = 0; i < 4; i++)
            v[i] = a[i];
    }
    for (size_t i = 0; i < 4; i++)
        V_STORE(lanes->value[i], v[i]);
}

INLINE void keccak_simd_permute(uint64_t state[25][KECCAK_LANES_MAX])
{
    VEC a[25] LEFT_AS_IS;
    UNROLL
    for (size_t i = 0; i < 25; i++)
        a[i] = V_LOAD(state[i]);
    keccak_rounds(a);
    UNROLL
    for (size_t i = 0; i < 25; i++)
        V_STORE(state[i], a[i]);
}

INLINE void keccak_simd_block(uint64_t out[4][KECCAK_LANES_MAX],
                              const uint64_t block[KECCAK_RATE / 8][KECCAK_LANES_MAX])
{
    VEC a[25] LEFT_AS_IS;
    UNROLL
    for (size_t i = 0; i < 25; i++)
        a[i] = i < KECCAK_RATE / 8 ? V_LOAD(block[i]) : V_SET1(0);
    keccak_rounds(a);
    for (size_t i = 0; i < 4; i++)
        V_STORE(out[i], a[i]);
}

#endif
