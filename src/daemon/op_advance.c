/* advance-window: the next window of a time plan, before its start. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/jcs.h"
#include "daemon/host.h"
#include "signer/advance.h"
#include "signer/backup.h"

#define USAGE                                                                                      \
    "usage: tidemark advance-window --key K --window N --acknowledged-export FILE-or-SHA256 "      \
    "--reason TEXT"

/* A digest, as `backup export` and sha256sum print it, or the file itself. */
static enum rc export_named(const char *name, uint8_t sha256[SHA256_LEN], struct err *err)
{
    if (strlen(name) == (size_t)2 * SHA256_LEN && hex_decode(sha256, SHA256_LEN, name))
        return RC_OK;
    struct backup file = {.fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
    if (file.fd < 0)
        return FAIL(err, RC_REFUSED_INPUT, "errno", errno,
                    "--acknowledged-export: neither a SHA-256 nor a file that can be read: %s: %s",
                    name, strerror(errno));
    enum rc rc = backup_sha256(&file, sha256, err);
    fd_close(&file.fd);
    return rc;
}

static void show_plan(const struct advance_plan *p)
{
    char planned[RFC3339_SIZE];
    char closes[RFC3339_SIZE];
    rfc3339_print(planned, p->planned_s);
    rfc3339_print(closes, p->closes_s);
    (void)fprintf(stderr,
                  "opens early     window %" PRId64 ", planned for %s: a lead of %" PRId64 " s\n"
                  "closed for good every window before it; %" PRIu64
                  " signatures are given up in the one of now\n"
                  "pays back       the window behind it opens at %s, as planned\n",
                  p->window, planned, p->lead_s, p->given_up, closes);
}

static int print_result(const struct options *o, const struct host *h, const struct advance_plan *p)
{
    struct jcs j CLEANUP(jcs_wipe) = {0};
    char closes[RFC3339_SIZE];
    char planned[RFC3339_SIZE];
    rfc3339_print(planned, p->planned_s);
    rfc3339_print(closes, p->closes_s);
    jcs_object_open(&j);
    jcs_member_string(&j, "closes", closes);
    jcs_member_string(&j, "key", h->key->record.name);
    jcs_member_int(&j, "lead_seconds", p->lead_s);
    jcs_member_string(&j, "opens", planned);
    jcs_member_int(&j, "window", p->window);
    jcs_object_close(&j);
    if (!jcs_finish(&j))
        return 9;
    if (o->json)
        (void)printf("%s\n", j.text);
    else if (!o->quiet)
        (void)printf("%s: window %" PRId64 " is open%s\n", h->key->record.name, p->window,
                     p->is_open ? " already" : "");
    return 0;
}

static enum rc make_plan(struct host *h, const struct options *o, struct advance_plan *plan,
                         struct err *err)
{
    struct advance_statement s = {
        .window = o->window, .reason = o->reason, .uid = (uint32_t)getuid()};
    enum rc rc = export_named(o->acknowledged_export, s.export_sha256, err);
    if (rc == RC_OK)
        rc = host_open(h, o, false, err);
    s.virtual_policy = h->config.settings.virtual_policy; /* loading a key sets it aside */
    if (rc == RC_OK)
        rc = host_load_key(h, o->key, err);
    return rc == RC_OK ? advance_window_plan(h->key, &h->world, h->ledger, &s, plan, err) : rc;
}

#define HOW_TO_GO_ON                                                                               \
    "nothing was approved, and window numbers that have passed stay closed; the same command "     \
    "goes "                                                                                        \
    "on from here"
#define HOW_TO_MEND                                                                                \
    "look with 'tidemark windows' whether it was approved: then the next start opens it; if not, " \
    "run the same command again"

int operation_advance_window(const struct options *o)
{
    struct host h CLEANUP(host_close) = HOST_CLOSED;
    struct bar bar = {.what = "advance", .quiet = o->quiet};
    struct step_watch watch = {.report = show_progress, .ctx = &bar};
    struct err err = {0};
    struct advance_plan plan;
    if (o->key == NULL || o->window < 0 || o->acknowledged_export == NULL || o->reason == NULL) {
        (void)fprintf(stderr, "%s\n", USAGE);
        return 2;
    }
    enum rc rc = make_plan(&h, o, &plan, &err);
    if (rc != RC_OK)
        return operation_fail(&err, rc, NULL);
    if (!plan.is_open) {
        show_plan(&plan);
        if (!operation_confirm(o, "advance"))
            return 2;
        progress_stoppable(&bar);
        rc = advance_window(h.key, &h.world, h.tpm, h.ledger, &plan, &watch, &err);
        progress_end(&bar);
    }
    if (rc != RC_OK)
        return operation_fail(&err, rc, watch.stopped ? HOW_TO_GO_ON : HOW_TO_MEND);
    return print_result(o, &h, &plan);
}
