#include "sim/adversary.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/lock.h"
#include "sim/checks.h"
#include "sim/client.h"
#include "sim/files.h"
#include "sim/image.h"
#include "sim/operator.h"
#include "sim/plans.h"

#define COPIES_MAX 4

/* A copy of a machine's disk from some moment, and of its chip. */
struct copy {
    struct disk *disk;
    struct sim_tpm chip;
    unsigned machine;
};

static struct copy copies[COPIES_MAX];

void adversary_begin(void)
{
    memset(copies, 0, sizeof(copies));
}

void adversary_end(void)
{
    image_drop();
    for (size_t i = 0; i < COPIES_MAX; i++)
        disk_free(&copies[i].disk);
}

static uint64_t below(uint64_t n)
{
    return chance_below(&sim->chance, n);
}

static bool holds_keys(const struct machine *m)
{
    for (size_t k = 0; k < sim->oracle.key_count; k++)
        if (sim->oracle.keys[k].on[m->number].provisioned)
            return true;
    return false;
}

/* Some work while a fault is armed, so that it meets something. */
static void work(struct machine *m)
{
    if (chance_percent(&sim->chance, 25))
        machine_kill(m);
    if (!machine_start(m))
        return;
    check_start(m);
    for (uint64_t i = below(4); i > 0; i--)
        client_send(m);
    sim->ops += clients_deliver(m, 4);
}

/* Power and processes -------------------------------------------------------------------------- */

static void cut_in_disk_step(struct machine *m)
{
    machine_power_on(m);
    disk_cut_in(m->disk, 1 + below(chance_percent(&sim->chance, 70) ? 12 : 60));
    SAY("the power of %s will go in the middle of a disk step", m->name);
    work(m);
    if (!m->powered)
        sim->counts.cuts_disk++;
    disk_disarm(m->disk);
}

/* What it wrote is in the page cache and may not be on the disk. */
static void kill_in_disk_step(struct machine *m)
{
    machine_power_on(m);
    m->cut_is_kill = true;
    disk_cut_in(m->disk, 1 + below(chance_percent(&sim->chance, 70) ? 24 : 60));
    SAY("the service on %s will be killed in the middle of a disk step", m->name);
    work(m);
    disk_disarm(m->disk);
    m->cut_is_kill = false;
}

static void cut_at_tpm_command(struct machine *m)
{
    machine_power_on(m);
    m->port.fault_in = 1 + below(10);
    m->port.fault = chance_percent(&sim->chance, 50) ? TPM_FAULT_CUT_BEFORE : TPM_FAULT_CUT_AFTER;
    work(m);
    if (!m->powered)
        sim->counts.cuts_tpm++;
    m->port.fault_in = 0;
}

static void cut_now(struct machine *m)
{
    SAY("the power of %s goes", m->name);
    machine_power_off(m);
}

static void kill_process(struct machine *m)
{
    SAY("%s: the service is killed", m->name);
    machine_kill(m);
    sim->counts.kills++;
}

static void restart(struct machine *m)
{
    machine_stop(m);
    if (machine_start(m))
        check_start(m);
}

/* The two locks are real: whoever comes second stays out. */
static void second_daemon(struct machine *m)
{
    struct err err = {0};
    if (!m->running)
        return;
    sim->counts.second_daemons++;
    SAY("%s: a second service is started on the same state", m->name);
    machine_current = m;
    files_mount(m->disk, 999);
    int dirfd = files_root();
    int lock = -1;
    enum rc rc = lock_take(dirfd, chance_percent(&sim->chance, 50) ? SERVICE_LOCK : CORE_LOCK, 100,
                           &lock, &err);
    files_process_end(999);
    machine_settle(m);
    if (rc == RC_OK)
        oracle_break(&sim->oracle, "I1", "%s: two services hold the lock of one state", m->name);
}

/* Disks ---------------------------------------------------------------------------------------- */

