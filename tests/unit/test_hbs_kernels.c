/*
 * Unit tests of the hash kernels: every one that this CPU runs gives byte for byte what libgcrypt
 * gives, whatever the lengths and however many jobs; choice by name, by measurement and by
 * environment; nothing secret stays on the stack.
 *
 * Linked with --wrap for gcry_md_hash_buffer and gcry_md_extract, so that a test can make libgcrypt
 * disagree. "--names" prints the supported kernels, for tests/vectors/check.sh; "--start" and
 * "--hash" are this test started once more by itself.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <gcrypt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#include "base/bytes.h"
#include "base/secmem.h"
#include "hbs/kernel_leaves.h"
#include "hbs/lms.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define LEN_MAX 300

static bool gcrypt_is_wrong;

void __real_gcry_md_hash_buffer(int algo, void *digest, const void *buffer, size_t length);
void __wrap_gcry_md_hash_buffer(int algo, void *digest, const void *buffer, size_t length);

void __wrap_gcry_md_hash_buffer(int algo, void *digest, const void *buffer, size_t length)
{
    __real_gcry_md_hash_buffer(algo, digest, buffer, length);
    if (gcrypt_is_wrong)
        *(uint8_t *)digest ^= 1;
}

gcry_err_code_t __real_gcry_md_extract(gcry_md_hd_t handle, int algo, void *out, size_t length);
gcry_err_code_t __wrap_gcry_md_extract(gcry_md_hd_t handle, int algo, void *out, size_t length);

gcry_err_code_t __wrap_gcry_md_extract(gcry_md_hd_t handle, int algo, void *out, size_t length)
{
    gcry_err_code_t e = __real_gcry_md_extract(handle, algo, out, length);
    if (gcrypt_is_wrong)
        *(uint8_t *)out ^= 1;
    return e;
}

/* The kernels this CPU can run, one after another, those of SHA-256 first. */
static const struct hbs_kernel *supported(size_t *at)
{
    static const enum hbs_hash_kind hashes[] = {HBS_SHA256, HBS_SHAKE256};
    while (*at < 32) {
        const struct hbs_kernel *kernel = hbs_kernel_at(hashes[*at / 16], *at % 16);
        *at = kernel == NULL ? (*at / 16 + 1) * 16 : *at + 1;
        if (kernel != NULL && kernel->supported())
            return kernel;
    }
    return NULL;
}

static bool is_gcrypt(const struct hbs_kernel *kernel)
{
    return kernel == &hbs_kernel_gcrypt || kernel == &hbs_kernel_gcrypt_shake;
}

/* One hash by libgcrypt and nothing of ours. out: 32 bytes, of which n count. */
static void hash_expected(enum hbs_hash_kind hash, uint8_t n, const void *in, size_t len,
                          uint8_t *out)
{
    if (hash == HBS_SHA256) {
        gcry_md_hash_buffer(GCRY_MD_SHA256, out, in, len);
        return;
    }
    static gcry_md_hd_t handle;
    if (handle == NULL)
        assert_int_equal(gcry_md_open(&handle, GCRY_MD_SHAKE256, 0), 0);
    gcry_md_reset(handle);
    gcry_md_write(handle, in, len);
    assert_int_equal(gcry_md_extract(handle, GCRY_MD_SHAKE256, out, n), 0);
}

static uint32_t seed = 1;

static uint32_t some(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)seed * below) >> 32);
}

static void fill(uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)some(256);
}

/* Messages --------------------------------------------------------------------------------------
 */

#define JOBS_MAX 400
#define GUARD 0xa5

static uint8_t results[JOBS_MAX][HBS_N_MAX + 8];

static void assert_job(const struct hbs_kernel *kernel, uint8_t n, const uint8_t *in, size_t len,
                       const uint8_t *result)
{
    uint8_t expected[32];
    hash_expected(kernel->hash, n, in, len, expected);
    if (memcmp(result, expected, n) != 0)
        fail_msg("%s: %zu bytes, n = %u", kernel->name, len, n);
    for (size_t i = n; i < HBS_N_MAX + 8; i++)
        assert_int_equal(result[i], GUARD);
}

/* Every length alone and all together, at every alignment within a word. Each message is a heap
 * block of exactly its length, so that AddressSanitizer sees an over-read. */
