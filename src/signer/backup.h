/*
 * backup: the secrets of windows that are still to come, encrypted under a passphrase, in one file.
 *
 * RFC 10033 section 6: the file carries no counter. It can only be used to start in a later window
 * (recover.h), never to go on where the old device stood. Layout, big endian:
 *
 *   "TIDEBKUP", u32 format 1, u32 header length, header (canonical JSON, public: key, plan hash,
 * public key, salt, cost, first window and count of the secrets, window mark `through`, time),
 *   sealed chunks of BACKUP_CHUNK windows (64 bytes each, 16-byte tag), bound to SHA-256 of all
 * before, u64 length + plan document, u64 length + node file (both public, checked by hash and
 * root).
 *
 * Uses: base (box), ledger, policy, key. Offline: the caller holds both locks.
 */
#ifndef SIGNER_BACKUP_H
#define SIGNER_BACKUP_H

#include "signer/key.h"
#include "signer/provision.h"

#define BACKUP_CHUNK 32
#define BACKUP_HEADER_MAX 4096

/** What the header of a backup says. */
struct backup_header {
    char key[NAME_LEN_MAX + 1];
    uint8_t plan_sha256[SHA256_LEN];
    uint8_t public_key[LEDGER_PUBLIC_MAX];
    size_t public_key_len;
    uint8_t salt[16];
    uint32_t memory_kib, passes;
    uint64_t first_window; /* of the secrets in the file */
    uint64_t count;
    int64_t through; /* version and interval plans: windows up to this one may be opened by the
                        device that was exported; time plans: highest window opened then */
    int64_t made_at_s;
};

/**
 * Write the future windows' secrets of a loaded key (key->rc RC_OK, or a halt that still has
 * secrets). They come from the escrow, which the TPM or the passphrase opens; in a key of an older
 * version, which has none, they are unsealed.
 *
 * @param[in] passphrase  Of the new file, and of the escrow if that is kept by one.
 * @param[in] path        New file; never overwritten. It is written as PATH.part, which is replaced
 *                        if an export that was cut off left one, and gets its name when it is
 *                        durable.
 * @param[in] through     Mark to write: at least the floor.
 * @param[in] progress    May be NULL.
 * @param[out] sha256     Of the whole file, for the operator's records.
 * @retval RC_REFUSED_EXISTS      The path exists.
 * @retval RC_REFUSED_PASSPHRASE  The escrow opens with another passphrase.
 * @retval RC_REFUSED_CONFIG      The escrow needs the owner authorisation of the TPM.
 * @retval RC_HALT_SEEDS          A secret is missing, damaged, or does not fit the node file.
 * @retval RC_HALT_SYSTEM, RC_RETRY_SYSTEM, RC_HALT_ANCHOR
 * In all cases but RC_OK nothing is left under the path.
 */
enum rc backup_export(struct key *key, const struct world *world, void *tpm, const char *path,
                      const char *passphrase, int64_t through, int64_t now_s, hbs_progress progress,
                      void *progress_ctx, uint8_t sha256[SHA256_LEN], struct err *err) MUST_CHECK;

/** An open backup file. */
struct backup {
    int fd;
    struct backup_header header;
    uint8_t binding[SHA256_LEN]; /* hash of all before the chunks */
    uint8_t *box_key;            /* locked memory; NULL until the passphrase was given */
    off_t chunks_at;
    char *plan; /* malloc'ed document */
    size_t plan_len;
    off_t nodes_at;
    uint64_t nodes_len;
    struct window_secret *chunk; /* decrypted chunk in locked memory */
    uint64_t chunk_number;       /* UINT64_MAX: none */
};

/**
 * Open and parse a backup, and derive the key of its box.
 * @retval RC_REFUSED_INPUT       Not a backup file, truncated, of a newer format, or header, plan
 *                                and public key do not belong together.
 * @retval RC_REFUSED_NOT_FOUND   No such file.
 * @retval RC_REFUSED_PASSPHRASE  The first chunk does not open.
 */
enum rc backup_open(struct backup *backup, const char *path, const char *passphrase,
                    struct err *err) MUST_CHECK;
void backup_close(struct backup *backup);

/** Secret of a window in the file. @retval RC_REFUSED_RANGE not in it; RC_REFUSED_PASSPHRASE
 * damaged. */
enum rc backup_secret(struct backup *backup, uint64_t window, struct window_secret *secret,
                      struct err *err) MUST_CHECK;

/** SHA-256 of the whole file, which names it in acknowledgements. Looks at fd alone.
 * @retval RC_HALT_SYSTEM, RC_RETRY_SYSTEM  It cannot be read; all zero. */
enum rc backup_sha256(const struct backup *backup, uint8_t sha256[SHA256_LEN],
                      struct err *err) MUST_CHECK;

/**
 * What an acknowledgement says of a backup: its digest in hexadecimal, then the path if there is
 * room for it.
 */
void backup_name(char text[LEDGER_TEXT_MAX + 1], const uint8_t sha256[SHA256_LEN],
                 const char *path);

/**
 * Open every chunk and derive the leaves of the first and last window against the node file in it.
 * @retval RC_REFUSED_PASSPHRASE  A chunk is damaged.  @retval RC_HALT_NODES  Tree or secrets do not
 * fit.
 */
enum rc backup_check(struct backup *backup, hbs_progress progress, void *progress_ctx,
                     struct err *err) MUST_CHECK;

#endif
