#include "policy/advise.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "policy/plan.h"

#define YEAR_S 31557600.0 /* 365.25 days */
#define YEARS_MAX 1000.0
#define MEAN_MAX 1e9       /* signatures in a window; far above every key */
#define TERMS_MAX 10000000 /* of the Poisson sum; a mean of MEAN_MAX needs about a million */

static const uint32_t heights[] = {5, 10, 15, 20, 25};
#define HEIGHT_COUNT (sizeof(heights) / sizeof(heights[0]))

/* --- Verifiers ----------------------------------------------------------------------------------
 */

static const char *const verifiers[] = {"any", "cnsa2", "hash-sigs", "mcuboot", "rfc8554", NULL};

const char *const *advise_verifiers(void)
{
    return verifiers;
}

static bool is(const char *verifier, const char *name)
{
    return strcmp(verifier, name) == 0;
}

static bool standard(uint32_t n, uint32_t h, uint32_t w)
{
    return (n == 24 || n == 32) && h >= 5 && h <= 25 && h % 5 == 0 &&
           (w == 1 || w == 2 || w == 4 || w == 8);
}

bool advise_verifier_takes(const char *verifier, uint32_t n, uint32_t h, uint32_t w)
{
    if (!standard(n, h, w))
        return false;
    if (verifier == NULL || is(verifier, "any"))
        return true;
    if (is(verifier, "cnsa2")) /* single trees of SP 800-208: all of these are */
        return true;
    if (is(verifier, "rfc8554") || is(verifier, "hash-sigs")) /* n = 24 came with RFC 9858 */
        return n == 32;
    if (is(verifier, "mcuboot"))
        return n == 32 && h == 10 && w == 8;
    return false;
}

static bool verifier_known(const char *verifier)
{
    if (verifier == NULL)
        return true;
    for (size_t i = 0; verifiers[i] != NULL; i++)
        if (is(verifier, verifiers[i]))
            return true;
    return false;
}

/* --- Probability --------------------------------------------------------------------------------
 */

/* Poisson probability of exactly k. */
static double poisson(double mean, double k)
{
    int sign = 0; /* lgamma() itself would write a global */
    return exp(k * log(mean) - mean - lgamma_r(k + 1.0, &sign));
}

/* Sum of the terms from k upwards. They fall from the start, since k lies above the mean. */
static double sum_up(double mean, double k)
{
    double term = poisson(mean, k);
    double sum = 0.0;
    for (size_t i = 0; i < TERMS_MAX && term > sum * 1e-17; i++) {
        sum += term;
        k += 1.0;
        term *= mean / k;
    }
    return sum;
}

/* Sum of the terms from k down to 0. They fall from the start, since k lies below the mean. */
static double sum_down(double mean, double k)
{
    double term = poisson(mean, k);
    double sum = 0.0;
    for (size_t i = 0; i < TERMS_MAX && k >= 0.0 && term > sum * 1e-17; i++) {
        sum += term;
        term *= k / mean;
        k -= 1.0;
    }
    return sum;
}

double advise_overflow(double mean, uint64_t capacity)
{
    if (!(mean > 0.0))
        return 0.0;
    double c = (double)capacity;
    /* Always sum the smaller tail: 1 - (nearly 1) would lose every digit of a small result. */
    double p = c + 1.0 > mean ? sum_up(mean, c + 1.0) : 1.0 - sum_down(mean, c);
    return fmin(fmax(p, 0.0), 1.0);
}

/* --- Sizes --------------------------------------------------------------------------------------
 */

/* Number of chains of LM-OTS (RFC 8554 Appendix B). */
static uint32_t chains(uint32_t n, uint32_t w)
{
    uint32_t u = 8 * n / w;
    uint32_t checksum_max = ((1U << w) - 1) * u;
    uint32_t bits = 0;
    while (checksum_max >> bits != 0)
        bits++;
    return u + (bits + w - 1) / w;
}

/* HSS with one level (RFC 8554 §6.2): Nspk, then q, the one-time signature, the type, the path. */
static uint64_t signature_len(uint32_t n, uint32_t h, uint32_t w)
{
    uint64_t ots = 4 + n + (uint64_t)chains(n, w) * n;
    return 4 + 4 + ots + 4 + (uint64_t)h * n;
}

/* SHA-256 compressions to make a tree: chains of 2^w (the start of each is derived), the hash over
 * their ends, the leaf, and two for each inner node. */
static double keygen_hashes(uint32_t n, uint32_t h, uint32_t w)
{
    double p = (double)chains(n, w);
    double blocks = ceil((22.0 + p * n + 9.0) / 64.0);
    double leaf = p * ldexp(1.0, (int)w) + blocks + 1.0;
    return ldexp(leaf, (int)h) + 2.0 * (ldexp(1.0, (int)h) - 1.0);
}

