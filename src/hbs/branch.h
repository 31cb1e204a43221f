/*
 * branch: everything that signs under one bottom tree of a key: its nodes, its secrets, and in a
 * hypertree the signatures that lead from the bottom tree up to the root.
 *
 * A key with one tree has one branch, which is the node file, and nothing to record. In a hypertree
 * a branch is made once: its trees are built from the window's secret, twice, and compared, because
 * a wrong root that was signed would cost the one-time key above it; then each root is signed by
 * the tree above. These signatures are the branch's record. Whoever makes a branch must record and
 * anchor it before anything is signed under it, and from then on only opens it: trees are built
 * again and compared with the record, and nothing above the bottom tree is signed a second time.
 *
 * Secrets of lower trees follow from the window's secret: HSS by SEED' and I' of
 * "hash-sigs-method2" (tests/vectors/data/README.md), XMSS^MT has one S_XMSS and one SK_PRF for all
 * layers of a window.
 *
 * Uses: base, key. Secrets: in locked memory, wiped by hbs_branch_close(); close all branches of a
 * window when its secret must go. Keeps I1 and I10 together with signer. Threads: an open branch is
 * read-only and may sign from any thread.
 */
#ifndef HBS_BRANCH_H
#define HBS_BRANCH_H

#include "hbs/key.h"

struct hbs_branch; /* opaque: hbs_branch_make() or _open() makes it, hbs_branch_close() ends it */

/** Indices under one bottom tree: those of the whole key where there is only one tree. */
uint64_t hbs_branch_size(const struct hbs_key *key);

/** Bytes of a record; 0 where there is nothing to record and hbs_branch_open() alone will do. */
size_t hbs_branch_record_len(const struct hbs_key *key);

/**
 * The record of an earlier branch of the same window, whose upper trees may be those of this one:
 * then their signatures are taken over. A window of two levels has no such trees.
 */
struct hbs_branch_prior {
    uint64_t index;        /* any index of that branch */
    const uint8_t *record; /* hbs_branch_record_len() bytes; NULL: there is none yet */
};

/**
 * Make the branch of lease->index: build its trees twice, sign their roots, verify it all.
 *
 * Spends the lease, which stands for the one-time keys above the bottom tree: it is zeroed before
 * anything is computed. A lease with epoch 0, or a key with one tree, is a bug (MUST).
 *
 * @param[out]    branch  Owned by the caller; hbs_branch_close(). NULL on failure.
 * @param[in,out] lease   From the allocator; zero afterwards.
 * @param[in]     nodes   Node file of the key; must outlive the branch.
 * @param[in]     secret  Of the window that holds the index. Copied.
 * @param[in]     prior   The latest branch made in this window. It must be given if there is one:
 *                        a root that was signed once is not signed again.
 * @retval RC_RETRY_SYSTEM    No memory. The lease is spent all the same.
 * @retval RC_HALT_INVARIANT  Two builds of one tree differ: memory is damaged. Nothing was signed.
 * @retval RC_HALT_NODES      The earlier record does not belong to this key.
 * @retval RC_BURNED_VERIFY   What was signed does not verify.
 * Blocks: twice the hashes of all trees below the top one, on the calling thread.
 */
enum rc hbs_branch_make(struct hbs_branch **branch, struct ots_lease *lease,
                        const struct hbs_key *key, const struct hbs_nodes *nodes,
                        const struct window_secret *secret, const struct hbs_branch_prior *prior,
                        struct err *err) MUST_CHECK;

/**
 * Open the branch of an index, as it was made before: trees are built and compared with the record.
 * @param[in] record  hbs_branch_record_len() bytes; NULL where that is 0.
 * @retval RC_RETRY_SYSTEM  No memory.
 * @retval RC_HALT_NODES    Trees and record do not agree, or do not lead to the root of the key.
 */
enum rc hbs_branch_open(struct hbs_branch **branch, const struct hbs_key *key,
                        const struct hbs_nodes *nodes, const struct window_secret *secret,
                        uint64_t index, const uint8_t *record, struct err *err) MUST_CHECK;

/** Wipe, free, and set *branch to NULL; fine on NULL. For CLEANUP(). */
void hbs_branch_close(struct hbs_branch **branch);

/** hbs_branch_record_len() bytes, public, valid until close. */
const uint8_t *hbs_branch_record(const struct hbs_branch *branch);

/** Bytes of a randomizer and of a value: n of the parameter set. */
size_t hbs_branch_n(const struct hbs_branch *branch);

