/*
 * kernel: several ways to run the short hashes of hash.h, and the choice between them.
 *
 * A kernel is two functions for one hash that give byte for byte what libgcrypt gives. Which one
 * runs is decided once, at the first hash: every kernel that this CPU can run is tested against
 * libgcrypt, those that pass are measured for some hundred microseconds, and the fastest one stays,
 * mixed with the one that is faster while only few lanes are in use. The environment variable
 * TIDEMARK_KERNEL forces one by name, unmixed. Why: docs/adr/0008-hash-kernels.md.
 *
 * Uses: base, libgcrypt; base_init() first. Called by hbs, tests and the benchmark. Secrets: as
 * hash.h says. Threads: any, but for hbs_kernel_use().
 */
#ifndef HBS_KERNEL_H
#define HBS_KERNEL_H

#include "base/rc.h"
#include "hbs/hash.h"

struct lane_ops;   /* kernel_lanes.h */
struct keccak_ops; /* kernel_keccak.h */

/** One way to hash; hbs_chains_run() and hbs_jobs_run() of hash.h say what the two functions do. */
struct hbs_kernel {
    const char *name;        /* as in TIDEMARK_KERNEL; "WIDE+NARROW" if mixed */
    enum hbs_hash_kind hash; /* HBS_SHA256 or HBS_SHAKE256 */
    bool (*supported)(void); /* by this CPU and its operating system; cheap after the first call */
    void (*chains)(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                   size_t count);
    void (*jobs)(uint8_t n, const struct hbs_job *jobs, size_t count);
    const struct lane_ops *lanes;    /* SHA-256 word by word, for XMSS; NULL: one hash at a time */
    const struct keccak_ops *keccak; /* the same for SHAKE256 */
};

extern const struct hbs_kernel hbs_kernel_gcrypt; /* "libgcrypt": everywhere, and the yardstick */
extern const struct hbs_kernel hbs_kernel_gcrypt_shake;
#ifdef __x86_64__
extern const struct hbs_kernel hbs_kernel_shani;        /* "sha-ni": four messages interleaved */
extern const struct hbs_kernel hbs_kernel_avx2;         /* "avx2": eight lanes */
extern const struct hbs_kernel hbs_kernel_avx512;       /* "avx512": two times sixteen lanes */
extern const struct hbs_kernel hbs_kernel_avx2_shake;   /* "avx2": four lanes */
extern const struct hbs_kernel hbs_kernel_avx512_shake; /* "avx512": eight lanes */
#endif

/** The i-th kernel of this build and hash, supported or not, libgcrypt last; NULL past it. */
const struct hbs_kernel *hbs_kernel_at(enum hbs_hash_kind hash, size_t i);

/** True if the kernel agrees with libgcrypt on chains and messages of many lengths. */
bool hbs_kernel_sound(const struct hbs_kernel *kernel) MUST_CHECK;

/**
 * Find a kernel: the one of that name, or the fastest one. No effect on what hash.h uses.
 * @param[in]  hash    HBS_SHA256 or HBS_SHAKE256.
 * @param[in]  name    NULL for the fastest one. A name that only the other hash has gives
 * libgcrypt.
 * @param[out] kernel  Static; NULL on failure. A later call for this hash without a name may change
 *                     what a mixed one mixes.
 * @retval RC_REFUSED_CONFIG  No kernel has this name, or this CPU cannot run it.
 * @retval RC_HALT_INVARIANT  The kernel of that name is not sound. (Without a name unsound ones are
 *                            passed over.)
 */
enum rc hbs_kernel_find(enum hbs_hash_kind hash, const char *name, const struct hbs_kernel **kernel,
                        struct err *err) MUST_CHECK;

/**
 * Choose the kernels of this process, by TIDEMARK_KERNEL if that is set and not empty. Only the
 * first call works, for up to a few milliseconds; later ones repeat its answer. A program need not
 * call it, since the first hash does; but then a wrong TIDEMARK_KERNEL stops the process with a
 * message.
 * @retval as hbs_kernel_find().
 */
enum rc hbs_kernel_start(struct err *err) MUST_CHECK;

/**
 * The kernel of this process for a hash, HBS_SHA256 or HBS_SHAKE256; chooses it if nobody has yet,
 * and stops the process if that fails.
 */
const struct hbs_kernel *hbs_kernel_current(enum hbs_hash_kind hash);

/**
 * What was chosen, in one line for logs and people: "SHA-256 avx512+sha-ni, SHAKE256 avx512".
 * Chooses if nobody has yet, and stops the process if that fails. Static; not while another thread
 * calls it.
 */
const char *hbs_kernel_summary(void);

/** For tests and the benchmark: from now on use this one for its hash. Not while another thread
 * hashes. */
void hbs_kernel_use(const struct hbs_kernel *kernel);

/**
 * A kernel that runs wide where more than narrow_max hashes or lanes are in use, and narrow where
 * there are fewer. Both must be of one hash and supported. There is one for each hash: the next
 * call changes it, so not while another thread hashes with it.
 * @param[in] narrow  With lanes it takes over in the middle of a call, without only whole calls.
 * @return wide itself if narrow is the same or narrow_max is 0.
 */
const struct hbs_kernel *hbs_kernel_mix(const struct hbs_kernel *wide,
                                        const struct hbs_kernel *narrow, size_t narrow_max);

/* What libgcrypt runs of either hash. */
void hbs_gcrypt_chains(enum hbs_hash_kind hash, uint8_t n, const uint8_t id[LMS_I_LEN],
                       const struct hbs_chain *chains, size_t count);
void hbs_gcrypt_jobs(enum hbs_hash_kind hash, uint8_t n, const struct hbs_job *jobs, size_t count);

#endif
