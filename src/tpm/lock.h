/*
 * lock: what has to be true before the TPM opens a sealed blob (DESIGN section 6, "blobs").
 *
 * A blob says beside its contents how it is locked, so that whoever opens it need not remember.
 * That description is not trusted: the policy that follows from it must be the one that the TPM
 * holds for the blob, or nothing opens.
 *
 * Uses: base. Pure values; any thread.
 */
#ifndef TPM_LOCK_H
#define TPM_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pins.h"
#include "base/rc.h"

#define TPM_PCR_COUNT 24
#define TPM_BANK_SHA256 UINT16_C(0x000b) /* TPM_ALG_ID, TCG algorithm registry */
#define TPM_BANK_SHA384 UINT16_C(0x000c)
#define TPM_POLICY_LEN 32

/** Some PCRs of one bank, and the values that they must have. */
struct tpm_pcrs {
    uint16_t bank;      /* TPM_BANK_…; 0 if none is selected */
    uint32_t selection; /* bit i: PCR i, below TPM_PCR_COUNT; 0: none */
    uint8_t digest[32]; /* SHA-256 over the values one after another, in rising order of PCRs */
};

enum tpm_lock_kind {
    TPM_LOCK_AUTH,   /* the authorisation value is enough */
    TPM_LOCK_WINDOW, /* bounds of W, PCRs, and the authorisation value */
    TPM_LOCK_OWNER /* the authorisations of the owner hierarchy and of the blob, an upper bound of W
                    */
};

struct tpm_lock {
    enum tpm_lock_kind kind;
    /* Zero where the kind does not have them. */
    uint8_t w_name[TPM_NAME_LEN]; /* which counter; not kept in the blob, the anchor knows it */
    bool bound_low, bound_high;   /* which of the two bounds there are */
    uint64_t low, high;           /* W may be low … high; 0 where there is no such bound */
    struct tpm_pcrs pcrs;
};

/** True if W has a say in it: opening such a blob takes the key's anchor. */
bool tpm_lock_bound(const struct tpm_lock *lock) MUST_CHECK;

/** Bytes that describe a lock inside a blob. */
#define TPM_LOCK_LEN 56

/** Write a lock's description. w_name is left out. */
void tpm_lock_print(uint8_t out[TPM_LOCK_LEN], const struct tpm_lock *lock);

/**
 * Read it, strictly: every lock has one description.
 * @param[out] lock  w_name is zero. All zero if it is malformed.
 * @return false if it is malformed, or describes TPM_LOCK_AUTH, which has none.
 */
bool tpm_lock_scan(struct tpm_lock *lock, const uint8_t in[TPM_LOCK_LEN]) MUST_CHECK;

/**
 * The policy digest of a lock, computed without a TPM: PolicySecret of the owner, PolicyNV with
 * UNSIGNED_GE, PolicyNV with UNSIGNED_LE, PolicyPCR, each where it applies; PolicyAuthValue last
 * (TPM 2.0 Part 3, 23.4, 23.7, 23.9, 23.17).
 *
 * @param[in]  lock    Not TPM_LOCK_AUTH (MUST), which has no policy.
 */
void tpm_lock_policy(uint8_t policy[TPM_POLICY_LEN], const struct tpm_lock *lock);

/**
 * Read a selection as configurations write it: "sha256:0,7".
 * @param[out] pcrs  bank and selection; the digest is zero. All zero after a failure.
 * @return false for an unknown bank, an empty list, a PCR that does not exist, is given twice, or
 * is not in rising order.
 */
bool tpm_pcrs_scan(struct tpm_pcrs *pcrs, const char *text) MUST_CHECK;

/** The same backwards, into a text of at most TPM_PCRS_TEXT bytes; "none" where none is selected.
 */
#define TPM_PCRS_TEXT 80
void tpm_pcrs_print(char out[TPM_PCRS_TEXT], const struct tpm_pcrs *pcrs);

#endif
