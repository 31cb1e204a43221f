#include "hbs/kernel_keccak.h"

#ifdef __x86_64__

#include <immintrin.h>

#define TARGET __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define VEC __m256i
#define VEC_LANES 4
#define V_ADD(x, y) _mm256_add_epi64(x, y)
#define V_AND(x, y) _mm256_and_si256(x, y)
#define V_ANDNOT(x, y) _mm256_andnot_si256(x, y)
#define V_OR(x, y) _mm256_or_si256(x, y)
#define V_XOR(x, y) _mm256_xor_si256(x, y)
#define V_XOR3(x, y, z) V_XOR(V_XOR(x, y), z)
#define V_CHI(x, y, z) V_XOR(x, V_ANDNOT(y, z))
#define V_SET1(x) _mm256_set1_epi64x((long long)(x))
#define V_SHL(x, n) _mm256_slli_epi64(x, n)
#define V_SHR(x, n) _mm256_srli_epi64(x, n)
#define V_ROL(x, n) V_OR(V_SHL(x, n), V_SHR(x, 64 - (n)))
#define V_LOAD(p) _mm256_load_si256((const __m256i *)(const void *)(p))
#define V_STORE(p, x) _mm256_store_si256((__m256i *)(void *)(p), x)

#include "hbs/kernel_keccak_simd.h"

TARGET static void avx2_steps(struct keccak_chains *lanes, uint32_t steps)
{
    keccak_simd_steps(lanes, steps);
}

TARGET static void avx2_permute(uint64_t state[25][KECCAK_LANES_MAX])
{
    keccak_simd_permute(state);
}

TARGET static void avx2_block(uint64_t out[4][KECCAK_LANES_MAX],
                              const uint64_t block[KECCAK_RATE / 8][KECCAK_LANES_MAX])
{
    keccak_simd_block(out, block);
}

static const struct keccak_ops ops = {VEC_LANES, avx2_steps, avx2_permute, avx2_block};

static bool avx2_supported(void)
{
    return __builtin_cpu_supports("avx2");
}

static void avx2_chains(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                        size_t count)
{
    keccak_chains(&ops, n, id, chains, count);
}

static void avx2_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    keccak_jobs(&ops, n, jobs, count);
}

const struct hbs_kernel hbs_kernel_avx2_shake = {.name = "avx2",
                                                 .hash = HBS_SHAKE256,
                                                 .supported = avx2_supported,
                                                 .chains = avx2_chains,
                                                 .jobs = avx2_jobs,
                                                 .keccak = &ops};

#endif
