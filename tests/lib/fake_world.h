/*
 * fake_world: a TPM in memory and a clock that is set by hand, as a struct world for the signer.
 *
 * The TPM holds W, L and A of a few keys and opens sealed blobs of its own making. Like the real
 * one it is used through one session with rolling nonces, stops for good after the first HALT until
 * it is opened again, and knows nothing of what its values mean. It can fail, refuse or be busy at
 * its n-th command, lose its newest write, and be put back to an earlier state.
 *
 * The TPM lies in shared memory: after fork() parent and child are two copies of one process in
 * front of one TPM, which is what resuming a memory image comes to (attacks 4 and 31).
 *
 * Uses: base, tpm (records), clock, signer/world.h. One thread. A mistake in its use stops the test
 * (MUST).
 */
#ifndef TESTS_LIB_FAKE_WORLD_H
#define TESTS_LIB_FAKE_WORLD_H

#include "signer/world.h"

#define FAKE_KEYS_MAX 4

/* Commands, in the order of struct tpm_ops. Every one of them is counted. */
enum fake_command {
    FAKE_OPEN,
    FAKE_UNSEAL,
    FAKE_ANCHOR_OPEN,
    FAKE_READ,
    FAKE_WRITE,
    FAKE_STEP_W,
    FAKE_STEP_L,
    FAKE_PROVE,
    FAKE_SEAL,
    FAKE_PROVISION,
    FAKE_UNDEFINE,
    FAKE_CHECK,
    FAKE_PCRS
};

enum fake_fault {
    FAKE_NONE,
    FAKE_FAIL_BEFORE, /* RC_HALT_ANCHOR, nothing done */
    FAKE_FAIL_AFTER,  /* RC_HALT_ANCHOR, but done */
    FAKE_REFUSE,      /* RC_HALT_CANARY, nothing done */
    FAKE_BUSY         /* RC_RETRY_ANCHOR, nothing done, and the TPM goes on */
};

/** What the TPM's NV memory holds for one key. */
struct fake_nv {
    bool defined;
    uint32_t handle; /* of W */
    uint8_t auth[ANCHOR_AUTH_LEN];
    uint64_t w, l;
    uint8_t a[ANCHOR_RECORD_LEN];
};

/** Shared between processes. */
struct fake_tpm {
    struct fake_nv nv[FAKE_KEYS_MAX];
    struct fake_nv before[FAKE_KEYS_MAX]; /* as it was before the newest write */
    struct tpm_identity identity;
    uint8_t pcrs;       /* another number is another state of the machine */
    bool owner_refuses; /* the owner authorisation is not the one that the caller has */
    uint8_t id;         /* another number is another TPM: it opens none of this one's blobs */
    uint64_t session;
    uint64_t nonce;
    uint32_t resets;
    uint64_t commands; /* since fake_world_make() or fake_tpm_fail() */
    uint64_t fault_at; /* 0: never */
    enum fake_fault fault;
    enum fake_command hit; /* the command that failed last */
    unsigned unanchored;   /* proofs asked for while A did not say what W and L say */
};

struct fake_world {
    struct world world;
    struct time_source source;
    struct fake_tpm *tpm;
    /* The clock: what the host says, and how far off chronyd thinks that may be. */
    int64_t now_ns, raw_ns, error_ns;
    uint32_t reasons;  /* what its evidence is wrong in: no-reply, leap3, stale, step, or range for
                        * all else; 0: nothing */
    int64_t asleep_ns; /* so much more has the boot clock counted than the monotonic one */
    int64_t tpm_ns;    /* the TPM's clock is so far ahead of the raw clock */
    uint64_t readings;
    uint64_t change_at;      /* at this reading (1: the next) … */
    int64_t change_s;        /* … the clock goes forward by so much, */
    uint32_t change_reasons; /* and these become its reasons */
    int64_t slept_ms;
    /* Called before each command is looked at, after it was counted. */
    void (*hook)(void *ctx, enum fake_command command);
    /* Called after a command took effect, before its answer. */
    void (*hook_after)(void *ctx, enum fake_command command);
    void *hook_ctx;
    /* What a TPM that attests says; NULL: it does not. Not counted as commands. */
    enum rc (*attests)(void *ctx, const struct fake_nv *nv, const uint8_t digest[32],
                       struct attest_evidence *evidence, struct err *err);
    void *attests_ctx;
    struct attest_keys attest_keys;
};

/** A hardware TPM that keeps its writes, at a clock of now_s that is right to 10 ms. Time alone is
 * no command: it is told whatever else goes wrong. */
void fake_world_make(struct fake_world *f, int64_t now_s);
void fake_world_end(struct fake_world *f);

/** Let time pass until the clock says now_s. Backwards: somebody sets it, as fake_clock_step(). */
void fake_clock_set(struct fake_world *f, int64_t now_s);

/** Somebody, or every time server, sets the clock; no time passes. */
void fake_clock_step(struct fake_world *f, int64_t now_s);

/** At the n-th reading from now (1: the next) move the clock and make it unsafe for reasons. */
void fake_clock_change_at(struct fake_world *f, uint64_t n, int64_t seconds, uint32_t reasons);

/** Do this at the n-th command from now (1: the next); 0 or FAKE_NONE: never. */
void fake_tpm_fail(struct fake_world *f, uint64_t n, enum fake_fault fault);

/** A reset or another client: open sessions are gone. */
void fake_tpm_reset(struct fake_world *f);

/** The newest write never happened (a TPM that does not keep its writes). */
void fake_tpm_lose_last(struct fake_world *f);

/** Fill in the digest of the values that the selected PCRs have now. */
void fake_tpm_pcrs(const struct fake_world *f, struct tpm_pcrs *pcrs);

/** Make the counters of a key and fill its pins; W and L begin in the middle of somewhere. */
void fake_tpm_define(struct fake_world *f, unsigned key, int64_t floor_window,
                     const uint8_t auth[ANCHOR_AUTH_LEN], struct anchor_pins *pins);

/** Write A of a key, as it stands or torn. */
void fake_tpm_set_a(struct fake_world *f, unsigned key, const struct anchor_record *a);
void fake_tpm_tear_a(struct fake_world *f, unsigned key);

/** Seal as tpm_seal() does; lock: NULL for the authorisation alone. */
void fake_seal(const struct fake_world *f, const uint8_t auth[32], const struct tpm_lock *lock,
               const void *secret, size_t len, uint8_t blob[TPM_SEALED_MAX], size_t *blob_len);

#endif
