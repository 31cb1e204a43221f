/*
 * device: one TPM 2.0 through ESAPI: connection, identity, sealing, counters of no key in
 * particular.
 *
 * Uses: base, tpm2-tss. A struct tpm belongs to one thread (ESAPI is not thread-safe: facts/tpm
 * §11). After any error of the transport the struct is dead: every later call returns the same
 * failure without talking to the TPM. Close it, open a new one, read W, L, A again (DESIGN section
 * 6 rule 12). A watchdog thread logs one line and ends the process with EXIT_TPM_STUCK when a
 * command takes longer than watchdog_s (noticed within 1 s more), because the TCTI's own time-outs
 * do not work.
 *
 * A TPM that answers "busy" (RETRY, NV_RATE, NV_UNAVAILABLE, out of slots) has not run the command;
 * it is asked again up to 8 times over 1.3 s, then the call returns RC_RETRY_ANCHOR, unless an
 * earlier command of the same call has changed something (RC_HALT_ANCHOR).
 *
 * Sealed secrets are wiped from the library's buffers after each call. Authorisation values are
 * not: ESAPI keeps copies in memory that it frees without wiping, so the process must not dump
 * core, nor swap, and may have the heap overwrite what is freed (mallopt M_PERTURB).
 *
 * The process must ignore SIGPIPE (the TCTIs write to sockets), and base_init() comes first.
 * tpm_open() sets TSS2_LOG=all+none in the environment unless it is set, so call it for the first
 * time before other threads read the environment.
 */
#ifndef TPM_DEVICE_H
#define TPM_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rc.h"
#include "tpm/lock.h"

#define TPM_NAME_LEN_MAX 68
#define TPM_SEALED_MAX 512 /* bytes of a sealed blob on disk */
#define TPM_SECRET_MAX 128 /* bytes that fit in one */

/** Exit code of a process whose watchdog saw a TPM command that did not end (EX_TEMPFAIL). */
#define EXIT_TPM_STUCK 75

struct tpm;    /* opaque */
struct anchor; /* tpm/anchor.h */

struct tpm_config {
    const char *tcti;    /* "device:/dev/tpmrm0", "swtpm:path=…", "swtpm:host=…,port=…" */
    uint32_t srk_handle; /* persistent handle of our storage key; 0 means TPM_SRK_DEFAULT */
    uint32_t watchdog_s; /* 0: no watchdog; else 1 … TPM_WATCHDOG_S_MAX */
    /* Authorisation of the owner hierarchy: needed to make the storage key, to provision and to
     * undefine. Borrowed by tpm_open(), which keeps a copy in the library; NULL and 0: empty. */
    const uint8_t *owner_auth;
    size_t owner_auth_len; /* 0 … TPM_OWNER_AUTH_MAX */
    /* The same of the endorsement hierarchy: needed to make the attestation key and for the signed
     * time in attestations; without it these are missing, and nothing else. */
    const uint8_t *endorsement_auth;
    size_t endorsement_auth_len; /* 0 … TPM_OWNER_AUTH_MAX */
};
#define TPM_SRK_DEFAULT UINT32_C(0x81000544)
#define TPM_WATCHDOG_S_MAX 600
#define TPM_OWNER_AUTH_MAX 32

/**
 * What the TPM says about itself, for status and for the policy on virtual TPMs.
 *
 * Judged by the manufacturer (TCG Vendor ID Registry):
 *
 *   manufacturer                          is_virtual  keeps_writes
 *   IFX STM NTC NTZ NSG ATML WEC SEAL     no          yes   discrete chips: NV of their own
 *   INTC AMD QCOM                         no          no    firmware: flash shared with the host
 *   IBM MSFT VMW GOOG AMZN SIM0 … SIM3    yes         no    software, also in a hypervisor
 *   anything else                         yes         no    unknown counts as the worst
 *   any, over the TCTIs swtpm and mssim   yes         no    the other end is a program
 *
 * libtpms (swtpm) reports manufacturer "IBM" and vendor "SW   TPM". A hypervisor can report what it
 * likes, so "no" is a claim of the platform and not a proof.
 */
