#include "sim/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/lock.h"
#include "sim/files.h"

#define IDLE_MS 30000
#define POLLS_SHOWN 4 /* of chronyd, in one step of time */

struct machine machines[MACHINES_MAX];
struct machine *machine_current;
static machine_answer answer_to;

static const char *const names[MACHINES_MAX] = {"device A", "device B", "device C"};
static const char *const vfs_names[MACHINES_MAX] = {"sim-a", "sim-b", "sim-c"};

/* The world, as the code of a machine sees it -------------------------------------------------- */

static struct host_clock *clock_of(void *ctx)
{
    struct machine *m = ctx;
    return &sim->clocks[m->number];
}

static int64_t real_ns(void *ctx)
{
    return host_clock_real_ns(clock_of(ctx), sim->now_ns);
}

static int64_t raw_ns(void *ctx)
{
    return host_clock_raw_ns(clock_of(ctx), sim->now_ns);
}

static void sleep_ms(void *ctx, uint32_t ms)
{
    sim->now_ns += (int64_t)ms * NS_PER_MS;
    host_clock_run(clock_of(ctx), sim->now_ns, &sim->chance);
}

static void clock_sample(void *ctx, struct clk_sample *sample)
{
    struct machine *m = ctx;
    struct host_clock *c = clock_of(m);
    truth_observe(m);
    if (c->alive && c->answer == ANSWER_NONE)
        sim->now_ns += CLK_TIMEOUT_MS * NS_PER_MS;
    host_clock_run(c, sim->now_ns, &sim->chance);
    host_clock_sample(c, sim->now_ns, &m->sets_seen, sample);
    truth_sampled(m);
    EVENT(2, sample->evidence.real_ns);
}

/* Things take time, and now and then very long: windows end in the middle of a signature. Where
 * clocks are an adversary's, the machine itself may have stood still in between. */
static void take_time(struct machine *m, int64_t usual_ms, int64_t stall_s)
{
    int64_t ms = (int64_t)chance_below(&sim->chance, (uint64_t)usual_ms + 1);
    bool stalls = chance_one_in(&sim->chance, 150);
    if (stalls)
        ms = chance_between(&sim->chance, 1, stall_s) * 1000;
    sim->now_ns += ms * NS_PER_MS;
    if (!stalls || !sim->temper.clocks || sim->mended || chance_percent(&sim->chance, 60))
        return;
    SAY("%s stood still for %" PRId64 " s", m->name, ms / 1000);
    sim->counts.clock_asides++;
    host_clock_pause(clock_of(m), sim->now_ns, ms * NS_PER_MS);
    truth_put_aside(m, ms * NS_PER_MS);
    m->look_soon = true;
}

static void disk_step_seen(void *ctx, enum disk_step step, const char *name, uint64_t bytes)
{
    static const char *const what[] = {"writes", "cuts or grows", "syncs", "changes a name:"};
    struct machine *m = ctx;
    EVENT(3 + step, bytes);
    if (step == DISK_SYNC)
        take_time(m, 8, 40);
    trace_detail(&sim->trace, "%s %s %s (%llu)", m->name, what[step], name,
                 (unsigned long long)bytes);
}

static void tpm_step_seen(void *ctx, enum tpm_command command, enum tpm_fault fault)
{
    struct machine *m = ctx;
    EVENT(16 + command, fault);
    take_time(m, 30, 40);
    if (fault != TPM_FAULT_NONE)
        SAY("%s: the TPM command %s goes wrong: %s", m->name, tpm_command_name(command),
            tpm_fault_name(fault));
    else
        trace_detail(&sim->trace, "%s asks its TPM to %s", m->name, tpm_command_name(command));
}

static void take_answer(void *ctx, struct item *item, const void *payload, size_t len)
{
    answer_to(ctx, item, payload, len);
}

void machines_set_answer(machine_answer answer)
{
    answer_to = answer;
}

/* Making --------------------------------------------------------------------------------------- */

static void configure(struct machine *m, enum virtual_policy policy)
{
    static const struct named_limits none = {.name = "-"};
    m->source =
        (struct time_source){.ctx = m, .real_ns = real_ns, .raw_ns = raw_ns, .sleep_ms = sleep_ms};
    m->world = (struct world){.time = &m->source,
                              .tpm = &sim_tpm_ops,
                              .tpm_ctx = &m->port,
                              .clock_sample = clock_sample,
                              .clock_ctx = m};
    m->config = (struct signer_config){
        .state_dirfd = -1,
        .ledger_path = "/ledger.db",
        .ledger_vfs = vfs_names[m->number],
        .settings = {.virtual_policy = policy,
                     .clock = {.max_error_ms = 250,
                               .max_age_s = 512,
                               .max_stratum = 4,
                               .warmup = MACHINE_WARMUP,
                               .guard_ms = 2000,
                               .kernel_witness = true},
                     .tolerance = {.raw_ppm = 200,
                                   .max_forward_ms = 2000,
                                   .max_offline_s = INT64_C(48) * 3600},
                     .edge_wait_ms = 5000,
                     .export_margin = 1,
                     .catch_up_steps = 2},
        .limits = &none,
        .limits_count = 1,
    };
    m->sink = (struct loop_sink){.ctx = m, .answer = take_answer};
}

