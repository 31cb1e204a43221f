#include "sim/tpm.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"

#define HANDLE_FIRST UINT32_C(0x01854d00)
/* "SIMT", id, length, 2 zeros, a mark of the authorisation, the lock, the Name of its W */
#define BLOB_LOCK 40
#define BLOB_NAME (BLOB_LOCK + TPM_LOCK_LEN)
#define BLOB_HEAD (BLOB_NAME + TPM_NAME_LEN)

/* One process' end of the session. */
struct session {
    struct tpm_port *port;
    uint64_t session, nonce;
    uint32_t reset_count;
    enum rc dead; /* the transport is gone: every later call fails */
};

struct sim_anchor {
    struct session *session;
    unsigned key;
    enum rc stopped;
};

const char *tpm_command_name(enum tpm_command command)
{
    static const char *const names[] = {"open",    "unseal", "anchor-open", "read",
                                        "write-a", "step-w", "step-l",      "prove",
                                        "seal",    "define", "undefine",    "check"};
    return names[command];
}

const char *tpm_fault_name(enum tpm_fault fault)
{
    static const char *const names[] = {"none",
                                        "busy",
                                        "refused",
                                        "no answer, not done",
                                        "no answer, but done",
                                        "no answer, done later",
                                        "power cut before it",
                                        "power cut behind it"};
    return names[fault];
}

/* Chips ---------------------------------------------------------------------------------------- */

void sim_tpm_make(struct sim_tpm *chip, uint32_t id)
{
    *chip = (struct sim_tpm){.id = id, .highest = 10 + id * 7, .next_handle = HANDLE_FIRST};
    chip->session = 1;
    sim_tpm_set_kind(chip, TPM_HARDWARE);
    chip->identity.srk_name_len = TPM_NAME_LEN;
    memset(chip->identity.srk_name, (int)(0x50 + id), TPM_NAME_LEN);
}

void sim_tpm_set_kind(struct sim_tpm *chip, enum tpm_kind kind)
{
    struct tpm_identity *id = &chip->identity;
    strcpy(id->manufacturer, kind == TPM_HARDWARE ? "IFX" : kind == TPM_FIRMWARE ? "AMD" : "IBM");
    strcpy(id->vendor, "simulated");
    id->is_virtual = kind == TPM_VIRTUAL;
    id->keeps_writes = kind == TPM_HARDWARE;
    id->counters_available = 8;
    chip->loses_writes = kind != TPM_HARDWARE;
}

/* Clock: writes itself down at least that often; what came after is lost at an unclean end. */
#define CLOCK_LOST_NS (INT64_C(4194304) * 1000000)
#define CLOCK_PPB 20000000

static int64_t clock_now(const struct sim_tpm *chip, int64_t now_ns)
{
    int64_t ran = chip->powered ? now_ns - chip->clock_since_ns : 0;
    return chip->clock_ns + ran + (int64_t)((__int128)ran * chip->clock_ppb / 1000000000);
}

static struct tpm_time time_now(const struct sim_tpm *chip, int64_t now_ns)
{
    int64_t clock_ns = clock_now(chip, now_ns);
    return (struct tpm_time){.clock_ms = (uint64_t)(clock_ns / 1000000),
                             .reset_count = chip->reset_count,
                             .restart_count = chip->restart_count,
                             .safe = clock_ns >= chip->clock_safe_ns};
}

void sim_tpm_power_off(struct sim_tpm *chip, int64_t now_ns, struct chance *chance)
{
    int64_t clock_ns = clock_now(chip, now_ns);
    int64_t ran_ns = clock_ns - chip->clock_ns;
    int64_t most = ran_ns < CLOCK_LOST_NS ? ran_ns : CLOCK_LOST_NS;
    chip->clock_ns = clock_ns;
    if (chip->powered && chance_percent(chance, 40)) {
        chip->clock_ns -= (int64_t)chance_below(chance, (uint64_t)most + 1);
        if (chip->clock_safe_ns < clock_ns)
            chip->clock_safe_ns = clock_ns;
    }
    chip->powered = false;
}

