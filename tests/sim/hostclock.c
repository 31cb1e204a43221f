#include "sim/hostclock.h"

#include <stdlib.h>

#define SLEW_DIVISOR 12           /* chronyd slews at most 8.3 % */
#define SLEW_DIVISOR_CAREFUL 3333 /* as our fragment of chrony.conf has it: 300 ppm */
#define MAKESTEP_NS NS_PER_S      /* it steps if the first measurements are off by more */
#define MAKESTEP_UPDATES 3
#define DELAY_S 0.004
#define DISPERSION_S 0.0005
#define MEASURED_WRONG_NS (2 * NS_PER_MS) /* at most: half the delay */
#define RAW_PPB 100000                    /* the crystal, either way */
#define ASTRAY_PPB 10000                  /* what training leaves of it */
#define DRIFT_PPB 15000                   /* how fast chronyd's bound grows without updates */
#define KERNEL_PPB 500000                 /* and the kernel's */
#define KERNEL_LIMIT_US 16000000
#define REF_ID UINT32_C(0xc0000201)
#define REF_ID_LOCAL UINT32_C(0x7f7f0101)

static const char *const answer_texts[ANSWERS] = {
    "answers as it should",
    "answers nothing",
    "answers what cannot be read",
    "says that it is not synchronised",
    "follows itself",
    "states a large error",
    "follows a source that is too far away",
};

const char *host_answer_text(enum host_answer answer)
{
    return answer_texts[answer];
}

static int64_t scaled(int64_t ns, int64_t ppb)
{
    return (int64_t)((__int128)ns * ppb / NS_PER_S);
}

/* What is left of the offset that is being slewed. */
static int64_t slew_left(const struct host_clock *c, int64_t now_ns)
{
    int64_t done = (now_ns - c->since_ns) / c->slew_divisor;
    if (llabs(c->slewing_ns) <= done)
        return 0;
    return c->slewing_ns > 0 ? c->slewing_ns - done : c->slewing_ns + done;
}

static int64_t offset_now(const struct host_clock *c, int64_t now_ns)
{
    return c->offset_ns - c->slewing_ns + slew_left(c, now_ns) +
           scaled(now_ns - c->since_ns, c->astray_ppb);
}

int64_t host_clock_lie_now(const struct host_clock *c, int64_t now_ns)
{
    return c->lie_ns + scaled(now_ns - c->drag_since_ns, c->drag_ppb);
}

bool host_clock_is_honest(const struct host_clock *c)
{
    return c->followed_ns == 0 && !c->disturbed;
}

int64_t host_clock_real_ns(const struct host_clock *c, int64_t now_ns)
{
    return now_ns + offset_now(c, now_ns);
}

int64_t host_clock_raw_ns(const struct host_clock *c, int64_t now_ns)
{
    int64_t ran = now_ns - c->boot_ns - c->stood_ns;
    return ran + scaled(ran, c->raw_ppb);
}

/* Make now the moment from which offset and slew count. */
static void rebase(struct host_clock *c, int64_t now_ns)
{
    int64_t offset = offset_now(c, now_ns);
    c->slewing_ns = slew_left(c, now_ns);
    c->offset_ns = offset;
    c->since_ns = now_ns;
}

static void move(struct host_clock *c, int64_t by_ns)
{
    c->offset_ns += by_ns;
    c->set_ns += by_ns;
    c->sets++;
}

void host_clock_boot(struct host_clock *c, int64_t now_ns, struct chance *chance)
{
    *c = (struct host_clock){.since_ns = now_ns,
                             .boot_ns = now_ns,
                             .slew_divisor = SLEW_DIVISOR,
                             .alive = true,
                             .has_source = true,
                             .poll_s = 16,
                             .lie_ns = c->lie_ns, /* a source does not know of our boot */
                             .drag_ppb = c->drag_ppb,
                             .drag_since_ns = c->drag_since_ns};
    c->raw_ppb = chance_between(chance, -RAW_PPB, RAW_PPB);
    c->astray_ppb = chance_between(chance, -ASTRAY_PPB, ASTRAY_PPB);
    c->careful = chance_percent(chance, 50);
    if (c->careful)
        c->slew_divisor = SLEW_DIVISOR_CAREFUL;
    /* What the clock chip on the board says; now and then it says nothing, and it is 1970. */
    c->offset_ns = chance_between(chance, -200, 200) * NS_PER_MS;
    if (chance_one_in(chance, 12))
        c->offset_ns = chance_between(chance, 0, 100) * NS_PER_S - now_ns;
    c->set_ns = now_ns + c->offset_ns;
    c->next_poll_ns = now_ns + chance_between(chance, 1, 4) * NS_PER_S;
}

