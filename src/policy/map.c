/*
 * The part of the map that is arithmetic on windows alone: windows of indices and of time, leases,
 * seals. plan_parse() has made sure that window_count * window_size <= 2^height <= 2^60 and that
 * start_s + window_count * window_s <= RFC3339_S_MAX, so nothing here can overflow.
 */
#include <inttypes.h>
#include <stdio.h>

#include "policy/plan.h"
#include "policy/version.h"

uint64_t plan_window_first(const struct plan *plan, uint64_t window)
{
    MUST(window < plan->window_count);
    return window * plan->window_size;
}

enum rc plan_window_of_index(const struct plan *plan, uint64_t index, uint64_t *window,
                             struct err *err)
{
    *window = 0;
    if (index / plan->window_size >= plan->window_count)
        return FAIL(err, RC_REFUSED_RANGE, "", 0,
                    "index %" PRIu64 " lies in no window; the plan ends at %" PRIu64, index,
                    plan->window_count * plan->window_size - 1);
    *window = index / plan->window_size;
    return RC_OK;
}

uint64_t plan_seal_index(const struct plan *plan, uint64_t window)
{
    MUST(plan->seal);
    return plan_window_first(plan, window) + plan->window_size - 1;
}

enum plan_use plan_use_of_index(const struct plan *plan, uint64_t index)
{
    uint64_t window = index / plan->window_size;
    uint64_t position = index % plan->window_size;
    if (window >= plan->window_count)
        return PLAN_USE_NONE;
    if (plan->seal && position == plan->window_size - 1)
        return PLAN_USE_SEAL;
    if (position >= plan->window_usable)
        return PLAN_USE_PADDING;
    if (plan->kind != PLAN_VERSION)
        return PLAN_USE_ARTIFACT;
    /* The last window of an integer or table plan may have fewer versions than the others. */
    uint64_t rank = window * plan->versions_per_window + position / plan->slot_count;
    return rank < plan_version_count(plan) ? PLAN_USE_ARTIFACT : PLAN_USE_PADDING;
}

enum rc plan_window_at(const struct plan *plan, int64_t seconds, uint64_t *window, struct err *err)
{
    MUST(plan->kind == PLAN_TIME);
    *window = 0;
    char edge[RFC3339_SIZE];
    if (seconds < plan->start_s) {
        rfc3339_print(edge, plan->start_s);
        return FAIL(err, RC_REFUSED_OUTSIDE_PLAN, "", 0, "the plan starts at %s", edge);
    }
    /* Both are >= 0 here, since no plan starts before 1970. */
    uint64_t w = ((uint64_t)seconds - (uint64_t)plan->start_s) / (uint64_t)plan->window_s;
    if (w >= plan->window_count) {
        rfc3339_print(edge, plan->start_s + (int64_t)plan->window_count * plan->window_s);
        return FAIL(err, RC_REFUSED_OUTSIDE_PLAN, "", 0, "the plan ended at %s", edge);
    }
    *window = w;
    return RC_OK;
}

void plan_window_times(const struct plan *plan, uint64_t window, int64_t *start, int64_t *end)
{
    MUST(plan->kind == PLAN_TIME);
    MUST(window < plan->window_count);
    *start = plan->start_s + (int64_t)window * plan->window_s;
    *end = *start + plan->window_s;
}

uint64_t plan_leases_per_window(const struct plan *plan)
{
    MUST(plan->kind != PLAN_VERSION);
    return (plan->window_usable - 1) / plan->lease_size + 1;
}

enum rc plan_lease(const struct plan *plan, uint64_t window, uint64_t k, uint64_t *first,
                   uint64_t *count, struct err *err)
{
    *first = 0;
    *count = 0;
    uint64_t start = plan_window_first(plan, window);
    uint64_t leases = plan_leases_per_window(plan);
    if (k >= leases)
        return FAIL(err, RC_RETRY_WINDOW_FULL, "", 0,
                    "window %" PRIu64 " has given out all of its %" PRIu64 " leases", window,
                    leases);
    uint64_t left = plan->window_usable - k * plan->lease_size;
    *first = start + k * plan->lease_size;
    *count = left < plan->lease_size ? left : plan->lease_size;
    return RC_OK;
}

void plan_window_label(const struct plan *plan, uint64_t window, char out[64])
{
    MUST(window < plan->window_count);
    if (plan->kind == PLAN_VERSION) {
        version_window_label(plan, window, out);
        return;
    }
    if (plan->kind == PLAN_INTERVAL) {
        (void)snprintf(out, 64, "%" PRIu64, window);
        return;
    }
    int64_t start = 0;
    int64_t end = 0;
    plan_window_times(plan, window, &start, &end);
    _Static_assert(RFC3339_SIZE <= 64, "a time fits a label");
    rfc3339_print(out, start);
}
