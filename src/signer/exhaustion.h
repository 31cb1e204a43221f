/*
 * exhaustion: the warning that a key runs out, which must be acknowledged before it signs on.
 *
 * RFC 10033 §3 wants a soft end before the hard one. A key reaches two levels: settings.ack_percent
 * of its one-time keys left, and a tenth of that. At each it signs nothing new until an operator
 * has typed the warning's sentence; stored signatures are returned all the same. Warning and
 * acknowledgement are notes of the key's chain with the level as their number; an acknowledgement
 * covers its level and those above it, also after the configuration has changed.
 *
 * Uses: policy/forecast.h, ledger. Threads: signer thread.
 */
#ifndef SIGNER_EXHAUSTION_H
#define SIGNER_EXHAUSTION_H

#include "signer/key.h"
#include "signer/request.h"

/** Load what the ledger knows of warnings and acknowledgements; at the start. What it cannot tell
 * counts as not acknowledged. */
void exhaustion_remember(struct key *key, struct ledger *ledger);

/**
 * May this key use another index?
 * @retval RC_REFUSED_ACK  Not before its warning is acknowledged.
 */
enum rc exhaustion_check(const struct key *key, struct ledger *ledger,
                         const struct key_settings *settings, int64_t now_s,
                         struct err *err) MUST_CHECK;

/** The level that waits for an acknowledgement, or 0. */
uint32_t exhaustion_waits(const struct key *key, struct ledger *ledger,
                          const struct key_settings *settings, int64_t now_s);

/**
 * If the key has reached a level that the ledger knows no warning of: log it and add the warning
 * entry "exhaustion", committed.
 * @retval RC_HALT_LEDGER  As ledger_commit().
 */
enum rc exhaustion_warn(struct key *key, struct ledger *ledger, const struct key_settings *settings,
                        int64_t now_s, struct err *err) MUST_CHECK;

/** The newest warning of a key. @return false: there is none. */
bool exhaustion_view(const struct key *key, struct view_warning *view);

/**
 * Take an operator's word: entry "acknowledgement" with who gave it, committed before it counts.
 * @param[in] id        Of the key's newest warning.
 * @param[in] sentence  As exhaustion_view() shows it, to the letter.
 * @retval RC_REFUSED_NOT_FOUND  No such warning, or a newer one has taken its place.
 * @retval RC_REFUSED_INPUT      Another sentence.
 * @retval RC_HALT_LEDGER        As ledger_commit().
 * Acknowledged already: RC_OK, and nothing is written.
 */
enum rc exhaustion_acknowledge(struct key *key, struct ledger *ledger, uint64_t id,
                               const char *sentence, const char *who, int64_t now_s,
                               struct err *err) MUST_CHECK;

/** GET …/forecast. */
void exhaustion_forecast(const struct key *key, struct ledger *ledger,
                         const struct key_settings *settings, int64_t now_s,
                         struct view_forecast *view);

#endif
