/*
 * hash: the short hashes of LM-OTS and LMS, many independent ones at a time.
 *
 * This is the door to many-lane kernels (kernel.h): callers hand over arrays of jobs that do not
 * depend on each other, so a kernel may run them in lanes.
 *
 * Uses: libgcrypt; base_init() first. Secrets: chain values are secret; no branch or address
 * depends on them, and no copy of one stays behind in memory of ours. Threads: any. Nothing here
 * fails: if libgcrypt has no memory for a hash handle (a few hundred bytes, SHAKE256 on a CPU
 * without AVX2 only), the process stops.
 */
#ifndef HBS_HASH_H
#define HBS_HASH_H

#include "hbs/params.h"

/**
 * The step number that derives the start of a chain: RFC 8554 Appendix A defines
 * x_q[i] = H(I || u32str(q) || u16str(i) || u8str(0xff) || SEED), which has the form of a chain
 * step. A chain from HBS_STEP_SEED to HBS_STEP_SEED + 1 with SEED as its value thus gives x_q[i].
 * Steps of signatures end below it, since they run up to 2^w - 2. Numbers are taken modulo 256, so
 * a chain may go on from its start: up to HBS_STEP_SEED + 1 + j it ends at step j.
 */
#define HBS_STEP_SEED 0xff
#define HBS_STEP_END (HBS_STEP_SEED + 1 + 0xff) /* no chain is longer */

/** One Winternitz chain: out := F applied to in from step `from` up to, not including, step `to`.
 */
struct hbs_chain {
    uint32_t q;        /* leaf number */
    uint16_t i;        /* chain number */
    uint16_t from;     /* first step, 0 … 2^w - 1, or HBS_STEP_SEED */
    uint16_t to;       /* one past the last step, from … HBS_STEP_END */
    const uint8_t *in; /* start of the chain, n bytes; many may share one */
    uint8_t *out;      /* its end, n bytes; may be in */
};

/**
 * Run count chains of one tree (RFC 8554 §4.3 and §4.4: H(I || u32(q) || u16(i) || u8(j) || tmp)).
 * @param[in] hash, n  Hash and length in bytes, 24 or 32.
 * @param[in] id       I, 16 bytes.
 * @param[in] chains   count jobs of any lengths, none of which reads what another one writes. out
 *                     never has a value from the middle of its chain.
 */
void hbs_chains_run(enum hbs_hash_kind hash, uint8_t n, const uint8_t id[LMS_I_LEN],
                    const struct hbs_chain *chains, size_t count);

/** One short message: in (len bytes) hashed to n bytes at out. in and out may overlap. */
struct hbs_job {
    const uint8_t *in;
    size_t len;
    uint8_t *out;
};

/** Hash count independent messages, none of which reads what another one writes. */
void hbs_jobs_run(enum hbs_hash_kind hash, uint8_t n, const struct hbs_job *jobs, size_t count);

/** libgcrypt's number of the hash, for the streamed message. */
int hbs_hash_gcrypt(enum hbs_hash_kind hash);

/**
 * Start a streamed hash. Any thread.
 * @param[out] handle  A gcry_md_hd_t of hbs_hash_gcrypt(hash), for gcry_md_close(). NULL unless
 * RC_OK.
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc hbs_hash_open(void **handle, enum hbs_hash_kind hash, struct err *err) MUST_CHECK;

#endif
