/*
 * anchor: W, L and A of one key: two monotone counters and one small record in the TPM.
 *
 * Knows the objects and how to read and write them safely; what their values mean is decided in
 * signer/start.c. Every command goes through one long-lived salted HMAC session with the Names
 * pinned at provisioning, so that a replaced index, a reset TPM or a resumed memory image shows
 * (facts/tpm F10, F11). One such session serves all keys of the process.
 *
 * Uses: base, tss2. Threads: as struct tpm. Keeps I3 (ledger and TPM agree) together with signer.
 */
#ifndef TPM_ANCHOR_H
#define TPM_ANCHOR_H

#include "base/pins.h"
#include "base/record.h"
#include "tpm/device.h"

#define ANCHOR_AUTH_LEN 32

/** The three values as the TPM holds them now. */
struct anchor_state {
    uint64_t w;
    uint64_t l;
    bool a_valid; /* written, format and checksum are right; a is all zero otherwise */
    struct anchor_record a;
};

struct anchor; /* opaque: one key's objects, opened */

/**
 * Choose three free consecutive handles (from 0x01854D00 upwards) for W, L and A, and say which
 * Names the objects there will have. Nothing is made, so what is chosen can be recorded before it
 * exists: whatever a kill or a power cut leaves in the TPM is then known to somebody.
 *
 * @param[out] pins  Handles and Names, and the storage key's; values and base are zero. All zero
 *                   unless RC_OK.
 * @retval RC_REFUSED_EXHAUSTED  No three free handles in a row.
 * @retval RC_RETRY_ANCHOR       Busy.
 * @retval RC_HALT_ANCHOR        Transport error.
 */
enum rc anchor_choose(struct tpm *tpm, struct anchor_pins *pins, struct err *err) MUST_CHECK;

/**
 * Make W, L and A for a key where anchor_choose() said, initialise the counters by one increment
 * each, and seal nothing. All noDA, owner-created, not ORDERLY; the authorisation values come from
 * HMAC(auth_secret, "W" | "L" | "A"). A is left unwritten until anchor_write().
 *
 * @param[in]  auth_secret  32 random bytes of the key; the caller seals and keeps them.
 * @param[in]  floor_window After provisioning W - w_base == floor_window, which is by definition
 * the highest window ever opened: a key whose window n is open or was given away passes n; a key
 * for which nothing is open yet and which starts in window n passes n - 1, so that the step to n is
 * the first W+1. ANCHOR_FLOOR_MIN … ANCHOR_FLOOR_MAX.
 * @param[in,out] pins      As chosen, and recorded by the caller together with the sealed
 *                          auth_secret; w_base, w_first and l_first are filled in. All zero unless
 *                          RC_OK.
 * @retval RC_REFUSED_EXHAUSTED  No room for the counters or the index; the text says how many
 *                               counters there are. Nothing is left behind.
 * @retval RC_REFUSED_CONFIG     The owner authorisation is wrong. Nothing changed.
 * @retval RC_RETRY_ANCHOR       Busy, before anything was defined.
 * @retval RC_HALT_CANARY        The session is gone: the TPM was reset.
 * @retval RC_HALT_ANCHOR        A command failed, or somebody has taken one of the handles.
 * After every failure what had been defined was undefined again, unless that failed too or the
 * connection is dead: then the text names the handles that are left, and anchor_undefine() with
 * what was recorded removes them.
 */
enum rc anchor_provision(struct tpm *tpm, const uint8_t auth_secret[ANCHOR_AUTH_LEN],
                         int64_t floor_window, struct anchor_pins *pins,
                         struct err *err) MUST_CHECK;
#define ANCHOR_FLOOR_MIN INT64_C(-1)
#define ANCHOR_FLOOR_MAX (INT64_C(1) << 62)

/**
 * Undefine what anchor_provision() made, or may have made, of what was chosen. Missing indices are
 * fine. An index with another Name than the pinned one, or that does not answer to auth_secret, is
 * somebody else's and stays: Names contain no authorisation value, so those of two keys are equal
 * at one handle.
 * @param[in] auth_secret      As given to anchor_provision().
 * @retval RC_HALT_REGRESSION  One of the indices is not ours; the others are gone.
 * @retval RC_REFUSED_CONFIG, RC_RETRY_ANCHOR, RC_HALT_CANARY, RC_HALT_ANCHOR
 *                             As for anchor_provision(); some may be gone: call it again.
 */
enum rc anchor_undefine(struct tpm *tpm, const struct anchor_pins *pins,
                        const uint8_t auth_secret[ANCHOR_AUTH_LEN], struct err *err) MUST_CHECK;

