#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "hbs/kernel.h"

#define VARIABLE "TIDEMARK_KERNEL"
#define TEST_CHAINS 71   /* two full rows of 32 lanes, and some */
#define TEST_LEN_MAX 300 /* messages of 0 … 300 bytes: up to five blocks, every padding */

static const struct hbs_kernel *const kernels[] = {
#ifdef __x86_64__
    &hbs_kernel_avx512,
    &hbs_kernel_shani,
    &hbs_kernel_avx2,
#endif
    &hbs_kernel_gcrypt,
};

const struct hbs_kernel *hbs_kernel_at(size_t i)
{
    return i < sizeof(kernels) / sizeof(kernels[0]) ? kernels[i] : NULL;
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

/* All first steps, lengths from 0 to 28 mixed, and the longest. */
static void test_chains_make(struct hbs_chain chains[TEST_CHAINS])
{
    for (uint32_t c = 0; c < TEST_CHAINS; c++) {
        uint16_t from = c % 3 == 0 ? HBS_STEP_SEED : (uint16_t)(c * 37 % 195);
        chains[c] = (struct hbs_chain){.q = c * 0x01234567,
                                       .i = (uint16_t)(c * 911),
                                       .from = from,
                                       .to = (uint16_t)(from + c * 13 % 29)};
        if (c == TEST_CHAINS - 1)
            chains[c].to = HBS_STEP_END;
        fill(chains[c].value, sizeof(chains[c].value), c);
    }
}

static bool chains_sound(const struct hbs_kernel *kernel, uint8_t n)
{
    struct hbs_chain chains[TEST_CHAINS];
    struct hbs_chain expected[TEST_CHAINS];
    uint8_t id[LMS_I_LEN];
    fill(id, sizeof(id), n);
    test_chains_make(chains);
    test_chains_make(expected);
    kernel->chains(n, id, chains, TEST_CHAINS);
    hbs_kernel_gcrypt.chains(n, id, expected, TEST_CHAINS);
    bool same = true;
    for (size_t c = 0; c < TEST_CHAINS; c++)
        same = same && ct_equal(chains[c].value, expected[c].value, sizeof(chains[c].value));
    return same;
}

static bool jobs_sound(const struct hbs_kernel *kernel, uint8_t n)
{
    uint8_t text[TEST_LEN_MAX];
    uint8_t out[TEST_LEN_MAX + 1][HBS_N_MAX] = {{0}};
    uint8_t expected[TEST_LEN_MAX + 1][HBS_N_MAX] = {{0}};
    struct hbs_job jobs[TEST_LEN_MAX + 1];
    fill(text, sizeof(text), n);
    for (size_t len = 0; len <= TEST_LEN_MAX; len++)
        jobs[len] = (struct hbs_job){text + TEST_LEN_MAX - len, len, out[len]};
    kernel->jobs(n, jobs, TEST_LEN_MAX + 1);
    for (size_t len = 0; len <= TEST_LEN_MAX; len++)
        jobs[len].out = expected[len];
    hbs_kernel_gcrypt.jobs(n, jobs, TEST_LEN_MAX + 1);
    return ct_equal(out, expected, sizeof(out));
}

bool hbs_kernel_sound(const struct hbs_kernel *kernel)
{
    return chains_sound(kernel, 24) && chains_sound(kernel, 32) && jobs_sound(kernel, 24) &&
           jobs_sound(kernel, 32);
}

/* Choice ----------------------------------------------------------------------------------------
 */

#ifdef __x86_64__
#define MEASURE_CHAINS 64 /* two full rows of the widest kernel */
#define MEASURE_STEPS 8
#define MEASURE_TIMES 3

/* The least of a few counts of the CPU's clock, which asks no clock of the system. An interrupted
 * measurement can at worst choose a slower kernel. */
static uint64_t kernel_ticks(const struct hbs_kernel *kernel)
{
    uint64_t least = UINT64_MAX;
    struct hbs_chain chains[MEASURE_CHAINS] = {{0}};
    uint8_t id[LMS_I_LEN] = {0};
    for (size_t c = 0; c < MEASURE_CHAINS; c++)
        chains[c].to = MEASURE_STEPS;
    for (int k = 0; k < MEASURE_TIMES; k++) {
        uint64_t start = __builtin_ia32_rdtsc();
        kernel->chains(32, id, chains, MEASURE_CHAINS);
        uint64_t ticks = __builtin_ia32_rdtsc() - start;
        least = ticks < least ? ticks : least;
    }
    return least;
}

static const struct hbs_kernel *fastest(void)
{
    const struct hbs_kernel *best = &hbs_kernel_gcrypt;
    uint64_t least = kernel_ticks(best);
    for (size_t i = 0; kernels[i] != &hbs_kernel_gcrypt; i++) {
        if (!kernels[i]->supported() || !hbs_kernel_sound(kernels[i]))
            continue;
        uint64_t ticks = kernel_ticks(kernels[i]);
        if (ticks < least) {
            best = kernels[i];
            least = ticks;
        }
    }
    return best;
}
#else
static const struct hbs_kernel *fastest(void)
{
    return &hbs_kernel_gcrypt;
}
#endif

enum rc hbs_kernel_find(const char *name, const struct hbs_kernel **kernel, struct err *err)
{
    *kernel = NULL;
    if (name == NULL) {
        *kernel = fastest();
        return RC_OK;
    }
    size_t i = 0;
    while (hbs_kernel_at(i) != NULL && strcmp(hbs_kernel_at(i)->name, name) != 0)
        i++;
    const struct hbs_kernel *found = hbs_kernel_at(i);
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

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const struct hbs_kernel *current; /* written inside once; NULL if that failed */
static struct err start_err;

static void start(void)
{
    /* secure_getenv: a privileged caller's environment chooses nothing. */
    const char *name = secure_getenv(VARIABLE);
    if (name != NULL && name[0] == '\0')
        name = NULL;
    enum rc rc = hbs_kernel_find(name, &current, &start_err);
    MUST(rc == start_err.rc);
}

enum rc hbs_kernel_start(struct err *err)
{
    MUST(pthread_once(&once, start) == 0);
    if (start_err.rc != RC_OK && err != NULL && err->rc == RC_OK)
        *err = start_err;
    return start_err.rc;
}

const struct hbs_kernel *hbs_kernel_current(void)
{
    enum rc rc = hbs_kernel_start(NULL);
    if (rc != RC_OK) {
        (void)fprintf(stderr, "tidemark: %s; stopping\n", err_text(&start_err));
        abort();
    }
    return current;
}

void hbs_kernel_use(const struct hbs_kernel *kernel)
{
    MUST(pthread_once(&once, start) == 0);
    current = kernel;
}
