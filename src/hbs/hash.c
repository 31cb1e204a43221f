#include "hbs/hash.h"

#include <gcrypt.h>

#include "hbs/kernel.h"

int hbs_hash_gcrypt(enum hbs_hash_kind hash)
{
    return hash == HBS_SHA256 ? GCRY_MD_SHA256 : GCRY_MD_SHAKE256;
}

void hbs_chains_run(enum hbs_hash_kind hash, uint8_t n, const uint8_t id[LMS_I_LEN],
                    struct hbs_chain *chains, size_t count)
{
    MUST(n == 24 || n == 32);
    for (size_t c = 0; c < count; c++) {
        MUST(chains[c].from <= chains[c].to);
        MUST(chains[c].to <= HBS_STEP_END);
    }
    hbs_kernel_current(hash)->chains(n, id, chains, count);
}

void hbs_jobs_run(enum hbs_hash_kind hash, uint8_t n, const struct hbs_job *jobs, size_t count)
{
    MUST(n == 24 || n == 32);
    hbs_kernel_current(hash)->jobs(n, jobs, count);
}
