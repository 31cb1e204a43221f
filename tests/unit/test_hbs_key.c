/*
 * Unit tests of key.h and branch.h: keys of all schemes made, opened and signed with through the
 * same calls; windows with secrets of their own; hypertrees whose trees are built twice and signed
 * once. With one secret for all windows the signatures must be those of the engines that the public
 * vectors check.
 *
 * Linked with --wrap, so that a test can damage the memory of a build and count what is signed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/secmem.h"
#include "hbs/branch.h"
#include "hbs/hss.h"
#include "hbs/known.h"
#include "hbs/xmss_private.h"
#include "lib/quick.h"

#define NODES "nodes"

/* A key to be made, in windows of so many indices. */
struct shape {
    const char *scheme;
    const char *names[HBS_KEY_NAMES_MAX];
    size_t count;
    uint64_t window_size;
};

static const struct shape shapes[] = {
    {"lms", {"LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W8"}, 2, 8},
    {"xmss", {"XMSS-SHA2_10_192"}, 1, 64},
    {"hss",
     {"LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W4", "LMS_SHA256_M32_H10", "LMOTS_SHA256_N32_W2"},
     4,
     2048},
    {"hss",
     {"LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W4", "LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W4",
      "LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W2"},
     6,
     1024},
    {"xmssmt", {"XMSSMT-SHA2_20/4_256"}, 1, 1 << 16},
    {"xmssmt", {"XMSSMT-SHAKE256_20/4_192"}, 1, 1 << 15},
    {"xmssmt", {"XMSSMT-SHA2_20/2_192"}, 1, 1 << 12},
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))
#define HSS_3 3 /* the one of three levels */
#define XMSSMT_4 4

/* What the linker puts in between -------------------------------------------------------------- */

static int leaves_until_damage; /* 0: none */
static unsigned signatures;

void __real_hbs_tree_leaves(const struct hbs_tree *tree, uint32_t first, uint32_t count,
                            const uint8_t *seed, uint8_t *leaves);
void __wrap_hbs_tree_leaves(const struct hbs_tree *tree, uint32_t first, uint32_t count,
                            const uint8_t *seed, uint8_t *leaves);
void __wrap_hbs_tree_leaves(const struct hbs_tree *tree, uint32_t first, uint32_t count,
                            const uint8_t *seed, uint8_t *leaves)
{
    __real_hbs_tree_leaves(tree, first, count, seed, leaves);
    if (leaves_until_damage > 0 && --leaves_until_damage == 0)
        leaves[tree->n + 3] ^= 0x20;
}

void __real_hbs_sign(struct ots_lease *lease, const struct lms_tree *tree,
                     const struct window_secret *secret, const uint8_t *c, const uint8_t *value,
                     const uint8_t *path, uint8_t *sig);
void __wrap_hbs_sign(struct ots_lease *lease, const struct lms_tree *tree,
                     const struct window_secret *secret, const uint8_t *c, const uint8_t *value,
                     const uint8_t *path, uint8_t *sig);
void __wrap_hbs_sign(struct ots_lease *lease, const struct lms_tree *tree,
                     const struct window_secret *secret, const uint8_t *c, const uint8_t *value,
                     const uint8_t *path, uint8_t *sig)
{
    signatures++;
    __real_hbs_sign(lease, tree, secret, c, value, path, sig);
}

void __real_xmss_tree_sign(struct ots_lease *lease, const struct xmss_tree *tree,
                           const uint8_t *secret, const uint8_t *value, const uint8_t *path,
                           uint8_t *sig);
void __wrap_xmss_tree_sign(struct ots_lease *lease, const struct xmss_tree *tree,
                           const uint8_t *secret, const uint8_t *value, const uint8_t *path,
                           uint8_t *sig);
void __wrap_xmss_tree_sign(struct ots_lease *lease, const struct xmss_tree *tree,
                           const uint8_t *secret, const uint8_t *value, const uint8_t *path,
                           uint8_t *sig)
{
    signatures++;
    __real_xmss_tree_sign(lease, tree, secret, value, path, sig);
}

/* A key in a folder ---------------------------------------------------------------------------- */