/**
 * Open a provisioned key's objects: handles, Names compared with the pins, storage key compared
 * too, and each of the three read once, which proves the authorisation values. Changes nothing.
 *
 * @param[out] anchor  Owned by the caller; anchor_close() before tpm_close(). NULL unless RC_OK.
 * @param[in]  tpm     Borrowed until anchor_close(). Several anchors can share it.
 * @retval RC_HALT_REGRESSION  Another TPM, an index is missing or was replaced (Name differs), a
 *                             counter was made anew and never incremented, or the authorisation
 *                             is refused.
 * @retval RC_RETRY_ANCHOR     Busy.
 * @retval RC_RETRY_SYSTEM     No memory.
 * @retval RC_HALT_ANCHOR      Transport error: tpm is dead.
 */
enum rc anchor_open(struct anchor **anchor, struct tpm *tpm, const struct anchor_pins *pins,
                    const uint8_t auth_secret[ANCHOR_AUTH_LEN], struct err *err) MUST_CHECK;
/** *anchor becomes NULL; nothing is sent. Fine on NULL. For CLEANUP(). */
void anchor_close(struct anchor **anchor);

/*
 * What follows stops for good after the first HALT: every later call on the same struct anchor
 * returns that code again and sends nothing. Close it, open it (on a new struct tpm if the old one
 * is dead), read, decide again. RC_RETRY_ANCHOR stops nothing and means that nothing changed.
 */

/**
 * Read W, L and A.
 * @retval RC_RETRY_ANCHOR  Busy.
 * @retval RC_HALT_CANARY   Session or authorisation refused, or an index was replaced.
 * @retval RC_HALT_ANCHOR   Transport error.
 */
enum rc anchor_read(struct anchor *anchor, struct anchor_state *state, struct err *err) MUST_CHECK;

/**
 * Write A in one NV_Write and read it back.
 * @retval RC_RETRY_ANCHOR  Busy; A has not changed.
 * @retval RC_HALT_CANARY   Session or authorisation refused, or A was replaced.
 * @retval RC_HALT_ANCHOR   Outcome unknown or read back differently: close, open, read, decide
 * again.
 */
enum rc anchor_write(struct anchor *anchor, const struct anchor_record *a,
                     struct err *err) MUST_CHECK;

/**
 * Increment W (or L) by one and check the new value. A step of W also flushes all sessions of
 * others (unless a resource manager stands in between), since a policy session that looked at W
 * before would open its blob afterwards.
 * @param[in] expected  Value that it must have afterwards.
 * @retval RC_RETRY_ANCHOR  Busy; the counter has not moved.
 * @retval RC_HALT_CANARY   It has another value: somebody else wrote, or the TPM was reset.
 * @retval RC_HALT_ANCHOR   Outcome unknown. Never sent again blindly (DESIGN section 6 rule 12).
 */
enum rc anchor_step_w(struct anchor *anchor, uint64_t expected, struct err *err) MUST_CHECK;
enum rc anchor_step_l(struct anchor *anchor, uint64_t expected, struct err *err) MUST_CHECK;

/**
 * Rule 6: read the TPM clock and then L, through the long-lived session, right before a batch is
 * computed. In this order the session vouches for the clock as well: it would not have survived a
 * reset in between.
 *
 * "Since the last call" means on this struct tpm, over all its anchors, beginning with tpm_open().
 *
 * @param[out] time  What the clock said.
 * @retval RC_RETRY_ANCHOR  Busy; nothing is proven.
 * @retval RC_HALT_CANARY   L is not expected_l, the session is gone, the clock ran backwards or its
 *                          reset or restart count moved since the last call: end the process.
 * @retval RC_HALT_ANCHOR   Transport error.
 */
enum rc anchor_prove(struct anchor *anchor, uint64_t expected_l, struct tpm_time *time,
                     struct err *err) MUST_CHECK;

/** An NV index that looks as W, L or A of some key of ours do. */
struct anchor_index {
    uint32_t handle;
    bool counter; /* W or L; else A */
};
#define ANCHOR_LIST_MAX 64

/**
 * All indexes of the owner that have the public data of anchor_provision()'s, written or not, in
 * ascending order of handles. Whose they are the public data do not say: another state directory
 * may have keys in the same TPM.
 * @param[out] list   ANCHOR_LIST_MAX of them; what does not fit is left out.
 * @retval RC_RETRY_ANCHOR, RC_HALT_ANCHOR, RC_HALT_CANARY  As for every command.
 */
enum rc anchor_list(struct tpm *tpm, struct anchor_index list[ANCHOR_LIST_MAX], size_t *count,
                    struct err *err) MUST_CHECK;

#endif
