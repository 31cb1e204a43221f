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

#define MAGIC "TIDEESC1"
#define MAGIC_LEN 8
#define KIND_TPM 1
#define KIND_PASSPHRASE 2
#define HEAD_LEN (MAGIC_LEN + 4)
#define BOX_LEN (BOX_SALT_LEN + 4 + 4 + ESCROW_E_LEN + BOX_TAG_LEN)
#define KEY_FILE_MAX (HEAD_LEN + TPM_SEALED_MAX)

#define SALT_LEN 16
#define SECRET_LEN sizeof(struct window_secret)
_Static_assert(4 + SALT_LEN + SECRET_LEN + BOX_TAG_LEN == ESCROW_RECORD_LEN, "a record");
_Static_assert(BOX_KEY_LEN == SHA256_LEN, "the key of a record is an HMAC");

/* What is secret while one record is written or read. */
struct escrow_work {
    uint8_t key[BOX_KEY_LEN];
    uint8_t secret[sizeof(struct window_secret)];
};

void escrow_close(struct escrow *escrow)
{
    secmem_free(escrow->e);
    secmem_free(escrow->work);
    fd_close(&escrow->fd);
    *escrow = ESCROW_CLOSED;
}

static enum rc make_room(struct escrow *escrow, struct err *err)
{
    secmem_free(escrow->e);
    secmem_free(escrow->work);
    escrow->e = secmem_alloc(ESCROW_E_LEN);
    escrow->work = secmem_alloc(sizeof(*escrow->work));
    if (escrow->e == NULL || escrow->work == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory for the escrow");
    return RC_OK;
}

/* E -------------------------------------------------------------------------------------------- */

static void auth_of(uint8_t auth[32], const struct escrow_keeper *keeper)
{
    hmac_sha256(auth, keeper->auth_secret, ANCHOR_AUTH_LEN, "escrow", 6);
}

static enum rc give_to_tpm(const struct escrow *escrow, const struct escrow_keeper *keeper,
                           uint8_t *body, size_t *len, struct err *err)
{
    static const struct tpm_lock owner = {.kind = TPM_LOCK_OWNER};
    uint8_t auth[32];
    auth_of(auth, keeper);
    enum rc rc = keeper->world->tpm->seal(keeper->tpm, auth, &owner, escrow->e, ESCROW_E_LEN, body,
                                          len, err);
    wipe(auth, sizeof(auth));
    return rc;
}

static enum rc passphrase_key(uint8_t *key, const char *passphrase, const uint8_t *salt,
                              const struct box_cost *cost, struct err *err)
{
    if (passphrase == NULL)
        return FAIL(err, RC_REFUSED_PASSPHRASE, "", 0,
                    "the escrow of this key opens with a passphrase: give --passphrase-file");
    return box_key(key, passphrase, strlen(passphrase), salt, cost, err);
}

static enum rc give_to_passphrase(const struct escrow *escrow, const struct escrow_keeper *keeper,
                                  uint8_t *body, size_t *len, struct err *err)
{
    const struct box_cost cost = BOX_COST_DEFAULT;
    uint8_t *at = body + BOX_SALT_LEN + 8;
    random_bytes(body, BOX_SALT_LEN);
    be_put32(body + BOX_SALT_LEN, cost.memory_kib);
    be_put32(body + BOX_SALT_LEN + 4, cost.passes);
    enum rc rc = passphrase_key(escrow->work->key, keeper->passphrase, body, &cost, err);
    if (rc == RC_OK) {
        memcpy(escrow->work->secret, escrow->e, ESCROW_E_LEN);
        rc = box_seal(escrow->work->key, 0, escrow->plan, escrow->work->secret, ESCROW_E_LEN,
                      at + ESCROW_E_LEN, err);
    }
    if (rc == RC_OK)
        memcpy(at, escrow->work->secret, ESCROW_E_LEN);
    *len = BOX_LEN;
    wipe(escrow->work, sizeof(*escrow->work));
    return rc;
}

static enum rc write_key(const struct escrow *escrow, int dirfd, const struct escrow_keeper *keeper,
                         struct err *err)
{
    uint8_t data[KEY_FILE_MAX] = MAGIC;
    size_t len = 0;
    bool by_tpm = keeper->passphrase == NULL;
    be_put32(data + MAGIC_LEN, by_tpm ? KIND_TPM : KIND_PASSPHRASE);
    enum rc rc = by_tpm ? give_to_tpm(escrow, keeper, data + HEAD_LEN, &len, err)
                        : give_to_passphrase(escrow, keeper, data + HEAD_LEN, &len, err);
    if (rc != RC_OK)
        return rc;
    return file_write_new(dirfd, ESCROW_KEY_FILE, 0600, data, HEAD_LEN + len, err);
}

static enum rc take_from_tpm(struct escrow *escrow, const struct escrow_keeper *keeper,
                             const uint8_t *body, size_t len, struct err *err)
{
    uint8_t auth[32];
    auth_of(auth, keeper);
    enum rc rc = keeper->world->tpm->unseal(keeper->tpm, NULL, auth, body, len, escrow->e,
                                            ESCROW_E_LEN, err);
    wipe(auth, sizeof(auth));
    return rc;
}

static enum rc take_from_passphrase(struct escrow *escrow, const struct escrow_keeper *keeper,
                                    const uint8_t *body, size_t len, struct err *err)
{
    if (len != BOX_LEN)
        return FAIL(err, RC_HALT_SEEDS, "", 0, "%s is damaged", ESCROW_KEY_FILE);
    const uint8_t *at = body + BOX_SALT_LEN + 8;
    const struct box_cost cost = {.memory_kib = be_get32(body + BOX_SALT_LEN),
                                  .passes = be_get32(body + BOX_SALT_LEN + 4)};
    struct err why = {0};
    enum rc rc = passphrase_key(escrow->work->key, keeper->passphrase, body, &cost, &why);
    if (rc == RC_OK) {
        memcpy(escrow->e, at, ESCROW_E_LEN);
        rc = box_open(escrow->work->key, 0, escrow->plan, escrow->e, ESCROW_E_LEN,
                      at + ESCROW_E_LEN, &why);
        if (rc == RC_REFUSED_PASSPHRASE) {
            why = (struct err){0};
            (void)FAIL(&why, rc, "", 0,
                       "the escrow of this key opens with another passphrase, the one that was "
                       "given when the key was made");
        }
    }
    wipe(escrow->work, sizeof(*escrow->work));
    /* A cost that no version of ours writes is damage. */
    if (rc == RC_REFUSED_RANGE)
        rc = RC_HALT_SEEDS;
    return rc == RC_OK ? RC_OK : FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
}

static enum rc read_key(int dirfd, uint8_t body[TPM_SEALED_MAX], size_t *len, uint32_t *kind,
                        struct err *err)
{
    char *data = NULL;
    size_t total = 0;
    struct err why = {0};
    enum rc rc = file_read(dirfd, ESCROW_KEY_FILE, KEY_FILE_MAX, &data, &total, &why);
    if (rc == RC_HALT_SYSTEM)
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    bool ok = rc == RC_OK && total > HEAD_LEN && memcmp(data, MAGIC, MAGIC_LEN) == 0;
    *kind = ok ? be_get32((const uint8_t *)data + MAGIC_LEN) : 0;
    *len = ok ? total - HEAD_LEN : 0;
    if (ok)
        memcpy(body, data + HEAD_LEN, *len);
    free(data);
    if (*kind == KIND_TPM || *kind == KIND_PASSPHRASE)
        return RC_OK;
    return FAIL(err, RC_HALT_SEEDS, "", 0, "%s is %s", ESCROW_KEY_FILE,
                rc == RC_REFUSED_NOT_FOUND ? "missing" : "damaged");
}

enum rc escrow_by_passphrase(int dirfd, bool *by_passphrase, struct err *err)
{
    uint8_t body[TPM_SEALED_MAX];
    size_t len = 0;
    uint32_t kind = 0;
    enum rc rc = read_key(dirfd, body, &len, &kind, err);
    *by_passphrase = kind == KIND_PASSPHRASE;
    return rc;
}

enum rc escrow_unlock(struct escrow *escrow, int dirfd, const struct escrow_keeper *keeper,
                      struct err *err)
{
    MUST(escrow->fd >= 0);
    uint8_t body[TPM_SEALED_MAX];
    size_t len = 0;
    uint32_t kind = 0;
    enum rc rc = read_key(dirfd, body, &len, &kind, err);
    if (rc == RC_OK)
        rc = make_room(escrow, err);
    if (rc != RC_OK)
        return rc;
    rc = kind == KIND_TPM ? take_from_tpm(escrow, keeper, body, len, err)
                          : take_from_passphrase(escrow, keeper, body, len, err);
    if (rc == RC_OK)
        return RC_OK;
    secmem_free(escrow->e);
    escrow->e = NULL;
    return rc;
}

enum rc escrow_unlock_with(struct escrow *escrow, const uint8_t e[ESCROW_E_LEN], struct err *err)
{
    enum rc rc = make_room(escrow, err);
    if (rc == RC_OK)
        memcpy(escrow->e, e, ESCROW_E_LEN);
    return rc;
}

/* File ----------------------------------------------------------------------------------------- */

static enum rc make_file(struct escrow *escrow, int dirfd, uint64_t windows, struct err *err)
{
    escrow->fd = openat(dirfd, ESCROW_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (escrow->fd < 0 || ftruncate(escrow->fd, (off_t)(windows * ESCROW_RECORD_LEN)) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "create %s: %s", ESCROW_FILE,
                    strerror(errno));
    return escrow_sync(escrow, err);
}

enum rc escrow_make(struct escrow *escrow, int dirfd, uint64_t windows,
                    const uint8_t plan[SHA256_LEN], const struct escrow_keeper *keeper,
                    struct err *err)
{
    memcpy(escrow->plan, plan, SHA256_LEN);
    enum rc rc = make_room(escrow, err);
    if (rc != RC_OK)
        return rc;
    random_bytes(escrow->e, ESCROW_E_LEN);
    rc = write_key(escrow, dirfd, keeper, err);
    return rc == RC_OK ? make_file(escrow, dirfd, windows, err) : rc;
}

enum rc escrow_open(struct escrow *escrow, int dirfd, uint64_t windows,
                    const uint8_t plan[SHA256_LEN], struct err *err)
{
    struct stat st;
    memcpy(escrow->plan, plan, SHA256_LEN);
    escrow->fd = openat(dirfd, ESCROW_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (escrow->fd < 0 && errno == ENOENT)
        return RC_OK;
    if (escrow->fd < 0)
        return FAIL(err, RC_HALT_SEEDS, "errno", errno, "open %s: %s", ESCROW_FILE,
                    strerror(errno));
    if (fstat(escrow->fd, &st) == 0 && st.st_size == (off_t)(windows * ESCROW_RECORD_LEN))
        return RC_OK;
    fd_close(&escrow->fd);
    return FAIL(err, RC_HALT_SEEDS, "", 0, "%s is not a file of %" PRIu64 " secrets", ESCROW_FILE,
                windows);
}

/* Every record has a key of its own: a window whose secret is drawn again, by a key that is gone on
 * with, would use the same one twice else. */
static void record_key(struct escrow *escrow, const uint8_t salt[SALT_LEN])
{
    hmac_sha256(escrow->work->key, escrow->e, ESCROW_E_LEN, salt, SALT_LEN);
}

enum rc escrow_put(struct escrow *escrow, uint64_t window, const struct window_secret *secret,
                   struct err *err)
{
    MUST(escrow->e != NULL);
    uint8_t record[ESCROW_RECORD_LEN];
    be_put32(record, 1);
    random_bytes(record + 4, SALT_LEN);
    record_key(escrow, record + 4);
    memcpy(escrow->work->secret, secret, SECRET_LEN);
    enum rc rc = box_seal(escrow->work->key, window, escrow->plan, escrow->work->secret, SECRET_LEN,
                          record + 4 + SALT_LEN + SECRET_LEN, err);
    memcpy(record + 4 + SALT_LEN, escrow->work->secret, SECRET_LEN);
    wipe(escrow->work, sizeof(*escrow->work));
    if (rc != RC_OK)
        return rc;
    if (!pwrite_full(escrow->fd, record, sizeof(record), (off_t)(window * ESCROW_RECORD_LEN)))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "write to %s: %s", ESCROW_FILE,
                    strerror(errno));
    return RC_OK;
}

enum rc escrow_get(struct escrow *escrow, uint64_t window, struct window_secret *secret,
                   struct err *err)
{
    MUST(escrow->e != NULL);
    uint8_t record[ESCROW_RECORD_LEN];
    memset(secret, 0, sizeof(*secret));
    if (!pread_full(escrow->fd, record, sizeof(record), (off_t)(window * ESCROW_RECORD_LEN)))
        return FAIL(err, RC_HALT_SEEDS, "errno", errno, "read of %s: %s", ESCROW_FILE,
                    strerror(errno));
    if (be_get32(record) != 1)
        return FAIL(err, RC_HALT_SEEDS, "", 0, "the escrow has no secret of window %" PRIu64,
                    window);
    record_key(escrow, record + 4);
    memcpy(secret, record + 4 + SALT_LEN, SECRET_LEN);
    struct err why = {0};
    enum rc rc = box_open(escrow->work->key, window, escrow->plan, (uint8_t *)secret, SECRET_LEN,
                          record + 4 + SALT_LEN + SECRET_LEN, &why);
    wipe(escrow->work, sizeof(*escrow->work));
    if (rc == RC_REFUSED_PASSPHRASE)
        return FAIL(err, RC_HALT_SEEDS, "", 0,
                    "the escrow's secret of window %" PRIu64 " is damaged", window);
    return rc == RC_OK ? RC_OK : FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
}

enum rc escrow_sync(const struct escrow *escrow, struct err *err)
{
    if (fsync(escrow->fd) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "sync of %s: %s", ESCROW_FILE,
                    strerror(errno));
    return RC_OK;
}

enum rc escrow_destroy_below(const struct escrow *escrow, uint64_t window, struct err *err)
{
    return escrow->fd < 0 ? RC_OK
                          : records_destroy_below(escrow->fd, ESCROW_RECORD_LEN, window, err);
}
