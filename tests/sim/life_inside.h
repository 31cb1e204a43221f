/*
 * life_inside: what the two halves of life.h share: life_ask.c, how requests are asked again and
 * again, and life.c, how a life begins, is gone on with and is judged. For these two only.
 */
#ifndef TESTS_SIM_LIFE_INSIDE_H
#define TESTS_SIM_LIFE_INSIDE_H

#include "sim/life.h"

#define DAY INT64_C(86400)
#define LAST_WINDOW 7

/* The life that is lived. */
struct living {
    const struct life *life;
    struct rig *rig;
    struct progress now;
    unsigned crashes;
    struct answer expected[MOMENT_ACTS][MOMENT_ASKS];
    struct ask asks[MOMENT_ASKS];
    uint64_t refused, harmless;
};

extern struct living live;

bool life_by_version(void);
bool life_by_clock(void);

/* A moment in a window, and the window in which the clock stands. */
int64_t life_in_window(unsigned window);
unsigned life_clock(void);

/* The request that an ask of a script stands for: 0 or 1; and it, written out. */
unsigned life_number(char which);
void life_request(struct ask *a, char which);
void life_clear(struct ask *a);

/* Start the signer. @return why the key does not sign; or fail the test then. */
enum rc life_open(void);
void life_must_open(void);

/* Before the life begins: what `backup check` leaves of an export that covers window 7. */
void life_acknowledge(void);

/* One act, to its final answers. @param[in] begun  An earlier life was cut in it. */
void life_play(unsigned act, bool begun);

#endif
