/*
 * oracle: a model outside the signer: for every key and index, what was computed and what left any
 * device, over all machines, crashes, copies and recoveries of a run.
 *
 * It sees each computation (hbs_sign() is wrapped), each answer that leaves a device, and the disk
 * and TPM below. It never asks the signer what it believes. What it finds wrong it names by the
 * invariant of docs/invariants.md; the run ends there.
 *
 * Uses: base, policy (the map). Lies in shared memory: no pointers.
 */
#ifndef SIM_ORACLE_H
#define SIM_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/lease.h"
#include "policy/plan.h"

#define ORACLE_KEYS_MAX 6
#define ORACLE_INDICES 32 /* LMS_SHA256_M24_H5 */
#define ORACLE_MACHINES 3

/** What is known of one index. */
struct oracle_index {
    bool computed;
    bool released;
    bool in_window; /* when it was computed last, by true time; a time plan releases nothing else */
    bool too_far;   /* then: further ahead than any evidence could prove */
    bool put_aside; /* then: by a process that had been put aside, as its TPM told */
    uint8_t value[32];            /* the value that was signed */
    uint8_t signature_sha256[32]; /* of the bytes that left */
    uint16_t wish;
    uint8_t machine;  /* that computed it (last) */
    uint32_t lineage; /* of that machine's history then */
    uint8_t released_by;
    uint32_t released_in; /* lineage */
    /* Remote hashing: as the signer wrote it into its ledger, and as it left the device. */
    struct {
        bool known;
        uint8_t machine;
        uint32_t lineage;
        unsigned process;
        uint64_t epoch;
        uint64_t w; /* counter then */
    } reserved;
    struct {
        bool known;
        uint8_t artifact_sha256[32]; /* to which its client is committed */
        uint8_t prefix_sha256[32];
        uint8_t machine;
        uint32_t lineage;
        unsigned process;
        int64_t expires_ns; /* at the latest: raw time of that machine */
    } told;
};

/** Why reuse of a key's indices would be no fault of the signer: DESIGN says that it is not
 * covered. */
enum oracle_excuse {
    EXCUSE_NONE = 0,
    EXCUSE_LIE = 1,     /* the time source lied by more than chronyd's bound */
    EXCUSE_MACHINE = 2, /* a machine was put back together with its TPM */
    EXCUSE_REWIND = 4,  /* a TPM lost writes while its disk was put back */
};

struct oracle_key {
    bool used;
    struct plan plan; /* no table: plain */
    uint8_t key_id[KEY_ID_LEN];
    uint8_t public_key[64];
    size_t public_key_len;
    uint32_t excuses; /* enum oracle_excuse, from now on */
    struct {
        bool provisioned;
        uint32_t w_handle;
        int64_t w_base;
    } on[ORACLE_MACHINES];
    int64_t highest_window; /* in which anything was computed */
    uint32_t early;         /* windows that an operator has opened before their start, or tried */
    struct oracle_index index[ORACLE_INDICES];
};

struct oracle {
    struct oracle_key keys[ORACLE_KEYS_MAX];
    size_t key_count;
    uint32_t excused; /* of reuse that happened */
    bool broken;
    char invariant[48];
    char why[240];
};

void oracle_start(struct oracle *o);

/** A violation: the first one is kept. */
void oracle_break(struct oracle *o, const char *invariant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** The same of what DESIGN may not cover: with an excuse of that key it is only counted. */
void oracle_break_key(struct oracle *o, const struct oracle_key *key, const char *invariant,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));

/** Key with an id or name, or NULL. */
struct oracle_key *oracle_key_by_id(struct oracle *o, const uint8_t key_id[KEY_ID_LEN]);
struct oracle_key *oracle_key_by_name(struct oracle *o, const char *name);

/** The one-time key of an index is about to sign a value. */
void oracle_computed(struct oracle *o, struct oracle_key *key, uint64_t index, const uint8_t *value,
                     size_t len);

/** True if the second was inside a window of a time plan, or before one that is opened early. */
bool oracle_window_open(const struct oracle_key *key, uint64_t window, int64_t now_ns);

#endif
