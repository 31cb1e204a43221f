#include "sim/moment.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/file.h"

#define DB "/ledger.db"
#define WAL DB "-wal"
#define FILE_STEPS_MAX 8
#define SECTOR 512

/* A write to the secrets' file that was not synced. */
struct file_step {
    size_t at, len;
    uint8_t data[SEEDS_RECORD_LEN];
};

static struct {
    struct rig *rig;
    bool lossy, exact;
    int fd; /* of the secrets */
    struct stat seeds;
    uint8_t durable[MOMENT_WINDOWS * SEEDS_RECORD_LEN];
    uint8_t visible[MOMENT_WINDOWS * SEEDS_RECORD_LEN];
    struct file_step steps[FILE_STEPS_MAX];
    size_t step_count;
    uint64_t file_points, file_syncs;
    void (*watch)(void *ctx, enum point point, const char *what);
    void *watch_ctx;
} world = {.fd = -1};

#define KNOWN 4

/* A hash that need not be computed again. */
struct known {
    uint64_t settled;
    uint8_t sums[PAGES_SUMS];
    struct hash128 hash;
};

/* One point, while its fates are gone through. */
static struct {
    struct moment m;
    void (*fn)(void *ctx, struct moment *m, struct hash128 key);
    void *ctx;
    uint64_t fates_seen;
    enum crashvfs_fate fates[CRASHVFS_UNDECIDED_MAX];
    struct crashvfs_item items[CRASHVFS_UNDECIDED_MAX];
    size_t count;
    /* Where only the log counts: as it would be if all were kept; the database as it is durable;
     * and how far into the log fates have led already. */
    bool appends;
    uint64_t scanned;
    struct known known[KNOWN];
    unsigned known_next;
    struct pages_log log;
    const uint8_t *db, *durable;
    size_t db_len, durable_len;
    bool asked[PAGES_COMMITS_MAX + 1];
} at;

static void reached(enum point point, const char *what)
{
    if (world.watch != NULL)
        world.watch(world.watch_ctx, point, what);
}

/* The secrets' file -----------------------------------------------------------------------------
 */

bool __real_pwrite_full(int fd, const void *data, size_t len, off_t offset);
bool __wrap_pwrite_full(int fd, const void *data, size_t len, off_t offset);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

static bool is_seeds(int fd)
{
    struct stat st;
    return world.fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == world.seeds.st_ino &&
           st.st_dev == world.seeds.st_dev;
}

bool __wrap_pwrite_full(int fd, const void *data, size_t len, off_t offset)
{
    if (!is_seeds(fd))
        return __real_pwrite_full(fd, data, len, offset);
    MUST(world.step_count < FILE_STEPS_MAX && len == SEEDS_RECORD_LEN);
    MUST(offset >= 0 && (size_t)offset + len <= sizeof(world.visible));
    struct file_step *s = &world.steps[world.step_count++];
    s->at = (size_t)offset;
    s->len = len;
    memcpy(s->data, data, len);
    memcpy(world.visible + s->at, data, len);
    bool ok = __real_pwrite_full(fd, data, len, offset);
    world.file_points++;
    reached(POINT_FILE, "write of a secret");
    return ok;
}

int __wrap_fdatasync(int fd)
{
    if (!is_seeds(fd))
        return __real_fdatasync(fd);
    world.file_points++;
    reached(POINT_FILE, "sync of the secrets");
    world.step_count = 0;
    world.file_syncs++;
    memcpy(world.durable, world.visible, sizeof(world.durable));
    return 0;
}

static void step_apply(uint8_t *to, const struct file_step *s, enum crashvfs_fate fate)
{
    /* Records are longer than a sector, so each has a boundary inside. */
    size_t half = SECTOR - s->at % SECTOR;
    size_t from = fate == CRASHVFS_TAIL ? half : 0;
    size_t until = fate == CRASHVFS_HEAD ? half : s->len;
    if (fate != CRASHVFS_DROPPED)
        memcpy(to + s->at + from, s->data + from, until - from);
}

/* Watching ---------------------------------------------------------------------------------------
 */

