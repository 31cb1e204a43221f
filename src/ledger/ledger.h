/*
 * ledger: the append-only record of everything: keys, windows, leases, intents, receipts, burns.
 *
 * One SQLite database, one connection, opened so that an acknowledged commit survives a power cut
 * (locking_mode=EXCLUSIVE, synchronous=EXTRA, journal_mode=WAL, each read back; DESIGN section 8).
 * Every entry is one line of canonical JSON (RFC 8785). It names the hash of the entry before it of
 * the same key ("prev"; 64 zeros in the first), and its own hash is SHA-256(0x00 || JSON), the leaf
 * hash of RFC 6962 §2.1: so the chain of each key and the leaves of one log over all entries are
 * the same hashes. The tables binding, lease, receipt, … are what the entries say in a form that
 * can be searched, written in the same transaction; UNIQUE(key, index) and triggers in them are the
 * last line of defence (I1). Nothing is ever changed or removed but a binding, by its void entry.
 *
 * Uses: base, SQLite. Knows nothing of plans, TPM or signatures.
 * Threads: a struct ledger belongs to the signer thread; no other thread calls in. Every function
 * blocks on the disk.
 * Keeps: I1 (an index is leased at most once), I2 (durable before use). See docs/invariants.md.
 *
 * Writing: ledger_begin(), any number of ledger_add_…(), ledger_commit(). Only ledger_commit()
 * syncs.
 *
 * What holds for every function here, and is not said again:
 * - RC_HALT_LEDGER: SQLite failed or the database is damaged. The outcome is unknown, nothing is
 *   tried again, and every later call on the same ledger gives RC_HALT_LEDGER too: close it, and
 * let start-up decide. Closing then writes nothing either.
 * - RC_REFUSED_NO_KEY: there is no key of that number. Nothing changed.
 * - Adding: RC_REFUSED_RANGE if a number is out of its range (windows, indices, lines, ranks and
 *   lease numbers below 2^60; counters, epochs and sizes up to 2^63 - 1; times 1970 … 9999), and
 *   RC_REFUSED_INPUT if a text is too long or not UTF-8. Nothing changed.
 * - After any RC_REFUSED_… the open transaction is as it was before the call and can go on.
 * - ledger_add_…(), ledger_void_after() and ledger_raise_min_window() need an open transaction
 * (MUST).
 */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attested.h"
#include "base/burn.h"
#include "base/lease.h"
#include "base/pins.h"
#include "base/rc.h"
#include "base/text.h"

#define LEDGER_SCHEMA_VERSION 4
#define LEDGER_ID_LEN 16    /* of a receipt: what /signatures/{id} names */
#define LEDGER_TEXT_MAX 255 /* request ids, idempotency keys, requesters, reasons */
#define LEDGER_VERSION_MAX 63
#define LEDGER_PUBLIC_MAX 128
#define LEDGER_VALUE_MAX 64 /* hash value that a one-time key signs, randomizer */
#define LEDGER_SIGNATURE_MAX (128 * 1024)
#define LEDGER_ATTESTATION_MAX (16 * 1024) /* bytes of an attestation */
#define LEDGER_KEYS_MAX 255                /* keys in one ledger */

struct ledger; /* opaque: ledger_open() makes it, ledger_close() ends it */

struct ledger_options {
    const char *path; /* of the database file; made with mode 0600 */
    const char *vfs;  /* SQLite VFS to use; NULL: the default one (tests bring their own) */
    bool create;      /* make the database if it is not there */
};

/**
 * Open and verify: the version of the schema, every setting, the tables and triggers themselves,
 * SQLite's own integrity check, contiguous entry numbers, every hash, every chain, and that each
 * row of each table says what its entry says, signatures included. One to two seconds per
 * 100,000 receipts.
 *
 * Whatever it holds afterwards is durable, also what a process wrote that was killed before its
 * sync or whose sync failed.
 *
 * A ledger of an older version gets the tables that it does not have, in one transaction; nothing
 * that is in it changes. A database that is not a ledger, or one of a newer version, is left
 * exactly as it was.
 *
 * @param[out] ledger   Owned by the caller, ledger_close(). NULL unless RC_OK.
 * @param[in]  options  Borrowed for the call.
 * @retval RC_OK
 * @retval RC_REFUSED_NOT_FOUND    No database, or an empty one, and create is false.
 * @retval RC_REFUSED_UNSUPPORTED  Written by a newer version of the schema.
 * @retval RC_RETRY_BUSY           Another process has it open.
 * @retval RC_HALT_LEDGER          Damaged (the text names the entry), not a ledger, or a setting
 * did not take.
 */
