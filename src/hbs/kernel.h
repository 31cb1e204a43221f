/*
 * kernel: several ways to run the short SHA-256 hashes of hash.h, and the choice between them.
 *
 * A kernel is two functions that give byte for byte what libgcrypt gives. Which one runs is decided
 * once, at the first hash: every kernel that this CPU can run is tested against libgcrypt, those
 * that pass are measured for some hundred microseconds, and the fastest one stays. The environment
 * variable TIDEMARK_KERNEL forces one by name. Why: docs/adr/0008-hash-kernels.md.
 *
 * Uses: base, libgcrypt; base_init() first. Called by hash.c, tests and the benchmark. Secrets: as
 * hash.h says. Threads: any, but for hbs_kernel_use(). SHAKE256 has no kernels: it is libgcrypt's.
 */
#ifndef HBS_KERNEL_H
#define HBS_KERNEL_H

#include "base/rc.h"
#include "hbs/hash.h"

struct lane_ops; /* kernel_lanes.h */

/** One way to hash; hbs_chains_run() and hbs_jobs_run() of hash.h say what the two functions do. */
struct hbs_kernel {
    const char *name;        /* as in TIDEMARK_KERNEL */
    bool (*supported)(void); /* by this CPU and its operating system; cheap after the first call */
    void (*chains)(uint8_t n, const uint8_t id[LMS_I_LEN], struct hbs_chain *chains, size_t count);
    void (*jobs)(uint8_t n, const struct hbs_job *jobs, size_t count);
    const struct lane_ops *lanes; /* SHA-256 word by word, for XMSS; NULL: one hash at a time */
};

extern const struct hbs_kernel hbs_kernel_gcrypt; /* "libgcrypt": everywhere, and the yardstick */
#ifdef __x86_64__
extern const struct hbs_kernel hbs_kernel_shani;  /* "sha-ni": four messages interleaved */
extern const struct hbs_kernel hbs_kernel_avx2;   /* "avx2": eight lanes */
extern const struct hbs_kernel hbs_kernel_avx512; /* "avx512": two times sixteen lanes */
#endif

/** The i-th kernel of this build, supported or not; NULL past the last one. */
const struct hbs_kernel *hbs_kernel_at(size_t i);

/** True if the kernel agrees with libgcrypt on chains and messages of many lengths. */
bool hbs_kernel_sound(const struct hbs_kernel *kernel) MUST_CHECK;

/**
 * Find a kernel: the one of that name, or the fastest one. No effect on what hash.h uses.
 * @param[in]  name    NULL for the fastest one.
 * @param[out] kernel  Static; NULL on failure.
 * @retval RC_REFUSED_CONFIG  No kernel has this name, or this CPU cannot run it.
 * @retval RC_HALT_INVARIANT  The kernel of that name is not sound. (Without a name unsound ones are
 *                            passed over.)
 */
enum rc hbs_kernel_find(const char *name, const struct hbs_kernel **kernel,
                        struct err *err) MUST_CHECK;

/**
 * Choose the kernel of this process, by TIDEMARK_KERNEL if that is set and not empty. Only the
 * first call works, for up to a few milliseconds; later ones repeat its answer. A program need not
 * call it, since the first hash does; but then a wrong TIDEMARK_KERNEL stops the process with a
 * message.
 * @retval as hbs_kernel_find().
 */
enum rc hbs_kernel_start(struct err *err) MUST_CHECK;

/** The kernel of this process; chooses it if nobody has yet, and stops the process if that fails.
 */
const struct hbs_kernel *hbs_kernel_current(void);

/** For tests and the benchmark: from now on use this one. Not while another thread hashes. */
void hbs_kernel_use(const struct hbs_kernel *kernel);

/* What libgcrypt runs of either hash; hash.c uses it for SHAKE256, kernels for a lone message. */
void hbs_gcrypt_chains(enum hbs_hash_kind hash, uint8_t n, const uint8_t id[LMS_I_LEN],
                       struct hbs_chain *chains, size_t count);
void hbs_gcrypt_jobs(enum hbs_hash_kind hash, uint8_t n, const struct hbs_job *jobs, size_t count);

#endif