struct made {
    const struct shape *shape;
    int dirfd;
    bool one_secret; /* the same for all windows */
    struct hbs_key key;
    struct hbs_nodes *nodes;
    struct hbs_branch *branch;
    uint8_t sig[HBS_SIG_LEN_MAX];
};

static struct made m; /* one at a time: the signature is large */

/* Each is made once, since its trees take long, and read again by every test that wants it. */
static struct kept {
    char dir[64]; /* empty: not made yet */
    struct hbs_key key;
} kept[SHAPES][2];

static enum rc secret_of(void *ctx, uint64_t window, struct window_secret *secret, struct err *err)
{
    const struct made *made = ctx;
    (void)err;
    memset(secret->seed, made->one_secret ? 7 : (int)(window % 250 + 1), HBS_N_MAX);
    memset(secret->sk_prf, made->one_secret ? 9 : (int)(window % 250 + 3), HBS_N_MAX);
    return RC_OK;
}

static struct window_secret window_of(uint64_t index)
{
    struct window_secret secret = {0};
    assert_int_equal(secret_of(&m, index / m.shape->window_size, &secret, NULL), RC_OK);
    return secret;
}

static void put_away(void)
{
    hbs_branch_close(&m.branch);
    hbs_nodes_close(&m.nodes);
    if (m.dirfd >= 0)
        (void)close(m.dirfd);
    m = (struct made){.dirfd = -1};
}

static int teardown(void **state)
{
    (void)state;
    leaves_until_damage = 0;
    put_away();
    return 0;
}

static int remove_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * SHAPES; i++) {
        char path[sizeof(kept[0][0].dir) + sizeof(NODES)];
        const char *dir = kept[i / 2][i % 2].dir;
        (void)snprintf(path, sizeof(path), "%s/" NODES, dir);
        if (dir[0] != '\0' && (unlink(path) != 0 || rmdir(dir) != 0))
            return -1;
    }
    return 0;
}

