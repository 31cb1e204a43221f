/*
 * operator: the offline commands, run on a machine whose service is stopped: make a key, export a
 * backup and acknowledge it, open a window early, recover on the same device, replace a device from
 * a backup.
 *
 * Each takes the same steps as the command in src/daemon (both locks, ledger, TPM, then the call
 * into src/signer), so it can be cut off in the middle by any fault that is armed. The shelf holds
 * the backups that were made; nothing is lost there.
 *
 * Uses: sim, machine, signer. One thread.
 */
#ifndef SIM_OPERATOR_H
#define SIM_OPERATOR_H

#include "sim/machine.h"

/** A backup on the shelf. */
struct shelved {
    char path[24];
    uint8_t key;
    uint8_t machine; /* that was exported */
    int64_t through; /* its mark */
    uint8_t sha256[SHA256_LEN];
    bool acknowledged;
};

/** Empty the shelf and begin. */
void operator_begin(void);
void operator_end(void);

/** An empty ledger onto an empty disk, as the first offline command would make it. */
void operator_give_ledger(struct machine *m);

/** Make a key under a plan document. @return true if it was made. */
bool operator_key_new(struct machine *m, const char *plan_text);

/** Export a key with a mark of `through` at the least, and with `acknowledge` check the file where
 * it was taken. @return true if all of it worked. */
bool operator_export(struct machine *m, unsigned key, int64_t through, bool acknowledge);

/**
 * Time plans: export with the next window's mark, acknowledge, and open that window early.
 * @param[in] arm  Called between the two, to let something go wrong in the second.
 */
enum rc operator_advance(struct machine *m, unsigned key, void (*arm)(struct machine *m));

/**
 * Look at the clock of a running service, and acknowledge the jump forward that stands, if one
 * does.
 * @param[in] fooled  The operator reads the time off the host; otherwise off a clock that is right.
 * @return true if it was accepted.
 */
bool operator_acknowledge(struct machine *m, bool fooled);

/**
 * On with the next window, here.
 * @param[out] wait_s  Seconds after which time has caught up, as the refusal says; 0: it says none.
 */
enum rc operator_recover_here(struct machine *m, unsigned key, int64_t *wait_s);

/**
 * Replace a lost device: the key's backup `which` back from the newest (0: the newest) goes to
 * machine m. The statement that the old device is destroyed is made true by the caller.
 */
enum rc operator_replace(struct machine *m, unsigned key, unsigned which);

/** Backups of a key on the shelf. */
unsigned operator_shelved(unsigned key);

#endif
