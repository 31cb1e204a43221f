/*
 * sim: the world of one run: true time, chips, clocks, keys, clients, the oracle and the trace.
 *
 * Everything that belongs to the world lies in one struct in memory that forked copies of the
 * program share: when a memory image of a machine is resumed (a forked child wakes up), it finds
 * the same TPM, the same time and the same oracle. Disks and processes (machine.h) lie in private
 * memory: they are what an image is an image of.
 *
 * Uses: everything of tests/sim that is a plain value. One thread.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "sim/hostclock.h"
#include "sim/oracle.h"
#include "sim/random.h"
#include "sim/report.h"
#include "sim/tpm.h"
#include "sim/trace.h"

#define MACHINES_MAX 3
#define WISHES_MAX 192
#define MESSAGES_MAX 40

#define SIM_START_S INT64_C(1796515200) /* 2026-12-06T00:00:00Z */

/** What a client wants signed, however often it asks. */
struct wish {
    uint8_t key;
    bool by_version;
    char what[24]; /* idempotency key, or version */
    char slot[8];
    uint16_t artifact;
    uint16_t tries;
    bool answered;    /* a signature has reached the client */
    uint8_t machine;  /* that gave it */
    uint32_t lineage; /* of that machine's history then */
    uint64_t window, index;
    uint8_t signature_sha256[SHA256_LEN];
};

/** A request under way. */
struct message {
    uint16_t wish;
    uint8_t machine;
};

/** How a seed's world is disposed; drawn once. */
struct temper {
    const char *name;
    bool crashes, faults, clocks, lies, rollbacks, clones, images, operators, lossy,
        virtual_machine, poison;
};

struct sim {
    uint64_t seed;
    uint64_t ops_wanted, ops;
    int64_t now_ns; /* true time */
    struct chance chance, keys_chance;
    struct temper temper;
    bool mended; /* from here on nothing goes wrong any more */
    struct trace trace;
    struct counts counts;
    struct oracle oracle;
    struct sim_tpm chips[MACHINES_MAX];
    struct host_clock clocks[MACHINES_MAX];
    struct wish wishes[WISHES_MAX];
    size_t wish_count, next_wish;
    struct message messages[MESSAGES_MAX];
    size_t message_count;
    uint64_t version_cursor[ORACLE_KEYS_MAX];
    uint32_t numbers; /* for names that must differ */
};

/** The one world of this program; made by sim_map(). */
extern struct sim *sim;

/** Map the world into shared memory; once. */
void sim_map(void);

/** Begin a run in an empty world. */
void sim_begin(uint64_t seed, bool telling, bool fully);

#define SAY(...) trace_say(&sim->trace, sim->now_ns, __VA_ARGS__)
#define EVENT(what, number) trace_event(&sim->trace, (uint64_t)(what), (uint64_t)(number))

#endif