static void jobs_every_length(const struct hbs_kernel *kernel, uint8_t n)
{
    static uint8_t *text[LEN_MAX + 1];
    struct hbs_job jobs[LEN_MAX + 1];
    for (size_t len = 0; len <= LEN_MAX; len++) {
        text[len] = malloc(len + len % 4 + 1);
        assert_non_null(text[len]);
        fill(text[len], len + len % 4 + 1);
        jobs[len] = (struct hbs_job){text[len] + len % 4 + 1, len, results[len]};
    }
    memset(results, GUARD, sizeof(results));
    kernel->jobs(n, jobs, LEN_MAX + 1);
    for (size_t len = 0; len <= LEN_MAX; len++)
        assert_job(kernel, n, jobs[len].in, len, results[len]);
    memset(results, GUARD, sizeof(results));
    for (size_t len = 0; len <= LEN_MAX; len++) {
        kernel->jobs(n, jobs + len, 1);
        assert_job(kernel, n, jobs[len].in, len, results[len]);
        free(text[len]);
    }
}

/* Random numbers of jobs of random lengths. */
static void jobs_random(const struct hbs_kernel *kernel, uint8_t n)
{
    static uint8_t text[9000];
    fill(text, sizeof(text));
    struct hbs_job jobs[JOBS_MAX];
    for (int round = 0; round < 150; round++) {
        size_t count = some(round % 3 == 0 ? JOBS_MAX : 70);
        uint32_t len_max = round % 5 == 0 ? sizeof(text) : LEN_MAX;
        bool same = round % 4 == 0;
        size_t len = some(len_max);
        memset(results, GUARD, sizeof(results));
        for (size_t j = 0; j < count; j++) {
            len = same ? len : some(len_max);
            jobs[j] =
                (struct hbs_job){text + some((uint32_t)(sizeof(text) - len)), len, results[j]};
        }
        kernel->jobs(n, jobs, count);
        for (size_t j = 0; j < count; j++)
            assert_job(kernel, n, jobs[j].in, jobs[j].len, results[j]);
        for (size_t i = 0; i < sizeof(results[0]) && count < JOBS_MAX; i++)
            assert_int_equal(results[count][i], GUARD);
    }
}

/* out may be the same memory as in, of each job for itself. */
static void jobs_in_place(const struct hbs_kernel *kernel)
{
    static uint8_t text[70][130];
    static uint8_t copy[70][130];
    struct hbs_job jobs[70];
    fill(text[0], sizeof(text));
    memcpy(copy, text, sizeof(text));
    for (size_t j = 0; j < 70; j++)
        jobs[j] = (struct hbs_job){text[j], 61 + j, text[j] + j / 2};
    kernel->jobs(32, jobs, 70);
    for (size_t j = 0; j < 70; j++) {
        uint8_t expected[32];
        hash_expected(kernel->hash, 32, copy[j], 61 + j, expected);
        assert_memory_equal(text[j] + j / 2, expected, 32);
    }
}

static void test_jobs(void **state)
{
    (void)state;
    const struct hbs_kernel *kernel = NULL;
    for (size_t at = 0; (kernel = supported(&at)) != NULL;) {
        for (uint8_t n = 24; n <= 32; n += 8) {
            jobs_every_length(kernel, n);
            jobs_random(kernel, n);
        }
        jobs_in_place(kernel);
        kernel->jobs(32, NULL, 0);
    }
}

/* Chains ----------------------------------------------------------------------------------------
 */

#define PAIRS (256 * 257 / 2 + 257) /* from 0 … 255 to from … 255, and from the seed to 0 … 256 */

static struct hbs_chain every[PAIRS]; /* from starts to work, or from work to work */
static uint8_t starts[PAIRS][HBS_N_MAX];
static uint8_t ends[PAIRS][HBS_N_MAX];
static uint8_t work[PAIRS][HBS_N_MAX];

/* One chain, by the text of RFC 8554 §4.3 and nothing of ours. value: n bytes, start and end. */
static void chain_expected(enum hbs_hash_kind hash, const uint8_t *id, uint8_t n,
                           const struct hbs_chain *c, uint8_t *value)
{
    uint8_t text[16 + 4 + 2 + 1 + 32];
    memcpy(text, id, 16);
    be_put32(text + 16, c->q);
    be_put16(text + 20, c->i);
    for (unsigned j = c->from; j < c->to; j++) {
        uint8_t digest[32];
        text[22] = (uint8_t)(j % 256);
        memcpy(text + 23, value, n);
        hash_expected(hash, n, text, 23U + n, digest);
        memcpy(value, digest, n);
    }
}

