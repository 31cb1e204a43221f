/*
 * artifact: what a request wants signed: bytes that came in its message, or behind a file handle,
 * or a digest.
 *
 * The core hashes them itself; the front's digest is only a claim (attack 10). For raw plans what
 * is signed begins with the index, which is known later than the digest. A body that came in the
 * message is the core's own, and one in a sealed memory file is mapped: it stays where it is until
 * it is signed, is read once, and nobody can change it. Of a spool file, if the index is foreseen,
 * one look finds both, else a second one follows, which hashes the artifact again, so that a file
 * changed in between cannot make a signature that differs from its receipt. Looking at a large
 * artifact takes as long as its disk does, so it is left to another thread than the signer's
 * (struct artifact_pass), and the first one is taken while the artifact still arrives (struct
 * artifact_look, follow.h).
 *
 * Uses: base, hbs, policy (the message mode). Threads: any; blocking on file reads.
 */
#ifndef SIGNER_ARTIFACT_H
#define SIGNER_ARTIFACT_H

#include "hbs/branch.h"
#include "policy/plan.h"
#include "signer/request.h"

/** More bytes than this are not hashed by a thread that others wait for. */
#define ARTIFACT_LARGE (1024 * 1024)

/** The value of an artifact at one index, once a pass has found it. */
struct artifact_at {
    bool known;
    uint64_t index;
    uint8_t c[HBS_N_MAX]; /* derived from secret and index: equal ones mean one window and tree */
    uint8_t value[HBS_N_MAX];
};

struct artifact {
    int fd;                 /* -1 if the request gave a digest, or bytes are there; borrowed */
    const uint8_t *bytes;   /* all of it, and nobody can change them; borrowed; NULL: see fd */
    enum plan_message mode; /* of the plan that it was opened for */
    uint64_t size;
    uint8_t sha256[SHA256_LEN];      /* names the artifact in ledger and answers */
    uint8_t message[DIGEST_LEN_MAX]; /* digest plans: the bytes that are signed */
    size_t message_len;              /* 0 for raw plans */
    struct artifact_at at;           /* known after a pass, or an artifact_open_for() with one */
};

/** A second look at an artifact, on its way to the thread that takes it. */
struct artifact_pass {
    struct hbs_message message; /* with what stands before the artifact in it */
    uint64_t index;
    uint8_t c[HBS_N_MAX];
};

/** A first look that takes its time: the hashes of the bytes that were read so far. */
struct artifact_look {
    enum plan_message mode;
    uint64_t done; /* bytes */
    struct digest sha256;
    struct digest other;       /* open if the plan signs another digest than that */
    struct artifact_pass pass; /* open if the value at an index is found, too */
};

/**
 * Look at a request's body: hash what is behind the handle, or take over the digest.
 * @param[in] fd  Handle of a REQUEST_BODY_BYTES request, else -1. Borrowed as long as *artifact
 * lives.
 * @retval RC_REFUSED_INPUT   Body and plan do not fit: a digest where the plan signs raw bytes, a
 *                            digest of another kind, or a handle that is no regular file.
 * @retval RC_REFUSED_DIGEST  The claimed digest is not that of the bytes.
 * @retval RC_RETRY_SYSTEM    The handle cannot be read, or no memory.
 */
enum rc artifact_open(struct artifact *artifact, const struct request *request, int fd,
                      enum plan_message mode, struct err *err) MUST_CHECK;

/**
 * The bytes of a body that lies in a sealed memory file.
 * @return body_len bytes, artifact_unmap() them; they need the handle no more. NULL: it is another
 * kind of handle, an empty or a large one, or there is no memory; artifact_open() says what is
 * wrong, if anything is.
 */
const uint8_t *artifact_map(const struct request *request, int fd) MUST_CHECK;

/** Fine with NULL. */
void artifact_unmap(const struct request *request, const uint8_t *bytes);

/**
 * As artifact_open(), for bytes that nobody can change.
 * @param[in] bytes  request->body_len. Borrowed as long as *artifact lives.
 */
enum rc artifact_open_bytes(struct artifact *artifact, const struct request *request,
                            const uint8_t *bytes, enum plan_message mode,
                            struct err *err) MUST_CHECK;

