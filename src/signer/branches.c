#include "signer/branches.h"

#include "base/log.h"

/* What an earlier branch of the window has signed above itself is taken over, never signed again.
 */
static enum rc make(const struct allocator *alloc, const struct open_secret *slot,
                    struct ledger_branch *record, struct hbs_branch **branch, struct err *err)
{
    static uint8_t earlier[LEDGER_SIGNATURE_MAX];
    struct key *key = alloc->key;
    struct ledger_branch latest;
    struct hbs_branch_prior prior = {0};
    struct err none = {0};
    enum rc rc = ledger_branch_latest(alloc->ledger, key->record.id, record->window, &latest,
                                      earlier, &none);
    if (rc == RC_OK)
        prior = (struct hbs_branch_prior){.index = latest.first, .record = earlier};
    else if (rc != RC_REFUSED_NOT_FOUND)
        return FAIL(err, rc, none.origin, none.native, "%s", err_text(&none));
    struct ots_lease lease = {0};
    allocate_branch(alloc, record->first, &lease);
    rc = hbs_branch_make(branch, &lease, &key->hbs, key->nodes, slot->secret, &prior, err);
    /* Nothing is burned here: the next attempt signs the same roots. But a root that does not
     * verify is no matter of one request. */
    return rc == RC_BURNED_VERIFY ? RC_HALT_INVARIANT : rc;
}

/* A branch without record: made, recorded, anchored, in this order. */
static enum rc begin(const struct allocator *alloc, struct open_secret *slot,
                     struct ledger_branch *record, struct err *err)
{
    struct hbs_branch *branch CLEANUP(hbs_branch_close) = NULL;
    enum rc rc = make(alloc, slot, record, &branch, err);
    if (rc == RC_OK) {
        record->record_len = hbs_branch_record_len(&alloc->key->hbs);
        rc = allocate_record_branch(alloc, record, hbs_branch_record(branch), err);
    }
    if (rc != RC_OK)
        return rc;
    slot->branch = branch;
    branch = NULL;
    log_event(LOG_LEVEL_INFO,
              &(struct log_fields){.key = alloc->key->record.name, .index = (int64_t)record->first},
              "the trees from this index on were signed");
    return RC_OK;
}

static enum rc open_or_begin(const struct allocator *alloc, struct open_secret *slot,
                             uint64_t window, uint64_t index, struct err *err)
{
    static uint8_t stored[LEDGER_SIGNATURE_MAX];
    struct key *key = alloc->key;
    if (hbs_branch_record_len(&key->hbs) == 0)
        return hbs_branch_open(&slot->branch, &key->hbs, key->nodes, slot->secret, index, NULL,
                               err);
    uint64_t first = index - index % hbs_branch_size(&key->hbs);
    struct ledger_branch record;
    struct err none = {0};
    enum rc rc = ledger_branch_at(alloc->ledger, key->record.id, first, &record, stored, &none);
    if (rc == RC_OK && record.record_len == hbs_branch_record_len(&key->hbs))
        return hbs_branch_open(&slot->branch, &key->hbs, key->nodes, slot->secret, index, stored,
                               err);
    if (rc == RC_OK)
        return FAIL(err, RC_HALT_NODES, "", (int64_t)record.record_len,
                    "the ledger's record of these trees has another length");
    if (rc != RC_REFUSED_NOT_FOUND)
        return FAIL(err, rc, none.origin, none.native, "%s", err_text(&none));
    record = (struct ledger_branch){.window = window, .first = first};
    return begin(alloc, slot, &record, err);
}

enum rc branches_of(const struct allocator *alloc, void *tpm, uint64_t window, uint64_t index,
                    const struct hbs_branch **branch, struct err *err)
{
    const struct window_secret *secret = NULL;
    *branch = NULL;
    enum rc rc = key_secret(alloc->key, alloc->world, tpm, window, &secret, err);
    if (rc != RC_OK)
        return rc;
    struct open_secret *slot = key_open_secret(alloc->key, window);
    MUST(slot != NULL);
    if (slot->branch == NULL || !hbs_branch_holds(slot->branch, index)) {
        open_secret_drop_branch(slot);
        rc = open_or_begin(alloc, slot, window, index, err);
    }
    if (rc == RC_OK)
        *branch = slot->branch;
    return rc;
}
