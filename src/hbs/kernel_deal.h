/*
 * kernel_deal: deals work of unequal length out to lanes, so that the lanes stay full.
 *
 * The longest item goes first, all lanes run as many steps as the shortest one of them has left,
 * and what is done makes room for the next item. At the end, when lanes run empty, only short items
 * are left. Lanes in use are always the first ones.
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
#define DEAL_FRAME 10240 /* bytes of stack that deal() lays between its caller and a kernel */

/** What a kernel brings. run is the caller's and holds lanes and items. */
struct deal_ops {
    size_t lanes; /* 1 … DEAL_LANES_MAX */
    /* Steps of an item; an item of no steps is never loaded. */
    size_t (*length)(const void *run, size_t item);
    void (*load)(void *run, size_t lane, size_t item);
    void (*store)(void *run, size_t lane, size_t item); /* all its steps are done */
    void (*move)(void *run, size_t to, size_t from);    /* one lane's item to a free lane */
    /* `steps` steps (1 or more) of the first `active` lanes (1 or more). */
    void (*steps)(void *run, size_t active, size_t steps);
};

/** Run items 0 … count - 1, in any order; none may depend on another one. */
void deal(const struct deal_ops *ops, void *run, size_t count);

#endif
