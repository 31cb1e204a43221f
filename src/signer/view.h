/*
 * view: answers to questions about keys, windows, versions and indices; changes nothing.
 *
 * Uses: ledger (reading), policy, key. Threads: signer thread. Every list is bounded by
 * REQUEST_LIST_MAX; failures of the ledger end as zeros in the helpers and as codes in the lists.
 */
#ifndef SIGNER_VIEW_H
#define SIGNER_VIEW_H

#include "signer/key.h"
#include "signer/request.h"

/** What a client is told about a receipt (checkpoint and remaining are left zero). */
void view_signature(const struct key *key, const struct ledger_receipt *receipt,
                    struct signature_view *view);

/**
 * Signatures that may still be made in a window, and with the key. A number for people: the
 * configured cap of a window is not in it, and per-line plans count only windows from the floor on.
 * Both 0 if the ledger cannot be read.
 * @param[in] now_s  Host clock: what is over in a time plan is not left.
 */
void view_remaining(const struct key *key, struct ledger *ledger, uint64_t window, int64_t now_s,
                    uint64_t *in_window, uint64_t *in_key);

/**
 * Version and interval plans: highest window that may sign until another export is acknowledged, or
 * REQUEST_NONE for no limit (time plans, and keys that were never exported: DESIGN section 10).
 */
int64_t view_export_limit(const struct key *key, struct ledger *ledger, int64_t margin);

/** The next version after `version` that is free and allowed in this slot; "" if there is none. */
void view_next_version(const struct key *key, struct ledger *ledger, const char *version,
                       const char *slot, char next[REQUEST_VERSION_MAX + 1]);

/** One key for lists. @param[in] now_s  Host clock, for the window of now. */
void view_key(const struct key *key, struct ledger *ledger, const struct key_settings *settings,
              int64_t now_s, struct view_key *view);

/** The same for monitors, with the window of now and the configured limits; what
 * exhaustion_forecast() knows is for the caller to add. */
void view_meter(const struct key *key, struct ledger *ledger, const struct key_settings *settings,
                int64_t now_s, struct view_meter *meter);

/**
 * Windows from … to (inclusive).
 * @param[out] views  Room for REQUEST_LIST_MAX; *count receives how many.
 * @param[out] next   First window that did not fit, or REQUEST_NONE.
 * @retval RC_HALT_LEDGER
 */
enum rc view_windows(const struct key *key, struct ledger *ledger, int64_t from, int64_t to,
                     int64_t now_s, struct view_window *views, size_t *count, int64_t *next,
                     struct err *err) MUST_CHECK;

/**
 * Versions whose text starts with prefix, bound ones in order of index from index `from` on; if
 * prefix is a whole version, all its slots, free ones too.
 * @retval RC_REFUSED_OUTSIDE_PLAN  Not a version plan.
 */
enum rc view_versions(const struct key *key, struct ledger *ledger, const char *prefix,
                      int64_t from, struct view_version *views, size_t *count, int64_t *next,
                      struct err *err) MUST_CHECK;

/** One index; now_s as in view_remaining(). @retval RC_REFUSED_RANGE  Not an index of the plan. */
enum rc view_index(const struct key *key, struct ledger *ledger, int64_t index, int64_t now_s,
                   struct view_index *view, struct err *err) MUST_CHECK;

/** What a key loses if time goes from one second to another at once: windows that nobody can sign
 * in any more, and the one-time keys left in them. Zeros for plans without time. */
void view_clock_loss(const struct key *key, struct ledger *ledger, int64_t from_s, int64_t to_s,
                     uint64_t *windows, uint64_t *one_time_keys);

#endif
