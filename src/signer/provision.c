#include "signer/provision.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/secmem.h"
#include "signer/draft.h"
#include "signer/key.h"
#include "signer/scheme.h"
#include "signer/seeds.h"
#include "signer/window_lock.h"

#define COPY_LEN (1024 * 1024)
/* Checkpoints take at most one part in so many of the time. */
#define CHECKPOINT_SHARE 50
#define NO_WINDOW UINT64_MAX

/* One key under construction. */
struct work {
    const struct provision *p;
    struct plan plan;
    struct hbs_key hbs;
    char *canonical;
    size_t canonical_len;
    struct draft draft;
    bool begun;         /* what stands under the draft's name is ours to remove */
    uint64_t continued; /* window whose leaves are made in part: its secret is in the draft */
    int64_t due_ns;     /* next checkpoint, in raw time */
    provision_secrets secrets;
    void *secrets_ctx;
};

static void work_wipe(struct work *w)
{
    plan_free(&w->plan);
    free(w->canonical);
    draft_close(&w->draft);
}

#define WORK_EMPTY ((struct work){.draft = DRAFT_CLOSED, .continued = NO_WINDOW})

static enum rc sync_file(int fd, const char *name, struct err *err)
{
    if (fsync(fd) != 0)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "sync of %s: %s", name, strerror(errno));
    return RC_OK;
}

static enum rc sync_secrets(struct work *w, struct err *err)
{
    enum rc rc = sync_file(w->draft.seeds_fd, SEEDS_FILE, err);
    return rc == RC_OK ? escrow_sync(&w->draft.escrow, err) : rc;
}

static enum rc seal_secret(struct work *w, uint64_t window, const struct window_secret *secret,
                           struct err *err)
{
    struct draft *d = &w->draft;
    struct tpm_lock lock;
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    window_lock(&lock, &w->plan, &d->pins, &d->pcrs, window);
    enum rc rc = w->p->world->tpm->seal(w->p->tpm, d->seed_auth, &lock, secret, sizeof(*secret),
                                        blob, &blob_len, err);
    if (rc == RC_OK)
        rc = seeds_write(d->seeds_fd, window, blob, blob_len, err);
    return rc == RC_OK ? escrow_put(&d->escrow, window, secret, err) : rc;
}

/* Tree ---------------------------------------------------------------------------------------- */

/* Windows that are over will never sign; padding behind the last window has leaves but no plan. */
static bool sealed(const struct work *w, uint64_t window)
{
    return (int64_t)window >= w->draft.first_window && window < w->plan.window_count;
}

/* The TPM does not open a secret before its window's turn, so the one to go on with comes from the
 * escrow.
 *
 * hbs_nodes_continue() asks once for each window: the only moment at which its secret is in memory.
 * A window of which leaves stand in the file keeps its secret; every other one gets a new one, also
 * in place of one that was sealed for leaves that a power cut took away. */
static enum rc draw_secret(void *ctx, uint64_t window, struct window_secret *secret,
                           struct err *err)
{
    struct work *w = ctx;
    if (window == w->continued)
        return escrow_get(&w->draft.escrow, window, secret, err);
    random_bytes(secret, sizeof(*secret));
    return sealed(w, window) ? seal_secret(w, window, secret, err) : RC_OK;
}

static bool resume(void *ctx, uint64_t windows, bool inside)
{
    struct work *w = ctx;
    bool again = !inside || sealed(w, windows);
    w->continued = inside && again ? windows : NO_WINDOW;
    return again;
}

static int64_t raw_ns(const struct work *w)
{
    const struct time_source *t = w->p->world->time;
    return t->raw_ns(t->ctx);
}

static bool due(void *ctx)
{
    const struct work *w = ctx;
    return raw_ns(w) >= w->due_ns;
}

static enum rc secure(void *ctx, struct err *err)
{
    struct work *w = ctx;
    int64_t before = raw_ns(w);
    enum rc rc = sync_secrets(w, err);
    /* The other syncs of a checkpoint take as long as this one, more or less. */
    int64_t pause = 2 * (raw_ns(w) - before) * CHECKPOINT_SHARE;
    w->due_ns = before + (pause > w->p->checkpoint_ns ? pause : w->p->checkpoint_ns);
    return rc;
}

static bool report(void *ctx, uint64_t done, uint64_t total)
{
    const struct work *w = ctx;
    return w->p->progress == NULL || w->p->progress(w->p->progress_ctx, done, total);
}

/* An earlier attempt may have come as far as a finished file. Its secrets were synced before it got
 * its name, and it is checked up to the root like any other. */
