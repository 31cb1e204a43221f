/*
 * victim: a signer's TPM under attack: a software TPM, two keys with W, L, A as the signer makes
 * them, a blob for each of their windows as the signer seals it, and blobs that are sealed less
 * well, for the controls. It steps W as the service does. Can be put back to any of its windows.
 *
 * What the attacker knows stands in the public part of the struct; only `plain` is for the judge.
 * Functions without a result end the program when something goes wrong. One thread.
 */
#ifndef TESTS_ATTACK_VICTIM_H
#define TESTS_ATTACK_VICTIM_H

#include "lib/swtpm.h"
#include "tpm/anchor.h"
#include "tpm/device.h"
#include "tpm/lock.h"

#define VICTIM_KEYS 2
#define VICTIM_WINDOWS 8 /* W runs from window 0 to the last but one */
#define PLAIN_LEN 64

/** How a blob is sealed: a window's secret, its copy in an escrow that the TPM keeps (the owner
 * authorisation opens it until the window is over), and less well, for the controls. */
enum strength {
    FULL,
    ESCROW,
    ESCROW_NO_UPPER,
    NO_UPPER,
    NO_LOWER,
    NO_BOUNDS,
    AUTH_ALONE,
    STRENGTHS
};

struct target {
    unsigned key;
    enum strength strength;
    int64_t window;
    uint64_t low, high; /* W for which it may open */
    uint8_t bytes[TPM_SEALED_MAX];
    size_t len;
    uint8_t plain[PLAIN_LEN]; /* for the judge alone */
};

struct victim_key {
    uint8_t auth_secret[ANCHOR_AUTH_LEN]; /* "device": assumed to be known */
    uint8_t seed_auth[32];
    struct anchor_pins pins;
    struct target target[STRENGTHS][VICTIM_WINDOWS];
};

struct victim {
    struct swtpm swtpm;
    struct tpm *tpm;
    struct victim_key key[VICTIM_KEYS];
    struct anchor *anchor[VICTIM_KEYS];
    int64_t open; /* window at which W stands, the same for all keys */
    char saved[VICTIM_WINDOWS][SWTPM_DIR_SIZE]; /* states of the TPM, for the test alone */
    unsigned honest; /* how often an open window was opened, and had to be */
};

/**
 * A new TPM and new keys at window 0. victim_end() in any case.
 * @param[in] twin  NULL, or another one whose keys' secrets are used again, on this other TPM.
 */
void victim_make(struct victim *v, const struct victim *twin);
void victim_end(struct victim *v);

/** The service's step to the next window, on all keys. Not from the last. */
void victim_step(struct victim *v);

/** Everything again as it was when the service had stepped to this window; a reset to the TPM. */
void victim_restore(struct victim *v, int64_t window);

/** The service, restarted beside an unharmed TPM. tcti: how it gets there; NULL: directly. */
void victim_reconnect(struct victim *v, const char *tcti);

/** Open the current window of each key, as the service does; it must open and be right. */
void victim_honest(struct victim *v);

/** The service's own code on a blob. @return true if it gave the secret. */
bool victim_unseal(struct victim *v, const struct target *t);

/** Prints what and ends the program. */
_Noreturn void give_up(const char *what, const struct err *err);

#endif