static void on_disk(void *ctx, enum crashvfs_step kind)
{
    static const char *const names[] = {[CRASHVFS_WRITE] = "write of the ledger",
                                        [CRASHVFS_SYNC] = "sync of the ledger",
                                        [CRASHVFS_TRUNCATE] = "truncation of the ledger",
                                        [CRASHVFS_DELETE] = "removal in the ledger's folder"};
    (void)ctx;
    reached(POINT_DISK, names[kind]);
}

static const char *command_name(enum fake_command command)
{
    static const char *const names[] = {[FAKE_OPEN] = "open",
                                        [FAKE_UNSEAL] = "unseal",
                                        [FAKE_ANCHOR_OPEN] = "open the anchor",
                                        [FAKE_READ] = "read W L A",
                                        [FAKE_WRITE] = "write A",
                                        [FAKE_STEP_W] = "W + 1",
                                        [FAKE_STEP_L] = "L + 1",
                                        [FAKE_PROVE] = "prove",
                                        [FAKE_CHECK] = "check a sealed secret"};
    return (size_t)command < sizeof(names) / sizeof(names[0]) ? names[command] : "other";
}

static void on_before(void *ctx, enum fake_command command)
{
    (void)ctx;
    reached(POINT_BEFORE, command_name(command));
}

static void on_after(void *ctx, enum fake_command command)
{
    (void)ctx;
    reached(POINT_AFTER, command_name(command));
}

void moment_watch(void (*fn)(void *ctx, enum point point, const char *what), void *ctx)
{
    struct rig *rig = world.rig;
    world.watch = fn;
    world.watch_ctx = ctx;
    crashvfs_watch(rig->disk, fn != NULL ? on_disk : NULL, NULL);
    rig->fake.hook = fn != NULL ? on_before : NULL;
    rig->fake.hook_after = fn != NULL ? on_after : NULL;
}

uint64_t moment_points(void)
{
    return crashvfs_steps(world.rig->disk) + 2 * world.rig->fake.tpm->commands + world.file_points;
}

/* Keys -------------------------------------------------------------------------------------------
 */

static const uint8_t *image_file(const struct crashvfs_image *image, const char *path, size_t *len)
{
    for (size_t i = 0; i < image->count; i++)
        if (strcmp(image->files[i].path, path) == 0) {
            *len = image->files[i].len;
            return image->files[i].data;
        }
    *len = 0;
    return NULL;
}

static struct hash128 hash_bytes(const struct crashvfs_image *image)
{
    struct hash128 hash = {1, 1};
    size_t len = 0;
    const uint8_t *data = image_file(image, DB, &len);
    hash128_add(&hash, data, len);
    data = image_file(image, WAL, &len);
    hash128_add(&hash, data, len);
    return hash;
}

static struct hash128 hash_pages(const struct crashvfs_image *image)
{
    static struct pages_log log;
    size_t db_len = 0;
    size_t wal_len = 0;
    const uint8_t *db = image_file(image, DB, &db_len);
    const uint8_t *wal = image_file(image, WAL, &wal_len);
    pages_scan(&log, wal, wal_len);
    return pages_hash(db, db_len, &log, pages_commits_before(&log, wal_len));
}

static struct hash128 hash_disk(const struct crashvfs_image *image)
{
    return world.exact ? hash_bytes(image) : hash_pages(image);
}

/* In the order of indices: which was computed first does not count. */
static void add_oracle(struct hash128 *hash, const struct moment *m)
{
    for (uint64_t index = 0; index < 32; index++)
        for (size_t i = 0; i < m->seen_count; i++)
            if (m->seen[i].index == index)
                hash128_add(hash, &m->seen[i], sizeof(m->seen[i]));
}

static void add_answers(struct hash128 *hash, const struct progress *p)
{
    hash128_add(hash, &p->act, sizeof(p->act));
    hash128_add(hash, &p->now_ns, sizeof(p->now_ns));
    for (size_t i = 0; i < MOMENT_ACTS; i++)
        for (size_t k = 0; k < MOMENT_ASKS; k++) {
            const struct answer *a = &p->answers[i][k];
            const struct held *held = &a->held;
            uint64_t words[] = {a->final,    (uint64_t)a->rc, a->index,
                                held->known, held->index,     held->w};
            hash128_add(hash, words, sizeof(words));
            hash128_add(hash, held->id, sizeof(held->id));
            hash128_add(hash, held->prefix, held->prefix_len);
            hash128_add(hash, a->signature, sizeof(a->signature));
        }
}

