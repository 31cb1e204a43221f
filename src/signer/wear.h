/*
 * wear: how worn the NV indices of a key are, and the warnings about it.
 *
 * W and L tell their writes themselves, against the values they began with; A counts its own (the
 * field writes of its record), so that counting writes nothing.
 *
 * Uses: policy/wear.h, ledger. Threads: signer thread.
 */
#ifndef SIGNER_WEAR_H
#define SIGNER_WEAR_H

#include "signer/key.h"
#include "signer/request.h"

/**
 * Fill what people and metrics are told of a key's wear.
 * @param[in]  endurance  As in struct key_settings.
 * @param[in]  now_s      Host clock.
 * @param[out] wear       known is false for a key that was not opened.
 */
void wear_view(const struct key *key, uint64_t endurance, int64_t now_s, struct view_wear *wear);

/** Load key->wear_warned; what the ledger cannot tell counts as not warned of. At the start. */
void wear_remember(struct key *key, struct ledger *ledger);

/**
 * If the key has passed a threshold (50, 75, 90 %) that the ledger knows no warning of: log it and
 * add the warning entry "tpm-wear" with the threshold as its number, committed. At most once for
 * each threshold and ledger; thresholds that were passed at once get one entry, of the highest.
 * @retval RC_HALT_LEDGER  As ledger_commit().
 */
enum rc wear_warn(struct key *key, struct ledger *ledger, uint64_t endurance, int64_t now_s,
                  struct err *err) MUST_CHECK;

#endif
