#include "sim/checks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digest.h"
#include "hbs/verify.h"
#include "sim/doors.h"

#define FULL_CHECK_ONE_IN 64
#define DATABASE "ledger.db"
#define WAL "ledger.db-wal"

/* What the counters said after the last start, to see what an end cost. */
static struct {
    bool known;
    uint64_t l, l_base, w;
    uint64_t computed;
    uint64_t unsettled; /* starts since then that could not settle what the end before them left */
} books[MACHINES_MAX][ORACLE_KEYS_MAX];
/* Computed, or reserved for a remote hash: what a start burns of these is no lease given up. */
static uint64_t computed_now[MACHINES_MAX][ORACLE_KEYS_MAX];

static struct oracle *oracle(void)
{
    return &sim->oracle;
}

/* What is in the WAL counts from there; without one, the database must hold it. */
static bool ledger_is_durable(const struct machine *m)
{
    return disk_is_durable(m->disk, disk_size_of(m->disk, WAL) > 0 ? WAL : DATABASE);
}

static const struct sim_nv *nv_of(const struct machine *m, const struct oracle_key *key)
{
    if (!key->on[m->number].provisioned)
        return NULL;
    return sim_tpm_nv(m->port.chip, key->on[m->number].w_handle);
}

static int64_t floor_of(const struct machine *m, const struct oracle_key *key)
{
    const struct sim_nv *nv = nv_of(m, key);
    return nv == NULL ? -1 : (int64_t)nv->w - key->on[m->number].w_base;
}

/* What is durable ------------------------------------------------------------------------------ */

/* The ledger that a power cut would leave that drops everything unsynced. */
struct left {
    struct disk *disk;
    struct vfs *vfs;
    struct ledger *ledger;
    struct ledger_key record;
};

static enum rc left_open(struct left *l, const struct machine *m, const struct oracle_key *key,
                         struct err *err)
{
    *l = (struct left){.disk = disk_copy(m->disk, true)};
    l->vfs = vfs_open("sim-left", l->disk, chance_make(1, 1));
    struct ledger_options options = {.path = "/" DATABASE, .vfs = "sim-left"};
    enum rc rc = ledger_open(&l->ledger, &options, err);
    return rc == RC_OK ? ledger_key_by_name(l->ledger, key->plan.key, &l->record, err) : rc;
}

static void left_close(struct left *l)
{
    ledger_close(&l->ledger);
    vfs_close(&l->vfs);
    disk_free(&l->disk);
    sim->counts.durable_checks++;
}

/* Would a power cut leave the receipt? */
static void check_receipt_survives(struct machine *m, const struct oracle_key *key, uint64_t index,
                                   const uint8_t *signature, size_t len)
{
    static uint8_t stored[LEDGER_SIGNATURE_MAX];
    struct left left;
    struct ledger_receipt receipt = {0};
    struct err err = {0};
    enum rc rc = left_open(&left, m, key, &err);
    if (rc == RC_OK)
        rc = ledger_receipt_by_index(left.ledger, left.record.id, index, &receipt, stored, &err);
    if (rc != RC_OK || receipt.signature_len != len || memcmp(stored, signature, len) != 0)
        oracle_break(oracle(), "I2",
                     "%s: the signature of index %" PRIu64 " of %s has left, and a power cut now "
                     "would forget it (%s)",
                     m->name, index, key->plan.key, rc == RC_OK ? "other bytes" : err_text(&err));
    left_close(&left);
}

/* Would it leave the reservation for a remote hash? */
static void check_prefix_survives(struct machine *m, const struct oracle_key *key, uint64_t index,
                                  const uint8_t commitment[SHA256_LEN])
{
    struct left left;
    struct ledger_reservation r = {0};
    struct err err = {0};
    enum rc rc = left_open(&left, m, key, &err);
    if (rc == RC_OK)
        rc = ledger_reservation_by_index(left.ledger, left.record.id, index, &r, &err);
    if (rc != RC_OK || memcmp(r.artifact_sha256, commitment, SHA256_LEN) != 0)
        oracle_break(oracle(), "I2",
                     "%s: the prefix of index %" PRIu64 " of %s has left, and a power cut now "
                     "would forget for which artifact (%s)",
                     m->name, index, key->plan.key, rc == RC_OK ? "another one" : err_text(&err));
    left_close(&left);
}

