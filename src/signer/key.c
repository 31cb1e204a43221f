#include "signer/key.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secmem.h"
#include "signer/ahead.h"
#include "signer/allocate.h"
#include "signer/complete.h"
#include "signer/limits.h"
#include "signer/reserve.h"
#include "signer/scheme.h"
#include "signer/seeds.h"
#include "signer/start.h"
#include "signer/window_lock.h"

/* A start is a handful of steps; more means that a step does not do what it promises. */
#define START_STEPS_MAX 16

int64_t key_floor(const struct key *key)
{
    return (int64_t)key->w - key->record.pins.w_base;
}

uint64_t key_writes_of_a(const struct key *key)
{
    const struct anchor_pins *pins = &key->record.pins;
    if (key->a.writes > 0)
        return key->a.writes;
    uint64_t w = key->w > pins->w_first ? key->w - pins->w_first : 0;
    uint64_t l = key->l > pins->l_first ? key->l - pins->l_first : 0;
    return 1 + w + l;
}

bool key_opened_early(const struct key *key)
{
    return key->a.early_window != ANCHOR_NO_WINDOW && key->a.w == key->w &&
           key->a.early_window == key_floor(key);
}

void key_note_time(struct key *key, int64_t trusted_s)
{
    uint64_t window = 0;
    /* A key whose plan could not be loaded has no windows to tell apart. */
    if (key->plan.window_size == 0)
        return;
    if (key->plan.kind != PLAN_TIME || key->started_window >= 0)
        return;
    if (plan_window_at(&key->plan, trusted_s, &window, NULL) == RC_OK)
        key->started_window = (int64_t)window;
    /* Time does not tell which window a snapshot can have signed in, if that was opened early. */
    if (key_opened_early(key) && key->started_window < key_floor(key))
        key->started_window = key_floor(key);
}

void key_check_invariants(const struct key *key)
{
    const struct open_lease *lease = &key->lease;
    MUST(lease->next <= lease->count);
    if (lease->epoch != 0) {
        MUST(lease->epoch == key->l);
        MUST((int64_t)lease->window == key_floor(key));
        MUST(lease->first >= plan_window_first(&key->plan, lease->window));
        MUST(lease->first + lease->count <=
             plan_window_first(&key->plan, lease->window) + key->plan.window_usable);
    }
    MUST(key->a.w <= key->w);
    MUST(key->a.l_base <= key->l);
}

/* Secrets ------------------------------------------------------------------------------------- */

void open_secret_drop_branch(struct open_secret *s)
{
    if (s->branch != NULL)
        ahead_forget(s->ahead, s->branch);
    s->ahead = NULL;
    hbs_branch_close(&s->branch);
}

static void secret_drop(struct open_secret *s)
{
    open_secret_drop_branch(s);
    secmem_free(s->secret);
    *s = (struct open_secret){.window = -1};
}

enum rc key_destroy_below(struct key *key, uint64_t window, struct err *err)
{
    for (size_t i = 0; i < SECRETS_OPEN_MAX; i++)
        if (key->secrets[i].window >= 0 && (uint64_t)key->secrets[i].window < window)
            secret_drop(&key->secrets[i]);
    enum rc rc = seeds_destroy_below(key->seeds_fd, window, !key->swept, err);
    if (rc == RC_OK)
        rc = escrow_destroy_below(&key->escrow, window, !key->swept, err);
    key->swept = key->swept || rc == RC_OK;
    return rc;
}

struct escrow_keeper key_escrow_keeper(const struct key *key, const struct world *world, void *tpm,
                                       const char *passphrase)
{
    return (struct escrow_keeper){.world = world,
                                  .tpm = tpm,
                                  .anchor = key->anchor,
                                  .auth_secret = key->auth_secret,
                                  .plan = &key->plan,
                                  .pins = &key->record.pins,
                                  .passphrase = passphrase};
}

void key_seed_auth(const struct key *key, uint8_t auth[32])
{
    hmac_sha256(auth, key->auth_secret, ANCHOR_AUTH_LEN, "seed", 4);
}

