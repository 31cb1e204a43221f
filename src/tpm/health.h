/*
 * health: what is wrong with the TPM, how fast it answers, and which one it is.
 *
 * Nothing here needs a key, changes anything in the TPM, or decides whether something may sign: it
 * names for people what other functions refuse.
 *
 * Uses: base, tpm2-tss. Threads: as struct tpm, except where it says any.
 */
#ifndef TPM_HEALTH_H
#define TPM_HEALTH_H

#include "base/histogram.h"
#include "base/pins.h"
#include "base/trouble.h"
#include "tpm/device.h"

/* An err whose origin is this comes from a comparison of the TPM with what was recorded of it, and
 * not from the TPM: asking again does not help. */
#define TPM_ORIGIN_PINS "pins"

/**
 * Which trouble an error tells of, by the TPM's own code in it. Any thread.
 * @return TPM_TROUBLE_NONE for errors that are not about the TPM.
 */
enum tpm_trouble tpm_trouble_of(const struct err *err);

/** How long commands took, over the last TPM_TIMED of them, and every increment of a counter since
 * the TPM was opened. Zero while there was none. */
#define TPM_TIMED 64
struct tpm_latency {
    uint32_t count; /* of commands that the numbers are about */
    uint32_t median_us, p90_us, max_us;
    struct histogram increments; /* histogram_time_bounds_us */
};
void tpm_latency(const struct tpm *tpm, struct tpm_latency *latency);

/**
 * For how long the command that is under way has been so; 0: none is. There is one worker for the
 * TPM in a process. Any thread: it is how others learn that the worker is stuck.
 */
uint32_t tpm_waits_ms(void);

/** What a TPM says about itself without keys of ours. */
struct tpm_facts {
    uint64_t firmware; /* TPM_PT_FIRMWARE_VERSION_1 and _2; 0: does not say */
    bool in_lockout;   /* somebody's wrong authorisations; our objects are not concerned (noDA) */
    uint32_t lockout_counter, lockout_max, lockout_recovery_s;
    /* Name of the endorsement key, by which one TPM is told from another and which a clear does not
     * change. Not known where the endorsement authorisation is not empty. */
    bool ek_known;
    uint8_t ek_name[TPM_NAME_LEN];
};

/**
 * Ask for firmware and lock-out: two or three short commands.
 * @param[out] facts  ek_known is false.
 * @retval RC_RETRY_ANCHOR  Busy.
 * @retval RC_HALT_ANCHOR, RC_HALT_CANARY  As for every command.
 */
enum rc tpm_facts(struct tpm *tpm, struct tpm_facts *facts, struct err *err) MUST_CHECK;

/**
 * The same and the endorsement key's Name, which makes that key (TCG EK Credential Profile,
 * template L-2, ECC P-256) and flushes it: up to a second on a chip, and one slot for objects.
 */
enum rc tpm_facts_ek(struct tpm *tpm, struct tpm_facts *facts, struct err *err) MUST_CHECK;

/**
 * The same of a TPM that tpm_open() does not take, since it has no storage key of ours: connects,
 * asks and disconnects.
 * @retval RC_…  As tpm_open() for the way to it.
 */
enum rc tpm_look(const struct tpm_config *config, struct tpm_facts *facts,
                 struct err *err) MUST_CHECK;

/** "7.85.4555.0" as vendors print it, or "unknown". */
#define TPM_FIRMWARE_TEXT 24
void tpm_firmware_print(char text[TPM_FIRMWARE_TEXT], uint64_t firmware);

#endif
