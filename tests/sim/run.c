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
    if (o->plan != SIM_PLANS)
        return o->plan;
    bool by_clock = sim->temper.lies && chance_percent(&sim->chance, 70);
    return by_clock ? SIM_TIME : (enum sim_plan)below(SIM_PLANS);
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
        plans_draw(&sim->chance, draw_plan(o), names[i], !real, sim->remote && i == 0, text);
        (void)operator_key_new(&machines[0], text);
    }
}

static void begin(const struct run_options *o)
{
    sim_begin(o->seed, o->telling, o->fully);
    do
        temper_draw(&sim->temper, &sim->chance);
    while (o->world != NULL && strcmp(sim->temper.name, o->world) != 0);
    sim->ops_wanted = 60 + below(640);
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
    /* Most worlds begin with an empty ledger that was made once; some make theirs. */
    if (!chance_percent(&sim->chance, 15))
        operator_give_ledger(&machines[0]);
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
    for (uint64_t i = 4 + below(20); i > 0; i--)
        client_send(m);
    if (!m->running)
        return;
    size_t count = clients_deliver(m, 1 + below(28));
    sim->ops += count;
}

/* Seconds, parts of a window, to the edge of one, or over it. */
static int64_t draw_span(void)
{
    int64_t window_s = 3600;
    int64_t to_edge_s = 1800;
    if (oracle()->key_count > 0) {
        const struct plan *plan = &oracle()->keys[below(oracle()->key_count)].plan;
        if (plan->kind == PLAN_TIME) {
            window_s = plan->window_s;
            to_edge_s = window_s - (sim->now_ns / NS_PER_S - plan->start_s) % window_s;
        }
    }
    uint64_t dice = below(100);
    int64_t parts = chance_between(&sim->chance, 1, 100);
    if (dice < 45)
        return parts * NS_PER_S / 4;
    if (dice < 75)
        return window_s * NS_PER_S / 400 * parts;
    if (dice < 88)
        return to_edge_s * NS_PER_S + (parts - 50) * NS_PER_S / 10;
    return window_s * NS_PER_S / 70 * parts;
}

static void time_goes_on(void)
{
    int64_t span = draw_span();
    span += (int64_t)below((uint64_t)NS_PER_S);
    SAY("%" PRId64 ".%03" PRId64 " s go by", span / NS_PER_S, span % NS_PER_S / NS_PER_MS);
    world_advance(span);
    sim->counts.time_steps++;
    sim->ops++;
}