unsigned sim_tpm_power_on(struct sim_tpm *chip, int64_t now_ns, struct chance *chance)
{
    unsigned lost = 0;
    chip->powered = true;
    chip->clock_since_ns = now_ns;
    chip->clock_ppb = chance_between(chance, -CLOCK_PPB, CLOCK_PPB);
    if (chip->loses_writes && chip->undo_count > 0 && chance_percent(chance, 30)) {
        lost = 1 + (unsigned)chance_below(chance, chip->undo_count);
        memcpy(chip->nv, chip->undo[lost - 1], sizeof(chip->nv));
    }
    chip->undo_count = 0;
    chip->late.waits = false;
    chip->session++;
    chip->reset_count++;
    return lost;
}

/* A write is about to happen: remember what was before. */
static void remember(struct sim_tpm *chip)
{
    if (!chip->loses_writes)
        return;
    memmove(chip->undo[1], chip->undo[0], sizeof(chip->undo) - sizeof(chip->undo[0]));
    memcpy(chip->undo[0], chip->nv, sizeof(chip->nv));
    if (chip->undo_count < SIM_TPM_UNDO)
        chip->undo_count++;
}

static uint64_t *counter_of(struct sim_nv *nv, enum tpm_command command)
{
    return command == TPM_CMD_STEP_W ? &nv->w : &nv->l;
}

static void increment(struct sim_tpm *chip, unsigned key, enum tpm_command command)
{
    remember(chip);
    uint64_t *counter = counter_of(&chip->nv[key], command);
    ++*counter;
    if (*counter > chip->highest)
        chip->highest = *counter;
}

static void put_a(struct sim_tpm *chip, unsigned key, const uint8_t a[ANCHOR_RECORD_LEN])
{
    remember(chip);
    memcpy(chip->nv[key].a, a, ANCHOR_RECORD_LEN);
}

bool sim_tpm_land_late(struct sim_tpm *chip)
{
    if (!chip->late.waits)
        return false;
    chip->late.waits = false;
    if (chip->late.session != chip->session)
        return false; /* the next process has flushed its session */
    if (chip->late.command == TPM_CMD_WRITE)
        put_a(chip, chip->late.key, chip->late.a);
    else
        increment(chip, chip->late.key, chip->late.command);
    chip->nonce++;
    return true;
}

const struct sim_nv *sim_tpm_nv(const struct sim_tpm *chip, uint32_t w_handle)
{
    for (unsigned i = 0; chip != NULL && i < SIM_TPM_KEYS; i++)
        if (chip->nv[i].defined && chip->nv[i].handle == w_handle)
            return &chip->nv[i];
    return NULL;
}

/* Commands ------------------------------------------------------------------------------------- */

static enum tpm_fault take_fault(struct tpm_port *port)
{
    if (port->busy_for > 0) {
        port->busy_for--;
        return TPM_FAULT_BUSY;
    }
    if (port->fault_in == 0 || --port->fault_in != 0)
        return TPM_FAULT_NONE;
    return port->fault;
}

static enum rc broken(struct session *s, struct err *err, const char *why)
{
    s->dead = RC_HALT_ANCHOR;
    return FAIL(err, RC_HALT_ANCHOR, "sim", 0, "the TPM does not answer: %s", why);
}

/* What the chip itself says before it looks at the command. */
static enum rc chip_state(struct session *s, bool opening, struct err *err)
{
    struct tpm_port *port = s->port;
    struct sim_tpm *chip = port->chip;
    enum rc away = opening ? RC_RETRY_ANCHOR : RC_HALT_ANCHOR;
    if (chip == NULL || chip->dead || disk_is_off(port->power)) {
        s->dead = away;
        return FAIL(err, away, "sim", 0, "the TPM does not answer");
    }
    if (*port->now_ns < chip->lockout_until_ns)
        return FAIL(err, RC_RETRY_ANCHOR, "sim", 0, "the TPM is in lock-out");
    if (!opening && (s->session != chip->session || s->nonce != chip->nonce)) {
        s->dead = RC_HALT_CANARY;
        return FAIL(err, RC_HALT_CANARY, "sim", 0, "the session has moved");
    }
    return RC_OK;
}

