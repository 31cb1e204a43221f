/*
 * outsider: somebody else who talks to the same TPM: plain ESAPI calls with passwords, beside the
 * connection under test and without flushing anything.
 *
 * Each function connects, does one thing and disconnects. @return false: the TPM refused it.
 */
#ifndef TESTS_LIB_OUTSIDER_H
#define TESTS_LIB_OUTSIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tpm/lock.h"

/** auth: 32 bytes, the value of the index; see anchor_provision() for how it is derived. */
bool outsider_increment(const char *tcti, uint32_t handle, const uint8_t auth[32]);
bool outsider_write(const char *tcti, uint32_t handle, const uint8_t auth[32], const void *data,
                    size_t len);

/** Index like W and L (counter) or like A (96 bytes), but for the authorisation value. */
bool outsider_define(const char *tcti, uint32_t handle, bool counter, const uint8_t auth[32]);
/** An ordinary index of eight bytes that is subject to dictionary-attack protection. */
bool outsider_define_protected(const char *tcti, uint32_t handle, const uint8_t auth[32]);
bool outsider_undefine(const char *tcti, uint32_t handle);

/** An index of one byte without any authorisation value, of the owner's. */
bool outsider_define_byte(const char *tcti, uint32_t handle);

/** Make a storage key that is subject to dictionary-attack protection persistent at the handle. */
bool outsider_persist_key(const char *tcti, uint32_t handle);

/** Remove a persistent object of the owner; with the owner's authorisation value, or an empty one.
 */
bool outsider_evict_as(const char *tcti, uint32_t handle, const uint8_t *owner, size_t len);
bool outsider_evict(const char *tcti, uint32_t handle);

/** Give the owner (or endorsement) hierarchy an authorisation value; the old one must be empty. */
bool outsider_own(const char *tcti, const uint8_t *auth, size_t len);
bool outsider_endorse(const char *tcti, const uint8_t *auth, size_t len);

/** How many sessions (loaded and saved) and transient objects stand in the TPM; -1 on failure. */
int outsider_count_strays(const char *tcti);

/** How many NV indexes there are; -1 on failure. */
int outsider_count_indexes(const char *tcti);

/** Extend a PCR of the SHA-256 bank. */
bool outsider_extend(const char *tcti, uint32_t pcr);

/**
 * The policy digest of a lock as the TPM itself computes it, in a trial session.
 * @param[in] w_handle, auth  W and its authorisation value, for locks that have bounds.
 */
bool outsider_trial(const char *tcti, uint32_t w_handle, const uint8_t auth[32],
                    const struct tpm_lock *lock, uint8_t policy[TPM_POLICY_LEN]);

/** TPM2_Clear with an empty lockout authorisation: what somebody does who wants a fresh TPM. */
bool outsider_clear(const char *tcti);

/** Use wrong authorisations until the TPM is in lock-out; an index is left at the handle. */
bool outsider_lock_out(const char *tcti, uint32_t handle);

/** Start an HMAC session and leave it there. */
bool outsider_leave_session(const char *tcti);

#endif
