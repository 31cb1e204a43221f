#include "lib/fake_world.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "signer/toolclock.h"

#define NS_PER_S INT64_C(1000000000)
#define HANDLE_FIRST UINT32_C(0x01854d00)
#define W_FIRST 7
#define L_FIRST 3
/* "FAKE", TPM, length, 2 zeros, the hash of the authorisation, the lock, the Name of its W */
#define BLOB_LOCK 40
#define BLOB_NAME (BLOB_LOCK + TPM_LOCK_LEN)
#define BLOB_HEAD (BLOB_NAME + TPM_NAME_LEN)

/* One process' end of the session. */
struct fake_session {
    struct fake_world *world;
    uint64_t session;
    uint64_t nonce;
    enum rc dead; /* the transport is gone: every later call fails */
};

struct fake_anchor {
    struct fake_session *session;
    unsigned key;
    enum rc stopped;
};

/* Commands ------------------------------------------------------------------------------------- */

/* Is it this command's turn? @return the code that the caller gives back, RC_OK to go on. */
static enum rc turn(struct fake_session *s, enum fake_command command, enum fake_fault *fault,
                    struct err *err)
{
    struct fake_tpm *tpm = s->world->tpm;
    *fault = FAKE_NONE;
    tpm->commands++;
    if (s->world->hook != NULL)
        s->world->hook(s->world->hook_ctx, command);
    if (s->dead != RC_OK)
        return FAIL(err, s->dead, "fake", 0, "the connection is dead");
    if (s->session != tpm->session || s->nonce != tpm->nonce) {
        s->dead = RC_HALT_CANARY;
        return FAIL(err, RC_HALT_CANARY, "fake", 0, "the session has moved");
    }
    if (tpm->fault_at != 0 && tpm->commands == tpm->fault_at) {
        *fault = tpm->fault;
        tpm->hit = command;
    }
    if (*fault == FAKE_BUSY)
        return FAIL(err, RC_RETRY_ANCHOR, "fake", 0, "the TPM is busy");
    if (*fault == FAKE_REFUSE)
        return s->dead = FAIL(err, RC_HALT_CANARY, "fake", 0, "the TPM refused");
    if (*fault == FAKE_FAIL_BEFORE)
        return s->dead = FAIL(err, RC_HALT_ANCHOR, "fake", 0, "no answer, and nothing was done");
    s->nonce = ++tpm->nonce;
    return RC_OK;
}

/* After the command took effect. */
static enum rc ending(struct fake_session *s, enum fake_command command, enum fake_fault fault,
                      struct err *err)
{
    if (s->world->hook_after != NULL)
        s->world->hook_after(s->world->hook_ctx, command);
    if (fault != FAKE_FAIL_AFTER)
        return RC_OK;
    s->dead = RC_HALT_ANCHOR;
    return FAIL(err, RC_HALT_ANCHOR, "fake", 0, "no answer, but it was done");
}

static enum rc anchor_turn(struct fake_anchor *a, enum fake_command command, enum fake_fault *fault,
                           struct err *err)
{
    if (a->stopped != RC_OK)
        return FAIL(err, a->stopped, "fake", 0, "stopped");
    enum rc rc = turn(a->session, command, fault, err);
    if (rc_class(rc) == RC_CLASS_HALT)
        a->stopped = rc;
    return rc;
}

static enum rc anchor_ending(struct fake_anchor *a, enum fake_command command,
                             enum fake_fault fault, struct err *err)
{
    enum rc rc = ending(a->session, command, fault, err);
    if (rc != RC_OK)
        a->stopped = rc;
    return rc;
}

static struct fake_nv *nv_of(struct fake_anchor *a)
{
    return &a->session->world->tpm->nv[a->key];
}

/* A write is about to happen. */
static struct fake_nv *writing(struct fake_anchor *a)
{
    struct fake_tpm *tpm = a->session->world->tpm;
    memcpy(tpm->before, tpm->nv, sizeof(tpm->before));
    return nv_of(a);
}