static void machine_make(struct machine *m, enum tpm_kind kind, enum virtual_policy policy)
{
    m->exists = true;
    m->disk = disk_make(chance_make(sim->seed, 100 + m->number));
    disk_set_hook(m->disk, disk_step_seen, m);
    m->vfs = vfs_open(vfs_names[m->number], m->disk, chance_make(sim->seed, 200 + m->number));
    sim_tpm_make(&sim->chips[m->number], m->number + 1);
    sim_tpm_set_kind(&sim->chips[m->number], kind);
    m->port = (struct tpm_port){.chip = &sim->chips[m->number],
                                .power = m->disk,
                                .now_ns = &sim->now_ns,
                                .hook = tpm_step_seen,
                                .hook_ctx = m};
    configure(m, policy);
}

void machines_begin(unsigned count, enum tpm_kind kind, enum virtual_policy policy)
{
    for (unsigned i = 0; i < MACHINES_MAX; i++) {
        struct machine *m = &machines[i];
        *m = (struct machine){.number = i, .name = names[i], .locks = {-1, -1}};
        if (i >= count)
            continue;
        machine_make(m, kind, policy);
        machine_power_on(m);
    }
}

void machines_end(void)
{
    for (unsigned i = 0; i < MACHINES_MAX; i++) {
        struct machine *m = &machines[i];
        if (!m->exists)
            continue;
        machine_kill(m);
        vfs_close(&m->vfs);
        disk_free(&m->disk);
    }
}

/* Power and process ---------------------------------------------------------------------------- */

void machine_enter(struct machine *m)
{
    machine_current = m;
    files_mount(m->disk, m->process);
}

/* Let go of the process' memory. While the disk is off its last calls fail, so nothing is written
 * that a killed process would not have written. */
static void process_end(struct machine *m)
{
    if (!m->running)
        return;
    bool was_off = disk_is_off(m->disk);
    machine_enter(m);
    disk_off(m->disk);
    loop_end(&m->loop, false);
    truth_ended(m);
    files_process_end(m->process);
    m->config.state_dirfd = -1;
    m->locks[0] = m->locks[1] = -1;
    m->running = false;
    if (!was_off)
        disk_process_end(m->disk);
}

void machine_power_off(struct machine *m)
{
    if (!m->powered)
        return;
    disk_off(m->disk);
    process_end(m);
    m->powered = false;
    sim_tpm_power_off(m->port.chip, sim->now_ns, &sim->chance);
    sim->counts.cuts++;
}

void machine_excuse_rewind(struct machine *m)
{
    bool behind = m->disk_went_back || m->image_lived;
    for (size_t k = 0; k < sim->oracle.key_count; k++)
        if (behind && m->tpm_went_back && sim->oracle.keys[k].on[m->number].provisioned)
            sim->oracle.keys[k].excuses |= EXCUSE_REWIND;
}

void machine_power_on(struct machine *m)
{
    if (m->powered)
        return;
    disk_power_on(m->disk);
    disk_set_full(m->disk, false);
    m->port.fault_in = 0;
    m->port.busy_for = 0;
    unsigned lost = sim_tpm_power_on(m->port.chip, sim->now_ns, &sim->chance);
    host_clock_boot(&sim->clocks[m->number], sim->now_ns, &sim->chance);
    m->powered = true;
    SAY("%s is switched on", m->name);
    if (lost == 0)
        return;
    sim->counts.tpm_lost++;
    m->lineage++;
    m->tpm_went_back = true;
    machine_excuse_rewind(m);
    SAY("%s: the TPM has lost its newest %u write(s)", m->name, lost);
}

void machine_settle(struct machine *m)
{
    if (!m->powered || !disk_is_off(m->disk))
        return;
    if (m->cut_is_kill) {
        SAY("%s: the process is killed in the middle of that", m->name);
        process_end(m);
        disk_process_end(m->disk);
        sim->counts.kills++;
        return;
    }
    SAY("%s loses its power in the middle of that", m->name);
    sim->counts.cuts++;
    process_end(m);
    m->powered = false;
    sim_tpm_power_off(m->port.chip, sim->now_ns, &sim->chance);
}

