/*
 * The map of a compiled plan: index <-> window, version and slot, time; claims; rollback.
 *
 * tmv_plan_open() has made sure that window_count * window_size <= 2^60, that version_count is at
 * most that, and that all windows of time end before the year 10000: nothing here can overflow.
 */
#include "verify/place.h"

#include "verify/bytes.h"

#if TMV_WITH_PLAN

uint64_t tmvi_plan_span(const struct tmv_plan *plan, unsigned level)
{
    uint64_t span = 1;
    for (unsigned i = level + 1; i < plan->components; i++)
        span *= plan->sizes[i];
    return span;
}

/* How many versions have marks of one line. */
static uint64_t line_span(const struct tmv_plan *plan)
{
    if (!plan->per_line)
        return plan->version_count;
    return plan->components == 1 ? plan->versions_per_window
                                 : tmvi_plan_span(plan, plan->line_level);
}

static void fill_version(const struct tmv_plan *plan, uint64_t rank, struct tmv_place *place)
{
    place->mark = rank;
    place->line = rank / line_span(plan);
    for (unsigned i = 0; i < plan->components; i++) {
        uint64_t span = tmvi_plan_span(plan, i);
        place->numbers[i] = rank / span + plan->bases[i];
        rank %= span;
    }
}

static void fill_time(const struct tmv_plan *plan, struct tmv_place *place)
{
    place->mark = place->window;
    if (plan->kind != TMV_PLAN_TIME)
        return;
    place->start_s = plan->start_s + (int64_t)place->window * plan->window_s;
    place->end_s = place->start_s + plan->window_s;
}

enum tmv_result tmv_plan_place_index(const struct tmv_plan *plan, uint64_t index,
                                     struct tmv_place *place)
{
    tmvi_zero(place, sizeof(*place));
    uint64_t window = index / plan->window_size;
    uint64_t position = index % plan->window_size;
    if (window >= plan->window_count)
        return TMV_UNUSED_INDEX;
    if (plan->seal && position == plan->window_size - 1)
        return TMV_SEAL_INDEX;
    if (position >= plan->window_usable)
        return TMV_UNUSED_INDEX;
    if (plan->kind == TMV_PLAN_VERSION) {
        /* The last window of a flat plan may have fewer versions than the others. */
        uint64_t rank = window * plan->versions_per_window + position / plan->slot_count;
        if (rank >= plan->version_count)
            return TMV_UNUSED_INDEX;
        place->slot = (uint32_t)(position % plan->slot_count);
        fill_version(plan, rank, place);
    }
    place->index = index;
    place->window = window;
    if (plan->kind != TMV_PLAN_VERSION)
        fill_time(plan, place);
    return TMV_OK;
}

enum tmv_result tmv_plan_place_numbers(const struct tmv_plan *plan, const uint64_t *numbers,
                                       uint32_t slot, struct tmv_place *place)
{
    uint64_t rank = 0;
    tmvi_zero(place, sizeof(*place));
    if (plan->kind != TMV_PLAN_VERSION)
        return TMV_WRONG_KIND;
    for (unsigned i = 0; i < plan->components; i++) {
        if (numbers[i] < plan->bases[i] || numbers[i] - plan->bases[i] >= plan->sizes[i])
            return TMV_OUTSIDE_PLAN;
        rank = rank * plan->sizes[i] + (numbers[i] - plan->bases[i]);
    }
    if (slot >= plan->slot_count)
        return TMV_OUTSIDE_PLAN;
    place->window = rank / plan->versions_per_window;
    place->index = place->window * plan->window_size +
                   rank % plan->versions_per_window * plan->slot_count + slot;
    place->slot = slot;
    fill_version(plan, rank, place);
    return TMV_OK;
}

enum tmv_result tmv_plan_place_version(const struct tmv_plan *plan, const char *version,
                                       const char *slot, struct tmv_place *place)
{
    uint64_t numbers[TMV_COMPONENTS_MAX] = {0, 0, 0};
    uint32_t slot_number = 0;
    tmvi_zero(place, sizeof(*place));
    if (plan->kind != TMV_PLAN_VERSION)
        return TMV_WRONG_KIND;
    enum tmv_result result = tmvi_version_read(plan, version, numbers);
    /* A version outside the plan is the better news than a slot that is missing. */
    if (result == TMV_OK)
        result = tmv_plan_place_numbers(plan, numbers, 0, place);
    if (result == TMV_OK)
        result = tmvi_slot_read(plan, slot, &slot_number);
    if (result == TMV_OK)
        return tmv_plan_place_numbers(plan, numbers, slot_number, place);
    tmvi_zero(place, sizeof(*place));
    return result;
}

