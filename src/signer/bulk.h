/*
 * bulk: many signing requests in one message (REQUEST_BATCH), each by its digest and each with an
 * answer of its own.
 *
 * They are read once out of the front's file, become jobs like any others, and share the commits of
 * batch.h. The one thing that they have in common is the look before: if a window cannot hold all
 * that would be new in it, none is signed. Everything behind that look is the way of single
 * requests, so sending a message again is as safe: by version, or by idempotency key.
 *
 * Uses: batch. Threads: signer thread.
 */
#ifndef SIGNER_BULK_H
#define SIGNER_BULK_H

#include "signer/batch.h"

struct bulk {
    size_t count;
    struct request requests[REQUEST_BATCH_MAX];
    struct reply replies[REQUEST_BATCH_MAX];
    struct job jobs[REQUEST_BATCH_MAX];
};

/**
 * Read the items behind a message.
 * @param[out] bulk     malloc'ed; bulk_free() it. NULL unless RC_OK.
 * @param[in]  request  The message (request_check() has passed it); each item takes over its key,
 *                      ids and requester.
 * @param[in]  fd       Its file, if bytes is NULL. Borrowed, and not read again.
 * @param[in]  bytes    request->body_len bytes that stood behind the message, or NULL. Borrowed.
 * @retval RC_REFUSED_INPUT  The file is no list of items, or an item is none; the text says which.
 * @retval RC_RETRY_SYSTEM   No memory, or the file cannot be read.
 */
enum rc bulk_read(struct bulk **bulk, const struct request *request, int fd, const void *bytes,
                  struct err *err) MUST_CHECK;

/** Free it with the signatures of its jobs. NULL is fine. For CLEANUP(). */
void bulk_free(struct bulk **bulk);

/**
 * May these jobs be signed together? Opens their artifacts (one that does not fit the plan refuses
 * its job alone), and counts what would be new in each window.
 * @param[in,out] whole  On RC_RETRY_WINDOW_FULL: window, limit, and when it may be tried again.
 * @retval RC_OK                 Yes. Time may pass and change that; then single jobs are refused.
 * @retval RC_RETRY_WINDOW_FULL  A window cannot hold what is new. Nothing was used.
 * @retval RC_REFUSED_TOO_LARGE  Nor could any other window of the time plan; the text says how many
 *         one holds. Nothing was used.
 * @retval RC_HALT_…             The ledger cannot be read.
 */
enum rc bulk_fits(struct batch *b, struct job *jobs, size_t count, struct reply *whole,
                  struct err *err) MUST_CHECK;

/** True if every job has its answer. */
bool bulk_done(const struct bulk *bulk);

/** True if all were refused for one reason that is not theirs: the answer of the first is that of
 * all. */
bool bulk_refused_whole(const struct bulk *bulk);

/**
 * The answers as one payload: bulk->count times struct reply, and then the signatures in that order
 * (reply.payload_len bytes of each).
 * @param[out] payload  malloc'ed.
 * @retval RC_HALT_SYSTEM  No memory. What was signed stays signed: asking again gives it.
 */
enum rc bulk_pack(struct bulk *bulk, void **payload, size_t *len, struct err *err) MUST_CHECK;

#endif