static void chains_make(enum hbs_hash_kind hash, const uint8_t *id, uint8_t n)
{
    size_t count = 0;
    for (unsigned from = 0; from <= 255; from++)
        for (unsigned to = from; to <= 255; to++)
            every[count++] = (struct hbs_chain){.from = (uint16_t)from, .to = (uint16_t)to};
    for (unsigned to = HBS_STEP_SEED; to <= HBS_STEP_END; to++)
        every[count++] = (struct hbs_chain){.from = HBS_STEP_SEED, .to = (uint16_t)to};
    assert_int_equal(count, PAIRS);
    for (size_t c = 0; c < PAIRS; c++) {
        every[c].q = some(UINT32_MAX);
        every[c].i = (uint16_t)some(65536);
        fill(starts[c], HBS_N_MAX);
        memset(ends[c], GUARD, HBS_N_MAX);
        memcpy(ends[c], starts[c], n);
        chain_expected(hash, id, n, every + c, ends[c]);
    }
}

static void assert_chains(const struct hbs_kernel *kernel, uint8_t n)
{
    for (size_t c = 0; c < PAIRS; c++)
        if (memcmp(work[c], ends[c], sizeof(work[c])) != 0)
            fail_msg("%s: chain from %u to %u, n = %u", kernel->name, every[c].from, every[c].to,
                     n);
}

static void work_start(bool in_place, uint8_t n)
{
    memset(work, GUARD, sizeof(work));
    for (size_t c = 0; c < PAIRS; c++) {
        every[c].in = in_place ? work[c] : starts[c];
        every[c].out = work[c];
        if (in_place)
            memcpy(work[c], starts[c], n);
    }
}

/* All pairs at once, and in slices, so that rows of lanes are never full, just full, and more. */
static void chains_compare(const struct hbs_kernel *kernel, const uint8_t *id, uint8_t n)
{
    work_start(false, n);
    kernel->chains(n, id, every, PAIRS);
    assert_chains(kernel, n);
    work_start(true, n);
    for (size_t done = 0; done < PAIRS;) {
        size_t now = 1 + some(70);
        now = now < PAIRS - done ? now : PAIRS - done;
        kernel->chains(n, id, every + done, now);
        done += now;
    }
    assert_chains(kernel, n);
    kernel->chains(n, id, NULL, 0);
}

static void chains_all(enum hbs_hash_kind hash)
{
    uint8_t id[LMS_I_LEN];
    for (uint8_t n = 24; n <= 32; n += 8) {
        fill(id, sizeof(id));
        chains_make(hash, id, n);
        const struct hbs_kernel *kernel = NULL;
        for (size_t at = 0; (kernel = supported(&at)) != NULL;)
            if (kernel->hash == hash && !is_gcrypt(kernel))
                chains_compare(kernel, id, n);
    }
}

static void test_chains_sha256(void **state)
{
    (void)state;
    chains_all(HBS_SHA256);
}

static void test_chains_shake256(void **state)
{
    (void)state;
    chains_all(HBS_SHAKE256);
}

#define EDGE_CHAINS 200
#define EDGE_LEN 8192

/* Rows of lanes whose chains end together, one step and two steps apart, and what is left for no
 * row. n bytes of a value are read and written, and not one more: values lie side by side up to the
 * end of what may be touched. */
static void chains_at_edge(const struct hbs_kernel *kernel, uint8_t n, uint8_t *edge)
{
    static const uint8_t id[LMS_I_LEN] = "I";
    static uint8_t expected[EDGE_CHAINS][HBS_N_MAX];
    static const uint16_t lengths[] = {3, 3, 3, 3, 1, 1, 1, 1, 0};
    struct hbs_chain chains[EDGE_CHAINS];
    for (uint16_t c = 0; c < EDGE_CHAINS; c++) {
        uint8_t *value = edge - (size_t)(EDGE_CHAINS - c) * n;
        chains[c] = (struct hbs_chain){
            .q = c, .i = c, .to = c % 99 == 5 ? 2 : lengths[c % 9], .in = value, .out = value};
        fill(value, n);
        memcpy(expected[c], value, n);
        chain_expected(kernel->hash, id, n, chains + c, expected[c]);
    }
    kernel->chains(n, id, chains, EDGE_CHAINS);
    for (uint16_t c = 0; c < EDGE_CHAINS; c++)
        if (memcmp(chains[c].out, expected[c], n) != 0)
            fail_msg("%s: chain %u, n = %u", kernel->name, c, n);
}