static void io_error(struct machine *m)
{
    machine_power_on(m);
    int error = chance_percent(&sim->chance, 60) ? EIO : ENOSPC;
    disk_fail_in(m->disk, 1 + below(chance_percent(&sim->chance, 70) ? 12 : 60), error);
    SAY("a step of %s's disk will fail", m->name);
    work(m);
    sim->counts.eio += !disk_armed(m->disk);
    disk_disarm(m->disk);
}

static void disk_full(struct machine *m)
{
    machine_power_on(m);
    SAY("the disk of %s is full", m->name);
    disk_set_full(m->disk, true);
    sim->counts.full++;
    work(m);
    if (chance_percent(&sim->chance, 50))
        world_advance((int64_t)below(40) * NS_PER_S);
    disk_set_full(m->disk, false);
    SAY("the disk of %s has room again", m->name);
}

static void keep_copy(struct machine *m)
{
    struct copy *c = &copies[below(COPIES_MAX)];
    disk_free(&c->disk);
    *c = (struct copy){.disk = disk_copy(m->disk, chance_percent(&sim->chance, 30)),
                       .chip = *m->port.chip,
                       .machine = m->number};
    SAY("somebody keeps a copy of %s's disk", m->name);
}

static const struct copy *copy_of(const struct machine *m)
{
    size_t from = (size_t)below(COPIES_MAX);
    for (size_t i = 0; i < COPIES_MAX; i++) {
        const struct copy *c = &copies[(from + i) % COPIES_MAX];
        if (c->disk != NULL && c->machine == m->number)
            return c;
    }
    return NULL;
}

static void went_back(struct machine *m)
{
    truth_forget(m, true);
    m->lineage++;
    m->disk_went_back = true;
    check_forget(m);
    machine_excuse_rewind(m);
    sim->counts.rollbacks++;
}

static void stop_somehow(struct machine *m)
{
    if (chance_percent(&sim->chance, 50))
        machine_power_off(m);
    else
        machine_kill(m);
}

static void restore_disk(struct machine *m)
{
    const struct copy *c = copy_of(m);
    if (c == NULL)
        return;
    stop_somehow(m);
    disk_restore(m->disk, c->disk);
    SAY("the disk of %s is put back to an earlier copy", m->name);
    went_back(m);
}

static void restore_ledger(struct machine *m)
{
    const struct copy *c = copy_of(m);
    if (c == NULL)
        return;
    stop_somehow(m);
    disk_restore_name(m->disk, c->disk, "ledger.db");
    disk_restore_name(m->disk, c->disk, "ledger.db-wal");
    SAY("the ledger of %s is put back to an earlier copy", m->name);
    went_back(m);
}

static void restore_seeds(struct machine *m)
{
    const struct copy *c = copy_of(m);
    if (c == NULL || sim->oracle.key_count == 0)
        return;
    stop_somehow(m);
    const struct oracle_key *key = &sim->oracle.keys[below(sim->oracle.key_count)];
    disk_restore_key_file(m->disk, c->disk, key->plan.key, "seeds");
    SAY("the sealed secrets of %s on %s are put back to an earlier copy", key->plan.key, m->name);
    went_back(m);
}

static void clone_disk(struct machine *m)
{
    struct machine *to = &machines[below(MACHINES_MAX)];
    if (to == m || !to->exists || to->retired || holds_keys(to))
        return;
    machine_power_off(to);
    struct disk *copy = disk_copy(m->disk, false);
    disk_restore(to->disk, copy);
    truth_forget(to, true);
    disk_free(&copy);
    sim->counts.clones++;
    bool chip = chance_percent(&sim->chance, 70);
    SAY("the disk of %s is copied to %s, which has %s TPM", m->name, to->name,
        chip ? "another" : "no");
    to->lineage++;
    to->port.chip->dead = !chip;
    if (machine_start(to)) {
        client_send(to);
        client_send(to);
        sim->ops += clients_deliver(to, 4);
    }
    to->port.chip->dead = false;
}