/* --- Choice -------------------------------------------------------------------------------------
 */

static enum rc check_need(const struct advise_need *need, struct err *err)
{
    if (!verifier_known(need->verifier))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "unknown verifier profile \"%.40s\"",
                    need->verifier);
    if (need->window_s < PLAN_WINDOW_S_MIN || need->window_s > INT64_C(100000000000))
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "a window must be %d to 100000000000 seconds, not %" PRId64, PLAN_WINDOW_S_MIN,
                    need->window_s);
    /* Written so that NaN fails too. */
    if (!(need->signatures_per_window >= 0.0 && need->signatures_per_window <= MEAN_MAX))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "signatures per window must be 0 to %.0f",
                    MEAN_MAX);
    if (!(need->years > 0.0 && need->years <= YEARS_MAX))
        return FAIL(err, RC_REFUSED_INPUT, "", 0, "years must be above 0, up to %.0f", YEARS_MAX);
    if (!(need->exhaust_max > 0.0 && need->exhaust_max < 1.0))
        return FAIL(err, RC_REFUSED_INPUT, "", 0,
                    "the accepted probability must be above 0 and below 1");
    return RC_OK;
}

/* Windows of the wanted life. need->years <= YEARS_MAX keeps it far below 2^53. */
static uint64_t windows_needed(const struct advise_need *need)
{
    double count = ceil(need->years * YEAR_S / (double)need->window_s);
    return count < 1.0 ? 1 : (uint64_t)count;
}

/* The smallest window whose probability to run full is accepted; one index of it is the seal's.
 * 0 if even a key of one window is too small. */
static uint64_t window_size(const struct advise_need *need, uint64_t max)
{
    for (uint64_t size = 2; size <= max; size *= 2)
        if (advise_overflow(need->signatures_per_window, size - 1) <= need->exhaust_max)
            return size;
    return 0;
}

static void fill(const struct advise_need *need, uint32_t n, uint32_t h, uint64_t size,
                 struct advise_choice *choice)
{
    uint32_t w = 8; /* the shortest signature that every profile takes */
    choice->height = h;
    choice->window_size = size;
    choice->window_count = (UINT64_C(1) << h) / size;
    choice->years = (double)choice->window_count * (double)need->window_s / YEAR_S;
    choice->exhaust = advise_overflow(need->signatures_per_window, size - 1);
    choice->n = n;
    choice->w = w;
    choice->sig_len = signature_len(n, h, w);
    choice->keygen_hashes = keygen_hashes(n, h, w);
    (void)snprintf(choice->parameters[0], sizeof(choice->parameters[0]),
                   "LMS_SHA256_M%" PRIu32 "_H%" PRIu32, n, h);
    (void)snprintf(choice->parameters[1], sizeof(choice->parameters[1]),
                   "LMOTS_SHA256_N%" PRIu32 "_W%" PRIu32, n, w);
}

static enum rc too_small(const struct advise_need *need, const struct advise_choice *choice,
                         uint64_t wanted, struct err *err)
{
    const char *verifier = need->verifier != NULL ? need->verifier : "any";
    if (choice->exhaust > need->exhaust_max)
        return FAIL(err, RC_REFUSED_RANGE, "", 0,
                    "%s: no window of at most 2^%" PRIu32 " indices holds %.0f signatures often "
                    "enough; take shorter windows or a higher probability",
                    verifier, choice->height, need->signatures_per_window);
    return FAIL(err, RC_REFUSED_RANGE, "", 0,
                "%s: %" PRIu64 " windows of %" PRIu64 " indices do not fit 2^%" PRIu32
                "; ask for %.2f years or fewer signatures, or make a new key then",
                verifier, wanted, choice->window_size, choice->height, choice->years);
}

enum rc advise_time_plan(const struct advise_need *need, struct advise_choice *choice,
                         struct err *err)
{
    *choice = (struct advise_choice){0};
    enum rc rc = check_need(need, err);
    if (rc != RC_OK)
        return rc;
    uint64_t wanted = windows_needed(need);
    for (size_t i = 0; i < HEIGHT_COUNT; i++) {
        uint32_t h = heights[i];
        uint32_t n = advise_verifier_takes(need->verifier, 24, h, 8) ? 24 : 32;
        if (!advise_verifier_takes(need->verifier, n, h, 8))
            continue;
        uint64_t leaves = UINT64_C(1) << h;
        uint64_t size = window_size(need, leaves);
        fill(need, n, h, size != 0 ? size : leaves, choice);
        if (size != 0 && choice->window_count >= wanted)
            return RC_OK;
    }
    return too_small(need, choice, wanted, err);
}
