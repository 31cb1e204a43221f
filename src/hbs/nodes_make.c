#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/secmem.h"
#include "hbs/nodes_file.h"

/* What one worker takes at a time: about 15 ms of hashing at W8, and two full batches of chains. */
#define UNIT_LEAVES 32
#define SLOTS_MAX (HBS_NODES_THREADS_MAX + 1)

enum slot_state { SLOT_FREE, SLOT_READY, SLOT_TAKEN };

/* A run of leaves with the secrets of its windows, on its way from the calling thread to a worker.
 */
struct slot {
    enum slot_state state;
    uint32_t first;
    struct window_secret *secrets; /* make.secrets_each of them */
};

struct make {
    const struct hbs_tree *tree;
    const struct nodes_temp *temp;
    const struct hbs_making *how;
    uint32_t leaves;
    struct nodes_checkpoint saved; /* the newest one */
    bool unsure;     /* one failed: what is on disk is not known, so no more of them */
    bool fetched;    /* current holds the secret of the window of `handed` */
    uint32_t handed; /* leaves below are in the file or in slots */

    uint32_t secrets_each;         /* windows that a unit touches */
    uint32_t leaves_each;          /* leaves of one window inside a unit */
    struct window_secret *secrets; /* locked memory behind all slots, and the current window's */
    struct window_secret *current;

    pthread_mutex_t mutex;  /* guards what follows */
    pthread_cond_t changed; /* a slot changed its state, or one of the two flags was set */
    struct slot slots[SLOTS_MAX];
    size_t slot_count;
    uint64_t done; /* leaves in the file */
    bool finished; /* no more units will come */
    bool stop;     /* leave at once */
    int error;     /* errno of the first write that failed */
};

static struct slot *slot_in_state(struct make *make, enum slot_state state)
{
    for (size_t i = 0; i < make->slot_count; i++)
        if (make->slots[i].state == state)
            return &make->slots[i];
    return NULL;
}

static void lock(struct make *make)
{
    MUST(pthread_mutex_lock(&make->mutex) == 0);
}

static void unlock(struct make *make)
{
    MUST(pthread_mutex_unlock(&make->mutex) == 0);
}

static void wait_for_change(struct make *make)
{
    MUST(pthread_cond_wait(&make->changed, &make->mutex) == 0);
}

static void tell_change(struct make *make)
{
    MUST(pthread_cond_broadcast(&make->changed) == 0);
}

/* Compute the leaves of a slot, wipe its secrets, write. Returns 0 or errno. */
static int slot_work(const struct make *make, const struct slot *slot)
{
    const struct hbs_tree *tree = make->tree;
    uint8_t leaves[UNIT_LEAVES * HBS_N_MAX];
    size_t m = tree->n;
    for (uint32_t s = 0; s < make->secrets_each; s++) {
        uint32_t offset = s * make->leaves_each;
        hbs_tree_leaves(tree, slot->first + offset, make->leaves_each, slot->secrets[s].seed,
                        leaves + offset * m);
        window_secret_wipe(&slot->secrets[s]);
    }
    off_t at = nodes_offset(tree, (uint64_t)make->leaves + slot->first);
    errno = 0;
    return pwrite_full(make->temp->fd, leaves, UNIT_LEAVES * m, at) ? 0
                                                                    : (errno != 0 ? errno : EIO);
}

static void *worker(void *ctx)
{
    struct make *make = ctx;
    lock(make);
    for (;;) {
        struct slot *slot = slot_in_state(make, SLOT_READY);
        if (make->stop || (slot == NULL && make->finished))
            break;
        if (slot == NULL) {
            wait_for_change(make);
            continue;
        }
        slot->state = SLOT_TAKEN;
        unlock(make);
        int error = slot_work(make, slot);
        lock(make);
        slot->state = SLOT_FREE;
        make->done += UNIT_LEAVES;
        if (error != 0) {
            make->error = make->error != 0 ? make->error : error;
            make->stop = true;
        }
        tell_change(make);
    }
    unlock(make);
    return NULL;
}

