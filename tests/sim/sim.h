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

#include "hbs/branch.h"
#include "sim/hostclock.h"
#include "sim/oracle.h"
#include "sim/random.h"
#include "sim/report.h"
#include "sim/tpm.h"
#include "sim/trace.h"

#define MACHINES_MAX 3
#define WISHES_MAX 192
#define MESSAGES_MAX 40
#define HOLDS_MAX 48

#define SIM_START_S INT64_C(1796515200) /* 2026-12-06T00:00:00Z */

/** What a client wants signed, however often it asks. */
struct wish {
    uint8_t key;
    bool by_version;
    bool remote;   /* its client likes to hash where the artifact is */
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

/** What a client was told for a remote hash, and keeps, however useless it has become. */
struct hold {
    uint8_t key;
    uint16_t wish, artifact; /* the wish may be gone by now; it had this artifact */
    uint8_t id[16];
    uint64_t index;
    uint8_t prefix[HBS_PREFIX_MAX];
    size_t prefix_len;
    uint32_t hash_len;
    uint8_t machine; /* that told it */
    struct {
        bool known; /* a signature has reached the client */
        uint8_t machine;
        uint32_t lineage;
    } answered[2]; /* of the artifact, and of the other one */
};

enum message_kind {
    MESSAGE_SIGN,
    MESSAGE_RESERVE,
    MESSAGE_COMMIT,      /* with the hash of the artifact */
    MESSAGE_COMMIT_OTHER /* with that of another one */
};

/** A request under way. */
struct message {
    uint16_t wish;
    uint8_t machine;
    uint8_t kind;  /* enum message_kind */
    uint16_t hold; /* of a hash that comes back */
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
    bool remote; /* plans of this world allow remote hashing */
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
    struct hold holds[HOLDS_MAX];
    size_t hold_count, next_hold;
    unsigned processes; /* that there ever were; images count on */
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