/* Memory --------------------------------------------------------------------------------------- */

/* An image of a lease in hand is worth most while the rest of the lease is being used. */
static void keep_image(struct machine *m)
{
    image_take(m);
    for (int i = 0; i < 6; i++)
        client_send(m);
    sim->ops += clients_deliver(m, 6);
    if (chance_percent(&sim->chance, 60))
        image_resume(m, false);
}

static void resume_image(struct machine *m)
{
    image_resume(m, false);
}

/* What a snapshot of all would do that is woken up, and not started anew: no policy but `refuse`
 * stands in its way. */
static void resume_machine(struct machine *m)
{
    if (!m->port.chip->identity.is_virtual)
        return;
    for (size_t k = 0; k < sim->oracle.key_count; k++)
        if (sim->oracle.keys[k].on[m->number].provisioned &&
            m->config.settings.virtual_policy != VIRTUAL_REFUSE)
            sim->oracle.keys[k].excuses |= EXCUSE_MACHINE;
    image_resume(m, true);
}

/* Whole machines: only a virtual TPM goes back with its machine. */
static void restore_machine(struct machine *m)
{
    const struct copy *c = copy_of(m);
    if (c == NULL || !m->port.chip->identity.is_virtual)
        return;
    machine_kill(m);
    machine_power_off(m);
    disk_restore(m->disk, c->disk);
    *m->port.chip = c->chip;
    SAY("%s is put back to an earlier snapshot, its virtual TPM included", m->name);
    m->lineage++;
    check_forget(m);
    truth_forget(m, true);
    sim->counts.machine_images++;
    /* Policy `demo` promises nothing; under the others a machine that starts anew reuses nothing.
     */
    for (size_t k = 0; k < sim->oracle.key_count; k++) {
        struct oracle_key *key = &sim->oracle.keys[k];
        if (key->on[m->number].provisioned && m->config.settings.virtual_policy == VIRTUAL_DEMO)
            key->excuses |= EXCUSE_MACHINE;
    }
}

/* TPM ------------------------------------------------------------------------------------------ */

static void tpm_fails(struct machine *m)
{
    if (!machine_start(m))
        return;
    check_start(m);
    m->port.fault_in = 1 + below(8);
    m->port.fault = (enum tpm_fault)chance_between(&sim->chance, TPM_FAULT_REFUSED, TPM_FAULT_LATE);
    work(m);
    sim->counts.tpm_faults += m->port.fault_in == 0;
    m->port.fault_in = 0;
    if (chance_percent(&sim->chance, 50) && sim_tpm_land_late(m->port.chip)) {
        sim->counts.tpm_late++;
        SAY("%s: the TPM command that nobody waits for any more is done now", m->name);
    }
}

static void tpm_busy(struct machine *m)
{
    machine_power_on(m);
    m->port.fault_in = 1 + below(8);
    m->port.fault = TPM_FAULT_BUSY;
    work(m);
    sim->counts.tpm_busy += m->port.fault_in == 0;
    m->port.fault_in = 0;
}

static void tpm_lockout(struct machine *m)
{
    SAY("the TPM of %s is in lock-out", m->name);
    m->port.chip->lockout_until_ns = sim->now_ns + (int64_t)below(120) * NS_PER_S;
    sim->counts.tpm_lockouts++;
    work(m);
}

static void tpm_away(struct machine *m)
{
    SAY("the TPM of %s does not answer for a while", m->name);
    m->port.chip->dead = true;
    sim->counts.tpm_gone++;
    work(m);
    m->port.chip->dead = false;
}

/* Clocks --------------------------------------------------------------------------------------- */

static void look(struct machine *m)
{
    if (m->running)
        machine_turn(m, NULL, 0);
}