static enum rc fake_open(void *ctx, void **tpm, struct err *err)
{
    struct fake_world *f = ctx;
    struct fake_session *s = calloc(1, sizeof(*s));
    MUST(s != NULL);
    *s = (struct fake_session){.world = f, .session = ++f->tpm->session, .nonce = ++f->tpm->nonce};
    enum fake_fault fault = FAKE_NONE;
    enum rc rc = turn(s, FAKE_OPEN, &fault, err);
    if (rc == RC_OK)
        rc = ending(s, FAKE_OPEN, fault, err);
    *tpm = rc == RC_OK ? s : NULL;
    if (rc != RC_OK)
        free(s);
    return rc;
}

static void fake_close(void *ctx, void **tpm)
{
    (void)ctx;
    free(*tpm);
    *tpm = NULL;
}

static const struct tpm_identity *fake_identify(void *tpm)
{
    const struct fake_session *s = tpm;
    return &s->world->tpm->identity;
}

static void mask(const uint8_t auth[32], uint8_t id, uint8_t *data, size_t len)
{
    uint8_t key[SHA256_LEN];
    sha256_2(key, auth, 32, &id, 1);
    for (size_t i = 0; i < len; i++)
        data[i] ^= key[i % sizeof(key)] ^ (uint8_t)i;
}

static bool fake_sealed_lock(const uint8_t *blob, size_t blob_len, struct tpm_lock *lock)
{
    *lock = (struct tpm_lock){.kind = TPM_LOCK_AUTH};
    if (blob_len < BLOB_HEAD || memcmp(blob, "FAKE", 4) != 0)
        return false;
    if (blob[BLOB_LOCK] == TPM_LOCK_AUTH)
        return true;
    if (!tpm_lock_scan(lock, blob + BLOB_LOCK))
        return false;
    memcpy(lock->w_name, blob + BLOB_NAME, TPM_NAME_LEN);
    return true;
}

static void pcrs_now(const struct fake_tpm *tpm, struct tpm_pcrs *pcrs)
{
    if (pcrs->selection != 0)
        sha256_2(pcrs->digest, &pcrs->selection, sizeof(pcrs->selection), &tpm->pcrs, 1);
}

/* A Name of SHA-256, like all of ours: one for each handle. */
static void name_index(uint8_t name[TPM_NAME_LEN], uint32_t handle)
{
    memset(name, 1, TPM_NAME_LEN);
    be_put16(name, 0x000B);
    be_put32(name + 2, handle);
}

/* What the TPM says to a window's lock.
 * @param[in] low  Look at the lower bound, too? */
static enum rc window_lock(struct fake_anchor *a, const struct tpm_lock *lock, bool low,
                           struct err *err)
{
    uint8_t name[TPM_NAME_LEN];
    if (a == NULL && !tpm_lock_bound(lock) && lock->pcrs.selection == 0)
        return RC_OK;
    if (a == NULL)
        return FAIL(err, RC_HALT_SEEDS, "fake", 0, "this blob is locked by a counter");
    const struct fake_nv *nv = nv_of(a);
    name_index(name, nv->handle);
    if (tpm_lock_bound(lock) && !ct_equal(name, lock->w_name, sizeof(name)))
        return FAIL(err, RC_HALT_SEEDS, "fake", 0, "this blob is locked by another counter");
    if (lock->bound_high && nv->w > lock->high)
        return FAIL(err, RC_HALT_SEEDS, "fake", (int64_t)nv->w,
                    "the TPM refuses: the window is closed");
    if (low && lock->bound_low && nv->w < lock->low)
        return FAIL(err, RC_HALT_SEEDS, "fake", (int64_t)nv->w,
                    "the TPM refuses: the window is not yet open");
    struct tpm_pcrs now = lock->pcrs;
    pcrs_now(a->session->world->tpm, &now);
    if (!ct_equal(now.digest, lock->pcrs.digest, sizeof(now.digest)))
        return FAIL(err, RC_HALT_SEEDS, "fake", 0, "the PCRs have other values than at sealing");
    return RC_OK;
}

