#include "signer/draft.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/secmem.h"
#include "signer/key.h"
#include "signer/seeds.h"

#define PINS_FILE "pins"
/* Handle and Name of W, L and A: enough to undefine what a crash left behind, and nothing else. */
#define PIN_LEN (4 + TPM_NAME_LEN)
#define PINS_FILE_LEN (3 * PIN_LEN)

/* Magic, plan, windows, first window, id, pins, PCRs, SHA-256 of all that. */
#define DRAFT_FILE "draft"
#define DRAFT_MAGIC "TIDEDRF2"
#define PCRS_LEN (4 + 4 + SHA256_LEN)
#define DRAFT_BODY_LEN                                                                             \
    (8 + SHA256_LEN + 8 + 8 + HBS_KEY_ID_LEN + PINS_FILE_LEN + TPM_NAME_LEN + 3 * 8 + PCRS_LEN)
#define DRAFT_LEN (DRAFT_BODY_LEN + SHA256_LEN)

#define RESTART "--restart throws away what there is"

static void anchor_end(struct draft *d)
{
    if (d->anchor != NULL)
        d->world->tpm->anchor_close(&d->anchor);
}

void draft_close(struct draft *d)
{
    escrow_close(&d->escrow);
    anchor_end(d);
    fd_close(&d->seeds_fd);
    fd_close(&d->dirfd);
    fd_close(&d->keys_dirfd);
    secmem_free(d->auth_secret);
    d->auth_secret = NULL;
    wipe(d->seed_auth, sizeof(d->seed_auth));
}

enum rc draft_open(struct draft *d, int state_dirfd, struct err *err)
{
    (void)snprintf(d->folder, sizeof(d->folder), ".new-%s", d->name);
    if (mkdirat(state_dirfd, KEYS_DIR, 0700) != 0 && errno != EEXIST)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "mkdir %s: %s", KEYS_DIR,
                    strerror(errno));
    /* Its own name, too, must be there after a power cut: the ledger will say that the key is. */
    enum rc rc = dir_sync(state_dirfd, err);
    if (rc != RC_OK)
        return rc;
    d->keys_dirfd = openat(state_dirfd, KEYS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->keys_dirfd < 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "open %s: %s", KEYS_DIR,
                    strerror(errno));
    return RC_OK;
}