static void make_once(struct kept *k)
{
    uint8_t id[HBS_KEY_ID_LEN];
    const struct shape *shape = m.shape;
    (void)snprintf(k->dir, sizeof(k->dir), "test_hbs_key.XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    int dirfd CLEANUP(fd_close) = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(dirfd >= 0);
    memset(id, 0x5e, sizeof(id));
    assert_int_equal(hbs_key_new(&k->key, shape->scheme, shape->names, shape->count, id, NULL),
                     RC_OK);
    assert_int_equal(hbs_key_windows(&k->key, shape->window_size, NULL), RC_OK);
    assert_int_equal(
        hbs_key_nodes_make(&k->key, dirfd, NODES, shape->window_size, secret_of, NULL, &m, 2, NULL),
        RC_OK);
}

static void make(const struct shape *shape, bool one_secret)
{
    struct kept *k = &kept[shape - shapes][one_secret];
    bool repaired = true;
    put_away();
    m.shape = shape;
    m.one_secret = one_secret;
    if (k->dir[0] == '\0')
        make_once(k);
    m.key = k->key;
    m.dirfd = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(m.dirfd >= 0);
    assert_int_equal(hbs_key_nodes_open(&m.nodes, m.dirfd, NODES, &m.key, &repaired, NULL), RC_OK);
    assert_false(repaired);
}

/* Make or open the branch of an index. */
static enum rc branch_make(uint64_t index, const struct hbs_branch_prior *prior)
{
    static const struct hbs_branch_prior none;
    const struct window_secret secret = window_of(index);
    struct ots_lease lease = {.index = index, .epoch = 5};
    hbs_branch_close(&m.branch);
    enum rc rc = hbs_branch_make(&m.branch, &lease, &m.key, m.nodes, &secret,
                                 prior != NULL ? prior : &none, NULL);
    assert_int_equal(lease.epoch, 0);
    assert_true((m.branch != NULL) == (rc == RC_OK));
    return rc;
}

static enum rc branch_open(uint64_t index, const uint8_t *record)
{
    const struct window_secret secret = window_of(index);
    hbs_branch_close(&m.branch);
    enum rc rc = hbs_branch_open(&m.branch, &m.key, m.nodes, &secret, index, record, NULL);
    assert_true((m.branch != NULL) == (rc == RC_OK));
    return rc;
}

static void branch_for(uint64_t index)
{
    if (hbs_branch_record_len(&m.key) == 0)
        assert_int_equal(branch_open(index, NULL), RC_OK);
    else
        assert_int_equal(branch_make(index, NULL), RC_OK);
    assert_true(hbs_branch_holds(m.branch, index));
}

static void value_of(uint64_t index, const char *text, uint8_t *c, uint8_t *value)
{
    struct hbs_message message CLEANUP(hbs_message_close) = {0};
    hbs_branch_randomizer(m.branch, index, c);
    assert_int_equal(hbs_message_open(&message, m.branch, index, c, NULL), RC_OK);
    hbs_message_update(&message, text, strlen(text));
    hbs_message_final(&message, value);
}

static void sign(uint64_t index, const char *text)
{
    uint8_t c[HBS_N_MAX];
    uint8_t value[HBS_N_MAX];
    struct ots_lease lease = {.index = index, .epoch = 6};
    value_of(index, text, c, value);
    const struct hbs_branch_signing job = {.lease = &lease, .c = c, .value = value, .sig = m.sig};
    hbs_branch_sign(m.branch, &job, 1);
    assert_int_equal(lease.epoch, 0);
    const struct hbs_branch_checking check = {
        .index = index, .c = c, .value = value, .sig = m.sig, .sig_len = hbs_key_sig_len(&m.key)};
    bool good = false;
    hbs_branch_verify(m.branch, &check, 1, &good);
    assert_true(good);
}

/* As anybody verifies it, from the raw public key. */
static void assert_verifies(uint64_t index, const char *text)
{
    uint8_t raw[HBS_PUB_LEN_MAX];
    struct hbs_public public;
    size_t raw_len = hbs_key_public(&m.key, raw);
    size_t len = hbs_key_sig_len(&m.key);
    assert_int_equal(hbs_public_parse(&public, m.key.public.scheme, raw, raw_len, NULL), RC_OK);
    assert_int_equal(hbs_verify(&public, text, strlen(text), m.sig, len, NULL), RC_OK);
    assert_int_equal(hbs_verify(&public, "x", 1, m.sig, len, NULL), RC_REFUSED_SIGNATURE);
    struct hbs_verifier v CLEANUP(hbs_verify_close) = {0};
    assert_int_equal(hbs_verify_open(&v, &public, m.sig, len, NULL), RC_OK);
    assert_true(hbs_verify_index(&v) == index);
}

/* Tests ---------------------------------------------------------------------------------------- */

static void test_all_schemes(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        make(&shapes[s], false);
        uint64_t last = (UINT64_C(1) << m.key.height) - 1;
        const uint64_t indices[] = {0, m.shape->window_size - 1, m.shape->window_size, last};
        for (size_t i = 0; i < 4; i++) {
            branch_for(indices[i]);
            sign(indices[i], "tide");
            assert_verifies(indices[i], "tide");
        }
    }
}

/* One secret for all windows is one seed for the whole key: byte for byte what the engine makes
 * that the public vectors are held to. */
static void test_like_the_vectors(void **state)
{
    (void)state;
    static uint8_t expected[HBS_SIG_LEN_MAX];
    for (size_t s = 0; s < SHAPES; s++) {
        make(&shapes[s], true);
        uint64_t index = (UINT64_C(1) << m.key.height) / 3;
        size_t len = 0;
        struct ots_lease lease = {.index = index, .epoch = 1};
        branch_for(index);
        sign(index, "tide");
        if (m.key.public.scheme == HBS_SCHEME_HSS) {
            struct hss_private key = {.levels = m.key.levels};
            memcpy(key.set, m.key.sets, sizeof(key.set));
            memset(key.secret[0].seed, 7, HBS_N_MAX);
            memset(key.secret[0].i, 0x5e, LMS_I_LEN);
            assert_int_equal(hss_sign(&lease, &key, "tide", 4, NULL, expected, &len, NULL), RC_OK);
        } else {
            struct xmss_private key = {.params = m.key.public.xmss.params};
            memset(key.sk_seed, 7, HBS_N_MAX);
            memset(key.sk_prf, 9, HBS_N_MAX);
            memset(key.pub_seed, 0x5e, HBS_N_MAX);
            assert_int_equal(xmss_sign(&lease, &key, "tide", 4, NULL, expected, &len, NULL), RC_OK);
        }
        assert_int_equal(len, hbs_key_sig_len(&m.key));
        assert_memory_equal(m.sig, expected, len);
    }
}