static enum rc make_tree(struct work *w, struct err *err)
{
    const struct hbs_making how = {.window_size = w->plan.window_size,
                                   .source = draw_secret,
                                   .progress = report,
                                   .resume = resume,
                                   .due = due,
                                   .secure = secure,
                                   .ctx = w,
                                   .threads = w->p->threads};
    struct err why = {0};
    w->due_ns = raw_ns(w) + w->p->checkpoint_ns;
    enum rc rc = hbs_key_nodes_found(&w->hbs, w->draft.dirfd, KEY_FILE_NODES, &why);
    if (rc == RC_REFUSED_NOT_FOUND) {
        why = (struct err){0};
        rc = hbs_key_nodes_continue(&w->hbs, w->draft.dirfd, KEY_FILE_NODES, &how, &why);
    }
    if (rc == RC_HALT_NODES || rc == RC_HALT_SEEDS)
        return FAIL(err, rc, why.origin, why.native,
                    "what was made of the key is damaged (%.100s); --restart throws it away",
                    err_text(&why));
    if (rc != RC_OK)
        return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
    return RC_OK;
}

static enum rc copy_nodes(struct work *w, int from, off_t offset, uint64_t len, struct err *err)
{
    int to CLEANUP(fd_close) =
        openat(w->draft.dirfd, KEY_FILE_NODES, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
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
    enum rc rc =
        hbs_key_nodes_open(&nodes, w->draft.dirfd, KEY_FILE_NODES, &w->hbs, &repaired, err);
    hbs_nodes_close(&nodes);
    return rc;
}

static enum rc restore_secrets(struct work *w, struct err *err)
{
    uint64_t total = w->plan.window_count - (uint64_t)w->p->first_window;
    for (uint64_t i = 0; i < total; i++) {
        uint64_t window = (uint64_t)w->p->first_window + i;
        if (!report(w, i, total))
            return FAIL(err, RC_RETRY_BUSY, "", 0, "stopped");
        struct window_secret secret CLEANUP(window_secret_wipe) = {0};
        enum rc rc = w->secrets(w->secrets_ctx, window, &secret, err);
        if (rc == RC_OK)
            rc = seal_secret(w, window, &secret, err);
        if (rc != RC_OK)
            return rc;
    }
    (void)report(w, total, total);
    return sync_secrets(w, err);
}

/* Anchor and ledger --------------------------------------------------------------------------- */

/* A holds the head of entries that are not committed yet: if the power goes between the two, the
 * ledger has no such key, and the next attempt removes folder and counters. The other order could
 * leave a key whose A was never written, which a version plan cannot tell from a lost one. */
static enum rc write_first_a(struct work *w, const struct ledger_key *key, struct err *err)
{
    const struct tpm_ops *tpm = w->p->world->tpm;
    void *anchor = NULL;
    struct anchor_state state;
    enum rc rc = tpm->anchor_open(&anchor, w->p->tpm, &w->draft.pins, w->draft.auth_secret, err);
    if (rc != RC_OK)
        return rc;
    rc = tpm->read(anchor, &state, err);
    /* Two copies of one draft: only one of them becomes a key (I1). */
    if (rc == RC_OK && !draft_untouched(&w->draft, &state))
        rc = FAIL(err, RC_HALT_REGRESSION, "", 0, "this key was finished from another copy of it");
    if (rc == RC_OK) {
        struct anchor_record a = {.w = state.w,
                                  .window = (int64_t)state.w - w->draft.pins.w_base,
                                  .l = state.l,
                                  .l_base = state.l,
                                  .early_window = ANCHOR_NO_WINDOW,
                                  .writes = 1};
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

/* A device that attests nothing is made all the same: its first start says why, and tries again. */
static enum rc find_attest_keys(struct work *w, struct attest_keys *keys, bool *found,
                                struct err *err)
{
    struct err why = {0};
    enum rc rc = w->p->world->tpm->attest_keys(w->p->tpm, true, keys, &why);
    *found = rc == RC_OK;
    if (rc == RC_OK || rc == RC_REFUSED_ATTEST)
        return RC_OK;
    return FAIL(err, rc, why.origin, why.native, "%s", err_text(&why));
}

static enum rc record_key(struct work *w, struct ledger_key *key, struct err *err)
{
    struct attest_keys attest;
    bool attests = false;
    *key = (struct ledger_key){.pins = w->draft.pins, .min_window = w->draft.first_window};
    strcpy(key->name, w->plan.key);
    memcpy(key->plan_sha256, w->plan.sha256, SHA256_LEN);
    uint8_t raw[HBS_PUB_LEN_MAX];
    key->public_key_len = hbs_key_public(&w->hbs, raw);
    MUST(key->public_key_len <= sizeof(key->public_key));
    memcpy(key->public_key, raw, key->public_key_len);
    key_id_of(w, key);
    enum rc rc = find_attest_keys(w, &attest, &attests, err);
    if (rc == RC_OK)
        rc = ledger_begin(w->p->ledger, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_add_key(w->p->ledger, key, w->p->now_s, err);
    if (rc == RC_OK && attests)
        rc = ledger_add_attest_keys(w->p->ledger, key->id, &attest, w->p->now_s, err);
    if (rc == RC_OK)
        rc = record_replacement(w, key, err);
    if (rc == RC_OK)
        rc = write_first_a(w, key, err);
    if (rc != RC_OK) {
        ledger_rollback(w->p->ledger);
        return rc;
    }
    rc = ledger_commit(w->p->ledger, err);
    if (rc == RC_OK)
        draft_done(&w->draft);
    return rc;
}

/*  -------------------------------------------------------------------------------------------- */

/* The plan first: whether it can be signed under must be known before anything is made. */
static enum rc read_plan(struct work *w, const char *text, size_t len, struct plan_fault *fault,
                         struct err *err)
{
    enum rc rc = plan_parse(&w->plan, text, len, fault, err);
    if (rc == RC_OK)
        rc = plan_canonical(text, len, &w->canonical, &w->canonical_len, err);
    random_bytes(w->draft.id, sizeof(w->draft.id));
    if (rc == RC_OK)
        rc = scheme_new(&w->hbs, &w->plan, w->draft.id, err);
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
    return RC_OK;
}

/* @param[in] resumable  Go on with what an earlier attempt left, and let later ones do so. */
static enum rc begin(struct work *w, bool resumable, struct err *err)
{
    struct draft *d = &w->draft;
    d->world = w->p->world;
    d->tpm = w->p->tpm;
    strcpy(d->name, w->plan.key);
    d->windows = w->plan.window_count;
    memcpy(d->plan, w->plan.sha256, SHA256_LEN);
    d->pcrs = w->p->pcrs;
    d->passphrase = w->p->escrow_passphrase;
    d->document = &w->plan;
    bool found = false;
    enum rc rc = w->p->world->tpm->pcrs_read(w->p->tpm, &d->pcrs, err);
    if (rc == RC_OK)
        rc = draft_open(d, w->p->state_dirfd, err);
    if (rc == RC_OK && resumable && !w->p->restart)
        rc = draft_find(d, &found, err);
    if (rc != RC_OK)
        return rc;
    if (found)
        return scheme_new(&w->hbs, &w->plan, d->id, err);
    w->begun = true;
    /* Anew: draft_find() may have read that of a draft that is thrown away. */
    random_bytes(d->id, sizeof(d->id));
    d->first_window = w->p->first_window;
    rc = draft_remove(d, err);
    if (rc == RC_OK)
        rc = scheme_new(&w->hbs, &w->plan, d->id, err);
    if (rc == RC_OK)
        rc = draft_begin(d, w->canonical, w->canonical_len, resumable, err);
    return rc;
}

/* Take back what this attempt made, unless it can be gone on with; a failure here is the next
 * attempt's to clean up. */
static void abandon(struct work *w)
{
    struct err none = {0};
    if (!w->begun || w->draft.durable)
        return;
    struct ledger_key existing;
    if (ledger_key_by_name(w->p->ledger, w->plan.key, &existing, &none) != RC_REFUSED_NOT_FOUND)
        return;
    none = (struct err){0};
    (void)!draft_remove(&w->draft, &none);
}

/* From a complete tree to a key. */
static enum rc finish(struct work *w, struct ledger_key *key, struct err *err)
{
    enum rc rc = draft_move(&w->draft, w->p->first_window, err);
    if (rc == RC_OK)
        rc = draft_rename(&w->draft, err);
    return rc == RC_OK ? record_key(w, key, err) : rc;
}

enum rc provision_new(const struct provision *p, const char *text, size_t len,
                      struct ledger_key *key, struct plan_fault *fault, struct err *err)
{
    struct work w CLEANUP(work_wipe) = WORK_EMPTY;
    w.p = p;
    enum rc rc = read_plan(&w, text, len, fault, err);
    if (rc != RC_OK)
        return rc;
    rc = begin(&w, true, err);
    if (rc == RC_OK)
        rc = make_tree(&w, err);
    if (rc == RC_OK)
        rc = finish(&w, key, err);
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
    enum rc rc = read_plan(&w, text, len, NULL, err);
    if (rc != RC_OK)
        return rc;
    rc = begin(&w, false, err);
    if (rc == RC_OK)
        rc = scheme_read(&w.hbs, &w.plan, public_key, public_key_len, err);
    if (rc == RC_OK)
        rc = copy_nodes(&w, nodes_fd, nodes_offset, nodes_len, err);
    if (rc == RC_OK)
        rc = check_nodes(&w, err);
    if (rc == RC_OK)
        rc = restore_secrets(&w, err);
    if (rc == RC_OK)
        rc = finish(&w, key, err);
    if (rc != RC_OK && rc != RC_HALT_LEDGER)
        abandon(&w);
    return rc;
}