static enum rc read_blob(const struct key *key, uint64_t window, uint8_t blob[TPM_SEALED_MAX],
                         size_t *blob_len, struct err *err)
{
    enum rc rc = seeds_read(key->seeds_fd, window, blob, blob_len, err);
    if (rc == RC_OK && *blob_len == 0)
        return FAIL(err, RC_HALT_SEEDS, "", 0,
                    "the secret of window %" PRIu64 " is not on this device (destroyed when the "
                    "window closed, or never given to it)",
                    window);
    return rc;
}

/* What the TPM says is about its counter; who reads it thinks in windows. */
static enum rc name_window(enum rc rc, uint64_t window, const struct err *why, struct err *err)
{
    if (rc != RC_HALT_SEEDS) {
        if (err != NULL && rc != RC_OK)
            *err = *why;
        return rc;
    }
    return FAIL(err, rc, why->origin, why->native, "window %" PRIu64 ": %s", window, err_text(why));
}

static enum rc unseal(struct key *key, const struct world *world, void *tpm, uint64_t window,
                      struct window_secret *secret, struct err *err)
{
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    uint8_t auth[32];
    enum rc rc = read_blob(key, window, blob, &blob_len, err);
    if (rc != RC_OK)
        return rc;
    struct err why = {0};
    key_seed_auth(key, auth);
    rc = world->tpm->unseal(tpm, key->anchor, auth, blob, blob_len, secret, sizeof(*secret), &why);
    wipe(auth, sizeof(auth));
    return name_window(rc, window, &why, err);
}

enum rc key_secret_waits(struct key *key, const struct world *world, void *tpm, uint64_t window,
                         bool *waits, struct err *err)
{
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    struct tpm_lock lock;
    *waits = false;
    if ((int64_t)window <= key_floor(key) + 1 || key_open_secret(key, window) != NULL)
        return RC_OK;
    enum rc rc = read_blob(key, window, blob, &blob_len, err);
    if (rc != RC_OK)
        return rc;
    if (world->tpm->sealed_lock(blob, blob_len, &lock) && !lock.bound_low)
        return RC_OK;
    struct err why = {0};
    rc = world->tpm->sealed_check(tpm, key->anchor, blob, blob_len, &why);
    *waits = rc == RC_OK;
    return name_window(rc, window, &why, err);
}

/* A blob can be closed but not trusted: whoever may use the storage key can make another one. So
 * what the window has in the public tree is derived and compared before the first signature. */
static enum rc compare(const struct key *key, uint64_t window, const struct window_secret *secret,
                       struct err *err)
{
    if (hbs_key_secret_fits(&key->hbs, key->nodes, key->plan.window_size, window, secret))
        return RC_OK;
    return FAIL(err, RC_HALT_SEEDS, "", 0,
                "the sealed secret of window %" PRIu64 " does not belong to this key", window);
}

struct open_secret *key_open_secret(struct key *key, uint64_t window)
{
    for (size_t i = 0; i < SECRETS_OPEN_MAX; i++)
        if (key->secrets[i].window == (int64_t)window)
            return &key->secrets[i];
    return NULL;
}

static struct open_secret *secret_slot(struct key *key)
{
    struct open_secret *oldest = &key->secrets[0];
    for (size_t i = 0; i < SECRETS_OPEN_MAX; i++) {
        if (key->secrets[i].window < 0)
            return &key->secrets[i];
        if (key->secrets[i].used < oldest->used)
            oldest = &key->secrets[i];
    }
    secret_drop(oldest);
    return oldest;
}

