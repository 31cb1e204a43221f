#include "sim/run.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "hbs/kernel.h"
#include "sim/adversary.h"
#include "sim/checks.h"
#include "sim/client.h"
#include "sim/doors.h"
#include "sim/machine.h"
#include "sim/operator.h"
#include "sim/thrift.h"

#define KEYS_AT_START_MAX 2
#define OPERATOR_STEPS_MAX 14 /* until a key signs again, at the end */

static struct oracle *oracle(void)
{
    return &sim->oracle;
}

static uint64_t below(uint64_t n)
{
    return chance_below(&sim->chance, n);
}

/* Beginning ------------------------------------------------------------------------------------ */

static enum sim_plan draw_plan(const struct run_options *o)
{
    return o->plan != SIM_PLANS ? o->plan : (enum sim_plan)below(SIM_PLANS);
}

static void make_keys(const struct run_options *o, bool real)
{
    static const char *const names[] = {"alpha", "beta", "gamma"};
    unsigned count =
        1 + (unsigned)(chance_percent(&sim->chance, 25) ? below(KEYS_AT_START_MAX) + 1 : 0);
    if (count > 2)
        count = 2;
    for (unsigned i = 0; i < count; i++) {
        char text[PLANS_TEXT_MAX];
        plans_draw(&sim->chance, draw_plan(o), names[i], !real, text);
        (void)operator_key_new(&machines[0], text);
    }
}

static void begin(const struct run_options *o)
{
    sim_begin(o->seed, o->telling, o->fully);
    temper_draw(&sim->temper, &sim->chance);
    sim->ops_wanted = 60 + below(200);
    bool real = chance_percent(&sim->chance, 3);
    doors_set_chains(real);
    /* SQLite keeps one generator of its own for the whole program. */
    (void)sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, (int)(o->seed & 0x7fffffff) | 1, NULL);
    bool several = sim->temper.clones || sim->temper.operators;
    enum tpm_kind kind = sim->temper.virtual_machine ? TPM_VIRTUAL
                         : sim->temper.lossy         ? TPM_FIRMWARE
                                                     : TPM_HARDWARE;
    enum virtual_policy policy =
        sim->temper.virtual_machine ? (enum virtual_policy)below(3) : VIRTUAL_REFUSE;
    operator_begin();
    adversary_begin();
    clients_begin();
    checks_begin();
    machines_begin(several ? 2 + (unsigned)below(2) : 1, kind, policy);
    SAY("seed %" PRIu64 ": a world of %s; the TPMs are %s", o->seed, sim->temper.name,
        kind == TPM_HARDWARE  ? "hardware"
        : kind == TPM_VIRTUAL ? "virtual"
                              : "firmware");
    world_advance(90 * NS_PER_S);
    make_keys(o, real);
    if (machine_start(&machines[0]))
        check_start(&machines[0]);
    world_advance(60 * NS_PER_S);
}

/* Operations ----------------------------------------------------------------------------------- */

static struct machine *some_machine(void)
{
    for (int i = 0; i < 8; i++) {
        struct machine *m = &machines[chance_percent(&sim->chance, 75) ? 0 : below(MACHINES_MAX)];
        if (m->exists && !m->retired)
            return m;
    }
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        if (machines[i].exists && !machines[i].retired)
            return &machines[i];
    return NULL;
}

static void start_again(struct machine *m)
{
    if (m->running || m->retired)
        return;
    if (!m->powered && chance_percent(&sim->chance, 50))
        return;
    if (machine_start(m))
        check_start(m);
}

static void traffic(struct machine *m)
{
    start_again(m);
    for (uint64_t i = 1 + below(5); i > 0; i--)
        client_send(m);
    if (!m->running)
        return;
    size_t count = clients_deliver(m, 1 + below(8));
    sim->ops += count;
}

static void time_goes_on(void)
{
    static const int64_t spans[] = {1, 1, 5, 30, 30, 300, 1200, 3600};
    int64_t span = spans[below(8)] * NS_PER_S + (int64_t)below((uint64_t)NS_PER_S);
    if (chance_percent(&sim->chance, 8) && oracle()->key_count > 0) {
        const struct plan *plan = &oracle()->keys[below(oracle()->key_count)].plan;
        if (plan->kind == PLAN_TIME)
            span =
                plan->window_s * (int64_t)(NS_PER_S / 100) * chance_between(&sim->chance, 20, 130);
    }
    SAY("%" PRId64 ".%03" PRId64 " s go by", span / NS_PER_S, span % NS_PER_S / NS_PER_MS);
    world_advance(span);
    sim->counts.time_steps++;
    sim->ops++;
}

static void operation(void)
{
    struct machine *m = some_machine();
    uint64_t dice = below(100);
    if (m == NULL || dice < 15) {
        time_goes_on();
    } else if (dice < 80) {
        traffic(m);
    } else if (dice < 82) {
        check_account(m);
    } else {
        adversary_act(m);
        sim->ops++;
    }
    sim->trace.step++;
}

/* The end: faults stop, and every key must sign again ------------------------------------------ */

static struct machine *holder_of(unsigned key)
{
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        if (machines[i].exists && !machines[i].retired && oracle()->keys[key].on[i].provisioned)
            return &machines[i];
    return NULL;
}

