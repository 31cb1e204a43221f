/*
 * key: one key as the core holds it: plan, tree, node file, TPM objects, and the few numbers that
 * say where it stands. Opening a key runs the start of DESIGN section 6.
 *
 * A key that cannot be opened does not take the others down: it stays in the list with its reason,
 * and every request for it is answered with that.
 *
 * Uses: everything below signer. Threads: signer thread. Keeps I1–I5 together with allocate and
 * batch.
 */
#ifndef SIGNER_KEY_H
#define SIGNER_KEY_H

#include "hbs/branch.h"
#include "ledger/ledger.h"
#include "policy/bucket.h"
#include "policy/plan.h"
#include "signer/escrow.h"
#include "signer/world.h"

#define KEY_FILE_PLAN "plan.json"
#define KEY_FILE_NODES "nodes"
#define KEYS_DIR "keys"
#define SECRETS_OPEN_MAX 4 /* per-line plans work in several windows at a time */

/** What may be done with a virtual TPM (DESIGN section 6 rule 11). */
enum virtual_policy { VIRTUAL_REFUSE, VIRTUAL_WAIT, VIRTUAL_DEMO };

/** Limits that may change without a new plan. */
struct key_limits {
    uint64_t burst; /* token bucket: 0 switches it off */
    uint64_t per_hour;
    uint64_t window_max;                /* signatures in one window; 0: what the plan gives */
    uint64_t reserve;                   /* of these, the last so many are for reserve_for alone */
    char reserve_for[NAME_LEN_MAX + 1]; /* name of an identity; not "" if reserve is not 0 */
    uint64_t caller_burst, caller_per_hour; /* a bucket for each caller; 0: none */
};

#define KEY_CALLERS_MAX 32

/** Tokens of one caller. */
struct caller {
    char name[NAME_LEN_MAX + 1];
    uint64_t used; /* caller_clock when it last asked; 0: free */
    struct bucket bucket;
};

/** What limits have refused since the last entry about it. */
struct refusals {
    uint64_t count;
    const char *which; /* static */
    char who[NAME_LEN_MAX + 1];
    bool noted;       /* there is such an entry of this process */
    int64_t noted_ns; /* raw time of that entry */
};

/** Settings of the core that a key needs. */
struct key_settings {
    enum virtual_policy virtual_policy;
    struct clk_policy clock;
    struct clk_tolerance tolerance;
    int64_t attest_period_s; /* one receipt in each carries an attestation; 0: none does */
    int64_t edge_wait_ms;    /* longest wait at a window's edge inside one request */
    int64_t export_margin;   /* m of DESIGN section 10 */
    int64_t catch_up_steps;  /* of W in one turn; 0: CATCH_UP_STEPS */
    uint32_t tpm_slow_ms;    /* 90th percentile from which on a TPM counts as slow; 0: never */
    uint32_t ack_percent;    /* so much left must be acknowledged; 0: nothing (exhaustion.h) */
    uint64_t nv_endurance;   /* writes that one NV index of the TPM stands; 0: the default */
};

/** An unsealed window secret, checked against the node file. In locked memory. */
struct open_secret {
    int64_t window; /* -1: free */
    uint64_t used;  /* for finding the one that was used longest ago */
    struct window_secret *secret;
    struct hbs_branch *branch; /* the one that was asked for last; NULL: none yet */
    struct ahead *ahead;       /* may hold one-time keys of the branch; NULL: does not */
};

/** Close the branch, and wipe what was computed ahead of it. Fine if there is none. */
void open_secret_drop_branch(struct open_secret *secret);

/** The lease in hand of a time or interval plan: indices first + next … first + count - 1 are free.
 */
struct open_lease {
    uint64_t epoch; /* 0: none */
    uint64_t window;
    uint64_t first, count, next;
};

#define RESERVATIONS_MAX 64

enum reservation_state { RESERVATION_FREE, RESERVATION_OPEN, RESERVATION_ENDED };

/** A reservation of this process (reserve.h). */
struct reservation {
    enum reservation_state state;
    struct ledger_reservation record;
    char version[LEDGER_VERSION_MAX + 1]; /* "" for time and interval plans */
    char slot[NAME_LEN_MAX + 1];
    uint8_t c[HBS_N_MAX];
    int64_t expires_ns;     /* raw time */
    struct ots_lease lease; /* the only one for the index; zero once it is spent or ended */
    /* RESERVATION_ENDED: for the burn that is not written yet; static */
    enum burn_reason reason;
    const char *why;
};

/** A receipt that may get an attestation when the answers have left. */
struct unattested {
    uint64_t seq; /* number of its entry; 0: none */
    uint8_t id[LEDGER_ID_LEN];
};

struct key {
    struct ledger_key record;
    struct plan plan;
    struct hbs_key hbs;
    struct hbs_nodes *nodes;
    int dirfd;
    int seeds_fd;
    struct escrow escrow; /* fd is -1 in keys of older versions; readable to exports only */
    bool swept;           /* key_destroy_below() has looked at every record since the start */
    uint8_t *auth_secret; /* 32 bytes of locked memory */
    void *anchor;
    bool is_virtual; /* the TPM is a software one */