static enum rc write_failed(const struct make *make, struct err *err)
{
    return FAIL(err, RC_HALT_SYSTEM, "errno", make->error, "write leaves: %s",
                strerror(make->error));
}

static enum rc progress_tell(struct make *make, uint64_t done, struct err *err)
{
    if (make->how->progress == NULL || make->how->progress(make->how->ctx, done, make->leaves))
        return RC_OK;
    return FAIL(err, RC_RETRY_BUSY, "", 0, "stopped after %" PRIu64 " of %" PRIu32 " leaves", done,
                make->leaves);
}

/* Wait until a worker can be given something. */
static enum rc slot_wait(struct make *make, struct slot **slot, struct err *err)
{
    lock(make);
    while ((*slot = slot_in_state(make, SLOT_FREE)) == NULL && !make->stop)
        wait_for_change(make);
    bool stop = make->stop;
    uint64_t done = make->done;
    unlock(make);
    return stop ? write_failed(make, err) : progress_tell(make, done, err);
}

/* A window that was begun earlier: its secret must be the one that the last leaf on disk has. */
static enum rc current_fits(const struct make *make, uint32_t first, struct err *err)
{
    const struct hbs_tree *tree = make->tree;
    uint8_t stored[HBS_N_MAX];
    uint8_t derived[HBS_N_MAX];
    if (!pread_full(make->temp->fd, stored, tree->n,
                    nodes_offset(tree, (uint64_t)make->leaves + first - 1)))
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "read %s: %s", make->temp->name,
                    strerror(errno));
    hbs_tree_leaves(tree, first - 1, 1, make->current->seed, derived);
    if (!ct_equal(stored, derived, tree->n))
        return FAIL(err, RC_HALT_NODES, "", first - 1,
                    "leaf %" PRIu32 " is not one of its window's secret", first - 1);
    return RC_OK;
}

/* Secrets of the unit at leaf first. A window larger than a unit is fetched with its first unit, or
 * with the one at which the work goes on. */
static enum rc slot_fill(struct make *make, struct slot *slot, uint32_t first, struct err *err)
{
    uint64_t size = make->how->window_size;
    for (uint32_t s = 0; s < make->secrets_each; s++) {
        uint64_t leaf = (uint64_t)first + s * make->leaves_each;
        if (leaf % size == 0 || !make->fetched) {
            window_secret_wipe(make->current);
            enum rc rc = make->how->source(make->how->ctx, leaf / size, make->current, err);
            if (rc == RC_OK && leaf % size != 0)
                rc = current_fits(make, first, err);
            if (rc != RC_OK)
                return rc;
            make->fetched = true;
        }
        slot->secrets[s] = *make->current;
    }
    slot->first = first;
    return RC_OK;
}

/* Checkpoints --------------------------------------------------------------------------------- */

/* All leaves below `handed` are written. Secrets before leaves, leaves before the record: whatever
 * a power cut takes away, what a record counts is there. */
static enum rc checkpoint(struct make *make, struct err *err)
{
    struct nodes_checkpoint next = {.window_size = make->how->window_size,
                                    .serial = make->saved.serial + 1,
                                    .leaves = make->handed};
    make->unsure = true;
    enum rc rc = make->how->secure(make->how->ctx, err);
    if (rc == RC_OK)
        rc = nodes_checkpoint_write(make->temp, make->tree, &next, err);
    if (rc != RC_OK)
        return rc;
    make->unsure = false;
    make->saved = next;
    return RC_OK;
}

/* Wait until the workers have nothing left. */
static enum rc drain(struct make *make, struct err *err)
{
    lock(make);
    while (!make->stop &&
           (slot_in_state(make, SLOT_READY) != NULL || slot_in_state(make, SLOT_TAKEN) != NULL))
        wait_for_change(make);
    bool stop = make->stop;
    unlock(make);
    return stop ? write_failed(make, err) : RC_OK;
}