static void test_chains_at_the_edge(void **state)
{
    (void)state;
    uint8_t *memory =
        mmap(NULL, 2 * EDGE_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_int_equal(mprotect(memory + EDGE_LEN, EDGE_LEN, PROT_NONE), 0);
    const struct hbs_kernel *kernel = NULL;
    for (size_t at = 0; (kernel = supported(&at)) != NULL;)
        for (uint8_t n = 24; n <= 32; n += 8)
            chains_at_edge(kernel, n, memory + EDGE_LEN);
    (void)munmap(memory, 2 * EDGE_LEN);
}

/* Choice ----------------------------------------------------------------------------------------
 */

static void test_find(void **state)
{
    (void)state;
    const struct hbs_kernel *found = NULL;
    for (enum hbs_hash_kind hash = HBS_SHA256; hash <= HBS_SHAKE256; hash++) {
        const struct hbs_kernel *kernel = NULL;
        for (size_t i = 0; (kernel = hbs_kernel_at(hash, i)) != NULL; i++) {
            struct err err = {0};
            enum rc rc = hbs_kernel_find(hash, kernel->name, &found, &err);
            assert_int_equal(kernel->hash, hash);
            assert_int_equal(rc, kernel->supported() ? RC_OK : RC_REFUSED_CONFIG);
            assert_int_equal(err.rc, rc);
            assert_ptr_equal(found, kernel->supported() ? kernel : NULL);
        }
        struct err err = {0};
        assert_int_equal(hbs_kernel_find(hash, "sha-ny", &found, &err), RC_REFUSED_CONFIG);
        assert_non_null(strstr(err.text, "sha-ny"));
        assert_null(found);
        assert_int_equal(hbs_kernel_find(hash, NULL, &found, NULL), RC_OK);
        assert_true(found->supported());
        assert_int_equal(found->hash, hash);
    }
    /* A name that only the other hash has chooses nothing for this one. */
    assert_int_equal(hbs_kernel_find(HBS_SHAKE256, "sha-ni", &found, NULL), RC_OK);
    assert_ptr_equal(found, &hbs_kernel_gcrypt_shake);
}

/* Two kernels mixed at any number of lanes are as right as each of them. */
static void test_mix(void **state)
{
    (void)state;
    const struct hbs_kernel *wide = NULL;
    const struct hbs_kernel *narrow = NULL;
    for (size_t at = 0; (wide = supported(&at)) != NULL;) {
        for (size_t other = 0; (narrow = supported(&other)) != NULL;) {
            if (narrow->hash != wide->hash)
                continue;
            assert_ptr_equal(hbs_kernel_mix(wide, narrow, 0), wide);
            for (size_t max = 1; max <= 16; max = max * 2 + 1) {
                const struct hbs_kernel *mixed = hbs_kernel_mix(wide, narrow, max);
                assert_true(hbs_kernel_sound(mixed));
                assert_true(narrow == wide ? mixed == wide : strchr(mixed->name, '+') != NULL);
            }
        }
    }
}

/* Kernels wrong in one place each, made from the right one. */
static size_t wrong_at;
static enum hbs_hash_kind wrong_hash;

static void wrong_chains(uint8_t n, const uint8_t id[LMS_I_LEN], const struct hbs_chain *chains,
                         size_t count)
{
    hbs_gcrypt_chains(wrong_hash, n, id, chains, count);
    if (wrong_at < count)
        chains[wrong_at].out[n - 1] ^= 0x80;
}

static void wrong_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    hbs_gcrypt_jobs(wrong_hash, n, jobs, count);
    if (wrong_at < count)
        jobs[wrong_at].out[0] ^= 1;
}

/* Writes 32 bytes where n is 24. */
static void long_jobs(uint8_t n, const struct hbs_job *jobs, size_t count)
{
    (void)n;
    hbs_gcrypt_jobs(wrong_hash, 32, jobs, count);
}

static void unsound_seen(const struct hbs_kernel *right)
{
    struct hbs_kernel kernel = *right;
    wrong_hash = right->hash;
    assert_true(hbs_kernel_sound(&kernel));
    kernel.jobs = wrong_jobs;
    for (wrong_at = 0; wrong_at <= LEN_MAX; wrong_at += 23)
        assert_false(hbs_kernel_sound(&kernel));
    kernel.jobs = long_jobs;
    assert_false(hbs_kernel_sound(&kernel));
    kernel = *right;
    kernel.chains = wrong_chains;
    for (wrong_at = 0; wrong_at < 71; wrong_at++)
        assert_false(hbs_kernel_sound(&kernel));
}

