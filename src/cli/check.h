/*
 * check: a signature over a file, verified offline. Used by verify, and by sign before it writes.
 *
 * Uses: base, hbs (the verifying half), policy (names of messages). One thread, blocking.
 */
#ifndef CLI_CHECK_H
#define CLI_CHECK_H

#include "cli/exit.h"
#include "cli/input.h"
#include "hbs/public.h"
#include "policy/plan.h"

/** Bytes of a public key file, in any form and with blank lines around it. */
#define CHECK_PUBLIC_FILE_MAX 8192

/**
 * Read a public key file: raw, DER or PEM, told apart by content.
 * @param[in] scheme  What the key must be, which also tells raw XMSS from raw XMSS^MT; 0 to guess.
 * @retval CLI_USAGE  It cannot be read, or is no public key that we know.
 */
enum cli_exit check_public_read(struct hbs_public *key, enum hbs_scheme scheme, const char *path,
                                struct cli_fault *fault) MUST_CHECK;

#define CHECK_NAME_SIZE 64

/**
 * "LMS_SHA256_M24_H20/W8", with " (2 levels)" behind it if there are more than one; or
 * "XMSSMT-SHA2_20/2_256".
 */
void check_name(char text[CHECK_NAME_SIZE], const struct hbs_public *key);

/** Digest that a plan's message is; PLAN_RAW has none (MUST). */
enum digest_kind check_digest_kind(enum plan_message message);

/**
 * Verify a signature over a file, which is read once, in pieces.
 * @param[in]  message  What was signed: the bytes of the file, or their digest.
 * @param[out] index    Index in the signature (all levels as one number), if it verifies.
 * @retval CLI_NO        Not a signature of this file by this key; the text says why.
 * @retval CLI_USAGE     The file cannot be read.
 * @retval CLI_INTERNAL  No memory.
 */
enum cli_exit check_file(const struct hbs_public *key, const uint8_t *sig, size_t sig_len,
                         enum plan_message message, const struct input *input,
                         const struct out *out, uint64_t *index,
                         struct cli_fault *fault) MUST_CHECK;

/** The same over bytes that are at hand: a digest. */
enum cli_exit check_bytes(const struct hbs_public *key, const uint8_t *sig, size_t sig_len,
                          const uint8_t *message, size_t len, uint64_t *index,
                          struct cli_fault *fault) MUST_CHECK;

#endif