static enum rc checkpoint_if_due(struct make *make, struct err *err)
{
    if (!make->temp->kept || make->handed == make->leaves || !make->how->due(make->how->ctx))
        return RC_OK;
    enum rc rc = drain(make, err);
    return rc == RC_OK ? checkpoint(make, err) : rc;
}

/* How far did an earlier attempt come? */
static enum rc resume(struct make *make, struct err *err)
{
    if (!make->temp->kept)
        return RC_OK;
    uint64_t size = make->how->window_size;
    make->saved = nodes_checkpoint_read(make->temp, make->tree, size);
    uint64_t from = make->saved.leaves;
    bool again = from == 0 || make->how->resume(make->how->ctx, from / size, from % size != 0);
    make->handed = (uint32_t)(again ? from : from - from % size);
    make->done = make->handed;
    /* Leaves that are about to be written over are no longer there to be counted. */
    return make->handed < from ? checkpoint(make, err) : RC_OK;
}

/* The calling thread's part: hand out all units, in order. */
static enum rc units_hand_out(struct make *make, struct err *err)
{
    while (make->handed < make->leaves) {
        struct slot *slot = NULL;
        enum rc rc = slot_wait(make, &slot, err);
        if (rc == RC_OK)
            rc = slot_fill(make, slot, make->handed, err);
        if (rc != RC_OK)
            return rc;
        lock(make);
        slot->state = SLOT_READY;
        tell_change(make);
        unlock(make);
        make->handed += UNIT_LEAVES;
        rc = checkpoint_if_due(make, err);
        if (rc != RC_OK)
            return rc;
    }
    return RC_OK;
}

/* Start up to count workers; returns how many run. They take no signals: those are for the caller.
 */
