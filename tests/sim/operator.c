#include "sim/operator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/lock.h"
#include "signer/advance.h"
#include "signer/allocate.h"
#include "signer/backup.h"
#include "signer/provision.h"
#include "signer/recover.h"
#include "signer/toolclock.h"
#include "sim/checks.h"
#include "sim/files.h"

#define SHELF_MAX 24
#define PASSPHRASE "correct horse battery"

static struct disk *shelf;
static struct shelved shelved[SHELF_MAX];
static unsigned shelved_count;
static unsigned tools; /* processes of offline commands */

/* An offline command under way, as struct host is in the daemon. */
struct host {
    struct machine *m;
    unsigned process;
    int state_dirfd, locks[2];
    struct ledger *ledger;
    void *tpm;
    struct key *key;
    struct tool_clock clock;
};

void operator_begin(void)
{
    shelf = disk_make(chance_make(sim->seed, 300));
    files_set_shelf(shelf);
    shelved_count = 0;
    tools = 1000000;
}

void operator_end(void)
{
    disk_free(&shelf);
}

void operator_give_ledger(struct machine *m)
{
    static struct disk *made;
    if (made == NULL) {
        made = disk_make(chance_make(0, 0));
        struct vfs *vfs = vfs_open("sim-made", made, chance_make(0, 1));
        struct ledger *ledger = NULL;
        struct ledger_options options = {
            .path = m->config.ledger_path, .vfs = "sim-made", .create = true};
        MUST(ledger_open(&ledger, &options, NULL) == RC_OK);
        ledger_close(&ledger);
        vfs_close(&vfs);
    }
    disk_restore_name(m->disk, made, "ledger.db");
}

static int64_t now_s(const struct host *h)
{
    return h->m->source.real_ns(h->m) / NS_PER_S;
}

static enum rc host_open(struct host *h, struct machine *m, bool create, struct err *err)
{
    *h = (struct host){.m = m, .process = ++tools, .locks = {-1, -1}};
    machine_power_on(m);
    machine_stop(m);
    if (!m->powered)
        return FAIL(err, RC_HALT_SYSTEM, "", 0, "the power went");
    machine_current = m;
    files_mount(m->disk, h->process);
    h->state_dirfd = files_root();
    enum rc rc = lock_take(h->state_dirfd, SERVICE_LOCK, 0, &h->locks[0], err);
    if (rc == RC_OK)
        rc = lock_take(h->state_dirfd, CORE_LOCK, 1000, &h->locks[1], err);
    struct ledger_options options = {
        .path = m->config.ledger_path, .vfs = m->config.ledger_vfs, .create = create};
    if (rc == RC_OK)
        rc = ledger_open(&h->ledger, &options, err);
    if (rc == RC_OK)
        rc = m->world.tpm->open(m->world.tpm_ctx, &h->tpm, err);
    m->world.tool_clock = &h->clock;
    if (rc == RC_OK)
        rc = tool_clock_recall(&h->clock, &m->config.settings.clock, &m->config.settings.tolerance,
                               &m->world, h->tpm, h->state_dirfd, h->ledger, err);
    return rc;
}

static void host_close(struct host *h)
{
    struct machine *m = h->m;
    if (h->key != NULL) {
        key_close(h->key, &m->world);
        free(h->key);
    }
    if (h->tpm != NULL)
        m->world.tpm->close(m->world.tpm_ctx, &h->tpm);
    ledger_close(&h->ledger);
    files_process_end(h->process);
    m->world.tool_clock = NULL;
    machine_settle(m);
}

static enum rc host_load_key(struct host *h, const struct oracle_key *key, struct err *err)
{
    static const struct key_limits none;
    struct ledger_key record;
    enum rc rc = ledger_key_by_name(h->ledger, key->plan.key, &record, err);
    if (rc != RC_OK)
        return rc;
    h->key = calloc(1, sizeof(*h->key));
    MUST(h->key != NULL);
    struct key_settings *settings = &h->m->config.settings;
    /* Whether a virtual TPM may sign is the service's question. */
    enum virtual_policy policy = settings->virtual_policy;
    settings->virtual_policy = VIRTUAL_DEMO;
    key_open(h->key, &record, h->state_dirfd, &h->m->world, h->tpm, h->ledger, settings, &none);
    settings->virtual_policy = policy;
    return RC_OK;
}