static enum rc satisfied(struct fake_session *s, struct fake_anchor *a, const uint8_t *blob,
                         size_t blob_len, bool low, struct err *err)
{
    struct tpm_lock lock;
    if (!fake_sealed_lock(blob, blob_len, &lock) || blob[4] != s->world->tpm->id)
        return FAIL(err, RC_HALT_SEEDS, "fake", 0, "this blob does not open here");
    if (lock.kind == TPM_LOCK_OWNER && low && s->world->tpm->owner_refuses)
        return FAIL(err, RC_REFUSED_CONFIG, "fake", 0, "the owner authorisation is wrong");
    return lock.kind == TPM_LOCK_AUTH ? RC_OK : window_lock(a, &lock, low, err);
}

static enum rc fake_sealed_check(void *tpm, void *anchor, const uint8_t *blob, size_t blob_len,
                                 struct err *err)
{
    struct fake_session *s = tpm;
    enum fake_fault fault = FAKE_NONE;
    enum rc rc = turn(s, FAKE_CHECK, &fault, err);
    if (rc == RC_OK)
        rc = satisfied(s, anchor, blob, blob_len, false, err);
    return rc == RC_OK ? ending(s, FAKE_CHECK, fault, err) : rc;
}

static enum rc fake_pcrs_read(void *tpm, struct tpm_pcrs *pcrs, struct err *err)
{
    struct fake_session *s = tpm;
    enum fake_fault fault = FAKE_NONE;
    if (pcrs->selection == 0)
        return RC_OK;
    enum rc rc = turn(s, FAKE_PCRS, &fault, err);
    if (rc != RC_OK)
        return rc;
    pcrs_now(s->world->tpm, pcrs);
    return ending(s, FAKE_PCRS, fault, err);
}

static enum rc fake_unseal(void *tpm, void *anchor, const uint8_t auth[32], const uint8_t *blob,
                           size_t blob_len, void *secret, size_t secret_len, struct err *err)
{
    struct fake_session *s = tpm;
    enum fake_fault fault = FAKE_NONE;
    memset(secret, 0, secret_len);
    enum rc rc = turn(s, FAKE_UNSEAL, &fault, err);
    if (rc == RC_OK)
        rc = satisfied(s, anchor, blob, blob_len, true, err);
    if (rc != RC_OK)
        return rc;
    uint8_t check[SHA256_LEN];
    sha256_2(check, "auth", 4, auth, 32);
    if (blob_len != BLOB_HEAD + secret_len || !ct_equal(blob + 8, check, sizeof(check)))
        return FAIL(err, RC_HALT_SEEDS, "fake", 0, "this blob does not open here");
    memcpy(secret, blob + BLOB_HEAD, secret_len);
    mask(auth, blob[4], secret, secret_len);
    rc = ending(s, FAKE_UNSEAL, fault, err);
    if (rc != RC_OK)
        memset(secret, 0, secret_len);
    return rc;
}

static enum rc fake_anchor_open(void **anchor, void *tpm, const struct anchor_pins *pins,
                                const uint8_t auth_secret[32], struct err *err)
{
    struct fake_session *s = tpm;
    enum fake_fault fault = FAKE_NONE;
    *anchor = NULL;
    enum rc rc = turn(s, FAKE_ANCHOR_OPEN, &fault, err);
    if (rc == RC_OK)
        rc = ending(s, FAKE_ANCHOR_OPEN, fault, err);
    if (rc != RC_OK)
        return rc;
    for (unsigned i = 0; i < FAKE_KEYS_MAX; i++) {
        const struct fake_nv *nv = &s->world->tpm->nv[i];
        if (!nv->defined || nv->handle != pins->w_handle)
            continue;
        if (!ct_equal(nv->auth, auth_secret, sizeof(nv->auth)))
            return FAIL(err, RC_HALT_CANARY, "fake", 0, "wrong authorisation");
        struct fake_anchor *a = calloc(1, sizeof(*a));
        MUST(a != NULL);
        *a = (struct fake_anchor){.session = s, .key = i};
        *anchor = a;
        return RC_OK;
    }
    return FAIL(err, RC_HALT_REGRESSION, "fake", 0, "there are no such counters");
}

static void fake_anchor_close(void **anchor)
{
    free(*anchor);
    *anchor = NULL;
}

