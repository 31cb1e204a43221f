#include "lib/signer_rig.h"

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/secmem.h"
#include "lib/plan_text.h"
#include "signer/bulk.h"
#include "signer/clockfile.h"
#include "signer/escrow.h"
#include "signer/scheme.h"
#include "signer/seeds.h"
#include "signer/window_lock.h"

#define DISK "signer-rig"
#define LEDGER "/ledger.db"
#define WAL LEDGER "-wal"

/* Oracle ----------------------------------------------------------------------------------------
 */

#define ORACLE_MAX 65536
#define ORACLE_VALUE 24 /* bytes of a value that are compared: all sets have so many */

struct oracle {
    size_t count, computed;
    char broken[200];
    struct oracle_seen seen[ORACLE_MAX];
};

static struct oracle *oracle(void)
{
    static struct oracle *shared;
    if (shared == NULL) {
        shared =
            mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        MUST(shared != MAP_FAILED);
    }
    return shared;
}

static struct oracle_seen *oracle_find(const uint8_t key_id[KEY_ID_LEN], uint64_t index)
{
    struct oracle *o = oracle();
    for (size_t i = 0; i < o->count; i++)
        if (o->seen[i].index == index && memcmp(o->seen[i].key_id, key_id, KEY_ID_LEN) == 0)
            return &o->seen[i];
    return NULL;
}

void oracle_reset(void)
{
    struct oracle *o = oracle();
    o->count = 0;
    o->computed = 0;
    o->broken[0] = '\0';
}

size_t oracle_save(struct oracle_seen *seen, size_t cap)
{
    const struct oracle *o = oracle();
    MUST(o->count <= cap);
    memcpy(seen, o->seen, o->count * sizeof(*seen));
    return o->count;
}

void oracle_load(const struct oracle_seen *seen, size_t count)
{
    struct oracle *o = oracle();
    oracle_reset();
    memcpy(o->seen, seen, count * sizeof(*seen));
    o->count = count;
}

size_t oracle_computed(void)
{
    return oracle()->computed;
}

size_t oracle_indices(void)
{
    return oracle()->count;
}

bool oracle_has(const struct rig *rig, unsigned key, uint64_t index)
{
    return oracle_find(rig->record[key].key_id, index) != NULL;
}

bool oracle_is_broken(void)
{
    return oracle()->broken[0] != '\0';
}

void oracle_check(void)
{
    if (oracle()->broken[0] != '\0')
        fail_msg("NoReuse is broken: %s", oracle()->broken);
}

/* One index, one value; two of them are remembered until somebody asks. */
static void oracle_computing(const struct ots_lease *lease, const uint8_t *value, size_t len)
{
    struct oracle *o = oracle();
    struct oracle_seen *old = oracle_find(lease->key_id, lease->index);
    o->computed++;
    if (old != NULL && memcmp(old->value, value, len) != 0) {
        (void)snprintf(o->broken, sizeof(o->broken), "index %" PRIu64 " was computed with 2 values",
                       lease->index);
    } else if (old == NULL) {
        MUST(o->count < ORACLE_MAX);
        struct oracle_seen *fresh = &o->seen[o->count++];
        *fresh = (struct oracle_seen){.index = lease->index};
        memcpy(fresh->key_id, lease->key_id, KEY_ID_LEN);
        memcpy(fresh->value, value, len);
    }
}

void __real_hbs_branch_sign(const struct hbs_branch *branch, const struct hbs_branch_signing *jobs,
                            size_t count);
void __wrap_hbs_branch_sign(const struct hbs_branch *branch, const struct hbs_branch_signing *jobs,
                            size_t count);

void __wrap_hbs_branch_sign(const struct hbs_branch *branch, const struct hbs_branch_signing *jobs,
                            size_t count)
{
    for (size_t i = 0; i < count; i++)
        oracle_computing(jobs[i].lease, jobs[i].value, ORACLE_VALUE);
    __real_hbs_branch_sign(branch, jobs, count);
}

enum rc __real_hbs_branch_make(struct hbs_branch **branch, struct ots_lease *lease,
                               const struct hbs_key *key, const struct hbs_nodes *nodes,
                               const struct window_secret *secret,
                               const struct hbs_branch_prior *prior, struct err *err);
enum rc __wrap_hbs_branch_make(struct hbs_branch **branch, struct ots_lease *lease,
                               const struct hbs_key *key, const struct hbs_nodes *nodes,
                               const struct window_secret *secret,
                               const struct hbs_branch_prior *prior, struct err *err);