enum rc ledger_open(struct ledger **ledger, const struct ledger_options *options,
                    struct err *err) MUST_CHECK;

/**
 * Close; a transaction that is open is rolled back. What was committed is copied from the WAL into
 * the database file; if that fails nothing is lost. NULL inside is fine. For CLEANUP().
 */
void ledger_close(struct ledger **ledger);

/**
 * Could the cause of a RC_HALT_LEDGER pass, so that it is worth closing and opening again: disk
 * full, I/O error, file not to be opened? Damage and everything else: false. Any thread; pure.
 */
bool ledger_may_pass(const struct err *err) MUST_CHECK;

/** Entries in the ledger (the size of the log), those of an open transaction included. */
uint64_t ledger_size(const struct ledger *ledger);

/* Transactions --------------------------------------------------------------------------------- */

/**
 * Copy what commits have left in the WAL into the database file, if that is due: for a moment in
 * which nobody waits. Commits do it themselves only where nobody has for long. Not inside a
 * transaction (MUST).
 * @retval RC_HALT_LEDGER  A disk on which that fails is not one to go on with. What was committed
 *                         stands.
 */
enum rc ledger_tidy(struct ledger *ledger, struct err *err) MUST_CHECK;

/** Begin. Not inside another transaction (MUST). */
enum rc ledger_begin(struct ledger *ledger, struct err *err) MUST_CHECK;

/**
 * Commit and sync.
 * @retval RC_OK           No power cut can lose it any more.
 * @retval RC_HALT_LEDGER  Unknown whether it is there (disk full, I/O error).
 */
enum rc ledger_commit(struct ledger *ledger, struct err *err) MUST_CHECK;

/** Forget the open transaction; nothing of it is there. Fine without one. */
void ledger_rollback(struct ledger *ledger);

/* Entries -------------------------------------------------------------------------------------- */

struct ledger_key {
    uint32_t id; /* 1-based number of the key in this ledger; set by ledger_add_key() */
    char name[NAME_LEN_MAX + 1];
    uint8_t key_id[KEY_ID_LEN];
    uint8_t plan_sha256[SHA256_LEN];
    uint8_t public_key[LEDGER_PUBLIC_MAX]; /* raw RFC 8554 or RFC 8391 */
    size_t public_key_len;
    struct anchor_pins pins; /* of the newest device-provisioned entry */
    int64_t min_window;      /* lowest window that this device may sign in (recovery raises it) */
    int64_t provisioned_s;   /* time of that entry; set by ledger_add_key() */
};

/**
 * Add a key: entries "key-created" and "device-provisioned".
 * @param[in,out] key  id and provisioned_s are set, id 0 unless RC_OK; the rest is borrowed.
 * public_key_len: 1 … LEDGER_PUBLIC_MAX.
 * @retval RC_REFUSED_EXISTS  The name or the key_id is taken. Nothing changed.
 * @retval RC_REFUSED_RANGE   Also: LEDGER_KEYS_MAX keys are there.
 */
enum rc ledger_add_key(struct ledger *ledger, struct ledger_key *key, int64_t at_s,
                       struct err *err) MUST_CHECK;

struct ledger_window {
    uint64_t window;
    uint64_t w;      /* counter value that opened it */
    uint64_t l_base; /* L at that moment */
};
/** Entry "window-opened". @retval RC_REFUSED_SPENT the window has such an entry already. */
enum rc ledger_add_window(struct ledger *ledger, uint32_t key, const struct ledger_window *window,
                          int64_t at_s, struct err *err) MUST_CHECK;

