/*
 * spool: where the body of one request lies until all of it is there.
 *
 * The smallest bodies lie in plain memory and go to the core in the message of their request, small
 * ones in a sealed memory file, large ones in a nameless file of the spool folder, which vanishes
 * with its last handle: a broken upload leaves nothing behind. What comes in pieces of some KiB is
 * gathered before it is written there, if there is memory for that. SHA-256 runs along (and
 * SHA-512, if the client promised one).
 *
 * Uses: base, signer/request.h. A struct spool belongs to one thread.
 */
#ifndef HTTP_SPOOL_H
#define HTTP_SPOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/rc.h"
#include "http/fields.h"

#define SPOOL_GATHER ((size_t)256 * 1024) /* bytes of a file that are written at once */

struct spool {
    int fd;         /* -1 when closed, or where the bytes are here */
    uint8_t *bytes; /* or NULL; malloc'ed */
    bool in_memory;
    uint8_t *gathered; /* SPOOL_GATHER, of which the last few bytes are not written; or NULL */
    size_t waiting;    /* so many */
    uint64_t expected; /* bytes that Content-Length promised */
    uint64_t len;      /* bytes that arrived */
    struct digest sha256;
    struct digest sha512; /* open if it was asked for */
};

/** A closed spool: also what a struct spool must be initialised with. */
#define SPOOL_CLOSED ((struct spool){.fd = -1})

/**
 * Start a spool.
 * @param[in] expected    Content-Length.
 * @param[in] memory_max  Up to this length the body lies in memory: without a file up to
 *                        REQUEST_BEHIND_MAX.
 * @param[in] dirfd       Folder for larger ones. Borrowed for the call.
 * @param[in] sha512      Compute that, too.
 * @retval RC_RETRY_SYSTEM  No memory, handles or room. The spool is closed.
 */
enum rc spool_open(struct spool *spool, uint64_t expected, uint64_t memory_max, int dirfd,
                   bool sha512, struct err *err) MUST_CHECK;

/**
 * Gather what is appended from now on, and write it in large pieces: a file system takes those much
 * faster. For a spool in a file to which nothing was appended. Without memory nothing changes.
 */
void spool_gather(struct spool *spool);

/**
 * Append bytes. The last ones that were promised bring all of it into the file.
 * @retval RC_REFUSED_TOO_LARGE  More than was promised.
 * @retval RC_RETRY_SYSTEM       No room; err->native is the errno. The spool holds a part only.
 */
enum rc spool_write(struct spool *spool, const void *data, size_t len, struct err *err) MUST_CHECK;

/**
 * The body is complete: seal it and check what the client promised. Call it once.
 * @param[in]  promised  From Content-Digest.
 * @param[out] sha256    SHA256_LEN bytes, of the body. All zero unless RC_OK.
 * @retval RC_REFUSED_INPUT   Fewer bytes than promised.
 * @retval RC_REFUSED_DIGEST  A promised digest does not match.
 * @retval RC_RETRY_SYSTEM    The memory file could not be sealed.
 */
enum rc spool_finish(struct spool *spool, const struct content_digest *promised,
                     uint8_t sha256[SHA256_LEN], struct err *err) MUST_CHECK;

/** Is there a place for the body? */
bool spool_is_open(const struct spool *spool) MUST_CHECK;

/** Read back all that was written, spool->len bytes. @return false: it cannot be read. */
bool spool_read(const struct spool *spool, void *out) MUST_CHECK;

/**
 * Hand the body over: the handle, which the caller closes, or the bytes. The spool is closed.
 * @param[out] bytes  malloc'ed; NULL if there is a handle.
 * @return The handle, or -1.
 */
int spool_take(struct spool *spool, uint8_t **bytes) MUST_CHECK;

/** Drop everything; fine on a closed spool. For CLEANUP(). */
void spool_close(struct spool *spool);

#endif
