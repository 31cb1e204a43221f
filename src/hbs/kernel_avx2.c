#include "hbs/kernel_lanes.h"

#ifdef __x86_64__

#include <immintrin.h>

#define TARGET __attribute__((target("avx2")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define VEC __m256i
#define VEC_LANES 8
#define V_ADD(x, y) _mm256_add_epi32(x, y)
#define V_OR(x, y) _mm256_or_si256(x, y)
#define V_AND(x, y) _mm256_and_si256(x, y)
#define V_SET1(x) _mm256_set1_epi32((int)(x))
#define V_SHL(x, n) _mm256_slli_epi32(x, n)
#define V_SHR(x, n) _mm256_srli_epi32(x, n)
#define V_LOAD(p) _mm256_load_si256((const __m256i *)(const void *)(p))
#define V_STORE(p, x) _mm256_store_si256((__m256i *)(void *)(p), x)
#define V_XOR(x, y) _mm256_xor_si256(x, y)
#define V_ROR(x, n) V_OR(V_SHR(x, n), V_SHL(x, 32 - (n)))
#define V_SUM(x, a, b, c) V_XOR(V_XOR(V_ROR(x, a), V_ROR(x, b)), V_ROR(x, c))
#define V_SIGMA(x, a, b, c) V_XOR(V_XOR(V_ROR(x, a), V_ROR(x, b)), V_SHR(x, c))
#define V_CH(x, y, z) V_XOR(z, V_AND(x, V_XOR(y, z)))
#define V_MAJ(x, y, z) V_OR(V_AND(x, y), V_AND(z, V_OR(x, y)))
#define V_BSWAP(x)                                                                                 \
    _mm256_shuffle_epi8(x, _mm256_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203,               \
                                             0x0c0d0e0f08090a0b, 0x0405060700010203))
#define V_LO32(x, y) _mm256_unpacklo_epi32(x, y)
#define V_HI32(x, y) _mm256_unpackhi_epi32(x, y)
#define V_LO64(x, y) _mm256_unpacklo_epi64(x, y)
#define V_HI64(x, y) _mm256_unpackhi_epi64(x, y)
#define V_LO128(x, y) _mm256_permute2x128_si256(x, y, 0x20)
#define V_HI128(x, y) _mm256_permute2x128_si256(x, y, 0x31)
#define V_JOIN(x, y) (x)
#define V_HALF(x, i) (x)

#include "hbs/kernel_simd.h"

TARGET static void avx2_steps(struct chain_lanes *lanes, size_t active, uint32_t steps)
{
    for (size_t at = 0; at < active; at += VEC_LANES)
        simd_steps(lanes, at, 1, steps);
}

TARGET static void avx2_blocks(struct block_lanes *lanes, size_t active, uint32_t blocks)
{
    for (size_t at = 0; at < active; at += VEC_LANES)
        simd_blocks(lanes, at, active, 1, blocks);
}

TARGET static void avx2_words(uint32_t out[8][LANES_MAX], const uint32_t start[8][LANES_MAX],
                              const uint32_t block[16][LANES_MAX], size_t active)
{
    for (size_t at = 0; at < active; at += VEC_LANES)
        simd_compress(out, start, block, at, 1);
}

TARGET static void avx2_load(struct chain_lanes *lanes, const uint8_t *const in[])
{
    simd_values_load(lanes, 0, in);
}

TARGET static void avx2_store(const struct chain_lanes *lanes, size_t from, size_t to,
                              uint8_t *const out[])
{
    for (size_t at = 0; at < to; at += VEC_LANES)
        simd_values_store(lanes, at, from, to, out);
}

TARGET static void avx2_splice(uint32_t to[][LANES_MAX], const uint32_t before[LANES_MAX],
                               const uint32_t d[][LANES_MAX], size_t words)
{
    simd_splice(to, before, d, words);
}

static const struct lane_ops ops = {.lanes = VEC_LANES,
                                    .frame = FRAME_MAX,
                                    .steps = avx2_steps,
                                    .blocks = avx2_blocks,
                                    .words = avx2_words,
                                    .load = avx2_load,
                                    .store = avx2_store,
                                    .splice = avx2_splice};

static bool avx2_supported(void)
{
    return __builtin_cpu_supports("avx2");
}

static void avx2_chains(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                        size_t count)
{
    lanes_chains(&ops, n, id, chains, count);
}

static void avx2_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    lanes_jobs(&ops, n, jobs, count);
}

const struct hbs_kernel hbs_kernel_avx2 = {.name = "avx2",
                                           .hash = HBS_SHA256,
                                           .supported = avx2_supported,
                                           .chains = avx2_chains,
                                           .jobs = avx2_jobs,
                                           .lanes = &ops};

#endif