int64_t host_clock_next(const struct host_clock *c)
{
    return c->alive && c->has_source ? c->next_poll_ns : INT64_MAX;
}

/* One answer of the source: step at the start, slew later. */
static void poll_source(struct host_clock *c, int64_t at_ns, struct chance *chance)
{
    rebase(c, at_ns);
    int64_t lie = host_clock_lie_now(c, at_ns);
    int64_t wrong = chance_between(chance, 1 - MEASURED_WRONG_NS, MEASURED_WRONG_NS - 1);
    int64_t blur = (int64_t)chance_below(chance, (uint64_t)NS_PER_S);
    int64_t measured = c->offset_ns - lie - wrong;
    if (llabs(measured) > MAKESTEP_NS) {
        if (c->updates < MAKESTEP_UPDATES) {
            move(c, -measured);
            measured = 0;
        } else if (c->careful) {
            return;
        }
    }
    c->slewing_ns = measured;
    c->synchronised = true;
    c->updates++;
    c->kernel_set = false;
    c->followed_ns = lie;
    c->disturbed = false;
    c->last_update_ns = at_ns + c->offset_ns - blur;
}

/* chronyd followed its source all the time up to `to_ns`, as fast as it may: many polls in one. One
 * that ignores its source runs free. */
static void follow(struct host_clock *c, int64_t to_ns)
{
    rebase(c, c->next_poll_ns);
    int64_t most = (to_ns - c->since_ns) / c->slew_divisor;
    int64_t by = host_clock_lie_now(c, to_ns) - c->offset_ns;
    bool ignored = c->careful && c->updates >= MAKESTEP_UPDATES &&
                   llabs(c->offset_ns - host_clock_lie_now(c, c->since_ns)) > MAKESTEP_NS;
    if (ignored) {
        rebase(c, to_ns);
        return;
    }
    c->offset_ns += by > most ? most : by < -most ? -most : by;
    c->slewing_ns = 0;
    c->since_ns = to_ns;
}

void host_clock_run(struct host_clock *c, int64_t now_ns, struct chance *chance)
{
    /* After a long silence only the last polls can matter: warming up takes three. */
    int64_t behind = now_ns - c->next_poll_ns;
    if (host_clock_next(c) != INT64_MAX && behind > 4 * c->poll_s * NS_PER_S) {
        poll_source(c, c->next_poll_ns, chance);
        int64_t to_ns =
            now_ns - 4 * c->poll_s * NS_PER_S + chance_between(chance, 0, c->poll_s) * NS_PER_S;
        follow(c, to_ns);
        c->next_poll_ns = to_ns;
    }
    while (host_clock_next(c) <= now_ns) {
        poll_source(c, c->next_poll_ns, chance);
        c->next_poll_ns += c->poll_s * NS_PER_S;
    }
}

void host_clock_step(struct host_clock *c, int64_t now_ns, int64_t by_ns)
{
    rebase(c, now_ns);
    move(c, by_ns);
    c->kernel_set = true;
    c->disturbed = true;
}

void host_clock_pause(struct host_clock *c, int64_t now_ns, int64_t span_ns)
{
    rebase(c, now_ns - span_ns);
    c->offset_ns -= span_ns;
    c->since_ns = now_ns;
    c->stood_ns += span_ns;
    c->disturbed = true;
    c->next_poll_ns += span_ns;
}

void host_clock_sleep(struct host_clock *c, int64_t now_ns, int64_t span_ns)
{
    host_clock_pause(c, now_ns, span_ns);
    c->asleep_ns += span_ns;
    move(c, span_ns);
}

void host_clock_set_alive(struct host_clock *c, int64_t now_ns, bool alive)
{
    rebase(c, now_ns);
    if (c->alive && !alive && c->slewing_ns != 0) {
        /* The kernel goes on with the rate that it was given last. */
        c->astray_ppb += (c->slewing_ns > 0 ? -NS_PER_S : NS_PER_S) / c->slew_divisor;
        c->slewing_ns = 0;
        c->disturbed = true;
    }
    if (alive && !c->alive) {
        c->synchronised = false;
        c->updates = 0;
        c->slewing_ns = 0;
        c->astray_ppb %= ASTRAY_PPB;
        c->next_poll_ns = now_ns + 2 * NS_PER_S;
    }
    c->alive = alive;
}

