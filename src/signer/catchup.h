/*
 * catchup: W passes the windows that nobody asked for, in turns.
 *
 * W moves by single increments, of 10 to 100 ms each on a chip, so a device that was off for years
 * would be at it for minutes. Requests for the key are answered with how far it has come; between
 * its turns other keys are served, and the service can be stopped. Nothing is remembered of it: W
 * says how far it has come, and the next request after a stop or a crash goes on from there.
 *
 * Uses: allocate. Threads: signer thread. Keeps I3, I6 through allocate_skip_some().
 */
#ifndef SIGNER_CATCHUP_H
#define SIGNER_CATCHUP_H

#include "signer/allocate.h"

#define CATCH_UP_STEPS 256 /* in one turn, at most; and two seconds */
#define CATCH_UP_TEXT 80

/**
 * One turn towards a window that may be opened now.
 * @param[in] window  Above the floor.
 * @param[in] steps   At most so many; 0: CATCH_UP_STEPS.
 * @retval RC_OK              It is the next window, and secrets of those before the last are
 *                            destroyed.
 * @retval RC_RETRY_STARTING  More turns are needed; the text says how far it is.
 * @retval RC_HALT_…          As allocate_open_window().
 */
enum rc catch_up_to(const struct allocator *alloc, int64_t window, int64_t steps,
                    struct err *err) MUST_CHECK;

/** Is a key on its way, and how far is it: "catching up: window 812 of 4320". */
bool catching_up(const struct key *key, char text[CATCH_UP_TEXT]);

/**
 * The next turn of a key that is on its way, if nobody asks for it.
 * @return RC_OK or RC_HALT_…
 */
enum rc catch_up_turn(const struct allocator *alloc, int64_t steps, struct err *err) MUST_CHECK;

#endif