/* Behind a start no reservation of an earlier process may be open. */
static void check_all_ended(struct machine *m, const struct oracle_key *key)
{
    struct left left;
    struct ledger_reservation r = {0};
    struct err err = {0};
    enum rc rc = left_open(&left, m, key, &err);
    while (rc == RC_OK) {
        rc = ledger_next_open_reservation(left.ledger, left.record.id, r.seq, &r, &err);
        if (rc == RC_OK && key->index[r.index % ORACLE_INDICES].reserved.process != m->process)
            oracle_break(oracle(), "I9",
                         "%s: index %" PRIu64 " of %s was reserved by an earlier process, and a "
                         "start has not burned it",
                         m->name, r.index, key->plan.key);
    }
    left_close(&left);
}

/* Would it leave the lease or the intent? */
static void check_reservation_survives(struct machine *m, const struct oracle_key *key,
                                       uint64_t index)
{
    struct left left;
    struct ledger_lease lease;
    struct ledger_intent intent;
    struct err err = {0};
    enum rc rc = left_open(&left, m, key, &err);
    if (rc == RC_OK && key->plan.kind == PLAN_VERSION)
        rc = ledger_intent_by_index(left.ledger, left.record.id, index, &intent, &err);
    else if (rc == RC_OK)
        rc = ledger_lease_of_index(left.ledger, left.record.id, index, &lease, &err);
    if (rc != RC_OK)
        oracle_break(oracle(), "I2",
                     "%s: index %" PRIu64 " of %s is computed, and a power cut now would forget "
                     "that it was reserved (%s)",
                     m->name, index, key->plan.key, err_text(&err));
    left_close(&left);
}

/* Computing ------------------------------------------------------------------------------------ */

static void check_anchor(const struct machine *m, const struct oracle_key *key, uint64_t index,
                         uint64_t epoch)
{
    const struct sim_nv *nv = nv_of(m, key);
    const char *name = key->plan.key;
    if (nv == NULL) {
        oracle_break(oracle(), "I3", "%s: %s signs where no TPM holds its counters", m->name, name);
        return;
    }
    struct anchor_record a;
    if (!anchor_record_decode(&a, nv->a) || a.w != nv->w || a.l != nv->l)
        oracle_break(oracle(), "I2",
                     "%s: %s signs index %" PRIu64 " while A does not say what W "
                     "and L say",
                     m->name, name, index);
    /* A remote hash is signed by the lease of its reservation, and others may have come since. */
    const struct oracle_index *at = &key->index[index % ORACLE_INDICES];
    bool remote = at->reserved.known && at->reserved.process == m->process;
    if (epoch > nv->l || epoch != (remote ? at->reserved.epoch : nv->l))
        oracle_break(oracle(), "I2",
                     "%s: %s signs index %" PRIu64 " under epoch %" PRIu64 " but L is %" PRIu64,
                     m->name, name, index, epoch, nv->l);
}

/* A process that was put aside may hold what is old: on a hardware TPM it has to end, on a virtual
 * one the windows that had begun before stay closed. */
static bool was_put_aside(const struct machine *m, int64_t start_ns)
{
    /* The TPM has just told its time, with the proof: at any moment between question and answer. */
    if (m->truth.aside_ns == 0 || m->truth.aside_more_ns <= 2 * m->loop.clock.tpm.off_ns)
        return false;
    if (!m->port.chip->identity.is_virtual)
        return true;
    return m->truth.base_honest && start_ns < m->truth.aside_ns;
}

/* A window may end between the first look at the clock and this; the second look burns the index.
 * So what is found here is a fault only when the signature leaves. */
