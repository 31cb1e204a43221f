#include "signer/window_lock.h"

#include <string.h>

bool window_lock_free(const struct plan *plan)
{
    return plan->kind == PLAN_VERSION && plan->order == PLAN_PER_LINE;
}

static void bounds(struct tpm_lock *lock, const struct anchor_pins *pins, uint64_t low,
                   uint64_t high)
{
    memcpy(lock->w_name, pins->w_name, TPM_NAME_LEN);
    lock->bound_low = true;
    lock->bound_high = true;
    lock->low = low;
    lock->high = high;
}

void window_lock(struct tpm_lock *lock, const struct plan *plan, const struct anchor_pins *pins,
                 const struct tpm_pcrs *pcrs, uint64_t window)
{
    *lock = (struct tpm_lock){.kind = TPM_LOCK_WINDOW};
    memcpy(lock->w_name, pins->w_name, TPM_NAME_LEN);
    if (pcrs->selection != 0)
        lock->pcrs = *pcrs;
    if (window_lock_free(plan))
        return;
    int64_t high = pins->w_base + (int64_t)window;
    MUST(high > (int64_t)pins->w_first);
    bounds(lock, pins, (uint64_t)high - 1, (uint64_t)high);
}

void window_lock_draft(struct tpm_lock *lock, const struct anchor_pins *pins)
{
    *lock = (struct tpm_lock){.kind = TPM_LOCK_WINDOW};
    bounds(lock, pins, pins->w_first, pins->w_first);
}
