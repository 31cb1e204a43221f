/* key-new: make a key under a plan. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/secmem.h"
#include "daemon/host.h"
#include "policy/wear.h"
#include "signer/provision.h"

/* What a SIGKILL can cost of the work. */
#define CHECKPOINT_NS INT64_C(1000000000)

#define HOW_TO_GO_ON                                                                               \
    "the same command goes on from here; with --restart it begins anew (other secrets, other key)"

static enum rc first_window(struct host *h, const char *text, size_t len, int64_t *window,
                            struct plan_fault *fault, struct err *err)
{
    struct plan plan = {0};
    *window = 0;
    enum rc rc = plan_parse(&plan, text, len, fault, err);
    if (rc == RC_OK && plan.kind == PLAN_TIME) {
        int64_t now = -1;
        uint64_t at = 0;
        struct err why = {0};
        if (tool_clock_latest_s(&h->world, 0, &now, &why) != RC_OK)
            rc = FAIL(err, RC_RETRY_CLOCK, "", why.native,
                      "a time plan needs a trusted clock to know its first window (%s)",
                      err_text(&why));
        else if (now >= plan.start_s)
            rc = plan_window_at(&plan, now, &at, err);
        *window = (int64_t)at;
    }
    plan_free(&plan);
    return rc;
}

/* DESIGN section 6 rule 7: all NV writes over the key's life against what the TPM stands. */
static enum rc check_wear(const struct config *config, const char *text, size_t len, bool quiet,
                          struct err *err)
{
    struct plan plan = {0};
    struct plan_wear wear = {0};
    enum rc rc = plan_parse(&plan, text, len, NULL, err);
    if (rc == RC_OK)
        rc = plan_wear_check(&plan, config->settings.nv_endurance, &wear, err);
    if (rc == RC_OK && wear.a > config->settings.nv_endurance && !quiet)
        (void)fprintf(
            stderr,
            "tidemark: note: if every version of this plan were signed, each alone, the TPM "
            "would write one\n          index %" PRIu64 " times; it is configured to stand %" PRIu64
            " (tpm.nv_endurance)\n",
            wear.a, config->settings.nv_endurance);
    plan_free(&plan);
    return rc;
}

static void explain_fault(const struct plan_fault *fault)
{
    if (fault->path[0] == '\0')
        return;
    (void)fprintf(stderr, "          at %s: %s\n          right would be: %s\n", fault->path,
                  fault->what, fault->example);
}

static enum rc make(struct host *h, const struct options *o, struct bar *bar, const char *text,
                    size_t len, int64_t first, struct ledger_key *key, struct plan_fault *fault,
                    struct err *err)
{
    const struct provision p = {.state_dirfd = h->state_dirfd,
                                .ledger = h->ledger,
                                .world = &h->world,
                                .tpm = h->tpm,
                                .now_s = host_now_s(),
                                .first_window = first,
                                .threads = host_threads(),
                                .progress = show_progress,
                                .progress_ctx = bar,
                                .restart = o->restart,
                                .checkpoint_ns = CHECKPOINT_NS,
                                .pcrs = h->config.pcrs,
                                .escrow_passphrase = h->escrow_passphrase};
    return provision_new(&p, text, len, key, fault, err);
}

int operation_key_new(const struct options *o)
{
    struct host h CLEANUP(host_close) = HOST_CLOSED;
    struct bar bar = {.what = "key", .quiet = o->quiet, .resumed = "leaves"};
    struct err err = {0};
    struct plan_fault fault = {0};
    struct ledger_key key;
    char *text = NULL;
    size_t len = 0;
    if (o->argument == NULL) {
        (void)fprintf(stderr, "usage: tidemark key new PLAN [--config FILE] [--restart]\n"
                              "                       [--escrow-passphrase-file FILE]\n");
        return 2;
    }
    enum rc rc = base_init(&err); /* a plan is hashed when it is read */
    if (rc == RC_OK)
        rc = file_read(AT_FDCWD, o->argument, PLAN_TEXT_MAX, &text, &len, &err);
    if (rc == RC_OK) {
        /* The plan first: a mistake in it must not cost the making of a state directory. */
        struct plan plan = {0};
        rc = plan_parse(&plan, text, len, &fault, &err);
        plan_free(&plan);
    }
    int64_t first = 0;
    progress_stoppable(&bar);
    if (rc == RC_OK)
        rc = host_open(&h, o, true, &err);
    if (rc == RC_OK)
        rc = host_escrow_passphrase(&h, o, &err);
    if (rc == RC_OK)
        rc = check_wear(&h.config, text, len, o->quiet, &err);
    if (rc == RC_OK)
        rc = first_window(&h, text, len, &first, &fault, &err);
    if (rc == RC_OK)
        rc = make(&h, o, &bar, text, len, first, &key, &fault, &err);
    free(text);
    progress_end(&bar);
    if (rc == RC_OK)
        return operation_print_key(o, &key, key.min_window, "made");
    int code = operation_fail(&err, rc, bar.stopped ? HOW_TO_GO_ON : NULL);
    explain_fault(&fault);
    return code;
}