static void check_time(struct machine *m, struct oracle_key *key, uint64_t window,
                       struct oracle_index *at)
{
    at->in_window = true;
    at->too_far = at->put_aside = false;
    if (key->plan.kind != PLAN_TIME)
        return;
    int64_t start_s = 0;
    int64_t end_s = 0;
    plan_window_times(&key->plan, window, &start_s, &end_s);
    truth_observe(m);
    at->put_aside = was_put_aside(m, start_s * NS_PER_S);
    bool early = (key->early >> window & 1) != 0;
    at->too_far = !early && !truth_allows(m, start_s * NS_PER_S);
    at->in_window = oracle_window_open(key, window, sim->now_ns);
    if (at->in_window || m->truth.base_honest)
        return;
    key->excuses |= EXCUSE_LIE;
    at->in_window = true;
    SAY("%s signs for %s in window %" PRIu64 ", which is not open, because its time source lies",
        m->name, key->plan.key, window);
}

static void check_window(struct machine *m, struct oracle_key *key, uint64_t index)
{
    int64_t window = (int64_t)(index / key->plan.window_size);
    int64_t floor = floor_of(m, key);
    bool older_line = key->plan.kind == PLAN_VERSION && key->plan.order == PLAN_PER_LINE;
    if (window > floor || (window < floor && !older_line))
        oracle_break(oracle(), "I6", "%s: %s signs in window %" PRId64 " but W stands at %" PRId64,
                     m->name, key->plan.key, window, floor);
    check_time(m, key, (uint64_t)window, &key->index[index % ORACLE_INDICES]);
}

/* Of an index that was told: only the process that told it, and only in time. Whether a hash is in
 * time is decided at the beginning of its batch. */
static void check_still_reserved(struct machine *m, const struct oracle_key *key, uint64_t index)
{
    const struct oracle_index *at = &key->index[index % ORACLE_INDICES];
    if (!at->told.known)
        return;
    if (at->told.process != m->process)
        oracle_break_key(oracle(), key, "Remote",
                         "%s: index %" PRIu64 " of %s is signed by a process that has not told its "
                         "prefix",
                         m->name, index, key->plan.key);
    else if (m->turn_raw_ns >= at->told.expires_ns)
        oracle_break_key(oracle(), key, "Remote",
                         "%s: index %" PRIu64 " of %s is signed though its reservation expired",
                         m->name, index, key->plan.key);
}

/* Is this index in the books of this machine already? */
static bool is_counted(const struct machine *m, const struct oracle_index *at)
{
    return (at->computed && at->machine == m->number && at->lineage == m->lineage) ||
           (at->reserved.known && at->reserved.machine == m->number &&
            at->reserved.lineage == m->lineage);
}

/* A reservation is written into a ledger; whether its commit will succeed is not known yet. */
static void reserving(const struct ledger_reservation *r)
{
    struct machine *m = machine_current;
    uint8_t number[8];
    uint8_t id[SHA256_LEN];
    be_put64(number, r->index);
    for (size_t k = 0; k < oracle()->key_count; k++) {
        struct oracle_key *key = &oracle()->keys[k];
        sha256_2(id, key->key_id, KEY_ID_LEN, number, sizeof(number));
        if (memcmp(id, r->id, 8) != 0 || r->index >= ORACLE_INDICES)
            continue;
        struct oracle_index *at = &key->index[r->index];
        const struct sim_nv *nv = nv_of(m, key);
        EVENT(31, r->index);
        computed_now[m->number][k] += !is_counted(m, at);
        at->reserved.known = true;
        at->reserved.machine = (uint8_t)m->number;
        at->reserved.lineage = m->lineage;
        at->reserved.process = m->process;
        at->reserved.epoch = r->epoch;
        at->reserved.w = nv != NULL ? nv->w : 0;
    }
}

static bool is_zero(const uint8_t *value, size_t len)
{
    uint8_t all = 0;
    for (size_t i = 0; i < len; i++)
        all |= value[i];
    return all == 0;
}