static void set_clock(struct machine *m)
{
    static const int64_t spans[] = {1, 60, 1200, 86400, 7 * 86400, 400 * 86400};
    struct host_clock *c = &sim->clocks[m->number];
    int64_t by = spans[below(6)];
    if (!chance_percent(&sim->chance, 50))
        by = -by;
    SAY("somebody sets the clock of %s by %" PRId64 " s", m->name, by);
    look(m);
    host_clock_step(c, sim->now_ns, by * NS_PER_S);
    sim->now_ns += NS_PER_S;
    look(m);
    sim->counts.clock_steps++;
}

static void chronyd_stops(struct machine *m)
{
    struct host_clock *c = &sim->clocks[m->number];
    SAY("chronyd on %s %s", m->name, c->alive ? "stops" : "starts again");
    host_clock_set_alive(c, sim->now_ns, !c->alive);
    sim->counts.clock_dead++;
}

static void chronyd_loses_source(struct machine *m)
{
    struct host_clock *c = &sim->clocks[m->number];
    SAY("chronyd on %s %s its source", m->name, c->has_source ? "loses" : "has");
    host_clock_run(c, sim->now_ns, &sim->chance);
    c->has_source = !c->has_source;
    c->next_poll_ns = sim->now_ns + NS_PER_S;
    sim->counts.clock_dead++;
}

static void chronyd_answers(struct machine *m)
{
    struct host_clock *c = &sim->clocks[m->number];
    c->answer = c->answer != ANSWER_GOOD ? ANSWER_GOOD : (enum host_answer)(1 + below(ANSWERS - 1));
    SAY("chronyd on %s %s", m->name, host_answer_text(c->answer));
    sim->counts.clock_answers++;
}

static void leap_second(struct machine *m)
{
    struct host_clock *c = &sim->clocks[m->number];
    SAY("a leap second on %s", m->name);
    c->leap_announced = true;
    host_clock_step(c, sim->now_ns, -NS_PER_S);
    c->kernel_set = false; /* the kernel knew */
    look(m);
    sim->counts.clock_steps++;
}

/* From a blink to days. */
static int64_t some_span(void)
{
    static const int64_t spans_ms[] = {300, 700, 2000, 7000, 60000, 3600000, 86400000, 259200000};
    int64_t most = spans_ms[below(8)];
    return chance_between(&sim->chance, most / 3, most) * NS_PER_MS;
}

/* Nobody but its own process writes it; no process lives meanwhile. */
static void clock_file(struct machine *m)
{
    const struct copy *c = copy_of(m);
    machine_kill(m);
    if (c != NULL && chance_percent(&sim->chance, 50)) {
        SAY("what %s remembers of the clock is put back to an earlier copy", m->name);
        disk_restore_name(m->disk, c->disk, "clock");
    } else {
        SAY("what %s remembers of the clock is lost", m->name);
        disk_spoil_name(m->disk, "clock", chance_percent(&sim->chance, 50), &sim->chance);
    }
    truth_forget(m, false);
    sim->counts.clock_files++;
}

static void operator_looks(struct machine *m)
{
    bool fooled = sim->temper.lies && chance_percent(&sim->chance, 40);
    if (m->running)
        (void)operator_acknowledge(m, fooled);
}

static void put_aside(struct machine *m)
{
    int64_t span = some_span();
    bool asleep = chance_percent(&sim->chance, 35);
    SAY("%s is %s for %" PRId64 ".%03" PRId64 " s", m->name, asleep ? "asleep" : "paused",
        span / NS_PER_S, span % NS_PER_S / NS_PER_MS);
    sim->counts.clock_asides++;
    machine_put_aside(m, span, asleep);
    if (chance_percent(&sim->chance, 50))
        return;
    /* It does not know yet, and is asked at once. */
    client_send(m);
    client_send(m);
    sim->ops += clients_deliver(m, 4);
}

/* Faster or slower by up to 5 %, or so little that no tolerance can tell. */
static int64_t some_drag_ppb(void)
{
    static const int64_t most_ppb[] = {150000, 5000000, 12000000, 50000000};
    int64_t most = most_ppb[below(4)];
    return chance_between(&sim->chance, -most, most);
}

