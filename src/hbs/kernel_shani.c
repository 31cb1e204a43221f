#include "hbs/kernel_lanes.h"

#ifdef __x86_64__

#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define FRAME 2040
#define GROUP 4 /* lanes interleaved; each waits four cycles for itself, and one result in two */

/* The state as sha256rnds2 wants it: high to low words A B E F and C D G H. */
struct pair {
    __m128i abef;
    __m128i cdgh;
};

INLINE struct pair pair_of(__m128i dcba, __m128i hgfe)
{
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
    __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    return (struct pair){_mm_alignr_epi8(cdab, efgh, 8), _mm_blend_epi16(efgh, cdab, 0xf0)};
}

INLINE void pair_words(struct pair p, __m128i *dcba, __m128i *hgfe)
{
    __m128i feba = _mm_shuffle_epi32(p.abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(p.cdgh, 0xb1);
    *dcba = _mm_blend_epi16(feba, dchg, 0xf0);
    *hgfe = _mm_alignr_epi8(dchg, feba, 8);
}

/* Words 4t … 4t + 3 of the schedule, in the place of the four words of sixteen before. */
INLINE void schedule(__m128i m[4], unsigned t)
{
    __m128i before = m[(t + 3) % 4];
    __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(m[t % 4], m[(t + 1) % 4]),
                                _mm_alignr_epi8(before, m[(t + 2) % 4], 4));
    m[t % 4] = _mm_sha256msg2_epu32(sum, before);
}