static void signing(const uint8_t key_id[KEY_ID_LEN], uint64_t index, uint64_t epoch,
                    const uint8_t *value, size_t len)
{
    struct machine *m = machine_current;
    struct oracle_key *key = oracle_key_by_id(oracle(), key_id);
    if (key == NULL) {
        oracle_break(oracle(), "I1", "%s signs for a key that nobody made", m->name);
        return;
    }
    if (disk_is_off(m->disk))
        return; /* the machine stands still; nothing of this ever happens */
    EVENT(30, index);
    trace_detail(&sim->trace, "%s computes index %" PRIu64 " of %s", m->name, index, key->plan.key);
    check_anchor(m, key, index, epoch);
    check_window(m, key, index);
    check_still_reserved(m, key, index);
    if (is_zero(value, len))
        oracle_break(oracle(), "I1", "%s: index %" PRIu64 " of %s signs zeros, which is no hash",
                     m->name, index, key->plan.key);
    /* A disk with nothing unsynced needs no closer look, but now and then it gets one. */
    if (!ledger_is_durable(m) || chance_one_in(&sim->chance, FULL_CHECK_ONE_IN))
        check_reservation_survives(m, key, index);
    computed_now[m->number][key - oracle()->keys] +=
        !is_counted(m, &key->index[index % ORACLE_INDICES]);
    oracle_computed(oracle(), key, index, value, len);
    key->index[index % ORACLE_INDICES].machine = (uint8_t)m->number;
    key->index[index % ORACLE_INDICES].lineage = m->lineage;
}

void checks_begin(void)
{
    doors_set_signing(signing);
    doors_set_reserving(reserving);
    memset(books, 0, sizeof(books));
    memset(computed_now, 0, sizeof(computed_now));
}

/* Releases ------------------------------------------------------------------------------------- */

size_t artifact_text(uint16_t number, char out[40])
{
    return (size_t)snprintf(out, 40, "artifact %u", number);
}

uint16_t artifact_other(uint16_t number)
{
    return (uint16_t)(number ^ 0x8000U);
}

static bool verifies(const struct oracle_key *key, uint16_t artifact, const uint8_t *signature,
                     size_t len, uint64_t *index)
{
    struct hss_public public;
    struct hss_signature parsed;
    struct err err = {0};
    char text[40];
    size_t text_len = artifact_text(artifact, text);
    uint8_t digest[DIGEST_LEN_MAX];
    const void *message = text;
    if (key->plan.message != PLAN_RAW) {
        digest_buffer(DIGEST_SHA256, digest, text, text_len);
        message = digest;
        text_len = SHA256_LEN;
    }
    if (hss_public_parse(&public, key->public_key, key->public_key_len, &err) != RC_OK ||
        hss_signature_parse(&parsed, &public, signature, len, &err) != RC_OK)
        return false;
    *index = parsed.index;
    return hss_verify(&public, message, text_len, signature, len, &err) == RC_OK;
}

/* What a stored signature of a remote hash signs is known to its client alone. */
static bool verifies_other(const struct oracle_key *key, uint16_t artifact, bool exactly,
                           const uint8_t *signature, size_t len, uint64_t *index)
{
    if (exactly || *index >= ORACLE_INDICES || !key->index[*index].told.known)
        return false;
    return verifies(key, artifact_other(artifact), signature, len, index);
}