static int64_t some_lie_ns(void)
{
    static const int64_t most_s[] = {3, 60, 3600, 86400, 10 * 86400, 3 * 366 * 86400};
    int64_t most = most_s[below(6)];
    return chance_between(&sim->chance, -most, most) * NS_PER_S;
}

/* As time passes slowly, so that each poll is seen. */
static void live_through(int64_t polls)
{
    for (; polls > 0; polls--)
        world_advance(20 * NS_PER_S);
}

static void source_lies(struct machine *m)
{
    struct host_clock *c = &sim->clocks[m->number];
    sim->counts.clock_lies++;
    if (chance_percent(&sim->chance, 40)) {
        SAY("the time sources of %s are honest (again)", m->name);
        host_clock_lie(c, sim->now_ns, 0, 0);
        return;
    }
    int64_t drag = chance_percent(&sim->chance, 50) ? some_drag_ppb() : 0;
    int64_t lie = drag != 0 ? host_clock_lie_now(c, sim->now_ns) : some_lie_ns();
    SAY("the time sources of %s lie by %" PRId64 " s%s", m->name, lie / NS_PER_S,
        drag > 0   ? ", and run fast"
        : drag < 0 ? ", and run slow"
                   : "");
    host_clock_lie(c, sim->now_ns, lie, drag);
    if (drag == 0 && chance_percent(&sim->chance, 60)) {
        SAY("chronyd on %s is started anew", m->name);
        host_clock_set_alive(c, sim->now_ns, false);
        host_clock_set_alive(c, sim->now_ns, true);
    }
    live_through(chance_between(&sim->chance, drag != 0 ? 10 : 0, drag != 0 ? 45 : 20));
}

static void years_without_power(struct machine *m)
{
    SAY("%s stands without power for a long time", m->name);
    machine_power_off(m);
    const struct plan *plan = &sim->oracle.keys[below(sim->oracle.key_count)].plan;
    int64_t span = plan->kind == PLAN_TIME ? plan->window_s : 86400;
    world_advance(span * chance_between(&sim->chance, 1, 4) * NS_PER_S);
    sim->counts.years++;
}

/* Operators ------------------------------------------------------------------------------------ */

static unsigned some_key(void)
{
    return (unsigned)below(sim->oracle.key_count);
}

/* Operators choose bad moments. */
static void arm_something(struct machine *m)
{
    machine_power_on(m);
    if (chance_percent(&sim->chance, 60))
        return;
    if (chance_percent(&sim->chance, 50)) {
        disk_cut_in(m->disk, 1 + below(60));
        return;
    }
    m->port.fault_in = 1 + below(30);
    m->port.fault = (enum tpm_fault)(1 + below(TPM_FAULTS - 1));
}

static void disarm(struct machine *m)
{
    disk_disarm(m->disk);
    m->port.fault_in = 0;
}

static void operator_exports(struct machine *m)
{
    unsigned key = some_key();
    if (!sim->oracle.keys[key].on[m->number].provisioned)
        return;
    arm_something(m);
    (void)operator_export(m, key, 0, chance_percent(&sim->chance, 75));
    disarm(m);
}

static void operator_recovers(struct machine *m)
{
    unsigned key = some_key();
    if (!sim->oracle.keys[key].on[m->number].provisioned)
        return;
    arm_something(m);
    int64_t wait_s = 0;
    (void)operator_recover_here(m, key, &wait_s);
    disarm(m);
}

static void operator_advances(struct machine *m)
{
    unsigned key = some_key();
    if (!sim->oracle.keys[key].on[m->number].provisioned ||
        sim->oracle.keys[key].plan.kind != PLAN_TIME)
        return;
    (void)operator_advance(m, key, arm_something);
    disarm(m);
}

/* Whoever holds the key now is destroyed first, as the statement says. In some runs "destroyed"
 * means that its TPM was cleared: then the rest of it may be switched on again. */