/* Keys ----------------------------------------------------------------------------------------- */

static enum rc first_window(struct machine *m, const struct plan *plan, int64_t *first,
                            struct err *err)
{
    int64_t now = -1;
    uint64_t window = 0;
    *first = 0;
    if (plan->kind != PLAN_TIME)
        return RC_OK;
    enum rc rc = tool_clock_latest_s(&m->world, 0, &now, err);
    if (rc != RC_OK)
        return rc;
    rc = now < plan->start_s ? RC_OK : plan_window_at(plan, now, &window, err);
    *first = (int64_t)window;
    return rc;
}

/* The oracle learns of a key when its maker is told, or when a ledger turns out to have it. */
static void learn(struct machine *m, const struct ledger_key *record, const struct plan *plan)
{
    struct oracle *o = &sim->oracle;
    struct oracle_key *key = oracle_key_by_id(o, record->key_id);
    if (key == NULL) {
        MUST(o->key_count < ORACLE_KEYS_MAX);
        key = &o->keys[o->key_count++];
        *key = (struct oracle_key){.used = true, .plan = *plan, .highest_window = -1};
        memcpy(key->key_id, record->key_id, KEY_ID_LEN);
        memcpy(key->public_key, record->public_key, record->public_key_len);
        key->public_key_len = record->public_key_len;
    }
    key->on[m->number].provisioned = true;
    key->on[m->number].w_handle = record->pins.w_handle;
    key->on[m->number].w_base = record->pins.w_base;
}

static struct provision provision_of(struct host *h)
{
    return (struct provision){.state_dirfd = h->state_dirfd,
                              .ledger = h->ledger,
                              .world = &h->m->world,
                              .tpm = h->tpm,
                              .now_s = now_s(h),
                              .threads = 1};
}

bool operator_key_new(struct machine *m, const char *text)
{
    struct host h;
    struct err err = {0};
    struct plan plan = {0};
    struct ledger_key record = {0};
    MUST(plan_parse(&plan, text, strlen(text), NULL, &err) == RC_OK);
    int64_t first = 0;
    enum rc rc = host_open(&h, m, true, &err);
    if (rc == RC_OK)
        rc = first_window(m, &plan, &first, &err);
    struct provision p = provision_of(&h);
    p.first_window = first;
    if (rc == RC_OK)
        rc = provision_new(&p, text, strlen(text), &record, NULL, &err);
    /* A failed commit has an unknown outcome: the key may be there. Its operator looks. */
    if (rc == RC_OK)
        learn(m, &record, &plan);
    SAY("%s: the operator makes key %s: %s", m->name, plan.key,
        rc == RC_OK ? "done" : err_text(&err));
    host_close(&h);
    if (rc == RC_OK)
        sim->counts.keys_made++;
    return rc == RC_OK;
}

/* Backups -------------------------------------------------------------------------------------- */