static enum rc fake_read(void *anchor, struct anchor_state *state, struct err *err)
{
    struct fake_anchor *a = anchor;
    enum fake_fault fault = FAKE_NONE;
    *state = (struct anchor_state){0};
    enum rc rc = anchor_turn(a, FAKE_READ, &fault, err);
    if (rc == RC_OK)
        rc = anchor_ending(a, FAKE_READ, fault, err);
    if (rc != RC_OK)
        return rc;
    const struct fake_nv *nv = nv_of(a);
    state->w = nv->w;
    state->l = nv->l;
    state->a_valid = anchor_record_decode(&state->a, nv->a);
    return RC_OK;
}

static enum rc fake_write(void *anchor, const struct anchor_record *record, struct err *err)
{
    struct fake_anchor *a = anchor;
    enum fake_fault fault = FAKE_NONE;
    enum rc rc = anchor_turn(a, FAKE_WRITE, &fault, err);
    if (rc != RC_OK)
        return rc;
    anchor_record_encode(record, writing(a)->a);
    return anchor_ending(a, FAKE_WRITE, fault, err);
}

static enum rc step(struct fake_anchor *a, enum fake_command command, uint64_t expected,
                    struct err *err)
{
    enum fake_fault fault = FAKE_NONE;
    enum rc rc = anchor_turn(a, command, &fault, err);
    if (rc != RC_OK)
        return rc;
    struct fake_nv *nv = writing(a);
    uint64_t *counter = command == FAKE_STEP_W ? &nv->w : &nv->l;
    ++*counter;
    if (*counter != expected) {
        a->stopped = RC_HALT_CANARY;
        return FAIL(err, RC_HALT_CANARY, "fake", 0, "the counter has another value");
    }
    return anchor_ending(a, command, fault, err);
}

static enum rc fake_step_w(void *anchor, uint64_t expected, struct err *err)
{
    return step(anchor, FAKE_STEP_W, expected, err);
}

static enum rc fake_step_l(void *anchor, uint64_t expected, struct err *err)
{
    return step(anchor, FAKE_STEP_L, expected, err);
}

static void tell_time(const struct fake_world *f, struct tpm_time *time)
{
    *time = (struct tpm_time){.clock_ms = (uint64_t)((f->raw_ns + f->tpm_ns) / 1000000),
                              .reset_count = f->tpm->resets,
                              .safe = true};
}

static enum rc fake_prove(void *anchor, uint64_t expected_l, struct tpm_time *time, struct err *err)
{
    struct fake_anchor *a = anchor;
    enum fake_fault fault = FAKE_NONE;
    *time = (struct tpm_time){0};
    enum rc rc = anchor_turn(a, FAKE_PROVE, &fault, err);
    if (rc == RC_OK)
        rc = anchor_ending(a, FAKE_PROVE, fault, err);
    if (rc == RC_OK && nv_of(a)->l != expected_l)
        rc = a->stopped = FAIL(err, RC_HALT_CANARY, "fake", 0, "L is not what it should be");
    struct anchor_record record;
    if (rc == RC_OK && (!anchor_record_decode(&record, nv_of(a)->a) || record.w != nv_of(a)->w ||
                        record.l != nv_of(a)->l))
        a->session->world->tpm->unanchored++;
    if (rc == RC_OK)
        tell_time(a->session->world, time);
    return rc;
}

static enum rc fake_attest_keys(void *tpm, bool with_ek, struct attest_keys *keys, struct err *err)
{
    const struct fake_world *f = ((struct fake_session *)tpm)->world;
    *keys = (struct attest_keys){0};
    if (f->attests == NULL)
        return FAIL(err, RC_REFUSED_ATTEST, "fake", 0, "this TPM attests nothing");
    *keys = f->attest_keys;
    if (!with_ek)
        keys->ek = (struct attest_key){0};
    return RC_OK;
}

