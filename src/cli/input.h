/*
 * input: files that the user names: small ones read whole, artifacts read in pieces.
 *
 * Every failure is CLI_USAGE: the file that was named cannot be used, and the text says why.
 * Uses: base. One thread, blocking.
 */
#ifndef CLI_INPUT_H
#define CLI_INPUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/rc.h"
#include "cli/exit.h"
#include "cli/out.h"

/**
 * Read a small file, or standard input for "-".
 * @param[in]  what      What it is, for the message: "plan", "public key".
 * @param[in]  max       Bytes at most.
 * @param[out] data      malloc'ed, NUL-terminated; the caller frees it. NULL unless CLI_OK.
 * @retval CLI_USAGE     Missing, unreadable, a folder, or longer than max.
 * @retval CLI_INTERNAL  No memory.
 */
enum cli_exit input_read(const char *path, const char *what, size_t max, char **data, size_t *len,
                         struct cli_fault *fault) MUST_CHECK;

/**
 * The same without a complaint about long files: of those, the first max bytes.
 * For forms whose reader knows how long they are and refuses anything longer.
 */
enum cli_exit input_read_first(const char *path, size_t max, char **data, size_t *len,
                               struct cli_fault *fault) MUST_CHECK;

/** An artifact, open for reading. */
struct input {
    const char *path; /* borrowed */
    int fd;           /* -1 when closed */
    uint64_t size;    /* 0 if it is not known */
    bool regular;     /* may be read more than once, with pread() */
};
#define INPUT_CLOSED ((struct input){.fd = -1})

/**
 * Open an artifact; "-" is standard input. Folders are refused.
 * @retval CLI_USAGE  It cannot be read.
 */
enum cli_exit input_open(struct input *input, const char *path, struct cli_fault *fault) MUST_CHECK;
/** Close, unless it is standard input. For CLEANUP(). */
void input_close(struct input *input);

/** Called with every piece. */
typedef void (*input_sink)(void *ctx, const void *data, size_t len);

/**
 * Read all of it, from the start if it is regular, with progress.
 * @param[out] size   Bytes that were read. May be NULL.
 * @retval CLI_USAGE  A read failed.
 */
enum cli_exit input_pump(const struct input *input, const struct out *out, const char *verb,
                         input_sink sink, void *ctx, uint64_t *size,
                         struct cli_fault *fault) MUST_CHECK;

/**
 * Digest of all of it. digest: digest_len(kind) bytes.
 * @retval CLI_USAGE, CLI_INTERNAL  As above, or no memory.
 */
enum cli_exit input_digest(const struct input *input, const struct out *out, enum digest_kind kind,
                           uint8_t *digest, uint64_t *size, struct cli_fault *fault) MUST_CHECK;

#endif
