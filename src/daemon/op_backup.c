/* backup-export and backup-check: what a replacement will need, written and acknowledged. */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "daemon/host.h"
#include "signer/allocate.h"
#include "signer/backup.h"

/* A note is anchored at once: a disk put back to before it would forget what an export allows. */
static enum rc note(struct host *h, enum ledger_note_kind kind, const char *what, const char *text,
                    int64_t number, struct err *err)
{
    enum rc rc = ledger_begin(h->ledger, err);
    if (rc != RC_OK)
        return rc;
    rc = ledger_add_note(h->ledger, h->key->record.id, kind, what, text, number, host_now_s(), err);
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

/* The mark is recorded before the file is written: a file that exists is never unknown here. */
static enum rc export_marked(struct host *h, const struct options *o, int64_t through,
                             uint8_t sha256[SHA256_LEN], struct err *err)
{
    struct bar bar = {.what = "backup", .quiet = o->quiet};
    enum rc rc = note(h, LEDGER_OPERATION, "backup-export", o->out, through, err);
    if (rc == RC_OK)
        rc = backup_export(h->key, &h->world, h->tpm, o->out, h->passphrase, through, host_now_s(),
                           show_progress, &bar, sha256, err);
    return rc;
}

int operation_backup_export(const struct options *o)
{
    struct host h CLEANUP(host_close) = HOST_CLOSED;
    struct err err = {0};
    uint8_t sha256[SHA256_LEN];
    if (o->out == NULL) {
        (void)fprintf(stderr, "usage: tidemark backup export --key K --out FILE\n");
        return 2;
    }
    enum rc rc = host_open(&h, o, false, &err);
    if (rc == RC_OK)
        rc = host_load_key(&h, o->key, &err);
    if (rc == RC_OK && h.key->rc != RC_OK)
        rc = FAIL(&err, h.key->rc, "", 0, "%s", err_text(&h.key->err));
    if (rc == RC_OK)
        rc = host_passphrase(&h, o, &err);
    int64_t through = -1;
    if (rc == RC_OK) {
        int64_t floor = key_floor(h.key);
        through = floor > o->through ? floor : o->through;
        if (through < 0)
            through = 0;
        rc = export_marked(&h, o, through, sha256, &err);
    }
    if (rc != RC_OK)
        return operation_fail(&err, rc, NULL);
    char hex[HEX_SIZE(SHA256_LEN)];
    hex_encode(hex, sha256, SHA256_LEN);
    (void)printf("%s  %s\n", hex, o->out);
    if (!o->quiet)
        (void)fprintf(stderr,
                      "wrote the windows after %" PRId64 " to %s\n"
                      "Take it off this machine, then acknowledge it: tidemark backup check %s\n",
                      key_floor(h.key), o->out, o->out);
    return 0;
}

int operation_backup_check(const struct options *o)
{
    struct host h CLEANUP(host_close) = HOST_CLOSED;
    struct backup backup = {.fd = -1};
    struct err err = {0};
    if (o->argument == NULL) {
        (void)fprintf(stderr, "usage: tidemark backup check FILE\n");
        return 2;
    }
    enum rc rc = host_open(&h, o, false, &err);
    if (rc == RC_OK)
        rc = host_passphrase(&h, o, &err);
    if (rc == RC_OK)
        rc = backup_open(&backup, o->argument, h.passphrase, &err);
    struct bar bar = {.what = "check", .quiet = o->quiet};
    if (rc == RC_OK)
        rc = backup_check(&backup, show_progress, &bar, &err);
    if (rc == RC_OK)
        rc = host_load_key(&h, backup.header.key, &err);
    if (rc == RC_OK && (h.key->record.public_key_len != backup.header.public_key_len ||
                        !ct_equal(h.key->record.public_key, backup.header.public_key,
                                  backup.header.public_key_len)))
        rc = FAIL(&err, RC_REFUSED_INPUT, "", 0, "the backup is of another key named '%s'",
                  backup.header.key);
    uint8_t sha256[SHA256_LEN];
    if (rc == RC_OK)
        rc = backup_sha256(&backup, sha256, &err);
    if (rc == RC_OK) {
        char name[LEDGER_TEXT_MAX + 1];
        backup_name(name, sha256, o->argument);
        rc = note(&h, LEDGER_ACKNOWLEDGEMENT, "backup-export", name, backup.header.through, &err);
    }
    if (rc == RC_OK && !o->quiet)
        (void)printf(
            "%s: good: %" PRIu64 " windows from %" PRIu64 ", mark %" PRId64 " acknowledged\n",
            o->argument, backup.header.count, backup.header.first_window, backup.header.through);
    if (backup.fd >= 0)
        backup_close(&backup);
    return rc == RC_OK ? 0 : operation_fail(&err, rc, NULL);
}