static enum rc fake_attest(void *anchor, const uint8_t ak_name[TPM_NAME_LEN],
                           const uint8_t digest[32], struct attest_evidence *evidence,
                           struct err *err)
{
    struct fake_anchor *a = anchor;
    const struct fake_world *f = a->session->world;
    *evidence = (struct attest_evidence){0};
    if (a->stopped != RC_OK)
        return FAIL(err, a->stopped, "fake", 0, "stopped");
    if (f->attests == NULL)
        return FAIL(err, RC_REFUSED_ATTEST, "fake", 0, "this TPM attests nothing");
    MUST(ct_equal(ak_name, f->attest_keys.ak.name, TPM_NAME_LEN));
    enum rc rc = f->attests(f->attests_ctx, nv_of(a), digest, evidence, err);
    if (rc_class(rc) == RC_CLASS_HALT)
        a->stopped = rc;
    return rc;
}

static enum rc fake_seal_op(void *tpm, const uint8_t auth[32], const struct tpm_lock *lock,
                            const void *secret, size_t secret_len, uint8_t *blob, size_t *blob_len,
                            struct err *err)
{
    struct fake_session *s = tpm;
    enum fake_fault fault = FAKE_NONE;
    *blob_len = 0;
    enum rc rc = turn(s, FAKE_SEAL, &fault, err);
    if (rc != RC_OK)
        return rc;
    fake_seal(s->world, auth, lock, secret, secret_len, blob, blob_len);
    return ending(s, FAKE_SEAL, fault, err);
}

/* Reads only, like a look at the list of handles, so it is no command that can fail of its own. */
static enum rc fake_choose(void *tpm, struct anchor_pins *pins, struct err *err)
{
    const struct fake_session *s = tpm;
    unsigned free_key = 0;
    *pins = (struct anchor_pins){0};
    if (s->dead != RC_OK)
        return FAIL(err, s->dead, "fake", 0, "the connection is dead");
    while (free_key < FAKE_KEYS_MAX && s->world->tpm->nv[free_key].defined)
        free_key++;
    if (free_key == FAKE_KEYS_MAX)
        return FAIL(err, RC_REFUSED_EXHAUSTED, "fake", 0, "no room for another key");
    pins->w_handle = HANDLE_FIRST + 3 * free_key;
    return RC_OK;
}

static enum rc fake_provision(void *tpm, const uint8_t auth_secret[32], int64_t floor_window,
                              struct anchor_pins *pins, struct err *err)
{
    struct fake_session *s = tpm;
    enum fake_fault fault = FAKE_NONE;
    uint32_t chosen = pins->w_handle;
    *pins = (struct anchor_pins){0};
    enum rc rc = turn(s, FAKE_PROVISION, &fault, err);
    if (rc != RC_OK)
        return rc;
    MUST(chosen >= HANDLE_FIRST);
    unsigned key = (chosen - HANDLE_FIRST) / 3;
    MUST(key < FAKE_KEYS_MAX);
    if (s->world->tpm->nv[key].defined)
        return FAIL(err, RC_HALT_ANCHOR, "fake", 0, "somebody has taken the handles");
    fake_tpm_define(s->world, key, floor_window, auth_secret, pins);
    return ending(s, FAKE_PROVISION, fault, err);
}

static enum rc fake_undefine(void *tpm, const struct anchor_pins *pins,
                             const uint8_t auth_secret[32], struct err *err)
{
    struct fake_session *s = tpm;
    enum fake_fault fault = FAKE_NONE;
    enum rc rc = turn(s, FAKE_UNDEFINE, &fault, err);
    if (rc != RC_OK)
        return rc;
    for (unsigned i = 0; i < FAKE_KEYS_MAX; i++) {
        struct fake_nv *nv = &s->world->tpm->nv[i];
        if (!nv->defined || nv->handle != pins->w_handle)
            continue;
        if (!ct_equal(nv->auth, auth_secret, sizeof(nv->auth)))
            return FAIL(err, RC_HALT_REGRESSION, "fake", 0, "the index is another key's");
        *nv = (struct fake_nv){0};
    }
    return ending(s, FAKE_UNDEFINE, fault, err);
}

static enum rc fake_read_time(void *tpm, struct tpm_time *time, struct err *err)
{
    (void)err;
    tell_time(((struct fake_session *)tpm)->world, time);
    return RC_OK;
}

