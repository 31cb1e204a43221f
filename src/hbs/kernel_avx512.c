#include "hbs/kernel_lanes.h"

#ifdef __x86_64__

#include <immintrin.h>

#define TARGET __attribute__((target("avx512f")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define VEC __m512i
#define VEC_LANES 16
#define V_ADD(x, y) _mm512_add_epi32(x, y)
#define V_OR(x, y) _mm512_or_si512(x, y)
#define V_AND(x, y) _mm512_and_si512(x, y)
#define V_SET1(x) _mm512_set1_epi32((int)(x))
#define V_SHL(x, n) _mm512_slli_epi32(x, n)
#define V_SHR(x, n) _mm512_srli_epi32(x, n)
#define V_LOAD(p) _mm512_load_si512((const void *)(p))
#define V_STORE(p, x) _mm512_store_si512((void *)(p), x)
/* One instruction combines three registers by a truth table: 0x96 is x ^ y ^ z, 0xca is x ? y : z,
 * 0xe8 is the majority. */
#define V_SUM(x, a, b, c)                                                                          \
    _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, a), _mm512_ror_epi32(x, b),                      \
                              _mm512_ror_epi32(x, c), 0x96)
#define V_SIGMA(x, a, b, c)                                                                        \
    _mm512_ternarylogic_epi32(_mm512_ror_epi32(x, a), _mm512_ror_epi32(x, b),                      \
                              _mm512_srli_epi32(x, c), 0x96)
#define V_CH(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xca)
#define V_MAJ(x, y, z) _mm512_ternarylogic_epi32(x, y, z, 0xe8)
#define V_BSWAP(x)                                                                                 \
    _mm512_ternarylogic_epi32(V_SET1(0x00ff00ff), _mm512_rol_epi32(x, 8), _mm512_ror_epi32(x, 8),  \
                              0xca)
#define V_LO32(x, y) _mm512_unpacklo_epi32(x, y)
#define V_HI32(x, y) _mm512_unpackhi_epi32(x, y)
#define V_LO64(x, y) _mm512_unpacklo_epi64(x, y)
#define V_HI64(x, y) _mm512_unpackhi_epi64(x, y)
#define V_LO128(x, y) _mm512_permutex2var_epi64(x, _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0), y)
#define V_HI128(x, y) _mm512_permutex2var_epi64(x, _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2), y)
#define V_JOIN(x, y) _mm512_inserti64x4(_mm512_castsi256_si512(x), y, 1)
#define V_HALF(x, i) _mm512_extracti64x4_epi64(x, i)

#include "hbs/kernel_simd.h"

/* Functions of their own, so that their frames do not add up. */
#define APART TARGET static __attribute__((noinline))

APART void steps16(struct chain_lanes *lanes, uint32_t steps)
{
    simd_steps(lanes, 0, 1, steps);
}

APART void steps32(struct chain_lanes *lanes, uint32_t steps)
{
    simd_steps(lanes, 0, 2, steps);
}

APART void blocks16(struct block_lanes *lanes, size_t active, uint32_t blocks)
{
    simd_blocks(lanes, 0, active, 1, blocks);
}

APART void blocks32(struct block_lanes *lanes, size_t active, uint32_t blocks)
{
    simd_blocks(lanes, 0, active, 2, blocks);
}

APART void words16(uint32_t out[8][LANES_MAX], const uint32_t start[8][LANES_MAX],
                   const uint32_t block[16][LANES_MAX])
{
    simd_compress(out, start, block, 0, 1);
}

APART void words32(uint32_t out[8][LANES_MAX], const uint32_t start[8][LANES_MAX],
                   const uint32_t block[16][LANES_MAX])
{
    simd_compress(out, start, block, 0, 2);
}

static void avx512_words(uint32_t out[8][LANES_MAX], const uint32_t start[8][LANES_MAX],
                         const uint32_t block[16][LANES_MAX], size_t active)
{
    if (active <= VEC_LANES)
        words16(out, start, block);
    else
        words32(out, start, block);
}

static void avx512_steps(struct chain_lanes *lanes, size_t active, uint32_t steps)
{
    if (active <= VEC_LANES)
        steps16(lanes, steps);
    else
        steps32(lanes, steps);
}

static void avx512_blocks(struct block_lanes *lanes, size_t active, uint32_t blocks)
{
    if (active <= VEC_LANES)
        blocks16(lanes, active, blocks);
    else
        blocks32(lanes, active, blocks);
}

TARGET static void avx512_load(struct chain_lanes *lanes, const uint8_t *const in[])
{
    simd_values_load(lanes, 0, in);
    simd_values_load(lanes, VEC_LANES, in);
}

TARGET static void avx512_store(const struct chain_lanes *lanes, size_t from, size_t to,
                                uint8_t *const out[])
{
    for (size_t at = from / VEC_LANES * VEC_LANES; at < to; at += VEC_LANES)
        simd_values_store(lanes, at, from, to, out);
}

TARGET static void avx512_splice(uint32_t to[][LANES_MAX], const uint32_t before[LANES_MAX],
                                 const uint32_t d[][LANES_MAX], size_t words)
{
    simd_splice(to, before, d, words);
}

static const struct lane_ops ops = {.lanes = 2 * VEC_LANES,
                                    .frame = FRAME_MAX,
                                    .steps = avx512_steps,
                                    .blocks = avx512_blocks,
                                    .words = avx512_words,
                                    .load = avx512_load,
                                    .store = avx512_store,
                                    .splice = avx512_splice};

static bool avx512_supported(void)
{
    return __builtin_cpu_supports("avx512f");
}

static void avx512_chains(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                          size_t count)
{
    lanes_chains(&ops, n, id, chains, count);
}

static void avx512_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    lanes_jobs(&ops, n, jobs, count);
}

const struct hbs_kernel hbs_kernel_avx512 = {.name = "avx512",
                                             .hash = HBS_SHA256,
                                             .supported = avx512_supported,
                                             .chains = avx512_chains,
                                             .jobs = avx512_jobs,
                                             .lanes = &ops};

#endif
