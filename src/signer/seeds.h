/*
 * seeds: the file of sealed window secrets of one key, and the sealed authorisation of its TPM
 * objects.
 *
 * File "seeds" in the key's folder: record w of SEEDS_RECORD_LEN bytes at w * SEEDS_RECORD_LEN: u32
 * length (big endian), the blob of tpm_seal(), zeros. A record of zeros: the secret is destroyed or
 * was never on this device. File "device": one such record with the 32 bytes of auth_secret.
 *
 * Uses: base. Knows nothing of the TPM: blobs are bytes. Threads: signer thread.
 */
#ifndef SIGNER_SEEDS_H
#define SIGNER_SEEDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rc.h"
#include "tpm/device.h"

#define SEEDS_RECORD_LEN (TPM_SEALED_MAX + 4)
#define SEEDS_FILE "seeds"
#define DEVICE_FILE "device"

/**
 * Open the seeds file of a key's folder for reading and destroying.
 * @param[out] fd  Owned by the caller.
 * @retval RC_HALT_SEEDS  Missing or not as long as windows demand.
 */
enum rc seeds_open(int key_dirfd, const char *name, uint64_t windows, int *fd,
                   struct err *err) MUST_CHECK;

/**
 * Read record w.
 * @param[out] blob  TPM_SEALED_MAX bytes; *blob_len is 0 if the secret is not there.
 * @retval RC_HALT_SEEDS  Malformed record or read error.
 */
enum rc seeds_read(int fd, uint64_t window, uint8_t *blob, size_t *blob_len,
                   struct err *err) MUST_CHECK;

/** What is left of the secrets of a key's windows. */
struct seeds_census {
    uint64_t here;        /* windows whose secret is on this device */
    uint64_t first, last; /* of them; 0 if here is 0 */
};

/**
 * Look at every record, and change none.
 * @param[in]  go_on  Told how many of windows are done; false to stop. May be NULL.
 * @retval RC_HALT_SEEDS  As seeds_open() and seeds_read().
 * @retval RC_RETRY_BUSY  go_on said stop.
 */
enum rc seeds_count(int key_dirfd, const char *name, uint64_t windows,
                    bool (*go_on)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                    struct seeds_census *census, struct err *err) MUST_CHECK;

/** Write record w into a file under construction (not synced). @retval RC_HALT_SYSTEM */
enum rc seeds_write(int fd, uint64_t window, const uint8_t *blob, size_t blob_len,
                    struct err *err) MUST_CHECK;

/**
 * Overwrite the records below `window` with zeros, and sync. What a file system keeps of
 * overwritten blocks is out of reach; the policy in the TPM is what protects closed windows, this
 * only removes temptation.
 *
 * @param[in] sweep  True the first time in a process: look at every record, because a power cut may
 *                   have kept any of the zeros that were not synced and lost any other. False: down
 *                   to the first that is zero, which then stands for all below it.
 * @retval RC_HALT_SYSTEM  Read, write or sync failed: some may be left, the next sweep finds them.
 */
enum rc seeds_destroy_below(int fd, uint64_t window, bool sweep, struct err *err) MUST_CHECK;

/** The same in any file of records. @param[in] record_len  1 … SEEDS_RECORD_LEN (MUST). */
enum rc records_destroy_below(int fd, size_t record_len, uint64_t window, bool sweep,
                              struct err *err) MUST_CHECK;

#endif