static const struct tpm_ops fake_ops = {
    .open = fake_open,
    .close = fake_close,
    .identify = fake_identify,
    .unseal = fake_unseal,
    .sealed_check = fake_sealed_check,
    .sealed_lock = fake_sealed_lock,
    .anchor_open = fake_anchor_open,
    .anchor_close = fake_anchor_close,
    .read = fake_read,
    .write = fake_write,
    .step_w = fake_step_w,
    .step_l = fake_step_l,
    .prove = fake_prove,
    .attest_keys = fake_attest_keys,
    .attest = fake_attest,
    .seal = fake_seal_op,
    .pcrs_read = fake_pcrs_read,
    .choose = fake_choose,
    .provision = fake_provision,
    .undefine = fake_undefine,
    .read_time = fake_read_time,
};

/* Clock ---------------------------------------------------------------------------------------- */

static int64_t fake_real_ns(void *ctx)
{
    const struct fake_world *f = ctx;
    return f->now_ns;
}

static int64_t fake_raw_ns(void *ctx)
{
    const struct fake_world *f = ctx;
    return f->raw_ns;
}

static void forward(struct fake_world *f, int64_t ns)
{
    f->now_ns += ns;
    f->raw_ns += ns > 0 ? ns : 0;
}

static void fake_sleep_ms(void *ctx, uint32_t ms)
{
    struct fake_world *f = ctx;
    forward(f, (int64_t)ms * 1000000);
    f->slept_ms += ms;
}

static bool wrong(const struct fake_world *f, uint32_t reason)
{
    return (f->reasons & reason) != 0;
}

static void fake_clock_sample(void *ctx, struct clk_sample *sample)
{
    struct fake_world *f = ctx;
    f->readings++;
    if (f->change_at != 0 && f->readings == f->change_at) {
        forward(f, f->change_s * NS_PER_S);
        f->reasons = f->change_reasons;
    }
    *sample = (struct clk_sample){.mono_ns = f->raw_ns, .boot_ns = f->raw_ns + f->asleep_ns};
    sample->stepped = wrong(f, CLK_REASON(CLK_STEP));
    struct clk_evidence *e = &sample->evidence;
    e->real_ns = wrong(f, CLK_REASON(CLK_RANGE)) ? 0 : f->now_ns;
    e->raw_ns = f->raw_ns;
    e->replied = !wrong(f, CLK_REASON(CLK_NO_REPLY));
    e->tracking = (struct clk_tracking){.ref_id = UINT32_C(0xc0000201),
                                        .stratum = 2,
                                        .leap = wrong(f, CLK_REASON(CLK_LEAP3)) ? 3 : 0,
                                        .ref_time_ns = f->now_ns,
                                        .root_dispersion_s = (double)f->error_ns / 1e9};
    if (wrong(f, CLK_REASON(CLK_STALE)))
        e->tracking.ref_time_ns -= CLK_AGE_S_MAX * NS_PER_S + NS_PER_S;
}

void fake_clock_set(struct fake_world *f, int64_t now_s)
{
    forward(f, now_s * NS_PER_S - f->now_ns);
}

void fake_clock_step(struct fake_world *f, int64_t now_s)
{
    f->now_ns = now_s * NS_PER_S;
}

void fake_clock_change_at(struct fake_world *f, uint64_t n, int64_t seconds, uint32_t reasons)
{
    f->change_at = n == 0 ? 0 : f->readings + n;
    f->change_s = seconds;
    f->change_reasons = reasons;
}

/* Making --------------------------------------------------------------------------------------- */

