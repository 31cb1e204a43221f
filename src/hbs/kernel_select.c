#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "hbs/kernel.h"
#include "hbs/xmss_lanes.h"

#define VARIABLE "TIDEMARK_KERNEL"
#define TEST_CHAINS 71   /* two full rows of 32 lanes, and some */
#define TEST_LEN_MAX 300 /* messages of 0 … 300 bytes: up to five blocks, every padding */
#define KERNELS_MAX 8

static const struct hbs_kernel *const sha256[] = {
#ifdef __x86_64__
    &hbs_kernel_avx512,
    &hbs_kernel_shani,
    &hbs_kernel_avx2,
#endif
    &hbs_kernel_gcrypt,
};

static const struct hbs_kernel *const shake256[] = {
#ifdef __x86_64__
    &hbs_kernel_avx512_shake,
    &hbs_kernel_avx2_shake,
#endif
    &hbs_kernel_gcrypt_shake,
};

const struct hbs_kernel *hbs_kernel_at(enum hbs_hash_kind hash, size_t i)
{
    if (hash == HBS_SHA256)
        return i < sizeof(sha256) / sizeof(sha256[0]) ? sha256[i] : NULL;
    return i < sizeof(shake256) / sizeof(shake256[0]) ? shake256[i] : NULL;
}

/* Self-test -------------------------------------------------------------------------------------
 */

/* Bytes without a pattern that a mistake could keep; not random, and not secret. */
static void fill(uint8_t *out, size_t len, uint32_t state)
{
    for (size_t i = 0; i < len; i++) {
        state = state * 1664525 + 1013904223;
        out[i] = (uint8_t)(state >> 24);
    }
}

/* All first steps, lengths from 0 to 28 mixed, and the longest; values become their own ends. */
static void test_chains_make(struct hbs_chain chains[TEST_CHAINS],
                             uint8_t values[TEST_CHAINS][HBS_N_MAX])
{
    for (uint32_t c = 0; c < TEST_CHAINS; c++) {
        uint16_t from = c % 3 == 0 ? HBS_STEP_SEED : (uint16_t)(c * 37 % 195);
        chains[c] = (struct hbs_chain){.q = c * 0x01234567,
                                       .i = (uint16_t)(c * 911),
                                       .from = from,
                                       .to = (uint16_t)(from + c * 13 % 29),
                                       .in = values[c],
                                       .out = values[c]};
        if (c == TEST_CHAINS - 1)
            chains[c].to = HBS_STEP_END;
        fill(values[c], HBS_N_MAX, c);
    }
}

/* Results of the test for n = 24 and 32. */
struct results {
    uint8_t chains[2][TEST_CHAINS][HBS_N_MAX];
    uint8_t jobs[2][TEST_LEN_MAX + 1][HBS_N_MAX];
};

static void test_run(const struct hbs_kernel *kernel, struct results *results)
{
    uint8_t text[TEST_LEN_MAX];
    uint8_t id[LMS_I_LEN];
    struct hbs_job jobs[TEST_LEN_MAX + 1];
    struct hbs_chain chains[TEST_CHAINS];
    fill(text, sizeof(text), 24);
    fill(id, sizeof(id), 32);
    memset(results, 0, sizeof(*results));
    for (size_t k = 0; k < 2; k++) {
        uint8_t n = k == 0 ? 24 : 32;
        test_chains_make(chains, results->chains[k]);
        kernel->chains(n, id, chains, TEST_CHAINS);
        for (size_t len = 0; len <= TEST_LEN_MAX; len++)
            jobs[len] = (struct hbs_job){text + TEST_LEN_MAX - len, len, results->jobs[k][len]};
        kernel->jobs(n, jobs, TEST_LEN_MAX + 1);
    }
}

static bool agrees(const struct hbs_kernel *kernel, const struct results *expected)
{
    struct results results;
    test_run(kernel, &results);
    return ct_equal(&results, expected, sizeof(results)) && xmss_lanes_sound(kernel);
}

static const struct hbs_kernel *libgcrypt(enum hbs_hash_kind hash)
{
    return hash == HBS_SHA256 ? &hbs_kernel_gcrypt : &hbs_kernel_gcrypt_shake;
}

bool hbs_kernel_sound(const struct hbs_kernel *kernel)
{
    struct results expected;
    test_run(libgcrypt(kernel->hash), &expected);
    return agrees(kernel, &expected);
}

/* Choice ----------------------------------------------------------------------------------------
 */

#ifdef __x86_64__
#define FULL 64 /* chains: two full rows of the widest kernel */
#define FEW 4   /* the last lanes of a call, or a short one */
#define STEPS 8
#define TIMES 3

/* The least of a few counts of the CPU's clock, which asks no clock of the system. An interrupted
 * measurement can at worst choose a slower kernel. */
static uint64_t kernel_ticks(const struct hbs_kernel *kernel, size_t count)
{
    uint64_t least = UINT64_MAX;
    struct hbs_chain chains[FULL];
    uint8_t values[FULL][HBS_N_MAX] = {{0}};
    uint8_t id[LMS_I_LEN] = {0};
    for (size_t c = 0; c < count; c++)
        chains[c] = (struct hbs_chain){.to = STEPS, .in = values[c], .out = values[c]};
    for (int k = 0; k < TIMES; k++) {
        uint64_t start = __builtin_ia32_rdtsc();
        kernel->chains(32, id, chains, count);
        uint64_t ticks = __builtin_ia32_rdtsc() - start;
        least = ticks < least ? ticks : least;
    }
    return least;
}

