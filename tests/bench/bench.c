/*
 * `make bench`: key generation, signing and verification of one LMS tree on one core, against the
 * two ends of the scale measured in the same run: libgcrypt called one hash at a time, and the
 * limit, which is the number of compressions that an operation needs times the best time that a
 * kernel of this CPU takes for one when all its lanes are full.
 *
 * Not a test: nothing here passes or fails, and `make check` does not run it. CPU time is counted,
 * in rounds that measure everything in turn; the table has the medians. The message is hashed
 * beforehand, the path lies at hand, a tree is built in memory.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/secmem.h"
#include "hbs/kernel.h"
#include "hbs/lmots.h"
#include "hbs/lms.h"

#define ROUNDS 7
#define VALUES 32         /* different message values, signed and verified in turn */
#define SLICE_S 0.02      /* how long one operation is repeated */
#define LIMIT_CHAINS 1088 /* full rows for every kernel */
#define LEAVES_MAX 1024
#define PREFIX (LMS_I_LEN + 4 + 2)

static const struct {
    const char *lms;
    const char *ots;
} sets[] = {
    {"LMS_SHA256_M32_H10", "LMOTS_SHA256_N32_W8"}, {"LMS_SHA256_M32_H10", "LMOTS_SHA256_N32_W4"},
    {"LMS_SHA256_M32_H10", "LMOTS_SHA256_N32_W2"}, {"LMS_SHA256_M24_H10", "LMOTS_SHA256_N24_W8"},
    {"LMS_SHA256_M24_H10", "LMOTS_SHA256_N24_W4"},
};

enum operation { KEYGEN, SIGN, VERIFY, OPERATIONS };
static const char *const operation_names[] = {"keygen", "sign", "verify"};

struct bench {
    struct lms_tree tree;
    struct window_secret secret;
    uint8_t values[VALUES][HBS_N_MAX];
    uint8_t c[HBS_N_MAX];
    uint8_t root[HBS_N_MAX];
    uint8_t path[10 * HBS_N_MAX];
    uint8_t sigs[VALUES][LMS_SIG_LEN_MAX];
    unsigned turn;
    unsigned refused; /* verifications: all of them, see verify() */
};

static uint8_t nodes[2 * LEAVES_MAX * HBS_N_MAX];

static double cpu_s(void)
{
    struct timespec t;
    MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *all)
{
    qsort(all, ROUNDS, sizeof(*all), by_size);
    return all[ROUNDS / 2];
}

/* What an operation needs -----------------------------------------------------------------------
 */

/* Blocks of a message: 0x80 and eight bytes of length come behind it. */
static double blocks(size_t len)
{
    return (double)((len + 9 + 63) / 64);
}

static double digits_sum(const struct lmots_params *ots, const uint8_t *value)
{
    uint16_t digits[LMOTS_P_MAX];
    double sum = 0;
    lmots_digits(ots, value, digits);
    for (size_t i = 0; i < ots->p; i++)
        sum += digits[i];
    return sum;
}

/* Compressions, on average over the values. */
static double needed(const struct bench *b, enum operation operation)
{
    const struct lmots_params *ots = b->tree.set.ots;
    size_t n = ots->n;
    double top = (double)((1U << ots->w) - 1);
    double leaves = (double)(1U << b->tree.set.lms->h);
    double key = blocks(PREFIX + ots->p * n) + blocks(PREFIX + n); /* K and leaf */
    double node = blocks(PREFIX + 2 * n);
    double steps = 0;
    for (size_t v = 0; v < VALUES; v++)
        steps += digits_sum(ots, b->values[v]) / VALUES;
    if (operation == KEYGEN)
        return leaves * (ots->p * (1 + top) + key) + (leaves - 1) * node;
    if (operation == SIGN)
        return ots->p + steps;
    return ots->p * top - steps + key + b->tree.set.lms->h * node;
}

/* Operations ------------------------------------------------------------------------------------
 */

static void keygen(struct bench *b)
{
    uint32_t leaves = UINT32_C(1) << b->tree.set.lms->h;
    lms_leaves(&b->tree, 0, leaves, &b->secret, nodes);
    lms_subtree_root(&b->tree, 0, leaves, nodes, b->root);
}

static void sign(struct bench *b)
{
    unsigned v = b->turn++ % VALUES;
    struct ots_lease lease = {.index = v, .epoch = 1};
    hbs_sign(&lease, &b->tree, &b->secret, b->c, b->values[v], b->path, b->sigs[v]);
}

