/*
 * hostclock: the clocks of one machine and its chronyd, as the signer's clock module sees them.
 *
 * True time is the simulator's own. A host's crystal runs a little fast or slow beside it: that is
 * the raw clock. The system clock is the same crystal, trained and slewed by chronyd, which asks
 * its source every poll_s and learns the offset against what the source says (which may be a lie)
 * within the bound that it states. Adversaries step the clock, silence chronyd, spoil its answers,
 * take its source away, let the source lie, at once or by a slow drag, and put the whole machine
 * aside: paused, when all its clocks stand, or asleep, when only the raw and the monotonic clock
 * do. What comes out is a struct clk_sample, which the real clk_step() judges.
 *
 * Uses: clock, random. One thread; plain values.
 */
#ifndef SIM_HOSTCLOCK_H
#define SIM_HOSTCLOCK_H

#include "clock/machine.h"
#include "sim/random.h"

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

/** What chronyd answers when it is asked. */
enum host_answer {
    ANSWER_GOOD,      /* what it knows */
    ANSWER_NONE,      /* nothing: it hangs */
    ANSWER_MALFORMED, /* what cannot be read */
    ANSWER_LEAP3,     /* that it is not synchronised */
    ANSWER_LOCAL,     /* that it follows itself, with a bound of zero */
    ANSWER_BIG_ERROR, /* a bound above the limit */
    ANSWER_STRATUM,   /* a source too far from any clock */
    ANSWERS
};

/** Words for the story: "answers nothing". Static. */
const char *host_answer_text(enum host_answer answer);

struct host_clock {
    int64_t boot_ns;      /* true time of the last boot: raw time begins there */
    int64_t raw_ppb;      /* how much faster than true time the raw clock runs */
    int64_t stood_ns;     /* of the time since the boot in which the raw clock did not run */
    int64_t asleep_ns;    /* the part of it in which the boot clock ran on */
    int64_t set_ns;       /* all that the system clock was moved by other than slewing, so that
                           * real - set is the monotonic clock */
    int64_t offset_ns;    /* system clock - true time, when `since_ns` was */
    int64_t since_ns;     /* true time */
    int64_t slewing_ns;   /* part of the offset that chronyd takes out, from since_ns on */
    int64_t slew_divisor; /* of the rate at which it does: 12 is 8.3 % */
    int64_t astray_ppb;   /* how fast the system clock runs off beside that, trained as it is */
    bool careful;         /* chronyd ignores jumps after its start (maxchange), and slews slowly */
    bool alive;           /* chronyd runs */
    bool has_source;      /* it has something to follow */
    bool synchronised;    /* since its start it has followed something */
    enum host_answer answer;
    uint32_t updates; /* since chronyd's start */
    uint32_t sets;    /* how often the system clock was set, by whom ever */
    bool kernel_set;  /* by others than chronyd, and chronyd has not said anything since */
    int64_t poll_s;
    int64_t next_poll_ns;   /* true time */
    int64_t last_update_ns; /* by the host's clock, blurred */
    int64_t lie_ns;         /* what the source adds to true time */
    int64_t drag_ppb;       /* how fast the lie grows */
    int64_t drag_since_ns;
    int64_t followed_ns; /* the lie in the last update that chronyd took */
    bool disturbed;      /* moved or put aside since that update: its bound says nothing of it */
    bool leap_announced;
};

/** A host that has booted at `now_ns`, with a chronyd that is about to ask for the first time. */
void host_clock_boot(struct host_clock *c, int64_t now_ns, struct chance *chance);

/** Everything chronyd did up to now. Call it before the clock is read. */
void host_clock_run(struct host_clock *c, int64_t now_ns, struct chance *chance);

/** When chronyd will ask its source next (true time), INT64_MAX: never. */
int64_t host_clock_next(const struct host_clock *c);

int64_t host_clock_real_ns(const struct host_clock *c, int64_t now_ns);
int64_t host_clock_raw_ns(const struct host_clock *c, int64_t now_ns);

/** Somebody sets the clock. */
void host_clock_step(struct host_clock *c, int64_t now_ns, int64_t by_ns);

/** The machine was put aside for the last `span_ns` up to now, and goes on: all its clocks stood.
 */
void host_clock_pause(struct host_clock *c, int64_t now_ns, int64_t span_ns);

/** The same, but it knows that it slept: system and boot clock were set on when it woke. */
void host_clock_sleep(struct host_clock *c, int64_t now_ns, int64_t span_ns);

/** chronyd is killed, maybe while it slews, which then goes on for ever; or started again (and must
 * find its source anew). */
void host_clock_set_alive(struct host_clock *c, int64_t now_ns, bool alive);

/** The source begins to lie (again), at once by `lie_ns`, growing by drag_ppb; 0 and 0: no more. */
void host_clock_lie(struct host_clock *c, int64_t now_ns, int64_t lie_ns, int64_t drag_ppb);

/** How far the time that chronyd vouches for lies from the truth by its source's fault. */
int64_t host_clock_lie_now(const struct host_clock *c, int64_t now_ns);

/** True if what chronyd says holds: no lie was followed, nothing happened behind its back. */
bool host_clock_is_honest(const struct host_clock *c);

/**
 * What a signer that asks now is told, but for the TPM's part.
 * @param[in,out] sets  How often the clock was set, when this process asked last.
 */
void host_clock_sample(const struct host_clock *c, int64_t now_ns, uint32_t *sets,
                       struct clk_sample *sample);

/** Honest again: no lie, a source, the right time. */
void host_clock_mend(struct host_clock *c, int64_t now_ns);

#endif
