/*
 * owner: the authorisations of the TPM's owner and endorsement hierarchies, from files or systemd
 * credentials.
 *
 * Only operations need them (making and removing a key's TPM objects, making the attestation key);
 * the running service never reads them, so that an intruder there does not find them.
 *
 * Uses: base, libc. Any thread.
 */
#ifndef DAEMON_OWNER_H
#define DAEMON_OWNER_H

#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

/** Name of the credential in $CREDENTIALS_DIRECTORY (LoadCredential= of a unit). */
#define OWNER_CREDENTIAL "tidemark-tpm-owner"
#define ENDORSEMENT_CREDENTIAL "tidemark-tpm-endorsement"

/**
 * Read it: from file if that is not "", else from the credential if there is one, else there is
 * none. What is read is the file's bytes without one newline at the end, as tpm2-tools read
 * "file:"; it goes straight into locked memory.
 *
 * @param[in]  file  Path (tpm.owner_auth_file), or "".
 * @param[out] auth  Owned by the caller, secmem_free(); NULL if there is none and after a failure.
 * @param[out] len   1 … TPM_OWNER_AUTH_MAX; 0 if there is none.
 * @retval RC_REFUSED_CONFIG  It cannot be read, is empty or too long, is no regular file, is
 *                            neither ours nor root's, or others may read it; the text says which.
 * @retval RC_RETRY_SYSTEM    No locked memory.
 */
enum rc owner_auth_read(const char *file, uint8_t **auth, size_t *len, struct err *err) MUST_CHECK;

/** The same for the endorsement hierarchy (tpm.endorsement_auth_file). */
enum rc endorsement_auth_read(const char *file, uint8_t **auth, size_t *len,
                              struct err *err) MUST_CHECK;

#endif