void fake_world_make(struct fake_world *f, int64_t now_s)
{
    /* Nothing is remembered; tests let weeks go by. */
    static const struct tool_clock tool_clock = {
        .policy = {.max_error_ms = 250, .max_age_s = 512, .max_stratum = 4, .guard_ms = 2000},
        .tolerance = {
            .raw_ppm = 200, .max_forward_ms = 2000, .max_offline_s = INT64_C(10) * 366 * 86400}};
    *f = (struct fake_world){.now_ns = now_s * NS_PER_S, .error_ns = 10 * 1000000};
    f->tpm = mmap(NULL, sizeof(*f->tpm), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(f->tpm != MAP_FAILED);
    f->tpm->id = 1;
    f->tpm->identity =
        (struct tpm_identity){.manufacturer = "FAKE", .vendor = "in memory", .keeps_writes = true};
    f->tpm->identity.srk_name_len = TPM_NAME_LEN;
    memset(f->tpm->identity.srk_name, 0x5a, TPM_NAME_LEN);
    f->source = (struct time_source){
        .ctx = f, .real_ns = fake_real_ns, .raw_ns = fake_raw_ns, .sleep_ms = fake_sleep_ms};
    f->world = (struct world){.time = &f->source,
                              .tpm = &fake_ops,
                              .tpm_ctx = f,
                              .clock_sample = fake_clock_sample,
                              .clock_ctx = f,
                              .tool_clock = &tool_clock};
}

void fake_world_end(struct fake_world *f)
{
    if (f->tpm != NULL)
        (void)munmap(f->tpm, sizeof(*f->tpm));
    *f = (struct fake_world){0};
}

void fake_tpm_fail(struct fake_world *f, uint64_t n, enum fake_fault fault)
{
    f->tpm->commands = 0;
    f->tpm->fault_at = n;
    f->tpm->fault = fault;
}

void fake_tpm_reset(struct fake_world *f)
{
    f->tpm->session++;
    f->tpm->resets++;
}

void fake_tpm_lose_last(struct fake_world *f)
{
    memcpy(f->tpm->nv, f->tpm->before, sizeof(f->tpm->nv));
}

void fake_tpm_pcrs(const struct fake_world *f, struct tpm_pcrs *pcrs)
{
    pcrs_now(f->tpm, pcrs);
}

void fake_tpm_define(struct fake_world *f, unsigned key, int64_t floor_window,
                     const uint8_t auth[ANCHOR_AUTH_LEN], struct anchor_pins *pins)
{
    MUST(key < FAKE_KEYS_MAX);
    struct fake_nv *nv = &f->tpm->nv[key];
    MUST(!nv->defined);
    *nv = (struct fake_nv){
        .defined = true, .handle = HANDLE_FIRST + 3 * key, .w = W_FIRST, .l = L_FIRST};
    memcpy(nv->auth, auth, sizeof(nv->auth));
    *pins = (struct anchor_pins){.w_handle = nv->handle,
                                 .l_handle = nv->handle + 1,
                                 .a_handle = nv->handle + 2,
                                 .w_base = W_FIRST - floor_window,
                                 .w_first = W_FIRST,
                                 .l_first = L_FIRST};
    name_index(pins->w_name, pins->w_handle);
    name_index(pins->l_name, pins->l_handle);
    name_index(pins->a_name, pins->a_handle);
    memcpy(pins->srk_name, f->tpm->identity.srk_name, TPM_NAME_LEN);
}

void fake_tpm_set_a(struct fake_world *f, unsigned key, const struct anchor_record *a)
{
    anchor_record_encode(a, f->tpm->nv[key].a);
}

void fake_tpm_tear_a(struct fake_world *f, unsigned key)
{
    f->tpm->nv[key].a[50] ^= 1;
}

void fake_seal(const struct fake_world *f, const uint8_t auth[32], const struct tpm_lock *lock,
               const void *secret, size_t len, uint8_t blob[TPM_SEALED_MAX], size_t *blob_len)
{
    MUST(len <= TPM_SECRET_MAX);
    memset(blob, 0, TPM_SEALED_MAX);
    memcpy(blob, "FAKE", 4);
    blob[4] = f->tpm->id;
    blob[5] = (uint8_t)len;
    sha256_2(blob + 8, "auth", 4, auth, 32);
    if (lock != NULL) {
        tpm_lock_print(blob + BLOB_LOCK, lock);
        memcpy(blob + BLOB_NAME, lock->w_name, TPM_NAME_LEN);
    }
    memcpy(blob + BLOB_HEAD, secret, len);
    mask(auth, blob[4], blob + BLOB_HEAD, len);
    *blob_len = BLOB_HEAD + len;
}
