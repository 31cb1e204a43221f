/*
 * signer_rig: a whole signer on a fake world: real ledger (on a disk in memory), real hbs with tiny
 * trees, real policy; a fake TPM and a clock that is set by hand. And an oracle outside the signer
 * that sees every signature that is computed.
 *
 * A key's folder and ledger entries are laid out as provision_new() does it, escrow included (the
 * TPM keeps it), from secrets that follow from the window's number, so that two rigs of one plan
 * make the same bytes.
 *
 * The oracle replaces hbs_branch_sign() and hbs_branch_make() (link with rig_link of
 * Makefile-test.am), remembers (key, index, value) and
 * calls the real one. It lives in shared memory, so that what a forked copy of the process signs is
 * seen too. NoReuse: one index, one value, for ever; oracle_check() fails the test otherwise.
 *
 * Uses: fake_world, crashvfs, everything in signer; cmocka, so functions without a result fail the
 * running test when something goes wrong. One thread.
 */
#ifndef TESTS_LIB_SIGNER_RIG_H
#define TESTS_LIB_SIGNER_RIG_H

#include "lib/crashvfs.h"
#include "lib/fake_world.h"
#include "signer/signer.h"

#define RIG_SIG_MAX (16 * 1024)
#define RIG_KEYS_MAX 3

/* Plans on 32 leaves, key name in front. The set makes trees in a millisecond. */
#define RIG_PLAN(key, message, assignment)                                                         \
    "{'tidemark_plan':1,'key':'" key "','profile':'sp800-208','scheme':'lms','parameters':"        \
    "['LMS_SHA256_M24_H5','LMOTS_SHA256_N24_W2'],'message':'" message "','assignment':" assignment \
    "}"

/** The database as it stands on the disk, WAL included. */
struct rig_disk {
    uint8_t *db, *wal;
    size_t db_len, wal_len;
};

struct rig {
    struct fake_world fake;
    struct crashvfs *disk;
    char dir[64];
    struct signer_config config;
    struct named_limits limits[RIG_KEYS_MAX];
    struct timekeeper clock;
    struct signer *signer; /* NULL while it is not open */
    unsigned keys;
    struct plan plan[RIG_KEYS_MAX];
    struct ledger_key record[RIG_KEYS_MAX];
    bool old_locks; /* keys from here on are as versions without locks made them */
    uint32_t pcrs;  /* those that the secrets of keys from here on are sealed under */
    const char *escrow_passphrase; /* keeps the escrow of keys from here on; NULL: the TPM does */
    struct err err;                /* of the last call */

    /* rig_save() */
    struct fake_world saved_fake;
    struct fake_tpm saved_tpm;
    struct rig_disk saved_disk;
    uint8_t *saved_seeds;
    size_t saved_seeds_len;
};

/** A world at now_s and an empty ledger. @param[in] seed  What a power cut leaves of the disk. */
void rig_make(struct rig *rig, int64_t now_s, uint64_t seed);

/** Add a key under a plan (with ' for "); its windows below first_window were never on the device.
 */
void rig_add_key(struct rig *rig, const char *plan, int64_t first_window);

/**
 * Remember how everything stands now (one key; the signer closed), and come back to it: a new disk
 * with another seed, the TPM, the seeds, the clock. Cheaper than to make it anew.
 */
void rig_save(struct rig *rig);
void rig_restore(struct rig *rig, uint64_t seed);

/** Close and remove everything; fine twice. */
void rig_end(struct rig *rig);

/** signer_open(). @return its code; rig->err has the reason. */
enum rc rig_open(struct rig *rig);

/** Stop in order (A is brought up to date). */
void rig_stop(struct rig *rig);

/** The power goes: what the disk had not synced may be lost; sessions are gone; nothing is settled.
 */
void rig_crash(struct rig *rig);

/** Crash, and open again (must succeed). */
void rig_reopen(struct rig *rig);

/** Why a key does not sign, or RC_OK. */
enum rc rig_key_rc(const struct rig *rig, unsigned key);

/* Requests ------------------------------------------------------------------------------------- */