/* The one-time keys above a bottom tree: they sign a record, under a number that no index has. */
enum rc __wrap_hbs_branch_make(struct hbs_branch **branch, struct ots_lease *lease,
                               const struct hbs_key *key, const struct hbs_nodes *nodes,
                               const struct window_secret *secret,
                               const struct hbs_branch_prior *prior, struct err *err)
{
    struct ots_lease above = *lease;
    above.index |= UINT64_C(1) << 63;
    enum rc rc = __real_hbs_branch_make(branch, lease, key, nodes, secret, prior, err);
    uint8_t hash[SHA256_LEN];
    if (rc != RC_OK)
        return rc;
    digest_buffer(DIGEST_SHA256, hash, hbs_branch_record(*branch), hbs_branch_record_len(key));
    oracle_computing(&above, hash, ORACLE_VALUE);
    return RC_OK;
}

static void oracle_released(const uint8_t key_id[KEY_ID_LEN], uint64_t index, const uint8_t *sig,
                            size_t len)
{
    static const uint8_t none[SHA256_LEN];
    uint8_t hash[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, hash, sig, len);
    struct oracle_seen *s = oracle_find(key_id, index);
    if (s == NULL)
        fail_msg("index %" PRIu64 " was released and never computed", index);
    else if (memcmp(s->released, none, sizeof(none)) == 0)
        memcpy(s->released, hash, sizeof(hash));
    else if (memcmp(s->released, hash, sizeof(hash)) != 0)
        fail_msg("index %" PRIu64 " was released with two signatures", index);
}

/* Making ----------------------------------------------------------------------------------------
 */

void rig_make(struct rig *rig, int64_t now_s, uint64_t seed)
{
    struct err err = {0};
    assert_int_equal(base_init(&err), RC_OK);
    *rig = (struct rig){0};
    fake_world_make(&rig->fake, now_s);
    rig->disk = crashvfs_open(DISK, seed);
    const char *tmp = getenv("TMPDIR");
    (void)snprintf(rig->dir, sizeof(rig->dir), "%s/signer-rig.XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(rig->dir));
    rig->config = (struct signer_config){
        .ledger_path = LEDGER,
        .ledger_vfs = DISK,
        .settings =
            {.virtual_policy = VIRTUAL_DEMO,
             .clock = {.max_error_ms = 250, .max_age_s = 512, .max_stratum = 4, .guard_ms = 2000},
             /* Tests let weeks go by between two starts. */
             .tolerance = {.raw_ppm = 200,
                           .max_forward_ms = 2000,
                           .max_offline_s = INT64_C(10) * 366 * 86400},
             .edge_wait_ms = 5000,
             .export_margin = 1},
        .limits = rig->limits,
        .limits_count = RIG_KEYS_MAX,
    };
    rig->config.state_dirfd = open(rig->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(rig->config.state_dirfd >= 0);
    /* No name is empty, or the entry would be everybody's. */
    for (unsigned i = 0; i < RIG_KEYS_MAX; i++)
        strcpy(rig->limits[i].name, "-");
}

static void remove_tree(const char *dir)
{
    static const char *const files[] = {KEY_FILE_PLAN, KEY_FILE_NODES, SEEDS_FILE, DEVICE_FILE};
    char path[256];
    static const char *const names[] = {"k", "k2", "k3"};
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
            (void)snprintf(path, sizeof(path), "%s/keys/%s/%s", dir, names[k], files[i]);
            (void)unlink(path);
        }
        (void)snprintf(path, sizeof(path), "%s/keys/%s", dir, names[k]);
        (void)rmdir(path);
    }
    (void)snprintf(path, sizeof(path), "%s/" CLOCKFILE_NAME, dir);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/keys", dir);
    (void)rmdir(path);
    (void)rmdir(dir);
}

void rig_end(struct rig *rig)
{
    signer_close(&rig->signer, false);
    for (unsigned i = 0; i < rig->keys; i++)
        plan_free(&rig->plan[i]);
    if (rig->dir[0] != '\0') {
        (void)close(rig->config.state_dirfd);
        remove_tree(rig->dir);
    }
    crashvfs_close(&rig->disk);
    rig_disk_free(&rig->saved_disk);
    free(rig->saved_seeds);
    fake_world_end(&rig->fake);
    *rig = (struct rig){0};
}

