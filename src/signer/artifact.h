/*
 * artifact: what a request wants signed: bytes behind a file handle, or a digest.
 *
 * The core reads the handle itself; the front's digest is only a claim (attack 10). A handle is
 * read twice for raw plans: once to know the artifact, once with the index in front. The second
 * pass hashes the artifact again, so that a spool file changed in between cannot make a signature
 * that differs from its receipt.
 *
 * Uses: base, hbs, policy (the message mode). Threads: any; blocking on file reads.
 */
#ifndef SIGNER_ARTIFACT_H
#define SIGNER_ARTIFACT_H

#include "hbs/branch.h"
#include "policy/plan.h"
#include "signer/request.h"

struct artifact {
    int fd;                 /* -1 if the request gave a digest; borrowed */
    enum plan_message mode; /* of the plan that it was opened for */
    uint64_t size;
    uint8_t sha256[SHA256_LEN];      /* names the artifact in ledger and answers */
    uint8_t message[DIGEST_LEN_MAX]; /* digest plans: the bytes that are signed */
    size_t message_len;              /* 0 for raw plans */
};

/**
 * Look at a request's body: hash the handle, or take over the digest.
 * @param[in] fd  Handle of a REQUEST_BODY_HANDLE request, else -1. Borrowed as long as *artifact
 * lives.
 * @retval RC_REFUSED_INPUT   Body and plan do not fit: a digest where the plan signs raw bytes, a
 *                            digest of another kind, or a handle that is no regular file.
 * @retval RC_REFUSED_DIGEST  The claimed digest is not that of the bytes.
 * @retval RC_RETRY_SYSTEM    The handle cannot be read, or no memory.
 */
enum rc artifact_open(struct artifact *artifact, const struct request *request, int fd,
                      enum plan_message mode, struct err *err) MUST_CHECK;

/**
 * The artifact that a preview asks about, as far as it was said: all but mode is zero without a
 * digest. Nothing can be signed with it.
 * @retval RC_REFUSED_INPUT  A digest that cannot name an artifact under this plan.
 */
enum rc artifact_of_preview(struct artifact *artifact, const struct request *request,
                            const struct plan *plan, struct err *err) MUST_CHECK;

/**
 * The value that the one-time key of an index would sign: the message hashed as the scheme says.
 * @param[in]  c      Randomizer of the index.
 * @param[out] value  n bytes.
 * @retval RC_REFUSED_DIGEST  The handle's bytes are not those of artifact_open() any more.
 * @retval RC_RETRY_SYSTEM    The handle cannot be read, or no memory.
 */
enum rc artifact_value(const struct artifact *artifact, const struct hbs_branch *branch,
                       uint64_t index, const uint8_t *c, uint8_t *value,
                       struct err *err) MUST_CHECK;

#endif
