#include "signer/reseal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "signer/seeds.h"
#include "signer/window_lock.h"

static enum rc check_key(const struct reseal *r, struct err *err)
{
    const struct key *key = r->key;
    const struct backup_header *h = &r->backup->header;
    if (key->rc != RC_OK && key->rc != RC_HALT_SEEDS)
        return FAIL(err, key->rc, "", 0, "%s", err_text(&key->err));
    if (key->record.public_key_len != h->public_key_len ||
        !ct_equal(key->record.public_key, h->public_key, h->public_key_len))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "the backup is of another key named '%s'",
                    h->key);
    return RC_OK;
}

/* Closed windows, and those that a recovery has given up, stay closed. */
static enum rc find_first(struct reseal *r, struct err *err)
{
    const struct key *key = r->key;
    int64_t first = key_floor(key) + 1;
    if (first < key->record.min_window)
        first = key->record.min_window;
    if (first < (int64_t)r->backup->header.first_window)
        first = (int64_t)r->backup->header.first_window;
    r->first = (uint64_t)first;
    if (r->first < key->plan.window_count)
        return RC_OK;
    return FAIL(err, RC_REFUSED_EXHAUSTED, "", 0,
                "the backup holds no window that this device may still open");
}

static enum rc have_escrow(struct reseal *r, struct err *err)
{
    struct key *key = r->key;
    const struct escrow_keeper keeper =
        key_escrow_keeper(key, r->world, r->tpm, r->escrow_passphrase);
    if (key->escrow.fd >= 0)
        return escrow_unlock(&key->escrow, key->dirfd, &keeper, err);
    /* One that was begun and lost its power has a key and no file: it holds nothing yet. */
    if (unlinkat(key->dirfd, ESCROW_KEY_FILE, 0) != 0 && errno != ENOENT)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "remove %s: %s", ESCROW_KEY_FILE,
                    strerror(errno));
    enum rc rc = escrow_make(&key->escrow, key->dirfd, &keeper, err);
    return rc == RC_OK ? dir_sync(key->dirfd, err) : rc;
}

/* @param[out] known  False: its secret was destroyed, or is not this device's. */
static enum rc is_known(const struct key *key, uint64_t window, bool *known, struct err *err)
{
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    struct err why = {0};
    enum rc rc = seeds_read(key->seeds_fd, window, blob, &blob_len, &why);
    /* What is damaged is there, and is what this is for. */
    *known = rc == RC_HALT_SEEDS || blob_len != 0;
    if (rc == RC_OK || rc == RC_HALT_SEEDS)
        return RC_OK;
    return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
}

static enum rc seal_again(struct reseal *r, uint64_t window, const struct window_secret *secret,
                          struct err *err)
{
    struct key *key = r->key;
    struct tpm_lock lock;
    uint8_t auth[32];
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    window_lock(&lock, &key->plan, &key->record.pins, &r->pcrs, window);
    key_seed_auth(key, auth);
    enum rc rc =
        r->world->tpm->seal(r->tpm, auth, &lock, secret, sizeof(*secret), blob, &blob_len, err);
    wipe(auth, sizeof(auth));
    if (rc == RC_OK)
        rc = escrow_put(&key->escrow, window, secret, err);
    return rc == RC_OK ? seeds_write(key->seeds_fd, window, blob, blob_len, err) : rc;
}

static enum rc one(struct reseal *r, uint64_t window, struct err *err)
{
    const struct key *key = r->key;
    struct window_secret secret CLEANUP(window_secret_wipe) = {0};
    bool known = false;
    enum rc rc = is_known(key, window, &known, err);
    if (rc != RC_OK || !known)
        return rc;
    rc = backup_secret(r->backup, window, &secret, err);
    if (rc != RC_OK)
        return rc;
    if (!hbs_key_secret_fits(&key->hbs, key->nodes, key->plan.window_size, window, &secret))
        return FAIL(err, RC_HALT_SEEDS, "", 0,
                    "the backup's secret of window %" PRIu64 " does not belong to this key",
                    window);
    rc = seal_again(r, window, &secret, err);
    r->count += rc == RC_OK ? 1 : 0;
    return rc;
}

static enum rc all(struct reseal *r, struct err *err)
{
    uint64_t total = r->key->plan.window_count - r->first;
    enum rc rc = RC_OK;
    for (uint64_t i = 0; rc == RC_OK && i < total; i++) {
        rc = one(r, r->first + i, err);
        if (rc == RC_OK && r->progress != NULL && !r->progress(r->progress_ctx, i + 1, total))
            rc = FAIL(err, RC_RETRY_BUSY, "", 0, "stopped");
    }
    if (rc == RC_OK)
        rc = escrow_sync(&r->key->escrow, err);
    if (rc == RC_OK && fsync(r->key->seeds_fd) != 0)
        rc = FAIL(err, RC_HALT_SYSTEM, "errno", errno, "sync of %s: %s", SEEDS_FILE,
                  strerror(errno));
    return rc;
}

enum rc reseal(struct reseal *r, struct err *err)
{
    r->first = 0;
    r->count = 0;
    enum rc rc = check_key(r, err);
    if (rc == RC_OK)
        rc = find_first(r, err);
    if (rc == RC_OK)
        rc = r->world->tpm->pcrs_read(r->tpm, &r->pcrs, err);
    if (rc == RC_OK)
        rc = have_escrow(r, err);
    return rc == RC_OK ? all(r, err) : rc;
}