static unsigned workers_start(struct make *make, pthread_t *threads, unsigned count, int *error)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    MUST(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    unsigned started = 0;
    *error = 0;
    while (started < count && *error == 0) {
        *error = pthread_create(&threads[started], NULL, worker, make);
        started += *error == 0;
    }
    MUST(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return started;
}

/* No more units. What was handed out is finished if it can be kept; it takes a moment. */
static void workers_end(struct make *make, const pthread_t *threads, unsigned started, bool at_once)
{
    lock(make);
    make->finished = true;
    make->stop = make->stop || at_once;
    tell_change(make);
    unlock(make);
    for (unsigned t = 0; t < started; t++)
        MUST(pthread_join(threads[t], NULL) == 0);
}

/* Compute all leaves that are missing, and write them. */
static enum rc leaves_make(struct make *make, struct err *err)
{
    pthread_t threads[HBS_NODES_THREADS_MAX];
    unsigned count = make->how->threads;
    int error = 0;
    unsigned started = workers_start(make, threads, count, &error);
    enum rc rc = RC_OK;
    if (error != 0)
        rc = FAIL(err, RC_RETRY_SYSTEM, "errno", error, "%u threads: %s", count, strerror(error));
    else
        rc = units_hand_out(make, err);
    workers_end(make, threads, started, rc != RC_OK && (!make->temp->kept || started == 0));
    if (make->error != 0)
        return rc != RC_OK ? rc : write_failed(make, err);
    MUST(rc != RC_OK || make->done == make->leaves);
    if (make->temp->kept && !make->unsure && make->done == make->handed &&
        make->handed != make->saved.leaves) {
        /* What stopped the work is what the caller hears of. */
        enum rc saved = checkpoint(make, err);
        rc = rc != RC_OK ? rc : saved;
    }
    return rc != RC_OK ? rc : progress_tell(make, make->done, err);
}

static enum rc make_start(struct make *make, struct err *err)
{
    uint64_t size = make->how->window_size;
    make->leaves = UINT32_C(1) << make->tree->height;
    make->slot_count = (size_t)make->how->threads + 1;
    make->leaves_each = size < UNIT_LEAVES ? (uint32_t)size : UNIT_LEAVES;
    make->secrets_each = UNIT_LEAVES / make->leaves_each;
    size_t count = make->slot_count * make->secrets_each + 1;
    make->secrets = secmem_alloc(count * sizeof(*make->secrets));
    if (make->secrets == NULL)
        return FAIL(err, RC_RETRY_SYSTEM, "gcrypt", 0, "no locked memory for %zu window secrets",
                    count);
    for (size_t i = 0; i < make->slot_count; i++)
        make->slots[i].secrets = make->secrets + i * make->secrets_each;
    make->current = make->secrets + count - 1;
    return resume(make, err);
}

static void make_end(struct make *make)
{
    secmem_free(make->secrets);
    make->secrets = NULL;
    (void)pthread_mutex_destroy(&make->mutex);
    (void)pthread_cond_destroy(&make->changed);
}

static enum rc name_is_free(int dirfd, const char *name, struct err *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return FAIL(err, RC_REFUSED_EXISTS, "", 0, "%s exists already", name);
    if (errno != ENOENT)
        return FAIL(err, RC_HALT_SYSTEM, "errno", errno, "%s: %s", name, strerror(errno));
    return RC_OK;
}

static bool go_on(void *ctx)
{
    const struct make *make = ctx;
    return make->how->progress == NULL ||
           make->how->progress(make->how->ctx, make->leaves, make->leaves);
}

static enum rc nodes_make(int dirfd, const char *name, const struct hbs_tree *tree,
                          const struct hbs_making *how, bool kept, uint8_t root[HBS_N_MAX],
                          struct err *err)
{
    MUST(tree->n <= HBS_N_MAX);
    MUST(how->window_size >= 1 && (how->window_size & (how->window_size - 1)) == 0);
    MUST(how->window_size <= UINT64_C(1) << tree->height);
    MUST(how->threads >= 1);
    MUST(how->threads <= HBS_NODES_THREADS_MAX);
    memset(root, 0, HBS_N_MAX);

    enum rc rc = name_is_free(dirfd, name, err);
    if (rc != RC_OK)
        return rc;
    struct nodes_temp temp CLEANUP(nodes_temp_close) = NODES_TEMP_CLOSED;
    rc = nodes_temp_open(&temp, dirfd, name, tree, kept, err);
    if (rc != RC_OK)
        return rc;
    struct make make CLEANUP(make_end) = {
        .tree = tree,
        .temp = &temp,
        .how = how,
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
    };
    rc = make_start(&make, err);
    if (rc == RC_OK)
        rc = leaves_make(&make, err);
    uint8_t top[HBS_N_MAX] = {0};
    if (rc == RC_OK)
        rc = nodes_temp_levels(&temp, tree, go_on, &make, top, err);
    if (rc == RC_OK)
        rc = nodes_temp_commit(&temp, name, tree, top, false, err);
    if (rc == RC_OK)
        memcpy(root, top, HBS_N_MAX);
    return rc;
}

enum rc hbs_nodes_make(int dirfd, const char *name, const struct hbs_tree *tree,
                       uint64_t window_size, hbs_secret_source source, hbs_progress progress,
                       void *ctx, unsigned threads, uint8_t root[HBS_N_MAX], struct err *err)
{
    const struct hbs_making how = {.window_size = window_size,
                                   .source = source,
                                   .progress = progress,
                                   .ctx = ctx,
                                   .threads = threads};
    return nodes_make(dirfd, name, tree, &how, false, root, err);
}

enum rc hbs_nodes_continue(int dirfd, const char *name, const struct hbs_tree *tree,
                           const struct hbs_making *how, uint8_t root[HBS_N_MAX], struct err *err)
{
    return nodes_make(dirfd, name, tree, how, true, root, err);
}
