/*
 * machine: the anchored clock: may the time that this host believes be signed by?
 *
 * clk_judge() (clock.h) says whether one sample is good evidence. A sample can be good and the time
 * still wrong: sources that jump or drag together, a host that was put aside and resumed, a clock
 * that was set while the power was off. This machine compares each good sample with what must be
 * true if the raw clock, the TPM clock and what was written down before are to be believed:
 *
 *   UNSYNCED        no good evidence (yet, or any more)
 *   SYNCED          good evidence that agrees with everything else: sign
 *   HOLDOVER        no good sample now, but the last interval, moved on by the raw clock and
 * widened by its tolerance, is still narrow enough: sign DISRUPTED       this process or machine
 * was suspended, paused or restored QUARANTINE_FWD  good evidence for a time later than can be
 * true; latched and remembered until the evidence comes back or operators acknowledge the jump
 *   REFUSED_BACK    good evidence for a time earlier than can be true; only time mends that
 *
 * There is no way to lower the floor, and none to leave REFUSED_BACK by hand.
 *
 * Uses: clock.h. Pure (but for clk_sample()): no system call, no allocation. Threads: a struct
 * clk_machine belongs to one. Keeps I5. Source: docs/design.md §7; RFC 10033 §5.8.
 */
#ifndef CLOCK_MACHINE_H
#define CLOCK_MACHINE_H

#include "clock/clock.h"

enum clk_mode {
    CLK_UNSYNCED,
    CLK_SYNCED,
    CLK_HOLDOVER,
    CLK_DISRUPTED,
    CLK_QUARANTINE_FWD,
    CLK_REFUSED_BACK
};

/** Stable name for logs and answers: "synced". Static. */
const char *clk_mode_name(enum clk_mode mode);

/** Ends of the limits in struct clk_tolerance; within them nothing overflows. */
#define CLK_RAW_PPM_MIN 1
#define CLK_RAW_PPM_MAX 10000
#define CLK_FORWARD_MS_MIN 100
#define CLK_FORWARD_MS_MAX 3600000
#define CLK_OFFLINE_S_MIN 60
#define CLK_OFFLINE_S_MAX 315360000

/** What the clocks of this host may be off by. */
struct clk_tolerance {
    uint32_t raw_ppm;       /* of the raw clock, either way; default 200 */
    int64_t max_forward_ms; /* how far evidence may lie outside a prediction; default 2000 */
    int64_t max_offline_s;  /* longest time without any record that a first reading may bridge;
                             * default 172800 */
};

/** The TPM's clock and the raw clock at one moment. */
struct clk_tpm {
    bool read; /* false: the rest means nothing */
    uint64_t clock_ms;
    uint32_t resets, restarts;
    bool safe; /* false: after an unclean stop the clock may have fallen back */
    int64_t raw_ns;
    int64_t off_ns; /* raw_ns may be off by so much, either way; 0: by little. A reading that is
                     * off shows what is larger than that, and is no measure for later ones */
};

/** Evidence of one sample, beside that of clock.h. */
struct clk_sample {
    struct clk_evidence evidence;
    int64_t mono_ns, boot_ns; /* CLOCK_MONOTONIC and CLOCK_BOOTTIME: they part when asleep */
    bool stepped;             /* the kernel says that the clock was set (timerfd) */
    struct clk_tpm tpm;       /* newest reading; the same one may be given many times */
};

/** A jump forward that nobody has explained yet. */
struct clk_quarantine {
    uint64_t id;     /* 0: none. Names this jump in an acknowledgement */
    int64_t from_ns; /* the latest time that would have been believed */
    int64_t to_ns;   /* the earliest that the evidence claims */
};

/** What outlives the process, from ledger and TPM; all zero for a key that never signed. */
struct clk_memory {
    int64_t floor_ns;    /* `latest` under which an index was taken last; 0: none */
    int64_t seen_ns;     /* `earliest` of the last record; 0: none */
    struct clk_tpm seen; /* the TPM's clock then (raw_ns means nothing) */
    struct clk_quarantine quarantine;
    bool disrupted;           /* and no good time since */
    int64_t closed_before_ns; /* as in struct clk_machine */
};

/** An interval of true time at a moment of the raw clock. */
struct clk_fix {
    int64_t raw_ns, earliest_ns, latest_ns;
};