/* Of the kernels left in the list, the one that runs count chains in the least time. */
static const struct hbs_kernel *fastest_at(const struct hbs_kernel *const *list, size_t count)
{
    const struct hbs_kernel *best = NULL;
    uint64_t least = UINT64_MAX;
    for (; *list != NULL; list++) {
        uint64_t ticks = kernel_ticks(*list, count);
        if (ticks < least) {
            best = *list;
            least = ticks;
        }
    }
    return best;
}

/* Up to how many chains narrow is faster than wide. */
static size_t narrow_up_to(const struct hbs_kernel *narrow, const struct hbs_kernel *wide)
{
    static const size_t counts[] = {1, 2, 4, 8, 12, 16};
    size_t max = 0;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        if (kernel_ticks(narrow, counts[i]) >= kernel_ticks(wide, counts[i]))
            break;
        max = counts[i];
    }
    return max;
}

/* The supported kernels that agree with libgcrypt, and libgcrypt; NULL behind the last. */
static void sound_ones(enum hbs_hash_kind hash, const struct hbs_kernel *good[KERNELS_MAX + 1])
{
    struct results expected;
    const struct hbs_kernel *kernel = NULL;
    size_t count = 0;
    test_run(libgcrypt(hash), &expected);
    for (size_t i = 0; (kernel = hbs_kernel_at(hash, i)) != NULL; i++)
        if (kernel == libgcrypt(hash) || (kernel->supported() && agrees(kernel, &expected)))
            good[count++] = kernel;
    MUST(count <= KERNELS_MAX);
    good[count] = NULL;
}

static const struct hbs_kernel *fastest(enum hbs_hash_kind hash)
{
    const struct hbs_kernel *good[KERNELS_MAX + 1];
    sound_ones(hash, good);
    const struct hbs_kernel *wide = fastest_at(good, FULL);
    const struct hbs_kernel *narrow = fastest_at(good, FEW);
    return hbs_kernel_mix(wide, narrow, wide == narrow ? 0 : narrow_up_to(narrow, wide));
}
#else
static const struct hbs_kernel *fastest(enum hbs_hash_kind hash)
{
    return libgcrypt(hash);
}
#endif

static const struct hbs_kernel *named(enum hbs_hash_kind hash, const char *name)
{
    size_t i = 0;
    while (hbs_kernel_at(hash, i) != NULL && strcmp(hbs_kernel_at(hash, i)->name, name) != 0)
        i++;
    return hbs_kernel_at(hash, i);
}

enum rc hbs_kernel_find(enum hbs_hash_kind hash, const char *name, const struct hbs_kernel **kernel,
                        struct err *err)
{
    *kernel = NULL;
    if (name == NULL) {
        *kernel = fastest(hash);
        return RC_OK;
    }
    const struct hbs_kernel *found = named(hash, name);
    if (found == NULL && named(hash == HBS_SHA256 ? HBS_SHAKE256 : HBS_SHA256, name) != NULL)
        found = libgcrypt(hash);
    if (found == NULL)
        return FAIL(err, RC_REFUSED_CONFIG, "", 0, VARIABLE ": no hash kernel is named '%.32s'",
                    name);
    if (!found->supported())
        return FAIL(err, RC_REFUSED_CONFIG, "", 0,
                    VARIABLE ": this CPU cannot run the hash kernel '%s'", name);
    if (!hbs_kernel_sound(found))
        return FAIL(err, RC_HALT_INVARIANT, "", 0, "hash kernel '%s' and libgcrypt disagree", name);
    *kernel = found;
    return RC_OK;
}

/* Written inside once; NULL if that failed. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct hbs_kernel *current_sha256;
static const struct hbs_kernel *current_shake256;
static struct err start_err;

static void start(void)
{
    /* secure_getenv: a privileged caller's environment chooses nothing. */
    const char *name = secure_getenv(VARIABLE);
    if (name != NULL && name[0] == '\0')
        name = NULL;
    enum rc rc = hbs_kernel_find(HBS_SHA256, name, &current_sha256, &start_err);
    if (rc == RC_OK)
        rc = hbs_kernel_find(HBS_SHAKE256, name, &current_shake256, &start_err);
    MUST(rc == start_err.rc);
}

enum rc hbs_kernel_start(struct err *err)
{
    MUST(pthread_once(&once, start) == 0);
    if (start_err.rc != RC_OK && err != NULL && err->rc == RC_OK)
        *err = start_err;
    return start_err.rc;
}

const struct hbs_kernel *hbs_kernel_current(enum hbs_hash_kind hash)
{
    enum rc rc = hbs_kernel_start(NULL);
    if (rc != RC_OK) {
        (void)fprintf(stderr, "tidemark: %s; stopping\n", err_text(&start_err));
        abort();
    }
    return hash == HBS_SHA256 ? current_sha256 : current_shake256;
}

const char *hbs_kernel_summary(void)
{
    static char text[128];
    (void)snprintf(text, sizeof(text), "SHA-256 %s, SHAKE256 %s",
                   hbs_kernel_current(HBS_SHA256)->name, hbs_kernel_current(HBS_SHAKE256)->name);
    return text;
}

void hbs_kernel_use(const struct hbs_kernel *kernel)
{
    MUST(pthread_once(&once, start) == 0);
    if (kernel->hash == HBS_SHA256)
        current_sha256 = kernel;
    else
        current_shake256 = kernel;
}