static void test_secret_fits(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        make(&shapes[s], false);
        uint64_t size = m.shape->window_size;
        for (uint64_t window = 0; window < 4; window++) {
            struct window_secret secret = window_of(window * size);
            assert_true(hbs_key_secret_fits(&m.key, m.nodes, size, window, &secret));
            assert_false(hbs_key_secret_fits(&m.key, m.nodes, size, (window + 1) % 4, &secret));
            secret.seed[m.key.levels % 16] ^= 1;
            assert_false(hbs_key_secret_fits(&m.key, m.nodes, size, window, &secret));
        }
    }
}

/* A record opens the branch again, and gives the same bytes; a changed one does not open. */
static void test_open_again(void **state)
{
    (void)state;
    static uint8_t before[HBS_SIG_LEN_MAX];
    static uint8_t record[HBS_SIG_LEN_MAX];
    for (size_t s = 0; s < SHAPES; s++) {
        make(&shapes[s], false);
        size_t len = hbs_branch_record_len(&m.key);
        if (len == 0)
            continue;
        uint64_t index = m.shape->window_size + 5;
        branch_for(index);
        sign(index, "tide");
        memcpy(before, m.sig, sizeof(before));
        memcpy(record, hbs_branch_record(m.branch), len);
        signatures = 0;
        assert_int_equal(branch_open(index, record), RC_OK);
        assert_int_equal(signatures, 0);
        sign(index, "tide");
        assert_memory_equal(before, m.sig, sizeof(before));
        for (size_t at = 0; at < len; at += len / 23 * quick_stride(6)) {
            record[at] ^= 4;
            assert_int_equal(branch_open(index, record), RC_HALT_NODES);
            record[at] ^= 4;
        }
        assert_int_equal(branch_open(index + hbs_branch_size(&m.key), record), RC_HALT_NODES);
        assert_int_equal(branch_open(index + m.shape->window_size, record), RC_HALT_NODES);
    }
}

/* With more than two levels, branches side by side share upper trees: their roots are signed once.
 */
static void test_prior(void **state)
{
    (void)state;
    static uint8_t record[HBS_SIG_LEN_MAX];
    const size_t shaped[] = {HSS_3, XMSSMT_4};
    for (size_t i = 0; i < 2; i++) {
        make(&shapes[shaped[i]], false);
        size_t len = hbs_branch_record_len(&m.key);
        uint64_t step = hbs_branch_size(&m.key);
        signatures = 0;
        assert_int_equal(branch_make(3, NULL), RC_OK);
        assert_int_equal(signatures, m.key.levels - 1);
        memcpy(record, hbs_branch_record(m.branch), len);
        struct hbs_branch_prior prior = {3, record};
        /* The next bottom tree: one signature, by the tree above it. */
        signatures = 0;
        assert_int_equal(branch_make(step + 1, &prior), RC_OK);
        assert_int_equal(signatures, 1);
        sign(step + 1, "tide");
        assert_verifies(step + 1, "tide");
        /* The first one under the next tree of the level above. */
        signatures = 0;
        assert_int_equal(branch_make(32 * step, &prior), RC_OK);
        assert_int_equal(signatures, 2);
        assert_verifies((sign(32 * step, "tide"), 32 * step), "tide");
        /* Whatever part is taken over must be sound. */
        memset(record, 0, len);
        signatures = 0;
        assert_int_equal(branch_make(step + 1, &prior), RC_HALT_NODES);
        assert_int_equal(signatures, 0);
    }
}