static int open_seeds(const struct rig *rig)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s/%s", KEYS_DIR, rig->plan[0].key, SEEDS_FILE);
    int fd = openat(rig->config.state_dirfd, path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

void rig_save(struct rig *rig)
{
    int fd CLEANUP(fd_close) = open_seeds(rig);
    assert_int_equal(rig->keys, 1);
    assert_null(rig->signer);
    rig->saved_seeds_len = rig->plan[0].window_count * SEEDS_RECORD_LEN;
    rig->saved_seeds = malloc(rig->saved_seeds_len);
    assert_non_null(rig->saved_seeds);
    assert_true(pread_full(fd, rig->saved_seeds, rig->saved_seeds_len, 0));
    rig_disk_take(rig, &rig->saved_disk);
    rig->saved_fake = rig->fake;
    rig->saved_tpm = *rig->fake.tpm;
}

void rig_restore(struct rig *rig, uint64_t seed)
{
    int fd CLEANUP(fd_close) = open_seeds(rig);
    signer_close(&rig->signer, false);
    crashvfs_close(&rig->disk);
    rig->disk = crashvfs_open(DISK, seed);
    rig_disk_put(rig, &rig->saved_disk);
    crashvfs_power_on(rig->disk);
    rig->fake = rig->saved_fake;
    *rig->fake.tpm = rig->saved_tpm;
    (void)unlinkat(rig->config.state_dirfd, CLOCKFILE_NAME, 0);
    assert_true(pwrite_full(fd, rig->saved_seeds, rig->saved_seeds_len, 0));
}

static enum rc rig_secret(void *ctx, uint64_t window, struct window_secret *secret, struct err *err)
{
    (void)err;
    memset(secret, (int)(*(unsigned *)ctx + 1), sizeof(*secret));
    be_put64(secret->seed, window);
    return RC_OK;
}

static void seal_into(struct rig *rig, int fd, uint64_t record, const uint8_t auth[32],
                      const struct tpm_lock *lock, const void *secret, size_t len)
{
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len = 0;
    struct err err = {0};
    fake_seal(&rig->fake, auth, lock, secret, len, blob, &blob_len);
    assert_int_equal(seeds_write(fd, record, blob, blob_len, &err), RC_OK);
}

static int make_file(int dirfd, const char *name, uint64_t records)
{
    int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)(records * SEEDS_RECORD_LEN)), 0);
    return fd;
}

/* A connection of its own, which leaves no trace in the TPM's count of commands. */
static void make_escrow(struct rig *rig, unsigned k, int dirfd, const uint8_t auth[32],
                        int64_t first_window)
{
    struct err err = {0};
    const struct plan *plan = &rig->plan[k];
    const struct tpm_ops *ops = rig->fake.world.tpm;
    uint64_t commands = rig->fake.tpm->commands;
    struct escrow escrow = ESCROW_CLOSED;
    struct escrow_keeper keeper = {.world = &rig->fake.world,
                                   .auth_secret = auth,
                                   .plan = plan,
                                   .pins = &rig->record[k].pins,
                                   .passphrase = rig->escrow_passphrase};
    assert_int_equal(ops->open(rig->fake.world.tpm_ctx, &keeper.tpm, &err), RC_OK);
    assert_int_equal(escrow_make(&escrow, dirfd, &keeper, &err), RC_OK);
    for (uint64_t w = (uint64_t)first_window; w < plan->window_count; w++) {
        struct window_secret secret;
        assert_int_equal(rig_secret(&k, w, &secret, &err), RC_OK);
        assert_int_equal(escrow_put(&escrow, w, &secret, &err), RC_OK);
    }
    escrow_close(&escrow);
    ops->close(rig->fake.world.tpm_ctx, &keeper.tpm);
    rig->fake.tpm->commands = commands;
}

