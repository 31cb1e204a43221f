/*
 * machine: one computer: disk, wire to a TPM, clock, and the service as a process on it.
 *
 * The process is the real signer loop (signer/loop.h) behind the two real locks; the machine brings
 * the world to it, takes its answers, and notices when its power went in the middle. A machine
 * whose power is off answers nothing; what its code still returns after the cut does not leave it.
 *
 * Uses: sim, files, vfs, signer. One thread.
 */
#ifndef SIM_MACHINE_H
#define SIM_MACHINE_H

#include "signer/loop.h"
#include "sim/disk.h"
#include "sim/sim.h"
#include "sim/truth.h"
#include "sim/vfs.h"

/** Updates of chronyd that a service wants to see before it signs by the clock. */
#define MACHINE_WARMUP 3

struct machine {
    unsigned number;
    const char *name;
    bool exists; /* has a disk */
    bool powered;
    bool retired;                       /* stated to be destroyed: never to be started again */
    bool cut_is_kill;                   /* the cut that is armed ends the process, not the power */
    bool disk_went_back, tpm_went_back; /* both together is what a snapshot of all does */
    bool image_lived; /* an image lived on this TPM, with a disk that went with it: what it did,
                       * this disk knows as little of as one that was put back */
    struct disk *disk;
    struct vfs *vfs;
    struct tpm_port port;
    bool aside;         /* paused or asleep: nothing of it goes on but its TPM */
    uint32_t sets_seen; /* how often its clock was set, as far as its process knows */
    bool look_soon;     /* it was put aside: before long its service would have looked */
    struct truth truth;
    struct truth_past past;
    struct time_source source;
    struct world world;
    struct signer_config config;
    bool running;
    struct loop loop;
    struct loop_sink sink;
    int locks[2];
    unsigned process;
    int64_t turn_raw_ns; /* raw time when its last turn began */
    uint32_t lineage;    /* counts every change that no ordinary crash makes */
    uint64_t starts;
    bool check_acknowledged; /* after a plain crash nothing that was released may be gone */
};

extern struct machine machines[MACHINES_MAX];

/** Empty machines; the first `count` exist, each with a chip of its own, switched on. */
void machines_begin(unsigned count, enum tpm_kind kind, enum virtual_policy policy);
void machines_end(void);

/** Where an answer goes: told for each item, power or no power. */
typedef void (*machine_answer)(struct machine *m, struct item *item, const void *payload,
                               size_t len);
void machines_set_answer(machine_answer answer);

/** Whose code runs now. */
extern struct machine *machine_current;

/** System calls and signatures belong to this machine from now on. */
void machine_enter(struct machine *m);

/** A TPM that lost writes over a disk that was put back is a snapshot of the whole machine: DESIGN
 * section 2 does not cover it. Call it when either happened. */
void machine_excuse_rewind(struct machine *m);

/** Switch on: what survived on the disk is decided, the TPM starts, the clock has an opinion. */
void machine_power_on(struct machine *m);
/** Pull the plug, now. */
void machine_power_off(struct machine *m);

/** Start the service (power on first if need be). @return false if it could not take its locks. */
bool machine_start(struct machine *m);
/** Stop it in order, or kill it. */
void machine_stop(struct machine *m);
void machine_kill(struct machine *m);

/**
 * Hand requests to the service and let it do what is due by the clock; start it first if it is
 * down. After a HALT the process has ended.
 */
void machine_turn(struct machine *m, struct item **items, size_t count);

/** A call into the service is over: the process ends if it was halted, or the power went. */
void machine_halt(struct machine *m, enum rc rc, const struct err *err);

/** If the power went in the middle of something, end the process. Call after all code of it. */
void machine_settle(struct machine *m);

/** Put it aside while the world goes on: paused, when it cannot know, or asleep. */
void machine_put_aside(struct machine *m, int64_t span_ns, bool asleep);

/** World time goes on: chronyd asks, services look at their clocks. */
void world_advance(int64_t ns);

#endif
