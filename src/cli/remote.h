/*
 * remote: hash an artifact for a reservation of the service, so that it need not be uploaded.
 *
 * Uses: hbs (hashes), input. One thread, blocking.
 */
#ifndef CLI_REMOTE_H
#define CLI_REMOTE_H

#include <jansson.h>

#include "base/bytes.h"
#include "base/lease.h"
#include "cli/input.h"

#define REMOTE_HASH_MAX 32 /* bytes */

/**
 * Hash what the reservation says comes before the artifact, and the artifact, with progress.
 * @param[in]  reservation  The service's answer, with "prefix" and "hash".
 * @param[in]  sha256       What was reserved for: the artifact's SHA-256, which is looked at again,
 *                          since nobody else can.
 * @param[out] hex          Of the hash, in lower case; "" unless CLI_OK.
 * @retval CLI_INTERNAL  The reservation cannot be read, or names a hash that is not known here; or
 *                       no memory.
 * @retval CLI_USAGE     The artifact cannot be read, or is another one than was reserved for.
 */
enum cli_exit remote_hash(const json_t *reservation, const uint8_t sha256[SHA256_LEN],
                          const struct input *input, const struct out *out,
                          char hex[HEX_SIZE(REMOTE_HASH_MAX)], struct cli_fault *fault) MUST_CHECK;

#endif
