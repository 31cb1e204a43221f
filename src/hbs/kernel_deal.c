#include "hbs/kernel_deal.h"

#include <string.h>

#include "base/rc.h"
#include "hbs/kernel_lanes.h"

#define KEYS 512   /* lengths that are told apart; longer ones count as the longest */
#define ROW_SPAN 1 /* steps by which lengths in a row may differ: lanes idle that long */
#define WAYS 8     /* counters of a length, so that a count need not wait for the one before */

#define NOINLINE __attribute__((noinline))

_Static_assert(HBS_STEP_END < KEYS, "chains are sorted by their whole length");
_Static_assert(DEAL_BATCH <= UINT16_MAX, "positions in a batch fit 16 bits");

static size_t key_of(const struct dealing *d, size_t i)
{
    return d->steps[i] < KEYS ? d->steps[i] : KEYS - 1;
}

/* Sort the count items of a batch by length. Apart, or its counters would lie on the stack between
 * deal()'s caller and a kernel: DEAL_FRAME. */
static NOINLINE void sort(struct dealing *d, size_t count)
{
    uint16_t place[KEYS][WAYS] LEFT_AS_IS;
    size_t longest = d->ops->lengths(d->run, d->first, count, d->steps);
    longest = longest < KEYS ? longest : KEYS - 1;
    memset(place, 0, (longest + 1) * sizeof(place[0]));
    for (size_t i = 0; i < count; i++)
        place[key_of(d, i)][i % WAYS]++;
    uint16_t next = 0;
    for (size_t key = longest + 1; key-- > 0;) {
        d->total = key == 0 ? next : 0;
        for (size_t way = 0; way < WAYS; way++) {
            uint16_t many = place[key][way];
            place[key][way] = next;
            next = (uint16_t)(next + many);
        }
    }
    for (size_t i = 0; i < count; i++)
        d->order[place[key_of(d, i)][i % WAYS]++] = (uint16_t)i;
    d->next = 0;
}

static void row_load(struct dealing *d, const uint16_t *order)
{
    for (size_t l = 0; l < d->ops->lanes; l++)
        d->item[l] = d->first + order[l];
    if (d->ops->load_row != NULL) {
        d->ops->load_row(d->run, d->item);
        return;
    }
    for (size_t l = 0; l < d->ops->lanes; l++)
        d->ops->load(d->run, l, d->item[l]);
}

static void row_store(struct dealing *d, size_t from, size_t to)
{
    if (d->ops->store_row != NULL) {
        d->ops->store_row(d->run, from, to, d->item);
        return;
    }
    for (size_t l = from; l < to; l++)
        d->ops->store(d->run, l, d->item[l]);
}

/* Run the next items as a row, if they fill one and their lengths differ little. The shorter ones
 * stand in the last lanes, and are taken off before the others go on. */
static bool row(struct dealing *d)
{
    size_t active = d->ops->lanes;
    if (d->total - d->next < active)
        return false;
    const uint16_t *order = d->order + d->next;
    size_t most = d->steps[order[0]];
    if (most >= KEYS - 1 || most - d->steps[order[active - 1]] > ROW_SPAN)
        return false;
    row_load(d, order);
    for (size_t done = 0; active > 0;) {
        size_t least = d->steps[order[active - 1]];
        d->ops->steps(d->run, active, least - done);
        size_t longer = active;
        while (longer > 0 && d->steps[order[longer - 1]] == least)
            longer--;
        row_store(d, longer, active);
        active = longer;
        done = least;
    }
    d->next += d->ops->lanes;
    return true;
}

/* The next item into a free lane. */
static void load(struct dealing *d, size_t lane)
{
    size_t i = d->order[d->next++];
    d->item[lane] = d->first + i;
    d->left[lane] = d->steps[i];
    d->ops->load(d->run, lane, d->first + i);
}

/* A lane is done: the next item takes its place, or the item of the last lane. */
static void refill(struct dealing *d, size_t lane)
{
    d->ops->store(d->run, lane, d->item[lane]);
    if (d->next < d->total) {
        load(d, lane);
        return;
    }
    size_t last = --d->active;
    if (lane == last)
        return;
    d->ops->move(d->run, lane, last);
    d->item[lane] = d->item[last];
    d->left[lane] = d->left[last];
}

/* As many steps as the lane with the fewest left has, then take off what is done. */
static void advance(struct dealing *d)
{
    size_t steps = d->left[0];
    for (size_t lane = 1; lane < d->active; lane++)
        steps = d->left[lane] < steps ? d->left[lane] : steps;
    d->ops->steps(d->run, d->active, steps);
    for (size_t lane = d->active; lane-- > 0;) {
        d->left[lane] -= steps;
        if (d->left[lane] == 0)
            refill(d, lane);
    }
}

static void batch(struct dealing *d, size_t count)
{
    sort(d, count);
    for (size_t k = d->total; k < count && d->ops->idle != NULL; k++)
        d->ops->idle(d->run, d->first + d->order[k]);
    while (row(d))
        ;
    d->active = 0;
    while (d->active < d->ops->lanes && d->next < d->total)
        load(d, d->active++);
    while (d->active > 0)
        advance(d);
}

void deal(struct dealing *d, const struct deal_ops *ops, void *run, size_t count)
{
    MUST(ops->lanes <= DEAL_LANES_MAX);
    d->ops = ops;
    d->run = run;
    for (d->first = 0; d->first < count; d->first += DEAL_BATCH)
        batch(d, count - d->first < DEAL_BATCH ? count - d->first : DEAL_BATCH);
}