/**
 * The same as artifact_open(), and in the same look the value at the index that a pass is open for:
 * if that is the one which signs, no second look is needed.
 * @param[in,out] pass  Closed afterwards; one that is not open, and any but under a raw plan, is
 * left out.
 */
enum rc artifact_open_for(struct artifact *artifact, const struct request *request, int fd,
                          enum plan_message mode, struct artifact_pass *pass,
                          struct err *err) MUST_CHECK;

/**
 * Begin a look for which no request is needed yet. Close it with artifact_look_close(), also after
 * a failure.
 * @param[in,out] pass  As for artifact_open_for(): moved into the look or closed. NULL: none.
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc artifact_look_open(struct artifact_look *look, enum plan_message mode,
                           struct artifact_pass *pass, struct err *err) MUST_CHECK;

/**
 * Go on with it: each byte is read once, and goes into all hashes.
 * @param[in] fd   The same each time. Borrowed for the call.
 * @param[in] end  As far, at least look->done.
 * @retval RC_RETRY_SYSTEM  The handle cannot be read, or has fewer bytes. look->done says how far
 * it came.
 */
enum rc artifact_look_read(struct artifact_look *look, int fd, uint64_t end,
                           struct err *err) MUST_CHECK;

/**
 * As artifact_open_for(), for a handle that was looked at in part, under the look's mode: only the
 * rest is read.
 * @param[in] fd  Of the same file. Borrowed as long as *artifact lives.
 */
enum rc artifact_open_rest(struct artifact *artifact, const struct request *request, int fd,
                           struct artifact_look *look, struct err *err) MUST_CHECK;

/** Fine on a zeroed struct and twice. For CLEANUP(). */
void artifact_look_close(struct artifact_look *look);

/**
 * The artifact that a preview asks about, as far as it was said: all but mode is zero without a
 * digest. Nothing can be signed with it.
 * @retval RC_REFUSED_INPUT  A digest that cannot name an artifact under this plan.
 */
enum rc artifact_of_preview(struct artifact *artifact, const struct request *request,
                            const struct plan *plan, struct err *err) MUST_CHECK;

/** Would the value at this index have to be read from the handle, and is that long work? */
bool artifact_is_long(const struct artifact *artifact, const struct hbs_branch *branch,
                      uint64_t index, const uint8_t *c) MUST_CHECK;

/**
 * Prepare the second look for an index. Nothing is taken: the index stays whosever it is.
 * @param[in,out] pass  Zeroed, or used before; artifact_pass_close() it.
 * @param[in]     c     Randomizer of the index.
 * @retval RC_RETRY_SYSTEM  No memory.
 */
enum rc artifact_pass_open(struct artifact_pass *pass, const struct hbs_branch *branch,
                           uint64_t index, const uint8_t *c, struct err *err) MUST_CHECK;

/**
 * Take it: artifact->at is known afterwards. Closes the pass, whatever it returns. Any thread, and
 * no branch is needed any more.
 * @retval RC_REFUSED_DIGEST  The handle's bytes are not those of artifact_open() any more.
 * @retval RC_RETRY_SYSTEM    The handle cannot be read, or no memory.
 */
enum rc artifact_pass_run(struct artifact_pass *pass, struct artifact *artifact,
                          struct err *err) MUST_CHECK;

/** Was it opened, and not run yet? */
bool artifact_pass_is_open(const struct artifact_pass *pass) MUST_CHECK;

/** Fine on a zeroed struct and twice. For CLEANUP(). */
void artifact_pass_close(struct artifact_pass *pass);

/**
 * The value that the one-time key of an index would sign: the message hashed as the scheme says, or
 * what a pass has found for this very index.
 * @param[in]  c      Randomizer of the index.
 * @param[out] value  n bytes.
 * @retval RC_REFUSED_DIGEST  The handle's bytes are not those of artifact_open() any more.
 * @retval RC_RETRY_SYSTEM    The handle cannot be read, or no memory.
 */
enum rc artifact_value(const struct artifact *artifact, const struct hbs_branch *branch,
                       uint64_t index, const uint8_t *c, uint8_t *value,
                       struct err *err) MUST_CHECK;

#endif
