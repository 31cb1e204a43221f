/*
 * bench_tpm: how long the TPM takes for what the signer asks of it: opening a window's secret, a
 * lease, a window step, the proof before a batch. Beside the first, what else opening a window
 * takes: one leaf of the tree, by which the signer knows the secret for the window's.
 *
 * bench_tpm [-n TIMES] [TCTI]   TIMES each (200); without a TCTI on a software TPM of its own. On a
 * real TPM it makes a key's three objects and removes them again; each run wears W, L and A by
 * TIMES writes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/secmem.h"
#include "base/text.h"
#include "hbs/key.h"
#include "lib/swtpm.h"
#include "tpm/anchor.h"

#define TIMES_MAX 10000
#define MS_PER_NS 1e-6

static const uint8_t auth_secret[ANCHOR_AUTH_LEN] = "an auth secret of 32 bytes ....";
static const uint8_t seed_auth[32] = "the value of sealed secrets ...";

struct bench {
    struct tpm *tpm;
    struct anchor *anchor;
    struct anchor_pins pins;
    struct anchor_state state;
    uint8_t blob[TPM_SEALED_MAX];
    size_t blob_len;
    uint32_t leaf;
};

static int64_t now_ns(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* What is measured ----------------------------------------------------------------------------- */

static enum rc unseal(struct bench *b, struct err *err)
{
    uint8_t secret[64];
    return tpm_unseal(b->tpm, b->anchor, seed_auth, b->blob, b->blob_len, secret, sizeof(secret),
                      err);
}

/* W8 has the longest chains, and a leaf of any other set is less work. */
static enum rc one_leaf(struct bench *b, struct err *err)
{
    static const char *const names[] = {"LMS_SHA256_M32_H20", "LMOTS_SHA256_N32_W8"};
    static const uint8_t id[HBS_KEY_ID_LEN] = {1};
    struct hbs_key key;
    uint8_t leaf[HBS_N_MAX];
    enum rc rc = hbs_key_new(&key, "lms", names, 2, id, err);
    if (rc != RC_OK)
        return rc;
    const struct hbs_tree top = hbs_key_top(&key);
    hbs_tree_leaves(&top, b->leaf++, 1, seed_auth, leaf);
    return RC_OK;
}

static enum rc step_w(struct bench *b, struct err *err)
{
    return anchor_step_w(b->anchor, ++b->state.w, err);
}

static enum rc lease(struct bench *b, struct err *err)
{
    struct anchor_record a = {.w = b->state.w, .l = b->state.l + 1, .early_window = -1};
    enum rc rc = anchor_write(b->anchor, &a, err);
    return rc == RC_OK ? anchor_step_l(b->anchor, ++b->state.l, err) : rc;
}

static enum rc prove(struct bench *b, struct err *err)
{
    struct tpm_time time;
    return anchor_prove(b->anchor, b->state.l, &time, err);
}

static const struct {
    const char *name;
    enum rc (*run)(struct bench *b, struct err *err);
} rows[] = {
    {"unseal a window's secret", unseal}, {"its first leaf (W8)", one_leaf},
    {"step W (one window)", step_w},      {"lease: A, L + 1", lease},
    {"prove L and clock", prove},
};

/* Run ------------------------------------------------------------------------------------------ */

/* As the signer seals: for the window before W's next step and the one of it. */
static enum rc seal(struct bench *b, struct err *err)
{
    static const uint8_t secret[64];
    struct tpm_lock lock = {.kind = TPM_LOCK_WINDOW,
                            .bound_low = true,
                            .bound_high = true,
                            .low = b->state.w,
                            .high = b->state.w + 1};
    memcpy(lock.w_name, b->pins.w_name, TPM_NAME_LEN);
    return tpm_seal(b->tpm, seed_auth, &lock, secret, sizeof(secret), b->blob, &b->blob_len, err);
}

static enum rc prepare(struct bench *b, const char *tcti, struct err *err)
{
    struct tpm_config config = {.tcti = tcti};
    enum rc rc = tpm_open(&b->tpm, &config, true, err);
    if (rc == RC_OK)
        rc = anchor_choose(b->tpm, &b->pins, err);
    if (rc == RC_OK)
        rc = anchor_provision(b->tpm, auth_secret, 0, &b->pins, err);
    if (rc == RC_OK)
        rc = anchor_open(&b->anchor, b->tpm, &b->pins, auth_secret, err);
    if (rc == RC_OK)
        rc = anchor_read(b->anchor, &b->state, err);
    return rc == RC_OK ? seal(b, err) : rc;
}

static enum rc measure(struct bench *b, size_t row, uint64_t times, struct err *err)
{
    static int64_t ns[TIMES_MAX];
    for (uint64_t i = 0; i < times; i++) {
        int64_t begin = now_ns();
        enum rc rc = rows[row].run(b, err);
        if (rc != RC_OK)
            return rc;
        ns[i] = now_ns() - begin;
    }
    qsort(ns, times, sizeof(ns[0]), by_value);
    (void)printf("%-26s median %8.2f ms   90 %% %8.2f ms   slowest %8.2f ms\n", rows[row].name,
                 (double)ns[times / 2] * MS_PER_NS, (double)ns[times * 9 / 10] * MS_PER_NS,
                 (double)ns[times - 1] * MS_PER_NS);
    return RC_OK;
}

static int run(const char *tcti, uint64_t times)
{
    struct bench b = {.blob_len = 0};
    struct err err = {0};
    enum rc rc = prepare(&b, tcti, &err);
    if (rc == RC_OK)
        (void)printf("%s %s, %" PRIu64 " times each\n", tpm_identify(b.tpm)->manufacturer,
                     tpm_identify(b.tpm)->vendor, times);
    for (size_t row = 0; rc == RC_OK && row < sizeof(rows) / sizeof(rows[0]); row++)
        rc = measure(&b, row, times, &err);
    if (rc != RC_OK)
        (void)fprintf(stderr, "bench_tpm: %s\n", err_text(&err));
    anchor_close(&b.anchor);
    struct err none = {0};
    if (b.tpm != NULL && b.pins.w_handle != 0 &&
        anchor_undefine(b.tpm, &b.pins, auth_secret, &none) != RC_OK)
        (void)fprintf(stderr, "bench_tpm: left behind: %s\n", err_text(&none));
    tpm_close(&b.tpm);
    return rc == RC_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct swtpm swtpm = {.pid = 0};
    struct err err = {0};
    uint64_t times = 200;
    int at = 1;
    if (argc > 2 && strcmp(argv[1], "-n") == 0) {
        if (!text_to_u64(&times, argv[2], TIMES_MAX) || times == 0)
            return 2;
        at = 3;
    }
    if (base_init(&err) != RC_OK)
        return 1;
    if (at < argc)
        return run(argv[at], times);
    int code = swtpm_make(&swtpm) ? run(swtpm.tcti, times) : 77;
    swtpm_remove(&swtpm);
    return code;
}
