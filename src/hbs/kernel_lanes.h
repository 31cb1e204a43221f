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
#define FRAME_MAX 12288

extern const uint32_t sha256_k[64]; /* FIPS 180-4 §4.2.2 */
extern const uint32_t sha256_iv[8]; /* §5.3.3 */

/* Chains. Word r of lane l is d[r][l], so that one vector register holds one word of many lanes. */
struct chain_lanes {
    alignas(64) uint32_t d[8][LANES_MAX]; /* the value; two words fewer with n = 24 */
    uint32_t q[LANES_MAX];
    uint32_t ij[LANES_MAX]; /* i · 2^16 + j · 2^8, j being the next step */
    uint32_t id[4];         /* I, words 0 … 3 of every block */
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
    size_t lanes; /* 1 … LANES_MAX */
    size_t frame; /* bytes of stack that the two functions need at most; up to FRAME_MAX */
    /* `steps` steps (1 or more) of the chains in the first `active` lanes (1 or more). */
    void (*steps)(struct chain_lanes *lanes, size_t active, uint32_t steps);
    /* `blocks` blocks, one behind the other from block[lane] on, into state. */
    void (*blocks)(struct block_lanes *lanes, size_t active, uint32_t blocks);
};

/* The words of a step's block that follow from n: padding and the length in bits (§5.1.1). */
#define STEP_BITS(n) (8U * (LMS_I_LEN + 4 + 2 + 1 + (uint32_t)(n)))

/** As hbs_chains_run() and hbs_jobs_run(), for SHA-256. */
void lanes_chains(const struct lane_ops *ops, uint8_t n, const uint8_t id[LMS_I_LEN],
                  struct hbs_chain *chains, size_t count);
void lanes_jobs(const struct lane_ops *ops, uint8_t n, const struct hbs_job *jobs, size_t count);

#ifdef __x86_64__
/* SHA-NI for the last few lanes of the wide kernels; only if hbs_kernel_shani is supported. */
extern const struct lane_ops lanes_shani;
#endif

#endif
