#include "policy/wear.h"

#include <inttypes.h>

static uint64_t leases_of(const struct plan *plan, uint64_t lease_size)
{
    return (plan->window_usable + lease_size - 1) / lease_size;
}

static void count(const struct plan *plan, uint64_t leases_per_window, struct plan_wear *wear)
{
    uint64_t leases = plan->window_count * leases_per_window;
    wear->w = plan->window_count;
    wear->l = leases + WEAR_RESTARTS;
    wear->a = leases + leases / WEAR_LEASES_PER_SETTLE + 2 * plan->window_count + WEAR_RESTARTS;
}

static bool within(const struct plan_wear *wear, uint64_t endurance)
{
    /* A is the one that is written most: with every step of W and L. */
    return wear->a <= endurance && wear->l <= endurance && wear->w <= endurance;
}

enum rc plan_wear_check(const struct plan *plan, uint64_t endurance, struct plan_wear *wear,
                        struct err *err)
{
    MUST(endurance >= 1);
    *wear = (struct plan_wear){0};
    if (plan->kind == PLAN_VERSION) {
        count(plan, plan->window_usable, wear);
        return RC_OK;
    }
    struct plan_wear tried = {0};
    for (uint64_t size = 1; size < 2 * plan->window_usable && wear->lease_size == 0; size *= 2) {
        uint64_t capped = size < plan->window_usable ? size : plan->window_usable;
        count(plan, leases_of(plan, capped), &tried);
        if (within(&tried, endurance))
            wear->lease_size = capped;
    }
    count(plan, leases_of(plan, plan->lease_size), wear);
    if (within(wear, endurance))
        return RC_OK;
    if (wear->lease_size != 0)
        return FAIL(err, RC_REFUSED_PLAN, "", 0,
                    "%" PRIu64 " writes of one NV index over the key's life, but the TPM is "
                    "configured to stand %" PRIu64 ": use \"lease_size\": %" PRIu64 " or more",
                    wear->a, endurance, wear->lease_size);
    return FAIL(err, RC_REFUSED_PLAN, "", 0,
                "%" PRIu64 " writes of one NV index over the key's life, but the TPM is configured "
                "to stand %" PRIu64 ": use fewer and larger windows",
                wear->a, endurance);
}
