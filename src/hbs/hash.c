#include "hbs/hash.h"

#include <gcrypt.h>
#include <pthread.h>

#include "hbs/kernel.h"

int hbs_hash_gcrypt(enum hbs_hash_kind hash)
{
    switch (hash) {
    case HBS_SHA256:
        return GCRY_MD_SHA256;
    case HBS_SHAKE256:
        return GCRY_MD_SHAKE256;
    case HBS_SHA512:
        return GCRY_MD_SHA512;
    case HBS_SHAKE128:
        return GCRY_MD_SHAKE128;
    }
    MUST(false);
}

/* One of each kind into which nothing was ever put, as in base/digest.c: the library gathers
 * entropy, with system calls, whenever one is opened, and not when one is copied. */
#define HASH_KINDS (HBS_SHAKE128 + 1)
static gcry_md_hd_t blanks[HASH_KINDS];

static void open_blanks(void)
{
    for (size_t i = 0; i < HASH_KINDS; i++)
        if (gcry_md_open(&blanks[i], hbs_hash_gcrypt((enum hbs_hash_kind)i), 0) != 0)
            blanks[i] = NULL;
}

enum rc hbs_hash_open(void **handle, enum hbs_hash_kind hash, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    gcry_md_hd_t opened = NULL;
    *handle = NULL;
    (void)pthread_once(&once, open_blanks);
    gcry_error_t e = blanks[hash] != NULL ? gcry_md_copy(&opened, blanks[hash])
                                          : gcry_md_open(&opened, hbs_hash_gcrypt(hash), 0);
    if (e != 0)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", e, "message hash: %s", gcry_strerror(e));
    *handle = opened;
    return RC_OK;
}

void hbs_chains_run(enum hbs_hash_kind hash, uint8_t n, const uint8_t id[LMS_I_LEN],
                    const struct hbs_chain *chains, size_t count)
{
    MUST(n == 24 || n == 32);
    bool good = true;
    for (size_t c = 0; c < count; c++)
        good &= (chains[c].from <= chains[c].to) & (chains[c].to <= HBS_STEP_END);
    MUST(good);
    hbs_kernel_current(hash)->chains(n, id, chains, count);
}

void hbs_jobs_run(enum hbs_hash_kind hash, uint8_t n, const struct hbs_job *jobs, size_t count)
{
    MUST(n == 24 || n == 32);
    hbs_kernel_current(hash)->jobs(n, jobs, count);
}