/** Hypertrees: a bottom tree and the signatures that lead from it up to the root. */
struct ledger_branch {
    uint64_t window;
    uint64_t first;                    /* its first index */
    uint8_t record_sha256[SHA256_LEN]; /* set */
    size_t record_len;
};
/**
 * Entry "branch-signed"; stores the record (1 … LEDGER_SIGNATURE_MAX bytes, borrowed). Never a
 * second one for a first index: what was signed with the one-time keys above a bottom tree is not
 * signed again.
 * @param[in,out] branch  record_sha256 is filled; the rest is borrowed.
 * @retval RC_REFUSED_SPENT  There is one from this index. Nothing changed.
 */
enum rc ledger_add_branch(struct ledger *ledger, uint32_t key, struct ledger_branch *branch,
                          const uint8_t *record, int64_t at_s, struct err *err) MUST_CHECK;

struct ledger_lease {
    uint64_t epoch; /* L after the increment that anchors it */
    uint64_t window;
    uint64_t number; /* k inside the window */
    uint64_t first;
    uint64_t count; /* 1 …; first + count up to 2^60 */
};
/**
 * Entry "lease".
 * @retval RC_REFUSED_SPENT  The epoch, the number in the window, or an index of it stands in
 * another lease; or an index of it is bound to a version or burned. Nothing changed.
 */
enum rc ledger_add_lease(struct ledger *ledger, uint32_t key, const struct ledger_lease *lease,
                         int64_t at_s, struct err *err) MUST_CHECK;

/** Who asked, and how it is found again. All strings may be empty. */
struct ledger_origin {
    char requester[LEDGER_TEXT_MAX + 1];
    char request_id[LEDGER_TEXT_MAX + 1];
    char idempotency_key[LEDGER_TEXT_MAX + 1]; /* time and interval plans */
};

/** What a version plan records before it signs: (version, slot) -> (index, digest). */
struct ledger_intent {
    uint64_t seq; /* number of the entry; set by ledger_add_intent() */
    uint64_t epoch;
    uint64_t window;
    uint64_t index;
    uint64_t line;
    uint64_t rank;
    char version[LEDGER_VERSION_MAX + 1];
    char slot[NAME_LEN_MAX + 1];
    uint8_t artifact_sha256[SHA256_LEN];
    uint64_t artifact_size;
    uint8_t randomizer[LEDGER_VALUE_MAX];
    uint8_t value[LEDGER_VALUE_MAX]; /* exactly what the one-time key will sign */
    size_t value_len;                /* of randomizer and value */
    bool remote; /* the caller will make the value: it is not known yet, and zero here */
    struct ledger_origin origin;
    int64_t at_s;
};
/**
 * Entry "intent", and the binding that goes with it until an entry "void" lifts it.
 * @param[in,out] intent  seq is set, 0 unless RC_OK; the rest is borrowed. version: not empty.
 * @retval RC_REFUSED_SPENT  The index, or (version, slot), is bound already; or the index stands in
 * a lease, has a receipt or is burned. Nothing changed.
 */
enum rc ledger_add_intent(struct ledger *ledger, uint32_t key, struct ledger_intent *intent,
                          struct err *err) MUST_CHECK;

/** Index, message and signature belong together. */
struct ledger_receipt {
    uint64_t seq; /* set by ledger_add_receipt() */
    /* set: the first 8 bytes of SHA-256(key_id || be64(index)), and be64(index) */
    uint8_t id[LEDGER_ID_LEN];
    uint64_t epoch;
    uint64_t window;
    uint64_t index;
    char version[LEDGER_VERSION_MAX + 1];
    char slot[NAME_LEN_MAX + 1];
    uint8_t artifact_sha256[SHA256_LEN];
    uint64_t artifact_size;
    uint8_t signature_sha256[SHA256_LEN]; /* set */
    /* The value that was signed, where the caller has made it (a reservation): nobody here has seen
     * whether it is that of the artifact. */
    uint8_t caller_hash[LEDGER_VALUE_MAX];
    size_t caller_hash_len; /* 0: it was made here */
    struct ledger_origin origin;
    int64_t at_s;
    size_t signature_len; /* set by ledger_add_receipt() and by the look-ups */
};

