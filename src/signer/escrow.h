/*
 * escrow: the window secrets of one key a second time, for the backup and for whoever has to seal
 * them anew: since the TPM opens the secret of a window only when its turn has come, the sealed
 * ones cannot be read for that.
 *
 * Every secret is encrypted under one random key E of 32 bytes (base/box). E is kept in one of two
 * ways, chosen when the key is made:
 *   by the TPM: sealed so that it takes the owner authorisation of the TPM to open it, besides the
 *     authorisation of the key's own objects; whoever has both, root on a machine whose owner
 *     authorisation is empty, can read every future window;
 *   by a passphrase: nothing on the device opens it.
 * Records of windows that are closed are destroyed together with their sealed secrets; the counter
 * in the TPM does not guard them.
 *
 * File "escrow": record w of ESCROW_RECORD_LEN bytes at w * ESCROW_RECORD_LEN: u32 1 (big endian),
 * 16 random bytes, 64 encrypted bytes, 16-byte tag, encrypted under HMAC(E, random bytes) with
 * number w, bound to the plan's hash. Zeros: destroyed, or never on this device. File "escrow-key":
 * "TIDEESC1", u32 kind, then for the TPM its blob, for a passphrase: salt, u32 KiB, u32 passes,
 * encrypted E, tag.
 *
 * Uses: base, hbs (secret), seeds, world. Threads: signer thread.
 */
#ifndef SIGNER_ESCROW_H
#define SIGNER_ESCROW_H

#include "base/lease.h"
#include "hbs/key.h"
#include "signer/world.h"

#define ESCROW_FILE "escrow"
#define ESCROW_KEY_FILE "escrow-key"
#define ESCROW_RECORD_LEN 100
#define ESCROW_E_LEN 32

struct escrow {
    int fd;                   /* of ESCROW_FILE; -1: there is none */
    uint8_t *e;               /* locked; NULL: it cannot be read or written */
    struct escrow_work *work; /* locked room for one record; with e */
    uint8_t plan[SHA256_LEN];
};
#define ESCROW_CLOSED ((struct escrow){.fd = -1})

/** What keeps E. */
struct escrow_keeper {
    const struct world *world;  /* borrowed */
    void *tpm;                  /* open TPM of world->tpm, borrowed */
    const uint8_t *auth_secret; /* ANCHOR_AUTH_LEN bytes of the key */
    const char *passphrase;     /* borrowed; NULL: the TPM keeps it */
};

/** Close and wipe; nothing on disk changes. For CLEANUP(). */
void escrow_close(struct escrow *escrow);

/**
 * Draw E, write "escrow-key", make an empty file "escrow"; both synced, their names not.
 * @param[in]  dirfd    Folder of the key; has neither file.
 * @param[in]  plan     Hash of the plan.
 * @param[out] escrow   ESCROW_CLOSED before; open for writing afterwards.
 * @retval RC_REFUSED_EXISTS, RC_HALT_SYSTEM  A file could not be made.
 * @retval RC_RETRY_SYSTEM                    No memory.
 * @return Or what sealing E returned.
 */
enum rc escrow_make(struct escrow *escrow, int dirfd, uint64_t windows,
                    const uint8_t plan[SHA256_LEN], const struct escrow_keeper *keeper,
                    struct err *err) MUST_CHECK;

/**
 * Open the file of an existing key, for destroying; E stays unknown.
 * @param[out] escrow  fd is -1 if the key has none: it was made by a version without escrow.
 * @retval RC_HALT_SEEDS  Not as long as windows demand, or it cannot be opened.
 */
enum rc escrow_open(struct escrow *escrow, int dirfd, uint64_t windows,
                    const uint8_t plan[SHA256_LEN], struct err *err) MUST_CHECK;

/**
 * Learn E, for reading and writing records.
 * @param[in,out] escrow      From escrow_open(), fd is not -1 (MUST).
 * @param[in]     keeper      passphrase is used only where E is kept by one (NULL is then refused).
 * @retval RC_REFUSED_PASSPHRASE  It is kept by a passphrase, and not by this one.
 * @retval RC_REFUSED_CONFIG      It is kept by the TPM, and the owner authorisation is wrong.
 * @retval RC_HALT_SEEDS          The file is missing, damaged, or of another TPM.
 * @retval RC_RETRY_SYSTEM, RC_RETRY_ANCHOR, RC_HALT_…  Memory, TPM, disk.
 */
enum rc escrow_unlock(struct escrow *escrow, int dirfd, const struct escrow_keeper *keeper,
                      struct err *err) MUST_CHECK;

/** The same with an E that comes from elsewhere: a key under construction. @retval RC_RETRY_SYSTEM
 */
enum rc escrow_unlock_with(struct escrow *escrow, const uint8_t e[ESCROW_E_LEN],
                           struct err *err) MUST_CHECK;

/** How E of the key in this folder is kept. @retval RC_HALT_SEEDS missing or damaged. */
enum rc escrow_by_passphrase(int dirfd, bool *by_passphrase, struct err *err) MUST_CHECK;

/** Write the record of a window; not synced. E is known (MUST).
 * @retval RC_HALT_SYSTEM, RC_RETRY_SYSTEM */
enum rc escrow_put(struct escrow *escrow, uint64_t window, const struct window_secret *secret,
                   struct err *err) MUST_CHECK;

/**
 * Read the record of a window. E is known (MUST). Whether it is the window's own secret shows the
 * node file.
 * @param[out] secret  Zero unless RC_OK.
 * @retval RC_HALT_SEEDS  Destroyed, never on this device, or damaged.
 */
enum rc escrow_get(struct escrow *escrow, uint64_t window, struct window_secret *secret,
                   struct err *err) MUST_CHECK;

/** Sync. @retval RC_HALT_SYSTEM */
enum rc escrow_sync(const struct escrow *escrow, struct err *err) MUST_CHECK;

/** As seeds_destroy_below(); does nothing where there is no escrow. */
enum rc escrow_destroy_below(const struct escrow *escrow, uint64_t window,
                             struct err *err) MUST_CHECK;

#endif