static void add_nv(struct hash128 *hash, const struct fake_nv *nv)
{
    hash128_add(hash, &nv->w, sizeof(nv->w));
    hash128_add(hash, &nv->l, sizeof(nv->l));
    hash128_add(hash, nv->a, sizeof(nv->a));
}

struct hash128 moment_key_with(const struct moment *m, struct hash128 disk)
{
    struct hash128 hash = disk;
    hash128_add(&hash, m->seeds, sizeof(m->seeds));
    add_nv(&hash, &m->nv);
    add_oracle(&hash, m);
    hash128_add(&hash, &m->rolled_back, sizeof(m->rolled_back));
    hash128_add(&hash, &m->progress.told, sizeof(m->progress.told));
    /* What else clients were told plays no part in what happens to a disk that was put back. */
    if (!m->rolled_back)
        add_answers(&hash, &m->progress);
    return hash;
}

struct hash128 moment_disk_hash(const struct moment *m)
{
    return hash_disk(&m->disk);
}

struct hash128 moment_key(const struct moment *m)
{
    return moment_key_with(m, hash_disk(&m->disk));
}

/* Taking and putting ------------------------------------------------------------------------------
 */

void moment_world(struct rig *rig, bool lossy, bool exact)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s/%s/%s", rig->dir, KEYS_DIR, rig->plan[0].key,
                   SEEDS_FILE);
    if (world.fd >= 0)
        (void)close(world.fd);
    memset(&world, 0, sizeof(world));
    memset(&at, 0, sizeof(at));
    world.rig = rig;
    world.lossy = lossy;
    world.exact = exact;
    world.fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(world.fd >= 0);
    assert_int_equal(fstat(world.fd, &world.seeds), 0);
    assert_int_equal(world.seeds.st_size, sizeof(world.visible));
    assert_true(pread_full(world.fd, world.visible, sizeof(world.visible), 0));
    memcpy(world.durable, world.visible, sizeof(world.durable));
}

/* What does not depend on what the disk makes of the cut. */
void moment_rest(struct moment *m)
{
    const struct fake_tpm *tpm = world.rig->fake.tpm;
    m->nv = tpm->nv[0];
    m->seen_count = oracle_save(m->seen, MOMENT_SEEN);
}

void moment_durable(struct moment *m)
{
    static enum crashvfs_fate fates[CRASHVFS_UNDECIDED_MAX];
    for (size_t i = 0; i < CRASHVFS_UNDECIDED_MAX; i++)
        fates[i] = CRASHVFS_DROPPED;
    crashvfs_outcome(world.rig->disk, fates, &m->disk);
    memcpy(m->seeds, world.durable, sizeof(m->seeds));
}

bool moment_same_disk(const struct moment *a, const struct moment *b)
{
    struct hash128 x = hash_disk(&a->disk);
    struct hash128 y = hash_disk(&b->disk);
    return x.a == y.a && x.b == y.b && memcmp(a->seeds, b->seeds, sizeof(a->seeds)) == 0;
}

uint64_t moment_settled(void)
{
    return crashvfs_settled(world.rig->disk) + world.file_syncs;
}

void moment_take(struct moment *m, const struct progress *progress)
{
    assert_null(world.rig->signer);
    moment_durable(m);
    moment_rest(m);
    m->progress = *progress;
    m->crashes = 0;
    m->rolled_back = false;
    m->story[0] = '\0';
}

void moment_put(const struct moment *m)
{
    struct rig *rig = world.rig;
    signer_close(&rig->signer, false);
    moment_watch(NULL, NULL);
    crashvfs_load(rig->disk, &m->disk);
    fake_tpm_reset(&rig->fake);
    fake_tpm_fail(&rig->fake, 0, FAKE_NONE);
    rig->fake.tpm->nv[0] = m->nv;
    rig->fake.tpm->before[0] = m->nv;
    rig->fake.tpm->unanchored = 0;
    fake_clock_change_at(&rig->fake, 0, 0, 0);
    rig->fake.reasons = 0;
    rig->fake.now_ns = m->progress.now_ns;
    rig->fake.raw_ns = m->progress.now_ns;
    memcpy(world.durable, m->seeds, sizeof(world.durable));
    memcpy(world.visible, m->seeds, sizeof(world.visible));
    world.step_count = 0;
    world.file_points = 0;
    assert_true(__real_pwrite_full(world.fd, m->seeds, sizeof(m->seeds), 0));
    oracle_load(m->seen, m->seen_count);
}

