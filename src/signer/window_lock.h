/*
 * window_lock: how the secret of one window is sealed to the TPM (DESIGN section 6, "blobs").
 *
 * Uses: policy, tpm (values). Pure; any thread.
 */
#ifndef SIGNER_WINDOW_LOCK_H
#define SIGNER_WINDOW_LOCK_H

#include "base/pins.h"
#include "policy/plan.h"
#include "tpm/lock.h"

/** True if older lines of the plan stay open beside newer ones: then no counter closes a window. */
bool window_lock_free(const struct plan *plan) MUST_CHECK;

/**
 * The lock of a window's secret: opens while W says window - 1 (to prepare it) or window; in a
 * per-line plan at any time. With PCRs if pcrs selects some.
 * @param[in] pcrs    With the digest of the values of now.
 * @param[in] window  At or above the first that was provisioned (MUST).
 */
void window_lock(struct tpm_lock *lock, const struct plan *plan, const struct anchor_pins *pins,
                 const struct tpm_pcrs *pcrs, uint64_t window);

/**
 * The lock of the copy of it that backups are made from: opens to whoever has the owner
 * authorisation of the TPM too, from the beginning until W says window (in a per-line plan for
 * ever).
 */
void window_lock_escrow(struct tpm_lock *lock, const struct plan *plan,
                        const struct anchor_pins *pins, uint64_t window);

#endif