uint64_t check_release(struct machine *m, const struct wish *wish, bool exactly,
                       const uint8_t *signature, size_t len)
{
    struct oracle_key *key = &oracle()->keys[wish->key];
    uint64_t index = ORACLE_INDICES;
    if ((!verifies(key, wish->artifact, signature, len, &index) &&
         !verifies_other(key, wish->artifact, exactly, signature, len, &index)) ||
        index >= ORACLE_INDICES) {
        /* Where a machine was put back with its TPM, one index was told for two artifacts, and its
         * clients bring the hash of either. */
        if (!exactly && key->excuses != 0 && index < ORACLE_INDICES &&
            key->index[index].told.known) {
            oracle()->excused |= key->excuses;
            return UINT64_MAX;
        }
        oracle_break(oracle(), "I10", "%s: a signature for %s left that does not verify", m->name,
                     key->plan.key);
        return UINT64_MAX;
    }
    struct oracle_index *at = &key->index[index];
    uint8_t hash[SHA256_LEN];
    digest_buffer(DIGEST_SHA256, hash, signature, len);
    if (!at->computed)
        oracle_break(oracle(), "I1", "%s: index %" PRIu64 " of %s left and was never computed",
                     m->name, index, key->plan.key);
    if (!at->released && at->too_far)
        oracle_break(oracle(), "Forward",
                     "%s: index %" PRIu64 " of %s left, signed further ahead than was proven",
                     m->name, index, key->plan.key);
    if (!at->released && at->put_aside)
        oracle_break(oracle(), "Disrupted",
                     "%s: index %" PRIu64
                     " of %s left, signed by a process that had been put aside",
                     m->name, index, key->plan.key);
    if (!at->released && !at->in_window)
        oracle_break(oracle(), "I5", "%s: index %" PRIu64 " of %s left, signed outside its window",
                     m->name, index, key->plan.key);
    if (at->released && memcmp(at->signature_sha256, hash, sizeof(hash)) != 0) {
        if (key->excuses == 0)
            oracle_break(oracle(), "NoReuse", "%s: two signatures of index %" PRIu64 " of %s left",
                         m->name, index, key->plan.key);
        oracle()->excused |= key->excuses;
    }
    if (!ledger_is_durable(m) || chance_one_in(&sim->chance, FULL_CHECK_ONE_IN))
        check_receipt_survives(m, key, index, signature, len);
    sim->counts.released += !at->released;
    at->released = true;
    at->released_by = (uint8_t)m->number;
    at->released_in = m->lineage;
    memcpy(at->signature_sha256, hash, sizeof(hash));
    return index;
}

/* Prefixes ------------------------------------------------------------------------------------- */

/* What left once may leave again to the same client, as a stored signature may, but not behind the
 * signature: not from a memory image that knows nothing of that either.
 * @return why the prefix of an index should not have left now, or NULL. */
static const char *wrongly_told(const struct machine *m, const struct oracle_index *at,
                                const uint8_t commitment[SHA256_LEN],
                                const uint8_t prefix[SHA256_LEN])
{
    if (!at->reserved.known || at->reserved.process != m->process)
        return "this process has not reserved it";
    if (at->computed)
        return "it has been signed";
    if (!at->told.known)
        return NULL;
    if (memcmp(at->told.artifact_sha256, commitment, SHA256_LEN) != 0)
        return "it was given to another artifact";
    if (at->told.process != m->process)
        return "another process has told it";
    if (memcmp(at->told.prefix_sha256, prefix, SHA256_LEN) != 0)
        return "another prefix was told";
    return m->turn_raw_ns >= at->told.expires_ns ? "its reservation expired" : NULL;
}

bool check_told(struct machine *m, const struct wish *wish, const struct reply *reply,
                const uint8_t *prefix, size_t len)
{
    struct oracle_key *key = &oracle()->keys[wish->key];
    uint64_t index = reply->signature.index;
    char text[40];
    uint8_t commitment[SHA256_LEN];
    uint8_t hash[SHA256_LEN];
    if (index >= ORACLE_INDICES || len == 0 || len > HBS_PREFIX_MAX) {
        oracle_break(oracle(), "Remote", "%s: no prefix for %s", m->name, key->plan.key);
        return false;
    }
    digest_buffer(DIGEST_SHA256, commitment, text, artifact_text(wish->artifact, text));
    digest_buffer(DIGEST_SHA256, hash, prefix, len);
    struct oracle_index *at = &key->index[index];
    const char *wrong = wrongly_told(m, at, commitment, hash);
    if (wrong != NULL)
        oracle_break_key(oracle(), key, "Remote",
                         "%s: the prefix of index %" PRIu64 " of %s left: %s", m->name, index,
                         key->plan.key, wrong);
    if (!ledger_is_durable(m) || chance_one_in(&sim->chance, FULL_CHECK_ONE_IN))
        check_prefix_survives(m, key, index, commitment);
    if (at->told.known && at->told.process == m->process)
        return !oracle()->broken;
    sim->counts.told++;
    at->told.known = true;
    at->told.machine = (uint8_t)m->number;
    at->told.lineage = m->lineage;
    at->told.process = m->process;
    at->told.expires_ns =
        m->source.raw_ns(m->source.ctx) + (int64_t)key->plan.remote.expires_s * NS_PER_S;
    memcpy(at->told.artifact_sha256, commitment, SHA256_LEN);
    memcpy(at->told.prefix_sha256, hash, SHA256_LEN);
    return !oracle()->broken;
}