struct tpm_identity {
    char manufacturer[5]; /* printable, trailing blanks cut */
    char vendor[17];      /* the same */
    bool is_virtual;      /* may be rolled back together with its machine (DESIGN 6 rule 11) */
    bool keeps_writes;    /* known not to lose acknowledged writes (DESIGN section 6 rule 5) */
    uint32_t counters_available;        /* how many more counters the TPM says it has room for */
    uint8_t srk_name[TPM_NAME_LEN_MAX]; /* Name of the storage key: which TPM this is */
    size_t srk_name_len;
};

/** What stands between root and the removal of our objects (TPM 2.0 Part 2, 8.6: TPMA_PERMANENT).
 */
struct tpm_protection {
    bool owner_auth_set;   /* else anybody may define and undefine indexes */
    bool lockout_auth_set; /* else anybody may clear the TPM, unless that is disabled */
    bool clear_disabled;   /* TPM2_Clear only by the platform */
    bool in_lockout;       /* dictionary-attack lock-out: nothing of ours is subject to it */
    uint32_t lockout_counter;
};

/** TPM2_ReadClock. */
struct tpm_time {
    uint64_t clock_ms;
    uint32_t reset_count;
    uint32_t restart_count;
    bool safe;
};

/**
 * Load the library that talks to this kind of TPM, and keep it, for a process that soon cannot load
 * any more (daemon/sandbox.h).
 * @param[in] tcti  As in struct tpm_config.
 * @return false if it is not there, which tpm_open() says with the reason.
 */
bool tpm_load(const char *tcti);

/**
 * Connect: load the TCTI, start up, flush stray sessions and transient objects left by earlier
 * processes, find or (if create_srk) make the persistent storage key (ECC P-256, noDA), and start
 * the long-lived salted HMAC session that all later commands on keys and indexes use.
 *
 * Nothing is flushed behind a resource manager (/dev/tpmrm0, tabrmd): it frees what a process
 * leaves and its list of sessions shows other processes' too.
 *
 * @param[out] tpm         Owned by the caller; tpm_close(). NULL unless RC_OK.
 * @param[in]  config      Borrowed for the call, the strings too.
 * @param[in]  create_srk  True at provisioning only. A storage key that is there already is kept.
 * @retval RC_RETRY_ANCHOR     The TPM does not answer, or is in lock-out or failure mode.
 * @retval RC_RETRY_SYSTEM     No memory, no thread for the watchdog.
 * @retval RC_HALT_REGRESSION  No storage key of ours at the handle and create_srk is false: not our
 *                             TPM.
 * @retval RC_HALT_ANCHOR      The TPM refused a command that it must know.
 * @retval RC_REFUSED_CONFIG   The TCTI string names no module that can be loaded, or has bad
 *                             parameters; a number is out of range; an owner authorisation was
 *                             given and is wrong; with create_srk: the handle is taken by another
 *                             object, or the owner authorisation is needed.
 * In all cases but RC_OK nothing has changed, except that a storage key may have been made.
 */
enum rc tpm_open(struct tpm **tpm, const struct tpm_config *config, bool create_srk,
                 struct err *err) MUST_CHECK;
/** Flush the session and disconnect; *tpm becomes NULL. Fine on NULL. For CLEANUP(). */
void tpm_close(struct tpm **tpm);

/** Identity, read once at tpm_open(). Borrowed until close. */
const struct tpm_identity *tpm_identify(const struct tpm *tpm);

/**
 * How the TPM protects what is not ours to protect. For advice to operators.
 * @retval RC_HALT_ANCHOR, RC_RETRY_ANCHOR, RC_HALT_CANARY  As tpm_read_time().
 */
enum rc tpm_protection_read(struct tpm *tpm, struct tpm_protection *protection,
                            struct err *err) MUST_CHECK;

/**
 * The TPM's clock and boot counts, unauthenticated: some chips refuse a session here.
 * anchor_prove() ties them to the session.
 * @retval RC_HALT_ANCHOR   Transport error.
 * @retval RC_RETRY_ANCHOR  Busy.
 * @retval RC_HALT_CANARY   The TPM was reset and not started up.
 */
enum rc tpm_read_time(struct tpm *tpm, struct tpm_time *time, struct err *err) MUST_CHECK;