void moment_copy(struct moment *to, const struct moment *from)
{
    struct crashvfs_image disk = to->disk;
    crashvfs_image_copy(&disk, &from->disk);
    *to = *from;
    to->disk = disk;
}

void moment_free(struct moment *m)
{
    crashvfs_image_free(&m->disk);
}

/* Fates ------------------------------------------------------------------------------------------
 */

static bool is_of(const struct crashvfs_item *item, const char *path)
{
    return strcmp(item->path, path) == 0;
}

/* A page that nobody reads, because the log has it, or an end behind the last page: a checkpoint.
 */
static bool is_hidden(const struct crashvfs_item *item, size_t commits)
{
    if (commits == 0 || !is_of(item, DB))
        return false;
    if (item->truncates)
        return item->len >= pages_count(&at.log, commits) * at.log.page_size;
    return item->writes && item->len == at.log.page_size &&
           pages_hides(&at.log, commits, item->at / item->len + 1);
}

/* Does a write that was not kept whole leave the disk other than if it had been? */
static bool differs(const struct crashvfs_item *item)
{
    return item->at + item->len > at.durable_len ||
           memcmp(at.durable + item->at, at.log.wal + item->at, item->len) != 0;
}

/* The only thing undecided about its part of the log, and that is durable as it is: what a start
 * finds there it writes once more (ledger.c, settle_wal()). */
static bool changes_nothing(const struct crashvfs_item *item)
{
    if (!is_of(item, WAL) || !item->writes)
        return false;
    for (size_t i = 0; i < at.count; i++) {
        const struct crashvfs_item *other = &at.items[i];
        if (other == item || !is_of(other, WAL))
            continue;
        if (!other->writes ||
            (other->at < item->at + item->len && item->at < other->at + other->len))
            return false;
    }
    return !differs(item);
}

/* If all that is undecided is hidden, or is frames behind the log's header, then what a reader sees
 * depends on one thing alone: how far the log goes. */
static bool only_log_counts(void)
{
    size_t limit = SIZE_MAX;
    for (size_t i = 0; i < at.count; i++)
        if (is_of(&at.items[i], WAL) && at.items[i].at < limit && !changes_nothing(&at.items[i]))
            limit = at.items[i].at;
    size_t sure = pages_commits_before(&at.log, limit);
    for (size_t i = 0; i < at.count; i++) {
        const struct crashvfs_item *item = &at.items[i];
        bool frame = is_of(item, WAL) && item->writes && item->at >= PAGES_WAL_HEADER;
        if (!frame && !is_hidden(item, sure) && !changes_nothing(item))
            return false;
    }
    return true;
}

static void look_at_log(void)
{
    size_t len = 0;
    const uint8_t *wal = crashvfs_bytes(world.rig->disk, WAL, &len);
    if (at.scanned != crashvfs_changed(world.rig->disk))
        pages_scan(&at.log, wal, len);
    at.scanned = crashvfs_changed(world.rig->disk);
    at.db = crashvfs_durable(world.rig->disk, DB, &at.db_len);
    at.durable = crashvfs_durable(world.rig->disk, WAL, &at.durable_len);
    memset(at.asked, 0, (at.log.count + 1) * sizeof(at.asked[0]));
    at.appends = !world.exact && only_log_counts();
}

/* The log is read as far as each frame follows from the one before: up to the first write that was
 * not kept. (That a frame of which a part is missing passes for whole would be a collision of
 * SQLite's sums; -x reads what is there instead.) */
static size_t commits_of_fates(void)
{
    size_t limit = SIZE_MAX;
    for (size_t i = 0; i < at.count; i++)
        if (at.fates[i] != CRASHVFS_KEPT && is_of(&at.items[i], WAL) && at.items[i].at < limit &&
            differs(&at.items[i]))
            limit = at.items[i].at;
    return pages_commits_before(&at.log, limit);
}