static void destroy_holders(unsigned key, const struct machine *except)
{
    for (unsigned i = 0; i < MACHINES_MAX; i++) {
        struct machine *m = &machines[i];
        if (m == except || !m->exists || !sim->oracle.keys[key].on[i].provisioned)
            continue;
        machine_power_off(m);
        m->retired = true;
        sim_tpm_make(m->port.chip, m->number + 1 + MACHINES_MAX);
        for (size_t k = 0; k < sim->oracle.key_count; k++)
            sim->oracle.keys[k].on[i].provisioned = false;
        SAY("%s is lost, and its TPM cleared", m->name);
    }
}

static void operator_replaces(struct machine *m)
{
    unsigned key = some_key();
    struct machine *to = &machines[below(MACHINES_MAX)];
    (void)m;
    if (!to->exists || to->retired || operator_shelved(key) == 0 ||
        sim->oracle.keys[key].on[to->number].provisioned)
        return;
    destroy_holders(key, to);
    arm_something(to);
    (void)operator_replace(to, key, (unsigned)below(operator_shelved(key)));
    disarm(to);
}

static void lost_device_returns(struct machine *m)
{
    (void)m;
    for (unsigned i = 0; i < MACHINES_MAX; i++) {
        struct machine *old = &machines[i];
        if (!old->exists || !old->retired)
            continue;
        SAY("%s, which was stated to be destroyed, is switched on", old->name);
        sim->counts.returns++;
        old->lineage++;
        if (machine_start(old)) {
            client_send(old);
            client_send(old);
            sim->ops += clients_deliver(old, 4);
        }
        machine_power_off(old);
        return;
    }
}

static void operator_makes_key(struct machine *m)
{
    char name[16];
    char text[PLANS_TEXT_MAX];
    if (sim->oracle.key_count >= ORACLE_KEYS_MAX || m->retired)
        return;
    (void)snprintf(name, sizeof(name), "late-%" PRIu32, ++sim->numbers);
    enum sim_plan kind = (enum sim_plan)below(SIM_PLANS);
    plans_draw(&sim->chance, kind, name, true, sim->remote, text);
    arm_something(m);
    (void)operator_key_new(m, text);
    disarm(m);
}

/* The table ------------------------------------------------------------------------------------ */

#define BELONGS(member) offsetof(struct temper, member)

static const struct {
    const char *name;
    size_t temper; /* where in struct temper it says whether this happens */
    unsigned weight;
    void (*act)(struct machine *m);
} table[] = {
    {"power cut in a disk step", BELONGS(crashes), 14, cut_in_disk_step},
    {"process killed in a disk step", BELONGS(crashes), 8, kill_in_disk_step},
    {"power cut at a TPM command", BELONGS(crashes), 8, cut_at_tpm_command},
    {"power cut", BELONGS(crashes), 5, cut_now},
    {"process killed", BELONGS(crashes), 6, kill_process},
    {"restart", BELONGS(crashes), 5, restart},
    {"second daemon", BELONGS(crashes), 4, second_daemon},
    {"years without power", BELONGS(crashes), 1, years_without_power},
    {"I/O error", BELONGS(faults), 8, io_error},
    {"disk full", BELONGS(faults), 3, disk_full},
    {"TPM command fails", BELONGS(faults), 6, tpm_fails},
    {"TPM busy", BELONGS(faults), 4, tpm_busy},
    {"TPM lock-out", BELONGS(faults), 1, tpm_lockout},
    {"TPM away", BELONGS(faults), 1, tpm_away},
    {"clock set", BELONGS(clocks), 6, set_clock},
    {"chronyd stopped or started", BELONGS(clocks), 4, chronyd_stops},
    {"chronyd without source", BELONGS(clocks), 4, chronyd_loses_source},
    {"chronyd answers badly", BELONGS(clocks), 4, chronyd_answers},
    {"machine paused or asleep", BELONGS(clocks), 5, put_aside},
    {"leap second", BELONGS(clocks), 2, leap_second},
    {"operator looks at the clock", BELONGS(crashes), 6, operator_looks},
    {"record of the clock lost or put back", BELONGS(clocks), 3, clock_file},
    {"time source lies", BELONGS(lies), 6, source_lies},
    {"copy of a disk kept", BELONGS(rollbacks), 12, keep_copy},
    {"disk put back", BELONGS(rollbacks), 6, restore_disk},
    {"ledger put back", BELONGS(rollbacks), 6, restore_ledger},
    {"sealed secrets put back", BELONGS(rollbacks), 3, restore_seeds},
    {"disk copied to another machine", BELONGS(clones), 5, clone_disk},
    {"memory image kept", BELONGS(images), 3, keep_image},
    {"memory image resumed", BELONGS(images), 4, resume_image},
    {"machine resumed", BELONGS(virtual_machine), 3, resume_machine},
    {"machine put back", BELONGS(virtual_machine), 6, restore_machine},
    {"copy of a machine kept", BELONGS(virtual_machine), 8, keep_copy},
    {"backup exported", BELONGS(operators), 16, operator_exports},
    {"window opened early", BELONGS(operators), 12, operator_advances},
    {"recovery here", BELONGS(operators), 4, operator_recovers},
    {"replacement from a backup", BELONGS(operators), 10, operator_replaces},
    {"lost device returns", BELONGS(operators), 6, lost_device_returns},
    {"key made", BELONGS(operators), 3, operator_makes_key},
};