enum rc key_secret(struct key *key, const struct world *world, void *tpm, uint64_t window,
                   const struct window_secret **secret, struct err *err)
{
    *secret = NULL;
    struct open_secret *slot = key_open_secret(key, window);
    if (slot != NULL) {
        slot->used = ++key->secret_clock;
        *secret = slot->secret;
        return RC_OK;
    }
    slot = secret_slot(key);
    slot->secret = secmem_alloc(sizeof(*slot->secret));
    if (slot->secret == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory for a window secret");
    enum rc rc = unseal(key, world, tpm, window, slot->secret, err);
    if (rc == RC_OK)
        rc = compare(key, window, slot->secret, err);
    if (rc != RC_OK) {
        secret_drop(slot);
        return rc;
    }
    slot->window = (int64_t)window;
    slot->used = ++key->secret_clock;
    *secret = slot->secret;
    return RC_OK;
}

/* Loading ------------------------------------------------------------------------------------- */

static enum rc load_plan(struct key *key, struct err *err)
{
    char *text = NULL;
    size_t len = 0;
    enum rc rc = file_read(key->dirfd, KEY_FILE_PLAN, PLAN_TEXT_MAX, &text, &len, err);
    if (rc != RC_OK)
        return FAIL(err, RC_HALT_STATE_DIR, "", 0, "the plan cannot be read");
    struct plan_fault fault = {0};
    rc = plan_parse(&key->plan, text, len, &fault, err);
    free(text);
    if (rc != RC_OK)
        return rc;
    if (!ct_equal(key->plan.sha256, key->record.plan_sha256, SHA256_LEN))
        return FAIL(err, RC_HALT_STATE_DIR, "", 0,
                    "plan.json is not the plan that this key was made under");
    return RC_OK;
}

static enum rc load_tree(struct key *key, struct err *err)
{
    const struct ledger_key *record = &key->record;
    bool repaired = false;
    enum rc rc =
        scheme_read(&key->hbs, &key->plan, record->public_key, record->public_key_len, err);
    if (rc == RC_OK)
        rc = hbs_key_nodes_open(&key->nodes, key->dirfd, KEY_FILE_NODES, &key->hbs, &repaired, err);
    if (rc == RC_OK && repaired)
        log_event(LOG_LEVEL_WARNING, &(struct log_fields){.key = key->record.name, .index = -1},
                  "the node file was damaged and has been rebuilt from its leaves");
    return rc;
}

static enum rc load_auth(struct key *key, const struct world *world, void *tpm, struct err *err)
{
    int fd CLEANUP(fd_close) = -1;
    enum rc rc = seeds_open(key->dirfd, DEVICE_FILE, 1, &fd, err);
    if (rc != RC_OK)
        return rc;
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    rc = seeds_read(fd, 0, blob, &blob_len, err);
    if (rc != RC_OK)
        return rc;
    key->auth_secret = secmem_alloc(ANCHOR_AUTH_LEN);
    if (key->auth_secret == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory");
    static const uint8_t no_pin[32];
    return world->tpm->unseal(tpm, NULL, no_pin, blob, blob_len, key->auth_secret, ANCHOR_AUTH_LEN,
                              err);
}

/* The storage key tells which TPM this is; ask before unsealing, so that a cloned disk gets the
 * true reason instead of a blob that does not open. */
static enum rc same_tpm(const struct key *key, const struct world *world, void *tpm,
                        struct err *err)
{
    const struct tpm_identity *id = world->tpm->identify(tpm);
    if (id->srk_name_len == TPM_NAME_LEN &&
        ct_equal(id->srk_name, key->record.pins.srk_name, TPM_NAME_LEN))
        return RC_OK;
    return FAIL(
        err, RC_HALT_REGRESSION, TPM_ORIGIN_PINS, 0,
        "this is not the TPM that the key was provisioned on: the state directory is a copy");
}

/* What lies in the folder was whole when the key was made. That it is not any more is no fault of
 * whoever asks for a signature. */
static enum rc not_refused(enum rc rc, enum rc instead, struct err *err)
{
    if (rc_class(rc) != RC_CLASS_REFUSED)
        return rc;
    struct err why = *err;
    *err = (struct err){0};
    return FAIL(err, instead, why.origin, why.native, "%s", err_text(&why));
}

static enum rc load(struct key *key, int state_dirfd, const struct world *world, void *tpm,
                    struct err *err)
{
    char path[sizeof(KEYS_DIR) + NAME_LEN_MAX + 2];
    (void)snprintf(path, sizeof(path), "%s/%s", KEYS_DIR, key->record.name);
    key->dirfd = openat(state_dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (key->dirfd < 0)
        return FAIL(err, RC_HALT_STATE_DIR, "errno", errno, "open %s: %s", path, strerror(errno));
    enum rc rc = not_refused(load_plan(key, err), RC_HALT_STATE_DIR, err);
    if (rc == RC_OK)
        rc = not_refused(load_tree(key, err), RC_HALT_NODES, err);
    if (rc == RC_OK)
        rc = seeds_open(key->dirfd, SEEDS_FILE, key->plan.window_count, &key->seeds_fd, err);
    if (rc == RC_OK)
        rc = escrow_open(&key->escrow, key->dirfd, key->plan.window_count, err);
    if (rc == RC_OK && tpm == NULL)
        return FAIL(err, RC_RETRY_ANCHOR, "", 0, "the TPM cannot be reached");
    if (rc == RC_OK)
        rc = same_tpm(key, world, tpm, err);
    if (rc == RC_OK)
        rc = load_auth(key, world, tpm, err);
    if (rc == RC_OK)
        rc = world->tpm->anchor_open(&key->anchor, tpm, &key->record.pins, key->auth_secret, err);
    return rc;
}

/* Start --------------------------------------------------------------------------------------- */

static enum rc read_facts(struct key *key, const struct world *world, void *tpm,
                          struct ledger *ledger, struct start_facts *facts, struct err *err)
{
    *facts = (struct start_facts){
        .kind = key->plan.kind,
        .keeps_writes = world->tpm->identify(tpm)->keeps_writes,
        .w_first = key->record.pins.w_first,
        .w_base = key->record.pins.w_base,
    };
    enum rc rc = world->tpm->read(key->anchor, &facts->tpm, err);
    if (rc != RC_OK)
        return rc;
    key->w = facts->tpm.w;
    key->l = facts->tpm.l;
    key->a = facts->tpm.a;
    if (!facts->tpm.a_valid) {
        key->a = (struct anchor_record){.early_window = ANCHOR_NO_WINDOW};
        return RC_OK;
    }
    return ledger_stand(ledger, key->record.id, facts->tpm.a.head, &facts->ledger, err);
}

static enum rc do_step(struct key *key, enum start_step step, const struct start_facts *facts,
                       const struct world *world, struct ledger *ledger, struct err *err)
{
    struct allocator alloc = {.key = key, .world = world, .ledger = ledger};
    switch (step) {
    case START_FINISH_L:
        return allocate_step_l(&alloc, err);
    case START_VOID:
        return allocate_void(&alloc, facts->ledger.head_seq, err);
    case START_ANCHOR_INTENTS:
    case START_RAISE_L:
        return allocate_anchor(&alloc, err);
    case START_WRITE_A:
        return allocate_write_opened(&alloc, err);
    case START_STEP_W_WRITE_A:
        return allocate_open_window(&alloc, key_floor(key) + 1, err);
    case START_RECORD_WINDOW:
        return allocate_record_window(&alloc, err);
    case START_OPEN_EARLY:
        /* Its secret was looked at before it was approved. */
        return allocate_open_window(&alloc, key->a.early_window, err);
    case START_DONE:
    case START_REFUSE:
        break;
    }
    MUST(false);
}

static enum rc start(struct key *key, const struct world *world, void *tpm, struct ledger *ledger,
                     struct err *err)
{
    for (unsigned i = 0; i < START_STEPS_MAX; i++) {
        struct start_facts facts;
        enum rc rc = read_facts(key, world, tpm, ledger, &facts, err);
        if (rc != RC_OK)
            return rc;
        enum start_step step = start_decide(&facts, &rc, err);
        if (step == START_DONE || step == START_REFUSE)
            return rc;
        log_event(LOG_LEVEL_NOTICE, &(struct log_fields){.key = key->record.name, .index = -1},
                  "start: %s (W %" PRIu64 ", L %" PRIu64 ")", start_step_name(step), key->w,
                  key->l);
        rc = do_step(key, step, &facts, world, ledger, err);
        if (rc != RC_OK)
            return rc;
    }
    return FAIL(err, RC_HALT_INVARIANT, "", 0, "the start does not come to an end");
}

static enum rc virtual_allowed(struct key *key, const struct world *world, void *tpm,
                               const struct key_settings *settings, struct err *err)
{
    key->is_virtual = world->tpm->identify(tpm)->is_virtual;
    if (!key->is_virtual || settings->virtual_policy == VIRTUAL_DEMO)
        return RC_OK;
    /* Only time says which windows the machine may have opened after the snapshot was taken. */
    if (settings->virtual_policy == VIRTUAL_WAIT && key->plan.kind == PLAN_TIME)
        return RC_OK;
    return FAIL(
        err, RC_HALT_VIRTUAL, "", 0,
        "the TPM is a virtual one, which cannot see a snapshot of the whole machine, and the "
        "configuration says tpm.virtual = %s",
        settings->virtual_policy == VIRTUAL_WAIT ? "wait, which protects time plans only"
                                                 : "refuse");
}

/* A crash can lie between a window's end and the destruction of its secret. */
static enum rc destroy_closed(struct key *key, struct err *err)
{
    int64_t floor = key_floor(key);
    if (window_lock_free(&key->plan) || floor <= 0)
        return RC_OK;
    uint64_t window = (uint64_t)floor;
    if (window > key->plan.window_count)
        window = key->plan.window_count;
    return key_destroy_below(key, window, err);
}

/* Versions before this one sealed without the counter. Such a secret opens as before. */
static void warn_of_old_locks(struct key *key, const struct world *world)
{
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    struct tpm_lock lock;
    struct err none = {0};
    int64_t next = key_floor(key) + 1;
    if (next < key->record.min_window)
        next = key->record.min_window;
    if ((uint64_t)next >= key->plan.window_count ||
        seeds_read(key->seeds_fd, (uint64_t)next, blob, &blob_len, &none) != RC_OK ||
        !world->tpm->sealed_lock(blob, blob_len, &lock) || lock.kind != TPM_LOCK_AUTH)
        return;
    log_event(LOG_LEVEL_WARNING, &(struct log_fields){.key = key->record.name, .index = -1},
              "the window secrets of this key were sealed by an older version, without the window "
              "counter: 'tidemark reseal' brings them up to date");
}

void key_open(struct key *key, const struct ledger_key *record, int state_dirfd,
              const struct world *world, void *tpm, struct ledger *ledger,
              const struct key_settings *settings, const struct key_limits *limits)
{
    *key = (struct key){.record = *record,
                        .dirfd = -1,
                        .seeds_fd = -1,
                        .escrow = ESCROW_CLOSED,
                        .started_window = -1,
                        .limits = *limits};
    for (size_t i = 0; i < SECRETS_OPEN_MAX; i++)
        key->secrets[i].window = -1;
    bucket_init(&key->bucket, limits->burst, limits->per_hour,
                world->time->raw_ns(world->time->ctx));
    key->rc = load(key, state_dirfd, world, tpm, &key->err);
    if (key->rc == RC_OK)
        key->rc =
            limits_start(key, ledger, world,
                         world->time->real_ns(world->time->ctx) / INT64_C(1000000000), &key->err);
    if (key->rc == RC_OK)
        key->rc = virtual_allowed(key, world, tpm, settings, &key->err);
    if (key->rc == RC_OK)
        key->rc = start(key, world, tpm, ledger, &key->err);
    if (key->rc == RC_OK)
        key->rc = reserve_start(
            key, ledger, world->time->real_ns(world->time->ctx) / INT64_C(1000000000), &key->err);
    if (key->rc == RC_OK)
        key->rc = complete_intents(key, world, tpm, ledger, &key->err);
    if (key->rc == RC_OK)
        key->rc = destroy_closed(key, &key->err);
    if (key->rc == RC_OK)
        warn_of_old_locks(key, world);
}

void key_close(struct key *key, const struct world *world)
{
    reserve_stop(key);
    for (size_t i = 0; i < SECRETS_OPEN_MAX; i++)
        secret_drop(&key->secrets[i]);
    if (key->anchor != NULL)
        world->tpm->anchor_close(&key->anchor);
    secmem_free(key->auth_secret);
    hbs_nodes_close(&key->nodes);
    escrow_close(&key->escrow);
    fd_close(&key->seeds_fd);
    fd_close(&key->dirfd);
    plan_free(&key->plan);
}