void moment_fill(struct moment *m)
{
    crashvfs_outcome(world.rig->disk, at.fates, &m->disk);
}

static void each_tpm(struct hash128 disk)
{
    at.m.nv = world.rig->fake.tpm->nv[0];
    at.fn(at.ctx, &at.m, moment_key_with(&at.m, disk));
    if (!world.lossy)
        return;
    at.m.nv = world.rig->fake.tpm->before[0];
    at.fn(at.ctx, &at.m, moment_key_with(&at.m, disk));
}

/* Every fate of every write to the secrets, torn ones too: there are never many. */
static void each_seeds(struct hash128 disk)
{
    size_t choices = (size_t)1 << (2 * world.step_count);
    for (size_t choice = 0; choice < choices; choice++) {
        memcpy(at.m.seeds, world.durable, sizeof(at.m.seeds));
        for (size_t i = 0; i < world.step_count; i++)
            step_apply(at.m.seeds, &world.steps[i], (enum crashvfs_fate)(choice >> (2 * i) & 3));
        each_tpm(disk);
    }
}

/* The same database under the same log, as its running sums tell, need not be hashed again. */
static struct hash128 hash_of_commits(size_t n)
{
    struct known now = {.settled = moment_settled()};
    pages_sums(&at.log, n, now.sums);
    for (size_t i = 0; i < KNOWN; i++)
        if (at.known[i].settled == now.settled &&
            memcmp(at.known[i].sums, now.sums, PAGES_SUMS) == 0)
            return at.known[i].hash;
    now.hash = pages_hash(at.db, at.db_len, &at.log, n);
    at.known[at.known_next++ % KNOWN] = now;
    return now.hash;
}

static void each_disk(void)
{
    at.fates_seen++;
    if (at.appends) {
        size_t n = commits_of_fates();
        if (!at.asked[n])
            each_seeds(hash_of_commits(n));
        at.asked[n] = true;
        return;
    }
    moment_fill(&at.m);
    struct hash128 disk = hash_disk(&at.m.disk);
    crashvfs_image_free(&at.m.disk);
    each_seeds(disk);
}

/* Everything before `from` kept, everything else dropped. */
static void prefix(size_t from)
{
    for (size_t i = 0; i < at.count; i++)
        at.fates[i] = i < from ? CRASHVFS_KEPT : CRASHVFS_DROPPED;
}

static void each_choice(void)
{
    for (size_t choice = 0; choice < (size_t)1 << at.count; choice++) {
        for (size_t i = 0; i < at.count; i++)
            at.fates[i] = (choice >> i & 1) != 0 ? CRASHVFS_DROPPED : CRASHVFS_KEPT;
        each_disk();
    }
}

static void some_choices(void)
{
    for (size_t i = 0; i <= at.count; i++) {
        prefix(i);
        each_disk();
    }
    for (size_t i = 0; i < at.count; i++) {
        prefix(at.count);
        at.fates[i] = CRASHVFS_DROPPED;
        each_disk();
        prefix(0);
        at.fates[i] = CRASHVFS_KEPT;
        each_disk();
    }
}

static void torn_choices(void)
{
    for (size_t i = 0; i < at.count; i++)
        for (unsigned k = 0; k < 4 && at.items[i].tears; k++) {
            prefix(k % 2 == 0 ? at.count : i);
            at.fates[i] = k < 2 ? CRASHVFS_HEAD : CRASHVFS_TAIL;
            each_disk();
        }
}

uint64_t moment_outcomes(const struct moment *like,
                         void (*fn)(void *ctx, struct moment *m, struct hash128 key), void *ctx,
                         bool *partial)
{
    struct crashvfs_image none = {0};
    at.m = *like;
    at.m.disk = none;
    at.fn = fn;
    at.ctx = ctx;
    at.fates_seen = 0;
    at.count = crashvfs_undecided(world.rig->disk, at.items);
    look_at_log();
    moment_rest(&at.m);
    *partial = at.count > MOMENT_ALL;
    if (*partial)
        some_choices();
    else
        each_choice();
    torn_choices();
    return at.fates_seen;
}