/**
 * Entry "receipt"; stores the signature (1 … LEDGER_SIGNATURE_MAX bytes, borrowed).
 *
 * @param[in,out] receipt  The fields marked "set" are filled, all zero unless RC_OK; the rest is
 *                         borrowed.
 * @retval RC_REFUSED_SPENT    The index has a receipt already. Nothing changed.
 * @retval RC_HALT_INVARIANT   Nothing reserves the index for it, and a receipt without reservation
 *                             cannot be: no lease of its epoch and window, and no binding of its
 *                             epoch, window, version, slot and digest covers it; or it is burned;
 *                             or it is reserved and the value is not the caller's, or the other way
 *                             round.
 *                             Nothing changed.
 */
enum rc ledger_add_receipt(struct ledger *ledger, uint32_t key, struct ledger_receipt *receipt,
                           const uint8_t *signature, size_t signature_len,
                           struct err *err) MUST_CHECK;

/**
 * An index whose prefix is given away, so that the caller hashes its artifact itself. It was
 * committed to the artifact before; what it comes back with is signed, once, whatever it is.
 */
struct ledger_reservation {
    uint64_t seq;              /* set by ledger_add_reservation() */
    uint8_t id[LEDGER_ID_LEN]; /* set: that of the receipt that it may get */
    uint64_t epoch;
    uint64_t window;
    uint64_t index;
    uint64_t intent; /* number of the entry that binds the index; 0: a lease holds it */
    uint8_t artifact_sha256[SHA256_LEN];
    int64_t expires_s;
    struct ledger_origin origin;
    int64_t at_s;
};

/**
 * Entry "reservation".
 * @param[in,out] reservation  seq and id are set, zero unless RC_OK; the rest is borrowed.
 * @retval RC_REFUSED_SPENT   The index is reserved already. Nothing changed.
 * @retval RC_HALT_INVARIANT  Neither a lease of its epoch and window nor the intent (a remote one,
 *                            of its epoch, window and artifact) covers the index; or it has a
 *                            receipt or is burned. Nothing changed.
 */
enum rc ledger_add_reservation(struct ledger *ledger, uint32_t key,
                               struct ledger_reservation *reservation, struct err *err) MUST_CHECK;

/**
 * Entry "burn": indices that may have been computed and will never be used (again), with the
 * reason. A window's totals count each index once however often it is burned.
 * @param[in] why  From burn_text() (base/burn.h); any other text is counted as BURN_OTHER.
 */
enum rc ledger_add_burn(struct ledger *ledger, uint32_t key, uint64_t window, uint64_t first,
                        uint64_t count, const char *why, int64_t at_s, struct err *err) MUST_CHECK;

/**
 * Entry "void" for every intent of the key behind entry number seq that has neither receipt, burn
 * nor void yet; lifts their bindings in the same transaction. Nothing else ever lifts a binding.
 * @param[out] count  How many were lifted.
 */
enum rc ledger_void_after(struct ledger *ledger, uint32_t key, uint64_t seq, int64_t at_s,
                          uint64_t *count, struct err *err) MUST_CHECK;

/**
 * Other entries: what happened, in one line for people and one number for programs. Their kinds are
 * "refusal", "warning", "acknowledgement", "operation-<what>", "clock-<what>", "incident".
 */
enum ledger_note_kind {
    LEDGER_REFUSAL,
    LEDGER_WARNING,
    LEDGER_ACKNOWLEDGEMENT,
    LEDGER_OPERATION,
    LEDGER_CLOCK,
    LEDGER_INCIDENT
};
/**
 * @param[in] key   0 for the service as a whole, which has a chain of its own.
 * @param[in] what  Stable name, e.g. "backup-export", "state-regression"; 1 … 63 bytes of printable
 *                  ASCII without quotes and backslash. The operation "recover" is refused
 *                  (RC_REFUSED_INPUT): it is what ledger_raise_min_window() writes.
 * @param[in] text  For people, <= LEDGER_TEXT_MAX bytes.
 */
enum rc ledger_add_note(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                        const char *what, const char *text, int64_t number, int64_t at_s,
                        struct err *err) MUST_CHECK;

/**
 * Raise min_window of a key (never lower it): entry "operation-recover".
 * @retval RC_REFUSED_RANGE  Not above the present one.
 */
enum rc ledger_raise_min_window(struct ledger *ledger, uint32_t key, int64_t min_window,
                                const char *why, int64_t at_s, struct err *err) MUST_CHECK;

