/*
 * core_link: the socket to the core, and the table of what was asked and not yet answered.
 *
 * HTTP threads submit jobs; one thread of the link receives replies and calls each job's done().
 * When the core goes away every job in flight ends at once, and each says whether the core may have
 * seen it. A reply counts only if number, generation and operation are those of a job in flight;
 * anything else is dropped with its handle, so a late or foreign reply can never answer a request.
 *
 * Uses: base, signer/request.h. One lock, held for table and socket only, never while done() runs.
 */
#ifndef HTTP_CORE_LINK_H
#define HTTP_CORE_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "signer/request.h"

enum job_end {
    JOB_IDLE,     /* not submitted */
    JOB_RUNNING,  /* the link has it; hands off */
    JOB_ANSWERED, /* reply is there, and payload if reply.payload_len > 0 */
    JOB_UNSENT,   /* no core, or none that took it in time: nothing happened */
    JOB_LOST,     /* sent, then the core went away: the outcome is unknown */
    JOB_LATE      /* sent, no answer within the deadline: the outcome is unknown */
};

struct core_job {
    /* by the caller, before core_link_submit() */
    struct request request; /* magic, generation and number are filled in by the link */
    int body;               /* handle to pass along, or -1. The link takes and closes it */
    uint8_t *behind;   /* or bytes of the body, request.body_len; malloc'ed, or NULL. So here */
    uint64_t deadline; /* tick at which to give up */
    void (*done)(struct core_job *job); /* called once, on any thread, after the end is set */
    /* by the link, readable from done() on */
    enum job_end end;
    struct reply reply;
    int payload;    /* sealed memory file, or -1. The caller closes it */
    uint8_t *bytes; /* payload that came in the reply's message, or NULL. The caller frees it */
    /* the link's own */
    bool sent;
    struct core_job *next;
};

struct core_link; /* opaque: core_link_open() makes it, core_link_close() ends it */

/**
 * @param[in] jobs_max   Jobs of all kinds in flight, 1 … 65536.
 * @param[in] signs_max  Jobs in flight that may sign, 1 … jobs_max.
 * @retval RC_RETRY_SYSTEM  No memory, handle or thread.
 */
enum rc core_link_open(struct core_link **link, uint32_t jobs_max, uint32_t signs_max,
                       struct err *err) MUST_CHECK;

/** End all jobs, stop the thread, refuse new jobs; core_link_close() then frees. NULL is fine. */
void core_link_stop(struct core_link *link);
void core_link_close(struct core_link **link);

/** Talk to this core from now on. Jobs in flight at the one before it end. Takes the handle. */
void core_link_attach(struct core_link *link, int fd, uint64_t generation);

/**
 * Send a job to the core, now or as soon as the socket has room.
 * On RC_OK the job belongs to the link until done() is called, which may happen before this
 * returns. Otherwise nothing happened, the body is let go of, and done() is not called.
 * @retval RC_RETRY_STARTING  There is no core.
 * @retval RC_RETRY_BUSY      The table is full.
 * @retval RC_REFUSED_EXISTS  A signing request with this key and idempotency key is in flight.
 */
enum rc core_link_submit(struct core_link *link, struct core_job *job, struct err *err) MUST_CHECK;

/**
 * Tell the core something that it does not answer, if there is one and its socket has room now.
 * @param[in] request  As for a job.
 * @param[in] body     Handle to pass along. Borrowed.
 */
void core_link_tell(struct core_link *link, const struct request *request, int body);

/** True if no further signing request would be taken now. */
bool core_link_full(struct core_link *link) MUST_CHECK;

/** True while a core is attached; *ever says whether one has been at any time. */
bool core_link_up(struct core_link *link, bool *ever) MUST_CHECK;

/** End the jobs whose deadline has passed. Any thread. */
void core_link_tick(struct core_link *link, uint64_t now);

#endif
