#include "hbs/kernel_keccak.h"

#ifdef __x86_64__

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define VEC __m512i
#define VEC_LANES 8
#define V_ADD(x, y) _mm512_add_epi64(x, y)
#define V_AND(x, y) _mm512_and_si512(x, y)
#define V_ANDNOT(x, y) _mm512_andnot_si512(x, y)
#define V_OR(x, y) _mm512_or_si512(x, y)
#define V_XOR(x, y) _mm512_xor_si512(x, y)
/* One instruction combines three registers by a truth table. */
#define V_XOR3(x, y, z) _mm512_ternarylogic_epi64(x, y, z, 0x96)
#define V_CHI(x, y, z) _mm512_ternarylogic_epi64(x, y, z, 0xd2)
#define V_SET1(x) _mm512_set1_epi64((long long)(x))
#define V_SHL(x, n) _mm512_slli_epi64(x, n)
#define V_SHR(x, n) _mm512_srli_epi64(x, n)
#define V_ROL(x, n) _mm512_rol_epi64(x, n)
#define V_LOAD(p) _mm512_load_si512((const void *)(p))
#define V_STORE(p, x) _mm512_store_si512((void *)(p), x)

#include "hbs/kernel_keccak_simd.h"

TARGET static void avx512_steps(struct keccak_chains *lanes, uint32_t steps)
{
    keccak_simd_steps(lanes, steps);
}

TARGET static void avx512_permute(uint64_t state[25][KECCAK_LANES_MAX])
{
    keccak_simd_permute(state);
}

TARGET static void avx512_block(uint64_t out[4][KECCAK_LANES_MAX],
                                const uint64_t block[KECCAK_RATE / 8][KECCAK_LANES_MAX])
{
    keccak_simd_block(out, block);
}

static const struct keccak_ops ops = {VEC_LANES, avx512_steps, avx512_permute, avx512_block};

static bool avx512_supported(void)
{
    return __builtin_cpu_supports("avx512f");
}

static void avx512_chains(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                          size_t count)
{
    keccak_chains(&ops, n, id, chains, count);
}

static void avx512_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    keccak_jobs(&ops, n, jobs, count);
}

const struct hbs_kernel hbs_kernel_avx512_shake = {.name = "avx512",
                                                   .hash = HBS_SHAKE256,
                                                   .supported = avx512_supported,
                                                   .chains = avx512_chains,
                                                   .jobs = avx512_jobs,
                                                   .keccak = &ops};

#endif
