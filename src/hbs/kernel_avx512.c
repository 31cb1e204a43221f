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

static const struct lane_ops ops = {2 * VEC_LANES, FRAME_MAX, avx512_steps, avx512_blocks,
                                    avx512_words};

static bool avx512_supported(void)
{
    return __builtin_cpu_supports("avx512f");
}

static void avx512_chains(uint8_t n, const uint8_t id[LMS_I_LEN], struct hbs_chain *chains,
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
