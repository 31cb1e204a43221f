/*
 * bench: what the parts of the benchmark share. A set is one parameter set with one made-up key;
 * its operations are those of the service without state, files and message hashing: the value that
 * is signed is there already, and so is the path.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hbs/params.h"

#define BENCH_VALUES 32 /* different values, signed and verified in turn */
#define BENCH_BATCH 16
#define BENCH_LEAVES_MAX 1024 /* larger trees are measured by so many leaves, and scaled */

/** Operations on the set that was made last. A scheme has one of these. */
struct bench_scheme {
    /* The i-th parameter set; its name goes to name (48 bytes). False behind the last one. */
    bool (*set)(size_t i, char *name, bool *standard);
    void (*make)(size_t i); /* a key for the i-th set, and BENCH_VALUES signatures */
    enum hbs_hash_kind (*hash)(void);
    unsigned (*height)(void); /* of the tree that key generation builds */
    /* Leaves first … first + count - 1 and the root over them; count is a power of two. */
    void (*keygen)(uint32_t first, uint32_t count);
    void (*sign)(unsigned first, unsigned count);   /* values first … at once */
    void (*verify)(unsigned first, unsigned count); /* their signatures */
    bool batches;                                   /* sign and verify take more than one */
    /* Compute ahead what values first … are to be signed with; NULL: no set of the scheme can. */
    void (*prepare)(unsigned first, unsigned count);
    void (*use_prepared)(bool use); /* from now on, sign and verify with that, or without */
    double (*prepare_needs)(void);  /* 0: this set cannot */
    double (*prepared_needs)(void); /* sign and verify with it */
    /* Compressions, or permutations, of each; sign and verify on average over the values. */
    double (*keygen_needs)(uint32_t count);
    double (*sign_needs)(void);
    double (*verify_needs)(void);
};

extern const struct bench_scheme bench_lms;
extern const struct bench_scheme bench_xmss;

/** Blocks of a message of len bytes with its padding. */
double bench_blocks(enum hbs_hash_kind hash, size_t len);

/** One row of the result. */
struct bench_row {
    const char *name; /* "lms-sha256-m32-h10-w8.keygen" */
    double per_second;
    double needs;              /* compressions or permutations; 0: not counted */
    double ratio_to_limit;     /* 0: not measured, and so below */
    double ratio_to_libgcrypt; /* how many times as fast */
    double ratio_to_one_core;
    double slowest_to_median;
    double ours_to_peer; /* how many times as fast we are */
    long peak_kib;
};
void bench_print(bool json, const struct bench_row *row);

/**
 * Build and time another library's source beside ours.
 * @param[in] spec   "NAME=DIR" as given to --peer.
 * @param[in] quick  The smallest set that the library has.
 * @return false with a message on stderr if it is not known, does not build or does not run.
 */
bool bench_peer(const char *spec, bool json, bool quick);

/** CPU seconds that we take for "SET.keygen", "SET.sign" or "SET.verify"; 0 if there is none. */
double bench_ours(const char *row);

/** CPU seconds of this process, and seconds that pass. */
double bench_cpu_s(void);
double bench_wall_s(void);

#endif
