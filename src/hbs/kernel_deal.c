#include "hbs/kernel_deal.h"

#include <string.h>

#include "base/rc.h"
#include "hbs/kernel_lanes.h"

#define BATCH 2048 /* items that are sorted together */
#define KEYS 512   /* lengths that are told apart; longer ones count as the longest */

_Static_assert(HBS_STEP_END < KEYS, "chains are sorted by their whole length");
_Static_assert(BATCH <= UINT16_MAX, "positions in a batch fit 16 bits");

struct dealing {
    const struct deal_ops *ops;
    void *run;
    size_t item[DEAL_LANES_MAX];
    size_t left[DEAL_LANES_MAX]; /* steps */
    size_t active;
    uint16_t order[BATCH]; /* items of a batch that have steps to do, longest first */
};

static size_t key_of(const struct dealing *d, size_t item)
{
    size_t length = d->ops->length(d->run, item);
    return length < KEYS ? length : KEYS - 1;
}

/* Sort the items first … first + count - 1 by length; returns how many have steps to do. */
static size_t sort(struct dealing *d, size_t first, size_t count)
{
    uint16_t place[KEYS] LEFT_AS_IS;
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        size_t key = key_of(d, first + i);
        longest = key > longest ? key : longest;
    }
    memset(place, 0, (longest + 1) * sizeof(place[0]));
    for (size_t i = 0; i < count; i++)
        place[key_of(d, first + i)]++;
    uint16_t next = 0;
    for (size_t key = longest; key > 0; key--) {
        uint16_t many = place[key];
        place[key] = next;
        next = (uint16_t)(next + many);
    }
    for (size_t i = 0; i < count; i++) {
        size_t key = key_of(d, first + i);
        if (key > 0)
            d->order[place[key]++] = (uint16_t)i;
    }
    return next;
}

static void load(struct dealing *d, size_t item)
{
    size_t lane = d->active++;
    d->item[lane] = item;
    d->left[lane] = d->ops->length(d->run, item);
    d->ops->load(d->run, lane, item);
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
        if (d->left[lane] > 0)
            continue;
        d->ops->store(d->run, lane, d->item[lane]);
        size_t last = --d->active;
        if (lane == last)
            continue;
        d->ops->move(d->run, lane, last);
        d->item[lane] = d->item[last];
        d->left[lane] = d->left[last];
    }
}

static void batch(struct dealing *d, size_t first, size_t count)
{
    size_t total = sort(d, first, count);
    size_t next = 0;
    do {
        while (d->active < d->ops->lanes && next < total)
            load(d, first + d->order[next++]);
        if (d->active > 0)
            advance(d);
    } while (d->active > 0 || next < total);
}

void deal(const struct deal_ops *ops, void *run, size_t count)
{
    MUST(ops->lanes <= DEAL_LANES_MAX);
    struct dealing d LEFT_AS_IS;
    d.ops = ops;
    d.run = run;
    d.active = 0;
    for (size_t done = 0; done < count; done += BATCH)
        batch(&d, done, count - done < BATCH ? count - done : BATCH);
}
