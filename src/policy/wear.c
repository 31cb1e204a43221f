#include "policy/wear.h"

#include <inttypes.h>

#include "base/text.h"

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

/* While a key is in use ------------------------------------------------------------------------ */

#define YEAR_S UINT64_C(31556952) /* 365.2425 days */
#define PERCENT_MAX 1000
#define LAST_S INT64_C(253370764800) /* the year 9999 begins */

static uint64_t highest(const struct wear_used *used)
{
    uint64_t most = used->w > used->l ? used->w : used->l;
    return most > used->a ? most : used->a;
}

/* value · times / by, at most UINT64_MAX. by > 0. */
static uint64_t scaled(uint64_t value, uint64_t times, uint64_t by)
{
    uint64_t product = 0;
    if (!__builtin_mul_overflow(value, times, &product))
        return product / by;
    return value / by < UINT64_MAX / times ? value / by * times : UINT64_MAX;
}

static int64_t year_of(int64_t at_s)
{
    char text[RFC3339_SIZE];
    uint64_t year = 0;
    rfc3339_print(text, at_s);
    text[4] = '\0';
    return text_to_u64(&year, text, 9999) ? (int64_t)year : WEAR_UNKNOWN;
}

void wear_project(const struct wear_used *used, uint64_t endurance, int64_t since_s, int64_t now_s,
                  struct wear_outlook *outlook)
{
    MUST(endurance >= 1);
    uint64_t most = highest(used);
    uint64_t percent = scaled(most, 100, endurance);
    *outlook =
        (struct wear_outlook){.used = most,
                              .percent = (uint32_t)(percent < PERCENT_MAX ? percent : PERCENT_MAX),
                              .per_year = WEAR_UNKNOWN,
                              .year = WEAR_UNKNOWN};
    if (since_s < 0 || now_s > LAST_S || now_s - since_s < WEAR_RATE_MIN_S || most == 0)
        return;
    uint64_t elapsed = (uint64_t)(now_s - since_s);
    uint64_t per_year = scaled(most, YEAR_S, elapsed);
    outlook->per_year = per_year < INT64_MAX ? (int64_t)per_year + 1 : INT64_MAX;
    uint64_t left = most < endurance ? endurance - most : 0;
    uint64_t lasts = scaled(left, elapsed, most);
    if (lasts < (uint64_t)(LAST_S - now_s))
        outlook->year = year_of(now_s + (int64_t)lasts);
}

uint32_t wear_threshold(uint32_t percent)
{
    static const uint32_t thresholds[] = {90, 75, 50};
    for (size_t i = 0; i < sizeof(thresholds) / sizeof(thresholds[0]); i++)
        if (percent >= thresholds[i])
            return thresholds[i];
    return 0;
}
