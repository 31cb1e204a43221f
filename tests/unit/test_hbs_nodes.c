/*
 * Unit tests of the node file (src/hbs/nodes.h): made, stopped, opened, repaired, refused.
 *
 * Linked with --wrap, so that every system call that the module makes can fail, one after another:
 * a fault must be reported, leave nothing behind, and leave what was there as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/secmem.h"
#include "hbs/hss.h"
#include "hbs/nodes.h"

/* Faults ----------------------------------------------------------------------------------------
 */

/* Number of the wrapped call that fails, 1-based; 0: none. Calls of all threads count. */
static atomic_int fault_at;
static atomic_int fault_calls;
static const char *_Atomic fault_name;

/* Names of all calls since call_log_len was set to 0. */
static const char *call_log[4096];
static atomic_size_t call_log_len;

static bool fault(const char *name)
{
    size_t n = atomic_fetch_add(&call_log_len, 1);
    if (n < sizeof(call_log) / sizeof(call_log[0]))
        call_log[n] = name;
    if (fault_at == 0 || atomic_fetch_add(&fault_calls, 1) + 1 != fault_at)
        return false;
    fault_name = name;
    errno = EIO;
    return true;
}

#define WRAP(result, failure, name, parameters, arguments)                                         \
    result __real_##name parameters;                                                               \
    result __wrap_##name parameters;                                                               \
    result __wrap_##name parameters                                                                \
    {                                                                                              \
        return fault(#name) ? (failure) : __real_##name arguments;                                 \
    }

WRAP(ssize_t, -1, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at))
WRAP(bool, false, pread_full, (int fd, void *p, size_t n, off_t at), (fd, p, n, at))
WRAP(int, -1, fsync, (int fd), (fd))
WRAP(int, -1, ftruncate, (int fd, off_t n), (fd, n))
WRAP(int, ENOSPC, posix_fallocate, (int fd, off_t at, off_t n), (fd, at, n))
WRAP(int, -1, renameat2, (int a, const char *x, int b, const char *y, unsigned f), (a, x, b, y, f))
WRAP(int, -1, fstat, (int fd, struct stat *st), (fd, st))
WRAP(int, -1, fstatat, (int d, const char *p, struct stat *st, int f), (d, p, st, f))
WRAP(void *, MAP_FAILED, mmap, (void *a, size_t n, int p, int f, int fd, off_t o),
     (a, n, p, f, fd, o))
WRAP(void *, NULL, secmem_alloc, (size_t n), (n))
WRAP(int, EAGAIN, pthread_create,
     (pthread_t * t, const pthread_attr_t *a, void *(*f)(void *), void *ctx), (t, a, f, ctx))

/* Somebody else finishes with the file between our open and our lock. */
static void (*before_flock)(void);

int __real_flock(int fd, int how);
int __wrap_flock(int fd, int how);
int __wrap_flock(int fd, int how)
{
    if (before_flock != NULL)
        before_flock();
    return fault("flock") ? -1 : __real_flock(fd, how);
}

int __real_openat(int dirfd, const char *path, int flags, ...);
int __wrap_openat(int dirfd, const char *path, int flags, ...);
int __wrap_openat(int dirfd, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fault("openat") ? -1 : __real_openat(dirfd, path, flags, mode);
}

/* Helpers ---------------------------------------------------------------------------------------
 */

#define NAME "key.nodes"
#define TEMPORARY ".key.nodes.tmp"
#define HEADER 4096

struct world {
    char path[64];
    int dirfd;
    struct lms_tree tree;
    uint64_t window_size;
    unsigned threads;
    uint8_t root[HBS_N_MAX];
    /* what the callbacks saw and do */
    uint64_t windows;
    uint64_t window_failing; /* UINT64_MAX: none */
    uint64_t done;
    uint64_t total;
    uint64_t stop_at; /* UINT64_MAX: never */
};

static int world_open(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return -1;
    (void)snprintf(w->path, sizeof(w->path), "test-hbs-nodes.XXXXXX");
    if (mkdtemp(w->path) == NULL)
        return -1;
    w->dirfd = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->tree.set = (struct lms_set){lms_params_by_name("LMS_SHA256_M24_H5"),
                                   lmots_params_by_name("LMOTS_SHA256_N24_W2")};
    memcpy(w->tree.i, "sixteen bytes: I", LMS_I_LEN);
    w->window_size = 8;
    w->threads = 2;
    w->window_failing = UINT64_MAX;
    w->stop_at = UINT64_MAX;
    *state = w;
    return w->dirfd >= 0 ? 0 : -1;
}

