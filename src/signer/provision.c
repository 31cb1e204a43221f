#include "signer/provision.h"

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
#include "signer/scheme.h"
#include "signer/seeds.h"

#define PINS_FILE "pins"
/* Handle and Name of W, L and A: enough to undefine what a crash left behind, and nothing else. */
#define PINS_FILE_LEN (3 * (4 + TPM_NAME_LEN))
#define COPY_LEN (1024 * 1024)

/* One key under construction. */
struct work {
    const struct provision *p;
    struct plan plan;
    struct hbs_key hbs;
    char *canonical;
    size_t canonical_len;
    int keys_dirfd;
    int dirfd;
    int seeds_fd;
    char folder[NAME_LEN_MAX + 8]; /* ".new-NAME", later "NAME/pins" */
    uint8_t *auth_secret;
    uint8_t seed_auth[32];
    struct anchor_pins pins;
    provision_secrets secrets;
    void *secrets_ctx;
};

static void work_wipe(struct work *w)
{
    plan_free(&w->plan);
    free(w->canonical);
    fd_close(&w->seeds_fd);
    fd_close(&w->dirfd);
    fd_close(&w->keys_dirfd);
    secmem_free(w->auth_secret);
    wipe(w->seed_auth, sizeof(w->seed_auth));
}

#define WORK_EMPTY ((struct work){.keys_dirfd = -1, .dirfd = -1, .seeds_fd = -1})

/* Leftovers ----------------------------------------------------------------------------------- */

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

static uint8_t *put_pin(uint8_t *p, uint32_t handle, const uint8_t name[TPM_NAME_LEN])
{
    be_put32(p, handle);
    memcpy(p + 4, name, TPM_NAME_LEN);
    return p + 4 + TPM_NAME_LEN;
}

static const uint8_t *get_pin(const uint8_t *p, uint32_t *handle, uint8_t name[TPM_NAME_LEN])
{
    *handle = be_get32(p);
    memcpy(name, p + 4, TPM_NAME_LEN);
    return p + 4 + TPM_NAME_LEN;
}

/* An attempt that got as far as its counters. The Names go with the handles, since a handle whose
 * Name is another one has become somebody else's in the meantime. */
static enum rc undefine_leftover(struct work *w, const char *data, struct err *err)
{
    struct anchor_pins pins = {0};
    const uint8_t *p = (const uint8_t *)data;
    p = get_pin(p, &pins.w_handle, pins.w_name);
    p = get_pin(p, &pins.l_handle, pins.l_name);
    (void)get_pin(p, &pins.a_handle, pins.a_name);
    return w->p->world->tpm->undefine(w->p->tpm, &pins, err);
}

/* A folder without ledger entry is what a crashed attempt left. Its counters go first: as long as
 * they cannot be undefined the folder stays, because nothing else knows their handles. */
