/*
 * kernel_deal: deals work of unequal length out to lanes, so that the lanes stay full.
 *
 * The longest item goes first. Where there are many items of a length, whole rows of lanes begin
 * and end nearly together, and are loaded and stored together. The rest runs as many steps at a
 * time as the shortest lane has, and what is done makes room for the next item. At the end, when
 * lanes run empty, only short items are left. Lanes in use are always the first ones.
 *
 * Uses: base. Only for kernel_*.c. Pure but for the functions it is given; any thread. Lengths and
 * numbers of items are public, and it sees nothing else.
 */
#ifndef HBS_KERNEL_DEAL_H
#define HBS_KERNEL_DEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEAL_LANES_MAX 32
#define DEAL_BATCH 2176 /* items that are sorted together */
#define DEAL_FRAME 1024 /* bytes of stack that deal() lays between its caller and a kernel */

/** What a kernel brings. run is the caller's and holds lanes and items. */
struct deal_ops {
    size_t lanes; /* 1 … DEAL_LANES_MAX */
    /* Steps of the items first … first + count - 1, and returns the most of them. */
    uint32_t (*lengths)(const void *run, size_t first, size_t count, uint32_t *steps);
    void (*load)(void *run, size_t lane, size_t item);
    void (*store)(void *run, size_t lane, size_t item); /* all its steps are done */
    void (*move)(void *run, size_t to, size_t from);    /* one lane's item to a free lane */
    /* `steps` steps (1 or more) of the first `active` lanes (1 or more). */
    void (*steps)(void *run, size_t active, size_t steps);
    /* All `lanes` lanes at once; lanes from … to - 1. NULL, both: one after the other. */
    void (*load_row)(void *run, const size_t *items);
    void (*store_row)(void *run, size_t from, size_t to, const size_t *items);
    /* An item of no steps, which is never loaded. NULL: nothing is to be done. */
    void (*idle)(void *run, size_t item);
};

/** State of deal(). Its caller has the memory, above what it wipes behind a kernel. */
struct dealing {
    const struct deal_ops *ops;
    void *run;
    size_t first; /* item of the batch */
    size_t next;  /* of order, to be loaded */
    size_t total; /* of order that have steps to do */
    size_t active;
    size_t item[DEAL_LANES_MAX];
    size_t left[DEAL_LANES_MAX]; /* steps */
    uint32_t steps[DEAL_BATCH];
    uint16_t order[DEAL_BATCH]; /* items of the batch, longest first */
};

/**
 * Run items 0 … count - 1, in any order; none may depend on another one.
 * @param[out] d  Needs no value before, and has none that counts afterwards.
 */
void deal(struct dealing *d, const struct deal_ops *ops, void *run, size_t count);

#endif
