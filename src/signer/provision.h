/*
 * provision: make a key on this device: window secrets, node file, TPM objects, first ledger
 * entries.
 *
 * Offline: the caller holds both locks of the state directory. Everything is made in a folder of
 * its own (draft.h) and becomes a key by one ledger commit at the very end. A new key that was
 * stopped, killed or lost power is gone on with by the next attempt under the same plan; what else
 * a crash leaves behind is found and removed (TPM objects too) by the next attempt of the same
 * name. Only an attempt that ends between its first A and the ledger commit, a moment at the very
 * end, must begin anew: nobody can tell whether that key was known (I1).
 *
 * Uses: everything below signer. One thread; hbs_nodes_make() brings its own workers.
 */
#ifndef SIGNER_PROVISION_H
#define SIGNER_PROVISION_H

#include <sys/types.h>

#include "hbs/nodes.h"
#include "ledger/ledger.h"
#include "policy/plan.h"
#include "signer/world.h"

struct provision {
    int state_dirfd;
    struct ledger *ledger;
    const struct world *world;
    void *tpm;            /* open TPM of world->tpm */
    int64_t now_s;        /* host clock, for records */
    int64_t first_window; /* lowest window that may sign: the open or next one; >= 0 */
    unsigned threads;
    hbs_progress progress; /* may be NULL */
    void *progress_ctx;
    bool restart;          /* throw away what an earlier attempt left, and begin anew */
    int64_t checkpoint_ns; /* raw time between checkpoints, at least; they take 2 % at most */
    struct tpm_pcrs
        pcrs; /* bank and selection: window secrets open under their values of now alone */
    /* Keeps the escrow (escrow.h), at least 8 bytes; NULL: the TPM does. Borrowed. */
    const char *escrow_passphrase;
    /* A replacement's first entries beside its key, in the same commit: without them it could sign
     * before its own first export is acknowledged (attack 30). NULL: a new key. */
    const char *statement; /* of the operator; at most LEDGER_TEXT_MAX bytes */
    int64_t mark;          /* counts as its first export */
};

/**
 * Make a new key under a plan, or go on with one that was begun: provisions W, L and A, draws I and
 * every window's secret, seals those of windows that may still sign, each so that the TPM opens it
 * only when its turn has come, writes them to the escrow too, builds the tree.
 *
 * first_window may have moved on since a key was begun; key->min_window is what came out.
 *
 * @param[in]  text, len  The plan document.
 * @param[out] key        As recorded in the ledger.
 * @retval RC_OK                   The key is durable in ledger, folder and TPM.
 * @retval RC_REFUSED_PLAN         From plan_parse(); *fault is filled.
 * @retval RC_REFUSED_UNSUPPORTED  A scheme or set that this version cannot sign with.
 * @retval RC_REFUSED_EXISTS       A key of that name exists; or one was begun under another plan,
 * on another TPM, under other PCRs, with another kind of escrow, or was finished from another copy
 * of the disk.
 * @retval RC_REFUSED_PASSPHRASE   One was begun with another passphrase of the escrow.
 * @retval RC_REFUSED_CONFIG       The TPM does not have the PCRs.
 * @retval RC_REFUSED_EXHAUSTED    The TPM has no room; or first_window is behind the plan's last.
 * @retval RC_RETRY_BUSY           progress asked to stop; the next attempt goes on from there.
 * @retval RC_HALT_NODES, RC_HALT_SEEDS  What was made earlier is damaged.
 * @retval RC_HALT_…               TPM, disk or ledger failed; the next attempt goes on or cleans
 * up.
 */
enum rc provision_new(const struct provision *p, const char *text, size_t len,
                      struct ledger_key *key, struct plan_fault *fault, struct err *err) MUST_CHECK;

/** Gives the secret of a window that this device may sign in, in rising order of windows. */
typedef enum rc (*provision_secrets)(void *ctx, uint64_t window, struct window_secret *secret,
                                     struct err *err);

/**
 * Make a key that exists already live on this device: the replacement of a lost one.
 * @param[in] text, len   Plan document of the backup.
 * @param[in] public_key  Raw RFC 8554 key that must come out of the node file.
 * @param[in] nodes_fd    A complete node file at nodes_offset, copied and then checked by its root.
 * @param[in] secrets     For windows first_window … window_count - 1.
 * @retval RC_HALT_NODES  The node file is not that of the public key. Otherwise as provision_new().
 */
enum rc provision_restored(const struct provision *p, const char *text, size_t len,
                           const uint8_t *public_key, size_t public_key_len, int nodes_fd,
                           off_t nodes_offset, uint64_t nodes_len, provision_secrets secrets,
                           void *ctx, struct ledger_key *key, struct err *err) MUST_CHECK;

#endif
