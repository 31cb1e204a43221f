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
    size_t first; /* item of the batch */
    size_t next;  /* of order, to be loaded */
    size_t total; /* of order */
    size_t active;
    size_t item[DEAL_LANES_MAX];
    size_t left[DEAL_LANES_MAX]; /* steps */
    uint16_t key[BATCH];         /* lengths of a batch, KEYS - 1 for all longer ones */
    uint16_t order[BATCH];       /* its items that have steps to do, longest first */
};

/* Sort the count items of a batch by length. */
static void sort(struct dealing *d, size_t count)
{
    uint16_t place[KEYS] LEFT_AS_IS;
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = d->ops->length(d->run, d->first + i);
        d->key[i] = (uint16_t)(length < KEYS ? length : KEYS - 1);
        longest = d->key[i] > longest ? d->key[i] : longest;
    }
    memset(place, 0, (longest + 1) * sizeof(place[0]));
    for (size_t i = 0; i < count; i++)
        place[d->key[i]]++;
    uint16_t next = 0;
    for (size_t key = longest; key > 0; key--) {
        uint16_t many = place[key];
        place[key] = next;
        next = (uint16_t)(next + many);
    }
    for (size_t i = 0; i < count; i++)
        if (d->key[i] > 0)
            d->order[place[d->key[i]]++] = (uint16_t)i;
    d->next = 0;
    d->total = next;
}

/* The next item into a free lane. */
static void load(struct dealing *d, size_t lane)
{
    size_t i = d->order[d->next++];
    d->item[lane] = d->first + i;
    d->left[lane] = d->key[i] < KEYS - 1 ? d->key[i] : d->ops->length(d->run, d->first + i);
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

void deal(const struct deal_ops *ops, void *run, size_t count)
{
    MUST(ops->lanes <= DEAL_LANES_MAX);
    struct dealing d LEFT_AS_IS;
    d.ops = ops;
    d.run = run;
    for (d.first = 0; d.first < count; d.first += BATCH) {
        sort(&d, count - d.first < BATCH ? count - d.first : BATCH);
        d.active = 0;
        while (d.active < ops->lanes && d.next < d.total)
            load(&d, d.active++);
        while (d.active > 0)
            advance(&d);
    }
}
