/*
 * moment: everything of a small world that survives a power cut: the disk with ledger and sealed
 * secrets, the TPM's memory, what clients have been told, and what the oracle knows. And every
 * moment that a cut can leave at one point of a run.
 *
 * A run is cut nowhere: the process is asked to stop at every point for the blink of an eye, and
 * what a cut would leave is written down. Points lie in the middle of each step of the disk (a
 * write or removal has been seen, a sync has not begun), in the middle of each write and before
 * each sync of the secrets' file, and before and after each TPM command takes effect.
 *
 * What is not synced at a point meets its fate: with at most MOMENT_ALL steps every choice of kept
 * and dropped; with more, all that begin kept and end dropped, all but one, and only one. In both
 * cases each write over several sectors is also torn, first or last half kept, with everything else
 * kept or everything behind it dropped.
 *
 * Two moments are the same if clients, oracle, TPM and secrets are, and if a reader of the database
 * would see the same pages (sim/pages.h): how they are spread over database and log does not count.
 * With `exact`, bytes count.
 *
 * Link with -Wl,--wrap=pwrite_full -Wl,--wrap=fdatasync. Uses: signer_rig. One thread, one world at
 * a time.
 */
#ifndef TESTS_SIM_MOMENT_H
#define TESTS_SIM_MOMENT_H

#include "hbs/branch.h"
#include "lib/signer_rig.h"
#include "signer/seeds.h"
#include "sim/pages.h"

#define MOMENT_ALL 6
#define MOMENT_ACTS 2
#define MOMENT_ASKS 2
#define MOMENT_WINDOWS 8
#define MOMENT_SEEN 16
#define MOMENT_STORY 400

/** What a client that hashes its own artifact was told when an index was reserved for it. */
struct held {
    bool known;
    uint64_t index;
    uint64_t w; /* of the TPM at that time */
    uint8_t id[LEDGER_ID_LEN];
    uint8_t prefix[HBS_PREFIX_MAX];
    size_t prefix_len;
};

/** What a client has been told about one request. */
struct answer {
    struct held held;
    bool final; /* it will not ask again, but for a replay */
    int32_t rc;
    uint64_t index;
    uint8_t signature[SHA256_LEN]; /* of released bytes, else zero */
};

/** How far the clients have come. */
struct progress {
    unsigned act; /* acts that are over */
    int64_t now_ns;
    uint64_t told; /* a bit for each index whose prefix has left */
    struct answer answers[MOMENT_ACTS][MOMENT_ASKS];
};

struct moment {
    struct crashvfs_image disk; /* owned */
    uint8_t seeds[MOMENT_WINDOWS * SEEDS_RECORD_LEN];
    struct fake_nv nv;
    struct oracle_seen seen[MOMENT_SEEN];
    size_t seen_count;
    struct progress progress;
    unsigned crashes;
    bool rolled_back; /* the disk is older than the rest */
    char story[MOMENT_STORY];
};

/** What a point lies in. */
enum point { POINT_DISK, POINT_FILE, POINT_BEFORE, POINT_AFTER };

/**
 * Use this rig from now on (one key, stopped).
 * @param[in] lossy  A cut may take the TPM's newest write with it.
 * @param[in] exact  Bytes count, not pages.
 */
void moment_world(struct rig *rig, bool lossy, bool exact);

/** The world as it stands, the signer stopped. Zero the moment once; moment_free() it. */
void moment_take(struct moment *m, const struct progress *progress);

/** Make the world this one: power on, signer not open. */
void moment_put(const struct moment *m);

void moment_copy(struct moment *to, const struct moment *from);
void moment_free(struct moment *m);

/** Which moment it is; and the same where the hash of its disk is known. */
struct hash128 moment_key(const struct moment *m);
struct hash128 moment_key_with(const struct moment *m, struct hash128 disk);
struct hash128 moment_disk_hash(const struct moment *m);

/**
 * Call fn at every point from now on; NULL: no more. number counts from 1 since moment_put(); what
 * is a static string.
 */
void moment_watch(void (*fn)(void *ctx, enum point point, const char *what), void *ctx);

/** Points since moment_put() as disk, TPM and secrets' file have counted them, each for itself. */
uint64_t moment_points(void);

/**
 * Every moment that a power cut at this point can leave.
 *
 * @param[in] like   Progress, crashes and story are taken from here.
 * @param[in] fn     Gets each moment and its key, but no disk: moment_fill() makes it, inside fn.
 * @param[out] partial  True if there were more than MOMENT_ALL steps.
 * @return how many fates were looked at.
 */
uint64_t moment_outcomes(const struct moment *like,
                         void (*fn)(void *ctx, struct moment *m, struct hash128 key), void *ctx,
                         bool *partial);
void moment_fill(struct moment *m);

/** The disk and the secrets as they are durable now. Fills both, and nothing else. */
void moment_durable(struct moment *m);

/** All else: the TPM, and what the oracle knows. */
void moment_rest(struct moment *m);

/** Whether ledger and secrets are the same. */
bool moment_same_disk(const struct moment *a, const struct moment *b);

/** Counts how often something on disk or among the secrets became durable. */
uint64_t moment_settled(void);

#endif