/* Starts --------------------------------------------------------------------------------------- */

void check_forget(struct machine *m)
{
    memset(books[m->number], 0, sizeof(books[m->number]));
}

/* Indices of the leases from epoch l0 + 1 to l1 of the window that was open all the time. */
static uint64_t leased(const struct oracle_key *key, uint64_t window, uint64_t k0, uint64_t k1)
{
    uint64_t total = 0;
    for (uint64_t k = k0; k < k1; k++) {
        uint64_t first = 0;
        uint64_t count = 0;
        if (plan_lease(&key->plan, window, k, &first, &count, NULL) == RC_OK)
            total += count;
    }
    return total;
}

static void balance(struct machine *m, size_t k)
{
    const struct oracle_key *key = &oracle()->keys[k];
    const struct sim_nv *nv = nv_of(m, key);
    struct anchor_record a;
    if (nv == NULL || !anchor_record_decode(&a, nv->a) || a.l != nv->l || a.w != nv->w) {
        books[m->number][k].known = false;
        return;
    }
    bool same = books[m->number][k].known && books[m->number][k].w == nv->w &&
                books[m->number][k].l_base == a.l_base;
    if (same && key->plan.kind != PLAN_VERSION) {
        uint64_t window = (uint64_t)floor_of(m, key);
        uint64_t took = leased(key, window, books[m->number][k].l - a.l_base, nv->l - a.l_base);
        uint64_t used = computed_now[m->number][k] - books[m->number][k].computed;
        uint64_t burned = took > used ? took - used : 0;
        sim->counts.burn_events += took > 0;
        sim->counts.burned += burned;
        if (burned > sim->counts.burned_most)
            sim->counts.burned_most = burned;
        uint64_t ended = 1 + books[m->number][k].unsettled;
        if (burned > key->plan.lease_size * ended)
            oracle_break(oracle(), "I7",
                         "%s: the end of %" PRIu64 " process(es) gave up %" PRIu64
                         " indices of %s, a lease has %" PRIu64,
                         m->name, ended, burned, key->plan.key, key->plan.lease_size);
    }
    books[m->number][k].known = true;
    books[m->number][k].unsettled = 0;
    books[m->number][k].w = nv->w;
    books[m->number][k].l = nv->l;
    books[m->number][k].l_base = a.l_base;
    books[m->number][k].computed = computed_now[m->number][k];
}

void check_start(struct machine *m)
{
    if (!m->running)
        return;
    /* A start that found the TPM away leaves the lease of the end before it to the next opening. */
    bool settled = m->loop.signer != NULL && signer_healthy(m->loop.signer);
    for (size_t k = 0; k < oracle()->key_count; k++) {
        const struct oracle_key *key = &oracle()->keys[k];
        if (settled && key->plan.remote.allowed && key->on[m->number].provisioned)
            check_all_ended(m, key);
        if (settled)
            balance(m, k);
        else
            books[m->number][k].unsettled++;
    }
}

/* Accounts ------------------------------------------------------------------------------------- */

static void ask(struct machine *m, struct request *r, struct reply *reply, void **payload,
                size_t *len)
{
    r->magic = REQUEST_MAGIC;
    r->generation = 1;
    machine_enter(m);
    signer_read(m->loop.signer, r, reply, payload, len);
}