static enum rc remove_leftover(struct work *w, const char *name, struct err *err)
{
    char path[NAME_LEN_MAX + 8 + sizeof(PINS_FILE) + 1];
    (void)snprintf(path, sizeof(path), "%s/%s", name, PINS_FILE);
    char *data = NULL;
    size_t len = 0;
    struct err none = {0};
    enum rc rc = file_read(w->keys_dirfd, path, PINS_FILE_LEN, &data, &len, &none);
    bool unfinished = rc == RC_OK || name == w->folder;
    if (rc == RC_OK && len == PINS_FILE_LEN)
        rc = undefine_leftover(w, data, err);
    else if (rc == RC_OK || rc == RC_REFUSED_NOT_FOUND)
        rc = RC_OK;
    else
        (void)FAIL(err, rc, "", 0, "%s", err_text(&none));
    free(data);
    if (rc != RC_OK)
        return rc;
    if (!unfinished && faccessat(w->keys_dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return FAIL(err, RC_REFUSED_EXISTS, "", 0,
                    "there is a finished key in the folder '%s' that the ledger does not know: the "
                    "ledger was lost or replaced; put it back, or recover the key under another "
                    "state directory",
                    name);
    remove_folder(w->keys_dirfd, name);
    return RC_OK;
}

/* Folder -------------------------------------------------------------------------------------- */

static enum rc open_folder(struct work *w, struct err *err)
{
    const struct provision *p = w->p;
    if (mkdirat(p->state_dirfd, KEYS_DIR, 0700) != 0 && errno != EEXIST)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "mkdir %s: %s", KEYS_DIR,
                    strerror(errno));
    /* Its own name, too, must be there after a power cut: the ledger will say that the key is. */
    enum rc rc = dir_sync(p->state_dirfd, err);
    if (rc != RC_OK)
        return rc;
    w->keys_dirfd = openat(p->state_dirfd, KEYS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->keys_dirfd < 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "open %s: %s", KEYS_DIR,
                    strerror(errno));
    (void)snprintf(w->folder, sizeof(w->folder), ".new-%s", w->plan.key);
    rc = remove_leftover(w, w->folder, err);
    if (rc == RC_OK)
        rc = remove_leftover(w, w->plan.key, err);
    if (rc != RC_OK)
        return rc;
    if (mkdirat(w->keys_dirfd, w->folder, 0700) != 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "mkdir %s: %s", w->folder,
                    strerror(errno));
    w->dirfd = openat(w->keys_dirfd, w->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->dirfd < 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "open %s: %s", w->folder,
                    strerror(errno));
    return file_write_new(w->dirfd, KEY_FILE_PLAN, 0600, w->canonical, w->canonical_len, err);
}

static enum rc make_sparse(struct work *w, const char *name, uint64_t records, int *fd,
                           struct err *err)
{
    *fd = openat(w->dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (*fd < 0 || ftruncate(*fd, (off_t)(records * SEEDS_RECORD_LEN)) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "create %s: %s", name, strerror(errno));
    return RC_OK;
}

static enum rc sync_file(int fd, const char *name, struct err *err)
{
    if (fsync(fd) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "sync of %s: %s", name, strerror(errno));
    return RC_OK;
}

/* The authorisation of W, L, A and of the sealed secrets, itself sealed to the TPM. */
static enum rc make_auth(struct work *w, struct err *err)
{
    static const uint8_t no_pin[32];
    w->auth_secret = secmem_alloc(ANCHOR_AUTH_LEN);
    if (w->auth_secret == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory");
    random_bytes(w->auth_secret, ANCHOR_AUTH_LEN);
    hmac_sha256(w->seed_auth, w->auth_secret, ANCHOR_AUTH_LEN, "seed", 4);
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    int fd CLEANUP(fd_close) = -1;
    enum rc rc = w->p->world->tpm->seal(w->p->tpm, no_pin, w->auth_secret, ANCHOR_AUTH_LEN, blob,
                                        &blob_len, err);
    if (rc == RC_OK)
        rc = make_sparse(w, DEVICE_FILE, 1, &fd, err);
    if (rc == RC_OK)
        rc = seeds_write(fd, 0, blob, blob_len, err);
    if (rc == RC_OK)
        rc = sync_file(fd, DEVICE_FILE, err);
    if (rc == RC_OK)
        rc = make_sparse(w, SEEDS_FILE, w->plan.window_count, &w->seeds_fd, err);
    return rc;
}

static enum rc seal_secret(struct work *w, uint64_t window, const struct window_secret *secret,
                           struct err *err)
{
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    enum rc rc = w->p->world->tpm->seal(w->p->tpm, w->seed_auth, secret, sizeof(*secret), blob,
                                        &blob_len, err);
    return rc == RC_OK ? seeds_write(w->seeds_fd, window, blob, blob_len, err) : rc;
}

/* Tree ---------------------------------------------------------------------------------------- */

/* hbs_nodes_make() asks once for each window: the only moment at which its secret is in memory. */
static enum rc draw_secret(void *ctx, uint64_t window, struct window_secret *secret,
                           struct err *err)
{
    struct work *w = ctx;
    random_bytes(secret, sizeof(*secret));
    /* Windows that are over will never sign; padding behind the last window has leaves but no plan.
     */
    if ((int64_t)window < w->p->first_window || window >= w->plan.window_count)
        return RC_OK;
    return seal_secret(w, window, secret, err);
}

static bool report(void *ctx, uint64_t done, uint64_t total)
{
    const struct work *w = ctx;
    return w->p->progress == NULL || w->p->progress(w->p->progress_ctx, done, total);
}

static enum rc make_tree(struct work *w, struct err *err)
{
    enum rc rc = hbs_key_nodes_make(&w->hbs, w->dirfd, KEY_FILE_NODES, w->plan.window_size,
                                    draw_secret, report, w, w->p->threads, err);
    return rc == RC_OK ? sync_file(w->seeds_fd, SEEDS_FILE, err) : rc;
}

static enum rc copy_nodes(struct work *w, int from, off_t offset, uint64_t len, struct err *err)
{
    int to CLEANUP(fd_close) =
        openat(w->dirfd, KEY_FILE_NODES, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    uint8_t *buffer = malloc(COPY_LEN);
    bool ok = to >= 0 && buffer != NULL;
    for (uint64_t done = 0; ok && done < len;) {
        size_t n = len - done < COPY_LEN ? (size_t)(len - done) : COPY_LEN;
        ok = pread_full(from, buffer, n, offset + (off_t)done) &&
             pwrite_full(to, buffer, n, (off_t)done);
        done += n;
    }
    int saved = errno;
    free(buffer);
    if (!ok)
        return FAIL(err, RC_HALT_SYSTEM, "errno", saved, "copy of the node file: %s",
                    strerror(saved));
    return sync_file(to, KEY_FILE_NODES, err);
}

static enum rc check_nodes(struct work *w, struct err *err)
{
    struct hbs_nodes *nodes = NULL;
    bool repaired = false;
    enum rc rc = hbs_key_nodes_open(&nodes, w->dirfd, KEY_FILE_NODES, &w->hbs, &repaired, err);
    hbs_nodes_close(&nodes);
    return rc;
}

static enum rc restore_secrets(struct work *w, struct err *err)
{
    uint64_t total = w->plan.window_count - (uint64_t)w->p->first_window;
    for (uint64_t i = 0; i < total; i++) {
        uint64_t window = (uint64_t)w->p->first_window + i;
        struct window_secret secret CLEANUP(window_secret_wipe) = {0};
        enum rc rc = w->secrets(w->secrets_ctx, window, &secret, err);
        if (rc == RC_OK)
            rc = seal_secret(w, window, &secret, err);
        if (rc != RC_OK)
            return rc;
        if (!report(w, i + 1, total))
            return FAIL(err, RC_RETRY_BUSY, "", 0, "stopped");
    }
    return sync_file(w->seeds_fd, SEEDS_FILE, err);
}

/* Anchor and ledger --------------------------------------------------------------------------- */

static enum rc make_anchor(struct work *w, struct err *err)
{
    enum rc rc = w->p->world->tpm->provision(w->p->tpm, w->auth_secret, w->p->first_window - 1,
                                             &w->pins, err);
    if (rc != RC_OK)
        return rc;
    uint8_t bytes[PINS_FILE_LEN];
    uint8_t *p = put_pin(bytes, w->pins.w_handle, w->pins.w_name);
    p = put_pin(p, w->pins.l_handle, w->pins.l_name);
    (void)put_pin(p, w->pins.a_handle, w->pins.a_name);
    rc = file_write_new(w->dirfd, PINS_FILE, 0600, bytes, sizeof(bytes), err);
    if (rc != RC_OK)
        return rc;
    if (renameat2(w->keys_dirfd, w->folder, w->keys_dirfd, w->plan.key, RENAME_NOREPLACE) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "rename of the key's folder: %s",
                    strerror(errno));
    return dir_sync(w->keys_dirfd, err);
}

/* A holds the head of entries that are not committed yet: if the power goes between the two, the
 * ledger has no such key, and the next attempt removes folder and counters. The other order could
 * leave a key whose A was never written, which a version plan cannot tell from a lost one. */
static enum rc write_first_a(struct work *w, const struct ledger_key *key, struct err *err)
{
    const struct tpm_ops *tpm = w->p->world->tpm;
    void *anchor = NULL;
    struct anchor_state state;
    enum rc rc = tpm->anchor_open(&anchor, w->p->tpm, &w->pins, w->auth_secret, err);
    if (rc != RC_OK)
        return rc;
    rc = tpm->read(anchor, &state, err);
    if (rc == RC_OK) {
        struct anchor_record a = {.w = state.w,
                                  .window = (int64_t)state.w - w->pins.w_base,
                                  .l = state.l,
                                  .l_base = state.l,
                                  .early_window = ANCHOR_NO_WINDOW};
        rc = ledger_head(w->p->ledger, key->id, a.head, err);
        if (rc == RC_OK)
            rc = tpm->write(anchor, &a, err);
    }
    tpm->anchor_close(&anchor);
    return rc;
}

static void key_id_of(const struct work *w, struct ledger_key *key)
{
    sha256_2(key->key_id, w->plan.sha256, SHA256_LEN, key->public_key, key->public_key_len);
}

static const char *pins_path(struct work *w)
{
    (void)snprintf(w->folder, sizeof(w->folder), "%s/%s", w->plan.key, PINS_FILE);
    return w->folder;
}

static enum rc record_replacement(struct work *w, const struct ledger_key *key, struct err *err)
{
    const struct provision *p = w->p;
    if (p->statement == NULL)
        return RC_OK;
    enum rc rc = ledger_add_note(p->ledger, key->id, LEDGER_OPERATION, "recover-from-backup",
                                 p->statement, p->first_window, p->now_s, err);
    if (rc == RC_OK)
        rc = ledger_add_note(p->ledger, key->id, LEDGER_OPERATION, "backup-export",
                             "the backup that this device was made from", p->mark, p->now_s, err);
    return rc;
}

static enum rc record_key(struct work *w, struct ledger_key *key, struct err *err)
{
    *key = (struct ledger_key){.pins = w->pins, .min_window = w->p->first_window};
    strcpy(key->name, w->plan.key);
    memcpy(key->plan_sha256, w->plan.sha256, SHA256_LEN);
    uint8_t raw[HBS_PUB_LEN_MAX];
    key->public_key_len = hbs_key_public(&w->hbs, raw);
    MUST(key->public_key_len <= sizeof(key->public_key));
    memcpy(key->public_key, raw, key->public_key_len);
    key_id_of(w, key);
    enum rc rc = ledger_begin(w->p->ledger, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_add_key(w->p->ledger, key, w->p->now_s, err);
    if (rc == RC_OK)
        rc = record_replacement(w, key, err);
    if (rc == RC_OK)
        rc = write_first_a(w, key, err);
    if (rc != RC_OK) {
        ledger_rollback(w->p->ledger);
        return rc;
    }
    rc = ledger_commit(w->p->ledger, err);
    /* The mark of an unfinished attempt. If the power goes first, it stands beside a ledger entry,
     * where nobody looks for it. */
    if (rc == RC_OK)
        (void)unlinkat(w->keys_dirfd, pins_path(w), 0);
    return rc;
}

/*  -------------------------------------------------------------------------------------------- */

/* Also for a restored key: whether the plan can be signed under must be known before anything is
 * made, and its public key replaces this one. */
static enum rc new_key(struct work *w, struct err *err)
{
    uint8_t id[HBS_KEY_ID_LEN];
    random_bytes(id, sizeof(id));
    return scheme_new(&w->hbs, &w->plan, id, err);
}

static enum rc begin(struct work *w, const char *text, size_t len, struct plan_fault *fault,
                     struct err *err)
{
    enum rc rc = plan_parse(&w->plan, text, len, fault, err);
    if (rc == RC_OK)
        rc = plan_canonical(text, len, &w->canonical, &w->canonical_len, err);
    if (rc == RC_OK)
        rc = new_key(w, err);
    if (rc != RC_OK)
        return rc;
    struct ledger_key existing;
    struct err none = {0};
    rc = ledger_key_by_name(w->p->ledger, w->plan.key, &existing, &none);
    if (rc == RC_OK)
        return FAIL(err, RC_REFUSED_EXISTS, "", 0, "there is a key '%s' already", w->plan.key);
    if (rc != RC_REFUSED_NOT_FOUND)
        return FAIL(err, rc, "", 0, "%s", err_text(&none));
    if (w->p->first_window < 0 || (uint64_t)w->p->first_window >= w->plan.window_count)
        return FAIL(err, RC_REFUSED_EXHAUSTED, "", w->p->first_window,
                    "window %" PRId64 " would be the first, but the plan has %" PRIu64 " windows",
                    w->p->first_window, w->plan.window_count);
    rc = open_folder(w, err);
    return rc == RC_OK ? make_auth(w, err) : rc;
}

/* Take back what this attempt made; a failure here is the next attempt's to clean up. */
static void abandon(struct work *w)
{
    struct err none = {0};
    if (w->keys_dirfd < 0 || w->folder[0] == '\0')
        return;
    struct ledger_key existing;
    if (ledger_key_by_name(w->p->ledger, w->plan.key, &existing, &none) != RC_REFUSED_NOT_FOUND)
        return;
    none = (struct err){0};
    if (remove_leftover(w, w->folder, &none) == RC_OK)
        (void)!remove_leftover(w, w->plan.key, &none);
}

enum rc provision_new(const struct provision *p, const char *text, size_t len,
                      struct ledger_key *key, struct plan_fault *fault, struct err *err)
{
    struct work w CLEANUP(work_wipe) = WORK_EMPTY;
    w.p = p;
    enum rc rc = begin(&w, text, len, fault, err);
    if (rc == RC_OK)
        rc = make_tree(&w, err);
    if (rc == RC_OK)
        rc = make_anchor(&w, err);
    if (rc == RC_OK)
        rc = record_key(&w, key, err);
    if (rc != RC_OK && rc != RC_HALT_LEDGER)
        abandon(&w);
    return rc;
}

enum rc provision_restored(const struct provision *p, const char *text, size_t len,
                           const uint8_t *public_key, size_t public_key_len, int nodes_fd,
                           off_t nodes_offset, uint64_t nodes_len, provision_secrets secrets,
                           void *ctx, struct ledger_key *key, struct err *err)
{
    struct work w CLEANUP(work_wipe) = WORK_EMPTY;
    w.p = p;
    w.secrets = secrets;
    w.secrets_ctx = ctx;
    enum rc rc = begin(&w, text, len, NULL, err);
    if (rc == RC_OK)
        rc = scheme_read(&w.hbs, &w.plan, public_key, public_key_len, err);
    if (rc == RC_OK)
        rc = copy_nodes(&w, nodes_fd, nodes_offset, nodes_len, err);
    if (rc == RC_OK)
        rc = check_nodes(&w, err);
    if (rc == RC_OK)
        rc = restore_secrets(&w, err);
    if (rc == RC_OK)
        rc = make_anchor(&w, err);
    if (rc == RC_OK)
        rc = record_key(&w, key, err);
    if (rc != RC_OK && rc != RC_HALT_LEDGER)
        abandon(&w);
    return rc;
}
