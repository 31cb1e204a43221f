/*
 * bench_ledger: what a ledger costs that has grown: its start, which verifies every entry, and the
 * questions that limits ask of it for each batch.
 *
 * bench_ledger [-n RECEIPTS]   a ledger of so many receipts (100000) in one window, of 20 callers,
 * in a folder of its own under the current one, removed afterwards. Times are CPU time of one core;
 * the file is in the page cache when it is read.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/secmem.h"
#include "base/text.h"
#include "ledger/ledger.h"

#define RECEIPTS_MAX 10000000
#define LEASE 1024
#define BATCH 64
#define CALLERS 20
#define SIGNATURE_LEN 2348 /* LMS_SHA256_M32_H20 with W4 */
#define AT_S INT64_C(1796000000)
#define ASKED 64 /* times that each question is asked */

static struct ledger *ledger;
static struct ledger_key key = {.name = "bench", .public_key_len = 60, .min_window = 0};

static double cpu_ms(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static enum rc add_receipt(uint64_t index, struct err *err)
{
    static uint8_t signature[SIGNATURE_LEN];
    struct ledger_receipt r = {
        .epoch = index / LEASE + 1, .index = index, .artifact_size = 200, .at_s = AT_S};
    memcpy(signature, &index, sizeof(index));
    memcpy(r.artifact_sha256, &index, sizeof(index));
    (void)snprintf(r.origin.requester, sizeof(r.origin.requester), "ci-%u",
                   (unsigned)(index % CALLERS));
    (void)snprintf(r.origin.request_id, sizeof(r.origin.request_id), "request-%" PRIu64, index);
    (void)snprintf(r.origin.idempotency_key, sizeof(r.origin.idempotency_key), "idem-%" PRIu64,
                   index);
    return ledger_add_receipt(ledger, key.id, &r, signature, sizeof(signature), err);
}

/* Entries in the transactions in which the service writes them: a batch each. */
static enum rc fill(uint64_t receipts, struct err *err)
{
    enum rc rc = ledger_begin(ledger, err);
    if (rc == RC_OK)
        rc = ledger_add_key(ledger, &key, AT_S, err);
    for (uint64_t i = 0; i < receipts && rc == RC_OK; i++) {
        if (i % LEASE == 0) {
            struct ledger_lease lease = {
                .epoch = i / LEASE + 1, .number = i / LEASE, .first = i, .count = LEASE};
            rc = ledger_add_lease(ledger, key.id, &lease, AT_S, err);
        }
        if (rc == RC_OK)
            rc = add_receipt(i, err);
        if (rc == RC_OK && i % BATCH == BATCH - 1) {
            rc = ledger_commit(ledger, err);
            rc = rc == RC_OK ? ledger_begin(ledger, err) : rc;
        }
    }
    return rc == RC_OK ? ledger_commit(ledger, err) : rc;
}

static enum rc ask_share(struct err *err)
{
    uint64_t used = 0;
    return ledger_used_by(ledger, key.id, 0, "ci-7", &used, err);
}

static enum rc ask_window(struct err *err)
{
    struct ledger_usage usage;
    return ledger_window_usage(ledger, key.id, 0, &usage, err);
}

static enum rc time_question(const char *name, enum rc (*ask)(struct err *err), struct err *err)
{
    double began = cpu_ms();
    enum rc rc = ask(err);
    double first = cpu_ms() - began;
    for (int i = 0; i < ASKED && rc == RC_OK; i++)
        rc = ask(err);
    printf("%-36s %9.3f ms the first time, %9.4f ms then\n", name, first,
           (cpu_ms() - began - first) / ASKED);
    return rc;
}

static enum rc measure(const char *path, uint64_t receipts, struct err *err)
{
    const struct ledger_options make = {.path = path, .create = true};
    const struct ledger_options found = {.path = path};
    enum rc rc = ledger_open(&ledger, &make, err);
    double began = cpu_ms();
    if (rc == RC_OK)
        rc = fill(receipts, err);
    printf("%-36s %9.1f ms for %" PRIu64 "\n", "receipts written", cpu_ms() - began, receipts);
    ledger_close(&ledger);
    began = cpu_ms();
    if (rc == RC_OK)
        rc = ledger_open(&ledger, &found, err);
    printf("%-36s %9.1f ms\n", "start: every entry is verified", cpu_ms() - began);
    if (rc == RC_OK)
        rc = time_question("share of a caller in the window", ask_share, err);
    if (rc == RC_OK)
        rc = time_question("use of the window", ask_window, err);
    ledger_close(&ledger);
    return rc;
}

int main(int argc, char **argv)
{
    static const char *const ends[] = {"", "-wal", "-journal", "-shm"};
    char dir[] = "bench-ledger-XXXXXX";
    char path[64];
    uint64_t receipts = 100000;
    struct err err = {0};
    int option = 0;
    while ((option = getopt(argc, argv, "n:")) == 'n')
        if (!text_to_u64(&receipts, optarg, RECEIPTS_MAX) || receipts == 0)
            option = '?';
    if (option != -1 || optind != argc) {
        (void)fprintf(stderr, "usage: bench_ledger [-n RECEIPTS]\n");
        return 2;
    }
    enum rc rc = base_init_public(&err);
    if (rc != RC_OK || mkdtemp(dir) == NULL) {
        (void)fprintf(stderr, "bench_ledger: %s\n", err_text(&err));
        return 1;
    }
    (void)snprintf(path, sizeof(path), "%s/ledger", dir);
    rc = measure(path, receipts, &err);
    for (size_t i = 0; i < 4; i++) {
        char name[96];
        (void)snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        (void)unlink(name);
    }
    (void)rmdir(dir);
    if (rc != RC_OK)
        (void)fprintf(stderr, "bench_ledger: %s\n", err_text(&err));
    return rc == RC_OK ? 0 : 1;
}