/* Is it this command's turn? @return the code that the caller gives back, RC_OK to go on. */
static enum rc turn(struct session *s, enum tpm_command command, enum tpm_fault *fault,
                    struct err *err)
{
    struct tpm_port *port = s->port;
    *fault = TPM_FAULT_NONE;
    if (s->dead != RC_OK)
        return FAIL(err, s->dead, "sim", 0, "the connection is dead");
    enum rc rc = chip_state(s, command == TPM_CMD_OPEN, err);
    if (rc != RC_OK)
        return rc;
    port->chip->commands++;
    *fault = take_fault(port);
    if (port->hook != NULL)
        port->hook(port->hook_ctx, command, *fault);
    switch (*fault) {
    case TPM_FAULT_BUSY:
        return FAIL(err, RC_RETRY_ANCHOR, "sim", 0, "the TPM is busy");
    case TPM_FAULT_REFUSED:
        s->dead = RC_HALT_CANARY;
        return FAIL(err, RC_HALT_CANARY, "sim", 0, "the TPM refused");
    case TPM_FAULT_CUT_BEFORE:
        disk_off(port->power);
        return broken(s, err, "power");
    case TPM_FAULT_NO_ANSWER:
        return broken(s, err, "time-out");
    default:
        s->nonce = ++port->chip->nonce;
        return RC_OK;
    }
}

/* After the command took effect. */
static enum rc ending(struct session *s, enum tpm_fault fault, struct err *err)
{
    if (fault == TPM_FAULT_CUT_AFTER)
        disk_off(s->port->power);
    if (fault == TPM_FAULT_CUT_AFTER || fault == TPM_FAULT_DONE_SILENT || fault == TPM_FAULT_LATE)
        return broken(s, err, "time-out");
    return RC_OK;
}

/* Opening -------------------------------------------------------------------------------------- */

static enum rc sim_open(void *ctx, void **tpm, struct err *err)
{
    struct tpm_port *port = ctx;
    struct session *s = calloc(1, sizeof(*s));
    MUST(s != NULL);
    s->port = port;
    *tpm = NULL;
    enum tpm_fault fault = TPM_FAULT_NONE;
    enum rc rc = turn(s, TPM_CMD_OPEN, &fault, err);
    if (rc == RC_OK && port->chip->identity.srk_name_len == 0)
        rc = FAIL(err, RC_HALT_REGRESSION, "sim", 0, "no storage key of ours");
    if (rc == RC_OK) {
        /* Whatever an earlier process left open is flushed here. */
        s->session = ++port->chip->session;
        s->nonce = ++port->chip->nonce;
        s->reset_count = port->chip->reset_count;
        rc = ending(s, fault, err);
    }
    if (rc != RC_OK) {
        free(s);
        /* tpm_open() has nothing to lose: a TPM that is away is a reason to try again. */
        return rc_class(rc) == RC_CLASS_HALT && rc != RC_HALT_REGRESSION ? RC_RETRY_ANCHOR : rc;
    }
    *tpm = s;
    return RC_OK;
}

static void sim_close(void *ctx, void **tpm)
{
    (void)ctx;
    free(*tpm);
    *tpm = NULL;
}

static const struct tpm_identity *sim_identify(void *tpm)
{
    return &((struct session *)tpm)->port->chip->identity;
}

/* Sealing -------------------------------------------------------------------------------------- */

static void mask(uint32_t id, const uint8_t auth[32], uint8_t *data, size_t len)
{
    uint8_t key[SHA256_LEN];
    sha256_2(key, auth, 32, &id, sizeof(id));
    for (size_t i = 0; i < len; i++)
        data[i] ^= (uint8_t)(key[i % sizeof(key)] ^ i);
}

