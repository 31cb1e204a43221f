/*
 * world: the TPM and the clock as the signer sees them: small structs of function pointers.
 *
 * The daemon hands over the real ones (world_tpm(), world_clock()); the simulator hands over its
 * own and runs the same signer code. The functions promise what tpm/anchor.h, tpm/device.h and
 * clock/machine.h say; nothing is added here.
 *
 * Uses: base, tpm, clock. Threads: all calls come from the signer thread.
 */
#ifndef SIGNER_WORLD_H
#define SIGNER_WORLD_H

#include "base/attested.h"
#include "base/world.h"
#include "clock/machine.h"
#include "tpm/anchor.h"
#include "tpm/health.h"

/** A TPM: tpm_open() … tpm_unseal() and the anchor_…() functions of one key. */
struct tpm_ops {
    enum rc (*open)(void *ctx, void **tpm, struct err *err);
    void (*close)(void *ctx, void **tpm);
    const struct tpm_identity *(*identify)(void *tpm);
    /* anchor: an open one for a window's lock, else NULL */
    enum rc (*unseal)(void *tpm, void *anchor, const uint8_t auth[32], const uint8_t *blob,
                      size_t blob_len, void *secret, size_t secret_len, struct err *err);
    enum rc (*sealed_check)(void *tpm, void *anchor, const uint8_t *blob, size_t blob_len,
                            struct err *err);
    bool (*sealed_lock)(const uint8_t *blob, size_t blob_len, struct tpm_lock *lock);
    enum rc (*anchor_open)(void **anchor, void *tpm, const struct anchor_pins *pins,
                           const uint8_t auth_secret[32], struct err *err);
    void (*anchor_close)(void **anchor);
    enum rc (*read)(void *anchor, struct anchor_state *state, struct err *err);
    enum rc (*write)(void *anchor, const struct anchor_record *a, struct err *err);
    enum rc (*step_w)(void *anchor, uint64_t expected, struct err *err);
    enum rc (*step_l)(void *anchor, uint64_t expected, struct err *err);
    enum rc (*prove)(void *anchor, uint64_t expected_l, struct tpm_time *time, struct err *err);
    /* attestation: RC_REFUSED_ATTEST where there is none */
    enum rc (*attest_keys)(void *tpm, bool with_ek, struct attest_keys *keys, struct err *err);
    enum rc (*attest)(void *anchor, const uint8_t ak_name[TPM_NAME_LEN], const uint8_t digest[32],
                      struct attest_evidence *evidence, struct err *err);
    /* making and removing keys */
    enum rc (*seal)(void *tpm, const uint8_t auth[32], const struct tpm_lock *lock,
                    const void *secret, size_t secret_len, uint8_t *blob, size_t *blob_len,
                    struct err *err);
    enum rc (*pcrs_read)(void *tpm, struct tpm_pcrs *pcrs, struct err *err);
    enum rc (*choose)(void *tpm, struct anchor_pins *pins, struct err *err);
    enum rc (*provision)(void *tpm, const uint8_t auth_secret[32], int64_t floor_window,
                         struct anchor_pins *pins, struct err *err);
    enum rc (*undefine)(void *tpm, const struct anchor_pins *pins, const uint8_t auth_secret[32],
                        struct err *err);
    enum rc (*read_time)(void *tpm, struct tpm_time *time, struct err *err);
    /* What is said about the TPM; both may be NULL, then nothing is. tpm: open, or NULL to connect
     * for this question; ek: the endorsement key too (tpm_facts_ek()). */
    enum rc (*facts)(void *ctx, void *tpm, bool ek, struct tpm_facts *facts, struct err *err);
    void (*latency)(void *tpm, struct tpm_latency *latency);
};

/** Who computes beside the signer thread (crew.h). */
struct hands {
    void *ctx;
    size_t count; /* how many work at once, the signer thread among them */
    void (*run)(void *ctx, size_t parts, void (*part)(void *arg, size_t i), void *arg);
    /* Hands that have nothing else to do call work(arg), several at once, until it returns false.
     * Returns at once; what was asked for before is not called any more. */
    void (*spare)(void *ctx, bool (*work)(void *arg), void *arg);
};

struct ahead; /* ahead.h */

struct tool_clock; /* toolclock.h */

struct world {
    const struct time_source *time;
    const struct tpm_ops *tpm;
    void *tpm_ctx; /* world_tpm: const struct tpm_config * */
    /* Raw evidence, all but the TPM's part. Never fails: what could not be had says so. */
    void (*clock_sample)(void *ctx, struct clk_sample *sample);
    void *clock_ctx;                     /* world_clock_sample: struct clk * */
    const struct tool_clock *tool_clock; /* by which offline operations judge it; else NULL */
    const struct hands *hands;           /* NULL: the signer thread alone */
    struct ahead *ahead;                 /* NULL: nothing is computed ahead */
};

/** The real TPM behind struct tpm_ops; its ctx is a const struct tpm_config *. */
extern const struct tpm_ops world_tpm;

/** The real clock, clk_sample(); ctx is a struct clk *. */
void world_clock_sample(void *ctx, struct clk_sample *sample);

#endif