/* Bytes --------------------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *p, const void *from, size_t len)
{
    memcpy(p, from, len);
    return p + len;
}

static const uint8_t *get(const uint8_t *p, void *to, size_t len)
{
    memcpy(to, p, len);
    return p + len;
}

static uint8_t *put64(uint8_t *p, uint64_t value)
{
    be_put64(p, value);
    return p + 8;
}

static const uint8_t *get64(const uint8_t *p, uint64_t *value)
{
    *value = be_get64(p);
    return p + 8;
}

static uint8_t *put_pin(uint8_t *p, uint32_t handle, const uint8_t name[TPM_NAME_LEN])
{
    be_put32(p, handle);
    return put(p + 4, name, TPM_NAME_LEN);
}

static const uint8_t *get_pin(const uint8_t *p, uint32_t *handle, uint8_t name[TPM_NAME_LEN])
{
    *handle = be_get32(p);
    return get(p + 4, name, TPM_NAME_LEN);
}

static uint8_t *put_pins(uint8_t *p, const struct anchor_pins *pins)
{
    p = put_pin(p, pins->w_handle, pins->w_name);
    p = put_pin(p, pins->l_handle, pins->l_name);
    return put_pin(p, pins->a_handle, pins->a_name);
}

static const uint8_t *get_pins(const uint8_t *p, struct anchor_pins *pins)
{
    p = get_pin(p, &pins->w_handle, pins->w_name);
    p = get_pin(p, &pins->l_handle, pins->l_name);
    return get_pin(p, &pins->a_handle, pins->a_name);
}

static uint8_t *put_pcrs(uint8_t *p, const struct tpm_pcrs *pcrs)
{
    be_put32(p, pcrs->bank);
    be_put32(p + 4, pcrs->selection);
    return put(p + 8, pcrs->digest, sizeof(pcrs->digest));
}

static const uint8_t *get_pcrs(const uint8_t *p, struct tpm_pcrs *pcrs)
{
    pcrs->bank = (uint16_t)be_get32(p);
    pcrs->selection = be_get32(p + 4);
    return get(p + 8, pcrs->digest, sizeof(pcrs->digest));
}

static bool same_pcrs(const struct tpm_pcrs *a, const struct tpm_pcrs *b)
{
    return a->bank == b->bank && a->selection == b->selection &&
           ct_equal(a->digest, b->digest, sizeof(a->digest));
}

static void draft_print(uint8_t out[DRAFT_LEN], const struct draft *d)
{
    uint8_t *p = put(out, DRAFT_MAGIC, 8);
    p = put(p, d->plan, SHA256_LEN);
    p = put64(p, d->windows);
    p = put64(p, (uint64_t)d->first_window);
    p = put(p, d->id, HBS_KEY_ID_LEN);
    p = put_pins(p, &d->pins);
    p = put(p, d->pins.srk_name, TPM_NAME_LEN);
    p = put64(p, (uint64_t)d->pins.w_base);
    p = put64(p, d->pins.w_first);
    p = put64(p, d->pins.l_first);
    p = put_pcrs(p, &d->pcrs);
    MUST(p == out + DRAFT_BODY_LEN);
    digest_buffer(DIGEST_SHA256, p, out, DRAFT_BODY_LEN);
}

/* Fills in what a draft has and a plan does not say. */
static void draft_scan(const uint8_t in[DRAFT_LEN], struct draft *d, uint8_t plan[SHA256_LEN],
                       uint64_t *windows, struct tpm_pcrs *pcrs)
{
    uint64_t first = 0;
    uint64_t w_base = 0;
    const uint8_t *p = get(in + 8, plan, SHA256_LEN);
    p = get64(p, windows);
    p = get64(p, &first);
    p = get(p, d->id, HBS_KEY_ID_LEN);
    p = get_pins(p, &d->pins);
    p = get(p, d->pins.srk_name, TPM_NAME_LEN);
    p = get64(p, &w_base);
    p = get64(p, &d->pins.w_first);
    p = get64(p, &d->pins.l_first);
    (void)get_pcrs(p, pcrs);
    d->first_window = (int64_t)first;
    d->pins.w_base = (int64_t)w_base;
}

static bool draft_whole(const uint8_t *in, size_t len)
{
    uint8_t checksum[SHA256_LEN];
    if (len != DRAFT_LEN || memcmp(in, DRAFT_MAGIC, 8) != 0)
        return false;
    digest_buffer(DIGEST_SHA256, checksum, in, DRAFT_BODY_LEN);
    return ct_equal(checksum, in + DRAFT_BODY_LEN, SHA256_LEN);
}

/* Authorisation ------------------------------------------------------------------------------ */

