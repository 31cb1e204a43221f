/*
 * results: what became of the signing requests of each key since the signing process started.
 *
 * Signatures themselves are receipts of the ledger and are counted there; everything else leaves no
 * entry and is counted here, in memory.
 *
 * Uses: request, signer. Signer thread only.
 */
#ifndef SIGNER_RESULTS_H
#define SIGNER_RESULTS_H

#include "signer/signer.h"

/** All zero at first. */
struct results {
    struct {
        char key[NAME_LEN_MAX + 1];
        uint64_t counts[VIEW_RESULTS];
    } keys[SIGNER_KEYS_MAX];
    size_t count;
};

/**
 * A request has its answer. One for a key that does not exist is not counted, since names of keys
 * are labels and a client may say anything; nor is a new signature.
 */
void results_count(struct results *results, const char *key, const struct reply *reply);

/** What was counted for the key of a meter. */
void results_fill(const struct results *results, struct view_meter *meter);

#endif
