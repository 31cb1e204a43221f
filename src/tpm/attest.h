/*
 * attest: the TPM's own word on W, L, A and its clock, for people who do not trust this host.
 *
 * The attestation key (AK) is a restricted signing key (ECC P-256, ECDSA with SHA-256; fixedTPM,
 * fixedParent, noDA): the TPM signs with it only what it made itself. It is a primary key of the
 * endorsement hierarchy, because what keys of the owner hierarchy sign has the reset and restart
 * counts and the firmware version hidden (TPM 2.0 Part 2, TPMS_ATTEST), and it is kept at the
 * persistent handle behind the storage key: so a start needs no endorsement authorisation, makes no
 * key (a second and more on a chip) and takes none of the three slots for objects. Being a primary
 * key, it comes out the same when it is made anew under the same seed.
 *
 * It has an empty authorisation value: whoever may use the TPM may have it sign, and gets true
 * statements. Certifying an index needs the index' own authorisation, which only the core has.
 *
 * Nothing here changes a counter, and a failure here (RC_REFUSED_ATTEST) ends nothing.
 *
 * Uses: base, tpm2-tss. Threads: as struct tpm.
 */
#ifndef TPM_ATTEST_H
#define TPM_ATTEST_H

#include "base/attested.h"
#include "tpm/anchor.h"

/** Handle of the AK beside a storage key at this handle: the next one, or the one before the last
 * of the owner's part. */
uint32_t tpm_ak_handle(uint32_t srk_handle);

/**
 * The public parts of AK and EK. The AK is made, and kept in the TPM, if it is not there; the EK is
 * made from the TCG's template for ECC P-256 (EK Credential Profile for TPM 2.0, template L-2) to
 * be looked at, and flushed again.
 *
 * @param[in]  with_ek  False: the EK is recorded already, keys->ek stays zero, and an AK that is in
 *                      its place needs no authorisation at all.
 * @param[out] keys     All zero unless RC_OK.
 * @retval RC_OK              They are this TPM's; an AK may have been made.
 * @retval RC_REFUSED_ATTEST  This TPM does not attest for us: the owner or endorsement
 *                            authorisation is not ours, another object sits at the handle, or it
 *                            does not know such keys. Nothing changed.
 * @retval RC_RETRY_ANCHOR    Busy. Nothing changed, except that an AK may have been made.
 * @retval RC_HALT_ANCHOR     Transport error: tpm is dead.
 * @retval RC_HALT_CANARY     The session is gone: the TPM was reset.
 */
enum rc tpm_attest_keys(struct tpm *tpm, bool with_ek, struct attest_keys *keys,
                        struct err *err) MUST_CHECK;

/**
 * Have the AK sign W, L, A and the TPM's clock, in this order, each with the digest in it.
 *
 * GetTime needs the endorsement authorisation; where that is not ours, evidence->time has length 0:
 * clock, reset and restart counts stand in the other three too.
 *
 * @param[in]  ak_name   The AK that was recorded; another one at the handle is refused.
 * @param[in]  digest    32 bytes that come back in each statement (qualifying data).
 * @param[out] evidence  Not verified here; all zero unless RC_OK.
 * @retval RC_REFUSED_ATTEST  No AK, another AK than the recorded one, or the TPM does not know
 *                            TPM2_NV_Certify. The anchor goes on.
 * @retval RC_RETRY_ANCHOR    Busy. The anchor goes on.
 * @retval RC_HALT_CANARY     Session or authorisation refused, or an index was replaced.
 * @retval RC_HALT_ANCHOR     Transport error.
 * Source: TPM 2.0 Part 3, 31.16 (NV_Certify) and 18.7 (GetTime).
 */
enum rc anchor_attest(struct anchor *anchor, const uint8_t ak_name[TPM_NAME_LEN],
                      const uint8_t digest[32], struct attest_evidence *evidence,
                      struct err *err) MUST_CHECK;

#endif