/**
 * Entry "attestation-key": the attestation key and the endorsement key of the TPM that holds the
 * key's counters. The newest one counts.
 * @param[in] keys  Borrowed.
 */
enum rc ledger_add_attest_keys(struct ledger *ledger, uint32_t key, const struct attest_keys *keys,
                               int64_t at_s, struct err *err) MUST_CHECK;

/**
 * Entry "attestation": what the TPM said over the ledger's head when a receipt had just become it.
 * Stores the document.
 * @param[in] receipt   Number of the receipt's entry.
 * @param[in] document  Canonical JSON, 1 … LEDGER_ATTESTATION_MAX bytes. Borrowed.
 * @retval RC_REFUSED_SPENT   The receipt has one already. Nothing changed.
 * @retval RC_HALT_INVARIANT  The key has no such receipt. Nothing changed.
 */
enum rc ledger_add_attestation(struct ledger *ledger, uint32_t key, uint64_t receipt,
                               const char *document, int64_t at_s, struct err *err) MUST_CHECK;

/* Reading -------------------------------------------------------------------------------------- */

/** Keys in order of their ids. @retval RC_REFUSED_NOT_FOUND no key with that id or name. */
enum rc ledger_key_by_id(struct ledger *ledger, uint32_t id, struct ledger_key *key,
                         struct err *err) MUST_CHECK;
enum rc ledger_key_by_name(struct ledger *ledger, const char *name, struct ledger_key *key,
                           struct err *err) MUST_CHECK;
uint32_t ledger_key_count(const struct ledger *ledger);

/** Hash of the newest entry of a key's chain (of an open transaction too); key 0: the service, all
 * zero while it has no entry. */
enum rc ledger_head(struct ledger *ledger, uint32_t key, uint8_t head[SHA256_LEN],
                    struct err *err) MUST_CHECK;

/** What start-up asks: how the ledger stands to the anchor's head. -1 in a field: none. */
struct ledger_standing {
    bool head_known;   /* the anchored head is an entry of this key's chain */
    uint64_t head_seq; /* its number; 0 if not known */
    uint64_t behind;   /* entries of the key behind the head; all of them if it is not known */
    uint64_t open_intents_behind; /* of these, intents without receipt, burn or void */
    int64_t lease_epoch;          /* highest epoch of a lease entry */
    int64_t receipt_epoch;        /* highest epoch of a receipt */
    int64_t intent_epoch;         /* highest epoch of an intent that is not void */
    int64_t window;               /* highest window with a window-opened entry */
    int64_t window_w;             /* the counter value in that entry */
};
enum rc ledger_stand(struct ledger *ledger, uint32_t key, const uint8_t head[SHA256_LEN],
                     struct ledger_standing *standing, struct err *err) MUST_CHECK;

/**
 * The oldest intent behind entry number `after` that has neither receipt, burn nor void.
 * @param[in,out] intent  Filled on RC_OK.
 * @retval RC_REFUSED_NOT_FOUND  There is none.
 */
enum rc ledger_next_open_intent(struct ledger *ledger, uint32_t key, uint64_t after,
                                struct ledger_intent *intent, struct err *err) MUST_CHECK;

/** The binding of a version and slot (whatever became of it). @retval RC_REFUSED_NOT_FOUND free. */
enum rc ledger_intent_by_version(struct ledger *ledger, uint32_t key, const char *version,
                                 const char *slot, struct ledger_intent *intent,
                                 struct err *err) MUST_CHECK;
enum rc ledger_intent_by_index(struct ledger *ledger, uint32_t key, uint64_t index,
                               struct ledger_intent *intent, struct err *err) MUST_CHECK;

/**
 * Receipts by index, by id, and by idempotency key in windows >= from_window.
 * @param[out] signature  LEDGER_SIGNATURE_MAX bytes, or NULL if the bytes are not wanted.
 * @retval RC_REFUSED_NOT_FOUND  No such receipt.
 */
enum rc ledger_receipt_by_index(struct ledger *ledger, uint32_t key, uint64_t index,
                                struct ledger_receipt *receipt, uint8_t *signature,
                                struct err *err) MUST_CHECK;