void host_clock_lie(struct host_clock *c, int64_t now_ns, int64_t lie_ns, int64_t drag_ppb)
{
    c->lie_ns = lie_ns;
    c->drag_ppb = drag_ppb;
    c->drag_since_ns = now_ns;
}

/* Evidence ------------------------------------------------------------------------------------- */

static void spoil(const struct host_clock *c, struct clk_evidence *e)
{
    switch (c->answer) {
    case ANSWER_NONE:
        e->replied = false;
        e->query_ns = CLK_TIMEOUT_MS * NS_PER_MS;
        break;
    case ANSWER_MALFORMED:
        e->replied = false;
        e->malformed = true;
        break;
    case ANSWER_LEAP3:
        e->tracking.leap = 3;
        break;
    case ANSWER_LOCAL:
        e->tracking.ref_id = REF_ID_LOCAL;
        e->tracking.own_device = true;
        e->tracking.ref_time_ns = e->real_ns;
        e->tracking.correction_s = 0;
        e->tracking.root_delay_s = 0;
        e->tracking.root_dispersion_s = 0;
        break;
    case ANSWER_BIG_ERROR:
        e->tracking.root_dispersion_s += 0.8;
        break;
    case ANSWER_STRATUM:
        e->tracking.stratum = 9;
        break;
    default:
        break;
    }
}

static void kernel_says(const struct host_clock *c, int64_t silent_ns, struct clk_evidence *e)
{
    e->kernel_asked = true;
    e->kernel_maxerror_us = 2000 + scaled(silent_ns, KERNEL_PPB) / 1000;
    if (c->synchronised && !c->kernel_set && e->kernel_maxerror_us <= KERNEL_LIMIT_US)
        return;
    e->kernel_unsync = true;
    e->kernel_maxerror_us = KERNEL_LIMIT_US;
}

static void chronyd_says(const struct host_clock *c, int64_t now_ns, int64_t silent_ns,
                         struct clk_evidence *e)
{
    e->replied = true;
    e->tracking = (struct clk_tracking){
        .ref_id = c->synchronised ? REF_ID : 0,
        .stratum = 2,
        .leap = !c->synchronised    ? 3
                : c->leap_announced ? 1
                                    : 0,
        .ref_time_ns = c->last_update_ns,
        .correction_s = -(double)slew_left(c, now_ns) / 1e9,
        .root_delay_s = DELAY_S,
        .root_dispersion_s = DISPERSION_S + (double)scaled(silent_ns, DRIFT_PPB) / 1e9};
    spoil(c, e);
}

void host_clock_sample(const struct host_clock *c, int64_t now_ns, uint32_t *sets,
                       struct clk_sample *s)
{
    *s = (struct clk_sample){0};
    struct clk_evidence *e = &s->evidence;
    e->real_ns = host_clock_real_ns(c, now_ns);
    e->raw_ns = host_clock_raw_ns(c, now_ns);
    e->query_ns = 13000;
    s->mono_ns = e->real_ns - c->set_ns;
    s->boot_ns = s->mono_ns + c->asleep_ns;
    s->stepped = *sets != c->sets;
    *sets = c->sets;
    int64_t age = e->real_ns - c->last_update_ns;
    int64_t silent_ns = c->synchronised && age > 0 ? age : 0;
    kernel_says(c, silent_ns, e);
    if (c->alive)
        chronyd_says(c, now_ns, silent_ns, e);
}

void host_clock_mend(struct host_clock *c, int64_t now_ns)
{
    host_clock_lie(c, now_ns, 0, 0);
    c->leap_announced = false;
    c->answer = ANSWER_GOOD;
    c->has_source = true;
    /* Somebody starts chronyd anew: it may step, as it could not before. */
    host_clock_set_alive(c, now_ns, false);
    host_clock_set_alive(c, now_ns, true);
    c->next_poll_ns = now_ns + NS_PER_S;
    if (llabs(c->offset_ns) > NS_PER_S / 5)
        host_clock_step(c, now_ns, -c->offset_ns); /* and sets it right by hand */
}