bool machine_start(struct machine *m)
{
    machine_power_on(m);
    if (m->running)
        return true;
    m->process = ++sim->processes;
    machine_enter(m);
    m->config.state_dirfd = files_root();
    struct err err = {0};
    enum rc rc = lock_take(m->config.state_dirfd, SERVICE_LOCK, 0, &m->locks[0], &err);
    if (rc == RC_OK)
        rc = lock_take(m->config.state_dirfd, CORE_LOCK, 0, &m->locks[1], &err);
    if (rc != RC_OK) {
        SAY("%s: the service does not start: %s", m->name, err_text(&err));
        files_process_end(m->process);
        m->config.state_dirfd = -1;
        machine_settle(m);
        return false;
    }
    m->running = true;
    m->truth = (struct truth){0};
    m->sets_seen = clock_of(m)->sets;
    m->starts++;
    sim->counts.starts++;
    SAY("%s: the service starts", m->name);
    loop_start(&m->loop, &m->config, IDLE_MS, &m->world, &m->sink);
    truth_began(m);
    machine_settle(m);
    return m->running;
}

void machine_stop(struct machine *m)
{
    if (!m->running)
        return;
    machine_enter(m);
    SAY("%s: the service is stopped", m->name);
    loop_end(&m->loop, true);
    truth_ended(m);
    machine_settle(m);
    if (!m->running)
        return;
    files_process_end(m->process);
    m->config.state_dirfd = -1;
    m->running = false;
}

void machine_kill(struct machine *m)
{
    process_end(m);
}

void machine_halt(struct machine *m, enum rc rc, const struct err *err)
{
    machine_settle(m);
    if (rc_class(rc) != RC_CLASS_HALT || !m->running)
        return;
    sim->counts.halts++;
    SAY("%s: the process ends: %s: %s", m->name, rc_name(rc), err_text(err));
    process_end(m);
}

void machine_turn(struct machine *m, struct item **items, size_t count)
{
    if (!m->running)
        return;
    machine_enter(m);
    m->turn_raw_ns = raw_ns(m);
    struct err err = {0};
    enum rc rc = loop_turn(&m->loop, items, count, &err);
    EVENT(4, rc);
    truth_observe(m);
    if (rc == RC_OK && !disk_is_off(m->disk))
        truth_turned(m);
    machine_halt(m, rc, &err);
}

/* Time ----------------------------------------------------------------------------------------- */

static struct machine *next_to_poll(int64_t until_ns)
{
    struct machine *next = NULL;
    for (unsigned i = 0; i < MACHINES_MAX; i++) {
        if (!machines[i].exists || !machines[i].powered || machines[i].aside)
            continue;
        int64_t at = host_clock_next(&sim->clocks[i]);
        if (at > until_ns)
            continue;
        if (next == NULL || at < host_clock_next(&sim->clocks[next->number]))
            next = &machines[i];
    }
    return next;
}

/* A service looks at its clock twice a second. Between two events of a clock nothing can change
 * that the next look would not see, so it is enough that it looks after each. */
static void look(struct machine *m)
{
    if (m->running && !m->aside)
        machine_turn(m, NULL, 0);
}

static void advance(int64_t ns)
{
    int64_t until = sim->now_ns + ns;
    for (;;) {
        struct machine *m = next_to_poll(until);
        if (m == NULL)
            break;
        struct host_clock *c = &sim->clocks[m->number];
        int64_t at = host_clock_next(c);
        /* Of a long time only the end is lived through: warming up takes three polls. */
        if (until - at > (POLLS_SHOWN + 1) * c->poll_s * NS_PER_S)
            at = until - POLLS_SHOWN * c->poll_s * NS_PER_S;
        if (at > sim->now_ns)
            sim->now_ns = at;
        host_clock_run(c, sim->now_ns, &sim->chance);
        look(m);
    }
    if (until > sim->now_ns)
        sim->now_ns = until;
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        if (machines[i].exists && machines[i].powered)
            look(&machines[i]);
}

/* A service that has just been put aside looks at its TPM's clock in a moment, not in days. */
static bool looks_soon(void)
{
    bool any = false;
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        if (!machines[i].aside) {
            any = any || (machines[i].look_soon && machines[i].running);
            machines[i].look_soon = false;
        }
    return any;
}

void world_advance(int64_t ns)
{
    int64_t soon_ns = (TIMEKEEPER_TPM_S + 1) * NS_PER_S;
    if (ns > soon_ns && looks_soon()) {
        advance(soon_ns);
        ns -= soon_ns;
    }
    advance(ns);
}

void machine_put_aside(struct machine *m, int64_t span_ns, bool asleep)
{
    struct host_clock *c = clock_of(m);
    if (!m->powered)
        return;
    look(m); /* as it did a moment ago */
    if (!m->powered)
        return;
    host_clock_run(c, sim->now_ns, &sim->chance);
    m->aside = true;
    world_advance(span_ns);
    m->aside = false;
    if (asleep)
        host_clock_sleep(c, sim->now_ns, span_ns);
    else
        host_clock_pause(c, sim->now_ns, span_ns);
    truth_put_aside(m, span_ns);
    m->look_soon = true;
}
