#include "signer/escrow.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/box.h"
#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/secmem.h"
#include "signer/seeds.h"
#include "signer/window_lock.h"

#define MAGIC "TIDEESC1"
#define MAGIC_LEN 8
#define E_LEN BOX_KEY_LEN
#define KEY_FILE_LEN (MAGIC_LEN + BOX_SALT_LEN + 4 + 4 + E_LEN + BOX_TAG_LEN)

#define SALT_LEN 16
#define SECRET_LEN sizeof(struct window_secret)
_Static_assert(4 + SALT_LEN + SECRET_LEN + BOX_TAG_LEN == ESCROW_SECRET_LEN, "a record");
_Static_assert(BOX_KEY_LEN == SHA256_LEN, "the key of a record is an HMAC");

/* E, and what is secret while one record is written or read. */
struct escrow_work {
    uint8_t e[E_LEN];
    uint8_t key[BOX_KEY_LEN];
    uint8_t secret[sizeof(struct window_secret)];
};

void escrow_close(struct escrow *escrow)
{
    secmem_free(escrow->work);
    fd_close(&escrow->fd);
    *escrow = ESCROW_CLOSED;
}

static off_t offset_of(const struct escrow *escrow, uint64_t window)
{
    return (off_t)(window * (escrow->by_passphrase ? ESCROW_SECRET_LEN : SEEDS_RECORD_LEN));
}

/* E -------------------------------------------------------------------------------------------- */

