/*
 * anchor: W, L and A of one key: two monotone counters and one small record in the TPM.
 *
 * Knows the objects and how to read and write them safely; what their values mean is decided in
 * signer/start.c. Every command goes through one long-lived salted HMAC session with the Names pinned at
 * provisioning, so that a replaced index, a reset TPM or a resumed memory image shows (facts/tpm
 * F10, F11). One such session serves all keys of the process.
 *
 * Uses: base, tss2. Threads: as struct tpm. Keeps I3 (ledger and TPM agree) together with signer.
 */
#ifndef TPM_ANCHOR_H
#define TPM_ANCHOR_H

#include "base/pins.h"
#include "tpm/device.h"
#include "tpm/record.h"

#define ANCHOR_AUTH_LEN 32

/** The three values as the TPM holds them now. */
struct anchor_state {
    uint64_t w;
    uint64_t l;
    bool a_valid;              /* format and checksum are right */
    struct anchor_record a;
};

struct anchor; /* opaque: one key's objects, opened */

/**
 * Make W, L and A for a key at three free handles, initialise the counters, and seal nothing.
 * All noDA, owner-created; the authorisation values come from HMAC(auth_secret, "W" | "L" | "A").
 * A is left unwritten until anchor_write().
 *
 * @param[in]  auth_secret   32 random bytes of the key; the caller seals and keeps them.
 * @param[in]  next_window   The window that is open or next: W_base = W - next_window... see DESIGN
 *                           section 6 rule 1; the counter itself is not raised.
 * @param[out] pins          To be recorded before anything else happens.
 * @retval RC_REFUSED_EXHAUSTED  No free counter or handle; the text says how many there are.
 * @retval RC_HALT_ANCHOR        A command failed; what had been defined was undefined again.
 */
enum rc anchor_provision(struct tpm *tpm, const uint8_t auth_secret[ANCHOR_AUTH_LEN],
                         int64_t next_window, struct anchor_pins *pins,
                         struct err *err) MUST_CHECK;

/** Undefine what anchor_provision() made and nobody recorded. Missing indices are fine. */
enum rc anchor_undefine(struct tpm *tpm, const struct anchor_pins *pins, struct err *err) MUST_CHECK;

/**
 * Open a provisioned key's objects: handles, Names compared with the pins, storage key compared too.
 * @param[out] anchor  Owned by the caller; anchor_close() before tpm_close().
 * @retval RC_HALT_REGRESSION  Another TPM, an index is missing or was replaced (Name differs).
 * @retval RC_RETRY_ANCHOR, RC_HALT_ANCHOR  As for tpm_open().
 */
enum rc anchor_open(struct anchor **anchor, struct tpm *tpm, const struct anchor_pins *pins,
                    const uint8_t auth_secret[ANCHOR_AUTH_LEN], struct err *err) MUST_CHECK;
void anchor_close(struct anchor **anchor);

/** Read W, L and A. @retval RC_HALT_ANCHOR, RC_HALT_CANARY (session or authorisation refused). */
enum rc anchor_read(struct anchor *anchor, struct anchor_state *state, struct err *err) MUST_CHECK;

/**
 * Write A in one NV_Write and read it back.
 * @retval RC_HALT_ANCHOR  Outcome unknown or read back differently: close, open, read, decide again.
 */
enum rc anchor_write(struct anchor *anchor, const struct anchor_record *a,
                     struct err *err) MUST_CHECK;

/**
 * Increment W (or L) by one and check the new value.
 * @param[in] expected  Value that it must have afterwards.
 * @retval RC_HALT_CANARY  It has another value: somebody else wrote, or the TPM was reset.
 * @retval RC_HALT_ANCHOR  Outcome unknown. Never sent again blindly (DESIGN section 6 rule 12).
 */
enum rc anchor_step_w(struct anchor *anchor, uint64_t expected, struct err *err) MUST_CHECK;
enum rc anchor_step_l(struct anchor *anchor, uint64_t expected, struct err *err) MUST_CHECK;

/**
 * Rule 6: read L and the TPM clock through the long-lived session right before a batch is computed.
 * @retval RC_HALT_CANARY  L is not expected_l, the session is gone, the clock ran backwards or its
 *                         reset or restart count moved since the last call: end the process.
 * @retval RC_HALT_ANCHOR  Transport error.
 */
enum rc anchor_prove(struct anchor *anchor, uint64_t expected_l, struct tpm_time *time,
                     struct err *err) MUST_CHECK;

#endif