static void operation(void)
{
    struct machine *m = some_machine();
    uint64_t dice = below(100);
    if (m == NULL || dice < 18) {
        time_goes_on();
    } else if (dice < 76) {
        traffic(m);
    } else if (dice < 78) {
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

/* What an operator who reads docs/operations.md does next. */
enum help { HELP_TRY_AGAIN, HELP_END /* the key is at its end, as DESIGN says */, HELP_NOTHING };

static enum help wait_until_open(const struct reply *reply)
{
    if (reply->window_opens_s < 0)
        return HELP_END; /* behind the plan's last window */
    int64_t wait = reply->window_opens_s * NS_PER_S - sim->now_ns;
    world_advance((wait > 0 ? wait : 0) + 4 * NS_PER_S);
    return HELP_TRY_AGAIN;
}

/* A window that a recovery made the last one cannot be acknowledged, since no window is left to
 * export; so it never signs (docs/evidence.md, "What the simulator found"). */
static bool nothing_to_export(const struct machine *m, const struct oracle_key *k)
{
    const struct sim_nv *nv = sim_tpm_nv(m->port.chip, k->on[m->number].w_handle);
    return nv != NULL &&
           (int64_t)nv->w - k->on[m->number].w_base + 1 >= (int64_t)k->plan.window_count;
}

/* A lie that went ahead is waited for: true time must catch up with what the TPM was told. A jump
 * forward that the evidence insists on is acknowledged. */
static void help_clock(struct machine *m, const struct oracle_key *k, const struct reply *reply)
{
    const struct sim_nv *nv = sim_tpm_nv(m->port.chip, k->on[m->number].w_handle);
    struct anchor_record a;
    int64_t wait_s = reply->retry_after_s > 60 ? reply->retry_after_s + 4 : 60;
    /* A jump that is none any more, or that its own processes made: somebody looks at a clock. */
    if (operator_acknowledge(m, false))
        wait_s = 60;
    else if (nv != NULL && anchor_record_decode(&a, nv->a) &&
             a.wall_s - sim->now_ns / NS_PER_S > wait_s)
        wait_s = a.wall_s - sim->now_ns / NS_PER_S + 4;
    world_advance(wait_s * NS_PER_S);
}

static enum help recover(struct machine *m, unsigned key)
{
    int64_t wait_s = 0;
    enum rc rc = operator_recover_here(m, key, &wait_s);
    /* What the service would not sign by, the operation does not believe either: the jump is
     * acknowledged there, or time has to catch up. */
    if (rc == RC_RETRY_CLOCK && machine_start(m)) {
        world_advance(60 * NS_PER_S);
        help_clock(m, &oracle()->keys[key], &(struct reply){.retry_after_s = wait_s});
        /* Caught up, the time may be a jump that an earlier process has found. */
        if (m->running && operator_acknowledge(m, false))
            world_advance(60 * NS_PER_S);
    }
    /* No window is left; or the TPM lost the counters themselves, and only a backup would help. */
    if (rc == RC_REFUSED_EXHAUSTED || rc == RC_REFUSED_UNSUPPORTED || rc == RC_REFUSED_OUTSIDE_PLAN)
        return HELP_END;
    return rc == RC_OK || rc_class(rc) == RC_CLASS_RETRY ? HELP_TRY_AGAIN : HELP_NOTHING;
}

static enum help help(struct machine *m, unsigned key, enum rc rc, const struct reply *reply,
                      bool *recovered)
{
    const struct oracle_key *k = &oracle()->keys[key];
    switch (rc) {
    case RC_REFUSED_EXHAUSTED:
    case RC_REFUSED_OUTSIDE_PLAN:
    case RC_HALT_VIRTUAL:
        return HELP_END;
    case RC_REFUSED_NO_KEY:
    case RC_REFUSED_NOT_FOUND:
        /* The ledger went back to before the key was made. */
        return m->disk_went_back ? HELP_END : HELP_NOTHING;
    case RC_HALT_STATE_DIR:
        /* The disk went back to before the key was made, and the ledger alone to behind that: the
         * files that it names are nowhere. */
        if (m->disk_went_back && !disk_has_key(m->disk, k->plan.key))
            return HELP_END;
        break;
    case RC_RETRY_WINDOW_FULL:
        if (k->plan.kind == PLAN_TIME)
            world_advance((reply->retry_after_s > 0 ? reply->retry_after_s + 4 : 60) * NS_PER_S);
        return HELP_TRY_AGAIN;
    case RC_RETRY_RATE: /* too many reservations are open */
        world_advance((reply->retry_after_s > 0 ? reply->retry_after_s + 1 : 60) * NS_PER_S);
        return HELP_TRY_AGAIN;
    case RC_REFUSED_NOT_OPEN:
        return wait_until_open(reply);
    case RC_REFUSED_EXPORT:
        if (nothing_to_export(m, k))
            return HELP_END;
        return operator_export(m, key, 0, true) ? HELP_TRY_AGAIN : HELP_NOTHING;
    case RC_RETRY_CLOCK:
        help_clock(m, k, reply);
        return HELP_TRY_AGAIN;
    case RC_HALT_REGRESSION:
    case RC_HALT_TPM_BEHIND:
    case RC_HALT_INVARIANT:
    case RC_HALT_SEEDS:
        *recovered = true;
        return recover(m, key);
    default:
        break;
    }
    if (rc_class(rc) == RC_CLASS_HALT)
        machine_stop(m); /* and start it again */
    if (rc_class(rc) == RC_CLASS_RETRY)
        world_advance(60 * NS_PER_S);
    return HELP_TRY_AGAIN;
}

static void must_sign_again(unsigned key)
{
    struct machine *m = holder_of(key);
    const struct oracle_key *k = &oracle()->keys[key];
    struct reply reply = {0};
    enum rc rc = RC_OK;
    bool recovered = false;
    unsigned tried = 0;
    bool from_floor = false; /* a window that others may not be near yet */
    if (m == NULL)
        return;
    bool plain = !sim->temper.rollbacks && !sim->temper.clones && !sim->temper.lossy &&
                 !sim->temper.virtual_machine && !sim->temper.operators && !sim->temper.lies &&
                 !sim->temper.images;
    for (unsigned i = 0; i < OPERATOR_STEPS_MAX && !oracle()->broken; i++) {
        if (!machine_start(m))
            continue;
        check_start(m);
        rc = client_ask_now(m, key, tried, from_floor, &reply);
        if (rc == RC_OK) {
            *(recovered ? &sim->counts.next_window : &sim->counts.same_window) += 1;
            if (recovered && plain)
                oracle_break(oracle(), "Liveness", "%s: after crashes alone %s had to be recovered",
                             m->name, k->plan.key);
            return;
        }
        tried += rc_class(rc) == RC_CLASS_REFUSED && rc != RC_REFUSED_EXPORT;
        from_floor = from_floor || rc == RC_REFUSED_EXPORT || rc == RC_REFUSED_JUMP;
        enum help h = help(m, key, rc, &reply, &recovered);
        if (h == HELP_END)
            return;
        if (h == HELP_NOTHING)
            break;
    }
    if (!oracle()->broken)
        oracle_break(oracle(), "Liveness", "%s: %s does not sign again: %s: %s", m->name,
                     k->plan.key, rc_name(rc), reply.text);
}

static void finish(void)
{
    SAY("from here on nothing goes wrong any more");
    sim->mended = true;
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