/**
 * Seal up to TPM_SECRET_MAX bytes under the storage key (fixedTPM, fixedParent, noDA), encrypted on
 * the bus. Changes nothing in the TPM.
 *
 * Layout of a blob, big endian: "TMSB", u16 version (1 without a policy, 2 with one), for version 2
 * the TPM_LOCK_LEN bytes of tpm_lock_print(), u16 length and public area, u16 length and private
 * area, nothing behind it.
 *
 * @param[in]  auth        32 bytes of authorisation value.
 * @param[in]  lock        What has to be true when it is opened; NULL: auth is enough.
 * @param[in]  secret_len  1 … TPM_SECRET_MAX.
 * @param[out] blob        TPM_SEALED_MAX bytes; *blob_len receives the length used.
 * @retval RC_HALT_ANCHOR   The TPM refused or failed.
 * @retval RC_RETRY_ANCHOR  Busy.
 * @retval RC_HALT_CANARY   The session is gone: the TPM was reset.
 */
enum rc tpm_seal(struct tpm *tpm, const uint8_t auth[32], const struct tpm_lock *lock,
                 const void *secret, size_t secret_len, uint8_t *blob, size_t *blob_len,
                 struct err *err) MUST_CHECK;

/**
 * What a blob says that it is locked with.
 * @param[out] lock  kind is TPM_LOCK_AUTH for a blob without a policy. All zero after a failure.
 * @return false if the blob is not well-formed, or its policy is not that of any lock it could
 * name. Whether it is that of the lock it does name only tpm_unseal() and tpm_sealed_check() know.
 */
bool tpm_sealed_lock(const uint8_t *blob, size_t blob_len, struct tpm_lock *lock) MUST_CHECK;

/**
 * Would this blob open, as far as can be told before W stands where its lock wants it? Loads it,
 * compares its policy, the upper bound of W and the PCRs. What is left out is the lower bound and
 * the authorisation value. Changes nothing.
 * Parameters and codes as tpm_unseal().
 */
enum rc tpm_sealed_check(struct tpm *tpm, struct anchor *anchor, const uint8_t *blob,
                         size_t blob_len, struct err *err) MUST_CHECK;

/**
 * Unseal, with parameter encryption on the bus. A blob with a policy is opened through a salted
 * policy session of its own, which needs one free session slot and is flushed on every path.
 *
 * Anyone who may use the storage key can make a blob, so what comes out is not authentic: compare
 * the public key that belongs to it (DESIGN section 6 rule 9).
 *
 * @param[in]  anchor  For TPM_LOCK_WINDOW: the open anchor of the key whose W it is sealed to. NULL
 * where none is needed.
 * @param[in]  blob    Untrusted; parsed strictly.
 * @param[out] secret  secret_len bytes, 1 … TPM_SECRET_MAX; the blob must hold exactly so many.
 * Zero unless RC_OK.
 * @retval RC_HALT_SEEDS      The blob is damaged, of another TPM or another counter, the auth value
 *                            is wrong; or the TPM refuses, because W is outside the bounds
 * ("closed", "not yet open") or the PCRs have other values: the text says which. The anchor goes
 * on.
 * @retval RC_REFUSED_CONFIG  TPM_LOCK_OWNER: the owner authorisation of tpm_open() is wrong.
 * @retval RC_HALT_ANCHOR     Transport error.
 * @retval RC_RETRY_ANCHOR    Busy, or the PCRs changed several times meanwhile.
 * @retval RC_HALT_CANARY     The session is gone: the TPM was reset; or W was replaced.
 * The anchor's own halt, if it has one, comes first.
 * Source: TPM 2.0 Part 3, 12.7 (Unseal), 23 (enhanced authorisation).
 */
enum rc tpm_unseal(struct tpm *tpm, struct anchor *anchor, const uint8_t auth[32],
                   const uint8_t *blob, size_t blob_len, void *secret, size_t secret_len,
                   struct err *err) MUST_CHECK;

/**
 * Read the values of the selected PCRs, unauthenticated: they are for sealing, and a lie about them
 * makes a blob that does not open.
 * @param[in,out] pcrs  bank and selection are given; digest is filled. Nothing is asked if none is
 * selected.
 * @retval RC_REFUSED_CONFIG  The TPM has no such bank or not all of these PCRs.
 * @retval RC_HALT_ANCHOR, RC_RETRY_ANCHOR, RC_HALT_CANARY  As tpm_read_time().
 */
enum rc tpm_pcrs_read(struct tpm *tpm, struct tpm_pcrs *pcrs, struct err *err) MUST_CHECK;

#endif
