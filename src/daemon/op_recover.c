/* recover: on with the next window, here or on a replacement. */
#include <inttypes.h>
#include <stdio.h>

#include "daemon/host.h"
#include "signer/backup.h"
#include "signer/provision.h"
#include "signer/recover.h"

#define HOW_TO_GO_ON "the windows named above stay closed; the same command goes on from here"
#define HOW_TO_MEND "run the same command again when the cause is mended"

static void show_plan(const struct recover_plan *r)
{
    char opens[RFC3339_SIZE] = "";
    if (r->opens_s >= 0)
        rfc3339_print(opens, r->opens_s);
    (void)fprintf(stderr,
                  "what is wrong   %s\n"
                  "closed for good every window up to %" PRId64 "\n"
                  "starts again in window %" PRId64 "%s%s\n"
                  "given up        what is left of %" PRIu64 " window(s)\n",
                  r->why, r->floor, r->start_window, opens[0] != '\0' ? ", which opens " : "",
                  opens, r->windows_given_up);
}

static int recover_on_this_device(const struct options *o)
{
    struct host h CLEANUP(host_close) = HOST_CLOSED;
    struct bar bar = {.what = "recover", .quiet = o->quiet};
    struct step_watch watch = {.report = show_progress, .ctx = &bar};
    struct err err = {0};
    struct recover_plan plan;
    enum rc rc = host_open(&h, o, false, &err);
    if (rc == RC_OK)
        rc = host_load_key(&h, o->key, &err);
    if (rc == RC_OK)
        rc = recover_here_plan(h.key, &h.world, h.ledger, o->acknowledged_through, &plan, &err);
    if (rc != RC_OK)
        return operation_fail(&err, rc, NULL);
    show_plan(&plan);
    if (!operation_confirm(o, "recover"))
        return 2;
    progress_stoppable(&bar);
    rc = recover_here(h.key, &h.world, h.ledger, &plan, &watch, &err);
    progress_end(&bar);
    if (rc != RC_OK)
        return operation_fail(&err, rc, watch.stopped ? HOW_TO_GO_ON : HOW_TO_MEND);
    return operation_print_key(o, &h.key->record, plan.start_window, "recovered");
}

static enum rc plan_from_backup(struct host *h, const struct options *o, struct backup *backup,
                                struct recover_plan *plan, struct err *err)
{
    struct err why = {0};
    enum rc rc = backup_open(backup, o->from, h->passphrase, err);
    if (rc != RC_OK)
        return rc;
    struct recover_statement statement = {.acknowledged_through = o->acknowledged_through,
                                          .start_window = o->start_window,
                                          .margin = h->config.settings.export_margin};
    if (tool_clock_latest_s(&h->world, 0, &statement.clock_latest_s, &why) != RC_OK)
        statement.clock_why = err_text(&why);
    return recover_backup_plan(backup, &statement, plan, err);
}

static int recover_from_file(const struct options *o)
{
    struct host h CLEANUP(host_close) = HOST_CLOSED;
    struct backup backup = {.fd = -1};
    struct err err = {0};
    struct recover_plan plan;
    struct ledger_key key;
    if (o->statement == NULL) {
        (void)fprintf(
            stderr, "tidemark: the lost device may come back and sign in the same windows.\n"
                    "          State that it cannot: --old-device-destroyed 'who saw it, when'\n");
        return 3;
    }
    enum rc rc = host_open(&h, o, true, &err);
    if (rc == RC_OK)
        rc = host_passphrase(&h, o, &err);
    if (rc == RC_OK)
        rc = host_escrow_passphrase(&h, o, &err);
    if (rc == RC_OK)
        rc = plan_from_backup(&h, o, &backup, &plan, &err);
    bool go = false;
    if (rc == RC_OK) {
        show_plan(&plan);
        go = operation_confirm(o, "recover");
    }
    struct bar bar = {.what = "recover", .quiet = o->quiet};
    struct provision p = {.state_dirfd = h.state_dirfd,
                          .ledger = h.ledger,
                          .world = &h.world,
                          .tpm = h.tpm,
                          .now_s = host_now_s(),
                          .threads = host_threads(),
                          .progress = show_progress,
                          .progress_ctx = &bar,
                          .pcrs = h.config.pcrs,
                          .escrow_passphrase = h.escrow_passphrase};
    if (go) {
        progress_stoppable(&bar);
        rc = recover_from_backup(&p, &backup, &plan, o->statement, &key, &err);
        progress_end(&bar);
    }
    if (backup.fd >= 0)
        backup_close(&backup);
    if (rc != RC_OK)
        return operation_fail(
            &err, rc, bar.stopped ? "nothing was kept; the same command begins anew" : NULL);
    return go ? operation_print_key(o, &key, plan.start_window, "recovered") : 2;
}

int operation_recover(const struct options *o)
{
    return o->from != NULL ? recover_from_file(o) : recover_on_this_device(o);
}
