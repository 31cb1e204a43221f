#include "hbs/hash.h"

#include <gcrypt.h>

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