#define ROWS (sizeof(table) / sizeof(table[0]))

const char *adversary_name(size_t i)
{
    return i < ROWS ? table[i].name : NULL;
}

static bool belongs(size_t row)
{
    return *((const bool *)((const char *)&sim->temper + table[row].temper));
}

void adversary_act(struct machine *m)
{
    unsigned total = 0;
    for (size_t i = 0; i < ROWS; i++)
        total += belongs(i) ? table[i].weight : 0;
    if (total == 0)
        return;
    uint64_t dice = below(total);
    for (size_t i = 0; i < ROWS; i++) {
        if (!belongs(i))
            continue;
        if (dice < table[i].weight) {
            EVENT(50, i);
            table[i].act(m);
            return;
        }
        dice -= table[i].weight;
    }
}

static bool yes(struct chance *c, unsigned percent)
{
    return chance_percent(c, percent);
}

void temper_draw(struct temper *t, struct chance *c)
{
    uint64_t dice = chance_below(c, 100);
    *t = (struct temper){.name = "crashes", .crashes = true};
    if (dice < 20)
        return;
    t->faults = yes(c, dice < 36 ? 100 : 50);
    t->clocks = yes(c, dice < 36 ? 60 : 30);
    if (dice < 36) {
        t->name = "faults";
    } else if (dice < 54) {
        t->name = "states put back";
        t->rollbacks = true;
        t->clones = yes(c, 50);
        t->images = yes(c, 40);
        t->lossy = yes(c, 20);
    } else if (dice < 72) {
        t->name = "operators";
        t->operators = true;
        t->rollbacks = yes(c, 25);
        t->lies = yes(c, 10);
    } else if (dice < 80) {
        t->name = "virtual machines";
        t->virtual_machine = t->images = true;
        t->lossy = yes(c, 20);
    } else if (dice < 90) {
        t->name = "clocks";
        t->clocks = true;
        t->faults = yes(c, 20);
        t->lies = yes(c, 70);
        t->virtual_machine = yes(c, 25);
        t->images = yes(c, 25);
        t->rollbacks = yes(c, 25);
    } else {
        t->name = "everything";
        t->rollbacks = t->clones = t->images = t->operators = t->faults = t->clocks = true;
        t->lossy = yes(c, 30);
        t->lies = yes(c, 30);
    }
}

bool temper_known(const char *name)
{
    static const char *const names[] = {"crashes",   "faults",           "states put back",
                                        "operators", "virtual machines", "clocks",
                                        "everything"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}