static enum rc make_room(struct escrow *escrow, struct err *err)
{
    escrow->work = secmem_alloc(sizeof(*escrow->work));
    if (escrow->work == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory for the escrow");
    return RC_OK;
}

static enum rc make_e(struct escrow *escrow, int dirfd, struct err *err)
{
    const struct box_cost cost = BOX_COST_DEFAULT;
    struct escrow_work *work = escrow->work;
    uint8_t data[KEY_FILE_LEN] = MAGIC;
    uint8_t *salt = data + MAGIC_LEN;
    uint8_t *sealed = salt + BOX_SALT_LEN + 8;
    random_bytes(work->e, E_LEN);
    random_bytes(salt, BOX_SALT_LEN);
    be_put32(salt + BOX_SALT_LEN, cost.memory_kib);
    be_put32(salt + BOX_SALT_LEN + 4, cost.passes);
    const char *passphrase = escrow->keeper.passphrase;
    enum rc rc = box_key(work->key, passphrase, strlen(passphrase), salt, &cost, err);
    memcpy(work->secret, work->e, E_LEN);
    if (rc == RC_OK)
        rc = box_seal(work->key, 0, escrow->keeper.plan->sha256, work->secret, E_LEN,
                      sealed + E_LEN, err);
    if (rc != RC_OK)
        return rc;
    memcpy(sealed, work->secret, E_LEN);
    return file_write_new(dirfd, ESCROW_KEY_FILE, 0600, data, sizeof(data), err);
}

static enum rc read_key(int dirfd, uint8_t data[KEY_FILE_LEN], struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    struct err why = {0};
    enum rc rc = file_read(dirfd, ESCROW_KEY_FILE, KEY_FILE_LEN, &text, &len, &why);
    if (rc == RC_HALT_SYSTEM)
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    bool ok = rc == RC_OK && len == KEY_FILE_LEN && memcmp(text, MAGIC, MAGIC_LEN) == 0;
    if (ok)
        memcpy(data, text, len);
    free(text);
    if (ok)
        return RC_OK;
    return FAIL(err, RC_HALT_SEEDS, "", 0, "%s is %s", ESCROW_KEY_FILE,
                rc == RC_REFUSED_NOT_FOUND ? "missing" : "damaged");
}

static enum rc take_e(struct escrow *escrow, const uint8_t data[KEY_FILE_LEN], struct err *err)
{
    struct escrow_work *work = escrow->work;
    const char *passphrase = escrow->keeper.passphrase;
    const uint8_t *salt = data + MAGIC_LEN;
    const uint8_t *sealed = salt + BOX_SALT_LEN + 8;
    const struct box_cost cost = {.memory_kib = be_get32(salt + BOX_SALT_LEN),
                                  .passes = be_get32(salt + BOX_SALT_LEN + 4)};
    if (passphrase == NULL)
        return FAIL(err, RC_REFUSED_PASSPHRASE, "", 0,
                    "the escrow of this key opens with the passphrase that was given when it was "
                    "made");
    struct err why = {0};
    enum rc rc = box_key(work->key, passphrase, strlen(passphrase), salt, &cost, &why);
    memcpy(work->e, sealed, E_LEN);
    if (rc == RC_OK)
        rc = box_open(work->key, 0, escrow->keeper.plan->sha256, work->e, E_LEN, sealed + E_LEN,
                      &why);
    if (rc == RC_REFUSED_PASSPHRASE)
        return FAIL(err, rc, "", 0,
                    "the escrow of this key opens with another passphrase, the one that was given "
                    "when it was made");
    /* A cost that no version of ours writes is damage. */
    if (rc == RC_REFUSED_RANGE)
        return FAIL(err, RC_HALT_SEEDS, "", 0, "%s is damaged", ESCROW_KEY_FILE);
    return rc == RC_OK ? RC_OK : FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
}

/* File ----------------------------------------------------------------------------------------- */

static enum rc make_file(struct escrow *escrow, int dirfd, struct err *err)
{
    off_t len = offset_of(escrow, escrow->keeper.plan->window_count);
    escrow->fd = openat(dirfd, ESCROW_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (escrow->fd < 0 || ftruncate(escrow->fd, len) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "create %s: %s", ESCROW_FILE,
                    strerror(errno));
    return escrow_sync(escrow, err);
}

enum rc escrow_make(struct escrow *escrow, int dirfd, const struct escrow_keeper *keeper,
                    struct err *err)
{
    escrow->keeper = *keeper;
    escrow->by_passphrase = keeper->passphrase != NULL;
    enum rc rc = RC_OK;
    if (escrow->by_passphrase) {
        rc = make_room(escrow, err);
        if (rc == RC_OK)
            rc = make_e(escrow, dirfd, err);
    }
    if (rc == RC_OK)
        rc = make_file(escrow, dirfd, err);
    escrow->readable = rc == RC_OK;
    return rc;
}

enum rc escrow_open(struct escrow *escrow, int dirfd, uint64_t windows, struct err *err)
{
    struct stat st;
    escrow->fd = openat(dirfd, ESCROW_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (escrow->fd < 0 && errno == ENOENT)
        return RC_OK;
    if (escrow->fd < 0)
        return FAIL(err, RC_HALT_SEEDS, "errno", errno, "open %s: %s", ESCROW_FILE,
                    strerror(errno));
    if (fstat(escrow->fd, &st) == 0) {
        for (int i = 0; i < 2; i++) {
            escrow->by_passphrase = i == 1;
            if (st.st_size == offset_of(escrow, windows))
                return RC_OK;
        }
    }
    fd_close(&escrow->fd);
    return FAIL(err, RC_HALT_SEEDS, "", 0, "%s is not a file of %" PRIu64 " secrets", ESCROW_FILE,
                windows);
}

enum rc escrow_unlock(struct escrow *escrow, int dirfd, const struct escrow_keeper *keeper,
                      struct err *err)
{
    MUST(escrow->fd >= 0);
    uint8_t data[KEY_FILE_LEN];
    escrow->keeper = *keeper;
    escrow->readable = !escrow->by_passphrase;
    if (escrow->readable)
        return RC_OK;
    enum rc rc = read_key(dirfd, data, err);
    if (rc == RC_OK && escrow->work == NULL)
        rc = make_room(escrow, err);
    if (rc == RC_OK)
        rc = take_e(escrow, data, err);
    escrow->readable = rc == RC_OK;
    return rc;
}

enum rc escrow_sync(const struct escrow *escrow, struct err *err)
{
    if (fsync(escrow->fd) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "sync of %s: %s", ESCROW_FILE,
                    strerror(errno));
    return RC_OK;
}

enum rc escrow_destroy_below(const struct escrow *escrow, uint64_t window, bool sweep,
                             struct err *err)
{
    if (escrow->fd < 0)
        return RC_OK;
    return records_destroy_below(escrow->fd, (size_t)offset_of(escrow, 1), window, sweep, err);
}

/* Records by the TPM --------------------------------------------------------------------------- */

static void auth_of(uint8_t auth[32], const struct escrow *escrow)
{
    hmac_sha256(auth, escrow->keeper.auth_secret, ANCHOR_AUTH_LEN, "escrow", 6);
}

static enum rc seal(struct escrow *escrow, uint64_t window, const struct window_secret *secret,
                    struct err *err)
{
    const struct escrow_keeper *k = &escrow->keeper;
    struct tpm_lock lock;
    uint8_t auth[32];
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    window_lock_escrow(&lock, k->plan, k->pins, window);
    auth_of(auth, escrow);
    enum rc rc = k->world->tpm->seal(k->tpm, auth, &lock, secret, SECRET_LEN, blob, &blob_len, err);
    wipe(auth, sizeof(auth));
    return rc == RC_OK ? seeds_write(escrow->fd, window, blob, blob_len, err) : rc;
}

static enum rc absent(uint64_t window, struct err *err)
{
    return FAIL(err, RC_HALT_SEEDS, "", 0, "the escrow has no secret of window %" PRIu64, window);
}

static enum rc unseal(struct escrow *escrow, uint64_t window, struct window_secret *secret,
                      struct err *err)
{
    const struct escrow_keeper *k = &escrow->keeper;
    uint8_t auth[32];
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    enum rc rc = seeds_read(escrow->fd, window, blob, &blob_len, err);
    if (rc != RC_OK)
        return rc;
    if (blob_len == 0)
        return absent(window, err);
    auth_of(auth, escrow);
    rc = k->world->tpm->unseal(k->tpm, k->anchor, auth, blob, blob_len, secret, SECRET_LEN, err);
    wipe(auth, sizeof(auth));
    return rc;
}

/* Records by a passphrase ---------------------------------------------------------------------- */

/* Every record has a key of its own: a window whose secret is drawn again, by a key that is gone on
 * with, would use the same one twice else. */
static void record_key(struct escrow_work *work, const uint8_t salt[SALT_LEN])
{
    hmac_sha256(work->key, work->e, E_LEN, salt, SALT_LEN);
}

static enum rc encrypt(struct escrow *escrow, uint64_t window, const struct window_secret *secret,
                       struct err *err)
{
    struct escrow_work *work = escrow->work;
    uint8_t record[ESCROW_SECRET_LEN];
    uint8_t *body = record + 4 + SALT_LEN;
    be_put32(record, 1);
    random_bytes(record + 4, SALT_LEN);
    record_key(work, record + 4);
    memcpy(work->secret, secret, SECRET_LEN);
    enum rc rc = box_seal(work->key, window, escrow->keeper.plan->sha256, work->secret, SECRET_LEN,
                          body + SECRET_LEN, err);
    if (rc != RC_OK)
        return rc;
    memcpy(body, work->secret, SECRET_LEN);
    if (!pwrite_full(escrow->fd, record, sizeof(record), offset_of(escrow, window)))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "write to %s: %s", ESCROW_FILE,
                    strerror(errno));
    return RC_OK;
}

static enum rc decrypt(struct escrow *escrow, uint64_t window, struct window_secret *secret,
                       struct err *err)
{
    uint8_t record[ESCROW_SECRET_LEN];
    const uint8_t *body = record + 4 + SALT_LEN;
    if (!pread_full(escrow->fd, record, sizeof(record), offset_of(escrow, window)))
        return FAIL(err, RC_HALT_SEEDS, "errno", errno, "read of %s: %s", ESCROW_FILE,
                    strerror(errno));
    if (be_get32(record) != 1)
        return absent(window, err);
    record_key(escrow->work, record + 4);
    memcpy(secret, body, SECRET_LEN);
    struct err why = {0};
    enum rc rc = box_open(escrow->work->key, window, escrow->keeper.plan->sha256, (uint8_t *)secret,
                          SECRET_LEN, body + SECRET_LEN, &why);
    if (rc == RC_REFUSED_PASSPHRASE)
        return FAIL(err, RC_HALT_SEEDS, "", 0,
                    "the escrow's secret of window %" PRIu64 " is damaged", window);
    return rc == RC_OK ? RC_OK : FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
}

enum rc escrow_put(struct escrow *escrow, uint64_t window, const struct window_secret *secret,
                   struct err *err)
{
    MUST(escrow->readable);
    return escrow->by_passphrase ? encrypt(escrow, window, secret, err)
                                 : seal(escrow, window, secret, err);
}

enum rc escrow_get(struct escrow *escrow, uint64_t window, struct window_secret *secret,
                   struct err *err)
{
    MUST(escrow->readable);
    memset(secret, 0, sizeof(*secret));
    return escrow->by_passphrase ? decrypt(escrow, window, secret, err)
                                 : unseal(escrow, window, secret, err);
}