static int world_close(void **state)
{
    struct world *w = *state;
    fault_at = 0;
    DIR *dir = opendir(w->path);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(w->dirfd, e->d_name, e->d_type == DT_DIR ? AT_REMOVEDIR : 0);
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(w->path);
    (void)close(w->dirfd);
    free(w);
    return 0;
}

static size_t entries(const struct world *w)
{
    size_t count = 0;
    DIR *dir = opendir(w->path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    (void)closedir(dir);
    return count;
}

static void secret_of(uint64_t window, struct window_secret *secret)
{
    *secret = (struct window_secret){0};
    be_put64(secret->seed, window + 1);
}

static enum rc source(void *ctx, uint64_t window, struct window_secret *secret, struct err *err)
{
    struct world *w = ctx;
    assert_int_equal(window, w->windows); /* each once, in order */
    w->windows++;
    if (window == w->window_failing)
        return FAIL(err, RC_HALT_SEEDS, "", 0, "window %d cannot be opened", (int)window);
    secret_of(window, secret);
    return RC_OK;
}

static bool progress(void *ctx, uint64_t done, uint64_t total)
{
    struct world *w = ctx;
    assert_true(done >= w->done);
    w->done = done;
    w->total = total;
    return done < w->stop_at;
}

static enum rc make(struct world *w, struct err *err)
{
    w->windows = 0;
    w->done = 0;
    const struct hbs_tree tree = hbs_tree_of_lms(&w->tree);
    enum rc rc = hbs_nodes_make(w->dirfd, NAME, &tree, w->window_size, source, progress, w,
                                w->threads, w->root, err);
    if (rc != RC_OK) {
        uint8_t zero[HBS_N_MAX] = {0};
        assert_memory_equal(w->root, zero, HBS_N_MAX);
    }
    return rc;
}

static void make_ok(struct world *w)
{
    struct err err = {0};
    if (make(w, &err) != RC_OK)
        fail_msg("make: %s", err.text);
    assert_int_equal(err.rc, RC_OK);
}

/* The node file as bytes, and back. */
struct content {
    char *data;
    size_t len;
};

static void content_free(struct content *c)
{
    free(c->data);
}

static struct content content_read(const struct world *w)
{
    struct content c = {0};
    assert_int_equal(file_read(w->dirfd, NAME, 64 * 1024 * 1024, &c.data, &c.len, NULL), RC_OK);
    return c;
}

static void content_write(const struct world *w, const struct content *c)
{
    (void)unlinkat(w->dirfd, NAME, 0);
    assert_int_equal(file_write_new(w->dirfd, NAME, 0644, c->data, c->len, NULL), RC_OK);
}

static void assert_content(const struct world *w, const struct content *expected)
{
    struct content c CLEANUP(content_free) = content_read(w);
    assert_int_equal(c.len, expected->len);
    assert_memory_equal(c.data, expected->data, c.len);
    assert_int_equal(entries(w), 1);
}

static size_t at_node(const struct world *w, uint32_t r)
{
    return HEADER + (size_t)r * w->tree.set.lms->m;
}

static enum rc open_nodes(const struct world *w, struct hbs_nodes **nodes, bool *repaired,
                          struct err *err)
{
    *nodes = (struct hbs_nodes *)(uintptr_t)1;
    *repaired = true;
    const struct hbs_tree tree = hbs_tree_of_lms(&w->tree);
    enum rc rc = hbs_nodes_open(nodes, w->dirfd, NAME, &tree, w->root, repaired, err);
    if (rc != RC_OK) {
        assert_null(*nodes);
        assert_false(*repaired);
    }
    return rc;
}

static void open_ok(const struct world *w, bool expect_repair)
{
    struct hbs_nodes *nodes CLEANUP(hbs_nodes_close) = NULL;
    bool repaired = false;
    struct err err = {0};
    if (open_nodes(w, &nodes, &repaired, &err) != RC_OK)
        fail_msg("open: %s", err.text);
    assert_int_equal(repaired, expect_repair);
}

static void open_refused(const struct world *w, enum rc expected, const char *text)
{
    struct hbs_nodes *nodes CLEANUP(hbs_nodes_close) = NULL;
    bool repaired = false;
    struct err err = {0};
    assert_int_equal(open_nodes(w, &nodes, &repaired, &err), expected);
    assert_int_equal(err.rc, expected);
    if (strstr(err.text, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
}

/* Making ----------------------------------------------------------------------------------------
 */

/* The root by lms.h alone, window after window. */
static void root_expected(const struct world *w, uint8_t *root)
{
    uint32_t leaves = UINT32_C(1) << w->tree.set.lms->h;
    uint8_t m = w->tree.set.lms->m;
    uint8_t *nodes = calloc(leaves, m);
    assert_non_null(nodes);
    for (uint32_t first = 0; first < leaves; first += (uint32_t)w->window_size) {
        struct window_secret secret CLEANUP(window_secret_wipe);
        secret_of(first / w->window_size, &secret);
        lms_leaves(&w->tree, first, (uint32_t)w->window_size, &secret, nodes + (size_t)first * m);
    }
    lms_subtree_root(&w->tree, 0, leaves, nodes, root);
    free(nodes);
}

static void test_make(void **state)
{
    struct world *w = *state;
    for (w->window_size = 1; w->window_size <= 32; w->window_size *= 2) {
        uint8_t expected[HBS_N_MAX];
        root_expected(w, expected);
        const unsigned threads[] = {1, 3, HBS_NODES_THREADS_MAX};
        for (size_t t = 0; t < 3; t++) {
            w->threads = threads[t];
            make_ok(w);
            assert_memory_equal(w->root, expected, w->tree.set.lms->m);
            assert_int_equal(w->windows, 32 / w->window_size);
            assert_int_equal(w->done, 32);
            assert_int_equal(w->total, 32);
            assert_int_equal(entries(w), 1);
            open_ok(w, false);
            assert_int_equal(unlinkat(w->dirfd, NAME, 0), 0);
        }
    }
}

/* Many units, levels longer than a chunk; another window size on each side of a unit. */
static void test_make_larger(void **state)
{
    struct world *w = *state;
    w->tree.set.lms = lms_params_by_name("LMS_SHA256_M24_H10");
    w->tree.set.ots = lmots_params_by_name("LMOTS_SHA256_N24_W1");
    const uint64_t sizes[] = {1, 16, 256, 1024};
    for (size_t k = 0; k < 4; k++) {
        w->window_size = sizes[k];
        uint8_t expected[HBS_N_MAX];
        root_expected(w, expected);
        make_ok(w);
        assert_memory_equal(w->root, expected, 24);
        assert_int_equal(w->windows, 1024 / sizes[k]);
        open_ok(w, false);
        assert_int_equal(unlinkat(w->dirfd, NAME, 0), 0);
    }
}

/* The layout is a format: other programs may read it. */
static void test_layout(void **state)
{
    struct world *w = *state;
    make_ok(w);
    struct content c CLEANUP(content_free) = content_read(w);
    assert_int_equal(c.len, 4096 + 64 * 24);
    assert_memory_equal(c.data, "TIDENODE\0\0\0\1\0\0\0\x0a\0\0\0\6sixteen bytes: I", 36);
    assert_memory_equal(c.data + 36, w->root, 32);
    uint8_t node[HBS_N_MAX];
    lms_node(&w->tree, 31, (uint8_t *)c.data + at_node(w, 62), (uint8_t *)c.data + at_node(w, 63),
             node);
    assert_memory_equal(c.data + at_node(w, 31), node, 24);
    assert_memory_equal(c.data + at_node(w, 1), w->root, 24);
    struct stat st;
    assert_int_equal(fstatat(w->dirfd, NAME, &st, 0), 0);
    assert_int_equal(st.st_mode & 0133, 0);
}

static void test_path_signs(void **state)
{
    struct world *w = *state;
    make_ok(w);
    struct hbs_nodes *nodes CLEANUP(hbs_nodes_close) = NULL;
    bool repaired = false;
    assert_int_equal(open_nodes(w, &nodes, &repaired, NULL), RC_OK);
    for (uint32_t q = 0; q < 32; q++) {
        struct window_secret secret CLEANUP(window_secret_wipe);
        secret_of(q / w->window_size, &secret);
        uint8_t c[HBS_N_MAX];
        uint8_t value[HBS_N_MAX] = {1, 2, 3};
        uint8_t path[5 * HBS_N_MAX];
        uint8_t sig[LMS_SIG_LEN_MAX];
        lms_randomizer(&w->tree, q, &secret, c);
        hbs_nodes_path(nodes, q, path);
        struct ots_lease lease = {.index = q, .epoch = 1};
        hbs_sign(&lease, &w->tree, &secret, c, value, path, sig);
        assert_true(
            lms_verify_release(&w->tree, w->root, q, c, value, sig, lms_sig_len(&w->tree.set)));
        uint8_t leaf[HBS_N_MAX];
        lms_leaves(&w->tree, q, 1, &secret, leaf);
        assert_memory_equal(hbs_nodes_at(nodes, 32 + q), leaf, 24);
    }
    assert_memory_equal(hbs_nodes_at(nodes, 1), w->root, 24);
    hbs_nodes_close(&nodes);
    assert_null(nodes);
    hbs_nodes_close(&nodes);
}

static void test_make_stopped(void **state)
{
    struct world *w = *state;
    w->tree.set.lms = lms_params_by_name("LMS_SHA256_M24_H10");
    const uint64_t stops[] = {0, 1, 500, 1024};
    for (size_t k = 0; k < 4; k++) {
        w->stop_at = stops[k];
        struct err err = {0};
        assert_int_equal(make(w, &err), RC_RETRY_BUSY);
        assert_int_equal(err.rc, RC_RETRY_BUSY);
        assert_int_equal(entries(w), 0);
        /* It stopped soon, not after doing all the work. */
        assert_true(w->done >= stops[k] && w->done <= stops[k] + (w->threads + 2) * 32);
    }
    w->stop_at = UINT64_MAX;
    make_ok(w);
}

static void test_make_exists(void **state)
{
    struct world *w = *state;
    struct content c = {(char[]){"not mine"}, 8};
    content_write(w, &c);
    struct err err = {0};
    assert_int_equal(make(w, &err), RC_REFUSED_EXISTS);
    assert_int_equal(w->windows, 0); /* refused before the secrets are touched */
    assert_content(w, &c);
    assert_int_equal(unlinkat(w->dirfd, NAME, 0), 0);
    assert_int_equal(symlinkat("/nowhere", w->dirfd, NAME), 0);
    assert_int_equal(make(w, NULL), RC_REFUSED_EXISTS);
}

/* The name appears while we compute: found when the file is named, and the other one stays. */
static bool appear(void *ctx, uint64_t done, uint64_t total)
{
    struct world *w = ctx;
    struct content c = {(char[]){"not mine"}, 8};
    if (done == total)
        content_write(w, &c);
    return true;
}

static void test_make_overtaken(void **state)
{
    struct world *w = *state;
    w->windows = 0;
    const struct hbs_tree tree = hbs_tree_of_lms(&w->tree);
    enum rc rc =
        hbs_nodes_make(w->dirfd, NAME, &tree, w->window_size, source, appear, w, 1, w->root, NULL);
    assert_int_equal(rc, RC_REFUSED_EXISTS);
    struct content c = {(char[]){"not mine"}, 8};
    assert_content(w, &c);
}

static void test_make_source_fails(void **state)
{
    struct world *w = *state;
    for (w->window_failing = 0; w->window_failing < 4; w->window_failing++) {
        struct err err = {0};
        assert_int_equal(make(w, &err), RC_HALT_SEEDS);
        assert_int_equal(err.rc, RC_HALT_SEEDS);
        assert_int_equal(entries(w), 0);
    }
}

/* What a killed make left is taken over; what a living one writes is left alone. */
static void test_make_leftover(void **state)
{
    struct world *w = *state;
    int fd CLEANUP(fd_close) = openat(w->dirfd, TEMPORARY, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    static const char junk[100000] = {[99999] = 'x'};
    assert_true(pwrite_full(fd, junk, sizeof(junk), 0));
    assert_int_equal(flock(fd, LOCK_EX), 0);
    struct err err = {0};
    assert_int_equal(make(w, &err), RC_RETRY_BUSY);
    struct stat st;
    assert_int_equal(fstatat(w->dirfd, TEMPORARY, &st, 0), 0);
    assert_int_equal(st.st_size, sizeof(junk));
    assert_int_equal(entries(w), 1);

    fd_close(&fd);
    make_ok(w);
    assert_int_equal(entries(w), 1);
    open_ok(w, false);
}

static int overtaken_dirfd;

static void finish_it(void)
{
    (void)renameat(overtaken_dirfd, TEMPORARY, overtaken_dirfd, NAME);
}

static void remove_it_and_start_again(void)
{
    (void)unlinkat(overtaken_dirfd, TEMPORARY, 0);
    int fd CLEANUP(fd_close) =
        openat(overtaken_dirfd, TEMPORARY, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(pwrite_full(fd, "alive", 5, 0));
}

/* The file that we then hold the lock of is not ours to write: it would be a finished one. */
static void test_make_overtaken_at_the_lock(void **state)
{
    struct world *w = *state;
    overtaken_dirfd = w->dirfd;
    int fd CLEANUP(fd_close) = openat(w->dirfd, TEMPORARY, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(pwrite_full(fd, "whole", 5, 0));
    before_flock = finish_it;
    enum rc rc = make(w, NULL);
    before_flock = NULL;
    assert_int_equal(rc, RC_RETRY_BUSY);
    struct content whole = {(char[]){"whole"}, 5};
    assert_content(w, &whole);

    assert_int_equal(unlinkat(w->dirfd, NAME, 0), 0);
    before_flock = remove_it_and_start_again;
    rc = make(w, NULL);
    before_flock = NULL;
    assert_int_equal(rc, RC_RETRY_BUSY);
    char text[5];
    int other CLEANUP(fd_close) = openat(w->dirfd, TEMPORARY, O_RDONLY | O_CLOEXEC);
    assert_true(pread_full(other, text, 5, 0));
    assert_memory_equal(text, "alive", 5);
}

static void test_make_nowhere(void **state)
{
    struct world *w = *state;
    struct err err = {0};
    int dirfd = w->dirfd;
    w->dirfd = -1;
    assert_int_equal(make(w, &err), RC_HALT_SYSTEM);
    assert_int_equal(err.native, EBADF);
    struct hbs_nodes *nodes = NULL;
    bool repaired;
    assert_int_equal(open_nodes(w, &nodes, &repaired, NULL), RC_HALT_SYSTEM);
    /* A directory that was removed takes no new names, whoever asks. */
    assert_int_equal(mkdirat(dirfd, "gone", 0700), 0);
    w->dirfd = openat(dirfd, "gone", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(unlinkat(dirfd, "gone", AT_REMOVEDIR), 0);
    err = (struct err){0};
    assert_int_equal(make(w, &err), RC_HALT_SYSTEM);
    assert_int_equal(err.native, ENOENT);
    (void)close(w->dirfd);
    w->dirfd = dirfd;
}

/* Opening ---------------------------------------------------------------------------------------
 */

static void test_open_missing(void **state)
{
    struct world *w = *state;
    open_refused(w, RC_REFUSED_NOT_FOUND, NAME);
    assert_int_equal(symlinkat("elsewhere", w->dirfd, NAME), 0);
    open_refused(w, RC_HALT_SYSTEM, NAME);
    assert_int_equal(unlinkat(w->dirfd, NAME, 0), 0);
    assert_int_equal(mkdirat(w->dirfd, NAME, 0700), 0);
    open_refused(w, RC_HALT_NODES, "bytes");
}

static void test_open_truncated(void **state)
{
    struct world *w = *state;
    make_ok(w);
    struct content sound CLEANUP(content_free) = content_read(w);
    const size_t lengths[] = {0, 1, 4095, 4096, 4097, sound.len - 24, sound.len - 1};
    for (size_t k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
        struct content cut = {sound.data, lengths[k]};
        content_write(w, &cut);
        open_refused(w, RC_HALT_NODES, "restore it from any copy");
        assert_content(w, &cut);
    }
    struct content longer = {calloc(1, sound.len + 1), sound.len + 1};
    memcpy(longer.data, sound.data, sound.len);
    content_write(w, &longer);
    open_refused(w, RC_HALT_NODES, "bytes");
    free(longer.data);
}

static void test_open_other_key(void **state)
{
    struct world *w = *state;
    make_ok(w);
    struct content sound CLEANUP(content_free) = content_read(w);
    struct world other = *w;
    other.tree.i[15] ^= 1;
    open_refused(&other, RC_HALT_NODES, "another key");
    other = *w;
    other.root[0] ^= 1;
    open_refused(&other, RC_HALT_NODES, "another key");
    other = *w;
    other.tree.set.ots = lmots_params_by_name("LMOTS_SHA256_N24_W4");
    open_refused(&other, RC_HALT_NODES, "another key");
    other.tree.set = (struct lms_set){lms_params_by_name("LMS_SHAKE_M24_H5"),
                                      lmots_params_by_name("LMOTS_SHAKE_N24_W2")};
    open_refused(&other, RC_HALT_NODES, "another key");
    assert_content(w, &sound);
    open_ok(w, false);
}

/* Header and inner nodes agree with each other, but the leaves are those of other secrets. */
static void test_open_other_leaves(void **state)
{
    struct world *w = *state;
    make_ok(w);
    struct content first CLEANUP(content_free) = content_read(w);
    uint8_t root[HBS_N_MAX];
    memcpy(root, w->root, HBS_N_MAX);
    assert_int_equal(unlinkat(w->dirfd, NAME, 0), 0);
    w->window_size = 16;
    make_ok(w);
    struct content second CLEANUP(content_free) = content_read(w);
    memcpy(second.data, first.data, HEADER);
    content_write(w, &second);
    memcpy(w->root, root, HBS_N_MAX);
    open_refused(w, RC_HALT_NODES, "damage within leaves 0 to 31");
    assert_content(w, &second);
}

static void test_repair_inner(void **state)
{
    struct world *w = *state;
    make_ok(w);
    struct content sound CLEANUP(content_free) = content_read(w);
    struct content hurt CLEANUP(content_free) = content_read(w);
    for (uint32_t r = 0; r < 32; r++) { /* node 0 is not used, and not looked at */
        for (int bit = 0; bit < 24 * 8; bit += 61) {
            char *byte = hurt.data + at_node(w, r) + bit / 8;
            *byte = (char)(*byte ^ (1 << bit % 8));
            content_write(w, &hurt);
            open_ok(w, r != 0);
            if (r != 0)
                assert_content(w, &sound);
            open_ok(w, false);
            *byte = (char)(*byte ^ (1 << bit % 8));
        }
    }
    memset(hurt.data + at_node(w, 1), 0, 31 * 24);
    content_write(w, &hurt);
    open_ok(w, true);
    assert_content(w, &sound);
}

static void test_repair_header(void **state)
{
    struct world *w = *state;
    make_ok(w);
    struct content sound CLEANUP(content_free) = content_read(w);
    struct content hurt CLEANUP(content_free) = content_read(w);
    for (size_t i = 0; i < HEADER; i += i < 110 ? 1 : 797) {
        hurt.data[i] = (char)(hurt.data[i] ^ 4);
        content_write(w, &hurt);
        open_ok(w, true);
        assert_content(w, &sound);
        hurt.data[i] = (char)(hurt.data[i] ^ 4);
    }
}

static void test_leaf_damage(void **state)
{
    struct world *w = *state;
    make_ok(w);
    struct content hurt CLEANUP(content_free) = content_read(w);
    char text[64];
    for (uint32_t q = 0; q < 32; q++) {
        char *byte = hurt.data + at_node(w, 32 + q) + q % 24;
        *byte = (char)(*byte ^ 0x10);
        content_write(w, &hurt);
        (void)snprintf(text, sizeof(text), "damage within leaves %u to %u;", q & ~1U, q | 1U);
        open_refused(w, RC_HALT_NODES, text);
        open_refused(w, RC_HALT_NODES, "restore it from any copy");
        assert_content(w, &hurt); /* neither changed nor joined by a temporary file */
        *byte = (char)(*byte ^ 0x10);
    }
    /* With nodes above it damaged too, the range is as small as what is left allows. */
    hurt.data[at_node(w, 32 + 13)] = (char)(hurt.data[at_node(w, 32 + 13)] ^ 1);
    const struct {
        uint32_t r;
        const char *range;
    } cases[] = {{16 + 6, "leaves 12 to 15"}, {4 + 1, "leaves 0 to 15"}, {2, "leaves 0 to 31"}};
    for (size_t k = 0; k < 3; k++) {
        char *byte = hurt.data + at_node(w, cases[k].r);
        *byte = (char)(*byte ^ 1);
        content_write(w, &hurt);
        open_refused(w, RC_HALT_NODES, cases[k].range);
        *byte = (char)(*byte ^ 1);
    }
    /* Damage elsewhere in the inner nodes does not blur it; nor does a damaged header. */
    hurt.data[at_node(w, 3)] = hurt.data[at_node(w, 31)];
    hurt.data[3] = 'x';
    content_write(w, &hurt);
    open_refused(w, RC_HALT_NODES, "leaves 0 to 31");
    memcpy(hurt.data, "TIDENODE", 8);
    memset(hurt.data + at_node(w, 32), 0, 32 * 24);
    content_write(w, &hurt);
    open_refused(w, RC_HALT_NODES, "damage within");
}

/* A tree with levels of many chunks. */
static void test_damage_in_large_tree(void **state)
{
    struct world *w = *state;
    w->tree.set.lms = lms_params_by_name("LMS_SHA256_M24_H15");
    w->window_size = 4096;
    make_ok(w);
    int fd CLEANUP(fd_close) = openat(w->dirfd, NAME, O_RDWR | O_CLOEXEC);
    char byte = 0;
    assert_true(pread_full(fd, &byte, 1, (off_t)at_node(w, 9000)));
    byte = (char)(byte ^ 1);
    assert_true(pwrite_full(fd, &byte, 1, (off_t)at_node(w, 9000)));
    open_ok(w, true); /* replaced: fd is the old file now */
    open_ok(w, false);
    fd_close(&fd);
    fd = openat(w->dirfd, NAME, O_RDWR | O_CLOEXEC);
    assert_true(pread_full(fd, &byte, 1, (off_t)at_node(w, 32768 + 20001)));
    byte = (char)(byte ^ 1);
    assert_true(pwrite_full(fd, &byte, 1, (off_t)at_node(w, 32768 + 20001)));
    open_refused(w, RC_HALT_NODES, "damage within leaves 20000 to 20001;");
}

static void test_repair_locked(void **state)
{
    struct world *w = *state;
    make_ok(w);
    struct content hurt CLEANUP(content_free) = content_read(w);
    hurt.data[at_node(w, 7)] = (char)(hurt.data[at_node(w, 7)] ^ 1);
    content_write(w, &hurt);
    int fd CLEANUP(fd_close) = openat(w->dirfd, TEMPORARY, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    open_refused(w, RC_RETRY_BUSY, "another process");
    assert_int_equal(unlinkat(w->dirfd, TEMPORARY, 0), 0);
    assert_content(w, &hurt);
}

/* Faults, one call after another ----------------------------------------------------------------
 */

/* A temporary file that could not be locked may belong to somebody else, so it stays, empty. */
static void drop_unlocked_leftover(const struct world *w)
{
    struct stat st;
    if (fstatat(w->dirfd, TEMPORARY, &st, 0) != 0)
        return;
    assert_true(strcmp(fault_name, "flock") == 0 || strncmp(fault_name, "fstat", 5) == 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(unlinkat(w->dirfd, TEMPORARY, 0), 0);
}

/* What a failing call of that name is answered with. */
static enum rc answer_to(const char *name)
{
    bool passes = strcmp(name, "secmem_alloc") == 0 || strcmp(name, "pthread_create") == 0;
    return passes ? RC_RETRY_SYSTEM : RC_HALT_SYSTEM;
}

static void test_make_faults(void **state)
{
    struct world *w = *state;
    int failures = 0;
    for (int at = 1;; at++) {
        fault_calls = 0;
        fault_name = NULL;
        fault_at = at;
        struct err err = {0};
        enum rc rc = make(w, &err);
        fault_at = 0;
        if (fault_name == NULL) {
            assert_int_equal(rc, RC_OK);
            break;
        }
        if (rc != answer_to(fault_name) || err.rc != rc)
            fail_msg("%s (call %d): %s, %s", fault_name, at, rc_name(rc), err.text);
        failures++;
        /* Only the last step of all, the sync of the directory, may leave something: all of it. */
        drop_unlocked_leftover(w);
        if (entries(w) == 0)
            continue;
        assert_string_equal(fault_name, "fsync");
        root_expected(w, w->root);
        open_ok(w, false);
        assert_int_equal(unlinkat(w->dirfd, NAME, 0), 0);
    }
    assert_true(failures > 15);
    open_ok(w, false);
}

/* What a power cut leaves depends on the order of the last four steps: header, sync, name, sync of
 * the directory. The same for make and repair. */
static void assert_durable_order(void)
{
    size_t n = call_log_len;
    while (n > 0 && strcmp(call_log[n - 1], "renameat2") != 0)
        n--;
    assert_true(n >= 3);
    assert_string_equal(call_log[n - 3], "pwrite");
    assert_string_equal(call_log[n - 2], "fsync");
    assert_string_equal(call_log[n], "fsync");
    assert_true(n < call_log_len);
}

static void test_durable_order(void **state)
{
    struct world *w = *state;
    call_log_len = 0;
    make_ok(w);
    assert_durable_order();
    struct content hurt CLEANUP(content_free) = content_read(w);
    hurt.data[at_node(w, 7)] = (char)(hurt.data[at_node(w, 7)] ^ 1);
    content_write(w, &hurt);
    call_log_len = 0;
    open_ok(w, true);
    assert_durable_order();
}

/* A full disk ends the work, not only the result. */
static void test_make_ends_at_a_failed_write(void **state)
{
    struct world *w = *state;
    w->tree.set.lms = lms_params_by_name("LMS_SHA256_M24_H10");
    call_log_len = 0;
    make_ok(w);
    assert_int_equal(w->windows, 128);
    assert_int_equal(unlinkat(w->dirfd, NAME, 0), 0);
    int first_write = 1;
    while (strcmp(call_log[first_write - 1], "pwrite") != 0)
        first_write++;
    fault_calls = 0;
    fault_at = first_write;
    struct err err = {0};
    assert_int_equal(make(w, &err), RC_HALT_SYSTEM);
    fault_at = 0;
    assert_int_equal(err.native, EIO);
    assert_true(w->windows < 64);
}

static void test_repair_faults(void **state)
{
    struct world *w = *state;
    make_ok(w);
    struct content sound CLEANUP(content_free) = content_read(w);
    struct content hurt CLEANUP(content_free) = content_read(w);
    hurt.data[at_node(w, 7)] = (char)(hurt.data[at_node(w, 7)] ^ 1);
    int failures = 0;
    for (int at = 1;; at++) {
        content_write(w, &hurt);
        fault_calls = 0;
        fault_name = NULL;
        fault_at = at;
        struct hbs_nodes *nodes CLEANUP(hbs_nodes_close) = NULL;
        bool repaired = false;
        struct err err = {0};
        enum rc rc = open_nodes(w, &nodes, &repaired, &err);
        fault_at = 0;
        if (fault_name == NULL) {
            assert_int_equal(rc, RC_OK);
            assert_true(repaired);
            assert_content(w, &sound);
            break;
        }
        if (rc != answer_to(fault_name) || err.rc != rc)
            fail_msg("%s (call %d): %s, %s", fault_name, at, rc_name(rc), err.text);
        failures++;
        drop_unlocked_leftover(w);
        assert_int_equal(entries(w), 1);
        struct content now CLEANUP(content_free) = content_read(w);
        assert_true(memcmp(now.data, hurt.data, now.len) == 0 ||
                    memcmp(now.data, sound.data, now.len) == 0);
    }
    assert_true(failures > 15);
}

/* The search for damaged leaves reads, and must not report damage that it could not read. */
static void test_damage_faults(void **state)
{
    struct world *w = *state;
    make_ok(w);
    struct content hurt CLEANUP(content_free) = content_read(w);
    hurt.data[at_node(w, 40)] = (char)(hurt.data[at_node(w, 40)] ^ 1);
    content_write(w, &hurt);
    for (int at = 1;; at++) {
        fault_calls = 0;
        fault_name = NULL;
        fault_at = at;
        struct hbs_nodes *nodes = NULL;
        bool repaired = false;
        enum rc rc = open_nodes(w, &nodes, &repaired, NULL);
        fault_at = 0;
        if (fault_name != NULL)
            drop_unlocked_leftover(w);
        assert_content(w, &hurt);
        if (fault_name == NULL) {
            assert_int_equal(rc, RC_HALT_NODES);
            break;
        }
        assert_int_equal(rc, RC_HALT_SYSTEM);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)

/* An argument picks tests by a pattern, e.g. under valgrind: test_hbs 'test_no_branch*'. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(test_make),
        T(test_make_larger),
        T(test_layout),
        T(test_path_signs),
        T(test_make_stopped),
        T(test_make_exists),
        T(test_make_overtaken),
        T(test_make_source_fails),
        T(test_make_leftover),
        T(test_make_overtaken_at_the_lock),
        T(test_make_nowhere),
        T(test_open_missing),
        T(test_open_truncated),
        T(test_open_other_key),
        T(test_open_other_leaves),
        T(test_repair_inner),
        T(test_repair_header),
        T(test_leaf_damage),
        T(test_damage_in_large_tree),
        T(test_repair_locked),
        T(test_make_faults),
        T(test_make_ends_at_a_failed_write),
        T(test_durable_order),
        T(test_repair_faults),
        T(test_damage_faults),
    };
    if (base_init(NULL) != RC_OK)
        return 1;
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("hbs nodes", tests, NULL, NULL);
}