/* Rounds 4t … 4t + 3 of one lane. */
INLINE void four_rounds(struct pair *s, __m128i m, const uint32_t *k)
{
    __m128i wk = _mm_add_epi32(m, _mm_loadu_si128((const __m128i *)(const void *)k));
    s->cdgh = _mm_sha256rnds2_epu32(s->cdgh, s->abef, wk);
    s->abef = _mm_sha256rnds2_epu32(s->abef, s->cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

/* `lanes` is 1, 2 or 4 and known when compiling, so that no branch is left of these. */
#define EACH_LANE(lanes, F)                                                                        \
    do {                                                                                           \
        F(0);                                                                                      \
        if ((lanes) > 1)                                                                           \
            F(1);                                                                                  \
        if ((lanes) > 2) {                                                                         \
            F(2);                                                                                  \
            F(3);                                                                                  \
        }                                                                                          \
    } while (0)

#define FIRST(l) four_rounds(&s[l], m[l][t], sha256_k + 4 * t)
#define LATER(l)                                                                                   \
    do {                                                                                           \
        schedule(m[l], t);                                                                         \
        four_rounds(&s[l], m[l][t], sha256_k + r + 4 * t);                                         \
    } while (0)
#define FOUR_T(lanes, F, from)                                                                     \
    do {                                                                                           \
        if ((from) == 0) {                                                                         \
            enum { t = 0 };                                                                        \
            EACH_LANE(lanes, F);                                                                   \
        }                                                                                          \
        {                                                                                          \
            enum { t = 1 };                                                                        \
            EACH_LANE(lanes, F);                                                                   \
        }                                                                                          \
        {                                                                                          \
            enum { t = 2 };                                                                        \
            EACH_LANE(lanes, F);                                                                   \
        }                                                                                          \
        {                                                                                          \
            enum { t = 3 };                                                                        \
            EACH_LANE(lanes, F);                                                                   \
        }                                                                                          \
    } while (0)

/* All rounds, or all from round 4 on. m is used up. */
INLINE void rounds(struct pair s[GROUP], __m128i m[GROUP][4], unsigned lanes, unsigned from)
{
    FOUR_T(lanes, FIRST, from);
    for (unsigned r = 16; r < 64; r += 16)
        FOUR_T(lanes, LATER, 0);
}

/* Chains ----------------------------------------------------------------------------------------
 */

INLINE __m128i column(const uint32_t d[8][LANES_MAX], size_t lane, size_t r)
{
    return _mm_set_epi32((int)d[r + 3][lane], (int)d[r + 2][lane], (int)d[r + 1][lane],
                         (int)d[r][lane]);
}

INLINE __m128i start_of(const struct chain_lanes *lanes, size_t lane, size_t r)
{
    if (lanes->seed != NULL)
        return _mm_loadu_si128((const __m128i *)(const void *)(lanes->seed + r));
    return column(lanes->d, lane, r);
}

INLINE void column_put(uint32_t d[8][LANES_MAX], size_t lane, size_t r, __m128i x)
{
    d[r][lane] = (uint32_t)_mm_extract_epi32(x, 0);
    d[r + 1][lane] = (uint32_t)_mm_extract_epi32(x, 1);
    d[r + 2][lane] = (uint32_t)_mm_extract_epi32(x, 2);
    d[r + 3][lane] = (uint32_t)_mm_extract_epi32(x, 3);
}

/* What differs with n: the value ends in word 13 or in word 11 of the block. */
struct ending {
    __m128i keep; /* of the value's second half */
    __m128i m2;   /* or-ed to words 8 … 11 */
    __m128i m3;   /* or-ed to words 12 … 15 */
};

INLINE struct ending ending_of(uint8_t n)
{
    if (n == 32)
        return (struct ending){_mm_set1_epi32(-1), _mm_setzero_si128(),
                               _mm_set_epi32((int)STEP_BITS(32), 0, 0x80, 0)};
    return (struct ending){_mm_set_epi32(0, 0, -1, -1), _mm_set_epi32(0x80, 0, 0, 0),
                           _mm_set_epi32((int)STEP_BITS(24), 0, 0, 0)};
}

/* The value starts at byte 23, the last one of word 5: every word of it is split 8 to 24 bits. */
INLINE void step_block(__m128i m[4], __m128i id, __m128i qij, __m128i d0, __m128i d1,
                       const struct ending *e)
{
    d1 = _mm_and_si128(d1, e->keep);
    __m128i low0 = _mm_slli_epi32(d0, 8);
    __m128i low1 = _mm_slli_epi32(d1, 8);
    __m128i top0 = _mm_srli_epi32(d0, 24);
    __m128i top1 = _mm_srli_epi32(d1, 24);
    m[0] = id;
    m[1] = _mm_or_si128(qij, _mm_or_si128(_mm_slli_si128(low0, 8), _mm_slli_si128(top0, 4)));
    m[2] = _mm_or_si128(_mm_alignr_epi8(low1, low0, 8), _mm_alignr_epi8(top1, top0, 12));
    m[2] = _mm_or_si128(m[2], e->m2);
    m[3] = _mm_or_si128(_mm_srli_si128(low1, 8), _mm_srli_si128(top1, 12));
    m[3] = _mm_or_si128(m[3], e->m3);
}

INLINE void steps_of(struct chain_lanes *lanes, size_t at, unsigned group, uint32_t steps)
{
    const __m128i id = _mm_loadu_si128((const __m128i *)(const void *)lanes->id);
    const __m128i iv0 = _mm_loadu_si128((const __m128i *)(const void *)sha256_iv);
    const __m128i iv1 = _mm_loadu_si128((const __m128i *)(const void *)(sha256_iv + 4));
    const struct pair mid =
        pair_of(_mm_loadu_si128((const __m128i *)(const void *)lanes->mid),
                _mm_loadu_si128((const __m128i *)(const void *)(lanes->mid + 4)));
    const struct ending ending = ending_of(lanes->n);
    struct pair s[GROUP] LEFT_AS_IS;
    __m128i m[GROUP][4] LEFT_AS_IS;
    __m128i d[GROUP][2] LEFT_AS_IS;
#define LOAD(l)                                                                                    \
    do {                                                                                           \
        d[l][0] = start_of(lanes, at + (l), 0);                                                    \
        d[l][1] = start_of(lanes, at + (l), 4);                                                    \
    } while (0)
#define START(l)                                                                                   \
    do {                                                                                           \
        uint32_t ij = lanes->ij[at + (l)];                                                         \
        __m128i qij = _mm_set_epi32(0, 0, (int)ij, (int)lanes->q[at + (l)]);                       \
        lanes->ij[at + (l)] = (ij & 0xffff0000U) | ((ij + 0x100U) & 0xff00U);                      \
        step_block(m[l], id, qij, d[l][0], d[l][1], &ending);                                      \
        s[l] = mid;                                                                                \
    } while (0)
#define FINISH(l)                                                                                  \
    do {                                                                                           \
        pair_words(s[l], &d[l][0], &d[l][1]);                                                      \
        d[l][0] = _mm_add_epi32(d[l][0], iv0);                                                     \
        d[l][1] = _mm_add_epi32(d[l][1], iv1);                                                     \
    } while (0)
#define STORE(l)                                                                                   \
    do {                                                                                           \
        column_put(lanes->d, at + (l), 0, d[l][0]);                                                \
        column_put(lanes->d, at + (l), 4, d[l][1]);                                                \
    } while (0)
    EACH_LANE(group, LOAD);
    for (; steps > 0; steps--) {
        EACH_LANE(group, START);
        rounds(s, m, group, 4);
        EACH_LANE(group, FINISH);
    }
    EACH_LANE(group, STORE);
#undef LOAD
#undef START
#undef FINISH
#undef STORE
}

TARGET static void shani_steps(struct chain_lanes *lanes, size_t active, uint32_t steps)
{
    size_t at = 0;
    for (; at + 2 < active; at += GROUP)
        steps_of(lanes, at, GROUP, steps);
    if (at + 1 < active)
        steps_of(lanes, at, 2, steps);
    else if (at < active)
        steps_of(lanes, at, 1, steps);
}

/* Messages --------------------------------------------------------------------------------------
 */

INLINE void blocks_of(struct block_lanes *lanes, size_t at, unsigned group, uint32_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    struct pair s[GROUP] LEFT_AS_IS;
    struct pair old[GROUP] LEFT_AS_IS;
    __m128i m[GROUP][4] LEFT_AS_IS;
    const uint8_t *block[GROUP];
#define LOAD(l)                                                                                    \
    do {                                                                                           \
        s[l] = pair_of(column(lanes->state, at + (l), 0), column(lanes->state, at + (l), 4));      \
        block[l] = lanes->block[at + (l)];                                                         \
    } while (0)
#define START(l)                                                                                   \
    do {                                                                                           \
        const __m128i *in = (const __m128i *)(const void *)block[l];                               \
        m[l][0] = _mm_shuffle_epi8(_mm_loadu_si128(in), swap);                                     \
        m[l][1] = _mm_shuffle_epi8(_mm_loadu_si128(in + 1), swap);                                 \
        m[l][2] = _mm_shuffle_epi8(_mm_loadu_si128(in + 2), swap);                                 \
        m[l][3] = _mm_shuffle_epi8(_mm_loadu_si128(in + 3), swap);                                 \
        block[l] += 64;                                                                            \
        old[l] = s[l];                                                                             \
    } while (0)
#define FINISH(l)                                                                                  \
    do {                                                                                           \
        s[l].abef = _mm_add_epi32(s[l].abef, old[l].abef);                                         \
        s[l].cdgh = _mm_add_epi32(s[l].cdgh, old[l].cdgh);                                         \
    } while (0)
#define STORE(l)                                                                                   \
    do {                                                                                           \
        __m128i dcba;                                                                              \
        __m128i hgfe;                                                                              \
        pair_words(s[l], &dcba, &hgfe);                                                            \
        column_put(lanes->state, at + (l), 0, dcba);                                               \
        column_put(lanes->state, at + (l), 4, hgfe);                                               \
    } while (0)
    EACH_LANE(group, LOAD);
    for (; blocks > 0; blocks--) {
        EACH_LANE(group, START);
        rounds(s, m, group, 0);
        EACH_LANE(group, FINISH);
    }
    EACH_LANE(group, STORE);
#undef LOAD
#undef START
#undef FINISH
#undef STORE
}

TARGET static void shani_blocks(struct block_lanes *lanes, size_t active, uint32_t blocks)
{
    size_t at = 0;
    for (; at + GROUP <= active; at += GROUP)
        blocks_of(lanes, at, GROUP, blocks);
    for (; at + 1 < active; at += 2)
        blocks_of(lanes, at, 2, blocks);
    if (at < active)
        blocks_of(lanes, at, 1, blocks);
}

/* Word by word --------------------------------------------------------------------------------- */

/* Four words of four lanes change places: in, a register holds one word of the lanes; out, the
 * words of one lane. And the same back. */
INLINE void transpose(__m128i out[GROUP], const __m128i in[4])
{
    __m128i a = _mm_unpacklo_epi32(in[0], in[1]);
    __m128i b = _mm_unpacklo_epi32(in[2], in[3]);
    __m128i c = _mm_unpackhi_epi32(in[0], in[1]);
    __m128i d = _mm_unpackhi_epi32(in[2], in[3]);
    out[0] = _mm_unpacklo_epi64(a, b);
    out[1] = _mm_unpackhi_epi64(a, b);
    out[2] = _mm_unpacklo_epi64(c, d);
    out[3] = _mm_unpackhi_epi64(c, d);
}

INLINE void rows_get(__m128i out[GROUP], const uint32_t rows[4][LANES_MAX], size_t at)
{
    __m128i in[4];
    for (size_t i = 0; i < 4; i++)
        in[i] = _mm_load_si128((const __m128i *)(const void *)(rows[i] + at));
    transpose(out, in);
}

INLINE void rows_put(uint32_t rows[4][LANES_MAX], size_t at, const __m128i in[GROUP])
{
    __m128i out[4];
    transpose(out, in);
    for (size_t i = 0; i < 4; i++)
        _mm_store_si128((__m128i *)(void *)(rows[i] + at), out[i]);
}

/* All four lanes from `at` on (a multiple of four) are read and written; `group` are computed. */
INLINE void words_of(uint32_t out[8][LANES_MAX], const uint32_t start[8][LANES_MAX],
                     const uint32_t block[16][LANES_MAX], size_t at, unsigned group)
{
    struct pair s[GROUP] LEFT_AS_IS;
    struct pair old[GROUP] LEFT_AS_IS;
    __m128i m[GROUP][4] LEFT_AS_IS;
    __m128i low[GROUP] LEFT_AS_IS;
    __m128i high[GROUP] LEFT_AS_IS;
    for (size_t q = 0; q < 4; q++) {
        rows_get(low, block + 4 * q, at);
        for (size_t l = 0; l < GROUP; l++)
            m[l][q] = low[l];
    }
    rows_get(low, start, at);
    rows_get(high, start + 4, at);
#define START(l) old[l] = s[l] = pair_of(low[l], high[l])
#define FINISH(l)                                                                                  \
    do {                                                                                           \
        s[l].abef = _mm_add_epi32(s[l].abef, old[l].abef);                                         \
        s[l].cdgh = _mm_add_epi32(s[l].cdgh, old[l].cdgh);                                         \
        pair_words(s[l], &low[l], &high[l]);                                                       \
    } while (0)
    EACH_LANE(group, START);
    rounds(s, m, group, 0);
    EACH_LANE(group, FINISH);
#undef START
#undef FINISH
    rows_put(out, at, low);
    rows_put(out + 4, at, high);
}

TARGET static void shani_words(uint32_t out[8][LANES_MAX], const uint32_t start[8][LANES_MAX],
                               const uint32_t block[16][LANES_MAX], size_t active)
{
    size_t at = 0;
    for (; at + 2 < active; at += GROUP)
        words_of(out, start, block, at, GROUP);
    if (at + 1 < active)
        words_of(out, start, block, at, 2);
    else if (at < active)
        words_of(out, start, block, at, 1);
}

static void shani_load(struct chain_lanes *lanes, const uint8_t *const in[])
{
    lanes_load(lanes, GROUP, in);
}

static const struct lane_ops lanes_shani = {.lanes = GROUP,
                                            .frame = FRAME,
                                            .steps = shani_steps,
                                            .blocks = shani_blocks,
                                            .words = shani_words,
                                            .load = shani_load,
                                            .store = lanes_store,
                                            .splice = lanes_splice};

/* gcc 12 has no name for SHA-NI in __builtin_cpu_supports(). The answer is kept, because asking the
 * CPU costs microseconds in a virtual machine. */
static bool shani_supported(void)
{
    static atomic_int known; /* 0 not asked yet, 1 no, 2 yes */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == 0) {
        unsigned a = 0;
        unsigned b = 0;
        unsigned c = 0;
        unsigned d = 0;
        bool has = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & (1U << 29)) != 0;
        __builtin_cpu_init();
        has = has && __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("sse4.1");
        answer = has ? 2 : 1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == 2;
}

static void shani_chains(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                         size_t count)
{
    lanes_chains(&lanes_shani, n, id, chains, count);
}

static void shani_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    lanes_jobs(&lanes_shani, n, jobs, count);
}

const struct hbs_kernel hbs_kernel_shani = {.name = "sha-ni",
                                            .hash = HBS_SHA256,
                                            .supported = shani_supported,
                                            .chains = shani_chains,
                                            .jobs = shani_jobs,
                                            .lanes = &lanes_shani};

#endif