/* The path is made up, so no root fits: as much work as if one did. That the kernels are right is
 * not for this program to say. */
static void verify(struct bench *b)
{
    unsigned v = b->turn++ % VALUES;
    if (!lms_verify_value(&b->tree, b->root, v, b->values[v], b->sigs[v],
                          lms_sig_len(&b->tree.set)))
        b->refused++;
}

/* Seconds an operation takes, on average over a slice of time and whole turns of the values. */
static double measure(struct bench *b, enum operation operation)
{
    static void (*const run[])(struct bench *) = {keygen, sign, verify};
    unsigned turn = operation == KEYGEN ? 1 : VALUES;
    double start = cpu_s();
    double passed = 0;
    unsigned done = 0;
    do {
        for (unsigned k = 0; k < turn; k++)
            run[operation](b);
        done += turn;
        passed = cpu_s() - start;
    } while (passed < SLICE_S);
    return passed / done;
}

/* Seconds a compression takes at best. */
static double limit(const struct hbs_kernel *kernel)
{
    static struct hbs_chain chains[LIMIT_CHAINS];
    static const uint8_t id[LMS_I_LEN];
    for (size_t c = 0; c < LIMIT_CHAINS; c++) {
        chains[c].from = 0;
        chains[c].to = 255;
    }
    double start = cpu_s();
    kernel->chains(32, id, chains, LIMIT_CHAINS);
    return (cpu_s() - start) / (LIMIT_CHAINS * 255.0);
}

static void set_make(struct bench *b, const char *lms, const char *ots)
{
    *b = (struct bench){.tree.set = {lms_params_by_name(lms), lmots_params_by_name(ots)}};
    MUST(lms_set_valid(&b->tree.set));
    random_bytes(b->tree.i, sizeof(b->tree.i));
    random_bytes(b->secret.seed, sizeof(b->secret.seed));
    random_bytes(b->values, sizeof(b->values));
    for (unsigned v = 0; v < VALUES; v++)
        sign(b);
}

static void set_bench(const char *lms, const char *ots, const struct hbs_kernel *used,
                      const struct hbs_kernel *best)
{
    static struct bench b;
    set_make(&b, lms, ots);
    for (enum operation operation = KEYGEN; operation < OPERATIONS; operation++) {
        double ours[ROUNDS];
        double gcrypt[ROUNDS];
        double limits[ROUNDS];
        for (int r = 0; r < ROUNDS; r++) {
            limits[r] = limit(best) * needed(&b, operation);
            hbs_kernel_use(used);
            ours[r] = measure(&b, operation);
            hbs_kernel_use(&hbs_kernel_gcrypt);
            gcrypt[r] = measure(&b, operation);
        }
        double s = median(ours);
        printf("%-19s %-20s %-7s %11.1f %10.0f %11.0f %% %11.1f\n", lms, ots,
               operation_names[operation], 1 / s, needed(&b, operation), 100 * median(limits) / s,
               median(gcrypt) / s);
        (void)fflush(stdout);
    }
    window_secret_wipe(&b.secret);
}

int main(void)
{
    struct err err = {0};
    if (base_init_public(&err) != RC_OK || hbs_kernel_start(&err) != RC_OK) {
        (void)fprintf(stderr, "bench: %s\n", err_text(&err));
        return 1;
    }
    const struct hbs_kernel *used = hbs_kernel_current(HBS_SHA256);
    const struct hbs_kernel *best = NULL;
    double least = 1;
    printf("One core; million chain steps (one compression each) a second:\n");
    for (size_t i = 0; hbs_kernel_at(HBS_SHA256, i) != NULL; i++) {
        const struct hbs_kernel *kernel = hbs_kernel_at(HBS_SHA256, i);
        if (!kernel->supported())
            continue;
        double all[ROUNDS];
        for (int r = 0; r < ROUNDS; r++)
            all[r] = limit(kernel);
        double s = median(all);
        best = s < least ? kernel : best;
        least = s < least ? s : least;
        printf("  %-10s %6.1f%s\n", kernel->name, 1e-6 / s, kernel == used ? "  (used)" : "");
    }
    printf("\n%-19s %-20s %-7s %11s %10s %13s %11s\n", "set", "", "", "a second", "needs",
           "of limit", "x libgcrypt");
    for (size_t k = 0; k < sizeof(sets) / sizeof(sets[0]); k++)
        set_bench(sets[k].lms, sets[k].ots, used, best);
    return 0;
}