/* With libgcrypt wrong all others are unsound: refused by name, passed over without. */
static void unsound_passed_over(const struct hbs_kernel *gcrypt)
{
    const struct hbs_kernel *found = NULL;
    gcrypt_is_wrong = true;
    enum rc rc = hbs_kernel_find(gcrypt->hash, NULL, &found, NULL);
    bool gcrypt_found = found == gcrypt;
    bool halts = true;
    const struct hbs_kernel *each = NULL;
    for (size_t at = 0; (each = supported(&at)) != NULL;) {
        if (each->hash != gcrypt->hash || each == gcrypt)
            continue;
        struct err err = {0};
        halts = halts && hbs_kernel_find(each->hash, each->name, &found, &err) == RC_HALT_INVARIANT;
        halts = halts && err.rc == RC_HALT_INVARIANT && found == NULL;
    }
    gcrypt_is_wrong = false;
    assert_int_equal(rc, RC_OK);
    assert_true(gcrypt_found);
    assert_true(halts);
}

static void test_unsound(void **state)
{
    (void)state;
    unsound_seen(&hbs_kernel_gcrypt);
    unsound_seen(&hbs_kernel_gcrypt_shake);
    unsound_passed_over(&hbs_kernel_gcrypt);
    unsound_passed_over(&hbs_kernel_gcrypt_shake);
}

