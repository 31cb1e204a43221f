/*
 * file: small files that are either whole or not there, relative to a directory descriptor.
 *
 * Uses: libc. Any thread, blocking. Descriptors are born O_CLOEXEC.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/rc.h"

/** Close *fd unless it is -1, and set it to -1. For CLEANUP(). */
void fd_close(int *fd);

/**
 * Write a file so that after a power cut either nothing or the whole of it is there: temporary
 * file, fsync, rename without replacing, fsync of the directory.
 *
 * @param[in] dirfd  Directory, open.
 * @param[in] name   File name without '/'.
 * @param[in] mode   Permissions, e.g. 0600.
 * @retval RC_REFUSED_EXISTS  The name exists; it was not touched.
 * @retval RC_HALT_SYSTEM     A call failed (disk full, no permission); the name does not exist.
 */
enum rc file_write_new(int dirfd, const char *name, mode_t mode, const void *data, size_t len,
                       struct err *err) MUST_CHECK;

/**
 * Write a file so that after a power cut either its old or its new content is there: temporary file
 * ".NAME.tmp", fsync, rename over it, fsync of the directory. One writer at a time.
 * @param[in] dirfd, name, mode  As file_write_new().
 * @retval RC_HALT_SYSTEM  A call failed: the old content is there, or the new one.
 */
enum rc file_replace(int dirfd, const char *name, mode_t mode, const void *data, size_t len,
                     struct err *err) MUST_CHECK;

/**
 * Read a whole file of at most max bytes into malloc'ed memory, NUL-terminated behind the data.
 * @param[out] data  Owned by the caller, free().
 * @retval RC_REFUSED_NOT_FOUND  No such file.
 * @retval RC_REFUSED_TOO_LARGE  Longer than max.
 * @retval RC_HALT_SYSTEM        Another call failed.
 */
enum rc file_read(int dirfd, const char *name, size_t max, char **data, size_t *len,
                  struct err *err) MUST_CHECK;

/** fsync a directory. @retval RC_HALT_SYSTEM outcome unknown. */
enum rc dir_sync(int dirfd, struct err *err) MUST_CHECK;

/** Read or write exactly len bytes at an offset. @retval false error or early end; errno is set. */
bool pread_full(int fd, void *data, size_t len, off_t offset) MUST_CHECK;
bool pwrite_full(int fd, const void *data, size_t len, off_t offset) MUST_CHECK;

#endif