static enum rc sim_seal(void *tpm, const uint8_t auth[32], const struct tpm_lock *lock,
                        const void *secret, size_t secret_len, uint8_t *blob, size_t *blob_len,
                        struct err *err)
{
    struct session *s = tpm;
    enum tpm_fault fault = TPM_FAULT_NONE;
    *blob_len = 0;
    memset(blob, 0, TPM_SEALED_MAX);
    enum rc rc = turn(s, TPM_CMD_SEAL, &fault, err);
    if (rc != RC_OK)
        return rc;
    MUST(secret_len <= TPM_SECRET_MAX);
    uint32_t id = s->port->chip->id;
    memcpy(blob, "SIMT", 4);
    blob[4] = (uint8_t)id;
    blob[5] = (uint8_t)secret_len;
    sha256_2(blob + 8, "auth", 4, auth, 32);
    if (lock != NULL) {
        tpm_lock_print(blob + BLOB_LOCK, lock);
        memcpy(blob + BLOB_NAME, lock->w_name, TPM_NAME_LEN);
    }
    memcpy(blob + BLOB_HEAD, secret, secret_len);
    mask(id, auth, blob + BLOB_HEAD, secret_len);
    *blob_len = BLOB_HEAD + secret_len;
    return ending(s, fault, err);
}

static void name_w(uint8_t name[TPM_NAME_LEN], uint32_t handle)
{
    memset(name, 1, TPM_NAME_LEN);
    be_put32(name, handle);
}

static bool sim_sealed_lock(const uint8_t *blob, size_t blob_len, struct tpm_lock *lock)
{
    *lock = (struct tpm_lock){.kind = TPM_LOCK_AUTH};
    if (blob_len < BLOB_HEAD || memcmp(blob, "SIMT", 4) != 0)
        return false;
    if (blob[BLOB_LOCK] == TPM_LOCK_AUTH)
        return true;
    if (!tpm_lock_scan(lock, blob + BLOB_LOCK))
        return false;
    memcpy(lock->w_name, blob + BLOB_NAME, TPM_NAME_LEN);
    return true;
}

/* The bounds of W, with its value of now. @param[in] low  Look at the lower bound, too? */
static enum rc window_lock(const struct sim_anchor *a, const struct tpm_lock *lock, bool low,
                           struct err *err)
{
    uint8_t name[TPM_NAME_LEN];
    if (!tpm_lock_bound(lock))
        return RC_OK;
    if (a == NULL)
        return FAIL(err, RC_HALT_SEEDS, "sim", 0, "this blob is locked by a counter");
    const struct sim_nv *nv = &a->session->port->chip->nv[a->key];
    name_w(name, nv->handle);
    if (!ct_equal(name, lock->w_name, sizeof(name)))
        return FAIL(err, RC_HALT_SEEDS, "sim", 0, "this blob is locked by another counter");
    if (lock->bound_high && nv->w > lock->high)
        return FAIL(err, RC_HALT_SEEDS, "sim", (int64_t)nv->w,
                    "the TPM refuses: the window is closed");
    if (low && lock->bound_low && nv->w < lock->low)
        return FAIL(err, RC_HALT_SEEDS, "sim", (int64_t)nv->w,
                    "the TPM refuses: the window is not yet open");
    return RC_OK;
}

static enum rc satisfied(struct session *s, const struct sim_anchor *a, const uint8_t *blob,
                         size_t blob_len, bool low, struct err *err)
{
    struct tpm_lock lock;
    if (!sim_sealed_lock(blob, blob_len, &lock) || blob[4] != (uint8_t)s->port->chip->id)
        return FAIL(err, RC_HALT_SEEDS, "sim", 0, "this blob does not open here");
    return window_lock(a, &lock, low, err);
}

static enum rc sim_sealed_check(void *tpm, void *anchor, const uint8_t *blob, size_t blob_len,
                                struct err *err)
{
    struct session *s = tpm;
    enum tpm_fault fault = TPM_FAULT_NONE;
    enum rc rc = turn(s, TPM_CMD_CHECK, &fault, err);
    if (rc == RC_OK)
        rc = satisfied(s, anchor, blob, blob_len, false, err);
    return rc == RC_OK ? ending(s, fault, err) : rc;
}

/* The simulated machine has no PCRs. */
static enum rc sim_pcrs_read(void *tpm, struct tpm_pcrs *pcrs, struct err *err)
{
    (void)tpm;
    if (pcrs->selection == 0)
        return RC_OK;
    return FAIL(err, RC_REFUSED_CONFIG, "sim", 0, "the TPM has no such PCRs");
}

