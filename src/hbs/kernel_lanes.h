/*
 * kernel_lanes: keeps the lanes of a SHA-256 kernel full.
 *
 * A kernel brings two functions that run all lanes for some steps or blocks; this file deals jobs
 * out to lanes, takes results off them, and refills. Lanes in use are always the first `active`.
 *
 * Uses: base. Only for kernel_*.c. Threads: any. Secrets: everything in a lane counts as one. No
 * branch or address depends on it. What lies in the structs below is wiped at the end of a call,
 * and so is the stack below it, where the functions of a kernel had their variables.
 */
#ifndef HBS_KERNEL_LANES_H
#define HBS_KERNEL_LANES_H

#include <stdalign.h>

#include "hbs/kernel.h"

#define LANES_MAX 32

/* For large variables that are filled before use: they need no zeros from the hardening of
 * automatic variables, which cost as much as a hash. */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define LEFT_AS_IS __attribute__((uninitialized))
#endif
#endif
#ifndef LEFT_AS_IS
#define LEFT_AS_IS
#endif

#define FRAME_MAX 12288

extern const uint32_t sha256_k[64]; /* FIPS 180-4 §4.2.2 */
extern const uint32_t sha256_iv[8]; /* §5.3.3 */

/* Chains. Word r of lane l is d[r][l], so that one vector register holds one word of many lanes. */
struct chain_lanes {
    alignas(64) uint32_t d[8][LANES_MAX]; /* the value; two words fewer with n = 24 */
    uint32_t q[LANES_MAX];
    uint32_t ij[LANES_MAX]; /* i · 2^16 + j · 2^8, j being the next step */
    uint32_t id[4];         /* I, words 0 … 3 of every block */
    const uint32_t *seed;   /* NULL, or eight words that all values start from, and not from d */
    uint32_t mid[8];        /* the state after rounds 0 … 3, which read nothing but I */
    uint8_t n;              /* 24 or 32 */
};

/* Longer messages: the state, and where the next block lies. */
struct block_lanes {
    alignas(64) uint32_t state[8][LANES_MAX];
    const uint8_t *block[LANES_MAX];
};

/** What a kernel brings. Lanes from `active` on may be computed too; they hold anything. */
struct lane_ops {
    size_t lanes; /* how many it wants in use, 1 … LANES_MAX; it takes up to LANES_MAX */
    size_t frame; /* bytes of stack that the two functions need at most; up to FRAME_MAX */
    /* `steps` steps (1 or more) of the chains in the first `active` lanes (1 or more). */
    void (*steps)(struct chain_lanes *lanes, size_t active, uint32_t steps);
    /* `blocks` blocks, one behind the other from block[lane] on, into state. */
    void (*blocks)(struct block_lanes *lanes, size_t active, uint32_t blocks);
    /* One block in each of the first `active` lanes (1 or more), word by word: word r of lane l is
     * block[r][l]. out := the state after it, from the state `start`. out may be start. */
    void (*words)(uint32_t out[8][LANES_MAX], const uint32_t start[8][LANES_MAX],
                  const uint32_t block[16][LANES_MAX], size_t active);
    /* Values of the first `lanes` lanes from n bytes each; values of lanes from … to - 1 to n bytes
     * each. Nothing else of in and out is touched. */
    void (*load)(struct chain_lanes *lanes, const uint8_t *const in[]);
    void (*store)(const struct chain_lanes *lanes, size_t from, size_t to, uint8_t *const out[]);
    /* Moves `words` words down by two bytes in all LANES_MAX lanes: to[r] is the lower half of
     * d[r - 1] and the upper half of d[r]. d[-1] is before. */
    void (*splice)(uint32_t to[][LANES_MAX], const uint32_t before[LANES_MAX],
                   const uint32_t d[][LANES_MAX], size_t words);
};

/* The words of a step's block that follow from n: padding and the length in bits (§5.1.1). */
#define STEP_BITS(n) (8U * (LMS_I_LEN + 4 + 2 + 1 + (uint32_t)(n)))

/** All lanes empty, but defined: those that nobody uses are computed with the others. */
void lanes_start(struct chain_lanes *lanes, uint8_t n, const uint8_t id[LMS_I_LEN]);

/** As hbs_chains_run() and hbs_jobs_run(), for SHA-256. */
void lanes_chains(const struct lane_ops *ops, uint8_t n, const uint8_t id[LMS_I_LEN],
                  const struct hbs_chain *chains, size_t count);
void lanes_jobs(const struct lane_ops *ops, uint8_t n, const struct hbs_job *jobs, size_t count);

/** What lane_ops wants, lane by lane, for kernels that have nothing better. */
void lanes_load(struct chain_lanes *lanes, size_t count, const uint8_t *const in[]);
void lanes_store(const struct chain_lanes *lanes, size_t from, size_t to, uint8_t *const out[]);
void lanes_splice(uint32_t to[][LANES_MAX], const uint32_t before[LANES_MAX],
                  const uint32_t d[][LANES_MAX], size_t words);

/** Overwrite the stack below the caller, where the functions of ops had their variables. */
void lanes_scrub(const struct lane_ops *ops);

#endif