/* Another process with TIDEMARK_KERNEL set to value; what it prints, and how it ends. */
static int again(const char *value, const char *mode, char out[256])
{
    int ends_of[2];
    assert_int_equal(pipe(ends_of), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)dup2(ends_of[1], 1);
        (void)dup2(ends_of[1], 2);
        (void)close(ends_of[0]);
        (void)(value != NULL ? setenv("TIDEMARK_KERNEL", value, 1) : unsetenv("TIDEMARK_KERNEL"));
        char *args[] = {(char *)(uintptr_t) "again", (char *)(uintptr_t)mode, NULL};
        (void)execv("/proc/self/exe", args);
        _exit(9);
    }
    (void)close(ends_of[1]);
    size_t len = 0;
    for (ssize_t got; len < 255 && (got = read(ends_of[0], out + len, 255 - len)) > 0;)
        len += (size_t)got;
    out[len] = '\0';
    (void)close(ends_of[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void test_environment(void **state)
{
    (void)state;
    if (RUNNING_ON_VALGRIND)
        skip(); /* execv() of this very file is not under valgrind, where other kernels run */
    char out[256];
    for (size_t i = 0; hbs_kernel_at(HBS_SHA256, i) != NULL; i++) {
        const struct hbs_kernel *kernel = hbs_kernel_at(HBS_SHA256, i);
        int end = again(kernel->name, "--start", out);
        assert_int_equal(end, kernel->supported() ? 0 : 3);
        if (kernel->supported())
            assert_string_equal(out, kernel->name);
        if (kernel->supported())
            assert_int_equal(again(kernel->name, "--hash", out), 0);
    }
    assert_int_equal(again("sse9", "--start", out), 3);
    assert_non_null(strstr(out, "no hash kernel is named 'sse9'"));
    assert_int_equal(again("sse9", "--hash", out), -SIGABRT);
    assert_non_null(strstr(out, "no hash kernel is named 'sse9'"));
    /* What only one hash has leaves the other to libgcrypt. */
    assert_int_equal(again("libgcrypt", "--summary", out), 0);
    assert_string_equal(out, "SHA-256 libgcrypt, SHAKE256 libgcrypt");
#ifdef __x86_64__
    if (hbs_kernel_shani.supported()) {
        assert_int_equal(again("sha-ni", "--summary", out), 0);
        assert_string_equal(out, "SHA-256 sha-ni, SHAKE256 libgcrypt");
    }
#endif
    assert_int_equal(again(NULL, "--start", out), 0);
    assert_int_equal(again("", "--start", out), 0);
    assert_int_equal(again("", "--hash", out), 0);
}

/* Whole trees -----------------------------------------------------------------------------------
 */

static const struct tree_case {
    const char *lms;
    const char *ots;
} trees[] = {
    {"LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W1"},  {"LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W1"},
    {"LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W2"},  {"LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W2"},
    {"LMS_SHA256_M32_H10", "LMOTS_SHA256_N32_W4"}, {"LMS_SHA256_M24_H10", "LMOTS_SHA256_N24_W4"},
    {"LMS_SHA256_M32_H5", "LMOTS_SHA256_N32_W8"},  {"LMS_SHA256_M24_H5", "LMOTS_SHA256_N24_W8"},
    {"LMS_SHAKE_M32_H5", "LMOTS_SHAKE_N32_W2"},    {"LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W1"},
    {"LMS_SHAKE_M32_H5", "LMOTS_SHAKE_N32_W1"},    {"LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W2"},
    {"LMS_SHAKE_M32_H5", "LMOTS_SHAKE_N32_W4"},    {"LMS_SHAKE_M24_H5", "LMOTS_SHAKE_N24_W8"},
};

static uint8_t nodes[1024 * HBS_N_MAX];

static void tree_run(const struct tree_case *t, uint8_t *root, uint8_t *sig)
{
    struct lms_tree tree = {{lms_params_by_name(t->lms), lmots_params_by_name(t->ots)}, {3, 1, 4}};
    assert_true(lms_set_valid(&tree.set));
    struct window_secret secret = {.seed = {2, 7, 1, 8}};
    uint32_t leaves = UINT32_C(1) << tree.set.lms->h;
    lms_leaves(&tree, 0, leaves, &secret, nodes);
    lms_subtree_root(&tree, 0, leaves, nodes, root);
    uint8_t value[HBS_N_MAX];
    uint8_t c[HBS_N_MAX];
    uint8_t path[10 * HBS_N_MAX] = {0};
    memset(value, 0x5c, sizeof(value));
    lms_randomizer(&tree, 5, &secret, c);
    struct ots_lease lease = {.index = 5, .epoch = 1};
    hbs_sign(&lease, &tree, &secret, c, value, path, sig);
}

static void test_trees(void **state)
{
    (void)state;
    static uint8_t expected[LMS_SIG_LEN_MAX];
    static uint8_t sig[LMS_SIG_LEN_MAX];
    for (size_t t = 0; t < sizeof(trees) / sizeof(trees[0]); t++) {
        uint8_t expected_root[HBS_N_MAX] = {0};
        memset(expected, 0, sizeof(expected));
        hbs_kernel_use(&hbs_kernel_gcrypt);
        hbs_kernel_use(&hbs_kernel_gcrypt_shake);
        tree_run(trees + t, expected_root, expected);
        const struct hbs_kernel *kernel = NULL;
        for (size_t at = 0; (kernel = supported(&at)) != NULL;) {
            if (kernel->hash != lms_params_by_name(trees[t].lms)->hash || is_gcrypt(kernel))
                continue;
            uint8_t root[HBS_N_MAX] = {0};
            memset(sig, 0, sizeof(sig));
            hbs_kernel_use(kernel);
            tree_run(trees + t, root, sig);
            assert_memory_equal(root, expected_root, HBS_N_MAX);
            assert_memory_equal(sig, expected, sizeof(sig));
        }
    }
}

/* Secrets ---------------------------------------------------------------------------------------
 */

#define STACK_LEN (256 * 1024)
#define SECRET_CHAINS 40

static const struct hbs_kernel *on_stack_kernel;
static uint8_t on_stack_n;
static struct hbs_chain on_stack_chains[SECRET_CHAINS];
static uint8_t on_stack_values[SECRET_CHAINS][HBS_N_MAX];
static uint8_t on_stack_text[12][100];
static uint8_t on_stack_out[12][32];
static struct hbs_job on_stack_jobs[12];
static size_t on_stack_count;

static void chains_on_stack(void)
{
    static const uint8_t id[LMS_I_LEN] = "I";
    on_stack_kernel->chains(on_stack_n, id, on_stack_chains, on_stack_count);
}

static void jobs_on_stack(void)
{
    on_stack_kernel->jobs(on_stack_n, on_stack_jobs, on_stack_count);
}

static void on_stack(uint8_t *stack, void (*f)(void))
{
    ucontext_t here;
    ucontext_t there;
    memset(stack, 0, STACK_LEN);
    assert_int_equal(getcontext(&there), 0);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = STACK_LEN;
    there.uc_link = &here;
    makecontext(&there, f, 0);
    assert_int_equal(swapcontext(&here, &there), 0);
}

static uint32_t left[STACK_LEN / 4];
static size_t left_count;

/* What is not zero on the stack after f, word by word. */
static void words_left_by(uint8_t *stack, void (*f)(void))
{
    on_stack(stack, f);
    left_count = 0;
    for (size_t at = 0; at < STACK_LEN; at += 4)
        if (be_get32(stack + at) != 0)
            left[left_count++] = be_get32(stack + at);
}

/* Lanes tear a value into words, at any byte of it, and turn their bytes round. */
static bool is_left(const uint8_t *value, size_t len)
{
    for (size_t i = 0; i + 4 <= len; i++) {
        uint32_t word = be_get32(value + i);
        for (size_t k = 0; k < left_count; k++)
            if (left[k] == word || left[k] == __builtin_bswap32(word))
                return true;
    }
    return false;
}

/* Chains of up to three steps, 1 to 40 of them: no value that a chain passes is left. */
static void chains_leave_nothing(uint8_t *stack)
{
    static const uint8_t id[LMS_I_LEN] = "I";
    for (on_stack_count = 1; on_stack_count <= SECRET_CHAINS; on_stack_count += 3) {
        static uint8_t secrets[SECRET_CHAINS][4][HBS_N_MAX];
        for (size_t c = 0; c < on_stack_count; c++) {
            struct hbs_chain *chain = on_stack_chains + c;
            *chain = (struct hbs_chain){.q = 7, .i = (uint16_t)c, .from = 4, .to = 7};
            chain->to = (uint16_t)(7 - (c % 5 == 0));
            chain->in = chain->out = on_stack_values[c];
            fill(on_stack_values[c], HBS_N_MAX);
            uint8_t value[HBS_N_MAX];
            memcpy(value, on_stack_values[c], HBS_N_MAX);
            struct hbs_chain step = *chain;
            for (uint16_t j = 0; j < 4; j++) {
                memcpy(secrets[c][j], value, on_stack_n);
                step.from = (uint16_t)(4 + j);
                step.to = (uint16_t)(5 + j);
                chain_expected(on_stack_kernel->hash, id, on_stack_n, &step, value);
            }
        }
        words_left_by(stack, chains_on_stack);
        for (size_t c = 0; c < on_stack_count; c++)
            for (size_t j = 0; j < 4; j++)
                if (is_left(secrets[c][j], on_stack_n))
                    fail_msg("%s: step %zu of chain %zu of %zu is left", on_stack_kernel->name, j,
                             c, on_stack_count);
    }
}

/* Messages whose tail is copied; what precedes the tail is only read. */
static void jobs_leave_nothing(uint8_t *stack)
{
    for (on_stack_count = 1; on_stack_count <= 12; on_stack_count++) {
        for (size_t j = 0; j < on_stack_count; j++) {
            size_t len = j % 2 == 0 ? 55 : 100;
            fill(on_stack_text[j], len);
            on_stack_jobs[j] = (struct hbs_job){on_stack_text[j], len, on_stack_out[j]};
        }
        words_left_by(stack, jobs_on_stack);
        for (size_t j = 0; j < on_stack_count; j++)
            if (is_left(on_stack_text[j], on_stack_jobs[j].len) ||
                is_left(on_stack_out[j], on_stack_n))
                fail_msg("%s: message %zu of %zu is left", on_stack_kernel->name, j,
                         on_stack_count);
    }
}

static uint8_t on_stack_seed[HBS_N_MAX];
static uint8_t on_stack_keys[32 * HBS_N_MAX];
static const struct lmots_params *on_stack_ots;

static void leaves_on_stack(void)
{
    static const uint8_t id[LMS_I_LEN] = "I";
    hbs_kernel_leaf_keys(on_stack_kernel, on_stack_ots, id, 64, on_stack_seed, on_stack_keys);
}

/* Neither the seed, nor the starts of chains and what follows them in the last row of lanes. */
static void leaves_leave_nothing(uint8_t *stack)
{
    static const uint8_t id[LMS_I_LEN] = "I";
    char name[40];
    (void)snprintf(name, sizeof(name), "LMOTS_%s_N%u_W4",
                   on_stack_kernel->hash == HBS_SHA256 ? "SHA256" : "SHAKE", on_stack_n);
    on_stack_ots = lmots_params_by_name(name);
    assert_non_null(on_stack_ots);
    fill(on_stack_seed, HBS_N_MAX);
    words_left_by(stack, leaves_on_stack);
    if (is_left(on_stack_seed, on_stack_n))
        fail_msg("%s: the seed is left, n = %u, hash %d", on_stack_kernel->name, on_stack_n,
                 (int)on_stack_kernel->hash);
    for (uint16_t i = 0; i < on_stack_ots->p; i++) {
        struct hbs_chain chain = {.q = 64, .i = i, .from = HBS_STEP_SEED, .to = HBS_STEP_SEED + 1};
        uint8_t value[HBS_N_MAX];
        memcpy(value, on_stack_seed, on_stack_n);
        for (unsigned j = 0; j < 15; j++, chain.from++, chain.to++) {
            chain_expected(on_stack_kernel->hash, id, on_stack_n, &chain, value);
            if (is_left(value, on_stack_n))
                fail_msg("%s: step %u of chain %u is left", on_stack_kernel->name, j, i);
        }
    }
}

static void test_nothing_left_on_the_stack(void **state)
{
    (void)state;
    if (SANITIZED || RUNNING_ON_VALGRIND)
        skip();
    uint8_t *stack =
        mmap(NULL, STACK_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(stack, MAP_FAILED);
    for (size_t at = 0; (on_stack_kernel = supported(&at)) != NULL;) {
        if (is_gcrypt(on_stack_kernel))
            continue; /* see test_hbs.c; what libgcrypt keeps is its own */
        for (on_stack_n = 24; on_stack_n <= 32; on_stack_n = (uint8_t)(on_stack_n + 8)) {
            chains_leave_nothing(stack);
            jobs_leave_nothing(stack);
            leaves_leave_nothing(stack);
        }
    }
    (void)munmap(stack, STACK_LEN);
}

/* Started by itself -----------------------------------------------------------------------------
 */

static void *hash_in_thread(void *ctx)
{
    static const uint8_t abc[] = "abc";
    struct hbs_job job = {abc, 3, ctx};
    hbs_jobs_run(HBS_SHA256, 32, &job, 1);
    return NULL;
}

/* Four threads hash, and none of them has chosen a kernel before. */
static int start_by_hashing(void)
{
    pthread_t threads[4];
    uint8_t out[4][32];
    uint8_t expected[32];
    for (size_t t = 0; t < 4; t++)
        if (pthread_create(&threads[t], NULL, hash_in_thread, out[t]) != 0)
            return 4;
    for (size_t t = 0; t < 4; t++)
        (void)pthread_join(threads[t], NULL);
    gcry_md_hash_buffer(GCRY_MD_SHA256, expected, "abc", 3);
    for (size_t t = 0; t < 4; t++)
        if (memcmp(out[t], expected, 32) != 0)
            return 5;
    return 0;
}

static int start_and_say(void)
{
    struct err err = {0};
    if (hbs_kernel_start(&err) != RC_OK) {
        printf("%s", err_text(&err));
        return err.rc == RC_REFUSED_CONFIG && hbs_kernel_start(NULL) == err.rc ? 3 : 4;
    }
    printf("%s", hbs_kernel_current(HBS_SHA256)->name);
    const char *both = hbs_kernel_summary();
    if (strstr(both, hbs_kernel_current(HBS_SHA256)->name) == NULL ||
        strstr(both, hbs_kernel_current(HBS_SHAKE256)->name) == NULL)
        return 6;
    return hbs_kernel_start(NULL) == RC_OK ? 0 : 5;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jobs),
        cmocka_unit_test(test_chains_sha256),
        cmocka_unit_test(test_chains_shake256),
        cmocka_unit_test(test_chains_at_the_edge),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_mix),
        cmocka_unit_test(test_unsound),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_trees),
        cmocka_unit_test(test_nothing_left_on_the_stack),
    };
    if (base_init_public(NULL) != RC_OK)
        return 1;
    if (argc > 1 && strcmp(argv[1], "--start") == 0)
        return start_and_say();
    if (argc > 1 && strcmp(argv[1], "--summary") == 0)
        return printf("%s", hbs_kernel_summary()) < 0;
    if (argc > 1 && strcmp(argv[1], "--hash") == 0)
        return start_by_hashing();
    if (argc > 1 && strcmp(argv[1], "--names") == 0) {
        const struct hbs_kernel *kernel = NULL;
        for (size_t at = 0; (kernel = supported(&at)) != NULL;)
            if (kernel->hash == HBS_SHA256)
                printf("%s\n", kernel->name);
        return 0;
    }
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("hbs kernels", tests, NULL, NULL);
}
