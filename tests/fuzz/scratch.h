/*
 * scratch: bytes as a file, for targets whose parsers open their files themselves.
 *
 * A memfd, which is found under a path as long as it is open. One thread.
 */
#ifndef TESTS_FUZZ_SCRATCH_H
#define TESTS_FUZZ_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

/** The file holds exactly these bytes now. The path is good until the process ends; static. */
const char *scratch_file(const uint8_t *data, size_t len);

/**
 * A folder in memory (below /dev/shm, else /tmp) whose only file has this name and these bytes; the
 * name of the call before is gone. Removed when the process ends.
 * @return A handle of the folder, not the caller's.
 */
int scratch_folder(const char *name, const uint8_t *data, size_t len);

/** Path of that folder. */
const char *scratch_folder_path(void);

#endif