static enum rc open_folder(struct draft *d, const char *name, struct err *err)
{
    fd_close(&d->dirfd);
    d->dirfd = openat(d->keys_dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (d->dirfd < 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "open %s: %s", name, strerror(errno));
    return RC_OK;
}

static enum rc auth_room(struct draft *d, struct err *err)
{
    secmem_free(d->auth_secret);
    d->auth_secret = secmem_alloc(ANCHOR_AUTH_LEN);
    if (d->auth_secret == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory");
    return RC_OK;
}

static enum rc unseal_auth(struct draft *d, struct err *err)
{
    static const uint8_t no_pin[32];
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    int fd CLEANUP(fd_close) = -1;
    enum rc rc = auth_room(d, err);
    if (rc == RC_OK)
        rc = seeds_open(d->dirfd, DEVICE_FILE, 1, &fd, err);
    if (rc == RC_OK)
        rc = seeds_read(fd, 0, blob, &blob_len, err);
    if (rc == RC_OK)
        rc = d->world->tpm->unseal(d->tpm, NULL, no_pin, blob, blob_len, d->auth_secret,
                                   ANCHOR_AUTH_LEN, err);
    if (rc == RC_OK)
        hmac_sha256(d->seed_auth, d->auth_secret, ANCHOR_AUTH_LEN, "seed", 4);
    return rc;
}

/* Throwing away ------------------------------------------------------------------------------- */

static void remove_folder(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        fd_close(&fd);
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(fd, e->d_name, 0);
    (void)closedir(dir);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

/* The pins were written before there was anything at their handles, and the authorisation before
 * them: whatever a kill left in the TPM is found here, and proven to be ours before it goes. A
 * folder whose authorisation this TPM does not give back was another TPM's, or this one was cleared
 * since: then nothing of ours is there any more. */
static enum rc undefine(struct draft *d, const char *folder, const char *data, struct err *err)
{
    struct anchor_pins pins = {0};
    struct err none = {0};
    (void)get_pins((const uint8_t *)data, &pins);
    enum rc rc = open_folder(d, folder, &none);
    if (rc == RC_OK)
        rc = unseal_auth(d, &none);
    if (rc == RC_OK)
        rc = d->world->tpm->undefine(d->tpm, &pins, d->auth_secret, &none);
    fd_close(&d->dirfd);
    if (rc == RC_OK || rc == RC_HALT_REGRESSION || rc == RC_HALT_SEEDS)
        return RC_OK;
    return FAIL(err, rc, none.origin, none.native, "%s", err_text(&none));
}

static enum rc remove_leftover(struct draft *d, const char *name, struct err *err)
{
    char path[NAME_LEN_MAX + 8 + sizeof(PINS_FILE) + 1];
    (void)snprintf(path, sizeof(path), "%s/%s", name, PINS_FILE);
    char *data = NULL;
    size_t len = 0;
    struct err none = {0};
    enum rc rc = file_read(d->keys_dirfd, path, PINS_FILE_LEN, &data, &len, &none);
    bool unfinished = rc == RC_OK || name == d->folder;
    if (rc == RC_OK && len == PINS_FILE_LEN)
        rc = undefine(d, name, data, err);
    else if (rc == RC_OK || rc == RC_REFUSED_NOT_FOUND)
        rc = RC_OK;
    else
        (void)FAIL(err, rc, "", 0, "%s", err_text(&none));
    free(data);
    if (rc != RC_OK)
        return rc;
    if (!unfinished && faccessat(d->keys_dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return FAIL(err, RC_REFUSED_EXISTS, "", 0,
                    "there is a finished key in the folder '%s' that the ledger does not know: the "
                    "ledger was lost or replaced; put it back, or recover the key under another "
                    "state directory",
                    name);
    remove_folder(d->keys_dirfd, name);
    return RC_OK;
}

enum rc draft_remove(struct draft *d, struct err *err)
{
    escrow_close(&d->escrow);
    anchor_end(d);
    fd_close(&d->seeds_fd);
    fd_close(&d->dirfd);
    d->durable = false;
    enum rc rc = remove_leftover(d, d->folder, err);
    return rc == RC_OK ? remove_leftover(d, d->name, err) : rc;
}

/* Beginning ----------------------------------------------------------------------------------- */

static enum rc make_sparse(struct draft *d, const char *name, uint64_t records, int *fd,
                           struct err *err)
{
    *fd = openat(d->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd < 0 || ftruncate(*fd, (off_t)(records * SEEDS_RECORD_LEN)) != 0 || fsync(*fd) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "create %s: %s", name, strerror(errno));
    return RC_OK;
}

/* The authorisation of W, L, A and of the sealed secrets, itself sealed to the TPM. */
static enum rc make_auth(struct draft *d, struct err *err)
{
    static const uint8_t no_pin[32];
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    int fd CLEANUP(fd_close) = -1;
    enum rc rc = auth_room(d, err);
    if (rc != RC_OK)
        return rc;
    random_bytes(d->auth_secret, ANCHOR_AUTH_LEN);
    hmac_sha256(d->seed_auth, d->auth_secret, ANCHOR_AUTH_LEN, "seed", 4);
    rc = d->world->tpm->seal(d->tpm, no_pin, NULL, d->auth_secret, ANCHOR_AUTH_LEN, blob, &blob_len,
                             err);
    if (rc == RC_OK)
        rc = make_sparse(d, DEVICE_FILE, 1, &fd, err);
    if (rc == RC_OK)
        rc = seeds_write(fd, 0, blob, blob_len, err);
    if (rc == RC_OK && fsync(fd) != 0)
        rc = FAIL(err, RC_HALT_SYSTEM, "errno", errno, "sync of %s: %s", DEVICE_FILE,
                  strerror(errno));
    return rc;
}

/* Before any work: a TPM without room, and later the one that tells whether this draft may be gone
 * on with, is asked first. Handles and Names are durable before the objects exist: if the power
 * goes in between, or in the middle of them, the next attempt knows where to look. */
static enum rc make_anchor(struct draft *d, struct err *err)
{
    const struct tpm_ops *tpm = d->world->tpm;
    uint8_t bytes[PINS_FILE_LEN];
    enum rc rc = tpm->choose(d->tpm, &d->pins, err);
    if (rc != RC_OK)
        return rc;
    (void)put_pins(bytes, &d->pins);
    rc = file_write_new(d->dirfd, PINS_FILE, 0600, bytes, sizeof(bytes), err);
    if (rc == RC_OK)
        rc = tpm->provision(d->tpm, d->auth_secret, d->first_window - 1, &d->pins, err);
    return rc;
}

static struct escrow_keeper keeper_of(const struct draft *d)
{
    return (struct escrow_keeper){.world = d->world,
                                  .tpm = d->tpm,
                                  .anchor = d->anchor,
                                  .auth_secret = d->auth_secret,
                                  .plan = d->document,
                                  .pins = &d->pins,
                                  .passphrase = d->passphrase};
}

static enum rc make_escrow(struct draft *d, struct err *err)
{
    const struct escrow_keeper keeper = keeper_of(d);
    return escrow_make(&d->escrow, d->dirfd, &keeper, err);
}

enum rc draft_begin(struct draft *d, const char *text, size_t len, bool resumable, struct err *err)
{
    uint8_t bytes[DRAFT_LEN];
    if (mkdirat(d->keys_dirfd, d->folder, 0700) != 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "mkdir %s: %s", d->folder,
                    strerror(errno));
    enum rc rc = open_folder(d, d->folder, err);
    if (rc == RC_OK)
        rc = dir_sync(d->keys_dirfd, err);
    if (rc == RC_OK)
        rc = file_write_new(d->dirfd, KEY_FILE_PLAN, 0600, text, len, err);
    if (rc == RC_OK)
        rc = make_auth(d, err);
    if (rc == RC_OK)
        rc = make_sparse(d, SEEDS_FILE, d->windows, &d->seeds_fd, err);
    if (rc == RC_OK)
        rc = make_anchor(d, err);
    if (rc == RC_OK)
        rc = make_escrow(d, err);
    if (rc != RC_OK || !resumable)
        return rc;
    draft_print(bytes, d);
    rc = file_write_new(d->dirfd, DRAFT_FILE, 0600, bytes, sizeof(bytes), err);
    d->durable = rc == RC_OK;
    return rc;
}

/* Going on ------------------------------------------------------------------------------------ */

static enum rc refuse(const struct draft *d, const char *why, struct err *err)
{
    return FAIL(err, RC_REFUSED_EXISTS, "", 0, "a key '%s' was begun here, but %s; " RESTART,
                d->name, why);
}

/* Is there a complete file "draft" in this folder? */
static enum rc draft_read(struct draft *d, const char *folder, uint8_t bytes[DRAFT_LEN],
                          bool *found, struct err *err)
{
    char path[NAME_LEN_MAX + 8 + sizeof(DRAFT_FILE) + 1];
    char *data = NULL;
    size_t len = 0;
    struct err none = {0};
    (void)snprintf(path, sizeof(path), "%s/%s", folder, DRAFT_FILE);
    *found = false;
    enum rc rc = file_read(d->keys_dirfd, path, DRAFT_LEN, &data, &len, &none);
    if (rc == RC_REFUSED_NOT_FOUND)
        return RC_OK;
    if (rc == RC_HALT_SYSTEM)
        return FAIL(err, rc, none.origin, none.native, "%s", err_text(&none));
    *found = rc == RC_OK && draft_whole((const uint8_t *)data, len);
    if (*found)
        memcpy(bytes, data, DRAFT_LEN);
    free(data);
    return *found ? RC_OK : refuse(d, "the record of it is damaged", err);
}

bool draft_untouched(const struct draft *d, const struct anchor_state *state)
{
    return !state->a_valid && state->w == d->pins.w_first && state->l == d->pins.l_first;
}

/* The anchor stays open: the TPM gives the escrow of a window through it. */
static enum rc ask_tpm(struct draft *d, bool *untouched, struct err *err)
{
    struct anchor_state state = {0};
    anchor_end(d);
    enum rc rc = d->world->tpm->anchor_open(&d->anchor, d->tpm, &d->pins, d->auth_secret, err);
    if (rc == RC_OK)
        rc = d->world->tpm->read(d->anchor, &state, err);
    *untouched = rc == RC_OK && draft_untouched(d, &state);
    return rc;
}

/* Open the draft in a folder, with the TPM that it was begun on. */
static enum rc reopen(struct draft *d, const char *folder, bool *untouched, struct err *err)
{
    struct err why = {0};
    enum rc rc = open_folder(d, folder, err);
    if (rc != RC_OK)
        return rc;
    rc = unseal_auth(d, &why);
    if (rc == RC_OK)
        rc = ask_tpm(d, untouched, &why);
    if (rc == RC_OK)
        rc = seeds_open(d->dirfd, SEEDS_FILE, d->windows, &d->seeds_fd, &why);
    if (rc == RC_HALT_SEEDS || rc == RC_HALT_REGRESSION)
        return FAIL(
            err, RC_REFUSED_EXISTS, why.origin, why.native,
            "a key '%s' was begun on another TPM, or this one was cleared (%.80s); " RESTART,
            d->name, err_text(&why));
    if (rc != RC_OK)
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    return RC_OK;
}

/* The escrow was begun in one way, and must be kept in that: with the same passphrase, too. */
static enum rc same_escrow(struct draft *d, struct err *err)
{
    const struct escrow_keeper keeper = keeper_of(d);
    enum rc rc = escrow_open(&d->escrow, d->dirfd, d->windows, err);
    if (rc == RC_OK && d->escrow.fd < 0)
        return refuse(d, "its escrow is missing", err);
    if (rc != RC_OK)
        return rc;
    if (d->escrow.by_passphrase != (d->passphrase != NULL))
        return refuse(d,
                      d->escrow.by_passphrase ? "with --escrow-passphrase-file: give it again"
                                              : "without --escrow-passphrase-file",
                      err);
    return escrow_unlock(&d->escrow, d->dirfd, &keeper, err);
}

/* Two places: before the last rename and after it. Behind it A may be written, and then whether the
 * ledger ever knew the key cannot be told: nothing of it is used again. Before it A is never
 * written, so there it shows a disk that was put back. */
static enum rc look_in(struct draft *d, const char *folder, bool *found, struct err *err)
{
    uint8_t bytes[DRAFT_LEN];
    uint8_t plan[SHA256_LEN];
    uint64_t windows = 0;
    struct tpm_pcrs pcrs;
    bool renamed = folder == d->name;
    enum rc rc = draft_read(d, folder, bytes, found, err);
    if (rc != RC_OK || !*found)
        return rc;
    *found = false;
    draft_scan(bytes, d, plan, &windows, &pcrs);
    if (!ct_equal(plan, d->plan, SHA256_LEN) || windows != d->windows)
        return refuse(d, "under another plan: give that one to go on", err);
    if (!same_pcrs(&pcrs, &d->pcrs))
        return refuse(d, "under other PCRs (tpm.pcrs, or the firmware was changed)", err);
    bool untouched = false;
    rc = reopen(d, folder, &untouched, err);
    if (rc != RC_OK)
        return rc;
    if (!untouched && !renamed)
        return refuse(d, "the TPM says that it was finished: the state directory was put back",
                      err);
    if (untouched)
        rc = same_escrow(d, err);
    *found = untouched && rc == RC_OK;
    d->durable = *found;
    return rc;
}

enum rc draft_find(struct draft *d, bool *found, struct err *err)
{
    enum rc rc = look_in(d, d->folder, found, err);
    if (rc != RC_OK || *found)
        return rc;
    rc = look_in(d, d->name, found, err);
    if (rc != RC_OK || !*found)
        return rc;
    /* Nothing else has that name: whoever finds a key's own folder does not begin another one. */
    if (renameat2(d->keys_dirfd, d->name, d->keys_dirfd, d->folder, RENAME_NOREPLACE) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "rename of the key's folder: %s",
                    strerror(errno));
    return dir_sync(d->keys_dirfd, err);
}

enum rc draft_move(struct draft *d, int64_t first_window, struct err *err)
{
    uint64_t first = (uint64_t)d->first_window;
    if (first_window > d->first_window)
        first = (uint64_t)first_window;
    /* An attempt that was cut off here may have destroyed more, by a clock that was ahead. */
    for (; first < d->windows; first++) {
        uint8_t blob[TPM_SEALED_MAX];
        size_t blob_len = 0;
        enum rc rc = seeds_read(d->seeds_fd, first, blob, &blob_len, err);
        if (rc != RC_OK)
            return rc;
        if (blob_len != 0)
            break;
    }
    if (first == d->windows)
        return FAIL(err, RC_REFUSED_EXHAUSTED, "", (int64_t)first,
                    "the key '%s' was begun so long ago that all its windows are over; " RESTART,
                    d->name);
    if ((int64_t)first == d->first_window)
        return RC_OK;
    d->first_window = (int64_t)first;
    enum rc rc = seeds_destroy_below(d->seeds_fd, first, true, err);
    return rc == RC_OK ? escrow_destroy_below(&d->escrow, first, true, err) : rc;
}

/* Ending -------------------------------------------------------------------------------------- */

enum rc draft_rename(struct draft *d, struct err *err)
{
    if (renameat2(d->keys_dirfd, d->folder, d->keys_dirfd, d->name, RENAME_NOREPLACE) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "rename of the key's folder: %s",
                    strerror(errno));
    return dir_sync(d->keys_dirfd, err);
}

void draft_done(struct draft *d)
{
    struct err none = {0};
    (void)unlinkat(d->dirfd, DRAFT_FILE, 0);
    (void)unlinkat(d->dirfd, PINS_FILE, 0);
    (void)!dir_sync(d->dirfd, &none);
}

enum rc draft_pins(int keys_dirfd, const char *folder, struct anchor_pins *pins, struct err *err)
{
    char path[NAME_LEN_MAX + 8 + sizeof(PINS_FILE) + 1];
    char *data = NULL;
    size_t len = 0;
    *pins = (struct anchor_pins){0};
    if (snprintf(path, sizeof(path), "%s/%s", folder, PINS_FILE) >= (int)sizeof(path))
        return FAIL(err, RC_REFUSED_NOT_FOUND, "", 0, "no key has a folder of such a name");
    enum rc rc = file_read(keys_dirfd, path, PINS_FILE_LEN, &data, &len, err);
    if (rc == RC_OK && len == PINS_FILE_LEN)
        (void)get_pins((const uint8_t *)data, pins);
    else if (rc != RC_REFUSED_NOT_FOUND)
        rc = FAIL(err, RC_HALT_SYSTEM, "", 0, "%s is damaged", path);
    free(data);
    return rc;
}