enum rc ledger_receipt_by_id(struct ledger *ledger, uint32_t key, const uint8_t id[LEDGER_ID_LEN],
                             struct ledger_receipt *receipt, uint8_t *signature,
                             struct err *err) MUST_CHECK;
enum rc ledger_receipt_by_idempotency(struct ledger *ledger, uint32_t key,
                                      const char *idempotency_key, uint64_t from_window,
                                      struct ledger_receipt *receipt, uint8_t *signature,
                                      struct err *err) MUST_CHECK;

/**
 * The reservation of an index, whatever became of it; void ones do not count.
 * @retval RC_REFUSED_NOT_FOUND  The index was never reserved.
 */
enum rc ledger_reservation_by_index(struct ledger *ledger, uint32_t key, uint64_t index,
                                    struct ledger_reservation *reservation,
                                    struct err *err) MUST_CHECK;

/**
 * The oldest reservation behind entry number `after` that has neither receipt, burn nor void.
 * @retval RC_REFUSED_NOT_FOUND  There is none.
 */
enum rc ledger_next_open_reservation(struct ledger *ledger, uint32_t key, uint64_t after,
                                     struct ledger_reservation *reservation,
                                     struct err *err) MUST_CHECK;

/**
 * The branch from a first index, and the newest one of a window.
 * @param[out] record  LEDGER_SIGNATURE_MAX bytes.
 * @retval RC_REFUSED_NOT_FOUND  There is none.
 */
enum rc ledger_branch_at(struct ledger *ledger, uint32_t key, uint64_t first,
                         struct ledger_branch *branch, uint8_t *record, struct err *err) MUST_CHECK;
enum rc ledger_branch_latest(struct ledger *ledger, uint32_t key, uint64_t window,
                             struct ledger_branch *branch, uint8_t *record,
                             struct err *err) MUST_CHECK;

/** High-water marks of a line of a version plan; -1 where nothing is bound (voided ones do not
 * count). */
enum rc ledger_line_marks(struct ledger *ledger, uint32_t key, uint64_t line, int64_t *rank,
                          int64_t *window, struct err *err) MUST_CHECK;

/** Totals of one window, derived by counting. */
struct ledger_usage {
    uint64_t leased;   /* indices in lease entries */
    uint64_t bound;    /* indices with an intent that is not void */
    uint64_t receipts; /* signed */
    uint64_t reserved; /* indices of leases that were reserved and have no receipt */
    uint64_t burned;   /* distinct indices in burn entries */
    bool opened;       /* has a window-opened entry */
    int64_t opened_at_s;
};
enum rc ledger_window_usage(struct ledger *ledger, uint32_t key, uint64_t window,
                            struct ledger_usage *usage, struct err *err) MUST_CHECK;

/** How many indices of a window are bound to versions for, or signed or reserved for, one
 * requester. */
enum rc ledger_used_by(struct ledger *ledger, uint32_t key, uint64_t window, const char *requester,
                       uint64_t *used, struct err *err) MUST_CHECK;

/**
 * When the newest receipts of a key were written, newest first, back to since_s.
 * @param[in]  requester  Only those for this one; NULL: all.
 * @param[out] at_s       Room for max.
 */
enum rc ledger_receipt_times(struct ledger *ledger, uint32_t key, const char *requester,
                             int64_t since_s, int64_t *at_s, size_t max, size_t *count,
                             struct err *err) MUST_CHECK;

/** Totals of a whole key. Counted once, and kept while entries are added. */
struct ledger_totals {
    uint64_t leased;                /* indices in lease entries */
    uint64_t receipts;              /* signed */
    uint64_t burned;                /* distinct indices in burn entries … */
    uint64_t burned_by[BURN_COUNT]; /* … each counted by one reason; BURN_LEASE: 0 */
};
enum rc ledger_key_totals(struct ledger *ledger, uint32_t key, struct ledger_totals *totals,
                          struct err *err) MUST_CHECK;

/** The lease entry that covers an index. @retval RC_REFUSED_NOT_FOUND none does. */
enum rc ledger_lease_of_index(struct ledger *ledger, uint32_t key, uint64_t index,
                              struct ledger_lease *lease, struct err *err) MUST_CHECK;

/** True in *burned if a burn entry covers the index. */
enum rc ledger_is_burned(struct ledger *ledger, uint32_t key, uint64_t index, bool *burned,
                         struct err *err) MUST_CHECK;