enum tmv_result tmv_plan_window_at(const struct tmv_plan *plan, int64_t seconds, uint64_t *window)
{
    *window = 0;
    if (plan->kind != TMV_PLAN_TIME)
        return TMV_WRONG_KIND;
    if (seconds < plan->start_s)
        return TMV_OUTSIDE_PLAN;
    uint64_t found = (uint64_t)(seconds - plan->start_s) / (uint64_t)plan->window_s;
    if (found >= plan->window_count)
        return TMV_OUTSIDE_PLAN;
    *window = found;
    return TMV_OK;
}

/* --- Claims ------------------------------------------------------------------------------------
 */

enum tmv_result tmv_plan_check_index(const struct tmv_plan *plan, const struct tmv_found *found,
                                     struct tmv_place *place)
{
    struct tmv_place local;
    struct tmv_place *to = place != NULL ? place : &local;
    tmvi_zero(to, sizeof(*to));
    /* An index of another number of bits is one of another key, whatever its value. */
    if (found->bits != plan->height)
        return TMV_UNUSED_INDEX;
    return tmv_plan_place_index(plan, found->index, to);
}

/* Compare where an index is with where it should be. */
static enum tmv_result compare(const struct tmv_plan *plan, const struct tmv_found *found,
                               bool same, struct tmv_place *place)
{
    struct tmv_place local;
    struct tmv_place *to = place != NULL ? place : &local;
    enum tmv_result result = tmv_plan_check_index(plan, found, to);
    if (result == TMV_OK && !same)
        result = TMV_OTHER_PLACE;
    if (result != TMV_OK)
        tmvi_zero(to, sizeof(*to));
    return result;
}

enum tmv_result tmv_plan_check_version(const struct tmv_plan *plan, const struct tmv_found *found,
                                       const char *version, const char *slot,
                                       struct tmv_place *place)
{
    struct tmv_place claimed;
    if (place != NULL)
        tmvi_zero(place, sizeof(*place));
    enum tmv_result result = tmv_plan_place_version(plan, version, slot, &claimed);
    if (result != TMV_OK)
        return result;
    return compare(plan, found, claimed.index == found->index, place);
}

enum tmv_result tmv_plan_check_numbers(const struct tmv_plan *plan, const struct tmv_found *found,
                                       const uint64_t *numbers, uint32_t slot,
                                       struct tmv_place *place)
{
    struct tmv_place claimed;
    if (place != NULL)
        tmvi_zero(place, sizeof(*place));
    enum tmv_result result = tmv_plan_place_numbers(plan, numbers, slot, &claimed);
    if (result != TMV_OK)
        return result;
    return compare(plan, found, claimed.index == found->index, place);
}

enum tmv_result tmv_plan_check_window(const struct tmv_plan *plan, const struct tmv_found *found,
                                      uint64_t window, struct tmv_place *place)
{
    if (place != NULL)
        tmvi_zero(place, sizeof(*place));
    if (window >= plan->window_count)
        return TMV_OUTSIDE_PLAN;
    return compare(plan, found, found->index / plan->window_size == window, place);
}

enum tmv_result tmv_plan_check_time(const struct tmv_plan *plan, const struct tmv_found *found,
                                    int64_t seconds, struct tmv_place *place)
{
    uint64_t window = 0;
    if (place != NULL)
        tmvi_zero(place, sizeof(*place));
    enum tmv_result result = tmv_plan_window_at(plan, seconds, &window);
    return result == TMV_OK ? tmv_plan_check_window(plan, found, window, place) : result;
}

/* --- Rollback ----------------------------------------------------------------------------------
 */

enum tmv_result tmv_rollback_check_mark(const struct tmv_place *place, uint64_t lowest)
{
    return place->mark >= lowest ? TMV_OK : TMV_ROLLBACK;
}

enum tmv_result tmv_rollback_check_index(const struct tmv_place *place, uint64_t lowest)
{
    return place->index >= lowest ? TMV_OK : TMV_ROLLBACK;
}

uint64_t tmv_rollback_raise_mark(const struct tmv_place *place, uint64_t lowest)
{
    return place->mark > lowest ? place->mark : lowest;
}

uint64_t tmv_rollback_raise_index(const struct tmv_place *place, uint64_t lowest)
{
    return place->index > lowest ? place->index : lowest;
}

#endif
