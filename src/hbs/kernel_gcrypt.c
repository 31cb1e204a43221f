#include <gcrypt.h>
#include <string.h>

#include "base/bytes.h"
#include "base/lease.h"
#include "hbs/kernel.h"

#define STEP_PREFIX (LMS_I_LEN + 4 + 2 + 1) /* I, q, chain number, step number */
#define STEP_OFFSET (STEP_PREFIX - 1)

/* A hash ready to run. SHA-256 goes through gcry_md_hash_buffer(), which keeps its state on the
 * stack and costs little more than the compression itself. Of an extendable function libgcrypt 1.10
 * has no such call, so SHAKE256 keeps one handle and resets it. */
struct hasher {
    gcry_md_hd_t handle; /* NULL for SHA-256 */
    size_t n;
    uint8_t digest[SHA256_LEN];
};

static void hasher_open(struct hasher *h, enum hbs_hash_kind hash, uint8_t n)
{
    h->n = n;
    h->handle = NULL;
    if (hash == HBS_SHAKE256)
        MUST(gcry_md_open(&h->handle, GCRY_MD_SHAKE256, 0) == 0);
}

static void hasher_close(struct hasher *h)
{
    /* hash_buffer leaves its last result on the stack; one more hash of nothing writes over it. */
    if (h->handle == NULL)
        gcry_md_hash_buffer(GCRY_MD_SHA256, h->digest, "", 0);
    gcry_md_close(h->handle); /* wipes its state; NULL is fine */
    wipe(h, sizeof(*h));
}

/* The digest takes a detour, because hash_buffer writes 32 bytes where n may be 24. */
static inline void hasher_run(struct hasher *h, const uint8_t *in, size_t len, uint8_t *out)
{
    if (h->handle == NULL) {
        gcry_md_hash_buffer(GCRY_MD_SHA256, h->digest, in, len);
    } else {
        gcry_md_reset(h->handle);
        gcry_md_write(h->handle, in, len);
        MUST(gcry_md_extract(h->handle, GCRY_MD_SHAKE256, h->digest, h->n) == 0);
    }
    memcpy(out, h->digest, h->n);
}

void hbs_gcrypt_chains(enum hbs_hash_kind hash, uint8_t n, const uint8_t id[LMS_I_LEN],
                       const struct hbs_chain *chains, size_t count)
{
    struct hasher h CLEANUP(hasher_close) = {0};
    hasher_open(&h, hash, n);
    uint8_t block[STEP_PREFIX + HBS_N_MAX];
    memcpy(block, id, LMS_I_LEN);
    for (size_t c = 0; c < count; c++) {
        be_put32(block + LMS_I_LEN, chains[c].q);
        be_put16(block + LMS_I_LEN + 4, chains[c].i);
        memcpy(block + STEP_PREFIX, chains[c].in, n);
        for (uint16_t j = chains[c].from; j < chains[c].to; j++) {
            block[STEP_OFFSET] = (uint8_t)j; /* HBS_STEP_SEED + 1 is step 0 */
            hasher_run(&h, block, STEP_PREFIX + (size_t)n, block + STEP_PREFIX);
        }
        memcpy(chains[c].out, block + STEP_PREFIX, n);
    }
    wipe(block, sizeof(block));
}

void hbs_gcrypt_jobs(enum hbs_hash_kind hash, uint8_t n, const struct hbs_job *jobs, size_t count)
{
    struct hasher h CLEANUP(hasher_close) = {0};
    hasher_open(&h, hash, n);
    for (size_t j = 0; j < count; j++)
        hasher_run(&h, jobs[j].in, jobs[j].len, jobs[j].out);
}

static bool always(void)
{
    return true;
}

static void sha256_chains(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                          size_t count)
{
    hbs_gcrypt_chains(HBS_SHA256, n, id, chains, count);
}

static void sha256_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    hbs_gcrypt_jobs(HBS_SHA256, n, jobs, count);
}

static void shake256_chains(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                            size_t count)
{
    hbs_gcrypt_chains(HBS_SHAKE256, n, id, chains, count);
}

static void shake256_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    hbs_gcrypt_jobs(HBS_SHAKE256, n, jobs, count);
}

const struct hbs_kernel hbs_kernel_gcrypt = {.name = "libgcrypt",
                                             .hash = HBS_SHA256,
                                             .supported = always,
                                             .chains = sha256_chains,
                                             .jobs = sha256_jobs};

const struct hbs_kernel hbs_kernel_gcrypt_shake = {.name = "libgcrypt",
                                                   .hash = HBS_SHAKE256,
                                                   .supported = always,
                                                   .chains = shake256_chains,
                                                   .jobs = shake256_jobs};
