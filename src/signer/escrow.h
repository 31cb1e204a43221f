/*
 * escrow: the window secrets of one key a second time, for backups and for whoever has to seal them
 * anew: since the TPM opens the secret of a window only when its turn has come, the sealed ones
 * cannot be read for that.
 *
 * They are kept in one of two ways, chosen when the key is made:
 *   by the TPM: each sealed so that it takes the owner authorisation of the TPM to open it, besides
 *     the authorisation of the key's own objects, and W must not be past its window: the windows to
 *     come open to whoever has both, which is root on a machine whose owner authorisation is empty;
 *     those that are closed open to nobody, whatever disk is put back;
 *   by a passphrase: encrypted under a random key E, which is under the passphrase alone; nothing
 * on the device opens them, and the counter does not guard what was copied off it. Records of
 * closed windows are destroyed together with their sealed secrets.
 *
 * File "escrow", records of one length, which tells how it is kept; zeros: destroyed, or never on
 * this device. By the TPM: as in the file "seeds". By a passphrase: u32 1 (big endian), 16 random
 * bytes, 64 encrypted bytes, 16-byte tag, under HMAC(E, random bytes) with the window's number,
 * bound to the plan's hash; and beside it the file "escrow-key": "TIDEESC1", salt, u32 KiB, u32
 * passes, encrypted E, tag.
 *
 * Uses: base, hbs (secret), policy, seeds, world. Threads: signer thread.
 */
#ifndef SIGNER_ESCROW_H
#define SIGNER_ESCROW_H

#include "base/lease.h"
#include "hbs/key.h"
#include "policy/plan.h"
#include "signer/world.h"

#define ESCROW_FILE "escrow"
#define ESCROW_KEY_FILE "escrow-key"
#define ESCROW_SECRET_LEN 100 /* of a record that a passphrase keeps */

/** What keeps the escrow, and what it is about; all borrowed for as long as the escrow is open. */
struct escrow_keeper {
    const struct world *world;
    void *tpm;                  /* open TPM of world->tpm */
    void *anchor;               /* open, for reading what the TPM keeps; else NULL */
    const uint8_t *auth_secret; /* ANCHOR_AUTH_LEN bytes of the key */
    const struct plan *plan;
    const struct anchor_pins *pins;
    const char *passphrase; /* NULL: the TPM keeps it */
};

struct escrow {
    int fd;                      /* of ESCROW_FILE; -1: there is none */
    bool by_passphrase;          /* else by the TPM */
    bool readable;               /* escrow_make() or escrow_unlock() succeeded */
    struct escrow_keeper keeper; /* of the TPM's way */
    struct escrow_work *work;    /* of the passphrase's way: E, in locked memory */
};
#define ESCROW_CLOSED ((struct escrow){.fd = -1})

/** Close and wipe; nothing on disk changes. For CLEANUP(). */
void escrow_close(struct escrow *escrow);

/**
 * Make an empty file "escrow", kept as the keeper says, and what else it needs; synced, their names
 * not.
 * @param[in]  dirfd    Folder of the key; has no such files.
 * @param[out] escrow   ESCROW_CLOSED before; open for reading and writing afterwards.
 * @retval RC_REFUSED_EXISTS, RC_HALT_SYSTEM  A file could not be made.
 * @retval RC_RETRY_SYSTEM                    No memory.
 */
enum rc escrow_make(struct escrow *escrow, int dirfd, const struct escrow_keeper *keeper,
                    struct err *err) MUST_CHECK;

/**
 * Open the file of an existing key, for destroying.
 * @param[out] escrow  fd is -1 if the key has none: it was made by a version without escrow.
 * @retval RC_HALT_SEEDS  Not as long as windows demand, or it cannot be opened.
 */
enum rc escrow_open(struct escrow *escrow, int dirfd, uint64_t windows, struct err *err) MUST_CHECK;

/**
 * Go on to reading and writing.
 * @param[in,out] escrow  From escrow_open(), fd is not -1 (MUST).
 * @param[in]     keeper  passphrase counts only where one keeps the escrow (NULL is then refused).
 * @retval RC_REFUSED_PASSPHRASE  It is kept by a passphrase, and not by this one.
 * @retval RC_HALT_SEEDS          "escrow-key" is missing or damaged.
 * @retval RC_RETRY_SYSTEM, RC_HALT_SYSTEM  Memory, disk.
 */
enum rc escrow_unlock(struct escrow *escrow, int dirfd, const struct escrow_keeper *keeper,
                      struct err *err) MUST_CHECK;

/**
 * Write the record of a window; not synced. It is readable (MUST).
 * @retval RC_HALT_SYSTEM, RC_RETRY_SYSTEM  Disk, memory.
 * @return Or what sealing it returned.
 */
enum rc escrow_put(struct escrow *escrow, uint64_t window, const struct window_secret *secret,
                   struct err *err) MUST_CHECK;

/**
 * Read the record of a window. It is readable (MUST). Whether it is the window's own secret shows
 * the node file.
 * @param[out] secret  Zero unless RC_OK.
 * @retval RC_HALT_SEEDS      Destroyed, never on this device, damaged, or the TPM says that the
 * window is closed.
 * @retval RC_REFUSED_CONFIG  The TPM keeps it, and the owner authorisation is wrong.
 * @retval RC_RETRY_ANCHOR, RC_HALT_ANCHOR, RC_HALT_CANARY  As tpm_unseal().
 */
enum rc escrow_get(struct escrow *escrow, uint64_t window, struct window_secret *secret,
                   struct err *err) MUST_CHECK;

/** Sync. @retval RC_HALT_SYSTEM */
enum rc escrow_sync(const struct escrow *escrow, struct err *err) MUST_CHECK;

/** As seeds_destroy_below(); does nothing where there is no escrow. */
enum rc escrow_destroy_below(const struct escrow *escrow, uint64_t window, bool sweep,
                             struct err *err) MUST_CHECK;

#endif