/* A flipped bit in either of the two builds of a tree: nothing is signed. */
static void test_damage(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        make(&shapes[s], false);
        if (hbs_branch_record_len(&m.key) == 0)
            continue;
        for (int at = 1; at <= 2; at++) {
            /* Leaves are derived 64 at a time: the first call of the first build or the second. */
            int build = m.key.heights[1] > 6 ? 1 << (m.key.heights[1] - 6) : 1;
            signatures = 0;
            leaves_until_damage = at == 1 ? 1 : build + 1;
            assert_int_equal(branch_make(9, NULL), RC_HALT_INVARIANT);
            assert_int_equal(signatures, 0);
            leaves_until_damage = 0;
        }
        assert_int_equal(branch_make(9, NULL), RC_OK);
        /* Opened again, one build is compared with the record. */
        static uint8_t record[HBS_SIG_LEN_MAX];
        memcpy(record, hbs_branch_record(m.branch), hbs_branch_record_len(&m.key));
        leaves_until_damage = 1;
        assert_int_equal(branch_open(9, record), RC_HALT_NODES);
    }
}

/* Batches, and bad ones among good ones. */
static void test_batch(void **state)
{
    (void)state;
    enum { COUNT = 6 };
    static uint8_t sigs[COUNT][HBS_SIG_LEN_MAX];
    static uint8_t stations[COUNT][HBS_STATIONS_MAX];
    for (size_t s = 0; s < SHAPES; s++) {
        make(&shapes[s], false);
        branch_for(0);
        size_t stations_len = hbs_branch_stations_len(m.branch);
        uint8_t c[COUNT][HBS_N_MAX];
        uint8_t value[COUNT][HBS_N_MAX];
        struct ots_lease leases[COUNT];
        struct hbs_branch_signing jobs[COUNT];
        struct hbs_branch_checking checks[COUNT];
        bool good[COUNT];
        size_t len = hbs_key_sig_len(&m.key);
        for (size_t k = 0; k < COUNT; k++) {
            value_of(k, k % 2 == 0 ? "tide" : "mark", c[k], value[k]);
            leases[k] = (struct ots_lease){.index = k, .epoch = 2};
            if (k % 3 != 0 && stations_len > 0)
                hbs_branch_prepare(
                    m.branch, &(struct hbs_branch_preparing){.index = k, .stations = stations[k]},
                    1);
            const uint8_t *with = k % 3 != 0 && stations_len > 0 ? stations[k] : NULL;
            jobs[k] = (struct hbs_branch_signing){.lease = &leases[k],
                                                  .stations = with,
                                                  .c = c[k],
                                                  .value = value[k],
                                                  .sig = sigs[k]};
            checks[k] = (struct hbs_branch_checking){.index = k,
                                                     .stations = with,
                                                     .c = c[k],
                                                     .value = value[k],
                                                     .sig = sigs[k],
                                                     .sig_len = len};
        }
        hbs_branch_sign(m.branch, jobs, COUNT);
        for (size_t k = 0; k < COUNT; k++)
            assert_int_equal(leases[k].epoch, 0);
        hbs_branch_verify(m.branch, checks, COUNT, good);
        for (size_t k = 0; k < COUNT; k++)
            assert_true(good[k]);
        sigs[0][len - 1] ^= 1;
        sigs[1][3] ^= 1;
        checks[2].sig_len--;
        c[3][0] ^= 1;
        checks[4].index = 5;
        hbs_branch_verify(m.branch, checks, COUNT, good);
        for (size_t k = 0; k < COUNT; k++)
            assert_int_equal(good[k], k == 5);
        sign(1, "mark");
        sigs[1][3] ^= 1;
        assert_memory_equal(m.sig, sigs[1], len);
    }
}

/* Misuse --------------------------------------------------------------------------------------- */