/** One signing request and what came of it. */
struct ask {
    unsigned key;
    const char *name;    /* of the key; NULL: of key number `key` */
    const char *version; /* version plans; NULL: by window */
    const char *slot;
    const char *idem;      /* NULL: none */
    const char *who;       /* requester; NULL: "tester" */
    const char *text;      /* the artifact; with digest: what is hashed here */
    const uint8_t *digest; /* digest requests: these bytes instead */
    enum digest_kind digest_kind;
    const char *claim;     /* not NULL: the front says that the artifact is this one */
    const char *change_to; /* not NULL: what the file holds once the core has hashed it */
    bool guessed;          /* hashed for plans of this mode, before the key was known */
    enum plan_message guess;

    enum rc rc;
    bool replayed;
    struct reply reply;
    uint64_t index; /* released: which index signed */
    uint64_t window;
    size_t len;
    uint8_t signature[RIG_SIG_MAX];

    struct request request;
    int fd;
};

/**
 * Send requests as one batch (at most BATCH_MAX). Each signature that comes back is verified and
 * given to the oracle. @return what signer_sign() said.
 */
enum rc rig_sign(struct rig *rig, struct ask *asks, size_t count);

/**
 * The same as one message of a batch: through its file, and with the look before. All of them ask
 * by digest, for one key. @return what signer_sign_bulk() said: on a refusal of all, *whole has it
 * and no ask is filled in.
 */
enum rc rig_sign_bulk(struct rig *rig, struct ask *asks, size_t count, struct reply *whole);

/**
 * Ask for a reservation, committed to the SHA-256 of ask->text. On RC_OK ask->signature holds what
 * is hashed before the artifact, and ask->reply the rest; or a signature, which is verified, if
 * !ask->reply.reserved. @return what signer_reserve() said.
 */
enum rc rig_reserve(struct rig *rig, struct ask *ask);

/**
 * Come back with the hash of a text for a reservation.
 * @param[in]  reserved  By rig_reserve().
 * @param[out] ask       Key and `who` are set; text becomes the one that was hashed. On RC_OK its
 *                       signature is verified for that text and given to the oracle.
 * @return what signer_commit() said.
 */
enum rc rig_commit(struct rig *rig, const struct ask *reserved, const char *text, struct ask *ask);

/** One request; fails the test unless it is answered with `expected`. */
void rig_ask(struct rig *rig, struct ask *ask, enum rc expected);

/* Ledger ----------------------------------------------------------------------------------------
 */

/** Copy the ledger as it stands on the disk; the signer may be open or not. */
void rig_disk_take(struct rig *rig, struct rig_disk *copy);
/** Put it back; the signer must be closed. */
void rig_disk_put(struct rig *rig, const struct rig_disk *copy);
void rig_disk_free(struct rig_disk *copy);

/** Open the ledger itself; the signer must be closed. ledger_close() it. */
struct ledger *rig_ledger(struct rig *rig);

/** Open a key as the operations do; key_close() it and close *tpm; ledger as from rig_ledger(). */
struct key *rig_load_key(struct rig *rig, unsigned key, struct ledger *ledger, void **tpm);
void rig_unload_key(struct rig *rig, struct key *key, void **tpm);

/** Leave in the ledger what `backup check` does for an export with this mark. Not anchored. */
void rig_acknowledge(struct ledger *ledger, const struct key *key, int64_t mark);

/* Oracle ----------------------------------------------------------------------------------------
 */

/** Forget everything (a new key). */
void oracle_reset(void);

/** Signatures computed so far, and distinct indices among them. */
size_t oracle_computed(void);
size_t oracle_indices(void);
bool oracle_has(const struct rig *rig, unsigned key, uint64_t index);

/** Fail the test if an index was computed with two values, or released with two signatures. */
void oracle_check(void);
bool oracle_is_broken(void);

/** What the oracle knows of one index. */
struct oracle_seen {
    uint8_t key_id[KEY_ID_LEN];
    uint64_t index;
    uint8_t value[HBS_N_MAX];
    uint8_t released[SHA256_LEN]; /* hash of the signature that left; zero: none */
};

/** Take its whole memory (at most cap, or MUST), and give it another: for worlds that branch. */
size_t oracle_save(struct oracle_seen *seen, size_t cap);
void oracle_load(const struct oracle_seen *seen, size_t count);

#endif