static enum rc sim_unseal(void *tpm, void *anchor, const uint8_t auth[32], const uint8_t *blob,
                          size_t blob_len, void *secret, size_t secret_len, struct err *err)
{
    struct session *s = tpm;
    enum tpm_fault fault = TPM_FAULT_NONE;
    memset(secret, 0, secret_len);
    enum rc rc = turn(s, TPM_CMD_UNSEAL, &fault, err);
    if (rc == RC_OK)
        rc = satisfied(s, anchor, blob, blob_len, true, err);
    if (rc != RC_OK)
        return rc;
    uint8_t check[SHA256_LEN];
    sha256_2(check, "auth", 4, auth, 32);
    uint32_t id = s->port->chip->id;
    if (blob_len != BLOB_HEAD + secret_len || !ct_equal(blob + 8, check, sizeof(check)))
        return FAIL(err, RC_HALT_SEEDS, "sim", 0, "this blob does not open here");
    rc = ending(s, fault, err);
    if (rc != RC_OK)
        return rc;
    memcpy(secret, blob + BLOB_HEAD, secret_len);
    mask(id, auth, secret, secret_len);
    return RC_OK;
}

/* Counters and record -------------------------------------------------------------------------- */

static enum rc sim_anchor_open(void **anchor, void *tpm, const struct anchor_pins *pins,
                               const uint8_t auth_secret[32], struct err *err)
{
    struct session *s = tpm;
    enum tpm_fault fault = TPM_FAULT_NONE;
    *anchor = NULL;
    enum rc rc = turn(s, TPM_CMD_ANCHOR_OPEN, &fault, err);
    if (rc == RC_OK)
        rc = ending(s, fault, err);
    if (rc != RC_OK)
        return rc;
    const struct sim_nv *nv = sim_tpm_nv(s->port->chip, pins->w_handle);
    if (nv == NULL)
        return FAIL(err, RC_HALT_REGRESSION, "sim", 0, "there are no such counters");
    if (!ct_equal(nv->auth, auth_secret, sizeof(nv->auth)))
        return FAIL(err, RC_HALT_REGRESSION, "sim", 0, "the counters are another key's");
    struct sim_anchor *a = calloc(1, sizeof(*a));
    MUST(a != NULL);
    *a = (struct sim_anchor){.session = s, .key = (unsigned)(nv - s->port->chip->nv)};
    *anchor = a;
    return RC_OK;
}

static void sim_anchor_close(void **anchor)
{
    free(*anchor);
    *anchor = NULL;
}

static enum rc anchor_turn(struct sim_anchor *a, enum tpm_command command, enum tpm_fault *fault,
                           struct err *err)
{
    if (a->stopped != RC_OK)
        return FAIL(err, a->stopped, "sim", 0, "stopped");
    enum rc rc = turn(a->session, command, fault, err);
    if (rc_class(rc) == RC_CLASS_HALT)
        a->stopped = rc;
    return rc;
}

static enum rc anchor_ending(struct sim_anchor *a, enum tpm_fault fault, struct err *err)
{
    enum rc rc = ending(a->session, fault, err);
    if (rc != RC_OK)
        a->stopped = rc;
    return rc;
}

static struct sim_tpm *chip_of(struct sim_anchor *a)
{
    return a->session->port->chip;
}

static enum rc sim_read(void *anchor, struct anchor_state *state, struct err *err)
{
    struct sim_anchor *a = anchor;
    enum tpm_fault fault = TPM_FAULT_NONE;
    *state = (struct anchor_state){0};
    enum rc rc = anchor_turn(a, TPM_CMD_READ, &fault, err);
    if (rc == RC_OK)
        rc = anchor_ending(a, fault, err);
    if (rc != RC_OK)
        return rc;
    const struct sim_nv *nv = &chip_of(a)->nv[a->key];
    state->w = nv->w;
    state->l = nv->l;
    state->a_valid = anchor_record_decode(&state->a, nv->a);
    return RC_OK;
}