static bool aborts(void (*f)(void *), void *ctx)
{
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(STDERR_FILENO);
        f(ctx);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void sign_with(void *ctx)
{
    static const uint8_t zero[HBS_N_MAX];
    struct ots_lease *leases = ctx;
    struct hbs_branch_signing jobs[2];
    for (size_t k = 0; k < 2; k++)
        jobs[k] = (struct hbs_branch_signing){
            .lease = &leases[k], .c = zero, .value = zero, .sig = m.sig};
    hbs_branch_sign(m.branch, jobs, 2);
}

static void test_leases(void **state)
{
    (void)state;
    make(&shapes[XMSSMT_4], false);
    branch_for(0);
    struct ots_lease leases[2] = {{.index = 0, .epoch = 1}, {.index = 1, .epoch = 1}};
    assert_false(aborts(sign_with, leases));
    leases[1].index = 0;
    assert_true(aborts(sign_with, leases));
    leases[1] = (struct ots_lease){.index = 1};
    assert_true(aborts(sign_with, leases));
    leases[1] = (struct ots_lease){.index = 32, .epoch = 1};
    assert_true(aborts(sign_with, leases));
}

static enum rc new_key(const char *scheme, size_t count, const char *a, const char *b,
                       const char *c, const char *d)
{
    static const uint8_t id[HBS_KEY_ID_LEN];
    const char *names[] = {a, b, c, d};
    struct hbs_key key;
    return hbs_key_new(&key, scheme, names, count, id, NULL);
}

static void test_refused_sets(void **state)
{
    (void)state;
    const enum rc no = RC_REFUSED_UNSUPPORTED;
    static const char *const lms = "LMS_SHA256_M32_H5";
    static const char *const ots = "LMOTS_SHA256_N32_W4";
    assert_int_equal(new_key("lms", 2, lms, ots, NULL, NULL), RC_OK);
    assert_int_equal(new_key("lms", 4, lms, ots, lms, ots), no);
    assert_int_equal(new_key("hss", 4, lms, ots, lms, ots), RC_OK);
    assert_int_equal(new_key("hss", 3, lms, ots, lms, NULL), no);
    assert_int_equal(new_key("hss", 0, NULL, NULL, NULL, NULL), no);
    assert_int_equal(new_key("hss", 2, lms, "LMOTS_SHA256_N24_W4", NULL, NULL), no);
    assert_int_equal(new_key("hss", 4, lms, ots, "LMS_SHAKE_M32_H5", "LMOTS_SHAKE_N32_W4"), no);
    assert_int_equal(new_key("hss", 4, lms, ots, "LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W4"), no);
    assert_int_equal(new_key("hss", 2, ots, lms, NULL, NULL), no);
    assert_int_equal(new_key("xmss", 1, "XMSS-SHAKE256_20_192", NULL, NULL, NULL), RC_OK);
    assert_int_equal(new_key("xmss", 1, "XMSS-SHAKE_10_256", NULL, NULL, NULL), no);
    assert_int_equal(new_key("xmss", 1, "XMSS-SHA2_10_512", NULL, NULL, NULL), no);
    assert_int_equal(new_key("xmss", 1, "XMSSMT-SHA2_20/2_256", NULL, NULL, NULL), no);
    assert_int_equal(new_key("xmssmt", 1, "XMSS-SHA2_10_256", NULL, NULL, NULL), no);
    assert_int_equal(new_key("xmssmt", 1, "XMSSMT-SHA2_60/12_256", NULL, NULL, NULL), RC_OK);
    assert_int_equal(new_key("rsa", 1, "XMSS-SHA2_10_256", NULL, NULL, NULL), no);
}

static void test_windows(void **state)
{
    (void)state;
    static const uint8_t id[HBS_KEY_ID_LEN];
    struct hbs_key key;
    const struct shape *hyper = &shapes[XMSSMT_4];
    assert_int_equal(hbs_key_new(&key, "xmssmt", hyper->names, 1, id, NULL), RC_OK);
    for (unsigned bits = 0; bits < 24; bits++) {
        enum rc expected = bits >= 15 && bits <= 20 ? RC_OK : RC_REFUSED_PLAN;
        assert_int_equal(hbs_key_windows(&key, UINT64_C(1) << bits, NULL), expected);
        assert_int_equal(hbs_key_windows(&key, 3 * (UINT64_C(1) << bits), NULL), RC_REFUSED_PLAN);
    }
    assert_int_equal(hbs_key_windows(&key, 0, NULL), RC_REFUSED_PLAN);
    assert_int_equal(hbs_key_new(&key, "lms", shapes[0].names, 2, id, NULL), RC_OK);
    for (unsigned bits = 0; bits < 8; bits++)
        assert_int_equal(hbs_key_windows(&key, UINT64_C(1) << bits, NULL),
                         bits <= 5 ? RC_OK : RC_REFUSED_PLAN);
}

static void test_read(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        make(&shapes[s], false);
        const struct shape *shape = m.shape;
        const struct shape *other = &shapes[(s + 1) % SHAPES];
        uint8_t raw[HBS_PUB_LEN_MAX];
        size_t len = hbs_key_public(&m.key, raw);
        struct hbs_key key;
        bool repaired = false;
        assert_int_equal(
            hbs_key_read(&key, shape->scheme, shape->names, shape->count, raw, len, NULL), RC_OK);
        assert_int_equal(hbs_key_sig_len(&key), hbs_key_sig_len(&m.key));
        hbs_nodes_close(&m.nodes);
        assert_int_equal(hbs_key_nodes_open(&m.nodes, m.dirfd, NODES, &key, &repaired, NULL),
                         RC_OK);
        assert_false(repaired);
        enum rc rc = hbs_key_read(&key, other->scheme, other->names, other->count, raw, len, NULL);
        assert_true(rc == RC_REFUSED_INPUT || rc == RC_REFUSED_UNSUPPORTED);
        assert_int_equal(
            hbs_key_read(&key, shape->scheme, shape->names, shape->count, raw, len - 1, NULL),
            RC_REFUSED_INPUT);
        /* The file of another key that has the same root: told by its identity alone. */
        key = m.key;
        if (key.public.scheme == HBS_SCHEME_HSS)
            key.public.hss.top.i[0] ^= 1;
        else
            key.public.xmss.seed[0] ^= 1;
        struct hbs_nodes *nodes = NULL;
        struct err err = {0};
        assert_int_equal(hbs_key_nodes_open(&nodes, m.dirfd, NODES, &key, &repaired, &err),
                         RC_HALT_NODES);
        assert_non_null(strstr(err.text, "another key"));
    }
}