    enum rc rc; /* RC_OK, or why this key does not sign */
    struct err err;

    /* Copies of what the TPM holds, checked against it before every batch. */
    uint64_t w, l;
    struct anchor_record a;
    int64_t started_window; /* virtual_policy wait: window of the first safe reading; -1 not yet */

    int64_t catch_up_to;     /* window that somebody asked for; see catchup.h */
    int64_t catch_up_left_s; /* about how long until it is reached */
    uint32_t wear_warned;    /* highest threshold that the ledger holds a warning of; see wear.h */
    uint64_t exhaustion_id;  /* entry of the newest warning of exhaustion; 0: none */
    int64_t exhaustion_at_s;
    uint32_t exhaustion_warned; /* its level; 0: none */
    uint32_t exhaustion_acked;  /* lowest level that was acknowledged; 0: none */
    uint64_t settled_l;         /* L when A was last brought up to date in an idle moment */
    struct open_lease lease;
    struct reservation *reservations; /* RESERVATIONS_MAX; NULL: the plan allows none */
    struct open_secret secrets[SECRETS_OPEN_MAX];
    uint64_t secret_clock;
    struct key_limits limits;
    struct bucket bucket;
    struct caller callers[KEY_CALLERS_MAX];
    uint64_t caller_clock;
    struct refusals refusals;

    struct attest_keys attest;    /* as recorded; all zero: this device attests nothing */
    int64_t attest_at_s;          /* when a receipt was last attested; -1: never */
    int64_t attest_retry_ns;      /* raw time before which a failed one is not tried again */
    struct unattested unattested; /* newest receipt of this turn */
};

/**
 * Remember the window in which this process began to work, for virtual_policy wait: that of the
 * first trusted second it is told, or the open one if that was opened early. Does nothing for plans
 * without time.
 */
void key_note_time(struct key *key, int64_t trusted_s);

/** Highest window ever opened: W - w_base; may be negative before the first. */
int64_t key_floor(const struct key *key);

/** May the open window be used before its start? An advance-window opened it, or approved it. */
bool key_opened_early(const struct key *key);

/**
 * How often A was written on this device, by its own count. Where that was lost or never kept (a
 * torn A, one of format 1), the least that W and L allow: one write when the key was made and one
 * with each of their steps.
 */
uint64_t key_writes_of_a(const struct key *key);

/**
 * Load a key and run its start: plan against its hash, node file, TPM objects, then start_decide()
 * until it is done, then completion of anchored intents (complete.h).
 *
 * Never fails as a call: key->rc and key->err hold the outcome.
 *
 * @param[out] key       key_close() it.
 * @param[in]  record    From the ledger.
 * @param[in]  state_dirfd  State directory.
 * @param[in]  tpm       Open TPM of world->tpm; NULL if it cannot be reached (key->rc is set then).
 */
void key_open(struct key *key, const struct ledger_key *record, int state_dirfd,
              const struct world *world, void *tpm, struct ledger *ledger,
              const struct key_settings *settings, const struct key_limits *limits);
void key_close(struct key *key, const struct world *world);

/**
 * The secret of a window, unsealed if it is not at hand, and compared with the node file through
 * every leaf of the top tree that it makes (DESIGN section 6 rule 9).
 * @param[out] secret  Borrowed; valid until the next call or key_close().
 * @retval RC_HALT_SEEDS   Not on this device (destroyed, never sealed), damaged, of another key, or
 * the TPM refuses: W or the PCRs are not as they were sealed for. The text says which.
 * @retval RC_HALT_ANCHOR  The TPM failed.
 */
enum rc key_secret(struct key *key, const struct world *world, void *tpm, uint64_t window,
                   const struct window_secret **secret, struct err *err) MUST_CHECK;

/**
 * Must W stand right below this window, or at it, before key_secret() can give its secret? If so,
 * and W stands lower, looks whether the secret would open then, so that no window is given up for
 * one that cannot sign.
 * @param[out] waits  W has to be raised to window - 1 first.
 * @retval RC_HALT_SEEDS, RC_HALT_ANCHOR  As key_secret().
 */
enum rc key_secret_waits(struct key *key, const struct world *world, void *tpm, uint64_t window,
                         bool *waits, struct err *err) MUST_CHECK;

/** Where key_secret() keeps the secret of a window that is at hand; NULL: it is not. */
struct open_secret *key_open_secret(struct key *key, uint64_t window);

/** What keeps the escrow of a loaded key. @param[in] passphrase  NULL: the TPM. Borrowed. */
struct escrow_keeper key_escrow_keeper(const struct key *key, const struct world *world, void *tpm,
                                       const char *passphrase);

/** Secrets of windows are sealed under this value: derived from auth_secret, 32 bytes; wipe() it.
 */
void key_seed_auth(const struct key *key, uint8_t auth[32]);

/** Wipe the secrets of windows below `window`, and what was made from them, from memory, and
 * destroy them on disk: sealed ones and those of the escrow. */
enum rc key_destroy_below(struct key *key, uint64_t window, struct err *err) MUST_CHECK;

/** What must hold between the copies in memory and the plan (I1, I3); a violation is a bug (MUST).
 */
void key_check_invariants(const struct key *key);

#endif
