/*
 * kernel_keccak: SHAKE256 (FIPS 202 §6.2) of many short messages, one in each lane of a vector
 * register. A chain step of LM-OTS is one permutation, and so is any message below 136 bytes.
 *
 * A kernel brings two functions that run all its lanes; kernel_keccak.c gives them chains and
 * messages by way of kernel_deal.h.
 *
 * Uses: base, kernel_deal. Only for kernel_*.c. Threads: any. Secrets: everything in a lane counts
 * as one. No branch or address depends on it. What lies in the structs below is wiped at the end of
 * a call, and so is the stack below it, where the functions of a kernel had their variables.
 */
#ifndef HBS_KERNEL_KECCAK_H
#define HBS_KERNEL_KECCAK_H

#include <endian.h>
#include <stdalign.h>
#include <string.h>

#include "hbs/kernel.h"

#define KECCAK_LANES_MAX 8
#define KECCAK_ROUNDS 24
#define KECCAK_RATE 136       /* bytes of a block of SHAKE256 */
#define KECCAK_PAD_FIRST 0x1f /* suffix 1111 and the first bit of the padding, FIPS 202 §6.2 */
#define KECCAK_PAD_LAST 0x80

extern const uint64_t keccak_constants[KECCAK_ROUNDS]; /* FIPS 202 §3.2.5 */

/* Chains. Words are little endian, as Keccak has them; word r of lane l is value[r][l]. */
struct keccak_chains {
    alignas(64) uint64_t value[4][KECCAK_LANES_MAX]; /* a word fewer with n = 24 */
    uint64_t qij[KECCAK_LANES_MAX]; /* bytes: leaf number, chain number, next step, 0 */
    uint64_t id[2];                 /* I, words 0 and 1 of every block */
    uint8_t n;                      /* 24 or 32 */
};

static inline uint64_t keccak_get(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return le64toh(word);
}

static inline void keccak_put(uint8_t *p, uint64_t word)
{
    word = htole64(word);
    memcpy(p, &word, sizeof(word));
}

/** Leaf number and two bytes more, as the first six bytes of a word: big endian in the message. */
static inline uint64_t keccak_number(uint32_t q, uint16_t i)
{
    return htobe32(q) | (uint64_t)htobe16(i) << 32;
}

/** What a kernel brings. All lanes are computed, those that nobody uses too. */
struct keccak_ops {
    size_t lanes;                                               /* 1 … KECCAK_LANES_MAX */
    void (*steps)(struct keccak_chains *lanes, uint32_t steps); /* 1 or more */
    void (*permute)(uint64_t state[25][KECCAK_LANES_MAX]);      /* Keccak-f[1600] in each lane */
    /* SHAKE256 of one padded block in each lane, the first 32 bytes of it. out may lie in block. */
    void (*block)(uint64_t out[4][KECCAK_LANES_MAX],
                  const uint64_t block[KECCAK_RATE / 8][KECCAK_LANES_MAX]);
};

/** All lanes empty, but defined: those that nobody uses are computed with the others. */
void keccak_start(struct keccak_chains *lanes, uint8_t n, const uint8_t id[LMS_I_LEN]);

/** Overwrite the stack below the caller, where the functions of a kernel had their variables. */
void keccak_scrub(void);

/** As hbs_chains_run() and hbs_jobs_run(), for SHAKE256. */
void keccak_chains(const struct keccak_ops *ops, uint8_t n, const uint8_t id[LMS_I_LEN],
                   const struct hbs_chain *chains, size_t count);
void keccak_jobs(const struct keccak_ops *ops, uint8_t n, const struct hbs_job *jobs, size_t count);

#endif
