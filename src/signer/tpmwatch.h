/*
 * tpmwatch: which trouble of the TPM people are told of (base/trouble.h), and since when.
 *
 * Decides nothing about signing: what refuses is the code that asks the TPM for something. Here its
 * errors are named, a TPM that was cleared is told from one that was replaced, and the TPM's own
 * word on lock-out, speed and firmware is asked for now and then.
 *
 * On the service's own chain the ledger gets "operation-tpm-ek", once, and
 * "operation-tpm-firmware", at first and whenever it has changed: both only while the TPM holds a
 * key of ours, so that what they say is about our TPM.
 *
 * Uses: tpm (through struct world), ledger. Threads: signer thread.
 */
#ifndef SIGNER_TPMWATCH_H
#define SIGNER_TPMWATCH_H

#include "signer/key.h"
#include "signer/request.h"

#define TPMWATCH_TEXT 160

struct tpmwatch {
    const struct world *world;
    struct tpm_facts facts;
    int64_t asked_ms; /* raw time of the facts */
    /* What the start found, until the next start. */
    enum tpm_trouble at_start;
    char start_text[TPMWATCH_TEXT];
    /* What was refused last, until it is an hour old or something works again. */
    enum tpm_trouble refused;
    char refused_text[TPMWATCH_TEXT];
    int64_t refused_ms;
    char firmware_text[TPMWATCH_TEXT]; /* "" while there is nothing to say */
    uint32_t slow_ms;
};

/** What the start looks at. */
struct tpmwatch_start {
    void *tpm; /* NULL: it could not be opened, for the reason in tpm_err */
    const struct err *tpm_err;
    const struct key *keys;
    size_t key_count;
    struct ledger *ledger;
    int64_t now_s;
};

/**
 * After TPM and keys were opened, or not: name what is wrong, and keep the ledger's notes.
 * @param[in] slow_ms  From which 90th percentile of its commands on the TPM counts as slow.
 * @retval RC_HALT_LEDGER  As ledger_commit().
 * What the TPM answers to a question of this module is never a failure.
 */
enum rc tpmwatch_start(struct tpmwatch *watch, const struct world *world, uint32_t slow_ms,
                       const struct tpmwatch_start *start, struct err *err) MUST_CHECK;

/**
 * Ask again, at most every 10 s.
 * @param[in] tpm  Open.
 * @retval RC_HALT_ANCHOR, RC_HALT_CANARY  The connection is dead: as after any command.
 */
enum rc tpmwatch_ask(struct tpmwatch *watch, void *tpm, struct err *err) MUST_CHECK;

/**
 * What has become of requests: one that the TPM's trouble stopped is remembered and logged once,
 * and one that was signed says that the trouble is over.
 */
void tpmwatch_heed(struct tpmwatch *watch, const struct reply *reply);

/**
 * The trouble of now, the worst if there are several, and a sentence about it.
 * @param[in] tpm   NULL: not open.
 */
enum tpm_trouble tpmwatch_now(const struct tpmwatch *watch, void *tpm, char text[TPMWATCH_TEXT]);

#endif