/* Keep a command whose answer is given up for later. */
static bool postpone(struct sim_anchor *a, enum tpm_fault fault, enum tpm_command command,
                     const uint8_t *record)
{
    struct sim_tpm *chip = chip_of(a);
    if (fault != TPM_FAULT_LATE)
        return false;
    chip->late.waits = true;
    chip->late.command = command;
    chip->late.key = a->key;
    chip->late.session = chip->session;
    if (record != NULL)
        memcpy(chip->late.a, record, ANCHOR_RECORD_LEN);
    return true;
}

static enum rc sim_write(void *anchor, const struct anchor_record *record, struct err *err)
{
    struct sim_anchor *a = anchor;
    enum tpm_fault fault = TPM_FAULT_NONE;
    enum rc rc = anchor_turn(a, TPM_CMD_WRITE, &fault, err);
    if (rc != RC_OK)
        return rc;
    uint8_t bytes[ANCHOR_RECORD_LEN];
    anchor_record_encode(record, bytes);
    if (!postpone(a, fault, TPM_CMD_WRITE, bytes))
        put_a(chip_of(a), a->key, bytes);
    return anchor_ending(a, fault, err);
}

static enum rc step(struct sim_anchor *a, enum tpm_command command, uint64_t expected,
                    struct err *err)
{
    enum tpm_fault fault = TPM_FAULT_NONE;
    enum rc rc = anchor_turn(a, command, &fault, err);
    if (rc != RC_OK)
        return rc;
    if (!postpone(a, fault, command, NULL))
        increment(chip_of(a), a->key, command);
    rc = anchor_ending(a, fault, err);
    if (rc == RC_OK && *counter_of(&chip_of(a)->nv[a->key], command) != expected)
        rc = a->stopped = FAIL(err, RC_HALT_CANARY, "sim", 0, "the counter has another value");
    return rc;
}

static enum rc sim_step_w(void *anchor, uint64_t expected, struct err *err)
{
    return step(anchor, TPM_CMD_STEP_W, expected, err);
}

static enum rc sim_step_l(void *anchor, uint64_t expected, struct err *err)
{
    return step(anchor, TPM_CMD_STEP_L, expected, err);
}

static enum rc sim_prove(void *anchor, uint64_t expected_l, struct tpm_time *time, struct err *err)
{
    struct sim_anchor *a = anchor;
    enum tpm_fault fault = TPM_FAULT_NONE;
    *time = (struct tpm_time){0};
    enum rc rc = anchor_turn(a, TPM_CMD_PROVE, &fault, err);
    if (rc == RC_OK)
        rc = anchor_ending(a, fault, err);
    if (rc != RC_OK)
        return rc;
    struct sim_tpm *chip = chip_of(a);
    *time = time_now(chip, *a->session->port->now_ns);
    if (chip->nv[a->key].l != expected_l)
        return a->stopped = FAIL(err, RC_HALT_CANARY, "sim", 0, "L is not what it should be");
    if (chip->reset_count != a->session->reset_count)
        return a->stopped = FAIL(err, RC_HALT_CANARY, "sim", 0, "the TPM was reset");
    return RC_OK;
}

/* Anybody may ask, without a session; what goes wrong with a chip goes wrong elsewhere. */
static enum rc sim_read_time(void *tpm, struct tpm_time *time, struct err *err)
{
    const struct session *s = tpm;
    *time = (struct tpm_time){0};
    if (s->port->chip == NULL || s->port->chip->dead || disk_is_off(s->port->power))
        return FAIL(err, RC_RETRY_ANCHOR, "sim", 0, "nobody answers");
    *time = time_now(s->port->chip, *s->port->now_ns);
    return RC_OK;
}

/* Making and removing -------------------------------------------------------------------------- */

static void define(struct sim_tpm *chip, struct sim_nv *nv, const uint8_t auth[32],
                   int64_t floor_window, struct anchor_pins *pins)
{
    remember(chip);
    uint64_t first = ++chip->highest;
    *nv = (struct sim_nv){.defined = true, .handle = pins->w_handle, .w = first, .l = first};
    chip->next_handle = nv->handle + 3;
    memcpy(nv->auth, auth, sizeof(nv->auth));
    *pins = (struct anchor_pins){.w_handle = nv->handle,
                                 .l_handle = nv->handle + 1,
                                 .a_handle = nv->handle + 2,
                                 .w_base = (int64_t)first - floor_window,
                                 .w_first = first,
                                 .l_first = first};
    name_w(pins->w_name, nv->handle);
    memset(pins->l_name, 2, sizeof(pins->l_name));
    memset(pins->a_name, 3, sizeof(pins->a_name));
    memcpy(pins->srk_name, chip->identity.srk_name, TPM_NAME_LEN);
}

