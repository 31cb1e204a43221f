/*
 * draft: a key under construction: its folder, its TPM objects, and what is needed to go on.
 *
 * A key is made in the folder ".new-NAME" beside the finished ones. TPM objects come first, then
 * the file "draft", which says what the key is made of; from then on the work can be stopped,
 * killed or lose power, and goes on later. The folder gets the key's name when the tree is
 * complete, and the key is one when the ledger has its entry.
 *
 * A draft must never come back to life beside the key that it became: not when the disk is put back
 * to an earlier state either, since its secrets would sign twice (I1). What tells is in the TPM: a
 * draft can be gone on with only as long as its A was never written and W and L were never moved,
 * and A is written before the ledger knows the key. The window secret that it goes on with
 * comes from the escrow, which opens to whoever gives what it was begun with; after the key has
 * begun to sign, the TPM itself gives none of a window that is over.
 *
 * Uses: base, hbs (lengths), world, seeds, escrow. One thread; the caller holds both locks of the
 * state directory.
 */
#ifndef SIGNER_DRAFT_H
#define SIGNER_DRAFT_H

#include "base/text.h"
#include "hbs/key.h"
#include "signer/escrow.h"
#include "signer/world.h"

struct draft {
    const struct world *world; /* borrowed */
    void *tpm;                 /* open TPM of world->tpm, borrowed */
    char name[NAME_LEN_MAX + 1];
    char folder[NAME_LEN_MAX + 8]; /* ".new-NAME" */
    int keys_dirfd, dirfd, seeds_fd;
    uint8_t id[HBS_KEY_ID_LEN];
    int64_t first_window; /* secrets of windows from here on are sealed */
    uint64_t windows;     /* records of the seeds file */
    uint8_t plan[SHA256_LEN];
    uint8_t *auth_secret; /* ANCHOR_AUTH_LEN bytes, locked */
    uint8_t seed_auth[32];
    struct anchor_pins pins;
    struct tpm_pcrs pcrs;        /* of now; window secrets are sealed under them */
    struct escrow escrow;        /* readable */
    void *anchor;                /* open in a draft that is gone on with, else NULL */
    const struct plan *document; /* borrowed */
    const char *passphrase;      /* that keeps E, borrowed; NULL: the TPM does */
    bool durable;                /* complete enough to be gone on with */
};

#define DRAFT_CLOSED                                                                               \
    ((struct draft){.keys_dirfd = -1, .dirfd = -1, .seeds_fd = -1, .escrow = ESCROW_CLOSED})

/** Close what is open and wipe; nothing on disk changes. For CLEANUP(). */
void draft_close(struct draft *d);

/**
 * Open the folder of all keys, made if need be, durably; world, tpm and name are set.
 * @retval RC_HALT_STATE_DIR, RC_HALT_SYSTEM  It cannot be made, opened or synced.
 */
enum rc draft_open(struct draft *d, int state_dirfd, struct err *err) MUST_CHECK;

/**
 * Throw away what earlier attempts left under this name, TPM objects first: as long as they cannot
 * be undefined the folder stays, because nothing else knows their handles.
 * @retval RC_REFUSED_EXISTS  The folder of a finished key has the name; it stays.
 * @return Or what undefining them returned.
 */
enum rc draft_remove(struct draft *d, struct err *err) MUST_CHECK;

/**
 * Begin: folder, plan, sealed authorisation, TPM objects, the file of window secrets, the escrow,
 * the draft. id, first_window, windows, plan, document, pcrs and passphrase are
 * set; there is nothing of this
 * name (draft_remove()).
 * @param[in] text  Canonical plan of len bytes.
 * @retval RC_OK                    The draft is durable, or !resumable.
 * @param[in] resumable             Write the file "draft"?
 * @retval RC_REFUSED_EXHAUSTED     No room in the TPM.
 * @retval RC_HALT_…, RC_RETRY_…    TPM, disk or memory; draft_remove() cleans up.
 */
enum rc draft_begin(struct draft *d, const char *text, size_t len, bool resumable,
                    struct err *err) MUST_CHECK;

/**
 * Is there a draft to go on with? Opens it: id, first_window, pins, secrets, escrow.
 * @param[in]  d->plan, d->windows  Of the plan that is wanted now.
 * @param[in]  d->pcrs, d->passphrase  As they were when it was begun.
 * @param[out] found                False: there is none, or what is left cannot be used and nobody
 *                                  would miss it; draft_remove() it.
 * @retval RC_REFUSED_EXISTS        There is one, but of another plan, on another TPM, under other
 *                                  PCRs, with another kind of escrow, or damaged; the text says
 *                                  which. Nothing changed.
 * @retval RC_REFUSED_PASSPHRASE    Its escrow opens with another passphrase. Nothing changed.
 * @retval RC_RETRY_…, RC_HALT_…    TPM or disk do not answer. Nothing changed.
 */
enum rc draft_find(struct draft *d, bool *found, struct err *err) MUST_CHECK;

/**
 * The tree is made, and the first window that may sign can have moved on since the draft began:
 * destroy the secrets of windows below. d->first_window is what came out. W stays: what the windows
 * above are sealed under counts from where it was made, and it is stepped over the ones that passed
 * when the first one opens, as over any that were skipped.
 * @retval RC_REFUSED_EXHAUSTED  All windows are over. Nothing changed.
 * @retval RC_HALT_SYSTEM, RC_HALT_SEEDS  Secrets could not be read or destroyed.
 */
enum rc draft_move(struct draft *d, int64_t first_window, struct err *err) MUST_CHECK;

/**
 * Nothing was ever signed, given away or recorded with this draft: its A was never written, W and L
 * stand where they were made. Ask before A is written.
 * @param[in] state  As read from the TPM.
 */
bool draft_untouched(const struct draft *d, const struct anchor_state *state) MUST_CHECK;

/**
 * The folder gets the key's name.
 * @retval RC_HALT_SYSTEM  Rename or sync failed.
 */
enum rc draft_rename(struct draft *d, struct err *err) MUST_CHECK;

/** The ledger has the key: remove the marks of an unfinished attempt. If the power goes first, they
 * stand beside a ledger entry, where nobody looks for them. */
void draft_done(struct draft *d);

/**
 * Handles and Names of W, L and A that the key in the making in this folder has, or was about to
 * get.
 * @param[in]  folder  Under keys_dirfd.
 * @param[out] pins    The rest of it is zero.
 * @retval RC_REFUSED_NOT_FOUND  None is in the making there, or it got not so far.
 * @retval RC_HALT_SYSTEM        It cannot be read, or is damaged.
 */
enum rc draft_pins(int keys_dirfd, const char *folder, struct anchor_pins *pins,
                   struct err *err) MUST_CHECK;

#endif
