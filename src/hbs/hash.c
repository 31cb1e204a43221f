#include "hbs/hash.h"

#include <gcrypt.h>
#include <string.h>

#include "base/bytes.h"
#include "base/lease.h"

#define STEP_PREFIX (LMS_I_LEN + 4 + 2 + 1) /* I, q, chain number, step number */
#define STEP_OFFSET (STEP_PREFIX - 1)

/* A hash ready to run. SHA-256 goes through gcry_md_hash_buffer(), which keeps its state on the
 * stack and costs little more than the compression itself. Of an extendable function libgcrypt 1.10
 * has no such call, so SHAKE256 keeps one handle and resets it. */
struct kernel {
    gcry_md_hd_t handle; /* NULL for SHA-256 */
    size_t n;
    uint8_t digest[SHA256_LEN];
};

int hbs_hash_gcrypt(enum hbs_hash_kind hash)
{
    return hash == HBS_SHA256 ? GCRY_MD_SHA256 : GCRY_MD_SHAKE256;
}

static void kernel_open(struct kernel *k, enum hbs_hash_kind hash, uint8_t n)
{
    MUST(n == 24 || n == 32);
    k->n = n;
    k->handle = NULL;
    if (hash == HBS_SHAKE256)
        MUST(gcry_md_open(&k->handle, GCRY_MD_SHAKE256, 0) == 0);
}

static void kernel_close(struct kernel *k)
{
    /* hash_buffer leaves its last result on the stack; one more hash of nothing writes over it. */
    if (k->handle == NULL)
        gcry_md_hash_buffer(GCRY_MD_SHA256, k->digest, "", 0);
    gcry_md_close(k->handle); /* wipes its state; NULL is fine */
    wipe(k, sizeof(*k));
}

/* The digest takes a detour, because hash_buffer writes 32 bytes where n may be 24. */
static inline void kernel_hash(struct kernel *k, const uint8_t *in, size_t len, uint8_t *out)
{
    if (k->handle == NULL) {
        gcry_md_hash_buffer(GCRY_MD_SHA256, k->digest, in, len);
    } else {
        gcry_md_reset(k->handle);
        gcry_md_write(k->handle, in, len);
        MUST(gcry_md_extract(k->handle, GCRY_MD_SHAKE256, k->digest, k->n) == 0);
    }
    memcpy(out, k->digest, k->n);
}

void hbs_chains_run(enum hbs_hash_kind hash, uint8_t n, const uint8_t id[LMS_I_LEN],
                    struct hbs_chain *chains, size_t count)
{
    struct kernel k CLEANUP(kernel_close) = {0};
    kernel_open(&k, hash, n);
    uint8_t block[STEP_PREFIX + HBS_N_MAX];
    memcpy(block, id, LMS_I_LEN);
    for (size_t c = 0; c < count; c++) {
        MUST(chains[c].from <= chains[c].to);
        MUST(chains[c].to <= HBS_STEP_SEED + 1);
        be_put32(block + LMS_I_LEN, chains[c].q);
        be_put16(block + LMS_I_LEN + 4, chains[c].i);
        memcpy(block + STEP_PREFIX, chains[c].value, n);
        for (uint16_t j = chains[c].from; j < chains[c].to; j++) {
            block[STEP_OFFSET] = (uint8_t)j;
            kernel_hash(&k, block, STEP_PREFIX + (size_t)n, block + STEP_PREFIX);
        }
        memcpy(chains[c].value, block + STEP_PREFIX, n);
    }
    wipe(block, sizeof(block));
}

void hbs_jobs_run(enum hbs_hash_kind hash, uint8_t n, const struct hbs_job *jobs, size_t count)
{
    struct kernel k CLEANUP(kernel_close) = {0};
    kernel_open(&k, hash, n);
    for (size_t j = 0; j < count; j++)
        kernel_hash(&k, jobs[j].in, jobs[j].len, jobs[j].out);
}