/* A handle that was never used before; a look at the list changes nothing and cannot be lost. */
static enum rc sim_choose(void *tpm, struct anchor_pins *pins, struct err *err)
{
    const struct session *s = tpm;
    *pins = (struct anchor_pins){.w_handle = s->port->chip->next_handle};
    (void)err;
    return RC_OK;
}

static enum rc sim_provision(void *tpm, const uint8_t auth_secret[32], int64_t floor_window,
                             struct anchor_pins *pins, struct err *err)
{
    struct session *s = tpm;
    enum tpm_fault fault = TPM_FAULT_NONE;
    enum rc rc = turn(s, TPM_CMD_PROVISION, &fault, err);
    if (rc != RC_OK)
        return rc;
    for (unsigned i = 0; i < SIM_TPM_KEYS; i++) {
        struct sim_nv *nv = &s->port->chip->nv[i];
        if (nv->defined)
            continue;
        define(s->port->chip, nv, auth_secret, floor_window, pins);
        return ending(s, fault, err);
    }
    return FAIL(err, RC_REFUSED_EXHAUSTED, "sim", 0, "no room for another key");
}

static enum rc sim_undefine(void *tpm, const struct anchor_pins *pins,
                            const uint8_t auth_secret[32], struct err *err)
{
    struct session *s = tpm;
    enum tpm_fault fault = TPM_FAULT_NONE;
    enum rc rc = turn(s, TPM_CMD_UNDEFINE, &fault, err);
    if (rc != RC_OK)
        return rc;
    for (unsigned i = 0; i < SIM_TPM_KEYS; i++) {
        struct sim_nv *nv = &s->port->chip->nv[i];
        if (!nv->defined || nv->handle != pins->w_handle)
            continue;
        if (!ct_equal(nv->auth, auth_secret, sizeof(nv->auth)))
            return FAIL(err, RC_HALT_REGRESSION, "sim", 0, "the index is another key's");
        remember(s->port->chip);
        *nv = (struct sim_nv){0};
    }
    return ending(s, fault, err);
}

/* Attestations change nothing that the simulator looks at, and its TPM has no keys for them. */
static enum rc sim_attest_keys(void *tpm, bool with_ek, struct attest_keys *keys, struct err *err)
{
    (void)tpm;
    (void)with_ek;
    *keys = (struct attest_keys){0};
    return FAIL(err, RC_REFUSED_ATTEST, "sim", 0, "this TPM attests nothing");
}

static enum rc sim_attest(void *anchor, const uint8_t ak_name[TPM_NAME_LEN],
                          const uint8_t digest[32], struct attest_evidence *evidence,
                          struct err *err)
{
    (void)anchor;
    (void)ak_name;
    (void)digest;
    *evidence = (struct attest_evidence){0};
    return FAIL(err, RC_REFUSED_ATTEST, "sim", 0, "this TPM attests nothing");
}

const struct tpm_ops sim_tpm_ops = {
    .open = sim_open,
    .close = sim_close,
    .identify = sim_identify,
    .unseal = sim_unseal,
    .sealed_check = sim_sealed_check,
    .sealed_lock = sim_sealed_lock,
    .anchor_open = sim_anchor_open,
    .anchor_close = sim_anchor_close,
    .read = sim_read,
    .write = sim_write,
    .step_w = sim_step_w,
    .step_l = sim_step_l,
    .prove = sim_prove,
    .attest_keys = sim_attest_keys,
    .attest = sim_attest,
    .seal = sim_seal,
    .pcrs_read = sim_pcrs_read,
    .choose = sim_choose,
    .provision = sim_provision,
    .undefine = sim_undefine,
    .read_time = sim_read_time,
};
