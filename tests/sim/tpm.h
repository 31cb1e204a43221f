/*
 * tpm: simulated TPMs: counters, records and sealed secrets, sessions and resets, and what goes
 * wrong with them.
 *
 * A struct sim_tpm is the chip; it is a plain value, so a copy of it is a snapshot (which only the
 * machine under a virtual TPM can take). A struct tpm_port is one machine's wire to a chip, with
 * the fault that waits on it. tpm_ops() is the door that the signer calls through: sessions with
 * rolling nonces, stop for good after the first HALT, exactly what tpm/anchor.h promises.
 *
 * Uses: base, tpm (records), signer/world.h. One thread.
 */
#ifndef SIM_TPM_H
#define SIM_TPM_H

#include "signer/world.h"
#include "sim/disk.h"

#define SIM_TPM_KEYS 4 /* eight counters, two for each key */
#define SIM_TPM_UNDO 4

enum tpm_command {
    TPM_CMD_OPEN,
    TPM_CMD_UNSEAL,
    TPM_CMD_ANCHOR_OPEN,
    TPM_CMD_READ,
    TPM_CMD_WRITE,
    TPM_CMD_STEP_W,
    TPM_CMD_STEP_L,
    TPM_CMD_PROVE,
    TPM_CMD_SEAL,
    TPM_CMD_PROVISION,
    TPM_CMD_UNDEFINE,
    TPM_CMD_CHECK,
    TPM_COMMANDS
};

enum tpm_fault {
    TPM_FAULT_NONE,
    TPM_FAULT_BUSY,        /* RC_RETRY: nothing was done, and the chip goes on */
    TPM_FAULT_REFUSED,     /* an answer that is an error; nothing was done */
    TPM_FAULT_NO_ANSWER,   /* the transport breaks, nothing was done */
    TPM_FAULT_DONE_SILENT, /* the transport breaks after it was done */
    TPM_FAULT_LATE,        /* the transport breaks, and the command is done later (or never) */
    TPM_FAULT_CUT_BEFORE,  /* the power goes, nothing was done */
    TPM_FAULT_CUT_AFTER,   /* the power goes after it was done */
    TPM_FAULTS
};

const char *tpm_command_name(enum tpm_command command);
const char *tpm_fault_name(enum tpm_fault fault);

/** What the chip holds for one key. */
struct sim_nv {
    bool defined;
    uint32_t handle; /* of W; L and A follow */
    uint8_t auth[32];
    uint64_t w, l;
    uint8_t a[ANCHOR_RECORD_LEN];
};

/** One chip. */
struct sim_tpm {
    uint32_t id;
    struct tpm_identity identity;
    struct sim_nv nv[SIM_TPM_KEYS];
    uint64_t highest; /* a new counter starts above every counter there ever was */
    uint32_t next_handle;
    uint64_t session, nonce;
    uint32_t reset_count, restart_count;
    bool powered; /* its clock runs, from clock_ns at the true time of clock_since_ns on */
    int64_t clock_ns, clock_since_ns;
    int64_t clock_ppb;     /* how much faster than true time */
    int64_t clock_safe_ns; /* below it, the clock has fallen back */
    uint64_t commands;
    int64_t lockout_until_ns; /* true time; everything is refused until then */
    bool dead;                /* no answer at all */
    bool loses_writes;        /* at a power cut the newest writes may be gone */
    struct sim_nv undo[SIM_TPM_UNDO][SIM_TPM_KEYS]; /* before the newest writes, newest first */
    unsigned undo_count;
    /* A command whose answer was given up, and which may still be done. */
    struct {
        bool waits;
        enum tpm_command command;
        unsigned key;
        uint64_t session;
        uint8_t a[ANCHOR_RECORD_LEN];
    } late;
};

/** Told of every command before it is looked at, for the trace. */
typedef void (*tpm_hook)(void *ctx, enum tpm_command command, enum tpm_fault fault);

struct tpm_port {
    struct sim_tpm *chip; /* borrowed; NULL: the machine has none */
    struct disk *power;   /* off: no command is answered; a cut here switches it off */
    const int64_t *now_ns;
    uint64_t fault_in; /* 1: the next command; 0: never */
    enum tpm_fault fault;
    uint64_t busy_in; /* as fault_in, for TPM_FAULT_BUSY in a row */
    unsigned busy_for;
    tpm_hook hook;
    void *hook_ctx;
};

/** A new chip, hardware that keeps its writes. */
void sim_tpm_make(struct sim_tpm *chip, uint32_t id);

/** The vendors' three kinds. */
enum tpm_kind { TPM_HARDWARE, TPM_FIRMWARE, TPM_VIRTUAL };
void sim_tpm_set_kind(struct sim_tpm *chip, enum tpm_kind kind);

/** The power came back: sessions are gone, the reset count moves; a chip that loses writes may have
 * lost up to SIM_TPM_UNDO of them. @return how many were lost. */
unsigned sim_tpm_power_on(struct sim_tpm *chip, int64_t now_ns, struct chance *chance);

/** The power went: the clock stands, and may have lost what it did not write down. */
void sim_tpm_power_off(struct sim_tpm *chip, int64_t now_ns, struct chance *chance);

/** A command whose answer never came is done now, if its session still stands. @return true if it
 * was. */
bool sim_tpm_land_late(struct sim_tpm *chip);

/** The counters that belong to an authorisation as the ledger's pins name them, or NULL. */
const struct sim_nv *sim_tpm_nv(const struct sim_tpm *chip, uint32_t w_handle);

/** The operations; tpm_ctx is a struct tpm_port. */
extern const struct tpm_ops sim_tpm_ops;

#endif