static void mend(struct machine *m)
{
    if (!m->exists)
        return;
    disk_disarm(m->disk);
    disk_set_full(m->disk, false);
    m->port.fault_in = 0;
    m->port.busy_for = 0;
    m->port.chip->dead = false;
    m->port.chip->lockout_until_ns = 0;
    if (m->retired)
        return;
    machine_power_on(m);
    host_clock_mend(&sim->clocks[m->number], sim->now_ns);
}

/* One more step of an operator who reads docs/operations.md. @return false: nothing helps. */
static bool help(struct machine *m, unsigned key, enum rc rc, const struct reply *reply,
                 bool *recovered)
{
    struct oracle_key *k = &oracle()->keys[key];
    switch (rc) {
    case RC_RETRY_CLOCK:
    case RC_RETRY_ANCHOR:
    case RC_RETRY_BUSY:
    case RC_RETRY_STARTING:
    case RC_RETRY_SYSTEM:
        world_advance(60 * NS_PER_S);
        return true;
    case RC_RETRY_WINDOW_FULL:
        if (k->plan.kind != PLAN_TIME)
            return true;
        world_advance((reply->retry_after_s + 4) * NS_PER_S);
        return reply->retry_after_s >= 0;
    case RC_REFUSED_NOT_OPEN:
        if (reply->window_opens_s >= 0)
            world_advance(reply->window_opens_s * NS_PER_S - sim->now_ns + 4 * NS_PER_S);
        return reply->window_opens_s >= 0;
    case RC_REFUSED_BELOW_FLOOR:
    case RC_REFUSED_BOUND:
    case RC_REFUSED_SPENT:
    case RC_REFUSED_JUMP:
        return true; /* another version */
    case RC_REFUSED_EXPORT:
        return operator_export(m, key, true) && machine_start(m);
    case RC_HALT_REGRESSION:
    case RC_HALT_TPM_BEHIND:
    case RC_HALT_INVARIANT:
    case RC_HALT_SEEDS:
        *recovered = true;
        return operator_recover_here(m, key) == RC_OK && machine_start(m);
    case RC_HALT_LEDGER:
    case RC_HALT_ANCHOR:
    case RC_HALT_CANARY:
    case RC_HALT_SYSTEM:
    case RC_HALT_STATE_DIR:
        machine_stop(m);
        return machine_start(m);
    default:
        return false;
    }
}

/* Reasons for which a key may be at its end. */
static bool at_its_end(const struct oracle_key *k, enum rc rc)
{
    (void)k;
    return rc == RC_REFUSED_EXHAUSTED || rc == RC_REFUSED_OUTSIDE_PLAN || rc == RC_HALT_VIRTUAL;
}

static void must_sign_again(unsigned key)
{
    struct machine *m = holder_of(key);
    const struct oracle_key *k = &oracle()->keys[key];
    struct reply reply = {0};
    enum rc rc = RC_OK;
    bool recovered = false;
    unsigned tried = 0;
    if (m == NULL)
        return;
    bool plain = !sim->temper.rollbacks && !sim->temper.clones && !sim->temper.lossy &&
                 !sim->temper.virtual_machine && !sim->temper.operators && !sim->temper.lies;
    for (unsigned i = 0; i < OPERATOR_STEPS_MAX && !oracle()->broken; i++) {
        if (!machine_start(m))
            continue;
        check_start(m);
        rc = client_ask_now(m, key, tried, &reply);
        if (rc == RC_OK) {
            *(recovered ? &sim->counts.next_window : &sim->counts.same_window) += 1;
            if (recovered && plain)
                oracle_break(oracle(), "Liveness", "%s: after crashes alone %s had to be recovered",
                             m->name, k->plan.key);
            return;
        }
        tried += rc_class(rc) == RC_CLASS_REFUSED && rc != RC_REFUSED_EXPORT;
        if (at_its_end(k, rc) || !help(m, key, rc, &reply, &recovered))
            return;
    }
    if (plain && !oracle()->broken)
        oracle_break(oracle(), "Liveness", "%s: %s does not sign again: %s: %s", m->name,
                     k->plan.key, rc_name(rc), reply.text);
}

static void finish(void)
{
    SAY("from here on nothing goes wrong any more");
    for (unsigned i = 0; i < MACHINES_MAX; i++)
        mend(&machines[i]);
    sim->message_count = 0;
    world_advance(120 * NS_PER_S);
    for (unsigned k = 0; k < oracle()->key_count && !oracle()->broken; k++)
        must_sign_again(k);
    for (unsigned i = 0; i < MACHINES_MAX && !oracle()->broken; i++)
        if (machines[i].running)
            check_account(&machines[i]);
}

static void count_excuses(void)
{
    uint32_t e = oracle()->excused;
    sim->counts.uncovered_lie += (e & EXCUSE_LIE) != 0;
    sim->counts.uncovered_machine += (e & EXCUSE_MACHINE) != 0;
    sim->counts.uncovered_rewind += (e & EXCUSE_REWIND) != 0;
}

void run_warm_up(void)
{
    struct err err = {0};
    thrift_begin();
    MUST(hbs_kernel_start(&err) == RC_OK);
}

bool run_seed(const struct run_options *o)
{
    begin(o);
    uint64_t wanted = o->ops != 0 ? o->ops : sim->ops_wanted;
    while (sim->ops < wanted && !oracle()->broken)
        operation();
    if (!oracle()->broken)
        finish();
    count_excuses();
    machines_end();
    adversary_end();
    operator_end();
    sim->counts.seeds++;
    sim->counts.operations += sim->ops;
    return !oracle()->broken;
}
