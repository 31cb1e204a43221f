/*
 * follow: large artifacts that are hashed while they still arrive.
 *
 * The front announces a body when it begins to store it (REQUEST_UPLOAD), and one thread of the
 * core reads each file that was announced as it grows. The request that comes when all is there
 * finds most of the work done: follow_take() hands over what was hashed, and only the rest is read.
 * An announcement is a hint and no more: nothing is promised or used for it, whoever stops sending
 * is forgotten, and a request without one is looked at from the beginning, as before.
 *
 * What has been read is sent to the disk at once and then leaves the page cache, so an upload of
 * any length needs FOLLOW_KEEP of it, and others who wait for the disk do not wait for all of it.
 *
 * Nothing the front says is believed here: each byte is read once, by the core, and goes into all
 * hashes; the file it changes afterwards is not the one that is signed (attack 10).
 *
 * Uses: artifact. Threads: follow_turn() and follow_run() on one; the others on any, at any time.
 */
#ifndef SIGNER_FOLLOW_H
#define SIGNER_FOLLOW_H

#include "signer/artifact.h"

#define FOLLOW_MAX 16                            /* artifacts at a time; others are not followed */
#define FOLLOW_STEP (UINT64_C(4) * 1024 * 1024)  /* bytes of one in a turn */
#define FOLLOW_KEEP (UINT64_C(64) * 1024 * 1024) /* bytes behind the reader that stay in memory */
#define FOLLOW_IDLE_MS 10                        /* between two turns in which nothing had come */
#define FOLLOW_IDLE_TURNS 3000 /* so many in a row, and who was announced is forgotten */

struct follow; /* opaque: follow_open() makes it, follow_close() ends it */

/** @retval RC_RETRY_SYSTEM  No memory. *follow is NULL then. */
enum rc follow_open(struct follow **follow, struct err *err) MUST_CHECK;

/** Nobody may be in follow_run(), which never ends. NULL is fine. For CLEANUP(). */
void follow_close(struct follow **follow);

/**
 * Follow the artifact that this request announces, if there is room.
 * @param[in]     request  A REQUEST_UPLOAD; its key and body_len count. Copied.
 * @param[in,out] fd       Of the file that grows. Taken, or closed.
 * @param[in]     mode     How the key takes its messages.
 * @param[in,out] pass     For the index that it is likely to sign at, or not open. Taken, or
 * closed.
 */
void follow_begin(struct follow *follow, const struct request *request, int *fd,
                  enum plan_message mode, struct artifact_pass *pass);

/**
 * Take over what was hashed of a request's artifact: the same file, length, key and mode. It is
 * followed no more. Waits for at most one step.
 * @param[in]  fd    Of the file. Borrowed for the call.
 * @param[out] look  For artifact_open_rest(); artifact_look_close() it. Zeroed unless true.
 * @return false: nobody announced it, or it was forgotten.
 */
bool follow_take(struct follow *follow, const struct request *request, int fd,
                 enum plan_message mode, struct artifact_look *look) MUST_CHECK;

/** Read on once in each artifact. @return bytes that were read. */
uint64_t follow_turn(struct follow *follow);

/** Turns without end; it sleeps while there is nothing to follow. */
_Noreturn void follow_run(struct follow *follow);

#endif
