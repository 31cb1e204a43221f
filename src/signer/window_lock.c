#include "signer/window_lock.h"

#include <string.h>

bool window_lock_free(const struct plan *plan)
{
    return plan->kind == PLAN_VERSION && plan->order == PLAN_PER_LINE;
}

/* W while the window is the open one. */
static uint64_t turn(const struct anchor_pins *pins, uint64_t window)
{
    int64_t w = pins->w_base + (int64_t)window;
    MUST(w > (int64_t)pins->w_first);
    return (uint64_t)w;
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
    lock->bound_low = true;
    lock->low = turn(pins, window) - 1;
    lock->bound_high = true;
    lock->high = turn(pins, window);
}

void window_lock_escrow(struct tpm_lock *lock, const struct plan *plan,
                        const struct anchor_pins *pins, uint64_t window)
{
    *lock = (struct tpm_lock){.kind = TPM_LOCK_OWNER};
    memcpy(lock->w_name, pins->w_name, TPM_NAME_LEN);
    if (window_lock_free(plan))
        return;
    lock->bound_high = true;
    lock->high = turn(pins, window);
}