/** Does this branch hold the index? */
bool hbs_branch_holds(const struct hbs_branch *branch, uint64_t index);

/**
 * The randomizer (C or r) of an index, derived and never drawn: one message at one index always
 * gives the same signature. c: n bytes, HBS_N_MAX of room. The branch must hold the index (MUST).
 */
void hbs_branch_randomizer(const struct hbs_branch *branch, uint64_t index, uint8_t *c);

#define HBS_PREFIX_MAX XMSS_MESSAGE_PREFIX_MAX
_Static_assert(LMS_MESSAGE_PREFIX_MAX <= HBS_PREFIX_MAX, "room for both");

/**
 * For whoever hashes a message elsewhere: what is hashed before it at one index, and with which
 * hash. The branch must hold the index (MUST).
 * @param[out] hash  Its name by hbs_remote_name(). Static.
 * @return bytes of the prefix.
 * Source: RFC 8554 §4.5, RFC 8391 §4.1.9.
 */
size_t hbs_message_prefix(const struct hbs_branch *branch, uint64_t index, const uint8_t *c,
                          uint8_t prefix[HBS_PREFIX_MAX], const char **hash);

/** Streaming hash of a message for one index: the value that its one-time key signs. */
struct hbs_message {
    enum hbs_tree_kind kind; /* 0 when closed */
    union {
        struct lms_message lms;
        struct xmss_message xmss;
    };
};
/** @retval RC_RETRY_SYSTEM no memory. Close also after a failure. */
enum rc hbs_message_open(struct hbs_message *m, const struct hbs_branch *branch, uint64_t index,
                         const uint8_t *c, struct err *err) MUST_CHECK;
void hbs_message_update(struct hbs_message *m, const void *data, size_t len);
/** value: n bytes, HBS_N_MAX of room. */
void hbs_message_final(struct hbs_message *m, uint8_t *value);
void hbs_message_close(struct hbs_message *m);

/**
 * What can be computed of a one-time key before it is known what it signs, so that a signature and
 * its verification take few steps when it is: its stations. Secret, as the window's secret is:
 * locked memory, wiped when that must go.
 * @return bytes for one key; 0 where nothing would be saved (all but LMS with W8).
 */
size_t hbs_branch_stations_len(const struct hbs_branch *branch);

#define HBS_PREPARE_MAX LMS_PREPARE_MAX
#define HBS_STATIONS_MAX LMS_STATIONS_MAX

/** One key to be prepared. */
struct hbs_branch_preparing {
    uint64_t index;
    uint8_t *stations; /* out: hbs_branch_stations_len() bytes */
};

/**
 * Compute the stations of keys in this branch: message and lease are not asked for, and nothing is
 * signed. Not where hbs_branch_stations_len() is 0 (MUST).
 * @param[in] count  Up to HBS_PREPARE_MAX (MUST).
 */
void hbs_branch_prepare(const struct hbs_branch *branch, const struct hbs_branch_preparing *jobs,
                        size_t count);

/** One signature that is to be made. */
struct hbs_branch_signing {
    struct ots_lease *lease; /* spent: zeroed before anything is computed */
    const uint8_t *stations; /* of the lease's index; NULL: from the window's secret */
    const uint8_t *c;        /* the randomizer that went into value */
    const uint8_t *value;
    uint8_t *sig; /* hbs_key_sig_len() bytes: the whole signature as it goes over the wire */
};

/**
 * Sign values with the one-time keys of leases in this branch, many at a time so that lanes are
 * full. A lease with epoch 0, one of another branch, or two of one index are bugs (MUST).
 * @param[in,out] jobs   Up to HBS_BATCH_MAX (MUST); 0 does nothing.
 */
void hbs_branch_sign(const struct hbs_branch *branch, const struct hbs_branch_signing *jobs,
                     size_t count);

/** One signature that is to be checked before it is released. */
struct hbs_branch_checking {
    uint64_t index;
    const uint8_t *stations; /* of this index; NULL: without. The answer is the same (lmots.h) */
    const uint8_t *c;
    const uint8_t *value;
    const uint8_t *sig;
    size_t sig_len;
};

/**
 * The check before release (I10): well formed, of this index, with this randomizer, and leading to
 * the root of the key.
 * @param[out] good   count answers, each for itself.
 */
void hbs_branch_verify(const struct hbs_branch *branch, const struct hbs_branch_checking *jobs,
                       size_t count, bool *good);

#endif