static void check_stored(struct machine *m, const struct oracle_key *key, uint64_t index)
{
    const struct oracle_index *at = &key->index[index];
    struct request r = {.op = REQUEST_SIGNATURE};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    uint8_t number[8];
    uint8_t id[SHA256_LEN];
    uint8_t hash[SHA256_LEN];
    strcpy(r.key, key->plan.key);
    be_put64(number, index);
    sha256_2(id, key->key_id, KEY_ID_LEN, number, sizeof(number));
    memcpy(r.id, id, 8);
    memcpy(r.id + 8, number, sizeof(number));
    ask(m, &r, &reply, &payload, &len);
    if (len > 0)
        digest_buffer(DIGEST_SHA256, hash, payload, len);
    if (reply.rc != RC_OK || memcmp(hash, at->signature_sha256, sizeof(hash)) != 0)
        oracle_break(oracle(), "Acknowledged",
                     "%s: the signature of index %" PRIu64 " of %s has left this device, and the "
                     "ledger %s",
                     m->name, index, key->plan.key,
                     reply.rc != RC_OK ? "has forgotten it" : "holds other bytes");
    free(payload);
}

/* @return true if the index has a receipt. */
static bool check_index(struct machine *m, const struct oracle_key *key, uint64_t index)
{
    const struct oracle_index *at = &key->index[index];
    struct request r = {.op = REQUEST_INDEX, .from = (int64_t)index};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    strcpy(r.key, key->plan.key);
    ask(m, &r, &reply, &payload, &len);
    const struct view_index *view = payload;
    uint32_t state = reply.rc == RC_OK ? view->state : INDEX_UNUSED;
    free(payload);
    if (reply.rc != RC_OK)
        return false; /* behind the last window */
    bool ours = at->machine == m->number && at->lineage == m->lineage;
    if (state == INDEX_SIGNED && !at->computed)
        oracle_break(oracle(), "I9",
                     "%s: index %" PRIu64 " of %s counts as signed and was never "
                     "computed",
                     m->name, index, key->plan.key);
    if (state == INDEX_UNUSED && at->computed && ours)
        oracle_break(oracle(), "I9",
                     "%s: index %" PRIu64 " of %s counts as unused and was computed", m->name,
                     index, key->plan.key);
    bool told = at->told.known && at->told.machine == m->number && at->told.lineage == m->lineage;
    if ((state == INDEX_UNUSED || state == INDEX_GIVEN_UP) && told)
        oracle_break(oracle(), "I9",
                     "%s: index %" PRIu64 " of %s counts as never used and its prefix was told",
                     m->name, index, key->plan.key);
    if (at->released && at->released_by == m->number && at->released_in == m->lineage)
        check_stored(m, key, index);
    return state == INDEX_SIGNED;
}

static void check_key(struct machine *m, const struct oracle_key *key)
{
    struct request r = {.op = REQUEST_KEYS};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    strcpy(r.key, key->plan.key);
    ask(m, &r, &reply, &payload, &len);
    const struct view_key *view = payload;
    bool operational = reply.rc == RC_OK && len == sizeof(*view) && view->reason[0] == '\0';
    uint64_t total = operational ? view->signed_total : 0;
    free(payload);
    if (!operational)
        return;
    uint64_t with_receipt = 0;
    for (uint64_t i = 0; i < ORACLE_INDICES; i++)
        with_receipt += check_index(m, key, i);
    if (total != with_receipt)
        oracle_break(oracle(), "I9", "%s: %s says %" PRIu64 " signatures, its indices say %" PRIu64,
                     m->name, key->plan.key, total, with_receipt);
}

void check_account(struct machine *m)
{
    if (!m->running || m->loop.signer == NULL || disk_is_off(m->disk))
        return;
    sim->counts.audits++;
    for (size_t k = 0; k < oracle()->key_count; k++)
        if (oracle()->keys[k].on[m->number].provisioned)
            check_key(m, &oracle()->keys[k]);
}