/**
 * What a burn entry that covers an index says; of several, the one that counts (see totals).
 * @param[out] why  "" unless RC_OK.
 * @retval RC_REFUSED_NOT_FOUND  It is not burned.
 */
enum rc ledger_burn_of_index(struct ledger *ledger, uint32_t key, uint64_t index,
                             char why[LEDGER_TEXT_MAX + 1], struct err *err) MUST_CHECK;

/** Bindings of a version plan in order of index, from `from_index` on; at most max. */
enum rc ledger_bindings(struct ledger *ledger, uint32_t key, uint64_t from_index,
                        struct ledger_intent *intents, size_t max, size_t *count,
                        struct err *err) MUST_CHECK;

/** The keys of the newest "attestation-key". @retval RC_REFUSED_NOT_FOUND there is none. */
enum rc ledger_attest_keys(struct ledger *ledger, uint32_t key, struct attest_keys *keys,
                           struct err *err) MUST_CHECK;

/**
 * The attestation of a receipt.
 * @param[in]  receipt   Number of the receipt's entry.
 * @param[out] document  malloc'ed, NUL-terminated; owned by the caller, free().
 * @retval RC_REFUSED_NOT_FOUND  It has none.
 */
enum rc ledger_attestation_of(struct ledger *ledger, uint32_t key, uint64_t receipt,
                              char **document, struct err *err) MUST_CHECK;

/** When the newest attestation of a key was recorded. @retval RC_REFUSED_NOT_FOUND never. */
enum rc ledger_attested_at(struct ledger *ledger, uint32_t key, int64_t *at_s,
                           struct err *err) MUST_CHECK;

/** Smallest and largest number of the notes of a kind and name. @retval RC_REFUSED_NOT_FOUND none.
 */
enum rc ledger_note_range(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                          const char *what, int64_t *smallest, int64_t *largest,
                          struct err *err) MUST_CHECK;

/** Number and time of the newest note of a kind and name. @retval RC_REFUSED_NOT_FOUND none. */
enum rc ledger_note_latest(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                           const char *what, int64_t *number, int64_t *at_s,
                           struct err *err) MUST_CHECK;

/**
 * Largest number of the notes of a kind and name whose text begins with `text`.
 * @param[in] text  1 … LEDGER_TEXT_MAX bytes of UTF-8.
 * @retval RC_REFUSED_NOT_FOUND  There is none; *number is 0.
 */
enum rc ledger_note_by_text(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                            const char *what, const char *text, int64_t *number,
                            struct err *err) MUST_CHECK;

/**
 * When the newest note of a kind, name and number was written.
 * @retval RC_REFUSED_NOT_FOUND  There is none; *at_s is 0.
 */
enum rc ledger_note_time(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                         const char *what, int64_t number, int64_t *at_s,
                         struct err *err) MUST_CHECK;

/**
 * When the newest receipt of a key was made, or one of those before it.
 * @param[in] back  0: the newest. Each step is a row that is read.
 * @retval RC_REFUSED_NOT_FOUND  There are not so many.
 */
enum rc ledger_recent_receipt(struct ledger *ledger, uint32_t key, uint64_t back, int64_t *at_s,
                              struct err *err) MUST_CHECK;

/** Entry number and number of the newest note of a kind and name. @retval RC_REFUSED_NOT_FOUND
 * none.
 */
enum rc ledger_last_note(struct ledger *ledger, uint32_t key, enum ledger_note_kind kind,
                         const char *what, uint64_t *seq, int64_t *number,
                         struct err *err) MUST_CHECK;

/**
 * The JSON of one entry, for exports and receipts. seq: 1 … ledger_size().
 * @param[out] json  malloc'ed, NUL-terminated; owned by the caller, free().
 * @retval RC_REFUSED_NOT_FOUND  No such entry.
 */
enum rc ledger_entry_json(struct ledger *ledger, uint64_t seq, char **json,
                          struct err *err) MUST_CHECK;

/** Every check of ledger_open() again, for tests and the simulator. @retval RC_HALT_LEDGER */
enum rc ledger_check_invariants(struct ledger *ledger, struct err *err) MUST_CHECK;

#endif
