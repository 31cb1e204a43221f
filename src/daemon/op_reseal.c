/* reseal: seal the secrets of windows to come anew, from a backup, under the PCRs of now. */
#include <inttypes.h>
#include <stdio.h>

#include "daemon/host.h"
#include "signer/allocate.h"
#include "signer/backup.h"
#include "signer/reseal.h"

/* What was done is recorded, with the first window that it concerns. A key that does not sign at
 * the moment is anchored by its next start. */
static enum rc record(struct host *h, const struct options *o, const struct reseal *r,
                      struct err *err)
{
    enum rc rc = ledger_begin(h->ledger, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_add_note(h->ledger, h->key->record.id, LEDGER_OPERATION, "reseal", o->from,
                         (int64_t)r->first, host_now_s(), err);
    if (rc != RC_OK) {
        ledger_rollback(h->ledger);
        return rc;
    }
    rc = ledger_commit(h->ledger, err);
    if (rc != RC_OK || h->key->rc != RC_OK)
        return rc;
    struct allocator alloc = {.key = h->key, .world = &h->world, .ledger = h->ledger};
    return allocate_settle(&alloc, err);
}

static enum rc run(struct host *h, const struct options *o, struct backup *backup, struct reseal *r,
                   struct err *err)
{
    enum rc rc = backup_open(backup, o->from, h->passphrase, err);
    if (rc == RC_OK)
        rc = host_load_key(h, o->key != NULL ? o->key : backup->header.key, err);
    if (rc != RC_OK)
        return rc;
    r->key = h->key;
    r->tpm = h->tpm;
    r->backup = backup;
    r->pcrs = h->config.pcrs;
    r->escrow_passphrase = h->escrow_passphrase;
    /* An escrow that is kept by a passphrase has, as a rule, that of its backups. */
    if (r->escrow_passphrase == NULL && h->key->escrow.fd >= 0)
        r->escrow_passphrase = h->passphrase;
    rc = reseal(r, err);
    return rc == RC_OK ? record(h, o, r, err) : rc;
}

int operation_reseal(const struct options *o)
{
    struct host h CLEANUP(host_close) = HOST_CLOSED;
    struct backup backup = {.fd = -1};
    struct err err = {0};
    if (o->from == NULL) {
        (void)fprintf(stderr, "usage: tidemark reseal --from BACKUP [--key K]\n");
        return 2;
    }
    struct bar bar = {.what = "reseal", .quiet = o->quiet};
    struct reseal r = {.world = &h.world, .progress = show_progress, .progress_ctx = &bar};
    enum rc rc = host_open(&h, o, false, &err);
    if (rc == RC_OK)
        rc = host_passphrase(&h, o, &err);
    if (rc == RC_OK)
        rc = host_escrow_passphrase(&h, o, &err);
    if (rc == RC_OK)
        rc = run(&h, o, &backup, &r, &err);
    if (backup.fd >= 0)
        backup_close(&backup);
    if (rc != RC_OK)
        return operation_fail(&err, rc, "run the same command again when the cause is mended");
    char pcrs[TPM_PCRS_TEXT];
    tpm_pcrs_print(pcrs, &r.pcrs);
    if (!o->quiet)
        (void)printf("%s: %" PRIu64 " windows from %" PRIu64 " sealed anew, PCRs %s\n",
                     h.key->record.name, r.count, r.first, pcrs);
    return 0;
}
