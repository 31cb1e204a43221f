/*
 * pulse: how the supervisor knows that front and core are alive, and what the core is up to.
 *
 * One page of memory for each child, shared with the supervisor and with nobody else. The child
 * says now and then, from the thread whose work matters, that it has come round again; the
 * supervisor looks whenever it likes. No message, so nothing to block on, to lose or to spoil, and
 * nothing that the supervisor has to parse.
 *
 * Uses: libc. Any thread; every member is atomic and means something by itself.
 */
#ifndef BASE_PULSE_H
#define BASE_PULSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pulse {
    atomic_uint_fast64_t beats; /* how often the child has come round; 0: not once yet */
    atomic_bool long_work;      /* it opens keys, which builds trees and may take many minutes */
    atomic_uint state;          /* the core's: enum service_state */
};

/** The child has come round. NULL, a child that nobody watches, is fine. */
static inline void pulse_beat(struct pulse *pulse)
{
    if (pulse != NULL)
        (void)atomic_fetch_add(&pulse->beats, 1);
}

/** From here on, or no longer, no beat is due. NULL is fine. */
static inline void pulse_long_work(struct pulse *pulse, bool on)
{
    if (pulse != NULL)
        atomic_store(&pulse->long_work, on);
}

/** What a client who asks for the state is told. NULL is fine. */
static inline void pulse_state(struct pulse *pulse, uint32_t state)
{
    if (pulse != NULL)
        atomic_store(&pulse->state, state);
}

#endif