struct clk_machine {
    enum clk_mode mode;
    struct clk_memory memory;
    struct clk_state judged; /* of clk_judge(): warm-up */
    bool fixed;              /* there is a first and a last fix */
    struct clk_fix first;    /* of this process: catches what drifts slowly */
    struct clk_fix last;
    bool seen;                /* there was a sample */
    int64_t raw_ns;           /* of the last sample, as are the next three */
    int64_t asleep_ns;        /* boot - mono */
    struct clk_tpm tpm;       /* last TPM reading that was compared */
    int64_t latched_raw_ns;   /* when this process found the jump in quarantine; 0: another did */
    int64_t disrupted_raw_ns; /* with CLK_DISRUPTED: when it was noticed */
    uint32_t disruptions;     /* so many so far */
    int64_t refused_until_ns; /* refused by what the TPM counted: what time must get past; 0: not */
    int64_t caught_up_ns;     /* when it got past that, before it was believed; 0: not yet */
    struct clk_tpm caught_up; /* and the TPM's clock then */
    int64_t closed_before_ns; /* windows that began before this time were open during a disruption,
                               * and stay closed where the TPM was put aside too; 0: none */
};

/** What clk_step() says beside the reading. */
struct clk_verdict {
    enum clk_mode mode;
    bool disrupted;                   /* noticed in this very sample */
    int64_t closed_before_ns;         /* as in struct clk_machine */
    struct clk_quarantine quarantine; /* to be written down when its id changes; id 0: none */
};

/** Start with what outlived the last process. A quarantine in it holds from the first sample. */
void clk_machine_init(struct clk_machine *m, const struct clk_memory *memory);

/**
 * Take one sample, about once a second and right before and after an index is taken.
 *
 * @param[in]  sample   May hold any numbers: what is absurd is refused, nothing overflows.
 * @param[out] reading  safe in SYNCED and HOLDOVER only; neither end is below the floor then, which
 *                      may be ahead of the true time by twice max_error_ms (the guard band swallows
 *                      that).
 * @param[out] verdict  Where the machine stands.
 */
void clk_step(struct clk_machine *m, const struct clk_policy *policy,
              const struct clk_tolerance *tolerance, const struct clk_sample *sample,
              struct clk_reading *reading, struct clk_verdict *verdict);

/**
 * Collect a sample from chronyd, the kernel and the clocks of this host: everything but the TPM's.
 * Blocks as clk_read(). Threads: as struct clk.
 */
void clk_sample(struct clk *clk, struct clk_sample *sample);

/** An index was taken under this (safe) reading: the floor rises to its latest, and the record is
 * now. */
void clk_commit(struct clk_machine *m, const struct clk_reading *reading);

/** How far a reading that was refused as too early is behind what time must get past; 0 if it is
 * not known. */
int64_t clk_behind_ns(const struct clk_machine *m, const struct clk_reading *reading);

/** About once a minute, under a safe reading: the record is now. The floor stays. */
void clk_record(struct clk_machine *m, const struct clk_reading *reading);

/**
 * What outlives the process was not complete: an anchor says that time was at least wall_ns once.
 * The floor rises to it; without any other record it is one, and what was believed meanwhile is
 * looked at again.
 */
void clk_recall(struct clk_machine *m, int64_t wall_ns);

/** A jump that is known from elsewhere, and that nobody has acknowledged: it holds from now on. */
void clk_latch(struct clk_machine *m, const struct clk_quarantine *quarantine);

/** What is to outlive this process. */
void clk_memory(const struct clk_machine *m, struct clk_memory *memory);

/** What an operator says about a jump. */
struct clk_acknowledgement {
    uint64_t id;          /* of the quarantine */
    int64_t utc_s;        /* read from a clock of their own, now */
    uint64_t windows;     /* how many windows they know to be lost by it */
    int64_t shown_raw_ns; /* when the quarantine was shown to them */
};
#define CLK_ACK_S_MAX 60            /* how far utc_s may be from what the evidence says */
#define CLK_ACK_AGE_S_MAX (10 * 60) /* and how old what they saw */

/**
 * May this jump be acknowledged so? Changes nothing: the caller writes it down first, and then
 * calls clk_release().
 * @param[in] reading  Of a sample taken now.
 * @param[in] windows  That would be skipped, over all keys.
 * @retval RC_REFUSED_INPUT  No quarantine, another id, another number of windows, another time, or
 *                           too late; err says which.
 */
enum rc clk_acknowledge(const struct clk_machine *m, const struct clk_acknowledgement *ack,
                        const struct clk_reading *reading, uint64_t windows,
                        struct err *err) MUST_CHECK;

/** The acknowledgement is durable: believe the evidence from the next sample on. */
void clk_release(struct clk_machine *m);

#endif