/* Folder, seeds, escrow and tree, as provision_new() lays them out. */
static void make_folder(struct rig *rig, unsigned k, const char *json, const uint8_t auth[32],
                        int64_t first_window, struct hbs_key *hbs)
{
    struct err err = {0};
    const struct plan *plan = &rig->plan[k];
    static const uint8_t no_pin[32];
    char path[128];
    (void)mkdirat(rig->config.state_dirfd, KEYS_DIR, 0700);
    (void)snprintf(path, sizeof(path), "%s/%s", KEYS_DIR, plan->key);
    assert_int_equal(mkdirat(rig->config.state_dirfd, path, 0700), 0);
    int dirfd = openat(rig->config.state_dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *canonical = NULL;
    size_t len = 0;
    assert_int_equal(plan_canonical(json, strlen(json), &canonical, &len, &err), RC_OK);
    assert_int_equal(file_write_new(dirfd, KEY_FILE_PLAN, 0600, canonical, len, &err), RC_OK);
    free(canonical);
    int fd = make_file(dirfd, DEVICE_FILE, 1);
    seal_into(rig, fd, 0, no_pin, NULL, auth, ANCHOR_AUTH_LEN);
    (void)close(fd);
    uint8_t seed_auth[32];
    hmac_sha256(seed_auth, auth, ANCHOR_AUTH_LEN, "seed", 4);
    fd = make_file(dirfd, SEEDS_FILE, plan->window_count);
    for (uint64_t w = (uint64_t)first_window; w < plan->window_count; w++) {
        struct window_secret secret;
        assert_int_equal(rig_secret(&k, w, &secret, &err), RC_OK);
        struct tpm_pcrs pcrs = {.bank = TPM_BANK_SHA256, .selection = rig->pcrs};
        fake_tpm_pcrs(&rig->fake, &pcrs);
        struct tpm_lock lock;
        window_lock(&lock, plan, &rig->record[k].pins, &pcrs, w);
        seal_into(rig, fd, w, seed_auth, rig->old_locks ? NULL : &lock, &secret, sizeof(secret));
    }
    (void)close(fd);
    if (!rig->old_locks)
        make_escrow(rig, k, dirfd, auth, first_window);
    assert_int_equal(hbs_key_nodes_make(hbs, dirfd, KEY_FILE_NODES, plan->window_size, rig_secret,
                                        NULL, &k, 1, &err),
                     RC_OK);
    (void)close(dirfd);
}

static void record(struct rig *rig, unsigned k, const struct hbs_key *hbs)
{
    struct err err = {0};
    struct ledger_key *key = &rig->record[k];
    uint8_t raw[HBS_PUB_LEN_MAX];
    strcpy(key->name, rig->plan[k].key);
    memcpy(key->plan_sha256, rig->plan[k].sha256, SHA256_LEN);
    key->public_key_len = hbs_key_public(hbs, raw);
    memcpy(key->public_key, raw, key->public_key_len);
    sha256_2(key->key_id, key->plan_sha256, SHA256_LEN, key->public_key, key->public_key_len);
    struct ledger *ledger = rig_ledger(rig);
    struct anchor_record a = {.w = key->pins.w_first,
                              .window = (int64_t)key->pins.w_first - key->pins.w_base,
                              .l = key->pins.l_first,
                              .l_base = key->pins.l_first,
                              .early_window = ANCHOR_NO_WINDOW,
                              .writes = 1};
    assert_int_equal(ledger_begin(ledger, &err), RC_OK);
    assert_int_equal(ledger_add_key(ledger, key, rig->fake.now_ns / 1000000000, &err), RC_OK);
    assert_int_equal(ledger_head(ledger, key->id, a.head, &err), RC_OK);
    fake_tpm_set_a(&rig->fake, k, &a);
    assert_int_equal(ledger_commit(ledger, &err), RC_OK);
    ledger_close(&ledger);
}

void rig_add_key(struct rig *rig, const char *text, int64_t first_window)
{
    unsigned k = rig->keys++;
    assert_true(k < RIG_KEYS_MAX);
    char json[PLAN_TEXT_SIZE];
    plan_text(json, text);
    plan_make(&rig->plan[k], text);
    strcpy(rig->limits[k].name, rig->plan[k].key);
    uint8_t auth[ANCHOR_AUTH_LEN];
    memset(auth, (int)(0x40 + k), sizeof(auth));
    struct hbs_key hbs;
    struct err err = {0};
    uint8_t id[HBS_KEY_ID_LEN];
    memset(id, (int)k, sizeof(id));
    if (scheme_new(&hbs, &rig->plan[k], id, &err) != RC_OK)
        fail_msg("%s", err_text(&err));
    rig->record[k] = (struct ledger_key){.min_window = first_window};
    fake_tpm_define(&rig->fake, k, first_window - 1, auth, &rig->record[k].pins);
    make_folder(rig, k, json, auth, first_window, &hbs);
    record(rig, k, &hbs);
}

/* Opening and closing ----------------------------------------------------------------------------
 */

enum rc rig_open(struct rig *rig)
{
    assert_null(rig->signer);
    rig->err = (struct err){0};
    timekeeper_start(&rig->clock, &rig->config.settings.clock, &rig->config.settings.tolerance,
                     &rig->fake.world, rig->config.state_dirfd);
    return signer_open(&rig->signer, &rig->config, &rig->fake.world, &rig->clock, &rig->err);
}

void rig_stop(struct rig *rig)
{
    signer_close(&rig->signer, true);
}

void rig_crash(struct rig *rig)
{
    signer_close(&rig->signer, false);
    crashvfs_power_on(rig->disk);
    fake_tpm_reset(&rig->fake);
}

void rig_reopen(struct rig *rig)
{
    rig_crash(rig);
    enum rc rc = rig_open(rig);
    if (rc != RC_OK)
        fail_msg("the signer does not open again: %s: %s", rc_name(rc), err_text(&rig->err));
}

/* A request that no plan can place comes back with the key's reason, or with its own. */
enum rc rig_key_rc(const struct rig *rig, unsigned key)
{
    struct request request = {.op = REQUEST_SIGN, .by = 99};
    struct reply reply;
    struct job job = {.request = &request,
                      .reply = &reply,
                      .artifact = {.fd = -1, .mode = rig->plan[key].message}};
    struct err err = {0};
    strcpy(request.key, rig->plan[key].key);
    reply_init(&reply, &request);
    assert_int_equal(signer_sign(rig->signer, &job, 1, &err), RC_OK);
    return reply.rc == RC_REFUSED_OUTSIDE_PLAN ? RC_OK : (enum rc)reply.rc;
}

/* Requests ---------------------------------------------------------------------------------------
 */

static void write_request(struct rig *rig, struct ask *ask, struct job *job)
{
    struct request *r = &ask->request;
    *r = (struct request){.magic = REQUEST_MAGIC,
                          .op = REQUEST_SIGN,
                          .generation = 1,
                          .by = ask->version != NULL ? REQUEST_BY_VERSION : REQUEST_BY_WINDOW,
                          .body = ask->digest != NULL ? REQUEST_BODY_DIGEST : REQUEST_BODY_BYTES};
    (void)snprintf(r->key, sizeof(r->key), "%s",
                   ask->name != NULL ? ask->name : rig->plan[ask->key].key);
    (void)snprintf(r->version, sizeof(r->version), "%s", ask->version ? ask->version : "");
    (void)snprintf(r->slot, sizeof(r->slot), "%s", ask->slot ? ask->slot : "");
    (void)snprintf(r->idempotency_key, sizeof(r->idempotency_key), "%s",
                   ask->idem ? ask->idem : "");
    (void)snprintf(r->request_id, sizeof(r->request_id), "req-%s", ask->idem ? ask->idem : "v");
    strcpy(r->requester, ask->who != NULL ? ask->who : "tester");
    ask->fd = -1;
    if (ask->digest != NULL) {
        r->digest_kind = ask->digest_kind;
        memcpy(r->digest, ask->digest, digest_len(ask->digest_kind));
    } else {
        r->body_len = strlen(ask->text);
        r->digest_claimed = ask->claim != NULL;
        if (ask->claim != NULL)
            digest_buffer(DIGEST_SHA256, r->digest, ask->claim, strlen(ask->claim));
    }
    /* What may change behind a handle cannot behind its request. */
    bool handle = ask->digest == NULL && (ask->claim != NULL || ask->change_to != NULL);
    if (handle) {
        ask->fd = memfd_create("artifact", MFD_CLOEXEC);
        assert_true(ask->fd >= 0);
        assert_true(pwrite_full(ask->fd, ask->text, r->body_len, 0));
    }
    struct err err = {0};
    size_t behind = handle ? 0 : (size_t)r->body_len;
    assert_int_equal(request_check(r, 1, handle, behind, &err), RC_OK);
    reply_init(&ask->reply, r);
    *job = (struct job){.request = r, .reply = &ask->reply};
}

static void verify(const struct rig *rig, struct ask *ask)
{
    struct hbs_public public;
    struct hbs_verifier verifier CLEANUP(hbs_verify_close) = {0};
    struct err err = {0};
    const struct ledger_key *key = &rig->record[ask->key];
    assert_int_equal(hbs_public_parse(&public, scheme_of(&rig->plan[ask->key]), key->public_key,
                                      key->public_key_len, &err),
                     RC_OK);
    assert_int_equal(hbs_verify_open(&verifier, &public, ask->signature, ask->len, &err), RC_OK);
    uint8_t message[DIGEST_LEN_MAX];
    size_t len = 0;
    const void *data = message;
    enum digest_kind kind = rig->plan[ask->key].message == PLAN_SHA512   ? DIGEST_SHA512
                            : rig->plan[ask->key].message == PLAN_SHA384 ? DIGEST_SHA384
                                                                         : DIGEST_SHA256;
    if (rig->plan[ask->key].message == PLAN_RAW) {
        data = ask->text;
        len = strlen(ask->text);
    } else {
        len = digest_len(kind);
        if (ask->digest != NULL)
            memcpy(message, ask->digest, len);
        else
            digest_buffer(kind, message, ask->text, strlen(ask->text));
    }
    hbs_verify_update(&verifier, data, len);
    assert_int_equal(hbs_verify_finish(&verifier, &err), RC_OK);
    ask->index = hbs_verify_index(&verifier);
    ask->window = ask->reply.signature.window;
    assert_int_equal(ask->reply.signature.index, ask->index);
    oracle_released(key->key_id, ask->index, ask->signature, ask->len);
}

static void take_answer(const struct rig *rig, struct ask *ask, struct job *job)
{
    assert_true(job->done);
    if (ask->fd >= 0)
        (void)close(ask->fd);
    ask->fd = -1;
    ask->rc = (enum rc)ask->reply.rc;
    ask->replayed = ask->reply.replayed;
    ask->len = 0;
    if (ask->rc == RC_OK) {
        assert_true(job->signature_len <= sizeof(ask->signature));
        ask->len = job->signature_len;
        memcpy(ask->signature, job->signature, ask->len);
        verify(rig, ask);
    } else {
        assert_null(job->signature); /* not a byte leaves without a receipt */
        assert_true(rc_known(ask->reply.rc) && ask->reply.text[0] != '\0');
    }
    free(job->signature);
}

enum rc rig_sign(struct rig *rig, struct ask *asks, size_t count)
{
    static struct job jobs[BATCH_MAX];
    static struct ask *sent[BATCH_MAX];
    size_t n = 0;
    assert_true(count <= BATCH_MAX);
    for (size_t i = 0; i < count; i++) {
        write_request(rig, &asks[i], &jobs[n]);
        enum plan_message mode = PLAN_RAW;
        (void)!signer_message_mode(rig->signer, asks[i].request.key, &mode);
        if (asks[i].guessed)
            mode = asks[i].guess;
        struct err e = {0};
        const void *bytes = asks[i].fd < 0 && asks[i].digest == NULL ? asks[i].text : NULL;
        asks[i].rc = bytes != NULL
                         ? artifact_open_bytes(&jobs[n].artifact, &asks[i].request, bytes, mode, &e)
                         : artifact_open(&jobs[n].artifact, &asks[i].request, asks[i].fd, mode, &e);
        if (asks[i].change_to != NULL)
            assert_true(pwrite_full(asks[i].fd, asks[i].change_to, strlen(asks[i].change_to), 0));
        if (asks[i].rc == RC_OK)
            sent[n++] = &asks[i];
    }
    rig->err = (struct err){0};
    enum rc rc = n > 0 ? signer_sign(rig->signer, jobs, n, &rig->err) : RC_OK;
    for (size_t i = 0; i < n; i++)
        take_answer(rig, sent[i], &jobs[i]);
    oracle_check();
    assert_int_equal(rig->fake.tpm->unanchored, 0); /* nothing is computed that is not anchored */
    return rc;
}

static enum rc serve_one(struct rig *rig, struct ask *ask,
                         enum rc (*serve)(struct signer *, struct job *, size_t, struct err *))
{
    struct job job = {.request = &ask->request, .reply = &ask->reply, .artifact.fd = -1};
    struct err err = {0};
    assert_int_equal(request_check(&ask->request, 1, false, 0, &err), RC_OK);
    reply_init(&ask->reply, &ask->request);
    rig->err = (struct err){0};
    enum rc rc = serve(rig->signer, &job, 1, &rig->err);
    assert_true(job.done);
    ask->rc = (enum rc)ask->reply.rc;
    ask->replayed = ask->reply.replayed;
    ask->len = job.signature_len;
    if (ask->rc == RC_OK) {
        assert_true(job.signature_len > 0 && job.signature_len <= sizeof(ask->signature));
        memcpy(ask->signature, job.signature, ask->len);
        if (!ask->reply.reserved)
            verify(rig, ask);
    } else {
        assert_null(job.signature);
        assert_true(rc_known(ask->reply.rc) && ask->reply.text[0] != '\0');
    }
    free(job.signature);
    oracle_check();
    assert_int_equal(rig->fake.tpm->unanchored, 0);
    return rc;
}

enum rc rig_reserve(struct rig *rig, struct ask *ask)
{
    struct job unused;
    uint8_t sha256[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, sha256, ask->text, strlen(ask->text));
    ask->digest = sha256;
    ask->digest_kind = DIGEST_SHA256;
    write_request(rig, ask, &unused);
    ask->digest = NULL;
    ask->request.op = REQUEST_RESERVE;
    return serve_one(rig, ask, signer_reserve);
}

/* The sets of the tests hash with SHA-256 alone. */
static uint32_t hash_remotely(const struct ask *reserved, const char *text, uint8_t hash[64])
{
    uint8_t all[RIG_SIG_MAX];
    size_t len = strlen(text);
    assert_true(reserved->reply.reserved && reserved->len + len <= sizeof(all));
    memcpy(all, reserved->signature, reserved->len);
    memcpy(all + reserved->len, text, len);
    digest_buffer(DIGEST_SHA256, hash, all, reserved->len + len);
    bool short_hash = strcmp(reserved->reply.hash, "sha256/192") == 0;
    assert_true(short_hash || strcmp(reserved->reply.hash, "sha256/256") == 0);
    return short_hash ? 24 : 32;
}

enum rc rig_commit(struct rig *rig, const struct ask *reserved, const char *text, struct ask *ask)
{
    struct request *r = &ask->request;
    *r = (struct request){.magic = REQUEST_MAGIC, .op = REQUEST_COMMIT, .generation = 1};
    strcpy(r->key, rig->plan[ask->key].key);
    strcpy(r->request_id, "req-commit");
    strcpy(r->requester, ask->who != NULL ? ask->who : "tester");
    memcpy(r->id, reserved->reply.signature.id, sizeof(r->id));
    r->hash_len = hash_remotely(reserved, text, r->digest);
    ask->text = text;
    return serve_one(rig, ask, signer_commit);
}

static void write_item(struct request_item *item, const struct request *r)
{
    item->by = r->by;
    item->digest_kind = r->digest_kind;
    memcpy(item->digest, r->digest, sizeof(item->digest));
    memcpy(item->version, r->version, sizeof(item->version));
    memcpy(item->slot, r->slot, sizeof(item->slot));
    memcpy(item->idempotency_key, r->idempotency_key, sizeof(item->idempotency_key));
}

enum rc rig_sign_bulk(struct rig *rig, struct ask *asks, size_t count, struct reply *whole)
{
    static struct request_item items[REQUEST_BATCH_MAX];
    struct bulk *bulk CLEANUP(bulk_free) = NULL;
    struct job unused;
    assert_true(count >= 1 && count <= REQUEST_BATCH_MAX);
    memset(items, 0, sizeof(items));
    for (size_t i = 0; i < count; i++) {
        write_request(rig, &asks[i], &unused);
        write_item(&items[i], &asks[i].request);
    }
    struct request message = asks[0].request;
    message.op = REQUEST_BATCH;
    message.body_len = count * sizeof(items[0]);
    int fd CLEANUP(fd_close) = memfd_create("items", MFD_CLOEXEC);
    assert_true(fd >= 0 && pwrite_full(fd, items, message.body_len, 0));
    rig->err = (struct err){0};
    assert_int_equal(request_check(&message, 1, true, 0, &rig->err), RC_OK);
    assert_int_equal(bulk_read(&bulk, &message, fd, NULL, &rig->err), RC_OK);
    reply_init(whole, &message);
    enum rc rc = signer_sign_bulk(rig->signer, bulk->jobs, bulk->count, whole, &rig->err);
    for (size_t i = 0; bulk_done(bulk) && i < count; i++) {
        asks[i].reply = bulk->replies[i];
        take_answer(rig, &asks[i], &bulk->jobs[i]);
        bulk->jobs[i].signature = NULL;
    }
    oracle_check();
    assert_int_equal(rig->fake.tpm->unanchored, 0);
    return rc;
}

void rig_ask(struct rig *rig, struct ask *ask, enum rc expected)
{
    enum rc rc = rig_sign(rig, ask, 1);
    if (ask->rc != expected)
        fail_msg("expected %s, got %s: %s", rc_name(expected), rc_name(ask->rc), ask->reply.text);
    if (rc_class(expected) != RC_CLASS_HALT)
        assert_int_equal(rc, RC_OK);
}

/* Ledger -----------------------------------------------------------------------------------------
 */

static uint8_t *copy_file(struct rig *rig, const char *path, size_t *len)
{
    const uint8_t *bytes = crashvfs_bytes(rig->disk, path, len);
    if (bytes == NULL)
        return NULL;
    uint8_t *copy = malloc(*len + 1);
    MUST(copy != NULL);
    memcpy(copy, bytes, *len);
    return copy;
}

void rig_disk_take(struct rig *rig, struct rig_disk *copy)
{
    copy->db = copy_file(rig, LEDGER, &copy->db_len);
    copy->wal = copy_file(rig, WAL, &copy->wal_len);
}

static void put_file(sqlite3_vfs *vfs, const char *path, const uint8_t *data, size_t len)
{
    (void)vfs->xDelete(vfs, path, 1);
    if (data == NULL)
        return;
    sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
                (strcmp(path, WAL) == 0 ? SQLITE_OPEN_WAL : SQLITE_OPEN_MAIN_DB);
    MUST(file != NULL && vfs->xOpen(vfs, path, file, flags, &flags) == SQLITE_OK);
    MUST(file->pMethods->xWrite(file, data, (int)len, 0) == SQLITE_OK);
    MUST(file->pMethods->xSync(file, SQLITE_SYNC_NORMAL) == SQLITE_OK);
    (void)file->pMethods->xClose(file);
    free(file);
}

void rig_disk_put(struct rig *rig, const struct rig_disk *copy)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(DISK);
    assert_null(rig->signer);
    MUST(vfs != NULL);
    put_file(vfs, LEDGER, copy->db, copy->db_len);
    put_file(vfs, WAL, copy->wal, copy->wal_len);
    /* A removal is what syncs the directory. */
    put_file(vfs, "/scratch", (const uint8_t *)"", 1);
    (void)vfs->xDelete(vfs, "/scratch", 1);
}