static bool stop_at_once(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    assert_true(done <= total);
    return false;
}

/* The whole key from its node file alone; and nothing of a file that is not whole. */
static void test_nodes_check(void **state)
{
    (void)state;
    static const uint8_t no_id[HBS_KEY_ID_LEN];
    for (size_t s = 0; s < SHAPES; s++) {
        make(&shapes[s], false);
        struct hbs_key key;
        uint8_t expected[HBS_PUB_LEN_MAX];
        uint8_t raw[HBS_PUB_LEN_MAX];
        size_t len = hbs_key_public(&m.key, expected);
        assert_int_equal(
            hbs_key_new(&key, m.shape->scheme, m.shape->names, m.shape->count, no_id, NULL), RC_OK);
        assert_int_equal(hbs_key_nodes_check(&key, m.dirfd, "none", NULL, NULL, NULL),
                         RC_REFUSED_NOT_FOUND);
        assert_int_equal(hbs_key_nodes_check(&key, m.dirfd, NODES, stop_at_once, NULL, NULL),
                         RC_RETRY_BUSY);
        assert_int_equal(hbs_key_public(&key, raw), len);
        assert_memory_not_equal(raw, expected, len);
        assert_int_equal(hbs_key_nodes_check(&key, m.dirfd, NODES, NULL, NULL, NULL), RC_OK);
        assert_int_equal(hbs_key_public(&key, raw), len);
        assert_memory_equal(raw, expected, len);
    }
}

/* Public test vectors; and one that is wrong, so that the test can say no. */
static void test_known(void **state)
{
    (void)state;
    const struct hbs_known *known;
    size_t count = 0;
    for (; (known = hbs_known_at(count)) != NULL; count++)
        assert_true(hbs_known_tree(known, NULL));
    assert_int_equal(count, 8);
    struct hbs_known wrong = *hbs_known_at(0);
    wrong.secret = wrong.root;
    assert_false(hbs_known_tree(&wrong, NULL));
    assert_true(hbs_known_signature());
}

int main(void)
{
#define T(f) cmocka_unit_test_teardown(f, teardown)
    const struct CMUnitTest tests[] = {
        T(test_all_schemes),  T(test_like_the_vectors), T(test_secret_fits), T(test_open_again),
        T(test_prior),        T(test_damage),           T(test_batch),       T(test_leases),
        T(test_refused_sets), T(test_windows),          T(test_read),        T(test_nodes_check),
        T(test_known),
    };
    m.dirfd = -1;
    if (base_init(NULL) != RC_OK)
        return 1;
    return cmocka_run_group_tests(tests, NULL, remove_all);
}
