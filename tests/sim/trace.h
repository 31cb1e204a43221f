/*
 * trace: what happened in a run, in sentences, and a hash over everything that happened.
 *
 * Every event goes into the hash, whether its sentence is kept or not; two runs of one seed are
 * the same run if their hashes are the same. Sentences are only made when somebody wants to read
 * them (a failing seed is run again for that). No address, process id, real time or directory of
 * the host may come into either.
 *
 * The trace lies in memory that a forked copy of the program shares, so what an image does is told
 * in the same story.
 *
 * Uses: libc. One thread.
 */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

#define TRACE_TEXT_MAX (8 * 1024 * 1024)

struct trace {
    uint64_t hash;
    bool telling; /* sentences are kept */
    bool fully;   /* with every disk step, TPM command and log line of the signer */
    bool cut;     /* there was no more room */
    size_t len;
    uint64_t step;   /* number of the operation that runs */
    size_t steps_at; /* where its story begins */
    char text[TRACE_TEXT_MAX];
};

/** Begin a run. */
void trace_start(struct trace *t, bool telling, bool fully);

/** A small event: two numbers into the hash. */
static inline void trace_event(struct trace *t, uint64_t what, uint64_t number)
{
    t->hash = (t->hash ^ what ^ (number << 8)) * UINT64_C(0x100000001b3);
    t->hash ^= t->hash >> 29;
}

/** A sentence about operation number t->step, at virtual time now_ns. */
void trace_say(struct trace *t, int64_t now_ns, const char *format, ...) PRINTF_LIKE(3, 4);

/** A detail below a sentence; kept only if the story is told fully. */
void trace_detail(struct trace *t, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
