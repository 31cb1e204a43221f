#include "http/budget.h"

#include <sys/statvfs.h>

bool budget_take(struct budget *budget, uint64_t bytes)
{
    uint64_t used = atomic_load(&budget->used);
    do {
        uint64_t limit = budget->max != 0 ? budget->max : UINT64_MAX;
        if (used > limit || bytes > limit - used)
            return false;
    } while (!atomic_compare_exchange_weak(&budget->used, &used, used + bytes));
    return true;
}

void budget_give(struct budget *budget, uint64_t bytes)
{
    uint64_t before = atomic_fetch_sub(&budget->used, bytes);
    MUST(before >= bytes);
}

bool budget_fits_disk(int dirfd, uint64_t bytes, uint64_t keep_free)
{
    struct statvfs fs;
    if (keep_free == 0 || fstatvfs(dirfd, &fs) != 0)
        return true; /* what cannot be seen shows when the body is written */
    unsigned __int128 left = (unsigned __int128)fs.f_bavail * fs.f_frsize;
    return left >= (unsigned __int128)bytes + keep_free;
}