static enum rc note(struct host *h, enum ledger_note_kind kind, const char *text, int64_t number,
                    struct err *err)
{
    enum rc rc = ledger_begin(h->ledger, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_add_note(h->ledger, h->key->record.id, kind, "backup-export", text, number,
                         now_s(h), err);
    if (rc != RC_OK) {
        ledger_rollback(h->ledger);
        return rc;
    }
    rc = ledger_commit(h->ledger, err);
    if (rc != RC_OK || h->key->rc != RC_OK)
        return rc;
    struct allocator alloc = {.key = h->key, .world = &h->m->world, .ledger = h->ledger};
    return allocate_settle(&alloc, err);
}

static enum rc export_one(struct host *h, struct shelved *s, struct err *err)
{
    if (h->key->rc != RC_OK)
        return FAIL(err, h->key->rc, "", 0, "%s", err_text(&h->key->err));
    if (s->through < key_floor(h->key))
        s->through = key_floor(h->key);
    enum rc rc = note(h, LEDGER_OPERATION, "on the shelf", s->through, err);
    if (rc == RC_OK)
        rc = backup_export(h->key, &h->m->world, h->tpm, s->path, PASSPHRASE, s->through, now_s(h),
                           NULL, NULL, s->sha256, err);
    return rc;
}

static enum rc acknowledge_one(struct machine *m, struct shelved *s, struct err *err)
{
    struct host h;
    struct backup backup = {.fd = -1};
    enum rc rc = host_open(&h, m, false, err);
    if (rc == RC_OK)
        rc = backup_open(&backup, s->path, PASSPHRASE, err);
    if (rc == RC_OK)
        rc = backup_check(&backup, NULL, NULL, err);
    if (rc == RC_OK)
        rc = host_load_key(&h, &sim->oracle.keys[s->key], err);
    uint8_t sha256[SHA256_LEN];
    if (rc == RC_OK)
        rc = backup_sha256(&backup, sha256, err);
    if (rc == RC_OK) {
        char name[LEDGER_TEXT_MAX + 1];
        backup_name(name, sha256, s->path);
        rc = note(&h, LEDGER_ACKNOWLEDGEMENT, name, backup.header.through, err);
    }
    if (rc == RC_OK)
        s->acknowledged = true;
    /* Whatever became of the note: it may be in the ledger, and what it allows may be used. */
    if (rc_class(rc) == RC_CLASS_HALT)
        s->acknowledged = true;
    if (backup.fd >= 0)
        backup_close(&backup);
    host_close(&h);
    return rc;
}

bool operator_export(struct machine *m, unsigned key, int64_t through, bool acknowledge)
{
    struct host h;
    struct err err = {0};
    if (shelved_count == SHELF_MAX)
        return false;
    struct shelved *s = &shelved[shelved_count];
    *s = (struct shelved){.key = (uint8_t)key, .machine = (uint8_t)m->number, .through = through};
    (void)snprintf(s->path, sizeof(s->path), "/backup-%u", shelved_count);
    enum rc rc = host_open(&h, m, false, &err);
    if (rc == RC_OK)
        rc = host_load_key(&h, &sim->oracle.keys[key], &err);
    if (rc == RC_OK)
        rc = export_one(&h, s, &err);
    host_close(&h);
    SAY("%s: the operator exports key %s: %s", m->name, sim->oracle.keys[key].plan.key,
        rc == RC_OK ? "done" : err_text(&err));
    if (rc != RC_OK)
        return false;
    shelved_count++;
    sim->counts.exports++;
    if (!acknowledge)
        return true;
    rc = acknowledge_one(m, s, &err);
    SAY("%s: the operator acknowledges the backup with mark %" PRId64 ": %s", m->name, s->through,
        rc == RC_OK ? "done" : err_text(&err));
    sim->counts.acknowledged += rc == RC_OK;
    return rc == RC_OK;
}

unsigned operator_shelved(unsigned key)
{
    unsigned n = 0;
    for (unsigned i = 0; i < shelved_count; i++)
        n += shelved[i].key == key;
    return n;
}

/* The newest acknowledged mark of a key anywhere: what an honest operator states. */
static int64_t acknowledged_anywhere(unsigned key)
{
    int64_t mark = 0;
    for (unsigned i = 0; i < shelved_count; i++)
        if (shelved[i].key == key && shelved[i].acknowledged && shelved[i].through > mark)
            mark = shelved[i].through;
    return mark;
}

/* Opening early --------------------------------------------------------------------------------
 */

/* By true time and by the counter, as `tidemark windows` would tell. -1: there is none. */
static int64_t next_window(const struct machine *m, const struct oracle_key *key)
{
    const struct sim_nv *nv = sim_tpm_nv(m->port.chip, key->on[m->number].w_handle);
    uint64_t now = 0;
    if (nv == NULL || plan_window_at(&key->plan, sim->now_ns / NS_PER_S, &now, NULL) != RC_OK)
        return -1;
    int64_t floor = (int64_t)nv->w - key->on[m->number].w_base;
    int64_t next = (floor > (int64_t)now ? floor : (int64_t)now) + 1;
    return (uint64_t)next < key->plan.window_count ? next : -1;
}

static enum rc advance_one(struct host *h, const struct advance_statement *s,
                           struct oracle_key *key, struct err *err)
{
    struct advance_plan plan;
    enum rc rc = advance_window_plan(h->key, &h->m->world, h->ledger, s, &plan, err);
    if (rc != RC_OK)
        return rc;
    /* Whatever comes of it: it may have been approved. */
    key->early |= UINT32_C(1) << s->window;
    return advance_window(h->key, &h->m->world, h->tpm, h->ledger, &plan, NULL, err);
}

enum rc operator_advance(struct machine *m, unsigned key, void (*arm)(struct machine *m))
{
    struct host h;
    struct err err = {0};
    struct oracle_key *k = &sim->oracle.keys[key];
    struct advance_statement s = {.window = next_window(m, k),
                                  .reason = "the simulator is in a hurry",
                                  .virtual_policy = m->config.settings.virtual_policy};
    if (s.window < 0 || !operator_export(m, key, s.window, true))
        return RC_REFUSED_EXPORT;
    memcpy(s.export_sha256, shelved[shelved_count - 1].sha256, SHA256_LEN);
    arm(m);
    enum rc rc = host_open(&h, m, false, &err);
    if (rc == RC_OK)
        rc = host_load_key(&h, k, &err);
    if (rc == RC_OK)
        rc = advance_one(&h, &s, k, &err);
    host_close(&h);
    SAY("%s: the operator opens window %" PRId64 " of key %s early: %s", m->name, s.window,
        k->plan.key, rc == RC_OK ? "done" : err_text(&err));
    sim->counts.advances += rc == RC_OK;
    return rc;
}

/* Jumps ---------------------------------------------------------------------------------------- */

static enum rc look_at_clock(struct machine *m, struct view_clock *view)
{
    struct request r = {.op = REQUEST_CLOCK, .magic = REQUEST_MAGIC, .generation = 1};
    struct reply reply;
    void *payload = NULL;
    size_t len = 0;
    machine_enter(m);
    signer_read(m->loop.signer, &r, &reply, &payload, &len);
    *view = (struct view_clock){0};
    if (reply.rc == RC_OK && len == sizeof(*view))
        memcpy(view, payload, sizeof(*view));
    free(payload);
    return (enum rc)reply.rc;
}

/* Only what repeats the jump and what it costs, at about the time that it claims, may be accepted.
 */
static void check_accepted(const struct machine *m, const struct request *r,
                           const struct view_clock *view)
{
    int64_t apart_s =
        r->ack_utc_s - host_clock_real_ns(&sim->clocks[m->number], sim->now_ns) / NS_PER_S;
    if (r->ack_id != view->jump_id || r->ack_windows != view->windows ||
        llabs(apart_s) > CLK_ACK_S_MAX + 2)
        oracle_break(&sim->oracle, "Acknowledged",
                     "%s accepts a jump that was acknowledged %" PRId64 " s off, or as another",
                     m->name, apart_s);
}

bool operator_acknowledge(struct machine *m, bool fooled)
{
    struct view_clock view;
    struct reply reply = {.rc = RC_HALT_SYSTEM};
    struct err err = {0};
    void *payload = NULL;
    size_t len = 0;
    if (!m->running || m->loop.signer == NULL || look_at_clock(m, &view) != RC_OK ||
        view.jump_id == 0 || disk_is_off(m->disk)) {
        machine_settle(m);
        return false;
    }
    int64_t clock_ns =
        fooled ? host_clock_real_ns(&sim->clocks[m->number], sim->now_ns) : sim->now_ns;
    struct request r = {.op = REQUEST_CLOCK_ACK,
                        .magic = REQUEST_MAGIC,
                        .generation = 1,
                        .ack_id = view.jump_id + chance_one_in(&sim->chance, 12),
                        .ack_windows = view.windows + chance_one_in(&sim->chance, 12),
                        .ack_utc_s = clock_ns / NS_PER_S};
    enum rc rc = signer_acknowledge(m->loop.signer, &r, &reply, &payload, &len, &err);
    free(payload);
    bool accepted = rc == RC_OK && reply.rc == RC_OK;
    SAY("%s: an operator%s acknowledges the jump forward to %" PRId64 ", %" PRIu64 " windows: %s",
        m->name, fooled ? " who believes it" : "", view.jump_to_s, view.windows,
        accepted      ? "done"
        : rc != RC_OK ? err_text(&err)
                      : reply.text);
    if (accepted)
        check_accepted(m, &r, &view);
    /* After a failed write it may stand in the ledger. */
    if (accepted || rc != RC_OK)
        truth_acknowledged(m);
    truth_observe(m); /* the answer shows the clock as it is then */
    sim->counts.clock_acks += accepted;
    machine_halt(m, rc, &err);
    return accepted;
}

/* Recovery ------------------------------------------------------------------------------------- */

/* A clock that lies cannot tell which window may have been used. */
static void excuse_lie(struct machine *m, struct oracle_key *key)
{
    if (key->plan.kind == PLAN_TIME &&
        llabs(host_clock_lie_now(&sim->clocks[m->number], sim->now_ns)) > NS_PER_S / 4)
        key->excuses |= EXCUSE_LIE;
}

/* People have nothing but the sentence. */
static int64_t told_to_wait_s(const struct err *err)
{
    static const char words[] = "time must catch up: ";
    const char *at = strstr(err_text(err), words);
    int64_t s = 0;
    return at != NULL && sscanf(at + sizeof(words) - 1, "%" SCNd64, &s) == 1 ? s : 0;
}

enum rc operator_recover_here(struct machine *m, unsigned key, int64_t *wait_s)
{
    struct host h;
    struct err err = {0};
    struct recover_plan plan = {0};
    enum rc rc = host_open(&h, m, false, &err);
    if (rc == RC_OK)
        rc = host_load_key(&h, &sim->oracle.keys[key], &err);
    if (rc == RC_OK)
        rc = recover_here_plan(h.key, &h.m->world, h.ledger, acknowledged_anywhere(key), &plan,
                               &err);
    if (rc == RC_OK)
        rc = recover_here(h.key, &h.m->world, h.ledger, &plan, NULL, &err);
    *wait_s = rc == RC_OK ? 0 : told_to_wait_s(&err);
    host_close(&h);
    m->lineage++;
    check_forget(m);
    SAY("%s: the operator recovers key %s here, from window %" PRId64 " on: %s", m->name,
        sim->oracle.keys[key].plan.key, plan.start_window, rc == RC_OK ? "done" : err_text(&err));
    if (rc == RC_OK)
        sim->counts.recoveries++;
    return rc;
}

static struct shelved *from_newest(unsigned key, unsigned which)
{
    for (unsigned i = shelved_count; i > 0; i--)
        if (shelved[i - 1].key == key && which-- == 0)
            return &shelved[i - 1];
    return NULL;
}

enum rc operator_replace(struct machine *m, unsigned key, unsigned which)
{
    struct host h;
    struct backup backup = {.fd = -1};
    struct err err = {0};
    struct recover_plan plan = {0};
    struct ledger_key record = {0};
    struct oracle_key *k = &sim->oracle.keys[key];
    struct shelved *s = from_newest(key, which);
    if (s == NULL)
        return RC_REFUSED_NOT_FOUND;
    excuse_lie(m, k);
    enum rc rc = host_open(&h, m, true, &err);
    if (rc == RC_OK)
        rc = backup_open(&backup, s->path, PASSPHRASE, &err);
    int64_t mark = acknowledged_anywhere(key);
    struct recover_statement statement = {.acknowledged_through =
                                              mark > s->through ? mark : s->through,
                                          .start_window = -1,
                                          .margin = m->config.settings.export_margin,
                                          .clock_latest_s = -1};
    struct err none = {0};
    if (rc == RC_OK)
        (void)!tool_clock_latest_s(&m->world, 0, &statement.clock_latest_s, &none);
    if (rc == RC_OK)
        rc = recover_backup_plan(&backup, &statement, &plan, &err);
    struct provision p = provision_of(&h);
    if (rc == RC_OK)
        rc = recover_from_backup(&p, &backup, &plan, "seen in the shredder", &record, &err);
    if (backup.fd >= 0)
        backup_close(&backup);
    if (rc == RC_OK)
        learn(m, &record, &k->plan);
    host_close(&h);
    m->lineage++;
    check_forget(m);
    SAY("%s: the operator brings key %s back from backup %s, from window %" PRId64 " on: %s",
        m->name, k->plan.key, s->path + 1, plan.start_window,
        rc == RC_OK ? "done" : err_text(&err));
    if (rc == RC_OK)
        sim->counts.replacements++;
    return rc;
}