void rig_disk_free(struct rig_disk *copy)
{
    free(copy->db);
    free(copy->wal);
    *copy = (struct rig_disk){0};
}

struct ledger *rig_ledger(struct rig *rig)
{
    struct ledger *ledger = NULL;
    struct err err = {0};
    struct ledger_options options = {
        .path = rig->config.ledger_path, .vfs = rig->config.ledger_vfs, .create = true};
    assert_null(rig->signer);
    if (ledger_open(&ledger, &options, &err) != RC_OK)
        fail_msg("ledger: %s", err_text(&err));
    return ledger;
}

struct key *rig_load_key(struct rig *rig, unsigned k, struct ledger *ledger, void **tpm)
{
    struct err err = {0};
    struct ledger_key record;
    static const struct key_limits none;
    const struct world *world = &rig->fake.world;
    assert_int_equal(ledger_key_by_id(ledger, rig->record[k].id, &record, &err), RC_OK);
    assert_int_equal(world->tpm->open(world->tpm_ctx, tpm, &err), RC_OK);
    struct key *key = calloc(1, sizeof(*key));
    assert_non_null(key);
    key_open(key, &record, rig->config.state_dirfd, world, *tpm, ledger, &rig->config.settings,
             &none);
    return key;
}

void rig_unload_key(struct rig *rig, struct key *key, void **tpm)
{
    key_close(key, &rig->fake.world);
    free(key);
    rig->fake.world.tpm->close(rig->fake.world.tpm_ctx, tpm);
}

void rig_acknowledge(struct ledger *ledger, const struct key *key, int64_t mark)
{
    struct err err = {0};
    assert_int_equal(ledger_begin(ledger, &err), RC_OK);
    assert_int_equal(ledger_add_note(ledger, key->record.id, LEDGER_ACKNOWLEDGEMENT,
                                     "backup-export", "in the safe", mark, 0, &err),
                     RC_OK);
    assert_int_equal(ledger_commit(ledger, &err), RC_OK);
}
