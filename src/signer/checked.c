#include "signer/checked.h"

#include <inttypes.h>
#include <string.h>

void sign_checked(const struct hbs_branch *branch, const struct hbs_branch_signing *jobs,
                  size_t sig_len, size_t count, bool *good)
{
    MUST(count <= HBS_BATCH_MAX);
    struct hbs_branch_checking checks[HBS_BATCH_MAX];
    for (size_t i = 0; i < count; i++)
        checks[i] = (struct hbs_branch_checking){.index = jobs[i].lease->index,
                                                 .stations = jobs[i].stations,
                                                 .c = jobs[i].c,
                                                 .value = jobs[i].value,
                                                 .sig = jobs[i].sig,
                                                 .sig_len = sig_len};
    hbs_branch_sign(branch, jobs, count); /* the leases are spent now, whatever comes */
    hbs_branch_verify(branch, checks, count, good);
    for (size_t i = 0; i < count; i++)
        if (!good[i])
            memset(jobs[i].sig, 0, sig_len);
}

enum rc not_verified(uint64_t index, struct err *err)
{
    return FAIL(err, RC_BURNED_VERIFY, "", 0,
                "the signature of index %" PRIu64
                " does not verify: memory or node file is damaged",
                index);
}
