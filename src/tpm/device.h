/*
 * device: one TPM 2.0 through ESAPI: connection, identity, sealing, counters of no key in particular.
 *
 * Uses: base, tpm2-tss. A struct tpm belongs to one thread (ESAPI is not thread-safe: facts/tpm §11).
 * After any error of the transport the struct is dead: close it, open a new one, read W, L, A again
 * (DESIGN section 6 rule 12). A watchdog ends the process when a command takes longer than
 * watchdog_s, because the TCTI's own time-outs do not work.
 */
#ifndef TPM_DEVICE_H
#define TPM_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"

#define TPM_NAME_LEN_MAX 68
#define TPM_SEALED_MAX 512  /* bytes of a sealed blob on disk */
#define TPM_SECRET_MAX 128  /* bytes that fit in one */

struct tpm; /* opaque */

struct tpm_config {
    const char *tcti;       /* "device:/dev/tpmrm0", "swtpm:path=…", "swtpm:host=…,port=…" */
    uint32_t srk_handle;    /* persistent handle of our storage key; 0 means TPM_SRK_DEFAULT */
    uint32_t watchdog_s;    /* 0: no watchdog; else 1 … 600 */
};
#define TPM_SRK_DEFAULT UINT32_C(0x81000544)

/** What the TPM says about itself, for status and for the policy on virtual TPMs. */
struct tpm_identity {
    char manufacturer[5];
    char vendor[17];
    bool is_virtual;      /* known software TPM, or unknown vendor counted as such: see header */
    bool keeps_writes;    /* known not to lose acknowledged writes (DESIGN section 6 rule 5) */
    uint32_t counters_available;
    uint8_t srk_name[TPM_NAME_LEN_MAX]; /* Name of the storage key: which TPM this is */
    size_t srk_name_len;
};

/** TPM2_ReadClock. */
struct tpm_time {
    uint64_t clock_ms;
    uint32_t reset_count;
    uint32_t restart_count;
    bool safe;
};

/**
 * Connect: load the TCTI, start up, flush stray sessions and transient objects left by earlier
 * processes, find or (if create_srk) make the persistent storage key (ECC P-256, noDA).
 *
 * @param[out] tpm         Owned by the caller; tpm_close().
 * @param[in]  create_srk  True at provisioning only.
 * @retval RC_RETRY_ANCHOR     The TPM does not answer, or is in lock-out or failure mode.
 * @retval RC_HALT_REGRESSION  No storage key at the handle and create_srk is false: not our TPM.
 * @retval RC_REFUSED_CONFIG   The TCTI string names no module that can be loaded.
 */
enum rc tpm_open(struct tpm **tpm, const struct tpm_config *config, bool create_srk,
                 struct err *err) MUST_CHECK;
void tpm_close(struct tpm **tpm);

/** Identity, read once at tpm_open(). Borrowed until close. */
const struct tpm_identity *tpm_identify(const struct tpm *tpm);

/** @retval RC_HALT_ANCHOR transport error. */
enum rc tpm_read_time(struct tpm *tpm, struct tpm_time *time, struct err *err) MUST_CHECK;

/**
 * Seal up to TPM_SECRET_MAX bytes under the storage key (fixedTPM, fixedParent, noDA).
 * @param[in]  auth      32 bytes of authorisation value.
 * @param[out] blob      TPM_SEALED_MAX bytes; *blob_len receives the length used.
 * @retval RC_HALT_ANCHOR  The TPM refused or failed.
 */
enum rc tpm_seal(struct tpm *tpm, const uint8_t auth[32], const void *secret, size_t secret_len,
                 uint8_t *blob, size_t *blob_len, struct err *err) MUST_CHECK;

/**
 * Unseal, with parameter encryption on the bus.
 * @param[out] secret  secret_len bytes; the blob must hold exactly so many.
 * @retval RC_HALT_SEEDS   The blob is damaged, of another TPM, or the auth value is wrong.
 * @retval RC_HALT_ANCHOR  Transport error.
 */
enum rc tpm_unseal(struct tpm *tpm, const uint8_t auth[32], const uint8_t *blob, size_t blob_len,
                   void *secret, size_t secret_len, struct err *err) MUST_CHECK;

#endif
