/*
 * save: result files. Nothing is overwritten without --force, and a file is whole or not there.
 *
 * Uses: base. One thread, blocking.
 */
#ifndef CLI_SAVE_H
#define CLI_SAVE_H

#include <stddef.h>

#include "base/rc.h"
#include "cli/exit.h"

/** What is in the way of a result file. */
enum save_found {
    SAVE_FREE,  /* nothing */
    SAVE_TAKEN, /* something of that name */
};

/**
 * Look before the work: is there a folder that a file can be made in, and is the name free?
 * @retval CLI_USAGE  The folder is missing or may not be written to, or the name is a folder's.
 */
enum cli_exit save_look(const char *path, enum save_found *found,
                        struct cli_fault *fault) MUST_CHECK;

/**
 * Write a file. One that holds the very same bytes already is left alone.
 * @param[in]  force    Replace a file with other content.
 * @param[out] written  False if the same bytes were there. May be NULL.
 * @retval CLI_USAGE     There is a file with other content, and no force. It was not touched.
 * @retval CLI_INTERNAL  Disk full or another failure; no half file is left.
 */
enum cli_exit save_write(const char *path, const void *data, size_t len, bool force, bool *written,
                         struct cli_fault *fault) MUST_CHECK;

#endif
